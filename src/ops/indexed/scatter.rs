//! Scatter: `table[list] += a · values`, or `table[list] = values`.

use super::plan::{
    Form, Job, Numbers, PREFETCH_FROM, Vectors, are_rows, check_labels, of_dense, place, run_axis,
    with_index, with_widths, with_word,
};
use super::rows::{Block, Own, for_each_block, keep, put_block, rows_ahead};
use crate::array::{
    Erased3, Erased3Mut, ErasedSlice, ErasedSliceMut, ErasedView, ErasedViewMut, INDEX, INNER, LIST, OUTER,
    Plan, Planes, PlanesMut, Runs, RunsMut, TABLE, Update, VALUES, Word,
};
use crate::error::Result;
use crate::index::checked::{
    BLOCK, Meaning, OffsetWork, are_all_below, block_for, checked_block, with_integer,
};
use crate::index::{ErasedIndices, Mode};
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

/// Calls a function for the element type of an operation, or of this width, with its update last.
macro_rules! with_update {
    ($op:expr, $width:expr, $f:ident($($a:expr),*)) => {
        match ($op, $width) {
            (Op::AddF32(a), _) => $f::<f32>($($a,)* Add(a)),
            (Op::AddF64(a), _) => $f::<f64>($($a,)* Add(a)),
            (Op::Put, width) => with_word!(width, $f($($a,)* Put)),
        }
    };
}

/// The elements that a second thread should at least add.
const GRAIN: usize = 1 << 14;

/// Fewer single elements than this are not worth a second thread's going through all indices: 65,536 of them took
/// twice the time.
const FOR_A_SHARE: usize = 1 << 18;

/// Nor are single elements of a destination below this size, in bytes, where to add costs less than to go
/// through the indices. Above it two threads gain on Intel's CPUs (1.2 to 1.7 times); on a Zen 4 one that
/// prefetches is as quick (0.8 to 0.9), so that only three share.
const SHARED: usize = 12 << 20;

/// Bytes of a destination from which on threads share it by its rows: no second-level cache of 1 MiB holds it.
const SHARED_ROWS: usize = 1 << 20;

/// Bytes of a source that a thread which shares a destination should at least have: some 80 us of additions, about
/// as long as a thread that sleeps takes to come (1 MiB in all took 1.4 times as long by two threads).
const SHARED_VALUES: usize = 2 << 20;

/// The same of rows below [`LONG_ROWS`], of which each thread has one piece: one that comes late holds up the call.
/// 4 MiB in rows of 256 bytes took 1.8 times as long by two threads (from outside the pool, after serial work), 16 MiB
/// 1.5 times, 64 MiB 0.83 times.
const SHARED_VALUES_OF_SHORT_ROWS: usize = 16 << 20;

/// Bytes of a row from which on a destination is cut into more pieces than there are threads.
const LONG_ROWS: usize = 1 << 10;

/// Minimum columns per thread, to avoid false sharing.
const COLUMNS: usize = 512;

/// Where threads share a destination, how many of its places are looked at to divide it evenly.
const SAMPLE: usize = 256;

/// Bytes of a destination from which on rows are prefetched: no second-level cache holds it.
const PREFETCH_ROWS_FROM: usize = 3 << 20;

/// At most so many columns of so many planes at least are updated along the planes, where a run for each plane would
/// cost more than its elements (4 to 12 columns of 1,027 x 30: 0.7 to 0.87 of the loop by planes, 1.04 to 1.6 along
/// them; 18 columns 0.86 and 1.04, 32 columns 0.98 and 0.94).
const FEW_COLUMNS: usize = 16;
const MANY_PLANES: usize = 32;

/// A list of so many bytes does not stay in a first-level cache of 48 KiB beside the elements, so that a look at all
/// indices before the first update has them read from farther away a second time.
const LONG_LIST: usize = 32 << 10;

/// A table of this part of a list's bytes is copied in half the time in which the list is read.
const SMALL_TABLE: usize = 8;

/// As in `gather`: longer runs with gaps between their elements are no quicker to be updated.
const SHORT_RUN: usize = 2;

