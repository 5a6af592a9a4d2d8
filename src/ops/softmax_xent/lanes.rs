//! The kernel for rows in lanes: a vector holds one class of several rows.

use super::chunks::Columns;
use super::math::{self, ChunkStats, GradCoeffs, Group, Shift};
use super::plan::{CLASSES_PER_LANE_CHUNK, Plan};
use crate::simd::{Float, Kernel, Simd, exp};

/// Rows, at most, that go along vectors though their sums are those of rows in lanes, one chain each: so few leave most
/// lanes empty.
pub(super) const FEW_ROWS: usize = 4;

/// Finds the sums of the chunks and, if there is an output, leaves their exponentials in their place.
pub(super) struct Sum<'k, 'a, 'b, T: Float> {
    pub(super) plan: &'k Plan<'k, T>,
    pub(super) group: &'k Group<T>,
    pub(super) chunks: Columns<'a, 'b, T>,
    pub(super) parts: &'k mut [ChunkStats<T>],
}

impl<T: Float> Kernel<T> for Sum<'_, '_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Sum { plan, group, mut chunks, parts } = self;
        for (c, part) in chunks.numbers().zip(parts) {
            chunks.load(s, c);
            let buffer = chunks.buffer(c);
            math::softcap(s, plan.cap, buffer);
            let columns = T::blocks_mut(buffer).0;
            let columns_of_targets = target_columns(s, plan, group, c);
            let min = find_targets(s, columns_of_targets, columns, part);
            sum(s, plan, c, columns, columns_of_targets, min, part);
            chunks.save(s, c);
        }
    }
}

/// Writes the gradient, from what `Sum` and `factors` have left, or (without parts) from the logits.
pub(super) struct Write<'k, 'a, 'b, T: Float> {
    pub(super) plan: &'k Plan<'k, T>,
    pub(super) group: &'k Group<T>,
    pub(super) chunks: Columns<'a, 'b, T>,
    pub(super) parts: Option<&'k [ChunkStats<T>]>,
}

impl<T: Float> Kernel<T> for Write<'_, '_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Write { plan, group, mut chunks, parts } = self;
        let factors = &group.factors;
        let (factor, shift) = (s.load(&factors.factor), group.shift(s));
        for (i, c) in chunks.numbers().enumerate() {
            let columns_of_targets = target_columns(s, plan, group, c);
            if parts.is_some() {
                chunks.restore(s, c);
            } else {
                // Made anew from the logits.
                chunks.load(s, c);
                math::softcap(s, plan.cap, chunks.buffer(c));
            }
            let columns = T::blocks_mut(chunks.buffer(c)).0;
            match (plan.cap, parts) {
                _ if plan.log => write_gradient(
                    s,
                    plan,
                    c,
                    columns,
                    columns_of_targets,
                    factors,
                    #[inline(always)]
                    |x, max| s.sub(s.sub(x, max), factor),
                ),
                (None, Some(parts)) => {
                    let factor = s.load(&parts[i].sum);
                    write_gradient(
                        s,
                        plan,
                        c,
                        columns,
                        columns_of_targets,
                        factors,
                        #[inline(always)]
                        |power, smoothing| s.mul_add(power, factor, smoothing),
                    );
                }
                (None, None) => write_gradient(
                    s,
                    plan,
                    c,
                    columns,
                    columns_of_targets,
                    factors,
                    #[inline(always)]
                    |x, smoothing| s.mul_add(shift.exp(s, x), factor, smoothing),
                ),
                (Some(cap), _) => write_gradient(
                    s,
                    plan,
                    c,
                    columns,
                    columns_of_targets,
                    factors,
                    #[inline(always)]
                    |x, smoothing| {
                        s.mul(s.mul_add(shift.exp(s, x), factor, smoothing), math::slope(s, cap, x))
                    },
                ),
            }
            chunks.store(s, c);
        }
    }
}

/// Which of a chunk's vectors has each row's target: another number where none has, a negative one where
/// there is no target.
#[inline(always)]
fn target_columns<T: Float, S: Simd<T>>(s: S, plan: &Plan<'_, T>, group: &Group<T>, chunk: usize) -> S::V {
    let first = plan.first_class + chunk * CLASSES_PER_LANE_CHUNK;
    s.target_columns(&group.classes, first, CLASSES_PER_LANE_CHUNK as u32)
}

