//! Gradient compression with error feedback: what passes a threshold goes out as (index, value), the rest stays.

use super::answer::{Outcome, Places, Position, Sink, Slices, Vectors};
use super::predicate::{Predicate, Test};
use super::source::{PIECE, Source, WORDS, block_len, copy_back, piece_of};
use super::{CHUNK, Hits, fits, grain, is_parallel, kernels, put, put_word};
use crate::array::{AxisSlicesMut, View, ViewMut};
use crate::error::{Error, Result};
use crate::parallel::{self, Split};
use crate::simd::select::WORD;
use crate::simd::{Float, Level, compiled};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Adds the gradient's elements from `at` on to `residual`.
fn add<T: Float>(level: Level, grad: &Source<'_, T>, at: usize, residual: &mut [T]) {
    match *grad {
        Source::Dense(grad) => kernels::add(level, residual, &grad[at..at + residual.len()]),
        Source::Length(_) => {}
        Source::Strided { .. } => {
            let mut piece = [T::ZERO; PIECE];
            for (i, residual) in residual.chunks_mut(PIECE).enumerate() {
                let piece = &mut piece[..residual.len()];
                grad.copy_to(at + i * PIECE, piece);
                kernels::add(level, residual, piece);
            }
        }
    }
}

/// [`add`], and then the words of the sums, the first of which has the index `first`; says how many are hits.
fn add_words<T: Float>(
    hits: &Hits<'_, T>,
    level: Level,
    (grad, at): (&Source<'_, T>, usize),
    (first, residual): (usize, &mut [T]),
    words: &mut [u64],
) -> usize {
    if let (Source::Dense(grad), Some(test)) = (grad, hits.fused()) {
        return kernels::add_compare(level, test, residual, &grad[at..at + residual.len()], words);
    }
    add(level, grad, at, residual);
    hits.words(level, first, residual, words)
}

/// Up to so many hits are moved one by one, by one kernel: three take longer.
const FEW: usize = 128;

/// Moves the hits of a block, of which the words tell, out of it.
pub(super) fn take<T: Float>(
    level: Level,
    words: &[u64],
    first: usize,
    residual: &mut [T],
    mut to: Places<'_, T>,
) {
    if to.len <= FEW {
        return kernels::take_few(level, words, first, residual, to);
    }
    put(level, words, first, residual, &mut to);
    kernels::clear(level, words, residual);
}

/// A residual on its way, block by block.
struct Blocks<'a, 'h, T> {
    level: Level,
    hits: &'a Hits<'h, T>,
    grad: Source<'a, T>,
    /// The index of the first element.
    first: usize,
    sink: &'a mut dyn Sink<T>,
}

impl<T: Float> Blocks<'_, '_, T> {
    /// Adds the gradient to the block `at` so many elements after the first, moves the hits out of it, and
    /// says how many they are. There are words enough.
    fn next(&mut self, at: usize, residual: &mut [T], words: &mut [u64]) -> Outcome<usize> {
        let words = &mut words[..residual.len().div_ceil(WORD)];
        let n = add_words(self.hits, self.level, (&self.grad, at), (self.first + at, residual), words);
        if n > 0 {
            take(self.level, words, self.first + at, residual, self.sink.places(n)?);
        }
        Ok(n)
    }

    /// All blocks of a slice.
    fn slice(&mut self, residual: &mut [T]) -> Outcome<usize> {
        if residual.len() <= WORD {
            return self.next(0, residual, &mut [0]);
        }
        let (mut n, mut words) = (0, [0; WORDS]);
        for (i, block) in residual.chunks_mut(block_len::<T>()).enumerate() {
            n += self.next(i * block_len::<T>(), block, &mut words)?;
        }
        Ok(n)
    }

    /// All blocks of a strided array, each a copy.
    fn strided(&mut self, residual: ViewMut<'_, T>) -> Outcome<usize> {
        let axis = residual.shape().iter().rposition(|&n| n != 1).unwrap_or(0); // an array of rank 0 is a slice
        let (len, mut slices) = (residual.len(), residual.into_axis_slices(axis));
        let (mut small, mut large) = (None, None);
        let piece = piece_of(len, &mut small, &mut large);
        let (mut n, mut words) = (0, [0; PIECE / WORD]);
        for at in (0..len).step_by(PIECE) {
            let piece = &mut piece[..PIECE.min(len - at)];
            slices.as_axis_slices().copy_to(at, piece);
            let taken = self.next(at, piece, &mut words)?;
            n += taken;
            match self.grad {
                // Nothing else has changed.
                Source::Length(_) if taken == 0 => {}
                Source::Length(_) => clear(&mut slices, at, &words[..piece.len().div_ceil(WORD)]),
                _ => copy_back(&mut slices, at, piece),
            }
        }
        Ok(n)
    }
}

/// Overwrites the elements from `first` on whose bits are set with zeros.
fn clear<T: Float>(slices: &mut AxisSlicesMut<'_, T>, first: usize, words: &[u64]) {
    let len = slices.slice_len();
    let mut slice = first / len;
    let mut begin = slice * len;
    for (w, &word) in words.iter().enumerate() {
        let mut bits = word;
        while bits != 0 {
            let i = first + w * WORD + bits.trailing_zeros() as usize;
            while i >= begin + len {
                (slice, begin) = (slice + 1, begin + len);
            }
            slices.slice(slice).set(i - begin, T::ZERO);
            bits &= bits - 1;
        }
    }
}

/// The hits that there will be in `residual + grad`.
pub(super) fn estimate_density<T: Float>(
    level: Level,
    residual: &Source<'_, T>,
    grad: &Source<'_, T>,
    hits: &Hits<'_, T>,
) -> usize {
    let total = AtomicUsize::new(0);
    parallel::for_each((*residual, *grad), grain(residual.len()), |first, (residual, grad)| {
        let (mut sums, mut words, mut n) = ([T::ZERO; PIECE], [0; PIECE / WORD], 0);
        for at in (0..residual.len()).step_by(PIECE) {
            let sums = &mut sums[..PIECE.min(residual.len() - at)];
            let words = &mut words[..sums.len().div_ceil(WORD)];
            residual.copy_to(at, sums);
            add(level, &grad, at, sums);
            n += hits.words(level, first + at, sums, words);
        }
        total.fetch_add(n, Relaxed);
    });
    total.into_inner()
}

/// Adds the gradient and moves the hits, whose number may be known, to the sink. Refuses, before anything is
/// written, what has no room.
pub(super) fn sparsify_to<T: Float>(
    level: Level,
    residual: ViewMut<'_, T>,
    grad: Source<'_, T>,
    hits: &Hits<'_, T>,
    known: Option<usize>,
    sink: &mut dyn Sink<T>,
) -> Outcome<usize> {
    let len = residual.len();
    let needed = known.or_else(|| {
        let is_sure = sink.room() >= len && sink.reserve(len);
        (!is_sure).then(|| estimate_density(level, &Source::new(&residual.as_view(), &mut None), &grad, hits))
    });
    if needed.is_some_and(|needed| !sink.reserve(needed)) {
        sink.places(needed.unwrap_or(len))?; // which says why not
    }
    let residual = match residual.into_slice() {
        Ok(residual) if is_parallel(len) && (known.is_some() || sink.reserve(len)) => {
            let n = parallel::count_then_write(
                (residual, grad),
                sink.whole(known.unwrap_or(len))?,
                CHUNK,
                |first, (residual, grad): &mut (&mut [T], Source<'_, T>)| {
                    add(level, grad, 0, residual);
                    let (mut n, mut words) = (0, [0; WORDS]);
                    for (i, block) in residual.chunks(block_len::<T>()).enumerate() {
                        let words = &mut words[..block.len().div_ceil(WORD)];
                        n += hits.words(level, first + i * block_len::<T>(), block, words);
                    }
                    n
                },
                |first, (residual, grad), places| {
                    let (grad, sink) = (Source::Length(grad.len()), &mut Slices::from(places));
                    let taken = Blocks { level, hits, grad, first, sink }.slice(residual);
                    debug_assert!(taken.is_ok(), "as many places as were counted");
                },
            );
            sink.cut(n);
            return Ok(n);
        }
        residual => residual,
    };
    let mut blocks = Blocks { level, hits, grad, first: 0, sink };
    match residual {
        Ok(residual) => blocks.slice(residual),
        Err(residual) => blocks.strided(residual),
    }
}

compiled! {
    /// Sparsification.
    Sparsify: Request::run -> Outcome<usize>
}

struct Request<'a, T> {
    level: Level,
    residual: ViewMut<'a, T>,
    grad: Option<&'a View<'a, T>>,
    hits: Hits<'a, T>,
    sink: &'a mut (dyn Sink<T> + 'a),
}

