//! The kernels for a row along vectors: its sums, and its gradient.

use super::chunks::{ChunkInput, Chunks, Row};
use super::math::{self, ChunkStats, Group, NO_CLASS, Shift};
use super::plan::{Plan, chunk_classes};
use crate::simd::slices::{self, Bounds, Mapped};
use crate::simd::{Float, Kernel, Simd, exp};
use std::cmp::Ordering;

/// The place of a class in a chunk; something larger than that has where it is not in it.
#[inline(always)]
fn place<T: Float>(plan: &Plan<'_, T>, chunk: usize, class: usize) -> usize {
    // Wraps to something large for a class before the chunk.
    let at = class.wrapping_sub(plan.first_class + chunk * chunk_classes::<T, false>());
    if class == NO_CLASS { usize::MAX } else { at }
}

/// Overwrites one lane, by way of the whole vector: one that is loaded after a part of it was stored must
/// wait until that, and all stores before, among them misses of the gradient's lines, have reached the cache.
#[inline(always)]
fn set_lane<T: Float, S: Simd<T>>(s: S, block: &mut T::Block, lane: usize, x: T) {
    let here = s.eq(s.load(&T::LANE_NUMBERS), s.splat(T::from_f64(lane as f64)));
    let all = s.select(here, s.splat(x), s.load(block));
    s.store(all, block);
}

/// A pass over the chunks of a row along vectors. A kernel of its own, so that it is compiled once for rows
/// one after the other and rows cut in pieces.
pub(super) struct Pass<'k, T: Float, L, P> {
    pub(super) plan: &'k Plan<'k, T>,
    pub(super) group: &'k Group<T>,
    /// The row in `lane`.
    pub(super) chunks: L,
    pub(super) lane: usize,
    /// What is known of the chunks.
    pub(super) parts: P,
}

/// Finds the sums of the chunks and, if there is an output, leaves their exponentials in their place. Takes the
/// bounds of the first chunk's logits, where they are known, and gives those of what they say comes
/// after the last.
pub(super) struct Sum<P, T: Float>(pub(super) P, pub(super) Option<Bounds<T>>);

/// Writes the gradient, from what `Sum` and `factors` have left, or (without parts) from the logits.
pub(super) struct Write<P>(pub(super) P);

impl<T: Float, L: Chunks<T>> Kernel<T> for Sum<Pass<'_, T, L, &mut [ChunkStats<T>]>, T> {
    type Output = Option<Bounds<T>>;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> Self::Output {
        sums(s, self.0, self.1)
    }
}

impl<T: Float> Kernel<T> for Write<Pass<'_, T, Row<'_, '_, T>, Option<&[ChunkStats<T>]>>> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        gradient(s, self.0);
    }
}

