//! Scatter: `table[list] += a · flow`, or `table[list] = flow`.

use super::gather::{PREFETCH_ROWS_FROM, exactly, rows_ahead, twice, with_block};
use super::plan::{Form, Job, Short, are_rows, as_column, run_axis};
use crate::array::{
    Erased3, Erased3Mut, ErasedView, ErasedViewMut, FLOW, Grid, K, LIST, M, P, Plan, Prefetch, Strided3,
    Strided3Mut, TABLE, Update, Word, scatter_runs,
};
use crate::error::Result;
use crate::index::ErasedIndices;
use crate::index::checked::{BLOCK, List, Words, checked_block};
use crate::parallel;
use crate::simd::{self, Float, Kernel, Level, Simd};

/// A scatter, checked and cut into pieces.
pub(super) type Scatter<'a> = Job<'a, Erased3Mut<'a>, Erased3<'a>>;

/// What is done with an element of the table and the one that is meant for it.
#[derive(Clone, Copy)]
pub(super) enum Op {
    /// `+= a · x`, the product rounded before it is added.
    AddF32(f32),
    /// The same.
    AddF64(f64),
    /// `= x`
    Put,
}

#[derive(Clone, Copy)]
struct Add<T>(T);

impl<T: Float> Update<T> for Add<T> {
    #[inline(always)]
    fn update(self, to: &mut T, from: T) {
        *to += self.0 * from;
    }
}

#[derive(Clone, Copy)]
struct Put;

impl<T: Word> Update<T> for Put {
    #[inline(always)]
    fn update(self, to: &mut T, from: T) {
        *to = from;
    }
}

/// The elements that a second thread should at least add.
const GRAIN: usize = 1 << 14;

/// Fewer single elements than this are not worth a second thread's going through all indices: 65,536 of them took
/// twice the time.
const FOR_A_SHARE: usize = 1 << 18;

/// Nor are single elements of a destination below this size, in bytes, where to add costs less than to go through the
/// indices. Above it two threads gain on Intel's CPUs (1.2 to 1.7 times); on a Zen 4 one that prefetches is as quick (0.8 to
/// 0.9), so that only three share.
const SHARED: usize = 12 << 20;

/// Bytes of a destination from which on threads share it by its rows: no second-level cache of 1 MiB holds it.
const SHARED_ROWS: usize = 1 << 20;

/// Minimum columns per thread, to avoid false sharing.
const COLUMNS: usize = 512;

/// Where threads share a destination, how many of its places are looked at to divide it evenly.
const SAMPLE: usize = 256;

/// Bytes of a destination from which on single elements are prefetched, twice a second-level cache of 1 MiB, and how many
/// indices ahead.
const PREFETCH_FROM: usize = 2 << 20;
const DISTANCE: usize = 64;

/// The short way. See [`super::plan`].
#[inline(never)]
pub(super) fn short(short: Short<'_, Erased3Mut<'_>, Erased3<'_>>, op: Op) -> Result<()> {
    let level = Level::current()?;
    run(short.checked(level)?, op, level);
    Ok(())
}

/// The long way.
#[cold]
#[inline(never)]
pub(super) fn long(
    form: Form,
    dst: &mut ErasedViewMut<'_>,
    idx: &ErasedIndices<'_>,
    src: &ErasedView<'_>,
    op: Op,
) -> Result<()> {
    match form {
        Form::Axis(axis) => along(dst, axis, (idx, false), src, op),
        Form::Along(axis) => along(dst, axis, (idx, true), src, op),
        Form::Pick => {
            let labels = as_column(dst.as_view().shape(), idx, (src.shape(), "the source"))?;
            along(dst, 1, (&labels, true), src, op)
        }
        Form::Flat => match dst.flattened() {
            Some(mut dst) => along(&mut dst, 0, (idx, false), src, op),
            None => scattered(dst, idx, src, op),
        },
    }
}

