//! Where the kernel finds logits and leaves gradients: chunk by chunk, in a buffer that may be the output itself.

use super::plan::chunk_classes;
use crate::simd::{Float, Simd};
use crate::view::{Lane, LaneMut, Lanes, LanesMut};

/// The rows in flight, as chunks.
pub(super) trait Tile<T: Float> {
    /// The number of chunks.
    fn chunks(&self) -> usize;
    /// Reads a chunk's logits into its buffer.
    fn open<S: Simd<T>>(&mut self, s: S, chunk: usize) -> &mut [T];
    /// The buffer as it was left.
    fn buffer(&mut self, chunk: usize) -> &mut [T];
    /// Writes the buffer to the output.
    fn store<S: Simd<T>>(&mut self, s: S, chunk: usize);
    /// Reads what `store` has written into the buffer.
    fn reopen<S: Simd<T>>(&mut self, s: S, chunk: usize) -> &mut [T];
}

/// The range of classes of a chunk.
#[inline(always)]
fn range<T: Float, const ACROSS: bool>(chunk: usize, classes: usize) -> std::ops::Range<usize> {
    let first = chunk * chunk_classes::<T, ACROSS>();
    first..classes.min(first + chunk_classes::<T, ACROSS>())
}

/// One row, along vectors. Without `from`, the logits are where the gradient will be.
pub(super) struct Row<'a, 'b, T> {
    pub(super) from: Option<Lane<'a, T>>,
    pub(super) to: Option<LaneMut<'b, T>>,
    pub(super) classes: usize,
    /// Room for a chunk, used where the output is not dense or there is none.
    pub(super) room: &'b mut [T],
}

impl<T: Float> Tile<T> for Row<'_, '_, T> {
    #[inline(always)]
    fn chunks(&self) -> usize {
        self.classes.div_ceil(chunk_classes::<T, false>())
    }

    #[inline(always)]
    fn open<S: Simd<T>>(&mut self, s: S, chunk: usize) -> &mut [T] {
        let Some(from) = self.from else {
            return self.reopen(s, chunk);
        };
        let range = range::<T, false>(chunk, self.classes);
        let buffer = self.buffer(chunk);
        match from.as_slice() {
            Some(from) => buffer.copy_from_slice(&from[range]),
            None => from.copy_to(range.start, buffer),
        }
        buffer
    }

    #[inline(always)]
    fn buffer(&mut self, chunk: usize) -> &mut [T] {
        let range = range::<T, false>(chunk, self.classes);
        match self.to.as_mut().and_then(LaneMut::as_slice_mut) {
            Some(to) => &mut to[range],
            None => &mut self.room[..range.len()],
        }
    }

    #[inline(always)]
    fn store<S: Simd<T>>(&mut self, _: S, chunk: usize) {
        let range = range::<T, false>(chunk, self.classes);
        if let Some(to) = self.to.as_mut().filter(|to| !to.is_dense()) {
            to.copy_from(range.start, &self.room[..range.len()]);
        }
    }

    #[inline(always)]
    fn reopen<S: Simd<T>>(&mut self, _: S, chunk: usize) -> &mut [T] {
        let range = range::<T, false>(chunk, self.classes);
        if let Some(to) = self.to.as_ref().filter(|to| !to.is_dense()) {
            to.as_lane().copy_to(range.start, &mut self.room[..range.len()]);
        }
        self.buffer(chunk)
    }
}

/// Up to `T::LANES` rows, one a lane. Without `from`, the logits are where the gradients will be.
pub(super) struct Columns<'a, 'b, T> {
    pub(super) from: Option<Lanes<'a, T>>,
    pub(super) to: Option<&'b mut LanesMut<'a, T>>,
    /// The first row.
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) classes: usize,
    /// A chunk's buffer: class after class, a vector of rows each.
    pub(super) room: &'b mut [T],
}

impl<T: Float> Tile<T> for Columns<'_, '_, T> {
    #[inline(always)]
    fn chunks(&self) -> usize {
        self.classes.div_ceil(chunk_classes::<T, true>())
    }

    #[inline(always)]
    fn open<S: Simd<T>>(&mut self, s: S, chunk: usize) -> &mut [T] {
        let Some(from) = self.from else {
            return self.reopen(s, chunk);
        };
        read(from, self.first, self.count, range::<T, true>(chunk, self.classes), self.room);
        self.buffer(chunk)
    }

    #[inline(always)]
    fn buffer(&mut self, chunk: usize) -> &mut [T] {
        &mut self.room[..range::<T, true>(chunk, self.classes).len() * T::LANES]
    }

    #[inline(always)]
    fn store<S: Simd<T>>(&mut self, _: S, chunk: usize) {
        let Some(to) = &mut self.to else { return };
        let range = range::<T, true>(chunk, self.classes);
        if to.are_neighbours(self.first, self.count) {
            for (class, lanes) in range.zip(self.room.chunks_exact(T::LANES)) {
                to.across_mut(self.first, self.count, class).copy_from_slice(&lanes[..self.count]);
            }
        } else {
            for i in 0..self.count {
                let mut lane = to.lane(self.first + i);
                for (k, class) in range.clone().enumerate() {
                    lane.set(class, self.room[k * T::LANES + i]);
                }
            }
        }
    }

    #[inline(always)]
    fn reopen<S: Simd<T>>(&mut self, _: S, chunk: usize) -> &mut [T] {
        if let Some(to) = &self.to {
            read(to.as_lanes(), self.first, self.count, range::<T, true>(chunk, self.classes), self.room);
        }
        self.buffer(chunk)
    }
}

/// Reads classes of `count` rows into `room`, class after class; the lanes without a row get zeros.
#[inline(always)]
fn read<T: Float>(
    from: Lanes<'_, T>,
    first: usize,
    count: usize,
    classes: std::ops::Range<usize>,
    room: &mut [T],
) {
    if from.are_neighbours(first, count) {
        for (class, lanes) in classes.zip(room.chunks_exact_mut(T::LANES)) {
            lanes[..count].copy_from_slice(from.across(first, count, class));
            lanes[count..].fill(T::ZERO);
        }
    } else {
        for i in 0..T::LANES {
            let lane = (i < count).then(|| from.lane(first + i));
            for (k, class) in classes.clone().enumerate() {
                room[k * T::LANES + i] = lane.map_or(T::ZERO, |lane| lane.get(class));
            }
        }
    }
}
