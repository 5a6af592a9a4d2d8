//! Scatter: adding to the elements that a list of indices names. The gradient of each form of [gather](crate::take).
//!
//! ```text
//! scatter_add              dst[idx[k]]           += src[k]             dst flattened in C order
//! scatter_add_axis         dst[p, idx[k], m]     += src[p, k, m]
//! scatter_add_along_axis   dst[p, idx[p,k,m], m] += src[p, k, m]
//! pick_add                 dst[p, idx[p]]        += x
//! ```
//!
//! Each has a form that ends in `_scaled` and takes a factor `a` last: it adds `a · src`, rounded before it is added,
//! which is what a step of SGD on an embedding does with `a` = −(learning rate).
//!
//! What they share is told at [`scatter_add`].

use super::gather::{AHEAD, IN_CACHE, as_column, blocks, one_per_row, rows_ahead, run_axis};
use crate::array::cube::{Cube, CubeMut, FLOW, K, M, P, Plan, TABLE, scatter_dense};
use crate::array::{Lane, View, ViewMut};
use crate::error::Result;
use crate::index::{Index, Indices, Offsets, Proven};
use crate::parallel::{self, Split};
use crate::simd::{self, Float, Kernel, Level, Simd};

/// `dst[idx[k]] += src[k]`, `dst` flattened in C order: `np.add.at(dst, idx, src)`. `src` has the shape of `idx`, or
/// is flat with as many elements.
///
/// # What all scatters share
///
/// *Indices* are those of [`take`](crate::take), and may repeat: what belongs to one element is added in the order of
/// the indices.
///
/// *NaN* and infinities are added as IEEE 754 has it; an element that no index names is not touched.
///
/// *Equality class*: the bits of [`reference`](crate::reference) at every level, for any strides and any number of
/// threads. The `_scaled` forms round `a · src` before they add it.
///
/// *Cost*: one pass over the indices to check them all; then `src` is read once, and each named element read and
/// written once for each index that names it, in place whatever the strides. Threads share the work by destination,
/// hence without atomics and without a copy of it; where all of them need all indices, each reads them.
///
/// *Errors* come before the first addition. Beside its own, each function has [`Error::Level`](crate::Error::Level) if
/// `GRADIX_LEVEL` names none.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if `src` has another shape; [`Error::Index`](crate::Error::Index) for the
/// first index out of bounds.
///
/// ```
/// let mut dst = [0.0; 3];
/// gradix::scatter_add(&mut dst, &[2, 0, 2], &[1.0, 10.0, 100.0])?;
/// assert_eq!(dst, [10.0, 0.0, 101.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn scatter_add<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    idx: impl Into<Indices<'i, I>>,
    src: impl Into<View<'s, T>>,
) -> Result<()> {
    scatter_add_scaled(dst, idx, src, T::ONE)
}

/// `dst[idx[k]] += a · src[k]`, otherwise as [`scatter_add`].
///
/// Indices, NaN, equality and cost are those of [`scatter_add`].
///
/// # Errors
/// Those of [`scatter_add`].
///
/// ```
/// let mut dst = [1.0, 1.0];
/// gradix::scatter_add_scaled(&mut dst, &[0, 0], &[1.0, 2.0], -0.5)?;
/// assert_eq!(dst, [-0.5, 1.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn scatter_add_scaled<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    idx: impl Into<Indices<'i, I>>,
    src: impl Into<View<'s, T>>,
    a: T,
) -> Result<()> {
    let (mut dst, idx, src) = (dst.into(), idx.into(), src.into());
    if scatter_small(&mut dst, &idx, &src, a)? {
        return Ok(());
    }
    match dst.flattened() {
        Ok(dst) => scatter(dst, 0, &idx, false, &src, a),
        Err(dst) => scatter_scattered(dst, idx, src, a),
    }
}

