//! Pieces of arrays, and every access to memory through them.
//!
//! A piece is a pointer with lengths and strides, and one invariant: each place inside its lengths is an element that
//! the array it was cut from borrows; for the pieces whose names end in `Mut`, exclusively, and no two places are the
//! same element. A piece is made only in this module's folder, from an array's proven layout or from another piece;
//! where it is made by arithmetic, the extent is asserted in debug builds.

#![allow(unsafe_code)]

use super::layout::{AxisLayout, INDEX, INNER, Layout, OUTER, extent};
use std::marker::PhantomData;

/// Work that can be cut in two at any unit.
pub(crate) trait Split: Sized + Send {
    /// The number of units.
    fn len(&self) -> usize;
    /// The first `mid` units and the rest.
    fn split_at(self, mid: usize) -> (Self, Self);
}

/// Where a piece starts. What may be done with it, the piece around it says.
pub(crate) struct Start<T>(*mut T);

impl<T> Clone for Start<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Start<T> {}

// SAFETY: an address alone, which nobody outside this folder can follow. Each piece holds a marker of the
// borrow that it is, so it can be sent and shared as that can.
unsafe impl<T> Send for Start<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Start<T> {}

impl<T> Start<T> {
    #[inline(always)]
    pub(super) fn new(at: *const T) -> Self {
        Start(at.cast_mut())
    }

    /// So many elements further.
    #[inline(always)]
    pub(super) fn at(self, offset: isize) -> Self {
        Start(self.0.wrapping_offset(offset))
    }

    #[inline(always)]
    pub(super) fn cast<U>(self) -> Start<U> {
        Start(self.0.cast())
    }
}

/// A number of which every bit pattern is a value: what elements and indices are read and written as.
pub(crate) trait Word: Copy + Default + PartialEq + PartialOrd + Send + Sync + 'static {
    /// Whether there are negative ones.
    const IS_SIGNED: bool;
    /// The value with these bytes in front.
    fn from_bytes(bytes: &[u8; 16]) -> Self;
    /// The value as an offset, if it is one.
    fn to_offset(self) -> usize;
    /// The number itself, as far as 64 bits hold it, its sign spread.
    fn to_i64(self) -> i64;
}

macro_rules! word {
    ($($t:ident)*) => {$(
        impl Word for $t {
            const IS_SIGNED: bool = $t::MIN != 0 as $t;
            #[inline(always)]
            fn from_bytes(bytes: &[u8; 16]) -> Self {
                bytes.first_chunk().map_or(Self::default(), |bytes| Self::from_ne_bytes(*bytes))
            }
            #[inline(always)]
            fn to_offset(self) -> usize {
                self as usize
            }
            #[inline(always)]
            fn to_i64(self) -> i64 {
                self as i64
            }
        }
    )*};
}
word!(u8 u16 u32 u64 u128 i8 i16 i32 i64 f32 f64);

/// A 1-d strided array: the elements of an array that differ in one axis alone.
pub(crate) struct AxisSlice<'a, T> {
    start: Start<T>,
    len: usize,
    stride: isize,
    borrow: PhantomData<&'a [T]>,
}

/// An [`AxisSlice`] to write through.
pub(crate) struct AxisSliceMut<'a, T> {
    start: Start<T>,
    len: usize,
    stride: isize,
    borrow: PhantomData<&'a mut [T]>,
}

impl<T> Clone for AxisSlice<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for AxisSlice<'_, T> {}

impl<'a, T> From<&'a [T]> for AxisSlice<'a, T> {
    fn from(slice: &'a [T]) -> Self {
        AxisSlice::new(Start::new(slice.as_ptr()), slice.len(), 1)
    }
}

impl<'a, T> From<&'a mut [T]> for AxisSliceMut<'a, T> {
    fn from(slice: &'a mut [T]) -> Self {
        AxisSliceMut::new(Start(slice.as_mut_ptr()), slice.len(), 1)
    }
}

impl<'a> AxisSlice<'a, u32> {
    /// The lower half of each.
    #[inline(always)]
    pub(crate) fn low_words(slice: &'a [u64]) -> Self {
        let start = Start::<u32>::new(slice.as_ptr().cast());
        AxisSlice::new(start.at(isize::from(cfg!(target_endian = "big"))), slice.len(), 2)
    }
}

impl<'a, T> AxisSlice<'a, T> {
    /// For this folder, which has shown that these elements are borrowed for `'a`.
    #[inline(always)]
    pub(super) fn new(start: Start<T>, len: usize, stride: isize) -> Self {
        AxisSlice { start, len, stride, borrow: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The elements as a slice, where they are dense.
    #[inline(always)]
    pub(crate) fn as_slice(&self) -> Option<&'a [T]> {
        // SAFETY: dense, so the elements are the `len` from `start` on, all borrowed for 'a: the piece's invariant.
        (self.stride == 1 || self.len <= 1)
            .then(|| unsafe { std::slice::from_raw_parts(self.start.0, self.len) })
    }

    /// Element number `i`.
    #[inline(always)]
    pub(crate) fn get(&self, i: usize) -> T
    where
        T: Copy,
    {
        assert!(i < self.len, "an element beyond the end");
        let one = AxisSlice::new(self.start.at(i as isize * self.stride), 1, 1);
        one.as_slice().expect("a run of one is dense")[0]
    }

    /// The first `len` elements in order.
    #[inline(always)]
    pub(crate) fn iter(&self, len: usize) -> impl Iterator<Item = T> + use<'a, T>
    where
        T: Copy,
    {
        assert!(len <= self.len, "elements beyond the end");
        let (mut at, stride) = (self.start, self.stride);
        // A `map` of a range: such iterators in step are one loop with one end.
        (0..len).map(move |_| {
            let one = AxisSlice::new(at, 1, 1);
            at = at.at(stride);
            one.as_slice().expect("a run of one is dense")[0]
        })
    }

    /// Copies the elements from `first` on into `out`.
    #[inline(always)]
    pub(crate) fn copy_to(&self, first: usize, out: &mut [T])
    where
        T: Copy,
    {
        assert!(first <= self.len && out.len() <= self.len - first, "elements beyond the end");
        let mut start = self.start.at(first as isize * self.stride);
        let mut copy = |out: &mut [T]| {
            for (k, out) in out.iter_mut().enumerate() {
                // Inside, as just asserted: no look at each element.
                if let Some(&[x]) = AxisSlice::new(start.at(k as isize * self.stride), 1, 1).as_slice() {
                    *out = x;
                }
            }
            start = start.at(out.len() as isize * self.stride);
        };
        let (fours, rest) = out.as_chunks_mut::<4>();
        fours.iter_mut().for_each(|four| copy(four));
        copy(rest);
    }
}

impl<'a, T> AxisSliceMut<'a, T> {
    /// As [`AxisSlice::new`]; the elements are borrowed exclusively, and are distinct.
    #[inline(always)]
    pub(super) fn new(start: Start<T>, len: usize, stride: isize) -> Self {
        AxisSliceMut { start, len, stride, borrow: PhantomData }
    }

