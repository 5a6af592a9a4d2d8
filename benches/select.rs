//! `cargo bench --bench select`: every form of select, at every level and thread count, beside the loop that people
//! write, the definition and the limit.

mod common;
#[allow(unreachable_pub)]
#[path = "common/rows.rs"]
mod rows;

fn main() {
    rows::measure(&common::work::select::cases());
}
