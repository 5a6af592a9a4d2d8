//! `cargo bench --bench parallel`: one thread against all, as a program calls: from outside the pool after 4 ms of serial
//! work, as a training loop does; from outside, one call after the other; and both from inside the pool. Every operation,
//! from the smallest sizes to memory.
//!
//! ```text
//! cargo bench --bench parallel                 measure and print
//! cargo bench --bench parallel -- --quick      sizes that differ by 64 times instead of 4
//! cargo bench --bench parallel -- --check      exit 1 where all threads are slower than one
//! cargo bench --bench parallel -- --record     keep it as results/<machine>/parallel.json
//! cargo bench --bench parallel -- softmax      only operations whose name contains this
//! ```
//!
//! One thread is a pool of one, in which the same calls are made in the same way. All is rayon's global pool from outside,
//! and a pool of as many threads as there are CPUs from inside. The two alternate. Where all seem slower, they are measured
//! again, and only what is found twice counts.

mod common;

use clap::{Arg, ArgAction, Command};
use common::data::Order;
use common::machine::{Machine, Made};
use common::paired::{Rounds, StopRule, timed};
use common::record::{Parallel, Shared, Way, save};
use common::tables::table;
use common::work::gather::{self, Gather};
use common::work::scatter::Scatter;
use common::work::select::{self, Select};
use common::work::softmax_xent::{self, Xent};
use common::{Side, Work, pool};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::ThreadPool;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// For one way of calling.
const STOP: StopRule = StopRule { rounds: 25, width: 0.03, budget: Duration::from_millis(400) };
/// The time of the caller's work before a call, and how many such calls are timed at once.
const SERIAL: Duration = Duration::from_millis(4);
const CALLS: u32 = 2;
/// The most elements: 64 MiB of `f32`, beyond the caches.
const MOST: usize = 16 << 20;
/// The fewest elements.
const LEAST: usize = 8;
/// The elements of a row, and the columns of a matrix.
const WIDTH: usize = 64;

/// An operation: its name, how many elements there are at least, and its work on so many.
type Operation = (String, usize, Box<dyn Fn(usize) -> Box<dyn Work>>);

fn operation<W: Work>(name: &str, least: usize, make: impl Fn(usize) -> W + 'static) -> Operation {
    (name.to_string(), least, Box::new(move |elements| Box::new(make(elements))))
}

fn operations() -> Vec<Operation> {
    use gather::Form::{Columns, Elements, Pick, Rows};
    use select::Form::{Indices, Pairs, SparsifyWith, TopKThreshold, Values};
    let gather = |name, form, width, count: fn(usize) -> usize| {
        operation(name, width, move |n| Gather::<f32>::new(form, n / width, width, count(n), Order::Random))
    };
    let scatter = |name, width: usize| {
        operation(name, width.max(LEAST), move |n| {
            Scatter::<f32>::new(n / width, width, n / width, Order::Random)
        })
    };
    let select = |name, form, hits| operation(name, LEAST, move |n| Select::<f32>::new(form, n, hits, false));
    let xent = |form, what: &str, classes: usize| {
        let name = format!("softmax_xent, {classes} classes{what}");
        operation(&name, classes, move |n| Xent::<f32>::new(form, n / classes, classes))
    };
    let mut operations = vec![
        operation("take", LEAST, |n| Gather::<f32>::new(Elements, 1, n, n, Order::Random)),
        gather("take_axis, rows of 64", Rows, WIDTH, |n| n / WIDTH),
        gather("take_axis, 16 columns of 64", Columns, WIDTH, |_| 16),
        gather("pick of 64", Pick, WIDTH, |n| n / WIDTH),
        scatter("scatter_add", 1),
        scatter("scatter_add_axis, rows of 64", WIDTH),
        select("indices, 1 %", Indices, 0.01),
        select("indices, 50 %", Indices, 0.5),
        select("indices, 99 %", Indices, 0.99),
        select("values, 50 %", Values, 0.5),
        select("pairs, 1 %", Pairs, 0.01),
        select("sparsify_with, 1 %", SparsifyWith, 0.01),
        select("top_k_threshold, 1 %", TopKThreshold, 0.01),
    ];
    let plain = |classes| xent(softmax_xent::Form::Plain, "", classes);
    operations.extend([10, 100, 151, 1000, 32_000, 128_256].map(plain));
    operations.push(xent(softmax_xent::Form::InPlace, " in place", 1000));
    operations.push(xent(softmax_xent::Form::Options, " with options", 1000));
    operations
}

