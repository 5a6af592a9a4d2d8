//! The elements of a view in C order, in dense pieces.

use crate::array::{Lanes, View};
use crate::parallel::Split;
use crate::simd::Float;

/// The elements that a strided source hands over at once; they stay in the first cache.
pub(super) const PIECE: usize = 2048;

/// Some consecutive elements, in C order, of a view.
#[derive(Clone, Copy)]
pub(super) enum Source<'a, T> {
    /// They stand in memory like that.
    Dense(&'a [T]),
    /// They are `len` elements from `first` on, counted through the lanes.
    Strided { lanes: Lanes<'a, T>, first: usize, len: usize },
}

impl<'a, T: Float> Source<'a, T> {
    pub(super) fn new(x: &View<'a, T>) -> Self {
        match x.as_slice() {
            Some(x) => Source::Dense(x),
            None => {
                // Axes of length 1 at the end make no lanes worth the name.
                let axis = x.shape().iter().rposition(|&n| n != 1).unwrap_or(0);
                Source::Strided { lanes: x.lanes(axis), first: 0, len: x.len() }
            }
        }
    }

    /// Calls `f` with dense pieces, one after the other, and the number of each piece's first element.
    #[inline(always)]
    pub(super) fn each(&self, mut f: impl FnMut(usize, &[T])) {
        match *self {
            Source::Dense(x) => f(0, x),
            Source::Strided { ref lanes, first, len } => {
                let mut piece = piece(len);
                let mut done = 0;
                while done < len {
                    let piece = &mut piece[..PIECE.min(len - done)];
                    fill(lanes, first + done, piece);
                    f(done, piece);
                    done += piece.len();
                }
            }
        }
    }
}

/// Room for a piece of `len` elements in all: on the heap, because callers' stacks may be small.
pub(super) fn piece<T: Float>(len: usize) -> Vec<T> {
    vec![T::ZERO; PIECE.min(len)]
}

/// Copies the elements from `first` on.
#[inline(always)]
fn fill<T: Float>(lanes: &Lanes<'_, T>, first: usize, mut piece: &mut [T]) {
    let lane_len = lanes.lane_len();
    let (mut lane, mut start) = (first / lane_len, first % lane_len);
    while !piece.is_empty() {
        let (now, later) = piece.split_at_mut(piece.len().min(lane_len - start));
        lanes.lane(lane).copy_to(start, now);
        piece = later;
        (lane, start) = (lane + 1, 0);
    }
}

impl<T: Float> Split for Source<'_, T> {
    fn len(&self) -> usize {
        match self {
            Source::Dense(x) => x.len(),
            Source::Strided { len, .. } => *len,
        }
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        match self {
            Source::Dense(x) => {
                let (a, b) = x.split_at(mid);
                (Source::Dense(a), Source::Dense(b))
            }
            Source::Strided { lanes, first, len } => (
                Source::Strided { lanes, first, len: mid },
                Source::Strided { lanes, first: first + mid, len: len - mid },
            ),
        }
    }
}
