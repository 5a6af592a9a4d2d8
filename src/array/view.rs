//! The public types of arrays: what a constructor shows, and what the rest of the crate may ask for.
//!
//! Kernels do not walk indices. They ask for the 1-d slices along one axis, numbered in C order over the other axes,
//! or for 3-d pieces whose axes an operation has regrouped.

use super::element::Element;
use super::layout::{AxisLayout, LIST, Layout, Plan, count};
use super::raw::{
    AxisSlice, AxisSliceMut, AxisSlices, AxisSlicesMut, Erased3, Erased3Mut, ErasedSlice, ErasedSliceMut,
    Start, Word, debug_assert_inside,
};
use crate::error::{Error, Result};
use std::marker::PhantomData;

/// A vector of zeros (of `T::default()`) for an answer of this shape, or an error where it cannot be had.
pub(crate) fn zeros<T: Copy + Default>(shape: &[usize]) -> Result<Vec<T>> {
    /// From this size on the system hands out pages that are zero already, which `vec!` leaves untouched.
    /// Asking for as much once before, to learn whether it can be had, costs little beside the answer.
    const LARGE: usize = 1 << 17;
    let len = count(shape)?;
    let bytes = len.checked_mul(size_of::<T>()).filter(|&bytes| bytes <= isize::MAX as usize);
    let bytes = bytes.ok_or_else(|| Error::Overflow { shape: shape.to_vec() })?;
    let mut zeros = Vec::new();
    zeros.try_reserve_exact(len).map_err(|_| Error::Memory { bytes })?;
    if bytes < LARGE {
        zeros.resize(len, T::default());
        return Ok(zeros);
    }
    drop(std::hint::black_box(zeros)); // else the compiler takes the attempt for granted
    Ok(vec![T::default(); len])
}

/// A borrowed array of up to 8 axes with any strides: zero, negative and overlapping ones included.
///
/// Slices, vectors and arrays go wherever a view does, as views of rank 1.
///
/// ```
/// use gradix::View;
/// let data = [1.2, 0.8, 0.5, 1.0, 0.3, 0.9];
/// let rows = View::new(&data, &[3, 2])?;
/// assert_eq!(rows.get(&[2, 0]), Some(0.3));
/// let columns_backwards = View::strided(&data, &[2, 3], &[-1, 2], 1)?;
/// assert_eq!(columns_backwards.get(&[0, 1]), Some(1.0));
///
/// let columns = rows.transposed();
/// assert_eq!((columns.shape(), columns.strides()), (&[2, 3][..], &[1, 2][..]));
/// assert_eq!((columns.rank(), columns.len(), columns.is_empty()), (2, 6, false));
/// assert_eq!((rows.as_slice(), columns.as_slice()), (Some(&data[..]), None));
/// # Ok::<(), gradix::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct View<'a, T> {
    /// The element at index (0, 0, …).
    pub(super) start: Start<T>,
    pub(super) layout: Layout,
    pub(super) borrow: PhantomData<&'a [T]>,
}

/// A mutably borrowed array of up to 8 axes with any strides that reach no element twice.
///
/// ```
/// use gradix::{Error, ViewMut};
/// let mut data = [0.0; 6];
/// assert!(ViewMut::strided(&mut data, &[2, 3], &[1, 2], 0).is_ok());
/// assert!(matches!(ViewMut::strided(&mut data, &[2, 3], &[0, 1], 0), Err(Error::Alias { .. })));
///
/// let mut rows = ViewMut::new(&mut data, &[3, 2])?;
/// gradix::pick_add(rows.reborrow(), &[1, 0, 1], 5.0)?;
/// assert_eq!(rows.as_view().get(&[2, 1]), Some(5.0));
/// assert_eq!(data, [0.0, 5.0, 5.0, 0.0, 0.0, 5.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub struct ViewMut<'a, T> {
    /// The element at index (0, 0, …).
    pub(super) start: Start<T>,
    pub(super) layout: Layout,
    pub(super) borrow: PhantomData<&'a mut [T]>,
}

