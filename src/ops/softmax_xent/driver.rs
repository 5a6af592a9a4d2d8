//! Which rows go through the kernel together, and where what it finds out about them goes.

use super::by_class::ByClass;
use super::by_row::{Pass, Sum, Write};
use super::chunks::{Chunks, Columns, Pipelined, PreviousRow, Row};
use super::labels::Labels;
use super::lanes::{self, TransposeTile};
use super::math::{self, ChunkStats, Group, LogSumExp, NO_CLASS, RowStats, Scratch, Stats};
use super::partial::Partial;
use super::plan::{Plan, chunk_classes};
use super::scale::{CallScale, LossSum, add_loss};
use crate::array::{AxisSlice, AxisSliceMut, AxisSlices, AxisSlicesMut};
use crate::parallel::{self, Split};
use crate::simd::slices::{self, Bounds, stored};
use crate::simd::{Compiled, Float, Kernel, Level, Simd, Streaming};
use std::marker::PhantomData;
use std::ops::Range;

/// Rows to work on, and all that is read and written of them. What is `None` is not wanted.
pub(super) struct Rows<'a, T> {
    pub(super) targets: Targets<'a>,
    /// The logits; where `None`, they are in `to`.
    pub(super) from: Option<AxisSlices<'a, T>>,
    /// The gradient.
    pub(super) to: Option<AxisSlicesMut<'a, T>>,
    /// A factor for each row's gradient.
    pub(super) upstream: Option<&'a [T]>,
    /// A factor for each row's loss and gradient.
    pub(super) row_weights: Option<&'a [T]>,
    /// The rows' sums, where they are known already.
    pub(super) known: Option<&'a [Partial<T>]>,
    pub(super) found: Option<&'a mut [Partial<T>]>,
    pub(super) losses: Option<&'a mut [T]>,
    pub(super) lse: Option<&'a mut [T]>,
    /// The sum of the losses of each block of rows.
    pub(super) totals: Option<&'a mut [LossSum]>,
    /// Rows of a block, the unit of work.
    pub(super) block: usize,
}

/// The labels of a range of rows.
#[derive(Clone)]
pub(super) struct Targets<'a> {
    pub(super) labels: &'a Labels<'a>,
    pub(super) rows: Range<usize>,
}

impl Split for Targets<'_> {
    fn len(&self) -> usize {
        Split::len(&self.rows)
    }
    fn split_at(self, mid: usize) -> (Self, Self) {
        let (a, b) = Split::split_at(self.rows, mid);
        (Targets { rows: a, ..self }, Targets { rows: b, ..self })
    }
}

/// The losses of a block of rows, added up: those of rows i, i + LANES, i + 2·LANES … apart, so that none
/// waits for the one before.
#[derive(Default)]
pub(super) struct Total {
    /// The block's first row.
    start: usize,
    ordinary: [f64; 16],
    /// See [`LossSum`].
    huge: [f64; 16],
    pub(super) correct: u64,
}

impl Total {
    /// Of no row yet, of a block that begins at the row `start`.
    #[inline(always)]
    pub(super) fn of_block(start: usize) -> Self {
        Total { start, ..Total::default() }
    }

    /// Adds the losses of `count` rows from `row` on. Where there are more losses, a vector of them, the others are 0.
    #[inline(always)]
    pub(super) fn add<T: Float>(&mut self, row: usize, losses: &[T], count: usize) {
        let Total { start, ordinary, huge, .. } = self;
        let row = row - *start;
        if losses.len() == T::LANES && row.is_multiple_of(T::LANES) {
            for ((sum, huge), &loss) in ordinary.iter_mut().zip(huge).zip(losses) {
                add_loss(loss, sum, huge);
            }
        } else {
            for (i, &loss) in losses[..count].iter().enumerate() {
                let lane = (row + i) % T::LANES;
                add_loss(loss, &mut ordinary[lane], &mut huge[lane]);
            }
        }
    }

    /// The sum of all, joined by halves.
    #[inline(always)]
    pub(super) fn value(self) -> LossSum {
        let join = |mut sums: [f64; 16]| {
            for width in [8, 4, 2, 1] {
                for i in 0..width {
                    sums[i] += sums[i + width];
                }
            }
            sums[0]
        };
        LossSum { ordinary: join(self.ordinary), huge: join(self.huge), correct: self.correct }
    }
}

/// Cuts what is there.
pub(super) fn cut<W: Split>(work: Option<W>, at: usize) -> (Option<W>, Option<W>) {
    work.map(|work| work.split_at(at)).map_or((None, None), |(a, b)| (Some(a), Some(b)))
}

impl<'a, T: Float> Rows<'a, T> {
    /// The gradients of a group's ignored rows are 0, whatever their logits are.
    #[inline(always)]
    fn clear_ignored<S: Simd<T>>(&mut self, s: S, group: &Group<T>, streaming: Option<&Streaming>) {
        let Some(to) = &mut self.to else { return };
        for (row, &class) in (group.first..).zip(&group.classes[..group.count]) {
            if class != NO_CLASS {
                continue;
            }
            let mut slice = to.slice(row);
            match (slice.as_slice_mut(), streaming) {
                (Some(to), Some(streaming)) => slices::clear_streaming(s, to, streaming),
                _ => slice.fill(T::ZERO),
            }
        }
        if let Some(streaming) = streaming {
            streaming.fence();
        }
    }

