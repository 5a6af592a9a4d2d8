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
//! *Cost.* Dense inputs are read from memory once, and the answer is written once. No branch depends on single elements, only
//! on whether a group has few hits, so the time depends on how much is selected, not on how predictable that is.
//!
//! # The algorithm
//!
//! Four vectors are compared at a time. If they have no more hits than a vector has lanes, and the level can compress bytes
//! (AVX-512 VBMI2), one compression of 64 bytes tells the hits' places, and one store writes the hits alone. Otherwise each
//! vector's hits are moved to its front (`Simd::compress`) and stored at place k of the answer, and k grows by their
//! number. Which of the two is the only question asked about the data, and neighbours mostly answer alike.
//!
//! The second way stores whole vectors, except on CPUs where compressing to memory is fast: what it writes beyond the
//! hits the next store overwrites. So, when it is first needed, a block's end, the last part of it with at least as many
//! hits as a vector has lanes, is counted, and whatever is stored before that end is sure to be overwritten by its hits. The
//! end goes to a buffer of our own, from which the hits are copied. So nothing but the hits' own places is changed. What is
//! left of the input after whole groups is filled up with NaN, which satisfies no predicate.
//!
//! Pairs are written in one such pass where neither few nor many of the elements are hits. Where many are, stores that
//! alternate between two places are slower than a second pass over a block that is still in the first cache: then each
//! block's indices are written first and its values afterwards. Where few are, the values are looked up by the indices.
//!
//! With several threads, a chunk that fits in the cache is counted and then written by whichever thread comes; the
//! place where its answer begins is known as soon as all chunks before it are counted. Of two threads one writes alone,
//! which takes no longer; [`count`], [`mask`] and [`sparsify`] are shared by two as well.

mod predicate;
mod source;
mod sparsify;
mod threshold;

use crate::array::{self, View};
use crate::error::{Error, Result};
use crate::index::Index;
use crate::parallel;
use crate::simd::{Float, Kernel, Level, Simd};
use predicate::Comparison;
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
/// To one hit in so many elements, values are looked up by the indices just written.
const FEW: usize = 24;
/// How many there are is told by the block before, and at first by so many elements.
const PEEK: usize = 128;
/// How many bytes ahead memory is asked for, where a level writes whole vectors: the processor's own prefetching stops at
/// page ends.
const AHEAD: usize = 4 << 10;
/// From so many bytes on, an input is taken to come from memory.
const FAR: usize = 1 << 20;
/// So many threads write an answer together; fewer leave it to one, which nearly fills the memory's bandwidth, while lines
/// that it wrote wander between cores where two write (results/tried/select.md).
const WRITERS: usize = 3;
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
    fn is_exact<T: Float, S: Simd<T>>(s: S) -> bool;
    /// Writes the position of each lane where `m` to the front of `to`, in order, and says how many they are; the
    /// rest of the first `T::LANES` places is unspecified, unless [`Position::is_exact`].
    #[doc(hidden)]
    fn put<T: Float, S: Simd<T>>(s: S, m: S::M, at: At<T, S>, to: &mut [Self]) -> usize;
    /// [`Simd::compress_few_index`]
    #[doc(hidden)]
    fn put_few<T: Float, S: Simd<T>>(s: S, bits: u64, at: At<T, S>, to: &mut [Self]) -> bool;
}

#[allow(private_interfaces, private_bounds)]
impl Position for u32 {
    #[inline(always)]
    fn is_exact<T: Float, S: Simd<T>>(s: S) -> bool {
        s.is_exact()
    }
    #[inline(always)]
    fn put<T: Float, S: Simd<T>>(s: S, m: S::M, at: At<T, S>, to: &mut [u32]) -> usize {
        s.compress_index(m, at.positions, T::first_positions(to).expect("room for a vector"))
    }
    #[inline(always)]
    fn put_few<T: Float, S: Simd<T>>(s: S, bits: u64, at: At<T, S>, to: &mut [u32]) -> bool {
        s.compress_few_index(bits, at.positions, to)
    }
}

