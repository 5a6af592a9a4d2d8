//! Softmax cross-entropy, one number at a time: what the bits of [`crate::SoftmaxXent`] are.
//!
//! The equations are in `ops/softmax_xent/math.rs`, the polynomials in `simd/exp.rs`. This is the order of
//! every operation, without vectors and threads: for rows that lie along vectors, `lanes` partial sums that
//! are then joined by halves; for rows in lanes, one sum; chunk by chunk.

mod checks;
mod factors;
mod math;
mod soft;

use super::{collect, push};
use crate::array::{View, ViewMut, zeros};
use crate::error::Result;
use crate::index::Index;
use crate::order::rows_per_block;
use crate::simd::Float;
use crate::simd::scaled;
use crate::{Loss, Partial, Reduction, Rows};
use checks::{Arguments, labelled, row_weights, shaped, untargeted};
use factors::{Numbers, OfRow, Total, chunk_len};
use math::{exp2, exp2_of, ln, ln_1p, tanh};

/// The definition of [`crate::SoftmaxXent`], with the options of the one it is made of.
///
/// ```
/// use gradix::{SoftmaxXent, reference};
/// let xent = SoftmaxXent::new().label_smoothing(0.1);
/// let (mut fast, mut plain) = ([0.0_f32; 3], [0.0; 3]);
/// let loss = xent.forward_backward(&[2.0, 1.0, 0.0], &[0], &mut fast)?;
/// assert_eq!(loss.count, reference::SoftmaxXent(&xent).forward_backward(&[2.0, 1.0, 0.0], &[0], &mut plain)?.count);
/// assert!(fast.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-6));
/// # Ok::<(), gradix::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct SoftmaxXent<'x, T>(pub &'x crate::SoftmaxXent<T>);

impl<T: Float> SoftmaxXent<'_, T> {
    /// See [`crate::SoftmaxXent::forward_backward`].
    pub fn forward_backward<'a, 'l, I: Index>(
        &self,
        logits: impl Into<View<'a, T>>,
        labels: impl Into<View<'l, I>>,
        grad: impl Into<ViewMut<'a, T>>,
    ) -> Result<Loss<T>> {
        let logits = logits.into();
        let call = Numbers::new(labelled(self.0, logits.shape(), labels.into(), false)?);
        Ok(gradient(&call, Some(logits), shaped(grad.into(), logits.shape())?, &[T::ONE], None))
    }

    /// See [`crate::SoftmaxXent::forward_backward_in_place`].
    pub fn forward_backward_in_place<'a, 'l, I: Index>(
        &self,
        logits: impl Into<ViewMut<'a, T>>,
        labels: impl Into<View<'l, I>>,
    ) -> Result<Loss<T>>
    where
        T: 'a,
    {
        let logits = logits.into();
        let call = Numbers::new(labelled(self.0, logits.shape(), labels.into(), false)?);
        Ok(gradient(&call, None, logits, &[T::ONE], None))
    }

    /// See [`crate::SoftmaxXent::forward`].
    pub fn forward<'a, 'l, I: Index>(
        &self,
        logits: impl Into<View<'a, T>>,
        labels: impl Into<View<'l, I>>,
    ) -> Result<Rows<T>>
    where
        T: 'a,
    {
        let logits = logits.into();
        let call = Numbers::new(labelled(self.0, logits.shape(), labels.into(), false)?);
        let (mut losses, mut lse, mut partials) = (vec![], vec![], vec![]);
        let (mut totals, mut correct) = (vec![], 0);
        for (row, &class) in call.arguments.targets.iter().enumerate() {
            let sums = sums(&call, &read(&call, &logits, row), class);
            let [in_total, in_answer] = call.of_row(row, &[T::ONE]).losses(loss(&call, &sums, class));
            correct += usize::from(class.is_some() && is_correct(&sums));
            push(&mut totals, in_total)?;
            push(&mut losses, in_answer)?;
            push(&mut lse, LogSumExp::of(&sums).lse())?;
            push(&mut partials, partial(&sums))?;
        }
        Ok(Rows { losses, lse, partials, loss: total_loss(&call, &totals, correct) })
    }

    /// See [`crate::SoftmaxXent::backward`].
    pub fn backward<'a, 'u, 'l, I: Index>(
        &self,
        logits: impl Into<View<'a, T>>,
        labels: impl Into<View<'l, I>>,
        upstream: impl Into<View<'u, T>>,
        grad: impl Into<ViewMut<'a, T>>,
    ) -> Result<()>
    where
        T: 'u,
    {
        let logits = logits.into();
        let call = Numbers::new(labelled(self.0, logits.shape(), labels.into(), false)?);
        let upstream = checks::upstream(self.0, upstream.into(), call.arguments.rows)?;
        gradient(&call, Some(logits), shaped(grad.into(), logits.shape())?, &upstream, None);
        Ok(())
    }

    /// See [`crate::SoftmaxXent::partials`].
    pub fn partials<'a, 'l, I: Index>(
        &self,
        logits: impl Into<View<'a, T>>,
        labels: impl Into<View<'l, I>>,
    ) -> Result<Vec<Partial<T>>>
    where
        T: 'a,
    {
        let logits = logits.into();
        let call = Numbers::new(labelled(self.0, logits.shape(), labels.into(), true)?);
        let targets = call.arguments.targets.iter().enumerate();
        collect(targets.map(|(row, &class)| partial(&sums(&call, &read(&call, &logits, row), class))))
    }

    /// See [`crate::SoftmaxXent::backward_from`].
    pub fn backward_from<'a, 'u, 'l, I: Index>(
        &self,
        logits: impl Into<View<'a, T>>,
        labels: impl Into<View<'l, I>>,
        partials: &[Partial<T>],
        upstream: impl Into<View<'u, T>>,
        grad: impl Into<ViewMut<'a, T>>,
    ) -> Result<Loss<T>>
    where
        T: 'u,
    {
        let logits = logits.into();
        let call = Numbers::new(labelled(self.0, logits.shape(), labels.into(), true)?);
        let partials = checks::partials(partials, call.arguments.rows)?;
        let upstream = checks::upstream(self.0, upstream.into(), call.arguments.rows)?;
        Ok(gradient(&call, Some(logits), shaped(grad.into(), logits.shape())?, &upstream, Some(partials)))
    }
}

