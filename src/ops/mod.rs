//! The public operations: checks at the door, split, kernel.

pub(crate) mod gather;
pub(crate) mod scatter;
pub mod select;
pub(crate) mod softmax_xent;
