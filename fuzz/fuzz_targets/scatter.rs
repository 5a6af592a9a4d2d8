//! Any scatter, and any put, against its definition.

#![no_main]

use arbitrary::Unstructured;
use gradix::{Float, Index, ViewMut};
use gradix_fuzz::{Call, assert_same, everywhere, numbers, with_types};
use libfuzzer_sys::fuzz_target;

fn check<T: Float, I: Index + TryFrom<i64>>(u: &mut Unstructured) -> arbitrary::Result<()> {
    let case = Call::new(u, false)?;
    let a = if u.arbitrary()? { Some(T::from_f64(u.arbitrary::<f32>()?.into())) } else { None };
    let (before, data): (Vec<T>, Vec<T>) =
        (numbers(u, case.table.len, 1.0)?, numbers(u, case.values.len, 1e3)?);
    let buffer: Vec<I> = case.list.buffer();
    let (src, idx) = (case.values.view(&data).unwrap(), case.list.indices(&buffer, T::from_f64(0.25)));
    if u.ratio(1, 3)? {
        let (mut expected, value) =
            (before.clone(), if u.arbitrary()? { Some(T::from_f64(0.5)) } else { None });
        let put = |fast, dst: ViewMut<'_, T>| case.op.put(case.axis, fast, dst, idx, src, value);
        let answer = put(false, case.table.view_mut(&mut expected).unwrap());
        return everywhere(u, |_| {
            let mut dst = before.clone();
            assert_eq!(put(true, case.table.view_mut(&mut dst).unwrap()), answer);
            assert_same("the destination", &dst, &expected);
        });
    }
    let mut expected = before.clone();
    let answer = case.op.scatter(case.axis, false, case.table.view_mut(&mut expected).unwrap(), idx, src, a);
    if answer.is_err() {
        assert_same("the destination after an error", &expected, &before);
    }
    everywhere(u, |_| {
        let mut dst = before.clone();
        let got = case.op.scatter(case.axis, true, case.table.view_mut(&mut dst).unwrap(), idx, src, a);
        assert_eq!(got, answer);
        assert_same("the destination", &dst, &expected);
    })
}

fuzz_target!(|bytes: &[u8]| {
    let u = &mut Unstructured::new(bytes);
    let _ = (|| with_types!(u, check(u)))();
});
