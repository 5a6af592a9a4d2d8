//! The level that every CPU has: the crate `wide`, compiled to whatever the build was told it may use.

mod select;

use super::{Kernel, Level, Simd, block_of};
use wide::{f32x16, f64x8};

/// The level without a condition, and so without proof.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

macro_rules! level {
    ($t:ident x $lanes:literal, $v:ident, mantissa $mantissa:literal bias $bias:literal) => {
        impl Simd<$t> for Portable {
            type V = $v;
            type M = $v;
            const FUSED: bool = Level::Portable.has_fma();

            // A function of its own, as at the other levels: without it every caller's code holds the kernel's.
            #[inline(never)]
            fn enter<K: Kernel<$t>>(self, kernel: K) -> K::Output {
                kernel.run(self)
            }
            #[inline(always)]
            fn splat(self, x: $t) -> $v {
                $v::splat(x)
            }
            #[inline(always)]
            fn load(self, from: &[$t; $lanes]) -> $v {
                $v::new(*from)
            }
            #[inline(always)]
            fn store(self, v: $v, to: &mut [$t; $lanes]) {
                *to = v.to_array();
            }
            #[inline(always)]
            fn load_few(self, from: &[$t], pad: $t) -> $v {
                Simd::<$t>::load(self, &block_of(from, pad))
            }
            #[inline(always)]
            fn prefetch_after(self, _at: *const $t, _n: usize) {}
            #[inline(always)]
            fn prefetch_far_after(self, _at: *const $t, _n: usize) {}
            #[inline(always)]
            fn add(self, a: $v, b: $v) -> $v {
                a + b
            }
            #[inline(always)]
            fn sub(self, a: $v, b: $v) -> $v {
                a - b
            }
            #[inline(always)]
            fn mul(self, a: $v, b: $v) -> $v {
                a * b
            }
            #[inline(always)]
            fn div(self, a: $v, b: $v) -> $v {
                a / b
            }
            #[inline(always)]
            fn mul_add(self, a: $v, b: $v, c: $v) -> $v {
                a.mul_add(b, c)
            }
            #[inline(always)]
            fn max(self, a: $v, b: $v) -> $v {
                a.fast_max(b)
            }
            #[inline(always)]
            fn min(self, a: $v, b: $v) -> $v {
                a.fast_min(b)
            }
            #[inline(always)]
            fn abs(self, a: $v) -> $v {
                a.abs()
            }
            // Loops, not `from_fn`, whose closures are not sure to be inlined.
            #[inline(always)]
            fn power_of_two(self, shifted: $v) -> $v {
                let mut powers = shifted.to_array();
                for x in &mut powers {
                    *x = $t::from_bits(x.to_bits() << $mantissa);
                }
                $v::new(powers)
            }
            #[inline(always)]
            fn power_of_eighths(self, shifted: $v, table: &[$t; $lanes]) -> $v {
                let mut powers = shifted.to_array();
                for x in &mut powers {
                    let bits = x.to_bits();
                    let eighth = table[bits as usize % 8].to_bits();
                    *x = $t::from_bits((bits << ($mantissa - 3)).wrapping_add(eighth));
                }
                $v::new(powers)
            }
            #[inline(always)]
            fn or_differing(self, so_far: $v, a: $v, b: $v) -> $v {
                so_far | (a ^ b)
            }
            #[inline(always)]
            fn split(self, a: $v) -> ($v, $v) {
                let (mut mantissas, mut exponents) = (a.to_array(), a.to_array());
                // The exponent's bits under those of 2^mantissa are the number 2^mantissa + exponent.
                let (one, base) = ((1.0 as $t).to_bits(), (1u64 << $mantissa) as $t);
                for (mantissa, exponent) in mantissas.iter_mut().zip(&mut exponents) {
                    let bits = mantissa.to_bits();
                    *mantissa = $t::from_bits(bits & ((1 << $mantissa) - 1) | one);
                    *exponent = $t::from_bits(bits >> $mantissa | base.to_bits());
                }
                ($v::new(mantissas), $v::new(exponents) - $v::splat(base + $bias as $t))
            }
            #[inline(always)]
            fn gt(self, a: $v, b: $v) -> $v {
                a.simd_gt(b)
            }
            #[inline(always)]
            fn ge(self, a: $v, b: $v) -> $v {
                a.simd_ge(b)
            }
            #[inline(always)]
            fn ne(self, a: $v, b: $v) -> $v {
                a.simd_ne(b)
            }
            #[inline(always)]
            fn eq(self, a: $v, b: $v) -> $v {
                a.simd_eq(b)
            }
            #[inline(always)]
            fn not_lt(self, a: $v, b: $v) -> $v {
                !a.simd_lt(b)
            }
            #[inline(always)]
            fn and(self, a: $v, b: $v) -> $v {
                a & b
            }
            #[inline(always)]
            fn select(self, m: $v, a: $v, b: $v) -> $v {
                m.bitselect(a, b)
            }
            #[inline(always)]
            fn bits(self, m: $v) -> u32 {
                m.to_bitmask()
            }
        }
    };
}

level!(f32 x 16, f32x16, mantissa 23 bias 127);
level!(f64 x 8, f64x8, mantissa 52 bias 1023);
