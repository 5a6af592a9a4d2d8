//! Index lists of any integer type, read in place, and the proof that they are in bounds.
//!
//! A list is checked once, at the door of an operation, by a pass without branches; the first culprit is looked for
//! only when that pass has found one. What comes out is a [`Proven`] list, whose every element names an offset below
//! its bound. Kernels read it a block at a time, as [`Offsets`]: whatever the type, the mode and the strides, they see
//! a few hundred `usize` on the stack.

use crate::array::cube::{self, Cube, Plan};
use crate::array::{Lane, View};
use crate::error::{Error, Result};
use crate::parallel::{self, Split};
use crate::simd::{Float, Kernel, Level, Simd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

mod sealed {
    pub trait Sealed {}
}

/// An integer type that indices and labels may have: `u8`, `u16`, `u32`, `u64`, `usize`, `i32`, `i64`.
pub trait Index: Copy + Ord + Send + Sync + std::fmt::Debug + sealed::Sealed + 'static {
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
    /// As `raise`, for an index that is known to be in bounds.
    #[doc(hidden)]
    fn raise_proven(self, bound: usize) -> usize;
    /// The index that the low bits are.
    #[doc(hidden)]
    fn from_bits(bits: u64) -> Self;
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
            fn raise_proven(self, _bound: usize) -> usize {
                self as usize
            }
            #[inline(always)]
            fn from_bits(bits: u64) -> Self {
                bits as Self
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
            fn raise_proven(self, bound: usize) -> usize {
                // The sign, spread over all bits, lets `bound` through where the index is negative.
                (self as isize + (bound as isize & self as isize >> (isize::BITS - 1))) as usize
            }
            #[inline(always)]
            fn from_bits(bits: u64) -> Self {
                bits as Self
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

/// The number of indices that a second thread should at least check.
const CHECK_GRAIN: usize = 1 << 16;

impl<'a, I: Index> Indices<'a, I> {
    /// The same indices, each shown to name an offset below `bound`; or the first that does not.
    pub(crate) fn prove(&self, bound: usize, level: Level) -> Result<Proven<&View<'a, I>>> {
        let Indices { ref list, mode } = *self;
        if list.is_empty() || self.all_inside(bound, level) {
            return Ok(Proven { list, mode, bound });
        }
        let inside = |i: I| mode != Mode::Raise && bound > 0 || mode == Mode::Raise && i.raise(bound) < bound;
        let mut culprits = elements(*list).enumerate().filter(|&(_, i)| !inside(i));
        let (position, value) = culprits.next().expect("the pass over all indices has found one");
        Err(Error::Index { position, value: value.value(), bound })
    }

    fn all_inside(&self, bound: usize, level: Level) -> bool {
        if self.mode != Mode::Raise {
            return bound > 0;
        }
        let inside = AtomicBool::new(true);
        let check = |slice: &[I]| {
            let (extent, _) = f32::dispatch(level, Extent { slice, but: None });
            let bound = bound as i128;
            if extent.is_some_and(|[low, high]| low.value() < -bound || high.value() >= bound) {
                inside.store(false, Relaxed);
            }
        };
        match self.list.as_slice() {
            Some(slice) => parallel::for_each(slice, CHECK_GRAIN, |_, slice| check(slice)),
            None => elements(self.list).for_each(|i| check(&[i])),
        }
        inside.into_inner()
    }
}

/// The elements in C order.
fn elements<I: Index>(list: View<'_, I>) -> impl Iterator<Item = I> {
    let list = list.flattened().unwrap_or(list); // of rank 1, or at least 2
    let lanes = list.lanes(list.rank() - 1);
    (0..lanes.len()).flat_map(move |l| {
        let lane = lanes.lane(l);
        (0..lanes.lane_len()).map(move |i| lane.get(i))
    })
}

/// The least and the greatest of some bare indices, those that are `but` left out, and the number of these; no least where there are
/// no others.
pub(crate) struct Extent<'a, I> {
    pub(crate) slice: &'a [I],
    pub(crate) but: Option<I>,
}

impl<I: Index> Kernel<f32> for Extent<'_, I> {
    type Output = (Option<[I; 2]>, usize);
    #[inline(always)]
    fn run<S: Simd<f32>>(self, _: S) -> Self::Output {
        let Extent { slice, but } = self;
        let Some(&first) = slice.iter().find(|&&i| Some(i) != but) else { return (None, slice.len()) };
        // By plain loops: closures handed to a fold were no part of the level's function in some builds, and not made vectors of.
        let (mut low, mut high, mut left_out) = (first, first, 0);
        match but {
            None => {
                for &i in slice {
                    (low, high) = (low.min(i), high.max(i));
                }
            }
            Some(but) => {
                for &i in slice {
                    let is_left_out = i == but;
                    let i = if is_left_out { first } else { i };
                    (low, high) = (low.min(i), high.max(i));
                    left_out += usize::from(is_left_out);
                }
            }
        }
        (Some([low, high]), left_out)
    }
}

/// Indices of which each is known to name an offset below `bound`. Only [`Indices::prove`] makes one from nothing;
/// the other constructors select from what is proven.
#[derive(Clone, Copy)]
pub(crate) struct Proven<L> {
    list: L,
    mode: Mode,
    bound: usize,
}

