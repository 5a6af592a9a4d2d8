//! Loops over slices: whole vectors, then the remainder as one vector padded with the operation's identity. Kernels
//! whose loops have another form (`by_class`, the words of selection) use `load_up_to` and `store_up_to` for theirs.

use super::{Float, Simd, Streaming};

/// The largest and the least element, or vectors that have them in some lane.
#[derive(Clone, Copy)]
pub(crate) struct Bounds<V> {
    pub(crate) max: V,
    pub(crate) min: V,
}

impl<V: Copy> Bounds<V> {
    #[inline(always)]
    fn empty<T: Float, S: Simd<T, V = V>>(s: S) -> Self {
        Bounds { max: s.splat(T::NEG_INFINITY), min: s.splat(T::INFINITY) }
    }

    #[inline(always)]
    fn and<T: Float, S: Simd<T, V = V>>(self, s: S, x: &T::Block) -> Self {
        let x = s.load(x);
        Bounds { max: s.max_so_far(self.max, x), min: s.min_so_far(self.min, x) }
    }

    /// Those of all lanes; unspecified where one is NaN.
    #[inline(always)]
    pub(crate) fn of_all<T: Float, S: Simd<T, V = V>>(self, s: S) -> Bounds<T> {
        let negative = s.sub(s.splat(T::ZERO), self.min);
        Bounds { max: s.max_lanes(self.max), min: -s.max_lanes(negative) }
    }

    /// Those of both.
    #[inline(always)]
    pub(crate) fn join<T: Float, S: Simd<T, V = V>>(self, s: S, other: Self) -> Self {
        Bounds { max: s.max(self.max, other.max), min: s.min(self.min, other.min) }
    }

    /// Of `xs`; unspecified where one is NaN.
    #[inline(always)]
    pub(crate) fn of<T: Float, S: Simd<T, V = V>>(s: S, xs: &[T]) -> Self {
        let start = Bounds::empty(s);
        let (mut a, mut b, mut c, mut d) = (start, start, start, start);
        let (blocks, rest) = T::blocks(xs);
        let (groups, single) = blocks.as_chunks();
        for [at_a, at_b, at_c, at_d] in groups {
            (a, b, c, d) = (a.and(s, at_a), b.and(s, at_b), c.and(s, at_c), d.and(s, at_d));
        }
        for block in single {
            a = a.and(s, block);
        }
        if let Some(&first) = rest.first() {
            let x = s.load_up_to(rest, first);
            b = b.join(s, Bounds { max: x, min: x });
        }
        a.join(s, b).join(s, c.join(s, d))
    }
}

/// The first elements, as many as a vector has; zeros for those that are missing.
#[inline(always)]
pub(crate) fn take<T: Float, S: Simd<T>>(s: S, from: &[T]) -> S::V {
    T::blocks(from).0.first().map_or_else(
        #[inline(always)]
        || s.load_up_to(from, T::ZERO),
        #[inline(always)]
        |block| s.load(block),
    )
}

/// A vector in memory.
#[inline(always)]
pub(crate) fn stored<T: Float, S: Simd<T>>(s: S, v: S::V) -> T::Block {
    let mut block = T::Block::default();
    s.store(v, &mut block);
    block
}

/// What [`map_and_sum`] reads and writes.
pub(crate) struct Mapped<'a, T> {
    /// What is mapped; `None` for `to` itself.
    pub(crate) xs: Option<&'a [T]>,
    pub(crate) to: &'a mut [T],
    /// What is read in the same loop, so that memory has something to do.
    pub(crate) next: &'a [T],
    /// The element that counts as `pad`, if there is one.
    pub(crate) hole: Option<usize>,
    pub(crate) pad: T,
}

