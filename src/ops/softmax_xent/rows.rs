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
//! 1. *Base 2, shifted by an integer.* e^x is taken as 2^{t}, t = x·log₂e − k, with k = round(max·log₂e): one fused
//!    multiply-add, rounded once relative to |t|. Moving a sum from one k to another is an exact power of two. Where
//!    |max| > 2²¹ (2⁵⁰ for f64) k would lose its units; there t = (x − max)·log₂e, and moves are rounded.
//! 2. *Chunks.* A row is cut into chunks of 8 KiB; each has its own shift, so that one sweep over memory suffices: while
//!    a chunk is in the first-level cache its maximum is found and its exponentials are summed and left in place of the
//!    gradient. Last, each chunk is multiplied by 2^(its shift − the row's)·(scale/Z).
//! 3. *The target apart.* Maxima and sums are of all classes but the target, Z = others + e_y, so that nothing
//!    underflows below a target that leads by far. The target's gradient is
//!    −A·others/Z and the loss of an unsmoothed row ln(1 + others/e_y): nothing cancels when p_y → 1.
//! 4. *Rows in lanes.* With few classes, and where the class axis is not the last, a vector holds one class of
//!    several rows; chunks are then of 32 classes. The same code runs for both: only joining the lanes differs.
//!
//! # Accuracy
//!
//! Worst element over N(0, 1), N(0, 5²), N(0, 30²) and targets that lead by 20, 40 and 80, each with offsets of 0,
//! ±10³, ±10⁶ and ±10³⁰, 10 and 5,000 classes, every level, as a share of the bound (4 + gap)·ε: other classes 0.69,
//! target 0.25, loss 0.30, in `f32` and in `f64` (`cargo test --test accuracy -- --nocapture`).
//!
//! The order of every sum follows from the shape alone: within a chunk vector by vector, then lane i + lane i + 8, 4, 2,
//! 1 (rows along vectors only), then chunk by chunk with the rounding errors carried along (Neumaier, 1974).

use super::partial::Partial;
use super::plan::{Plan, Term, chunk_classes};
use super::tile::{Tile, largest};
use crate::simd::{Float, Simd, exp, slices};

/// Where the exponentials of a chunk or row are taken from: they are 2^((x − origin)·log₂e − k), one of the two 0.
#[derive(Clone, Copy)]
pub(super) struct Shift<V> {
    origin: V,
    k: V,
}

impl<V: Copy> Shift<V> {
    /// The shift for logits of at most `max`.
    #[inline(always)]
    pub(super) fn of<T: Float, S: Simd<T, V = V>>(s: S, max: V) -> Self {
        let zero = s.splat(T::ZERO);
        let small = s.ge(s.splat(T::MAX_INTEGER_SHIFT), s.abs(max));
        // −∞ is a chunk of nothing but masked classes: any finite origin gives their exponentials, 0.
        let finite = s.gt(max, s.splat(T::NEG_INFINITY));
        Shift {
            origin: s.select(small, zero, s.select(finite, max, zero)),
            k: s.select(small, s.round(s.mul(max, s.splat(T::LOG2_E))), zero),
        }
    }

    /// t for a logit. At most ½ for the maximum that the shift was made of.
    #[inline(always)]
    pub(super) fn exponent<T: Float, S: Simd<T, V = V>>(self, s: S, x: V) -> V {
        let k = s.sub(s.splat(T::ZERO), self.k);
        s.mul_add_exact(s.sub(x, self.origin), s.splat(T::LOG2_E), k)
    }

    /// The factor that takes exponentials from this shift to `to`, made of a maximum no smaller.
    #[inline(always)]
    pub(super) fn factor<T: Float, S: Simd<T, V = V>>(self, s: S, to: Self) -> V {
        let t = s.mul_add_exact(s.sub(self.origin, to.origin), s.splat(T::LOG2_E), s.sub(self.k, to.k));
        // Above 1 only for a chunk of nothing but −∞, whose origin is arbitrary and whose exponentials are 0.
        let one = s.splat(T::ONE);
        exp::exp2(s, s.select(s.gt(t, one), one, t))
    }
}