impl<'a, T> View<'a, T> {
    /// All of `data`, in C order. The product of `shape` must be `data.len()`.
    ///
    /// # Errors
    /// [`Error::Shape`]; [`Error::Rank`] if there are more than [`MAX_RANK`](crate::MAX_RANK) axes;
    /// [`Error::Overflow`] if the product cannot be counted, axes of length 0 left out.
    #[inline(always)]
    pub fn new(data: &'a [T], shape: &[usize]) -> Result<Self> {
        if let Some(error) = Layout::why_not_whole(data.len(), shape) {
            return Err(error);
        }
        let layout = Layout::in_c_order(data.len(), shape);
        Ok(View { start: Start::new(data.as_ptr()), layout, borrow: PhantomData })
    }

    /// The elements `data[offset + Σ index[k]·strides[k]]`. Strides may be zero (broadcast), negative and
    /// overlapping; every index inside `shape` must land inside `data`.
    ///
    /// # Errors
    /// [`Error::Extent`] if one does not; [`Error::Rank`] and [`Error::Overflow`] as for [`View::new`], or if
    /// there are not as many strides as axes.
    #[inline(always)]
    pub fn strided(data: &'a [T], shape: &[usize], strides: &[isize], offset: usize) -> Result<Self> {
        let offset = Layout::start_of_strided(data.len(), shape, strides, offset)?;
        let layout = Layout::with_axes(shape, strides);
        // From the whole slice: negative strides lead to what stands before the first element.
        Ok(View { start: Start::new(data.as_ptr()).at(offset as isize), layout, borrow: PhantomData })
    }

    /// The same element at every index of a shape.
    #[inline(always)]
    pub(crate) fn repeated(element: &'a T, shape: &[usize]) -> Result<Self> {
        let layout = match shape {
            &[len] if len <= isize::MAX as usize => Layout::flat(len).repeated(),
            _ => Layout::new(shape, &[0; crate::MAX_RANK][..shape.len().min(crate::MAX_RANK)])?,
        };
        Ok(View { start: Start::new(element), layout, borrow: PhantomData })
    }

    /// The length of each axis.
    #[inline(always)]
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// The step of each axis, in elements.
    #[inline(always)]
    pub fn strides(&self) -> &[isize] {
        self.layout.strides()
    }

    /// The number of axes.
    #[inline(always)]
    pub fn rank(&self) -> usize {
        self.layout.rank
    }

    /// The number of elements.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.layout.len()
    }

    /// Whether there are no elements.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same elements with the axes in reverse order.
    #[inline(always)]
    pub fn transposed(self) -> Self {
        View { layout: self.layout.transposed(), ..self }
    }

    /// The element at `index`, or `None` where the shape has no such place.
    pub fn get(&self, index: &[usize]) -> Option<T>
    where
        T: Copy,
    {
        self.layout.offset(index).map(|offset| AxisSlice::new(self.start.at(offset), 1, 1).get(0))
    }

    /// The elements as a slice, where they stand one after the other in C order.
    pub fn as_slice(&self) -> Option<&'a [T]> {
        // In C order the indices name exactly the `len` elements from `start` on.
        if self.layout.is_c_order() { AxisSlice::new(self.start, self.len(), 1).as_slice() } else { None }
    }

    /// As [`View::as_slice`], where a look at the layout tells: a view that was made for one call need not stand in
    /// memory for it.
    #[inline(always)]
    pub(crate) fn as_plain_slice(&self) -> Option<&'a [T]> {
        // Dense in C order, so the indices name exactly the `len` elements from `start` on.
        if self.layout.is_plainly_dense() {
            AxisSlice::new(self.start, self.len(), 1).as_slice()
        } else {
            None
        }
    }

    /// Copies the elements of a view of rank 1 or 2, if it is one and they are no more than `to` has room for, and says
    /// how many they are. Such a view need not stand in memory either.
    #[inline(always)]
    pub(crate) fn copy_few(&self, to: &mut [T]) -> Option<usize>
    where
        T: Copy,
    {
        let ([rows, len], [step, stride]) = self.layout.as_matrix()?;
        let to = to.get_mut(..rows * len)?;
        for (i, to) in to.chunks_exact_mut(len.max(1)).enumerate() {
            // Inside the shape: fewer than `rows` such chunks precede.
            AxisSlice::new(self.start.at(i as isize * step), len, stride).copy_to(0, to);
        }
        Some(rows * len)
    }

    /// All elements in C order.
    pub(crate) fn to_vec(self) -> Vec<T>
    where
        T: Copy,
    {
        let Some(last) = self.rank().checked_sub(1) else { return self.get(&[]).into_iter().collect() };
        let (slices, len) = (self.axis_slices(last), self.shape()[last]);
        let rows = self.len().checked_div(len).unwrap_or(0);
        (0..rows).flat_map(|row| (0..len).map(move |i| slices.slice(row).get(i))).collect()
    }

    /// The axis that `axis` names, negative ones counted from the end.
    #[inline(always)]
    pub(crate) fn axis(&self, axis: isize) -> Result<usize> {
        self.layout.axis(axis)
    }

    /// The slices along `axis` (which exists: see [`View::axis`]).
    pub(crate) fn axis_slices(&self, axis: usize) -> AxisSlices<'a, T> {
        AxisSlices::new(self.start, AxisLayout::new(&self.layout, axis))
    }

    /// The same, made in its place: they are large, and would be moved.
    #[inline(always)]
    pub(crate) fn set_axis_slices(&self, axis: usize, to: &mut Option<AxisSlices<'a, T>>) {
        to.insert(AxisSlices::new(self.start, AxisLayout::NONE)).set(&self.layout, axis);
    }
}

