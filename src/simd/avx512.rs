//! The level with 512-bit registers: AVX-512 F, BW, DQ and VL.

#![allow(unsafe_code)]

use super::avx2::{columns_pd, columns_ps, max_of_4, max_of_8, rows_pd, rows_ps, sum_of_4, sum_of_8};
use super::select::WORD;
use super::{Kernel, Simd, Streaming};
use std::arch::x86_64::*;
use std::sync::OnceLock;

/// Proof that this CPU has AVX-512 F, BW, DQ and VL (and what comes with them: x86-64-v4).
#[derive(Clone, Copy)]
pub(crate) struct Avx512 {
    /// Whether it can compress bytes (AVX-512 VBMI2).
    compresses_bytes: bool,
}

impl Avx512 {
    /// The only maker of an `Avx512`.
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        static DETECTED: OnceLock<Option<Avx512>> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            let compresses_bytes = is_x86_feature_detected!("avx512vbmi2");
            Self::has_features().then_some(Avx512 { compresses_bytes })
        })
    }

    fn has_features() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt")
    }
}

/// Whether Intel has made this CPU. Asked once: a virtual machine leaves the CPU for the answer.
pub(super) fn is_intel() -> bool {
    static IS_INTEL: OnceLock<bool> = OnceLock::new();
    *IS_INTEL.get_or_init(|| {
        #[allow(unused_unsafe)] // the intrinsic is safe in newer compilers than our oldest
        // SAFETY: every 64-bit CPU has the instruction.
        let vendor = unsafe { __cpuid(0) };
        [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"GenuineIntel"
    })
}

/// Methods whose bodies are compiled for this level. A body is safe but where it says otherwise: the compiler knows
/// the features there and refuses any other. What the token knows, they see under the name before the semicolon.
macro_rules! ops {
    ($s:ident; $(fn $name:ident $(<$k:ident: $bound:path>)? ($($a:ident: $t:ty),*) $(-> $r:ty)? $body:block)*) => {$(
        #[inline(always)]
        fn $name $(<$k: $bound>)? (self, $($a: $t),*) $(-> $r)? {
            #[inline]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
            fn op $(<$k: $bound>)? ($s: Avx512, $($a: $t),*) $(-> $r)? {
                let _ = $s;
                $body
            }
            // SAFETY: `self` exists, so detection has seen these features.
            unsafe { op(self, $($a),*) }
        }
    )*};
}

mod select; // after the macro that it uses

/// `Simd<$t>`, from the names that the intrinsics have for `$t`.
macro_rules! level {
    ($t:ident x $lanes:literal, mantissa $mantissa:literal, $v:ident, $m:ident, $join:ident $compress_4:ident $positions_32:ident $positions_64:ident;
     $set1:ident $loadu:ident $storeu:ident $add:ident $sub:ident $mul:ident $div:ident $fmadd:ident
     $max:ident $min:ident $abs:ident $to_int:ident $sll:ident $add_int:ident $permute_int:ident $from_int:ident $getmant:ident $getexp:ident $cmp:ident $blend:ident
     $mask_load:ident $mask_store:ident $stream:ident
     $target_columns:ident $columns:ident $rows:ident $ternary:ident $mask_add:ident $sums_of_rows:ident
     $low:ident $high:ident $add_half:ident $max_half:ident $sum_half:ident $max_of_half:ident
    ) => {
        impl Simd<$t> for Avx512 {
            type V = $v;
            type M = $m;

            #[inline(always)]
            fn enter<K: Kernel<$t>>(self, kernel: K) -> K::Output {
                #[target_feature(
                    enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi1,bmi2,lzcnt,popcnt"
                )]
                fn inside<K: Kernel<$t>>(kernel: K, s: Avx512) -> K::Output {
                    kernel.run(s)
                }
                // SAFETY: `self` exists, so detection has seen these features.
                unsafe { inside(kernel, self) }
            }

            ops! { s;
                fn splat(x: $t) -> $v { $set1(x) }
                fn load(from: &[$t; $lanes]) -> $v {
                    // SAFETY: a reference to 64 bytes; unaligned loads take any address.
                    unsafe { $loadu(from.as_ptr()) }
                }
                fn store(v: $v, to: &mut [$t; $lanes]) {
                    // SAFETY: a reference to 64 bytes; unaligned stores take any address.
                    unsafe { $storeu(to.as_mut_ptr(), v) }
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
                fn load_up_to(from: &[$t], pad: $t) -> $v {
                    // SAFETY: lanes beyond the slice's end are masked: they are not read, and fault on no address.
                    unsafe { $mask_load($set1(pad), first_lanes(from.len()) as $m, from.as_ptr()) }
                }
                fn store_up_to(v: $v, to: &mut [$t]) {
                    // SAFETY: lanes beyond the slice's end are masked: they are not written, and fault on no address.
                    unsafe { $mask_store(to.as_mut_ptr(), first_lanes(to.len()) as $m, v) }
                }
                fn stream(v: $v, to: &mut [$t; $lanes], _streaming: &Streaming) {
                    let to = to.as_mut_ptr();
                    // SAFETY: a reference to 64 bytes; streamed to where they start at a multiple of 64.
                    unsafe { if to.addr().is_multiple_of(64) { $stream(to, v) } else { $storeu(to, v) } }
                }
                fn add(a: $v, b: $v) -> $v { $add(a, b) }
                fn sub(a: $v, b: $v) -> $v { $sub(a, b) }
                fn mul(a: $v, b: $v) -> $v { $mul(a, b) }
                fn div(a: $v, b: $v) -> $v { $div(a, b) }
                fn mul_add(a: $v, b: $v, c: $v) -> $v { $fmadd(a, b, c) }
                fn max(a: $v, b: $v) -> $v { $max(a, b) }
                fn min(a: $v, b: $v) -> $v { $min(a, b) }
                fn abs(a: $v) -> $v { $abs(a) }
                fn power_of_two(shifted: $v) -> $v { $from_int($sll::<$mantissa>($to_int(shifted))) }
                fn power_of_eighths(shifted: $v, table: &[$t; $lanes]) -> $v {
                    let bits = $to_int(shifted);
                    // The index is taken modulo the lanes, of which the table fills all.
                    let eighth = $permute_int(bits, $to_int(Simd::<$t>::load(s, table)));
                    $from_int($add_int($sll::<{ $mantissa - 3 }>(bits), eighth))
                }
                fn split(a: $v) -> ($v, $v) {
                    ($getmant::<_MM_MANT_NORM_1_2, _MM_MANT_SIGN_SRC>(a), $getexp(a))
                }
                fn or_differing(so_far: $v, a: $v, b: $v) -> $v {
                    // Bit by bit: so_far | (a ^ b).
                    $from_int($ternary::<0xF6>($to_int(so_far), $to_int(a), $to_int(b)))
                }
                fn add_where(m: $m, a: $v, b: $v) -> $v { $mask_add(a, m, a, b) }
                fn sums_of_rows(rows: &[[$t; $lanes]; $lanes], count: usize) -> $v {
                    let _ = count;
                    $sums_of_rows(std::array::from_fn(|i| Simd::<$t>::load(s, &rows[i])))
                }
                fn sum_lanes(v: $v) -> $t { $sum_half($add_half($low(v), $high::<1>(v))) }
                fn max_lanes(v: $v) -> $t { $max_of_half($max_half($low(v), $high::<1>(v))) }
                fn columns(rows: &[$t], width: usize, count: usize, to: &mut [[$t; $lanes]]) { $columns(rows, width, count, to) }
                fn rows(columns: &[[$t; $lanes]], to: &mut [$t], width: usize, count: usize) { $rows(columns, to, width, count) }
                fn target_columns(classes: &[usize; 16], first: usize, end: u32) -> $v { $target_columns(classes, first, end) }
                fn gt(a: $v, b: $v) -> $m { $cmp::<_CMP_GT_OQ>(a, b) }
                fn ge(a: $v, b: $v) -> $m { $cmp::<_CMP_GE_OQ>(a, b) }
                fn ne(a: $v, b: $v) -> $m { $cmp::<_CMP_NEQ_UQ>(a, b) }
                fn eq(a: $v, b: $v) -> $m { $cmp::<_CMP_EQ_OQ>(a, b) }
                fn not_lt(a: $v, b: $v) -> $m { $cmp::<_CMP_NLT_UQ>(a, b) }
                fn and(a: $m, b: $m) -> $m { a & b }
                fn select(m: $m, a: $v, b: $v) -> $v { $blend(m, b, a) }
                fn bits(m: $m) -> u32 { m as u32 }
                fn bits_of_4(m: [$m; 4]) -> u64 { select::$join(m) }
                fn compress_4(bits: u64, m: [$m; 4], v: [$v; 4], from: &[[$t; $lanes]; 4], to: &mut [$t; WORD]) {
                    let _ = from; // which is in registers
                    select::$compress_4(s, bits, m, v, to)
                }
                fn positions_32_of_4(bits: u64, m: [$m; 4], first: u32, to: &mut [u32; WORD]) {
                    select::$positions_32(s, bits, m, first, to)
                }
                fn positions_64_of_4(bits: u64, m: [$m; 4], first: u64, to: &mut [u64; WORD]) {
                    select::$positions_64(s, bits, m, first, to)
                }
            }
        }
    };
}

