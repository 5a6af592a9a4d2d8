//! Selection: the same bits as the definition, everywhere, and nothing written but the hits.

mod common;

use common::{everywhere, misaligned};
use gradix::reference::select as reference;
use gradix::select::{By, Mask, TopK};
use gradix::{
    AbsBetween, AbsGe, AbsGt, Between, Error, Float, Ge, Gt, IsNan, Le, Level, Lt, NanPolicy, Ne, NotNan,
    Position, Predicate, View, ViewMut, select,
};
use proptest::prelude::*;
use std::fmt::Debug;

/// The two element types, as far as the tests need to know them.
trait Element: Float {
    fn new(x: f64) -> Self;
    fn bits(self) -> u64;
}
impl Element for f32 {
    fn new(x: f64) -> Self {
        x as f32
    }
    fn bits(self) -> u64 {
        self.to_bits().into()
    }
}
impl Element for f64 {
    fn new(x: f64) -> Self {
        x
    }
    fn bits(self) -> u64 {
        self.to_bits()
    }
}

fn bits<T: Element>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| x.bits()).collect()
}

/// A position that no answer contains.
fn sentinel<I: Position>() -> I {
    I::from_usize(0xdead_beef).expect("a 32-bit number")
}

/// Every function of the module against its definition, at the level and in the pool that it is called in.
fn agrees<T: Element, I: Position + PartialEq>(x: View<'_, T>, p: impl Predicate<T> + Debug) {
    let (i, v): (Vec<I>, Vec<T>) = reference::pairs(x, p).unwrap();
    let n = i.len();
    assert_eq!(select::indices::<T, I>(x, p).unwrap(), i, "indices {p:?}");
    assert_eq!(bits(&select::values(x, p).unwrap()), bits(&v), "values {p:?}");
    let (pi, pv): (Vec<I>, _) = select::pairs(x, p).unwrap();
    assert_eq!((pi, bits(&pv)), (i.clone(), bits(&v)), "pairs {p:?}");
    assert_eq!(select::count(x, p).unwrap(), n, "count {p:?}");
    assert_eq!(select::mask(x, p).unwrap(), reference::mask(x, p).unwrap(), "mask {p:?}");

    // Exactly the room that is needed, room for everything, and more: only the hits' own places are written.
    for room in [n, n + 1, x.len().max(n), x.len() + 40] {
        let marker = T::new(-12345.0);
        let (mut oi, mut ov) = (vec![sentinel::<I>(); room], vec![marker; room]);
        assert_eq!(select::indices_into(x, p, &mut oi).unwrap(), n);
        assert_eq!(oi[..n], i, "indices_into {p:?}");
        assert!(oi[n..].iter().all(|&i| i == sentinel()), "indices_into wrote beyond its {n} hits, {p:?}");
        assert_eq!(select::values_into(x, p, &mut ov).unwrap(), n);
        assert_eq!(bits(&ov[..n]), bits(&v), "values_into {p:?}");
        assert!(ov[n..].iter().all(|x| x.bits() == marker.bits()), "values_into wrote beyond its {n} hits");
        oi.fill(sentinel());
        ov.fill(marker);
        assert_eq!(select::pairs_into(x, p, &mut oi, &mut ov).unwrap(), n);
        assert_eq!((&oi[..n], bits(&ov[..n])), (&i[..], bits(&v)), "pairs_into {p:?}");
        assert!(oi[n..].iter().all(|&i| i == sentinel()), "pairs_into wrote beyond its {n} indices");
        assert!(ov[n..].iter().all(|x| x.bits() == marker.bits()), "pairs_into wrote beyond its {n} values");
    }
    // One place too few: an error that says how many are needed, and nothing is written.
    if n > 0 {
        let refused = Err(Error::Room { needed: n, room: n - 1 });
        let (mut oi, mut ov) = (vec![sentinel::<I>(); n], vec![T::new(-12345.0); n]);
        assert_eq!(select::indices_into(x, p, &mut oi[1..]), refused);
        assert_eq!(select::values_into(x, p, &mut ov[1..]), refused);
        assert_eq!(select::pairs_into(x, p, &mut oi[1..], &mut ov), refused);
        assert_eq!(select::pairs_into(x, p, &mut oi, &mut ov[1..]), refused);
        assert!(oi.iter().all(|&i| i == sentinel()));
        assert!(ov.iter().all(|x| x.bits() == T::new(-12345.0).bits()));
    }
    let mut mask = vec![true; x.len() + 3];
    assert_eq!(select::mask_into(x, p, &mut mask[..x.len() + 2]).unwrap(), x.len());
    assert_eq!(mask[..x.len()], reference::mask(x, p).unwrap());
    assert_eq!(mask[x.len()..], [true; 3]);
}

/// [`agrees`] for each predicate and index type.
fn agree_all<T: Element>(x: View<'_, T>, t: f64) {
    let (t, up) = (T::new(t), T::new(t + 0.25));
    agrees::<T, u32>(x, Gt(t));
    agrees::<T, u64>(x, Ge(t));
    agrees::<T, usize>(x, Lt(t));
    agrees::<T, i64>(x, Le(t));
    agrees::<T, u32>(x, AbsGt(t));
    agrees::<T, u64>(x, AbsGe(t));
    agrees::<T, u32>(x, Between(t, up));
    agrees::<T, u32>(x, AbsBetween(t, up));
    agrees::<T, i64>(x, Ne(t));
    agrees::<T, u32>(x, IsNan);
    agrees::<T, u32>(x, NotNan);
    agrees::<T, u32>(x, Predicate::<T>::nan(Le(t), NanPolicy::Send));
    agrees::<T, u32>(x, Predicate::<T>::nan(Ne(t), NanPolicy::Send));
}

