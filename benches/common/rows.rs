//! The body of every criterion file.

use crate::common::{Case, Side, pool, thread_counts};
use criterion::{Criterion, Throughput};
use gradix::Level;
use std::time::{Duration, Instant};

/// For each case the textbook loop, the reference and the limit, then gradix at every level and thread count, each asserted to
/// be equal before it is timed. Ids are `op/dtype/shape/level/threads`; `-- FILTER` picks some.
pub fn measure(cases: &[Case]) {
    // There are many rows; the command line can ask for more.
    let quick = Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(200));
    let mut criterion = quick.measurement_time(Duration::from_millis(800)).configure_from_args();
    for case in cases {
        let mut work = None; // made when a row is asked for that uses it
        let mut group = criterion.benchmark_group(case.id());
        group.throughput(Throughput::Bytes(case.bytes as u64));
        let mut row = |name: &str, side: Side, level: Level, threads: usize| {
            let pool = pool(threads);
            let mut equal = false;
            group.bench_function(format!("{name}/{threads}"), |bencher| {
                let work = work.get_or_insert_with(&case.make);
                bencher.iter_custom(|calls| {
                    let timed = || {
                        if !std::mem::replace(&mut equal, true) {
                            work.assert_equal(Side::Reference);
                            work.assert_equal(Side::Textbook);
                        }
                        let start = Instant::now();
                        (0..calls).for_each(|_| work.run(side));
                        start.elapsed()
                    };
                    pool.install(|| level.run(timed)).expect("an available level")
                });
            });
        };
        row("textbook", Side::Textbook, Level::detected(), 1);
        row("reference", Side::Reference, Level::detected(), 1);
        for threads in thread_counts() {
            row(case.limit, Side::Limit, Level::detected(), threads);
            for &level in Level::available() {
                row(level.name(), Side::Gradix, level, threads);
            }
        }
    }
    criterion.final_summary();
}
