//! The four forms of gather and of scatter, fast or by definition: what tests and fuzz targets compare.

use gradix::{Float, Index, Indices, Result, View, ViewMut, reference};

/// Which of the four forms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op {
    Flat,
    Axis,
    Along,
    Pick,
}

impl Op {
    /// The gather of this form, into `out`.
    pub fn gather<T: Float, I: Index>(
        self,
        axis: isize,
        fast: bool,
        src: View<'_, T>,
        idx: Indices<'_, I, T>,
        out: ViewMut<'_, T>,
    ) -> Result<()> {
        match (self, fast) {
            (Op::Flat, true) => gradix::take_into(src, idx, out),
            (Op::Flat, false) => reference::take_into(src, idx, out),
            (Op::Axis, true) => gradix::take_axis_into(src, axis, idx, out),
            (Op::Axis, false) => reference::take_axis_into(src, axis, idx, out),
            (Op::Along, true) => gradix::take_along_axis_into(src, axis, idx, out),
            (Op::Along, false) => reference::take_along_axis_into(src, axis, idx, out),
            (Op::Pick, true) => gradix::pick_into(src, idx, out),
            (Op::Pick, false) => reference::pick_into(src, idx, out),
        }
    }

    /// The scatter of this form: of `src` as it is or, where there is one, times `a`. Unscaled, the last form adds −1.
    pub fn scatter<T: Float, I: Index>(
        self,
        axis: isize,
        fast: bool,
        dst: ViewMut<'_, T>,
        idx: Indices<'_, I, T>,
        src: View<'_, T>,
        a: Option<T>,
    ) -> Result<()> {
        match (self, fast, a) {
            (Op::Flat, true, None) => gradix::scatter_add(dst, idx, src),
            (Op::Flat, false, None) => reference::scatter_add(dst, idx, src),
            (Op::Axis, true, None) => gradix::scatter_add_axis(dst, axis, idx, src),
            (Op::Axis, false, None) => reference::scatter_add_axis(dst, axis, idx, src),
            (Op::Along, true, None) => gradix::scatter_add_along_axis(dst, axis, idx, src),
            (Op::Along, false, None) => reference::scatter_add_along_axis(dst, axis, idx, src),
            (Op::Pick, true, None) => gradix::pick_add(dst, idx, T::from_f64(-1.0)),
            (Op::Pick, false, None) => reference::pick_add(dst, idx, T::from_f64(-1.0)),
            (Op::Flat, true, Some(a)) => gradix::scatter_add_scaled(dst, idx, src, a),
            (Op::Flat, false, Some(a)) => reference::scatter_add_scaled(dst, idx, src, a),
            (Op::Axis, true, Some(a)) => gradix::scatter_add_axis_scaled(dst, axis, idx, src, a),
            (Op::Axis, false, Some(a)) => reference::scatter_add_axis_scaled(dst, axis, idx, src, a),
            (Op::Along, true, Some(a)) => gradix::scatter_add_along_axis_scaled(dst, axis, idx, src, a),
            (Op::Along, false, Some(a)) => reference::scatter_add_along_axis_scaled(dst, axis, idx, src, a),
            (Op::Pick, true, Some(a)) => gradix::pick_add_scaled(dst, idx, src, a),
            (Op::Pick, false, Some(a)) => reference::pick_add_scaled(dst, idx, src, a),
        }
    }
}
