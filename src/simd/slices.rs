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

/// Folds the vectors of `xs` into `N` accumulators in turn.
#[inline(always)]
pub(crate) fn fold<T: Float, S: Simd<T>, const N: usize>(
    s: S,
    xs: &[T],
    pad: T,
    start: S::V,
    f: impl Fn(S::V, S::V) -> S::V,
) -> [S::V; N] {
    let mut sums = [start; N];
    let (blocks, rest) = T::blocks(xs);
    let (groups, single) = blocks.as_chunks::<N>();
    for group in groups {
        for (sum, block) in sums.iter_mut().zip(group) {
            *sum = f(*sum, s.load(block));
        }
    }
    for (sum, block) in sums.iter_mut().zip(single) {
        *sum = f(*sum, s.load(block));
    }
    if !rest.is_empty() {
        let k = single.len();
        sums[k] = f(sums[k], s.load(&padded(rest, pad)));
    }
    sums
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
pub(crate) fn join_lanes<T: Float, S: Simd<T>>(s: S, v: S::V, f: impl Fn(T, T) -> T) -> T {
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
