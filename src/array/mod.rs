//! Borrowed n-dimensional strided arrays, proven in bounds when they are made.
//!
//! A [`View`] is a pointer, a shape and strides (in elements) for which a constructor has shown that every index
//! inside the shape names an element that the borrow covers; a [`ViewMut`] also that no two indices name the same
//! one. All later code rests on these two facts, and all code that turns them into memory accesses is in this file.
//!
//! Kernels do not walk indices. They ask for the [`Lanes`] along one axis: a lane is the 1-d run of elements that
//! differ in that axis alone, and lanes are numbered in C order over the other axes.

#![allow(unsafe_code)]

use crate::error::{Error, Result};
use crate::parallel::Split;
use std::marker::PhantomData;

pub(crate) mod cube;

/// The largest rank of a view.
pub const MAX_RANK: usize = 8;

/// A shape and strides, both in elements.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    rank: usize,
    shape: [usize; MAX_RANK],
    strides: [isize; MAX_RANK],
}

impl Layout {
    /// One axis without elements.
    const EMPTY: Layout = Layout { rank: 1, shape: [0; MAX_RANK], strides: [0; MAX_RANK] };

    /// The layout with these axes, whatever memory it may lie over.
    fn new(shape: &[usize], strides: &[isize]) -> Result<Self> {
        let rank = shape.len();
        if rank > MAX_RANK {
            return Err(Error::Rank { what: "the array", expected: "at most 8", got: rank });
        }
        if strides.len() != rank {
            return Err(Error::Rank {
                what: "the list of strides",
                expected: "the shape's",
                got: strides.len(),
            });
        }
        count(shape)?;
        let mut layout = Layout { rank, shape: [1; MAX_RANK], strides: [0; MAX_RANK] };
        layout.shape[..rank].copy_from_slice(shape);
        layout.strides[..rank].copy_from_slice(strides);
        Ok(layout)
    }

    /// C order: the last axis is dense, each earlier one steps over all later ones.
    fn c_order(shape: &[usize]) -> Result<Self> {
        count(shape)?;
        let mut strides = [0; MAX_RANK];
        let mut step = 1isize;
        // Axes beyond MAX_RANK are refused by `new`, which sees the whole shape.
        for (stride, &n) in strides.iter_mut().zip(shape).take(shape.len()).rev() {
            *stride = step;
            step *= n.max(1) as isize; // below isize::MAX: `count` has multiplied the same numbers
        }
        Layout::new(shape, &strides[..shape.len().min(MAX_RANK)])
    }

    /// The lowest and highest offset that an index inside the shape reaches; `None` where no such index exists.
    /// Exact: computed wide enough not to wrap.
    fn extent(&self) -> Option<(i128, i128)> {
        let (mut low, mut high) = (0i128, 0i128);
        for (&n, &stride) in self.shape().iter().zip(self.strides()) {
            let reach = (n as i128 - 1) * stride as i128;
            match n {
                0 => return None,
                _ if reach < 0 => low += reach,
                _ => high += reach,
            }
        }
        Some((low, high))
    }

    /// Whether no two indices share an element: each axis steps over all that the finer axes reach together.
    fn is_injective(&self) -> bool {
        let mut axes: Vec<(u128, u128)> = (self.shape().iter().zip(self.strides()))
            .filter(|&(&n, _)| n > 1)
            .map(|(&n, &stride)| (stride.unsigned_abs() as u128, n as u128))
            .collect();
        axes.sort_unstable();
        let mut reach = 0u128;
        axes.iter().all(|&(stride, n)| {
            let free = stride > reach;
            reach += stride * (n - 1);
            free
        }) || self.len() == 0
    }

    fn shape(&self) -> &[usize] {
        &self.shape[..self.rank]
    }

    fn strides(&self) -> &[isize] {
        &self.strides[..self.rank]
    }

    fn len(&self) -> usize {
        self.shape().iter().product()
    }

    /// Whether the elements stand one after the other in C order.
    fn is_c_order(&self) -> bool {
        let mut step = 1isize;
        for (&n, &stride) in self.shape().iter().zip(self.strides()).rev() {
            if n > 1 && stride != step {
                return self.len() == 0;
            }
            step = step.saturating_mul(n as isize);
        }
        true
    }