macro_rules! wide_position {
    ($($t:ident)*) => {$(
        #[allow(private_interfaces, private_bounds)]
        impl Position for $t {
            #[inline(always)]
            fn is_exact<T: Float, S: Simd<T>>(_s: S) -> bool {
                false
            }
            #[inline(always)]
            fn put<T: Float, S: Simd<T>>(s: S, m: S::M, at: At<T, S>, to: &mut [$t]) -> usize {
                let mut lanes = T::Positions::default();
                let hits = s.compress_index(m, s.positions(0), &mut lanes);
                // Wrapping, because what follows the hits is unspecified; by way of an array, because then the compiler
                // makes vectors of it.
                let mut wide = [0; 16];
                for (wide, &lane) in wide.iter_mut().zip(lanes.as_ref()) {
                    *wide = (at.first as $t).wrapping_add(lane as $t);
                }
                to[..T::LANES].copy_from_slice(&wide[..T::LANES]);
                hits
            }
            #[inline(always)]
            fn put_few<T: Float, S: Simd<T>>(s: S, bits: u64, at: At<T, S>, to: &mut [$t]) -> bool {
                let mut lanes = T::Positions::default();
                let done = s.compress_few_index(bits, s.positions(0), &mut lanes.as_mut()[..to.len()]);
                if done {
                    for (to, &lane) in to.iter_mut().zip(lanes.as_ref()) {
                        *to = at.first as $t + lane as $t;
                    }
                }
                done
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
    /// From a vector to the next.
    step: S::P,
}

impl<T: Float, S: Simd<T>> At<T, S> {
    #[inline(always)]
    fn new(s: S, first: usize) -> Self {
        // The compiler must not know the step: it would load another constant for each vector of a group, and loads wait
        // for stores whose addresses are like theirs.
        let step = s.step(std::hint::black_box(T::LANES as u32));
        At { first, positions: s.positions(first as u32), step }
    }
    #[inline(always)]
    fn next(self, s: S) -> Self {
        At {
            first: self.first.wrapping_add(T::LANES),
            positions: s.next_positions(self.positions, self.step),
            ..self
        }
    }
}

/// What is written about each hit. An answer has two parts, the second of which may be [`Nothing`].
trait Part<T: Float>: Send + Sync {
    type Item: Copy + Default + Send;
    const IS_SOMETHING: bool = true;

    /// Whether [`Part::put`] leaves what follows the hits as it was.
    fn is_exact<S: Simd<T>>(s: S) -> bool;
    /// Writes this part of the lanes where `m` to the front of `to`, in order, and says how many they are; the rest of
    /// the first `T::LANES` places is unspecified, unless [`Part::is_exact`].
    fn put<S: Simd<T>>(s: S, m: S::M, v: S::V, at: At<T, S>, to: &mut [Self::Item]) -> usize;
    /// Overwrites `to` with this part of the lanes of four vectors, the first of which stands at `at`, whose bits are set:
    /// [`Simd::compress_few`].
    fn put_few<S: Simd<T>>(s: S, bits: u64, v: [S::V; 4], at: At<T, S>, to: &mut [Self::Item]) -> bool;
    /// The flat index that an item tells, if it tells one.
    #[inline(always)]
    fn index(_item: Self::Item) -> Option<usize> {
        None
    }
    /// The item of an element, if nothing else is needed for that.
    #[inline(always)]
    fn of(_x: T) -> Option<Self::Item> {
        None
    }
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
    fn is_exact<S: Simd<T>>(s: S) -> bool {
        I::is_exact::<T, S>(s)
    }
    #[inline(always)]
    fn put<S: Simd<T>>(s: S, m: S::M, _v: S::V, at: At<T, S>, to: &mut [I]) -> usize {
        I::put(s, m, at, to)
    }
    #[inline(always)]
    fn put_few<S: Simd<T>>(s: S, bits: u64, _v: [S::V; 4], at: At<T, S>, to: &mut [I]) -> bool {
        I::put_few(s, bits, at, to)
    }
    #[inline(always)]
    fn index(item: I) -> Option<usize> {
        Some(item.raise_proven(isize::MAX as usize)) // not negative
    }
}

impl<T: Float> Part<T> for Values {
    type Item = T;
    #[inline(always)]
    fn is_exact<S: Simd<T>>(s: S) -> bool {
        s.is_exact()
    }
    #[inline(always)]
    fn put<S: Simd<T>>(s: S, m: S::M, v: S::V, _at: At<T, S>, to: &mut [T]) -> usize {
        s.compress(m, v, T::first_block(to).expect("room for a vector"))
    }
    #[inline(always)]
    fn put_few<S: Simd<T>>(s: S, bits: u64, v: [S::V; 4], _at: At<T, S>, to: &mut [T]) -> bool {
        s.compress_few(bits, v, to)
    }
    #[inline(always)]
    fn of(x: T) -> Option<T> {
        Some(x)
    }
}

impl<T: Float> Part<T> for Nothing {
    type Item = ();
    const IS_SOMETHING: bool = false;
    #[inline(always)]
    fn is_exact<S: Simd<T>>(_s: S) -> bool {
        true
    }
    #[inline(always)]
    fn put<S: Simd<T>>(_s: S, _m: S::M, _v: S::V, _at: At<T, S>, _to: &mut [()]) -> usize {
        0
    }
    #[inline(always)]
    fn put_few<S: Simd<T>>(_s: S, _bits: u64, _v: [S::V; 4], _at: At<T, S>, _to: &mut [()]) -> bool {
        true
    }
}

/// A remainder's elements, as far as a block goes: NaN is the element that no predicate selects.
#[inline(always)]
fn padded<T: Float>(rest: &[T]) -> T::Block {
    let mut block = T::Block::default();
    let lanes = block.as_mut();
    lanes.fill(T::NAN);
    lanes.iter_mut().zip(rest).for_each(|(lane, &x)| *lane = x);
    block
}

/// How many elements of `x` satisfy `p`.
#[inline(always)]
fn hits<T: Float, S: Simd<T>>(s: S, p: impl Comparison<T>, x: &[T]) -> usize {
    let (blocks, rest) = T::blocks(x);
    let mut n = 0;
    // A loop, because an iterator's `sum` may become a function of its own, compiled for no level: seven times slower.
    for block in blocks {
        n += s.bits(p.mask(s, s.load(block))).count_ones() as usize;
    }
    if !rest.is_empty() {
        n += s.bits(p.mask(s, s.load(&padded::<T>(rest)))).count_ones() as usize;
    }
    n
}

/// Vectors that are looked at together.
const GROUP: usize = 4;

/// Elements to be selected from: whole groups of blocks and the remainder after them.
trait Elements<T: Float> {
    fn groups(&self) -> usize;
    fn group(&self, i: usize) -> &[T::Block; GROUP];
    fn rest(&self) -> &[T];
    /// The lanes of group `i` where `m` have been written to the answer; the number [`Elements::groups`] means the
    /// remainder.
    fn taken<S: Simd<T>>(&mut self, s: S, i: usize, m: [S::M; GROUP], v: [S::V; GROUP]);
}

/// Elements that stay.
#[derive(Clone, Copy)]
struct Kept<'a, T: Float> {
    groups: &'a [[T::Block; GROUP]],
    rest: &'a [T],
}

impl<'a, T: Float> Kept<'a, T> {
    #[inline(always)]
    fn new(x: &'a [T]) -> Self {
        let groups = T::blocks(x).0.as_chunks().0;
        Kept { groups, rest: &x[groups.len() * GROUP * T::LANES..] }
    }
}

impl<T: Float> Elements<T> for Kept<'_, T> {
    #[inline(always)]
    fn groups(&self) -> usize {
        self.groups.len()
    }
    #[inline(always)]
    fn group(&self, i: usize) -> &[T::Block; GROUP] {
        &self.groups[i]
    }
    #[inline(always)]
    fn rest(&self) -> &[T] {
        self.rest
    }
    #[inline(always)]
    fn taken<S: Simd<T>>(&mut self, _s: S, _i: usize, _m: [S::M; GROUP], _v: [S::V; GROUP]) {}
}

/// Writes the hits of `x`, a part of `block` whose first element has the flat index `first`, to the fronts of `a` and `b`,
/// which have the same length and room for them, and says how many they are. After the hits of a group that stands before
/// the block's end, up to `T::LANES` places may be written too, as far as `a` goes.
#[inline(always)]
fn write<T: Float, S: Simd<T>, A: Part<T>, B: Part<T>>(
    s: S,
    p: impl Comparison<T>,
    mut x: impl Elements<T>,
    first: usize,
    mut a: &mut [A::Item],
    mut b: &mut [B::Item],
    block: &mut Block<'_, T>,
) -> usize {
    let group = GROUP * T::LANES;
    let mut before_end = block.end.map(|end| end.saturating_sub(block.done) / group);
    let (room, mut i) = (a.len(), 0);
    if block.is_without {
        return 0;
    }
    let mut at = At::new(s, first);
    loop {
        let sure = before_end.unwrap_or(0);
        while i < x.groups() {
            let (Some(to_a), Some(to_b)) = (a.get_mut(..group), b.get_mut(..group)) else { break };
            let n = if S::TELLS_FEW {
                let (v, m) = look(s, p, x.group(i));
                let bits = s.bits_of_4(m);
                let n = bits.count_ones() as usize;
                let few = n <= T::LANES
                    && A::put_few(s, bits, v, at, &mut to_a[..n])
                    && B::put_few(s, bits, v, at, &mut to_b[..n]);
                if !few {
                    if i >= sure {
                        break;
                    }
                    if block.is_far {
                        ask_ahead(s, x.group(i));
                    }
                    put_all::<T, S, A, B>(s, m, v, at, to_a, to_b);
                }
                x.taken(s, i, m, v);
                n
            } else {
                if i >= sure {
                    break;
                }
                if block.is_far {
                    ask_ahead(s, x.group(i));
                }
                let (n, v, m) = put_in_turn::<T, S, A, B>(s, p, x.group(i), at, to_a, to_b);
                x.taken(s, i, m, v);
                n
            };
            (a, b) = (&mut a[n..], &mut b[n..]);
            (i, at) = (i + 1, at.next(s).next(s).next(s).next(s));
        }
        if before_end.is_some() || i == x.groups() || a.len() < group {
            break;
        }
        before_end = Some(block.groups_before_end(s, p));
        if block.is_without {
            return room - a.len();
        }
    }
    // Less than a group's room is left, or of the block's end: to room of our own, and then the hits alone.
    let (mut own_a, mut own_b) = ([A::Item::default(); 192], [B::Item::default(); 192]);
    let mut own = 0;
    while i < x.groups() || (i == x.groups() && !x.rest().is_empty()) {
        let (v, m) = if i < x.groups() {
            look(s, p, x.group(i))
        } else {
            let rest = |j: usize| padded::<T>(x.rest().get(j * T::LANES..).unwrap_or_default());
            look(s, p, &[rest(0), rest(1), rest(2), rest(3)])
        };
        put_all::<T, S, A, B>(s, m, v, at, &mut own_a[own..own + group], &mut own_b[own..own + group]);
        x.taken(s, i, m, v);
        own += s.bits_of_4(m).count_ones() as usize;
        (i, at) = (i + 1, at.next(s).next(s).next(s).next(s));
    }
    a[..own].copy_from_slice(&own_a[..own]);
    b[..own].copy_from_slice(&own_b[..own]);
    room - a.len() + own
}

/// A group's vectors, and which of their lanes are hits.
#[inline(always)]
fn look<T: Float, S: Simd<T>>(
    s: S,
    p: impl Comparison<T>,
    group: &[T::Block; GROUP],
) -> ([S::V; GROUP], [S::M; GROUP]) {
    let v = [s.load(&group[0]), s.load(&group[1]), s.load(&group[2]), s.load(&group[3])];
    (v, [p.mask(s, v[0]), p.mask(s, v[1]), p.mask(s, v[2]), p.mask(s, v[3])])
}

/// Asks for a group further on.
#[inline(always)]
fn ask_ahead<T: Float, S: Simd<T>>(s: S, group: &[T::Block; GROUP]) {
    for block in group {
        s.prefetch_after(&block.as_ref()[0], AHEAD / size_of::<T>());
    }
}

/// [`look`] and [`put_all`], vector by vector, for levels that have no registers for all of them; says how many hits there
/// are.
#[inline(always)]
fn put_in_turn<T: Float, S: Simd<T>, A: Part<T>, B: Part<T>>(
    s: S,
    p: impl Comparison<T>,
    group: &[T::Block; GROUP],
    at: At<T, S>,
    a: &mut [A::Item],
    b: &mut [B::Item],
) -> (usize, [S::V; GROUP], [S::M; GROUP]) {
    let (n0, v0, m0) = put::<T, S, A, B>(s, p, &group[0], at, a, b);
    let at = at.next(s);
    let (n1, v1, m1) = put::<T, S, A, B>(s, p, &group[1], at, &mut a[n0..], &mut b[n0..]);
    let (at, k) = (at.next(s), n0 + n1);
    let (n2, v2, m2) = put::<T, S, A, B>(s, p, &group[2], at, &mut a[k..], &mut b[k..]);
    let (at, k) = (at.next(s), k + n2);
    let (n3, v3, m3) = put::<T, S, A, B>(s, p, &group[3], at, &mut a[k..], &mut b[k..]);
    (k + n3, [v0, v1, v2, v3], [m0, m1, m2, m3])
}

/// [`put_in_turn`] of one vector.
#[inline(always)]
fn put<T: Float, S: Simd<T>, A: Part<T>, B: Part<T>>(
    s: S,
    p: impl Comparison<T>,
    block: &T::Block,
    at: At<T, S>,
    a: &mut [A::Item],
    b: &mut [B::Item],
) -> (usize, S::V, S::M) {
    let v = s.load(block);
    let m = p.mask(s, v);
    B::put(s, m, v, at, b);
    (A::put(s, m, v, at, a), v, m)
}

/// Writes the hits of four vectors, the first of which stands at `at`, to the fronts of `a` and `b`, and up to a vector's
/// places after them.
#[inline(always)]
fn put_all<T: Float, S: Simd<T>, A: Part<T>, B: Part<T>>(
    s: S,
    m: [S::M; GROUP],
    v: [S::V; GROUP],
    at: At<T, S>,
    a: &mut [A::Item],
    b: &mut [B::Item],
) {
    let n = |j: usize| s.bits(m[j]).count_ones() as usize;
    let n = [n(0), n(1), n(2)];
    let k = [0, n[0], n[0] + n[1], n[0] + n[1] + n[2]];
    let at = [at, at.next(s), at.next(s).next(s), at.next(s).next(s).next(s)];
    A::put(s, m[0], v[0], at[0], &mut a[k[0]..]);
    A::put(s, m[1], v[1], at[1], &mut a[k[1]..]);
    A::put(s, m[2], v[2], at[2], &mut a[k[2]..]);
    A::put(s, m[3], v[3], at[3], &mut a[k[3]..]);
    B::put(s, m[0], v[0], at[0], &mut b[k[0]..]);
    B::put(s, m[1], v[1], at[1], &mut b[k[1]..]);
    B::put(s, m[2], v[2], at[2], &mut b[k[2]..]);
    B::put(s, m[3], v[3], at[3], &mut b[k[3]..]);
}

/// A block of which parts are written one after the other.
struct Block<'a, T> {
    x: &'a [T],
    /// How many of its elements have been written.
    done: usize,
    /// Where its end begins, once that is known: the shortest, in steps of a group, that has at least as many hits as a
    /// vector has lanes. Before it a whole vector may be stored at any place of the answer: what is beyond the hits, those
    /// of the end will overwrite.
    end: Option<usize>,
    /// Whether it is known to have no hits.
    is_without: bool,
    /// Whether it comes from memory, not from a cache.
    is_far: bool,
}

impl<T: Float> Block<'_, T> {
    /// A block without an end, because the level writes nothing but the hits, or the room ends with them.
    fn exact(is_far: bool) -> Self {
        Block { x: &[], done: 0, end: Some(usize::MAX), is_without: false, is_far }
    }

    /// The groups still to be written that stand before the end.
    #[inline(always)]
    fn groups_before_end<S: Simd<T>>(&mut self, s: S, p: impl Comparison<T>) -> usize {
        let group = GROUP * T::LANES;
        let (mut start, mut n) = (self.x.len(), 0);
        while start > 0 && n < T::LANES {
            let stop = start;
            start = (stop - 1) / group * group;
            n += hits(s, p, &self.x[start..stop]);
        }
        (self.end, self.is_without) = (Some(start), n == 0);
        start.saturating_sub(self.done) / group
    }
}

