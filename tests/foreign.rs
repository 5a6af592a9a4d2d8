//! Every public operation with every index type against the reference, in few seconds even on an emulated CPU:
//! random small calls, some of them wrong, and a few that threads share. `.ci/foreign` runs this on AArch64, s390x
//! (big-endian) and 32-bit x86; the tests of each operation say more, and take longer.
//!
//! `GRADIX_CASES` is the number of random calls of each kind and type, 60 unless it says otherwise.

mod common;

use common::calls::Op;
use common::everywhere;
use common::strided::Strided;
use gradix::select::{self, Predicate};
use gradix::{
    AbsBetween, AbsGe, AbsGt, Between, Clip, Element, Fill, Float, Ge, Gt, Index, Indices, IsNan, Le, Level,
    Loss, Lt, Ne, NotNan, Partial, Position, Reduction, SoftmaxXent, View, Wrap, reference,
};
use std::any::type_name;

/// xorshift64*
struct Rng(u64);

impl Rng {
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.bits()) * n as u128) >> 64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Between −1 and 1.
    fn number<T: Float>(&mut self) -> T {
        T::from_f64((self.bits() >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
    }

    fn numbers<T: Float>(&mut self, len: usize, scale: f64) -> Vec<T> {
        (0..len).map(|_| self.number::<T>() * T::from_f64(scale)).collect()
    }

    /// Small numbers many of which are equal, and the ends of the line.
    fn coarse<T: Bits>(&mut self, len: usize) -> Vec<T> {
        let ends = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, f64::MAX, 1e-310, 1e-42];
        let number = |rng: &mut Self| match rng.one_in(12) {
            true => rng.pick(&ends),
            false => rng.below(17) as f64 / 4.0 - 2.0,
        };
        (0..len).map(|_| T::from_f64(number(self))).collect()
    }

    /// A shape of `rank` axes, at most one of them long.
    fn shape(&mut self, rank: usize) -> Vec<usize> {
        let long = self.below(rank.max(1));
        let length = |rng: &mut Self, axis| match rng.below(24) {
            0 => 0,
            1..8 if axis == long => rng.below(400),
            _ => 1 + rng.below(6),
        };
        (0..rank).map(|axis| length(self, axis)).collect()
    }

    /// Any strides; with `broadcast` also of 0, which no `ViewMut` takes.
    fn layout(&mut self, shape: &[usize], broadcast: bool) -> Strided {
        if self.one_in(3) {
            return Strided::dense(shape);
        }
        let steps: &[usize] = if broadcast { &[0, 1, 1, 1, 1, 2] } else { &[1, 1, 1, 1, 2] };
        let order: Vec<u32> = shape.iter().map(|_| self.below(4) as u32).collect();
        let steps: Vec<usize> = shape.iter().map(|_| self.pick(steps)).collect();
        let reversed: Vec<bool> = shape.iter().map(|_| self.one_in(3)).collect();
        Strided::new(shape, &order, &steps, &reversed, self.below(3))
    }
}

/// The bits of an element, those of a NaN too.
trait Bits: Float {
    fn bits(self) -> u64;
    fn of(bits: u64) -> Self;
}

impl Bits for f32 {
    fn bits(self) -> u64 {
        self.to_bits().into()
    }
    fn of(bits: u64) -> Self {
        f32::from_bits(bits as u32)
    }
}

impl Bits for f64 {
    fn bits(self) -> u64 {
        self.to_bits()
    }
    fn of(bits: u64) -> Self {
        f64::from_bits(bits)
    }
}

/// The same bits.
#[track_caller]
fn same<T: Bits>(what: &str, fast: &[T], plain: &[T]) {
    assert_eq!(fast.len(), plain.len(), "{what}");
    for (i, (a, b)) in fast.iter().zip(plain).enumerate() {
        assert!(a.bits() == b.bits(), "{what}[{i}]: {a:?}, by definition {b:?}");
    }
}

