//! Steps of gradient descent that touch only the rows that were read.

use crate::storage::{strided_mut, view, with_indices, wrong_dtype};
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Error, InplaceOp3, Layout, Result, Tensor, Var, WithDType};
use gradix::Float;

/// `table[ids] -= learning_rate · gradient`, in place: a step of gradient descent on the rows that a batch has read.
///
/// *table*: `f32` or `f64`, any rank from 1 on. *ids*: as in [`embedding`](crate::embedding), of any rank. *gradient*:
/// of the table's type, with the shape of what [`index_select`](crate::index_select) along axis 0 gives; any strides.
/// A row that `ids` name twice is stepped twice, in their order; so the result has the same bits for every
/// number of threads, and those of [`gradix::reference::scatter_add_axis_scaled`].
///
/// It stands outside autograd, and is meant for what autograd does badly: `backward` through an embedding makes a table
/// of zeros, adds the gradient's table to it, and an optimizer then walks a whole table again, for a batch that
/// has read a thousandth of it. Read the rows from the detached table instead, let the graph begin with them, and step:
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use gradix_candle::{embedding, sgd_step_rows};
///
/// let table = Var::new(&[[0f32, 1.], [2., 3.], [4., 5.]], &Device::Cpu)?;
/// let ids = Tensor::new(&[2u32, 0], &Device::Cpu)?;
///
/// let rows = Var::from_tensor(&embedding(&table.as_detached_tensor(), &ids)?)?;
/// let loss = rows.sqr()?.sum_all()?;
/// let gradients = loss.backward()?;
/// sgd_step_rows(&table, &ids, gradients.get(&rows).expect("a gradient"), 0.25)?;
/// assert_eq!(table.to_vec2::<f32>()?, [[0., 0.5], [2., 3.], [2., 2.5]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # Errors
/// Other types, devices and shapes, and the first index out of bounds; the table is then as it was.
pub fn sgd_step_rows(table: &Var, ids: &Tensor, gradient: &Tensor, learning_rate: f64) -> Result<()> {
    table.inplace_op3(ids, gradient, &Step { learning_rate })
}

struct Step {
    learning_rate: f64,
}

impl Step {
    fn step<T: Float + WithDType>(
        &self,
        (table, table_at): (&mut [T], &Layout),
        (ids, ids_at): (&CpuStorage, &Layout),
        (gradient, gradient_at): (&CpuStorage, &Layout),
    ) -> Result<()> {
        let factor = <T as WithDType>::from_f64(-self.learning_rate);
        let table = strided_mut(table, table_at, table_at.dims())?;
        let gradient = view::<T>(gradient, gradient_at)?;
        with_indices!(ids, ids_at, "the indices", |ids| {
            gradix::scatter_add_axis_scaled(table, 0, ids, gradient, factor).map_err(Error::wrap)
        })
    }
}

impl InplaceOp3 for Step {
    fn name(&self) -> &'static str {
        "gradix-sgd-step-rows"
    }

    fn cpu_fwd(
        &self,
        table: &mut CpuStorage,
        table_at: &Layout,
        ids: &CpuStorage,
        ids_at: &Layout,
        gradient: &CpuStorage,
        gradient_at: &Layout,
    ) -> Result<()> {
        let (ids, gradient) = ((ids, ids_at), (gradient, gradient_at));
        match table {
            CpuStorage::F32(table) => self.step((table, table_at), ids, gradient),
            CpuStorage::F64(table) => self.step((table, table_at), ids, gradient),
            other => Err(wrong_dtype("the table", "f32 or f64", other.dtype())),
        }
    }
}
