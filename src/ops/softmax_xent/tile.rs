//! Where the kernel finds logits and leaves gradients: chunk by chunk, in a buffer that may be the output itself.

use super::plan::chunk_classes;
use crate::simd::{Float, Simd, slices};
use crate::view::{Lane, LaneMut, Lanes, LanesMut};
use std::ops::Range;

/// The rows in flight, as chunks.
pub(super) trait Tile<T: Float> {
    /// The number of chunks.
    fn chunks(&self) -> usize;
    /// Reads a chunk's logits into its buffer and gives the largest that each lane has seen.
    fn open<S: Simd<T>>(&mut self, s: S, chunk: usize) -> S::V;
    /// The buffer as it was left.
    fn buffer(&mut self, chunk: usize) -> &mut [T];
    /// Writes the buffer to the output.
    fn store<S: Simd<T>>(&mut self, s: S, chunk: usize);
    /// Reads what `store` has written into the buffer.
    fn reopen<S: Simd<T>>(&mut self, s: S, chunk: usize) -> &mut [T];
}

/// The range of classes of a chunk.
#[inline(always)]
fn range<T: Float, const ACROSS: bool>(chunk: usize, classes: usize) -> Range<usize> {
    let first = chunk * chunk_classes::<T, ACROSS>();
    first..classes.min(first + chunk_classes::<T, ACROSS>())
}

/// The largest element that each lane sees.
#[inline(always)]
pub(super) fn largest<T: Float, S: Simd<T>>(s: S, buffer: &[T]) -> S::V {
    slices::fold(
        s,
        buffer,
        T::NEG_INFINITY,
        #[inline(always)]
        |a, b| s.max(a, b),
    )
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
    fn open<S: Simd<T>>(&mut self, s: S, chunk: usize) -> S::V {
        let Some(from) = self.from else {
            return largest(s, self.reopen(s, chunk));
        };
        let range = range::<T, false>(chunk, self.classes);
        let buffer = self.buffer(chunk);
        match from.as_slice() {
            Some(from) => {
                let from = &from[range];
                slices::copy_and_fold(
                    s,
                    from,
                    buffer,
                    T::NEG_INFINITY,
                    #[inline(always)]
                    |a, b| s.max(a, b),
                )
            }
            None => {
                from.copy_to(range.start, buffer);
                largest(s, buffer)
            }
        }
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
    fn open<S: Simd<T>>(&mut self, s: S, chunk: usize) -> S::V {
        match self.from {
            Some(from) => {
                read(s, from, self.first, self.count, range::<T, true>(chunk, self.classes), self.room);
                largest(s, self.buffer(chunk))
            }
            None => largest(s, self.reopen(s, chunk)),
        }
    }

    #[inline(always)]
    fn buffer(&mut self, chunk: usize) -> &mut [T] {
        &mut self.room[..range::<T, true>(chunk, self.classes).len() * T::LANES]
    }

    #[inline(always)]
    fn store<S: Simd<T>>(&mut self, s: S, chunk: usize) {
        let Some(to) = &mut self.to else { return };
        let range = range::<T, true>(chunk, self.classes);
        if to.are_neighbours(self.first, self.count) {
            for (class, lanes) in range.zip(self.room.chunks_exact(T::LANES)) {
                to.across_mut(self.first, self.count, class).copy_from_slice(&lanes[..self.count]);
            }
        } else if let Some(rows) = to.run_mut(self.first, self.count).filter(|_| self.count == T::LANES) {
            write_squares(s, rows, self.classes, range, self.room);
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
    fn reopen<S: Simd<T>>(&mut self, s: S, chunk: usize) -> &mut [T] {
        if let Some(to) = &self.to {
            read(s, to.as_lanes(), self.first, self.count, range::<T, true>(chunk, self.classes), self.room);
        }
        self.buffer(chunk)
    }
}

/// Reads classes of `count` rows into `room`, class after class; the lanes without a row get zeros.
#[inline(always)]
fn read<T: Float, S: Simd<T>>(
    s: S,
    from: Lanes<'_, T>,
    first: usize,
    count: usize,
    classes: Range<usize>,
    room: &mut [T],
) {
    if from.are_neighbours(first, count) {
        for (class, lanes) in classes.zip(room.chunks_exact_mut(T::LANES)) {
            lanes[..count].copy_from_slice(from.across(first, count, class));
            lanes[count..].fill(T::ZERO);
        }
    } else if let Some(rows) = from.run(first, count).filter(|_| count == T::LANES) {
        read_squares(s, rows, from.lane_len(), classes, room);
    } else {
        for i in 0..T::LANES {
            let lane = (i < count).then(|| from.lane(first + i));
            for (k, class) in classes.clone().enumerate() {
                room[k * T::LANES + i] = lane.map_or(T::ZERO, |lane| lane.get(class));
            }
        }
    }
}

/// Reads classes of `T::LANES` dense rows of `width` elements, a square of as many classes at a time.
#[inline(always)]
fn read_squares<T: Float, S: Simd<T>>(s: S, rows: &[T], width: usize, classes: Range<usize>, room: &mut [T]) {
    let mut square = T::Square::default();
    for (class, to) in classes.clone().step_by(T::LANES).zip(room.chunks_mut(T::LANES * T::LANES)) {
        let wanted = T::LANES.min(classes.end - class);
        for (i, block) in square.as_mut().iter_mut().enumerate() {
            let from = &rows[i * width + class..];
            match from.get(..T::LANES) {
                // What lies beyond the row is the next one's: its columns are not used.
                Some(from) => block.as_mut().copy_from_slice(from),
                None => block.as_mut()[..wanted].copy_from_slice(&from[..wanted]),
            }
        }
        s.transpose(&mut square);
        for (block, lanes) in square.as_ref()[..wanted].iter().zip(to.chunks_exact_mut(T::LANES)) {
            lanes.copy_from_slice(block.as_ref());
        }
    }
}

/// Writes what `read_squares` reads.
#[inline(always)]
fn write_squares<T: Float, S: Simd<T>>(
    s: S,
    rows: &mut [T],
    width: usize,
    classes: Range<usize>,
    room: &[T],
) {
    let mut square = T::Square::default();
    let squares = classes.clone().step_by(T::LANES).zip(room.chunks(T::LANES * T::LANES));
    // The last classes first, and row after row: what a whole vector writes beyond its row is overwritten by its owner,
    // if that is still to be written, which it is where a chunk is all of the row.
    let may_overshoot = classes == (0..width);
    for k in (0..squares.len()).rev() {
        let class = classes.start + k * T::LANES;
        let wanted = T::LANES.min(classes.end - class);
        let from = &room[k * T::LANES * T::LANES..][..wanted * T::LANES];
        for (block, lanes) in square.as_mut().iter_mut().zip(from.chunks_exact(T::LANES)) {
            block.as_mut().copy_from_slice(lanes);
        }
        s.transpose(&mut square);
        for (i, block) in square.as_ref().iter().enumerate() {
            let to = &mut rows[i * width + class..];
            match to.get_mut(..T::LANES).filter(|_| wanted == T::LANES || may_overshoot) {
                Some(to) => to.copy_from_slice(block.as_ref()),
                None => to[..wanted].copy_from_slice(&block.as_ref()[..wanted]),
            }
        }
    }
}