/// The same bits, or both NaN: which NaN a sum is, the CPU decides.
#[track_caller]
fn same_sums<T: Bits>(what: &str, fast: &[T], plain: &[T]) {
    let one_nan = |x: &[T]| -> Vec<T> { x.iter().map(|&x| if x.is_nan() { T::NAN } else { x }).collect() };
    same(what, &one_nan(fast), &one_nan(plain));
}

fn cases() -> usize {
    std::env::var("GRADIX_CASES").map_or(60, |n| n.parse().expect("GRADIX_CASES is a number"))
}

/// Runs `check::<T, I>` on so many seeds, for `f32` and `f64` and for each of these integers.
macro_rules! each_type {
    ($check:ident, $cases:expr, $($i:ident)*) => {{
        let cases: usize = $cases;
        $(for seed in 1..=cases as u64 {
            $check::<f32, $i>(&mut Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
            $check::<f64, $i>(&mut Rng(seed.wrapping_mul(0xD134_2543_DE82_EF95)));
        })*
        let types = 2 * [$(stringify!($i)),*].len();
        println!("{} calls of each kind: {cases} for each of {types} pairs of types", cases * types);
    }};
}

/// One gather and one scatter of the same shapes.
fn indexed<T: Bits, I: Index + TryFrom<i64>>(rng: &mut Rng) {
    let op = rng.pick(&[Op::Flat, Op::Axis, Op::Along, Op::Pick]);
    let rank = if op == Op::Pick { 2 } else { 1 + rng.below(4) };
    let table = rng.shape(rank);
    let axis = rng.below(rank);
    let list = match op {
        Op::Flat | Op::Axis => {
            let rank = rng.below(3);
            rng.shape(rank)
        }
        Op::Along => {
            let mut list = table.clone();
            list[axis] = rng.below(40);
            list
        }
        Op::Pick => vec![table[0]],
    };
    let values = match op {
        Op::Axis => [&table[..axis], &list[..], &table[axis + 1..]].concat(),
        _ => list.clone(),
    };
    let bound = match op {
        Op::Flat => table.iter().product(),
        Op::Pick => table[1],
        _ => table[axis],
    };
    let axis = axis as isize - if rng.one_in(2) { rank as isize } else { 0 };
    let list = rng.layout(&list, true);

    // Mostly indices in bounds; beyond them as the mode allows, or one culprit.
    let (mode, wrong) = (rng.below(5), rng.one_in(8));
    let reach = if mode < 2 { bound.max(1) } else { 1000 } as i64;
    let anything = wrong || mode >= 2;
    let buffer: Vec<I> = (0..list.len)
        .map(|_| match rng.below(40) {
            0 if anything => rng.bits() as i64 >> rng.below(64),
            1 if wrong => reach + rng.below(3) as i64,
            _ => rng.below(2 * reach as usize) as i64 - reach,
        })
        .map(|i| {
            I::try_from(i).or_else(|_| I::try_from(i.rem_euclid(reach.min(100)))).ok().expect("at most 100")
        })
        .collect();
    let idx: Indices<'_, I, T> = match list.view(&buffer).unwrap() {
        list if mode < 2 => list.into(),
        list if mode == 2 => Wrap(list).into(),
        list if mode == 3 => Clip(list).into(),
        list => Fill(list, T::of(7)).into(),
    };
    let what =
        format!("{op:?} {table:?} {axis} {list:?} mode {mode}, {} {}", type_name::<T>(), type_name::<I>());

    let (from, to) = (rng.layout(&table, true), rng.layout(&values, false));
    let data: Vec<T> = (0..from.len).map(|_| T::of(rng.bits())).collect();
    let src = from.view(&data).unwrap();
    let before = rng.numbers(to.len, 1.0);
    let mut expected = before.clone();
    let answer = op.gather(axis, false, src, idx, to.view_mut(&mut expected).unwrap());
    let allocated = match op {
        Op::Flat => reference::take(src, idx),
        Op::Axis => reference::take_axis(src, axis, idx),
        Op::Along => reference::take_along_axis(src, axis, idx),
        Op::Pick => reference::pick(src, idx),
    };
    everywhere(|level, threads| {
        let what = format!("gather {what}, {level} {threads}");
        let mut out = before.clone();
        assert_eq!(op.gather(axis, true, src, idx, to.view_mut(&mut out).unwrap()), answer, "{what}");
        same(&what, &out, &expected);
        let found = match op {
            Op::Flat => gradix::take(src, idx),
            Op::Axis => gradix::take_axis(src, axis, idx),
            Op::Along => gradix::take_along_axis(src, axis, idx),
            Op::Pick => gradix::pick(src, idx),
        };
        match (&found, &allocated) {
            (Ok(found), Ok(allocated)) => same(&what, found, allocated),
            (found, allocated) => assert_eq!(found.as_ref().err(), allocated.as_ref().err(), "{what}"),
        }
    });

    let (to, from) = (rng.layout(&table, false), rng.layout(&values, true));
    let (before, data): (Vec<T>, Vec<T>) = (rng.numbers(to.len, 1.0), rng.numbers(from.len, 1e3));
    let src = from.view(&data).unwrap();
    let a = if rng.one_in(2) { Some(rng.number()) } else { None };
    let mut expected = before.clone();
    let answer = op.scatter(axis, false, to.view_mut(&mut expected).unwrap(), idx, src, a);
    if answer.is_err() {
        same("the destination after an error", &expected, &before);
    }
    let mut expected_put = before.clone();
    let dst = to.view_mut(&mut expected_put).unwrap();
    let answer_put = match op {
        Op::Flat => reference::put(dst, idx, src),
        Op::Axis => reference::put_axis(dst, axis, idx, src),
        Op::Along => reference::put_along_axis(dst, axis, idx, src),
        Op::Pick => reference::put_value(dst, idx, T::of(9)),
    };
    everywhere(|level, threads| {
        let what = format!("put {what}, {level} {threads}");
        let mut out = before.clone();
        let dst = to.view_mut(&mut out).unwrap();
        let found = match op {
            Op::Flat => gradix::put(dst, idx, src),
            Op::Axis => gradix::put_axis(dst, axis, idx, src),
            Op::Along => gradix::put_along_axis(dst, axis, idx, src),
            Op::Pick => gradix::put_value(dst, idx, T::of(9)),
        };
        assert_eq!(found, answer_put, "{what}");
        same(&what, &out, &expected_put);
        let what = format!("scatter {what}");
        let mut dst = before.clone();
        assert_eq!(op.scatter(axis, true, to.view_mut(&mut dst).unwrap(), idx, src, a), answer, "{what}");
        same_sums(&what, &dst, &expected);
    });
}

