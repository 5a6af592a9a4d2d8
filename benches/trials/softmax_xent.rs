//! Softmax cross-entropy.

use super::{Axes, Draw, Drawn, Idx, Trial, VIEWS, copy_of, drawn_types, number, signed, size};
use crate::common::data::Element;
use gradix::SoftmaxXent;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;

pub const OPERATIONS: &[(&str, Draw)] = &[
    ("softmax_xent", |rng, most| drawn_types!(rng, drawn(Form::Gradient, rng, most))),
    ("softmax_xent in place", |rng, most| drawn_types!(rng, drawn(Form::InPlace, rng, most))),
    ("softmax_xent, smoothed", |rng, most| drawn_types!(rng, drawn(Form::Smoothed, rng, most))),
    ("softmax_xent, loss alone", |rng, most| drawn_types!(rng, drawn(Form::Loss, rng, most))),
];

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Gradient,
    InPlace,
    /// With label smoothing and a z-loss.
    Smoothed,
    Loss,
}

const SMOOTHING: f64 = 0.1;
const Z_LOSS: f64 = 1e-4;

struct Xent<T, I> {
    form: Form,
    axes: Axes,
    logits: Vec<T>,
    labels: Vec<I>,
    grad: Vec<T>,
    losses: Vec<T>,
    loss: T,
}

fn drawn<T: Element, I: Idx>(form: Form, rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    // Short rows are as common as all longer ones.
    let longest = if rng.random_bool(0.5) { 256 } else { 130_000 };
    let classes = size(rng, 2, longest.min(I::MOST));
    let rows = size(rng, 1, most / (2 * classes * size_of::<T>()));
    let mut axes = Axes::draw(rng, [rows, classes, 1]);
    if form == Form::InPlace {
        axes = axes.with_axis(classes);
    }
    let mut rng = ChaCha8Rng::from_rng(rng);
    let gap = if axes.is_contiguous() { "" } else { ", " };
    Drawn {
        op: OPERATIONS[form as usize].0,
        shape: format!("{} {} {rows}x{classes}{gap}{}", T::TYPE, I::LABEL, axes.layout),
        door: VIEWS,
        bytes: 2 * rows * classes * size_of::<T>(),
        make: Box::new(move || {
            let mut logits: Vec<T> = signed(&mut rng, axes.extent());
            logits.iter_mut().for_each(|x| *x = *x * number(4.0));
            let labels = I::list(&mut rng, rows, classes);
            let room = |has: bool, n: usize| if has { n } else { 0 };
            let mut grad = vec![T::zero(); room(form != Form::Loss, rows * classes)];
            if form == Form::InPlace {
                grad.copy_from_slice(&logits);
            }
            let losses = Vec::with_capacity(room(form == Form::Loss, rows));
            Box::new(Xent { form, axes, logits, labels, grad, losses, loss: T::zero() })
        }),
    }
}

impl<T: Element, I: Idx> Trial for Xent<T, I> {
    fn gradix(&mut self) {
        let Xent { form, axes, logits, labels, grad, losses, loss } = self;
        let shape = [axes.shape[0], axes.shape[1]];
        let strides = [axes.strides[0] as isize, axes.strides[1] as isize];
        let logits = || match axes.is_contiguous() {
            true => gradix::View::new(logits, &shape).expect("its shape"),
            false => gradix::View::strided(logits, &shape, &strides, 0).expect("within"),
        };
        let xent = SoftmaxXent::new();
        match form {
            Form::Loss => {
                let rows = xent.forward(logits(), labels).expect("labels in bounds");
                losses.clear();
                losses.extend_from_slice(&rows.losses);
            }
            Form::InPlace => {
                let grad = gradix::ViewMut::new(grad, &shape).expect("its shape");
                *loss = xent.forward_backward_in_place(grad, labels).expect("labels in bounds").value;
            }
            _ => {
                let xent = match form {
                    Form::Smoothed => xent.label_smoothing(number(SMOOTHING)).z_loss(number(Z_LOSS)),
                    _ => xent,
                };
                let grad = gradix::ViewMut::new(grad, &shape).expect("its shape");
                *loss = xent.forward_backward(logits(), labels, grad).expect("labels in bounds").value;
            }
        }
        black_box((losses, grad, loss));
    }

    fn plain(&mut self, copy: usize) {
        let Xent { form, axes, logits, labels, grad, losses, loss } = self;
        let z = if *form == Form::Smoothed {
            (number(SMOOTHING), number(Z_LOSS))
        } else {
            (T::zero(), T::zero())
        };
        match form {
            Form::Loss => copy_of!(copy, losses_of::<T, I>(logits, axes, labels, losses)),
            Form::InPlace => *loss = copy_of!(copy, in_place::<T, I>(axes.shape[1], labels, grad)),
            Form::Smoothed => *loss = copy_of!(copy, smoothed::<T, I>(logits, axes, labels, z, grad)),
            Form::Gradient => *loss = copy_of!(copy, gradient::<T, I>(logits, axes, labels, grad)),
        }
        black_box((losses, grad, loss));
    }

