//! The level with 256-bit registers: AVX2 and FMA. A vector is two of them.

#![allow(unsafe_code)]

use super::{Kernel, Simd, Streaming, slices};
use std::arch::x86_64::*;
use std::sync::OnceLock;

/// Proof that this CPU has AVX2, FMA and the bit instructions of their time (x86-64-v3).
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The only maker of an `Avx2`.
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        // One answer instead of six: a call on a few elements asks, too.
        static DETECTED: OnceLock<bool> = OnceLock::new();
        let is_detected = *DETECTED.get_or_init(|| {
            is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("lzcnt")
                && is_x86_feature_detected!("popcnt")
        });
        is_detected.then_some(Avx2(()))
    }
}

/// Orders non-temporal stores before all that come after.
#[inline(always)]
pub(super) fn fence() {
    // SAFETY: every 64-bit CPU has SSE.
    unsafe { _mm_sfence() }
}

/// Methods whose bodies are compiled for this level. A body is safe but where it says otherwise: the compiler knows
/// the features there and refuses any other.
macro_rules! ops {
    ($(fn $name:ident ($($a:ident: $t:ty),*) $(-> $r:ty)? $body:block)*) => {$(
        #[inline(always)]
        fn $name(self, $($a: $t),*) $(-> $r)? {
            #[inline]
            #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
            fn op($($a: $t),*) $(-> $r)? $body
            // SAFETY: `self` exists, so detection has seen these features.
            unsafe { op($($a),*) }
        }
    )*};
}

pub(super) mod select; // after the macro that it uses

