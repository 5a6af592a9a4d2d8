//! Selections, their gradients and sparse steps equal burn's own.

mod common;

use burn::module::Param;
use burn::tensor::{Bool, DType, IndexingUpdateOp, Int, Tensor, TensorData, module};
use common::{ALL, INTEGERS, flat, integers, place, rng, stand, tracking, uniform};
use gradix_burn::{Error, Result, embedding, select, sgd_step_rows};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The gradient of `x` from the sum of `y` weighted by `weights`.
fn gradient<const D: usize, const E: usize>(y: Tensor<E>, weights: Tensor<E>, x: &Tensor<D>) -> Vec<f64> {
    flat(&x.grad(&(y * weights).sum().backward()).expect("a gradient"))
}

fn near(got: &[f64], expected: &[f64], dtype: DType, case: &str) {
    assert_eq!(got.len(), expected.len(), "{case}");
    let tolerance = if dtype == DType::F32 { 1e-5 } else { 1e-13 };
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= tolerance * (1.0 + expected.abs()), "{case}: {got} {expected}");
    }
}

fn select_equals_burns<const D: usize>(rng: &mut ChaCha8Rng, turn: usize) -> Result<()> {
    let shape: [usize; D] = std::array::from_fn(|_| rng.random_range(1..20));
    let axis = rng.random_range(0..D);
    let dtype = [DType::F32, DType::F64][turn % 2];
    let values = uniform(rng, shape, 4.0, dtype);
    let len = rng.random_range(1..40);
    let ids = integers(rng, [len], shape[axis], INTEGERS[turn % 8]);
    let x = values.clone().require_grad();
    let plain = x.clone().select(axis, ids.clone());
    let weights = uniform(rng, plain.dims(), 1.0, dtype);
    let (wanted, shape_wanted) = (flat(&plain), plain.dims());
    let expected = gradient(plain, weights.clone(), &x);
    for stands in ALL {
        let case = format!("{shape:?}, axis {axis}, {len} ids, {stands:?}");
        let x = values.clone().require_grad();
        let got = select(stand(x.clone(), stands), axis, stand(ids.clone(), stands))?;
        assert_eq!((got.dims(), flat(&got)), (shape_wanted, wanted.clone()), "{case}");
        // The upstream gradient is that of a product: it stands as the weights do.
        near(&gradient(got, stand(weights.clone(), stands), &x), &expected, dtype, &case);
        // From the end, and without a graph.
        let back = axis as isize - D as isize;
        let got = select(stand(values.clone().inner(), stands), back, ids.clone())?;
        assert!(!got.is_tracked() && !got.is_autodiff());
        assert_eq!(flat(&got), wanted, "{case}");
    }
    Ok(())
}

#[test]
fn select_equals_burns_own() -> Result<()> {
    let mut rng = rng(11);
    for turn in 0..60 {
        select_equals_burns::<1>(&mut rng, turn)?;
        select_equals_burns::<2>(&mut rng, turn)?;
        select_equals_burns::<3>(&mut rng, turn)?;
    }
    Ok(())
}

/// Upstream gradients that are transposed or expanded, as `sum` and `transpose` make them.
#[test]
fn upstream_gradients_stand_as_they_like() -> Result<()> {
    let mut rng = rng(12);
    let values = uniform(&mut rng, [7, 5], 4.0, DType::F64);
    let ids = integers(&mut rng, [9], 7, DType::I64);
    let weights = uniform(&mut rng, [5, 9], 1.0, DType::F64);
    let [plain, ours] = [(); 2].map(|()| values.clone().require_grad());
    let expected = plain.clone().select(0, ids.clone());
    let got = select(ours.clone(), 0, ids.clone())?;
    near(
        &gradient(got.transpose(), weights.clone(), &ours),
        &gradient(expected.transpose(), weights, &plain),
        DType::F64,
        "transposed",
    );
    let got = select(ours.clone(), 0, ids.clone())?.sum();
    let expected = plain.clone().select(0, ids).sum();
    assert_eq!(
        flat(&ours.grad(&got.backward()).expect("a gradient")),
        flat(&plain.grad(&expected.backward()).expect("a gradient"))
    );
    Ok(())
}

#[test]
fn embedding_equals_burns_own() -> Result<()> {
    let mut rng = rng(13);
    for turn in 0..40 {
        let (rows, width) = (rng.random_range(1..60), rng.random_range(1..40));
        let dtype = [DType::F32, DType::F64][turn % 2];
        let values = uniform(&mut rng, [rows, width], 1.0, dtype);
        let shape = [rng.random_range(1..7), rng.random_range(1..9)];
        let ids = integers(&mut rng, shape, rows, INTEGERS[turn % 8]);
        let x = values.clone().require_grad();
        let plain = module::embedding(x.clone(), ids.clone());
        let weights = uniform(&mut rng, plain.dims(), 1.0, dtype);
        let (wanted, expected) = (flat(&plain), gradient(plain, weights.clone(), &x));
        for stands in ALL {
            let x = values.clone().require_grad();
            let got = embedding(stand(x.clone(), stands), stand(ids.clone(), stands))?;
            assert_eq!((got.dims(), flat(&got)), ([shape[0], shape[1], width], wanted.clone()));
            near(&gradient(got, weights.clone(), &x), &expected, dtype, "an embedding");
        }
    }
    Ok(())
}

