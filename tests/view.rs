//! What the constructors of `View` and `ViewMut` prove, and what they refuse.

use gradix::{Error, MAX_RANK, View, ViewMut};
use proptest::prelude::*;

/// A number of elements that no memory holds, as the length of an axis.
const HUGE: usize = isize::MAX as usize;

fn data() -> Vec<f32> {
    (0..24).map(|i| i as f32).collect()
}

/// Every index of `shape`, in C order.
fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
    shape.iter().fold(vec![vec![]], |prefixes, &n| {
        prefixes.iter().flat_map(|prefix| (0..n).map(|i| [&prefix[..], &[i]].concat())).collect()
    })
}

/// The offset that the documentation of `strided` gives for an index.
fn formula(index: &[usize], strides: &[isize], offset: usize) -> i128 {
    offset as i128 + index.iter().zip(strides).map(|(&i, &s)| i as i128 * s as i128).sum::<i128>()
}

/// The refusal of both kinds of view, which must be the same one.
fn refusal(len: usize, shape: &[usize], strides: &[isize], offset: usize) -> Error {
    let mut data = vec![0u8; len];
    let error = View::strided(&data, shape, strides, offset).expect_err("View");
    assert_eq!(ViewMut::strided(&mut data, shape, strides, offset).expect_err("ViewMut"), error);
    error
}

#[test]
fn a_new_view_is_all_of_the_data_in_c_order() {
    let mut data = data();
    for shape in [&[24][..], &[4, 6], &[2, 3, 4], &[1, 24, 1], &[2, 1, 2, 1, 2, 1, 3, 1]] {
        let view = View::new(&data, shape).unwrap();
        assert_eq!((view.shape(), view.rank(), view.len()), (shape, shape.len(), 24));
        let read: Vec<f32> = indices(shape).iter().map(|index| view.get(index).unwrap()).collect();
        assert_eq!(read, data);
        assert_eq!(view.as_slice(), Some(&data[..]));
        let view = ViewMut::new(&mut data, shape).unwrap();
        assert_eq!((view.shape(), view.rank(), view.len()), (shape, shape.len(), 24));
        assert_eq!(view.into_slice().unwrap().len(), 24);
    }
}

#[test]
fn rank_0_is_one_element() {
    let mut data = [7.0];
    let view = View::new(&data, &[]).unwrap();
    assert_eq!((view.rank(), view.len(), view.get(&[]), view.get(&[0])), (0, 1, Some(7.0), None));
    assert_eq!(View::strided(&data, &[], &[], 0).unwrap().as_slice(), Some(&[7.0][..]));
    assert!(matches!(View::new(&data[..0], &[]), Err(Error::Shape { .. })));
    assert_eq!(ViewMut::new(&mut data, &[]).unwrap().len(), 1);
    assert!(matches!(refusal(0, &[], &[], 0), Error::Extent { len: 0, .. }));
    assert!(matches!(refusal(1, &[], &[], 1), Error::Extent { offset: 1, .. }));
}

#[test]
fn ranks_up_to_8_are_taken_and_9_is_not() {
    let mut data = [3.0];
    assert_eq!(MAX_RANK, 8);
    let view = View::new(&data, &[1; 8]).unwrap();
    assert_eq!(view.get(&[0; 8]), Some(3.0));
    let error = Error::Rank { what: "the array", expected: "at most 8", got: 9 };
    assert_eq!(View::new(&data, &[1; 9]).unwrap_err(), error);
    assert_eq!(ViewMut::new(&mut data, &[1; 9]).unwrap_err(), error);
    assert_eq!(refusal(1, &[1; 9], &[0; 9], 0), error);
}

#[test]
fn as_many_strides_as_axes() {
    let error = Error::Rank { what: "the list of strides", expected: "the shape's", got: 1 };
    assert_eq!(refusal(24, &[4, 6], &[1], 0), error);
    assert!(matches!(refusal(24, &[4], &[1; 9], 0), Error::Rank { got: 9, .. }));
}