/// How many indices ahead single elements are prefetched.
const DISTANCE: usize = 64;

/// Dense vectors. `false` where an index cannot be read where it stands, or another way is better: then nothing is
/// done.
///
/// Each index is compared with the table's length as it is read, which costs nothing beside the update; and all are
/// looked at before the first update, but where the list leaves the first-level cache and is far larger than the
/// table. Then that costs more than a copy of the table, which is put back where an index turns out to be wrong:
/// nobody sees what was done until then, as the caller lends the table exclusively, and nothing between the first
/// update and the last one can panic.
#[inline(never)]
pub(super) fn dense(vectors: &mut Vectors<'_, ErasedSliceMut<'_>, ErasedSlice<'_>>, op: Op) -> bool {
    fn run<T: Word, X: Word>(
        vectors: &mut Vectors<'_, ErasedSliceMut<'_>, ErasedSlice<'_>>,
        update: impl Update<T>,
        level: Level,
    ) -> bool {
        let (list, values) = (vectors.list.typed::<X>(), vectors.values.typed::<T>());
        let places = vectors.places::<X>(vectors.table.as_slice().len());
        let table = &mut vectors.table.typed::<T>()[..places];
        let list_bytes = size_of_val(list);
        let is_small = list_bytes >= LONG_LIST && size_of_val(table) <= list_bytes / SMALL_TABLE;
        let before = if is_small { copy(table) } else { None };
        let is_done = (before.is_some() || are_all_below(list, places, level))
            && update_all(table, list, values, update);
        if let (false, Some(before)) = (is_done, before) {
            table.copy_from_slice(&before);
        }
        is_done
    }
    let (element, index) = (vectors.values.width(), vectors.list.width());
    let Some(level) = Level::current().ok() else { return false };
    if !is_for_one(vectors) {
        return false;
    }
    match op {
        Op::AddF32(a) => with_index!(index, run::<f32>(vectors, Add(a), level)),
        Op::AddF64(a) => with_index!(index, run::<f64>(vectors, Add(a), level)),
        Op::Put => with_widths!(element, index, run(vectors, Put, level)),
    }
}

/// Whether there is an index for each element of the values, and one thread should update with them, without
/// prefetches.
#[inline(always)]
fn is_for_one(
    Vectors { table, list, values, .. }: &Vectors<'_, ErasedSliceMut<'_>, ErasedSlice<'_>>,
) -> bool {
    let table = table.as_slice();
    list.len() == values.len() && (list.len() < 2 * DISTANCE || table.len() * table.width() < SHARED)
}

/// A copy of a table, if there is room for it.
#[cold]
#[inline(never)]
fn copy<T: Word>(table: &[T]) -> Option<Vec<T>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(table.len()).ok()?;
    copy.extend_from_slice(table);
    Some(copy)
}

/// Updates the places that the list names, as far as there is one for each index. The compiler does not do four of them
/// at once by itself.
#[inline(always)]
fn update_all<T: Word, X: Word>(table: &mut [T], list: &[X], values: &[T], update: impl Update<T>) -> bool {
    let mut set = |(&i, &x): (&X, &T)| table.get_mut(place(i)).map(|to| update.update(to, x)).is_some();
    let ((lists, list), (fours_of_values, values)) = (list.as_chunks::<4>(), values.as_chunks::<4>());
    lists.iter().zip(fours_of_values).all(|(list, values)| list.iter().zip(values).all(&mut set))
        && list.iter().zip(values).all(set)
}

/// As [`dense`], each index resolved as it is read. `false` where there is something to refuse, and nothing is done.
#[inline(never)]
pub(super) fn few_resolved(
    vectors: &mut Vectors<'_, ErasedSliceMut<'_>, ErasedSlice<'_>>,
    mode: &Mode<[u8; 16]>,
    op: Op,
) -> bool {
    let bound = vectors.table.as_slice().len();
    is_for_one(vectors)
        && vectors.settled(mode, bound).map(|meaning| resolve(vectors, &meaning, op)).is_some()
}

