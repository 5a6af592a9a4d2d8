//! Gather: `flow = table[list]`. Elements are moved by their size, whatever their type.

use super::plan::{Form, Job, are_rows, as_column, run_axis};
use crate::array::{
    Erased3, Erased3Mut, ErasedView, ErasedViewMut, FLOW, K, LIST, M, P, Plan, Runs, RunsMut, TABLE, Word, Words,
};
use crate::error::Result;
use crate::index::ErasedIndices;
use crate::index::checked::{BLOCK, NOWHERE, checked_block};
use crate::parallel;
use crate::simd::{self, Float, Kernel, Level, Simd, Streaming, slices};

/// A gather, checked and cut into pieces.
pub(super) type Gather<'a> = Job<'a, Erased3<'a>, Erased3Mut<'a>>;

/// The elements that a second thread should at least move.
const GRAIN: usize = 1 << 14;

/// Minimum elements per thread for gathers of rows: smaller jobs fit one second-level cache, table and all, and splitting
/// them bounces cache lines between cores.
const GRAIN_OF_ROWS: usize = 1 << 18;

/// Bytes of a table from which on single elements are prefetched: half a third-level cache of 32 MiB. Below, the CPU hides the
/// latency by itself, and a prefetch costs an instruction or two for each element (4 MiB: 0.92 of the loop on a Zen 5 with
/// prefetches; 64 MiB: 1.16).
const PREFETCH_FROM: usize = 16 << 20;

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

/// The short way. See [`super::plan`].
#[inline(never)]
pub(super) fn short(job: &mut Gather<'_>) -> Result<()> {
    let level = Level::current()?;
    job.check(level)?;
    run(job, level);
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
    let list = |i| idx.piece(idx.list.piece_of(&plan, LIST, i), bound);
    if plan.pieces() != 1 || !list(0).check_in_place(level) {
        idx.check(bound)?;
    }
    for i in 0..plan.pieces() {
        let (table, mut list, flow) = (src.piece_of(&plan, TABLE, i), list(i), out.piece_of(&plan, FLOW, i));
        list.check_in_place(level);
        run(&mut Job { table, list, flow, axis: P }, level);
    }
    Ok(())
}

/// By one thread or several.
#[inline(always)]
fn run(job: &mut Gather<'_>, level: Level) {
    let [planes, len, width] = job.flow.as_piece().shape();
    if planes * len * width < 2 * GRAIN { piece(job, Hints::new(job), level) } else { shared(job, level) }
}