/// Numbers in −1..1 from a small generator, the same on every machine.
fn uniform<T: Element>(len: usize, seed: u64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..len).map(|_| T::new(next())).collect()
}

/// Thresholds for `Gt` on [`uniform`] that select about these parts: nothing, 1, 10, 50, 90, 99 %, all.
const DENSITIES: [f64; 7] = [1.0, 0.98, 0.8, 0.0, -0.8, -0.98, -1.1];

fn every_length<T: Element>() {
    everywhere(|_, _| {
        for len in 0..4 * T::LANES + 2 {
            let x = uniform::<T>(len, len as u64);
            for t in [2.0, 0.9, 0.0, -2.0] {
                agrees::<T, u32>((&x).into(), Gt(T::new(t)));
                agrees::<T, usize>((&x).into(), Gt(T::new(t)));
            }
        }
    });
}

#[test]
fn every_length_up_to_some_vectors() {
    every_length::<f32>();
    every_length::<f64>();
}

fn densities_runs_misalignment<T: Element>() {
    everywhere(|_, _| {
        for (misalignment, len) in [(0, 1000), (1, 8192), (3, 20_000), (7, 8191)] {
            let buffer = misaligned(misalignment, T::NAN, &uniform::<T>(len, 5));
            let mut in_runs = buffer.clone();
            in_runs[misalignment..].sort_by(|a, b| a.partial_cmp(b).unwrap());
            for t in DENSITIES {
                agrees::<T, u32>((&buffer[misalignment..]).into(), Gt(T::new(t)));
                agrees::<T, u32>((&in_runs[misalignment..]).into(), Gt(T::new(t)));
                in_runs[misalignment..].reverse();
            }
        }
    });
}

#[test]
fn every_density_random_and_in_runs_misaligned() {
    densities_runs_misalignment::<f32>();
    densities_runs_misalignment::<f64>();
}

/// Lengths that several threads share, with hits of every kind of distribution over the chunks.
fn long<T: Element>() {
    let len = (1 << 20) + 77;
    let x = uniform::<T>(len, 9);
    let mut ramp = x.clone();
    ramp.sort_by(|a, b| a.partial_cmp(b).unwrap());
    everywhere(|_, threads| {
        for x in [&x, &ramp] {
            for t in if threads == 2 { &DENSITIES[..] } else { &DENSITIES[2..4] } {
                agrees::<T, u32>(x.into(), Gt(T::new(*t)));
            }
        }
    });
}

#[test]
fn lengths_that_threads_share() {
    long::<f32>();
    long::<f64>();
}

/// Long enough to be taken to come from memory.
#[test]
fn lengths_beyond_the_caches() {
    let x = uniform::<f32>((1 << 20) + 77, 11);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for t in [0.98, 0.0] {
        let (i, v): (Vec<u32>, Vec<f32>) = reference::pairs(&x, Gt(t)).unwrap();
        for &level in Level::available() {
            let select = || {
                // Not where a line begins; the places before and after stay as they are.
                let mut gi = vec![sentinel::<u32>(); i.len() + 8];
                let mut gv = vec![-12345.0f32; i.len() + 8];
                let hits = select::pairs_into(&x, Gt(t), &mut gi[3..][..i.len()], &mut gv[5..][..i.len()]);
                assert_eq!(hits, Ok(i.len()), "{level}");
                assert!(gi[3..][..i.len()] == i[..] && bits(&gv[5..][..i.len()]) == bits(&v), "{level}");
                assert!(gi[..3].iter().chain(&gi[3 + i.len()..]).all(|&i| i == sentinel::<u32>()));
                assert!(gv[..5].iter().chain(&gv[5 + i.len()..]).all(|&v| v == -12345.0));
                let wide: Vec<u64> = select::indices(&x, Gt(t)).unwrap();
                assert!(wide.iter().zip(&i).all(|(&a, &b)| a == u64::from(b)) && wide.len() == i.len());
            };
            pool.install(|| level.run(select)).unwrap();
        }
    }
}

fn strides<T: Element>() {
    let data = uniform::<T>(6000, 3);
    let views = [
        View::new(&data, &[60, 100]).unwrap().transposed(),
        View::strided(&data, &[2000], &[-3], 5999).unwrap(),
        View::strided(&data, &[30, 70], &[100, 1], 11).unwrap(),
        View::strided(&data, &[50, 40], &[0, 1], 0).unwrap(),
        View::strided(&data, &[40, 50], &[1, 0], 0).unwrap(),
        View::strided(&data, &[100, 100], &[1, 1], 7).unwrap(),
        View::strided(&data, &[3, 4, 5, 6, 1], &[1, -20, 7, 100, 3], 100).unwrap(),
        View::strided(&data, &[600, 1, 1], &[10, 4, 0], 1).unwrap(),
        View::strided(&data, &[5, 0, 7], &[10, 4, 1], 1).unwrap(),
        View::strided(&data, &[], &[], 17).unwrap(),
    ];
    everywhere(|_, _| {
        for view in views {
            for t in [2.0, 0.7, -0.5] {
                agree_all::<T>(view, t);
            }
        }
        for len in (0..67).chain([100, 200]) {
            for t in [0.9, -0.7] {
                let view = View::strided(&data, &[len], &[-3], 5999).unwrap();
                agrees::<T, u32>(view, Gt(T::new(t)));
            }
        }
    });
}

#[test]
fn strided_views_in_c_order() {
    strides::<f32>();
    strides::<f64>();
}

#[test]
fn a_strided_view_that_threads_share() {
    let data = uniform::<f32>(1 << 21, 4);
    let view = View::new(&data, &[1 << 10, 1 << 11]).unwrap().transposed();
    everywhere(|_, threads| {
        if threads < 5 {
            agrees::<f32, u32>(view, AbsGt(0.9));
        }
    });
}