/// The derivative of a cap, at a capped logit.
fn slope<T: Float>(cap: T, x: T) -> T {
    match x == T::NEG_INFINITY {
        true => T::ZERO,
        false => (T::ONE - x / cap) * (T::ONE + x / cap),
    }
}

/// A row's logits, capped.
fn read<T: Float>(call: &Numbers<'_, T>, logits: &View<'_, T>, row: usize) -> Vec<T> {
    let &Arguments { xent, axis, here, .. } = &call.arguments;
    let slice = logits.axis_slices(axis).slice(row);
    let x = (0..here).map(|class| slice.get(class));
    match xent.softcap {
        None => x.collect(),
        Some(cap) => x.map(|x| if x == T::NEG_INFINITY { x } else { cap * tanh(x / cap) }).collect(),
    }
}

impl<T: Float> Numbers<'_, T> {
    /// What multiplies a row's loss and gradient, given the upstream gradient of all rows or of each.
    fn of_row(&self, row: usize, upstream: &[T]) -> OfRow<T> {
        let upstream = if let &[one] = upstream { one } else { upstream[row] };
        let weight = row_weights(self.arguments.xent).map(|weights| weights[row]);
        self.multiplier.times(upstream).of_row(weight)
    }
}

/// Every row's gradient, and the loss.
fn gradient<T: Float>(
    call: &Numbers<'_, T>,
    logits: Option<View<'_, T>>,
    mut grad: ViewMut<'_, T>,
    upstream: &[T],
    known: Option<&[Partial<T>]>,
) -> Loss<T> {
    let (mut losses, mut correct) = (vec![T::ZERO; call.arguments.rows], 0);
    for (row, &class) in call.arguments.targets.iter().enumerate() {
        let x = read(call, logits.as_ref().unwrap_or(&grad.as_view()), row);
        let mut to = grad.reborrow().into_axis_slices(call.arguments.axis);
        let mut to = to.slice(row);
        let by = call.of_row(row, upstream);
        let sums = match known {
            None => sums(call, &x, class),
            Some(known) => {
                let Partial { max, others, target, sum: gap, weight, rival } = known[row];
                RowStats { max, others, target, gap, weight, rival, chunks: vec![] }
            }
        };
        if class.is_none() {
            to.fill(T::ZERO);
            continue;
        }
        to.copy_from(0, &row_gradient(call, &x, class, &by, &sums));
        correct += usize::from(is_correct(&sums));
        losses[row] = by.losses(loss(call, &sums, class))[0];
    }
    total_loss(call, &losses, correct)
}

