//! The kernels of selection: everything here is compiled once for each element type and level.
//!
//! A comparison makes words of truth values (`compare`); positions and values follow from the words, whatever
//! the comparison was. Of dense elements one kernel does both (`select`).

use super::answer::{Outcome, Places, Positions, Sink};
use super::predicate::{Kind, Test};
use super::source::{WORDS, block_len};
use crate::simd::select::{WORD, first_bits, word};
use crate::simd::{Float, Kernel, Level, Simd};

/// A test with its bounds in registers: the only place where kinds become instructions.
#[derive(Clone, Copy)]
struct Comparison<V> {
    kind: Kind,
    low: V,
    high: V,
    /// All bits set where those elements are meant that are not inside.
    flip: u64,
}

impl<V: Copy> Comparison<V> {
    #[inline(always)]
    fn new<T: Float, S: Simd<T, V = V>>(s: S, test: &Test<T>) -> Self {
        let flip = if test.is_inverted { !0 } else { 0 };
        Comparison { kind: test.kind, low: s.splat(test.low), high: s.splat(test.high), flip }
    }

    /// The word of 64 elements.
    #[inline(always)]
    fn word<T: Float, S: Simd<T, V = V>>(&self, s: S, x: &[T; WORD]) -> u64 {
        let (low, high) = (self.low, self.high);
        macro_rules! word {
            ($x:ident: $compare:expr) => {
                word(
                    s,
                    x,
                    #[inline(always)]
                    |$x| $compare,
                )
            };
        }
        self.flip
            ^ match self.kind {
                Kind::Gt => word!(x: s.gt(x, low)),
                Kind::Ge => word!(x: s.ge(x, low)),
                Kind::Lt => word!(x: s.gt(high, x)),
                Kind::Le => word!(x: s.ge(high, x)),
                Kind::Between => word!(x: s.and(s.ge(x, low), s.ge(high, x))),
                Kind::AbsGt => word!(x: s.gt(s.abs(x), low)),
                Kind::AbsGe => word!(x: s.ge(s.abs(x), low)),
                Kind::AbsBetween => word!(x: s.and(s.ge(s.abs(x), low), s.ge(high, s.abs(x)))),
            }
    }

    /// The word of at most 64 elements, the bits after the last of which are 0.
    #[inline(always)]
    fn short_word<T: Float, S: Simd<T, V = V>>(&self, s: S, x: &[T]) -> u64 {
        let (low, high, mut bits) = (self.low, self.high, 0);
        for (i, part) in x.chunks(T::LANES).enumerate() {
            let x = s.load_up_to(part, T::NAN);
            let m = match self.kind {
                Kind::Gt => s.gt(x, low),
                Kind::Ge => s.ge(x, low),
                Kind::Lt => s.gt(high, x),
                Kind::Le => s.ge(high, x),
                Kind::Between => s.and(s.ge(x, low), s.ge(high, x)),
                Kind::AbsGt => s.gt(s.abs(x), low),
                Kind::AbsGe => s.ge(s.abs(x), low),
                Kind::AbsBetween => s.and(s.ge(s.abs(x), low), s.ge(high, s.abs(x))),
            };
            bits |= u64::from(s.bits(m)) << (i * T::LANES);
        }
        (bits ^ self.flip) & first_bits(x.len())
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
        let comparison = Comparison::new(s, self.test);
        let (groups, rest) = self.x.as_chunks::<WORD>();
        let mut hits = 0;
        for (to, group) in self.words.iter_mut().zip(groups) {
            *to = comparison.word(s, group);
            hits += to.count_ones() as usize;
        }
        if let (false, Some(to)) = (rest.is_empty(), self.words.get_mut(groups.len())) {
            *to = comparison.short_word(s, rest);
            hits += to.count_ones() as usize;
        }
        hits
    }
}

/// How many elements satisfy the test.
pub(super) fn count<T: Float>(level: Level, test: &Test<T>, x: &[T]) -> usize {
    let hits = T::dispatch(level, Count { test, x });
    if !test.or_nan || test.is_inverted {
        return hits; // an inverted test holds for NaN already
    }
    let not_nan = Test::new(Kind::Ge, T::NEG_INFINITY, T::INFINITY);
    hits + x.len() - T::dispatch(level, Count { test: &not_nan, x })
}

struct Count<'a, T> {
    test: &'a Test<T>,
    x: &'a [T],
}

