//! Gather: the elements that a list of indices names, in the list's order.
//!
//! ```text
//! take              out[k]         = src[idx[k]]             src flattened in C order
//! take_axis         out[p, k, m]   = src[p, idx[k], m]
//! take_along_axis   out[p, k, m]   = src[p, idx[p, k, m], m]
//! pick              out[p]         = src[p, idx[p]]
//! ```
//!
//! What they share is told at [`take`].

use crate::array::cube::{Cube, CubeMut, FLOW, K, M, P, Plan, TABLE, gather_dense};
use crate::array::{View, ViewMut, zeros};
use crate::error::{Error, Result};
use crate::index::{Index, Indices, Offsets, Proven};
use crate::parallel::{self, Split};
use crate::simd::{self, Float, Kernel, Level, Simd, Streaming, slices};

/// The elements of `src`, flattened in C order, that `idx` names: `np.take(src, idx)`. The result has the shape of
/// `idx`, as a vector in C order.
///
/// # What all gathers share
///
/// *Indices* are of any [`Index`] type and are read where they stand. Bare ones must lie in `-n..n` for an axis of
/// length `n`, negative ones counting from its end; in [`Wrap`](crate::Wrap) or [`Clip`](crate::Clip) any will do, as
/// long as the axis has an element.
///
/// *NaN* is copied as it is, payload included.
///
/// *Equality class*: the bits of [`reference`](crate::reference) at every level, for any strides and any number of
/// threads.
///
/// *Cost*: the indices are read twice, once to check them all, and each named element once, in place whatever the
/// strides. The forms that end in `_into` write into the caller's array; the others return a vector, which costs a
/// page fault for each 4 KiB of it, several times the copy itself.
///
/// *Errors* come before the first write. Beside its own, each function has [`Error::Level`] if `GRADIX_LEVEL` names
/// none, and those that return a vector have [`Error::Overflow`] if it cannot be addressed and [`Error::Memory`] if
/// there is no room for it.
///
/// # Errors
/// [`Error::Index`] for the first index out of bounds.
///
/// ```
/// let grad = [1.2, 0.8, 0.5, 1.0, 0.3, 0.9];
/// assert_eq!(gradix::take(&grad, &[1, 3, 5])?, [0.8, 1.0, 0.9]);
/// assert_eq!(gradix::take(&grad, &[-1])?, [0.9]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn take<'s, 'i, T: Float, I: Index>(
    src: impl Into<View<'s, T>>,
    idx: impl Into<Indices<'i, I>>,
) -> Result<Vec<T>> {
    let idx = idx.into();
    let mut out = zeros(idx.list.shape())?;
    take_into(src, idx, &mut out)?;
    Ok(out)
}

/// As [`take`], into `out`: of the shape of `idx`, or flat with as many elements.
///
/// Indices, NaN, equality and cost are those of [`take`].
///
/// # Errors
/// Those of [`take`]; [`Error::Shape`] if `out` has another shape. `out` is then as before.
///
/// ```
/// let mut out = [0.0; 3];
/// gradix::take_into(&[1.2, 0.8, 0.5], &[2, 0, 2], &mut out)?;
/// assert_eq!(out, [0.5, 1.2, 0.5]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn take_into<'s, 'i, 'o, T: Float, I: Index>(
    src: impl Into<View<'s, T>>,
    idx: impl Into<Indices<'i, I>>,
    out: impl Into<ViewMut<'o, T>>,
) -> Result<()> {
    let (src, idx, mut out) = (src.into(), idx.into(), out.into());
    if take_small(&src, &idx, &mut out)? {
        return Ok(());
    }
    match src.flattened() {
        Some(src) => gather(&src, 0, &idx, false, out),
        None => take_scattered(src, idx, out),
    }
}