/// [`write`] of two parts, one after the other if they are to be kept `apart`.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn write_parts<T: Float, S: Simd<T>, A: Part<T>, B: Part<T>>(
    s: S,
    p: impl Comparison<T>,
    x: &[T],
    first: usize,
    a: &mut [A::Item],
    b: &mut [B::Item],
    block: &mut Block<'_, T>,
    apart: bool,
) -> usize {
    if !apart {
        return write::<T, S, A, B>(s, p, Kept::new(x), first, a, b, block);
    }
    let nothing = &mut vec![(); a.len()][..];
    let hits = write::<T, S, A, Nothing>(s, p, Kept::new(x), first, a, nothing, block);
    let mut rest = a[..hits].iter().zip(&mut b[..hits]);
    let told = hits * FEW <= x.len()
        && rest.all(
            #[inline(always)]
            |(&a, b)| A::index(a).and_then(|index| B::of(x[index - first])).map(|item| *b = item).is_some(),
        );
    if !told {
        block.is_far = false;
        write::<T, S, B, Nothing>(s, p, Kept::new(x), first, b, nothing, block);
    }
    hits
}

/// Counts the hits of a piece.
struct Count<'a, T, P> {
    x: &'a Source<'a, T>,
    predicate: P,
}

impl<T: Float, P: Comparison<T>> Kernel<T> for Count<'_, T, P> {
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
    x: &'a Source<'a, T>,
    first: usize,
    predicate: P,
    a: &'a mut [A::Item],
    b: &'a mut [B::Item],
    /// Whether `a` is known to be as long as there are hits; else it is at least that long.
    exact: bool,
    /// Whether `x` comes from memory, not from a cache.
    is_far: bool,
}

