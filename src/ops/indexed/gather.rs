//! Gather: `output = table[list]`. Elements are moved by their size, whatever their type.

use super::plan::{
    Form, Job, Numbers, PREFETCH_FROM, Vectors, are_rows, check_labels, of_dense, place, run_axis,
    with_index, with_widths, with_word,
};
use super::rows::{AnyLength, Block, CopyRow, Exactly, Twice, for_each_block, rows_ahead, with_copy_row};
use crate::array::{
    Erased3, Erased3Mut, ErasedSlice, ErasedSliceMut, ErasedView, ErasedViewMut, INDEX, INNER, LIST, OUTER,
    Plan, Planes, PlanesMut, Runs, RunsMut, TABLE, VALUES, Word, Words,
};
use crate::error::Result;
use crate::index::checked::{
    BLOCK, Meaning, OffsetWork, are_all_below, block_for, checked_block, with_integer,
};
use crate::index::{ErasedIndices, Mode};
use crate::parallel;
use crate::simd::{self, Float, Kernel, Level, Simd, Streaming, slices};
use std::marker::PhantomData;

/// A gather, checked and cut into pieces.
pub(super) type Gather<'a> = Job<'a, Erased3<'a>, Erased3Mut<'a>>;

/// The elements that a second thread should at least move.
const GRAIN: usize = 1 << 14;

/// Minimum elements per thread for gathers of rows: smaller jobs fit one second-level cache, table and all,
/// and splitting them bounces cache lines between cores.
const GRAIN_OF_ROWS: usize = 1 << 18;

/// At most so many elements of dense vectors are moved four at a time, each index compared with the table's length: of
/// more, kernels without comparisons win what the way to them costs.
const FEW: usize = 512;

/// Fewer elements than this are gathered without a look at the table's size.
const SMALL: usize = 64;

/// Runs of so many neighbours, each with its index, are left for longer ones: 0.7 to 1 of the time, of 2 half of it.
const SHORT_RUN: usize = 5;

/// How many indices ahead.
const DISTANCE: usize = 32;

/// From so many bytes on, rows are written by non-temporal stores: no third-level cache would hold more of them.
const STREAM_FROM: usize = 32 << 20;

/// The shortest rows that are, in bytes.
const STREAM_ROWS_FROM: usize = 128;

/// Dense vectors. `false` where an index cannot be read where it stands, or another way is better: then nothing is
/// done, or, where the output `is_fresh`, nothing that anybody sees, as it is dropped. Each index is compared with the
/// table's length as it is read, which costs nothing beside the move. Only where the output is the caller's, all are
/// looked at before.
#[inline(never)]
pub(super) fn dense(vectors: &mut Vectors<'_, ErasedSlice<'_>, ErasedSliceMut<'_>>, is_fresh: bool) -> bool {
    fn run<W: Word, X: Word>(
        vectors: &mut Vectors<'_, ErasedSlice<'_>, ErasedSliceMut<'_>>,
        is_fresh: bool,
        level: Level,
    ) -> bool {
        let (table, list) = (vectors.table.typed::<W>(), vectors.list.typed::<X>());
        let table = &table[..vectors.places::<X>(table.len())];
        (is_fresh || are_all_below(list, table.len(), level))
            && gather_all(table, list, vectors.values.typed())
    }
    let Some(level) = Level::current().ok() else { return false };
    (is_few(vectors) || is_fresh && is_for_one(vectors))
        && with_widths!(vectors.table.width(), vectors.list.width(), run(vectors, is_fresh, level))
}

/// Whether there is an index for each element of the output, and few of them.
#[inline(always)]
fn is_few(Vectors { list, values, .. }: &Vectors<'_, ErasedSlice<'_>, ErasedSliceMut<'_>>) -> bool {
    list.len() <= FEW && list.len() == values.as_slice().len()
}

/// Whether there is an index for each element of the output, and one thread should move them, without prefetches, and
/// rather compare each index of a long list than look at all before: a look at those of 64 bits costs a sixth of the
/// rest.
#[inline(always)]
fn is_for_one(
    Vectors { table, list, values, .. }: &Vectors<'_, ErasedSlice<'_>, ErasedSliceMut<'_>>,
) -> bool {
    list.len() == values.as_slice().len()
        && list.width() == 8
        && table.len() * table.width() < PREFETCH_FROM
        && (list.len() < 2 * GRAIN || parallel::threads() == 1)
}

