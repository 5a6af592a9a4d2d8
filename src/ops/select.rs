//! Selection by a threshold: `np.where(grad > t)[0]`, `grad[grad > t]`, and gradients made sparse.
//!
//! The predicate is part of the call, so nothing but the answer is written: no mask, no list of indices that another
//! pass then reads. Each function has a form that allocates its answer and one, `_into`, that writes into the
//! caller's buffer; in a loop the latter saves the page faults of fresh memory.
//!
//! ```
//! use gradix::{Gt, select};
//! let grad = [1.2, 0.8, 0.5, 1.0, 0.3, 0.9];
//! let indices: Vec<u32> = select::indices(&grad, Gt(0.7))?;
//! assert_eq!(indices, [0, 1, 3, 5]);
//! assert_eq!(select::values(&grad, Gt(0.7))?, [1.2, 0.8, 1.0, 0.9]);
//! # Ok::<(), gradix::Error>(())
//! ```
//!
//! # What all of them share
//!
//! *Input.* Anything that becomes a [`View`] of `f32` or `f64`: slices, vectors, arrays, strided views. Strided ones
//! are read in place. Indices are flat: an element's number in C order.
//!
//! *Comparisons.* Those of IEEE 754: see [`Predicate`]. NaN is never selected.
//!
//! *Index type.* Any [`Position`], usually inferred. An input whose last index it cannot hold is an
//! [`Error::Count`].
//!
//! *Room.* `_into` writes as many elements as there are hits, returns how many, and leaves the rest of the buffer
//! alone. Where the buffer is too small, [`Error::Room`] says how many elements are needed and nothing is written. A
//! buffer with room for every element of the input saves a pass that counts.
//!
//! *Equality.* The same bits as [`reference::select`](crate::reference::select) at every level, stride and number of
//! threads.
//!
//! *Errors.* All come before anything is written: [`Error::Level`] if `GRADIX_LEVEL` names none, and, of the functions
//! that allocate their answer, [`Error::Memory`] if there is no room for it. Others are named with each function.
//!
//! *Cost.* Dense inputs are read from memory once, and the answer is written once; no branch depends on the data
//! except at a chunk's end, so the time depends on how much is selected, not on how predictable that is.
//!
//! # The algorithm
//!
//! Each vector's hits are moved to its front (`Simd::compress`) and stored at place k of the answer, and k grows by
//! their number; no branch asks what they are. Pairs are written in one such pass where few of the elements are hits.
//! Where many are, stores that alternate between two places are slower than a second pass over a block that is still in
//! the first cache: then each block's indices are written first and its values afterwards.
//!
//! Levels differ in what such a store writes. With AVX-512 it is the hits alone, unless indices have 64 bits. All
//! others store a whole vector, and what it wrote beyond the hits the next one overwrites; so a block's end, the last
//! part of it with at least as many hits as a vector has lanes, is counted first, and whatever is stored before that
//! end is sure to be overwritten by its hits. The end's answer has then a known size, and as soon as less than a
//! vector of it is left, the rest goes to a buffer of our own and is copied. So nothing but the hits' own places is
//! changed. What is left of the input after whole vectors is one more vector, filled up with NaN, which satisfies no
//! predicate.
//!
//! With several threads, a chunk that fits in the cache is counted and then written by whichever thread comes; the
//! place where its answer begins is known as soon as all chunks before it are counted.

mod predicate;
mod source;
mod sparsify;
mod threshold;

use crate::error::{Error, Result};
use crate::indices::Index;
use crate::parallel;
use crate::simd::{Float, Kernel, Level, Simd};
use crate::view::{self, View};
pub use predicate::{AbsGe, AbsGt, Between, Ge, Gt, Le, Lt, Predicate};
use source::Source;
pub use sparsify::{sparsify, sparsify_into, sparsify_with, sparsify_with_into};
use std::marker::PhantomData;
pub use threshold::top_k_threshold;

