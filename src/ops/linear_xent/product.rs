//! Products of matrices: by the crate `gemm`, or by what the caller has.

use crate::array::{View, ViewMut};
use crate::parallel::{self, Split};
use crate::simd::Float;

/// What multiplies matrices for [`LinearXent`](crate::LinearXent): [`Gemm`], or the caller's own, which may be a
/// closure.
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
    /// Makes c, of m × n elements, the product of `a`, m × k, and `b`, k × n; or adds that to it. `b` or `a` may be
    /// transposed, and all have the strides of the caller's arrays, if those have some. What c holds before is to be
    /// ignored unless `add`.
    fn multiply(&self, a: View<'_, T>, b: View<'_, T>, c: ViewMut<'_, T>, add: bool);
}

impl<T, F: Fn(View<'_, T>, View<'_, T>, ViewMut<'_, T>, bool)> Product<T> for F {
    fn multiply(&self, a: View<'_, T>, b: View<'_, T>, c: ViewMut<'_, T>, add: bool) {
        self(a, b, c, add);
    }
}

/// The crate [gemm](https://docs.rs/gemm), on the threads of the current rayon pool. c is cut into tiles by its shape
/// alone, so that the bits do not depend on the number of threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gemm;

/// The longest side of a tile. With it what `gemm` copies for a thread stays below 2 MiB, in a second-level cache.
const TILE: usize = 512;

/// Tiles that a side is cut into, as far as each keeps [`LEAST`].
const TILES: usize = 16;

/// The least side that a tile is cut to.
const LEAST: usize = 64;

impl<T: Float> Product<T> for Gemm {
    fn multiply(&self, a: View<'_, T>, b: View<'_, T>, c: ViewMut<'_, T>, add: bool) {
        let &[m, n] = c.shape() else { return };
        let axis = usize::from(n >= m);
        let len = c.shape()[axis];
        let width = len.div_ceil(TILES).next_multiple_of(LEAST).min(TILE);
        let panels = Panels { a, b, c, axis, width };
        parallel::for_each(panels, 1, |_, panels| panels.multiply(add));
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
    /// Tile after tile.
    fn multiply(self, add: bool) {
        let Panels { a, b, mut c, axis, width } = self;
        let side = |d: usize| if d == axis { width } else { TILE };
        let [m, n] = [c.shape()[0], c.shape()[1]];
        for i in (0..m).step_by(side(0)) {
            for j in (0..n).step_by(side(1)) {
                let [rows, columns] = [i..m.min(i + side(0)), j..n.min(j + side(1))];
                let tile = c.reborrow().part(0, rows.clone()).part(1, columns.clone());
                tile.multiply(a.part(0, rows), b.part(1, columns), add, T::ONE);
            }
        }
    }
}

impl<T: Float> Split for Panels<'_, T> {
    fn len(&self) -> usize {
        self.c.shape()[self.axis].div_ceil(self.width.max(1))
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        let Panels { a, b, c, axis, width } = self;
        let len = c.shape()[axis];
        let mid = len.min(mid * width);
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
