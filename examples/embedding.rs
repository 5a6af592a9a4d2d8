//! An embedding table with sparse SGD: ratings are products of what is learnt about a user and about an item. A step reads
//! the rows of its batch (gather) and adds to these rows alone (scatter); no gradient of a whole table is ever made.
//!
//! `cargo run --release --example embedding`

use gradix::{View, ViewMut, scatter_add_axis_scaled, take_axis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const USERS: usize = 2_000;
const ITEMS: usize = 1_000;
const WIDTH: usize = 16;
const BATCH: usize = 512;
const STEPS: usize = 3_000;
const RATE: f32 = 0.1;

fn main() -> gradix::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    // What is to be found: four hidden traits of each user and item.
    let mut traits = |n: usize| -> Vec<[f32; 4]> {
        (0..n).map(|_| [(); 4].map(|()| rng.random_range(-1.0..1.0f32))).collect()
    };
    let (tastes, kinds) = (traits(USERS), traits(ITEMS));
    let rating = |user: u32, item: u32| -> f32 {
        tastes[user as usize].iter().zip(kinds[item as usize]).map(|(taste, kind)| taste * kind).sum()
    };

    let mut table = |n: usize| (0..n * WIDTH).map(|_| rng.random_range(-0.3..0.3)).collect::<Vec<f32>>();
    let (mut users, mut items) = (table(USERS), table(ITEMS));
    let mut error = 0.0;
    for step in 1..=STEPS {
        let who: Vec<u32> = (0..BATCH).map(|_| rng.random_range(0..USERS as u32)).collect();
        let what: Vec<u32> = (0..BATCH).map(|_| rng.random_range(0..ITEMS as u32)).collect();

        // Each batch is of pairs that were never seen, so the error is one on new data.
        let mut u = take_axis(View::new(&users, &[USERS, WIDTH])?, 0, &who)?;
        let mut v = take_axis(View::new(&items, &[ITEMS, WIDTH])?, 0, &what)?;
        let mut squares = 0.0;
        for (i, (u, v)) in u.chunks_exact_mut(WIDTH).zip(v.chunks_exact_mut(WIDTH)).enumerate() {
            let off = u.iter().zip(&*v).map(|(u, v)| u * v).sum::<f32>() - rating(who[i], what[i]);
            squares += off * off;
            // The gradient of off² / 2: each side's is the other's row.
            u.iter_mut().zip(v).for_each(|(u, v)| (*u, *v) = (off * *v, off * *u));
        }
        let rows = [BATCH, WIDTH];
        let (du, dv) = (View::new(&u, &rows)?, View::new(&v, &rows)?);
        scatter_add_axis_scaled(ViewMut::new(&mut users, &[USERS, WIDTH])?, 0, &who, du, -RATE)?;
        scatter_add_axis_scaled(ViewMut::new(&mut items, &[ITEMS, WIDTH])?, 0, &what, dv, -RATE)?;

        error = (squares / BATCH as f32).sqrt();
        if step == 1 || step % 500 == 0 {
            println!("step {step:>5}: off by {error:.3}");
        }
    }
    assert!(error < 0.05, "ratings between -4 and 4 should be found within 0.05");
    Ok(())
}
