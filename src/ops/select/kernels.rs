//! The kernels of selection: everything here is compiled once for each element type and level.
//!
//! A comparison makes words of truth values (`compare`); positions and values follow from the words, whatever
//! the comparison was. Of dense elements one kernel does both (`select`).

use super::answer::{Places, Positions};
use super::predicate::{Kind, Test};
use crate::simd::select::{SLACK, WORD, first_bits, pack_few};
use crate::simd::{Float, Kernel, Level, Simd};

/// A test with its bounds in registers: the only place where kinds become instructions.
///
/// The kind is asked for bit by bit, because the jump of a `match` for each word takes longer.
#[derive(Clone, Copy)]
struct Comparison<V> {
    low: V,
    high: V,
    /// Some of the five below: in one register, for a load waits for stores at the same place of another page.
    kind: u32,
    /// All bits set where those elements are meant that are not inside.
    flip: u64,
}

/// The magnitude is compared.
const ABS: u32 = 1;
/// Only the lower bound counts.
const LOW: u32 = 2;
/// Only the upper bound counts.
const HIGH: u32 = 4;
/// The bound is not included.
const STRICT: u32 = 8;
/// All but the lower bound are meant.
const NE: u32 = 16;

impl<V: Copy> Comparison<V> {
    #[inline(always)]
    fn new<T: Float, S: Simd<T, V = V>>(s: S, test: &Test<T>) -> Self {
        let kind = match test.kind {
            Kind::Gt => LOW | STRICT,
            Kind::Ge => LOW,
            Kind::Lt => HIGH | STRICT,
            Kind::Le => HIGH,
            Kind::Between => 0,
            Kind::AbsGt => ABS | LOW | STRICT,
            Kind::AbsGe => ABS | LOW,
            Kind::AbsBetween => ABS,
            Kind::Ne => NE,
        };
        let flip = if test.is_inverted { !0 } else { 0 };
        Comparison { low: s.splat(test.low), high: s.splat(test.high), kind, flip }
    }

    /// The comparison of four vectors, but for `flip`.
    #[inline(always)]
    fn of_4<T: Float, S: Simd<T, V = V>>(&self, s: S, v: [V; 4]) -> [S::M; 4] {
        let (low, high) = (self.low, self.high);
        macro_rules! each {
            ($x:ident: $e:expr) => {
                each_4(
                    v,
                    #[inline(always)]
                    |$x| $e,
                )
            };
        }
        let v = if self.kind & ABS != 0 { each!(x: s.abs(x)) } else { v };
        macro_rules! each {
            ($x:ident: $e:expr) => {
                each_4(
                    v,
                    #[inline(always)]
                    |$x| $e,
                )
            };
        }
        if self.kind & LOW != 0 {
            return if self.kind & STRICT != 0 { each!(x: s.gt(x, low)) } else { each!(x: s.ge(x, low)) };
        }
        if self.kind & HIGH != 0 {
            return if self.kind & STRICT != 0 { each!(x: s.gt(high, x)) } else { each!(x: s.ge(high, x)) };
        }
        if self.kind & NE != 0 {
            return each!(x: s.ne(x, low));
        }
        each!(x: s.and(s.ge(x, low), s.ge(high, x)))
    }

    /// The word of 64 elements.
    #[inline(always)]
    fn word<T: Float, S: Simd<T, V = V>>(&self, s: S, x: &[T; WORD]) -> u64 {
        let mut bits = 0;
        // A loop, because the comparison is then compiled once.
        for (i, group) in T::blocks(x).0.as_chunks().0.iter().enumerate() {
            bits |= s.bits_of_4(self.of_4(s, load_4(s, group))) << (i * VECTORS * T::LANES % WORD);
        }
        bits ^ self.flip
    }

    /// The word of at most 64 elements, the bits after the last of which are 0.
    #[inline(always)]
    fn short_word<T: Float, S: Simd<T, V = V>>(&self, s: S, x: &[T]) -> u64 {
        let mut bits = 0;
        for (i, part) in x.chunks(T::LANES).enumerate() {
            // Four times the same: one comparison.
            let m = self.of_4(s, [load_first(s, part); VECTORS]);
            bits |= u64::from(s.bits(m[0])) << (i * T::LANES);
        }
        (bits ^ self.flip) & first_bits(x.len())
    }
}

