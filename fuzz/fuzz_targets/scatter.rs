//! Any scatter against its definition.

#![no_main]

use arbitrary::Unstructured;
use gradix::{Float, Index, Indices, Result, View, ViewMut, reference};
use gradix_fuzz::{Call, Form, assert_same, everywhere, numbers, with_types};
use libfuzzer_sys::fuzz_target;

fn call<T: Float, I: Index>(
    &Call { form, axis, .. }: &Call,
    fast: bool,
    dst: ViewMut<'_, T>,
    idx: Indices<'_, I>,
    src: View<'_, T>,
    a: Option<T>,
) -> Result<()> {
    match (form, fast, a) {
        (Form::Flat, true, None) => gradix::scatter_add(dst, idx, src),
        (Form::Flat, false, None) => reference::scatter_add(dst, idx, src),
        (Form::Axis, true, None) => gradix::scatter_add_axis(dst, axis, idx, src),
        (Form::Axis, false, None) => reference::scatter_add_axis(dst, axis, idx, src),
        (Form::Along, true, None) => gradix::scatter_add_along_axis(dst, axis, idx, src),
        (Form::Along, false, None) => reference::scatter_add_along_axis(dst, axis, idx, src),
        (Form::Pick, true, None) => gradix::pick_add(dst, idx, T::from_f64(-1.0)),
        (Form::Pick, false, None) => reference::pick_add(dst, idx, T::from_f64(-1.0)),
        (Form::Flat, true, Some(a)) => gradix::scatter_add_scaled(dst, idx, src, a),
        (Form::Flat, false, Some(a)) => reference::scatter_add_scaled(dst, idx, src, a),
        (Form::Axis, true, Some(a)) => gradix::scatter_add_axis_scaled(dst, axis, idx, src, a),
        (Form::Axis, false, Some(a)) => reference::scatter_add_axis_scaled(dst, axis, idx, src, a),
        (Form::Along, true, Some(a)) => gradix::scatter_add_along_axis_scaled(dst, axis, idx, src, a),
        (Form::Along, false, Some(a)) => reference::scatter_add_along_axis_scaled(dst, axis, idx, src, a),
        (Form::Pick, true, Some(a)) => gradix::pick_add_scaled(dst, idx, src, a),
        (Form::Pick, false, Some(a)) => reference::pick_add_scaled(dst, idx, src, a),
    }
}

fn check<T: Float, I: Index + TryFrom<i64>>(u: &mut Unstructured) -> arbitrary::Result<()> {
    let case = Call::new(u, false)?;
    let a = if u.arbitrary()? { Some(T::from_f64(u.arbitrary::<f32>()?.into())) } else { None };
    let (before, data): (Vec<T>, Vec<T>) =
        (numbers(u, case.table.len, 1.0)?, numbers(u, case.flow.len, 1e3)?);
    let buffer: Vec<I> = case.list.buffer();
    let (src, idx) = (case.flow.view(&data).unwrap(), case.list.indices(&buffer));
    let mut expected = before.clone();
    let answer = call(&case, false, case.table.view_mut(&mut expected).unwrap(), idx, src, a);
    if answer.is_err() {
        assert_same("the destination after an error", &expected, &before);
    }
    everywhere(u, |_| {
        let mut dst = before.clone();
        let got = call(&case, true, case.table.view_mut(&mut dst).unwrap(), idx, src, a);
        assert_eq!(got, answer);
        assert_same("the destination", &dst, &expected);
    })
}

fuzz_target!(|bytes: &[u8]| {
    let u = &mut Unstructured::new(bytes);
    let _ = (|| with_types!(u, check(u)))();
});