impl<T: Float> Kernel<T> for Count<'_, T> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> usize {
        let comparison = Comparison::new(s, self.test);
        let (groups, rest) = self.x.as_chunks::<WORD>();
        let mut hits = 0;
        // A loop, because an iterator's `sum` may become a function of its own, compiled for no level: seven
        // times slower.
        for group in groups {
            hits += comparison.word(s, group).count_ones() as usize;
        }
        if !rest.is_empty() {
            hits += comparison.short_word(s, rest).count_ones() as usize;
        }
        hits
    }
}

/// The hits of a block that may go through room of our own.
const OWN: usize = 256;

/// The word from which on hits go to room of our own, and from there to their places. While at least 64 hits
/// are still to come, they overwrite whatever was written after the earlier ones.
#[inline(always)]
fn tail(words: &[u64], hits: usize) -> usize {
    if hits <= OWN {
        return 0;
    }
    let (mut tail, mut last) = (words.len(), 0);
    while tail > 0 && last < WORD {
        tail -= 1;
        last += words[tail].count_ones() as usize;
    }
    tail
}

/// Calls `put` for each word with its number, its bits and 64 places, of which it fills those of the set
/// bits; in the end `to` is full, and nothing beside it was written.
#[inline(always)]
fn expand<E: Copy + Default>(words: &[u64], to: &mut [E], put: impl Fn(usize, u64, &mut [E; WORD])) {
    let tail = tail(words, to.len());
    let (mut own, mut filled) = ([E::default(); OWN + WORD], 0);
    // A loop of two turns, because the level's operations are sure to be inlined where they are called from
    // one place.
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

/// Writes the hits of at most 64 elements, the first of which has the index `first`.
#[inline(always)]
pub(super) fn put_few<T: Float>(bits: u64, first: usize, x: &[T], to: Places<'_, T>) {
    match to.positions {
        Positions::None => {}
        Positions::U32(to) => by_bits(bits, to, |bit, to| *to = (first + bit) as u32),
        Positions::U64(to) => by_bits(bits, to, |bit, to| *to = (first + bit) as u64),
    }
    if let Some(to) = to.values {
        by_bits(bits, to, |bit, to| *to = x[bit]);
    }
}

/// Writes the hits of dense elements, the first of which has the index `first`, and says how many they are;
/// without the test's `or_nan`.
pub(super) fn select<T: Float>(
    level: Level,
    test: &Test<T>,
    x: &[T],
    first: usize,
    sink: &mut dyn Sink<T>,
) -> Outcome<usize> {
    T::dispatch(level, Select { test, x, first, sink })
}

struct Select<'a, 's, T> {
    test: &'a Test<T>,
    x: &'a [T],
    first: usize,
    sink: &'a mut (dyn Sink<T> + 's),
}

