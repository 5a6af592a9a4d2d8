//! Selection with 512-bit registers: VBMI2 compresses the numbers of a word's 64 bits, as bytes, at once.

use super::Avx512;
use crate::simd::avx2::select as avx2;
use crate::simd::select::{Bits, Compress, WORD};
use std::arch::asm;
use std::arch::x86_64::*;

/// For each of 64 bytes, its number.
const BYTES: [u8; 64] = {
    let mut bytes = [0; 64];
    let mut i = 0;
    while i < 64 {
        bytes[i] = i as u8;
        i += 1;
    }
    bytes
};

/// The numbers of the set bits, in order; none where the CPU lacks the instruction. That stands here by
/// itself, because a function compiled for it is not inlined into one that is not.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn set_bits(s: Avx512, bits: u64) -> Option<__m512i> {
    if !s.compresses_bytes {
        return None;
    }
    // SAFETY: a reference to 64 bytes.
    let mut bytes = unsafe { _mm512_loadu_si512(BYTES.as_ptr().cast()) };
    // SAFETY: an instruction between registers, of AVX-512 VBMI2, which the token has seen.
    unsafe {
        asm!(
            "vpcompressb {bytes}{{{bits}}}, {bytes}",
            bytes = inout(zmm_reg) bytes,
            bits = in(kreg) bits,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    Some(bytes)
}

/// The way without VBMI2: functions of their own, so that the operations are short enough to be inlined.
#[inline(never)]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn positions_32_by_table(bits: u64, first: u32, to: &mut [u32; WORD]) {
    avx2::positions_32(bits, first, to);
}

#[inline(never)]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn positions_64_by_table(bits: u64, first: u64, to: &mut [u64; WORD]) {
    avx2::positions_64(bits, first, to);
}

impl Bits for Avx512 {
    ops! { s;
        fn positions_32(bits: u64, first: u32, to: &mut [u32; WORD]) {
            let Some(bytes) = set_bits(s, bits) else { return positions_32_by_table(bits, first, to) };
            let base = _mm512_set1_epi32(first as i32);
            let to = to.as_mut_ptr();
            let widen = |bytes| _mm512_add_epi32(_mm512_cvtepu8_epi32(bytes), base);
            let few = widen(_mm512_castsi512_si128(bytes));
            // SAFETY: the first 16 of the 64 positions, by halves: stores of 64 bytes that overlap take longer.
            unsafe {
                _mm256_storeu_si256(to.cast(), _mm512_castsi512_si256(few));
                _mm256_storeu_si256(to.add(8).cast(), _mm512_extracti64x4_epi64::<1>(few));
            }
            if bits.count_ones() > 16 {
                // SAFETY: the other 48 positions.
                unsafe {
                    _mm512_storeu_si512(to.add(16).cast(), widen(_mm512_extracti32x4_epi32::<1>(bytes)));
                    _mm512_storeu_si512(to.add(32).cast(), widen(_mm512_extracti32x4_epi32::<2>(bytes)));
                    _mm512_storeu_si512(to.add(48).cast(), widen(_mm512_extracti32x4_epi32::<3>(bytes)));
                }
            }
        }
        fn positions_64(bits: u64, first: u64, to: &mut [u64; WORD]) {
            let Some(bytes) = set_bits(s, bits) else { return positions_64_by_table(bits, first, to) };
            let base = _mm512_set1_epi64(first as i64);
            let to = to.as_mut_ptr();
            let store = |at: usize, bytes| {
                let low = _mm512_add_epi64(_mm512_cvtepu8_epi64(bytes), base);
                let high = _mm512_add_epi64(_mm512_cvtepu8_epi64(_mm_unpackhi_epi64(bytes, bytes)), base);
                // SAFETY: `at` is 0, 16, 32 or 48: a quarter of the 64 positions, by halves.
                unsafe {
                    _mm512_storeu_si512(to.add(at).cast(), low);
                    _mm512_storeu_si512(to.add(at + 8).cast(), high);
                }
            };
            store(0, _mm512_castsi512_si128(bytes));
            if bits.count_ones() > 16 {
                store(16, _mm512_extracti32x4_epi32::<1>(bytes));
                store(32, _mm512_extracti32x4_epi32::<2>(bytes));
                store(48, _mm512_extracti32x4_epi32::<3>(bytes));
            }
        }
        fn pack(from: &[bool; WORD]) -> u64 {
            // SAFETY: a reference to 64 bytes.
            let bytes = unsafe { _mm512_loadu_si512(from.as_ptr().cast()) };
            _mm512_test_epi8_mask(bytes, bytes)
        }
    }
}

