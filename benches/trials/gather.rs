//! Gathers.

use super::{Axes, Draw, Drawn, Idx, SLICES, Trial, VIEWS, as_written, copy_of, one_in, size};
use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;

/// What is gathered: any plain type.
trait Element: gradix::Element + PartialEq {
    const TYPE: &'static str;
    fn draw(rng: &mut ChaCha8Rng) -> Self;
}

macro_rules! elements {
    ($($t:ident)*) => {$(
        impl Element for $t {
            const TYPE: &'static str = stringify!($t);
            fn draw(rng: &mut ChaCha8Rng) -> Self {
                rng.random_range(0..100u8) as $t
            }
        }
    )*};
}
elements!(u8 i16 f32 f64 u128);

/// Calls `$f::<element, index>($arguments)` with types that are drawn: each index type with `f32`, each width of element.
macro_rules! drawn_types {
    ($rng:expr, $f:ident($($argument:expr),*)) => {
        match rand::RngExt::random_range(&mut *$rng, 0..12) {
            0 => $f::<f32, u8>($($argument),*),
            1 => $f::<f32, u16>($($argument),*),
            2 => $f::<f32, u32>($($argument),*),
            3 => $f::<f32, u64>($($argument),*),
            4 => $f::<f32, usize>($($argument),*),
            5 => $f::<f32, i32>($($argument),*),
            6 => $f::<f32, i64>($($argument),*),
            7 => $f::<f64, u32>($($argument),*),
            8 => $f::<f64, i64>($($argument),*),
            9 => $f::<u8, u32>($($argument),*),
            10 => $f::<i16, i64>($($argument),*),
            _ => $f::<u128, usize>($($argument),*),
        }
    };
}

pub const OPERATIONS: &[(&str, Draw)] = &[
    ("take", |rng, most| drawn_types!(rng, take_of(rng, most))),
    ("take_axis, rows", |rng, most| drawn_types!(rng, rows(rng, most))),
    ("take_axis, columns", |rng, most| drawn_types!(rng, columns(rng, most))),
    ("take_axis, inner axis", |rng, most| drawn_types!(rng, inner_axis(rng, most))),
    ("take_along_axis", |rng, most| drawn_types!(rng, along(rng, most))),
    ("take, modes", |rng, most| drawn_types!(rng, modes(rng, most))),
    ("pick", |rng, most| drawn_types!(rng, pick(rng, most))),
];

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Take,
    Axis,
    Along,
    Pick,
    /// Out of bounds: a value instead, the remainder, or the nearest end.
    Fill,
    Wrap,
    Clip,
}

struct Gather<T, I> {
    form: Form,
    from: Axes,
    to: Axes,
    src: Vec<T>,
    idx: Vec<I>,
    out: Vec<T>,
}

fn take_of<T: Element, I: Idx>(rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    let count = size(rng, 1, most / (2 * size_of::<T>() + size_of::<I>()));
    let len = size(rng, 1, (most / size_of::<T>()).min(I::MOST));
    let mut from = Axes::draw(rng, [1, len, 1]);
    if from.layout != "every other element" {
        from = from.with_axis(len);
    }
    drawn::<T, I>("take", Form::Take, from, count, rng)
}

fn rows<T: Element, I: Idx>(rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    let width = size(rng, 1, 1024);
    let count = size(rng, 1, most / (2 * width * size_of::<T>()));
    let table = size(rng, 1, (most / (width * size_of::<T>())).min(I::MOST));
    let from = Axes::draw(rng, [1, table, width]);
    drawn::<T, I>("take_axis, rows", Form::Axis, from, count, rng)
}

fn columns<T: Element, I: Idx>(rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    let width = size(rng, 2, 4096.min(I::MOST));
    let rows = size(rng, 2, most / (width * size_of::<T>()));
    let count = size(rng, 1, width);
    let from = Axes::draw(rng, [rows, width, 1]);
    drawn::<T, I>("take_axis, columns", Form::Axis, from, count, rng)
}