    /// The elements as a slice, where they are dense.
    #[inline(always)]
    pub(crate) fn into_slice_mut(self) -> Option<&'a mut [T]> {
        // SAFETY: dense, so the elements are the `len` from `start` on, exclusively borrowed for 'a: the piece's
        // invariant; and `self`, the way to them, is consumed.
        self.is_dense().then(|| unsafe { std::slice::from_raw_parts_mut(self.start.0, self.len) })
    }

    /// The same for as long as `self` is borrowed.
    #[inline(always)]
    pub(crate) fn as_slice_mut(&mut self) -> Option<&mut [T]> {
        AxisSliceMut::new(self.start, self.len, self.stride).into_slice_mut()
    }

    /// The same elements, to read.
    #[inline(always)]
    pub(crate) fn as_slice_view(&self) -> AxisSlice<'_, T> {
        AxisSlice::new(self.start, self.len, self.stride)
    }

    /// Whether `as_slice_mut` gives a slice.
    #[inline(always)]
    pub(crate) fn is_dense(&self) -> bool {
        self.stride == 1 || self.len <= 1
    }

    /// Element number `i`.
    #[inline(always)]
    pub(crate) fn at(self, i: usize) -> &'a mut T {
        assert!(i < self.len, "an element beyond the end");
        let one = AxisSliceMut::new(self.start.at(i as isize * self.stride), 1, 1);
        &mut one.into_slice_mut().expect("a run of one is dense")[0]
    }

    /// Writes element number `i`.
    #[inline(always)]
    pub(crate) fn set(&mut self, i: usize, x: T) {
        *AxisSliceMut::new(self.start, self.len, self.stride).at(i) = x;
    }

    /// Overwrites every element with `x`.
    pub(crate) fn fill(&mut self, x: T)
    where
        T: Copy,
    {
        (0..self.len).for_each(|i| self.set(i, x));
    }

    /// Copies `from` over the elements from `first` on.
    #[inline(always)]
    pub(crate) fn copy_from(&mut self, first: usize, from: &[T])
    where
        T: Copy,
    {
        assert!(first <= self.len && from.len() <= self.len - first, "elements beyond the end");
        let start = self.start.at(first as isize * self.stride);
        for (k, &from) in from.iter().enumerate() {
            // As above.
            if let Some([x]) = AxisSliceMut::new(start.at(k as isize * self.stride), 1, 1).into_slice_mut() {
                *x = from;
            }
        }
    }
}

/// The 1-d slices of a view along one axis, numbered in C order over the other axes.
pub(crate) struct AxisSlices<'a, T> {
    start: Start<T>,
    along: AxisLayout,
    borrow: PhantomData<&'a [T]>,
}

/// [`AxisSlices`] to write through.
pub(crate) struct AxisSlicesMut<'a, T>(AxisSlices<'a, T>, PhantomData<&'a mut [T]>);

impl<T> Clone for AxisSlices<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for AxisSlices<'_, T> {}

// What makes the pieces below: the offsets are `AxisLayout`'s, which asserts that the slices asked for exist, and
// each element of these is one inside the view's shape.
impl<'a, T> AxisSlices<'a, T> {
    #[inline(always)]
    pub(super) fn new(start: Start<T>, along: AxisLayout) -> Self {
        AxisSlices { start, along, borrow: PhantomData }
    }

    /// Makes these, which are none yet, those along `axis`.
    #[inline(always)]
    pub(super) fn set(&mut self, layout: &Layout, axis: usize) {
        self.along.set(layout, axis);
    }

    /// Whether the elements of each slice are neighbours.
    #[inline]
    pub(crate) fn are_dense(&self) -> bool {
        self.along.stride == 1 || self.along.len <= 1
    }

    /// The length of each slice.
    pub(crate) fn slice_len(&self) -> usize {
        self.along.len
    }

    /// Slice number `i`.
    #[inline(always)]
    pub(crate) fn slice(&self, i: usize) -> AxisSlice<'a, T> {
        AxisSlice::new(self.start.at(self.along.offset(i)), self.along.len, self.along.stride)
    }

    /// Copies the elements from `first` on, counted through the slices.
    pub(crate) fn copy_to(&self, first: usize, mut out: &mut [T])
    where
        T: Copy,
    {
        /// Slices shorter than this are not worth a loop each.
        const SHORT: usize = 16;
        let len = self.along.len;
        let end = first.checked_add(out.len());
        assert!(end.is_some_and(|end| end <= self.along.count * len), "elements beyond the end");
        let (mut slice, mut at) = (first.checked_div(len).unwrap_or(0), first.checked_rem(len).unwrap_or(0));
        if len < SHORT && !out.is_empty() {
            let mut run = self.slice(slice);
            for out in out {
                if at == len {
                    (slice, at) = (slice + 1, 0);
                    run = self.slice(slice);
                }
                *out = run.get(at);
                at += 1;
            }
            return;
        }
        while !out.is_empty() {
            let (now, later) = out.split_at_mut(out.len().min(len - at));
            self.slice(slice).copy_to(at, now);
            (out, slice, at) = (later, slice + 1, 0);
        }
    }

    /// Whether the slices `i`, …, `i + count − 1` begin at neighbouring elements, so that `cross_section` gives any
    /// of theirs.
    #[inline(always)]
    pub(crate) fn are_adjacent(&self, i: usize, count: usize) -> bool {
        self.along.are_adjacent(i, count)
    }

    /// Element `at` of each of the slices `i`, …, `i + count − 1`, which are neighbours.
    #[inline(always)]
    pub(crate) fn cross_section(&self, i: usize, count: usize, at: usize) -> &'a [T] {
        let start = self.start.at(self.along.cross_section(i, count, at));
        AxisSlice::new(start, count, 1).as_slice().unwrap_or_default()
    }

    /// The slices `i`, …, `i + count − 1` as one, slice after slice, where they stand like that.
    #[inline(always)]
    pub(crate) fn run(&self, i: usize, count: usize) -> Option<&'a [T]> {
        let (offset, len) = self.along.run(i, count)?;
        AxisSlice::new(self.start.at(offset), len, 1).as_slice()
    }
}

impl<'a, T> AxisSlicesMut<'a, T> {
    #[inline(always)]
    pub(super) fn new(start: Start<T>, along: AxisLayout) -> Self {
        AxisSlicesMut(AxisSlices::new(start, along), PhantomData)
    }

    /// See [`AxisSlices::set`].
    #[inline(always)]
    pub(super) fn set(&mut self, layout: &Layout, axis: usize) {
        self.0.set(layout, axis);
    }

    /// Whether the elements of each slice are neighbours.
    pub(crate) fn are_dense(&self) -> bool {
        self.0.are_dense()
    }

    /// The length of each slice.
    pub(crate) fn slice_len(&self) -> usize {
        self.0.along.len
    }

