//! Softmax cross-entropy against its reference, bit for bit, and its edges and errors.

mod common;

use common::everywhere;
use gradix::{Error, Float, Level, Loss, Partial, Reduction, SoftmaxXent, View, ViewMut, reference};
use proptest::prelude::*;

/// Numbers in a range, the same for the same seed.
fn numbers<T: Float>(seed: u64, len: usize, scale: f64) -> Vec<T> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    // The sum of four uniform numbers: near enough to a bell.
    (0..len).map(|_| T::from_f64(((0..4).map(|_| next()).sum::<f64>() - 2.0) * 1.7 * scale)).collect()
}

/// The same bits, or both NaN.
fn same<T: Float>(a: T, b: T) -> bool {
    (a.is_nan() && b.is_nan()) || a.to_f64().to_bits() == b.to_f64().to_bits()
}

/// Equal as the level promises: bit for bit with FMA, else within a bound.
fn check<T: Float>(level: Level, what: &str, fast: &[T], plain: &[T]) {
    assert_eq!(fast.len(), plain.len());
    // Without FMA: relative to the largest and to 1, because smoothing subtracts numbers of that size.
    let largest = plain.iter().filter(|x| !x.is_nan()).fold(1.0, |max, x| x.to_f64().abs().max(max));
    for (i, (&a, &b)) in fast.iter().zip(plain).enumerate() {
        let near = (a - b).to_f64().abs() <= 64.0 * T::EPSILON.to_f64() * largest;
        assert!(same(a, b) || (!level.has_fma() && near), "{level} {what}[{i}]: {a:?}, reference {b:?}");
    }
}

fn check_loss<T: Float>(level: Level, fast: Loss<T>, plain: Loss<T>) {
    check(level, "loss", &[fast.value, fast.weight], &[plain.value, plain.weight]);
    assert_eq!((fast.count, fast.correct), (plain.count, plain.correct));
}

/// Every method of `xent` on these logits against the reference, everywhere.
fn compare<T: Float>(xent: &SoftmaxXent<T>, shape: &[usize], x: &[T], labels: &[i64]) {
    let plain = reference::SoftmaxXent(xent);
    let view = View::new(x, shape).unwrap();
    let mut expected = vec![T::NAN; x.len()];
    let loss = plain.forward_backward(view, labels, &mut expected).unwrap();
    let rows = plain.forward(view, labels).unwrap();
    let mut expected_from = vec![T::NAN; x.len()];
    let one = [T::ONE];
    plain.backward_from(view, labels, &rows.partials, &one, &mut expected_from).ok();
    everywhere(|level, _| {
        let mut grad = vec![T::NAN; x.len()];
        check_loss(level, xent.forward_backward(view, labels, &mut grad).unwrap(), loss);
        check(level, "gradient", &grad, &expected);
        let mut place = x.to_vec();
        let found = xent.forward_backward_in_place(ViewMut::new(&mut place, shape).unwrap(), labels).unwrap();
        check_loss(level, found, loss);
        check(level, "gradient in place", &place, &expected);
        grad.fill(T::NAN);
        xent.backward(view, labels, &one, &mut grad).unwrap();
        check(level, "backward", &grad, &expected);
        let found = xent.forward(view, labels).unwrap();
        check(level, "losses", &found.losses, &rows.losses);
        check(level, "lse", &found.lse, &rows.lse);
        check_loss(level, found.loss, rows.loss);
        grad.fill(T::NAN);
        if xent.backward_from(view, labels, &rows.partials, &one, &mut grad).is_ok() {
            check(level, "backward_from", &grad, &expected_from);
        }
    });
}

fn compare_both(
    options: impl Fn() -> (SoftmaxXent<f32>, SoftmaxXent<f64>),
    shape: &[usize],
    labels: &[i64],
    scale: f64,
) {
    let len = shape.iter().product();
    let (single, double) = options();
    compare(&single, shape, &numbers(len as u64 + 7, len, scale), labels);
    compare(&double, shape, &numbers(len as u64 + 9, len, scale), labels);
}

fn labels(rows: usize, classes: usize) -> Vec<i64> {
    (0..rows).map(|row| (row * 7919 % classes) as i64).collect()
}

#[test]
fn every_width_has_the_bits_of_the_reference() {
    for classes in (1..70).chain([
        127, 128, 129, 145, 255, 256, 257, 639, 640, 641, 1000, 1279, 1280, 1281, 2559, 2560, 2561, 4096,
        4097, 5000,
    ]) {
        for rows in [0, 1, 3, 17] {
            let plain = || (SoftmaxXent::new(), SoftmaxXent::new());
            compare_both(plain, &[rows, classes], &labels(rows, classes), 5.0);
        }
    }
}

/// Groups of rows of which some have other magnitudes, offsets and leads than the rest, masks, equal logits, or what is not a number:
/// whatever a kernel guesses of one row from another, it must find out. Each group is drawn from a seed.
#[test]
fn rows_unlike_their_neighbours_have_the_bits_of_the_reference() {
    fn draw<T: Float>(seed: u64) {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = |n: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 33) as usize % n
        };
        let (rows, odd) = (1 + below(70), [2, 6, 40][below(3)]);
        let classes = 2 + if below(4) == 0 { below(1400) } else { below(300) };
        let mut x: Vec<T> = numbers(seed + 3, rows * classes, [0.5, 2.0, 6.0][below(3)]);
        let shift = [0.0, 80.0, -300.0, 1e5, -3e6][below(5)];
        x.iter_mut().for_each(|x| *x += T::from_f64(shift));
        let labels: Vec<i64> =
            (0..rows).map(|_| if below(6) == 0 { -1 } else { below(classes) as i64 }).collect();
        for (row, &label) in x.chunks_mut(classes).zip(&labels) {
            if below(odd) > 0 {
                continue;
            }
            let (place, size) = (below(classes), below(160) as f64);
            let target = label.max(0) as usize;
            match below(10) {
                0 => row.iter_mut().for_each(|x| *x += T::from_f64(size - 80.0)),
                1 => row.iter_mut().for_each(|x| *x = (*x - T::from_f64(shift)) * T::from_f64(size)),
                2 => row[target] += T::from_f64(size),
                3 => row[target] += T::from_f64(-size),
                4 => row[place] += T::from_f64(-size),
                5 => row[place] = T::from_f64(f64::NEG_INFINITY),
                6 => row[place] = T::from_f64([f64::NAN, f64::INFINITY][below(2)]),
                7 => row[place..].fill(T::from_f64(f64::from(f32::MIN))),
                8 => row.iter_mut().for_each(|x| *x = T::from_f64(x.to_f64().round())),
                _ => row.fill(T::from_f64([0.0, 1e30, f64::NEG_INFINITY][below(3)])),
            }
        }
        let weights: Vec<T> = (0..classes).map(|_| T::from_f64([0.0, 0.3, 1.0, 2.5][below(4)])).collect();
        let row_weights: Vec<T> = (0..rows).map(|_| T::from_f64([0.0, 0.7, 1.0, 9.0][below(4)])).collect();
        let mut xent = SoftmaxXent::new().ignore_index(-1);
        if below(3) == 0 {
            xent = xent.class_weights(&weights);
        }
        if below(4) == 0 {
            xent = xent.row_weights(&row_weights);
        }
        if below(5) == 0 {
            xent = xent.label_smoothing(T::from_f64(0.1));
        }
        let plain = reference::SoftmaxXent(&xent);
        let shape = [rows, classes];
        let mut expected = vec![T::NAN; x.len()];
        let loss = plain.forward_backward(View::new(&x, &shape).unwrap(), &labels, &mut expected).unwrap();
        let (from, to) = (below(20), below(20));
        let moved: Vec<T> = std::iter::repeat_n(T::NAN, from).chain(x.iter().copied()).collect();
        for &level in Level::available().iter().filter(|level| level.has_fma()) {
            let what = format!("seed {seed}, {rows} x {classes}");
            let mut grad = vec![T::NAN; to + x.len()];
            let mut place = x.clone();
            level
                .run(|| {
                    let view = View::new(&moved[from..], &shape).unwrap();
                    check_loss(level, xent.forward_backward(view, &labels, &mut grad[to..]).unwrap(), loss);
                    let view = ViewMut::new(&mut place, &shape).unwrap();
                    check_loss(level, xent.forward_backward_in_place(view, &labels).unwrap(), loss);
                })
                .unwrap();
            check(level, &what, &grad[to..], &expected);
            check(level, &what, &place, &expected);
        }
    }
    for seed in 0..400 {
        draw::<f32>(seed);
        draw::<f64>(seed);
    }
}

#[test]
fn one_row_of_300_000_has_the_bits_of_the_reference() {
    compare_both(|| (SoftmaxXent::new(), SoftmaxXent::new()), &[1, 300_000], &[299_999], 5.0);
    compare_both(|| (SoftmaxXent::new(), SoftmaxXent::new()), &[300_000], &[0], 30.0);
}

/// Long enough for its chunks to be shared between threads, with everything that a chunk must know of the whole row.
#[test]
fn one_long_row_with_options_has_the_bits_of_the_reference() {
    const CLASSES: usize = 270_001;
    fn options<T: Float>(cap: Option<f64>) -> SoftmaxXent<T> {
        let xent = SoftmaxXent::new().ignore_index(-1).z_loss(T::from_f64(1e-3)).reduction(Reduction::Sum);
        match cap {
            Some(cap) => xent.softcap(T::from_f64(cap)),
            None => {
                let weights: Vec<T> = (0..CLASSES).map(|i| T::from_f64((i % 7) as f64 / 3.0)).collect();
                xent.class_weights(&weights).label_smoothing(T::from_f64(0.1))
            }
        }
    }
    for (cap, label) in [(None, 269_999), (None, -1), (Some(3.0), 12_345)] {
        compare_both(|| (options(cap), options(cap)), &[1, CLASSES], &[label], 5.0);
    }
}