    /// A row's logits, where there is one, and they are dense and not in `to`.
    #[inline(always)]
    fn logits(&self, row: usize) -> &'a [T] {
        let from = self.from.as_ref().filter(|_| row < self.targets.len());
        from.and_then(|from| from.slice(row).as_slice()).unwrap_or_default()
    }

    /// Gives the targets of a group's rows their gradients.
    #[inline(always)]
    fn set_targets(&mut self, group: &Group<T>, first_class: usize) {
        let Some(to) = &mut self.to else { return };
        for lane in group.with_target() {
            let at = group.classes[lane].wrapping_sub(first_class);
            if at < to.slice_len() {
                to.slice(group.first + lane).set(at, group.factors.target(lane));
            }
        }
    }

    /// Makes `group` that of these rows.
    #[inline(always)]
    pub(super) fn load_targets(&self, plan: &Plan<'_, T>, group: &mut Group<T>, rows: Range<usize>) {
        let (first, count) = (rows.start, rows.end - rows.start);
        (group.first, group.count) = (first, count);
        if count < T::LANES {
            group.classes[count..].fill(NO_CLASS);
        }
        self.targets.labels.read(self.targets.rows.start + first, &mut group.classes[..count]);
        if let Some(weights) = plan.weights {
            // One by one, long before they are read as a vector, which would else wait for them.
            for (weight, &class) in group.weights.as_mut().iter_mut().zip(&group.classes) {
                *weight = weights.get(class).copied().unwrap_or(T::ZERO);
            }
        }
    }
}

impl<T: Float> Split for Box<Rows<'_, T>> {
    fn len(&self) -> usize {
        self.blocks()
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        let (a, b) = self.split_at_block(mid);
        (Box::new(a), Box::new(b))
    }
}

impl<T: Float> Rows<'_, T> {
    /// The number of blocks.
    fn blocks(&self) -> usize {
        self.targets.len().div_ceil(self.block)
    }

    /// Takes all, and leaves no rows.
    fn take(&mut self) -> Self {
        let targets = Targets { labels: self.targets.labels, rows: 0..0 };
        let none = Rows {
            targets,
            from: None,
            to: None,
            upstream: None,
            row_weights: None,
            known: None,
            found: None,
            losses: None,
            lse: None,
            totals: None,
            block: self.block,
        };
        std::mem::replace(self, none)
    }

    fn split_at_block(self, mid: usize) -> (Self, Self) {
        let at = self.targets.len().min(mid * self.block);
        let (targets, targets_b) = self.targets.split_at(at);
        let (from, from_b) = cut(self.from, at);
        let (to, to_b) = cut(self.to, at);
        let (upstream, upstream_b) = cut(self.upstream, at);
        let (row_weights, row_weights_b) = cut(self.row_weights, at);
        let (known, known_b) = cut(self.known, at);
        let (found, found_b) = cut(self.found, at);
        let (losses, losses_b) = cut(self.losses, at);
        let (lse, lse_b) = cut(self.lse, at);
        let (totals, totals_b) = cut(self.totals, mid);
        let block = self.block;
        (
            Rows { targets, from, to, upstream, row_weights, known, found, losses, lse, totals, block },
            Rows {
                targets: targets_b,
                from: from_b,
                to: to_b,
                upstream: upstream_b,
                row_weights: row_weights_b,
                known: known_b,
                found: found_b,
                losses: losses_b,
                lse: lse_b,
                totals: totals_b,
                block,
            },
        )
    }
}

/// The kernel for a piece of the rows.
pub(super) struct Job<'p, 'a, T: Float> {
    pub(super) plan: &'p Plan<'p, T>,
    /// By way of a pointer: it goes through many hands, and is large.
    pub(super) rows: &'p mut Rows<'a, T>,
    pub(super) classes: usize,
    pub(super) scale: CallScale<T>,
    /// Whether rows sit in lanes.
    pub(super) row_per_lane: bool,
    /// Whether the gradient is written by streaming stores.
    pub(super) streams: bool,
    /// Whether the logits come from beyond the second-level cache.
    pub(super) far: bool,
}

/// [`Job::by_rows_or_chunks`], compiled with this crate.
struct Run<'j, 'p, 'a>(PhantomData<(&'j (), &'p (), &'a ())>);

impl<'j, 'p: 'j, 'a: 'p> Compiled for Run<'j, 'p, 'a> {
    type Of<T: Float> = (&'j mut Job<'p, 'a, T>, Level);
    type Answer<T: Float> = ();
    fn f32((job, level): Self::Of<f32>) {
        job.by_rows_or_chunks(level);
    }
    fn f64((job, level): Self::Of<f64>) {
        job.by_rows_or_chunks(level);
    }
}

impl<'p, 'a, T: Float> Job<'p, 'a, T> {
    /// Does all the work.
    pub(super) fn run_at(&mut self, level: Level) {
        T::compiled::<Run<'_, 'p, 'a>>((self, level));
    }

