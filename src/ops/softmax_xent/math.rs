//! The kernel: a softmax row in one read of its logits and one write of its gradient.
//!
//! # The equations
//!
//! For a row of logits x with target y, class weights w (1 if none), smoothing ε over C classes, z-loss c:
//!
//! ```text
//! lse  = ln Σ e^{x_j}        p_j = e^{x_j − lse}        W = Σ w_j
//! loss = (1 − ε)·w_y·(lse − x_y) + (ε/C)·Σ w_j·(lse − x_j) + c·lse²
//! ∂loss/∂x_j = (A + 2c·lse)·p_j − (ε/C)·w_j − (1 − ε)·w_y·[j = y]        A = (1 − ε)·w_y + (ε/C)·W
//! ```
//!
//! # The departures
//!
//! 1. *Base 2, shifted by an integer.* e^x is taken as 2^{t}, t = x·log₂e − k, with k = round(max·log₂e): its
//!    integer and its fraction are a fused multiply-add each, so that t is never rounded. Moving a sum from one k to
//!    another is an exact power of two. Where |max| > 2²⁰ (2⁴⁹ for f64) k would lose its eighths, and without fused
//!    multiply-add t would be rounded; there t = (x − max)·log₂e, and moves are rounded.
//! 2. *Chunks.* A row is cut into chunks of 5 KiB; each has its own shift, so that one sweep over memory
//!    suffices: while a chunk's exponentials are summed and left where the gradient will be, the next chunk's
//!    logits are read for their maximum, which gives memory something to do. Last, each chunk is multiplied
//!    by 2^(its shift − the row's)·(scale/Z). Where the gradient is strided, exponentials wait in a scratch
//!    row instead. Where it is large, they do, too: the gradients of one group of rows are written by
//!    streaming stores while the next group's exponentials are made and take the place of its own, so that memory is
//!    read and written all the time, and the gradient's lines are never read.
//! 3. *The target apart.* Maxima and sums are of all classes but the target, Z = others + e_y, so that nothing
//!    underflows below a target that leads by far. The target's gradient is
//!    −A·others/Z and the loss of an unsmoothed row ln(1 + others/e_y): nothing cancels when p_y → 1.
//! 4. *Rows in lanes.* With few classes, and where the class axis is not the last, a vector holds one class
//!    of several rows; chunks are then of 128 classes (`lanes.rs`). As many dense rows as there are lanes, of
//!    at most as many classes, fill a tile, which stays in the first-level cache from its logits to its
//!    gradient.
//! 5. *Groups.* What is computed once a row (divisions, logarithms) is computed for up to a vector's lanes of
//!    rows together, one a lane, between the pass that sums and the pass that writes.
//!
//! # Accuracy
//!
//! Worst element over N(0, 1), N(0, 5²), N(0, 30²) and targets that lead by 20, 40 and 80, each with offsets of 0,
//! ±10³, ±10⁶ and ±10³⁰, 10 and 5,000 classes, every level, `f32` and `f64`, as a share of the bound (4 + gap)·ε
//! (`cargo test --test accuracy -- --nocapture`):
//!
//! | | other classes | target | loss |
//! |---|---|---|---|
//! | here | 0.70 | 0.27 | 0.29 |
//! | e^(x − max)/Σ, p_y − 1, ln Σ − (x_y − max), no lead | 17 | 920 | 700 |
//! | the same, lead of 20, `f32` | 0.54 | 350,000 | 350,000 |
//! | the same, lead of 40, `f64` | 0.50 | 10¹⁴ | 10¹⁴ |
//!
//! The order of every sum follows from the shape alone: within a chunk vector by vector (those of smoothing,
//! along vectors, in four sums by turns), then lane i + lane i + 8, 4, 2, 1 (rows along vectors only), then
//! chunk by chunk with the rounding errors carried along (Neumaier, 1974). The losses of a block of rows are
//! added in `f64`, rows i, i + LANES, … apart, and these sums by halves.

use super::by_class::InFlight;
use super::lanes::TransposeTile;
use super::partial::Partial;
use super::plan::{LossTerms, Plan, chunk_classes};
use super::scale::RowScale;
use crate::simd::slices::{self, stored};
use crate::simd::{Float, Kernel, Simd, exp, scaled};
/// Where the exponentials of a chunk or row are taken from: they are 2^((x − origin)·log₂e − k), one of the two 0.
#[derive(Clone, Copy, Default)]
pub(super) struct Shift<V> {
    pub(super) origin: V,
    pub(super) k: V,
}