/// Out of place they go past the caches, in place they do not.
#[test]
fn large_gradients_have_the_same_bits_in_place_and_out_of_place() {
    let (rows, classes) = (2101, 8003);
    let x: Vec<f32> = numbers(3, rows * classes, 5.0);
    let labels = labels(rows, classes);
    let xent = SoftmaxXent::new();
    // Before and after the gradient, nothing is written; its start is no cache line's.
    let mut room = vec![7.0; x.len() + 40];
    for &level in Level::available() {
        level
            .run(|| {
                let mut place = x.clone();
                let in_place = ViewMut::new(&mut place, &[rows, classes]).unwrap();
                let loss = xent.forward_backward_in_place(in_place, &labels).unwrap();
                let view = View::new(&x, &[rows, classes]).unwrap();
                let out = &mut room[3..][..x.len()];
                assert_eq!(xent.forward_backward(view, &labels, &mut *out).unwrap(), loss);
                let different = place.iter().zip(&*out).position(|(a, b)| a.to_bits() != b.to_bits());
                assert_eq!(different, None, "{level}");
            })
            .unwrap();
        assert!(room[..3].iter().chain(&room[3 + x.len()..]).all(|&x| x == 7.0), "{level}");
    }
}

#[test]
fn many_rows_have_the_bits_of_the_reference() {
    for (rows, classes) in [(5000, 10), (3001, 33), (301, 300), (70, 1000), (9, 5000)] {
        compare_both(
            || (SoftmaxXent::new(), SoftmaxXent::new()),
            &[rows, classes],
            &labels(rows, classes),
            5.0,
        );
    }
}

#[test]
fn class_axes_that_are_not_last_have_the_bits_of_the_reference() {
    for (shape, axis) in [
        (vec![3, 10, 7], 1),
        (vec![2, 5, 4, 9], 1),
        (vec![100, 40], 0),
        (vec![2, 100, 33], 1),
        (vec![1, 70, 1, 16], -3),
        (vec![4, 3, 1], 1),
        // Dense rows of several chunks, the last of them not of whole vectors.
        (vec![50, 33, 1], 1),
        (vec![37, 46, 1, 1], 1),
        (vec![40, 79, 1], 1),
    ] {
        let classes = shape[if axis < 0 { shape.len() - 3 } else { axis as usize }];
        let rows = shape.iter().product::<usize>() / classes;
        let both = || (SoftmaxXent::new().class_axis(axis), SoftmaxXent::new().class_axis(axis));
        compare_both(both, &shape, &labels(rows, classes), 5.0);
    }
}

