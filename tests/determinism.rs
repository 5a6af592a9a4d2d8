//! The same bits every time, while other threads keep the machine busy.

mod common;

use common::jobs::{Jobs, NAMES};
use gradix::Level;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Every job so often, at every level, in pools of several sizes, beside threads that do the same to other data.
fn repeat(len: usize, repetitions: usize) {
    let jobs = Jobs::new(len);
    let stop = AtomicBool::new(false);
    let pools = [1, 2, 5].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("threads"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let others = Jobs::new(50_000);
            while !stop.load(Relaxed) {
                others.run_all(Level::detected());
            }
        });
        for &level in Level::available() {
            let expected = pools[0].install(|| jobs.run_all(level));
            for i in 0..repetitions {
                let found = pools[i % pools.len()].install(|| jobs.run_all(level));
                for ((name, found), expected) in NAMES.iter().zip(&found).zip(&expected) {
                    // The scope waits for the thread, so it must end even where the test fails.
                    stop.fetch_or(found != expected, Relaxed);
                    assert_eq!(found, expected, "{name} at {level}, repetition {i}");
                }
            }
        }
        stop.store(true, Relaxed);
    });
}

#[test]
fn a_few_repetitions_give_one_hash() {
    repeat(300_000, 6);
}

/// `cargo test --release --test determinism -- --ignored`
#[test]
#[ignore = "takes minutes"]
fn a_thousand_repetitions_give_one_hash() {
    repeat(300_000, 1000);
}
