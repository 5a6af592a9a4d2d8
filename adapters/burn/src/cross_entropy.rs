//! Softmax cross-entropy with autodiff.

use crate::error::Result;
use crate::storage::{
    FLOATS, dtype_of, integers, own_view, owned, unwrap, view, with_indices, wrap, wrong_dtype,
};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::ops::FloatTensorOps;
use burn::backend::{BackendTensor, Flex, Scalar};
use burn::tensor::{Element, Int, Tensor};
use burn_flex::FlexTensor;
use bytemuck::Pod;
use gradix::{Float, Partial, Reduction, SoftmaxXent};
use std::marker::PhantomData;

/// The loss of `logits` against `labels`: `burn::nn::loss::CrossEntropyLoss`, with all options of [`SoftmaxXent`].
///
/// *Logits*: of type `T`, rank 1 to 8, any strides; the class axis is the last unless `options` name another. *Labels*:
/// integers of 8 to 64 bits, one for each row, in the logits' shape without the class axis or as rank 1 in C order.
/// *Result*: rank 1, the loss; with [`Reduction::None`] one loss for each row, in C order.
///
/// NaN, infinities, masked classes, equality class and accuracy are those of [`SoftmaxXent`]. Where the upstream
/// gradient is not 1, each element is rounded once more. A gradient of the labels there is none, nor of the gradient.
///
/// **Memory.** Where the logits are part of a graph, loss and gradient are computed at once, and the gradient is kept for
/// the backward pass. It takes the place of the logits, and no memory more, if nobody else holds them: give the tensor
/// away, as in `cross_entropy(model.forward(x), …)`. The backward pass then registers it as it is; an upstream gradient
/// other than 1 costs a read and a write of it. With [`Reduction::None`], whose upstream gradients are not known before,
/// the logits and six numbers a row are kept, and the backward pass reads the logits again.
///
/// # Errors
/// Tensors of another backend, logits that are not of type `T`, and what [`SoftmaxXent`] finds wrong: shapes,
/// options, and the first label that is no class.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use gradix_burn::{Reduction, SoftmaxXent, cross_entropy};
///
/// // Three places of a sequence in one batch; classes on axis 1, one label to be ignored.
/// let device = Device::flex();
/// let logits = Tensor::<3>::zeros([1, 4, 3], &device);
/// let labels = Tensor::<2, Int>::from_data([[3, -100, 0]], &device);
/// let options = SoftmaxXent::<f32>::new().class_axis(1).ignore_index(-100).label_smoothing(0.1);
/// let loss = cross_entropy(logits.clone(), labels.clone(), &options)?;
/// assert!((loss.into_scalar::<f32>() - 4f32.ln()).abs() < 1e-6);
///
/// let losses = cross_entropy(logits, labels, &options.reduction(Reduction::None))?;
/// assert_eq!(losses.dims(), [3]);
/// # Ok::<(), gradix_burn::Error>(())
/// ```
pub fn cross_entropy<T: Float + Element + Pod, const D: usize, const R: usize>(
    logits: Tensor<D>,
    labels: Tensor<R, Int>,
    options: &SoftmaxXent<T>,
) -> Result<Tensor<1>> {
    let (logits, graph) = unwrap(logits.into_dispatch(), "the logits")?;
    let labels = integers(labels, "the labels")?;
    if dtype_of(&logits) != T::dtype() {
        return Err(wrong_dtype("the logits", T::dtype().name(), dtype_of(&logits)));
    }
    let loss = match logits {
        BackendTensor::Float(logits) => BackendTensor::Float(forward(&logits, &labels, options)?),
        BackendTensor::Autodiff(logits) => {
            let (logits, node) = logits.into_parts();
            let op = CrossEntropy::<T>(PhantomData);
            BackendTensor::Autodiff(match op.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
                OpsKind::Tracked(prep) => {
                    let (loss, kept) = forward_keeping(logits, labels, options)?;
                    prep.finish(kept, loss)
                }
                OpsKind::UnTracked(prep) => prep.finish(forward(&logits, &labels, options)?),
            })
        }
        other => return Err(wrong_dtype("the logits", FLOATS, dtype_of(&other))),
    };
    Ok(Tensor::from_dispatch(wrap(loss, graph)))
}