#[inline(always)]
fn sums<T: Float, S: Simd<T>, L: Chunks<T>>(
    s: S,
    pass: Pass<'_, T, L, &mut [ChunkStats<T>]>,
    first: Option<Bounds<T>>,
) -> Option<Bounds<T>> {
    let Pass { plan, group, mut chunks, lane, parts } = pass;
    let chunks = &mut chunks;
    let class = group.classes[lane];
    let mut bounds = first; // of the next chunk's logits
    for (c, part) in chunks.numbers().zip(parts) {
        let at = place(plan, c, class);
        let at_source = if !S::FUSED || plan.needs_logits() { None } else { chunks.at_source(c) };
        let gap;
        if let Some(chunk) = at_source {
            let here = chunk.logits.unwrap_or(chunk.buffer);
            let found = bounds.take().unwrap_or_else(
                #[inline(always)]
                || Bounds::of(s, here).of_all(s),
            );
            let others = find_target(s, here, at, lane, part, found);
            gap = math::gap(s, plan, here, c, others.max);
            let shift = Shift::of_chunk(s, s.splat(others.max));
            let k = exp::shifted(s, shift.k);
            let (target, is_more) = (Some(at).filter(|&at| at < here.len()), !chunk.next.is_empty());
            let is_normal = exp::is_normal(s, s.splat(others.min), T::LOG2_E, k);
            let (sum, found) = if shift.is_plain(s) && is_normal {
                exponentials::<T, S, L, true>(s, chunk, target, others.max, shift)
            } else {
                exponentials::<T, S, L, false>(s, chunk, target, others.max, shift)
            };
            set_lane(s, &mut part.sum, lane, sum);
            bounds = is_more.then_some(found);
        } else {
            bounds = None;
            chunks.load(c);
            let buffer = chunks.buffer(c);
            math::softcap(s, plan.cap, buffer);
            let all = Bounds::of(s, buffer).of_all(s);
            let max = find_target(s, buffer, at, lane, part, all).max;
            gap = math::gap(s, plan, buffer, c, max);
            leave_out(buffer, at);
            let shift = Shift::of_chunk(s, s.splat(max));
            let total = if !plan.needs_logits() {
                shift.to_exponentials(s, buffer)
            } else {
                // The logits are needed once more: `gradient` takes the exponentials again, if any.
                let mut total = math::Sum::of(s);
                slices::each(
                    s,
                    buffer,
                    T::NEG_INFINITY,
                    #[inline(always)]
                    |x| total.add(s, shift.exp(s, x)),
                );
                total.all(s)
            };
            set_lane(s, &mut part.sum, lane, s.sum_lanes(total));
        }
        if plan.is_smooth() {
            set_lane(s, &mut part.gap, lane, gap);
        }
    }
    bounds
}

/// How many bytes ahead logits are prefetched where they come from beyond the second-level cache: the CPU
/// prefetches too few of them, and hardly any where the gradient of the row before is written in the same loop.
const LOGITS_AHEAD: usize = 16 << 10;
/// The same of the gradient's lines, where exponentials wait in them: stores go to the cache in order, so
/// that each line that must be fetched first holds up all that come after.
const GRADIENT_AHEAD: usize = 8 << 10;
/// The same of the exponentials of the row before, whose place the row's own take.
const EXPONENTIALS_AHEAD: usize = 4 << 10;

/// Leaves a chunk's exponentials in its buffer, those of vectors without a masked lane made as ones that are
/// `NORMAL` if they are, and the target's being 0; gives their sum and the bounds of the next chunk's logits.
/// Where `PIPELINED`, writes in the same loop the gradient of the row before, of which the weights are part only if
/// `WEIGHTED`.
struct Exponentials<'t, T: Float, const PIPELINED: bool, const NORMAL: bool, const WEIGHTED: bool> {
    chunk: ChunkInput<'t, T>,
    target: Option<usize>,
    /// The maximum that the shift is made of.
    max: T,
}

impl<T: Float, const PIPELINED: bool, const NORMAL: bool, const WEIGHTED: bool>
    Exponentials<'_, T, PIPELINED, NORMAL, WEIGHTED>
{
    #[inline(always)]
    fn make<S: Simd<T>>(self, s: S, shift: Shift<S::V>) -> (S::V, Bounds<S::V>) {
        let Exponentials { chunk: ChunkInput { logits, buffer, next, far, before }, target, .. } = self;
        let (factor, smoothing, weights) = before
            .as_ref()
            .map_or((T::ZERO, T::ZERO, None), |before| (before.factor, before.smoothing, before.weights));
        let (factor, smoothing) = (s.splat(factor), s.splat(smoothing));
        let k = exp::shifted(s, shift.k);
        macro_rules! gradient {
            () => {
                #[inline(always)]
                |power, at| {
                    let smoothing = match weights {
                        Some(weights) if WEIGHTED => s.mul(smoothing, slices::take(s, &weights[at..])),
                        _ => smoothing,
                    };
                    s.mul_add(power, factor, smoothing)
                }
            };
        }
        let (mut read, mut made) = (logits.unwrap_or(buffer).as_ptr(), buffer.as_ptr());
        let (to, streaming) =
            before.map_or((&mut [][..], None), |before| (before.to, Some(before.streaming)));
        let mut lines = slices::Lines::begin(s, &buffer[..to.len()], to, gradient!());
        slices::map_and_sum(
            s,
            Mapped { xs: logits, to: buffer, next, hole: target, pad: T::NEG_INFINITY },
            #[inline(always)]
            |x| if NORMAL { exp::exp2_of_normal(s, x, T::LOG2_E, k) } else { shift.exp(s, x) },
            #[inline(always)]
            |x| shift.exp(s, x),
            #[inline(always)]
            |buffer| {
                if PIPELINED || far {
                    s.prefetch_far_after(read, LOGITS_AHEAD / size_of::<T>());
                    if PIPELINED {
                        s.prefetch_far_after(made, EXPONENTIALS_AHEAD / size_of::<T>());
                    } else {
                        s.prefetch_after(made, GRADIENT_AHEAD / size_of::<T>());
                    }
                    for at in [&mut read, &mut made] {
                        *at = at.wrapping_add(T::LANES);
                    }
                }
                if PIPELINED && let Some(streaming) = streaming {
                    // The exponentials of the row before: the line lies at this vector or, by less than one,
                    // after it.
                    lines.step(s, buffer, streaming, gradient!());
                }
            },
        )
    }
}

