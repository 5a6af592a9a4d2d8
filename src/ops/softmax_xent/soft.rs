//! Targets that are probabilities: one for each class, in place of a label.
//!
//! ```text
//! t'_j = w_j·((1 − ε)·t_j + ε/C)        T = Σ t'_j
//! loss = Σ t'_j·(lse − x_j) + c·lse²     ∂loss/∂x_j = (T + 2c·lse)·p_j − t'_j
//! ```
//!
//! A row at a time: its logits become exponentials in scratch while all sums are made, and these the
//! gradient. Within a chunk sums are added lane by lane and then by halves; those of chunks are added in
//! `f64`.

use super::plan::chunk_classes;
use super::rows::{self, Shift};
use super::scale::{CallScale, LossSum};
use super::{Counted, Loss, Reduction, SoftmaxXent, shaped};
use crate::array::{Lanes, LanesMut, View, ViewMut, zeros};
use crate::error::{Error, Result};
use crate::parallel;
use crate::simd::scaled::{self, Scaled};
use crate::simd::slices::{self, Bounds};
use crate::simd::{Compiled, Float, Kernel, Level, Simd};
use std::ops::Range;

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
    pub(crate) z_loss: f64,
    pub(crate) cap: Option<T>,
    pub(crate) scale: CallScale<T>,
    pub(crate) row_weights: Option<&'a [T]>,
    count: Option<usize>,
    weight: Scaled<f64>,
    divisor: Scaled<f64>,
}

/// What a row's sums are, and what they make of its gradient.
#[derive(Clone, Copy)]
pub(crate) struct SoftRow<T> {
    pub(crate) loss: T,
    /// The gradient is the exponentials times the first, less the targets times the second.
    pub(crate) factors: [T; 2],
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
    /// gradient's. Cost: one read of logits and targets, one write of the gradient; a mean without a
    /// `normalizer` first reads each row's targets as far as the first that is not 0.
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
        let (logits, targets) = (logits.into(), targets.into());
        let soft = self.soft(logits.shape(), targets)?;
        let grad = shaped(grad.into(), logits.shape())?;
        soft.run(Some(logits), targets, grad)
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
        let (logits, targets) = (logits.into(), targets.into());
        let soft = self.soft(logits.shape(), targets)?;
        soft.run(None, targets, logits)
    }

    /// Checks the options and shapes.
    pub(crate) fn soft(&self, shape: &[usize], targets: View<'_, T>) -> Result<Soft<'_, T>> {
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
        let mut counted = Counted { rows, weight: Scaled::ONE, heaviest: T::ONE };
        let needs_count = self.reduction == Reduction::Mean && self.normalizer.is_none();
        if needs_count {
            let lanes = targets.lanes(axis);
            let counts = (0..rows).filter(|&row| has_target(lanes, row));
            let (mut count, mut weight) = (0, 0.0);
            for row in counts {
                count += 1;
                weight += row_weights.map_or(1.0, |w| scaled::scale(w.all[row].to_f64(), -rows_exponent));
            }
            counted =
                Counted { rows: count, weight: Scaled::of_f64(weight).lifted(rows_exponent), ..counted };
        }
        let divisor = self.divisor(counted.weight);
        let shift = self.class_weights.as_ref().map_or(0, |weights| weights.exponent) - unit;
        let own = if self.label_smoothing > T::ZERO { T::ONE - self.label_smoothing } else { T::ONE };
        Ok(Soft {
            axis,
            own: scaled::scale(own, shift),
            share: scaled::scale(T::from_f64(self.label_smoothing.to_f64() / classes as f64), shift),
            weights,
            unit,
            z_loss: scaled::scale(self.z_loss, -unit).to_f64(),
            cap: self.softcap,
            scale: CallScale::new(super::mean(divisor), 0, unit, rows_exponent),
            row_weights: row_weights.map(|weights| &*weights.all),
            count: needs_count.then_some(counted.rows),
            weight: counted.weight,
            divisor,
        })
    }
}

/// Whether one of a row's targets is not 0.
pub(crate) fn has_target<T: Float>(targets: Lanes<'_, T>, row: usize) -> bool {
    let lane = targets.lane(row);
    match lane.as_slice() {
        // By blocks, which are compared without a branch for each.
        Some(t) => t.chunks(64).any(|t| t.iter().fold(false, |any, &t| any | (t != T::ZERO))),
        None => (0..targets.lane_len()).any(|j| lane.get(j) != T::ZERO),
    }
}