#[test]
fn gathers_and_scatters_are_those_of_the_reference() {
    each_type!(indexed, cases(), u8 u16 u32 u64 usize i8 i16 i32 i64);
}

/// Elements of every width are moved as they are.
#[test]
fn elements_of_every_width_are_moved() {
    fn check<T: Element + PartialEq>(rng: &mut Rng, of: impl Fn(u64) -> T) {
        let (rows, width) = (1 + rng.below(300), rng.pick(&[1, 2, 3, 5, 8, 17]));
        let table: Vec<T> = (0..rows * width).map(|_| of(rng.bits())).collect();
        let list: Vec<u16> = (0..rng.below(900)).map(|_| rng.below(rows) as u16).collect();
        let src = View::new(&table, &[rows, width]).unwrap();
        let expected = (reference::take(&table, &list), reference::take_axis(src, 0, &list));
        let few = &list[..list.len().min(rows)];
        let mut put = table.clone();
        reference::put(&mut put, few, &table[..few.len()]).unwrap();
        everywhere(|_, _| {
            assert!((gradix::take(&table, &list), gradix::take_axis(src, 0, &list)) == expected);
            let mut out = table.clone();
            gradix::put(&mut out, few, &table[..few.len()]).unwrap();
            assert!(out == put);
        });
    }
    for seed in 1..=cases() as u64 {
        let rng = &mut Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        check(rng, |bits| bits as u8);
        check(rng, |bits| bits as i16);
        check(rng, |bits| bits as u32);
        check(rng, |bits| bits as i64);
        check(rng, |bits| u128::from(bits) << 60 | u128::from(bits));
        check(rng, |bits| bits % 2 == 0);
    }
}

