//! Scatter against its definition, bit for bit, at every level and thread count.

mod common;

use common::everywhere;
use common::indexed::{Case, Op, case};
use gradix::{Float, Index, Indices, Result, View, ViewMut, reference};
use proptest::prelude::*;

fn call<T: Float, I: Index>(
    Case { op, axis, .. }: &Case,
    fast: bool,
    dst: ViewMut<'_, T>,
    idx: Indices<'_, I>,
    src: View<'_, T>,
    a: Option<T>,
) -> Result<()> {
    match (op, fast, a) {
        (Op::Flat, true, None) => gradix::scatter_add(dst, idx, src),
        (Op::Flat, false, None) => reference::scatter_add(dst, idx, src),
        (Op::Axis, true, None) => gradix::scatter_add_axis(dst, *axis, idx, src),
        (Op::Axis, false, None) => reference::scatter_add_axis(dst, *axis, idx, src),
        (Op::Along, true, None) => gradix::scatter_add_along_axis(dst, *axis, idx, src),
        (Op::Along, false, None) => reference::scatter_add_along_axis(dst, *axis, idx, src),
        (Op::Pick, true, None) => gradix::pick_add(dst, idx, T::from_f64(-1.0)),
        (Op::Pick, false, None) => reference::pick_add(dst, idx, T::from_f64(-1.0)),
        (Op::Flat, true, Some(a)) => gradix::scatter_add_scaled(dst, idx, src, a),
        (Op::Flat, false, Some(a)) => reference::scatter_add_scaled(dst, idx, src, a),
        (Op::Axis, true, Some(a)) => gradix::scatter_add_axis_scaled(dst, *axis, idx, src, a),
        (Op::Axis, false, Some(a)) => reference::scatter_add_axis_scaled(dst, *axis, idx, src, a),
        (Op::Along, true, Some(a)) => gradix::scatter_add_along_axis_scaled(dst, *axis, idx, src, a),
        (Op::Along, false, Some(a)) => reference::scatter_add_along_axis_scaled(dst, *axis, idx, src, a),
        (Op::Pick, true, Some(a)) => gradix::pick_add_scaled(dst, idx, src, a),
        (Op::Pick, false, Some(a)) => reference::pick_add_scaled(dst, idx, src, a),
    }
}

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
    let (before, data): (Vec<T>, Vec<T>) = (values(case.table.len, 1), values(case.flow.len, 2));
    let list: Vec<I> = case.buffer();
    let (src, idx) = (case.flow.view(&data).unwrap(), case.indices(&list));
    let mut expected = before.clone();
    let answer = call(case, false, case.table.view_mut(&mut expected).unwrap(), idx, src, a);
    assert!(answer.is_ok() || expected == before);
    everywhere(|level, threads| {
        let mut dst = before.clone();
        let got = call(case, true, case.table.view_mut(&mut dst).unwrap(), idx, src, a);
        assert_eq!(got, answer, "{level}, {threads} threads");
        assert_eq!(dst, expected, "{level}, {threads} threads");
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn any_layout_and_index_type(case in case(false), index_type in 0..7, a in proptest::option::of(-2.0..2.0)) {
        match index_type {
            0 => check::<f32, u8>(&case, a),
            1 => check::<f64, u16>(&case, a),
            2 => check::<f32, u32>(&case, a),
            3 => check::<f64, u64>(&case, a),
            4 => check::<f32, usize>(&case, a),
            5 => check::<f64, i32>(&case, a),
            _ => check::<f32, i64>(&case, a),
        }
    }
}
