//! The definitions: plain loops with the same signatures as the public functions.
//!
//! Tests hold the fast code to these; nothing in the crate calls them.

mod gather;
#[cfg(feature = "linear")]
mod linear_xent;
mod scatter;
pub mod select;
mod softmax_xent;

pub use gather::{
    pick, pick_into, take, take_along_axis, take_along_axis_into, take_axis, take_axis_into, take_into,
};
#[cfg(feature = "linear")]
pub use linear_xent::LinearXent;
pub use scatter::{
    pick_add, pick_add_scaled, put, put_along_axis, put_axis, put_value, put_value_along_axis,
    put_value_axis, scatter_add, scatter_add_along_axis, scatter_add_along_axis_scaled, scatter_add_axis,
    scatter_add_axis_scaled, scatter_add_scaled,
};
pub use softmax_xent::{SoftmaxXent, log_softmax, softmax};

use crate::error::{Error, Result};
use crate::index::{Index, Indices, Mode};

/// Pushes `item`, or answers that there is no memory for it.
fn push<T>(all: &mut Vec<T>, item: T) -> Result<()> {
    let bytes = (all.len() + 1).saturating_mul(size_of::<T>());
    all.try_reserve(1).map_err(|_| Error::Memory { bytes })?;
    all.push(item);
    Ok(())
}

/// A vector of these, or an error where there is no memory for it.
fn collect<T>(items: impl Iterator<Item = T>) -> Result<Vec<T>> {
    let mut all = Vec::new();
    for item in items {
        push(&mut all, item)?;
    }
    Ok(all)
}

/// The indices (…, …) of an array of this shape, in C order.
fn places(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let shape = shape.to_vec();
    let len: usize = shape.iter().product();
    (0..len).map(move |mut number| {
        let mut place = vec![0; shape.len()];
        for (at, n) in place.iter_mut().zip(&shape).rev() {
            (*at, number) = (number % n, number / n);
        }
        place
    })
}

/// The offsets that indices name on an axis of length `n`, in C order; none for an index that
/// [`Fill`](crate::Fill) leaves out.
fn offsets<I: Index, T>(indices: &Indices<'_, I, T>, n: usize) -> Result<Vec<Option<usize>>> {
    let list = indices.list;
    let offset = |(position, place): (usize, Vec<usize>)| {
        let index = list.get(&place).expect("a place of the list").value();
        let n = n as i128;
        let offset = match indices.mode {
            Mode::Raise if -n <= index && index < 0 => index + n,
            Mode::Wrap if n > 0 => index.rem_euclid(n),
            Mode::Clip if n > 0 => index.clamp(0, n - 1),
            _ => index,
        };
        match (0..n).contains(&offset) {
            true => Ok(Some(offset as usize)),
            false if matches!(indices.mode, Mode::Fill(_)) => Ok(None),
            false => Err(Error::Index { position, value: index, bound: n as usize }),
        }
    };
    places(list.shape()).enumerate().map(offset).collect()
}

/// Refuses a shape that is neither the expected one nor flat with as many elements.
fn expect(what: &'static str, expected: &[usize], got: &[usize]) -> Result<()> {
    match got == expected || got == [crate::array::count(expected)?] {
        true => Ok(()),
        false => Err(Error::Shape { what, expected: expected.to_vec(), got: got.to_vec() }),
    }
}

/// The shape of `list` in `along` forms: that of the table but for `axis`.
fn expect_along(table: &[usize], axis: usize, list: &[usize]) -> Result<()> {
    let mut expected = table.to_vec();
    expected[axis] = list.get(axis).copied().unwrap_or(0);
    match list == expected {
        true => Ok(()),
        false => Err(Error::Shape { what: "the index array", expected, got: list.to_vec() }),
    }
}

/// A label for each row of a matrix of this shape.
fn expect_labels(matrix: &[usize], labels: &[usize]) -> Result<(usize, usize)> {
    match *matrix {
        [rows, classes] if labels == [rows] => Ok((rows, classes)),
        [rows, _] => {
            Err(Error::Shape { what: "the list of labels", expected: vec![rows], got: labels.to_vec() })
        }
        _ => Err(Error::Rank { what: "the array", expected: "2 is needed", got: matrix.len() }),
    }
}
