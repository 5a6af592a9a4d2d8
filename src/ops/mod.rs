//! The public operations: checks at the door, split, kernel.

pub(crate) mod indexed;
#[cfg(feature = "linear")]
pub(crate) mod linear_xent;
pub mod select;
pub(crate) mod softmax_xent;
