//! The example, run as a user would: its figures on the digits it comes with, and what it says to bad input.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

const DIGITS: &str = include_str!("../examples/data/optdigits.csv");

/// Runs the example, which is built first if it is not: `cargo test --test train_digits` alone builds no examples.
fn train_digits(arguments: &[&Path]) -> Output {
    static EXAMPLE: OnceLock<PathBuf> = OnceLock::new();
    let example = EXAMPLE.get_or_init(|| {
        let features = if cfg!(feature = "ndarray") { &["--features", "ndarray"][..] } else { &[] };
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--profile", "test", "--example", "train_digits"])
            .args(features)
            .status();
        assert!(built.expect("cargo").success());
        let tests = std::env::current_exe().expect("this test's own path"); // target/debug/deps/train_digits-…
        tests.ancestors().nth(2).expect("the folder of the profile").join("examples/train_digits")
    });
    Command::new(example).args(arguments).output().expect("the example")
}

/// What the example says to a file with these contents: one line on standard error, without the file's name.
fn complaint(name: &str, contents: &[u8]) -> String {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, contents).expect("room for a small file");
    complaint_about(&file)
}

fn complaint_about(file: &Path) -> String {
    let Output { status, stderr, .. } = train_digits(&[file]);
    assert_eq!(status.code(), Some(1));
    let stderr = String::from_utf8(stderr).unwrap();
    let line = stderr.strip_suffix('\n').expect("a whole line");
    assert!(!line.contains('\n'), "{stderr}");
    line.strip_prefix(&format!("{}:", file.display())).expect("the file's name first").to_string()
}

/// The digits with line `number` (from 1) replaced.
fn with_line(number: usize, replacement: &str) -> Vec<u8> {
    let mut lines: Vec<&str> = DIGITS.lines().collect();
    lines[number - 1] = replacement;
    lines.join("\n").into_bytes()
}

/// Sixty-four pixels and a label.
fn row(pixel: &str, label: &str) -> String {
    format!("{pixel},{}{label}", "0,".repeat(63))
}

#[test]
fn it_learns_and_both_runs_have_the_same_bits() {
    let figures = || {
        let Output { status, stdout, stderr } = train_digits(&[]);
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        let stdout = String::from_utf8(stdout).unwrap();
        stdout.lines().filter(|line| !line.contains(" ms")).map(String::from).collect::<Vec<_>>()
    };
    let first = figures();
    assert!(first[0].starts_with("1437 digits to train on, 360 held out"), "{first:?}");
    let accuracy = first.iter().find_map(|line| line.strip_prefix("held-out accuracy: ")?.strip_suffix(" %"));
    assert!(accuracy.unwrap().parse::<f64>().unwrap() >= 97.0);
    if gradix::Level::current().unwrap().has_fma() {
        assert!(first.iter().any(|line| line == "same bits: yes"), "{first:?}");
    }
    assert_eq!(figures(), first, "a second run must print the same figures, times aside");
}

#[test]
fn bad_files_end_with_one_line_that_names_file_line_and_cause() {
    let short = DIGITS.lines().next().unwrap().rsplit_once(',').unwrap().0;
    assert_eq!(
        complaint("short_row.csv", &with_line(3, short)),
        "3: 64 values where 64 pixels and a label are needed"
    );
    assert_eq!(
        complaint("long_row.csv", &with_line(1797, &row("0,0", "3"))),
        "1797: 66 values where 64 pixels and a label are needed"
    );
    assert_eq!(
        complaint("label.csv", &with_line(1, &row("0", "12"))),
        "1: the label is \"12\", not a digit from 0 to 9"
    );
    for label in ["-1", "", "3.0", "256"] {
        let said = complaint("label.csv", &with_line(2, &row("0", label)));
        assert_eq!(said, format!("2: the label is {label:?}, not a digit from 0 to 9"));
    }
    for pixel in ["black", "17", "-1", "", "NaN", "1e1"] {
        let said = complaint("pixel.csv", &with_line(1000, &row(pixel, "3")));
        assert_eq!(said, format!("1000: pixel 1 is {pixel:?}, not a number from 0 to 16"));
    }
    assert!(complaint("binary.csv", &with_line(5, "\u{fffd}")).starts_with("5: 1 values"));
    let mut not_utf8 = DIGITS.as_bytes().to_vec();
    not_utf8[0] = 0xff;
    assert!(complaint("not_utf8.csv", &not_utf8).starts_with("1: invalid utf-8"));
}

#[test]
fn files_that_cannot_be_trained_on() {
    assert_eq!(complaint("empty.csv", b""), " 0 digits, too few to train on");
    assert_eq!(complaint("one.csv", row("0", "1").as_bytes()), " 1 digits, too few to train on");
    let missing = complaint_about(Path::new("no/such/file.csv"));
    assert!(missing.contains("os error 2"), "{missing}");
    complaint_about(Path::new(env!("CARGO_MANIFEST_DIR")));
}

#[test]
fn a_second_argument_is_refused() {
    let Output { status, stderr, .. } = train_digits(&["a".as_ref(), "b".as_ref()]);
    assert_eq!(status.code(), Some(1));
    assert_eq!(String::from_utf8(stderr).unwrap(), "usage: train_digits [FILE]\n");
}
