//! Gradient compression with error feedback: four workers fit one model, each to data of its own, and send only what is
//! large of each gradient. What is not sent stays with the worker and is added to its next gradient, so nothing is lost.
//!
//! `cargo run --release --example compression`

use gradix::{AbsGe, scatter_add_scaled, select};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const WORKERS: usize = 4;
const WEIGHTS: usize = 20_000;
const STEPS: usize = 1_000;
/// Small, because what is sent at last is the sum of a hundred gradients.
const RATE: f32 = 0.02;
/// The share of a gradient that is sent.
const SENT: f64 = 0.01;

fn main() -> gradix::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut vector = |scale: f32| -> Vec<f32> {
        (0..WEIGHTS).map(|_| scale * rng.random_range(-1.0..1.0f32).powi(5)).collect()
    };
    // The mean of the workers' optima is the optimum of all.
    let best = vector(1.0);
    let apart: Vec<Vec<f32>> = (0..WORKERS).map(|_| vector(0.1)).collect();
    let optimum = |worker: usize, i: usize| {
        best[i] + apart[worker][i] - apart.iter().map(|a| a[i]).sum::<f32>() / WORKERS as f32
    };

    let mut weights = vec![0.0f32; WEIGHTS];
    let mut residuals = vec![vec![0.0f32; WEIGHTS]; WORKERS];
    let loss = |weights: &[f32]| -> f32 {
        weights.iter().zip(&best).map(|(weight, best)| (weight - best).powi(2)).sum::<f32>() / 2.0
    };
    let (first, mut sent) = (loss(&weights), 0);
    for step in 1..=STEPS {
        let mut messages: Vec<(Vec<u32>, Vec<f32>)> = Vec::new();
        for (worker, residual) in residuals.iter_mut().enumerate() {
            let grad: Vec<f32> = (0..WEIGHTS).map(|i| weights[i] - optimum(worker, i)).collect();
            // The threshold that about so many reach, of what would be sent if all were.
            let all: Vec<f32> = grad.iter().zip(&*residual).map(|(grad, rest)| grad + rest).collect();
            let threshold = select::top_k_threshold(&all, (SENT * WEIGHTS as f64) as usize)?;
            messages.push(select::sparsify_with(&grad, residual, AbsGe(threshold))?);
        }
        for (indices, values) in messages {
            sent += indices.len();
            scatter_add_scaled(&mut weights, &indices, &values, -RATE / WORKERS as f32)?;
        }
        if step % 200 == 0 {
            println!("step {step}: loss {:.6} of the first", loss(&weights) / first);
        }
    }
    let share = sent as f64 / (STEPS * WORKERS * WEIGHTS) as f64;
    println!("sent {:.2} % of the gradients' elements", 100.0 * share);
    assert!(share < 1.01 * SENT && loss(&weights) < 1e-2 * first, "a hundredth of each gradient should do");
    Ok(())
}