    /// The offset of the element at `index`, where the shape has such a place.
    fn offset(&self, index: &[usize]) -> Option<isize> {
        let inside = index.len() == self.rank && index.iter().zip(self.shape()).all(|(&i, &n)| i < n);
        inside.then(|| index.iter().zip(self.strides()).map(|(&i, &s)| i as isize * s).sum())
    }

    /// The layout of all elements in C order as one axis, where one stride leads through them.
    fn flattened(&self) -> Option<Layout> {
        let mut one = flat(self.len());
        if one.shape[0] > 1 {
            let axes = self.shape().iter().zip(self.strides()).filter(|&(&n, _)| n > 1);
            let (mut inner, mut step) = (None, None);
            for (&n, &stride) in axes.rev() {
                if step.is_some_and(|step| step != Some(stride)) {
                    return None;
                }
                inner = inner.or(Some(stride));
                step = Some(stride.checked_mul(n as isize)); // nothing continues an axis that ends past all strides
            }
            one.strides[0] = inner.unwrap_or(1);
        }
        Some(one)
    }

    /// The axis that `axis` names, negative ones counted from the end.
    fn axis(&self, axis: isize) -> Result<usize> {
        let from_start = if axis < 0 { axis + self.rank as isize } else { axis };
        usize::try_from(from_start)
            .ok()
            .filter(|&a| a < self.rank)
            .ok_or(Error::Axis { axis, rank: self.rank })
    }

    fn transposed(mut self) -> Self {
        self.shape[..self.rank].reverse();
        self.strides[..self.rank].reverse();
        self
    }
}

impl std::fmt::Debug for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layout").field("shape", &self.shape()).field("strides", &self.strides()).finish()
    }
}

/// The number of elements of a shape. Zero-length axes do not excuse the others: their product must be
/// addressable too, so that no later partial product can wrap.
pub(crate) fn count(shape: &[usize]) -> Result<usize> {
    let bound = shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n.max(1)));
    match bound {
        Some(bound) if bound <= isize::MAX as usize => Ok(if shape.contains(&0) { 0 } else { bound }),
        _ => Err(Error::Overflow { shape: shape.to_vec() }),
    }
}

/// A vector of zeros (of `T::default()`) for an answer of this shape, or an error where it cannot be had.
pub(crate) fn zeros<T: Copy + Default>(shape: &[usize]) -> Result<Vec<T>> {
    /// From this size on the system hands out pages that are zero already, which `vec!` leaves untouched. Asking for as
    /// much once before, to learn whether it can be had, costs little beside the answer.
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
    start: *const T,
    layout: Layout,
    borrow: PhantomData<&'a [T]>,
}

// SAFETY: a `View` is a shared borrow of `T`s and gives nothing but shared access to them, as `&[T]` does.
unsafe impl<T: Sync> Send for View<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for View<'_, T> {}

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
    start: *mut T,
    layout: Layout,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: a `ViewMut` is an exclusive borrow of the elements its layout reaches, as `&mut [T]` is.
unsafe impl<T: Send> Send for ViewMut<'_, T> {}
// SAFETY: a shared `ViewMut` gives shared access only.
unsafe impl<T: Sync> Sync for ViewMut<'_, T> {}

/// Where the element (0, 0, …) of `layout` stands in `len` elements, shown to reach only these.
fn checked_start(layout: &Layout, len: usize, offset: usize) -> Result<usize> {
    match layout.extent() {
        // No index exists: nothing is ever read, and any start does.
        None => Ok(0),
        Some((low, high)) if offset as i128 + low >= 0 && offset as i128 + high < len as i128 => Ok(offset),
        Some(_) => Err(Error::Extent {
            shape: layout.shape().to_vec(),
            strides: layout.strides().to_vec(),
            offset,
            len,
        }),
    }
}

/// The layout of all of `len` elements in C order.
fn whole(len: usize, shape: &[usize]) -> Result<Layout> {
    let layout = Layout::c_order(shape)?;
    if layout.len() == len {
        Ok(layout)
    } else {
        Err(Error::Shape { what: "the data", expected: shape.to_vec(), got: vec![len] })
    }
}

