//! The level with 512-bit registers: AVX-512 F, BW, DQ and VL.

#![allow(unsafe_code)]

use super::avx2::{max_of_4, max_of_8, sum_of_4, sum_of_8};
use super::{Kernel, Simd};
use std::arch::x86_64::*;
use std::hint::select_unpredictable;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// Proof that this CPU has AVX-512 F, BW, DQ and VL (and what comes with them: x86-64-v4).
#[derive(Clone, Copy)]
pub(crate) struct Avx512 {
    /// Whether compressing straight to memory is as good as it looks: on Intel's CPUs. AMD's (Zen 4 and 5) make it of
    /// microcode, 15 times slower than by way of a register.
    compresses_to_memory: bool,
}

impl Avx512 {
    /// The only maker of an `Avx512`.
    #[inline]
    pub(crate) fn detect() -> Option<Self> {
        static DETECTED: OnceLock<Option<Avx512>> = OnceLock::new();
        *DETECTED.get_or_init(|| Self::has_features().then(|| Avx512 { compresses_to_memory: is_intel() }))
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

/// Whether Intel has made this CPU.
pub(super) fn is_intel() -> bool {
    #[allow(unused_unsafe)] // the intrinsic is safe in newer compilers than our oldest
    // SAFETY: every 64-bit CPU has the instruction.
    let vendor = unsafe { __cpuid(0) };
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"GenuineIntel"
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

/// `Simd<$t>`, from the names that the intrinsics have for `$t`.
macro_rules! level {
    ($t:ident x $lanes:literal, mantissa $mantissa:literal, $v:ident, $m:ident, $p:ident;
     $set1:ident $loadu:ident $storeu:ident $add:ident $sub:ident $mul:ident $div:ident $fmadd:ident
     $max:ident $min:ident $abs:ident $to_int:ident $sll:ident $from_int:ident $getmant:ident $getexp:ident $cmp:ident $blend:ident
     $compress:ident $compress_store:ident $mask_load:ident $mask_store:ident $stream:ident $quarters:ident $shuffle:ident
     $low:ident $high:ident $add_half:ident $max_half:ident $sum_half:ident $max_of_half:ident;
     $positions:expr, $set1_position:ident, $add_position:ident, $compress_position:ident, $compress_store_position:ident,
     $store_position:ident
    ) => {
        impl Simd<$t> for Avx512 {
            type V = $v;
            type M = $m;
            type P = $p;
            const EXACT: bool = true;

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
                fn prefetch(at: &$t) {
                    #[allow(unused_unsafe)] // the intrinsic is safe in newer compilers than our oldest
                    // SAFETY: a hint, which faults on no address.
                    unsafe { _mm_prefetch::<_MM_HINT_T1>(std::ptr::from_ref(at).cast()) }
                }
                fn prefetch_after(at: *const $t, n: usize) {
                    #[allow(unused_unsafe)] // as above
                    // SAFETY: a hint, which faults on no address.
                    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(n).cast()) }
                }
                fn load_up_to(from: &[$t], pad: $t) -> $v {
                    // SAFETY: lanes beyond the slice's end are masked: they are not read, and fault on no address.
                    unsafe { $mask_load($set1(pad), first_lanes(from.len()) as $m, from.as_ptr()) }
                }
                fn store_up_to(v: $v, to: &mut [$t]) {
                    // SAFETY: lanes beyond the slice's end are masked: they are not written, and fault on no address.
                    unsafe { $mask_store(to.as_mut_ptr(), first_lanes(to.len()) as $m, v) }
                }
                fn stream(v: $v, to: &mut [$t; $lanes]) {
                    let to = to.as_mut_ptr();
                    // SAFETY: a reference to 64 bytes; streamed to where they start at a multiple of 64.
                    unsafe { if to.addr().is_multiple_of(64) { $stream(to, v) } else { $storeu(to, v) } }
                }
                fn fence() { _mm_sfence() }
                fn add(a: $v, b: $v) -> $v { $add(a, b) }
                fn sub(a: $v, b: $v) -> $v { $sub(a, b) }
                fn mul(a: $v, b: $v) -> $v { $mul(a, b) }
                fn div(a: $v, b: $v) -> $v { $div(a, b) }
                fn mul_add(a: $v, b: $v, c: $v) -> $v { $fmadd(a, b, c) }
                fn max(a: $v, b: $v) -> $v { $max(a, b) }
                fn min(a: $v, b: $v) -> $v { $min(a, b) }
                fn abs(a: $v) -> $v { $abs(a) }
                fn power_of_two(shifted: $v) -> $v { $from_int($sll::<$mantissa>($to_int(shifted))) }
                fn split(a: $v) -> ($v, $v) {
                    ($getmant::<_MM_MANT_NORM_1_2, _MM_MANT_SIGN_SRC>(a), $getexp(a))
                }
                fn sum_lanes(v: $v) -> $t { $sum_half($add_half($low(v), $high::<1>(v))) }
                fn max_lanes(v: $v) -> $t { $max_of_half($max_half($low(v), $high::<1>(v))) }
                // Inside the 128-bit quarters of the registers first, then quarters between registers.
                fn transpose(from: &[[$t; $lanes]], to: &mut [[$t; $lanes]]) {
                    const STEP: usize = $lanes / 4;
                    let mut rows = [$set1(0.0); $lanes];
                    for (row, from) in rows.iter_mut().zip(from) {
                        // SAFETY: as in `load`.
                        *row = unsafe { $loadu(from.as_ptr()) };
                    }
                    $quarters(&mut rows);
                    for j in 0..STEP {
                        let [a, b, c, d] = [rows[j], rows[STEP + j], rows[2 * STEP + j], rows[3 * STEP + j]];
                        let (even, odd) = ($shuffle::<0x88>(a, b), $shuffle::<0xdd>(a, b));
                        let (even_2, odd_2) = ($shuffle::<0x88>(c, d), $shuffle::<0xdd>(c, d));
                        rows[j] = $shuffle::<0x88>(even, even_2);
                        rows[STEP + j] = $shuffle::<0x88>(odd, odd_2);
                        rows[2 * STEP + j] = $shuffle::<0xdd>(even, even_2);
                        rows[3 * STEP + j] = $shuffle::<0xdd>(odd, odd_2);
                    }
                    for (row, to) in rows.into_iter().zip(to) {
                        // SAFETY: as in `store`.
                        unsafe { $storeu(to.as_mut_ptr(), row) }
                    }
                }
                fn gt(a: $v, b: $v) -> $m { $cmp::<_CMP_GT_OQ>(a, b) }
                fn ge(a: $v, b: $v) -> $m { $cmp::<_CMP_GE_OQ>(a, b) }
                fn eq(a: $v, b: $v) -> $m { $cmp::<_CMP_EQ_OQ>(a, b) }
                fn not_lt(a: $v, b: $v) -> $m { $cmp::<_CMP_NLT_UQ>(a, b) }
                fn and(a: $m, b: $m) -> $m { a & b }
                fn select(m: $m, a: $v, b: $v) -> $v { $blend(m, b, a) }
                fn bits(m: $m) -> u32 { m as u32 }
                // Straight to memory; or else into a register, merged with the source itself, because the zeroing form
                // waits on Zen 4 for the register's old value. From there the hits alone are stored: fewer stores cross
                // a cache line than if all lanes were. A store of no lane goes to room of our own, because one after
                // the other across the same line they are slow.
                fn compress(m: $m, v: $v, to: &mut [$t; $lanes]) -> usize {
                    let hits = u32::from(m).count_ones();
                    if s.compresses_to_memory {
                        // SAFETY: a reference to 64 bytes; unaligned stores take any address.
                        unsafe { $compress_store(to.as_mut_ptr(), m, v) }
                    } else {
                        let mut own = MaybeUninit::<[$t; $lanes]>::uninit();
                        let to = select_unpredictable(m == 0, own.as_mut_ptr().cast(), to.as_mut_ptr());
                        // SAFETY: a reference to 64 bytes, or our own 64; unaligned stores take any address.
                        unsafe { $mask_store(to, _bzhi_u32(!0, hits) as $m, $compress(v, m, v)) }
                    }
                    hits as usize
                }
                fn positions(first: u32) -> $p { $add_position($set1_position(first as i32), $positions) }
                fn next_positions(p: $p) -> $p { $add_position(p, $set1_position($lanes)) }
                fn compress_index(m: $m, p: $p, to: &mut [u32; $lanes]) -> usize {
                    let hits = u32::from(m).count_ones();
                    if s.compresses_to_memory {
                        // SAFETY: a reference to `$lanes` positions; unaligned stores take any address.
                        unsafe { $compress_store_position(to.as_mut_ptr().cast(), m, p) }
                    } else {
                        let mut own = MaybeUninit::<[u32; $lanes]>::uninit();
                        let to = select_unpredictable(m == 0, own.as_mut_ptr().cast(), to.as_mut_ptr());
                        // SAFETY: a reference to `$lanes` positions, or our own; unaligned stores take any address.
                        unsafe {
                            $store_position(to.cast(), _bzhi_u32(!0, hits) as $m, $compress_position(p, m, p));
                        }
                    }
                    hits as usize
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

/// Transposes the 4 x 4 squares in the 128-bit quarters of each 4 rows.
#[inline]
#[target_feature(enable = "avx512f")]
fn quarters_ps(rows: &mut [__m512; 16]) {
    let (groups, _) = rows.as_chunks_mut();
    for [a, b, c, d] in groups {
        let pairs = |low, high| (_mm512_castps_pd(low), _mm512_castps_pd(high));
        let (t, v) = pairs(_mm512_unpacklo_ps(*a, *b), _mm512_unpacklo_ps(*c, *d));
        let (u, w) = pairs(_mm512_unpackhi_ps(*a, *b), _mm512_unpackhi_ps(*c, *d));
        *a = _mm512_castpd_ps(_mm512_unpacklo_pd(t, v));
        *b = _mm512_castpd_ps(_mm512_unpackhi_pd(t, v));
        *c = _mm512_castpd_ps(_mm512_unpacklo_pd(u, w));
        *d = _mm512_castpd_ps(_mm512_unpackhi_pd(u, w));
    }
}

/// Transposes the 2 x 2 squares in the 128-bit quarters of each 2 rows.
#[inline]
#[target_feature(enable = "avx512f")]
fn quarters_pd(rows: &mut [__m512d; 8]) {
    let (groups, _) = rows.as_chunks_mut();
    for [a, b] in groups {
        (*a, *b) = (_mm512_unpacklo_pd(*a, *b), _mm512_unpackhi_pd(*a, *b));
    }
}

level! {
    f32 x 16, mantissa 23, __m512, __mmask16, __m512i;
    _mm512_set1_ps _mm512_loadu_ps _mm512_storeu_ps _mm512_add_ps _mm512_sub_ps _mm512_mul_ps
    _mm512_div_ps _mm512_fmadd_ps _mm512_max_ps _mm512_min_ps _mm512_abs_ps _mm512_castps_si512 _mm512_slli_epi32 _mm512_castsi512_ps
    _mm512_getmant_ps _mm512_getexp_ps _mm512_cmp_ps_mask _mm512_mask_blend_ps _mm512_mask_compress_ps
    _mm512_mask_compressstoreu_ps _mm512_mask_loadu_ps _mm512_mask_storeu_ps _mm512_stream_ps quarters_ps _mm512_shuffle_f32x4
    _mm512_castps512_ps256 _mm512_extractf32x8_ps _mm256_add_ps _mm256_max_ps sum_of_8 max_of_8;
    _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_epi32, _mm512_add_epi32,
    _mm512_mask_compress_epi32, _mm512_mask_compressstoreu_epi32, _mm512_mask_storeu_epi32
}

level! {
    f64 x 8, mantissa 52, __m512d, __mmask8, __m256i;
    _mm512_set1_pd _mm512_loadu_pd _mm512_storeu_pd _mm512_add_pd _mm512_sub_pd _mm512_mul_pd
    _mm512_div_pd _mm512_fmadd_pd _mm512_max_pd _mm512_min_pd _mm512_abs_pd _mm512_castpd_si512 _mm512_slli_epi64 _mm512_castsi512_pd
    _mm512_getmant_pd _mm512_getexp_pd _mm512_cmp_pd_mask _mm512_mask_blend_pd _mm512_mask_compress_pd
    _mm512_mask_compressstoreu_pd _mm512_mask_loadu_pd _mm512_mask_storeu_pd _mm512_stream_pd quarters_pd _mm512_shuffle_f64x2
    _mm512_castpd512_pd256 _mm512_extractf64x4_pd _mm256_add_pd _mm256_max_pd sum_of_4 max_of_4;
    _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32, _mm256_add_epi32, _mm256_mask_compress_epi32,
    _mm256_mask_compressstoreu_epi32, _mm256_mask_storeu_epi32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every mask, both ways: the hits at the front, the number of them, and what follows as it was.
    #[test]
    fn both_ways_to_compress_write_the_hits_alone() {
        if Avx512::detect().is_none() {
            return;
        }
        macro_rules! check {
            ($s:expr, $t:ident x $lanes:literal, $m:ident) => {
                let compress: &dyn Fn($m, &mut [$t; $lanes], &mut [u32; $lanes]) -> [usize; 2] =
                    &|m, values, indices| {
                        let v = Simd::<$t>::load($s, &std::array::from_fn(|i| i as $t));
                        let p = Simd::<$t>::positions($s, 7);
                        [
                            Simd::<$t>::compress($s, m, v, values),
                            Simd::<$t>::compress_index($s, m, p, indices),
                        ]
                    };
                for m in 0..=$m::MAX {
                    let (mut values, mut indices) = ([-1.0; $lanes], [u32::MAX; $lanes]);
                    let hits: Vec<u32> = (0..$lanes).filter(|i| m >> i & 1 == 1).collect();
                    assert_eq!(compress(m, &mut values, &mut indices), [hits.len(); 2], "{m:b}");
                    for i in 0..$lanes {
                        assert_eq!(values[i], hits.get(i).map_or(-1.0, |&hit| hit as $t), "{m:b}");
                        assert_eq!(indices[i], hits.get(i).map_or(u32::MAX, |&hit| hit + 7), "{m:b}");
                    }
                }
            };
        }
        for s in [true, false].map(|compresses_to_memory| Avx512 { compresses_to_memory }) {
            check!(s, f32 x 16, u16);
            check!(s, f64 x 8, u8);
        }
    }
}
