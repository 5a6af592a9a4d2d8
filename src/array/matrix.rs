//! Parts of arrays, and the product of matrices.

use super::layout::Layout;
use super::raw::{Matrix, MatrixMut, Start};
use super::view::{View, ViewMut};
use std::marker::PhantomData;
use std::ops::Range;

/// Where the places `range` of an axis start, and how they lie.
fn part<T>(start: Start<T>, layout: &Layout, axis: usize, range: Range<usize>) -> (Start<T>, Layout) {
    assert!(range.start <= range.end && range.end <= layout.shape()[axis], "a part beyond the array");
    let mut of_part = *layout;
    of_part.shape[axis] = range.len();
    // Of no places the start may be anywhere; it is never followed.
    (start.at((range.start as isize).wrapping_mul(layout.strides()[axis])), of_part)
}

impl<'a, T> View<'a, T> {
    /// The places `range` of an axis, which has them.
    pub(crate) fn part(&self, axis: usize, range: Range<usize>) -> Self {
        let (start, layout) = part(self.start, &self.layout, axis, range);
        View { start, layout, borrow: PhantomData }
    }

    fn matrix(&self) -> Matrix<'a, T> {
        let (&[m, n], &[row, column]) = (self.shape(), self.strides()) else { panic!("an array of rank 2") };
        Matrix { start: self.start, shape: [m, n], strides: [row, column], borrow: PhantomData }
    }
}

impl<'a, T> ViewMut<'a, T> {
    /// The places `range` of an axis, which has them.
    pub(crate) fn part(self, axis: usize, range: Range<usize>) -> Self {
        let (start, layout) = part(self.start, &self.layout, axis, range);
        ViewMut { start, layout, borrow: PhantomData }
    }

    /// The first `mid` places of an axis, and the others.
    pub(crate) fn split_at(self, axis: usize, mid: usize) -> (Self, Self) {
        let len = self.shape()[axis];
        let ends = [0..mid, mid..len].map(|range| part(self.start, &self.layout, axis, range));
        let [a, b] = ends.map(|(start, layout)| ViewMut { start, layout, borrow: PhantomData });
        (a, b)
    }

    /// Makes of this matrix `a`·`b`, or adds that to it. `T` is `f32` or `f64`, and `one` its 1.
    pub(crate) fn multiply(self, a: View<'_, T>, b: View<'_, T>, add: bool, one: T)
    where
        T: Copy + Send + Sync + 'static,
    {
        let c = MatrixMut(self.as_view().matrix(), PhantomData);
        c.multiply([a.matrix(), b.matrix()], add, one);
    }
}