impl<T: Float> Request<'_, T> {
    #[inline(always)]
    fn run(self) -> Outcome<usize> {
        let mut slices = None;
        let nothing = Source::Length(self.residual.len());
        let grad = self.grad.map_or(nothing, |grad| Source::new(grad, &mut slices));
        sparsify_to(self.level, self.residual, grad, &self.hits, None, self.sink)
    }
}

compiled! {
    /// The word of at most [`WORD`] elements, after a gradient is added to them, and how many bits are set.
    OneWord: Few::word -> (u64, usize)
}

struct Few<'a, T> {
    level: Level,
    residual: &'a mut [T],
    /// As long, or `None`.
    grad: Option<&'a [T]>,
    test: &'a Test<T>,
}

impl<T: Float> Few<'_, T> {
    #[inline(always)]
    fn word(self) -> (u64, usize) {
        let Few { level, residual, grad, test } = self;
        match grad {
            Some(grad) if !residual.is_empty() && test.miss().is_some() => {
                let mut word = [0];
                let n = kernels::add_compare(level, test, residual, grad, &mut word);
                return (word[0], n);
            }
            Some(grad) => kernels::add(level, residual, grad),
            None => {}
        }
        kernels::word(level, test, residual)
    }
}

compiled! {
    /// Sparsification of a block, if there are places enough; says how many are needed.
    OneBlock: Block::take -> usize
}