impl<'a, T> View<'a, T> {
    /// All of `data`, in C order. The product of `shape` must be `data.len()`.
    ///
    /// # Errors
    /// [`Error::Shape`]; [`Error::Rank`] if there are more than [`MAX_RANK`] axes; [`Error::Overflow`] if the product
    /// cannot be counted, axes of length 0 left out.
    pub fn new(data: &'a [T], shape: &[usize]) -> Result<Self> {
        whole(data.len(), shape).map(|layout| View { start: data.as_ptr(), layout, borrow: PhantomData })
    }

    /// The elements `data[offset + Σ index[k]·strides[k]]`. Strides may be zero (broadcast), negative and
    /// overlapping; every index inside `shape` must land inside `data`.
    ///
    /// # Errors
    /// [`Error::Extent`] if one does not; [`Error::Rank`] and [`Error::Overflow`] as for [`View::new`], or if there are
    /// not as many strides as axes.
    pub fn strided(data: &'a [T], shape: &[usize], strides: &[isize], offset: usize) -> Result<Self> {
        let layout = Layout::new(shape, strides)?;
        let start = checked_start(&layout, data.len(), offset)?;
        Ok(View { start: data[start..].as_ptr(), layout, borrow: PhantomData })
    }

    /// The length of each axis.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// The step of each axis, in elements.
    pub fn strides(&self) -> &[isize] {
        self.layout.strides()
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.layout.rank
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.layout.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same elements with the axes in reverse order.
    pub fn transposed(self) -> Self {
        View { layout: self.layout.transposed(), ..self }
    }

    /// The element at `index`, or `None` where the shape has no such place.
    pub fn get(&self, index: &[usize]) -> Option<T>
    where
        T: Copy,
    {
        // SAFETY: the offset is that of an index inside the shape, so the constructor has shown the element to be
        // borrowed.
        self.layout.offset(index).map(|offset| unsafe { *self.start.offset(offset) })
    }

    /// The same elements with one axis more, the last, of length 1.
    pub(crate) fn with_axis_of_one(mut self) -> Result<Self> {
        let rank = self.rank();
        if rank == MAX_RANK {
            return Err(Error::Rank { what: "the array", expected: "less than 8 is needed", got: rank });
        }
        (self.layout.rank, self.layout.shape[rank], self.layout.strides[rank]) = (rank + 1, 1, 0);
        Ok(self)
    }

    /// All elements in C order as one axis, where one stride leads through them.
    pub(crate) fn flattened(&self) -> Option<Self> {
        Some(View { layout: self.layout.flattened()?, ..*self })
    }

    /// The elements as a slice, where they stand one after the other in C order.
    pub fn as_slice(&self) -> Option<&'a [T]> {
        // SAFETY: in C order the indices name exactly the `len` elements from `start` on, all borrowed for 'a.
        self.layout.is_c_order().then(|| unsafe { std::slice::from_raw_parts(self.start, self.len()) })
    }

    /// All elements in C order.
    pub(crate) fn to_vec(self) -> Vec<T>
    where
        T: Copy,
    {
        let Some(last) = self.rank().checked_sub(1) else { return self.get(&[]).into_iter().collect() };
        let (lanes, len) = (self.lanes(last), self.shape()[last]);
        let rows = if len == 0 { 0 } else { self.len() / len };
        (0..rows).flat_map(|row| (0..len).map(move |i| lanes.lane(row).get(i))).collect()
    }

    /// The axis that `axis` names, negative ones counted from the end.
    pub(crate) fn axis(&self, axis: isize) -> Result<usize> {
        self.layout.axis(axis)
    }

    /// The lanes along `axis` (which exists: see [`View::axis`]).
    pub(crate) fn lanes(&self, axis: usize) -> Lanes<'a, T> {
        Lanes { start: self.start, walk: Walk::new(&self.layout, axis), borrow: PhantomData }
    }
}

impl<'a, T> ViewMut<'a, T> {
    /// All of `data`, in C order. The product of `shape` must be `data.len()`.
    ///
    /// # Errors
    /// [`Error::Shape`]; [`Error::Rank`] if there are more than [`MAX_RANK`] axes; [`Error::Overflow`] if the product
    /// cannot be counted, axes of length 0 left out.
    pub fn new(data: &'a mut [T], shape: &[usize]) -> Result<Self> {
        whole(data.len(), shape).map(|layout| ViewMut {
            start: data.as_mut_ptr(),
            layout,
            borrow: PhantomData,
        })
    }

