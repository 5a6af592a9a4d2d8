//! The short examples, which check their own results. `train_digits` has a test of its own.

use std::process::Command;

fn run(example: &str) {
    // Built first where it is not: `cargo test --test examples` alone builds no examples.
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", "test", "--example", example])
        .args(if cfg!(feature = "ndarray") { &["--features", "ndarray"][..] } else { &[] })
        .status();
    assert!(built.expect("cargo").success());
    let tests = std::env::current_exe().expect("this test's own path"); // target/debug/deps/examples-…
    let example = tests.ancestors().nth(2).expect("the folder of the profile").join("examples").join(example);
    let output = Command::new(example).output().expect("the example");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn embedding() {
    run("embedding");
}

#[test]
fn bytes() {
    run("bytes");
}

#[test]
fn compression() {
    run("compression");
}