/// Bits for the first `n` lanes, or all.
#[inline]
#[target_feature(enable = "bmi2")]
fn first_lanes(n: usize) -> u32 {
    _bzhi_u32(!0, n.min(32) as u32)
}

/// What `Simd::target_columns` makes of eight classes.
#[inline]
#[target_feature(enable = "avx512f")]
fn target_columns(classes: &[usize; 8], first: usize, end: u32) -> __m512i {
    // Of 64 bits each, also where `usize` has 32 (x32); `usize::MAX` becomes −1.
    let classes: [i64; 8] = classes.map(|class| class as isize as i64);
    // SAFETY: a reference to 64 bytes.
    let classes = unsafe { _mm512_loadu_si512(classes.as_ptr().cast()) };
    let at = _mm512_sub_epi64(classes, _mm512_set1_epi64(first as i64));
    let at = _mm512_min_epu64(at, _mm512_set1_epi64(end.into()));
    let minus_one = _mm512_set1_epi64(-1);
    _mm512_mask_blend_epi64(_mm512_cmpeq_epi64_mask(classes, minus_one), at, minus_one)
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn seats_ps(classes: &[usize; 16], first: usize, end: u32) -> __m512 {
    let (halves, _) = classes.as_chunks();
    // Written out: a closure was no part of the level's function in some builds.
    let low = _mm512_cvtepi64_ps(target_columns(&halves[0], first, end));
    let high = _mm512_cvtepi64_ps(target_columns(&halves[1], first, end));
    _mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high)
}