/// The slices of `src` at the places on `axis` that `idx` names: `np.take(src, idx, axis)`, a vector in C order of
/// the shape of `src` with `axis` replaced by the shape of `idx`. A negative axis counts from the end.
///
/// Rows (the last axis not being `axis`) are copied at the speed of memory.
///
/// Indices, NaN, equality and cost are those of [`take`].
///
/// # Errors
/// [`Error::Axis`]; [`Error::Index`] for the first index out of bounds.
///
/// ```
/// use gradix::View;
/// let grad = [1.2, 0.8, 0.5, 1.0, 0.3, 0.9];
/// let grad = View::new(&grad, &[3, 2])?;
/// assert_eq!(gradix::take_axis(grad, 0, &[0, 2])?, [1.2, 0.8, 0.3, 0.9]);
/// assert_eq!(gradix::take_axis(grad, -1, &[1])?, [0.8, 1.0, 0.9]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn take_axis<'s, 'i, T: Float, I: Index>(
    src: impl Into<View<'s, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I>>,
) -> Result<Vec<T>> {
    let (src, idx) = (src.into(), idx.into());
    let at = src.axis(axis)?;
    let mut out = zeros(&[&src.shape()[..at], idx.list.shape(), &src.shape()[at + 1..]].concat())?;
    gather(&src, at, &idx, false, (&mut out).into())?;
    Ok(out)
}

/// As [`take_axis`], into `out`: of the shape told there, or flat with as many elements.
///
/// Indices, NaN, equality and cost are those of [`take`].
///
/// # Errors
/// Those of [`take_axis`]; [`Error::Shape`] if `out` has another shape. `out` is then as before.
///
/// ```
/// use gradix::{View, ViewMut};
/// let mut columns = [0.0; 6];
/// let rows = View::new(&[1.0, 2.0, 3.0, 4.0], &[2, 2])?;
/// let columns_first = ViewMut::new(&mut columns, &[2, 3])?.transposed();
/// gradix::take_axis_into(rows, 0, &[1, 0, 1], columns_first)?;
/// assert_eq!(columns, [3.0, 1.0, 3.0, 4.0, 2.0, 4.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn take_axis_into<'s, 'i, 'o, T: Float, I: Index>(
    src: impl Into<View<'s, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I>>,
    out: impl Into<ViewMut<'o, T>>,
) -> Result<()> {
    let src = src.into();
    let axis = src.axis(axis)?;
    gather(&src, axis, &idx.into(), false, out.into())
}

/// For each place of `idx`, the element of `src` at the same place but for `axis`, where `idx` says which:
/// `np.take_along_axis`, a vector in C order of the shape of `idx`. `idx` has the shape of `src` on all other axes
/// (one that repeats along an axis is a view with stride 0).
///
/// Indices, NaN, equality and cost are those of [`take`].
///
/// # Errors
/// [`Error::Axis`]; [`Error::Shape`] if `idx` has another shape; [`Error::Index`] for the first index out of bounds.
///
/// ```
/// use gradix::View;
/// let x = [4.0, 6.0, 5.0, 1.0, 3.0, 2.0];
/// let order = [0, 2, 1, 0, 2, 1];
/// let sorted = gradix::take_along_axis(View::new(&x, &[2, 3])?, 1, View::new(&order, &[2, 3])?)?;
/// assert_eq!(sorted, [4.0, 5.0, 6.0, 1.0, 2.0, 3.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn take_along_axis<'s, 'i, T: Float, I: Index>(
    src: impl Into<View<'s, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I>>,
) -> Result<Vec<T>> {
    let idx = idx.into();
    let mut out = zeros(idx.list.shape())?;
    take_along_axis_into(src, axis, idx, &mut out)?;
    Ok(out)
}

