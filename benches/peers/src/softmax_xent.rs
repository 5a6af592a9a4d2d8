//! Who else has the gradient of a softmax cross-entropy: X1 to X5.

use crate::common::data::{Buffer, Element};
use crate::common::work::softmax_xent::Xent;
use crate::common::{numbers, loops};
use crate::peer::{Peer, burn, candle};
use ndarray::{Array2, Axis, Zip};
use rayon::prelude::*;
use rten_simd::SimdOp;

/// The gradient and the loss.
type Answer<T> = (Buffer<T>, T);

fn read<T: Element>(answer: &Answer<T>) -> Vec<f64> {
    let mut all = numbers(&answer.0);
    all.extend(numbers(&[answer.1]));
    all
}

fn room<T: Element>(len: usize) -> Answer<T> {
    (Buffer::zeros(len), T::zero())
}

pub fn peers(work: &Xent<f32>) -> Vec<Peer> {
    let (classes, rows) = (work.classes, work.labels.len());
    let (logits, labels) = (&*work.logits, &*work.labels);
    let burn_logits = burn::floats(logits, [rows, classes]).autodiff().require_grad();
    let burn_labels = burn::ints(labels, [rows]);
    let burn_loss = burn::CrossEntropyLossConfig::new().init(&burn_logits.device());
    let (x, y) = (logits.to_vec(), labels.to_vec());
    let mut peers = both(work);
    peers.extend([
        Peer::new(
            "burn",
            move || {
                let logits = burn_logits.clone();
                let loss = burn_loss.forward(logits.clone(), burn_labels.clone());
                let gradients = loss.backward();
                (logits.grad(&gradients).expect("a gradient"), loss)
            },
            |(gradient, loss)| [burn::numbers(gradient), burn::numbers(loss)].concat(),
        ),
        // Its forward softmax, and by hand what a gradient needs besides.
        Peer::into(
            "rten + glue",
            room(x.len()),
            move |(grad, loss)| {
                let mean = 1.0 / y.len() as f32;
                let mut sum = 0.0;
                for ((x, grad), &y) in x.chunks_exact(classes).zip(grad.chunks_exact_mut(classes)).zip(&y) {
                    grad.copy_from_slice(x);
                    let p = rten_vecmath::Softmax::new_mut(grad).dispatch();
                    sum -= p[y as usize].ln();
                    p.iter_mut().for_each(|p| *p *= mean);
                    p[y as usize] -= mean;
                }
                *loss = sum * mean;
            },
            read,
        ),
    ]);
    peers
}

pub fn peers_f64(work: &Xent<f64>) -> Vec<Peer> {
    both(work)
}

/// Those who take both `f32` and `f64`.
fn both<T: Element + candle_core::WithDType + ndarray::ScalarOperand>(work: &Xent<T>) -> Vec<Peer> {
    let (classes, rows) = (work.classes, work.labels.len());
    let (logits, labels) = (&*work.logits, &*work.labels);
    let array = Array2::from_shape_vec((rows, classes), logits.to_vec()).expect("a shape");
    let var = candle::Var::from_tensor(&candle::tensor(logits, &[rows, classes])).expect("a variable");
    let targets = candle::tensor(labels, &[rows]);
    let places = labels.to_vec();
    let (x, y) = (logits.to_vec(), labels.to_vec());
    vec![
        Peer::new(
            "ndarray",
            move || {
                let scale = <T as num_traits::NumCast>::from(rows).expect("a number");
                let max = array.map_axis(Axis(1), |row| {
                    row.fold(T::neg_infinity(), |a, &b| num_traits::Float::max(a, b))
                });
                let mut p = &array - &max.insert_axis(Axis(1));
                p.mapv_inplace(num_traits::Float::exp);
                let sums = p.map_axis(Axis(1), |row| row.iter().copied().sum::<T>());
                p /= &sums.insert_axis(Axis(1));
                let mut loss = T::zero();
                Zip::from(p.rows_mut()).and(&places[..]).for_each(|mut row, &y| {
                    loss = loss - num_traits::Float::ln(row[y as usize]);
                    row[y as usize] = row[y as usize] - T::one();
                });
                p /= scale;
                (p, loss / scale)
            },
            |(p, loss)| [numbers(p.as_slice().expect("C order")), numbers(&[loss])].concat(),
        ),
        Peer::new(
            "candle",
            move || {
                let loss = candle_nn::loss::cross_entropy(var.as_tensor(), &targets).expect("a loss");
                let mut gradients = loss.backward().expect("gradients");
                (gradients.remove(var.as_tensor()).expect("a gradient"), loss)
            },
            |(gradient, loss)| [candle::numbers(gradient), candle::numbers(loss)].concat(),
        ),
        Peer::into(
            "loop, rayon",
            room(x.len()),
            move |(grad, loss)| {
                let mean = num_traits::cast::<_, T>(rows).expect("a number").recip();
                let sum: T = (x.par_chunks_exact(classes).zip(grad.par_chunks_exact_mut(classes)).zip(&y))
                    .with_min_len(rows.div_ceil(64))
                    .map(|((x, grad), &y)| {
                        let loss = loops::softmax_xent(x, classes, &[y], grad);
                        grad.iter_mut().for_each(|g| *g = *g * mean);
                        loss
                    })
                    .sum();
                *loss = sum * mean;
            },
            read,
        ),
    ]
}
