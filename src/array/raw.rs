//! Pieces of arrays, and every access to memory through them.
//!
//! A piece is a pointer with lengths and strides, and one invariant: each place inside its lengths is an element that
//! the array it was cut from borrows; for the pieces whose names end in `Mut`, exclusively, and no two places are the
//! same element. A piece is made only in this module's folder, from an array's proven layout or from another piece;
//! where it is made by arithmetic, the extent is asserted in debug builds.

#![allow(unsafe_code)]

use super::layout::{K, M, P, Walk, extent};
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

// SAFETY: an address alone, which nobody outside this folder can follow. Each piece holds a marker of the borrow that it
// is, so it can be sent and shared as that can.
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
pub(crate) struct Run<'a, T> {
    start: Start<T>,
    len: usize,
    stride: isize,
    borrow: PhantomData<&'a [T]>,
}

/// A [`Run`] to write through.
pub(crate) struct RunMut<'a, T> {
    start: Start<T>,
    len: usize,
    stride: isize,
    borrow: PhantomData<&'a mut [T]>,
}

/// The names that softmax cross-entropy and selection use.
pub(crate) type Lane<'a, T> = Run<'a, T>;
/// As above.
pub(crate) type LaneMut<'a, T> = RunMut<'a, T>;

impl<T> Clone for Run<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Run<'_, T> {}

impl<'a, T> From<&'a [T]> for Run<'a, T> {
    fn from(slice: &'a [T]) -> Self {
        Run::new(Start::new(slice.as_ptr()), slice.len(), 1)
    }
}

impl<'a, T> From<&'a mut [T]> for RunMut<'a, T> {
    fn from(slice: &'a mut [T]) -> Self {
        RunMut::new(Start(slice.as_mut_ptr()), slice.len(), 1)
    }
}

impl<'a, T> Run<'a, T> {
    /// For this folder, which has shown that these elements are borrowed for `'a`.
    #[inline(always)]
    pub(super) fn new(start: Start<T>, len: usize, stride: isize) -> Self {
        Run { start, len, stride, borrow: PhantomData }
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
        // SAFETY: a place of the piece, as asserted.
        unsafe { *self.start.at(i as isize * self.stride).0 }
    }

    /// Copies the elements from `first` on into `out`.
    #[inline(always)]
    pub(crate) fn copy_to(&self, first: usize, out: &mut [T])
    where
        T: Copy,
    {
        out.iter_mut().enumerate().for_each(|(k, out)| *out = self.get(first + k));
    }
}

impl<'a, T> RunMut<'a, T> {
    /// As [`Run::new`]; the elements are borrowed exclusively, and are distinct.
    #[inline(always)]
    pub(super) fn new(start: Start<T>, len: usize, stride: isize) -> Self {
        RunMut { start, len, stride, borrow: PhantomData }
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
        RunMut::new(self.start, self.len, self.stride).into_slice_mut()
    }

    /// The same elements, to read.
    #[inline(always)]
    pub(crate) fn as_lane(&self) -> Run<'_, T> {
        Run::new(self.start, self.len, self.stride)
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
        // SAFETY: a place of the piece, as asserted, exclusively borrowed for 'a; and `self`, the way to it, is consumed.
        unsafe { &mut *self.start.at(i as isize * self.stride).0 }
    }

    /// Writes element number `i`.
    #[inline(always)]
    pub(crate) fn set(&mut self, i: usize, x: T) {
        *RunMut::new(self.start, self.len, self.stride).at(i) = x;
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
        from.iter().enumerate().for_each(|(k, &x)| self.set(first + k, x));
    }
}

/// The 1-d slices of a view along one axis, numbered in C order over the other axes.
pub(crate) struct Lanes<'a, T> {
    start: Start<T>,
    walk: Walk,
    borrow: PhantomData<&'a [T]>,
}

/// [`Lanes`] to write through.
pub(crate) struct LanesMut<'a, T> {
    start: Start<T>,
    walk: Walk,
    borrow: PhantomData<&'a mut [T]>,
}

