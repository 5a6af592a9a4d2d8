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
//! *Errors.* All come before anything is written: [`Error::Level`] if `GRADIX_LEVEL` names none, and, of the
//! functions that allocate their answer, [`Error::Memory`] if there is no room for it. Others are named with
//! each function.
//!
//! *Cost.* Dense inputs are read from memory once, and the answer is written once. No branch depends on
//! single elements, only on whether a group has few hits, so the time depends on how much is selected, not on
//! how predictable that is.
//!
//! # The algorithm
//!
//! A block of elements, 16 KiB, is compared first: 64 elements give a word of 64 truth values, bit i that of
//! element i, and the words' set bits are counted. That tells how many places of the answer the block needs.
//! Then the words are turned into what was asked for: positions, values, or both, one after the other, while
//! the block is in the first-level cache.
//!
//! 1. *Positions* follow from the words alone. With AVX-512 VBMI2 one instruction compresses the numbers 0 to
//!    63, as bytes, to those of the set bits; one store holds the first 16, which is all where hits are few,
//!    and three more the others. AVX2 and the portable level look up the order of 8 bits at a time in a
//!    table.
//! 2. *Values* are moved by the same orders.
//! 3. *Stores are whole vectors*, wherever all that they write beyond the hits will be overwritten by later
//!    hits of the same block, whose number is known; the last 63 hits, at most, go through a buffer of our
//!    own. So nothing but the hits' own places is written, and no branch depends on single elements, only on
//!    whether a word has few hits.
//!    Of up to 32 elements, and of a last word with as few hits, the set bits are taken one by one.
//! 4. What depends on the predicate ends at the words, what depends on the element type ends at 4 or 8 bytes,
//!    what depends on the index type ends at 4 or 8 bytes too: three handfuls of kernels for each level are
//!    all that is compiled.
//! 5. *Masks* need no words: each predicate is a loop that the compiler turns into vectors at each level.
//!
//! With three threads and more, a chunk that fits in the cache is counted and then written by whichever
//! thread comes; the place where its answer begins is known as soon as all chunks before it are counted. Of
//! two threads one writes alone, which takes no longer; [`count`], [`mask`] and [`sparsify`] are shared by
//! two as well.

mod answer;
mod compress;
mod kernels;
mod predicate;
mod source;
mod sparsify;
mod top_k;

use crate::array::{self, View};
use crate::error::{Error, Result};
use crate::parallel::{self, Split};
use crate::simd::select::{WORD, first_bits};
use crate::simd::{Float, Level, compiled};
use answer::{Outcome, Places, Positions, Sink, Slices, Vectors};
use source::{PIECE, Source, WORDS, block_len, piece_of};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

pub use answer::Position;
use compress::Truth;
pub use compress::{Mask, compress, compress_indices, compress_indices_into, compress_into};
use predicate::Test;
pub use predicate::{
    AbsBetween, AbsGe, AbsGt, Between, Ge, Gt, IsNan, Le, Lt, NanPolicy, Ne, NotNan, Predicate, WithNan,
};
pub use sparsify::{sparsify, sparsify_into, sparsify_with, sparsify_with_into};
pub use top_k::{
    By, TopK, sparsify_top_k, sparsify_top_k_into, sparsify_top_k_with, sparsify_top_k_with_into, top_k,
    top_k_by, top_k_by_into, top_k_into, top_k_threshold,
};

/// The elements that a thread takes at once: small enough to be still in a private cache when they are read again.
const CHUNK: usize = 32 << 10;
/// So many threads write an answer together; fewer leave it to one, which nearly fills the memory's
/// bandwidth, while lines that it wrote wander between cores where two write (results/tried/select.md).
const WRITERS: usize = 3;
/// The fewest elements that are worth waking a second thread for.
const PARALLEL: usize = 256 << 10;
/// The most elements for which an answer is allocated as if all of them were hits, to be cut down afterwards: pages
/// that are never written cost nothing, but no machine promises any number of them. Larger inputs are counted first.
const ROOM_FOR_ALL: usize = 1 << 28;

