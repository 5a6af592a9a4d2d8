//! exp, log and tanh for softmax: the same bits on every level with FMA.
//!
//! # 2^t for t = x·a − k <= 1
//!
//! ```text
//! S = 1.5·2^20 (f32), 1.5·2^49 (f64)
//! h = x·a + (S − k)         rounded once: S + n, n being t to the nearest eighth, ties to even
//! r = x·a − (k + n)         rounded once; −1/16 <= r <= 1/16
//! 2^r ≈ 1 + r·Q(r)          Q of degree 2 (f32), 6 (f64)
//! 2^n                       the last bits of h, n's integer moved to the exponent's place, plus the bits
//!                           of 2^(n's fraction), one of eight numbers; 0 where n < −125.5 (f32), −1021.5 (f64)
//! 2^t ≈ r·Q·2^n + 2^n
//! ```
//!
//! Q is the minimax fit of (2^r − 1)/r with weight |r|/2^r on [−1/16, 1/16] (Remez exchange in 60 digits),
//! its coefficients then rounded: the f32 ones one after another, each time refitting the rest, the f64 ones
//! all at once. The error that remains before any rounding is 0.22 ε (f32) and 0.02 ε (f64), ε being 2⁻²³ and
//! 2⁻⁵²; the eight numbers are correctly rounded, at most 0.27 ε and 0.31 ε off. One degree less errs by 29 ε
//! (f32) and 4 ε (f64). 2^0 is exact. A table of numbers that share one addition of integers with the
//! exponent is that of Tang (1989), here in a register.
//!
//! Operations per vector, AVX-512, `f32`: 2 fused multiply-adds and a subtraction for h and r, 2 for Q,
//! shift, permutation, addition of integers, multiply, compare, masked multiply-add: 11. t itself is never
//! made, so it costs nothing and rounds nothing. None can go but the compare and the mask, which chunks
//! without so small an exponential do without (their least logit is known): 10, of which a Zen 4 takes 6 in
//! the slot of multiplications, so 6 cycles. Without the table it was 11, 9 in that slot, with Q of degree 5
//! on [−½, ½]. Of 16 numbers the degree would still be 2 (one less: 3.6 ε), and AVX2, which permutes 8, would
//! need two permutations and a blend; of 4 it would be 3. The compare stands for the underflow, whose results
//! would else be subnormal or wrong; the bound of zero is chosen so that 2^n is normal, with room for 2^r <
//! 1. `vrndscaleps` and `vscalefps` take two slots each where an addition and a shift take one.
//!
//! Without fused multiply-add t = x·log₂e − k is not to be had to the last bit. There x is the distance from the
//! largest logit and k a lift of a few powers of two, so that n + k has few digits, and r = (x − (n + k)·ln 2)·log₂e
//! with ln 2 in two pieces.
//!
//! 2^t − 1 near 0 is not to be had from 2^n beside 1, so [`exp2_m1`] takes n as an integer, which is 0 there,
//! and Q of degree 5 and 10 on [−½, ½], fitted in the same way (0.10 ε and 0.12 ε).
//!
//! # ln u for normal u > 0
//!
//! u = m·2^e with √½ <= m < √2, f = m − 1 (exact), s = f/(2 + f), z = s², and from ln((1+s)/(1−s)) = 2s + s·z·P(z)
//! and f = 2s + s·f: ln m = f − s·(f − z·P(z)), which keeps the exact f in front. P: minimax of degree 3 (f32) and 6
//! (f64), error 2·10⁻⁴ ε and 6·10⁻³ ε. This is the reduction of fdlibm's `e_log.c` (Sun Microsystems, 1993) with
//! coefficients of our own.

// The leading coefficients are near ln 2, and meant to be just as near as they are.
#![allow(clippy::approx_constant)]

use super::{Float, Kernel, Simd, slices};

pub(super) mod f32 {
    pub(in super::super) const EXP2: [f32; 3] = [0.693_147_24, 0.240_258_04, 0.055_479_724];
    pub(in super::super) const EXP2_M1: [f32; 6] =
        [0.693_147_2, 0.240_225_94, 0.055_503_663, 0.009_625_445, 0.001_338_792_7, 0.000_133_324_91];
    pub(in super::super) const EIGHTHS: [f32; 8] =
        [1.0, 1.090_507_7, 1.189_207_1, 1.296_839_6, 1.414_213_5, 1.542_210_8, 1.681_792_9, 1.834_008_1];
    pub(in super::super) const LOG: [f32; 4] = [0.666_666_6, 0.400_009_72, 0.284_987_93, 0.242_788_57];
}