    /// Slice number `i`.
    #[inline(always)]
    pub(crate) fn slice(&mut self, i: usize) -> AxisSliceMut<'_, T> {
        AxisSliceMut::new(self.0.start.at(self.0.along.offset(i)), self.0.along.len, self.0.along.stride)
    }

    /// Slice number `i` and, to read, the next one, where there is one and both stand as in [`AxisSlices::run`].
    #[inline(always)]
    pub(crate) fn slice_and_next(&mut self, i: usize) -> (AxisSliceMut<'_, T>, &[T]) {
        if i + 1 >= self.0.along.count || self.0.along.run(i, 2).is_none() {
            return (self.slice(i), &[]);
        }
        let len = self.0.along.len;
        let (slice, next) = self.run_mut(i, 2).unwrap_or_default().split_at_mut(len);
        (AxisSliceMut::from(slice), next)
    }

    /// See [`AxisSlices::are_adjacent`].
    #[inline(always)]
    pub(crate) fn are_adjacent(&self, i: usize, count: usize) -> bool {
        self.0.along.are_adjacent(i, count)
    }

    /// See [`AxisSlices::cross_section`].
    #[inline(always)]
    pub(crate) fn cross_section_mut(&mut self, i: usize, count: usize, at: usize) -> &mut [T] {
        let start = self.0.start.at(self.0.along.cross_section(i, count, at));
        AxisSliceMut::new(start, count, 1).into_slice_mut().unwrap_or_default()
    }

    /// The same slices, to read.
    #[inline(always)]
    pub(crate) fn as_axis_slices(&self) -> &AxisSlices<'_, T> {
        &self.0
    }

    /// See [`AxisSlices::run`].
    #[inline(always)]
    pub(crate) fn run_mut(&mut self, i: usize, count: usize) -> Option<&mut [T]> {
        let (offset, len) = self.0.along.run(i, count)?;
        AxisSliceMut::new(self.0.start.at(offset), len, 1).into_slice_mut()
    }
}

#[allow(clippy::misnamed_getters)] // the units are slices, not elements
impl<T: Sync> Split for AxisSlices<'_, T> {
    fn len(&self) -> usize {
        self.along.count
    }
    fn split_at(self, mid: usize) -> (Self, Self) {
        let (a, b) = self.along.split_at(mid);
        (AxisSlices { along: a, ..self }, AxisSlices { along: b, ..self })
    }
}

// Two ranges of slice numbers that do not meet reach no common element: a `ViewMut` has no index twice.
#[allow(clippy::misnamed_getters)] // the units are slices, not elements
impl<T: Send + Sync> Split for AxisSlicesMut<'_, T> {
    fn len(&self) -> usize {
        self.0.along.count
    }
    fn split_at(self, mid: usize) -> (Self, Self) {
        let (a, b) = self.0.split_at(mid);
        (AxisSlicesMut(a, PhantomData), AxisSlicesMut(b, PhantomData))
    }
}

/// A dense vector whose type is forgotten but for its elements' size, as that of an [`Erased3`].
#[derive(Clone, Copy)]
pub(crate) struct ErasedSlice<'a> {
    start: Start<u8>,
    width: usize,
    len: usize,
    borrow: PhantomData<&'a [u8]>,
}

/// An [`ErasedSlice`] to write through.
pub(crate) struct ErasedSliceMut<'a>(ErasedSlice<'a>, PhantomData<&'a mut [u8]>);

impl<'a> ErasedSlice<'a> {
    /// For this folder, which has shown that these elements, of so many bytes each, are borrowed for `'a`.
    #[inline(always)]
    pub(super) fn new(start: Start<u8>, width: usize, len: usize) -> Self {
        ErasedSlice { start, width, len, borrow: PhantomData }
    }

    /// The size of an element, in bytes.
    #[inline(always)]
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The same elements, each read as a `W`.
    #[inline(always)]
    pub(crate) fn typed<W: Word>(&self) -> &'a [W] {
        let start: Start<W> = self.start.cast();
        assert!(size_of::<W>() == self.width && start.0.is_aligned(), "elements of another size");
        AxisSlice::new(start, self.len, 1).as_slice().unwrap_or_default()
    }
}

impl<'a> ErasedSliceMut<'a> {
    /// As [`ErasedSlice::new`]; the elements are borrowed exclusively.
    #[inline(always)]
    pub(super) fn new(slice: ErasedSlice<'a>) -> Self {
        ErasedSliceMut(slice, PhantomData)
    }

    /// The same elements, to read.
    #[inline(always)]
    pub(crate) fn as_slice(&self) -> &ErasedSlice<'_> {
        &self.0
    }

    /// As [`ErasedSlice::typed`].
    #[inline(always)]
    pub(crate) fn typed<W: Word>(&mut self) -> &mut [W] {
        let start: Start<W> = self.0.start.cast();
        assert!(size_of::<W>() == self.0.width && start.0.is_aligned(), "elements of another size");
        AxisSliceMut::new(start, self.0.len, 1).into_slice_mut().unwrap_or_default()
    }
}

/// A 3-d piece of an array, planes × indexed axis × rows, of elements whose type is forgotten but for its
/// size. It was an [`Element`](super::Element)'s, so any [`Word`] of that size will do to read it. Strides
/// are in elements.
#[derive(Clone, Copy)]
pub(crate) struct Erased3<'a> {
    start: Start<u8>,
    width: usize,
    shape: [usize; 3],
    strides: [isize; 3],
    borrow: PhantomData<&'a [u8]>,
}

/// An [`Erased3`] to write through: only values that were read from an array of the same type, or given as one.
pub(crate) struct Erased3Mut<'a>(Erased3<'a>, PhantomData<&'a mut [u8]>);

impl<'a> Erased3<'a> {
    /// For this folder, which has shown that these elements, of so many bytes each, are borrowed for `'a`.
    #[inline(always)]
    pub(super) fn new(start: Start<u8>, width: usize, shape: [usize; 3], strides: [isize; 3]) -> Self {
        Erased3 { start, width, shape, strides, borrow: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn shape(&self) -> &[usize; 3] {
        &self.shape
    }

    #[inline(always)]
    pub(crate) fn strides(&self) -> &[isize; 3] {
        &self.strides
    }

    /// The size of an element, in bytes.
    #[inline(always)]
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// From the first byte to the last: whether a cache may hold the piece.
    #[inline(always)]
    pub(crate) fn reach(&self) -> usize {
        let steps = |d: usize| self.shape[d].saturating_sub(1) * self.strides[d].unsigned_abs();
        (steps(OUTER) + steps(INDEX) + steps(INNER) + 1) * self.width
    }

    /// The elements as a dense vector along the indexed axis, if they are one.
    #[inline(always)]
    pub(crate) fn as_vector(&self) -> Option<ErasedSlice<'a>> {
        let Erased3 { start, width, shape: [p, len, m], strides, .. } = *self;
        (p == 1 && m == 1 && (strides[INDEX] == 1 || len <= 1)).then(|| ErasedSlice::new(start, width, len))
    }

    /// The same elements, each read as a `W`.
    #[inline(always)]
    pub(crate) fn typed<W: Word>(&self) -> Strided3<'a, W> {
        let start: Start<W> = self.start.cast();
        // An address as the type asks, and so are all, elements apart.
        assert!(size_of::<W>() == self.width && start.0.is_aligned(), "elements of another size");
        Strided3 { start, shape: self.shape, strides: self.strides, borrow: PhantomData }
    }