impl Compress<f32> for Avx512 {
    ops! { s;
        fn compress(bits: u64, from: &[f32], to: &mut [f32; WORD]) {
            // SAFETY: a quarter of the 64 elements.
            let load = |i: usize| unsafe { _mm512_loadu_ps(from[16 * i..][..16].as_ptr()) };
            let v = [load(0), load(1), load(2), load(3)];
            if bits.count_ones() <= 16 && let Some(bytes) = set_bits(s, bits) {
                let order = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(bytes));
                let low = _mm512_permutex2var_ps(v[0], order, v[1]);
                let high = _mm512_permutex2var_ps(v[2], order, v[3]);
                let is_high = _mm512_test_epi32_mask(order, _mm512_set1_epi32(32));
                // SAFETY: the first quarter of the 64 elements.
                unsafe { _mm512_storeu_ps(to.as_mut_ptr(), _mm512_mask_blend_ps(is_high, low, high)) };
                return;
            }
            let mut k = 0;
            for (i, v) in v.into_iter().enumerate() {
                let m = (bits >> (16 * i)) as __mmask16;
                // SAFETY: `k` is at most 16 for each earlier vector, so the store of 16 stays inside the 64.
                // Merged with the source itself, because the zeroing form waits on Zen 4 for the register's
                // old value.
                unsafe { _mm512_storeu_ps(to.as_mut_ptr().add(k), _mm512_mask_compress_ps(v, m, v)) };
                k += m.count_ones() as usize;
            }
        }
    }
}

impl Compress<f64> for Avx512 {
    ops! { s;
        fn compress(bits: u64, from: &[f64], to: &mut [f64; WORD]) {
            let mut k = 0;
            for (half, from) in from.as_chunks::<32>().0.iter().enumerate() {
                let bits = bits >> (32 * half) & u64::from(u32::MAX);
                // SAFETY: a quarter of the 32 elements.
                let load = |i: usize| unsafe { _mm512_loadu_pd(from[8 * i..][..8].as_ptr()) };
                let v = [load(0), load(1), load(2), load(3)];
                if bits.count_ones() <= 8 && let Some(bytes) = set_bits(s, bits) {
                    let order = _mm512_cvtepu8_epi64(_mm512_castsi512_si128(bytes));
                    let low = _mm512_permutex2var_pd(v[0], order, v[1]);
                    let high = _mm512_permutex2var_pd(v[2], order, v[3]);
                    let is_high = _mm512_test_epi64_mask(order, _mm512_set1_epi64(16));
                    // SAFETY: `k` is at most 32 in the second half, so the store of 8 stays inside the 64.
                    unsafe {
                        _mm512_storeu_pd(to.as_mut_ptr().add(k), _mm512_mask_blend_pd(is_high, low, high));
                    }
                    k += bits.count_ones() as usize;
                    continue;
                }
                for (i, v) in v.into_iter().enumerate() {
                    let m = (bits >> (8 * i)) as __mmask8;
                    // SAFETY: `k` is at most 8 for each earlier vector, so the store of 8 stays inside the 64.
                    unsafe { _mm512_storeu_pd(to.as_mut_ptr().add(k), _mm512_mask_compress_pd(v, m, v)) };
                    k += m.count_ones() as usize;
                }
            }
        }
    }
}