/// `dst[.., idx[k], ..] += src[.., k, ..]` with the index on `axis`: torch's `index_add_`. `src` has the shape of
/// `dst` with `axis` replaced by the shape of `idx`, or is flat with as many elements.
///
/// Indices, NaN, equality and cost are those of [`scatter_add`].
///
/// # Errors
/// [`Error::Axis`](crate::Error::Axis), [`Error::Shape`](crate::Error::Shape) if `src` has another shape,
/// [`Error::Index`](crate::Error::Index) for the first index out of bounds.
///
/// ```
/// use gradix::{View, ViewMut};
/// let mut table = [0.0; 4];
/// let rows = [1.0, 2.0, 10.0, 20.0];
/// gradix::scatter_add_axis(ViewMut::new(&mut table, &[2, 2])?, 0, &[1, 1], View::new(&rows, &[2, 2])?)?;
/// assert_eq!(table, [0.0, 0.0, 11.0, 22.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn scatter_add_axis<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I>>,
    src: impl Into<View<'s, T>>,
) -> Result<()> {
    scatter_add_axis_scaled(dst, axis, idx, src, T::ONE)
}

/// `dst[.., idx[k], ..] += a · src[.., k, ..]`, otherwise as [`scatter_add_axis`]: a step of SGD on the rows of an
/// embedding, with `a` the negative learning rate.
///
/// Indices, NaN, equality and cost are those of [`scatter_add`].
///
/// # Errors
/// Those of [`scatter_add_axis`].
///
/// ```
/// use gradix::{View, ViewMut};
/// let mut embedding = [1.0, 1.0, 1.0, 1.0];
/// let grad = [0.5, 1.0];
/// let (table, grad) = (ViewMut::new(&mut embedding, &[2, 2])?, View::new(&grad, &[1, 2])?);
/// gradix::scatter_add_axis_scaled(table, 0, &[1], grad, -0.1)?;
/// assert_eq!(embedding, [1.0, 1.0, 0.95, 0.9]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn scatter_add_axis_scaled<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I>>,
    src: impl Into<View<'s, T>>,
    a: T,
) -> Result<()> {
    let dst = dst.into();
    let axis = dst.axis(axis)?;
    scatter(dst, axis, &idx.into(), false, &src.into(), a)
}

/// For each place of `idx`, adds the element of `src` there to that of `dst` at the same place but for `axis`, where
/// `idx` says which: torch's `scatter_add_`. `idx` has the shape of `dst` on all other axes, and `src` that of `idx`
/// (or is flat with as many elements).
///
/// Indices, NaN, equality and cost are those of [`scatter_add`].
///
/// # Errors
/// [`Error::Axis`](crate::Error::Axis), [`Error::Shape`](crate::Error::Shape) if the shapes do not fit,
/// [`Error::Index`](crate::Error::Index) for the first index out of bounds.
///
/// ```
/// use gradix::{View, ViewMut};
/// let mut dst = [0.0; 4];
/// let idx = [1, 1, 0, 1, 0, 0];
/// let src = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let table = ViewMut::new(&mut dst, &[2, 2])?;
/// gradix::scatter_add_along_axis(table, 1, View::new(&idx, &[2, 3])?, View::new(&src, &[2, 3])?)?;
/// assert_eq!(dst, [3.0, 3.0, 11.0, 4.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn scatter_add_along_axis<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I>>,
    src: impl Into<View<'s, T>>,
) -> Result<()> {
    scatter_add_along_axis_scaled(dst, axis, idx, src, T::ONE)
}

/// Adds `a · src`, otherwise as [`scatter_add_along_axis`].
///
/// Indices, NaN, equality and cost are those of [`scatter_add`].
///
/// # Errors
/// Those of [`scatter_add_along_axis`].
///
/// ```
/// let mut dst = [0.0; 2];
/// gradix::scatter_add_along_axis_scaled(&mut dst, 0, &[1, 1, 0], &[1.0, 2.0, 3.0], 2.0)?;
/// assert_eq!(dst, [6.0, 6.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn scatter_add_along_axis_scaled<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I>>,
    src: impl Into<View<'s, T>>,
    a: T,
) -> Result<()> {
    let dst = dst.into();
    let axis = dst.axis(axis)?;
    scatter(dst, axis, &idx.into(), true, &src.into(), a)
}