impl<'a, T> ViewMut<'a, T> {
    /// All of `data`, in C order. The product of `shape` must be `data.len()`.
    ///
    /// # Errors
    /// [`Error::Shape`]; [`Error::Rank`] if there are more than [`MAX_RANK`](crate::MAX_RANK) axes;
    /// [`Error::Overflow`] if the product cannot be counted, axes of length 0 left out.
    #[inline(always)]
    pub fn new(data: &'a mut [T], shape: &[usize]) -> Result<Self> {
        if let Some(error) = Layout::why_not_whole(data.len(), shape) {
            return Err(error);
        }
        let layout = Layout::in_c_order(data.len(), shape);
        Ok(ViewMut { start: Start::new(data.as_mut_ptr()), layout, borrow: PhantomData })
    }

    /// The elements `data[offset + Σ index[k]·strides[k]]`. Every index inside `shape` must land inside `data`, and
    /// no two on the same element: sorted by size, each stride must step over all that the smaller ones reach
    /// together. (Layouts exist that pass between each other's elements and are refused all the same; no slicing,
    /// transposing or reversing of an array makes one.)
    ///
    /// # Errors
    /// [`Error::Alias`] if two indices may meet; those of [`View::strided`].
    #[inline(always)]
    pub fn strided(data: &'a mut [T], shape: &[usize], strides: &[isize], offset: usize) -> Result<Self> {
        let offset = Layout::start_of_strided(data.len(), shape, strides, offset)?;
        let layout = Layout::with_axes(shape, strides);
        if !layout.is_injective() {
            return Err(Error::Alias { shape: shape.to_vec(), strides: strides.to_vec() });
        }
        Ok(ViewMut { start: Start::new(data.as_mut_ptr()).at(offset as isize), layout, borrow: PhantomData })
    }

