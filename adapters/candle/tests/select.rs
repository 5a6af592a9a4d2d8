//! Selections, their gradients and sparse steps equal candle's own.

mod common;

use candle_core::{DType, Device, Result, Tensor, Var};
use common::{ALL, flat, integers, rng, stand, uniform};
use gradix_candle::{embedding, gather, index_select, sgd_step_rows};
use rand::RngExt;

const IDS: [DType; 5] = [DType::U8, DType::U32, DType::I16, DType::I32, DType::I64];

/// The sum of `y` weighted by `weights`, and the gradient of `x` from it.
fn gradient(y: &Tensor, weights: &Tensor, x: &Var) -> Result<Vec<f64>> {
    let gradients = (y * weights)?.sum_all()?.backward()?;
    flat(gradients.get(x).expect("a gradient"))
}

fn near(got: &[f64], expected: &[f64], dtype: DType, case: &str) {
    assert_eq!(got.len(), expected.len(), "{case}");
    let tolerance = if dtype == DType::F32 { 1e-5 } else { 1e-13 };
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= tolerance * (1.0 + expected.abs()), "{case}: {got} {expected}");
    }
}

#[test]
fn index_select_equals_candles() -> Result<()> {
    let mut rng = rng(11);
    for turn in 0..120 {
        let rank = rng.random_range(1..=3);
        let shape: Vec<usize> = (0..rank).map(|_| rng.random_range(1..20)).collect();
        let axis = rng.random_range(0..rank);
        let dtype = [DType::F32, DType::F64][turn % 2];
        let values = uniform(&mut rng, &shape, 4.0, dtype)?;
        let len = rng.random_range(0..40);
        let ids = integers(&mut rng, &[len], shape[axis], IDS[turn % 5])?;
        let x = Var::from_tensor(&values)?;
        let plain = x.index_select(&ids.to_dtype(DType::U32)?, axis)?;
        let weights = uniform(&mut rng, plain.dims(), 1.0, dtype)?;
        let expected = if len > 0 { gradient(&plain, &weights, &x)? } else { vec![0.0; values.elem_count()] };
        for stands in ALL {
            let case = format!("{shape:?}, axis {axis}, {len} ids, {stands:?}");
            let got = index_select(&stand(&x, stands)?, &stand(&ids, stands)?, axis)?;
            assert_eq!((got.dims(), flat(&got)?), (plain.dims(), flat(&plain)?), "{case}");
            // The upstream gradient stands as it likes as well.
            near(&gradient(&got, &stand(&weights, stands)?, &x)?, &expected, dtype, &case);
        }
    }
    Ok(())
}

#[test]
fn gather_equals_candles() -> Result<()> {
    let mut rng = rng(12);
    for turn in 0..120 {
        let rank = rng.random_range(1..=3);
        let shape: Vec<usize> = (0..rank).map(|_| rng.random_range(1..20)).collect();
        let axis = rng.random_range(0..rank);
        let dtype = [DType::F32, DType::F64][turn % 2];
        let x = Var::from_tensor(&uniform(&mut rng, &shape, 4.0, dtype)?)?;
        // On other axes as long as the tensor, or shorter.
        let mut ids_shape: Vec<usize> = shape.iter().map(|&n| rng.random_range(1..=n)).collect();
        if turn % 3 == 0 {
            ids_shape = shape.clone();
        }
        ids_shape[axis] = rng.random_range(1..30);
        let ids = integers(&mut rng, &ids_shape, shape[axis], IDS[turn % 5])?;
        // candle's own gradient takes no shorter axes: one-hot sums instead.
        let plain = x.contiguous()?.gather(&ids.to_dtype(DType::U32)?, axis);
        for stands in ALL {
            let case = format!("{shape:?}, axis {axis}, ids {ids_shape:?}, {stands:?}");
            let got = gather(&stand(&x, stands)?, &stand(&ids, stands)?, axis)?;
            assert_eq!(got.dims(), ids_shape, "{case}");
            let weights = uniform(&mut rng, &ids_shape, 1.0, dtype)?;
            let (values, chosen, w) = (flat(&x)?, flat(&ids)?, flat(&weights)?);
            let mut expected = vec![0.0; values.len()];
            for (k, value) in flat(&got)?.into_iter().enumerate() {
                let (mut rest, mut at, mut stride) = (k, 0, 1);
                for d in (0..rank).rev() {
                    let here = if d == axis { chosen[k] as usize } else { rest % ids_shape[d] };
                    (rest, at, stride) = (rest / ids_shape[d], at + here * stride, stride * shape[d]);
                }
                assert_eq!(value, values[at], "{case}");
                expected[at] += w[k];
            }
            near(&gradient(&got, &stand(&weights, stands)?, &x)?, &expected, dtype, &case);
            if ids_shape.iter().zip(&shape).enumerate().all(|(d, (a, b))| d == axis || a == b) {
                let plain = plain.as_ref().expect("candle's own");
                assert_eq!(flat(&got)?, flat(plain)?, "{case}");
                near(&gradient(plain, &weights, &x)?, &expected, dtype, &case);
            }
        }
    }
    Ok(())
}