/// The position of type `I`.
fn position<I: TryFrom<usize>>(i: usize) -> I {
    I::try_from(i).ok().expect("a small position")
}

/// All selections, by `select` or by the reference: of each the hits with their indices (or bools), the values, the residual.
macro_rules! selections {
    ($m:ident, $x:expr, $layout:expr, $residual:expr, $p:expr, $room:expr, $i:ident, $T:ident) => {{
        let (x, room) = ($x, $room);
        let residual = |buffer: &mut Vec<$T>| buffer.clone_from($residual);
        let (mut left, mut i, mut v) = (vec![], vec![position::<$i>(7); room], vec![$T::of(7); room]);
        let mut mask = vec![true; room];
        let mut all = vec![];
        all.push(($m::indices::<$T, $i>(x, $p).map(|i| (i.len(), i)), vec![], vec![]));
        let hits = $m::indices_into(x, $p, &mut i).map(|n| (n, i[..n].to_vec()));
        all.push((hits, vec![], vec![]));
        all.push((Ok((0, vec![])), $m::values(x, $p).unwrap(), vec![]));
        let hits = $m::values_into(x, $p, &mut v).map(|n| (n, vec![]));
        let values = hits.as_ref().map_or(vec![], |&(n, _)| v[..n].to_vec());
        all.push((hits, values, vec![]));
        let (pairs, values) = $m::pairs::<$T, $i>(x, $p).unwrap();
        all.push((Ok((pairs.len(), pairs)), values, vec![]));
        let hits = $m::pairs_into(x, $p, &mut i, &mut v).map(|n| (n, i[..n].to_vec()));
        let values = hits.as_ref().map_or(vec![], |&(n, _)| v[..n].to_vec());
        all.push((hits, values, vec![]));
        all.push(($m::count(x, $p).map(|n| (n, vec![])), vec![], vec![]));
        let bools = |mask: &[bool]| mask.iter().map(|&b| position::<$i>(b.into())).collect();
        all.push(($m::mask(x, $p).map(|m| (m.len(), bools(&m))), vec![], vec![]));
        all.push(($m::mask_into(x, $p, &mut mask).map(|n| (n, bools(&mask[..n]))), vec![], vec![]));
        let mask = $m::mask(x, $p).unwrap();
        all.push((Ok((0, vec![])), $m::compress(x, &mask).unwrap(), vec![]));
        all.push(($m::compress_indices(&mask).map(|i| (i.len(), i)), vec![], vec![]));
        let top = $m::top_k::<$T, $i>(x, room); // too few, where many are NaN
        let values = top.as_ref().map_or(vec![], |top| top.1.clone());
        all.push((top.map(|(i, _)| (i.len(), i)), values, vec![]));
        residual(&mut left);
        let to = $layout.view_mut(&mut left).unwrap();
        let top = $m::sparsify_top_k::<$T, $i>(to, room);
        let values = top.as_ref().map_or(vec![], |top| top.1.clone());
        all.push((top.map(|(i, _)| (i.len(), i)), values, left.clone()));

        residual(&mut left);
        let (hits, values) = $m::sparsify::<$T, $i>($layout.view_mut(&mut left).unwrap(), $p).unwrap();
        all.push((Ok((hits.len(), hits)), values, left.clone()));
        residual(&mut left);
        let to = $layout.view_mut(&mut left).unwrap();
        let hits = $m::sparsify_into(to, $p, &mut i, &mut v).map(|n| (n, i[..n].to_vec()));
        let values = hits.as_ref().map_or(vec![], |&(n, _)| v[..n].to_vec());
        all.push((hits, values, left.clone()));
        residual(&mut left);
        let to = $layout.view_mut(&mut left).unwrap();
        let (hits, values) = $m::sparsify_with::<$T, $i>(x, to, $p).unwrap();
        all.push((Ok((hits.len(), hits)), values, left.clone()));
        residual(&mut left);
        let to = $layout.view_mut(&mut left).unwrap();
        let hits = $m::sparsify_with_into(x, to, $p, &mut i, &mut v).map(|n| (n, i[..n].to_vec()));
        let values = hits.as_ref().map_or(vec![], |&(n, _)| v[..n].to_vec());
        all.push((hits, values, left.clone()));
        all
    }};
}

