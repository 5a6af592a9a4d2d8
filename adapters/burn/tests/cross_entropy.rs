//! Losses and gradients equal burn's own, and those of gradix called directly, however the tensors stand.

mod common;

use burn::backend::Flex;
use burn::nn::LinearConfig;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::activation::log_softmax;
use burn::tensor::{DType, Element, GradientCheckpointingStrategy, Int, Tensor, TensorData};
use bytemuck::Pod;
use common::{ALL, INTEGERS, Stands, flat, integers, place, rng, stand, tracking, uniform};
use gradix::{Float, View, ViewMut};
use gradix_burn::{Reduction, Result, SoftmaxXent, cross_entropy};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Numbers that tests make and compare.
trait Number: Float + Element + Pod {
    fn of(x: f64) -> Self;
}

impl Number for f32 {
    fn of(x: f64) -> f32 {
        x as f32
    }
}

impl Number for f64 {
    fn of(x: f64) -> f64 {
        x
    }
}

fn gradient<const D: usize>(loss: &Tensor<1>, x: &Tensor<D>) -> Vec<f64> {
    flat(&x.grad(&loss.backward()).expect("a gradient"))
}

/// The gradient within the stated bound of one in `f64`, for `f32`; as near as the other's rounding allows, for `f64`.
fn near(got: &[f64], expected: &[f64], dtype: DType, case: &str) {
    assert_eq!(got.len(), expected.len(), "{case}");
    for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let bound = if dtype == DType::F32 {
            (5.0 + 12.0) * f64::from(f32::EPSILON) * expected.abs() + 1e-15
        } else {
            1e-14
        };
        assert!((got - expected).abs() <= bound, "{case} at {i}: {got} {expected}");
    }
}

fn near_loss(got: f64, expected: f64, dtype: DType, case: &str) {
    let tolerance = if dtype == DType::F32 { 20.0 * f64::from(f32::EPSILON) } else { 1e-13 };
    assert!((got - expected).abs() <= tolerance * (1.0 + expected), "{case}: {got} {expected}");
}

fn any<T: Copy>(rng: &mut ChaCha8Rng, of: &[T]) -> T {
    of[rng.random_range(0..of.len())]
}

/// Sweeps shapes, layouts, label types, and whether the logits are kept or given away.
fn equals_burns<T: Number>(seed: u64) -> Result<()> {
    let mut rng = rng(seed);
    let criterion = CrossEntropyLossConfig::new().init(&tracking());
    for turn in 0..150 {
        let rows = rng.random_range(1..70);
        let classes = rng.random_range(1..if turn % 5 == 0 { 1200 } else { 70 });
        let values = uniform(&mut rng, [rows, classes], 6.0, T::dtype());
        let labels_dtype = any(&mut rng, &INTEGERS);
        let labels = integers(&mut rng, [rows], classes.min(127), labels_dtype);

        let x = values.clone().cast(DType::F64).require_grad();
        let loss = criterion.forward(x.clone(), labels.clone());
        let (loss64, expected) = (flat(&loss)[0], gradient(&loss, &x));

        let (stands, labels_stand) = (ALL[turn % ALL.len()], any(&mut rng, &ALL));
        for (is_kept, factor) in [(true, 1.0), (true, 0.75), (false, 1.0), (false, 0.75)] {
            let case = format!("{rows} x {classes}, {stands:?}, {labels_dtype:?}, {is_kept}, {factor}");
            let x = values.clone().require_grad();
            let logits = stand(x.clone().add_scalar(0.0), stands);
            let kept = is_kept.then(|| logits.clone());
            let labels = stand(labels.clone(), labels_stand);
            let loss = cross_entropy(logits, labels, &SoftmaxXent::<T>::new())?;
            assert_eq!((loss.dims(), loss.dtype()), ([1], T::dtype()));
            near_loss(flat(&loss)[0], loss64, T::dtype(), &case);
            let loss = if factor == 1.0 { loss } else { loss.mul_scalar(factor) };
            let expected: Vec<f64> = expected.iter().map(|x| x * factor).collect();
            near(&gradient(&loss, &x), &expected, T::dtype(), &case);
            if let Some(kept) = kept {
                assert_eq!(flat(&kept), flat(&values), "{case}: the logits have changed");
            }
        }
    }
    Ok(())
}