/// The elements that a thread takes at once: small enough to be still in a private cache when they are read again.
const CHUNK: usize = 32 << 10;
/// The elements of which the end is counted before they are written, on levels that need it.
const BLOCK: usize = 16 << 10;
/// The bytes of elements of which first one part of the answer is written and then the other, where many of them are
/// hits: they and their answer stay in the first cache.
const BLOCK_OF_PAIRS: usize = 8 << 10;
/// From one hit in so many elements on, two passes over such a block take less time than stores that alternate between
/// two places.
const MANY: usize = 3;
/// Whether there are many is told by the block before, and at first by so many elements.
const PEEK: usize = 128;
/// How many bytes ahead of the vector at hand memory is asked for: the processor's own prefetching stops at page ends.
const AHEAD: usize = 8 << 10;
/// The vectors for each look at the room that is left.
const GROUP: usize = 4;
/// The fewest elements that are worth waking a second thread for.
const PARALLEL: usize = 256 << 10;
/// The most elements for which an answer is allocated as if all of them were hits, to be cut down afterwards: pages
/// that are never written cost nothing, but no machine promises any number of them. Larger inputs are counted first.
const ROOM_FOR_ALL: usize = 1 << 28;

/// The integer types that selected indices may have: `u32`, `u64`, `usize`, `i64`.
#[allow(private_interfaces, private_bounds)]
pub trait Position: Index + Default {
    /// Whether [`Position::put`] leaves what follows the hits as it was.
    #[doc(hidden)]
    fn is_exact<T: Float, S: Simd<T>>() -> bool;
    /// Writes the position of each lane where `m` to the front of `to`, in order, and says how many they are; the
    /// rest of the first `T::LANES` places is unspecified, unless [`Position::is_exact`].
    #[doc(hidden)]
    fn put<T: Float, S: Simd<T>>(s: S, m: S::M, at: At<T, S>, to: &mut [Self]) -> usize;
}

#[allow(private_interfaces, private_bounds)]
impl Position for u32 {
    #[inline(always)]
    fn is_exact<T: Float, S: Simd<T>>() -> bool {
        S::EXACT
    }
    #[inline(always)]
    fn put<T: Float, S: Simd<T>>(s: S, m: S::M, at: At<T, S>, to: &mut [u32]) -> usize {
        s.compress_index(m, at.positions, T::first_positions(to).expect("room for a vector"))
    }
}

macro_rules! wide_position {
    ($($t:ident)*) => {$(
        #[allow(private_interfaces, private_bounds)]
        impl Position for $t {
            #[inline(always)]
            fn is_exact<T: Float, S: Simd<T>>() -> bool {
                false
            }
            #[inline(always)]
            fn put<T: Float, S: Simd<T>>(s: S, m: S::M, at: At<T, S>, to: &mut [$t]) -> usize {
                let mut lanes = T::Positions::default();
                let hits = s.compress_index(m, s.positions(0), &mut lanes);
                for (to, &lane) in to[..T::LANES].iter_mut().zip(lanes.as_ref()) {
                    // Wrapping, because what follows the hits is unspecified.
                    *to = (at.first as $t).wrapping_add(lane as $t);
                }
                hits
            }
        }
    )*};
}
wide_position!(u64 usize i64);

/// Where a vector stands among the elements: the flat index of its first lane, and what the positions of all are.
#[derive(Clone, Copy)]
struct At<T: Float, S: Simd<T>> {
    first: usize,
    /// Modulo 2³².
    positions: S::P,
}

impl<T: Float, S: Simd<T>> At<T, S> {
    #[inline(always)]
    fn new(s: S, first: usize) -> Self {
        At { first, positions: s.positions(first as u32) }
    }
    #[inline(always)]
    fn next(self, s: S) -> Self {
        At { first: self.first.wrapping_add(T::LANES), positions: s.next_positions(self.positions) }
    }
}

