//! The gate: how much faster each kernel is than the loop that people write, how near it comes to what the memory
//! allows, and whether either has been lost since it was recorded.
//!
//! ```text
//! cargo bench --bench speedups                      measure and print
//! cargo bench --bench speedups -- --record          and keep, as results/<machine>/speedups.json
//! cargo bench --bench speedups -- --check           compare with what was kept; exit 1 if something has fallen
//! cargo bench --bench speedups -- --check --quick   within 90 seconds: one thread, as called
//! cargo bench --bench speedups -- --filter softmax  only ids that contain this
//! cargo bench --bench speedups -- --large-pages     with the data in pages of 2 MiB; kept in a file of their own
//! ```

mod common;

use clap::{Arg, ArgAction, Command};
use common::gate::{Interval, Recorded, Verdict, judge};
use common::limits::Stores;
use common::machine::{Machine, Made};
use common::paired::{Rounds, StopRule};
use common::record::{Row, Speedups, load, save};
use common::tables::table;
use common::{Case, Side, cases, data, pool, thread_counts};
use gradix::Level;
use indicatif::{ProgressBar, ProgressStyle};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// With the data in vectors, and in pages of 2 MiB.
const FILES: [&str; 2] = ["speedups.json", "speedups-large-pages.json"];
/// What `--record` makes of every row, each with data of its own.
const PASSES: usize = 3;
/// How often `--check` must find a row fallen, one time after the other.
const CONFIRMATIONS: usize = 3;
/// For a case on some number of threads, all levels.
const BUDGET: Duration = Duration::from_millis(1200);
/// For everything, with `--quick`; the rest of the 90 seconds is for the data, and for what is measured again.
const QUICK: Duration = Duration::from_secs(60);
/// The least for a case with `--quick`.
const LEAST: Duration = Duration::from_millis(200);

/// What is timed in each round.
#[derive(Clone, Copy, PartialEq)]
enum Contender {
    /// At this level, or, with none, as called.
    Gradix(Option<Level>),
    Loop,
    Limit(Stores),
}

/// A case on a number of threads, and the levels that it is measured at.
#[derive(Clone)]
struct Job {
    case: usize,
    threads: usize,
    levels: Vec<Option<Level>>,
}

/// What a pass says of one row.
struct Measured {
    level: &'static str,
    speedup: Interval,
    of_limit: Interval,
    seconds: Interval,
    plain_loop: Interval,
    limit: Interval,
    stores: Stores,
    rounds: usize,
}

