//! Three arrays seen as planes of rows, together: what gather and scatter walk.
//!
//! Every such operation has a *table* (read by gather, added to by scatter), a *list* of indices into one axis of it,
//! and a *flow* (written by gather, read by scatter) with one element for each index and each position on the table's
//! other axes. Let P stand for the axes before the indexed one, K for those of the list and M for those after:
//!
//! ```text
//! table  P × n × M        flow  P × K × M        list  K, or P × K × M (take_along_axis)
//! ```
//!
//! A list without P and M is read as if it had them with stride 0. A [`Plan`] merges the axes of each group that
//! continue each other in all three arrays. What is left of a group is one axis nearly always; where it is more, the
//! last stays in the [`Cube`]s and the others are looped over outside, cube by cube.

use super::{Lane, LaneMut, Layout, MAX_RANK, View, ViewMut, count};
use crate::error::{Error, Result};
use crate::index::{Index, Offsets, Proven};
use crate::simd::{Float, Simd};
use std::marker::PhantomData;

/// The table's place in a [`Plan`].
pub(crate) const TABLE: usize = 0;
/// The list's place in a [`Plan`].
pub(crate) const LIST: usize = 1;
/// The flow's place in a [`Plan`].
pub(crate) const FLOW: usize = 2;

/// The axis of a cube that counts planes.
pub(crate) const P: usize = 0;
/// The axis of a cube that is indexed (table) or follows the indices (list, flow).
pub(crate) const K: usize = 1;
/// The axis of a cube along its rows.
pub(crate) const M: usize = 2;

/// Up to 7 axes of the table and 8 of the list.
const MAX_AXES: usize = 2 * MAX_RANK;

/// An axis and its strides in the three arrays.
type Axis = (usize, [isize; 3]);

/// How the three arrays are cut into cubes.
pub(crate) struct Plan {
    /// The layouts that this plan was made for, and is good for.
    layouts: [Layout; 3],
    shapes: [[usize; 3]; 3],
    strides: [[isize; 3]; 3],
    /// Empty nearly always, and then nothing is allocated for it.
    outer: Vec<Axis>,
    cubes: usize,
}

impl Plan {
    /// A plan for nothing, to be made one for three arrays where it stands: it is half a kilobyte, and small operations
    /// feel each copy of it.
    pub(crate) fn new() -> Self {
        Plan {
            layouts: [Layout::EMPTY; 3],
            shapes: [[0; 3]; 3],
            strides: [[0; 3]; 3],
            outer: Vec::new(),
            cubes: 0,
        }
    }

    /// Makes it the plan for a table indexed along `axis` (which exists) by a list that is one for all lanes, or `along` all
    /// of them. The flow must have the shape P × K × M, or be of rank 1 with as many elements.
    fn make(
        &mut self,
        table: &Layout,
        axis: usize,
        list: &Layout,
        along: bool,
        flow: &Layout,
        name: &'static str,
    ) -> Result<()> {
        if along {
            let fits = (0..table.rank).all(|d| d == axis || list.shape().get(d) == Some(&table.shape[d]));
            if list.rank != table.rank || !fits {
                let mut expected = table.shape().to_vec();
                expected[axis] = list.shape().get(axis).copied().unwrap_or(0);
                return Err(Error::Shape { what: "the index array", expected, got: list.shape().to_vec() });
            }
        }
        let mut axes: [Axis; MAX_AXES] = [(1, [0; 3]); MAX_AXES];
        let mut rank = 0;
        let mut push = |n, table, list| {
            axes[rank] = (n, [table, list, 0]);
            rank += 1;
        };
        let other = |d: usize| (table.shape[d], table.strides[d], if along { list.strides[d] } else { 0 });
        let listed = if along { axis..axis + 1 } else { 0..list.rank };
        for (n, table, list) in (0..axis).map(other) {
            push(n, table, list);
        }
        let first_k = axis;
        for d in listed.clone() {
            push(list.shape[d], 0, list.strides[d]);
        }
        for (n, table, list) in (axis + 1..table.rank).map(other) {
            push(n, table, list);
        }
        let first_m = first_k + listed.len();
        let axes = &mut axes[..rank];

        let mut shape = [0; MAX_AXES];
        shape.iter_mut().zip(axes.iter()).for_each(|(n, axis)| *n = axis.0);
        let shape = &shape[..rank];
        let len = count(shape)?;
        if flow.shape() == shape {
            axes.iter_mut().zip(flow.strides()).for_each(|(axis, &stride)| axis.1[FLOW] = stride);
        } else if flow.rank == 1 && flow.shape[0] == len {
            // C order over the flow's own stride. No product overflows where there is an element; nothing is read
            // where there is none.
            let mut step = flow.strides[0];
            for axis in axes.iter_mut().rev() {
                axis.1[FLOW] = step;
                step = step.wrapping_mul(axis.0 as isize);
            }
        } else {
            return Err(Error::Shape { what: name, expected: shape.to_vec(), got: flow.shape().to_vec() });
        }

        self.layouts = [*table, *list, *flow];
        (self.shapes, self.strides) = ([[1; 3]; 3], [[0; 3]; 3]);
        self.outer.clear();
        self.cubes = if len == 0 { 0 } else { 1 };
        if len > 0 {
            for (k, group) in [0..first_k, first_k..first_m, first_m..rank].into_iter().enumerate() {
                self.group(k, &axes[group]);
            }
            self.shapes[TABLE][K] = table.shape[axis];
            self.strides[TABLE][K] = table.strides[axis];
        }
        Ok(())
    }

