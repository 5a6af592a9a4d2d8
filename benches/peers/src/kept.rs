//! Prints what was measured, and keeps it.

use crate::common::machine::Machine;
use crate::common::record::{Compared, Peers, load, save};
use crate::common::tables::table;

/// The libraries, whose versions stand in the lock file.
const LIBRARIES: [&str; 9] = [
    "arrow-select",
    "burn-flex",
    "candle-core",
    "ndarray",
    "polars-compute",
    "rayon",
    "rten-vecmath",
    "vortex-array",
    "gradix",
];

/// Adds the rows to those that a file of this machine holds, in place of those of the same cases.
pub fn keep(file: &str, mut rows: Vec<Compared>, mut absent: Vec<(String, String)>, order: &[&str]) {
    let machine = Machine::here();
    let kept: Peers = load(&machine.name, file).unwrap_or_default();
    let remeasured = |old: &Compared| rows.iter().any(|new| new.id == old.id && new.threads == old.threads);
    let mut all: Vec<Compared> = kept.rows.into_iter().filter(|old| !remeasured(old)).collect();
    let is_of = |(name, _): &(String, String), row: &Compared| name.ends_with(&format!(" in {}", row.case));
    absent.extend(kept.absent.into_iter().filter(|old| !rows.iter().any(|row| is_of(old, row))));
    all.append(&mut rows);
    all.sort_by_key(|row| (row.threads, order.iter().position(|&name| name == row.case)));
    let all = Peers { machine, versions: versions(), absent, rows: all };
    println!("kept in {}", save(&all.machine.name, file, &all).display());
}

/// One line per case, one column per peer: milliseconds, and how often it takes as long as gradix.
pub fn print(rows: &[Compared]) {
    let mut names: Vec<&str> = Vec::new();
    for peer in rows.iter().flat_map(|row| &row.peers) {
        if !names.contains(&peer.name.as_str()) {
            names.push(&peer.name);
        }
    }
    let mut header = vec!["case", "threads", "gradix, ms"];
    header.extend(&names);
    let mut table = table(&header, 1);
    for row in rows {
        let mut cells = vec![
            row.case.clone(),
            row.threads.to_string(),
            format!("{:.4}", row.gradix_seconds.median * 1e3),
        ];
        cells.extend(names.iter().map(|name| {
            let peer = row.peers.iter().find(|peer| peer.name == *name);
            peer.map_or("–".into(), |peer| {
                format!("{:.4} ({:.2}x)", peer.seconds.median * 1e3, peer.ratio.median)
            })
        }));
        table.add_row(cells);
    }
    println!("{table}");
}

/// The versions in the lock file.
fn versions() -> Vec<(String, String)> {
    let lock = include_str!("../Cargo.lock");
    let mut versions = Vec::new();
    for (name, version) in lock.lines().zip(lock.lines().skip(1)) {
        let quoted = |line: &str| line.split('"').nth(1).map(str::to_string);
        if let (true, Some(name), Some(version)) =
            (name.starts_with("name = "), quoted(name), quoted(version))
            && LIBRARIES.contains(&name.as_str())
        {
            versions.push((name, version));
        }
    }
    versions
}
