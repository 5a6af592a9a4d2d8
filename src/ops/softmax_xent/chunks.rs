//! Where the kernel finds logits and leaves gradients: chunk by chunk, by way of a buffer in scratch or in the
//! gradient itself.

use super::math::ChunkStats;
use super::plan::chunk_classes;
use crate::array::{AxisSlice, AxisSliceMut, AxisSlices, AxisSlicesMut};
use crate::simd::slices::{self, take};
use crate::simd::{Float, Kernel, Simd, Streaming};
use std::ops::Range;

/// A row along vectors, as chunks.
pub(super) trait Chunks<T: Float> {
    /// Whether the gradient of the row before is written in the same loop.
    const PIPELINED: bool = false;
    /// The chunks that are here.
    fn numbers(&self) -> Range<usize>;
    /// Reads a chunk's logits into its buffer.
    fn load(&mut self, chunk: usize);
    /// The chunk's buffer as it was left.
    fn buffer(&mut self, chunk: usize) -> &mut [T];
    /// The chunk where it stands, if its logits are dense.
    fn at_source(&mut self, chunk: usize) -> Option<ChunkInput<'_, T>>;
}

/// A chunk before it is opened.
pub(super) struct ChunkInput<'t, T> {
    /// Its logits, unless they are in its buffer.
    pub(super) logits: Option<&'t [T]>,
    pub(super) buffer: &'t mut [T],
    /// The logits of the next chunk, of this row or the next one.
    pub(super) next: &'t [T],
    /// Whether the logits come from beyond the second-level cache.
    pub(super) far: bool,
    /// What is to be written in the same loop.
    pub(super) before: Option<PreviousChunk<'t, T>>,
}

/// The same chunk of the row before: its gradient is `factor` times its exponentials, which are in the
/// buffer, plus `smoothing`, which is multiplied by the weights where there are any.
pub(super) struct PreviousChunk<'t, T> {
    pub(super) streaming: &'t Streaming,
    pub(super) to: &'t mut [T],
    pub(super) factor: T,
    pub(super) smoothing: T,
    pub(super) weights: Option<&'t [T]>,
}

/// The range of classes of a chunk.
#[inline(always)]
fn range<T: Float, const ROW_PER_LANE: bool>(chunk: usize, classes: usize) -> Range<usize> {
    let first = classes.min(chunk * chunk_classes::<T, ROW_PER_LANE>());
    first..classes.min(first + chunk_classes::<T, ROW_PER_LANE>())
}

/// One row along vectors, or some of its chunks. Without `from`, the logits are where the gradient will be.
pub(super) struct Row<'a, 'b, T> {
    pub(super) from: Option<AxisSlice<'a, T>>,
    pub(super) to: Option<AxisSliceMut<'b, T>>,
    /// The numbers of the chunks in the whole row.
    pub(super) numbers: Range<usize>,
    /// Their elements.
    pub(super) classes: usize,
    /// The buffers: of all chunks or, without `to`, of one; nothing where they are in `to`, which is dense
    /// and not written by streaming stores.
    pub(super) exponentials: &'b mut [T],
    /// The logits of the next row's first chunk, if there is one and they can be had.
    pub(super) after: &'b [T],
    /// Where the gradient is written by non-temporal stores.
    pub(super) streaming: Option<&'b Streaming>,
    /// Whether the logits come from beyond the second-level cache.
    pub(super) far: bool,
}

impl<T: Float> Row<'_, '_, T> {
    /// The chunk's elements in `from` and `to`.
    #[inline(always)]
    fn range(&self, chunk: usize) -> Range<usize> {
        range::<T, false>(chunk - self.numbers.start, self.classes)
    }
}

impl<T: Float> Chunks<T> for Row<'_, '_, T> {
    #[inline(always)]
    fn numbers(&self) -> Range<usize> {
        self.numbers.clone()
    }