/// Adds `x` to one element of each row: `dst[range(m), labels] += x` for a matrix with `m` rows.
///
/// Indices, NaN, equality and cost are those of [`scatter_add`].
///
/// # Errors
/// [`Error::Rank`](crate::Error::Rank) if `dst` is no matrix; [`Error::Shape`](crate::Error::Shape) if there are not
/// `m` labels; [`Error::Index`](crate::Error::Index) for the first label out of bounds.
///
/// ```
/// use gradix::ViewMut;
/// let mut p = [0.7, 0.2, 0.1, 0.3, 0.3, 0.4];
/// gradix::pick_add(ViewMut::new(&mut p, &[2, 3])?, &[0, 2], -1.0)?; // p[range(m), y] -= 1
/// assert_eq!(p, [0.7 - 1.0, 0.2, 0.1, 0.3, 0.3, 0.4 - 1.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn pick_add<'d, 'i, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    labels: impl Into<Indices<'i, I>>,
    x: T,
) -> Result<()> {
    let dst = dst.into();
    let one_for_all = dst.shape().first().map_or(1, |&rows| rows);
    pick_add_scaled(dst, labels, View::strided(&[x], &[one_for_all], &[0], 0)?, T::ONE)
}

/// Adds `a · src[p]` to one element of each row p: `dst[range(m), labels] += a * src`, the gradient of
/// [`pick`](crate::pick).
///
/// Indices, NaN, equality and cost are those of [`scatter_add`].
///
/// # Errors
/// Those of [`pick_add`]; [`Error::Shape`](crate::Error::Shape) if `src` has not `m` elements.
///
/// ```
/// use gradix::ViewMut;
/// let mut grad = [0.0; 4];
/// gradix::pick_add_scaled(ViewMut::new(&mut grad, &[2, 2])?, &[1, 0], &[3.0, 4.0], 0.5)?;
/// assert_eq!(grad, [0.0, 1.5, 2.0, 0.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn pick_add_scaled<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    labels: impl Into<Indices<'i, I>>,
    src: impl Into<View<'s, T>>,
    a: T,
) -> Result<()> {
    let (dst, src) = (dst.into(), src.into());
    let labels = as_column(dst.shape(), labels.into())?;
    one_per_row("the source", dst.shape()[0], src.shape())?;
    scatter(dst, 1, &labels, true, &src, a)
}

/// The elements that a second thread should at least add.
const GRAIN: usize = 1 << 14;

/// Fewer single elements than this are not worth a second thread's going through all indices: 65,536 of them took
/// twice the time.
const FOR_A_SHARE: usize = 1 << 18;

/// Nor are single elements of a destination below this size, in bytes, where to add costs less than to go through the
/// indices. Above it two threads gain on Intel's CPUs (1.2 to 1.7 times); on a Zen 4 one that asks ahead is as quick (0.8 to 0.9),
/// so that only three share.
const SHARED: usize = 12 << 20;

/// The places of a row that one thread should at least have to itself, so that two seldom want the same line.
const STRETCH: usize = 512;

/// Where threads share a destination, how many of its places are looked at to divide it evenly.
const SAMPLE: usize = 256;