    /// The rows of the planes from `first` to `end`. They must be dense, and are read as `T`s, of which one or more
    /// make an element.
    #[inline(always)]
    pub(crate) fn planes<T: Word>(&self, [first, end]: [usize; 2]) -> Planes<'a, T> {
        assert!(first <= end && end <= self.shape[OUTER], "planes beyond the end");
        let step = self.strides[OUTER] * (self.width / size_of::<T>()) as isize;
        let rows = self.dense_rows(INDEX, 0);
        Planes { first: Rows { start: rows.start.at(first as isize * step), ..rows }, step, len: end - first }
    }

    /// The rows with the number `at` of the planes from `first` to `end`, which are dense, as one plane.
    #[inline(always)]
    pub(crate) fn along_planes<T: Word>(&self, at: usize, [first, end]: [usize; 2]) -> Planes<'a, T> {
        assert!(first <= end && end <= self.shape[OUTER], "planes beyond the end");
        let rows = self.dense_rows(OUTER, at);
        let start = rows.start.at(first as isize * rows.stride);
        Planes { first: Rows { start, n: end - first, ..rows }, step: 0, len: 1 }
    }

    /// Of the first plane, or the row `at` of each.
    #[inline(always)]
    fn dense_rows<T: Word>(&self, axis: usize, at: usize) -> Rows<'a, T> {
        let is_dense = self.strides[INNER] == 1 || self.shape[INNER] <= 1;
        assert!(is_dense && (axis == INDEX || at < self.shape[INDEX]), "no dense rows");
        let (start, each) = (self.start.cast::<T>(), self.width / size_of::<T>());
        assert!(
            self.width.is_multiple_of(size_of::<T>()) && start.0.is_aligned(),
            "elements of another size"
        );
        Rows {
            start: start.at(at as isize * self.strides[INDEX] * each as isize),
            n: self.shape[axis],
            stride: self.strides[axis] * each as isize,
            len: self.shape[INNER] * each,
            borrow: PhantomData,
        }
    }

    /// The first `mid` of an axis, and the rest.
    pub(crate) fn split_at(self, axis: usize, mid: usize) -> (Self, Self) {
        assert!(mid <= self.shape[axis], "a split beyond the end");
        let (mut a, mut b) = (self, self);
        (a.shape[axis], b.shape[axis]) = (mid, self.shape[axis] - mid);
        if b.shape[axis] > 0 {
            b.start = b.start.at(mid as isize * self.strides[axis] * self.width as isize);
        }
        (a, b)
    }
}

impl<'a> Erased3Mut<'a> {
    /// As [`Erased3::new`]; the elements are borrowed exclusively, and are distinct.
    #[inline(always)]
    pub(super) fn new(piece: Erased3<'a>) -> Self {
        Erased3Mut(piece, PhantomData)
    }

    /// The same elements, borrowed for a shorter time.
    pub(crate) fn reborrow(&mut self) -> Erased3Mut<'_> {
        Erased3Mut(self.0, PhantomData)
    }

    /// The same elements, to read.
    #[inline(always)]
    pub(crate) fn as_piece(&self) -> &Erased3<'_> {
        &self.0
    }

    /// As [`Erased3::as_vector`].
    #[inline(always)]
    pub(crate) fn as_vector(&mut self) -> Option<ErasedSliceMut<'_>> {
        self.0.as_vector().map(ErasedSliceMut::new)
    }

    /// As [`Erased3::typed`].
    #[inline(always)]
    pub(crate) fn typed<W: Word>(&mut self) -> Strided3Mut<'_, W> {
        Strided3Mut(self.0.typed(), PhantomData)
    }

    /// As [`Erased3::planes`].
    #[inline(always)]
    pub(crate) fn planes<T: Word>(&mut self, planes: [usize; 2]) -> PlanesMut<'_, T> {
        PlanesMut(self.0.planes(planes), PhantomData)
    }

    /// As [`Erased3::along_planes`].
    #[inline(always)]
    pub(crate) fn along_planes<T: Word>(&mut self, at: usize, planes: [usize; 2]) -> PlanesMut<'_, T> {
        PlanesMut(self.0.along_planes(at, planes), PhantomData)
    }

    /// The first `mid` of an axis, and the rest: no element is in both.
    pub(crate) fn split_at(self, axis: usize, mid: usize) -> (Self, Self) {
        let (a, b) = self.0.split_at(axis, mid);
        (Erased3Mut(a, PhantomData), Erased3Mut(b, PhantomData))
    }
}

/// Dense rows, all as long, at one distance from each other.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    start: Start<T>,
    n: usize,
    stride: isize,
    len: usize,
    borrow: PhantomData<&'a [T]>,
}

/// [`Rows`] to write through.
pub(crate) struct RowsMut<'a, T>(Rows<'a, T>, PhantomData<&'a mut [T]>);

/// The dense rows of some planes.
#[derive(Clone, Copy)]
pub(crate) struct Planes<'a, T> {
    first: Rows<'a, T>,
    step: isize,
    len: usize,
}

/// [`Planes`] to write through.
pub(crate) struct PlanesMut<'a, T>(Planes<'a, T>, PhantomData<&'a mut [T]>);

impl<'a, T: Word> Planes<'a, T> {
    /// The number of elements of a row.
    #[inline(always)]
    pub(crate) fn row_len(&self) -> usize {
        self.first.len
    }

    /// How far, in elements, the plane is that comes so many after another; 0 where there are not as many.
    #[inline(always)]
    pub(crate) fn distance(&self, planes: usize) -> isize {
        if planes < self.len { planes as isize * self.step } else { 0 }
    }

    /// Plane after plane.
    #[inline(always)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = Rows<'a, T>> + use<'a, T> {
        let Planes { first, step, len } = *self;
        let mut start = first.start;
        (0..len).map(move |_| {
            let plane = Rows { start, ..first };
            start = start.at(step);
            plane
        })
    }
}

impl<T: Word> PlanesMut<'_, T> {
    /// As [`Planes::row_len`].
    #[inline(always)]
    pub(crate) fn row_len(&self) -> usize {
        self.0.row_len()
    }

    /// Plane after plane: no two share an element.
    #[inline(always)]
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = RowsMut<'_, T>> {
        self.0.iter().map(|rows| RowsMut(rows, PhantomData))
    }
}

impl<'a, T: Word> Rows<'a, T> {
    /// Row number `i`, if there is one.
    #[inline(always)]
    pub(crate) fn get(&self, i: usize) -> Option<&'a [T]> {
        if i < self.n { Some(self.row(i)) } else { None }
    }

    /// Row number `i`.
    #[inline(always)]
    pub(crate) fn row(&self, i: usize) -> &'a [T] {
        assert!(i < self.n, "a row beyond the last");
        AxisSlice::new(self.start.at(i as isize * self.stride), self.len, 1).as_slice().unwrap_or_default()
    }

    /// Prefetches the lines of row number `i`, or of the row so far behind it, if there is one, into the first-level
    /// cache.
    #[inline(always)]
    pub(crate) fn prefetch(&self, i: usize, distance: isize) {
        /// Apart, where there is more than a line: the loop would stand in each kernel, several times.
        #[inline(never)]
        fn others(row: Start<u8>, bytes: usize) {
            (64..bytes).step_by(64).for_each(|at| prefetch::<true, u8>(row.at(at as isize)));
        }
        let row = self.start.at((i as isize).wrapping_mul(self.stride).wrapping_add(distance));
        prefetch::<true, T>(row);
        if self.len * size_of::<T>() > 64 {
            others(row.cast(), self.len * size_of::<T>());
        }
    }
}

