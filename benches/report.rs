//! `cargo bench --bench report`: the tables and pictures of results/, and the figures in README.md, from what is kept.

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

fn main() {
    for machine in report::machines() {
        for (file, text) in report::pages(&machine) {
            std::fs::write(record::results().join(&file), text).expect("a file in results/");
            println!("results/{file}");
        }
    }
    if let Some(machine) = report::shown() {
        let path = report::readme_path();
        let text = std::fs::read_to_string(&path).expect("README.md");
        match report::readme_with_figures(&text, &report::readme(&machine)) {
            Some(text) => std::fs::write(path, text).expect("README.md"),
            None => println!("README.md has no lines {:?}", report::MARKERS),
        }
    }
}
