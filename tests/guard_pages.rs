//! Every operation beside pages that nobody may touch: no read and no write outside its arrays.
//!
//! All arrays of a call begin right after such a page, then all end right before one, at every length of 0 to 200
//! elements; those that end there begin at every misalignment. An access outside is a fault, which ends the process.

mod common;

use bytemuck::Pod;
use common::guarded::{Guarded, SIDES, Side};
use gradix::{
    AbsGe, Clip, Float, Gt, Index, Level, Position, Reduction, SoftmaxXent, View, ViewMut, Wrap, select,
};

/// Whether a few short arrays are enough, as `.ci/qemu` says, where each takes a hundred times as long.
fn are_few() -> bool {
    std::env::var_os("GRADIX_FEW_LENGTHS").is_some()
}

/// Lengths of the arrays' first axis; the long ones are shared by threads.
fn lengths() -> impl Iterator<Item = usize> {
    let long: &[usize] = if are_few() { &[] } else { &[2047, 2049, 40_001] };
    (0..200).step_by(if are_few() { 37 } else { 1 }).chain(long.iter().copied())
}

/// Enough for threads to share a selection.
const LONG: usize = 300_000;

/// Room for arrays of `LONG` elements of `f64`.
fn guarded<const N: usize>() -> [Guarded; N] {
    [(); N].map(|()| Guarded::new(LONG * 8))
}

/// `check` for each end and level.
fn each(mut check: impl FnMut(Side, Level)) {
    for side in SIDES {
        for &level in Level::available() {
            level.run(|| check(side, level)).expect("an available level");
        }
    }
}

fn numbers<T: Float>(len: usize) -> Vec<T> {
    (0..len).map(|i| T::from_f64((i * 7919 % 31) as f64 / 8.0 - 2.0)).collect()
}

/// Indices below `bound` that come more than once.
fn indices<I: Index + TryFrom<usize>>(len: usize, bound: usize) -> Vec<I> {
    let index = |i: usize| I::try_from(i * 7919 % bound.clamp(1, 100)).ok().expect("below 100");
    if bound == 0 { Vec::new() } else { (0..len).map(index).collect() }
}

fn gather_and_scatter<T: Float + Pod, I: Index + Pod + TryFrom<usize>>() {
    let [mut a, mut b, mut c] = guarded::<3>();
    for len in lengths() {
        each(|side, _| {
            let table = a.put(side, &numbers::<T>(len));
            let list = &*b.put(side, &indices::<I>(len, len));
            let values = c.put(side, &numbers::<T>(len));
            gradix::take_into(&*table, list, &mut *values).unwrap();
            gradix::take_into(&*table, Wrap(list), &mut *values).unwrap();
            gradix::take_into(&*table, Clip(list), &mut *values).unwrap();
            gradix::scatter_add(&mut *table, list, &*values).unwrap();
            gradix::scatter_add_scaled(&mut *table, list, &*values, T::ONE).unwrap();
            gradix::take_along_axis_into(&*table, 0, list, &mut *values).unwrap();
            gradix::scatter_add_along_axis(&mut *table, 0, list, &*values).unwrap();
        });
        each(|side, _| {
            // Rows and columns of a matrix, dense and turned.
            for (shape, axis) in [([3, len], 0), ([len, 3], 0), ([3, len], 1), ([len, 3], 1)] {
                for turned in [false, true] {
                    let list = indices::<I>(if axis == 0 { 5 } else { 3 }, shape[axis]);
                    let (rows, columns) =
                        if axis == 0 { (list.len(), shape[1]) } else { (shape[0], list.len()) };
                    let table = a.put(side, &numbers::<T>(3 * len));
                    let list = &*b.put(side, &list);
                    let values = c.put(side, &numbers::<T>(rows * columns));
                    let view = |data| {
                        let view = View::strided(data, &shape, &strides(shape, turned), 0);
                        view.expect("a layout of three lengths")
                    };
                    gradix::take_axis_into(view(table), axis as isize, list, &mut *values).unwrap();
                    let mut table = ViewMut::strided(table, &shape, &strides(shape, turned), 0).unwrap();
                    gradix::scatter_add_axis(table.reborrow(), axis as isize, list, &*values).unwrap();
                    gradix::scatter_add_axis_scaled(table, axis as isize, list, &*values, T::ONE).unwrap();
                }
            }
            // An index for each element, all three arrays turned or none.
            for (shape, axis) in [([3, len], 0), ([len, 3], 1), ([len, 3], 0), ([3, len], 1)] {
                for turned in [false, true] {
                    let strides = strides(shape, turned);
                    let table = a.put(side, &numbers::<T>(3 * len));
                    let list = &*b.put(side, &indices::<I>(3 * len, shape[axis]));
                    let values = c.put(side, &numbers::<T>(3 * len));
                    let list = View::strided(list, &shape, &strides, 0).unwrap();
                    let (from, to) = (
                        View::strided(table, &shape, &strides, 0),
                        ViewMut::strided(values, &shape, &strides, 0),
                    );
                    gradix::take_along_axis_into(from.unwrap(), axis as isize, list, to.unwrap()).unwrap();
                    let (from, to) = (
                        View::strided(values, &shape, &strides, 0),
                        ViewMut::strided(table, &shape, &strides, 0),
                    );
                    let (from, axis) = (from.unwrap(), axis as isize);
                    gradix::scatter_add_along_axis_scaled(to.unwrap(), axis, list, from, T::ONE).unwrap();
                }
            }
            // One of each row.
            for turned in [false, true] {
                let table = a.put(side, &numbers::<T>(3 * len));
                let list = &*b.put(side, &indices::<I>(len, 3));
                let values = c.put(side, &numbers::<T>(len));
                let strides = strides([len, 3], turned);
                gradix::pick_into(View::strided(table, &[len, 3], &strides, 0).unwrap(), list, &mut *values)
                    .unwrap();
                gradix::pick_add(ViewMut::strided(table, &[len, 3], &strides, 0).unwrap(), list, T::ONE)
                    .unwrap();
                let table = ViewMut::strided(table, &[len, 3], &strides, 0).unwrap();
                gradix::pick_add_scaled(table, list, &*values, T::ONE).unwrap();
            }
        });
    }
}

