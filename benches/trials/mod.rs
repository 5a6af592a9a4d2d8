//! What the sweep measures: operations at shapes that are drawn from a seed, each beside the plain loop for the same work.
//!
//! The plain loops here are what a user writes without this crate: safe, checked by the slice, with the index and element
//! types of the case. Each is compiled several times ([`COPIES`]), because the time of a short loop depends on where the
//! linker places it; rows are moved by `copy_from_slice` in half of the copies and element by element in the others. The
//! quickest copy is the baseline.

mod gather;
mod scatter;
mod select;
mod softmax;
mod softmax_xent;

use crate::common::data::Element;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The copies of each plain loop.
pub const COPIES: usize = 4;

/// One operation at one shape, with its data.
pub trait Trial {
    /// The library's call.
    fn gradix(&mut self);
    /// The plain loop, in this copy.
    fn plain(&mut self, copy: usize);
    /// Whether both give the same answer.
    fn agrees(&mut self) -> bool;
}

/// A trial that was drawn and whose data are not made yet.
pub struct Drawn {
    pub op: &'static str,
    /// Types, sizes and layout, to read.
    pub shape: String,
    /// What the call itself may cost beside the loop, in seconds: less where all arguments are slices.
    pub door: f64,
    /// The bytes of its arrays, about.
    pub bytes: usize,
    pub make: Box<dyn FnOnce() -> Box<dyn Trial> + Send>,
}

/// What a call on slices, and one on views, may cost beside the loop.
pub const SLICES: f64 = 15e-9;
pub const VIEWS: f64 = 30e-9;

/// How an operation's trials are drawn. The second argument is about the most bytes that the arrays may have.
pub type Draw = fn(&mut ChaCha8Rng, usize) -> Drawn;

/// Every operation.
pub fn operations() -> Vec<(&'static str, Draw)> {
    let families = [
        gather::OPERATIONS,
        scatter::OPERATIONS,
        select::OPERATIONS,
        softmax_xent::OPERATIONS,
        softmax::OPERATIONS,
    ];
    families.concat()
}

/// Between `least` and `most`, each magnitude as likely as any other.
pub fn size(rng: &mut ChaCha8Rng, least: usize, most: usize) -> usize {
    let most = most.max(least);
    let (low, high) = ((least as f64).ln(), (most as f64 + 1.0).ln());
    (rng.random_range(low..high).exp() as usize).clamp(least, most)
}

/// True in one of so many cases.
pub fn one_in(rng: &mut ChaCha8Rng, n: u32) -> bool {
    rng.random_ratio(1, n)
}

pub fn number<T: Element>(x: f64) -> T {
    num_traits::cast(x).expect("a float")
}

/// Uniform in −1..1.
pub fn signed<T: Element>(rng: &mut ChaCha8Rng, len: usize) -> Vec<T> {
    (0..len).map(|_| number(rng.random_range(-1.0..1.0f32).into())).collect()
}

/// The index types.
pub trait Idx: gradix::Index {
    const LABEL: &'static str;
    /// The largest length of an axis that all of its values can index.
    const MOST: usize;
    fn new(n: usize) -> Self;
    /// As a loop converts it.
    fn at(self) -> usize;
    /// Uniform in 0..bound.
    fn list(rng: &mut ChaCha8Rng, len: usize, bound: usize) -> Vec<Self> {
        (0..len).map(|_| Self::new(rng.random_range(0..bound))).collect()
    }
}

macro_rules! idx {
    ($($t:ident)*) => {$(
        impl Idx for $t {
            const LABEL: &'static str = stringify!($t);
            const MOST: usize = if size_of::<$t>() < 4 { 1 << (8 * size_of::<$t>()) } else { usize::MAX };
            fn new(n: usize) -> Self {
                n as $t
            }
            #[inline(always)]
            fn at(self) -> usize {
                self as usize
            }
        }
    )*};
}
idx!(u8 u16 u32 u64 usize i32 i64);