/// Vectors that are looked at together.
const VECTORS: usize = 4;

#[inline(always)]
fn load_4<T: Float, S: Simd<T>>(s: S, group: &[T::Block; VECTORS]) -> [S::V; VECTORS] {
    [s.load(&group[0]), s.load(&group[1]), s.load(&group[2]), s.load(&group[3])]
}

/// The same of fewer elements, and `pad` after them.
#[inline(always)]
fn load_part<T: Float, S: Simd<T>>(s: S, part: &[T], pad: T) -> [S::V; VECTORS] {
    each_4(
        [0, 1, 2, 3],
        #[inline(always)]
        |i| {
            let (from, to) = ((i * T::LANES).min(part.len()), ((i + 1) * T::LANES).min(part.len()));
            s.load_few(&part[from..to], pad)
        },
    )
}

/// At most a vector's elements, and NaN after them.
#[inline(always)]
fn load_first<T: Float, S: Simd<T>>(s: S, part: &[T]) -> S::V {
    match T::blocks(part).0 {
        [block, ..] => s.load(block),
        [] => s.load_few(part, T::NAN),
    }
}

/// `f` of each: unlike `map` of arrays never a function of its own, compiled for no level.
#[inline(always)]
fn each_4<A: Copy, B>(a: [A; VECTORS], f: impl Fn(A) -> B) -> [B; VECTORS] {
    [f(a[0]), f(a[1]), f(a[2]), f(a[3])]
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

/// The word of at most 64 elements under the test, and how many bits are set.
pub(super) fn word<T: Float>(level: Level, test: &Test<T>, x: &[T]) -> (u64, usize) {
    T::dispatch(level, Word { test, x })
}

struct Word<'a, T> {
    test: &'a Test<T>,
    x: &'a [T],
}

impl<T: Float> Kernel<T> for Word<'_, T> {
    type Output = (u64, usize);
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> (u64, usize) {
        let Word { test, x } = self;
        let mut word = Comparison::new(s, test).short_word(s, x);
        if test.or_nan {
            // The loop is short and seldom.
            for (i, x) in x.iter().enumerate() {
                word |= u64::from(x.is_nan()) << i;
            }
        }
        (word, word.count_ones() as usize)
    }
}

/// How many elements satisfy the test.
pub(super) fn count<T: Float>(level: Level, test: &Test<T>, x: &[T]) -> usize {
    let hits = T::dispatch(level, Count { test, x });
    if !test.or_nan || test.is_inverted || matches!(test.kind, Kind::Ne) {
        return hits; // the test holds for NaN already
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
const OWN: usize = 128;

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
    let (mut small, mut large, mut filled) = (None, None, 0);
    let own = if words.len() == 1 {
        &mut small.insert([E::default(); WORD])[..]
    } else {
        &mut large.insert([E::default(); OWN + WORD])[..]
    };
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
fn by_bits<E>(words: &[u64], mut to: impl Iterator<Item = E>, mut put: impl FnMut(usize, E)) {
    for (w, &word) in words.iter().enumerate() {
        let mut bits = word;
        while bits != 0 {
            let Some(to) = to.next() else { return };
            put(w * WORD + bits.trailing_zeros() as usize, to);
            bits &= bits - 1;
        }
    }
}

/// The most hits that are written one by one.
pub(super) const FEW: usize = 32;

/// Writes the hits of words, whose first element has the index `first` and of which `x` gives any, to places enough.
#[inline(always)]
pub(super) fn store_sparse<T: Float>(
    words: &[u64],
    first: usize,
    mut x: impl FnMut(usize) -> T,
    to: &mut Places<'_, T>,
) {
    macro_rules! put {
        ($places:expr; $i:ident $to:pat => $put:expr) => {
            by_bits(
                words,
                $places,
                #[inline(always)]
                |$i, $to| $put,
            )
        };
    }
    match (&mut to.positions, &mut to.values) {
        (Positions::None, None) => {}
        (Positions::None, Some(values)) => put!(values.iter_mut(); i value => *value = x(i)),
        (Positions::U32(to), None) => put!(to.iter_mut(); i to => *to = (first + i) as u32),
        (Positions::U64(to), None) => put!(to.iter_mut(); i to => *to = (first + i) as u64),
        (Positions::U32(to), Some(values)) => put!(to.iter_mut().zip(values.iter_mut()); i (to, value) =>
            (*to, *value) = ((first + i) as u32, x(i))),
        (Positions::U64(to), Some(values)) => put!(to.iter_mut().zip(values.iter_mut()); i (to, value) =>
            (*to, *value) = ((first + i) as u64, x(i))),
    }
}

/// [`store_sparse`] of the elements of `x`, in whose places zeros are left.
pub(super) fn take_few<T: Float>(level: Level, words: &[u64], first: usize, x: &mut [T], to: Places<'_, T>) {
    T::dispatch(level, TakeFew { words, first, x, to });
}

struct TakeFew<'a, T> {
    words: &'a [u64],
    first: usize,
    x: &'a mut [T],
    to: Places<'a, T>,
}

impl<T: Float> Kernel<T> for TakeFew<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, _: S) {
        let TakeFew { words, first, x, mut to } = self;
        store_sparse(
            words,
            first,
            #[inline(always)]
            |i| std::mem::replace(&mut x[i], T::ZERO),
            &mut to,
        );
    }
}

