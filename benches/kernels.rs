//! `cargo bench`: every operation at shapes that people recognise, beside the loop that people write and beside what the
//! memory allows. One table, within ten minutes; nothing is written.
//!
//! ```text
//! cargo bench                                  one thread, as called
//! cargo bench -- softmax take/f32              only ids op/dtype/shape that contain one of these
//! cargo bench -- --large-pages                 with the data in pages of 2 MiB
//! cargo bench -- --full [FILTER]               criterion: more shapes, every level, one thread and all; hours without a filter
//! ```

mod common;
mod kernels {
    pub(crate) mod full;
}

use clap::{Arg, ArgAction, Command};
use common::gate::Interval;
use common::limits::Stores;
use common::machine::Machine;
use common::paired::{Rounds, StopRule};
use common::tables::table;
use common::{Case, Side, Work, data, pool};
use gradix::Level;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// For the turns of one case. The reference and the data take as long again.
const STOP: StopRule = StopRule { rounds: 15, width: 0.05, budget: Duration::from_millis(800) };
/// Of the ratios to the loop, so many are marked as the smallest.
const MARKED: usize = 5;

fn main() {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let arguments = Command::new("kernels")
        .about(
            "Measures every operation against the loop that people write and against what the memory allows",
        )
        .arg(Arg::new("filter").num_args(0..).help("Only ids op/dtype/shape that contain one of these"))
        .arg(flag("full", "With criterion: more shapes, every level, one thread and all"))
        .arg(flag("large-pages", "Keep the data in pages of 2 MiB"))
        .arg(flag("bench", "Passed by cargo").hide(true))
        .get_matches();
    let filters: Vec<&String> = arguments.get_many("filter").into_iter().flatten().collect();
    let wanted = |case: &Case| filters.is_empty() || filters.iter().any(|filter| case.is_wanted(filter));
    let full = arguments.get_flag("full");
    if arguments.get_flag("large-pages") {
        data::use_large_pages();
    }
    let mut cases = common::all_cases();
    cases.retain(|case| (full || case.brief) && wanted(case));
    if full {
        return kernels::full::measure(&cases);
    }

    let machine = Machine::here();
    let level = Level::current().expect("GRADIX_LEVEL names a level of this CPU");
    println!("{}, one thread, level {level}", machine.cpu);
    let bar = ProgressBar::new(cases.len() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}").expect("a template"));
    let pool = pool(1);
    let figures: Vec<Figures> = (cases.iter())
        .map(|case| {
            bar.set_message(case.id());
            let mut work = (case.make)();
            let figures = pool.install(|| figures(case, &mut *work));
            bar.inc(1);
            figures
        })
        .collect();
    bar.finish_and_clear();
    print(&cases, &figures);
}

/// What is known of a case.
struct Figures {
    gradix: Interval,
    plain_loop: Interval,
    /// Seconds, and the share of the case that they were taken on.
    reference: (f64, f64),
    ratio: Interval,
    of_limit: Interval,
    stores: Stores,
}

fn figures(case: &Case, work: &mut dyn Work) -> Figures {
    work.assert_equal(Side::Loop);
    let reference = case.reference(work);
    let [plain, streaming] = [Side::Limit(Stores::Plain), Side::Limit(Stores::Streaming)];
    let pairs = [(Side::Loop, Side::Gradix), (plain, Side::Gradix), (streaming, Side::Gradix)];
    let sides = [Side::Gradix, Side::Loop, plain, streaming];
    let rounds = Rounds::run(&sides, &pairs, STOP, |side| work.run(side));
    let limit = rounds.quicker(plain, streaming);
    Figures {
        gradix: rounds.seconds(Side::Gradix),
        plain_loop: rounds.seconds(Side::Loop),
        reference,
        ratio: rounds.ratio(Side::Loop, Side::Gradix),
        of_limit: rounds.ratio(limit, Side::Gradix),
        stores: if limit == plain { Stores::Plain } else { Stores::Streaming },
    }
}

fn print(cases: &[Case], figures: &[Figures]) {
    let mut ratios: Vec<f64> = figures.iter().map(|f| f.ratio.median).collect();
    ratios.sort_by(f64::total_cmp);
    let marked = ratios.get(MARKED.min(ratios.len()).saturating_sub(1)).copied().unwrap_or(0.0);
    let header = [
        "operation",
        "shape",
        "loop, us",
        "gradix, us",
        "ratio",
        "",
        "of the limit",
        "limit",
        "reference, us",
    ];
    let mut table = table(&header, 2);
    for (case, figures) in cases.iter().zip(figures) {
        let us = |seconds: f64| match seconds * 1e6 {
            us if us < 100.0 => format!("{us:.2}"),
            us => format!("{us:.0}"),
        };
        let (seconds, share) = figures.reference;
        let scaled = if share < 1.0 { "~" } else { "" };
        let ratio = figures.ratio.median;
        table.add_row([
            case.op.to_string(),
            format!("{} {}", case.dtype, case.shape.replace('_', " ")),
            us(figures.plain_loop.median),
            us(figures.gradix.median),
            format!("{ratio:.2}"),
            if ratio <= marked { "<" } else { "" }.to_string(),
            format!("{:.0} %", 100.0 * figures.of_limit.median),
            format!("{}{}", case.limit, if figures.stores == Stores::Streaming { ", streaming" } else { "" }),
            format!("{scaled}{}", us(seconds / share)),
        ]);
    }
    println!("{table}");
    println!(
        "\nratio: how often the loop takes as long as gradix; < marks the {MARKED} smallest. of the limit: the time of a bare\n\
         loop over the same bytes, with plain or with streaming stores, whichever is faster, as a share of gradix's time.\n\
         ~ the reference was timed on a part of the shape, and its time scaled.\n\n\
         More: `cargo bench -- FILTER` for some operations, `-- --large-pages` for data in pages of 2 MiB, `-- --full FILTER`\n\
         for criterion's figures at every level and number of threads. Shapes that nobody chose: `cargo bench --bench sweep`.\n\
         Threads as a program calls them: `--bench parallel`. Against what was recorded: `--bench speedups -- --check`."
    );
}
