//! Targets that are probabilities: one for each class, in place of a label.
//!
//! ```text
//! t'_j = w_j·((1 − ε)·t_j + ε/C)        T = Σ t'_j
//! loss = Σ t'_j·(lse − x_j) + c·lse²     ∂loss/∂x_j = (T + 2c·lse)·p_j − t'_j
//! ```
//!
//! Rows of up to 128 classes sit in lanes, each sum one chain. Longer ones each lie along vectors: within a chunk
//! sums are added lane by lane and then by halves, those of chunks in `f64`. Either way logits become exponentials in
//! scratch while all sums are made, and these the gradient; losses are added up as those of rows with labels are.

use super::call::{Gradient, Request, mean};
use super::chunks::Columns;
use super::driver::{Total, aligned, cut, grown, pieces};
use super::lanes::FEW_ROWS;
use super::math::{self, Shift};
use super::plan::{CLASSES_PER_LANE_CHUNK, chunk_classes};
use super::scale::{CallScale, LossSum};
use super::{Loss, Reduction, SoftmaxXent};
use crate::array::{AxisSlices, AxisSlicesMut, View, ViewMut};
use crate::error::{Error, Result};
use crate::order;
use crate::parallel::{self, Split};
use crate::simd::scaled::{self, Scaled};
use crate::simd::slices::{self, Bounds, stored};
use crate::simd::{Float, Kernel, Level, Simd, exp};

/// The options of a call, as numbers.
pub(crate) struct Soft<'a, T: Float> {
    pub(crate) axis: usize,
    /// 1 − ε
    pub(crate) own: T,
    /// ε/C
    pub(crate) share: T,
    /// The class weights without their common exponent, which is in `unit`.
    pub(crate) weights: Option<&'a [T]>,
    pub(crate) unit: i32,
    /// c, in units
    pub(crate) z_loss: T,
    pub(crate) cap: Option<T>,
    pub(crate) scale: CallScale<T>,
    pub(crate) row_weights: Option<&'a [T]>,
    /// Whether rows sit in lanes.
    pub(crate) row_per_lane: bool,
    /// Rows of a block, the unit of work.
    pub(crate) block: usize,
    /// The sum of the weights of rows that count, where the mean or the answer needs it.
    weight: Option<Scaled<f64>>,
    divisor: Scaled<f64>,
    level: Level,
}

/// The sums of rows, one a lane.
struct RowStats<V> {
    /// Of the exponentials.
    z: V,
    /// Of the targets.
    total: V,
    /// Σ t'_j·(max − x_j)/2
    gaps: V,
    /// The largest logit.
    max: V,
    /// What the exponentials are taken from.
    shift: Shift<V>,
}