    fn by_rows_or_chunks(&mut self, level: Level) {
        if self.rows.targets.len() == 0 {
            return; // what has no rows may claim more classes than there is memory for
        }
        if self.is_cut() {
            return self.by_chunks(level);
        }
        let (rows, blocks) = (self.rows.targets.len(), self.rows.blocks());
        let bytes = rows.saturating_mul(self.classes).saturating_mul(size_of::<T>());
        if parallel::is_little(blocks, bytes) {
            return T::dispatch(level, self);
        }
        // A piece's last group is written with nothing made in the same loop, so pieces are few where groups are
        // pipelined.
        let pieces = if self.is_pipelined() || self.is_by_class() {
            PIPELINED_PIECES * parallel::threads()
        } else {
            usize::MAX
        };
        let Job { plan, ref mut rows, classes, scale, row_per_lane, streams, far } = *self;
        parallel::for_each(Box::new(rows.take()), blocks / pieces, |_, mut rows| {
            let rows = &mut *rows;
            T::dispatch(level, &mut Job { plan, rows, classes, scale, row_per_lane, streams, far });
        });
    }
}

/// Pieces for each thread where groups of rows are pipelined.
const PIPELINED_PIECES: usize = 4;

/// [`Job::tiles`], a function of its own.
struct ByTransposeTiles<'s, 'p, 'a, T: Float> {
    job: &'s mut Job<'p, 'a, T>,
    scratch: &'s mut Scratch<T>,
}

impl<T: Float> Kernel<T> for ByTransposeTiles<'_, '_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        self.job.tiles(s, self.scratch);
    }
}

impl<T: Float> Kernel<T> for &mut Job<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        parallel::with_scratch(
            #[inline(always)]
            |scratch| {
                if S::FUSED && self.fits_transpose_tiles() {
                    s.outlined(ByTransposeTiles { job: self, scratch });
                } else if S::FUSED && self.is_by_class() {
                    s.outlined(ByClass { job: self, scratch });
                } else if S::FUSED && self.is_pipelined() {
                    self.pipelined_groups(s, scratch)
                } else if self.row_per_lane {
                    self.blocks::<S, true>(s, scratch)
                } else {
                    self.blocks::<S, false>(s, scratch)
                }
            },
        );
    }
}

/// A range in pieces of `step`, the last of which may be shorter. Without the division of `step_by`.
#[inline(always)]
pub(super) fn pieces(of: Range<usize>, step: usize) -> impl Iterator<Item = Range<usize>> {
    let Range { mut start, end } = of;
    std::iter::from_fn(
        #[inline(always)]
        move || {
            let piece = start..end.min(start + step);
            start = piece.end;
            (!piece.is_empty()).then_some(piece)
        },
    )
}

/// The first `len` of a list that is kept from call to call, and grows where it has not as many.
#[inline(always)]
pub(super) fn grown<E>(list: &mut Vec<E>, len: usize, new: impl Fn() -> E) -> &mut [E] {
    #[cold]
    #[inline(never)]
    fn grow<E>(list: &mut Vec<E>, len: usize, new: impl Fn() -> E) {
        list.resize_with(len, new);
    }
    if list.len() < len {
        grow(list, len, new);
    }
    &mut list[..len]
}

/// `len` elements of scratch from a cache line's start on: vectors across two lines cost two reads.
#[inline(always)]
pub(super) fn aligned<T: Float>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    let buffer = grown(buffer, len + T::LANES, || T::ZERO);
    let start = buffer.as_ptr().align_offset(64).min(T::LANES);
    &mut buffer[start..start + len]
}

/// Groups of rows in lanes that wait for each other, at most.
const GROUPS: usize = 8;

/// Scratch for rows that wait for each other is not made larger than this, if it holds one: with their logits
/// and gradients it should stay in the first-level cache.
const SCRATCH_BYTES: usize = 8 << 10;

/// Rows whose exponentials wait in the output, or in scratch where groups are pipelined, go together up to so
/// many bytes: a sixteenth of a second-level cache.
const GROUP_BYTES: usize = 64 << 10;

