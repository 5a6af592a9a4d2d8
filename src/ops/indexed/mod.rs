//! Gather, scatter-add and put: the public functions. Each is a thin door, compiled in the caller's crate;
//! what is behind it sees neither element nor index types and is compiled here.
//!
//! ```text
//! take              out[k]         = src[idx[k]]             src flattened in C order
//! take_axis         out[p, k, m]   = src[p, idx[k], m]
//! take_along_axis   out[p, k, m]   = src[p, idx[p, k, m], m]
//! pick              out[p]         = src[p, idx[p]]
//!
//! scatter_add              dst[idx[k]]           += src[k]    dst flattened in C order
//! scatter_add_axis         dst[p, idx[k], m]     += src[p, k, m]
//! scatter_add_along_axis   dst[p, idx[p,k,m], m] += src[p, k, m]
//! pick_add                 dst[p, idx[p]]        += x
//!
//! put, put_axis, put_along_axis: as the three scatters, with = for +=
//! ```
//!
//! Each scatter-add has a form that ends in `_scaled` and takes a factor `a` last: it adds `a · src`, rounded
//! before it is added, which is what a step of SGD on an embedding does with `a` = −(learning rate).
//!
//! What they share is told at [`take`], [`scatter_add`] and [`put`].

mod gather;
mod plan;
mod rows;
mod scatter;

use crate::array::{Element, View, ViewMut, zeros};
use crate::error::Result;
use crate::index::{Index, Indices, Mode};
use crate::simd::Float;
use plan::{Form, Vectors};
use scatter::Op;

/// `out = src[idx]`
#[inline(always)]
fn gather<T: Element, I: Index>(
    form: Form,
    src: View<'_, T>,
    idx: Indices<'_, I, T>,
    mut out: ViewMut<'_, T>,
    is_fresh: bool,
) -> Result<()> {
    if form != Form::Pick
        && let (Some(table), Some(list)) = (src.as_vector(), idx.list.as_vector())
        && let Some(values) = out.as_vector()
    {
        let vectors = Vectors { table, list, is_signed: I::SIGNED, values };
        if is_done(&idx, vectors, |v| gather::dense(v, is_fresh), gather::few_resolved) {
            return Ok(());
        }
    }
    if let Some(numbers) = plan::of_matrices(form, &src.erased(), &idx.list.erased(), out.erased().as_view())
    {
        return gather::short(&mut gather::job(numbers, &src.erased(), &idx.erased(), &mut out.erased()));
    }
    let (src, idx, mut out) = (src, idx, out); // copies: the others need never stand in memory
    gather::long(form, &src.erased(), &idx.erased(), &mut out.erased())
}

/// `dst[idx] += a · src`, or `dst[idx] = src`.
#[inline(always)]
fn scatter<T: Element, I: Index>(
    form: Form,
    mut dst: ViewMut<'_, T>,
    idx: Indices<'_, I, T>,
    src: View<'_, T>,
    op: Op,
) -> Result<()> {
    if form != Form::Pick
        && let (Some(list), Some(values)) = (idx.list.as_vector(), src.as_vector())
        && let Some(table) = dst.as_vector()
    {
        let vectors = Vectors { table, list, is_signed: I::SIGNED, values };
        if is_done(&idx, vectors, |v| scatter::dense(v, op), |v, mode| scatter::few_resolved(v, mode, op)) {
            return Ok(());
        }
    }
    if let Some(numbers) = plan::of_matrices(form, dst.erased().as_view(), &idx.list.erased(), &src.erased())
    {
        return scatter::short(
            &mut scatter::job(numbers, &mut dst.erased(), &idx.erased(), &src.erased()),
            op,
        );
    }
    let (mut dst, idx, src) = (dst, idx, src); // as above
    scatter::long(form, &mut dst.erased(), &idx.erased(), &src.erased(), op)
}

