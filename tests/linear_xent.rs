//! The fused linear layer against its definition and against exact sums, within the bound that its
//! documentation states; the same bits for any number of threads; errors, and the caller's own products.
#![cfg(feature = "linear")]

mod common;

use common::everywhere;
use gradix::{
    Error, Float, Gemm, Linear, LinearGradients, LinearXent, Loss, Product, Reduction, Result, SoftmaxXent,
    View, ViewMut, reference,
};
use std::cell::Cell;

/// Numbers from a seed.
struct Draw(u64);

impl Draw {
    fn new(seed: u64) -> Self {
        let mut draw = Draw(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            draw.below(2);
        }
        draw
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % n
    }

    fn one_of<A: Copy>(&mut self, of: &[A]) -> A {
        of[self.below(of.len())]
    }

    /// From −1 to 1, times `scale`; a number of 24 bits, so that both types hold it.
    fn number(&mut self, scale: f64) -> f64 {
        f64::from(((self.below(1 << 20) as f64 / (1 << 19) as f64 - 1.0) * scale) as f32)
    }

    fn numbers(&mut self, len: usize, scale: f64) -> Vec<f64> {
        (0..len).map(|_| self.number(scale)).collect()
    }
}

/// How a matrix lies in its buffer.
#[derive(Debug, Clone, Copy)]
enum Lie {
    Dense,
    Turned,
    Gaps,
    Backwards,
}

impl Lie {
    /// The buffer's length, the strides and the offset of a matrix.
    fn layout(self, [m, n]: [usize; 2]) -> (usize, [isize; 2], usize) {
        let len = m * n;
        match self {
            Lie::Dense => (len, [n as isize, 1], 0),
            Lie::Turned => (len, [1, m as isize], 0),
            Lie::Gaps => (3 * len + 5, [3 * n as isize, 3], 5),
            Lie::Backwards => (len, [-(n as isize), -1], len.saturating_sub(1)),
        }
    }

    fn buffer<T: Float>(self, shape: [usize; 2], elements: &[f64]) -> Vec<T> {
        let (len, strides, offset) = self.layout(shape);
        let mut buffer = vec![T::from_f64(77.0); len];
        for (place, &x) in elements.iter().enumerate() {
            let at = (place / shape[1]) as isize * strides[0] + (place % shape[1]) as isize * strides[1];
            buffer[(offset as isize + at) as usize] = T::from_f64(x);
        }
        buffer
    }

    fn view<T>(self, shape: [usize; 2], buffer: &[T]) -> View<'_, T> {
        let (_, strides, offset) = self.layout(shape);
        if buffer.is_empty() {
            View::new(buffer, &shape)
        } else {
            View::strided(buffer, &shape, &strides, offset)
        }
        .expect("the buffer of this layout")
    }

    fn view_mut<T>(self, shape: [usize; 2], buffer: &mut [T]) -> ViewMut<'_, T> {
        let (_, strides, offset) = self.layout(shape);
        if buffer.is_empty() {
            ViewMut::new(buffer, &shape)
        } else {
            ViewMut::strided(buffer, &shape, &strides, offset)
        }
        .expect("the buffer of this layout")
    }
}

/// A layer, labels and options.
struct Case {
    rows: usize,
    classes: usize,
    columns: usize,
    x: Vec<f64>,
    weight: Vec<f64>,
    bias: Option<Vec<f64>>,
    labels: Vec<i64>,
    class_weights: Option<Vec<f64>>,
    row_weights: Option<Vec<f64>>,
    smoothing: f64,
    z_loss: f64,
    softcap: Option<f64>,
    reduction: Reduction,
    normalizer: Option<f64>,
    lies: [Lie; 4],
    scratch: Option<usize>,
}

fn cast<T: Float>(x: &[f64]) -> Vec<T> {
    x.iter().map(|&x| T::from_f64(x)).collect()
}