impl<'a, T: Float> Job<'_, 'a, T> {
    /// The loop over blocks: `f` adds up the losses of each one's rows.
    #[inline(always)]
    pub(super) fn each_block(&mut self, mut f: impl FnMut(&mut Self, Range<usize>, &mut Total)) {
        let (rows, block) = (self.rows.targets.len(), self.rows.block);
        for (number, block) in pieces(0..rows, block).enumerate() {
            let mut total = Total::of_block(block.start);
            f(self, block, &mut total);
            if let Some(totals) = &mut self.rows.totals {
                totals[number] = total.value();
            }
        }
    }

    #[inline(always)]
    fn blocks<S: Simd<T>, const ROW_PER_LANE: bool>(&mut self, s: S, scratch: &mut Scratch<T>) {
        let streaming = self.streams.then(Streaming::begin);
        let Scratch { groups, parts, exponentials, .. } = scratch;
        let chunk = chunk_classes::<T, ROW_PER_LANE>().min(self.classes);
        let chunks = self.classes.div_ceil(chunk_classes::<T, ROW_PER_LANE>());
        // The exponentials of rows in lanes, if of more than a chunk, wait in the output; those of a row, if they are
        // still needed, there too where they can, else in scratch.
        let stride = match &self.rows.to {
            _ if ROW_PER_LANE => chunk * T::LANES,
            Some(_) => self.classes.next_multiple_of(T::LANES),
            None => chunk.next_multiple_of(T::LANES),
        };
        let output = self.rows.to.as_ref();
        let in_output = !ROW_PER_LANE && output.is_some_and(|to| to.are_dense() && !self.streams);
        let bytes = if in_output { GROUP_BYTES } else { SCRATCH_BYTES };
        let fitting = if ROW_PER_LANE && chunks > 1 { 1 } else { bytes / size_of::<T>() / stride.max(1) };
        let (step, at_once) = match output {
            _ if ROW_PER_LANE => (T::LANES, fitting.clamp(1, GROUPS)),
            Some(_) => (fitting.clamp(1, T::LANES), 1),
            None => (T::LANES, 1),
        };
        let slots = match output {
            _ if ROW_PER_LANE => at_once,
            _ if in_output => 0,
            Some(_) => step,
            None => 1,
        };
        let mut buffers = Buffers {
            exponentials: aligned(exponentials, slots * stride),
            stride,
            next_bounds: None,
            streaming,
        };
        let groups = grown(groups, at_once, Group::default);
        let kept = if self.rows.known.is_some() { 0 } else { chunks };
        let parts = grown(parts, at_once * kept, ChunkStats::empty);
        self.each_block(
            #[inline(always)]
            |job, block, total| {
                for rows_of_groups in pieces(block, step * at_once) {
                    // Each step for all groups before the next step: so that one's operations fill the pauses of
                    // another's.
                    let mut count = 0;
                    for (rows, group) in pieces(rows_of_groups, step).zip(groups.iter_mut()) {
                        job.load_targets(s, group, rows);
                        count += 1;
                    }
                    let groups = &mut groups[..count];
                    for (i, group) in groups.iter().enumerate() {
                        job.sums::<S, ROW_PER_LANE>(
                            s,
                            i,
                            group,
                            &mut parts[i * kept..][..kept],
                            &mut buffers,
                        );
                    }
                    for (i, group) in groups.iter_mut().enumerate() {
                        job.combine(s, group, &mut parts[i * kept..][..kept]);
                    }
                    for (i, group) in groups.iter_mut().enumerate() {
                        job.finish(s, group, &mut parts[i * kept..][..kept], total);
                    }
                    for (i, group) in groups.iter().enumerate() {
                        job.gradient::<S, ROW_PER_LANE>(
                            s,
                            i,
                            group,
                            &parts[i * kept..][..kept],
                            &mut buffers,
                        );
                    }
                }
            },
        );
    }

    /// What [`Job::blocks`] does, in fewer walks, for rows that fill tiles.
    #[inline(always)]
    fn tiles<S: Simd<T>>(&mut self, s: S, scratch: &mut Scratch<T>) {
        let Scratch { tiles, .. } = scratch;
        let (rows, width) = (self.rows.targets.len(), self.classes);
        let tiles = grown(tiles, GROUPS, TransposeTile::default);
        let from = self.rows.from.as_ref().and_then(|from| from.run(0, rows));
        self.each_block(
            #[inline(always)]
            |job, block, total| {
                for rows_of_groups in pieces(block, GROUPS * T::LANES) {
                    let tiles = &mut tiles[..(rows_of_groups.end - rows_of_groups.start).div_ceil(T::LANES)];
                    for (rows, TransposeTile { group, .. }) in
                        pieces(rows_of_groups, T::LANES).zip(&mut *tiles)
                    {
                        job.rows.load_targets(job.plan, group, rows);
                    }
                    let to = job.rows.to.as_mut().and_then(|to| to.run_mut(0, rows));
                    let logits = from.or(to.as_deref()).unwrap_or_default();
                    // One is read while the exponentials of the one before are made: these wait for other units
                    // of the CPU.
                    for i in 0..=tiles.len() {
                        if let Some(tile) = tiles.get_mut(i) {
                            let logits = &logits[tile.group.first * width..];
                            tile.load(s, job.plan, logits, width);
                        }
                        if i > 0 {
                            tiles[i - 1].sum(s, job.plan, width);
                        }
                    }
                    for TransposeTile { group, part, .. } in &mut *tiles {
                        job.combine_inline(s, group, std::slice::from_mut(part));
                    }
                    for tile in &mut *tiles {
                        let have_target = tile.have_target(s);
                        let (group, parts) = (&mut tile.group, std::slice::from_mut(&mut tile.part));
                        job.finish_inline(s, group, parts, have_target, total);
                    }
                    let Some(to) = job.rows.to.as_mut().and_then(|to| to.run_mut(0, rows)) else { continue };
                    for tile in tiles {
                        let to = &mut to[tile.group.first * width..][..tile.group.count * width];
                        tile.write_gradient(s, job.plan, to, width);
                    }
                }
            },
        );
    }

    /// Whether the gradient of each group of rows should be written while the next one's exponentials are
    /// made: where it is streamed, so that memory is read and written at the same time.
    pub(super) fn is_pipelined(&self) -> bool {
        self.streams
            && !self.row_per_lane
            && self.rows.known.is_none()
            && !self.plan.needs_logits()
            && self.rows.from.as_ref().is_some_and(AxisSlices::are_dense)
            && self.rows.to.as_ref().is_some_and(AxisSlicesMut::are_dense)
    }

    /// Group after group, each one's gradient written while the next one's exponentials take the place of its own.
    #[inline(always)]
    fn pipelined_groups<S: Simd<T>>(&mut self, s: S, scratch: &mut Scratch<T>) {
        let streaming = Streaming::begin();
        let Scratch { groups, parts, exponentials, .. } = scratch;
        let chunks = self.classes.div_ceil(chunk_classes::<T, false>());
        let stride = self.classes.next_multiple_of(T::LANES);
        let step = (GROUP_BYTES / size_of::<T>() / stride).clamp(1, T::LANES);
        let groups = grown(groups, 2, Group::default).split_at_mut(1);
        let (parts, parts_b) = grown(parts, 2 * chunks, ChunkStats::empty).split_at_mut(chunks);
        let mut buffers = Buffers {
            exponentials: aligned(exponentials, step * stride),
            stride,
            next_bounds: None,
            streaming: Some(streaming),
        };
        let mut now = InFlightGroup { group: &mut groups.0[0], parts };
        let mut before = InFlightGroup { group: &mut groups.1[0], parts: parts_b };
        before.group.count = 0;
        self.each_block(
            #[inline(always)]
            |job, block, total| {
                for rows in pieces(block, step) {
                    job.load_targets(s, now.group, rows);
                    let is_ignored = now.group.with_target().next().is_none();
                    if is_ignored {
                        job.rows.clear_ignored(s, now.group, buffers.streaming.as_ref());
                    } else {
                        job.pipelined(s, &mut now, &before, &mut buffers);
                    }
                    job.combine(s, now.group, now.parts);
                    job.finish(s, now.group, now.parts, total);
                    if !is_ignored {
                        std::mem::swap(&mut now, &mut before);
                    }
                }
            },
        );
        self.gradient::<S, false>(s, 0, before.group, before.parts, &mut buffers);
    }

    /// The sums of the chunks of a group's rows; the gradient of the group before is written in the same loop.
    #[inline(always)]
    fn pipelined<S: Simd<T>>(
        &mut self,
        s: S,
        now: &mut InFlightGroup<'_, T>,
        before: &InFlightGroup<'_, T>,
        scratch: &mut Buffers<'_, T>,
    ) {
        let (plan, group) = (self.plan, &*now.group);
        let mut waiting = before.group.with_target();
        let mut lanes = group.with_target().enumerate().peekable();
        while let Some((place, lane)) = lanes.next() {
            let row = group.first + lane;
            let next = lanes.peek().map_or(group.first + group.count, |&(_, lane)| group.first + lane);
            let (from, after) = (self.rows.logits(row), first_chunk(self.rows.logits(next)));
            let Buffers { exponentials, stride, next_bounds, streaming } = &mut *scratch;
            let row_before = waiting.next().and_then(|lane| {
                Some(PreviousRow {
                    streaming: streaming.as_ref()?,
                    to: self.rows.to.as_mut()?.slice(before.group.first + lane).into_slice_mut()?,
                    parts: before.parts,
                    lane,
                    smoothing: before.group.factors.smoothing(lane),
                    weights: plan.smoothing_weights(0, self.classes),
                })
            });
            let exponentials = &mut exponentials[place * *stride..];
            let chunks = Pipelined { from, exponentials, after, before: row_before };
            let pass = Pass { plan, group, chunks, lane, parts: &mut *now.parts };
            sum_row(s, pass, row, next, next_bounds);
        }
        let done = group.with_target().count();
        let (group, parts) = (&*before.group, Some(&*before.parts));
        s.outlined(GradientAlong { job: self, group, parts, done, scratch });
        // What was streamed comes before this: a fence ends the call.
        self.rows.set_targets(before.group, plan.first_class);
    }

    /// The sums of the chunks of a group's rows.
    #[inline(always)]
    fn sums<S: Simd<T>, const ROW_PER_LANE: bool>(
        &mut self,
        s: S,
        number: usize,
        group: &Group<T>,
        parts: &mut [ChunkStats<T>],
        scratch: &mut Buffers<'_, T>,
    ) {
        let (plan, keep) = (self.plan, self.rows.to.is_some());
        if self.rows.known.is_some() {
            return;
        }
        let Buffers { exponentials, stride, next_bounds, .. } = scratch;
        if ROW_PER_LANE {
            let chunks = self.columns(group, &mut exponentials[number * *stride..]);
            s.enter(lanes::Sum { plan, group, chunks, parts });
        } else {
            let lanes = (0..group.count).filter(|&lane| !keep || group.classes[lane] != NO_CLASS);
            for (place, lane) in lanes.enumerate() {
                let at = if keep { place * *stride } else { 0 };
                let row = group.first + lane;
                let chunks =
                    self.row(row, exponentials.get_mut(at..).unwrap_or_default(), scratch.streaming.as_ref());
                let pass = Pass { plan, group, chunks, lane, parts: &mut *parts };
                sum_row(s, pass, row, row + 1, next_bounds);
            }
        }
    }

    /// Makes `group` that of these rows.
    #[inline(always)]
    fn load_targets<S: Simd<T>>(&self, s: S, group: &mut Group<T>, rows: Range<usize>) {
        s.outlined(LoadTargets { job: self, group, rows });
    }

    /// From the sums of the chunks those of the rows.
    #[inline(always)]
    pub(super) fn combine<S: Simd<T>>(&mut self, s: S, group: &mut Group<T>, parts: &mut [ChunkStats<T>]) {
        s.outlined(Combine { job: self, group, parts });
    }

    /// [`Job::combine`], as part of its caller.
    #[inline(always)]
    pub(super) fn combine_inline<S: Simd<T>>(
        &mut self,
        s: S,
        group: &mut Group<T>,
        parts: &mut [ChunkStats<T>],
    ) {
        let (sums, lost) = match self.rows.known {
            Some(known) => RowStats::of(s, &known[group.first..group.first + group.count], &group.classes),
            None => math::combine(s, self.plan, parts),
        };
        group.lost = lost;
        sums.store(s, &mut group.sums);
        LogSumExp::of(s, &sums).store(s, &mut group.row);
    }

    /// From what `combine` has found, what makes the gradient, and all else that is asked for; adds the losses to
    /// those of their block.
    #[inline(always)]
    pub(super) fn finish<S: Simd<T>>(
        &mut self,
        s: S,
        group: &mut Group<T>,
        parts: &mut [ChunkStats<T>],
        total: &mut Total,
    ) {
        s.outlined(Finish { job: self, group, parts, total });
    }

    /// [`Job::finish`], as part of its caller.
    #[inline(always)]
    fn finish_inline<S: Simd<T>>(
        &mut self,
        s: S,
        group: &mut Group<T>,
        parts: &mut [ChunkStats<T>],
        have_target: S::M,
        total: &mut Total,
    ) {
        let plan = self.plan;
        let (rows, count) = (group.first..group.first + group.count, group.count);
        let (sums, row) = (RowStats::load(s, &group.sums), LogSumExp::load(s, &group.row));
        let term = math::terms(s, plan, group);
        let zero = s.splat(T::ZERO);
        let of_rows = |list: Option<&'a [T]>| list.map(|list| &list[rows.clone()]);
        let by = self.scale.of_rows(s, of_rows(self.rows.upstream), of_rows(self.rows.row_weights));
        if self.rows.to.is_some() {
            let parts = if self.rows.known.is_some() { &mut [] } else { parts };
            let mut by = by.gradient;
            by.first = s.select(have_target, by.first, zero);
            math::set_factors(s, plan, &mut group.factors, parts, &Stats { sums, row, term, by });
        }
        // A select, not a branch: ignored rows come at random.
        let loss = s.select(have_target, row.loss(s, plan, &sums, term.own), zero);
        let [in_total, in_answer] = by.losses(s, loss);
        total.add(group.first, stored(s, in_total).as_ref(), count);
        let has_won = s.bits(have_target) & s.bits(row.is_number(s)) & !group.lost;
        total.correct += u64::from((has_won & ((1u64 << count) - 1) as u32).count_ones());
        if let Some(losses) = &mut self.rows.losses {
            losses[rows.clone()].copy_from_slice(&stored(s, in_answer).as_ref()[..count]);
        }
        if let Some(lse) = &mut self.rows.lse {
            lse[rows.clone()].copy_from_slice(&stored(s, row.lse(s)).as_ref()[..count]);
        }
        if let Some(found) = &mut self.rows.found {
            // The order of the comparisons must not tell what the largest is where one is no number.
            let max = s.select(s.ge(sums.others, sums.others), sums.max, s.splat(T::NAN));
            let others = math::shift_of_partials(s, sums.others, sums.max, T::ONE);
            let mut blocks = RowStats::default();
            RowStats { max, others, ..sums }.store(s, &mut blocks);
            // Rows without a target have lost.
            let lost = group.lost | !s.bits(have_target);
            let is_whole = plan.first_class == 0 && self.classes == plan.all_classes;
            for (i, found) in found[rows].iter_mut().enumerate() {
                let RowStats { max, others, target, gap, weight } = &blocks;
                let [max, others, target, sum, weight] =
                    [max, others, target, gap, weight].map(|block| block.as_ref()[i]);
                let rival = if lost >> i & 1 == 1 { T::INFINITY } else { T::NEG_INFINITY };
                let rival = if others.is_nan() { T::NAN } else { rival };
                *found = Partial { max, others, target, sum, weight, rival };
                let class = group.classes[i];
                if is_whole || class == NO_CLASS || others.is_nan() {
                    continue;
                }
                if class < plan.first_class {
                    found.rival = max;
                } else if class - plan.first_class >= self.classes {
                    found.rival = max.next_up();
                }
            }
        }
    }

    /// The gradient of a group's rows, where it is wanted.
    #[inline(always)]
    fn gradient<S: Simd<T>, const ROW_PER_LANE: bool>(
        &mut self,
        s: S,
        number: usize,
        group: &Group<T>,
        parts: &[ChunkStats<T>],
        scratch: &mut Buffers<'_, T>,
    ) {
        if self.rows.to.is_none() {
            return;
        }
        let parts = self.rows.known.is_none().then_some(parts);
        if ROW_PER_LANE {
            let (plan, Buffers { exponentials, stride, .. }) = (self.plan, scratch);
            let chunks = self.columns(group, &mut exponentials[number * *stride..]);
            s.enter(lanes::Write { plan, group, chunks, parts });
        } else {
            s.outlined(GradientAlong { job: self, group, parts, done: 0, scratch });
        }
    }

    /// The same of a row along vectors; `place` is the number of its slot in scratch.
    #[inline(always)]
    fn gradient_of_row<S: Simd<T>>(
        &mut self,
        s: S,
        group: &Group<T>,
        lane: usize,
        parts: Option<&[ChunkStats<T>]>,
        place: usize,
        scratch: &mut Buffers<'_, T>,
    ) {
        let (plan, Buffers { exponentials, stride, streaming, .. }) = (self.plan, scratch);
        let exponentials = exponentials.get_mut(place * *stride..).unwrap_or_default();
        let chunks = self.row(group.first + lane, exponentials, streaming.as_ref());
        s.enter(Write(Pass { plan, group, chunks, lane, parts }));
    }

    /// Whether groups of as many rows as there are lanes fill a tile: they are dense one after the other,
    /// of at most as many classes, and without options.
    fn fits_transpose_tiles(&mut self) -> bool {
        let (rows, small) = (self.rows.targets.len(), 1..=T::LANES);
        small.contains(&self.classes)
            && self.row_per_lane
            && self.rows.known.is_none()
            && !self.plan.needs_logits()
            && self.rows.from.as_ref().is_none_or(|from| from.run(0, rows).is_some())
            && self.rows.to.as_mut().is_none_or(|to| to.run_mut(0, rows).is_some())
    }

    #[inline(always)]
    fn columns<'r>(&'r mut self, group: &Group<T>, exponentials: &'r mut [T]) -> Columns<'a, 'r, T> {
        let (from, to) = (self.rows.from.as_ref(), self.rows.to.as_mut());
        Columns { from, to, first: group.first, count: group.count, classes: self.classes, exponentials }
    }

    #[inline(always)]
    fn row<'r>(
        &'r mut self,
        row: usize,
        exponentials: &'r mut [T],
        streaming: Option<&'r Streaming>,
    ) -> Row<'a, 'r, T> {
        let numbers = 0..self.classes.div_ceil(chunk_classes::<T, false>());
        let Job { classes, far, .. } = *self;
        let from = self.rows.from.as_ref().map(|from| from.slice(row));
        let after = self.rows.logits(row + 1);
        let (to, after) = if from.is_some() {
            (self.rows.to.as_mut().map(|to| to.slice(row)), after)
        } else {
            // In place, the next row is one of those lent to be written.
            let lent = self.rows.to.as_mut().map(|to| to.slice_and_next(row));
            lent.map_or((None, after), |(to, after)| (Some(to), after))
        };
        let after = first_chunk(after);
        Row { from, to, numbers, classes, exponentials, after, streaming, far }
    }
}

