//! Gathers: the cases G1 to G8 of the comparison with other libraries, and a sweep over tables, widths and orders.

use crate::common::data::{self, Buffer, Element, Order};
use crate::common::loops::{self, Copies};
use crate::common::{Case, Part, Side, Work, limits, numbers, with_sweep};
use crate::one_of;
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
    copies: Copies,
}

impl<T: Element> Gather<T> {
    pub fn new(form: Form, rows: usize, width: usize, count: usize, order: Order) -> Self {
        let (bound, len) = match form {
            Form::Elements => (rows * width, count),
            Form::Rows => (rows, count * width),
            Form::Columns => (width, rows * count),
            Form::Pick => (width, rows),
        };
        let mut work = Gather {
            form,
            rows,
            width,
            src: data::uniform(rows * width),
            idx: data::indices(count, bound, order),
            out: Buffer::zeros(len),
            copies: Copies::default(),
        };
        if matches!(form, Form::Elements) {
            (0..Copies::TRIALS).for_each(|_| work.run(Side::Loop));
        }
        work
    }
}

impl<T: Element> Work for Gather<T> {
    fn run(&mut self, side: Side) {
        let Gather { form, rows, width, .. } = *self;
        let (src, idx, out, copies) = (&*self.src, &*self.idx, &mut *self.out, &mut self.copies);
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
            (Side::Loop, Form::Elements) => Ok(copies.call(|copy| one_of!(copy, take(src, idx, out)))),
            (Side::Loop, Form::Rows) => Ok(loops::take_rows(src, width, idx, out)),
            (Side::Loop, Form::Columns) => Ok(loops::take_columns(src, width, idx, out)),
            (Side::Loop, Form::Pick) => Ok(loops::pick(src, width, idx, out)),
            (Side::Limit(stores), _) => Ok(limits::copy(&src[..out.len()], out, stores)),
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

/// A case of a table of `rows` x `width`, and of so many indices.
fn case(form: Form, shape: &str, rows: usize, width: usize, count: usize, order: Order) -> Case {
    let (op, elements) = match form {
        Form::Elements => ("take", count),
        Form::Rows => ("take_axis", count * width),
        Form::Columns => ("take_axis", rows * count),
        Form::Pick => ("pick", rows),
    };
    Case {
        peer: "",
        op,
        dtype: "f32",
        shape: shape.to_string(),
        elements,
        bytes: 2 * 4 * elements + 4 * count,
        limit: "memcpy",
        gate: false,
        brief: order == Order::Random && ["512kib", "8mib"].iter().any(|table| shape.contains(table)),
        // The reference takes some 100 ns for each element.
        part: (elements > 1 << 18).then(|| {
            const DIVISOR: usize = 32;
            let (some_rows, some) = match form {
                Form::Elements | Form::Rows => (rows, count / DIVISOR),
                Form::Columns => (rows / DIVISOR, count),
                Form::Pick => (rows / DIVISOR, rows / DIVISOR),
            };
            let make =
                move || Box::new(Gather::<f32>::new(form, some_rows, width, some, order)) as Box<dyn Work>;
            Part { share: 1.0 / DIVISOR as f64, make: Box::new(make) }
        }),
        make: Box::new(move || Box::new(Gather::<f32>::new(form, rows, width, count, order))),
    }
}

pub fn cases() -> Vec<Case> {
    let random = |form, shape, rows, width, count| case(form, shape, rows, width, count, Order::Random);
    let gated = vec![
        random(Form::Elements, "4096_of_8192", 1, 8192, 4096).gated("G1"),
        random(Form::Elements, "65536_of_131072", 1, 131_072, 65_536).gated("G2"),
        random(Form::Elements, "4M_of_64M", 1, 64 << 20, 4 << 20).gated("G3"),
        random(Form::Rows, "65536_rows_of_100000x64", 100_000, 64, 65_536).gated("G4"),
        random(Form::Rows, "16384_rows_of_50000x512", 50_000, 512, 16_384).gated("G5"),
        random(Form::Columns, "1024_columns_of_4096x4096", 4096, 4096, 1024).gated("G6"),
        random(Form::Columns, "1_column_of_65536x64", 65_536, 64, 1).gated("G7"),
        random(Form::Pick, "65536x1000", 65_536, 1000, 65_536).gated("G8"),
    ];
    // As many rows as the table has, but no more than 16 MiB.
    let sweep = data::tables().map(|(table, rows, width, order)| {
        let shape = format!("rows_of_{width}_from_{table}_{order:?}").to_lowercase();
        let count = rows.min((4 << 20) / width);
        match width {
            1 => case(Form::Elements, &shape, 1, rows, count, order),
            _ => case(Form::Rows, &shape, rows, width, count, order),
        }
    });
    with_sweep(gated, sweep)
}
