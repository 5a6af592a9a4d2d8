//! Selection, as plain loops.

use super::{collect, push};
use crate::array::{View, ViewMut, zeros};
use crate::error::{Error, Result};
use crate::select::{By, Mask, NanPolicy, Position, Predicate, TopK};
use crate::simd::Float;
use std::cmp::Ordering;

/// The elements in C order.
fn elements<'a, T: Float>(x: View<'a, T>) -> impl Iterator<Item = T> + 'a {
    let lanes = x.axis_slices(x.rank().saturating_sub(1));
    let slice_len = lanes.slice_len();
    (0..x.len()).map(move |i| lanes.slice(i / slice_len).get(i % slice_len))
}

/// The positions and values of the elements that satisfy `predicate`, in C order.
fn hits<T: Float, I: Position>(x: View<'_, T>, predicate: impl Predicate<T>) -> Result<Vec<(I, T)>> {
    fits::<I>(x.len())?;
    let mut hits = Vec::new();
    for (i, x) in elements(x).enumerate() {
        if predicate.holds(x) {
            push(&mut hits, (position(i)?, x))?;
        }
    }
    Ok(hits)
}

fn position<I: Position>(i: usize) -> Result<I> {
    I::from_usize(i).ok_or(Error::Count { len: i.saturating_add(1), index: I::NAME })
}

/// Whether the last of `len` positions is an `I`.
fn fits<I: Position>(len: usize) -> Result<()> {
    match I::from_usize(len.saturating_sub(1)) {
        Some(_) => Ok(()),
        None => Err(Error::Count { len, index: I::NAME }),
    }
}

fn room(needed: usize, room: usize) -> Result<()> {
    if needed <= room { Ok(()) } else { Err(Error::Room { needed, room }) }
}

/// As [`select::indices`](crate::select::indices).
pub fn indices<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    predicate: impl Predicate<T>,
) -> Result<Vec<I>> {
    collect(hits(x.into(), predicate)?.into_iter().map(|(i, _)| i))
}

/// As [`select::indices_into`](crate::select::indices_into).
pub fn indices_into<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    predicate: impl Predicate<T>,
    out: &mut [I],
) -> Result<usize> {
    let hits: Vec<I> = indices(x, predicate)?;
    room(hits.len(), out.len())?;
    out[..hits.len()].copy_from_slice(&hits);
    Ok(hits.len())
}

/// As [`select::values`](crate::select::values).
pub fn values<'a, T: Float>(x: impl Into<View<'a, T>>, predicate: impl Predicate<T>) -> Result<Vec<T>> {
    collect(elements(x.into()).filter(|&x| predicate.holds(x)))
}

/// As [`select::values_into`](crate::select::values_into).
pub fn values_into<'a, T: Float>(
    x: impl Into<View<'a, T>>,
    predicate: impl Predicate<T>,
    out: &mut [T],
) -> Result<usize> {
    let hits = values(x, predicate)?;
    room(hits.len(), out.len())?;
    out[..hits.len()].copy_from_slice(&hits);
    Ok(hits.len())
}

/// As [`select::pairs`](crate::select::pairs).
pub fn pairs<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    predicate: impl Predicate<T>,
) -> Result<(Vec<I>, Vec<T>)> {
    let hits = hits::<T, I>(x.into(), predicate)?;
    Ok((collect(hits.iter().map(|hit| hit.0))?, collect(hits.iter().map(|hit| hit.1))?))
}

/// As [`select::pairs_into`](crate::select::pairs_into).
pub fn pairs_into<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    predicate: impl Predicate<T>,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    let hits = hits(x.into(), predicate)?;
    room(hits.len(), indices.len().min(values.len()))?;
    for (k, &(i, x)) in hits.iter().enumerate() {
        indices[k] = i;
        values[k] = x;
    }
    Ok(hits.len())
}

