//! Scatter against its definition, bit for bit, at every level and thread count.

mod common;

use common::everywhere;
use common::indexed::{Case, case};
use gradix::{Error, Float, Index, ViewMut, Wrap, reference};
use proptest::prelude::*;

/// Values of many magnitudes, so that the order of a sum shows in its bits.
fn values<T: Float>(len: usize, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let magnitude = 2f64.powi((state >> 58) as i32 % 20 - 10);
        T::from_f64(((state >> 11) as f64 / (1u64 << 52) as f64 - 1.0) * magnitude)
    };
    (0..len).map(|_| next()).collect()
}

fn check<T: Float, I: Index + TryFrom<i64>>(case: &Case, a: Option<f64>) {
    let a = a.map(T::from_f64);
    let (before, data): (Vec<T>, Vec<T>) = (values(case.table.len, 1), values(case.values.len, 2));
    let list: Vec<I> = case.buffer();
    let (src, idx) = (case.values.view(&data).unwrap(), case.indices(&list, T::from_f64(f64::NAN)));
    let mut expected = before.clone();
    let answer = case.op.scatter(case.axis, false, case.table.view_mut(&mut expected).unwrap(), idx, src, a);
    assert!(answer.is_ok() || expected == before);
    everywhere(|level, threads| {
        let mut dst = before.clone();
        let got = case.op.scatter(case.axis, true, case.table.view_mut(&mut dst).unwrap(), idx, src, a);
        assert_eq!(got, answer, "{level}, {threads} threads");
        assert_eq!(dst, expected, "{level}, {threads} threads");
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn any_layout_and_index_type(case in case(false), index_type in 0..9, a in proptest::option::of(-2.0..2.0)) {
        match index_type {
            0 => check::<f32, u8>(&case, a),
            1 => check::<f64, u16>(&case, a),
            2 => check::<f32, u32>(&case, a),
            3 => check::<f64, u64>(&case, a),
            4 => check::<f32, usize>(&case, a),
            5 => check::<f64, i32>(&case, a),
            6 => check::<f32, i8>(&case, a),
            7 => check::<f64, i16>(&case, a),
            _ => check::<f32, i64>(&case, a),
        }
    }
}

/// Indices below `n` in no order: `like` 0 for all the same, 1 for 40 % among the first few, else evenly.
fn scrambled(n: usize, len: usize, like: usize) -> Vec<u32> {
    let most = |k: usize| match like {
        0 => 1,
        1 if k % 5 < 2 => n.min(3),
        _ => n,
    };
    (0..len).map(|k| ((k * 7919 + k / 3) % most(k)) as u32).collect()
}

/// Against the plain loop (the reference takes too long here), in sizes that threads share.
fn check_rows<T: Float>(places: usize, width: usize, len: usize, like: usize) {
    let (before, src): (Vec<T>, Vec<T>) = (values(places * width, 3), values(len * width, 4));
    let idx = scrambled(places, len, like);
    let a = T::from_f64(-0.3);
    let mut expected = before.clone();
    for (&i, row) in idx.iter().zip(src.chunks_exact(width)) {
        let dst = &mut expected[i as usize * width..][..width];
        dst.iter_mut().zip(row).for_each(|(dst, &x)| *dst += a * x);
    }
    everywhere(|level, threads| {
        let mut dst = before.clone();
        let view = ViewMut::new(&mut dst, &[places, width]).unwrap();
        gradix::scatter_add_axis_scaled(view, 0, &idx, &src, a).unwrap();
        assert!(dst == expected, "{level}, {threads} threads, {places} x {width}, {len}, {like}");
    });
}

#[test]
fn rows_of_every_width_in_order() {
    for like in 0..3 {
        for width in [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100] {
            check_rows::<f32>(50, width, 700, like);
            check_rows::<f64>(50, width, 700, like);
        }
        check_rows::<f32>(5_000, 64, 9_000, like);
        check_rows::<f64>(5_001, 63, 3_000, like);
        check_rows::<f32>(3_200_000, 1, 300_001, like); // just more than threads need to share a destination
        check_rows::<f64>(200_000, 2, 150_000, like);
        check_rows::<f32>(2_000, 300, 4_000, like); // rows long enough for threads to share a destination
        check_rows::<f64>(1_001, 200, 3_001, like);
        check_rows::<f32>(3, 40_000, 5, like);
    }
}

/// Few indices for each of many planes, some of them twice.
#[test]
fn few_indices_and_many_planes() {
    fn check<T: Float>(width: usize, len: usize, like: usize) {
        let (planes, n) = (75, 6);
        let (before, src): (Vec<T>, Vec<T>) =
            (values(planes * n * width, 5), values(planes * len * width, 6));
        let idx = scrambled(n, len, like);
        let mut expected = before.clone();
        for (dst, src) in expected.chunks_exact_mut(n * width).zip(src.chunks_exact(len * width)) {
            for (&i, row) in idx.iter().zip(src.chunks_exact(width)) {
                let dst = &mut dst[i as usize * width..][..width];
                dst.iter_mut().zip(row).for_each(|(dst, &x)| *dst += x);
            }
        }
        everywhere(|level, threads| {
            let mut dst = before.clone();
            let view = ViewMut::new(&mut dst, &[planes, n, width]).unwrap();
            gradix::scatter_add_axis(view, 1, &idx, &src).unwrap();
            assert!(dst == expected, "{level}, {threads} threads, {len} to {planes} x {n} x {width}, {like}");
        });
    }
    for width in (1..36).chain([64, 100]) {
        for like in 0..3 {
            check::<f32>(width, width % 19 + 1, like);
            check::<f64>(width, width % 17 + 2, like);
        }
    }
}

#[test]
fn columns_and_labels_in_parallel() {
    let (planes, n) = (3_000, 40);
    let (before, src): (Vec<f32>, Vec<f32>) = (values(planes * n, 5), values(planes * 30, 6));
    let idx = scrambled(n, 30, 1);
    let labels = scrambled(n, planes, 2);
    let mut expected = before.clone();
    for (p, row) in expected.chunks_exact_mut(n).enumerate() {
        idx.iter().zip(&src[30 * p..]).for_each(|(&i, x)| row[i as usize] += x);
        row[labels[p] as usize] -= 1.0;
    }
    everywhere(|level, threads| {
        let mut dst = before.clone();
        let mut view = ViewMut::new(&mut dst, &[planes, n]).unwrap();
        gradix::scatter_add_axis(&mut view, 1, &idx, &src).unwrap();
        gradix::pick_add(&mut view, &labels, -1.0).unwrap();
        assert!(dst == expected, "{level}, {threads} threads");
    });
}

#[test]
fn nothing_is_added_on_an_error() {
    let before: Vec<f32> = values(200, 7);
    let src: Vec<f32> = values(140_000, 8);
    for len in [1, 2, 16, 17, 257, 140_000] {
        for position in [0, len / 2, len - 1] {
            for wrong in [200i64, -201, i64::MIN, i64::MAX] {
                let mut idx = vec![-200i64; len];
                idx[position] = wrong;
                everywhere(|_, _| {
                    let mut dst = before.clone();
                    let error = Err(Error::Index { position, value: wrong as i128, bound: 200 });
                    assert_eq!(gradix::scatter_add(&mut dst, &idx, &src[..len]), error);
                    assert_eq!(dst, before);
                });
            }
        }
    }
}

/// Lists far larger than the table, all but the last index, or the one in the middle, in bounds: with one that is out
/// of bounds the table keeps its bits, payloads of NaN included; one that is negative counts from the end.
#[test]
fn long_lists_to_small_tables() {
    fn each<T: Float, I: Index + TryFrom<i64>>(len: usize, wrongs: &[i64]) {
        let to = |i: i64| I::try_from(i).unwrap_or_else(|_| panic!("{i} is an index of the type"));
        let n = 120;
        let mut before: Vec<T> = values(n, 3);
        let nan = f64::from_bits(0x7FF8_1234_0000_0000); // with a payload that an `f32` keeps
        (before[1], before[n - 1]) = (T::from_f64(nan), T::from_f64(-0.0));
        let bits = |x: &[T]| x.iter().map(|x| x.to_f64().to_bits()).collect::<Vec<_>>();
        let src: Vec<T> = values(len, 4);
        for position in [len / 2, len - 1] {
            for &wrong in wrongs {
                let mut idx: Vec<I> = scrambled(n, len, 2).into_iter().map(|i| to(i.into())).collect();
                idx[position] = to(wrong);
                let mut expected = before.clone();
                let answer = reference::scatter_add(&mut expected, &idx, &src);
                let mut last = before.clone();
                let put = reference::put(&mut last, &idx, &src);
                assert_eq!(put, answer);
                everywhere(|level, threads| {
                    let (mut sums, mut lasts) = (before.clone(), before.clone());
                    assert_eq!(
                        gradix::scatter_add(&mut sums, &idx, &src),
                        answer,
                        "{level}, {threads} threads"
                    );
                    assert_eq!(gradix::put(&mut lasts, &idx, &src), answer, "{level}, {threads} threads");
                    assert_eq!(bits(&sums), bits(&expected), "{level}, {threads} threads");
                    assert_eq!(bits(&lasts), bits(&last), "{level}, {threads} threads");
                });
            }
        }
    }
    each::<f32, i64>(140_000, &[-1, 120, -121]);
    each::<f64, u16>(140_000, &[119, 120]);
    for len in [5_000, 40_000] {
        each::<f32, u8>(len, &[3, 120, 255]);
        each::<f64, i8>(len, &[-1, -120, 127, -121, -128]);
        each::<f32, u16>(len, &[120, 65_535]);
        each::<f64, i16>(len, &[-120, 120, -121]);
        each::<f64, u32>(len, &[119, 120, u32::MAX.into()]);
        each::<f32, i32>(len, &[-7, 120, i32::MIN.into()]);
        each::<f32, u64>(len, &[0, 120, 1 << 32, i64::MAX]);
        each::<f64, i64>(len, &[-120, 120, -121, (1 << 32) + 5, i64::MIN, i64::MAX]);
        each::<f64, usize>(len, &[120]);
    }
}

#[test]
fn nothing_to_nothing_and_misfits() {
    let (mut none, no_index) = (vec![0.0f32; 0], [0u32; 0]);
    gradix::scatter_add(&mut none, &no_index, &[]).unwrap();
    let error = Err(Error::Index { position: 0, value: 5, bound: 0 });
    assert_eq!(gradix::scatter_add(&mut none, Wrap(&[5]), &[1.0]), error);
    let mut dst = [1.0f32; 6];
    let shape = |what, expected: &[usize], got: &[usize]| {
        Err(Error::Shape { what, expected: expected.to_vec(), got: got.to_vec() })
    };
    let wrong = gradix::scatter_add(&mut dst, &[0, 1], &[1.0]);
    assert_eq!(wrong, shape("the source", &[2], &[1]));
    let mut view = ViewMut::new(&mut dst, &[2, 3]).unwrap();
    let wrong = gradix::scatter_add_axis(&mut view, 1, &[0], &[1.0]);
    assert_eq!(wrong, shape("the source", &[2, 1], &[1]));
    assert_eq!(gradix::pick_add(&mut view, &[0], 1.0), shape("the list of labels", &[2], &[1]));
    let wrong = gradix::scatter_add_axis(&mut view, 2, &[0], &[1.0]);
    assert_eq!(wrong, Err(Error::Axis { axis: 2, rank: 2 }));
    assert_eq!(dst, [1.0; 6]);
}
