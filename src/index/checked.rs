//! Checked index lists: where they stand, as blocks of resolved offsets, or, of dense vectors, each index resolved as
//! it is read.

#![allow(unsafe_code)]

use super::{ErasedIndices, Mode};
use crate::array::{AxisSlice, Erased3, ErasedSlice, ErasedView, INDEX, Word, Words, are_below};
use crate::error::{Error, Result};
use crate::parallel;
use crate::simd::{Float, Kernel, Level, Simd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The number of indices that a second thread should at least check.
const CHECK_GRAIN: usize = 1 << 16;

/// Lists up to this length are checked without a level.
const SHORT: usize = 12;

/// The pass over a list, at a level.
struct Inside<'a, X> {
    list: &'a [X],
    bound: usize,
}

impl<X: Word> Kernel<f32> for Inside<'_, X> {
    type Output = bool;
    #[inline(always)]
    fn run<S: Simd<f32>>(self, _: S) -> bool {
        are_below(self.list, self.bound)
    }
}

/// Whether all of the list, read without a sign, is below `bound`.
#[inline(always)]
pub(crate) fn are_all_below<X: Word>(list: &[X], bound: usize, level: Level) -> bool {
    if list.len() <= SHORT {
        // Branches are cheaper than a vector or two.
        list.iter().all(|&x| (x.to_i64() as u64) < bound as u64)
    } else if list.len() < 2 * CHECK_GRAIN {
        f32::dispatch(level, Inside { list, bound })
    } else {
        let inside = AtomicBool::new(true);
        parallel::for_each(list, CHECK_GRAIN, |_, list| {
            if !f32::dispatch(level, Inside { list, bound }) {
                inside.store(false, Relaxed);
            }
        });
        inside.into_inner()
    }
}

/// Calls a function for the integer type of this width and sign.
macro_rules! with_integer {
    ($width:expr, $is_signed:expr, $f:ident $(::<$t:ty>)? ($($a:expr),*)) => {
        match ($width, $is_signed) {
            (1, false) => $f::<$($t,)? u8>($($a),*),
            (1, true) => $f::<$($t,)? i8>($($a),*),
            (2, false) => $f::<$($t,)? u16>($($a),*),
            (2, true) => $f::<$($t,)? i16>($($a),*),
            (4, false) => $f::<$($t,)? u32>($($a),*),
            (4, true) => $f::<$($t,)? i32>($($a),*),
            (_, false) => $f::<$($t,)? u64>($($a),*),
            (_, true) => $f::<$($t,)? i64>($($a),*),
        }
    };
}
pub(crate) use with_integer;

impl<'a> ErasedIndices<'a> {
    /// Refuses a list with an index that names no element.
    #[cold]
    pub(crate) fn check(&self, bound: usize, level: Level) -> Result<()> {
        let meaning = self.meaning(bound);
        if self.list.len() == 0 || meaning.takes_any() {
            return Ok(());
        }
        let (is_signed, places) = (self.is_signed, meaning.places());
        with_integer!(self.list.width(), is_signed, check_view(&self.list, is_signed, places, level))
    }

    /// A piece of the list.
    #[inline(always)]
    pub(crate) fn piece(&self, piece: Erased3<'a>, bound: usize) -> List<'a> {
        List { words: Words::new(piece), meaning: self.meaning(bound), level: Level::Portable }
    }

    /// What the indices mean on an axis of this length.
    #[inline(always)]
    fn meaning(&self, bound: usize) -> Meaning {
        Meaning { is_signed: self.is_signed, mode: self.mode, bound }
    }
}

/// Refuses a run with an index outside `-bound..bound`, or outside `0..bound` if the type has no sign. The
/// run's first index has the given number in its list.
fn check_run<I: Word>(
    (run, number): (AxisSlice<'_, I>, usize),
    is_signed: bool,
    bound: usize,
    level: Level,
) -> Result<()> {
    struct Range<'a, I>(&'a [I], u64, u64);
    impl<I: Word> Kernel<f32> for Range<'_, I> {
        type Output = bool;
        #[inline(always)]
        fn run<S: Simd<f32>>(self, _: S) -> bool {
            let Range(list, low, count) = self;
            list.iter().fold(true, |all, &i| all & is_inside(i, low, count))
        }
    }
    /// Whether an index is one of `count` from −`low` on.
    #[inline(always)]
    fn is_inside<I: Word>(i: I, low: u64, count: u64) -> bool {
        (i.to_i64() as u64).wrapping_add(low) < count
    }

