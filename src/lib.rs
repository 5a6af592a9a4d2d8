//! SIMD and parallel kernels for three NumPy lines that training code is full of, each held to a plain scalar
//! definition.
//!
//! | NumPy | here |
//! |---|---|
//! | `np.take(grad, idx)`, `np.take(grad, idx, axis=0)`, `p[range(m), y]` | [`take`], [`take_axis`], [`take_along_axis`], [`pick`]; their gradients [`scatter_add`], [`scatter_add_axis`], [`scatter_add_along_axis`], [`pick_add`] |
//! | `grad[idx] = src`, `np.put_along_axis(…)` | [`put`], [`put_axis`], [`put_along_axis`], [`put_value`] and its kin |
//! | `np.where(grad > t)[0]`, `grad[grad > t]` | [`select::indices`], [`select::values`], and both at once: [`select::pairs`], [`select::sparsify`] |
//! | `p = softmax(X); p[range(m), y] -= 1; p /= m` | [`SoftmaxXent`] |
//!
//! ```
//! use gradix::{Gt, SoftmaxXent, View, ViewMut, select};
//!
//! let grad = [1.2, 0.8, 0.5, 1.0, 0.3, 0.9];
//!
//! // np.take(grad, [1, 3, 5])
//! assert_eq!(gradix::take(&grad, &[1, 3, 5])?, [0.8, 1.0, 0.9]);
//!
//! // np.where(grad > 0.7)[0], grad[grad > 0.7]
//! let indices: Vec<u32> = select::indices(&grad, Gt(0.7))?;
//! assert_eq!(indices, [0, 1, 3, 5]);
//! assert_eq!(select::values(&grad, Gt(0.7))?, [1.2, 0.8, 1.0, 0.9]);
//!
//! // np.take([[1.2, 0.8], [0.5, 1.0], [0.3, 0.9]], [0, 2], axis=0)
//! assert_eq!(gradix::take_axis(View::new(&grad, &[3, 2])?, 0, &[0, 2])?, [1.2, 0.8, 0.3, 0.9]);
//!
//! // def delta_cross_entropy(X, y):
//! //     m = y.shape[0]
//! //     grad = softmax(X)
//! //     grad[range(m), y] -= 1
//! //     return grad / m
//! let (x, y) = ([0.0, 2.0f64.ln(), 0.0, 0.0], [1, 0]);
//! let mut grad = [0.0; 4];
//! SoftmaxXent::new().forward_backward(View::new(&x, &[2, 2])?, &y, &mut grad)?;
//! for (got, expected) in grad.iter().zip([1.0 / 6.0, -1.0 / 6.0, -0.25, 0.25]) {
//!     assert!((got - expected).abs() < 1e-15);
//! }
//!
//! // grad[range(m), y] -= 1, alone
//! let mut grad = [0.25, 0.75, 0.5, 0.5];
//! gradix::pick_add(ViewMut::new(&mut grad, &[2, 2])?, &y, -1.0)?;
//! assert_eq!(grad, [0.25, -0.25, -0.5, 0.5]);
//! # Ok::<(), gradix::Error>(())
//! ```
//!
//! # From `np.take` to a training step
//!
//! The smallest model that needs all three families is one that learns which letter follows which: row `i` of a
//! table holds the logits for the letter after letter `i`. Its training step has five lines.
//!
//! ```
//! use gradix::{AbsGt, SoftmaxXent, View, ViewMut, select};
//!
//! let (text, letters) = ([0u8, 1, 2, 2, 3], 4); // h e l l o
//! let (before, after) = (&text[..4], &text[1..]);
//! let mut table = vec![0.0f32; letters * letters];
//! let mut residual = vec![0.0f32; letters * letters];
//! let mut losses = Vec::new();
//!
//! for _ in 0..100 {
//!     // 1. Gather the rows of the letters that were read: np.take(table, before, axis=0).
//!     let mut logits = gradix::take_axis(View::new(&table, &[letters, letters])?, 0, before)?;
//!
//!     // 2. The mean loss of what was predicted; the logits become their gradient.
//!     let logits_view = ViewMut::new(&mut logits, &[before.len(), letters])?;
//!     losses.push(SoftmaxXent::new().forward_backward_in_place(logits_view, after)?.value);
//!
//!     // 3. The gradient of a gather is a scatter. The row of "l", read twice, gets both contributions.
//!     let mut gradient = vec![0.0; letters * letters];
//!     let rows = View::new(&logits, &[before.len(), letters])?;
//!     gradix::scatter_add_axis(ViewMut::new(&mut gradient, &[letters, letters])?, 0, before, rows)?;
//!
//!     // 4. Select what is large; the rest stays in the residual until it is.
//!     let (indices, values): (Vec<u32>, Vec<f32>) =
//!         select::sparsify_with(&gradient, &mut residual, AbsGt(0.05))?;
//!
//!     // 5. table[indices] -= 2 · values
//!     gradix::scatter_add_scaled(&mut table, &indices, &values, -2.0)?;
//! }
//!
//! // From the guess among four letters to the one thing that stays open: "l" or "o" after an "l".
//! assert!((losses[0] - 4f32.ln()).abs() < 1e-6);
//! assert!(losses[99] < 2f32.ln() / 2.0 + 0.05);
//! # Ok::<(), gradix::Error>(())
//! ```
//!
//! `examples/train_digits` is the same on real handwritten digits, with a hidden layer, momentum and minibatches.
//!
//! Calls that allocate their answer pay a page fault for every 4 KiB of it. Each has a twin that ends in `_into` and
//! writes into the caller's buffer: that is the form for large answers in a loop.
//!
//! # What goes in
//!
//! Arrays are slices, vectors or arrays (rank 1), [`View`]s of up to 8 axes with any strides, or, with the
//! feature `ndarray`, the arrays and views of that crate. Outputs are the mutable twins. Elements are `f32`
//! or `f64` ([`Float`]); gathers and puts, which only move them, take any integer, `bool`, and with the
//! feature `half` `f16` and `bf16` as well ([`Element`]). Indices and labels are of any integer type but the
//! 128-bit ones and `isize` ([`Index`]), and are read where they stand. An index outside its axis is an
//! error, negative ones count from the end; [`Wrap`], [`Clip`] and [`Fill`] say otherwise, as NumPy's and
//! JAX's `mode` does.
//!
//! # What comes out of bad input
//!
//! An [`Error`] that names the culprit, and nothing else: every index, label and shape is checked before the first
//! write. No safe function panics, wraps around or truncates, whatever it is given.
//!
//! # The same bits
//!
//! [`mod@reference`] has the same functions with the same signatures, written as plain loops. They are the
//! definition, and each operation states how near it is to them:
//!
//! * *gather, scatter, select*: the same bits, at every level, for any strides and any number of threads. A scatter
//!   adds duplicates in the order of the indices.
//! * *softmax cross-entropy*: the same bits for any number of threads, and at every level that has fused
//!   multiply-add ([`Level::has_fma`]); within a stated bound at the one that may not. The order of a sum depends on
//!   the shape alone.
//!
//! A NaN compares as a NaN, whatever its payload.
//!
//! # Levels
//!
//! Kernels are written once and compiled for three [`Level`]s: `portable`, `avx2` and `avx512`. The best that the CPU
//! has is found at run time, so no `target-cpu` is needed; [`Level::run`] and the environment variable `GRADIX_LEVEL`
//! choose another.
//!
//! # Threads
//!
//! A call starts on the calling thread at once. If more than 100 us of work is left then, as far as what it has done
//! shows, it offers the rest to the current [rayon] pool, whose threads help if they come in time. The call waits only
//! for threads that have begun to help, and runs no work but its own.
//!
//! # Floor plan
//!
//! Each floor uses only those below it.
//!
//! ```text
//! lib                                      names and this page
//! ops/{indexed, select, softmax_xent}      checks at the door, division of the work, kernels
//! reference                                the definitions; for tests, benches and docs, never for ops
//! order                                    the order of sums, from the shape alone
//! index                                    index lists and the check that they are in bounds
//! parallel    simd                         threads; levels and their instructions
//! array                                    strided arrays, proven in bounds
//! error                                    what bad input gets
//! ```
//!
//! [rayon]: https://docs.rs/rayon
#![deny(missing_docs)]

