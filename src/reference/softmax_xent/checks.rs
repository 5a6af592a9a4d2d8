//! The arguments of a call, checked one after the other: what the documentation of [`crate::SoftmaxXent`]
//! says of each.

use super::super::{collect, expect, push};
use crate::array::{View, ViewMut};
use crate::error::{Error, Result};
use crate::index::Index;
use crate::order;
use crate::simd::Float;
use crate::{Partial, Reduction, SoftmaxXent};

/// The logits' shape as rows and classes, and each row's target.
pub(super) struct Arguments<'x, T> {
    pub(super) xent: &'x SoftmaxXent<T>,
    pub(super) axis: usize,
    pub(super) rows: usize,
    /// The number of the logits' classes, and the number of the first of them among all.
    pub(super) here: usize,
    pub(super) first_class: usize,
    pub(super) all_classes: usize,
    /// Whether rows are summed as ones that sit in lanes.
    pub(super) row_per_lane: bool,
    /// The class of each row's target; none of an ignored row.
    pub(super) targets: Vec<Option<usize>>,
}

/// The axis that a number names, the last being −1.
pub(super) fn axis_of(shape: &[usize], axis: isize) -> Result<usize> {
    let rank = shape.len();
    if rank == 0 {
        return Err(Error::Rank { what: "the logits", expected: "at least 1 is needed", got: 0 });
    }
    let names = |&k: &usize| axis == k as isize || axis == k as isize - rank as isize;
    (0..rank).find(names).ok_or(Error::Axis { axis, rank })
}

/// All axes but that of the classes.
fn others(shape: &[usize], axis: usize) -> Vec<usize> {
    [&shape[..axis], &shape[axis + 1..]].concat()
}

fn refuse<A>(option: &'static str, value: impl std::fmt::Debug, expected: &'static str) -> Result<A> {
    Err(Error::Option { option, value: format!("{value:?}"), expected })
}

fn is_finite<T: Float>(x: T) -> bool {
    x.abs() < T::INFINITY
}

/// A list of factors, one each.
fn factors<T: Float>(option: &'static str, factors: Option<&[T]>, count: usize) -> Result<()> {
    let Some(factors) = factors else { return Ok(()) };
    if factors.len() != count {
        return Err(Error::Shape { what: option, expected: vec![count], got: vec![factors.len()] });
    }
    match factors.iter().find(|&&x| !is_finite(x) || x < T::ZERO) {
        Some(&x) => refuse(option, x, "finite and not negative"),
        None => Ok(()),
    }
}

/// The options that are numbers, and those that exclude each other.
fn options<T: Float>(xent: &SoftmaxXent<T>, classes: usize, in_parts: bool) -> Result<()> {
    factors("class_weights", class_weights(xent), classes)?;
    let (smoothing, z_loss) = (xent.label_smoothing, xent.z_loss);
    if smoothing.is_nan() || smoothing < T::ZERO || smoothing > T::ONE {
        return refuse("label_smoothing", smoothing, "in 0..=1");
    }
    if !is_finite(z_loss) || z_loss < T::ZERO {
        return refuse("z_loss", z_loss, "finite and not negative");
    }
    for (option, value) in [("softcap", xent.softcap), ("normalizer", xent.normalizer)] {
        if let Some(x) = value
            && (!is_finite(x) || x <= T::ZERO)
        {
            return refuse(option, x, "finite and positive");
        }
    }
    let conflict = |first, second, why| Err(Error::Conflict { first, second, why });
    if xent.normalizer.is_some() && xent.reduction != Reduction::Mean {
        return conflict("normalizer", "reduction", "only a mean divides by a number of rows");
    }
    if xent.shard.is_some() && !in_parts {
        return conflict("shard", "a pass over whole rows", "the other classes' sums are missing");
    }
    Ok(())
}

pub(super) fn class_weights<T>(xent: &SoftmaxXent<T>) -> Option<&[T]> {
    xent.class_weights.as_ref().map(|weights| &*weights.all)
}

pub(super) fn row_weights<T>(xent: &SoftmaxXent<T>) -> Option<&[T]> {
    xent.row_weights.as_ref().map(|weights| &*weights.all)
}

