//! Selection by tables: eight bits of a word at a time. What is done with words of many hits is a function of its own
//! (`dense`): a copy in each loop that calls it would be longer and no quicker.

use super::Portable;
use crate::simd::select::{Bits, Compress, SET_BITS, WORD, pack_8};

/// For each byte, the number of its set bits: without POPCNT a table is the shortest way.
static COUNTS: [u8; 256] = {
    let mut counts = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        counts[byte] = (byte as u8).count_ones() as u8;
        byte += 1;
    }
    counts
};

/// Calls `f` for each byte of the word with the byte's first bit's number, the numbers of its set bits, and
/// the next 8 places of `to`.
#[inline(always)]
fn by_bytes<E>(bits: u64, to: &mut [E; WORD], mut f: impl FnMut(usize, &[u8; 8], &mut [E; 8])) {
    let mut k = 0;
    for (i, byte) in bits.to_le_bytes().into_iter().enumerate() {
        // At most 8 places are filled by each earlier byte.
        if let Some(to) = to[k..].first_chunk_mut() {
            f(8 * i, &SET_BITS[byte as usize], to);
        }
        k += COUNTS[byte as usize] as usize;
    }
}

/// Whether it pays to take the set bits one by one.
#[inline(always)]
fn is_sparse(bits: u64) -> bool {
    let [a, b, c, d, e, f, g, h] = bits.to_le_bytes().map(|byte| COUNTS[byte as usize]);
    (a + b) + (c + d) + ((e + f) + (g + h)) <= 8
}

/// Calls `f` for each set bit with how many come before it and its number.
#[inline(always)]
fn by_bits(mut bits: u64, mut f: impl FnMut(usize, usize)) {
    let mut k = 0;
    while bits != 0 {
        f(k, bits.trailing_zeros() as usize);
        k += 1;
        bits &= bits - 1;
    }
}

impl Bits for Portable {
    #[inline(always)]
    fn positions_32(self, bits: u64, first: u32, to: &mut [u32; WORD]) {
        if is_sparse(bits) {
            return by_bits(bits, |k, i| to[k % WORD] = first.wrapping_add(i as u32));
        }
        #[inline(never)]
        fn dense(bits: u64, first: u32, to: &mut [u32; WORD]) {
            by_bytes(bits, to, |i, set, to| {
                for (to, &bit) in to.iter_mut().zip(set) {
                    *to = first.wrapping_add(i as u32).wrapping_add(bit.into());
                }
            });
        }
        dense(bits, first, to);
    }
    #[inline(always)]
    fn positions_64(self, bits: u64, first: u64, to: &mut [u64; WORD]) {
        if is_sparse(bits) {
            return by_bits(bits, |k, i| to[k % WORD] = first + i as u64);
        }
        #[inline(never)]
        fn dense(bits: u64, first: u64, to: &mut [u64; WORD]) {
            by_bytes(bits, to, |i, set, to| {
                for (to, &bit) in to.iter_mut().zip(set) {
                    *to = first + i as u64 + u64::from(bit);
                }
            });
        }
        dense(bits, first, to);
    }
    #[inline(always)]
    fn pack(self, from: &[bool; WORD]) -> u64 {
        let mut bytes = [0; 8];
        for (byte, from) in bytes.iter_mut().zip(from.as_chunks::<8>().0) {
            *byte = pack_8(from);
        }
        u64::from_le_bytes(bytes)
    }
}

macro_rules! compress {
    ($($t:ident)*) => {$(
        impl Compress<$t> for Portable {
            #[inline(always)]
            fn compress(self, bits: u64, from: &[$t], to: &mut [$t; WORD]) {
                if is_sparse(bits) {
                    return by_bits(bits, |k, i| to[k % WORD] = from.get(i).copied().unwrap_or_default());
                }
                #[inline(never)]
                fn dense(bits: u64, from: &[$t], to: &mut [$t; WORD]) {
                    let mut k = 0;
                    for (from, byte) in from.as_chunks::<8>().0.iter().zip(bits.to_le_bytes()) {
                        for (i, &x) in from.iter().enumerate() {
                            to[k % WORD] = x; // at most one place was filled for each earlier element
                            k += usize::from(byte >> i & 1);
                        }
                    }
                }
                dense(bits, from, to);
            }
        }
    )*};
}
compress!(f32 f64);
