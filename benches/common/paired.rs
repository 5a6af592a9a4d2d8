//! Paired timing. A machine that is shared with others is slow for seconds at a time, but what is timed within a few
//! milliseconds meets the same conditions. So the sides alternate (A B C, C B A, A B C, …), and ratios are taken within a
//! round.

use super::gate::Interval;
use std::time::{Duration, Instant};

/// The seconds per call of each side, round by round.
pub struct Rounds<S> {
    sides: Vec<S>,
    seconds: Vec<Vec<f64>>,
}

/// When to stop.
#[derive(Clone, Copy)]
pub struct StopRule {
    /// Not before this many rounds.
    pub rounds: usize,
    /// Then as soon as every ratio's interval is narrower than this, relative to its median,
    pub width: f64,
    /// or this much time has gone.
    pub budget: Duration,
}

/// The shortest time that is measured at once: many times what reading the clock takes.
const SHORTEST: Duration = Duration::from_micros(200);

/// The time of a first call that is measured alone, whatever of it the next ones save.
const LONG: Duration = Duration::from_millis(200);

/// The time that so many calls take.
pub fn timed(calls: u32, mut call: impl FnMut()) -> Duration {
    let start = Instant::now();
    (0..calls).for_each(|_| call());
    start.elapsed()
}

/// The fewest rounds, even when the budget is used up.
const FEWEST: usize = 3;

impl<S: Copy + PartialEq> Rounds<S> {
    /// Times the sides, alternating, until the ratios of these pairs are known well enough.
    pub fn run(sides: &[S], pairs: &[(S, S)], stop: StopRule, mut call: impl FnMut(S)) -> Self {
        Self::timed(sides, pairs, stop, |side, calls| timed(calls, || call(side)))
    }

    /// As [`Rounds::run`], where the caller times so many calls itself.
    pub fn timed(
        sides: &[S],
        pairs: &[(S, S)],
        stop: StopRule,
        mut timed: impl FnMut(S, u32) -> Duration,
    ) -> Self {
        let begin = Instant::now();
        let mut seconds_of = |side: S, calls: u32| timed(side, calls).as_secs_f64() / f64::from(calls);
        let calls: Vec<u32> = (sides.iter())
            .map(|&side| {
                let first = seconds_of(side, 1);
                if first > LONG.as_secs_f64() {
                    return 1;
                }
                let first = first.min(seconds_of(side, 1));
                let guess = (SHORTEST.as_secs_f64() / first.max(1e-9)).clamp(1.0, 1e6) as u32;
                (SHORTEST.as_secs_f64() / seconds_of(side, guess).max(1e-9)).clamp(1.0, 1e6) as u32
            })
            .collect();
        let mut rounds = Rounds { sides: sides.to_vec(), seconds: vec![Vec::new(); sides.len()] };
        for round in 1.. {
            let mut order: Vec<usize> = (0..sides.len()).collect();
            if round % 2 == 0 {
                order.reverse();
            }
            for i in order {
                rounds.seconds[i].push(seconds_of(sides[i], calls[i]));
            }
            let known = || pairs.iter().all(|&(slow, fast)| rounds.ratio(slow, fast).width() < stop.width);
            let late = begin.elapsed() > stop.budget && round >= FEWEST;
            if late || round >= stop.rounds && round % 4 == 0 && known() {
                break;
            }
        }
        rounds
    }

    /// How often `slow` takes as long as `fast`: the median over the rounds.
    pub fn ratio(&self, slow: S, fast: S) -> Interval {
        let ratios: Vec<f64> = self.of(slow).iter().zip(self.of(fast)).map(|(a, b)| a / b).collect();
        Interval::of_median(&ratios)
    }

    /// The seconds that one call takes.
    pub fn seconds(&self, side: S) -> Interval {
        Interval::of_median(self.of(side))
    }

    /// The one of two sides that takes less time.
    pub fn quicker(&self, a: S, b: S) -> S {
        if self.seconds(a).median <= self.seconds(b).median { a } else { b }
    }

    /// How many rounds there were.
    pub fn len(&self) -> usize {
        self.seconds[0].len()
    }

    fn of(&self, side: S) -> &[f64] {
        let at = self.sides.iter().position(|&s| s == side).expect("a side that took part");
        &self.seconds[at]
    }
}
