//! `cargo bench --bench parallel`: that more threads are never slower than one, for every operation and from the
//! smallest sizes to memory. One thread and all take turns; the last line names the sizes where all are slower, if any.
//! Keeps the figures as results/<machine>/parallel.json, which `cargo bench --bench report` draws; `-- OP` measures only
//! operations whose name contains this, and keeps nothing.

mod common;

use common::data::Order;
use common::machine::{Machine, Made};
use common::paired::{Patience, Rounds, timed};
use common::record::{Parallel, Shared, save};
use common::tables::table;
use common::work::gather::{self, Gather};
use common::work::scatter::Scatter;
use common::work::select::{self, Select};
use common::work::softmax_xent::{self, Xent};
use common::{Side, Work, pool};
use indicatif::ProgressBar;
use std::time::Duration;

const PATIENCE: Patience = Patience { rounds: 25, width: 0.03, budget: Duration::from_millis(400) };
/// The most elements: 64 MiB of `f32`, beyond the caches.
const MOST: usize = 16 << 20;
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
    let scatter = |name, width| {
        operation(name, width, move |n| Scatter::<f32>::new(n / width, width, n / width, Order::Random))
    };
    let select = |name, form, hits| operation(name, WIDTH, move |n| Select::<f32>::new(form, n, hits, false));
    let xent = |classes: usize| {
        let name = format!("softmax_xent, {classes} classes");
        operation(&name, classes, move |n| Xent::<f32>::new(softmax_xent::Form::Plain, n / classes, classes))
    };
    let mut operations = vec![
        operation("take", WIDTH, |n| Gather::<f32>::new(Elements, 1, n, n, Order::Random)),
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
    operations.extend([10, 100, 1000, 32_000, 128_256].map(xent));
    operations
}

fn main() {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let mut parallel = Parallel { machine: Machine::here(), made: Made::now(), ..Parallel::default() };
    let operations: Vec<Operation> = operations()
        .into_iter()
        .filter(|(name, ..)| filter.as_ref().is_none_or(|part| name.contains(part.as_str())))
        .collect();
    let sizes = |least: usize| std::iter::successors(Some(least), |n| Some(4 * n)).take_while(|&n| n <= MOST);
    let bar = ProgressBar::new(operations.iter().map(|&(_, least, _)| sizes(least).count() as u64).sum());
    for (op, least, make) in &operations {
        for elements in sizes(*least) {
            let mut work = make(elements);
            let mut shared = one_and_all(op, elements, &mut *work);
            if shared.is_slower() {
                shared = one_and_all(op, elements, &mut *work); // what is true is so twice
            }
            parallel.rows.push(shared);
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    print(&parallel.rows);
    if filter.is_none() {
        println!("kept in {}", save(&parallel.machine.name, "parallel.json", &parallel).display());
    }
    let slower: Vec<String> = (parallel.rows.iter().filter(|row| row.is_slower()))
        .map(|row| format!("{} at {} ({:.2}x)", row.op, row.elements, row.ratio.median))
        .collect();
    match slower.len() {
        0 => println!("All threads are nowhere slower than one."),
        n => println!("SLOWER on all threads at {n} of {} sizes: {}", parallel.rows.len(), slower.join("; ")),
    }
}

/// Turns of one thread and of as many as there are CPUs.
fn one_and_all(op: &str, elements: usize, work: &mut dyn Work) -> Shared {
    let pools = [pool(1), pool(num_cpus::get())];
    let answers = [0, 1].map(|p: usize| pools[p].install(|| work.answer(Side::Gradix)));
    assert!(answers[0] == answers[1], "{op} of {elements} answers differently on more threads");
    drop(answers);
    let rounds = Rounds::timed(&[0, 1], &[(0, 1)], PATIENCE, |p: usize, calls| {
        pools[p].install(|| {
            work.run(Side::Gradix); // so that the data are in this core's cache
            timed(calls, || work.run(Side::Gradix))
        })
    });
    Shared {
        op: op.to_string(),
        elements,
        one_seconds: rounds.seconds(0),
        all_seconds: rounds.seconds(1),
        ratio: rounds.ratio(0, 1),
    }
}

fn print(rows: &[Shared]) {
    let mut table = table(&["operation", "elements", "one thread, us", "all, us", "ratio", "95 %"], 1);
    for row in rows {
        let us = |seconds: f64| format!("{:.2}", seconds * 1e6);
        table.add_row([
            row.op.clone(),
            row.elements.to_string(),
            us(row.one_seconds.median),
            us(row.all_seconds.median),
            format!("{:.2}", row.ratio.median),
            format!("{:.2} to {:.2}", row.ratio.low, row.ratio.high),
        ]);
    }
    println!("{table}");
}
