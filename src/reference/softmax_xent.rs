//! Softmax cross-entropy, one number at a time: what the bits of [`crate::SoftmaxXent`] are.
//!
//! The equations are in `ops/softmax_xent/rows.rs`, the polynomials in `simd/exp.rs`. This is the order of
//! every operation, without vectors and threads: for rows that lie along vectors, `lanes` partial sums that
//! are then joined by halves; for rows in lanes, one sum; chunk by chunk.

use super::{collect, push};
use crate::array::{View, ViewMut};
use crate::error::Result;
use crate::index::Index;
use crate::ops::softmax_xent::plan::{Plan, Term, chunk_classes};
use crate::ops::softmax_xent::scale::{LossSum, RowFactors, RowScale};
use crate::ops::softmax_xent::soft::{Soft, first_of};
use crate::ops::softmax_xent::softmax::options;
use crate::ops::softmax_xent::{Call, Loss, Partial, Rows, shaped};
use crate::simd::Float;
use crate::simd::scaled::{self, Scaled};

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
        let call = self.0.call(logits.shape(), labels.into(), false)?;
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
        let call = self.0.call(logits.shape(), labels.into(), false)?;
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
        let call = self.0.call(logits.shape(), labels.into(), false)?;
        let mut rows = Rows { losses: vec![], lse: vec![], partials: vec![], loss: call.loss(&[]) };
        let (mut totals, mut correct) = (vec![], 0);
        for row in 0..call.labels.len() {
            let x = read(&call, &logits, row);
            let sums = sums(&call, &x, call.class(row));
            let loss = loss(&call.plan, &sums, call.class(row));
            let [in_total, in_answer] = call.row(row, None).losses_of_row(loss);
            correct += usize::from(call.class(row).is_some() && is_correct(&sums));
            push(&mut totals, in_total)?;
            push(&mut rows.losses, in_answer)?;
            push(&mut rows.lse, Normalizer::of(&sums).lse())?;
            push(&mut rows.partials, partial(&sums))?;
        }
        rows.loss = mean(&call, &totals, correct);
        Ok(rows)
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
        let call = self.0.call(logits.shape(), labels.into(), false)?;
        let upstream = self.0.upstream(upstream.into(), call.labels.len())?;
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
        let call = self.0.call(logits.shape(), labels.into(), true)?;
        let sums = (0..call.labels.len()).map(|row| sums(&call, &read(&call, &logits, row), call.class(row)));
        collect(sums.map(|sums| partial(&sums)))
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
        let call = self.0.call(logits.shape(), labels.into(), true)?;
        let partials = call.checked(partials)?;
        let upstream = self.0.upstream(upstream.into(), call.labels.len())?;
        Ok(gradient(&call, Some(logits), shaped(grad.into(), logits.shape())?, &upstream, Some(partials)))
    }
}

impl<T: Float> SoftmaxXent<'_, T> {
    /// See [`crate::SoftmaxXent::forward_backward_soft`].
    pub fn forward_backward_soft<'a, 't>(
        &self,
        logits: impl Into<View<'a, T>>,
        targets: impl Into<View<'t, T>>,
        grad: impl Into<ViewMut<'a, T>>,
    ) -> Result<Loss<T>> {
        let (logits, targets) = (logits.into(), targets.into());
        let soft = self.0.soft(logits.shape(), targets)?;
        let grad = shaped(grad.into(), logits.shape())?;
        Ok(soft_gradient(&soft, Some(logits), targets, grad))
    }

    /// See [`crate::SoftmaxXent::forward_backward_soft_in_place`].
    pub fn forward_backward_soft_in_place<'a, 't>(
        &self,
        logits: impl Into<ViewMut<'a, T>>,
        targets: impl Into<View<'t, T>>,
    ) -> Result<Loss<T>>
    where
        T: 'a,
    {
        let (logits, targets) = (logits.into(), targets.into());
        let soft = self.0.soft(logits.shape(), targets)?;
        Ok(soft_gradient(&soft, None, targets, logits))
    }
}

