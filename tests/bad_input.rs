//! Every public function and every way to be wrong: which error, in which words, and no output touched.
//!
//! A panic anywhere, on any thread, fails the test.

#![allow(unused_braces)] // rustfmt keeps them

use gradix::select::{By, Mask};
use gradix::{
    Clip, Error, Gt, Level, Partial, Reduction, Result, SoftmaxXent, View, ViewMut, Wrap, reference, select,
};
use memmap2::MmapOptions;
use std::collections::BTreeSet;
use std::sync::Mutex;

/// What calls may write to.
#[derive(Debug, Clone, PartialEq)]
struct Outputs {
    x: [f32; 12],
    y: [f64; 12],
    u32s: [u32; 12],
    u64s: [u64; 12],
    bools: [bool; 12],
}

const BEFORE: Outputs =
    Outputs { x: [7.5; 12], y: [-7.5; 12], u32s: [77; 12], u64s: [77; 12], bools: [true; 12] };

/// The name of an error's variant.
fn variant(error: &Error) -> String {
    let debug = format!("{error:?}");
    debug.split([' ', '{']).next().unwrap_or_default().to_string()
}

/// What was called, the variant and the message to come, and the call.
type Row = (&'static str, &'static str, &'static str, Box<dyn Fn(&mut Outputs) -> Result<()>>);

fn row<R>(
    call: &'static str,
    variant: &'static str,
    message: &'static str,
    f: impl Fn(&mut Outputs) -> Result<R> + 'static,
) -> Row {
    (call, variant, message, Box::new(move |o| f(o).map(|_| ())))
}

/// A shape that has 2⁸⁰ elements.
const WIDE: usize = 1 << 40;
/// More `f32`s than any of today's machines has room for, though not more than can be counted.
const MANY: usize = 1 << 50;
static X: [f32; 12] = [1.0, -2.0, 3.0, -4.0, 5.0, -6.0, 7.0, -8.0, 9.0, -10.0, 11.0, -12.0];

/// Four that are true.
static MASK: [bool; 12] = [true, false, false, true, false, false, true, false, false, true, false, false];

fn matrix() -> View<'static, f32> {
    View::new(&X, &[3, 4]).expect("12 elements")
}

/// `n` times the same element.
fn repeated<T>(x: &[T], n: usize) -> View<'_, T> {
    View::strided(x, &[n], &[0], 0).expect("one element")
}

fn views() -> Vec<Row> {
    vec![
        row("View::new", "Shape", "the data has shape [12] where [5, 2] is needed", |_| {
            View::new(&X, &[5, 2])
        }),
        row("View::new", "Shape", "the data has shape [12] where [] is needed", |_| View::new(&X, &[])),
        row(
            "View::new",
            "Overflow",
            "shape [0, 18446744073709551615, 2] has more elements than can be addressed",
            |_| View::<f32>::new(&[], &[0, usize::MAX, 2]),
        ),
        row(
            "View::new",
            "Overflow",
            "shape [1099511627776, 1099511627776] has more elements than can be addressed",
            |_| View::new(&X, &[WIDE, WIDE]),
        ),
        row("View::new", "Rank", "the array has rank 9, at most 8", |_| View::new(&X[..1], &[1; 9])),
        row("View::strided", "Rank", "the list of strides has rank 1, the shape's", |_| {
            View::strided(&X, &[3, 4], &[1], 0)
        }),
        row("View::strided", "Rank", "the array has rank 9, at most 8", |_| {
            View::strided(&X, &[1; 9], &[0; 9], 0)
        }),
        row(
            "View::strided",
            "Extent",
            "shape [3] with strides [4] from offset 5 reaches outside 12 elements",
            |_| View::strided(&X, &[3], &[4], 5),
        ),
        row(
            "View::strided",
            "Extent",
            "shape [3] with strides [-4] from offset 7 reaches outside 12 elements",
            |_| View::strided(&X, &[3], &[-4], 7),
        ),
        row(
            "View::strided",
            "Extent",
            "shape [2, 2] with strides [9223372036854775807, 9223372036854775807] from offset 0 reaches outside 12 \
             elements",
            |_| View::strided(&X, &[2, 2], &[isize::MAX; 2], 0),
        ),
        row(
            "View::strided",
            "Extent",
            "shape [2, 2] with strides [-9223372036854775808, -9223372036854775808] from offset 11 reaches outside 12 \
             elements",
            |_| View::strided(&X, &[2, 2], &[isize::MIN; 2], 11),
        ),
        row(
            "View::strided",
            "Extent",
            "shape [] with strides [] from offset 18446744073709551615 reaches outside 12 elements",
            |_| View::strided(&X, &[], &[], usize::MAX),
        ),
        row(
            "View::strided",
            "Overflow",
            "shape [1099511627776, 1099511627776] has more elements than can be addressed",
            |_| View::strided(&X, &[WIDE, WIDE], &[0, 0], 0),
        ),
        row("ViewMut::new", "Shape", "the data has shape [12] where [13] is needed", |o| {
            ViewMut::new(&mut o.x, &[13]).map(|_| ())
        }),
        row(
            "ViewMut::strided",
            "Alias",
            "shape [3, 4] with strides [2, 1] may reach one element twice and cannot be written to",
            |o| ViewMut::strided(&mut o.x, &[3, 4], &[2, 1], 0).map(|_| ()),
        ),
        row(
            "ViewMut::strided",
            "Alias",
            "shape [2] with strides [0] may reach one element twice and cannot be written to",
            |o| ViewMut::strided(&mut o.x, &[2], &[0], 3).map(|_| ()),
        ),
        row(
            "ViewMut::strided",
            "Extent",
            "shape [3, 4] with strides [-4, 1] from offset 7 reaches outside 12 elements",
            |o| ViewMut::strided(&mut o.x, &[3, 4], &[-4, 1], 7).map(|_| ()),
        ),
    ]
}

/// What both a function and its definition must answer.
macro_rules! both {
    ($rows:ident, $call:literal, $variant:expr, $message:expr, |$o:ident, $g:ident| $body:expr) => {{
        $rows.push(row($call, $variant, $message, move |$o| {
            use gradix as $g;
            $body
        }));
        $rows.push(row(concat!("reference::", $call), $variant, $message, move |$o| {
            use reference as $g;
            $body
        }));
    }};
}