    /// The elements `data[offset + Σ index[k]·strides[k]]`. Every index inside `shape` must land inside `data`, and
    /// no two on the same element: sorted by size, each stride must step over all that the smaller ones reach
    /// together. (Layouts exist that pass between each other's elements and are refused all the same; no slicing,
    /// transposing or reversing of an array makes one.)
    ///
    /// # Errors
    /// [`Error::Alias`] if two indices may meet; those of [`View::strided`].
    pub fn strided(data: &'a mut [T], shape: &[usize], strides: &[isize], offset: usize) -> Result<Self> {
        let layout = Layout::new(shape, strides)?;
        let start = checked_start(&layout, data.len(), offset)?;
        if !layout.is_injective() {
            return Err(Error::Alias { shape: shape.to_vec(), strides: strides.to_vec() });
        }
        Ok(ViewMut { start: data[start..].as_mut_ptr(), layout, borrow: PhantomData })
    }

    /// The same elements, to read.
    pub fn as_view(&self) -> View<'_, T> {
        View { start: self.start, layout: self.layout, borrow: PhantomData }
    }

    /// The same elements, borrowed for a shorter time.
    pub fn reborrow(&mut self) -> ViewMut<'_, T> {
        ViewMut { start: self.start, layout: self.layout, borrow: PhantomData }
    }

    /// The length of each axis.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// The step of each axis, in elements.
    pub fn strides(&self) -> &[isize] {
        self.layout.strides()
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.layout.rank
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.layout.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same elements with the axes in reverse order.
    pub fn transposed(self) -> Self {
        ViewMut { layout: self.layout.transposed(), ..self }
    }

    /// The element at `index`, or `None` where the shape has no such place.
    pub fn get_mut(&mut self, index: &[usize]) -> Option<&mut T> {
        // SAFETY: the offset is that of an index inside the shape, so the constructor has shown the element to be
        // borrowed; exclusively, as `self` is.
        self.layout.offset(index).map(|offset| unsafe { &mut *self.start.offset(offset) })
    }

    /// The axis that `axis` names, negative ones counted from the end.
    pub(crate) fn axis(&self, axis: isize) -> Result<usize> {
        self.layout.axis(axis)
    }

    /// All elements in C order as one axis, where one stride leads through them; otherwise the view back.
    #[allow(clippy::result_large_err)] // the view itself, not an error
    pub(crate) fn flattened(self) -> std::result::Result<Self, Self> {
        match self.layout.flattened() {
            Some(layout) => Ok(ViewMut { layout, ..self }),
            None => Err(self),
        }
    }

    /// The elements as a slice, where they stand one after the other in C order; otherwise the view back.
    #[allow(clippy::result_large_err)] // the view itself, not an error
    pub fn into_slice(self) -> std::result::Result<&'a mut [T], Self> {
        if self.layout.is_c_order() {
            // SAFETY: in C order the indices name exactly the `len` elements from `start` on, exclusively
            // borrowed for 'a, and `self` is consumed.
            Ok(unsafe { std::slice::from_raw_parts_mut(self.start, self.len()) })
        } else {
            Err(self)
        }
    }

    /// The lanes along `axis` (which exists: see [`View::axis`]).
    pub(crate) fn into_lanes(self, axis: usize) -> LanesMut<'a, T> {
        LanesMut { start: self.start, walk: Walk::new(&self.layout, axis), borrow: PhantomData }
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

/// The layout of a whole slice. Its length is at most `isize::MAX`, so nothing can be refused.
fn flat(len: usize) -> Layout {
    let mut layout = Layout { rank: 1, shape: [1; MAX_RANK], strides: [0; MAX_RANK] };
    (layout.shape[0], layout.strides[0]) = (len, 1);
    layout
}

impl<'a, T> From<&'a [T]> for View<'a, T> {
    fn from(data: &'a [T]) -> Self {
        View { start: data.as_ptr(), layout: flat(data.len()), borrow: PhantomData }
    }
}

impl<'a, T, const N: usize> From<&'a [T; N]> for View<'a, T> {
    fn from(data: &'a [T; N]) -> Self {
        data.as_slice().into()
    }
}

impl<'a, T> From<&'a Vec<T>> for View<'a, T> {
    fn from(data: &'a Vec<T>) -> Self {
        data.as_slice().into()
    }
}

