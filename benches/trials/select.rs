//! Selections.

use super::{Draw, Drawn, SLICES, Trial, VIEWS, copy_of, number, one_in, signed, size};
use crate::common::data::Element;
use gradix::{AbsGt, Between, Gt, View, select};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;

pub const OPERATIONS: &[(&str, Draw)] = &[
    ("indices", |rng, most| drawn(Form::Indices, rng, most)),
    ("values", |rng, most| drawn(Form::Values, rng, most)),
    ("pairs", |rng, most| drawn(Form::Pairs, rng, most)),
    ("count", |rng, most| drawn(Form::Count, rng, most)),
    ("mask", |rng, most| drawn(Form::Mask, rng, most)),
    ("sparsify_with", |rng, most| drawn(Form::SparsifyWith, rng, most)),
    ("compress", |rng, most| drawn(Form::Compress, rng, most)),
    ("compress_indices", |rng, most| drawn(Form::CompressIndices, rng, most)),
    ("top_k_threshold", |rng, most| drawn(Form::TopKThreshold, rng, most)),
    ("top_k", |rng, most| drawn(Form::TopK, rng, most)),
];

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Indices,
    Values,
    Pairs,
    Count,
    Mask,
    SparsifyWith,
    Compress,
    CompressIndices,
    TopKThreshold,
    TopK,
}

/// A predicate, as a loop says it and as the library does.
trait Test<T>: Copy + Send {
    type Predicate: gradix::Predicate<T>
    where
        T: gradix::Float;
    fn holds(self, x: T) -> bool;
    fn predicate(self) -> Self::Predicate
    where
        T: gradix::Float;
}

#[derive(Clone, Copy)]
struct Above<T>(T);
#[derive(Clone, Copy)]
struct Large<T>(T);
#[derive(Clone, Copy)]
struct Within<T>(T, T);

impl<T: Element> Test<T> for Above<T> {
    type Predicate = Gt<T>;
    #[inline(always)]
    fn holds(self, x: T) -> bool {
        x > self.0
    }
    fn predicate(self) -> Gt<T> {
        Gt(self.0)
    }
}

impl<T: Element> Test<T> for Large<T> {
    type Predicate = AbsGt<T>;
    #[inline(always)]
    fn holds(self, x: T) -> bool {
        num_traits::Float::abs(x) > self.0
    }
    fn predicate(self) -> AbsGt<T> {
        AbsGt(self.0)
    }
}

impl<T: Element> Test<T> for Within<T> {
    type Predicate = Between<T>;
    #[inline(always)]
    fn holds(self, x: T) -> bool {
        self.0 <= x && x <= self.1
    }
    fn predicate(self) -> Between<T> {
        Between(self.0, self.1)
    }
}

/// The types of selected indices.
trait Place: gradix::Position {
    const LABEL: &'static str;
    fn new(n: usize) -> Self;
}

macro_rules! place {
    ($($t:ident)*) => {$(
        impl Place for $t {
            const LABEL: &'static str = stringify!($t);
            #[inline(always)]
            fn new(n: usize) -> Self {
                n as $t
            }
        }
    )*};
}
place!(u32 u64 usize);

struct Select<T, I, P> {
    form: Form,
    /// Every so many elements of `x` is looked at.
    stride: usize,
    x: Vec<T>,
    test: P,
    k: usize,
    residual: Vec<T>,
    mask: Vec<bool>,
    /// The library's answer, and how much of it there is.
    indices: Vec<I>,
    values: Vec<T>,
    hits: usize,
    /// The loop's.
    pushed_indices: Vec<I>,
    pushed_values: Vec<T>,
}

fn drawn(form: Form, rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    match rng.random_range(0..4) {
        0 => of_types::<f32, u64>(form, rng, most),
        1 => of_types::<f64, usize>(form, rng, most),
        _ => of_types::<f32, u32>(form, rng, most),
    }
}