impl<V: Copy> Shift<V> {
    /// The shift for logits of at most `max`.
    #[inline(always)]
    pub(super) fn of<T: Float, S: Simd<T, V = V>>(s: S, max: V) -> Self {
        let zero = s.splat(T::ZERO);
        // −∞ is a chunk of nothing but masked classes: any finite origin gives their exponentials, 0.
        let finite = s.gt(max, s.splat(T::NEG_INFINITY));
        let origin = s.select(finite, max, zero);
        if !S::FUSED {
            return Shift { origin, k: zero };
        }
        let small = s.ge(s.splat(T::MAX_INTEGER_SHIFT), s.abs(max));
        let shifter = s.splat(T::SHIFTER);
        let k = s.sub(s.mul_add(max, s.splat(T::LOG2_E), shifter), shifter);
        Shift { origin: s.select(small, zero, origin), k: s.select(small, k, zero) }
    }

    /// The shift of a chunk's exponentials, the largest of which are then about 2^`CHUNK_LIFT`.
    #[inline(always)]
    pub(super) fn of_chunk<T: Float, S: Simd<T, V = V>>(s: S, max: V) -> Self {
        Self::of(s, max).lifted(s, T::CHUNK_LIFT)
    }

    /// The shift from which a row's sums are counted.
    #[inline(always)]
    pub(super) fn of_row<T: Float, S: Simd<T, V = V>>(s: S, max: V) -> Self {
        Self::of(s, max).lifted(s, T::ROW_LIFT)
    }

    /// The one that makes exponentials 2^`lift` times as large.
    #[inline(always)]
    pub(super) fn lifted<T: Float, S: Simd<T, V = V>>(self, s: S, lift: i32) -> Self {
        Shift { k: s.sub(self.k, s.splat(T::from_f64(lift.into()))), ..self }
    }

    /// t for a logit. At most ½ for the maximum that the shift was made of.
    #[inline(always)]
    pub(super) fn exponent<T: Float, S: Simd<T, V = V>>(self, s: S, x: V) -> V {
        let k = s.sub(s.splat(T::ZERO), self.k);
        s.mul_add(s.sub(x, self.origin), s.splat(T::LOG2_E), k)
    }

    /// The exponential of a logit.
    #[inline(always)]
    pub(super) fn exp<T: Float, S: Simd<T, V = V>>(self, s: S, x: V) -> V {
        self.exp_from_origin(s, s.sub(x, self.origin))
    }

    /// The exponential of a logit from which the origin is taken already.
    #[inline(always)]
    fn exp_from_origin<T: Float, S: Simd<T, V = V>>(self, s: S, x: V) -> V {
        exp::exp2_of(s, x, T::LOG2_E, exp::shifted(s, self.k))
    }

    /// Whether the origin is 0 in all lanes, as it nearly always is.
    #[inline(always)]
    pub(super) fn is_plain<T: Float, S: Simd<T, V = V>>(self, s: S) -> bool {
        S::FUSED && s.bits(s.gt(s.abs(self.origin), s.splat(T::ZERO))) == 0
    }

    /// Turns logits into their exponentials, and gives the sum of these.
    #[inline(always)]
    pub(super) fn to_exponentials<T: Float, S: Simd<T, V = V>>(self, s: S, logits: &mut [T]) -> V {
        // Most often there is nothing to take, and each exponential is an operation less.
        if !self.is_plain(s) {
            slices::map(
                s,
                logits,
                T::NEG_INFINITY,
                #[inline(always)]
                |x| s.sub(x, self.origin),
            );
        }
        let mut sum = Sum::of(s);
        slices::map(
            s,
            logits,
            T::NEG_INFINITY,
            #[inline(always)]
            |x| {
                let power = self.exp_from_origin(s, x);
                sum.add(s, power);
                power
            },
        );
        sum.all(s)
    }