/// As [`select::count`](crate::select::count).
pub fn count<'a, T: Float>(x: impl Into<View<'a, T>>, predicate: impl Predicate<T>) -> Result<usize> {
    Ok(elements(x.into()).filter(|&x| predicate.holds(x)).count())
}

/// As [`select::mask`](crate::select::mask).
pub fn mask<'a, T: Float>(x: impl Into<View<'a, T>>, predicate: impl Predicate<T>) -> Result<Vec<bool>> {
    let x = x.into();
    let mut mask = zeros(&[x.len()])?;
    mask_into(x, predicate, &mut mask)?;
    Ok(mask)
}

/// As [`select::mask_into`](crate::select::mask_into).
pub fn mask_into<'a, T: Float>(
    x: impl Into<View<'a, T>>,
    predicate: impl Predicate<T>,
    out: &mut [bool],
) -> Result<usize> {
    let x = x.into();
    room(x.len(), out.len())?;
    for (out, x) in out.iter_mut().zip(elements(x)) {
        *out = predicate.holds(x);
    }
    Ok(x.len())
}

/// As [`select::sparsify`](crate::select::sparsify).
pub fn sparsify<'r, T: Float, I: Position>(
    residual: impl Into<ViewMut<'r, T>>,
    predicate: impl Predicate<T>,
) -> Result<(Vec<I>, Vec<T>)> {
    let residual = residual.into();
    let answer = pairs(residual.as_view(), predicate)?;
    replace(residual, |x| if predicate.holds(x) { T::ZERO } else { x });
    Ok(answer)
}

/// As [`select::sparsify_into`](crate::select::sparsify_into).
pub fn sparsify_into<'r, T: Float, I: Position>(
    residual: impl Into<ViewMut<'r, T>>,
    predicate: impl Predicate<T>,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    let residual = residual.into();
    let hits = pairs_into(residual.as_view(), predicate, indices, values)?;
    replace(residual, |x| if predicate.holds(x) { T::ZERO } else { x });
    Ok(hits)
}

/// As [`select::sparsify_with`](crate::select::sparsify_with).
pub fn sparsify_with<'g, 'r, T: Float, I: Position>(
    grad: impl Into<View<'g, T>>,
    residual: impl Into<ViewMut<'r, T>>,
    predicate: impl Predicate<T>,
) -> Result<(Vec<I>, Vec<T>)> {
    let (grad, mut residual) = (grad.into(), residual.into());
    let mut left = sum::<T, I>(grad, &residual)?.into_iter();
    replace(residual.reborrow(), |_| left.next().unwrap_or(T::NAN));
    sparsify(residual, predicate)
}

/// As [`select::sparsify_with_into`](crate::select::sparsify_with_into).
pub fn sparsify_with_into<'g, 'r, T: Float, I: Position>(
    grad: impl Into<View<'g, T>>,
    residual: impl Into<ViewMut<'r, T>>,
    predicate: impl Predicate<T>,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    let (grad, residual) = (grad.into(), residual.into());
    let sum = sum::<T, I>(grad, &residual)?;
    room(count(&sum, predicate)?, indices.len().min(values.len()))?;
    let (i, v) = sparsify_with(grad, residual, predicate)?;
    indices[..i.len()].copy_from_slice(&i);
    values[..v.len()].copy_from_slice(&v);
    Ok(i.len())
}

/// `residual + grad`, in C order, whose positions are `I`s.
fn sum<T: Float, I: Position>(grad: View<'_, T>, residual: &ViewMut<'_, T>) -> Result<Vec<T>> {
    if grad.shape() != residual.shape() {
        return Err(Error::Shape {
            what: "the gradient",
            expected: residual.shape().to_vec(),
            got: grad.shape().to_vec(),
        });
    }
    fits::<I>(residual.len())?;
    collect(elements(residual.as_view()).zip(elements(grad)).map(|(r, g)| r + g))
}