/// Whether dense vectors were dealt with at the door: as they stand, or else each index resolved, where that may
/// differ.
#[inline(always)]
fn is_done<T: Element, I: Index, A, B>(
    idx: &Indices<'_, I, T>,
    mut vectors: Vectors<'_, A, B>,
    as_they_stand: impl FnOnce(&mut Vectors<'_, A, B>) -> bool,
    resolved: impl FnOnce(&mut Vectors<'_, A, B>, &Mode<[u8; 16]>) -> bool,
) -> bool {
    let is_plain = matches!(idx.mode, Mode::Raise);
    is_plain && as_they_stand(&mut vectors)
        || (I::SIGNED || !is_plain) && resolved(&mut vectors, &idx.erased().mode)
}

/// `+= a · x`
#[inline(always)]
fn add<T: Float>(a: T) -> Op {
    if size_of::<T>() == 4 { Op::AddF32(a.to_f64() as f32) } else { Op::AddF64(a.to_f64()) }
}

/// The elements of `src`, flattened in C order, that `idx` names: `np.take(src, idx)`, `torch.take(src, idx)`,
/// `jnp.take(src, idx)`. The result has the shape of
/// `idx`, as a vector in C order.
///
/// # What all gathers share
///
/// *Elements* are of any [`Element`] type: integers, floating-point numbers, `bool`.
///
/// *Indices* are of any [`Index`] type and are read where they stand. Plain ones must lie in `-n..n` for an
/// axis of length `n`, negative ones counting from its end; in [`Wrap`](crate::Wrap) or [`Clip`](crate::Clip)
/// any will do, as long as the axis has an element. In [`Fill`](crate::Fill) any will do at all, and those
/// outside `0..n`, negative ones included, give a value of your own.
///
/// *NaN* is copied as it is, payload included.
///
/// *Equality class*: the bits of [`reference`](crate::reference) at every level, for any strides and any number of
/// threads.
///
/// *Cost*: the indices are read twice, once to check them all (once, where any will do, and all is dense), and each
/// named element once, in place whatever the strides. The forms that end in `_into` write into the caller's array; the
/// others return a vector, which costs a page fault for each 4 KiB of it, several times the copy itself.
///
/// *Errors* come before the first write. Beside its own, each function has
/// [`Error::Level`](crate::Error::Level) if `GRADIX_LEVEL` names none, and those that return a vector have
/// [`Error::Overflow`](crate::Error::Overflow) if it cannot be addressed and
/// [`Error::Memory`](crate::Error::Memory) if there is no room for it.
///
/// # Errors
/// [`Error::Index`](crate::Error::Index) for the first index out of bounds.
///
/// ```
/// let grad = [1.2, 0.8, 0.5, 1.0, 0.3, 0.9];
/// assert_eq!(gradix::take(&grad, &[1, 3, 5])?, [0.8, 1.0, 0.9]);
/// assert_eq!(gradix::take(&grad, &[-1])?, [0.9]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn take<'s, 'i, T: Element, I: Index>(
    src: impl Into<View<'s, T>>,
    idx: impl Into<Indices<'i, I, T>>,
) -> Result<Vec<T>> {
    let idx = idx.into();
    let mut out = zeros(idx.list.shape())?;
    gather(Form::Flat, src.into(), idx, (&mut out).into(), true)?;
    Ok(out)
}

/// As [`take`], into `out`: of the shape of `idx`, or flat with as many elements.
///
/// Indices, NaN, equality and cost are those of [`take`].
///
/// # Errors
/// Those of [`take`]; [`Error::Shape`](crate::Error::Shape) if `out` has another shape. `out` is then as before.
///
/// ```
/// let mut out = [0.0; 3];
/// gradix::take_into(&[1.2, 0.8, 0.5], &[2, 0, 2], &mut out)?;
/// assert_eq!(out, [0.5, 1.2, 0.5]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[inline(always)]
pub fn take_into<'s, 'i, 'o, T: Element, I: Index>(
    src: impl Into<View<'s, T>>,
    idx: impl Into<Indices<'i, I, T>>,
    out: impl Into<ViewMut<'o, T>>,
) -> Result<()> {
    gather(Form::Flat, src.into(), idx.into(), out.into(), false)
}

/// The slices of `src` at the places on `axis` that `idx` names: `np.take(src, idx, axis)`,
/// `torch.index_select`, a vector in C order of the shape of `src` with `axis` replaced by the shape of
/// `idx`. A negative axis counts from the end.
///
/// Rows (the last axis not being `axis`) are copied at the speed of memory.
///
/// Indices, NaN, equality and cost are those of [`take`].
///
/// # Errors
/// [`Error::Axis`](crate::Error::Axis); [`Error::Index`](crate::Error::Index) for the first index out of bounds.
///
/// ```
/// use gradix::View;
/// let grad = [1.2, 0.8, 0.5, 1.0, 0.3, 0.9];
/// let grad = View::new(&grad, &[3, 2])?;
/// assert_eq!(gradix::take_axis(grad, 0, &[0, 2])?, [1.2, 0.8, 0.3, 0.9]);
/// assert_eq!(gradix::take_axis(grad, -1, &[1])?, [0.8, 1.0, 0.9]);
/// # Ok::<(), gradix::Error>(())
/// ```
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

