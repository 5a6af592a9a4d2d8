//! The kernels that training calls, from gradix and from its definitions, and the time they take.

use gradix::{AbsGt, Loss, Result, SoftmaxXent, View, ViewMut, reference, select};
use std::time::{Duration, Instant};

/// What a training step calls. It is written once, for any implementation.
pub trait Kernels {
    const NAME: &'static str;

    /// `np.take(images, rows, axis=0)`: the images of a minibatch.
    fn take_rows(images: View<f32>, rows: &[u32]) -> Result<Vec<f32>>;
    /// The mean loss; the logits become their gradient.
    fn softmax_xent(logits: ViewMut<f32>, labels: &[u8]) -> Result<Loss<f32>>;
    /// The k-th largest magnitude.
    fn top_k_threshold(gradient: &[f32], k: usize) -> Result<f32>;
    /// Adds the gradient to the residual; what then exceeds the threshold leaves it, as indices and values.
    fn sparsify_with(
        gradient: &[f32],
        residual: &mut [f32],
        above: AbsGt<f32>,
    ) -> Result<(Vec<u32>, Vec<f32>)>;
    /// `np.add.at(dst, indices, values)`
    fn scatter_add(dst: &mut [f32], indices: &[u32], values: &[f32]) -> Result<()>;
}

/// The kernels that this crate is about.
pub struct Gradix;

impl Kernels for Gradix {
    const NAME: &'static str = "gradix";

    fn take_rows(images: View<f32>, rows: &[u32]) -> Result<Vec<f32>> {
        gradix::take_axis(images, 0, rows)
    }
    fn softmax_xent(logits: ViewMut<f32>, labels: &[u8]) -> Result<Loss<f32>> {
        SoftmaxXent::new().forward_backward_in_place(logits, labels)
    }
    fn top_k_threshold(gradient: &[f32], k: usize) -> Result<f32> {
        select::top_k_threshold(gradient, k)
    }
    fn sparsify_with(
        gradient: &[f32],
        residual: &mut [f32],
        above: AbsGt<f32>,
    ) -> Result<(Vec<u32>, Vec<f32>)> {
        select::sparsify_with(gradient, residual, above)
    }
    fn scatter_add(dst: &mut [f32], indices: &[u32], values: &[f32]) -> Result<()> {
        gradix::scatter_add(dst, indices, values)
    }
}

/// Their definitions, as plain loops.
pub struct Reference;

impl Kernels for Reference {
    const NAME: &'static str = "reference";

    fn take_rows(images: View<f32>, rows: &[u32]) -> Result<Vec<f32>> {
        reference::take_axis(images, 0, rows)
    }
    fn softmax_xent(logits: ViewMut<f32>, labels: &[u8]) -> Result<Loss<f32>> {
        reference::SoftmaxXent(&SoftmaxXent::new()).forward_backward_in_place(logits, labels)
    }
    fn top_k_threshold(gradient: &[f32], k: usize) -> Result<f32> {
        reference::select::top_k_threshold(gradient, k)
    }
    fn sparsify_with(
        gradient: &[f32],
        residual: &mut [f32],
        above: AbsGt<f32>,
    ) -> Result<(Vec<u32>, Vec<f32>)> {
        reference::select::sparsify_with(gradient, residual, above)
    }
    fn scatter_add(dst: &mut [f32], indices: &[u32], values: &[f32]) -> Result<()> {
        reference::scatter_add(dst, indices, values)
    }
}

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
