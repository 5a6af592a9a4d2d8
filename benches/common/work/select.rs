//! Selections: the cases S1 to S3 of the comparison with other libraries, and a sweep over shares of hits.

use crate::common::data::{self, Buffer, Element};
use crate::common::limits::{self, Stores};
use crate::common::loops::{self, Copies};
use crate::common::{Case, Side, Work, numbers, with_sweep};
use crate::one_of;
use gradix::{Gt, reference, select};
use std::hint::black_box;

/// What is selected.
#[derive(Clone, Copy, PartialEq)]
pub enum Form {
    Indices,
    Values,
    Pairs,
    /// The elements are added to a residual of zeros; the hits go out as pairs and leave zeros.
    SparsifyWith,
    /// The largest that is not a hit.
    TopKThreshold,
}

/// Output buffers as long as the input: a slice for gradix and the reference, a vector for loops that push.
pub struct Output<A> {
    slice: Buffer<A>,
    pushed: Vec<A>,
}

impl<A: bytemuck::Pod> Output<A> {
    fn new(len: usize) -> Self {
        Output { slice: Buffer::zeros(len), pushed: Vec::with_capacity(len) }
    }
}

/// The elements, of 0..1, that are greater than a threshold.
pub struct Select<T> {
    pub form: Form,
    pub x: Buffer<T>,
    pub threshold: T,
    residual: Buffer<T>,
    indices: Output<u32>,
    values: Output<T>,
    /// About how many hits there are.
    expected: usize,
    hits: usize,
    copies: Copies,
}

impl<T: Element> Select<T> {
    pub fn new(form: Form, len: usize, hits: f64, in_runs: bool) -> Self {
        let threshold: T = num_traits::cast(1.0 - hits).expect("a float");
        let mut x = if in_runs { data::in_runs(len) } else { data::uniform(len) };
        let sparsify = form == Form::SparsifyWith;
        if sparsify {
            // Then a call leaves the residual as it was, and the next finds the same hits.
            x.iter_mut().filter(|x| **x <= threshold).for_each(|x| *x = T::zero());
        }
        let (indices, values) = match form {
            Form::Indices => (len, 0),
            Form::Values => (0, len),
            Form::Pairs => (len, 2 * len), // which the limit fills with as many bytes as both have
            Form::SparsifyWith | Form::TopKThreshold => (len, len),
        };
        let mut work = Select {
            form,
            x,
            threshold,
            residual: Buffer::zeros(if sparsify { len } else { 0 }),
            indices: Output::new(indices),
            values: Output::new(values),
            expected: (len as f64 * hits) as usize,
            hits: 0,
            copies: Copies::default(),
        };
        if matches!(form, Form::Indices | Form::Values | Form::Pairs) {
            (0..Copies::TRIALS).for_each(|_| work.run(Side::Loop));
        }
        work
    }

    fn limit(&mut self, stores: Stores) {
        let Select { x, indices, values, expected, .. } = self;
        match self.form {
            Form::Indices => limits::sum_and_store(x, &mut indices.slice[..*expected], stores),
            Form::Values => limits::sum_and_store(x, &mut values.slice[..*expected], stores),
            Form::Pairs => limits::sum_and_store(x, &mut values.slice[..2 * *expected], stores),
            Form::SparsifyWith => limits::add(x, &mut values.slice, stores),
            Form::TopKThreshold => limits::sum(x),
        }
    }
}

impl<T: Element> Work for Select<T> {
    fn run(&mut self, side: Side) {
        let Select { form, x, threshold, residual, indices, values, expected, copies, .. } = &mut *self;
        let (x, residual, predicate) = (&**x, &mut **residual, Gt(*threshold));
        let k = (*expected + 1).min(x.len());
        let (Output { slice: i, pushed: pushed_i }, Output { slice: v, pushed: pushed_v }) =
            (indices, values);
        let hits = match (side, *form) {
            (Side::Limit(stores), _) => return self.limit(stores),
            (Side::Loop, form) => {
                match form {
                    Form::Indices => {
                        copies.call(|copy| one_of!(copy, indices_above(x, *threshold, pushed_i)))
                    }
                    Form::Values => copies.call(|copy| one_of!(copy, values_above(x, *threshold, pushed_v))),
                    Form::Pairs => {
                        copies.call(|copy| one_of!(copy, pairs_above(x, *threshold, pushed_i, pushed_v)));
                    }
                    Form::SparsifyWith => loops::sparsify_with(x, residual, *threshold, pushed_i, pushed_v),
                    Form::TopKThreshold => loops::top_k_threshold(x, k, pushed_v),
                }
                Ok(pushed_i.len().max(pushed_v.len()))
            }
            (Side::Gradix, Form::Indices) => select::indices_into(x, predicate, i),
            (Side::Gradix, Form::Values) => select::values_into(x, predicate, v),
            (Side::Gradix, Form::Pairs) => select::pairs_into(x, predicate, i, v),
            (Side::Gradix, Form::SparsifyWith) => select::sparsify_with_into(x, residual, predicate, i, v),
            (Side::Gradix, Form::TopKThreshold) => select::top_k_threshold(x, k).map(|t| {
                v[0] = t;
                1
            }),
            (Side::Reference, Form::Indices) => reference::select::indices_into(x, predicate, i),
            (Side::Reference, Form::Values) => reference::select::values_into(x, predicate, v),
            (Side::Reference, Form::Pairs) => reference::select::pairs_into(x, predicate, i, v),
            (Side::Reference, Form::SparsifyWith) => {
                reference::select::sparsify_with_into(x, residual, predicate, i, v)
            }
            (Side::Reference, Form::TopKThreshold) => reference::select::top_k_threshold(x, k).map(|t| {
                v[0] = t;
                1
            }),
        };
        self.hits = hits.expect("room for all");
        black_box((&mut self.indices.slice, &mut self.values.slice));
    }

