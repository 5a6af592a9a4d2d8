//! Where the kernel finds logits and leaves gradients: chunk by chunk, by way of a buffer in scratch.

use super::plan::chunk_classes;
use crate::simd::{Float, Simd, slices};
use crate::view::{Lane, LaneMut, Lanes, LanesMut};
use std::ops::Range;

/// The rows in flight, as chunks.
pub(super) trait Tile<T: Float> {
    /// The chunks that are here.
    fn chunks(&self) -> Range<usize>;
    /// Whether a gradient is wanted.
    fn has_output(&self) -> bool;
    /// Reads a chunk's logits into its buffer; gives the largest of each lane where that is found on the way.
    fn open<S: Simd<T>>(&mut self, s: S, chunk: usize) -> Option<S::V>;
    /// The chunk's buffer as it was left.
    fn buffer(&mut self, chunk: usize) -> &mut [T];
    /// The same and what `open` filled the last vector up with: −∞.
    fn whole(&mut self, chunk: usize) -> &mut [T];
    /// What is read or written next, as far as it helps to ask for it.
    fn ahead(&self, chunk: usize) -> [*const T; 2];
    /// Takes care that the buffer can be reopened.
    fn keep<S: Simd<T>>(&mut self, s: S, chunk: usize);
    /// Brings a kept buffer back.
    fn reopen<S: Simd<T>>(&mut self, s: S, chunk: usize);
    /// Makes the chunk's gradient: `f` of the buffer.
    fn close<S: Simd<T>>(&mut self, s: S, chunk: usize, f: impl FnMut(S::V) -> S::V);
    /// Takes the chunk's gradient to the output.
    fn done<S: Simd<T>>(&mut self, s: S, chunk: usize);
    /// After all chunks: one row's target, the class `at` from the first here on (where it is here), gets the gradient `x`.
    /// Rows in lanes have theirs already.
    fn end<S: Simd<T>>(&mut self, s: S, at: usize, x: T);
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

/// One row along vectors, or some of its chunks. Without `from`, the logits are where the gradient will be.
pub(super) struct Row<'a, 'b, T> {
    pub(super) from: Option<Lane<'a, T>>,
    pub(super) to: Option<LaneMut<'b, T>>,
    /// The numbers of the chunks in the whole row.
    pub(super) chunks: Range<usize>,
    /// Their elements.
    pub(super) classes: usize,
    /// Whole vectors for the chunks; without `to`, for one of them.
    pub(super) room: &'b mut [T],
    /// Whether the gradient is written past the caches.
    pub(super) past_caches: bool,
}

impl<T: Float> Row<'_, '_, T> {
    /// The chunk's elements in `from` and `to`, and where `room` has them.
    #[inline(always)]
    fn range(&self, chunk: usize) -> (Range<usize>, usize) {
        let range = range::<T, false>(chunk - self.chunks.start, self.classes);
        let at = if self.to.is_some() { range.start } else { 0 };
        (range, at)
    }
}

/// The logits of a row.
#[inline(always)]
fn source<'l, T: Float>(from: &'l Option<Lane<'_, T>>, to: &'l Option<LaneMut<'_, T>>) -> Lane<'l, T> {
    from.or_else(|| to.as_ref().map(LaneMut::as_lane)).expect("the logits are read from somewhere")
}

impl<T: Float> Tile<T> for Row<'_, '_, T> {
    #[inline(always)]
    fn chunks(&self) -> Range<usize> {
        self.chunks.clone()
    }

    #[inline(always)]
    fn has_output(&self) -> bool {
        self.to.is_some()
    }

    #[inline(always)]
    fn open<S: Simd<T>>(&mut self, s: S, chunk: usize) -> Option<S::V> {
        let (range, at) = self.range(chunk);
        let whole = &mut self.room[at..at + range.len().next_multiple_of(T::LANES)];
        let source = source(&self.from, &self.to);
        let Some(logits) = source.as_slice() else {
            let (buffer, rest) = whole.split_at_mut(range.len());
            source.copy_to(range.start, buffer);
            rest.fill(T::NEG_INFINITY);
            return None;
        };
        Some(slices::copy_and_fold(
            s,
            &logits[range],
            whole,
            T::NEG_INFINITY,
            #[inline(always)]
            |a, b| s.max(a, b),
        ))
    }

    #[inline(always)]
    fn buffer(&mut self, chunk: usize) -> &mut [T] {
        let (range, at) = self.range(chunk);
        &mut self.room[at..at + range.len()]
    }

    #[inline(always)]
    fn whole(&mut self, chunk: usize) -> &mut [T] {
        let (range, at) = self.range(chunk);
        &mut self.room[at..at + range.len().next_multiple_of(T::LANES)]
    }

    /// The logits of one chunk later, where the next row's often are after this one's last; and the gradient's lines,
    /// unless they were read or will not be.
    #[inline(always)]
    fn ahead(&self, chunk: usize) -> [*const T; 2] {
        let own = self.room.as_ptr();
        let first = self.range(chunk).0.start;
        let place = |lane: Lane<'_, T>| lane.as_slice().map_or(own, |x| x.as_ptr().wrapping_add(first));
        let next = place(source(&self.from, &self.to)).wrapping_add(chunk_classes::<T, false>());
        let to = self.to.as_ref().filter(|_| self.from.is_some() && !self.past_caches);
        [next, to.map_or(own, |to| place(to.as_lane()))]
    }

