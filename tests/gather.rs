//! Gather against its definition, bit for bit, at every level and thread count.

mod common;

use common::everywhere;
use common::indexed::{Case, Op, case};
use gradix::{Float, Index, Indices, Result, View, ViewMut, reference};
use proptest::prelude::*;

fn call<T: Float, I: Index>(
    Case { op, axis, .. }: &Case,
    fast: bool,
    src: View<'_, T>,
    idx: Indices<'_, I>,
    out: ViewMut<'_, T>,
) -> Result<()> {
    match (op, fast) {
        (Op::Flat, true) => gradix::take_into(src, idx, out),
        (Op::Flat, false) => reference::take_into(src, idx, out),
        (Op::Axis, true) => gradix::take_axis_into(src, *axis, idx, out),
        (Op::Axis, false) => reference::take_axis_into(src, *axis, idx, out),
        (Op::Along, true) => gradix::take_along_axis_into(src, *axis, idx, out),
        (Op::Along, false) => reference::take_along_axis_into(src, *axis, idx, out),
        (Op::Pick, true) => gradix::pick_into(src, idx, out),
        (Op::Pick, false) => reference::pick_into(src, idx, out),
    }
}

fn check<T: Float + From<f32>, I: Index + TryFrom<i64>>(case: &Case) {
    let data: Vec<T> = (0..case.table.len).map(|i| T::from(i as f32)).collect();
    let list: Vec<I> = case.buffer();
    let (src, idx) = (case.table.view(&data).unwrap(), case.indices(&list));
    let before = vec![T::from(-77.25); case.flow.len];
    let mut expected = before.clone();
    let answer = call(case, false, src, idx, case.flow.view_mut(&mut expected).unwrap());
    assert!(answer.is_ok() || expected == before);
    everywhere(|level, threads| {
        let mut out = before.clone();
        let got = call(case, true, src, idx, case.flow.view_mut(&mut out).unwrap());
        assert_eq!(got, answer, "{level}, {threads} threads");
        assert_eq!(out, expected, "{level}, {threads} threads");
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn any_layout_and_index_type(case in case(true), index_type in 0..7) {
        match index_type {
            0 => check::<f32, u8>(&case),
            1 => check::<f64, u16>(&case),
            2 => check::<f32, u32>(&case),
            3 => check::<f64, u64>(&case),
            4 => check::<f32, usize>(&case),
            5 => check::<f64, i32>(&case),
            _ => check::<f32, i64>(&case),
        }
    }
}