    fn agrees(&mut self) -> bool {
        let reset = |grad: &mut Vec<T>, logits: &[T], form: Form| {
            if form == Form::InPlace {
                grad.copy_from_slice(logits);
            }
        };
        reset(&mut self.grad, &self.logits, self.form);
        self.gradix();
        let (grad, losses, loss) = (self.grad.clone(), self.losses.clone(), self.loss);
        reset(&mut self.grad, &self.logits, self.form);
        self.plain(0);
        // Rounding, of another exponential and of sums in another order; a target's gradient is a difference.
        let rows: T = number(self.labels.len() as f64);
        let allowed = T::epsilon() * number(self.axes.shape[1] as f64 + 1000.0);
        let near = |a: &T, b: &T, scale: T| num_traits::Float::abs(*a - *b) <= allowed * scale;
        grad.iter().zip(&self.grad).all(|(a, b)| near(a, b, num_traits::Float::abs(*b) + rows.recip()))
            && losses.len() == self.losses.len()
            && losses.iter().zip(&self.losses).all(|(a, b)| near(a, b, number(100.0)))
            && near(&loss, &self.loss, number::<T>(100.0) + rows)
    }
}

/// The elements of a row, wherever they are: a slice's where the classes are neighbours.
macro_rules! row {
    ($logits:ident, $axes:ident, $row:expr, |$x:ident| $body:expr) => {
        if $axes.strides[1] == 1 {
            let $x = $logits[$row * $axes.strides[0]..][..$axes.shape[1]].iter().copied();
            $body
        } else {
            let from = $logits[$row * $axes.strides[0]..].iter().copied();
            let $x = from.step_by($axes.strides[1]).take($axes.shape[1]);
            $body
        }
    };
}

#[inline(never)]
fn gradient<T: Element, I: Idx, const COPY: usize>(
    logits: &[T],
    axes: &Axes,
    labels: &[I],
    grad: &mut [T],
) -> T {
    black_box(COPY);
    let (classes, mean) = (axes.shape[1], number::<T>(labels.len() as f64).recip());
    let mut loss = T::zero();
    for (row, (grad, y)) in grad.chunks_exact_mut(classes).zip(labels).enumerate() {
        row!(logits, axes, row, |x| {
            let max = x.clone().fold(T::neg_infinity(), T::max);
            let mut sum = T::zero();
            for (grad, x) in grad.iter_mut().zip(x) {
                *grad = (x - max).exp();
                sum += *grad;
            }
            let scale = mean / sum;
            loss += sum.ln() - grad[y.at()].ln();
            grad.iter_mut().for_each(|p| *p = *p * scale);
            grad[y.at()] = grad[y.at()] - mean;
        });
    }
    loss * mean
}

#[inline(never)]
fn in_place<T: Element, I: Idx, const COPY: usize>(classes: usize, labels: &[I], grad: &mut [T]) -> T {
    black_box(COPY);
    let mean = number::<T>(labels.len() as f64).recip();
    let mut loss = T::zero();
    for (x, y) in grad.chunks_exact_mut(classes).zip(labels) {
        let max = x.iter().copied().fold(T::neg_infinity(), T::max);
        let mut sum = T::zero();
        for x in &mut *x {
            *x = (*x - max).exp();
            sum += *x;
        }
        let scale = mean / sum;
        loss += sum.ln() - x[y.at()].ln();
        x.iter_mut().for_each(|p| *p = *p * scale);
        x[y.at()] = x[y.at()] - mean;
    }
    loss * mean
}

/// `q = (1 - smoothing) * onehot(y) + smoothing / classes`, the loss `mean(lse - sum(q * x) + z_loss * lse**2)`
#[inline(never)]
fn smoothed<T: Element, I: Idx, const COPY: usize>(
    logits: &[T],
    axes: &Axes,
    labels: &[I],
    (smoothing, z_loss): (T, T),
    grad: &mut [T],
) -> T {
    black_box(COPY);
    let (classes, mean) = (axes.shape[1], number::<T>(labels.len() as f64).recip());
    let (one, two, each) = (T::one(), number::<T>(2.0), smoothing / number(classes as f64));
    let mut loss = T::zero();
    for (row, (grad, y)) in grad.chunks_exact_mut(classes).zip(labels).enumerate() {
        row!(logits, axes, row, |x| {
            let max = x.clone().fold(T::neg_infinity(), T::max);
            let (mut sum, mut total) = (T::zero(), T::zero());
            for (grad, x) in grad.iter_mut().zip(x) {
                *grad = (x - max).exp();
                sum += *grad;
                total += x;
            }
            let lse = max + sum.ln();
            let target = max + grad[y.at()].ln();
            loss += lse - (one - smoothing) * target - each * total + z_loss * lse * lse;
            let scale = (one + two * z_loss * lse) / sum;
            grad.iter_mut().for_each(|p| *p = (*p * scale - each) * mean);
            grad[y.at()] = grad[y.at()] - (one - smoothing) * mean;
        });
    }
    loss * mean
}

#[inline(never)]
fn losses_of<T: Element, I: Idx, const COPY: usize>(
    logits: &[T],
    axes: &Axes,
    labels: &[I],
    losses: &mut Vec<T>,
) {
    black_box(COPY);
    losses.clear();
    for (row, y) in labels.iter().enumerate() {
        row!(logits, axes, row, |x| {
            let max = x.clone().fold(T::neg_infinity(), T::max);
            let target = x.clone().nth(y.at()).expect("a label in bounds");
            let sum: T = x.map(|x| (x - max).exp()).sum();
            losses.push(sum.ln() + max - target);
        });
    }
}