impl Case {
    fn new(draw: &mut Draw, [rows, columns, classes]: [usize; 3]) -> Self {
        let scale = draw.one_of(&[0.1, 1.0, 4.0]);
        let label =
            |draw: &mut Draw| if draw.below(6) == 0 { -100 } else { draw.below(classes.max(1)) as i64 };
        let reduction = draw.one_of(&[Reduction::Mean, Reduction::Mean, Reduction::Sum, Reduction::None]);
        let positive = |draw: &mut Draw, n: usize| -> Vec<f64> {
            (0..n).map(|_| if draw.below(9) == 0 { 0.0 } else { draw.number(1.0).abs() + 0.25 }).collect()
        };
        Case {
            rows,
            classes,
            columns,
            x: draw.numbers(rows * columns, scale),
            weight: draw.numbers(classes * columns, 1.0),
            bias: (draw.below(2) == 0).then(|| draw.numbers(classes, 1.0)),
            labels: (0..rows).map(|_| label(draw)).collect(),
            class_weights: (draw.below(3) == 0).then(|| positive(draw, classes)),
            row_weights: (draw.below(3) == 0).then(|| positive(draw, rows)),
            smoothing: draw.one_of(&[0.0, 0.0, 0.125]),
            z_loss: draw.one_of(&[0.0, 0.0, 0.03125]),
            softcap: draw.one_of(&[None, None, Some(8.0)]),
            reduction,
            normalizer: (reduction == Reduction::Mean && draw.below(3) == 0).then_some(37.0),
            lies: [(); 4]
                .map(|()| draw.one_of(&[Lie::Dense, Lie::Dense, Lie::Turned, Lie::Gaps, Lie::Backwards])),
            scratch: None,
        }
    }

    fn options<T: Float>(&self) -> SoftmaxXent<T> {
        let mut xent = SoftmaxXent::new().ignore_index(-100).reduction(self.reduction);
        xent = xent.label_smoothing(T::from_f64(self.smoothing)).z_loss(T::from_f64(self.z_loss));
        if let Some(weights) = &self.class_weights {
            xent = xent.class_weights(&cast::<T>(weights));
        }
        if let Some(weights) = &self.row_weights {
            xent = xent.row_weights(&cast::<T>(weights));
        }
        if let Some(cap) = self.softcap {
            xent = xent.softcap(T::from_f64(cap));
        }
        if let Some(n) = self.normalizer {
            xent = xent.normalizer(T::from_f64(n));
        }
        xent
    }

    /// Loss, losses, dx, dW, db of one side.
    fn run<T: Float>(&self, fast: bool) -> Found<T> {
        let &Case { rows, classes, columns, .. } = self;
        let [of_x, of_weight, of_dx, of_dw] = self.lies;
        let (x_shape, w_shape) = ([rows, columns], [classes, columns]);
        let (x, weight) = (of_x.buffer::<T>(x_shape, &self.x), of_weight.buffer::<T>(w_shape, &self.weight));
        let bias = self.bias.as_ref().map(|bias| cast::<T>(bias));
        let mut layer = Linear::new(of_x.view(x_shape, &x), of_weight.view(w_shape, &weight));
        if let Some(bias) = &bias {
            layer = layer.bias(bias);
        }
        let nan = |len| vec![T::NAN; len];
        let (mut dx, mut dw) = (nan(of_dx.layout(x_shape).0), nan(of_dw.layout(w_shape).0));
        let mut db = nan(classes);
        let gradients = LinearGradients::new()
            .x(of_dx.view_mut(x_shape, &mut dx))
            .weight(of_dw.view_mut(w_shape, &mut dw))
            .bias(&mut db);
        let (xent, labels) = (self.options::<T>(), &self.labels);
        let fused = LinearXent::new(xent.clone());
        let fused = match self.scratch {
            Some(bytes) => fused.scratch_bytes(bytes),
            None => fused,
        };
        let (loss, forward) = if fast {
            (fused.forward_backward(layer, labels, gradients), fused.forward(layer, labels))
        } else {
            let plain = reference::LinearXent(&xent);
            (plain.forward_backward(layer, labels, gradients), plain.forward(layer, labels))
        };
        let (loss, forward) = (loss.unwrap(), forward.unwrap());
        assert_eq!(bits(&[loss.value]), bits(&[forward.loss.value]), "the loss of forward alone");
        let read = |lie: Lie, shape: [usize; 2], buffer: &[T]| -> Vec<T> {
            let view = lie.view(shape, buffer);
            (0..shape[0] * shape[1]).map(|p| view.get(&[p / shape[1], p % shape[1]]).unwrap()).collect()
        };
        // Nothing beside the matrices is written.
        for (lie, shape, buffer) in [(of_dx, x_shape, &dx), (of_dw, w_shape, &dw)] {
            let beside = buffer.iter().filter(|x| x.is_nan()).count();
            assert_eq!(beside, buffer.len() - shape[0] * shape[1], "{lie:?}");
        }
        let lists = [forward.losses, forward.lse, read(of_dx, x_shape, &dx), read(of_dw, w_shape, &dw), db];
        Found { loss, lists }
    }