#[test]
fn f32_equals_burns_own_within_the_bound() -> Result<()> {
    equals_burns::<f32>(1)
}

#[test]
fn f64_equals_burns_own() -> Result<()> {
    equals_burns::<f64>(2)
}

/// Ignored labels and smoothing, against burn's padding and the formula in burn's operations.
#[test]
fn options_equal_burns_own() -> Result<()> {
    let mut rng = rng(3);
    for turn in 0..60 {
        let (rows, classes) = (rng.random_range(2..40), rng.random_range(2..90));
        let values = uniform(&mut rng, [rows, classes], 5.0, DType::F64);
        let labels = integers(&mut rng, [rows], classes, DType::I64);
        let x = values.clone().require_grad();
        let case = format!("{rows} x {classes}, {turn}");
        let (expected, options) = if turn % 2 == 0 {
            let ignored = flat(&labels)[0] as i64;
            let criterion =
                CrossEntropyLossConfig::new().with_pad_tokens(Some(vec![ignored as usize])).init(&tracking());
            if flat(&labels).iter().all(|&label| label as i64 == ignored) {
                continue; // where no row counts, burn has NaN
            }
            (criterion.forward(x.clone(), labels.clone()), SoftmaxXent::<f64>::new().ignore_index(ignored))
        } else {
            let logs = log_softmax(x.clone(), 1);
            let targets = logs.clone().gather(1, labels.clone().unsqueeze_dim(1));
            let loss = targets.mean().mul_scalar(-0.875) + logs.mean().mul_scalar(-0.125);
            (loss, SoftmaxXent::<f64>::new().label_smoothing(0.125))
        };
        let (loss64, wanted) = (flat(&expected)[0], gradient(&expected, &x));
        let x = values.require_grad();
        let loss = cross_entropy(stand(x.clone(), ALL[turn % ALL.len()]), labels, &options)?;
        near_loss(flat(&loss)[0], loss64, DType::F64, &case);
        near(&gradient(&loss, &x), &wanted, DType::F64, &case);
    }
    Ok(())
}

