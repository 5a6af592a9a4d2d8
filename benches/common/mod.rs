//! What all benchmarks share: the data, the loops that people write, the limits, timing in turns, and the list of
//! what is measured. The criterion files, the gate (`speedups.rs`), the curves and `peers/` all use it, so that a name such
//! as `take/f32/64M_of_128M` means the same work everywhere.

#![allow(clippy::unit_arg)] // `Ok(f())`, so that forms with and without errors are arms of one match
#![allow(dead_code, unreachable_pub)] // each benchmark uses its part

pub mod data;
pub mod gate;
pub mod limits;
pub mod machine;
pub mod paired;
pub mod record;
pub mod tables;
pub mod textbook;

/// One file per operation: its work, and the cases that are measured.
pub mod work {
    pub mod gather;
    pub mod scatter;
    pub mod select;
    pub mod softmax_xent;
}

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::any::Any;

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// This crate, as it would be called.
    Gradix,
    /// The loop that people write, on one thread.
    Textbook,
    /// The definition, on one thread. In a default build its fused multiply-adds may be calls of a library, so it is
    /// shown but no speedup is taken from it.
    Reference,
    /// The least that the memory allows for the same bytes and threads.
    Limit,
}

/// Data, and everybody who works on it.
pub trait Work: Any + Send {
    fn run(&mut self, side: Side);
    /// What a side answers, in numbers that hold every bit of it.
    fn answer(&mut self, side: Side) -> Vec<f64>;
    /// Panics unless gradix, at the level and on the threads of this call, answers as another side does.
    fn assert_equal(&mut self, to: Side) {
        assert!(self.answer(Side::Gradix) == self.answer(to), "gradix answers differently from {to:?}");
    }
}

/// The numbers of an answer.
pub fn numbers<T: num_traits::ToPrimitive>(answer: &[T]) -> Vec<f64> {
    answer.iter().map(|x| x.to_f64().expect("a number")).collect()
}

/// Something that is measured.
pub struct Case {
    /// Its name in the comparison with other libraries, where it is part of that.
    pub peer: &'static str,
    pub op: &'static str,
    pub dtype: &'static str,
    pub shape: String,
    /// The elements that are worked on.
    pub elements: usize,
    /// The bytes that must be read and written, indices included.
    pub bytes: usize,
    /// What its limit is.
    pub limit: &'static str,
    /// Whether the gate measures it; criterion measures all.
    pub gate: bool,
    pub make: Box<dyn Fn() -> Box<dyn Work>>,
}

impl Case {
    /// `op/dtype/shape`
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.op, self.dtype, self.shape)
    }

    /// The same for the gate, under this name among other libraries.
    pub fn gated(self, peer: &'static str) -> Self {
        Case { peer, gate: true, ..self }
    }

    /// Whether its id, or its name among other libraries, contains one of these parts (with commas between them).
    pub fn is_wanted(&self, filter: &str) -> bool {
        filter.split(',').any(|part| self.id().contains(part) || self.peer.contains(part))
    }
}

/// All that the gate measures.
pub fn cases() -> Vec<Case> {
    use work::{gather, scatter, select, softmax_xent};
    let all = [gather::cases(), scatter::cases(), select::cases(), softmax_xent::cases()];
    all.into_iter().flatten().filter(|case| case.gate).collect()
}

/// Some cases, and those of a sweep that are not among them.
pub fn with_sweep(mut cases: Vec<Case>, sweep: impl Iterator<Item = Case>) -> Vec<Case> {
    for case in sweep {
        if cases.iter().all(|known| known.id() != case.id()) {
            cases.push(case);
        }
    }
    cases
}

/// A pool of so many threads. Timing loops run inside, so that entering it is not part of what is timed.
pub fn pool(threads: usize) -> ThreadPool {
    ThreadPoolBuilder::new().num_threads(threads).build().expect("threads to measure with")
}

/// One thread, and as many as there are CPUs.
pub fn thread_counts() -> Vec<usize> {
    let mut counts = vec![1, num_cpus::get()];
    counts.dedup();
    counts
}
