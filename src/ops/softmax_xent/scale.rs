//! What the losses and gradients of rows are multiplied by: the reduction, the upstream gradient and the
//! rows' weights.
//!
//! Each is a mantissa and an exponent, because their product may be an ordinary number where one of them, or
//! of what the class weights have made, is tiny or huge. Where all are moderate, they are multiplied as they
//! are.

use crate::simd::scaled::{self, Scaled};
use crate::simd::slices::take;
use crate::simd::{Float, Simd};

/// Factors of 0, or within 2^-20 to 2^20 of 1, are multiplied as they are.
pub(crate) fn is_moderate<T: Float>(x: T) -> bool {
    x == T::ZERO || (-20..=20).contains(&Scaled::of(x).exponent) && x.abs() < T::INFINITY
}

/// What a row's gradient is multiplied by: `first`, and, when all else is, both of `last`, which are powers
/// of two and also take the lift of the row's sums from it.
#[derive(Clone, Copy)]
pub(crate) struct RowScale<V> {
    pub(crate) first: V,
    pub(crate) last: [V; 2],
    /// Whether the second of these is not 1.
    has_two: bool,
}

impl<T: Float> RowScale<T> {
    /// Of a factor. At most 2^`most` of it comes first: what is multiplied by it may be tiny.
    #[inline(always)]
    pub(crate) fn of(factor: Scaled<T>, most: i32) -> Self {
        let exponent = factor.exponent.clamp(0, most);
        let first = scaled::scale(factor.mantissa, exponent);
        let last = scaled::powers(factor.exponent - exponent - T::ROW_LIFT);
        RowScale { first, last, has_two: last[1] != T::ONE }
    }
}

impl<V: Copy> RowScale<V> {
    #[inline(always)]
    fn splat<T: Float, S: Simd<T, V = V>>(s: S, of: &RowScale<T>) -> Self {
        let last = [s.splat(of.last[0]), s.splat(of.last[1])];
        RowScale { first: s.splat(of.first), last, has_two: of.has_two }
    }

    /// `x`, which is multiplied by all else, times `last`.
    #[inline(always)]
    pub(crate) fn last<T: Float, S: Simd<T, V = V>>(&self, s: S, x: V) -> V {
        let x = s.mul(x, self.last[0]);
        if self.has_two { s.mul(x, self.last[1]) } else { x }
    }
}

/// Weights of rows, and what a call would else have to find out about them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowWeights<T> {
    pub(crate) all: Vec<T>,
    /// The first that is negative or not finite.
    pub(crate) wrong: Option<T>,
    /// The exponent of the largest; 0 where all are moderate.
    pub(crate) exponent: i32,
}

impl<T: Float> RowWeights<T> {
    pub(crate) fn new(all: &[T]) -> Self {
        let wrong = all.iter().copied().find(|&w| !super::plan::is_factor(w));
        let largest = all.iter().fold(0.0, |most: f64, w| most.max(w.to_f64()));
        let exponent = if all.iter().all(|&w| is_moderate(w)) { 0 } else { scaled::exponent(largest) };
        RowWeights { all: all.to_vec(), wrong, exponent }
    }
}

/// A sum of losses that each have the range of their type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LossSum {
    /// The sum of those that are not huge.
    pub(crate) ordinary: f64,
    /// 2^-64 of the sum of the others: only of `f64`, whose sums might overflow.
    pub(crate) huge: f64,
    /// The number of rows whose target is the largest logit.
    pub(crate) correct: u64,
}

impl LossSum {
    pub(crate) const ZERO: Self = LossSum { ordinary: 0.0, huge: 0.0, correct: 0 };

    pub(crate) fn add(&mut self, other: Self) {
        self.ordinary += other.ordinary;
        self.huge += other.huge;
        self.correct += other.correct;
    }

    /// The sum, divided by `divisor` and times 2^`exponent`.
    pub(crate) fn over(self, divisor: f64, exponent: i32) -> f64 {
        if self.huge == 0.0 {
            return scaled::scale(self.ordinary / divisor, exponent);
        }
        scaled::scale((scaled::scale(self.ordinary, -64) + self.huge) / divisor, exponent + 64)
    }
}

/// Adds the loss of one row to the parts of a [`LossSum`].
#[inline(always)]
pub(crate) fn add_loss<T: Float>(loss: T, ordinary: &mut f64, huge: &mut f64) {
    const HUGE: f64 = f64::from_bits((960 + 1023) << 52);
    const LESS: f64 = f64::from_bits((1023 - 64) << 52);
    let loss = loss.to_f64();
    if size_of::<T>() < size_of::<f64>() {
        *ordinary += loss;
    } else {
        let is_huge = loss >= HUGE;
        *ordinary += if is_huge { 0.0 } else { loss };
        *huge += if is_huge { loss * LESS } else { 0.0 };
    }
}

/// What multiplies all rows of a call.
#[derive(Clone, Copy)]
pub(crate) struct CallScale<T> {
    /// The gradient's factor.
    pub(crate) factor: Scaled<T>,
    /// [`Plan::first_lift`](super::plan::Plan::first_lift)
    pub(crate) first_lift: i32,
    /// The exponent of the unit in which losses are counted.
    pub(crate) unit: i32,
    /// The exponent that is taken from the rows' weights where losses are added up.
    pub(crate) rows_exponent: i32,
    of_all: RowScale<T>,
    unit_powers: [T; 2],
}

/// What multiplies some rows.
pub(crate) struct RowFactors<V> {
    pub(crate) gradient: RowScale<V>,
    /// The loss times the first is what is added up times the second, and, as it is answered, times the others.
    weight: V,
    in_total: V,
    in_answer: [V; 2],
    /// Whether one of these is not 1.
    has_loss: bool,
}

