//! Rows of a few to a chunk of classes, dense along the class axis: the class-vectorised kernel.
//!
//! A vector holds neighbouring classes of one row. What a row costs beside its elements is kept small in three ways:
//!
//! 1. *Groups.* Up to a vector's lanes of rows go together. The vectors that their sums end in are reduced by
//!    one tree, and the logarithms and quotients of all rows are computed at once, one row a lane.
//! 2. *Pipelined.* The exponentials of a group stay in scratch, a slot for each row, in the first-level
//!    cache. One loop makes those of a row of the new group and stores the gradient of a row of the group
//!    before, whose slot it takes over:
//!
//! ```text
//!    group     row 0      row 1      row 2   …   row G − 1
//!    new       make       make       make        make         exponentials → slot
//!    before    row G − 1  row G − 2  row G − 3 … row 0        slot · factor → gradient
//! ```
//!
//!    Backwards, so that a row is never read at the same distance (modulo 4 KiB) from the row that is
//!    written, and slots are taken in ascending and descending order by turns. A gradient is written after
//!    its group is finished, so the same loop serves in place.
//! 3. *No maximum.* Whatever integer k the exponentials 2^(x·log₂e − k) of a row are taken from, their bits
//!    are the same but for the exponent, which the factor takes back, as long as none of them leaves the
//!    window of normal numbers. So k is guessed, once for many rows; each exponential is checked to be in the
//!    window (two operations of bits), and each row's sums to be so far from its ends that all that follows
//!    has the same bits as well ([`Job::is_exact`]). Where a check fails, the group's exponentials are made
//!    anew from the rows' own maxima, nothing having been written, and the next guess is made of these.
//!
//! The target is left out of the sums by a mask: its number is compared with those of the lanes.

use super::by_row;
use super::driver::{Job, aligned, pieces};
use super::lanes::FEW_ROWS;
use super::math::{self, ChunkStats, Group, NO_CLASS, Scratch, Shift};
use super::plan::{chunk_classes, is_ordinary};
use crate::parallel::Split;
use crate::simd::slices::{self, Bounds, stored};
use crate::simd::{Float, Kernel, Simd, exp, scaled};

/// Bytes of a row up to which a group has as many rows as a vector has lanes: their slots then fill half of a
/// first-level cache.
const ROW_BYTES_OF_WHOLE_GROUPS: usize = 1472;

/// Rows of a group of longer ones.
const ROWS_OF_SMALL_GROUPS: usize = 8;

/// Powers of two between the largest logit that a guess is made of and the window's upper end.
const HEADROOM: f64 = 22.0;

/// Groups, at most, that are not guessed after a wrong guess.
const MAX_PAUSE: usize = 63;

/// Rows in flight: their exponentials are in scratch.
pub(super) struct InFlight<T: Float> {
    group: Group<T>,
    part: ChunkStats<T>,
    /// What the exponentials are taken from.
    shift: Shift<T::Block>,
    /// Whether the first row has the first slot; else it has the last one.
    ascending: bool,
}

impl<T: Float> Default for InFlight<T> {
    fn default() -> Self {
        InFlight {
            group: Group::default(),
            part: ChunkStats::empty(),
            shift: Shift::default(),
            ascending: true,
        }
    }
}

/// Memory for exponentials.
struct Slots<'s, T: Float> {
    /// A slot for each row of a group.
    slots: &'s mut [T],
    /// The length of each: whole vectors.
    stride: usize,
    /// A row that stands for ignored ones, of logits that are always in the window.
    ignored: &'s mut [T],
    /// Takes the gradient of rows that are not there.
    unwanted: &'s mut [T],
    /// The sums of each lane of each row's vectors.
    sums: T::BlockMatrix,
}

impl<T: Float> Slots<'_, T> {
    /// Rows of a group.
    #[inline(always)]
    fn rows(&self) -> usize {
        self.slots.len() / self.stride
    }

    /// The slot of a row in flight.
    #[inline(always)]
    fn slot(&mut self, of: &InFlight<T>, lane: usize) -> &mut [T] {
        let at = if of.ascending { lane } else { self.rows() - 1 - lane };
        &mut self.slots[at * self.stride..][..self.stride]
    }
}

