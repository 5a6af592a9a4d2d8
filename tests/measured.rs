//! README.md and results/ show what was measured: no more, and nothing older.

#![allow(dead_code, unreachable_pub)] // the shared files are used in part

#[path = "../benches/common/gate.rs"]
mod gate;
#[path = "../benches/common/machine.rs"]
mod machine;
#[path = "../benches/common/record.rs"]
mod record;
#[path = "../benches/common/report/mod.rs"]
mod report;
#[path = "../benches/common/tables.rs"]
mod tables;

use std::fs::read_to_string;

const AGAIN: &str = "differs from the figures kept; `cargo bench --bench report` makes it again";

#[test]
fn readme_shows_the_figures_of_results() {
    let Some(machine) = report::shown() else { return };
    let text = read_to_string(report::readme_path()).expect("README.md");
    let now =
        report::readme_with_figures(&text, &report::readme(&machine)).expect("README.md has the markers");
    assert!(text == now, "README.md {AGAIN}");
}

#[test]
fn tables_and_pictures_are_those_of_the_figures() {
    for machine in report::machines() {
        for (file, text) in report::pages(&machine) {
            let kept = read_to_string(record::results().join(&file)).unwrap_or_default();
            assert!(kept == text, "results/{file} {AGAIN}");
        }
    }
}