impl<'a, T: Word> Rows<'a, T> {
    /// The rows from number `first` on.
    #[inline(always)]
    pub(crate) fn from(&self, first: usize) -> impl Iterator<Item = &'a [T]> + use<'a, T> {
        let (stride, len) = (self.stride, self.len);
        let mut at = self.start.at(first as isize * stride);
        (first..self.n).map(move |_| {
            let row = AxisSlice::new(at, len, 1).as_slice().unwrap_or_default();
            at = at.at(stride);
            row
        })
    }
}

impl<T: Word> RowsMut<'_, T> {
    /// The rows from number `first` on.
    #[inline(always)]
    pub(crate) fn from(&mut self, first: usize) -> impl Iterator<Item = &mut [T]> {
        let Rows { start, n, stride, len, .. } = self.0;
        let mut at = start.at(first as isize * stride);
        // No two rows share an element: the array that they were cut from has none twice.
        (first..n).map(move |_| {
            let row = AxisSliceMut::new(at, len, 1).into_slice_mut().unwrap_or_default();
            at = at.at(stride);
            row
        })
    }

    /// The same rows, to read.
    #[inline(always)]
    pub(crate) fn as_rows(&self) -> Rows<'_, T> {
        self.0
    }

    /// Row number `i`.
    #[inline(always)]
    pub(crate) fn row(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.0.n, "a row beyond the last");
        let start = self.0.start.at(i as isize * self.0.stride);
        AxisSliceMut::new(start, self.0.len, 1).into_slice_mut().unwrap_or_default()
    }
}

/// A 3-d piece of an array: planes × indexed axis × rows.
pub(crate) struct Strided3<'a, T> {
    start: Start<T>,
    shape: [usize; 3],
    strides: [isize; 3],
    borrow: PhantomData<&'a [T]>,
}

/// A [`Strided3`] to write through.
pub(crate) struct Strided3Mut<'a, T>(Strided3<'a, T>, PhantomData<&'a mut [T]>);

impl<T> Clone for Strided3<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Strided3<'_, T> {}

impl<'a, T> Strided3<'a, T> {
    /// Where the element at `index` stands.
    #[inline(always)]
    fn address(&self, index: [usize; 3]) -> Start<T> {
        let [p, k, m] = index.map(|i| i as isize);
        self.start.at(p * self.strides[OUTER] + k * self.strides[INDEX] + m * self.strides[INNER])
    }

    /// The elements from `index` on along one axis.
    #[inline(always)]
    pub(crate) fn run(&self, axis: usize, index: [usize; 3]) -> AxisSlice<'a, T> {
        assert!((0..3).all(|d| index[d] < self.shape[d]), "a place outside the piece");
        AxisSlice::new(self.address(index), self.shape[axis] - index[axis], self.strides[axis])
    }
}

impl<'a, T: Word> Strided3<'a, T> {
    /// `out[t]` = what offset number `t` names at step `t` of a run along `axis` from `index` on; `value`
    /// where the offset is not on the indexed axis.
    pub(crate) fn gather_or(
        &self,
        (axis, mut index): (usize, [usize; 3]),
        offsets: &[u64],
        value: T,
        out: &mut AxisSliceMut<'_, T>,
    ) {
        index[INDEX] = 0;
        let n = self.shape[INDEX] as u64;
        if axis == INDEX
            && n > 0
            && let (Some(table), Some(out)) = (self.run(INDEX, index).as_slice(), out.as_slice_mut())
        {
            for (out, &o) in out.iter_mut().zip(offsets) {
                *out = if o < n { table[o as usize] } else { value };
            }
            return;
        }
        let first = index[axis];
        for (t, &o) in offsets.iter().enumerate() {
            index[axis] = first + t;
            index[INDEX] = o as usize;
            out.set(t, if o < n { self.run(INDEX, index).get(0) } else { value });
        }
    }
}

impl<'a> Erased3<'a> {
    /// A slice as a piece of one run along `axis`.
    #[inline(always)]
    pub(crate) fn from_slice<T: Word>(slice: &'a [T], axis: usize) -> Self {
        let (mut shape, mut strides) = ([1; 3], [0; 3]);
        (shape[axis], strides[axis]) = (slice.len(), 1);
        Erased3::new(Start::new(slice.as_ptr().cast()), size_of::<T>(), shape, strides)
    }

    /// One run along `axis` from `index` on, of so many elements.
    #[inline(always)]
    pub(crate) fn part(&self, axis: usize, index: [usize; 3], len: usize) -> Self {
        assert!(
            (0..3).all(|d| index[d] < self.shape[d]) && len <= self.shape[axis] - index[axis],
            "no such run"
        );
        let mut shape = [1; 3];
        shape[axis] = len;
        let offset: isize = (0..3).map(|d| index[d] as isize * self.strides[d]).sum();
        Erased3 { start: self.start.at(offset * self.width as isize), shape, ..*self }
    }

    /// What such a run of another array may name in this one, which is indexed: all places of the indexed
    /// axis, and the run's own of the others.
    #[inline(always)]
    pub(crate) fn table_part(&self, axis: usize, [p, _, m]: [usize; 3], len: usize) -> Self {
        // The indexed axis may have no place, and then its list has no offset.
        let outer = Erased3 { shape: [self.shape[OUTER], 1, self.shape[INNER]], ..*self };
        let mut part = outer.part(
            if axis == INDEX { INNER } else { axis },
            [p, 0, m],
            if axis == INDEX { 1 } else { len },
        );
        part.shape[INDEX] = self.shape[INDEX];
        part
    }
}

impl<'a> Erased3Mut<'a> {
    /// As [`Erased3::part`].
    #[inline(always)]
    pub(crate) fn part(&mut self, axis: usize, index: [usize; 3], len: usize) -> Erased3Mut<'_> {
        Erased3Mut(self.0.part(axis, index, len), PhantomData)
    }

    /// As [`Erased3::table_part`].
    #[inline(always)]
    pub(crate) fn table_part(&mut self, axis: usize, index: [usize; 3], len: usize) -> Erased3Mut<'_> {
        Erased3Mut(self.0.table_part(axis, index, len), PhantomData)
    }
}

impl<T: Word> Strided3Mut<'_, T> {
    /// Updates what offset number `t` names at step `t` of a run along `axis` from `index` on with `from[t]`,
    /// but where the offset is not on the indexed axis.
    pub(crate) fn update_inside(
        &mut self,
        (axis, mut index): (usize, [usize; 3]),
        offsets: &[u64],
        from: &[T],
        update: impl Update<T>,
    ) {
        let (n, first) = (self.0.shape[INDEX] as u64, index[axis]);
        for (t, (&from, &o)) in from.iter().zip(offsets).enumerate().filter(|&(_, (_, &o))| o < n) {
            index[axis] = first + t;
            index[INDEX] = o as usize;
            update.update(self.run(INDEX, index).at(0), from);
        }
    }
}

impl<'a, T> Strided3Mut<'a, T> {
    /// The elements along one axis from the first on.
    pub(crate) fn into_run(self, axis: usize) -> AxisSliceMut<'a, T> {
        let AxisSlice { start, len, stride, .. } = self.0.run(axis, [0; 3]);
        AxisSliceMut::new(start, len, stride)
    }
}

