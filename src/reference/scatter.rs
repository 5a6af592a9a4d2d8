//! Scatter-add and put, by definition.

use super::{expect, expect_along, expect_labels, offsets, places};
use crate::array::{Element, View, ViewMut};
use crate::error::Result;
use crate::index::{Index, Indices};
use crate::simd::Float;

/// `to += a · from`: the product is rounded, then the sum.
fn add<T: Float>(a: T) -> impl Fn(&mut T, T) {
    move |to, from| *to += a * from
}

/// `to = from`
fn set<T>(to: &mut T, from: T) {
    *to = from;
}

/// `update(dst[idx[k]], src[k])`
fn flat<T: Element, I: Index>(
    mut dst: ViewMut<'_, T>,
    idx: &Indices<'_, I, T>,
    src: &View<'_, T>,
    update: impl Fn(&mut T, T),
) -> Result<()> {
    expect("the source", idx.list.shape(), src.shape())?;
    let offsets = offsets(idx, dst.len())?;
    let flattened: Vec<Vec<usize>> = places(dst.shape()).collect();
    for (o, from) in offsets.into_iter().zip(places(src.shape())) {
        if let Some(o) = o {
            update(at(&mut dst, &flattened[o]), get(src, &from));
        }
    }
    Ok(())
}

/// `update(dst[.., idx[k], ..], src[.., k, ..])`
fn on_axis<T: Element, I: Index>(
    mut dst: ViewMut<'_, T>,
    axis: isize,
    idx: &Indices<'_, I, T>,
    src: &View<'_, T>,
    update: impl Fn(&mut T, T),
) -> Result<()> {
    let axis = dst.as_view().axis(axis)?;
    let (before, after) = (dst.shape()[..axis].to_vec(), dst.shape()[axis + 1..].to_vec());
    expect("the source", &[&before, idx.list.shape(), &after].concat(), src.shape())?;
    let offsets = offsets(idx, dst.shape()[axis])?;
    let mut from = places(src.shape());
    for p in places(&before) {
        for &o in &offsets {
            for m in places(&after) {
                let from = from.next().expect("a place for each");
                if let Some(o) = o {
                    update(at(&mut dst, &[&p[..], &[o], &m].concat()), get(src, &from));
                }
            }
        }
    }
    Ok(())
}

/// `update(dst[.., idx[..], ..], src[..])`
fn along_axis<T: Element, I: Index>(
    mut dst: ViewMut<'_, T>,
    axis: isize,
    idx: &Indices<'_, I, T>,
    src: &View<'_, T>,
    update: impl Fn(&mut T, T),
) -> Result<()> {
    let axis = dst.as_view().axis(axis)?;
    expect_along(dst.shape(), axis, idx.list.shape())?;
    expect("the source", idx.list.shape(), src.shape())?;
    let offsets = offsets(idx, dst.shape()[axis])?;
    for ((o, mut to), from) in offsets.into_iter().zip(places(idx.list.shape())).zip(places(src.shape())) {
        if let Some(o) = o {
            to[axis] = o;
            update(at(&mut dst, &to), get(src, &from));
        }
    }
    Ok(())
}

fn at<'a, T>(dst: &'a mut ViewMut<'_, T>, place: &[usize]) -> &'a mut T {
    dst.get_mut(place).expect("a place of the array")
}

fn get<T: Copy>(src: &View<'_, T>, place: &[usize]) -> T {
    src.get(place).expect("a place of the array")
}

/// Defines [`scatter_add`](crate::scatter_add).
pub fn scatter_add<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    idx: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
) -> Result<()> {
    scatter_add_scaled(dst, idx, src, T::ONE)
}

/// Defines [`scatter_add_scaled`](crate::scatter_add_scaled).
pub fn scatter_add_scaled<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    idx: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
    a: T,
) -> Result<()> {
    flat(dst.into(), &idx.into(), &src.into(), add(a))
}

