//! Gather, by definition.

use super::{expect, expect_along, expect_labels, offsets, places};
use crate::array::{Element, View, ViewMut, zeros};
use crate::error::Result;
use crate::index::{Index, Indices, Mode};

/// Defines [`take`](crate::take).
pub fn take<'s, 'i, T: Element, I: Index>(
    src: impl Into<View<'s, T>>,
    idx: impl Into<Indices<'i, I, T>>,
) -> Result<Vec<T>> {
    let idx = idx.into();
    let mut out = zeros(idx.list.shape())?;
    take_into(src, idx, &mut out)?;
    Ok(out)
}

/// Defines [`take_into`](crate::take_into).
pub fn take_into<'s, 'i, 'o, T: Element, I: Index>(
    src: impl Into<View<'s, T>>,
    idx: impl Into<Indices<'i, I, T>>,
    out: impl Into<ViewMut<'o, T>>,
) -> Result<()> {
    let (src, idx, mut out) = (src.into(), idx.into(), out.into());
    expect("the output", idx.list.shape(), out.shape())?;
    let offsets = offsets(&idx, src.len())?;
    let flattened: Vec<Vec<usize>> = places(src.shape()).collect();
    for (o, to) in offsets.into_iter().zip(places(out.shape())) {
        put(&mut out, &to, o.map(|o| get(&src, &flattened[o])), &idx.mode);
    }
    Ok(())
}

/// Defines [`take_axis`](crate::take_axis).
pub fn take_axis<'s, 'i, T: Element, I: Index>(
    src: impl Into<View<'s, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
) -> Result<Vec<T>> {
    let (src, idx) = (src.into(), idx.into());
    let at = src.axis(axis)?;
    let mut out = zeros(&[&src.shape()[..at], idx.list.shape(), &src.shape()[at + 1..]].concat())?;
    take_axis_into(src, axis, idx, &mut out)?;
    Ok(out)
}

/// Defines [`take_axis_into`](crate::take_axis_into).
pub fn take_axis_into<'s, 'i, 'o, T: Element, I: Index>(
    src: impl Into<View<'s, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    out: impl Into<ViewMut<'o, T>>,
) -> Result<()> {
    let (src, idx, mut out) = (src.into(), idx.into(), out.into());
    let axis = src.axis(axis)?;
    let (before, after) = (&src.shape()[..axis], &src.shape()[axis + 1..]);
    expect("the output", &[before, idx.list.shape(), after].concat(), out.shape())?;
    let offsets = offsets(&idx, src.shape()[axis])?;
    let mut to = places(out.shape());
    for p in places(before) {
        for &o in &offsets {
            for m in places(after) {
                let x = o.map(|o| get(&src, &[&p[..], &[o], &m].concat()));
                put(&mut out, &to.next().expect("a place for each"), x, &idx.mode);
            }
        }
    }
    Ok(())
}

/// Defines [`take_along_axis`](crate::take_along_axis).
pub fn take_along_axis<'s, 'i, T: Element, I: Index>(
    src: impl Into<View<'s, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
) -> Result<Vec<T>> {
    let idx = idx.into();
    let mut out = zeros(idx.list.shape())?;
    take_along_axis_into(src, axis, idx, &mut out)?;
    Ok(out)
}

/// Defines [`take_along_axis_into`](crate::take_along_axis_into).
pub fn take_along_axis_into<'s, 'i, 'o, T: Element, I: Index>(
    src: impl Into<View<'s, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    out: impl Into<ViewMut<'o, T>>,
) -> Result<()> {
    let (src, idx, mut out) = (src.into(), idx.into(), out.into());
    let axis = src.axis(axis)?;
    expect_along(src.shape(), axis, idx.list.shape())?;
    expect("the output", idx.list.shape(), out.shape())?;
    let offsets = offsets(&idx, src.shape()[axis])?;
    for ((o, mut at), to) in offsets.into_iter().zip(places(idx.list.shape())).zip(places(out.shape())) {
        let x = o.map(|o| {
            at[axis] = o;
            get(&src, &at)
        });
        put(&mut out, &to, x, &idx.mode);
    }
    Ok(())
}

/// Defines [`pick`](crate::pick).
pub fn pick<'s, 'i, T: Element, I: Index>(
    src: impl Into<View<'s, T>>,
    labels: impl Into<Indices<'i, I, T>>,
) -> Result<Vec<T>> {
    let labels = labels.into();
    let mut out = zeros(labels.list.shape())?;
    pick_into(src, labels, &mut out)?;
    Ok(out)
}

/// Defines [`pick_into`](crate::pick_into).
pub fn pick_into<'s, 'i, 'o, T: Element, I: Index>(
    src: impl Into<View<'s, T>>,
    labels: impl Into<Indices<'i, I, T>>,
    out: impl Into<ViewMut<'o, T>>,
) -> Result<()> {
    let (src, labels, mut out) = (src.into(), labels.into(), out.into());
    let (rows, classes) = expect_labels(src.shape(), labels.list.shape())?;
    expect("the output", &[rows], out.shape())?;
    for (p, o) in offsets(&labels, classes)?.into_iter().enumerate() {
        put(&mut out, &[p], o.map(|o| get(&src, &[p, o])), &labels.mode);
    }
    Ok(())
}

fn get<T: Copy>(from: &View<'_, T>, place: &[usize]) -> T {
    from.get(place).expect("a place of the array")
}

/// Writes the element, or what stands for one that no index names.
fn put<T: Copy>(to: &mut ViewMut<'_, T>, place: &[usize], x: Option<T>, mode: &Mode<T>) {
    let x = match (x, mode) {
        (Some(x), _) | (None, &Mode::Fill(x)) => x,
        _ => return,
    };
    *to.get_mut(place).expect("a place of the array") = x;
}