    /// The same elements, to read.
    #[inline(always)]
    pub fn as_view(&self) -> View<'_, T> {
        View { start: self.start, layout: self.layout, borrow: PhantomData }
    }

    /// The same elements, borrowed for a shorter time.
    #[inline(always)]
    pub fn reborrow(&mut self) -> ViewMut<'_, T> {
        ViewMut { start: self.start, layout: self.layout, borrow: PhantomData }
    }

    /// The length of each axis.
    #[inline(always)]
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// The step of each axis, in elements.
    #[inline(always)]
    pub fn strides(&self) -> &[isize] {
        self.layout.strides()
    }

    /// The number of axes.
    #[inline(always)]
    pub fn rank(&self) -> usize {
        self.layout.rank
    }

    /// The number of elements.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.layout.len()
    }

    /// Whether there are no elements.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same elements with the axes in reverse order.
    #[inline(always)]
    pub fn transposed(self) -> Self {
        ViewMut { layout: self.layout.transposed(), ..self }
    }

    /// The element at `index`, or `None` where the shape has no such place.
    pub fn get_mut(&mut self, index: &[usize]) -> Option<&mut T> {
        self.layout.offset(index).map(|offset| AxisSliceMut::new(self.start.at(offset), 1, 1).at(0))
    }

    /// The elements as a slice, where they stand one after the other in C order; otherwise the view back.
    #[allow(clippy::result_large_err)] // the view itself, not an error
    pub fn into_slice(self) -> std::result::Result<&'a mut [T], Self> {
        // In C order the indices name exactly the `len` elements from `start` on; `self` is consumed.
        let slice =
            self.layout.is_c_order().then(|| AxisSliceMut::new(self.start, self.len(), 1).into_slice_mut());
        slice.flatten().ok_or(self)
    }

    /// Overwrites the elements of a view of rank 1 or 2, of which there are as many as in `from`: after
    /// [`View::copy_few`].
    #[inline(always)]
    pub(crate) fn paste_few(&mut self, from: &[T])
    where
        T: Copy,
    {
        let Some(([rows, len], [step, stride])) = self.layout.as_matrix() else { return };
        for (i, from) in from.chunks_exact(len.max(1)).take(rows).enumerate() {
            // Inside the shape, whose indices reach no element twice: as above.
            AxisSliceMut::new(self.start.at(i as isize * step), len, stride).copy_from(0, from);
        }
    }

    /// As [`View::as_plain_slice`].
    #[inline(always)]
    pub(crate) fn as_plain_slice_mut(&mut self) -> Option<&mut [T]> {
        // As in `View`; `self` is borrowed for as long.
        if self.layout.is_plainly_dense() {
            AxisSliceMut::new(self.start, self.len(), 1).into_slice_mut()
        } else {
            None
        }
    }

    /// The slices along `axis` (which exists: see [`View::axis`]).
    pub(crate) fn into_axis_slices(self, axis: usize) -> AxisSlicesMut<'a, T> {
        AxisSlicesMut::new(self.start, AxisLayout::new(&self.layout, axis))
    }

    /// The same of what is borrowed: see [`View::set_axis_slices`].
    #[inline(always)]
    pub(crate) fn set_axis_slices<'b>(&'b mut self, axis: usize, to: &mut Option<AxisSlicesMut<'b, T>>) {
        to.insert(AxisSlicesMut::new(self.start, AxisLayout::NONE)).set(&self.layout, axis);
    }
}

impl<T> std::fmt::Debug for View<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("View").field(&self.layout).finish()
    }
}

impl<T> std::fmt::Debug for ViewMut<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ViewMut").field(&self.layout).finish()
    }
}

impl<'a, T> From<&'a [T]> for View<'a, T> {
    #[inline(always)]
    fn from(data: &'a [T]) -> Self {
        View { start: Start::new(data.as_ptr()), layout: Layout::flat(data.len()), borrow: PhantomData }
    }
}

impl<'a, T, const N: usize> From<&'a [T; N]> for View<'a, T> {
    #[inline(always)]
    fn from(data: &'a [T; N]) -> Self {
        data.as_slice().into()
    }
}

impl<'a, T> From<&'a Vec<T>> for View<'a, T> {
    #[inline(always)]
    fn from(data: &'a Vec<T>) -> Self {
        data.as_slice().into()
    }
}

impl<'a, T> From<&'a mut [T]> for ViewMut<'a, T> {
    #[inline(always)]
    fn from(data: &'a mut [T]) -> Self {
        ViewMut {
            layout: Layout::flat(data.len()),
            start: Start::new(data.as_mut_ptr()),
            borrow: PhantomData,
        }
    }
}

impl<'a, T, const N: usize> From<&'a mut [T; N]> for ViewMut<'a, T> {
    #[inline(always)]
    fn from(data: &'a mut [T; N]) -> Self {
        data.as_mut_slice().into()
    }
}

impl<'a, T> From<&'a mut Vec<T>> for ViewMut<'a, T> {
    #[inline(always)]
    fn from(data: &'a mut Vec<T>) -> Self {
        data.as_mut_slice().into()
    }
}

impl<'a, 'b, T> From<&'a mut ViewMut<'b, T>> for ViewMut<'a, T> {
    #[inline(always)]
    fn from(view: &'a mut ViewMut<'b, T>) -> Self {
        view.reborrow()
    }
}

/// Any plain type's elements as rows of their bytes.
#[cfg(feature = "bytemuck")]
mod bytes {
    use super::*;

    /// The layout with one axis more, the last, along the bytes of an element.
    fn layout(layout: &Layout, width: usize) -> Result<Layout> {
        let bytes = |stride: &isize| {
            // An axis of one element or none may have any stride, which then plays no part.
            stride.checked_mul(width as isize).unwrap_or(0)
        };
        let shape = [layout.shape(), &[width]].concat();
        let strides: Vec<isize> = layout.strides().iter().map(bytes).chain([1]).collect();
        Layout::new(&shape, &strides)
    }

