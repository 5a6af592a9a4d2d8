//! Index lists of any integer type, read in place, and the proof that they are in bounds.
//!
//! A list is checked once, at the door of an operation, by a pass without branches; the first culprit is looked for
//! only when that pass has found one. What comes out is a [`Proven`] list, whose every element is an offset below
//! its bound.

use crate::view::View;

mod sealed {
    pub trait Sealed {}
}

/// An integer type that indices and labels may have: `u8`, `u16`, `u32`, `u64`, `usize`, `i32`, `i64`.
pub trait Index: Copy + Send + Sync + std::fmt::Debug + sealed::Sealed + 'static {
    /// The type's name, for messages.
    #[doc(hidden)]
    const NAME: &'static str;
    /// The value, whatever the type.
    #[doc(hidden)]
    fn value(self) -> i128;
    /// The value of type `Self` that counts `n`, if there is one.
    #[doc(hidden)]
    fn from_usize(n: usize) -> Option<Self>;
    /// The offset that a bare index names, negative ones counting back from `bound`; at least `bound` where it is
    /// out of bounds. `bound` is at most `isize::MAX`.
    #[doc(hidden)]
    fn raise(self, bound: usize) -> usize;
    /// The offset modulo `bound`, which is not 0.
    #[doc(hidden)]
    fn wrap(self, bound: usize) -> usize;
    /// The nearest offset below `bound`, which is not 0.
    #[doc(hidden)]
    fn clip(self, bound: usize) -> usize;
}

macro_rules! unsigned {
    ($($t:ident)*) => {$(
        impl sealed::Sealed for $t {}
        impl Index for $t {
            const NAME: &'static str = stringify!($t);
            fn value(self) -> i128 {
                self as i128
            }
            fn from_usize(n: usize) -> Option<Self> {
                n.try_into().ok()
            }
            #[inline(always)]
            fn raise(self, _bound: usize) -> usize {
                usize::try_from(self).unwrap_or(usize::MAX)
            }
            #[inline(always)]
            fn wrap(self, bound: usize) -> usize {
                // In u64, which holds every value of both types; the remainder is below `bound`, a usize.
                (self as u64 % bound as u64) as usize
            }
            #[inline(always)]
            fn clip(self, bound: usize) -> usize {
                self.raise(bound).min(bound - 1)
            }
        }
    )*};
}
unsigned!(u8 u16 u32 u64 usize);

macro_rules! signed {
    ($($t:ident)*) => {$(
        impl sealed::Sealed for $t {}
        impl Index for $t {
            const NAME: &'static str = stringify!($t);
            fn value(self) -> i128 {
                self as i128
            }
            fn from_usize(n: usize) -> Option<Self> {
                n.try_into().ok()
            }
            #[inline(always)]
            fn raise(self, bound: usize) -> usize {
                // In i64, which holds `bound` and every value; a sum with a negative value cannot overflow.
                let i = self as i64;
                let i = if i < 0 { i + bound as i64 } else { i };
                usize::try_from(i).unwrap_or(usize::MAX)
            }
            #[inline(always)]
            fn wrap(self, bound: usize) -> usize {
                (self as i64).rem_euclid(bound as i64) as usize
            }
            #[inline(always)]
            fn clip(self, bound: usize) -> usize {
                usize::try_from(self.max(0)).map_or(bound - 1, |i| i.min(bound - 1))
            }
        }
    )*};
}
signed!(i32 i64);

/// What an index outside the axis means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// An error, except that negative ones count back from the end: NumPy's `mode='raise'`.
    Raise,
    /// The index modulo the length of the axis: `mode='wrap'`.
    Wrap,
    /// The nearest end: `mode='clip'`.
    Clip,
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

/// An array of indices and what to do with those outside the axis. Made from a slice, vector, array or [`View`] of
/// any [`Index`] type (out of bounds is an error, negative counts from the end), or from one of these in [`Wrap`] or
/// [`Clip`].
#[derive(Debug, Clone, Copy)]
pub struct Indices<'a, I> {
    pub(crate) list: View<'a, I>,
    pub(crate) mode: Mode,
}

impl<'a, I, L: Into<View<'a, I>>> From<L> for Indices<'a, I> {
    fn from(list: L) -> Self {
        Indices { list: list.into(), mode: Mode::Raise }
    }
}

impl<'a, I, L: Into<View<'a, I>>> From<Wrap<L>> for Indices<'a, I> {
    fn from(Wrap(list): Wrap<L>) -> Self {
        Indices { list: list.into(), mode: Mode::Wrap }
    }
}

impl<'a, I, L: Into<View<'a, I>>> From<Clip<L>> for Indices<'a, I> {
    fn from(Clip(list): Clip<L>) -> Self {
        Indices { list: list.into(), mode: Mode::Clip }
    }
}
