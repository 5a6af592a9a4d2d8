//! The loops that people write: iterators and the standard library's `exp`, compiled like everything else. They
//! write into memory that the caller keeps, which is faster than the usual `collect`.

use super::data::Element;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Copies of a short loop, each at another address: its time depends on where the linker places it, by up to a half. The
/// quickest copy is the baseline.
const COPIES: usize = 4;

/// Knows the quickest copy.
#[derive(Default)]
pub struct Copies {
    calls: usize,
    least: [Option<Duration>; COPIES],
}

/// Calls a copy of a loop: `copies.call(|copy| one_of!(copy, take(src, idx, out)))`.
#[macro_export]
macro_rules! one_of {
    ($copy:expr, $name:ident($($argument:expr),*)) => {
        match $copy {
            0 => loops::$name::<_, 0>($($argument),*),
            1 => loops::$name::<_, 1>($($argument),*),
            2 => loops::$name::<_, 2>($($argument),*),
            _ => loops::$name::<_, 3>($($argument),*),
        }
    };
}

impl Copies {
    /// Calls after which the quickest copy is known.
    pub const TRIALS: usize = 4 * COPIES;

    /// Calls `f` with the number of a copy: of each in turn first, then of the quickest.
    pub fn call(&mut self, f: impl FnOnce(usize)) {
        if self.calls >= Self::TRIALS {
            return f((0..COPIES).min_by_key(|&copy| self.least[copy]).unwrap_or(0));
        }
        let copy = self.calls % COPIES;
        let start = Instant::now();
        f(copy);
        let took = start.elapsed();
        self.least[copy] = Some(self.least[copy].map_or(took, |least| least.min(took)));
        self.calls += 1;
    }
}

/// `out = src[idx]`
#[inline(never)]
pub fn take<T: Copy, const COPY: usize>(src: &[T], idx: &[u32], out: &mut [T]) {
    black_box(COPY);
    for (out, &i) in out.iter_mut().zip(idx) {
        *out = src[i as usize];
    }
}

/// `out = src[idx, :]`, rows of `width` elements
pub fn take_rows<T: Copy>(src: &[T], width: usize, idx: &[u32], out: &mut [T]) {
    for (out, &i) in out.chunks_exact_mut(width).zip(idx) {
        out.copy_from_slice(&src[i as usize * width..][..width]);
    }
}

/// `out = src[:, idx]`, rows of `width` elements
pub fn take_columns<T: Copy>(src: &[T], width: usize, idx: &[u32], out: &mut [T]) {
    for (out, row) in out.chunks_exact_mut(idx.len()).zip(src.chunks_exact(width)) {
        take::<T, 0>(row, idx, out);
    }
}

/// `out = src[range(rows), labels]`
pub fn pick<T: Copy>(src: &[T], width: usize, labels: &[u32], out: &mut [T]) {
    for ((out, row), &y) in out.iter_mut().zip(src.chunks_exact(width)).zip(labels) {
        *out = row[y as usize];
    }
}

/// `dst[idx] += src`, for every index as often as it comes
pub fn scatter_add<T: Element>(dst: &mut [T], idx: &[u32], src: &[T]) {
    for (&i, &x) in idx.iter().zip(src) {
        dst[i as usize] += x;
    }
}

/// `dst[idx, :] += src`, rows of `width` elements
pub fn scatter_add_rows<T: Element>(dst: &mut [T], width: usize, idx: &[u32], src: &[T]) {
    for (&i, src) in idx.iter().zip(src.chunks_exact(width)) {
        for (dst, &x) in dst[i as usize * width..][..width].iter_mut().zip(src) {
            *dst += x;
        }
    }
}

/// `where(x > threshold)[0]`
#[inline(never)]
pub fn indices_above<T: Element, const COPY: usize>(x: &[T], threshold: T, out: &mut Vec<u32>) {
    black_box(COPY);
    out.clear();
    out.extend(x.iter().enumerate().filter(|&(_, &x)| x > threshold).map(|(i, _)| i as u32));
}