fn gathers() -> Vec<Row> {
    let mut rows = vec![];
    both!(
        rows,
        "take",
        "Index",
        "index 12 at position 1 is out of bounds for an axis of length 12",
        |_o, g| { g::take(&X, &[0, 12, 13]) }
    );
    both!(
        rows,
        "take",
        "Index",
        "index -13 at position 0 is out of bounds for an axis of length 12",
        |_o, g| { g::take(matrix(), &[-13]) }
    );
    both!(
        rows,
        "take",
        "Index",
        "index -9223372036854775808 at position 2 is out of bounds for an axis of length 12",
        |_o, g| g::take(&X, &[0, -12, i64::MIN])
    );
    both!(
        rows,
        "take",
        "Index",
        "index 18446744073709551615 at position 0 is out of bounds for an axis of length 12",
        |_o, g| g::take(&X, &[u64::MAX])
    );
    both!(
        rows,
        "take",
        "Index",
        "index 18446744073709551615 at position 0 is out of bounds for an axis of length 12",
        |_o, g| g::take(&X, &[usize::MAX])
    );
    both!(
        rows,
        "take",
        "Index",
        "index 4294967295 at position 0 is out of bounds for an axis of length 12",
        |_o, g| { g::take(&X, &[u32::MAX]) }
    );
    both!(
        rows,
        "take",
        "Index",
        "index 255 at position 0 is out of bounds for an axis of length 12",
        |_o, g| { g::take(&X, &[u8::MAX]) }
    );
    both!(
        rows,
        "take",
        "Index",
        "index 65535 at position 0 is out of bounds for an axis of length 12",
        |_o, g| { g::take(matrix().transposed(), &[u16::MAX]) }
    );
    both!(
        rows,
        "take",
        "Index",
        "index -2147483648 at position 0 is out of bounds for an axis of length 12",
        |_o, g| { g::take(matrix().transposed(), &[i32::MIN]) }
    );
    both!(
        rows,
        "take",
        "Index",
        "index 0 at position 0 is out of bounds for an axis of length 0",
        |_o, g| { g::take::<f32, _>(&[], &[0]) }
    );
    both!(
        rows,
        "take",
        "Index",
        "index 5 at position 0 is out of bounds for an axis of length 0",
        |_o, g| { g::take::<f32, _>(&[], Wrap(&[5])) }
    );
    both!(
        rows,
        "take",
        "Index",
        "index 5 at position 0 is out of bounds for an axis of length 0",
        |_o, g| { g::take::<f32, _>(&[], Clip(&[5])) }
    );
    both!(rows, "take", "Memory", "there is no memory for an answer of 4503599627370496 bytes", |_o, g| {
        g::take(&X, repeated(&[0u8], MANY))
    });
    both!(
        rows,
        "take",
        "Overflow",
        "shape [4611686018427387904] has more elements than can be addressed",
        |_o, g| g::take(&X, repeated(&[0u8], 1 << 62))
    );
    both!(rows, "take_into", "Shape", "the output has shape [12] where [3] is needed", |o, g| {
        g::take_into(&X, &[0, 1, 2], &mut o.x)
    });
    both!(rows, "take_into", "Shape", "the output has shape [2, 1] where [2] is needed", |o, g| {
        g::take_into(matrix().transposed(), &[0, 1], ViewMut::new(&mut o.x[..2], &[2, 1])?)
    });
    both!(
        rows,
        "take_into",
        "Index",
        "index 12 at position 2 is out of bounds for an axis of length 12",
        |o, g| g::take_into(&X, &[0, 1, 12], &mut o.x[..3])
    );
    both!(
        rows,
        "take_into",
        "Index",
        "index 12 at position 2 is out of bounds for an axis of length 12",
        |o, g| g::take_into(matrix().transposed(), &[0, 1, 12], &mut o.x[..3])
    );
    for axis in [2, -3, isize::MAX, isize::MIN] {
        let message: &'static str = format!("axis {axis} does not exist in an array of rank 2").leak();
        both!(rows, "take_axis", "Axis", message, |_o, g| g::take_axis(matrix(), axis, &[0]));
        both!(rows, "take_axis_into", "Axis", message, |o, g| {
            g::take_axis_into(matrix(), axis, &[0], &mut o.x)
        });
        both!(rows, "take_along_axis", "Axis", message, |_o, g| {
            g::take_along_axis(matrix(), axis, matrix_of_indices(&[0; 12]))
        });
        both!(rows, "take_along_axis_into", "Axis", message, |o, g| {
            g::take_along_axis_into(matrix(), axis, matrix_of_indices(&[0; 12]), &mut o.x)
        });
        both!(rows, "scatter_add_axis", "Axis", message, |o, g| {
            g::scatter_add_axis(ViewMut::new(&mut o.x, &[3, 4])?, axis, &[0], &X[..4])
        });
        both!(rows, "scatter_add_axis_scaled", "Axis", message, |o, g| {
            g::scatter_add_axis_scaled(ViewMut::new(&mut o.x, &[3, 4])?, axis, &[0], &X[..4], 2.0)
        });
        both!(rows, "scatter_add_along_axis", "Axis", message, |o, g| {
            let to = ViewMut::new(&mut o.x, &[3, 4])?;
            g::scatter_add_along_axis(to, axis, matrix_of_indices(&[0; 12]), &X)
        });
        both!(rows, "scatter_add_along_axis_scaled", "Axis", message, |o, g| {
            let to = ViewMut::new(&mut o.x, &[3, 4])?;
            g::scatter_add_along_axis_scaled(to, axis, matrix_of_indices(&[0; 12]), &X, 2.0)
        });
    }
    // Answers that no memory holds, or that cannot be addressed.
    for (n, variant, message) in [
        (MANY, "Memory", "there is no memory for an answer of 4503599627370496 bytes"),
        (1 << 62, "Overflow", "shape [4611686018427387904] has more elements than can be addressed"),
    ] {
        both!(rows, "take_axis", variant, message, |_o, g| g::take_axis(&X, 0, repeated(&[0u8], n)));
        both!(rows, "take_along_axis", variant, message, |_o, g| {
            g::take_along_axis(&X, 0, repeated(&[0u8], n))
        });
        both!(rows, "pick", variant, message, |_o, g| {
            g::pick(View::strided(&X, &[n, 1], &[0, 0], 0)?, repeated(&[0u8], n))
        });
    }
    both!(
        rows,
        "take_along_axis",
        "Index",
        "index -4 at position 5 is out of bounds for an axis of length 3",
        |_o, g| g::take_along_axis(matrix(), 0, matrix_of_indices(&[0, 1, 2, -1, -3, -4, 3, 0, 0, 0, 0, 0]))
    );
    both!(rows, "pick", "Shape", "the list of labels has shape [3, 1] where [3] is needed", |_o, g| {
        g::pick(matrix(), View::new(&[0, 0, 0], &[3, 1])?)
    });
    both!(rows, "pick_into", "Rank", "the array has rank 1, 2 is needed", |o, g| {
        g::pick_into(&X, &[0], &mut o.x[..1])
    });
    both!(rows, "pick_into", "Shape", "the list of labels has shape [2] where [3] is needed", |o, g| {
        g::pick_into(matrix(), &[0, 0], &mut o.x[..3])
    });
    both!(
        rows,
        "take_axis",
        "Index",
        "index 3 at position 1 is out of bounds for an axis of length 3",
        |_o, g| { g::take_axis(matrix(), 0, &[2, 3]) }
    );
    both!(
        rows,
        "take_axis",
        "Index",
        "index -5 at position 0 is out of bounds for an axis of length 4",
        |_o, g| { g::take_axis(matrix(), -1, &[-5]) }
    );
    both!(
        rows,
        "take_axis",
        "Overflow",
        "shape [1099511627776, 1099511627776] has more elements than can be addressed",
        |_o, g| g::take_axis(View::strided(&X, &[WIDE, 2], &[0, 0], 0)?, 1, repeated(&[0u8], WIDE))
    );
    both!(rows, "take_axis_into", "Shape", "the output has shape [12] where [2, 4] is needed", |o, g| {
        g::take_axis_into(matrix(), 0, &[0, 1], &mut o.x)
    });
    both!(
        rows,
        "take_axis_into",
        "Index",
        "index 3 at position 2 is out of bounds for an axis of length 3",
        |o, g| g::take_axis_into(matrix(), 0, &[0, 1, 3], &mut o.x)
    );
    both!(
        rows,
        "take_along_axis",
        "Shape",
        "the index array has shape [4] where [4, 4] is needed",
        |_o, g| { g::take_along_axis(matrix(), 0, &[0, 0, 0, 0]) }
    );
    // A matrix of indices does not go along a vector, however few columns it has.
    let column = "the index array has shape [4, 1] where [4] is needed";
    both!(rows, "take_along_axis", "Shape", column, |_o, g| {
        g::take_along_axis(&X, 0, View::new(&[0; 4], &[4, 1])?)
    });
    both!(rows, "take_along_axis_into", "Shape", column, |o, g| {
        g::take_along_axis_into(&X, 0, View::new(&[0; 4], &[4, 1])?, &mut o.x[..4])
    });
    both!(rows, "scatter_add_along_axis", "Shape", column, |o, g| {
        g::scatter_add_along_axis(&mut o.x, 0, View::new(&[0; 4], &[4, 1])?, &X[..4])
    });
    both!(rows, "put_along_axis", "Shape", column, |o, g| {
        g::put_along_axis(&mut o.x, 0, View::new(&[0; 4], &[4, 1])?, &X[..4])
    });
    both!(
        rows,
        "take_along_axis",
        "Shape",
        "the index array has shape [4, 3] where [3, 3] is needed",
        |_o, g| { g::take_along_axis(matrix(), 1, View::new(&[0; 12], &[4, 3])?) }
    );
    both!(
        rows,
        "take_along_axis_into",
        "Index",
        "index 4 at position 11 is out of bounds for an axis of length 4",
        |o, g| {
            let idx = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4];
            g::take_along_axis_into(matrix(), 1, matrix_of_indices(&idx), &mut o.x)
        }
    );
    both!(
        rows,
        "take_along_axis_into",
        "Shape",
        "the output has shape [11] where [3, 4] is needed",
        |o, g| g::take_along_axis_into(matrix(), 1, matrix_of_indices(&[0; 12]), &mut o.x[..11])
    );
    both!(rows, "pick", "Rank", "the array has rank 1, 2 is needed", |_o, g| g::pick(&X, &[0]));
    both!(rows, "pick", "Rank", "the array has rank 3, 2 is needed", |_o, g| {
        g::pick(View::new(&X, &[3, 2, 2])?, &[0, 0, 0])
    });
    both!(rows, "pick", "Shape", "the list of labels has shape [2] where [3] is needed", |_o, g| {
        g::pick(matrix(), &[0, 0])
    });
    both!(
        rows,
        "pick",
        "Index",
        "index 4 at position 1 is out of bounds for an axis of length 4",
        |_o, g| { g::pick(matrix(), &[0, 4, 5]) }
    );
    both!(rows, "pick_into", "Shape", "the output has shape [12] where [3] is needed", |o, g| {
        g::pick_into(matrix(), &[0, 1, 2], &mut o.x)
    });
    both!(
        rows,
        "pick_into",
        "Index",
        "index -5 at position 2 is out of bounds for an axis of length 4",
        |o, g| g::pick_into(matrix(), &[0, 1, -5], &mut o.x[..3])
    );
    rows
}

