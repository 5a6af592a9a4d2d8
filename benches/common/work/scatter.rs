//! Scatters: the cases T1 and T2 of the comparison with other libraries, and a sweep over tables, widths and orders.

use crate::common::data::{self, Buffer, Element, Order};
use crate::common::{Case, Part, Side, Work, limits, loops, numbers, with_sweep};
use gradix::{View, ViewMut};
use std::hint::black_box;

/// `dst[idx, :] += src`, rows of `width` elements; single elements where the width is 1.
pub struct Scatter<T> {
    pub rows: usize,
    pub width: usize,
    pub dst: Buffer<T>,
    pub idx: Buffer<u32>,
    pub src: Buffer<T>,
}

impl<T: Element> Scatter<T> {
    pub fn new(rows: usize, width: usize, count: usize, order: Order) -> Self {
        Scatter {
            rows,
            width,
            dst: Buffer::zeros(rows * width),
            idx: data::indices(count, rows, order),
            src: data::uniform(count * width),
        }
    }
}

impl<T: Element> Work for Scatter<T> {
    fn run(&mut self, side: Side) {
        let Scatter { rows, width, .. } = *self;
        let (dst, idx, src) = (&mut *self.dst, &*self.idx, &*self.src);
        let values = View::new(src, &[idx.len(), width]).expect("the source's shape");
        let whole = |dst| ViewMut::new(dst, &[rows, width]).expect("the destination's shape");
        match side {
            Side::Gradix if width == 1 => gradix::scatter_add(&mut *dst, idx, src),
            Side::Gradix => gradix::scatter_add_axis(whole(dst), 0, idx, values),
            Side::Reference if width == 1 => gradix::reference::scatter_add(&mut *dst, idx, src),
            Side::Reference => gradix::reference::scatter_add_axis(whole(dst), 0, idx, values),
            Side::Loop if width == 1 => Ok(loops::scatter_add(dst, idx, src)),
            Side::Loop => Ok(loops::scatter_add_rows(dst, width, idx, src)),
            Side::Limit(stores) => {
                // As much of the destination as there is, as often as it takes.
                src.chunks(dst.len()).for_each(|src| limits::add(src, &mut dst[..src.len()], stores));
                Ok(())
            }
        }
        .expect("indices in bounds");
        black_box(dst);
    }

    fn answer(&mut self, side: Side) -> Vec<f64> {
        self.dst.fill(T::zero());
        self.run(side);
        numbers(&self.dst)
    }
}

fn case(shape: &str, rows: usize, width: usize, count: usize, order: Order) -> Case {
    Case {
        peer: "",
        op: if width == 1 { "scatter_add" } else { "scatter_add_axis" },
        dtype: "f32",
        shape: shape.to_string(),
        elements: count * width,
        bytes: 3 * 4 * count * width + 4 * count,
        limit: "add",
        gate: false,
        brief: order == Order::Random && ["512kib", "8mib"].iter().any(|table| shape.contains(table)),
        // The reference takes some 100 ns for each element.
        part: (count * width > 1 << 18).then(|| {
            const DIVISOR: usize = 32;
            let make =
                move || Box::new(Scatter::<f32>::new(rows, width, count / DIVISOR, order)) as Box<dyn Work>;
            Part { share: 1.0 / DIVISOR as f64, make: Box::new(make) }
        }),
        make: Box::new(move || Box::new(Scatter::<f32>::new(rows, width, count, order))),
    }
}

pub fn cases() -> Vec<Case> {
    let gated = vec![
        case("65536_rows_to_100000x64", 100_000, 64, 65_536, Order::Random).gated("T1"),
        case("4M_to_1M", 1 << 20, 1, 4 << 20, Order::Random).gated("T2"),
    ];
    // As many rows as the table has, but no more than 16 MiB.
    let sweep = data::tables().map(|(table, rows, width, order)| {
        let shape = format!("rows_of_{width}_to_{table}_{order:?}").to_lowercase();
        case(&shape, rows, width, rows.min((4 << 20) / width), order)
    });
    with_sweep(gated, sweep)
}
