//! Arrays of the crate `ndarray`, of any rank and stride, go wherever a view does.

#![cfg(feature = "ndarray")]

use gradix::{Error, Gt, SoftmaxXent, View, ViewMut, select};
use ndarray::Slice;
use ndarray::prelude::*;
use proptest::prelude::*;

/// 0, 1, 2 … in this shape.
fn counted(shape: &[usize]) -> ArrayD<f64> {
    let len = shape.iter().product();
    ArrayD::from_shape_vec(shape, (0..len).map(|i| i as f64).collect()).unwrap()
}

/// One axis: its length in the array, and the part that is meant (from, to, step of either sign).
type Cut = (usize, Slice);

fn cuts(rank: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Cut>> {
    let step = prop_oneof![1..3isize, -3..0isize];
    let cut = (1..6usize, 0..6usize, 0..6usize, step).prop_map(|(n, a, b, step)| {
        let (a, b) = (a.min(n), b.min(n));
        (n, Slice::new(a.min(b) as isize, Some(a.max(b) as isize), step))
    });
    proptest::collection::vec(cut, rank)
}

fn lengths(cuts: &[Cut]) -> Vec<usize> {
    cuts.iter().map(|cut| cut.0).collect()
}

/// That part of the array, with its axes rotated.
fn part<'a>(array: &'a ArrayD<f64>, cuts: &[Cut], rotation: usize) -> ArrayViewD<'a, f64> {
    let view = array.slice_each_axis(|axis| cuts[axis.axis.index()].1);
    view.permuted_axes(rotated(cuts.len(), rotation))
}

/// The same, to write to.
fn part_mut<'a>(array: &'a mut ArrayD<f64>, cuts: &[Cut], rotation: usize) -> ArrayViewMutD<'a, f64> {
    let view = array.slice_each_axis_mut(|axis| cuts[axis.axis.index()].1);
    view.permuted_axes(rotated(cuts.len(), rotation))
}

fn rotated(rank: usize, by: usize) -> Vec<usize> {
    (0..rank).map(|axis| (axis + by) % rank).collect()
}

fn bits<'a>(elements: impl IntoIterator<Item = &'a f64>) -> Vec<u64> {
    elements.into_iter().map(|x| x.to_bits()).collect()
}

proptest! {
    #[test]
    fn a_view_reads_what_the_array_holds(cuts in cuts(0..5), rotation in 0..5usize) {
        let array = counted(&lengths(&cuts));
        let part = part(&array, &cuts, rotation);
        let view = View::try_from(part.clone()).unwrap();
        prop_assert_eq!(view.shape(), part.shape());
        for (index, &x) in part.indexed_iter() {
            prop_assert_eq!(view.get(index.as_array_view().as_slice().unwrap()), Some(x));
        }
    }

    #[test]
    fn take_axis_is_ndarrays_select(cuts in cuts(1..5), rotation in 0..5usize, axis in 0..5usize, seed in 0..64usize) {
        let array = counted(&lengths(&cuts));
        let part = part(&array, &cuts, rotation);
        let axis = axis % part.ndim();
        let n = part.len_of(Axis(axis));
        let idx: Vec<usize> = if n == 0 { vec![] } else { (0..7).map(|i| (i * 5 + seed) % n).collect() };
        let expected = part.select(Axis(axis), &idx);
        let got = gradix::take_axis(View::try_from(part).unwrap(), axis as isize, &idx).unwrap();
        prop_assert_eq!(bits(&got), bits(&expected));
    }

    #[test]
    fn selection_goes_in_c_order(cuts in cuts(0..5), rotation in 0..5usize, above in 0..100u8) {
        let (array, above) = (counted(&lengths(&cuts)), f64::from(above));
        let part = part(&array, &cuts, rotation);
        let expected: (Vec<u32>, Vec<f64>) =
            part.iter().enumerate().filter(|(_, x)| **x > above).map(|(i, &x)| (i as u32, x)).unzip();
        let got = select::pairs(View::try_from(part).unwrap(), Gt(above)).unwrap();
        prop_assert_eq!(got, expected);
    }

    /// The gradient of a part, written to a part, has the bits of the one from a copy to a new array; around it
    /// nothing changes.
    #[test]
    fn softmax_reads_and_writes_parts(cuts in cuts(2..3), rotation in 0..2usize, classes in 0..2usize) {
        let logits = counted(&lengths(&cuts)).mapv(|x| (x * 0.37).sin() * 9.0);
        let logits = part(&logits, &cuts, rotation);
        prop_assume!(logits.len_of(Axis(classes)) > 0);
        let labels: Vec<usize> = (0..logits.len_of(Axis(1 - classes))).map(|i| i % logits.len_of(Axis(classes))).collect();
        let xent = SoftmaxXent::new().class_axis(classes as isize);

        let copy = logits.as_standard_layout().into_owned();
        let mut expected = ArrayD::<f64>::zeros(logits.shape());
        let expected_loss = xent
            .forward_backward(View::try_from(copy.view()).unwrap(), &labels, ViewMut::try_from(expected.view_mut()).unwrap())
            .unwrap();

        let mut outer = ArrayD::from_elem(lengths(&cuts), f64::MAX);
        let grad = ViewMut::try_from(part_mut(&mut outer, &cuts, rotation)).unwrap();
        let loss = xent.forward_backward(View::try_from(logits).unwrap(), &labels, grad).unwrap();
        prop_assert_eq!(loss.value.to_bits(), expected_loss.value.to_bits());
        prop_assert_eq!(bits(part(&outer, &cuts, rotation).iter()), bits(&expected));
        part_mut(&mut outer, &cuts, rotation).fill(f64::MAX);
        prop_assert!(outer.iter().all(|&x| x == f64::MAX));
    }
}