/// [`scatter_add_scaled`] where all is dense, and so little that a plan would take longer than the elements; says whether it
/// is that.
fn scatter_small<T: Float, I: Index>(
    dst: &mut ViewMut<'_, T>,
    idx: &Indices<'_, I>,
    src: &View<'_, T>,
    a: T,
) -> Result<bool> {
    let fits = src.shape() == idx.list.shape() || src.shape() == [idx.list.len()];
    if !fits || src.len() >= 2 * GRAIN || dst.len() >= IN_CACHE / size_of::<T>() {
        return Ok(false);
    }
    let (Ok(table), Some(from)) = (dst.reborrow().into_slice(), src.as_slice()) else { return Ok(false) };
    let level = Level::current()?;
    let small = idx.prove(table.len(), level)?.bare().map(|list| Small { table, list, from, a });
    Ok(small.map(|small| T::dispatch(level, small)).is_some())
}

/// What [`scatter_small`] hands to a level.
struct Small<'a, T, I> {
    table: &'a mut [T],
    list: Proven<&'a [I]>,
    from: &'a [T],
    a: T,
}

impl<T: Float, I: Index> Kernel<T> for Small<'_, T, I> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        scatter_dense(s, self.table, self.list, self.from, self.a, 0);
    }
}

/// All of the above but for a flattened destination that no stride leads through.
fn scatter<T: Float, I: Index>(
    mut dst: ViewMut<'_, T>,
    axis: usize,
    idx: &Indices<'_, I>,
    along: bool,
    src: &View<'_, T>,
    a: T,
) -> Result<()> {
    let level = Level::current()?;
    let mut plan = Plan::new();
    plan.scatter(&dst, axis, &idx.list, along, src)?;
    let idx = idx.prove(dst.shape()[axis], level)?;
    let [planes, len, width] = plan.shape();
    for i in 0..plan.cubes() {
        let (dst, src) = (dst.cube(&plan, TABLE, i), src.cube(&plan, FLOW, i));
        let (piece, pieces) =
            (Piece { dst, idx: idx.cube(&plan, i), src, a, first: 0, all: true }, parallel::threads());
        if pieces < 2 || planes * len * width < 2 * GRAIN {
            T::dispatch(level, piece);
        } else if planes >= 2 * pieces {
            let grain = GRAIN.div_ceil(len * width);
            parallel::for_each(Cut { piece, axis: P }, grain, |_, cut| T::dispatch(level, cut.piece));
        } else if width >= GRAIN || width >= 2 * STRETCH && piece.idx.strides()[M] != 0 {
            let grain = (GRAIN / len).max(STRETCH);
            parallel::for_each(Cut { piece, axis: M }, grain, |_, cut| T::dispatch(level, cut.piece));
        } else if !is_shared(piece.dst.as_cube().reach(), len, width, pieces) {
            T::dispatch(level, piece);
        } else {
            let pieces = piece.by_destination(pieces.min(planes * len * width / GRAIN));
            parallel::for_each(pieces, 1, |_, pieces| {
                pieces.into_iter().for_each(|piece| T::dispatch(level, piece))
            });
        }
    }
    Ok(())
}

/// Whether so many threads should share a destination of so many bytes by its places.
fn is_shared(bytes: usize, len: usize, width: usize, threads: usize) -> bool {
    match width {
        1 => bytes >= SHARED && len >= FOR_A_SHARE && (threads > 2 || simd::is_intel()),
        _ => bytes >= IN_CACHE,
    }
}

/// A cube to be added to, or its places from `first` on.
struct Piece<'a, T, I> {
    dst: CubeMut<'a, T>,
    idx: Proven<Cube<'a, I>>,
    src: Cube<'a, T>,
    /// What the source is multiplied by.
    a: T,
    first: usize,
    /// Whether that is all places, so that no index belongs to another piece.
    all: bool,
}

/// A piece to be cut along an axis on which no two indices share a place.
struct Cut<'a, T, I> {
    piece: Piece<'a, T, I>,
    axis: usize,
}