impl<T> Clone for Lanes<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Lanes<'_, T> {}

// What makes the pieces below: the offsets are `Walk`'s, which asserts that the slices asked for exist, and each element of
// these is one inside the view's shape.
impl<'a, T> Lanes<'a, T> {
    #[inline(always)]
    pub(super) fn new(start: Start<T>, walk: Walk) -> Self {
        Lanes { start, walk, borrow: PhantomData }
    }

    /// Whether the elements of each slice are neighbours.
    pub(crate) fn are_dense(&self) -> bool {
        self.walk.stride == 1 || self.walk.len <= 1
    }

    /// The length of each slice.
    pub(crate) fn lane_len(&self) -> usize {
        self.walk.len
    }

    /// Slice number `i`.
    #[inline(always)]
    pub(crate) fn lane(&self, i: usize) -> Run<'a, T> {
        Run::new(self.start.at(self.walk.offset(i)), self.walk.len, self.walk.stride)
    }

    /// Whether the slices `i`, …, `i + count − 1` begin at neighbouring elements, so that `across` gives any of theirs.
    #[inline(always)]
    pub(crate) fn are_neighbours(&self, i: usize, count: usize) -> bool {
        self.walk.are_neighbours(i, count)
    }

    /// Element `at` of each of the slices `i`, …, `i + count − 1`, which are neighbours.
    #[inline(always)]
    pub(crate) fn across(&self, i: usize, count: usize, at: usize) -> &'a [T] {
        let start = self.start.at(self.walk.across(i, count, at));
        Run::new(start, count, 1).as_slice().unwrap_or_default()
    }

    /// The slices `i`, …, `i + count − 1` as one, slice after slice, where they stand like that.
    #[inline(always)]
    pub(crate) fn run(&self, i: usize, count: usize) -> Option<&'a [T]> {
        let (offset, len) = self.walk.run(i, count)?;
        Run::new(self.start.at(offset), len, 1).as_slice()
    }
}

impl<'a, T> LanesMut<'a, T> {
    #[inline(always)]
    pub(super) fn new(start: Start<T>, walk: Walk) -> Self {
        LanesMut { start, walk, borrow: PhantomData }
    }

    /// Whether the elements of each slice are neighbours.
    pub(crate) fn are_dense(&self) -> bool {
        self.as_lanes().are_dense()
    }

    /// The length of each slice.
    pub(crate) fn lane_len(&self) -> usize {
        self.walk.len
    }

    /// Slice number `i`.
    #[inline(always)]
    pub(crate) fn lane(&mut self, i: usize) -> RunMut<'_, T> {
        RunMut::new(self.start.at(self.walk.offset(i)), self.walk.len, self.walk.stride)
    }

    /// Slice number `i` and, to read, the next one, where there is one and both stand as in [`Lanes::run`].
    #[inline(always)]
    pub(crate) fn lane_and_next(&mut self, i: usize) -> (RunMut<'_, T>, &[T]) {
        if i + 1 >= self.walk.count || self.walk.run(i, 2).is_none() {
            return (self.lane(i), &[]);
        }
        let len = self.walk.len;
        let (lane, next) = self.run_mut(i, 2).unwrap_or_default().split_at_mut(len);
        (RunMut::from(lane), next)
    }

    /// See [`Lanes::are_neighbours`].
    #[inline(always)]
    pub(crate) fn are_neighbours(&self, i: usize, count: usize) -> bool {
        self.walk.are_neighbours(i, count)
    }

    /// See [`Lanes::across`].
    #[inline(always)]
    pub(crate) fn across_mut(&mut self, i: usize, count: usize, at: usize) -> &mut [T] {
        let start = self.start.at(self.walk.across(i, count, at));
        RunMut::new(start, count, 1).into_slice_mut().unwrap_or_default()
    }

    /// The same slices, to read.
    pub(crate) fn as_lanes(&self) -> Lanes<'_, T> {
        Lanes::new(self.start, self.walk)
    }

    /// See [`Lanes::run`].
    #[inline(always)]
    pub(crate) fn run_mut(&mut self, i: usize, count: usize) -> Option<&mut [T]> {
        let (offset, len) = self.walk.run(i, count)?;
        RunMut::new(self.start.at(offset), len, 1).into_slice_mut()
    }
}

