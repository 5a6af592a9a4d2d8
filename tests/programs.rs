//! Whatever the program around a call does: it has no threads or no memory to give, forks, ends a thread, holds a lock,
//! blocks the pool or forces a level. A call depends on no thread but its own.

mod common;

use common::jobs::{Jobs, NAMES};
use gradix::{Error, Gt, Level, Result, SoftmaxXent, View, reference, select};
use std::cell::RefCell;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Barrier, Mutex, mpsc};
use std::time::Duration;

/// Ends the process, with this test's name, where `f` takes two minutes.
fn watched<R>(name: &'static str, f: impl FnOnce() -> R) -> R {
    let (done, wait) = mpsc::channel::<()>();
    let dog = std::thread::spawn(move || {
        if wait.recv_timeout(Duration::from_secs(120)) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{name}: no end in sight");
            std::process::abort();
        }
    });
    let result = f();
    drop(done);
    dog.join().expect("the watchdog");
    result
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads")
}

/// Large enough for threads to share each.
fn jobs() -> Jobs {
    Jobs::new(300_000)
}

/// The answers of one thread at the level of the environment.
fn expected(jobs: &Jobs) -> Vec<u64> {
    pool(1).install(|| all(jobs))
}

fn all(jobs: &Jobs) -> Vec<u64> {
    (0..NAMES.len()).map(|job| jobs.run(job)).collect()
}

/// Runs the ignored test `name` in a process of its own, on its main thread, after these commands of the shell; what
/// it printed.
#[cfg(unix)]
fn a_child(name: &str, before: &str) -> String {
    let command = format!("{before}; exec \"$0\" --exact {name} --ignored --nocapture --test-threads=1");
    let output = Command::new("sh").arg("-c").arg(command).arg(std::env::current_exe().unwrap()).output();
    let output = output.expect("a shell");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} after {before}: {}\n{stdout}\n{stderr}", output.status);
    assert!(stdout.contains("1 passed"), "{stdout}");
    stdout.into_owned()
}

/// Not a test of its own: see [`a_child_that_may_not_start_threads_answers_alone`].
#[test]
#[ignore = "run by another test"]
fn without_threads() {
    assert!(std::thread::Builder::new().spawn(|| ()).is_err(), "a thread, where there should be none");
    let jobs = jobs();
    let (first, second) = (all(&jobs), all(&jobs));
    assert_eq!(first, second);
    println!("answers {first:?}");
}

/// A stack larger than the address space: every new thread is refused, as where the number of processes is limited.
#[test]
#[cfg(unix)]
fn a_child_that_may_not_start_threads_answers_alone() {
    let expected = format!("answers {:?}", expected(&jobs()));
    for limits in [
        "export RUST_MIN_STACK=70000000000000",
        "export RUST_MIN_STACK=70000000000000 RAYON_NUM_THREADS=7",
        "export RUST_MIN_STACK=8000000000; ulimit -v 4000000",
    ] {
        let said = watched("no threads", || a_child("without_threads", limits));
        assert!(said.contains(&expected), "{said}");
    }
}