/// What is written about each hit. An answer has two parts, the second of which may be [`Nothing`].
trait Part<T: Float>: Send + Sync {
    type Item: Copy + Default + Send;
    const IS_SOMETHING: bool = true;
    /// Whether [`Part::put`] leaves what follows the hits as it was.
    fn is_exact<S: Simd<T>>() -> bool;
    /// Writes this part of the lanes where `m` to the front of `to`, in order, and says how many they are; the rest of
    /// the first `T::LANES` places is unspecified, unless [`Part::is_exact`].
    fn put<S: Simd<T>>(s: S, m: S::M, v: S::V, at: At<T, S>, to: &mut [Self::Item]) -> usize;
}

/// The hits' flat indices.
struct Indices<I>(PhantomData<I>);
/// The hits themselves.
struct Values;
/// Nothing: slices of `()` take no room.
struct Nothing;

impl<T: Float, I: Position> Part<T> for Indices<I> {
    type Item = I;
    #[inline(always)]
    fn is_exact<S: Simd<T>>() -> bool {
        I::is_exact::<T, S>()
    }
    #[inline(always)]
    fn put<S: Simd<T>>(s: S, m: S::M, _v: S::V, at: At<T, S>, to: &mut [I]) -> usize {
        I::put(s, m, at, to)
    }
}

impl<T: Float> Part<T> for Values {
    type Item = T;
    #[inline(always)]
    fn is_exact<S: Simd<T>>() -> bool {
        S::EXACT
    }
    #[inline(always)]
    fn put<S: Simd<T>>(s: S, m: S::M, v: S::V, _at: At<T, S>, to: &mut [T]) -> usize {
        s.compress(m, v, T::first_block(to).expect("room for a vector"))
    }
}

impl<T: Float> Part<T> for Nothing {
    type Item = ();
    const IS_SOMETHING: bool = false;
    #[inline(always)]
    fn is_exact<S: Simd<T>>() -> bool {
        true
    }
    #[inline(always)]
    fn put<S: Simd<T>>(_s: S, _m: S::M, _v: S::V, _at: At<T, S>, _to: &mut [()]) -> usize {
        0
    }
}

/// The remainder after whole blocks as one block: NaN is the element that no predicate selects.
#[inline(always)]
fn padded<T: Float>(rest: &[T]) -> T::Block {
    let mut block = T::Block::default();
    let lanes = block.as_mut();
    lanes.fill(T::NAN);
    lanes[..rest.len()].copy_from_slice(rest);
    block
}

/// How many elements of `x` satisfy `p`.
#[inline(always)]
fn hits<T: Float, S: Simd<T>>(s: S, p: impl Predicate<T>, x: &[T]) -> usize {
    let (blocks, rest) = T::blocks(x);
    let hits = |block| s.bits(p.mask(s, s.load(block))).count_ones() as usize;
    blocks.iter().map(hits).sum::<usize>() + if rest.is_empty() { 0 } else { hits(&padded::<T>(rest)) }
}

/// Elements to be selected from: whole blocks and the remainder after them.
trait Elements<T: Float> {
    fn blocks(&self) -> usize;
    fn block(&self, i: usize) -> &T::Block;
    fn rest(&self) -> &[T];
    /// The lanes of block `i` where `m` have been written to the answer; the number [`Elements::blocks`] means the
    /// remainder.
    fn taken<S: Simd<T>>(&mut self, s: S, i: usize, m: S::M, v: S::V);
}

/// Elements that stay.
#[derive(Clone, Copy)]
struct Kept<'a, T: Float> {
    blocks: &'a [T::Block],
    rest: &'a [T],
}

impl<'a, T: Float> Kept<'a, T> {
    #[inline(always)]
    fn new(x: &'a [T]) -> Self {
        let (blocks, rest) = T::blocks(x);
        Kept { blocks, rest }
    }
}