#[allow(clippy::misnamed_getters)] // the units are slices, not elements
impl<T: Sync> Split for Lanes<'_, T> {
    fn len(&self) -> usize {
        self.walk.count
    }
    fn split_at(self, mid: usize) -> (Self, Self) {
        let (a, b) = self.walk.split_at(mid);
        (Lanes { walk: a, ..self }, Lanes { walk: b, ..self })
    }
}

// Two ranges of slice numbers that do not meet reach no common element: a `ViewMut` has no index twice.
#[allow(clippy::misnamed_getters)] // the units are slices, not elements
impl<T: Send> Split for LanesMut<'_, T> {
    fn len(&self) -> usize {
        self.walk.count
    }
    fn split_at(self, mid: usize) -> (Self, Self) {
        let (a, b) = self.walk.split_at(mid);
        (LanesMut { walk: a, ..self }, LanesMut { walk: b, ..self })
    }
}

/// A 3-d piece of an array, planes × indexed axis × rows, of elements whose type is forgotten but for its size. It was an
/// [`Element`](super::Element)'s, so any [`Word`] of that size will do to read it. Strides are in elements.
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
    pub(crate) fn shape(&self) -> [usize; 3] {
        self.shape
    }

    #[inline(always)]
    pub(crate) fn strides(&self) -> [isize; 3] {
        self.strides
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
        (steps(P) + steps(K) + steps(M) + 1) * self.width
    }

    /// The same elements, each read as a `W`.
    #[inline(always)]
    pub(crate) fn typed<W: Word>(&self) -> Strided3<'a, W> {
        let start: Start<W> = self.start.cast();
        // An address as the type asks, and so are all, elements apart.
        assert!(size_of::<W>() == self.width && start.0.is_aligned(), "elements of another size");
        Strided3 { start, shape: self.shape, strides: self.strides, borrow: PhantomData }
    }

    /// This piece, which is one dense run along the indexed axis, as one of other lengths and strides that stay inside it.
    pub(crate) fn reshaped(&self, shape: [usize; 3], strides: [usize; 3]) -> Self {
        let strides = strides.map(|stride| stride as isize);
        let inside =
            extent(&shape, &strides).is_none_or(|(low, high)| low == 0 && high < self.shape[K] as i128);
        assert!(inside && self.strides[K] == 1, "a piece that reaches outside");
        Erased3 { shape, strides, ..*self }
    }

    /// The rows of plane `p`, which must be dense, as `T`s, of which one or more make an element.
    #[inline(always)]
    pub(crate) fn rows<T: Word>(&self, p: usize) -> Rows<'a, T> {
        assert!(p < self.shape[P] && (self.strides[M] == 1 || self.shape[M] <= 1), "no dense rows");
        let (start, each) = (self.start.cast::<T>(), self.width / size_of::<T>());
        assert!(self.width % size_of::<T>() == 0 && start.0.is_aligned(), "elements of another size");
        Rows {
            start: start.at(p as isize * self.strides[P] * each as isize),
            n: self.shape[K],
            stride: self.strides[K] * each as isize,
            len: self.shape[M] * each,
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

    /// The same elements, to read.
    #[inline(always)]
    pub(crate) fn as_piece(&self) -> &Erased3<'_> {
        &self.0
    }

    /// As [`Erased3::typed`].
    #[inline(always)]
    pub(crate) fn typed<W: Word>(&mut self) -> Strided3Mut<'_, W> {
        Strided3Mut(self.0.typed(), PhantomData)
    }

    /// As [`Erased3::rows`].
    #[inline(always)]
    pub(crate) fn rows<T: Word>(&mut self, p: usize) -> RowsMut<'_, T> {
        RowsMut(self.0.rows(p), PhantomData)
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

