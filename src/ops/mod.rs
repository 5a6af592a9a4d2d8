//! The public operations: checks at the door, split, kernel.

pub mod select;