/// What is known of one chunk of each row in the lanes.
#[derive(Clone, Copy, Default)]
pub(super) struct Part<T: Float> {
    /// The largest logit, the target's left out.
    max: T::Block,
    /// The sum of the exponentials, the target's left out, from the maximum's shift.
    sum: T::Block,
    /// Σ w_j·(x_j − max), the target's included, if there is smoothing; from 0 where the maximum is −∞.
    gap: T::Block,
}

/// Room that rows use one after the other.
pub(super) struct Scratch<T: Float> {
    parts: Vec<Part<T>>,
    /// A chunk's class weights, where they must be spread over lanes.
    weights: Vec<T>,
}

impl<T: Float> Scratch<T> {
    pub(super) fn new() -> Self {
        Scratch { parts: Vec::new(), weights: Vec::new() }
    }
}

/// What is known of a whole row in each lane.
#[derive(Clone, Copy)]
pub(super) struct Sums<V> {
    pub(super) max: V,
    pub(super) others: V,
    pub(super) target: V,
    gap: V,
}

impl<V: Copy> Sums<V> {
    /// One row's in every lane.
    #[inline(always)]
    pub(super) fn splat<T: Float, S: Simd<T, V = V>>(s: S, row: Partial<T>) -> Self {
        let [max, others, target] = [s.splat(row.max), s.splat(row.others), s.splat(row.target)];
        Sums { max, others, target, gap: s.splat(T::ZERO) }
    }

    /// Of as many rows as there are, one a lane; or, unless `across`, of the first in every lane. A row without a
    /// target gets those of one logit of 0: its gradient is 0, whatever its sums are.
    #[inline(always)]
    pub(super) fn load<T: Float, S: Simd<T, V = V>>(
        s: S,
        rows: &[Partial<T>],
        group: &Group<T>,
        across: bool,
    ) -> Self {
        if !across {
            return Sums::splat(s, rows[0]);
        }
        let mut blocks = [T::Block::default(); 4];
        let ignored = Partial { max: T::ZERO, others: T::ONE, target: T::NEG_INFINITY };
        for (lane, row) in rows.iter().enumerate() {
            let row = if group.classes[lane] == NO_CLASS { &ignored } else { row };
            for (block, x) in blocks.iter_mut().zip([row.max, row.others, row.target]) {
                block.as_mut()[lane] = x;
            }
        }
        Sums::of_blocks(s, &blocks)
    }

    #[inline(always)]
    pub(super) fn of_blocks<T: Float, S: Simd<T, V = V>>(s: S, blocks: &[T::Block; 4]) -> Self {
        let [max, others, target, gap] = blocks;
        let [max, others, target, gap] = [s.load(max), s.load(others), s.load(target), s.load(gap)];
        Sums { max, others, target, gap }
    }

    #[inline(always)]
    pub(super) fn stored<T: Float, S: Simd<T, V = V>>(&self, s: S) -> [T::Block; 4] {
        [stored(s, self.max), stored(s, self.others), stored(s, self.target), stored(s, self.gap)]
    }
}

/// The rows in flight: one (rows along vectors), or one a lane.
pub(super) struct Group<T: Float> {
    /// Each row's target, `NO_CLASS` where it has none.
    pub(super) classes: [usize; 16],
    /// What each row's gradient is multiplied by.
    pub(super) scale: T::Block,
    pub(super) count: usize,
}

/// No class has this number: a row has fewer than `isize::MAX` elements.
pub(super) const NO_CLASS: usize = usize::MAX;

/// Where, in a chunk's buffer, the target of the row in lane `lane` is, if it is in this chunk.
#[inline(always)]
fn place<T: Float, const ACROSS: bool>(
    plan: &Plan<'_, T>,
    chunk: usize,
    class: usize,
    lane: usize,
) -> Option<usize> {
    let classes = chunk_classes::<T, ACROSS>();
    // Wraps to something large for a class before the chunk.
    let at = class.wrapping_sub(plan.first_class + chunk * classes);
    (class != NO_CLASS && at < classes).then(|| if ACROSS { at * T::LANES + lane } else { at })
}