/// Not a test of its own: see [`a_child_without_memory_says_so`]. The limit is 400 MB.
#[test]
#[ignore = "run by another test"]
fn without_memory() {
    const ENOUGH: usize = 1 << 20;
    const TOO_MANY: usize = 128 << 20;
    let x = [1.0f32];
    // As many elements or indices as asked for, of which there is but one in memory.
    let table = |len: usize| View::strided(&x, &[len], &[0], 0).unwrap();
    let list = |len: usize| View::strided(&[0u8], &[len], &[0], 0).unwrap();
    let matrix = |len: usize| View::strided(&x, &[len, 1], &[0, 0], 0).unwrap();
    let labels = vec![0u8; TOO_MANY];
    type Call<'a> = Box<dyn Fn(usize) -> Result<()> + 'a>;
    fn call<'a, R>(f: impl Fn(usize) -> Result<R> + 'a) -> Call<'a> {
        Box::new(move |len| f(len).map(drop))
    }
    macro_rules! calls {
        ($g:ident, $select:ident, $xent:expr) => {
            vec![
                ("take", call(move |len| $g::take(&x, list(len)))),
                ("take_axis", call(move |len| $g::take_axis(&x, 0, list(len)))),
                ("take_along_axis", call(move |len| $g::take_along_axis(&x, 0, list(len)))),
                ("pick", call(move |len| $g::pick(matrix(len), list(len)))),
                ("indices", call(move |len| $select::indices::<f32, u32>(table(len), Gt(0.0)))),
                ("values", call(move |len| $select::values(table(len), Gt(0.0)))),
                ("pairs", call(move |len| $select::pairs::<f32, u64>(table(len), Gt(0.0)))),
                ("mask", call(move |len| $select::mask(table(4 * len), Gt(0.0)))),
                ("forward", call(|len| $xent.forward(matrix(len), &labels[..len]))),
                ("partials", call(|len| $xent.partials(matrix(len), &labels[..len]))),
            ]
        };
    }
    use reference::select as reference_select;
    let xent = SoftmaxXent::new();
    let fast: Vec<(&str, Call<'_>)> = calls!(gradix, select, xent);
    let plain: Vec<(&str, Call<'_>)> = calls!(reference, reference_select, reference::SoftmaxXent(&xent));
    for (which, calls) in [("", fast), ("reference::", plain)] {
        for (name, call) in calls {
            println!("{which}{name}");
            if which.is_empty() {
                assert_eq!(call(ENOUGH), Ok(()), "{name}");
            }
            assert!(
                matches!(call(TOO_MANY), Err(Error::Memory { .. })),
                "{which}{name}: {:?}",
                call(TOO_MANY)
            );
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_child_without_memory_says_so() {
    watched("no memory", || a_child("without_memory", "ulimit -v 400000"));
}

/// What a thread leaves behind is dropped in an order that nobody chose: calls are made before and after the crate's
/// own thread-locals have gone.
#[test]
fn from_the_destructor_of_a_thread_local() {
    struct Late(mpsc::Sender<Vec<u64>>, &'static Jobs);
    impl Drop for Late {
        fn drop(&mut self) {
            self.0.send(all(self.1)).expect("somebody listens");
        }
    }
    thread_local! {
        static FIRST: RefCell<Option<Late>> = const { RefCell::new(None) };
        static LAST: RefCell<Option<Late>> = const { RefCell::new(None) };
    }
    // A large one, and one that a single thread does.
    for len in [300_000, 5_000] {
        let jobs: &'static Jobs = Box::leak(Box::new(Jobs::new(len)));
        let expected = expected(jobs);
        let (send, receive) = mpsc::channel();
        watched("a destructor", || {
            std::thread::spawn(move || {
                FIRST.set(Some(Late(send.clone(), jobs)));
                all(jobs);
                LAST.set(Some(Late(send, jobs)));
            })
            .join()
            .expect("no panic")
        });
        assert_eq!(receive.iter().collect::<Vec<_>>(), vec![expected; 2]);
    }
}

/// Each task of a pool wants one lock and calls while it holds it: a call that ran another task while it waits would
/// never end.
#[test]
fn holding_a_lock_that_other_tasks_want() {
    let jobs = jobs();
    let expected = expected(&jobs);
    let lock = Mutex::new(0);
    watched("a lock", || {
        for threads in [2, 3] {
            // From outside and one by one, so that workers are free to help, and a caller that waits has tasks to find.
            pool(threads).in_place_scope(|scope| {
                for round in 0..150 {
                    let (jobs, expected, lock) = (&jobs, &expected, &lock);
                    scope.spawn(move |_| {
                        let mut calls = lock.lock().expect("no panic");
                        *calls += 1;
                        assert_eq!(jobs.run(round % NAMES.len()), expected[round % NAMES.len()]);
                    });
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
        }
    });
    assert_eq!(lock.into_inner().expect("no panic"), 300);
}

/// No worker of the pool can help, because each waits for the caller.
#[test]
fn while_all_workers_wait_for_the_caller() {
    let jobs = jobs();
    let expected = expected(&jobs);
    watched("blocked workers", || {
        // The global pool, and a call from outside.
        let workers = rayon::current_num_threads();
        let (entered, released) = (Barrier::new(workers + 1), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                rayon::broadcast(|_| {
                    entered.wait();
                    while !released.load(Relaxed) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                });
            });
            entered.wait();
            let found = all(&jobs);
            released.store(true, Relaxed);
            assert_eq!(found, expected);
        });
        // A pool of the caller's own: one of its workers calls, the others wait for it.
        let pool = pool(3);
        let released = AtomicBool::new(false);
        let first = AtomicBool::new(true);
        pool.broadcast(|_| {
            if first.swap(false, Relaxed) {
                let found = all(&jobs);
                released.store(true, Relaxed);
                assert_eq!(found, expected);
            }
            while !released.load(Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
    });
}

/// Every worker calls at once, from callbacks that began in turn inside calls' tasks.
#[test]
fn when_all_workers_call_at_once() {
    let jobs = jobs();
    let expected = expected(&jobs);
    watched("all at once", || {
        for threads in [2, 5] {
            let pool = pool(threads);
            let together = Barrier::new(threads);
            pool.broadcast(|_| {
                together.wait();
                assert_eq!(all(&jobs), expected);
                rayon::join(|| assert_eq!(all(&jobs), expected), || assert_eq!(all(&jobs), expected));
            });
        }
    });
}

/// The level is the caller's alone: no task that runs beside it in the same pool sees it.
#[test]
fn a_forced_level_is_seen_by_no_other_task() {
    let jobs = jobs();
    let before = Level::current();
    let expected = pool(1).install(|| Level::Portable.run(|| all(&jobs)));
    watched("a forced level", || {
        for threads in [2, 3] {
            let (forced, seen) = (AtomicBool::new(true), AtomicUsize::new(0));
            // From outside, so that the pool's other workers have time to help, and a caller that waits has tasks to find.
            pool(threads).in_place_scope(|scope| {
                scope.spawn(|_| {
                    while seen.load(Relaxed) < 1000 {
                        assert_eq!(Level::Portable.run(|| all(&jobs)), expected);
                    }
                    forced.store(false, Relaxed);
                });
                while forced.load(Relaxed) {
                    for _ in 0..16 {
                        scope.spawn(|_| {
                            assert_eq!(Level::current(), before, "the level of another task");
                            seen.fetch_add(1, Relaxed);
                        });
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            assert!(seen.into_inner() >= 1000);
        }
    });
    assert_eq!(Level::current(), before);
}

/// The child has one thread, that which forked; the pool's others stayed behind.
#[cfg(unix)]
mod fork {
    #![allow(unsafe_code)]
    use super::*;

    /// Runs `f` in a forked child; whether it answered true within a minute.
    fn in_a_fork(f: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child runs `f` and ends without returning; the locks of the allocator, which `f` needs, are handed
        // over by the C library.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "no fork");
        if child == 0 {
            let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
            // SAFETY: ends this process, without the destructors and threads of the parent's.
            unsafe { libc::_exit(if answer.unwrap_or(false) { 0 } else { 1 }) }
        }
        let mut status = 0;
        for _ in 0..6000 {
            // SAFETY: the status is written to a place of our own.
            match unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } {
                0 => std::thread::sleep(Duration::from_millis(10)),
                _ => return libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0,
            }
        }
        // SAFETY: a child of our own that has not been waited for.
        unsafe { libc::kill(child, libc::SIGKILL) };
        false
    }

    #[test]
    fn a_fork_answers() {
        let jobs = jobs();
        let expected = expected(&jobs);
        assert_eq!(all(&jobs), expected); // now the pool exists
        for _ in 0..3 {
            assert!(in_a_fork(|| all(&jobs) == expected));
            assert_eq!(all(&jobs), expected);
        }
        let pool = pool(3);
        pool.install(|| assert_eq!(all(&jobs), expected));
        assert!(pool.install(|| in_a_fork(|| all(&jobs) == expected)));
    }
}