/// Whether threads should share a piece of this length.
fn is_parallel(len: usize) -> bool {
    len >= PARALLEL && parallel::threads() > 1
}

/// The grain for a piece of this length.
fn grain(len: usize) -> usize {
    if is_parallel(len) { CHUNK } else { usize::MAX / 2 }
}

/// Which elements are meant.
#[derive(Clone, Copy)]
enum Hits<'a, T> {
    /// Those that satisfy a test.
    Test(Test<T>),
    /// Those that satisfy one test before an index, and another from there on.
    Cut(Test<T>, usize, Test<T>),
    /// Those that a mask names.
    Mask(Truth<'a>),
}

impl<T: Float> Hits<'_, T> {
    /// Writes the words of the elements from `first`, a multiple of 64, on, and says how many bits are set.
    /// Only a mask needs no elements.
    fn words(&self, level: Level, first: usize, x: &[T], words: &mut [u64]) -> usize {
        match self {
            Hits::Test(test) => test_words(level, test, x, words),
            Hits::Cut(before, cut, after) => {
                let mut others = [0; WORDS];
                let others = &mut others[..words.len()];
                test_words(level, before, x, words);
                test_words(level, after, x, others);
                let cut = cut.saturating_sub(first);
                let mut hits = 0;
                for (w, (word, &other)) in words.iter_mut().zip(&*others).enumerate() {
                    let is_before = first_bits(cut.saturating_sub(w * WORD));
                    *word = *word & is_before | other & !is_before;
                    hits += word.count_ones() as usize;
                }
                hits
            }
            Hits::Mask(mask) => mask.words(level, first, words),
        }
    }

    /// The test, if one kernel compares and writes: the comparison alone says which elements are meant.
    #[inline]
    fn fused(&self) -> Option<&Test<T>> {
        match self {
            Hits::Test(test) if test.miss().is_some() => Some(test),
            _ => None,
        }
    }

    /// How many elements are meant.
    fn count(&self, level: Level, x: &Source<'_, T>) -> usize {
        match (*x, self) {
            (Source::Dense(x), Hits::Test(test)) if !is_parallel(x.len()) => kernels::count(level, test, x),
            // Pieces that threads share begin anywhere, and a mask is read by whole words.
            (_, Hits::Mask(_)) => self.count_here(level, 0, x),
            (x, _) if !is_parallel(x.len()) => self.count_here(level, 0, &x),
            _ => self.count_together(level, x),
        }
    }

    /// [`Hits::count`], by blocks that threads share.
    fn count_together(&self, level: Level, x: &Source<'_, T>) -> usize {
        let total = AtomicUsize::new(0);
        let len = x.len();
        parallel::for_each(*x, grain(len), |first, x| {
            let hits = match (x, self) {
                (Source::Dense(x), Hits::Test(test)) => kernels::count(level, test, x),
                _ => self.count_here(level, first, &x),
            };
            total.fetch_add(hits, Relaxed);
        });
        total.into_inner()
    }

    /// [`Hits::count`] of the elements from `first` on, on this thread.
    fn count_here(&self, level: Level, first: usize, x: &Source<'_, T>) -> usize {
        let (mut hits, mut small, mut large) = (0, None, None);
        let words = x.words(&mut small, &mut large);
        let _: std::result::Result<(), ()> = x.each_block(|at, len, x| {
            hits += self.words(level, first + at, x, &mut words[..len.div_ceil(WORD)]);
            Ok(())
        });
        hits
    }
}

/// The words of `x` under a test, all of it.
fn test_words<T: Float>(level: Level, test: &Test<T>, x: &[T], words: &mut [u64]) -> usize {
    let hits = kernels::compare(level, test, x, words);
    if !test.or_nan {
        return hits;
    }
    let mut nan = [0; WORDS];
    let nan = &mut nan[..words.len()];
    kernels::compare(level, &predicate::Predicate::<T>::test(IsNan), x, nan);
    words.iter_mut().zip(&*nan).for_each(|(word, nan)| *word |= nan);
    words.iter().map(|word| word.count_ones() as usize).sum()
}

