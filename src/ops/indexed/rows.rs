//! Rows: one index names a run of neighbours. What gathers, puts and scatter-adds of rows share: a block of
//! offsets at a time, and for each the two rows that belong together.

use crate::array::{AxisSlice, Erased3, Erased3Mut, INDEX, OUTER, Planes, PlanesMut, Word};
use crate::index::checked::{BLOCK, List, block_for};
use crate::simd;

/// Bytes of a table from which on rows are prefetched: no second-level cache holds it.
const PREFETCH_FROM: usize = 3 << 20;

/// The same for rows of at most 32 bytes.
const PREFETCH_SHORT_FROM: usize = 16 << 20;

/// Rows longer than this many bytes are not prefetched: the CPU foresees their lines, but for the first few.
const LONGEST_PREFETCHED: usize = 2 << 10;

/// At most so many indices, of rows of fewer bytes, are gone through one after the other, each along the planes, where
/// these are more than so many for each index but the first: a plane would cost more than its few rows. (Two rows of 12
/// to 200 bytes in 60 planes by planes take 1.1 to 1.7 times as long; of 256 to 800 bytes, or in 10 planes, 0.8 to 1.)
const FEW: usize = 3;
const LONG_ROW: usize = 256;
const MANY_PLANES: usize = 16;

/// Planes that are gone through together for each of few indices: their rows stay in the first-level cache.
const PLANES: usize = 64;

/// How many rows of so many bytes ahead a table of such a reach is prefetched. Not at all on Intel's CPUs,
/// which go ahead of themselves over rows: prefetches made those of 2 KiB a third slower
/// (results/tried/gather.md).
pub(super) fn rows_ahead(row: usize, reach: usize) -> usize {
    let from = if row <= 32 { PREFETCH_SHORT_FROM } else { PREFETCH_FROM };
    if reach < from || row > LONGEST_PREFETCHED || simd::is_intel() { 0 } else { (8192 / row).clamp(2, 16) }
}

