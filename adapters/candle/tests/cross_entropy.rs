//! Losses and gradients equal candle's own, and those of gradix called directly, however the tensors stand.

mod common;

use candle_core::{DType, Device, Result, Tensor, Var, WithDType};
use common::{ALL, Stands, flat, integers, rng, stand, uniform};
use gradix::{Float, View, ViewMut};
use gradix_candle::{Keep, Reduction, SoftmaxXent, cross_entropy, cross_entropy_keeping};
use rand::RngExt;

const LABELS: [DType; 5] = [DType::U8, DType::U32, DType::I16, DType::I32, DType::I64];

/// candle's own loss and gradient in `f64`.
fn candles(logits: &Tensor, labels: &Tensor) -> Result<(f64, Vec<f64>)> {
    let x = Var::from_tensor(&logits.to_dtype(DType::F64)?.contiguous()?)?;
    let loss = candle_nn::loss::cross_entropy(&x, &labels.to_dtype(DType::U32)?.contiguous()?)?;
    let gradients = loss.backward()?;
    Ok((loss.to_scalar()?, flat(gradients.get(&x).expect("a gradient"))?))
}

/// Sweeps shapes, layouts, label types and both ways to keep; `f32` within the stated bound of candle's `f64`,
/// `f64` as near as candle's own rounding allows.
fn equals_candles<T: Float + WithDType>(seed: u64) -> Result<()> {
    let mut rng = rng(seed);
    let is_f32 = T::DTYPE == DType::F32;
    for (rows, classes) in
        [(1, 1), (1, 7), (3, 2), (17, 10), (5, 16), (33, 17), (8, 100), (21, 129), (2, 1001), (64, 3)]
    {
        for (stands, labels_stand) in ALL.into_iter().flat_map(|a| [(a, ALL[0]), (a, ALL[2])]) {
            let values = uniform(&mut rng, &[rows, classes], 6.0, T::DTYPE)?;
            let dtype = LABELS[rng.random_range(0..LABELS.len())];
            let labels = integers(&mut rng, &[rows], classes.min(256), DType::U32)?.to_dtype(dtype)?;
            let (loss64, expected) = candles(&values, &labels)?;
            let labels = stand(&labels, labels_stand)?;
            for keep in [Keep::Gradient, Keep::Partials] {
                let x = Var::from_tensor(&values)?;
                let loss =
                    cross_entropy_keeping(&stand(&x, stands)?, &labels, &SoftmaxXent::<T>::new(), keep)?;
                // An upstream gradient other than 1, and a second pass over the same graph.
                let scaled = loss.affine(0.75, 0.0)?;
                let case = format!("{rows} x {classes}, {stands:?}, {dtype:?}, {keep:?}");
                let got = flat(&loss)?[0];
                let tolerance = if is_f32 { 20.0 * f64::from(f32::EPSILON) } else { 1e-13 };
                assert!((got - loss64).abs() <= tolerance * (1.0 + loss64), "{case}: {got} {loss64}");
                for (pass, factor) in [(&loss, 1.0), (&scaled, 0.75), (&loss, 1.0)] {
                    let gradients = pass.backward()?;
                    let got = flat(gradients.get(&x).expect("a gradient"))?;
                    for (i, (&got, &expected)) in got.iter().zip(&expected).enumerate() {
                        let expected = expected * factor;
                        let bound = if is_f32 {
                            (5.0 + 12.0) * f64::from(f32::EPSILON) * expected.abs() + 1e-15
                        } else {
                            1e-14
                        };
                        assert!((got - expected).abs() <= bound, "{case} at {i}: {got} {expected}");
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn f32_equals_candles_own_within_the_bound() -> Result<()> {
    equals_candles::<f32>(1)
}

#[test]
fn f64_equals_candles_own() -> Result<()> {
    equals_candles::<f64>(2)
}

/// All options, at random, give the bits of the same options called without candle.
fn passes_all_options_on<T: Float + WithDType>(seed: u64) -> Result<()> {
    let mut rng = rng(seed);
    for turn in 0..200 {
        let rank = rng.random_range(1..=4);
        let shape: Vec<usize> = (0..rank).map(|_| rng.random_range(1..9)).collect();
        let axis = rng.random_range(0..rank);
        let classes = shape[axis];
        let mut rows_shape = shape.clone();
        rows_shape.remove(axis);
        let rows: usize = rows_shape.iter().product();

        let of = |x: f64| <T as WithDType>::from_f64(x);
        let mut options = SoftmaxXent::<T>::new().class_axis(axis as isize);
        let mut with = || rng.random_bool(0.4);
        let chosen: [bool; 7] = std::array::from_fn(|_| with());
        if chosen[0] {
            options = options.ignore_index(1u8);
        }
        if chosen[1] {
            let weights: Vec<T> = (0..classes).map(|_| of(rng.random_range(0.5..2.0))).collect();
            options = options.class_weights(&weights);
        }
        if chosen[2] {
            let weights: Vec<T> = (0..rows).map(|_| of(rng.random_range(0.5..2.0))).collect();
            options = options.row_weights(&weights);
        }
        if chosen[3] {
            options = options.label_smoothing(of(0.125));
        }
        if chosen[4] {
            options = options.z_loss(of(0.01));
        }
        if chosen[5] {
            options = options.softcap(of(5.0));
        }
        let reduction = [Reduction::Mean, Reduction::Sum, Reduction::None][turn % 3];
        options = options.reduction(reduction);
        if chosen[6] && reduction == Reduction::Mean {
            options = options.normalizer(of(7.5));
        }

        let logits = uniform(&mut rng, &shape, 8.0, T::DTYPE)?;
        let labels = integers(&mut rng, &rows_shape, classes, DType::I64)?;
        let data = logits.flatten_all()?.to_vec1::<T>()?;
        let label_data = labels.flatten_all()?.to_vec1::<i64>()?;
        let view = View::new(&data, &shape).expect("a view");
        let expected_rows = options.forward(view, &label_data).expect("losses");
        let upstream =
            uniform(&mut rng, if reduction == Reduction::None { &rows_shape } else { &[] }, 2.0, T::DTYPE)?;
        let upstream_data = upstream.flatten_all()?.to_vec1::<T>()?;
        let mut expected = vec![T::zero(); data.len()];
        let grad = ViewMut::new(&mut expected, &shape).expect("a view");
        options.backward(view, &label_data, &upstream_data, grad).expect("a gradient");

        for (stands, keep) in ALL.into_iter().flat_map(|s| [(s, Keep::Gradient), (s, Keep::Partials)]) {
            let x = Var::from_tensor(&logits)?;
            let labels = if labels.rank() > 0 { stand(&labels, stands)? } else { labels.reshape(1)? };
            let loss = cross_entropy_keeping(&stand(&x, stands)?, &labels, &options, keep)?;
            let case = format!("{shape:?}, {stands:?}, {keep:?}, {options:?}");
            let tolerance = if T::DTYPE == DType::F32 { 1e-5 } else { 1e-13 };
            if reduction == Reduction::None {
                assert_eq!(loss.dims(), labels.dims(), "{case}");
                let expected: Vec<f64> = expected_rows.losses.iter().map(|x| WithDType::to_f64(*x)).collect();
                assert_eq!(flat(&loss)?, expected, "{case}");
            } else {
                let expected = WithDType::to_f64(expected_rows.loss.value);
                assert_eq!(loss.rank(), 0);
                assert!((flat(&loss)?[0] - expected).abs() <= tolerance * expected.abs(), "{case}");
            }
            let total = (&loss * upstream.reshape(loss.shape())?)?.sum_all()?;
            let gradients = total.backward()?;
            let got = flat(gradients.get(&x).expect("a gradient"))?;
            for (got, expected) in got.into_iter().zip(&expected) {
                let expected = WithDType::to_f64(*expected);
                // One rounding more where the upstream gradient multiplies a gradient that is there already; of what
                // smoothing takes away, where that leaves next to nothing.
                let bound = tolerance * (expected.abs() + 0.01);
                assert!((got - expected).abs() <= bound, "{case}: {got} {expected}");
            }
        }
    }
    Ok(())
}

#[test]
fn all_options_pass_on_f32() -> Result<()> {
    passes_all_options_on::<f32>(3)
}

#[test]
fn all_options_pass_on_f64() -> Result<()> {
    passes_all_options_on::<f64>(4)
}

#[test]
fn what_is_kept_changes_no_bit() -> Result<()> {
    let mut rng = rng(5);
    let values = uniform(&mut rng, &[37, 131], 30.0, DType::F32)?;
    let labels = integers(&mut rng, &[37], 131, DType::U32)?;
    let mut gradients = Vec::new();
    for keep in [Keep::Gradient, Keep::Partials] {
        let x = Var::from_tensor(&values)?;
        let loss = cross_entropy_keeping(&x, &labels, &SoftmaxXent::<f32>::new(), keep)?;
        gradients.push((flat(&loss)?, flat(loss.backward()?.get(&x).expect("a gradient"))?));
    }
    assert_eq!(gradients[0], gradients[1]);
    Ok(())
}

/// Without a variable there is no graph, and no gradient is computed or kept.
#[test]
fn without_a_graph_the_loss_alone() -> Result<()> {
    let mut rng = rng(6);
    let logits = uniform(&mut rng, &[9, 5], 3.0, DType::F64)?;
    let labels = integers(&mut rng, &[9], 5, DType::U8)?;
    let loss = cross_entropy(&logits, &labels, &SoftmaxXent::<f64>::new())?;
    assert!(!loss.track_op());
    assert!((loss.to_scalar::<f64>()? - candles(&logits, &labels)?.0).abs() < 1e-13);
    Ok(())
}

/// A class axis of stride 0, as `broadcast_as` makes it, is read where it stands.
#[test]
fn broadcast_logits() -> Result<()> {
    let column = Var::new(&[[1f64], [2.], [3.]], &Device::Cpu)?;
    let logits = column.broadcast_as((3, 4))?;
    let labels = Tensor::new(&[0u32, 3, 1], &Device::Cpu)?;
    let loss = cross_entropy(&logits, &labels, &SoftmaxXent::<f64>::new())?;
    assert!((loss.to_scalar::<f64>()? - 4f64.ln()).abs() < 1e-15);
    let gradients = loss.backward()?;
    assert!(flat(gradients.get(&column).expect("a gradient"))?.iter().all(|g| g.abs() < 1e-15));
    Ok(())
}

#[test]
fn no_rows() -> Result<()> {
    let x = Var::from_tensor(&Tensor::zeros((0, 4), DType::F32, &Device::Cpu)?)?;
    let labels = Tensor::zeros(0, DType::U32, &Device::Cpu)?;
    for reduction in [Reduction::Mean, Reduction::Sum] {
        let loss = cross_entropy(&x, &labels, &SoftmaxXent::<f32>::new().reduction(reduction))?;
        assert_eq!(loss.to_scalar::<f32>()?, 0.0);
        assert_eq!(loss.backward()?.get(&x).expect("a gradient").dims(), [0, 4]);
    }
    let options = SoftmaxXent::<f32>::new().reduction(Reduction::None);
    assert_eq!(cross_entropy(&x, &labels, &options)?.dims(), [0]);
    Ok(())
}

#[test]
fn errors_name_the_culprit() -> Result<()> {
    let cpu = Device::Cpu;
    let logits = Tensor::zeros((3, 4), DType::F32, &cpu)?;
    let labels = |all: &[i64]| Tensor::new(all, &cpu);
    let plain = SoftmaxXent::<f32>::new;
    let message = |logits: &Tensor, labels: &Tensor, options: &SoftmaxXent<f32>| {
        cross_entropy(logits, labels, options).expect_err("an error").to_string()
    };
    let good = labels(&[0, 1, 2])?;
    for (got, named) in [
        (message(&logits.to_dtype(DType::F64)?, &good, &plain()), "f32, not f64"),
        (message(&logits.to_dtype(DType::BF16)?, &good, &plain()), "f32, not bf16"),
        (message(&logits, &good.to_dtype(DType::F32)?, &plain()), "u8, u32, i16, i32 or i64, not f32"),
        (message(&logits, &labels(&[0, 9, -1])?, &plain()), "9"),
        (message(&logits, &labels(&[0, 1, -1])?, &plain()), "-1"),
        (message(&logits, &labels(&[0, 1])?, &plain()), "[3]"),
        (message(&logits, &good, &plain().class_axis(2)), "axis 2"),
        (message(&logits, &good, &plain().label_smoothing(1.5)), "label_smoothing"),
        (message(&logits, &good, &plain().class_weights(&[1.0])), "class_weights"),
        (message(&logits, &good, &plain().shard(0, 8)), "shard"),
    ] {
        assert!(got.contains(named), "{got:?} does not say {named:?}");
    }
    let tracked = Var::from_tensor(&logits)?;
    assert!(cross_entropy(&tracked, &labels(&[4, 0, 0])?, &plain()).is_err());
    Ok(())
}

/// Logits that a transpose or a slice has made are in the storage that they came from.
#[test]
fn strided_logits_are_in_the_callers_storage() -> Result<()> {
    let mut rng = rng(7);
    let x = uniform(&mut rng, &[40, 30], 5.0, DType::F32)?;
    for stands in [Stands::Transposed, Stands::Sliced, Stands::SlicedTransposed] {
        let view = stand(&x, stands)?;
        assert!(!view.is_contiguous(), "{stands:?}");
        let labels = integers(&mut rng, &[40], 30, DType::U32)?;
        let [a, b] = [&x, &view].map(|x| cross_entropy(x, &labels, &SoftmaxXent::<f32>::new()));
        let [a, b] = [a?.to_scalar::<f32>()?, b?.to_scalar::<f32>()?];
        assert!((a - b).abs() <= 4.0 * f32::EPSILON * a);
    }
    Ok(())
}
