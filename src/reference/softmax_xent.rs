//! Softmax cross-entropy, one number at a time: what the bits of [`crate::SoftmaxXent`] are.
//!
//! The equations are in `ops/softmax_xent/rows.rs`, the polynomials in `simd/exp.rs`. This is the order of every
//! operation, without vectors and threads: for rows that lie along vectors, `lanes` partial sums that are then joined by
//! halves; for rows in lanes, one sum; chunk by chunk.

use crate::array::{View, ViewMut};
use crate::error::Result;
use crate::index::Index;
use crate::ops::softmax_xent::plan::{Plan, Term, chunk_classes};
use crate::ops::softmax_xent::{Call, Loss, Partial, Rows, shaped};
use crate::simd::Float;

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
    pub fn forward_backward<'a, I: Index>(
        &self,
        logits: impl Into<View<'a, T>>,
        labels: &[I],
        grad: impl Into<ViewMut<'a, T>>,
    ) -> Result<Loss<T>> {
        let logits = logits.into();
        let call = self.0.call(logits.shape(), labels, false)?;
        Ok(gradient(&call, Some(logits), shaped(grad.into(), logits.shape())?, &[T::ONE], None))
    }

    /// See [`crate::SoftmaxXent::forward_backward_in_place`].
    pub fn forward_backward_in_place<'a, I: Index>(
        &self,
        logits: impl Into<ViewMut<'a, T>>,
        labels: &[I],
    ) -> Result<Loss<T>>
    where
        T: 'a,
    {
        let logits = logits.into();
        let call = self.0.call(logits.shape(), labels, false)?;
        Ok(gradient(&call, None, logits, &[T::ONE], None))
    }

    /// See [`crate::SoftmaxXent::forward`].
    pub fn forward<'a, I: Index>(&self, logits: impl Into<View<'a, T>>, labels: &[I]) -> Result<Rows<T>>
    where
        T: 'a,
    {
        let logits = logits.into();
        let call = self.0.call(logits.shape(), labels, false)?;
        let mut rows = Rows { losses: vec![], lse: vec![], partials: vec![], loss: call.loss(&[]) };
        for row in 0..labels.len() {
            let x = read(&call, &logits, row);
            let sums = sums(&call, &x, call.class(row));
            let loss = loss(&call.plan, &sums, call.class(row));
            rows.losses.push(loss);
            rows.lse.push(Normalizer::of(&sums).lse());
            rows.partials.push(partial(&sums));
        }
        rows.loss = mean(&call, &rows.losses);
        Ok(rows)
    }

    /// See [`crate::SoftmaxXent::backward`].
    pub fn backward<'a, 'u, I: Index>(
        &self,
        logits: impl Into<View<'a, T>>,
        labels: &[I],
        upstream: impl Into<View<'u, T>>,
        grad: impl Into<ViewMut<'a, T>>,
    ) -> Result<()>
    where
        T: 'u,
    {
        let logits = logits.into();
        let call = self.0.call(logits.shape(), labels, false)?;
        let upstream = self.0.upstream(upstream.into(), labels.len())?;
        gradient(&call, Some(logits), shaped(grad.into(), logits.shape())?, &upstream, None);
        Ok(())
    }

    /// See [`crate::SoftmaxXent::partials`].
    pub fn partials<'a, I: Index>(
        &self,
        logits: impl Into<View<'a, T>>,
        labels: &[I],
    ) -> Result<Vec<Partial<T>>>
    where
        T: 'a,
    {
        let logits = logits.into();
        let call = self.0.call(logits.shape(), labels, true)?;
        let sums = (0..labels.len()).map(|row| sums(&call, &read(&call, &logits, row), call.class(row)));
        Ok(sums.map(|sums| partial(&sums)).collect())
    }

    /// See [`crate::SoftmaxXent::backward_from`].
    pub fn backward_from<'a, 'u, I: Index>(
        &self,
        logits: impl Into<View<'a, T>>,
        labels: &[I],
        partials: &[Partial<T>],
        upstream: impl Into<View<'u, T>>,
        grad: impl Into<ViewMut<'a, T>>,
    ) -> Result<Loss<T>>
    where
        T: 'u,
    {
        let logits = logits.into();
        let call = self.0.call(logits.shape(), labels, true)?;
        let partials = call.checked(partials)?;
        let upstream = self.0.upstream(upstream.into(), labels.len())?;
        Ok(gradient(&call, Some(logits), shaped(grad.into(), logits.shape())?, &upstream, Some(partials)))
    }
}