impl<T: Float> Kernel<T> for Select<'_, '_, T> {
    type Output = Outcome<usize>;
    /// While the words of a block become an answer, the next block is compared, word by word: the loads of
    /// the one and the stores of the other go side by side.
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> Outcome<usize> {
        let Select { test, x, mut first, sink } = self;
        let comparison = Comparison::new(s, test);
        if x.len() <= WORD {
            let bits = comparison.short_word(s, x);
            let n = bits.count_ones() as usize;
            if n > 0 {
                put_few(bits, first, x, sink.places(n)?);
            }
            return Ok(n);
        }
        let (mut words_of, mut next_words_of) = ([0; WORDS], [0; WORDS]);
        let (mut block, mut hits, mut total) = (&x[..0], 0, 0);
        let mut rest = x;
        let mut padded = [T::ZERO; WORD];
        while !rest.is_empty() || hits > 0 {
            let next;
            (next, rest) = rest.split_at(rest.len().min(block_len::<T>()));
            let (groups, next_groups) = (block.as_chunks().0, next.as_chunks().0);
            let words = &words_of[..block.len().div_ceil(WORD)];
            let next_words = &mut next_words_of;
            let places = if hits > 0 {
                sink.places(hits)?
            } else {
                Places { len: 0, positions: Positions::None, values: None }
            };
            let mut next_hits = 0;
            let (to_32, to_64): (&mut [u32], &mut [u64]) = match places.positions {
                Positions::None => (&mut [], &mut []),
                Positions::U32(to) => (to, &mut []),
                Positions::U64(to) => (&mut [], to),
            };
            let to_values = places.values.unwrap_or(&mut []);
            let (has_32, has_64, has_values) = (!to_32.is_empty(), !to_64.is_empty(), !to_values.is_empty());
            let tail = if hits == 0 { 0 } else { tail(words, hits) };
            let mut own_32 = has_32.then_some([0u32; OWN + WORD]);
            let mut own_64 = has_64.then_some([0u64; OWN + WORD]);
            let mut own_values = has_values.then_some([T::ZERO; OWN + WORD]);
            let (active, mut filled) = (if hits > 0 { words.len() } else { 0 }, 0);
            // A loop of two turns, because the level's operations are sure to be inlined where they are
            // called from one place.
            for is_tail in [false, true] {
                let range = if is_tail { tail..active.max(next_groups.len()) } else { 0..tail };
                let to_32 =
                    if is_tail { own_32.as_mut().map_or(&mut [][..], |own| own) } else { &mut to_32[..] };
                let to_64 =
                    if is_tail { own_64.as_mut().map_or(&mut [][..], |own| own) } else { &mut to_64[..] };
                let to_values = if is_tail {
                    own_values.as_mut().map_or(&mut [][..], |own| own)
                } else {
                    &mut to_values[..]
                };
                let mut k = 0;
                for w in range {
                    if let Some(group) = next_groups.get(w) {
                        let bits = comparison.word(s, group);
                        next_words[w] = bits;
                        next_hits += bits.count_ones() as usize;
                    }
                    if w < active {
                        let bits = words[w];
                        if let (true, Some(to)) =
                            (has_32, to_32.get_mut(k..).and_then(|to| to.first_chunk_mut()))
                        {
                            s.positions_32(bits, first.wrapping_add(w * WORD) as u32, to);
                        }
                        if let (true, Some(to)) =
                            (has_64, to_64.get_mut(k..).and_then(|to| to.first_chunk_mut()))
                        {
                            s.positions_64(bits, (first + w * WORD) as u64, to);
                        }
                        if let (true, Some(to)) =
                            (has_values, to_values.get_mut(k..).and_then(|to| to.first_chunk_mut()))
                        {
                            s.compress(bits, groups.get(w).unwrap_or(&padded), to);
                        }
                        k += bits.count_ones() as usize;
                    }
                }
                if !is_tail {
                    filled = k;
                }
            }
            let left = hits - filled;
            if let Some(own) = &own_32 {
                to_32[filled..].copy_from_slice(&own[..left]);
            }
            if let Some(own) = &own_64 {
                to_64[filled..].copy_from_slice(&own[..left]);
            }
            if let Some(own) = &own_values {
                to_values[filled..].copy_from_slice(&own[..left]);
            }
            // What is left of the last block, if that is the next.
            let last = next.as_chunks::<WORD>().1;
            if !last.is_empty() {
                padded[..last.len()].copy_from_slice(last);
                let bits = comparison.short_word(s, last);
                next_words[next_groups.len()] = bits;
                next_hits += bits.count_ones() as usize;
            }
            first += block.len();
            (block, total, hits) = (next, total + hits, next_hits);
            std::mem::swap(&mut words_of, &mut next_words_of);
        }
        Ok(total)
    }
}

/// Writes the positions of the set bits, that of the first bit being `first`; there are as many as `to` has places.
pub(super) fn positions_32(level: Level, words: &[u64], first: u32, to: &mut [u32]) {
    f32::dispatch(level, PositionsOf { words, first, to });
}

/// [`positions_32`] of 64-bit positions.
pub(super) fn positions_64(level: Level, words: &[u64], first: u64, to: &mut [u64]) {
    f32::dispatch(level, PositionsOf { words, first, to });
}

struct PositionsOf<'a, P> {
    words: &'a [u64],
    first: P,
    to: &'a mut [P],
}

impl Kernel<f32> for PositionsOf<'_, u32> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<f32>>(self, s: S) {
        let PositionsOf { words, first, to } = self;
        expand(
            words,
            to,
            #[inline(always)]
            |w, bits, to| s.positions_32(bits, first.wrapping_add((w * WORD) as u32), to),
        );
    }
}

impl Kernel<f32> for PositionsOf<'_, u64> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<f32>>(self, s: S) {
        let PositionsOf { words, first, to } = self;
        expand(
            words,
            to,
            #[inline(always)]
            |w, bits, to| s.positions_64(bits, first + (w * WORD) as u64, to),
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
