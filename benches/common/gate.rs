//! Whether a speedup has been lost: pure functions of numbers, so that they can be tested on made-up ones.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, DiscreteCDF};

/// A median and an interval that holds the true one with 95 % confidence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
        let below = Binomial::new(0.5, n as u64).expect("1/2 is a probability");
        let at = (below.inverse_cdf(0.025) as usize).saturating_sub(1);
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

/// A ratio that is better when larger, as it once was.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Recorded {
    #[serde(flatten)]
    pub ratio: Interval,
    /// The part of the ratio that may be missing before anything is said.
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