    /// Merges the axes of one group into axis `k` of the cubes and those outside.
    fn group(&mut self, k: usize, axes: &[Axis]) {
        let mut last: Option<Axis> = None;
        for &(n, strides) in axes.iter().filter(|axis| axis.0 != 1) {
            let continued = last.filter(|(_, steps)| {
                steps.iter().zip(strides).all(|(&step, stride)| stride.checked_mul(n as isize) == Some(step))
            });
            last = match (continued, last) {
                (Some((m, _)), _) => Some((m * n, strides)),
                (None, before) => {
                    self.cubes *= before.map_or(1, |axis| axis.0);
                    self.outer.extend(before);
                    Some((n, strides))
                }
            };
        }
        if let Some((n, strides)) = last {
            self.shapes.iter_mut().for_each(|shape| shape[k] = n);
            self.strides.iter_mut().zip(strides).for_each(|(steps, stride)| steps[k] = stride);
        }
    }

    /// Makes it the plan of `take_axis` and its kin.
    pub(crate) fn gather<A, T, I>(
        &mut self,
        table: &View<'_, A>,
        axis: usize,
        list: &View<'_, I>,
        along: bool,
        out: &ViewMut<'_, T>,
    ) -> Result<()> {
        self.make(&table.layout, axis, &list.layout, along, &out.layout, "the output")
    }

    /// Makes it the plan of `scatter_add_axis` and its kin.
    pub(crate) fn scatter<A, T, I>(
        &mut self,
        table: &ViewMut<'_, A>,
        axis: usize,
        list: &View<'_, I>,
        along: bool,
        src: &View<'_, T>,
    ) -> Result<()> {
        self.make(&table.layout, axis, &list.layout, along, &src.layout, "the source")
    }

    /// How many cubes there are; 0 where there is no element to move.
    pub(crate) fn cubes(&self) -> usize {
        self.cubes
    }

    /// The shape of the flow's cubes.
    pub(crate) fn shape(&self) -> [usize; 3] {
        self.shapes[FLOW]
    }

    /// Where cube number `i` of one of the arrays starts.
    fn offset(&self, array: usize, mut i: usize) -> isize {
        assert!(i < self.cubes, "a cube beyond the last");
        let mut offset = 0;
        for &(n, strides) in self.outer.iter().rev() {
            offset += (i % n) as isize * strides[array];
            i /= n;
        }
        offset
    }
}

/// A 3-d strided array to read: planes, the indexed axis, rows.
pub(crate) struct Cube<'a, T> {
    start: *const T,
    shape: [usize; 3],
    strides: [isize; 3],
    borrow: PhantomData<&'a [T]>,
}