/// By way of memory what [`Exponentials::make`] gives, for [`Simd::outlined`].
impl<T: Float, const NORMAL: bool, const WEIGHTED: bool> Kernel<T>
    for Exponentials<'_, T, true, NORMAL, WEIGHTED>
{
    type Output = (T, Bounds<T>);
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> Self::Output {
        let shift = Shift::of_chunk(s, s.splat(self.max));
        let (sum, bounds) = self.make(s, shift);
        (s.sum_lanes(sum), bounds.of_all(s))
    }
}

/// Runs [`Exponentials`]; the sum is that of all lanes.
#[inline(always)]
fn exponentials<T: Float, S: Simd<T>, L: Chunks<T>, const NORMAL: bool>(
    s: S,
    chunk: ChunkInput<'_, T>,
    target: Option<usize>,
    max: T,
    shift: Shift<S::V>,
) -> (T, Bounds<T>) {
    if L::PIPELINED {
        if chunk.before.as_ref().is_some_and(|before| before.weights.is_some()) {
            // Normal or not, the bits are the same: with weights, one function is enough.
            return s.outlined(Exponentials::<T, true, false, true> { chunk, target, max });
        }
        return s.outlined(Exponentials::<T, true, NORMAL, false> { chunk, target, max });
    }
    let (sum, bounds) = Exponentials::<T, false, NORMAL, false> { chunk, target, max }.make(s, shift);
    (s.sum_lanes(sum), bounds.of_all(s))
}

#[inline(always)]
fn gradient<T: Float, S: Simd<T>>(s: S, pass: Pass<'_, T, Row<'_, '_, T>, Option<&[ChunkStats<T>]>>) {
    let Pass { plan, group, mut chunks, lane, parts } = pass;
    let chunks = &mut chunks;
    let factors = &group.factors;
    let of_row = &group.row.shift;
    let (smoothing, factor) = (s.splat(factors.smoothing(lane)), s.splat(factors.factor.as_ref()[lane]));
    let (origin, k) = (s.splat(of_row.origin.as_ref()[lane]), s.splat(of_row.k.as_ref()[lane]));
    let shift = Shift { origin, k }.lifted(s, T::CHUNK_LIFT);
    let class = group.classes[lane];
    for (i, c) in chunks.numbers().enumerate() {
        if parts.is_none() {
            // Made anew from the logits.
            chunks.load(c);
            let buffer = chunks.buffer(c);
            math::softcap(s, plan.cap, buffer);
            leave_out(buffer, place(plan, c, class));
        }
        let buffer = chunks.buffer(c);
        let weights = plan.smoothing_weights(c * chunk_classes::<T, false>(), buffer.len());
        match (plan.cap, parts) {
            _ if plan.log => slices::map(
                s,
                buffer,
                T::ZERO,
                #[inline(always)]
                |x| s.sub(s.sub(x, smoothing), factor),
            ),
            (None, Some(parts)) => {
                let factor = s.splat(parts[i].factor(lane));
                let Some(weights) = weights else {
                    chunks.map_gradient(
                        s,
                        c,
                        #[inline(always)]
                        |power| s.mul_add(power, factor, smoothing),
                    );
                    chunks.store(c);
                    continue;
                };
                slices::map_with(
                    s,
                    buffer,
                    weights,
                    T::ZERO,
                    #[inline(always)]
                    |power, w| s.mul_add(power, factor, s.mul(smoothing, w)),
                );
            }
            (None, None) => smoothed(
                s,
                buffer,
                weights,
                smoothing,
                #[inline(always)]
                |x, smoothing| s.mul_add(shift.exp(s, x), factor, smoothing),
            ),
            (Some(cap), _) => smoothed(
                s,
                buffer,
                weights,
                smoothing,
                #[inline(always)]
                |x, smoothing| s.mul(s.mul_add(shift.exp(s, x), factor, smoothing), math::slope(s, cap, x)),
            ),
        }
        chunks.stream(s, c);
        chunks.store(c);
    }
    let at = place(plan, chunks.numbers().start, class);
    chunks.finish(at, factors.target(lane));
}

