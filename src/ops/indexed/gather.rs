//! Gather: `flow = table[list]`. Elements are moved by their size, whatever their type.

use super::plan::{Form, Job, Short, are_rows, as_column, run_axis};
use crate::array::{
    Erased3, Erased3Mut, ErasedView, ErasedViewMut, FLOW, Grid, K, LIST, M, P, Plan, Prefetch, Strided3,
    Strided3Mut, TABLE, Word, gather_runs,
};
use crate::error::Result;
use crate::index::ErasedIndices;
use crate::index::checked::{BLOCK, List, NOWHERE, Words, checked_block};
use crate::parallel;
use crate::simd::{self, Float, Kernel, Level, Simd, Streaming, slices};

/// A gather, checked and cut into pieces.
pub(super) type Gather<'a> = Job<'a, Erased3<'a>, Erased3Mut<'a>>;

/// The elements that a second thread should at least move.
const GRAIN: usize = 1 << 14;

/// Minimum elements per thread for gathers of rows: smaller jobs fit one second-level cache, table and all, and splitting
/// them bounces cache lines between cores.
const GRAIN_OF_ROWS: usize = 1 << 18;

/// Bytes of a table from which on single elements are prefetched: four times a second-level cache of 1 MiB. Below, the
/// CPU hides the latency by itself, and a prefetch costs an instruction for each element.
const PREFETCH_FROM: usize = 4 << 20;

/// How many indices ahead.
const DISTANCE: usize = 32;

/// Bytes of a table from which on rows are prefetched: no second-level cache holds it.
pub(super) const PREFETCH_ROWS_FROM: usize = 3 << 20;

/// The same for rows of at most 32 bytes.
const PREFETCH_SHORT_ROWS_FROM: usize = 16 << 20;

/// Longer rows than this many bytes are not prefetched: the CPU foresees their lines, but for the first few.
const LONGEST_PREFETCHED: usize = 2 << 10;

/// From so many bytes on, rows are written by non-temporal stores: no third-level cache would hold more of them.
const STREAM_FROM: usize = 32 << 20;

/// The shortest rows that are, in bytes.
const STREAM_ROWS_FROM: usize = 128;

/// Fewer columns than this of many planes are copied column by column.
const FEW_COLUMNS: usize = 4;

/// So many planes at a time: with a line for each, a third of a first-level cache of 32 KiB.
const TILE: usize = 128;

/// The short way. See [`super::plan`].
#[inline(never)]
pub(super) fn short(short: Short<'_, Erased3<'_>, Erased3Mut<'_>>) -> Result<()> {
    let level = Level::current()?;
    run(short.checked(level)?, level);
    Ok(())
}

/// The long way.
#[cold]
#[inline(never)]
pub(super) fn long(
    form: Form,
    src: &ErasedView<'_>,
    idx: &ErasedIndices<'_>,
    out: &mut ErasedViewMut<'_>,
) -> Result<()> {
    match form {
        Form::Axis(axis) => along(src, axis, (idx, false), out),
        Form::Along(axis) => along(src, axis, (idx, true), out),
        Form::Pick => {
            let labels = as_column(src.shape(), idx, (out.as_view().shape(), "the output"))?;
            along(src, 1, (&labels, true), out)
        }
        Form::Flat => match src.flattened() {
            Some(src) => along(&src, 0, (idx, false), out),
            None => scattered(src, idx, out),
        },
    }
}