impl<T> Clone for Cube<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Cube<'_, T> {}

/// A 3-d strided array to write: planes, the indexed axis, rows.
pub(crate) struct CubeMut<'a, T> {
    start: *mut T,
    shape: [usize; 3],
    strides: [isize; 3],
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: a shared borrow, as a `View`.
unsafe impl<T: Sync> Send for Cube<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Cube<'_, T> {}
// SAFETY: an exclusive borrow, as a `ViewMut`.
unsafe impl<T: Send> Send for CubeMut<'_, T> {}

impl<'a, T> View<'a, T> {
    /// Cube number `i` of this array, which has the given place in the plan.
    pub(crate) fn cube(&self, plan: &Plan, array: usize, i: usize) -> Cube<'a, T> {
        assert!(self.layout == plan.layouts[array], "a plan made for another array");
        // SAFETY: the plan was made for this layout, and its axes only regroup the layout's own, so each index inside
        // cube `i` is one inside the view's shape.
        let start = unsafe { self.start.offset(plan.offset(array, i)) };
        Cube { start, shape: plan.shapes[array], strides: plan.strides[array], borrow: PhantomData }
    }
}

impl<T> ViewMut<'_, T> {
    /// Cube number `i` of this array, which has the given place in the plan. (Not the list's, whose strides repeat.)
    pub(crate) fn cube(&mut self, plan: &Plan, array: usize, i: usize) -> CubeMut<'_, T> {
        assert!(self.layout == plan.layouts[array] && array != LIST, "a plan made for another array");
        // SAFETY: as for `View::cube`; exclusive, because `self` is borrowed for as long as the cube.
        let start = unsafe { self.start.offset(plan.offset(array, i)) };
        CubeMut { start, shape: plan.shapes[array], strides: plan.strides[array], borrow: PhantomData }
    }
}

/// The offset of an index, which must be inside the shape.
#[inline(always)]
fn offset(shape: &[usize; 3], strides: &[isize; 3], at: [usize; 3]) -> isize {
    assert!(at[P] < shape[P] && at[K] < shape[K] && at[M] < shape[M], "a place outside the cube");
    at[P] as isize * strides[P] + at[K] as isize * strides[K] + at[M] as isize * strides[M]
}

impl<'a, T> Cube<'a, T> {
    /// From the first byte to the last: whether a cache may hold the cube.
    pub(crate) fn reach(&self) -> usize {
        let steps = self
            .shape
            .iter()
            .zip(self.strides)
            .map(|(&n, stride)| n.saturating_sub(1) * stride.unsigned_abs());
        (steps.sum::<usize>() + 1) * size_of::<T>()
    }

    /// The rows of plane `p`, where they are dense.
    #[inline(always)]
    pub(crate) fn rows(&self, p: usize) -> Option<Rows<'a, T>> {
        assert!(p < self.shape[P], "a plane beyond the last");
        let [_, n, width] = self.shape;
        // SAFETY: the plane exists; where a row has no elements or there is no row, the pointer is never followed.
        let start =
            unsafe { self.start.offset(if n * width == 0 { 0 } else { p as isize * self.strides[P] }) };
        let rows = Rows { start, n, stride: self.strides[K], width, borrow: PhantomData };
        (self.strides[M] == 1 || width <= 1).then_some(rows)
    }

    pub(crate) fn shape(&self) -> [usize; 3] {
        self.shape
    }

    pub(crate) fn strides(&self) -> [isize; 3] {
        self.strides
    }

    /// The elements from `at` on along one axis.
    #[inline(always)]
    pub(crate) fn lane(&self, axis: usize, at: [usize; 3]) -> Lane<'a, T> {
        // SAFETY: `offset` has asserted that the place is inside, and so are those that follow it up to the end.
        let start = unsafe { self.start.offset(offset(&self.shape, &self.strides, at)) };
        Lane { start, len: self.shape[axis] - at[axis], stride: self.strides[axis], borrow: PhantomData }
    }

    /// The first `mid` of an axis, and the rest.
    pub(crate) fn split_at(self, axis: usize, mid: usize) -> (Self, Self) {
        assert!(mid <= self.shape[axis], "a split beyond the end");
        let (mut a, mut b) = (self, self);
        (a.shape[axis], b.shape[axis]) = (mid, self.shape[axis] - mid);
        // SAFETY: `mid` is inside the axis, unless the second part is empty and keeps the start.
        b.start =
            unsafe { b.start.offset(if b.shape[axis] == 0 { 0 } else { mid as isize * self.strides[axis] }) };
        (a, b)
    }

    /// What a run along `axis` from `at` on may name: for each step, every place on the indexed axis. A run along the
    /// indexed axis itself stays at `at`, however long.
    #[inline(always)]
    pub(crate) fn plane(&self, axis: usize, at: [usize; 3]) -> Plane<'a, T> {
        // SAFETY: `offset` has asserted that the place is inside.
        let start = unsafe { self.start.offset(offset(&self.shape, &self.strides, [at[P], 0, at[M]])) };
        let (len, step) =
            if axis == K { (usize::MAX, 0) } else { (self.shape[axis] - at[axis], self.strides[axis]) };
        Plane { start, n: self.shape[K], stride: self.strides[K], len, step, borrow: PhantomData }
    }
}