fn edges<T: Element>() {
    let (nan, inf) = (T::NAN, T::INFINITY);
    let special = [0.0, -0.0, 1.0, -1.0, 5e-324, -1e-45, 1e-38, 3e38, -1e308];
    let mut x: Vec<T> = special.iter().map(|&x| T::new(x)).collect();
    x.extend([nan, -nan, inf, T::NEG_INFINITY]);
    let x: Vec<T> = x.iter().cycle().take(14 * x.len() + 5).copied().collect();
    let thresholds: Vec<T> = x[..13].to_vec();
    everywhere(|_, _| {
        for &t in &thresholds {
            agrees::<T, u32>((&x).into(), Gt(t));
            agrees::<T, u32>((&x).into(), Ge(t));
            agrees::<T, u32>((&x).into(), Lt(t));
            agrees::<T, u32>((&x).into(), Le(t));
            agrees::<T, u32>((&x).into(), AbsGt(t));
            agrees::<T, u32>((&x).into(), AbsGe(t));
            agrees::<T, u32>((&x).into(), Ne(t));
            for &high in &thresholds {
                agrees::<T, u32>((&x).into(), Between(t, high));
                agrees::<T, u32>((&x).into(), AbsBetween(t, high));
            }
        }
    });
    // The definition itself.
    assert!(select::count(&[nan, T::new(0.0), T::new(-0.0), T::new(1.0)], Ne(T::new(0.0))) == Ok(2));
    assert!(select::count(&[nan, T::new(0.0)], Ne(nan)) == Ok(2));
    assert!(select::values(&[nan, inf], NotNan) == Ok(vec![inf]));
    assert!(select::indices(&[nan, inf, -nan], IsNan) == Ok(vec![0u32, 2]));
    let hits = |answer: Result<Vec<u32>, Error>| answer.unwrap();
    assert_eq!(hits(select::indices(&[nan, -nan, inf], Ge(T::NEG_INFINITY))), [2]);
    assert_eq!(hits(select::indices(&[nan, inf], Lt(nan))), []);
    assert_eq!(hits(select::indices(&[T::new(-0.0), T::new(0.0)], Ge(T::new(0.0)))), [0, 1]);
    assert_eq!(hits(select::indices(&[T::new(-0.0), T::new(0.0)], Gt(T::new(-0.0)))), []);
    assert_eq!(hits(select::indices(&[inf, T::NEG_INFINITY], AbsGe(inf))), [0, 1]);
    assert_eq!(hits(select::indices(&[inf, T::NEG_INFINITY], AbsGt(inf))), []);
    assert_eq!(hits(select::indices(&[T::new(1.0), T::new(2.0)], Between(T::new(2.0), T::new(1.0)))), []);
}

#[test]
fn nan_zeros_and_infinities() {
    edges::<f32>();
    edges::<f64>();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn equals_the_definition_f32(x in any_elements::<f32>(), t in -1.2..1.2f64) {
        everywhere(|_, _| agree_all::<f32>((&x).into(), t));
    }
    #[test]
    fn equals_the_definition_f64(x in any_elements::<f64>(), t in -1.2..1.2f64) {
        everywhere(|_, _| agree_all::<f64>((&x).into(), t));
    }
}

/// Elements of every kind, those near the thresholds often.
fn any_elements<T: Element>() -> impl Strategy<Value = Vec<T>> {
    let element = prop_oneof![
        8 => (-1.3..1.3f64).prop_map(T::new),
        1 => any::<f64>().prop_map(T::new),
        1 => prop::sample::select(vec![f64::NAN, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY]).prop_map(T::new),
    ];
    prop::collection::vec(element, 0..300)
}

/// The sparsifying functions against their definitions, with this gradient and residual.
fn sparsify_agrees<T: Element, I: Position + PartialEq>(grad: &[T], residual: &[T], p: impl Predicate<T>) {
    let (mut expected, mut got) = (residual.to_vec(), residual.to_vec());
    let (i, v): (Vec<I>, Vec<T>) = reference::sparsify(&mut expected, p).unwrap();
    let (gi, gv): (Vec<I>, Vec<T>) = select::sparsify(&mut got, p).unwrap();
    assert_eq!((gi, bits(&gv), bits(&got)), (i, bits(&v), bits(&expected)));

    let (mut expected, mut got) = (residual.to_vec(), residual.to_vec());
    let (i, v): (Vec<I>, Vec<T>) = reference::sparsify_with(grad, &mut expected, p).unwrap();
    let (gi, gv): (Vec<I>, Vec<T>) = select::sparsify_with(grad, &mut got, p).unwrap();
    assert_eq!((&gi, bits(&gv), bits(&got)), (&i, bits(&v), bits(&expected)));

    let (n, marker) = (i.len(), T::new(-12345.0));
    for room in [n, grad.len() + 1] {
        let (mut oi, mut ov) = (vec![sentinel::<I>(); room], vec![marker; room]);
        let mut got = residual.to_vec();
        assert_eq!(select::sparsify_with_into(grad, &mut got, p, &mut oi, &mut ov).unwrap(), n);
        assert_eq!((&oi[..n], bits(&ov[..n]), bits(&got)), (&i[..], bits(&v), bits(&expected)));
        assert!(oi[n..].iter().all(|&i| i == sentinel()));
        assert!(ov[n..].iter().all(|x| x.bits() == marker.bits()));
    }
    if n > 0 {
        let (mut oi, mut ov) = (vec![sentinel::<I>(); n - 1], vec![marker; n]);
        let mut got = residual.to_vec();
        let refused = Err(Error::Room { needed: n, room: n - 1 });
        assert_eq!(select::sparsify_with_into(grad, &mut got, p, &mut oi, &mut ov), refused);
        assert_eq!(reference::sparsify_with_into(grad, &mut got, p, &mut oi, &mut ov), refused);
        assert_eq!(bits(&got), bits(residual));
        assert!(oi.iter().all(|&i| i == sentinel()));
        assert!(ov.iter().all(|x| x.bits() == marker.bits()));
    }
}

