//! `cargo run --release --example train_digits`: a network of two layers in burn, trained on handwritten digits with
//! gradix's cross-entropy. `-- --burn` takes burn's own: the two lines that differ are marked.

use anyhow::{Context, Result};
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::{Device, Int, Tensor, TensorData, activation::relu};
use gradix_burn::{SoftmaxXent, cross_entropy};
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
fn read(file: &Path, device: &Device) -> Result<(Tensor<2>, Tensor<1, Int>)> {
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
    let count = labels.len();
    let images = Tensor::from_data(TensorData::new(images, [count, PIXELS]), device);
    Ok((images, Tensor::from_data(TensorData::new(labels, [count]), device)))
}

#[derive(Module, Debug)]
struct Network {
    hidden: Linear,
    output: Linear,
}

impl Network {
    fn logits(&self, images: Tensor<2>) -> Tensor<2> {
        self.output.forward(relu(self.hidden.forward(images)))
    }
}

fn main() -> Result<()> {
    let is_burn = std::env::args().any(|argument| argument == "--burn");
    let device = Device::flex().autodiff();
    device.seed(1);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/optdigits.csv");
    let (images, labels) = read(&file, &device).with_context(|| file.display().to_string())?;
    let [count] = labels.dims();
    let held_out = count / 5;
    let trained = count - held_out;

    let mut network = Network {
        hidden: LinearConfig::new(PIXELS, HIDDEN).init(&device),
        output: LinearConfig::new(HIDDEN, CLASSES).init(&device),
    };
    let mut optimizer = SgdConfig::new().init();
    let criterion = CrossEntropyLossConfig::new().init(&device);
    let options = SoftmaxXent::<f32>::new();
    let mut in_loss = Duration::ZERO;
    for epoch in 1..=EPOCHS {
        let mut sum = 0.0;
        for first in (0..trained).step_by(BATCH) {
            let count = BATCH.min(trained - first);
            let (x, y) = (images.clone().narrow(0, first, count), labels.clone().narrow(0, first, count));
            let logits = network.logits(x);
            let start = Instant::now();
            let loss = if is_burn {
                criterion.forward(logits, y) // burn's own
            } else {
                cross_entropy(logits, y, &options)? // gradix's
            };
            in_loss += start.elapsed();
            let gradients = GradientsParams::from_grads(loss.backward(), &network);
            network = optimizer.step(LEARNING_RATE, network, gradients);
            sum += f64::from(loss.into_scalar::<f32>()) * count as f64;
        }
        let guesses =
            network.logits(images.clone().narrow(0, trained, held_out)).argmax(1).flatten::<1>(0, 1);
        let right =
            guesses.equal(labels.clone().narrow(0, trained, held_out)).int().sum().into_scalar::<i64>();
        println!(
            "epoch {epoch:2}: loss {:.4}, held out {:.1} %",
            sum / trained as f64,
            100.0 * right as f64 / held_out as f64
        );
    }
    println!("{:.1} ms in the loss, forward", in_loss.as_secs_f64() * 1e3);
    Ok(())
}
