//! The comparisons that elements are selected by. None of them holds for NaN.

use crate::simd::{Float, Simd};

pub(super) mod sealed {
    pub trait Sealed {}
}

/// A comparison that an element satisfies or not: [`Gt`], [`Ge`], [`Lt`], [`Le`], [`AbsGt`], [`AbsGe`], [`Between`].
///
/// All compare as IEEE 754 does: NaN satisfies none of them, as an element or as a threshold; −0 equals 0; infinite
/// thresholds mean what they say (nothing is greater than +∞, +∞ is greater than or equal to it).
#[allow(private_interfaces, private_bounds)]
pub trait Predicate<T: Float>: Copy + Send + Sync + sealed::Sealed {
    /// Whether `x` satisfies it.
    ///
    /// ```
    /// use gradix::{AbsGe, Predicate};
    /// assert!(AbsGe(2.0).holds(-2.0));
    /// assert!(!AbsGe(2.0).holds(f64::NAN));
    /// ```
    fn holds(self, x: T) -> bool;
    /// The comparison with the same answers that kernels are compiled for: strict ones have none of their own, because
    /// `x > t` is `x >= u` for the next number u above t.
    #[doc(hidden)]
    type Kernel: Comparison<T>;
    #[doc(hidden)]
    fn kernel(self) -> Self::Kernel;
}

/// What kernels compare with.
pub(super) trait Comparison<T: Float>: Predicate<T> {
    /// `holds` for each lane.
    fn mask<S: Simd<T>>(self, s: S, x: S::V) -> S::M;
}

macro_rules! predicate {
    ($(#[$doc:meta])* $name:ident<$e:ident>($($t:ident: $role:literal),*); $x:ident: $holds:expr; $kernel:ident($($by:expr),*)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub struct $name<$e>($(#[doc = $role] pub $e),*);
        impl<T> sealed::Sealed for $name<T> {}
        #[allow(private_interfaces, private_bounds)]
        impl<T: Float> Predicate<T> for $name<T> {
            #[inline(always)]
            fn holds(self, $x: T) -> bool {
                let $name($($t),*) = self;
                $holds
            }
            type Kernel = $kernel<T>;
            fn kernel(self) -> $kernel<T> {
                let $name($($t),*) = self;
                $kernel($($by),*)
            }
        }
    };
}

macro_rules! comparison {
    ($name:ident($($t:ident),*); $s:ident, $x:ident: $mask:expr) => {
        impl<T: Float> Comparison<T> for $name<T> {
            #[inline(always)]
            fn mask<S: Simd<T>>(self, $s: S, $x: S::V) -> S::M {
                let $name($($t),*) = self;
                $(let $t = $s.splat($t);)*
                $mask
            }
        }
    };
}

predicate! {
    /// `x > t`
    Gt<T>(t: "The threshold."); x: x > t; Ge(t.above())
}
predicate! {
    /// `x >= t`
    Ge<T>(t: "The threshold."); x: x >= t; Ge(t)
}
predicate! {
    /// `x < t`
    Lt<T>(t: "The threshold."); x: x < t; Le(t.below())
}
predicate! {
    /// `x <= t`
    Le<T>(t: "The threshold."); x: x <= t; Le(t)
}
predicate! {
    /// `|x| > t`
    AbsGt<T>(t: "The threshold."); x: x.abs() > t; AbsGe(t.above())
}
predicate! {
    /// `|x| >= t`
    AbsGe<T>(t: "The threshold."); x: x.abs() >= t; AbsGe(t)
}
predicate! {
    /// `low <= x && x <= high`, both ends included
    Between<T>(low: "The lower end.", high: "The upper end.");
    x: low <= x && x <= high; Between(low, high)
}

comparison! { Ge(t); s, x: s.ge(x, t) }
comparison! { Le(t); s, x: s.ge(t, x) }
comparison! { AbsGe(t); s, x: s.ge(s.abs(x), t) }
comparison! { Between(low, high); s, x: s.and(s.ge(x, low), s.ge(high, x)) }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_answer_as_the_comparisons_do() {
        fn check<T: Float>(numbers: &[f64]) {
            let numbers: Vec<T> = numbers.iter().map(|&x| T::from_f64(x)).collect();
            let around = |&x: &T| [x, -x, x.above(), x.below(), -x.above()];
            let numbers: Vec<T> = numbers.iter().flat_map(around).collect();
            for &t in &numbers {
                for &x in &numbers {
                    let pairs = [
                        (Gt(t).holds(x), Gt(t).kernel().holds(x)),
                        (Lt(t).holds(x), Lt(t).kernel().holds(x)),
                        (AbsGt(t).holds(x), AbsGt(t).kernel().holds(x)),
                        (Ge(t).holds(x), Ge(t).kernel().holds(x)),
                        (Le(t).holds(x), Le(t).kernel().holds(x)),
                        (AbsGe(t).holds(x), AbsGe(t).kernel().holds(x)),
                        (Between(t, x).holds(t), Between(t, x).kernel().holds(t)),
                    ];
                    assert!(pairs.iter().all(|(a, b)| a == b), "{t:?} {x:?} {pairs:?}");
                }
            }
        }
        check::<f32>(&[0.0, 1.0, 0.7, 1e-45, 1e-38, f32::MAX as f64, f64::INFINITY, f64::NAN]);
        check::<f64>(&[0.0, 1.0, 0.7, 5e-324, 1e-308, f64::MAX, f64::INFINITY, f64::NAN]);
    }
}
