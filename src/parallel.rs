//! Threads: the only file that knows of them. A call owns its work.
//!
//! The calling thread starts at once and claims piece after piece of the work. When what is left would keep
//! it busy for longer than help costs ([`WORTH_WAKING`]), it offers the rest to the other threads of the
//! current rayon pool. A helper that comes in time enters the call and claims pieces, too. A helper that
//! comes late finds the call closed and leaves. The calling thread waits only for helpers that have entered,
//! and runs nothing but its own work:
//!
//! * A call depends on no thread but its own. It ends while the caller holds a lock that other tasks of the
//!   pool want, while all workers are blocked, in a pool of one, in the child of a `fork`, inside a
//!   thread-local's destructor, and where no thread can be had.
//! * No task of anyone else sees what the calling thread has set, such as a level that [`Level::run`] forces.
//! * In a pool of n threads at most n work on a call. Tasks that all call this crate share the pool's threads
//!   and start no others.
//!
//! Which thread works on which piece is not determined, and no result depends on it: pieces are cut at
//! multiples of the operation's grain, and an operation gives each unit the same result in any piece.
//!
//! # The size of a piece
//!
//! A piece is a share of what is left, `left / (4 · threads)`, but at least a grain, so pieces become smaller
//! towards the end: a helper that comes late still finds its share, and the threads end together. To claim a
//! piece costs some 20 to 50 ns (an uncontended mutex). Operations choose a grain that takes a few
//! microseconds, so claiming costs them about 1 %.
//!
//! [`Level::run`]: crate::Level::run

#![allow(unsafe_code)] // for `Call::new` alone

pub(crate) use crate::array::Split;
use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{OnceLock, PoisonError};
use std::time::{Duration, Instant};

#[cfg(all(test, loom))]
use loom::sync::{Arc, Condvar, Mutex, MutexGuard}; // see `model`
#[cfg(not(all(test, loom)))]
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

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

/// How many threads can share work that begins here: those of the current rayon pool, but no more than the
/// CPUs that this process may use (in a container with a quota of one CPU, a second thread is a loss). 1
/// where no pool can be had.
///
/// The first call from outside any pool starts rayon's global pool, so ask only when there is enough work.
pub(crate) fn threads() -> usize {
    static CPUS: OnceLock<usize> = OnceLock::new();
    let pool = if rayon::current_thread_index().is_some() {
        rayon::current_num_threads()
    } else {
        threads_of_the_global_pool()
    };
    pool.min(*CPUS.get_or_init(num_cpus::get))
}

/// The number of rayon's global pool; starts it where nobody has.
fn threads_of_the_global_pool() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    // rayon itself would panic, at this and at every later call, where the system gives it no threads.
    *THREADS.get_or_init(|| match rayon::ThreadPoolBuilder::new().build_global() {
        _ if cfg!(target_family = "wasm") => 1,
        Ok(()) => rayon::current_num_threads(),
        Err(error) if std::error::Error::source(&error).is_some() => 1, // from the system: no threads
        Err(_) => panic::catch_unwind(rayon::current_num_threads).unwrap_or(1), // somebody has started it, or tried to
    })
}

thread_local! {
    /// What calls on this thread have left for later ones.
    static KEPT: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with the `S` that the last such call on this thread left, or with a new one where there is none.
/// For scratch, which would otherwise be allocated for each piece of work.
#[inline(always)] // it may be called, and `f` run, inside a level
pub(crate) fn with_scratch<S: Default + 'static, R>(f: impl FnOnce(&mut S) -> R) -> R {
    let mut s = kept_or_new();
    let result = f(&mut s);
    keep(s);
    result
}

#[inline(never)]
fn kept_or_new<S: Default + 'static>() -> Box<S> {
    let take = |kept: &RefCell<Vec<Box<dyn Any>>>| {
        let mut kept = kept.borrow_mut();
        let at = kept.iter().position(|s| s.is::<S>())?;
        kept.swap_remove(at).downcast::<S>().ok()
    };
    // Nothing is kept on a thread that ends, whose destructors may call us.
    KEPT.try_with(take).ok().flatten().unwrap_or_default()
}

#[inline(never)]
fn keep(s: Box<dyn Any>) {
    let _ = KEPT.try_with(|kept| kept.borrow_mut().push(s));
}