#[test]
fn integers_and_bools_are_selected_too() -> Result<()> {
    let mut rng = rng(14);
    let ids = Tensor::<1, Int>::from_data([8, 0, -6], &tracking());
    let same = Tensor::<1, Int>::from_data([8, 0, 3], &tracking());
    for dtype in INTEGERS {
        let x = integers(&mut rng, [9, 4], 100, dtype);
        let got = select(x.clone(), 0, ids.clone())?;
        assert_eq!(got.dtype(), dtype);
        assert_eq!(flat(&got), flat(&x.select(0, same.clone())));
    }
    let x: Tensor<2, Bool> = integers(&mut rng, [9, 4], 2, DType::I64).equal_scalar(1);
    let got = select(x.clone(), 0, ids)?;
    assert_eq!(flat(&got.int()), flat(&x.int().select(0, same)));
    Ok(())
}

#[test]
fn no_indices() -> Result<()> {
    let x = Tensor::<2>::ones([3, 2], &tracking()).require_grad();
    let rows = select(x.clone(), 0, Tensor::<1, Int>::zeros([0], &tracking()))?;
    assert_eq!(rows.dims(), [0, 2]);
    assert_eq!(gradient(rows, Tensor::ones([0, 2], &tracking()), &x), [0.0; 6]);
    Ok(())
}

#[test]
fn sparse_steps_equal_dense_ones() -> Result<()> {
    let mut rng = rng(15);
    for turn in 0..60 {
        let (rows, columns, len) =
            (rng.random_range(1..50), rng.random_range(1..40), rng.random_range(1..80));
        let dtype = [DType::F32, DType::F64][turn % 2];
        let values = uniform(&mut rng, [rows, columns], 2.0, dtype);
        let ids = integers(&mut rng, [len], rows, INTEGERS[turn % 8]);
        let gradient = uniform(&mut rng, [len, columns], 1.0, dtype);
        let step = gradient.clone().mul_scalar(-0.25);
        let expected = flat(&values.clone().select_assign(0, ids.clone(), step, IndexingUpdateOp::Add));
        for stands in ALL {
            let case = format!("{rows} x {columns}, {len} ids, {stands:?}");
            // Without autodiff, with it, and as a leaf; the last two share the table with another tensor.
            let copy = || stand(values.clone().inner().add_scalar(0.0), stands);
            let mut tables = [copy(), copy().autodiff(), copy().autodiff().require_grad()];
            for table in &mut tables {
                let is_leaf = table.is_require_grad();
                let shared = is_leaf.then(|| table.clone());
                let ids = stand(ids.clone(), stands);
                sgd_step_rows(table, ids, stand(gradient.clone(), stands), 0.25)?;
                near(&flat(table), &expected, dtype, &case);
                assert_eq!(table.is_require_grad(), is_leaf);
                if let Some(shared) = shared {
                    assert_eq!(flat(&shared), flat(&values), "{case}: a shared table has changed");
                }
            }
        }
    }
    Ok(())
}

/// A table that nobody shares stays where it is, a module's parameter, too.
#[test]
fn tables_are_stepped_where_they_stand() -> Result<()> {
    let ids = Tensor::<1, Int>::from_data([1, 1], &tracking());
    let gradient = Tensor::<2>::ones([2, 4], &tracking());
    let table = Tensor::<2>::zeros([3, 4], &tracking()).require_grad();
    let mut table = table.add_scalar(1.0).detach().set_require_grad(false).require_grad();
    let stood = place(&table.clone().inner()).1;
    sgd_step_rows(&mut table, ids.clone(), gradient.clone(), 0.5)?;
    assert_eq!(place(&table.clone().inner()).1, stood);
    let parameter = Param::from_tensor(table);
    let mut result = Ok(());
    let parameter = parameter.map(|mut table| {
        result = sgd_step_rows(&mut table, ids.clone(), gradient.clone(), 0.5);
        table
    });
    result?;
    assert_eq!(place(&parameter.val().inner()).1, stood);
    assert!(parameter.val().is_require_grad());
    assert_eq!(flat(&parameter.val()), [1., 1., 1., 1., -1., -1., -1., -1., 1., 1., 1., 1.]);
    Ok(())
}

#[test]
fn errors_name_the_culprit_and_write_nothing() {
    let values = TensorData::from([[1f32, 2.], [3., 4.], [5., 6.]]);
    let x = Tensor::<2>::from_data(values, &tracking()).require_grad();
    let ids = |all: [i64; 2]| Tensor::<1, Int>::from_data(all, &tracking());
    let says = |result: Result<Tensor<2>>, named: &str| {
        let got = result.expect_err("an error").to_string();
        assert!(got.contains(named), "{got:?} does not say {named:?}");
    };
    says(select(x.clone(), 0, ids([0, 7])), "index 7 at position 1");
    says(select(x.clone(), 0, ids([-4, 7])), "index -4 at position 0");
    says(select(x.clone().cast(DType::F16), 0, ids([0, 1])), "not F16");
    says(select(x.clone(), 2, ids([0, 1])), "axis 2");
    says(select(x.clone(), -3, ids([0, 1])), "axis -3");
    assert!(embedding(x.clone(), ids([0, 3]).unsqueeze()).is_err());

    let mut table = x.clone();
    let before = flat(&table);
    let gradient = Tensor::<2>::ones([2, 2], &tracking());
    for (ids, gradient) in [
        (ids([0, 7]), gradient.clone()),
        (ids([0, 1]).narrow(0, 0, 1), gradient.clone()),
        (ids([0, 1]), gradient.clone().cast(DType::F64)),
    ] {
        assert!(sgd_step_rows(&mut table, ids, gradient, 1.0).is_err());
        assert_eq!(flat(&table), before);
        assert!(table.is_require_grad());
    }
    let mut result = x.mul_scalar(2.0);
    let error = sgd_step_rows(&mut result, ids([0, 1]), gradient, 1.0).expect_err("an error");
    assert_eq!(error, Error::NotALeaf { what: "the table" });
    assert!(result.is_tracked());
}
