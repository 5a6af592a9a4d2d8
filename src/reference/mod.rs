//! The definitions: plain loops with the same signatures as the public functions.
//!
//! Tests hold the fast code to these; nothing in the crate calls them.

pub mod select;