/// As [`take_axis`], into `out`: of the shape told there, or flat with as many elements.
///
/// Indices, NaN, equality and cost are those of [`take`].
///
/// # Errors
/// Those of [`take_axis`]; [`Error::Shape`](crate::Error::Shape) if `out` has another shape. `out` is then as before.
///
/// ```
/// use gradix::{View, ViewMut};
/// let mut columns = [0.0; 6];
/// let rows = View::new(&[1.0, 2.0, 3.0, 4.0], &[2, 2])?;
/// let columns_first = ViewMut::new(&mut columns, &[2, 3])?.transposed();
/// gradix::take_axis_into(rows, 0, &[1, 0, 1], columns_first)?;
/// assert_eq!(columns, [3.0, 1.0, 3.0, 4.0, 2.0, 4.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[inline(always)]
pub fn take_axis_into<'s, 'i, 'o, T: Element, I: Index>(
    src: impl Into<View<'s, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    out: impl Into<ViewMut<'o, T>>,
) -> Result<()> {
    let src = src.into();
    let axis = src.axis(axis)?;
    gather(Form::Axis(axis), src, idx.into(), out.into(), false)
}

/// For each place of `idx`, the element of `src` at the same place but for `axis`, where `idx` says which:
/// `np.take_along_axis`, `torch.gather`, a vector in C order of the shape of `idx`. `idx` has the shape of
/// `src` on all other axes (one that repeats along an axis is a view with stride 0).
///
/// Indices, NaN, equality and cost are those of [`take`].
///
/// # Errors
/// [`Error::Axis`](crate::Error::Axis); [`Error::Shape`](crate::Error::Shape) if `idx` has another shape;
/// [`Error::Index`](crate::Error::Index) for the first index out of bounds.
///
/// ```
/// use gradix::View;
/// let x = [4.0, 6.0, 5.0, 1.0, 3.0, 2.0];
/// let order = [0, 2, 1, 0, 2, 1];
/// let sorted = gradix::take_along_axis(View::new(&x, &[2, 3])?, 1, View::new(&order, &[2, 3])?)?;
/// assert_eq!(sorted, [4.0, 5.0, 6.0, 1.0, 2.0, 3.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
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

/// As [`take_along_axis`], into `out`: of the shape of `idx`, or flat with as many elements.
///
/// Indices, NaN, equality and cost are those of [`take`].
///
/// # Errors
/// Those of [`take_along_axis`]; [`Error::Shape`](crate::Error::Shape) if `out` has another shape. `out` is
/// then as before.
///
/// ```
/// let mut out = [0.0; 2];
/// gradix::take_along_axis_into(&[4.0, 6.0, 5.0], 0, &[2, 0], &mut out)?;
/// assert_eq!(out, [5.0, 4.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[inline(always)]
pub fn take_along_axis_into<'s, 'i, 'o, T: Element, I: Index>(
    src: impl Into<View<'s, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    out: impl Into<ViewMut<'o, T>>,
) -> Result<()> {
    let src = src.into();
    let axis = src.axis(axis)?;
    gather(Form::Along(axis), src, idx.into(), out.into(), false)
}

/// One element of each row: `src[range(m), labels]` of a matrix with `m` rows.
///
/// Indices, NaN, equality and cost are those of [`take`].
///
/// # Errors
/// [`Error::Rank`](crate::Error::Rank) if `src` is no matrix; [`Error::Shape`](crate::Error::Shape) if there
/// are not `m` labels; [`Error::Index`](crate::Error::Index) for the first label out of bounds.
///
/// ```
/// use gradix::View;
/// let p = [0.7, 0.2, 0.1, 0.3, 0.3, 0.4];
/// assert_eq!(gradix::pick(View::new(&p, &[2, 3])?, &[0u8, 2])?, [0.7, 0.4]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub fn pick<'s, 'i, T: Element, I: Index>(
    src: impl Into<View<'s, T>>,
    labels: impl Into<Indices<'i, I, T>>,
) -> Result<Vec<T>> {
    let labels = labels.into();
    let mut out = zeros(labels.list.shape())?;
    pick_into(src, labels, &mut out)?;
    Ok(out)
}