    impl<'a, T: bytemuck::NoUninit> View<'a, T> {
        /// The bytes of the elements, along one axis more, the last: so operations that only move elements
        /// take any plain type, as rows of so many bytes.
        ///
        /// # Errors
        /// [`Error::Rank`] for a view of 8 axes; [`Error::Overflow`] if there are more bytes than can be addressed.
        ///
        /// ```
        /// use gradix::{View, ViewMut};
        /// let points = [[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]];
        /// let mut picked = [[0.0f32; 3]; 2];
        /// gradix::take_axis_into(View::from(&points).bytes()?, 0, &[2, 0], ViewMut::from(&mut picked).bytes()?)?;
        /// assert_eq!(picked, [[7.0, 8.0, 9.0], [1.0, 2.0, 3.0]]);
        /// # Ok::<(), gradix::Error>(())
        /// ```
        pub fn bytes(self) -> Result<View<'a, u8>> {
            let layout = layout(&self.layout, size_of::<T>())?;
            Ok(View { start: self.start.cast(), layout, borrow: PhantomData })
        }
    }

    impl<'a, T: bytemuck::Pod> ViewMut<'a, T> {
        /// As [`View::bytes`].
        ///
        /// # Errors
        /// Those of [`View::bytes`].
        pub fn bytes(self) -> Result<ViewMut<'a, u8>> {
            let layout = layout(&self.layout, size_of::<T>())?;
            Ok(ViewMut { start: self.start.cast(), layout, borrow: PhantomData })
        }
    }
}

/// A [`View`] of an [`Element`] whose type is forgotten but for its size, so that what works on it is
/// compiled here, once. It borrows the view's layout, too: nothing is copied for it.
#[derive(Clone, Copy)]
pub(crate) struct ErasedView<'a> {
    start: Start<u8>,
    width: usize,
    layout: &'a Layout,
    borrow: PhantomData<&'a [u8]>,
}

/// An [`ErasedView`] to write through.
pub(crate) struct ErasedViewMut<'a>(ErasedView<'a>, PhantomData<&'a mut [u8]>);

impl<T: Element> View<'_, T> {
    /// The same elements, the type forgotten.
    #[inline(always)]
    pub(crate) fn erased(&self) -> ErasedView<'_> {
        let (start, layout) = (self.start.cast(), &self.layout);
        ErasedView { start, width: size_of::<T>(), layout, borrow: PhantomData }
    }

    /// The elements as a dense vector, if they are one, the type forgotten.
    #[inline(always)]
    pub(crate) fn as_vector(&self) -> Option<ErasedSlice<'_>> {
        match (self.shape(), self.strides()) {
            (&[len], &[1]) => Some(ErasedSlice::new(self.start.cast(), size_of::<T>(), len)),
            _ => None,
        }
    }
}

impl<T: Element> ViewMut<'_, T> {
    /// The same elements, the type forgotten.
    #[inline(always)]
    pub(crate) fn erased(&mut self) -> ErasedViewMut<'_> {
        let (start, layout) = (self.start.cast(), &self.layout);
        let view = ErasedView { start, width: size_of::<T>(), layout, borrow: PhantomData };
        ErasedViewMut(view, PhantomData)
    }

    /// As [`View::as_vector`].
    #[inline(always)]
    pub(crate) fn as_vector(&mut self) -> Option<ErasedSliceMut<'_>> {
        match (self.shape(), self.strides()) {
            (&[len], &[1]) => {
                Some(ErasedSliceMut::new(ErasedSlice::new(self.start.cast(), size_of::<T>(), len)))
            }
            _ => None,
        }
    }
}

impl<'a> ErasedView<'a> {
    #[inline(always)]
    pub(crate) fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    #[inline(always)]
    pub(crate) fn strides(&self) -> &[isize] {
        self.layout.strides()
    }

    #[inline(always)]
    pub(crate) fn rank(&self) -> usize {
        self.layout.rank
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.layout.len()
    }

    /// The size of an element, in bytes.
    #[inline(always)]
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn layout(&self) -> &Layout {
        self.layout
    }

    /// Whether the elements stand one after the other in C order.
    pub(crate) fn is_c_order(&self) -> bool {
        self.layout.is_c_order()
    }

    /// See [`Layout::is_plainly_dense`].
    #[inline(always)]
    pub(crate) fn is_plainly_dense(&self) -> bool {
        self.layout.is_plainly_dense()
    }