/// Writes the hits of dense elements, the first of which has the index `first`, to the front of `to`, which has
/// places enough, and says how many they are; of a test that has a [`miss`](Test::miss).
pub(super) fn select<T: Float>(
    level: Level,
    test: &Test<T>,
    x: &[T],
    first: usize,
    to: Places<'_, T>,
) -> usize {
    T::dispatch(level, Select { test, x, first, to })
}

struct Select<'a, T> {
    test: &'a Test<T>,
    x: &'a [T],
    first: usize,
    to: Places<'a, T>,
}

impl<T: Float> Kernel<T> for Select<'_, T> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> usize {
        let Select { test, x, first, mut to } = self;
        let comparison = Comparison::new(s, test);
        if let (Some(_), false, (head, tail)) =
            (&to.values, matches!(to.positions, Positions::None), x.split_at(x.len().min(WORD)))
            && tail.len() <= WORD
        {
            // A few pairs are written one by one: places of our own for both parts take longer to fill with zeros.
            let words = [comparison.short_word(s, head), comparison.short_word(s, tail)];
            let hits = (words[0].count_ones() + words[1].count_ones()) as usize;
            if hits <= 2 * FEW {
                store_sparse(
                    &words,
                    first,
                    #[inline(always)]
                    |i| x[i],
                    &mut to,
                );
                return hits;
            }
        }
        let groups = T::blocks(x).0.as_chunks().0;
        let part = &x[groups.len() * VECTORS * T::LANES..];
        let mut rest = [[T::Block::default(); VECTORS]];
        let v = load_part(s, part, test.miss().unwrap_or(T::NAN));
        for (v, to) in v.into_iter().zip(&mut rest[0]) {
            s.store(v, to);
        }
        let rest = if part.is_empty() { &[] } else { &rest[..] };
        let dense = Dense { s, test, comparison, groups, rest };
        let nothing = &mut vec![(); to.len][..];
        macro_rules! fill {
            ($a:expr, $b:expr; $group:ident $at:ident $to_a:ident $to_b:ident: $put:expr) => {
                dense.fill(
                    $a,
                    $b,
                    #[inline(always)]
                    |$group, $at, $to_a, $to_b| $put,
                )
            };
        }
        match (to.positions, to.values) {
            (Positions::None, None) => 0,
            (Positions::None, Some(values)) => {
                fill!(values, nothing; x _at to _no: s.compress_4(x.bits, x.m, x.v, x.from, to))
            }
            (Positions::U32(positions), None) => fill!(positions, nothing; x at to _no:
                s.positions_32_of_4(x.bits, x.m, first.wrapping_add(at) as u32, to)),
            (Positions::U64(positions), None) => fill!(positions, nothing; x at to _no:
                s.positions_64_of_4(x.bits, x.m, (first + at) as u64, to)),
            (Positions::U32(positions), Some(values)) => fill!(positions, values; x at to to_values: {
                s.positions_32_of_4(x.bits, x.m, first.wrapping_add(at) as u32, to);
                s.compress_4(x.bits, x.m, x.v, x.from, to_values);
            }),
            (Positions::U64(positions), Some(values)) => fill!(positions, values; x at to to_values: {
                s.positions_64_of_4(x.bits, x.m, (first + at) as u64, to);
                s.compress_4(x.bits, x.m, x.v, x.from, to_values);
            }),
        }
    }
}

