//! The k-th largest magnitude, by its digits.

use super::predicate::Comparison;
use super::source::Source;
use super::{AbsGt, CHUNK, Nothing, Predicate, Values, collect, count_hits, is_parallel};
use crate::array::View;
use crate::error::{Error, Result};
use crate::parallel::{self, Split};
use crate::simd::{Float, Kernel, Level, Simd};
use std::sync::{Mutex, PoisonError};

/// The number of values of a digit.
const DIGITS: usize = 1 << 11;

/// A count for each value of a digit: on the heap, because callers' stacks may be small.
type Counts = Box<[usize; DIGITS]>;

fn zeros() -> Counts {
    let counts: Box<[usize]> = vec![0; DIGITS].into();
    counts.try_into().expect("as many counts as digits")
}

/// How many elements have each value of the digit of `width` bits that stands at `shift` in [`Float::magnitude_key`].
struct Histogram<'a, T> {
    x: Source<'a, T>,
    shift: u32,
    width: u32,
}

impl<T: Float> Kernel<T> for Histogram<'_, T> {
    type Output = Counts;
    #[inline(always)]
    fn run<S: Simd<T>>(self, _s: S) -> Counts {
        // Two tables, because neighbours often share a digit and one counter's additions wait for each other.
        let (mut even, mut odd) = (zeros(), zeros());
        let mask = ((1 << self.width) - 1) & (DIGITS - 1);
        let digit = |x: T| (x.magnitude_key() >> self.shift) as usize & mask;
        self.x.each(
            #[inline(always)]
            |_, x| {
                let (pairs, last) = x.as_chunks();
                for &[a, b] in pairs {
                    even[digit(a)] += 1;
                    odd[digit(b)] += 1;
                }
                last.iter().for_each(|&x| even[digit(x)] += 1);
            },
        );
        for (even, odd) in even.iter_mut().zip(odd.iter()) {
            *even += odd;
        }
        even
    }
}