impl<'a, T> From<&'a mut [T]> for ViewMut<'a, T> {
    fn from(data: &'a mut [T]) -> Self {
        ViewMut { layout: flat(data.len()), start: data.as_mut_ptr(), borrow: PhantomData }
    }
}

impl<'a, T, const N: usize> From<&'a mut [T; N]> for ViewMut<'a, T> {
    fn from(data: &'a mut [T; N]) -> Self {
        data.as_mut_slice().into()
    }
}

impl<'a, T> From<&'a mut Vec<T>> for ViewMut<'a, T> {
    fn from(data: &'a mut Vec<T>) -> Self {
        data.as_mut_slice().into()
    }
}

impl<'a, 'b, T> From<&'a mut ViewMut<'b, T>> for ViewMut<'a, T> {
    fn from(view: &'a mut ViewMut<'b, T>) -> Self {
        view.reborrow()
    }
}

/// How to get from lane to lane: the axes other than the lane's own, those that continue each other merged into one
/// and those of length 1 dropped, so that rows of a matrix are one step and one multiplication apart.
#[derive(Clone, Copy)]
struct Walk {
    outer: [(usize, isize); MAX_RANK],
    rank: usize,
    len: usize,
    stride: isize,
    /// The lanes still meant, as a range of their C-order numbers.
    first: usize,
    count: usize,
}

impl Walk {
    fn new(layout: &Layout, axis: usize) -> Self {
        let mut outer = [(1, 0); MAX_RANK];
        let mut rank = 0usize;
        let mut count = 1;
        for (k, (&n, &stride)) in layout.shape().iter().zip(layout.strides()).enumerate() {
            if k == axis {
                continue;
            }
            count *= n;
            if n == 1 {
                continue;
            }
            match rank.checked_sub(1).map(|last| &mut outer[last]) {
                Some((m, step)) if stride.checked_mul(n as isize) == Some(*step) => {
                    (*m, *step) = (*m * n, stride)
                }
                _ => {
                    outer[rank] = (n, stride);
                    rank += 1;
                }
            }
        }
        Walk { outer, rank, len: layout.shape[axis], stride: layout.strides[axis], first: 0, count }
    }

    /// The offset of the first element of the lane numbered `i`.
    #[inline(always)]
    fn offset(&self, i: usize) -> isize {
        assert!(i < self.count, "a lane beyond the last");
        let i = self.first + i;
        match self.rank {
            0 => 0,
            1 => i as isize * self.outer[0].1,
            _ => self.offset_by_division(i),
        }
    }

    fn offset_by_division(&self, mut i: usize) -> isize {
        let mut offset = 0;
        for &(n, stride) in self.outer[..self.rank].iter().rev() {
            offset += (i % n) as isize * stride;
            i /= n;
        }
        offset
    }

    /// Whether the lanes `i`, …, `i + count − 1` begin at neighbouring elements.
    #[inline(always)]
    fn are_neighbours(&self, i: usize, count: usize) -> bool {
        assert!(i <= self.count && count <= self.count - i, "lanes beyond the last");
        match self.rank.checked_sub(1).map(|last| self.outer[last]) {
            Some((n, 1)) => count <= n - (self.first + i) % n,
            _ => count <= 1,
        }
    }

    /// The offset of element `at` of lane `i`, after which those of the `count − 1` next lanes follow.
    #[inline(always)]
    fn across(&self, i: usize, count: usize, at: usize) -> isize {
        assert!(self.are_neighbours(i, count) && at < self.len, "no such elements side by side");
        if count == 0 { 0 } else { self.offset(i) + at as isize * self.stride }
    }

    /// The offset and length of the lanes `i`, …, `i + count − 1` as one run of elements, lane after lane, where they
    /// stand like that.
    #[inline(always)]
    fn run(&self, i: usize, count: usize) -> Option<(isize, usize)> {
        assert!(i <= self.count && count <= self.count - i, "lanes beyond the last");
        let dense =
            (self.stride == 1 || self.len <= 1) && (count <= 1 || self.step() == Some(self.len as isize));
        dense.then(|| match self.len * count {
            0 => (0, 0),
            elements => (self.offset(i), elements),
        })
    }

    /// The distance between neighbouring lanes, where there is but one.
    fn step(&self) -> Option<isize> {
        match self.rank {
            0 => Some(0),
            1 => Some(self.outer[0].1),
            _ => None,
        }
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        assert!(mid <= self.count, "a split beyond the end");
        (Walk { count: mid, ..self }, Walk { first: self.first + mid, count: self.count - mid, ..self })
    }
}

