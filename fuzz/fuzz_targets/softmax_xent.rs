//! Any softmax cross-entropy against its definition.

#![no_main]

use arbitrary::Unstructured;
use gradix::{Float, Index, Level, Loss, Partial, Reduction, SoftmaxXent, View, reference};
use gradix_fuzz::strided::Strided;
use gradix_fuzz::{assert_same, axis, everywhere, layout, length, nearly, numbers, same, xorshift};
use libfuzzer_sys::fuzz_target;

/// The most logits of a call.
const MOST: usize = 40_000;

/// The number of classes: around the widths where the way through the kernel changes.
fn classes(u: &mut Unstructured) -> arbitrary::Result<usize> {
    match u.int_in_range(0..=9)? {
        0..=3 => length(u),
        4 | 5 => u.int_in_range(1..=70),
        6 => u.int_in_range(120..=140),
        7 => u.int_in_range(635..=645),
        8 => u.int_in_range(1275..=1285),
        _ => u.int_in_range(60..=10_000),
    }
}

/// Options, nearly always right ones; whether labels are smoothed; and whether no class weighs more than everyday.
fn options<T: Float>(
    u: &mut Unstructured,
    axis: isize,
    classes: usize,
) -> arbitrary::Result<(SoftmaxXent<T>, bool, bool)> {
    let (mut xent, mut are_light) = (SoftmaxXent::new().class_axis(axis), true);
    let wrong = u.ratio(1, 30)?;
    let number = |u: &mut Unstructured, most: f64| -> arbitrary::Result<T> {
        Ok(T::from_f64(match u.arbitrary::<u8>()? {
            0 => 0.0,
            1 => most,
            2 if wrong => f64::NAN,
            3 if wrong => -1.0,
            4 if wrong => f64::INFINITY,
            n => most * (f64::from(n) + 1.0) / 256.0,
        }))
    };
    if u.arbitrary()? {
        xent = xent.ignore_index(*u.choose(&[-100, -1, 0, 1, 255, i64::MIN])?);
    }
    if u.ratio(1, 4)? {
        // Tiny and huge ones, too.
        let range = if T::NAME == "f32" {
            [1.0, 1e-40, 1e-20, 1e20, 3e37]
        } else {
            [1.0, 1e-310, 1e-200, 1e200, 1e307]
        };
        let most = number(u, 3.0)? * T::from_f64(*u.choose(&range)?);
        let mut next = xorshift(u.arbitrary()?);
        let mut weights: Vec<T> = (0..classes).map(|_| most * T::from_f64((next() % 5) as f64)).collect();
        if wrong && u.arbitrary()? {
            weights.pop();
        }
        are_light = weights.iter().all(|w| w.to_f64() <= 1e3);
        xent = xent.class_weights(&weights);
    }
    let smooth = u.ratio(1, 4)?;
    if smooth {
        xent = xent.label_smoothing(number(u, 1.0)?);
    }
    if u.ratio(1, 4)? {
        xent = xent.z_loss(number(u, 1e-2)?);
    }
    if u.ratio(1, 4)? {
        xent = xent.softcap(number(u, 50.0)?);
    }
    xent = xent.reduction(*u.choose(&[Reduction::Mean, Reduction::Sum, Reduction::None])?);
    if u.ratio(1, 8)? {
        xent = xent.reduction(Reduction::Mean).normalizer(number(u, 100.0)?);
    }
    Ok((xent, smooth, are_light))
}

