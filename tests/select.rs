//! Selection: the same bits as the definition, everywhere, and nothing written but the hits.

mod common;

use common::{everywhere, misaligned};
use gradix::reference::select as reference;
use gradix::{
    AbsGe, AbsGt, Between, Error, Float, Ge, Gt, Le, Level, Lt, Position, Predicate, View, ViewMut, select,
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
            for &high in &thresholds {
                agrees::<T, u32>((&x).into(), Between(t, high));
            }
        }
    });
    // The definition itself.
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
        for len in (0..4 * T::LANES + 2).chain([4095, 4096, 10_001]).chain((threads > 1).then_some(300_001)) {
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

#[test]
fn sparsify_wants_equal_shapes() {
    let (grad, mut residual) = ([1.0; 6], [1.0; 6]);
    let refused = Error::Shape { what: "the gradient", expected: vec![6], got: vec![2, 3] };
    let grad = View::new(&grad, &[2, 3]).unwrap();
    assert_eq!(select::sparsify_with::<_, u32>(grad, &mut residual, Gt(0.0)), Err(refused.clone()));
    assert_eq!(reference::sparsify_with::<_, u32>(grad, &mut residual, Gt(0.0)), Err(refused));
    assert_eq!(residual, [1.0; 6]);
}

fn thresholds<T: Element>() {
    let n = T::new;
    let mut arrays: Vec<Vec<T>> = vec![
        vec![],
        vec![n(-2.0)],
        vec![n(0.0), n(-0.0), n(0.0)],
        vec![T::NAN; 5],
        vec![n(1.0); 100],
        vec![T::INFINITY, T::NEG_INFINITY, T::NAN, n(1.0), n(-0.0), n(1e-45), n(5e-324), n(-3e38)],
        uniform(1000, 1),
        uniform(300_001, 2),
    ];
    // Magnitudes of every size, and ones that differ in the last bits alone.
    arrays.push(uniform::<T>(5000, 3).iter().map(|&x| n(10.0f64.powf(x.to_f64() * 40.0))).collect());
    arrays.push((0..5000).map(|i| n(1.0 + (i % 1700) as f64 * f64::from(f32::EPSILON))).collect());
    arrays.push((0..5000).map(|i| if i % 3 == 0 { T::NAN } else { n(f64::from(i % 7) - 3.0) }).collect());
    // Long enough for a sample to be drawn: of ties and NaN, and of every 16th element, which misleads it.
    arrays.push((0..270_000).map(|i| if i % 3 == 0 { T::NAN } else { n(f64::from(i % 7) - 3.0) }).collect());
    arrays.push((0..270_000).map(|i| n(f64::from(i) + if i % 16 == 0 { 1e6 } else { 0.0 })).collect());
    everywhere(|_, _| {
        for x in &arrays {
            let ks = [0, 1, 2, 3, 4, 7, 8, 9, 10, x.len() / 100, x.len() / 3, x.len().saturating_sub(1)];
            for k in ks.into_iter().chain([x.len(), x.len() + 1, usize::MAX]) {
                let (expected, got) = (reference::top_k_threshold(x, k), select::top_k_threshold(x, k));
                assert_eq!(got, expected, "k = {k} of {}", x.len());
                if let Ok(t) = got {
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