/// Four vectors, and which of their lanes are hits.
struct Group<'a, T: Float, S: Simd<T>> {
    from: &'a [T::Block; VECTORS],
    v: [S::V; VECTORS],
    m: [S::M; VECTORS],
    bits: u64,
}

/// The elements of which the end is looked at before most are written, so that it is still in a cache then.
const STRETCH: usize = 64 << 10;
/// The hits from which on a stretch's end is looked at.
const STAGED: usize = 16;
/// The places of our own: for those hits, and a word's for whatever the last of them is written with.
const STAGE: usize = STAGED + WORD - 1;

/// Elements under a comparison. A copy of it stays in registers.
struct Dense<'a, T: Float, S: Simd<T>> {
    s: S,
    test: &'a Test<T>,
    comparison: Comparison<S::V>,
    /// Whole groups, and the rest with elements after it that are no hits; none where there is no rest.
    groups: &'a [[T::Block; VECTORS]],
    rest: &'a [[T::Block; VECTORS]],
}

#[inline(always)]
fn look<T: Float, S: Simd<T>>(
    s: S,
    comparison: Comparison<S::V>,
    from: &[T::Block; VECTORS],
) -> Group<'_, T, S> {
    let v = load_4(s, from);
    let m = comparison.of_4(s, v);
    Group { from, v, m, bits: s.bits_of_4(m) }
}

impl<T: Float, S: Simd<T>> Dense<'_, T, S> {
    /// Calls `put` for each group with the number of its first element, and places in `a` and `b`, which it
    /// fills from the front on; says how many hits there are. Nothing but the hits' places is written.
    ///
    /// Whole vectors are stored, which write a few places after the hits. Where later hits are sure to overwrite
    /// those they are stored at once: before a stretch's end, which has as many hits as a vector has lanes. The
    /// first hits, before that end is looked for, and the end itself are staged in places of our own.
    #[inline(always)]
    fn fill<A: Copy + Default, B: Copy + Default>(
        &self,
        a: &mut [A],
        b: &mut [B],
        put: impl Fn(Group<'_, T, S>, usize, &mut [A; WORD], &mut [B; WORD]),
    ) -> usize {
        let Dense { s, test, comparison, .. } = *self;
        let (mut own_a, mut own_b) = ([A::default(); STAGE], [B::default(); STAGE]);
        let (mut hits, mut staged) = (0, 0);
        // The groups that come next, the number of the first, and how many of a stretch's are left.
        let (mut groups, mut i) = (self.groups, 0);
        let (mut left, mut sure, mut has_looked) = (0, 0, false);
        loop {
            if groups.is_empty() {
                if i > self.groups.len() || self.rest.is_empty() {
                    break;
                }
                groups = self.rest;
                (left, sure, has_looked) = (1, 0, true);
            } else if left == 0 {
                left = groups.len().min(STRETCH / (VECTORS * T::LANES));
                has_looked = false;
            }
            let is_sure = sure > 0;
            if is_sure || staged >= STAGED {
                a[hits..hits + staged].copy_from_slice(&own_a[..staged]);
                b[hits..hits + staged].copy_from_slice(&own_b[..staged]);
                (hits, staged) = (hits + staged, 0);
            }
            let (now, to_a, to_b) = if is_sure {
                (&groups[..sure], &mut a[hits..], &mut b[hits..])
            } else {
                (&groups[..left], &mut own_a[..], &mut own_b[..])
            };
            let room = to_a.len().min(to_b.len());
            let (to_a, to_b) = (&mut to_a[..room], &mut to_b[..room]);
            let (mut k, mut done) = (staged, 0);
            // The only place where operations are called from, so that they are sure to be inlined.
            for group in now {
                let places = (first_chunk(to_a, k), first_chunk(to_b, k));
                let (Some(to_a), Some(to_b)) = places else { break };
                let group = look(s, comparison, group);
                let n = group.bits.count_ones() as usize;
                put(group, (i + done) * VECTORS * T::LANES, to_a, to_b);
                (k, done) = (k + n, done + 1);
            }
            (groups, i, left) = (&groups[done..], i + done, left - done);
            if is_sure {
                (hits, sure) = (hits + k, 0);
            } else {
                staged = k;
                if !has_looked && left > 0 {
                    (sure, has_looked) = (s.outlined(BeforeEnd { test, groups: &groups[..left] }), true);
                }
            }
        }
        a[hits..hits + staged].copy_from_slice(&own_a[..staged]);
        b[hits..hits + staged].copy_from_slice(&own_b[..staged]);
        hits + staged
    }
}