/// As [`pick`], into `out` of length `m`.
///
/// Indices, NaN, equality and cost are those of [`take`].
///
/// # Errors
/// Those of [`pick`]; [`Error::Shape`](crate::Error::Shape) if `out` has another shape. `out` is then as before.
///
/// ```
/// use gradix::View;
/// let mut out = [0.0; 2];
/// gradix::pick_into(View::new(&[0.7, 0.3, 0.4, 0.6], &[2, 2])?, &[1, -1], &mut out)?;
/// assert_eq!(out, [0.3, 0.6]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[inline(always)]
pub fn pick_into<'s, 'i, 'o, T: Element, I: Index>(
    src: impl Into<View<'s, T>>,
    labels: impl Into<Indices<'i, I, T>>,
    out: impl Into<ViewMut<'o, T>>,
) -> Result<()> {
    gather(Form::Pick, src.into(), labels.into(), out.into(), false)
}

/// `dst[idx[k]] += src[k]`, `dst` flattened in C order: `np.add.at(dst, idx, src)`, `dst.at[idx].add(src)` in
/// JAX. `src` has the shape of `idx`, or is flat with as many elements.
///
/// # What all scatters share
///
/// *Indices* are those of [`take`](crate::take), and may repeat: what belongs to one element is added in the order of
/// the indices. Those in [`Fill`](crate::Fill) that lie outside the axis are skipped.
///
/// *NaN* and infinities are added as IEEE 754 has it; an element that no index names is not touched.
///
/// *Equality class*: the bits of [`reference`](crate::reference) at every level, for any strides and any number of
/// threads. The `_scaled` forms round `a · src` before they add it.
///
/// *Cost*: one pass over the indices to check them all (where they are far more than the places of a dense `dst`, a
/// copy of that instead); then `src` is read once, and each named element read and written once for each index that
/// names it, in place whatever the strides. Threads share the work by destination, hence without atomics and without
/// a copy of it; where all of them need all indices, each reads them.
///
/// *Errors* come before the first addition. Beside its own, each function has
/// [`Error::Level`](crate::Error::Level) if `GRADIX_LEVEL` names none.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if `src` has another shape; [`Error::Index`](crate::Error::Index) for the
/// first index out of bounds.
///
/// ```
/// let mut dst = [0.0; 3];
/// gradix::scatter_add(&mut dst, &[2, 0, 2], &[1.0, 10.0, 100.0])?;
/// assert_eq!(dst, [10.0, 0.0, 101.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[inline(always)]
pub fn scatter_add<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    idx: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
) -> Result<()> {
    scatter(Form::Flat, dst.into(), idx.into(), src.into(), add(T::ONE))
}

/// `dst[idx[k]] += a · src[k]`, otherwise as [`scatter_add`].
///
/// Indices, NaN, equality and cost are those of [`scatter_add`].
///
/// # Errors
/// Those of [`scatter_add`].
///
/// ```
/// let mut dst = [1.0, 1.0];
/// gradix::scatter_add_scaled(&mut dst, &[0, 0], &[1.0, 2.0], -0.5)?;
/// assert_eq!(dst, [-0.5, 1.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[inline(always)]
pub fn scatter_add_scaled<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    idx: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
    a: T,
) -> Result<()> {
    scatter(Form::Flat, dst.into(), idx.into(), src.into(), add(a))
}

/// `dst[.., idx[k], ..] += src[.., k, ..]` with the index on `axis`: torch's `index_add_`. `src` has the shape of
/// `dst` with `axis` replaced by the shape of `idx`, or is flat with as many elements.
///
/// Indices, NaN, equality and cost are those of [`scatter_add`].
///
/// # Errors
/// [`Error::Axis`](crate::Error::Axis), [`Error::Shape`](crate::Error::Shape) if `src` has another shape,
/// [`Error::Index`](crate::Error::Index) for the first index out of bounds.
///
/// ```
/// use gradix::{View, ViewMut};
/// let mut table = [0.0; 4];
/// let rows = [1.0, 2.0, 10.0, 20.0];
/// gradix::scatter_add_axis(ViewMut::new(&mut table, &[2, 2])?, 0, &[1, 1], View::new(&rows, &[2, 2])?)?;
/// assert_eq!(table, [0.0, 0.0, 11.0, 22.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[inline(always)]
pub fn scatter_add_axis<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
) -> Result<()> {
    scatter_add_axis_scaled(dst, axis, idx, src, T::ONE)
}