/// Some elements of dense vectors, each index resolved as it is read. `false` where there is something to refuse, and
/// nothing is done.
#[inline(never)]
pub(super) fn few_resolved(
    vectors: &mut Vectors<'_, ErasedSlice<'_>, ErasedSliceMut<'_>>,
    mode: &Mode<[u8; 16]>,
) -> bool {
    let bound = vectors.table.len();
    is_few(vectors) && vectors.settled(mode, bound).map(|meaning| resolve(vectors, &meaning)).is_some()
}

/// Dense vectors, each index resolved as it is read.
fn resolve(vectors: &mut Vectors<'_, ErasedSlice<'_>, ErasedSliceMut<'_>>, meaning: &Meaning) {
    fn by_index<W: Word>(vectors: &mut Vectors<'_, ErasedSlice<'_>, ErasedSliceMut<'_>>, meaning: &Meaning) {
        with_integer!(vectors.list.width(), meaning.is_signed, resolve_of::<W>(vectors, meaning))
    }
    with_word!(vectors.table.width(), by_index(vectors, meaning))
}

#[inline(never)]
fn resolve_of<W: Word, I: Word>(
    Vectors { table, list, values, .. }: &mut Vectors<'_, ErasedSlice<'_>, ErasedSliceMut<'_>>,
    meaning: &Meaning,
) {
    struct Gather<'v, W, I> {
        table: &'v [W],
        list: &'v [I],
        values: &'v mut [W],
        value: W,
    }
    impl<W: Word, I: Word> OffsetWork<I> for Gather<'_, W, I> {
        #[inline(always)]
        fn run(self, offset: impl Fn(I) -> u64) {
            let Gather { table, list, values, .. } = self;
            set_each(values, list, |i| table[offset(i) as usize]);
        }
        #[inline(always)]
        fn run_with_gaps(self, offset: impl Fn(I) -> u64) {
            let Gather { table, list, values, value } = self;
            let at = |o: u64| usize::try_from(o).ok().and_then(|o| table.get(o));
            set_each(values, list, |i| *at(offset(i)).unwrap_or(&value));
        }
    }
    let value = meaning.fill_value().map_or(W::default(), |value| W::from_bytes(&value));
    let table = &table.typed()[..meaning.bound]; // all of it: what is below the bound is below the length, too
    meaning.resolve_each::<I>(Gather { table, list: list.typed(), values: values.typed(), value });
}

/// Each element of the output from its index. The compiler does not do four of them at once by itself.
#[inline(always)]
fn set_each<W: Word, I: Word>(values: &mut [W], list: &[I], each: impl Fn(I) -> W) {
    let ((fours_of_values, values), (fours, rest)) = (values.as_chunks_mut::<4>(), list.as_chunks::<4>());
    for (values, four) in fours_of_values.iter_mut().zip(fours) {
        values.iter_mut().zip(four).for_each(|(value, &i)| *value = each(i));
    }
    values.iter_mut().zip(rest).for_each(|(value, &i)| *value = each(i));
}

/// The elements that the list names, as far as there is one for each index.
#[inline(always)]
fn gather_all<W: Word, X: Word>(table: &[W], list: &[X], values: &mut [W]) -> bool {
    let set = |(value, &i): (&mut W, &X)| table.get(place(i)).map(|&x| *value = x).is_some();
    let ((fours_of_values, values), (fours, rest)) = (values.as_chunks_mut::<4>(), list.as_chunks::<4>());
    fours_of_values.iter_mut().zip(fours).all(|(values, four)| values.iter_mut().zip(four).all(set))
        && values.iter_mut().zip(rest).all(set)
}

/// The pieces that these numbers describe.
#[inline(always)]
pub(super) fn job<'a>(
    Numbers { table, list, values }: Numbers,
    src: &ErasedView<'a>,
    idx: &ErasedIndices<'a>,
    out: &'a mut ErasedViewMut<'_>,
) -> Gather<'a> {
    let list = idx.piece(idx.list.piece(values.0, list), table.0[INDEX]);
    Job { table: src.piece(table.0, table.1), list, values: out.piece(values.0, values.1), axis: OUTER }
}

/// The short way. See [`super::plan`].
#[inline(never)]
pub(super) fn short(job: &mut Gather<'_>) -> Result<()> {
    let level = Level::current()?;
    job.check(level)?;
    run(job, level);
    Ok(())
}

