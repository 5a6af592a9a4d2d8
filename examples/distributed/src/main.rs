//! gradix on several ranks under MPI.
//!
//! ```text
//! examples/distributed/install-debian
//! cd examples/distributed && cargo build --release
//! mpirun -n 2 target/release/gradix-distributed vocabulary
//! mpirun -n 2 target/release/gradix-distributed digits
//! ```
//!
//! `vocabulary` splits the classes of a softmax cross-entropy over the ranks and compares it with the unsplit one;
//! `digits` trains on real digits, exchanging only the largest elements of each gradient. `die` ends the last rank
//! in the middle, to show that the run ends with it.

#[path = "../../train_digits/data.rs"]
#[allow(dead_code, unreachable_pub)]
mod data;
mod digits;
#[path = "../../train_digits/kernels.rs"]
#[allow(dead_code, unreachable_pub)]
mod kernels;
#[path = "../../train_digits/network.rs"]
#[allow(dead_code, unreachable_pub)]
mod network;
mod vocabulary;

use anyhow::{Context, Result, bail};
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(universe) = mpi::initialize() else {
        eprintln!("MPI is running already");
        return ExitCode::FAILURE;
    };
    let world = universe.world();
    // A rank that only returned would leave the others waiting for its messages.
    match catch_unwind(AssertUnwindSafe(|| run(&world))) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            eprintln!("rank {}: {error:#}", world.rank());
            world.abort(1)
        }
        Err(_) => world.abort(1), // the panic has said why
    }
}

fn run(world: &SimpleCommunicator) -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("vocabulary") => vocabulary::compare(world),
        Some("digits") => digits::train(world),
        Some("die") => {
            if world.rank() + 1 == world.size() {
                std::process::abort();
            }
            world.barrier(); // which the last rank never reaches
            bail!("the last rank came to the barrier");
        }
        _ => bail!("usage: gradix-distributed vocabulary | digits | die"),
    }
}

/// Whether these bits are the same on every rank.
fn same_on_all(world: &SimpleCommunicator, bits: &[u32]) -> Result<bool> {
    let mut all = vec![0; bits.len() * size(world)?];
    world.all_gather_into(bits, &mut all[..]);
    Ok(bits.is_empty() || all.chunks(bits.len()).all(|theirs| theirs == bits))
}

/// The number of ranks.
fn size(world: &SimpleCommunicator) -> Result<usize> {
    usize::try_from(world.size()).context("the number of ranks")
}

/// This rank.
fn rank(world: &SimpleCommunicator) -> Result<usize> {
    usize::try_from(world.rank()).context("the rank")
}