/// The lanes of a [`View`] along one axis, numbered in C order over the other axes.
#[derive(Clone, Copy)]
pub(crate) struct Lanes<'a, T> {
    start: *const T,
    walk: Walk,
    borrow: PhantomData<&'a [T]>,
}

// SAFETY: as for `View`.
unsafe impl<T: Sync> Send for Lanes<'_, T> {}
// SAFETY: as for `View`.
unsafe impl<T: Sync> Sync for Lanes<'_, T> {}

/// The lanes of a [`ViewMut`] along one axis, numbered in C order over the other axes.
pub(crate) struct LanesMut<'a, T> {
    start: *mut T,
    walk: Walk,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: as for `ViewMut`.
unsafe impl<T: Send> Send for LanesMut<'_, T> {}

impl<'a, T> Lanes<'a, T> {
    /// Whether the elements of each lane are neighbours.
    pub(crate) fn are_dense(&self) -> bool {
        self.walk.stride == 1 || self.walk.len <= 1
    }

    /// The length of each lane.
    pub(crate) fn lane_len(&self) -> usize {
        self.walk.len
    }

    /// Lane number `i`.
    #[inline(always)]
    pub(crate) fn lane(&self, i: usize) -> Lane<'a, T> {
        // SAFETY: `Walk::offset` has asserted that the lane exists; the offset of its first element is that of an
        // index inside the view's shape, or the lane is empty and the pointer never followed.
        let start = unsafe { self.start.offset(if self.walk.len == 0 { 0 } else { self.walk.offset(i) }) };
        Lane { start, len: self.walk.len, stride: self.walk.stride, borrow: PhantomData }
    }

    /// Whether the lanes `i`, …, `i + count − 1` begin at neighbouring elements, so that `across` gives any of theirs.
    #[inline(always)]
    pub(crate) fn are_neighbours(&self, i: usize, count: usize) -> bool {
        self.walk.are_neighbours(i, count)
    }

    /// Element `at` of each of the lanes `i`, …, `i + count − 1`, which are neighbours.
    #[inline(always)]
    pub(crate) fn across(&self, i: usize, count: usize, at: usize) -> &'a [T] {
        let offset = self.walk.across(i, count, at);
        // SAFETY: the element `at` of lane `i` is in bounds by the view's proof, and so are those of the `count − 1`
        // next lanes, which begin 1, 2, … elements further and have the same stride.
        unsafe { std::slice::from_raw_parts(self.start.offset(offset), count) }
    }

    /// The lanes `i`, …, `i + count − 1` as one slice, lane after lane, where they stand like that.
    #[inline(always)]
    pub(crate) fn run(&self, i: usize, count: usize) -> Option<&'a [T]> {
        let (offset, len) = self.walk.run(i, count)?;
        // SAFETY: these lanes are dense and follow each other densely, so their elements, each in bounds by the view's
        // proof, are exactly the `len` from the first lane's start on.
        Some(unsafe { std::slice::from_raw_parts(self.start.offset(offset), len) })
    }
}

impl<'a, T> LanesMut<'a, T> {
    /// Whether the elements of each lane are neighbours.
    pub(crate) fn are_dense(&self) -> bool {
        self.as_lanes().are_dense()
    }

    /// The length of each lane.
    pub(crate) fn lane_len(&self) -> usize {
        self.walk.len
    }