#[cold]
fn shared(job: &mut Gather<'_>, level: Level) {
    let (shape, hints) = (job.flow.as_piece().shape(), Hints::new(job));
    // Cut where whole planes go to one thread, if there are many; else along the longest axis.
    let axis = if shape[P] >= 64 { P } else { if shape[K] >= shape[M] { K } else { M } };
    let unit = shape[P] * shape[K] * shape[M] / shape[axis];
    let least = if shape[M] > 1 { GRAIN_OF_ROWS } else { GRAIN };
    let job = Job { table: job.table, list: job.list, flow: job.flow.reborrow(), axis };
    parallel::for_each(job, (least / unit).max(1), |_, mut job| piece(&mut job, hints, level));
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
#[inline(always)]
fn piece(job: &mut Gather<'_>, hints: Hints, level: Level) {
    if are_rows(job.table.strides(), &job.list, &job.flow) {
        copy_rows(job, hints, level)
    } else {
        elements(job, hints.reach)
    }
}

#[inline(never)]
fn copy_rows(job: &mut Gather<'_>, hints: Hints, level: Level) {
    if hints.is_streamed && !job.list.has_gaps() {
        f32::dispatch(level, Streamed(job));
    } else {
        f32::dispatch(level, Rows { job, reach: hints.reach });
    }
    if job.list.has_gaps() {
        match job.table.width() {
            1 => fill_rows::<u8>(job),
            2 => fill_rows::<u16>(job),
            4 => fill_rows::<u32>(job),
            8 => fill_rows::<u64>(job),
            _ => fill_rows::<u128>(job),
        }
    }
}

/// How many rows of so many bytes ahead a table of such a reach is prefetched. Not at all on Intel's CPUs, which go ahead
/// of themselves over rows: prefetches made those of 2 KiB a third slower (results/tried/gather.md).
pub(super) fn rows_ahead(row: usize, reach: usize) -> usize {
    let from = if row <= 32 { PREFETCH_SHORT_ROWS_FROM } else { PREFETCH_ROWS_FROM };
    if reach < from || row > LONGEST_PREFETCHED || simd::is_intel() { 0 } else { (8192 / row).clamp(2, 16) }
}

/// Short lists have a block of their own: they would feel the other's being zeroed.
pub(super) const SMALL: usize = 16;

/// Rows: one index names a run of neighbours.
struct Rows<'j, 'a> {
    job: &'j mut Gather<'a>,
    reach: usize,
}

impl Kernel<f32> for Rows<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<f32>>(self, _: S) {
        let Rows { job, reach } = self;
        let row = job.flow.as_piece().shape()[M] * job.table.width();
        let ahead = rows_ahead(row, reach);
        let (mut small, mut large);
        let block: &mut [u64] = if job.flow.as_piece().shape()[K] <= SMALL {
            small = [0; SMALL];
            &mut small
        } else {
            large = [0; BLOCK];
            &mut large
        };
        match row {
            4 => rows(job, block, ahead, exactly::<4>),
            8 => rows(job, block, ahead, exactly::<8>),
            9..16 => rows(job, block, ahead, twice::<8>),
            16 => rows(job, block, ahead, exactly::<16>),
            17..=32 => rows(job, block, ahead, twice::<16>),
            33..=64 => rows(job, block, ahead, twice::<32>),
            65..=128 => rows(job, block, ahead, twice::<64>),
            129..=256 => rows(job, block, ahead, twice::<128>),
            _ => rows(job, block, ahead, #[inline(always)] |from: &[u8], to: &mut [u8]| to.copy_from_slice(from)),
        }
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
                if ahead > 0 && let Some(&next) = offsets.get(k + ahead) {
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

/// A length from `N` to `2 * N`: the first `N` bytes and the last.
#[inline(always)]
pub(super) fn twice<const N: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) {
        let (first, last) = (*first, *last); // both read before either is written
        if let Some(to) = to.first_chunk_mut::<N>() {
            *to = first;
        }
        if let Some(to) = to.last_chunk_mut::<N>() {
            *to = last;
        }
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
        rows::<f32>(job, &mut [0; BLOCK], rows_ahead(row, usize::MAX), #[inline(always)] |from, to| {
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
#[inline(always)]
fn elements(job: &mut Gather<'_>, reach: usize) {
    let flow = job.flow.as_piece();
    let (shape, strides) = (flow.shape(), flow.strides());
    let axis = run_axis(shape, strides, &job.list);
    if job.list.words.are_checked() {
        let is_far = reach >= PREFETCH_FROM && axis == K && shape[K] >= 2 * DISTANCE;
        let ahead = if is_far { DISTANCE } else { 0 };
        in_place(Runs::of_gather(&job.table, &job.list.words, &mut job.flow, axis, ahead), &job.table, &job.list.words)
    } else {
        resolved(job, axis)
    }
}

/// Straight from the list, by its size and that of an element.
#[inline(always)]
fn in_place(runs: RunsMut<'_>, table: &Erased3<'_>, words: &Words<'_>) {
    match (table.width(), words.piece().width()) {
        (1, 1) => gather::<u8, u8>(runs),
        (1, 2) => gather::<u8, u16>(runs),
        (1, 4) => gather::<u8, u32>(runs),
        (1, _) => gather::<u8, u64>(runs),
        (2, 1) => gather::<u16, u8>(runs),
        (2, 2) => gather::<u16, u16>(runs),
        (2, 4) => gather::<u16, u32>(runs),
        (2, _) => gather::<u16, u64>(runs),
        (4, 1) => gather::<u32, u8>(runs),
        (4, 2) => gather::<u32, u16>(runs),
        (4, 4) => gather::<u32, u32>(runs),
        (4, _) => gather::<u32, u64>(runs),
        (8, 1) => gather::<u64, u8>(runs),
        (8, 2) => gather::<u64, u16>(runs),
        (8, 4) => gather::<u64, u32>(runs),
        (8, _) => gather::<u64, u64>(runs),
        (_, 1) => gather::<u128, u8>(runs),
        (_, 2) => gather::<u128, u16>(runs),
        (_, 4) => gather::<u128, u32>(runs),
        (_, _) => gather::<u128, u64>(runs),
    }
}

/// The kernel, for an element size and an index size.
#[inline(never)]
fn gather<W: Word, X: Word>(runs: RunsMut<'_>) {
    runs.gather::<W, X>();
}

/// By blocks of resolved offsets: where an index may be negative, or means what its mode says.
#[cold]
#[inline(never)]
fn resolved(job: &mut Gather<'_>, axis: usize) {
    let is_small = job.flow.as_piece().shape()[axis] <= SMALL;
    match (job.table.width(), is_small) {
        (1, true) => blocks::<u8, SMALL>(job, axis),
        (1, false) => blocks::<u8, BLOCK>(job, axis),
        (2, true) => blocks::<u16, SMALL>(job, axis),
        (2, false) => blocks::<u16, BLOCK>(job, axis),
        (4, true) => blocks::<u32, SMALL>(job, axis),
        (4, false) => blocks::<u32, BLOCK>(job, axis),
        (8, true) => blocks::<u64, SMALL>(job, axis),
        (8, false) => blocks::<u64, BLOCK>(job, axis),
        (_, _) => blocks::<u128, BLOCK>(job, axis),
    }
}

fn blocks<W: Word, const N: usize>(job: &mut Gather<'_>, axis: usize) {
    let shape = job.flow.as_piece().shape();
    let (value, has_gaps) = (W::from_bytes(&job.list.fill_value()), job.list.has_gaps());
    let [a, b] = [[K, M], [P, M], [P, K]][axis];
    let (block, room) = (&mut [0u64; N], &mut [W::default(); N]);
    for i in 0..shape[a] {
        for j in 0..shape[b] {
            for first in (0..shape[axis]).step_by(N) {
                let mut index = [0; 3];
                (index[a], index[b], index[axis]) = (i, j, first);
                let len = (shape[axis] - first).min(N);
                let offsets = &mut block[..len];
                job.list.fill(axis, index, offsets);
                if has_gaps {
                    job.table.typed().gather_or((axis, index), offsets, value, &mut room[..len]);
                    job.flow.typed().run(axis, index).copy_from(0, &room[..len]);
                } else {
                    let words = checked_block(offsets, axis, job.table.shape()[K]);
                    let (table, mut flow) = (job.table.table_part(axis, index, len), job.flow.part(axis, index, len));
                    gather::<W, u64>(Runs::of_gather(&table, &words, &mut flow, axis, 0));
                }
            }
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

fn scattered_of<W: Word>(src: &ErasedView<'_>, idx: &ErasedIndices<'_>, out: &mut ErasedViewMut<'_>) -> Result<()> {
    let flat = src.as_if_flat();
    Level::current()?;
    let flow = (out.as_view().layout(), "the output");
    let plan = Plan::new(&flat, 0, (idx.list.layout(), false), flow)?;
    idx.check(src.len())?;
    let lanes = src.lanes::<W>(src.rank() - 1); // an array of rank 0 is flat
    let width = lanes.lane_len();
    let mut offsets = [0; BLOCK];
    for i in 0..plan.pieces() {
        let list = idx.piece(idx.list.piece_of(&plan, LIST, i), src.len());
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
