//! Training on several ranks that send each other the largest elements of their gradients.

use crate::data::{Digits, PIXELS};
use crate::kernels::{Clock, Gradix};
use crate::network::Network;
use crate::{rank, same_on_all, size};
use anyhow::{Context, Result, ensure};
use gradix::{View, select};
use mpi::datatype::PartitionMut;
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::path::Path;

const DIGITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/optdigits.csv");
const SEED: u64 = 1;
const EPOCHS: usize = 20;
const BATCH: usize = 32;
const LEARNING_RATE: f32 = 0.1;
const MOMENTUM: f32 = 0.9;
/// One gradient element in this many is sent.
const THINNING: usize = 50;
const REQUIRED_ACCURACY: f64 = 0.97;

pub(crate) fn train(world: &SimpleCommunicator) -> Result<()> {
    let (rank, ranks) = (rank(world)?, size(world)?);
    let digits = Digits::read(Path::new(DIGITS))?;
    let images = View::new(&digits.images, &[digits.len(), PIXELS])?;
    // The same random numbers on every rank: the same network, and the same batches.
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let (mut rows, held_out) = digits.divide(&mut rng);
    let mut network = Network::random(&mut rng);
    let parameters = network.parameters.len();
    let (mut velocity, mut residual) = (vec![0.0; parameters], vec![0.0; parameters]);
    let (mut steps, mut sent) = (0, 0);

    for _ in 0..EPOCHS {
        rows.shuffle(&mut rng);
        for batch in rows.chunks(BATCH) {
            let mine = &batch[batch.len() * rank / ranks..batch.len() * (rank + 1) / ranks];
            let mut gradient = vec![0.0; parameters];
            if !mine.is_empty() {
                let images = gradix::take_axis(images, 0, mine)?;
                let labels = digits.labels_of(mine);
                (_, gradient) =
                    network.loss_and_gradient::<Gradix>(&images, &labels, &mut Clock::default())?;
                // From the mean of these rows to their part of the batch's.
                let share = mine.len() as f32 / batch.len() as f32;
                gradient.iter_mut().for_each(|g| *g *= share);
            }
            let k = parameters / THINNING;
            let (indices, values): (Vec<u32>, Vec<f32>) =
                select::sparsify_top_k_with(&gradient, &mut residual, k)?;
            sent += indices.len() * size_of::<(u32, f32)>() * (ranks - 1);

            velocity.iter_mut().for_each(|v| *v *= MOMENTUM);
            add_of_all(world, &indices, &values, &mut velocity)?;
            for (parameter, v) in network.parameters.iter_mut().zip(&velocity) {
                *parameter -= LEARNING_RATE * *v;
            }
            steps += 1;
        }
    }

    let accuracy =
        network.accuracy(&gradix::take_axis(images, 0, &held_out)?, &digits.labels_of(&held_out))?;
    let bits: Vec<u32> = network.parameters.iter().map(|x| x.to_bits()).collect();
    let same = same_on_all(world, &bits)?;
    if rank == 0 {
        // What a ring passes on, for each rank.
        let dense = steps * 2 * (ranks - 1) * parameters * size_of::<f32>() / ranks;
        println!("{ranks} ranks, {steps} steps, held-out accuracy {:.2} %", 100.0 * accuracy);
        println!("bytes sent by each rank: {sent}; by a dense all-reduce in a ring: {dense}");
        println!("same bits on all ranks: {}", if same { "yes" } else { "no" });
    }
    ensure!(same, "the ranks' parameters differ");
    ensure!(accuracy >= REQUIRED_ACCURACY, "held-out accuracy is below {} %", 100.0 * REQUIRED_ACCURACY);
    Ok(())
}

/// Adds the elements that each rank has chosen, in rank order, so that every rank gets the same bits.
fn add_of_all(world: &SimpleCommunicator, indices: &[u32], values: &[f32], sum: &mut [f32]) -> Result<()> {
    let mut counts = vec![0i32; size(world)?];
    world.all_gather_into(&i32::try_from(indices.len()).context("a message's length")?, &mut counts[..]);
    let starts: Vec<i32> =
        counts.iter().scan(0, |next, &count| Some(std::mem::replace(next, *next + count))).collect();
    let all = usize::try_from(counts.iter().sum::<i32>()).context("the messages' length")?;
    let (mut all_indices, mut all_values) = (vec![0u32; all], vec![0.0f32; all]);
    let mut to = PartitionMut::new(&mut all_indices[..], &counts[..], &starts[..]);
    world.all_gather_varcount_into(indices, &mut to);
    let mut to = PartitionMut::new(&mut all_values[..], &counts[..], &starts[..]);
    world.all_gather_varcount_into(values, &mut to);
    // Rank after rank, as they stand: duplicates are added in the order of the indices.
    gradix::scatter_add_scaled(sum, &all_indices, &all_values, 1.0)?;
    Ok(())
}