/// Help is offered when what is left would take the caller longer than this, as far as what it has done shows.
///
/// Where a worker sleeps, an offer costs the caller some 10 us, as the system must wake it, and it comes 40
/// to 100 us later: work of 100 us then gains nothing by help, work of 200 us a third, work of 400 us takes
/// half the time.
const WORTH_WAKING: Duration = Duration::from_micros(100);

/// The same where a worker has just helped and still looks for more: an offer costs 1 us, and work of 20 us
/// gains a third.
const WORTH_TELLING: Duration = Duration::from_micros(20);

/// For how many microseconds, at least, rayon's workers look for more before they sleep.
const AWAKE: usize = 20;

/// When a helper was last seen, as [`microseconds`] tell it; 0 before the first.
static LAST_SEEN: AtomicUsize = AtomicUsize::new(0);

/// The time since some start, modulo 2³² where a `usize` holds no more.
fn microseconds(now: Instant) -> usize {
    static START: OnceLock<Instant> = OnceLock::new();
    now.saturating_duration_since(*START.get_or_init(Instant::now)).as_micros() as usize
}

/// What should be left for an offer that is made at this time.
fn worth_help(now: Instant) -> Duration {
    let seen = LAST_SEEN.load(Relaxed);
    if seen != 0 && microseconds(now).wrapping_sub(seen) < AWAKE { WORTH_TELLING } else { WORTH_WAKING }
}

/// Work of at least so many units is first tried: a few units show how long the rest will take.
const TRIED: usize = 16;

/// Bytes that take a thread about as long as help is worth, at some 10 GB/s: 100 us.
pub(crate) const WORTH_BYTES: usize = 1 << 20;

/// Whether so many units that read or write so many bytes are one piece of work, whatever its grain is: they are too
/// few to be tried and too little to be offered untried. The offer of 64 rows of 1,000 classes, 8 us, cost as long
/// again.
#[inline]
pub(crate) fn is_little(units: usize, bytes: usize) -> bool {
    units < 2 || units < TRIED && bytes < WORTH_BYTES
}

/// Runs `f` on pieces of `work`, on several threads where there is enough of it; `f` is also told the number
/// of the piece's first unit. `grain` units are few enough for a piece and take a few microseconds. Which
/// pieces there are, and which run where, is not determined, so `f` must give each unit the same result in
/// any piece. Work of less than 16 units is offered at once, so its operation must know that it is worth it: see
/// [`is_little`].
pub(crate) fn for_each<W: Split>(work: W, grain: usize, f: impl Fn(usize, W) + Sync) {
    /// The first units after other work are slow, whatever the rest is: an eighth of what is worth help must be done
    /// before the rest is judged by it. Of 64 rows of 1,000 classes, 8 us, the first four took half the time after
    /// 4 ms of serial work, and the offer then cost 8 us more.
    const WARM: f64 = 8.0;
    let (len, grain) = (work.len(), grain.max(1));
    if len < 2 * grain {
        return f(0, work);
    }
    let mut left = Unclaimed { first: 0, work: Some(work) };
    if len >= TRIED {
        // Pieces double, so that there are few of them if the work is short.
        let start = Instant::now();
        let worth = worth_help(start).as_secs_f64();
        while let Some((first, piece)) = left.claim(left.first.max(grain.min(len / TRIED))) {
            f(first, piece);
            let elapsed = start.elapsed().as_secs_f64();
            if elapsed * left.len() as f64 > worth * left.first as f64 && elapsed > worth / WARM {
                break;
            }
        }
    }
    let threads = threads().min(1 + left.len() / grain);
    if threads < 2 {
        if let Some((first, rest)) = left.claim(usize::MAX) {
            f(first, rest);
        }
        return;
    }
    let left = Mutex::new(left);
    let claim = || {
        let mut left = lock(&left);
        let units = left.len() / (4 * threads) / grain * grain;
        left.claim(units.max(grain))
    };
    share(threads - 1, &|| {
        while let Some((first, piece)) = claim() {
            f(first, piece);
        }
    });
}

/// Work of which nobody has claimed any unit.
struct Unclaimed<W> {
    /// The number of its first unit.
    first: usize,
    work: Option<W>,
}

