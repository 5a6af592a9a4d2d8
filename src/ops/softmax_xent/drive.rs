//! Which rows go through the kernel together, and where what it finds out about them goes.

use super::partial::Partial;
use super::plan::{Plan, Term, chunk_classes};
use super::rows::{self, Group, Left, NO_CLASS, Normalizer, Scratch, Sums, stored};
use super::tile::{Columns, Row, Tile};
use crate::indices::Index;
use crate::parallel::Split;
use crate::simd::{Float, Kernel, Simd};
use crate::view::{Lanes, LanesMut};
use std::ops::Range;

/// Rows to work on, and all that is read and written of them. What is `None` is not wanted.
pub(super) struct Rows<'a, T> {
    pub(super) targets: Targets<'a>,
    /// The logits; where `None`, they are in `to`.
    pub(super) from: Option<Lanes<'a, T>>,
    /// The gradient.
    pub(super) to: Option<LanesMut<'a, T>>,
    /// A factor for each row's gradient.
    pub(super) upstream: Option<&'a [T]>,
    /// The rows' sums, where they are known already.
    pub(super) known: Option<&'a [Partial<T>]>,
    pub(super) found: Option<&'a mut [Partial<T>]>,
    pub(super) losses: Option<&'a mut [T]>,
    pub(super) lse: Option<&'a mut [T]>,
    /// The sum of the losses of each block of rows.
    pub(super) totals: Option<&'a mut [f64]>,
    /// Rows of a block, the unit of work.
    pub(super) block: usize,
}

/// Labels of any type: one kernel serves them all, so that there is not a copy of it for each.
pub(super) trait Labels: Sync {
    /// The classes of the rows from `first` on, `NO_CLASS` for ignored ones.
    fn read(&self, first: usize, to: &mut [usize]);
}

/// Labels as the caller gave them.
pub(super) struct LabelList<'a, I> {
    pub(super) labels: &'a [I],
    pub(super) ignored: Option<i64>,
}

impl<I: Index> Labels for LabelList<'_, I> {
    fn read(&self, first: usize, to: &mut [usize]) {
        for (class, &label) in to.iter_mut().zip(&self.labels[first..]) {
            *class = class_of(label, self.ignored);
        }
    }
}

/// The labels of a range of rows.
#[derive(Clone)]
pub(super) struct Targets<'a> {
    pub(super) labels: &'a dyn Labels,
    pub(super) rows: Range<usize>,
}

impl Split for Targets<'_> {
    fn len(&self) -> usize {
        Split::len(&self.rows)
    }
    fn split_at(self, mid: usize) -> (Self, Self) {
        let (a, b) = Split::split_at(self.rows, mid);
        (Targets { rows: a, ..self }, Targets { rows: b, ..self })
    }
}

/// Cuts what is there.
fn cut<W: Split>(work: Option<W>, at: usize) -> (Option<W>, Option<W>) {
    work.map(|work| work.split_at(at)).map_or((None, None), |(a, b)| (Some(a), Some(b)))
}

impl<T: Float> Split for Rows<'_, T> {
    fn len(&self) -> usize {
        self.targets.len().div_ceil(self.block)
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        let at = self.targets.len().min(mid * self.block);
        let (targets, targets_b) = self.targets.split_at(at);
        let (from, from_b) = cut(self.from, at);
        let (to, to_b) = cut(self.to, at);
        let (upstream, upstream_b) = cut(self.upstream, at);
        let (known, known_b) = cut(self.known, at);
        let (found, found_b) = cut(self.found, at);
        let (losses, losses_b) = cut(self.losses, at);
        let (lse, lse_b) = cut(self.lse, at);
        let (totals, totals_b) = cut(self.totals, mid);
        let block = self.block;
        (
            Rows { targets, from, to, upstream, known, found, losses, lse, totals, block },
            Rows {
                targets: targets_b,
                from: from_b,
                to: to_b,
                upstream: upstream_b,
                known: known_b,
                found: found_b,
                losses: losses_b,
                lse: lse_b,
                totals: totals_b,
                block,
            },
        )
    }
}

