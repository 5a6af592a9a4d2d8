//! Softmax cross-entropy: the cases X1 to X5 of the comparison with other libraries, and a sweep over classes and forms.

use crate::common::data::{self, Buffer, Element, Order};
use crate::common::{Case, Part, Side, Work, limits, loops, numbers, with_sweep};
use gradix::{Level, SoftmaxXent, View, ViewMut, reference};
use std::hint::black_box;

/// How it is called.
#[derive(Clone, Copy, PartialEq)]
pub enum Form {
    Plain,
    /// The logits become their gradient; the others write it elsewhere.
    InPlace,
    /// With label smoothing, z-loss and a label that is ignored.
    Options,
}

/// Those of [`Form::Options`].
const SMOOTHING: f64 = 0.1;
const Z_LOSS: f64 = 1e-4;

/// The gradient of the mean loss of normal logits, and the loss.
pub struct Xent<T> {
    pub form: Form,
    pub classes: usize,
    pub logits: Buffer<T>,
    pub labels: Buffer<u32>,
    pub grad: Buffer<T>,
    pub loss: T,
}

impl<T: Element> Xent<T> {
    pub fn new(form: Form, rows: usize, classes: usize) -> Self {
        Xent {
            form,
            classes,
            logits: data::normal(rows * classes),
            labels: data::indices(rows, classes, Order::Random),
            grad: Buffer::zeros(rows * classes),
            loss: T::zero(),
        }
    }
}

impl<T: Element> Work for Xent<T> {
    fn run(&mut self, side: Side) {
        let Xent { form, classes, logits, labels, grad, loss } = self;
        let shape = [labels.len(), *classes];
        let view = || View::new(logits, &shape).expect("the logits' shape");
        let number = |x: f64| -> T { num_traits::cast(x).expect("a float") };
        let xent = match form {
            Form::Options => SoftmaxXent::new()
                .label_smoothing(number(SMOOTHING))
                .z_loss(number(Z_LOSS))
                .ignore_index(-100),
            _ => SoftmaxXent::new(),
        };
        match side {
            Side::Gradix if *form == Form::InPlace => {
                let logits = ViewMut::new(grad, &shape).expect("the logits' shape");
                *loss = xent.forward_backward_in_place(logits, labels).expect("labels in bounds").value;
            }
            Side::Gradix => {
                let grad = ViewMut::new(grad, &shape).expect("the logits' shape");
                *loss = xent.forward_backward(view(), labels, grad).expect("labels in bounds").value;
            }
            Side::Reference => {
                let grad = ViewMut::new(grad, &shape).expect("the logits' shape");
                let answer = reference::SoftmaxXent(&xent).forward_backward(view(), labels, grad);
                *loss = answer.expect("labels in bounds").value;
            }
            Side::Loop if *form == Form::Options => {
                let (smoothing, z_loss) = (number(SMOOTHING), number(Z_LOSS));
                *loss = loops::smoothed_xent(logits, *classes, labels, smoothing, z_loss, grad);
            }
            Side::Loop => *loss = loops::softmax_xent(logits, *classes, labels, grad),
            Side::Limit(stores) => limits::scale(logits, T::one(), grad, stores),
        }
        black_box((loss, grad));
    }

    /// The gradient, then the loss.
    fn answer(&mut self, side: Side) -> Vec<f64> {
        // Which are replaced, or never read.
        self.grad.copy_from_slice(&self.logits);
        self.run(side);
        let mut answer = numbers(&self.grad);
        answer.extend(numbers(&[self.loss]));
        answer
    }

    fn assert_equal(&mut self, to: Side) {
        let (gradix, other) = (self.answer(Side::Gradix), self.answer(to));
        let fused = Level::current().expect("a level") != Level::Portable;
        let equal = if to == Side::Reference && fused {
            gradix == other
        } else {
            self.off(&gradix, &other, false) <= 1.0
        };
        assert!(equal, "gradix answers differently from {to:?}");
    }
}

