//! Targets that are probabilities: the equations are in `ops/softmax_xent/soft.rs`.

use super::checks::{self, row_weights};
use super::factors::{Multiplier, ScaledWeights, divisor, rows_exponent, unit};
use super::math::{ln, tanh};
use super::{Shift, join_lanes, slope, total_of_blocks};
use crate::array::{View, ViewMut};
use crate::error::Result;
use crate::order::{chunk_classes, is_soft_row_per_lane, rows_per_block};
use crate::simd::Float;
use crate::simd::scaled::{self, Scaled};
use crate::{Loss, Reduction, SoftmaxXent};

/// The elements of each row along `axis`.
fn rows<T: Float>(x: View<'_, T>, axis: usize, rows: usize) -> Vec<Vec<T>> {
    let lanes = x.axis_slices(axis);
    let row = |row| (0..lanes.slice_len()).map(|j| lanes.slice(row).get(j)).collect();
    (0..rows).map(row).collect()
}

/// The place of the largest element; of equal ones the first, and none where all are −∞ or NaN, or that is
/// not found.
fn first_largest<T: Float>(list: &[T]) -> Option<usize> {
    let largest = largest(list);
    list.iter().position(|&x| x == largest)
}

fn largest<T: Float>(list: &[T]) -> T {
    list.iter().fold(T::NEG_INFINITY, |max, &x| if x > max { x } else { max })
}

/// The sum within a chunk: one by turns for each of so many lanes, joined by halves.
fn by_lanes<T: Float>(lanes: usize, terms: impl Iterator<Item = T>) -> f64 {
    let mut sums = vec![T::ZERO; lanes];
    terms.enumerate().for_each(|(j, x)| sums[j % lanes] += x);
    join_lanes(sums).to_f64()
}