    /// Holds what one side has found against exact sums.
    fn check<T: Float>(&self, what: &str, found: &Found<T>) {
        let &Case { rows, classes, columns, .. } = self;
        let epsilon = T::EPSILON.to_f64();
        let layer_at = |i: usize, j: usize| {
            let terms = (0..columns).map(|k| self.x[i * columns + k] * self.weight[j * columns + k]);
            let bias = self.bias.as_ref().map_or(0.0, |bias| bias[j]);
            terms.fold((bias, bias.abs()), |(sum, size), x| (sum + x, size + x.abs()))
        };
        let all: Vec<(f64, f64)> = (0..rows * classes).map(|p| layer_at(p / classes, p % classes)).collect();
        let logits: Vec<f64> = all.iter().map(|x| x.0).collect();
        let mut g = logits.clone();
        let xent = self.options::<f64>();
        let plain = reference::SoftmaxXent(&xent);
        let of_logits = plain.forward(View::new(&logits, &[rows, classes]).unwrap(), &self.labels).unwrap();
        let to = ViewMut::new(&mut g, &[rows, classes]).unwrap();
        let loss = plain.forward_backward_in_place(to, &self.labels).unwrap();
        assert_eq!(
            (found.loss.count, found.loss.weight.to_f64()),
            (loss.count, T::from_f64(loss.weight).to_f64())
        );
        let divisor = match self.reduction {
            Reduction::Mean => self.normalizer.unwrap_or(loss.weight),
            _ => 1.0,
        };
        let weight_of = |class: usize| self.class_weights.as_ref().map_or(1.0, |w| w[class]);
        let total_weight: f64 = (0..classes).map(weight_of).sum();
        // What each logit's gradient may be off by, each row's loss, and each log-sum-exp.
        let (mut off, mut loss_off) = (vec![0.0; rows * classes], 0.0);
        for i in 0..rows {
            let row = i * classes..(i + 1) * classes;
            let lse = of_logits.lse[i];
            let sizes = all[row.clone()].iter().fold(0.0, |most: f64, x| most.max(x.1));
            let by_layer = 2.0 * (columns + 2) as f64 * epsilon * sizes;
            let gap = 2.0 * sizes.min(self.softcap.unwrap_or(f64::INFINITY));
            let by_softmax = (16.0 + 4.0 * gap) * epsilon;
            let lse_off = by_layer + by_softmax * (1.0 + lse.abs());
            near(what, "lse", found.lists[1][i], lse, lse_off);
            let Ok(target) = usize::try_from(self.labels[i]) else { continue };
            let all_of =
                (1.0 - self.smoothing) * weight_of(target) + self.smoothing / classes as f64 * total_weight;
            let of_row = self.row_weights.as_ref().map_or(1.0, |w| w[i]);
            let size = all_of + 2.0 * self.z_loss * (lse.abs() + 1.0);
            let of_loss = of_row * size * (2.0 * by_layer + by_softmax * (1.0 + gap + lse.abs()));
            near(what, "a row's loss", found.lists[0][i], of_logits.losses[i], of_loss);
            let by = if divisor == 0.0 { 0.0 } else { 1.0 / divisor };
            loss_off += by * of_loss;
            let relative = (2.0 * by_layer).exp_m1() + by_softmax;
            for (j, p) in row.clone().enumerate() {
                let x = self.softcap.map_or(logits[p], |cap| cap * (logits[p] / cap).tanh());
                let share = (x - lse).exp() + f64::from(u8::from(j == target));
                // The derivative of a cap moves with the logit, too.
                let slope = self.softcap.map_or(0.0, |cap| 2.0 * by_layer / cap);
                off[p] =
                    of_row * by * size * share * (relative + slope) + (16.0 * epsilon + slope) * g[p].abs();
            }
        }
        near(what, "the loss", found.loss.value, loss.value, loss_off + 4.0 * epsilon * loss.value.abs());
        let sum = |terms: &mut dyn Iterator<Item = (usize, f64)>, n: usize| {
            terms.fold((0.0, 0.0), |(sum, bound), (p, factor)| {
                let rounding = (n + 2) as f64 * epsilon * (g[p] * factor).abs();
                (sum + g[p] * factor, bound + off[p] * factor.abs() + rounding)
            })
        };
        for i in 0..rows {
            for k in 0..columns {
                let terms = &mut (0..classes).map(|j| (i * classes + j, self.weight[j * columns + k]));
                let (exact, bound) = sum(terms, classes);
                near(what, "dx", found.lists[2][i * columns + k], exact, bound);
            }
        }
        for j in 0..classes {
            for k in 0..columns {
                let terms = &mut (0..rows).map(|i| (i * classes + j, self.x[i * columns + k]));
                let (exact, bound) = sum(terms, rows);
                near(what, "dW", found.lists[3][j * columns + k], exact, bound);
            }
            let (exact, bound) = sum(&mut (0..rows).map(|i| (i * classes + j, 1.0)), rows);
            near(what, "db", found.lists[4][j], exact, bound);
        }
    }

