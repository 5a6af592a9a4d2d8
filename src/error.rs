//! What each bad input gets. Every check happens before the first write, so on an error the output is untouched.

/// Why an operation refused its input. Nothing has been written when one of these comes back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An index points outside the axis it selects from.
    #[error("index {value} at position {position} is out of bounds for an axis of length {bound}")]
    Index {
        /// Where the first culprit stands in the index array (C order).
        position: usize,
        /// Its value.
        value: i128,
        /// The length of the axis; a bare index must lie in `-bound..bound`.
        bound: usize,
    },
    /// A class label is neither a class nor the ignored label.
    #[error("label {value} of row {row} is not one of {classes} classes")]
    Label {
        /// The first culprit's row (C order over all axes but the class axis).
        row: usize,
        /// Its value.
        value: i128,
        /// The number of classes.
        classes: usize,
    },
    /// Two arguments that must agree in shape do not.
    #[error("{what} has shape {got:?} where {expected:?} is needed")]
    Shape {
        /// The argument that does not fit.
        what: &'static str,
        /// The shape that the other arguments ask for.
        expected: Vec<usize>,
        /// The shape it has.
        got: Vec<usize>,
    },
    /// An axis that the array does not have.
    #[error("axis {axis} does not exist in an array of rank {rank}")]
    Axis {
        /// The axis asked for; negative ones count from the end.
        axis: isize,
        /// The array's rank.
        rank: usize,
    },
    /// An array of a rank that the operation does not take.
    #[error("{what} has rank {got}, {expected}")]
    Rank {
        /// The argument.
        what: &'static str,
        /// What is taken, in words.
        expected: &'static str,
        /// The rank it has.
        got: usize,
    },
    /// A shape whose number of elements, or whose extent in bytes, no address space holds.
    #[error("shape {shape:?} has more elements than can be addressed")]
    Overflow {
        /// The shape.
        shape: Vec<usize>,
    },
    /// An answer that could be addressed but for which there is no memory.
    #[error("there is no memory for an answer of {bytes} bytes")]
    Memory {
        /// The answer's size.
        bytes: usize,
    },
    /// Strides that lead outside the data they were given with.
    #[error("shape {shape:?} with strides {strides:?} from offset {offset} reaches outside {len} elements")]
    Extent {
        /// The shape asked for.
        shape: Vec<usize>,
        /// The strides asked for, in elements.
        strides: Vec<isize>,
        /// Where the first element stands.
        offset: usize,
        /// The length of the data.
        len: usize,
    },
    /// Strides under which two indices may name the same element, in a view to be written through.
    #[error("shape {shape:?} with strides {strides:?} may reach one element twice and cannot be written to")]
    Alias {
        /// The shape asked for.
        shape: Vec<usize>,
        /// The strides asked for, in elements.
        strides: Vec<isize>,
    },
    /// An input with more elements than the chosen index type counts.
    #[error("an input of {len} elements cannot be indexed by {index}")]
    Count {
        /// The number of elements.
        len: usize,
        /// The index type.
        index: &'static str,
    },
    /// An output with too little room for the answer.
    #[error("the answer has {needed} elements, the output room for {room}")]
    Room {
        /// How many elements the answer has.
        needed: usize,
        /// How many the output holds.
        room: usize,
    },
    /// More elements to be selected than there are that can be.
    #[error("{k} elements are to be selected, and {found} can be")]
    TooFew {
        /// How many were asked for.
        k: usize,
        /// How many there are.
        found: usize,
    },
    /// An option with a value that means nothing.
    #[error("{option} = {value} is not {expected}")]
    Option {
        /// The option or argument.
        option: &'static str,
        /// Its value, printed.
        value: String,
        /// What would be.
        expected: &'static str,
    },
    /// Instructions that this CPU does not have, or a `GRADIX_LEVEL` that names none.
    #[error("level {name:?} is not one that this CPU has: {}", available())]
    Level {
        /// What was asked for.
        name: String,
    },
    /// Two options that exclude each other.
    #[error("{first} and {second} cannot be combined: {why}")]
    Conflict {
        /// One of the two.
        first: &'static str,
        /// The other.
        second: &'static str,
        /// Why not.
        why: &'static str,
    },
}

fn available() -> String {
    crate::Level::available().iter().map(|level| level.name()).collect::<Vec<_>>().join(", ")
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