/// The sums of the chunks of a row along vectors, after which those of the row `next` come; `next_bounds` is that of
/// [`Buffers`].
#[inline(always)]
fn sum_row<T: Float, S: Simd<T>, L: Chunks<T>>(
    s: S,
    pass: Pass<'_, T, L, &mut [ChunkStats<T>]>,
    row: usize,
    next: usize,
    next_bounds: &mut Option<(usize, Bounds<T>)>,
) {
    let first =
        next_bounds.take().filter(|next_bounds| next_bounds.0 == row).map(|next_bounds| next_bounds.1);
    let sum = Sum(pass, first);
    // Groups in turn have this one place: as a function of its own it would cost a row of 1,000 classes 16 ns.
    let found = if L::PIPELINED { sum.run(s) } else { s.enter(sum) };
    *next_bounds = found.map(|bounds| (next, bounds));
}

/// What is read of the next row with the last chunk of this one.
#[inline(always)]
fn first_chunk<T: Float>(row: &[T]) -> &[T] {
    &row[..row.len().min(chunk_classes::<T, false>())]
}

/// One of the two groups that are in flight where the one's gradient is written while the other's
/// exponentials are made.
struct InFlightGroup<'s, T: Float> {
    group: &'s mut Group<T>,
    parts: &'s mut [ChunkStats<T>],
}