fn matrix_of_indices(indices: &[i32; 12]) -> View<'_, i32> {
    View::new(indices, &[3, 4]).expect("12 elements")
}

fn scatters() -> Vec<Row> {
    let mut rows = vec![];
    both!(
        rows,
        "scatter_add",
        "Index",
        "index 12 at position 1 is out of bounds for an axis of length 12",
        |o, g| { g::scatter_add(&mut o.x, &[0, 12], &[1.0, 2.0]) }
    );
    both!(
        rows,
        "scatter_add",
        "Index",
        "index -13 at position 1 is out of bounds for an axis of length 12",
        |o, g| { g::scatter_add(ViewMut::new(&mut o.x, &[3, 4])?.transposed(), &[0, -13], &[1.0, 2.0]) }
    );
    both!(rows, "scatter_add", "Shape", "the source has shape [3] where [2] is needed", |o, g| {
        g::scatter_add(&mut o.x, &[0, 1], &[1.0, 2.0, 3.0])
    });
    both!(rows, "scatter_add_scaled", "Shape", "the source has shape [3] where [2] is needed", |o, g| {
        g::scatter_add_scaled(&mut o.y, &[0, 1], &[1.0, 2.0, 3.0], f64::NAN)
    });
    both!(
        rows,
        "scatter_add_scaled",
        "Index",
        "index 12 at position 0 is out of bounds for an axis of length 12",
        |o, g| g::scatter_add_scaled(&mut o.x, Wrap(&[0u8, 1]), &[1.0, 2.0], 2.0).and_then(|()| {
            *o = BEFORE;
            g::scatter_add_scaled(&mut o.x, &[12u8], &[1.0], 2.0)
        })
    );
    both!(rows, "put", "Shape", "the source has shape [3] where [2] is needed", |o, g| {
        g::put(&mut o.x, &[0, 1], &[1.0, 2.0, 3.0])
    });
    both!(
        rows,
        "put",
        "Index",
        "index -129 at position 1 is out of bounds for an axis of length 12",
        |o, g| { g::put(&mut o.u32s, &[0i16, -129], &[1, 2]) }
    );
    both!(rows, "put_axis", "Axis", "axis 2 does not exist in an array of rank 2", |o, g| {
        g::put_axis(ViewMut::new(&mut o.x, &[3, 4])?, 2, &[0, 1], &X[..8])
    });
    both!(
        rows,
        "put_axis",
        "Index",
        "index 127 at position 1 is out of bounds for an axis of length 3",
        |o, g| g::put_axis(ViewMut::new(&mut o.x, &[3, 4])?, 0, &[0, i8::MAX], &X[..8])
    );
    both!(
        rows,
        "put_along_axis",
        "Index",
        "index 4 at position 11 is out of bounds for an axis of length 4",
        |o, g| {
            let idx = matrix_of_indices(&[0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 4]);
            g::put_along_axis(ViewMut::new(&mut o.x, &[3, 4])?, 1, idx, &X)
        }
    );
    both!(
        rows,
        "put_value",
        "Index",
        "index 12 at position 0 is out of bounds for an axis of length 12",
        |o, g| { g::put_value(&mut o.u64s, &[12u8], 5) }
    );
    both!(
        rows,
        "put_value_axis",
        "Index",
        "index 4 at position 1 is out of bounds for an axis of length 4",
        |o, g| g::put_value_axis(ViewMut::new(&mut o.x, &[3, 4])?, 1, &[0, 4], 1.0)
    );
    both!(
        rows,
        "put_value_along_axis",
        "Shape",
        "the index array has shape [2, 4] where [3, 4] is needed",
        |o, g| {
            let idx = View::new(&[0, 1, 2, 3, 0, 1, 2, 3], &[2, 4])?;
            g::put_value_along_axis(ViewMut::new(&mut o.x, &[3, 4])?, 1, idx, 1.0)
        }
    );
    both!(rows, "scatter_add_axis", "Shape", "the source has shape [12] where [2, 4] is needed", |o, g| {
        g::scatter_add_axis(ViewMut::new(&mut o.x, &[3, 4])?, 0, &[0, 1], &X)
    });
    both!(
        rows,
        "scatter_add_axis",
        "Index",
        "index 3 at position 1 is out of bounds for an axis of length 3",
        |o, g| g::scatter_add_axis(ViewMut::new(&mut o.x, &[3, 4])?, 0, &[0u64, 3], &X[..8])
    );
    both!(
        rows,
        "scatter_add_axis_scaled",
        "Index",
        "index 4 at position 2 is out of bounds for an axis of length 4",
        |o, g| g::scatter_add_axis_scaled(ViewMut::new(&mut o.x, &[3, 4])?, 1, &[0, 3, 4], &X[..9], 1.0)
    );
    both!(
        rows,
        "scatter_add_along_axis",
        "Index",
        "index 4 at position 11 is out of bounds for an axis of length 4",
        |o, g| {
            let idx = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4];
            g::scatter_add_along_axis(ViewMut::new(&mut o.x, &[3, 4])?, 1, matrix_of_indices(&idx), &X)
        }
    );
    both!(
        rows,
        "scatter_add_along_axis",
        "Shape",
        "the index array has shape [12] where [3, 0] is needed",
        |o, g| g::scatter_add_along_axis(ViewMut::new(&mut o.x, &[3, 4])?, 1, &[0; 12], &X)
    );
    both!(
        rows,
        "scatter_add_along_axis_scaled",
        "Shape",
        "the source has shape [11] where [3, 4] is needed",
        |o, g| {
            let to = ViewMut::new(&mut o.x, &[3, 4])?;
            g::scatter_add_along_axis_scaled(to, 1, matrix_of_indices(&[0; 12]), &X[..11], 1.0)
        }
    );
    both!(rows, "pick_add", "Rank", "the array has rank 1, 2 is needed", |o, g| g::pick_add(
        &mut o.x,
        &[0],
        1.0
    ));
    both!(rows, "pick_add", "Shape", "the list of labels has shape [4] where [3] is needed", |o, g| {
        g::pick_add(ViewMut::new(&mut o.x, &[3, 4])?, &[0; 4], 1.0)
    });
    both!(
        rows,
        "pick_add",
        "Index",
        "index 4 at position 2 is out of bounds for an axis of length 4",
        |o, g| { g::pick_add(ViewMut::new(&mut o.x, &[3, 4])?, &[0, 1, 4], 1.0) }
    );
    // What the scaled forms share with the others is refused there too, and an axis without elements has no indices.
    both!(
        rows,
        "scatter_add_axis_scaled",
        "Shape",
        "the source has shape [12] where [2, 4] is needed",
        |o, g| g::scatter_add_axis_scaled(ViewMut::new(&mut o.y, &[3, 4])?, 0, &[0, 1], &[1.0; 12], 2.0)
    );
    both!(
        rows,
        "scatter_add_along_axis",
        "Shape",
        "the source has shape [4, 3] where [3, 4] is needed",
        |o, g| {
            let (to, from) = (ViewMut::new(&mut o.x, &[3, 4])?, View::new(&X, &[4, 3])?);
            g::scatter_add_along_axis(to, 1, matrix_of_indices(&[0; 12]), from)
        }
    );
    both!(
        rows,
        "scatter_add_along_axis_scaled",
        "Index",
        "index 3 at position 4 is out of bounds for an axis of length 3",
        |o, g| {
            let to = ViewMut::new(&mut o.x, &[3, 4])?;
            let idx = [0, 1, 2, 0, 3, 0, 0, 0, 0, 0, 0, 0];
            g::scatter_add_along_axis_scaled(to, 0, matrix_of_indices(&idx), &X, 2.0)
        }
    );
    both!(
        rows,
        "scatter_add",
        "Index",
        "index 1 at position 0 is out of bounds for an axis of length 0",
        |o, g| g::scatter_add(&mut o.x[..0], Wrap(&[1]), &[1.0])
    );
    both!(
        rows,
        "scatter_add",
        "Index",
        "index 1 at position 0 is out of bounds for an axis of length 0",
        |o, g| g::scatter_add(&mut o.x[..0], Clip(&[1]), &[1.0])
    );
    both!(rows, "pick_add_scaled", "Rank", "the array has rank 3, 2 is needed", |o, g| {
        g::pick_add_scaled(ViewMut::new(&mut o.x, &[3, 2, 2])?, &[0, 1, 0], &[1.0; 3], 1.0)
    });
    both!(
        rows,
        "pick_add_scaled",
        "Shape",
        "the list of labels has shape [2] where [3] is needed",
        |o, g| { g::pick_add_scaled(ViewMut::new(&mut o.x, &[3, 4])?, &[0, 1], &[1.0; 3], 1.0) }
    );
    both!(
        rows,
        "pick_add_scaled",
        "Index",
        "index -5 at position 0 is out of bounds for an axis of length 4",
        |o, g| g::pick_add_scaled(ViewMut::new(&mut o.x, &[3, 4])?, &[-5, 1, 2], &[1.0; 3], f32::NAN)
    );
    both!(rows, "pick_add_scaled", "Shape", "the source has shape [2] where [3] is needed", |o, g| {
        g::pick_add_scaled(ViewMut::new(&mut o.x, &[3, 4])?, &[0, 1, 2], &[1.0, 1.0], 1.0)
    });
    rows
}