/// The same of a single row. Not by way of memory: a vector of which a part has just been stored waits for all
/// stores before.
#[inline(always)]
fn target_column<T: Float, S: Simd<T>>(s: S, plan: &Plan<'_, T>, class: usize) -> S::V {
    let at = class.wrapping_sub(plan.first_class).min(CLASSES_PER_LANE_CHUNK) as u32;
    let at = if class == math::NO_CLASS { -1.0 } else { f64::from(at) };
    let is_first = s.gt(s.splat(T::ONE), s.load(&T::LANE_NUMBERS));
    s.select(is_first, s.splat(T::from_f64(at)), s.splat(-T::ONE))
}

/// Finds the targets in a chunk's logits and the largest of the others, and gives the least of all.
#[inline(always)]
fn find_targets<T: Float, S: Simd<T>>(
    s: S,
    columns_of_targets: S::V,
    logits: &[T::Block],
    part: &mut ChunkStats<T>,
) -> S::V {
    const { assert!(CLASSES_PER_LANE_CHUNK <= T::NUMBERS.len()) }; // or a chunk's last classes would go uncounted
    let masked = s.splat(T::NEG_INFINITY);
    let (mut max, mut min, mut target) = (masked, s.splat(T::INFINITY), masked);
    for (block, &number) in logits.iter().zip(T::NUMBERS) {
        let (x, here) = (s.load(block), s.eq(columns_of_targets, s.splat(number)));
        target = s.select(here, x, target);
        max = s.max(max, s.select(here, masked, x));
        min = s.min(min, x);
    }
    s.store(max, &mut part.max);
    s.store(target, &mut part.target);
    let is_equal = s.bits(s.and(s.eq(target, max), s.gt(target, masked)));
    part.beaten = if is_equal == 0 { 0 } else { is_equal & beaten(s, columns_of_targets, logits, target) };
    min
}

/// A bit for each lane where a class before the target's has as large a logit.
#[inline(always)]
fn beaten<T: Float, S: Simd<T>>(s: S, columns_of_targets: S::V, logits: &[T::Block], target: S::V) -> u32 {
    let mut beaten = 0;
    for (block, &number) in logits.iter().zip(T::NUMBERS) {
        let (x, is_before) = (s.load(block), s.gt(columns_of_targets, s.splat(number)));
        beaten |= s.bits(s.and(is_before, s.ge(x, target)));
    }
    beaten
}

/// Turns a chunk's logits, whose targets and least one are found, into their exponentials, the targets' being
/// 0, and sums them. With a cap they stay as they are: its derivative needs them once more.
#[inline(always)]
fn sum<T: Float, S: Simd<T>>(
    s: S,
    plan: &Plan<'_, T>,
    chunk: usize,
    columns: &mut [T::Block],
    columns_of_targets: S::V,
    min: S::V,
    part: &mut ChunkStats<T>,
) {
    let max = s.load(&part.max);
    if plan.is_smooth() {
        let each = columns.iter().map(
            #[inline(always)]
            |block| s.load(block),
        );
        let gap = math::gap_in_order(s, plan, chunk * CLASSES_PER_LANE_CHUNK, each, max);
        s.store(gap, &mut part.gap);
    }
    let shift = Shift::of_chunk(s, max);
    let k = exp::shifted(s, shift.k);
    let keep = !plan.needs_logits();
    let target = s.load(&part.target);
    // Past a NaN the least logit may be forgotten. Another's makes no number of the sum anyway; the target's
    // is no part of it.
    let is_least = s.bits(s.ne(target, target)) == 0;
    let sum = if is_least && shift.is_plain(s) && exp::is_normal(s, min, T::LOG2_E, k) {
        exponentials(
            s,
            columns_of_targets,
            columns,
            keep,
            #[inline(always)]
            |x| exp::exp2_of_normal(s, x, T::LOG2_E, k),
        )
    } else {
        exponentials(
            s,
            columns_of_targets,
            columns,
            keep,
            #[inline(always)]
            |x| shift.exp(s, x),
        )
    };
    s.store(sum, &mut part.sum);
}

/// The sum of `f` of each vector, the targets' left out; with `keep` these take the logits' place, the targets' as 0.
#[inline(always)]
fn exponentials<T: Float, S: Simd<T>>(
    s: S,
    columns_of_targets: S::V,
    columns: &mut [T::Block],
    keep: bool,
    f: impl Fn(S::V) -> S::V,
) -> S::V {
    let zero = s.splat(T::ZERO);
    let mut sum = math::Sum::of(s);
    for (block, &number) in columns.iter_mut().zip(T::NUMBERS) {
        let power = s.select(s.ne(columns_of_targets, s.splat(number)), f(s.load(block)), zero);
        sum.add(s, power);
        if keep {
            s.store(power, block);
        }
    }
    sum.all(s)
}