impl<'a, T: Word> Rows<'a, T> {
    /// Row number `i`.
    #[inline(always)]
    pub(crate) fn row(&self, i: usize) -> &'a [T] {
        assert!(i < self.n, "a row beyond the last");
        Run::new(self.start.at(i as isize * self.stride), self.len, 1).as_slice().unwrap_or_default()
    }

    /// Prefetches the lines of row number `i`, if there is one, into the first-level cache.
    #[inline(always)]
    pub(crate) fn prefetch(&self, i: usize) {
        let row = self.start.at((i as isize).wrapping_mul(self.stride));
        (0..self.len).step_by(64 / size_of::<T>()).for_each(|at| prefetch::<true, T>(row.at(at as isize)));
    }
}

impl<T: Word> RowsMut<'_, T> {
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
        RunMut::new(start, self.0.len, 1).into_slice_mut().unwrap_or_default()
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
    #[inline(always)]
    pub(crate) fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// Where the element at `index` stands.
    #[inline(always)]
    fn address(&self, index: [usize; 3]) -> Start<T> {
        let [p, k, m] = index.map(|i| i as isize);
        self.start.at(p * self.strides[P] + k * self.strides[K] + m * self.strides[M])
    }

    /// The elements from `index` on along one axis.
    #[inline(always)]
    pub(crate) fn run(&self, axis: usize, index: [usize; 3]) -> Run<'a, T> {
        assert!((0..3).all(|d| index[d] < self.shape[d]), "a place outside the piece");
        Run::new(self.address(index), self.shape[axis] - index[axis], self.strides[axis])
    }

    /// What a run along `axis` from `index` on may name: at each step, every place of the indexed axis. A run along the
    /// indexed axis itself stays where it is.
    #[inline(always)]
    fn plane(&self, axis: usize, [p, _, m]: [usize; 3]) -> Plane<T> {
        let step = if axis == K { 0 } else { self.strides[axis] };
        Plane { start: self.address([p, 0, m]), stride: self.strides[K], step }
    }
}

impl<'a, T: Word> Strided3<'a, T> {
    /// `out[t]` = what offset number `t` names at step `t` of this piece, which is a [`Strided3::table_part`]; `value` where the
    /// offset is not on the axis.
    pub(crate) fn gather_or(&self, axis: usize, offsets: &[u64], value: T, out: &mut [T]) {
        let n = self.shape[K] as u64;
        for (t, (out, &o)) in out.iter_mut().zip(offsets).enumerate() {
            let mut index = [0; 3];
            index[axis] = t;
            index[K] = o as usize;
            *out = if o < n { self.run(K, index).get(0) } else { value };
        }
    }
}

impl<'a, T> Strided3<'a, T> {
    /// A slice as a piece of one run along `axis`.
    #[inline(always)]
    pub(crate) fn from_slice(slice: &'a [T], axis: usize) -> Self {
        let (mut shape, mut strides) = ([1; 3], [0; 3]);
        (shape[axis], strides[axis]) = (slice.len(), 1);
        Strided3 { start: Start::new(slice.as_ptr()), shape, strides, borrow: PhantomData }
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
        Strided3 { start: self.address(index), shape, ..*self }
    }

    /// What such a run of another array may name in this one, which is indexed: all places of the indexed axis, and the
    /// run's own of the others.
    #[inline(always)]
    pub(crate) fn table_part(&self, axis: usize, [p, _, m]: [usize; 3], len: usize) -> Self {
        if axis == K {
            assert!(p < self.shape[P] && m < self.shape[M], "no such run");
            Strided3 { start: self.address([p, 0, m]), shape: [1, self.shape[K], 1], ..*self }
        } else {
            let part = self.part(axis, [p, 0, m], len);
            let mut shape = part.shape;
            shape[K] = self.shape[K];
            Strided3 { shape, ..part }
        }
    }
}

