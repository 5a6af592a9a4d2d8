//! Walks over slices: whole vectors, then the remainder as one vector padded with the operation's identity. The only
//! place that knows of remainders.

use super::{Float, Simd};

/// The remainder of a slice, as a block that continues with `pad`.
#[inline(always)]
fn padded<T: Float>(rest: &[T], pad: T) -> T::Block {
    let mut block = T::Block::default();
    for (k, x) in block.as_mut().iter_mut().enumerate() {
        *x = if k < rest.len() { rest[k] } else { pad };
    }
    block
}

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
        b = f(b, s.load(&padded(rest, pad)));
    }
    f(f(a, b), f(c, d))
}

/// Copies `xs` to `to`, which is as long, and folds its vectors on the way, as `fold` does.
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
    let (to_blocks, to_rest) = T::blocks_mut(to);
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
    if !rest.is_empty() {
        b = f(b, s.load(&padded(rest, pad)));
        to_rest.copy_from_slice(rest);
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
        let mut block = padded(rest, pad);
        s.store(f(s.load(&block)), &mut block);
        rest.copy_from_slice(&block.as_ref()[..rest.len()]);
    }
}

/// Hands each vector of `xs` to `f`.
#[inline(always)]
pub(crate) fn each<T: Float, S: Simd<T>>(s: S, xs: &[T], pad: T, mut f: impl FnMut(S::V)) {
    let (blocks, rest) = T::blocks(xs);
    for block in blocks {
        f(s.load(block));
    }
    if !rest.is_empty() {
        f(s.load(&padded(rest, pad)));
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
        let mut block = padded(rest, pad);
        s.store(f(s.load(&block), s.load(&padded(other_rest, pad))), &mut block);
        rest.copy_from_slice(&block.as_ref()[..rest.len()]);
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