impl<T: Float, I: Index> Split for Cut<'_, T, I> {
    fn len(&self) -> usize {
        self.piece.src.shape()[self.axis]
    }
    fn split_at(self, mid: usize) -> (Self, Self) {
        let Cut { piece: Piece { dst, idx, src, a, first, all }, axis } = self;
        let (dst, idx, src) = (dst.split_at(axis, mid), idx.split_at(axis, mid), src.split_at(axis, mid));
        let cut = |dst, idx, src| Cut { piece: Piece { dst, idx, src, a, first, all }, axis };
        (cut(dst.0, idx.0, src.0), cut(dst.1, idx.1, src.1))
    }
}

impl<'a, T: Float, I: Index> Piece<'a, T, I> {
    /// Cuts the destination where its places are named about equally often before and after, as far as a sample shows.
    /// Every piece goes through all indices and adds what is its own, so where the cuts are does not show in the sums.
    fn by_destination(self, pieces: usize) -> Vec<Self> {
        let len = self.src.shape()[K];
        let (list, mut sample) = (self.idx.lane(K, [0; 3]), Vec::with_capacity(SAMPLE));
        let mut offset = Offsets::new();
        for i in 0..SAMPLE.min(len) {
            list.fill(i * (len / SAMPLE.min(len)), 1, &mut offset);
            sample.extend_from_slice(offset.below(self.dst.shape()[K]));
        }
        sample.sort_unstable();
        let (mut done, mut rest) = (Vec::with_capacity(pieces), self);
        for i in 1..pieces {
            let cut = sample[i * sample.len() / pieces];
            if cut > rest.first {
                let (dst, beyond) = rest.dst.split_at(K, cut - rest.first);
                done.push(Piece { dst, all: false, ..rest });
                rest = Piece { dst: beyond, first: cut, all: false, ..rest };
            }
        }
        done.push(rest);
        done
    }
}

/// The offsets that a block of indices names, those of them that are the piece's own, and which these were: once for all forms
/// of the kernel, whose callers' stacks may be small.
struct Lists {
    seen: Offsets,
    own: Offsets,
    kept: [u8; Offsets::ROOM],
}

impl<T: Float, I: Index> Kernel<T> for Piece<'_, T, I> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let [planes, len, width] = self.src.shape();
        if planes * len * width == 0 {
            return;
        }
        let dense = self.src.strides()[M] == 1 && self.dst.strides()[M] == 1;
        let lists = &mut Lists { seen: Offsets::new(), own: Offsets::new(), kept: [0; Offsets::ROOM] };
        if width > 1 && self.idx.strides()[M] == 0 && dense {
            let a = self.a;
            match width {
                2 => rows(s, self, lists, |from, to| add_exactly::<T, 2>(from, to, a)),
                4 => rows(s, self, lists, |from, to| add_exactly::<T, 4>(from, to, a)),
                8 if T::LANES > 8 => rows(s, self, lists, |from, to| add_exactly::<T, 8>(from, to, a)),
                _ => rows(s, self, lists, |from, to| add(s, from, to, a)),
            }
        } else if self.all {
            elements(s, self, lists)
        } else {
            own_elements(self, lists)
        }
    }
}

/// Rows: one index names a run of neighbours, to which `add` adds.
#[inline(always)]
fn rows<T: Float, I: Index, S: Simd<T>>(
    s: S,
    piece: Piece<'_, T, I>,
    lists: &mut Lists,
    add: impl Fn(&[T], &mut [T]),
) {
    let Piece { mut dst, idx, src, first: first_place, all, .. } = piece;
    let ([planes, len, width], places) = (src.shape(), dst.shape()[K]);
    let ahead = if dst.as_cube().reach() < IN_CACHE { 0 } else { rows_ahead::<T>(width) };
    let Lists { seen, own, kept } = lists;
    for p in 0..planes {
        let (list, Some(from), Some(mut to)) = (idx.lane(K, [p, 0, 0]), src.rows(p), dst.rows(p)) else {
            return;
        };
        for (first, taken, looked_at) in blocks(len, if all { ahead } else { 0 }) {
            if all {
                list.fill(first, looked_at, own);
            } else {
                list.fill(first, taken, seen);
                own.keep(seen, first_place..first_place + places, kept);
            }
            let own = own.below(places);
            for (k, &o) in own.iter().enumerate().take(taken) {
                if ahead > 0 && k + ahead < own.len() {
                    to.as_rows().ask(s, own[k + ahead]);
                    // Where other threads have some of the rows, no CPU foresees which come next.
                    if !all {
                        from.ask(s, first + kept[k + ahead] as usize);
                    }
                }
                add(from.row(first + if all { k } else { kept[k] as usize }), to.row(o));
            }
        }
    }
}