fn along(
    src: &ErasedView<'_>,
    axis: usize,
    (idx, is_along): (&ErasedIndices<'_>, bool),
    out: &mut ErasedViewMut<'_>,
) -> Result<()> {
    let level = Level::current()?;
    let flow = (out.as_view().layout(), "the output");
    let plan = Plan::new(src.layout(), axis, (idx.list.layout(), is_along), flow)?;
    let bound = src.shape()[axis];
    idx.check(bound, level)?;
    for i in 0..plan.pieces() {
        let list = List::Resolved(idx.resolver(idx.list.piece_of(&plan, LIST, i), bound));
        let (table, flow) = (src.piece_of(&plan, TABLE, i), out.piece_of(&plan, FLOW, i));
        run(Job { table, list, flow, axis: P }, level);
    }
    Ok(())
}

/// By one thread or several.
fn run(mut job: Gather<'_>, level: Level) {
    let shape = job.flow.as_piece().shape();
    let len = shape[P] * shape[K] * shape[M];
    let hints = Hints::new(&job);
    if len < 2 * GRAIN {
        return piece(job, hints, level);
    }
    // Cut where whole planes go to one thread, if there are many; else along the longest axis.
    job.axis = if shape[P] >= 64 { P } else { if shape[K] >= shape[M] { K } else { M } };
    let unit = len / shape[job.axis];
    // Few pieces, as each begins with a row that nobody has prefetched.
    let least = if shape[M] > 1 { GRAIN_OF_ROWS } else { GRAIN };
    let grain = (least / unit).max(shape[job.axis] / (4 * parallel::threads()));
    parallel::for_each(job, grain, |_, job| piece(job, hints, level));
}

/// What is decided by the whole table and the whole output, before they are cut: a piece of a large one is not in cache
/// for being small.
#[derive(Clone, Copy)]
struct Hints {
    /// The bytes that the table reaches over.
    reach: usize,
    /// Whether rows are written by non-temporal stores.
    is_streamed: bool,
}

impl Hints {
    #[inline(always)]
    fn new(job: &Gather<'_>) -> Self {
        let (flow, reach) = (job.flow.as_piece(), job.table.reach());
        let [planes, len, width] = flow.shape();
        let row = width * flow.width();
        let is_long = row >= STREAM_ROWS_FROM && planes * len >= STREAM_FROM / row.max(1);
        Hints { reach, is_streamed: is_long && flow.width() >= 4 && !simd::is_intel() }
    }
}

/// By this thread.
fn piece(mut job: Gather<'_>, hints: Hints, level: Level) {
    if are_rows(job.table.strides(), &job.list, &job.flow) {
        let width = job.table.width();
        if hints.is_streamed && !job.list.has_gaps() {
            f32::dispatch(level, Streamed(&mut job));
        } else {
            f32::dispatch(level, Rows { job: &mut job, reach: hints.reach });
        }
        if job.list.has_gaps() {
            match width {
                1 => fill_rows::<u8>(&mut job),
                2 => fill_rows::<u16>(&mut job),
                4 => fill_rows::<u32>(&mut job),
                8 => fill_rows::<u64>(&mut job),
                _ => fill_rows::<u128>(&mut job),
            }
        }
    } else {
        match job.table.width() {
            1 => elements::<u8>(&mut job, hints.reach),
            2 => elements::<u16>(&mut job, hints.reach),
            4 => elements::<u32>(&mut job, hints.reach),
            8 => elements::<u64>(&mut job, hints.reach),
            _ => elements::<u128>(&mut job, hints.reach),
        }
    }
}

/// How many rows of so many bytes ahead a table of such a reach is prefetched. Not at all on Intel's CPUs, which go ahead
/// of themselves over rows: prefetches made those of 2 KiB a third slower (results/tried/gather.md).
pub(super) fn rows_ahead(row: usize, reach: usize) -> usize {
    let from = if row <= 32 { PREFETCH_SHORT_ROWS_FROM } else { PREFETCH_ROWS_FROM };
    if reach < from || row > LONGEST_PREFETCHED || simd::is_intel() { 0 } else { (8192 / row).clamp(2, 16) }
}

/// Room for a block of offsets: a small one for short lists, which would feel the other's being zeroed.
macro_rules! with_block {
    ($len:expr, |$block:ident| $body:expr) => {
        if $len <= 16 {
            let $block = &mut [0u64; 16][..];
            $body
        } else {
            let $block = &mut [0u64; BLOCK][..];
            $body
        }
    };
}
pub(super) use with_block;

/// Rows: one index names a run of neighbours.
struct Rows<'j, 'a> {
    job: &'j mut Gather<'a>,
    reach: usize,
}

impl Kernel<f32> for Rows<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<f32>>(self, s: S) {
        let Rows { job, reach } = self;
        let len = job.flow.as_piece().shape()[K];
        let row = job.flow.as_piece().shape()[M] * job.table.width();
        let ahead = rows_ahead(row, reach);
        with_block!(len, |block| match row {
            4 => rows(job, block, ahead, exactly::<4>),
            8 => rows(job, block, ahead, exactly::<8>),
            9..16 => rows(job, block, ahead, twice::<8>),
            16 => rows(job, block, ahead, exactly::<16>),
            17..32 => rows(job, block, ahead, twice::<16>),
            32 => rows(job, block, ahead, exactly::<32>),
            ..=2048 => rows(job, block, ahead, |from, to| s.copy(from, to)),
            _ => rows(job, block, ahead, |from: &[u8], to: &mut [u8]| to.copy_from_slice(from)),
        });
    }
}