impl<'a, T> CubeMut<'a, T> {
    /// As [`Cube::rows`].
    #[inline(always)]
    pub(crate) fn rows(&mut self, p: usize) -> Option<RowsMut<'_, T>> {
        let Rows { start, n, stride, width, .. } = self.as_cube().rows(p)?;
        Some(RowsMut { start: start.cast_mut(), n, stride, width, borrow: PhantomData })
    }

    pub(crate) fn shape(&self) -> [usize; 3] {
        self.shape
    }

    pub(crate) fn strides(&self) -> [isize; 3] {
        self.strides
    }

    /// The same elements, to read.
    #[inline(always)]
    pub(crate) fn as_cube(&self) -> Cube<'_, T> {
        Cube { start: self.start, shape: self.shape, strides: self.strides, borrow: PhantomData }
    }

    /// The elements from `at` on along one axis.
    #[inline(always)]
    pub(crate) fn lane(&mut self, axis: usize, at: [usize; 3]) -> LaneMut<'_, T> {
        let Lane { start, len, stride, .. } = self.as_cube().lane(axis, at);
        LaneMut { start: start.cast_mut(), len, stride, borrow: PhantomData }
    }

    /// The first `mid` of an axis, and the rest.
    pub(crate) fn split_at(self, axis: usize, mid: usize) -> (Self, Self) {
        // The two parts have no index in common, and a `ViewMut` has no element under two indices.
        let (a, b) = Cube { start: self.start.cast_const(), ..self.as_cube() }.split_at(axis, mid);
        let to_mut = |c: Cube<'_, T>| CubeMut {
            start: c.start.cast_mut(),
            shape: c.shape,
            strides: c.strides,
            borrow: PhantomData,
        };
        (to_mut(a), to_mut(b))
    }

    /// As [`Cube::plane`].
    #[inline(always)]
    pub(crate) fn plane(&mut self, axis: usize, at: [usize; 3]) -> PlaneMut<'_, T> {
        let Plane { start, n, stride, len, step, .. } = self.as_cube().plane(axis, at);
        PlaneMut { start: start.cast_mut(), n, stride, len, step, borrow: PhantomData }
    }
}

/// Rows of neighbours.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, T> {
    start: *const T,
    n: usize,
    stride: isize,
    width: usize,
    borrow: PhantomData<&'a [T]>,
}

/// [`Rows`] to write through.
pub(crate) struct RowsMut<'a, T> {
    start: *mut T,
    n: usize,
    stride: isize,
    width: usize,
    borrow: PhantomData<&'a mut [T]>,
}

impl<'a, T: Float> Rows<'a, T> {
    /// Asks for the lines of row `i`.
    #[inline(always)]
    pub(crate) fn ask<S: Simd<T>>(&self, s: S, i: usize) {
        for line in self.row(i).chunks(64 / size_of::<T>()) {
            s.prefetch(&line[0]);
        }
    }
}