fn main() -> ExitCode {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let arguments = Command::new("speedups")
        .about("Measures gradix against the loops that people write and against what the memory allows")
        .arg(flag("record", "Keep the figures in results/<machine>/").conflicts_with_all(["check", "quick"]))
        .arg(flag("check", "Compare with the figures kept, and exit with 1 if any has fallen"))
        .arg(flag("quick", "Within 90 seconds: one thread, as called"))
        .arg(
            Arg::new("filter")
                .long("filter")
                .help("Only ids op/dtype/shape that contain one of these, with commas between"),
        )
        .arg(flag("large-pages", "Keep the data in pages of 2 MiB"))
        .arg(flag("bench", "Passed by cargo").hide(true))
        .get_matches();
    let (record, check) = (arguments.get_flag("record"), arguments.get_flag("check"));
    let quick = arguments.get_flag("quick");
    let large_pages = arguments.get_flag("large-pages");
    if large_pages {
        data::use_large_pages();
    }
    let file = FILES[usize::from(large_pages)];
    let filter = arguments.get_one::<String>("filter").cloned().unwrap_or_default();

    let begin = Instant::now();
    let machine = Machine::here();
    let level = Level::current().expect("GRADIX_LEVEL names a level of this CPU");
    println!("{}, {} threads, level as called: {level}", machine.cpu, machine.cpus);
    let kept: Option<Speedups> = load(&machine.name, file);
    if check && kept.is_none() {
        println!(
            "No figures are kept for this machine ({}), so nothing can have fallen. To keep some:\n\
             cargo bench --bench speedups -- --record",
            machine.name
        );
    }
    let kept = kept.unwrap_or_default();

    let cases: Vec<Case> = cases().into_iter().filter(|case| case.is_wanted(&filter)).collect();
    let jobs = jobs(&cases, quick);
    let mut rows = measure(&cases, &jobs, if record { PASSES } else { 1 }, quick.then_some(begin));
    print_rows(&rows);

    if record {
        let remeasured = |old: &Row| rows.iter().any(|new| new.id == old.id);
        let mut all: Vec<Row> = kept.rows.into_iter().filter(|old| !remeasured(old)).collect();
        all.append(&mut rows);
        // In the order of the cases, whatever the filter was.
        let order: Vec<String> = common::cases().iter().map(|case| case.id() + "/").collect();
        all.sort_by_key(|row| order.iter().position(|id| row.id.starts_with(id)));
        let kept = Speedups { machine, rows: all };
        println!("kept in {}", save(&kept.machine.name, file, &kept).display());
    } else if check {
        let mut fallen = fallen(&kept.rows, &rows);
        for _ in 1..CONFIRMATIONS {
            let suspect = |job: &&Job| {
                let id = cases[job.case].id() + "/";
                fallen.iter().any(|fallen| fallen.id.starts_with(&id) && fallen.threads == job.threads)
            };
            let again: Vec<Job> = jobs.iter().filter(suspect).cloned().collect();
            if again.is_empty() {
                break;
            }
            println!("{} figures seem to have fallen and are measured again", fallen.len());
            let found = self::fallen(&kept.rows, &measure(&cases, &again, 1, quick.then_some(begin)));
            fallen.retain(|old| found.iter().any(|new| (&new.id, new.figure) == (&old.id, old.figure)));
        }
        if !fallen.is_empty() {
            print_fallen(&fallen);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn jobs(cases: &[Case], quick: bool) -> Vec<Job> {
    let threads = if quick { vec![1] } else { thread_counts() };
    let mut levels = vec![None];
    if !quick {
        levels
            .extend(Level::available().iter().copied().filter(|&level| level != Level::detected()).map(Some));
    }
    let of_case = |case| threads.iter().map(move |&threads| (case, threads));
    let levels = &levels;
    (0..cases.len())
        .flat_map(of_case)
        .map(|(case, threads)| Job { case, threads, levels: levels.clone() })
        .collect()
}

/// Measures every job in each of so many passes; quickly, if told when it all began.
fn measure(cases: &[Case], jobs: &[Job], passes: usize, quick: Option<Instant>) -> Vec<Row> {
    let bar = ProgressBar::new((passes * jobs.len()) as u64);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}");
    bar.set_style(style.expect("a template"));
    let mut measured: Vec<Vec<Vec<Measured>>> = jobs.iter().map(|_| Vec::new()).collect();
    let mut references = vec![(f64::NAN, 1.0); cases.len()];
    for pass in 0..passes {
        let mut made = None; // the data of the case at hand
        for (j, job) in jobs.iter().enumerate() {
            let case = &cases[job.case];
            bar.set_message(case.id());
            let work = match &mut made {
                Some((of, work)) if *of == job.case => work,
                _ => {
                    drop(made.take()); // before the next case asks for memory
                    &mut made.insert((job.case, (case.make)())).1
                }
            };
            if pass == 0 && references[job.case].0.is_nan() {
                work.assert_equal(Side::Loop);
                if quick.is_none() {
                    references[job.case] = case.reference(&mut **work);
                }
            }
            let left = |begin: Instant| QUICK.saturating_sub(begin.elapsed()) / (jobs.len() - j) as u32;
            let budget = quick.map_or(BUDGET, |begin| left(begin).max(LEAST));
            let pool = pool(job.threads);
            measured[j].push(pool.install(|| one(&mut **work, &job.levels, budget)));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let made = Made::now();
    let rows = jobs.iter().zip(&measured).flat_map(|(job, passes)| {
        let (case, reference, made) = (&cases[job.case], references[job.case], &made);
        (0..job.levels.len()).map(move |level| {
            let passes: Vec<&Measured> = passes.iter().map(|pass| &pass[level]).collect();
            row(case, job.threads, &passes, reference, made)
        })
    });
    rows.collect()
}

/// One case on the threads of the current pool: all levels, the plain loop and the limit, alternating.
fn one(work: &mut dyn common::Work, levels: &[Option<Level>], budget: Duration) -> Vec<Measured> {
    let mut sides: Vec<Contender> = levels.iter().map(|&level| Contender::Gradix(level)).collect();
    let others = [Contender::Loop, Contender::Limit(Stores::Plain), Contender::Limit(Stores::Streaming)];
    let pairs: Vec<(Contender, Contender)> =
        sides.iter().flat_map(|&gradix| others.map(|other| (other, gradix))).collect();
    sides.extend(others);
    let stop = StopRule { rounds: 25, width: 0.05, budget };
    let rounds = Rounds::run(&sides, &pairs, stop, |side| match side {
        Contender::Gradix(None) => work.run(Side::Gradix),
        Contender::Gradix(Some(level)) => level.run(|| work.run(Side::Gradix)).expect("an available level"),
        Contender::Loop => work.run(Side::Loop),
        Contender::Limit(stores) => work.run(Side::Limit(stores)),
    });
    let limit = rounds.quicker(others[1], others[2]);
    let of_level = |&level: &Option<Level>| Measured {
        level: level.map_or("best", Level::name),
        speedup: rounds.ratio(Contender::Loop, Contender::Gradix(level)),
        of_limit: rounds.ratio(limit, Contender::Gradix(level)),
        seconds: rounds.seconds(Contender::Gradix(level)),
        plain_loop: rounds.seconds(Contender::Loop),
        limit: rounds.seconds(limit),
        stores: if limit == others[1] { Stores::Plain } else { Stores::Streaming },
        rounds: rounds.len(),
    };
    levels.iter().map(of_level).collect()
}

fn row(case: &Case, threads: usize, passes: &[&Measured], reference: (f64, f64), made: &Made) -> Row {
    let all = |figure: fn(&Measured) -> Interval| passes.iter().map(|pass| figure(pass)).collect::<Vec<_>>();
    let level = passes[0].level.to_string();
    Row {
        id: format!("{}/{level}/{threads}", case.id()),
        peer: case.peer.to_string(),
        op: case.op.to_string(),
        dtype: case.dtype.to_string(),
        shape: case.shape.to_string(),
        level,
        threads,
        elements: case.elements,
        bytes: case.bytes,
        speedup: Recorded::of_passes(&all(|m| m.speedup)),
        of_limit: Recorded::of_passes(&all(|m| m.of_limit)),
        limit: match passes[0].stores {
            Stores::Plain => case.limit.to_string(),
            Stores::Streaming => format!("{}, streaming", case.limit),
        },
        seconds: Interval::of_passes(&all(|m| m.seconds)),
        loop_seconds: Interval::of_passes(&all(|m| m.plain_loop)),
        limit_seconds: Interval::of_passes(&all(|m| m.limit)),
        reference_seconds: reference.0 / reference.1,
        reference_is_scaled: reference.1 < 1.0,
        rounds: passes.iter().map(|pass| pass.rounds).collect(),
        made: made.clone(),
    }
}

/// A figure that has fallen.
struct Fallen {
    id: String,
    threads: usize,
    figure: &'static str,
    recorded: Recorded,
    now: Interval,
    missing: f64,
}

fn fallen(kept: &[Row], rows: &[Row]) -> Vec<Fallen> {
    let mut fallen = Vec::new();
    for row in rows {
        let Some(old) = kept.iter().find(|old| old.id == row.id) else {
            continue; // measured for the first time
        };
        let figures = [
            ("speedup", old.speedup, row.speedup.ratio),
            ("part of the limit", old.of_limit, row.of_limit.ratio),
        ];
        for (figure, recorded, now) in figures {
            if let Verdict::Fell(missing) = judge(&recorded, &now) {
                let (id, threads) = (row.id.clone(), row.threads);
                fallen.push(Fallen { id, threads, figure, recorded, now, missing });
            }
        }
    }
    fallen
}

fn show(interval: &Interval) -> String {
    let Interval { median, low, high } = interval;
    format!("{median:.2} ({low:.2} to {high:.2})")
}

fn print_rows(rows: &[Row]) {
    let header = ["id", "ms", "loop, ms", "reference, ms", "speedup", "part of the limit", "limit", "rounds"];
    let mut table = table(&header, 1);
    for row in rows {
        let ms = |s: f64| if s.is_nan() { "–".to_string() } else { format!("{:.4}", s * 1e3) };
        table.add_row([
            row.id.clone(),
            ms(row.seconds.median),
            ms(row.loop_seconds.median),
            ms(row.reference_seconds),
            show(&row.speedup.ratio),
            show(&row.of_limit.ratio),
            row.limit.clone(),
            row.rounds.iter().sum::<usize>().to_string(),
        ]);
    }
    println!("{table}");
}

fn print_fallen(fallen: &[Fallen]) {
    println!("\nFALLEN, found {CONFIRMATIONS} times in a row:");
    let mut table = table(&["id", "figure", "recorded", "now", "missing", "tolerated"], 2);
    for Fallen { id, figure, recorded, now, missing, .. } in fallen {
        table.add_row([
            id.clone(),
            figure.to_string(),
            show(&recorded.ratio),
            show(now),
            format!("{:.0} %", missing * 100.0),
            format!("{:.0} %", recorded.tolerance * 100.0),
        ]);
    }
    println!("{table}");
}