impl<T: Float> SoftmaxXent<T> {
    /// The loss against targets that are probabilities, and the gradient of it into `grad`. `targets` has the
    /// shape of the logits, and any strides; its rows need not sum to 1: `torch.nn.functional.cross_entropy`
    /// with probabilities.
    ///
    /// The loss of a row is Σ w_j·t_j·(lse − x_j), 0·∞ being 0, and its gradient (Σ w_j·t_j)·p − w·t.
    /// Smoothing takes (1 − ε)·t + ε/C for t. A row whose targets are all 0 is ignored. A mean divides by the
    /// number of other rows (or the sum of their row weights, or the `normalizer`); class weights are no part
    /// of that, as in PyTorch. [`Loss::correct`] counts rows whose largest logit is that of the largest
    /// target; of equal ones the lowest class. Targets are taken as they are: one that is no number makes its
    /// row none.
    ///
    /// Errors, edges and equality class as for [`SoftmaxXent`]; the targets' shape is checked like the
    /// gradient's. Cost: one read of logits and targets, one write of the gradient; with row weights,
    /// and for a mean without a `normalizer`, each row's targets are first read as far as the first that is
    /// not 0.
    ///
    /// ```
    /// # use gradix::{SoftmaxXent, View};
    /// let (logits, targets) = ([0.0, 3.0_f64.ln()], [0.5, 0.5]);
    /// let mut grad = [0.0; 2];
    /// let loss = SoftmaxXent::new().forward_backward_soft(&logits, &targets, &mut grad)?;
    /// assert!((loss.value - (4.0_f64.ln() - 3.0_f64.ln() / 2.0)).abs() < 1e-15);
    /// assert!((grad[0] + 0.25).abs() < 1e-15 && (grad[1] - 0.25).abs() < 1e-15);
    /// # Ok::<(), gradix::Error>(())
    /// ```
    pub fn forward_backward_soft<'a, 't>(
        &self,
        logits: impl Into<View<'a, T>>,
        targets: impl Into<View<'t, T>>,
        grad: impl Into<ViewMut<'a, T>>,
    ) -> Result<Loss<T>> {
        let (logits, targets, mut grad) = (logits.into(), targets.into(), grad.into());
        T::compiled::<Gradient<'_>>(Request {
            targets: Some(&targets),
            grad: Some(&mut grad),
            ..Request::of(self, &logits)
        })
    }

    /// [`forward_backward_soft`](Self::forward_backward_soft), the logits becoming their gradient.
    ///
    /// ```
    /// # use gradix::SoftmaxXent;
    /// let mut logits = [1.0_f32, 1.0];
    /// SoftmaxXent::new().forward_backward_soft_in_place(&mut logits, &[0.25, 0.75])?;
    /// assert_eq!(logits, [0.25, -0.25]);
    /// # Ok::<(), gradix::Error>(())
    /// ```
    pub fn forward_backward_soft_in_place<'a, 't>(
        &self,
        logits: impl Into<ViewMut<'a, T>>,
        targets: impl Into<View<'t, T>>,
    ) -> Result<Loss<T>>
    where
        T: 'a,
    {
        let (mut logits, targets) = (logits.into(), targets.into());
        let targets = Some(&targets);
        T::compiled::<Gradient<'_>>(Request { targets, ..Request::in_place(self, &mut logits) })
    }

    /// Checks the options and shapes.
    pub(super) fn soft(&self, shape: &[usize], targets: &View<'_, T>) -> Result<Soft<'_, T>> {
        let axis = self.axis(shape)?;
        let classes = shape[axis];
        self.check_options(classes, false)?;
        if targets.shape() != shape {
            let (expected, got) = (shape.to_vec(), targets.shape().to_vec());
            return Err(Error::Shape { what: "the targets", expected, got });
        }
        let rows = shape.iter().enumerate().filter(|&(k, _)| k != axis).map(|(_, &n)| n).product::<usize>();
        self.check_row_weights(rows)?;
        let row_weights = self.row_weights.as_ref();
        let (weights, unit) = match &self.class_weights {
            None => (None, 0),
            Some(weights) => (Some(weights.scaled()), weights.exponent),
        };
        let unit = match self.z_loss > T::ZERO {
            true => unit.max(scaled::exponent(self.z_loss.to_f64()) - 20),
            false => unit,
        };
        let rows_exponent = row_weights.map_or(0, |weights| weights.exponent);
        let level = Level::current()?;
        let is_mean = self.reduction == Reduction::Mean && self.normalizer.is_none();
        let weight = (is_mean || row_weights.is_some()).then(|| {
            let mut lanes = None;
            targets.set_axis_slices(axis, &mut lanes);
            let (targets, weights) = (lanes.as_ref(), row_weights.map(|weights| &*weights.all));
            let rows = if classes == 0 { 0 } else { rows };
            let weight = T::dispatch(level, Weigh { targets, rows, weights, exponent: rows_exponent });
            Scaled::of_f64(weight).lifted(rows_exponent)
        });
        let divisor = self.divisor(weight.unwrap_or(Scaled::ONE));
        let shift = self.class_weights.as_ref().map_or(0, |weights| weights.exponent) - unit;
        let row_per_lane = order::is_soft_row_per_lane(classes);
        let own = if self.label_smoothing > T::ZERO { T::ONE - self.label_smoothing } else { T::ONE };
        Ok(Soft {
            axis,
            own: scaled::scale(own, shift),
            share: scaled::scale(T::from_f64(self.label_smoothing.to_f64() / classes as f64), shift),
            weights,
            unit,
            z_loss: scaled::scale(self.z_loss, -unit),
            cap: self.softcap,
            scale: CallScale::new(mean(divisor), 0, unit, rows_exponent),
            row_weights: row_weights.map(|weights| &*weights.all),
            row_per_lane,
            block: order::rows_per_block::<T>(classes, row_per_lane),
            weight,
            divisor,
            level,
        })
    }
}