    // From −bound on, where there are negative ones: one comparison without a sign. Twice a length does not
    // overflow u64.
    let (low, count) = if is_signed { (bound as u64, 2 * bound as u64) } else { (0, bound as u64) };
    let is_inside = |i: I| is_inside(i, low, count);
    let all = match run.as_slice() {
        Some(slice) => f32::dispatch(level, Range(slice, low, count)),
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
fn check_view<I: Word>(list: &ErasedView<'_>, is_signed: bool, bound: usize, level: Level) -> Result<()> {
    let mut flat = None;
    let one = list.flattened(&mut flat).unwrap_or(*list); // of rank 1, or at least 2
    let slices = one.axis_slices::<I>(one.rank() - 1);
    let len = slices.slice_len();
    (0..list.len() / len).try_for_each(|l| check_run((slices.slice(l), l * len), is_signed, bound, level))
}

/// How many offsets a block has at most: few enough to stay in L1 beside the data, enough to forget the cost
/// of a block.
pub(crate) const BLOCK: usize = 256;

/// Declares a block of offsets for a list of so many indices. Short lists have a shorter block: they would feel the
/// other's being zeroed.
macro_rules! block_for {
    ($block:ident, $len:expr) => {
        let (mut small, mut middle, mut large);
        let $block: &mut [u64] = match $len {
            ..=16 => {
                small = [0; 16];
                &mut small
            }
            ..=64 => {
                middle = [0; 64];
                &mut middle
            }
            _ => {
                large = [0; $crate::index::checked::BLOCK];
                &mut large
            }
        };
    };
}
pub(crate) use block_for;

/// What the numbers of a list mean on the axis.
#[derive(Clone, Copy)]
pub(crate) struct Meaning {
    pub(crate) is_signed: bool,
    pub(crate) mode: Mode<[u8; 16]>,
    /// The length of the axis.
    pub(crate) bound: usize,
}

impl Meaning {
    /// Whether there is no index that has to be refused.
    pub(crate) fn takes_any(&self) -> bool {
        match self.mode {
            Mode::Fill(_) => true,
            Mode::Wrap | Mode::Clip => self.bound > 0,
            Mode::Raise => false,
        }
    }

    /// Whether there is nothing to refuse in a list. Where any index will do and none is negative, the list is read
    /// without a sign from then on.
    #[inline(always)]
    pub(crate) fn settle(&mut self, list: &ErasedSlice<'_>, level: Level) -> bool {
        fn is_plain<X: Word>(list: &ErasedSlice<'_>, level: Level) -> bool {
            are_all_below::<X>(list.typed(), in_place_bound::<X>(usize::MAX, true), level)
        }
        fn is_inside<I: Word>(list: &ErasedSlice<'_>, meaning: &Meaning, level: Level) -> bool {
            check_run((AxisSlice::from(list.typed::<I>()), 0), meaning.is_signed, meaning.places(), level)
                .is_ok()
        }
        if !self.takes_any() {
            return with_integer!(list.width(), self.is_signed, is_inside(list, self, level));
        }
        // What is to be filled is beyond all lengths if it is negative, too.
        if self.is_signed && !matches!(self.mode, Mode::Fill(_)) {
            self.is_signed = !match list.width() {
                1 => is_plain::<u8>(list, level),
                2 => is_plain::<u16>(list, level),
                4 => is_plain::<u32>(list, level),
                _ => is_plain::<u64>(list, level),
            };
        }
        true
    }

    /// How many places an index may name, where not any will do.
    fn places(&self) -> usize {
        if self.mode == Mode::Raise { self.bound } else { 0 }
    }

    /// The bytes of the value that fills, where some indices may name no element.
    pub(crate) fn fill_value(&self) -> Option<[u8; 16]> {
        match self.mode {
            Mode::Fill(value) => Some(value),
            _ => None,
        }
    }

    /// Calls `work` with what makes an offset of an index. The list is settled.
    #[inline(always)]
    pub(crate) fn resolve_each<I: Word>(&self, work: impl OffsetWork<I>) {
        let (n, last) = (self.bound as u64, (self.bound as u64).wrapping_sub(1));
        match self.mode {
            Mode::Raise if I::IS_SIGNED => work.run(|i| from_end(i.to_i64(), n as i64) as u64),
            Mode::Raise => work.run(|i| i.to_i64() as u64),
            Mode::Clip if I::IS_SIGNED => work.run(|i| clipped(i.to_i64(), last as i64) as u64),
            Mode::Clip => work.run(|i| (i.to_i64() as u64).min(last)),
            Mode::Wrap if I::IS_SIGNED => work.run(|i| {
                let i = i.to_i64() as u64;
                if i < n {
                    return i;
                }
                // At most one length before or after the axis; others are divided.
                let near = i.wrapping_sub(n).min(i.wrapping_add(n));
                if near < n { near } else { rest_of(i, n, true) }
            }),
            Mode::Wrap => work.run(|i| {
                let i = i.to_i64() as u64;
                if i < n { i } else { i % n }
            }),
            Mode::Fill(_) => work.run_with_gaps(|i| i.to_i64() as u64), // a negative one is beyond all lengths, too
        }
    }

    /// Makes offsets of a block of indices.
    #[inline(always)]
    fn resolve(&self, block: &mut [u64], level: Level) {
        let is_plain = match self.mode {
            Mode::Raise => !self.is_signed,
            Mode::Fill(_) => true, // what is outside stays so: a negative one is beyond all lengths, too
            Mode::Wrap | Mode::Clip => false,
        };
        if !is_plain {
            f32::dispatch(level, Resolve { meaning: self, block });
        }
    }
}

/// A piece of a list of any type, mode and strides. It gives offsets, a block at a time, or itself where it stands.
#[derive(Clone, Copy)]
pub(crate) struct List<'a> {
    pub(crate) words: Words<'a>,
    pub(crate) meaning: Meaning,
    /// At which indices are resolved: the call's, once the list was looked at.
    level: Level,
}

impl List<'_> {
    /// Looks whether the list can be read where it stands: nothing negative, all below the bound. The mode
    /// then plays no part.
    #[inline(always)]
    pub(crate) fn check_in_place(&mut self, level: Level) -> bool {
        #[inline(always)]
        fn look<X: Word>(list: &List<'_>, level: Level) -> Option<usize> {
            let bound = in_place_bound::<X>(list.meaning.bound, list.meaning.is_signed);
            let inside = match list.words.as_slice::<X>() {
                Some(list) => are_all_below(list, bound, level),
                None => list
                    .words
                    .all::<X>(|run| (0..run.len()).all(|k| (run.get(k).to_i64() as u64) < bound as u64)),
            };
            inside.then_some(bound)
        }
        self.level = level;
        let below = match self.words.piece().width() {
            1 => look::<u8>(self, level),
            2 => look::<u16>(self, level),
            4 => look::<u32>(self, level),
            _ => look::<u64>(self, level),
        };
        // SAFETY: each index of the piece was looked at: it is one of the slice's, or of one of the runs.
        below.map(|below| unsafe { self.words.set_below(below) }).is_some()
    }