/// How many of these groups come before their shortest end that has as many hits as a vector has lanes; none if all
/// have not as many.
struct BeforeEnd<'a, T: Float> {
    test: &'a Test<T>,
    groups: &'a [[T::Block; VECTORS]],
}

impl<T: Float> Kernel<T> for BeforeEnd<'_, T> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> usize {
        let (comparison, mut i, mut hits) = (Comparison::new(s, self.test), self.groups.len(), 0);
        while i > 0 && hits < SLACK {
            i -= 1;
            hits += look(s, comparison, &self.groups[i]).bits.count_ones() as usize;
        }
        i
    }
}

/// 64 places from `k` on, if there are as many.
#[inline(always)]
fn first_chunk<E>(to: &mut [E], k: usize) -> Option<&mut [E; WORD]> {
    to.get_mut(k..)?.first_chunk_mut()
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
    by_bits(&[last], to_last.iter_mut(), |bit, to| *to = rest[bit]);
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

/// Overwrites the elements of `x` whose bits are set with zeros.
pub(super) fn clear<T: Float>(level: Level, words: &[u64], x: &mut [T]) {
    match *words {
        [word] if word.count_ones() < DENSE => clear_bits(word, x),
        _ => T::dispatch(level, Clear { words, x }),
    }
}

struct Clear<'a, T> {
    words: &'a [u64],
    x: &'a mut [T],
}

/// Bit i alone.
static BIT: [u32; 32] = {
    let mut table = [0; 32];
    let mut i = 0;
    while i < 32 {
        table[i] = 1 << i;
        i += 1;
    }
    table
};

/// The bits of a word from which on all its elements are written.
const DENSE: u32 = 16;

impl<T: Float> Kernel<T> for Clear<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, _: S) {
        let Clear { words, x } = self;
        let (groups, rest) = x.as_chunks_mut::<WORD>();
        let last = words.get(groups.len()).copied().unwrap_or(0);
        for (x, &word) in groups.iter_mut().zip(words) {
            if word.count_ones() < DENSE {
                clear_bits(word, x);
                continue;
            }
            // The inner loop becomes vectors.
            for (x, part) in x.as_chunks_mut::<32>().0.iter_mut().zip([word as u32, (word >> 32) as u32]) {
                for (x, bit) in x.iter_mut().zip(&BIT) {
                    *x = if part & bit != 0 { T::ZERO } else { *x };
                }
            }
        }
        clear_bits(last, rest);
    }
}