fn of_types<T: Element, I: Place>(form: Form, rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    let density = match rng.random_range(0..6) {
        0 => 0.0,
        1 => 1.0,
        2 => 0.5,
        _ => 10f64.powf(rng.random_range(-4.0..0.0)),
    };
    // Of elements that are uniform in −1..1.
    let predicate = if form == Form::SparsifyWith { 1 } else { rng.random_range(0..3) };
    match predicate {
        0 => of::<T, I, _>(form, Above(number(1.0 - 2.0 * density)), density, "Gt", rng, most),
        1 => of::<T, I, _>(form, Large(number(1.0 - density)), density, "AbsGt", rng, most),
        _ => of::<T, I, _>(
            form,
            Within(number(-density), number(density * 0.999)),
            density,
            "Between",
            rng,
            most,
        ),
    }
}

fn of<T: Element, I: Place, P: Test<T> + 'static>(
    form: Form,
    test: P,
    density: f64,
    name: &str,
    rng: &mut ChaCha8Rng,
    most: usize,
) -> Drawn {
    let len = size(rng, 1, most / (2 * size_of::<T>()));
    let stride = if one_in(rng, 5) && form != Form::SparsifyWith { rng.random_range(2..4) } else { 1 };
    let k = size(rng, 1, len);
    let mut rng = ChaCha8Rng::from_rng(rng);
    let op = OPERATIONS[form as usize].0;
    let strided = if stride > 1 { ", strided" } else { "" };
    let what = match form {
        Form::TopKThreshold => format!("{} k = {k} of {len}{strided}", T::TYPE),
        Form::TopK => format!("{} {} k = {k} of {len}{strided}", T::TYPE, I::LABEL),
        Form::Values | Form::Count | Form::Mask | Form::Compress => {
            format!("{} {name} {:.2} % of {len}{strided}", T::TYPE, 100.0 * density)
        }
        _ => format!("{} {} {name} {:.2} % of {len}{strided}", T::TYPE, I::LABEL, 100.0 * density),
    };
    Drawn {
        op,
        shape: what,
        door: if stride == 1 { SLICES } else { VIEWS },
        bytes: len * size_of::<T>() + (len as f64 * density) as usize * size_of::<T>(),
        make: Box::new(move || {
            let mut x: Vec<T> = signed(&mut rng, (len - 1) * stride + 1);
            let sparsify = form == Form::SparsifyWith;
            if sparsify {
                // Then a call leaves the residual as it was, and the next finds the same hits.
                x.iter_mut().filter(|x| !test.holds(**x)).for_each(|x| *x = T::zero());
            }
            let room = |has: bool| if has { len } else { 0 };
            use Form::{Compress, CompressIndices, Indices, Mask, Pairs, TopK, TopKThreshold, Values};
            let with_indices =
                room(matches!(form, Indices | Pairs | Form::SparsifyWith | CompressIndices | TopK));
            let with_values = room(matches!(form, Values | Pairs | Form::SparsifyWith | Compress | TopK));
            let for_loop = with_values.max(room(form == TopKThreshold));
            let mask = match form {
                Compress | CompressIndices => x.iter().step_by(stride).map(|&x| test.holds(x)).collect(),
                _ => vec![false; room(form == Mask)],
            };
            Box::new(Select {
                form,
                stride,
                test,
                k,
                residual: vec![T::zero(); room(sparsify)],
                mask,
                indices: vec![I::default(); with_indices],
                values: vec![T::zero(); with_values.max(1)],
                hits: 0,
                pushed_indices: Vec::with_capacity(with_indices),
                pushed_values: Vec::with_capacity(for_loop),
                x,
            })
        }),
    }
}

impl<T: Element, I: Place, P: Test<T>> Select<T, I, P> {
    fn view(&self) -> View<'_, T> {
        let len = self.x.len().div_ceil(self.stride);
        View::strided(&self.x, &[len], &[self.stride as isize], 0).expect("within")
    }
}

