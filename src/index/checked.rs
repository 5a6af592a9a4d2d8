//! Checked index lists: where they stand, or as blocks of resolved offsets.

#![allow(unsafe_code)]

use super::{ErasedIndices, Mode};
use crate::array::{Checked, Erased3, ErasedView, Grid, K, Run, Word};
use crate::error::{Error, Result};
use crate::parallel;
use crate::simd::{Float, Kernel, Level, Simd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The number of indices that a second thread should at least check.
const CHECK_GRAIN: usize = 1 << 16;

/// Lists up to this length are checked without a level.
const SHORT: usize = 64;

/// A dense list of plain indices, where it stands: none is negative, each is below its bound.
#[derive(Clone, Copy)]
pub(crate) enum Words<'a> {
    U8(Checked<'a, u8>),
    U16(Checked<'a, u16>),
    U32(Checked<'a, u32>),
    U64(Checked<'a, u64>),
}

/// The pass over a list, at a level.
struct Inside<'a, X> {
    list: &'a [X],
    bound: usize,
}

impl<X: Word> Kernel<f32> for Inside<'_, X> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd<f32>>(self, _: S) -> bool {
        Checked::new(self.list, self.bound).is_some()
    }
}

/// The list, if all of it, read without a sign, is below `bound`.
fn check_words<X: Word>(list: &[X], bound: usize, is_signed: bool, level: Level) -> Option<Checked<'_, X>> {
    // Of a signed type, what is at least half of the range is negative.
    let half = 1u64 << (8 * size_of::<X>() - 1);
    let bound = if is_signed { bound.min(usize::try_from(half).unwrap_or(usize::MAX)) } else { bound };
    if list.len() <= SHORT {
        return Checked::new(list, bound);
    }
    let inside = AtomicBool::new(true);
    parallel::for_each(list, CHECK_GRAIN, |_, list| {
        if !f32::dispatch(level, Inside { list, bound }) {
            inside.store(false, Relaxed);
        }
    });
    // SAFETY: each word is in one of the pieces, and in each all words are below the bound.
    inside.into_inner().then(|| unsafe { Checked::new_unchecked(list, bound) })
}

/// Calls a function for the integer type of this width and sign.
macro_rules! with_integer {
    ($width:expr, $is_signed:expr, $f:ident ($($a:expr),*)) => {
        match ($width, $is_signed) {
            (1, false) => $f::<u8>($($a),*),
            (1, true) => $f::<i8>($($a),*),
            (2, false) => $f::<u16>($($a),*),
            (2, true) => $f::<i16>($($a),*),
            (4, false) => $f::<u32>($($a),*),
            (4, true) => $f::<i32>($($a),*),
            (_, false) => $f::<u64>($($a),*),
            (_, true) => $f::<i64>($($a),*),
        }
    };
}

/// The list where it stands, `list` along the indexed axis, if none of its indices is negative or out of bounds.
pub(crate) fn in_place<'a>(
    list: &Erased3<'a>,
    is_signed: bool,
    bound: usize,
    level: Level,
) -> Option<Words<'a>> {
    match list.width() {
        1 => check_words(list.typed().run(K, [0; 3]).as_slice()?, bound, is_signed, level).map(Words::U8),
        2 => check_words(list.typed().run(K, [0; 3]).as_slice()?, bound, is_signed, level).map(Words::U16),
        4 => check_words(list.typed().run(K, [0; 3]).as_slice()?, bound, is_signed, level).map(Words::U32),
        _ => check_words(list.typed().run(K, [0; 3]).as_slice()?, bound, is_signed, level).map(Words::U64),
    }
}

/// Refuses a dense list with a plain index that names no element.
#[cold]
pub(crate) fn check_dense(list: &Erased3<'_>, is_signed: bool, bound: usize) -> Result<()> {
    with_integer!(list.width(), is_signed, check_run((list.typed().run(K, [0; 3]), 0), is_signed, bound))
}