fn along(
    dst: &mut ErasedViewMut<'_>,
    axis: usize,
    (idx, is_along): (&ErasedIndices<'_>, bool),
    src: &ErasedView<'_>,
    op: Op,
) -> Result<()> {
    let level = Level::current()?;
    let flow = (src.layout(), "the source");
    let plan = Plan::new(dst.as_view().layout(), axis, (idx.list.layout(), is_along), flow)?;
    let bound = dst.as_view().shape()[axis];
    idx.check(bound, level)?;
    for i in 0..plan.pieces() {
        let list = List::Resolved(idx.resolver(idx.list.piece_of(&plan, LIST, i), bound));
        let (table, flow) = (dst.piece_of(&plan, TABLE, i), src.piece_of(&plan, FLOW, i));
        run(Job { table, list, flow, axis: P }, op, level);
    }
    Ok(())
}

/// By one thread or several. No two ever update one element, so its sum is in the order of the indices.
fn run(mut job: Scatter<'_>, op: Op, level: Level) {
    let [planes, len, width] = job.flow.shape();
    if planes * len * width < 2 * GRAIN {
        return piece(&mut job, None, op, level);
    }
    let threads = parallel::threads();
    let cut = |job: Scatter<'_>, axis, grain| {
        parallel::for_each(Job { axis, ..job }, grain, |_, mut job| piece(&mut job, None, op, level));
    };
    if threads < 2 {
        piece(&mut job, None, op, level);
    } else if planes >= 2 * threads {
        cut(job, P, GRAIN.div_ceil(len * width));
    } else if width >= GRAIN || width >= 2 * COLUMNS && job.list.stride(M) != 0 {
        cut(job, M, (GRAIN / len).max(COLUMNS));
    } else if !is_shared(job.table.as_piece().reach(), len, width, threads) {
        piece(&mut job, None, op, level);
    } else {
        let pieces = by_destination(job, threads.min(planes * len * width / GRAIN));
        parallel::for_each(pieces, 1, |_, pieces: Vec<(usize, Scatter<'_>)>| {
            for (first, mut job) in pieces {
                piece(&mut job, Some(first), op, level);
            }
        });
    }
}

/// Whether so many threads should share a destination of so many bytes by its places.
fn is_shared(bytes: usize, len: usize, width: usize, threads: usize) -> bool {
    match width {
        1 => bytes >= SHARED && len >= FOR_A_SHARE && (threads > 2 || simd::is_intel()),
        _ => bytes >= SHARED_ROWS,
    }
}

/// Cuts the destination where its places are named about equally often before and after, as far as a sample shows; each piece
/// with the number of its first place. Every piece goes through all indices and updates what is its own, so where the cuts are
/// does not show in the sums.
fn by_destination(job: Scatter<'_>, pieces: usize) -> Vec<(usize, Scatter<'_>)> {
    let (len, n) = (job.flow.shape()[K], job.table.as_piece().shape()[K]);
    let (mut sample, mut offset) = (Vec::with_capacity(SAMPLE), [0]);
    for i in 0..SAMPLE.min(len) {
        job.list.fill(K, [0, i * (len / SAMPLE.min(len)), 0], &mut offset);
        sample.extend(usize::try_from(offset[0]).ok().filter(|&o| o < n));
    }
    sample.sort_unstable();
    let (list, flow, axis) = (job.list, job.flow, job.axis);
    let (mut done, mut first, mut rest) = (Vec::with_capacity(pieces), 0, job.table);
    for i in 1..pieces {
        let cut = sample.get(i * sample.len() / pieces).copied().unwrap_or(0);
        if cut > first {
            let (table, beyond) = rest.split_at(K, cut - first);
            done.push((first, Job { table, list, flow, axis }));
            (first, rest) = (cut, beyond);
        }
    }
    done.push((first, Job { table: rest, list, flow, axis }));
    done
}

/// By this thread. Where a first place is given, the table has the places from there on alone, and others' indices are left
/// to them.
fn piece(job: &mut Scatter<'_>, own: Option<usize>, op: Op, level: Level) {
    let shape = job.flow.shape();
    if shape.contains(&0) {
        return;
    }
    if are_rows(job.table.as_piece().strides(), &job.list, &job.flow) {
        match op {
            Op::AddF32(a) => f32::dispatch(level, AddRows { job, own, a }),
            Op::AddF64(a) => f64::dispatch(level, AddRows { job, own, a }),
            Op::Put => f32::dispatch(level, PutRows { job, own }),
        }
    } else {
        match (op, job.table.as_piece().width()) {
            (Op::AddF32(a), _) => elements::<f32>(job, own, Add(a)),
            (Op::AddF64(a), _) => elements::<f64>(job, own, Add(a)),
            (Op::Put, 1) => elements::<u8>(job, own, Put),
            (Op::Put, 2) => elements::<u16>(job, own, Put),
            (Op::Put, 4) => elements::<u32>(job, own, Put),
            (Op::Put, 8) => elements::<u64>(job, own, Put),
            (Op::Put, _) => elements::<u128>(job, own, Put),
        }
    }
}