#[inline(always)]
fn add_exactly<T: Float, const W: usize>(from: &[T], to: &mut [T], a: T) {
    if let (Some(from), Some(to)) = (from.first_chunk::<W>(), to.first_chunk_mut::<W>()) {
        *to = std::array::from_fn(|j| to[j] + a * from[j]);
    }
}

/// `to += a · from`, rounded twice.
#[inline(always)]
fn add<T: Float, S: Simd<T>>(s: S, from: &[T], to: &mut [T], a: T) {
    let ((from, from_rest), (to, to_rest)) = (T::blocks(from), T::blocks_mut(to));
    let factor = s.splat(a);
    for (from, to) in from.iter().zip(to) {
        s.store(s.add(s.load(to), s.mul(factor, s.load(from))), to);
    }
    for (from, to) in from_rest.iter().zip(to_rest) {
        *to += a * *from;
    }
}

/// Elements one by one. Whatever the axis of the runs, what shares a place comes in the order of the indices: they
/// are the innermost loop but for the run itself.
#[inline(always)]
fn elements<T: Float, I: Index, S: Simd<T>>(s: S, piece: Piece<'_, T, I>, lists: &mut Lists) {
    let Piece { mut dst, idx, src, a, .. } = piece;
    let shape = src.shape();
    let axis = run_axis(shape, src.strides());
    let [outer, inner] = [[M, K], [P, M], [P, K]][axis];
    // On Intel's CPUs, with caches as large, asking ahead took longer (results/tried/scatter.md).
    let ahead = if dst.as_cube().reach() < IN_CACHE || simd::is_intel() { 0 } else { AHEAD };
    let offsets = &mut lists.own;
    for i in 0..shape[outer] {
        for j in 0..shape[inner] {
            let mut at = [0; 3];
            (at[outer], at[inner]) = (i, j);
            let (lane, list) = (src.lane(axis, at), idx.lane(axis, at));
            let mut plane = dst.plane(axis, [at[P], 0, at[M]]);
            if let (Some(table), Some(list), Some(from)) =
                (plane.as_slice_mut(), list.bare(), lane.as_slice())
            {
                scatter_dense(s, table, list, from, a, ahead);
                continue;
            }
            for (first, taken, _) in blocks(shape[axis], 0) {
                list.fill(first, taken, offsets);
                let mut block = None;
                plane.scatter(first, offsets, dense(lane, first, taken, &mut block), a);
            }
        }
    }
}

/// As `elements`, along the indices, for a piece that has but some of the places.
#[inline(always)]
fn own_elements<T: Float, I: Index>(piece: Piece<'_, T, I>, lists: &mut Lists) {
    let Piece { mut dst, idx, src, a, first: first_place, .. } = piece;
    let ([planes, len, width], places) = (src.shape(), dst.shape()[K]);
    let Lists { seen, own, kept } = lists;
    let mut block = [T::ZERO; Offsets::ROOM];
    for p in 0..planes {
        for m in 0..width {
            let (lane, list) = (src.lane(K, [p, 0, m]), idx.lane(K, [p, 0, m]));
            let mut plane = dst.plane(K, [p, 0, m]);
            for (first, taken, _) in blocks(len, 0) {
                list.fill(first, taken, seen);
                own.keep(seen, first_place..first_place + places, kept);
                let block = &mut block[..own.below(places).len()];
                let mut copied = None;
                let from = dense(lane, first, taken, &mut copied);
                block.iter_mut().zip(&*kept).for_each(|(x, &k)| *x = from[k as usize]);
                plane.scatter(first, own, block, a);
            }
        }
    }
}

