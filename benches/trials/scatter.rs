//! Scatters.

use super::{
    Axes, Draw, Drawn, Idx, SLICES, Trial, VIEWS, as_written, copy_of, drawn_types, number, one_in, signed,
    size,
};
use crate::common::data::Element;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;

pub const OPERATIONS: &[(&str, Draw)] = &[
    ("scatter_add", |rng, most| drawn_types!(rng, elements(rng, most))),
    ("scatter_add_axis, rows", |rng, most| drawn_types!(rng, rows(rng, most))),
    ("scatter_add_axis, columns", |rng, most| drawn_types!(rng, columns(rng, most))),
    ("scatter_add_along_axis", |rng, most| drawn_types!(rng, along(rng, most))),
    ("put", |rng, most| drawn_types!(rng, put(rng, most))),
    ("put_axis, rows", |rng, most| drawn_types!(rng, put_rows(rng, most))),
    ("pick_add", |rng, most| drawn_types!(rng, pick(rng, most))),
];

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Elements,
    Axis,
    Along,
    Pick,
    /// What is there is replaced, the last of the duplicates winning.
    Put,
    PutAxis,
}

struct Scatter<T, I> {
    form: Form,
    to: Axes,
    from: Axes,
    dst: Vec<T>,
    idx: Vec<I>,
    src: Vec<T>,
    /// The factor of the source.
    scale: T,
}

fn elements<T: Element, I: Idx>(rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    let count = size(rng, 1, most / (2 * size_of::<T>() + size_of::<I>()));
    let len = size(rng, 1, (most / size_of::<T>()).min(I::MOST));
    let to = Axes::draw(rng, [1, len, 1]).with_axis(len);
    drawn::<T, I>("scatter_add", Form::Elements, to, count, rng)
}

fn rows<T: Element, I: Idx>(rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    let width = size(rng, 1, 1024);
    let count = size(rng, 1, most / (2 * width * size_of::<T>()));
    let table = size(rng, 1, (most / (width * size_of::<T>())).min(I::MOST));
    let to = Axes::draw(rng, [1, table, width]);
    drawn::<T, I>("scatter_add_axis, rows", Form::Axis, to, count, rng)
}

fn columns<T: Element, I: Idx>(rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    let width = size(rng, 2, 4096.min(I::MOST));
    let rows = size(rng, 2, most / (width * size_of::<T>()));
    let count = size(rng, 1, width);
    let to = Axes::draw(rng, [rows, width, 1]);
    drawn::<T, I>("scatter_add_axis, columns", Form::Axis, to, count, rng)
}

fn along<T: Element, I: Idx>(rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    let axis = size(rng, 2, 1024.min(I::MOST));
    let inner = if one_in(rng, 2) { 1 } else { size(rng, 2, 256) };
    let outer = size(rng, 1, most / (axis * inner * 2 * size_of::<T>()));
    let count = size(rng, 1, axis);
    let to = Axes::draw(rng, [outer, axis, inner]);
    drawn::<T, I>("scatter_add_along_axis", Form::Along, to, count, rng)
}

fn pick<T: Element, I: Idx>(rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    let classes = size(rng, 2, 4096.min(I::MOST));
    let rows = size(rng, 2, most / (classes * size_of::<T>()));
    let to = Axes::draw(rng, [rows, classes, 1]);
    drawn::<T, I>("pick_add", Form::Pick, to, 1, rng)
}

fn put<T: Element, I: Idx>(rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    let count = size(rng, 1, most / (2 * size_of::<T>() + size_of::<I>()));
    let len = size(rng, 1, (most / size_of::<T>()).min(I::MOST));
    let to = Axes::draw(rng, [1, len, 1]).with_axis(len);
    drawn::<T, I>("put", Form::Put, to, count, rng)
}

