//! Cross-entropy whose classes are split over the ranks: each sends six numbers a row, none its logits.

use crate::{rank, same_on_all, size};
use anyhow::{Result, ensure};
use gradix::{Loss, Partial, SoftmaxXent, View};
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

const CASES: usize = 60;
const SEED: u64 = 3;
/// Relative to the terms that a gradient is the difference of: the bound of the unsplit one, and a merge a rank.
const BOUND: f32 = 32.0 * f32::EPSILON;

/// A split loss and the gradient of this rank's classes.
struct Split {
    merged: Vec<Partial<f32>>,
    loss: Loss<f32>,
    gradient: Vec<f32>,
}

/// The loss of all classes and the gradient of `here`, which are this rank's columns of `logits`. One all-gather.
fn split(
    world: &SimpleCommunicator,
    xent: &SoftmaxXent<f32>,
    logits: View<f32>,
    labels: &[u32],
    here: Range<usize>,
    classes: usize,
) -> Result<Split> {
    let xent = xent.clone().shard(here.start, classes);
    let mine: Vec<f32> = xent.partials(logits, labels)?.into_iter().flat_map(Partial::to_array).collect();
    let mut all = vec![0.0f32; mine.len() * size(world)?];
    world.all_gather_into(&mine[..], &mut all[..]);

    // In rank order on every rank, so that all have the same bits.
    let mut merged = vec![Partial::empty(); labels.len()];
    for theirs in all.chunks(mine.len()) {
        for (row, numbers) in merged.iter_mut().zip(theirs.as_chunks().0) {
            *row = row.merge(Partial::from_array(*numbers));
        }
    }
    let mut gradient = vec![0.0; labels.len() * here.len()];
    let loss = xent.backward_from(logits, labels, &merged, &[1.0], &mut gradient)?;
    Ok(Split { merged, loss, gradient })
}

/// Random cases against the unsplit loss and gradient. Every rank draws the same ones.
pub(crate) fn compare(world: &SimpleCommunicator) -> Result<()> {
    let (rank, ranks) = (rank(world)?, size(world)?);
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let (mut without_target, mut without_classes) = (0, 0);
    for case in 0..CASES {
        let (rows, classes) = (rng.random_range(1..40), rng.random_range(1..1500));
        let mut cuts: Vec<usize> = (1..ranks).map(|_| rng.random_range(0..=classes)).collect();
        if case % 3 == 0 && ranks > 1 {
            cuts[0] = 0; // rank 0, or another, has no classes
        }
        cuts.extend([0, classes]);
        cuts.sort_unstable();
        let here = cuts[rank]..cuts[rank + 1];
        // In every other case all targets are of one rank's classes, if it has some.
        let chosen = if case % 2 == 0 { cuts[ranks - 1]..classes } else { 0..classes };
        let chosen = if chosen.is_empty() { 0..classes } else { chosen };
        let labels: Vec<u32> = (0..rows).map(|_| rng.random_range(chosen.clone()) as u32).collect();
        let logits: Vec<f32> = (0..rows * classes).map(|_| rng.random_range(-8.0..8.0)).collect();
        let xent = match case % 4 {
            0 => SoftmaxXent::new(),
            1 => SoftmaxXent::new().label_smoothing(0.1),
            2 => SoftmaxXent::new().label_smoothing(0.2).z_loss(1e-3),
            _ => SoftmaxXent::new().ignore_index(labels[0]),
        };
        without_classes += usize::from(cuts.windows(2).any(|cut| cut[0] == cut[1]));
        let has_target = |cut: &[usize]| labels.iter().any(|&y| (cut[0]..cut[1]).contains(&(y as usize)));
        without_target += usize::from(cuts.windows(2).any(|cut| cut[0] < cut[1] && !has_target(cut)));

        // This rank's columns, where they stand.
        let strides = [classes as isize, 1];
        let start = if here.is_empty() { 0 } else { here.start };
        let mine = View::strided(&logits, &[rows, here.len()], &strides, start)?;
        let got = split(world, &xent, mine, &labels, here.clone(), classes)?;

        let whole = View::new(&logits, &[rows, classes])?;
        let mut expected = vec![0.0; logits.len()];
        let loss = xent.forward_backward(whole, &labels, &mut expected)?;
        let near = (got.loss.value - loss.value).abs() <= BOUND * (1.0 + loss.value.abs());
        ensure!(near, "case {case}: loss {} where {} is expected", got.loss.value, loss.value);
        ensure!((got.loss.count, got.loss.correct) == (loss.count, loss.correct), "case {case}: counts");
        let probabilities = gradix::softmax(whole, -1)?;
        let divisor = loss.count.max(1) as f32;
        for (i, &g) in got.gradient.iter().enumerate() {
            let at = i / here.len() * classes + here.start + i % here.len();
            let terms = expected[at].abs() + (probabilities[at] + 1.0 / classes as f32) / divisor;
            ensure!((g - expected[at]).abs() <= BOUND * terms, "case {case}: {g}, not {}", expected[at]);
        }
        let mut bits: Vec<u32> = got.merged.iter().flat_map(|row| row.to_array()).map(f32::to_bits).collect();
        bits.push(got.loss.value.to_bits());
        ensure!(same_on_all(world, &bits)?, "case {case}: ranks have other bits");
    }
    if rank == 0 {
        println!(
            "{ranks} ranks, {CASES} cases: loss and gradient equal the unsplit ones; all ranks have the same bits"
        );
        println!(
            "({without_target} with a shard without target, {without_classes} with a rank without classes)"
        );
    }
    ensure!(ranks == 1 || without_target > 0 && without_classes > 0, "the hard cases did not come up");
    Ok(())
}
