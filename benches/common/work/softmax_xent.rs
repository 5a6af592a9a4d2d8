//! Softmax cross-entropy: the cases X1 to X5 of the comparison with other libraries.

use crate::common::data::{self, Buffer, Element};
use crate::common::{Case, Side, Work, limits, numbers, textbook};
use gradix::{Level, SoftmaxXent, View, ViewMut, reference};
use std::hint::black_box;

/// The gradient of the mean loss of normal logits, and the loss.
pub struct Xent<T> {
    pub classes: usize,
    pub logits: Buffer<T>,
    pub labels: Buffer<u32>,
    pub grad: Buffer<T>,
    pub loss: T,
}

impl<T: Element> Xent<T> {
    pub fn new(rows: usize, classes: usize) -> Self {
        Xent {
            classes,
            logits: data::normal(rows * classes),
            labels: data::indices(rows, classes),
            grad: Buffer::zeros(rows * classes),
            loss: T::zero(),
        }
    }
}

impl<T: Element> Work for Xent<T> {
    fn run(&mut self, side: Side) {
        let Xent { classes, logits, labels, grad, loss } = self;
        let shape = [labels.len(), *classes];
        let view = || View::new(logits, &shape).expect("the logits' shape");
        let xent = SoftmaxXent::new();
        match side {
            Side::Gradix => {
                let grad = ViewMut::new(grad, &shape).expect("the logits' shape");
                *loss = xent.forward_backward(view(), labels, grad).expect("labels in bounds").value;
            }
            Side::Reference => {
                let grad = ViewMut::new(grad, &shape).expect("the logits' shape");
                let answer = reference::SoftmaxXent(&xent).forward_backward(view(), labels, grad);
                *loss = answer.expect("labels in bounds").value;
            }
            Side::Textbook => *loss = textbook::softmax_xent(logits, *classes, labels, grad),
            Side::Limit => limits::scale(logits, T::one(), grad),
        }
        black_box((loss, grad));
    }

    /// The gradient, then the loss.
    fn answer(&mut self, side: Side) -> Vec<f64> {
        self.grad.fill(T::zero());
        self.run(side);
        let mut answer = numbers(&self.grad);
        answer.extend(numbers(&[self.loss]));
        answer
    }

    fn assert_equal(&mut self, to: Side) {
        let (gradix, other) = (self.answer(Side::Gradix), self.answer(to));
        let fused = Level::current().expect("a level") != Level::Portable;
        let equal =
            if to == Side::Reference && fused { gradix == other } else { self.is_near(&gradix, &other) };
        assert!(equal, "gradix answers differently from {to:?}");
    }
}

impl<T: Element> Xent<T> {
    /// Whether an answer is the other but for rounding, by another exp and in another order of sums.
    pub fn is_near(&self, answer: &[f64], other: &[f64]) -> bool {
        let allowed = numbers(&[T::epsilon()])[0] * (self.classes + 1000) as f64;
        // A target's gradient is a difference of numbers as large as this.
        let mean = 1.0 / self.labels.len() as f64;
        let is_target =
            |i: usize| self.labels.get(i / self.classes).is_some_and(|&y| y as usize == i % self.classes);
        answer.len() == other.len()
            && (answer.iter().zip(other).enumerate())
                .all(|(i, (a, b))| (a - b).abs() <= allowed * if is_target(i) { mean } else { b.abs() })
    }
}

macro_rules! case {
    ($peer:literal $t:ident $shape:literal ($rows:expr, $classes:expr)) => {
        Case {
            peer: $peer,
            op: "softmax_xent",
            dtype: stringify!($t),
            shape: $shape,
            elements: $rows * $classes,
            bytes: 2 * size_of::<$t>() * $rows * $classes + 4 * $rows,
            limit: "scale",
            make: || Box::new(Xent::<$t>::new($rows, $classes)),
        }
    };
}

pub fn cases() -> Vec<Case> {
    vec![
        case!("X1" f32 "65536x10" (65_536, 10)),
        case!("X2" f32 "4096x1000" (4096, 1000)),
        case!("X3" f32 "1024x32000" (1024, 32_000)),
        case!("X4" f32 "256x128256" (256, 128_256)),
        case!("X5" f32 "1x128256" (1, 128_256)),
        case!("X2 f64" f64 "4096x1000" (4096, 1000)),
        case!("X3 f64" f64 "1024x32000" (1024, 32_000)),
    ]
}
