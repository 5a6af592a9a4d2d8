//! The order of the sums of softmax cross-entropy. It follows from the shape and the options alone, and is
//! said here once: the kernels and their definition in [`reference`](mod@crate::reference) both read it.

use crate::simd::Float;

/// Bytes of a row's chunk: with the next one and what is written, half of a 32 KiB cache. Not a multiple of 4
/// KiB, or logits and gradients of neighbouring chunks get in each other's way: a tenth slower. Shorter ones
/// cost rows in cache a twelfth, longer ones a twentieth of rows from memory (results/tried/softmax_xent.md).
const CHUNK_BYTES: usize = 5120;

/// Classes of a chunk where rows sit in lanes; rows of at most so many classes are put there: what a row
/// along vectors costs beside its elements is more than the way into lanes and back.
pub(crate) const CLASSES_PER_LANE_CHUNK: usize = 128;

/// Rows along the last axis sit in lanes if their classes fill at most so many vectors: what a row along
/// vectors costs beside its elements is more than the way into lanes and back. The second number is for
/// smoothing and the z-loss, with which by_class has to find each row's maximum.
const VECTORS_IN_LANES: [usize; 2] = [3, 5];

/// Elements of a block of rows: what a task has at least, and what losses are summed over before the blocks
/// are.
const BLOCK: usize = 16_384;

/// Sums by turns into which the weights of rows are added, so that none waits for the one before.
pub(crate) const SUMS_OF_WEIGHTS: usize = 8;

/// Whether rows of logits of this shape, whose classes are on `axis`, sit in lanes: where there are few classes, or
/// these are not the last axis.
pub(crate) fn is_row_per_lane<T: Float>(shape: &[usize], axis: usize, finds_maxima: bool) -> bool {
    !is_last_axis(shape, axis) || shape[axis] <= VECTORS_IN_LANES[usize::from(finds_maxima)] * T::LANES
}

/// Whether the classes lie on the last axis; axes of length 1 after it leave it the last.
pub(crate) fn is_last_axis(shape: &[usize], axis: usize) -> bool {
    shape[axis + 1..].iter().all(|&n| n == 1)
}

/// Whether rows of `classes` classes whose targets are probabilities sit in lanes.
pub(crate) fn is_soft_row_per_lane(classes: usize) -> bool {
    classes <= CLASSES_PER_LANE_CHUNK
}

/// Classes of a chunk.
pub(crate) const fn chunk_classes<T: Float, const ROW_PER_LANE: bool>() -> usize {
    if ROW_PER_LANE { CLASSES_PER_LANE_CHUNK } else { CHUNK_BYTES / size_of::<T>() }
}

/// Rows of a block: a multiple of a vector's lanes, or, where a row has more than a chunk, as few as fill it.
pub(crate) fn rows_per_block<T: Float>(classes: usize, row_per_lane: bool) -> usize {
    let rows = match BLOCK / classes.max(1) {
        0 => 1,
        rows if rows < T::LANES => rows,
        rows => rows / T::LANES * T::LANES,
    };
    let is_one_chunk = classes <= chunk_classes::<T, false>();
    if row_per_lane || is_one_chunk { rows.next_multiple_of(T::LANES) } else { rows }
}