fn selected<T: Bits, I: Position + TryFrom<usize>>(rng: &mut Rng) {
    let rank = 1 + rng.below(3);
    let shape = match rng.one_in(3) {
        true => vec![rng.below(3000)],
        false => rng.shape(rank),
    };
    let (from, to) = (rng.layout(&shape, true), rng.layout(&shape, false));
    let (data, residual): (Vec<T>, Vec<T>) = (rng.coarse(from.len), rng.coarse(to.len));
    let x = from.view(&data).unwrap();
    let (t, u): (T, T) =
        (T::from_f64(rng.below(9) as f64 / 4.0 - 1.0), T::from_f64(rng.below(5) as f64 / 4.0));
    let room = if rng.one_in(3) { x.len() / 2 } else { x.len() };

    fn compare<T: Bits, I: Position + TryFrom<usize>, P: Predicate<T> + std::fmt::Debug>(
        x: View<'_, T>,
        (layout, residual): (&Strided, &Vec<T>),
        room: usize,
        p: P,
    ) {
        let expected = selections!(reference_select, x, layout, residual, p, room, I, T);
        everywhere(|level, threads| {
            let found = selections!(select, x, layout, residual, p, room, I, T);
            for (call, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let what = format!(
                    "selection {call} by {p:?} of {:?}, {} {}, {level} {threads}",
                    x.shape(),
                    type_name::<T>(),
                    type_name::<I>()
                );
                assert_eq!(found.0, expected.0, "{what}");
                same(&what, &found.1, &expected.1);
                same_sums(&what, &found.2, &expected.2);
            }
        });
    }
    let to = (&to, &residual);
    // Positions of each type; the other predicates: below.
    match rng.one_in(2) {
        true => compare::<T, I, _>(x, to, room, Gt(t)),
        false => compare::<T, I, _>(x, to, room, AbsGe(u)),
    }
    let k = rng.below(x.len() + 2);
    let expected = reference_select::top_k_threshold(x, k);
    everywhere(|_, _| assert_eq!(select::top_k_threshold(x, k), expected));
}

use reference::select as reference_select;

/// Each predicate on the same numbers.
fn compared<T: Bits>(rng: &mut Rng) {
    let data: Vec<T> = {
        let len = rng.below(600);
        rng.coarse(len)
    };
    let (t, u): (T, T) =
        (T::from_f64(rng.below(9) as f64 / 4.0 - 1.0), T::from_f64(rng.below(5) as f64 / 4.0));
    fn compare<T: Bits, P: Predicate<T> + std::fmt::Debug>(x: &[T], p: P) {
        let (indices, values) = reference_select::pairs::<T, u32>(x, p).unwrap();
        let mask = reference_select::mask(x, p).unwrap();
        everywhere(|level, threads| {
            let what = format!("{p:?} of {} {}, {level} {threads}", x.len(), type_name::<T>());
            let found = select::pairs::<T, u32>(x, p).unwrap();
            assert_eq!(found.0, indices, "{what}");
            same(&what, &found.1, &values);
            assert_eq!(select::mask(x, p).unwrap(), mask, "{what}");
            assert_eq!(select::count(x, p).unwrap(), indices.len(), "{what}");
        });
    }
    compare(&data, Gt(t));
    compare(&data, Ge(t));
    compare(&data, Lt(t));
    compare(&data, Le(t));
    compare(&data, AbsGt(u));
    compare(&data, AbsGe(u));
    compare(&data, Between(-u, t));
    compare(&data, AbsBetween(u, t));
    compare(&data, Ne(t));
    compare(&data, IsNan);
    compare(&data, NotNan);
}