fn sparsify_everywhere<T: Element>() {
    everywhere(|_, threads| {
        for len in (0..67)
            .chain([100, 127, 128, 129, 200, 4095, 4096, 10_001])
            .chain((threads > 1).then_some(300_001))
        {
            let (grad, mut residual) = (uniform::<T>(len, 1), uniform::<T>(len, 2));
            if len > 7 {
                (residual[3], residual[5], residual[7]) = (T::NAN, T::INFINITY, T::new(-0.0));
            }
            for t in [3.0, 0.9, 0.0] {
                sparsify_agrees::<T, u32>(&grad, &residual, AbsGt(T::new(t)));
                sparsify_agrees::<T, usize>(&grad, &residual, Lt(T::new(t)));
            }
        }
    });
}

#[test]
fn sparsify_moves_the_hits_and_keeps_the_rest() {
    sparsify_everywhere::<f32>();
    sparsify_everywhere::<f64>();
}

#[test]
fn sparsify_strided_arrays() {
    let (grad, data) = (uniform::<f64>(6000, 6), uniform::<f64>(6000, 7));
    let layouts: [(&[usize], &[isize], usize); 5] = [
        (&[2999], &[-2], 5999),
        (&[60, 50], &[1, 70], 3),
        (&[3, 4, 5, 6], &[1000, -7, 100, 1], 30),
        (&[], &[], 9),
        (&[4, 0, 3], &[3, 3, 1], 9),
    ];
    everywhere(|_, _| {
        for (shape, strides, offset) in layouts {
            let grad = View::strided(&grad, shape, strides, offset).unwrap();
            let (mut expected, mut got) = (data.clone(), data.clone());
            let r = ViewMut::strided(&mut expected, shape, strides, offset).unwrap();
            let (i, v): (Vec<i64>, _) = reference::sparsify_with(grad, r, AbsGe(0.8)).unwrap();
            let r = ViewMut::strided(&mut got, shape, strides, offset).unwrap();
            let (gi, gv): (Vec<i64>, _) = select::sparsify_with(grad, r, AbsGe(0.8)).unwrap();
            assert_eq!((gi, bits(&gv), bits(&got)), (i, bits(&v), bits(&expected)));

            let r = ViewMut::strided(&mut expected, shape, strides, offset).unwrap();
            let (i, v): (Vec<u32>, _) = reference::sparsify(r, Gt(0.1)).unwrap();
            let (mut gi, mut gv) = (vec![0u32; i.len()], vec![0.0; i.len()]);
            let r = ViewMut::strided(&mut got, shape, strides, offset).unwrap();
            assert_eq!(select::sparsify_into(r, Gt(0.1), &mut gi, &mut gv).unwrap(), i.len());
            assert_eq!((gi, bits(&gv), bits(&got)), (i, bits(&v), bits(&expected)));
        }
    });
}

/// A shape of up to some hundred elements, and strides of an array whose axes may be swapped, reversed, padded and taken
/// in steps: offset, and the length of the data.
fn drawn_layout(draw: &mut impl FnMut(usize) -> usize) -> (Vec<usize>, Vec<isize>, usize, usize) {
    let most = [70, 150, 700][draw(3)];
    let rank = 1 + draw(3);
    let (mut shape, mut strides) = (vec![1; rank], vec![0; rank]);
    let (mut left, mut step, mut offset) = (most, 1 + draw(3), 0);
    let swapped = draw(2) == 1;
    for k in 0..rank {
        let axis = if swapped { k } else { rank - 1 - k };
        let len = if k + 1 == rank { 1 + draw(left) } else { 1 + draw(left.min(20)) };
        (shape[axis], left) = (len, left / len);
        let reversed = draw(4) == 0;
        strides[axis] = if reversed { -(step as isize) } else { step as isize };
        offset += if reversed { (len - 1) * step } else { 0 };
        step = step * len + draw(2) * draw(4);
        left = left.max(1);
    }
    (shape, strides, offset, step + 8)
}

fn small_arrays<T: Element>() {
    everywhere(|_, threads| {
        if threads > 1 {
            return; // too few elements for two
        }
        for seed in 0..60 {
            let mut state = 0x9E37_79B9_7F4A_7C15u64.wrapping_mul(seed + 1);
            let mut draw = |n: usize| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 20) as usize % n
            };
            let (shape, strides, offset, len) = drawn_layout(&mut draw);
            let (data, grad) = (uniform::<T>(len, seed), uniform::<T>(len, seed + 1000));
            let view = View::strided(&data, &shape, &strides, offset).unwrap();
            let n = view.len();
            let p = AbsGt(T::new([2.0, 0.95, 0.7, 0.3, -1.0][draw(5)]));
            agrees::<T, u32>(view, p);
            agrees::<T, i64>(view, Predicate::<T>::nan(p, NanPolicy::Send));
            let mask: Vec<bool> = reference::mask(view, p).unwrap();
            compress_agrees::<T, u32>(view, &mask);
            compress_agrees::<T, u64>((&data[..n]).into(), &mask);
            for k in [0, 1, 1 + draw(n), n, n + 1] {
                let by = if draw(2) == 0 { By::Magnitude } else { By::Value };
                top_k_agrees::<T, u32>(view, TopK::new(k).by(by));
                top_k_agrees::<T, i64>((&data[..n]).into(), TopK::new(k).by(by));
            }
            // The residual is strided as well; the gradient of another layout, or none.
            let dense = View::new(&grad[..n], &shape).unwrap();
            let strided = View::strided(&grad, &shape, &strides, offset).unwrap();
            let hits = reference::count(view, p).unwrap();
            for (grad, room) in [None, Some(dense), Some(strided)]
                .into_iter()
                .flat_map(|grad| [hits.saturating_sub(1), hits, n, n + 9].map(|room| (grad, room)))
            {
                let run = |fast: bool| {
                    let mut left = data.clone();
                    let r = ViewMut::strided(&mut left, &shape, &strides, offset).unwrap();
                    let (mut i, mut v) = (vec![sentinel::<u32>(); room], vec![T::new(7.0); room + 1]);
                    let answer = match (grad, fast) {
                        (None, true) => select::sparsify_into(r, p, &mut i, &mut v),
                        (None, false) => reference::sparsify_into(r, p, &mut i, &mut v),
                        (Some(grad), true) => select::sparsify_with_into(grad, r, p, &mut i, &mut v),
                        (Some(grad), false) => reference::sparsify_with_into(grad, r, p, &mut i, &mut v),
                    };
                    (answer, i, bits(&v), bits(&left))
                };
                assert!(run(true) == run(false), "{seed}: {p:?} of {shape:?} {strides:?}, room {room}");
            }
        }
    });
}