/// The sum of the losses of all rows: block by block, in each as many sums by turns as a vector has lanes, joined by
/// halves.
fn total_of_blocks<T: Float>(losses: &[T], block: usize) -> Total {
    let of_block = |losses: &[T]| {
        let mut sums = vec![Total::ZERO; T::LANES];
        for (i, &loss) in losses.iter().enumerate() {
            sums[i % T::LANES] = sums[i % T::LANES].plus(Total::of(loss));
        }
        while sums.len() > 1 {
            let upper = sums.split_off(sums.len() / 2);
            sums.iter_mut().zip(upper).for_each(|(sum, x)| *sum = sum.plus(x));
        }
        sums[0]
    };
    losses.chunks(block).map(of_block).fold(Total::ZERO, Total::plus)
}

/// The loss of all rows.
fn total_loss<T: Float>(call: &Numbers<'_, T>, losses: &[T], correct: usize) -> Loss<T> {
    let Arguments { here, row_per_lane, .. } = call.arguments;
    let total = total_of_blocks(losses, rows_per_block::<T>(here, row_per_lane));
    let exponent = call.multiplier.unit + call.multiplier.rows_exponent;
    let weight = scaled::scale(call.count.weight.mantissa, call.count.weight.exponent);
    Loss {
        value: T::from_f64(total.over(call.divisor, exponent)),
        count: call.count.rows,
        weight: T::from_f64(weight),
        correct,
    }
}

/// Where the exponentials of a chunk or row are taken from: they are 2^((x − origin)·log₂e − k).
#[derive(Clone, Copy)]
struct Shift<T> {
    origin: T,
    k: T,
}

impl<T: Float> Shift<T> {
    fn of(max: T) -> Self {
        if max.abs() <= T::MAX_INTEGER_SHIFT {
            Shift { origin: T::ZERO, k: max.mul_add(T::LOG2_E, T::SHIFTER) - T::SHIFTER }
        } else if max > T::NEG_INFINITY {
            Shift { origin: max, k: T::ZERO }
        } else {
            Shift { origin: T::ZERO, k: T::ZERO }
        }
    }

    /// The one that makes exponentials 2^`lift` times as large.
    fn lifted(self, lift: i32) -> Self {
        Shift { k: self.k - T::from_f64(lift.into()), ..self }
    }

    fn of_chunk(max: T) -> Self {
        Shift::of(max).lifted(T::CHUNK_LIFT)
    }

    fn exponent(self, x: T) -> T {
        (x - self.origin).mul_add(T::LOG2_E, T::ZERO - self.k)
    }

    fn exp(self, x: T) -> T {
        exp2_of(x - self.origin, T::LOG2_E, self.k)
    }

    /// From this shift, of a chunk, to that of a row.
    fn factor(self, to: Self) -> T {
        let t = (self.origin - to.origin).mul_add(T::LOG2_E, self.k - to.k);
        let most = T::from_f64((T::ROW_LIFT - T::CHUNK_LIFT + 1).into());
        exp2(if t > most { most } else { t })
    }
}

struct RowStats<T> {
    max: T,
    others: T,
    target: T,
    gap: T,
    weight: T,
    /// What the target must reach to be the largest, or of equal ones the first.
    rival: T,
    /// Each chunk's shift.
    chunks: Vec<Shift<T>>,
}

/// What is kept of a row: where it is no number as a whole, nor is its largest logit.
fn partial<T: Float>(sums: &RowStats<T>) -> Partial<T> {
    let max = if sums.others.is_nan() { T::NAN } else { sums.max };
    let &RowStats { others, target, gap: sum, weight, .. } = sums;
    let rival = if others.is_nan() { others } else { sums.rival };
    Partial { max, others, target, sum, weight, rival }
}

/// Whether the target is the largest logit of a row that is a number.
fn is_correct<T: Float>(sums: &RowStats<T>) -> bool {
    sums.target >= sums.rival && !LogSumExp::of(sums).z.is_nan()
}

