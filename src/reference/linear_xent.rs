//! A linear layer and its cross-entropy, whose logits are held: sums in the order of their indices.

use super::expect;
use super::softmax_xent::SoftmaxXent;
use crate::array::{View, ViewMut, zeros};
use crate::error::{Error, Result};
use crate::index::Index;
use crate::simd::Float;
use crate::{Linear, LinearGradients, Loss, Rows};

/// The definition of [`crate::LinearXent`], with the options of cross-entropy that it is made of.
///
/// ```
/// use gradix::{Linear, LinearXent, SoftmaxXent, View, reference};
/// let (x, weight, xent) = ([2.0_f32], [1.0, 1.0], SoftmaxXent::new());
/// let layer = Linear::new(View::new(&x, &[1, 1])?, View::new(&weight, &[2, 1])?);
/// let plain = reference::LinearXent(&xent).forward(layer, &[0])?;
/// assert_eq!(LinearXent::new(xent.clone()).forward(layer, &[0])?, plain);
/// # Ok::<(), gradix::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct LinearXent<'x, T>(pub &'x crate::SoftmaxXent<T>);

impl<T: Float> LinearXent<'_, T> {
    /// See [`crate::LinearXent::forward`].
    pub fn forward<'l, I: Index>(
        &self,
        layer: Linear<'_, T>,
        labels: impl Into<View<'l, I>>,
    ) -> Result<Rows<T>> {
        let shape = checked(&layer, self.0)?;
        SoftmaxXent(self.0).forward(View::new(&logits(&layer, shape)?, &shape[..2])?, labels)
    }

    /// See [`crate::LinearXent::forward_backward`].
    pub fn forward_backward<'l, I: Index>(
        &self,
        layer: Linear<'_, T>,
        labels: impl Into<View<'l, I>>,
        gradients: LinearGradients<'_, T>,
    ) -> Result<Loss<T>> {
        let [rows, classes, columns] = checked(&layer, self.0)?;
        let mut logits = logits(&layer, [rows, classes, columns])?;
        let loss = SoftmaxXent(self.0)
            .forward_backward_in_place(ViewMut::new(&mut logits, &[rows, classes])?, labels)?;
        let LinearGradients { x, weight, bias } = gradients;
        let named = [
            ("the gradient of x", &x, vec![rows, columns]),
            ("the gradient of the weight", &weight, vec![classes, columns]),
            ("the gradient of the bias", &bias, vec![classes]),
        ];
        for (what, to, shape) in named {
            to.as_ref().map_or(Ok(()), |to| is_shaped(what, to, &shape))?;
        }
        let g = |i: usize, j: usize| logits[i * classes + j];
        if let Some(dx) = x {
            let of = |place: usize| {
                let (i, k) = (place / columns, place % columns);
                (0..classes).fold(T::ZERO, |sum, j| g(i, j).mul_add(at(&layer.weight, j, k), sum))
            };
            store(dx, of);
        }
        if let Some(dw) = weight {
            let of = |place: usize| {
                let (j, k) = (place / columns, place % columns);
                (0..rows).fold(T::ZERO, |sum, i| g(i, j).mul_add(at(&layer.x, i, k), sum))
            };
            store(dw, of);
        }
        if let Some(db) = bias {
            store(db, |j| (0..rows).fold(T::ZERO, |sum, i| sum + g(i, j)));
        }
        Ok(loss)
    }
}

fn at<T: Float>(matrix: &View<'_, T>, i: usize, j: usize) -> T {
    matrix.get(&[i, j]).expect("a place of the matrix")
}

/// Stores an element for each place, in C order.
fn store<T: Float>(to: ViewMut<'_, T>, of: impl Fn(usize) -> T) {
    let (len, axis) = (to.len(), to.rank() - 1);
    let mut lanes = to.into_axis_slices(axis);
    let slice_len = lanes.slice_len();
    (0..len).for_each(|place| lanes.slice(place / slice_len).set(place % slice_len, of(place)));
}

/// The numbers of rows, classes and columns, of a layer that has the same everywhere.
fn checked<T: Float>(layer: &Linear<'_, T>, xent: &crate::SoftmaxXent<T>) -> Result<[usize; 3]> {
    for (what, matrix) in [("x", &layer.x), ("the weight", &layer.weight)] {
        if matrix.rank() != 2 {
            return Err(Error::Rank { what, expected: "2 is needed", got: matrix.rank() });
        }
    }
    let (rows, columns, classes) = (layer.x.shape()[0], layer.x.shape()[1], layer.weight.shape()[0]);
    let shape = |what, expected: Vec<usize>, got: &[usize]| match got == expected {
        true => Ok(()),
        false => Err(Error::Shape { what, expected, got: got.to_vec() }),
    };
    shape("the weight", vec![classes, columns], layer.weight.shape())?;
    layer.bias.map_or(Ok(()), |bias| shape("the bias", vec![classes], bias.shape()))?;
    if ![-1, 1].contains(&xent.class_axis) {
        let why = "its classes are the last axis";
        return Err(Error::Conflict { first: "class_axis", second: "a linear layer", why });
    }
    Ok([rows, classes, columns])
}

/// Of this shape, or a slice of as many elements.
fn is_shaped<T>(what: &'static str, to: &ViewMut<'_, T>, shape: &[usize]) -> Result<()> {
    expect(what, shape, to.shape())?;
    let is_slice = to.len() < 2 || to.strides() == [1];
    match to.shape() == shape || is_slice {
        true => Ok(()),
        false => Err(Error::Shape { what, expected: shape.to_vec(), got: to.shape().to_vec() }),
    }
}

/// x·Wᵀ + b
fn logits<T: Float>(layer: &Linear<'_, T>, [rows, classes, columns]: [usize; 3]) -> Result<Vec<T>> {
    let mut logits = zeros(&[rows, classes])?;
    for (place, logit) in logits.iter_mut().enumerate() {
        let (i, j) = (place / classes, place % classes);
        let bias = layer.bias.and_then(|bias| bias.get(&[j])).unwrap_or(T::ZERO);
        *logit = (0..columns).fold(bias, |sum, k| at(&layer.x, i, k).mul_add(at(&layer.weight, j, k), sum));
    }
    Ok(logits)
}
