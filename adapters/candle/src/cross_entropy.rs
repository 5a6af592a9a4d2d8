//! Softmax cross-entropy with autograd.

use crate::storage::{on_cpu, view, with_indices, wrong_dtype};
use candle_core::{CpuStorage, CustomOp2, Device, Error, Layout, Result, Shape, Tensor, WithDType};
use gradix::{Float, Partial, Reduction, SoftmaxXent};
use std::sync::Mutex;

/// What the forward pass keeps for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Keep {
    /// The gradient, computed along with the loss: the logits are read once, and as much memory as they take is held
    /// until the backward pass. With [`Reduction::None`], whose upstream gradients are not known yet, it keeps
    /// the partials.
    #[default]
    Gradient,
    /// Six numbers a row. The backward pass reads the logits again.
    Partials,
}

/// The loss of `logits` against `labels`: `candle_nn::loss::cross_entropy`, with all options of [`SoftmaxXent`].
///
/// *Logits*: `T`, rank 1 to 8, any strides; the class axis is the last unless `options` name another. *Labels*: `u8`,
/// `u32`, `i16`, `i32` or `i64`, one for each row, in the logits' shape without the class axis or as rank 1 in C order.
/// *Result*: a scalar; with [`Reduction::None`] one loss for each row, in the labels' shape.
///
/// NaN, infinities, masked classes, equality class and accuracy are those of [`SoftmaxXent`]. Where the upstream
/// gradient is not 1, each element is rounded once more. A gradient of the labels there is none, nor of the gradient.
///
/// Where the logits are part of a graph ([`Tensor::track_op`]) the gradient is computed at once and kept for the first
/// backward pass: see [`Keep`]. [`cross_entropy_keeping`] takes the other choice.
///
/// # Errors
/// Tensors that are not on the CPU, logits that are not of type `T`, other labels, and what
/// [`SoftmaxXent`] finds wrong: shapes, options, and the first label that is no class.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use gradix_candle::{Reduction, SoftmaxXent, cross_entropy};
///
/// // Three places of a sequence in one batch; classes on axis 1, one label to be ignored.
/// let logits = Var::zeros((1, 4, 3), candle_core::DType::F64, &Device::Cpu)?;
/// let labels = Tensor::new(&[[3i64, -100, 0]], &Device::Cpu)?;
/// let options = SoftmaxXent::<f64>::new().class_axis(1).ignore_index(-100).label_smoothing(0.1);
/// let loss = cross_entropy(&logits, &labels, &options)?;
/// assert!((loss.to_scalar::<f64>()? - 4f64.ln()).abs() < 1e-15);
///
/// let losses = cross_entropy(&logits, &labels, &options.reduction(Reduction::None))?;
/// assert_eq!(losses.dims(), [1, 3]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn cross_entropy<T: Float + WithDType>(
    logits: &Tensor,
    labels: &Tensor,
    options: &SoftmaxXent<T>,
) -> Result<Tensor> {
    cross_entropy_keeping(logits, labels, options, Keep::default())
}

/// As [`cross_entropy`], with a choice of what is kept between the passes.
///
/// # Errors
/// Those of [`cross_entropy`].
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use gradix_candle::{Keep, SoftmaxXent, cross_entropy_keeping};
///
/// let logits = Var::new(&[[0f32, 0.]], &Device::Cpu)?;
/// let labels = Tensor::new(&[1u8], &Device::Cpu)?;
/// let loss = cross_entropy_keeping(&logits, &labels, &SoftmaxXent::<f32>::new(), Keep::Partials)?;
/// let gradients = loss.backward()?;
/// assert_eq!(gradients.get(&logits).expect("a gradient").to_vec2::<f32>()?, [[0.5, -0.5]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn cross_entropy_keeping<T: Float + WithDType>(
    logits: &Tensor,
    labels: &Tensor,
    options: &SoftmaxXent<T>,
    keep: Keep,
) -> Result<Tensor> {
    if logits.dtype() != T::DTYPE {
        return Err(wrong_dtype("the logits", T::DTYPE.as_str(), logits.dtype()));
    }
    let op = CrossEntropy {
        is_per_row: options.get_reduction() == Reduction::None,
        keep: logits.track_op().then_some(keep),
        kept: Mutex::new(None),
        options: options.clone(),
    };
    logits.apply_op2(labels, op)
}

struct CrossEntropy<T: Float> {
    options: SoftmaxXent<T>,
    is_per_row: bool,
    /// `None` where no gradient will be asked for.
    keep: Option<Keep>,
    kept: Mutex<Option<Kept<T>>>,
}

enum Kept<T> {
    /// The gradient for an upstream gradient of 1. The backward pass takes it away; a second one computes it anew.
    Gradient(Vec<T>),
    Partials(Vec<Partial<T>>),
}

impl<T: Float + WithDType> CrossEntropy<T> {
    fn keep(&self, kept: Kept<T>) {
        *self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(kept);
    }

    /// The gradient from the logits and what was kept.
    fn gradient(&self, logits: &Tensor, labels: &Tensor, upstream: &Tensor) -> Result<Vec<T>> {
        let mut kept = self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(Kept::Gradient(mut gradient)) = kept.take_if(|kept| matches!(kept, Kept::Gradient(_))) {
            let factor = upstream.to_scalar::<T>()?;
            if factor != <T as WithDType>::from_f64(1.0) {
                gradient.iter_mut().for_each(|x| *x *= factor);
            }
            return Ok(gradient);
        }
        let mut gradient = vec![T::zero(); logits.elem_count()];
        on_cpu(logits, "the logits", |logits, at| {
            let logits = view::<T>(logits, at)?;
            on_cpu(upstream, "the upstream gradient", |upstream, at| {
                let upstream = view::<T>(upstream, at)?;
                on_cpu(labels, "the labels", |labels, at| {
                    with_indices!(labels, at, "the labels", |labels| match &*kept {
                        Some(Kept::Partials(partials)) => self
                            .options
                            .backward_from(logits, labels, partials, upstream, &mut gradient)
                            .map(|_| ()),
                        _ => self.options.backward(logits, labels, upstream, &mut gradient),
                    }
                    .map_err(Error::wrap))
                })
            })
        })?;
        Ok(gradient)
    }
}

impl<T: Float + WithDType> CustomOp2 for CrossEntropy<T> {
    fn name(&self) -> &'static str {
        "gradix-cross-entropy"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        logits_at: &Layout,
        labels: &CpuStorage,
        labels_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let logits = view::<T>(logits, logits_at)?;
        let shape = if self.is_per_row { labels_at.shape().clone() } else { Shape::from(()) };
        let losses = with_indices!(labels, labels_at, "the labels", |labels| {
            if self.keep == Some(Keep::Gradient) && !self.is_per_row {
                let mut gradient = vec![T::zero(); logits.len()];
                self.options.forward_backward(logits, labels, &mut gradient).map(|loss| {
                    self.keep(Kept::Gradient(gradient));
                    vec![loss.value]
                })
            } else {
                self.options.forward(logits, labels).map(|rows| {
                    if self.keep.is_some() {
                        self.keep(Kept::Partials(rows.partials));
                    }
                    if self.is_per_row { rows.losses } else { vec![rows.loss.value] }
                })
            }
            .map_err(Error::wrap)
        })?;
        Ok((T::to_cpu_storage_owned(losses), shape))
    }

    fn bwd(
        &self,
        logits: &Tensor,
        labels: &Tensor,
        _loss: &Tensor,
        upstream: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = self.gradient(logits, labels, upstream)?;
        Ok((Some(Tensor::from_vec(gradient, logits.shape(), &Device::Cpu)?), None))
    }
}
