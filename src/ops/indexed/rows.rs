//! Rows: one index names a run of neighbours. What gathers, puts and scatter-adds of rows share: a block of
//! offsets at a time, and for each the two rows that belong together.

use super::plan::{FEW, Job, goes_along_planes};
use crate::array::{K, P, Rows, RowsMut, Word};
use crate::index::checked::{BLOCK, block_for};
use crate::simd;

/// Bytes of a table from which on rows are prefetched: no second-level cache holds it.
const PREFETCH_FROM: usize = 3 << 20;

/// The same for rows of at most 32 bytes.
const PREFETCH_SHORT_FROM: usize = 16 << 20;

/// Rows longer than this many bytes are not prefetched: the CPU foresees their lines, but for the first few.
const LONGEST_PREFETCHED: usize = 2 << 10;

/// Planes that are gone through together for each index: their rows stay in the first-level cache.
const PLANES: usize = 32;

/// How many rows of so many bytes ahead a table of such a reach is prefetched. Not at all on Intel's CPUs,
/// which go ahead of themselves over rows: prefetches made those of 2 KiB a third slower
/// (results/tried/gather.md).
pub(super) fn rows_ahead(row: usize, reach: usize) -> usize {
    let from = if row <= 32 { PREFETCH_SHORT_FROM } else { PREFETCH_FROM };
    if reach < from || row > LONGEST_PREFETCHED || simd::is_intel() { 0 } else { (8192 / row).clamp(2, 16) }
}

/// Where the rows of a block are: those of one plane of both arrays, or, along the planes, those of one index, which
/// have one number in the table and another in the flow.
pub(super) struct At {
    pub(super) axis: usize,
    pub(super) table: usize,
    pub(super) flow: usize,
}

/// Offsets as they stand in a block, or in a list that was checked.
#[derive(Clone, Copy)]
enum Offsets<'b> {
    Words4(&'b [u32]),
    Words8(&'b [u64]),
}

/// The rows of a block that belong together: row `offsets[k]` of the table (without offsets: the row with the same
/// number), and of the flow the row with the number `k` from `first` on, or with the number `kept[k]` from there.
#[derive(Clone, Copy)]
pub(super) struct Block<'b> {
    offsets: Option<Offsets<'b>>,
    first: usize,
    kept: Option<&'b [u8; BLOCK]>,
    /// How many rows there are; the offsets after these are to be prefetched alone.
    len: usize,
    ahead: usize,
}

