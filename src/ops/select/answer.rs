//! Where the hits go: slices that the caller has brought, or vectors that grow.

use crate::array::zeros;
use crate::error::Error;
use crate::index::Index;
use crate::parallel::Split;
use crate::simd::select::{native, unsigned};

/// The integer types that selected indices may have: `u32`, `u64`, `usize`, `i64`.
#[allow(private_interfaces)]
pub trait Position: Index + Default {
    /// The same places, of a type that kernels write.
    #[doc(hidden)]
    fn erase(positions: &mut [Self]) -> Positions<'_>;
}

macro_rules! position {
    ($($t:ident: $variant:expr;)*) => {$(
        #[allow(private_interfaces)]
        impl Position for $t {
            #[inline]
            fn erase(positions: &mut [Self]) -> Positions<'_> {
                $variant(positions)
            }
        }
    )*};
}
position! {
    u32: Positions::U32;
    u64: Positions::U64;
    i64: |positions| Positions::U64(unsigned(positions)); // an index is at most isize::MAX
    usize: |positions| Positions::from(native(positions));
}

/// What kernels and drivers answer. An error travels in a box: then an answer fits into registers, and a call
/// on a few elements does not wait for it to come back from memory.
pub(super) type Outcome<T> = Result<T, Box<Error>>;

/// Places for positions, of one of the two types that kernels write.
pub(crate) enum Positions<'a> {
    None,
    U32(&'a mut [u32]),
    U64(&'a mut [u64]),
}

impl<'a> From<&'a mut [u32]> for Positions<'a> {
    fn from(positions: &'a mut [u32]) -> Self {
        Positions::U32(positions)
    }
}

impl<'a> From<&'a mut [u64]> for Positions<'a> {
    fn from(positions: &'a mut [u64]) -> Self {
        Positions::U64(positions)
    }
}

/// Places for the parts of an answer.
pub(super) struct Places<'a, T> {
    pub(super) len: usize,
    pub(super) positions: Positions<'a>,
    pub(super) values: Option<&'a mut [T]>,
}

impl<'a, T> Places<'a, T> {
    /// As many places as the shorter of two slices has.
    #[inline(always)]
    pub(super) fn new<I: Position>(positions: Option<&'a mut [I]>, values: Option<&'a mut [T]>) -> Self {
        let of_positions = positions.as_ref().map_or(usize::MAX, |to| to.len());
        let len = values.as_ref().map_or(usize::MAX, |to| to.len()).min(of_positions);
        let positions = positions.map_or(Positions::None, |to| I::erase(&mut to[..len]));
        Places { len, positions, values: values.map(|to| &mut to[..len]) }
    }

    /// The first `n` places.
    #[inline(always)]
    pub(super) fn first(&mut self, n: usize) -> Places<'_, T> {
        let positions = match &mut self.positions {
            Positions::None => Positions::None,
            Positions::U32(to) => Positions::U32(&mut to[..n]),
            Positions::U64(to) => Positions::U64(&mut to[..n]),
        };
        Places { len: n, positions, values: self.values.as_mut().map(|to| &mut to[..n]) }
    }
}

impl<T: Send> Split for Places<'_, T> {
    fn len(&self) -> usize {
        self.len
    }
    fn split_at(self, mid: usize) -> (Self, Self) {
        let (positions, later_positions) = match self.positions {
            Positions::None => (Positions::None, Positions::None),
            Positions::U32(to) => {
                let (a, b) = to.split_at_mut(mid);
                (a.into(), b.into())
            }
            Positions::U64(to) => {
                let (a, b) = to.split_at_mut(mid);
                (a.into(), b.into())
            }
        };
        let (values, later_values) = self.values.map(|to| to.split_at_mut(mid)).unzip();
        (
            Places { len: mid, positions, values },
            Places { len: self.len - mid, positions: later_positions, values: later_values },
        )
    }
}

/// Where an answer of unknown length goes.
pub(super) trait Sink<T> {
    /// The most places that there can be.
    fn room(&self) -> usize;
    /// Makes room for so many places in all, if that can be had; `false` where it cannot.
    fn reserve(&mut self, n: usize) -> bool;
    /// The next `n` places.
    fn places(&mut self, n: usize) -> Outcome<Places<'_, T>>;
    /// The first `n` places, of an answer that has none yet.
    fn whole(&mut self, n: usize) -> Outcome<Places<'_, T>>;
    /// Leaves the first `n` places.
    fn cut(&mut self, n: usize);
}