/// Turns the words of a block, whose first element has the index `first`, into an answer that has just as
/// many places.
fn put<T: Float>(level: Level, words: &[u64], first: usize, x: &[T], to: &mut Places<'_, T>) {
    let kernels = if to.values.is_some() && !matches!(to.positions, Positions::None) { 2 } else { 1 };
    if to.len <= kernels * kernels::FEW {
        return kernels::store_sparse(words, first, |i| x[i], to);
    }
    match &mut to.positions {
        Positions::None => {}
        Positions::U32(to) => kernels::positions_32(level, words, first as u32, to), // the type holds all: `fits`
        Positions::U64(to) => kernels::positions_64(level, words, first as u64, to),
    }
    if let Some(to) = &mut to.values {
        kernels::compress(level, words, x, to);
    }
}

/// Writes the hits of `x`, whose first element has the index `first`, and says how many they are; on one thread,
/// one block's words after the other's.
fn write_blocks<T: Float>(
    level: Level,
    x: &Source<'_, T>,
    first: usize,
    hits: &Hits<'_, T>,
    sink: &mut dyn Sink<T>,
) -> Outcome<usize> {
    let (mut total, mut small, mut large) = (0, None, None);
    let words = x.words(&mut small, &mut large);
    if let (Source::Strided { len, .. }, Hits::Mask(mask)) = (x, hits) {
        // The mask tells which elements are wanted: few are fetched one by one, the others need no copy.
        for at in (0..*len).step_by(PIECE) {
            let piece_len = (*len - at).min(PIECE);
            let words = &mut words[..piece_len.div_ceil(WORD)];
            let n = mask.words(level, first + at, words);
            if n > piece_len / 8 {
                let (mut small, mut large) = (None, None);
                let piece = &mut piece_of(piece_len, &mut small, &mut large)[..piece_len];
                x.copy_to(at, piece);
                put(level, words, first + at, piece, &mut sink.places(n)?);
            } else if n > 0 {
                kernels::store_sparse(words, first + at, |i| x.get(at + i), &mut sink.places(n)?);
            }
            total += n;
        }
        return Ok(total);
    }
    x.each_block(|at, len, x| {
        let words = &mut words[..len.div_ceil(WORD)];
        let n = hits.words(level, first + at, x, words);
        if n > 0 {
            put(level, words, first + at, x, &mut sink.places(n)?);
        }
        total += n;
        Ok(())
    })
    .map(|()| total)
}

/// Writes the hits of `x`, whose number may be known, and says how many they are.
fn write<T: Float>(
    level: Level,
    x: &Source<'_, T>,
    hits: &Hits<'_, T>,
    known: Option<usize>,
    sink: &mut dyn Sink<T>,
) -> Outcome<usize> {
    let len = x.len();
    let needed = known.or_else(|| {
        let is_sure = sink.room() >= len && len <= ROOM_FOR_ALL && sink.reserve(len);
        (!is_sure).then(|| hits.count(level, x))
    });
    if needed.is_some_and(|needed| !sink.reserve(needed)) {
        sink.places(needed.unwrap_or(len))?; // which says why not
    }
    if is_parallel(len) && parallel::threads() >= WRITERS && (needed.is_some() || sink.reserve(len)) {
        let n = write_in_turn(level, x, hits, sink.whole(needed.unwrap_or(len))?);
        sink.cut(n);
        return Ok(n);
    }
    if let (Source::Dense(x), Some(test)) = (x, hits.fused()) {
        let n = kernels::select(level, test, x, 0, sink.whole(needed.unwrap_or(len))?);
        sink.cut(n);
        return Ok(n);
    }
    write_blocks(level, x, 0, hits, sink)
}

