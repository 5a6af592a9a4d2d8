//! Selection by a mask that is given: `x[mask]`.

use super::answer::{Places, Position, Sink, Slices, Vectors};
use super::source::{Source, WORDS};
use super::{Hits, few, fits, kernels, put_word, select_block, select_many, write, write_blocks};
use crate::array::View;
use crate::error::{Error, Result};
use crate::simd::select::{WORD, first_bits, pack_few};
use crate::simd::{Float, Level};

/// A truth value for each element: made from a slice, vector or array of `bool`, or from bits.
///
/// ```
/// use gradix::select::{self, Mask};
/// let x = [1.5f32, 2.5, 3.5];
/// assert_eq!(select::compress(&x, &[true, false, true])?, [1.5, 3.5]);
/// assert_eq!(select::compress(&x, Mask::bits(&[0b101], 3)?)?, [1.5, 3.5]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Mask<'a>(pub(super) Truth<'a>);

#[derive(Debug, Clone, Copy)]
pub(super) enum Truth<'a> {
    Bools(&'a [bool]),
    /// Words, and the number of bits that count.
    Bits(&'a [u64], usize),
}

impl<'a> Mask<'a> {
    /// The first `len` bits of `words`: element i is bit `i % 64` of word `i / 64`, as in Arrow's bitmaps.
    ///
    /// # Errors
    /// [`Error::Shape`] where there are not as many words as `len` bits need.
    pub fn bits(words: &'a [u64], len: usize) -> Result<Self> {
        let needed = len.div_ceil(WORD);
        if words.len() < needed {
            return Err(Error::Shape {
                what: "the slice of words",
                expected: vec![needed],
                got: vec![words.len()],
            });
        }
        Ok(Mask(Truth::Bits(words, len)))
    }

    /// The number of truth values.
    #[inline]
    pub fn len(&self) -> usize {
        match self.0 {
            Truth::Bools(bools) => bools.len(),
            Truth::Bits(_, len) => len,
        }
    }

    /// Truth value number `i`, if there is one.
    pub fn get(&self, i: usize) -> Option<bool> {
        match self.0 {
            Truth::Bools(bools) => bools.get(i).copied(),
            Truth::Bits(words, len) => (i < len).then(|| words[i / WORD] >> (i % WORD) & 1 == 1),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> From<&'a [bool]> for Mask<'a> {
    fn from(bools: &'a [bool]) -> Self {
        Mask(Truth::Bools(bools))
    }
}

impl<'a> From<&'a Vec<bool>> for Mask<'a> {
    fn from(bools: &'a Vec<bool>) -> Self {
        Mask(Truth::Bools(bools))
    }
}

impl<'a, const N: usize> From<&'a [bool; N]> for Mask<'a> {
    fn from(bools: &'a [bool; N]) -> Self {
        Mask(Truth::Bools(bools))
    }
}

impl Truth<'_> {
    /// The word of at most 64 truth values, and how many bits are set.
    #[inline(always)]
    pub(super) fn word(&self) -> (u64, usize) {
        let word = match *self {
            Truth::Bools(bools) => pack_few(bools),
            Truth::Bits(words, len) => words.first().map_or(0, |word| word & first_bits(len)),
        };
        (word, word.count_ones() as usize)
    }

    /// Writes the words from the truth value `first`, a multiple of 64, on, and says how many bits are set.
    pub(super) fn words(&self, level: Level, first: usize, words: &mut [u64]) -> usize {
        match *self {
            Truth::Bools(bools) => {
                let bools = &bools[first..];
                kernels::pack(level, &bools[..bools.len().min(words.len() * WORD)], words)
            }
            Truth::Bits(bits, len) => {
                words.copy_from_slice(&bits[first / WORD..][..words.len()]);
                let is_full = first + words.len() * WORD <= len;
                if let (false, Some(last)) = (is_full, words.last_mut()) {
                    *last &= first_bits(len % WORD);
                }
                words.iter().map(|word| word.count_ones() as usize).sum()
            }
        }
    }
}

/// The mask of an array of this shape.
#[inline(always)]
fn of_len(mask: Mask<'_>, len: usize) -> Result<Truth<'_>> {
    if mask.len() == len {
        return Ok(mask.0);
    }
    Err(Error::Shape { what: "the mask", expected: vec![len], got: vec![mask.len()] })
}

/// The elements for which `mask` is true, in C order: `x[mask]`, `np.compress(mask, x)`, Arrow's `filter`.
///
/// Equality and cost: see [what all share](super#what-all-of-them-share); NaN is an element like any other.
///
/// ```
/// use gradix::select;
/// assert_eq!(select::compress(&[1.0, f64::NAN, 3.0], &[true, false, true])?, [1.0, 3.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] where the mask has not as many truth values as `x` elements; [`Error::Level`]; [`Error::Memory`].
#[inline(always)]
pub fn compress<'a, 'm, T: Float>(x: impl Into<View<'a, T>>, mask: impl Into<Mask<'m>>) -> Result<Vec<T>> {
    let (level, x, mask) = (Level::current()?, x.into(), mask.into());
    let mut values = Vec::new();
    let mut to = Vectors::<u64, T> { positions: None, values: Some(&mut values) };
    if let Some(x) = few(&x, &mut None).filter(|x| x.len() == mask.len()) {
        let word = mask.0.word();
        let mut places = to.places(word.1).map_err(|error| *error)?;
        put_word(word, |i| x[i], &mut places)?;
    } else {
        let (x, to) = (x, &mut to); // a copy of x: the other need never stand in memory
        select_many(level, &x, &Hits::Mask(of_len(mask, x.len())?), Some(to))?;
        to.shrink();
    }
    Ok(values)
}

/// [`compress`] into the front of `out`; returns how many elements there are.
///
/// ```
/// use gradix::select;
/// let mut out = [0.0; 3];
/// assert_eq!(select::compress_into(&[1.0, 2.0, 3.0], &[false, true, true], &mut out)?, 2);
/// assert_eq!(out, [2.0, 3.0, 0.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// As [`compress`]; [`Error::Room`].
#[inline(always)]
pub fn compress_into<'a, 'm, T: Float>(
    x: impl Into<View<'a, T>>,
    mask: impl Into<Mask<'m>>,
    out: &mut [T],
) -> Result<usize> {
    let (level, x, mask) = (Level::current()?, x.into(), mask.into());
    let mut to = Places::new::<u64>(None, Some(out));
    if let Some(x) = few(&x, &mut None).filter(|x| x.len() == mask.len()) {
        return put_word(mask.0.word(), |i| x[i], &mut to);
    }
    if let Some(answer) = select_block(level, &x, Some(mask.len()), &Hits::Mask(mask.0), &mut to) {
        return answer;
    }
    let (x, mut to) = (x, Slices::from(to)); // as above
    select_many(level, &x, &Hits::Mask(of_len(mask, x.len())?), Some(&mut to))
}

/// The positions of the set bits: compiled with this crate.
#[inline(never)]
fn of_mask(level: Level, mask: Mask<'_>, sink: &mut dyn Sink<f32>) -> Result<usize> {
    let (x, hits) = (Source::Length(mask.len()), Hits::Mask(mask.0));
    // The words of one block tell how many places are needed.
    let is_one = mask.len() <= WORDS * WORD;
    if is_one { write_blocks(level, &x, 0, &hits, sink) } else { write(level, &x, &hits, None, sink) }
        .map_err(|error| *error)
}

/// The indices at which `mask` is true, ascending: `np.flatnonzero(mask)`.
///
/// ```
/// use gradix::select;
/// assert_eq!(select::compress_indices::<u32>(&[false, true, true])?, [1, 2]);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// [`Error::Count`] where `I` is too narrow for the mask's length; [`Error::Level`]; [`Error::Memory`].
#[inline(always)]
pub fn compress_indices<'m, I: Position>(mask: impl Into<Mask<'m>>) -> Result<Vec<I>> {
    let (level, mask) = (Level::current()?, mask.into());
    fits::<I>(mask.len())?;
    let mut indices = Vec::new();
    let mut to = Vectors::<I, f32> { positions: Some(&mut indices), values: None };
    if mask.len() <= WORD {
        let word = mask.0.word();
        put_word(word, |_| 0.0, &mut to.places(word.1).map_err(|error| *error)?)?;
    } else {
        of_mask(level, mask, &mut to)?;
        to.shrink();
    }
    Ok(indices)
}

/// [`compress_indices`] into the front of `out`; returns how many there are.
///
/// ```
/// use gradix::select;
/// let mut out = [7u64; 3];
/// assert_eq!(select::compress_indices_into(&[false, true, true], &mut out)?, 2);
/// assert_eq!(out, [1, 2, 7]);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// As [`compress_indices`]; [`Error::Room`].
#[inline(always)]
pub fn compress_indices_into<'m, I: Position>(mask: impl Into<Mask<'m>>, out: &mut [I]) -> Result<usize> {
    let (level, mask) = (Level::current()?, mask.into());
    fits::<I>(mask.len())?;
    let mut to = Places::<f32>::new(Some(out), None);
    if mask.len() <= WORD {
        return put_word(mask.0.word(), |_| 0.0, &mut to);
    }
    of_mask(level, mask, &mut Slices::from(to))
}