/// Writes `f` of each vector of `xs` to `to`, which is as long, and adds them up; finds the bounds of `next`.
/// What the last vector lacks counts as `pad`; a vector with that or with the hole goes to `f_of_pad`.
/// `before_store` is called with `to` before each of its whole vectors is overwritten.
#[inline(always)]
pub(crate) fn map_and_sum<T: Float, S: Simd<T>>(
    s: S,
    mapped: Mapped<'_, T>,
    f: impl Fn(S::V) -> S::V,
    f_of_pad: impl Fn(S::V) -> S::V,
    mut before_store: impl FnMut(&[T]),
) -> (S::V, Bounds<S::V>) {
    let Mapped { xs, to, next, hole, pad } = mapped;
    let xs = xs.map(T::blocks);
    let ((next, next_rest), len) = (T::blocks(next), T::blocks(to).0.len());
    let (mut sum, mut bounds, mut unread) = (s.splat(T::ZERO), Bounds::empty(s), next.iter());
    macro_rules! step {
        ($f:ident of $x:expr, $at:expr) => {
            let y = $f($x);
            sum = s.add(sum, y);
            before_store(to);
            s.store(y, &mut T::blocks_mut(to).0[$at]);
            if let Some(next) = unread.next() {
                bounds = bounds.and(s, next);
            }
        };
    }
    // By a mask: a number written into a vector in memory would make the vector's load wait until all stores
    // before, the misses among them, have reached the cache.
    macro_rules! with_hole {
        ($x:expr, $first:expr) => {{
            let lane = hole.map_or(T::LANES, |hole| hole.wrapping_sub($first).min(T::LANES));
            let here = s.eq(s.load(&T::LANE_NUMBERS), s.splat(T::from_f64(lane as f64)));
            s.select(here, s.splat(pad), $x)
        }};
    }
    let mut from = 0;
    for end in [hole.map_or(len, |hole| (hole / T::LANES).min(len)), len] {
        match xs {
            Some((xs, _)) => {
                for (at, x) in (from..end).zip(&xs[from..end]) {
                    step!(f of s.load(x), at);
                }
            }
            None => {
                for at in from..end {
                    step!(f of s.load(&T::blocks(to).0[at]), at);
                }
            }
        }
        from = end;
        if end < len {
            let x = s.load(xs.map_or(&T::blocks(to).0[end], |(xs, _)| &xs[end]));
            step!(f_of_pad of with_hole!(x, end * T::LANES), end);
            from += 1;
        }
    }
    let to_rest = T::blocks_mut(to).1;
    if !to_rest.is_empty() {
        let x = s.load_up_to(xs.map_or(&*to_rest, |(_, rest)| rest), pad);
        let y = f_of_pad(with_hole!(x, len * T::LANES));
        sum = s.add(sum, y);
        s.store_up_to(y, to_rest);
    }
    for next in unread {
        bounds = bounds.and(s, next);
    }
    (sum, bounds.join(s, Bounds::of(s, next_rest)))
}

/// Overwrites each vector of `xs` with `f` of it.
#[inline(always)]
pub(crate) fn map<T: Float, S: Simd<T>>(s: S, xs: &mut [T], pad: T, mut f: impl FnMut(S::V) -> S::V) {
    let (blocks, rest) = T::blocks_mut(xs);
    for block in blocks {
        s.store(f(s.load(block)), block);
    }
    if !rest.is_empty() {
        s.store_up_to(f(s.load_up_to(rest, pad)), rest);
    }
}

/// Whether `f` holds for one of `xs`; never for NaN.
#[inline(always)]
pub(crate) fn any<T: Float, S: Simd<T>>(s: S, xs: &[T], f: impl Fn(S::V) -> S::M) -> bool {
    let (blocks, rest) = T::blocks(xs);
    for block in blocks {
        if s.bits(f(s.load(block))) != 0 {
            return true;
        }
    }
    !rest.is_empty() && s.bits(f(s.load_up_to(rest, T::NAN))) != 0
}

/// Writes `f` of each vector of `xs` to `to`, which is as long.
#[inline(always)]
pub(crate) fn map_to<T: Float, S: Simd<T>>(s: S, xs: &[T], to: &mut [T], f: impl Fn(S::V) -> S::V) {
    let ((xs, xs_rest), (to, to_rest)) = (T::blocks(xs), T::blocks_mut(to));
    for (x, to) in xs.iter().zip(to) {
        s.store(f(s.load(x)), to);
    }
    if !to_rest.is_empty() {
        s.store_up_to(f(s.load_up_to(xs_rest, T::ZERO)), to_rest);
    }
}

/// Writes `f` of each vector of `xs` to `to`, which is at most as long, by non-temporal stores.
#[inline(always)]
pub(crate) fn map_streaming<T: Float, S: Simd<T>>(
    s: S,
    xs: &[T],
    to: &mut [T],
    streaming: &Streaming,
    mut f: impl FnMut(S::V) -> S::V,
) {
    let mut lines = Lines::begin(
        s,
        xs,
        to,
        #[inline(always)]
        |x, _| f(x),
    );
    while lines.step(
        s,
        xs,
        streaming,
        #[inline(always)]
        |x, _| f(x),
    ) {}
}