/// Rows on their way.
struct Piece<'p, 'a, T: Float> {
    soft: &'p Soft<'p, T>,
    first: usize,
    logits: Option<Lanes<'a, T>>,
    targets: Lanes<'a, T>,
    grad: LanesMut<'a, T>,
    found: &'p mut [Found<T>],
}

/// What is found out about a row: its losses to be added up, whether it counts, whether it is right.
#[derive(Debug, Clone, Copy, Default)]
struct Found<T> {
    loss: T,
    counts: bool,
    is_correct: bool,
}

struct Run<'p, 'a>(std::marker::PhantomData<(&'p (), &'a ())>);

impl<'p, 'a> Compiled for Run<'p, 'a> {
    type Of<T: Float> = (Piece<'p, 'a, T>, Level);
    fn f32((piece, level): Self::Of<f32>) {
        piece.run_at(level);
    }
    fn f64((piece, level): Self::Of<f64>) {
        piece.run_at(level);
    }
}

impl<T: Float> Piece<'_, '_, T> {
    fn run_at(self, level: Level) {
        let Piece { soft, first, logits, targets, grad, found } = self;
        let (rows, classes) = (found.len(), targets.lane_len());
        let grain = (16_384 / classes.max(1)).max(1);
        type Work<'w, T> = (Range<usize>, LanesMut<'w, T>, &'w mut [Found<T>]);
        let work: Work<'_, T> = (first..first + rows, grad, found);
        parallel::for_each(work, grain, |_, (rows, grad, found): Work<'_, T>| {
            T::dispatch(level, Piece { soft, first: rows.start, logits, targets, grad, found });
        });
    }
}

/// Scratch for a row.
#[derive(Default)]
struct Scratch<T> {
    exponentials: Vec<T>,
    logits: Vec<T>,
    targets: Vec<T>,
}

