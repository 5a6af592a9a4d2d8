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
pub use ops::gather::{
    pick, pick_into, take, take_along_axis, take_along_axis_into, take_axis, take_axis_into, take_into,
};
pub use ops::scatter::{
    pick_add, pick_add_scaled, scatter_add, scatter_add_along_axis, scatter_add_along_axis_scaled,
    scatter_add_axis, scatter_add_axis_scaled, scatter_add_scaled,
};
pub use ops::select::{self, AbsGe, AbsGt, Between, Ge, Gt, Le, Lt, Position, Predicate};
pub use ops::softmax_xent::{Loss, Partial, Reduction, Rows, SoftmaxXent};
pub use simd::{Float, Level};
pub use view::{MAX_RANK, View, ViewMut};