/// Dense strides of a matrix: in C order, or of its transpose.
fn strides(shape: [usize; 2], turned: bool) -> [isize; 2] {
    if turned { [1, shape[0] as isize] } else { [shape[1] as isize, 1] }
}

#[test]
fn gather_and_scatter_stay_inside() {
    gather_and_scatter::<f32, u8>();
    gather_and_scatter::<f32, i64>();
    gather_and_scatter::<f64, u32>();
}

fn selections<T: Float + Pod, I: Position + Pod>() {
    let [mut a, mut b, mut c, mut d] = guarded::<4>();
    for len in lengths().chain((!are_few()).then_some(LONG)) {
        for threshold in [-9.0, 0.0, 1.7, 9.0] {
            each(|side, _| {
                let x = a.put(side, &numbers::<T>(len));
                let p = Gt(T::from_f64(threshold));
                let hits = select::count(&*x, p).unwrap();
                // Exactly the room that is needed.
                let (i, v) = (b.put(side, &vec![I::default(); hits]), c.put(side, &vec![T::ZERO; hits]));
                assert_eq!(select::indices_into(&*x, p, i), Ok(hits));
                assert_eq!(select::values_into(&*x, p, v), Ok(hits));
                assert_eq!(select::pairs_into(&*x, p, i, v), Ok(hits));
                // Room for all, which is written to directly.
                let (i, v) = (b.put(side, &vec![I::default(); len]), c.put(side, &vec![T::ZERO; len]));
                assert_eq!(select::pairs_into(&*x, p, i, v), Ok(hits));
                assert_eq!(select::indices_into(&*x, p, i), Ok(hits));
                assert_eq!(select::values_into(&*x, p, v), Ok(hits));
                select::top_k_threshold(&*x, hits).ok();
                let grad = d.put(side, &numbers::<T>(len));
                select::sparsify_with_into(&*grad, &mut *x, AbsGe(T::from_f64(threshold)), i, v).unwrap();
                select::sparsify_into(&mut *grad, AbsGe(T::from_f64(threshold)), i, v).unwrap();
            });
        }
        each(|side, _| {
            let x = a.put(side, &numbers::<T>(len));
            let bytes = b.put(side, &vec![0u8; len]);
            // One truth value for each byte, made of zeros.
            let mask: &mut [bool] = bools(bytes);
            assert_eq!(select::mask_into(&*x, Gt(T::ZERO), mask), Ok(len));
            // The same, read against the grain.
            let back = View::strided(x, &[len], &[-1], len.saturating_sub(1)).unwrap();
            assert_eq!(select::mask_into(back, Gt(T::ZERO), mask), Ok(len));
            // Every other element, the first and the last among them.
            let half = len.div_ceil(2);
            let other = View::strided(x, &[half], &[2], 0).unwrap();
            for p in [Gt(T::ZERO), Gt(T::from_f64(1.7))] {
                let hits = select::count(back, p).unwrap();
                let (i, v) = (b.put(side, &vec![I::default(); hits]), c.put(side, &vec![T::ZERO; hits]));
                assert_eq!(select::pairs_into(back, p, i, v), Ok(hits));
                assert_eq!(select::indices_into(back, p, i), Ok(hits));
                assert_eq!(select::values_into(back, p, v), Ok(hits));
                select::top_k_threshold(back, hits).ok();
                let (i, v) = (b.put(side, &vec![I::default(); half]), c.put(side, &vec![T::ZERO; half]));
                let residual = d.put(side, &numbers::<T>(len));
                let mut residual = ViewMut::strided(residual, &[half], &[2], 0).unwrap();
                select::sparsify_with_into(other, residual.reborrow(), p, i, v).unwrap();
                select::sparsify_into(residual, p, i, v).unwrap();
            }
        });
    }
}