/// Dense vectors, each index resolved as it is read.
fn resolve(vectors: &mut Vectors<'_, ErasedSliceMut<'_>, ErasedSlice<'_>>, meaning: &Meaning, op: Op) {
    fn by_index<T: Word>(
        vectors: &mut Vectors<'_, ErasedSliceMut<'_>, ErasedSlice<'_>>,
        meaning: &Meaning,
        update: impl Update<T>,
    ) {
        with_integer!(vectors.list.width(), meaning.is_signed, resolve_of::<T>(vectors, meaning, update))
    }
    with_update!(op, vectors.values.width(), by_index(vectors, meaning));
}

#[inline(never)]
fn resolve_of<T: Word, I: Word>(
    Vectors { table, list, values, .. }: &mut Vectors<'_, ErasedSliceMut<'_>, ErasedSlice<'_>>,
    meaning: &Meaning,
    update: impl Update<T>,
) {
    struct Scatter<'v, T, I, U> {
        table: &'v mut [T],
        list: &'v [I],
        values: &'v [T],
        update: U,
    }
    impl<T: Word, I: Word, U: Update<T>> OffsetWork<I> for Scatter<'_, T, I, U> {
        #[inline(always)]
        fn run(self, offset: impl Fn(I) -> u64) {
            for (&x, &i) in self.values.iter().zip(self.list) {
                self.update.update(&mut self.table[offset(i) as usize], x);
            }
        }
        #[inline(always)]
        fn run_with_gaps(self, offset: impl Fn(I) -> u64) {
            for (&x, &i) in self.values.iter().zip(self.list) {
                if let Some(to) = usize::try_from(offset(i)).ok().and_then(|o| self.table.get_mut(o)) {
                    self.update.update(to, x);
                }
            }
        }
    }
    meaning.resolve_each::<I>(Scatter {
        table: &mut table.typed()[..meaning.bound], // as in `gather`
        list: list.typed(),
        values: values.typed(),
        update,
    });
}

/// The pieces that these numbers describe.
#[inline(always)]
pub(super) fn job<'a>(
    Numbers { table, list, values }: Numbers,
    dst: &'a mut ErasedViewMut<'_>,
    idx: &ErasedIndices<'a>,
    src: &ErasedView<'a>,
) -> Scatter<'a> {
    let list = idx.piece(idx.list.piece(values.0, list), table.0[INDEX]);
    Job { table: dst.piece(table.0, table.1), list, values: src.piece(values.0, values.1), axis: OUTER }
}

/// The short way. See [`super::plan`].
#[inline(never)]
pub(super) fn short(job: &mut Scatter<'_>, op: Op) -> Result<()> {
    let level = Level::current()?;
    job.check(level)?;
    run(job, op, level);
    Ok(())
}