/// Options, at random, give the numbers of the same options called without burn.
fn passes_options_on<T: Number, const D: usize, const R: usize>(rng: &mut ChaCha8Rng) -> Result<()> {
    let shape: [usize; D] = std::array::from_fn(|_| rng.random_range(1..9));
    let axis = rng.random_range(0..D);
    let classes = shape[axis];
    // The labels' shape is that of the logits without the class axis.
    let rest: Vec<usize> = (0..D).filter(|&d| d != axis).map(|d| shape[d]).collect();
    let rows: usize = rest.iter().product();
    let rows_shape: [usize; R] = if D == 1 { [1; R] } else { rest.try_into().expect("one axis less") };

    let mut options = SoftmaxXent::<T>::new().class_axis(axis as isize);
    let chosen: [bool; 7] = std::array::from_fn(|_| rng.random_bool(0.4));
    let mut weights = |len| (0..len).map(|_| T::of(rng.random_range(0.5..2.0))).collect::<Vec<T>>();
    if chosen[0] {
        options = options.ignore_index(1u8);
    }
    if chosen[1] {
        options = options.class_weights(&weights(classes));
    }
    if chosen[2] {
        options = options.row_weights(&weights(rows));
    }
    if chosen[3] {
        options = options.label_smoothing(T::of(0.125));
    }
    if chosen[4] {
        options = options.z_loss(T::of(0.01));
    }
    if chosen[5] {
        options = options.softcap(T::of(5.0));
    }
    let reduction = any(rng, &[Reduction::Mean, Reduction::Sum, Reduction::None]);
    options = options.reduction(reduction);
    if chosen[6] && reduction == Reduction::Mean {
        options = options.normalizer(T::of(7.5));
    }

    let logits = uniform(rng, shape, 8.0, T::dtype());
    let labels = integers(rng, rows_shape, classes, DType::I64);
    let data = logits.to_data().try_to_vec::<T>().expect("the logits");
    let label_data: Vec<i64> = flat(&labels).into_iter().map(|x| x as i64).collect();
    let view = View::new(&data, &shape)?;
    let expected_rows = options.forward(view, &label_data)?;
    let upstream = uniform(rng, [if reduction == Reduction::None { rows } else { 1 }], 2.0, T::dtype());
    let upstream_data = upstream.to_data().try_to_vec::<T>().expect("the upstream gradient");
    let upstream_shape: &[usize] = if reduction == Reduction::None { &[rows] } else { &[] };
    let mut expected = vec![T::of(0.0); data.len()];
    options.backward(
        view,
        &label_data,
        View::new(&upstream_data, upstream_shape)?,
        ViewMut::new(&mut expected, &shape)?,
    )?;

    for (stands, is_kept) in ALL.into_iter().flat_map(|stands| [(stands, true), (stands, false)]) {
        let x = logits.clone().require_grad();
        let standing = stand(x.clone().add_scalar(0.0), stands);
        let kept = is_kept.then(|| standing.clone());
        let loss = cross_entropy(standing, stand(labels.clone(), stands), &options)?;
        drop(kept);
        let case = format!("{shape:?}, {stands:?}, {options:?}");
        let tolerance = if T::dtype() == DType::F32 { 1e-5 } else { 1e-13 };
        if reduction == Reduction::None {
            let expected: Vec<f64> = expected_rows.losses.iter().map(|x| x.to_f64()).collect();
            assert_eq!(flat(&loss), expected, "{case}");
        } else {
            let expected = expected_rows.loss.value.to_f64();
            assert_eq!(loss.dims(), [1]);
            assert!((flat(&loss)[0] - expected).abs() <= tolerance * expected.abs(), "{case}");
        }
        let got = gradient(&(loss * upstream.clone()).sum(), &x);
        for (got, expected) in got.into_iter().zip(&expected) {
            let expected = expected.to_f64();
            // One rounding more where the upstream gradient multiplies a gradient that is there already; of what
            // smoothing takes away, where that leaves next to nothing.
            let bound = tolerance * (expected.abs() + 0.01);
            assert!((got - expected).abs() <= bound, "{case}: {got} {expected}");
        }
    }
    Ok(())
}

#[test]
fn all_options_pass() -> Result<()> {
    let mut rng = rng(4);
    for _ in 0..40 {
        passes_options_on::<f32, 1, 1>(&mut rng)?;
        passes_options_on::<f64, 2, 1>(&mut rng)?;
        passes_options_on::<f32, 2, 1>(&mut rng)?;
        passes_options_on::<f64, 3, 2>(&mut rng)?;
        passes_options_on::<f32, 3, 2>(&mut rng)?;
        passes_options_on::<f64, 4, 3>(&mut rng)?;
    }
    Ok(())
}

/// Logits that nobody else holds become the gradient, which burn takes as it is; others stay as they are.
#[test]
fn given_away_logits_become_the_gradient() -> Result<()> {
    let mut rng = rng(5);
    let values = uniform(&mut rng, [37, 131], 30.0, DType::F32);
    let labels = integers(&mut rng, [37], 131, DType::I32);
    let options = SoftmaxXent::<f32>::new();
    let mut found = Vec::new();
    for is_kept in [false, true] {
        let x = values.clone().require_grad();
        let logits = x.clone().add_scalar(0.0); // passes its gradient on as it is
        let stood = place(&logits.clone().inner()).1;
        let kept = is_kept.then(|| logits.clone());
        let loss = cross_entropy(logits, labels.clone(), &options)?;
        let gradient = x.grad(&loss.backward()).expect("a gradient");
        assert_eq!(place(&gradient).1 == stood, !is_kept);
        drop(kept);
        found.push((flat(&loss), flat(&gradient)));
    }
    assert_eq!(found[0], found[1]);
    Ok(())
}