/// As [`take_along_axis`], into `out`: of the shape of `idx`, or flat with as many elements.
///
/// Indices, NaN, equality and cost are those of [`take`].
///
/// # Errors
/// Those of [`take_along_axis`]; [`Error::Shape`] if `out` has another shape. `out` is then as before.
///
/// ```
/// let mut out = [0.0; 2];
/// gradix::take_along_axis_into(&[4.0, 6.0, 5.0], 0, &[2, 0], &mut out)?;
/// assert_eq!(out, [5.0, 4.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn take_along_axis_into<'s, 'i, 'o, T: Float, I: Index>(
    src: impl Into<View<'s, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I>>,
    out: impl Into<ViewMut<'o, T>>,
) -> Result<()> {
    let src = src.into();
    let axis = src.axis(axis)?;
    gather(&src, axis, &idx.into(), true, out.into())
}

/// One element of each row: `src[range(m), labels]` of a matrix with `m` rows.
///
/// Indices, NaN, equality and cost are those of [`take`].
///
/// # Errors
/// [`Error::Rank`] if `src` is no matrix; [`Error::Shape`] if there are not `m` labels; [`Error::Index`] for the
/// first label out of bounds.
///
/// ```
/// use gradix::View;
/// let p = [0.7, 0.2, 0.1, 0.3, 0.3, 0.4];
/// assert_eq!(gradix::pick(View::new(&p, &[2, 3])?, &[0u8, 2])?, [0.7, 0.4]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn pick<'s, 'i, T: Float, I: Index>(
    src: impl Into<View<'s, T>>,
    labels: impl Into<Indices<'i, I>>,
) -> Result<Vec<T>> {
    let labels = labels.into();
    let mut out = zeros(labels.list.shape())?;
    pick_into(src, labels, &mut out)?;
    Ok(out)
}

/// As [`pick`], into `out` of length `m`.
///
/// Indices, NaN, equality and cost are those of [`take`].
///
/// # Errors
/// Those of [`pick`]; [`Error::Shape`] if `out` has another shape. `out` is then as before.
///
/// ```
/// use gradix::View;
/// let mut out = [0.0; 2];
/// gradix::pick_into(View::new(&[0.7, 0.3, 0.4, 0.6], &[2, 2])?, &[1, -1], &mut out)?;
/// assert_eq!(out, [0.3, 0.6]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn pick_into<'s, 'i, 'o, T: Float, I: Index>(
    src: impl Into<View<'s, T>>,
    labels: impl Into<Indices<'i, I>>,
    out: impl Into<ViewMut<'o, T>>,
) -> Result<()> {
    let (src, out) = (src.into(), out.into());
    let labels = as_column(src.shape(), labels.into())?;
    one_per_row("the output", src.shape()[0], out.shape())?;
    gather(&src, 1, &labels, true, out)
}

/// Refuses an array that has not one element for each of so many rows, in its own words rather than a column's.
pub(super) fn one_per_row(what: &'static str, rows: usize, got: &[usize]) -> Result<()> {
    if got == [rows] { Ok(()) } else { Err(Error::Shape { what, expected: vec![rows], got: got.to_vec() }) }
}

/// The labels of a matrix of this shape, one for each row, as a matrix of one column.
pub(super) fn as_column<'i, I>(matrix: &[usize], labels: Indices<'i, I>) -> Result<Indices<'i, I>> {
    let &[rows, _] = matrix else {
        return Err(Error::Rank { what: "the array", expected: "2 is needed", got: matrix.len() });
    };
    match labels.list.shape() {
        &[n] if n == rows => Ok(Indices { list: labels.list.with_axis_of_one()?, ..labels }),
        got => Err(Error::Shape { what: "the list of labels", expected: vec![rows], got: got.to_vec() }),
    }
}

/// The elements that a second thread should at least move.
const GRAIN: usize = 1 << 14;

/// The same where they are rows: less a second-level cache holds, table and all, and two threads take its lines from each other's
/// (twice the time for 1 MiB).
const GRAIN_OF_ROWS: usize = 1 << 18;

/// Tables up to this size are not prefetched: the second-level cache holds them, and the CPU hides its latency.
pub(super) const IN_CACHE: usize = 1 << 20;

/// How many indices ahead the elements of a larger table are asked for: 16 to 128 are alike.
pub(super) const AHEAD: usize = 32;