/// A row's sums, from those of its chunks.
fn sums<T: Float>(call: &Numbers<'_, T>, x: &[T], class: Option<usize>) -> RowStats<T> {
    let &Arguments { row_per_lane, first_class, .. } = &call.arguments;
    let chunk_len = chunk_len(&call.arguments);
    let lanes = if row_per_lane { 1 } else { T::LANES };
    // Something beyond the logits where it is not among them.
    let target = class.and_then(|class| class.checked_sub(first_class)).unwrap_or(usize::MAX);
    let larger = |a: T, b: T| if a > b { a } else { b };
    let mut parts = vec![];
    for (c, chunk) in x.chunks(chunk_len).enumerate() {
        let others = chunk.iter().enumerate().filter(|&(j, _)| c * chunk_len + j != target).map(|(_, &x)| x);
        let max = others.fold(T::NEG_INFINITY, larger);
        let shift = Shift::of_chunk(max);
        let mut powers = vec![T::ZERO; lanes];
        let mut gaps = vec![T::ZERO; if row_per_lane { 1 } else { 4 * lanes }];
        let scaled_anchor = anchor(max) * call.gap_scale;
        let weights = call.smoothing_weights();
        for (j, &x) in chunk.iter().enumerate() {
            let class = c * chunk_len + j;
            if class != target {
                powers[j % lanes] += shift.exp(x);
            }
            if call.is_smooth() {
                let turns = gaps.len();
                let gap = &mut gaps[j % turns];
                let here = x.mul_add(call.gap_scale, T::ZERO - scaled_anchor);
                *gap = match weights.map(|weights| weights[class]) {
                    None => *gap + here,
                    // A class of weight 0 takes no part, whatever its logit is.
                    Some(w) => w.mul_add(if w == T::ZERO { T::ZERO } else { here }, *gap),
                };
            }
        }
        if !row_per_lane {
            gaps = (0..lanes)
                .map(|i| (gaps[i] + gaps[lanes + i]) + (gaps[2 * lanes + i] + gaps[3 * lanes + i]))
                .collect();
        }
        parts.push((max, join_lanes(powers), join_lanes(gaps)));
    }
    let chunks = parts.iter().map(|part| Shift::of_chunk(part.0)).collect();
    let rival = rival(x, target, class, first_class);
    let target = x.get(target).copied().unwrap_or(T::NEG_INFINITY);
    let max = parts.iter().fold(target, |max, part| larger(max, part.0));
    let (mut others, mut dropped, mut gap, mut weight) = (T::ZERO, T::ZERO, T::ZERO, T::ZERO);
    for (c, &(part_max, sum, part_gap)) in parts.iter().enumerate() {
        let x = sum * Shift::of_chunk(part_max).factor(Shift::of(max).lifted(T::ROW_LIFT));
        let sum = others + x;
        dropped += if others >= x { (others - sum) + x } else { (x - sum) + others };
        others = sum;
        if call.is_smooth() {
            let row_anchor = if max == T::NEG_INFINITY { T::ZERO } else { max };
            let below_max = anchor(part_max) * call.gap_scale - row_anchor * call.gap_scale;
            gap += below_max.mul_add(call.chunk_weight(c), part_gap);
            weight = call.chunk_weight(c).mul_add(call.gap_scale, weight);
        }
    }
    RowStats { max, others: others + dropped, target, gap, weight, rival, chunks }
}

/// What the target's logit must reach: nothing, if it has won among these, or more than any.
fn rival<T: Float>(x: &[T], target: usize, class: Option<usize>, first_class: usize) -> T {
    let largest = x.iter().fold(T::NEG_INFINITY, |max, &x| if x > max { x } else { max });
    match (x.get(target), class) {
        (_, None) => T::INFINITY,
        (Some(&y), _) if (0..x.len()).any(|j| j != target && (x[j] > y || j < target && x[j] == y)) => {
            T::INFINITY
        }
        (Some(_), _) => T::NEG_INFINITY,
        (None, Some(class)) if class < first_class => largest,
        (None, _) => largest.next_up(),
    }
}

/// What gaps are measured from: the maximum, or 0 where that is −∞, or so small that a fraction of it may not
/// be exact.
fn anchor<T: Float>(max: T) -> T {
    if max > T::NEG_INFINITY && max.abs() > T::EPSILON * T::EPSILON { max } else { T::ZERO }
}

/// AxisSlice i with lane i + half, until one is left.
fn join_lanes<T: Float>(mut lanes: Vec<T>) -> T {
    while lanes.len() > 1 {
        let half = lanes.len() / 2;
        for i in 0..half {
            let other = lanes[i + half];
            lanes[i] += other;
        }
        lanes.truncate(half);
    }
    lanes[0]
}

struct LogSumExp<T> {
    shift: Shift<T>,
    z: T,
    target: T,
}

impl<T: Float> LogSumExp<T> {
    fn of(sums: &RowStats<T>) -> Self {
        let shift = Shift::of(sums.max);
        let target = shift.lifted(T::ROW_LIFT).exp(sums.target);
        let z = (sums.others + target) * scaled::scale(T::ONE, -T::ROW_LIFT);
        LogSumExp { shift, z: if z > T::ZERO { z } else { T::NAN }, target }
    }

    fn lse(&self) -> T {
        let ln_z = ln(self.z) + self.shift.k * T::LN_2_REST;
        self.shift.origin + self.shift.k.mul_add(T::LN_2, ln_z)
    }

    /// lse − max
    fn above_max(&self, sums: &RowStats<T>) -> T {
        self.shift.exponent(sums.max).mul_add(-T::LN_2, ln(self.z))
    }
}