    /// The factor that takes exponentials from this shift, of a chunk, to that of the row.
    #[inline(always)]
    pub(super) fn factor<T: Float, S: Simd<T, V = V>>(self, s: S, to: Self) -> V {
        let x = s.sub(self.origin, to.origin);
        if !S::FUSED {
            // No power of two, as it nearly always is with fused multiply-add, and so one by one, as exact as can be.
            let (mut factors, lifts) = (stored(s, x), stored(s, s.sub(self.k, to.k)));
            for (x, lift) in factors.as_mut().iter_mut().zip(lifts.as_ref()) {
                // Above 0 only for a chunk of nothing but −∞.
                let power = if *x >= T::ZERO { 1.0 } else { x.to_f64().exp() };
                *x = T::from_f64(scaled::scale(power, lift.to_f64() as i32));
            }
            return s.load(&factors);
        }
        let t = s.mul_add(x, s.splat(T::LOG2_E), s.sub(self.k, to.k));
        // Above this only for a chunk of nothing but −∞, whose origin is arbitrary and whose exponentials are 0.
        let most = s.splat(T::from_f64((T::ROW_LIFT - T::CHUNK_LIFT + 1).into()));
        exp::exp2(s, s.select(s.gt(t, most), most, t))
    }
}

/// A sum of exponentials. Without fused multiply-add the largest one is a power of two, to which the others are added
/// with the largest errors that there are; there two sums by turns halve them.
#[derive(Clone, Copy)]
pub(super) struct Sum<V>([V; 2]);

impl<V: Copy> Sum<V> {
    #[inline(always)]
    pub(super) fn of<T: Float, S: Simd<T, V = V>>(s: S) -> Self {
        Sum([s.splat(T::ZERO); 2])
    }

    #[inline(always)]
    pub(super) fn add<T: Float, S: Simd<T, V = V>>(&mut self, s: S, x: V) {
        let Sum([sum, other]) = *self;
        self.0 = if S::FUSED { [s.add(sum, x), other] } else { [other, s.add(sum, x)] };
    }

    #[inline(always)]
    pub(super) fn all<T: Float, S: Simd<T, V = V>>(self, s: S) -> V {
        let Sum([sum, other]) = self;
        if S::FUSED { sum } else { s.add(sum, other) }
    }
}

/// What is known of one chunk of each row in the lanes. Vectors across two cache lines would cost two reads.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct ChunkStats<T: Float> {
    /// The largest logit, the target's left out.
    pub(super) max: T::Block,
    /// The sum of the exponentials, the target's left out, from the maximum's shift. Later, what takes them
    /// to the row's shift, and then what turns them into the gradient.
    pub(super) sum: T::Block,
    /// Σ w_j·(x_j − anchor)·`gap_scale`, the target's included, if there is smoothing.
    pub(super) gap: T::Block,
    /// The target's logit; −∞ where it is not in this chunk.
    pub(super) target: T::Block,
    /// A bit for each lane whose target is no larger than another of an earlier class in this chunk.
    pub(super) beaten: u32,
}

impl<T: Float> ChunkStats<T> {
    /// What turns the exponentials of a row along vectors into the gradient, once that is known.
    #[inline(always)]
    pub(super) fn factor(&self, lane: usize) -> T {
        self.sum.as_ref()[lane]
    }

    /// Of no classes.
    pub(super) fn empty() -> Self {
        let (masked, zeros) = (filled(T::NEG_INFINITY), T::Block::default());
        ChunkStats { max: masked, sum: zeros, gap: zeros, target: masked, beaten: 0 }
    }
}

fn filled<T: Float>(x: T) -> T::Block {
    let mut block = T::Block::default();
    block.as_mut().fill(x);
    block
}

/// Buffers that a thread uses for one group of rows after the other.
#[derive(Default)]
pub(super) struct Scratch<T: Float> {
    pub(super) groups: Vec<Group<T>>,
    pub(super) tiles: Vec<TransposeTile<T>>,
    /// Of each group's chunks.
    pub(super) parts: Vec<ChunkStats<T>>,
    pub(super) in_flight: [InFlight<T>; 2],
    /// Logits and their exponentials.
    pub(super) exponentials: Vec<T>,
}

/// What is known of a whole row in each lane.
#[derive(Clone, Copy, Default)]
pub(super) struct RowStats<V> {
    pub(super) max: V,
    pub(super) others: V,
    pub(super) target: V,
    /// See [`Partial::sum`], [`Partial::weight`].
    pub(super) gap: V,
    pub(super) weight: V,
}