fn selections() -> Vec<Row> {
    let mut rows = vec![];
    let short = "the mask has shape [11] where [12] is needed";
    both!(rows, "select::compress", "Shape", short, |_o, g| g::select::compress(&X, &MASK[..11]));
    both!(rows, "select::compress_into", "Shape", short, |o, g| {
        g::select::compress_into(&X, &MASK[..11], &mut o.x)
    });
    let four = "the answer has 4 elements, the output room for 3";
    both!(rows, "select::compress_into", "Room", four, |o, g| {
        g::select::compress_into(&X, &MASK, &mut o.x[..3])
    });
    both!(rows, "select::compress_indices_into", "Room", four, |o, g| {
        g::select::compress_indices_into(&MASK, &mut o.u32s[..3])
    });
    let words = "the slice of words has shape [1] where [2] is needed";
    rows.push(row("select::bits", "Shape", words, |_o| Mask::bits(&[0], 65).map(|mask| mask.len())));
    let many = "13 elements are to be selected, and 12 can be";
    both!(rows, "select::top_k", "TooFew", many, |_o, g| g::select::top_k::<f32, u32>(&X, 13));
    both!(rows, "select::top_k_into", "TooFew", many, |o, g| {
        g::select::top_k_into(&X, 13, &mut o.u32s, &mut o.x)
    });
    both!(rows, "select::top_k_into", "Room", four, |o, g| {
        g::select::top_k_into(&X, 4, &mut o.u32s[..3], &mut o.x)
    });
    both!(rows, "select::top_k_by", "TooFew", many, |_o, g| {
        g::select::top_k_by::<f32, u32>(&X, 13, By::Value)
    });
    both!(rows, "select::top_k_by_into", "Room", four, |o, g| {
        g::select::top_k_by_into(&X, 4, By::Value, &mut o.u32s, &mut o.x[..3])
    });
    both!(rows, "select::sparsify_top_k", "TooFew", many, |o, g| {
        g::select::sparsify_top_k::<f32, u32>(&mut o.x, 13)
    });
    both!(rows, "select::sparsify_top_k_into", "Room", four, |o, g| {
        g::select::sparsify_top_k_into(&mut o.x, 4, &mut o.u32s, &mut [0.0; 3])
    });
    both!(rows, "select::sparsify_top_k_with", "TooFew", many, |o, g| {
        g::select::sparsify_top_k_with::<f32, u32>(&X, &mut o.x, 13)
    });
    both!(
        rows,
        "select::sparsify_top_k_with",
        "Shape",
        "the gradient has shape [11] where [12] is needed",
        |o, g| { g::select::sparsify_top_k_with::<f32, u32>(&X[..11], &mut o.x, 3) }
    );
    both!(rows, "select::sparsify_top_k_with_into", "Room", four, |o, g| {
        g::select::sparsify_top_k_with_into(&X, &mut o.x, 4, &mut o.u64s[..3], &mut [0.0; 12])
    });
    both!(
        rows,
        "select::indices_into",
        "Room",
        "the answer has 6 elements, the output room for 5",
        |o, g| { g::select::indices_into(&X, Gt(0.0), &mut o.u32s[..5]) }
    );
    both!(rows, "select::values_into", "Room", "the answer has 6 elements, the output room for 0", |o, g| {
        g::select::values_into(matrix().transposed(), Gt(0.0), &mut o.x[..0])
    });
    both!(rows, "select::pairs_into", "Room", "the answer has 6 elements, the output room for 5", |o, g| {
        g::select::pairs_into(&X, Gt(0.0), &mut o.u64s, &mut o.x[..5])
    });
    both!(rows, "select::pairs_into", "Room", "the answer has 6 elements, the output room for 4", |o, g| {
        g::select::pairs_into(&X, Gt(0.0), &mut o.u32s[..4], &mut o.x)
    });
    both!(rows, "select::mask_into", "Room", "the answer has 12 elements, the output room for 11", |o, g| {
        g::select::mask_into(&X, Gt(100.0), &mut o.bools[..11])
    });
    both!(
        rows,
        "select::sparsify_into",
        "Room",
        "the answer has 12 elements, the output room for 5",
        |o, g| { g::select::sparsify_into(&mut o.x, Gt(0.0), &mut o.u32s, &mut [0.0; 5]) }
    );
    both!(
        rows,
        "select::sparsify_with_into",
        "Room",
        "the answer has 10 elements, the output room for 9",
        |o, g| { g::select::sparsify_with_into(&X, &mut o.x, Gt(-2.0), &mut o.u64s[..9], &mut [0.0; 12]) }
    );
    both!(
        rows,
        "select::sparsify_with",
        "Shape",
        "the gradient has shape [11] where [12] is needed",
        |o, g| { g::select::sparsify_with::<f32, u32>(&X[..11], &mut o.x, Gt(0.0)) }
    );
    both!(
        rows,
        "select::sparsify_with_into",
        "Shape",
        "the gradient has shape [12] where [3, 4] is needed",
        |o, g| {
            let residual = ViewMut::new(&mut o.x, &[3, 4])?;
            g::select::sparsify_with_into(&X, residual, Gt(0.0), &mut o.u32s, &mut [0.0; 12])
        }
    );
    for k in [0, 11, usize::MAX] {
        let message: &'static str =
            format!("k = {k} is not between 1 and the number of elements that are not NaN").leak();
        let x = [f32::NAN, 1.0, 2.0, f32::NAN, 1.0, 2.0, 1.0, 2.0, 3.0, 4.0, 5.0, -0.0];
        both!(rows, "select::top_k_threshold", "Option", message, |_o, g| g::select::top_k_threshold(&x, k));
    }
    both!(
        rows,
        "select::sparsify_into",
        "Room",
        "the answer has 12 elements, the output room for 11",
        |o, g| {
            let residual = ViewMut::new(&mut o.x, &[3, 4])?.transposed();
            g::select::sparsify_into(residual, Gt(0.0), &mut o.u64s[..11], &mut [0.0; 12])
        }
    );
    both!(
        rows,
        "select::sparsify_with",
        "Shape",
        "the gradient has shape [4, 3] where [3, 4] is needed",
        |o, g| {
            let residual = ViewMut::new(&mut o.x, &[3, 4])?;
            g::select::sparsify_with::<f32, u32>(matrix().transposed(), residual, Gt(0.0))
        }
    );
    // A position beyond 2³² is refused before the first element is looked at.
    const LONG: usize = (1 << 32) + 1;
    let long = || repeated(&X, LONG);
    let message = "an input of 4294967297 elements cannot be indexed by u32";
    both!(rows, "select::indices", "Count", message, |_o, g| {
        g::select::indices::<f32, u32>(long(), Gt(0.0))
    });
    both!(rows, "select::indices_into", "Count", message, |o, g| {
        g::select::indices_into(long(), Gt(0.0), &mut o.u32s)
    });
    both!(rows, "select::pairs", "Count", message, |_o, g| g::select::pairs::<f32, u32>(long(), Gt(0.0)));
    both!(rows, "select::pairs_into", "Count", message, |o, g| {
        g::select::pairs_into(long(), Gt(0.0), &mut o.u32s, &mut o.x)
    });
    // What is written to repeats no element, so it takes address space, though not memory.
    let pages = || MmapOptions::new().len(4 * LONG).no_reserve_swap().map_anon().expect("address space");
    both!(rows, "select::sparsify", "Count", message, |_o, g| {
        g::select::sparsify::<f32, u32>(bytemuck::cast_slice_mut(&mut pages()), Gt(0.0))
    });
    both!(rows, "select::sparsify_into", "Count", message, |o, g| {
        let residual = &mut pages();
        g::select::sparsify_into(bytemuck::cast_slice_mut(residual), Gt(0.0), &mut o.u32s, &mut o.x)
    });
    both!(rows, "select::sparsify_with", "Count", message, |_o, g| {
        g::select::sparsify_with::<f32, u32>(long(), bytemuck::cast_slice_mut(&mut pages()), Gt(0.0))
    });
    both!(rows, "select::sparsify_with_into", "Count", message, |o, g| {
        let residual = &mut pages();
        let residual = bytemuck::cast_slice_mut(residual);
        g::select::sparsify_with_into(long(), residual, Gt(0.0), &mut o.u32s, &mut o.x)
    });
    both!(
        rows,
        "select::mask",
        "Memory",
        "there is no memory for an answer of 1125899906842624 bytes",
        |_o, g| g::select::mask(repeated(&X, MANY), Gt(0.0))
    );
    both!(
        rows,
        "select::mask_into",
        "Room",
        "the answer has 1125899906842624 elements, the output room for 12",
        |o, g| g::select::mask_into(repeated(&X, MANY), Gt(0.0), &mut o.bools)
    );
    rows
}