/// `Simd<$t>`, from the names that the intrinsics have for `$t`.
macro_rules! level {
    ($t:ident x $lanes:literal, halves of $half:literal, $v:ident, bits $bits:ident,
     mantissa $mantissa:literal bias $bias:literal $sll:ident $srl:ident $add_int:ident $eighths:ident;
     $set1:ident $loadu:ident $storeu:ident $add:ident $sub:ident $mul:ident $div:ident $fmadd:ident
     $max:ident $min:ident $and:ident $or:ident $andnot:ident $cmp:ident $blendv:ident $movemask:ident
     $xor:ident $to_int:ident $from_int:ident $columns:ident $rows:ident
     $sum_half:ident $max_of_half:ident;
     $mask_load:ident $mask_store:ident $stream:ident $first_lanes:ident $join:ident
    ) => {
        impl Simd<$t> for Avx2 {
            type V = ($v, $v);
            type M = ($v, $v);

            #[inline(always)]
            fn enter<K: Kernel<$t>>(self, kernel: K) -> K::Output {
                #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
                fn inside<K: Kernel<$t>>(kernel: K, s: Avx2) -> K::Output {
                    kernel.run(s)
                }
                // SAFETY: `self` exists, so detection has seen these features.
                unsafe { inside(kernel, self) }
            }

            ops! {
                fn splat(x: $t) -> ($v, $v) { ($set1(x), $set1(x)) }
                fn load(from: &[$t; $lanes]) -> ($v, $v) {
                    // SAFETY: a reference to two registers' worth; unaligned loads take any address.
                    unsafe { ($loadu(from.as_ptr()), $loadu(from[$half..].as_ptr())) }
                }
                fn store(v: ($v, $v), to: &mut [$t; $lanes]) {
                    let to = to.as_mut_ptr();
                    // SAFETY: a reference to two registers' worth; unaligned stores take any address.
                    unsafe {
                        $storeu(to, v.0);
                        $storeu(to.add($half), v.1);
                    }
                }
                fn prefetch_after(at: *const $t, n: usize) {
                    #[allow(unused_unsafe)] // as above
                    // SAFETY: a hint, which faults on no address.
                    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(n).cast()) }
                }
                fn prefetch_far_after(at: *const $t, n: usize) {
                    #[allow(unused_unsafe)] // as above
                    // SAFETY: a hint, which faults on no address.
                    unsafe { _mm_prefetch::<_MM_HINT_T1>(at.wrapping_add(n).cast()) }
                }
                fn load_up_to(from: &[$t], pad: $t) -> ($v, $v) {
                    let (low, high) = $first_lanes(from.len());
                    let at = from.as_ptr();
                    // SAFETY: lanes beyond the slice's end are masked: they are not read, and fault on no address.
                    let v = unsafe { ($mask_load(at, low), $mask_load(at.wrapping_add($half), high)) };
                    let pad = $set1(pad);
                    ($blendv(pad, v.0, $from_int(low)), $blendv(pad, v.1, $from_int(high)))
                }
                fn store_up_to(v: ($v, $v), to: &mut [$t]) {
                    let (low, high) = $first_lanes(to.len());
                    let at = to.as_mut_ptr();
                    // SAFETY: lanes beyond the slice's end are masked: they are not written, and fault on no address.
                    unsafe {
                        $mask_store(at, low, v.0);
                        $mask_store(at.wrapping_add($half), high, v.1);
                    }
                }
                fn stream(v: ($v, $v), to: &mut [$t; $lanes], _streaming: &Streaming) {
                    let to = to.as_mut_ptr();
                    // SAFETY: a reference to two registers' worth; streamed to where both are at multiples of theirs.
                    unsafe {
                        if to.addr().is_multiple_of(64) {
                            $stream(to, v.0);
                            $stream(to.add($half), v.1);
                        } else {
                            $storeu(to, v.0);
                            $storeu(to.add($half), v.1);
                        }
                    }
                }
                fn add(a: ($v, $v), b: ($v, $v)) -> ($v, $v) { ($add(a.0, b.0), $add(a.1, b.1)) }
                fn sub(a: ($v, $v), b: ($v, $v)) -> ($v, $v) { ($sub(a.0, b.0), $sub(a.1, b.1)) }
                fn mul(a: ($v, $v), b: ($v, $v)) -> ($v, $v) { ($mul(a.0, b.0), $mul(a.1, b.1)) }
                fn div(a: ($v, $v), b: ($v, $v)) -> ($v, $v) { ($div(a.0, b.0), $div(a.1, b.1)) }
                fn mul_add(a: ($v, $v), b: ($v, $v), c: ($v, $v)) -> ($v, $v) {
                    ($fmadd(a.0, b.0, c.0), $fmadd(a.1, b.1, c.1))
                }
                fn max(a: ($v, $v), b: ($v, $v)) -> ($v, $v) { ($max(a.0, b.0), $max(a.1, b.1)) }
                fn min(a: ($v, $v), b: ($v, $v)) -> ($v, $v) { ($min(a.0, b.0), $min(a.1, b.1)) }
                fn max_so_far(so_far: ($v, $v), x: ($v, $v)) -> ($v, $v) {
                    ($max(so_far.0, $max(x.0, x.1)), so_far.1)
                }
                fn min_so_far(so_far: ($v, $v), x: ($v, $v)) -> ($v, $v) {
                    ($min(so_far.0, $min(x.0, x.1)), so_far.1)
                }
                fn abs(a: ($v, $v)) -> ($v, $v) {
                    let sign = $set1(-0.0);
                    ($andnot(sign, a.0), $andnot(sign, a.1))
                }
                fn power_of_two(shifted: ($v, $v)) -> ($v, $v) {
                    let half = |v| $from_int($sll::<$mantissa>($to_int(v)));
                    (half(shifted.0), half(shifted.1))
                }
                fn or_differing(so_far: ($v, $v), a: ($v, $v), b: ($v, $v)) -> ($v, $v) {
                    ($or(so_far.0, $xor(a.0, b.0)), $or(so_far.1, $xor(a.1, b.1)))
                }
                fn power_of_eighths(shifted: ($v, $v), table: &[$t; $lanes]) -> ($v, $v) {
                    let half = |v| {
                        let bits = $to_int(v);
                        $from_int($add_int($sll::<{ $mantissa - 3 }>(bits), $eighths(bits, table)))
                    };
                    (half(shifted.0), half(shifted.1))
                }
                fn split(a: ($v, $v)) -> (($v, $v), ($v, $v)) {
                    #[inline]
                    #[target_feature(enable = "avx2,fma")]
                    fn half(a: $v) -> ($v, $v) {
                        const LOW: $bits = (1 << $mantissa) - 1;
                        let mantissa = $and(a, $set1($t::from_bits(LOW)));
                        // The exponent's bits under those of 2^mantissa are the number 2^mantissa + exponent.
                        let base = (1u64 << $mantissa) as $t;
                        let exponent = $or($from_int($srl::<$mantissa>($to_int(a))), $set1(base));
                        ($or(mantissa, $set1(1.0)), $sub(exponent, $set1(base + $bias as $t)))
                    }
                    let ((m0, e0), (m1, e1)) = (half(a.0), half(a.1));
                    ((m0, m1), (e0, e1))
                }
                fn sum_lanes(v: ($v, $v)) -> $t { $sum_half($add(v.0, v.1)) }
                fn max_lanes(v: ($v, $v)) -> $t { $max_of_half($max(v.0, v.1)) }
                fn columns(rows: &[$t], width: usize, count: usize, to: &mut [[$t; $lanes]]) { $columns(rows, width, count, to) }
                fn rows(columns: &[[$t; $lanes]], to: &mut [$t], width: usize, count: usize) { $rows(columns, to, width, count) }
                fn gt(a: ($v, $v), b: ($v, $v)) -> ($v, $v) {
                    ($cmp::<_CMP_GT_OQ>(a.0, b.0), $cmp::<_CMP_GT_OQ>(a.1, b.1))
                }
                fn ge(a: ($v, $v), b: ($v, $v)) -> ($v, $v) {
                    ($cmp::<_CMP_GE_OQ>(a.0, b.0), $cmp::<_CMP_GE_OQ>(a.1, b.1))
                }
                fn ne(a: ($v, $v), b: ($v, $v)) -> ($v, $v) {
                    ($cmp::<_CMP_NEQ_UQ>(a.0, b.0), $cmp::<_CMP_NEQ_UQ>(a.1, b.1))
                }
                fn eq(a: ($v, $v), b: ($v, $v)) -> ($v, $v) {
                    ($cmp::<_CMP_EQ_OQ>(a.0, b.0), $cmp::<_CMP_EQ_OQ>(a.1, b.1))
                }
                fn not_lt(a: ($v, $v), b: ($v, $v)) -> ($v, $v) {
                    ($cmp::<_CMP_NLT_UQ>(a.0, b.0), $cmp::<_CMP_NLT_UQ>(a.1, b.1))
                }
                fn and(a: ($v, $v), b: ($v, $v)) -> ($v, $v) { ($and(a.0, b.0), $and(a.1, b.1)) }
                fn select(m: ($v, $v), a: ($v, $v), b: ($v, $v)) -> ($v, $v) {
                    ($blendv(b.0, a.0, m.0), $blendv(b.1, a.1, m.1))
                }
                fn bits(m: ($v, $v)) -> u32 { ($movemask(m.0) | $movemask(m.1) << $half) as u32 }
                fn bits_of_4(m: [($v, $v); 4]) -> u64 { select::$join(m) }
            }
        }
    };
}

