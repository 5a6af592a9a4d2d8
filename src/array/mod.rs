//! Borrowed n-dimensional strided arrays, proven in bounds when they are made.
//!
//! A [`View`] is a pointer, a shape and strides (in elements) for which a constructor has shown that every index
//! inside the shape names an element that the borrow covers; a [`ViewMut`] also that no two indices name the same
//! one. All later code rests on these two facts. `layout` computes them, `view` states them, `raw` turns them into
//! memory accesses; no other file of the crate does.

mod element;
mod layout;
#[cfg(feature = "linear")]
mod matrix;
#[cfg(feature = "ndarray")]
mod ndarray;
mod raw;
mod view;

pub use element::Element;
pub use layout::MAX_RANK;
pub(crate) use layout::{INDEX, INNER, LIST, OUTER, Plan, TABLE, VALUES, count};
pub(crate) use raw::{
    AxisSlice, AxisSliceMut, AxisSlices, AxisSlicesMut, Erased3, Erased3Mut, ErasedSlice, ErasedSliceMut,
    Planes, PlanesMut, Runs, RunsMut, Split, Update, Word, Words, are_below,
};
pub(crate) use view::{ErasedView, ErasedViewMut, zeros};
pub use view::{View, ViewMut};