/// The k that the next groups' exponentials are taken from.
struct Guess<T> {
    k: Option<T>,
    /// Groups still to come before the next attempt, and as many as they were after the last failure.
    pause: usize,
    last_pause: usize,
}

impl<T: Float> Guess<T> {
    /// From a row's largest logit.
    fn renew(&mut self, max: T, ignored: &mut [T]) {
        let k = (max.to_f64() * T::LOG2_E.to_f64()).round() + HEADROOM;
        self.k = (k.abs() < T::MAX_INTEGER_SHIFT.to_f64()).then(|| T::from_f64(k));
        ignored.fill(self.k.map_or(T::ZERO, |k| (k - T::from_f64(HEADROOM)) * T::LN_2));
    }
}

/// Makes the exponentials of a group and stores the gradient of the one before. With `GUESSED`, all rows have
/// the same k; else each has its own shift. With `WEIGHTED`, smoothing makes something of the class weights.
struct Make<'m, 'p, 'a, 's, T: Float, const GUESSED: bool, const WEIGHTED: bool> {
    job: &'m mut Job<'p, 'a, T>,
    now: &'m InFlight<T>,
    before: Option<&'m InFlight<T>>,
    slots: &'m mut Slots<'s, T>,
}

impl<T: Float, const GUESSED: bool, const WEIGHTED: bool> Kernel<T>
    for Make<'_, '_, '_, '_, T, GUESSED, WEIGHTED>
{
    /// Whether all exponentials are in the window, where they are guessed.
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> bool {
        let Make { job, now, before, slots } = self;
        let (plan, classes, wanted) = (job.plan, job.classes, job.rows.to.is_some());
        let weights = plan.smoothing_weights(0, classes).filter(|_| WEIGHTED).unwrap_or_default();
        let (w, w_rest) = T::blocks(weights);
        let (step, end) = (s.splat(T::from_f64(T::LANES as f64)), s.splat(T::from_f64(classes as f64)));
        let mut outside = s.splat(T::ZERO);
        let pad = if GUESSED { slots.ignored[0] } else { T::NEG_INFINITY };
        for lane in 0..now.group.count {
            let (row, class) = (now.group.first + lane, now.group.classes[lane]);
            let old = before.and_then(
                #[inline(always)]
                |before| Some((before, before.group.count.checked_sub(lane + 1)?)),
            );
            let (mut factor, mut smoothing, mut target) = (T::ZERO, T::ZERO, (usize::MAX, T::ZERO));
            if let Some((before, lane)) = old {
                let factors = &before.group.factors;
                (factor, smoothing) = (before.part.factor(lane), factors.smoothing(lane));
                target = (before.group.classes[lane].wrapping_sub(plan.first_class), factors.target(lane));
            }
            let at = if now.ascending { lane } else { slots.rows() - 1 - lane };
            let start = at * slots.stride;
            let slot = &mut slots.slots[start..][..slots.stride];
            let unwanted = &mut *slots.unwanted;
            // The row to read and the one to write. In place, both are in the output.
            let (x, to): (&[T], &mut [T]) = match (&job.rows.from, &mut job.rows.to, old) {
                (Some(from), Some(to), Some((before, lane))) => {
                    let to = to.slice(before.group.first + lane).into_slice_mut();
                    (from.slice(row).as_slice().unwrap_or_default(), to.unwrap_or_default())
                }
                (Some(from), ..) => (from.slice(row).as_slice().unwrap_or_default(), unwanted),
                (None, Some(to), Some((before, lane))) => {
                    let first = before.group.first + lane;
                    let both = to.run_mut(first, row + 1 - first).unwrap_or_default();
                    let (to, x) = both.split_at_mut((row - first) * classes);
                    (x, to)
                }
                (None, Some(to), None) => (to.run_mut(row, 1).unwrap_or_default(), unwanted),
                (None, None, _) => (&[], unwanted),
            };
            let x = if class == NO_CLASS && wanted { &*slots.ignored } else { x };
            let (x, to) = (&x[..classes], &mut to[..classes]);
            let (k, origin) = (s.splat(now.shift.k.as_ref()[lane]), s.splat(now.shift.origin.as_ref()[lane]));
            let from = if GUESSED { exp::window(s, k) } else { exp::shifted(s, k) };
            let at = s.splat(T::from_f64(class.wrapping_sub(plan.first_class).min(classes) as f64));
            let (factor, smoothing) = (s.splat(factor), s.splat(smoothing));
            let (mut numbers, mut sum) = (s.load(&T::LANE_NUMBERS), s.splat(T::ZERO));
            macro_rules! power {
                ($x:expr) => {
                    if GUESSED {
                        exp::exp2_in_window(s, $x, from, &mut outside)
                    } else {
                        exp::exp2_of(s, s.sub($x, origin), T::LOG2_E, from)
                    }
                };
            }
            macro_rules! gradient {
                ($power:expr, $w:expr) => {
                    s.mul_add($power, factor, if WEIGHTED { s.mul(smoothing, $w) } else { smoothing })
                };
            }
            let ((x, x_rest), (to_blocks, to_rest)) = (T::blocks(x), T::blocks_mut(to));
            let (slot, slot_rest) = T::blocks_mut(slot).0.split_at_mut(x.len());
            for (j, ((x, slot), to)) in x.iter().zip(slot).zip(to_blocks).enumerate() {
                let old = s.load(slot);
                let power = power!(s.load(x));
                sum = s.add_where(s.ne(numbers, at), sum, power);
                numbers = s.add(numbers, step);
                let gradient = gradient!(old, s.load(&w[j]));
                s.store(power, slot);
                s.store(gradient, to);
            }
            if let (Some(slot), false) = (slot_rest.first_mut(), x_rest.is_empty()) {
                let old = s.load(slot);
                let power = power!(s.load_up_to(x_rest, pad));
                let is_counted = s.and(s.ne(numbers, at), s.gt(end, numbers));
                sum = s.add_where(is_counted, sum, power);
                let gradient = gradient!(old, s.load_up_to(w_rest, T::ZERO));
                s.store(power, slot);
                s.store_up_to(gradient, to_rest);
            }
            if let Some(to) = to.get_mut(target.0) {
                *to = target.1;
            }
            if job.row_per_lane {
                let powers = &slots.slots[start..][..classes];
                sum = sum_one_by_one(s, powers, class.wrapping_sub(plan.first_class));
            }
            s.store(sum, &mut slots.sums.as_mut()[lane]);
        }
        !GUESSED || T::are_in_window(&stored(s, outside))
    }
}