/// Overwrites a slice with zeros, as [`map_streaming`] writes.
#[inline(always)]
pub(crate) fn clear_streaming<T: Float, S: Simd<T>>(s: S, to: &mut [T], streaming: &Streaming) {
    let whole = to.as_ptr().align_offset(64).min(to.len());
    let (head, to) = to.split_at_mut(whole);
    let (blocks, rest) = T::blocks_mut(to);
    head.fill(T::ZERO);
    rest.fill(T::ZERO);
    for block in blocks {
        s.stream(s.splat(T::ZERO), block, streaming);
    }
}

/// [`map_streaming`] line by line; `f` is also told where in the slice the vector begins.
pub(crate) struct Lines<'a, T: Float> {
    /// The element that comes next.
    at: usize,
    to: std::slice::IterMut<'a, T::Block>,
}

impl<'a, T: Float> Lines<'a, T> {
    /// Writes what is no whole line: there is no streaming half of one.
    #[inline(always)]
    pub(crate) fn begin<S: Simd<T>>(
        s: S,
        xs: &[T],
        to: &'a mut [T],
        mut f: impl FnMut(S::V, usize) -> S::V,
    ) -> Self {
        let xs = &xs[..to.len()];
        // The same slice of the next row, if rows are dense, may end inside a line that must be fetched first.
        let end = to.as_ptr().wrapping_add(2 * to.len());
        if !end.addr().is_multiple_of(64) {
            s.prefetch_after(end, 0);
        }
        let at = to.as_ptr().align_offset(64).min(to.len());
        let ((xs_head, xs), (to_head, to)) = (xs.split_at(at), to.split_at_mut(at));
        let end = at + xs.len() / T::LANES * T::LANES;
        let (rest, (to_blocks, to_rest)) = (T::blocks(xs).1, T::blocks_mut(to));
        for (xs, to, at) in [(xs_head, to_head, 0), (rest, to_rest, end)] {
            // A masked store of nothing would still claim the line that it points to: three times slower.
            if !to.is_empty() {
                s.store_up_to(f(s.load_up_to(xs, T::ZERO), at), to);
            }
        }
        Lines { at, to: to_blocks.iter_mut() }
    }

    /// Writes the next line, from the same `xs`; says whether there was one. What comes before that line in
    /// `xs` is no longer needed.
    #[inline(always)]
    pub(crate) fn step<S: Simd<T>>(
        &mut self,
        s: S,
        xs: &[T],
        streaming: &Streaming,
        mut f: impl FnMut(S::V, usize) -> S::V,
    ) -> bool {
        let Some(to) = self.to.next() else { return false };
        let Some(x) = T::blocks(&xs[self.at..]).0.first() else { return false };
        s.stream(f(s.load(x), self.at), to, streaming);
        self.at += T::LANES;
        true
    }
}

/// Folds each vector of `xs` into one of four results, in turn, so that none waits for the one before; then
/// the first with the second, the third with the fourth and both by `join`.
#[inline(always)]
pub(crate) fn fold_in_turn<T: Float, S: Simd<T>>(
    s: S,
    xs: &[T],
    ys: &[T],
    pads: [T; 2],
    f: impl Fn(S::V, S::V, S::V) -> S::V,
    join: impl Fn(S::V, S::V) -> S::V,
) -> S::V {
    let zero = s.splat(T::ZERO);
    let (mut a, mut b, mut c, mut d) = (zero, zero, zero, zero);
    let ((xs, x_rest), (ys, y_rest)) = (T::blocks(xs), T::blocks(ys));
    let ((xs, x_single), (ys, y_single)) = (xs.as_chunks(), ys.as_chunks());
    for ([xa, xb, xc, xd], [ya, yb, yc, yd]) in xs.iter().zip(ys) {
        a = f(a, s.load(xa), s.load(ya));
        b = f(b, s.load(xb), s.load(yb));
        c = f(c, s.load(xc), s.load(yc));
        d = f(d, s.load(xd), s.load(yd));
    }
    let mut results = [a, b, c, d];
    for (result, (x, y)) in results.iter_mut().zip(x_single.iter().zip(y_single)) {
        *result = f(*result, s.load(x), s.load(y));
    }
    if !x_rest.is_empty() {
        let result = &mut results[x_single.len()];
        *result = f(*result, s.load_up_to(x_rest, pads[0]), s.load_up_to(y_rest, pads[1]));
    }
    let [a, b, c, d] = results;
    join(join(a, b), join(c, d))
}