impl<T: Float> Elements<T> for Kept<'_, T> {
    #[inline(always)]
    fn blocks(&self) -> usize {
        self.blocks.len()
    }
    #[inline(always)]
    fn block(&self, i: usize) -> &T::Block {
        &self.blocks[i]
    }
    #[inline(always)]
    fn rest(&self) -> &[T] {
        self.rest
    }
    #[inline(always)]
    fn taken<S: Simd<T>>(&mut self, _s: S, _i: usize, _m: S::M, _v: S::V) {}
}

/// Writes the hits of `x`, whose first element has the flat index `first`, to the fronts of `a` and `b`, which have the
/// same length, and says how many they are. Where a part is not exact, up to `T::LANES` places after the hits may be
/// written too, as far as `a` goes.
#[inline(always)]
fn write<T: Float, S: Simd<T>, A: Part<T>, B: Part<T>>(
    s: S,
    p: impl Predicate<T>,
    mut x: impl Elements<T>,
    first: usize,
    a: &mut [A::Item],
    b: &mut [B::Item],
) -> usize {
    let (mut k, mut i) = (0, 0);
    let mut at = At::new(s, first);
    while i + GROUP <= x.blocks() && k + GROUP * T::LANES <= a.len() {
        let (a, b) = (&mut a[k..k + GROUP * T::LANES], &mut b[k..k + GROUP * T::LANES]);
        for j in 0..GROUP {
            s.prefetch_after(&x.block(i + j).as_ref()[0], AHEAD / size_of::<T>());
        }
        // By hand: the compiler does not unroll such a loop.
        let n = next::<T, S, A, B>(s, p, &mut x, &mut i, &mut at, a, b);
        let n = n + next::<T, S, A, B>(s, p, &mut x, &mut i, &mut at, &mut a[n..], &mut b[n..]);
        let n = n + next::<T, S, A, B>(s, p, &mut x, &mut i, &mut at, &mut a[n..], &mut b[n..]);
        k += n + next::<T, S, A, B>(s, p, &mut x, &mut i, &mut at, &mut a[n..], &mut b[n..]);
    }
    // Where the room left is shorter than a vector, fewer hits than that are to come: two vectors' room holds them and
    // any overshoot.
    let mut last_a = [A::Item::default(); 32];
    let mut last_b = [B::Item::default(); 32];
    let mut t = 0;
    while i < x.blocks() || (i == x.blocks() && !x.rest().is_empty()) {
        let to_answer = i < x.blocks() && k + T::LANES <= a.len();
        let (to_a, to_b) =
            if to_answer { (&mut a[k..], &mut b[k..]) } else { (&mut last_a[t..], &mut last_b[t..]) };
        let hits = next::<T, S, A, B>(s, p, &mut x, &mut i, &mut at, to_a, to_b);
        *(if to_answer { &mut k } else { &mut t }) += hits;
    }
    a[k..k + t].copy_from_slice(&last_a[..t]);
    b[k..k + t].copy_from_slice(&last_b[..t]);
    k + t
}

/// [`write`], one part of the answer after the other if they are to be kept `apart`.
#[inline(always)]
fn write_parts<T: Float, S: Simd<T>, A: Part<T>, B: Part<T>>(
    s: S,
    p: impl Predicate<T>,
    x: Kept<'_, T>,
    first: usize,
    a: &mut [A::Item],
    b: &mut [B::Item],
    apart: bool,
) -> usize {
    if B::IS_SOMETHING && apart {
        let nothing = &mut vec![(); a.len()][..];
        write::<T, S, A, Nothing>(s, p, x, first, a, nothing);
        write::<T, S, B, Nothing>(s, p, x, first, b, nothing)
    } else {
        write::<T, S, A, B>(s, p, x, first, a, b)
    }
}