impl<T: Float> Kernel<T> for Piece<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Piece { soft, first, logits, targets, mut grad, found } = self;
        let classes = targets.lane_len();
        parallel::with_kept(
            #[inline(always)]
            |scratch: &mut Scratch<T>| {
                let Scratch { exponentials, logits: capped, targets: room } = scratch;
                for list in [&mut *exponentials, &mut *capped, &mut *room] {
                    list.resize(classes, T::ZERO);
                }
                for (i, found) in found.iter_mut().enumerate() {
                    if !has_target(targets, first + i) {
                        grad.lane(i).fill(T::ZERO);
                        continue;
                    }
                    let x = &mut exponentials[..classes];
                    match logits {
                        Some(logits) => logits.lane(first + i).copy_to(0, x),
                        None => grad.lane(i).as_lane().copy_to(0, x),
                    }
                    rows::softcap(s, soft.cap, x);
                    if soft.cap.is_some() {
                        capped.copy_from_slice(x);
                    }
                    let lane = targets.lane(first + i);
                    let dense = lane.as_slice();
                    let t = match dense {
                        Some(t) if soft.is_plain() => t,
                        _ => {
                            lane.copy_to(0, room);
                            soft.weigh(s, room);
                            &*room
                        }
                    };
                    let weight = soft.row_weights.map(|weights| weights[first + i]);
                    let (row, is_correct) = soft.sums(s, x, t, weight);
                    let is_correct = is_correct && !row.loss.is_nan();
                    *found = Found { loss: row.loss, counts: true, is_correct };
                    let [by, less] = row.factors.map(
                        #[inline(always)]
                        |x| s.splat(x),
                    );
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
                            |g, x| s.mul(g, rows::slope(s, cap, x)),
                        );
                    }
                    let mut to = grad.lane(i);
                    match to.as_slice_mut() {
                        Some(to) => to.copy_from_slice(x),
                        None => to.copy_from(0, x),
                    }
                }
            },
        );
    }
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

    /// Turns a row's logits into their exponentials, and sums up.
    #[inline(always)]
    fn sums<S: Simd<T>>(&self, s: S, x: &mut [T], t: &[T], weight: Option<T>) -> (SoftRow<T>, bool) {
        let largest = Bounds::of(s, x).of_all(s).max;
        let is_correct = first_of(x, largest) == first_of(t, Bounds::of(s, t).of_all(s).max);
        let max = s.splat(largest);
        let (shift, half, zero) = (Shift::of_chunk(s, max), s.splat(T::from_f64(0.5)), s.splat(T::ZERO));
        let half_max = s.mul(rows::finite_or_0(s, max), half);
        let masked = s.splat(T::NEG_INFINITY);
        let [mut z, mut total, mut gaps] = [0.0; 3];
        for (x, t) in x.chunks_mut(chunk_classes::<T, false>()).zip(t.chunks(chunk_classes::<T, false>())) {
            let (mut sum, mut sum_t, mut gap) = (zero, zero, zero);
            // Filled up with masked classes, whose targets are none.
            slices::map_with(
                s,
                x,
                t,
                T::NEG_INFINITY,
                #[inline(always)]
                |x, t| {
                    let t = s.select(s.eq(t, masked), zero, t);
                    let power = shift.exp(s, x);
                    let below = s.select(s.ne(t, zero), s.sub(half_max, s.mul(x, half)), zero);
                    (sum, sum_t) = (s.add(sum, power), s.add(sum_t, t));
                    gap = s.mul_add(t, below, gap);
                    power
                },
            );
            z += s.sum_lanes(sum).to_f64();
            total += s.sum_lanes(sum_t).to_f64();
            gaps += s.sum_lanes(gap).to_f64();
        }
        let t_max = slices::stored(s, shift.exponent(s, max)).as_ref()[0];
        (self.row([z, total, gaps], largest, t_max, weight), is_correct)
    }

    /// From the sums of exponentials, targets and half gaps, the row's largest logit, and the exponent of its
    /// exponential.
    pub(crate) fn row(&self, [z, total, gaps]: [f64; 3], max: T, t_max: T, weight: Option<T>) -> SoftRow<T> {
        let z = if z > 0.0 { z } else { f64::NAN };
        let above_max = z.ln() - t_max.to_f64() * std::f64::consts::LN_2;
        let lse = max.to_f64() + above_max;
        let by = self.scale.of_row(None, weight);
        let mut loss = total * above_max + 2.0 * gaps;
        let mut all = total;
        if self.z_loss != 0.0 {
            loss += self.z_loss * lse * lse;
            all += 2.0 * self.z_loss * lse;
        }
        let [loss, _] = by.losses_of_row(T::from_f64(loss));
        // Without the lift that sums of rows with labels have.
        let scale = by.gradient.first * scaled::scale(T::ONE, T::ROW_LIFT);
        let last = |x: T| x * by.gradient.last[0] * by.gradient.last[1];
        SoftRow { loss, factors: [last(scale * T::from_f64(all / z)), last(scale)] }
    }

    fn run(
        &self,
        logits: Option<View<'_, T>>,
        targets: View<'_, T>,
        grad: ViewMut<'_, T>,
    ) -> Result<Loss<T>> {
        let (shape, targets) = (grad.shape().to_vec(), targets.lanes(self.axis));
        let rows =
            shape.iter().enumerate().filter(|&(k, _)| k != self.axis).map(|(_, &n)| n).product::<usize>();
        let mut found: Vec<Found<T>> = zeros(&[rows])?;
        let level = Level::current()?;
        if rows > 0 && shape[self.axis] > 0 {
            let (logits, grad) = (logits.map(|x| x.lanes(self.axis)), grad.into_lanes(self.axis));
            T::compiled::<Run<'_, '_>>((
                Piece { soft: self, first: 0, logits, targets, grad, found: &mut found },
                level,
            ));
        }
        let correct = found.iter().filter(|row| row.is_correct && row.counts).count();
        let counts: Vec<bool> = found.iter().map(|row| row.counts).collect();
        Ok(self.loss(found.iter().map(|row| row.loss), &counts, correct))
    }

    /// The loss of all rows from those of each.
    pub(crate) fn loss(&self, losses: impl Iterator<Item = T>, counts: &[bool], correct: usize) -> Loss<T> {
        let mut sum = LossSum::ZERO;
        losses.for_each(|loss| sum.add_row(loss));
        let count = counts.iter().filter(|&&counts| counts).count();
        let weight = match (self.count, self.row_weights) {
            (Some(_), _) => scaled::scale(self.weight.mantissa, self.weight.exponent),
            (None, None) => count as f64,
            (None, Some(weights)) => {
                weights.iter().zip(counts).filter(|of| *of.1).map(|of| of.0.to_f64()).sum()
            }
        };
        let Scaled { mantissa, exponent } = self.divisor;
        let divisor = if mantissa == 0.0 { 1.0 } else { mantissa };
        let value = sum.over(divisor, self.unit + self.scale.rows_exponent - exponent);
        Loss { value: T::from_f64(value), count, weight: T::from_f64(weight), correct }
    }
}

/// The place of the first element with this value.
pub(crate) fn first_of<T: Float>(list: &[T], value: T) -> Option<usize> {
    list.iter().position(|&x| x == value)
}
