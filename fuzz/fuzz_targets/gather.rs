//! Any gather against its definition.

#![no_main]

use arbitrary::Unstructured;
use gradix::{Float, Index, Indices, Result, View, reference};
use gradix_fuzz::{Call, Op, assert_same, everywhere, numbers, with_types};
use libfuzzer_sys::fuzz_target;

/// The form that allocates.
fn allocate<T: Float, I: Index>(
    &Call { op, axis, .. }: &Call,
    src: View<'_, T>,
    idx: Indices<'_, I, T>,
) -> [Result<Vec<T>>; 2] {
    match op {
        Op::Flat => [gradix::take(src, idx), reference::take(src, idx)],
        Op::Axis => [gradix::take_axis(src, axis, idx), reference::take_axis(src, axis, idx)],
        Op::Along => [gradix::take_along_axis(src, axis, idx), reference::take_along_axis(src, axis, idx)],
        Op::Pick => [gradix::pick(src, idx), reference::pick(src, idx)],
    }
}

fn check<T: Float, I: Index + TryFrom<i64>>(u: &mut Unstructured) -> arbitrary::Result<()> {
    let case = Call::new(u, true)?;
    let data: Vec<T> = numbers(u, case.table.len, 1.0)?;
    let buffer: Vec<I> = case.list.buffer();
    let (src, idx) = (case.table.view(&data).unwrap(), case.list.indices(&buffer, T::from_f64(0.25)));
    let before = vec![T::from_f64(-77.25); case.values.len];
    let mut expected = before.clone();
    let answer = case.op.gather(case.axis, false, src, idx, case.values.view_mut(&mut expected).unwrap());
    if answer.is_err() {
        assert_same("the output after an error", &expected, &before);
    }
    everywhere(u, |_| {
        let mut out = before.clone();
        let got = case.op.gather(case.axis, true, src, idx, case.values.view_mut(&mut out).unwrap());
        assert_eq!(got, answer);
        assert_same("the output", &out, &expected);
        match allocate(&case, src, idx) {
            [Ok(got), Ok(expected)] => assert_same("the vector", &got, &expected),
            [got, expected] => assert_eq!(got.err(), expected.err()),
        }
    })
}

fuzz_target!(|bytes: &[u8]| {
    let u = &mut Unstructured::new(bytes);
    let _ = (|| with_types!(u, check(u)))();
});