/// How many rows ahead, at most, and how many bytes of rows: 4 to 16 are alike. Longer rows the CPU foresees by itself.
const ROWS_AHEAD: usize = 16;
const BYTES_AHEAD: usize = 32 << 10;

/// From so many bytes on, rows are written past the caches: a third-level cache would hold no more of them.
const PAST_CACHES: usize = 32 << 20;

/// The shortest rows that are, in bytes.
const ROW_PAST_CACHES: usize = 128;

/// Fewer indices than this into each of many planes are taken column by column.
const FEW_COLUMNS: usize = 5;

/// So many planes at a time: with a line for each, a third of a first-level cache of 32 KiB.
const TILE: usize = 128;

/// [`take_into`] where all is dense, and so little that a plan would take longer than the elements; says whether it is that.
fn take_small<T: Float, I: Index>(
    src: &View<'_, T>,
    idx: &Indices<'_, I>,
    out: &mut ViewMut<'_, T>,
) -> Result<bool> {
    let fits = out.shape() == idx.list.shape() || out.shape() == [idx.list.len()];
    if !fits || out.len() >= 2 * GRAIN || src.len() >= IN_CACHE / size_of::<T>() {
        return Ok(false);
    }
    let (Some(table), Ok(out)) = (src.as_slice(), out.reborrow().into_slice()) else { return Ok(false) };
    let level = Level::current()?;
    let small = idx.prove(table.len(), level)?.bare().map(|list| Small { table, list, out });
    Ok(small.map(|small| T::dispatch(level, small)).is_some())
}

/// What [`take_small`] hands to a level.
struct Small<'a, T, I> {
    table: &'a [T],
    list: Proven<&'a [I]>,
    out: &'a mut [T],
}

impl<T: Float, I: Index> Kernel<T> for Small<'_, T, I> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        gather_dense(s, self.table, self.list, self.out, 0);
    }
}

/// All of the above but for a flattened source that no stride leads through.
fn gather<T: Float, I: Index>(
    src: &View<'_, T>,
    axis: usize,
    idx: &Indices<'_, I>,
    along: bool,
    mut out: ViewMut<'_, T>,
) -> Result<()> {
    let level = Level::current()?;
    let mut plan = Plan::new();
    plan.gather(src, axis, &idx.list, along, &out)?;
    let idx = idx.prove(src.shape()[axis], level)?;
    let shape = plan.shape();
    // Cut where whole planes go to one thread, if there are many; else along the longest axis.
    let axis = if shape[P] >= 64 { P } else { if shape[K] >= shape[M] { K } else { M } };
    let unit = shape.iter().product::<usize>() / shape[axis].max(1);
    // Few pieces, as each begins with a row that nobody has asked for ahead.
    let least = if shape[M] > 1 { GRAIN_OF_ROWS } else { GRAIN };
    let grain = (least / unit.max(1)).max(shape[axis] / (4 * parallel::threads()));
    let row = shape[M] * size_of::<T>();
    let past_caches = row >= ROW_PAST_CACHES && shape[K] * shape[P] >= PAST_CACHES / row && !simd::is_intel();
    for i in 0..plan.cubes() {
        let src = src.cube(&plan, TABLE, i);
        let in_cache = src.reach() < IN_CACHE;
        let (idx, out) = (idx.cube(&plan, i), out.cube(&plan, FLOW, i));
        let piece = Piece { src, idx, out, axis, in_cache, past_caches };
        parallel::for_each(piece, grain, |_, piece| T::dispatch(level, piece));
    }
    Ok(())
}

/// A cube to be gathered.
struct Piece<'a, T, I> {
    src: Cube<'a, T>,
    idx: Proven<Cube<'a, I>>,
    out: CubeMut<'a, T>,
    /// The axis to cut.
    axis: usize,
    /// Whether a cache may hold the source, before it was cut: a piece of a large one is not there for being small.
    in_cache: bool,
    /// Whether rows are written past the caches.
    past_caches: bool,
}

