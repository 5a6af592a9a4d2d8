//! Gathers with autodiff: their gradients are scatter-adds.

use crate::error::Result;
use crate::storage::{FLOATS, dtype_of, integers, owned, unwrap, view, with_indices, wrap, wrong_dtype};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind, unary};
use burn::backend::{BackendTensor, DispatchTensor, Flex};
use burn::tensor::kind::Basic;
use burn::tensor::{AsIndex, BoolStore, DType, Element, Int, Shape, Tensor};
use burn_flex::FlexTensor;
use bytemuck::Pod;
use gradix::Float;

/// `x.select(dim, ids)`: what stands at these indices of an axis.
///
/// *x*: floats (`f32`, `f64`), integers of 8 to 64 bits or bools, rank 1 to 8, any strides. *ids*: integers of
/// 8 to 64 bits; negative ones count from the end, as does `dim`. The values are those of `x`, bit for bit.
///
/// The gradient is a scatter-add in the order of `ids`: an index that stands there twice gets both
/// contributions, and the sum has the same bits for every number of threads.
///
/// # Errors
/// Other types and backends, an axis that does not exist, and the first index out of bounds (where burn panics).
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
///
/// let device = Device::flex().autodiff();
/// let x = Tensor::<2>::from_data([[1f32, 2.], [3., 4.], [5., 6.]], &device).require_grad();
/// let ids = Tensor::<1, Int>::from_data([2, 0, 2], &device);
/// let rows = gradix_burn::select(x.clone(), 0, ids)?;
/// assert_eq!(rows.to_data().try_to_vec::<f32>().expect("f32"), [5., 6., 1., 2., 5., 6.]);
///
/// let gradient = x.grad(&rows.sum().backward()).expect("a gradient");
/// assert_eq!(gradient.into_data().try_to_vec::<f32>().expect("f32"), [1., 1., 0., 0., 2., 2.]);
/// # Ok::<(), gradix_burn::Error>(())
/// ```
pub fn select<const D: usize, K: Basic>(
    x: Tensor<D, K>,
    dim: impl AsIndex,
    ids: Tensor<1, Int>,
) -> Result<Tensor<D, K>> {
    let ids = integers(ids, "the indices")?;
    Ok(Tensor::from_dispatch(selected(x.into_dispatch(), dim.as_index(), ids)?))
}

/// The rows of a table for ids of rank 2: `burn::tensor::module::embedding`, `burn::nn::Embedding::forward`.
///
/// Types, gradient and errors are those of [`select`]. The gradient that comes back is a whole table, mostly
/// zeros: [`sgd_step_rows`](crate::sgd_step_rows) does without.
///
/// # Errors
/// Those of [`select`].
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
///
/// let device = Device::flex();
/// let table = Tensor::<2>::from_data([[0f32, 1.], [2., 3.], [4., 5.]], &device);
/// let ids = Tensor::<2, Int>::from_data([[2, 0], [1, 1]], &device);
/// assert_eq!(gradix_burn::embedding(table, ids)?.dims(), [2, 2, 2]);
/// # Ok::<(), gradix_burn::Error>(())
/// ```
pub fn embedding(table: Tensor<2>, ids: Tensor<2, Int>) -> Result<Tensor<3>> {
    let ids = integers(ids, "the indices")?;
    Ok(Tensor::from_dispatch(selected(table.into_dispatch(), 0, ids)?))
}

