//! `cargo bench --bench softmax_xent`: every form of softmax_xent, at every level and thread count, beside the loop that people
//! write, the definition and the limit.

mod common;
#[allow(unreachable_pub)]
#[path = "common/rows.rs"]
mod rows;

fn main() {
    rows::measure(&common::work::softmax_xent::cases());
}
