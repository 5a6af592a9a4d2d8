//! Selections: the cases S1 to S3 of the comparison with other libraries.

use crate::common::data::{self, Buffer, Element};
use crate::common::{Case, Side, Work, limits, numbers, textbook};
use gradix::{Gt, select};
use std::hint::black_box;

/// What is selected, into room for as much as there can be.
pub enum Answer<T> {
    Indices { room: Buffer<u32>, kept: Vec<u32> },
    Values { room: Buffer<T>, kept: Vec<T> },
}

/// The elements, uniform in 0..1, that are greater than a threshold.
pub struct Select<T> {
    pub x: Buffer<T>,
    pub threshold: T,
    pub answer: Answer<T>,
    /// About how many hits there are.
    expected: usize,
    hits: usize,
}

impl<T: Element> Select<T> {
    pub fn indices(len: usize, hits: f64) -> Self {
        Self::new(len, hits, Answer::Indices { room: Buffer::zeros(len), kept: Vec::with_capacity(len) })
    }

    pub fn values(len: usize, hits: f64) -> Self {
        Self::new(len, hits, Answer::Values { room: Buffer::zeros(len), kept: Vec::with_capacity(len) })
    }

    fn new(len: usize, hits: f64, answer: Answer<T>) -> Self {
        let threshold = num_traits::cast(1.0 - hits).expect("a float");
        Select { x: data::uniform(len), threshold, answer, expected: (len as f64 * hits) as usize, hits: 0 }
    }
}

impl<T: Element> Work for Select<T> {
    fn run(&mut self, side: Side) {
        let (x, predicate) = (&*self.x, Gt(self.threshold));
        if side == Side::Limit {
            return match &mut self.answer {
                Answer::Indices { room, .. } => limits::sum_and_store(x, &mut room[..self.expected]),
                Answer::Values { room, .. } => limits::sum_and_store(x, &mut room[..self.expected]),
            };
        }
        self.hits = match (&mut self.answer, side) {
            (Answer::Indices { kept, .. }, Side::Textbook) => {
                textbook::indices_above(x, self.threshold, kept);
                kept.len()
            }
            (Answer::Values { kept, .. }, Side::Textbook) => {
                textbook::values_above(x, self.threshold, kept);
                kept.len()
            }
            (Answer::Indices { room, .. }, Side::Reference) => {
                gradix::reference::select::indices_into(x, predicate, room).expect("room for all")
            }
            (Answer::Values { room, .. }, Side::Reference) => {
                gradix::reference::select::values_into(x, predicate, room).expect("room for all")
            }
            (Answer::Indices { room, .. }, _) => {
                select::indices_into(x, predicate, room).expect("room for all")
            }
            (Answer::Values { room, .. }, _) => {
                select::values_into(x, predicate, room).expect("room for all")
            }
        };
        black_box(&mut self.answer);
    }

    fn answer(&mut self, side: Side) -> Vec<f64> {
        self.run(side);
        match (&self.answer, side) {
            (Answer::Indices { kept, .. }, Side::Textbook) => numbers(kept),
            (Answer::Values { kept, .. }, Side::Textbook) => numbers(kept),
            (Answer::Indices { room, .. }, _) => numbers(&room[..self.hits]),
            (Answer::Values { room, .. }, _) => numbers(&room[..self.hits]),
        }
    }
}

macro_rules! case {
    ($peer:literal $op:ident $t:ident $len:literal ($count:expr) $percent:literal) => {
        Case {
            peer: $peer,
            op: concat!("select_", stringify!($op)),
            dtype: stringify!($t),
            shape: concat!($len, "_at_", $percent, "%"),
            elements: $count,
            bytes: $count * size_of::<$t>()
                + $count * $percent / 100 * if stringify!($op) == "indices" { 4 } else { size_of::<$t>() },
            limit: "sum + store",
            make: || Box::new(Select::<$t>::$op($count, $percent as f64 / 100.0)),
        }
    };
}

pub fn cases() -> Vec<Case> {
    vec![
        case!("S1 1%" indices f32 "16M" (16 << 20) 1),
        case!("S1 50%" indices f32 "16M" (16 << 20) 50),
        case!("S1 99%" indices f32 "16M" (16 << 20) 99),
        case!("S2 1%" values f32 "16M" (16 << 20) 1),
        case!("S2 50%" values f32 "16M" (16 << 20) 50),
        case!("S2 99%" values f32 "16M" (16 << 20) 99),
        case!("S3 50%" indices f32 "16384" (16_384) 50),
        case!("S1 f64 1%" indices f64 "16M" (16 << 20) 1),
        case!("S1 f64 50%" indices f64 "16M" (16 << 20) 50),
        case!("S1 f64 99%" indices f64 "16M" (16 << 20) 99),
    ]
}
