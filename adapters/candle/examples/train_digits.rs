//! `cargo run --release --example train_digits`: a network of two layers in candle, trained on handwritten digits with
//! gradix's cross-entropy. `-- --candle` takes candle's own: the two lines that differ are marked.

use anyhow::{Context, Result};
use candle_core::{D, DType, Device, Tensor};
use candle_nn::{Linear, Module, Optimizer, SGD, VarBuilder, VarMap, linear};
use gradix_candle::{SoftmaxXent, cross_entropy};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use std::time::{Duration, Instant};

const PIXELS: usize = 64;
const HIDDEN: usize = 128;
const CLASSES: usize = 10;
const BATCH: usize = 32;
const EPOCHS: usize = 10;
const LEARNING_RATE: f64 = 0.2;

/// Images from 0 to 1 and the digits they show, in an order drawn from a seed.
fn read(file: &Path) -> Result<(Tensor, Tensor)> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(file)?;
    let mut lines = reader.deserialize().collect::<Result<Vec<Vec<u8>>, _>>()?;
    lines.shuffle(&mut ChaCha8Rng::seed_from_u64(1));
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for line in &lines {
        let (&label, pixels) = line.split_last().context("an empty line")?;
        anyhow::ensure!(pixels.len() == PIXELS, "{} pixels instead of {PIXELS}", pixels.len());
        images.extend(pixels.iter().map(|&pixel| f32::from(pixel) / 16.0));
        labels.push(label);
    }
    let images = Tensor::from_vec(images, (labels.len(), PIXELS), &Device::Cpu)?;
    Ok((images, Tensor::from_slice(&labels, labels.len(), &Device::Cpu)?))
}

struct Network(Linear, Linear);

impl Network {
    fn logits(&self, images: &Tensor) -> candle_core::Result<Tensor> {
        self.1.forward(&self.0.forward(images)?.relu()?)
    }
}

fn main() -> Result<()> {
    let is_candle = std::env::args().any(|argument| argument == "--candle");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/optdigits.csv");
    let (images, labels) = read(&file).with_context(|| file.display().to_string())?;
    let held_out = labels.dim(0)? / 5;
    let trained = labels.dim(0)? - held_out;

    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let network =
        Network(linear(PIXELS, HIDDEN, builder.pp("1"))?, linear(HIDDEN, CLASSES, builder.pp("2"))?);
    let mut optimizer = SGD::new(variables.all_vars(), LEARNING_RATE)?;
    let options = SoftmaxXent::<f32>::new();
    let mut in_loss = Duration::ZERO;
    for epoch in 1..=EPOCHS {
        let mut sum = 0.0;
        for first in (0..trained).step_by(BATCH) {
            let count = BATCH.min(trained - first);
            let (x, y) = (images.narrow(0, first, count)?, labels.narrow(0, first, count)?);
            let logits = network.logits(&x)?;
            let start = Instant::now();
            let loss = if is_candle {
                candle_nn::loss::cross_entropy(&logits, &y.to_dtype(DType::U32)?)? // candle's own
            } else {
                cross_entropy(&logits, &y, &options)? // gradix's, which takes the bytes as they are
            };
            in_loss += start.elapsed();
            optimizer.backward_step(&loss)?;
            sum += f64::from(loss.to_scalar::<f32>()?) * count as f64;
        }
        let guesses = network.logits(&images.narrow(0, trained, held_out)?)?.argmax(D::Minus1)?;
        let right = guesses.eq(&labels.narrow(0, trained, held_out)?.to_dtype(DType::U32)?)?;
        let right = right.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?;
        println!(
            "epoch {epoch:2}: loss {:.4}, held out {:.1} %",
            sum / trained as f64,
            100.0 * right / held_out as f32
        );
    }
    println!("{:.1} ms in the loss, forward", in_loss.as_secs_f64() * 1e3);
    Ok(())
}
