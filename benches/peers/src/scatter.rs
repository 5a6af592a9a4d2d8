//! Who else scatters: T1 and T2. candle and burn return a new destination, and copy the old one for it; the loops
//! add in place.

use crate::common::data::Buffer;
use crate::common::numbers;
use crate::common::work::scatter::Scatter;
use crate::peer::{Peer, burn, candle};
use ::burn::tensor::IndexingUpdateOp;
use ndarray::Array2;
use rayon::prelude::*;

pub fn peers(work: &Scatter<f32>) -> Vec<Peer> {
    let (rows, width, count) = (work.rows, work.width, work.idx.len());
    let (idx, src) = (&*work.idx, &*work.src);
    let zeros = vec![0.0f32; rows * width];
    let candle_dst = candle::tensor(&zeros, &[rows, width]);
    let (candle_idx, candle_src) = (candle::tensor(idx, &[count]), candle::tensor(src, &[count, width]));
    let burn_dst = burn::floats(&zeros, [rows, width]);
    let (burn_idx, burn_src) = (burn::ints(idx, [count]), burn::floats(src, [count, width]));
    let array = Array2::from_shape_vec((count, width), src.to_vec()).expect("a shape");
    let destination = Array2::<f32>::zeros((rows, width));
    let places = idx.to_vec();
    let (idx, src) = (idx.to_vec(), src.to_vec());
    vec![
        Peer::into(
            "ndarray",
            destination,
            move |dst| {
                for (&i, row) in places.iter().zip(array.outer_iter()) {
                    let mut to = dst.row_mut(i as usize);
                    to += &row;
                }
            },
            |dst| numbers(dst.as_slice().expect("C order")),
        ),
        Peer::new(
            "candle",
            move || candle_dst.index_add(&candle_idx, &candle_src, 0).expect("index_add"),
            candle::numbers,
        ),
        Peer::new(
            "burn",
            move || {
                let (dst, idx, src) = (burn_dst.clone(), burn_idx.clone(), burn_src.clone());
                dst.select_assign(0, idx, src, IndexingUpdateOp::Add)
            },
            burn::numbers,
        ),
        // Each thread owns a part of the destination and looks through all indices.
        Peer::into(
            "loop, rayon",
            Buffer::<f32>::zeros(rows * width),
            move |dst| {
                let part = rows.div_ceil(rayon::current_num_threads());
                dst.par_chunks_mut(part * width).enumerate().for_each(|(p, dst)| {
                    let first = p * part;
                    for (&i, src) in idx.iter().zip(src.chunks_exact(width)) {
                        if let Some(dst) =
                            (i as usize).checked_sub(first).and_then(|i| dst.get_mut(i * width..))
                        {
                            dst.iter_mut().zip(src).for_each(|(dst, &x)| *dst += x);
                        }
                    }
                });
            },
            |dst| numbers(dst),
        ),
    ]
}
