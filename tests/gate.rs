//! The gate of `cargo bench --bench speedups`, on made-up samples.

#[allow(dead_code, unreachable_pub)]
#[path = "../benches/common/gate.rs"]
mod gate;

use gate::{Interval, Recorded, Verdict, geometric_mean, is_slower, judge};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const TRIALS: u64 = 1000;
/// The fewest rounds of a pass.
const ROUNDS: usize = 25;

/// The exponential of a normal number with mean 0 and this deviation, by Box and Muller; its median is 1.
fn log_normal(rng: &mut ChaCha8Rng, deviation: f64) -> f64 {
    let (radius, angle) = (rng.random::<f64>(), rng.random::<f64>());
    let normal = (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
    (deviation * normal).exp()
}

/// The ratios of one pass over a machine that others use too: 6 % of noise from round to round, one round in ten
/// disturbed by up to a factor of two on either side, and up to 3 % by which a whole pass is off.
fn pass(rng: &mut ChaCha8Rng, ratio: f64) -> Interval {
    let off = 1.0 + rng.random_range(-0.03..0.03);
    let rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let disturbed = if rng.random_bool(0.1) { rng.random_range(0.5..2.0) } else { 1.0 };
            ratio * off * log_normal(rng, 0.06) * disturbed
        })
        .collect();
    Interval::of_median(&rounds)
}

/// How many of the trials find a loss, when `lost` is what part of the ratio has gone since it was recorded.
fn found(lost: f64) -> usize {
    (0..TRIALS)
        .filter(|&seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let ratio = rng.random_range(0.2..40.0);
            let recorded = Recorded::of_passes(&[0; 3].map(|_| pass(&mut rng, ratio)));
            matches!(judge(&recorded, &pass(&mut rng, ratio * (1.0 - lost))), Verdict::Fell(_))
        })
        .count()
}

#[test]
fn noise_alone_fails_in_at_most_one_of_a_hundred() {
    let found = found(0.0);
    assert!(found <= 10, "{found} of {TRIALS}");
}

#[test]
fn a_loss_of_a_fifth_is_found_in_ninety_nine_of_a_hundred() {
    let found = found(0.2);
    assert!(found >= 990, "{found} of {TRIALS}");
}

#[test]
fn a_gain_never_fails() {
    assert_eq!(found(-0.2), 0);
}

#[test]
fn both_conditions_are_needed() {
    let recorded = |low, high| Recorded { ratio: Interval { median: 10.0, low, high }, tolerance: 0.1 };
    let now = |median, high| Interval { median, low: 0.0, high };
    assert_eq!(judge(&recorded(9.9, 10.1), &now(8.0, 8.5)), Verdict::Fell(0.19999999999999996));
    assert_eq!(judge(&recorded(8.4, 10.1), &now(8.0, 8.5)), Verdict::Held, "the intervals overlap");
    assert_eq!(judge(&recorded(9.9, 10.1), &now(9.1, 9.2)), Verdict::Held, "within the tolerance");
}

#[test]
fn the_interval_holds_the_true_median_in_95_of_a_hundred() {
    for n in [6, 15, 40, 101] {
        let held = (0..TRIALS).filter(|&seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let interval =
                Interval::of_median(&(0..n).map(|_| log_normal(&mut rng, 1.0)).collect::<Vec<_>>());
            (interval.low..=interval.high).contains(&1.0)
        });
        let held = held.count();
        assert!(held >= 935, "{held} of {TRIALS} at {n} samples"); // 950 less two standard deviations of a count
    }
}

#[test]
fn few_samples_and_none() {
    assert_eq!(Interval::of_median(&[2.0]), Interval { median: 2.0, low: 2.0, high: 2.0 });
    assert_eq!(Interval::of_median(&[3.0, 1.0]), Interval { median: 2.0, low: 1.0, high: 3.0 });
    assert!(Interval::of_median(&[]).median.is_nan());
}

#[test]
fn slower_than_the_loop_takes_a_ratio_and_a_difference() {
    let door = 15e-9;
    assert!(is_slower(0.5, 16e-9, door));
    assert!(!is_slower(0.5, 15e-9, door), "no more than a call may cost");
    assert!(!is_slower(0.97, 1.0, door), "as fast, but for noise");
    assert!(!is_slower(2.0, -1.0, door));
    assert!(!is_slower(f64::NAN, f64::NAN, door));
}

#[test]
fn a_geometric_mean_treats_twice_and_half_alike() {
    assert!((geometric_mean([2.0, 0.5].into_iter()) - 1.0).abs() < 1e-15);
    assert!((geometric_mean([1.0, 10.0, 100.0].into_iter()) - 10.0).abs() < 1e-12);
    assert!(geometric_mean(std::iter::empty()).is_nan());
}