    /// The layout of as many elements as one dense axis, for the numbers alone.
    pub(crate) fn as_if_flat(&self) -> Layout {
        Layout::flat(self.len())
    }

    /// All elements in C order as one axis, where one stride leads through them.
    pub(crate) fn flattened<'b>(&self, layout: &'b mut Option<Layout>) -> Option<ErasedView<'b>>
    where
        'a: 'b,
    {
        let layout = layout.insert(self.layout.flattened()?);
        Some(ErasedView { layout, ..*self })
    }

    /// The same elements with one axis more, the last, of length 1.
    pub(crate) fn with_axis_of_one<'b>(&self, layout: &'b mut Option<Layout>) -> Result<ErasedView<'b>>
    where
        'a: 'b,
    {
        let layout = layout.insert(self.layout.with_axis_of_one()?);
        Ok(ErasedView { layout, ..*self })
    }

    /// These elements, all the view's own, as a 3-d piece that starts at the first.
    #[inline(always)]
    pub(crate) fn piece(&self, shape: [usize; 3], strides: [isize; 3]) -> Erased3<'a> {
        debug_assert_inside((0, &shape, &strides), (self.layout.shape(), self.layout.strides()));
        Erased3::new(self.start, self.width, shape, strides)
    }

    /// Piece number `i` of this array, which has the given place in the plan.
    pub(crate) fn piece_of(&self, plan: &Plan, array: usize, i: usize) -> Erased3<'a> {
        assert!(*self.layout == plan.layouts[array], "a plan made for another array");
        let (offset, shape, strides) = (plan.offset(array, i), &plan.shapes[array], &plan.strides[array]);
        debug_assert_inside((offset, shape, strides), (self.layout.shape(), self.layout.strides()));
        Erased3::new(self.start.at(offset * self.width as isize), self.width, *shape, *strides)
    }

    /// As [`View::as_slice`], each element read as a `W`.
    #[inline(always)]
    pub(crate) fn as_slice<W: Word>(&self) -> Option<&'a [W]> {
        assert!(self.width == size_of::<W>(), "elements of another size");
        if self.is_c_order() { AxisSlice::new(self.start.cast(), self.len(), 1).as_slice() } else { None }
    }

    /// The same elements, each read as a `W`.
    pub(crate) fn typed<W: Word>(&self) -> View<'a, W> {
        assert!(self.width == size_of::<W>(), "elements of another size");
        View { start: self.start.cast(), layout: *self.layout, borrow: PhantomData }
    }

    /// The slices along `axis` (which exists), each element read as a `W`.
    pub(crate) fn axis_slices<W: Word>(&self, axis: usize) -> AxisSlices<'a, W> {
        assert!(self.width == size_of::<W>(), "elements of another size");
        AxisSlices::new(self.start.cast(), AxisLayout::new(self.layout, axis))
    }
}

impl<'a> ErasedViewMut<'a> {
    /// The same elements, to read.
    #[inline(always)]
    pub(crate) fn as_view(&self) -> &ErasedView<'_> {
        &self.0
    }

    /// All elements in C order as one axis, where one stride leads through them.
    pub(crate) fn flattened<'b>(&'b mut self, layout: &'b mut Option<Layout>) -> Option<ErasedViewMut<'b>> {
        Some(ErasedViewMut(self.0.flattened(layout)?, PhantomData))
    }

    /// As [`ErasedView::piece`]; no element twice.
    #[inline(always)]
    pub(crate) fn piece(&mut self, shape: [usize; 3], strides: [isize; 3]) -> Erased3Mut<'_> {
        Erased3Mut::new(self.0.piece(shape, strides))
    }

    /// As [`ErasedView::piece_of`]. (Not the list's, whose strides repeat.)
    pub(crate) fn piece_of(&mut self, plan: &Plan, array: usize, i: usize) -> Erased3Mut<'_> {
        assert!(array != LIST, "a list is not written to");
        Erased3Mut::new(self.0.piece_of(plan, array, i))
    }

    /// As [`ErasedView::axis_slices`].
    pub(crate) fn axis_slices<W: Word>(&mut self, axis: usize) -> AxisSlicesMut<'_, W> {
        assert!(self.0.width == size_of::<W>(), "elements of another size");
        AxisSlicesMut::new(self.0.start.cast(), AxisLayout::new(self.0.layout, axis))
    }
}