impl<T> Strided3Mut<'_, T> {
    /// The elements from `index` on along one axis.
    #[inline(always)]
    pub(crate) fn run(&mut self, axis: usize, index: [usize; 3]) -> AxisSliceMut<'_, T> {
        let AxisSlice { start, len, stride, .. } = self.0.run(axis, index);
        AxisSliceMut::new(start, len, stride)
    }
}

/// Whether each word, read without a sign, is below `bound`. By one pass without branches, to be compiled for
/// the caller's level.
#[inline(always)]
pub(crate) fn are_below<X: Word>(list: &[X], bound: usize) -> bool {
    if size_of::<X>() == 8 {
        // By the sign of `bound − 1 − x` or of `x` itself: bounds are at most 2^63.
        let last = (bound as i64).wrapping_sub(1);
        let mut signs = 0;
        for x in list {
            signs |= x.to_i64() | last.wrapping_sub(x.to_i64());
        }
        signs >= 0
    } else {
        let mut greatest = X::default();
        for &x in list {
            greatest = if x > greatest { x } else { greatest };
        }
        greatest.to_offset() < bound || list.is_empty()
    }
}

/// A list of indices as a 3-d piece, and what is known of it.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a> {
    piece: Erased3<'a>,
    /// Every index, read without a sign, is below this; `usize::MAX` where nobody has looked.
    below: usize,
}

impl<'a> Words<'a> {
    #[inline(always)]
    pub(crate) fn new(piece: Erased3<'a>) -> Self {
        Words { piece, below: usize::MAX }
    }

    #[inline(always)]
    pub(crate) fn piece(&self) -> &Erased3<'a> {
        &self.piece
    }

    /// Whether somebody has looked, so that the indices can be read where they stand.
    #[inline(always)]
    pub(crate) fn are_checked(&self) -> bool {
        self.below != usize::MAX
    }

    /// All indices as one slice, where they stand densely, in whatever order of the axes.
    #[inline(always)]
    pub(crate) fn as_slice<X: Word>(&self) -> Option<&'a [X]> {
        let (piece, mut len) = (&self.piece, 1usize);
        for axis in [INNER, INDEX, OUTER] {
            if piece.shape[axis] != 1 && piece.strides[axis] != 0 {
                if piece.strides[axis] != len as isize {
                    return None;
                }
                len *= piece.shape[axis];
            }
        }
        // Each of the `len` places from the first on is one of the piece's.
        AxisSlice::new(piece.typed::<X>().start, len, 1).as_slice()
    }

    /// The indices of a dense, checked list of words of 32 or 64 bits, where 32 hold any of them.
    #[inline(always)]
    pub(crate) fn as_offsets(&self) -> Option<AxisSlice<'a, u32>> {
        if !self.are_checked() || self.below > u32::MAX as usize {
            return None;
        }
        match self.piece.width {
            4 => self.as_slice().map(AxisSlice::<u32>::from),
            8 => self.as_slice().map(AxisSlice::low_words),
            _ => None,
        }
    }

    /// Whether `look` says yes to every run of indices, dense or not.
    pub(crate) fn all<X: Word>(&self, look: impl Fn(AxisSlice<'a, X>) -> bool) -> bool {
        let (piece, mut shape) = (self.piece.typed::<X>(), self.piece.shape);
        (0..3).filter(|&axis| piece.strides[axis] == 0).for_each(|axis| shape[axis] = 1); // the same again
        let axis = (0..3).max_by_key(|&axis| shape[axis]).unwrap_or(INDEX);
        let mut outer = shape;
        outer[axis] = 1;
        (0..outer[OUTER]).all(|p| {
            (0..outer[INDEX]).all(|k| {
                (0..outer[INNER]).all(|m| {
                    let run = piece.run(axis, [p, k, m]);
                    look(AxisSlice::new(run.start, shape[axis], run.stride))
                })
            })
        })
    }

    /// Remembers that the caller has looked.
    ///
    /// # Safety
    /// Each of the indices, read without a sign, is below `bound`.
    #[inline(always)]
    pub(crate) unsafe fn set_below(&mut self, bound: usize) {
        self.below = bound;
    }

    /// A block of offsets as one run along `axis`, if each is below `bound`: to be compiled for the caller's level.
    #[inline(always)]
    pub(crate) fn from_block(block: &'a [u64], axis: usize, bound: usize) -> Option<Self> {
        are_below(block, bound).then(|| Words { piece: Erased3::from_slice(block, axis), below: bound })
    }

    /// The first `mid` of an axis, and the rest.
    pub(crate) fn split_at(self, axis: usize, mid: usize) -> (Self, Self) {
        let (a, b) = self.piece.split_at(axis, mid);
        (Words { piece: a, ..self }, Words { piece: b, ..self })
    }
}

/// Asks for the line of an address, into the first-level cache or as far as the second.
#[inline(always)]
fn prefetch<const NEAR: bool, T>(at: Start<T>) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        #[allow(unused_unsafe)] // the intrinsic is safe in newer compilers than our oldest
        // SAFETY: a hint, which faults on no address; SSE is part of every x86-64.
        unsafe {
            if NEAR {
                _mm_prefetch::<_MM_HINT_T0>(at.0.cast())
            } else {
                _mm_prefetch::<_MM_HINT_T1>(at.0.cast())
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// The runs along one axis of a table, a checked list and the values that belong together: for each, where its
/// first step stands, and how far it is from there to the next step and to the next run, outer and inner.
/// Step `t` of a run means element `t · step + o · stride` of the table, where `o` is index `t`.
pub(crate) struct Runs<'a> {
    widths: [usize; 2],
    table: Start<u8>,
    list: Start<u8>,
    values: Start<u8>,
    len: usize,
    /// Whether the runs are along planes.
    is_along_planes: bool,
    step: isize,
    stride: isize,
    list_step: isize,
    value_step: isize,
    counts: [usize; 2],
    table_steps: [isize; 2],
    list_steps: [isize; 2],
    value_steps: [isize; 2],
    ahead: usize,
    borrow: PhantomData<&'a [u8]>,
}

/// Elements of all runs along planes that are gone through before the next piece of any: their lines fill two thirds of
/// a first-level cache of 48 KiB if each has one of its own.
const PIECES: usize = 512;

/// [`Runs`] whose values may be written to.
pub(crate) struct RunsMut<'a>(Runs<'a>);

impl<'a> Runs<'a> {
    /// The runs along `axis`. What the indices of the indexed axis mean for one element keeps its order: that
    /// axis is the innermost but for the run's own. Lines are prefetched so many indices `ahead`, along the
    /// indexed axis.
    #[inline(always)]
    fn new(table: &Erased3<'a>, list: &Words<'a>, values: &Erased3<'a>, axis: usize, ahead: usize) -> Self {
        match axis {
            INDEX => Runs::along(table, list, values, [INDEX, OUTER, INNER], ahead),
            OUTER => Runs::along(table, list, values, [OUTER, INNER, INDEX], 0),
            _ => Runs::along(table, list, values, [INNER, OUTER, INDEX], 0),
        }
    }