impl<'a, T> Rows<'a, T> {
    #[inline(always)]
    pub(crate) fn row(&self, i: usize) -> &'a [T] {
        assert!(i < self.n, "a row beyond the last");
        // SAFETY: the row is inside the cube, and dense.
        unsafe { std::slice::from_raw_parts(self.start.offset(i as isize * self.stride), self.width) }
    }
}

impl<T> RowsMut<'_, T> {
    /// The same rows to read.
    #[inline(always)]
    pub(crate) fn as_rows(&self) -> Rows<'_, T> {
        Rows { start: self.start, n: self.n, stride: self.stride, width: self.width, borrow: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn row(&mut self, i: usize) -> &mut [T] {
        assert!(i < self.n, "a row beyond the last");
        // SAFETY: the row is inside the cube, and dense; exclusive, because `self` is borrowed as long as the row.
        unsafe { std::slice::from_raw_parts_mut(self.start.offset(i as isize * self.stride), self.width) }
    }
}

/// Two integers, by one load where they are of 4 bytes: loads are what loops over indices wait for.
#[inline(always)]
fn two<I: Index>(pair: &[I; 2]) -> [I; 2] {
    if size_of::<I>() != 4 {
        return *pair;
    }
    // SAFETY: two integers of 4 bytes each are 8 bytes of an integer.
    let both = unsafe { (&raw const *pair).cast::<u64>().read_unaligned() }.to_le();
    [I::from_bits(both), I::from_bits(both >> 32)]
}

/// `out[k]` = `at(k, list[k])`, asking for what the index `ahead` of it names (0: not).
#[inline(always)]
fn gather_each<'a, T: Float, I: Index, S: Simd<T>>(
    s: S,
    list: &[I],
    out: &mut [T],
    ahead: usize,
    at: impl Fn(usize, I) -> &'a T,
) {
    let mut k = 0;
    if ahead > 0 {
        let whole = list.len().saturating_sub(ahead);
        for ((&i, out), &next) in list[..whole].iter().zip(&mut *out).zip(&list[list.len() - whole..]) {
            s.prefetch(at(k + ahead, next));
            *out = *at(k, i);
            k += 1;
        }
    }
    let ((list, list_rest), (outs, outs_rest)) = (list[k..].as_chunks::<8>(), out[k..].as_chunks_mut::<8>());
    for (out, list) in outs.iter_mut().zip(list) {
        let (outs, pairs) = (out.as_chunks_mut().0, list.as_chunks().0.as_chunks().0);
        for (out, [first, second]) in outs.iter_mut().zip(pairs) {
            let ([a, b], [c, d]) = (two(first), two(second));
            s.store_4([*at(k, a), *at(k + 1, b), *at(k + 2, c), *at(k + 3, d)], out);
            k += 4;
        }
    }
    for (out, &i) in outs_rest.iter_mut().zip(list_rest) {
        *out = *at(k, i);
        k += 1;
    }
}

/// `out[k]` = the element of `table` that index `k` of the list, which is as long, names, asking for what the index `ahead`
/// of it names (0: not).
#[inline(always)]
pub(crate) fn gather_dense<T: Float, I: Index, S: Simd<T>>(
    s: S,
    table: &[T],
    list: Proven<&[I]>,
    out: &mut [T],
    ahead: usize,
) {
    let (list, bound) = list.below(table.len());
    assert!(list.len() == out.len(), "not a place for each index");
    gather_each(
        s,
        list,
        out,
        ahead,
        // SAFETY: called with an index of the proven list, so the offset is below its bound and that at most the table's
        // length.
        #[inline(always)]
        |_, i| unsafe { table.get_unchecked(i.raise_proven(bound)) },
    );
}