impl<'a, T> Strided3Mut<'a, T> {
    /// As [`Strided3::from_slice`].
    #[inline(always)]
    pub(crate) fn from_slice(slice: &'a mut [T], axis: usize) -> Self {
        let (mut shape, mut strides) = ([1; 3], [0; 3]);
        (shape[axis], strides[axis]) = (slice.len(), 1);
        let start = Start(slice.as_mut_ptr());
        Strided3Mut(Strided3 { start, shape, strides, borrow: PhantomData }, PhantomData)
    }

    /// As [`Strided3::table_part`].
    #[inline(always)]
    pub(crate) fn table_part(&mut self, axis: usize, index: [usize; 3], len: usize) -> Strided3Mut<'_, T> {
        Strided3Mut(self.0.table_part(axis, index, len), PhantomData)
    }
}

impl<T: Word> Strided3Mut<'_, T> {
    /// Updates what offset number `t` names at step `t` of this piece, which is a [`Strided3::table_part`], with `from[t]`, but
    /// where the offset is not on the axis.
    pub(crate) fn update_inside(&mut self, axis: usize, offsets: &[u64], from: &[T], update: impl Update<T>) {
        let n = self.0.shape[K] as u64;
        for (t, (&from, &o)) in from.iter().zip(offsets).enumerate().filter(|&(_, (_, &o))| o < n) {
            let mut index = [0; 3];
            index[axis] = t;
            index[K] = o as usize;
            update.update(self.run(K, index).at(0), from);
        }
    }
}

impl<'a, T> Strided3Mut<'a, T> {
    /// The elements along one axis from the first on.
    pub(crate) fn into_run(self, axis: usize) -> RunMut<'a, T> {
        let Run { start, len, stride, .. } = self.0.run(axis, [0; 3]);
        RunMut::new(start, len, stride)
    }
}

impl<T> Strided3Mut<'_, T> {
    #[inline(always)]
    pub(crate) fn shape(&self) -> [usize; 3] {
        self.0.shape
    }

    /// The elements from `index` on along one axis.
    #[inline(always)]
    pub(crate) fn run(&mut self, axis: usize, index: [usize; 3]) -> RunMut<'_, T> {
        let Run { start, len, stride, .. } = self.0.run(axis, index);
        RunMut::new(start, len, stride)
    }
}

/// What the offsets of a run name: offset `o` at step `t` the element `t · step + o · stride` after `start`.
/// For this module, whose loops keep to the run's length and to the indexed axis.
#[derive(Clone, Copy)]
struct Plane<T> {
    start: Start<T>,
    stride: isize,
    step: isize,
}

impl<T> Plane<T> {
    /// Whether the places are neighbours and the same at each step, so that an offset needs no multiplication.
    #[inline(always)]
    fn is_flat(&self) -> bool {
        self.stride == 1 && self.step == 0
    }

    #[inline(always)]
    fn at<const FLAT: bool>(&self, t: usize, o: usize) -> Start<T> {
        self.start.at(if FLAT { o as isize } else { t as isize * self.step + o as isize * self.stride })
    }
}

/// Indices each of which is below a bound: [`Checked::new`] has looked.
pub(crate) struct Checked<'a, X> {
    list: &'a [X],
    bound: usize,
}

impl<X> Clone for Checked<'_, X> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<X> Copy for Checked<'_, X> {}

impl<'a, X: Word> Checked<'a, X> {
    /// The list, if each of its words, read without a sign, is below `bound`. By one pass without branches, to be
    /// compiled for the caller's level.
    #[inline(always)]
    pub(crate) fn new(list: &'a [X], bound: usize) -> Option<Self> {
        let inside = if size_of::<X>() == 8 {
            // Below `bound` or not, by the sign of `bound − 1 − x` or of `x` itself: bounds are below 2^63.
            let last = (bound as i64).wrapping_sub(1);
            let signs = list.iter().fold(0, |signs, x| signs | x.to_i64() | last.wrapping_sub(x.to_i64()));
            signs >= 0
        } else {
            let greatest = list.iter().fold(X::default(), |most, &x| if x > most { x } else { most });
            greatest.to_offset() < bound
        };
        (inside || list.is_empty()).then_some(Checked { list, bound })
    }