#[test]
fn the_shape_must_be_the_data() {
    let mut data = data();
    for shape in [&[][..], &[23], &[25], &[5, 5], &[24, 0], &[2, 2, 5]] {
        let error = Error::Shape { what: "the data", expected: shape.to_vec(), got: vec![24] };
        assert_eq!(View::new(&data, shape).unwrap_err(), error);
        assert_eq!(ViewMut::new(&mut data, shape).unwrap_err(), error);
    }
}

#[test]
fn shapes_beyond_the_address_space() {
    let half = 1usize << (usize::BITS / 2);
    for shape in [
        &[usize::MAX][..],
        &[HUGE + 1],
        &[HUGE, 2],
        &[half, half],
        &[half, half, half, half], // wraps to 0
        &[0, HUGE, 2],             // no element, but partial products that wrap
        &[half, 0, half],
    ] {
        let error = Error::Overflow { shape: shape.to_vec() };
        assert_eq!(View::<f32>::new(&[], shape).unwrap_err(), error);
        assert_eq!(ViewMut::<f32>::new(&mut [], shape).unwrap_err(), error);
        assert_eq!(refusal(1, shape, &vec![0; shape.len()], 0), error);
    }
    // A broadcast that is addressable is fine, however long.
    assert_eq!(View::strided(&[5u8], &[HUGE], &[0], 0).unwrap().get(&[HUGE - 1]), Some(5));
}

#[test]
fn an_axis_of_length_zero_makes_an_empty_view() {
    let mut none: [f32; 0] = [];
    for shape in [&[0][..], &[HUGE, 0], &[0, HUGE], &[2, 0, 3], &[0, 0, 0]] {
        let view = View::new(&none, shape).unwrap();
        assert!(view.is_empty() && view.as_slice() == Some(&[]));
        assert_eq!(view.get(&vec![0; shape.len()]), None);
        assert!(ViewMut::new(&mut none, shape).unwrap().is_empty());
        // Nothing is ever reached, so any strides and any offset do.
        for stride in [0, 1, -1, isize::MAX, isize::MIN] {
            for offset in [0, 7, usize::MAX] {
                let strides = vec![stride; shape.len()];
                assert!(View::strided(&none, shape, &strides, offset).unwrap().is_empty());
                let view = ViewMut::strided(&mut none, shape, &strides, offset).unwrap();
                assert!(view.is_empty() && view.as_view().get(&vec![0; shape.len()]).is_none());
            }
        }
    }
}

#[test]
fn strides_may_be_zero_negative_and_overlapping_for_reads() {
    let data = data();
    let read = |shape: &[usize], strides: &[isize], offset| -> Vec<f32> {
        let view = View::strided(&data, shape, strides, offset).unwrap();
        indices(shape).iter().map(|index| view.get(index).unwrap()).collect()
    };
    assert_eq!(read(&[3], &[0], 23), [23.0; 3]);
    assert_eq!(read(&[3], &[-1], 2), [2.0, 1.0, 0.0]);
    assert_eq!(read(&[3, 3], &[1, 1], 0), [0.0, 1.0, 2.0, 1.0, 2.0, 3.0, 2.0, 3.0, 4.0]); // sliding windows
    assert_eq!(read(&[2, 2], &[-2, 12], 9), [9.0, 21.0, 7.0, 19.0]);
    assert_eq!(read(&[1, 2], &[isize::MIN, 1], 22), [22.0, 23.0]); // an axis of length 1 takes no step
}

#[test]
fn reaching_outside_the_data() {
    for (shape, strides, offset) in [
        (&[25][..], &[1][..], 0),
        (&[24], &[1], 1),
        (&[24], &[-1], 22),
        (&[1], &[0], 24),
        (&[1], &[0], usize::MAX),
        (&[2], &[24], 0),
        (&[4, 6], &[6, -1], 4),
        (&[4, 6], &[6, 1], 1),
        (&[2, 2], &[24, -24], 0), // the corners would cancel out
        (&[2], &[isize::MAX], 0),
        (&[2], &[isize::MIN], 0),
        (&[3], &[isize::MAX], 2), // 2·isize::MAX + 2 wraps to 0
        (&[2, 2], &[isize::MIN, isize::MIN], 0),
    ] {
        let error = Error::Extent { shape: shape.to_vec(), strides: strides.to_vec(), offset, len: 24 };
        assert_eq!(refusal(24, shape, strides, offset), error);
    }
}