/// All that a call answers.
struct Answer<T> {
    error: Option<gradix::Error>,
    loss: Option<Loss<T>>,
    arrays: Vec<(&'static str, Vec<T>)>,
}

fn partials<T: Float>(partials: Vec<Partial<T>>) -> [(&'static str, Vec<T>); 6] {
    [
        ("sum", partials.iter().map(|p| p.sum).collect()),
        ("weight", partials.iter().map(|p| p.weight).collect()),
        ("rival", partials.iter().map(|p| p.rival).collect()),
        ("max", partials.iter().map(|p| p.max).collect()),
        ("others", partials.iter().map(|p| p.others).collect()),
        ("target", partials.iter().map(|p| p.target).collect()),
    ]
}

struct Call<'a, T: Float, I> {
    method: u8,
    xent: SoftmaxXent<T>,
    from: Strided,
    to: Strided,
    data: &'a [T],
    before: &'a [T],
    labels: &'a [I],
    upstream: View<'a, T>,
    targets: View<'a, T>,
    known: &'a [Partial<T>],
}

macro_rules! run {
    ($call:ident, $xent:expr) => {{
        let Call { method, from, to, data, labels, upstream, targets, known, .. } = $call;
        let (xent, labels) = ($xent, *labels);
        let x = from.view(data).unwrap();
        let mut answer = Answer { error: None, loss: None, arrays: vec![] };
        let mut grad = $call.before.to_vec();
        let to = to.view_mut(&mut grad).unwrap();
        let result = match method {
            0 => xent.forward_backward(x, labels, to).map(|loss| answer.loss = Some(loss)),
            1 => xent.forward_backward_in_place(to, labels).map(|loss| answer.loss = Some(loss)),
            2 => xent.backward(x, labels, *upstream, to),
            3 => xent.forward(x, labels).map(|rows| {
                answer.loss = Some(rows.loss);
                answer.arrays = vec![("losses", rows.losses), ("lse", rows.lse)];
                answer.arrays.extend(partials(rows.partials));
            }),
            6 => xent.forward_backward_soft(x, *targets, to).map(|loss| answer.loss = Some(loss)),
            7 => xent.forward_backward_soft_in_place(to, *targets).map(|loss| answer.loss = Some(loss)),
            4 => xent.partials(x, labels).map(|found| answer.arrays.extend(partials(found))),
            _ => xent.backward_from(x, labels, known, *upstream, to).map(|loss| answer.loss = Some(loss)),
        };
        answer.error = result.err();
        answer.arrays.push(("the gradient", grad));
        answer
    }};
}

/// The same bits with FMA; else near, relative to the largest number and to `least`, where no number is extreme.
fn compare<T: Float>(level: Level, least: Option<f64>, got: &Answer<T>, expected: &Answer<T>) {
    assert_eq!(got.error, expected.error);
    let counts = |loss: Loss<T>| (loss.count, loss.correct);
    assert_eq!(got.loss.map(counts), expected.loss.map(counts));
    let close = |what, a: &[T], b: &[T]| {
        if level.has_fma() {
            return assert_same(what, a, b);
        }
        let Some(least) = least else { return };
        let largest = b.iter().filter(|x| !x.is_nan()).fold(least, |max, x| x.to_f64().abs().max(max));
        for (i, (&a, &b)) in a.iter().zip(b).enumerate() {
            let near = (a - b).to_f64().abs() <= 1024.0 * T::EPSILON.to_f64() * largest;
            assert!(near || same(a, b), "{level} {what}[{i}] is {a:?}, by definition {b:?}");
        }
    };
    if let (Some(a), Some(b)) = (got.loss, expected.loss) {
        close("the loss", &[a.value, a.weight], &[b.value, b.weight]);
    }
    for ((what, a), (_, b)) in got.arrays.iter().zip(&expected.arrays) {
        close(what, a, b);
    }
}

fn check<T: Float, I: Index + TryFrom<i64>>(u: &mut Unstructured) -> arbitrary::Result<()> {
    let classes = classes(u)?;
    let mut rows = MOST / classes.max(1);
    let mut shape = vec![];
    for _ in 0..u.int_in_range(0..=3)? {
        let n = length(u)?.min(rows);
        rows /= n.max(1);
        shape.push(n);
    }
    let at = u.int_in_range(0..=shape.len())?;
    shape.insert(at, classes);
    let rows: usize = shape.iter().enumerate().filter(|&(k, _)| k != at).map(|(_, &n)| n).product();
    let class_axis = match u.int_in_range(0..=20)? {
        0 => axis(u, shape.len())?,
        n if n % 2 == 0 => at as isize,
        _ => at as isize - shape.len() as isize,
    };
    let method = u.int_in_range(0..=7)?;
    let (mut xent, smooth, are_light) = options(u, class_axis, classes)?;
    if u.ratio(1, 10)? {
        xent = xent.shard(u.int_in_range(0..=3)?, classes + u.int_in_range(0..=4)?);
    }

    let mut next = xorshift(u.arbitrary()?);
    let few = u.arbitrary::<u8>()? | 1;
    let label =
        |seed: u64| if seed % 7 == 0 { -100 } else { (seed % u64::from(few) % classes.max(1) as u64) as i64 };
    let mut labels: Vec<i64> = (0..rows).map(|_| label(next())).collect();
    if u.arbitrary()? {
        labels.iter_mut().for_each(|label| *label = (*label).max(0));
    }
    for _ in 0..u.int_in_range(0..=labels.len().min(3))? {
        let at = u.choose_index(labels.len())?;
        labels[at] = u.int_in_range(0..=classes.max(1) as i64 - 1)?;
    }
    if u.ratio(1, 20)? && !labels.is_empty() {
        let at = u.choose_index(labels.len())?;
        labels[at] = u.arbitrary()?;
    }
    if u.ratio(1, 40)? {
        labels.pop();
    }
    let labels: Vec<I> =
        labels.iter().map(|&y| I::try_from(y).or_else(|_| I::try_from(0)).ok().expect("0")).collect();

    let scale = *u.choose(&[1.0, 5.0, 5.0, 30.0, 1e4, 1e7])?;
    let from = layout(u, &shape, true)?;
    let mut data: Vec<T> = numbers(u, from.len, scale)?;
    if u.ratio(1, 8)? {
        // Finite masks.
        let (mask, every) =
            (if T::NAME == "f32" { f64::from(f32::MIN) } else { f64::MIN }, u.int_in_range(1..=9)?);
        data.iter_mut().step_by(every).for_each(|x| *x = T::from_f64(mask));
    }
    let to_shape = if method == 1 || method == 7 { shape.clone() } else { nearly(u, shape.clone(), true)? };
    let to = layout(u, &to_shape, false)?;
    let before: Vec<T> = numbers(u, to.len, scale)?;
    let upstreams = if u.arbitrary()? { 1 } else { rows };
    // Of any strides.
    let strides: [isize; 1] = [*u.choose(&[1, 1, 0, 3, -2])?];
    let reach = upstreams.saturating_sub(1) * strides[0].unsigned_abs();
    let size = *u.choose(&[1.0, 1.0, 1e-30, 1e30])?;
    let numbers_of_rows: Vec<T> = numbers(u, reach + 1, size)?;
    let first = if strides[0] < 0 { reach } else { 0 };
    let upstream = View::strided(&numbers_of_rows, &[upstreams], &strides, first).unwrap();
    if u.ratio(1, 6)? {
        let weights: Vec<T> =
            numbers::<T>(u, rows, 1.0)?.iter().map(|w| T::from_f64(w.to_f64().abs())).collect();
        xent = xent.row_weights(&weights);
    }
    let mut soft: Vec<T> = numbers(u, rows * classes, 1.0)?;
    soft.iter_mut().step_by(2).for_each(|t| *t = T::from_f64(0.0));
    let targets = View::new(&soft, &shape).unwrap();
    let mut known = vec![Partial::empty(); rows];
    if method == 5 && !u.ratio(1, 8)? {
        known = reference::SoftmaxXent(&xent).partials(from.view(&data).unwrap(), &labels).unwrap_or(known);
    }
    if u.ratio(1, 60)? {
        known.pop();
    }
    let moderate =
        [&data, &before, &numbers_of_rows].iter().all(|x| x.iter().all(|x| x.to_f64().abs() <= 1e3))
            && are_light
            && method != 5;
    // With smoothing, or targets that are probabilities, numbers of about 1 are subtracted.
    let least = moderate.then_some(if smooth || matches!(method, 6 | 7) { 1.0 } else { 1e-30 });
    let call = Call {
        method,
        xent,
        from,
        to,
        data: &data,
        before: &before,
        labels: &labels,
        upstream,
        targets,
        known: &known,
    };
    let call = &call;
    let expected = run!(call, reference::SoftmaxXent(&call.xent));
    if expected.error.is_some() {
        assert_same("the gradient after an error", &expected.arrays[0].1, &before);
    }
    everywhere(u, |level| compare(level, least, &run!(call, &call.xent), &expected))
}

fuzz_target!(|bytes: &[u8]| {
    let u = &mut Unstructured::new(bytes);
    let _ = (|| gradix_fuzz::with_types!(u, check(u)))();
});