/// The long way.
#[inline(never)]
pub(super) fn long(
    form: Form,
    src: &ErasedView<'_>,
    idx: &ErasedIndices<'_>,
    out: &mut ErasedViewMut<'_>,
) -> Result<()> {
    if let Some(numbers) = of_dense(form, src, &idx.list, out.as_view()) {
        return short(&mut job(numbers, src, idx, out));
    }
    let mut layout = None;
    match form {
        Form::Axis(axis) => along(src, axis, (idx, false), out),
        Form::Along(axis) => along(src, axis, (idx, true), out),
        Form::Pick => {
            check_labels(src.shape(), &idx.list, (out.as_view().shape(), "the output"))?;
            let list = idx.list.with_axis_of_one(&mut layout)?;
            along(src, 1, (&ErasedIndices { list, ..*idx }, true), out)
        }
        Form::Flat => match src.flattened(&mut layout) {
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
    let values = (out.as_view().layout(), "the output");
    let plan = Plan::new(src.layout(), axis, (idx.list.layout(), is_along), values)?;
    let bound = src.shape()[axis];
    let list = |i| idx.piece(idx.list.piece_of(&plan, LIST, i), bound);
    // All indices are checked before anything is written: those of an only piece where they stand, if that will do.
    let mut only = (plan.pieces() == 1).then(|| list(0));
    if !only.as_mut().is_some_and(|list| list.check_in_place_apart(level)) {
        idx.check(bound, level)?;
    }
    for i in 0..plan.pieces() {
        let list = only.take().unwrap_or_else(|| {
            let mut list = list(i);
            list.check_in_place_apart(level);
            list
        });
        let (table, values) = (src.piece_of(&plan, TABLE, i), out.piece_of(&plan, VALUES, i));
        run_apart(&mut Job { table, list, values, axis: OUTER }, level);
    }
    Ok(())
}

/// [`run`], a function of its own, for those beside whose work a call does not show.
#[inline(never)]
fn run_apart(job: &mut Gather<'_>, level: Level) {
    run(job, level);
}

/// By one thread or several.
#[inline(always)]
fn run(job: &mut Gather<'_>, level: Level) {
    let [planes, len, width] = *job.values.as_piece().shape();
    match planes * len * width {
        ..SMALL => piece(job, Hints::NONE, level),
        elements if elements < 2 * GRAIN => piece(job, Hints::new(job), level),
        _ => shared(job, level),
    }
}

#[cold]
fn shared(job: &mut Gather<'_>, level: Level) {
    let (shape, hints) = (*job.values.as_piece().shape(), Hints::new(job));
    // Cut where whole planes go to one thread, if there are many; else along the longest axis.
    let axis =
        if shape[OUTER] >= 64 { OUTER } else { if shape[INDEX] >= shape[INNER] { INDEX } else { INNER } };
    let unit = shape[OUTER] * shape[INDEX] * shape[INNER] / shape[axis];
    let least = if shape[INNER] > 1 { GRAIN_OF_ROWS } else { GRAIN };
    let job = Job { table: job.table, list: job.list, values: job.values.reborrow(), axis };
    parallel::for_each(job, (least / unit).max(1), |_, mut job| piece(&mut job, hints, level));
}

/// What is decided by the whole table and the whole output, before they are cut: a piece of a large one is
/// not in cache for being small.
#[derive(Clone, Copy)]
struct Hints {
    /// The bytes that the table reaches over.
    reach: usize,
    /// Whether rows are written by non-temporal stores.
    is_streamed: bool,
}

impl Hints {
    /// For a few elements, which would feel their being asked for.
    const NONE: Hints = Hints { reach: 0, is_streamed: false };

    #[inline(always)]
    fn new(job: &Gather<'_>) -> Self {
        let (values, reach) = (job.values.as_piece(), job.table.reach());
        let [planes, len, width] = *values.shape();
        let row = width * values.width();
        let is_long = row >= STREAM_ROWS_FROM && planes * len >= STREAM_FROM / row.max(1);
        Hints { reach, is_streamed: is_long && values.width() >= 4 && !simd::is_intel() }
    }
}

/// By this thread.
#[inline(always)]
fn piece(job: &mut Gather<'_>, hints: Hints, level: Level) {
    if are_rows(&job.table, &job.list, &job.values) {
        copy_rows(job, hints, level)
    } else {
        elements(job, hints.reach)
    }
}

/// Rows: one index names a run of neighbours.
#[inline(never)]
fn copy_rows(job: &mut Gather<'_>, hints: Hints, level: Level) {
    let width = job.values.as_piece().shape()[INNER];
    let has_gaps = job.list.has_gaps();
    let row = width * job.table.width();
    let is_streamed = hints.is_streamed && !has_gaps;
    let ahead = rows_ahead(row, if is_streamed { usize::MAX } else { hints.reach });
    let [planes, len, _] = *job.values.as_piece().shape();
    let Job { table, list, values, .. } = job;
    for_each_block(list, [planes, len, row], None, ahead, |block| {
        if is_streamed {
            let (from, mut to) = block.of_gather(table, values);
            f32::dispatch(level, Streamed { block, rows: (&from, &mut to) });
        } else {
            let (from, mut to) = block.of_gather(table, values);
            copy_block(block, (&from, &mut to), level);
        }
        if has_gaps {
            let value = list.fill_value();
            block.gaps(table.shape()[INDEX]).for_each(|[p, k]| fill_row(values, [p, k, 0], &value));
        }
    });
}

/// The rows of some planes of the table, and those of the output.
type Pair<'r, 'a, T> = (&'r Planes<'a, T>, &'r mut PlanesMut<'a, T>);

/// Short rows by moves of registers, those of more than 32 bytes by the level's; longer ones by `memcpy`, which knows
/// the CPU. The loop over planes stands inside the choice of the move: planes may be many and have few rows each.
#[inline(always)]
fn copy_block(block: &Block<'_>, rows: Pair<'_, '_, u8>, level: Level) {
    with_copy_row!(rows.0.row_len(), copy_rows_by(block, rows),
        33..=64 => f32::dispatch(level, CopyRows::<Twice<32>> { block, rows, copy: PhantomData }),
        65..=128 if level != Level::Portable => {
            f32::dispatch(level, CopyRows::<Twice<64>> { block, rows, copy: PhantomData })
        }
        129..=256 if level != Level::Portable => {
            f32::dispatch(level, CopyRows::<Twice<128>> { block, rows, copy: PhantomData })
        }
        _ => copy_rows_by::<AnyLength>(block, rows),
    )
}

/// [`copy_rows_by`], at a level.
struct CopyRows<'r, 'a, C> {
    block: &'r Block<'r>,
    rows: Pair<'r, 'a, u8>,
    copy: PhantomData<C>,
}

impl<C: CopyRow> Kernel<f32> for CopyRows<'_, '_, C> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<f32>>(self, _: S) {
        self.block.gather(self.rows, C::LEAST, C::copy);
    }
}

#[inline(never)]
fn copy_rows_by<C: CopyRow>(block: &Block<'_>, rows: Pair<'_, '_, u8>) {
    block.gather(rows, C::LEAST, C::copy);
}

/// Overwrites a row with the value that fills.
fn fill_row(values: &mut Erased3Mut<'_>, index: [usize; 3], value: &[u8; 16]) {
    fn fill<W: Word>(values: &mut Erased3Mut<'_>, index: [usize; 3], value: &[u8; 16]) {
        values.typed().run(INNER, index).fill(W::from_bytes(value));
    }
    with_word!(values.as_piece().width(), fill(values, index, value))
}

/// Rows of whole `f32`s, whatever they are, written by non-temporal stores.
struct Streamed<'r, 'a> {
    block: &'r Block<'r>,
    rows: Pair<'r, 'a, f32>,
}

impl Kernel<f32> for Streamed<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<f32>>(self, s: S) {
        let streaming = Streaming::begin();
        self.block.gather(
            self.rows,
            0,
            #[inline(always)]
            |from, to| {
                slices::map_streaming(
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
}

/// Elements one by one.
#[inline(always)]
fn elements(job: &mut Gather<'_>, reach: usize) {
    let values = job.values.as_piece();
    let (shape, strides) = (values.shape(), values.strides());
    let axis = run_axis(shape, strides, &job.list, SHORT_RUN);
    if job.list.words.are_checked() {
        let is_far = reach >= PREFETCH_FROM && axis == INDEX && shape[INDEX] >= 2 * DISTANCE;
        let ahead = if is_far { DISTANCE } else { 0 };
        in_place(
            Runs::of_gather(&job.table, &job.list.words, &mut job.values, axis, ahead),
            &job.table,
            &job.list.words,
        )
    } else {
        resolved(job, axis)
    }
}

/// Straight from the list, by its size and that of an element.
#[inline(always)]
fn in_place(runs: RunsMut<'_>, table: &Erased3<'_>, words: &Words<'_>) {
    with_widths!(table.width(), words.piece().width(), move_runs(runs))
}

/// The kernel, for an element size and an index size.
#[inline(never)]
fn move_runs<W: Word, X: Word>(runs: RunsMut<'_>) {
    runs.gather::<W, X>();
}

/// Where an index may be negative, or means what its mode says: one dense run at once, others by blocks of resolved
/// offsets.
#[inline(never)]
fn resolved(job: &mut Gather<'_>, axis: usize) {
    let shape = *job.values.as_piece().shape();
    if let (Some(table), Some(list)) = (job.table.as_vector(), job.list.words.piece().as_vector())
        && let Some(values) = job.values.as_vector()
    {
        let meaning = job.list.meaning;
        return resolve(&mut Vectors { table, list, is_signed: meaning.is_signed, values }, &meaning);
    }
    let [a, b] = [[INDEX, INNER], [OUTER, INNER], [OUTER, INDEX]][axis];
    block_for!(block, shape[axis]);
    for i in 0..shape[a] {
        for j in 0..shape[b] {
            for first in (0..shape[axis]).step_by(block.len()) {
                let mut index = [0; 3];
                (index[a], index[b], index[axis]) = (i, j, first);
                let len = (shape[axis] - first).min(block.len());
                let offsets = &mut block[..len];
                job.list.fill(axis, index, offsets);
                if job.list.has_gaps() {
                    gather_or(job, (axis, index), offsets);
                } else {
                    let words = checked_block(offsets, axis, job.table.shape()[INDEX], job.list.level());
                    let (table, mut values) =
                        (job.table.table_part(axis, index, len), job.values.part(axis, index, len));
                    in_place(Runs::of_gather(&table, &words, &mut values, axis, 0), &table, &words);
                }
            }
        }
    }
}

/// The run from `index` on, where some offsets may be none.
fn gather_or(job: &mut Gather<'_>, at: (usize, [usize; 3]), offsets: &[u64]) {
    fn run<W: Word>(job: &mut Gather<'_>, (axis, index): (usize, [usize; 3]), offsets: &[u64]) {
        let value = W::from_bytes(&job.list.fill_value());
        let mut values = job.values.typed::<W>();
        job.table.typed().gather_or((axis, index), offsets, value, &mut values.run(axis, index));
    }
    with_word!(job.table.width(), run(job, at, offsets))
}

/// From an array that no stride leads through in C order: the place of each element by a division.
fn scattered(src: &ErasedView<'_>, idx: &ErasedIndices<'_>, out: &mut ErasedViewMut<'_>) -> Result<()> {
    let (flat, level) = (src.as_if_flat(), Level::current()?);
    let values = (out.as_view().layout(), "the output");
    let plan = Plan::new(&flat, 0, (idx.list.layout(), false), values)?;
    idx.check(src.len(), level)?;
    let mut offsets = [0; BLOCK];
    for i in 0..plan.pieces() {
        let list = idx.piece(idx.list.piece_of(&plan, LIST, i), src.len());
        let mut values = out.piece_of(&plan, VALUES, i);
        let len = values.as_piece().shape()[INDEX];
        for first in (0..len).step_by(BLOCK) {
            let offsets = &mut offsets[..(len - first).min(BLOCK)];
            list.fill(INDEX, [0, first, 0], offsets);
            let values = values.part(INDEX, [0, first, 0], offsets.len());
            with_word!(src.width(), scattered_block(src, offsets, values, &list.fill_value()));
        }
    }
    Ok(())
}

fn scattered_block<W: Word>(
    src: &ErasedView<'_>,
    offsets: &[u64],
    mut values: Erased3Mut<'_>,
    value: &[u8; 16],
) {
    let slices = src.axis_slices::<W>(src.rank() - 1); // an array of rank 0 is flat
    let (width, value) = (slices.slice_len(), W::from_bytes(value));
    let mut values = values.typed::<W>().into_run(INDEX);
    for (k, &o) in offsets.iter().enumerate() {
        let (inside, o) = (o < src.len() as u64, o as usize);
        values.set(k, if inside { slices.slice(o / width).get(o % width) } else { value });
    }
}
