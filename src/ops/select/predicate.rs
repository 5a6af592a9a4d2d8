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
    /// `holds` for each lane.
    #[doc(hidden)]
    fn mask<S: Simd<T>>(self, s: S, x: S::V) -> S::M;
}

macro_rules! predicate {
    ($(#[$doc:meta])* $name:ident<$e:ident>($($t:ident: $role:literal),*); $x:ident: $holds:expr; $s:ident: $mask:expr) => {
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
    Gt<T>(t: "The threshold."); x: x > t; s: s.gt(x, t)
}
predicate! {
    /// `x >= t`
    Ge<T>(t: "The threshold."); x: x >= t; s: s.ge(x, t)
}
predicate! {
    /// `x < t`
    Lt<T>(t: "The threshold."); x: x < t; s: s.gt(t, x)
}
predicate! {
    /// `x <= t`
    Le<T>(t: "The threshold."); x: x <= t; s: s.ge(t, x)
}
predicate! {
    /// `|x| > t`
    AbsGt<T>(t: "The threshold."); x: x.abs() > t; s: s.gt(s.abs(x), t)
}
predicate! {
    /// `|x| >= t`
    AbsGe<T>(t: "The threshold."); x: x.abs() >= t; s: s.ge(s.abs(x), t)
}
predicate! {
    /// `low <= x && x <= high`, both ends included
    Between<T>(low: "The lower end.", high: "The upper end.");
    x: low <= x && x <= high; s: s.and(s.ge(x, low), s.ge(high, x))
}
