//! The rows' labels, of any integer type, and what those of the rows that count amount to.

use super::SoftmaxXent;
use super::math::NO_CLASS;
use crate::array::{ErasedView, Word};
use crate::error::{Error, Result};
use crate::index::ErasedIndices;
use crate::index::checked::in_place_bound;
use crate::order;
use crate::simd::scaled::{self, Scaled};
use crate::simd::{Float, Kernel, Level, Simd};
use std::borrow::Cow;

/// One label a row, in C order.
pub(crate) struct Labels<'a> {
    list: List<'a>,
    /// Whether the labels' type has a sign, which is not read.
    is_signed: bool,
    /// The label of rows that do not count, read without a sign, if one of this type can say so.
    ignored: Option<u64>,
}

/// A slice of the labels, read without a sign: of those that are classes none is negative.
enum List<'a> {
    /// No row has a label.
    None,
    U8(Cow<'a, [u8]>),
    U16(Cow<'a, [u16]>),
    U32(Cow<'a, [u32]>),
    U64(Cow<'a, [u64]>),
}

/// What a function answers for a list, whatever its width.
macro_rules! of_any_width {
    ($list:expr, None => $none:expr, $name:ident => $some:expr) => {
        match $list {
            List::None => $none,
            List::U8($name) => $some,
            List::U16($name) => $some,
            List::U32($name) => $some,
            List::U64($name) => $some,
        }
    };
}

/// A label as an integer of `width` bytes has it, read without a sign, if one can have it.
fn word_of(label: i128, width: usize, is_signed: bool) -> Option<u64> {
    let (bits, of_sign) = (8 * width as u32, u32::from(is_signed));
    let values = if is_signed { -(1 << (bits - 1)) } else { 0 }..1i128 << (bits - of_sign);
    values.contains(&label).then_some(label as u64 & (u64::MAX >> (u64::BITS - bits)))
}

/// The elements of a view, in C order: where they stand, if they are dense.
#[inline(always)]
fn slice<'a, X: Word>(view: &ErasedView<'a>) -> Cow<'a, [X]> {
    match view.as_slice() {
        Some(slice) => Cow::Borrowed(slice),
        None => Cow::Owned(collected(view)),
    }
}

#[inline(never)]
fn collected<X: Word>(view: &ErasedView<'_>) -> Vec<X> {
    view.typed::<X>().to_vec()
}

impl<'a> Labels<'a> {
    /// Of rows without targets, which have a gradient all the same: their probabilities.
    pub(super) fn none() -> Self {
        Labels { list: List::None, is_signed: false, ignored: None }
    }

    #[inline(always)]
    pub(super) fn new(labels: &ErasedIndices<'a>, ignored: Option<i128>) -> Self {
        let &ErasedIndices { ref list, is_signed, .. } = labels;
        let ignored = ignored.and_then(|label| word_of(label, list.width(), is_signed));
        let list = match list.width() {
            1 => List::U8(slice(list)),
            2 => List::U16(slice(list)),
            4 => List::U32(slice(list)),
            _ => List::U64(slice(list)),
        };
        Labels { list, is_signed, ignored }
    }

    fn len(&self) -> usize {
        of_any_width!(&self.list, None => 0, list => list.len())
    }

    /// The classes of the rows from `first` on, `NO_CLASS` for ignored ones.
    pub(super) fn read(&self, first: usize, to: &mut [usize]) {
        of_any_width!(&self.list, None => to.fill(NO_TARGET), list => read(&list[first..], self.ignored, to));
    }

    /// Calls `f` with each row and its class.
    fn each(&self, mut f: impl FnMut(usize, usize)) {
        let mut classes = [0; 256];
        for first in (0..self.len()).step_by(classes.len()) {
            let classes = &mut classes[..256.min(self.len() - first)];
            self.read(first, classes);
            (first..).zip(&*classes).for_each(|(row, &class)| f(row, class));
        }
    }

    /// Says which label is the first that is neither a class nor ignored.
    #[cold]
    fn wrong(&self, classes: usize) -> Error {
        let word = |row: usize| of_any_width!(&self.list, None => 0, list => list[row].to_i64());
        let bits = of_any_width!(&self.list, None => u64::BITS, list => 8 * width(list) as u32);
        let value = |row| match self.is_signed {
            true => i128::from(word(row) << (u64::BITS - bits) >> (u64::BITS - bits)),
            false => i128::from(word(row) as u64),
        };
        let is_class = |row| (0..classes as i128).contains(&value(row));
        let is_wrong = |&row: &usize| Some(word(row) as u64) != self.ignored && !is_class(row);
        let row = (0..self.len()).find(is_wrong).unwrap_or(0);
        Error::Label { row, value: value(row), classes }
    }

    /// What the labels of the rows that count amount to, all of them checked.
    #[inline(always)]
    pub(super) fn count<T: Float>(
        &self,
        xent: &SoftmaxXent<T>,
        classes: usize,
        level: Level,
    ) -> Result<Counted<T>> {
        let Some(ignored) = self.ignored(classes, level) else { return Err(self.wrong(classes)) };
        let rows = self.len() - ignored;
        match (&xent.class_weights, &xent.row_weights) {
            (None, None) => Ok(Counted { rows, weight: Scaled::of_f64(rows as f64), heaviest: T::ONE }),
            _ => Ok(self.weigh(xent, rows)),
        }
    }

    /// How many labels are ignored; `None` where one is neither that nor a class.
    #[inline(never)]
    fn ignored(&self, classes: usize, level: Level) -> Option<usize> {
        of_any_width!(&self.list, None => Some(0), list => {
            f32::dispatch(level, Checked { list, bound: self.bound(list, classes), ignored: self.ignored })
        })
    }

    /// [`Labels::count`] where classes or rows have weights, and `rows` count.
    fn weigh<T: Float>(&self, xent: &SoftmaxXent<T>, rows: usize) -> Counted<T> {
        let mut counted = Counted { rows, weight: Scaled::ONE, heaviest: T::ONE };
        let (of_classes, of_rows) = (xent.class_weights.as_ref(), xent.row_weights.as_ref());
        // Sums of `f64` could pass its range, if weights are of that type.
        let exponent =
            of_classes.map_or(0, |weights| if weights.is_moderate { 0 } else { weights.largest_exponent });
        let [a, b] = scaled::powers::<f64>(-exponent);
        let rows_exponent = of_rows.map_or(0, |weights| weights.exponent);
        let [rows_a, rows_b] = scaled::powers::<f64>(-rows_exponent);
        // As several sums by turns, so that none waits for the one before.
        let mut sums = [0.0; order::SUMS_OF_WEIGHTS];
        self.each(|row, class| {
            let of_class = match of_classes {
                None => f64::from(u8::from(class != NO_CLASS)),
                Some(weights) => weights.all.get(class).map_or(0.0, |w| w.to_f64() * a * b),
            };
            let of_row = of_rows.map_or(1.0, |weights| weights.all[row].to_f64() * rows_a * rows_b);
            sums[row % order::SUMS_OF_WEIGHTS] += of_class * of_row;
        });
        counted.weight = Scaled::of_f64(sums.iter().sum()).lifted(exponent + rows_exponent);
        if let Some(weights) = of_classes.filter(|weights| !weights.is_moderate) {
            counted.heaviest = T::ZERO;
            self.each(|_, class| match weights.all.get(class) {
                Some(&w) if w > counted.heaviest => counted.heaviest = w,
                _ => {}
            });
        }
        counted
    }

    /// What a class of the list's type, read without a sign, is below.
    fn bound<X: Word>(&self, _list: &[X], classes: usize) -> u64 {
        in_place_bound::<X>(classes, self.is_signed) as u64
    }
}

/// The bytes of an element.
fn width<X>(_list: &[X]) -> usize {
    size_of::<X>()
}

/// A class that no row has, and that is not [`NO_CLASS`].
const NO_TARGET: usize = usize::MAX - 1;

/// [`Labels::read`]
#[inline(always)]
fn read<X: Word + TryFrom<u64>>(labels: &[X], ignored: Option<u64>, to: &mut [usize]) {
    let labels = to.iter_mut().zip(labels);
    match ignored.and_then(|label| X::try_from(label).ok()) {
        None => labels.for_each(|(class, label)| *class = label.to_offset()),
        Some(ignored) => labels.for_each(|(class, &label)| {
            *class = if label == ignored { NO_CLASS } else { label.to_offset() };
        }),
    }
}

/// Whether each label is ignored or below a bound; and if so, how many are ignored.
struct Checked<'a, X> {
    list: &'a [X],
    bound: u64,
    ignored: Option<u64>,
}