fn inner_axis<T: Element, I: Idx>(rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    let (axis, width) = (size(rng, 1, 256), size(rng, 2, 128));
    let outer = size(rng, 2, most / (axis * width * size_of::<T>()));
    let count = size(rng, 1, axis);
    let from = Axes::draw(rng, [outer, axis, width]);
    drawn::<T, I>("take_axis, inner axis", Form::Axis, from, count, rng)
}

fn along<T: Element, I: Idx>(rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    let axis = size(rng, 2, 1024.min(I::MOST));
    let inner = if one_in(rng, 2) { 1 } else { size(rng, 2, 256) };
    let outer = size(rng, 1, most / (axis * inner * 2 * size_of::<T>()));
    let count = size(rng, 1, axis);
    let from = Axes::draw(rng, [outer, axis, inner]);
    drawn::<T, I>("take_along_axis", Form::Along, from, count, rng)
}

fn pick<T: Element, I: Idx>(rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    let classes = size(rng, 2, 4096.min(I::MOST));
    let rows = size(rng, 2, most / (classes * size_of::<T>()));
    let from = Axes::draw(rng, [rows, classes, 1]);
    drawn::<T, I>("pick", Form::Pick, from, 1, rng)
}

fn modes<T: Element, I: Idx>(rng: &mut ChaCha8Rng, most: usize) -> Drawn {
    let count = size(rng, 1, most / (2 * size_of::<T>() + size_of::<I>()));
    let len = size(rng, 1, (most / size_of::<T>()).min(I::MOST));
    let from = Axes { shape: [1, len, 1], strides: [len, 1, 1], layout: "" };
    let form = [Form::Fill, Form::Wrap, Form::Clip][rng.random_range(0..3)];
    drawn::<T, I>("take, modes", form, from, count, rng)
}

fn drawn<T: Element, I: Idx>(
    op: &'static str,
    form: Form,
    from: Axes,
    count: usize,
    rng: &mut ChaCha8Rng,
) -> Drawn {
    let to = from.with_axis(count);
    let indices = if matches!(form, Form::Along | Form::Pick) { to.len() } else { count };
    let mut rng = ChaCha8Rng::from_rng(rng);
    let (element, index) = (T::TYPE, I::LABEL);
    let of = match form {
        Form::Take => format!("{count} of {}{}{}", from.shape[1], from.comma(), from.layout),
        Form::Fill => format!("{count} of {}, fill", from.shape[1]),
        Form::Wrap => format!("{count} of {}, wrap", from.shape[1]),
        Form::Clip => format!("{count} of {}, clip", from.shape[1]),
        Form::Pick => format!("of {from}"),
        _ => format!("{count} of {from}"),
    };
    Drawn {
        op,
        shape: format!("{element} {index} {of}"),
        door: match form {
            Form::Axis | Form::Along | Form::Pick => VIEWS,
            _ if from.is_contiguous() => SLICES,
            _ => VIEWS,
        },
        bytes: (from.extent() + to.len()) * size_of::<T>() + indices * size_of::<I>(),
        make: Box::new(move || {
            let src = (0..from.extent()).map(|_| T::draw(&mut rng)).collect();
            // With a mode, one index in eight or so is out of bounds.
            let outside =
                if matches!(form, Form::Fill | Form::Wrap | Form::Clip) { from.shape[1] / 8 } else { 0 };
            let idx = I::list(&mut rng, indices, (from.shape[1] + outside).min(I::MOST));
            Box::new(Gather::<T, I> { form, from, to, src, idx, out: vec![T::default(); to.len()] })
        }),
    }
}

