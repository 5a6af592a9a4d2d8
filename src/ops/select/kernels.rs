//! The kernels of selection: everything here is compiled once for each element type and level.
//!
//! A comparison makes words of truth values (`compare`); positions, values and zeros follow from the words, whatever the
//! comparison was.

use super::predicate::{Kind, Test};
use crate::simd::select::{WORD, first_bits, short_word, word};
use crate::simd::{Float, Kernel, Level, Simd};

/// A loop over elements with a comparison.
trait Loop<T: Float> {
    type Output;
    fn run<S: Simd<T>>(self, s: S, compare: impl Fn(S::V) -> S::M) -> Self::Output;
}

/// Runs the loop with the test's comparison: the only place where kinds become instructions.
#[inline(always)]
fn with_comparison<T: Float, S: Simd<T>, L: Loop<T>>(s: S, test: &Test<T>, l: L) -> L::Output {
    let (low, high) = (s.splat(test.low), s.splat(test.high));
    macro_rules! run {
        ($x:ident: $compare:expr) => {
            l.run(
                s,
                #[inline(always)]
                |$x| $compare,
            )
        };
    }
    match test.kind {
        Kind::Gt => run!(x: s.gt(x, low)),
        Kind::Ge => run!(x: s.ge(x, low)),
        Kind::Lt => run!(x: s.gt(high, x)),
        Kind::Le => run!(x: s.ge(high, x)),
        Kind::Between => run!(x: s.and(s.ge(x, low), s.ge(high, x))),
        Kind::AbsGt => run!(x: s.gt(s.abs(x), low)),
        Kind::AbsGe => run!(x: s.ge(s.abs(x), low)),
        Kind::AbsBetween => run!(x: s.and(s.ge(s.abs(x), low), s.ge(high, s.abs(x)))),
    }
}

/// Writes the words of `x` under the test, but for its `or_nan`, and says how many bits are set.
pub(super) fn compare<T: Float>(level: Level, test: &Test<T>, x: &[T], words: &mut [u64]) -> usize {
    T::dispatch(level, Compare { test, x, words })
}

struct Compare<'a, T> {
    test: &'a Test<T>,
    x: &'a [T],
    words: &'a mut [u64],
}

impl<T: Float> Kernel<T> for Compare<'_, T> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> usize {
        with_comparison(s, self.test, self)
    }
}

impl<T: Float> Loop<T> for Compare<'_, T> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S, compare: impl Fn(S::V) -> S::M) -> usize {
        let (groups, rest) = self.x.as_chunks::<WORD>();
        let flip = if self.test.is_inverted { !0 } else { 0 };
        let mut hits = 0;
        for (to, group) in self.words.iter_mut().zip(groups) {
            *to = word(s, group, &compare) ^ flip;
            hits += to.count_ones() as usize;
        }
        if let (false, Some(to)) = (rest.is_empty(), self.words.get_mut(groups.len())) {
            *to = (short_word(s, rest, &compare) ^ flip) & first_bits(rest.len());
            hits += to.count_ones() as usize;
        }
        hits
    }
}

/// How many elements satisfy the test.
pub(super) fn count<T: Float>(level: Level, test: &Test<T>, x: &[T]) -> usize {
    let mut hits = T::dispatch(level, Count { test, x });
    if test.is_inverted {
        hits = x.len() - hits;
    }
    if test.or_nan {
        let not_nan = Test::new(Kind::Ge, T::NEG_INFINITY, T::INFINITY);
        // An inverted test holds for NaN already.
        hits += if test.is_inverted { 0 } else { x.len() - T::dispatch(level, Count { test: &not_nan, x }) };
    }
    hits
}

struct Count<'a, T> {
    test: &'a Test<T>,
    x: &'a [T],
}

impl<T: Float> Kernel<T> for Count<'_, T> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> usize {
        with_comparison(s, self.test, self)
    }
}

impl<T: Float> Loop<T> for Count<'_, T> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S, compare: impl Fn(S::V) -> S::M) -> usize {
        let (groups, rest) = self.x.as_chunks::<WORD>();
        let mut hits = 0;
        // A loop, because an iterator's `sum` may become a function of its own, compiled for no level: seven times slower.
        for group in groups {
            hits += word(s, group, &compare).count_ones() as usize;
        }
        if !rest.is_empty() {
            hits += short_word(s, rest, &compare).count_ones() as usize;
        }
        hits
    }
}

/// The hits of a block that may go through room of our own.
const OWN: usize = 256;

/// Calls `put` for each word with its number, its bits and 64 places, of which it fills those of the set bits; in the end
/// `to` is full, and nothing beside it was written.
#[inline(always)]
fn expand<E: Copy + Default>(words: &[u64], to: &mut [E], put: impl Fn(usize, u64, &mut [E; WORD])) {
    // While at least 64 hits are still to come, they will overwrite whatever was written after the earlier ones; the last
    // words go to room of our own, and of that the hits to their places.
    let (mut tail, mut hits) = (words.len(), 0);
    if to.len() <= OWN {
        tail = 0;
    }
    while tail > 0 && hits < WORD {
        tail -= 1;
        hits += words[tail].count_ones() as usize;
    }
    let (mut own, mut filled) = ([E::default(); OWN + WORD], 0);
    // A loop of two turns, because the level's operations are sure to be inlined where they are called from one place.
    for is_tail in [false, true] {
        let (range, room) = if is_tail { (tail..words.len(), &mut own[..]) } else { (0..tail, &mut *to) };
        let mut k = 0;
        for w in range {
            let bits = words[w];
            if let Some(places) = room[k..].first_chunk_mut() {
                put(w, bits, places);
            }
            k += bits.count_ones() as usize;
        }
        if is_tail {
            to[filled..].copy_from_slice(&own[..k]);
        }
        filled = k;
    }
}