#[test]
fn embedding_of_ids_of_any_rank() -> Result<()> {
    let mut rng = rng(13);
    for shape in [&[7][..], &[3, 5], &[2, 3, 4], &[0], &[1, 1]] {
        let x = Var::from_tensor(&uniform(&mut rng, &[11, 6], 1.0, DType::F32)?)?;
        let ids = integers(&mut rng, shape, 11, DType::I64)?;
        let got = embedding(&x, &ids)?;
        assert_eq!(got.dims(), [shape, &[6]].concat());
        let plain = x.index_select(&ids.flatten_all()?, 0)?;
        assert_eq!(flat(&got)?, flat(&plain)?);
        if ids.elem_count() > 0 {
            let weights = uniform(&mut rng, got.dims(), 1.0, DType::F32)?;
            let expected = gradient(&plain, &weights.reshape(plain.shape())?, &x)?;
            near(&gradient(&got, &weights, &x)?, &expected, DType::F32, "an embedding");
        }
    }
    Ok(())
}

#[test]
fn integers_are_selected_too() -> Result<()> {
    let mut rng = rng(14);
    for dtype in [DType::U8, DType::U32, DType::I16, DType::I32, DType::I64] {
        let x = integers(&mut rng, &[9, 4], 100, dtype)?;
        let ids = Tensor::new(&[8u32, 0, 3], &Device::Cpu)?;
        let got = index_select(&x, &ids, 0)?;
        assert_eq!(got.dtype(), dtype);
        assert_eq!(flat(&got)?, flat(&x.to_dtype(DType::F64)?.index_select(&ids, 0)?)?);
    }
    Ok(())
}

#[test]
fn sparse_steps_equal_dense_ones() -> Result<()> {
    let mut rng = rng(15);
    for turn in 0..60 {
        let (rows, columns, len) =
            (rng.random_range(1..50), rng.random_range(1..40), rng.random_range(0..80));
        let dtype = [DType::F32, DType::F64][turn % 2];
        let values = uniform(&mut rng, &[rows, columns], 2.0, dtype)?;
        let ids = integers(&mut rng, &[len], rows, IDS[turn % 5])?;
        let gradient = uniform(&mut rng, &[len, columns], 1.0, dtype)?;
        let step = (&gradient * -0.25)?;
        let expected = values.index_add(&ids.to_dtype(DType::U32)?, &step, 0)?;
        for stands in ALL {
            let table = Var::from_tensor(&values.copy()?)?;
            sgd_step_rows(&table, &stand(&ids, stands)?, &stand(&gradient, stands)?, 0.25)?;
            near(&flat(&table)?, &flat(&expected)?, dtype, &format!("{rows} x {columns}, {len} ids"));
        }
    }
    Ok(())
}

#[test]
fn errors_name_the_culprit_and_write_nothing() -> Result<()> {
    let cpu = Device::Cpu;
    let x = Tensor::new(&[[1f32, 2.], [3., 4.], [5., 6.]], &cpu)?;
    let ids = Tensor::new(&[0i64, 7], &cpu)?;
    let says = |result: Result<Tensor>, named: &str| {
        let got = result.expect_err("an error").to_string();
        assert!(got.contains(named), "{got:?} does not say {named:?}");
    };
    says(index_select(&x, &ids, 0), "index 7 at position 1");
    says(index_select(&x, &Tensor::new(&[u32::MAX], &cpu)?, 0), "4294967295");
    says(index_select(&x.to_dtype(DType::F16)?, &ids, 0), "not f16");
    says(index_select(&x, &x, 0), "not f32");
    says(gather(&x, &ids, 1), "do not fit");
    says(gather(&x, &Tensor::zeros((4, 1), DType::U32, &cpu)?, 1), "do not fit");
    says(embedding(&x.flatten_all()?, &ids), "2 axes");
    assert!(index_select(&x, &ids, 2).is_err());

    let table = Var::from_tensor(&x)?;
    let gradient = Tensor::ones((2, 2), DType::F32, &cpu)?;
    let before = flat(&table)?;
    for (ids, gradient) in [
        (ids.clone(), gradient.clone()),
        (ids.narrow(0, 0, 1)?, gradient.clone()),
        (Tensor::new(&[0u8, 1], &cpu)?, gradient.to_dtype(DType::F64)?),
    ] {
        assert!(sgd_step_rows(&table, &ids, &gradient, 1.0).is_err());
        assert_eq!(flat(&table)?, before);
    }
    Ok(())
}