/// The shape of `x` with that of `ids` in place of an axis.
fn selected(x: DispatchTensor, axis: isize, ids: FlexTensor) -> Result<DispatchTensor> {
    let (x, graph) = unwrap(x, "what is selected from")?;
    let values = match x {
        BackendTensor::Float(x) => BackendTensor::Float(take(&x, axis, &ids)?),
        BackendTensor::Int(x) => BackendTensor::Int(take(&x, axis, &ids)?),
        BackendTensor::Bool(x) => BackendTensor::Bool(take(&x, axis, &ids)?),
        BackendTensor::Autodiff(x) => {
            let values = take(x.primitive(), axis, &ids)?;
            let (x, node) = x.into_parts();
            BackendTensor::Autodiff(
                match Select.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
                    OpsKind::Tracked(prep) => {
                        prep.finish(Kept { shape: x.layout().shape().clone(), axis, ids }, values)
                    }
                    OpsKind::UnTracked(prep) => prep.finish(values),
                },
            )
        }
        other => return Err(wrong_dtype(WHAT, TAKEN, dtype_of(&other))),
    };
    Ok(wrap(values, graph))
}

const WHAT: &str = "what is selected from";
const TAKEN: &str = "f32, f64, integers of 8 to 64 bits or bools";

fn take(x: &FlexTensor, axis: isize, ids: &FlexTensor) -> Result<FlexTensor> {
    match x.dtype() {
        DType::F32 => take_as::<f32>(x, axis, ids),
        DType::F64 => take_as::<f64>(x, axis, ids),
        DType::I64 => take_as::<i64>(x, axis, ids),
        DType::I32 => take_as::<i32>(x, axis, ids),
        DType::I16 => take_as::<i16>(x, axis, ids),
        DType::I8 => take_as::<i8>(x, axis, ids),
        DType::U64 => take_as::<u64>(x, axis, ids),
        DType::U32 => take_as::<u32>(x, axis, ids),
        DType::U16 => take_as::<u16>(x, axis, ids),
        DType::U8 | DType::Bool(BoolStore::Native | BoolStore::U8) => take_as::<u8>(x, axis, ids),
        other => Err(wrong_dtype(WHAT, TAKEN, other)),
    }
}

fn take_as<T: gradix::Element + Element + Pod>(
    x: &FlexTensor,
    axis: isize,
    ids: &FlexTensor,
) -> Result<FlexTensor> {
    let from = view::<T>(x)?;
    let values = with_indices!(ids, "the indices", |ids| Ok(gradix::take_axis(from, axis, ids)?))?;
    let dims: &[usize] = x.layout().shape();
    let axis = axis.rem_euclid(dims.len() as isize) as usize; // it exists: something was taken along it
    let shape = [&dims[..axis], ids.layout().shape(), &dims[axis + 1..]].concat();
    Ok(owned(values, &shape, x.dtype()))
}

/// What the backward pass takes from the forward pass.
#[derive(Debug, Clone)]
struct Kept {
    shape: Shape,
    axis: isize,
    ids: FlexTensor,
}

impl Kept {
    fn gradient<T: Float + Element + Pod>(&self, upstream: &FlexTensor) -> Result<FlexTensor> {
        // Zeros are written: left to the system (`vec![0; n]`), each row that is met first, in any order, is a page fault.
        let mut gradient = Vec::with_capacity(self.shape.num_elements());
        gradient.resize(self.shape.num_elements(), T::zeroed());
        let into = gradix::ViewMut::new(&mut gradient, &self.shape)?;
        let upstream = view::<T>(upstream)?;
        with_indices!(&self.ids, "the indices", |ids| {
            Ok(gradix::scatter_add_axis(into, self.axis, ids, upstream)?)
        })?;
        Ok(owned(gradient, &self.shape, T::dtype()))
    }
}

#[derive(Debug)]
struct Select;

impl Backward<Flex, 1> for Select {
    type State = Kept;

    fn backward(self, ops: Ops<Kept, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let kept = ops.state;
        unary::<Flex, _>(ops.parents, ops.node, gradients, |upstream| {
            let gradient = match upstream.dtype() {
                DType::F32 => kept.gradient::<f32>(&upstream),
                DType::F64 => kept.gradient::<f64>(&upstream),
                other => Err(wrong_dtype("a gradient", FLOATS, other)),
            };
            // burn's backward pass has no place for errors; the forward pass has checked types, axis and indices.
            gradient.expect("an upstream gradient of the values' shape")
        });
    }
}
