//! Gathers: the cases G1 to G8 of the comparison with other libraries.

use crate::common::data::{self, Buffer, Element};
use crate::common::{Case, Side, Work, limits, numbers, textbook};
use gradix::View;
use std::hint::black_box;

/// What is gathered from a source of rows.
#[derive(Clone, Copy)]
pub enum Form {
    /// Single elements of the flat source.
    Elements,
    /// Whole rows.
    Rows,
    /// The same columns of every row.
    Columns,
    /// One element of each row.
    Pick,
}

pub struct Gather<T> {
    pub form: Form,
    pub rows: usize,
    pub width: usize,
    pub src: Buffer<T>,
    pub idx: Buffer<u32>,
    pub out: Buffer<T>,
}

impl<T: Element> Gather<T> {
    pub fn new(form: Form, rows: usize, width: usize, count: usize) -> Self {
        let (bound, len) = match form {
            Form::Elements => (rows * width, count),
            Form::Rows => (rows, count * width),
            Form::Columns => (width, rows * count),
            Form::Pick => (width, rows),
        };
        Gather {
            form,
            rows,
            width,
            src: data::uniform(rows * width),
            idx: data::indices(count, bound),
            out: Buffer::zeros(len),
        }
    }
}

impl<T: Element> Work for Gather<T> {
    fn run(&mut self, side: Side) {
        let Gather { form, rows, width, .. } = *self;
        let (src, idx, out) = (&*self.src, &*self.idx, &mut *self.out);
        let view = View::new(src, &[rows, width]).expect("the source's shape");
        match (side, form) {
            (Side::Gradix, Form::Elements) => gradix::take_into(src, idx, &mut *out),
            (Side::Gradix, Form::Rows) => gradix::take_axis_into(view, 0, idx, whole(out, idx.len(), width)),
            (Side::Gradix, Form::Columns) => {
                gradix::take_axis_into(view, 1, idx, whole(out, rows, idx.len()))
            }
            (Side::Gradix, Form::Pick) => gradix::pick_into(view, idx, &mut *out),
            (Side::Reference, Form::Elements) => gradix::reference::take_into(src, idx, &mut *out),
            (Side::Reference, Form::Rows) => {
                gradix::reference::take_axis_into(view, 0, idx, whole(out, idx.len(), width))
            }
            (Side::Reference, Form::Columns) => {
                gradix::reference::take_axis_into(view, 1, idx, whole(out, rows, idx.len()))
            }
            (Side::Reference, Form::Pick) => gradix::reference::pick_into(view, idx, &mut *out),
            (Side::Textbook, Form::Elements) => Ok(textbook::take(src, idx, out)),
            (Side::Textbook, Form::Rows) => Ok(textbook::take_rows(src, width, idx, out)),
            (Side::Textbook, Form::Columns) => Ok(textbook::take_columns(src, width, idx, out)),
            (Side::Textbook, Form::Pick) => Ok(textbook::pick(src, width, idx, out)),
            (Side::Limit, _) => Ok(limits::copy(&src[..out.len()], out)),
        }
        .expect("indices in bounds");
        black_box(out);
    }

    fn answer(&mut self, side: Side) -> Vec<f64> {
        self.out.fill(T::zero());
        self.run(side);
        numbers(&self.out)
    }
}

fn whole<T>(out: &mut [T], rows: usize, width: usize) -> gradix::ViewMut<'_, T> {
    gradix::ViewMut::new(out, &[rows, width]).expect("the output's shape")
}

macro_rules! case {
    ($peer:literal $op:literal $shape:literal $form:ident($rows:expr, $width:expr, $count:expr) -> $out:expr) => {
        Case {
            peer: $peer,
            op: $op,
            dtype: "f32",
            shape: $shape,
            elements: $out,
            bytes: 2 * 4 * $out + 4 * $count,
            limit: "memcpy",
            make: || Box::new(Gather::<f32>::new(Form::$form, $rows, $width, $count)),
        }
    };
}

pub fn cases() -> Vec<Case> {
    vec![
        case!("G1" "take" "4096_of_8192" Elements(1, 8192, 4096) -> 4096),
        case!("G2" "take" "65536_of_131072" Elements(1, 131_072, 65_536) -> 65_536),
        case!("G3" "take" "4M_of_64M" Elements(1, 64 << 20, 4 << 20) -> 4 << 20),
        case!("G4" "take_axis" "65536_rows_of_100000x64" Rows(100_000, 64, 65_536) -> 65_536 * 64),
        case!("G5" "take_axis" "16384_rows_of_50000x512" Rows(50_000, 512, 16_384) -> 16_384 * 512),
        case!("G6" "take_axis" "1024_columns_of_4096x4096" Columns(4096, 4096, 1024) -> 4096 * 1024),
        case!("G7" "take_axis" "1_column_of_65536x64" Columns(65_536, 64, 1) -> 65_536),
        case!("G8" "pick" "65536x1000" Pick(65_536, 1000, 65_536) -> 65_536),
    ]
}