/// Chunks of a row that are worth a thread's while: 240 KiB.
const CHUNKS_OF_PIECE: usize = 30;

impl<T: Float> Job<'_, '_, T> {
    /// Whether rows should be cut at their chunks: where there are fewer than threads, and they are long and dense.
    pub(super) fn is_cut(&self) -> bool {
        fn is_dense<T: Float>(lanes: Option<&AxisSlices<'_, T>>) -> bool {
            lanes.is_none_or(|lanes| lanes.slice(0).as_slice().is_some())
        }
        !self.row_per_lane
            && self.classes.saturating_mul(size_of::<T>()) >= parallel::WORTH_BYTES
            && (1..parallel::threads()).contains(&self.rows.targets.len())
            && is_dense(self.rows.from.as_ref())
            && is_dense(self.rows.to.as_ref().map(AxisSlicesMut::as_axis_slices))
    }

    /// Row after row, the chunks of each in parallel.
    fn by_chunks(&mut self, level: Level) {
        parallel::with_scratch(|scratch: &mut Scratch<T>| {
            let Scratch { parts, exponentials, .. } = scratch;
            let mut group = Group::default();
            let chunks = self.classes.div_ceil(chunk_classes::<T, false>());
            // The exponentials of rows that are cut, which are dense, wait as those of others do.
            let waits_in_output = self.rows.to.is_some() && !self.streams;
            let exponentials = aligned(exponentials, if waits_in_output { 0 } else { self.classes });
            let parts = grown(parts, chunks, ChunkStats::empty);
            // A piece for each thread, both times the same ones: what one has in its cache is slow to reach
            // for another. No result depends on where a row is cut, as long as that is between chunks.
            let grain = (chunks / parallel::threads()).max(CHUNKS_OF_PIECE);
            for row in 0..self.rows.targets.len() {
                self.rows.load_targets(self.plan, &mut group, row..row + 1);
                let known = self.rows.known.is_some();
                let ignored = group.classes[0] == NO_CLASS && self.rows.to.is_some();
                let (plan, streams, far) = (self.plan, self.streams, self.far);
                if !known && !ignored {
                    parallel::for_each(self.rows.piece(row, parts, exponentials), grain, |_, piece| {
                        let streaming = streams.then(Streaming::begin);
                        let (row, parts) = piece.row(streaming.as_ref(), far);
                        let pass = Pass { plan, group: &group, chunks: row, lane: 0, parts };
                        T::dispatch(level, Sum(pass, None));
                    });
                }
                let mut total = Total::of_block(row);
                T::dispatch(level, Combine { job: &mut *self, group: &mut group, parts: &mut *parts });
                T::dispatch(
                    level,
                    Finish { job: &mut *self, group: &mut group, parts: &mut *parts, total: &mut total },
                );
                if let Some(totals) = &mut self.rows.totals {
                    totals[row / self.rows.block] = total.value(); // a block is one row where rows are long
                }
                if ignored {
                    if let Some(to) = &mut self.rows.to {
                        to.slice(row).fill(T::ZERO);
                    }
                } else if self.rows.to.is_some() {
                    parallel::for_each(self.rows.piece(row, parts, exponentials), grain, |_, piece| {
                        let streaming = streams.then(Streaming::begin);
                        let (row, parts) = piece.row(streaming.as_ref(), far);
                        let (group, parts) = (&group, (!known).then_some(&*parts));
                        T::dispatch(level, Write(Pass { plan, group, chunks: row, lane: 0, parts }));
                    });
                }
            }
        });
    }
}

