//! gradix
#![deny(missing_docs)]

mod error;
mod indices;
mod ops;
mod parallel;
pub mod reference;
mod simd;
mod view;

pub use error::{Error, Result};
pub use indices::{Clip, Index, Indices, Wrap};
pub use ops::select::{self, AbsGe, AbsGt, Between, Ge, Gt, Le, Lt, Position, Predicate};
pub use simd::{Float, Level};
pub use view::{MAX_RANK, View, ViewMut};
