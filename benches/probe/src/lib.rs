//! Every public function, for both element types and every index type, as a user's crate calls them. What is compiled here
//! is what the crate's generic functions cost in the crates that use it; `.ci/size` weighs it.

use gradix::{
    Between, Clip, Fill, Float, Ge, Index, IsNan, Ne, NotNan, Position, Result, SoftmaxXent, View, ViewMut,
    Wrap, select,
};

/// Calls each function with each pair of an element and an index type, through a public function of its own that cannot be
/// inlined or left out.
macro_rules! for_types {
    ($module:ident, $call:ident, $t:ident: $($i:ident)*) => {
        pub mod $module {
            $(
                #[inline(never)]
                pub fn $i(x: &[$t], y: &mut [$t], idx: &[$i]) -> gradix::Result<()> {
                    super::$call(x, y, idx)
                }
            )*
        }
    };
}
for_types!(indexed_f32, indexed, f32: u8 u16 u32 u64 usize i32 i64);
for_types!(indexed_f64, indexed, f64: u8 u16 u32 u64 usize i32 i64);
for_types!(softmax_f32, softmax, f32: u8 u16 u32 u64 usize i32 i64);
for_types!(softmax_f64, softmax, f64: u8 u16 u32 u64 usize i32 i64);

macro_rules! for_positions {
    ($module:ident, $t:ident: $($i:ident)*) => {
        pub mod $module {
            $(
                #[inline(never)]
                pub fn $i(x: &[$t], y: &mut [$t], idx: &mut [$i]) -> gradix::Result<()> {
                    super::selected(x, y, idx, gradix::Gt(0.5))?;
                    super::selected(x, y, idx, gradix::AbsGt(0.5))
                }
            )*
        }
    };
}
for_positions!(select_f32, f32: u32 u64 usize i64);
for_positions!(select_f64, f64: u32 u64 usize i64);

fn indexed<T: Float, I: Index>(x: &[T], y: &mut [T], idx: &[I]) -> Result<()> {
    let rows = [x.len() / 4, 4];
    let matrix = View::new(x, &rows)?;
    y.copy_from_slice(&gradix::take(x, idx)?);
    gradix::take_into(x, Wrap(idx), &mut *y)?;
    gradix::take_into(x, Clip(idx), &mut *y)?;
    y.copy_from_slice(&gradix::take_axis(matrix, 0, idx)?);
    gradix::take_axis_into(matrix, 1, idx, &mut *y)?;
    y.copy_from_slice(&gradix::take_along_axis(x, 0, idx)?);
    gradix::take_along_axis_into(x, 0, idx, &mut *y)?;
    y.copy_from_slice(&gradix::pick(matrix, idx)?);
    gradix::pick_into(matrix, idx, &mut *y)?;
    gradix::take_into(x, Fill(idx, x[0]), &mut *y)?;
    gradix::put(&mut *y, idx, x)?;
    gradix::put_axis(&mut *y, 0, idx, x)?;
    gradix::put_along_axis(&mut *y, 0, idx, x)?;
    gradix::put_value(&mut *y, idx, x[0])?;
    gradix::put_value_axis(&mut *y, 0, idx, x[0])?;
    gradix::put_value_along_axis(&mut *y, 0, idx, x[0])?;
    gradix::scatter_add(&mut *y, idx, x)?;
    gradix::scatter_add_scaled(&mut *y, idx, x, x[0])?;
    gradix::scatter_add_axis(&mut *y, 0, idx, x)?;
    gradix::scatter_add_axis_scaled(&mut *y, 0, idx, x, x[0])?;
    gradix::scatter_add_along_axis(&mut *y, 0, idx, x)?;
    gradix::scatter_add_along_axis_scaled(&mut *y, 0, idx, x, x[0])?;
    gradix::pick_add(ViewMut::new(y, &rows)?, idx, x[0])?;
    gradix::pick_add_scaled(ViewMut::new(y, &rows)?, idx, x, x[0])
}

