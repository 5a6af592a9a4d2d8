//! Any selection against its definition.

#![no_main]

use arbitrary::Unstructured;
use gradix::{
    AbsGe, AbsGt, Between, Float, Ge, Gt, Le, Lt, Position, Predicate, View, reference::select as plain,
    select,
};
use gradix_fuzz::{assert_same, everywhere, layout, nearly, numbers, shape};
use libfuzzer_sys::fuzz_target;

/// Elements enough for threads to share.
const LONG: usize = 300_000;

/// An output: exactly enough room, more, less or none.
fn room(u: &mut Unstructured, hits: usize, len: usize) -> arbitrary::Result<usize> {
    Ok(match u.int_in_range(0..=4)? {
        0 => hits,
        1 => hits.saturating_sub(1),
        2 => len,
        3 => len + u.int_in_range(0..=20)?,
        _ => u.int_in_range(0..=len)?,
    })
}

fn check<T: Float, I: Position, P: Predicate<T>>(
    u: &mut Unstructured,
    make: impl Fn(T, T) -> P,
) -> arbitrary::Result<()> {
    let shape = if u.ratio(1, 60)? { vec![LONG] } else { shape(u, 4)? };
    let place = layout(u, &shape, true)?;
    let data: Vec<T> = numbers(u, place.len, 1.0)?;
    let x = place.view(&data).unwrap();
    let threshold = |u: &mut Unstructured| -> arbitrary::Result<T> {
        Ok(if u.arbitrary()? && !data.is_empty() {
            *u.choose(&data)?
        } else {
            T::from_f64(f64::from(u.arbitrary::<i8>()?) / 32.0)
        })
    };
    let predicate = make(threshold(u)?, threshold(u)?);
    let same_indices = |a: &[I], b: &[I]| assert_eq!(a, b, "the indices");
    let filler = I::default();
    match u.int_in_range(0..=12)? {
        0 => {
            let expected: Vec<I> = plain::indices(x, predicate).unwrap();
            everywhere(u, |_| same_indices(&select::indices::<T, I>(x, predicate).unwrap(), &expected))
        }
        1 => {
            let expected = plain::values(x, predicate).unwrap();
            everywhere(u, |_| assert_same("the values", &select::values(x, predicate).unwrap(), &expected))
        }
        2 => {
            let (indices, values): (Vec<I>, _) = plain::pairs(x, predicate).unwrap();
            everywhere(u, |_| {
                let got: (Vec<I>, _) = select::pairs(x, predicate).unwrap();
                same_indices(&got.0, &indices);
                assert_same("the values", &got.1, &values);
            })
        }
        3 => {
            let expected = plain::count(x, predicate).unwrap();
            everywhere(u, |_| assert_eq!(select::count(x, predicate), Ok(expected)))
        }
        4 => {
            let expected = plain::mask(x, predicate).unwrap();
            let mut out = vec![true; room(u, x.len(), x.len())?];
            let mut expected_out = out.clone();
            let answer = plain::mask_into(x, predicate, &mut expected_out);
            everywhere(u, |_| {
                assert!(select::mask(x, predicate).as_ref() == Ok(&expected));
                out.fill(true);
                assert_eq!(select::mask_into(x, predicate, &mut out), answer);
                assert!(out == expected_out);
            })
        }
        5 => {
            let n = if u.arbitrary()? { u.int_in_range(0..=x.len() + 1)? } else { u.arbitrary()? };
            let expected = plain::top_k_threshold(x, n);
            everywhere(u, |_| match (select::top_k_threshold(x, n), &expected) {
                (Ok(got), Ok(expected)) => assert_same("the threshold", &[got], &[*expected]),
                (got, expected) => assert_eq!(got.as_ref().err(), expected.as_ref().err()),
            })
        }
        6..=8 => {
            let hits = plain::count(x, predicate).unwrap();
            let (rooms, form) = ([room(u, hits, x.len())?, room(u, hits, x.len())?], u.int_in_range(0..=2)?);
            let run = |fast: bool| {
                let (mut a, mut b) = (vec![filler; rooms[0]], vec![T::ONE; rooms[1]]);
                let answer = match (form, fast) {
                    (0, true) => select::indices_into(x, predicate, &mut a),
                    (0, false) => plain::indices_into(x, predicate, &mut a),
                    (1, true) => select::values_into(x, predicate, &mut b),
                    (1, false) => plain::values_into(x, predicate, &mut b),
                    (_, true) => select::pairs_into(x, predicate, &mut a, &mut b),
                    (_, false) => plain::pairs_into(x, predicate, &mut a, &mut b),
                };
                (a, b, answer)
            };
            let expected = run(false);
            everywhere(u, |_| {
                let got = run(true);
                assert_eq!(got.2, expected.2);
                same_indices(&got.0, &expected.0);
                assert_same("the values", &got.1, &expected.1);
            })
        }
        form => {
            let place = layout(u, &shape, false)?;
            let before: Vec<T> = numbers(u, place.len, 1.0)?;
            let grad_shape = nearly(u, shape.clone(), false)?;
            let grad_place = layout(u, &grad_shape, true)?;
            let grad: Vec<T> = numbers(u, grad_place.len, 1.0)?;
            let grad: View<'_, T> = grad_place.view(&grad).unwrap();
            let hits = plain::count(place.view(&before).unwrap(), predicate).unwrap();
            let rooms = [room(u, hits, x.len())?, room(u, hits, x.len())?];
            let run = |fast: bool| {
                let mut residual = before.clone();
                let (mut a, mut b) = (vec![filler; rooms[0]], vec![T::ONE; rooms[1]]);
                let to = place.view_mut(&mut residual).unwrap();
                let answer = match (form, fast) {
                    (9, true) => select::sparsify::<T, I>(to, predicate).map(Some),
                    (9, false) => plain::sparsify::<T, I>(to, predicate).map(Some),
                    (10, true) => select::sparsify_with::<T, I>(grad, to, predicate).map(Some),
                    (10, false) => plain::sparsify_with::<T, I>(grad, to, predicate).map(Some),
                    (11, true) => select::sparsify_into(to, predicate, &mut a, &mut b).map(|_| None),
                    (11, false) => plain::sparsify_into(to, predicate, &mut a, &mut b).map(|_| None),
                    (_, true) => {
                        select::sparsify_with_into(grad, to, predicate, &mut a, &mut b).map(|_| None)
                    }
                    (_, false) => {
                        plain::sparsify_with_into(grad, to, predicate, &mut a, &mut b).map(|_| None)
                    }
                };
                let (answer, error) = match answer {
                    Ok(answer) => (answer, None),
                    Err(error) => (None, Some(error)),
                };
                if let Some((indices, values)) = answer {
                    (a, b) = (indices, values);
                }
                (residual, a, b, error)
            };
            let expected = run(false);
            everywhere(u, |_| {
                let got = run(true);
                assert_eq!(got.3, expected.3);
                assert_same("the residual", &got.0, &expected.0);
                same_indices(&got.1, &expected.1);
                assert_same("the values", &got.2, &expected.2);
            })
        }
    }
}

fn with_predicate<T: Float, I: Position>(u: &mut Unstructured) -> arbitrary::Result<()> {
    match u.int_in_range(0..=6)? {
        0 => check::<T, I, _>(u, |t, _| Gt(t)),
        1 => check::<T, I, _>(u, |t, _| Ge(t)),
        2 => check::<T, I, _>(u, |t, _| Lt(t)),
        3 => check::<T, I, _>(u, |t, _| Le(t)),
        4 => check::<T, I, _>(u, |t, _| AbsGt(t)),
        5 => check::<T, I, _>(u, |t, _| AbsGe(t)),
        _ => check::<T, I, _>(u, |a, b| Between(a, b)),
    }
}

fuzz_target!(|bytes: &[u8]| {
    let u = &mut Unstructured::new(bytes);
    let _ = (|| match u.int_in_range(0..=4)? {
        0 => with_predicate::<f32, u32>(u),
        1 => with_predicate::<f64, u32>(u),
        2 => with_predicate::<f32, u64>(u),
        3 => with_predicate::<f64, usize>(u),
        _ => with_predicate::<f32, i64>(u),
    })();
});
