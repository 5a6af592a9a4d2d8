//! What losses and gradients of rows are multiplied by: class weights, row weights, the reduction, the
//! upstream gradient.
//!
//! Any of these may be tiny or huge where their product is not. So each is a mantissa and an exponent, and
//! losses are counted in a *unit*, a power of two that depends on the class weights and the z-loss.

use super::checks::{Arguments, class_weights, row_weights};
use crate::order::{SUMS_OF_WEIGHTS, chunk_classes};
use crate::simd::Float;
use crate::simd::scaled::{self, Scaled};
use crate::{Reduction, SoftmaxXent};

/// 0, or at least 2^-20 and less than 2^21.
fn is_moderate(x: f64) -> bool {
    x == 0.0 || (2.0_f64.powi(-20)..2.0_f64.powi(21)).contains(&x)
}

/// The exponent that is taken from the weights of rows where their losses are added up.
pub(super) fn rows_exponent<T: Float>(xent: &SoftmaxXent<T>) -> i32 {
    let weights = row_weights(xent).unwrap_or_default();
    match weights.iter().all(|&w| is_moderate(w.to_f64())) {
        true => 0,
        false => scaled::exponent(weights.iter().fold(0.0, |most: f64, w| most.max(w.to_f64()))),
    }
}

/// Class weights, so scaled that no sum of them overflows.
pub(super) struct ScaledWeights<'x, T> {
    pub(super) all: &'x [T],
    /// Whether those that are not 0 are within 2^-20 to 2^20 of 1.
    is_moderate: bool,
    /// The exponent of the largest.
    largest: i32,
    /// The exponent that is taken from those below.
    pub(super) exponent: i32,
    pub(super) scaled: Vec<T>,
}

impl<'x, T: Float> ScaledWeights<'x, T> {
    pub(super) fn of(xent: &'x SoftmaxXent<T>) -> Option<Self> {
        let all = class_weights(xent)?;
        let positive: Vec<f64> = all.iter().map(|w| w.to_f64()).filter(|&w| w > 0.0).collect();
        let most = positive.iter().fold(0.0, |a: f64, &b| a.max(b));
        let is_moderate = positive.iter().all(|w| (2.0_f64.powi(-20)..=2.0_f64.powi(20)).contains(w));
        let largest = scaled::exponent(most);
        let total: f64 = positive.iter().map(|&w| scaled::scale(w, -largest)).sum();
        let exponent = match largest + scaled::exponent(total) + 1 {
            exponent if is_moderate && exponent <= 20 => 0,
            exponent => exponent,
        };
        // A weight that is not 0 stays so: a masked class counts with it.
        let least = scaled::scale(T::ONE, T::MIN_EXPONENT);
        let scaled = |&w: &T| match scaled::scale(w, -exponent) {
            _ if exponent == 0 => w,
            scaled if scaled < least && w > T::ZERO => least,
            scaled => scaled,
        };
        Some(ScaledWeights { all, is_moderate, largest, exponent, scaled: all.iter().map(scaled).collect() })
    }
}

/// The sum of some weights, in `f64`.
fn sum<T: Float>(weights: &[T]) -> T {
    T::from_f64(weights.iter().map(|w| w.to_f64()).sum())
}

/// What the rows that count amount to.
pub(super) struct Count {
    pub(super) rows: usize,
    /// The sum of their weights.
    pub(super) weight: Scaled<f64>,
}

/// The number of rows with a target, and the sum of the products of row weights and targets' class weights.
pub(super) fn count<T: Float>(arguments: &Arguments<'_, T>, weights: Option<&ScaledWeights<'_, T>>) -> Count {
    let Arguments { xent, targets, .. } = arguments;
    let rows = targets.iter().flatten().count();
    let row_weights = row_weights(xent);
    if weights.is_none() && row_weights.is_none() {
        return Count { rows, weight: Scaled::of_f64(rows as f64) };
    }
    // Weights of `f64` may add up to more than it holds.
    let class_exponent = weights.map_or(0, |w| if w.is_moderate { 0 } else { w.largest });
    let rows_exponent = rows_exponent(xent);
    let mut sums = [0.0; SUMS_OF_WEIGHTS];
    for (row, target) in targets.iter().enumerate() {
        let of_class = |&class: &usize| {
            weights.map_or(1.0, |weights| scaled::scale(weights.all[class].to_f64(), -class_exponent))
        };
        let of_class = target.as_ref().map_or(0.0, of_class);
        let of_row = row_weights.map_or(1.0, |all| scaled::scale(all[row].to_f64(), -rows_exponent));
        sums[row % SUMS_OF_WEIGHTS] += of_class * of_row;
    }
    let weight = Scaled::of_f64(sums.iter().sum()).lifted(class_exponent + rows_exponent);
    Count { rows, weight }
}

/// What the sum of the losses is divided by.
pub(super) fn divisor<T: Float>(xent: &SoftmaxXent<T>, weight: Scaled<f64>) -> Scaled<f64> {
    match xent.reduction {
        Reduction::Sum | Reduction::None => Scaled::ONE,
        Reduction::Mean => xent.normalizer.map_or(weight, |n| Scaled::of(n.to_f64())),
    }
}