/// Writes the hits to places enough, shared by threads.
fn write_in_turn<T: Float>(
    level: Level,
    x: &Source<'_, T>,
    hits: &Hits<'_, T>,
    places: Places<'_, T>,
) -> usize {
    parallel::count_then_write(
        *x,
        places,
        CHUNK,
        |first, x| match (&*x, hits) {
            (Source::Dense(x), Hits::Test(test)) => kernels::count(level, test, x),
            _ => hits.count_here(level, first, x),
        },
        |first, x, places| {
            if let (Source::Dense(x), Some(test)) = (&x, hits.fused()) {
                kernels::select(level, test, x, first, places);
                return;
            }
            let written = write_blocks(level, &x, first, hits, &mut Slices::from(places));
            debug_assert!(written.is_ok(), "as many places as were counted");
        },
    )
}

/// At most [`WORD`] elements of a view that lies before us: they have one word, whose bits are taken one by one.
/// Strided ones are copied.
#[inline(always)]
fn few<'a, T: Float>(x: &View<'a, T>, copy: &'a mut Option<[T; WORD]>) -> Option<&'a [T]> {
    if let Some(x) = x.as_plain_slice() {
        return if x.len() <= WORD { Some(x) } else { None };
    }
    if x.rank() > 2 || x.len() > WORD {
        return None;
    }
    let copy = copy.insert([T::ZERO; WORD]);
    let len = x.copy_few(copy)?;
    Some(&copy[..len])
}

/// The word of at most [`WORD`] elements, and how many bits are set.
#[inline(always)]
fn word<T: Float>(level: Level, test: &Test<T>, x: &[T]) -> (u64, usize) {
    T::compiled::<OneWord>(Few { level, x, test })
}

/// Writes a word's hits, of whose elements `x` gives any, if there is room for them; says how many they are.
#[inline(always)]
fn put_word<T: Float>(
    (word, needed): (u64, usize),
    x: impl FnMut(usize) -> T,
    to: &mut Places<'_, T>,
) -> Result<usize> {
    let room = to.len;
    if needed > room {
        return Err(Error::Room { needed, room });
    }
    kernels::store_sparse(&[word], 0, x, to);
    Ok(needed)
}

compiled! {
    /// A selection from a view.
    Selection: Request::run -> Outcome<usize>
}

struct Request<'a, T> {
    level: Level,
    x: &'a View<'a, T>,
    hits: &'a Hits<'a, T>,
    /// `None`: the hits are only counted.
    sink: Option<&'a mut (dyn Sink<T> + 'a)>,
}

impl<T: Float> Request<'_, T> {
    #[inline(always)]
    fn run(self) -> Outcome<usize> {
        let Request { level, x, hits, mut sink } = self;
        let mut slices = None;
        let x = match x.as_slice() {
            Some(x) if x.len() <= block_len::<T>() => {
                return match (sink, hits) {
                    // The words tell how many places are needed.
                    (Some(sink), hits) => write_blocks(level, &Source::Dense(x), 0, hits, sink),
                    (None, Hits::Test(test)) => Ok(kernels::count(level, test, x)),
                    (None, hits) => Ok(hits.count(level, &Source::Dense(x))),
                };
            }
            Some(x) => Source::Dense(x),
            None => Source::new(x, &mut slices),
        };
        if let (Source::Strided { len: 0..=PIECE, .. }, Some(sink)) = (&x, sink.as_deref_mut()) {
            return write_blocks(level, &x, 0, hits, sink); // one block, too
        }
        match sink {
            Some(sink) => write(level, &x, hits, None, sink),
            None => Ok(hits.count(level, &x)),
        }
    }
}

compiled! {
    /// The word of at most [`WORD`] elements, and how many bits are set.
    OneWord: Few::word -> (u64, usize)
}

compiled! {
    /// How many elements of a block satisfy a test.
    Counted: Few::count -> usize
}

struct Few<'a, T> {
    level: Level,
    x: &'a [T],
    test: &'a Test<T>,
}