    /// Lane number `i`.
    #[inline(always)]
    pub(crate) fn lane(&mut self, i: usize) -> LaneMut<'_, T> {
        // SAFETY: as for `Lanes::lane`; exclusive, because `self` is borrowed for as long as the lane.
        let start = unsafe { self.start.offset(if self.walk.len == 0 { 0 } else { self.walk.offset(i) }) };
        LaneMut { start, len: self.walk.len, stride: self.walk.stride, borrow: PhantomData }
    }

    /// Lane number `i` and, to read, the next one, where there is one and both stand as in [`Lanes::run`].
    #[inline(always)]
    pub(crate) fn lane_and_next(&mut self, i: usize) -> (LaneMut<'_, T>, &[T]) {
        if i + 1 >= self.walk.count || self.walk.run(i, 2).is_none() {
            return (self.lane(i), &[]);
        }
        let len = self.walk.len;
        let (lane, next) = self.run_mut(i, 2).unwrap_or_default().split_at_mut(len);
        (LaneMut::from(lane), next)
    }

    /// See [`Lanes::are_neighbours`].
    #[inline(always)]
    pub(crate) fn are_neighbours(&self, i: usize, count: usize) -> bool {
        self.walk.are_neighbours(i, count)
    }

    /// See [`Lanes::across`].
    #[inline(always)]
    pub(crate) fn across_mut(&mut self, i: usize, count: usize, at: usize) -> &mut [T] {
        let offset = self.walk.across(i, count, at);
        // SAFETY: as for `Lanes::across`; exclusive, because `self` is borrowed for as long as the slice.
        unsafe { std::slice::from_raw_parts_mut(self.start.offset(offset), count) }
    }

    /// The same lanes, to read.
    pub(crate) fn as_lanes(&self) -> Lanes<'_, T> {
        Lanes { start: self.start, walk: self.walk, borrow: PhantomData }
    }

    /// See [`Lanes::run`].
    #[inline(always)]
    pub(crate) fn run_mut(&mut self, i: usize, count: usize) -> Option<&mut [T]> {
        let (offset, len) = self.walk.run(i, count)?;
        // SAFETY: as for `Lanes::run`; exclusive, because `self` is borrowed for as long as the slice.
        Some(unsafe { std::slice::from_raw_parts_mut(self.start.offset(offset), len) })
    }
}

#[allow(clippy::misnamed_getters)] // the units are lanes, not elements
impl<T> Split for Lanes<'_, T>
where
    T: Sync,
{
    fn len(&self) -> usize {
        self.walk.count
    }
    fn split_at(self, mid: usize) -> (Self, Self) {
        let (a, b) = self.walk.split_at(mid);
        (Lanes { walk: a, ..self }, Lanes { walk: b, ..self })
    }
}

// Two ranges of lane numbers that do not meet reach no common element: a `ViewMut` has no index twice.
#[allow(clippy::misnamed_getters)] // the units are lanes, not elements
impl<T: Send> Split for LanesMut<'_, T> {
    fn len(&self) -> usize {
        self.walk.count
    }
    fn split_at(self, mid: usize) -> (Self, Self) {
        let (a, b) = self.walk.split_at(mid);
        (LanesMut { walk: a, ..self }, LanesMut { walk: b, ..self })
    }
}

/// The elements that differ in one axis alone: a 1-d strided array.
#[derive(Clone, Copy)]
pub(crate) struct Lane<'a, T> {
    start: *const T,
    len: usize,
    stride: isize,
    borrow: PhantomData<&'a [T]>,
}

/// A [`Lane`] to write through.
pub(crate) struct LaneMut<'a, T> {
    start: *mut T,
    len: usize,
    stride: isize,
    borrow: PhantomData<&'a mut [T]>,
}

impl<'a, T> From<&'a [T]> for Lane<'a, T> {
    fn from(slice: &'a [T]) -> Self {
        Lane { start: slice.as_ptr(), len: slice.len(), stride: 1, borrow: PhantomData }
    }
}

impl<'a, T> From<&'a mut [T]> for LaneMut<'a, T> {
    fn from(slice: &'a mut [T]) -> Self {
        LaneMut { start: slice.as_mut_ptr(), len: slice.len(), stride: 1, borrow: PhantomData }
    }
}

impl<'a, T: Copy> Lane<'a, T> {
    /// The elements as a slice, where they are dense.
    #[inline(always)]
    pub(crate) fn as_slice(&self) -> Option<&'a [T]> {
        // SAFETY: dense, so the lane's elements are the `len` from `start` on, all borrowed for 'a.
        (self.stride == 1 || self.len <= 1)
            .then(|| unsafe { std::slice::from_raw_parts(self.start, self.len) })
    }

    /// Element number `i`.
    #[inline(always)]
    pub(crate) fn get(&self, i: usize) -> T {
        assert!(i < self.len, "an element beyond the lane's end");
        // SAFETY: inside the lane, whose every element the view has proven to be borrowed.
        unsafe { *self.start.offset(i as isize * self.stride) }
    }

    /// Copies the elements from `first` on into `out`.
    #[inline(always)]
    pub(crate) fn copy_to(&self, first: usize, out: &mut [T]) {
        assert!(first <= self.len && out.len() <= self.len - first, "elements beyond the lane's end");
        for (k, out) in out.iter_mut().enumerate() {
            // SAFETY: `first + k < first + out.len() <= len`, asserted above; then as in `get`.
            *out = unsafe { *self.start.offset((first + k) as isize * self.stride) };
        }
    }
}