impl<V: Copy> RowStats<V> {
    /// Of as many rows as there are, one a lane; and a bit for each whose target is not the largest logit. A
    /// row without a target gets those of one logit of 0: its gradient is 0, whatever its sums are.
    #[inline(always)]
    pub(super) fn of<T: Float, S: Simd<T, V = V>>(
        s: S,
        rows: &[Partial<T>],
        classes: &[usize],
    ) -> (Self, u32) {
        let (mut blocks, mut lost) = ([T::Block::default(); 5], 0);
        let ignored = Partial { max: T::ZERO, others: T::ONE, ..Partial::empty() };
        for (lane, (row, &class)) in rows.iter().zip(classes).enumerate() {
            let row = if class == NO_CLASS { &ignored } else { row };
            for (block, x) in blocks.iter_mut().zip([row.max, row.others, row.target, row.sum, row.weight]) {
                block.as_mut()[lane] = x;
            }
            let leads = row.target >= row.rival; // not where either is NaN
            lost |= u32::from(!leads) << lane;
        }
        let [max, others, target, gap, weight] = blocks;
        let mut stats = RowStats::load(s, &RowStats { max, others, target, gap, weight });
        stats.others = shift_of_partials(s, stats.others, stats.max, -T::ONE);
        (stats, lost)
    }

    #[inline(always)]
    pub(super) fn load<T: Float, S: Simd<T, V = V>>(s: S, from: &RowStats<T::Block>) -> Self {
        // Not by `map` of an array, which is a function without this level's instructions.
        RowStats {
            max: s.load(&from.max),
            others: s.load(&from.others),
            target: s.load(&from.target),
            gap: s.load(&from.gap),
            weight: s.load(&from.weight),
        }
    }

    #[inline(always)]
    pub(super) fn store<T: Float, S: Simd<T, V = V>>(&self, s: S, to: &mut RowStats<T::Block>) {
        s.store(self.max, &mut to.max);
        s.store(self.others, &mut to.others);
        s.store(self.target, &mut to.target);
        s.store(self.gap, &mut to.gap);
        s.store(self.weight, &mut to.weight);
    }
}

/// A row's sum as a [`Partial`] has it, from the shift that this level takes (`sign` 1), or the other way round (−1).
/// They differ only without fused multiply-add, by 2^(max·log₂e − k).
#[inline(always)]
pub(super) fn shift_of_partials<T: Float, S: Simd<T>>(s: S, sum: S::V, max: S::V, sign: T) -> S::V {
    if S::FUSED {
        return sum;
    }
    let mut t = stored(s, max);
    for t in t.as_mut() {
        let k = t.mul_add(T::LOG2_E, T::SHIFTER) - T::SHIFTER;
        let is_small = t.abs() <= T::MAX_INTEGER_SHIFT;
        *t = if is_small { sign * t.mul_add(T::LOG2_E, -k) } else { T::ZERO };
    }
    s.mul(sum, exp::exp2(s, s.load(&t)))
}

/// Rows in flight, one a lane. In this order each vector is a cache line.
#[derive(Default)]
#[repr(C, align(64))]
pub(super) struct Group<T: Float> {
    pub(super) sums: RowStats<T::Block>,
    pub(super) row: LogSumExp<T::Block>,
    pub(super) factors: GradCoeffs<T>,
    /// The weights of the targets, where there are any.
    pub(super) weights: T::Block,
    /// Each row's target, `NO_CLASS` where it has none.
    pub(super) classes: [usize; 16],
    pub(super) first: usize,
    pub(super) count: usize,
    /// A bit for each whose target is not the largest logit.
    pub(super) lost: u32,
}

impl<T: Float> Group<T> {
    /// Whether the row in each lane has a target.
    #[inline(always)]
    pub(super) fn have_target<S: Simd<T>>(&self, s: S) -> S::M {
        s.ge(s.target_columns(&self.classes, 0, 1), s.splat(T::ZERO))
    }

    /// The shifts that make the rows' exponentials anew.
    #[inline(always)]
    pub(super) fn shift<S: Simd<T>>(&self, s: S) -> Shift<S::V> {
        LogSumExp::load(s, &self.row).shift.lifted(s, T::CHUNK_LIFT)
    }

    /// The sum of the others' exponentials, and the target's exponential.
    #[inline(always)]
    pub(super) fn loss_terms<S: Simd<T>>(&self, s: S) -> (S::V, S::V) {
        (s.load(&self.sums.others), s.load(&self.row.target))
    }