/// What every method of `SoftmaxXent`, and of its reference, must say to these options and labels.
fn cross_entropy(
    rows: &mut Vec<Row>,
    variant: &'static str,
    message: &'static str,
    labels: [i64; 3],
    xent: SoftmaxXent<f32>,
) {
    macro_rules! methods {
        ($of:ident, $xent:expr) => {{
            let $of = xent.clone();
            rows.push(row("forward_backward", variant, message, move |o| {
                $xent.forward_backward(matrix(), &labels, &mut o.x)
            }));
            let $of = xent.clone();
            rows.push(row("forward_backward_in_place", variant, message, move |o| {
                $xent.forward_backward_in_place(ViewMut::new(&mut o.x, &[3, 4])?, &labels)
            }));
            let $of = xent.clone();
            rows.push(row("forward", variant, message, move |_| $xent.forward(matrix(), &labels)));
            let $of = xent.clone();
            rows.push(row("backward", variant, message, move |o| {
                $xent.backward(matrix(), &labels, &[1.0], &mut o.x)
            }));
            // Of parts of rows there is no other complaint than of whole ones, but one.
            let $of = xent.clone();
            rows.push(row("backward_from", variant, message, move |o| {
                let known = [Partial::empty(); 3];
                $xent.backward_from(matrix(), &labels, &known, &[1.0], &mut o.x)
            }));
            let $of = xent.clone();
            rows.push(row("partials", variant, message, move |_| $xent.partials(matrix(), &labels)));
        }};
    }
    methods!(xent, xent);
    methods!(xent, reference::SoftmaxXent(&xent));
}