/// Applies `f` to each element, in C order.
fn replace<T: Float>(x: ViewMut<'_, T>, mut f: impl FnMut(T) -> T) {
    let (len, axis) = (x.len(), x.rank().saturating_sub(1));
    let mut lanes = x.into_axis_slices(axis);
    let slice_len = lanes.slice_len();
    for i in 0..len {
        let mut slice = lanes.slice(i / slice_len);
        let x = slice.as_slice_view().get(i % slice_len);
        slice.set(i % slice_len, f(x));
    }
}

/// As [`select::top_k_threshold`](crate::select::top_k_threshold).
pub fn top_k_threshold<'a, T: Float>(x: impl Into<View<'a, T>>, k: usize) -> Result<T> {
    let mut magnitudes: Vec<T> = collect(elements(x.into()).map(|x| x.abs()).filter(|x| !x.is_nan()))?;
    magnitudes.sort_by(|a, b| b.partial_cmp(a).unwrap_or(std::cmp::Ordering::Equal));
    let kth = k.checked_sub(1).and_then(|last| magnitudes.get(last));
    kth.copied().ok_or_else(|| Error::Option {
        option: "k",
        value: k.to_string(),
        expected: "between 1 and the number of elements that are not NaN",
    })
}

/// As [`select::compress`](crate::select::compress).
pub fn compress<'a, 'm, T: Float>(x: impl Into<View<'a, T>>, mask: impl Into<Mask<'m>>) -> Result<Vec<T>> {
    let (x, mask) = (x.into(), mask.into());
    if mask.len() != x.len() {
        return Err(Error::Shape { what: "the mask", expected: vec![x.len()], got: vec![mask.len()] });
    }
    Ok(elements(x).enumerate().filter(|&(i, _)| mask.get(i) == Some(true)).map(|(_, x)| x).collect())
}

/// As [`select::compress_into`](crate::select::compress_into).
pub fn compress_into<'a, 'm, T: Float>(
    x: impl Into<View<'a, T>>,
    mask: impl Into<Mask<'m>>,
    out: &mut [T],
) -> Result<usize> {
    let hits = compress(x, mask)?;
    room(hits.len(), out.len())?;
    out[..hits.len()].copy_from_slice(&hits);
    Ok(hits.len())
}

/// As [`select::compress_indices`](crate::select::compress_indices).
pub fn compress_indices<'m, I: Position>(mask: impl Into<Mask<'m>>) -> Result<Vec<I>> {
    let mask = mask.into();
    fits::<I>(mask.len())?;
    (0..mask.len()).filter(|&i| mask.get(i) == Some(true)).map(position).collect()
}

/// As [`select::compress_indices_into`](crate::select::compress_indices_into).
pub fn compress_indices_into<'m, I: Position>(mask: impl Into<Mask<'m>>, out: &mut [I]) -> Result<usize> {
    let hits: Vec<I> = compress_indices(mask)?;
    room(hits.len(), out.len())?;
    out[..hits.len()].copy_from_slice(&hits);
    Ok(hits.len())
}

/// Whether each element, in C order, is one of the k largest.
fn largest<T: Float>(x: View<'_, T>, top: TopK) -> Result<Vec<bool>> {
    let size = |x: T| if top.by == By::Magnitude { x.abs() } else { x };
    let mut order: Vec<(usize, T)> = elements(x).enumerate().collect();
    order.retain(|(_, x)| !x.is_nan() || top.nan == NanPolicy::Send);
    if order.len() < top.k {
        return Err(Error::TooFew { k: top.k, found: order.len() });
    }
    // The largest first, NaN before them; a stable sort leaves equal ones in the order of their indices.
    order.sort_by(|&(_, a), &(_, b)| match (a.is_nan(), b.is_nan()) {
        (false, false) => size(b).partial_cmp(&size(a)).unwrap_or(Ordering::Equal),
        (a, b) => b.cmp(&a),
    });
    let mut mask = vec![false; x.len()];
    order[..top.k].iter().for_each(|&(i, _)| mask[i] = true);
    Ok(mask)
}