/// `dst[.., idx[k], ..] += a · src[.., k, ..]`, otherwise as [`scatter_add_axis`]: a step of SGD on the rows of an
/// embedding, with `a` the negative learning rate.
///
/// Indices, NaN, equality and cost are those of [`scatter_add`].
///
/// # Errors
/// Those of [`scatter_add_axis`].
///
/// ```
/// use gradix::{View, ViewMut};
/// let mut embedding = [1.0, 1.0, 1.0, 1.0];
/// let grad = [0.5, 1.0];
/// let (table, grad) = (ViewMut::new(&mut embedding, &[2, 2])?, View::new(&grad, &[1, 2])?);
/// gradix::scatter_add_axis_scaled(table, 0, &[1], grad, -0.1)?;
/// assert_eq!(embedding, [1.0, 1.0, 0.95, 0.9]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[inline(always)]
pub fn scatter_add_axis_scaled<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
    a: T,
) -> Result<()> {
    let dst = dst.into();
    let axis = dst.as_view().axis(axis)?;
    scatter(Form::Axis(axis), dst, idx.into(), src.into(), add(a))
}

/// For each place of `idx`, adds the element of `src` there to that of `dst` at the same place but for `axis`, where
/// `idx` says which: torch's `scatter_add_`. `idx` has the shape of `dst` on all other axes, and `src` that of `idx`
/// (or is flat with as many elements).
///
/// Indices, NaN, equality and cost are those of [`scatter_add`].
///
/// # Errors
/// [`Error::Axis`](crate::Error::Axis), [`Error::Shape`](crate::Error::Shape) if the shapes do not fit,
/// [`Error::Index`](crate::Error::Index) for the first index out of bounds.
///
/// ```
/// use gradix::{View, ViewMut};
/// let mut dst = [0.0; 4];
/// let idx = [1, 1, 0, 1, 0, 0];
/// let src = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let table = ViewMut::new(&mut dst, &[2, 2])?;
/// gradix::scatter_add_along_axis(table, 1, View::new(&idx, &[2, 3])?, View::new(&src, &[2, 3])?)?;
/// assert_eq!(dst, [3.0, 3.0, 11.0, 4.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[inline(always)]
pub fn scatter_add_along_axis<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
) -> Result<()> {
    scatter_add_along_axis_scaled(dst, axis, idx, src, T::ONE)
}

/// Adds `a · src`, otherwise as [`scatter_add_along_axis`].
///
/// Indices, NaN, equality and cost are those of [`scatter_add`].
///
/// # Errors
/// Those of [`scatter_add_along_axis`].
///
/// ```
/// let mut dst = [0.0; 2];
/// gradix::scatter_add_along_axis_scaled(&mut dst, 0, &[1, 1, 0], &[1.0, 2.0, 3.0], 2.0)?;
/// assert_eq!(dst, [6.0, 6.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[inline(always)]
pub fn scatter_add_along_axis_scaled<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
    a: T,
) -> Result<()> {
    let dst = dst.into();
    let axis = dst.as_view().axis(axis)?;
    scatter(Form::Along(axis), dst, idx.into(), src.into(), add(a))
}

/// Adds `x` to one element of each row: `dst[range(m), labels] += x` for a matrix with `m` rows.
///
/// Indices, NaN, equality and cost are those of [`scatter_add`].
///
/// # Errors
/// [`Error::Rank`](crate::Error::Rank) if `dst` is no matrix; [`Error::Shape`](crate::Error::Shape) if there are not
/// `m` labels; [`Error::Index`](crate::Error::Index) for the first label out of bounds.
///
/// ```
/// use gradix::ViewMut;
/// let mut p = [0.7, 0.2, 0.1, 0.3, 0.3, 0.4];
/// gradix::pick_add(ViewMut::new(&mut p, &[2, 3])?, &[0, 2], -1.0)?; // p[range(m), y] -= 1
/// assert_eq!(p, [0.7 - 1.0, 0.2, 0.1, 0.3, 0.3, 0.4 - 1.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[inline(always)]
pub fn pick_add<'d, 'i, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    labels: impl Into<Indices<'i, I, T>>,
    x: T,
) -> Result<()> {
    let dst = dst.into();
    let rows = dst.shape().first().map_or(1, |&rows| rows);
    let (dst, labels, x) = (dst, labels.into(), View::repeated(&x, &[rows])?);
    scatter(Form::Pick, dst, labels, x, add(T::ONE))
}