    /// [`List::check_in_place`], a function of its own.
    #[inline(never)]
    pub(crate) fn check_in_place_apart(&mut self, level: Level) -> bool {
        self.check_in_place(level)
    }

    /// As [`Meaning::settle`], for a dense list in which any index will do.
    pub(crate) fn settle(&mut self, level: Level) {
        self.level = level;
        if let Some(list) = self.words.piece().as_vector() {
            self.meaning.settle(&list, level);
        }
    }

    /// Refuses a list with an index that names no element, if the list is one run, or dense.
    #[cold]
    pub(crate) fn check_run(&self) -> Result<()> {
        fn look<I: Word>(list: &List<'_>, bound: usize) -> Result<()> {
            let run = match list.words.as_slice::<I>() {
                Some(slice) => AxisSlice::from(slice),
                None => {
                    let piece = list.words.piece();
                    let axis = (0..3)
                        .max_by_key(|&axis| if piece.strides()[axis] == 0 { 0 } else { piece.shape()[axis] });
                    piece.typed::<I>().run(axis.unwrap_or(INDEX), [0; 3])
                }
            };
            check_run((run, 0), list.meaning.is_signed, bound, list.level)
        }
        if self.meaning.takes_any() {
            return Ok(());
        }
        with_integer!(self.words.piece().width(), self.meaning.is_signed, look(self, self.meaning.places()))
    }

    #[inline(always)]
    pub(crate) fn stride(&self, axis: usize) -> isize {
        self.words.piece().strides()[axis]
    }

    /// Whether some indices may name no element.
    #[inline(always)]
    pub(crate) fn has_gaps(&self) -> bool {
        matches!(self.meaning.mode, Mode::Fill(_)) && !self.words.are_checked()
    }

    /// The level of the call.
    #[inline(always)]
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// The bytes of the value that fills.
    pub(crate) fn fill_value(&self) -> [u8; 16] {
        self.meaning.fill_value().unwrap_or_default()
    }

    /// The first `mid` of an axis, and the rest.
    pub(crate) fn split_at(self, axis: usize, mid: usize) -> (Self, Self) {
        let (a, b) = self.words.split_at(axis, mid);
        (List { words: a, ..self }, List { words: b, ..self })
    }

    /// Overwrites the block with the offsets that the indices along `axis` from `index` on name; what names
    /// no element in a list that may have such indices becomes an offset beyond the bound. The list has been
    /// checked.
    #[inline(never)]
    pub(crate) fn fill(&self, axis: usize, index: [usize; 3], block: &mut [u64]) {
        with_integer!(
            self.words.piece().width(),
            self.meaning.is_signed,
            widen(self.words.piece().typed().run(axis, index), 0, block, self.level)
        );
        if !self.words.are_checked() {
            self.meaning.resolve(block, self.level);
        }
    }
}