    #[inline(always)]
    fn along(
        table: &Erased3<'a>,
        list: &Words<'a>,
        values: &Erased3<'a>,
        [axis, a, b]: [usize; 3],
        ahead: usize,
    ) -> Self {
        let (shape, words) = (values.shape, &list.piece);
        let fits = table.shape[OUTER] == shape[OUTER]
            && table.shape[INNER] == shape[INNER]
            && table.width == values.width;
        let has_list = words.shape[OUTER] == shape[OUTER]
            && words.shape[INDEX] == shape[INDEX]
            && words.shape[INNER] == shape[INNER];
        // Nobody has looked: then `below` is above every length.
        assert!(fits && has_list && list.below <= table.shape[INDEX], "pieces that do not belong together");
        let table_step = |d: usize| if d == INDEX { 0 } else { table.strides[d] };
        // The longer of the outer axes is nearly always the only one: the loop over it should be the inner one.
        let [a, b] = if shape[b] == 1 { [b, a] } else { [a, b] };
        Runs {
            widths: [table.width, words.width],
            table: table.start,
            list: words.start,
            values: values.start,
            len: shape[axis],
            is_along_planes: axis == OUTER,
            step: table_step(axis),
            stride: table.strides[INDEX],
            list_step: words.strides[axis],
            value_step: values.strides[axis],
            counts: [shape[a], shape[b]],
            table_steps: [table_step(a), table_step(b)],
            list_steps: [words.strides[a], words.strides[b]],
            value_steps: [values.strides[a], values.strides[b]],
            ahead,
            borrow: PhantomData,
        }
    }

    /// The runs of a gather: the values are written to.
    #[inline(always)]
    pub(crate) fn of_gather(
        table: &Erased3<'a>,
        list: &Words<'a>,
        values: &'a mut Erased3Mut<'_>,
        axis: usize,
        ahead: usize,
    ) -> RunsMut<'a> {
        RunsMut(Runs::new(table, list, &values.0, axis, ahead))
    }

    /// The runs of a scatter: the table is updated.
    #[inline(always)]
    pub(crate) fn of_scatter(
        table: &'a mut Erased3Mut<'_>,
        list: &Words<'a>,
        values: &Erased3<'a>,
        axis: usize,
        ahead: usize,
    ) -> RunsMut<'a> {
        RunsMut(Runs::new(&table.0, list, values, axis, ahead))
    }

    /// Calls `run` with each run.
    #[inline(always)]
    fn for_each<T: Word, X: Word>(&self, run: impl Fn(Steps<T, X>)) {
        assert!(self.widths == [size_of::<T>(), size_of::<X>()], "elements of another size");
        let (table, list, values): (Start<T>, Start<X>, Start<T>) =
            (self.table.cast(), self.list.cast(), self.values.cast());
        debug_assert!(table.0.is_aligned() && list.0.is_aligned() && values.0.is_aligned());
        // The steps as numbers of their own: where elements are written, they might be in the `Runs` for all the
        // compiler knows, and would be read again for each run.
        let [a, b] = self.counts;
        let [table_step, list_step, value_step] =
            [self.table_steps[1], self.list_steps[1], self.value_steps[1]];
        for i in 0..a as isize {
            let (mut table, mut list, mut values) = (
                table.at(i * self.table_steps[0]),
                list.at(i * self.list_steps[0]),
                values.at(i * self.value_steps[0]),
            );
            for _ in 0..b {
                run(Steps { table, list, values });
                (table, list, values) = (table.at(table_step), list.at(list_step), values.at(value_step));
            }
        }
    }

    /// Calls `run` with each run and its length, where one index is meant by all of it. Those along planes come in
    /// pieces, the same of each run before the next of any, so that a line is still in the first-level cache when the
    /// next run needs it.
    #[inline(always)]
    fn for_each_of_one_index<T: Word, X: Word>(&self, run: impl Fn(usize, Steps<T, X>)) {
        let runs = self.counts[0] * self.counts[1];
        let most = if self.is_along_planes { (PIECES / runs.max(1)).max(16) } else { usize::MAX };
        let mut first = 0;
        while first < self.len {
            let len = (self.len - first).min(most);
            let (table, values) = (first as isize * self.step, first as isize * self.value_step);
            self.for_each(|at: Steps<T, X>| {
                run(len, Steps { table: at.table.at(table), list: at.list, values: at.values.at(values) })
            });
            first += len;
        }
    }

    /// Whether steps follow each other densely, in the list and in the values.
    #[inline(always)]
    fn are_dense(&self) -> bool {
        self.list_step == 1 && self.value_step == 1 || self.len == 1
    }
}

/// Where a run's first step stands.
#[derive(Clone, Copy)]
struct Steps<T, X> {
    table: Start<T>,
    list: Start<X>,
    values: Start<T>,
}