/// Masks one after the other.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn join_16(m: [__mmask16; 4]) -> u64 {
    let [a, b, c, d] = m;
    let bits: u64;
    // SAFETY: instructions between registers, of AVX-512 F and BW.
    unsafe {
        asm!(
            "kunpckwd {bits}, {b}, {a}",
            "kunpckwd {high}, {d}, {c}",
            "kunpckdq {bits}, {high}, {bits}",
            a = in(kreg) a, b = in(kreg) b, c = in(kreg) c, d = in(kreg) d,
            bits = out(kreg) bits, high = out(kreg) _,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    bits
}

/// Masks one after the other.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq")]
pub(super) fn join_8(m: [__mmask8; 4]) -> u64 {
    let [a, b, c, d] = m.map(u16::from);
    _mm512_kunpackw(_mm512_kunpackb(d, c).into(), _mm512_kunpackb(b, a).into()).into()
}

/// The lanes of a vector of 4-byte positions.
#[inline]
#[target_feature(enable = "avx512f")]
fn lanes_32() -> __m512i {
    _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
}

/// How many lanes come before each of four masks.
#[inline]
#[target_feature(enable = "popcnt")]
fn before(m: [u32; 4]) -> [usize; 4] {
    let n = |i: usize| m[i].count_ones() as usize;
    [0, n(0), n(0) + n(1), n(0) + n(1) + n(2)]
}

macro_rules! compress_4 {
    ($name:ident $t:ident x $lanes:literal $v:ident $m:ident $high:literal; $storeu:ident $compress:ident $widen:ident
     $pick:ident $test:ident $set1:ident $blend:ident) => {
        /// `Simd::compress_4`: few elements are picked by their numbers, with one store.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
        pub(super) fn $name(s: Avx512, bits: u64, m: [$m; 4], v: [$v; 4], to: &mut [$t; WORD]) {
            let to = to.as_mut_ptr();
            if bits.count_ones() <= $lanes
                && let Some(bytes) = set_bits(s, bits)
            {
                let order = $widen(_mm512_castsi512_si128(bytes));
                let (low, high) = ($pick(v[0], order, v[1]), $pick(v[2], order, v[3]));
                let picked = $blend($test(order, $set1($high)), low, high);
                // SAFETY: the first vector's places of the 64.
                unsafe { $storeu(to, picked) };
                return;
            }
            for ((m, v), k) in m.into_iter().zip(v).zip(before(m.map(u32::from))) {
                // SAFETY: `k` is at most a vector's lanes for each earlier vector, so the store stays inside the 64.
                // Merged with the source itself, because the zeroing form waits on Zen 4 for the register's old value.
                unsafe { $storeu(to.add(k), $compress(v, m, v)) };
            }
        }
    };
}
compress_4! {
    compress_4_ps f32 x 16 __m512 __mmask16 32; _mm512_storeu_ps _mm512_mask_compress_ps _mm512_cvtepu8_epi32
    _mm512_permutex2var_ps _mm512_test_epi32_mask _mm512_set1_epi32 _mm512_mask_blend_ps
}
compress_4! {
    compress_4_pd f64 x 8 __m512d __mmask8 16; _mm512_storeu_pd _mm512_mask_compress_pd _mm512_cvtepu8_epi64
    _mm512_permutex2var_pd _mm512_test_epi64_mask _mm512_set1_epi64 _mm512_mask_blend_pd
}

/// `Simd::positions_32_of_4` of 16 lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
pub(super) fn positions_32_of_16(s: Avx512, bits: u64, m: [__mmask16; 4], first: u32, to: &mut [u32; WORD]) {
    let (base, to) = (_mm512_set1_epi32(first as i32), to.as_mut_ptr());
    if bits.count_ones() <= 16
        && let Some(bytes) = set_bits(s, bits)
    {
        let few = _mm512_add_epi32(_mm512_cvtepu8_epi32(_mm512_castsi512_si128(bytes)), base);
        // SAFETY: the first 16 of the 64 positions.
        unsafe { _mm512_storeu_si512(to.cast(), few) };
        return;
    }
    let mut at = _mm512_add_epi32(base, lanes_32());
    for (m, k) in m.into_iter().zip(before(m.map(u32::from))) {
        // SAFETY: `k` is at most 16 for each earlier vector, so the store of 16 stays inside the 64.
        unsafe { _mm512_storeu_si512(to.add(k).cast(), _mm512_mask_compress_epi32(at, m, at)) };
        at = _mm512_add_epi32(at, _mm512_set1_epi32(16));
    }
}

/// `Simd::positions_32_of_4` of 8 lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
pub(super) fn positions_32_of_8(s: Avx512, bits: u64, m: [__mmask8; 4], first: u32, to: &mut [u32; WORD]) {
    let [a, b, c, d] = m.map(u16::from);
    let m = [_mm512_kunpackb(b, a), _mm512_kunpackb(d, c), 0, 0];
    let (base, to) = (_mm512_set1_epi32(first as i32), to.as_mut_ptr());
    if bits.count_ones() <= 16
        && let Some(bytes) = set_bits(s, bits)
    {
        let few = _mm512_add_epi32(_mm512_cvtepu8_epi32(_mm512_castsi512_si128(bytes)), base);
        // SAFETY: the first 16 of the 64 positions.
        unsafe { _mm512_storeu_si512(to.cast(), few) };
        return;
    }
    let mut at = _mm512_add_epi32(base, lanes_32());
    for (m, k) in m.into_iter().zip(before(m.map(u32::from))).take(2) {
        // SAFETY: `k` is at most 16 for the earlier vector, so the store of 16 stays inside the 64.
        unsafe { _mm512_storeu_si512(to.add(k).cast(), _mm512_mask_compress_epi32(at, m, at)) };
        at = _mm512_add_epi32(at, _mm512_set1_epi32(16));
    }
}

/// The first 8 of up to 16 bytes, and then the others, as positions.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn widened(bytes: __m128i, base: __m512i) -> [__m512i; 2] {
    [bytes, _mm_unpackhi_epi64(bytes, bytes)].map(|bytes| _mm512_add_epi64(_mm512_cvtepu8_epi64(bytes), base))
}