#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
fn seats_pd(classes: &[usize; 16], first: usize, end: u32) -> __m512d {
    let (halves, _) = classes.as_chunks();
    _mm512_cvtepi64_pd(target_columns(&halves[0], first, end))
}

/// The sum of each register's lanes, joined by halves, in the registers' order. A step joins two registers
/// into one, which has the halves of both side by side; so registers are joined in the order that the lanes
/// come out in.
#[inline]
#[target_feature(enable = "avx512f")]
fn sums_of_16(v: [__m512; 16]) -> __m512 {
    let of_4 = |i: usize| {
        let of_2 = |a, b| {
            let [low, high] = [_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xEE>(a, b)];
            _mm512_add_ps(low, high)
        };
        let [a, b] = [of_2(v[i], v[4 + i]), of_2(v[8 + i], v[12 + i])];
        _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xDD>(a, b))
    };
    let of_8 = |i| {
        let [a, b] = [of_4(i), of_4(i + 1)].map(|v| _mm512_castps_pd(v));
        let [low, high] = [_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b)];
        _mm512_add_ps(_mm512_castpd_ps(low), _mm512_castpd_ps(high))
    };
    let [a, b] = [of_8(0), of_8(2)];
    _mm512_add_ps(_mm512_shuffle_ps::<0x88>(a, b), _mm512_shuffle_ps::<0xDD>(a, b))
}

/// The same of 8 registers of 8 lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn sums_of_8(v: [__m512d; 8]) -> __m512d {
    let of_4 = |i: usize| {
        let of_2 = |a, b| {
            let [low, high] = [_mm512_shuffle_f64x2::<0x44>(a, b), _mm512_shuffle_f64x2::<0xEE>(a, b)];
            _mm512_add_pd(low, high)
        };
        let [a, b] = [of_2(v[i], v[2 + i]), of_2(v[4 + i], v[6 + i])];
        _mm512_add_pd(_mm512_shuffle_f64x2::<0x88>(a, b), _mm512_shuffle_f64x2::<0xDD>(a, b))
    };
    let [a, b] = [of_4(0), of_4(1)];
    _mm512_add_pd(_mm512_unpacklo_pd(a, b), _mm512_unpackhi_pd(a, b))
}

level! {
    f32 x 16, mantissa 23, __m512, __mmask16, join_16 compress_4_ps positions_32_of_16 positions_64_of_16;
    _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_add_ps _mm512_sub_ps _mm512_mul_ps
    _mm512_div_ps _mm512_fmadd_ps _mm512_max_ps _mm512_min_ps _mm512_abs_ps _mm512_castps_si512 _mm512_slli_epi32 _mm512_add_epi32 _mm512_permutexvar_epi32 _mm512_castsi512_ps
    _mm512_getmant_ps _mm512_getexp_ps _mm512_cmp_ps_mask _mm512_mask_blend_ps  _mm512_mask_loadu_ps _mm512_mask_storeu_ps _mm512_stream_ps
    seats_ps columns_ps rows_ps _mm512_ternarylogic_epi32 _mm512_mask_add_ps sums_of_16
    _mm512_castps512_ps256 _mm512_extractf32x8_ps _mm256_add_ps _mm256_max_ps sum_of_8 max_of_8
}

level! {
    f64 x 8, mantissa 52, __m512d, __mmask8, join_8 compress_4_pd positions_32_of_8 positions_64_of_8;
    _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd _mm512_add_pd _mm512_sub_pd _mm512_mul_pd
    _mm512_div_pd _mm512_fmadd_pd _mm512_max_pd _mm512_min_pd _mm512_abs_pd _mm512_castpd_si512 _mm512_slli_epi64 _mm512_add_epi64 _mm512_permutexvar_epi64 _mm512_castsi512_pd
    _mm512_getmant_pd _mm512_getexp_pd _mm512_cmp_pd_mask _mm512_mask_blend_pd  _mm512_mask_loadu_pd _mm512_mask_storeu_pd _mm512_stream_pd
    seats_pd columns_pd rows_pd _mm512_ternarylogic_epi64 _mm512_mask_add_pd sums_of_8
    _mm512_castpd512_pd256 _mm512_extractf64x4_pd _mm256_add_pd _mm256_max_pd sum_of_4 max_of_4
}