    /// The lanes of the rows that have a target.
    #[inline(always)]
    pub(super) fn with_target(&self) -> impl Iterator<Item = usize> {
        (0..self.count).filter(|&lane| self.classes[lane] != NO_CLASS)
    }
}

/// No class has this number: a row has fewer than `isize::MAX` elements.
pub(super) const NO_CLASS: usize = usize::MAX;

/// What `gap` measures from: the maximum, or 0 where that is −∞, or so small that a fraction of it may not be exact.
#[inline(always)]
pub(super) fn anchor<T: Float, S: Simd<T>>(s: S, max: S::V) -> S::V {
    let zero = s.splat(T::ZERO);
    let is_exact =
        s.and(s.gt(s.abs(max), s.splat(T::EPSILON * T::EPSILON)), s.gt(max, s.splat(T::NEG_INFINITY)));
    s.select(is_exact, max, zero)
}

/// What a row's gap measures from: its maximum, or 0 where that is −∞.
#[inline(always)]
pub(super) fn finite_or_0<T: Float, S: Simd<T>>(s: S, max: S::V) -> S::V {
    s.select(s.eq(max, s.splat(T::NEG_INFINITY)), s.splat(T::ZERO), max)
}

/// (x − anchor)·`gap_scale`, from the anchor's own part of it.
#[inline(always)]
pub(super) fn scaled_gap<T: Float, S: Simd<T>>(
    s: S,
    plan: &Plan<'_, T>,
    x: S::V,
    scaled_anchor: S::V,
) -> S::V {
    s.mul_add(x, s.splat(plan.gap_scale), s.sub(s.splat(T::ZERO), scaled_anchor))
}

/// The same times a weight, added to a sum. A class of weight 0 takes no part, whatever its logit is.
#[inline(always)]
pub(super) fn add_gap<T: Float, S: Simd<T>>(s: S, sum: S::V, weight: S::V, gap: S::V) -> S::V {
    let zero = s.splat(T::ZERO);
    s.mul_add(weight, s.select(s.ne(weight, zero), gap, zero), sum)
}

/// cap·tanh(x/cap) of each logit, if there is a cap; a masked class stays masked.
#[inline(always)]
pub(super) fn softcap<T: Float, S: Simd<T>>(s: S, cap: Option<T>, logits: &mut [T]) {
    if let Some(cap) = cap {
        s.outlined(Softcap { cap, logits });
    }
}

struct Softcap<'a, T> {
    cap: T,
    logits: &'a mut [T],
}

impl<T: Float> Kernel<T> for Softcap<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let cap = s.splat(self.cap);
        slices::map(
            s,
            self.logits,
            T::NEG_INFINITY,
            #[inline(always)]
            |x| {
                let capped = s.mul(cap, exp::tanh(s, s.div(x, cap)));
                s.select(s.eq(x, s.splat(T::NEG_INFINITY)), x, capped)
            },
        );
    }
}

/// Σ w_j·(x_j − anchor)·`gap_scale` over a chunk's logits, the target's included; 0 without smoothing.
#[inline(always)]
pub(super) fn gap<T: Float, S: Simd<T>>(s: S, plan: &Plan<'_, T>, logits: &[T], chunk: usize, max: T) -> T {
    if plan.is_smooth() { s.outlined(Gap { plan, logits, chunk, max }) } else { T::ZERO }
}

struct Gap<'a, T: Float> {
    plan: &'a Plan<'a, T>,
    logits: &'a [T],
    chunk: usize,
    max: T,
}

impl<T: Float> Kernel<T> for Gap<'_, T> {
    type Output = T;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> T {
        let Gap { plan, logits, chunk, max } = self;
        let anchor = anchor(s, s.splat(max));
        let scaled_anchor = s.mul(anchor, s.splat(plan.gap_scale));
        let sum = match plan.smoothing_weights(chunk * chunk_classes::<T, false>(), logits.len()) {
            // Filled up with what adds nothing.
            None => slices::fold_in_turn(
                s,
                logits,
                logits,
                [stored(s, anchor).as_ref()[0]; 2],
                #[inline(always)]
                |sum, x, _| s.add(sum, scaled_gap(s, plan, x, scaled_anchor)),
                #[inline(always)]
                |a, b| s.add(a, b),
            ),
            Some(weights) => slices::fold_in_turn(
                s,
                logits,
                weights,
                [T::ZERO; 2],
                #[inline(always)]
                |sum, x, w| add_gap(s, sum, w, scaled_gap(s, plan, x, scaled_anchor)),
                #[inline(always)]
                |a, b| s.add(a, b),
            ),
        };
        s.sum_lanes(sum)
    }
}

