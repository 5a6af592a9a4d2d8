//! gradix beside what other libraries offer for the same work, on the same data, in sides.
//!
//! ```text
//! cargo run --release                      from this folder: every case, one table
//! cargo run --release -- --record          and keep it, as results/<machine>/peers.json
//! cargo run --release -- --filter X3       only cases, or ids op/dtype/shape, that contain this
//! ```
//!
//! Every peer's answer is checked against the reference before anybody is timed. A peer that allocates its answer
//! does so in memory kept from the call before (`.cargo/config.toml`); the others and gradix write into memory of the
//! caller's.

#[path = "../../common/mod.rs"]
mod common;
mod gather;
mod kept;
mod peer;
mod scatter;
mod select;
mod serve;
mod softmax_xent;

use clap::{Arg, ArgAction, Command};
use common::machine::Made;
use common::paired::{Rounds, StopRule};
use common::record::{Compared, PeerFigure};
use common::work::{gather::Gather, scatter::Scatter, select::Select, softmax_xent::Xent};
use common::{Case, Side, Work, all_cases, pool, thread_counts};
use indicatif::{ProgressBar, ProgressStyle};
use peer::Peer;
use std::any::Any;
use std::time::Duration;

const FILE: &str = "peers.json";
/// For a case on some number of threads.
const BUDGET: Duration = Duration::from_millis(2500);

fn main() {
    common::data::use_large_pages(); // as the peers' allocator does: see .cargo/config.toml
    let arguments = Command::new("peers")
        .about("gradix beside other libraries")
        .arg(
            Arg::new("record").long("record").action(ArgAction::SetTrue).help("Keep the figures in results/"),
        )
        .arg(
            Arg::new("filter")
                .long("filter")
                .help("Only cases or ids that contain one of these, with commas between"),
        )
        .arg(Arg::new("serve").long("serve").value_name("CASE").hide(true))
        .arg(Arg::new("threads").long("threads").value_parser(clap::value_parser!(usize)).hide(true))
        .arg(Arg::new("folder").long("folder").hide(true))
        .get_matches();
    if let Some(name) = arguments.get_one::<String>("serve") {
        let case = all_cases().into_iter().find(|case| case.peer == name).expect("a case of this name");
        let threads = arguments.get_one::<usize>("threads").copied().unwrap_or(1);
        let folder = arguments.get_one::<String>("folder").expect("a folder for the data");
        return serve::serve(&case, threads, std::path::Path::new(folder));
    }
    let filter = arguments.get_one::<String>("filter").cloned().unwrap_or_default();
    let cases: Vec<Case> =
        all_cases().into_iter().filter(|case| !case.peer.is_empty() && case.is_wanted(&filter)).collect();

    let bar = ProgressBar::new((cases.len() * thread_counts().len()) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}").expect("a template"));
    let (mut rows, mut absent) = (Vec::new(), Vec::new());
    for case in &cases {
        bar.set_message(format!("{} {}", case.peer, case.id()));
        rows.extend(compare(case, &bar, &mut absent));
    }
    bar.finish_and_clear();
    kept::print(&rows);
    if arguments.get_flag("record") {
        let order: Vec<&str> = all_cases().iter().map(|case| case.peer).collect();
        kept::keep(FILE, rows, absent, &order);
    }
}

/// A case on each number of threads.
fn compare(case: &Case, bar: &ProgressBar, absent: &mut Vec<(String, String)>) -> Vec<Compared> {
    let mut work = (case.make)();
    let mut peers = peers(&*work);
    work.assert_equal(Side::Reference);
    let expected = work.answer(Side::Reference);
    peers.retain_mut(|peer| {
        let Err(why) = check(&*work, &expected, &peer.answer()) else { return true };
        eprintln!("{} in {} is left out: {why}", peer.name, case.peer);
        absent.push((format!("{} in {}", peer.name, case.peer), why));
        false
    });
    let made = Made::now();
    let rows = thread_counts().into_iter().map(|threads| {
        // Of the sides, 0 is gradix, 1 the plain loop, and from 2 on the others.
        let sides: Vec<usize> = (0..peers.len() + 2).collect();
        let pairs: Vec<(usize, usize)> = sides[1..].iter().map(|&peer| (peer, 0)).collect();
        let stop = StopRule { rounds: 21, width: 0.05, budget: BUDGET };
        let rounds = pool(threads).install(|| {
            Rounds::run(&sides, &pairs, stop, |side| match side {
                0 => work.run(Side::Gradix),
                1 => work.run(Side::Loop),
                peer => peers[peer - 2].run(),
            })
        });
        let names = ["loop"].into_iter().chain(peers.iter().map(|peer| peer.name));
        let figure = |(name, side): (&str, usize)| PeerFigure {
            name: name.to_string(),
            seconds: rounds.seconds(side),
            ratio: rounds.ratio(side, 0),
        };
        bar.inc(1);
        Compared {
            case: case.peer.to_string(),
            id: case.id(),
            threads,
            gradix_seconds: rounds.seconds(0),
            peers: names.zip(1..).map(figure).collect(),
            made: made.clone(),
        }
    });
    rows.collect()
}

fn peers(work: &dyn Work) -> Vec<Peer> {
    let work: &dyn Any = work;
    if let Some(work) = work.downcast_ref::<Gather<f32>>() {
        gather::peers(work)
    } else if let Some(work) = work.downcast_ref::<Scatter<f32>>() {
        scatter::peers(work)
    } else if let Some(work) = work.downcast_ref::<Select<f32>>() {
        select::peers(work)
    } else if let Some(work) = work.downcast_ref::<Select<f64>>() {
        select::peers_f64(work)
    } else if let Some(work) = work.downcast_ref::<Xent<f32>>() {
        softmax_xent::peers(work)
    } else if let Some(work) = work.downcast_ref::<Xent<f64>>() {
        softmax_xent::peers_f64(work)
    } else {
        Vec::new()
    }
}

/// What is wrong with an answer, where it is not the reference's.
fn check(work: &dyn Work, expected: &[f64], answer: &[f64]) -> Result<(), String> {
    let any: &dyn Any = work;
    let off = if let Some(work) = any.downcast_ref::<Xent<f32>>() {
        work.off(answer, expected, true)
    } else if let Some(work) = any.downcast_ref::<Xent<f64>>() {
        work.off(answer, expected, true)
    } else if answer == expected {
        0.0
    } else {
        return Err("Answers differently.".into());
    };
    let why = || format!("Its answer is off by {off:.0} times what rounding explains.");
    if off <= 1.0 { Ok(()) } else { Err(why()) }
}