#[inline(always)]
fn rows<T: Word>(job: &mut Gather<'_>, block: &mut [u64], ahead: usize, copy: impl Fn(&[T], &mut [T])) {
    let [planes, len, _] = job.flow.as_piece().shape();
    for p in 0..planes {
        let (from, mut to) = (job.table.rows::<T>(p), job.flow.rows::<T>(p));
        // A block sees some indices more than it takes, to prefetch their rows.
        let step = block.len() - ahead.min(block.len() - 1);
        let mut first = 0;
        while first < len {
            let offsets = &mut block[..(len - first).min(step + ahead)];
            job.list.fill(K, [p, first, 0], offsets);
            for (k, &o) in offsets.iter().enumerate().take(step) {
                if ahead > 0
                    && let Some(&next) = offsets.get(k + ahead)
                {
                    from.prefetch(next as usize);
                }
                if o != NOWHERE {
                    copy(from.row(o as usize), to.row(first + k));
                }
            }
            first += step;
        }
    }
}

#[inline(always)]
pub(super) fn exactly<const N: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut::<N>()) {
        *to = *from;
    }
}

/// A length between `N` and `2 * N`: the first `N` bytes and the last.
#[inline(always)]
pub(super) fn twice<const N: usize>(from: &[u8], to: &mut [u8]) {
    exactly::<N>(from, to);
    if let (Some(from), Some(to)) = (from.last_chunk::<N>(), to.last_chunk_mut::<N>()) {
        *to = *from;
    }
}

/// Rows of whole `f32`s, whatever they are, written by non-temporal stores.
struct Streamed<'j, 'a>(&'j mut Gather<'a>);

impl Kernel<f32> for Streamed<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<f32>>(self, s: S) {
        let Streamed(job) = self;
        let row = job.flow.as_piece().shape()[M] * job.flow.as_piece().width();
        let streaming = Streaming::begin();
        rows::<f32>(job, &mut [0; BLOCK], rows_ahead(row, usize::MAX), |from, to| {
            slices::map_past_caches(
                s,
                from,
                to,
                &streaming,
                #[inline(always)]
                |v| v,
            )
        });
    }
}

/// Rows whose index names none: the value that fills.
#[inline(never)]
fn fill_rows<W: Word>(job: &mut Gather<'_>) {
    let value = W::from_bytes(&job.list.fill_value());
    let [planes, len, _] = job.flow.as_piece().shape();
    let mut flow = job.flow.typed::<W>();
    let mut block = [0; BLOCK];
    for p in 0..planes {
        for first in (0..len).step_by(BLOCK) {
            let offsets = &mut block[..(len - first).min(BLOCK)];
            job.list.fill(K, [p, first, 0], offsets);
            for (k, _) in offsets.iter().enumerate().filter(|&(_, &o)| o == NOWHERE) {
                flow.run(M, [p, first + k, 0]).fill(value);
            }
        }
    }
}

/// Elements one by one.
#[inline(never)]
fn elements<W: Word>(job: &mut Gather<'_>, reach: usize) {
    let (shape, strides) = (job.flow.as_piece().shape(), job.flow.as_piece().strides());
    let [planes, len, width] = shape;
    if planes * len * width == 0 {
        return;
    }
    if width == 1 && len < FEW_COLUMNS && planes >= 16 && job.list.stride(P) == 0 && !job.list.has_gaps() {
        return few_columns::<W>(job);
    }
    let axis = run_axis(shape, strides, &job.list);
    // One element of each of many rows comes from a line that the CPU foresees: as far as it can, at least.
    let is_far = reach >= PREFETCH_FROM && axis == K && shape[K] >= 2 * DISTANCE;
    let ahead = Prefetch { distance: if is_far { DISTANCE } else { 0 } };
    let is_dense = strides[axis] == 1 || shape[axis] == 1;
    if let (List::InPlace(words, first, list), true) = (job.list, is_dense)
        && (list[axis] == 1 || shape[axis] == 1)
    {
        let (table, flow, way) = (job.table.typed::<W>(), job.flow.typed::<W>(), (axis, ahead));
        return match words {
            Words::U8(words) => in_place(table, Grid::new(words, first, list), flow, way),
            Words::U16(words) => in_place(table, Grid::new(words, first, list), flow, way),
            Words::U32(words) => in_place(table, Grid::new(words, first, list), flow, way),
            Words::U64(words) => in_place(table, Grid::new(words, first, list), flow, way),
        };
    }
    blocks::<W>(job, (axis, ahead));
}

