//! Threads: whether a second one pays, and how work is cut into pieces. The only file that knows of rayon.
//!
//! Work is cut by its data alone and always at the same places, so that no result depends on how many threads there
//! were; how many there are is rayon's business (a caller's own pool is used where the caller stands in one).

use std::sync::OnceLock;

/// Work that can be cut in two at any unit.
pub(crate) trait Split: Sized + Send {
    /// The number of units.
    fn len(&self) -> usize;
    /// The first `mid` units and the rest.
    fn split_at(self, mid: usize) -> (Self, Self);
}

impl<T: Sync> Split for &[T] {
    fn len(&self) -> usize {
        <[T]>::len(self)
    }
    fn split_at(self, mid: usize) -> (Self, Self) {
        <[T]>::split_at(self, mid)
    }
}

impl<T: Send> Split for &mut [T] {
    fn len(&self) -> usize {
        <[T]>::len(self)
    }
    fn split_at(self, mid: usize) -> (Self, Self) {
        self.split_at_mut(mid)
    }
}

impl Split for std::ops::Range<usize> {
    fn len(&self) -> usize {
        self.end - self.start
    }
    fn split_at(self, mid: usize) -> (Self, Self) {
        (self.start..self.start + mid, self.start + mid..self.end)
    }
}

/// Several kinds of work over the same units, cut together.
macro_rules! split_together {
    ($($w:ident $a:ident $b:ident),*) => {
        impl<First: Split, $($w: Split),*> Split for (First, $($w),*) {
            fn len(&self) -> usize {
                self.0.len()
            }
            #[allow(non_snake_case)]
            fn split_at(self, mid: usize) -> (Self, Self) {
                let (first, $($w),*) = self;
                let (first, rest) = first.split_at(mid);
                $(let ($a, $b) = $w.split_at(mid);)*
                ((first, $($a),*), (rest, $($b),*))
            }
        }
    };
}
split_together!(B b0 b1);
split_together!(B b0 b1, C c0 c1);
split_together!(B b0 b1, C c0 c1, D d0 d1);

/// How many threads can share work that begins here: those of the current rayon pool, but no more than the CPUs
/// this process may use (a quota of one CPU, as in a container, makes a second thread a loss).
pub(crate) fn threads() -> usize {
    static CPUS: OnceLock<usize> = OnceLock::new();
    rayon::current_num_threads().min(*CPUS.get_or_init(num_cpus::get))
}

/// Runs `f` on pieces of `work`, in parallel where there are at least two pieces of `grain` units; `f` is also told
/// the number of the piece's first unit. Which pieces run where is not determined, so `f` must give each unit the
/// same result in any piece.
pub(crate) fn for_each<W: Split>(work: W, grain: usize, f: impl Fn(usize, W) + Sync) {
    fn halves<W: Split>(first: usize, work: W, grain: usize, f: &(impl Fn(usize, W) + Sync)) {
        let len = work.len();
        if len < 2 * grain {
            return f(first, work);
        }
        let mid = len / grain / 2 * grain;
        let (a, b) = work.split_at(mid);
        rayon::join(|| halves(first, a, grain, f), || halves(first + mid, b, grain, f));
    }
    let grain = grain.max(1);
    if work.len() < 2 * grain || threads() < 2 { f(0, work) } else { halves(0, work, grain, &f) }
}
