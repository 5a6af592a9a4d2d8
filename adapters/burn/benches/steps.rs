//! `cargo bench` in this folder: training steps with burn's own operations and with these, end to end. The sides
//! alternate within a round; printed are the median of each side's times and the median of the rounds' ratios.
//!
//! ```text
//! cargo bench                        all
//! cargo bench -- embedding           only what has this in its name
//! RAYON_NUM_THREADS=1 cargo bench    one thread, on both sides
//! ```

use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Device, Int, Tensor, TensorData, module};
use gradix_burn::{Result, SoftmaxXent, cross_entropy, embedding, select, sgd_step_rows};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Each side is timed at least so often, and then until the budget is used up.
const ROUNDS: usize = 7;
const BUDGET: Duration = Duration::from_secs(8);

/// A name, and a step that says how long it took.
type Side<'a> = (&'static str, Box<dyn FnMut() -> Result<Duration> + 'a>);

/// Times the sides, the first being burn's own, and prints a line for each other one.
fn compare(name: &str, mut sides: Vec<Side<'_>>) -> Result<()> {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    if filter.is_some_and(|filter| !name.contains(&filter)) {
        return Ok(());
    }
    for (_, side) in &mut sides {
        side()?; // the first call touches new memory
    }
    let mut times = vec![Vec::new(); sides.len()];
    let begin = Instant::now();
    for round in 0.. {
        if round >= ROUNDS && begin.elapsed() > BUDGET {
            break;
        }
        let forwards: Vec<usize> = (0..sides.len()).collect();
        let order = if round % 2 == 0 { forwards } else { forwards.into_iter().rev().collect() };
        for i in order {
            times[i].push((sides[i].1)()?.as_secs_f64() * 1e3);
        }
    }
    let median = |mut of: Vec<f64>| {
        of.sort_by(f64::total_cmp);
        of[of.len() / 2]
    };
    for i in 1..sides.len() {
        let ratios = times[0].iter().zip(&times[i]).map(|(burn, ours)| burn / ours).collect();
        println!(
            "| {name} | {} | {:.2} | {:.2} | {:.1}x |",
            sides[i].0,
            median(times[0].clone()),
            median(times[i].clone()),
            median(ratios)
        );
    }
    Ok(())
}

fn uniform(rng: &mut ChaCha8Rng, shape: [usize; 2], bound: f32, device: &Device) -> Tensor<2> {
    let all: Vec<f32> = (0..shape[0] * shape[1]).map(|_| rng.random_range(-bound..bound)).collect();
    Tensor::from_data(TensorData::new(all, shape), device)
}

fn below(rng: &mut ChaCha8Rng, len: usize, end: i64, device: &Device) -> Tensor<1, Int> {
    let all: Vec<i64> = (0..len).map(|_| rng.random_range(0..end)).collect();
    Tensor::from_data(TensorData::new(all, [len]), device)
}

/// Forward and backward of the loss.
fn losses(rng: &mut ChaCha8Rng, rows: usize, classes: usize) -> Result<()> {
    let device = Device::flex().autodiff();
    let leaf = uniform(rng, [rows, classes], 5.0, &device).require_grad();
    let labels = below(rng, rows, classes as i64, &device);
    let options = SoftmaxXent::<f32>::new();
    let burns = CrossEntropyLossConfig::new().init(&device);
    let step = |loss: Tensor<1>, start: Instant| {
        drop(black_box(loss.backward()));
        start.elapsed()
    };
    // The result of another operation, which nobody else holds.
    let given_away = || leaf.clone().add_scalar(0.0);
    let both = |name: &str, logits: &dyn Fn() -> Tensor<2>, with: &'static str| {
        let sides: Vec<Side<'_>> = vec![
            (
                "",
                Box::new(|| {
                    let (logits, labels, start) = (logits(), labels.clone(), Instant::now());
                    Ok(step(burns.forward(logits, labels), start))
                }),
            ),
            (
                with,
                Box::new(|| {
                    let (logits, labels, start) = (logits(), labels.clone(), Instant::now());
                    Ok(step(cross_entropy(logits, labels, &options)?, start))
                }),
            ),
        ];
        compare(&format!("{name}, {rows} x {classes}"), sides)
    };
    both("cross-entropy", &given_away, "`cross_entropy`, logits given away")?;
    both("cross-entropy", &|| leaf.clone(), "`cross_entropy`, logits kept")
}

/// A step of gradient descent on an embedding table: read rows, a loss of their squares, backward, update.
fn embeddings(rng: &mut ChaCha8Rng, rows: usize, width: usize, read: usize) -> Result<()> {
    let device = Device::flex().autodiff();
    let start = uniform(rng, [rows, width], 1.0, &Device::flex());
    let ids = below(rng, read, rows as i64, &device);
    let fresh = || Tensor::<2>::from_data(start.to_data(), &device).require_grad();
    let [mut burns, mut ours] = [fresh(), fresh()];
    let mut sparse = Tensor::<2>::from_data(start.to_data(), &Device::flex());
    let squares = |rows: Tensor<3>| (rows.clone() * rows).sum();
    // As burn's own optimizers do it.
    let dense_step = |table: &mut Tensor<2>, loss: Tensor<1>| {
        let gradient = table.grad_remove(&mut loss.backward()).expect("a gradient");
        drop(loss);
        table.inplace(|table| Tensor::from_inner(table.inner() - gradient.mul_scalar(1e-3)).require_grad());
    };
    let sides: Vec<Side<'_>> = vec![
        (
            "",
            Box::new(|| {
                let begin = Instant::now();
                let loss = squares(module::embedding(burns.clone(), ids.clone().unsqueeze()));
                dense_step(&mut burns, loss);
                Ok(begin.elapsed())
            }),
        ),
        (
            "`embedding`",
            Box::new(|| {
                let begin = Instant::now();
                let loss = squares(embedding(ours.clone(), ids.clone().unsqueeze())?);
                dense_step(&mut ours, loss);
                Ok(begin.elapsed())
            }),
        ),
        (
            "`select` and `sgd_step_rows`",
            Box::new(|| {
                let begin = Instant::now();
                let rows = select(sparse.clone(), 0, ids.clone())?.autodiff().require_grad();
                let loss = squares(rows.clone().unsqueeze());
                let gradient = rows.grad_remove(&mut loss.backward()).expect("a gradient");
                sgd_step_rows(&mut sparse, ids.clone(), gradient, 1e-3)?;
                Ok(begin.elapsed())
            }),
        ),
    ];
    compare(&format!("embedding, {read} of {rows} x {width}"), sides)
}

fn main() -> Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    println!("| step | with | burn, ms | gradix, ms | ratio |");
    println!("|---|---|---:|---:|---:|");
    losses(&mut rng, 4_096, 1_000)?;
    losses(&mut rng, 1_024, 32_000)?;
    embeddings(&mut rng, 50_000, 512, 4_096)
}