#[test]
fn aliasing_strides_are_refused_for_writes_alone() {
    let mut data = data();
    for (shape, strides) in [
        (&[2][..], &[0][..]),
        (&[3, 3], &[1, 1]),
        (&[3, 3], &[2, 1]),
        (&[3, 3], &[-2, -1]),
        (&[2, 2], &[0, 1]),
        (&[2, 3, 4], &[12, 4, 0]),
        (&[2, 3, 4], &[11, 4, 1]),
    ] {
        let lowest: isize = (shape.iter().zip(strides)).map(|(&n, &s)| (n as isize - 1) * s.min(0)).sum();
        let offset = lowest.unsigned_abs();
        assert!(View::strided(&data, shape, strides, offset).is_ok());
        let error = Error::Alias { shape: shape.to_vec(), strides: strides.to_vec() };
        assert_eq!(ViewMut::strided(&mut data, shape, strides, offset).unwrap_err(), error);
    }
}

#[test]
fn what_slicing_and_transposing_make_can_be_written() {
    let mut data = data();
    for (shape, strides, offset) in [
        (&[24][..], &[1][..], 0),
        (&[24], &[-1], 23),
        (&[12], &[2], 1),
        (&[6, 4], &[1, 6], 0),         // transposed
        (&[4, 3], &[6, 2], 1),         // every second column
        (&[4, 6], &[-6, 1], 18),       // rows backwards
        (&[4, 1, 6], &[6, 0, 1], 0),   // an axis of length 1 may have any stride
        (&[2, 3, 4], &[12, -4, 1], 8), // an inner axis backwards
    ] {
        let mut view = ViewMut::strided(&mut data, shape, strides, offset).unwrap();
        assert_eq!((view.shape(), view.strides(), view.rank()), (shape, strides, shape.len()));
        let shorter = view.reborrow();
        for index in indices(shape) {
            let expected = formula(&index, strides, offset) as f32;
            assert_eq!(shorter.as_view().get(&index), Some(expected));
        }
        assert_eq!(ViewMut::from(&mut view).len(), shape.iter().product());
    }
}

#[test]
fn transposing_reverses_the_axes() {
    let mut data = data();
    let view = View::new(&data, &[2, 3, 4]).unwrap();
    let transposed = view.transposed();
    assert_eq!((transposed.shape(), transposed.strides()), (&[4, 3, 2][..], &[1, 4, 12][..]));
    assert!(transposed.as_slice().is_none());
    for index in indices(&[2, 3, 4]) {
        let backwards: Vec<usize> = index.iter().rev().copied().collect();
        assert_eq!(transposed.get(&backwards), view.get(&index));
    }
    let transposed = ViewMut::new(&mut data, &[4, 6]).unwrap().transposed();
    assert_eq!((transposed.shape(), transposed.strides()), (&[6, 4][..], &[1, 6][..]));
    let back = transposed.into_slice().expect_err("not in C order").transposed();
    assert_eq!(back.into_slice().unwrap().len(), 24);
}

#[test]
fn places_the_shape_does_not_have() {
    let data = data();
    let view = View::new(&data, &[4, 6]).unwrap();
    for index in [&[][..], &[0], &[0, 0, 0], &[4, 0], &[0, 6], &[usize::MAX, 0], &[0, usize::MAX]] {
        assert_eq!(view.get(index), None);
    }
}