/// Hands `f` the targets that are in this chunk, and their lanes.
#[inline(always)]
fn targets<T: Float, const ACROSS: bool>(
    plan: &Plan<'_, T>,
    group: &Group<T>,
    chunk: usize,
    buffer: &mut [T],
    mut f: impl FnMut(&mut T, usize),
) {
    for (lane, &class) in group.classes[..group.count].iter().enumerate() {
        if let Some(at) = place::<T, ACROSS>(plan, chunk, class, lane)
            && let Some(x) = buffer.get_mut(at)
        {
            f(x, lane);
        }
    }
}

/// What `gap` measures from: the maximum, or 0 where that is −∞.
#[inline(always)]
fn anchor<T: Float, S: Simd<T>>(s: S, max: S::V) -> S::V {
    s.select(s.gt(max, s.splat(T::NEG_INFINITY)), max, s.splat(T::ZERO))
}

#[inline(always)]
pub(super) fn stored<T: Float, S: Simd<T>>(s: S, v: S::V) -> T::Block {
    let mut block = T::Block::default();
    s.store(v, &mut block);
    block
}

/// The sums of the group's rows; leaves what `finish` needs in the tile, if `keep`.
#[inline(always)]
pub(super) fn sums<T: Float, S: Simd<T>, const ACROSS: bool>(
    s: S,
    plan: &Plan<'_, T>,
    tile: &mut impl Tile<T>,
    group: &Group<T>,
    scratch: &mut Scratch<T>,
    keep: bool,
) -> Sums<S::V> {
    let masked = T::NEG_INFINITY;
    let zero = s.splat(T::ZERO);
    let chunks = tile.chunks();
    let mut target = T::Block::default();
    target.as_mut().fill(masked);
    let Scratch { parts, weights: room } = scratch;
    parts.clear();
    for c in 0..chunks {
        let mut max = open::<T, S, ACROSS>(s, plan, tile, group, c, keep);
        let buffer = tile.buffer(c);
        let mut is_here = false;
        targets::<T, ACROSS>(plan, group, c, buffer, |x, lane| {
            target.as_mut()[lane] = std::mem::replace(x, masked);
            is_here = true;
        });
        if !ACROSS {
            max = s.splat(s.max_lanes(max));
        }
        // The others' own maximum, so that they do not underflow below a target that leads by far.
        if is_here && s.bits(s.not_lt(s.load(&target), max)) != 0 {
            max = largest(s, buffer);
            if !ACROSS {
                max = s.splat(s.max_lanes(max));
            }
        }
        let shift = Shift::of(s, max);
        let mut gap = zero;
        if plan.is_smooth() {
            targets::<T, ACROSS>(plan, group, c, buffer, |x, lane| *x = target.as_ref()[lane]);
            let weights = plan.chunk_weights::<ACROSS>(c, buffer.len(), room);
            gap = self::gap::<T, S, ACROSS>(s, buffer, weights, anchor(s, max));
            targets::<T, ACROSS>(plan, group, c, buffer, |x, _| *x = masked);
        }
        let mut sum = zero;
        if keep && plan.cap.is_none() {
            slices::map(
                s,
                buffer,
                masked,
                #[inline(always)]
                |x| {
                    let power = exp::exp2(s, shift.exponent(s, x));
                    sum = s.add(sum, power);
                    power
                },
            );
        } else {
            slices::each(
                s,
                buffer,
                masked,
                #[inline(always)]
                |x| sum = s.add(sum, exp::exp2(s, shift.exponent(s, x))),
            );
            if keep {
                // The derivative of the cap needs the capped logits once more: `finish` takes the exponentials again.
                targets::<T, ACROSS>(plan, group, c, buffer, |x, lane| *x = target.as_ref()[lane]);
            }
        }
        let sum = if ACROSS { sum } else { s.splat(s.sum_lanes(sum)) };
        parts.push(Part { max: stored(s, max), sum: stored(s, sum), gap: stored(s, gap) });
        if keep && chunks > 1 {
            tile.store(s, c);
        }
    }
    if !ACROSS {
        let x = target.as_ref()[0];
        target.as_mut().fill(x);
    }
    join_parts::<T, S, ACROSS>(s, plan, parts, s.load(&target))
}