impl<T: Element, I: Place, P: Test<T>> Trial for Select<T, I, P> {
    fn gradix(&mut self) {
        let strided = self.stride > 1;
        let mut indices = std::mem::take(&mut self.indices);
        let mut values = std::mem::take(&mut self.values);
        let mut mask = std::mem::take(&mut self.mask);
        let (p, k) = (self.test.predicate(), self.k);
        let (i, v, m) = (&mut indices[..], &mut values[..], &mut mask[..]);
        let hits = match self.form {
            Form::Indices if strided => select::indices_into(self.view(), p, i),
            Form::Indices => select::indices_into(&self.x, p, i),
            Form::Values if strided => select::values_into(self.view(), p, v),
            Form::Values => select::values_into(&self.x, p, v),
            Form::Pairs if strided => select::pairs_into(self.view(), p, i, v),
            Form::Pairs => select::pairs_into(&self.x, p, i, v),
            Form::Count if strided => select::count(self.view(), p),
            Form::Count => select::count(&self.x, p),
            Form::Mask if strided => select::mask_into(self.view(), p, m),
            Form::Mask => select::mask_into(&self.x, p, m),
            Form::SparsifyWith => select::sparsify_with_into(&self.x, &mut self.residual, p, i, v),
            Form::Compress if strided => select::compress_into(self.view(), &*m, v),
            Form::Compress => select::compress_into(&self.x, &*m, v),
            Form::CompressIndices => select::compress_indices_into(&*m, i),
            Form::TopK if strided => select::top_k_into(self.view(), k, i, v),
            Form::TopK => select::top_k_into(&self.x, k, i, v),
            Form::TopKThreshold => {
                let threshold = match strided {
                    true => select::top_k_threshold(self.view(), k),
                    false => select::top_k_threshold(&self.x, k),
                };
                threshold.map(|t| {
                    v[0] = t;
                    1
                })
            }
        };
        self.hits = hits.expect("room for all");
        (self.indices, self.values, self.mask) = (indices, values, mask);
        black_box((&mut self.indices, &mut self.values, &mut self.mask));
    }

    fn plain(&mut self, copy: usize) {
        let Select { form, stride, x, test, k, residual, mask, pushed_indices, pushed_values, .. } = self;
        let (stride, test, i, v) = (*stride, *test, pushed_indices, pushed_values);
        match form {
            Form::Indices => copy_of!(copy, indices::<T, I, P>(x, stride, test, i)),
            Form::Values => copy_of!(copy, values::<T, P>(x, stride, test, v)),
            Form::Pairs => copy_of!(copy, pairs::<T, I, P>(x, stride, test, i, v)),
            Form::Count => self.hits = copy_of!(copy, count::<T, P>(x, stride, test)),
            Form::Mask => copy_of!(copy, mask_of::<T, P>(x, stride, test, mask)),
            Form::SparsifyWith => copy_of!(copy, sparsify_with::<T, I, P>(x, residual, test, i, v)),
            Form::Compress => copy_of!(copy, compress::<T>(x, stride, mask, v)),
            Form::CompressIndices => copy_of!(copy, compress_indices::<I>(mask, i)),
            Form::TopKThreshold => kth_largest(x, stride, *k, v),
            Form::TopK => k_largest(x, stride, *k, i, v),
        }
        black_box((i, v, mask, self.hits));
    }

    fn agrees(&mut self) -> bool {
        self.gradix();
        let (hits, ours) = (self.hits, self.mask.clone());
        if self.form == Form::Mask {
            self.mask.fill(false);
        }
        self.plain(0);
        match self.form {
            Form::Count => self.hits == hits,
            Form::Mask => self.mask == ours,
            Form::TopKThreshold => self.values[0] == self.pushed_values[0],
            _ => {
                (self.indices.is_empty() || self.indices[..hits] == self.pushed_indices)
                    && (matches!(self.form, Form::Indices | Form::CompressIndices)
                        || self.values[..hits] == self.pushed_values)
            }
        }
    }
}

/// Every so many elements. A loop over a slice has no `step_by`.
macro_rules! each {
    ($x:ident, $stride:ident, $body:expr) => {
        if $stride == 1 {
            $x.iter().copied().for_each($body)
        } else {
            $x.iter().copied().step_by($stride).for_each($body)
        }
    };
}

#[inline(never)]
fn indices<T: Element, I: Place, P: Test<T>, const COPY: usize>(
    x: &[T],
    stride: usize,
    test: P,
    out: &mut Vec<I>,
) {
    black_box(COPY);
    out.clear();
    let mut at = 0;
    each!(x, stride, |x| {
        if test.holds(x) {
            out.push(I::new(at));
        }
        at += 1;
    });
}