/// Whether one of a row's targets is not 0.
#[inline(always)]
fn has_target<T: Float, S: Simd<T>>(s: S, targets: &AxisSlices<'_, T>, row: usize) -> bool {
    let slice = targets.slice(row);
    let Some(t) = slice.as_slice() else { return (0..targets.slice_len()).any(|j| slice.get(j) != T::ZERO) };
    let (blocks, rest) = T::blocks(t);
    let has_rest = !rest.is_empty() && s.bits(s.ne(s.load_up_to(rest, T::ZERO), s.splat(T::ZERO))) != 0;
    has_rest
        || blocks.iter().any(
            #[inline(always)]
            |t| s.bits(s.ne(s.load(t), s.splat(T::ZERO))) != 0,
        )
}

/// The sum of the weights of rows that have a target, less 2^`exponent`; their number, where there are none.
struct Weigh<'a, T> {
    targets: Option<&'a AxisSlices<'a, T>>,
    rows: usize,
    weights: Option<&'a [T]>,
    exponent: i32,
}

impl<T: Float> Kernel<T> for Weigh<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> f64 {
        let Weigh { targets, rows, weights, exponent } = self;
        let Some(targets) = targets else { return 0.0 };
        let counts = (0..rows).filter(
            #[inline(always)]
            |&row| has_target(s, targets, row),
        );
        match weights {
            None => counts.count() as f64,
            // Not by `sum`, which is -0 where nothing counts.
            Some(weights) => {
                counts.map(|row| scaled::scale(weights[row].to_f64(), -exponent)).fold(0.0, |sum, w| sum + w)
            }
        }
    }
}

/// Rows on their way.
struct Piece<'p, 'a, T: Float> {
    soft: &'p Soft<'p, T>,
    rows: usize,
    /// The logits; where `None`, they are in `grad`.
    logits: Option<AxisSlices<'a, T>>,
    targets: Option<AxisSlices<'a, T>>,
    grad: Option<AxisSlicesMut<'a, T>>,
    weights: Option<&'a [T]>,
    /// Of each block the sum of the losses, and how many rows count.
    totals: &'a mut [(LossSum, usize)],
}

impl<T: Float> Split for Piece<'_, '_, T> {
    fn len(&self) -> usize {
        self.totals.len()
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        let Piece { soft, rows, logits, targets, grad, weights, totals } = self;
        let at = rows.min(mid * soft.block);
        let (targets, targets_b) = cut(targets, at);
        let (logits, logits_b) = cut(logits, at);
        let (grad, grad_b) = cut(grad, at);
        let (weights, weights_b) = cut(weights, at);
        let (totals, totals_b) = totals.split_at_mut(mid);
        let rows_b = rows - at;
        (
            Piece { soft, rows: at, logits, targets, grad, weights, totals },
            Piece {
                soft,
                rows: rows_b,
                logits: logits_b,
                targets: targets_b,
                grad: grad_b,
                weights: weights_b,
                totals: totals_b,
            },
        )
    }
}

/// Scratch for a row, or for the rows in the lanes.
#[derive(Default)]
struct Scratch<T> {
    exponentials: Vec<T>,
    logits: Vec<T>,
    targets: Vec<T>,
}

impl<T: Float> Kernel<T> for &mut Piece<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let classes = self.targets.as_ref().map_or(0, AxisSlices::slice_len);
        let are_few = self.rows <= FEW_ROWS && classes > T::LANES;
        parallel::with_scratch(
            #[inline(always)]
            |scratch: &mut Scratch<T>| match self.soft.row_per_lane && !are_few {
                true => s.outlined(RowPerLane { piece: self, scratch }),
                false => self.along(s, scratch),
            },
        );
    }
}