    #[inline(always)]
    fn load(&mut self, chunk: usize) {
        let range = self.range(chunk);
        let first = range.start;
        match (self.from, &self.to) {
            (Some(from), _) => from.copy_to(first, self.buffer(chunk)),
            (None, Some(to)) if !to.is_dense() => {
                to.as_slice_view().copy_to(first, &mut self.exponentials[range])
            }
            _ => {} // they are in the buffer
        }
    }

    #[inline(always)]
    fn buffer(&mut self, chunk: usize) -> &mut [T] {
        let range = self.range(chunk);
        match &mut self.to {
            None => &mut self.exponentials[..range.len()],
            Some(to) => match to.as_slice_mut().filter(|_| self.streaming.is_none()) {
                Some(to) => &mut to[range],
                None => &mut self.exponentials[range],
            },
        }
    }

    #[inline(always)]
    fn at_source(&mut self, chunk: usize) -> Option<ChunkInput<'_, T>> {
        let range = self.range(chunk);
        let next = range.end..self.classes.min(range.end + chunk_classes::<T, false>());
        let (after, far) = (self.after, self.far);
        let Some(from) = self.from else {
            let (chunks, rest) = self.to.as_mut()?.as_slice_mut()?.split_at_mut(range.end);
            let next = if next.is_empty() { after } else { &rest[..next.len()] };
            return Some(ChunkInput { logits: None, buffer: &mut chunks[range], next, far, before: None });
        };
        let logits = from.as_slice()?;
        let next = if next.is_empty() { after } else { &logits[next] };
        let logits = Some(&logits[range]);
        Some(ChunkInput { logits, next, buffer: self.buffer(chunk), far, before: None })
    }
}

impl<T: Float> Row<'_, '_, T> {
    /// Makes the chunk's gradient: `f` of the buffer.
    #[inline(always)]
    pub(super) fn map_gradient<S: Simd<T>>(&mut self, s: S, chunk: usize, f: impl FnMut(S::V) -> S::V) {
        let range = self.range(chunk);
        match (self.to.as_mut().and_then(AxisSliceMut::as_slice_mut), self.streaming) {
            (Some(to), Some(streaming)) => {
                let exponentials = &self.exponentials[range.clone()];
                slices::map_streaming(s, exponentials, &mut to[range], streaming, f);
            }
            _ => slices::map(s, self.buffer(chunk), T::ZERO, f),
        }
    }

    /// Where the gradient is streamed, writes it as it is in the buffer.
    #[inline(always)]
    pub(super) fn stream<S: Simd<T>>(&mut self, s: S, chunk: usize) {
        if self.streaming.is_some() {
            self.map_gradient(
                s,
                chunk,
                #[inline(always)]
                |x| x,
            );
        }
    }

    /// Takes the chunk's gradient to the output.
    #[inline(always)]
    pub(super) fn store(&mut self, chunk: usize) {
        let range = self.range(chunk);
        if let Some(to) = self.to.as_mut().filter(|to| !to.is_dense()) {
            to.copy_from(range.start, &self.exponentials[range]);
        }
    }

    /// After all chunks: the target, the class `at` from the first here on (where it is here), gets the gradient `x`.
    #[inline(always)]
    pub(super) fn finish(&mut self, at: usize, x: T) {
        if let Some(streaming) = self.streaming {
            streaming.fence();
        }
        if let Some(to) = self.to.as_mut().filter(|_| at < self.classes) {
            to.set(at, x);
        }
    }
}

/// One dense row along vectors whose exponentials wait in scratch, in the place of those of a row of the
/// group before, whose gradient is written by streaming stores in the same loop.
pub(super) struct Pipelined<'b, T: Float> {
    pub(super) from: &'b [T],
    pub(super) exponentials: &'b mut [T],
    /// See [`Row::after`].
    pub(super) after: &'b [T],
    pub(super) before: Option<PreviousRow<'b, T>>,
}

