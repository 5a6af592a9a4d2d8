//! A language model over bytes: the logits for the next byte are the sum of what each of the last three bytes says, a row
//! of 256 from a table of its own. It learns a page of text and then writes some.
//!
//! `cargo run --release --example bytes`

use gradix::{SoftmaxXent, View, ViewMut, scatter_add_axis_scaled, take_axis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const TEXT: &[u8] = include_bytes!("data/text.txt");
const CLASSES: usize = 256;
const CONTEXT: usize = 3;
const EPOCHS: usize = 200;
const RATE: f32 = 40.0;
const TABLE: [usize; 2] = [CLASSES; 2];

fn main() -> gradix::Result<()> {
    let mut tables = [(); CONTEXT].map(|()| vec![0.0f32; CLASSES * CLASSES]);
    let next = &TEXT[CONTEXT..]; // labels are bytes, as they stand in the text
    let rows = [next.len(), CLASSES];
    // The byte that comes `back` before each label.
    let before = |back: usize| &TEXT[CONTEXT - back..][..next.len()];

    let mut loss = f32::INFINITY;
    for epoch in 1..=EPOCHS {
        let mut logits = logits(&tables, before)?;
        // The mean loss; the logits become their gradient.
        loss = SoftmaxXent::new().forward_backward_in_place(ViewMut::new(&mut logits, &rows)?, next)?.value;
        let grad = View::new(&logits, &rows)?;
        for (back, table) in (1..).zip(&mut tables) {
            scatter_add_axis_scaled(ViewMut::new(table, &TABLE)?, 0, before(back), grad, -RATE)?;
        }
        if epoch == 1 || epoch % 40 == 0 {
            println!("epoch {epoch:>3}: {:.2} bits a byte", loss / std::f32::consts::LN_2);
        }
    }

    let (mut rng, mut written) = (ChaCha8Rng::seed_from_u64(2), TEXT[..CONTEXT].to_vec());
    for _ in 0..300 {
        let last = |back: usize| &written[written.len() - back..][..1];
        let logits = logits(&tables, last)?;
        // The largest of logits with Gumbel noise is a draw from their softmax.
        let noisy = logits.iter().map(|x| 1.5 * x - (-rng.random::<f32>().ln()).ln());
        let (byte, _) = noisy.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).expect("256 classes");
        written.push(byte as u8);
    }
    println!("\n{}", String::from_utf8_lossy(&written));
    assert!(loss < 2.0 * std::f32::consts::LN_2, "the text should be learnt to within 2 bits a byte");
    Ok(())
}

/// One row of each table, for each position, and their sum.
fn logits<'a>(tables: &[Vec<f32>], before: impl Fn(usize) -> &'a [u8]) -> gradix::Result<Vec<f32>> {
    let mut sum = take_axis(View::new(&tables[0], &TABLE)?, 0, before(1))?;
    for (back, table) in (2..).zip(&tables[1..]) {
        let more = take_axis(View::new(table, &TABLE)?, 0, before(back))?;
        sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
    }
    Ok(sum)
}