impl<T: Float, P: Comparison<T>, A: Part<T>, B: Part<T>> Kernel<T> for Write<'_, T, P, A, B> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> usize {
        let Write { x, mut first, predicate: p, a, b, exact, is_far } = self;
        let exact = exact || A::is_exact(s) && B::is_exact(s);
        let of_pairs = BLOCK_OF_PAIRS / size_of::<T>();
        let (mut k, mut hits_before) = (0, None);
        x.each(
            #[inline(always)]
            |_, x| {
                for x in x.chunks(BLOCK) {
                    let mut block = if exact {
                        Block::exact(is_far)
                    } else {
                        Block { x, done: 0, end: None, is_without: false, is_far }
                    };
                    for x in x.chunks(if B::IS_SOMETHING { of_pairs } else { BLOCK }) {
                        let (a, b) = (&mut a[k..], &mut b[k..]);
                        let hits = if B::IS_SOMETHING {
                            let (hits, of) = hits_before.unwrap_or_else(
                                #[inline(always)]
                                || (hits(s, p, &x[..x.len().min(PEEK)]), x.len().min(PEEK)),
                            );
                            let (many, few) = (hits * MANY >= of, hits * FEW <= of);
                            block.is_far = is_far && few;
                            write_parts::<T, S, A, B>(s, p, x, first, a, b, &mut block, many || few)
                        } else {
                            // Where nearly all are hits, the stores are what takes time.
                            block.is_far = is_far && hits_before.is_none_or(|(hits, of)| 4 * hits <= 3 * of);
                            write::<T, S, A, B>(s, p, Kept::new(x), first, a, b, &mut block)
                        };
                        hits_before = Some((hits, x.len()));
                        (k, first) = (k + hits, first + x.len());
                        block.done += x.len();
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
fn count_hits<T: Float, P: Comparison<T>>(level: Level, x: &Source<'_, T>, predicate: P) -> usize {
    let total = std::sync::atomic::AtomicUsize::new(0);
    parallel::for_each(
        *x,
        if is_parallel(parallel::Split::len(x)) { CHUNK } else { usize::MAX / 2 },
        |_, x| {
            let hits = T::dispatch(level, Count { x: &x, predicate });
            total.fetch_add(hits, std::sync::atomic::Ordering::Relaxed);
        },
    );
    total.into_inner()
}

/// Writes the hits to the front of `a` and `b`, which have the same length and room for them.
fn write_hits<T: Float, P: Comparison<T>, A: Part<T>, B: Part<T>>(
    level: Level,
    x: &Source<'_, T>,
    predicate: P,
    a: &mut [A::Item],
    b: &mut [B::Item],
) -> usize {
    let len = parallel::Split::len(x);
    if is_parallel(len) && parallel::threads() >= WRITERS {
        return write_hits_in_turn::<T, P, A, B>(level, x, predicate, a, b);
    }
    let is_far = len * size_of::<T>() >= FAR;
    T::dispatch(level, Write::<T, P, A, B> { x, first: 0, predicate, a, b, exact: false, is_far })
}

/// [`write_hits`], shared by threads.
fn write_hits_in_turn<T: Float, P: Comparison<T>, A: Part<T>, B: Part<T>>(
    level: Level,
    x: &Source<'_, T>,
    predicate: P,
    a: &mut [A::Item],
    b: &mut [B::Item],
) -> usize {
    parallel::count_then_write(
        *x,
        (a, b),
        CHUNK,
        |_, x| T::dispatch(level, Count { x, predicate }),
        |first, x, (a, b)| {
            let (exact, is_far) = (true, false);
            T::dispatch(level, Write::<T, P, A, B> { x: &x, first, predicate, a, b, exact, is_far });
        },
    )
}

/// The checks of all `_into` forms, then the hits.
fn into<T: Float, P: Comparison<T>, A: Part<T>, B: Part<T>>(
    level: Level,
    x: &View<'_, T>,
    predicate: P,
    a: &mut [A::Item],
    b: &mut [B::Item],
) -> Result<usize> {
    let source = Source::new(x);
    let room = a.len().min(b.len());
    if room < x.len() {
        let needed = count_hits(level, &source, predicate);
        if needed > room {
            return Err(Error::Room { needed, room });
        }
    }
    Ok(write_hits::<T, P, A, B>(level, &source, predicate, &mut a[..room], &mut b[..room]))
}

/// Both parts of an answer.
type Answer<T, A, B> = (Vec<<A as Part<T>>::Item>, Vec<<B as Part<T>>::Item>);

/// The hits in vectors of their own.
fn collect<T: Float, P: Comparison<T>, A: Part<T>, B: Part<T>>(
    level: Level,
    x: &View<'_, T>,
    predicate: P,
) -> Result<Answer<T, A, B>> {
    let source = Source::new(x);
    let room = if x.len() <= ROOM_FOR_ALL { x.len() } else { count_hits(level, &source, predicate) };
    let (mut a, mut b) = (array::zeros(&[room])?, array::zeros(&[room])?);
    let hits = write_hits::<T, P, A, B>(level, &source, predicate, &mut a, &mut b);
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
    Ok(collect::<T, _, Indices<I>, Nothing>(level, &x, predicate.kernel())?.0)
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
    into::<T, _, Indices<I>, Nothing>(level, &x, predicate.kernel(), out, &mut vec![(); room])
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
    Ok(collect::<T, _, Values, Nothing>(Level::current()?, &x.into(), predicate.kernel())?.0)
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
    into::<T, _, Values, Nothing>(Level::current()?, &x.into(), predicate.kernel(), out, &mut vec![(); room])
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
    collect::<T, _, Indices<I>, Values>(level, &x, predicate.kernel())
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
    into::<T, _, Indices<I>, Values>(level, &x, predicate.kernel(), indices, values)
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
    Ok(count_hits(Level::current()?, &Source::new(&x.into()), predicate.kernel()))
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
    let mut mask = array::zeros(&[x.len()])?;
    write_mask(level, x, predicate.kernel(), &mut mask);
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
        Some(out) => write_mask(level, x, predicate.kernel(), out),
        None => return Err(Error::Room { needed: x.len(), room: out.len() }),
    }
    Ok(x.len())
}

/// Writes each element's truth value to `out`, which is as long as `x`.
fn write_mask<T: Float, P: Comparison<T>>(level: Level, x: View<'_, T>, predicate: P, out: &mut [bool]) {
    struct Mask<'a, T, P> {
        x: Source<'a, T>,
        predicate: P,
        out: &'a mut [bool],
    }
    impl<T: Float, P: Comparison<T>> Kernel<T> for Mask<'_, T, P> {
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
    parallel::for_each((Source::new(&x), out), grain, |_, (x, out)| {
        T::dispatch(level, Mask { x, predicate, out });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Public functions share an answer only where there are [`WRITERS`] CPUs.
    #[test]
    fn threads_that_write_in_turn_write_what_one_does() {
        for (len, every) in [
            (0, 1),
            (1, 1),
            (CHUNK - 1, 7),
            (CHUNK, 1),
            (CHUNK + 1, 2),
            (9 * CHUNK + 5, 3),
            (9 * CHUNK, 1 << 20),
        ] {
            let x: Vec<f32> = (0..len).map(|i| if i % every == 0 { i as f32 } else { -1.0 }).collect();
            let strided = View::strided(&x, &[len / 3, 2], &[3, 1], 0).expect("a view");
            for view in [View::from(&x), strided] {
                for &level in Level::available() {
                    let source = Source::new(&view);
                    let write = |shared: bool| {
                        let (mut indices, mut values) = (vec![0u32; view.len()], vec![0.0; view.len()]);
                        let (p, i, v) =
                            (Predicate::<f32>::kernel(Ge(0.0)), &mut indices[..], &mut values[..]);
                        let n = if shared {
                            write_hits_in_turn::<f32, _, Indices<u32>, Values>(level, &source, p, i, v)
                        } else {
                            write_hits::<f32, _, Indices<u32>, Values>(level, &source, p, i, v)
                        };
                        (n, indices, values)
                    };
                    let alone = write(false);
                    for threads in [1, 2, 3, 5] {
                        let pool =
                            rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
                        assert!(pool.install(|| write(true)) == alone, "{len} {every} {level} {threads}");
                    }
                }
            }
        }
    }
}