/// The same of rows in lanes, whose logits of one class after the other, from `first` on, are `each`.
#[inline(always)]
pub(super) fn gap_in_order<T: Float, S: Simd<T>>(
    s: S,
    plan: &Plan<'_, T>,
    first: usize,
    each: impl ExactSizeIterator<Item = S::V>,
    max: S::V,
) -> S::V {
    let scaled_anchor = s.mul(anchor(s, max), s.splat(plan.gap_scale));
    let mut gap = s.splat(T::ZERO);
    match plan.smoothing_weights(first, each.len()) {
        None => {
            for x in each {
                gap = s.add(gap, scaled_gap(s, plan, x, scaled_anchor));
            }
        }
        Some(weights) => {
            for (x, &w) in each.zip(weights) {
                gap = add_gap(s, gap, s.splat(w), scaled_gap(s, plan, x, scaled_anchor));
            }
        }
    }
    gap
}

/// The sums of whole rows from those of their chunks, which become the factors that take the chunks'
/// exponentials to the row's shift.
#[inline(always)]
pub(super) fn combine<T: Float, S: Simd<T>>(
    s: S,
    plan: &Plan<'_, T>,
    parts: &mut [ChunkStats<T>],
) -> (RowStats<S::V>, u32) {
    let (zero, masked) = (s.splat(T::ZERO), s.splat(T::NEG_INFINITY));
    let mut target = masked;
    for part in &*parts {
        let here = s.load(&part.target);
        // A NaN is here, too.
        target = s.select(s.ge(masked, here), target, here);
    }
    let (mut max, mut lost, mut found) = (target, 0, 0);
    for part in &*parts {
        let part_max = s.load(&part.max);
        max = s.max(max, part_max);
        lost |= part.beaten | s.bits(s.gt(part_max, target));
        if parts.len() > 1 {
            // Of equal ones the first wins: those of chunks before the target's.
            found |= !s.bits(s.ge(masked, s.load(&part.target)));
            lost |= s.bits(s.ge(part_max, target)) & !found;
        }
    }
    let to = Shift::of_row(s, max);
    let (mut others, mut dropped, mut gap, mut all_weight) = (zero, zero, zero, zero);
    for (c, part) in parts.iter_mut().enumerate() {
        let part_max = s.load(&part.max);
        let factor = Shift::of_chunk(s, part_max).factor(s, to);
        let x = s.mul(s.load(&part.sum), factor);
        s.store(factor, &mut part.sum);
        if c == 0 {
            others = x;
        } else {
            let sum = s.add(others, x);
            let lost = s.select(s.ge(others, x), s.add(s.sub(others, sum), x), s.add(s.sub(x, sum), others));
            (others, dropped) = (sum, s.add(dropped, lost));
        }
        if plan.is_smooth() {
            let weight = s.splat(plan.chunk_weight(c));
            let scale = s.splat(plan.gap_scale);
            let below_max = s.sub(s.mul(anchor(s, part_max), scale), s.mul(finite_or_0(s, max), scale));
            gap = s.add(gap, s.mul_add(below_max, weight, s.load(&part.gap)));
            all_weight = s.mul_add(weight, scale, all_weight);
        }
    }
    (RowStats { max, others: s.add(others, dropped), target, gap, weight: all_weight }, lost)
}

/// What one row's logarithm is made of, and the logarithm.
#[derive(Clone, Copy, Default)]
pub(super) struct LogSumExp<V> {
    /// The shift of the row, not lifted.
    pub(super) shift: Shift<V>,
    /// Σ of all exponentials, from that.
    z: V,
    /// The target's exponential, lifted as the others' sum.
    target: V,
}

impl<V: Copy> LogSumExp<V> {
    #[inline(always)]
    pub(super) fn of<T: Float, S: Simd<T, V = V>>(s: S, sums: &RowStats<V>) -> Self {
        let shift = Shift::of(s, sums.max);
        let target = shift.lifted(s, T::ROW_LIFT).exp(s, sums.target);
        let z = s.mul(s.add(sums.others, target), s.splat(scaled::scale(T::ONE, -T::ROW_LIFT)));
        // No class has a probability: a row of nothing but −∞ is NaN, like one with +∞.
        let z = s.select(s.gt(z, s.splat(T::ZERO)), z, s.splat(T::NAN));
        LogSumExp { shift, z, target }
    }

