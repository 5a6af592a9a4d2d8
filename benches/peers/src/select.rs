//! Who else selects: S1 to S3.

use crate::common::data::{Buffer, Element};
use crate::common::numbers;
use crate::common::work::select::{Form, Select};
use crate::gather::{arrow_numbers, floats};
use crate::peer::{Peer, burn};
use arrow_array::{ArrowPrimitiveType, BooleanArray, PrimitiveArray, types::Float64Type};
use ndarray::Array1;
use polars_arrow::types::NativeType;
use polars_compute::comparisons::TotalOrdKernel;
use rayon::prelude::*;
use vortex_array::arrays::{ConstantArray, PrimitiveArray as VortexArray};
use vortex_array::builtins::ArrayBuiltins;
use vortex_array::dtype::NativePType;
use vortex_array::scalar::Scalar;
use vortex_array::scalar_fn::fns::operators::Operator;
use vortex_array::{IntoArray, VortexSessionExecute, array_session};
use vortex_mask::Mask;

pub fn peers(work: &Select<f32>) -> Vec<Peer> {
    let (x, threshold) = (&*work.x, work.threshold);
    let tensor = burn::floats(x, [x.len()]);
    let indices = work.form == Form::Indices;
    let mut peers = both(work);
    if indices {
        peers.push(arrow_indices(floats(x), threshold));
        peers.push(Peer::new(
            "burn",
            move || tensor.clone().greater_elem(threshold).argwhere(),
            |answer| answer.into_data().iter::<f64>().collect(),
        ));
    } else {
        let array = floats(x);
        peers.push(Peer::new(
            "arrow",
            move || {
                let mask = BooleanArray::from_unary(&array, |x| x > threshold);
                arrow_select::filter::filter(&array, &mask).expect("filter")
            },
            arrow_numbers,
        ));
        peers.push(Peer::new(
            "burn",
            move || {
                let hits = tensor.clone().greater_elem(threshold).argwhere().flatten::<1>(0, 1);
                tensor.clone().select(0, hits)
            },
            burn::numbers,
        ));
    }
    peers
}

pub fn peers_f64(work: &Select<f64>) -> Vec<Peer> {
    let mut peers = both(work);
    peers.push(arrow_indices(PrimitiveArray::<Float64Type>::from(work.x.to_vec()), work.threshold));
    peers
}

fn arrow_indices<A: ArrowPrimitiveType>(array: PrimitiveArray<A>, threshold: A::Native) -> Peer
where
    A::Native: Copy + PartialOrd + Send,
{
    Peer::into(
        "arrow",
        Vec::<u32>::with_capacity(arrow_array::Array::len(&array)),
        move |out| {
            let mask = BooleanArray::from_unary(&array, |x| x > threshold);
            out.clear();
            out.extend(mask.values().set_indices_u32());
        },
        |out| numbers(out),
    )
}

/// Its comparison and its filter, or the list of what the comparison's mask has set.
fn vortex<T: Element + NativePType + Into<Scalar>>(work: &Select<T>) -> Peer {
    let (len, indices) = (work.x.len(), work.form == Form::Indices);
    let column = VortexArray::from_iter(work.x.iter().copied()).into_array();
    let threshold = ConstantArray::new(work.threshold, len).into_array();
    let session = array_session();
    let mask = move || {
        let mut context = session.create_execution_ctx();
        let above = column.binary(threshold.clone(), Operator::Gt).expect("a comparison");
        (above.execute::<Mask>(&mut context).expect("a mask"), column.clone(), context)
    };
    if indices {
        let work = move |out: &mut Vec<u32>| {
            out.clear();
            mask().0.to_bit_buffer().for_each_set_index(|i| out.push(i as u32));
        };
        return Peer::into("vortex", Vec::with_capacity(len), work, |out| numbers(out));
    }
    let work = move || {
        let (mask, column, mut context) = mask();
        column.filter(mask).expect("a filter").execute::<VortexArray>(&mut context).expect("the hits")
    };
    Peer::new("vortex", work, |hits| numbers(hits.as_slice::<T>()))
}

/// Those who take both `f32` and `f64`: ndarray, polars, vortex, the loop without branches and the loop with rayon.
fn both<T: Element + NativeType + NativePType + Into<Scalar>>(work: &Select<T>) -> Vec<Peer>
where
    polars_arrow::array::PrimitiveArray<T>: TotalOrdKernel<Scalar = T>,
{
    let (x, threshold) = (&*work.x, work.threshold);
    let column = polars_arrow::array::PrimitiveArray::from_vec(x.to_vec());
    let array = Array1::from_vec(x.to_vec());
    let (one, all) = (x.to_vec(), x.to_vec());
    if work.form == Form::Indices {
        let output = Output { elements: Buffer::<u32>::zeros(x.len()), hits: 0 };
        vec![
            Peer::new(
                "ndarray",
                move || {
                    let hits = array.indexed_iter().filter(|&(_, &x)| x > threshold);
                    hits.map(|(i, _)| i).collect::<Vec<usize>>()
                },
                |hits| numbers(&hits),
            ),
            Peer::into(
                "polars",
                Vec::<u32>::with_capacity(x.len()),
                move |out| {
                    let mask = column.tot_gt_kernel_broadcast(&threshold);
                    out.clear();
                    out.extend(mask.true_idx_iter().map(|i| i as u32));
                },
                |out| numbers(out),
            ),
            vortex(work),
            Peer::into(
                "branch-free loop",
                output,
                move |output| {
                    let mut hits = 0;
                    for (i, &x) in one.iter().enumerate() {
                        output.elements[hits] = i as u32;
                        hits += usize::from(x > threshold);
                    }
                    output.hits = hits;
                },
                |output| numbers(&output.elements[..output.hits]),
            ),
            Peer::new(
                "loop, rayon",
                move || {
                    let hits = all.par_iter().enumerate().filter(|&(_, &x)| x > threshold);
                    hits.map(|(i, _)| i as u32).collect::<Vec<u32>>()
                },
                |hits| numbers(&hits),
            ),
        ]
    } else {
        let output = Output { elements: Buffer::<T>::zeros(x.len()), hits: 0 };
        vec![
            Peer::new(
                "ndarray",
                move || array.iter().copied().filter(|&x| x > threshold).collect::<Vec<T>>(),
                |hits| numbers(&hits),
            ),
            Peer::new(
                "polars",
                move || {
                    let mask = column.tot_gt_kernel_broadcast(&threshold);
                    polars_compute::filter::filter_with_bitmap(&column, &mask)
                },
                |answer| {
                    let answer = answer.as_any().downcast_ref::<polars_arrow::array::PrimitiveArray<T>>();
                    numbers(answer.expect("of the same type").values())
                },
            ),
            vortex(work),
            Peer::into(
                "branch-free loop",
                output,
                move |output| {
                    let mut hits = 0;
                    for &x in &one {
                        output.elements[hits] = x;
                        hits += usize::from(x > threshold);
                    }
                    output.hits = hits;
                },
                |output| numbers(&output.elements[..output.hits]),
            ),
            Peer::new(
                "loop, rayon",
                move || all.par_iter().copied().filter(|&x| x > threshold).collect::<Vec<T>>(),
                |hits| numbers(&hits),
            ),
        ]
    }
}

struct Output<T> {
    elements: Buffer<T>,
    hits: usize,
}