/// The kernel for a piece of the rows.
pub(super) struct Drive<'p, 'a, T: Float> {
    pub(super) plan: &'p Plan<'p, T>,
    pub(super) rows: Rows<'a, T>,
    pub(super) classes: usize,
    /// The factor of every row's gradient.
    pub(super) scale: T,
    /// Whether rows sit in lanes.
    pub(super) across: bool,
}

impl<T: Float> Kernel<T> for Drive<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        if self.across { self.blocks::<S, true>(s) } else { self.blocks::<S, false>(s) }
    }
}

/// The class that a label names, `NO_CLASS` for the ignored one.
#[inline(always)]
pub(super) fn class_of<I: Index>(label: I, ignored: Option<i64>) -> usize {
    match ignored {
        Some(ignored) if label.value() == i128::from(ignored) => NO_CLASS,
        // With a bound of 0 a negative label is out of bounds, not counted from the end.
        _ => label.raise(0),
    }
}

impl<T: Float> Drive<'_, '_, T> {
    #[inline(always)]
    fn blocks<S: Simd<T>, const ACROSS: bool>(mut self, s: S) {
        let mut scratch = Scratch::new();
        let elements = chunk_classes::<T, ACROSS>().min(self.classes) * if ACROSS { T::LANES } else { 1 };
        // Rows that are their own buffers need none.
        let mut room = vec![T::ZERO; elements];
        let mut waiting = Waiting::default();
        let step = if ACROSS { T::LANES } else { 1 };
        let (rows, block) = (self.rows.targets.len(), self.rows.block);
        for (number, first) in (0..rows).step_by(block).enumerate() {
            let mut total = 0.0;
            let end = rows.min(first + block);
            for row in (first..end).step_by(step) {
                let count = step.min(end - row);
                self.group::<S, ACROSS>(s, row, count, &mut scratch, &mut room, &mut waiting);
                if waiting.count + step > T::LANES || ACROSS {
                    total = waiting.flush(s, self.plan, &mut self.rows, total);
                }
            }
            if waiting.count > 0 {
                total = waiting.flush(s, self.plan, &mut self.rows, total);
            }
            if let Some(totals) = &mut self.rows.totals {
                totals[number] = total;
            }
        }
    }

    /// One row, or a row a lane.
    #[inline(always)]
    fn group<S: Simd<T>, const ACROSS: bool>(
        &mut self,
        s: S,
        first: usize,
        count: usize,
        scratch: &mut Scratch<T>,
        room: &mut [T],
        waiting: &mut Waiting<T>,
    ) {
        let mut group: Group<T> = Group { classes: [NO_CLASS; 16], scale: T::Block::default(), count };
        let targets = &self.rows.targets;
        targets.labels.read(targets.rows.start + first, &mut group.classes[..count]);
        for i in 0..count {
            if group.classes[i] != NO_CLASS {
                group.scale.as_mut()[i] = match self.rows.upstream {
                    Some(upstream) => self.scale * upstream[first + i],
                    None => self.scale,
                };
            }
        }
        if !ACROSS {
            let scale = group.scale.as_ref()[0];
            group.scale.as_mut().fill(scale);
            if let Some(to) = &mut self.rows.to
                && group.classes[0] == NO_CLASS
            {
                // An ignored row's gradient is 0, whatever its logits are.
                to.lane(first).fill(T::ZERO);
                if self.rows.known.is_none() {
                    waiting.next(first, NO_CLASS);
                    return;
                }
            }
        }
        let term = rows::terms::<T, S, ACROSS>(s, self.plan, &group);
        let (plan, classes) = (self.plan, self.classes);
        let known = self.rows.known.map(|known| Sums::load(s, &known[first..first + count], &group, ACROSS));
        let keep = self.rows.to.is_some();
        let sums = if ACROSS {
            let (from, to) = (self.rows.from, self.rows.to.as_mut());
            let mut tile = Columns { from, to, first, count, classes, room };
            work::<T, S, ACROSS>(s, plan, &mut tile, &group, scratch, known, &term, keep)
        } else {
            let from = self.rows.from.as_ref().map(|from| from.lane(first));
            let to = self.rows.to.as_mut().filter(|_| group.classes[0] != NO_CLASS).map(|to| to.lane(first));
            let keep = to.is_some();
            let mut tile = Row { from, to, classes, room };
            work::<T, S, ACROSS>(s, plan, &mut tile, &group, scratch, known, &term, keep)
        };
        waiting.push::<S, ACROSS>(s, first, &group, &sums, &term);
    }
}