#[test]
fn slices_vectors_and_arrays_are_views_of_rank_1() {
    fn read<'a>(view: impl Into<View<'a, f32>>) -> Vec<f32> {
        let view = view.into();
        assert_eq!(view.rank(), 1);
        view.as_slice().unwrap().to_vec()
    }
    fn write<'a>(view: impl Into<ViewMut<'a, f32>>) {
        let view = view.into();
        assert_eq!(view.rank(), 1);
        view.into_slice().unwrap().fill(9.0);
    }
    let (mut array, mut vector) = ([1.0, 2.0], vec![1.0, 2.0]);
    assert_eq!([read(&array), read(&vector), read(&vector[1..])].concat(), [1.0, 2.0, 1.0, 2.0, 2.0]);
    write(&mut array);
    write(&mut vector[..1]);
    assert_eq!((array, &vector[..]), ([9.0, 9.0], &[9.0, 2.0][..]));
    write(&mut vector);
    assert_eq!(vector, [9.0, 9.0]);
    assert!(read(&[]).is_empty());
}

#[test]
fn debug_shows_the_layout_and_no_address() {
    let mut data = data();
    let expected = "(Layout { shape: [4, 6], strides: [6, 1] })";
    assert_eq!(format!("{:?}", View::new(&data, &[4, 6]).unwrap()), format!("View{expected}"));
    assert_eq!(format!("{:?}", ViewMut::new(&mut data, &[4, 6]).unwrap()), format!("ViewMut{expected}"));
}

/// A shape with a stride for each axis: small, some zero, some negative.
fn layouts() -> impl Strategy<Value = (Vec<usize>, Vec<isize>)> {
    (0..=4usize).prop_flat_map(|rank| {
        (proptest::collection::vec(0..5usize, rank), proptest::collection::vec(-12..=12isize, rank))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A view exists exactly if every index lands inside the data; it may be written through only if, further, no
    /// two land on the same element; and what it reads is what the formula says.
    #[test]
    fn views_are_what_the_formula_says((shape, strides) in layouts(), offset in 0..40usize, len in 0..60usize) {
        let mut data: Vec<usize> = (0..len).collect();
        let indices = indices(&shape);
        let mut offsets: Vec<i128> = indices.iter().map(|index| formula(index, &strides, offset)).collect();
        let inside = offsets.iter().all(|&o| (0..len as i128).contains(&o));

        match View::strided(&data, &shape, &strides, offset) {
            Ok(view) => {
                prop_assert!(inside);
                for (index, &offset) in indices.iter().zip(&offsets) {
                    prop_assert_eq!(view.get(index), Some(offset as usize));
                }
                let run = offsets.windows(2).all(|pair| pair[1] == pair[0] + 1);
                prop_assert_eq!(view.as_slice().is_some(), run);
                if let Some(slice) = view.as_slice() {
                    prop_assert!(slice.iter().map(|&o| o as i128).eq(offsets.iter().copied()));
                }
            }
            Err(error) => {
                let extent = matches!(error, Error::Extent { .. });
                prop_assert!(!inside && extent);
            }
        }

        offsets.sort_unstable();
        let distinct = offsets.windows(2).all(|pair| pair[0] != pair[1]);
        match ViewMut::strided(&mut data, &shape, &strides, offset) {
            Ok(view) => prop_assert!(inside && distinct && view.len() == indices.len()),
            // The documented exception: some layouts that interleave are refused though no element is shared.
            Err(Error::Alias { .. }) => prop_assert!(inside && shape.len() > 1 || !distinct),
            Err(_) => prop_assert!(!inside),
        }
    }

    /// Whatever slicing, reversing and transposing make of an array can be written through.
    #[test]
    fn no_slicing_is_refused(
        axes in proptest::collection::vec((1..4usize, 1..4usize, any::<bool>()), 0..5),
        order in any::<prop::sample::Index>(),
    ) {
        // An array of `length · step` along each axis, of which every `step`-th element is meant.
        let (mut shape, mut strides, mut offset, mut len) = (vec![], vec![], 0, 1usize);
        for &(length, step, backwards) in &axes {
            let stride = len * step;
            offset += if backwards { (length - 1) * stride } else { 0 };
            shape.push(length);
            strides.push(if backwards { -(stride as isize) } else { stride as isize });
            len *= length * step;
        }
        if !axes.is_empty() {
            let by = order.index(axes.len());
            shape.rotate_left(by);
            strides.rotate_left(by);
        }
        prop_assert!(ViewMut::strided(&mut vec![0u8; len], &shape, &strides, offset).is_ok());
    }
}