fn put_rows<T: Element, I: Idx>(rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    let width = size(rng, 1, 1024);
    let count = size(rng, 1, most / (2 * width * size_of::<T>()));
    let table = size(rng, 1, (most / (width * size_of::<T>())).min(I::MOST));
    let to = Axes::draw(rng, [1, table, width]);
    drawn::<T, I>("put_axis, rows", Form::PutAxis, to, count, rng)
}

fn drawn<T: Element, I: Idx>(
    op: &'static str,
    form: Form,
    to: Axes,
    count: usize,
    rng: &mut ChaCha8Rng,
) -> Drawn {
    let from = to.with_axis(count);
    let indices = if matches!(form, Form::Along | Form::Pick) { from.len() } else { count };
    let is_put = matches!(form, Form::Put | Form::PutAxis);
    let scale = if one_in(rng, 3) && !is_put { -0.5 } else { 1.0 };
    let mut rng = ChaCha8Rng::from_rng(rng);
    let (element, index) = (T::TYPE, I::LABEL);
    let to_what =
        if matches!(form, Form::Elements | Form::Put) { to.shape[1].to_string() } else { to.to_string() };
    let by = if scale == 1.0 { "" } else { ", scaled" };
    Drawn {
        op,
        shape: format!("{element} {index} {count} to {to_what}{by}"),
        door: if matches!(form, Form::Elements | Form::Put) { SLICES } else { VIEWS },
        bytes: (to.extent() + from.len()) * size_of::<T>() + indices * size_of::<I>(),
        make: Box::new(move || {
            let src = signed(&mut rng, from.len());
            let idx = I::list(&mut rng, indices, to.shape[1]);
            let dst = vec![T::zero(); to.extent()];
            Box::new(Scatter::<T, I> { form, to, from, dst, idx, src, scale: number(scale) })
        }),
    }
}

impl<T: Element, I: Idx> Trial for Scatter<T, I> {
    fn gradix(&mut self) {
        let Scatter { form, to, from, dst, idx, src, scale } = self;
        let (idx, scale) = (&idx[..], *scale);
        match form {
            Form::Elements if scale == T::one() => gradix::scatter_add(&mut dst[..], idx, &src[..]),
            Form::Elements => gradix::scatter_add_scaled(&mut dst[..], idx, &src[..], scale),
            Form::Axis => as_written!(to, S, E, DENSE => {
                let (dst, src) = (to.view_mut_as::<T, S, E, DENSE>(dst), from.view_as::<T, S, E, true>(src));
                gradix::scatter_add_axis_scaled(dst, 1 - S as isize, idx, src, scale)
            }),
            Form::Along => as_written!(to, S, E, DENSE => {
                let (dst, src) = (to.view_mut_as::<T, S, E, DENSE>(dst), from.view_as::<T, S, E, true>(src));
                let idx = from.view_as::<I, S, E, true>(idx);
                gradix::scatter_add_along_axis_scaled(dst, 1 - S as isize, idx, src, scale)
            }),
            Form::Put => gradix::put(&mut dst[..], idx, &src[..]),
            Form::PutAxis => as_written!(to, S, E, DENSE => {
                let (dst, src) = (to.view_mut_as::<T, S, E, DENSE>(dst), from.view_as::<T, S, E, true>(src));
                gradix::put_axis(dst, 1 - S as isize, idx, src)
            }),
            Form::Pick => as_written!(to, S, E, DENSE => {
                let dst = to.view_mut_as::<T, S, E, DENSE>(dst);
                match scale == T::one() {
                    true => gradix::pick_add(dst, idx, number(-1.0)),
                    false => gradix::pick_add_scaled(dst, idx, &src[..], scale),
                }
            }),
        }
        .expect("indices in bounds");
        black_box(dst);
    }