/// Rows in lanes, a function of its own.
struct RowPerLane<'s, 'p, 'a, T: Float> {
    piece: &'s mut Piece<'p, 'a, T>,
    scratch: &'s mut Scratch<T>,
}

impl<T: Float> Kernel<T> for RowPerLane<'_, '_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let RowPerLane { piece, scratch } = self;
        let &mut Piece { soft, rows, ref logits, ref targets, ref mut grad, weights, ref mut totals } = piece;
        let (Some(targets), Some(grad)) = (targets, grad) else { return };
        let classes = targets.slice_len();
        let len = classes * T::LANES;
        let (exponentials, targets_scratch) =
            (aligned(&mut scratch.exponentials, len), aligned(&mut scratch.targets, len));
        let capped = aligned(&mut scratch.logits, if soft.cap.is_some() { len } else { 0 });
        for (block, found) in pieces(0..rows, soft.block).zip(totals.iter_mut()) {
            let (mut total, mut count) = (Total::of_block(block.start), 0);
            for rows in pieces(block, T::LANES) {
                let (first, here) = (rows.start, rows.end - rows.start);
                let (from, scratch_t) = (Some(targets), &mut *targets_scratch);
                let mut t = Columns { from, to: None, first, count: here, classes, exponentials: scratch_t };
                t.load(s, 0);
                let (from, to) = (logits.as_ref(), Some(&mut *grad));
                let mut x =
                    Columns { from, to, first, count: here, classes, exponentials: &mut *exponentials };
                x.load(s, 0);
                math::softcap(s, soft.cap, x.buffer(0));
                if soft.cap.is_some() {
                    capped.copy_from_slice(x.buffer(0));
                }
                let (power, t) = (T::blocks_mut(x.buffer(0)).0, T::blocks_mut(t.buffer(0)).0);
                let counts = soft.weigh_columns(s, t);
                let (sums, is_correct) = sums_of_columns(s, power, t);
                let weights = weights.map(|weights| &weights[first..first + here]);
                let (loss, [by, less]) = soft.row(s, &sums, weights);
                let loss = s.select(counts, loss, s.splat(T::ZERO));
                total.add(first, &stored(s, loss).as_ref()[..here], here);
                let counted = s.bits(counts) & ((1u64 << here) - 1) as u32;
                count += counted.count_ones() as usize;
                total.correct +=
                    u64::from((counted & s.bits(is_correct) & s.bits(s.ge(loss, loss))).count_ones());
                for (i, (power, t)) in power.iter_mut().zip(&*t).enumerate() {
                    let mut g = s.sub(s.mul(s.load(power), by), s.mul(s.load(t), less));
                    if let Some(cap) = soft.cap {
                        g = s.mul(g, math::slope(s, cap, s.load(&T::blocks(capped).0[i])));
                    }
                    s.store(s.select(counts, g, s.splat(T::ZERO)), power);
                }
                x.store(s, 0);
            }
            *found = (total.value(), count);
        }
    }
}