impl RunsMut<'_> {
    /// `values[..] = table[.. list[..] ..]`
    #[inline(always)]
    pub(crate) fn gather<W: Word, X: Word>(self) {
        let RunsMut(runs) = self;
        let Runs { len, step, stride, list_step, value_step, ahead, .. } = runs;
        #[inline(always)]
        fn copy<V: Copy>(from: Start<V>, to: Start<V>) {
            // SAFETY: one of the two is a value on the stack, or both are elements. `Runs::along` has asserted that the
            // three pieces are of one shape, so that step `t` below `len` of each run, or of a piece of one, is a place
            // of the list and of the values, and that each index is below the table's length along the indexed axis:
            // with the run's place on the other axes, a place of the table. Where `V` is an array, its elements are
            // neighbours. Nobody else has the values, so that the two do not overlap: `Runs::of_gather` borrows it
            // exclusively.
            unsafe { std::ptr::copy_nonoverlapping(from.0, to.0, 1) }
        }
        #[inline(always)]
        fn read<V: Copy + Default>(from: Start<V>, at: isize) -> V {
            let mut value = V::default();
            copy(from.at(at), Start(&mut value));
            value
        }
        let index = |list: Start<X>, t: isize| read(list, t).to_offset() as isize;
        #[inline(always)]
        fn store<W: Copy, const N: usize>(values: Start<W>, t: isize, words: [W; N]) {
            copy(Start::new(&words), values.at(t).cast());
        }
        let is_flat = runs.are_dense() && stride == 1 && step == 0;
        // Eight of 16 bytes would be an array in memory; of short runs too many would be among the last ones.
        let is_short = len < 8 || len < 32 && runs.counts != [1, 1];
        if is_flat && !is_short && size_of::<W>() < 16 {
            let (len, ahead) = (len as isize, ahead as isize);
            runs.for_each::<W, X>(|Steps { table, list, values }| {
                let each = |t: isize| read(table, index(list, t));
                let eight = |t| store::<W, 8>(values, t, std::array::from_fn(|j| each(t + j as isize)));
                let mut t = 0;
                if ahead > 0 {
                    while t + ahead + 8 <= len {
                        (0..8).for_each(|j| prefetch::<false, W>(table.at(index(list, t + ahead + j))));
                        eight(t);
                        t += 8;
                    }
                }
                while t + 8 <= len {
                    eight(t);
                    t += 8;
                }
                // The last ones: some of them again.
                if len - t > 4 {
                    eight(len - 8);
                } else if t < len {
                    store::<W, 4>(values, len - 4, std::array::from_fn(|j| each(len - 4 + j as isize)));
                }
            });
        } else if is_flat {
            runs.for_each::<W, X>(|Steps { table, list, values }| {
                by_fours(len, |t| copy(table.at(index(list, t)), values.at(t)));
            });
        } else if size_of::<W>() < 16 && runs.are_dense() && stride == 1 {
            runs.for_each::<W, X>(|Steps { table, list, values }| {
                (0..len as isize).for_each(|t| copy(table.at(t * step + index(list, t)), values.at(t)));
            });
        } else if runs.are_dense() {
            runs.for_each::<W, X>(|Steps { table, list, values }| {
                (0..len as isize)
                    .for_each(|t| copy(table.at(t * step + index(list, t) * stride), values.at(t)));
            });
        } else if list_step == 0 {
            // One index a run.
            runs.for_each::<W, X>(|Steps { table, list, values }| {
                let at = std::cell::Cell::new((table.at(index(list, 0) * stride), values));
                by_fours(len, |_| {
                    let (from, to) = at.get();
                    copy(from, to);
                    at.set((from.at(step), to.at(value_step)));
                });
            });
        } else {
            runs.for_each::<W, X>(|Steps { table, list, values }| {
                for t in 0..len as isize {
                    copy(table.at(t * step + index(list, t * list_step) * stride), values.at(t * value_step));
                }
            });
        }
    }

    /// Each `table[.. list[..] ..]` is updated with `values[..]`. What updates one element comes in order along
    /// the indexed axis.
    #[inline(always)]
    pub(crate) fn scatter<T: Word, X: Word>(self, update: impl Update<T>) {
        let RunsMut(runs) = self;
        let Runs { len, step, stride, list_step, value_step, ahead, .. } = runs;
        #[inline(always)]
        fn read<V: Copy>(from: Start<V>, at: isize) -> V {
            // SAFETY: as in `gather`.
            unsafe { *from.at(at).0 }
        }
        let index = |list: Start<X>, t: isize| read(list, t).to_offset() as isize;
        // SAFETY: as in `gather`; it is the table that nobody else has, and no reference outlives its step.
        let set = |table: Start<T>, offset: isize, value: T| unsafe {
            update.update(&mut *table.at(offset).0, value);
        };
        let one = |table, offset, values, t| set(table, offset, read(values, t));
        let is_wide = size_of::<T>() == 16; // two loops less: what they win is little beside such moves
        if runs.are_dense() && stride == 1 && step == 0 {
            runs.for_each::<T, X>(|Steps { table, list, values }| {
                let (mut t, len) = (0isize, len as isize);
                if ahead > 0 {
                    while t + (ahead as isize) < len {
                        prefetch::<false, T>(table.at(index(list, t + ahead as isize)));
                        one(table, index(list, t), values, t);
                        t += 1;
                    }
                }
                let (list, values) = (list.at(t), values.at(t));
                by_fours((len - t) as usize, |t| one(table, index(list, t), values, t));
            });
        } else if runs.are_dense() {
            runs.for_each::<T, X>(|Steps { table, list, values }| {
                (0..len as isize).for_each(|t| one(table, t * step + index(list, t) * stride, values, t));
            });
        } else if !is_wide && value_step == 0 && list_step == 1 && stride == 1 {
            // One value a run, which the compiler would read again after each update.
            runs.for_each::<T, X>(|Steps { table, list, values }| {
                let value = read(values, 0);
                (0..len as isize).for_each(|t| set(table, t * step + index(list, t), value));
            });
        } else if !is_wide && list_step == 1 && stride == 1 {
            runs.for_each::<T, X>(|Steps { table, list, values }| {
                (0..len as isize).for_each(|t| one(table, t * step + index(list, t), values, t * value_step));
            });
        } else if list_step == 0 {
            runs.for_each_of_one_index::<T, X>(|len, Steps { table, list, values }| {
                let at = std::cell::Cell::new((table.at(index(list, 0) * stride), values));
                by_fours(len, |_| {
                    let (to, from) = at.get();
                    one(to, 0, from, 0);
                    at.set((to.at(step), from.at(value_step)));
                });
            });
        } else {
            runs.for_each::<T, X>(|Steps { table, list, values }| {
                for t in 0..len as isize {
                    one(table, t * step + index(list, t * list_step) * stride, values, t * value_step);
                }
            });
        }
    }
}

/// Calls `each` for each step of a run, four times at once: compilers leave such loops as they are, or, worse, look at
/// each run whether it could be made vectors of. (Not where `each` multiplies: of plain loops they make additions of
/// that.)
#[inline(always)]
fn by_fours(len: usize, each: impl Fn(isize)) {
    let (len, mut t) = (len as isize, 0);
    while t + 4 <= len {
        each(t);
        each(t + 1);
        each(t + 2);
        each(t + 3);
        t += 4;
    }
    if len & 2 != 0 {
        each(t);
        each(t + 1);
        t += 2;
    }
    if len & 1 != 0 {
        each(t);
    }
}

/// What a scatter does with an element of the table and the one that is meant for it.
pub(crate) trait Update<T>: Copy + Send + Sync {
    fn update(self, to: &mut T, from: T);
}

/// A matrix: a piece of two axes.
#[cfg(feature = "linear")]
pub(super) struct Matrix<'a, T> {
    pub(super) start: Start<T>,
    pub(super) shape: [usize; 2],
    pub(super) strides: [isize; 2],
    pub(super) borrow: PhantomData<&'a [T]>,
}

/// A [`Matrix`] to write through.
#[cfg(feature = "linear")]
pub(super) struct MatrixMut<'a, T>(pub(super) Matrix<'a, T>, pub(super) PhantomData<&'a mut [T]>);

#[cfg(feature = "linear")]
impl<T: Copy + Send + Sync + 'static> MatrixMut<'_, T> {
    /// Makes of this c, which is m × n, a·b or c + a·b. `T` is `f32` or `f64`, and `one` its 1.
    pub(super) fn multiply(self, [a, b]: [Matrix<'_, T>; 2], add: bool, one: T) {
        let (c, [m, k], n) = (self.0, a.shape, b.shape[1]);
        assert!(c.shape == [m, n] && b.shape == [k, n], "matrices that do not belong together");
        // SAFETY: each place inside the three shapes, which are what is asserted, is an element that is borrowed;
        // those of c exclusively, and no two of them are the same.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                c.start.0,
                c.strides[1],
                c.strides[0],
                add,
                a.start.0.cast_const(),
                a.strides[1],
                a.strides[0],
                b.start.0.cast_const(),
                b.strides[1],
                b.strides[0],
                one,
                one,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    }
}

/// Asserts, in debug builds, that a piece stays inside the array it is cut from.
#[inline(always)]
pub(super) fn debug_assert_inside(piece: (isize, &[usize], &[isize]), whole: (&[usize], &[isize])) {
    if cfg!(debug_assertions)
        && let Some((low, high)) = extent(piece.1, piece.2)
    {
        let offset = piece.0 as i128;
        let inside =
            extent(whole.0, whole.1).is_some_and(|(from, to)| from <= offset + low && offset + high <= to);
        assert!(inside, "a piece that reaches outside its array");
    }
}