/// Calls `put` for each set bit with its number and a place.
#[inline(always)]
fn by_bits<E>(mut bits: u64, to: &mut [E], put: impl Fn(usize, &mut E)) {
    for to in to {
        put(bits.trailing_zeros() as usize, to);
        bits &= bits.wrapping_sub(1);
    }
}

/// Asks for the elements of word `w` of what follows the block `x`, which will be compared next.
#[inline(always)]
fn prefetch_next<T: Float, S: Simd<T>>(s: S, x: &[T], w: usize) {
    for line in 0..WORD / T::LANES {
        s.prefetch_after(x.as_ptr(), x.len() + w * WORD + line * T::LANES);
    }
}

/// Writes the positions of the set bits, that of the first bit being `first`; there are as many as `to` has places. `x` are
/// the elements.
pub(super) fn positions_32<T: Float>(level: Level, words: &[u64], first: u32, x: &[T], to: &mut [u32]) {
    if let [bits] = *words {
        return by_bits(bits, to, |bit, to| *to = first + bit as u32);
    }
    T::dispatch(level, Positions { words, first, x, to });
}

/// [`positions_32`] of 64-bit positions.
pub(super) fn positions_64<T: Float>(level: Level, words: &[u64], first: u64, x: &[T], to: &mut [u64]) {
    if let [bits] = *words {
        return by_bits(bits, to, |bit, to| *to = first + bit as u64);
    }
    T::dispatch(level, Positions { words, first, x, to });
}

struct Positions<'a, T, P> {
    words: &'a [u64],
    first: P,
    x: &'a [T],
    to: &'a mut [P],
}

impl<T: Float> Kernel<T> for Positions<'_, T, u32> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Positions { words, first, x, to } = self;
        expand(
            words,
            to,
            #[inline(always)]
            |w, bits, to| {
                prefetch_next(s, x, w);
                s.positions_32(bits, first.wrapping_add((w * WORD) as u32), to);
            },
        );
    }
}

impl<T: Float> Kernel<T> for Positions<'_, T, u64> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Positions { words, first, x, to } = self;
        expand(
            words,
            to,
            #[inline(always)]
            |w, bits, to| {
                prefetch_next(s, x, w);
                s.positions_64(bits, first + (w * WORD) as u64, to);
            },
        );
    }
}

/// Writes the elements of `x` whose bits are set; there are as many as `to` has places.
pub(super) fn compress<T: Float>(level: Level, words: &[u64], x: &[T], to: &mut [T]) {
    let (groups, rest) = x.as_chunks::<WORD>();
    let last = words.get(groups.len()).copied().unwrap_or(0);
    let (to, to_last) = to.split_at_mut(to.len() - last.count_ones() as usize);
    by_bits(last, to_last, |bit, to| *to = rest[bit]);
    if !to.is_empty() {
        T::dispatch(level, Compress { words: &words[..groups.len()], groups, to });
    }
}

struct Compress<'a, T> {
    words: &'a [u64],
    groups: &'a [[T; WORD]],
    to: &'a mut [T],
}

impl<T: Float> Kernel<T> for Compress<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Compress { words, groups, to } = self;
        expand(
            words,
            to,
            #[inline(always)]
            |w, bits, to| s.compress(bits, &groups[w], to),
        );
    }
}

/// Adds `b` to `a`, which is as long.
pub(super) fn add<T: Float>(level: Level, a: &mut [T], b: &[T]) {
    T::dispatch(level, Add { a, b });
}

struct Add<'a, T> {
    a: &'a mut [T],
    b: &'a [T],
}

impl<T: Float> Kernel<T> for Add<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let (a, a_rest) = T::blocks_mut(self.a);
        let (b, b_rest) = T::blocks(self.b);
        for (a, b) in a.iter_mut().zip(b) {
            s.store(s.add(s.load(a), s.load(b)), a);
        }
        for (a, &b) in a_rest.iter_mut().zip(b_rest) {
            *a += b;
        }
    }
}

/// Packs truth values into words, the bits after the last of which are 0; says how many are true.
pub(super) fn pack(level: Level, from: &[bool], words: &mut [u64]) -> usize {
    f32::dispatch(level, Pack { from, words })
}

struct Pack<'a> {
    from: &'a [bool],
    words: &'a mut [u64],
}

impl Kernel<f32> for Pack<'_> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd<f32>>(self, s: S) -> usize {
        let (groups, rest) = self.from.as_chunks();
        let mut hits = 0;
        for (to, group) in self.words.iter_mut().zip(groups) {
            *to = s.pack(group);
            hits += to.count_ones() as usize;
        }
        if let (false, Some(to)) = (rest.is_empty(), self.words.get_mut(groups.len())) {
            let mut last = [false; WORD];
            last[..rest.len()].copy_from_slice(rest);
            *to = s.pack(&last);
            hits += to.count_ones() as usize;
        }
        hits
    }
}

/// Unpacks the first bits of the words, as many as `to` has places.
pub(super) fn unpack(level: Level, words: &[u64], to: &mut [bool]) {
    f32::dispatch(level, Unpack { words, to });
}

struct Unpack<'a> {
    words: &'a [u64],
    to: &'a mut [bool],
}

impl Kernel<f32> for Unpack<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<f32>>(self, s: S) {
        let (groups, rest) = self.to.as_chunks_mut();
        for (to, &bits) in groups.iter_mut().zip(self.words) {
            s.unpack(bits, to);
        }
        for (i, to) in rest.iter_mut().enumerate() {
            *to = self.words[groups.len()] >> i & 1 == 1;
        }
    }
}