/// Adds `a · from[k]` to the element of `table` that index `k` of the list, which is as long, names, in order of `k`, and
/// asks for what the index `ahead` of it names (0: not).
#[inline(always)]
pub(crate) fn scatter_dense<T: Float, I: Index, S: Simd<T>>(
    s: S,
    table: &mut [T],
    list: Proven<&[I]>,
    from: &[T],
    a: T,
    ahead: usize,
) {
    let (list, bound) = list.below(table.len());
    assert!(list.len() == from.len(), "not an element for each index");
    let start = table.as_mut_ptr();
    // SAFETY: called with an index of the proven list, so the offset is below its bound and that at most the table's length.
    // Exclusive, because the table is borrowed until the end, and one reference is gone before the next is made.
    let at = |i: I| unsafe { &mut *start.add(i.raise_proven(bound)) };
    let mut done = 0;
    if ahead > 0 {
        done = list.len().saturating_sub(ahead);
        for ((&i, &x), &next) in list[..done].iter().zip(from).zip(&list[list.len() - done..]) {
            s.prefetch(at(next));
            *at(i) += a * x;
        }
    }
    let ((list, list_rest), (xs, xs_rest)) = (list[done..].as_chunks::<8>(), from[done..].as_chunks::<8>());
    for (list, xs) in list.iter().zip(xs) {
        for (pair, [x, y]) in list.as_chunks().0.iter().zip(xs.as_chunks().0) {
            let [i, j] = two(pair);
            *at(i) += a * *x;
            *at(j) += a * *y;
        }
    }
    for (&i, &x) in list_rest.iter().zip(xs_rest) {
        *at(i) += a * x;
    }
}

/// What a run of indices may name in a table: at step `t`, any of `n` places.
#[derive(Clone, Copy)]
pub(crate) struct Plane<'a, T> {
    start: *const T,
    n: usize,
    stride: isize,
    len: usize,
    step: isize,
    borrow: PhantomData<&'a [T]>,
}

/// A [`Plane`] to write through.
pub(crate) struct PlaneMut<'a, T> {
    start: *mut T,
    n: usize,
    stride: isize,
    len: usize,
    step: isize,
    borrow: PhantomData<&'a mut [T]>,
}

impl<'a, T: Float> Plane<'a, T> {
    /// The places that may be named, where they stand one after the other and are the same at each step.
    #[inline(always)]
    pub(crate) fn as_slice(&self) -> Option<&'a [T]> {
        // SAFETY: the plane's `n` places, of stride 1.
        let slice = || unsafe { std::slice::from_raw_parts(self.start, self.n) };
        (self.stride == 1 && self.step == 0).then(slice)
    }

    /// `out[k]` = what index `k` of the list, which is as long, names at step `k`, asking for what the index `ahead` of it
    /// names (0: not).
    #[inline(always)]
    pub(crate) fn gather_bare<I: Index, S: Simd<T>>(
        &self,
        s: S,
        list: Proven<&[I]>,
        out: &mut [T],
        ahead: usize,
    ) {
        if let Some(table) = self.as_slice() {
            return gather_dense(s, table, list, out, ahead);
        }
        let (list, bound) = list.below(self.n);
        assert!(list.len() == out.len() && list.len() <= self.len, "not a place or a step for each index");
        gather_each(
            s,
            list,
            out,
            ahead,
            // SAFETY: called with an index of the proven list, so the offset is below its bound and that at most `n`, and with
            // its number, which is below `len`: an index inside the cube's shape.
            #[inline(always)]
            |k, i| unsafe {
                let o = i.raise_proven(bound) as isize;
                &*self.start.offset(o * self.stride + k as isize * self.step)
            },
        );
    }

    /// `out[k]` = what index `k` names at step `first + k`, asking for what the index `ahead` of it names (0: not)
    /// or, evenly spread over the run, for the blocks of `meanwhile`. There may be more offsets than `out` takes: they
    /// are looked at ahead.
    #[inline(always)]
    pub(crate) fn gather<S: Simd<T>>(
        &self,
        s: S,
        first: usize,
        offsets: &Offsets,
        ahead: usize,
        meanwhile: &[T::Block],
        out: &mut [T],
    ) {
        let offsets = offsets.below(self.n);
        assert!(out.len() <= offsets.len() && first <= self.len && offsets.len() <= self.len - first);
        if self.stride == 1 && self.step == 0 {
            // SAFETY: called with `o < n`, by the proof that `Offsets` carries: an element of the cube, as the stride
            // is 1 and the step 0.
            let at = |o: usize| unsafe { &*self.start.add(o) };
            let mut done = 0;
            if ahead > 0 {
                done = out.len().min(offsets.len().saturating_sub(ahead));
                for ((out, &o), &next) in
                    out[..done].iter_mut().zip(offsets).zip(&offsets[ahead.min(offsets.len())..])
                {
                    s.prefetch(at(next));
                    *out = *at(o);
                }
            }
            // Unrolled by hand: the compiler does not.
            let (os, os_rest) = offsets[done..out.len()].as_chunks::<8>();
            let (outs, outs_rest) = out[done..].as_chunks_mut::<8>();
            if meanwhile.is_empty() {
                outs.iter_mut().zip(os).for_each(|(out, o)| *out = o.map(|o| *at(o)));
            } else {
                let mut lines = meanwhile.chunks(meanwhile.len().div_ceil(os.len().max(1)));
                for (out, o) in outs.iter_mut().zip(os) {
                    for line in lines.next().unwrap_or(&[]) {
                        s.prefetch(&line.as_ref()[0]);
                    }
                    *out = o.map(|o| *at(o));
                }
            }
            outs_rest.iter_mut().zip(os_rest).for_each(|(out, &o)| *out = *at(o));
        } else {
            // SAFETY: as above, and called with a step below `len`, asserted above: an index inside the cube's shape.
            let at = |k: usize, o: usize| unsafe {
                &*self.start.offset(o as isize * self.stride + (first + k) as isize * self.step)
            };
            if ahead > 0 {
                let done = out.len().min(offsets.len().saturating_sub(ahead));
                let next = &offsets[ahead.min(offsets.len())..];
                for (k, ((out, &o), &next)) in out[..done].iter_mut().zip(offsets).zip(next).enumerate() {
                    s.prefetch(at(k + ahead, next));
                    *out = *at(k, o);
                }
                (done..out.len()).for_each(|k| out[k] = *at(k, offsets[k]));
            } else {
                out.iter_mut().zip(offsets).enumerate().for_each(|(k, (out, &o))| *out = *at(k, o));
            }
        }
    }
}