/// What all rows' losses and gradients are multiplied by.
#[derive(Clone, Copy)]
pub(super) struct Multiplier<T> {
    /// Of gradients, in units.
    pub(super) factor: Scaled<T>,
    /// The largest exponent of this that a gradient is multiplied by before anything else.
    pub(super) first_exponent: i32,
    /// The exponent of the unit of losses.
    pub(super) unit: i32,
    pub(super) rows_exponent: i32,
}

/// What one row's losses and gradients are multiplied by.
pub(super) struct OfRow<T> {
    pub(super) first: T,
    /// Powers of two that come last, and take [`Float::ROW_LIFT`] from the row's sums.
    last: [T; 2],
    /// The loss times `weight` is what is added up times `in_total`, and what is answered times `in_answer`.
    weight: T,
    in_total: T,
    in_answer: [T; 2],
}

impl<T: Float> Multiplier<T> {
    /// Of gradients of a sum that is divided by `divisor`: 0 where no row counts, or all weigh nothing.
    pub(super) fn new(xent: &SoftmaxXent<T>, divisor: Scaled<f64>, unit: i32, first_exponent: i32) -> Self {
        let Scaled { mantissa, exponent } = divisor;
        let factor = match mantissa == 0.0 {
            true => Scaled { mantissa: T::ZERO, exponent: 0 },
            false => Scaled { mantissa: T::ONE / T::from_f64(mantissa), exponent: -exponent },
        };
        let rows_exponent = rows_exponent(xent);
        Multiplier { factor: factor.lifted(unit), first_exponent, unit, rows_exponent }
    }

    pub(super) fn times(self, x: T) -> Self {
        Multiplier { factor: self.factor.times(Scaled::of(x)), ..self }
    }

    /// Of a row with this weight.
    pub(super) fn of_row(self, weight: Option<T>) -> OfRow<T> {
        let Scaled { mantissa, exponent } = weight.map_or(self, |weight| self.times(weight)).factor;
        let first_exponent = exponent.clamp(0, self.first_exponent);
        let weight = weight.unwrap_or(T::ONE);
        // Where the weights' exponent is taken from the total, each weight is a mantissa and an exponent,
        // too.
        let (weight, exponents) = match self.rows_exponent {
            0 => (weight, [0, 0]),
            rows_exponent => {
                let Scaled { mantissa, exponent } = Scaled::of(weight);
                (mantissa, [exponent - rows_exponent, exponent])
            }
        };
        OfRow {
            first: scaled::scale(mantissa, first_exponent),
            last: scaled::powers(exponent - first_exponent - T::ROW_LIFT),
            weight,
            in_total: scaled::scale(T::ONE, exponents[0]),
            in_answer: scaled::powers(exponents[1] + self.unit),
        }
    }
}

impl<T: Float> OfRow<T> {
    pub(super) fn last(&self, x: T) -> T {
        x * self.last[0] * self.last[1]
    }

    /// What is added up of a row's loss, and what is answered.
    pub(super) fn losses(&self, loss: T) -> [T; 2] {
        let loss = loss * self.weight;
        [loss * self.in_total, loss * self.in_answer[0] * self.in_answer[1]]
    }
}

/// The sum of losses, of which those of at least 2^960 are counted apart: sums of them might overflow.
#[derive(Clone, Copy)]
pub(super) struct Total {
    ordinary: f64,
    /// 2^-64 of the sum of the others.
    huge: f64,
}

impl Total {
    pub(super) const ZERO: Self = Total { ordinary: 0.0, huge: 0.0 };

    /// Of one loss.
    pub(super) fn of<T: Float>(loss: T) -> Self {
        match loss.to_f64() {
            loss if size_of::<T>() == 8 && loss >= 2.0_f64.powi(960) => {
                Total { ordinary: 0.0, huge: loss * 2.0_f64.powi(-64) }
            }
            loss => Total { ordinary: loss, huge: 0.0 },
        }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Total { ordinary: self.ordinary + other.ordinary, huge: self.huge + other.huge }
    }

    /// The sum, times 2^`exponent`, divided by the divisor; by nothing where that is 0.
    pub(super) fn over(self, divisor: Scaled<f64>, exponent: i32) -> f64 {
        let by = if divisor.mantissa == 0.0 { 1.0 } else { divisor.mantissa };
        let exponent = exponent - divisor.exponent;
        match self.huge == 0.0 {
            true => scaled::scale(self.ordinary / by, exponent),
            false => scaled::scale((self.ordinary * 2.0_f64.powi(-64) + self.huge) / by, exponent + 64),
        }
    }
}