fn softmax<T: Float, I: Index>(x: &[T], y: &mut [T], idx: &[I]) -> Result<()> {
    let rows = [idx.len(), x.len() / idx.len()];
    let logits = || View::new(x, &rows);
    let xent = SoftmaxXent::new().class_weights(x).label_smoothing(x[0]).z_loss(x[1]).softcap(x[2]);
    xent.forward_backward(logits()?, idx, ViewMut::new(y, &rows)?)?;
    xent.forward_backward_in_place(ViewMut::new(y, &rows)?, idx)?;
    xent.forward_backward_soft(logits()?, logits()?, ViewMut::new(y, &rows)?)?;
    xent.forward_backward_soft_in_place(ViewMut::new(y, &rows)?, logits()?)?;
    gradix::softmax_into(logits()?, 1, ViewMut::new(y, &rows)?)?;
    gradix::softmax_in_place(ViewMut::new(y, &rows)?, 1)?;
    y.copy_from_slice(&gradix::softmax(logits()?, 1)?);
    gradix::log_softmax_into(logits()?, 1, ViewMut::new(y, &rows)?)?;
    gradix::log_softmax_in_place(ViewMut::new(y, &rows)?, 1)?;
    y.copy_from_slice(&gradix::log_softmax(logits()?, 1)?);
    let forward = xent.forward(logits()?, idx)?;
    xent.backward(logits()?, idx, &forward.losses, ViewMut::new(y, &rows)?)?;
    let partials = xent.partials(logits()?, idx)?;
    xent.backward_from(logits()?, idx, &partials, &forward.losses, ViewMut::new(y, &rows)?)?;
    Ok(())
}

fn selected<T: Float, I: Position>(
    x: &[T],
    y: &mut [T],
    idx: &mut [I],
    predicate: impl gradix::Predicate<T>,
) -> Result<()> {
    idx.copy_from_slice(&select::indices(x, predicate)?);
    select::indices_into(x, predicate, idx)?;
    y.copy_from_slice(&select::values(x, predicate)?);
    select::values_into(x, predicate, y)?;
    y.copy_from_slice(&select::pairs::<_, I>(x, predicate)?.1);
    select::pairs_into(x, predicate, idx, y)?;
    select::count(x, predicate)?;
    select::mask_into(x, predicate, &mut select::mask(x, predicate)?)?;
    idx.copy_from_slice(&select::sparsify(&mut *y, predicate)?.0);
    idx.copy_from_slice(&select::sparsify_with(x, &mut *y, predicate)?.0);
    let mut values = x.to_vec();
    select::sparsify_into(&mut *y, predicate, idx, &mut values)?;
    select::sparsify_with_into(x, &mut *y, predicate, idx, &mut values)?;
    let mask = select::mask(x, predicate)?;
    y.copy_from_slice(&select::compress(x, &mask[..])?);
    select::compress_into(x, &mask[..], y)?;
    idx.copy_from_slice(&select::compress_indices(&mask[..])?);
    select::compress_indices_into(&mask[..], idx)?;
    let k = y.len();
    y[0] = select::top_k_threshold(x, k)?;
    idx.copy_from_slice(&select::top_k(x, k)?.0);
    select::top_k_into(x, k, idx, y)?;
    idx.copy_from_slice(&select::sparsify_top_k(&mut *y, k)?.0);
    select::sparsify_top_k_into(&mut *y, k, idx, &mut values)?;
    idx.copy_from_slice(&select::sparsify_top_k_with(x, &mut *y, k)?.0);
    select::sparsify_top_k_with_into(x, &mut *y, k, idx, &mut values)?;
    Ok(())
}

/// Predicates besides those above, which one call each stands for.
pub fn predicates(x: &[f32]) -> Result<usize> {
    let bounded = select::count(x, Ge(0.0))? + select::count(x, Between(0.0, 1.0))?;
    Ok(bounded + select::count(x, Ne(0.0))? + select::count(x, IsNan)? + select::count(x, NotNan)?)
}