impl<T: Element, I: Idx> Trial for Gather<T, I> {
    fn gradix(&mut self) {
        let Gather { form, from, to, src, idx, out } = self;
        match form {
            Form::Take if from.is_contiguous() => gradix::take_into(&src[..], &idx[..], &mut out[..]),
            Form::Take => {
                let stride = from.strides[1] as isize;
                let view = gradix::View::strided(src, &[from.shape[1]], &[stride], 0).expect("within");
                gradix::take_into(view, &idx[..], &mut out[..])
            }
            Form::Axis => as_written!(from, S, E, DENSE => {
                let (src, out) = (from.view_as::<T, S, E, DENSE>(src), to.view_mut_as::<T, S, E, true>(out));
                gradix::take_axis_into(src, 1 - S as isize, &idx[..], out)
            }),
            Form::Along => {
                as_written!(from, S, E, DENSE => {
                    let (src, idx) = (from.view_as::<T, S, E, DENSE>(src), to.view_as::<I, S, E, true>(idx));
                    gradix::take_along_axis_into(src, 1 - S as isize, idx, to.view_mut_as::<T, S, E, true>(out))
                })
            }
            Form::Pick => as_written!(from, S, E, DENSE => {
                gradix::pick_into(from.view_as::<T, S, E, DENSE>(src), &idx[..], &mut out[..])
            }),
            Form::Fill => gradix::take_into(&src[..], gradix::Fill(&idx[..], T::default()), &mut out[..]),
            Form::Wrap => gradix::take_into(&src[..], gradix::Wrap(&idx[..]), &mut out[..]),
            Form::Clip => gradix::take_into(&src[..], gradix::Clip(&idx[..]), &mut out[..]),
        }
        .expect("indices in bounds");
        black_box(out);
    }

    fn plain(&mut self, copy: usize) {
        let Gather { form, from, src, idx, out, .. } = self;
        let [_, axis, inner] = from.shape;
        match form {
            Form::Take | Form::Axis if !from.is_contiguous() => {
                copy_of!(copy, take_strided::<T, I>(src, from, idx, out))
            }
            Form::Along | Form::Pick if !from.is_contiguous() => {
                copy_of!(copy, along_strided::<T, I>(src, from, idx, out))
            }
            Form::Take => copy_of!(copy, take::<T, I>(src, idx, out)),
            Form::Axis if inner == 1 => copy_of!(copy, take_columns::<T, I>(src, axis, idx, out)),
            Form::Axis => copy_of!(copy, take_rows::<T, I>(src, [axis, inner], idx, out)),
            Form::Along if inner == 1 => copy_of!(copy, along_last::<T, I>(src, axis, idx, out)),
            Form::Along => copy_of!(copy, along_any::<T, I>(src, [axis, inner], idx, out)),
            Form::Pick => copy_of!(copy, pick_each::<T, I>(src, axis, idx, out)),
            Form::Fill => copy_of!(copy, take_filled::<T, I>(src, idx, out)),
            Form::Wrap => copy_of!(copy, take_wrapped::<T, I>(src, idx, out)),
            Form::Clip => copy_of!(copy, take_clipped::<T, I>(src, idx, out)),
        }
        black_box(out);
    }

    fn agrees(&mut self) -> bool {
        self.out.fill(T::default());
        self.gradix();
        let ours = self.out.clone();
        self.out.fill(T::default());
        self.plain(0);
        ours == self.out
    }
}

#[inline(never)]
fn take<T: Element, I: Idx, const COPY: usize>(src: &[T], idx: &[I], out: &mut [T]) {
    black_box(COPY);
    for (out, i) in out.iter_mut().zip(idx) {
        *out = src[i.at()];
    }
}

#[inline(never)]
fn take_filled<T: Element, I: Idx, const COPY: usize>(src: &[T], idx: &[I], out: &mut [T]) {
    black_box(COPY);
    for (out, i) in out.iter_mut().zip(idx) {
        *out = src.get(i.at()).copied().unwrap_or_default();
    }
}

#[inline(never)]
fn take_wrapped<T: Element, I: Idx, const COPY: usize>(src: &[T], idx: &[I], out: &mut [T]) {
    black_box(COPY);
    for (out, i) in out.iter_mut().zip(idx) {
        *out = src[i.at() % src.len()];
    }
}

#[inline(never)]
fn take_clipped<T: Element, I: Idx, const COPY: usize>(src: &[T], idx: &[I], out: &mut [T]) {
    black_box(COPY);
    for (out, i) in out.iter_mut().zip(idx) {
        *out = src[i.at().min(src.len() - 1)];
    }
}