/// As [`select::top_k`](crate::select::top_k).
pub fn top_k<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    k: impl Into<TopK>,
) -> Result<(Vec<I>, Vec<T>)> {
    let x = x.into();
    fits::<I>(x.len())?;
    let mask = largest(x, k.into())?;
    Ok((compress_indices(&mask)?, compress(x, &mask)?))
}

/// As [`select::top_k_into`](crate::select::top_k_into).
pub fn top_k_into<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    k: impl Into<TopK>,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    let (i, v) = top_k(x, k)?;
    room(i.len(), indices.len().min(values.len()))?;
    indices[..i.len()].copy_from_slice(&i);
    values[..v.len()].copy_from_slice(&v);
    Ok(i.len())
}

/// As [`select::top_k_by`](crate::select::top_k_by).
pub fn top_k_by<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    k: usize,
    by: By,
) -> Result<(Vec<I>, Vec<T>)> {
    top_k(x, TopK::new(k).by(by))
}

/// As [`select::top_k_by_into`](crate::select::top_k_by_into).
pub fn top_k_by_into<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    k: usize,
    by: By,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    top_k_into(x, TopK::new(k).by(by), indices, values)
}

/// As [`select::sparsify_top_k`](crate::select::sparsify_top_k).
pub fn sparsify_top_k<'r, T: Float, I: Position>(
    residual: impl Into<ViewMut<'r, T>>,
    k: impl Into<TopK>,
) -> Result<(Vec<I>, Vec<T>)> {
    let residual = residual.into();
    fits::<I>(residual.len())?;
    let mask = largest(residual.as_view(), k.into())?;
    let answer = (compress_indices(&mask)?, compress(residual.as_view(), &mask)?);
    let mut leaves = mask.into_iter();
    replace(residual, |x| if leaves.next() == Some(true) { T::ZERO } else { x });
    Ok(answer)
}

/// As [`select::sparsify_top_k_into`](crate::select::sparsify_top_k_into).
pub fn sparsify_top_k_into<'r, T: Float, I: Position>(
    residual: impl Into<ViewMut<'r, T>>,
    k: impl Into<TopK>,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    let (residual, k) = (residual.into(), k.into());
    top_k_into(residual.as_view(), k, indices, values)?;
    Ok(sparsify_top_k::<T, I>(residual, k)?.0.len())
}

/// As [`select::sparsify_top_k_with`](crate::select::sparsify_top_k_with).
pub fn sparsify_top_k_with<'g, 'r, T: Float, I: Position>(
    grad: impl Into<View<'g, T>>,
    residual: impl Into<ViewMut<'r, T>>,
    k: impl Into<TopK>,
) -> Result<(Vec<I>, Vec<T>)> {
    let (grad, mut residual, k) = (grad.into(), residual.into(), k.into());
    let sum = sum::<T, I>(grad, &residual)?;
    largest(View::from(&sum), k)?;
    let mut left = sum.into_iter();
    replace(residual.reborrow(), |_| left.next().unwrap_or(T::NAN));
    sparsify_top_k(residual, k)
}

/// As [`select::sparsify_top_k_with_into`](crate::select::sparsify_top_k_with_into).
pub fn sparsify_top_k_with_into<'g, 'r, T: Float, I: Position>(
    grad: impl Into<View<'g, T>>,
    residual: impl Into<ViewMut<'r, T>>,
    k: impl Into<TopK>,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    let (grad, residual, k) = (grad.into(), residual.into(), k.into());
    let sum = sum::<T, I>(grad, &residual)?;
    largest(View::from(&sum), k)?;
    room(k.k, indices.len().min(values.len()))?;
    let (i, v) = sparsify_top_k_with(grad, residual, k)?;
    indices[..i.len()].copy_from_slice(&i);
    values[..v.len()].copy_from_slice(&v);
    Ok(i.len())
}