fn arbitrary_options(classes: usize) -> impl Strategy<Value = (SoftmaxXent<f32>, SoftmaxXent<f64>)> {
    let weights = proptest::option::of(proptest::collection::vec(0.0..3.0_f64, classes));
    let reduction = prop_oneof![Just(Reduction::Mean), Just(Reduction::Sum), Just(Reduction::None)];
    (weights, prop_oneof![Just(0.0), 0.0..1.0], prop_oneof![Just(0.0), Just(1e-4)], reduction).prop_flat_map(
        |(weights, smoothing, z_loss, reduction)| {
            let cap = proptest::option::of(prop_oneof![Just(3.0), Just(30.0)]);
            let normalizer = proptest::option::of(Just(77.0));
            (Just(weights), Just(smoothing), Just(z_loss), Just(reduction), cap, normalizer).prop_map(
                |(weights, smoothing, z_loss, reduction, cap, normalizer)| {
                    let mut single = SoftmaxXent::new()
                        .ignore_index(-100)
                        .label_smoothing(smoothing as f32)
                        .z_loss(z_loss as f32);
                    let mut double =
                        SoftmaxXent::new().ignore_index(-100).label_smoothing(smoothing).z_loss(z_loss);
                    (single, double) = (single.reduction(reduction), double.reduction(reduction));
                    if let Some(weights) = weights {
                        let narrow: Vec<f32> = weights.iter().map(|&w| w as f32).collect();
                        (single, double) = (single.class_weights(&narrow), double.class_weights(&weights));
                    }
                    if let Some(cap) = cap {
                        (single, double) = (single.softcap(cap as f32), double.softcap(cap));
                    }
                    if let (Some(n), Reduction::Mean) = (normalizer, reduction) {
                        (single, double) = (single.normalizer(n as f32), double.normalizer(n));
                    }
                    (single, double)
                },
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_combination_of_options_has_the_bits_of_the_reference(
        ((rows, classes, middle), seed, (single, double)) in (
            0usize..40,
            prop_oneof![1usize..40, 30usize..300, 2040usize..2060],
            any::<bool>(),
        ).prop_flat_map(|size| (Just(size), any::<u64>(), arbitrary_options(size.1)))
    ) {
        let shape = if middle { vec![2, classes, rows.div_ceil(2)] } else { vec![rows, classes] };
        let rows = shape.iter().product::<usize>() / classes;
        let labels: Vec<i64> =
            labels(rows, classes).iter().enumerate().map(|(row, &y)| if row % 5 == 3 { -100 } else { y }).collect();
        let (single, double) = if middle { (single.class_axis(1), double.class_axis(1)) } else { (single, double) };
        compare(&single, &shape, &numbers(seed, rows * classes, 5.0), &labels);
        compare(&double, &shape, &numbers(seed, rows * classes, 5.0), &labels);
    }
}

#[test]
fn strides_of_any_kind_give_the_same_bits() {
    for (rows, classes) in [(20, 10), (5, 100), (5, 300), (3, 3000)] {
        let labels = labels(rows, classes);
        let x: Vec<f32> = numbers(3, rows * classes, 5.0);
        let xent = SoftmaxXent::new();
        let mut expected = vec![0.0; x.len()];
        let loss =
            xent.forward_backward(View::new(&x, &[rows, classes]).unwrap(), &labels, &mut expected).unwrap();
        // Padded rows, a transposed matrix, and one that runs backwards.
        let layouts = [
            (vec![classes as isize + 3, 1], 1, rows * (classes + 3) + 1),
            (vec![1, rows as isize], 0, rows * classes),
            (vec![-(classes as isize), -1], rows * classes - 1, rows * classes),
        ];
        for (strides, offset, room) in &layouts {
            let place = |row: usize, class: usize| {
                (*offset as isize + row as isize * strides[0] + class as isize * strides[1]) as usize
            };
            let scatter = |values: &[f32], filler: f32| {
                let mut data = vec![filler; *room];
                for row in 0..rows {
                    for class in 0..classes {
                        data[place(row, class)] = values[row * classes + class];
                    }
                }
                data
            };
            everywhere(|level, _| {
                let mut from = scatter(&x, 7.0);
                let mut to = vec![9.0; *room];
                let logits = View::strided(&from, &[rows, classes], strides, *offset).unwrap();
                let grad = ViewMut::strided(&mut to, &[rows, classes], strides, *offset).unwrap();
                let found = xent.forward_backward(logits, &labels, grad).unwrap();
                if level.has_fma() {
                    assert_eq!(found, loss);
                    assert_eq!(to, scatter(&expected, 9.0), "{level} {strides:?}");
                    let place = ViewMut::strided(&mut from, &[rows, classes], strides, *offset).unwrap();
                    assert_eq!(xent.forward_backward_in_place(place, &labels).unwrap(), loss);
                    assert_eq!(from, scatter(&expected, 7.0), "{level} {strides:?} in place");
                }
            });
        }
    }
}

#[test]
fn rows_that_are_not_numbers_stay_alone() {
    let inf = f32::INFINITY;
    for classes in [5, 40, 140, 5000] {
        for (bad, masked) in [(f32::NAN, false), (inf, false), (-inf, true)] {
            for at in [0, classes / 2, classes - 1] {
                let mut x: Vec<f32> = numbers(11, 3 * classes, 3.0);
                x[classes + at] = bad;
                let labels = [0, 1, 2];
                compare(&SoftmaxXent::new(), &[3, classes], &x, &labels);
                let mut grad = vec![0.0; x.len()];
                SoftmaxXent::new()
                    .forward_backward(View::new(&x, &[3, classes]).unwrap(), &labels, &mut grad)
                    .unwrap();
                let (first, others) = grad.split_at(classes);
                let (middle, last) = others.split_at(classes);
                assert!(first.iter().chain(last).all(|x| x.is_finite()));
                if masked {
                    assert!(middle.iter().all(|x| x.is_finite()));
                    assert!(at == 1 || middle[at] == 0.0);
                } else {
                    assert!(middle.iter().all(|x| x.is_nan()), "{bad} at {at} of {classes}");
                }
            }
        }
        let mut nothing: Vec<f32> = numbers(11, 3 * classes, 3.0);
        nothing[classes..2 * classes].fill(-inf);
        compare(&SoftmaxXent::new(), &[3, classes], &nothing, &[0, 1, 2]);
        let rows =
            SoftmaxXent::new().forward(View::new(&nothing, &[3, classes]).unwrap(), &[0, 1, 2]).unwrap();
        assert!(rows.losses[1].is_nan() && rows.lse[1].is_nan() && rows.losses[0].is_finite());
    }
}

#[test]
fn an_ignored_row_is_zero_whatever_it_holds() {
    for classes in [5, 40, 140, 3000] {
        let mut x: Vec<f64> = numbers(5, 2 * classes, 3.0);
        x[3] = f64::NAN;
        let xent = SoftmaxXent::new().ignore_index(255);
        compare(&xent, &[2, classes], &x, &[255, 1]);
        let mut grad = vec![1.0; 2 * classes];
        let view = View::new(&x, &[2, classes]).unwrap();
        let loss = xent.forward_backward(view, &[255_u8, 255], &mut grad).unwrap();
        assert_eq!((loss.value, loss.count), (0.0, 0));
        assert!(grad.iter().all(|&x| x == 0.0));
    }
}

/// A mask value that is not −∞, in whole chunks of it, before and after real logits.
#[test]
fn huge_and_mixed_magnitudes_have_the_bits_of_the_reference() {
    for classes in [20, 7000] {
        for huge in [1e9, -1e9, 1e30, -1e30, 3e6, -3e6] {
            let mut x: Vec<f32> = numbers(5, 2 * classes, 3.0);
            x[..classes / 2].fill(huge);
            x[classes + classes / 2..].fill(huge);
            compare(&SoftmaxXent::new(), &[2, classes], &x, &[0, classes as i64 - 1]);
            let x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
            compare(&SoftmaxXent::new(), &[2, classes], &x, &[classes as i64 - 1, 3]);
        }
    }
}

#[test]
fn a_vocabulary_in_shards_agrees_with_the_whole() {
    let (rows, classes) = (6, 5000);
    let x: Vec<f64> = numbers(21, rows * classes, 6.0);
    let labels = labels(rows, classes);
    let weights: Vec<f64> = (0..classes).map(|j| (j % 5) as f64 / 3.0).collect();
    let plain = SoftmaxXent::new().z_loss(1e-4).row_weights(&[1.0, 0.5, 0.0, 2.0, 1.0, 3.0]);
    let smooth = plain.clone().label_smoothing(0.1);
    for xent in [plain, smooth.clone(), smooth.class_weights(&weights)] {
        let mut whole = vec![0.0; x.len()];
        let loss =
            xent.forward_backward(View::new(&x, &[rows, classes]).unwrap(), &labels, &mut whole).unwrap();
        for shards in [1, 2, 3, 7] {
            let width = classes.div_ceil(shards);
            let part = |shard: usize| shard * width..classes.min((shard + 1) * width);
            let view = |shard: usize| {
                let classes_here = part(shard);
                let shape = [rows, classes_here.len()];
                View::strided(&x, &shape, &[classes as isize, 1], classes_here.start).unwrap()
            };
            let sharded = |shard: usize| xent.clone().shard(part(shard).start, classes);
            let all = (0..shards)
                .map(|shard| sharded(shard).partials(view(shard), &labels).unwrap())
                .reduce(|a, b| {
                    a.into_iter().zip(b).map(|(a, b)| Partial::from_array(a.to_array()).merge(b)).collect()
                })
                .unwrap();
            for shard in 0..shards {
                let mut grad = vec![0.0; rows * part(shard).len()];
                let found =
                    sharded(shard).backward_from(view(shard), &labels, &all, &[1.0], &mut grad).unwrap();
                assert!((found.value - loss.value).abs() <= 8.0 * f64::EPSILON * loss.value);
                assert_eq!(
                    (found.count, found.correct, found.weight),
                    (loss.count, loss.correct, loss.weight)
                );
                for (row, grad) in grad.chunks(part(shard).len()).enumerate() {
                    for (&a, &b) in grad.iter().zip(&whole[row * classes..][part(shard)]) {
                        assert!(
                            (a - b).abs() <= 40.0 * f64::EPSILON * b.abs() + f64::EPSILON * 1e-4,
                            "{shards} shards: {a:e}, whole {b:e}"
                        );
                    }
                }
            }
        }
    }
}

/// What ranks at different levels exchange fits together, where the largest logit is all but half-way between two powers of two as
/// well: `others` are counted from one of them.
#[test]
fn all_levels_count_from_the_same_power_of_two() {
    let maxima = (0..3000).flat_map(|n| {
        let half = ((f64::from(n) - 1500.5) / std::f64::consts::LOG2_E) as f32;
        (-3..=3).map(move |step| f32::from_bits(half.to_bits().wrapping_add_signed(step)))
    });
    for max in maxima {
        let x = [max - 1.0, max, max - 0.5];
        let expected = reference::SoftmaxXent(&SoftmaxXent::new()).partials(&x, &[0]).unwrap()[0];
        for &level in Level::available() {
            let got = level.run(|| SoftmaxXent::new().partials(&x, &[0])).unwrap().unwrap()[0];
            let off = got.others / expected.others - 1.0;
            assert!(off.abs() < 1e-5, "{level}: {max:?}: {got:?}, by definition {expected:?}");
        }
    }
}

/// Wherever the NaN stands, before or after the target, among masked classes or others.
#[test]
fn partials_of_rows_with_a_nan_are_those_of_the_reference() {
    for classes in [2, 5, 40, 300, 3000] {
        for masked in [f32::NEG_INFINITY, 1.0] {
            for (nan, target) in [(0, 1), (classes - 2, classes - 1), (classes - 1, 0)] {
                let mut x = vec![masked; classes];
                x[nan] = f32::NAN;
                let xent = SoftmaxXent::new();
                let expected = reference::SoftmaxXent(&xent).partials(&x, &[target]).unwrap()[0];
                for &level in Level::available() {
                    let got = level.run(|| xent.partials(&x, &[target])).unwrap().unwrap()[0];
                    let what = format!("{level}: {classes} classes, NaN at {nan}: {got:?}, not {expected:?}");
                    assert!(same(got.max, expected.max) && same(got.others, expected.others), "{what}");
                }
            }
        }
    }
}

/// The others of a target that is NaN are summed as ever, those far below the largest among them, wherever the target stands.
#[test]
fn partials_beside_a_target_that_is_not_a_number_are_those_of_the_reference() {
    for classes in [3, 5, 16, 40, 300, 3000] {
        for target in [0, 1, classes / 2, classes - 1] {
            let rows = 19;
            let mut x: Vec<f32> = numbers(37, rows * classes, 3.0);
            for row in x.chunks_mut(classes) {
                row[(target + 1) % classes] = -1e4;
                row[(target + classes - 1) % classes] = -2e4;
                row[target] = f32::NAN;
            }
            let (x, labels) = (View::new(&x, &[rows, classes]).unwrap(), vec![target as u32; rows]);
            let xent = SoftmaxXent::new();
            let expected = reference::SoftmaxXent(&xent).partials(x, &labels).unwrap();
            for &level in Level::available() {
                let got = level.run(|| xent.partials(x, &labels)).unwrap().unwrap();
                for (got, expected) in got.iter().zip(&expected) {
                    let near = (got.others - expected.others).abs() <= 1e-6 * expected.others;
                    let is_right =
                        if level == Level::Portable { near } else { same(got.others, expected.others) };
                    assert!(
                        is_right,
                        "{level}: {classes} classes, target {target}: {got:?}, not {expected:?}"
                    );
                }
            }
        }
    }
}

/// A row that is not a number as a whole is none in parts, whichever part the culprit is in.
#[test]
fn no_part_of_a_row_hides_what_is_not_a_number() {
    for classes in [4, 200, 5000] {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for at in [0, classes / 2, classes - 1] {
                for target in [0, classes / 2, classes - 1] {
                    let mut x: Vec<f64> = numbers(31, classes, 3.0);
                    x[at] = bad;
                    let whole = SoftmaxXent::new().forward(&x, &[target]).unwrap();
                    let parts = x
                        .chunks(classes / 2)
                        .enumerate()
                        .map(|(shard, x)| (SoftmaxXent::new().shard(shard * (classes / 2), classes), x));
                    let sums: Vec<Partial<f64>> =
                        parts.clone().map(|(xent, x)| xent.partials(x, &[target]).unwrap()[0]).collect();
                    for sum in [sums[0].merge(sums[1]), sums[1].merge(sums[0])] {
                        let what = format!("{bad} at {at} of {classes}, target {target}");
                        let near = |a: f64, b: f64| same(a, b) || (a - b).abs() <= 1e-13 * b.abs();
                        assert!(near(sum.lse(), whole.lse[0]), "{what}: {} {}", sum.lse(), whole.lse[0]);
                        for (xent, x) in parts.clone() {
                            let mut grad = vec![7.0; x.len()];
                            let loss = xent.backward_from(x, &[target], &[sum], &[1.0], &mut grad).unwrap();
                            assert!(near(loss.value, whole.loss.value), "{what}: {loss:?} {:?}", whole.loss);
                            let numbers = grad.iter().filter(|x| !x.is_nan()).count();
                            assert_eq!(
                                numbers,
                                if whole.loss.value.is_nan() { 0 } else { x.len() },
                                "{what}"
                            );
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn every_label_type_is_taken() {
    let x: Vec<f32> = numbers(5, 40, 3.0);
    let view = View::new(&x, &[4, 10]).unwrap();
    let xent = SoftmaxXent::new();
    let expected = xent.forward(view, &[0_i64, 3, 9, 5]).unwrap().losses;
    assert_eq!(xent.forward(view, &[0_u8, 3, 9, 5]).unwrap().losses, expected);
    assert_eq!(xent.forward(view, &[0_u16, 3, 9, 5]).unwrap().losses, expected);
    assert_eq!(xent.forward(view, &[0_u32, 3, 9, 5]).unwrap().losses, expected);
    assert_eq!(xent.forward(view, &[0_u64, 3, 9, 5]).unwrap().losses, expected);
    assert_eq!(xent.forward(view, &[0_usize, 3, 9, 5]).unwrap().losses, expected);
    assert_eq!(xent.forward(view, &[0_i32, 3, 9, 5]).unwrap().losses, expected);
}

#[test]
fn errors_come_before_anything_is_written() {
    let x: Vec<f32> = numbers(5, 12, 3.0);
    let view = View::new(&x, &[3, 4]).unwrap();
    let plain = SoftmaxXent::new;
    let label = |row, value| Error::Label { row, value, classes: 4 };
    let fails = |xent: SoftmaxXent<f32>, labels: &[i64], expected: &dyn Fn(&Error) -> bool| {
        let mut grad = vec![7.0; 12];
        let error = xent.forward_backward(view, labels, &mut grad).unwrap_err();
        assert!(expected(&error), "{error:?}");
        assert!(grad.iter().all(|&x| x == 7.0));
        let mut place = x.clone();
        let in_place = ViewMut::new(&mut place, &[3, 4]).unwrap();
        assert_eq!(xent.forward_backward_in_place(in_place, labels).unwrap_err(), error);
        assert_eq!(place, x);
        assert_eq!(xent.backward(view, labels, &[1.0], &mut grad).unwrap_err(), error);
        assert_eq!(xent.forward(view, labels).unwrap_err(), error);
        let mut reference_grad = vec![7.0; 12];
        let reference = reference::SoftmaxXent(&xent).forward_backward(view, labels, &mut reference_grad);
        assert_eq!(reference.unwrap_err(), error);
    };
    fails(plain(), &[0, 4, 1], &|e| *e == label(1, 4));
    fails(plain(), &[0, 1, -1], &|e| *e == label(2, -1));
    fails(plain(), &[i64::MIN, 1, 9], &|e| *e == label(0, i128::from(i64::MIN)));
    fails(plain().ignore_index(-100), &[-100, -99, 0], &|e| *e == label(1, -99));
    fails(plain(), &[0, 1], &|e| matches!(e, Error::Shape { what: "the labels", .. }));
    fails(plain().class_axis(2), &[0, 1, 2], &|e| *e == Error::Axis { axis: 2, rank: 2 });
    fails(plain().class_axis(isize::MIN), &[0, 1, 2], &|e| *e == Error::Axis { axis: isize::MIN, rank: 2 });
    fails(plain().class_weights(&[1.0; 3]), &[0, 1, 2], &|e| {
        matches!(e, Error::Shape { what: "class_weights", .. })
    });
    for wrong in [-1.0, f32::NAN, f32::INFINITY] {
        let is = |option| move |e: &Error| matches!(e, Error::Option { option: o, .. } if *o == option);
        fails(plain().class_weights(&[1.0, wrong, 1.0, 1.0]), &[0, 1, 2], &is("class_weights"));
        fails(plain().label_smoothing(wrong), &[0, 1, 2], &is("label_smoothing"));
        fails(plain().z_loss(wrong), &[0, 1, 2], &is("z_loss"));
        fails(plain().softcap(wrong), &[0, 1, 2], &is("softcap"));
        fails(plain().normalizer(wrong), &[0, 1, 2], &is("normalizer"));
    }
    fails(plain().softcap(0.0), &[0, 1, 2], &|e| matches!(e, Error::Option { option: "softcap", .. }));
    fails(plain().normalizer(0.0), &[0, 1, 2], &|e| matches!(e, Error::Option { option: "normalizer", .. }));
    fails(plain().label_smoothing(1.5), &[0, 1, 2], &|e| {
        matches!(e, Error::Option { option: "label_smoothing", .. })
    });
    let conflict = |first, second| move |e: &Error| matches!(e, Error::Conflict { first: f, second: s, .. } if (*f, *s) == (first, second));
    fails(
        plain().normalizer(3.0).reduction(Reduction::Sum),
        &[0, 1, 2],
        &conflict("normalizer", "reduction"),
    );
    fails(
        plain().normalizer(3.0).reduction(Reduction::None),
        &[0, 1, 2],
        &conflict("normalizer", "reduction"),
    );
    fails(plain().shard(0, 4), &[0, 1, 2], &conflict("shard", "a pass over whole rows"));

    let mut short = vec![7.0; 11];
    let error = plain().forward_backward(view, &[0, 1, 2], &mut short).unwrap_err();
    assert!(matches!(error, Error::Shape { what: "the gradient", .. }));
    let mut grad = vec![7.0; 12];
    let turned = ViewMut::new(&mut grad, &[4, 3]).unwrap();
    assert!(plain().forward_backward(view, &[0, 1, 2], turned).is_err());
    assert!(plain().backward(view, &[0, 1, 2], &[1.0, 2.0, 3.0], &mut grad).is_err());
    let none = plain().reduction(Reduction::None);
    assert!(none.backward(view, &[0, 1, 2], &[1.0, 2.0], &mut grad).is_err());
    let partials = plain().partials(view, &[0, 1, 2]).unwrap();
    assert!(plain().backward_from(view, &[0, 1, 2], &partials[1..], &[1.0], &mut grad).is_err());
    let weighted = plain().row_weights(&[1.0, 2.0]);
    assert!(matches!(weighted.forward(view, &[0, 1, 2]), Err(Error::Shape { what: "row_weights", .. })));
    for wrong in [-1.0, f32::NAN, f32::INFINITY] {
        let error = plain().row_weights(&[1.0, wrong, 0.0]).forward(view, &[0, 1, 2]).unwrap_err();
        assert!(matches!(error, Error::Option { option: "row_weights", .. }));
    }
    let labels = View::new(&[0, 1, 2], &[3, 1]).unwrap();
    assert!(matches!(plain().forward(view, labels), Err(Error::Shape { what: "the labels", .. })));
    for shard in [(1, 4), (usize::MAX, 4), (0, 3)] {
        assert!(plain().shard(shard.0, shard.1).partials(view, &[0, 1, 2]).is_err());
    }
    assert!(grad.iter().all(|&x| x == 7.0));
    let scalar = View::<f32>::strided(&[1.0], &[], &[], 0).unwrap();
    assert!(matches!(plain().forward::<i64>(scalar, &[]), Err(Error::Rank { .. })));
}

#[test]
fn nothing_in_nothing_out() {
    let xent = SoftmaxXent::<f32>::new().ignore_index(-1);
    for shape in [[0, 5], [0, 0], [3, 0]] {
        let empty = View::new(&[], &shape).unwrap();
        let labels = vec![-1_i64; shape[0]];
        let loss = xent.forward_backward(empty, &labels, &mut []).unwrap();
        assert_eq!((loss.value, loss.count), (0.0, 0));
        assert_eq!(xent.forward(empty, &labels).unwrap().losses.len(), shape[0]);
    }
    // However many classes an array without rows claims, there is nothing to be made of them.
    for (shape, axis) in [([0, 1 << 50], 1), ([1 << 50, 0], 0)] {
        let xent = SoftmaxXent::<f32>::new().class_axis(axis).label_smoothing(0.1);
        let empty = View::new(&[], &shape).unwrap();
        assert_eq!(xent.forward_backward::<u8>(empty, &[], &mut []).unwrap().count, 0);
        assert_eq!(xent.forward::<u8>(empty, &[]).unwrap().losses, []);
        let plain = reference::SoftmaxXent(&xent);
        assert_eq!(plain.forward_backward::<u8>(empty, &[], &mut []).unwrap().count, 0);
    }
    let part = SoftmaxXent::new().shard(7, usize::MAX);
    assert_eq!(part.partials(&[1.0, 2.0], &[usize::MAX - 1]).unwrap()[0].max, 2.0);
}

/// A row's loss and gradient by the formula, in `f64`: what is asked of values at the ends of their range.
fn truth(x: &[f64], y: usize, weights: Option<&[f64]>, smoothing: f64) -> (f64, Vec<f64>) {
    let weight = |j: usize| weights.map_or(1.0, |weights| weights[j]);
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let power = |j: usize| (x[j] - max).exp();
    let sum = |keep: &dyn Fn(usize) -> bool| (0..x.len()).filter(|&j| keep(j)).map(power).sum::<f64>();
    let (z, others) = (sum(&|_| true), sum(&|j| j != y));
    let nll = if x[y] == max { (others / power(y)).ln_1p() } else { (max - x[y]) + z.ln() };
    let (own, share) = ((1.0 - smoothing) * weight(y), smoothing / x.len() as f64);
    let mut loss = if own == 0.0 { 0.0 } else { own * nll };
    for j in (0..x.len()).filter(|&j| share * weight(j) != 0.0) {
        loss += share * weight(j) * (max - x[j]) + share * weight(j) * z.ln();
    }
    let total: f64 = (0..x.len()).map(weight).sum();
    let all = own + share * total;
    let gradient = |j: usize| match j == y {
        true => share * (total - weight(j)) - all * (others / z),
        false => all * (power(j) / z) - share * weight(j),
    };
    (loss, (0..x.len()).map(gradient).collect())
}

/// Every way to a loss and a gradient, of `rows` times the same row, classes last and first, at every level: the loss of each, and
/// the gradient of each, are these; up to `cancels`·ε, where numbers of that size are subtracted.
fn everywhere_is<T: Float>(
    what: &str,
    xent: &SoftmaxXent<T>,
    (x, y): (&[T], usize),
    (loss, gradient): (f64, &[f64]),
    cancels: f64,
) {
    let (classes, epsilon) = (x.len(), T::EPSILON.to_f64());
    let smallest = if epsilon > 1e-10 { f64::from(f32::MIN_POSITIVE) } else { f64::MIN_POSITIVE };
    let max = x.iter().fold(f64::NEG_INFINITY, |max, x| max.max(x.to_f64()));
    let near = |got: T, exact: f64, gap: f64| {
        let (got, exact) = (got.to_f64(), if T::NAME == "f32" { f64::from(exact as f32) } else { exact });
        let off = (got - exact).abs();
        got == exact
            || off <= (10.0 + gap.min(800.0)) * epsilon * exact.abs()
            || off < smallest && exact.abs() < smallest
            || off <= cancels * epsilon
    };
    for (rows, first) in [(1, false), (3, false), (19, false), (1, true), (19, true)] {
        let place = |row: usize, class: usize| if first { class * rows + row } else { row * classes + class };
        let shape = if first { [classes, rows] } else { [rows, classes] };
        let xent = xent.clone().class_axis(if first { 0 } else { 1 });
        let mut all = vec![T::ZERO; rows * classes];
        (0..rows).for_each(|row| (0..classes).for_each(|j| all[place(row, j)] = x[j]));
        let (view, labels) = (View::new(&all, &shape).unwrap(), vec![y; rows]);
        for &level in Level::available() {
            let what =
                format!("{what}, {}, {level}, {rows} rows of {classes}, classes first: {first}", T::NAME);
            let check = |way: &str, grad: &[T]| {
                for row in 0..rows {
                    for (j, &exact) in gradient.iter().enumerate() {
                        let (got, gap) = (grad[place(row, j)], max - x[j].to_f64());
                        let gap = if j == y { 800.0 } else { gap };
                        assert!(near(got, exact, gap), "{way}, {what}: class {j} {got:?}, not {exact:e}");
                    }
                }
            };
            let run = || {
                let mut grad = vec![T::NAN; all.len()];
                let found = xent.forward_backward(view, &labels, ViewMut::new(&mut grad, &shape).unwrap());
                let found = found.unwrap();
                check("forward_backward", &grad);
                let mut place = all.clone();
                let in_place = ViewMut::new(&mut place, &shape).unwrap();
                assert!(same(xent.forward_backward_in_place(in_place, &labels).unwrap().value, found.value));
                check("in place", &place);
                let forward = xent.forward(view, &labels).unwrap();
                assert!(same(forward.loss.value, found.value), "{what}");
                for &got in &forward.losses {
                    assert!(near(got, loss, 800.0), "{what}: the loss {got:?}, not {loss:e}");
                }
                xent.backward(view, &labels, &[T::ONE], ViewMut::new(&mut grad, &shape).unwrap()).unwrap();
                check("backward", &grad);
                let known = &forward.partials;
                let to = ViewMut::new(&mut grad, &shape).unwrap();
                if xent.backward_from(view, &labels, known, &[T::ONE], to).is_ok() {
                    check("backward_from", &grad);
                }
                let sum = found.value.to_f64();
                let expected = loss * rows as f64;
                assert!(near(T::from_f64(sum), expected, 800.0), "{what}: the sum {sum:e}, not {expected:e}");
            };
            level.run(run).unwrap();
        }
    }
}

/// The same for both types, with the options' numbers and the truth of these.
fn holds(what: &str, x: &[f64], y: usize, weights: Option<&[f64]>, smoothing: f64) {
    fn of<T: Float>(what: &str, x: &[f64], y: usize, weights: Option<&[f64]>, smoothing: f64) {
        let round = |x: f64| T::from_f64(x).to_f64();
        let [x, weights] =
            [Some(x), weights].map(|list| list.map(|x| x.iter().map(|&x| round(x)).collect::<Vec<_>>()));
        let x = x.unwrap();
        let (loss, gradient) = truth(&x, y, weights.as_deref(), round(smoothing));
        let mut xent = SoftmaxXent::new().reduction(Reduction::Sum).label_smoothing(T::from_f64(smoothing));
        if let Some(weights) = &weights {
            xent = xent.class_weights(&weights.iter().map(|&w| T::from_f64(w)).collect::<Vec<_>>());
        }
        let x: Vec<T> = x.into_iter().map(T::from_f64).collect();
        let cancels = if smoothing > 0.0 { 16.0 } else { 0.0 };
        everywhere_is(what, &xent, (&x, y), (loss, &gradient), cancels);
    }
    of::<f32>(what, x, y, weights, smoothing);
    of::<f64>(what, x, y, weights, smoothing);
}

/// Numbers of classes on both sides of the places where the way through the kernel changes.
const WIDTHS: [usize; 7] = [3, 12, 20, 40, 130, 700, 3000];

#[test]
fn a_class_of_weight_0_takes_no_part() {
    let inf = f64::INFINITY;
    let (loss, _) = truth(&[0.0, -inf, 1.0], 0, Some(&[1.0, 0.0, 1.0]), 0.1);
    assert!((loss - 1.2361529646009487).abs() < 1e-15, "{loss}");
    for classes in WIDTHS {
        let mut x: Vec<f64> = numbers(41, classes, 3.0);
        let mut weights: Vec<f64> = (0..classes).map(|j| (j % 5) as f64 / 2.0).collect();
        for j in (0..classes).step_by(5) {
            x[j] = -inf;
        }
        for y in [0, 1, 2, classes / 2, classes - 1] {
            for smoothing in [0.0, 0.1, 1.0] {
                holds("masked, of weight 0", &x, y, Some(&weights), smoothing);
            }
        }
        weights.fill(0.0);
        holds("all of weight 0", &x, 0, Some(&weights), 0.1);
    }
}

#[test]
fn smoothing_beside_a_masked_class_is_as_the_formula_says() {
    for classes in WIDTHS {
        let mut x: Vec<f64> = numbers(43, classes, 3.0);
        x[classes / 2] = f64::NEG_INFINITY;
        let (loss, _) = truth(&x, 0, None, 0.1);
        assert_eq!(loss, f64::INFINITY);
        holds("smoothing and a mask", &x, 0, None, 0.1);
        holds("a masked target", &x, classes / 2, None, 0.0);
    }
}

#[test]
fn masks_of_the_least_finite_number_leave_finite_losses() {
    let xent = SoftmaxXent::<f32>::new();
    let row = [0.0, f32::MIN, f32::MIN, f32::MIN];
    assert_eq!(xent.forward(&row, &[1]).unwrap().losses, [-f32::MIN]);
    let smooth = xent.label_smoothing(0.1).forward(&row, &[0]).unwrap().losses[0];
    assert!((smooth / 2.552_117_6e37 - 1.0).abs() < 1e-6, "{smooth:e}");
    for classes in WIDTHS {
        for mask in [f64::from(f32::MIN), f64::from(f32::MIN) / 1.3, -2.4e38, -1e30, -1e9] {
            for top in [0.0, 5.0, -1e3] {
                let mut x: Vec<f64> = (0..classes).map(|j| if j % 3 == 0 { top } else { mask }).collect();
                x[classes - 1] = mask;
                for (y, smoothing) in [(1, 0.0), (0, 0.0), (classes - 1, 0.0), (0, 0.1), (1, 0.1)] {
                    holds("finite masks", &x, y, None, smoothing);
                    let weights: Vec<f64> = (0..classes).map(|j| (j % 4) as f64 / 4.0).collect();
                    holds("finite masks, weights", &x, y, Some(&weights), smoothing);
                }
            }
        }
        // In `f64` alone.
        let mut x = vec![f64::MIN; classes];
        x[0] = 3.0;
        for (y, smoothing) in [(1, 0.0), (0, 0.1), (0, 0.0)] {
            let (loss, gradient) = truth(&x, y, None, smoothing);
            let xent = SoftmaxXent::new().reduction(Reduction::Mean).label_smoothing(smoothing);
            let rows = 5;
            let all = x.repeat(rows);
            let view = View::new(&all, &[rows, classes]).unwrap();
            let mut grad = vec![0.0; all.len()];
            let found = xent.forward_backward(view, &vec![y; rows], &mut grad).unwrap();
            assert!(
                (found.value / loss - 1.0).abs() < 1e-12 || found.value == loss,
                "{found:?}, not {loss:e}"
            );
            for (got, exact) in grad.iter().zip(&gradient) {
                assert!((got * rows as f64 - exact).abs() < 1e-15);
            }
        }
    }
}

#[test]
fn what_is_normal_is_not_flushed() {
    for (classes, step) in [(2, 1), (12, 1), (20, 5), (40, 5), (130, 5), (700, 5)] {
        for k in (0..=200).step_by(step) {
            for (least, most) in [(86.9, 87.4), (708.0, 708.45)] {
                let lead = least + (most - least) * f64::from(k) / 200.0;
                for offset in [0.0, -37.3] {
                    let mut x = vec![f64::NEG_INFINITY; classes];
                    (x[0], x[classes - 1]) = (lead + offset, offset);
                    holds("a lead", &x, 0, None, 0.0);
                    holds("a lead of another", &x, classes - 1, None, 0.0);
                    if classes > 12 {
                        x[classes / 2] = lead + offset;
                        holds("a lead of two", &x, 0, None, 0.0);
                    }
                }
            }
        }
    }
    let mut grad = [0.0; 2];
    let loss = SoftmaxXent::new().forward_backward(&[87.0_f32, 0.0], &[0], &mut grad).unwrap().value;
    let exact = (-87.0_f64).exp();
    assert!((f64::from(loss) / exact - 1.0).abs() < 1e-5 && grad == [-loss, loss], "{loss:e} {grad:?}");
}

#[test]
fn tiny_and_huge_weights_are_weights() {
    fn check<T: Float>(tiny: f64, huge: f64) {
        let number = |x: f64| T::from_f64(x);
        for classes in WIDTHS {
            let x: Vec<T> = numbers(47, classes, 2.0);
            let x64: Vec<f64> = x.iter().map(|x| x.to_f64()).collect();
            for rows in [1, 2, 18] {
                let all = x.repeat(rows);
                let view = View::new(&all, &[rows, classes]).unwrap();
                let labels = vec![1_u8; rows];
                for (light, heavy) in [(tiny, tiny), (huge, huge), (tiny, 1.0), (tiny, huge), (1.0, huge)] {
                    for smoothing in [0.0, 0.1] {
                        for normalizer in [None, Some(tiny), Some(huge)] {
                            // Of the target, and of all others.
                            let weight = |j: usize| if j == 1 { light } else { heavy };
                            let weights: Vec<T> = (0..classes).map(|j| number(weight(j))).collect();
                            let mut xent =
                                SoftmaxXent::new().class_weights(&weights).label_smoothing(number(smoothing));
                            // In units of the target's weight, or of the normalizer.
                            let unit = match normalizer {
                                None => weights[1].to_f64(),
                                Some(n) => number(n).to_f64(),
                            };
                            let relative: Vec<f64> = weights.iter().map(|w| w.to_f64() / unit).collect();
                            let (mut loss, mut gradient) =
                                truth(&x64, 1, Some(&relative), number(smoothing).to_f64());
                            match normalizer {
                                None => gradient.iter_mut().for_each(|g| *g /= rows as f64),
                                Some(n) => {
                                    xent = xent.normalizer(number(n));
                                    loss *= rows as f64;
                                }
                            }
                            if [&[loss][..], &gradient]
                                .concat()
                                .iter()
                                .any(|x| !number(x * 1024.0).to_f64().is_finite())
                            {
                                continue;
                            }
                            for &level in Level::available() {
                                let mut grad = vec![T::NAN; all.len()];
                                let run = || xent.forward_backward(view, &labels, &mut grad).unwrap();
                                let found = level.run(run).unwrap();
                                let what = format!(
                                    "{}, {level}, {rows} x {classes}, weights {light:e}, {heavy:e}, {smoothing}, {normalizer:?}",
                                    T::NAME
                                );
                                let near = |got: T, exact: f64| {
                                    let exact = number(exact).to_f64();
                                    let bound = 64.0 * T::EPSILON.to_f64() * exact.abs();
                                    let off = (got.to_f64() - exact).abs();
                                    got.to_f64() == exact || off <= bound || off <= tiny * 100.0
                                };
                                assert!(
                                    near(found.value, loss),
                                    "{what}: loss {:?}, not {loss:e}",
                                    found.value
                                );
                                // What is subtracted for the target's gradient, and for that of the others.
                                let largest =
                                    relative.iter().sum::<f64>() / classes as f64 * smoothing + relative[1];
                                for (i, (&got, &exact)) in
                                    grad.iter().zip(gradient.iter().cycle()).enumerate()
                                {
                                    let off = (got.to_f64() - number(exact).to_f64()).abs();
                                    let cancels = off <= 8.0 * T::EPSILON.to_f64() * largest;
                                    assert!(
                                        near(got, exact) || cancels,
                                        "{what}: {i} is {got:?}, not {exact:e}"
                                    );
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    check::<f32>(1e-40, 3e38);
    check::<f64>(1e-310, 1.7e308);

    let mut grad = [0.0_f32; 2];
    let xent = SoftmaxXent::new();
    xent.clone().class_weights(&[1e-40, 1e-40]).forward_backward(&[0.0, 0.0], &[0], &mut grad).unwrap();
    assert_eq!(grad, [-0.5, 0.5]);
    let mut grad = [0.0_f32; 4];
    let rows = View::new(&[0.0; 4], &[2, 2]).unwrap();
    xent.clone().class_weights(&[3e38, 3e38]).forward_backward(rows, &[0, 1], &mut grad).unwrap();
    assert_eq!(grad, [-0.25, 0.25, 0.25, -0.25]);
    let mut grad = [7.0_f32; 3];
    let row = [0.0, f32::NEG_INFINITY, 200.0];
    let loss = xent.normalizer(1e-39).forward_backward(&row, &[2], &mut grad).unwrap().value;
    assert!(loss.abs() < 1e-30 && grad.iter().all(|g| g.abs() < 1e-30), "{loss:e} {grad:?}");
}

/// Upstream gradients and weights of rows, tiny and huge ones among others: each row's is the product.
#[test]
fn factors_of_rows_may_have_any_size() {
    fn check_all<T: Float>(exponents: &[i32]) {
        for classes in WIDTHS {
            let rows = 37;
            let x: Vec<T> = numbers(53, rows * classes, 2.0);
            let view = View::new(&x, &[rows, classes]).unwrap();
            let labels = labels(rows, classes);
            let none = SoftmaxXent::new().reduction(Reduction::None);
            let power = |k: usize| T::from_f64(f64::from(exponents[k % exponents.len()]).exp2());
            let upstream: Vec<T> = (0..rows).map(power).collect();
            // The factor of a row has the range of its type; the numbers that it is the product of may be at both ends.
            let of_row = |row: usize| match power(row / exponents.len()) {
                weight if (weight * upstream[row]).to_f64().is_finite() => weight,
                _ => T::ONE,
            };
            let weights: Vec<T> = (0..rows).map(of_row).collect();
            // Powers of two are exact, whatever they multiply.
            let times = |x: T, row: usize, up: bool| {
                let (a, b) = (if up { upstream[row] } else { T::ONE }, weights[row]);
                if (a.to_f64() < 1.0) == (b.to_f64() < 1.0) { x * a * b } else { x * (a * b) }
            };
            let weighted = none.clone().row_weights(&weights);
            everywhere(|level, _| {
                let mut plain = vec![T::ZERO; x.len()];
                none.forward_backward(view, &labels, &mut plain).unwrap();
                let losses = none.forward(view, &labels).unwrap().losses;
                let mut grad = vec![T::NAN; x.len()];
                weighted.backward(view, &labels, &upstream, &mut grad).unwrap();
                let found = weighted.forward(view, &labels).unwrap();
                if level.has_fma() {
                    let mut expected = vec![T::NAN; x.len()];
                    let plain = reference::SoftmaxXent(&weighted);
                    plain.backward(view, &labels, &upstream, &mut expected).unwrap();
                    check(level, "by the reference", &grad, &expected);
                }
                for (i, (&got, &g)) in grad.iter().zip(&plain).enumerate() {
                    let expected = times(g, i / classes, true);
                    let off = (got - expected).to_f64().abs();
                    let is_small = expected.to_f64().abs() < 1e-35 && T::NAME == "f32"
                        || expected.to_f64().abs() < 1e-300;
                    let near = got == expected || off <= 4.0 * T::EPSILON.to_f64() * expected.to_f64().abs();
                    assert!(
                        near || is_small && !level.has_fma() || is_small && off < 1e-37,
                        "{level} {i}: {got:?}, not {expected:?}"
                    );
                }
                for (row, (&got, &loss)) in found.losses.iter().zip(&losses).enumerate() {
                    let expected = times(loss, row, false);
                    let off = (got - expected).to_f64().abs();
                    assert!(
                        got == expected || off <= 4.0 * T::EPSILON.to_f64() * expected.to_f64().abs(),
                        "{level} {row}: {got:?}, not {expected:?}"
                    );
                }
            });
        }
    }
    check_all::<f32>(&[0, 3, -5, 40, -40, 100, -100]);
    check_all::<f64>(&[0, 3, -5, 300, -300, 900, -900]);
}

#[test]
fn upstream_gradients_may_have_any_strides() {
    for classes in WIDTHS {
        let (a, b) = (5, 7);
        let x: Vec<f32> = numbers(59, a * b * classes, 3.0);
        let view = View::new(&x, &[a, b, classes]).unwrap();
        let labels = labels(a * b, classes);
        let xent = SoftmaxXent::new().reduction(Reduction::None);
        let data: Vec<f32> = numbers(61, 200, 1.0);
        let shapes: [(&[usize], &[isize], usize); 6] = [
            (&[a * b], &[0], 3),
            (&[a * b], &[3], 1),
            (&[a * b], &[-2], 120),
            (&[a, b], &[1, a as isize], 0),
            (&[a, b], &[0, 1], 0),
            (&[1, a, 1, b], &[9, -11, 5, 2], 70),
        ];
        for (shape, strides, offset) in shapes {
            let upstream = View::strided(&data, shape, strides, offset).unwrap();
            let at = |mut row: usize| {
                let mut index = vec![0; shape.len()];
                for (k, &n) in shape.iter().enumerate().rev() {
                    (index[k], row) = (row % n, row / n);
                }
                upstream.get(&index).unwrap()
            };
            let dense: Vec<f32> = (0..a * b).map(at).collect();
            let [mut expected, mut got] = [vec![0.0; x.len()], vec![1.0; x.len()]];
            xent.backward(view, &labels, &dense, &mut expected).unwrap();
            xent.backward(view, &labels, upstream, &mut got).unwrap();
            assert_eq!(got, expected, "{shape:?} {strides:?}");
            got.fill(1.0);
            reference::SoftmaxXent(&xent).backward(view, &labels, upstream, &mut got).unwrap();
            if Level::current().unwrap().has_fma() {
                assert_eq!(got, expected, "{shape:?} {strides:?}");
            }
            let partials = xent.forward(view, &labels).unwrap().partials;
            xent.backward_from(view, &labels, &partials, &dense, &mut expected).unwrap();
            xent.backward_from(view, &labels, &partials, upstream, &mut got).unwrap();
            assert_eq!(got, expected, "{shape:?} {strides:?}");
        }
        // One value, of any rank.
        let one = View::strided(&data, &[1, 1], &[50, 60], 7).unwrap();
        let [mut expected, mut got] = [vec![0.0; x.len()], vec![1.0; x.len()]];
        xent.backward(view, &labels, &data[7..8], &mut expected).unwrap();
        xent.backward(view, &labels, one, &mut got).unwrap();
        assert_eq!(got, expected);
    }
}

/// Of equal logits the first wins, in whatever chunk, lane or shard they stand.
#[test]
fn rows_are_correct_whose_target_is_the_largest() {
    for classes in [1, 2, 10, 16, 33, 129, 300, 1300, 2600, 5000] {
        let rows = 60;
        let mut x: Vec<f32> = numbers(71, rows * classes, 2.0);
        let mut labels = vec![];
        let mut expected = 0;
        for (row, x) in x.chunks_mut(classes).enumerate() {
            let place = |k: usize| k * 7919 % classes;
            // The largest in up to three places, or one that is less by the least.
            let (y, other, third) = (place(row), place(row + 31), place(row * row + 5));
            if row % 4 > 0 {
                (x[other], x[third]) = (9.0, if row % 3 == 0 { 9.0 } else { 1.0 });
                x[y] = if row % 4 == 1 { 9.0_f32.next_down() } else { 9.0 };
            }
            if row % 11 == 10 {
                x[other] = f32::NAN;
            }
            let is_first = (0..classes).all(|j| j == y || x[j] < x[y] || j > y && x[j] == x[y]);
            expected += usize::from(is_first && row % 7 != 6 && x.iter().all(|x| !x.is_nan()));
            labels.push(if row % 7 == 6 { -1 } else { y as i64 });
        }
        compare(&SoftmaxXent::new().ignore_index(-1), &[rows, classes], &x, &labels);
        let xent = SoftmaxXent::new().ignore_index(-1);
        let view = View::new(&x, &[rows, classes]).unwrap();
        let turned: Vec<f32> = (0..x.len()).map(|i| x[i % rows * classes + i / rows]).collect();
        let first = View::new(&turned, &[classes, rows]).unwrap();
        everywhere(|level, _| {
            let mut grad = vec![0.0; x.len()];
            let loss = xent.forward_backward(view, &labels, &mut grad).unwrap();
            assert_eq!(loss.correct, expected, "{level}, {classes} classes");
            assert_eq!(
                xent.forward(view, &labels).unwrap().loss.correct,
                expected,
                "{level}, {classes} classes"
            );
            let loss = xent.clone().class_axis(0).forward_backward(first, &labels, &mut grad).unwrap();
            assert_eq!(loss.correct, expected, "{level}, {classes} classes first");
        });
        for shards in [1, 2, 3, 7].into_iter().filter(|&n| n <= classes) {
            let width = classes.div_ceil(shards);
            let sharded = |shard: usize| xent.clone().shard(shard * width, classes);
            let view = |shard: usize| {
                let (first, end) = (classes.min(shard * width), classes.min((shard + 1) * width));
                View::strided(&x, &[rows, end - first], &[classes as isize, 1], first.min(classes - 1))
                    .unwrap()
            };
            let all = (0..shards)
                .filter(|shard| shard * width < classes)
                .map(|shard| sharded(shard).partials(view(shard), &labels).unwrap())
                .reduce(|a, b| a.into_iter().zip(b).map(|(a, b)| a.merge(b)).collect())
                .unwrap();
            let mut grad = vec![0.0; rows * width];
            let loss = sharded(0).backward_from(view(0), &labels, &all, &[1.0], &mut grad).unwrap();
            assert_eq!(loss.correct, expected, "{shards} shards of {classes} classes");
        }
    }
}

#[test]
fn softmax_and_its_logarithm_are_those_of_the_reference() {
    fn check_all<T: Float>() {
        for shape in [
            vec![3, 0],
            vec![0, 4],
            vec![1],
            vec![7],
            vec![40, 10],
            vec![19, 33],
            vec![5, 300],
            vec![2, 5000],
            vec![3, 21, 17],
            vec![1, 40_000],
            vec![300, 1],
            vec![1, 90, 1],
        ] {
            let len = shape.iter().product();
            let mut x: Vec<T> = numbers(len as u64 + 3, len, 9.0);
            for bad in [None, Some(T::NEG_INFINITY), Some(T::NAN)] {
                if let (Some(bad), Some(at)) = (bad, x.get_mut(len / 3)) {
                    *at = bad;
                }
                let view = View::new(&x, &shape).unwrap();
                for axis in 0..shape.len() as isize {
                    let p = reference::softmax(view, axis).unwrap();
                    let log_p = reference::log_softmax(view, axis).unwrap();
                    for (p, l) in p.iter().zip(&log_p) {
                        let (p, l) = (p.to_f64(), l.to_f64());
                        assert!(
                            p.is_nan() && l.is_nan()
                                || (p / l.exp() - 1.0).abs() < 2e-5
                                || p < 1e-35 && l < -80.0,
                            "{p:e} {l}"
                        );
                    }
                    everywhere(|level, _| {
                        check(level, "softmax", &gradix::softmax(view, axis).unwrap(), &p);
                        check(
                            level,
                            "log_softmax",
                            &gradix::log_softmax(view, axis - shape.len() as isize).unwrap(),
                            &log_p,
                        );
                        let mut place = x.clone();
                        gradix::softmax_in_place(ViewMut::new(&mut place, &shape).unwrap(), axis).unwrap();
                        check(level, "softmax in place", &place, &p);
                        place.copy_from_slice(&x);
                        gradix::log_softmax_in_place(ViewMut::new(&mut place, &shape).unwrap(), axis)
                            .unwrap();
                        check(level, "log_softmax in place", &place, &log_p);
                        gradix::softmax_into(view, axis, &mut place).unwrap();
                        check(level, "softmax_into", &place, &p);
                        gradix::log_softmax_into(view, axis, &mut place).unwrap();
                        check(level, "log_softmax_into", &place, &log_p);
                    });
                }
            }
        }
    }
    check_all::<f32>();
    check_all::<f64>();
    assert!(matches!(gradix::softmax(&[1.0], 1), Err(Error::Axis { axis: 1, rank: 1 })));
    let mut short = [7.0];
    assert!(matches!(gradix::softmax_into(&[1.0, 2.0], 0, &mut short), Err(Error::Shape { .. })));
    assert_eq!(short, [7.0]);
}

/// The vectors that the definitions of ONNX's `Softmax` and `LogSoftmax` print, along the last axis and the first.
#[test]
fn softmax_gives_the_vectors_of_onnx() {
    let large = [0.0_f32, 1.0, 2.0, 3.0, 10_000.0, 10_001.0, 10_002.0, 10_003.0];
    let [p, log_p] = [
        [0.032_058_604_f32, 0.087_144_32, 0.236_882_84, 0.643_914_3],
        [-3.440_189_6, -2.440_189_6, -1.440_189_6, -0.440_189_66],
    ];
    let vectors = [
        (
            &[-1.0_f32, 0.0, 1.0][..],
            1,
            &[0.090_030_57_f32, 0.244_728_48, 0.665_240_94][..],
            &[-2.407_606_1_f32, -1.407_606, -0.407_606][..],
        ),
        (&large, 2, &[p, p].concat(), &[log_p, log_p].concat()),
    ];
    for (x, rows, p, log_p) in vectors {
        let classes = x.len() / rows;
        for axis in [1, 0] {
            // Along the first axis the same numbers, a row below the other.
            let (shape, strides) = match axis {
                1 => ([rows, classes], [classes as isize, 1]),
                _ => ([classes, rows], [1, classes as isize]),
            };
            let at = |k: usize| if axis == 1 { k } else { k % rows * classes + k / rows };
            everywhere(|level, _| {
                let view = View::strided(x, &shape, &strides, 0).unwrap();
                for (got, expected) in [
                    (gradix::softmax(view, axis).unwrap(), p),
                    (gradix::log_softmax(view, axis).unwrap(), log_p),
                ] {
                    for (k, &got) in got.iter().enumerate() {
                        let off = (got - expected[at(k)]).abs();
                        assert!(off <= 3e-7 * expected[at(k)].abs(), "{level}, axis {axis}, {k}: {got:?}");
                    }
                }
            });
        }
    }
}

#[test]
fn labels_may_have_any_strides_and_types() {
    let (a, b, classes) = (4, 6, 9);
    let x: Vec<f32> = numbers(73, a * b * classes, 3.0);
    let view = View::new(&x, &[a, b, classes]).unwrap();
    let data: Vec<i8> = (0..200).map(|i| (i * 5 % 10 - 1) as i8).collect();
    let xent = SoftmaxXent::new().ignore_index(-1);
    for (shape, strides, offset) in
        [(vec![24], vec![3], 1), (vec![4, 6], vec![1, 4], 0), (vec![4, 6], vec![-7, 0], 60)]
    {
        let labels = View::strided(&data, &shape, &strides, offset).unwrap();
        let at = |row: usize| match shape.len() {
            1 => labels.get(&[row]).unwrap(),
            _ => labels.get(&[row / b, row % b]).unwrap(),
        };
        let dense: Vec<i64> = (0..a * b).map(|row| i64::from(at(row))).collect();
        assert_eq!(xent.forward(view, labels).unwrap(), xent.forward(view, &dense).unwrap());
        assert_eq!(
            reference::SoftmaxXent(&xent).forward(view, labels).unwrap().loss.count,
            xent.forward(view, &dense).unwrap().loss.count
        );
    }
    let rows = View::new(&x[..18], &[2, 9]).unwrap();
    let expected = xent.forward(rows, &[3_i16, -1]).unwrap();
    assert_eq!(
        SoftmaxXent::new().ignore_index(usize::MAX).forward(rows, &[3, usize::MAX]).unwrap(),
        expected
    );
    assert_eq!(SoftmaxXent::new().ignore_index(255_u8).forward(rows, &[3_u64, 255]).unwrap(), expected);
    assert!(SoftmaxXent::new().ignore_index(u64::MAX).forward(rows, &[3, -1]).is_err());
}

/// A masked class stays masked under a cap.
#[test]
fn a_cap_leaves_masks_alone() {
    for classes in WIDTHS {
        let mut x: Vec<f64> = numbers(79, 5 * classes, 9.0);
        for x in x.chunks_mut(classes) {
            x[classes / 2] = f64::NEG_INFINITY;
        }
        let xent = SoftmaxXent::new().softcap(3.0);
        let labels = [0, 1, 0, 1, 0].map(|y| if y == classes as i64 / 2 { 0 } else { y });
        compare(&xent, &[5, classes], &x, &labels);
        compare(&xent.clone().label_smoothing(0.1), &[5, classes], &x, &labels);
        let mut grad = vec![1.0; x.len()];
        let loss = xent.forward_backward(View::new(&x, &[5, classes]).unwrap(), &labels, &mut grad).unwrap();
        assert!(loss.value.is_finite());
        assert!(grad.chunks(classes).all(|grad| grad[classes / 2] == 0.0));
    }
}

/// Probabilities for targets: by the reference's bits, by the formula, and, where they are all of one class, as labels.
#[test]
fn targets_may_be_probabilities() {
    fn check_all<T: Float>() {
        let number = |x: f64| T::from_f64(x);
        for (shape, axis) in [
            (vec![19, 10], 1),
            (vec![5, 33], 1),
            (vec![40, 2], 1),
            (vec![32, 48], 1),
            (vec![17, 128], 1),
            (vec![18, 129], 1),
            (vec![33, 31], 1),
            (vec![130, 1], 0),
            (vec![3, 40, 17], 1),
            (vec![2, 130, 3], 1),
            (vec![1500, 16], 1),
            (vec![3, 300], 1),
            (vec![2, 3000], 1),
            (vec![4, 7, 6], 1),
            (vec![50, 9], 0),
            (vec![6, 1], 1),
            (vec![0, 4], 1),
            (vec![3, 0], 1),
        ] {
            let (len, classes) = (shape.iter().product::<usize>(), shape[axis]);
            let rows = len.checked_div(classes).unwrap_or(0);
            let inner: usize = shape[axis + 1..].iter().product();
            let place = |row: usize, j: usize| row / inner * inner * classes + j * inner + row % inner;
            let mut x: Vec<T> = numbers(83, len, 4.0);
            let mut t: Vec<T> =
                numbers::<T>(89, len, 1.0).into_iter().map(|t| number(t.to_f64().abs())).collect();
            for row in 0..rows {
                for j in 0..classes {
                    if row % 5 == 3 || (j + row) % 3 == 0 {
                        t[place(row, j)] = T::ZERO;
                    }
                }
                // A masked class without a target.
                if classes > 3 {
                    (x[place(row, 1)], t[place(row, 1)]) = (T::NEG_INFINITY, T::ZERO);
                }
            }
            let weights: Vec<T> = (0..classes).map(|j| number((j % 4) as f64 / 2.0)).collect();
            let of_rows: Vec<T> =
                (0..if classes == 0 { shape[0] } else { rows }).map(|row| number((row % 3) as f64)).collect();
            let plain = || SoftmaxXent::new().class_axis(axis as isize);
            let all = [
                plain(),
                plain().reduction(Reduction::Sum).z_loss(number(1e-3)),
                plain().class_weights(&weights).normalizer(number(7.0)),
                plain().row_weights(&of_rows).softcap(number(5.0)),
                plain().label_smoothing(number(0.1)).softcap(number(9.0)).reduction(Reduction::None),
            ];
            let (view, targets) = (View::new(&x, &shape).unwrap(), View::new(&t, &shape).unwrap());
            for xent in &all {
                let mut expected = vec![T::NAN; len];
                let loss =
                    reference::SoftmaxXent(xent).forward_backward_soft(view, targets, &mut expected).unwrap();
                everywhere(|level, _| {
                    let mut grad = vec![T::NAN; len];
                    check_loss(level, xent.forward_backward_soft(view, targets, &mut grad).unwrap(), loss);
                    check(level, "soft gradient", &grad, &expected);
                    let mut place = x.clone();
                    let in_place = ViewMut::new(&mut place, &shape).unwrap();
                    check_loss(level, xent.forward_backward_soft_in_place(in_place, targets).unwrap(), loss);
                    check(level, "soft gradient in place", &place, &expected);
                });
            }
            // By the formula.
            let mut grad = vec![T::NAN; len];
            let loss =
                plain().reduction(Reduction::Sum).forward_backward_soft(view, targets, &mut grad).unwrap();
            let (mut sum, mut count) = (0.0, 0);
            for row in 0..rows {
                let [x, t]: [Vec<f64>; 2] =
                    [&x, &t].map(|list| (0..classes).map(|j| list[place(row, j)].to_f64()).collect());
                let (total, lse) = (t.iter().sum::<f64>(), x.iter().map(|x| x.exp()).sum::<f64>().ln());
                count += usize::from(total > 0.0);
                for j in 0..classes {
                    sum += if t[j] > 0.0 { t[j] * (lse - x[j]) } else { 0.0 };
                    let exact = total * (x[j] - lse).exp() - t[j];
                    let off = (grad[place(row, j)].to_f64() - exact).abs();
                    assert!(
                        off <= 40.0 * T::EPSILON.to_f64() * (total + 1e-3),
                        "{shape:?}, row {row}, class {j}: {off:e}"
                    );
                }
            }
            assert!(
                (loss.value.to_f64() - sum).abs() <= 40.0 * T::EPSILON.to_f64() * sum.max(1.0)
                    && loss.count == count
            );
            // All of one class: labels.
            let labels: Vec<usize> = (0..rows).map(|row| row * 7919 % classes.max(1)).collect();
            t.fill(T::ZERO);
            labels.iter().enumerate().for_each(|(row, &y)| t[place(row, y)] = T::ONE);
            if rows > 0 && !labels.contains(&1) {
                let hard = plain().forward(View::new(&x, &shape).unwrap(), &labels).unwrap().loss;
                let soft = plain()
                    .forward_backward_soft(
                        View::new(&x, &shape).unwrap(),
                        View::new(&t, &shape).unwrap(),
                        &mut grad,
                    )
                    .unwrap();
                assert!(
                    (hard.value.to_f64() - soft.value.to_f64()).abs()
                        <= 40.0 * T::EPSILON.to_f64() * hard.value.to_f64().max(1.0)
                );
                assert_eq!((hard.count, hard.correct), (soft.count, soft.correct), "{shape:?}");
            }
        }
    }
    check_all::<f32>();
    check_all::<f64>();
    let (x, t) = (View::new(&[1.0, 2.0], &[1, 2]).unwrap(), View::new(&[1.0, 0.0], &[2, 1]).unwrap());
    let mut grad = [7.0; 2];
    let error = SoftmaxXent::new().forward_backward_soft(x, t, &mut grad).unwrap_err();
    assert!(matches!(error, Error::Shape { what: "the targets", .. }) && grad == [7.0; 2]);
}

/// Rows in lanes and along vectors: every width around those that decide, few rows and many, at any alignment and
/// strides, with rows that are no numbers.
#[test]
fn soft_targets_of_every_width_and_alignment_have_the_bits_of_the_reference() {
    fn check_all<T: Float>() {
        let widths = (1..=20).chain([24, 31, 32, 33, 47, 48, 49, 64, 127, 128, 129, 160]);
        for (classes, seed) in widths.zip(0..) {
            for rows in [1, 2, 7, 8, 15, 16, 17, 33] {
                let (len, offset) = (rows * classes, (rows + classes) % 5);
                // The logits' rows are further apart than they are long.
                let stride = classes + rows % 3;
                let mut x: Vec<T> = numbers(seed + 7, rows * stride + offset, 6.0);
                let mut t: Vec<T> = numbers(seed + 1000, len + offset, 1.0);
                t[offset + len / 2] = T::ZERO;
                if rows > 2 {
                    x[offset + stride] = T::NAN;
                    x[offset + 2 * stride] = T::NEG_INFINITY;
                    t[offset + 2 * classes..][..classes].fill(T::ZERO);
                }
                let shape = [rows, classes];
                let view = View::strided(&x, &shape, &[stride as isize, 1], offset).unwrap();
                let targets = View::new(&t[offset..], &shape).unwrap();
                let xent = SoftmaxXent::new();
                let mut expected = vec![T::ZERO; len];
                let loss = reference::SoftmaxXent(&xent)
                    .forward_backward_soft(view, targets, &mut expected)
                    .unwrap();
                everywhere(|level, _| {
                    let mut grad = vec![T::ONE; len + 2 * offset];
                    let to = ViewMut::new(&mut grad[offset..][..len], &shape).unwrap();
                    check_loss(level, xent.forward_backward_soft(view, targets, to).unwrap(), loss);
                    check(level, "soft gradient", &grad[offset..][..len], &expected);
                    let around = grad[..offset].iter().chain(&grad[offset + len..]);
                    assert!(around.into_iter().all(|&x| x == T::ONE), "{rows} x {classes}: more was written");
                });
            }
        }
    }
    check_all::<f32>();
    check_all::<f64>();
}
