//! The options of a call, turned into the numbers that the kernel multiplies by.

use super::SoftmaxXent;
pub(super) use crate::order::{CLASSES_PER_LANE_CHUNK, chunk_classes};
use crate::simd::{Float, scaled};
use std::borrow::Cow;

/// Whether an option can be a factor of losses: finite and not negative.
pub(crate) fn is_factor<T: Float>(x: T) -> bool {
    x >= T::ZERO && x < T::INFINITY
}

/// 0, or a magnitude within 2^-6 to 2^6.
#[inline]
pub(crate) fn is_ordinary<T: Float>(x: T) -> bool {
    x == T::ZERO || (1.0 / 64.0..=64.0).contains(&x.abs().to_f64())
}

/// Factors within 2^-20 to 2^20 of 1 are multiplied as they are.
const MODERATE: f64 = (1 << 20) as f64;

/// Class weights, and what each call would else have to find out about them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Weights<T> {
    pub(crate) all: Vec<T>,
    /// The first that is negative or not finite.
    pub(crate) wrong: Option<T>,
    /// Whether all but those of 0 are moderate.
    pub(crate) is_moderate: bool,
    /// Whether all are ordinary.
    pub(crate) are_ordinary: bool,
    /// The exponent of the largest.
    pub(crate) largest_exponent: i32,
    /// The exponent that is taken from the weights where smoothing adds them up: of their sum, unless it is moderate.
    pub(crate) exponent: i32,
    /// The weights without that exponent, if it is not 0.
    scaled: Vec<T>,
    /// The sum of the scaled weights.
    total: T,
    /// The sum of each chunk's, for rows along vectors and rows in lanes.
    chunk_sums: [Vec<T>; 2],
}

/// The sum of some weights.
fn sum<T: Float>(weights: &[T]) -> T {
    T::from_f64(weights.iter().map(|w| w.to_f64()).sum())
}

/// The sums of each chunk's.
fn sums<T: Float>(weights: &[T], chunk: usize) -> impl Iterator<Item = T> {
    weights.chunks(chunk).map(sum)
}

impl<T: Float> Weights<T> {
    pub(crate) fn new(all: &[T]) -> Self {
        let wrong = all.iter().copied().find(|&w| !is_factor(w));
        let positive = || all.iter().map(|w| w.to_f64()).filter(|&w| w > 0.0 && w < f64::INFINITY);
        let (least, most) = positive().fold((1.0, 0.0), |(a, b): (f64, f64), w| (a.min(w), b.max(w)));
        let largest_exponent = scaled::exponent(most);
        let total: f64 = positive().map(|w| scaled::scale(w, -largest_exponent)).sum();
        let is_moderate = least >= 1.0 / MODERATE && most <= MODERATE;
        let exponent = largest_exponent + scaled::exponent(total) + 1;
        let exponent = if is_moderate && exponent <= 20 { 0 } else { exponent };
        // A weight that is not 0 stays so: a logit of −∞ counts with it.
        let least = scaled::scale(T::ONE, T::MIN_EXPONENT);
        let shrink = |&w: &T| {
            let scaled = scaled::scale(w, -exponent);
            if scaled < least && w > T::ZERO { least } else { scaled }
        };
        let scaled: Vec<T> = if exponent == 0 { vec![] } else { all.iter().map(shrink).collect() };
        let list = if exponent == 0 { all } else { &scaled };
        let chunk_sums = [chunk_classes::<T, false>(), chunk_classes::<T, true>()]
            .map(|chunk| sums(list, chunk).collect());
        let total = sum(list);
        Weights {
            all: all.to_vec(),
            wrong,
            is_moderate,
            are_ordinary: all.iter().all(|&w| is_ordinary(w)),
            largest_exponent,
            exponent,
            scaled,
            total,
            chunk_sums,
        }
    }

    /// The weights without their common exponent.
    pub(crate) fn scaled(&self) -> &[T] {
        if self.exponent == 0 { &self.all } else { &self.scaled }
    }
}

/// Which classes a call has before it, and how its rows lie.
#[derive(Clone, Copy)]
pub(crate) struct Classes {
    /// The number of all classes.
    pub(crate) all: usize,
    /// The number of the logits' first class.
    pub(crate) first: usize,
    /// The number of the logits' classes.
    pub(crate) here: usize,
    /// Whether rows sit in lanes.
    pub(crate) row_per_lane: bool,
}

/// Options, as numbers. Losses, and what multiplies gradients, are counted in units of 2^[`Plan::unit`], so
/// that tiny and huge weights are no smaller and no larger than others.
pub(crate) struct Plan<'a, T: Float> {
    pub(crate) weights: Option<&'a [T]>,
    /// Whether there are none but ordinary ones.
    pub(crate) weights_are_ordinary: bool,
    /// The weights that smoothing adds up, without their common exponent.
    scaled_weights: &'a [T],
    /// The exponent of the unit.
    pub(crate) unit: i32,
    /// The exponent of a row's factor that may be multiplied before anything else; 0 unless weights are tiny or huge.
    pub(crate) first_lift: i32,
    /// Two factors that take the common exponent from a target's weight.
    pub(crate) weight_powers: [T; 2],
    /// ε/C, in units for the weights without their exponent
    pub(crate) share: T,
    /// (1 − ε), in the same
    pub(crate) own: T,
    /// 1, in units
    pub(crate) one: T,
    /// W, the sum of the weights, without their exponent
    pub(crate) total_weight: T,
    /// (ε/C)·W, in units
    pub(crate) share_of_all: T,
    /// What logits are multiplied by before smoothing adds them up, so that no sum overflows: a power of two.
    pub(crate) gap_scale: T,
    /// (ε/C)/`gap_scale`
    pub(crate) share_of_gap: T,
    /// The sum of each chunk's weights, where there are weights.
    chunk_sums: Cow<'a, [T]>,
    /// The number of all classes.
    pub(crate) all_classes: usize,
    /// The number of the logits' classes.
    here: usize,
    /// The classes of a chunk.
    chunk: usize,
    /// The factor of lse², in units.
    pub(crate) z_loss: T,
    pub(crate) cap: Option<T>,
    /// Whether logarithms of probabilities are wanted in place of gradients.
    pub(crate) log: bool,
    /// The number of the logits' first class.
    pub(crate) first_class: usize,
}