impl<'a, I> Proven<&View<'a, I>> {
    /// Cube number `i` of the plan's list.
    pub(crate) fn cube(&self, plan: &Plan, i: usize) -> Proven<Cube<'a, I>> {
        Proven { list: self.list.cube(plan, cube::LIST, i), mode: self.mode, bound: self.bound }
    }

    /// The list where it stands, if it is dense and bare.
    #[inline(always)]
    pub(crate) fn bare(&self) -> Option<Proven<&'a [I]>> {
        self.if_bare(self.list.as_slice())
    }
}

impl<L> Proven<L> {
    /// `slice`, which is the list as it stands, if that is bare.
    #[inline(always)]
    fn if_bare<'s, I>(&self, slice: Option<&'s [I]>) -> Option<Proven<&'s [I]>> {
        let list = slice.filter(|_| self.mode == Mode::Raise)?;
        Some(Proven { list, mode: self.mode, bound: self.bound })
    }
}

impl<'a, I> Proven<Cube<'a, I>> {
    pub(crate) fn strides(&self) -> [isize; 3] {
        self.list.strides()
    }

    /// The indices from `at` on along one axis.
    #[inline(always)]
    pub(crate) fn lane(&self, axis: usize, at: [usize; 3]) -> Proven<Lane<'a, I>> {
        Proven { list: self.list.lane(axis, at), mode: self.mode, bound: self.bound }
    }

    /// The first `mid` of an axis, and the rest.
    pub(crate) fn split_at(self, axis: usize, mid: usize) -> (Self, Self) {
        let (a, b) = self.list.split_at(axis, mid);
        (Proven { list: a, ..self }, Proven { list: b, ..self })
    }
}

impl<I: Index> Proven<&[I]> {
    /// The indices and the bound that they were proven for, which is not above `n`: [`Index::raise_proven`] with it makes of
    /// each an offset below `n`.
    #[inline(always)]
    pub(crate) fn below(&self, n: usize) -> (&[I], usize) {
        assert!(self.bound <= n, "indices proven for a longer axis");
        (self.list, self.bound)
    }
}

impl<I: Index> Proven<Lane<'_, I>> {
    /// Fills the block with the offsets that `len` indices from `first` on name.
    #[inline(always)]
    pub(crate) fn fill(&self, first: usize, len: usize, block: &mut Offsets) {
        block.len = 0; // so that no offset of another bound remains, should a check below fail
        let offsets = &mut block.offsets[..len];
        let bound = self.bound;
        match self.mode {
            Mode::Raise => self.each(first, offsets, |i| i.raise_proven(bound)),
            Mode::Wrap => self.each(first, offsets, |i| i.wrap(bound)),
            Mode::Clip => self.each(first, offsets, |i| i.clip(bound)),
        }
        (block.bound, block.len) = (bound, len);
    }

    /// As the whole array's.
    #[inline(always)]
    pub(crate) fn bare(&self) -> Option<Proven<&[I]>> {
        self.if_bare(self.list.as_slice())
    }

    #[inline(always)]
    fn each(&self, first: usize, offsets: &mut [usize], resolve: impl Fn(I) -> usize) {
        match self.list.as_slice() {
            Some(slice) => {
                let slice = &slice[first..first + offsets.len()];
                offsets.iter_mut().zip(slice).for_each(|(o, &i)| *o = resolve(i))
            }
            None => offsets.iter_mut().enumerate().for_each(|(k, o)| *o = resolve(self.list.get(first + k))),
        }
    }
}

/// Offsets for a stretch of a kernel's run, each below the bound that it was proven for.
pub(crate) struct Offsets {
    bound: usize,
    len: usize,
    offsets: [usize; Offsets::ROOM],
}

impl Offsets {
    /// How many fit: few enough to stay in L1 beside the data, enough to forget the cost of a block.
    pub(crate) const ROOM: usize = 256;

    pub(crate) fn new() -> Self {
        Offsets { bound: 0, len: 0, offsets: [0; Offsets::ROOM] }
    }

    /// Keeps of `all` those in `range`, as offsets from its start, and in `kept` says which they were.
    #[inline(always)]
    pub(crate) fn keep(
        &mut self,
        all: &Offsets,
        range: std::ops::Range<usize>,
        kept: &mut [u8; Offsets::ROOM],
    ) {
        const { assert!(Offsets::ROOM == 256) }; // so that a place fits into a `u8`, and `len` cannot run past the end
        self.bound = range.end - range.start;
        self.len = 0;
        let mut len = 0;
        for (k, &o) in all.offsets[..all.len].iter().enumerate() {
            let o = o.wrapping_sub(range.start);
            self.offsets[len % Offsets::ROOM] = o;
            kept[len % Offsets::ROOM] = k as u8;
            len += usize::from(o < self.bound); // an offset left out is overwritten by the next, or beyond the end
        }
        self.len = len;
    }

    /// The offsets, known to be below `n`: the bound they were proven for is not above it.
    #[inline(always)]
    pub(crate) fn below(&self, n: usize) -> &[usize] {
        assert!(self.bound <= n, "indices proven for a longer axis");
        &self.offsets[..self.len]
    }
}