impl<T: Element> Xent<T> {
    /// How far an answer is from the other, as a multiple of what rounding explains, by another exp and in another order
    /// of sums. An autograd whose gradients go `through_maximum` (candle's) adds the sum of a row's gradients, which is zero
    /// but for rounding, to that of the row's maximum.
    pub fn off(&self, answer: &[f64], other: &[f64], through_maximum: bool) -> f64 {
        if answer.len() != other.len() {
            return f64::INFINITY;
        }
        let allowed = numbers(&[T::epsilon()])[0] * (self.classes + 1000) as f64;
        // A target's gradient is a difference of numbers as large as this; so are all others with label smoothing.
        let mean = 1.0 / self.labels.len() as f64;
        let smoothed = self.form == Form::Options;
        let is_maximum = |i: usize| {
            let row = &self.logits[i / self.classes * self.classes..][..self.classes];
            row.iter().all(|&x| x <= self.logits[i])
        };
        let is_difference = |i: usize| {
            self.labels.get(i / self.classes).is_some_and(|&y| smoothed || y as usize == i % self.classes)
        };
        let errors = answer.iter().zip(other).enumerate().map(|(i, (a, b))| {
            let off = |scale: f64| match (a - b).abs() / (allowed * scale) {
                off if off.is_nan() && a != b => f64::INFINITY,
                off => off,
            };
            let error = if is_difference(i) { off(mean) } else { off(b.abs()) };
            // Asked last, since it reads the row.
            if error > 1.0 && through_maximum && i < self.logits.len() && is_maximum(i) {
                off(mean)
            } else {
                error
            }
        });
        errors.fold(0.0, f64::max)
    }
}

fn case<T: Element>(form: Form, rows: usize, classes: usize) -> Case {
    Case {
        peer: "",
        op: match form {
            Form::Plain => "softmax_xent",
            Form::InPlace => "softmax_xent_in_place",
            Form::Options => "softmax_xent_options",
        },
        dtype: T::TYPE,
        shape: format!("{rows}x{classes}"),
        elements: rows * classes,
        bytes: 2 * size_of::<T>() * rows * classes + 4 * rows,
        limit: "scale",
        gate: false,
        brief: rows * classes < 1 << 20,
        // The reference takes some 100 ns for each logit.
        part: (rows * classes > 1 << 21).then(|| {
            let some = ((1 << 20) / classes).clamp(1, rows);
            let make = Box::new(move || Box::new(Xent::<T>::new(form, some, classes)) as Box<dyn Work>);
            Part { share: some as f64 / rows as f64, make }
        }),
        make: Box::new(move || Box::new(Xent::<T>::new(form, rows, classes))),
    }
}

pub fn cases() -> Vec<Case> {
    let gated = vec![
        case::<f32>(Form::Plain, 65_536, 10).gated("X1"),
        case::<f32>(Form::Plain, 4096, 1000).gated("X2"),
        case::<f32>(Form::Plain, 1024, 32_000).gated("X3"),
        case::<f32>(Form::Plain, 256, 128_256).gated("X4"),
        case::<f32>(Form::Plain, 1, 128_256).gated("X5"),
        case::<f64>(Form::Plain, 4096, 1000).gated("X2 f64"),
        case::<f64>(Form::Plain, 1024, 32_000).gated("X3 f64"),
    ];
    // About 64 Ki logits, and about 32 Mi.
    let sweep = [64 << 10, 32 << 20].into_iter().flat_map(|logits| {
        [10, 100, 1000, 32_000, 128_256].into_iter().flat_map(move |classes| {
            let rows = (logits / classes).max(1);
            let forms = [Form::Plain, Form::InPlace, Form::Options];
            forms.map(|form| case::<f32>(form, rows, classes)).into_iter().chain([case::<f64>(
                Form::Plain,
                rows,
                classes,
            )])
        })
    });
    with_sweep(gated, sweep)
}