/// Hands each vector of `xs` to `f`.
#[inline(always)]
pub(crate) fn each<T: Float, S: Simd<T>>(s: S, xs: &[T], pad: T, mut f: impl FnMut(S::V)) {
    let (blocks, rest) = T::blocks(xs);
    for block in blocks {
        f(s.load(block));
    }
    if !rest.is_empty() {
        f(s.load_up_to(rest, pad));
    }
}

/// Writes `f` of each pair of vectors of `xs` and `ys` over the one of `xs`; `ys` is as long as `xs`.
#[inline(always)]
pub(crate) fn map_with<T: Float, S: Simd<T>>(
    s: S,
    xs: &mut [T],
    ys: &[T],
    pad: T,
    mut f: impl FnMut(S::V, S::V) -> S::V,
) {
    let (blocks, rest) = T::blocks_mut(xs);
    let (other_blocks, other_rest) = T::blocks(ys);
    for (block, other) in blocks.iter_mut().zip(other_blocks) {
        s.store(f(s.load(block), s.load(other)), block);
    }
    if !rest.is_empty() {
        s.store_up_to(f(s.load_up_to(rest, pad), s.load_up_to(other_rest, pad)), rest);
    }
}

/// One value from a vector's lanes, joined by halves: lane i with lane i + 8, then i + 4, i + 2, i + 1.
#[inline(always)]
pub(super) fn join_lanes<T: Float, S: Simd<T>>(s: S, v: S::V, f: impl Fn(T, T) -> T) -> T {
    let mut block = T::Block::default();
    s.store(v, &mut block);
    let lanes = block.as_mut();
    let mut width = T::LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = f(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// [`Simd::columns`], element by element.
#[inline(always)]
pub(super) fn columns<T: Float>(rows: &[T], width: usize, count: usize, to: &mut [T::Block]) {
    for (i, block) in to.iter_mut().enumerate() {
        // The first row in all lanes, of which a vector can be loaded at once where there is no other.
        block.as_mut().fill(rows[i]);
        for (j, x) in block.as_mut()[..count].iter_mut().enumerate().skip(1) {
            *x = rows[j * width + i];
        }
    }
}

/// [`Simd::rows`], element by element.
#[inline(always)]
pub(super) fn rows<T: Float>(columns: &[T::Block], to: &mut [T], width: usize, count: usize) {
    for (i, block) in columns.iter().enumerate() {
        for (j, &x) in block.as_ref()[..count].iter().enumerate() {
            to[j * width + i] = x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, Level};

    /// The first `columns` elements of `count` rows, `width` apart.
    struct Squares {
        width: usize,
        columns: usize,
        count: usize,
    }

    impl<T: Float> Kernel<T> for Squares {
        type Output = ();
        fn run<S: Simd<T>>(self, s: S) {
            let Squares { width, columns: all, count } = self;
            let number = |i: usize| T::from_f64(i as f64);
            let len = (count - 1) * width + all;
            let rows: Vec<T> = (0..len).map(number).collect();
            let mut columns = vec![T::Block::default(); all];
            s.columns(&rows, width, count, &mut columns);
            for (i, column) in columns.iter().enumerate() {
                let expected: Vec<T> = (0..count).map(|row| number(row * width + i)).collect();
                assert_eq!(
                    column.as_ref()[..count],
                    expected,
                    "column {i} of {all}, {count} rows {width} apart"
                );
            }
            let untouched = -T::ONE;
            let mut to = vec![untouched; len];
            s.rows(&columns, &mut to, width, count);
            for (at, &x) in to.iter().enumerate() {
                let is_ours = width == 0 || at % width < all;
                let expected = if is_ours { rows[at] } else { untouched };
                assert_eq!(x, expected, "{at} of {all}, {count} rows {width} apart");
            }
        }
    }

    #[test]
    fn tiles_are_read_and_written_and_nothing_beside() {
        for &level in Level::available() {
            for (width, count) in (1..40).flat_map(|width| (1..=16).map(move |count| (width, count))) {
                for columns in 0..=width.min(16) {
                    f32::dispatch(level, Squares { width, columns, count });
                    if columns <= 8 && count <= 8 {
                        f64::dispatch(level, Squares { width, columns, count });
                    }
                }
            }
        }
    }
}
