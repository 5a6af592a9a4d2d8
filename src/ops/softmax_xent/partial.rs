//! Rows whose classes live on several machines: what each sends, and how two of them join.

use super::math::{Shift, shift_of_partials};
use crate::simd::scaled;
use crate::simd::slices::stored;
use crate::simd::{Float, Kernel, Level, Simd, exp};

/// What one part of a row's classes contributes to its softmax: the numbers that a vocabulary split over ranks
/// exchanges per row, and that [`SoftmaxXent::forward`](crate::SoftmaxXent::forward) keeps for a later backward pass.
///
/// More than a log-sum-exp: the target is kept apart from the others, so that no digit is lost when the target's
/// probability goes to 1. With the feature `bytemuck` it is `Pod`: a list of them is the bytes of a message.
///
/// ```
/// use gradix::{Partial, SoftmaxXent, View};
/// let row = [1.0, 2.0, 3.0, 4.0_f32];
/// let whole = SoftmaxXent::new().forward(View::new(&row, &[1, 4])?, &[2])?;
/// let left = SoftmaxXent::new().shard(0, 4).partials(View::new(&row[..2], &[1, 2])?, &[2])?;
/// let right = SoftmaxXent::new().shard(2, 4).partials(View::new(&row[2..], &[1, 2])?, &[2])?;
/// let merged = left[0].merge(right[0]);
/// assert!((merged.lse() - whole.lse[0]).abs() < 1e-6);
/// # Ok::<(), gradix::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
#[repr(C)]
pub struct Partial<T> {
    /// The largest logit, the target's included; −∞ where there are no classes; NaN where `others` is.
    pub max: T,
    /// The sum over all classes but the target of 2^(x·log₂e − k), where k = round(max·log₂e) − 60, ties to
    /// even (of 2^60·e^(x − max) where |max| > 2²⁰); for `f64` 400 takes the place of 60 and 2⁴⁹ that of 2²⁰.
    /// The power of two keeps the sum a normal number below a target that leads by far.
    pub others: T,
    /// The target's logit; −∞ where it is none of these classes.
    pub target: T,
    /// With label smoothing, Σ w_j·(x_j − max)·u over these classes (x_j·u where max is −∞); w_j are the
    /// class weights, and u is a power of two that depends on the number of all classes, or on their weights,
    /// alone. 0 without.
    pub sum: T,
    /// With label smoothing, Σ w_j·u. 0 without.
    pub weight: T,
    /// What the target's logit must reach to be the largest of all, or of equal ones the first.
    pub rival: T,
}

impl<T: Float> Default for Partial<T> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T: Float> From<Partial<T>> for [T; 6] {
    fn from(partial: Partial<T>) -> Self {
        partial.to_array()
    }
}

impl<T: Float> From<[T; 6]> for Partial<T> {
    fn from(numbers: [T; 6]) -> Self {
        Partial::from_array(numbers)
    }
}

impl<T: Float> Partial<T> {
    /// A part without classes: merging it changes nothing.
    ///
    /// ```
    /// # use gradix::Partial;
    /// let some = Partial::from_lse(3.5_f64, 2.0);
    /// assert_eq!(some.merge(Partial::empty()), some);
    /// ```
    pub fn empty() -> Self {
        let (zero, masked) = (T::ZERO, T::NEG_INFINITY);
        Partial { max: masked, others: zero, target: masked, sum: zero, weight: zero, rival: masked }
    }

    /// From a log-sum-exp saved elsewhere and the target's logit. What rounding the log-sum-exp has lost stays lost:
    /// probabilities have a relative error of |lse|·ε.
    ///
    /// ```
    /// # use gradix::Partial;
    /// assert!((Partial::from_lse(3.5_f64, 2.0).lse() - 3.5).abs() < 1e-14);
    /// ```
    pub fn from_lse(lse: T, target: T) -> Self {
        struct FromLse<T>(T, T);
        impl<T: Float> Kernel<T> for FromLse<T> {
            type Output = T;
            #[inline(always)]
            fn run<S: Simd<T>>(self, s: S) -> T {
                // Lifted after the exponential: a large exponent would lose the last digits of a small one.
                let shift = Shift::of(s, s.splat(self.0));
                let lift = s.splat(scaled::scale(T::ONE, T::ROW_LIFT));
                let all = s.mul(exp::exp2(s, shift.exponent(s, s.splat(self.0))), lift);
                // The others' share of the whole: 1 − e^(target − lse).
                let t = s.mul(s.sub(s.splat(self.1), s.splat(self.0)), s.splat(T::LOG2_E));
                let share = s.sub(s.splat(T::ZERO), exp::exp2_m1(s, t));
                stored(s, shift_of_partials(s, s.mul(all, share), s.splat(self.0), T::ONE)).as_ref()[0]
            }
        }
        Partial {
            max: lse,
            others: T::dispatch(Level::detected(), FromLse(lse, target)),
            target,
            ..Self::empty()
        }
    }