/// Writes the hits of block `i`, which stands at `at`, and goes on to the next; the block after the last is what remains.
#[inline(always)]
fn next<T: Float, S: Simd<T>, A: Part<T>, B: Part<T>>(
    s: S,
    p: impl Predicate<T>,
    x: &mut impl Elements<T>,
    i: &mut usize,
    at: &mut At<T, S>,
    a: &mut [A::Item],
    b: &mut [B::Item],
) -> usize {
    let v = if *i < x.blocks() { s.load(x.block(*i)) } else { s.load(&padded::<T>(x.rest())) };
    let m = p.mask(s, v);
    B::put(s, m, v, *at, b);
    let hits = A::put(s, m, v, *at, a);
    x.taken(s, *i, m, v);
    (*i, *at) = (*i + 1, at.next(s));
    hits
}

/// Where the shortest end of `x` begins, in steps of some vectors, that has at least as many hits as a vector has lanes
/// (or the beginning), and the number of hits there.
#[inline(always)]
fn end<T: Float, S: Simd<T>>(s: S, p: impl Predicate<T>, x: &[T]) -> (usize, usize) {
    let step = 4 * T::LANES;
    let (mut start, mut n) = (x.len(), 0);
    while start > 0 && n < T::LANES {
        let stop = start;
        start = (stop - 1) / step * step;
        n += hits(s, p, &x[start..stop]);
    }
    (start, n)
}

/// Counts the hits of a piece.
struct Count<'a, T, P> {
    x: Source<'a, T>,
    predicate: P,
}

impl<T: Float, P: Predicate<T>> Kernel<T> for Count<'_, T, P> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> usize {
        let mut total = 0;
        self.x.each(
            #[inline(always)]
            |_, x| total += hits(s, self.predicate, x),
        );
        total
    }
}

/// Writes the hits of a piece to the fronts of `a` and `b`, which have the same length, and says how many they are.
struct Write<'a, T: Float, P, A: Part<T>, B: Part<T>> {
    x: Source<'a, T>,
    first: usize,
    predicate: P,
    a: &'a mut [A::Item],
    b: &'a mut [B::Item],
    /// Whether `a` is known to be as long as there are hits; else it is at least that long.
    exact: bool,
}

impl<T: Float, P: Predicate<T>, A: Part<T>, B: Part<T>> Kernel<T> for Write<'_, T, P, A, B> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> usize {
        let Write { x, mut first, predicate: p, a, b, exact } = self;
        let exact = A::is_exact::<S>() && B::is_exact::<S>() || exact;
        let (block, of_pairs) = (if exact { usize::MAX } else { BLOCK }, BLOCK_OF_PAIRS / size_of::<T>());
        let (mut k, mut apart) = (0, None);
        x.each(
            #[inline(always)]
            |_, x| {
                for x in x.chunks(block.min(x.len().max(1))) {
                    let (start, n) = if exact { (x.len(), 0) } else { end(s, p, x) };
                    // Before the end, a whole vector may be stored anywhere: the end's hits will overwrite the rest.
                    for (x, room) in [(&x[..start], usize::MAX), (&x[start..], n)] {
                        let stop = k + room.min(a.len() - k);
                        for x in x.chunks(if B::IS_SOMETHING { of_pairs } else { x.len().max(1) }) {
                            let (a, b) = (&mut a[k..stop], &mut b[k..stop]);
                            let is_dense = |hits, of| B::IS_SOMETHING && hits * MANY >= of;
                            let hits = if a.is_empty() {
                                0
                            } else {
                                let peek = &x[..x.len().min(PEEK)];
                                let apart = apart.unwrap_or_else(
                                    #[inline(always)]
                                    || is_dense(hits(s, p, peek), peek.len()),
                                );
                                write_parts::<T, S, A, B>(s, p, Kept::new(x), first, a, b, apart)
                            };
                            apart = Some(is_dense(hits, x.len()));
                            (k, first) = (k + hits, first + x.len());
                        }
                    }
                }
            },
        );
        k
    }
}

/// Whether `threads` should share a piece of this length.
fn is_parallel(len: usize) -> bool {
    len >= PARALLEL && parallel::threads() > 1
}

