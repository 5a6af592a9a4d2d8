//! Gathers with autograd: their gradients are scatter-adds.

use crate::storage::{on_cpu, strided, strided_mut, view, with_indices, wrong_dtype};
use candle_core::shape::Dim;
use candle_core::{CpuStorage, CustomOp2, DType, Device, Error, Layout, Result, Shape, Tensor, WithDType};
use gradix::{Element, Float};

/// `x.index_select(ids, dim)`: what stands at these indices of an axis.
///
/// *x*: `f32`, `f64`, `u8`, `u32`, `i16`, `i32` or `i64`, any strides. *ids*: `u8`, `u32`, `i16`, `i32` or `i64`, of any
/// rank; negative ones count from the end. *Result*: the shape of `x` with that of `ids` in place of axis `dim`; both
/// have at most 8 axes together. The values are those of `x`, bit for bit.
///
/// The gradient (`f32`, `f64`) is a scatter-add in the order of `ids`: an index that stands there twice gets both
/// contributions, and the sum has the same bits for every number of threads.
///
/// # Errors
/// Other types and devices, an axis that does not exist, and the first index out of bounds. (candle gives zeros for the
/// largest number of an unsigned type; here it is out of bounds like others.)
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// let x = Var::new(&[[1f32, 2.], [3., 4.], [5., 6.]], &Device::Cpu)?;
/// let ids = Tensor::new(&[2u32, 0, 2], &Device::Cpu)?;
/// let rows = gradix_candle::index_select(&x, &ids, 0)?;
/// assert_eq!(rows.to_vec2::<f32>()?, [[5., 6.], [1., 2.], [5., 6.]]);
///
/// let gradients = rows.sum_all()?.backward()?;
/// assert_eq!(gradients.get(&x).expect("a gradient").to_vec2::<f32>()?, [[1., 1.], [0., 0.], [2., 2.]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn index_select<D: Dim>(x: &Tensor, ids: &Tensor, dim: D) -> Result<Tensor> {
    let axis = dim.to_index(x.shape(), "gradix-index-select")?;
    x.apply_op2(ids, Select { axis, form: Form::Axis })
}

/// `x.gather(ids, dim)`: for each place of `ids` the element of `x` at the same place but for axis `dim`, where `ids`
/// says which.
///
/// Types and gradient are those of [`index_select`]. `ids` have the rank of `x`, and on other axes at most its length.
///
/// # Errors
/// Those of [`index_select`], and other shapes.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let x = Tensor::new(&[[1f64, 2., 3.], [4., 5., 6.]], &Device::Cpu)?;
/// let ids = Tensor::new(&[[2i64], [0]], &Device::Cpu)?;
/// assert_eq!(gradix_candle::gather(&x, &ids, 1)?.to_vec2::<f64>()?, [[3.], [4.]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn gather<D: Dim>(x: &Tensor, ids: &Tensor, dim: D) -> Result<Tensor> {
    let axis = dim.to_index(x.shape(), "gradix-gather")?;
    let fits = |k: usize| k == axis || ids.dims()[k] <= x.dims()[k];
    if ids.rank() != x.rank() || !(0..x.rank()).all(fits) {
        candle_core::bail!(
            "gradix: indices of shape {:?} do not fit a tensor of shape {:?} on axes other than {axis}",
            ids.dims(),
            x.dims()
        );
    }
    x.apply_op2(ids, Select { axis, form: Form::Along })
}

/// The rows of a table of rank 2, for ids of any rank: `candle_nn::Embedding::forward`.
///
/// The result has the shape of `ids` and one axis more. Types, gradient and errors are those of [`index_select`]. The
/// gradient that comes back is a whole table, mostly zeros: [`sgd_step_rows`](crate::sgd_step_rows) does without.
///
/// # Errors
/// Those of [`index_select`], and a table of another rank.
///
/// ```
/// use candle_core::{Device, Tensor};
/// let table = Tensor::new(&[[0f32, 1.], [2., 3.], [4., 5.]], &Device::Cpu)?;
/// let ids = Tensor::new(&[[2u8, 0], [1, 1]], &Device::Cpu)?;
/// assert_eq!(gradix_candle::embedding(&table, &ids)?.dims(), [2, 2, 2]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    if table.rank() != 2 {
        candle_core::bail!("gradix: an embedding table has 2 axes, not the shape {:?}", table.dims());
    }
    index_select(table, ids, 0)
}

