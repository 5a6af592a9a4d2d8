//! The two element types: their constants, and the only place where a level becomes code.

use super::{Compiled, Kernel, Level, Simd, exp, portable::Portable};
#[cfg(target_arch = "x86_64")]
use super::{avx2::Avx2, avx512::Avx512};
use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// The element types: `f32` and `f64`.
#[allow(private_interfaces, private_bounds)]
pub trait Float:
    Copy
    + Debug
    + Default
    + PartialEq
    + PartialOrd
    + Add<Output = Self>
    + AddAssign
    + Sub<Output = Self>
    + Mul<Output = Self>
    + MulAssign
    + Div<Output = Self>
    + Neg<Output = Self>
    + crate::array::Element
    + sealed::Sealed
{
    /// 64 bytes of elements, in memory: what vectors are loaded from and stored to.
    #[doc(hidden)]
    type Block: Copy + Default + AsRef<[Self]> + AsMut<[Self]> + Send + Sync;
    /// As many blocks as a block has elements.
    #[doc(hidden)]
    type BlockMatrix: Copy + Default + AsRef<[Self::Block]> + AsMut<[Self::Block]>;
    /// A position for each lane.
    #[doc(hidden)]
    type Positions: Copy + Default + AsRef<[u32]> + AsMut<[u32]>;
    /// The number of elements in 64 bytes.
    #[doc(hidden)]
    const LANES: usize;
    /// 0, 1, 2, …
    #[doc(hidden)]
    const LANE_NUMBERS: Self::Block;
    /// The same, up to 127.
    #[doc(hidden)]
    const NUMBERS: &'static [Self];
    /// The type's name.
    #[doc(hidden)]
    const NAME: &'static str;
    #[doc(hidden)]
    const ZERO: Self;
    #[doc(hidden)]
    const ONE: Self;
    #[doc(hidden)]
    const NAN: Self;
    #[doc(hidden)]
    const NEG_INFINITY: Self;
    #[doc(hidden)]
    const INFINITY: Self;
    /// 2^(1 − mantissa bits).
    #[doc(hidden)]
    const EPSILON: Self;
    /// See [`exp`](super::exp) for this and the next nine.
    #[doc(hidden)]
    const EXP2: &'static [Self];
    #[doc(hidden)]
    const EXP2_M1: &'static [Self];
    /// 2^(i/8) for i in 0..8.
    #[doc(hidden)]
    const EIGHTHS: &'static [Self];
    /// The same for each lane i modulo 8, less the bits that i stands in where `power_of_eighths` of the
    /// levels adds them.
    #[doc(hidden)]
    const EIGHTHS_BY_LANE: Self::Block;
    #[doc(hidden)]
    const EIGHTHS_TIMES_4_BY_LANE: Self::Block;
    /// The least of the numbers that [`exp::exp2_in_window`] looks for.
    #[doc(hidden)]
    const WINDOW: Self;
    /// From this times the target's exponential on, that of the others makes the target's own too small to be
    /// added to it: 2^62, 2^510.
    #[doc(hidden)]
    const FAR: Self;
    #[doc(hidden)]
    const EXP2_MIN: Self;
    #[doc(hidden)]
    const LOG: &'static [Self];
    #[doc(hidden)]
    const LOG2_E: Self;
    #[doc(hidden)]
    const LN_2: Self;
    /// The upper half of its digits: times an integer of as many digits as the other half it is exact.
    #[doc(hidden)]
    const LN_2_HIGH: Self;
    #[doc(hidden)]
    const LN_2_REST: Self;
    /// 1.5·2^(mantissa bits) and the bias of the exponent. Adding it to a number up to a quarter of that rounds to an
    /// integer, ties to even.
    #[doc(hidden)]
    const SHIFTER: Self;
    /// 1.5·2^(mantissa bits − 3). Adding it to a number up to a quarter of that rounds to an eighth.
    #[doc(hidden)]
    const EIGHTH_SHIFTER: Self;
    /// The largest |x| with x·log₂e small enough for that.
    #[doc(hidden)]
    const MAX_INTEGER_SHIFT: Self;
    /// The exponent of the least normal number.
    #[doc(hidden)]
    const MIN_EXPONENT: i32;
    /// The exponentials of a chunk are 2 to this times as large as their shift says: those that are normal
    /// where the largest is 1 must not underflow.
    #[doc(hidden)]
    const CHUNK_LIFT: i32;
    /// The same of those of a row, which may also be multiplied by something large.
    #[doc(hidden)]
    const ROW_LIFT: i32;
    /// The largest exponent of a row's factor that it is multiplied by before anything else.
    #[doc(hidden)]
    const FIRST_LIFT: i32;

    /// Whole blocks from the start on, and the elements left over.
    #[doc(hidden)]
    fn blocks(slice: &[Self]) -> (&[Self::Block], &[Self]);
    /// Whole blocks from the start on, and the elements left over.
    #[doc(hidden)]
    fn blocks_mut(slice: &mut [Self]) -> (&mut [Self::Block], &mut [Self]);
    /// The elements of blocks.
    #[doc(hidden)]
    fn elements(blocks: &[Self::Block]) -> &[Self];
    /// The first [`Float::LANES`] elements, where there are that many.
    #[doc(hidden)]
    fn first_block(slice: &mut [Self]) -> Option<&mut Self::Block>;
    /// The first [`Float::LANES`] positions, where there are that many.
    #[doc(hidden)]
    fn first_positions(slice: &mut [u32]) -> Option<&mut Self::Positions>;
    /// Runs a kernel at a level; at [`Level::Portable`] where the CPU does not have it, which the callers' levels,
    /// from [`Level::current`], rule out.
    #[doc(hidden)]
    fn dispatch<K: Kernel<Self>>(level: Level, kernel: K) -> K::Output;
    /// Does work by code that is compiled with this crate.
    #[doc(hidden)]
    fn compiled<W: Compiled>(work: W::Of<Self>) -> W::Answer<Self>;

    /// `self · a + b`, rounded once.
    #[doc(hidden)]
    fn mul_add(self, a: Self, b: Self) -> Self;
    #[doc(hidden)]
    fn abs(self) -> Self;
    #[doc(hidden)]
    fn is_nan(self) -> bool;
    /// The least number greater than `self`; NaN where there is none.
    #[doc(hidden)]
    fn next_up(self) -> Self;
    /// The greatest number less than `self`; NaN where there is none.
    #[doc(hidden)]
    fn next_down(self) -> Self {
        -(-self).next_up()
    }
    /// The bits of a [`Float::magnitude_key`].
    #[doc(hidden)]
    const KEY_BITS: u32;
    /// A number that orders magnitudes: 0 for NaN, otherwise 1 more than the bits of `|self|`.
    #[doc(hidden)]
    fn magnitude_key(self) -> u64;
    /// The magnitude with this key, which is not 0.
    #[doc(hidden)]
    fn from_magnitude_key(key: u64) -> Self;
    /// Whether no bit is set but those in which the numbers of [`exp::exp2_in_window`]'s window differ.
    #[doc(hidden)]
    fn are_in_window(differing: &Self::Block) -> bool;
    /// The nearest value.
    #[doc(hidden)]
    fn from_f64(x: f64) -> Self;
    #[doc(hidden)]
    fn to_f64(self) -> f64;
}

