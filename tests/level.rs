//! Which level an operation runs at: forced, from the environment, or the best.

use gradix::{Error, Level};
use std::process::{Command, Output};

/// What the tests that start this program again set the variable to.
const VARIABLE: &str = "GRADIX_LEVEL";

#[test]
fn the_levels_here() {
    let available = Level::available();
    assert_eq!(available[0], Level::Portable);
    assert!(available.is_sorted());
    assert_eq!(available.last(), Some(&Level::detected()));
    println!("levels that run here: {available:?}");
    for level in Level::ALL {
        assert_eq!(level.to_string(), level.name());
        assert_eq!(format!("{level:>9}").len(), 9);
    }
    assert!(Level::ALL[1..].iter().all(|level| level.has_fma()));
}

/// On an emulated CPU `.ci/qemu` knows which level is right.
#[test]
fn the_best_level_is_the_expected_one() {
    if let Ok(expected) = std::env::var("GRADIX_EXPECT_LEVEL") {
        assert_eq!(Level::detected().name(), expected);
    }
}

#[test]
fn run_forces_the_level_and_gives_the_answer() {
    for &level in Level::available() {
        assert_eq!(level.run(Level::current), Ok(Ok(level)));
        assert_eq!(level.run(|| gradix::take(&[1.0, 2.0], &[1])), Ok(Ok(vec![2.0])));
    }
}

#[test]
fn runs_nest() {
    let outside = Level::current();
    for &outer in Level::available() {
        for &inner in Level::available() {
            let seen = outer.run(|| (Level::current(), inner.run(Level::current), Level::current()));
            assert_eq!(seen, Ok((Ok(outer), Ok(Ok(inner)), Ok(outer))));
        }
    }
    assert_eq!(Level::current(), outside);
}

#[test]
fn a_panic_puts_the_level_back() {
    let outside = Level::current();
    for &level in Level::available() {
        let unwound =
            std::panic::catch_unwind(|| level.run(|| std::panic::resume_unwind(Box::new("on purpose"))));
        assert!(unwound.is_err());
        assert_eq!(Level::current(), outside);
    }
}

#[test]
fn the_level_is_the_calling_threads_own() {
    let outside = Level::current();
    let elsewhere = Level::Portable.run(|| std::thread::spawn(Level::current).join().unwrap());
    assert_eq!(elsewhere, Ok(outside));
}

/// Only on a CPU that lacks a level can this be provoked; elsewhere the message is tested through the environment.
#[test]
fn a_level_that_is_not_here_is_an_error_and_runs_nothing() {
    for level in Level::ALL.into_iter().filter(|level| !Level::available().contains(level)) {
        let mut ran = false;
        assert_eq!(level.run(|| ran = true), Err(Error::Level { name: level.name().to_string() }));
        assert!(!ran);
    }
}

/// Not a test of its own: what [`current_with`] runs in a process of its own.
#[test]
#[ignore = "run by the tests of the environment variable"]
fn print_the_current_level() {
    println!(
        "{}",
        gradix::take(&[1.0], &[0]).and(Level::current()).map_or_else(|e| e.to_string(), |l| l.to_string())
    );
}

/// What an operation in a new process says with this in the environment.
fn current_with(value: Option<&std::ffi::OsStr>) -> String {
    let mut process = Command::new(std::env::current_exe().expect("this test's own path"));
    process.args(["--exact", "print_the_current_level", "--ignored", "--nocapture"]).env_remove(VARIABLE);
    let Output { status, stdout, .. } = process.envs(value.map(|value| (VARIABLE, value))).output().unwrap();
    assert!(status.success());
    String::from_utf8(stdout).unwrap()
}

#[test]
fn the_environment_names_the_level() {
    for &level in Level::available() {
        let said = current_with(Some(level.name().as_ref()));
        assert!(said.contains(&format!("{level}\n")), "{said}");
    }
    assert!(current_with(None).contains(Level::detected().name()));
}

#[test]
fn a_name_that_is_no_level_is_an_error() {
    for name in ["", "AVX2", "avx2 ", "sse2", "fastest"] {
        let said = current_with(Some(name.as_ref()));
        assert!(said.contains(&format!("level {name:?} is not one that this CPU has: portable")), "{said}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let said = current_with(Some(std::ffi::OsStr::from_bytes(b"avx\xff")));
        assert!(said.contains("is not one that this CPU has"), "{said}");
    }
}