impl<'a, T: Copy> LaneMut<'a, T> {
    /// The elements as a slice, where they are dense.
    #[inline(always)]
    pub(crate) fn into_slice_mut(self) -> Option<&'a mut [T]> {
        // SAFETY: dense, so the lane's elements are the `len` from `start` on, exclusively borrowed for 'a.
        self.is_dense().then(|| unsafe { std::slice::from_raw_parts_mut(self.start, self.len) })
    }

    /// The same for as long as `self` is borrowed.
    #[inline(always)]
    pub(crate) fn as_slice_mut(&mut self) -> Option<&mut [T]> {
        LaneMut { ..*self }.into_slice_mut()
    }

    /// The same elements, to read.
    #[inline(always)]
    pub(crate) fn as_lane(&self) -> Lane<'_, T> {
        Lane { start: self.start, len: self.len, stride: self.stride, borrow: PhantomData }
    }

    /// Whether `as_slice_mut` gives a slice.
    #[inline(always)]
    pub(crate) fn is_dense(&self) -> bool {
        self.stride == 1 || self.len <= 1
    }

    /// Writes element number `i`.
    #[inline(always)]
    pub(crate) fn set(&mut self, i: usize, x: T) {
        assert!(i < self.len, "an element beyond the lane's end");
        // SAFETY: inside the lane, whose every element the view has proven to be exclusively borrowed.
        unsafe { *self.start.offset(i as isize * self.stride) = x }
    }

    /// Overwrites every element with `x`.
    pub(crate) fn fill(&mut self, x: T) {
        (0..self.len).for_each(|i| self.set(i, x));
    }

    /// Copies the first `len` elements of `from` over the first of this lane.
    #[inline(always)]
    pub(crate) fn copy_from_lane(&mut self, from: Lane<'_, T>, len: usize) {
        assert!(len <= self.len && len <= from.len, "elements beyond the lane's end");
        for i in 0..len as isize {
            // SAFETY: `i < len`, which is inside both lanes, asserted above; then as in `get` and `set`.
            unsafe { *self.start.offset(i * self.stride) = *from.start.offset(i * from.stride) };
        }
    }

    /// Copies `from` over the elements from `first` on.
    #[inline(always)]
    pub(crate) fn copy_from(&mut self, first: usize, from: &[T]) {
        assert!(first <= self.len && from.len() <= self.len - first, "elements beyond the lane's end");
        for (k, &x) in from.iter().enumerate() {
            // SAFETY: `first + k < first + from.len() <= len`, asserted above; then as in `set`.
            unsafe { *self.start.offset((first + k) as isize * self.stride) = x };
        }
    }
}

#[cfg(feature = "ndarray")]
mod from_ndarray {
    use super::*;
    use ndarray::{ArrayBase, ArrayView, ArrayViewMut, Data, DataMut, Dimension, IxDyn};

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
                    View { start: array.as_ptr(), layout, borrow: PhantomData }
                }
            }
            impl<'a, T> From<ArrayViewMut<'a, T, ndarray::$d>> for ViewMut<'a, T> {
                fn from(mut array: ArrayViewMut<'a, T, ndarray::$d>) -> Self {
                    let layout = layout::<ndarray::$d>(array.shape(), array.strides());
                    let layout = layout.expect("an ndarray shape is addressable");
                    ViewMut { start: array.as_mut_ptr(), layout, borrow: PhantomData }
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
            Ok(View { start: array.as_ptr(), layout, borrow: PhantomData })
        }
    }

    impl<'a, T> TryFrom<ArrayViewMut<'a, T, IxDyn>> for ViewMut<'a, T> {
        type Error = Error;
        fn try_from(mut array: ArrayViewMut<'a, T, IxDyn>) -> Result<Self> {
            let layout = layout::<IxDyn>(array.shape(), array.strides())?;
            Ok(ViewMut { start: array.as_mut_ptr(), layout, borrow: PhantomData })
        }
    }
}