pub(super) mod f64 {
    pub(in super::super) const EXP2: [f64; 7] = [
        0.693_147_180_559_945_3,
        0.240_226_506_959_115_15,
        0.055_504_108_664_802_355,
        0.009_618_129_085_178_813,
        0.001_333_355_823_894_95,
        0.000_154_045_219_444_497_55,
        1.525_184_431_183_074_8e-5,
    ];
    pub(in super::super) const EXP2_M1: [f64; 11] = [
        0.693_147_180_559_945_3,
        0.240_226_506_959_101_3,
        0.055_504_108_664_820_084,
        0.009_618_129_107_594_12,
        0.001_333_355_814_677_462_3,
        0.000_154_035_304_571_121_32,
        1.525_273_349_312_567_4e-5,
        1.321_543_528_229_182_7e-6,
        1.017_819_957_264_058_6e-7,
        7.073_783_250_885_674e-9,
        4.434_771_172_922_627e-10,
    ];
    pub(in super::super) const EIGHTHS: [f64; 8] = [
        1.0,
        1.090_507_732_665_257_7,
        1.189_207_115_002_721,
        1.296_839_554_651_009_6,
        1.414_213_562_373_095_1,
        1.542_210_825_407_940_7,
        1.681_792_830_507_429,
        1.834_008_086_409_342_4,
    ];
    pub(in super::super) const LOG: [f64; 7] = [
        0.666_666_666_666_673_4,
        0.399_999_999_994_166_4,
        0.285_714_287_420_281_54,
        0.222_221_986_050_618_27,
        0.181_835_628_505_433_64,
        0.153_140_848_727_677_4,
        0.147_956_328_913_975_9,
    ];
}

/// c₀ + x·(c₁ + x·(c₂ + …)), by Horner's rule: vectors are independent, so latency hides and the count decides.
#[inline(always)]
fn polynomial<T: Float, S: Simd<T>>(s: S, x: S::V, coefficients: &[T]) -> S::V {
    let (&last, others) = coefficients.split_last().expect("a polynomial has a coefficient");
    let mut sum = s.splat(last);
    for &c in others.iter().rev() {
        sum = s.mul_add(sum, x, s.splat(c));
    }
    sum
}

/// What makes x·a − k: its k as [`Float::EIGHTH_SHIFTER`] − k, and the other way round.
#[inline(always)]
pub(crate) fn shifted<T: Float, S: Simd<T>>(s: S, k: S::V) -> S::V {
    s.sub(s.splat(T::EIGHTH_SHIFTER), k)
}

/// 2^n, 2^r − 1 and whether 2^n is normal, for n + r = x·a − k.
#[inline(always)]
fn powers<T: Float, S: Simd<T>>(s: S, x: S::V, a: T, shifted_k: S::V) -> (S::V, S::V, S::M) {
    let h = s.mul_add(x, s.splat(a), shifted_k);
    let r = if S::FUSED || a == T::ONE {
        s.mul_add(x, s.splat(a), s.sub(shifted_k, h))
    } else {
        // (n + k)·ln 2 in two pieces, the first of which is exact (Cody and Waite, 1980).
        let n = s.sub(h, shifted_k);
        let rest = s.splat(T::LN_2 - T::LN_2_HIGH + T::LN_2_REST);
        let less = s.sub(x, s.mul(n, s.splat(T::LN_2_HIGH)));
        s.mul(s.sub(less, s.mul(n, rest)), s.splat(a))
    };
    let keep = s.not_lt(h, s.splat(T::EIGHTH_SHIFTER + T::EXP2_MIN));
    (s.power_of_eighths(h, &T::EIGHTHS_BY_LANE), s.mul(polynomial(s, r, T::EXP2), r), keep)
}

/// 2^(x·a − k), at most 2; 0 where that is below 2^−125.5 (`f32`), 2^−1021.5 (`f64`), to the nearest eighth;
/// NaN for NaN. At most 1.5 ULP off, the rounding of `a` aside.
///
/// Where products are rounded before they are added to, `a` is 1 or log₂e and k an integer of at most ten bits.
#[inline(always)]
pub(crate) fn exp2_of<T: Float, S: Simd<T>>(s: S, x: S::V, a: T, shifted_k: S::V) -> S::V {
    if !S::FUSED {
        let (x, shifted_k) = (slices::stored(s, x), slices::stored(s, shifted_k));
        return s.load(&s.enter(Exp2 { x, a, shifted_k }));
    }
    exp2_of_inline(s, x, a, shifted_k)
}