#[test]
fn every_predicate_is_that_of_the_reference() {
    for seed in 1..=cases() as u64 {
        compared::<f32>(&mut Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        compared::<f64>(&mut Rng(seed.wrapping_mul(0xD134_2543_DE82_EF95)));
    }
}

#[test]
fn selections_are_those_of_the_reference() {
    each_type!(selected, cases(), u32 u64 usize i64);
}

/// Equal as the level promises: bit for bit with FMA, else near.
#[track_caller]
fn near<T: Bits>(level: Level, what: &str, fast: &[T], plain: &[T]) {
    if level.has_fma() {
        return same_sums(what, fast, plain);
    }
    assert_eq!(fast.len(), plain.len(), "{what}");
    let largest = plain.iter().filter(|x| !x.is_nan()).fold(1.0, |max, x| x.to_f64().abs().max(max));
    for (i, (&a, &b)) in fast.iter().zip(plain).enumerate() {
        let near = (a - b).to_f64().abs() <= 64.0 * T::EPSILON.to_f64() * largest;
        let same = a.bits() == b.bits() || a.is_nan() && b.is_nan();
        assert!(same || near, "{what}[{i}]: {a:?}, by definition {b:?}");
    }
}

fn parts<T: Float>(partials: &[Partial<T>]) -> Vec<T> {
    partials.iter().flat_map(|p| [p.max, p.others, p.target]).collect()
}

fn loss<T: Float>(loss: &Loss<T>) -> [T; 3] {
    [loss.value, loss.weight, T::from_f64(loss.count as f64)]
}

/// The options, half of them as they are unless said.
fn options<T: Bits>(rng: &mut Rng, classes: usize, ignored: i64) -> SoftmaxXent<T> {
    let mut xent = SoftmaxXent::new();
    if rng.one_in(2) {
        xent = xent.ignore_index(ignored);
    }
    if rng.one_in(3) {
        let weights: Vec<T> = (0..classes).map(|_| T::from_f64(rng.below(5) as f64 / 4.0 + 0.25)).collect();
        xent = xent.class_weights(&weights);
    }
    if rng.one_in(3) {
        xent = xent.label_smoothing(T::from_f64(0.1));
    }
    if rng.one_in(3) {
        xent = xent.z_loss(T::from_f64(1e-2));
    }
    if rng.one_in(4) {
        xent = xent.softcap(T::from_f64(3.0));
    }
    xent = xent.reduction(rng.pick(&[Reduction::Mean, Reduction::Sum, Reduction::None]));
    if rng.one_in(6) {
        xent = xent.normalizer(T::from_f64(7.0)); // an error unless the reduction is the mean
    }
    xent
}

fn softmax<T: Bits, I: Index + TryFrom<i64>>(rng: &mut Rng) {
    let rows = rng.pick(&[0, 1, 2, 3, 15, 16, 17, 33, 40]);
    let mut classes = 1 + rng.below(40);
    if rng.one_in(3) {
        classes = rng.pick(&[64, 100, 127, 128, 129, 151, 257, 1000]);
    }
    let (shape, axis) = match rng.below(4) {
        0 => (vec![classes, rows], 0),
        1 => (vec![rows, classes, 2], 1),
        _ => (vec![rows, classes], -1),
    };
    let rows = shape.iter().product::<usize>() / classes;
    let limit = classes.min(100);
    let ignored = 101;
    let wrong = rng.one_in(8);
    let labels: Vec<I> = (0..rows)
        .map(|_| match rng.below(12) {
            0 => ignored,
            1 if wrong => rng.pick(&[120, (1 << 32) + 1, i64::MAX]),
            _ => rng.below(limit) as i64,
        })
        .map(|label| I::try_from(label).or_else(|_| I::try_from(120)).ok().expect("at most 127"))
        .collect();
    let xent = options::<T>(rng, classes, ignored).class_axis(axis);
    let (from, to) = (rng.layout(&shape, true), rng.layout(&shape, false));
    let data: Vec<T> = rng.numbers(from.len, 12.0);
    let view = from.view(&data).unwrap();
    let len = rng.pick(&[rows, 1]);
    let upstream: Vec<T> = rng.numbers(len, 2.0);
    let plain = reference::SoftmaxXent(&xent);
    let what = format!("{xent:?} of {shape:?}, labels {labels:?}");

    // What both go back from.
    let sums: Vec<Partial<T>> = plain.partials(view, &labels).unwrap_or_default();

    let before: Vec<T> = rng.numbers(to.len, 1.0);
    let mut expected = [before.clone(), before.clone(), before.clone(), before.clone()];
    let [whole, back, joined, place] = &mut expected;
    let answers = (
        plain.forward_backward(view, &labels, to.view_mut(whole).unwrap()),
        plain.backward(view, &labels, &upstream, to.view_mut(back).unwrap()),
        plain.backward_from(view, &labels, &sums, &upstream, to.view_mut(joined).unwrap()),
        plain.forward_backward_in_place(to.view_mut(place).unwrap(), &labels),
        plain.forward(view, &labels),
    );
    everywhere(|level, threads| {
        let what = format!("{what}, {level} {threads}");
        let mut found = [before.clone(), before.clone(), before.clone(), before.clone()];
        let [whole, back, joined, place] = &mut found;
        let outcome = (
            xent.forward_backward(view, &labels, to.view_mut(whole).unwrap()),
            xent.backward(view, &labels, &upstream, to.view_mut(back).unwrap()),
            xent.backward_from(view, &labels, &sums, &upstream, to.view_mut(joined).unwrap()),
            xent.forward_backward_in_place(to.view_mut(place).unwrap(), &labels),
            xent.forward(view, &labels),
        );
        assert_eq!(outcome.1, answers.1, "{what}");
        for (found, expected) in
            [(&outcome.0, &answers.0), (&outcome.2, &answers.2), (&outcome.3, &answers.3)]
        {
            match (found, expected) {
                (Ok(a), Ok(b)) => near(level, &what, &loss(a), &loss(b)),
                (a, b) => assert_eq!(a.as_ref().err(), b.as_ref().err(), "{what}"),
            }
        }
        match (&outcome.4, &answers.4) {
            (Ok(a), Ok(b)) => {
                near(level, &what, &loss(&a.loss), &loss(&b.loss));
                near(level, &what, &a.losses, &b.losses);
                near(level, &what, &a.lse, &b.lse);
                near(level, &what, &parts(&a.partials), &parts(&b.partials));
            }
            (a, b) => assert_eq!(a.as_ref().err(), b.as_ref().err(), "{what}"),
        }
        for (found, expected) in found.iter().zip(&expected) {
            near(level, &what, found, expected);
        }
        let found = xent.partials(view, &labels).unwrap_or_default();
        near(level, &what, &parts(&found), &parts(&sums));
    });
}

#[test]
fn softmax_cross_entropies_are_those_of_the_reference() {
    each_type!(softmax, cases() / 2, u8 u16 u32 u64 usize i8 i16 i32 i64);
}

/// A vocabulary in two shards, each on its own, then joined: the loss of the whole.
#[test]
fn shards_join_to_the_whole() {
    fn check<T: Bits, I: Index + TryFrom<i64>>(rng: &mut Rng) {
        let (rows, classes) = (1 + rng.below(20), 2 + rng.below(90));
        let cut = 1 + rng.below(classes - 1);
        let x: Vec<T> = rng.numbers(rows * classes, 9.0);
        let labels: Vec<I> =
            (0..rows).map(|_| I::try_from(rng.below(classes) as i64).ok().unwrap()).collect();
        let shard = |first: usize, count: usize| {
            let row = [classes as isize, 1];
            let view = View::strided(&x, &[rows, count], &row, first).unwrap();
            let xent = SoftmaxXent::new().shard(first, classes);
            let plain = reference::SoftmaxXent(&xent).partials(view, &labels).unwrap();
            everywhere(|level, threads| {
                let found = xent.partials(view, &labels).unwrap();
                near(
                    level,
                    &format!("shard {first} {count}, {level} {threads}"),
                    &parts(&found),
                    &parts(&plain),
                );
            });
            plain
        };
        let whole = SoftmaxXent::new().forward(View::new(&x, &[rows, classes]).unwrap(), &labels).unwrap();
        for ((a, b), lse) in shard(0, cut).iter().zip(&shard(cut, classes - cut)).zip(&whole.lse) {
            let merged = a.merge(*b).lse();
            assert!(
                (merged - *lse).to_f64().abs() <= 16.0 * T::EPSILON.to_f64() * lse.to_f64().abs().max(1.0)
            );
        }
    }
    each_type!(check, cases() / 6, u8 u64 i32);
}

/// Enough of everything that threads share it.
#[test]
fn large_calls_are_those_of_the_reference() {
    fn check<T: Bits, I: Position + TryFrom<usize>>(rng: &mut Rng) {
        const LEN: usize = 70_000;
        let (table, width) = (rng.numbers::<T>(LEN, 1.0), rng.pick(&[3, 8, 33, 100]));
        let rows = LEN / width;
        let list: Vec<I> = (0..LEN).map(|_| position(rng.below(rows))).collect();
        let src = View::new(&table[..rows * width], &[rows, width]).unwrap();
        let few = &list[..rows];
        let (labels, t) = ((0..rows).map(|_| rng.below(width)).collect::<Vec<_>>(), T::from_f64(0.5));

        let taken = reference::take(&table, &list).unwrap();
        let taken_rows = reference::take_axis(src, 0, few).unwrap();
        let mut added = table.clone();
        reference::scatter_add(&mut added, &list, &taken).unwrap();
        let selected = reference_select::pairs::<T, I>(&table, AbsGt(t)).unwrap();
        let threshold = reference_select::top_k_threshold(&table, LEN / 10);
        let xent = SoftmaxXent::new();
        let (mut grad, mut row) = (vec![T::NAN; src.len()], vec![T::NAN; LEN]);
        let plain = reference::SoftmaxXent(&xent);
        let one = plain.forward_backward(src, &labels, &mut grad).unwrap();
        let two = plain.forward_backward(&table, &labels[..1], &mut row).unwrap();
        everywhere(|level, threads| {
            let what = format!("{} {} {width}, {level} {threads}", type_name::<T>(), type_name::<I>());
            same(&what, &gradix::take(&table, &list).unwrap(), &taken);
            same(&what, &gradix::take_axis(src, 0, few).unwrap(), &taken_rows);
            let mut dst = table.clone();
            gradix::scatter_add(&mut dst, &list, &taken).unwrap();
            same(&what, &dst, &added);
            let found = select::pairs::<T, I>(&table, AbsGt(t)).unwrap();
            assert_eq!(found.0, selected.0, "{what}");
            same(&what, &found.1, &selected.1);
            assert_eq!(select::top_k_threshold(&table, LEN / 10), threshold, "{what}");
            let mut to = vec![T::NAN; LEN];
            let found = xent.forward_backward(src, &labels, &mut to[..src.len()]).unwrap();
            near(level, &what, &loss(&found), &loss(&one));
            near(level, &what, &to[..src.len()], &grad);
            let found = xent.forward_backward(&table, &labels[..1], &mut to).unwrap();
            near(level, &what, &loss(&found), &loss(&two));
            near(level, &what, &to, &row);
        });
    }
    each_type!(check, 1, u32 u64 usize i64);
}

/// On AArch64 every CPU has FMA, and so the portable level has the reference's bits.
#[test]
fn fma_is_known_where_every_cpu_has_it() {
    if cfg!(target_arch = "aarch64") {
        assert!(Level::Portable.has_fma());
    }
    println!(
        "{} bits, {}-endian, levels {:?}, FMA at the portable level: {}",
        usize::BITS,
        if cfg!(target_endian = "big") { "big" } else { "little" },
        Level::available(),
        Level::Portable.has_fma()
    );
}