    /// The part of both. The order in which three or more are merged may change the last bit of `others`.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        struct Merge<T>([Partial<T>; 2]);
        impl<T: Float> Kernel<T> for Merge<T> {
            type Output = T;
            #[inline(always)]
            fn run<S: Simd<T>>(self, s: S) -> T {
                let [a, b] = self.0;
                let [a_max, b_max] = [s.splat(a.max), s.splat(b.max)];
                let max = s.max(a_max, b_max);
                let to = Shift::of_row(s, max);
                // As a chunk's, so that nothing is lost below a maximum that is far above.
                let down = s.splat(scaled::scale(T::ONE, T::CHUNK_LIFT - T::ROW_LIFT));
                let [a, b] = [(a.others, a_max), (b.others, b_max)].map(
                    #[inline(always)]
                    |(others, max)| {
                        let others = shift_of_partials(s, s.splat(others), max, -T::ONE);
                        s.mul(s.mul(others, down), Shift::of_chunk(s, max).factor(s, to))
                    },
                );
                stored(s, shift_of_partials(s, s.add(a, b), max, T::ONE)).as_ref()[0]
            }
        }
        // A NaN on either side stays: a row with one is no number as a whole.
        let larger = |a: T, b: T| if a > b || a.is_nan() { a } else { b };
        let max = larger(self.max, other.max);
        // Halves, so that no difference overflows; `weight` is at most a quarter.
        let half = |max: T| if max == T::NEG_INFINITY { T::ZERO } else { max * T::from_f64(0.5) };
        let moved = |part: Self| (half(part.max) - half(max)).mul_add(part.weight + part.weight, part.sum);
        Partial {
            max,
            others: T::dispatch(Level::detected(), Merge([self, other])),
            target: larger(self.target, other.target),
            sum: moved(self) + moved(other),
            weight: self.weight + other.weight,
            rival: larger(self.rival, other.rival),
        }
    }

    /// The numbers, for a message: max, others, target, sum, weight, rival.
    ///
    /// ```
    /// # use gradix::Partial;
    /// let partial = Partial::from_lse(3.5_f64, 2.0);
    /// assert_eq!(Partial::from_array(partial.to_array()), partial);
    /// ```
    pub fn to_array(self) -> [T; 6] {
        let Partial { max, others, target, sum, weight, rival } = self;
        [max, others, target, sum, weight, rival]
    }

    /// What [`Partial::to_array`] was made of.
    pub fn from_array([max, others, target, sum, weight, rival]: [T; 6]) -> Self {
        Partial { max, others, target, sum, weight, rival }
    }

    /// The logarithm of the sum of all exponentials.
    pub fn lse(self) -> T {
        struct Lse<T>(Partial<T>);
        impl<T: Float> Kernel<T> for Lse<T> {
            type Output = T;
            #[inline(always)]
            fn run<S: Simd<T>>(self, s: S) -> T {
                let sums = super::math::RowStats::of(s, &[self.0], &[0]).0;
                stored(s, super::math::LogSumExp::of(s, &sums).lse(s)).as_ref()[0]
            }
        }
        T::dispatch(Level::detected(), Lse(self))
    }
}

#[cfg(feature = "bytemuck")]
#[allow(unsafe_code)]
mod pod {
    use super::Partial;
    use bytemuck::{Pod, Zeroable};

    // SAFETY: six numbers of a type whose zero bits are a value.
    unsafe impl<T: Zeroable> Zeroable for Partial<T> {}
    // SAFETY: six numbers of one type, one after the other (`repr(C)`), so that there is no padding between or behind
    // them; each of them may have any bits, and holds no reference.
    unsafe impl<T: Pod> Pod for Partial<T> {}

    #[cfg(test)]
    #[test]
    fn partials_are_their_numbers_as_bytes() {
        let partials = [Partial::from_lse(3.5_f64, 2.0), Partial::empty()];
        let numbers: &[f64] = bytemuck::cast_slice(&partials);
        assert_eq!(numbers, partials.map(Partial::to_array).concat());
        let bytes = bytemuck::bytes_of(&partials);
        assert_eq!(bytes.len(), 2 * 6 * 8);
        assert_eq!(bytemuck::pod_read_unaligned::<[Partial<f64>; 2]>(bytes), partials);
    }
}
