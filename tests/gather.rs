//! Gather against its definition, bit for bit, at every level and thread count.

mod common;

use common::everywhere;
use common::strided::{Strided, layout};
use gradix::{Clip, Error, Float, Index, Indices, Result, View, ViewMut, Wrap, reference};
use proptest::collection::vec;
use proptest::prelude::*;

const SENTINEL: f64 = -77.25;

#[derive(Debug, Clone, Copy)]
enum Mode {
    Bare,
    Wrap,
    Clip,
}

fn indices<'a, I: Index>(mode: Mode, list: View<'a, I>) -> Indices<'a, I> {
    match mode {
        Mode::Bare => list.into(),
        Mode::Wrap => Wrap(list).into(),
        Mode::Clip => Clip(list).into(),
    }
}

/// One call of one operation, on arrays of any layout.
#[derive(Debug, Clone)]
struct Case {
    op: Op,
    axis: usize,
    mode: Mode,
    src: Strided,
    idx: Strided,
    out: Strided,
    /// For each element of the index buffer: a number from which the index is made.
    seeds: Vec<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Op {
    Take,
    Axis,
    Along,
    Pick,
}

fn case() -> impl Strategy<Value = Case> {
    let op = prop_oneof![Just(Op::Take), Just(Op::Axis), Just(Op::Along), Just(Op::Pick)];
    let mode = prop_oneof![3 => Just(Mode::Bare), 1 => Just(Mode::Wrap), 1 => Just(Mode::Clip)];
    let length = prop_oneof![1 => Just(0usize), 20 => 1usize..6];
    (op, mode, vec(length.clone(), 1..5), 0usize..4, vec(length, 0..3), any::<bool>())
        .prop_flat_map(|(op, mode, mut shape, axis, listed, flat)| {
            if op == Op::Pick {
                shape = vec![shape[0], *shape.last().unwrap()];
            }
            let axis = axis % shape.len();
            let idx = match op {
                Op::Take => listed,
                Op::Axis => listed,
                Op::Along => {
                    let mut idx = shape.clone();
                    idx[axis] = listed.first().copied().unwrap_or(7);
                    idx
                }
                Op::Pick => vec![shape[0]],
            };
            let out = match op {
                Op::Axis => [&shape[..axis], &idx[..], &shape[axis + 1..]].concat(),
                _ => idx.clone(),
            };
            let out = if flat { vec![out.iter().product()] } else { out };
            (Just((op, axis, mode)), layout(shape, true), layout(idx, true), layout(out, false))
        })
        .prop_flat_map(|((op, axis, mode), src, idx, out)| {
            let seeds = vec(prop_oneof![20 => -1000i64..1000, 1 => any::<i64>()], idx.len);
            (Just((op, axis, mode, src, idx, out)), seeds, 0u32..10)
        })
        .prop_map(|((op, axis, mode, src, idx, out), mut seeds, wild)| {
            let bound = match op {
                Op::Take => src.shape.iter().product(),
                Op::Pick => src.shape[1],
                _ => src.shape[axis],
            };
            // Nearly always in bounds where it must be.
            if matches!(mode, Mode::Bare) && wild > 0 && bound > 0 {
                seeds.iter_mut().for_each(|seed| *seed = seed.rem_euclid(2 * bound as i64) - bound as i64);
            }
            Case { op, axis, mode, src, idx, out, seeds }
        })
}

impl Case {
    /// The call, by this crate or by its reference.
    fn call<T: Float, I: Index>(
        &self,
        fast: bool,
        src: View<'_, T>,
        idx: Indices<'_, I>,
        out: ViewMut<'_, T>,
    ) -> Result<()> {
        let axis = self.axis as isize;
        let axis = if self.src.offset % 2 == 0 { axis } else { axis - self.src.shape.len() as isize };
        match (self.op, fast) {
            (Op::Take, true) => gradix::take_into(src, idx, out),
            (Op::Take, false) => reference::take_into(src, idx, out),
            (Op::Axis, true) => gradix::take_axis_into(src, axis, idx, out),
            (Op::Axis, false) => reference::take_axis_into(src, axis, idx, out),
            (Op::Along, true) => gradix::take_along_axis_into(src, axis, idx, out),
            (Op::Along, false) => reference::take_along_axis_into(src, axis, idx, out),
            (Op::Pick, true) => gradix::pick_into(src, idx, out),
            (Op::Pick, false) => reference::pick_into(src, idx, out),
        }
    }

    fn check<T: Float + From<f32>, I: Index + TryFrom<i64>>(&self) {
        let data: Vec<T> = (0..self.src.len).map(|i| T::from(i as f32)).collect();
        let list: Option<Vec<I>> = self.seeds.iter().map(|&seed| I::try_from(seed).ok()).collect();
        let Some(list) = list else { return };
        let (src, idx) = (self.src.view(&data).unwrap(), self.idx.view(&list).unwrap());
        let before = vec![T::from(SENTINEL as f32); self.out.len];
        let mut expected = before.clone();
        let answer =
            self.call(false, src, indices(self.mode, idx), self.out.view_mut(&mut expected).unwrap());
        assert!(answer.is_ok() || expected == before);
        everywhere(|level, threads| {
            let mut out = before.clone();
            let got = self.call(true, src, indices(self.mode, idx), self.out.view_mut(&mut out).unwrap());
            assert_eq!(got, answer, "{level}, {threads} threads");
            assert_eq!(out, expected, "{level}, {threads} threads");
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn any_layout_any_index_type(case in case(), of in 0usize..8) {
        match of {
            0 => case.check::<f32, u8>(),
            1 => case.check::<f64, u16>(),
            2 => case.check::<f32, u32>(),
            3 => case.check::<f64, u64>(),
            4 => case.check::<f32, usize>(),
            5 => case.check::<f64, i32>(),
            6 => case.check::<f32, i32>(),
            _ => case.check::<f32, i64>(),
        }
    }
}
