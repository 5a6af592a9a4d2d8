//! A network with one hidden layer, `logits = relu(images · w1 + b1) · w2 + b2`, and how it learns.

use crate::data::{CLASSES, PIXELS};
use crate::kernels::{Clock, Kernels};
use anyhow::{Context, Result};
use gradix::{AbsGt, ViewMut};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, ShapeError};
use rand::RngExt;

pub const HIDDEN: usize = 128;
const LEARNING_RATE: f32 = 0.1;
const MOMENTUM: f32 = 0.9;
/// One gradient element in this many goes into an update.
const THINNING: usize = 10;

/// All weights and biases, layer after layer in one vector: so the network has one gradient, thinned and applied
/// as a whole.
pub struct Network {
    pub parameters: Vec<f32>,
}

/// The parameters in their shapes.
struct Layers<'a> {
    w1: ArrayView2<'a, f32>,
    b1: ArrayView1<'a, f32>,
    w2: ArrayView2<'a, f32>,
    b2: ArrayView1<'a, f32>,
}

impl Network {
    /// Uniform weights of variance 2 / inputs (He et al., 2015), and biases of 0.
    pub fn random(rng: &mut impl rand::Rng) -> Network {
        let mut weights = |inputs: usize, outputs: usize| -> Vec<f32> {
            let bound = (6.0 / inputs as f32).sqrt();
            (0..inputs * outputs).map(|_| rng.random_range(-bound..bound)).collect()
        };
        let (w1, w2) = (weights(PIXELS, HIDDEN), weights(HIDDEN, CLASSES));
        Network { parameters: [w1, vec![0.0; HIDDEN], w2, vec![0.0; CLASSES]].concat() }
    }

    fn layers(&self) -> Result<Layers<'_>, ShapeError> {
        let (w1, rest) = self.parameters.split_at(PIXELS * HIDDEN);
        let (b1, rest) = rest.split_at(HIDDEN);
        let (w2, b2) = rest.split_at(HIDDEN * CLASSES);
        Ok(Layers {
            w1: ArrayView2::from_shape((PIXELS, HIDDEN), w1)?,
            b1: ArrayView1::from(b1),
            w2: ArrayView2::from_shape((HIDDEN, CLASSES), w2)?,
            b2: ArrayView1::from(b2),
        })
    }

    /// The share of images whose label has the largest logit.
    pub fn accuracy(&self, images: &[f32], labels: &[u8]) -> Result<f64> {
        let (_, logits) = self.layers()?.forward(images_of(images)?);
        let right = logits.rows().into_iter().zip(labels).filter(|(logits, label)| {
            let guess = (0..CLASSES).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
            guess == Some(usize::from(**label))
        });
        Ok(right.count() as f64 / labels.len() as f64)
    }

    /// The mean loss of a minibatch, and its gradient in the order of the parameters.
    pub fn loss_and_gradient<K: Kernels>(
        &self,
        images: &[f32],
        labels: &[u8],
        clock: &mut Clock,
    ) -> Result<(f32, Vec<f32>)> {
        let images = images_of(images)?;
        let layers = self.layers()?;
        let (hidden, mut logits) = layers.forward(images);

        let view =
            ViewMut::new(logits.as_slice_mut().context("logits in C order")?, &[labels.len(), CLASSES])?;
        let loss = clock.time("softmax_xent", || K::softmax_xent(view, labels))?;
        let d_logits = logits; // which the kernel has overwritten

        let mut d_hidden = d_logits.dot(&layers.w2.t());
        d_hidden.zip_mut_with(&hidden, |d, &h| *d = if h > 0.0 { *d } else { 0.0 });
        let gradient = [
            images.t().dot(&d_hidden),
            d_hidden.sum_axis(Axis(0)).insert_axis(Axis(0)),
            hidden.t().dot(&d_logits),
            d_logits.sum_axis(Axis(0)).insert_axis(Axis(0)),
        ];
        Ok((loss.value, gradient.iter().flatten().copied().collect()))
    }
}

impl Layers<'_> {
    /// The hidden layer and the logits.
    fn forward(&self, images: ArrayView2<'_, f32>) -> (Array2<f32>, Array2<f32>) {
        let mut hidden = images.dot(&self.w1) + self.b1;
        hidden.mapv_inplace(|x| x.max(0.0));
        let logits = hidden.dot(&self.w2) + self.b2;
        (hidden, logits)
    }
}

fn images_of(pixels: &[f32]) -> Result<ArrayView2<'_, f32>, ShapeError> {
    ArrayView2::from_shape((pixels.len() / PIXELS, PIXELS), pixels)
}

/// Gradient descent with momentum on thinned gradients: only the largest elements of a gradient go into an update,
/// and the residual keeps the rest until it is large enough (Aji and Heafield, 2017).
pub struct Optimizer {
    velocity: Vec<f32>,
    residual: Vec<f32>,
}

impl Optimizer {
    pub fn new(parameters: usize) -> Optimizer {
        Optimizer { velocity: vec![0.0; parameters], residual: vec![0.0; parameters] }
    }

    pub fn step<K: Kernels>(
        &mut self,
        parameters: &mut [f32],
        gradient: &[f32],
        clock: &mut Clock,
    ) -> Result<()> {
        let Optimizer { velocity, residual } = self;
        let k = gradient.len() / THINNING;
        let threshold = clock.time("top_k_threshold", || K::top_k_threshold(gradient, k))?;
        let above = AbsGt(threshold);
        let (indices, values) =
            clock.time("sparsify_with", || K::sparsify_with(gradient, residual, above))?;

        velocity.iter_mut().for_each(|v| *v *= MOMENTUM);
        clock.time("scatter_add", || K::scatter_add(velocity, &indices, &values))?;
        for (parameter, v) in parameters.iter_mut().zip(velocity) {
            *parameter -= LEARNING_RATE * *v;
        }
        Ok(())
    }
}
