//! The public operations: checks at the door, split, kernel.

pub(crate) mod indexed;
pub mod select;
pub(crate) mod softmax_xent;