#[inline(always)]
fn clear_bits<T: Float>(mut bits: u64, x: &mut [T]) {
    while bits != 0 {
        x[bits.trailing_zeros() as usize] = T::ZERO;
        bits &= bits - 1;
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

/// [`add`] and then [`compare`], in one pass; of a test that has a [`miss`](Test::miss).
pub(super) fn add_compare<T: Float>(
    level: Level,
    test: &Test<T>,
    a: &mut [T],
    b: &[T],
    words: &mut [u64],
) -> usize {
    T::dispatch(level, AddCompare { test, a, b, words })
}

struct AddCompare<'a, T> {
    test: &'a Test<T>,
    a: &'a mut [T],
    b: &'a [T],
    words: &'a mut [u64],
}

impl<T: Float> Kernel<T> for AddCompare<'_, T> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> usize {
        let comparison = Comparison::new(s, self.test);
        let (a, a_rest) = self.a.as_chunks_mut::<WORD>();
        let (b, b_rest) = self.b.as_chunks::<WORD>();
        let (words, last) = self.words.split_at_mut(a.len());
        let mut hits = 0;
        for ((a, b), to) in a.iter_mut().zip(b).zip(words) {
            let (a, b) = (T::blocks_mut(a).0.as_chunks_mut().0, T::blocks(b).0.as_chunks().0);
            let mut bits = 0;
            for (i, (a, b)) in a.iter_mut().zip(b).enumerate() {
                let (v, w) = (load_4(s, a), load_4(s, b));
                let v = [s.add(v[0], w[0]), s.add(v[1], w[1]), s.add(v[2], w[2]), s.add(v[3], w[3])];
                for (v, a) in v.into_iter().zip(a.iter_mut()) {
                    s.store(v, a);
                }
                bits |= s.bits_of_4(comparison.of_4(s, v)) << (i * VECTORS * T::LANES % WORD);
            }
            *to = bits;
            hits += to.count_ones() as usize;
        }
        if let (false, Some(to)) = (a_rest.is_empty(), last.first_mut()) {
            let mut bits = 0;
            let parts = a_rest.chunks_mut(T::LANES).zip(b_rest.chunks(T::LANES));
            for (i, (a, b)) in parts.enumerate() {
                let v = s.add(load_first(s, a), load_first(s, b));
                match T::first_block(a) {
                    Some(a) => s.store(v, a),
                    None => s.store_up_to(v, a),
                }
                let m = comparison.of_4(s, [v; VECTORS]); // four times the same: one comparison
                bits |= u64::from(s.bits(m[0])) << (i * T::LANES);
            }
            *to = bits; // of NaN after the last element: no hits
            hits += to.count_ones() as usize;
        }
        hits
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
        let (groups, rest) = self.from.as_chunks::<WORD>();
        let mut hits = 0;
        for (to, group) in self.words.iter_mut().zip(groups) {
            *to = s.pack(group);
            hits += to.count_ones() as usize;
        }
        if let (false, Some(to)) = (rest.is_empty(), self.words.get_mut(groups.len())) {
            *to = pack_few(rest);
            hits += to.count_ones() as usize;
        }
        hits
    }
}

/// Writes each element's truth value under the test to `to`, which is as long.
pub(super) fn mask<T: Float>(level: Level, test: &Test<T>, x: &[T], to: &mut [bool]) {
    T::dispatch(level, Mask { test, x, to });
}

struct Mask<'a, T> {
    test: &'a Test<T>,
    x: &'a [T],
    to: &'a mut [bool],
}

impl<T: Float> Kernel<T> for Mask<'_, T> {
    type Output = ();
    /// The loops are the compiler's to make vectors of: bytes are stored as they come, and nothing is counted.
    #[inline(always)]
    fn run<S: Simd<T>>(self, _: S) {
        let Mask { test, x, to } = self;
        let (low, high) = (test.low, test.high);
        macro_rules! fill {
            ($x:ident: $holds:expr) => {
                for (to, &$x) in to.iter_mut().zip(x) {
                    *to = $holds;
                }
            };
        }
        match test.kind {
            Kind::Gt => fill!(x: x > low),
            Kind::Ge => fill!(x: x >= low),
            Kind::Lt => fill!(x: x < high),
            Kind::Le => fill!(x: x <= high),
            Kind::Between => fill!(x: (low <= x) & (x <= high)),
            Kind::AbsGt => fill!(x: x.abs() > low),
            Kind::AbsGe => fill!(x: x.abs() >= low),
            Kind::AbsBetween => fill!(x: (low <= x.abs()) & (x.abs() <= high)),
            Kind::Ne => fill!(x: x != low),
        }
        if test.is_inverted {
            to.iter_mut().for_each(|to| *to = !*to);
        }
        if test.or_nan {
            for (to, &x) in to.iter_mut().zip(x) {
                *to |= x.is_nan();
            }
        }
    }
}