/// Adds `a · src[p]` to one element of each row p: `dst[range(m), labels] += a * src`, the gradient of
/// [`pick`](crate::pick).
///
/// Indices, NaN, equality and cost are those of [`scatter_add`].
///
/// # Errors
/// Those of [`pick_add`]; [`Error::Shape`](crate::Error::Shape) if `src` has not `m` elements.
///
/// ```
/// use gradix::ViewMut;
/// let mut grad = [0.0; 4];
/// gradix::pick_add_scaled(ViewMut::new(&mut grad, &[2, 2])?, &[1, 0], &[3.0, 4.0], 0.5)?;
/// assert_eq!(grad, [0.0, 1.5, 2.0, 0.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[inline(always)]
pub fn pick_add_scaled<'d, 'i, 's, T: Float, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    labels: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
    a: T,
) -> Result<()> {
    scatter(Form::Pick, dst.into(), labels.into(), src.into(), add(a))
}

/// `dst[idx[k]] = src[k]`, `dst` flattened in C order: `np.put(dst, idx, src)`, `dst.at[idx].set(src)` in
/// JAX. `src` has the shape of `idx`, or is flat with as many elements.
///
/// # What all puts share
///
/// *Elements and indices* are those of [`take`](crate::take). Indices may repeat: of the elements meant for
/// one place, the last in the order of the indices stays, at any number of threads. Those in
/// [`Fill`](crate::Fill) that lie outside the axis are skipped.
///
/// *NaN* is copied as it is, payload included.
///
/// *Equality class*: the bits of [`reference`](crate::reference) at every level, for any strides and any
/// number of threads.
///
/// *Cost*: one pass over the indices to check them all (where they are far more than the places of a dense `dst`, a
/// copy of that instead); then `src` is read once, and each named element written once for each index that names it,
/// in place whatever the strides. Threads share the work as those of [`scatter_add`].
///
/// *Errors* come before the first write. Beside its own, each function has [`Error::Level`](crate::Error::Level) if
/// `GRADIX_LEVEL` names none.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if `src` has another shape; [`Error::Index`](crate::Error::Index) for the
/// first index out of bounds.
///
/// ```
/// let mut dst = [0; 4];
/// gradix::put(&mut dst, &[2, 0, 2], &[1, 2, 3])?;
/// assert_eq!(dst, [2, 0, 3, 0]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[inline(always)]
pub fn put<'d, 'i, 's, T: Element, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    idx: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
) -> Result<()> {
    scatter(Form::Flat, dst.into(), idx.into(), src.into(), Op::Put)
}

/// `dst[.., idx[k], ..] = src[.., k, ..]` with the index on `axis`: torch's `index_copy_`. `src` has the
/// shape of `dst` with `axis` replaced by the shape of `idx`, or is flat with as many elements.
///
/// Elements, indices, duplicates, NaN, equality and cost are those of [`put`].
///
/// # Errors
/// [`Error::Axis`](crate::Error::Axis), [`Error::Shape`](crate::Error::Shape) if `src` has another shape,
/// [`Error::Index`](crate::Error::Index) for the first index out of bounds.
///
/// ```
/// use gradix::{View, ViewMut};
/// let mut table = [0.0; 4];
/// gradix::put_axis(ViewMut::new(&mut table, &[2, 2])?, 0, &[1], View::new(&[5.0, 6.0], &[1, 2])?)?;
/// assert_eq!(table, [0.0, 0.0, 5.0, 6.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[inline(always)]
pub fn put_axis<'d, 'i, 's, T: Element, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
) -> Result<()> {
    let dst = dst.into();
    let axis = dst.as_view().axis(axis)?;
    scatter(Form::Axis(axis), dst, idx.into(), src.into(), Op::Put)
}