/// As in [`Few`]; of a gradient's block there are places for all.
struct Block<'a, T> {
    level: Level,
    residual: &'a mut [T],
    grad: Option<&'a [T]>,
    hits: &'a Hits<'a, T>,
    to: Places<'a, T>,
}

/// The elements for whose words there is a smaller array.
const SHORT: usize = 8 * WORD;

impl<T: Float> Block<'_, T> {
    #[inline(always)]
    fn take(self) -> usize {
        let Block { level, residual, grad, hits, mut to } = self;
        let (mut small, mut large) = (None, None);
        let words = match residual.len() {
            0..=SHORT => &mut small.insert([0; SHORT / WORD])[..],
            _ => &mut large.insert([0; WORDS])[..],
        };
        let words = &mut words[..residual.len().div_ceil(WORD)];
        let n = match grad {
            Some(grad) => add_words(hits, level, (&Source::Dense(grad), 0), (0, residual), words),
            None => hits.words(level, 0, residual, words),
        };
        if n <= to.len {
            take(level, words, 0, residual, to.first(n));
        }
        n
    }
}

/// Moves the hits of a word's elements to places, if there is room for them, and says how many they are.
#[inline(always)]
fn take_word<T: Float>(word: (u64, usize), residual: &mut [T], to: &mut Places<'_, T>) -> Result<usize> {
    put_word(word, |i| std::mem::replace(&mut residual[i], T::ZERO), to)
}

/// At most a block's elements that lie before us, and as many of a gradient, if there is one.
#[inline(always)]
#[allow(clippy::type_complexity)] // slices, or none
fn block<'r, 'g, T: Float>(
    residual: &'r mut ViewMut<'_, T>,
    grad: &Option<View<'g, T>>,
) -> Option<(&'r mut [T], Option<&'g [T]>)> {
    let is_vector = residual.rank() == 1;
    let residual = residual.as_plain_slice_mut().filter(|residual| residual.len() <= block_len::<T>())?;
    let Some(grad) = grad else { return Some((residual, None)) };
    // Of vectors alone: a look at shapes would have the views stand in memory.
    let grad =
        grad.as_plain_slice().filter(|x| is_vector && grad.rank() == 1 && x.len() == residual.len())?;
    Some((residual, Some(grad)))
}