fn cross_entropies() -> Vec<Row> {
    let mut rows = vec![];
    let fine = [0, 1, 3];
    let new = SoftmaxXent::<f32>::new;
    let mut refuses = |variant, message: &'static str, labels, xent| {
        cross_entropy(&mut rows, variant, message, labels, xent);
    };
    refuses("Label", "label 4 of row 1 is not one of 4 classes", [0, 4, 5], new());
    refuses("Label", "label -1 of row 2 is not one of 4 classes", [0, 3, -1], new());
    refuses("Label", "label -9223372036854775808 of row 0 is not one of 4 classes", [i64::MIN, 0, 0], new());
    refuses("Label", "label 9223372036854775807 of row 0 is not one of 4 classes", [i64::MAX, 0, 0], new());
    refuses("Label", "label -99 of row 1 is not one of 4 classes", [-100, -99, 0], new().ignore_index(-100));
    refuses("Axis", "axis 2 does not exist in an array of rank 2", fine, new().class_axis(2));
    refuses("Axis", "axis -3 does not exist in an array of rank 2", fine, new().class_axis(-3));
    refuses(
        "Axis",
        "axis -9223372036854775808 does not exist in an array of rank 2",
        fine,
        new().class_axis(isize::MIN),
    );
    refuses("Shape", "the labels has shape [3] where [4] is needed", fine, new().class_axis(0));
    refuses("Shape", "class_weights has shape [3] where [4] is needed", fine, new().class_weights(&[1.0; 3]));
    refuses("Shape", "class_weights has shape [0] where [4] is needed", fine, new().class_weights(&[]));
    for (value, text) in
        [(-1.0, "-1.0"), (f32::NAN, "NaN"), (f32::INFINITY, "inf"), (f32::NEG_INFINITY, "-inf")]
    {
        let not = |option: &str, expected: &str| -> &'static str {
            format!("{option} = {text} is not {expected}").leak()
        };
        let from_zero = "finite and not negative";
        refuses(
            "Option",
            not("class_weights", from_zero),
            fine,
            new().class_weights(&[1.0, value, 1.0, 1.0]),
        );
        refuses("Option", not("label_smoothing", "in 0..=1"), fine, new().label_smoothing(value));
        refuses("Option", not("z_loss", from_zero), fine, new().z_loss(value));
        refuses("Option", not("softcap", "finite and positive"), fine, new().softcap(value));
        refuses("Option", not("normalizer", "finite and positive"), fine, new().normalizer(value));
    }
    refuses("Option", "label_smoothing = 1.5 is not in 0..=1", fine, new().label_smoothing(1.5));
    refuses("Option", "softcap = 0.0 is not finite and positive", fine, new().softcap(0.0));
    refuses("Option", "normalizer = 0.0 is not finite and positive", fine, new().normalizer(0.0));
    for reduction in [Reduction::Sum, Reduction::None] {
        let message = "normalizer and reduction cannot be combined: only a mean divides by a number of rows";
        refuses("Conflict", message, fine, new().normalizer(2.0).reduction(reduction));
    }

    /// What a method of these options and of its reference must both answer.
    macro_rules! both {
        ($call:literal, $variant:expr, $message:expr, $xent:expr, |$o:ident, $x:ident| $body:expr) => {{
            rows.push(row($call, $variant, $message, move |$o| {
                let $x = $xent;
                $body
            }));
            rows.push(row(concat!("reference::", $call), $variant, $message, move |$o| {
                let xent = $xent;
                let $x = reference::SoftmaxXent(&xent);
                $body
            }));
        }};
    }
    let labels = &[0, 1, 2];
    let known: &'static [Partial<f32>] = vec![Partial::empty(); 3].leak();
    let shape = "the gradient has shape [11] where [3, 4] is needed";
    both!("forward_backward", "Shape", shape, new(), |o, xent| {
        xent.forward_backward(matrix(), labels, &mut o.x[..11])
    });
    both!("backward", "Shape", shape, new(), |o, xent| {
        xent.backward(matrix(), labels, &[1.0], &mut o.x[..11])
    });
    both!("backward_from", "Shape", shape, new(), |o, xent| {
        xent.backward_from(matrix(), labels, known, &[1.0], &mut o.x[..11])
    });
    let shape = "the gradient has shape [4, 3] where [3, 4] is needed";
    both!("forward_backward", "Shape", shape, new(), |o, xent| {
        xent.forward_backward(matrix(), labels, ViewMut::new(&mut o.x, &[4, 3])?)
    });
    let one = "the upstream gradient has shape [3] where [1] is needed";
    both!("backward", "Shape", one, new(), |o, xent| {
        xent.backward(matrix(), labels, &[1.0; 3], &mut o.x)
    });
    both!("backward_from", "Shape", one, new(), |o, xent| {
        xent.backward_from(matrix(), labels, known, &[1.0; 3], &mut o.x)
    });
    let one_each = "the upstream gradient has shape [2] where [3] is needed";
    both!("backward", "Shape", one_each, new().reduction(Reduction::None), |o, xent| {
        xent.backward(matrix(), labels, &[1.0; 2], &mut o.x)
    });
    both!("backward_from", "Shape", one_each, new().reduction(Reduction::None), |o, xent| {
        xent.backward_from(matrix(), labels, known, &[1.0; 2], &mut o.x)
    });
    let partials = "the partials has shape [2] where [3] is needed";
    both!("backward_from", "Shape", partials, new(), |o, xent| {
        xent.backward_from(matrix(), labels, &known[..2], &[1.0], &mut o.x)
    });

    let rank = "the logits has rank 0, at least 1 is needed";
    both!("forward_backward", "Rank", rank, new(), |o, xent| {
        xent.forward_backward::<i64>(View::strided(&X, &[], &[], 0)?, &[], &mut o.x)
    });
    both!("forward_backward_in_place", "Rank", rank, new(), |o, xent| {
        xent.forward_backward_in_place::<i64>(ViewMut::strided(&mut o.x, &[], &[], 0)?, &[])
    });
    both!("forward", "Rank", rank, new(), |_o, xent| {
        xent.forward::<i64>(View::strided(&X, &[], &[], 0)?, &[])
    });
    both!("backward", "Rank", rank, new(), |o, xent| {
        xent.backward::<i64>(View::strided(&X, &[], &[], 0)?, &[], &[1.0], &mut o.x)
    });
    both!("partials", "Rank", rank, new(), |_o, xent| {
        xent.partials::<i64>(View::strided(&X, &[], &[], 0)?, &[])
    });
    both!("backward_from", "Rank", rank, new(), |o, xent| {
        xent.backward_from::<i64>(View::strided(&X, &[], &[], 0)?, &[], &[], &[1.0], &mut o.x)
    });

    let parts = "shard and a pass over whole rows cannot be combined: the other classes' sums are missing";
    both!("forward_backward", "Conflict", parts, new().shard(0, 4), |o, xent| {
        xent.forward_backward(matrix(), labels, &mut o.x)
    });
    both!("forward_backward_in_place", "Conflict", parts, new().shard(0, 4), |o, xent| {
        xent.forward_backward_in_place(ViewMut::new(&mut o.x, &[3, 4])?, labels)
    });
    both!("forward", "Conflict", parts, new().shard(0, 4), |_o, xent| xent.forward(matrix(), labels));
    both!("backward", "Conflict", parts, new().shard(0, 4), |o, xent| {
        xent.backward(matrix(), labels, &[1.0], &mut o.x)
    });
    for (first, classes) in [(1, 4), (0, 3), (usize::MAX, 4), (0, 0)] {
        let message: &'static str =
            format!("shard = ({first}, {classes}) is not room for the logits' classes").leak();
        both!("partials", "Option", message, new().shard(first, classes), |_o, xent| {
            xent.partials(matrix(), labels)
        });
        both!("backward_from", "Option", message, new().shard(first, classes), |o, xent| {
            xent.backward_from(matrix(), labels, known, &[1.0], &mut o.x)
        });
    }
    rows
}