#[inline(always)]
fn exp2_of_inline<T: Float, S: Simd<T>>(s: S, x: S::V, a: T, shifted_k: S::V) -> S::V {
    let (power, less_one, keep) = powers(s, x, a, shifted_k);
    s.select(keep, s.mul_add(less_one, power, power), s.splat(T::ZERO))
}

/// [`exp2_of`] as a function.
struct Exp2<T: Float> {
    x: T::Block,
    a: T,
    shifted_k: T::Block,
}

impl<T: Float> Kernel<T> for Exp2<T> {
    type Output = T::Block;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> T::Block {
        slices::stored(s, exp2_of_inline(s, s.load(&self.x), self.a, s.load(&self.shifted_k)))
    }
}

/// Calls a function of one vector, where fused multiply-add is not to be had: that each use holds its code would cost
/// more in size than it gains in speed.
macro_rules! called {
    ($s:ident, $f:ident, $x:expr) => {
        if !S::FUSED {
            struct Called<T: Float>(T::Block);
            impl<T: Float> Kernel<T> for Called<T> {
                type Output = T::Block;
                #[inline(always)]
                fn run<S: Simd<T>>(self, s: S) -> T::Block {
                    slices::stored(s, $f(s, s.load(&self.0)))
                }
            }
            return $s.load(&$s.enter(Called(slices::stored($s, $x))));
        }
    };
}

/// [`exp2_of`] where [`is_normal`] holds of x, or of something smaller.
#[inline(always)]
pub(crate) fn exp2_of_normal<T: Float, S: Simd<T>>(s: S, x: S::V, a: T, shifted_k: S::V) -> S::V {
    let (power, less_one, _) = powers(s, x, a, shifted_k);
    s.mul_add(less_one, power, power)
}

/// What makes x·log₂e − k for [`exp2_in_window`].
#[inline(always)]
pub(crate) fn window<T: Float, S: Simd<T>>(s: S, k: S::V) -> S::V {
    s.sub(s.splat(T::EIGHTH_SHIFTER - T::from_f64(2.0)), k)
}

/// 2^(x·log₂e − k) if that, n to the nearest eighth, is in the window: −126 <= n < 2 (`f32`), −1022 <= n < 2
/// (`f64`). The bits of [`exp2_of`] where that is not 0. Of h = S + n − 2 for these n, and for no others, all
/// bits but the lowest 10 (13) are those of S − 128 (S − 1024): the bits that differ are set in `outside`,
/// which [`Float::are_in_window`] judges.
#[inline(always)]
pub(crate) fn exp2_in_window<T: Float, S: Simd<T>>(s: S, x: S::V, window: S::V, outside: &mut S::V) -> S::V {
    let a = s.splat(T::LOG2_E);
    let h = s.mul_add(x, a, window);
    let r = s.mul_add(x, a, s.sub(window, h));
    *outside = s.or_differing(*outside, h, s.splat(T::WINDOW));
    let power = s.power_of_eighths(h, &T::EIGHTHS_TIMES_4_BY_LANE);
    s.mul_add(s.mul(polynomial(s, r, T::EXP2), r), power, power)
}

/// Whether 2^(x·a − k) is not 0, in every lane; unspecified where x is NaN.
#[inline(always)]
pub(crate) fn is_normal<T: Float, S: Simd<T>>(s: S, x: S::V, a: T, shifted_k: S::V) -> bool {
    let least = s.splat(T::EIGHTH_SHIFTER + T::EXP2_MIN);
    s.bits(s.gt(least, s.mul_add(x, s.splat(a), shifted_k))) == 0
}

/// 2^t for t <= 1: [`exp2_of`] with 1 and 0.
#[inline(always)]
pub(crate) fn exp2<T: Float, S: Simd<T>>(s: S, t: S::V) -> S::V {
    exp2_of(s, t, T::ONE, s.splat(T::EIGHTH_SHIFTER))
}

/// 2^t − 1 for t <= 1, without cancellation near 0: 2^n·(2^r − 1) + (2^n − 1), where n, an integer here, is 0 near 0.
#[inline(always)]
pub(crate) fn exp2_m1<T: Float, S: Simd<T>>(s: S, t: S::V) -> S::V {
    called!(s, exp2_m1_inline, t);
    exp2_m1_inline(s, t)
}