/// Keeps of the offsets those from `first` on that are below `n` then, as offsets from there, and says which they were.
#[inline(always)]
fn keep(offsets: &mut [u64], first: usize, n: usize, kept: &mut [u8; BLOCK]) -> usize {
    const { assert!(BLOCK == 256) }; // so that a number fits into a `u8`
    let mut len = 0;
    for k in 0..offsets.len() {
        let o = offsets[k].wrapping_sub(first as u64);
        offsets[len] = o; // an offset left out is overwritten by the next, or beyond the end
        kept[len] = k as u8;
        len += usize::from(o < n as u64);
    }
    len
}

/// Rows: one index names a run of neighbours, which is updated as `T`s.
#[inline(always)]
fn rows<T: Word>(
    job: &mut Scatter<'_>,
    own: Option<usize>,
    block: &mut [u64],
    ahead: usize,
    update: impl Fn(&[T], &mut [T]),
) {
    let ([planes, len, _], n) = (job.flow.shape(), job.table.as_piece().shape()[K]);
    let is_filtered = own.is_some() || job.list.has_gaps();
    let mut kept = [0; BLOCK];
    for p in 0..planes {
        let (from, mut to) = (job.flow.rows::<T>(p), job.table.rows::<T>(p));
        // A block sees some indices more than it takes, to prefetch their rows, unless some are left out.
        let step = if is_filtered { block.len() } else { block.len() - ahead.min(block.len() - 1) };
        let mut first = 0;
        while first < len {
            let offsets = &mut block[..(len - first).min(if is_filtered { step } else { step + ahead })];
            job.list.fill(K, [p, first, 0], offsets);
            if is_filtered {
                let count = keep(offsets, own.unwrap_or(0), n, &mut kept);
                for (k, &o) in offsets[..count].iter().enumerate() {
                    if ahead > 0 && k + ahead < count {
                        to.as_rows().prefetch(offsets[k + ahead] as usize);
                        // Where other threads have some of the rows, no CPU foresees which come next.
                        from.prefetch(first + kept[k + ahead] as usize);
                    }
                    update(from.row(first + kept[k] as usize), to.row(o as usize));
                }
            } else {
                for (k, &o) in offsets.iter().enumerate().take(step) {
                    if ahead > 0
                        && let Some(&next) = offsets.get(k + ahead)
                    {
                        to.as_rows().prefetch(next as usize);
                    }
                    update(from.row(first + k), to.row(o as usize));
                }
            }
            first += step;
        }
    }
}

struct AddRows<'j, 'a, T> {
    job: &'j mut Scatter<'a>,
    own: Option<usize>,
    a: T,
}

impl<T: Float + Word> Kernel<T> for AddRows<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, _: S) {
        let AddRows { job, own, a } = self;
        let [_, len, width] = job.flow.shape();
        let reach = job.table.as_piece().reach();
        let ahead = if reach < PREFETCH_ROWS_FROM { 0 } else { add_rows_ahead(width * size_of::<T>()) };
        with_block!(len, |block| match width {
            2 => rows(job, own, block, ahead, |from, to| add_exactly::<T, 2>(from, to, a)),
            4 => rows(job, own, block, ahead, |from, to| add_exactly::<T, 4>(from, to, a)),
            8 => rows(job, own, block, ahead, |from, to| add_exactly::<T, 8>(from, to, a)),
            _ => rows(job, own, block, ahead, |from, to| add(from, to, a)),
        });
    }
}

/// How many rows of so many bytes ahead. Not at all on Intel's CPUs: see [`rows_ahead`].
fn add_rows_ahead(row: usize) -> usize {
    if simd::is_intel() { 0 } else { ((32 << 10) / row).min(16) }
}

#[inline(always)]
fn add_exactly<T: Float, const N: usize>(from: &[T], to: &mut [T], a: T) {
    if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut::<N>()) {
        for (to, &from) in to.iter_mut().zip(from) {
            *to += a * from;
        }
    }
}

/// `to += a · from`, rounded twice: by 32 bytes, and what is left by pieces of 16, 8 and 4, so that a row that is updated
/// again finds each piece as it was stored.
#[inline(always)]
fn add<T: Float>(from: &[T], to: &mut [T], a: T) {
    let (eights, from) = from.as_chunks::<8>();
    let (to_eights, to) = to.as_chunks_mut::<8>();
    for (from, to) in eights.iter().zip(to_eights) {
        add_exactly::<T, 8>(from, to, a);
    }
    let mut at = 0;
    if from.len() & 4 != 0 {
        add_exactly::<T, 4>(from, to, a);
        at = 4;
    }
    if from.len() & 2 != 0 {
        add_exactly::<T, 2>(&from[at..], &mut to[at..], a);
        at += 2;
    }
    if from.len() & 1 != 0 {
        add_exactly::<T, 1>(&from[at..], &mut to[at..], a);
    }
}