/// What a row's target makes of the options.
#[derive(Clone, Copy)]
pub(crate) struct LossTerms<V> {
    /// (1 − ε)·w_y, the factor of the target's loss; this and the others in units
    pub(crate) own: V,
    /// A = (1 − ε)·w_y + (ε/C)·W, the factor of the probabilities
    pub(crate) all: V,
    /// (ε/C)·(W − w_y), what is left to the target's gradient when p_y = 1
    pub(crate) rest: V,
}

impl<'a, T: Float> Plan<'a, T> {
    /// `heaviest` is the largest weight of a target that counts.
    pub(crate) fn new(xent: &'a SoftmaxXent<T>, classes: Classes, heaviest: T) -> Self {
        let Classes { all: count, first: first_class, here, row_per_lane } = classes;
        let chunk = if row_per_lane { chunk_classes::<T, true>() } else { chunk_classes::<T, false>() };
        let weights = xent.class_weights.as_ref();
        let share = T::from_f64(xent.label_smoothing.to_f64() / count as f64);
        let weight_exponent = match weights {
            Some(weights) if share != T::ZERO => weights.exponent,
            Some(weights) if !weights.is_moderate => scaled::exponent(heaviest.to_f64()),
            _ => 0,
        };
        let z_loss = xent.z_loss;
        let unit = match z_loss > T::ZERO {
            true => weight_exponent.max(scaled::exponent(z_loss.to_f64()) - 20),
            false => weight_exponent,
        };
        let in_units = |x: T| scaled::scale(x, weight_exponent - unit);
        let share = in_units(share);
        let total_weight = weights.map_or(T::from_f64(count as f64), |weights| weights.total);
        let gap_exponent = match share == T::ZERO {
            true => 0,
            false => (-2 - scaled::exponent(total_weight.to_f64())).min(-1),
        };
        let chunk_sums = match weights {
            Some(weights) if here == count => Cow::Borrowed(&*weights.chunk_sums[usize::from(row_per_lane)]),
            Some(weights) => sums(&weights.scaled()[first_class..][..here], chunk).collect(),
            None => Cow::default(),
        };
        Plan {
            weights: weights.map(|weights| &*weights.all),
            weights_are_ordinary: weights.is_none_or(|weights| weights.are_ordinary),
            scaled_weights: weights.map_or(&[], Weights::scaled),
            unit,
            first_lift: if weights.is_none_or(|weights| weights.is_moderate) { 0 } else { T::FIRST_LIFT },
            weight_powers: scaled::powers(-weight_exponent),
            share,
            own: in_units(if share == T::ZERO { T::ONE } else { T::ONE - xent.label_smoothing }),
            one: in_units(T::ONE),
            total_weight,
            share_of_all: share * total_weight,
            gap_scale: scaled::scale(T::ONE, gap_exponent),
            share_of_gap: scaled::scale(share, -gap_exponent),
            chunk_sums,
            all_classes: count,
            here,
            chunk,
            z_loss: scaled::scale(z_loss, -unit),
            cap: xent.softcap,
            log: xent.log,
            first_class,
        }
    }

    /// Whether every term is 1, 1, 0.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.weights.is_none() && !self.is_smooth() && self.unit == 0
    }

    /// Whether what is written is made of the logits once more, not of their exponentials.
    #[inline(always)]
    pub(crate) fn needs_logits(&self) -> bool {
        self.cap.is_some() || self.log
    }

    /// Whether there is label smoothing.
    #[inline(always)]
    pub(crate) fn is_smooth(&self) -> bool {
        self.share != T::ZERO
    }

    /// The sum of the weights of chunk number `c`, where there is smoothing. Without weights, its number of
    /// classes, of which no list is kept: an array may claim more of them than there is memory for.
    #[inline(always)]
    pub(crate) fn chunk_weight(&self, c: usize) -> T {
        match self.weights {
            Some(_) => self.chunk_sums[c],
            None => T::from_f64(self.chunk.min(self.here - c * self.chunk) as f64),
        }
    }

    /// The scaled weights of `len` of the logits' classes, where there are any and smoothing makes something of them.
    #[inline(always)]
    pub(crate) fn smoothing_weights(&self, first: usize, len: usize) -> Option<&'a [T]> {
        (self.weights.is_some() && self.is_smooth()).then(
            #[inline(always)]
            || &self.scaled_weights[self.first_class + first..][..len],
        )
    }
}
