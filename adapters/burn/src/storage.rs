//! Tensors of the backend Flex as gradix's views, and back.
//!
//! Tensors are taken apart here, not by burn's `#[backend_extension]`, whose operations return tensors and no errors.

use crate::error::{Error, Result};
use burn::backend::{BackendTensor, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind, Flex};
use burn::tensor::{Bytes, DType, Element, Int, Tensor};
use burn_flex::{FlexTensor, Layout};
use bytemuck::Pod;
use gradix::{View, ViewMut};

/// A tensor without the wrappings of burn's dispatch, and the graph that it belongs to.
pub(crate) fn unwrap(
    tensor: DispatchTensor,
    what: &'static str,
) -> Result<(BackendTensor<Flex>, DispatchAutodiffContext)> {
    let kind = match tensor.kind {
        DispatchTensorKind::Autodiff(inner) => *inner,
        kind => kind,
    };
    match kind {
        DispatchTensorKind::Flex(inner) => Ok((inner, tensor.autodiff)),
        #[allow(unreachable_patterns)] // reached where the user's build has other backends, too
        other => Err(wrong_backend(what, &other)),
    }
}

/// As [`unwrap`], where the tensor stands.
pub(crate) fn unwrapped<'a>(
    tensor: &'a mut DispatchTensor,
    what: &'static str,
) -> Result<&'a mut BackendTensor<Flex>> {
    let kind = match &mut tensor.kind {
        DispatchTensorKind::Autodiff(inner) => &mut **inner,
        kind => kind,
    };
    match kind {
        DispatchTensorKind::Flex(inner) => Ok(inner),
        #[allow(unreachable_patterns)] // as in `unwrap`
        other => Err(wrong_backend(what, other)),
    }
}

fn wrong_backend(what: &'static str, got: &DispatchTensorKind) -> Error {
    Error::Backend { what, got: format!("{:?}", burn::backend::TensorMetadata::device(got)) }
}

/// The inverse of [`unwrap`].
pub(crate) fn wrap(tensor: BackendTensor<Flex>, autodiff: DispatchAutodiffContext) -> DispatchTensor {
    let is_autodiff = matches!(tensor, BackendTensor::Autodiff(_));
    let kind = DispatchTensorKind::Flex(tensor);
    let kind = if is_autodiff { DispatchTensorKind::Autodiff(Box::new(kind)) } else { kind };
    DispatchTensor { kind, autodiff }
}

/// The storage of labels or indices, whatever graph they are associated with.
pub(crate) fn integers<const D: usize>(tensor: Tensor<D, Int>, what: &'static str) -> Result<FlexTensor> {
    match unwrap(tensor.into_dispatch(), what)?.0 {
        BackendTensor::Int(tensor) => Ok(tensor),
        other => Err(wrong_dtype(what, INTEGERS, dtype_of(&other))),
    }
}

/// The storage of a tensor of floats, tracked or not.
pub(crate) fn floats<const D: usize>(tensor: Tensor<D>, what: &'static str) -> Result<FlexTensor> {
    match unwrap(tensor.into_dispatch(), what)?.0 {
        BackendTensor::Float(tensor) => Ok(tensor),
        BackendTensor::Autodiff(tensor) => Ok(tensor.into_primitive()),
        other => Err(wrong_dtype(what, FLOATS, dtype_of(&other))),
    }
}

pub(crate) const FLOATS: &str = "f32 or f64";
pub(crate) const INTEGERS: &str = "integers of 8 to 64 bits";

pub(crate) fn dtype_of(tensor: &BackendTensor<Flex>) -> DType {
    burn::backend::TensorMetadata::dtype(tensor)
}

/// The error for a type that an operation does not take.
pub(crate) fn wrong_dtype(what: &'static str, expected: &'static str, got: DType) -> Error {
    Error::Dtype { what, expected, got }
}

/// The elements of a tensor of type `T`, where they stand.
pub(crate) fn view<T: Element + Pod>(tensor: &FlexTensor) -> Result<View<'_, T>> {
    let layout = tensor.layout();
    if layout.num_elements() == 0 {
        return Ok(View::new(&[], layout.shape())?);
    }
    Ok(View::strided(tensor.storage(), layout.shape(), layout.strides(), layout.start_offset())?)
}

/// As [`view`], to write. A storage that others share is copied first.
pub(crate) fn view_mut<T: Element + Pod>(tensor: &mut FlexTensor) -> Result<ViewMut<'_, T>> {
    let layout = tensor.layout().clone();
    if layout.num_elements() == 0 {
        return Ok(ViewMut::new(&mut [], layout.shape())?);
    }
    Ok(ViewMut::strided(tensor.storage_mut(), layout.shape(), layout.strides(), layout.start_offset())?)
}

/// The elements of a tensor of type `T` if nobody else holds them and they stand in C order.
pub(crate) fn own_view<T: Element + Pod>(tensor: &mut FlexTensor) -> Option<ViewMut<'_, T>> {
    let layout = tensor.layout().clone();
    let (start, end) = layout.contiguous_offsets().filter(|(start, end)| start < end)?;
    let elements = tensor.try_storage_mut()?.get_mut(start..end)?;
    ViewMut::new(elements, layout.shape()).ok()
}

/// A tensor of these elements in C order.
pub(crate) fn owned<T: Pod + Send + Sync>(elements: Vec<T>, shape: &[usize], dtype: DType) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(elements), Layout::contiguous(shape.into()), dtype)
}

/// Runs an expression with `$view` a view of labels or indices, whatever integers they are.
macro_rules! with_indices {
    ($tensor:expr, $what:literal, |$view:ident| $body:expr) => {{
        use burn::tensor::DType as D;
        let tensor: &burn_flex::FlexTensor = $tensor;
        match tensor.dtype() {
            D::I64 => crate::storage::view::<i64>(tensor).and_then(|$view| $body),
            D::I32 => crate::storage::view::<i32>(tensor).and_then(|$view| $body),
            D::I16 => crate::storage::view::<i16>(tensor).and_then(|$view| $body),
            D::I8 => crate::storage::view::<i8>(tensor).and_then(|$view| $body),
            D::U64 => crate::storage::view::<u64>(tensor).and_then(|$view| $body),
            D::U32 => crate::storage::view::<u32>(tensor).and_then(|$view| $body),
            D::U16 => crate::storage::view::<u16>(tensor).and_then(|$view| $body),
            D::U8 => crate::storage::view::<u8>(tensor).and_then(|$view| $body),
            got => Err(crate::storage::wrong_dtype($what, crate::storage::INTEGERS, got)),
        }
    }};
}
pub(crate) use with_indices;
