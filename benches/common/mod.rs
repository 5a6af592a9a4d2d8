//! What all benchmarks share: the data, the loops that people write, the limits, paired timing, and the list of
//! what is measured by name. `kernels.rs`, the gate (`speedups.rs`), the curves and `peers/` all use it, so that a name such
//! as `take/f32/4M_of_64M` means the same work everywhere.

#![allow(clippy::unit_arg)] // `Ok(f())`, so that forms with and without errors are arms of one match
#![allow(dead_code, unreachable_pub)] // each benchmark uses its part

pub mod data;
pub mod gate;
pub mod limits;
pub mod loops;
pub mod machine;
pub mod paired;
pub mod record;
pub mod tables;

/// One file per operation: its work, and the cases that are measured.
pub mod work {
    pub mod gather;
    pub mod scatter;
    pub mod select;
    pub mod softmax_xent;
}

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::any::Any;

/// An implementation of an operation, or its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// This crate, as it would be called.
    Gradix,
    /// The loop that people write, on one thread.
    Loop,
    /// The definition, on one thread. In a default build its fused multiply-adds may be calls of a library, so it is
    /// shown but no speedup is taken from it.
    Reference,
    /// A bare loop over the same bytes on the same threads, with these stores.
    Limit(limits::Stores),
}

/// An operation at one shape: its data, and every implementation.
pub trait Work: Any + Send {
    fn run(&mut self, side: Side);
    /// The result of a side, in numbers that hold every bit of it.
    fn answer(&mut self, side: Side) -> Vec<f64>;
    /// Panics unless gradix, at the level and on the threads of this call, gives the result of another side.
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
    /// Whether the gate measures it, and whether a bare `cargo bench` does; `cargo bench -- --full` measures all.
    pub gate: bool,
    pub brief: bool,
    /// Where the reference would take long: less of the same work.
    pub part: Option<Part>,
    pub make: Box<dyn Fn() -> Box<dyn Work> + Sync>,
}

/// A part of a case.
pub struct Part {
    /// The share of the case's elements.
    pub share: f64,
    pub make: Box<dyn Fn() -> Box<dyn Work> + Sync>,
}

impl Case {
    /// `op/dtype/shape`
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.op, self.dtype, self.shape)
    }

    /// The same for the gate, under this name among other libraries.
    pub fn gated(self, peer: &'static str) -> Self {
        Case { peer, gate: true, brief: true, ..self }
    }

    /// Asserts that gradix answers as the reference does, on the case or on its part; the reference's seconds there, and the
    /// share of the case that this is.
    pub fn reference(&self, work: &mut dyn Work) -> (f64, f64) {
        let mut part = self.part.as_ref().map(|part| (part.make)());
        let work = part.as_deref_mut().unwrap_or(work);
        work.assert_equal(Side::Reference);
        let seconds = paired::timed(1, || work.run(Side::Reference)).as_secs_f64();
        (seconds, self.part.as_ref().map_or(1.0, |part| part.share))
    }

    /// Whether its id, or its name among other libraries, contains one of these parts (with commas between them).
    pub fn is_wanted(&self, filter: &str) -> bool {
        filter.split(',').any(|part| self.id().contains(part) || self.peer.contains(part))
    }
}

/// All that is listed by name.
pub fn all_cases() -> Vec<Case> {
    use work::{gather, scatter, select, softmax_xent};
    [gather::cases(), scatter::cases(), select::cases(), softmax_xent::cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// All that the gate measures.
pub fn cases() -> Vec<Case> {
    all_cases().into_iter().filter(|case| case.gate).collect()
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
