//! Who else gathers: G1 to G8.

use crate::common::data::Buffer;
use crate::common::numbers;
use crate::common::work::gather::{Form, Gather};
use crate::peer::{Peer, burn, candle};
use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float32Array, UInt32Array, types::Float32Type};
use ndarray::{Array2, Axis};
use rayon::prelude::*;
use std::sync::Arc;

pub fn peers(work: &Gather<f32>) -> Vec<Peer> {
    let (rows, width) = (work.rows, work.width);
    let (src, idx) = (&*work.src, &*work.idx);
    let places: Vec<usize> = idx.iter().map(|&i| i as usize).collect();
    let array = Array2::from_shape_vec((rows, width), src.to_vec()).expect("a shape");
    let in_order = |array: Array2<f32>| numbers(&array.iter().copied().collect::<Vec<_>>());
    let tensor = candle::tensor(src, &[rows, width]);
    let candle_idx = candle::tensor(idx, &[idx.len()]);
    let (burn_src, burn_idx) = (burn::floats(src, [rows, width]), burn::ints(idx, [idx.len()]));
    let out: Buffer<f32> = Buffer::zeros(work.out.len());
    let read = |out: &Buffer<f32>| numbers(out);
    match work.form {
        Form::Elements => {
            let flat = array.flatten().to_owned();
            let (tensor, burn_src) = (tensor.flatten_all().expect("a vector"), burn_src.flatten::<1>(0, 1));
            let (arrow_src, arrow_idx) = (floats(src), UInt32Array::from(idx.to_vec()));
            let (src, idx) = (src.to_vec(), idx.to_vec());
            vec![
                Peer::new(
                    "ndarray",
                    move || flat.select(Axis(0), &places),
                    |a| numbers(&a.iter().copied().collect::<Vec<_>>()),
                ),
                Peer::new(
                    "arrow",
                    move || arrow_select::take::take(&arrow_src, &arrow_idx, None).expect("take"),
                    arrow_numbers,
                ),
                Peer::new(
                    "candle",
                    move || tensor.index_select(&candle_idx, 0).expect("index_select"),
                    candle::numbers,
                ),
                Peer::new("burn", move || burn_src.clone().select(0, burn_idx.clone()), burn::numbers),
                Peer::into(
                    "loop, rayon",
                    out,
                    move |out| {
                        let pairs = out.par_iter_mut().zip(&idx).with_min_len(4096);
                        pairs.for_each(|(out, &i)| *out = src[i as usize]);
                    },
                    read,
                ),
            ]
        }
        Form::Rows => {
            let lists = FixedSizeListArray::new(
                Arc::new(arrow_schema::Field::new("row", arrow_schema::DataType::Float32, false)),
                width as i32,
                Arc::new(floats(src)),
                None,
            );
            let arrow_idx = UInt32Array::from(idx.to_vec());
            let (src, idx) = (src.to_vec(), idx.to_vec());
            vec![
                Peer::new("ndarray", move || array.select(Axis(0), &places), in_order),
                Peer::new(
                    "arrow",
                    move || arrow_select::take::take(&lists, &arrow_idx, None).expect("take"),
                    |answer| {
                        let lists = answer.as_any().downcast_ref::<FixedSizeListArray>().expect("lists");
                        arrow_numbers(lists.values().clone())
                    },
                ),
                Peer::new(
                    "candle",
                    move || tensor.index_select(&candle_idx, 0).expect("index_select"),
                    candle::numbers,
                ),
                Peer::new("burn", move || burn_src.clone().select(0, burn_idx.clone()), burn::numbers),
                Peer::into(
                    "loop, rayon",
                    out,
                    move |out| {
                        let pairs = out.par_chunks_exact_mut(width).zip(&idx).with_min_len(64);
                        pairs.for_each(|(out, &i)| out.copy_from_slice(&src[i as usize * width..][..width]));
                    },
                    read,
                ),
            ]
        }
        Form::Columns => {
            let (src, idx) = (src.to_vec(), idx.to_vec());
            let ndarray = if places.len() == 1 {
                let column = places[0];
                Peer::new(
                    "ndarray",
                    move || array.column(column).to_owned(),
                    |a| numbers(&a.iter().copied().collect::<Vec<_>>()),
                )
            } else {
                Peer::new("ndarray", move || array.select(Axis(1), &places), in_order)
            };
            vec![
                ndarray,
                Peer::new(
                    "candle",
                    move || tensor.index_select(&candle_idx, 1).expect("index_select"),
                    candle::numbers,
                ),
                Peer::new("burn", move || burn_src.clone().select(1, burn_idx.clone()), burn::numbers),
                Peer::into(
                    "loop, rayon",
                    out,
                    move |out| {
                        let pairs = out.par_chunks_exact_mut(idx.len()).zip(src.par_chunks_exact(width));
                        pairs.with_min_len(64).for_each(|(out, row)| {
                            out.iter_mut().zip(&idx).for_each(|(out, &i)| *out = row[i as usize]);
                        });
                    },
                    read,
                ),
            ]
        }
        Form::Pick => {
            let candle_idx = candle_idx.unsqueeze(1).expect("a column");
            let burn_idx = burn_idx.reshape([rows, 1]);
            let (src, idx) = (src.to_vec(), idx.to_vec());
            vec![
                Peer::new(
                    "ndarray",
                    move || {
                        let rows = array.outer_iter().zip(&places);
                        rows.map(|(row, &y)| row[y]).collect::<Vec<f32>>()
                    },
                    |picked| numbers(&picked),
                ),
                Peer::new("candle", move || tensor.gather(&candle_idx, 1).expect("gather"), candle::numbers),
                Peer::new("burn", move || burn_src.clone().gather(1, burn_idx.clone()), burn::numbers),
                Peer::into(
                    "loop, rayon",
                    out,
                    move |out| {
                        let pairs = out.par_iter_mut().zip(src.par_chunks_exact(width)).zip(&idx);
                        pairs.with_min_len(1024).for_each(|((out, row), &y)| *out = row[y as usize]);
                    },
                    read,
                ),
            ]
        }
    }
}

pub fn floats(data: &[f32]) -> Float32Array {
    Float32Array::from(data.to_vec())
}

pub fn arrow_numbers(answer: ArrayRef) -> Vec<f64> {
    use arrow_array::cast::AsArray;
    numbers(answer.as_primitive::<Float32Type>().values())
}