/// Every row's gradient against probabilities, and the loss.
fn soft_gradient<T: Float>(
    soft: &Soft<'_, T>,
    logits: Option<View<'_, T>>,
    targets: View<'_, T>,
    mut grad: ViewMut<'_, T>,
) -> Loss<T> {
    let (targets, classes) = (targets.lanes(soft.axis), grad.shape()[soft.axis]);
    let rows = grad.len().checked_div(classes).unwrap_or(0);
    let lanes = if soft.across { 1 } else { T::LANES };
    let (mut losses, mut count, mut correct) = (vec![], 0, 0);
    for row in 0..rows {
        let capped = |x: T| match soft.cap {
            Some(cap) if x != T::NEG_INFINITY => cap * tanh(x / cap),
            _ => x,
        };
        let lane = logits.as_ref().unwrap_or(&grad.as_view()).lanes(soft.axis).lane(row);
        let x: Vec<T> = (0..classes).map(|j| capped(lane.get(j))).collect();
        let weigh = |(j, t): (usize, T)| {
            if soft.is_plain() {
                return t;
            }
            let t = t.mul_add(soft.own, soft.share);
            soft.weights.map_or(t, |weights| t * weights[j])
        };
        let t: Vec<T> = (0..classes).map(|j| targets.lane(row).get(j)).enumerate().map(weigh).collect();
        let mut to = grad.reborrow().into_lanes(soft.axis);
        let mut to = to.lane(row);
        if (0..classes).all(|j| targets.lane(row).get(j) == T::ZERO) {
            to.fill(T::ZERO);
            losses.push(T::ZERO);
            continue;
        }
        let largest = |list: &[T]| list.iter().fold(T::NEG_INFINITY, |max, &x| if x > max { x } else { max });
        let max = largest(&x);
        let is_first = first_of(&x, max) == first_of(&t, largest(&t));
        let (shift, half) = (Shift::of_chunk(max), T::from_f64(0.5));
        let half_max = if max == T::NEG_INFINITY { T::ZERO } else { max * half };
        let [mut z, mut total, mut gaps] = [0.0; 3];
        let chunk = chunk_classes::<T, false>();
        for (x, t) in x.chunks(chunk).zip(t.chunks(chunk)) {
            let [mut sum, mut sum_t, mut gap] = [(); 3].map(|()| vec![T::ZERO; lanes]);
            for (j, (&x, &t)) in x.iter().zip(t).enumerate() {
                let lane = j % lanes;
                sum[lane] += shift.exp(x);
                sum_t[lane] += t;
                gap[lane] = t.mul_add(if t == T::ZERO { T::ZERO } else { half_max - x * half }, gap[lane]);
            }
            z += join_lanes(sum).to_f64();
            total += join_lanes(sum_t).to_f64();
            gaps += join_lanes(gap).to_f64();
        }
        let by = soft.scale.of_row(None, soft.row_weights.map(|weights| weights[row]));
        let [z, total, gaps] = [z, total, gaps].map(T::from_f64);
        let z = if z > T::ZERO { z } else { T::NAN };
        // Without the lift of the exponentials.
        let ln_z = ln(z * scaled::scale(T::ONE, -T::CHUNK_LIFT));
        let above_max = shift.lifted(-T::CHUNK_LIFT).exponent(max).mul_add(-T::LN_2, ln_z);
        let (mut loss, mut all) = (total.mul_add(above_max, gaps + gaps), total);
        if soft.z_loss != T::ZERO {
            let lse = max + above_max;
            let z_loss = soft.z_loss * lse;
            (loss, all) = (z_loss.mul_add(lse, loss), all + (z_loss + z_loss));
        }
        let [loss, _] = by.losses_of_row(loss);
        let RowScale { first, last: [a, b], .. } = by.gradient;
        // Without the lift that sums of rows with labels have.
        let scale = first * scaled::scale(T::ONE, T::ROW_LIFT);
        let (by, less) = (scale * (all / z) * a * b, scale * a * b);
        correct += u64::from(is_first && !loss.is_nan());
        losses.push(loss);
        count += 1;
        for (j, (&x, &t)) in x.iter().zip(&t).enumerate() {
            let gradient = shift.exp(x) * by - t * less;
            to.set(j, soft.cap.map_or(gradient, |cap| gradient * slope(cap, x)));
        }
    }
    let mut sum = LossSum::ZERO;
    losses.chunks(soft.block).for_each(|losses| sum.add(block_sum(losses)));
    soft.loss(LossSum { correct, ..sum }, count)
}