#[test]
fn arrays_of_fixed_rank_need_no_conversion() {
    let matrix = array![[1.2, 0.8], [0.5, 1.0], [0.3, 0.9]];
    assert_eq!(gradix::take_axis(&matrix, 0, &[0, 2]).unwrap(), [1.2, 0.8, 0.3, 0.9]);
    assert_eq!(gradix::take_axis(matrix.t(), 0, &[1]).unwrap(), [0.8, 1.0, 0.9]);
    assert_eq!(gradix::take_axis(matrix.slice(s![..;-1, 1..]), 0, &[0]).unwrap(), [0.9]);
    assert_eq!(gradix::pick(&matrix, &array![0, 1, 0]).unwrap(), [1.2, 1.0, 0.3]);
    assert_eq!(select::values(matrix.row(1), Gt(0.7)).unwrap(), [1.0]);
    assert_eq!(gradix::take(array![1.0, 2.0, 3.0].slice(s![..;-1]), &array![0u8, 2]).unwrap(), [3.0, 1.0]);
    assert_eq!(View::from(&arr0(7.0)).get(&[]), Some(7.0));
    assert_eq!(View::from(&Array6::<f32>::zeros([1, 2, 1, 2, 1, 2])).len(), 8);
}

#[test]
fn arrays_of_fixed_rank_are_written_to_in_place() {
    let mut matrix = Array2::<f32>::zeros((3, 4));
    gradix::pick_add(&mut matrix, &[0, 1, 3], -1.0).unwrap();
    assert_eq!(matrix, array![[-1., 0., 0., 0.], [0., -1., 0., 0.], [0., 0., 0., -1.]]);
    // Every second column, backwards: columns 3 and 1.
    let columns = matrix.slice_mut(s![.., ..;-2]);
    gradix::scatter_add_axis(columns, 1, &[1, 1], &array![[1., 2.], [3., 4.], [5., 6.]]).unwrap();
    assert_eq!(matrix, array![[-1., 3., 0., 0.], [0., 6., 0., 0.], [0., 11., 0., -1.]]);
    let mut logits = array![[0.0, 0.0], [0.0, 0.0]];
    SoftmaxXent::new().forward_backward_in_place(logits.view_mut().reversed_axes(), &[0, 1]).unwrap();
    assert_eq!(logits, array![[-0.25, 0.25], [0.25, -0.25]]);
}

#[test]
fn a_broadcast_is_read_where_it_stands() {
    let row = array![1.0, 2.0, 3.0];
    let wide = row.broadcast((4, 3)).unwrap();
    assert_eq!(View::from(wide).strides(), [0, 1]);
    assert_eq!(gradix::take_axis(wide, 0, &[3, 0]).unwrap(), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
    assert_eq!(select::indices::<_, u32>(wide, Gt(2.5)).unwrap(), [2, 5, 8, 11]);
}

#[test]
fn dynamic_rank_is_taken_up_to_8() {
    let mut array = ArrayD::<f32>::zeros(vec![1; 9]);
    let error = Error::Rank { what: "the array", expected: "at most 8", got: 9 };
    assert_eq!(View::try_from(array.view()).unwrap_err(), error);
    assert_eq!(ViewMut::try_from(array.view_mut()).unwrap_err(), error);
    let mut array = ArrayD::<f32>::zeros(vec![1, 2, 1, 2, 1, 2, 1, 2]);
    assert_eq!(View::try_from(array.view()).unwrap().len(), 16);
    let ones = ArrayD::<f32>::ones(vec![1, 2, 1, 2, 1, 2, 1, 1]);
    let dst = ViewMut::try_from(array.view_mut()).unwrap();
    gradix::scatter_add_axis(dst, -1, &[1], View::try_from(ones.view()).unwrap()).unwrap();
    assert!(array.indexed_iter().all(|(index, &x)| x == if index[7] == 1 { 1.0 } else { 0.0 }));
}