#[inline(never)]
fn take_rows<T: Element, I: Idx, const COPY: usize>(
    src: &[T],
    [axis, inner]: [usize; 2],
    idx: &[I],
    out: &mut [T],
) {
    black_box(COPY);
    for (src, out) in src.chunks_exact(axis * inner).zip(out.chunks_exact_mut(idx.len() * inner)) {
        for (out, i) in out.chunks_exact_mut(inner).zip(idx) {
            let row = &src[i.at() * inner..][..inner];
            if COPY < 2 {
                out.copy_from_slice(row);
            } else {
                out.iter_mut().zip(row).for_each(|(out, &x)| *out = x);
            }
        }
    }
}

#[inline(never)]
fn take_columns<T: Element, I: Idx, const COPY: usize>(src: &[T], axis: usize, idx: &[I], out: &mut [T]) {
    black_box(COPY);
    for (row, out) in src.chunks_exact(axis).zip(out.chunks_exact_mut(idx.len())) {
        for (out, i) in out.iter_mut().zip(idx) {
            *out = row[i.at()];
        }
    }
}

#[inline(never)]
fn along_last<T: Element, I: Idx, const COPY: usize>(src: &[T], axis: usize, idx: &[I], out: &mut [T]) {
    black_box(COPY);
    let count = out.len() / (src.len() / axis);
    for ((row, idx), out) in
        src.chunks_exact(axis).zip(idx.chunks_exact(count)).zip(out.chunks_exact_mut(count))
    {
        for (out, i) in out.iter_mut().zip(idx) {
            *out = row[i.at()];
        }
    }
}

#[inline(never)]
fn along_any<T: Element, I: Idx, const COPY: usize>(
    src: &[T],
    [axis, inner]: [usize; 2],
    idx: &[I],
    out: &mut [T],
) {
    black_box(COPY);
    let blocks = src.chunks_exact(axis * inner);
    let each = out.len() / blocks.len();
    for ((src, idx), out) in blocks.zip(idx.chunks_exact(each)).zip(out.chunks_exact_mut(each)) {
        for (idx, out) in idx.chunks_exact(inner).zip(out.chunks_exact_mut(inner)) {
            for (k, (out, i)) in out.iter_mut().zip(idx).enumerate() {
                *out = src[i.at() * inner + k];
            }
        }
    }
}

#[inline(never)]
fn pick_each<T: Element, I: Idx, const COPY: usize>(src: &[T], classes: usize, labels: &[I], out: &mut [T]) {
    black_box(COPY);
    for ((out, row), y) in out.iter_mut().zip(src.chunks_exact(classes)).zip(labels) {
        *out = row[y.at()];
    }
}

#[inline(never)]
fn take_strided<T: Element, I: Idx, const COPY: usize>(src: &[T], from: &Axes, idx: &[I], out: &mut [T]) {
    black_box(COPY);
    let ([_, _, inner], [s0, s1, s2]) = (from.shape, from.strides);
    for (o, out) in out.chunks_exact_mut(idx.len() * inner).enumerate() {
        for (out, i) in out.chunks_exact_mut(inner).zip(idx) {
            let row = &src[o * s0 + i.at() * s1..];
            for (k, out) in out.iter_mut().enumerate() {
                *out = row[k * s2];
            }
        }
    }
}

#[inline(never)]
fn along_strided<T: Element, I: Idx, const COPY: usize>(src: &[T], from: &Axes, idx: &[I], out: &mut [T]) {
    black_box(COPY);
    let ([outer, _, inner], [s0, s1, s2]) = (from.shape, from.strides);
    let each = out.len() / outer;
    for (o, (idx, out)) in idx.chunks_exact(each).zip(out.chunks_exact_mut(each)).enumerate() {
        for (idx, out) in idx.chunks_exact(inner).zip(out.chunks_exact_mut(inner)) {
            for (k, (out, i)) in out.iter_mut().zip(idx).enumerate() {
                *out = src[o * s0 + i.at() * s1 + k * s2];
            }
        }
    }
}