/// Every function once, rightly called: what a level that is not here makes of it is this error.
fn right_calls() -> Vec<Row> {
    let levels = Level::available().iter().map(|level| level.name()).collect::<Vec<_>>().join(", ");
    let message: &'static str = format!("level \"sse9\" is not one that this CPU has: {levels}").leak();
    let mut rows = vec![];
    macro_rules! right {
        ($($call:literal: |$o:ident| $body:expr;)*) => {
            $(rows.push(row($call, "Level", message, move |$o| $body));)*
        };
    }
    const LABELS: [i64; 3] = [0, 1, 3];
    fn indices() -> View<'static, i32> {
        matrix_of_indices(&[0; 12])
    }
    fn to(x: &mut [f32; 12]) -> ViewMut<'_, f32> {
        ViewMut::new(x, &[3, 4]).expect("12 elements")
    }
    let xent = SoftmaxXent::<f32>::new;
    right! {
        "take": |_o| gradix::take(&X, &[0, 11]);
        "take_into": |o| gradix::take_into(&X, &[0, 11], &mut o.x[..2]);
        "take_axis": |_o| gradix::take_axis(matrix(), 0, &[0, 2]);
        "take_axis_into": |o| gradix::take_axis_into(matrix(), 0, &[0, 2], &mut o.x[..8]);
        "take_along_axis": |_o| gradix::take_along_axis(matrix(), 0, indices());
        "take_along_axis_into": |o| gradix::take_along_axis_into(matrix(), 0, indices(), &mut o.x);
        "pick": |_o| gradix::pick(matrix(), &LABELS);
        "pick_into": |o| gradix::pick_into(matrix(), &LABELS, &mut o.x[..3]);
        "scatter_add": |o| gradix::scatter_add(&mut o.x, &[0, 11], &X[..2]);
        "scatter_add_scaled": |o| gradix::scatter_add_scaled(&mut o.x, &[0, 11], &X[..2], 2.0);
        "scatter_add_axis": |o| gradix::scatter_add_axis(to(&mut o.x), 0, &[0, 2], &X[..8]);
        "scatter_add_axis_scaled": |o| gradix::scatter_add_axis_scaled(to(&mut o.x), 0, &[0, 2], &X[..8], 2.0);
        "scatter_add_along_axis": |o| gradix::scatter_add_along_axis(to(&mut o.x), 1, indices(), &X);
        "scatter_add_along_axis_scaled": |o| {
            gradix::scatter_add_along_axis_scaled(to(&mut o.x), 1, indices(), &X, 2.0)
        };
        "put": |o| gradix::put(&mut o.x, &[0, 11], &X[..2]);
        "put_axis": |o| gradix::put_axis(to(&mut o.x), 0, &[0, 2], &X[..8]);
        "put_along_axis": |o| gradix::put_along_axis(to(&mut o.x), 1, indices(), &X);
        "put_value": |o| gradix::put_value(&mut o.x, &[0, 11], 2.0);
        "put_value_axis": |o| gradix::put_value_axis(to(&mut o.x), 0, &[0, 2], 2.0);
        "put_value_along_axis": |o| gradix::put_value_along_axis(to(&mut o.x), 1, indices(), 2.0);
        "pick_add": |o| gradix::pick_add(to(&mut o.x), &LABELS, 1.0);
        "pick_add_scaled": |o| gradix::pick_add_scaled(to(&mut o.x), &LABELS, &X[..3], 2.0);
        "indices": |_o| select::indices::<f32, u32>(&X, Gt(0.0));
        "indices_into": |o| select::indices_into(&X, Gt(0.0), &mut o.u32s);
        "values": |_o| select::values(&X, Gt(0.0));
        "values_into": |o| select::values_into(&X, Gt(0.0), &mut o.x);
        "pairs": |_o| select::pairs::<f32, u64>(&X, Gt(0.0));
        "pairs_into": |o| select::pairs_into(&X, Gt(0.0), &mut o.u64s, &mut o.x);
        "count": |_o| select::count(&X, Gt(0.0));
        "mask": |_o| select::mask(&X, Gt(0.0));
        "mask_into": |o| select::mask_into(&X, Gt(0.0), &mut o.bools);
        "sparsify": |o| select::sparsify::<f32, u32>(&mut o.x, Gt(0.0));
        "sparsify_into": |o| select::sparsify_into(&mut o.y, Gt(0.0), &mut o.u32s, &mut [0.0; 12]);
        "sparsify_with": |o| select::sparsify_with::<f32, u32>(&X, &mut o.x, Gt(0.0));
        "sparsify_with_into": |o| {
            select::sparsify_with_into(&X, &mut o.x, Gt(0.0), &mut o.u64s, &mut [0.0; 12])
        };
        "top_k_threshold": |_o| select::top_k_threshold(&X, 3);
        "compress": |_o| select::compress(&X, &MASK);
        "compress_into": |o| select::compress_into(&X, &MASK, &mut o.x);
        "compress_indices": |_o| select::compress_indices::<u32>(&MASK);
        "compress_indices_into": |o| select::compress_indices_into(&MASK, &mut o.u32s);
        "top_k": |_o| select::top_k::<f32, u32>(&X, 3);
        "top_k_into": |o| select::top_k_into(&X, 3, &mut o.u32s, &mut o.x);
        "top_k_by": |_o| select::top_k_by::<f32, u32>(&X, 3, By::Value);
        "top_k_by_into": |o| select::top_k_by_into(&X, 3, By::Value, &mut o.u32s, &mut o.x);
        "sparsify_top_k": |o| select::sparsify_top_k::<f32, u32>(&mut o.x, 3);
        "sparsify_top_k_into": |o| select::sparsify_top_k_into(&mut o.y, 3, &mut o.u32s, &mut [0.0; 12]);
        "sparsify_top_k_with": |o| select::sparsify_top_k_with::<f32, u32>(&X, &mut o.x, 3);
        "sparsify_top_k_with_into": |o| {
            select::sparsify_top_k_with_into(&X, &mut o.x, 3, &mut o.u64s, &mut [0.0; 12])
        };
        "forward_backward": |o| xent().forward_backward(matrix(), &LABELS, to(&mut o.x));
        "forward_backward_in_place": |o| xent().forward_backward_in_place(to(&mut o.x), &LABELS);
        "forward": |_o| xent().forward(matrix(), &LABELS);
        "backward": |o| xent().backward(matrix(), &LABELS, &[1.0], to(&mut o.x));
        "partials": |_o| xent().partials(matrix(), &LABELS);
        "backward_from": |o| {
            xent().backward_from(matrix(), &LABELS, &[Partial::empty(); 3], &[1.0], to(&mut o.x))
        };
    }
    rows
}

/// The names of the public functions that return a `Result`, as the sources have them.
fn functions() -> BTreeSet<String> {
    let ops = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops");
    let files = [
        "indexed/mod",
        "select/mod",
        "select/compress",
        "select/sparsify",
        "select/top_k",
        "softmax_xent/mod",
    ];
    let source = |file| std::fs::read_to_string(ops.join(file).with_extension("rs")).expect("a source");
    let mut names = BTreeSet::new();
    for source in files.map(source) {
        for function in source.split("pub fn ").skip(1) {
            let head = function.split(" {\n").next().unwrap_or_default();
            if head.contains("-> Result<") {
                names.extend(function.split(['<', '(']).next().map(str::to_string));
            }
        }
    }
    names.remove("bits"); // which makes a mask, at no level
    names
}

#[test]
fn every_function_is_in_the_tables() {
    let right: BTreeSet<String> = right_calls().iter().map(|row| row.0.to_string()).collect();
    assert_eq!(functions(), right);
    let wrong: BTreeSet<String> = wrong_calls()
        .iter()
        .filter(|row| !row.0.starts_with("reference"))
        .map(|row| row.0.rsplit("::").next().unwrap_or_default().to_string())
        .collect();
    // To count hits, or to answer with as many elements as there are, goes wrong with the level alone.
    let never: BTreeSet<String> = ["compress_indices", "count", "values"].map(str::to_string).into();
    assert_eq!(right.difference(&wrong).cloned().collect::<BTreeSet<_>>(), never);
}

#[test]
fn every_right_call_is_accepted() {
    for &level in Level::available() {
        for (call, _, _, f) in &right_calls() {
            assert_eq!(level.run(|| f(&mut BEFORE.clone())), Ok(Ok(())), "{call} at {level}");
        }
    }
}

/// Not a test of its own: what the next one runs in a process of its own.
#[test]
#[ignore = "run by the test of a level that is not here"]
fn right_calls_with_a_wrong_level() {
    for (call, expected, message, f) in &right_calls() {
        let mut outputs = BEFORE;
        let error = f(&mut outputs).expect_err(call);
        assert_eq!((&variant(&error)[..], &error.to_string()[..]), (*expected, *message), "{call}");
        assert_eq!(outputs, BEFORE, "{call}");
    }
}

#[test]
fn a_level_that_is_not_here_is_refused_by_every_function() {
    let mut process = std::process::Command::new(std::env::current_exe().expect("this test's own path"));
    process.args(["--exact", "right_calls_with_a_wrong_level", "--ignored"]).env("GRADIX_LEVEL", "sse9");
    let output = process.output().expect("a process");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Where one axis is empty the others may be as long as they like, and there is nothing to do.
#[test]
fn axes_that_claim_much_and_hold_nothing() {
    const MUCH: usize = 1 << 40;
    let none: &mut [f32] = &mut [];
    let list = View::new(&[0i32; 0], &[MUCH, 0, 8]).expect("no elements");
    for shape in [[MUCH, 0, 8], [0, MUCH, 8], [8, MUCH, 0]] {
        let x = View::<f32>::new(&[], &shape).expect("no elements");
        for axis in 0..3 {
            let indices = if shape[axis as usize] == 0 { &[][..] } else { &[0, 7] };
            assert_eq!(gradix::take_axis(x, axis, indices), Ok(vec![]));
            let to = ViewMut::new(none, &shape).expect("no elements");
            assert_eq!(gradix::scatter_add_axis(to, axis, indices, &[]), Ok(()));
        }
        assert_eq!(gradix::take(x, list), Ok(vec![]));
        assert_eq!(gradix::scatter_add(ViewMut::new(none, &shape).expect("no elements"), list, &[]), Ok(()));
        assert_eq!(select::pairs::<f32, u64>(x, Gt(0.0)), Ok((vec![], vec![])));
        assert_eq!(select::mask(x.transposed(), Gt(0.0)), Ok(vec![]));
        let residual = ViewMut::new(none, &shape).expect("no elements").transposed();
        assert_eq!(select::sparsify_with(x.transposed(), residual, Gt(0.0)), Ok((vec![0u32; 0], vec![])));
        assert!(select::top_k_threshold(x, 1).is_err());
    }
    let x = View::<f32>::new(&[], &[MUCH, 0, 8]).expect("no elements");
    assert_eq!(gradix::take_along_axis(x, 1, list), Ok(vec![]));
    let to = ViewMut::new(none, &[MUCH, 0, 8]).expect("no elements");
    assert_eq!(gradix::scatter_add_along_axis(to, 1, list, &[]), Ok(()));
}

/// Numbers from a seed.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % n
    }

    /// What is right, but once in `n` times one of these.
    fn or<A: Copy>(&mut self, n: usize, right: A, wrong: &[A]) -> A {
        if self.below(n) > 0 { right } else { wrong[self.below(wrong.len())] }
    }
}