/// A row's logits, capped.
fn read<T: Float, I: Index>(call: &Call<'_, T, I>, logits: &View<'_, T>, row: usize) -> Vec<T> {
    let lane = logits.lanes(call.axis).lane(row);
    let x = (0..call.here).map(|class| lane.get(class));
    match call.plan.cap {
        None => x.collect(),
        Some(cap) => x.map(|x| cap * tanh(x / cap)).collect(),
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
    let mut losses = vec![T::ZERO; call.labels.len()];
    let mean = call.mean();
    for row in 0..call.labels.len() {
        let class = call.class(row);
        let x = read(call, logits.as_ref().unwrap_or(&grad.as_view()), row);
        let mut to = grad.reborrow().into_lanes(call.axis);
        let mut to = to.lane(row);
        let scale = if upstream.len() == 1 { mean * upstream[0] } else { mean * upstream[row] };
        let sums = match known {
            None => sums(call, &x, class),
            Some(known) => {
                let Partial { max, others, target } = known[row];
                Sums { max, others, target, gap: T::ZERO, chunks: vec![] }
            }
        };
        match class {
            None => to.fill(T::ZERO),
            Some(class) => {
                let gradient = row_gradient(call, &x, class, scale, &sums, known.is_some());
                to.copy_from(0, &gradient);
                losses[row] = loss(&call.plan, &sums, Some(class));
            }
        }
    }
    self::mean(call, &losses)
}

/// The loss of all rows: block by block, in each as many sums by turns as a vector has lanes, joined by halves.
fn mean<T: Float, I: Index>(call: &Call<'_, T, I>, losses: &[T]) -> Loss<T> {
    let total = |losses: &[T]| {
        let mut sums = vec![0.0; T::LANES];
        for (i, loss) in losses.iter().enumerate() {
            sums[i % T::LANES] += loss.to_f64();
        }
        while sums.len() > 1 {
            let upper = sums.split_off(sums.len() / 2);
            sums.iter_mut().zip(upper).for_each(|(sum, x)| *sum += x);
        }
        sums[0]
    };
    call.loss(&losses.chunks(call.block()).map(total).collect::<Vec<_>>())
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

    fn exponent(self, x: T) -> T {
        (x - self.origin).mul_add(T::LOG2_E, T::ZERO - self.k)
    }

    fn exp(self, x: T) -> T {
        exp2_of(x - self.origin, T::LOG2_E, self.k)
    }

    fn factor(self, to: Self) -> T {
        let t = (self.origin - to.origin).mul_add(T::LOG2_E, self.k - to.k);
        exp2(if t > T::ONE { T::ONE } else { t })
    }
}

struct Sums<T> {
    max: T,
    others: T,
    target: T,
    gap: T,
    /// Each chunk's shift.
    chunks: Vec<Shift<T>>,
}

/// What is kept of a row: where it is no number as a whole, nor is its largest logit.
fn partial<T: Float>(sums: &Sums<T>) -> Partial<T> {
    let max = if sums.others.is_nan() { T::NAN } else { sums.max };
    Partial { max, others: sums.others, target: sums.target }
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
        let shift = Shift::of(max);
        let mut powers = vec![T::ZERO; lanes];
        let mut gaps = vec![T::ZERO; if across { 1 } else { 4 * lanes }];
        let anchor = anchor(max);
        for (j, &x) in chunk.iter().enumerate() {
            let class = c * chunk_len + j;
            if class != target {
                powers[j % lanes] += shift.exp(x);
            }
            if plan.is_smooth() {
                let turns = gaps.len();
                let gap = &mut gaps[j % turns];
                *gap = match plan.weights {
                    None => *gap + (x - anchor),
                    Some(weights) => weights[class].mul_add(x - anchor, *gap),
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
    let chunks = parts.iter().map(|part| Shift::of(part.0)).collect();
    let target = x.get(target).copied().unwrap_or(T::NEG_INFINITY);
    let max = parts.iter().fold(target, |max, part| larger(max, part.0));
    let (mut others, mut dropped, mut gap) = (T::ZERO, T::ZERO, T::ZERO);
    for (c, &(part_max, sum, part_gap)) in parts.iter().enumerate() {
        let x = sum * Shift::of(part_max).factor(Shift::of(max));
        let sum = others + x;
        dropped += if others >= x { (others - sum) + x } else { (x - sum) + others };
        others = sum;
        if plan.is_smooth() {
            gap += (anchor(part_max) - max).mul_add(plan.chunk_weight(c), part_gap);
        }
    }
    Sums { max, others: others + dropped, target, gap, chunks }
}

/// What gaps are measured from: the maximum, or 0 where that is −∞.
fn anchor<T: Float>(max: T) -> T {
    if max > T::NEG_INFINITY { max } else { T::ZERO }
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
    t: T,
}

impl<T: Float> Normalizer<T> {
    fn of(sums: &Sums<T>) -> Self {
        let shift = Shift::of(sums.max);
        let t = shift.exponent(sums.target);
        let target = shift.exp(sums.target);
        let z = sums.others + target;
        Normalizer { shift, z: if z > T::ZERO { z } else { T::NAN }, target, t }
    }

    fn lse(&self) -> T {
        let ln_z = ln(self.z) + self.shift.k * T::LN_2_REST;
        self.shift.origin + self.shift.k.mul_add(T::LN_2, ln_z)
    }
}

/// What a row's target makes of the options.
fn term<T: Float>(plan: &Plan<'_, T>, class: usize) -> Term<T> {
    let weight = plan.weight(class);
    let own = if plan.is_smooth() { plan.own * weight } else { weight };
    let all = if plan.weights.is_none() { T::ONE } else { plan.share.mul_add(plan.total_weight, own) };
    Term { own, all, rest: plan.share * (plan.total_weight - weight) }
}

/// A row's loss.
fn loss<T: Float>(plan: &Plan<'_, T>, sums: &Sums<T>, class: Option<usize>) -> T {
    let Some(class) = class else { return T::ZERO };
    let row = Normalizer::of(sums);
    let is_far = sums.others >= row.target * T::FAR;
    let nll = if is_far { row.t.mul_add(-T::LN_2, ln(row.z)) } else { ln_1p(sums.others / row.target) };
    let mut loss = if plan.is_plain() { nll } else { term(plan, class).own * nll };
    if plan.is_smooth() {
        let above_max = row.shift.exponent(sums.max).mul_add(-T::LN_2, ln(row.z));
        loss = plan.share.mul_add(plan.total_weight * above_max - sums.gap, loss);
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
    scale: T,
    sums: &Sums<T>,
    known: bool,
) -> Vec<T> {
    let plan = &call.plan;
    let row = Normalizer::of(sums);
    let Term { all, rest, .. } = term(plan, class);
    let mut factor = scale * all / row.z;
    let pull = T::ZERO - scale * plan.share;
    let mut target = T::ZERO - factor * sums.others;
    if plan.is_smooth() {
        target = scale.mul_add(rest, target);
    }
    if plan.z_loss != T::ZERO {
        let extra = scale * ((plan.z_loss + plan.z_loss) * row.lse()) / row.z;
        target = extra.mul_add(row.target, target);
        factor += extra;
    }
    let slope = |cap: T, x: T| (T::ONE - x / cap) * (T::ONE + x / cap);
    if let Some(cap) = plan.cap {
        target *= slope(cap, sums.target);
    }
    let chunk_len = if call.across { chunk_classes::<T, true>() } else { chunk_classes::<T, false>() };
    let gradient = |(j, &x): (usize, &T)| {
        let pull = plan.weights.filter(|_| plan.is_smooth()).map_or(pull, |weights| pull * weights[j]);
        if plan.first_class + j == class {
            target
        } else if let Some(cap) = plan.cap {
            row.shift.exp(x).mul_add(factor, pull) * slope(cap, x)
        } else if known {
            row.shift.exp(x).mul_add(factor, pull)
        } else {
            let shift = sums.chunks[j / chunk_len];
            shift.exp(x).mul_add(factor * shift.factor(row.shift), pull)
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