impl<T: Float> CallScale<T> {
    #[inline(always)]
    pub(crate) fn new(factor: Scaled<T>, first_lift: i32, unit: i32, rows_exponent: i32) -> Self {
        let factor = factor.lifted(unit);
        let (of_all, unit_powers) = (RowScale::of(factor, first_lift), scaled::powers(unit));
        CallScale { factor, first_lift, unit, rows_exponent, of_all, unit_powers }
    }

    /// Of the rows with these upstream gradients and weights, where there are any.
    #[inline(always)]
    pub(crate) fn of_rows<S: Simd<T>>(
        &self,
        s: S,
        upstream: Option<&[T]>,
        weights: Option<&[T]>,
    ) -> RowFactors<S::V> {
        let one = s.splat(T::ONE);
        let mut gradient = RowScale::splat(s, &self.of_all);
        let in_answer = [s.splat(self.unit_powers[0]), s.splat(self.unit_powers[1])];
        if upstream.is_none() && weights.is_none() {
            let has_loss = self.unit != 0;
            return RowFactors { gradient, weight: one, in_total: one, in_answer, has_loss };
        }
        let is_moderate = self.first_lift == 0
            && self.rows_exponent == 0
            && upstream.is_none_or(|upstream| are_moderate(s, take(s, upstream)));
        if !is_moderate {
            return self.one_by_one(upstream, weights).load(s);
        }
        let weight = weights.map_or(one, |weights| take(s, weights));
        if let Some(upstream) = upstream {
            gradient.first = s.mul(gradient.first, take(s, upstream));
        }
        if weights.is_some() {
            gradient.first = s.mul(gradient.first, weight);
        }
        RowFactors { gradient, weight, in_total: one, in_answer, has_loss: true }
    }

    /// Of one row.
    pub(crate) fn of_row(&self, upstream: Option<T>, weight: Option<T>) -> RowFactors<T> {
        let mut factor = self.factor;
        for x in [upstream, weight].into_iter().flatten() {
            factor = factor.times(Scaled::of(x));
        }
        let gradient = RowScale::of(factor, self.first_lift);
        match weight.map(Scaled::of) {
            Some(Scaled { mantissa, exponent }) if self.rows_exponent != 0 => RowFactors {
                gradient,
                weight: mantissa,
                in_total: scaled::scale(T::ONE, exponent - self.rows_exponent),
                in_answer: scaled::powers(exponent + self.unit),
                has_loss: true,
            },
            _ => {
                let weight = weight.unwrap_or(T::ONE);
                let in_answer = self.unit_powers;
                RowFactors { gradient, weight, in_total: T::ONE, in_answer, has_loss: true }
            }
        }
    }

    #[inline(never)]
    fn one_by_one(&self, upstream: Option<&[T]>, weights: Option<&[T]>) -> RowFactors<T::Block> {
        let zero = T::Block::default();
        let gradient = RowScale { first: zero, last: [zero; 2], has_two: true };
        let mut to =
            RowFactors { gradient, weight: zero, in_total: zero, in_answer: [zero; 2], has_loss: true };
        let count = upstream.or(weights).map_or(0, <[T]>::len);
        for lane in 0..count.min(T::LANES) {
            let row = self.of_row(upstream.map(|all| all[lane]), weights.map(|all| all[lane]));
            for (to, x) in to.parts_mut().into_iter().zip(row.parts()) {
                to.as_mut()[lane] = x;
            }
        }
        to
    }
}

impl<V: Copy> RowFactors<V> {
    fn parts(&self) -> [V; 7] {
        let RowFactors { gradient, weight, in_total, in_answer: [c, d], .. } = *self;
        let RowScale { first, last: [a, b], .. } = gradient;
        [first, a, b, weight, in_total, c, d]
    }

    fn parts_mut(&mut self) -> [&mut V; 7] {
        let RowFactors { gradient, weight, in_total, in_answer: [c, d], .. } = self;
        let RowScale { first, last: [a, b], .. } = gradient;
        [first, a, b, weight, in_total, c, d]
    }
}

impl<B> RowFactors<B> {
    #[inline(always)]
    fn load<T: Float<Block = B>, S: Simd<T>>(&self, s: S) -> RowFactors<S::V> {
        let RowFactors { gradient, weight, in_total, in_answer, .. } = self;
        let last = [s.load(&gradient.last[0]), s.load(&gradient.last[1])];
        RowFactors {
            gradient: RowScale { first: s.load(&gradient.first), last, has_two: true },
            weight: s.load(weight),
            in_total: s.load(in_total),
            in_answer: [s.load(&in_answer[0]), s.load(&in_answer[1])],
            has_loss: true,
        }
    }
}

impl<V: Copy> RowFactors<V> {
    /// What is added up of rows' losses, and what is answered.
    #[inline(always)]
    pub(crate) fn losses<T: Float, S: Simd<T, V = V>>(&self, s: S, loss: V) -> [V; 2] {
        if !self.has_loss {
            return [loss; 2];
        }
        let loss = s.mul(loss, self.weight);
        [s.mul(loss, self.in_total), s.mul(s.mul(loss, self.in_answer[0]), self.in_answer[1])]
    }
}

/// [`is_moderate`], of all lanes.
#[inline(always)]
fn are_moderate<T: Float, S: Simd<T>>(s: S, x: S::V) -> bool {
    let (zero, size) = (s.splat(T::ZERO), s.abs(x));
    let (least, most) = (s.splat(scaled::scale(T::ONE, -20)), s.splat(scaled::scale(T::ONE, 21)));
    let size = s.select(s.eq(x, zero), least, size);
    s.bits(s.and(s.ge(size, least), s.gt(most, size))) == (1u64 << T::LANES).wrapping_sub(1) as u32
}
