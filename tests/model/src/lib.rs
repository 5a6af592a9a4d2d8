//! The crate's threads alone, so that a model checker or sanitizer need not build the kernels.

#![allow(dead_code, unreachable_pub)] // the kernels call it

#[path = "../../../src/parallel.rs"]
pub mod parallel;

/// As src/array/raw.rs has it.
mod array {
    pub trait Split: Sized + Send {
        fn len(&self) -> usize;
        fn split_at(self, mid: usize) -> (Self, Self);
    }
}