/// `Simd::positions_64_of_4` of 16 lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
pub(super) fn positions_64_of_16(s: Avx512, bits: u64, m: [__mmask16; 4], first: u64, to: &mut [u64; WORD]) {
    let (base, to) = (_mm512_set1_epi64(first as i64), to.as_mut_ptr());
    let store = |k: usize, [low, high]: [__m512i; 2]| {
        // SAFETY: `k` is at most 16 for each earlier vector, so the stores of 8 and 8 stay inside the 64.
        unsafe {
            _mm512_storeu_si512(to.add(k).cast(), low);
            _mm512_storeu_si512(to.add(k + 8).cast(), high);
        }
    };
    if bits.count_ones() <= 16
        && let Some(bytes) = set_bits(s, bits)
    {
        return store(0, widened(_mm512_castsi512_si128(bytes), base));
    }
    let mut at = lanes_32();
    for (m, k) in m.into_iter().zip(before(m.map(u32::from))) {
        let lanes = _mm512_mask_compress_epi32(at, m, at);
        let halves = [_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64::<1>(lanes)];
        store(k, halves.map(|half| _mm512_add_epi64(_mm512_cvtepu32_epi64(half), base)));
        at = _mm512_add_epi32(at, _mm512_set1_epi32(16));
    }
}

/// `Simd::positions_64_of_4` of 8 lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
pub(super) fn positions_64_of_8(s: Avx512, bits: u64, m: [__mmask8; 4], first: u64, to: &mut [u64; WORD]) {
    let (base, to) = (_mm512_set1_epi64(first as i64), to.as_mut_ptr());
    if bits.count_ones() <= 8
        && let Some(bytes) = set_bits(s, bits)
    {
        let [few, _] = widened(_mm512_castsi512_si128(bytes), base);
        // SAFETY: the first 8 of the 64 positions.
        unsafe { _mm512_storeu_si512(to.cast(), few) };
        return;
    }
    let mut at = _mm512_add_epi64(base, _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
    for (m, k) in m.into_iter().zip(before(m.map(u32::from))) {
        // SAFETY: `k` is at most 8 for each earlier vector, so the store of 8 stays inside the 64.
        unsafe { _mm512_storeu_si512(to.add(k).cast(), _mm512_mask_compress_epi64(at, m, at)) };
        at = _mm512_add_epi64(at, _mm512_set1_epi64(8));
    }
}
