//! Scatter, by definition.

use super::{expect, expect_along, expect_labels, offsets, places};
use crate::array::{View, ViewMut};
use crate::error::Result;
use crate::index::{Index, Indices};
use crate::simd::Float;

/// Defines [`scatter_add`](crate::scatter_add).
pub fn scatter_add<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    idx: impl Into<Indices<'i, I>>,
    src: impl Into<View<'s, T>>,
) -> Result<()> {
    scatter_add_scaled(dst, idx, src, T::ONE)
}

/// Defines [`scatter_add_scaled`](crate::scatter_add_scaled).
pub fn scatter_add_scaled<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    idx: impl Into<Indices<'i, I>>,
    src: impl Into<View<'s, T>>,
    a: T,
) -> Result<()> {
    let (mut dst, idx, src) = (dst.into(), idx.into(), src.into());
    expect("the source", idx.list.shape(), src.shape())?;
    let offsets = offsets(&idx, dst.len())?;
    let flattened: Vec<Vec<usize>> = places(dst.shape()).collect();
    for (o, from) in offsets.into_iter().zip(places(src.shape())) {
        add(&mut dst, &flattened[o], a, &src, &from);
    }
    Ok(())
}

/// Defines [`scatter_add_axis`](crate::scatter_add_axis).
pub fn scatter_add_axis<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I>>,
    src: impl Into<View<'s, T>>,
) -> Result<()> {
    scatter_add_axis_scaled(dst, axis, idx, src, T::ONE)
}

/// Defines [`scatter_add_axis_scaled`](crate::scatter_add_axis_scaled).
pub fn scatter_add_axis_scaled<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I>>,
    src: impl Into<View<'s, T>>,
    a: T,
) -> Result<()> {
    let (mut dst, idx, src) = (dst.into(), idx.into(), src.into());
    let axis = dst.axis(axis)?;
    let (before, after) = (dst.shape()[..axis].to_vec(), dst.shape()[axis + 1..].to_vec());
    expect("the source", &[&before, idx.list.shape(), &after].concat(), src.shape())?;
    let offsets = offsets(&idx, dst.shape()[axis])?;
    let mut from = places(src.shape());
    for p in places(&before) {
        for &o in &offsets {
            for m in places(&after) {
                let from = from.next().expect("a place for each");
                add(&mut dst, &[&p[..], &[o], &m].concat(), a, &src, &from);
            }
        }
    }
    Ok(())
}

/// Defines [`scatter_add_along_axis`](crate::scatter_add_along_axis).
pub fn scatter_add_along_axis<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I>>,
    src: impl Into<View<'s, T>>,
) -> Result<()> {
    scatter_add_along_axis_scaled(dst, axis, idx, src, T::ONE)
}

/// Defines [`scatter_add_along_axis_scaled`](crate::scatter_add_along_axis_scaled).
pub fn scatter_add_along_axis_scaled<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I>>,
    src: impl Into<View<'s, T>>,
    a: T,
) -> Result<()> {
    let (mut dst, idx, src) = (dst.into(), idx.into(), src.into());
    let axis = dst.axis(axis)?;
    expect_along(dst.shape(), axis, idx.list.shape())?;
    expect("the source", idx.list.shape(), src.shape())?;
    let offsets = offsets(&idx, dst.shape()[axis])?;
    for ((o, mut at), from) in offsets.into_iter().zip(places(idx.list.shape())).zip(places(src.shape())) {
        at[axis] = o;
        add(&mut dst, &at, a, &src, &from);
    }
    Ok(())
}

/// Defines [`pick_add`](crate::pick_add).
pub fn pick_add<'d, 'i, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    labels: impl Into<Indices<'i, I>>,
    x: T,
) -> Result<()> {
    let (mut dst, labels) = (dst.into(), labels.into());
    let (_, classes) = expect_labels(dst.shape(), labels.list.shape())?;
    for (p, o) in offsets(&labels, classes)?.into_iter().enumerate() {
        add(&mut dst, &[p, o], T::ONE, &View::from(&[x]), &[0]);
    }
    Ok(())
}

/// Defines [`pick_add_scaled`](crate::pick_add_scaled).
pub fn pick_add_scaled<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    labels: impl Into<Indices<'i, I>>,
    src: impl Into<View<'s, T>>,
    a: T,
) -> Result<()> {
    let (mut dst, labels, src) = (dst.into(), labels.into(), src.into());
    let (rows, classes) = expect_labels(dst.shape(), labels.list.shape())?;
    expect("the source", &[rows], src.shape())?;
    for (p, o) in offsets(&labels, classes)?.into_iter().enumerate() {
        add(&mut dst, &[p, o], a, &src, &[p]);
    }
    Ok(())
}

/// `to += a · from`: the product is rounded, then the sum.
fn add<T: Float>(dst: &mut ViewMut<'_, T>, to: &[usize], a: T, src: &View<'_, T>, from: &[usize]) {
    *dst.get_mut(to).expect("a place of the array") += a * src.get(from).expect("a place of the array");
}