/// The kernel, for an element size and an index size.
#[inline(never)]
fn in_place<W: Word, X: Word>(
    table: Strided3<'_, W>,
    list: Grid<'_, X>,
    flow: Strided3Mut<'_, W>,
    (axis, ahead): (usize, Prefetch),
) {
    gather_runs(table, list, flow, axis, ahead);
}

/// Elements by blocks of resolved offsets, to wherever.
fn blocks<W: Word>(job: &mut Gather<'_>, (axis, ahead): (usize, Prefetch)) {
    let shape = job.flow.as_piece().shape();
    let (table, mut flow) = (job.table.typed::<W>(), job.flow.typed::<W>());
    let (value, has_gaps) = (W::from_bytes(&job.list.fill_value()), job.list.has_gaps());
    let [a, b] = [[K, M], [P, M], [P, K]][axis];
    let (block, room) = (&mut [0u64; BLOCK], &mut [W::default(); BLOCK]);
    for i in 0..shape[a] {
        for j in 0..shape[b] {
            for first in (0..shape[axis]).step_by(BLOCK) {
                let mut index = [0; 3];
                (index[a], index[b], index[axis]) = (i, j, first);
                let len = (shape[axis] - first).min(BLOCK);
                let (offsets, room) = (&mut block[..len], &mut room[..len]);
                job.list.fill(axis, index, offsets);
                let table = table.table_part(axis, index, len);
                if has_gaps {
                    table.gather_or(axis, offsets, value, room);
                } else {
                    let grid = checked_block(offsets, axis, table.shape()[K]);
                    in_place(table, grid, Strided3Mut::from_slice(room, axis), (axis, ahead));
                }
                flow.run(axis, index).copy_from(0, room);
            }
        }
    }
}

/// Few columns of many planes: column by column, in tiles of planes whose lines stay in L1 meanwhile.
#[inline(never)]
fn few_columns<W: Word>(job: &mut Gather<'_>) {
    let [planes, len, _] = job.flow.as_piece().shape();
    let (table, mut flow) = (job.table.typed::<W>(), job.flow.typed::<W>());
    let offsets = &mut [0; FEW_COLUMNS][..len];
    job.list.fill(K, [0; 3], offsets);
    for first in (0..planes).step_by(TILE) {
        for (k, &o) in offsets.iter().enumerate() {
            let (from, mut to) = (table.run(P, [first, o as usize, 0]), flow.run(P, [first, k, 0]));
            (0..TILE.min(planes - first)).for_each(|p| to.set(p, from.get(p)));
        }
    }
}

/// From an array that no stride leads through in C order: the place of each element by a division.
fn scattered(src: &ErasedView<'_>, idx: &ErasedIndices<'_>, out: &mut ErasedViewMut<'_>) -> Result<()> {
    match src.width() {
        1 => scattered_of::<u8>(src, idx, out),
        2 => scattered_of::<u16>(src, idx, out),
        4 => scattered_of::<u32>(src, idx, out),
        8 => scattered_of::<u64>(src, idx, out),
        _ => scattered_of::<u128>(src, idx, out),
    }
}

fn scattered_of<W: Word>(
    src: &ErasedView<'_>,
    idx: &ErasedIndices<'_>,
    out: &mut ErasedViewMut<'_>,
) -> Result<()> {
    let (level, flat) = (Level::current()?, src.as_if_flat());
    let flow = (out.as_view().layout(), "the output");
    let plan = Plan::new(&flat, 0, (idx.list.layout(), false), flow)?;
    idx.check(src.len(), level)?;
    let lanes = src.lanes::<W>(src.rank() - 1); // an array of rank 0 is flat
    let width = lanes.lane_len();
    let mut offsets = [0; BLOCK];
    for i in 0..plan.pieces() {
        let list = List::Resolved(idx.resolver(idx.list.piece_of(&plan, LIST, i), src.len()));
        let value = W::from_bytes(&list.fill_value());
        let mut out = out.piece_of(&plan, FLOW, i);
        let len = out.as_piece().shape()[K];
        let mut out = out.typed::<W>().into_run(K);
        for first in (0..len).step_by(BLOCK) {
            let offsets = &mut offsets[..(len - first).min(BLOCK)];
            list.fill(K, [0, first, 0], offsets);
            for (k, &o) in offsets.iter().enumerate() {
                let inside = o != NOWHERE;
                let o = o as usize;
                out.set(first + k, if inside { lanes.lane(o / width).get(o % width) } else { value });
            }
        }
    }
    Ok(())
}
