//! The kernels that training calls, from gradix and from its definitions, and the time they take.

use gradix::{AbsGt, Loss, Result, SoftmaxXent, View, ViewMut, reference, select};
use std::time::{Duration, Instant};

/// One and the same training step runs with either of two such tables.
pub struct Kernels {
    pub name: &'static str,
    /// `np.take(images, rows, axis=0)`: the images of a minibatch.
    pub take_axis: fn(View<f32>, isize, &[u32]) -> Result<Vec<f32>>,
    /// The mean loss; the logits become their gradient.
    pub softmax_xent: fn(ViewMut<f32>, &[u8]) -> Result<Loss<f32>>,
    /// The k-th largest magnitude.
    pub top_k_threshold: fn(&[f32], usize) -> Result<f32>,
    /// Adds the gradient to the residual; what then exceeds the threshold leaves it, as indices and values.
    pub sparsify_with: fn(&[f32], &mut [f32], AbsGt<f32>) -> Result<(Vec<u32>, Vec<f32>)>,
    /// `np.add.at(dst, indices, values)`
    pub scatter_add: fn(&mut [f32], &[u32], &[f32]) -> Result<()>,
}

/// The kernels that this crate is about.
pub const GRADIX: Kernels = Kernels {
    name: "gradix",
    take_axis: |images, axis, rows| gradix::take_axis(images, axis, rows),
    softmax_xent: |logits, labels| SoftmaxXent::new().forward_backward_in_place(logits, labels),
    top_k_threshold: |gradient, k| select::top_k_threshold(gradient, k),
    sparsify_with: |gradient, residual, above| select::sparsify_with(gradient, residual, above),
    scatter_add: |dst, indices, values| gradix::scatter_add(dst, indices, values),
};

/// Their definitions, as plain loops.
pub const REFERENCE: Kernels = Kernels {
    name: "reference",
    take_axis: |images, axis, rows| reference::take_axis(images, axis, rows),
    softmax_xent: |logits, labels| {
        reference::SoftmaxXent(&SoftmaxXent::new()).forward_backward_in_place(logits, labels)
    },
    top_k_threshold: |gradient, k| reference::select::top_k_threshold(gradient, k),
    sparsify_with: |gradient, residual, above| reference::select::sparsify_with(gradient, residual, above),
    scatter_add: |dst, indices, values| reference::scatter_add(dst, indices, values),
};

/// How often each kernel was called, and for how long it ran in all, in the order of the first calls.
#[derive(Default)]
pub struct Clock(Vec<Spent>);

/// A line of the [`Clock`].
pub struct Spent {
    pub kernel: &'static str,
    pub calls: u32,
    pub time: Duration,
}

impl Clock {
    pub fn time<R>(&mut self, kernel: &'static str, run: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = run();
        let time = start.elapsed();
        match self.0.iter_mut().find(|spent| spent.kernel == kernel) {
            Some(spent) => (spent.calls, spent.time) = (spent.calls + 1, spent.time + time),
            None => self.0.push(Spent { kernel, calls: 1, time }),
        }
        result
    }

    pub fn spent(&self) -> &[Spent] {
        &self.0
    }
}
