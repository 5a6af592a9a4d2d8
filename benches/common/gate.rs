//! Whether a speedup has been lost: pure functions of numbers, so that they can be tested on made-up ones. This file
//! depends on nothing, so that the crate's tests can include it.

/// A median and an interval that holds the true one with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Interval {
    /// From independent samples, by order statistics: the number of samples below the true median is binomial with
    /// p = 1/2, whatever the distribution. With fewer than six samples no interval has 95 %; then it is their range.
    pub fn of_median(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let Some(last) = n.checked_sub(1) else {
            return Interval { median: f64::NAN, low: f64::NEG_INFINITY, high: f64::INFINITY };
        };
        let at = quantile_of_fair_coins(n, 0.025).saturating_sub(1);
        let median = (sorted[last / 2] + sorted[n / 2]) / 2.0;
        Interval { median, low: sorted[at], high: sorted[last - at] }
    }

    /// The width relative to the median.
    pub fn width(&self) -> f64 {
        (self.high - self.low) / self.median
    }

    /// What several passes say together: the median of their medians, and an interval that covers all of them, since
    /// passes differ by more than the samples within one.
    pub fn of_passes(passes: &[Interval]) -> Self {
        let medians: Vec<f64> = passes.iter().map(|pass| pass.median).collect();
        let low = passes.iter().map(|pass| pass.low).fold(f64::INFINITY, f64::min);
        let high = passes.iter().map(|pass| pass.high).fold(f64::NEG_INFINITY, f64::max);
        Interval { median: Interval::of_median(&medians).median, low, high }
    }
}

/// The least k such that at most k of n fair coins show heads with at least this probability.
fn quantile_of_fair_coins(n: usize, probability: f64) -> usize {
    let mut log = -(n as f64) * 2f64.ln(); // of the probability of exactly k heads
    let mut at_most = log.exp();
    let mut k = 0;
    while at_most < probability && k < n {
        log += ((n - k) as f64 / (k + 1) as f64).ln();
        at_most += log.exp();
        k += 1;
    }
    k
}

/// A ratio that is better when larger, as it once was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recorded {
    pub ratio: Interval,
    /// The part of the ratio that may be missing without failing.
    pub tolerance: f64,
}

/// A ratio may fall by this part of itself without a word.
const TOLERANCE: f64 = 0.1;

impl Recorded {
    /// From passes that were made one after the other. Where they differ by more, more is tolerated.
    pub fn of_passes(passes: &[Interval]) -> Self {
        let medians = passes.iter().map(|pass| pass.median);
        let (low, high) = (medians.clone().fold(f64::INFINITY, f64::min), medians.fold(0.0, f64::max));
        Recorded { ratio: Interval::of_passes(passes), tolerance: TOLERANCE.max((high - low) / high) }
    }
}

/// What has become of a ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    Held,
    /// The part of the recorded ratio that is missing.
    Fell(f64),
}

/// A ratio has fallen when more of it is missing than its tolerance *and* the intervals do not overlap.
pub fn judge(recorded: &Recorded, now: &Interval) -> Verdict {
    let missing = 1.0 - now.median / recorded.ratio.median;
    if missing > recorded.tolerance && now.high < recorded.ratio.low {
        Verdict::Fell(missing)
    } else {
        Verdict::Held
    }
}

/// An operation is as fast as a loop if it takes no more than the loop's time divided by this.
const AS_FAST: f64 = 0.97;

/// Whether an operation is slower than a loop: by the ratio of the loop's time to its own, and by more than a call may cost
/// in seconds.
pub fn is_slower(ratio: f64, difference: f64, door: f64) -> bool {
    ratio < AS_FAST && difference > door
}

/// The geometric mean; NaN of nothing.
pub fn geometric_mean(ratios: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = ratios.fold((0, 0.0), |(count, sum), ratio| (count + 1, sum + ratio.ln()));
    (sum / f64::from(count)).exp()
}