/// The loss alone.
fn forward<T: Float + Element + Pod>(
    logits: &FlexTensor,
    labels: &FlexTensor,
    options: &SoftmaxXent<T>,
) -> Result<FlexTensor> {
    let logits = view::<T>(logits)?;
    let rows = with_indices!(labels, "the labels", |labels| Ok(options.forward(logits, labels)?))?;
    Ok(match options.get_reduction() {
        Reduction::None => flat(rows.losses),
        _ => flat(vec![rows.loss.value]),
    })
}

/// The loss, and what the backward pass needs.
fn forward_keeping<T: Float + Element + Pod>(
    mut logits: FlexTensor,
    labels: FlexTensor,
    options: &SoftmaxXent<T>,
) -> Result<(FlexTensor, Kept<T>)> {
    if options.get_reduction() == Reduction::None {
        let from = view::<T>(&logits)?;
        let rows = with_indices!(&labels, "the labels", |labels| Ok(options.forward(from, labels)?))?;
        let kept = Kept::Rows(Box::new(KeptRows {
            options: options.clone(),
            logits,
            labels,
            partials: rows.partials,
        }));
        return Ok((flat(rows.losses), kept));
    }
    if let Some(own) = own_view::<T>(&mut logits) {
        let loss = with_indices!(&labels, "the labels", |labels| {
            Ok(options.forward_backward_in_place(own, labels)?)
        })?;
        return Ok((flat(vec![loss.value]), Kept::Gradient(logits)));
    }
    let from = view::<T>(&logits)?;
    let mut gradient = vec![T::zeroed(); from.len()];
    let loss = with_indices!(&labels, "the labels", |labels| {
        Ok(options.forward_backward(from, labels, &mut gradient)?)
    })?;
    Ok((flat(vec![loss.value]), Kept::Gradient(owned(gradient, logits.layout().shape(), T::dtype()))))
}

fn flat<T: Element + Pod>(elements: Vec<T>) -> FlexTensor {
    let len = elements.len();
    owned(elements, &[len], T::dtype())
}

/// What the backward pass takes from the forward pass.
#[derive(Debug, Clone)]
enum Kept<T> {
    /// The gradient for an upstream gradient of 1.
    Gradient(FlexTensor),
    Rows(Box<KeptRows<T>>),
}

#[derive(Debug, Clone)]
struct KeptRows<T> {
    options: SoftmaxXent<T>,
    logits: FlexTensor,
    labels: FlexTensor,
    partials: Vec<Partial<T>>,
}

impl<T: Float + Element + Pod> KeptRows<T> {
    fn gradient(&self, upstream: &FlexTensor) -> Result<FlexTensor> {
        let logits = view::<T>(&self.logits)?;
        let upstream = view::<T>(upstream)?;
        let mut gradient = vec![T::zeroed(); logits.len()];
        with_indices!(&self.labels, "the labels", |labels| Ok(self.options.backward_from(
            logits,
            labels,
            &self.partials,
            upstream,
            &mut gradient
        )?))?;
        Ok(owned(gradient, self.logits.layout().shape(), T::dtype()))
    }
}

#[derive(Debug)]
struct CrossEntropy<T>(PhantomData<T>);

impl<T: Float + Element + Pod> Backward<Flex, 1> for CrossEntropy<T> {
    type State = Kept<T>;

    fn backward(self, ops: Ops<Kept<T>, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let kept = ops.state;
        unary::<Flex, _>(ops.parents, ops.node, gradients, |upstream| match kept {
            Kept::Gradient(gradient) => {
                let factor = upstream.storage::<T>()[upstream.layout().start_offset()].to_f64();
                if factor == 1.0 { gradient } else { Flex::float_mul_scalar(gradient, Scalar::Float(factor)) }
            }
            // burn's backward pass has no place for errors; the forward pass has checked logits, labels and options.
            Kept::Rows(rows) => rows.gradient(&upstream).expect("an upstream gradient for each row"),
        });
    }
}