/// `x[x > threshold]`
#[inline(never)]
pub fn values_above<T: Element, const COPY: usize>(x: &[T], threshold: T, out: &mut Vec<T>) {
    black_box(COPY);
    out.clear();
    out.extend(x.iter().copied().filter(|&x| x > threshold));
}

/// `p = softmax(x); p[range(m), y] -= 1; p /= m`, and the mean loss
pub fn softmax_xent<T: Element>(logits: &[T], classes: usize, labels: &[u32], grad: &mut [T]) -> T {
    let rows = T::from(labels.len()).expect("a float");
    let mut loss = T::zero();
    for ((x, grad), &y) in logits.chunks_exact(classes).zip(grad.chunks_exact_mut(classes)).zip(labels) {
        let max = x.iter().copied().fold(T::neg_infinity(), T::max);
        for (grad, &x) in grad.iter_mut().zip(x) {
            *grad = (x - max).exp();
        }
        let sum: T = grad.iter().copied().sum();
        grad.iter_mut().for_each(|p| *p = *p / sum / rows);
        grad[y as usize] = grad[y as usize] - rows.recip();
        loss += sum.ln() - (x[y as usize] - max);
    }
    loss / rows
}

/// The same with label smoothing and a z-loss: `q = (1 - smoothing) * onehot(y) + smoothing / classes`, the loss
/// `mean(lse - sum(q * x) + z_loss * lse**2)`
pub fn smoothed_xent<T: Element>(
    logits: &[T],
    classes: usize,
    labels: &[u32],
    smoothing: T,
    z_loss: T,
    grad: &mut [T],
) -> T {
    let number = |n: usize| T::from(n).expect("a float");
    let (rows, one, two) = (number(labels.len()), T::one(), T::one() + T::one());
    let each = smoothing / number(classes);
    let mut loss = T::zero();
    for ((x, grad), &y) in logits.chunks_exact(classes).zip(grad.chunks_exact_mut(classes)).zip(labels) {
        let max = x.iter().copied().fold(T::neg_infinity(), T::max);
        for (grad, &x) in grad.iter_mut().zip(x) {
            *grad = (x - max).exp();
        }
        let sum: T = grad.iter().copied().sum();
        let lse = max + sum.ln();
        let factor = (one + two * z_loss * lse) / sum;
        grad.iter_mut().for_each(|p| *p = (*p * factor - each) / rows);
        grad[y as usize] = grad[y as usize] - (one - smoothing) / rows;
        let all: T = x.iter().copied().sum();
        loss += lse - (one - smoothing) * x[y as usize] - each * all + z_loss * lse * lse;
    }
    loss / rows
}

/// `i = where(x > threshold)[0]; i, x[i]`
#[inline(never)]
pub fn pairs_above<T: Element, const COPY: usize>(
    x: &[T],
    threshold: T,
    indices: &mut Vec<u32>,
    values: &mut Vec<T>,
) {
    black_box(COPY);
    indices.clear();
    values.clear();
    for (i, &x) in x.iter().enumerate() {
        if x > threshold {
            indices.push(i as u32);
            values.push(x);
        }
    }
}

/// `residual += grad`, and what is above the threshold then goes out and leaves zero
pub fn sparsify_with<T: Element>(
    grad: &[T],
    residual: &mut [T],
    threshold: T,
    indices: &mut Vec<u32>,
    values: &mut Vec<T>,
) {
    indices.clear();
    values.clear();
    for (i, (residual, &grad)) in residual.iter_mut().zip(grad).enumerate() {
        *residual += grad;
        if *residual > threshold {
            indices.push(i as u32);
            values.push(*residual);
            *residual = T::zero();
        }
    }
}

/// `sort(abs(x))[-k]`, without sorting all of it
pub fn top_k_threshold<T: Element>(x: &[T], k: usize, magnitudes: &mut Vec<T>) {
    magnitudes.clear();
    magnitudes.extend(x.iter().map(|x| num_traits::Float::abs(*x)));
    magnitudes.select_nth_unstable_by(k - 1, |a, b| b.partial_cmp(a).expect("no NaN"));
    magnitudes.swap(0, k - 1);
    magnitudes.truncate(1);
}
