//! `View` and `ViewMut` from the arrays of `ndarray`.

use super::layout::{Layout, MAX_RANK};
use super::raw::Start;
use super::view::{View, ViewMut};
use crate::error::{Error, Result};
use ndarray::{ArrayBase, ArrayView, ArrayViewMut, Data, DataMut, Dimension, IxDyn};
use std::marker::PhantomData;

/// The layout of an ndarray view, whose own type has proven it in bounds (and, if mutable, injective).
fn layout<D: Dimension>(shape: &[usize], strides: &[isize]) -> Result<Layout> {
    debug_assert!(D::NDIM.is_none_or(|rank| rank <= MAX_RANK));
    Layout::new(shape, strides)
}

macro_rules! fixed_rank {
    ($($d:ident)*) => {$(
        impl<'a, T> From<ArrayView<'a, T, ndarray::$d>> for View<'a, T> {
            fn from(array: ArrayView<'a, T, ndarray::$d>) -> Self {
                let layout = layout::<ndarray::$d>(array.shape(), array.strides());
                // ndarray holds the same bound on the product of a shape, and the rank is at most 6.
                let layout = layout.expect("an ndarray shape is addressable");
                View { start: Start::new(array.as_ptr()), layout, borrow: PhantomData }
            }
        }
        impl<'a, T> From<ArrayViewMut<'a, T, ndarray::$d>> for ViewMut<'a, T> {
            fn from(mut array: ArrayViewMut<'a, T, ndarray::$d>) -> Self {
                let layout = layout::<ndarray::$d>(array.shape(), array.strides());
                let layout = layout.expect("an ndarray shape is addressable");
                ViewMut { start: Start::new(array.as_mut_ptr()), layout, borrow: PhantomData }
            }
        }
        impl<'a, T, S: Data<Elem = T>> From<&'a ArrayBase<S, ndarray::$d>> for View<'a, T> {
            fn from(array: &'a ArrayBase<S, ndarray::$d>) -> Self {
                array.view().into()
            }
        }
        impl<'a, T, S: DataMut<Elem = T>> From<&'a mut ArrayBase<S, ndarray::$d>> for ViewMut<'a, T> {
            fn from(array: &'a mut ArrayBase<S, ndarray::$d>) -> Self {
                array.view_mut().into()
            }
        }
    )*};
}
fixed_rank!(Ix0 Ix1 Ix2 Ix3 Ix4 Ix5 Ix6);

impl<'a, T> TryFrom<ArrayView<'a, T, IxDyn>> for View<'a, T> {
    type Error = Error;
    fn try_from(array: ArrayView<'a, T, IxDyn>) -> Result<Self> {
        let layout = layout::<IxDyn>(array.shape(), array.strides())?;
        Ok(View { start: Start::new(array.as_ptr()), layout, borrow: PhantomData })
    }
}

impl<'a, T> TryFrom<ArrayViewMut<'a, T, IxDyn>> for ViewMut<'a, T> {
    type Error = Error;
    fn try_from(mut array: ArrayViewMut<'a, T, IxDyn>) -> Result<Self> {
        let layout = layout::<IxDyn>(array.shape(), array.strides())?;
        Ok(ViewMut { start: Start::new(array.as_mut_ptr()), layout, borrow: PhantomData })
    }
}