/// A block of a lane: where it stands, if it is dense, else copied.
#[inline(always)]
fn dense<'b, T: Float>(
    lane: Lane<'b, T>,
    first: usize,
    len: usize,
    block: &'b mut Option<[T; Offsets::ROOM]>,
) -> &'b [T] {
    match lane.as_slice() {
        Some(slice) => &slice[first..first + len],
        None => {
            let block = &mut block.insert([T::ZERO; Offsets::ROOM])[..len];
            lane.copy_to(first, block);
            block
        }
    }
}

/// `scatter_add` to an array that no stride leads through in C order: the place of each element by a division.
fn scatter_scattered<T: Float, I: Index>(
    dst: ViewMut<'_, T>,
    idx: Indices<'_, I>,
    src: View<'_, T>,
    a: T,
) -> Result<()> {
    let level = Level::current()?;
    let mut places = vec![(); dst.len()]; // no memory: as many places as the destination has elements
    let places = ViewMut::from(&mut places);
    let mut plan = Plan::new();
    plan.scatter(&places, 0, &idx.list, false, &src)?;
    let idx = idx.prove(dst.len(), level)?;
    let (bound, axis) = (dst.len(), dst.rank() - 1); // an array of rank 0 is flat
    let mut lanes = dst.into_lanes(axis);
    let width = lanes.lane_len();
    let mut offsets = Offsets::new();
    for i in 0..plan.cubes() {
        let (list, src) = (idx.cube(&plan, i).lane(K, [0; 3]), src.cube(&plan, FLOW, i));
        let (len, src) = (src.shape()[K], src.lane(K, [0; 3]));
        for first in (0..len).step_by(Offsets::ROOM) {
            list.fill(first, Offsets::ROOM.min(len - first), &mut offsets);
            for (k, &o) in offsets.below(bound).iter().enumerate() {
                let mut lane = lanes.lane(o / width);
                let sum = lane.as_lane().get(o % width) + a * src.get(first + k);
                lane.set(o % width, sum);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Public functions share single elements only where there are three threads, or on Intel's CPUs.
    #[test]
    fn single_elements_are_shared_by_their_places() {
        let (places, len) = (5_000, 20_000);
        let idx: Vec<u32> = (0..len).map(|k| k * 7919 % if k % 3 == 0 { 9 } else { places }).collect();
        let src: Vec<f32> = (0..len).map(|k| 1.0 / (k + 1) as f32).collect();
        let mut alone = vec![1.0f32; places as usize];
        scatter_add_scaled(&mut alone, &idx, &src, -0.3).expect("indices in bounds");
        for &level in Level::available() {
            for pieces in [2, 3, 7] {
                let mut shared = vec![1.0f32; places as usize];
                let (mut dst, src) = (ViewMut::from(&mut shared), View::from(&src));
                let idx = Indices::from(&idx);
                let mut plan = Plan::new();
                plan.scatter(&dst, 0, &idx.list, false, &src).expect("shapes that fit");
                let idx = idx.prove(places as usize, level).expect("indices in bounds").cube(&plan, 0);
                let (dst, src) = (dst.cube(&plan, TABLE, 0), src.cube(&plan, FLOW, 0));
                let cut = Piece { dst, idx, src, a: -0.3, first: 0, all: true }.by_destination(pieces);
                assert!(cut.len() > 1);
                cut.into_iter().for_each(|piece| f32::dispatch(level, piece));
                assert!(shared == alone, "{level} {pieces}");
            }
        }
    }
}