struct PutRows<'j, 'a> {
    job: &'j mut Scatter<'a>,
    own: Option<usize>,
}

impl Kernel<f32> for PutRows<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<f32>>(self, s: S) {
        let PutRows { job, own } = self;
        let len = job.flow.shape()[K];
        let row = job.flow.shape()[M] * job.flow.width();
        let ahead = rows_ahead(row, job.table.as_piece().reach());
        with_block!(len, |block| match row {
            4 => rows(job, own, block, ahead, exactly::<4>),
            8 => rows(job, own, block, ahead, exactly::<8>),
            9..16 => rows(job, own, block, ahead, twice::<8>),
            16 => rows(job, own, block, ahead, exactly::<16>),
            17..32 => rows(job, own, block, ahead, twice::<16>),
            _ => rows(job, own, block, ahead, |from, to| s.copy(from, to)),
        });
    }
}

/// Elements one by one. Whatever the axis of the runs, what updates one element comes in the order of the indices.
#[inline(never)]
fn elements<T: Word>(job: &mut Scatter<'_>, own: Option<usize>, update: impl Update<T>) {
    let (shape, strides) = (job.flow.shape(), job.flow.strides());
    let axis = if own.is_some() { K } else { run_axis(shape, strides, &job.list) };
    // On Intel's CPUs, with caches as large, prefetching took longer (results/tried/scatter.md).
    let is_far = job.table.as_piece().reach() >= PREFETCH_FROM && axis == K && !simd::is_intel();
    let ahead = Prefetch { distance: if is_far && shape[K] >= 2 * DISTANCE { DISTANCE } else { 0 } };
    let is_dense = strides[axis] == 1 || shape[axis] == 1;
    let (mut table, flow, way) = (job.table.typed::<T>(), job.flow.typed::<T>(), (axis, ahead));
    if own.is_none()
        && is_dense
        && let List::InPlace(words, first, list) = job.list
        && (list[axis] == 1 || shape[axis] == 1)
    {
        return in_place(table, (words, first, list), flow, way, update);
    }
    let is_filtered = own.is_some() || job.list.has_gaps();
    let [a, b] = [[M, K], [P, M], [P, K]][axis];
    let (block, room, kept) = (&mut [0u64; BLOCK], &mut [T::default(); BLOCK], &mut [0; BLOCK]);
    for i in 0..shape[a] {
        for j in 0..shape[b] {
            for at in (0..shape[axis]).step_by(BLOCK) {
                let mut index = [0; 3];
                (index[a], index[b], index[axis]) = (i, j, at);
                let len = (shape[axis] - at).min(BLOCK);
                let (mut table, room) = (table.table_part(axis, index, len), &mut room[..len]);
                flow.run(axis, index).copy_to(0, room);
                if let List::InPlace(words, first, list) = job.list
                    && own.is_none()
                    && list[axis] == 1
                {
                    let first = first + (0..3).map(|d| index[d] * list[d]).sum::<usize>();
                    in_place(table, (words, first, list), Strided3::from_slice(room, axis), way, update);
                    continue;
                }
                let offsets = &mut block[..len];
                job.list.fill(axis, index, offsets);
                let n = table.shape()[K];
                if is_filtered && axis != K {
                    table.update_inside(axis, offsets, room, update);
                } else {
                    let mut len = len;
                    if is_filtered {
                        len = keep(offsets, own.unwrap_or(0), n, kept);
                        (0..len).for_each(|k| room[k] = room[kept[k] as usize]); // never behind `k`
                    }
                    let grid = checked_block(&offsets[..len], axis, n);
                    scatter(table, grid, Strided3::from_slice(&room[..len], axis), way, update);
                }
            }
        }
    }
}

