//! Selection with 256-bit registers: a table gives the order for 8 (f64: 4) elements at a time.

use super::Avx2;
use crate::simd::select::{Bits, Compress, WORD};
use std::arch::x86_64::*;

/// For each mask of 8 lanes, the numbers of the set ones, in order, at the front.
static FRONT: [[u32; 8]; 256] = {
    let mut table = [[0; 8]; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut lane, mut k) = (0, 0);
        while lane < 8 {
            if mask >> lane & 1 == 1 {
                table[mask][k] = lane as u32;
                k += 1;
            }
            lane += 1;
        }
        mask += 1;
    }
    table
};

/// For each mask of 4 lanes of 8 bytes, the numbers of their 4-byte halves, in order, at the front.
static FRONT_PAIRS: [[u32; 8]; 16] = {
    let mut table = [[0; 8]; 16];
    let mut mask = 0;
    while mask < 16 {
        let mut lane = 0;
        while lane < 4 {
            table[mask][2 * lane] = 2 * FRONT[mask][lane];
            table[mask][2 * lane + 1] = 2 * FRONT[mask][lane] + 1;
            lane += 1;
        }
        mask += 1;
    }
    table
};

/// Words with up to so many set bits are taken bit by bit.
const SPARSE: u32 = 4;

/// The numbers of the first four set bits; 64 and more where there are none.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn first_four(bits: u64) -> [u64; 4] {
    let b = bits & bits.wrapping_sub(1);
    let c = b & b.wrapping_sub(1);
    let d = c & c.wrapping_sub(1);
    [bits, b, c, d].map(|bits| bits.trailing_zeros().into())
}

#[inline]
#[target_feature(enable = "avx2")]
fn row(table: &[u32; 8]) -> __m256i {
    // SAFETY: a reference to 32 bytes; unaligned loads take any address.
    unsafe { _mm256_loadu_si256(table.as_ptr().cast()) }
}

/// `Bits::positions_32`; AVX-512 without VBMI2 has no better way.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(in crate::simd) fn positions_32(bits: u64, first: u32, to: &mut [u32; WORD]) {
    if bits.count_ones() <= SPARSE {
        for (to, bit) in to.iter_mut().zip(first_four(bits)) {
            *to = first.wrapping_add(bit as u32);
        }
        return;
    }
    let (mut k, mut base) = (0, _mm256_set1_epi32(first as i32));
    for byte in bits.to_le_bytes() {
        // SAFETY: `k` is at most 8 for each earlier byte, so the store of 8 stays inside the 64.
        unsafe {
            let positions = _mm256_add_epi32(row(&FRONT[byte as usize]), base);
            _mm256_storeu_si256(to.as_mut_ptr().add(k).cast(), positions);
        }
        k += byte.count_ones() as usize;
        base = _mm256_add_epi32(base, _mm256_set1_epi32(8));
    }
}

/// `Bits::positions_64`, likewise.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
pub(in crate::simd) fn positions_64(bits: u64, first: u64, to: &mut [u64; WORD]) {
    if bits.count_ones() <= SPARSE {
        for (to, bit) in to.iter_mut().zip(first_four(bits)) {
            *to = first.wrapping_add(bit);
        }
        return;
    }
    let (mut k, mut base) = (0, _mm256_set1_epi64x(first as i64));
    for byte in bits.to_le_bytes() {
        let lanes = row(&FRONT[byte as usize]);
        let low = _mm256_add_epi64(_mm256_cvtepu32_epi64(_mm256_castsi256_si128(lanes)), base);
        let high = _mm256_add_epi64(_mm256_cvtepu32_epi64(_mm256_extracti128_si256::<1>(lanes)), base);
        // SAFETY: `k` is at most 8 for each earlier byte, so both stores of 4 stay inside the 64.
        unsafe {
            _mm256_storeu_si256(to.as_mut_ptr().add(k).cast(), low);
            _mm256_storeu_si256(to.as_mut_ptr().add(k + 4).cast(), high);
        }
        k += byte.count_ones() as usize;
        base = _mm256_add_epi64(base, _mm256_set1_epi64x(8));
    }
}