    fn plain(&mut self, copy: usize) {
        let Scatter { form, to, dst, idx, src, scale, .. } = self;
        let [_, axis, inner] = to.shape;
        let scale = *scale;
        let is_one = scale == T::one();
        match form {
            Form::Pick if is_one => copy_of!(copy, pick_one::<T, I>(dst, to, idx, number(-1.0))),
            Form::Put => copy_of!(copy, put_elements::<T, I>(dst, idx, src)),
            Form::PutAxis if !to.is_contiguous() => copy_of!(copy, put_strided::<T, I>(dst, to, idx, src)),
            Form::PutAxis => copy_of!(copy, put_each_row::<T, I>(dst, inner, idx, src)),
            Form::Axis if !to.is_contiguous() => {
                copy_of!(copy, add_strided::<T, I>(dst, to, idx, src, scale))
            }
            Form::Along | Form::Pick if !to.is_contiguous() => {
                copy_of!(copy, add_along_strided::<T, I>(dst, to, idx, src, scale))
            }
            Form::Elements if is_one => copy_of!(copy, add_elements::<T, I>(dst, idx, src)),
            Form::Elements => copy_of!(copy, add_columns::<T, I>(dst, axis, idx, src, scale)),
            Form::Axis if inner == 1 => copy_of!(copy, add_columns::<T, I>(dst, axis, idx, src, scale)),
            Form::Axis if is_one => copy_of!(copy, add_rows::<T, I>(dst, [axis, inner], idx, src)),
            Form::Axis => copy_of!(copy, add_rows_scaled::<T, I>(dst, [axis, inner], idx, src, scale)),
            Form::Along | Form::Pick => {
                copy_of!(copy, add_along::<T, I>(dst, [axis, inner], idx, src, scale))
            }
        }
        black_box(dst);
    }

    fn agrees(&mut self) -> bool {
        self.dst.fill(T::zero());
        self.gradix();
        let ours = self.dst.clone();
        self.dst.fill(T::zero());
        self.plain(0);
        if self.scale == T::one() {
            return ours == self.dst;
        }
        // Scaled, the library fuses the multiplication and the addition where it can. Sums have as many terms as an index
        // has duplicates, each off by a rounding of a number below that count.
        let duplicates = number::<T>(self.idx.len() as f64 + 1.0);
        let allowed = T::epsilon() * duplicates;
        ours.iter().zip(&self.dst).all(|(&a, &b)| num_traits::Float::abs(a - b) <= allowed)
    }
}

#[inline(never)]
fn add_elements<T: Element, I: Idx, const COPY: usize>(dst: &mut [T], idx: &[I], src: &[T]) {
    black_box(COPY);
    for (i, &x) in idx.iter().zip(src) {
        dst[i.at()] += x;
    }
}

#[inline(never)]
fn put_elements<T: Element, I: Idx, const COPY: usize>(dst: &mut [T], idx: &[I], src: &[T]) {
    black_box(COPY);
    for (i, &x) in idx.iter().zip(src) {
        dst[i.at()] = x;
    }
}

#[inline(never)]
fn put_each_row<T: Element, I: Idx, const COPY: usize>(dst: &mut [T], width: usize, idx: &[I], src: &[T]) {
    black_box(COPY);
    for (src, i) in src.chunks_exact(width).zip(idx) {
        let row = &mut dst[i.at() * width..][..width];
        if COPY < 2 {
            row.copy_from_slice(src);
        } else {
            row.iter_mut().zip(src).for_each(|(dst, &x)| *dst = x);
        }
    }
}

#[inline(never)]
fn put_strided<T: Element, I: Idx, const COPY: usize>(dst: &mut [T], to: &Axes, idx: &[I], src: &[T]) {
    black_box(COPY);
    let ([_, _, width], [_, s1, s2]) = (to.shape, to.strides);
    for (src, i) in src.chunks_exact(width).zip(idx) {
        let row = &mut dst[i.at() * s1..];
        for (k, &x) in src.iter().enumerate() {
            row[k * s2] = x;
        }
    }
}

#[inline(never)]
fn add_columns<T: Element, I: Idx, const COPY: usize>(
    dst: &mut [T],
    axis: usize,
    idx: &[I],
    src: &[T],
    scale: T,
) {
    black_box(COPY);
    for (row, src) in dst.chunks_exact_mut(axis).zip(src.chunks_exact(idx.len())) {
        for (i, &x) in idx.iter().zip(src) {
            row[i.at()] += scale * x;
        }
    }
}