/// Turns a chunk into its gradient: `f` of each vector and of what smoothing pulls, the targets' own in their
/// places, and 0 in rows without a target, whatever their logits are.
#[inline(always)]
fn write_gradient<T: Float, S: Simd<T>>(
    s: S,
    plan: &Plan<'_, T>,
    chunk: usize,
    columns: &mut [T::Block],
    columns_of_targets: S::V,
    factors: &GradCoeffs<T>,
    f: impl Fn(S::V, S::V) -> S::V,
) {
    let (smoothing, target, zero) = (s.load(&factors.smoothing), s.load(&factors.target), s.splat(T::ZERO));
    let wanted = s.ge(columns_of_targets, zero);
    let weights = plan.smoothing_weights(chunk * CLASSES_PER_LANE_CHUNK, columns.len());
    for (i, (block, &number)) in columns.iter_mut().zip(T::NUMBERS).enumerate() {
        let smoothing = match weights {
            None => smoothing,
            Some(weights) => s.mul(smoothing, s.splat(weights[i])),
        };
        let x = s.select(wanted, f(s.load(block), smoothing), zero);
        s.store(s.select(s.eq(columns_of_targets, s.splat(number)), target, x), block);
    }
}

/// A group of rows that fill a tile, as many as there are lanes and dense, of at most as many classes; and
/// all that is known of it.
#[repr(C, align(64))]
pub(super) struct TransposeTile<T: Float> {
    /// Class after class, a vector of rows each: logits, then their exponentials.
    columns: T::BlockMatrix,
    /// Where the targets sit, as [`target_columns`] says.
    columns_of_targets: T::Block,
    /// The least logits.
    min: T::Block,
    pub(super) part: ChunkStats<T>,
    pub(super) group: Group<T>,
}

impl<T: Float> Default for TransposeTile<T> {
    fn default() -> Self {
        let (columns, zeros) = (T::BlockMatrix::default(), T::Block::default());
        TransposeTile {
            columns,
            columns_of_targets: zeros,
            min: zeros,
            part: ChunkStats::empty(),
            group: Group::default(),
        }
    }
}

impl<T: Float> TransposeTile<T> {
    /// Reads the rows, and finds their targets and bounds.
    #[inline(always)]
    pub(super) fn load<S: Simd<T>>(&mut self, s: S, plan: &Plan<'_, T>, rows: &[T], width: usize) {
        let columns = &mut self.columns.as_mut()[..width];
        s.columns(rows, width, self.group.count, columns);
        let columns_of_targets = match self.group.count {
            1 => target_column(s, plan, self.group.classes[0]),
            _ => target_columns(s, plan, &self.group, 0),
        };
        let min = find_targets(s, columns_of_targets, columns, &mut self.part);
        s.store(columns_of_targets, &mut self.columns_of_targets);
        s.store(min, &mut self.min);
    }

    /// Whether the row in each lane has a target.
    #[inline(always)]
    pub(super) fn have_target<S: Simd<T>>(&self, s: S) -> S::M {
        s.ge(s.load(&self.columns_of_targets), s.splat(T::ZERO))
    }

    /// What [`Sum`] does after that.
    #[inline(always)]
    pub(super) fn sum<S: Simd<T>>(&mut self, s: S, plan: &Plan<'_, T>, width: usize) {
        let columns = &mut self.columns.as_mut()[..width];
        sum(s, plan, 0, columns, s.load(&self.columns_of_targets), s.load(&self.min), &mut self.part);
    }

    /// What [`Write`] does.
    #[inline(always)]
    pub(super) fn write_gradient<S: Simd<T>>(
        &mut self,
        s: S,
        plan: &Plan<'_, T>,
        to: &mut [T],
        width: usize,
    ) {
        let TransposeTile { columns, columns_of_targets, part, group, .. } = self;
        let columns = &mut columns.as_mut()[..width];
        let factor = s.load(&part.sum);
        write_gradient(
            s,
            plan,
            0,
            columns,
            s.load(columns_of_targets),
            &group.factors,
            #[inline(always)]
            |power, smoothing| s.mul_add(power, factor, smoothing),
        );
        s.rows(columns, to, width, group.count);
    }
}
