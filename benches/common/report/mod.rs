//! Tables and pictures of the figures in `results/`. They are made from the kept figures alone, so anyone who has these can
//! make them again, and a test can tell whether what the repository shows is what was measured.

mod plots;

use super::gate::geometric_mean;
use super::record::{Compared, Curves, Parallel, Peers, Speedups, Sweep, Way, load, results};
use super::tables::table;
use std::fs;
use std::path::PathBuf;

pub const SPEEDUPS: &str = "speedups.json";
pub const LARGE_PAGES: &str = "speedups-large-pages.json";
pub const CURVES: &str = "curves.json";
pub const PARALLEL: &str = "parallel.json";
pub const SWEEPS: [&str; 4] = ["sweep.json", "sweep-avx512.json", "sweep-avx2.json", "sweep-portable.json"];
/// Other crates, and Python's libraries.
pub const PEERS: [&str; 2] = ["peers.json", "python.json"];
/// A linear layer and its loss, beside candle and burn.
pub const LINEAR: &str = "linear.json";
/// Between these lines of README.md stands what [`readme`] makes.
pub const MARKERS: [&str; 2] = ["<!-- figures: begin -->", "<!-- figures: end -->"];

/// A file to be written: where, below `results/`, and what.
pub type Page = (String, String);

/// Every machine that has figures.
pub fn machines() -> Vec<String> {
    let folders = fs::read_dir(results()).into_iter().flatten().flatten();
    let mut names: Vec<String> = folders
        .filter(|folder| folder.path().join(SPEEDUPS).exists())
        .filter_map(|folder| folder.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// The machine whose figures README.md shows: the one that `results/shown` names.
pub fn shown() -> Option<String> {
    fs::read_to_string(results().join("shown")).ok().map(|name| name.trim().to_string())
}

/// All that is made of a machine's figures.
pub fn pages(machine: &str) -> Vec<Page> {
    let speedups: Speedups = load(machine, SPEEDUPS).expect("figures of this machine");
    let mut pages = vec![
        ("speedups.md".to_string(), speedups_table(&speedups, load(machine, LARGE_PAGES))),
        ("speedups.svg".to_string(), plots::speedups(&speedups)),
        ("limits.svg".to_string(), plots::limits(&speedups)),
    ];
    if let Some(curves) = load::<Curves>(machine, CURVES) {
        pages.push(("selectivity.svg".to_string(), plots::selectivity(&curves)));
        pages.push(("sizes.svg".to_string(), plots::sizes(&curves)));
        pages.push(("memory.md".to_string(), memory_table(&curves)));
    }
    if let Some(parallel) = load::<Parallel>(machine, PARALLEL) {
        pages.push(("parallel.md".to_string(), parallel_table(&parallel)));
        pages.push(("parallel.svg".to_string(), plots::parallel(&parallel)));
    }
    for sweep in SWEEPS.iter().filter_map(|file| load::<Sweep>(machine, file)) {
        pages.extend(sweep_pages(&sweep));
    }
    for file in PEERS {
        if let Some(peers) = load::<Peers>(machine, file) {
            let name = file.trim_end_matches(".json");
            pages.push((format!("{name}.md"), peers_table(&peers)));
            for threads in thread_counts(&peers) {
                pages.push((format!("{name}-{threads}.svg"), plots::peers(&peers, threads)));
            }
        }
    }
    if let Some(linear) = load::<Peers>(machine, LINEAR) {
        pages.push(("linear.md".to_string(), peers_table(&linear)));
    }
    let is_shown = shown().is_none_or(|shown| shown == machine);
    let marked = |file: &str, text: String| match is_shown || !file.ends_with(".md") {
        true => text,
        false => text.replacen("\n\n", &format!("\n\n{EARLIER}\n\n"), 1),
    };
    pages.into_iter().map(|(file, text)| (format!("{machine}/{file}"), marked(&file, text))).collect()
}

/// Stands at the top of the tables of machines that README.md does not show.
const EARLIER: &str = "**These kernels have changed since**: the machine could not be measured again.";

fn thread_counts(peers: &Peers) -> Vec<usize> {
    let mut counts: Vec<usize> = peers.rows.iter().map(|row| row.threads).collect();
    counts.sort_unstable();
    counts.dedup();
    counts
}

fn ms(seconds: f64) -> String {
    match seconds * 1e3 {
        ms if ms < 0.01 => format!("{ms:.4}"),
        ms if ms < 1.0 => format!("{ms:.3}"),
        ms if ms < 100.0 => format!("{ms:.2}"),
        ms => format!("{ms:.0}"),
    }
}

fn speedups_table(speedups: &Speedups, large_pages: Option<Speedups>) -> String {
    let header = [
        "id",
        "ms",
        "plain loop",
        "reference",
        "speedup",
        "95 %",
        "of the limit",
        "limit",
        "2 MiB pages, ms",
        "made",
    ];
    let mut table = table(&header, 1);
    let large_pages = large_pages.unwrap_or_default();
    for row in &speedups.rows {
        let speedup = row.speedup.ratio;
        let scaled = if row.reference_is_scaled { "~" } else { "" };
        let in_large_pages = large_pages.rows.iter().find(|large| large.id == row.id);
        table.add_row([
            format!("`{}`", row.id),
            ms(row.seconds.median),
            ms(row.loop_seconds.median),
            format!("{scaled}{}", ms(row.reference_seconds)),
            format!("{:.2}", speedup.median),
            format!("{:.2} to {:.2}", speedup.low, speedup.high),
            format!("{:.0} %", 100.0 * row.of_limit.ratio.median),
            row.limit.clone(),
            in_large_pages.map_or("–".into(), |large| ms(large.seconds.median)),
            row.made.commit.clone(),
        ]);
    }
    let machine = &speedups.machine;
    let mut days: Vec<&str> = speedups.rows.iter().map(|row| row.made.day.as_str()).collect();
    days.sort_unstable();
    let span = match (days.first(), days.last()) {
        (Some(first), Some(last)) if first != last => format!("between {first} and {last}"),
        (Some(day), _) => format!("on {day}"),
        _ => String::new(),
    };
    format!(
        "# {}, {} CPUs\n\nMeasured {span}. Times in milliseconds; `~` was taken on a part of the shape and scaled.\n\n{}\n",
        machine.cpu,
        machine.cpus,
        trimmed(&table.to_string())
    )
}

fn parallel_table(parallel: &Parallel) -> String {
    let mut header = vec!["operation", "elements", "one thread, ms"];
    header.extend(Way::ALL.map(Way::name));
    let mut table = table(&header, 1);
    for ways in parallel.rows.chunks(Way::ALL.len()) {
        let first = &ways[0];
        let mut cells = vec![first.op.clone(), first.elements.to_string(), ms(first.one_seconds.median)];
        cells.extend(ways.iter().map(|row| {
            let mark = if row.is_slower() { " slower" } else { "" };
            format!("{:.2}{mark}", row.ratio.median)
        }));
        table.add_row(cells);
    }
    let slower = parallel.rows.iter().filter(|row| row.is_slower()).count();
    format!(
        "# {}: {} threads against one\n\nHow often one thread takes as long as all, called in four ways. The times of one \
         thread are after serial work.\nSlower on all threads in {slower} of {} rows; `f32`, {} ({}, {}).\n\n{}\n",
        parallel.machine.cpu,
        parallel.machine.cpus,
        parallel.rows.len(),
        parallel.made.commit,
        parallel.made.rustc,
        parallel.made.day,
        trimmed(&table.to_string())
    )
}

/// What is made of a sweep.
pub fn sweep_pages(sweep: &Sweep) -> Vec<Page> {
    let slower: Vec<String> = (sweep.rows.iter().filter(|row| row.is_slower()))
        .map(|row| format!("* {}, {}: {:.2}\n", row.op, row.shape, row.ratio))
        .collect();
    let verdict = match slower.len() {
        0 => "Nowhere slower than the loop by more than a call may cost.\n".to_string(),
        n => format!(
            "Slower than the loop, by more than a call may cost, at {n} shapes:\n\n{}",
            slower.concat()
        ),
    };
    let text = format!(
        "# {}: shapes drawn from seed {} against plain loops\n\nLevel {}, one thread, {} shapes, {} ({}, {}). A ratio is how often the \
         loop takes as long.\n\n{}\n\n{verdict}",
        sweep.machine.cpu,
        sweep.seed,
        sweep.level,
        sweep.rows.len(),
        sweep.made.commit,
        sweep.made.rustc,
        sweep.made.day,
        sweep_means(sweep),
    );
    vec![(sweep.file("md"), text), (sweep.file("svg"), plots::sweep(sweep))]
}

/// A line for each operation: the geometric mean of its ratios, the extremes, and how many are slower than the loop.
pub fn sweep_means(sweep: &Sweep) -> String {
    let header = ["operation", "shapes", "geometric mean", "smallest", "largest", "slower"];
    let mut table = table(&header, 1);
    for (op, rows) in sweep.operations() {
        let ratios = || rows.iter().map(|row| row.ratio);
        table.add_row([
            op.to_string(),
            rows.len().to_string(),
            format!("{:.2}", geometric_mean(ratios())),
            format!("{:.2}", ratios().fold(f64::INFINITY, f64::min)),
            format!("{:.2}", ratios().fold(0.0, f64::max)),
            rows.iter().filter(|row| row.is_slower()).count().to_string(),
        ]);
    }
    trimmed(&table.to_string())
}

fn memory_table(curves: &Curves) -> String {
    let mut table = table(&["threads", "limit", "GB/s read and written"], 2);
    for point in &curves.limits {
        table.add_row([point.x.to_string(), point.line.clone(), format!("{:.1}", point.y)]);
    }
    format!("# {}: memory, 256 MiB each way\n\n{}\n", curves.machine.cpu, trimmed(&table.to_string()))
}

fn peers_table(peers: &Peers) -> String {
    let names = peer_names(&peers.rows);
    let mut header = vec!["case", "threads", "gradix, ms"];
    header.extend(names.iter().map(String::as_str));
    let mut table = table(&header, 1);
    for row in &peers.rows {
        let mut cells = vec![row.case.clone(), row.threads.to_string(), ms(row.gradix_seconds.median)];
        cells.extend(names.iter().map(|name| {
            let figure = row.peers.iter().find(|peer| peer.name == *name);
            figure.map_or("–".into(), |f| format!("{} ({:.2}x)", ms(f.seconds.median), f.ratio.median))
        }));
        table.add_row(cells);
    }
    let versions: Vec<String> =
        peers.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let mut absent: String =
        peers.absent.iter().map(|(name, why)| format!("\n* {name}: not compared. {why}")).collect();
    if !absent.is_empty() {
        absent.push('\n'); // or the table would be part of the list
    }
    format!(
        "# {}, {} CPUs: beside other libraries\n\nMilliseconds, and in brackets how often gradix's time that is. {}.\n{}\n{}\n",
        peers.machine.cpu,
        peers.machine.cpus,
        versions.join(", "),
        absent,
        trimmed(&table.to_string())
    )
}

/// The names of all peers, in the order of their appearance.
fn peer_names(rows: &[Compared]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for peer in rows.iter().flat_map(|row| &row.peers) {
        if !names.contains(&peer.name) {
            names.push(peer.name.clone());
        }
    }
    names
}

/// The one table of the README: cases that people recognise, as called, on one thread and on all.
pub fn readme(machine: &str) -> String {
    const SHOWN: [(&str, &str); 9] = [
        ("softmax_xent/f32/4096x1000", "gradient of softmax cross-entropy, 4,096 x 1,000"),
        ("softmax_xent/f32/1024x32000", "the same, 1,024 x 32,000"),
        ("softmax_xent/f32/1x128256", "the same, 1 x 128,256"),
        ("select_indices/f32/16M_at_1%", "indices above a threshold, 16M elements, 1 % hits"),
        ("select_indices/f32/16M_at_50%", "the same, 50 % hits"),
        ("select_values/f32/16M_at_50%", "values above a threshold, 50 % hits"),
        ("take/f32/4M_of_64M", "4M single elements of 64M"),
        ("take_axis/f32/65536_rows_of_100000x64", "65,536 rows of 100,000 x 64"),
        ("scatter_add_axis/f32/65536_rows_to_100000x64", "the same rows added back"),
    ];
    let speedups: Speedups = load(machine, SPEEDUPS).expect("figures of this machine");
    let Speedups { machine: here, rows } = &speedups;
    let cpus = here.cpus;
    let header = ["what", "loop, ms", "gradix, ms", "speedup", "95 %", "of the limit"];
    let mut table = table(&header, 1);
    for (id, what) in SHOWN {
        let Some(one) = rows.iter().find(|row| row.id == format!("{id}/best/1")) else { continue };
        let speedup = one.speedup.ratio;
        table.add_row([
            what.to_string(),
            ms(one.loop_seconds.median),
            ms(one.seconds.median),
            format!("{:.1}x", speedup.median),
            format!("{:.1} to {:.1}", speedup.low, speedup.high),
            format!("{:.0} % ({})", 100.0 * one.of_limit.ratio.median, one.limit),
        ]);
    }
    let pictures = [
        (PEERS[0], "peers-1.svg", "Time of other crates on the same work as multiples of gradix's"),
        (SPEEDUPS, "speedups.svg", "Speedup over the plain loop, at every level"),
    ];
    // By what it is made of: it may be about to be made.
    let there = |&(source, _, _): &(&str, &str, &str)| results().join(machine).join(source).exists();
    let picture = pictures
        .into_iter()
        .find(there)
        .map_or(String::new(), |(_, file, what)| format!("\n![{what}](results/{machine}/{file})\n"));
    format!(
        "{} (the CPU names itself so), {cpus} CPUs; `f32`, one thread, in paired runs:\n\n{}\n{picture}",
        here.cpu,
        trimmed(&table.to_string()),
    )
}

/// README.md with the figures as they are now.
pub fn readme_with_figures(text: &str, figures: &str) -> Option<String> {
    let [begin, end] = MARKERS;
    let (before, rest) = text.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{figures}{end}{after}"))
}

pub fn readme_path() -> PathBuf {
    results().with_file_name("README.md")
}

fn trimmed(table: &str) -> String {
    table.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}
