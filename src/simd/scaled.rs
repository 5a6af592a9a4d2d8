//! Numbers as a mantissa and an exponent: products that pass beyond the range of their type on the way to a
//! result inside it.

use super::Float;

/// `mantissa` · 2^`exponent`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scaled<T> {
    /// Of magnitude 1 to 2 if made by [`Scaled::of`]; or 0, ±∞ or NaN.
    pub(crate) mantissa: T,
    pub(crate) exponent: i32,
}

/// The exponent of the largest power of two that is at most |x|; 0 where x is 0 or not finite.
pub(crate) fn exponent(x: f64) -> i32 {
    Scaled::<f64>::of_f64(x).exponent
}

/// 2^`exponent` as a product of two powers of two that `T` has, for exponents of up to twice those of `T`;
/// beyond them, one of the two is 0 or ∞. A number times one and then the other is rounded once.
#[inline]
pub(crate) fn powers<T: Float>(exponent: i32) -> [T; 2] {
    if exponent == 0 {
        return [T::ONE; 2];
    }
    let (min, max) = (T::MIN_EXPONENT, 1 - T::MIN_EXPONENT);
    // The second is 1 where one power is enough.
    let half = if (min..=max).contains(&exponent) { exponent } else { (exponent / 2).clamp(min, max) };
    let power = |exponent: i32| match exponent {
        _ if exponent < min => T::ZERO,
        _ if exponent > max => T::INFINITY,
        _ => T::from_f64(f64::from_bits(((exponent + 1023) as u64) << 52)),
    };
    [power(half), power(exponent - half)]
}

/// `x` · 2^`exponent`, rounded once.
#[inline]
pub(crate) fn scale<T: Float>(x: T, exponent: i32) -> T {
    if exponent == 0 {
        return x;
    }
    let [a, b] = powers(exponent);
    x * a * b
}

impl<T: Float> Scaled<T> {
    pub(crate) const ONE: Self = Scaled { mantissa: T::ONE, exponent: 0 };

    /// `x`, exactly.
    pub(crate) fn of(x: T) -> Self {
        let Scaled { mantissa, exponent } = Scaled::<f64>::of_f64(x.to_f64());
        Scaled { mantissa: T::from_f64(mantissa), exponent }
    }

    /// `x`, its mantissa rounded to a `T`.
    pub(crate) fn of_f64(x: f64) -> Self {
        if x == 0.0 || !x.is_finite() {
            return Scaled { mantissa: T::from_f64(x), exponent: 0 };
        }
        // A subnormal number is made normal first.
        let (x, lift) = if x.abs() < f64::MIN_POSITIVE { (x * 2.0_f64.powi(64), 64) } else { (x, 0) };
        let exponent = (x.to_bits() >> 52 & 0x7ff) as i32 - 1023;
        let mantissa = f64::from_bits(x.to_bits() & !(0x7ff << 52) | 1023 << 52);
        Scaled { mantissa: T::from_f64(mantissa), exponent: exponent - lift }
    }

    pub(crate) fn times(self, other: Self) -> Self {
        Scaled { mantissa: self.mantissa * other.mantissa, exponent: self.exponent + other.exponent }
    }

    /// The same number 2^`exponent` times as large.
    pub(crate) fn lifted(self, exponent: i32) -> Self {
        Scaled { exponent: self.exponent + exponent, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_power_and_number_comes_back() {
        for exponent in -149..=127 {
            let x = 2.0_f64.powi(exponent) as f32;
            assert_eq!(scale(1.0_f32, exponent), x);
            assert_eq!(Scaled::of(x), Scaled { mantissa: 1.0, exponent });
            assert_eq!(
                Scaled::of(-x * 1.5).exponent,
                if x * 1.5 == x * 2.0 { exponent + 1 } else { exponent }
            );
        }
        for exponent in [-1074, -1073, -1023, -1022, -500, 0, 1, 511, 1022, 1023] {
            let x = scale(1.0_f64, exponent);
            assert_eq!((x.log2(), Scaled::of(x).exponent), (f64::from(exponent), exponent));
        }
        assert_eq!(scale(f32::MIN_POSITIVE, 253), 2.0_f32.powi(127));
        assert_eq!(scale(2.0_f64.powi(1023), -2044), 2.0_f64.powi(-1021));
        assert_eq!((scale(1.0_f32, -1000), scale(1.0_f64, 5000)), (0.0, f64::INFINITY));
        for x in [0.0, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(Scaled::of(x), Scaled { mantissa: x, exponent: 0 });
        }
        let product = Scaled::of(1e300).times(Scaled::of(1e300)).times(Scaled::of(1e-301));
        assert!((scale(product.mantissa, product.exponent) / 1e299 - 1.0).abs() < 1e-15);
    }
}