/// The long way.
#[inline(never)]
pub(super) fn long(
    form: Form,
    dst: &mut ErasedViewMut<'_>,
    idx: &ErasedIndices<'_>,
    src: &ErasedView<'_>,
    op: Op,
) -> Result<()> {
    if let Some(numbers) = of_dense(form, dst.as_view(), &idx.list, src) {
        return short(&mut job(numbers, dst, idx, src), op);
    }
    let mut layout = None;
    match form {
        Form::Axis(axis) => along(dst, axis, (idx, false), src, op),
        Form::Along(axis) => along(dst, axis, (idx, true), src, op),
        Form::Pick => {
            check_labels(dst.as_view().shape(), &idx.list, (src.shape(), "the source"))?;
            let list = idx.list.with_axis_of_one(&mut layout)?;
            along(dst, 1, (&ErasedIndices { list, ..*idx }, true), src, op)
        }
        Form::Flat => match dst.flattened(&mut layout) {
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
    let values = (src.layout(), "the source");
    let plan = Plan::new(dst.as_view().layout(), axis, (idx.list.layout(), is_along), values)?;
    let bound = dst.as_view().shape()[axis];
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
        let (table, values) = (dst.piece_of(&plan, TABLE, i), src.piece_of(&plan, VALUES, i));
        run_apart(&mut Job { table, list, values, axis: OUTER }, op, level);
    }
    Ok(())
}

/// [`run`], a function of its own, for those beside whose work a call does not show.
#[inline(never)]
fn run_apart(job: &mut Scatter<'_>, op: Op, level: Level) {
    run(job, op, level);
}

/// By one thread or several. No two ever update one element, so its sum is in the order of the indices.
#[inline(always)]
fn run(job: &mut Scatter<'_>, op: Op, level: Level) {
    let [planes, len, width] = *job.values.shape();
    if planes * len * width < 2 * GRAIN { piece(job, None, op, level) } else { shared(job, op, level) }
}

#[cold]
fn shared(job: &mut Scatter<'_>, op: Op, level: Level) {
    let [planes, len, width] = *job.values.shape();
    let threads = parallel::threads();
    // Where threads share a destination, each piece reads all indices, and the lines beside its rows. Beside long
    // rows that is little, so there are more pieces than threads, and a helper that comes late still finds some;
    // with rows of 256 bytes eight pieces took twice the time of one.
    let row = width * job.values.width();
    let each = if row >= LONG_ROWS { 4 } else { 1 };
    let least = match width {
        1 => GRAIN * row,
        _ if row < LONG_ROWS => SHARED_VALUES_OF_SHORT_ROWS,
        _ => SHARED_VALUES,
    };
    let pieces = (each * threads).min(planes * len * row / least);
    let mut cut = |axis, grain| {
        let job = Job { table: job.table.reborrow(), list: job.list, values: job.values, axis };
        parallel::for_each(job, grain, |_, mut job| piece(&mut job, None, op, level));
    };
    if threads < 2 {
        piece(job, None, op, level);
    } else if planes >= 2 * threads {
        cut(OUTER, GRAIN.div_ceil(len * width));
    } else if width >= GRAIN || width >= 2 * COLUMNS && job.list.stride(INNER) != 0 {
        cut(INNER, (GRAIN / len).max(COLUMNS));
    } else if pieces < 2 || !is_shared(job.table.as_piece().reach(), len, width, threads) {
        piece(job, None, op, level);
    } else {
        let job = Job { table: job.table.reborrow(), list: job.list, values: job.values, axis: OUTER };
        let pieces = by_destination(job, pieces);
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

/// Cuts the destination where its places are named about equally often before and after, as far as a sample
/// shows; each piece with the number of its first place. Every piece goes through all indices and updates
/// what is its own, so where the cuts are does not show in the sums.
fn by_destination(job: Scatter<'_>, pieces: usize) -> Vec<(usize, Scatter<'_>)> {
    let (len, n) = (job.values.shape()[INDEX], job.table.as_piece().shape()[INDEX]);
    let (mut sample, mut offset) = (Vec::with_capacity(SAMPLE), [0]);
    for i in 0..SAMPLE.min(len) {
        job.list.fill(INDEX, [0, i * (len / SAMPLE.min(len)), 0], &mut offset);
        sample.extend(usize::try_from(offset[0]).ok().filter(|&o| o < n));
    }
    sample.sort_unstable();
    let (list, values, axis) = (job.list, job.values, job.axis);
    let (mut done, mut first, mut rest) = (Vec::with_capacity(pieces), 0, job.table);
    for i in 1..pieces {
        let cut = sample.get(i * sample.len() / pieces).copied().unwrap_or(0);
        if cut > first {
            let (table, beyond) = rest.split_at(INDEX, cut - first);
            done.push((first, Job { table, list, values, axis }));
            (first, rest) = (cut, beyond);
        }
    }
    done.push((first, Job { table: rest, list, values, axis }));
    done
}

/// By this thread. Where a first place is given, the table has the places from there on alone, and others'
/// indices are left to them.
#[inline(always)]
fn piece(job: &mut Scatter<'_>, first: Option<usize>, op: Op, level: Level) {
    let own = match first {
        None if !job.list.has_gaps() => None,
        first => Some((first.unwrap_or(0), job.table.as_piece().shape()[INDEX])),
    };
    if are_rows(job.table.as_piece(), &job.list, &job.values) {
        update_rows(job, own, op, level)
    } else {
        elements(job, own, first.is_some(), op)
    }
}

/// Rows: one index names a run of neighbours.
#[inline(never)]
fn update_rows(job: &mut Scatter<'_>, own: Own, op: Op, level: Level) {
    let [planes, len, width] = *job.values.shape();
    let (row, reach) = (width * job.values.width(), job.table.as_piece().reach());
    // A row that is added to is read, too.
    let adds_ahead =
        if reach < PREFETCH_ROWS_FROM || simd::is_intel() { 0 } else { ((32 << 10) / row).min(16) };
    let ahead = if matches!(op, Op::Put) { rows_ahead(row, reach) } else { adds_ahead };
    let Job { table, list, values, .. } = job;
    for_each_block(list, [planes, len, row], own, ahead, |block| match op {
        Op::AddF32(a) => add_rows(block, block.of_scatter(table, values), a, level),
        Op::AddF64(a) => add_rows(block, block.of_scatter(table, values), a, level),
        Op::Put => put_block(block, table, values),
    });
}

/// The rows of a block, added.
struct AddRows<'r, 'a, T> {
    block: &'r Block<'r>,
    rows: (&'r mut PlanesMut<'a, T>, &'r Planes<'a, T>),
    a: T,
}

/// Rows of fewer bytes are added without a level: their vectors are of 16 bytes at any, and a block of them is soon
/// done.
const SHORT_ROW: usize = 64;

#[inline(always)]
fn add_rows<T: Float + Word>(
    block: &Block<'_>,
    (mut to, from): (PlanesMut<'_, T>, Planes<'_, T>),
    a: T,
    level: Level,
) {
    let rows = AddRows { block, rows: (&mut to, &from), a };
    if from.row_len() * size_of::<T>() < SHORT_ROW { add_short_rows(rows) } else { T::dispatch(level, rows) }
}

#[inline(never)]
fn add_short_rows<T: Float + Word>(rows: AddRows<'_, '_, T>) {
    macro_rules! by_length {
        ($($n:literal)*) => {
            match rows.rows.1.row_len() {
                $($n if !rows.block.is_kept() => rows.add_all::<true, $n>(),)*
                _ => rows.add_all::<false, 4>(),
            }
        };
    }
    by_length!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
}

impl<T: Float + Word> AddRows<'_, '_, T> {
    /// By `N` elements, of which a row may have more, or exactly so many.
    #[inline(always)]
    fn add_all<const EXACTLY: bool, const N: usize>(self) {
        let AddRows { block, rows, a } = self;
        if EXACTLY && N * size_of::<T>() >= SHORT_ROW {
            return; // there is no such short row
        }
        if EXACTLY || !block.is_kept() {
            block.scatter(
                rows,
                if EXACTLY { N } else { 0 },
                #[inline(always)]
                |from, to| if EXACTLY { add_exactly::<T, N>(from, to, a) } else { add::<T, N>(from, to, a) },
            )
        } else {
            block.scatter_kept(
                rows,
                #[inline(always)]
                |from, to| add::<T, N>(from, to, a),
            )
        }
    }
}

impl<T: Float + Word> Kernel<T> for AddRows<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, _: S) {
        // Of `f64`, eight are wider than the vectors that the compiler makes of an array, and went one by one.
        if size_of::<T>() == 8 { self.add_all::<false, 4>() } else { self.add_all::<false, 8>() }
    }
}

#[inline(always)]
fn add_exactly<T: Float, const N: usize>(from: &[T], to: &mut [T], a: T) {
    if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut::<N>()) {
        // By value, so that nobody asks whether the two overlap.
        let (mut sum, from) = (*to, *from);
        for (sum, from) in sum.iter_mut().zip(from) {
            *sum += a * from;
        }
        *to = sum;
    }
}