/// So do those that a layer has returned.
#[test]
fn nobody_else_holds_what_a_layer_returns() {
    let layer = LinearConfig::new(3, 4).init(&tracking());
    let logits = layer.forward(uniform(&mut rng(11), [5, 3], 1.0, DType::F32));
    assert!(logits.is_tracked());
    let logits = logits.inner().try_into_primitive::<Flex>().expect("a tensor of Flex");
    assert!(logits.is_unique() && logits.is_contiguous());
}

/// The backward pass of an exponential needs its values, which the loss has been given.
#[test]
fn logits_that_the_graph_needs_stay() -> Result<()> {
    let mut rng = rng(10);
    let values = uniform(&mut rng, [12, 7], 2.0, DType::F64);
    let labels = integers(&mut rng, [12], 7, DType::I64);
    let [ours, burns] = [(); 2].map(|()| values.clone().require_grad());
    let loss = cross_entropy(ours.clone().exp(), labels.clone(), &SoftmaxXent::<f64>::new())?;
    let expected = CrossEntropyLossConfig::new().init(&tracking()).forward(burns.clone().exp(), labels);
    near(&gradient(&loss, &ours), &gradient(&expected, &burns), DType::F64, "exp");
    Ok(())
}

#[test]
fn gradients_add_up_where_logits_are_used_twice() -> Result<()> {
    let mut rng = rng(6);
    let values = uniform(&mut rng, [9, 5], 3.0, DType::F64);
    let labels = integers(&mut rng, [9], 5, DType::I64);
    let options = SoftmaxXent::<f64>::new();
    let x = values.clone().require_grad();
    let once = gradient(&cross_entropy(x.clone(), labels.clone(), &options)?, &x);
    let x = values.require_grad();
    let loss = cross_entropy(x.clone(), labels.clone(), &options)?;
    let both = loss + cross_entropy(x.clone(), labels, &options)?;
    for (twice, once) in gradient(&both, &x).iter().zip(once) {
        assert_eq!(*twice, 2.0 * once);
    }
    Ok(())
}

/// Without a leaf that wants gradients no graph grows, with autodiff or without it.
#[test]
fn without_a_graph_the_loss_alone() -> Result<()> {
    let mut rng = rng(7);
    let logits = uniform(&mut rng, [9, 5], 3.0, DType::F64);
    let labels = integers(&mut rng, [9], 5, DType::U8);
    let expected =
        flat(&CrossEntropyLossConfig::new().init(&tracking()).forward(logits.clone(), labels.clone()));
    for logits in [logits.clone(), logits.inner()] {
        for labels in [labels.clone(), labels.clone().inner()] {
            let loss = cross_entropy(logits.clone(), labels, &SoftmaxXent::<f64>::new())?;
            assert!(!loss.is_tracked());
            assert_eq!(loss.device(), logits.device());
            near_loss(flat(&loss)[0], expected[0], DType::F64, "no graph");
        }
    }
    Ok(())
}

/// Operations that burn computes again in the backward pass, before and behind the loss.
#[test]
fn with_checkpointing() -> Result<()> {
    let mut rng = rng(8);
    let values = uniform(&mut rng, [6, 11], 2.0, DType::F64);
    let labels = integers(&mut rng, [6], 11, DType::I64);
    let mut found = Vec::new();
    for strategy in [GradientCheckpointingStrategy::Disabled, GradientCheckpointingStrategy::Balanced] {
        let x =
            values.clone().inner().autodiff().with_gradient_checkpointing_strategy(strategy).require_grad();
        let labels = labels.clone().inner();
        let logits = x.clone().exp().mul_scalar(0.5).sin();
        let loss = cross_entropy(logits, labels, &SoftmaxXent::<f64>::new())?.exp().mul_scalar(2.0);
        found.push((flat(&loss), gradient(&loss, &x)));
    }
    assert_eq!(found[0], found[1]);
    Ok(())
}

