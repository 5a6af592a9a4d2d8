//! [gradix](https://docs.rs/gradix)'s cross-entropy, gathers and scatters as operations of [burn], with gradients.
//!
//! | burn | here |
//! |---|---|
//! | `CrossEntropyLossConfig::new().init(&device).forward(logits, labels)` | [`cross_entropy`], with all options of [`SoftmaxXent`] |
//! | `x.select(dim, ids)` | [`select`] |
//! | `burn::tensor::module::embedding(table, ids)`, `burn::nn::Embedding` | [`embedding`] |
//! | `table.select_assign(0, ids, grad * -lr, IndexingUpdateOp::Add)` | [`sgd_step_rows`], in place |
//!
//! ```
//! use burn::tensor::{Device, Int, Tensor};
//! use gradix_burn::{SoftmaxXent, cross_entropy};
//!
//! let device = Device::flex().autodiff();
//! let logits = Tensor::<2>::from_data([[2f32, 1., 0.], [0., 3., 0.]], &device).require_grad();
//! let labels = Tensor::<1, Int>::from_data([0, 1], &device);
//! let loss = cross_entropy(logits.clone(), labels, &SoftmaxXent::<f32>::new())?;
//! assert!((loss.clone().into_scalar::<f32>() - 0.2513).abs() < 1e-4);
//!
//! let gradient = logits.grad(&loss.backward()).expect("a gradient").into_data();
//! assert!((gradient.as_slice::<f32>().expect("f32")[0] - (0.6652 - 1.0) / 2.0).abs() < 1e-4);
//! # Ok::<(), gradix_burn::Error>(())
//! ```
//!
//! **Tensors** are of the backend Flex, with autodiff or without it, and of any strides and offset (transposed, sliced,
//! flipped, expanded): they are read where they stand, never copied first. Cross-entropy and gradients are of `f32` and
//! `f64`; labels and indices of any integers. Other types and other backends are errors.
//!
//! **The graph.** Where burn does not track a tensor, only the values are computed. Where it does, the operation is one
//! node of the graph, and its gradient is registered as it is: burn neither copies it nor adds it to zeros. With gradient
//! checkpointing, results of these operations are kept, not computed again.
#![deny(missing_docs)]

mod cross_entropy;
mod error;
mod select;
mod sparse;
mod storage;

pub use cross_entropy::cross_entropy;
pub use error::{Error, Result};
pub use gradix::{Reduction, SoftmaxXent};
pub use select::{embedding, select};
pub use sparse::sgd_step_rows;