/// Straight from the list, by its size.
fn in_place<T: Word>(
    table: Strided3Mut<'_, T>,
    (words, first, strides): (Words<'_>, usize, [usize; 3]),
    flow: Strided3<'_, T>,
    way: (usize, Prefetch),
    update: impl Update<T>,
) {
    match words {
        Words::U8(words) => scatter(table, Grid::new(words, first, strides), flow, way, update),
        Words::U16(words) => scatter(table, Grid::new(words, first, strides), flow, way, update),
        Words::U32(words) => scatter(table, Grid::new(words, first, strides), flow, way, update),
        Words::U64(words) => scatter(table, Grid::new(words, first, strides), flow, way, update),
    }
}

/// The kernel, for an element type and an index size.
#[inline(never)]
fn scatter<T: Word, X: Word>(
    table: Strided3Mut<'_, T>,
    list: Grid<'_, X>,
    flow: Strided3<'_, T>,
    way: (usize, Prefetch),
    update: impl Update<T>,
) {
    scatter_runs(table, list, flow, way, update);
}

/// To an array that no stride leads through in C order: the place of each element by a division.
fn scattered(
    dst: &mut ErasedViewMut<'_>,
    idx: &ErasedIndices<'_>,
    src: &ErasedView<'_>,
    op: Op,
) -> Result<()> {
    match (op, src.width()) {
        (Op::AddF32(a), _) => scattered_of::<f32>(dst, idx, src, Add(a)),
        (Op::AddF64(a), _) => scattered_of::<f64>(dst, idx, src, Add(a)),
        (Op::Put, 1) => scattered_of::<u8>(dst, idx, src, Put),
        (Op::Put, 2) => scattered_of::<u16>(dst, idx, src, Put),
        (Op::Put, 4) => scattered_of::<u32>(dst, idx, src, Put),
        (Op::Put, 8) => scattered_of::<u64>(dst, idx, src, Put),
        (Op::Put, _) => scattered_of::<u128>(dst, idx, src, Put),
    }
}

fn scattered_of<T: Word>(
    dst: &mut ErasedViewMut<'_>,
    idx: &ErasedIndices<'_>,
    src: &ErasedView<'_>,
    update: impl Update<T>,
) -> Result<()> {
    let (level, places, flat) = (Level::current()?, dst.as_view().len(), dst.as_view().as_if_flat());
    let plan = Plan::new(&flat, 0, (idx.list.layout(), false), (src.layout(), "the source"))?;
    idx.check(places, level)?;
    let rank = dst.as_view().rank(); // at least 2: others are flat
    let mut lanes = dst.lanes::<T>(rank - 1);
    let width = lanes.lane_len();
    let mut offsets = [0; BLOCK];
    for i in 0..plan.pieces() {
        let list = List::Resolved(idx.resolver(idx.list.piece_of(&plan, LIST, i), places));
        let src = src.piece_of(&plan, FLOW, i).typed::<T>().run(K, [0; 3]);
        for first in (0..src.len()).step_by(BLOCK) {
            let offsets = &mut offsets[..(src.len() - first).min(BLOCK)];
            list.fill(K, [0, first, 0], offsets);
            for (k, &o) in offsets.iter().enumerate().filter(|&(_, &o)| o < places as u64) {
                update.update(lanes.lane(o as usize / width).at(o as usize % width), src.get(first + k));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{View, ViewMut};
    use crate::index::Indices;

    /// Public functions share single elements only where there are three threads, or on Intel's CPUs.
    #[test]
    fn single_elements_are_shared_by_their_places() {
        let (places, len) = (5_000, 20_000);
        let idx: Vec<u32> = (0..len).map(|k| k * 7919 % if k % 3 == 0 { 9 } else { places }).collect();
        let src: Vec<f32> = (0..len).map(|k| 1.0 / (k + 1) as f32).collect();
        let mut alone = vec![1.0f32; places as usize];
        crate::scatter_add_scaled(&mut alone, &idx, &src, -0.3).expect("indices in bounds");
        for pieces in [2, 3, 7] {
            let mut shared = vec![1.0f32; places as usize];
            let mut dst = ViewMut::from(&mut shared).erased();
            let (src, idx) = (View::from(&src).erased(), Indices::<u32, f32>::from(&idx).erased());
            let plan = Plan::new(dst.as_view().layout(), 0, (idx.list.layout(), false), (src.layout(), ""))
                .expect("a fit");
            let list = List::Resolved(idx.resolver(idx.list.piece_of(&plan, LIST, 0), places as usize));
            let (table, flow) = (dst.piece_of(&plan, TABLE, 0), src.piece_of(&plan, FLOW, 0));
            let cut = by_destination(Job { table, list, flow, axis: P }, pieces);
            assert!(cut.len() > 1);
            for (first, mut job) in cut {
                piece(&mut job, Some(first), Op::AddF32(-0.3), Level::Portable);
            }
            assert!(shared == alone, "{pieces}");
        }
    }
}
