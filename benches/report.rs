//! `cargo bench --bench report`: the tables and pictures of results/, and the figures in README.md, from what is kept.
//! `-- --check` writes nothing and exits with 1 where they show anything else: no more than was measured, and nothing older.

#![allow(dead_code, unreachable_pub)] // the shared files are used in part

#[path = "common/gate.rs"]
mod gate;
#[path = "common/machine.rs"]
mod machine;
#[path = "common/record.rs"]
mod record;
#[path = "common/report/mod.rs"]
mod report;
#[path = "common/tables.rs"]
mod tables;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let check = std::env::args().any(|argument| argument == "--check");
    let mut stale = 0;
    for (path, text) in files() {
        if std::fs::read_to_string(&path).unwrap_or_default() == text {
            continue;
        }
        stale += 1;
        println!("{}{}", path.display(), if check { " differs from the figures kept" } else { "" });
        if !check {
            std::fs::write(&path, text).expect("a file to write figures to");
        }
    }
    if check && stale > 0 {
        println!("`cargo bench --bench report` makes them again");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Every file that shows figures, as it should be.
fn files() -> Vec<(PathBuf, String)> {
    let pages = report::machines().into_iter().flat_map(|machine| report::pages(&machine));
    let mut files: Vec<(PathBuf, String)> =
        pages.map(|(file, text)| (record::results().join(file), text)).collect();
    if let Some(machine) = report::shown() {
        let path = report::readme_path();
        let text = std::fs::read_to_string(&path).expect("README.md");
        let text = report::readme_with_figures(&text, &report::readme(&machine));
        files.push((path, text.unwrap_or_else(|| panic!("README.md has no lines {:?}", report::MARKERS))));
    }
    files
}
