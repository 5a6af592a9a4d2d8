//! Calls of gather and scatter on arrays of any layout, with indices of any type and mode, some of them wrong.

pub use super::calls::Op;
use super::strided::{Strided, layout};
use gradix::{Clip, Fill, Index, Indices, View, Wrap};
use proptest::collection::vec;
use proptest::prelude::*;

/// What an index out of bounds means.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    Bare,
    Wrap,
    Clip,
    Fill,
}

/// One call: the table is indexed by the list; the values are what gather writes and scatter reads.
#[derive(Debug, Clone)]
pub struct Case {
    pub op: Op,
    /// May be negative.
    pub axis: isize,
    mode: Mode,
    pub table: Strided,
    list: Strided,
    pub values: Strided,
    /// For each element of the list's buffer: what the index is made from.
    seeds: Vec<i64>,
    /// The length of the indexed axis.
    bound: usize,
}

impl Case {
    /// The buffer of indices.
    pub fn buffer<I: Index + TryFrom<i64>>(&self) -> Vec<I> {
        let most = (self.bound as i64).clamp(1, 100);
        let index = |&seed| I::try_from(seed).or_else(|_| I::try_from(i64::rem_euclid(seed, most)));
        self.seeds.iter().map(index).map(|i| i.ok().expect("at most 100")).collect()
    }

    /// The indices, read from that buffer; where they fill, with this value.
    pub fn indices<'a, I: Index, T>(&self, buffer: &'a [I], value: T) -> Indices<'a, I, T> {
        let list: View<'a, I> = self.list.view(buffer).expect("a buffer of the layout's size");
        match self.mode {
            Mode::Bare => list.into(),
            Mode::Wrap => Wrap(list).into(),
            Mode::Clip => Clip(list).into(),
            Mode::Fill => Fill(list, value).into(),
        }
    }
}

/// Any call; where the values are written the table may repeat elements, else the values may.
pub fn case(values_are_written: bool) -> impl Strategy<Value = Case> {
    let op = prop_oneof![Just(Op::Flat), Just(Op::Axis), Just(Op::Along), Just(Op::Pick)];
    let mode = prop_oneof![3 => Just(Mode::Bare), 1 => Just(Mode::Wrap), 1 => Just(Mode::Clip), 1 => Just(Mode::Fill)];
    let length = || prop_oneof![1 => Just(0usize), 20 => 1usize..6, 2 => 6usize..40];
    (op, mode, vec(length(), 1..5), 0usize..4, vec(length(), 0..3), any::<(bool, bool)>())
        .prop_flat_map(move |(op, mode, mut table, axis, listed, (flat, negative))| {
            if op == Op::Pick {
                table = vec![table[0], *table.last().unwrap()];
            }
            let (rank, axis) = (table.len(), axis % table.len());
            let list = match op {
                Op::Flat | Op::Axis => listed,
                Op::Along => {
                    let mut list = table.clone();
                    list[axis] = listed.first().copied().unwrap_or(7);
                    list
                }
                Op::Pick => vec![table[0]],
            };
            let values = match op {
                Op::Axis => [&table[..axis], &list[..], &table[axis + 1..]].concat(),
                _ => list.clone(),
            };
            let values = if flat { vec![values.iter().product()] } else { values };
            let bound = match op {
                Op::Flat => table.iter().product(),
                Op::Pick => table[1],
                _ => table[axis],
            };
            let axis = axis as isize - if negative { rank as isize } else { 0 };
            let arrays =
                (layout(table, values_are_written), layout(list, true), layout(values, !values_are_written));
            (Just((op, axis, mode, bound)), arrays)
        })
        .prop_flat_map(|(call, (table, list, values))| {
            let seeds = vec(prop_oneof![20 => -1000i64..1000, 1 => any::<i64>()], list.len);
            (Just(call), Just((table, list, values)), seeds, 0u32..10)
        })
        .prop_map(|((op, axis, mode, bound), (table, list, values), mut seeds, wild)| {
            // Nearly always in bounds where they must be.
            if matches!(mode, Mode::Bare) && wild > 0 && bound > 0 {
                seeds.iter_mut().for_each(|seed| *seed = seed.rem_euclid(2 * bound as i64) - bound as i64);
            }
            Case { op, axis, mode, table, list, values, seeds, bound }
        })
}