fn histogram<T: Float>(level: Level, x: Source<'_, T>, shift: u32, width: u32) -> Counts {
    let total = Mutex::new(zeros());
    let grain = if is_parallel(x.len()) { 8 * CHUNK } else { usize::MAX / 2 };
    parallel::for_each(x, grain, |_, x| {
        let part = T::dispatch(level, Histogram { x, shift, width });
        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
        total.iter_mut().zip(part.iter()).for_each(|(total, part)| *total += part);
    });
    total.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// `low <= |x| && |x| <= high`
#[derive(Clone, Copy)]
struct AbsBetween<T>(T, T);

impl<T> super::predicate::sealed::Sealed for AbsBetween<T> {}

#[allow(private_interfaces, private_bounds)]
impl<T: Float> Predicate<T> for AbsBetween<T> {
    type Kernel = Self;
    fn kernel(self) -> Self {
        self
    }
    fn holds(self, x: T) -> bool {
        self.0 <= x.abs() && x.abs() <= self.1
    }
}

impl<T: Float> Comparison<T> for AbsBetween<T> {
    #[inline(always)]
    fn mask<S: Simd<T>>(self, s: S, x: S::V) -> S::M {
        let x = s.abs(x);
        s.and(s.ge(x, s.splat(self.0)), s.ge(s.splat(self.1), x))
    }
}

/// The elements of a sample, and the fewest of which one is drawn.
const SAMPLE: usize = 16 << 10;
const SAMPLED: usize = 16 * SAMPLE;

/// Two magnitudes between which the one with `rank` larger ones probably is, as far as an evenly spaced sample shows.
fn bracket<T: Float>(x: &[T], rank: usize) -> Option<(T, T)> {
    if x.len() < SAMPLED || rank >= x.len() {
        return None;
    }
    let mut keys: Vec<u64> = x.iter().step_by(x.len() / SAMPLE).map(|x| x.magnitude_key()).collect();
    let share = rank as f64 / x.len() as f64;
    let n = keys.len() as f64;
    // The place in the sample is spread like a count of heads; it is further off than this once in 10⁴ times.
    let margin = 4.0 * (n * share * (1.0 - share)).max(1.0).sqrt() + 1.0;
    let place = share * n;
    let mut at = |place: usize| *keys.select_nth_unstable_by(place, |a, b| b.cmp(a)).1;
    let high = if place < margin { T::INFINITY.magnitude_key() } else { at((place - margin) as usize) };
    let low = if place + margin >= n { 1 } else { at((place + margin) as usize) };
    (high > 0).then(|| (T::from_magnitude_key(low.max(1)), T::from_magnitude_key(high)))
}

/// The `k`-th largest of the magnitudes |x|, counted from 1: the threshold t for which `AbsGe(t)` selects the `k`
/// elements of largest magnitude.
///
/// Ties count each: where several elements have the magnitude t, `AbsGe(t)` selects all of them, so more than `k` if some
/// were not needed, and `AbsGt(t)` fewer than `k`. NaN has no magnitude and is passed over, as every predicate does.
///
/// Exact. The magnitudes' bits are ordered as they are, so the answer is found digit by digit, from the leading 11 bits
/// on: a pass counts how many elements have each value of the digit, which tells the value that the answer has, and
/// the next pass looks only at those elements that share it. Of a long dense input a sample tells first between which
/// magnitudes the answer probably is; one pass counts what is larger, another collects what is between, and if the
/// answer is not among these, all elements are looked at after all. The passes are shared by threads.
///
/// ```
/// use gradix::{AbsGe, Error, select};
/// let grad = [0.1f32, -0.9, f32::NAN, 0.8, 0.8];
/// let t = select::top_k_threshold(&grad, 2)?;
/// assert_eq!(t, 0.8);
/// assert_eq!(select::count(&grad, AbsGe(t))?, 3);
/// assert!(matches!(select::top_k_threshold(&grad, 5), Err(Error::Option { option: "k", .. })));
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// [`Error::Option`] where `k` is 0 or more than there are elements that are not NaN; [`Error::Level`].
pub fn top_k_threshold<'a, T: Float>(x: impl Into<View<'a, T>>, k: usize) -> Result<T> {
    let (level, x) = (Level::current()?, x.into());
    let refused = || Error::Option {
        option: "k",
        value: k.to_string(),
        expected: "between 1 and the number of elements that are not NaN",
    };
    let mut rank = k.checked_sub(1).ok_or_else(refused)?;
    // The elements among which the answer is the one with `rank` larger ones, and the digits that they share.
    let mut narrowed: Option<Vec<T>> = None;
    if let Some((low, high)) = x.as_slice().and_then(|x| bracket(x, rank)) {
        let above = count_hits(level, &Source::new(&x), AbsGt(high).kernel());
        if above <= rank {
            let inside = collect::<T, _, Values, Nothing>(level, &x, AbsBetween(low, high))?.0;
            if rank - above < inside.len() {
                rank -= above;
                narrowed = Some(inside);
            }
        }
    }
    let mut prefix = 0u64;
    let mut shift = T::KEY_BITS;
    while shift > 0 {
        let current = narrowed.as_ref().map_or(x, View::from);
        let width = shift.min(DIGITS.ilog2());
        shift -= width;
        let counts = histogram(level, Source::new(&current), shift, width);
        let digit = counts.iter().rposition(|&n| {
            let found = rank < n;
            rank -= if found { 0 } else { n };
            found
        });
        let digit = digit.ok_or_else(refused)?;
        prefix = prefix << width | digit as u64;
        if counts[digit] < current.len() && shift > 0 {
            let largest = T::INFINITY.magnitude_key();
            let low = T::from_magnitude_key((prefix << shift).clamp(1, largest));
            let high = T::from_magnitude_key(((prefix + 1) << shift).saturating_sub(1).min(largest));
            narrowed = Some(collect::<T, _, Values, Nothing>(level, &current, AbsBetween(low, high))?.0);
        }
    }
    // Key 0: the rank is one of the NaNs'.
    if prefix == 0 { Err(refused()) } else { Ok(T::from_magnitude_key(prefix)) }
}