/// `to += a · from`, rounded twice: by `N` elements, and what is left by pieces of 4, 2 and 1, so that a row
/// that is updated again finds each piece as it was stored. Short rows go by 4, as they are often updated
/// again at once: a wide store is slow to be loaded from.
#[inline(always)]
fn add<T: Float, const N: usize>(from: &[T], to: &mut [T], a: T) {
    let (wholes, from) = from.as_chunks::<N>();
    let (to_wholes, to) = to.as_chunks_mut::<N>();
    for (from, to) in wholes.iter().zip(to_wholes) {
        add_exactly::<T, N>(from, to, a);
        // One piece after the other: the compiler would take four at once, in vectors that it shuffles twice.
        std::hint::black_box(());
    }
    let mut at = 0;
    if N > 4 && from.len() & 4 != 0 {
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

/// Elements one by one. Whatever the axis of the runs, what updates one element comes in the order of the indices.
#[inline(always)]
fn elements(job: &mut Scatter<'_>, own: Own, is_part: bool, op: Op) {
    if !is_part
        && !job.list.words.are_checked()
        && let (Some(list), Some(values)) = (job.list.words.piece().as_vector(), job.values.as_vector())
        && let Some(table) = job.table.as_vector()
    {
        let meaning = job.list.meaning;
        return resolve(&mut Vectors { table, list, is_signed: meaning.is_signed, values }, &meaning, op);
    }
    let (shape, strides) = (job.values.shape(), job.values.strides());
    let has_few_columns = (2..=FEW_COLUMNS).contains(&shape[INDEX]) && shape[INNER] == 1;
    let axis = if is_part {
        INDEX
    } else if has_few_columns && shape[OUTER] >= MANY_PLANES && job.list.stride(OUTER) == 0 {
        OUTER
    } else {
        run_axis(shape, strides, &job.list, SHORT_RUN)
    };
    if own.is_some() || !job.list.words.are_checked() {
        return resolved(job, own, axis, op);
    }
    // On Intel's CPUs, with caches as large, prefetching took longer (results/tried/scatter.md).
    let is_far = axis == INDEX
        && shape[INDEX] >= 2 * DISTANCE
        && job.table.as_piece().reach() >= PREFETCH_FROM
        && !simd::is_intel();
    let (ahead, width, words) = (if is_far { DISTANCE } else { 0 }, job.values.width(), job.list.words);
    let runs = Runs::of_scatter(&mut job.table, &words, &job.values, axis, ahead);
    let index = words.piece().width();
    match op {
        Op::AddF32(a) => with_index!(index, update_runs::<f32>(runs, Add(a))),
        Op::AddF64(a) => with_index!(index, update_runs::<f64>(runs, Add(a))),
        Op::Put => with_widths!(width, index, update_runs(runs, Put)),
    }
}

/// The kernel, for an element type and an index size.
#[inline(never)]
fn update_runs<T: Word, X: Word>(runs: RunsMut<'_>, update: impl Update<T>) {
    runs.scatter::<T, X>(update);
}

/// By blocks of resolved offsets: where an index may be negative, or means what its mode says, or is another
/// thread's.
#[cold]
#[inline(never)]
fn resolved(job: &mut Scatter<'_>, own: Own, axis: usize, op: Op) {
    fn update_block<T: Word>(runs: RunsMut<'_>, update: impl Update<T>) {
        update_runs::<T, u64>(runs, update);
    }
    let (shape, width) = (*job.values.shape(), job.values.width());
    let [a, b] = [[INNER, INDEX], [OUTER, INNER], [OUTER, INDEX]][axis];
    block_for!(block, shape[axis]);
    for i in 0..shape[a] {
        for j in 0..shape[b] {
            for first in (0..shape[axis]).step_by(block.len()) {
                let mut index = [0; 3];
                (index[a], index[b], index[axis]) = (i, j, first);
                let len = (shape[axis] - first).min(block.len());
                let offsets = &mut block[..len];
                job.list.fill(axis, index, offsets);
                if let Some((from, _)) = own {
                    with_update!(op, width, update_some(job, from, (axis, index), offsets));
                } else {
                    let words =
                        checked_block(offsets, axis, job.table.as_piece().shape()[INDEX], job.list.level());
                    let (mut table, values) =
                        (job.table.table_part(axis, index, len), job.values.part(axis, index, len));
                    let runs = Runs::of_scatter(&mut table, &words, &values, axis, 0);
                    with_update!(op, width, update_block(runs));
                }
            }
        }
    }
}

/// The run along `axis` from `index` on, of whose offsets only those are meant that the table has, counted from `from`.
#[inline(never)]
fn update_some<T: Word>(
    job: &mut Scatter<'_>,
    from: usize,
    (axis, index): (usize, [usize; 3]),
    offsets: &mut [u64],
    update: impl Update<T>,
) {
    let (len, n) = (offsets.len(), job.table.as_piece().shape()[INDEX]);
    let (room, kept) = (&mut [T::default(); BLOCK][..len], &mut [0; BLOCK]);
    job.values.typed().run(axis, index).copy_to(0, room);
    if axis == INDEX {
        let len = keep(offsets, from, n, kept);
        (0..len).for_each(|k| room[k] = room[kept[k] as usize]); // never behind `k`
        let words = checked_block(&offsets[..len], axis, n, job.list.level());
        let (mut table, values) =
            (job.table.table_part(axis, index, len), Erased3::from_slice(&room[..len], axis));
        update_runs::<T, u64>(Runs::of_scatter(&mut table, &words, &values, axis, 0), update);
    } else {
        job.table.typed().update_inside((axis, index), offsets, room, update);
    }
}

/// To an array that no stride leads through in C order: the place of each element by a division.
fn scattered(
    dst: &mut ErasedViewMut<'_>,
    idx: &ErasedIndices<'_>,
    src: &ErasedView<'_>,
    op: Op,
) -> Result<()> {
    let (places, flat) = (dst.as_view().len(), dst.as_view().as_if_flat());
    let level = Level::current()?;
    let plan = Plan::new(&flat, 0, (idx.list.layout(), false), (src.layout(), "the source"))?;
    idx.check(places, level)?;
    let mut offsets = [0; BLOCK];
    for i in 0..plan.pieces() {
        let list = idx.piece(idx.list.piece_of(&plan, LIST, i), places);
        let values = src.piece_of(&plan, VALUES, i);
        let len = values.shape()[INDEX];
        for first in (0..len).step_by(BLOCK) {
            let offsets = &mut offsets[..(len - first).min(BLOCK)];
            list.fill(INDEX, [0, first, 0], offsets);
            let values = values.part(INDEX, [0, first, 0], offsets.len());
            with_update!(op, src.width(), scattered_block(dst, offsets, values));
        }
    }
    Ok(())
}

fn scattered_block<T: Word>(
    dst: &mut ErasedViewMut<'_>,
    offsets: &[u64],
    values: Erased3<'_>,
    update: impl Update<T>,
) {
    let (places, rank) = (dst.as_view().len(), dst.as_view().rank()); // of at least 2 axes: others are flat
    let mut slices = dst.axis_slices::<T>(rank - 1);
    let width = slices.slice_len();
    let values = values.typed::<T>().run(INDEX, [0; 3]);
    for (k, &o) in offsets.iter().enumerate().filter(|&(_, &o)| o < places as u64) {
        update.update(slices.slice(o as usize / width).at(o as usize % width), values.get(k));
    }
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
            let mut dst = ViewMut::from(&mut shared);
            let (src, idx) = (View::from(&src), Indices::<u32, f32>::from(&idx));
            let (mut dst, src, idx) = (dst.erased(), src.erased(), idx.erased());
            let plan = Plan::new(dst.as_view().layout(), 0, (idx.list.layout(), false), (src.layout(), ""))
                .expect("a fit");
            let list = idx.piece(idx.list.piece_of(&plan, LIST, 0), places as usize);
            let (table, values) = (dst.piece_of(&plan, TABLE, 0), src.piece_of(&plan, VALUES, 0));
            let cut = by_destination(Job { table, list, values, axis: OUTER }, pieces);
            assert!(cut.len() > 1);
            for (first, mut job) in cut {
                piece(&mut job, Some(first), Op::AddF32(-0.3), Level::Portable);
            }
            assert!(shared == alone, "{pieces}");
        }
    }
}