    fn hold<T: Float>(&self) {
        let shape = format!("{} x {} x {}", self.rows, self.columns, self.classes);
        self.check(&format!("reference, {shape}"), &self.run::<T>(false));
        let mut first: Option<Found<T>> = None;
        everywhere(|level, threads| {
            let found = self.run::<T>(true);
            if !level.has_fma() {
                return self.check(&format!("{level}, {shape}"), &found);
            }
            let Some(first) = &first else {
                self.check(&format!("{level}, {shape}"), &found);
                return first = Some(found);
            };
            let what = format!("{level}, {threads} threads, {shape}");
            assert_eq!(bits(&[found.loss.value]), bits(&[first.loss.value]), "{what}");
            for (a, b) in found.lists.iter().zip(&first.lists) {
                assert!(bits(a) == bits(b), "{what}");
            }
        });
    }
}

struct Found<T> {
    loss: Loss<T>,
    lists: [Vec<T>; 5],
}

fn bits<T: Float>(list: &[T]) -> Vec<u64> {
    list.iter().map(|x| x.to_f64().to_bits()).collect()
}

fn near<T: Float>(side: &str, what: &str, found: T, exact: f64, bound: f64) {
    let off = (found.to_f64() - exact).abs();
    assert!(
        off <= bound,
        "{side}: {what} is {found:?}, exactly {exact}: off by {off:e}, more than {bound:e}"
    );
}

#[test]
fn layers_by_seeds_are_within_the_bound() {
    for seed in 0..60 {
        let draw = &mut Draw::new(seed);
        let rows = draw.one_of(&[0, 1, 2, 3, 17, 40, 70]);
        let columns = draw.one_of(&[0, 1, 2, 7, 16, 33]);
        let classes = draw.one_of(&[1, 2, 3, 10, 33, 100, 129, 400]);
        let case = Case::new(draw, [rows, columns, classes]);
        case.hold::<f32>();
        case.hold::<f64>();
    }
}

#[test]
fn many_rows_are_cut_into_chunks() {
    for (seed, shape) in [[2100, 3, 1000], [1300, 2, 2000], [70_000, 1, 10]].into_iter().enumerate() {
        let case = Case::new(&mut Draw::new(seed as u64 + 100), shape);
        case.hold::<f32>();
    }
}

#[test]
fn very_many_classes_are_cut_into_panels() {
    // Of `f64`, 34 rows would fit into the scratch.
    let draw = &mut Draw::new(201);
    let case = Case {
        smoothing: 0.125,
        z_loss: 0.03125,
        row_weights: Some((0..40).map(|i| f64::from(i % 5)).collect()),
        class_weights: Some((0..100_000).map(|j| f64::from(j % 7)).collect()),
        ..Case::new(draw, [40, 1, 100_000])
    };
    case.check("panels", &case.run::<f64>(true));
}

#[test]
fn scratch_may_have_any_size() {
    // Of 1 MiB, what is asked for at least: chunks of 131 rows; then panels, as 52 rows would fit.
    for (seed, classes) in [2_000, 5_000].into_iter().enumerate() {
        for bytes in [0, 1 << 20, 5 << 20, 64 << 20] {
            let case = Case::new(&mut Draw::new(seed as u64 + 300), [300, 2, classes]);
            Case { scratch: Some(bytes), ..case }.hold::<f32>();
        }
    }
}

