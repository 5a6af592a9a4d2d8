//! Random tensors in every kind of layout.
#![allow(dead_code, unreachable_pub)] // each test uses a part

use burn::backend::Flex;
use burn::tensor::kind::{Basic, Numeric};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// The device whose tensors burn can track.
pub fn tracking() -> Device {
    Device::flex().autodiff()
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
    /// The first and last axis run backwards in memory.
    Flipped,
}

pub const ALL: [Stands; 5] =
    [Stands::Contiguous, Stands::Transposed, Stands::Sliced, Stands::SlicedTransposed, Stands::Flipped];

/// The same elements, standing another way. Gradients flow through to `x`.
pub fn stand<const D: usize, K: Numeric>(x: Tensor<D, K>, stands: Stands) -> Tensor<D, K>
where
    Tensor<D, K>: Tracked,
{
    let sliced = |mut x: Tensor<D, K>| {
        for axis in [0, D - 1] {
            let len = x.dims()[axis];
            let edge = x.clone().narrow(axis, 0, len.min(1)).untracked();
            x = Tensor::cat(vec![edge.clone(), edge.clone(), x, edge], axis).narrow(
                axis,
                2 * len.min(1),
                len,
            );
        }
        x
    };
    // An operation that makes a new tensor in C order.
    let copied = |x: Tensor<D, K>| x.add_scalar(0);
    let flipped = |x: Tensor<D, K>| if D == 1 { x.flip([0]) } else { x.flip([0, D - 1]) };
    match stands {
        Stands::Contiguous => x,
        Stands::Sliced => sliced(x),
        Stands::Transposed | Stands::SlicedTransposed if D == 1 => sliced(x),
        Stands::Transposed => copied(x.swap_dims(D - 2, D - 1)).swap_dims(D - 2, D - 1),
        Stands::SlicedTransposed => sliced(copied(x.swap_dims(D - 2, D - 1))).swap_dims(D - 2, D - 1),
        Stands::Flipped => flipped(copied(flipped(x))),
    }
}

/// Tensors that can leave the graph, if they are in one.
pub trait Tracked {
    #[must_use]
    fn untracked(self) -> Self;
}

impl<const D: usize> Tracked for Tensor<D> {
    fn untracked(self) -> Self {
        self.detach().set_require_grad(false)
    }
}

impl<const D: usize> Tracked for Tensor<D, Int> {
    fn untracked(self) -> Self {
        self
    }
}

/// Uniform numbers in −bound..bound.
pub fn uniform<const D: usize>(
    rng: &mut ChaCha8Rng,
    shape: [usize; D],
    bound: f64,
    dtype: DType,
) -> Tensor<D> {
    let all: Vec<f64> = (0..shape.iter().product()).map(|_| rng.random_range(-bound..bound)).collect();
    Tensor::from_data(TensorData::new(all, shape), (&tracking(), dtype))
}

/// Uniform integers below `end`.
pub fn integers<const D: usize>(
    rng: &mut ChaCha8Rng,
    shape: [usize; D],
    end: usize,
    dtype: DType,
) -> Tensor<D, Int> {
    let all: Vec<i64> = (0..shape.iter().product()).map(|_| rng.random_range(0..end as i64)).collect();
    Tensor::from_data(TensorData::new(all, shape), (&tracking(), dtype))
}

/// All elements in C order.
pub fn flat<const D: usize, K: Basic>(x: &Tensor<D, K>) -> Vec<f64> {
    x.to_data().iter::<f64>().collect()
}

/// Whether the elements of a tensor without autodiff stand in C order, and where the first one is.
pub fn place<const D: usize>(x: &Tensor<D>) -> (bool, *const u8) {
    let x = x.clone().try_into_primitive::<Flex>().expect("a tensor of Flex");
    (x.is_contiguous(), x.bytes()[x.layout().start_offset() * x.dtype().size()..].as_ptr())
}

/// Every type that labels and indices may have.
pub const INTEGERS: [DType; 8] =
    [DType::I64, DType::I32, DType::I16, DType::I8, DType::U64, DType::U32, DType::U16, DType::U8];
