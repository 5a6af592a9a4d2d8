//! Rows: one index names a run of neighbours. What gathers, puts and scatter-adds of rows share: a block of
//! offsets at a time, and for each the two rows that belong together.

use crate::array::{Erased3, Erased3Mut, INDEX, OUTER, Planes, PlanesMut, Word};
use crate::index::checked::{BLOCK, List, block_for};
use crate::simd;

/// Bytes of a table from which on rows are prefetched: no second-level cache holds it.
const PREFETCH_FROM: usize = 3 << 20;

/// The same for rows of at most 32 bytes.
const PREFETCH_SHORT_FROM: usize = 16 << 20;

/// Rows longer than this many bytes are not prefetched: the CPU foresees their lines, but for the first few.
const LONGEST_PREFETCHED: usize = 2 << 10;

/// At most so many indices are gone through one after the other, each along the planes, where a plane would cost more
/// than its few rows.
const FEW: usize = 3;

/// Planes that are gone through together for each of few indices: their rows stay in the first-level cache.
const PLANES: usize = 64;

/// How many rows of so many bytes ahead a table of such a reach is prefetched. Not at all on Intel's CPUs,
/// which go ahead of themselves over rows: prefetches made those of 2 KiB a third slower
/// (results/tried/gather.md).
pub(super) fn rows_ahead(row: usize, reach: usize) -> usize {
    let from = if row <= 32 { PREFETCH_SHORT_FROM } else { PREFETCH_FROM };
    if reach < from || row > LONGEST_PREFETCHED || simd::is_intel() { 0 } else { (8192 / row).clamp(2, 16) }
}

/// Offsets as they stand in a block, or in a list that was checked.
#[derive(Clone, Copy)]
enum Offsets<'b> {
    Words4(&'b [u32]),
    Words8(&'b [u64]),
    /// One index for all planes: rows with one number in the table, and another in the values.
    Same {
        table: usize,
        values: usize,
    },
}

/// The rows of a block that belong together, in some planes of both arrays: row `offsets[k]` of the table, and of the
/// values the row with the number `k` from `first` on, or with the number `kept[k]` from there.
#[derive(Clone, Copy)]
pub(super) struct Block<'b> {
    offsets: Offsets<'b>,
    planes: [usize; 2],
    first: usize,
    kept: Option<&'b [u8; BLOCK]>,
    /// How many rows a plane has; the offsets after these are to be prefetched alone.
    len: usize,
    /// How many rows ahead are prefetched; of gathers, into later planes, too.
    ahead: usize,
}