/// Sums, and gradient if wanted.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn work<T: Float, S: Simd<T>, const ACROSS: bool>(
    s: S,
    plan: &Plan<'_, T>,
    tile: &mut impl Tile<T>,
    group: &Group<T>,
    scratch: &mut Scratch<T>,
    known: Option<Sums<S::V>>,
    term: &Term<S::V>,
    keep: bool,
) -> Sums<S::V> {
    let left = if known.is_some() { Left::Nothing } else { Left::Sums };
    let sums = known.unwrap_or_else(|| rows::sums::<T, S, ACROSS>(s, plan, tile, group, scratch, keep));
    if keep {
        let row = Normalizer::of(s, &sums);
        rows::finish::<T, S, ACROSS>(s, plan, tile, group, left, scratch, &sums, &row, term);
    }
    sums
}

/// Rows in sequence whose losses are still to be computed: a logarithm costs the same for one as for a whole vector.
struct Waiting<T: Float> {
    first: usize,
    count: usize,
    classes: [usize; 16],
    sums: [T::Block; 4],
    own: T::Block,
}

impl<T: Float> Default for Waiting<T> {
    fn default() -> Self {
        let blank = T::Block::default();
        Waiting { first: 0, count: 0, classes: [NO_CLASS; 16], sums: [blank; 4], own: blank }
    }
}

impl<T: Float> Waiting<T> {
    /// A row, or a row a lane.
    #[inline(always)]
    fn push<S: Simd<T>, const ACROSS: bool>(
        &mut self,
        s: S,
        first: usize,
        group: &Group<T>,
        sums: &Sums<S::V>,
        term: &Term<S::V>,
    ) {
        let (sums, own) = (sums.stored(s), stored(s, term.own));
        if ACROSS {
            (self.first, self.count, self.classes) = (first, group.count, group.classes);
            (self.sums, self.own) = (sums, own);
        } else {
            let at = self.next(first, group.classes[0]);
            for (to, from) in self.sums.iter_mut().zip(&sums) {
                to.as_mut()[at] = from.as_ref()[0];
            }
            self.own.as_mut()[at] = own.as_ref()[0];
        }
    }

    /// The place of the next row.
    #[inline(always)]
    fn next(&mut self, row: usize, class: usize) -> usize {
        let at = self.count;
        self.first = row - at;
        self.classes[at] = class;
        self.count += 1;
        at
    }

    /// Computes what is asked of the waiting rows; gives `total` and their losses.
    #[inline(always)]
    fn flush<S: Simd<T>>(&mut self, s: S, plan: &Plan<'_, T>, rows: &mut Rows<'_, T>, total: f64) -> f64 {
        let sums = Sums::of_blocks(s, &self.sums);
        let row = Normalizer::of(s, &sums);
        let mut loss = stored(s, row.loss(s, plan, &sums, s.load(&self.own)));
        let (first, count) = (self.first, std::mem::take(&mut self.count));
        let mut total = total;
        for (loss, &class) in loss.as_mut().iter_mut().zip(&self.classes[..count]) {
            if class == NO_CLASS {
                *loss = T::ZERO;
            }
            total += loss.to_f64();
        }
        if let Some(losses) = &mut rows.losses {
            losses[first..first + count].copy_from_slice(&loss.as_ref()[..count]);
        }
        if let Some(to) = &mut rows.lse {
            to[first..first + count].copy_from_slice(&stored(s, row.lse(s)).as_ref()[..count]);
        }
        if let Some(found) = &mut rows.found {
            let [max, others, target, _] = &self.sums;
            for (i, found) in found[first..first + count].iter_mut().enumerate() {
                let [max, others, target] = [max.as_ref()[i], others.as_ref()[i], target.as_ref()[i]];
                *found = Partial { max, others, target };
            }
        }
        total
    }
}