impl<T: Float> PlaneMut<'_, T> {
    /// As [`Plane::as_slice`].
    #[inline(always)]
    pub(crate) fn as_slice_mut(&mut self) -> Option<&mut [T]> {
        // SAFETY: the plane's `n` places, of stride 1; exclusive, because `self` is borrowed for as long as the slice.
        let slice = || unsafe { std::slice::from_raw_parts_mut(self.start, self.n) };
        (self.stride == 1 && self.step == 0).then(slice)
    }

    /// Adds `a · from[k]` to what index `k` names at step `first + k`, in order of `k`.
    #[inline(always)]
    pub(crate) fn scatter(&mut self, first: usize, offsets: &Offsets, from: &[T], a: T) {
        let offsets = offsets.below(self.n);
        assert!(from.len() == offsets.len() && first <= self.len && offsets.len() <= self.len - first);
        let (start, stride, step) = (self.start, self.stride, self.step);
        if stride == 1 && step == 0 {
            // SAFETY: called with `o < n`, by the proof that `Offsets` carries: an element of the cube, as the stride
            // is 1 and the step 0. Exclusive, because the cube is borrowed for as long as `self`, and one reference is
            // gone before the next is made.
            let at = |o: usize| unsafe { &mut *start.add(o) };
            let ((os, os_rest), (xs, xs_rest)) = (offsets.as_chunks::<8>(), from.as_chunks::<8>());
            for (o, x) in os.iter().zip(xs) {
                (0..8).for_each(|j| *at(o[j]) += a * x[j]);
            }
            os_rest.iter().zip(xs_rest).for_each(|(&o, &x)| *at(o) += a * x);
        } else {
            // SAFETY: as above, and called with a step below `len`, asserted above: an index inside the cube's shape.
            let at = |k: usize, o: usize| unsafe {
                &mut *start.offset(o as isize * stride + (first + k) as isize * step)
            };
            from.iter().zip(offsets).enumerate().for_each(|(k, (&x, &o))| *at(k, o) += a * x);
        }
    }
}