/// Calls `$f::<element, index>($arguments)` with types that are drawn: each index type with `f32`, three with `f64`.
macro_rules! drawn_types {
    ($rng:expr, $f:ident($($argument:expr),*)) => {
        match rand::RngExt::random_range(&mut *$rng, 0..10) {
            0 => $f::<f32, u8>($($argument),*),
            1 => $f::<f32, u16>($($argument),*),
            2 => $f::<f32, u32>($($argument),*),
            3 => $f::<f32, u64>($($argument),*),
            4 => $f::<f32, usize>($($argument),*),
            5 => $f::<f32, i32>($($argument),*),
            6 => $f::<f32, i64>($($argument),*),
            7 => $f::<f64, u32>($($argument),*),
            8 => $f::<f64, i64>($($argument),*),
            _ => $f::<f64, usize>($($argument),*),
        }
    };
}
pub(crate) use drawn_types;

/// Calls a copy of a loop: `copy_of!(copy, take::<T, I>(src, idx, out))`.
macro_rules! copy_of {
    ($copy:expr, $name:ident::<$($type:ty),*>($($argument:expr),*)) => {
        match $copy {
            0 => $name::<$($type,)* 0>($($argument),*),
            1 => $name::<$($type,)* 1>($($argument),*),
            2 => $name::<$($type,)* 2>($($argument),*),
            _ => $name::<$($type,)* 3>($($argument),*),
        }
    };
}
pub(crate) use copy_of;

/// Evaluates an expression with constants that say which of the axes a caller would write, and whether they are contiguous:
/// one of six copies, as callers know these of their arrays.
macro_rules! as_written {
    ($axes:expr, $start:ident, $end:ident, $dense:ident => $value:expr) => {{
        let (written, is_dense) = ($axes.written(), $axes.is_contiguous());
        crate::trials::as_written!(@arms (written.start, written.end, is_dense), $start, $end, $dense, $value,
            (1, 3, true) (1, 3, false) (0, 2, true) (0, 2, false) (0, 3, true) (0, 3, false))
    }};
    (@arms $given:expr, $start:ident, $end:ident, $dense:ident, $value:expr, $(($s:literal, $e:literal, $d:literal))*) => {
        match $given {
            $(($s, $e, $d) => {
                const $start: usize = $s;
                const $end: usize = $e;
                const $dense: bool = $d;
                $value
            })*
            _ => unreachable!("axes are written as 1..3, 0..2 or 0..3"),
        }
    };
}
pub(crate) use as_written;

/// The three axes that any gather or scatter along an axis comes down to, and their strides in elements.
#[derive(Clone, Copy)]
pub struct Axes {
    /// What is before the axis, the axis, what is after it.
    pub shape: [usize; 3],
    pub strides: [usize; 3],
    pub layout: &'static str,
}

impl Axes {
    /// Contiguous in three of four cases; otherwise rows with gaps, every other element, or transposed.
    pub fn draw(rng: &mut ChaCha8Rng, shape: [usize; 3]) -> Self {
        let [outer, axis, inner] = shape;
        let (strides, layout) = match rng.random_range(0..12) {
            0 if inner == 1 => ([axis + 3, 1, 1], "rows with gaps"),
            0 => ([axis * (inner + 3), inner + 3, 1], "rows with gaps"),
            1 => ([2 * axis * inner, 2 * inner, 2], "every other element"),
            2 if inner == 1 => ([1, outer, 1], "transposed"),
            2 => ([axis * inner, 1, axis], "transposed"),
            _ => ([axis * inner, inner, 1], ""),
        };
        Axes { shape, strides, layout }
    }

    pub fn is_contiguous(&self) -> bool {
        self.layout.is_empty()
    }

    /// The elements of the slice that it is laid out in.
    pub fn extent(&self) -> usize {
        1 + self.shape.iter().zip(self.strides).map(|(n, stride)| (n - 1) * stride).sum::<usize>()
    }