/// Checks a call with labels; of classes that are but a part of all where they may be.
pub(super) fn labelled<'x, T: Float, I: Index>(
    xent: &'x SoftmaxXent<T>,
    shape: &[usize],
    labels: View<'_, I>,
    in_parts: bool,
) -> Result<Arguments<'x, T>> {
    let axis = axis_of(shape, xent.class_axis)?;
    let here = shape[axis];
    let (first_class, all_classes) = xent.shard.unwrap_or((0, here));
    options(xent, all_classes, in_parts)?;
    if first_class as u128 + here as u128 > all_classes as u128 {
        return refuse("shard", (first_class, all_classes), "room for the logits' classes");
    }
    let expected = others(shape, axis);
    let rows = expected.iter().product();
    let is_list = labels.rank() == 1 && labels.len() == rows;
    if !is_list && labels.shape() != expected {
        return Err(Error::Shape { what: "the labels", expected, got: labels.shape().to_vec() });
    }
    factors("row_weights", row_weights(xent), rows)?;
    let target = |(row, label): (usize, I)| match label.value() {
        value if xent.ignore_index == Some(value) => Ok(None),
        value if (0..all_classes as i128).contains(&value) => Ok(Some(value as usize)),
        value => Err(Error::Label { row, value, classes: all_classes }),
    };
    let mut targets = Vec::new();
    for row in 0..rows {
        let label = match labels.rank().checked_sub(1).map(|last| labels.axis_slices(last)) {
            None => labels.get(&[]),
            Some(lanes) => Some(lanes.slice(row / lanes.slice_len()).get(row % lanes.slice_len())),
        };
        if let Some(label) = label {
            push(&mut targets, target((row, label))?)?;
        }
    }
    let finds_maxima = xent.label_smoothing > T::ZERO || xent.z_loss > T::ZERO;
    let row_per_lane = order::is_row_per_lane::<T>(shape, axis, finds_maxima);
    Ok(Arguments { xent, axis, rows, here, first_class, all_classes, row_per_lane, targets })
}

/// Checks a call without targets.
pub(super) fn untargeted<'x, T: Float>(
    xent: &'x SoftmaxXent<T>,
    shape: &[usize],
) -> Result<Arguments<'x, T>> {
    let axis = axis_of(shape, xent.class_axis)?;
    let (here, rows) = (shape[axis], others(shape, axis).iter().product());
    let row_per_lane = order::is_row_per_lane::<T>(shape, axis, false);
    let targets = collect((0..rows).map(|_| None))?;
    Ok(Arguments { xent, axis, rows, here, first_class: 0, all_classes: here, row_per_lane, targets })
}

/// Checks a call whose targets are probabilities; gives the class axis and the number of rows.
pub(super) fn soft<T: Float>(
    xent: &SoftmaxXent<T>,
    shape: &[usize],
    targets: View<'_, T>,
) -> Result<(usize, usize)> {
    let axis = axis_of(shape, xent.class_axis)?;
    options(xent, shape[axis], false)?;
    if targets.shape() != shape {
        let (expected, got) = (shape.to_vec(), targets.shape().to_vec());
        return Err(Error::Shape { what: "the targets", expected, got });
    }
    let rows = others(shape, axis).iter().product();
    factors("row_weights", row_weights(xent), rows)?;
    Ok((axis, rows))
}

/// The upstream gradient of each row, or one of all.
pub(super) fn upstream<T: Float>(
    xent: &SoftmaxXent<T>,
    upstream: View<'_, T>,
    rows: usize,
) -> Result<Vec<T>> {
    let is_each = xent.reduction == Reduction::None && upstream.len() == rows;
    if upstream.len() != 1 && !is_each {
        let expected = vec![if xent.reduction == Reduction::None { rows } else { 1 }];
        return Err(Error::Shape { what: "the upstream gradient", expected, got: upstream.shape().to_vec() });
    }
    Ok(upstream.to_vec())
}

/// A partial for each row.
pub(super) fn partials<T>(partials: &[Partial<T>], rows: usize) -> Result<&[Partial<T>]> {
    if partials.len() != rows {
        return Err(Error::Shape { what: "the partials", expected: vec![rows], got: vec![partials.len()] });
    }
    Ok(partials)
}

/// The gradient in the logits' shape; a slice of as many elements is taken in C order.
pub(super) fn shaped<'g, T>(grad: ViewMut<'g, T>, shape: &[usize]) -> Result<ViewMut<'g, T>> {
    expect("the gradient", shape, grad.shape())?;
    if grad.shape() == shape {
        return Ok(grad);
    }
    let got = grad.shape().to_vec();
    let slice = grad.into_slice();
    let slice = slice.map_err(|_| Error::Shape { what: "the gradient", expected: shape.to_vec(), got })?;
    ViewMut::new(slice, shape)
}