    /// Whether the row is a number.
    #[inline(always)]
    pub(super) fn is_number<T: Float, S: Simd<T, V = V>>(&self, s: S) -> S::M {
        s.ge(self.z, self.z)
    }

    #[inline(always)]
    pub(super) fn load<T: Float, S: Simd<T, V = V>>(s: S, from: &LogSumExp<T::Block>) -> Self {
        let LogSumExp { shift, z, target } = from;
        let shift = Shift { origin: s.load(&shift.origin), k: s.load(&shift.k) };
        LogSumExp { shift, z: s.load(z), target: s.load(target) }
    }

    #[inline(always)]
    pub(super) fn store<T: Float, S: Simd<T, V = V>>(&self, s: S, to: &mut LogSumExp<T::Block>) {
        s.store(self.shift.origin, &mut to.shift.origin);
        s.store(self.shift.k, &mut to.shift.k);
        s.store(self.z, &mut to.z);
        s.store(self.target, &mut to.target);
    }

    /// ln Σ e^{x_j}
    #[inline(always)]
    pub(super) fn lse<T: Float, S: Simd<T, V = V>>(&self, s: S) -> V {
        let ln_z = s.add(exp::ln(s, self.z), s.mul(self.shift.k, s.splat(T::LN_2_REST)));
        s.add(self.shift.origin, s.mul_add(self.shift.k, s.splat(T::LN_2), ln_z))
    }

    /// lse − max
    #[inline(always)]
    fn above_max<T: Float, S: Simd<T, V = V>>(&self, s: S, sums: &RowStats<V>) -> V {
        let t_max = self.shift.exponent(s, sums.max);
        s.mul_add(t_max, s.splat(-T::LN_2), exp::ln(s, self.z))
    }

    /// lse − x_y
    #[inline(always)]
    fn negative_log_likelihood<T: Float, S: Simd<T, V = V>>(&self, s: S, sums: &RowStats<V>) -> V {
        let near = exp::ln_1p(s, s.div(sums.others, self.target));
        // Far below the others the target's exponential has underflowed, and nothing cancels.
        let is_far = s.ge(sums.others, s.mul(self.target, s.splat(T::FAR)));
        if s.bits(is_far) == 0 {
            return near;
        }
        s.select(is_far, s.add(s.sub(sums.max, sums.target), self.above_max(s, sums)), near)
    }

    /// The row's loss, its term's factors in lanes.
    #[inline(always)]
    pub(super) fn loss<T: Float, S: Simd<T, V = V>>(
        &self,
        s: S,
        plan: &Plan<'_, T>,
        sums: &RowStats<V>,
        own: V,
    ) -> V {
        let mut loss = self.negative_log_likelihood(s, sums);
        if !plan.is_plain() {
            // A class of weight 0 takes no part, whatever its logit is.
            let (zero, infinity) = (s.splat(T::ZERO), s.splat(T::INFINITY));
            let is_none = s.and(s.ge(zero, own), s.ge(loss, infinity));
            loss = s.select(is_none, zero, s.mul(own, loss));
        }
        if plan.is_smooth() {
            loss = s.mul_add(s.splat(plan.share_of_all), self.above_max(s, sums), loss);
            loss = s.mul_add(s.splat(-plan.share_of_gap), sums.gap, loss);
        }
        if plan.z_loss != T::ZERO {
            let lse = self.lse(s);
            loss = s.mul_add(s.mul(s.splat(plan.z_loss), lse), lse, loss);
        }
        loss
    }
}

/// The terms of the group's rows, in lanes.
#[inline(always)]
pub(super) fn terms<T: Float, S: Simd<T>>(s: S, plan: &Plan<'_, T>, group: &Group<T>) -> LossTerms<S::V> {
    if plan.is_plain() {
        return LossTerms { own: s.splat(T::ONE), all: s.splat(T::ONE), rest: s.splat(T::ZERO) };
    }
    let weight = match plan.weights {
        None => s.splat(T::ONE),
        Some(_) => {
            let [a, b] = plan.weight_powers;
            s.mul(s.mul(s.load(&group.weights), s.splat(a)), s.splat(b))
        }
    };
    let own = s.mul(s.splat(plan.own), weight);
    let all = match plan.weights {
        None => s.splat(plan.one),
        Some(_) => s.add(s.splat(plan.share_of_all), own),
    };
    let rest = s.mul(s.splat(plan.share), s.sub(s.splat(plan.total_weight), weight));
    LossTerms { own, all, rest }
}