impl Bits for Avx2 {
    ops! {
        fn positions_32(bits: u64, first: u32, to: &mut [u32; WORD]) { positions_32(bits, first, to) }
        fn positions_64(bits: u64, first: u64, to: &mut [u64; WORD]) { positions_64(bits, first, to) }
        fn pack(from: &[bool; WORD]) -> u64 {
            let half = |at: usize| {
                // SAFETY: half of the 64 bytes.
                let bytes = unsafe { _mm256_loadu_si256(from[at..at + 32].as_ptr().cast()) };
                // The lowest bit of each byte becomes its highest.
                u64::from(_mm256_movemask_epi8(_mm256_slli_epi16::<7>(bytes)) as u32)
            };
            half(0) | half(32) << 32
        }
    }
}

impl Compress<f32> for Avx2 {
    ops! {
        fn compress(bits: u64, from: &[f32], to: &mut [f32; WORD]) {
            if bits.count_ones() <= SPARSE {
                // Of a bit that is not there the last element: no branch on how many there are.
                if let Some(last) = from.len().checked_sub(1) {
                    for (to, bit) in to.iter_mut().zip(first_four(bits)) {
                        *to = from[last.min(bit as usize)];
                    }
                }
                return;
            }
            let mut k = 0;
            for (from, byte) in from.as_chunks::<8>().0.iter().zip(bits.to_le_bytes()) {
                // SAFETY: 8 elements; `k` is at most 8 for each earlier byte, so the store of 8 stays inside the 64.
                unsafe {
                    let v = _mm256_permutevar8x32_ps(_mm256_loadu_ps(from.as_ptr()), row(&FRONT[byte as usize]));
                    _mm256_storeu_ps(to.as_mut_ptr().add(k), v);
                }
                k += byte.count_ones() as usize;
            }
        }
    }
}

impl Compress<f64> for Avx2 {
    ops! {
        fn compress(bits: u64, from: &[f64], to: &mut [f64; WORD]) {
            if bits.count_ones() <= SPARSE {
                // Of a bit that is not there the last element: no branch on how many there are.
                if let Some(last) = from.len().checked_sub(1) {
                    for (to, bit) in to.iter_mut().zip(first_four(bits)) {
                        *to = from[last.min(bit as usize)];
                    }
                }
                return;
            }
            let mut k = 0;
            for (i, from) in from.as_chunks::<4>().0.iter().enumerate() {
                let part = (bits >> (4 * i)) as usize & 15;
                // SAFETY: 4 elements; `k` is at most 4 for each earlier part, so the store of 4 stays inside the 64.
                unsafe {
                    let v = _mm256_castpd_ps(_mm256_loadu_pd(from.as_ptr()));
                    let v = _mm256_permutevar8x32_ps(v, row(&FRONT_PAIRS[part]));
                    _mm256_storeu_ps(to.as_mut_ptr().add(k).cast(), v);
                }
                k += part.count_ones() as usize;
            }
        }
    }
}

/// `Simd::bits_of_4` of f32: comparisons narrowed to bytes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn join_16(m: [(__m256, __m256); 4]) -> u64 {
    let two = |a: (__m256, __m256), b: (__m256, __m256)| {
        let narrow =
            |v: (__m256, __m256)| _mm256_packs_epi32(_mm256_castps_si256(v.0), _mm256_castps_si256(v.1));
        let bytes = _mm256_packs_epi16(narrow(a), narrow(b));
        // The packs have worked on each half of a register by itself.
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        u64::from(_mm256_movemask_epi8(_mm256_permutevar8x32_epi32(bytes, order)) as u32)
    };
    two(m[0], m[1]) | two(m[2], m[3]) << 32
}

/// `Simd::bits_of_4` of f64.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn join_8(m: [(__m256d, __m256d); 4]) -> u64 {
    let [a, b, c, d] =
        m.map(|m| (_mm256_movemask_pd(m.0) as u32 | (_mm256_movemask_pd(m.1) as u32) << 4) as u64);
    a | b << 8 | c << 16 | d << 24
}
