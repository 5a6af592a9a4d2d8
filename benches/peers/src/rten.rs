//! Softmax, and the gradient of cross-entropy, beside rten's softmax (and a loop that makes the gradient of it), at rows
//! of lengths drawn from a seed, on one thread, in the second-level cache.
//!
//! ```text
//! cargo run --release --bin rten               from this folder: 24 lengths from 2 to 8,192
//! cargo run --release --bin rten -- --seed 7   others
//! cargo run --release --bin rten -- --record   and keep the table, as results/<machine>/rten.md
//! ```
//!
//! The answers are compared before anybody is timed.

#[allow(dead_code)] // a part of it is used here
#[path = "../../common/mod.rs"]
mod common;

use clap::{Arg, ArgAction, Command, value_parser};
use common::data::normal;
use common::machine::{Machine, Made};
use common::paired::{Rounds, StopRule};
use common::{pool, record, tables::table};
use gradix::{SoftmaxXent, View, ViewMut};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rten_simd::SimdOp;
use std::time::Duration;

const STOP: StopRule = StopRule { rounds: 15, width: 0.03, budget: Duration::from_millis(600) };
/// Elements of the logits: 512 KiB.
const ELEMENTS: usize = 1 << 17;

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Softmax,
    RtenSoftmax,
    Xent,
    RtenXent,
}

fn main() {
    let seed = Arg::new("seed").long("seed").value_parser(value_parser!(u64)).default_value("1");
    let keep =
        Arg::new("record").long("record").action(ArgAction::SetTrue).help("Keep the table in results/");
    let arguments = Command::new("rten").about("gradix beside rten").args([seed, keep]).get_matches();
    let mut rng = ChaCha8Rng::seed_from_u64(arguments.get_one::<u64>("seed").copied().unwrap_or(1));
    let mut lengths: Vec<usize> = (0..24).map(|_| rng.random_range(1.0..13.0_f64).exp2() as usize).collect();
    lengths.sort_unstable();
    let mut rows = table(
        &["classes", "softmax, ns a row", "rten / it", "gradient, ns a row", "rten and a loop / it"],
        1,
    );
    for classes in lengths {
        let n = (ELEMENTS / classes).max(1);
        let [softmax, softmax_ratio, xent, xent_ratio] = pool(1).install(|| compare(n, classes));
        let ns = |seconds: f64| format!("{:.1}", seconds * 1e9 / n as f64);
        rows.add_row([
            classes.to_string(),
            ns(softmax),
            format!("{softmax_ratio:.2}"),
            ns(xent),
            format!("{xent_ratio:.2}"),
        ]);
    }
    println!("{rows}");
    if arguments.get_flag("record") {
        let (machine, Made { commit, rustc, day }) = (Machine::here(), Made::now());
        let text = format!(
            "# {}: softmax and its gradient beside rten's\n\n\
             `cargo run --release --bin rten -- --record` in `benches/peers`, {commit}, {rustc}, {day}: one thread, level {},\n\
             `f32`, logits of 512 KiB. The last column is rten's softmax, and a loop that makes a loss and a gradient of it.\n\n\
             {rows}\n",
            machine.cpu, machine.best_level
        );
        let path = record::results().join(machine.name).join("rten.md");
        std::fs::write(&path, text).expect("a file in results/");
        println!("kept in {}", path.display());
    }
}

/// rten's softmax of each row, in place.
fn rten_softmax(x: &[f32], classes: usize, p: &mut [f32]) {
    p.copy_from_slice(x);
    for p in p.chunks_exact_mut(classes) {
        rten_vecmath::Softmax::new_mut(p).dispatch();
    }
}

/// What a gradient needs besides.
fn rten_xent(x: &[f32], classes: usize, y: &[u32], grad: &mut [f32]) -> f32 {
    let mean = 1.0 / y.len() as f32;
    let mut sum = 0.0;
    for ((x, grad), &y) in x.chunks_exact(classes).zip(grad.chunks_exact_mut(classes)).zip(y) {
        grad.copy_from_slice(x);
        let p = rten_vecmath::Softmax::new_mut(grad).dispatch();
        sum -= p[y as usize].ln();
        p.iter_mut().for_each(|p| *p *= mean);
        p[y as usize] -= mean;
    }
    sum * mean
}

/// The seconds of softmax and how often rten's takes as long; the same of the gradient.
fn compare(n: usize, classes: usize) -> [f64; 4] {
    let x = normal::<f32>(n * classes);
    let y: Vec<u32> = (0..n).map(|row| (row * 31 % classes) as u32).collect();
    let shape = [n, classes];
    let view = || View::new(&x, &shape).expect("a shape");
    let xent = SoftmaxXent::new();
    let (mut ours, mut theirs) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs() + 1e-9);
    gradix::softmax_into(view(), 1, &mut ours).expect("a softmax");
    rten_softmax(&x, classes, &mut theirs);
    assert!(near(&ours, &theirs), "{classes} classes: another softmax");
    let to = ViewMut::new(&mut ours, &shape).expect("a shape");
    let loss = xent.forward_backward(view(), &y, to).expect("a loss").value;
    let other = rten_xent(&x, classes, &y, &mut theirs);
    assert!((loss - other).abs() <= 1e-4 * other.abs() + 1e-6, "{classes} classes: {loss}, {other}");
    let pairs = [(Side::RtenSoftmax, Side::Softmax), (Side::RtenXent, Side::Xent)];
    let sides = [Side::Softmax, Side::RtenSoftmax, Side::Xent, Side::RtenXent];
    let rounds = Rounds::run(&sides, &pairs, STOP, |side| match side {
        Side::Softmax => gradix::softmax_into(view(), 1, &mut ours).expect("a softmax"),
        Side::RtenSoftmax => rten_softmax(&x, classes, &mut theirs),
        Side::Xent => {
            let to = ViewMut::new(&mut ours, &shape).expect("a shape");
            xent.forward_backward(view(), &y, to).expect("a loss");
        }
        Side::RtenXent => {
            std::hint::black_box(rten_xent(&x, classes, &y, &mut theirs));
        }
    });
    let [(a, b), (c, d)] = pairs;
    [rounds.seconds(b).median, rounds.ratio(a, b).median, rounds.seconds(d).median, rounds.ratio(c, d).median]
}