/// Turns a chunk's buffer into its gradient by `f` of it and `smoothing`, the latter times the weights where there
/// are any.
#[inline(always)]
fn smoothed<T: Float, S: Simd<T>>(
    s: S,
    buffer: &mut [T],
    weights: Option<&[T]>,
    smoothing: S::V,
    mut f: impl FnMut(S::V, S::V) -> S::V,
) {
    match weights {
        None => slices::map(
            s,
            buffer,
            T::ZERO,
            #[inline(always)]
            |x| f(x, smoothing),
        ),
        Some(weights) => slices::map_with(
            s,
            buffer,
            weights,
            T::ZERO,
            #[inline(always)]
            |x, w| f(x, s.mul(smoothing, w)),
        ),
    }
}

/// Notes a row's target, if it is in this chunk, and the largest other, and gives the others' bounds, given
/// those of all.
#[inline(always)]
pub(super) fn find_target<T: Float, S: Simd<T>>(
    s: S,
    logits: &[T],
    at: usize,
    lane: usize,
    part: &mut ChunkStats<T>,
    bounds: Bounds<T>,
) -> Bounds<T> {
    let target = logits.get(at).copied();
    let (mut bounds, mut beaten) = (bounds, 0);
    // The others' own maximum, so that they do not underflow below a target that leads by far.
    if let Some(target) = target
        && target.partial_cmp(&bounds.max) != Some(Ordering::Less)
    {
        let before = Bounds::of(s, &logits[..at]);
        bounds = before.join(s, Bounds::of(s, &logits[at + 1..])).of_all(s);
        beaten = u32::from(before.of_all(s).max >= target);
    }
    set_lane(s, &mut part.target, lane, target.unwrap_or(T::NEG_INFINITY));
    set_lane(s, &mut part.max, lane, bounds.max);
    part.beaten = part.beaten & !(1 << lane) | beaten << lane;
    bounds
}

/// Whether the logit `at` is not the largest, or of equal ones not the first.
#[inline(always)]
pub(super) fn is_beaten<T: Float, S: Simd<T>>(s: S, logits: &[T], at: usize) -> bool {
    let Some(&target) = logits.get(at) else { return true };
    let target = s.splat(target);
    let (before, after) = (&logits[..at], &logits[at + 1..]);
    slices::any(
        s,
        before,
        #[inline(always)]
        |x| s.ge(x, target),
    ) || slices::any(
        s,
        after,
        #[inline(always)]
        |x| s.gt(x, target),
    )
}

/// Takes a row's target, if it is here, out of the sums.
#[inline(always)]
fn leave_out<T: Float>(logits: &mut [T], at: usize) {
    if let Some(x) = logits.get_mut(at) {
        *x = T::NEG_INFINITY;
    }
}