impl<W: Split> Unclaimed<W> {
    fn len(&self) -> usize {
        self.work.as_ref().map_or(0, W::len)
    }

    /// The first `units` or what there is, with the number of the first unit; `None` where nothing is left.
    fn claim(&mut self, units: usize) -> Option<(usize, W)> {
        let work = self.work.take()?;
        let (first, units) = (self.first, units.min(work.len()));
        self.first += units;
        if units == work.len() {
            return (units > 0).then_some((first, work));
        }
        let (now, later) = work.split_at(units);
        self.work = Some(later);
        Some((first, now))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // a panic is carried to the caller, which then reads nothing
}

/// Runs `work` here, and at the same time on up to `helpers` other threads of the current pool: on those that
/// come before it ends here. Returns when nobody runs it any more. A panic in a helper goes on here.
fn share(helpers: usize, work: &(dyn Fn() + Sync)) {
    /// Offers that no worker has looked at yet. Where workers are busy or gone they pile up, and no more are made.
    static OPEN_OFFERS: AtomicUsize = AtomicUsize::new(0);
    const MOST_OPEN_OFFERS: usize = 1024;
    run(work, |call| {
        if is_forked() {
            return;
        }
        for _ in 0..helpers {
            if OPEN_OFFERS.fetch_add(1, Relaxed) >= MOST_OPEN_OFFERS {
                OPEN_OFFERS.fetch_sub(1, Relaxed);
                break;
            }
            let call = Arc::clone(call);
            rayon::spawn(move || {
                OPEN_OFFERS.fetch_sub(1, Relaxed);
                call.help();
                LAST_SEEN.store(microseconds(Instant::now()), Relaxed);
            });
        }
    });
}

/// Runs `work` here and in each [`Call::help`] that begins before it ends here, on the call that `offer` is given.
fn run(work: &(dyn Fn() + Sync), offer: impl FnOnce(&Arc<Call>)) {
    let call = Call::new(work);
    let guard = Close(&call);
    offer(&call);
    work();
    drop(guard);
    let panicked = lock(&call.state).panicked.take();
    if let Some(payload) = panicked {
        panic::resume_unwind(payload);
    }
}

/// Whether this process is a child of the one that first shared work: threads do not follow into it, so
/// nobody would help, and rayon's locks may be held by threads that are not there.
fn is_forked() -> bool {
    static PROCESS: OnceLock<u32> = OnceLock::new();
    let process = std::process::id();
    *PROCESS.get_or_init(|| process) != process
}

/// A call's work, open to helpers until its caller has closed it.
struct Call {
    state: Mutex<State>,
    /// A helper has left after the call was closed.
    left: Condvar,
}

struct State {
    /// The work; `None` from when the call is closed.
    work: Option<&'static (dyn Fn() + Sync)>,
    /// Helpers that have entered and not left.
    inside: usize,
    panicked: Option<Box<dyn Any + Send>>,
}

impl Call {
    /// The caller must close the call before what it borrows ends; [`Close`] does, while unwinding, too.
    fn new(work: &(dyn Fn() + Sync)) -> Arc<Self> {
        // SAFETY: the lifetime is forgotten, not needed: `run`, the only caller, holds `work` until `Close`
        // has been dropped. `Close` takes the reference out, so that nobody gets it later, and then waits
        // until `inside` is 0, so that nobody who got it before still runs it.
        let work = unsafe { std::mem::transmute::<&(dyn Fn() + Sync), &'static (dyn Fn() + Sync)>(work) };
        let state = State { work: Some(work), inside: 0, panicked: None };
        Arc::new(Call { state: Mutex::new(state), left: Condvar::new() })
    }

    /// Does work of the call, if it is still open.
    fn help(&self) {
        let work = {
            let mut state = lock(&self.state);
            let Some(work) = state.work else { return };
            state.inside += 1;
            work
        };
        let result = panic::catch_unwind(AssertUnwindSafe(work));
        let mut state = lock(&self.state);
        state.inside -= 1;
        if let Err(payload) = result {
            state.panicked.get_or_insert(payload);
        }
        if state.work.is_none() && state.inside == 0 {
            self.left.notify_one();
        }
    }
}

/// Closes a call when dropped: nobody enters any more, and those who have entered have left.
struct Close<'a>(&'a Call);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        /// Looks before the thread sleeps, some 10 us: helpers, too, are at their last pieces.
        const LOOKS: usize = if cfg!(loom) { 1 } else { 200 };
        let mut state = lock(&self.0.state);
        state.work = None;
        for _ in 0..LOOKS {
            if state.inside == 0 {
                return;
            }
            drop(state);
            (0..16).for_each(|_| std::hint::spin_loop());
            state = lock(&self.0.state);
        }
        while state.inside > 0 {
            state = self.0.left.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Writes answers of unknown size one after the other: `count` tells how many units of `out` a chunk of `work` fills,
/// `write` fills exactly these; both are told the number of the chunk's first unit. `out` has room for all.
///
/// A thread counts a chunk and, where all chunks before it are counted, is handed its part of `out` and fills it
/// while the chunk is still in its cache. Where they are not, it leaves the part to whoever counts the last of them,
/// and counts another chunk: no thread ever waits for another, descheduled or not.
pub(crate) fn count_then_write<W: Split, O: Split>(
    work: W,
    out: O,
    chunk: usize,
    count: impl Fn(usize, &mut W) -> usize + Sync,
    write: impl Fn(usize, W, O) + Sync,
) -> usize {
    let workers = threads().min(work.len().div_ceil(chunk.max(1)));
    let line = Mutex::new(Line {
        unclaimed: Unclaimed { first: 0, work: Some(work) },
        counted: VecDeque::new(),
        next: 0,
        room: Some(out),
        ready: VecDeque::new(),
        total: 0,
    });
    let worker = || {
        loop {
            let ready = lock(&line).ready.pop_front();
            if let Some((first, work, out)) = ready {
                write(first, work, out);
                continue;
            }
            let claim = lock(&line).unclaimed.claim(chunk);
            let Some((first, mut work)) = claim else { return };
            let hits = count(first, &mut work);
            let mine = lock(&line).hand_out(first, work, hits);
            if let Some((first, work, out)) = mine {
                write(first, work, out);
            }
        }
    };
    share(workers.saturating_sub(1), &worker);
    lock(&line).total
}

/// The chunks of [`count_then_write`] on their way: unclaimed, claimed, counted, ready to be written.
struct Line<W, O> {
    unclaimed: Unclaimed<W>,
    /// In order, each with its first unit: chunks whose part of `room` depends on chunks not yet counted.
    counted: VecDeque<(usize, W, usize)>,
    /// The first unit of the chunk whose part comes next.
    next: usize,
    room: Option<O>,
    ready: VecDeque<(usize, W, O)>,
    total: usize,
}

impl<W: Split, O: Split> Line<W, O> {
    /// Parts for this chunk and all that waited for it alone; the first of them, if any, is the caller's to write.
    fn hand_out(&mut self, first: usize, work: W, hits: usize) -> Option<(usize, W, O)> {
        let place = self.counted.partition_point(|counted| counted.0 < first);
        self.counted.insert(place, (first, work, hits));
        while self.counted.front().is_some_and(|counted| counted.0 == self.next) {
            let (first, work, hits) = self.counted.pop_front()?;
            let (part, room) = self.room.take()?.split_at(hits);
            self.room = Some(room);
            self.total += hits;
            self.next += work.len();
            self.ready.push_back((first, work, part));
        }
        self.ready.pop_front()
    }
}

/// Every order in which a caller and its helpers can come, work, panic and go: `.ci/loom`.
#[cfg(all(test, loom))]
mod model {
    use super::*;
    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
    use loom::thread;

    /// Two units of work for the caller and so many helpers; whoever claims the unit `panics` panics.
    fn check(helpers: usize, panics: Option<usize>) {
        let mut model = loom::model::Builder::new();
        // All orders with one helper; with two, those in which threads are interrupted at most twice where
        // they could go on.
        model.preemption_bound = (helpers > 1).then_some(2);
        model.check(move || {
            let (left, done) = (Mutex::new(0..2), AtomicUsize::new(0));
            let (inside, caller_panics) = (AtomicUsize::new(0), AtomicBool::new(false));
            // What the work borrows; false from when the call has returned.
            let alive = std::sync::Arc::new(AtomicBool::new(true));
            let seen = std::sync::Arc::clone(&alive);
            let caller = thread::current().id();
            let work = || {
                assert!(seen.load(Relaxed), "work goes on after the call has returned");
                inside.fetch_add(1, Relaxed);
                loop {
                    let unit = lock(&left).next();
                    let Some(unit) = unit else { break };
                    done.fetch_add(1, Relaxed);
                    if panics == Some(unit) {
                        inside.fetch_sub(1, Relaxed);
                        caller_panics.fetch_or(thread::current().id() == caller, Relaxed);
                        panic::resume_unwind(Box::new(unit));
                    }
                }
                inside.fetch_sub(1, Relaxed);
            };
            let result = panic::catch_unwind(AssertUnwindSafe(|| {
                run(&work, |call| {
                    for _ in 0..helpers {
                        let call = Arc::clone(call);
                        thread::spawn(move || call.help());
                    }
                });
            }));
            alive.store(false, Relaxed);
            assert_eq!(inside.load(Relaxed), 0, "a helper still works");
            let payload = result.err().and_then(|payload| payload.downcast_ref::<usize>().copied());
            assert_eq!(payload, panics, "a panic is carried to the caller");
            // Units that the caller would have claimed after its panic are left.
            let all = if caller_panics.load(Relaxed) { 1..=2 } else { 2..=2 };
            assert!(all.contains(&done.load(Relaxed)));
        });
    }

    #[test]
    fn one_helper() {
        check(1, None);
    }

    #[test]
    fn two_helpers() {
        check(2, None);
    }

    #[test]
    fn one_helper_and_a_panic() {
        (0..2).for_each(|unit| check(1, Some(unit)));
    }

    #[test]
    fn two_helpers_and_a_panic() {
        (0..2).for_each(|unit| check(2, Some(unit)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads")
    }

    /// Takes a millisecond, so that helpers come in time.
    fn slow() {
        thread::sleep(Duration::from_millis(1));
    }

    #[test]
    fn every_unit_is_worked_on_once_and_is_told_its_number() {
        for len in (0..70).chain([127, 128, 1000]) {
            for grain in [0, 1, 2, 7, 64, 5000] {
                let mut units = vec![usize::MAX; len];
                for_each(&mut units[..], grain, |first, units: &mut [usize]| {
                    if len < 70 && grain == 1 {
                        thread::sleep(Duration::from_micros(20));
                    }
                    for (k, unit) in units.iter_mut().enumerate() {
                        assert_eq!(*unit, usize::MAX, "worked on twice");
                        *unit = first + k;
                    }
                });
                assert!(units.iter().enumerate().all(|(k, &unit)| unit == k), "{len} units, grain {grain}");
            }
        }
    }

    #[test]
    fn helpers_come_where_there_is_much_to_do_and_never_for_little() {
        let caller = thread::current().id();
        let helped = |units: usize| {
            let helped = AtomicUsize::new(0);
            for_each(0..units, 1, |_, units: std::ops::Range<usize>| {
                units.for_each(|_| slow());
                helped.fetch_add(usize::from(thread::current().id() != caller), Relaxed);
            });
            helped.into_inner()
        };
        assert_eq!(helped(1), 0);
        if threads() > 1 {
            assert!((0..20).any(|_| helped(100) > 0), "in 20 times 100 ms nobody came");
        }
    }

    #[test]
    fn a_panic_is_carried_to_the_caller_when_nobody_works_any_more() {
        let inside = AtomicUsize::new(0);
        let (mut in_helpers, mut in_callers) = (0, 0);
        let pools = [1, 2, 4].map(pool);
        for round in 0..60 {
            let of_helpers = round % 2 == 0;
            let result = panic::catch_unwind(AssertUnwindSafe(|| {
                pools[round % 3].install(|| {
                    let caller = thread::current().id();
                    for_each(0..40, 1, |first, _: std::ops::Range<usize>| {
                        inside.fetch_add(1, Relaxed);
                        thread::sleep(Duration::from_micros(100));
                        inside.fetch_sub(1, Relaxed);
                        let is_helper = thread::current().id() != caller;
                        if is_helper == of_helpers && first > 20 {
                            panic::resume_unwind(Box::new(is_helper));
                        }
                    });
                });
            }));
            assert_eq!(inside.load(Relaxed), 0, "somebody still works on a call that has ended");
            match result.map_err(|payload| payload.downcast_ref::<bool>().copied()) {
                Err(Some(true)) => in_helpers += 1,
                Err(Some(false)) => in_callers += 1,
                Ok(()) => {} // the one to panic came to no late piece
                Err(None) => panic!("another panic"),
            }
        }
        assert!(in_callers > 0 && (in_helpers > 0 || num_cpus::get() == 1));
    }

    #[test]
    fn answers_of_unknown_size_stand_one_after_the_other() {
        let x: Vec<u32> = (0..10_000).map(|i| i % 7).collect();
        let expected: Vec<u32> = x.iter().copied().filter(|&x| x > 3).collect();
        for chunk in [1, 3, 100, 4096, 20_000] {
            let mut out = vec![0; expected.len()];
            let total = count_then_write(
                &x[..],
                &mut out[..],
                chunk,
                |_, x| x.iter().filter(|&&x| x > 3).count(),
                |first, part, out: &mut [u32]| {
                    assert_eq!(part, &x[first..first + part.len()]);
                    out.iter_mut().zip(part.iter().filter(|&&x| x > 3)).for_each(|(out, &x)| *out = x);
                },
            );
            assert_eq!((total, &out), (expected.len(), &expected));
        }
    }

    /// The most that worked at the same time on calls of `callers`, each of 100 units.
    fn most_at_once(callers: impl FnOnce(&(dyn Fn() + Sync))) -> usize {
        let (inside, most, done) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let called = AtomicUsize::new(0);
        callers(&|| {
            called.fetch_add(1, Relaxed);
            let caller = thread::current().id();
            let of_its_own = AtomicUsize::new(0);
            for_each(0..100, 1, |_, units: std::ops::Range<usize>| {
                most.fetch_max(inside.fetch_add(1, Relaxed) + 1, Relaxed);
                units.for_each(|_| thread::sleep(Duration::from_micros(50)));
                inside.fetch_sub(1, Relaxed);
                done.fetch_add(1, Relaxed);
                of_its_own.fetch_add(usize::from(thread::current().id() == caller), Relaxed);
            });
            assert!(of_its_own.into_inner() > 0, "a caller did nothing itself");
        });
        assert!(called.into_inner() > 0 && done.into_inner() > 0);
        most.into_inner()
    }

    #[test]
    fn in_a_pool_no_more_threads_work_than_it_has() {
        use rayon::prelude::*;
        for threads in [1, 2, 3] {
            let pool = pool(threads);
            let one = most_at_once(|call| pool.install(call));
            assert!(one <= threads, "{one} of {threads}");
            // Each task of a loop in the pool calls.
            let all = most_at_once(|call| pool.install(|| (0..20).into_par_iter().for_each(|_| call())));
            assert!(all <= threads, "{all} of {threads}");
        }
    }

    #[test]
    fn callers_that_come_together_all_get_on() {
        let most = most_at_once(|call| thread::scope(|scope| (0..6).for_each(|_| drop(scope.spawn(call)))));
        // Six callers, and the workers of the global pool.
        assert!(most <= 6 + rayon::current_num_threads());
    }

    #[test]
    fn a_call_needs_no_thread_but_its_own() {
        // The other worker of the pool waits for a lock that the caller holds, and so do more of its tasks.
        let held = Mutex::new(());
        let (waiting, counted) = (AtomicUsize::new(0), AtomicUsize::new(0));
        pool(2).scope(|scope| {
            let guard = lock(&held);
            for _ in 0..8 {
                scope.spawn(|_| {
                    waiting.fetch_add(1, Relaxed);
                    drop(lock(&held));
                });
            }
            while waiting.load(Relaxed) < 1 {
                thread::yield_now();
            }
            for_each(0..100, 1, |_, units: std::ops::Range<usize>| {
                slow();
                counted.fetch_add(Split::len(&units), Relaxed);
            });
            drop(guard);
        });
        let sum = counted.into_inner();
        assert_eq!(sum, 100);
    }
}