impl<T: Float> Few<'_, T> {
    #[inline(always)]
    fn word(self) -> (u64, usize) {
        kernels::word(self.level, self.test, self.x)
    }

    #[inline(always)]
    fn count(self) -> usize {
        kernels::count(self.level, self.test, self.x)
    }
}

compiled! {
    /// A selection from a block, if there are places enough; says how many are needed.
    OneBlock: Block::select -> usize
}

struct Block<'a, T> {
    level: Level,
    hits: &'a Hits<'a, T>,
    x: &'a [T],
    to: Places<'a, T>,
}

impl<T: Float> Block<'_, T> {
    #[inline(always)]
    fn select(self) -> usize {
        let Block { level, hits, x, mut to } = self;
        if let (true, Some(test)) = (x.len() <= to.len, hits.fused()) {
            return kernels::select(level, test, x, 0, to);
        }
        let words = &mut [0; WORDS][..x.len().div_ceil(WORD)];
        let n = hits.words(level, 0, x, words);
        if n <= to.len {
            put(level, words, 0, x, &mut to.first(n));
        }
        n
    }
}

/// [`OneBlock`], of a slice that is one.
#[inline(always)]
fn select_block<T: Float>(
    level: Level,
    x: &View<'_, T>,
    len: Option<usize>,
    hits: &Hits<'_, T>,
    to: &mut Places<'_, T>,
) -> Option<Result<usize>> {
    let x =
        x.as_plain_slice().filter(|x| x.len() <= block_len::<T>() && len.is_none_or(|len| x.len() == len))?;
    let room = to.len;
    let needed = T::compiled::<OneBlock>(Block { level, hits, x, to: to.first(room) });
    Some(if needed > room { Err(Error::Room { needed, room }) } else { Ok(needed) })
}

/// Selects from a view to slices, the shorter of which is the room.
#[inline(always)]
fn select<T: Float, I: Position>(
    level: Level,
    x: View<'_, T>,
    test: Test<T>,
    positions: Option<&mut [I]>,
    values: Option<&mut [T]>,
) -> Result<usize> {
    let mut to = Places::new(positions, values);
    if let Some(x) = few(&x, &mut None) {
        return put_word(word(level, &test, x), |i| x[i], &mut to);
    }
    let hits = Hits::Test(test);
    if let Some(answer) = select_block(level, &x, None, &hits, &mut to) {
        return answer;
    }
    let (x, mut to) = (x, Slices::from(to)); // a copy of x: the other need never stand in memory
    fits::<I>(x.len())?;
    select_many(level, &x, &hits, Some(&mut to))
}

/// Selects from a view to vectors, which are empty.
#[inline(always)]
fn collect<T: Float, I: Position>(
    level: Level,
    x: View<'_, T>,
    test: Test<T>,
    mut to: Vectors<'_, I, T>,
) -> Result<()> {
    if let Some(x) = few(&x, &mut None) {
        let word = word(level, &test, x);
        let mut places = to.places(word.1).map_err(|error| *error)?;
        return put_word(word, |i| x[i], &mut places).map(|_| ());
    }
    let (x, hits) = (x, Hits::Test(test)); // as above
    fits::<I>(x.len())?;
    select_many(level, &x, &hits, Some(&mut to))?;
    to.shrink();
    Ok(())
}

/// Selects from a view of any length, or counts.
#[inline(always)]
fn select_many<T: Float>(
    level: Level,
    x: &View<'_, T>,
    hits: &Hits<'_, T>,
    sink: Option<&mut dyn Sink<T>>,
) -> Result<usize> {
    let sink = sink.map(|sink| sink as _); // for as long as the others
    T::compiled::<Selection>(Request { level, x, hits, sink }).map_err(|error| *error)
}