impl<T: Float> Piece<'_, '_, T> {
    /// Row after row, each along vectors.
    #[inline(always)]
    fn along<S: Simd<T>>(&mut self, s: S, scratch: &mut Scratch<T>) {
        let &mut Piece { soft, rows, ref logits, ref targets, ref mut grad, weights, ref mut totals } = self;
        let (Some(targets), Some(grad)) = (targets, grad) else { return };
        let classes = targets.slice_len();
        let Scratch { exponentials, logits: capped, targets: weighted } = scratch;
        let zero = || T::ZERO;
        let (x, capped) = (grown(exponentials, classes, zero), grown(capped, classes, zero));
        let weighted = grown(weighted, classes, zero);
        for (block, found) in pieces(0..rows, soft.block).zip(totals.iter_mut()) {
            let (mut total, mut count) = (Total::of_block(block.start), 0);
            for i in block {
                if !has_target(s, targets, i) {
                    grad.slice(i).fill(T::ZERO);
                    continue;
                }
                match logits {
                    Some(logits) => logits.slice(i).copy_to(0, x),
                    None => grad.slice(i).as_slice_view().copy_to(0, x),
                }
                math::softcap(s, soft.cap, x);
                if soft.cap.is_some() {
                    capped.copy_from_slice(x);
                }
                let slice = targets.slice(i);
                let t = match slice.as_slice() {
                    Some(t) if soft.is_plain() => t,
                    _ => {
                        slice.copy_to(0, weighted);
                        soft.weigh(s, weighted);
                        &*weighted
                    }
                };
                let (sums, is_correct) = sums_along(s, x, t, soft.row_per_lane);
                let (loss, [by, less]) = soft.row(s, &sums, weights.map(|weights| &weights[i..=i]));
                let loss = stored(s, loss).as_ref()[0];
                let (by, less) = (s.splat(stored(s, by).as_ref()[0]), s.splat(stored(s, less).as_ref()[0]));
                total.add(i, &[loss], 1);
                total.correct += u64::from(is_correct && !loss.is_nan());
                count += 1;
                slices::map_with(
                    s,
                    x,
                    t,
                    T::ZERO,
                    #[inline(always)]
                    |e, t| s.sub(s.mul(e, by), s.mul(t, less)),
                );
                if let Some(cap) = soft.cap {
                    slices::map_with(
                        s,
                        x,
                        capped,
                        T::ZERO,
                        #[inline(always)]
                        |g, x| s.mul(g, math::slope(s, cap, x)),
                    );
                }
                let mut to = grad.slice(i);
                match to.as_slice_mut() {
                    Some(to) => to.copy_from_slice(x),
                    None => to.copy_from(0, x),
                }
            }
            *found = (total.value(), count);
        }
    }
}

/// Adds up a row: its exponential and target, and how far the logit is below the largest.
#[inline(always)]
fn add_class<T: Float, S: Simd<T>>(
    s: S,
    sums: &mut RowStats<S::V>,
    half_max: S::V,
    x: S::V,
    t: S::V,
) -> S::V {
    add_target(s, sums, half_max, x, t);
    let power = sums.shift.exp(s, x);
    sums.z = s.add(sums.z, power);
    power
}

/// [`add_class`] without the exponential.
#[inline(always)]
fn add_target<T: Float, S: Simd<T>>(s: S, sums: &mut RowStats<S::V>, half_max: S::V, x: S::V, t: S::V) {
    let zero = s.splat(T::ZERO);
    let below = s.sub(half_max, s.mul(x, s.splat(T::from_f64(0.5))));
    sums.total = s.add(sums.total, t);
    sums.gaps = s.mul_add(t, s.select(s.ne(t, zero), below, zero), sums.gaps);
}

/// The sums of rows along a vector's lanes, whose logits become their exponentials; and whether each one's
/// largest logit is that of its largest target, of equal ones the first.
#[inline(always)]
fn sums_of_columns<T: Float, S: Simd<T>>(s: S, x: &mut [T::Block], t: &[T::Block]) -> (RowStats<S::V>, S::M) {
    const { assert!(CLASSES_PER_LANE_CHUNK <= T::NUMBERS.len()) }; // or a row's last classes would be left out
    let (zero, masked) = (s.splat(T::ZERO), s.splat(T::NEG_INFINITY));
    let mut largest = [(masked, zero); 2];
    for ((x, t), &number) in x.iter().zip(t).zip(T::NUMBERS) {
        for ((max, at), x) in largest.iter_mut().zip([x, t]) {
            let x = s.load(x);
            let is_more = s.gt(x, *max);
            (*max, *at) = (s.select(is_more, x, *max), s.select(is_more, s.splat(number), *at));
        }
    }
    let [(max, first), (_, first_target)] = largest;
    let half_max = s.mul(math::finite_or_0(s, max), s.splat(T::from_f64(0.5)));
    let mut sums = RowStats { z: zero, total: zero, gaps: zero, max, shift: Shift::of_chunk(s, max) };
    for (x, t) in x.iter_mut().zip(t) {
        let power = add_class(s, &mut sums, half_max, s.load(x), s.load(t));
        s.store(power, x);
    }
    (sums, s.eq(first, first_target))
}