/// Defines [`scatter_add_axis`](crate::scatter_add_axis).
pub fn scatter_add_axis<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
) -> Result<()> {
    scatter_add_axis_scaled(dst, axis, idx, src, T::ONE)
}

/// Defines [`scatter_add_axis_scaled`](crate::scatter_add_axis_scaled).
pub fn scatter_add_axis_scaled<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
    a: T,
) -> Result<()> {
    on_axis(dst.into(), axis, &idx.into(), &src.into(), add(a))
}

/// Defines [`scatter_add_along_axis`](crate::scatter_add_along_axis).
pub fn scatter_add_along_axis<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
) -> Result<()> {
    scatter_add_along_axis_scaled(dst, axis, idx, src, T::ONE)
}

/// Defines [`scatter_add_along_axis_scaled`](crate::scatter_add_along_axis_scaled).
pub fn scatter_add_along_axis_scaled<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
    a: T,
) -> Result<()> {
    along_axis(dst.into(), axis, &idx.into(), &src.into(), add(a))
}

/// Defines [`pick_add`](crate::pick_add).
pub fn pick_add<'d, 'i, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    labels: impl Into<Indices<'i, I, T>>,
    x: T,
) -> Result<()> {
    let dst = dst.into();
    let src = vec![x; dst.shape().first().map_or(0, |&rows| rows)];
    pick_add_scaled(dst, labels, &src, T::ONE)
}

/// Defines [`pick_add_scaled`](crate::pick_add_scaled).
pub fn pick_add_scaled<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    labels: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
    a: T,
) -> Result<()> {
    let (mut dst, labels, src) = (dst.into(), labels.into(), src.into());
    let (rows, classes) = expect_labels(dst.shape(), labels.list.shape())?;
    expect("the source", &[rows], src.shape())?;
    for (p, o) in offsets(&labels, classes)?.into_iter().enumerate() {
        if let Some(o) = o {
            *at(&mut dst, &[p, o]) += a * get(&src, &[p]);
        }
    }
    Ok(())
}

/// Defines [`put`](crate::put).
pub fn put<'d, 'i, 's, T: Element, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    idx: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
) -> Result<()> {
    flat(dst.into(), &idx.into(), &src.into(), set)
}

/// Defines [`put_axis`](crate::put_axis).
pub fn put_axis<'d, 'i, 's, T: Element, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
) -> Result<()> {
    on_axis(dst.into(), axis, &idx.into(), &src.into(), set)
}

/// Defines [`put_along_axis`](crate::put_along_axis).
pub fn put_along_axis<'d, 'i, 's, T: Element, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
) -> Result<()> {
    along_axis(dst.into(), axis, &idx.into(), &src.into(), set)
}

/// Defines [`put_value`](crate::put_value).
pub fn put_value<'d, 'i, T: Element, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    idx: impl Into<Indices<'i, I, T>>,
    value: T,
) -> Result<()> {
    let idx = idx.into();
    let src = View::repeated(&value, idx.list.shape())?;
    flat(dst.into(), &idx, &src, set)
}

/// Defines [`put_value_axis`](crate::put_value_axis).
pub fn put_value_axis<'d, 'i, T: Element, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    value: T,
) -> Result<()> {
    let (dst, idx) = (dst.into(), idx.into());
    let at = dst.as_view().axis(axis)?;
    let shape = [&dst.shape()[..at], idx.list.shape(), &dst.shape()[at + 1..]].concat();
    let src = View::repeated(&value, &shape)?;
    on_axis(dst, axis, &idx, &src, set)
}

/// Defines [`put_value_along_axis`](crate::put_value_along_axis).
pub fn put_value_along_axis<'d, 'i, T: Element, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    value: T,
) -> Result<()> {
    let idx = idx.into();
    let src = View::repeated(&value, idx.list.shape())?;
    along_axis(dst.into(), axis, &idx, &src, set)
}
