//! Wherever it is called from, and however often: the same right answers, no deadlock, nothing left behind by a panic.

mod common;

use common::jobs::{Jobs, NAMES};
use gradix::Level;
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::Duration;

/// Runs `f` and ends the process, with this test's name, where that takes five minutes.
fn watched(name: &'static str, f: impl FnOnce()) {
    let (done, wait) = mpsc::channel::<()>();
    let dog = std::thread::spawn(move || {
        if wait.recv_timeout(Duration::from_secs(300)) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{name}: no end in sight");
            std::process::abort();
        }
    });
    f();
    drop(done);
    dog.join().expect("the watchdog");
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads")
}

/// The answers of one thread.
fn expected(jobs: &Jobs) -> Vec<Vec<u64>> {
    pool(1).install(|| Level::available().iter().map(|&level| jobs.run_all(level)).collect())
}

fn check(jobs: &Jobs, expected: &[Vec<u64>]) {
    for (&level, expected) in Level::available().iter().zip(expected) {
        assert_eq!(&jobs.run_all(level), expected, "{level}, of {NAMES:?}");
    }
}

#[test]
fn from_many_threads_at_once() {
    let jobs = Jobs::new(300_000);
    let expected = expected(&jobs);
    watched("many threads", || {
        std::thread::scope(|scope| (0..12).for_each(|_| drop(scope.spawn(|| check(&jobs, &expected)))));
    });
}

#[test]
fn from_inside_rayon_tasks() {
    let jobs = Jobs::new(300_000);
    let expected = expected(&jobs);
    watched("rayon tasks", || {
        (0..8).into_par_iter().for_each(|_| check(&jobs, &expected));
        pool(3).install(|| rayon::join(|| check(&jobs, &expected), || check(&jobs, &expected)));
        pool(2).scope(|scope| (0..4).for_each(|_| scope.spawn(|_| check(&jobs, &expected))));
    });
}

#[test]
fn from_inside_a_pool_of_one() {
    let jobs = Jobs::new(300_000);
    let expected = expected(&jobs);
    watched("a pool of one", || {
        let one = pool(1);
        one.install(|| (0..3).into_par_iter().for_each(|_| check(&jobs, &expected)));
        one.install(|| pool(2).install(|| check(&jobs, &expected)));
    });
}

#[test]
fn from_a_thread_with_a_small_stack() {
    let jobs = Jobs::new(300_000);
    let expected = expected(&jobs);
    let small = || std::thread::Builder::new().stack_size(64 << 10);
    watched("a small stack", || {
        std::thread::scope(|scope| {
            small().spawn_scoped(scope, || check(&jobs, &expected)).expect("a thread").join().expect("room");
            // And where no other thread helps: all of the work is done there.
            let one = rayon::ThreadPoolBuilder::new().num_threads(1).stack_size(64 << 10);
            one.build().expect("a thread").install(|| check(&jobs, &expected));
        });
    });
}

#[test]
fn beside_tasks_that_panic() {
    let jobs = Jobs::new(300_000);
    let expected = expected(&jobs);
    watched("a panic beside", || {
        for threads in [1, 2, 5] {
            let pool = pool(threads);
            for _ in 0..3 {
                let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    pool.install(|| {
                        rayon::join(
                            || check(&jobs, &expected),
                            || std::panic::resume_unwind(Box::new("on purpose")),
                        )
                    })
                }));
                let payload = unwound.map(|_: ((), ())| ()).expect_err("a panic");
                assert_eq!(payload.downcast_ref::<&str>(), Some(&"on purpose"));
            }
            pool.install(|| check(&jobs, &expected));
        }
    });
}

/// What a panic leaves behind where the caller's own level was forced.
#[test]
fn a_panic_inside_a_level_leaves_none_forced() {
    let jobs = Jobs::new(5_000);
    let before = Level::current();
    for &level in Level::available() {
        let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            level.run(|| {
                jobs.run(7);
                std::panic::resume_unwind(Box::new("on purpose"))
            })
        }));
        assert!(unwound.is_err());
        assert_eq!(Level::current(), before);
        jobs.run(7);
    }
}

/// Every job so often, at every level, in pools of several sizes, beside threads that do the same to other data.
fn repeat(len: usize, repetitions: usize) {
    let jobs = Jobs::new(len);
    let stop = AtomicBool::new(false);
    let pools = [1, 2, 5].map(pool);
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

/// `cargo test --release --test concurrency -- --ignored`
#[test]
#[ignore = "takes minutes"]
fn a_thousand_repetitions_give_one_hash() {
    repeat(300_000, 1000);
}