/// The same of one row along vectors, its sums in all lanes; `in_order` makes them those of rows in lanes.
#[inline(always)]
fn sums_along<T: Float, S: Simd<T>>(s: S, x: &mut [T], t: &[T], in_order: bool) -> (RowStats<S::V>, bool) {
    let largest = Bounds::of(s, x).of_all(s).max;
    let is_correct = first_of(x, largest) == first_of(t, Bounds::of(s, t).of_all(s).max);
    let (max, zero, masked) = (s.splat(largest), s.splat(T::ZERO), s.splat(T::NEG_INFINITY));
    let half_max = s.mul(math::finite_or_0(s, max), s.splat(T::from_f64(0.5)));
    let shift = Shift::of_chunk(s, max);
    if in_order {
        let mut sums = RowStats { z: zero, total: zero, gaps: zero, max, shift };
        for (&x, &t) in x.iter().zip(t) {
            add_target(s, &mut sums, half_max, s.splat(x), s.splat(t));
        }
        slices::map(
            s,
            x,
            T::NEG_INFINITY,
            #[inline(always)]
            |x| shift.exp(s, x),
        );
        for &power in &*x {
            sums.z = s.add(sums.z, s.splat(power));
        }
        return (sums, is_correct);
    }
    let mut all = [0.0; 3];
    for (x, t) in x.chunks_mut(chunk_classes::<T, false>()).zip(t.chunks(chunk_classes::<T, false>())) {
        let mut sums = RowStats { z: zero, total: zero, gaps: zero, max, shift };
        // Filled up with masked classes, whose targets are none.
        slices::map_with(
            s,
            x,
            t,
            T::NEG_INFINITY,
            #[inline(always)]
            |x, t| add_class(s, &mut sums, half_max, x, s.select(s.eq(t, masked), zero, t)),
        );
        for (all, sum) in all.iter_mut().zip([sums.z, sums.total, sums.gaps]) {
            *all += s.sum_lanes(sum).to_f64();
        }
    }
    let [z, total, gaps] = all.map(T::from_f64);
    let (z, total, gaps) = (s.splat(z), s.splat(total), s.splat(gaps));
    (RowStats { z, total, gaps, max, shift }, is_correct)
}

