//! The promised accuracy: every gradient element and loss within (4 + gap)·ε of the truth, relative, gap being the
//! distance of that logit to its row's maximum (for the target's gradient and the loss: of the largest other logit).
//!
//! `cargo test --test accuracy -- --nocapture` prints the worst of each kind as a share of that bound. The truth is computed
//! in double-double arithmetic (about 31 digits) from the logits as they are in memory.

use gradix::{Float, Level, SoftmaxXent, View};
use std::fmt::Debug;

/// An unevaluated sum of two `f64` (Dekker 1971).
#[derive(Clone, Copy, Debug)]
struct Double(f64, f64);

impl Double {
    fn sum(a: f64, b: f64) -> Self {
        let s = a + b;
        let t = s - a;
        Double(s, (a - (s - t)) + (b - t))
    }
    fn plus(self, other: Self) -> Self {
        let Double(s, e) = Double::sum(self.0, other.0);
        Double::sum(s, e + self.1 + other.1)
    }
    fn times(self, other: Self) -> Self {
        let product = self.0 * other.0;
        let error = self.0.mul_add(other.0, -product);
        Double::sum(product, error + (self.0 * other.1 + self.1 * other.0))
    }
    fn over(self, other: Self) -> Self {
        let q = self.0 / other.0;
        let rest = self.plus(other.times(Double(-q, 0.0)));
        Double::sum(q, rest.0 / other.0)
    }
    /// e^x, by the series of x/2^9 − k·ln 2/2^9, squared 9 times.
    fn exp(self) -> Self {
        const LN_2: Double = Double(std::f64::consts::LN_2, 2.319_046_813_846_299_6e-17);
        let k = (self.0 / LN_2.0).round();
        let r = self.plus(LN_2.times(Double(-k, 0.0)));
        let r = Double(r.0 / 512.0, r.1 / 512.0);
        // e^r − 1, so that squaring keeps its digits: (1 + y)² − 1 = 2y + y².
        let mut y = Double(0.0, 0.0);
        for n in (1..=10).rev() {
            y = y.plus(Double(1.0, 0.0)).times(r).over(Double(f64::from(n), 0.0));
        }
        for _ in 0..9 {
            y = y.times(y).plus(Double(2.0 * y.0, 2.0 * y.1));
        }
        let y = y.plus(Double(1.0, 0.0));
        let power = 2.0_f64.powi(k as i32);
        Double(y.0 * power, y.1 * power)
    }
    /// ln(1 + x) for x >= 0: the series where x is small, else one step of Newton's method.
    fn ln_1p(self) -> Self {
        if self.0 < 1e-4 {
            let mut y = Double(0.0, 0.0);
            for n in (1..=9).rev() {
                let sign = if n % 2 == 1 { 1.0 } else { -1.0 };
                y = y.times(self).plus(Double(sign, 0.0).over(Double(f64::from(n), 0.0)));
            }
            return y.times(self);
        }
        let start = Double(self.0.ln_1p(), 0.0);
        let step = self.plus(Double(1.0, 0.0)).times(Double(-start.0, 0.0).exp()).plus(Double(-1.0, 0.0));
        start.plus(step)
    }
}