struct Select {
    axis: usize,
    form: Form,
}

#[derive(Clone, Copy)]
enum Form {
    /// `np.take(x, ids, axis)`
    Axis,
    /// `np.take_along_axis(x, ids, axis)`
    Along,
}

impl Select {
    /// The part of `x` that indices of this shape can reach.
    fn reached(&self, x: &Layout, ids: &Layout) -> Vec<usize> {
        match self.form {
            Form::Axis => x.dims().to_vec(),
            Form::Along => {
                let mut reached = ids.dims().to_vec();
                reached[self.axis] = x.dims()[self.axis];
                reached
            }
        }
    }

    fn take<T: Element + WithDType>(
        &self,
        x: &[T],
        x_at: &Layout,
        ids: &CpuStorage,
        ids_at: &Layout,
    ) -> Result<CpuStorage> {
        let (x, axis) = (strided(x, x_at, &self.reached(x_at, ids_at))?, self.axis as isize);
        with_indices!(ids, ids_at, "the indices", |ids| match self.form {
            Form::Axis => gradix::take_axis(x, axis, ids),
            Form::Along => gradix::take_along_axis(x, axis, ids),
        }
        .map_err(Error::wrap))
        .map(T::to_cpu_storage_owned)
    }

    fn scatter<T: Float + WithDType>(&self, x: &Layout, ids: &Tensor, upstream: &Tensor) -> Result<Tensor> {
        let mut gradient = vec![T::zero(); x.shape().elem_count()];
        let whole = Layout::contiguous(x.shape());
        on_cpu(ids, "the indices", |ids, ids_at| {
            let gradient = strided_mut(&mut gradient, &whole, &self.reached(x, ids_at))?;
            on_cpu(upstream, "the upstream gradient", |upstream, at| {
                let (upstream, axis) = (view::<T>(upstream, at)?, self.axis as isize);
                with_indices!(ids, ids_at, "the indices", |ids| match self.form {
                    Form::Axis => gradix::scatter_add_axis(gradient, axis, ids, upstream),
                    Form::Along => gradix::scatter_add_along_axis(gradient, axis, ids, upstream),
                }
                .map_err(Error::wrap))
            })
        })?;
        Tensor::from_vec(gradient, x.shape(), &Device::Cpu)
    }
}

impl CustomOp2 for Select {
    fn name(&self) -> &'static str {
        match self.form {
            Form::Axis => "gradix-index-select",
            Form::Along => "gradix-gather",
        }
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_at: &Layout,
        ids: &CpuStorage,
        ids_at: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let values = match x {
            CpuStorage::F32(x) => self.take(x, x_at, ids, ids_at),
            CpuStorage::F64(x) => self.take(x, x_at, ids, ids_at),
            CpuStorage::U8(x) => self.take(x, x_at, ids, ids_at),
            CpuStorage::U32(x) => self.take(x, x_at, ids, ids_at),
            CpuStorage::I16(x) => self.take(x, x_at, ids, ids_at),
            CpuStorage::I32(x) => self.take(x, x_at, ids, ids_at),
            CpuStorage::I64(x) => self.take(x, x_at, ids, ids_at),
            other => {
                let got = candle_core::backend::BackendStorage::dtype(other);
                Err(wrong_dtype("what is selected from", "f32, f64, u8, u32, i16, i32 or i64", got))
            }
        }?;
        let shape = match self.form {
            Form::Along => ids_at.dims().to_vec(),
            Form::Axis => [&x_at.dims()[..self.axis], ids_at.dims(), &x_at.dims()[self.axis + 1..]].concat(),
        };
        Ok((values, Shape::from(shape)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        ids: &Tensor,
        _values: &Tensor,
        upstream: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = match upstream.dtype() {
            DType::F32 => self.scatter::<f32>(x.layout(), ids, upstream),
            DType::F64 => self.scatter::<f64>(x.layout(), ids, upstream),
            other => Err(wrong_dtype("a gradient", "f32 or f64", other)),
        }?;
        Ok((Some(gradient), None))
    }
}
