//! What selection needs of a level: truth values as the bits of a word, and elements and positions moved by
//! such words.
//!
//! A word holds the truth values of 64 consecutive elements, bit i that of element i. Comparing makes words;
//! everything after that is done by words, whatever the comparison was.

use super::Float;

/// The elements of a word.
pub(crate) const WORD: usize = 64;

/// How many places after the hits of four vectors may be written with them: a vector's.
pub(crate) const SLACK: usize = 16;

/// Positions and truth values: nothing here depends on an element type.
pub(crate) trait Bits: Copy {
    /// Writes `first + i` for each set bit i to the front of `to`, ascending. What follows in `to` is unspecified.
    fn positions_32(self, bits: u64, first: u32, to: &mut [u32; WORD]);
    /// [`Bits::positions_32`] of 64-bit positions.
    fn positions_64(self, bits: u64, first: u64, to: &mut [u64; WORD]);
    /// Bit i is element i.
    fn pack(self, from: &[bool; WORD]) -> u64;
}

/// Elements moved by words.
pub(crate) trait Compress<T: Float>: Bits {
    /// Writes those of 64 elements, or as many as four vectors have, whose bits are set to the front of `to`, in
    /// order. What follows in `to` is unspecified.
    fn compress(self, bits: u64, from: &[T], to: &mut [T; WORD]);
}

/// The first `n` bits set, or all.
#[inline(always)]
pub(crate) fn first_bits(n: usize) -> u64 {
    if n < WORD { (1 << n) - 1 } else { !0 }
}

/// Packs at most 64 truth values: bit i is element i.
#[inline]
pub(crate) fn pack_few(from: &[bool]) -> u64 {
    let Some(last) = from.last_chunk() else {
        return from.iter().rev().fold(0, |bits, &bit| bits << 1 | u64::from(bit));
    };
    let bits = u64::from(pack_8(last)) << (from.len() - 8); // some of them twice
    from.as_chunks()
        .0
        .iter()
        .zip(0..)
        .fold(bits, |bits, (eight, i)| bits | u64::from(pack_8(eight)) << (8 * i))
}

/// Packs eight truth values.
#[inline(always)]
pub(crate) fn pack_8(from: &[bool; 8]) -> u8 {
    // The product moves the lowest bit of byte i to bit 56 + i.
    let bits = u64::from_le_bytes(from.map(u8::from));
    (bits.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8
}

/// For each byte, the numbers of its set bits, ascending, at the front.
pub(crate) static SET_BITS: [[u8; 8]; 256] = {
    let mut table = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut bit, mut k) = (0, 0);
        while bit < 8 {
            if byte >> bit & 1 == 1 {
                table[byte][k] = bit as u8;
                k += 1;
            }
            bit += 1;
        }
        byte += 1;
    }
    table
};

/// Positions of type `i64` as the unsigned ones with the same bits.
#[inline]
pub(crate) fn unsigned(positions: &mut [i64]) -> &mut [u64] {
    bytemuck::must_cast_slice_mut(positions)
}

/// The fixed-width integer with the width of `usize`.
#[cfg(target_pointer_width = "64")]
pub(crate) type Native = u64;
/// The fixed-width integer with the width of `usize`.
#[cfg(not(target_pointer_width = "64"))]
pub(crate) type Native = u32;

/// Positions of type `usize` as the integers of a fixed width with the same bits.
#[inline]
pub(crate) fn native(positions: &mut [usize]) -> &mut [Native] {
    bytemuck::must_cast_slice_mut(positions)
}