/// The checks that come first, but for the level's.
pub(super) fn check<T, I: Position>(grad: Option<&View<'_, T>>, residual: &ViewMut<'_, T>) -> Result<()> {
    same_shape(grad, residual)?;
    fits::<I>(residual.len())
}

/// Whether a gradient, if there is one, has the residual's shape.
fn same_shape<T>(grad: Option<&View<'_, T>>, residual: &ViewMut<'_, T>) -> Result<()> {
    let Some(grad) = grad.filter(|grad| grad.shape() != residual.shape()) else { return Ok(()) };
    let (expected, got) = (residual.shape().to_vec(), grad.shape().to_vec());
    Err(Error::Shape { what: "the gradient", expected, got })
}

/// The hits to slices.
#[inline(always)]
fn into<T: Float, I: Position>(
    mut residual: ViewMut<'_, T>,
    grad: Option<View<'_, T>>,
    test: Test<T>,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    let level = Level::current()?;
    let mut to = Places::new(Some(indices), Some(values));
    let (hits, room) = (Hits::Test(test), to.len);
    if let Some((residual, grad)) = block(&mut residual, &grad)
        && (grad.is_none() || residual.len() <= room)
    {
        if residual.len() <= WORD {
            let word = T::compiled::<OneWord>(Few { level, residual, grad, test: &test });
            return take_word(word, residual, &mut to);
        }
        let needed = T::compiled::<OneBlock>(Block { level, residual, grad, hits: &hits, to });
        return if needed > room { Err(Error::Room { needed, room }) } else { Ok(needed) };
    }
    // A few strided elements: a copy of them, written back.
    if grad.is_none() && residual.rank() <= 2 && residual.len() <= WORD {
        let mut copy = [T::ZERO; WORD];
        if let Some(len) = residual.as_view().copy_few(&mut copy) {
            let copy = &mut copy[..len];
            let word = T::compiled::<OneWord>(Few { level, residual: copy, grad: None, test: &test });
            let n = take_word(word, copy, &mut to)?;
            residual.paste_few(copy);
            return Ok(n);
        }
    }
    let (residual, grad) = (residual, grad); // copies: the others need never stand in memory
    check::<T, I>(grad.as_ref(), &residual)?;
    let (grad, sink) = (grad.as_ref(), &mut Slices::from(to));
    T::compiled::<Sparsify>(Request { level, residual, grad, hits, sink }).map_err(|error| *error)
}

/// The hits in vectors of their own.
#[inline(always)]
fn collect<T: Float, I: Position>(
    mut residual: ViewMut<'_, T>,
    grad: Option<View<'_, T>>,
    test: Test<T>,
) -> Result<(Vec<I>, Vec<T>)> {
    let level = Level::current()?;
    let (mut indices, mut values) = (Vec::new(), Vec::new());
    let mut to = Vectors { positions: Some(&mut indices), values: Some(&mut values) };
    if let Some((residual, grad)) = block(&mut residual, &grad)
        && residual.len() <= WORD
        && (grad.is_none() || to.reserve(residual.len()))
    {
        let word = T::compiled::<OneWord>(Few { level, residual, grad, test: &test });
        let mut places = to.places(word.1).map_err(|error| *error)?;
        take_word(word, residual, &mut places)?;
        return Ok((indices, values));
    }
    let (residual, grad) = (residual, grad); // as above
    check::<T, I>(grad.as_ref(), &residual)?;
    let (grad, sink) = (grad.as_ref(), &mut to);
    T::compiled::<Sparsify>(Request { level, residual, grad, hits: Hits::Test(test), sink })
        .map_err(|error| *error)?;
    to.shrink();
    Ok((indices, values))
}

