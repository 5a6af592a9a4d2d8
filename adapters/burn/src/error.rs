//! What each bad input gets.

use burn::tensor::DType;

/// Why an operation refused its input. Nothing has been written when one of these comes back.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Shapes, options, labels or indices: what gradix itself finds.
    #[error(transparent)]
    Gradix(#[from] gradix::Error),
    /// A tensor of a type that the operation does not take.
    #[error("{what} must be of {expected}, not {got:?}")]
    Dtype {
        /// The tensor.
        what: &'static str,
        /// The types that are taken, in words.
        expected: &'static str,
        /// The type it has.
        got: DType,
    },
    /// A tensor of another backend than Flex.
    #[error("{what} must be on the backend Flex, not on {got}")]
    Backend {
        /// The tensor.
        what: &'static str,
        /// Its device, printed.
        got: String,
    },
    /// A table to be stepped in place that is the result of operations in a graph.
    #[error("{what} must be a leaf of the graph, not the result of tracked operations")]
    NotALeaf {
        /// The tensor.
        what: &'static str,
    },
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
