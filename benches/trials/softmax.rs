//! Softmax and its logarithm, and cross-entropy with probabilities as targets.

use super::{Axes, Draw, Drawn, Trial, VIEWS, copy_of, number, signed, size};
use crate::common::data::Element;
use gradix::SoftmaxXent;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;

pub const OPERATIONS: &[(&str, Draw)] = &[
    ("softmax", |rng, most| drawn(Form::Softmax, rng, most)),
    ("log_softmax", |rng, most| drawn(Form::LogSoftmax, rng, most)),
    ("forward_backward_soft", |rng, most| drawn(Form::Soft, rng, most)),
];

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Softmax,
    LogSoftmax,
    Soft,
}

struct Rows<T> {
    form: Form,
    axes: Axes,
    logits: Vec<T>,
    targets: Vec<T>,
    out: Vec<T>,
    loss: T,
}

fn drawn(form: Form, rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    if rng.random_ratio(1, 3) { of::<f64>(form, rng, most) } else { of::<f32>(form, rng, most) }
}

fn of<T: Element>(form: Form, rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    let longest = if rng.random_bool(0.5) { 256 } else { 130_000 };
    let classes = size(rng, 2, longest);
    let rows = size(rng, 1, most / (3 * classes * size_of::<T>()));
    let axes = Axes::draw(rng, [rows, classes, 1]);
    let mut rng = ChaCha8Rng::from_rng(rng);
    Drawn {
        op: OPERATIONS[form as usize].0,
        shape: format!("{} {axes}", T::TYPE),
        door: VIEWS,
        bytes: 3 * rows * classes * size_of::<T>(),
        make: Box::new(move || {
            let mut logits: Vec<T> = signed(&mut rng, axes.extent());
            logits.iter_mut().for_each(|x| *x *= number(4.0));
            let soft = form == Form::Soft;
            let mut targets = vec![number::<T>(1.0 / classes as f64); if soft { rows * classes } else { 0 }];
            // Some of each row's mass on one class.
            for row in targets.chunks_exact_mut(classes) {
                row.iter_mut().for_each(|target| *target *= number(0.5));
                row[rng.random_range(0..classes)] += number(0.5);
            }
            Box::new(Rows {
                form,
                axes,
                logits,
                targets,
                out: vec![T::zero(); rows * classes],
                loss: T::zero(),
            })
        }),
    }
}

impl<T: Element> Trial for Rows<T> {
    fn gradix(&mut self) {
        let Rows { form, axes, logits, targets, out, loss } = self;
        let shape = [axes.shape[0], axes.shape[1]];
        let logits = axes.view(logits);
        // A matrix of one row is written by `Axes` with a last axis of length 1.
        let (logits, axis) = (logits, axes.axis());
        match form {
            Form::Softmax => gradix::softmax_into(logits, axis, axes.with_axis(shape[1]).view_mut(out)),
            Form::LogSoftmax => {
                gradix::log_softmax_into(logits, axis, axes.with_axis(shape[1]).view_mut(out))
            }
            Form::Soft => {
                let contiguous = axes.with_axis(shape[1]);
                let xent = SoftmaxXent::new().class_axis(axis);
                let (targets, out) = (contiguous.view(targets), contiguous.view_mut(out));
                xent.forward_backward_soft(logits, targets, out).map(|answer| *loss = answer.value)
            }
        }
        .expect("shapes that agree");
        black_box((out, loss));
    }

    fn plain(&mut self, copy: usize) {
        let Rows { form, axes, logits, targets, out, loss } = self;
        match form {
            Form::Softmax => copy_of!(copy, softmax::<T>(logits, axes, out)),
            Form::LogSoftmax => copy_of!(copy, log_softmax::<T>(logits, axes, out)),
            Form::Soft => *loss = copy_of!(copy, soft::<T>(logits, axes, targets, out)),
        }
        black_box((out, loss));
    }

    fn agrees(&mut self) -> bool {
        self.gradix();
        let (out, loss) = (self.out.clone(), self.loss);
        self.plain(0);
        let rows: T = number(self.axes.shape[0] as f64);
        let allowed = T::epsilon() * number(self.axes.shape[1] as f64 + 1000.0);
        let near =
            |a: T, b: T| num_traits::Float::abs(a - b) <= allowed * (num_traits::Float::abs(b) + T::one());
        out.iter().zip(&self.out).all(|(&a, &b)| near(a, b)) && near(loss / rows, self.loss / rows)
    }
}

/// The elements of a row, wherever they are.
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
fn softmax<T: Element, const COPY: usize>(logits: &[T], axes: &Axes, out: &mut [T]) {
    black_box(COPY);
    for (row, out) in out.chunks_exact_mut(axes.shape[1]).enumerate() {
        row!(logits, axes, row, |x| {
            let max = x.clone().fold(T::neg_infinity(), T::max);
            let mut sum = T::zero();
            for (out, x) in out.iter_mut().zip(x) {
                *out = (x - max).exp();
                sum += *out;
            }
            let scale = sum.recip();
            out.iter_mut().for_each(|p| *p *= scale);
        });
    }
}

#[inline(never)]
fn log_softmax<T: Element, const COPY: usize>(logits: &[T], axes: &Axes, out: &mut [T]) {
    black_box(COPY);
    for (row, out) in out.chunks_exact_mut(axes.shape[1]).enumerate() {
        row!(logits, axes, row, |x| {
            let max = x.clone().fold(T::neg_infinity(), T::max);
            let sum: T = x.clone().map(|x| (x - max).exp()).sum();
            let lse = max + sum.ln();
            out.iter_mut().zip(x).for_each(|(out, x)| *out = x - lse);
        });
    }
}

/// `p = softmax(x); grad = (p - targets) / m`, and the mean of `-sum(targets * log(p))`
#[inline(never)]
fn soft<T: Element, const COPY: usize>(logits: &[T], axes: &Axes, targets: &[T], grad: &mut [T]) -> T {
    black_box(COPY);
    let (classes, mean) = (axes.shape[1], number::<T>(axes.shape[0] as f64).recip());
    let mut loss = T::zero();
    for (row, (grad, targets)) in
        grad.chunks_exact_mut(classes).zip(targets.chunks_exact(classes)).enumerate()
    {
        row!(logits, axes, row, |x| {
            let max = x.clone().fold(T::neg_infinity(), T::max);
            let (mut sum, mut dot) = (T::zero(), T::zero());
            for ((grad, &target), x) in grad.iter_mut().zip(targets).zip(x) {
                *grad = (x - max).exp();
                sum += *grad;
                dot += target * x;
            }
            let scale = sum.recip();
            loss += max + sum.ln() - dot;
            grad.iter_mut().zip(targets).for_each(|(p, &target)| *p = (*p * scale - target) * mean);
        });
    }
    loss * mean
}