    #[inline(always)]
    fn keep<S: Simd<T>>(&mut self, _: S, _: usize) {}

    #[inline(always)]
    fn reopen<S: Simd<T>>(&mut self, _: S, _: usize) {}

    #[inline(always)]
    fn close<S: Simd<T>>(&mut self, s: S, chunk: usize, f: impl FnMut(S::V) -> S::V) {
        let (range, at) = self.range(chunk);
        let buffer = &mut self.room[at..at + range.len()];
        match self.to.as_mut().and_then(LaneMut::as_slice_mut) {
            Some(to) => slices::map_to(s, buffer, &mut to[range], self.past_caches, f),
            None => slices::map(s, buffer, T::ZERO, f),
        }
    }

    #[inline(always)]
    fn done<S: Simd<T>>(&mut self, _: S, chunk: usize) {
        let (range, at) = self.range(chunk);
        if let Some(to) = self.to.as_mut().filter(|to| !to.is_dense()) {
            to.copy_from(range.start, &self.room[at..at + range.len()]);
        }
    }

    #[inline(always)]
    fn end<S: Simd<T>>(&mut self, s: S, at: usize, x: T) {
        if self.past_caches {
            s.fence();
        }
        if let Some(to) = self.to.as_mut().filter(|_| at < self.classes) {
            to.set(at, x);
        }
    }
}

/// Up to `T::LANES` rows, one a lane. Without `from`, the logits are where the gradients will be.
pub(super) struct Columns<'a, 'b, T> {
    pub(super) from: Option<&'b Lanes<'a, T>>,
    pub(super) to: Option<&'b mut LanesMut<'a, T>>,
    /// The first row.
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) classes: usize,
    /// A chunk's buffer: class after class, a vector of rows each.
    pub(super) room: &'b mut [T],
}

impl<T: Float> Columns<'_, '_, T> {
    /// Reads what is in the output into the buffer.
    #[inline(always)]
    fn read_output<S: Simd<T>>(&mut self, s: S, chunk: usize) {
        if let Some(to) = &self.to {
            read(s, &to.as_lanes(), self.first, self.count, range::<T, true>(chunk, self.classes), self.room);
        }
    }
}

impl<T: Float> Tile<T> for Columns<'_, '_, T> {
    #[inline(always)]
    fn chunks(&self) -> Range<usize> {
        0..self.classes.div_ceil(chunk_classes::<T, true>())
    }

    #[inline(always)]
    fn has_output(&self) -> bool {
        self.to.is_some()
    }

    #[inline(always)]
    fn open<S: Simd<T>>(&mut self, s: S, chunk: usize) -> Option<S::V> {
        match self.from {
            Some(from) => {
                read(s, from, self.first, self.count, range::<T, true>(chunk, self.classes), self.room);
            }
            None => self.read_output(s, chunk),
        }
        None
    }

    #[inline(always)]
    fn buffer(&mut self, chunk: usize) -> &mut [T] {
        &mut self.room[..range::<T, true>(chunk, self.classes).len() * T::LANES]
    }

    #[inline(always)]
    fn whole(&mut self, chunk: usize) -> &mut [T] {
        self.buffer(chunk)
    }

    #[inline(always)]
    fn ahead(&self, _: usize) -> [*const T; 2] {
        [self.room.as_ptr(); 2]
    }

    /// The room holds one chunk: where there are more, they wait in the output.
    #[inline(always)]
    fn keep<S: Simd<T>>(&mut self, s: S, chunk: usize) {
        if self.chunks().len() > 1 {
            self.done(s, chunk);
        }
    }

    #[inline(always)]
    fn reopen<S: Simd<T>>(&mut self, s: S, chunk: usize) {
        if self.chunks().len() > 1 {
            self.read_output(s, chunk);
        }
    }

    #[inline(always)]
    fn close<S: Simd<T>>(&mut self, s: S, chunk: usize, f: impl FnMut(S::V) -> S::V) {
        slices::map(s, self.buffer(chunk), T::ZERO, f);
    }

    #[inline(always)]
    fn done<S: Simd<T>>(&mut self, s: S, chunk: usize) {
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
    fn end<S: Simd<T>>(&mut self, _: S, _: usize, _: T) {}
}

/// Reads classes of `count` rows into `room`, class after class; the lanes without a row get zeros.
#[inline(always)]
fn read<T: Float, S: Simd<T>>(
    s: S,
    from: &Lanes<'_, T>,
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
    let (blocks, _) = T::blocks_mut(room);
    for (class, to) in classes.clone().step_by(T::LANES).zip(blocks.chunks_mut(T::LANES)) {
        let wanted = T::LANES.min(classes.end - class);
        for (i, block) in square.as_mut().iter_mut().enumerate() {
            // What lies beyond the row is the next one's: its columns are not used.
            let from = &rows[i * width + class..];
            s.store(s.load_up_to(&from[..from.len().min(T::LANES)], T::ZERO), block);
        }
        s.transpose(square.as_ref(), &mut to[..wanted]);
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
    let (blocks, _) = T::blocks(room);
    for (class, from) in classes.clone().step_by(T::LANES).zip(blocks.chunks(T::LANES)) {
        let wanted = T::LANES.min(classes.end - class);
        s.transpose(&from[..wanted], square.as_mut());
        for (i, block) in square.as_ref().iter().enumerate() {
            s.store_up_to(s.load(block), &mut rows[i * width + class..][..wanted]);
        }
    }
}
