//! The elements of a view in C order, in dense blocks.

use crate::array::{AxisSlices, AxisSlicesMut, View};
use crate::parallel::Split;
use crate::simd::Float;
use crate::simd::select::WORD;

/// The bytes of elements that are compared at once: what is then done by their words finds them in the
/// first-level cache.
const BLOCK: usize = 16 << 10;
/// The words of the largest block.
pub(super) const WORDS: usize = BLOCK / size_of::<f32>() / WORD;
/// The elements that a strided source copies at once: they stand on the stack.
pub(super) const PIECE: usize = 512;

/// The elements of a block.
pub(super) const fn block_len<T>() -> usize {
    BLOCK / size_of::<T>()
}

/// Some consecutive elements, in C order, of a view.
#[derive(Clone, Copy)]
pub(super) enum Source<'a, T> {
    /// They stand in memory like that.
    Dense(&'a [T]),
    /// They are `len` elements from `first` on, counted through the slices along the last axis.
    Strided { slices: &'a AxisSlices<'a, T>, first: usize, len: usize },
    /// No elements, but a length.
    Length(usize),
}

impl<'a, T: Float> Source<'a, T> {
    /// The elements of a view; the slices of a strided one stand in `slices`.
    #[inline]
    pub(super) fn new(x: &View<'a, T>, slices: &'a mut Option<AxisSlices<'a, T>>) -> Self {
        match x.as_slice() {
            Some(x) => Source::Dense(x),
            None => {
                // Axes of length 1 at the end make no slices worth the name.
                let axis = x.shape().iter().rposition(|&n| n != 1).unwrap_or(0);
                Source::Strided { slices: slices.insert(x.axis_slices(axis)), first: 0, len: x.len() }
            }
        }
    }

    /// Calls `f` with blocks, one after the other, each with the number of its first element, a multiple of
    /// 64, and its length; ends at the first error.
    #[inline(always)]
    pub(super) fn each_block<E>(
        &self,
        mut f: impl FnMut(usize, usize, &[T]) -> Result<(), E>,
    ) -> Result<(), E> {
        match *self {
            Source::Dense(x) => {
                for (i, x) in x.chunks(block_len::<T>()).enumerate() {
                    f(i * block_len::<T>(), x.len(), x)?;
                }
            }
            Source::Strided { slices, first, len } => {
                let (mut small, mut large) = (None, None);
                let piece = piece_of(len, &mut small, &mut large);
                for at in (0..len).step_by(PIECE) {
                    let piece = &mut piece[..PIECE.min(len - at)];
                    slices.copy_to(first + at, piece);
                    f(at, piece.len(), piece)?;
                }
            }
            Source::Length(len) => {
                for at in (0..len).step_by(WORDS * WORD) {
                    f(at, (len - at).min(WORDS * WORD), &[])?;
                }
            }
        }
        Ok(())
    }

    /// Words enough for each of the blocks: few, where few are enough.
    #[inline(always)]
    pub(super) fn words<'w>(
        &self,
        small: &'w mut Option<[u64; PIECE / WORD]>,
        large: &'w mut Option<[u64; WORDS]>,
    ) -> &'w mut [u64] {
        match self {
            Source::Dense(x) if x.len() > PIECE => large.insert([0; WORDS]),
            Source::Length(len) if *len > PIECE => large.insert([0; WORDS]),
            _ => small.insert([0; PIECE / WORD]),
        }
    }

    /// Element number `i`, which exists.
    pub(super) fn get(&self, i: usize) -> T {
        match *self {
            Source::Dense(x) => x[i],
            Source::Strided { slices, first, .. } if first + i < slices.slice_len() => {
                slices.slice(0).get(first + i) // no division where there is but one
            }
            Source::Strided { slices, first, .. } => {
                let (slice, at) = ((first + i) / slices.slice_len(), (first + i) % slices.slice_len());
                slices.slice(slice).get(at)
            }
            Source::Length(_) => T::NAN,
        }
    }

    /// Copies the elements from `at` on; of a [`Source::Length`] there are none.
    pub(super) fn copy_to(&self, at: usize, to: &mut [T]) {
        match *self {
            Source::Dense(x) => to.copy_from_slice(&x[at..at + to.len()]),
            Source::Strided { slices, first, .. } => slices.copy_to(first + at, to),
            Source::Length(_) => {}
        }
    }
}

/// The elements for which a smaller piece than [`PIECE`] is enough: zeroing one takes its time.
pub(super) const SHORT: usize = 2 * WORD;

/// A piece of zeros for at most `len` elements at once.
#[inline(always)]
pub(super) fn piece_of<'a, T: Float>(
    len: usize,
    small: &'a mut Option<[T; SHORT]>,
    large: &'a mut Option<[T; PIECE]>,
) -> &'a mut [T] {
    if len <= SHORT { small.insert([T::ZERO; SHORT]) } else { large.insert([T::ZERO; PIECE]) }
}

/// Writes a piece over the elements from `first` on.
pub(super) fn copy_back<T: Float>(slices: &mut AxisSlicesMut<'_, T>, first: usize, mut piece: &[T]) {
    let slice_len = slices.slice_len();
    let (mut slice, mut start) = (first / slice_len, first % slice_len);
    while !piece.is_empty() {
        let (now, later) = piece.split_at(piece.len().min(slice_len - start));
        slices.slice(slice).copy_from(start, now);
        piece = later;
        (slice, start) = (slice + 1, 0);
    }
}

impl<T: Float> Split for Source<'_, T> {
    fn len(&self) -> usize {
        match self {
            Source::Dense(x) => x.len(),
            Source::Strided { len, .. } | Source::Length(len) => *len,
        }
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        match self {
            Source::Dense(x) => {
                let (a, b) = x.split_at(mid);
                (Source::Dense(a), Source::Dense(b))
            }
            Source::Strided { slices, first, len } => (
                Source::Strided { slices, first, len: mid },
                Source::Strided { slices, first: first + mid, len: len - mid },
            ),
            Source::Length(len) => (Source::Length(mid), Source::Length(len - mid)),
        }
    }
}
