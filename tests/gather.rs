//! Gather against its definition, bit for bit, at every level and thread count.

mod common;

use common::everywhere;
use common::indexed::{Case, case};
use gradix::{Clip, Element, Error, Fill, Index, Result, View, ViewMut, Wrap, reference};
use proptest::prelude::*;

/// Element types by number: `of(i)` differs for most `i`.
trait Numbered: Element + PartialEq {
    fn of(i: usize) -> Self;
}
macro_rules! numbered {
    ($($t:ty)*) => {$(
        impl Numbered for $t {
            fn of(i: usize) -> Self {
                i as $t
            }
        }
    )*};
}
numbered!(u8 i16 u32 i64 u128 f32 f64);
impl Numbered for bool {
    fn of(i: usize) -> Self {
        i.wrapping_mul(0x9E37_79B9) >> 7 & 1 == 1
    }
}

fn check<T: Numbered, I: Index + TryFrom<i64>>(case: &Case) {
    let data: Vec<T> = (0..case.table.len).map(T::of).collect();
    let list: Vec<I> = case.buffer();
    let (src, idx) = (case.table.view(&data).unwrap(), case.indices(&list, T::of(201)));
    let before = vec![T::of(77); case.values.len];
    let mut expected = before.clone();
    let answer = case.op.gather(case.axis, false, src, idx, case.values.view_mut(&mut expected).unwrap());
    assert!(answer.is_ok() || expected == before);
    everywhere(|level, threads| {
        let mut out = before.clone();
        let got = case.op.gather(case.axis, true, src, idx, case.values.view_mut(&mut out).unwrap());
        assert_eq!(got, answer, "{level}, {threads} threads");
        assert_eq!(out, expected, "{level}, {threads} threads");
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]
    #[test]
    fn any_layout_element_and_index_type(case in case(true), index_type in 0..9) {
        match index_type {
            0 => check::<f32, u8>(&case),
            1 => check::<u8, u16>(&case),
            2 => check::<u32, u32>(&case),
            3 => check::<f64, u64>(&case),
            4 => check::<u128, usize>(&case),
            5 => check::<i64, i8>(&case),
            6 => check::<i16, i16>(&case),
            7 => check::<bool, i32>(&case),
            _ => check::<f32, i64>(&case),
        }
    }
}

/// 0, 1, 2, …
fn counted(len: usize) -> Vec<f32> {
    (0..len).map(|i| i as f32).collect()
}

/// Indices below `n` in no order, 40 % of them among the first few.
fn scrambled(n: usize, len: usize) -> Vec<u32> {
    (0..len).map(|k| ((k * 7919 + k / 3) % if k % 5 < 2 { n.min(3) } else { n }) as u32).collect()
}

#[test]
fn runs_of_every_length() {
    let src = counted(300);
    for len in (0..70).chain([255, 256, 257, 511, 513, 40_000]) {
        let idx = scrambled(300, len);
        let expected: Vec<f32> = idx.iter().map(|&i| i as f32).collect();
        everywhere(|_, _| assert_eq!(gradix::take(&src, &idx).unwrap(), expected));
    }
}

/// Elements of a table that is asked for ahead, by indices of every kind.
#[test]
fn runs_from_a_large_table() {
    let n = 300_001;
    let src = counted(n);
    for len in [0, 1, 31, 32, 33, 40, 300, 40_000] {
        let idx = scrambled(n, len);
        let from_end: Vec<i64> = idx.iter().map(|&i| i64::from(i) - n as i64).collect();
        let expected: Vec<f32> = idx.iter().map(|&i| i as f32).collect();
        everywhere(|_, _| {
            assert_eq!(gradix::take(&src, &idx).unwrap(), expected);
            assert_eq!(gradix::take(&src, &from_end).unwrap(), expected);
            assert_eq!(gradix::take(&src, Wrap(&from_end)).unwrap(), expected);
        });
    }
}

/// More rows than a cache holds, which are written past it where the CPU gains by that; not where lines begin.
#[test]
fn rows_past_the_caches() {
    for width in [127, 512] {
        let (places, len) = (1_000, (33 << 20) / 4 / width);
        let (src, idx) = (counted(places * width), scrambled(places, len));
        let view = View::new(&src, &[places, width]).unwrap();
        let mut out = vec![-1.0f32; len * width + 8];
        everywhere(|level, threads| {
            out.fill(-1.0);
            gradix::take_axis_into(view, 0, &idx, &mut out[5..][..len * width]).unwrap();
            for (row, &i) in out[5..].chunks_exact(width).zip(&idx) {
                assert!(row == &src[i as usize * width..][..width], "{level}, {threads}, {width}");
            }
            assert!(out[..5].iter().chain(&out[5 + len * width..]).all(|&x| x == -1.0));
        });
    }
}

#[test]
fn rows_of_every_width() {
    for width in (1..70).chain([127, 128, 129, 300]) {
        for places in [7, 4_000] {
            let (src, idx) = (counted(places * width), scrambled(places, 600));
            let expected: Vec<f32> =
                idx.iter().flat_map(|&i| &src[i as usize * width..][..width]).copied().collect();
            let view = View::new(&src, &[places, width]).unwrap();
            everywhere(|_, _| assert_eq!(gradix::take_axis(view, 0, &idx).unwrap(), expected, "{width}"));
        }
    }
}

#[test]
fn few_and_many_columns() {
    // Wide rows beyond any cache's size, so that lines to come are asked for; and narrow ones.
    for (planes, n) in [(300, 1_100), (2_000, 24)] {
        let src = counted(planes * n);
        let view = View::new(&src, &[planes, n]).unwrap();
        for len in [0, 1, 2, 5, 9, 40, 256, 700] {
            let idx = scrambled(n, len);
            let row = |p: usize| idx.iter().map(move |&i| (p * n + i as usize) as f32);
            let expected: Vec<f32> = (0..planes).flat_map(row).collect();
            everywhere(|_, _| assert_eq!(gradix::take_axis(view, 1, &idx).unwrap(), expected, "{len}"));
            // The same as rows of the transposed matrix, whose planes are strided.
            let mut out = vec![0.0; expected.len()];
            everywhere(|_, _| {
                let out = ViewMut::new(&mut out, &[planes, len]).unwrap().transposed();
                gradix::take_axis_into(view.transposed(), 0, &idx, out).unwrap();
            });
            assert_eq!(out, expected, "{len}");
        }
        let labels: Vec<u32> = scrambled(n, planes);
        let expected: Vec<f32> =
            labels.iter().enumerate().map(|(p, &y)| (p * n + y as usize) as f32).collect();
        everywhere(|_, _| assert_eq!(gradix::pick(view, &labels).unwrap(), expected));
    }
}

/// The culprit, with the output as it was.
/// Few indices for each of many planes, in rows of every width, with and without indices outside.
#[test]
fn few_indices_and_many_planes() {
    let (planes, n) = (75, 6);
    for (width, len) in (1..70).map(|width| (width, width % 19 + 1)).chain([(90, 2), (200, 16), (300, 3)]) {
        let src = counted(planes * n * width);
        let view = View::new(&src, &[planes, n, width]).unwrap();
        let idx: Vec<i32> = scrambled(n, len).iter().map(|&i| i as i32 - 2).collect();
        let plain: Vec<i32> = idx.iter().map(|i| i.rem_euclid(n as i32)).collect();
        let mut expected = [vec![0.0; planes * len * width], vec![0.0; planes * len * width]];
        let [all, filled] = &mut expected;
        reference::take_axis_into(view, 1, &plain, &mut *all).unwrap();
        reference::take_axis_into(view, 1, Fill(&idx, -1.0), &mut *filled).unwrap();
        everywhere(|level, threads| {
            let what = format!("{level}, {threads} threads, {len} of {planes} x {n} x {width}");
            assert!(gradix::take_axis(view, 1, &plain).unwrap() == *all, "{what}");
            assert!(gradix::take_axis(view, 1, &idx).unwrap() == *all, "{what}, negative");
            assert!(gradix::take_axis(view, 1, Fill(&idx, -1.0)).unwrap() == *filled, "{what}, filled");
        });
    }
}

/// One dense run whose indices a mode or a sign changes, of every type and length about a vector's.
#[test]
fn modes_of_every_index_type() {
    fn check<I: Index + TryFrom<i64>>(len: usize) {
        let src = counted(90);
        let of = |k: usize| {
            let i = (k as i64 * 7919 + k as i64 / 3) % 197 - 70; // from −70 to 126
            I::try_from(i)
                .or_else(|_| I::try_from(i + 70))
                .unwrap_or_else(|_| panic!("{i} is in no index type"))
        };
        let idx: Vec<I> = (0..len).map(of).collect();
        let expected = [
            reference::take(&src, Wrap(&idx)).unwrap(),
            reference::take(&src, Clip(&idx)).unwrap(),
            reference::take(&src, Fill(&idx, -1.0)).unwrap(),
        ];
        everywhere(|level, _| {
            assert!(gradix::take(&src, Wrap(&idx)).unwrap() == expected[0], "{level}, {len}");
            assert!(gradix::take(&src, Clip(&idx)).unwrap() == expected[1], "{level}, {len}");
            assert!(gradix::take(&src, Fill(&idx, -1.0)).unwrap() == expected[2], "{level}, {len}");
        });
    }
    for len in (0..40).chain([63, 64, 65, 255, 256, 257, 1_000, 5_000]) {
        check::<u8>(len);
        check::<i8>(len);
        check::<u16>(len);
        check::<i16>(len);
        check::<u32>(len);
        check::<i32>(len);
        check::<u64>(len);
        check::<i64>(len);
        check::<usize>(len);
    }
}

fn refused<I: Index>(src: &[f32], idx: &[I], position: usize, value: i128) {
    let mut out = vec![-1.0; idx.len()];
    everywhere(|_, _| {
        let error = Err(Error::Index { position, value, bound: src.len() });
        assert_eq!(gradix::take_into(src, idx, &mut out), error);
        assert!(out.iter().all(|&x| x == -1.0));
    });
}

#[test]
fn extremes_of_every_index_type() {
    let src = counted(200);
    refused(&src, &[0, u8::MAX], 1, u8::MAX as i128);
    refused(&src, &[u16::MAX], 0, u16::MAX as i128);
    refused(&src, &[1, 2, u32::MAX], 2, u32::MAX as i128);
    refused(&src, &[i32::MAX as u32 + 1], 0, i32::MAX as i128 + 1);
    refused(&src, &[u64::MAX], 0, u64::MAX as i128);
    refused(&src, &[u64::MAX - 199], 0, u64::MAX as i128 - 199);
    refused(&src, &[usize::MAX], 0, usize::MAX as i128);
    refused(&src, &[i32::MIN], 0, i32::MIN as i128);
    refused(&src, &[i32::MAX], 0, i32::MAX as i128);
    refused(&src, &[i64::MIN], 0, i64::MIN as i128);
    refused(&src, &[i64::MAX], 0, i64::MAX as i128);
    refused(&src, &[-200, -201i64], 1, -201);
    refused(&src[..100], &[0, i8::MAX], 1, i8::MAX as i128);
    refused(&src[..100], &[-100, i8::MIN], 1, i8::MIN as i128);
    refused(&src, &[i16::MIN], 0, i16::MIN as i128);
    assert_eq!(gradix::take(&src, &[i8::MIN, -1, i8::MAX]).unwrap(), [72.0, 199.0, 127.0]);
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(gradix::take(&counted(256), &all).unwrap(), counted(256));
    everywhere(|_, _| {
        let ends = [i64::MIN, i64::MAX];
        assert_eq!(gradix::take(&src, Clip(&ends)).unwrap(), [0.0, 199.0]);
        let wrapped = ends.map(|i| i.rem_euclid(200) as f32);
        assert_eq!(gradix::take(&src, Wrap(&ends)).unwrap(), wrapped);
        assert_eq!(gradix::take(&src, Wrap(&[u64::MAX])).unwrap(), [(u64::MAX % 200) as f32]);
        assert_eq!(gradix::take(&src, Clip(&[u64::MAX, 3])).unwrap(), [199.0, 3.0]);
        assert_eq!(
            gradix::take(&src, Fill(&[i64::MIN, -1, 7, 200, i64::MAX], 0.5)).unwrap(),
            [0.5, 0.5, 7.0, 0.5, 0.5]
        );
        assert_eq!(gradix::take(&src, Fill(&[u64::MAX, 3, 1 << 63], 0.5)).unwrap(), [0.5, 3.0, 0.5]);
    });
    // The same among others, in lists that are resolved one by one, by one block and by several.
    for (len, at) in [(7, 3), (64, 63), (100, 17), (256, 0), (300, 299), (1_000, 700), (5_000, 4_999)] {
        let mut idx: Vec<i64> = (0..len as i64).map(|k| k * 7919 % 400 - 200).collect();
        let mut without: Vec<u64> = idx.iter().map(|i| i.unsigned_abs()).collect();
        for (signed, unsigned) in
            [(i64::MIN, 1 << 63), (i64::MAX, u64::MAX), (-201, u64::MAX - 5), (400, 400), (-1, 399)]
        {
            (idx[at], without[at]) = (signed, unsigned);
            let expected = [
                reference::take(&src, Wrap(&idx)).unwrap(),
                reference::take(&src, Clip(&idx)).unwrap(),
                reference::take(&src, Fill(&idx, 0.5)).unwrap(),
                reference::take(&src, Wrap(&without)).unwrap(),
                reference::take(&src, Clip(&without)).unwrap(),
                reference::take(&src, Fill(&without, 0.5)).unwrap(),
            ];
            let plain = reference::take(&src, &idx);
            everywhere(|level, _| {
                let got = [
                    gradix::take(&src, Wrap(&idx)).unwrap(),
                    gradix::take(&src, Clip(&idx)).unwrap(),
                    gradix::take(&src, Fill(&idx, 0.5)).unwrap(),
                    gradix::take(&src, Wrap(&without)).unwrap(),
                    gradix::take(&src, Clip(&without)).unwrap(),
                    gradix::take(&src, Fill(&without, 0.5)).unwrap(),
                ];
                assert!(got == expected, "{level}, {signed} or {unsigned} at {at} of {len}");
                assert!(gradix::take(&src, &idx) == plain, "{level}, {signed} at {at} of {len}");
            });
        }
    }
}

#[test]
fn bounds_at_every_position() {
    let src = counted(100);
    for len in (1..40).chain([256, 300, 140_000]) {
        for position in (0..len).filter(|k| len < 100 || k % 13_007 == 0 || k + 1 == len) {
            let mut idx = vec![50i32; len];
            for (index, element) in [(0, 0.0), (99, 99.0), (-1, 99.0), (-100, 0.0)] {
                idx[position] = index;
                assert_eq!(gradix::take(&src, &idx).unwrap()[position], element);
            }
            for index in [100, -101] {
                idx[position] = index;
                refused(&src, &idx, position, index as i128);
            }
        }
    }
}

#[test]
fn a_table_of_more_than_2_to_the_31_elements() {
    // All of them the same four: a broadcast view costs no memory.
    let data = [0.0f32, 1.0, 2.0, 3.0];
    let n = (1usize << 31) + 5;
    let table = View::strided(&data, &[n, 4], &[0, 1], 0).unwrap();
    everywhere(|_, _| {
        let idx = [n as u32 - 1, 0, 1 << 31];
        assert_eq!(gradix::take_axis(table, 0, &idx).unwrap(), data.repeat(3));
        let last = 4 * n as i64 - 1;
        assert_eq!(gradix::take(table, &[last, -1, 2, last - 1]).unwrap(), [3.0, 3.0, 2.0, 2.0]);
        let error = Err(Error::Index { position: 0, value: n as i128, bound: n });
        assert_eq!(gradix::take_axis(table, 0, &[n as u32]), error);
    });
}

#[test]
fn overlapping_rows() {
    // A window of 3 that moves by 1, forwards and backwards.
    let data = counted(10);
    let windows = View::strided(&data, &[8, 3], &[1, 1], 0).unwrap();
    let backwards = View::strided(&data, &[8, 3], &[-1, 1], 7).unwrap();
    everywhere(|_, _| {
        assert_eq!(gradix::take_axis(windows, 0, &[7, 0]).unwrap(), [7.0, 8.0, 9.0, 0.0, 1.0, 2.0]);
        assert_eq!(gradix::take_axis(backwards, 0, &[7, 0]).unwrap(), [0.0, 1.0, 2.0, 7.0, 8.0, 9.0]);
    });
    let mut data = data.clone();
    assert!(matches!(ViewMut::strided(&mut data, &[8, 3], &[1, 1], 0), Err(Error::Alias { .. })));
}

#[test]
fn nothing_from_nothing() {
    let (none, no_index) = (counted(0), [0u32; 0]);
    let rows = View::new(&none, &[0, 4]).unwrap();
    everywhere(|_, _| {
        assert_eq!(gradix::take(&none, &no_index).unwrap(), none);
        assert_eq!(gradix::take_axis(rows, 0, &no_index).unwrap(), none);
        assert_eq!(gradix::take_axis(rows, 1, &[3]).unwrap(), none);
        let error = |value, bound| Err(Error::Index { position: 0, value, bound });
        assert_eq!(gradix::take(&none, &[0]), error(0, 0));
        assert_eq!(gradix::take(&none, Wrap(&[5])), error(5, 0));
        assert_eq!(gradix::take(&none, Clip(&[5])), error(5, 0));
        assert_eq!(gradix::take(&none, Fill(&[5, -1], 2.5)).unwrap(), [2.5, 2.5]);
        assert_eq!(gradix::take_axis(rows, 0, Fill(&[0], 2.5)).unwrap(), [2.5; 4]);
        assert_eq!(gradix::take_axis(rows, 0, &[0]), error(0, 0));
        assert_eq!(gradix::take_axis(rows, 1, &[4]), error(4, 4));
    });
}

#[test]
fn shapes_and_axes_that_do_not_fit() {
    let data = counted(6);
    let (view, mut out) = (View::new(&data, &[2, 3]).unwrap(), vec![-1.0; 4]);
    everywhere(|_, _| {
        let shape = |what, expected: &[usize], got: &[usize]| {
            Err(Error::Shape { what, expected: expected.to_vec(), got: got.to_vec() })
        };
        assert_eq!(gradix::take_into(&data, &[1], &mut out), shape("the output", &[1], &[4]));
        assert_eq!(gradix::take_axis_into(view, 0, &[1], &mut out), shape("the output", &[1, 3], &[4]));
        let index = View::new(&[0, 0, 0], &[3, 1]).unwrap();
        assert_eq!(gradix::take_along_axis(view, 1, index), shape_of(&[2, 1], &[3, 1]));
        let labels = gradix::pick_into(view, &[1], &mut out);
        assert_eq!(labels, shape("the list of labels", &[2], &[1]));
        assert_eq!(gradix::take_axis(view, 2, &[0]), Err(Error::Axis { axis: 2, rank: 2 }));
        assert_eq!(gradix::take_axis(view, -3, &[0]), Err(Error::Axis { axis: -3, rank: 2 }));
        assert!(matches!(gradix::pick(&data, &[0]), Err(Error::Rank { got: 1, .. })));
        let many = View::strided(&[0u8], &[1 << 40], &[0], 0).unwrap();
        let wide = View::strided(&data, &[1 << 40, 2], &[0, 1], 0).unwrap();
        assert!(matches!(gradix::take_axis(wide, 1, many), Err(Error::Overflow { .. })));
        assert_eq!(out, [-1.0; 4]);
    });
}

fn shape_of(expected: &[usize], got: &[usize]) -> Result<Vec<f32>> {
    Err(Error::Shape { what: "the index array", expected: expected.to_vec(), got: got.to_vec() })
}

/// One index past the end at each position of a vector and of its remainder, at each width; and the bounds that a type's own
/// range makes superfluous.
#[test]
fn culprits_at_every_position_and_width() {
    fn each<I: Index + TryFrom<usize>>() {
        let at = |i: usize| I::try_from(i).ok().expect("small");
        let src = counted(100);
        for len in (1..70).chain([127, 128, 129]) {
            for position in (0..len).filter(|k| len < 40 || k % 5 == 0 || k + 3 > len) {
                let mut idx = vec![at(99); len];
                idx[position] = at(100);
                refused(&src, &idx, position, 100);
            }
        }
    }
    each::<u8>();
    each::<i8>();
    each::<u16>();
    each::<i16>();
    each::<u32>();
    each::<i32>();
    each::<u64>();
    each::<i64>();
}

/// Rows are numbered by 32 bits: those of longer axes are moved all the same, and an index that only more bits tell from
/// one inside is outside.
#[cfg(target_pointer_width = "64")]
#[test]
fn rows_numbered_by_more_than_32_bits() {
    let n: u64 = 1 << 33;
    let row = [5.0f32, 6.0];
    everywhere(|_, _| {
        let many = View::strided(&row, &[n as usize, 2], &[0, 1], 0).unwrap();
        let list = [0, 1 << 32, n - 1];
        assert_eq!(gradix::take_axis(many, 0, &list).unwrap(), [row; 3].concat());
        assert_eq!(gradix::take_axis(many, 0, Wrap(&[n + 5, 1 << 32])).unwrap(), [row; 2].concat());
        assert_eq!(
            gradix::take_axis(many, 0, Fill(&[n, (1 << 32) + 3], 9.0)).unwrap(),
            [[9.0; 2], row].concat()
        );
        let error = Error::Index { position: 1, value: n.into(), bound: n as usize };
        assert_eq!(gradix::take_axis(many, 0, &[0, n]), Err(error));

        let (table, beyond) = (counted(6), [(1u64 << 32) + 1, 1]);
        let few = View::new(&table, &[3, 2]).unwrap();
        assert_eq!(gradix::take_axis(few, 0, Fill(&beyond, 7.0)).unwrap(), [7.0, 7.0, table[2], table[3]]);
        let mut dst = table.clone();
        let rows = View::new(&[1.0, 2.0, 3.0, 4.0], &[2, 2]).unwrap();
        let to = ViewMut::new(&mut dst, &[3, 2]).unwrap();
        gradix::put_axis(to, 0, Fill(&beyond, 0.0), rows).unwrap();
        assert_eq!(dst, [&table[..2], &[3.0, 4.0], &table[4..]].concat());
    });
}

/// What is outside, among much that is inside, for rows, columns and single elements of every width.
#[test]
fn fill_in_every_form() {
    fn each<T: Numbered>() {
        let (n, width) = (40, 13);
        let src: Vec<T> = (0..n * width).map(T::of).collect();
        let rows = View::new(&src, &[n, width]).unwrap();
        for len in [1, 7, 16, 17, 300, 3_000] {
            let idx: Vec<i32> = (0..len).map(|k| (k * 7919 % 57) - 9).collect();
            let idx = Fill(&idx, T::of(199));
            everywhere(|_, _| {
                assert_eq!(gradix::take(&src, idx), reference::take(&src, idx));
                assert_eq!(gradix::take_axis(rows, 0, idx), reference::take_axis(rows, 0, idx));
                assert_eq!(gradix::take_axis(rows, 1, idx), reference::take_axis(rows, 1, idx));
            });
        }
    }
    each::<u8>();
    each::<f32>();
    each::<u128>();
}

/// A list that is read where it stands: its type's greatest value, a table as long as its range, strides of any kind.
#[test]
fn lists_are_read_where_they_stand() {
    let src = counted(70_000);
    let idx: Vec<u16> = (0..3_000u32).map(|k| (k * 7919 % 65_536) as u16).chain([u16::MAX]).collect();
    let every_third = View::strided(&idx, &[1_000], &[3], 1).unwrap();
    let backwards = View::strided(&idx, &[3_001], &[-1], 3_000).unwrap();
    everywhere(|_, _| {
        let at = |i: &u16| f32::from(*i);
        assert_eq!(gradix::take(&src, &idx).unwrap(), idx.iter().map(at).collect::<Vec<_>>());
        assert_eq!(gradix::take(&src, backwards).unwrap(), idx.iter().rev().map(at).collect::<Vec<_>>());
        let thirds: Vec<f32> = idx[1..].iter().step_by(3).map(at).collect();
        assert_eq!(gradix::take(&src, every_third).unwrap(), thirds);
    });
}

/// One index for each plane, the same for all of its rows: as many rows as planes, and not one list for all planes.
#[test]
fn lists_of_planes() {
    fn check<I: Index + From<u8>>() {
        let (src, n) = (counted(5 * 7 * 3), 5);
        let src = View::new(&src, &[5, 7, 3]).unwrap();
        let idx: Vec<I> = (0..n).map(|p| I::from(p * 3 % 7)).collect();
        for strides in [[1, 0, 0], [0, 1, 0], [0, 0, 0]] {
            let idx = View::strided(&idx, &[5, 5, 3], &strides, 0).unwrap();
            let expected = reference::take_along_axis(src, 1, idx).unwrap();
            everywhere(|_, _| assert!(gradix::take_along_axis(src, 1, idx).unwrap() == expected));
            let mut put = [vec![0.0; 5 * 7 * 3], vec![0.0; 5 * 7 * 3]];
            let [ours, defined] = put.each_mut().map(|dst| ViewMut::new(dst, &[5, 7, 3]).unwrap());
            gradix::put_along_axis(ours, 1, idx, &expected).unwrap();
            reference::put_along_axis(defined, 1, idx, &expected).unwrap();
            assert!(put[0] == put[1]);
        }
    }
    check::<u8>();
    check::<u32>();
    check::<u64>();
}

/// Strides before the first element, of a view that lies at the end of its data: the pointer must come from all of it.
#[test]
fn negative_strides_lead_before_the_start() {
    let mut data = [1.0f32, 2.0, 3.0];
    let view = View::strided(&data, &[3], &[-1], 2).unwrap();
    assert_eq!(gradix::take(view, &[0, 2]).unwrap(), [3.0, 1.0]);
    let mut view = ViewMut::strided(&mut data, &[2], &[-2], 2).unwrap();
    *view.get_mut(&[1]).unwrap() = 7.0;
    gradix::scatter_add(view, &[0u8, 1], &[1.0, 1.0]).unwrap();
    assert_eq!(data, [8.0, 2.0, 4.0]);
}