/// The number of hits.
fn count_hits<T: Float, P: Predicate<T>>(level: Level, x: Source<'_, T>, predicate: P) -> usize {
    let total = std::sync::atomic::AtomicUsize::new(0);
    parallel::for_each(
        x,
        if is_parallel(parallel::Split::len(&x)) { CHUNK } else { usize::MAX / 2 },
        |_, x| {
            total.fetch_add(T::dispatch(level, Count { x, predicate }), std::sync::atomic::Ordering::Relaxed);
        },
    );
    total.into_inner()
}

/// Writes the hits to the front of `a` and `b`, which have the same length and room for them.
fn write_hits<T: Float, P: Predicate<T>, A: Part<T>, B: Part<T>>(
    level: Level,
    x: Source<'_, T>,
    predicate: P,
    a: &mut [A::Item],
    b: &mut [B::Item],
) -> usize {
    if !is_parallel(parallel::Split::len(&x)) {
        return T::dispatch(level, Write::<T, P, A, B> { x, first: 0, predicate, a, b, exact: false });
    }
    parallel::count_then_write(
        x,
        (a, b),
        CHUNK,
        |_, &mut x| T::dispatch(level, Count { x, predicate }),
        |first, x, (a, b)| {
            T::dispatch(level, Write::<T, P, A, B> { x, first, predicate, a, b, exact: true });
        },
    )
}

/// The checks of all `_into` forms, then the hits.
fn into<T: Float, P: Predicate<T>, A: Part<T>, B: Part<T>>(
    level: Level,
    x: View<'_, T>,
    predicate: P,
    a: &mut [A::Item],
    b: &mut [B::Item],
) -> Result<usize> {
    let source = Source::new(x);
    let room = a.len().min(b.len());
    if room < x.len() {
        let needed = count_hits(level, source, predicate);
        if needed > room {
            return Err(Error::Room { needed, room });
        }
    }
    Ok(write_hits::<T, P, A, B>(level, source, predicate, &mut a[..room], &mut b[..room]))
}

/// Both parts of an answer.
type Answer<T, A, B> = (Vec<<A as Part<T>>::Item>, Vec<<B as Part<T>>::Item>);

/// The hits in vectors of their own.
fn collect<T: Float, P: Predicate<T>, A: Part<T>, B: Part<T>>(
    level: Level,
    x: View<'_, T>,
    predicate: P,
) -> Result<Answer<T, A, B>> {
    let source = Source::new(x);
    let room = if x.len() <= ROOM_FOR_ALL { x.len() } else { count_hits(level, source, predicate) };
    let (mut a, mut b) = (view::zeros(&[room])?, view::zeros(&[room])?);
    let hits = write_hits::<T, P, A, B>(level, source, predicate, &mut a, &mut b);
    cut(&mut a, hits);
    cut(&mut b, hits);
    Ok((a, b))
}

/// Shortens an answer and gives the rest of its memory back.
fn cut<T>(answer: &mut Vec<T>, len: usize) {
    answer.truncate(len);
    answer.shrink_to_fit();
}

/// Whether indices of an input of this length are `I`s.
fn fits<I: Position>(len: usize) -> Result<()> {
    match I::from_usize(len.saturating_sub(1)) {
        Some(_) => Ok(()),
        None => Err(Error::Count { len, index: I::NAME }),
    }
}

/// The flat indices of the elements that satisfy `predicate`, ascending: `np.where(x > t)[0]`.
///
/// NaN, equality and cost: see [what all share](self#what-all-of-them-share).
///
/// ```
/// use gradix::{Between, View, select};
/// let x = [[0.1f32, 0.9], [0.5, 0.7]];
/// let transposed = View::new(x.as_flattened(), &[2, 2])?.transposed();
/// let hits: Vec<usize> = select::indices(transposed, Between(0.2, 0.8))?;
/// assert_eq!(hits, [1, 3]);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// [`Error::Count`] where `I` is too narrow for the input's length; [`Error::Level`].
pub fn indices<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    predicate: impl Predicate<T>,
) -> Result<Vec<I>> {
    let (level, x) = (Level::current()?, x.into());
    fits::<I>(x.len())?;
    Ok(collect::<T, _, Indices<I>, Nothing>(level, x, predicate)?.0)
}