    /// The indices, the values, and what is left.
    fn answer(&mut self, side: Side) -> Vec<f64> {
        self.run(side);
        let Select { residual, indices, values, hits, .. } = self;
        let mut answer = numbers(residual);
        if side == Side::Loop {
            answer.extend(numbers(&indices.pushed));
            answer.extend(numbers(&values.pushed));
        } else {
            let with_indices = !matches!(self.form, Form::Values | Form::TopKThreshold);
            let with_values = self.form != Form::Indices;
            answer.extend(numbers(&indices.slice[..if with_indices { *hits } else { 0 }]));
            answer.extend(numbers(&values.slice[..if with_values { *hits } else { 0 }]));
        }
        answer
    }
}

fn case<T: Element>(form: Form, len: &str, count: usize, percent: usize, in_runs: bool) -> Case {
    let (hits, size) = (count * percent / 100, size_of::<T>());
    let (op, moved, limit) = match form {
        Form::Indices => ("select_indices", count * size + hits * 4, "sum + store"),
        Form::Values => ("select_values", count * size + hits * size, "sum + store"),
        Form::Pairs => ("select_pairs", count * size + hits * (4 + size), "sum + store"),
        Form::SparsifyWith => ("sparsify_with", 3 * count * size + hits * (4 + size), "add"),
        Form::TopKThreshold => ("top_k_threshold", count * size, "sum"),
    };
    Case {
        peer: "",
        op,
        dtype: T::TYPE,
        shape: format!("{len}_at_{percent}%{}", if in_runs { "_in_runs" } else { "" }),
        elements: count,
        bytes: moved,
        limit,
        gate: false,
        brief: !in_runs && count < 1 << 20 && (10..=90).contains(&percent),
        part: None,
        make: Box::new(move || Box::new(Select::<T>::new(form, count, percent as f64 / 100.0, in_runs))),
    }
}

pub fn cases() -> Vec<Case> {
    let large = |form, percent| case::<f32>(form, "16M", 16 << 20, percent, false);
    let large_f64 = |percent| case::<f64>(Form::Indices, "16M", 16 << 20, percent, false);
    // No part of the gate: how other libraries go with the share of hits.
    let beside = |peer, percent| Case { peer, ..large(Form::Values, percent) };
    let named = vec![
        large(Form::Indices, 1).gated("S1 1%"),
        large(Form::Indices, 50).gated("S1 50%"),
        large(Form::Indices, 99).gated("S1 99%"),
        large(Form::Values, 1).gated("S2 1%"),
        beside("S2 10%", 10),
        beside("S2 25%", 25),
        large(Form::Values, 50).gated("S2 50%"),
        beside("S2 75%", 75),
        beside("S2 90%", 90),
        large(Form::Values, 99).gated("S2 99%"),
        case::<f32>(Form::Indices, "16384", 16_384, 50, false).gated("S3 50%"),
        large_f64(1).gated("S1 f64 1%"),
        large_f64(50).gated("S1 f64 50%"),
        large_f64(99).gated("S1 f64 99%"),
        large(Form::Pairs, 1).gated(""),
        large(Form::SparsifyWith, 1).gated(""),
        large(Form::TopKThreshold, 1).gated(""),
    ];
    let sweep = [("16384", 16_384), ("16M", 16 << 20)].into_iter().flat_map(|(len, count)| {
        let forms = [Form::Indices, Form::Values, Form::Pairs, Form::SparsifyWith];
        forms.into_iter().flat_map(move |form| {
            let shares = [0, 1, 10, 50, 90, 99, 100].into_iter();
            shares.flat_map(move |share| [false, true].map(|runs| case::<f32>(form, len, count, share, runs)))
        })
    });
    with_sweep(named, sweep)
}
