//! The sweep: every operation at shapes that nobody chose, beside the plain loop that a user would write.
//!
//! Several hundred shapes are drawn from a seed: sizes from one element to memory, widths from 1 to 1,024, 2 to 130,000
//! classes, every index type, `f32` and `f64`, densities from none to all, contiguous and strided, in place and not. Both
//! sides give the same answer before they are timed; then they alternate on one thread. The baseline is the quickest of
//! four copies of the loop (see `trials/`).
//!
//! ```text
//! cargo bench --bench sweep                    30 shapes of each operation
//! cargo bench --bench sweep -- --quick         12 of each, within two minutes
//! cargo bench --bench sweep -- --check         exit 1 where an operation is slower than its loop, or has lost speed
//! cargo bench --bench sweep -- --record        keep all of it in results/<machine>/: sweep.json, sweep.md, sweep.svg
//! cargo bench --bench sweep -- --seed 7        other shapes
//! cargo bench --bench sweep -- --filter pick   only operations whose name contains one of these, with commas between
//! ```
//!
//! An operation counts as slower at a shape if it takes more than the loop's time / 0.97 *and* the difference is more than
//! a call may cost beside the loop: 15 ns where all arguments are slices, 30 ns where one is a view. What looks slower is
//! measured again, for longer, and counts only if it is found three times.

mod common;
#[allow(dead_code)] // a part of it is used here
#[path = "common/report/mod.rs"]
mod report;
mod trials;

use clap::{Arg, ArgAction, Command};
use common::gate::geometric_mean;
use common::paired::timed;
use common::record::{Sweep, Swept, load, save};
use common::tables::table;
use common::{gate, machine, record, tables};
use gradix::Level;
use indicatif::{ProgressBar, ProgressStyle};
use machine::{Machine, Made};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use trials::{COPIES, Drawn, Trial};

/// Shapes of each operation, and of each with `--quick`.
const EACH: usize = 30;
const FEW: usize = 12;
/// The most bytes that a shape's arrays have, beyond the caches of most machines; with `--quick`, larger ones are left out.
const MOST: usize = 256 << 20;
const MOST_QUICK: usize = 24 << 20;
/// The shortest time that is measured at once.
const SHORTEST: Duration = Duration::from_micros(60);
/// How often a shape must be found slower.
const CONFIRMATIONS: usize = 3;
/// The part of a geometric mean that may be missing against the record.
const TOLERANCE: f64 = 0.1;