/// What is done with the offsets of a list's indices.
pub(crate) trait OffsetWork<I>: Sized {
    /// All offsets are below the bound.
    fn run(self, offset: impl Fn(I) -> u64);
    /// An offset that is not below the bound names no element.
    fn run_with_gaps(self, offset: impl Fn(I) -> u64);
}

/// A negative index counted from the end of an axis of length `n`: its sign, spread over all bits, lets `n` through.
#[inline(always)]
fn from_end(i: i64, n: i64) -> i64 {
    i.wrapping_add(n & i >> 63)
}

/// The nearest place on an axis whose last one is given.
#[inline(always)]
fn clipped(i: i64, last: i64) -> i64 {
    i.min(last).max(0)
}

/// What a division leaves.
#[cold]
#[inline(never)]
fn rest_of(i: u64, n: u64, is_signed: bool) -> u64 {
    if is_signed { (i as i64).rem_euclid(n as i64) as u64 } else { i % n }
}

/// The indices of a run from number `first` on as numbers of 64 bits, their signs spread.
fn widen<I: Word>(run: AxisSlice<'_, I>, first: usize, block: &mut [u64], level: Level) {
    struct Widen<'a, I>(&'a [I], &'a mut [u64]);
    impl<I: Word> Kernel<f32> for Widen<'_, I> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd<f32>>(self, _: S) {
            self.1.iter_mut().zip(self.0).for_each(|(o, &i)| *o = i.to_i64() as u64);
        }
    }
    let len = block.len();
    match run.as_slice() {
        Some(slice) if len <= SHORT => {
            block.iter_mut().zip(&slice[first..][..len]).for_each(|(o, &i)| *o = i.to_i64() as u64);
        }
        Some(slice) => f32::dispatch(level, Widen(&slice[first..][..len], block)),
        None => block.iter_mut().enumerate().for_each(|(k, o)| *o = run.get(first + k).to_i64() as u64),
    }
}

/// Makes offsets of a block of indices, at a level.
struct Resolve<'r> {
    meaning: &'r Meaning,
    block: &'r mut [u64],
}

impl Kernel<f32> for Resolve<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<f32>>(self, _: S) {
        let Resolve { meaning: &Meaning { is_signed, mode, bound }, block } = self;
        let (n, last) = (bound as i64, bound as i64 - 1);
        match (mode, is_signed) {
            (Mode::Clip, true) => block.iter_mut().for_each(|o| *o = clipped(*o as i64, last) as u64),
            (Mode::Clip, false) => block.iter_mut().for_each(|o| *o = (*o).min(last as u64)),
            (Mode::Wrap, _) => {
                // By vectors what is at most one length before or after the axis, and is below twice its length then;
                // what is farther away is divided, if there is any: mostly there is not.
                let (before, end) = (if is_signed { n } else { 0 }, n.saturating_mul(2) - 1);
                let mut signs = 0;
                for o in block.iter_mut() {
                    let i = *o as i64;
                    signs |= i.wrapping_add(before) | end.wrapping_sub(i);
                }
                if signs >= 0 {
                    let near = |i: i64| from_end(from_end(i, n).wrapping_sub(n), n);
                    block.iter_mut().for_each(|o| *o = near(*o as i64) as u64);
                } else {
                    block.iter_mut().for_each(|o| *o = rest_of(*o, bound as u64, is_signed));
                }
            }
            _ => block.iter_mut().for_each(|o| *o = from_end(*o as i64, n) as u64),
        }
    }
}

/// Below this an index of the type can be read where it stands, without a sign: of a signed type, what is at least
/// half of the range is negative.
#[inline(always)]
pub(crate) fn in_place_bound<X: Word>(bound: usize, is_signed: bool) -> usize {
    let half = usize::try_from(1u64 << (8 * size_of::<X>() - 1)).unwrap_or(usize::MAX);
    if is_signed { bound.min(half) } else { bound }
}

/// A block of offsets as a list of one run along `axis`, each shown to be below `bound`.
#[inline(always)]
pub(crate) fn checked_block(block: &[u64], axis: usize, bound: usize, level: Level) -> Words<'_> {
    struct Checked<'a>(&'a [u64], usize, usize);
    impl<'a> Kernel<f32> for Checked<'a> {
        type Output = Option<Words<'a>>;
        #[inline(always)]
        fn run<S: Simd<f32>>(self, _: S) -> Self::Output {
            Words::from_block(self.0, self.1, self.2)
        }
    }
    // What resolves indices is right, or this fails: nothing that reads memory rests on it.
    f32::dispatch(level, Checked(block, axis, bound)).expect("resolved offsets are in bounds")
}
