//! The predicates that elements are selected by, and the one test that all of them become.

use crate::simd::Float;

pub(super) mod sealed {
    pub trait Sealed {}
}

/// A condition on an element: [`Gt`], [`Ge`], [`Lt`], [`Le`], [`AbsGt`], [`AbsGe`], [`Between`],
/// [`AbsBetween`], [`Ne`], [`IsNan`], [`NotNan`].
///
/// All compare as IEEE 754 does: NaN satisfies no comparison but [`Ne`], neither as an element nor as a
/// threshold; −0 equals 0; infinite thresholds mean what they say (nothing is greater than +∞, +∞ is greater
/// than or equal to it). Where the CPU is set to take subnormal numbers for zero (MXCSR.DAZ), comparisons do
/// so too, as those of plain Rust do.
#[allow(private_interfaces, private_bounds)]
pub trait Predicate<T: Float>: Copy + Send + Sync + sealed::Sealed {
    /// Whether `x` satisfies it.
    ///
    /// ```
    /// use gradix::{AbsGe, Ne, Predicate};
    /// assert!(AbsGe(2.0).holds(-2.0));
    /// assert!(!AbsGe(2.0).holds(f64::NAN));
    /// assert!(Ne(0.0).holds(f64::NAN));
    /// ```
    fn holds(self, x: T) -> bool;

    /// The same predicate, and what becomes of NaN: with [`NanPolicy::Send`] it holds for NaN too.
    ///
    /// ```
    /// use gradix::{AbsGt, NanPolicy, Predicate, select};
    /// let mut residual = [0.1f32, f32::NAN, -2.0];
    /// let rule = AbsGt(1.0).nan(NanPolicy::Send);
    /// let (indices, _): (Vec<u32>, _) = select::sparsify(&mut residual, rule)?;
    /// assert_eq!((indices, residual), (vec![1, 2], [0.1, 0.0, 0.0]));
    /// # Ok::<(), gradix::Error>(())
    /// ```
    fn nan(self, policy: NanPolicy) -> WithNan<Self> {
        WithNan { predicate: self, policy }
    }

    #[doc(hidden)]
    fn test(self) -> Test<T>;
}

/// What becomes of NaN in a selection: see [`Predicate::nan`] and [`TopK::nan`](super::TopK::nan).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum NanPolicy {
    /// It is not selected. A NaN in a residual stays there, and whatever is added to it is NaN again.
    #[default]
    Keep,
    /// It is selected, as it is. In a residual 0 takes its place, so that the receiver sees the NaN and the
    /// sender goes on.
    Send,
}

/// A predicate with a [`NanPolicy`]: made by [`Predicate::nan`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WithNan<P> {
    predicate: P,
    policy: NanPolicy,
}

impl<P> sealed::Sealed for WithNan<P> {}

#[allow(private_interfaces, private_bounds)]
impl<T: Float, P: Predicate<T>> Predicate<T> for WithNan<P> {
    fn holds(self, x: T) -> bool {
        self.predicate.holds(x) || self.policy == NanPolicy::Send && x.is_nan()
    }
    fn test(self) -> Test<T> {
        let test = self.predicate.test();
        Test { or_nan: test.or_nan || self.policy == NanPolicy::Send, ..test }
    }
}

/// What kernels compare with: bounds on an element or its magnitude, of which the kind says which count and
/// whether they are included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Test<T> {
    pub(super) kind: Kind,
    pub(super) low: T,
    pub(super) high: T,
    /// Whether the elements that are not inside are meant.
    pub(super) is_inverted: bool,
    /// Whether NaN is meant as well.
    pub(super) or_nan: bool,
}

/// A comparison with bounds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// `x > low`
    Gt,
    /// `x >= low`
    Ge,
    /// `x < high`
    Lt,
    /// `x <= high`
    Le,
    /// `low <= x && x <= high`
    Between,
    /// `|x| > low`
    AbsGt,
    /// `|x| >= low`
    AbsGe,
    /// `low <= |x| && |x| <= high`
    AbsBetween,
    /// `x != low`
    Ne,
}

impl<T: Float> Test<T> {
    pub(super) fn new(kind: Kind, low: T, high: T) -> Self {
        Test { kind, low, high, is_inverted: false, or_nan: false }
    }
    pub(super) fn inverted(self) -> Self {
        Test { is_inverted: true, ..self }
    }
    /// An element that does not satisfy it; none where there is none, or where the comparison alone does not say
    /// which elements are meant.
    #[inline(always)]
    pub(super) fn miss(&self) -> Option<T> {
        match self.kind {
            _ if self.is_inverted || self.or_nan => None,
            Kind::Ne => (!self.low.is_nan()).then_some(self.low),
            _ => Some(T::NAN),
        }
    }
}

macro_rules! predicate {
    ($(#[$doc:meta])* $name:ident<$e:ident>($($t:ident: $role:literal),*); $x:ident: $holds:expr; $test:expr) => {
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
            fn test(self) -> Test<T> {
                let $name($($t),*) = self;
                $test
            }
        }
    };
}

predicate! {
    /// `x > t`
    Gt<T>(t: "The threshold."); x: x > t; Test::new(Kind::Gt, t, t)
}
predicate! {
    /// `x >= t`
    Ge<T>(t: "The threshold."); x: x >= t; Test::new(Kind::Ge, t, t)
}
predicate! {
    /// `x < t`
    Lt<T>(t: "The threshold."); x: x < t; Test::new(Kind::Lt, t, t)
}
predicate! {
    /// `x <= t`
    Le<T>(t: "The threshold."); x: x <= t; Test::new(Kind::Le, t, t)
}
predicate! {
    /// `|x| > t`
    AbsGt<T>(t: "The threshold."); x: x.abs() > t; Test::new(Kind::AbsGt, t, t)
}
predicate! {
    /// `|x| >= t`
    AbsGe<T>(t: "The threshold."); x: x.abs() >= t; Test::new(Kind::AbsGe, t, t)
}
predicate! {
    /// `low <= x && x <= high`, both ends included
    Between<T>(low: "The lower end.", high: "The upper end.");
    x: low <= x && x <= high; Test::new(Kind::Between, low, high)
}
predicate! {
    /// `low <= |x| && |x| <= high`, both ends included
    AbsBetween<T>(low: "The lower end.", high: "The upper end.");
    x: low <= x.abs() && x.abs() <= high; Test::new(Kind::AbsBetween, low, high)
}
predicate! {
    /// `x != t`, NumPy's too: true for NaN, as an element or as `t`. `Ne(0.0)` is `np.nonzero`.
    Ne<T>(t: "What elements differ from."); x: x != t; Test::new(Kind::Ne, t, t)
}

/// `np.isnan(x)`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IsNan;

/// `~np.isnan(x)`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotNan;

impl sealed::Sealed for IsNan {}
impl sealed::Sealed for NotNan {}

#[allow(private_interfaces, private_bounds)]
impl<T: Float> Predicate<T> for IsNan {
    #[inline(always)]
    fn holds(self, x: T) -> bool {
        x.is_nan()
    }
    #[inline(always)]
    fn test(self) -> Test<T> {
        NotNan.test().inverted()
    }
}

#[allow(private_interfaces, private_bounds)]
impl<T: Float> Predicate<T> for NotNan {
    #[inline(always)]
    fn holds(self, x: T) -> bool {
        !x.is_nan()
    }
    #[inline(always)]
    fn test(self) -> Test<T> {
        Test::new(Kind::Ge, T::NEG_INFINITY, T::INFINITY)
    }
}