impl Block<'_> {
    /// Calls `update` with each pair of rows, the one of the flow first.
    #[inline(always)]
    pub(super) fn scatter<T: Word>(
        self,
        to: &mut RowsMut<'_, T>,
        from: &Rows<'_, T>,
        update: impl Fn(&[T], &mut [T]),
    ) {
        match self.offsets {
            Some(Offsets::Words4(offsets)) => self.scatter_by(offsets, to, from, update),
            Some(Offsets::Words8(offsets)) => self.scatter_by(offsets, to, from, update),
            None => (to.from(self.first).zip(from.from(self.first)).take(self.len))
                .for_each(|(to, from)| update(from, to)),
        }
    }

    #[inline(always)]
    fn scatter_by<T: Word, X: Word>(
        self,
        offsets: &[X],
        to: &mut RowsMut<'_, T>,
        from: &Rows<'_, T>,
        update: impl Fn(&[T], &mut [T]),
    ) {
        let Block { first, len, ahead, .. } = self;
        for (k, (o, from)) in offsets[..len].iter().zip(from.from(first)).enumerate() {
            if ahead > 0
                && let Some(next) = offsets.get(k + ahead)
            {
                to.as_rows().prefetch(next.to_offset());
            }
            update(from, to.row(o.to_offset()));
        }
    }

    /// Whether only some rows of the flow are meant: then `scatter_kept` is to be called.
    #[inline(always)]
    pub(super) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// As `scatter`, for those rows of the flow that are meant.
    #[inline(always)]
    pub(super) fn scatter_kept<T: Word>(
        self,
        to: &mut RowsMut<'_, T>,
        from: &Rows<'_, T>,
        update: impl Fn(&[T], &mut [T]),
    ) {
        let Block { offsets: Some(Offsets::Words8(offsets)), first, kept: Some(kept), len, ahead } = self
        else {
            return;
        };
        for (k, &o) in offsets[..len].iter().enumerate() {
            if ahead > 0
                && let Some(&next) = offsets.get(k + ahead)
            {
                to.as_rows().prefetch(next as usize);
                // Where other threads have some of the rows, no CPU foresees which come next.
                from.prefetch(first + kept[k + ahead] as usize);
            }
            update(from.row(first + kept[k] as usize), to.row(o as usize));
        }
    }

    /// Calls `copy` with each pair of rows, the one of the table first.
    #[inline(always)]
    pub(super) fn gather<T: Word>(
        self,
        from: &Rows<'_, T>,
        to: &mut RowsMut<'_, T>,
        copy: impl Fn(&[T], &mut [T]),
    ) {
        match self.offsets {
            Some(Offsets::Words4(offsets)) => self.gather_by(offsets, from, to, copy),
            Some(Offsets::Words8(offsets)) => self.gather_by(offsets, from, to, copy),
            None => (to.from(self.first).zip(from.from(self.first)).take(self.len))
                .for_each(|(to, from)| copy(from, to)),
        }
    }

    #[inline(always)]
    fn gather_by<T: Word, X: Word>(
        self,
        offsets: &[X],
        from: &Rows<'_, T>,
        to: &mut RowsMut<'_, T>,
        copy: impl Fn(&[T], &mut [T]),
    ) {
        let Block { first, len, ahead, .. } = self;
        for (k, (o, to)) in offsets[..len].iter().zip(to.from(first)).enumerate() {
            if ahead > 0
                && let Some(next) = offsets.get(k + ahead)
            {
                from.prefetch(next.to_offset());
            }
            if let Some(from) = from.get(o.to_i64() as u64) {
                copy(from, to);
            }
        }
    }

    /// The numbers of the rows whose index is none of `n`.
    pub(super) fn gaps(self, n: usize) -> impl Iterator<Item = usize> {
        let Block { offsets, first, len, .. } = self;
        // Lists that were checked, and are read where they stand, have none.
        let offsets = if let Some(Offsets::Words8(offsets)) = offsets { offsets } else { &[] };
        (0..offsets.len().min(len)).filter(move |&k| offsets[k] >= n as u64).map(move |k| first + k)
    }
}

/// Which of a list's offsets are meant: those from `first` on that are below `n` then. None: all that are offsets.
pub(super) type Own = Option<(usize, usize)>;