impl<'a> ErasedIndices<'a> {
    /// Refuses a list with an index that names no element; gives it where it stands, if it can be read there.
    pub(crate) fn check(&self, bound: usize, level: Level) -> Result<Option<Words<'a>>> {
        let len = self.list.len();
        let bound = match self.mode {
            Mode::Fill(_) => return Ok(None),
            _ if len == 0 => return Ok(None),
            Mode::Wrap | Mode::Clip if bound > 0 => return Ok(None),
            Mode::Wrap | Mode::Clip => 0,
            Mode::Raise => bound,
        };
        if self.list.is_dense() {
            let list = self.list.piece([1, len, 1], [0, 1, 0]);
            let words = in_place(&list, self.is_signed, bound, level);
            if words.is_none() {
                check_dense(&list, self.is_signed, bound)?;
            }
            return Ok(words);
        }
        with_integer!(self.list.width(), self.is_signed, check_view(&self.list, self.is_signed, bound))?;
        Ok(None)
    }

    /// What resolves the indices of a piece of the list.
    pub(crate) fn resolver(&self, piece: Erased3<'a>, bound: usize) -> Resolver<'a> {
        Resolver { piece, is_signed: self.is_signed, mode: self.mode, bound }
    }
}

/// Refuses a run with an index outside `-bound..bound`, or outside `0..bound` if the type has no sign. The run's first
/// index has the given number in its list.
fn check_run<I: Word>((run, number): (Run<'_, I>, usize), is_signed: bool, bound: usize) -> Result<()> {
    // From −bound on, where there are negative ones: one comparison without a sign. Twice a length does not overflow u64.
    let (low, count) = if is_signed { (bound as u64, 2 * bound as u64) } else { (0, bound as u64) };
    let is_inside = |i: I| (i.to_i64() as u64).wrapping_add(low) < count;
    let all = match run.as_slice() {
        Some(slice) => slice.iter().fold(true, |all, &i| all & is_inside(i)),
        None => (0..run.len()).fold(true, |all, k| all & is_inside(run.get(k))),
    };
    match if all { None } else { (0..run.len()).find(|&k| !is_inside(run.get(k))) } {
        None => Ok(()),
        Some(k) => {
            let i = run.get(k).to_i64();
            let value = if is_signed { i128::from(i) } else { i128::from(i as u64) };
            Err(Error::Index { position: number + k, value, bound })
        }
    }
}

/// As [`check_run`], for any view.
fn check_view<I: Word>(list: &ErasedView<'_>, is_signed: bool, bound: usize) -> Result<()> {
    let one = list.flattened().unwrap_or(*list); // of rank 1, or at least 2
    let lanes = one.lanes::<I>(one.rank() - 1);
    let len = lanes.lane_len();
    (0..list.len() / len).try_for_each(|l| check_run((lanes.lane(l), l * len), is_signed, bound))
}

/// No offset: what an index that names no element is resolved to.
pub(crate) const NOWHERE: u64 = u64::MAX;

/// How many offsets a block has at most: few enough to stay in L1 beside the data, enough to forget the cost of a block.
pub(crate) const BLOCK: usize = 256;

/// A piece of a list of any type, mode and strides, checked before; it gives offsets, a block at a time.
#[derive(Clone, Copy)]
pub(crate) struct Resolver<'a> {
    piece: Erased3<'a>,
    is_signed: bool,
    mode: Mode<[u8; 16]>,
    bound: usize,
}

impl<'a> Resolver<'a> {
    /// What resolves the plain indices of a piece.
    pub(crate) fn plain(piece: Erased3<'a>, is_signed: bool, bound: usize) -> Self {
        Resolver { piece, is_signed, mode: Mode::Raise, bound }
    }

    /// Overwrites the block with the offsets that the indices along `axis` from `index` on name, or [`NOWHERE`].
    #[inline(never)]
    fn fill(&self, axis: usize, index: [usize; 3], block: &mut [u64]) {
        with_integer!(
            self.piece.width(),
            self.is_signed,
            resolve(self, self.piece.typed().run(axis, index), block)
        )
    }
}

fn resolve<I: Word>(resolver: &Resolver<'_>, run: Run<'_, I>, block: &mut [u64]) {
    let (bound, is_signed) = (resolver.bound as u64, resolver.is_signed);
    match resolver.mode {
        Mode::Raise if !is_signed => each(run, block, |i| i as u64),
        // The sign, spread over all bits, lets `bound` through where the index is negative.
        Mode::Raise => each(run, block, |i| i.wrapping_add(bound as i64 & i >> 63) as u64),
        Mode::Wrap if !is_signed => {
            each(run, block, |i| if (i as u64) < bound { i as u64 } else { i as u64 % bound })
        }
        Mode::Wrap => {
            each(
                run,
                block,
                |i| if (i as u64) < bound { i as u64 } else { i.rem_euclid(bound as i64) as u64 },
            )
        }
        Mode::Clip if !is_signed => each(run, block, |i| (i as u64).min(bound - 1)),
        Mode::Clip => each(run, block, |i| i.clamp(0, bound as i64 - 1) as u64),
        Mode::Fill(_) => each(run, block, |i| if (i as u64) < bound { i as u64 } else { NOWHERE }),
    }
}