#[test]
fn small_arrays_of_drawn_layouts() {
    small_arrays::<f32>();
    small_arrays::<f64>();
}

#[test]
fn sparsify_wants_equal_shapes() {
    let (grad, mut residual) = ([1.0; 6], [1.0; 6]);
    let refused = Error::Shape { what: "the gradient", expected: vec![6], got: vec![2, 3] };
    let grad = View::new(&grad, &[2, 3]).unwrap();
    assert_eq!(select::sparsify_with::<_, u32>(grad, &mut residual, Gt(0.0)), Err(refused.clone()));
    assert_eq!(reference::sparsify_with::<_, u32>(grad, &mut residual, Gt(0.0)), Err(refused));
    assert_eq!(residual, [1.0; 6]);
}

/// Arrays for the k largest: none, one, zeros, NaN, ties, every size of magnitude, lengths on either side of each bound.
fn hard_to_rank<T: Element>() -> Vec<Vec<T>> {
    let n = T::new;
    let mut arrays: Vec<Vec<T>> = vec![
        vec![],
        vec![n(-2.0)],
        vec![n(0.0), n(-0.0), n(0.0)],
        vec![T::NAN; 5],
        vec![n(1.0); 100],
        vec![T::INFINITY, T::NEG_INFINITY, T::NAN, n(1.0), n(-0.0), n(1e-45), n(5e-324), n(-3e38)],
        uniform(1000, 1),
        vec![n(0.0); 20_000],
        uniform(30_011, 2),
    ];
    // Magnitudes of every size, and ones that differ in the last bits alone.
    arrays.push(uniform::<T>(5000, 3).iter().map(|&x| n(10.0f64.powf(x.to_f64() * 40.0))).collect());
    arrays.push((0..5000).map(|i| n(1.0 + (i % 1700) as f64 * f64::from(f32::EPSILON))).collect());
    arrays.push((0..5000).map(|i| if i % 3 == 0 { T::NAN } else { n(f64::from(i % 7) - 3.0) }).collect());
    // A few large ones among zeros; samples of ties and NaN, and of what is large at every 16th place.
    arrays.push((0..50_000).map(|i| n(if i % 997 == 0 { f64::from(i) } else { 0.0 })).collect());
    arrays.push((0..70_000).map(|i| if i % 3 == 0 { T::NAN } else { n(f64::from(i % 7) - 3.0) }).collect());
    arrays.push((0..70_000).map(|i| n(f64::from(i) + if i % 16 == 0 { 1e6 } else { 0.0 })).collect());
    arrays
}

/// Numbers of elements to be asked for, of `len`.
fn ks(len: usize) -> impl Iterator<Item = usize> {
    let ks =
        [0, 1, 2, 3, 4, 7, 8, 9, 10, 40, len / 100, len / 3, len / 2, len - len / 10, len.saturating_sub(1)];
    ks.into_iter().chain([len, len + 1, usize::MAX])
}

fn thresholds<T: Element>() {
    let mut arrays = hard_to_rank::<T>();
    arrays.push(uniform(300_001, 2));
    everywhere(|_, _| {
        for x in &arrays {
            let mut sorted: Vec<T> = x.iter().copied().filter(|&x| !x.to_f64().is_nan()).collect();
            sorted.sort_by(|a, b| b.to_f64().abs().total_cmp(&a.to_f64().abs()));
            for k in ks(x.len()) {
                let got = select::top_k_threshold(x, k);
                match k.checked_sub(1).and_then(|last| sorted.get(last)) {
                    Some(&t) => {
                        assert_eq!(got, Ok(if t < T::new(0.0) { -t } else { t }), "{k} of {}", x.len())
                    }
                    None => assert_eq!(got, reference::top_k_threshold(x, k), "k = {k} of {}", x.len()),
                }
                if let (Ok(t), true) = (got, x.len() < 10_000) {
                    assert!(select::count(x, AbsGe(t)).unwrap() >= k);
                    assert!(select::count(x, AbsGt(t)).unwrap() < k);
                }
            }
        }
        let (x, k) = (&arrays[6], 123);
        let transposed = View::new(x, &[10, 100]).unwrap().transposed();
        assert_eq!(select::top_k_threshold(transposed, k), reference::top_k_threshold(x, k));
    });
}

#[test]
fn the_kth_largest_magnitude() {
    thresholds::<f32>();
    thresholds::<f64>();
}