/// Calls `work` with the blocks of a list, and with where their rows are.
#[inline(always)]
pub(super) fn for_each_block<A, B>(
    job: &mut Job<'_, A, B>,
    [planes, len]: [usize; 2],
    own: Own,
    ahead: usize,
    mut work: impl FnMut(&mut A, &mut B, At, Block<'_>),
) {
    let Job { table, list, flow, .. } = job;
    if own.is_none() && goes_along_planes(list, [planes, len]) {
        let offsets = &mut [0; FEW][..len];
        list.fill(K, [0; 3], offsets);
        for first in (0..planes).step_by(PLANES) {
            let block =
                Block { offsets: None, first, kept: None, len: (planes - first).min(PLANES), ahead: 0 };
            for (k, &o) in offsets.iter().enumerate() {
                work(table, flow, At { axis: P, table: o as usize, flow: k }, block);
            }
        }
        return;
    }
    // A dense list of words of 32 or 64 bits that is read by all planes needs no block.
    let is_one = list.stride(K) == 1 && (planes == 1 || list.stride(P) == 0);
    let in_place = match list.words.piece().width() {
        _ if own.is_some() || !is_one || !list.words.are_checked() => None,
        4 => list.words.as_slice().map(Offsets::Words4),
        8 => list.words.as_slice().map(Offsets::Words8),
        _ => None,
    };
    if let Some(offsets) = in_place {
        for p in 0..planes {
            let at = At { axis: K, table: p, flow: p };
            work(table, flow, at, Block { offsets: Some(offsets), first: 0, kept: None, len, ahead });
        }
        return;
    }
    block_for!(block, len);
    if own.is_none() && planes > 0 && len <= block.len() && list.stride(P) == 0 {
        // All planes read the same indices, and one block holds them.
        let offsets = &mut block[..len];
        list.fill(K, [0; 3], offsets);
        for p in 0..planes {
            let at = At { axis: K, table: p, flow: p };
            work(
                table,
                flow,
                at,
                Block { offsets: Some(Offsets::Words8(offsets)), first: 0, kept: None, len, ahead },
            );
        }
        return;
    }
    let mut kept = own.map(|_| [0; BLOCK]);
    // A block sees some indices more than it takes, to prefetch their rows, unless some are left out.
    let step = if own.is_some() { block.len() } else { block.len() - ahead.min(block.len() - 1) };
    for p in 0..planes {
        for first in (0..len).step_by(step) {
            let seen = (len - first).min(if own.is_some() { step } else { step + ahead });
            let offsets = &mut block[..seen];
            list.fill(K, [p, first, 0], offsets);
            let block = match (own, &mut kept) {
                (Some((from, n)), Some(kept)) => {
                    let len = keep(offsets, from, n, kept);
                    Block {
                        offsets: Some(Offsets::Words8(&offsets[..len])),
                        first,
                        kept: Some(kept),
                        len,
                        ahead,
                    }
                }
                _ => Block {
                    offsets: Some(Offsets::Words8(offsets)),
                    first,
                    kept: None,
                    len: seen.min(step),
                    ahead,
                },
            };
            work(table, flow, At { axis: K, table: p, flow: p }, block);
        }
    }
}

/// Keeps of the offsets those from `first` on that are below `n` then, as offsets from there, and says which
/// they were.
pub(super) fn keep(offsets: &mut [u64], first: usize, n: usize, kept: &mut [u8; BLOCK]) -> usize {
    const { assert!(BLOCK == 256) }; // so that a number fits into a `u8`
    let mut len = 0;
    for k in 0..offsets.len() {
        let o = offsets[k].wrapping_sub(first as u64);
        offsets[len] = o; // an offset left out is overwritten by the next, or beyond the end
        kept[len] = k as u8;
        len += usize::from(o < n as u64);
    }
    len
}

#[inline(always)]
pub(super) fn exactly<const N: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut::<N>()) {
        *to = *from;
    }
}

#[inline(always)]
pub(super) fn any_length(from: &[u8], to: &mut [u8]) {
    to.copy_from_slice(from);
}

/// A length from `N` to `2 * N`: the first `N` bytes and the last.
#[inline(always)]
pub(super) fn twice<const N: usize>(from: &[u8], to: &mut [u8]) {
    if let (Some(first), Some(last)) = (from.first_chunk::<N>(), from.last_chunk::<N>()) {
        let (first, last) = (*first, *last); // both read before either is written
        if let Some(to) = to.first_chunk_mut::<N>() {
            *to = first;
        }
        if let Some(to) = to.last_chunk_mut::<N>() {
            *to = last;
        }
    }
}

/// Copies the rows of a put's block: up to 64 bytes by moves of 16, longer ones by `memcpy`, which knows the CPU.
#[inline(never)]
pub(super) fn put_block(block: Block<'_>, from: &Rows<'_, u8>, to: &mut RowsMut<'_, u8>) {
    if block.is_kept() {
        return block.scatter_kept(to, from, any_length);
    }
    match from.row_len() {
        1 => block.scatter(to, from, exactly::<1>),
        2 => block.scatter(to, from, exactly::<2>),
        4 => block.scatter(to, from, exactly::<4>),
        5..8 => block.scatter(to, from, twice::<4>),
        8 => block.scatter(to, from, exactly::<8>),
        9..16 => block.scatter(to, from, twice::<8>),
        16 => block.scatter(to, from, exactly::<16>),
        17..=32 => block.scatter(to, from, twice::<16>),
        33..=64 => block.scatter(to, from, twice::<32>),
        _ => block.scatter(to, from, any_length),
    }
}