    /// The list, of which the caller has looked at every word.
    ///
    /// # Safety
    /// Each word, read without a sign, is below `bound`.
    pub(crate) unsafe fn new_unchecked(list: &'a [X], bound: usize) -> Self {
        Checked { list, bound }
    }

    /// The indices.
    #[inline(always)]
    pub(crate) fn list(&self) -> &'a [X] {
        self.list
    }
}

/// A list of checked indices as a 3-d array.
#[derive(Clone, Copy)]
pub(crate) struct Grid<'a, X> {
    checked: Checked<'a, X>,
    /// Of the first index.
    first: usize,
    strides: [usize; 3],
}

impl<'a, X: Word> Grid<'a, X> {
    /// The indices with these strides.
    #[inline(always)]
    pub(crate) fn new(checked: Checked<'a, X>, first: usize, strides: [usize; 3]) -> Self {
        Grid { checked, first, strides }
    }

    /// So many from the given place on.
    #[inline(always)]
    fn run(&self, [p, k, m]: [usize; 3], len: usize) -> &'a [X] {
        let first = self.first + p * self.strides[P] + k * self.strides[K] + m * self.strides[M];
        &self.checked.list[first..first + len]
    }
}

/// How far ahead of a loop over single elements their lines are prefetched: `distance` indices, 0 for not at all.
#[derive(Clone, Copy)]
pub(crate) struct Prefetch {
    pub(crate) distance: usize,
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

/// Single elements: `out[..] = table[.. list[..] ..]`, by runs along `axis`, along which the list and the output are dense.
#[inline(always)]
pub(crate) fn gather_runs<W: Word, X: Word>(
    table: Strided3<'_, W>,
    list: Grid<'_, X>,
    out: Strided3Mut<'_, W>,
    axis: usize,
    ahead: Prefetch,
) {
    let ([planes, n, rows], shape) = (table.shape, out.0.shape);
    assert!(planes == shape[P] && rows == shape[M] && list.checked.bound <= n, "shapes that do not fit");
    assert!(out.0.strides[axis] == 1 || shape[axis] <= 1, "no dense output");
    let [a, b] = [[K, M], [P, M], [P, K]][axis];
    let mut index = [0; 3];
    for i in 0..shape[a] {
        index[a] = i;
        for j in 0..shape[b] {
            index[b] = j;
            let plane = table.plane(axis, index);
            // The pieces are of one shape, so `index` is a place of each.
            let to = RunMut::new(out.0.address(index), shape[axis], 1).into_slice_mut().unwrap_or_default();
            let list = list.run(index, to.len());
            // SAFETY (of what both call): see `gather_run`; the indices are below the bound, and that at most `n`.
            if plane.is_flat() {
                gather_run::<W, X, true>(plane, list, to, ahead);
            } else {
                gather_run::<W, X, false>(plane, list, to, ahead);
            }
        }
    }
}

#[inline(always)]
fn gather_run<W: Word, X: Word, const FLAT: bool>(
    plane: Plane<W>,
    list: &[X],
    out: &mut [W],
    ahead: Prefetch,
) {
    // SAFETY: called by `gather_runs` alone, with step numbers of the run and with indices of a checked list, below its
    // bound and that at most `n`: a place of the table's piece.
    let read = |t: usize, x: X| unsafe { *plane.at::<FLAT>(t, x.to_offset()).0 };
    let four = |t: usize, out: &mut [W; 4], list: &[X; 4]| {
        *out = [read(t, list[0]), read(t + 1, list[1]), read(t + 2, list[2]), read(t + 3, list[3])];
    };
    let mut t = 0;
    if ahead.distance > 0 {
        let whole = out.len().saturating_sub(ahead.distance);
        let (outs, _) = out[..whole].as_chunks_mut::<4>();
        for ((out, now), next) in outs
            .iter_mut()
            .zip(list.as_chunks::<4>().0)
            .zip(list[ahead.distance.min(list.len())..].as_chunks::<4>().0)
        {
            (0..4).for_each(|j| {
                prefetch::<false, W>(plane.at::<FLAT>(t + ahead.distance + j, next[j].to_offset()))
            });
            four(t, out, now);
            t += 4;
        }
    }
    for (out, list) in out[t..].as_chunks_mut::<4>().0.iter_mut().zip(list[t..].as_chunks::<4>().0) {
        four(t, out, list);
        t += 4;
    }
    let len = out.len();
    if t < len {
        match (out.last_chunk_mut::<4>(), list.last_chunk::<4>()) {
            (Some(out), Some(list)) => four(len - 4, out, list),
            _ => out.iter_mut().zip(list).enumerate().for_each(|(t, (out, &x))| *out = read(t, x)),
        }
    }
}

/// What a scatter does with an element of the table and the one that is meant for it.
pub(crate) trait Update<T>: Copy + Send + Sync {
    fn update(self, to: &mut T, from: T);
}

/// Single elements: each `table[.. list[..] ..]` is updated with `src[..]`, by runs along `axis`, along which the list and
/// the source are dense. What updates one element comes in order along the indexed axis.
#[inline(always)]
pub(crate) fn scatter_runs<T: Word, X: Word>(
    table: Strided3Mut<'_, T>,
    list: Grid<'_, X>,
    src: Strided3<'_, T>,
    (axis, ahead): (usize, Prefetch),
    update: impl Update<T>,
) {
    let ([planes, n, rows], shape) = (table.0.shape, src.shape);
    assert!(planes == shape[P] && rows == shape[M] && list.checked.bound <= n, "shapes that do not fit");
    assert!(src.strides[axis] == 1 || shape[axis] <= 1, "no dense source");
    // The indexed axis is the innermost loop but for the run itself.
    let [a, b] = [[M, K], [P, M], [P, K]][axis];
    let mut index = [0; 3];
    for i in 0..shape[a] {
        index[a] = i;
        for j in 0..shape[b] {
            index[b] = j;
            let plane = table.0.plane(axis, index);
            let from = Run::new(src.address(index), shape[axis], 1).as_slice().unwrap_or_default();
            let list = list.run(index, from.len());
            if plane.is_flat() {
                scatter_run::<T, X, true>(plane, list, from, ahead, update);
            } else {
                scatter_run::<T, X, false>(plane, list, from, ahead, update);
            }
        }
    }
}

#[inline(always)]
fn scatter_run<T: Word, X: Word, const FLAT: bool>(
    plane: Plane<T>,
    list: &[X],
    from: &[T],
    ahead: Prefetch,
    update: impl Update<T>,
) {
    // SAFETY: called by `scatter_runs` alone, with step numbers of the run and with indices of a checked list, below its
    // bound and that at most `n`: a place of the table's piece. One reference is gone before the next is made.
    let one =
        |t: usize, x: X, from: T| update.update(unsafe { &mut *plane.at::<FLAT>(t, x.to_offset()).0 }, from);
    let mut t = 0;
    let mut groups = from.as_chunks::<4>().0.iter().zip(list.as_chunks::<4>().0);
    if ahead.distance > 0 {
        for next in list[ahead.distance.min(list.len())..].as_chunks::<4>().0 {
            (0..4).for_each(|j| {
                prefetch::<false, T>(plane.at::<FLAT>(t + ahead.distance + j, next[j].to_offset()))
            });
            if let Some((from, list)) = groups.next() {
                (0..4).for_each(|j| one(t + j, list[j], from[j]));
                t += 4;
            }
        }
    }
    for (from, list) in groups {
        (0..4).for_each(|j| one(t + j, list[j], from[j]));
        t += 4;
    }
    from[t..].iter().zip(&list[t..]).enumerate().for_each(|(k, (&from, &x))| one(t + k, x, from));
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