impl<X: Word + TryFrom<u64>> Kernel<f32> for Checked<'_, X> {
    type Output = Option<usize>;
    #[inline(always)]
    fn run<S: Simd<f32>>(self, _: S) -> Option<usize> {
        let Checked { list, bound, ignored } = self;
        // By plain loops: closures handed to a fold were no part of the level's function in some builds, and
        // not made vectors of.
        let (mut greatest, mut left_out) = (X::default(), 0);
        match ignored.and_then(|label| X::try_from(label).ok()) {
            None => {
                for &label in list {
                    greatest = if label > greatest { label } else { greatest };
                }
            }
            Some(ignored) => {
                for &label in list {
                    let is_left_out = label == ignored;
                    let label = if is_left_out { X::default() } else { label };
                    greatest = if label > greatest { label } else { greatest };
                    left_out += usize::from(is_left_out);
                }
            }
        }
        ((greatest.to_i64() as u64) < bound || left_out == list.len()).then_some(left_out)
    }
}

/// What the rows that count amount to.
#[derive(Clone, Copy)]
pub(super) struct Counted<T> {
    /// Their number.
    pub(super) rows: usize,
    /// The sum of their weights.
    pub(super) weight: Scaled<f64>,
    /// The largest weight of one of their classes, if some are tiny or huge.
    pub(super) heaviest: T,
}
