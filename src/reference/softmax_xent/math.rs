//! exp, log and tanh, one number at a time, by the polynomials of `simd/exp.rs`.

use crate::simd::Float;

/// 2^n for an integer n, exactly: a power of two is built in `f64`, which holds those of both types.
fn power_of_two<T: Float>(n: T) -> T {
    T::from_f64(2.0_f64.powi(n.to_f64() as i32))
}

fn polynomial<T: Float>(x: T, coefficients: &[T]) -> T {
    let (&last, others) = coefficients.split_last().expect("a polynomial has a coefficient");
    others.iter().rev().fold(last, |sum, &c| sum.mul_add(x, c))
}

/// 2^n for a multiple n of an eighth, correctly rounded.
fn power_of_eighths<T: Float>(n: T) -> T {
    let whole = n.to_f64().floor();
    let eighth = ((n.to_f64() - whole) * 8.0) as usize;
    power_of_two(T::from_f64(whole)) * T::EIGHTHS[eighth]
}

pub(super) fn exp2_of<T: Float>(x: T, a: T, k: T) -> T {
    let shifted_k = T::EIGHTH_SHIFTER - k;
    let h = x.mul_add(a, shifted_k);
    let r = x.mul_add(a, shifted_k - h);
    let n = h - T::EIGHTH_SHIFTER;
    if n < T::EXP2_MIN {
        return T::ZERO;
    }
    (polynomial(r, T::EXP2) * r).mul_add(power_of_eighths(n), power_of_eighths(n))
}

pub(super) fn exp2<T: Float>(t: T) -> T {
    exp2_of(t, T::ONE, T::ZERO)
}

pub(super) fn exp2_m1<T: Float>(t: T) -> T {
    let n = t + T::SHIFTER - T::SHIFTER;
    if n < T::EXP2_MIN {
        return -T::ONE;
    }
    let r = t - n;
    let less_one = polynomial(r, T::EXP2_M1) * r;
    power_of_two(n).mul_add(less_one, power_of_two(n) - T::ONE)
}

/// (m, e) with u = m·2^e, 1 <= m < 2.
fn split<T: Float>(u: T) -> (T, T) {
    let bits = u.to_f64().to_bits();
    let e = (bits >> 52 & 0x7ff) as f64 - 1023.0;
    let m = f64::from_bits(bits & ((1 << 52) - 1) | 1.0_f64.to_bits());
    (T::from_f64(m), T::from_f64(e))
}

pub(super) fn ln<T: Float>(u: T) -> T {
    if u.is_nan() {
        return u;
    }
    let (mut m, mut e) = split(u);
    if m > T::from_f64(std::f64::consts::SQRT_2) {
        (m, e) = (m * T::from_f64(0.5), e + T::ONE);
    }
    let f = m - T::ONE;
    let q = f / (T::ONE + m);
    let z = q * q;
    let ln_m = f - q * (f - z * polynomial(z, T::LOG));
    e.mul_add(T::LN_2, e.mul_add(T::LN_2_REST, ln_m))
}

pub(super) fn ln_1p<T: Float>(r: T) -> T {
    let u = T::ONE + r;
    let dropped = if r > T::ONE { T::ONE - (u - r) } else { r - (u - T::ONE) };
    ln(u) + dropped / u
}

pub(super) fn tanh<T: Float>(u: T) -> T {
    let less_one = exp2_m1(u.abs() * (T::from_f64(-2.0) * T::LOG2_E));
    let magnitude = (T::ZERO - less_one) / (T::from_f64(2.0) + less_one);
    if u < T::ZERO { T::ZERO - magnitude } else { magnitude }
}