/// Moves the elements that satisfy `predicate` out of `residual`, as flat indices and values, and leaves
/// zeros in their places; everything else stays. [`scatter_add`](crate::scatter_add) is the way back.
///
/// NaN, equality and cost: see [what all share](super#what-all-of-them-share).
///
/// ```
/// use gradix::{AbsGt, select};
/// let mut residual = [0.1, -0.9, 0.2, 0.8];
/// let (indices, values): (Vec<u32>, _) = select::sparsify(&mut residual, AbsGt(0.5))?;
/// assert_eq!((indices, values), (vec![1, 3], vec![-0.9, 0.8]));
/// assert_eq!(residual, [0.1, 0.0, 0.2, 0.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// As [`indices`](super::indices). Nothing is moved then.
#[inline(always)]
pub fn sparsify<'r, T: Float, I: Position>(
    residual: impl Into<ViewMut<'r, T>>,
    predicate: impl Predicate<T>,
) -> Result<(Vec<I>, Vec<T>)> {
    collect(residual.into(), None, predicate.test())
}

/// [`sparsify`] into the fronts of `indices` and `values`; returns how many there are. The shorter of the two is the
/// room.
///
/// NaN, equality and cost: see [what all share](super#what-all-of-them-share).
///
/// ```
/// use gradix::{Gt, select};
/// let (mut indices, mut values) = ([0u32; 4], [0.0; 4]);
/// assert_eq!(select::sparsify_into(&mut [0.1, 0.9], Gt(0.5), &mut indices, &mut values)?, 1);
/// assert_eq!((indices[0], values[0]), (1, 0.9));
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// As [`indices_into`](super::indices_into). Nothing is moved then.
#[inline(always)]
pub fn sparsify_into<'r, T: Float, I: Position>(
    residual: impl Into<ViewMut<'r, T>>,
    predicate: impl Predicate<T>,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    into(residual.into(), None, predicate.test(), indices, values)
}

/// [`sparsify`] of `residual + grad`, with the addition in the same pass: each element of the residual is read from
/// memory once and written once. It becomes 0 where the sum satisfies `predicate`, else the sum.
///
/// NaN, equality and cost: see [what all share](super#what-all-of-them-share).
///
/// ```
/// use gradix::{AbsGt, select};
/// let mut residual = vec![0.4, 0.0, -0.1];
/// let grad = [0.3, 0.2, 0.1];
/// let (indices, values): (Vec<u32>, _) = select::sparsify_with(&grad, &mut residual, AbsGt(0.5))?;
/// assert_eq!((indices, values), (vec![0], vec![0.7]));
/// assert_eq!(residual, [0.0, 0.2, 0.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] where the two shapes differ; as [`indices`](super::indices). Nothing is added or moved then.
#[inline(always)]
pub fn sparsify_with<'g, 'r, T: Float, I: Position>(
    grad: impl Into<View<'g, T>>,
    residual: impl Into<ViewMut<'r, T>>,
    predicate: impl Predicate<T>,
) -> Result<(Vec<I>, Vec<T>)> {
    collect(residual.into(), Some(grad.into()), predicate.test())
}

/// [`sparsify_with`] into the fronts of `indices` and `values`; returns how many there are. The shorter of the two is
/// the room.
///
/// NaN, equality and cost: see [what all share](super#what-all-of-them-share).
///
/// ```
/// use gradix::{Gt, select};
/// let (mut residual, mut indices, mut values) = ([0.5f32, 0.1], [0u32; 2], [0.0; 2]);
/// let hits = select::sparsify_with_into(&[0.5, 0.1], &mut residual, Gt(0.5), &mut indices, &mut values)?;
/// assert_eq!((hits, indices[0], values[0], residual), (1, 0, 1.0, [0.0, 0.2]));
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// As [`sparsify_with`] and [`indices_into`](super::indices_into). Nothing is added or moved then.
#[inline(always)]
pub fn sparsify_with_into<'g, 'r, T: Float, I: Position>(
    grad: impl Into<View<'g, T>>,
    residual: impl Into<ViewMut<'r, T>>,
    predicate: impl Predicate<T>,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    into(residual.into(), Some(grad.into()), predicate.test(), indices, values)
}