/// [`indices`] into the front of `out`; returns how many there are.
///
/// NaN, equality and cost: see [what all share](self#what-all-of-them-share).
///
/// ```
/// use gradix::{Error, Lt, select};
/// let mut out = [7u32; 3];
/// assert_eq!(select::indices_into(&[3.0, -1.0, -2.0], Lt(0.0), &mut out)?, 2);
/// assert_eq!(out, [1, 2, 7]);
/// let refused = select::indices_into(&[-1.0; 5], Lt(0.0), &mut out);
/// assert_eq!(refused, Err(Error::Room { needed: 5, room: 3 }));
/// assert_eq!(out, [1, 2, 7]);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// As [`indices`]; [`Error::Room`].
pub fn indices_into<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    predicate: impl Predicate<T>,
    out: &mut [I],
) -> Result<usize> {
    let (level, x) = (Level::current()?, x.into());
    fits::<I>(x.len())?;
    let room = out.len();
    into::<T, _, Indices<I>, Nothing>(level, x, predicate, out, &mut vec![(); room])
}

/// The elements that satisfy `predicate`, in C order: `x[x > t]`.
///
/// NaN, equality and cost: see [what all share](self#what-all-of-them-share).
///
/// ```
/// use gradix::{AbsGe, select};
/// assert_eq!(select::values(&[0.5, -2.0, f64::NAN, 1.0], AbsGe(1.0))?, [-2.0, 1.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// [`Error::Level`]; [`Error::Overflow`] where no allocation can have the answer's size.
pub fn values<'a, T: Float>(x: impl Into<View<'a, T>>, predicate: impl Predicate<T>) -> Result<Vec<T>> {
    Ok(collect::<T, _, Values, Nothing>(Level::current()?, x.into(), predicate)?.0)
}

/// [`values`] into the front of `out`; returns how many there are.
///
/// NaN, equality and cost: see [what all share](self#what-all-of-them-share).
///
/// ```
/// use gradix::{Gt, select};
/// let mut out = [0.0; 4];
/// assert_eq!(select::values_into(&[3.0, -1.0, 2.0], Gt(0.0), &mut out)?, 2);
/// assert_eq!(out, [3.0, 2.0, 0.0, 0.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// [`Error::Room`]; [`Error::Level`].
pub fn values_into<'a, T: Float>(
    x: impl Into<View<'a, T>>,
    predicate: impl Predicate<T>,
    out: &mut [T],
) -> Result<usize> {
    let room = out.len();
    into::<T, _, Values, Nothing>(Level::current()?, x.into(), predicate, out, &mut vec![(); room])
}

/// [`indices`] and [`values`] in one pass: the sparse form of `x`.
///
/// NaN, equality and cost: see [what all share](self#what-all-of-them-share).
///
/// ```
/// use gradix::{AbsGt, select};
/// let (indices, values): (Vec<u32>, _) = select::pairs(&[0.1, -0.9, 0.0, 0.8], AbsGt(0.5))?;
/// assert_eq!((indices, values), (vec![1, 3], vec![-0.9, 0.8]));
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// As [`indices`].
pub fn pairs<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    predicate: impl Predicate<T>,
) -> Result<(Vec<I>, Vec<T>)> {
    let (level, x) = (Level::current()?, x.into());
    fits::<I>(x.len())?;
    collect::<T, _, Indices<I>, Values>(level, x, predicate)
}