fn main() -> ExitCode {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let arguments = Command::new("parallel")
        .about("Measures one thread against all, as a program calls")
        .arg(Arg::new("filter").help("Only operations whose name contains this"))
        .arg(flag("quick", "Fewer sizes"))
        .arg(flag("check", "Exit with 1 where all threads are slower than one"))
        .arg(flag("record", "Keep the figures in results/<machine>/").conflicts_with_all(["filter", "quick"]))
        .arg(flag("bench", "Passed by cargo").hide(true))
        .get_matches();
    let filter = arguments.get_one::<String>("filter").map_or("", |filter| filter);
    let step = if arguments.get_flag("quick") { 64 } else { 4 };

    let mut parallel = Parallel { machine: Machine::here(), made: Made::now(), ..Parallel::default() };
    let operations: Vec<Operation> = operations().into_iter().filter(|op| op.0.contains(filter)).collect();
    let sizes =
        |least: usize| std::iter::successors(Some(least), |n| Some(step * n)).take_while(|&n| n <= MOST);
    let bar = ProgressBar::new(operations.iter().map(|&(_, least, _)| sizes(least).count() as u64).sum());
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}").expect("a template"));
    let pools = [pool(1), pool(num_cpus::get())];
    for (op, least, make) in &operations {
        for elements in sizes(*least) {
            bar.set_message(format!("{op} of {elements}"));
            let mut work = make(elements);
            assert_same_answer(op, elements, &mut *work, &pools);
            for way in Way::ALL {
                let mut shared = one_and_all(op, elements, way, &mut *work, &pools);
                if shared.is_slower() {
                    let again = one_and_all(op, elements, way, &mut *work, &pools);
                    if again.ratio.median > shared.ratio.median {
                        shared = again;
                    }
                }
                parallel.rows.push(shared);
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    print(&parallel.rows);
    if arguments.get_flag("record") {
        println!("kept in {}", save(&parallel.machine.name, "parallel.json", &parallel).display());
    }
    let slower: Vec<String> = (parallel.rows.iter().filter(|row| row.is_slower()))
        .map(|row| format!("{} of {}, {} ({:.2}x)", row.op, row.elements, row.way.name(), row.ratio.median))
        .collect();
    if slower.is_empty() {
        println!("All threads are nowhere slower than one.");
        return ExitCode::SUCCESS;
    }
    println!(
        "SLOWER on all threads in {} of {} rows:\n{}",
        slower.len(),
        parallel.rows.len(),
        slower.join("\n")
    );
    if arguments.get_flag("check") { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn assert_same_answer(op: &str, elements: usize, work: &mut dyn Work, pools: &[ThreadPool; 2]) {
    let [one, all] = pools.each_ref().map(|pool| pool.install(|| work.answer(Side::Gradix)));
    assert!(one == all, "{op} of {elements} answers differently on more threads");
}

/// One thread and as many as there are CPUs, alternating, called in this way.
fn one_and_all(op: &str, elements: usize, way: Way, work: &mut dyn Work, pools: &[ThreadPool; 2]) -> Shared {
    let rounds = Rounds::timed(&[0, 1], &[(0, 1)], STOP, |side: usize, calls| {
        let outside = matches!(way, Way::Outside | Way::OutsideAfterWork);
        let after_work = matches!(way, Way::InsideAfterWork | Way::OutsideAfterWork);
        let mut calls_in_this_way = || {
            work.run(Side::Gradix); // so that the data are in this core's cache
            if after_work {
                after_serial_work(calls, || work.run(Side::Gradix))
            } else {
                timed(calls, || work.run(Side::Gradix))
            }
        };
        if side == 1 && outside { calls_in_this_way() } else { pools[side].install(calls_in_this_way) }
    });
    Shared {
        op: op.to_string(),
        elements,
        way,
        one_seconds: rounds.seconds(0),
        all_seconds: rounds.seconds(1),
        ratio: rounds.ratio(0, 1),
    }
}

/// The time of so many calls, though of no more than [`CALLS`] in fact, each after serial work.
fn after_serial_work(calls: u32, mut call: impl FnMut()) -> Duration {
    let some = calls.min(CALLS);
    let mut took = Duration::ZERO;
    for _ in 0..some {
        work_alone();
        took += timed(1, &mut call);
    }
    took * calls / some
}

/// Arithmetic on the calling thread.
fn work_alone() {
    let begin = Instant::now();
    let mut x = 1.0f64;
    while begin.elapsed() < SERIAL {
        for _ in 0..1000 {
            x = black_box(x * 1.000_000_1 + 1e-9);
        }
    }
}

fn print(rows: &[Shared]) {
    let mut header = vec!["operation", "elements", "one thread, us"];
    let names = Way::ALL.map(|way| format!("{}, us", way.name()));
    names.iter().for_each(|name| header.extend([name.as_str(), "ratio"]));
    let mut table = table(&header, 1);
    for ways in rows.chunks(Way::ALL.len()) {
        let us = |seconds: f64| format!("{:.2}", seconds * 1e6);
        let mut cells =
            vec![ways[0].op.clone(), ways[0].elements.to_string(), us(ways[0].one_seconds.median)];
        for row in ways {
            cells.extend([us(row.all_seconds.median), format!("{:.2}", row.ratio.median)]);
        }
        table.add_row(cells);
    }
    println!("{table}");
}