/// Options, shapes and labels in which each thing is right or, now and then, wrong: both sides, which check them apart,
/// must say the same, and what is wrong first is what both name.
#[test]
fn faults_by_the_thousand_are_told_alike_by_the_definition() {
    const WRONG: [f32; 6] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, -f32::MIN_POSITIVE, 2.0];
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for seed in 1..=20_000 {
        let mut draw = Draw(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..4 {
            draw.below(2);
        }
        let rank = draw.or(30, 2, &[0, 1, 3]);
        let shape: Vec<usize> = (0..rank).map(|_| draw.or(20, 1 + seed as usize % 5, &[0, 1, 3])).collect();
        let axis = draw.or(10, -1, &[0, -2, 1, 2, -3, isize::MIN, isize::MAX]);
        let at = if axis < 0 { axis.wrapping_add(rank as isize) } else { axis } as usize;
        let here = shape.get(at).copied().unwrap_or(2);
        let rows: usize = shape.iter().enumerate().filter(|axis| axis.0 != at).map(|axis| axis.1).product();
        let (first, all) = (draw.below(3), here + 3);
        let is_shard = draw.below(4) == 0;
        let classes = if is_shard { all } else { here };
        let mut xent = SoftmaxXent::new().class_axis(axis);
        if is_shard {
            xent = xent.shard(draw.or(10, first, &[4, usize::MAX, all]), draw.or(10, all, &[0, usize::MAX]));
        }
        if draw.below(3) == 0 {
            xent = xent.ignore_index(-100);
        }
        let factors = |draw: &mut Draw, n: usize| -> Vec<f32> {
            let n = draw.or(10, n, &[0, n + 1]);
            (0..n).map(|_| draw.or(15, 1.0, &WRONG)).collect()
        };
        if draw.below(3) == 0 {
            xent = xent.class_weights(&factors(&mut draw, classes));
        }
        if draw.below(3) == 0 {
            xent = xent.row_weights(&factors(&mut draw, rows));
        }
        xent = xent.label_smoothing(draw.or(10, 0.1, &WRONG)).z_loss(draw.or(10, 0.1, &WRONG));
        if draw.below(3) == 0 {
            xent = xent.softcap(draw.or(10, 5.0, &[WRONG[0], WRONG[1], WRONG[2], WRONG[3], 0.0, -0.0]));
        }
        if draw.below(3) == 0 {
            xent = xent.normalizer(draw.or(10, 7.0, &[WRONG[0], WRONG[1], WRONG[2], WRONG[3], 0.0]));
        }
        xent = xent.reduction(draw.or(4, Reduction::Mean, &[Reduction::Sum, Reduction::None]));
        let count = draw.or(15, rows, &[0, rows + 1]);
        let wrong = [-1, classes as i64, i64::MIN, i64::MAX, -100];
        let labels: Vec<i64> =
            (0..count).map(|row| draw.or(10, row as i64 % classes.max(1) as i64, &wrong)).collect();
        let len = shape.iter().product();
        let x = vec![0.5_f32; len];
        let logits = View::new(&x, &shape).expect("as many elements");
        let upstream = vec![1.0; if draw.below(2) == 0 { 1 } else { draw.or(5, rows, &[0, rows + 1]) }];
        let known = vec![Partial::empty(); draw.or(10, rows, &[0, rows + 1])];
        let mut targets_shape = shape.clone();
        if draw.below(10) == 0 {
            targets_shape.reverse();
        }
        let targets = View::new(&x, &targets_shape).expect("as many elements");
        let grad_len = draw.or(10, len, &[0, len + 1]);
        macro_rules! errors {
            ($xent:expr) => {{
                let xent = $xent;
                let (mut grad, mut place) = (vec![7.0; grad_len], x.clone());
                let errors = [
                    xent.forward_backward(logits, &labels, &mut grad).err(),
                    xent.forward(logits, &labels).err(),
                    xent.backward(logits, &labels, &upstream, &mut grad).err(),
                    xent.partials(logits, &labels).err(),
                    xent.backward_from(logits, &labels, &known, &upstream, &mut grad).err(),
                    xent.forward_backward_soft(logits, targets, &mut grad).err(),
                    xent.forward_backward_in_place(ViewMut::new(&mut place, &shape).unwrap(), &labels).err(),
                ];
                assert!(errors.iter().any(Option::is_none) || grad.iter().all(|&x| x == 7.0), "seed {seed}");
                errors
            }};
        }
        let fast = errors!(&xent);
        assert_eq!(
            fast,
            errors!(reference::SoftmaxXent(&xent)),
            "seed {seed}: {xent:?} {shape:?} {labels:?}"
        );
        for error in fast.iter().flatten() {
            let text = error.to_string();
            let option = text.split([' ', '=']).next().unwrap_or_default();
            *seen.entry(format!("{} {option}", variant(error))).or_default() += 1;
        }
    }
    // Each kind of fault comes first now and then.
    for kind in [
        "Axis axis",
        "Rank the",
        "Shape the",
        "Shape class_weights",
        "Shape row_weights",
        "Label label",
        "Option class_weights",
        "Option row_weights",
        "Option label_smoothing",
        "Option z_loss",
        "Option softcap",
        "Option normalizer",
        "Option shard",
        "Conflict normalizer",
        "Conflict shard",
    ] {
        assert!(seen.get(kind).is_some_and(|&n| n > 100), "{kind}: {seen:?}");
    }
}

fn wrong_calls() -> Vec<Row> {
    let tables = [views(), gathers(), scatters(), selections(), cross_entropies()];
    tables.into_iter().flatten().collect()
}

#[test]
fn every_wrong_call_is_refused_in_words_and_touches_nothing() {
    static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());
    std::panic::set_hook(Box::new(|panic| PANICS.lock().unwrap().push(panic.to_string())));
    let mut complaints = vec![];
    let rows = wrong_calls();
    for &level in Level::available() {
        for (call, expected, message, f) in &rows {
            let mut outputs = BEFORE;
            let answer = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                level.run(|| f(&mut outputs)).unwrap()
            }));
            let found = match &answer {
                Err(_) => "panic".to_string(),
                Ok(Ok(())) => "accepted".to_string(),
                Ok(Err(error)) => format!("{}: {error}", variant(error)),
            };
            let expected = format!("{expected}: {message}");
            if found != expected {
                complaints.push(format!("{call} at {level}\n  found    {found}\n  expected {expected}"));
            }
            if outputs != BEFORE {
                complaints.push(format!("{call} at {level} ({expected}) has touched its output"));
            }
        }
    }
    drop(std::panic::take_hook());
    let panics = PANICS.lock().unwrap();
    assert!(complaints.is_empty() && panics.is_empty(), "{}\n{panics:#?}", complaints.join("\n"));
    assert!(rows.len() > 300, "only {} calls", rows.len());
}
