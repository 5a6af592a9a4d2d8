//! [gradix](https://docs.rs/gradix)'s cross-entropy, gathers and scatters as operations of [candle](candle_core),
//! with gradients.
//!
//! | candle | here |
//! |---|---|
//! | `candle_nn::loss::cross_entropy(&logits, &labels)` | [`cross_entropy`], with all options of [`SoftmaxXent`] |
//! | `x.index_select(&ids, dim)` | [`index_select`] |
//! | `x.gather(&ids, dim)` | [`gather`] |
//! | `table.embedding(&ids)`, `candle_nn::Embedding` | [`embedding`] |
//! | `table.index_add(&ids, &(grad * -lr), 0)` | [`sgd_step_rows`], in place |
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use gradix_candle::{SoftmaxXent, cross_entropy};
//!
//! let logits = Var::new(&[[2f32, 1., 0.], [0., 3., 0.]], &Device::Cpu)?;
//! let labels = Tensor::new(&[0u32, 1], &Device::Cpu)?;
//! let loss = cross_entropy(&logits, &labels, &SoftmaxXent::<f32>::new())?;
//! assert!((loss.to_scalar::<f32>()? - 0.2513).abs() < 1e-4);
//!
//! let gradients = loss.backward()?;
//! let gradient = gradients.get(&logits).expect("a gradient").to_vec2::<f32>()?;
//! assert!((gradient[0][0] - (0.6652 - 1.0) / 2.0).abs() < 1e-4);
//! # Ok::<(), candle_core::Error>(())
//! ```
//!
//! **Tensors** are on the CPU and of any strides and offset (transposed, narrowed, broadcast): they are read where they
//! stand, never copied first. Cross-entropy and gradients are of `f32` and `f64`; labels and indices of `u8`, `u32`,
//! `i16`, `i32` and `i64`. Other types and other devices are errors.
//!
//! **What candle adds.** [`Tensor::backward`] does not take a gradient as it is: for each tensor that gets one
//! it makes a tensor of zeros and adds the gradient to it. So every backward pass costs, beside the gradient itself, a
//! fill, two reads and a write of the logits' size, and one of the whole table's size for an embedding. For logits there
//! is no way around it; a table has [`sgd_step_rows`], which stays outside.
#![deny(missing_docs)]

mod cross_entropy;
mod select;
mod sparse;
mod storage;

pub use cross_entropy::{Keep, cross_entropy, cross_entropy_keeping};
pub use gradix::{Reduction, SoftmaxXent};
pub use select::{embedding, gather, index_select};
pub use sparse::sgd_step_rows;

#[cfg(doc)]
use candle_core::Tensor;