/// [`pairs`] into the fronts of `indices` and `values`; returns how many there are. The shorter of the two is the
/// room.
///
/// NaN, equality and cost: see [what all share](self#what-all-of-them-share).
///
/// ```
/// use gradix::{Ge, select};
/// let (mut indices, mut values) = ([0u64; 3], [0.0; 3]);
/// assert_eq!(select::pairs_into(&[3.0, -1.0, 2.0], Ge(2.0), &mut indices, &mut values)?, 2);
/// assert_eq!((indices, values), ([0, 2, 0], [3.0, 2.0, 0.0]));
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// As [`indices_into`].
pub fn pairs_into<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    predicate: impl Predicate<T>,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    let (level, x) = (Level::current()?, x.into());
    fits::<I>(x.len())?;
    into::<T, _, Indices<I>, Values>(level, x, predicate, indices, values)
}

/// How many elements satisfy `predicate`: `np.count_nonzero(x > t)`.
///
/// NaN, equality and cost: see [what all share](self#what-all-of-them-share).
///
/// ```
/// use gradix::{Le, select};
/// assert_eq!(select::count(&[3.0, -0.0, 2.0, f32::NAN], Le(0.0))?, 1);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// [`Error::Level`].
pub fn count<'a, T: Float>(x: impl Into<View<'a, T>>, predicate: impl Predicate<T>) -> Result<usize> {
    Ok(count_hits(Level::current()?, Source::new(x.into()), predicate))
}

/// Whether each element, in C order, satisfies `predicate`: `x > t`.
///
/// NaN, equality and cost: see [what all share](self#what-all-of-them-share).
///
/// ```
/// use gradix::{Gt, select};
/// assert_eq!(select::mask(&[3.0, -1.0, 2.0], Gt(0.0))?, [true, false, true]);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// [`Error::Level`]; [`Error::Overflow`] where no allocation can have the answer's size.
pub fn mask<'a, T: Float>(x: impl Into<View<'a, T>>, predicate: impl Predicate<T>) -> Result<Vec<bool>> {
    let (level, x) = (Level::current()?, x.into());
    let mut mask = view::zeros(&[x.len()])?;
    write_mask(level, x, predicate, &mut mask);
    Ok(mask)
}

/// [`mask`] into the front of `out`; returns the number of elements of `x`, which is how many it has written.
///
/// NaN, equality and cost: see [what all share](self#what-all-of-them-share).
///
/// ```
/// use gradix::{Gt, select};
/// let mut out = [true; 4];
/// assert_eq!(select::mask_into(&[3.0, -1.0, 2.0], Gt(2.5), &mut out)?, 3);
/// assert_eq!(out, [true, false, false, true]);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// [`Error::Room`]; [`Error::Level`].
pub fn mask_into<'a, T: Float>(
    x: impl Into<View<'a, T>>,
    predicate: impl Predicate<T>,
    out: &mut [bool],
) -> Result<usize> {
    let (level, x) = (Level::current()?, x.into());
    match out.get_mut(..x.len()) {
        Some(out) => write_mask(level, x, predicate, out),
        None => return Err(Error::Room { needed: x.len(), room: out.len() }),
    }
    Ok(x.len())
}

/// Writes each element's truth value to `out`, which is as long as `x`.
fn write_mask<T: Float, P: Predicate<T>>(level: Level, x: View<'_, T>, predicate: P, out: &mut [bool]) {
    struct Mask<'a, T, P> {
        x: Source<'a, T>,
        predicate: P,
        out: &'a mut [bool],
    }
    impl<T: Float, P: Predicate<T>> Kernel<T> for Mask<'_, T, P> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd<T>>(self, _s: S) {
            let Mask { x, predicate, out } = self;
            // The compiler makes vectors of this loop, those of the level that it is compiled for.
            x.each(
                #[inline(always)]
                |first, x| {
                    for (out, &x) in out[first..].iter_mut().zip(x) {
                        *out = predicate.holds(x);
                    }
                },
            );
        }
    }
    let grain = if is_parallel(x.len()) { CHUNK } else { usize::MAX / 2 };
    parallel::for_each((Source::new(x), out), grain, |_, (x, out)| {
        T::dispatch(level, Mask { x, predicate, out });
    });
}