/// The rows of a block that belong together, in some planes of both arrays: row `offsets[k]` of the table, and of the
/// values the row with the number `k` from `first` on, or with the number `kept[k]` from there.
#[derive(Clone, Copy)]
pub(super) struct Block<'b> {
    offsets: AxisSlice<'b, u32>,
    planes: [usize; 2],
    /// Where one index is meant for all planes, and no offset: the number of their rows in the table, and in the
    /// values.
    along: Option<[usize; 2]>,
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
        let planes = self.planes;
        match self.along {
            Some([to, from]) => (table.along_planes(to, planes), values.along_planes(from, planes)),
            None => (table.planes(planes), values.planes(planes)),
        }
    }

    /// The planes of both arrays, of which the output is written to.
    #[inline(always)]
    pub(super) fn of_gather<'a, T: Word>(
        &self,
        table: &Erased3<'a>,
        values: &'a mut Erased3Mut<'_>,
    ) -> (Planes<'a, T>, PlanesMut<'a, T>) {
        let planes = self.planes;
        match self.along {
            Some([from, to]) => (table.along_planes(from, planes), values.along_planes(to, planes)),
            None => (table.planes(planes), values.planes(planes)),
        }
    }

    /// Calls `update` with each pair of rows, the one of the values first. They have at least so many elements.
    #[inline(always)]
    pub(super) fn scatter<T: Word>(
        &self,
        (to, from): (&mut PlanesMut<'_, T>, &Planes<'_, T>),
        least: usize,
        update: impl Fn(&[T], &mut [T]),
    ) {
        let Block { offsets, first, len, ahead, .. } = *self;
        assert!(from.row_len() >= least && to.row_len() == from.row_len(), "rows of another length");
        if self.along.is_some() {
            for (mut to, from) in to.iter_mut().zip(from.iter()) {
                for (to, from) in to.from(0).zip(from.from(0)) {
                    update(from, to);
                }
            }
            return;
        }
        for (mut to, from) in to.iter_mut().zip(from.iter()) {
            let rows = offsets.iter(len).zip(from.from(first));
            if ahead == 0 {
                for (o, from) in rows {
                    update(from, to.row(o as usize));
                }
                continue;
            }
            for (k, (o, from)) in rows.enumerate() {
                if k + ahead < offsets.len() {
                    to.as_rows().prefetch(offsets.get(k + ahead) as usize, 0);
                }
                update(from, to.row(o as usize));
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
        let Block { offsets, first, kept: Some(kept), len, ahead, .. } = *self else { return };
        for (mut to, from) in to.iter_mut().zip(from.iter()) {
            for k in 0..len {
                if ahead > 0 && k + ahead < offsets.len() {
                    to.as_rows().prefetch(offsets.get(k + ahead) as usize, 0);
                    // Where other threads have some of the rows, no CPU foresees which come next.
                    from.prefetch(first + kept[k + ahead] as usize, 0);
                }
                update(from.row(first + kept[k] as usize), to.row(offsets.get(k) as usize));
            }
        }
    }

    /// Calls `copy` with each pair of rows, the one of the table first. They have at least so many elements.
    #[inline(always)]
    pub(super) fn gather<T: Word>(
        &self,
        (from, to): (&Planes<'_, T>, &mut PlanesMut<'_, T>),
        least: usize,
        copy: impl Fn(&[T], &mut [T]),
    ) {
        let Block { offsets, first, len, ahead, .. } = *self;
        assert!(from.row_len() >= least && to.row_len() == from.row_len(), "rows of another length");
        if self.along.is_some() {
            for (from, mut to) in from.iter().zip(to.iter_mut()) {
                for (to, from) in to.from(0).zip(from.from(0)) {
                    copy(from, to);
                }
            }
            return;
        }
        // At the end of a plane, the first rows of the next one; of planes with fewer rows, the same row of a later
        // one. (Rows of a line or less are foreseen by the CPU.)
        let is_long = from.row_len() * size_of::<T>() > 64;
        let later = if is_long { from.distance(ahead.div_ceil(len.max(1))) } else { 0 };
        let back = len.saturating_sub(ahead);
        for (from, mut to) in from.iter().zip(to.iter_mut()) {
            let rows = offsets.iter(len).zip(to.from(first));
            if ahead == 0 {
                for (o, to) in rows {
                    if let Some(from) = from.get(o as usize) {
                        copy(from, to);
                    }
                }
                continue;
            }
            for (k, (o, to)) in rows.enumerate() {
                if k + ahead < offsets.len() {
                    from.prefetch(offsets.get(k + ahead) as usize, 0);
                } else if later != 0 {
                    from.prefetch(offsets.get(k - back) as usize, later);
                }
                if let Some(from) = from.get(o as usize) {
                    copy(from, to);
                }
            }
        }
    }

    /// The planes and the numbers of the rows whose index is none of `n`.
    pub(super) fn gaps(&self, n: usize) -> impl Iterator<Item = [usize; 2]> {
        let Block { offsets, planes: [start, end], first, len, .. } = *self;
        let gaps = move || (0..len).filter(move |&k| offsets.get(k) as usize >= n);
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
    [planes, len, row]: [usize; 3],
    own: Own,
    ahead: usize,
    mut work: impl FnMut(&Block<'_>),
) {
    let is_shared = own.is_none() && (planes == 1 || list.stride(OUTER) == 0);
    let is_few = len <= FEW && planes > (MANY_PLANES * len.saturating_sub(1)).max(1);
    if is_shared && is_few && row < LONG_ROW && !list.has_gaps() {
        let offsets = &mut [0; FEW][..len];
        list.fill(INDEX, [0; 3], offsets);
        for start in (0..planes).step_by(PLANES) {
            let planes = [start, (start + PLANES).min(planes)];
            for (values, &o) in offsets.iter().enumerate() {
                let (offsets, along) = (AxisSlice::from(&[][..]), Some([o as usize, values]));
                work(&Block { offsets, planes, along, first: 0, kept: None, len, ahead: 0 });
            }
        }
        return;
    }
    // A dense list of words of 32 or 64 bits that is read by all planes needs no block.
    if is_shared
        && list.stride(INDEX) == 1
        && let Some(offsets) = list.words.as_offsets()
    {
        let planes = [0, planes];
        return work(&Block { offsets, planes, along: None, first: 0, kept: None, len, ahead });
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
            if own.is_none() && list.has_gaps() {
                // So that 32 bits hold them: what is beyond the table stays so.
                offsets.iter_mut().for_each(|o| *o = (*o).min(u64::from(u32::MAX)));
            }
            let (mut len, planes) = (seen.min(step), [p, p + together]);
            let kept = kept.as_mut().zip(own).map(|(kept, (from, n))| {
                len = keep(offsets, from, n, kept);
                &*kept
            });
            let offsets = AxisSlice::low_words(if kept.is_some() { &offsets[..len] } else { offsets });
            work(&Block { offsets, planes, along: None, first, kept, len, ahead });
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

/// How rows of some lengths are copied.
pub(super) trait CopyRow {
    /// The shortest of them, in bytes.
    const LEAST: usize;
    fn copy(from: &[u8], to: &mut [u8]);
}

/// Of `N` bytes.
pub(super) struct Exactly<const N: usize>;

impl<const N: usize> CopyRow for Exactly<N> {
    const LEAST: usize = N;
    #[inline(always)]
    fn copy(from: &[u8], to: &mut [u8]) {
        if let (Some(from), Some(to)) = (from.first_chunk::<N>(), to.first_chunk_mut::<N>()) {
            *to = *from;
        }
    }
}

/// Of `N` to `2 * N` bytes: the first `N` and the last.
pub(super) struct Twice<const N: usize>;

impl<const N: usize> CopyRow for Twice<N> {
    const LEAST: usize = N;
    #[inline(always)]
    fn copy(from: &[u8], to: &mut [u8]) {
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
}

/// Of any length.
pub(super) struct AnyLength;

impl CopyRow for AnyLength {
    const LEAST: usize = 0;
    #[inline(always)]
    fn copy(from: &[u8], to: &mut [u8]) {
        to.copy_from_slice(from);
    }
}

/// Calls a function for how rows of so many bytes are copied, up to 32, by moves of registers; what is done with longer
/// ones follows.
macro_rules! with_copy_row {
    ($row:expr, $f:ident($($a:expr),*), $($longer:tt)*) => {
        match $row {
            1 => $f::<Exactly<1>>($($a),*),
            2 => $f::<Exactly<2>>($($a),*),
            4 => $f::<Exactly<4>>($($a),*),
            5..8 => $f::<Twice<4>>($($a),*),
            8 => $f::<Exactly<8>>($($a),*),
            9..16 => $f::<Twice<8>>($($a),*),
            16 => $f::<Exactly<16>>($($a),*),
            17..=32 => $f::<Twice<16>>($($a),*),
            $($longer)*
        }
    };
}
pub(super) use with_copy_row;

/// Copies the rows of a put's block: up to 64 bytes by moves of 16, longer ones by `memcpy`, which knows the CPU.
#[inline(never)]
pub(super) fn put_block(block: &Block<'_>, table: &mut Erased3Mut<'_>, values: &Erased3<'_>) {
    #[inline(always)]
    fn put<C: CopyRow>(block: &Block<'_>, rows: (&mut PlanesMut<'_, u8>, &Planes<'_, u8>)) {
        block.scatter(rows, C::LEAST, C::copy);
    }
    let (mut to, from) = block.of_scatter::<u8>(table, values);
    let (row, rows) = (from.row_len(), (&mut to, &from));
    if block.kept.is_some() {
        return block.scatter_kept(rows, AnyLength::copy);
    }
    with_copy_row!(row, put(block, rows),
        33..=64 => put::<Twice<32>>(block, rows),
        _ => put::<AnyLength>(block, rows),
    )
}