/// The k largest of this view, in every way there is, against the definition.
fn top_k_agrees<T: Element, I: Position>(x: View<'_, T>, top: TopK) {
    let expected = reference::top_k::<T, I>(x, top);
    let got = select::top_k::<T, I>(x, top);
    let same = |a: &(Vec<I>, Vec<T>), b: &(Vec<I>, Vec<T>)| a.0 == b.0 && bits(&a.1) == bits(&b.1);
    match (&got, &expected) {
        (Ok(got), Ok(expected)) => assert!(same(got, expected), "{top:?} of {}", x.len()),
        _ => assert_eq!(got.as_ref().err(), expected.as_ref().err(), "{top:?} of {}", x.len()),
    }
    let marker = T::new(-12345.0);
    let hits = expected.as_ref().map_or(0, |(i, _)| i.len());
    for room in [hits, hits + 3, hits.saturating_sub(1)] {
        let (mut oi, mut ov) = (vec![sentinel::<I>(); room], vec![marker; room + 1]);
        let answer = select::top_k_into(x, top, &mut oi, &mut ov);
        match &expected {
            Ok((i, v)) if room >= hits => {
                assert_eq!(answer, Ok(hits));
                assert!(oi[..hits] == i[..] && bits(&ov[..hits]) == bits(v));
                assert!(oi[hits..].iter().all(|&i| i == sentinel()));
                assert!(ov[hits..].iter().all(|x| x.bits() == marker.bits()));
            }
            Ok(_) => assert_eq!(answer, Err(Error::Room { needed: hits, room })),
            Err(error) => assert_eq!(answer.as_ref(), Err(error)),
        }
    }
}

/// The k largest of a residual, with and without a gradient, against the definition.
fn sparsify_top_k_agrees<T: Element, I: Position>(grad: &[T], residual: &[T], top: TopK) {
    for with in [false, true] {
        for room in [None, Some(residual.len()), Some(3)] {
            let run = |fast: bool| {
                let mut left = residual.to_vec();
                let (mut i, mut v) =
                    (vec![sentinel::<I>(); room.unwrap_or(0)], vec![T::new(7.0); room.unwrap_or(0)]);
                let answer = match (with, room.is_some(), fast) {
                    (false, false, true) => select::sparsify_top_k(&mut left, top).map(Some),
                    (false, false, false) => reference::sparsify_top_k(&mut left, top).map(Some),
                    (true, false, true) => select::sparsify_top_k_with(grad, &mut left, top).map(Some),
                    (true, false, false) => reference::sparsify_top_k_with(grad, &mut left, top).map(Some),
                    (false, true, true) => {
                        select::sparsify_top_k_into(&mut left, top, &mut i, &mut v).map(|_| None)
                    }
                    (false, true, false) => {
                        reference::sparsify_top_k_into(&mut left, top, &mut i, &mut v).map(|_| None)
                    }
                    (true, true, true) => {
                        select::sparsify_top_k_with_into(grad, &mut left, top, &mut i, &mut v).map(|_| None)
                    }
                    (true, true, false) => {
                        reference::sparsify_top_k_with_into(grad, &mut left, top, &mut i, &mut v)
                            .map(|_| None)
                    }
                };
                let answer = answer.map(|answer| {
                    if let Some((of_i, of_v)) = answer {
                        (i, v) = (of_i, of_v);
                    }
                });
                (answer, i, bits(&v), bits(&left))
            };
            assert!(run(true) == run(false), "{top:?} of {} {with} {room:?}", residual.len());
        }
    }
}

fn largest<T: Element>() {
    let arrays = hard_to_rank::<T>();
    everywhere(|_, threads| {
        for x in &arrays {
            let grad: Vec<T> = x.iter().rev().copied().collect();
            let few = if x.len() > 10_000 { 9 } else { 1 }; // the definition sorts them all
            for (j, k) in ks(x.len()).enumerate().filter(|(j, _)| (j + threads) % few == 0 || few == 1) {
                let nan = if j % 2 == 0 { NanPolicy::Keep } else { NanPolicy::Send };
                let by = if j % 3 == 0 { By::Value } else { By::Magnitude };
                top_k_agrees::<T, u32>(x.into(), TopK::new(k).nan(nan));
                top_k_agrees::<T, i64>(x.into(), TopK::new(k).by(By::Value));
                sparsify_top_k_agrees::<T, u32>(&grad, x, TopK::new(k).nan(nan).by(by));
            }
        }
        let x = &arrays[6];
        let views = [
            View::new(x, &[10, 100]).unwrap().transposed(),
            View::strided(x, &[10, 40], &[-100, 2], 910).unwrap(),
            View::strided(x, &[3, 200], &[0, 1], 1).unwrap(),
        ];
        for view in views {
            for k in [1, 2, 100, 300, 601] {
                top_k_agrees::<T, usize>(view, k.into());
            }
        }
    });
}

#[test]
fn exactly_the_k_largest() {
    largest::<f32>();
    largest::<f64>();
    // The definition itself: ties go by the lowest index, magnitudes by default, in the order of the indices.
    let x = [1.0, -3.0, 3.0, f32::NAN, 2.0];
    assert_eq!(select::top_k(&x, 1), Ok((vec![1u32], vec![-3.0])));
    assert_eq!(select::top_k_by(&x, 2, By::Value), Ok((vec![2u32, 4], vec![3.0, 2.0])));
    assert_eq!(select::top_k(&x, 0), Ok((Vec::<u32>::new(), vec![])));
    assert_eq!(select::top_k::<_, u32>(&x, 5), Err(Error::TooFew { k: 5, found: 4 }));
    let mut residual = [0.0; 9];
    assert_eq!(select::sparsify_top_k(&mut residual, 2), Ok((vec![0u32, 1], vec![0.0; 2])));
}