#[inline(always)]
fn exp2_m1_inline<T: Float, S: Simd<T>>(s: S, t: S::V) -> S::V {
    let shifter = s.splat(T::SHIFTER);
    let h = s.add(t, shifter);
    let r = s.sub(t, s.sub(h, shifter));
    let keep = s.not_lt(h, s.splat(T::SHIFTER + T::EXP2_MIN));
    let (power, less_one) = (s.power_of_two(h), s.mul(polynomial(s, r, T::EXP2_M1), r));
    let near = s.mul_add(power, less_one, s.sub(power, s.splat(T::ONE)));
    s.select(keep, near, s.splat(-T::ONE))
}

/// ln u for normal u > 0 (∞ and 0 give finite nonsense, NaN gives NaN).
#[inline(always)]
pub(crate) fn ln<T: Float, S: Simd<T>>(s: S, u: S::V) -> S::V {
    called!(s, ln_inline, u);
    ln_inline(s, u)
}

#[inline(always)]
fn ln_inline<T: Float, S: Simd<T>>(s: S, u: S::V) -> S::V {
    let one = s.splat(T::ONE);
    let (m, e) = s.split(u);
    let upper = s.gt(m, s.splat(T::from_f64(std::f64::consts::SQRT_2)));
    let m = s.select(upper, s.mul(m, s.splat(T::from_f64(0.5))), m);
    let e = s.select(upper, s.add(e, one), e);
    let f = s.sub(m, one);
    let q = s.div(f, s.add(one, m));
    let z = s.mul(q, q);
    let rest = s.mul(z, polynomial(s, z, T::LOG));
    let ln_m = s.sub(f, s.mul(q, s.sub(f, rest)));
    let ln_u = s.mul_add(e, s.splat(T::LN_2), s.mul_add(e, s.splat(T::LN_2_REST), ln_m));
    s.select(s.ge(u, u), ln_u, u)
}

/// ln(1 + r) for r >= 0 with 1 + r finite: ln of the rounded sum, and what the rounding dropped, divided by it.
#[inline(always)]
pub(crate) fn ln_1p<T: Float, S: Simd<T>>(s: S, r: S::V) -> S::V {
    let one = s.splat(T::ONE);
    let u = s.add(one, r);
    let large = s.gt(r, one);
    // The exact error of the sum, by Dekker's rule: the larger operand comes first.
    let dropped_of_r = s.sub(r, s.sub(u, one));
    let dropped_of_one = s.sub(one, s.sub(u, r));
    let dropped = s.select(large, dropped_of_one, dropped_of_r);
    s.add(ln(s, u), s.div(dropped, u))
}