impl<T: Float, I: Index> Split for Piece<'_, T, I> {
    fn len(&self) -> usize {
        self.out.shape()[self.axis]
    }
    fn split_at(self, mid: usize) -> (Self, Self) {
        let Piece { src, idx, out, axis, in_cache, past_caches } = self;
        // Along the indexed axis the indices are cut, and each part may name all of the source.
        let src = if axis == K { (src, src) } else { src.split_at(axis, mid) };
        let (idx, out) = (idx.split_at(axis, mid), out.split_at(axis, mid));
        (
            Piece { src: src.0, idx: idx.0, out: out.0, axis, in_cache, past_caches },
            Piece { src: src.1, idx: idx.1, out: out.1, axis, in_cache, past_caches },
        )
    }
}

impl<T: Float, I: Index> Kernel<T> for Piece<'_, T, I> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Piece { src, idx, mut out, in_cache, past_caches, .. } = self;
        let [planes, len, width] = out.shape();
        if planes * len * width == 0 {
            return;
        }
        let [list_p, _, list_m] = idx.strides();
        let dense = src.strides()[M] == 1 && out.strides()[M] == 1;
        if width > 1 && list_m == 0 && dense {
            let ahead = if in_cache { 0 } else { rows_ahead::<T>(width) };
            let offsets = &mut Offsets::new(); // once for all widths: callers' stacks may be small
            match width {
                2 => rows(s, src, idx, &mut out, offsets, ahead, copy_exactly::<T, 2>),
                3 => rows(s, src, idx, &mut out, offsets, ahead, copy_overlapping::<T, 2>),
                4 => rows(s, src, idx, &mut out, offsets, ahead, copy_exactly::<T, 4>),
                5..8 => rows(s, src, idx, &mut out, offsets, ahead, copy_overlapping::<T, 4>),
                8 => rows(s, src, idx, &mut out, offsets, ahead, copy_exactly::<T, 8>),
                9..16 => rows(s, src, idx, &mut out, offsets, ahead, copy_overlapping::<T, 8>),
                16 => rows(s, src, idx, &mut out, offsets, ahead, copy_exactly::<T, 16>),
                17..32 => rows(s, src, idx, &mut out, offsets, ahead, copy_overlapping::<T, 16>),
                _ if past_caches => {
                    let streaming = Streaming::begin();
                    rows(
                        s,
                        src,
                        idx,
                        &mut out,
                        offsets,
                        ahead,
                        #[inline(always)]
                        |from, to| {
                            slices::map_past_caches(
                                s,
                                from,
                                to,
                                &streaming,
                                #[inline(always)]
                                |v| v,
                            )
                        },
                    );
                }
                32 => rows(s, src, idx, &mut out, offsets, ahead, copy_exactly::<T, 32>),
                33..64 => rows(s, src, idx, &mut out, offsets, ahead, copy_overlapping::<T, 32>),
                64 => rows(s, src, idx, &mut out, offsets, ahead, copy_exactly::<T, 64>),
                _ => rows(s, src, idx, &mut out, offsets, ahead, |from, to| to.copy_from_slice(from)),
            }
        } else if width == 1 && list_p == 0 && len < FEW_COLUMNS && planes >= TILE {
            few_columns(src, idx, &mut out)
        } else if width == 1 && list_p == 0 && planes > 1 && len <= Offsets::ROOM && out.strides()[K] == 1 {
            columns(s, src, idx, &mut out)
        } else {
            elements(s, src, idx, &mut out, in_cache)
        }
    }
}

/// How many rows ahead those of a table that no cache holds are asked for. None on Intel's CPUs, which go ahead of
/// themselves over rows: asking made those of 2 KiB a third slower (results/tried/gather.md).
pub(super) fn rows_ahead<T>(width: usize) -> usize {
    if simd::is_intel() { 0 } else { ROWS_AHEAD.min(BYTES_AHEAD / (width * size_of::<T>())) }
}

