//! Checked index lists: where they stand, or as blocks of resolved offsets.

#![allow(unsafe_code)]

use super::{ErasedIndices, Mode};
use crate::array::{Erased3, ErasedView, K, Run, Word, Words, are_below};
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
fn are_all_below<X: Word>(list: &[X], bound: usize, level: Level) -> bool {
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

impl<'a> ErasedIndices<'a> {
    /// Refuses a list with an index that names no element.
    #[cold]
    pub(crate) fn check(&self, bound: usize, level: Level) -> Result<()> {
        let bound = match self.mode {
            Mode::Fill(_) => return Ok(()),
            Mode::Wrap | Mode::Clip if bound > 0 => return Ok(()),
            Mode::Wrap | Mode::Clip => 0,
            Mode::Raise => bound,
        };
        if self.list.len() == 0 {
            return Ok(());
        }
        with_integer!(self.list.width(), self.is_signed, check_view(&self.list, self.is_signed, bound, level))
    }

    /// A piece of the list.
    #[inline(always)]
    pub(crate) fn piece(&self, piece: Erased3<'a>, bound: usize) -> List<'a> {
        let (is_signed, mode, level) = (self.is_signed, self.mode, Level::Portable);
        List { words: Words::new(piece), is_signed, mode, bound, level }
    }
}

/// Refuses a run with an index outside `-bound..bound`, or outside `0..bound` if the type has no sign. The
/// run's first index has the given number in its list.
fn check_run<I: Word>(
    (run, number): (Run<'_, I>, usize),
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
    let lanes = one.lanes::<I>(one.rank() - 1);
    let len = lanes.lane_len();
    (0..list.len() / len).try_for_each(|l| check_run((lanes.lane(l), l * len), is_signed, bound, level))
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

/// A piece of a list of any type, mode and strides. It gives offsets, a block at a time, or itself where it stands.
#[derive(Clone, Copy)]
pub(crate) struct List<'a> {
    pub(crate) words: Words<'a>,
    is_signed: bool,
    mode: Mode<[u8; 16]>,
    bound: usize,
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
            let bound = in_place_bound::<X>(list.bound, list.is_signed);
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

    /// Refuses a list with an index that names no element, if the list is one run, or dense.
    #[cold]
    pub(crate) fn check_run(&self) -> Result<()> {
        fn look<I: Word>(list: &List<'_>, bound: usize) -> Result<()> {
            let run = match list.words.as_slice::<I>() {
                Some(slice) => Run::from(slice),
                None => {
                    let piece = list.words.piece();
                    let axis = (0..3)
                        .max_by_key(|&axis| if piece.strides()[axis] == 0 { 0 } else { piece.shape()[axis] });
                    piece.typed::<I>().run(axis.unwrap_or(K), [0; 3])
                }
            };
            check_run((run, 0), list.is_signed, bound, list.level)
        }
        let bound = match self.mode {
            Mode::Fill(_) => return Ok(()),
            Mode::Wrap | Mode::Clip if self.bound > 0 => return Ok(()),
            Mode::Wrap | Mode::Clip => 0,
            Mode::Raise => self.bound,
        };
        with_integer!(self.words.piece().width(), self.is_signed, look(self, bound))
    }

    #[inline(always)]
    pub(crate) fn stride(&self, axis: usize) -> isize {
        self.words.piece().strides()[axis]
    }

    /// Whether some indices may name no element.
    #[inline(always)]
    pub(crate) fn has_gaps(&self) -> bool {
        matches!(self.mode, Mode::Fill(_)) && !self.words.are_checked()
    }

    /// The level of the call.
    #[inline(always)]
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// The bytes of the value that fills.
    pub(crate) fn fill_value(&self) -> [u8; 16] {
        match self.mode {
            Mode::Fill(value) => value,
            _ => [0; 16],
        }
    }

    /// The first `mid` of an axis, and the rest.
    pub(crate) fn split_at(self, axis: usize, mid: usize) -> (Self, Self) {
        let (a, b) = self.words.split_at(axis, mid);
        (List { words: a, ..self }, List { words: b, ..self })
    }

    /// `out[k]` = what index number `k` means in the table, by its mode, where the list is one dense run. The list has
    /// been checked.
    pub(crate) fn gather_by_mode<W: Word, X: Word>(&self, table: &[W], list: &[X], out: &mut [W]) {
        // The bound, once more: what is below it needs no look at the table's length.
        let Some(table) = table.get(..self.bound) else { return };
        let (bound, last) = (table.len() as u64, table.len() as i64 - 1);
        // As the type is signed: the sign spread over 64 bits.
        let signed =
            |x: X| ((x.to_i64() as u64) << (64 - 8 * size_of::<X>())) as i64 >> (64 - 8 * size_of::<X>());
        let unsigned = |x: X| x.to_i64() as u64;
        let each = out.iter_mut().zip(list);
        match (self.mode, self.is_signed) {
            // One without a sign stands as it is, and is read so.
            (Mode::Raise, _) => each.for_each(|(out, &x)| {
                let i = signed(x);
                *out = table[if i < 0 { i + bound as i64 } else { i } as usize];
            }),
            (Mode::Wrap, true) => each.for_each(|(out, &x)| {
                let i = signed(x);
                *out = table[if (i as u64) < bound { i } else { i.rem_euclid(bound as i64) } as usize];
            }),
            (Mode::Wrap, false) => each.for_each(|(out, &x)| {
                let (i, bound) = (unsigned(x), self.bound as u64);
                *out = table[if i < bound { i } else { i % bound } as usize];
            }),
            (Mode::Clip, true) => each.for_each(|(out, &x)| {
                *out = table[signed(x).min(last).max(0) as usize];
            }),
            (Mode::Clip, false) => {
                each.for_each(|(out, &x)| *out = table[unsigned(x).min(last as u64) as usize])
            }
            (Mode::Fill(fill), is_signed) => {
                let fill = W::from_bytes(&fill);
                let at = |i: u64| match usize::try_from(i).ok().and_then(|i| table.get(i)) {
                    Some(&x) => x,
                    None => fill,
                };
                match is_signed {
                    true => each.for_each(|(out, &x)| *out = at(signed(x) as u64)),
                    false => each.for_each(|(out, &x)| *out = at(unsigned(x))),
                }
            }
        }
    }

    /// Overwrites the block with the offsets that the indices along `axis` from `index` on name; what names
    /// no element in a list that may have such indices becomes an offset beyond the bound. The list has been
    /// checked.
    #[inline(never)]
    pub(crate) fn fill(&self, axis: usize, index: [usize; 3], block: &mut [u64]) {
        with_integer!(
            self.words.piece().width(),
            self.is_signed,
            widen(self.words.piece().typed().run(axis, index), block, self.level)
        );
        let is_plain = match self.mode {
            Mode::Raise => !self.is_signed,
            Mode::Fill(_) => true, // what is outside stays so: a negative one is beyond all lengths, too
            Mode::Wrap | Mode::Clip => false,
        };
        if !is_plain && !self.words.are_checked() {
            f32::dispatch(self.level, Resolve { list: self, block });
        }
    }
}

/// The indices of a run as numbers of 64 bits, their signs spread.
fn widen<I: Word>(run: Run<'_, I>, block: &mut [u64], level: Level) {
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
            block.iter_mut().zip(&slice[..len]).for_each(|(o, &i)| *o = i.to_i64() as u64);
        }
        Some(slice) => f32::dispatch(level, Widen(&slice[..len], block)),
        None => block.iter_mut().enumerate().for_each(|(k, o)| *o = run.get(k).to_i64() as u64),
    }
}

/// Makes offsets of a block of indices, at a level.
struct Resolve<'r, 'a> {
    list: &'r List<'a>,
    block: &'r mut [u64],
}

impl Kernel<f32> for Resolve<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<f32>>(self, _: S) {
        let Resolve { list, block } = self;
        let (bound, last) = (list.bound as u64, list.bound as i64 - 1);
        match (list.mode, list.is_signed) {
            // The sign, spread over all bits, lets `bound` through where the index is negative.
            (Mode::Raise, _) => {
                block.iter_mut().for_each(|o| *o = o.wrapping_add(bound & (*o as i64 >> 63) as u64))
            }
            (Mode::Clip, true) => block.iter_mut().for_each(|o| *o = (*o as i64).min(last).max(0) as u64),
            (Mode::Clip, false) => block.iter_mut().for_each(|o| *o = (*o).min(last as u64)),
            // Only what is outside is divided: most indices are not.
            (_, is_signed) => block.iter_mut().filter(|o| **o >= bound).for_each(|o| {
                *o = if is_signed { (*o as i64).rem_euclid(bound as i64) as u64 } else { *o % bound };
            }),
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
