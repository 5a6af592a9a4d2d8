//! Trains a small network on real handwritten digits, once with gradix and once with its definitions.
//!
//! ```text
//! cargo run --release --example train_digits [FILE]
//! ```
//!
//! The two runs go through the same code and differ in the kernels alone; at the end the time that each
//! kernel took stands next to that of its definition, and the weights of both runs are compared bit for bit.
//! `FILE` has the form of `examples/data/optdigits.csv`, which is used when none is named.

#![allow(unreachable_pub)] // what the modules of a program share is public between them

mod data;
mod kernels;
mod network;

use anyhow::{Result, ensure};
use data::{CLASSES, Digits, PIXELS};
use gradix::{Level, View};
use indicatif::{ProgressBar, ProgressStyle};
use kernels::{Clock, Gradix, Kernels, Reference};
use network::{HIDDEN, Network, Optimizer};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::path::PathBuf;
use std::process::ExitCode;

const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/optdigits.csv");
const SEED: u64 = 1;
const EPOCHS: u64 = 20;
const BATCH: usize = 32;
/// The share of held-out digits that a run must recognise, or something is broken.
const REQUIRED_ACCURACY: f64 = 0.97;

fn main() -> ExitCode {
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Both runs, side by side.
fn compare() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let file = PathBuf::from(arguments.next().unwrap_or_else(|| DIGITS.into()));
    ensure!(arguments.next().is_none(), "usage: train_digits [FILE]");
    let digits = Digits::read(&file)?;
    let level = Level::current()?;

    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let (training, held_out) = digits.divide(&mut rng);
    ensure!(!training.is_empty(), "{}: {} digits, too few to train on", file.display(), digits.len());
    println!("{} digits to train on, {} held out", training.len(), held_out.len());
    println!("{PIXELS}-{HIDDEN}-{CLASSES} network, minibatches of {BATCH}, level {level}");

    let fast = train::<Gradix>(&digits, &training, &held_out, rng.clone())?;
    let plain = train::<Reference>(&digits, &training, &held_out, rng)?;

    println!("\n{:<16}{:>7}{:>12}{:>12}{:>9}", "time in kernels", "calls", "gradix", "reference", "ratio");
    for (fast, plain) in fast.clock.spent().iter().zip(plain.clock.spent()) {
        let (ms, plain_ms) = (fast.time.as_secs_f64() * 1e3, plain.time.as_secs_f64() * 1e3);
        let ratio = plain_ms / ms;
        println!("{:<16}{:>7}{ms:>9.2} ms{plain_ms:>9.2} ms{ratio:>8.1}x", fast.kernel, fast.calls);
    }
    println!("(the reference is written to be read, not to be fast)");

    let bits = |run: &Run| -> Vec<u32> { run.network.parameters.iter().map(|x| x.to_bits()).collect() };
    let same = bits(&fast) == bits(&plain);
    println!("\nheld-out accuracy: {:.2} %", 100.0 * fast.accuracy);
    println!("same bits: {}", if same { "yes" } else { "no" });
    if !level.has_fma() {
        println!("(the reference rounds a multiply-add once, level {level} may round it twice)");
    }
    ensure!(fast.accuracy >= REQUIRED_ACCURACY, "held-out accuracy is below {} %", 100.0 * REQUIRED_ACCURACY);
    ensure!(same || !level.has_fma(), "the runs must have the same bits at a level with FMA");
    Ok(())
}

/// What a run leaves.
struct Run {
    network: Network,
    accuracy: f64,
    clock: Clock,
}

/// Trains a network with these kernels, and says after each epoch how it does.
fn train<K: Kernels>(
    digits: &Digits,
    training: &[u32],
    held_out: &[u32],
    mut rng: ChaCha8Rng,
) -> Result<Run> {
    let images = View::new(&digits.images, &[digits.len(), PIXELS])?;
    let unseen_images = K::take_rows(images, held_out)?;
    let unseen_labels = digits.labels_of(held_out);

    let mut network = Network::random(&mut rng);
    let mut optimizer = Optimizer::new(network.parameters.len());
    let mut clock = Clock::default();
    let mut accuracy = 0.0;
    let mut rows = training.to_vec();

    println!("\n{}", K::NAME);
    let bar = ProgressBar::new(EPOCHS * rows.len() as u64)
        .with_style(ProgressStyle::with_template("{bar:40} {percent} %")?);
    for epoch in 1..=EPOCHS {
        rows.shuffle(&mut rng);
        let mut loss_sum = 0.0;
        for batch in rows.chunks(BATCH) {
            let batch_images = clock.time("take_axis", || K::take_rows(images, batch))?;
            let batch_labels = digits.labels_of(batch);
            let (loss, gradient) =
                network.loss_and_gradient::<K>(&batch_images, &batch_labels, &mut clock)?;
            optimizer.step::<K>(&mut network.parameters, &gradient, &mut clock)?;
            loss_sum += loss * batch.len() as f32;
            bar.inc(batch.len() as u64);
        }
        accuracy = network.accuracy(&unseen_images, &unseen_labels)?;
        let loss = loss_sum / rows.len() as f32;
        bar.suspend(|| println!("epoch {epoch:>2}   loss {loss:.4}   held-out {:6.2} %", 100.0 * accuracy));
    }
    bar.finish_and_clear();
    Ok(Run { network, accuracy, clock })
}