mod array;
mod error;
mod index;
mod ops;
mod order;
mod parallel;
pub mod reference;
mod simd;

pub use array::{Element, MAX_RANK, View, ViewMut};
pub use error::{Error, Result};
pub use index::{Clip, Fill, Index, Indices, Wrap};
pub use ops::indexed::{
    pick, pick_add, pick_add_scaled, pick_into, put, put_along_axis, put_axis, put_value,
    put_value_along_axis, put_value_axis, scatter_add, scatter_add_along_axis, scatter_add_along_axis_scaled,
    scatter_add_axis, scatter_add_axis_scaled, scatter_add_scaled, take, take_along_axis,
    take_along_axis_into, take_axis, take_axis_into, take_into,
};
#[cfg(feature = "linear")]
pub use ops::linear_xent::{Gemm, Linear, LinearGradients, LinearXent, Product};
pub use ops::select::{
    self, AbsBetween, AbsGe, AbsGt, Between, Ge, Gt, IsNan, Le, Lt, NanPolicy, Ne, NotNan, Position,
    Predicate,
};
pub use ops::softmax_xent::{
    Loss, Partial, Reduction, Rows, SoftmaxXent, log_softmax, log_softmax_in_place, log_softmax_into,
    softmax, softmax_in_place, softmax_into,
};
pub use simd::{Float, Level};

/// The README's code, to be compiled and run with the other examples.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