/// 2^(i/8 + `power`) for each lane i modulo 8, less the bits that i stands in.
macro_rules! eighths_by_lane {
    ($t:ident, $bits:ident, $lanes:literal, $power:literal) => {{
        let mut powers = [0.0; $lanes];
        let mut i = 0;
        while i < $lanes {
            let eighth = (i % 8) as $bits;
            let bits = exp::$t::EIGHTHS[i % 8].to_bits() - (eighth << ($t::MANTISSA_DIGITS - 4));
            powers[i] = $t::from_bits(bits + ($power << ($t::MANTISSA_DIGITS - 1)));
            i += 1;
        }
        powers
    }};
}

macro_rules! float {
    ($t:ident, $bits:ident, $lanes:literal, far $far:literal, ln2 $ln2:expr, $ln2_rest:expr, lift $lift:literal) => {
        #[allow(private_interfaces, private_bounds)]
        impl Float for $t {
            type Block = [$t; $lanes];
            type BlockMatrix = [[$t; $lanes]; $lanes];
            type Positions = [u32; $lanes];
            const LANES: usize = $lanes;
            const LANE_NUMBERS: Self::Block = *Self::NUMBERS.first_chunk().unwrap();
            const NUMBERS: &'static [Self] = &{
                let mut numbers = [0.0; 128];
                let mut i = 0;
                while i < 128 {
                    numbers[i] = i as $t;
                    i += 1;
                }
                numbers
            };
            const NAME: &'static str = stringify!($t);
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const NAN: Self = $t::NAN;
            const NEG_INFINITY: Self = $t::NEG_INFINITY;
            const INFINITY: Self = $t::INFINITY;
            const EPSILON: Self = $t::EPSILON;
            const KEY_BITS: u32 = $bits::BITS - 1; // all but the sign
            const EXP2: &'static [Self] = &exp::$t::EXP2;
            const EXP2_M1: &'static [Self] = &exp::$t::EXP2_M1;
            const EIGHTHS: &'static [Self] = &exp::$t::EIGHTHS;
            const EIGHTHS_BY_LANE: Self::Block = eighths_by_lane!($t, $bits, $lanes, 0);
            const EIGHTHS_TIMES_4_BY_LANE: Self::Block = eighths_by_lane!($t, $bits, $lanes, 2);
            const WINDOW: Self = Self::EIGHTH_SHIFTER - $t::MAX_EXP as $t;
            const FAR: Self = $t::from_bits((($t::MAX_EXP - 1) as $bits + $far) << ($t::MANTISSA_DIGITS - 1));
            const EXP2_MIN: Self = $t::MIN_EXP as $t - 0.5;
            const LOG: &'static [Self] = &exp::$t::LOG;
            const LOG2_E: Self = std::$t::consts::LOG2_E;
            const LN_2: Self = $ln2;
            const LN_2_HIGH: Self =
                $t::from_bits($ln2.to_bits() >> ($t::MANTISSA_DIGITS / 2) << ($t::MANTISSA_DIGITS / 2));
            const LN_2_REST: Self = $ln2_rest;
            const SHIFTER: Self = (3u64 << ($t::MANTISSA_DIGITS - 2)) as $t + ($t::MAX_EXP - 1) as $t;
            const EIGHTH_SHIFTER: Self = (3u64 << ($t::MANTISSA_DIGITS - 5)) as $t;
            const MAX_INTEGER_SHIFT: Self = (1u64 << ($t::MANTISSA_DIGITS - 4)) as $t;
            const MIN_EXPONENT: i32 = $t::MIN_EXP - 1;
            const CHUNK_LIFT: i32 = 2;
            const ROW_LIFT: i32 = $lift;
            const FIRST_LIFT: i32 = $lift * 2 / 3;

            #[inline(always)]
            fn blocks(slice: &[Self]) -> (&[Self::Block], &[Self]) {
                slice.as_chunks()
            }
            #[inline(always)]
            fn blocks_mut(slice: &mut [Self]) -> (&mut [Self::Block], &mut [Self]) {
                slice.as_chunks_mut()
            }
            #[inline(always)]
            fn elements(blocks: &[Self::Block]) -> &[Self] {
                blocks.as_flattened()
            }
            #[inline(always)]
            fn first_block(slice: &mut [Self]) -> Option<&mut Self::Block> {
                slice.first_chunk_mut()
            }
            #[inline(always)]
            fn first_positions(slice: &mut [u32]) -> Option<&mut Self::Positions> {
                slice.first_chunk_mut()
            }
            #[inline]
            fn dispatch<K: Kernel<Self>>(level: Level, kernel: K) -> K::Output {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => {
                        if let Some(s) = Avx512::detect() {
                            return Simd::<Self>::enter(s, kernel);
                        }
                    }
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => {
                        if let Some(s) = Avx2::detect() {
                            return Simd::<Self>::enter(s, kernel);
                        }
                    }
                    _ => {}
                }
                Simd::<Self>::enter(Portable, kernel)
            }
            #[inline(always)]
            fn compiled<W: Compiled>(work: W::Of<Self>) -> W::Answer<Self> {
                W::$t(work)
            }
            #[inline(always)]
            fn mul_add(self, a: Self, b: Self) -> Self {
                $t::mul_add(self, a, b)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $t::abs(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                $t::is_nan(self)
            }
            fn next_up(self) -> Self {
                if self == $t::INFINITY { $t::NAN } else { self.next_up() }
            }
            #[inline(always)]
            fn magnitude_key(self) -> u64 {
                if self.is_nan() { 0 } else { u64::from($t::abs(self).to_bits()) + 1 }
            }
            #[inline(always)]
            fn from_magnitude_key(key: u64) -> Self {
                $t::from_bits((key - 1) as $bits)
            }
            #[inline(always)]
            fn are_in_window(differing: &Self::Block) -> bool {
                let all = differing.iter().fold(0, |all, x| all | x.to_bits());
                all < 8 * $t::MAX_EXP as $bits
            }
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
        }
    };
}
// ln 2 in two pieces: the nearest value, and what it leaves.
float!(f32, u32, 16, far 62, ln2 std::f32::consts::LN_2, -1.904_654_2e-9, lift 60);
float!(f64, u64, 8, far 510, ln2 std::f64::consts::LN_2, 2.319_046_813_846_299_6e-17, lift 400);