/// A row on its way.
pub(super) struct PreviousRow<'b, T: Float> {
    pub(super) streaming: &'b Streaming,
    pub(super) to: &'b mut [T],
    pub(super) parts: &'b [ChunkStats<T>],
    /// Of its group, whose chunks these are.
    pub(super) lane: usize,
    pub(super) smoothing: T,
    /// Of all classes, where they and the smoothing make something of the gradient.
    pub(super) weights: Option<&'b [T]>,
}

impl<T: Float> Chunks<T> for Pipelined<'_, T> {
    const PIPELINED: bool = true;

    #[inline(always)]
    fn numbers(&self) -> Range<usize> {
        0..self.from.len().div_ceil(chunk_classes::<T, false>())
    }

    #[inline(always)]
    fn load(&mut self, chunk: usize) {
        let range = range::<T, false>(chunk, self.from.len());
        self.exponentials[range.clone()].copy_from_slice(&self.from[range]);
    }

    #[inline(always)]
    fn buffer(&mut self, chunk: usize) -> &mut [T] {
        &mut self.exponentials[range::<T, false>(chunk, self.from.len())]
    }

    #[inline(always)]
    fn at_source(&mut self, chunk: usize) -> Option<ChunkInput<'_, T>> {
        let classes = self.from.len();
        let (range, next) = (range::<T, false>(chunk, classes), range::<T, false>(chunk + 1, classes));
        let before = self.before.as_mut().map(
            #[inline(always)]
            |before| PreviousChunk {
                streaming: before.streaming,
                to: &mut before.to[range.clone()],
                factor: before.parts[chunk].factor(before.lane),
                smoothing: before.smoothing,
                weights: before.weights.map(
                    #[inline(always)]
                    |weights| &weights[range.clone()],
                ),
            },
        );
        let next = if next.is_empty() { self.after } else { &self.from[next] };
        let logits = Some(&self.from[range.clone()]);
        Some(ChunkInput { logits, next, buffer: &mut self.exponentials[range], far: true, before })
    }
}

/// Up to `T::LANES` rows, one a lane. Without `from`, the logits are where the gradients will be.
pub(super) struct Columns<'a, 'b, T> {
    pub(super) from: Option<&'b AxisSlices<'a, T>>,
    pub(super) to: Option<&'b mut AxisSlicesMut<'a, T>>,
    /// The first row.
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) classes: usize,
    /// A chunk's buffer: class after class, a vector of rows each.
    pub(super) exponentials: &'b mut [T],
}

impl<T: Float> Columns<'_, '_, T> {
    /// Reads a chunk of the logits into its buffer, or of what is in the output.
    #[inline(always)]
    fn read<S: Simd<T>>(&mut self, s: S, chunk: usize, from_output: bool) {
        let output = self.to.as_deref().map(AxisSlicesMut::as_axis_slices);
        let Some(from) = self.from.filter(|_| !from_output).or(output) else { return };
        let (first, count, exponentials) = (self.first, self.count, &mut *self.exponentials);
        s.outlined(Read { from, first, count, classes: range::<T, true>(chunk, self.classes), exponentials });
    }

    /// The chunks.
    #[inline(always)]
    pub(super) fn numbers(&self) -> Range<usize> {
        0..self.classes.div_ceil(chunk_classes::<T, true>())
    }

    /// Reads a chunk's logits into its buffer.
    #[inline(always)]
    pub(super) fn load<S: Simd<T>>(&mut self, s: S, chunk: usize) {
        self.read(s, chunk, false);
    }

    /// The chunk's buffer as it was left.
    #[inline(always)]
    pub(super) fn buffer(&mut self, chunk: usize) -> &mut [T] {
        &mut self.exponentials[..range::<T, true>(chunk, self.classes).len() * T::LANES]
    }