/// A row's loss, in units.
fn loss<T: Float>(call: &Numbers<'_, T>, sums: &RowStats<T>, class: Option<usize>) -> T {
    if class.is_none() {
        return T::ZERO;
    }
    let row = LogSumExp::of(sums);
    let mut loss = match sums.others >= row.target * T::FAR {
        true => (sums.max - sums.target) + row.above_max(sums),
        false => ln_1p(sums.others / row.target),
    };
    if !call.is_plain() {
        let [own, ..] = call.of_target(class);
        loss = if own == T::ZERO && loss == T::INFINITY { T::ZERO } else { own * loss };
    }
    if call.is_smooth() {
        loss = call.share_of_all.mul_add(row.above_max(sums), loss);
        loss = (T::ZERO - call.share_of_gap).mul_add(sums.gap, loss);
    }
    if call.z_loss != T::ZERO {
        let lse = row.lse();
        loss = (call.z_loss * lse).mul_add(lse, loss);
    }
    loss
}

/// A row's gradient; the probabilities of one that has no target.
fn row_gradient<T: Float>(
    call: &Numbers<'_, T>,
    x: &[T],
    class: Option<usize>,
    by: &OfRow<T>,
    sums: &RowStats<T>,
) -> Vec<T> {
    let &Arguments { xent, first_class, .. } = &call.arguments;
    let row = LogSumExp::of(sums);
    let [_, all, rest] = call.of_target(class);
    let scale = by.first;
    let lifted_scale = scale * scaled::scale(T::ONE, T::ROW_LIFT);
    let last = |x: T| by.last(x);
    let mut factor = scale * all / row.z;
    let smoothing = if call.is_smooth() { last(T::ZERO - lifted_scale * call.share) } else { T::ZERO };
    let mut target = T::ZERO - factor * sums.others;
    if call.is_smooth() {
        target = lifted_scale.mul_add(rest, target);
    }
    if call.z_loss != T::ZERO {
        let extra = scale * ((call.z_loss + call.z_loss) * row.lse()) / row.z;
        target = extra.mul_add(row.target, target);
        factor += extra;
    }
    if let Some(cap) = xent.softcap {
        target *= slope(cap, sums.target);
    }
    let chunk_len = chunk_len(&call.arguments);
    let (target, weights) = (last(target), call.smoothing_weights());
    let anew = row.shift.lifted(T::CHUNK_LIFT);
    let of_anew = last(factor * scaled::scale(T::ONE, T::ROW_LIFT - T::CHUNK_LIFT));
    let gradient = |(j, &x): (usize, &T)| {
        let smoothing = weights.map_or(smoothing, |weights| smoothing * weights[j]);
        if Some(first_class + j) == class {
            target
        } else if let Some(cap) = xent.softcap {
            anew.exp(x).mul_add(of_anew, smoothing) * slope(cap, x)
        } else if sums.chunks.is_empty() {
            anew.exp(x).mul_add(of_anew, smoothing)
        } else {
            let shift = sums.chunks[j / chunk_len];
            let of_chunk = last(factor * shift.factor(row.shift.lifted(T::ROW_LIFT)));
            shift.exp(x).mul_add(of_chunk, smoothing)
        }
    };
    x.iter().enumerate().map(gradient).collect()
}

/// See [`crate::softmax`].
pub fn softmax<'a, T: Float>(x: impl Into<View<'a, T>>, axis: isize) -> Result<Vec<T>> {
    along(x.into(), axis, false)
}

/// See [`crate::log_softmax`].
pub fn log_softmax<'a, T: Float>(x: impl Into<View<'a, T>>, axis: isize) -> Result<Vec<T>> {
    along(x.into(), axis, true)
}

/// Every row's probabilities, or their logarithms.
fn along<T: Float>(view: View<'_, T>, axis: isize, log: bool) -> Result<Vec<T>> {
    let xent = crate::SoftmaxXent::new().class_axis(axis).reduction(Reduction::Sum);
    let call = Numbers::new(untargeted(&xent, view.shape())?);
    let mut out = zeros(view.shape())?;
    let mut to = ViewMut::new(&mut out, view.shape())?.into_axis_slices(call.arguments.axis);
    for row in 0..call.arguments.rows {
        let x = read(&call, &view, row);
        let sums = sums(&call, &x, None);
        let answer = if log {
            let above_max = LogSumExp::of(&sums).above_max(&sums);
            x.iter().map(|&x| (x - sums.max) - above_max).collect()
        } else {
            row_gradient(&call, &x, None, &call.of_row(row, &[T::ONE]), &sums)
        };
        to.slice(row).copy_from(0, &answer);
    }
    Ok(out)
}