impl Block<'_> {
    /// The planes of both arrays, of which the table is written to.
    #[inline(always)]
    pub(super) fn of_scatter<'a, T: Word>(
        &self,
        table: &'a mut Erased3Mut<'_>,
        values: &Erased3<'a>,
    ) -> (PlanesMut<'a, T>, Planes<'a, T>) {
        match self.offsets {
            Offsets::Same { table: to, values: from } => (table.along_planes(to), values.along_planes(from)),
            _ => (table.planes(self.planes), values.planes(self.planes)),
        }
    }

    /// The planes of both arrays, of which the output is written to.
    #[inline(always)]
    pub(super) fn of_gather<'a, T: Word>(
        &self,
        table: &Erased3<'a>,
        values: &'a mut Erased3Mut<'_>,
    ) -> (Planes<'a, T>, PlanesMut<'a, T>) {
        match self.offsets {
            Offsets::Same { table: from, values: to } => (table.along_planes(from), values.along_planes(to)),
            _ => (table.planes(self.planes), values.planes(self.planes)),
        }
    }

    /// Calls `update` with each pair of rows, the one of the values first.
    #[inline(always)]
    pub(super) fn scatter<T: Word>(
        &self,
        (to, from): (&mut PlanesMut<'_, T>, &Planes<'_, T>),
        update: impl Fn(&[T], &mut [T]),
    ) {
        match self.offsets {
            Offsets::Words4(offsets) => self.scatter_by(offsets, to, from, update),
            Offsets::Words8(offsets) => self.scatter_by(offsets, to, from, update),
            Offsets::Same { .. } => {
                let [first, end] = self.planes;
                for (mut to, from) in to.iter_mut().zip(from.iter()) {
                    let rows = to.from(first).zip(from.from(first));
                    rows.take(end - first).for_each(|(to, from)| update(from, to));
                }
            }
        }
    }

    #[inline(always)]
    fn scatter_by<T: Word, X: Word>(
        &self,
        offsets: &[X],
        to: &mut PlanesMut<'_, T>,
        from: &Planes<'_, T>,
        update: impl Fn(&[T], &mut [T]),
    ) {
        let Block { first, len, ahead, .. } = *self;
        for (mut to, from) in to.iter_mut().zip(from.iter()) {
            for (k, (o, from)) in offsets[..len].iter().zip(from.from(first)).enumerate() {
                if ahead > 0
                    && let Some(next) = offsets.get(k + ahead)
                {
                    to.as_rows().prefetch(next.to_offset(), 0);
                }
                update(from, to.row(o.to_offset()));
            }
        }
    }

    /// Whether only some rows of the values are meant: then `scatter_kept` is to be called.
    #[inline(always)]
    pub(super) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// As `scatter`, for those rows of the values that are meant.
    #[inline(always)]
    pub(super) fn scatter_kept<T: Word>(
        &self,
        (to, from): (&mut PlanesMut<'_, T>, &Planes<'_, T>),
        update: impl Fn(&[T], &mut [T]),
    ) {
        let Block { offsets: Offsets::Words8(offsets), first, kept: Some(kept), len, ahead, .. } = *self
        else {
            return;
        };
        for (mut to, from) in to.iter_mut().zip(from.iter()) {
            for (k, &o) in offsets[..len].iter().enumerate() {
                if ahead > 0
                    && let Some(&next) = offsets.get(k + ahead)
                {
                    to.as_rows().prefetch(next as usize, 0);
                    // Where other threads have some of the rows, no CPU foresees which come next.
                    from.prefetch(first + kept[k + ahead] as usize, 0);
                }
                update(from.row(first + kept[k] as usize), to.row(o as usize));
            }
        }
    }

    /// Calls `copy` with each pair of rows, the one of the table first.
    #[inline(always)]
    pub(super) fn gather<T: Word>(
        &self,
        (from, to): (&Planes<'_, T>, &mut PlanesMut<'_, T>),
        copy: impl Fn(&[T], &mut [T]),
    ) {
        match self.offsets {
            Offsets::Words4(offsets) => self.gather_by(offsets, from, to, copy),
            Offsets::Words8(offsets) => self.gather_by(offsets, from, to, copy),
            Offsets::Same { .. } => {
                let [first, end] = self.planes;
                for (from, mut to) in from.iter().zip(to.iter_mut()) {
                    let rows = to.from(first).zip(from.from(first));
                    rows.take(end - first).for_each(|(to, from)| copy(from, to));
                }
            }
        }
    }

    #[inline(always)]
    fn gather_by<T: Word, X: Word>(
        &self,
        offsets: &[X],
        from: &Planes<'_, T>,
        to: &mut PlanesMut<'_, T>,
        copy: impl Fn(&[T], &mut [T]),
    ) {
        let Block { first, len, ahead, .. } = *self;
        // At the end of a plane, the first rows of the next one; of planes with fewer rows, the same row of a later
        // one. (Rows of a line or less are foreseen by the CPU.)
        let is_long = from.row_len() * size_of::<T>() > 64;
        let later = if is_long { from.distance(ahead.div_ceil(len.max(1))) } else { 0 };
        let back = len.saturating_sub(ahead);
        for (from, mut to) in from.iter().zip(to.iter_mut()) {
            for (k, (o, to)) in offsets[..len].iter().zip(to.from(first)).enumerate() {
                if ahead > 0 {
                    match offsets.get(k + ahead) {
                        Some(next) => from.prefetch(next.to_offset(), 0),
                        None if later != 0 => from.prefetch(offsets[k - back].to_offset(), later),
                        None => {}
                    }
                }
                if let Some(from) = from.get(o.to_i64() as u64) {
                    copy(from, to);
                }
            }
        }
    }

    /// The planes and the numbers of the rows whose index is none of `n`.
    pub(super) fn gaps(&self, n: usize) -> impl Iterator<Item = [usize; 2]> {
        let Block { offsets, planes: [start, end], first, len, .. } = *self;
        // Lists that were checked, and are read where they stand, have none.
        let offsets = if let Offsets::Words8(offsets) = offsets { offsets } else { &[] };
        let gaps = move || (0..offsets.len().min(len)).filter(move |&k| offsets[k] >= n as u64);
        (start..end).flat_map(move |p| gaps().map(move |k| [p, first + k]))
    }
}