/// Masks of the first `n` lanes of two registers, or all.
#[inline]
#[target_feature(enable = "avx2")]
fn first_of_16(n: usize) -> (__m256i, __m256i) {
    let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    let n = n.min(16) as i32;
    (_mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane), _mm256_cmpgt_epi32(_mm256_set1_epi32(n - 8), lane))
}

/// The same of lanes of 8 bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn first_of_8(n: usize) -> (__m256i, __m256i) {
    let lane = _mm256_setr_epi64x(0, 1, 2, 3);
    let n = n.min(8) as i64;
    (_mm256_cmpgt_epi64(_mm256_set1_epi64x(n), lane), _mm256_cmpgt_epi64(_mm256_set1_epi64x(n - 4), lane))
}

/// The lanes of a register joined by halves, as `Simd::sum_lanes` and `max_lanes` promise; AVX-512 ends here too.
macro_rules! join_halves {
    ($($name_8:ident $name_4:ident: $join_ps:ident $join_ss:ident $join_pd:ident $join_sd:ident)*) => {$(
        #[inline]
        #[target_feature(enable = "avx2")]
        pub(super) fn $name_8(v: __m256) -> f32 {
            let v = $join_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = $join_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32($join_ss(v, _mm_movehdup_ps(v)))
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        pub(super) fn $name_4(v: __m256d) -> f64 {
            let v = $join_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd::<1>(v));
            _mm_cvtsd_f64($join_sd(v, _mm_unpackhi_pd(v, v)))
        }
    )*};
}
join_halves! {
    sum_of_8 sum_of_4: _mm_add_ps _mm_add_ss _mm_add_pd _mm_add_sd
    max_of_8 max_of_4: _mm_max_ps _mm_max_ss _mm_max_pd _mm_max_sd
}

