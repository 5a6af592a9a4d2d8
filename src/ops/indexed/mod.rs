//! Gather and scatter-add: what an index list reads, and what it writes.

pub(crate) mod gather;
pub(crate) mod scatter;