#[test]
fn the_k_largest_of_strided_residuals() {
    let (grad, data) = (uniform::<f32>(6000, 6), uniform::<f32>(6000, 7));
    let layouts: [(&[usize], &[isize], usize); 4] = [
        (&[2999], &[-2], 5999),
        (&[60, 50], &[1, 70], 3),
        (&[3, 4, 5, 6], &[1000, -7, 100, 1], 30),
        (&[], &[], 9),
    ];
    everywhere(|_, _| {
        for (shape, strides, offset) in layouts {
            for k in [0, 1, 77, 1 << 20] {
                let grad = View::strided(&grad, shape, strides, offset).unwrap();
                let (mut expected, mut got) = (data.clone(), data.clone());
                let r = ViewMut::strided(&mut expected, shape, strides, offset).unwrap();
                let answer = reference::sparsify_top_k_with::<f32, u32>(grad, r, k);
                let r = ViewMut::strided(&mut got, shape, strides, offset).unwrap();
                assert_eq!(select::sparsify_top_k_with::<f32, u32>(grad, r, k), answer);
                assert_eq!(bits(&got), bits(&expected));
            }
        }
    });
}

#[test]
fn the_k_largest_of_many_by_several_threads() {
    let mut x = uniform::<f32>(600_001, 8);
    x.iter_mut().for_each(|x| *x = (*x * 64.0).round() / 64.0); // many ties
    let (i, v): (Vec<u32>, Vec<f32>) = reference::top_k(&x, 100_000).unwrap();
    let mut left = x.clone();
    i.iter().for_each(|&i| left[i as usize] = 0.0);
    everywhere(|_, _| {
        assert!(select::top_k(&x, 100_000) == Ok((i.clone(), v.clone())));
        let mut residual = x.clone();
        assert!(select::sparsify_top_k(&mut residual, 100_000) == Ok((i.clone(), v.clone())));
        assert!(bits(&residual) == bits(&left));
    });
}

/// A mask given as truth values and as bits against the definition.
fn compress_agrees<T: Element, I: Position>(x: View<'_, T>, mask: &[bool]) {
    let mut words = vec![0u64; mask.len().div_ceil(64) + 1];
    *words.last_mut().unwrap() = !0; // more words than are needed, and bits beyond the last, which do not count
    mask.iter().enumerate().for_each(|(i, &m)| words[i / 64] |= u64::from(m) << (i % 64));
    if !mask.len().is_multiple_of(64) {
        words[mask.len() / 64] |= !0 << (mask.len() % 64);
    }
    let values = reference::compress(x, mask).unwrap();
    let indices: Vec<I> = reference::compress_indices(mask).unwrap();
    let n = values.len();
    for mask in [Mask::from(mask), Mask::bits(&words, mask.len()).unwrap()] {
        assert_eq!(bits(&select::compress(x, mask).unwrap()), bits(&values));
        assert_eq!(select::compress_indices::<I>(mask).unwrap(), indices);
        assert_eq!(bits(&reference::compress(x, mask).unwrap()), bits(&values));
        for room in [n, n + 70] {
            let marker = T::new(-12345.0);
            let (mut oi, mut ov) = (vec![sentinel::<I>(); room], vec![marker; room]);
            assert_eq!(select::compress_into(x, mask, &mut ov), Ok(n));
            assert_eq!(select::compress_indices_into(mask, &mut oi), Ok(n));
            assert!(oi[..n] == indices[..] && bits(&ov[..n]) == bits(&values));
            assert!(oi[n..].iter().all(|&i| i == sentinel()));
            assert!(ov[n..].iter().all(|x| x.bits() == marker.bits()));
        }
        if n > 0 {
            let refused = Err(Error::Room { needed: n, room: n - 1 });
            assert_eq!(select::compress_into(x, mask, &mut vec![T::new(0.0); n - 1]), refused);
            assert_eq!(select::compress_indices_into(mask, &mut vec![sentinel::<I>(); n - 1]), refused);
        }
    }
}

fn masks<T: Element>() {
    everywhere(|_, threads| {
        let lengths = (0..67).chain([127, 128, 129, 200, 700, 4095, 4096, 4097, 9001]);
        for len in lengths.chain((threads > 2).then_some(300_001)) {
            let x = uniform::<T>(len, len as u64);
            for t in DENSITIES {
                let mask: Vec<bool> = uniform::<f32>(len, 5).iter().map(|&x| f64::from(x) > t).collect();
                compress_agrees::<T, u32>((&x).into(), &mask);
                compress_agrees::<T, u64>(View::strided(&x, &[len], &[-1], len.max(1) - 1).unwrap(), &mask);
            }
        }
    });
}

#[test]
fn masks_that_are_given() {
    masks::<f32>();
    masks::<f64>();
    let refused = Err(Error::Shape { what: "the mask", expected: vec![3], got: vec![2] });
    assert_eq!(select::compress(&[1.0, 2.0, 3.0], &[true, false]), refused);
    assert_eq!(reference::compress(&[1.0, 2.0, 3.0], &[true, false]), refused);
    assert!(Mask::bits(&[0], 65).is_err());
    assert!(Mask::from(&[true, false]).get(2).is_none() && Mask::from(&[false; 0]).is_empty());
}

#[test]
fn nan_leaves_a_residual_if_it_is_sent() {
    everywhere(|_, _| {
        let mut residual = [1.0, f32::NAN, -3.0, 0.5];
        let rule = AbsGt(0.9).nan(NanPolicy::Send);
        let (i, v): (Vec<u32>, Vec<f32>) = select::sparsify(&mut residual, rule).unwrap();
        assert!(i == [0, 1, 2] && v[1].is_nan() && residual == [0.0, 0.0, 0.0, 0.5]);
        let mut residual = [1.0, f32::NAN];
        let (i, _): (Vec<u32>, Vec<f32>) =
            select::sparsify(&mut residual, AbsGt(0.9).nan(NanPolicy::Keep)).unwrap();
        assert!(i == [0] && residual[0] == 0.0 && residual[1].is_nan());
        // Of the k largest it comes first, and just k leave.
        let mut residual = [1.0, f32::NAN, -3.0, f32::NAN];
        let (i, _): (Vec<u32>, Vec<f32>) =
            select::sparsify_top_k(&mut residual, TopK::new(3).nan(NanPolicy::Send)).unwrap();
        assert!(i == [1, 2, 3] && residual == [1.0, 0.0, 0.0, 0.0]);
    });
}