/// A class axis of stride 0, as `expand` makes it, is read where it stands.
#[test]
fn expanded_logits() -> Result<()> {
    let column = Tensor::<2>::from_data(TensorData::from([[1f64], [2.], [3.]]), (&tracking(), DType::F64));
    let column = column.require_grad();
    let labels = Tensor::<1, Int>::from_data([0, 3, 1], &tracking());
    let loss = cross_entropy(column.clone().expand([3, 4]), labels, &SoftmaxXent::<f64>::new())?;
    assert!((flat(&loss)[0] - 4f64.ln()).abs() < 1e-15);
    assert!(gradient(&loss, &column).iter().all(|g| g.abs() < 1e-15));
    Ok(())
}

#[test]
fn no_rows() -> Result<()> {
    let labels = Tensor::<1, Int>::zeros([0], &tracking());
    for reduction in [Reduction::Mean, Reduction::Sum, Reduction::None] {
        let x = Tensor::<2>::zeros([0, 4], &tracking()).require_grad();
        let options = SoftmaxXent::<f32>::new().reduction(reduction);
        let loss = cross_entropy(x.clone(), labels.clone(), &options)?;
        if reduction == Reduction::None {
            assert_eq!(loss.dims(), [0]);
        } else {
            assert_eq!(flat(&loss), [0.0]);
            assert_eq!(x.grad(&loss.backward()).expect("a gradient").dims(), [0, 4]);
        }
    }
    Ok(())
}

#[test]
fn errors_name_the_culprit() {
    let logits = Tensor::<2>::zeros([3, 4], (&tracking(), DType::F32));
    let labels =
        |all: &[i64]| Tensor::<1, Int>::from_data(TensorData::new(all.to_vec(), [all.len()]), &tracking());
    let plain = SoftmaxXent::<f32>::new;
    let good = labels(&[0, 1, 2]);
    for (got, labels, options, named) in [
        (logits.clone().cast(DType::F64), good.clone(), plain(), "must be of f32, not F64"),
        (logits.clone().cast(DType::BF16), good.clone(), plain(), "must be of f32, not BF16"),
        (logits.clone(), labels(&[0, 9, -1]), plain(), "label 9"),
        (logits.clone(), labels(&[0, 1, -1]), plain(), "label -1"),
        (logits.clone(), labels(&[0, 1]), plain(), "[3]"),
        (logits.clone(), good.clone(), plain().class_axis(2), "axis 2"),
        (logits.clone(), good.clone(), plain().label_smoothing(1.5), "label_smoothing"),
        (logits.clone(), good.clone(), plain().class_weights(&[1.0]), "class_weights"),
        (logits.clone(), good.clone(), plain().shard(0, 8), "shard"),
    ] {
        for logits in [got.clone().inner(), got.clone(), got.clone().require_grad()] {
            for options in [options.clone(), options.clone().reduction(Reduction::None)] {
                let error = cross_entropy(logits.clone(), labels.clone(), &options).expect_err("an error");
                assert!(error.to_string().contains(named), "{error} does not say {named:?}");
            }
        }
    }
}

/// Logits that a transpose, a slice or a flip has made are in the storage that they came from.
#[test]
fn strided_logits_stand_as_they_are() {
    let x = uniform(&mut rng(9), [40, 30], 5.0, DType::F32);
    for stands in ALL {
        let (is_contiguous, _) = place(&stand(x.clone(), stands).inner());
        assert_eq!(is_contiguous, stands == Stands::Contiguous, "{stands:?}");
    }
}