/// The options as the numbers that the equations of a row with a label are made of; losses are in units.
pub(super) struct Numbers<'x, T> {
    pub(super) arguments: Arguments<'x, T>,
    pub(super) weights: Option<ScaledWeights<'x, T>>,
    pub(super) count: Count,
    pub(super) divisor: Scaled<f64>,
    pub(super) multiplier: Multiplier<T>,
    /// The exponent that is taken from the weight of a target.
    weight_exponent: i32,
    /// ε/C and 1 − ε
    pub(super) share: T,
    own: T,
    one: T,
    /// The sum of the scaled weights, and (ε/C) times it.
    total_weight: T,
    pub(super) share_of_all: T,
    /// A power of two by which logits are multiplied before smoothing adds them up, and (ε/C) divided by it.
    pub(super) gap_scale: T,
    pub(super) share_of_gap: T,
    pub(super) z_loss: T,
}

impl<'x, T: Float> Numbers<'x, T> {
    pub(super) fn new(arguments: Arguments<'x, T>) -> Self {
        let Arguments { xent, all_classes, .. } = arguments;
        let weights = ScaledWeights::of(xent);
        let count = count(&arguments, weights.as_ref());
        let share = T::from_f64(xent.label_smoothing.to_f64() / all_classes as f64);
        let weight_exponent = match &weights {
            Some(weights) if share != T::ZERO => weights.exponent,
            Some(weights) if !weights.is_moderate => {
                let of_targets = arguments.targets.iter().flatten().map(|&class| weights.all[class].to_f64());
                scaled::exponent(of_targets.fold(0.0, f64::max))
            }
            _ => 0,
        };
        let unit = unit(xent, weight_exponent);
        let in_units = |x: T| scaled::scale(x, weight_exponent - unit);
        let share = in_units(share);
        let total_weight =
            weights.as_ref().map_or(T::from_f64(all_classes as f64), |weights| sum(&weights.scaled));
        let gap_exponent = (-2 - scaled::exponent(total_weight.to_f64())).min(-1);
        let divisor = divisor(xent, count.weight);
        let has_extremes = weights.as_ref().is_some_and(|weights| !weights.is_moderate);
        let first_exponent = if has_extremes { T::FIRST_LIFT } else { 0 };
        Numbers {
            arguments,
            weights,
            count,
            divisor,
            multiplier: Multiplier::new(xent, divisor, unit, first_exponent),
            weight_exponent,
            share,
            own: in_units(if share == T::ZERO { T::ONE } else { T::ONE - xent.label_smoothing }),
            one: in_units(T::ONE),
            total_weight,
            share_of_all: share * total_weight,
            gap_scale: scaled::scale(T::ONE, gap_exponent),
            share_of_gap: scaled::scale(share, -gap_exponent),
            z_loss: scaled::scale(xent.z_loss, -unit),
        }
    }

    pub(super) fn is_smooth(&self) -> bool {
        self.share != T::ZERO
    }

    /// Whether losses are those of the targets as they are.
    pub(super) fn is_plain(&self) -> bool {
        self.weights.is_none() && !self.is_smooth() && self.multiplier.unit == 0
    }

    /// The scaled weights of the logits' classes.
    pub(super) fn smoothing_weights(&self) -> Option<&[T]> {
        let weights = self.weights.as_ref().filter(|_| self.is_smooth())?;
        Some(&weights.scaled[self.arguments.first_class..][..self.arguments.here])
    }

    /// The sum of the scaled weights of a chunk of the logits' classes; their number where there are no
    /// weights.
    pub(super) fn chunk_weight(&self, chunk: usize) -> T {
        let len = chunk_len(&self.arguments);
        let first = chunk * len;
        match self.smoothing_weights() {
            Some(weights) => sum(weights[first..].chunks(len).next().unwrap_or_default()),
            None => T::from_f64(len.min(self.arguments.here - first) as f64),
        }
    }

    /// (1 − ε)·w_y; A, the factor of the probabilities; and (ε/C)·(W − w_y), which is left to the target's
    /// gradient when p_y = 1. Without a target 1, 1, 0.
    pub(super) fn of_target(&self, class: Option<usize>) -> [T; 3] {
        let Some(class) = class else { return [T::ONE, T::ONE, T::ZERO] };
        let [a, b] = scaled::powers(-self.weight_exponent);
        let weight = self.weights.as_ref().map_or(T::ONE, |weights| weights.all[class] * a * b);
        let own = self.own * weight;
        let all = if self.weights.is_none() { self.one } else { self.share_of_all + own };
        [own, all, self.share * (self.total_weight - weight)]
    }
}

/// The exponent of the unit, from that of the class weights.
pub(super) fn unit<T: Float>(xent: &SoftmaxXent<T>, weight_exponent: i32) -> i32 {
    match xent.z_loss > T::ZERO {
        true => weight_exponent.max(scaled::exponent(xent.z_loss.to_f64()) - 20),
        false => weight_exponent,
    }
}

/// Classes of a chunk.
pub(super) fn chunk_len<T: Float>(arguments: &Arguments<'_, T>) -> usize {
    if arguments.row_per_lane { chunk_classes::<T, true>() } else { chunk_classes::<T, false>() }
}
