//! The options of a call, turned into the numbers that the kernel multiplies by.

use crate::simd::Float;

/// Bytes of a row's chunk: with the next one and what is written, half of a 32 KiB cache. Not a multiple of 4 KiB, or logits and
/// gradients of neighbouring chunks get in each other's way: a tenth slower. Shorter ones cost rows in cache a twelfth, longer ones
/// a twentieth of rows from memory (results/tried/softmax_xent.md).
pub(crate) const CHUNK_BYTES: usize = 5120;

/// Classes of a chunk where rows sit in lanes; rows of at most so many classes are put there: what a row along vectors costs beside its
/// elements is more than the way into lanes and back.
pub(crate) const CLASSES_ACROSS: usize = 128;

/// Classes of a chunk.
pub(crate) const fn chunk_classes<T: Float, const ACROSS: bool>() -> usize {
    if ACROSS { CLASSES_ACROSS } else { CHUNK_BYTES / size_of::<T>() }
}

/// Whether an option can be a factor of losses: finite and not negative.
pub(crate) fn is_factor<T: Float>(x: T) -> bool {
    x >= T::ZERO && x < T::INFINITY
}

/// Class weights, and what each call would else have to find out about them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Weights<T> {
    pub(crate) all: Vec<T>,
    /// The first that is negative or not finite.
    pub(crate) wrong: Option<T>,
    total: T,
    /// The sum of each chunk's, for rows along vectors and rows in lanes.
    chunk_sums: [Vec<T>; 2],
}

impl<T: Float> Weights<T> {
    pub(crate) fn new(all: &[T]) -> Self {
        let sum = |weights: &[T]| T::from_f64(weights.iter().map(|w| w.to_f64()).sum());
        let sums = |chunk| all.chunks(chunk).map(sum).collect();
        Weights {
            all: all.to_vec(),
            wrong: all.iter().copied().find(|&w| !is_factor(w)),
            total: sum(all),
            chunk_sums: [sums(chunk_classes::<T, false>()), sums(chunk_classes::<T, true>())],
        }
    }
}

/// Options, as numbers.
pub(crate) struct Plan<'a, T> {
    pub(crate) weights: Option<&'a [T]>,
    /// ε/C
    pub(crate) share: T,
    /// 1 − ε
    pub(crate) own: T,
    /// W, the sum of the weights.
    pub(crate) total_weight: T,
    /// The sum of each chunk's weights, where there are weights.
    chunk_sums: &'a [T],
    /// The number of all classes.
    classes: usize,
    /// The classes of a chunk.
    chunk: usize,
    pub(crate) z_loss: T,
    pub(crate) cap: Option<T>,
    /// The number of the logits' first class.
    pub(crate) first_class: usize,
}

/// What a row's target makes of the options.
#[derive(Clone, Copy)]
pub(crate) struct Term<V> {
    /// (1 − ε)·w_y, the factor of the target's loss
    pub(crate) own: V,
    /// A = (1 − ε)·w_y + (ε/C)·W, the factor of the probabilities
    pub(crate) all: V,
    /// (ε/C)·(W − w_y), what is left to the target's gradient when p_y = 1
    pub(crate) rest: V,
}

impl<'a, T: Float> Plan<'a, T> {
    /// `classes` is the number of all classes, `first_class` that of the logits' first; `across` says how rows lie.
    pub(crate) fn new(
        classes: usize,
        first_class: usize,
        weights: Option<&'a Weights<T>>,
        smoothing: T,
        z_loss: T,
        cap: Option<T>,
        across: bool,
    ) -> Self {
        let chunk = if across { chunk_classes::<T, true>() } else { chunk_classes::<T, false>() };
        Plan {
            weights: weights.map(|weights| &*weights.all),
            share: T::from_f64(smoothing.to_f64() / classes as f64),
            own: T::ONE - smoothing,
            total_weight: weights.map_or(T::from_f64(classes as f64), |weights| weights.total),
            chunk_sums: weights.map_or(&[], |weights| &weights.chunk_sums[usize::from(across)]),
            classes,
            chunk,
            z_loss,
            cap,
            first_class,
        }
    }

    /// The same, without options but the z-loss, which the compiler then knows.
    #[inline(always)]
    pub(crate) fn plain(&self) -> Self {
        Plan { weights: None, share: T::ZERO, cap: None, ..*self }
    }

    /// Whether every term is 1, 1, 0.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        self.weights.is_none() && !self.is_smooth()
    }

    /// Whether there is label smoothing.
    #[inline(always)]
    pub(crate) fn is_smooth(&self) -> bool {
        self.share != T::ZERO
    }

    /// The target's weight.
    pub(crate) fn weight(&self, class: usize) -> T {
        self.weights.map_or(T::ONE, |weights| weights[class])
    }

    /// The sum of the weights of chunk number `c`, where there is smoothing. Without weights, its number of classes, of
    /// which no list is kept: an array may claim more of them than there is memory for.
    #[inline(always)]
    pub(crate) fn chunk_weight(&self, c: usize) -> T {
        match self.weights {
            Some(_) => self.chunk_sums[c],
            None => T::from_f64(self.chunk.min(self.classes - c * self.chunk) as f64),
        }
    }

    /// The weights of `len` of the logits' classes, where there are any and smoothing makes something of them.
    #[inline(always)]
    pub(crate) fn smoothing_weights(&self, first: usize, len: usize) -> Option<&'a [T]> {
        self.weights.filter(|_| self.is_smooth()).map(
            #[inline(always)]
            |weights| &weights[first..][..len],
        )
    }
}