/// Rows: one index names a run of neighbours, which `copy` copies.
#[inline(always)]
fn rows<T: Float, I: Index, S: Simd<T>>(
    s: S,
    src: Cube<'_, T>,
    idx: Proven<Cube<'_, I>>,
    out: &mut CubeMut<'_, T>,
    offsets: &mut Offsets,
    ahead: usize,
    copy: impl Fn(&[T], &mut [T]),
) {
    let [planes, len, _] = out.shape();
    for p in 0..planes {
        let (list, Some(from), Some(mut to)) = (idx.lane(K, [p, 0, 0]), src.rows(p), out.rows(p)) else {
            return;
        };
        for (first, taken, seen) in blocks(len, ahead) {
            list.fill(first, seen, offsets);
            let offsets = offsets.below(src.shape()[K]);
            for (k, &o) in offsets[..taken].iter().enumerate() {
                if ahead > 0 && k + ahead < seen {
                    from.ask(s, offsets[k + ahead]);
                }
                copy(from.row(o), to.row(first + k));
            }
        }
    }
}

/// How a run of `len` is cut into blocks that look some indices ahead: where each starts, how many indices it takes,
/// and how many it sees. (Without a division, which `step_by` makes, and which short runs feel.)
#[inline(always)]
pub(super) fn blocks(len: usize, ahead: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let step = Offsets::ROOM - ahead;
    let firsts =
        std::iter::successors(Some(0), move |first| Some(first + step)).take_while(move |&first| first < len);
    firsts.map(move |first| (first, step.min(len - first), Offsets::ROOM.min(len - first)))
}

#[inline(always)]
fn copy_exactly<T: Float, const W: usize>(from: &[T], to: &mut [T]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<W>(), to.first_chunk_mut::<W>()) {
        *to = *from;
    }
}

/// A width between `W` and `2 * W`: the first `W` and the last.
#[inline(always)]
fn copy_overlapping<T: Float, const W: usize>(from: &[T], to: &mut [T]) {
    copy_exactly::<T, W>(from, to);
    if let (Some(from), Some(to)) = (from.last_chunk::<W>(), to.last_chunk_mut::<W>()) {
        *to = *from;
    }
}

/// Columns of many planes, as few as fit one block: their list is read once.
#[inline(always)]
fn columns<T: Float, I: Index, S: Simd<T>>(
    s: S,
    src: Cube<'_, T>,
    idx: Proven<Cube<'_, I>>,
    out: &mut CubeMut<'_, T>,
) {
    let [planes, len, _] = out.shape();
    let mut offsets = Offsets::new();
    idx.lane(K, [0; 3]).fill(0, len, &mut offsets);
    for p in 0..planes {
        if let Some(to) = out.lane(K, [p, 0, 0]).as_slice_mut() {
            src.plane(K, [p, 0, 0]).gather(s, 0, &offsets, 0, &[], to);
        }
    }
}

/// Few columns of many planes: column by column, in tiles of planes whose lines stay in L1 meanwhile.
#[inline(always)]
fn few_columns<T: Float, I: Index>(src: Cube<'_, T>, idx: Proven<Cube<'_, I>>, out: &mut CubeMut<'_, T>) {
    let [planes, len, _] = out.shape();
    let mut offsets = Offsets::new();
    idx.lane(K, [0; 3]).fill(0, len, &mut offsets);
    for first in (0..planes).step_by(TILE) {
        let planes = TILE.min(planes - first);
        for (k, &o) in offsets.below(src.shape()[K]).iter().enumerate() {
            out.lane(P, [first, k, 0]).copy_from_lane(src.lane(P, [first, o, 0]), planes);
        }
    }
}

