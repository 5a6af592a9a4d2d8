//! Steps of gradient descent that touch only the rows that were read.

use crate::error::{Error, Result};
use crate::storage::{
    FLOATS, dtype_of, floats, integers, unwrapped, view, view_mut, with_indices, wrong_dtype,
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, BackendTensor, Flex};
use burn::tensor::{DType, Element, Int, Tensor};
use burn_flex::FlexTensor;
use bytemuck::Pod;
use gradix::Float;
use std::mem::replace;

type AutodiffTensor = FloatTensor<Autodiff<Flex>>;

/// `table[ids] -= learning_rate · gradient`, in place: a step of gradient descent on the rows that a batch has read.
///
/// *table*: `f32` or `f64`, any rank from 1 on. *ids*: integers of 8 to 64 bits, of any rank; negative ones count from
/// the end. *gradient*: of the table's type, with the shape of the table and that of `ids` in place of axis 0; any
/// strides. A row that `ids` name twice is stepped twice, in their order; so the result has the same bits for every
/// number of threads, and those of [`gradix::reference::scatter_add_axis_scaled`].
///
/// It stands outside autodiff, and is meant for what autodiff does badly: a backward pass through an embedding makes a
/// whole table of zeros for the gradient, and an optimizer then walks the whole table again, for a batch that has
/// read a thousandth of it. Read the rows from the detached table instead, let the graph begin with them, and step:
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use gradix_burn::{select, sgd_step_rows};
///
/// let device = Device::flex();
/// let mut table = Tensor::<2>::from_data([[0f32, 1.], [2., 3.], [4., 5.]], &device);
/// let ids = Tensor::<1, Int>::from_data([2, 0], &device);
///
/// let rows = select(table.clone(), 0, ids.clone())?.autodiff().require_grad();
/// let loss = rows.clone().powi_scalar(2).sum();
/// let gradient = rows.grad(&loss.backward()).expect("a gradient");
/// sgd_step_rows(&mut table, ids, gradient, 0.25)?;
/// assert_eq!(table.into_data().try_to_vec::<f32>().expect("f32"), [0., 0.5, 2., 3., 2., 2.5]);
/// # Ok::<(), gradix_burn::Error>(())
/// ```
///
/// The elements are changed where they stand if no other tensor shares them; otherwise burn copies the table first, all
/// of it. A parameter of a module is stepped by `param.map(|mut table| …)`, which holds the only tensor. A table
/// with autodiff becomes a new leaf, as it does by burn's own optimizers: gradients of graphs that were
/// recorded before are no longer found for it.
///
/// # Errors
/// Other types, backends and shapes, a table that is the result of tracked operations, and the first index out of
/// bounds; the table's elements are then as they were.
pub fn sgd_step_rows<const D: usize, const R: usize, const G: usize>(
    table: &mut Tensor<D>,
    ids: Tensor<R, Int>,
    gradient: Tensor<G>,
    learning_rate: f64,
) -> Result<()> {
    let ids = integers(ids, "the indices")?;
    let gradient = floats(gradient, "the gradient")?;
    let is_leaf = table.is_require_grad();
    if table.is_tracked() && !is_leaf {
        return Err(Error::NotALeaf { what: "the table" });
    }
    let mut result = Ok(());
    table.inplace(|table| {
        let mut table = table.into_dispatch();
        result = unwrapped(&mut table, "the table").and_then(|tensor| match tensor {
            BackendTensor::Float(table) => step(table, &ids, &gradient, learning_rate),
            BackendTensor::Autodiff(tensor) => {
                let none = AutodiffTensor::new(FlexTensor::zeros([0].into(), tensor.primitive().dtype()));
                let mut table = replace(tensor, none).into_primitive();
                let result = step(&mut table, &ids, &gradient, learning_rate);
                let table = AutodiffTensor::new(table);
                *tensor = if is_leaf { table.require_grad() } else { table };
                result
            }
            other => Err(wrong_dtype("the table", FLOATS, dtype_of(other))),
        });
        Tensor::from_dispatch(table)
    });
    result
}

fn step(table: &mut FlexTensor, ids: &FlexTensor, gradient: &FlexTensor, learning_rate: f64) -> Result<()> {
    match table.dtype() {
        DType::F32 => step_as(table, ids, gradient, -learning_rate as f32),
        DType::F64 => step_as(table, ids, gradient, -learning_rate),
        other => Err(wrong_dtype("the table", FLOATS, other)),
    }
}

fn step_as<T: Float + Element + Pod>(
    table: &mut FlexTensor,
    ids: &FlexTensor,
    gradient: &FlexTensor,
    factor: T,
) -> Result<()> {
    if gradient.dtype() != T::dtype() {
        return Err(wrong_dtype("the gradient", T::dtype().name(), gradient.dtype()));
    }
    let table = view_mut::<T>(table)?;
    let gradient = view::<T>(gradient)?;
    with_indices!(ids, "the indices", |ids| {
        Ok(gradix::scatter_add_axis_scaled(table, 0, ids, gradient, factor)?)
    })
}