#[test]
fn gradients_that_are_not_named_change_nothing() {
    let case = Case::new(&mut Draw::new(5), [20, 6, 30]);
    let (x, weight) = (cast::<f32>(&case.x), cast::<f32>(&case.weight));
    let layer = Linear::new(View::new(&x, &[20, 6]).unwrap(), View::new(&weight, &[30, 6]).unwrap());
    let fused = LinearXent::new(case.options::<f32>());
    let (mut dx, mut dw, mut db) = (vec![0.0; 120], vec![0.0; 180], vec![0.0; 30]);
    let all = LinearGradients::new().x(&mut dx).weight(&mut dw).bias(&mut db);
    let loss = fused.forward_backward(layer, &case.labels, all).unwrap();
    let (mut dx_alone, mut dw_alone, mut db_alone) = (vec![0.0; 120], vec![0.0; 180], vec![0.0; 30]);
    for one in [
        LinearGradients::new(),
        LinearGradients::new().x(&mut dx_alone),
        LinearGradients::new().weight(&mut dw_alone),
        LinearGradients::new().bias(&mut db_alone),
    ] {
        assert_eq!(fused.forward_backward(layer, &case.labels, one).unwrap(), loss);
    }
    assert_eq!((dx, dw, db), (dx_alone, dw_alone, db_alone));
}

type Own<'p> = &'p dyn Fn(View<'_, f64>, View<'_, f64>, ViewMut<'_, f64>, bool);

#[test]
fn the_callers_own_product_is_used_for_all() {
    let calls = Cell::new([0; 2]);
    let loops = |a: View<'_, f64>, b: View<'_, f64>, mut c: ViewMut<'_, f64>, add: bool| {
        let mut counts = calls.get();
        counts[usize::from(add)] += 1;
        calls.set(counts);
        for i in 0..a.shape()[0] {
            for j in 0..b.shape()[1] {
                let dot =
                    (0..a.shape()[1]).map(|k| a.get(&[i, k]).unwrap() * b.get(&[k, j]).unwrap()).sum::<f64>();
                let to = c.get_mut(&[i, j]).unwrap();
                *to = if add { *to + dot } else { dot };
            }
        }
    };
    let case = Case::new(&mut Draw::new(9), [30, 5, 12]);
    let (x, weight) = (&case.x, &case.weight);
    let layer = Linear::new(View::new(x, &[30, 5]).unwrap(), View::new(weight, &[12, 5]).unwrap());
    let xent = SoftmaxXent::new().ignore_index(-100);
    let run = |product: Own<'_>| -> Result<_> {
        let (mut dx, mut dw) = (vec![0.0; 150], vec![0.0; 60]);
        let to = LinearGradients::new().x(&mut dx).weight(&mut dw);
        LinearXent::with_product(xent.clone(), product).forward_backward(layer, &case.labels, to)?;
        Ok([dx, dw].concat())
    };
    let own = run(&loops).unwrap();
    assert_eq!(calls.get(), [3, 0], "three products, none of them added to");
    let gemm = run(&|a, b, c, add| Gemm.multiply(a, b, c, add)).unwrap();
    assert!(own.iter().zip(&gemm).all(|(a, b)| (a - b).abs() < 1e-13));
}

#[test]
fn products_have_the_same_bits_on_any_number_of_threads() {
    let pools =
        [1, 2, 3, 8].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().expect("threads"));
    fn check<T: Float>(draw: &mut Draw, pools: &[rayon::ThreadPool]) {
        // Beside where panels and rows may be cut, and enough that threads share them.
        let long = draw.one_of(&[96, 192, 384, 768, 1056, 2112]) + draw.below(4);
        let short = draw.one_of(&[1, 2, 3, 4, 7, 8, 33, 64, 65, 97, 200]);
        let k = (12_000_000 / (long * short)).clamp(1, 3000) + draw.below(3);
        let [m, n] = if draw.below(2) == 0 { [long, short] } else { [short, long] };
        let (a, b) = (cast::<T>(&draw.numbers(m * k, 1.0)), cast::<T>(&draw.numbers(k * n, 1.0)));
        let (turn_a, turn_b, add) = (draw.below(2) == 0, draw.below(2) == 0, draw.below(2) == 0);
        let answers = pools.iter().map(|pool| {
            let mut c = vec![if add { T::ONE } else { T::NAN }; m * n];
            let of = |data, [rows, columns]: [usize; 2], turn| {
                if turn {
                    View::new(data, &[columns, rows]).map(|view| view.transposed())
                } else {
                    View::new(data, &[rows, columns])
                }
                .expect("a matrix")
            };
            let to = ViewMut::new(&mut c, &[m, n]).expect("a matrix");
            pool.install(|| Gemm.multiply(of(&a, [m, k], turn_a), of(&b, [k, n], turn_b), to, add));
            bits(&c)
        });
        let answers: Vec<_> = answers.collect();
        assert!(answers.iter().all(|c| *c == answers[0]), "{m} x {k} x {n}, {turn_a} {turn_b} {add}");
    }
    for seed in 0..60 {
        check::<f32>(&mut Draw::new(seed), &pools);
        check::<f64>(&mut Draw::new(seed + 1000), &pools);
    }
}

