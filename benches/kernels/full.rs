//! `cargo bench -- --full`: criterion, on every case, level and number of threads.

use crate::common::limits::Stores;
use crate::common::{Case, Side, pool, thread_counts};
use criterion::{Criterion, Throughput};
use gradix::Level;
use std::time::Duration;

/// For each case the plain loop, the reference and the limit with either stores, then gradix at every level and number of
/// threads, each asserted to be equal before it is timed. Ids are `op/dtype/shape/level/threads`. A reference that would
/// take long is timed on a part of the case, its time scaled, and its id says so.
pub fn measure(cases: &[Case]) {
    let criterion = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(200));
    let mut criterion = criterion.measurement_time(Duration::from_millis(800));
    for case in cases {
        let mut work = (case.make)();
        let mut group = criterion.benchmark_group(case.id());
        group.throughput(Throughput::Bytes(case.bytes as u64));
        let mut row = |name: &str, side: Side, level: Level, threads: usize| {
            let pool = pool(threads);
            let part = case.part.as_ref().filter(|_| side == Side::Reference);
            let (share, mut part) = (part.map_or(1.0, |part| part.share), part.map(|part| (part.make)()));
            let mut equal = false;
            group.bench_function(format!("{name}/{threads}"), |bencher| {
                let work = part.as_deref_mut().unwrap_or(&mut *work);
                bencher.iter_custom(|calls| {
                    let timed = || {
                        if !std::mem::replace(&mut equal, true) {
                            work.assert_equal(if side == Side::Reference { side } else { Side::Loop });
                        }
                        let start = std::time::Instant::now();
                        (0..calls).for_each(|_| work.run(side));
                        start.elapsed()
                    };
                    let took = pool.install(|| level.run(timed)).expect("an available level");
                    took.div_f64(share)
                });
            });
        };
        let best = Level::detected();
        row("loop", Side::Loop, best, 1);
        let scaled = if case.part.is_some() { "reference, of a part, scaled" } else { "reference" };
        row(scaled, Side::Reference, best, 1);
        for threads in thread_counts() {
            row(case.limit, Side::Limit(Stores::Plain), best, threads);
            row(&format!("{}, streaming", case.limit), Side::Limit(Stores::Streaming), best, threads);
            for &level in Level::available() {
                row(level.name(), Side::Gradix, level, threads);
            }
        }
    }
    criterion.final_summary();
}