/// Every row's gradient, and the loss; the logits are in `grad` where there are none.
pub(super) fn gradient<T: Float>(
    xent: &SoftmaxXent<T>,
    logits: Option<View<'_, T>>,
    targets: View<'_, T>,
    mut grad: ViewMut<'_, T>,
    (axis, count): (usize, usize),
) -> Loss<T> {
    let classes = grad.shape()[axis];
    let count = if classes == 0 { 0 } else { count };
    let all_logits = rows(logits.unwrap_or(grad.as_view()), axis, count);
    let all_targets = rows(targets, axis, count);
    let row_weights = row_weights(xent);
    let class_weights = ScaledWeights::of(xent);

    // Rows whose targets are all 0 do not count.
    let counts: Vec<bool> = all_targets.iter().map(|t| t.iter().any(|&t| t != T::ZERO)).collect();
    let counting = || (0..count).filter(|&row| counts[row]);
    let rows_exponent = rows_exponent(xent);
    let weight = |row: usize| row_weights.map_or(1.0, |all| scaled::scale(all[row].to_f64(), -rows_exponent));
    let weight = Scaled::of_f64(counting().map(weight).fold(0.0, |a, b| a + b)).lifted(rows_exponent);
    let divisor = divisor(xent, weight);

    let exponent = class_weights.as_ref().map_or(0, |weights| weights.exponent);
    let unit = unit(xent, exponent);
    let multiplier = Multiplier::new(xent, divisor, unit, 0);
    let smoothing = xent.label_smoothing;
    let share = T::from_f64(smoothing.to_f64() / classes as f64);
    let [own, share] = [T::ONE - smoothing, share].map(|x| scaled::scale(x, exponent - unit));
    let is_plain = class_weights.is_none() && share == T::ZERO && own == T::ONE;
    let z_loss = scaled::scale(xent.z_loss, -unit);
    let row_per_lane = is_soft_row_per_lane(classes);
    let lanes = if row_per_lane { 1 } else { T::LANES };

    let (mut losses, mut correct) = (vec![T::ZERO; count], 0);
    for row in 0..count {
        let mut to = grad.reborrow().into_axis_slices(axis);
        let mut to = to.slice(row);
        if !counts[row] {
            to.fill(T::ZERO);
            continue;
        }
        let capped = |&x: &T| match xent.softcap {
            Some(cap) if x != T::NEG_INFINITY => cap * tanh(x / cap),
            _ => x,
        };
        let x: Vec<T> = all_logits[row].iter().map(capped).collect();
        let weigh = |(j, &t): (usize, &T)| match &class_weights {
            _ if is_plain => t,
            None => t.mul_add(own, share),
            Some(weights) => t.mul_add(own, share) * weights.scaled[j],
        };
        let t: Vec<T> = all_targets[row].iter().enumerate().map(weigh).collect();

        let max = largest(&x);
        let (shift, half) = (Shift::of_chunk(max), T::from_f64(0.5));
        // Halves, so that no difference overflows.
        let half_max = if max == T::NEG_INFINITY { T::ZERO } else { max * half };
        let below_max = |x: T, t: T| if t == T::ZERO { T::ZERO } else { half_max - x * half };
        let [mut z, mut all, mut gaps] = [0.0; 3];
        let chunk = chunk_classes::<T, false>();
        for (x, t) in x.chunks(chunk).zip(t.chunks(chunk)) {
            z += by_lanes(lanes, x.iter().map(|&x| shift.exp(x)));
            all += by_lanes(lanes, t.iter().copied());
            let mut gap = vec![T::ZERO; lanes];
            for (j, (&x, &t)) in x.iter().zip(t).enumerate() {
                gap[j % lanes] = t.mul_add(below_max(x, t), gap[j % lanes]);
            }
            gaps += join_lanes(gap).to_f64();
        }

        let [z, mut all, gaps] = [z, all, gaps].map(T::from_f64);
        let z = if z > T::ZERO { z } else { T::NAN };
        // Without the lift of the exponentials.
        let ln_z = ln(z * scaled::scale(T::ONE, -T::CHUNK_LIFT));
        let above_max = shift.lifted(-T::CHUNK_LIFT).exponent(max).mul_add(-T::LN_2, ln_z);
        let mut loss = all.mul_add(above_max, gaps + gaps);
        if z_loss != T::ZERO {
            let lse = max + above_max;
            let z_loss = z_loss * lse;
            (loss, all) = (z_loss.mul_add(lse, loss), all + (z_loss + z_loss));
        }
        let by = multiplier.of_row(row_weights.map(|all| all[row]));
        let [loss, _] = by.losses(loss);
        losses[row] = loss;
        correct += usize::from(first_largest(&x) == first_largest(&t) && !loss.is_nan());

        // Without the lift that sums of rows with labels have.
        let scale = by.first * scaled::scale(T::ONE, T::ROW_LIFT);
        let [by, less] = [scale * (all / z), scale].map(|x| by.last(x));
        for (j, (&x, &t)) in x.iter().zip(&t).enumerate() {
            let gradient = shift.exp(x) * by - t * less;
            to.set(j, xent.softcap.map_or(gradient, |cap| gradient * slope(cap, x)));
        }
    }

    let is_mean = xent.reduction == Reduction::Mean && xent.normalizer.is_none();
    let weight = match row_weights {
        None if !is_mean => counting().count() as f64,
        _ => scaled::scale(weight.mantissa, weight.exponent),
    };
    let total = total_of_blocks(&losses, rows_per_block::<T>(classes, row_per_lane));
    Loss {
        value: T::from_f64(total.over(divisor, unit + rows_exponent)),
        count: counting().count(),
        weight: T::from_f64(weight),
        correct,
    }
}

impl<T: Float> super::SoftmaxXent<'_, T> {
    /// See [`crate::SoftmaxXent::forward_backward_soft`].
    pub fn forward_backward_soft<'a, 't>(
        &self,
        logits: impl Into<View<'a, T>>,
        targets: impl Into<View<'t, T>>,
        grad: impl Into<ViewMut<'a, T>>,
    ) -> Result<Loss<T>> {
        let (logits, targets) = (logits.into(), targets.into());
        let shape = checks::soft(self.0, logits.shape(), targets)?;
        let grad = checks::shaped(grad.into(), logits.shape())?;
        Ok(gradient(self.0, Some(logits), targets, grad, shape))
    }

    /// See [`crate::SoftmaxXent::forward_backward_soft_in_place`].
    pub fn forward_backward_soft_in_place<'a, 't>(
        &self,
        logits: impl Into<ViewMut<'a, T>>,
        targets: impl Into<View<'t, T>>,
    ) -> Result<Loss<T>>
    where
        T: 'a,
    {
        let (logits, targets) = (logits.into(), targets.into());
        let shape = checks::soft(self.0, logits.shape(), targets)?;
        Ok(gradient(self.0, None, targets, logits, shape))
    }
}