/// Transposes the 4 x 4 matrices in the 128-bit halves of four registers.
#[inline]
#[target_feature(enable = "avx2")]
fn turn_ps([a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
    let pairs = |low, high| (_mm256_castps_pd(low), _mm256_castps_pd(high));
    let (t, v) = pairs(_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
    let (u, w) = pairs(_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
    let [a, b] = [_mm256_unpacklo_pd(t, v), _mm256_unpackhi_pd(t, v)];
    let [c, d] = [_mm256_unpacklo_pd(u, w), _mm256_unpackhi_pd(u, w)];
    [_mm256_castpd_ps(a), _mm256_castpd_ps(b), _mm256_castpd_ps(c), _mm256_castpd_ps(d)]
}

/// Transposes the 2 x 2 matrices in the 128-bit halves of two registers.
#[inline]
#[target_feature(enable = "avx2")]
fn turn_pd([a, b]: [__m256d; 2]) -> [__m256d; 2] {
    [_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b)]
}

/// Whether `len` elements hold the first `columns` of each of `rows` rows that begin every `width` elements.
#[inline]
fn holds_rows(len: usize, width: usize, columns: usize, rows: usize) -> bool {
    let last = rows.checked_sub(1).and_then(|last| last.checked_mul(width));
    last.is_some_and(|last| last <= len && columns <= len - last)
}

/// `Simd::columns` and `Simd::rows`, of AVX-512 too, whose shuffles of whole registers take twice as long on
/// a Zen 4. By 128 bits of each row; the last of them overlap those before, so that nothing beyond the
/// columns is touched.
macro_rules! transposes {
    ($columns:ident $rows:ident: $t:ident x $lanes:literal, $turn:ident $loadu:ident $storeu:ident $loadu_half:ident $storeu_half:ident
     $cast:ident $low:ident $insert:ident $extract:ident $permute:ident) => {
        #[inline]
        #[target_feature(enable = "avx2")]
        pub(super) fn $columns(rows: &[$t], width: usize, count: usize, to: &mut [[$t; $lanes]]) {
            /// `WHOLE` where there are as many rows as lanes.
            #[inline]
            #[target_feature(enable = "avx2")]
            fn read<const WHOLE: bool>(rows: &[$t], width: usize, count: usize, to: &mut [[$t; $lanes]]) {
                let columns = to.len();
                let is_held = (1..=$lanes).contains(&count) && holds_rows(rows.len(), width, columns, count);
                assert!(is_held && (!WHOLE || count == $lanes), "too few rows for a tile");
                for at in (0..columns).step_by(STEP).map(|at| at.min(columns - STEP)) {
                    for half in [0, $lanes / 2] {
                        let quarter = |row: usize| {
                            let row = if WHOLE { half + row } else { (half + row).min(count - 1) };
                            // SAFETY: `STEP` elements of one of `count` rows from the column `at` on, inside
                            // `rows` as asserted; `WHOLE` where these are `$lanes`.
                            unsafe { $loadu_half(rows.as_ptr().add(row * width + at)) }
                        };
                        let pair = |row| $insert::<1>($cast(quarter(row)), quarter(STEP + row));
                        for (to, v) in to[at..at + STEP].iter_mut().zip($turn(std::array::from_fn(pair))) {
                            // SAFETY: half a block, inside it; unaligned stores take any address.
                            unsafe { $storeu(to[half..half + $lanes / 2].as_mut_ptr(), v) }
                        }
                    }
                }
            }
            const STEP: usize = $lanes / 4;
            match count {
                _ if to.len() < STEP || count <= 1 => slices::columns(rows, width, count, to),
                $lanes => read::<true>(rows, width, count, to),
                _ => read::<false>(rows, width, count, to),
            }
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        pub(super) fn $rows(columns: &[[$t; $lanes]], to: &mut [$t], width: usize, count: usize) {
            /// `WHOLE` where there are as many rows as lanes.
            #[inline]
            #[target_feature(enable = "avx2")]
            fn write<const WHOLE: bool>(columns: &[[$t; $lanes]], to: &mut [$t], width: usize, count: usize) {
                let all = columns.len();
                let is_held = count <= $lanes && holds_rows(to.len(), width, all, count);
                assert!(is_held && (!WHOLE || count == $lanes), "no room for a tile");
                let to = to.as_mut_ptr();
                for half in [0, $lanes / 2] {
                    let turned = |at: usize| {
                        let column = |i: usize| {
                            // SAFETY: half a block, inside it; unaligned loads take any address.
                            unsafe { $loadu(columns[at + i][half..half + $lanes / 2].as_ptr()) }
                        };
                        $turn(std::array::from_fn(column))
                    };
                    let mut at = 0;
                    while all - at >= 2 * STEP {
                        for (i, (a, b)) in turned(at).into_iter().zip(turned(at + STEP)).enumerate() {
                            let (first, second) = (half + i, half + STEP + i);
                            // SAFETY: `2 * STEP` elements of one of `count` rows, or of `$lanes` where `WHOLE`,
                            // from the column `at` on, inside `to` as asserted.
                            unsafe {
                                if WHOLE || first < count {
                                    $storeu(to.add(first * width + at), $permute::<0x20>(a, b));
                                }
                                if WHOLE || second < count {
                                    $storeu(to.add(second * width + at), $permute::<0x31>(a, b));
                                }
                            }
                        }
                        at += 2 * STEP;
                    }
                    while at < all {
                        at = at.min(all - STEP);
                        for (i, v) in turned(at).into_iter().enumerate() {
                            let (first, second) = (half + i, half + STEP + i);
                            // SAFETY: the same of `STEP` elements.
                            unsafe {
                                if WHOLE || first < count {
                                    $storeu_half(to.add(first * width + at), $low(v));
                                }
                                if WHOLE || second < count {
                                    $storeu_half(to.add(second * width + at), $extract::<1>(v));
                                }
                            }
                        }
                        at += STEP;
                    }
                }
            }
            const STEP: usize = $lanes / 4;
            match count {
                _ if columns.len() < STEP || count <= 1 => slices::rows(columns, to, width, count),
                $lanes => write::<true>(columns, to, width, count),
                _ => write::<false>(columns, to, width, count),
            }
        }
    };
}
transposes! {
    columns_ps rows_ps: f32 x 16, turn_ps _mm256_loadu_ps _mm256_storeu_ps _mm_loadu_ps _mm_storeu_ps
    _mm256_castps128_ps256 _mm256_castps256_ps128 _mm256_insertf128_ps _mm256_extractf128_ps _mm256_permute2f128_ps
}
transposes! {
    columns_pd rows_pd: f64 x 8, turn_pd _mm256_loadu_pd _mm256_storeu_pd _mm_loadu_pd _mm_storeu_pd
    _mm256_castpd128_pd256 _mm256_castpd256_pd128 _mm256_insertf128_pd _mm256_extractf128_pd _mm256_permute2f128_pd
}

/// What the table, `Float::EIGHTHS_BY_LANE` or alike, has for the last three bits of each lane.
#[inline]
#[target_feature(enable = "avx2")]
fn eighths_ps(bits: __m256i, table: &[f32; 16]) -> __m256i {
    // SAFETY: a reference to more than 8 elements.
    let table = unsafe { _mm256_loadu_ps(table.as_ptr()) };
    _mm256_permutevar8x32_epi32(_mm256_castps_si256(table), bits)
}

/// The same: pairs of 32 bits, which alone can be picked by number, from either half of the table.
#[inline]
#[target_feature(enable = "avx2")]
fn eighths_pd(bits: __m256i, table: &[f64; 8]) -> __m256i {
    // SAFETY: a reference to 8 elements.
    let (low, high) = unsafe { (_mm256_loadu_pd(table.as_ptr()), _mm256_loadu_pd(table[4..].as_ptr())) };
    let twice = _mm256_slli_epi32::<1>(_mm256_shuffle_epi32::<0b10_10_00_00>(bits));
    let pair = _mm256_or_si256(twice, _mm256_set1_epi64x(1 << 32));
    let pick = |half| _mm256_castsi256_pd(_mm256_permutevar8x32_epi32(_mm256_castpd_si256(half), pair));
    let is_high = _mm256_castsi256_pd(_mm256_slli_epi64::<61>(bits));
    _mm256_castpd_si256(_mm256_blendv_pd(pick(low), pick(high), is_high))
}

level! {
    f32 x 16, halves of 8, __m256, bits u32,
    mantissa 23 bias 127 _mm256_slli_epi32 _mm256_srli_epi32 _mm256_add_epi32 eighths_ps;
    _mm256_set1_ps _mm256_loadu_ps _mm256_storeu_ps _mm256_add_ps _mm256_sub_ps _mm256_mul_ps
    _mm256_div_ps _mm256_fmadd_ps _mm256_max_ps _mm256_min_ps _mm256_and_ps _mm256_or_ps _mm256_andnot_ps
    _mm256_cmp_ps _mm256_blendv_ps _mm256_movemask_ps _mm256_xor_ps _mm256_castps_si256 _mm256_castsi256_ps columns_ps rows_ps
    sum_of_8 max_of_8;
    _mm256_maskload_ps _mm256_maskstore_ps _mm256_stream_ps first_of_16 join_16
}

level! {
    f64 x 8, halves of 4, __m256d, bits u64,
    mantissa 52 bias 1023 _mm256_slli_epi64 _mm256_srli_epi64 _mm256_add_epi64 eighths_pd;
    _mm256_set1_pd _mm256_loadu_pd _mm256_storeu_pd _mm256_add_pd _mm256_sub_pd _mm256_mul_pd
    _mm256_div_pd _mm256_fmadd_pd _mm256_max_pd _mm256_min_pd _mm256_and_pd _mm256_or_pd _mm256_andnot_pd
    _mm256_cmp_pd _mm256_blendv_pd _mm256_movemask_pd _mm256_xor_pd _mm256_castpd_si256 _mm256_castsi256_pd columns_pd rows_pd
    sum_of_4 max_of_4;
    _mm256_maskload_pd _mm256_maskstore_pd _mm256_stream_pd first_of_8 join_8
}
