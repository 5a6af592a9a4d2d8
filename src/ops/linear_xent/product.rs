//! Products of matrices: by the crate `gemm`, or by what the caller has.

use crate::array::{View, ViewMut};
use crate::parallel::{self, Split};
use crate::simd::Float;

/// What multiplies matrices for [`LinearXent`](crate::LinearXent): [`Gemm`], or the caller's own, which may
/// be a closure.
///
/// ```
/// use gradix::{Product, View, ViewMut};
/// /// The plain loops.
/// fn multiply(a: View<'_, f32>, b: View<'_, f32>, mut c: ViewMut<'_, f32>, add: bool) {
///     for i in 0..a.shape()[0] {
///         for j in 0..b.shape()[1] {
///             let dot: f32 = (0..a.shape()[1]).map(|k| a.get(&[i, k]).unwrap() * b.get(&[k, j]).unwrap()).sum();
///             let to = c.get_mut(&[i, j]).unwrap();
///             *to = if add { *to + dot } else { dot };
///         }
///     }
/// }
/// let (a, b, mut c) = ([1.0, 2.0], [3.0, 4.0], [0.0]);
/// multiply.multiply(View::new(&a, &[1, 2])?, View::new(&b, &[2, 1])?, ViewMut::new(&mut c, &[1, 1])?, false);
/// assert_eq!(c, [11.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
pub trait Product<T> {
    /// Makes c, of m × n elements, the product of `a`, m × k, and `b`, k × n; or adds that to it. `b` or
    /// `a` may be transposed, and all have the strides of the caller's arrays, if those have some. What c
    /// holds before is to be ignored unless `add`.
    fn multiply(&self, a: View<'_, T>, b: View<'_, T>, c: ViewMut<'_, T>, add: bool);
}

impl<T, F: Fn(View<'_, T>, View<'_, T>, ViewMut<'_, T>, bool)> Product<T> for F {
    fn multiply(&self, a: View<'_, T>, b: View<'_, T>, c: ViewMut<'_, T>, add: bool) {
        self(a, b, c, add);
    }
}

/// The crate [gemm](https://docs.rs/gemm), on the threads of the current rayon pool. It makes c in tiles of
/// registers; threads share it where these end, so that each element is the same sum for any number of
/// threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gemm;

/// Where c may be cut: a multiple of the sides of `gemm`'s tiles of registers, which are 2, 3 or 6 vectors
/// by 4 or 8.
const CUT: usize = 96;

/// Rows that `gemm` is given at most. It keeps a copy of a part of them, up to some 1,000 columns.
const ROWS: usize = 11 * CUT;

/// Multiplications that are worth a second thread: 100 us.
const WORTH_SHARING: usize = 10_000_000;

/// The side of a piece from which on a thread has two of them: what is not cut is copied once more for each
/// piece.
const LONG: usize = 4 * CUT;

impl<T: Float> Product<T> for Gemm {
    fn multiply(&self, a: View<'_, T>, b: View<'_, T>, c: ViewMut<'_, T>, add: bool) {
        let (&[m, n], k) = (c.shape(), a.shape()[1]) else { return };
        let axis = usize::from(n >= m);
        let (len, other) = (m.max(n), m.min(n));
        // `gemm` sums otherwise where few elements, or one row or column, are wanted: not in a piece alone.
        let is_worth_it = other > 2 && m.saturating_mul(n).saturating_mul(k) >= WORTH_SHARING;
        let threads = if is_worth_it { parallel::threads() } else { 1 };
        let pieces = if len / threads >= 2 * LONG && threads > 1 { 2 * threads } else { threads };
        // Rounded down: the last panel takes what is left, and should not be twice as wide as the others.
        let width = (len / pieces / CUT * CUT).max(CUT);
        parallel::for_each(Panels { a, b, c, axis, width }, 1, |_, panels| panels.multiply(add));
    }
}

/// A product whose c is cut into panels of `width` along an axis.
struct Panels<'a, T> {
    a: View<'a, T>,
    b: View<'a, T>,
    c: ViewMut<'a, T>,
    axis: usize,
    width: usize,
}

impl<T: Float> Panels<'_, T> {
    fn multiply(self, add: bool) {
        let Panels { a, b, mut c, .. } = self;
        let (rows, mut first) = (c.shape()[0], 0);
        while first < rows {
            // The last ones are no few.
            let end = if rows - first < ROWS + CUT { rows } else { first + ROWS };
            let range = first..end;
            c.reborrow().part(0, range.clone()).multiply(a.part(0, range), b, add, T::ONE);
            first = end;
        }
    }
}

impl<T: Float> Split for Panels<'_, T> {
    /// The last panel is the widest: none is of a few rows or columns, which `gemm` would sum otherwise.
    fn len(&self) -> usize {
        (self.c.shape()[self.axis] / self.width.max(1)).max(1)
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        let len = self.c.shape()[self.axis];
        let mid = if mid < self.len() { mid * self.width } else { len };
        let Panels { a, b, c, axis, width } = self;
        let (c, c_b) = c.split_at(axis, mid);
        let (of_a, of_b) = if axis == 0 {
            ([a.part(0, 0..mid), a.part(0, mid..len)], [b, b])
        } else {
            ([a, a], [b.part(1, 0..mid), b.part(1, mid..len)])
        };
        let [a, a_b] = of_a;
        let [b, b_b] = of_b;
        (Panels { a, b, c, axis, width }, Panels { a: a_b, b: b_b, c: c_b, axis, width })
    }
}