/// Slices, filled from the front on.
pub(super) struct Slices<'a, T> {
    /// The places that are left.
    left: Places<'a, T>,
    room: usize,
}

impl<'a, T: Send> From<Places<'a, T>> for Slices<'a, T> {
    fn from(places: Places<'a, T>) -> Self {
        Slices { room: places.len, left: places }
    }
}

impl<T: Send> Sink<T> for Slices<'_, T> {
    fn room(&self) -> usize {
        self.room
    }
    fn reserve(&mut self, n: usize) -> bool {
        n <= self.room
    }
    fn places(&mut self, n: usize) -> Outcome<Places<'_, T>> {
        if n > self.left.len {
            return Err(Box::new(Error::Room { needed: self.room - self.left.len + n, room: self.room }));
        }
        let none = Places { len: 0, positions: Positions::None, values: None };
        let (places, left) = std::mem::replace(&mut self.left, none).split_at(n);
        self.left = left;
        Ok(places)
    }
    fn whole(&mut self, n: usize) -> Outcome<Places<'_, T>> {
        if n > self.left.len {
            return self.places(n); // which says why not
        }
        // Nothing is split off: this is the answer's only part.
        Ok(self.left.first(n))
    }
    fn cut(&mut self, _n: usize) {}
}

/// Vectors that grow.
pub(super) struct Vectors<'a, I, T> {
    pub(super) positions: Option<&'a mut Vec<I>>,
    pub(super) values: Option<&'a mut Vec<T>>,
}

impl<I, T> Vectors<'_, I, T> {
    /// Gives back what is not needed.
    pub(super) fn shrink(&mut self) {
        if let Some(v) = &mut self.positions {
            v.shrink_to_fit();
        }
        if let Some(v) = &mut self.values {
            v.shrink_to_fit();
        }
    }
}

/// Makes room for `n` more elements, if that can be had.
fn reserve<E>(v: &mut Vec<E>, n: usize) -> bool {
    v.capacity() - v.len() >= n || v.try_reserve_exact(n).is_ok()
}

/// `n` more elements.
fn grow<E: Copy + Default>(v: &mut Vec<E>, n: usize) -> Outcome<&mut [E]> {
    let len = v.len();
    if !reserve(v, n) {
        return Err(Box::new(memory::<E>(len + n)));
    }
    v.resize(len + n, E::default());
    Ok(&mut v[len..])
}

/// The refusal of an answer of `n` elements.
fn memory<E>(n: usize) -> Error {
    match n.checked_mul(size_of::<E>()) {
        Some(bytes) if bytes <= isize::MAX as usize => Error::Memory { bytes },
        _ => Error::Overflow { shape: vec![n] },
    }
}

impl<I: Position, T: Copy + Default + Send> Sink<T> for Vectors<'_, I, T> {
    fn room(&self) -> usize {
        usize::MAX
    }
    fn reserve(&mut self, n: usize) -> bool {
        self.positions.as_mut().is_none_or(|v| reserve(v, n))
            && self.values.as_mut().is_none_or(|v| reserve(v, n))
    }
    fn places(&mut self, n: usize) -> Outcome<Places<'_, T>> {
        let positions = match &mut self.positions {
            Some(v) => I::erase(grow(v, n)?),
            None => Positions::None,
        };
        let values = match &mut self.values {
            Some(v) => Some(grow(v, n)?),
            None => None,
        };
        Ok(Places { len: n, positions, values })
    }
    fn whole(&mut self, n: usize) -> Outcome<Places<'_, T>> {
        // From the system, large vectors come zeroed.
        if let Some(v) = &mut self.positions {
            **v = Vec::new();
            **v = zeros(&[n])?;
        }
        if let Some(v) = &mut self.values {
            **v = Vec::new();
            **v = zeros(&[n])?;
        }
        let positions = self.positions.as_mut().map_or(Positions::None, |v| I::erase(v));
        Ok(Places { len: n, positions, values: self.values.as_mut().map(|v| &mut v[..]) })
    }
    fn cut(&mut self, n: usize) {
        if let Some(v) = &mut self.positions {
            v.truncate(n);
        }
        if let Some(v) = &mut self.values {
            v.truncate(n);
        }
    }
}