/// Shapes, options and labels in which now and then something is wrong: both sides name the same culprit,
/// and nothing is written.
#[test]
fn faults_are_told_alike_by_the_definition() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 1..4_000 {
        let draw = &mut Draw::new(seed);
        let or = |draw: &mut Draw, right: usize| if draw.below(12) > 0 { right } else { draw.below(6) };
        let (rows, columns, classes) = (3, 2, 4);
        let x_shape = [or(draw, rows), or(draw, columns)];
        let w_shape = [or(draw, classes), or(draw, columns)];
        let (x, weight) = (vec![0.5_f32; x_shape.iter().product()], vec![0.25; w_shape.iter().product()]);
        let mut layer = Linear::new(View::new(&x, &x_shape).unwrap(), View::new(&weight, &w_shape).unwrap());
        if draw.below(20) == 0 {
            layer = Linear::new(&x, View::new(&weight, &w_shape).unwrap());
        } else if draw.below(20) == 0 {
            layer = Linear::new(View::new(&x, &x_shape).unwrap(), &weight);
        }
        let bias = vec![0.0; or(draw, w_shape[0])];
        if draw.below(2) == 0 {
            layer = layer.bias(&bias);
        }
        let mut xent = SoftmaxXent::new().class_axis(draw.one_of(&[-1, -1, -1, -1, 1, 1, 1, 0, -2, 2]));
        if draw.below(10) == 0 {
            xent = xent.label_smoothing(2.0);
        }
        if draw.below(10) == 0 {
            xent = xent.shard(0, 9);
        }
        let labels: Vec<i32> = (0..or(draw, x_shape[0])).map(|_| or(draw, 0) as i32).collect();
        let lens = [x.len(), weight.len(), w_shape[0]].map(|len| or(draw, len));
        let mut errors = [true, false].map(|fast| {
            let [mut dx, mut dw, mut db] = lens.map(|len| vec![7.0; len]);
            let to = LinearGradients::new().x(&mut dx).weight(&mut dw).bias(&mut db);
            let error = if fast {
                LinearXent::new(xent.clone()).forward_backward(layer, &labels, to).err()
            } else {
                reference::LinearXent(&xent).forward_backward(layer, &labels, to).err()
            };
            let written = [dx, dw, db].concat().iter().any(|&x| x != 7.0);
            assert!(error.is_none() || !written, "seed {seed}: {error:?}");
            error
        });
        let forward = LinearXent::new(xent.clone()).forward(layer, &labels).err();
        assert_eq!(forward, reference::LinearXent(&xent).forward(layer, &labels).err(), "seed {seed}");
        assert_eq!(errors[0], errors[1], "seed {seed}");
        seen.extend(errors[0].take().map(|error| match error {
            Error::Shape { what, .. } | Error::Rank { what, .. } => what.to_string(),
            Error::Conflict { first, .. } => first.to_string(),
            Error::Option { option, .. } => option.to_string(),
            error => error.to_string().split(' ').next().unwrap_or_default().to_string(),
        }));
    }
    for kind in [
        "x",
        "the weight",
        "the bias",
        "class_axis",
        "label_smoothing",
        "shard",
        "the labels",
        "label",
        "the gradient of x",
        "the gradient of the weight",
        "the gradient of the bias",
    ] {
        assert!(seen.contains(kind), "{kind}: {seen:?}");
    }
}