/// tanh u = −(2^t − 1)/(2^t + 1) for t = −2|u|·log₂ e, with the sign of u.
#[inline(always)]
pub(crate) fn tanh<T: Float, S: Simd<T>>(s: S, u: S::V) -> S::V {
    let t = s.mul(s.abs(u), s.splat(T::from_f64(-2.0) * T::LOG2_E));
    let less_one = exp2_m1(s, t);
    let magnitude = s.div(s.sub(s.splat(T::ZERO), less_one), s.add(s.splat(T::from_f64(2.0)), less_one));
    let negative = s.sub(s.splat(T::ZERO), magnitude);
    s.select(s.not_lt(u, s.splat(T::ZERO)), magnitude, negative)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Kernel, Level};
    use rayon::prelude::*;

    struct Exp2<T: Float>(T::Block);
    impl<T: Float> Kernel<T> for Exp2<T> {
        type Output = T::Block;
        #[inline(always)]
        fn run<S: Simd<T>>(self, s: S) -> T::Block {
            let mut block = self.0;
            s.store(exp2(s, s.load(&self.0)), &mut block);
            block
        }
    }

    /// The distance of `got` from 2^t in units of the last place of an `f32` of that size.
    fn ulps(got: f32, t: f32) -> f64 {
        let exact = f64::from(t).exp2();
        // Below 2^-126 the units grow no smaller; the range tested ends at 2^-125.5.
        let ulp = 2.0_f64.powi(exact.log2().floor() as i32 - 23);
        (f64::from(got) - exact).abs() / ulp
    }

    #[test]
    fn every_f32_from_the_bound_to_zero_is_within_1_5_ulp() {
        // Sixteen neighbours at a time, from −0 down to −125.5.
        let (first, last) = ((-0.0_f32).to_bits(), (-125.5_f32).to_bits());
        for &level in Level::available() {
            let worst = (0..(last - first) / 16 + 1).into_par_iter().map(|group| {
                let bits = first + group * 16;
                let t = std::array::from_fn(|i| f32::from_bits((bits + i as u32).min(last)));
                let got = f32::dispatch(level, Exp2(t));
                // Nearer to 0 than half a unit of 1, nothing but 1 is right, and no logarithm is needed to know it.
                if t[15].abs() < 2.0_f32.powi(-26) {
                    return if got == [1.0; 16] { 0.0 } else { f64::INFINITY };
                }
                got.into_iter().zip(t).map(|(got, t)| ulps(got, t)).fold(0.0, f64::max)
            });
            let worst = worst.reduce(|| 0.0, f64::max);
            println!("{level}: 2^t errs by at most {worst:.3} ULP over every f32 in −125.5..=0");
            assert!(worst <= 1.5, "{level}: {worst}");
        }
    }

    /// 2^r for |r| <= ½ as a sum of two, off by less than 2^-90: the series of e^(r·ln 2), by Horner's rule
    /// in pairs of numbers with exact products (Dekker, 1971).
    fn exp2_in_pairs(r: f64) -> (f64, f64) {
        let sum = |a: f64, b: f64| (a + b, b - (a + b - a)); // |a| >= |b|
        let (x, x_low) =
            (r * std::f64::consts::LN_2, r.mul_add(std::f64::consts::LN_2, -(r * std::f64::consts::LN_2)));
        let (x, x_low) = sum(x, r.mul_add(f64::LN_2_REST, x_low));
        let (mut high, mut low) = (1.0, 0.0);
        for k in (1..=22).rev().map(f64::from) {
            let product = x * high;
            let rest = x.mul_add(high, -product) + x.mul_add(low, x_low * high);
            let quotient = product / k;
            let remainder = (-quotient).mul_add(k, product) + rest;
            (high, low) = sum(1.0, quotient);
            (high, low) = sum(high, low + remainder / k);
        }
        (high, low)
    }

    #[test]
    fn ten_million_f64_are_within_1_5_ulp() {
        const GROUPS: u64 = 10_000_000 / 8;
        for &level in Level::available() {
            let worst = (0..GROUPS).into_par_iter().map(|group| {
                let t: [f64; 8] = std::array::from_fn(|i| {
                    // Weyl's sequence, so that all of the range is met evenly; half of the points near 0.
                    let x = ((group * 8 + i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64
                        / 2.0_f64.powi(53);
                    if group % 2 == 0 { -1021.5 * x } else { -(-60.0 * x).exp2() }
                });
                let got = f64::dispatch(level, Exp2(t));
                let ulps = |(got, t): (f64, f64)| {
                    let n = t.round_ties_even();
                    let (high, low) = exp2_in_pairs(t - n);
                    let ulp = if high < 1.0 { f64::EPSILON / 2.0 } else { f64::EPSILON };
                    (got * (-n).exp2() - high - low).abs() / ulp
                };
                got.into_iter().zip(t).map(ulps).fold(0.0, f64::max)
            });
            let worst = worst.reduce(|| 0.0, f64::max);
            println!("{level}: 2^t errs by at most {worst:.3} ULP at 10,000,000 f64 in −1021.5..=0");
            assert!(worst <= 1.5, "{level}: {worst}");
        }
    }

    #[test]
    fn below_the_bound_is_zero_and_nan_is_nan() {
        for &level in Level::available() {
            let t = [-125.6, -126.0, -1e4, -1e30, f32::MIN, f32::NEG_INFINITY, -130.5, -127.0];
            let mut block = [f32::NAN; 16];
            block[..8].copy_from_slice(&t);
            let got = f32::dispatch(level, Exp2(block));
            assert!(
                got[..8].iter().all(|&x| x == 0.0) && got[8..].iter().all(|x| x.is_nan()),
                "{level}: {got:?}"
            );
            let t = [-1021.6, -1e300, f64::NEG_INFINITY, f64::NAN, -1022.0, -1e19, f64::MIN, f64::NAN];
            let got = f64::dispatch(level, Exp2(t));
            assert!(
                got.iter().zip(t).all(|(x, t)| if t.is_nan() { x.is_nan() } else { *x == 0.0 }),
                "{level}"
            );
        }
    }
}