/// The sum of a row's exponentials but the target's as rows in lanes have it, in the first lane.
#[inline(always)]
fn sum_one_by_one<T: Float, S: Simd<T>>(s: S, powers: &[T], target: usize) -> S::V {
    let mut sum = s.splat(T::ZERO);
    for (j, &power) in powers.iter().enumerate() {
        if j != target {
            sum = s.add(sum, s.splat(power));
        }
    }
    let mut block = T::Block::default();
    block.as_mut()[0] = stored(s, sum).as_ref()[0];
    s.load(&block)
}

/// [`Job::by_class`], a function of its own.
pub(super) struct ByClass<'s, 'p, 'a, T: Float> {
    pub(super) job: &'s mut Job<'p, 'a, T>,
    pub(super) scratch: &'s mut Scratch<T>,
}

impl<T: Float> Kernel<T> for ByClass<'_, '_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        self.job.by_class(s, self.scratch);
    }
}

impl<'a, T: Float> Job<'_, 'a, T> {
    /// Whether [`Job::by_class`] serves these rows.
    pub(super) fn is_by_class(&mut self) -> bool {
        let rows = self.rows.targets.len();
        let classes = match self.row_per_lane {
            true => T::LANES + 1..=chunk_classes::<T, true>(),
            false => 1..=chunk_classes::<T, false>(),
        };
        let are_served = !self.row_per_lane || rows <= FEW_ROWS;
        are_served
            && !self.streams
            && classes.contains(&self.classes)
            && self.rows.known.is_none()
            && !self.plan.needs_logits()
            && match (&self.rows.from, &mut self.rows.to) {
                (Some(from), to) => from.are_dense() && to.as_ref().is_none_or(|to| to.are_dense()),
                (None, Some(to)) => to.run_mut(0, rows).is_some(),
                (None, None) => false,
            }
    }

    /// Group after group, each one's gradient stored while the next one's exponentials take the place of its own.
    #[inline(always)]
    fn by_class<S: Simd<T>>(&mut self, s: S, scratch: &mut Scratch<T>) {
        let Scratch { in_flight: [now, before], exponentials, .. } = scratch;
        let stride = self.classes.next_multiple_of(T::LANES);
        let is_long = self.classes * size_of::<T>() > ROW_BYTES_OF_WHOLE_GROUPS;
        let step = if is_long { T::LANES.min(ROWS_OF_SMALL_GROUPS) } else { T::LANES };
        let (slots, rest) = aligned(exponentials, (step + 2) * stride).split_at_mut(step * stride);
        let (ignored, unwanted) = rest.split_at_mut(stride);
        ignored.fill(T::ZERO);
        let mut slots = Slots { slots, stride, ignored, unwanted, sums: T::BlockMatrix::default() };
        let may_guess = self.may_guess();
        let mut guess = Guess { k: None, pause: 0, last_pause: 0 };
        let (mut now, mut before) = (now, before);
        before.group.count = 0;
        self.each_block(
            #[inline(always)]
            |job, block, total| {
                for rows in pieces(block, step) {
                    let count = rows.end - rows.start;
                    job.rows.load_targets(job.plan, &mut now.group, rows);
                    job.find_targets(now);
                    now.ascending = !before.ascending;
                    let mut waiting = Some(&*before).filter(|before| before.group.count > 0);
                    let stored = count.min(before.group.count);
                    let mut is_made = false;
                    if may_guess && guess.pause == 0 && job.scales_are_ordinary(&now.group) {
                        if guess.k.is_none() {
                            let max = job.first_max(s, now);
                            guess.renew(max, slots.ignored);
                        }
                        if let Some(k) = guess.k {
                            is_made = job.make_guessed(s, now, waiting.take(), &mut slots, k);
                        }
                    }
                    if is_made {
                        guess.last_pause = 0;
                    } else {
                        job.make_shifted(s, now, waiting, &mut slots);
                        if guess.pause > 0 {
                            guess.pause -= 1;
                        } else if may_guess {
                            guess.pause = guess.last_pause;
                            guess.last_pause = (2 * guess.last_pause + 1).min(MAX_PAUSE);
                            guess.renew(largest(now), slots.ignored);
                        }
                    }
                    let parts = std::slice::from_mut(&mut now.part);
                    job.finish(s, &mut now.group, parts, total);
                    job.store_gradient(s, before, stored, &mut slots);
                    std::mem::swap(&mut now, &mut before);
                    if job.rows.to.is_none() {
                        before.group.count = 0;
                    }
                }
            },
        );
        self.store_gradient(s, before, 0, &mut slots);
    }

    /// Whether no option asks for more than the ratios of exponentials, and none makes factors that leave the
    /// ordinary numbers.
    fn may_guess(&self) -> bool {
        let (plan, factor) = (self.plan, self.scale.factor);
        !plan.is_smooth()
            && plan.z_loss == T::ZERO
            && plan.unit == 0
            && plan.first_lift == 0
            && self.scale.rows_exponent == 0
            && (factor.mantissa == T::ZERO || (-32..=32).contains(&factor.exponent))
            && self.rows.lse.is_none()
            && self.rows.found.is_none()
            && plan.weights_are_ordinary
    }

    /// The same of the factors of a group's rows.
    #[inline(always)]
    fn scales_are_ordinary(&self, group: &Group<T>) -> bool {
        [self.rows.upstream, self.rows.row_weights].into_iter().flatten().all(
            #[inline(always)]
            |factors| factors[group.first..][..group.count].iter().all(|&x| is_ordinary(x)),
        )
    }

    /// A row's logits.
    #[inline(always)]
    fn logits_of(&self, row: usize) -> &[T] {
        let lane = match (&self.rows.from, &self.rows.to) {
            (Some(from), _) => from.slice(row).as_slice(),
            (None, Some(to)) => to.as_axis_slices().run(row, 1),
            (None, None) => None,
        };
        lane.unwrap_or_default()
    }

    #[inline(always)]
    fn find_targets(&self, now: &mut InFlight<T>) {
        now.part.target.as_mut().fill(T::NEG_INFINITY);
        for lane in now.group.with_target() {
            let at = now.group.classes[lane].wrapping_sub(self.plan.first_class);
            if let Some(&x) = self.logits_of(now.group.first + lane).get(at) {
                now.part.target.as_mut()[lane] = x;
            }
        }
    }

    /// The largest logit of the first row that counts.
    #[inline(always)]
    fn first_max<S: Simd<T>>(&self, s: S, now: &InFlight<T>) -> T {
        let lane = now.group.with_target().next();
        lane.map_or(T::ZERO, |lane| Bounds::of(s, self.logits_of(now.group.first + lane)).of_all(s).max)
    }

    /// Makes a group's exponentials from a guess, and its sums; says whether these have the same bits as
    /// those from the rows' own maxima.
    #[inline(always)]
    fn make_guessed<S: Simd<T>>(
        &mut self,
        s: S,
        now: &mut InFlight<T>,
        before: Option<&InFlight<T>>,
        slots: &mut Slots<'_, T>,
        k: T,
    ) -> bool {
        now.shift = Shift { origin: T::Block::default(), k: stored(s, s.splat(k)) };
        let make = Make::<T, true, false> { job: self, now, before, slots };
        let is_inside = s.outlined(make);
        let sum = s.sums_of_rows(&slots.sums, now.group.count);
        // A maximum that has this shift.
        let lift = T::from_f64(T::CHUNK_LIFT.into());
        s.store(s.splat((k + lift) * T::LN_2), &mut now.part.max);
        now.part.beaten = 0;
        s.store(sum, &mut now.part.sum);
        self.combine_inline(s, &mut now.group, std::slice::from_mut(&mut now.part));
        let is_exact = is_inside && self.is_exact(s, now, sum);
        if is_exact {
            now.group.lost = self.lost(s, now);
        }
        is_exact
    }

    /// Whether what follows from guessed sums has the bits of what follows from others: nothing on the way
    /// leaves the normal numbers in either case.
    #[inline(always)]
    fn is_exact<S: Simd<T>>(&self, s: S, now: &InFlight<T>, sum: S::V) -> bool {
        // The maximum is at most the sum, so that the rows' own k are less than the guess: no exponential is
        // 0 from these.
        let is_low = s.gt(s.splat(T::from_f64(0.5)), sum);
        let (others, target) = now.group.loss_terms(s);
        let is_high = s.gt(others, s.splat(scaled::scale(T::ONE, T::ROW_LIFT - 40)));
        let is_near = s.gt(s.mul(target, s.splat(T::FAR)), others);
        let is_masked = s.eq(s.load(&now.part.target), s.splat(T::NEG_INFINITY));
        let good = s.bits(is_low) & s.bits(is_high) & (s.bits(is_near) | s.bits(is_masked));
        s.bits(now.group.have_target(s)) & !good == 0
    }

    /// A bit for each row of a guessed group whose target is not the largest logit, or not the first of
    /// those. Most often the sums tell: a target above their double is; one below the others' mean is not.
    #[inline(always)]
    fn lost<S: Simd<T>>(&self, s: S, now: &InFlight<T>) -> u32 {
        let (others, target) = now.group.loss_terms(s);
        let has_won = s.bits(s.gt(target, s.add(others, others)));
        let most_of_mean = s.splat(T::from_f64(0.999 / self.classes as f64));
        let mut lost = s.bits(s.gt(s.mul(others, most_of_mean), target));
        for lane in now.group.with_target() {
            if (has_won | lost) >> lane & 1 == 0 {
                let at = now.group.classes[lane].wrapping_sub(self.plan.first_class);
                let x = self.logits_of(now.group.first + lane);
                lost |= u32::from(by_row::is_beaten(s, x, at)) << lane;
            }
        }
        lost
    }

    /// Makes a group's exponentials from the rows' own maxima, and its sums.
    #[inline(always)]
    fn make_shifted<S: Simd<T>>(
        &mut self,
        s: S,
        now: &mut InFlight<T>,
        before: Option<&InFlight<T>>,
        slots: &mut Slots<'_, T>,
    ) {
        now.part.max.as_mut().fill(T::NEG_INFINITY);
        now.part.gap = T::Block::default();
        now.part.beaten = 0;
        let is_smooth = self.plan.is_smooth();
        for lane in 0..now.group.count {
            let class = now.group.classes[lane];
            let is_ignored = class == NO_CLASS && self.rows.to.is_some();
            let x = if is_ignored {
                &slots.ignored[..self.classes]
            } else {
                self.logits_of(now.group.first + lane)
            };
            let at = class.wrapping_sub(self.plan.first_class);
            let max = by_row::find_target(s, x, at, lane, &mut now.part, Bounds::of(s, x).of_all(s)).max;
            if is_smooth {
                now.part.gap.as_mut()[lane] = match self.row_per_lane {
                    true => {
                        let each = x.iter().map(
                            #[inline(always)]
                            |&x| s.splat(x),
                        );
                        stored(s, math::gap_in_order(s, self.plan, 0, each, s.splat(max))).as_ref()[0]
                    }
                    false => math::gap(s, self.plan, x, 0, max),
                };
            }
        }
        let Shift { origin, k } = Shift::of_chunk(s, s.load(&now.part.max));
        now.shift = Shift { origin: stored(s, origin), k: stored(s, k) };
        if self.plan.smoothing_weights(0, 0).is_some() {
            s.outlined(Make::<T, false, true> { job: self, now, before, slots });
        } else {
            s.outlined(Make::<T, false, false> { job: self, now, before, slots });
        }
        s.store(s.sums_of_rows(&slots.sums, now.group.count), &mut now.part.sum);
        self.combine(s, &mut now.group, std::slice::from_mut(&mut now.part));
    }

    /// Stores the gradient of a group but that of its last `done` rows, which are stored.
    #[inline(always)]
    fn store_gradient<S: Simd<T>>(&mut self, s: S, of: &InFlight<T>, done: usize, slots: &mut Slots<'_, T>) {
        let Some(to) = &mut self.rows.to else { return };
        let weights = self.plan.smoothing_weights(0, self.classes);
        for lane in 0..of.group.count.saturating_sub(done) {
            let Some(to) = to.slice(of.group.first + lane).into_slice_mut() else { continue };
            let (factor, smoothing) =
                (s.splat(of.part.factor(lane)), s.splat(of.group.factors.smoothing(lane)));
            let powers = &slots.slot(of, lane)[..to.len()];
            if let Some(weights) = weights {
                to.copy_from_slice(powers);
                slices::map_with(
                    s,
                    to,
                    weights,
                    T::ZERO,
                    #[inline(always)]
                    |power, w| s.mul_add(power, factor, s.mul(smoothing, w)),
                );
            } else {
                slices::map_to(
                    s,
                    powers,
                    to,
                    #[inline(always)]
                    |power| s.mul_add(power, factor, smoothing),
                );
            }
            let at = of.group.classes[lane].wrapping_sub(self.plan.first_class);
            if let Some(to) = to.get_mut(at) {
                *to = of.group.factors.target(lane);
            }
        }
    }
}

/// The largest of the rows' maxima.
fn largest<T: Float>(of: &InFlight<T>) -> T {
    let maxima = &of.part.max.as_ref()[..of.group.count];
    maxima.iter().fold(T::NEG_INFINITY, |a, &b| if b > a { b } else { a })
}