/// The derivative of a cap, at a capped logit.
fn slope<T: Float>(cap: T, x: T) -> T {
    match x == T::NEG_INFINITY {
        true => T::ZERO,
        false => (T::ONE - x / cap) * (T::ONE + x / cap),
    }
}

/// A row's logits, capped.
fn read<T: Float, I: Index>(call: &Call<'_, T, I>, logits: &View<'_, T>, row: usize) -> Vec<T> {
    let lane = logits.lanes(call.axis).lane(row);
    let x = (0..call.here).map(|class| lane.get(class));
    match call.plan.cap {
        None => x.collect(),
        Some(cap) => x.map(|x| if x == T::NEG_INFINITY { x } else { cap * tanh(x / cap) }).collect(),
    }
}

impl<T: Float, I: Index> Call<'_, T, I> {
    /// What multiplies a row's loss and gradient.
    fn row(&self, row: usize, upstream: Option<&[T]>) -> RowFactors<T> {
        let weight = self.row_weights().map(|weights| weights[row]);
        match upstream {
            Some(&[one]) => self.scale(self.mean().times(Scaled::of(one))).of_row(None, weight),
            Some(all) => self.scale(self.mean()).of_row(Some(all[row]), weight),
            None => self.scale(self.mean()).of_row(None, weight),
        }
    }
}

/// Every row's gradient, and the loss.
fn gradient<T: Float, I: Index>(
    call: &Call<'_, T, I>,
    logits: Option<View<'_, T>>,
    mut grad: ViewMut<'_, T>,
    upstream: &[T],
    known: Option<&[Partial<T>]>,
) -> Loss<T> {
    let (mut losses, mut correct) = (vec![T::ZERO; call.labels.len()], 0);
    for row in 0..call.labels.len() {
        let class = call.class(row);
        let x = read(call, logits.as_ref().unwrap_or(&grad.as_view()), row);
        let mut to = grad.reborrow().into_lanes(call.axis);
        let mut to = to.lane(row);
        let by = call.row(row, Some(upstream));
        let sums = match known {
            None => sums(call, &x, class),
            Some(known) => {
                let Partial { max, others, target, sum: gap, weight, rival } = known[row];
                Sums { max, others, target, gap, weight, rival, chunks: vec![] }
            }
        };
        match class {
            None => to.fill(T::ZERO),
            Some(class) => {
                let gradient = row_gradient(call, &x, class, &by.gradient, &sums, known.is_some());
                to.copy_from(0, &gradient);
                correct += usize::from(is_correct(&sums));
                losses[row] = by.losses_of_row(loss(&call.plan, &sums, Some(class)))[0];
            }
        }
    }
    self::mean(call, &losses, correct)
}

/// The sum of a block's losses: as many sums by turns as a vector has lanes, joined by halves.
fn block_sum<T: Float>(losses: &[T]) -> LossSum {
    let mut sums = vec![LossSum::ZERO; T::LANES];
    for (i, &loss) in losses.iter().enumerate() {
        sums[i % T::LANES].add_row(loss);
    }
    while sums.len() > 1 {
        let upper = sums.split_off(sums.len() / 2);
        sums.iter_mut().zip(upper).for_each(|(sum, x)| sum.add(x));
    }
    sums[0]
}