#[inline(always)]
fn each<I: Word>(run: Run<'_, I>, block: &mut [u64], resolve: impl Fn(i64) -> u64) {
    let len = block.len();
    match run.as_slice() {
        Some(slice) => block.iter_mut().zip(&slice[..len]).for_each(|(o, &i)| *o = resolve(i.to_i64())),
        None => block.iter_mut().enumerate().for_each(|(k, o)| *o = resolve(run.get(k).to_i64())),
    }
}

/// A piece of a checked list.
#[derive(Clone, Copy)]
pub(crate) enum List<'a> {
    /// Where it stands: the number of its first index, and its strides.
    InPlace(Words<'a>, usize, [usize; 3]),
    /// To be resolved.
    Resolved(Resolver<'a>),
}

impl<'a> List<'a> {
    pub(crate) fn stride(&self, axis: usize) -> isize {
        match self {
            List::InPlace(_, _, strides) => strides[axis] as isize,
            List::Resolved(resolver) => resolver.piece.strides()[axis],
        }
    }

    /// Whether some indices may name no element.
    pub(crate) fn has_gaps(&self) -> bool {
        matches!(self, List::Resolved(Resolver { mode: Mode::Fill(_), .. }))
    }

    /// The bytes of the value that fills.
    pub(crate) fn fill_value(&self) -> [u8; 16] {
        match self {
            List::Resolved(Resolver { mode: Mode::Fill(value), .. }) => *value,
            _ => [0; 16],
        }
    }

    /// The first `mid` of an axis, and the rest.
    pub(crate) fn split_at(self, axis: usize, mid: usize) -> (Self, Self) {
        match self {
            List::InPlace(words, first, strides) => {
                (self, List::InPlace(words, first + mid * strides[axis], strides))
            }
            List::Resolved(resolver) => {
                let (a, b) = resolver.piece.split_at(axis, mid);
                let part = |piece| List::Resolved(Resolver { piece, ..resolver });
                (part(a), part(b))
            }
        }
    }

    /// Overwrites the block with the offsets of the indices along `axis` from `index` on.
    #[inline(always)]
    pub(crate) fn fill(&self, axis: usize, index: [usize; 3], block: &mut [u64]) {
        match self {
            List::InPlace(words, first, strides) => {
                let first = first + (0..3).map(|d| index[d] * strides[d]).sum::<usize>();
                words.widen(first, strides[axis], block);
            }
            List::Resolved(resolver) => resolver.fill(axis, index, block),
        }
    }
}

impl<'a> Words<'a> {
    #[inline(never)]
    fn widen(&self, first: usize, stride: usize, block: &mut [u64]) {
        fn each<X: Word>(list: &[X], stride: usize, block: &mut [u64]) {
            let len = block.len();
            match stride {
                1 => block.iter_mut().zip(&list[..len]).for_each(|(o, &i)| *o = i.to_i64() as u64),
                _ => block.iter_mut().enumerate().for_each(|(k, o)| *o = list[k * stride].to_i64() as u64),
            }
        }
        match self {
            Words::U8(words) => each(&words.list()[first..], stride, block),
            Words::U16(words) => each(&words.list()[first..], stride, block),
            Words::U32(words) => each(&words.list()[first..], stride, block),
            Words::U64(words) => each(&words.list()[first..], stride, block),
        }
    }
}

/// A block of offsets as a list of one run along `axis`, each shown to be below `bound`.
#[inline(always)]
pub(crate) fn checked_block(block: &[u64], axis: usize, bound: usize) -> Grid<'_, u64> {
    let mut strides = [0; 3];
    strides[axis] = 1;
    // What resolves indices is right, or this fails: nothing that reads memory rests on it.
    Grid::new(Checked::new(block, bound).expect("resolved offsets are in bounds"), 0, strides)
}