    /// Takes care that the buffer can be restored. Scratch holds one chunk: where there are more, they wait
    /// in the output.
    #[inline(always)]
    pub(super) fn save<S: Simd<T>>(&mut self, s: S, chunk: usize) {
        if self.numbers().len() > 1 {
            self.store(s, chunk);
        }
    }

    /// Brings a kept buffer back.
    #[inline(always)]
    pub(super) fn restore<S: Simd<T>>(&mut self, s: S, chunk: usize) {
        if self.numbers().len() > 1 {
            self.read(s, chunk, true);
        }
    }

    /// Takes the chunk to the output.
    #[inline(always)]
    pub(super) fn store<S: Simd<T>>(&mut self, s: S, chunk: usize) {
        let Some(to) = &mut self.to else { return };
        let (first, count, exponentials) = (self.first, self.count, &*self.exponentials);
        s.outlined(Store { to, first, count, classes: range::<T, true>(chunk, self.classes), exponentials });
    }
}

/// Overwrites at most a vector's elements with the first of `v`.
#[inline(always)]
fn put<T: Float, S: Simd<T>>(s: S, v: S::V, to: &mut [T]) {
    match T::first_block(to) {
        Some(block) => s.store(v, block),
        None => s.store_up_to(v, to),
    }
}

/// Reads classes of `count` rows into `exponentials`, class after class; the lanes without a row get zeros.
struct Read<'a, 'b, T> {
    from: &'b AxisSlices<'a, T>,
    first: usize,
    count: usize,
    classes: Range<usize>,
    exponentials: &'b mut [T],
}

impl<T: Float> Kernel<T> for Read<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Read { from, first, count, classes, exponentials } = self;
        if from.are_adjacent(first, count) {
            for (class, block) in classes.zip(T::blocks_mut(exponentials).0) {
                s.store(take(s, from.cross_section(first, count, class)), block);
            }
        } else if let Some(rows) = from.run(first, count) {
            let (blocks, width) = (&mut T::blocks_mut(exponentials).0[..classes.len()], from.slice_len());
            for (class, to) in classes.step_by(T::LANES).zip(blocks.chunks_mut(T::LANES)) {
                s.columns(&rows[class..], width, count, to);
            }
        } else {
            let columns = &mut T::blocks_mut(exponentials).0[..classes.len()];
            if count < T::LANES {
                columns.fill(T::Block::default());
            }
            for i in 0..count {
                let slice = from.slice(first + i);
                match slice.as_slice() {
                    Some(row) => {
                        let row = &row[classes.clone()];
                        columns.iter_mut().zip(row).for_each(|(column, &x)| column.as_mut()[i] = x);
                    }
                    None => {
                        let each = columns.iter_mut().zip(classes.clone());
                        each.for_each(|(column, class)| column.as_mut()[i] = slice.get(class));
                    }
                }
            }
        }
    }
}

/// Writes what [`Read`] reads.
struct Store<'a, 'b, T> {
    to: &'b mut AxisSlicesMut<'a, T>,
    first: usize,
    count: usize,
    classes: Range<usize>,
    exponentials: &'b [T],
}

impl<T: Float> Kernel<T> for Store<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Store { to, first, count, classes, exponentials } = self;
        if to.are_adjacent(first, count) {
            for (class, block) in classes.zip(T::blocks(exponentials).0) {
                put(s, s.load(block), to.cross_section_mut(first, count, class));
            }
            return;
        }
        let width = to.slice_len();
        if let Some(rows) = to.run_mut(first, count) {
            let blocks = &T::blocks(exponentials).0[..classes.len()];
            for (class, from) in classes.step_by(T::LANES).zip(blocks.chunks(T::LANES)) {
                s.rows(from, &mut rows[class..], width, count);
            }
        } else {
            for i in 0..count {
                let mut slice = to.slice(first + i);
                for (k, class) in classes.clone().enumerate() {
                    slice.set(class, exponentials[k * T::LANES + i]);
                }
            }
        }
    }
}
