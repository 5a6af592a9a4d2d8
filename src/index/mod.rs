//! Index lists of any integer type, read in place, and the proof that they are in bounds.
//!
//! A list is checked once, at the door of an operation, by a pass without branches; the first culprit is looked for
//! only when that pass has found one. What follows, in [`checked`], sees no index type any more: the list where it
//! stands, as words of its width, or blocks of a few hundred resolved offsets, or, of dense vectors in a mode, its
//! indices resolved one by one.

pub(crate) mod checked;

use crate::array::{Element, ErasedView, View};

/// What every integer that indices and labels may have can do, inside the crate. Each function is defined for
/// every value.
mod integer {
    pub trait Integer: Copy + Ord {
        /// The type's name, for messages.
        const NAME: &'static str;
        /// Whether there are negative values.
        const SIGNED: bool;
        /// The value, whatever the type.
        fn value(self) -> i128;
        /// The value of type `Self` that counts `n`, if there is one.
        fn from_usize(n: usize) -> Option<Self>;
    }

    macro_rules! integers {
        ($signed:literal: $($t:ident)*) => {$(
            impl Integer for $t {
                const NAME: &'static str = stringify!($t);
                const SIGNED: bool = $signed;
                #[inline(always)]
                fn value(self) -> i128 {
                    self as i128
                }
                #[inline(always)]
                fn from_usize(n: usize) -> Option<Self> {
                    n.try_into().ok()
                }
            }
        )*};
    }
    integers!(false: u8 u16 u32 u64 usize);
    integers!(true: i8 i16 i32 i64);
}

/// An integer type that indices and labels may have: `u8`, `u16`, `u32`, `u64`, `usize`, `i8`, `i16`, `i32`, `i64`.
pub trait Index: Element + Ord + integer::Integer {}

macro_rules! indices {
    ($($t:ident)*) => {$( impl Index for $t {} )*};
}
indices!(u8 u16 u32 u64 usize i8 i16 i32 i64);

/// What an index outside the axis means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mode<T> {
    /// An error, except that negative ones count back from the end: NumPy's `mode='raise'`.
    Raise,
    /// The index modulo the length of the axis: `mode='wrap'`.
    Wrap,
    /// The nearest end: `mode='clip'`.
    Clip,
    /// No element: a gather gives this value, a scatter skips it.
    Fill(T),
}

/// Indices to be taken modulo the length of the axis, as `mode='wrap'` of `np.take`.
///
/// ```
/// use gradix::Wrap;
/// assert_eq!(gradix::take(&[1.0, 2.0, 3.0], Wrap(&[3, -1, -4]))?, [1.0, 3.0, 3.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Wrap<L>(pub L);

/// Indices to be moved to the nearest end of the axis, as `mode='clip'` of `np.take`: negative ones become 0.
///
/// ```
/// use gradix::Clip;
/// assert_eq!(gradix::take(&[1.0, 2.0, 3.0], Clip(&[7, -1]))?, [3.0, 1.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Clip<L>(pub L);

/// Indices of which those outside the axis, negative ones included, name no element: a gather gives the value
/// instead, a scatter or put skips them.
///
/// That is JAX's `mode="fill"` with `fill_value` and, for scatters, `mode="drop"` (where, other than here,
/// negative indices still count from the end), and pandas' `take` with `allow_fill`, whose −1 stands for a
/// missing value. No list is out of bounds, not even of an axis without elements.
///
/// ```
/// use gradix::Fill;
/// assert_eq!(gradix::take(&[1.0, 2.0, 3.0], Fill(&[2, -1, 3], 0.0))?, [3.0, 0.0, 0.0]);
/// let mut sums = [0.0, 0.0];
/// gradix::scatter_add(&mut sums, Fill(&[1, -1, 2], 0.0), &[5.0, 6.0, 7.0])?; // the value plays no part
/// assert_eq!(sums, [0.0, 5.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Fill<L, T>(pub L, pub T);

/// An array of indices into an array of `T`, and what to do with those outside the axis. Made from a slice,
/// vector, array or [`View`] of any [`Index`] type (out of bounds is an error, negative counts from the end),
/// or from one of these in [`Wrap`], [`Clip`] or [`Fill`].
#[derive(Debug, Clone, Copy)]
pub struct Indices<'a, I, T> {
    pub(crate) list: View<'a, I>,
    pub(crate) mode: Mode<T>,
}

impl<'a, I, T, L: Into<View<'a, I>>> From<L> for Indices<'a, I, T> {
    #[inline(always)]
    fn from(list: L) -> Self {
        Indices { list: list.into(), mode: Mode::Raise }
    }
}

impl<'a, I, T, L: Into<View<'a, I>>> From<Wrap<L>> for Indices<'a, I, T> {
    #[inline(always)]
    fn from(Wrap(list): Wrap<L>) -> Self {
        Indices { list: list.into(), mode: Mode::Wrap }
    }
}

impl<'a, I, T, L: Into<View<'a, I>>> From<Clip<L>> for Indices<'a, I, T> {
    #[inline(always)]
    fn from(Clip(list): Clip<L>) -> Self {
        Indices { list: list.into(), mode: Mode::Clip }
    }
}

impl<'a, I, T, L: Into<View<'a, I>>> From<Fill<L, T>> for Indices<'a, I, T> {
    #[inline(always)]
    fn from(Fill(list, value): Fill<L, T>) -> Self {
        Indices { list: list.into(), mode: Mode::Fill(value) }
    }
}

/// [`Indices`] whose types are forgotten but for the indices' size and sign, and the bytes of the value that fills.
#[derive(Clone, Copy)]
pub(crate) struct ErasedIndices<'a> {
    pub(crate) list: ErasedView<'a>,
    pub(crate) is_signed: bool,
    pub(crate) mode: Mode<[u8; 16]>,
}

impl<I: Index, T: Element> Indices<'_, I, T> {
    /// The same indices, the types forgotten.
    #[inline(always)]
    pub(crate) fn erased(&self) -> ErasedIndices<'_> {
        let mode = match self.mode {
            Mode::Raise => Mode::Raise,
            Mode::Wrap => Mode::Wrap,
            Mode::Clip => Mode::Clip,
            Mode::Fill(value) => Mode::Fill(value.bytes()),
        };
        ErasedIndices { list: self.list.erased(), is_signed: I::SIGNED, mode }
    }
}

impl<'a> ErasedIndices<'a> {
    /// Of indices, or labels, that stand for themselves.
    #[inline(always)]
    pub(crate) fn plain<I: Index>(list: &'a View<'_, I>) -> Self {
        ErasedIndices { list: list.erased(), is_signed: I::SIGNED, mode: Mode::Raise }
    }
}
