//! Put against its definition, bit for bit, at every level and thread count.

mod common;

use common::everywhere;
use common::indexed::{Case, case};
use gradix::{Element, Error, Fill, Index, View, ViewMut, Wrap};
use proptest::prelude::*;

fn check<T: Element + PartialEq, I: Index + TryFrom<i64>>(
    case: &Case,
    value: Option<usize>,
    of: impl Fn(usize) -> T + Sync,
) {
    let (before, data): (Vec<T>, Vec<T>) =
        ((0..case.table.len).map(&of).collect(), (0..case.values.len).map(|i| of(i + 100)).collect());
    let (list, value): (Vec<I>, Option<T>) = (case.buffer(), value.map(&of));
    let idx = case.indices(&list, of(3));
    // A pick's indices, one for each row, are no array of the table's rank: every put takes them for a misfit.
    let src = case.values.view(&data).unwrap();
    let put = |fast, dst: ViewMut<'_, T>| case.op.put(case.axis, fast, dst, idx, src, value);
    let mut expected = before.clone();
    let answer = put(false, case.table.view_mut(&mut expected).unwrap());
    assert!(answer.is_ok() || expected == before);
    everywhere(|level, threads| {
        let mut dst = before.clone();
        assert_eq!(put(true, case.table.view_mut(&mut dst).unwrap()), answer, "{level}, {threads} threads");
        assert_eq!(dst, expected, "{level}, {threads} threads");
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]
    #[test]
    fn any_layout_element_and_index_type(
        case in case(false),
        index_type in 0..9,
        value in proptest::option::of(0usize..250),
    ) {
        let bit = |i: usize| i.wrapping_mul(0x9E37_79B9) >> 7 & 1 == 1;
        match index_type {
            0 => check::<f32, u8>(&case, value, |i| i as f32),
            1 => check::<u8, u16>(&case, value, |i| i as u8),
            2 => check::<u32, u32>(&case, value, |i| i as u32),
            3 => check::<f64, u64>(&case, value, |i| i as f64),
            4 => check::<u128, usize>(&case, value, |i| i as u128),
            5 => check::<i64, i8>(&case, value, |i| i as i64),
            6 => check::<i16, i16>(&case, value, |i| i as i16),
            7 => check::<bool, i32>(&case, value, bit),
            _ => check::<f32, i64>(&case, value, |i| i as f32),
        }
    }
}

/// Of duplicates the last stays, however many threads share the work: 40 % of the indices among the first few, or all the same.
#[test]
fn the_last_of_duplicates_stays() {
    for (places, width, len) in
        [(50, 1, 3_000), (50, 3, 3_000), (5_000, 64, 9_000), (7, 300, 2_000), (3_200_000, 1, 300_001)]
    {
        for most in [1, 3, places] {
            let idx: Vec<u32> = (0..len)
                .map(|k| ((k * 7919 + k / 3) % if k % 5 < 2 { most.min(places) } else { places }) as u32)
                .collect();
            let src: Vec<u32> = (0..len * width).map(|i| i as u32 + 1).collect();
            let mut expected = vec![0; places * width];
            for (&i, row) in idx.iter().zip(src.chunks_exact(width)) {
                expected[i as usize * width..][..width].copy_from_slice(row);
            }
            everywhere(|level, threads| {
                let mut dst = vec![0; places * width];
                gradix::put_axis(ViewMut::new(&mut dst, &[places, width]).unwrap(), 0, &idx, &src).unwrap();
                assert!(dst == expected, "{level}, {threads} threads, {places} x {width}, {most}");
            });
        }
    }
}

#[test]
fn nothing_is_written_on_an_error() {
    let before: Vec<i32> = (0..200).collect();
    let src: Vec<i32> = (0..70_000).collect();
    for len in [1, 2, 16, 17, 257, 70_000] {
        for position in [0, len / 2, len - 1] {
            for wrong in [200i64, -201, i64::MIN, i64::MAX] {
                let mut idx = vec![-200i64; len];
                idx[position] = wrong;
                everywhere(|_, _| {
                    let mut dst = before.clone();
                    let error = Err(Error::Index { position, value: wrong as i128, bound: 200 });
                    assert_eq!(gradix::put(&mut dst, &idx, &src[..len]), error);
                    assert_eq!(gradix::put_value(&mut dst, &idx, 5), error);
                    assert_eq!(dst, before);
                });
            }
        }
    }
}

#[test]
fn values_skips_and_strides() {
    let mut x = [0u16; 12];
    let mut columns = ViewMut::new(&mut x, &[3, 4]).unwrap().transposed();
    gradix::put_value_axis(&mut columns, 0, &[1i8, -1], 5).unwrap();
    gradix::put(&mut columns, Fill(&[0, 12, -1, 3], 0), &[7, 8, 9, 10]).unwrap();
    gradix::put_along_axis(&mut columns, 1, Wrap(View::new(&[5, 0, 0, 0], &[4, 1]).unwrap()), &[1, 2, 3, 4])
        .unwrap();
    assert_eq!(x, [7, 2, 3, 4, 0, 5, 0, 5, 1, 5, 0, 5]);
}

#[cfg(feature = "half")]
#[test]
fn half_precision_is_moved() {
    use half::{bf16, f16};
    let x = [1.0f32, 2.5, -0.0, f32::NAN].map(f16::from_f32);
    let taken = gradix::take(&x, Fill(&[3, 1, 9], f16::from_f32(7.0))).unwrap();
    assert_eq!(
        taken.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
        [x[3].to_bits(), x[1].to_bits(), 0x4700]
    );
    let mut y = [bf16::ZERO; 3];
    gradix::put(&mut y, &[2u8, 2], &[bf16::ONE, bf16::NEG_ONE]).unwrap();
    assert_eq!(y, [bf16::ZERO, bf16::ZERO, bf16::NEG_ONE]);
}

/// Elements of 1 to 40 bytes, strided, by their bytes.
#[cfg(feature = "bytemuck")]
#[test]
fn plain_types_are_moved_as_bytes() {
    fn each<const N: usize>() {
        let rows: Vec<[u8; N]> = (0..60).map(|i| std::array::from_fn(|j| (i * N + j) as u8)).collect();
        let idx: Vec<i8> = (0..50).map(|k| (k * 7 % 60) as i8 - 30).collect();
        let every_second = View::strided(&rows, &[30], &[-2], 59).unwrap();
        let mut out = vec![[0u8; N]; 50];
        everywhere(|_, _| {
            out.fill([0; N]);
            let to = ViewMut::from(&mut out).bytes().unwrap();
            gradix::take_axis_into(every_second.bytes().unwrap(), 0, &idx, to).unwrap();
            for (got, &i) in out.iter().zip(&idx) {
                assert_eq!(Some(*got), every_second.get(&[i64::from(i).rem_euclid(30) as usize]));
            }
        });
    }
    each::<1>();
    each::<3>();
    each::<6>();
    each::<12>();
    each::<24>();
    each::<40>();
}