/// Runs `f` with subnormal numbers taken for zero, as a library that was compiled for speed may leave the CPU.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
fn with_subnormals_as_zero(f: impl FnOnce()) {
    let set = |state: u32| {
        // SAFETY: a word is read as the state of SSE; only the bits FTZ and DAZ differ from what it was.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &state, options(nostack, readonly)) }
    };
    let mut before = 0u32;
    // SAFETY: the state is written to a word.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &mut before, options(nostack)) };
    set(before | 0x8040);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    set(before);
    result.unwrap();
}

/// Strict comparisons with zero must not become comparisons with the smallest subnormal number.
#[cfg(target_arch = "x86_64")]
#[test]
fn comparisons_are_made_as_asked_where_subnormals_are_zero() {
    fn check<T: Element>() {
        let x: Vec<T> = (0..1000).map(|i| T::new([0.0, 1.0, -1.0, -0.0][i % 4])).collect();
        let zero = T::new(0.0);
        for &level in Level::available() {
            let count = || {
                with_subnormals_as_zero(|| {
                    assert_eq!(select::count(&x, Gt(zero)), Ok(250));
                    assert_eq!(select::count(&x, Lt(zero)), Ok(250));
                    assert_eq!(select::count(&x, Ge(zero)), Ok(750));
                    assert_eq!(select::count(&x, Le(zero)), Ok(750));
                    assert_eq!(select::count(&x, AbsGt(zero)), Ok(500));
                    assert_eq!(select::count(&x, AbsGe(zero)), Ok(1000));
                    assert_eq!(select::count(&x, Ne(zero)), Ok(500));
                    assert_eq!(select::count(&x, Between(zero, zero)), Ok(500));
                    let hits: Vec<u32> = select::indices(&x, Gt(zero)).unwrap();
                    assert!(hits.iter().all(|i| i % 4 == 1) && hits.len() == 250);
                    assert_eq!(
                        select::top_k::<T, u32>(&x, 600).unwrap().0,
                        reference::top_k(&x, 600).unwrap().0
                    );
                });
            };
            level.run(count).unwrap();
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn an_index_type_that_cannot_count_the_input() {
    // No memory behind it: one element, repeated.
    let one = [1.0f32];
    let view = View::strided(&one, &[1 << 17, 1 << 16], &[0, 0], 0).unwrap();
    let refused = Error::Count { len: 1 << 33, index: "u32" };
    let (mut i, mut v) = ([3u32; 4], [2.0; 4]);
    assert_eq!(select::indices::<_, u32>(view, Gt(0.0)), Err(refused.clone()));
    assert_eq!(select::indices_into(view, Gt(0.0), &mut i), Err(refused.clone()));
    assert_eq!(select::pairs::<_, u32>(view, Gt(0.0)), Err(refused.clone()));
    assert_eq!(select::pairs_into(view, Gt(0.0), &mut i, &mut v), Err(refused.clone()));
    assert_eq!(reference::indices::<_, u32>(view, Gt(0.0)), Err(refused));
    assert_eq!((i, v), ([3; 4], [2.0; 4]));
}

#[test]
fn a_mask_without_room() {
    let mut mask = [true; 3];
    let refused = Err(Error::Room { needed: 4, room: 3 });
    assert_eq!(select::mask_into(&[0.0; 4], Gt(1.0), &mut mask), refused);
    assert_eq!(reference::mask_into(&[0.0; 4], Gt(1.0), &mut mask), refused);
    assert_eq!(mask, [true; 3]);
}

/// Runs `f` on a thread of its own and fails if it has not come back in a minute.
fn returns(f: impl FnOnce() + Send + 'static) {
    let (done, watch) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        f();
        let _ = done.send(());
    });
    if watch.recv_timeout(std::time::Duration::from_secs(60)).is_err() {
        match thread.is_finished() {
            true => thread.join().unwrap(),
            false => panic!("not back after a minute"),
        }
    }
}

#[test]
fn inside_pools_and_parallel_sections() {
    use rayon::prelude::*;
    returns(|| {
        let x = uniform::<f32>((1 << 20) + 3, 8);
        let expected: Vec<u32> = reference::indices(&x, Gt(0.3)).unwrap();
        let check = || assert_eq!(select::indices::<_, u32>(&x, Gt(0.3)).unwrap(), expected);
        for threads in [1, 2, 3, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            // All threads of the pool call at once, each call wanting all of them; and calls within calls.
            pool.install(|| (0..16).into_par_iter().for_each(|_| check()));
            pool.install(|| rayon::join(check, || rayon::join(check, check)));
            pool.broadcast(|_| check());
            pool.scope(|s| (0..4).for_each(|_| s.spawn(|_| rayon::scope(|s| s.spawn(|_| check())))));
        }
        // From several threads outside any pool.
        std::thread::scope(|s| (0..4).for_each(|_| drop(s.spawn(check))));
    });
}

#[test]
fn levels_are_those_of_the_caller() {
    for &level in Level::available() {
        let hits: Vec<u32> = level.run(|| select::indices(&[1.0, 0.0, 2.0], Gt(0.5)).unwrap()).unwrap();
        assert_eq!(hits, [0, 2]);
    }
}