/// Elements one by one.
#[inline(always)]
fn elements<T: Float, I: Index, S: Simd<T>>(
    s: S,
    src: Cube<'_, T>,
    idx: Proven<Cube<'_, I>>,
    out: &mut CubeMut<'_, T>,
    in_cache: bool,
) {
    let shape = out.shape();
    let axis = run_axis(shape, out.strides());
    let [a, b] = [[K, M], [P, M], [P, K]][axis];
    let len = shape[axis];
    // Many indices into each of many rows name nearly every line: ask for the next row's, one after the other. Short
    // rows the CPU foresees by itself. Otherwise ask for each element.
    let all_lines = axis == K && src.strides()[K] == 1 && shape[P] > 1 && len * T::LANES >= src.shape()[K];
    let next_row = all_lines && !in_cache && src.shape()[K] >= 64 * T::LANES;
    let ahead = if in_cache || all_lines { 0 } else { AHEAD };
    let mut offsets = None;
    for i in 0..shape[a] {
        for j in 0..shape[b] {
            let mut at = [0; 3];
            (at[a], at[b]) = (i, j);
            let (plane, list) = (src.plane(axis, [at[P], 0, at[M]]), idx.lane(axis, at));
            let mut lane = out.lane(axis, at);
            if !next_row && let (Some(list), Some(out)) = (list.bare(), lane.as_slice_mut()) {
                plane.gather_bare(s, list, out, ahead);
                continue;
            }
            let offsets = offsets.get_or_insert_with(Offsets::new);
            for (first, taken, seen) in blocks(len, ahead) {
                list.fill(first, seen, offsets);
                let mut meanwhile: &[T::Block] = &[];
                if next_row
                    && at[P] + 1 < shape[P]
                    && let Some(row) = src.lane(K, [at[P] + 1, 0, at[M]]).as_slice()
                {
                    let (row, _) = T::blocks(row);
                    meanwhile = &row[row.len() * first / len..row.len() * (first + taken) / len];
                }
                match lane.as_slice_mut() {
                    Some(out) => {
                        plane.gather(s, first, offsets, ahead, meanwhile, &mut out[first..first + taken])
                    }
                    None => {
                        let mut block = [T::ZERO; Offsets::ROOM];
                        plane.gather(s, first, offsets, ahead, meanwhile, &mut block[..taken]);
                        lane.copy_from(first, &block[..taken]);
                    }
                }
            }
        }
    }
}

/// The axis along which to go element by element: where the flow's elements are nearest to each other, as long as it
/// is worth a run; else the longest.
pub(super) fn run_axis(shape: [usize; 3], strides: [isize; 3]) -> usize {
    let worth = |&axis: &usize| shape[axis] >= 16;
    let nearest = (0..3).filter(worth).min_by_key(|&axis| strides[axis].unsigned_abs());
    nearest.unwrap_or_else(|| (0..3).max_by_key(|&axis| shape[axis]).unwrap_or(K))
}

/// `take` from an array that no stride leads through in C order: the place of each element by a division.
fn take_scattered<T: Float, I: Index>(
    src: View<'_, T>,
    idx: Indices<'_, I>,
    mut out: ViewMut<'_, T>,
) -> Result<()> {
    let level = Level::current()?;
    let places = vec![(); src.len()]; // no memory: as many places as the source has elements
    let mut plan = Plan::new();
    plan.gather(&View::from(&places), 0, &idx.list, false, &out)?;
    let idx = idx.prove(src.len(), level)?;
    let lanes = src.lanes(src.rank() - 1); // an array of rank 0 is flat
    let mut offsets = Offsets::new();
    for i in 0..plan.cubes() {
        let (list, mut out) = (idx.cube(&plan, i).lane(K, [0; 3]), out.cube(&plan, FLOW, i));
        let (len, mut out) = (out.shape()[K], out.lane(K, [0; 3]));
        for first in (0..len).step_by(Offsets::ROOM) {
            list.fill(first, Offsets::ROOM.min(len - first), &mut offsets);
            for (k, &o) in offsets.below(src.len()).iter().enumerate() {
                out.set(first + k, lanes.lane(o / lanes.lane_len()).get(o % lanes.lane_len()));
            }
        }
    }
    Ok(())
}