/// cap·tanh(x/cap)
#[inline(always)]
fn softcap<T: Float, S: Simd<T>>(s: S, cap: T, x: S::V) -> S::V {
    s.mul(s.splat(cap), exp::tanh(s, s.div(x, s.splat(cap))))
}

/// Σ w_j·(x_j − anchor) over a chunk.
#[inline(always)]
fn gap<T: Float, S: Simd<T>, const ACROSS: bool>(
    s: S,
    buffer: &mut [T],
    weights: Option<&[T]>,
    anchor: S::V,
) -> S::V {
    let mut sum = s.splat(T::ZERO);
    match weights {
        // Padded with the maximum, which adds nothing. (Across lanes there is no remainder.)
        None => {
            let pad = stored(s, anchor).as_ref()[0];
            slices::each(
                s,
                buffer,
                pad,
                #[inline(always)]
                |x| sum = s.add(sum, s.sub(x, anchor)),
            );
        }
        // Padded with weights of 0.
        Some(weights) => slices::map_with(
            s,
            buffer,
            weights,
            T::ZERO,
            #[inline(always)]
            |x, w| {
                sum = s.mul_add(w, s.sub(x, anchor), sum);
                x
            },
        ),
    }
    if ACROSS { sum } else { s.splat(s.sum_lanes(sum)) }
}

/// The sums of whole rows from those of their chunks.
#[inline(always)]
fn join_parts<T: Float, S: Simd<T>, const ACROSS: bool>(
    s: S,
    plan: &Plan<'_, T>,
    parts: &[Part<T>],
    target: S::V,
) -> Sums<S::V> {
    let zero = s.splat(T::ZERO);
    let mut max = target;
    for part in parts {
        max = s.max(max, s.load(&part.max));
    }
    let to = Shift::of(s, max);
    let (mut others, mut dropped, mut gap) = (zero, zero, zero);
    for (c, part) in parts.iter().enumerate() {
        let part_max = s.load(&part.max);
        let x = s.mul(s.load(&part.sum), Shift::of(s, part_max).factor(s, to));
        let sum = s.add(others, x);
        let lost = s.select(s.ge(others, x), s.add(s.sub(others, sum), x), s.add(s.sub(x, sum), others));
        (others, dropped) = (sum, s.add(dropped, lost));
        if plan.is_smooth() {
            let weight = s.splat(plan.chunk_weight(c));
            gap = s.add(gap, s.mul_add(s.sub(anchor(s, part_max), max), weight, s.load(&part.gap)));
        }
    }
    Sums { max, others: s.add(others, dropped), target, gap }
}

/// What one row's logarithm is made of, and the logarithm.
#[derive(Clone, Copy)]
pub(super) struct Normalizer<V> {
    shift: Shift<V>,
    /// Σ of all exponentials, from the row's shift.
    z: V,
    /// The target's exponential.
    target: V,
    /// Its exponent.
    t: V,
}

impl<V: Copy> Normalizer<V> {
    #[inline(always)]
    pub(super) fn of<T: Float, S: Simd<T, V = V>>(s: S, sums: &Sums<V>) -> Self {
        let shift = Shift::of(s, sums.max);
        let t = shift.exponent(s, sums.target);
        let target = exp::exp2(s, t);
        let z = s.add(sums.others, target);
        // No class has a probability: a row of nothing but −∞ is NaN, like one with +∞.
        let z = s.select(s.gt(z, s.splat(T::ZERO)), z, s.splat(T::NAN));
        Normalizer { shift, z, target, t }
    }