/// Which of a list's offsets are meant: those from `first` on that are below `n` then. None: all that are offsets.
pub(super) type Own = Option<(usize, usize)>;

/// Calls `work` with the blocks of a list: all planes at once, where they read the same indices and one block holds
/// them.
#[inline(always)]
pub(super) fn for_each_block(
    list: &List<'_>,
    [planes, len]: [usize; 2],
    own: Own,
    ahead: usize,
    mut work: impl FnMut(&Block<'_>),
) {
    let is_shared = own.is_none() && (planes == 1 || list.stride(OUTER) == 0);
    if is_shared && planes > len && len <= FEW && !list.has_gaps() {
        let offsets = &mut [0; FEW][..len];
        list.fill(INDEX, [0; 3], offsets);
        for start in (0..planes).step_by(PLANES) {
            let planes = [start, (start + PLANES).min(planes)];
            for (values, &o) in offsets.iter().enumerate() {
                let offsets = Offsets::Same { table: o as usize, values };
                work(&Block { offsets, planes, first: 0, kept: None, len, ahead: 0 });
            }
        }
        return;
    }
    // A dense list of words of 32 or 64 bits that is read by all planes needs no block.
    let in_place = match list.words.piece().width() {
        _ if !is_shared || list.stride(INDEX) != 1 || !list.words.are_checked() => None,
        4 => list.words.as_slice().map(Offsets::Words4),
        8 => list.words.as_slice().map(Offsets::Words8),
        _ => None,
    };
    if let Some(offsets) = in_place {
        return work(&Block { offsets, planes: [0, planes], first: 0, kept: None, len, ahead });
    }
    block_for!(block, len);
    let together = if is_shared && len <= block.len() { planes.max(1) } else { 1 };
    let mut kept = own.map(|_| [0; BLOCK]);
    // A block sees some indices more than it takes, to prefetch their rows, unless some are left out.
    let step = if own.is_some() { block.len() } else { block.len() - ahead.min(block.len() - 1) };
    let step = if len <= block.len() { block.len() } else { step };
    for p in (0..planes).step_by(together) {
        for first in (0..len).step_by(step) {
            let seen = (len - first).min(if own.is_some() { step } else { step + ahead }).min(block.len());
            let offsets = &mut block[..seen];
            list.fill(INDEX, [p, first, 0], offsets);
            let (mut len, planes) = (seen.min(step), [p, p + together]);
            let kept = kept.as_mut().zip(own).map(|(kept, (from, n))| {
                len = keep(offsets, from, n, kept);
                &*kept
            });
            let offsets = Offsets::Words8(if kept.is_some() { &offsets[..len] } else { offsets });
            work(&Block { offsets, planes, first, kept, len, ahead });
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
pub(super) fn put_block(block: &Block<'_>, table: &mut Erased3Mut<'_>, values: &Erased3<'_>) {
    let (mut to, from) = block.of_scatter::<u8>(table, values);
    let (row, rows) = (from.row_len(), (&mut to, &from));
    if block.kept.is_some() {
        return block.scatter_kept(rows, any_length);
    }
    match row {
        1 => block.scatter(rows, exactly::<1>),
        2 => block.scatter(rows, exactly::<2>),
        4 => block.scatter(rows, exactly::<4>),
        5..8 => block.scatter(rows, twice::<4>),
        8 => block.scatter(rows, exactly::<8>),
        9..16 => block.scatter(rows, twice::<8>),
        16 => block.scatter(rows, exactly::<16>),
        17..=32 => block.scatter(rows, twice::<16>),
        33..=64 => block.scatter(rows, twice::<32>),
        _ => block.scatter(rows, any_length),
    }
}
