//! `cargo bench` in this folder: training steps with candle's own operations and with these, end to end. The sides
//! alternate within a round; printed are the median of each side's times and the median of the rounds' ratios.
//!
//! ```text
//! cargo bench                        all
//! cargo bench -- embedding           only what has this in its name
//! RAYON_NUM_THREADS=1 cargo bench    one thread, on both sides
//! ```

use candle_core::{Device, Result, Tensor, Var};
use gradix_candle::{Keep, SoftmaxXent, cross_entropy_keeping, embedding, sgd_step_rows};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Each side is timed at least so often, and then until the budget is used up.
const ROUNDS: usize = 7;
const BUDGET: Duration = Duration::from_secs(8);

type Side<'a> = (&'static str, Box<dyn FnMut() -> Result<()> + 'a>);

/// Times the sides, the first being candle's own, and prints a line for each other one.
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
            let start = Instant::now();
            (sides[i].1)()?;
            times[i].push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    let median = |mut of: Vec<f64>| {
        of.sort_by(f64::total_cmp);
        of[of.len() / 2]
    };
    for i in 1..sides.len() {
        let ratios = times[0].iter().zip(&times[i]).map(|(candle, ours)| candle / ours).collect();
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

fn uniform(rng: &mut ChaCha8Rng, shape: &[usize], bound: f32) -> Result<Tensor> {
    let len = shape.iter().product();
    let all: Vec<f32> = (0..len).map(|_| rng.random_range(-bound..bound)).collect();
    Tensor::from_vec(all, shape, &Device::Cpu)
}

fn below(rng: &mut ChaCha8Rng, len: usize, end: u32) -> Result<Tensor> {
    Tensor::from_vec((0..len).map(|_| rng.random_range(0..end)).collect::<Vec<u32>>(), len, &Device::Cpu)
}

/// Forward and backward of the loss, from logits that are a variable.
fn losses(rng: &mut ChaCha8Rng, rows: usize, classes: usize) -> Result<()> {
    let logits = Var::from_tensor(&uniform(rng, &[rows, classes], 5.0)?)?;
    let labels = below(rng, rows, classes as u32)?;
    let step = |loss: Tensor| loss.backward().map(|gradients| drop(black_box(gradients)));
    let options = SoftmaxXent::<f32>::new();
    let ours = |keep| step(cross_entropy_keeping(&logits, &labels, &options, keep)?);
    let sides: Vec<Side<'_>> = vec![
        ("", Box::new(|| step(candle_nn::loss::cross_entropy(&logits, &labels)?))),
        ("`cross_entropy`", Box::new(|| ours(Keep::Gradient))),
        ("the same, keeping partials", Box::new(|| ours(Keep::Partials))),
    ];
    compare(&format!("cross-entropy, {rows} x {classes}"), sides)
}

/// A step of gradient descent on an embedding table: read rows, a loss of their squares, backward, update.
fn embeddings(rng: &mut ChaCha8Rng, rows: usize, width: usize, read: usize) -> Result<()> {
    let start = uniform(rng, &[rows, width], 1.0)?;
    let ids = below(rng, read, rows as u32)?;
    let [candles, ours, sparse] = [(); 3].map(|()| Var::from_tensor(&start));
    let (candles, ours, sparse) = (candles?, ours?, sparse?);
    let dense_step = |table: &Var, rows: Tensor| -> Result<()> {
        let gradients = rows.sqr()?.sum_all()?.backward()?;
        let gradient = gradients.get(table).expect("a gradient");
        table.set(&table.sub(&(gradient * 1e-3)?)?)
    };
    let sides: Vec<Side<'_>> = vec![
        ("", Box::new(|| dense_step(&candles, candles.embedding(&ids)?))),
        ("`embedding`", Box::new(|| dense_step(&ours, embedding(&ours, &ids)?))),
        (
            "`embedding` and `sgd_step_rows`",
            Box::new(|| {
                let rows = Var::from_tensor(&embedding(&sparse.as_detached_tensor(), &ids)?)?;
                let gradients = rows.sqr()?.sum_all()?.backward()?;
                sgd_step_rows(&sparse, &ids, gradients.get(&rows).expect("a gradient"), 1e-3)
            }),
        ),
    ];
    compare(&format!("embedding, {read} of {rows} x {width}"), sides)
}

fn main() -> Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    println!("| step | with | candle, ms | gradix, ms | ratio |");
    println!("|---|---|---:|---:|---:|");
    losses(&mut rng, 4_096, 1_000)?;
    losses(&mut rng, 1_024, 32_000)?;
    embeddings(&mut rng, 50_000, 512, 4_096)
}
