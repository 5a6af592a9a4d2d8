//! The rows' labels, of any integer type, and what those of the rows that count amount to.

use super::SoftmaxXent;
use super::math::NO_CLASS;
use crate::array::{ErasedView, Word};
use crate::error::{Error, Result};
use crate::index::checked::with_integer;
use crate::index::{ErasedIndices, Extent, Index};
use crate::order;
use crate::simd::scaled::{self, Scaled};
use crate::simd::{Float, Level};
use std::borrow::Cow;

/// One label a row, in C order.
pub(super) struct Labels<'a> {
    list: List<'a>,
    /// The label of rows that do not count.
    ignored: Option<i128>,
}

macro_rules! lists {
    ($($variant:ident $t:ident)*) => {
        /// A slice of the labels' type.
        enum List<'a> {
            /// No row has a label.
            None,
            $($variant(Cow<'a, [$t]>),)*
        }

        $(
            impl<'a> From<Cow<'a, [$t]>> for List<'a> {
                fn from(list: Cow<'a, [$t]>) -> Self {
                    List::$variant(list)
                }
            }
        )*

        #[cfg(feature = "linear")]
        impl List<'_> {
            fn as_borrowed(&self) -> List<'_> {
                match self {
                    List::None => List::None,
                    $(List::$variant(list) => List::$variant(Cow::Borrowed(list)),)*
                }
            }
        }

        /// What a function answers for the list, whatever its type.
        macro_rules! of_any_type {
            ($list:expr, None => $none:expr, $name:ident => $some:expr) => {
                match $list {
                    List::None => $none,
                    $(List::$variant($name) => $some,)*
                }
            };
        }
    };
}
lists!(U8 u8 U16 u16 U32 u32 U64 u64 I8 i8 I16 i16 I32 i32 I64 i64);

/// The elements of a view, in C order: where they stand, if they are dense.
fn slice<'a, I: Index + Word>(view: &ErasedView<'a>) -> List<'a>
where
    Cow<'a, [I]>: Into<List<'a>>,
{
    let view = view.typed::<I>();
    view.as_slice().map_or_else(|| Cow::Owned(view.to_vec()), Cow::Borrowed).into()
}

impl<'a> Labels<'a> {
    /// Of rows without targets, which have a gradient all the same: their probabilities.
    pub(super) fn none() -> Self {
        Labels { list: List::None, ignored: None }
    }

    pub(super) fn new(labels: &ErasedIndices<'a>, ignored: Option<i128>) -> Self {
        let list = with_integer!(labels.list.width(), labels.is_signed, slice(&labels.list));
        Labels { list, ignored }
    }

    #[cfg(feature = "linear")]
    pub(super) fn as_borrowed(&self) -> Labels<'_> {
        Labels { list: self.list.as_borrowed(), ..*self }
    }

    /// The classes of the rows from `first` on, `NO_CLASS` for ignored ones.
    pub(super) fn read(&self, first: usize, to: &mut [usize]) {
        of_any_type!(&self.list, None => to.fill(NO_TARGET), list => read(&list[first..], self.ignored, to));
    }

    /// What the labels of the rows that count amount to, checked.
    pub(super) fn count<T: Float>(
        &self,
        xent: &SoftmaxXent<T>,
        classes: usize,
        level: Level,
    ) -> Result<Counted<T>> {
        of_any_type!(
            &self.list,
            None => Ok(Counted { rows: 0, weight: Scaled::of_f64(0.0), heaviest: T::ONE }),
            list => count(xent, list, classes, level)
        )
    }
}

/// A class that no row has, and that is not [`NO_CLASS`].
const NO_TARGET: usize = usize::MAX - 1;

/// The label of rows that do not count, if there is one of this type.
fn ignored<I: Index>(label: Option<i128>) -> Option<I> {
    let ignored = label?;
    Some(I::from_bits(ignored as u64)).filter(|label| label.value() == ignored)
}

/// The class that a label names, `NO_CLASS` for the ignored one.
#[inline(always)]
fn class_of<I: Index>(label: I, ignored: Option<I>) -> usize {
    // Checked when the call began, so that nothing is negative but what is ignored.
    if Some(label) == ignored { NO_CLASS } else { label.raise_proven(0) }
}

/// [`Labels::read`]
#[inline(always)]
fn read<I: Index>(labels: &[I], label: Option<i128>, to: &mut [usize]) {
    let labels = to.iter_mut().zip(labels);
    match ignored(label) {
        None => labels.for_each(|(class, &label)| *class = class_of(label, None)),
        ignored => labels.for_each(|(class, &label)| *class = class_of(label, ignored)),
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

/// [`Labels::count`]
fn count<T: Float, I: Index>(
    xent: &SoftmaxXent<T>,
    labels: &[I],
    classes: usize,
    level: Level,
) -> Result<Counted<T>> {
    let ignored = ignored(xent.ignore_index);
    let (extent, left_out) = f32::dispatch(level, Extent { slice: labels, but: ignored });
    if extent.is_some_and(|[low, high]| low.value() < 0 || high.value() >= classes as i128) {
        let is_wrong = |&label: &I| Some(label) != ignored && label.raise(0) >= classes;
        let row = labels.iter().position(is_wrong).unwrap_or(0);
        return Err(Error::Label { row, value: labels[row].value(), classes });
    }
    let rows = labels.len() - left_out;
    let mut counted = Counted { rows, weight: Scaled::of_f64(rows as f64), heaviest: T::ONE };
    let class_of = |&label: &I| class_of(label, ignored);
    let class_weights = xent.class_weights.as_ref();
    // Sums of `f64` could pass its range, if weights are of that type.
    let exponents =
        class_weights.map_or(0, |weights| if weights.is_moderate { 0 } else { weights.largest_exponent });
    let [a, b] = scaled::powers::<f64>(-exponents);
    let class_weight = |label: &I| match class_weights {
        None => {
            if class_of(label) == NO_CLASS {
                0.0
            } else {
                1.0
            }
        }
        Some(weights) => weights.all.get(class_of(label)).map_or(0.0, |w| w.to_f64() * a * b),
    };
    let weight = match &xent.row_weights {
        None if class_weights.is_none() => return Ok(counted),
        None => sum_in_turn(labels.iter().map(class_weight)),
        Some(weights) => {
            let [a, b] = scaled::powers::<f64>(-weights.exponent);
            let products = labels.iter().zip(&weights.all);
            sum_in_turn(products.map(|(label, w)| class_weight(label) * (w.to_f64() * a * b)))
        }
    };
    let rows_exponent = xent.row_weights.as_ref().map_or(0, |weights| weights.exponent);
    counted.weight = Scaled::of_f64(weight).lifted(exponents + rows_exponent);
    if let Some(weights) = class_weights.filter(|weights| !weights.is_moderate) {
        let targets = labels.iter().filter_map(|label| weights.all.get(class_of(label)));
        counted.heaviest = targets.fold(T::ZERO, |most, &w| if w > most { w } else { most });
    }
    Ok(counted)
}

/// The sum of numbers, as several sums by turns, so that none waits for the one before.
fn sum_in_turn(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut sums = [0.0; order::SUMS_OF_WEIGHTS];
    for (i, x) in numbers.enumerate() {
        sums[i % order::SUMS_OF_WEIGHTS] += x;
    }
    sums.iter().sum()
}