/// [`Rows::load_targets`], compiled once.
struct LoadTargets<'d, 'p, 'a, T: Float> {
    job: &'d Job<'p, 'a, T>,
    group: &'d mut Group<T>,
    rows: Range<usize>,
}

impl<T: Float> Kernel<T> for LoadTargets<'_, '_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, _: S) {
        let LoadTargets { job, group, rows } = self;
        job.rows.load_targets(job.plan, group, rows);
    }
}

/// [`Job::combine`], compiled once: each of its callers would hold a copy.
struct Combine<'d, 'p, 'a, T: Float> {
    job: &'d mut Job<'p, 'a, T>,
    group: &'d mut Group<T>,
    parts: &'d mut [ChunkStats<T>],
}

impl<T: Float> Kernel<T> for Combine<'_, '_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        self.job.combine_inline(s, self.group, self.parts);
    }
}

/// The gradient of a group's rows along vectors but that of the first `done`, compiled once.
struct GradientAlong<'d, 'p, 'a, 's, T: Float> {
    job: &'d mut Job<'p, 'a, T>,
    group: &'d Group<T>,
    parts: Option<&'d [ChunkStats<T>]>,
    done: usize,
    scratch: &'d mut Buffers<'s, T>,
}

impl<T: Float> Kernel<T> for GradientAlong<'_, '_, '_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let GradientAlong { job, group, parts, done, scratch } = self;
        job.rows.clear_ignored(s, group, scratch.streaming.as_ref());
        for (place, lane) in group.with_target().enumerate().skip(done) {
            job.gradient_of_row(s, group, lane, parts, place, scratch);
        }
    }
}