/// The loss of all rows, block by block.
fn mean<T: Float, I: Index>(call: &Call<'_, T, I>, losses: &[T], correct: usize) -> Loss<T> {
    let loss = call.loss(&losses.chunks(call.block()).map(block_sum).collect::<Vec<_>>());
    Loss { correct, ..loss }
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

struct Sums<T> {
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
fn partial<T: Float>(sums: &Sums<T>) -> Partial<T> {
    let max = if sums.others.is_nan() { T::NAN } else { sums.max };
    let &Sums { others, target, gap: sum, weight, .. } = sums;
    let rival = if others.is_nan() { others } else { sums.rival };
    Partial { max, others, target, sum, weight, rival }
}

/// Whether the target is the largest logit of a row that is a number.
fn is_correct<T: Float>(sums: &Sums<T>) -> bool {
    sums.target >= sums.rival && !Normalizer::of(sums).z.is_nan()
}

/// A row's sums, from those of its chunks.
fn sums<T: Float, I: Index>(call: &Call<'_, T, I>, x: &[T], class: Option<usize>) -> Sums<T> {
    let (plan, across) = (&call.plan, call.across);
    let chunk_len = if across { chunk_classes::<T, true>() } else { chunk_classes::<T, false>() };
    let lanes = if across { 1 } else { T::LANES };
    let target = class.map_or(usize::MAX, |class| class.wrapping_sub(plan.first_class));
    let larger = |a: T, b: T| if a > b { a } else { b };
    let mut parts = vec![];
    for (c, chunk) in x.chunks(chunk_len).enumerate() {
        let others = chunk.iter().enumerate().filter(|&(j, _)| c * chunk_len + j != target).map(|(_, &x)| x);
        let max = others.fold(T::NEG_INFINITY, larger);
        let shift = Shift::of_chunk(max);
        let mut powers = vec![T::ZERO; lanes];
        let mut gaps = vec![T::ZERO; if across { 1 } else { 4 * lanes }];
        let scaled_anchor = anchor(max) * plan.gap_scale;
        let weights = plan.smoothing_weights(0, x.len());
        for (j, &x) in chunk.iter().enumerate() {
            let class = c * chunk_len + j;
            if class != target {
                powers[j % lanes] += shift.exp(x);
            }
            if plan.is_smooth() {
                let turns = gaps.len();
                let gap = &mut gaps[j % turns];
                let here = x.mul_add(plan.gap_scale, T::ZERO - scaled_anchor);
                *gap = match weights.map(|weights| weights[class]) {
                    None => *gap + here,
                    // A class of weight 0 takes no part, whatever its logit is.
                    Some(w) => w.mul_add(if w == T::ZERO { T::ZERO } else { here }, *gap),
                };
            }
        }
        if !across {
            gaps = (0..lanes)
                .map(|i| (gaps[i] + gaps[lanes + i]) + (gaps[2 * lanes + i] + gaps[3 * lanes + i]))
                .collect();
        }
        parts.push((max, join_lanes(powers), join_lanes(gaps)));
    }
    let chunks = parts.iter().map(|part| Shift::of_chunk(part.0)).collect();
    let rival = rival(x, target, class, plan.first_class);
    let target = x.get(target).copied().unwrap_or(T::NEG_INFINITY);
    let max = parts.iter().fold(target, |max, part| larger(max, part.0));
    let (mut others, mut dropped, mut gap, mut weight) = (T::ZERO, T::ZERO, T::ZERO, T::ZERO);
    for (c, &(part_max, sum, part_gap)) in parts.iter().enumerate() {
        let x = sum * Shift::of_chunk(part_max).factor(Shift::of(max).lifted(T::ROW_LIFT));
        let sum = others + x;
        dropped += if others >= x { (others - sum) + x } else { (x - sum) + others };
        others = sum;
        if plan.is_smooth() {
            let row_anchor = if max == T::NEG_INFINITY { T::ZERO } else { max };
            let below_max = anchor(part_max) * plan.gap_scale - row_anchor * plan.gap_scale;
            gap += below_max.mul_add(plan.chunk_weight(c), part_gap);
            weight = plan.chunk_weight(c).mul_add(plan.gap_scale, weight);
        }
    }
    Sums { max, others: others + dropped, target, gap, weight, rival, chunks }
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
        (None, _) => largest.above(),
    }
}

/// What gaps are measured from: the maximum, or 0 where that is −∞, or so small that a fraction of it may not
/// be exact.
fn anchor<T: Float>(max: T) -> T {
    if max > T::NEG_INFINITY && max.abs() > T::EPSILON * T::EPSILON { max } else { T::ZERO }
}

/// Lane i with lane i + half, until one is left.
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

struct Normalizer<T> {
    shift: Shift<T>,
    z: T,
    target: T,
}

impl<T: Float> Normalizer<T> {
    fn of(sums: &Sums<T>) -> Self {
        let shift = Shift::of(sums.max);
        let target = shift.lifted(T::ROW_LIFT).exp(sums.target);
        let z = (sums.others + target) * scaled::scale(T::ONE, -T::ROW_LIFT);
        Normalizer { shift, z: if z > T::ZERO { z } else { T::NAN }, target }
    }

    fn lse(&self) -> T {
        let ln_z = ln(self.z) + self.shift.k * T::LN_2_REST;
        self.shift.origin + self.shift.k.mul_add(T::LN_2, ln_z)
    }
}

/// What a row's target makes of the options.
fn term<T: Float>(plan: &Plan<'_, T>, class: usize) -> Term<T> {
    let [a, b] = plan.weight_powers;
    let weight = plan.weights.map_or(T::ONE, |weights| weights[class] * a * b);
    let own = plan.own * weight;
    let all = if plan.weights.is_none() { plan.one } else { plan.share_of_all + own };
    Term { own, all, rest: plan.share * (plan.total_weight - weight) }
}

/// A row's loss, in units.
fn loss<T: Float>(plan: &Plan<'_, T>, sums: &Sums<T>, class: Option<usize>) -> T {
    let Some(class) = class else { return T::ZERO };
    let row = Normalizer::of(sums);
    let above_max = || row.shift.exponent(sums.max).mul_add(-T::LN_2, ln(row.z));
    let mut loss = match sums.others >= row.target * T::FAR {
        true => (sums.max - sums.target) + above_max(),
        false => ln_1p(sums.others / row.target),
    };
    if !plan.is_plain() {
        let own = term(plan, class).own;
        loss = if own == T::ZERO && loss == T::INFINITY { T::ZERO } else { own * loss };
    }
    if plan.is_smooth() {
        loss = plan.share_of_all.mul_add(above_max(), loss);
        loss = (T::ZERO - plan.share_of_gap).mul_add(sums.gap, loss);
    }
    if plan.z_loss != T::ZERO {
        let lse = row.lse();
        loss = (plan.z_loss * lse).mul_add(lse, loss);
    }
    loss
}

/// A row's gradient.
fn row_gradient<T: Float, I: Index>(
    call: &Call<'_, T, I>,
    x: &[T],
    class: usize,
    by: &RowScale<T>,
    sums: &Sums<T>,
    known: bool,
) -> Vec<T> {
    let plan = &call.plan;
    let row = Normalizer::of(sums);
    let Term { all, rest, .. } = if class == usize::MAX {
        Term { own: T::ONE, all: T::ONE, rest: T::ZERO }
    } else {
        term(plan, class)
    };
    let scale = by.first;
    let lifted_scale = scale * scaled::scale(T::ONE, T::ROW_LIFT);
    let last = |x: T| x * by.last[0] * by.last[1];
    let mut factor = scale * all / row.z;
    let pull = if plan.is_smooth() { last(T::ZERO - lifted_scale * plan.share) } else { T::ZERO };
    let mut target = T::ZERO - factor * sums.others;
    if plan.is_smooth() {
        target = lifted_scale.mul_add(rest, target);
    }
    if plan.z_loss != T::ZERO {
        let extra = scale * ((plan.z_loss + plan.z_loss) * row.lse()) / row.z;
        target = extra.mul_add(row.target, target);
        factor += extra;
    }
    if let Some(cap) = plan.cap {
        target *= slope(cap, sums.target);
    }
    let chunk_len = if call.across { chunk_classes::<T, true>() } else { chunk_classes::<T, false>() };
    let (target, weights) = (last(target), plan.smoothing_weights(0, x.len()));
    let anew = row.shift.lifted(T::CHUNK_LIFT);
    let of_anew = last(factor * scaled::scale(T::ONE, T::ROW_LIFT - T::CHUNK_LIFT));
    let gradient = |(j, &x): (usize, &T)| {
        let pull = weights.map_or(pull, |weights| pull * weights[j]);
        if plan.first_class + j == class {
            target
        } else if let Some(cap) = plan.cap {
            anew.exp(x).mul_add(of_anew, pull) * slope(cap, x)
        } else if known {
            anew.exp(x).mul_add(of_anew, pull)
        } else {
            let shift = sums.chunks[j / chunk_len];
            let of_chunk = last(factor * shift.factor(row.shift.lifted(T::ROW_LIFT)));
            shift.exp(x).mul_add(of_chunk, pull)
        }
    };
    x.iter().enumerate().map(gradient).collect()
}

/// 2^n for an integer n, exactly: a power of two is built in `f64`, which holds those of both types.
fn power_of_two<T: Float>(n: T) -> T {
    T::from_f64(2.0_f64.powi(n.to_f64() as i32))
}

fn polynomial<T: Float>(x: T, coefficients: &[T]) -> T {
    let (&last, others) = coefficients.split_last().expect("a polynomial has a coefficient");
    others.iter().rev().fold(last, |sum, &c| sum.mul_add(x, c))
}

/// 2^n for a multiple n of an eighth, correctly rounded.
fn power_of_eighths<T: Float>(n: T) -> T {
    let whole = n.to_f64().floor();
    let eighth = ((n.to_f64() - whole) * 8.0) as usize;
    power_of_two(T::from_f64(whole)) * T::EIGHTHS[eighth]
}

fn exp2_of<T: Float>(x: T, a: T, k: T) -> T {
    let shifted_k = T::EIGHTH_SHIFTER - k;
    let h = x.mul_add(a, shifted_k);
    let r = x.mul_add(a, shifted_k - h);
    let n = h - T::EIGHTH_SHIFTER;
    if n < T::EXP2_MIN {
        return T::ZERO;
    }
    (polynomial(r, T::EXP2) * r).mul_add(power_of_eighths(n), power_of_eighths(n))
}

fn exp2<T: Float>(t: T) -> T {
    exp2_of(t, T::ONE, T::ZERO)
}

fn exp2_m1<T: Float>(t: T) -> T {
    let n = t + T::SHIFTER - T::SHIFTER;
    if n < T::EXP2_MIN {
        return -T::ONE;
    }
    let r = t - n;
    let less_one = polynomial(r, T::EXP2_M1) * r;
    power_of_two(n).mul_add(less_one, power_of_two(n) - T::ONE)
}

/// (m, e) with u = m·2^e, 1 <= m < 2.
fn split<T: Float>(u: T) -> (T, T) {
    let bits = u.to_f64().to_bits();
    let e = (bits >> 52 & 0x7ff) as f64 - 1023.0;
    let m = f64::from_bits(bits & ((1 << 52) - 1) | 1.0_f64.to_bits());
    (T::from_f64(m), T::from_f64(e))
}

fn ln<T: Float>(u: T) -> T {
    if u.is_nan() {
        return u;
    }
    let (mut m, mut e) = split(u);
    if m > T::from_f64(std::f64::consts::SQRT_2) {
        (m, e) = (m * T::from_f64(0.5), e + T::ONE);
    }
    let f = m - T::ONE;
    let q = f / (T::ONE + m);
    let z = q * q;
    let ln_m = f - q * (f - z * polynomial(z, T::LOG));
    e.mul_add(T::LN_2, e.mul_add(T::LN_2_REST, ln_m))
}

fn ln_1p<T: Float>(r: T) -> T {
    let u = T::ONE + r;
    let dropped = if r > T::ONE { T::ONE - (u - r) } else { r - (u - T::ONE) };
    ln(u) + dropped / u
}

fn tanh<T: Float>(u: T) -> T {
    let less_one = exp2_m1(u.abs() * (T::from_f64(-2.0) * T::LOG2_E));
    let magnitude = (T::ZERO - less_one) / (T::from_f64(2.0) + less_one);
    if u < T::ZERO { T::ZERO - magnitude } else { magnitude }
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
    let xent = options(axis, log);
    let call = xent.call_without_targets(view.shape())?;
    let mut out = crate::array::zeros(view.shape())?;
    let mut to = ViewMut::new(&mut out, view.shape())?.into_lanes(call.axis);
    for row in 0..call.rows {
        let x = read(&call, &view, row);
        let sums = sums(&call, &x, None);
        let answer = if log {
            let normalizer = Normalizer::of(&sums);
            let above_max = normalizer.shift.exponent(sums.max).mul_add(-T::LN_2, ln(normalizer.z));
            x.iter().map(|&x| (x - sums.max) - above_max).collect()
        } else {
            row_gradient(&call, &x, usize::MAX, &call.row(row, None).gradient, &sums, false)
        };
        to.lane(row).copy_from(0, &answer);
    }
    Ok(out)
}
