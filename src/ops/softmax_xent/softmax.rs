//! The softmax of an array along an axis, and its logarithm, by the kernels of softmax cross-entropy: a
//! gradient without a target.

use super::call::{Gradient, Request};
use super::{Reduction, SoftmaxXent};
use crate::array::{View, ViewMut, zeros};
use crate::error::Result;
use crate::simd::Float;

/// Rows along `axis`, summed and not averaged.
pub(crate) fn options<T: Float>(axis: isize, log: bool) -> SoftmaxXent<T> {
    SoftmaxXent { class_axis: axis, log, reduction: Reduction::Sum, ..SoftmaxXent::new() }
}

fn new<T: Float>(x: View<'_, T>, axis: isize, log: bool) -> Result<Vec<T>> {
    options::<T>(axis, log).axis(x.shape())?; // before memory is asked for
    let mut out = zeros(x.shape())?;
    into(x, axis, log, ViewMut::new(&mut out, x.shape())?)?;
    Ok(out)
}

fn into<T: Float>(x: View<'_, T>, axis: isize, log: bool, out: ViewMut<'_, T>) -> Result<()> {
    let (xent, mut out) = (options(axis, log), out);
    T::compiled::<Gradient<'_>>(Request { grad: Some(&mut out), ..Request::of(&xent, &x) }).map(|_| ())
}

fn in_place<T: Float>(x: ViewMut<'_, T>, axis: isize, log: bool) -> Result<()> {
    let (xent, mut x) = (options(axis, log), x);
    T::compiled::<Gradient<'_>>(Request::in_place(&xent, &mut x)).map(|_| ())
}

/// e^x / Σ e^x along `axis` (negative ones counted from the end), in C order: `scipy.special.softmax(x, axis)`,
/// `torch.softmax(x, dim)`.
///
/// A logit of −∞ has probability 0; a row with a NaN, with +∞, or of nothing but −∞ is NaN. Errors:
/// [`Error::Rank`](crate::Error::Rank) for an array without axes, [`Error::Axis`](crate::Error::Axis),
/// [`Error::Memory`](crate::Error::Memory). Each element is within (4 + gap)·ε, gap being the distance to the
/// row's largest logit. Equality class and cost are those of
/// [`SoftmaxXent::forward_backward`]: one read, one write.
///
/// ```
/// # use gradix::View;
/// let x = [0.0, 3.0_f64.ln(), 0.0, 0.0];
/// let p = gradix::softmax(View::new(&x, &[2, 2])?, -1)?;
/// assert!(p.iter().zip([0.25, 0.75, 0.5, 0.5]).all(|(p, exact)| (p - exact).abs() < 1e-15));
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn softmax<'a, T: Float>(x: impl Into<View<'a, T>>, axis: isize) -> Result<Vec<T>> {
    new(x.into(), axis, false)
}

/// [`softmax`] into an array of the shape of `x`, or a slice of as many elements.
///
/// ```
/// let mut p = [0.0_f32; 2];
/// gradix::softmax_into(&[1.0, 1.0], 0, &mut p)?;
/// assert_eq!(p, [0.5, 0.5]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn softmax_into<'a, 'o, T: Float>(
    x: impl Into<View<'a, T>>,
    axis: isize,
    out: impl Into<ViewMut<'o, T>>,
) -> Result<()> {
    into(x.into(), axis, false, out.into())
}

/// [`softmax`] in the place of its argument.
///
/// ```
/// let mut x = [7.0_f32; 4];
/// gradix::softmax_in_place(&mut x, -1)?;
/// assert_eq!(x, [0.25; 4]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn softmax_in_place<'a, T: Float>(x: impl Into<ViewMut<'a, T>>, axis: isize) -> Result<()> {
    in_place(x.into(), axis, false)
}

/// x − ln Σ e^x along `axis`: `scipy.special.log_softmax(x, axis)`, `torch.log_softmax(x, dim)`. Reads each
/// row twice, the second time from cache. For edges and errors see [`softmax`]; a logit of −∞ stays −∞.
///
/// ```
/// let log_p = gradix::log_softmax(&[5.0_f64, 5.0], 0)?;
/// assert!(log_p.iter().all(|x| (x + 2.0_f64.ln()).abs() < 1e-15));
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn log_softmax<'a, T: Float>(x: impl Into<View<'a, T>>, axis: isize) -> Result<Vec<T>> {
    new(x.into(), axis, true)
}

/// [`log_softmax`] into an array of the shape of `x`, or a slice of as many elements.
///
/// ```
/// let mut log_p = [0.0_f64; 1];
/// gradix::log_softmax_into(&[3.0], 0, &mut log_p)?;
/// assert!(log_p[0].abs() < 1e-15);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn log_softmax_into<'a, 'o, T: Float>(
    x: impl Into<View<'a, T>>,
    axis: isize,
    out: impl Into<ViewMut<'o, T>>,
) -> Result<()> {
    into(x.into(), axis, true, out.into())
}

/// [`log_softmax`] in the place of its argument.
///
/// ```
/// let mut x = [2.0_f64];
/// gradix::log_softmax_in_place(&mut x, 0)?;
/// assert!(x[0].abs() < 1e-15);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn log_softmax_in_place<'a, T: Float>(x: impl Into<ViewMut<'a, T>>, axis: isize) -> Result<()> {
    in_place(x.into(), axis, true)
}