/// [`Job::finish`], compiled once.
struct Finish<'d, 'p, 'a, T: Float> {
    job: &'d mut Job<'p, 'a, T>,
    group: &'d mut Group<T>,
    parts: &'d mut [ChunkStats<T>],
    total: &'d mut Total,
}

impl<T: Float> Kernel<T> for Finish<'_, '_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let have_target = self.group.have_target(s);
        self.job.finish_inline(s, self.group, self.parts, have_target, self.total);
    }
}

/// Chunks of a dense row, and what belongs to them.
struct Piece<'w, T: Float> {
    chunks: Range<usize>,
    from: Option<&'w [T]>,
    to: Option<&'w mut [T]>,
    exponentials: &'w mut [T],
    parts: &'w mut [ChunkStats<T>],
}

impl<T: Float> Rows<'_, T> {
    /// The whole row, which is dense.
    fn piece<'w>(
        &'w mut self,
        row: usize,
        parts: &'w mut [ChunkStats<T>],
        exponentials: &'w mut [T],
    ) -> Piece<'w, T> {
        let from = self.from.as_ref().and_then(|from| from.slice(row).as_slice());
        let to = self.to.as_mut().and_then(|to| to.slice(row).into_slice_mut());
        Piece { chunks: 0..parts.len(), from, to, exponentials, parts }
    }
}

impl<'w, T: Float> Piece<'w, T> {
    fn row(self, streaming: Option<&'w Streaming>, far: bool) -> (Row<'w, 'w, T>, &'w mut [ChunkStats<T>]) {
        let Piece { chunks: numbers, from, to, exponentials, parts } = self;
        let classes = from.map_or_else(|| to.as_ref().map_or(0, |to| to.len()), <[T]>::len);
        let (from, to) = (from.map(AxisSlice::from), to.map(AxisSliceMut::from));
        (Row { from, to, numbers, classes, exponentials, after: &[], streaming, far }, parts)
    }
}

impl<T: Float> Split for Piece<'_, T> {
    fn len(&self) -> usize {
        Split::len(&self.chunks)
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        let (chunks, chunks_b) = Split::split_at(self.chunks, mid);
        let mid_class = mid * chunk_classes::<T, false>();
        let (from, from_b) = cut(self.from, mid_class);
        let (to, to_b) = cut(self.to, mid_class);
        let (exponentials, exponentials_b) =
            self.exponentials.split_at_mut(mid_class.min(self.exponentials.len()));
        let (parts, parts_b) = self.parts.split_at_mut(mid);
        (
            Piece { chunks, from, to, exponentials, parts },
            Piece { chunks: chunks_b, from: from_b, to: to_b, exponentials: exponentials_b, parts: parts_b },
        )
    }
}

/// What a piece of work borrows of its thread's scratch.
struct Buffers<'s, T: Float> {
    exponentials: &'s mut [T],
    /// Elements of `exponentials` for a row along vectors, or for a group of rows in lanes.
    stride: usize,
    /// The row along vectors that comes next, and the bounds of its first chunk, read with the last one of
    /// the row before.
    next_bounds: Option<(usize, Bounds<T>)>,
    /// Where the gradient is written by non-temporal stores.
    streaming: Option<Streaming>,
}