/// Whether indices of an input of this length are `I`s.
#[inline(always)]
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
#[inline(always)]
pub fn indices<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    predicate: impl Predicate<T>,
) -> Result<Vec<I>> {
    let (level, x) = (Level::current()?, x.into());
    let mut indices = Vec::new();
    collect(level, x, predicate.test(), Vectors { positions: Some(&mut indices), values: None })?;
    Ok(indices)
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
#[inline(always)]
pub fn indices_into<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    predicate: impl Predicate<T>,
    out: &mut [I],
) -> Result<usize> {
    let (level, x) = (Level::current()?, x.into());
    select(level, x, predicate.test(), Some(out), None)
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
#[inline(always)]
pub fn values<'a, T: Float>(x: impl Into<View<'a, T>>, predicate: impl Predicate<T>) -> Result<Vec<T>> {
    let (level, x) = (Level::current()?, x.into());
    let mut values = Vec::new();
    let to = Vectors::<u64, T> { positions: None, values: Some(&mut values) };
    collect(level, x, predicate.test(), to)?;
    Ok(values)
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
#[inline(always)]
pub fn values_into<'a, T: Float>(
    x: impl Into<View<'a, T>>,
    predicate: impl Predicate<T>,
    out: &mut [T],
) -> Result<usize> {
    let (level, x) = (Level::current()?, x.into());
    select::<T, u64>(level, x, predicate.test(), None, Some(out))
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
#[inline(always)]
pub fn pairs<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    predicate: impl Predicate<T>,
) -> Result<(Vec<I>, Vec<T>)> {
    let (level, x) = (Level::current()?, x.into());
    let (mut indices, mut values) = (Vec::new(), Vec::new());
    let to = Vectors { positions: Some(&mut indices), values: Some(&mut values) };
    collect(level, x, predicate.test(), to)?;
    Ok((indices, values))
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
#[inline(always)]
pub fn pairs_into<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    predicate: impl Predicate<T>,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    let (level, x) = (Level::current()?, x.into());
    select(level, x, predicate.test(), Some(indices), Some(values))
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
#[inline(always)]
pub fn count<'a, T: Float>(x: impl Into<View<'a, T>>, predicate: impl Predicate<T>) -> Result<usize> {
    let (level, x, test) = (Level::current()?, x.into(), predicate.test());
    if let Some(x) = few(&x, &mut None) {
        return Ok(word(level, &test, x).1);
    }
    if let Some(x) = x.as_plain_slice().filter(|x| x.len() <= block_len::<T>()) {
        return Ok(T::compiled::<Counted>(Few { level, x, test: &test }));
    }
    let (x, hits) = (x, Hits::Test(test)); // a copy: the other need never stand in memory
    select_many(level, &x, &hits, None)
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
    write_mask(level, &x, predicate.test(), &mut mask);
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
        Some(out) => write_mask(level, &x, predicate.test(), out),
        None => return Err(Error::Room { needed: x.len(), room: out.len() }),
    }
    Ok(x.len())
}

/// Writes each element's truth value to `out`, which is as long as `x`.
fn write_mask<T: Float>(level: Level, x: &View<'_, T>, test: Test<T>, out: &mut [bool]) {
    compiled! { Masking: Request::run -> () }
    struct Request<'a, T> {
        level: Level,
        x: &'a View<'a, T>,
        test: Test<T>,
        out: &'a mut [bool],
    }
    impl<T: Float> Request<'_, T> {
        #[inline(always)]
        fn run(self) {
            let Request { level, x, test, out } = self;
            let mut copy = None;
            let small = few(x, &mut copy).or_else(|| x.as_slice().filter(|x| !is_parallel(x.len())));
            if let Some(x) = small {
                return kernels::mask(level, &test, x, out);
            }
            let mut slices = None;
            let work = (Source::new(x, &mut slices), out);
            parallel::for_each(work, grain(x.len()), |_, (x, out)| {
                let _: std::result::Result<(), ()> = x.each_block(|at, len, x| {
                    kernels::mask(level, &test, x, &mut out[at..at + len]);
                    Ok(())
                });
            });
        }
    }
    T::compiled::<Masking>(Request { level, x, test, out });
}