/// For each place of `idx`, overwrites the element of `dst` at the same place but for `axis`, where `idx`
/// says which, with the element of `src` there: `np.put_along_axis`, torch's `scatter_`. `idx` has the shape
/// of `dst` on all other axes, and `src` that of `idx` (or is flat with as many elements).
///
/// Elements, indices, duplicates, NaN, equality and cost are those of [`put`].
///
/// # Errors
/// [`Error::Axis`](crate::Error::Axis), [`Error::Shape`](crate::Error::Shape) if the shapes do not fit,
/// [`Error::Index`](crate::Error::Index) for the first index out of bounds.
///
/// ```
/// use gradix::{View, ViewMut};
/// let mut dst = [0; 6];
/// let idx = View::new(&[2u8, 0], &[2, 1])?;
/// gradix::put_along_axis(ViewMut::new(&mut dst, &[2, 3])?, 1, idx, View::new(&[7, 8], &[2, 1])?)?;
/// assert_eq!(dst, [0, 0, 7, 8, 0, 0]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[inline(always)]
pub fn put_along_axis<'d, 'i, 's, T: Element, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    src: impl Into<View<'s, T>>,
) -> Result<()> {
    let dst = dst.into();
    let axis = dst.as_view().axis(axis)?;
    scatter(Form::Along(axis), dst, idx.into(), src.into(), Op::Put)
}

/// `dst[idx[k]] = value`, `dst` flattened in C order: `np.put(dst, idx, value)`.
///
/// Elements, indices, equality and cost are those of [`put`].
///
/// # Errors
/// [`Error::Index`](crate::Error::Index) for the first index out of bounds.
///
/// ```
/// let mut dst = [1, 2, 3];
/// gradix::put_value(&mut dst, &[0, -1], 9)?;
/// assert_eq!(dst, [9, 2, 9]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[inline(always)]
pub fn put_value<'d, 'i, T: Element, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    idx: impl Into<Indices<'i, I, T>>,
    value: T,
) -> Result<()> {
    let idx = idx.into();
    let src = View::repeated(&value, idx.list.shape())?;
    scatter(Form::Flat, dst.into(), idx, src, Op::Put)
}

/// `dst[.., idx[k], ..] = value` with the index on `axis`: torch's `index_fill_`.
///
/// Elements, indices, equality and cost are those of [`put`].
///
/// # Errors
/// [`Error::Axis`](crate::Error::Axis); [`Error::Index`](crate::Error::Index) for the first index out of bounds;
/// [`Error::Rank`](crate::Error::Rank) if `dst` and `idx` have more than 9 axes together.
///
/// ```
/// let mut dst = [1, 2, 3, 4];
/// gradix::put_value_axis(gradix::ViewMut::new(&mut dst, &[2, 2])?, 1, &[1], 0)?;
/// assert_eq!(dst, [1, 0, 3, 0]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[inline(always)]
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
    scatter(Form::Axis(at), dst, idx, src, Op::Put)
}

/// For each place of `idx`, overwrites the element of `dst` at the same place but for `axis`, where `idx` says which:
/// `np.put_along_axis(dst, idx, value, axis)`.
///
/// Elements, indices, equality and cost are those of [`put`].
///
/// # Errors
/// [`Error::Axis`](crate::Error::Axis), [`Error::Shape`](crate::Error::Shape) if `idx` has another shape than
/// `dst` on another axis, [`Error::Index`](crate::Error::Index) for the first index out of bounds.
///
/// ```
/// use gradix::{View, ViewMut};
/// let mut mask = [false; 4];
/// let top = View::new(&[1, 0], &[2, 1])?;
/// gradix::put_value_along_axis(ViewMut::new(&mut mask, &[2, 2])?, 1, top, true)?;
/// assert_eq!(mask, [false, true, true, false]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[inline(always)]
pub fn put_value_along_axis<'d, 'i, T: Element, I: Index>(
    dst: impl Into<ViewMut<'d, T>>,
    axis: isize,
    idx: impl Into<Indices<'i, I, T>>,
    value: T,
) -> Result<()> {
    let (dst, idx) = (dst.into(), idx.into());
    let axis = dst.as_view().axis(axis)?;
    let src = View::repeated(&value, idx.list.shape())?;
    scatter(Form::Along(axis), dst, idx, src, Op::Put)
}
