//! Threads: whether a second one pays, and how work is cut into pieces. The only file that knows of rayon.
//!
//! Work is cut by its data alone and always at the same places (or, where no result depends on the places, into a piece
//! for each thread), so that no result depends on how many threads there were; how many there are is rayon's business (a
//! caller's own pool is used where the caller stands in one).

pub(crate) use crate::array::Split;
use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

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

/// Pieces that were cut by other means.
impl<T: Send> Split for Vec<T> {
    fn len(&self) -> usize {
        Vec::len(self)
    }
    fn split_at(mut self, mid: usize) -> (Self, Self) {
        let rest = self.split_off(mid);
        (self, rest)
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

/// Lends `f` the `S` that the last `f` on this thread left; a new one where there is none. For scratch, which would else be
/// allocated for each piece of work.
#[inline(always)] // it may be called, and `f` run, inside a level
pub(crate) fn with_kept<S: Default + 'static, R>(f: impl FnOnce(&mut S) -> R) -> R {
    thread_local! {
        static KEPT: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
    }
    let take = |kept: &RefCell<Vec<Box<dyn Any>>>| {
        let mut kept = kept.borrow_mut();
        let at = kept.iter().position(|s| s.is::<S>())?;
        kept.swap_remove(at).downcast::<S>().ok()
    };
    let mut s = KEPT.with(take).unwrap_or_default();
    let result = f(&mut s);
    KEPT.with(|kept| kept.borrow_mut().push(s));
    result
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

/// Writes answers of unknown size one after the other: `count` tells how many units of `out` a chunk of `work` fills,
/// `write` fills exactly these; both are told the number of the chunk's first unit. `out` has room for all.
///
/// A thread counts a chunk and, where all chunks before it are counted, is handed its part of `out` and fills it
/// while the chunk is still in its cache. Where they are not, it leaves the part to whoever counts the last of them,
/// and counts another chunk meanwhile: no thread ever waits for another, descheduled or not.
pub(crate) fn count_then_write<W: Split, O: Split>(
    work: W,
    out: O,
    chunk: usize,
    count: impl Fn(usize, &mut W) -> usize + Sync,
    write: impl Fn(usize, W, O) + Sync,
) -> usize {
    let workers = threads().min(work.len().div_ceil(chunk.max(1)));
    let line = Mutex::new(Line {
        unclaimed: Some(work),
        claimed: 0,
        counted: BTreeMap::new(),
        next: 0,
        room: Some(out),
        ready: VecDeque::new(),
        total: 0,
    });
    let lock = || -> MutexGuard<'_, Line<W, O>> { line.lock().unwrap_or_else(PoisonError::into_inner) };
    let worker = || {
        loop {
            let ready = lock().ready.pop_front();
            if let Some((first, work, out)) = ready {
                write(first, work, out);
                continue;
            }
            let claim = lock().claim(chunk);
            let Some((first, mut work)) = claim else { return };
            let hits = count(first, &mut work);
            let mine = lock().hand_out(first, work, hits);
            if let Some((first, work, out)) = mine {
                write(first, work, out);
            }
        }
    };
    for_each(0..workers, 1, |_, workers: std::ops::Range<usize>| workers.for_each(|_| worker()));
    lock().total
}

/// The chunks of [`count_then_write`] on their way: unclaimed, claimed, counted, ready to be written.
struct Line<W, O> {
    unclaimed: Option<W>,
    /// How many units are claimed.
    claimed: usize,
    /// By first unit: chunks whose part of `room` depends on chunks not yet counted.
    counted: BTreeMap<usize, (W, usize)>,
    /// The first unit of the chunk whose part comes next.
    next: usize,
    room: Option<O>,
    ready: VecDeque<(usize, W, O)>,
    total: usize,
}

impl<W: Split, O: Split> Line<W, O> {
    fn claim(&mut self, chunk: usize) -> Option<(usize, W)> {
        let work = self.unclaimed.take()?;
        let len = work.len().min(chunk);
        if len == 0 {
            return None;
        }
        let (now, later) = work.split_at(len);
        self.unclaimed = Some(later);
        let first = self.claimed;
        self.claimed += len;
        Some((first, now))
    }

    /// Parts for this chunk and all that waited for it alone; the first of them, if any, is the caller's to write.
    fn hand_out(&mut self, first: usize, work: W, hits: usize) -> Option<(usize, W, O)> {
        self.counted.insert(first, (work, hits));
        while let Some((work, hits)) = self.counted.remove(&self.next) {
            let (part, room) = self.room.take()?.split_at(hits);
            self.room = Some(room);
            self.total += hits;
            let first = self.next;
            self.next += work.len();
            self.ready.push_back((first, work, part));
        }
        self.ready.pop_front()
    }
}