fn main() -> ExitCode {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let value = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
    let arguments = Command::new("sweep")
        .about("Measures gradix at shapes drawn from a seed against plain loops")
        .arg(flag("quick", "Fewer and smaller shapes: two minutes"))
        .arg(flag(
            "check",
            "Exit with 1 where gradix is slower than the loop, or has lost speed since --record",
        ))
        .arg(flag("record", "Keep the figures in results/<machine>/").conflicts_with_all(["check", "quick"]))
        .arg(value("seed", "Draw other shapes").value_parser(clap::value_parser!(u64)).default_value("1"))
        .arg(value("each", "Shapes of each operation").value_parser(clap::value_parser!(usize)))
        .arg(value("filter", "Only operations whose name contains one of these, with commas between"))
        .arg(flag("bench", "Passed by cargo").hide(true))
        .get_matches();
    let quick = arguments.get_flag("quick");
    let seed = *arguments.get_one::<u64>("seed").expect("has a default");
    let each = arguments.get_one::<usize>("each").copied().unwrap_or(if quick { FEW } else { EACH });
    let filter = arguments.get_one::<String>("filter").cloned().unwrap_or_default();

    let machine = Machine::here();
    let level = Level::current().expect("GRADIX_LEVEL names a level of this CPU");
    println!("{}, one thread, level {level}, seed {seed}", machine.cpu);
    let mut drawn = draw(seed, each, &filter);
    drawn.retain(|shape| !quick || shape.bytes <= MOST_QUICK);
    let mut sweep = Sweep { machine, made: Made::now(), seed, rows: Vec::new() };
    sweep.rows = common::pool(1).install(|| measure(drawn, quick));
    print(&sweep);

    let slower = sweep.rows.iter().filter(|row| row.is_slower()).count();
    if arguments.get_flag("record") {
        let kept: Option<Sweep> = load(&sweep.machine.name, report::SWEEP);
        if let (Some(kept), false) = (kept, filter.is_empty()) {
            // With a filter, the other operations stay.
            let is_new = |op: &str| sweep.rows.iter().any(|new| new.op == op);
            let others = kept.rows.into_iter().filter(|old| !is_new(&old.op)).collect::<Vec<_>>();
            sweep.rows.extend(others);
            let order: Vec<&str> = trials::operations().iter().map(|(op, _)| *op).collect();
            sweep.rows.sort_by_key(|row| order.iter().position(|op| *op == row.op));
        }
        println!("kept in {}", save(&sweep.machine.name, report::SWEEP, &sweep).display());
        for (file, text) in report::sweep_pages(&sweep) {
            let path = record::results().join(&sweep.machine.name).join(file);
            std::fs::write(&path, text).expect("a file in results/");
            println!("{}", path.display());
        }
    } else if arguments.get_flag("check") {
        let lost = lost(&sweep);
        lost.iter().for_each(|line| println!("LOST: {line}"));
        if slower > 0 || !lost.is_empty() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// So many shapes of every operation, which depend on the seed and on its name alone: those of a short sweep are among
/// those of a long one.
fn draw(seed: u64, each: usize, filter: &str) -> Vec<Drawn> {
    let wanted = |op: &str| filter.split(',').any(|part| op.contains(part));
    let operations = trials::operations().into_iter().filter(|(op, _)| wanted(op));
    let shapes = operations.flat_map(|(op, draw)| {
        let name = op.bytes().fold(0u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ name);
        (0..each).map(move |shape| {
            // A third of the shapes is small.
            draw(&mut rng, if shape % 3 == 0 { 256 << 10 } else { MOST })
        })
    });
    shapes.collect()
}

fn measure(drawn: Vec<Drawn>, quick: bool) -> Vec<Swept> {
    let bar = ProgressBar::new(drawn.len() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}").expect("a template"));
    let budget = Duration::from_millis(if quick { 50 } else { 150 });
    let rows = drawn.into_iter().map(|Drawn { op, shape, door, bytes, make }| {
        bar.set_message(format!("{op}: {shape}"));
        let mut trial = make();
        assert!(trial.agrees(), "{op}: {shape}: gradix and the loop answer differently");
        let mut found =
            Swept { op: op.to_string(), shape, bytes, loop_seconds: 0.0, seconds: 0.0, ratio: 0.0, door };
        for attempt in 1..=CONFIRMATIONS as u32 {
            let (loop_seconds, seconds, ratio) = alternate(&mut *trial, attempt * budget);
            if ratio > found.ratio {
                found = Swept { loop_seconds, seconds, ratio, ..found };
            }
            if !found.is_slower() {
                break;
            }
        }
        bar.inc(1);
        found
    });
    let rows = rows.collect();
    bar.finish_and_clear();
    rows
}

/// The seconds of the loop and of gradix, and the ratio of the two: medians of alternating rounds.
fn alternate(trial: &mut dyn Trial, budget: Duration) -> (f64, f64, f64) {
    let begin = Instant::now();
    // So many calls take long enough to be timed.
    let calls_of = |call: &mut dyn FnMut()| {
        let mut calls = 1u32;
        loop {
            let took = timed(calls, &mut *call);
            if took >= SHORTEST || calls > 1 << 20 {
                return calls;
            }
            let grown = SHORTEST.as_secs_f64() / took.as_secs_f64().max(1e-9) * 1.1;
            calls = (f64::from(calls) * grown.clamp(2.0, 100.0)) as u32;
        }
    };
    let plain_calls = calls_of(&mut || trial.plain(0));
    let calls = calls_of(&mut || trial.gradix());
    let mut quickest = (0, f64::INFINITY);
    for copy in (0..COPIES).chain((0..COPIES).rev()) {
        let seconds = timed(plain_calls, || trial.plain(copy)).as_secs_f64();
        if seconds < quickest.1 {
            quickest = (copy, seconds);
        }
    }
    let (mut plain, mut gradix) = (Vec::new(), Vec::new());
    // An even number of rounds, so that either side goes first as often as the other.
    while plain.len() < 4 || plain.len() % 2 == 1 || (plain.len() < 40 && begin.elapsed() < budget) {
        let of_loop = |trial: &mut dyn Trial| timed(plain_calls, || trial.plain(quickest.0));
        let of_gradix = |trial: &mut dyn Trial| timed(calls, || trial.gradix());
        let (loop_took, gradix_took) = match plain.len() % 2 {
            0 => {
                let took = of_loop(trial);
                (took, of_gradix(trial))
            }
            _ => {
                let took = of_gradix(trial);
                (of_loop(trial), took)
            }
        };
        plain.push(loop_took.as_secs_f64() / f64::from(plain_calls));
        gradix.push(gradix_took.as_secs_f64() / f64::from(calls));
    }
    let ratios: Vec<f64> = plain.iter().zip(&gradix).map(|(plain, gradix)| plain / gradix).collect();
    (median(plain), median(gradix), median(ratios))
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    (samples[(samples.len() - 1) / 2] + samples[samples.len() / 2]) / 2.0
}

/// The operations whose geometric mean has fallen since it was recorded, with the same shapes.
fn lost(now: &Sweep) -> Vec<String> {
    let Some(kept) = load::<Sweep>(&now.machine.name, report::SWEEP) else { return Vec::new() };
    let mut lost = Vec::new();
    for (op, rows) in now.operations() {
        // Shapes that both have, so that a quick run or another seed is compared with nothing else.
        let pairs: Vec<(f64, f64)> = (rows.iter())
            .filter_map(|new| {
                let old = kept.rows.iter().find(|old| (&old.op, &old.shape) == (&new.op, &new.shape))?;
                Some((old.ratio, new.ratio))
            })
            .collect();
        if pairs.is_empty() {
            continue;
        }
        let then = geometric_mean(pairs.iter().map(|pair| pair.0));
        let today = geometric_mean(pairs.iter().map(|pair| pair.1));
        if today < then * (1.0 - TOLERANCE) {
            lost.push(format!("{op}: {today:.2} times as fast as the loop, recorded {then:.2}"));
        }
    }
    lost
}

fn print(sweep: &Sweep) {
    println!("{}", report::sweep_means(sweep));
    // What a call may cost is given to the loop here, or the smallest shapes would be the worst of all.
    let given = |row: &Swept| (row.loop_seconds + row.door) / row.seconds;
    let mut worst: Vec<&Swept> = sweep.rows.iter().collect();
    worst.sort_by(|a, b| given(a).total_cmp(&given(b)));
    println!("\nThe worst five:\n{}", rows_of(worst.iter().take(5).copied()));
    let slower: Vec<&Swept> = worst.into_iter().filter(|row| row.is_slower()).collect();
    if slower.is_empty() {
        println!("\nNowhere slower than the loop by more than a call may cost.");
    } else {
        let count = slower.len();
        let of = sweep.rows.len();
        println!("\nSLOWER than the loop at {count} of {of} shapes:\n{}", rows_of(slower.into_iter()));
    }
}

fn rows_of<'a>(rows: impl Iterator<Item = &'a Swept>) -> String {
    let mut table = table(&["operation", "shape", "loop, us", "gradix, us", "ratio"], 2);
    for row in rows {
        let us = |seconds: f64| format!("{:.3}", seconds * 1e6);
        let ratio = format!("{:.2}", row.ratio);
        table.add_row([row.op.clone(), row.shape.clone(), us(row.loop_seconds), us(row.seconds), ratio]);
    }
    table.to_string()
}
