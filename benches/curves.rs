//! `cargo bench --bench curves`: how time depends on the share of hits and on the size, and what the memory gives.
//! `-- --record` keeps all of it as results/<machine>/curves.json, which `cargo bench --bench report` draws; otherwise the
//! points are printed.

mod common;

use common::data::{Buffer, Order};
use common::limits::{self, Stores};
use common::machine::{Machine, Made};
use common::paired::{Rounds, StopRule};
use common::record::{Curves, Point, save};
use common::work::gather::{self, Gather};
use common::work::scatter::Scatter;
use common::work::select::{self, Select};
use common::work::softmax_xent::{self, Xent};
use common::{Side, Work, pool, thread_counts};
use gradix::Level;
use indicatif::ProgressBar;
use std::time::Duration;

const STOP: StopRule = StopRule { rounds: 9, width: 0.05, budget: Duration::from_millis(400) };
/// The elements of a selection, and those of a row of logits or of a table.
const HITS_OF: usize = 1 << 20;
const CLASSES: usize = 256;
const WIDTH: usize = 64;

fn main() {
    let shares = [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0];
    let sizes: Vec<usize> = (10..=29).map(|log2| 1 << log2).collect();
    let bar = ProgressBar::new((shares.len() + sizes.len()) as u64);
    let mut curves = Curves { machine: Machine::here(), made: Made::now(), ..Curves::default() };
    pool(1).install(|| {
        for share in shares {
            let mut work = Select::new(select::Form::Indices, HITS_OF, share, false);
            curves.selectivity.extend(at_every_level(&mut work, 100.0 * share));
            bar.inc(1);
        }
        for bytes in sizes {
            for (op, elements, mut work) in of_size(bytes) {
                curves.sizes.extend(beside_the_limit(op, bytes, elements, &mut *work));
            }
            bar.inc(1);
        }
    });
    curves.limits = thread_counts().into_iter().flat_map(memory).collect();
    bar.finish_and_clear();
    if std::env::args().any(|argument| argument == "--record") {
        println!("kept in {}", save(&curves.machine.name, "curves.json", &curves).display());
        return;
    }
    let of_curve = |axis, points: &[Point]| {
        for Point { line, x, y } in points {
            println!("{axis}\t{line}\t{x}\t{y:.3}");
        }
    };
    of_curve("ns an element, % of hits", &curves.selectivity);
    of_curve("ns an element, bytes", &curves.sizes);
    of_curve("GB/s, threads", &curves.limits);
}

/// Nanoseconds an element, for gradix at every level, the plain loop and the limit.
fn at_every_level(work: &mut Select<f32>, x: f64) -> Vec<Point> {
    let mut sides: Vec<(String, Side, Level)> =
        Level::available().iter().map(|&level| (level.name().to_string(), Side::Gradix, level)).collect();
    sides.push(("plain loop".to_string(), Side::Loop, Level::detected()));
    sides.push(("sum and store".to_string(), Side::Limit(Stores::Plain), Level::detected()));
    let indices: Vec<usize> = (0..sides.len()).collect();
    let plain = sides.len() - 2;
    let rounds = Rounds::run(&indices, &[(plain, 0)], STOP, |side| {
        let (_, side, level) = &sides[side];
        level.run(|| work.run(*side)).expect("an available level");
    });
    let point = |(side, (line, _, _)): (usize, &(String, Side, Level))| {
        let ns = rounds.seconds(side).median * 1e9 / HITS_OF as f64;
        Point { line: line.clone(), x, y: ns }
    };
    sides.iter().enumerate().map(point).collect()
}

/// Work that reads and writes about so many bytes, the indices left aside; and its elements.
fn of_size(bytes: usize) -> Vec<(&'static str, usize, Box<dyn Work>)> {
    let rows = (bytes / (8 * CLASSES)).max(1);
    let wide = (bytes / (8 * WIDTH)).max(1);
    fn boxed(work: impl Work) -> Box<dyn Work> {
        Box::new(work)
    }
    vec![
        (
            "softmax_xent, rows of 256",
            rows * CLASSES,
            boxed(Xent::<f32>::new(softmax_xent::Form::Plain, rows, CLASSES)),
        ),
        (
            "take_axis, rows of 64",
            wide * WIDTH,
            boxed(Gather::<f32>::new(gather::Form::Rows, wide, WIDTH, wide, Order::Random)),
        ),
        (
            "scatter_add_axis, rows of 64",
            wide * WIDTH,
            boxed(Scatter::<f32>::new(wide, WIDTH, wide, Order::Random)),
        ),
        (
            "select_values, half of them",
            bytes / 6,
            boxed(Select::<f32>::new(select::Form::Values, bytes / 6, 0.5, false)),
        ),
    ]
}

fn beside_the_limit(op: &str, bytes: usize, elements: usize, work: &mut dyn Work) -> Vec<Point> {
    let [plain, streaming] = [Side::Limit(Stores::Plain), Side::Limit(Stores::Streaming)];
    let sides = [Side::Gradix, Side::Loop, plain, streaming];
    let rounds = Rounds::run(&sides, &[(plain, Side::Gradix)], STOP, |side| work.run(side));
    let point = |(name, side)| Point {
        line: format!("{op}/{name}"),
        x: bytes as f64,
        y: rounds.seconds(side).median * 1e9 / elements as f64,
    };
    let limit = rounds.quicker(plain, streaming);
    [("gradix", Side::Gradix), ("loop", Side::Loop), ("limit", limit)].map(point).to_vec()
}

/// Gigabytes a second that each limit reads and writes, out of cache as far as there is an outside.
fn memory(threads: usize) -> Vec<Point> {
    const LEN: usize = 64 << 20;
    let x = Buffer::<f32>::filled(LEN, |i| i as f32);
    let mut out = Buffer::<f32>::zeros(LEN);
    let (plain, streaming) = (Stores::Plain, Stores::Streaming);
    let names = ["scale", "scale, streaming", "memcpy", "memcpy, streaming", "add", "add, streaming", "sum"];
    let moved = [8, 8, 8, 8, 12, 12, 4].map(|bytes| (bytes * LEN) as f64);
    let rounds = pool(threads).install(|| {
        let stop = StopRule { budget: Duration::from_secs(3), ..STOP };
        Rounds::run(&[0, 1, 2, 3, 4, 5, 6], &[(2, 0), (4, 0), (6, 0)], stop, |side| match side {
            0 => limits::scale(&x, 2.0, &mut out, plain),
            1 => limits::scale(&x, 2.0, &mut out, streaming),
            2 => limits::copy(&x, &mut out, plain),
            3 => limits::copy(&x, &mut out, streaming),
            4 => limits::add(&x, &mut out, plain),
            5 => limits::add(&x, &mut out, streaming),
            _ => limits::sum(&x),
        })
    });
    let point = |side: usize| Point {
        line: names[side].to_string(),
        x: threads as f64,
        y: moved[side] / rounds.seconds(side).median / 1e9,
    };
    (0..names.len()).map(point).collect()
}
