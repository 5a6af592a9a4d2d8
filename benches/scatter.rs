//! `cargo bench --bench scatter`: every form of scatter, at every level and thread count, beside the loop that people
//! write, the definition and the limit.

mod common;
#[allow(unreachable_pub)]
#[path = "common/rows.rs"]
mod rows;

fn main() {
    rows::measure(&common::work::scatter::cases());
}