    /// ln Σ e^{x_j}
    #[inline(always)]
    pub(super) fn lse<T: Float, S: Simd<T, V = V>>(&self, s: S) -> V {
        let ln_z = s.add(exp::ln(s, self.z), s.mul(self.shift.k, s.splat(T::LN_2_REST)));
        s.add(self.shift.origin, s.mul_add(self.shift.k, s.splat(T::LN_2), ln_z))
    }

    /// lse − x_y
    #[inline(always)]
    fn negative_log_likelihood<T: Float, S: Simd<T, V = V>>(&self, s: S, others: V) -> V {
        let near = exp::ln_1p(s, s.div(others, self.target));
        let far = s.mul_add(self.t, s.splat(-T::LN_2), exp::ln(s, self.z));
        // Far below the others the target's exponential has underflowed, and nothing cancels.
        s.select(s.not_lt(self.t, s.splat(T::EXP2_MIN * T::from_f64(0.5))), near, far)
    }

    /// The row's loss, its term's factors in lanes.
    #[inline(always)]
    pub(super) fn loss<T: Float, S: Simd<T, V = V>>(
        &self,
        s: S,
        plan: &Plan<'_, T>,
        sums: &Sums<V>,
        own: V,
    ) -> V {
        let nll = self.negative_log_likelihood(s, sums.others);
        let mut loss = if plan.is_plain() { nll } else { s.mul(own, nll) };
        if plan.is_smooth() {
            let t_max = self.shift.exponent(s, sums.max);
            let above_max = s.mul_add(t_max, s.splat(-T::LN_2), exp::ln(s, self.z));
            let mean = s.sub(s.mul(s.splat(plan.total_weight), above_max), sums.gap);
            loss = s.mul_add(s.splat(plan.share), mean, loss);
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
pub(super) fn terms<T: Float, S: Simd<T>, const ACROSS: bool>(
    s: S,
    plan: &Plan<'_, T>,
    group: &Group<T>,
) -> Term<S::V> {
    if plan.is_plain() {
        return Term { own: s.splat(T::ONE), all: s.splat(T::ONE), rest: s.splat(T::ZERO) };
    }
    let mut blocks = [T::Block::default(); 3];
    for lane in 0..group.count {
        let class = group.classes[lane];
        let term = plan.term((class != NO_CLASS).then_some(class));
        for (block, x) in blocks.iter_mut().zip([term.own, term.all, term.rest]) {
            block.as_mut()[lane] = x;
        }
    }
    if !ACROSS {
        for block in &mut blocks {
            let x = block.as_ref()[0];
            block.as_mut().fill(x);
        }
    }
    let [own, all, rest] = [s.load(&blocks[0]), s.load(&blocks[1]), s.load(&blocks[2])];
    Term { own, all, rest }
}

/// What a tile's chunks hold when `finish` begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// What `sums` has kept in its only chunk, or stored of each.
    Sums,
    /// Nothing yet: the logits are to be read.
    Nothing,
}

/// Writes the gradient of the group's rows, given their sums.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub(super) fn finish<T: Float, S: Simd<T>, const ACROSS: bool>(
    s: S,
    plan: &Plan<'_, T>,
    tile: &mut impl Tile<T>,
    group: &Group<T>,
    left: Left,
    scratch: &mut Scratch<T>,
    sums: &Sums<S::V>,
    row: &Normalizer<S::V>,
    term: &Term<S::V>,
) {
    let Scratch { parts, weights: room } = scratch;
    let zero = s.splat(T::ZERO);
    let scale = s.load(&group.scale);
    let scaled = if plan.is_plain() { scale } else { s.mul(scale, term.all) };
    // The gradient is `factor` times the exponentials from the row's shift, plus `pull` times the weights.
    let mut factor = s.div(scaled, row.z);
    let pull = s.sub(zero, s.mul(scale, s.splat(plan.share)));
    let mut target = s.sub(zero, s.mul(factor, sums.others));
    if plan.is_smooth() {
        target = s.mul_add(scale, term.rest, target);
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
    let target = stored(s, target);
    let chunks = tile.chunks();
    #[allow(clippy::needless_range_loop)] // there are no parts where the sums were known
    for c in 0..chunks {
        let buffer = match left {
            Left::Nothing => {
                open::<T, S, ACROSS>(s, plan, tile, group, c, true);
                tile.buffer(c)
            }
            Left::Sums if chunks > 1 => tile.reopen(s, c),
            Left::Sums => tile.buffer(c),
        };
        let weights = plan.is_smooth().then(|| plan.chunk_weights::<ACROSS>(c, buffer.len(), room)).flatten();
        if left == Left::Sums && plan.cap.is_none() {
            let factor = s.mul(factor, Shift::of(s, s.load(&parts[c].max)).factor(s, row.shift));
            each_weighed(
                s,
                buffer,
                weights,
                pull,
                #[inline(always)]
                |power, pull| s.mul_add(power, factor, pull),
            );
        } else {
            match plan.cap {
                None => each_weighed(
                    s,
                    buffer,
                    weights,
                    pull,
                    #[inline(always)]
                    |x, pull| s.mul_add(exp::exp2(s, row.shift.exponent(s, x)), factor, pull),
                ),
                Some(cap) => each_weighed(
                    s,
                    buffer,
                    weights,
                    pull,
                    #[inline(always)]
                    |x, pull| {
                        s.mul(
                            s.mul_add(exp::exp2(s, row.shift.exponent(s, x)), factor, pull),
                            slope(s, cap, x),
                        )
                    },
                ),
            }
        }
        targets::<T, ACROSS>(plan, group, c, buffer, |x, lane| *x = target.as_ref()[lane]);
        tile.store(s, c);
    }
}

/// Overwrites each vector with `f` of it and `pull`, the latter times the weights where there are any.
#[inline(always)]
fn each_weighed<T: Float, S: Simd<T>>(
    s: S,
    buffer: &mut [T],
    weights: Option<&[T]>,
    pull: S::V,
    f: impl Fn(S::V, S::V) -> S::V,
) {
    match weights {
        None => slices::map(
            s,
            buffer,
            T::ZERO,
            #[inline(always)]
            |x| f(x, pull),
        ),
        Some(weights) => slices::map_with(
            s,
            buffer,
            weights,
            T::ZERO,
            #[inline(always)]
            |x, w| f(x, s.mul(pull, w)),
        ),
    }
}

/// Reads a chunk's logits into its buffer, capped, and gives the largest of each lane; with `clean`, rows without a
/// target become zeros.
#[inline(always)]
fn open<T: Float, S: Simd<T>, const ACROSS: bool>(
    s: S,
    plan: &Plan<'_, T>,
    tile: &mut impl Tile<T>,
    group: &Group<T>,
    chunk: usize,
    clean: bool,
) -> S::V {
    let max = tile.open(s, chunk);
    let clean = ACROSS && clean && group.classes[..group.count].contains(&NO_CLASS);
    if !clean && plan.cap.is_none() {
        return max;
    }
    let buffer = tile.buffer(chunk);
    if clean {
        // An ignored row's gradient is 0, whatever its logits are.
        for lane in (0..group.count).filter(|&lane| group.classes[lane] == NO_CLASS) {
            buffer.iter_mut().skip(lane).step_by(T::LANES).for_each(|x| *x = T::ZERO);
        }
    }
    if let Some(cap) = plan.cap {
        slices::map(
            s,
            buffer,
            T::NEG_INFINITY,
            #[inline(always)]
            |x| softcap(s, cap, x),
        );
    }
    largest(s, buffer)
}

/// The derivative of the cap at a capped logit: 1 − tanh².
#[inline(always)]
fn slope<T: Float, S: Simd<T>>(s: S, cap: T, x: S::V) -> S::V {
    let tanh = s.div(x, s.splat(cap));
    let one = s.splat(T::ONE);
    s.mul(s.sub(one, tanh), s.add(one, tanh))
}
