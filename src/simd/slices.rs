//! Walks over slices: whole vectors, then the remainder as one vector padded with the operation's identity. The only
//! place that knows of remainders.

use super::{Float, Simd};

/// Folds the vectors of `xs` into one by `f`, in no particular order: it keeps four results at a time.
#[inline(always)]
pub(crate) fn fold<T: Float, S: Simd<T>>(s: S, xs: &[T], pad: T, f: impl Fn(S::V, S::V) -> S::V) -> S::V {
    let start = s.splat(pad);
    let (mut a, mut b, mut c, mut d) = (start, start, start, start);
    let (blocks, rest) = T::blocks(xs);
    let (groups, single) = blocks.as_chunks();
    for [at_a, at_b, at_c, at_d] in groups {
        (a, b) = (f(a, s.load(at_a)), f(b, s.load(at_b)));
        (c, d) = (f(c, s.load(at_c)), f(d, s.load(at_d)));
    }
    for block in single {
        a = f(a, s.load(block));
    }
    if !rest.is_empty() {
        b = f(b, s.load_up_to(rest, pad));
    }
    f(f(a, b), f(c, d))
}

/// Copies `xs` to `to`, which has whole vectors for it, the last of them filled up with `pad`; folds its vectors on the
/// way, as `fold` does.
#[inline(always)]
pub(crate) fn copy_and_fold<T: Float, S: Simd<T>>(
    s: S,
    xs: &[T],
    to: &mut [T],
    pad: T,
    f: impl Fn(S::V, S::V) -> S::V,
) -> S::V {
    let start = s.splat(pad);
    let (mut a, mut b, mut c, mut d) = (start, start, start, start);
    let (blocks, rest) = T::blocks(xs);
    let (to_blocks, to_last) =
        T::blocks_mut(to).0.split_at_mut_checked(blocks.len()).expect("room for whole vectors");
    let (groups, single) = blocks.as_chunks();
    let (to_groups, to_single) = to_blocks.as_chunks_mut();
    for ([at_a, at_b, at_c, at_d], [to_a, to_b, to_c, to_d]) in groups.iter().zip(to_groups) {
        let (x, y, z, w) = (s.load(at_a), s.load(at_b), s.load(at_c), s.load(at_d));
        s.store(x, to_a);
        s.store(y, to_b);
        s.store(z, to_c);
        s.store(w, to_d);
        (a, b, c, d) = (f(a, x), f(b, y), f(c, z), f(d, w));
    }
    for (block, to) in single.iter().zip(to_single) {
        let x = s.load(block);
        s.store(x, to);
        a = f(a, x);
    }
    if let Some(to) = to_last.first_mut() {
        let x = s.load_up_to(rest, pad);
        s.store(x, to);
        b = f(b, x);
    }
    f(f(a, b), f(c, d))
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

/// [`map`] of whole vectors, asking for memory meanwhile: for each vector, for the lines of as many bytes at each of
/// `ahead`, which may be anything.
#[inline(always)]
pub(crate) fn map_and_prefetch<T: Float, S: Simd<T>>(
    s: S,
    xs: &mut [T],
    ahead: [*const T; 2],
    mut f: impl FnMut(S::V) -> S::V,
) {
    for (i, block) in T::blocks_mut(xs).0.iter_mut().enumerate() {
        s.prefetch_after(ahead[0], i * T::LANES);
        s.prefetch_after(ahead[1], i * T::LANES);
        s.store(f(s.load(block)), block);
    }
}

/// Writes `f` of each vector of `xs` to `to`, which is at most as long; with `past_caches`, without reading the lines of `to`
/// first: then [`Simd::fence`] must follow.
#[inline(always)]
pub(crate) fn map_to<T: Float, S: Simd<T>>(
    s: S,
    xs: &[T],
    to: &mut [T],
    past_caches: bool,
    mut f: impl FnMut(S::V) -> S::V,
) {
    // Whole lines: a store across two costs two, and there is no streaming half a line.
    let head = to.as_ptr().align_offset(64);
    let (mut xs, mut to) = (xs, to);
    if head != 0 && head < T::LANES && to.len() >= ALIGNED_FROM * T::LANES {
        let (to_head, to_rest) = to.split_at_mut(head);
        s.store_up_to(f(s.load_up_to(&xs[..head], T::ZERO)), to_head);
        (xs, to) = (&xs[head..], to_rest);
    }
    if past_caches {
        map_blocks(
            s,
            xs,
            to,
            &mut f,
            #[inline(always)]
            |v, to| s.stream(v, to),
        );
    } else {
        map_blocks(
            s,
            xs,
            to,
            &mut f,
            #[inline(always)]
            |v, to| s.store(v, to),
        );
    }
}

/// Vectors from which on it pays to begin at a cache line's start.
const ALIGNED_FROM: usize = 16;

/// [`map_to`], with `store` for whole vectors.
#[inline(always)]
fn map_blocks<T: Float, S: Simd<T>>(
    s: S,
    xs: &[T],
    to: &mut [T],
    f: &mut impl FnMut(S::V) -> S::V,
    store: impl Fn(S::V, &mut T::Block),
) {
    let xs = &xs[..to.len()];
    let (blocks, rest) = T::blocks(xs);
    let (to_blocks, to_rest) = T::blocks_mut(to);
    for (block, to) in blocks.iter().zip(to_blocks) {
        store(f(s.load(block)), to);
    }
    if !rest.is_empty() {
        s.store_up_to(f(s.load_up_to(rest, T::ZERO)), to_rest);
    }
}

/// Folds each vector of `xs` into one of four results, in turn, so that none waits for the one before; then the first with the
/// second, the third with the fourth and both by `join`.
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
