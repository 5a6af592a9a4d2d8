//! candle's storages and layouts as gradix's views.

use candle_core::{CpuStorage, DType, Error, Layout, Result, Storage, Tensor, WithDType};
use gradix::{View, ViewMut};

/// The elements of a layout, where they stand.
pub(crate) fn view<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<View<'a, T>> {
    strided(storage.as_slice()?, layout, layout.dims())
}

/// The elements of a layout whose shape is cut down to `shape`.
pub(crate) fn strided<'a, T>(data: &'a [T], layout: &Layout, shape: &[usize]) -> Result<View<'a, T>> {
    View::strided(data, shape, &strides(layout), layout.start_offset()).map_err(Error::wrap)
}

/// As [`strided`], to write.
pub(crate) fn strided_mut<'a, T>(
    data: &'a mut [T],
    layout: &Layout,
    shape: &[usize],
) -> Result<ViewMut<'a, T>> {
    ViewMut::strided(data, shape, &strides(layout), layout.start_offset()).map_err(Error::wrap)
}

fn strides(layout: &Layout) -> Vec<isize> {
    // No allocation has more elements than `isize::MAX`, so strides of axes that are walked fit.
    layout.stride().iter().map(|&stride| isize::try_from(stride).unwrap_or(0)).collect()
}

/// Runs `f` on a tensor's storage, which must be on the CPU.
pub(crate) fn on_cpu<R>(
    tensor: &Tensor,
    what: &'static str,
    f: impl FnOnce(&CpuStorage, &Layout) -> Result<R>,
) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => f(storage, layout),
        _ => candle_core::bail!("gradix: {what} must be on the CPU, not on {:?}", tensor.device()),
    }
}

/// The error for a type that an operation does not take.
pub(crate) fn wrong_dtype(what: &str, expected: &str, got: DType) -> Error {
    Error::msg(format!("gradix: {what} must be of {expected}, not {}", got.as_str())).bt()
}

/// Runs an expression with `$view` a view of labels or indices, whatever integers they are.
macro_rules! with_indices {
    ($storage:expr, $layout:expr, $what:literal, |$view:ident| $body:expr) => {{
        use candle_core::CpuStorage as C;
        let (storage, layout) = ($storage, $layout);
        match storage {
            C::U8(data) => crate::storage::strided(data, layout, layout.dims()).and_then(|$view| $body),
            C::U32(data) => crate::storage::strided(data, layout, layout.dims()).and_then(|$view| $body),
            C::I16(data) => crate::storage::strided(data, layout, layout.dims()).and_then(|$view| $body),
            C::I32(data) => crate::storage::strided(data, layout, layout.dims()).and_then(|$view| $body),
            C::I64(data) => crate::storage::strided(data, layout, layout.dims()).and_then(|$view| $body),
            other => Err(crate::storage::wrong_dtype(
                $what,
                "u8, u32, i16, i32 or i64",
                candle_core::backend::BackendStorage::dtype(other),
            )),
        }
    }};
}
pub(crate) use with_indices;