#[inline(never)]
fn values<T: Element, P: Test<T>, const COPY: usize>(x: &[T], stride: usize, test: P, out: &mut Vec<T>) {
    black_box(COPY);
    out.clear();
    each!(x, stride, |x| {
        if test.holds(x) {
            out.push(x);
        }
    });
}

#[inline(never)]
fn pairs<T: Element, I: Place, P: Test<T>, const COPY: usize>(
    x: &[T],
    stride: usize,
    test: P,
    indices: &mut Vec<I>,
    values: &mut Vec<T>,
) {
    black_box(COPY);
    indices.clear();
    values.clear();
    let mut at = 0;
    each!(x, stride, |x| {
        if test.holds(x) {
            indices.push(I::new(at));
            values.push(x);
        }
        at += 1;
    });
}

#[inline(never)]
fn count<T: Element, P: Test<T>, const COPY: usize>(x: &[T], stride: usize, test: P) -> usize {
    black_box(COPY);
    let mut hits = 0;
    each!(x, stride, |x| hits += usize::from(test.holds(x)));
    hits
}

#[inline(never)]
fn mask_of<T: Element, P: Test<T>, const COPY: usize>(x: &[T], stride: usize, test: P, out: &mut [bool]) {
    black_box(COPY);
    if stride == 1 {
        out.iter_mut().zip(x).for_each(|(out, &x)| *out = test.holds(x));
    } else {
        out.iter_mut().zip(x.iter().step_by(stride)).for_each(|(out, &x)| *out = test.holds(x));
    }
}

#[inline(never)]
fn sparsify_with<T: Element, I: Place, P: Test<T>, const COPY: usize>(
    grad: &[T],
    residual: &mut [T],
    test: P,
    indices: &mut Vec<I>,
    values: &mut Vec<T>,
) {
    black_box(COPY);
    indices.clear();
    values.clear();
    for (i, (residual, &grad)) in residual.iter_mut().zip(grad).enumerate() {
        *residual += grad;
        if test.holds(*residual) {
            indices.push(I::new(i));
            values.push(*residual);
            *residual = T::zero();
        }
    }
}

#[inline(never)]
fn compress<T: Element, const COPY: usize>(x: &[T], stride: usize, mask: &[bool], out: &mut Vec<T>) {
    black_box(COPY);
    out.clear();
    if stride == 1 {
        out.extend(x.iter().zip(mask).filter(|(_, keep)| **keep).map(|(&x, _)| x));
    } else {
        out.extend(x.iter().step_by(stride).zip(mask).filter(|(_, keep)| **keep).map(|(&x, _)| x));
    }
}

#[inline(never)]
fn compress_indices<I: Place, const COPY: usize>(mask: &[bool], out: &mut Vec<I>) {
    black_box(COPY);
    out.clear();
    out.extend(mask.iter().enumerate().filter(|(_, keep)| **keep).map(|(i, _)| I::new(i)));
}

/// The positions by the standard library's selection, in ascending order, and what is there.
fn k_largest<T: Element, I: Place>(
    x: &[T],
    stride: usize,
    k: usize,
    indices: &mut Vec<I>,
    values: &mut Vec<T>,
) {
    let magnitude = |i: &u32| num_traits::Float::abs(x[*i as usize * stride]);
    let mut order: Vec<u32> = (0..x.len().div_ceil(stride) as u32).collect();
    order.select_nth_unstable_by(k - 1, |a, b| {
        magnitude(b).partial_cmp(&magnitude(a)).expect("no NaN").then(a.cmp(b))
    });
    order.truncate(k);
    order.sort_unstable();
    indices.clear();
    values.clear();
    indices.extend(order.iter().map(|&i| I::new(i as usize)));
    values.extend(order.iter().map(|&i| x[i as usize * stride]));
}

/// By the standard library's selection; there is one copy of it.
fn kth_largest<T: Element>(x: &[T], stride: usize, k: usize, magnitudes: &mut Vec<T>) {
    magnitudes.clear();
    magnitudes.extend(x.iter().step_by(stride).map(|&x| num_traits::Float::abs(x)));
    magnitudes.select_nth_unstable_by(k - 1, |a, b| b.partial_cmp(a).expect("no NaN"));
    magnitudes.swap(0, k - 1);
}