/// Normal numbers by Box and Muller, the same each time.
fn normal(seed: u64, len: usize) -> Vec<f64> {
    let mut state = seed;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    (0..len).map(|_| (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()).collect()
}

/// The worst error of each kind, in the bound.
#[derive(Default, Clone, Copy, Debug)]
struct Worst {
    others: f64,
    target: f64,
    loss: f64,
}

impl Worst {
    fn max(self, other: Self) -> Self {
        let [others, target, loss] =
            [self.others.max(other.others), self.target.max(other.target), self.loss.max(other.loss)];
        Worst { others, target, loss }
    }
}

/// The worst errors of one row's gradient and loss, as the shares of their bounds.
fn errors<T: Float>(x: &[T], y: usize, grad: &[T], loss: T, smallest: f64) -> Worst {
    let x: Vec<f64> = x.iter().map(|x| x.to_f64()).collect();
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let other_max =
        x.iter().enumerate().filter(|&(j, _)| j != y).map(|(_, &x)| x).fold(f64::NEG_INFINITY, f64::max);
    // Far below the maximum the exponential is 0 here and underflows there.
    let power = |x: f64| if x - max < -700.0 { Double(0.0, 0.0) } else { Double::sum(x, -max).exp() };
    let powers: Vec<Double> = x.iter().map(|&x| power(x)).collect();
    let others =
        powers.iter().enumerate().filter(|&(j, _)| j != y).fold(Double(0.0, 0.0), |sum, (_, &e)| sum.plus(e));
    let all = others.plus(powers[y]);
    let epsilon = T::EPSILON.to_f64();
    let share = |got: f64, exact: Double, gap: f64| {
        if exact.0.abs() < smallest {
            return 0.0;
        }
        ((got - exact.0) - exact.1).abs() / exact.0.abs() / ((4.0 + gap) * epsilon)
    };
    let mut worst = Worst::default();
    for (j, &e) in powers.iter().enumerate() {
        let got = grad[j].to_f64();
        if j == y {
            let q = others.over(all);
            worst.target = share(-got, q, max - other_max);
        } else {
            worst.others = worst.others.max(share(got, e.over(all), max - x[j]));
        }
    }
    let exact = if powers[y].0 > 1e-280 {
        others.over(powers[y]).ln_1p()
    } else {
        Double::sum(max, -x[y]).plus(Double(all.0.ln(), 0.0))
    };
    worst.loss = share(loss.to_f64(), exact, max - other_max);
    worst
}

/// What people write: p = e^(x − max)/Σ, p_y − 1, ln Σ − (x_y − max).
fn usual<T: Float + num_traits::Float>(x: &[T], y: usize) -> (Vec<T>, T) {
    let max = x.iter().copied().fold(T::neg_infinity(), num_traits::Float::max);
    let mut p: Vec<T> = x.iter().map(|&x| (x - max).exp()).collect();
    let mut sum = T::from_f64(0.0);
    p.iter().for_each(|&p| sum += p);
    p.iter_mut().for_each(|p| *p = *p / sum);
    p[y] = p[y] - T::from_f64(1.0);
    (p, sum.ln() - (x[y] - max))
}

/// The worst over rows of `classes` classes, at every level, rows along vectors or across them; and that of the usual
/// formulas.
fn worst<T: Float + num_traits::Float>(
    scale: f64,
    lead: f64,
    offset: f64,
    classes: usize,
    across: bool,
    smallest: f64,
) -> [Worst; 2] {
    let rows = if classes > 100 { 4 } else { 64 };
    let mut x: Vec<T> = vec![];
    let labels: Vec<usize> = (0..rows).map(|row| row * 31 % classes).collect();
    for (row, &y) in labels.iter().enumerate() {
        let mut values = normal(row as u64 + 1, classes);
        values.iter_mut().for_each(|x| *x *= scale);
        if lead > 0.0 {
            values[y] = values.iter().copied().fold(0.0, f64::max) + lead;
        }
        x.extend(values.into_iter().map(|x| T::from_f64(x + offset)));
    }
    let xent = SoftmaxXent::new().reduction(gradix::Reduction::Sum);
    let (shape, strides) = match across {
        false => ([rows, classes], [classes as isize, 1]),
        true => ([classes, rows], [1, classes as isize]),
    };
    let xent = if across { xent.class_axis(0) } else { xent };
    let view = View::strided(&x, &shape, &strides, 0).unwrap();
    let [mut all, mut plain] = [Worst::default(); 2];
    for (row, &y) in labels.iter().enumerate() {
        let x = &x[row * classes..][..classes];
        let (grad, loss) = usual(x, y);
        plain = plain.max(errors(x, y, &grad, loss, smallest));
    }
    for &level in Level::available() {
        let mut grad = vec![T::ZERO; x.len()];
        let losses = level.run(|| {
            let to = gradix::ViewMut::strided(&mut grad, &shape, &strides, 0).unwrap();
            xent.forward_backward(view, &labels, to).unwrap();
            xent.forward(view, &labels).unwrap().losses
        });
        for (row, &loss) in losses.unwrap().iter().enumerate() {
            let range = row * classes..(row + 1) * classes;
            all = all.max(errors(&x[range.clone()], labels[row], &grad[range], loss, smallest));
        }
    }
    [all, plain]
}

fn check<T: Float + num_traits::Float>(smallest: f64) {
    println!("{}: worst error / ((4 + gap) ε) over offsets 0, ±10³, ±10⁶, ±10³⁰", T::NAME);
    println!("{:>42} {:>7} {:>7} {:>7}   and of the usual formulas", "data", "others", "target", "loss");
    for (classes, across) in [(10, false), (5000, false), (5000, true)] {
        for (scale, lead) in [(1.0, 0.0), (5.0, 0.0), (30.0, 0.0), (1.0, 20.0), (1.0, 40.0), (1.0, 80.0)] {
            let [mut all, mut plain] = [Worst::default(); 2];
            for offset in [0.0, 1e3, -1e3, 1e6, -1e6, 1e30, -1e30] {
                let [here, usual] = worst::<T>(scale, lead, offset, classes, across, smallest);
                (all, plain) = (all.max(here), plain.max(usual));
            }
            let axis = if across { "classes first" } else { "classes last" };
            let name = format!("{classes} {axis}, N(0, {scale}²), lead {lead}");
            let Worst { others, target, loss } = plain;
            print!("{name:>42} {:7.3} {:7.3} {:7.3}", all.others, all.target, all.loss);
            println!("   {others:.1e} {target:.1e} {loss:.1e}");
            assert!(all.others <= 1.0 && all.target <= 1.0 && all.loss <= 1.0, "{name}: {all:?}");
        }
    }
}

#[test]
fn f32_gradients_and_losses_keep_their_bound() {
    check::<f32>(2.0_f64.powi(-120));
}

#[test]
fn f64_gradients_and_losses_keep_their_bound() {
    check::<f64>(2.0_f64.powi(-960));
}

#[test]
fn the_truth_is_true() {
    // e and ln 2 to 32 digits, as pairs.
    let e = Double(1.0, 0.0).exp();
    assert!((e.0 - std::f64::consts::E).abs() < 1e-300 && (e.1 - 1.445_646_891_729_250_2e-16).abs() < 1e-31);
    let ln_2 = Double(1.0, 0.0).ln_1p();
    assert!(ln_2.0 == std::f64::consts::LN_2 && (ln_2.1 - 2.319_046_813_846_299_6e-17).abs() < 1e-31);
}