    /// The axes that a caller would write: those of length 1 beside the axis are left out, as far as a matrix remains.
    pub fn written(&self) -> std::ops::Range<usize> {
        let [outer, _, inner] = self.shape;
        if outer == 1 {
            1..3
        } else if inner == 1 {
            0..2
        } else {
            0..3
        }
    }

    /// Which of them is the axis.
    pub fn axis(&self) -> isize {
        1 - self.written().start as isize
    }

    /// The view that a caller would make, its rank (axes `START` to `END`) and layout known where it is made.
    #[inline(always)]
    pub fn view_as<'a, T, const START: usize, const END: usize, const DENSE: bool>(
        &self,
        data: &'a [T],
    ) -> gradix::View<'a, T> {
        let ([a, b, c], [x, y, z]) = (self.shape, self.strides.map(|stride| stride as isize));
        let view = match (DENSE, START, END) {
            (true, 1, 3) => gradix::View::new(data, &[b, c]),
            (true, 0, 2) => gradix::View::new(data, &[a, b]),
            (true, ..) => gradix::View::new(data, &[a, b, c]),
            (_, 1, 3) => gradix::View::strided(data, &[b, c], &[y, z], 0),
            (_, 0, 2) => gradix::View::strided(data, &[a, b], &[x, y], 0),
            _ => gradix::View::strided(data, &[a, b, c], &[x, y, z], 0),
        };
        match view {
            Ok(view) => view,
            Err(error) => panic!("{error}"), // written out: `expect` is not always inlined
        }
    }

    /// As `view_as`, to write through.
    #[inline(always)]
    pub fn view_mut_as<'a, T, const START: usize, const END: usize, const DENSE: bool>(
        &self,
        data: &'a mut [T],
    ) -> gradix::ViewMut<'a, T> {
        let ([a, b, c], [x, y, z]) = (self.shape, self.strides.map(|stride| stride as isize));
        let view = match (DENSE, START, END) {
            (true, 1, 3) => gradix::ViewMut::new(data, &[b, c]),
            (true, 0, 2) => gradix::ViewMut::new(data, &[a, b]),
            (true, ..) => gradix::ViewMut::new(data, &[a, b, c]),
            (_, 1, 3) => gradix::ViewMut::strided(data, &[b, c], &[y, z], 0),
            (_, 0, 2) => gradix::ViewMut::strided(data, &[a, b], &[x, y], 0),
            _ => gradix::ViewMut::strided(data, &[a, b, c], &[x, y, z], 0),
        };
        match view {
            Ok(view) => view,
            Err(error) => panic!("{error}"), // written out: `expect` is not always inlined
        }
    }

    /// A view where it does not matter how it was made.
    pub fn view<'a, T>(&self, data: &'a [T]) -> gradix::View<'a, T> {
        as_written!(self, START, END, DENSE => self.view_as::<T, START, END, DENSE>(data))
    }

    /// As `view`, to write through.
    pub fn view_mut<'a, T>(&self, data: &'a mut [T]) -> gradix::ViewMut<'a, T> {
        as_written!(self, START, END, DENSE => self.view_mut_as::<T, START, END, DENSE>(data))
    }

    /// The same with another length of the axis, contiguous.
    pub fn with_axis(&self, axis: usize) -> Self {
        let [outer, _, inner] = self.shape;
        Axes { shape: [outer, axis, inner], strides: [axis * inner, inner, 1], layout: "" }
    }

    /// Between the lengths and the layout.
    pub fn comma(&self) -> &'static str {
        if self.is_contiguous() { "" } else { ", " }
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

impl std::fmt::Display for Axes {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let lengths: Vec<String> = self.shape[self.written()].iter().map(usize::to_string).collect();
        write!(f, "{}{}{}", lengths.join("x"), self.comma(), self.layout)
    }
}
