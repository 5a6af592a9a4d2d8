//! gradix
#![deny(missing_docs)]

mod error;
mod indices;
mod parallel;
mod simd;
mod view;

pub use error::{Error, Result};
pub use indices::{Clip, Index, Indices, Wrap};
pub use simd::{Float, Level};
pub use view::{MAX_RANK, View, ViewMut};