#[inline(never)]
fn add_rows<T: Element, I: Idx, const COPY: usize>(
    dst: &mut [T],
    [axis, inner]: [usize; 2],
    idx: &[I],
    src: &[T],
) {
    black_box(COPY);
    for (dst, src) in dst.chunks_exact_mut(axis * inner).zip(src.chunks_exact(idx.len() * inner)) {
        for (src, i) in src.chunks_exact(inner).zip(idx) {
            dst[i.at() * inner..][..inner].iter_mut().zip(src).for_each(|(dst, &x)| *dst += x);
        }
    }
}

#[inline(never)]
fn add_rows_scaled<T: Element, I: Idx, const COPY: usize>(
    dst: &mut [T],
    [axis, inner]: [usize; 2],
    idx: &[I],
    src: &[T],
    scale: T,
) {
    black_box(COPY);
    for (dst, src) in dst.chunks_exact_mut(axis * inner).zip(src.chunks_exact(idx.len() * inner)) {
        for (src, i) in src.chunks_exact(inner).zip(idx) {
            dst[i.at() * inner..][..inner].iter_mut().zip(src).for_each(|(dst, &x)| *dst += scale * x);
        }
    }
}

#[inline(never)]
fn add_along<T: Element, I: Idx, const COPY: usize>(
    dst: &mut [T],
    [axis, inner]: [usize; 2],
    idx: &[I],
    src: &[T],
    scale: T,
) {
    black_box(COPY);
    let each = src.len() / (dst.len() / (axis * inner));
    for ((dst, idx), src) in
        dst.chunks_exact_mut(axis * inner).zip(idx.chunks_exact(each)).zip(src.chunks_exact(each))
    {
        for (idx, src) in idx.chunks_exact(inner).zip(src.chunks_exact(inner)) {
            for (k, (i, &x)) in idx.iter().zip(src).enumerate() {
                dst[i.at() * inner + k] += scale * x;
            }
        }
    }
}

#[inline(never)]
fn pick_one<T: Element, I: Idx, const COPY: usize>(dst: &mut [T], to: &Axes, labels: &[I], x: T) {
    black_box(COPY);
    let [s0, s1, _] = to.strides;
    for (row, y) in labels.iter().enumerate() {
        dst[row * s0 + y.at() * s1] += x;
    }
}

#[inline(never)]
fn add_strided<T: Element, I: Idx, const COPY: usize>(
    dst: &mut [T],
    to: &Axes,
    idx: &[I],
    src: &[T],
    scale: T,
) {
    black_box(COPY);
    let ([_, _, inner], [s0, s1, s2]) = (to.shape, to.strides);
    for (o, src) in src.chunks_exact(idx.len() * inner).enumerate() {
        for (src, i) in src.chunks_exact(inner).zip(idx) {
            let row = &mut dst[o * s0 + i.at() * s1..];
            for (k, &x) in src.iter().enumerate() {
                row[k * s2] += scale * x;
            }
        }
    }
}

#[inline(never)]
fn add_along_strided<T: Element, I: Idx, const COPY: usize>(
    dst: &mut [T],
    to: &Axes,
    idx: &[I],
    src: &[T],
    scale: T,
) {
    black_box(COPY);
    let ([outer, _, inner], [s0, s1, s2]) = (to.shape, to.strides);
    let each = src.len() / outer;
    for (o, (idx, src)) in idx.chunks_exact(each).zip(src.chunks_exact(each)).enumerate() {
        for (idx, src) in idx.chunks_exact(inner).zip(src.chunks_exact(inner)) {
            for (k, (i, &x)) in idx.iter().zip(src).enumerate() {
                dst[o * s0 + i.at() * s1 + k * s2] += scale * x;
            }
        }
    }
}
