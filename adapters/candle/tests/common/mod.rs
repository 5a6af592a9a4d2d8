//! Random tensors in every kind of layout.
#![allow(dead_code, unreachable_pub)] // each test uses a part

use candle_core::{DType, Device, Result, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// How a tensor stands in its storage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stands {
    Contiguous,
    /// The last two axes change places in memory.
    Transposed,
    /// A part of a larger tensor, away from its start.
    Sliced,
    /// Both.
    SlicedTransposed,
}

pub const ALL: [Stands; 4] =
    [Stands::Contiguous, Stands::Transposed, Stands::Sliced, Stands::SlicedTransposed];

/// The same elements, standing another way. Gradients flow through to `x`.
pub fn stand(x: &Tensor, stands: Stands) -> Result<Tensor> {
    let last = x.rank() - 1;
    let sliced = |x: &Tensor| -> Result<Tensor> {
        let mut x = x.clone();
        for axis in [0, x.rank() - 1] {
            let len = x.dim(axis)?;
            let edge = x.narrow(axis, 0, len.min(1))?.detach();
            x = Tensor::cat(&[&edge, &edge, &x, &edge], axis)?.narrow(axis, 2 * len.min(1), len)?;
        }
        Ok(x)
    };
    let transposed = |x: &Tensor, f: &dyn Fn(&Tensor) -> Result<Tensor>| {
        let columns = x.transpose(last - 1, last)?.contiguous()?;
        f(&columns)?.transpose(last - 1, last)
    };
    match stands {
        Stands::Contiguous => x.contiguous(),
        Stands::Sliced => sliced(x),
        Stands::Transposed | Stands::SlicedTransposed if last == 0 => sliced(x),
        Stands::Transposed => transposed(x, &|x| Ok(x.clone())),
        Stands::SlicedTransposed => transposed(x, &sliced),
    }
}

/// Uniform numbers in −bound..bound.
pub fn uniform(rng: &mut ChaCha8Rng, shape: &[usize], bound: f64, dtype: DType) -> Result<Tensor> {
    let len = shape.iter().product();
    let all: Vec<f64> = (0..len).map(|_| rng.random_range(-bound..bound)).collect();
    Tensor::from_vec(all, shape, &Device::Cpu)?.to_dtype(dtype)
}

/// Uniform integers below `end`.
pub fn integers(rng: &mut ChaCha8Rng, shape: &[usize], end: usize, dtype: DType) -> Result<Tensor> {
    let len = shape.iter().product();
    let all: Vec<u32> = (0..len).map(|_| rng.random_range(0..end as u32)).collect();
    Tensor::from_vec(all, shape, &Device::Cpu)?.to_dtype(dtype)
}

/// All elements in C order.
pub fn flat(x: &Tensor) -> Result<Vec<f64>> {
    x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}