/// Zeros as truth values.
#[allow(unsafe_code)]
fn bools(bytes: &mut [u8]) -> &mut [bool] {
    assert!(bytes.iter().all(|&byte| byte == 0));
    // SAFETY: of the size and alignment of `u8`, and all of them 0, which is `false`.
    unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) }
}

#[test]
fn selections_stay_inside() {
    selections::<f32, u32>();
    selections::<f64, u32>();
    selections::<f32, u64>();
}

fn cross_entropies<T: Float + Pod>() {
    let [mut a, mut b, mut c, mut d] = guarded::<4>();
    for classes in lengths().filter(|&n| n > 0) {
        let rows = if classes > 200 { 3 } else { 5 };
        for (shape, axis) in [([rows, classes], 1), ([classes, rows], 0), ([classes, rows], 1)] {
            let (classes, rows) = (shape[axis], shape[1 - axis]);
            each(|side, _| {
                let x = a.put(side, &numbers::<T>(rows * classes));
                let labels = &*b.put(side, &indices::<i32>(rows, classes));
                let grad = c.put(side, &numbers::<T>(rows * classes));
                let weights = d.put(side, &vec![T::ONE; classes]);
                let xent = SoftmaxXent::new().class_axis(axis as isize).class_weights(weights);
                xent.forward_backward(View::new(x, &shape).unwrap(), labels, &mut *grad).unwrap();
                let xent = SoftmaxXent::new().class_axis(axis as isize).reduction(Reduction::None);
                let view = View::new(x, &shape).unwrap();
                xent.forward_backward(view, labels, &mut *grad).unwrap();
                let found = xent.forward(view, labels).unwrap();
                let upstream = &*d.put(side, &vec![T::ONE; rows]);
                xent.backward(view, labels, upstream, &mut *grad).unwrap();
                xent.backward_from(view, labels, &found.partials, upstream, &mut *grad).unwrap();
                xent.forward_backward_in_place(ViewMut::new(x, &shape).unwrap(), labels).unwrap();
            });
            // With every option, on rows that stand apart and on classes that do.
            for strides in [[shape[1] as isize + 3, 1], [2 * shape[1] as isize, 2]] {
                let last = (shape[0] - 1) as isize * strides[0] + (shape[1] - 1) as isize * strides[1];
                each(|side, _| {
                    let x = a.put(side, &numbers::<T>(last as usize + 1));
                    let labels = &*b.put(side, &indices::<i32>(rows, classes));
                    let grad = c.put(side, &numbers::<T>(last as usize + 1));
                    let weights = d.put(side, &vec![T::ONE; classes]);
                    let xent = SoftmaxXent::new().class_axis(axis as isize).class_weights(weights);
                    let xent = xent.softcap(T::from_f64(5.0)).z_loss(T::from_f64(1e-3)).ignore_index(1);
                    let smooth = xent.clone().label_smoothing(T::from_f64(0.1));
                    let view = View::strided(x, &shape, &strides, 0).unwrap();
                    let mut to = ViewMut::strided(grad, &shape, &strides, 0).unwrap();
                    smooth.forward_backward(view, labels, to.reborrow()).unwrap();
                    let found = xent.clone().shard(0, classes).partials(view, labels).unwrap();
                    xent.backward_from(view, labels, &found, &[T::ONE], to).unwrap();
                    let place = ViewMut::strided(x, &shape, &strides, 0).unwrap();
                    xent.forward_backward_in_place(place, labels).unwrap();
                });
            }
        }
    }
}

#[test]
fn cross_entropies_stay_inside() {
    cross_entropies::<f32>();
    cross_entropies::<f64>();
}