impl<T: Float> Soft<'_, T> {
    /// Whether targets are taken as they are.
    pub(crate) fn is_plain(&self) -> bool {
        self.weights.is_none() && self.share == T::ZERO && self.own == T::ONE
    }

    /// Makes t' of t.
    #[inline(always)]
    fn weigh<S: Simd<T>>(&self, s: S, t: &mut [T]) {
        if self.is_plain() {
            return;
        }
        let (own, share) = (s.splat(self.own), s.splat(self.share));
        slices::map(
            s,
            t,
            T::ZERO,
            #[inline(always)]
            |t| s.mul_add(t, own, share),
        );
        if let Some(weights) = self.weights {
            slices::map_with(
                s,
                t,
                weights,
                T::ZERO,
                #[inline(always)]
                |t, w| s.mul(t, w),
            );
        }
    }

    /// The same of rows in lanes; and which of them have a target.
    #[inline(always)]
    fn weigh_columns<S: Simd<T>>(&self, s: S, t: &mut [T::Block]) -> S::M {
        let (zero, one) = (s.splat(T::ZERO), s.splat(T::ONE));
        let mut has_target = zero;
        for t in &*t {
            has_target = s.select(s.ne(s.load(t), zero), one, has_target);
        }
        if !self.is_plain() {
            let (own, share) = (s.splat(self.own), s.splat(self.share));
            for (j, t) in t.iter_mut().enumerate() {
                let smoothed = s.mul_add(s.load(t), own, share);
                let weight = self.weights.map(|weights| s.splat(weights[j]));
                s.store(weight.map_or(smoothed, |weight| s.mul(smoothed, weight)), t);
            }
        }
        s.gt(has_target, zero)
    }

    /// From the sums of the rows in the lanes, and their weights, where there are any: what is added up of
    /// their losses; and what their exponentials, and what their targets are multiplied by in the gradient.
    #[inline(always)]
    fn row<S: Simd<T>>(&self, s: S, sums: &RowStats<S::V>, weights: Option<&[T]>) -> (S::V, [S::V; 2]) {
        let RowStats { z, total, gaps, max, shift } = *sums;
        let z = s.select(s.gt(z, s.splat(T::ZERO)), z, s.splat(T::NAN));
        // Without the lift of the exponentials.
        let ln_z = exp::ln(s, s.mul(z, s.splat(scaled::scale(T::ONE, -T::CHUNK_LIFT))));
        let t_max = shift.lifted(s, -T::CHUNK_LIFT).exponent(s, max);
        let above_max = s.mul_add(t_max, s.splat(-T::LN_2), ln_z);
        let (mut loss, mut all) = (s.mul_add(total, above_max, s.add(gaps, gaps)), total);
        if self.z_loss != T::ZERO {
            let lse = s.add(max, above_max);
            let z_loss = s.mul(s.splat(self.z_loss), lse);
            (loss, all) = (s.mul_add(z_loss, lse, loss), s.add(all, s.add(z_loss, z_loss)));
        }
        let by = self.scale.of_rows(s, None, weights);
        let [loss, _] = by.losses(s, loss);
        // Without the lift that sums of rows with labels have.
        let scale = s.mul(by.gradient.first, s.splat(scaled::scale(T::ONE, T::ROW_LIFT)));
        (loss, [by.gradient.last(s, s.mul(scale, s.div(all, z))), by.gradient.last(s, scale)])
    }

    /// The gradient of all rows, and the loss.
    pub(super) fn run(
        &self,
        logits: Option<&View<'_, T>>,
        targets: &View<'_, T>,
        grad: &mut ViewMut<'_, T>,
    ) -> Result<Loss<T>> {
        let (classes, grad_len) = (grad.shape()[self.axis], grad.len());
        let rows = grad_len.checked_div(classes).unwrap_or(0);
        let blocks = rows.div_ceil(self.block);
        let (mut one, mut many);
        let totals = match blocks {
            0..=1 => {
                one = [(LossSum::ZERO, 0)];
                &mut one[..blocks]
            }
            _ => {
                many = vec![(LossSum::ZERO, 0); blocks];
                &mut many[..]
            }
        };
        if rows > 0 {
            let (weights, of_rows) = (self.row_weights, &mut *totals);
            let mut piece =
                Piece { soft: self, rows, logits: None, targets: None, grad: None, weights, totals: of_rows };
            if let Some(logits) = logits {
                logits.set_axis_slices(self.axis, &mut piece.logits);
            }
            targets.set_axis_slices(self.axis, &mut piece.targets);
            grad.set_axis_slices(self.axis, &mut piece.grad);
            let bytes = grad_len.saturating_mul(2 * size_of::<T>());
            if parallel::is_little(blocks, bytes) {
                T::dispatch(self.level, &mut piece);
            } else {
                parallel::for_each(piece, 1, |_, mut piece| T::dispatch(self.level, &mut piece));
            }
        }
        let (mut sum, mut count) = (LossSum::ZERO, 0);
        for &(total, counted) in &*totals {
            sum.add(total);
            count += counted;
        }
        Ok(self.loss(sum, count))
    }

    /// The loss of all rows, given the sum of their losses and how many count.
    pub(crate) fn loss(&self, sum: LossSum, count: usize) -> Loss<T> {
        let weight =
            self.weight.map_or(count as f64, |weight| scaled::scale(weight.mantissa, weight.exponent));
        let Scaled { mantissa, exponent } = self.divisor;
        let divisor = if mantissa == 0.0 { 1.0 } else { mantissa };
        let value = sum.over(divisor, self.unit + self.scale.rows_exponent - exponent);
        let correct = sum.correct as usize;
        Loss { value: T::from_f64(value), count, weight: T::from_f64(weight), correct }
    }
}

/// The place of the first element with this value.
fn first_of<T: Float>(list: &[T], value: T) -> Option<usize> {
    list.iter().position(|&x| x == value)
}