/// What makes the gradient of the rows in the lanes.
#[derive(Default)]
pub(super) struct GradCoeffs<T: Float> {
    /// Of the exponentials from the row's shift, lifted as those of a chunk.
    pub(super) factor: T::Block,
    /// Of the class weights.
    pub(super) smoothing: T::Block,
    /// The target's gradient.
    pub(super) target: T::Block,
}

impl<T: Float> GradCoeffs<T> {
    /// Of the class weights, for one lane.
    #[inline(always)]
    pub(super) fn smoothing(&self, lane: usize) -> T {
        self.smoothing.as_ref()[lane]
    }

    /// The target's gradient, for one lane.
    #[inline(always)]
    pub(super) fn target(&self, lane: usize) -> T {
        self.target.as_ref()[lane]
    }
}

/// What is known of the rows in the lanes before their gradient is made.
pub(super) struct Stats<V> {
    pub(super) sums: RowStats<V>,
    pub(super) row: LogSumExp<V>,
    pub(super) term: LossTerms<V>,
    /// What the gradient is multiplied by.
    pub(super) by: RowScale<V>,
}

/// Finds what makes the gradient; each part's sum becomes the factor of its chunk's exponentials.
#[inline(always)]
pub(super) fn set_factors<T: Float, S: Simd<T>>(
    s: S,
    plan: &Plan<'_, T>,
    to: &mut GradCoeffs<T>,
    parts: &mut [ChunkStats<T>],
    stats: &Stats<S::V>,
) {
    let Stats { sums, row, term, by } = stats;
    if plan.log {
        // What is taken from each logit: the maximum, and then what is left of the logarithm.
        s.store(row.above_max(s, sums), &mut to.factor);
        return s.store(sums.max, &mut to.smoothing);
    }
    let (zero, scale) = (s.splat(T::ZERO), by.first);
    let scaled = if plan.is_plain() { scale } else { s.mul(scale, term.all) };
    // The gradient is `factor` times the exponentials from the row's shift, plus `smoothing` times the weights.
    let mut factor = s.div(scaled, row.z);
    let mut smoothing = zero;
    let mut target = s.sub(zero, s.mul(factor, sums.others));
    if plan.is_smooth() {
        let lifted_scale = s.mul(scale, s.splat(scaled::scale(T::ONE, T::ROW_LIFT)));
        smoothing = by.last(s, s.sub(zero, s.mul(lifted_scale, s.splat(plan.share))));
        target = s.mul_add(lifted_scale, term.rest, target);
    }
    if plan.z_loss != T::ZERO {
        let twice = s.mul(s.splat(plan.z_loss + plan.z_loss), row.lse(s));
        let extra = s.div(s.mul(scale, twice), row.z);
        target = s.mul_add(extra, row.target, target);
        factor = s.add(factor, extra);
    }
    if let Some(cap) = plan.cap {
        target = s.mul(target, slope(s, cap, sums.target));
    }
    if plan.needs_logits() || parts.is_empty() {
        // Exponentials are made anew.
        let from_chunk = s.splat(scaled::scale(T::ONE, T::ROW_LIFT - T::CHUNK_LIFT));
        s.store(by.last(s, s.mul(factor, from_chunk)), &mut to.factor);
    }
    for part in parts {
        s.store(by.last(s, s.mul(factor, s.load(&part.sum))), &mut part.sum);
    }
    s.store(smoothing, &mut to.smoothing);
    s.store(by.last(s, target), &mut to.target);
}

/// The derivative of the cap at a capped logit: 1 − tanh²; 0 at a masked class.
#[inline(always)]
pub(super) fn slope<T: Float, S: Simd<T>>(s: S, cap: T, x: S::V) -> S::V {
    let tanh = s.div(x, s.splat(cap));
    let one = s.splat(T::ONE);
    let slope = s.mul(s.sub(one, tanh), s.add(one, tanh));
    s.select(s.eq(x, s.splat(T::NEG_INFINITY)), s.splat(T::ZERO), slope)
}
