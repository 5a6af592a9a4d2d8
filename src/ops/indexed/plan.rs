//! What gather and scatter share: outer × index × inner, and the two ways to it.
//!
//! Every such operation has a *table* (read by a gather, updated by a scatter), a *list* of indices into one
//! axis of it, and a third array with one element for each index and each place on the table's other axes:
//! the *values*, which a gather writes and a scatter reads.
//!
//! The *short way* takes what most calls are made of, by a few numbers: vectors and matrices, for which it is inlined
//! into the caller, where views made for the call dissolve into these numbers; and arrays in C order. The *long way*
//! takes everything, by a [`Plan`].

use crate::array::{Erased3, Erased3Mut, ErasedSlice, ErasedView, INDEX, INNER, OUTER, Split, Word};
use crate::error::{Error, Result};
use crate::index::Mode;
use crate::index::checked::{List, Meaning, in_place_bound};
use crate::simd::Level;

/// How the list goes over the table.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Form {
    /// `table[list[k]]`, the table flattened in C order.
    Flat,
    /// `table[p, list[k], m]`
    Axis(usize),
    /// `table[p, list[p, k, m], m]`
    Along(usize),
    /// `table[p, list[p]]`
    Pick,
}

/// A 3-d piece, read or written.
pub(crate) trait Piece: Sized + Send {
    /// The piece, to read.
    fn as_piece(&self) -> &Erased3<'_>;
    fn split_at(self, axis: usize, mid: usize) -> (Self, Self);
    /// Both parts of a gather's table that is cut along the index: each may name all of it.
    fn both(self) -> (Self, Self);
}

impl Piece for Erased3<'_> {
    #[inline(always)]
    fn as_piece(&self) -> &Erased3<'_> {
        self
    }
    fn split_at(self, axis: usize, mid: usize) -> (Self, Self) {
        self.split_at(axis, mid)
    }
    fn both(self) -> (Self, Self) {
        (self, self)
    }
}

impl Piece for Erased3Mut<'_> {
    #[inline(always)]
    fn as_piece(&self) -> &Erased3<'_> {
        self.as_piece()
    }
    fn split_at(self, axis: usize, mid: usize) -> (Self, Self) {
        self.split_at(axis, mid)
    }
    fn both(self) -> (Self, Self) {
        // A scatter is not cut along the index, which would have two threads update one element.
        let len = self.as_piece().shape()[INDEX];
        self.split_at(INDEX, len)
    }
}

/// The three arrays, or pieces of them that belong together.
pub(crate) struct Job<'a, A, B> {
    pub(crate) table: A,
    pub(crate) list: List<'a>,
    pub(crate) values: B,
    /// The axis to cut.
    pub(crate) axis: usize,
}

impl<A: Piece, B: Piece> Split for Job<'_, A, B> {
    fn len(&self) -> usize {
        self.values.as_piece().shape()[self.axis]
    }
    fn split_at(self, mid: usize) -> (Self, Self) {
        let Job { table, list, values, axis } = self;
        let table = if axis == INDEX { table.both() } else { table.split_at(axis, mid) };
        let (list, values) = (list.split_at(axis, mid), values.split_at(axis, mid));
        (
            Job { table: table.0, list: list.0, values: values.0, axis },
            Job { table: table.1, list: list.1, values: values.1, axis },
        )
    }
}

impl<A: Piece, B: Piece> Job<'_, A, B> {
    /// Checks a list that is one run, or dense: what the short way has.
    #[inline(always)]
    pub(crate) fn check(&mut self, level: Level) -> Result<()> {
        // Where any index will do, single elements that are resolved as they are read gain nothing from a look at all.
        let is_read_once = self.list.meaning.takes_any() && self.table.as_piece().reach() < PREFETCH_FROM;
        if is_read_once && self.are_vectors() {
            self.list.settle(level);
            return Ok(());
        }
        if self.list.check_in_place(level) { Ok(()) } else { self.list.check_run() }
    }

    /// Whether all three are dense vectors along the indexed axis.
    #[inline(always)]
    pub(crate) fn are_vectors(&self) -> bool {
        let pieces = [self.table.as_piece(), self.list.words.piece(), self.values.as_piece()];
        pieces.iter().all(|piece| piece.as_vector().is_some())
    }
}

/// Bytes of a table from which on single elements are prefetched: half a third-level cache of 32 MiB. Below, the CPU
/// hides the latency by itself, and a prefetch costs an instruction or two for each element. On a Zen 5, gathers take
/// 1.09 times as long with prefetches at 4 MiB and 0.86 at 64 MiB, scatters 1.5 times and 0.7; on a Zen 4, scatters to
/// tables of 2 to 8 MiB gain, too.
pub(crate) const PREFETCH_FROM: usize = 16 << 20;

/// Three dense vectors, `values[k]` with `table[list[k]]`: what the smallest calls are made of.
pub(crate) struct Vectors<'a, A, B> {
    pub(crate) table: A,
    pub(crate) list: ErasedSlice<'a>,
    pub(crate) is_signed: bool,
    pub(crate) values: B,
}

impl<'a, A, B> Vectors<'a, A, B> {
    /// What the list means on an axis of length `bound`, if there is nothing to be refused in it.
    #[inline(always)]
    pub(crate) fn settled(&self, mode: &Mode<[u8; 16]>, bound: usize) -> Option<Meaning> {
        let level = Level::current().ok()?;
        let mut meaning = Meaning { is_signed: self.is_signed, mode: *mode, bound };
        meaning.settle(&self.list, level).then_some(meaning)
    }

    /// The places of an axis of length `bound` that an index names as it stands, read without a sign: the first so
    /// many.
    #[inline(always)]
    pub(crate) fn places<X: Word>(&self, bound: usize) -> usize {
        in_place_bound::<X>(bound, self.is_signed)
    }
}

/// The place that an index names, read without a sign. One that no address can be is beyond all places.
#[inline(always)]
pub(crate) fn place<X: Word>(i: X) -> usize {
    usize::try_from(i.to_i64() as u64).unwrap_or(usize::MAX)
}

/// Calls a function for the index type of this width.
macro_rules! with_index {
    ($width:expr, $f:ident::<$t:ty>($($a:expr),*)) => {
        match $width {
            1 => $f::<$t, u8>($($a),*),
            2 => $f::<$t, u16>($($a),*),
            4 => $f::<$t, u32>($($a),*),
            _ => $f::<$t, u64>($($a),*),
        }
    };
}
pub(super) use with_index;

/// Calls a function for the element type of this width.
macro_rules! with_word {
    ($width:expr, $f:ident($($a:expr),*)) => {
        match $width {
            1 => $f::<u8>($($a),*),
            2 => $f::<u16>($($a),*),
            4 => $f::<u32>($($a),*),
            8 => $f::<u64>($($a),*),
            _ => $f::<u128>($($a),*),
        }
    };
}
pub(super) use with_word;

/// Calls a function for the element type of this width and the index type of that.
macro_rules! with_widths {
    ($element:expr, $index:expr, $f:ident($($a:expr),*)) => {
        match $element {
            1 => with_index!($index, $f::<u8>($($a),*)),
            2 => with_index!($index, $f::<u16>($($a),*)),
            4 => with_index!($index, $f::<u32>($($a),*)),
            8 => with_index!($index, $f::<u64>($($a),*)),
            _ => with_index!($index, $f::<u128>($($a),*)),
        }
    };
}
pub(super) use with_widths;

/// Shapes and strides of the table and the values, and strides of the list: what the short way finds.
pub(crate) struct Numbers {
    pub(crate) table: ([usize; 3], [isize; 3]),
    pub(crate) list: [isize; 3],
    pub(crate) values: ([usize; 3], [isize; 3]),
}

/// The numbers of a call whose arrays are vectors or matrices and whose list is one run or dense, where there
/// is an element to move and the shapes fit.
#[inline(always)]
pub(crate) fn of_matrices(
    form: Form,
    table: &ErasedView<'_>,
    list: &ErasedView<'_>,
    values: &ErasedView<'_>,
) -> Option<Numbers> {
    let is_one_run = list.rank() == 1 || list.is_plainly_dense();
    if !is_one_run || list.len() == 0 {
        return None;
    }
    let step = if list.rank() == 1 { list.strides()[0] } else { 1 };
    let is_flat = match form {
        Form::Flat => true,
        Form::Axis(_) => table.rank() == 1,
        Form::Along(_) => table.rank() == 1 && list.rank() == 1,
        Form::Pick => false,
    };
    if is_flat {
        let (n, len) = (table.len(), list.len());
        let fits = values.rank() == 1 && values.shape()[0] == len
            || values.is_plainly_dense() && are_alike(values.shape(), list.shape());
        if !fits || n == 0 || !(table.rank() == 1 || table.is_plainly_dense()) {
            return None;
        }
        let stride = if table.rank() == 1 { table.strides()[0] } else { 1 };
        let flow_stride = if values.rank() == 1 { values.strides()[0] } else { 1 };
        return Some(Numbers {
            table: ([1, n, 1], [0, stride, 0]),
            list: [0, step, 0],
            values: ([1, len, 1], [0, flow_stride, 0]),
        });
    }
    if let &[a, b, c] = table.shape() {
        return of_three_axes(form, (table, [a, b, c]), list, values);
    }
    let (&[rows, columns], &[row, column]) = (table.shape(), table.strides()) else { return None };
    if rows == 0 || columns == 0 {
        return None;
    }
    match form {
        Form::Pick => {
            let fits =
                list.rank() == 1 && list.len() == rows && values.rank() == 1 && values.shape()[0] == rows;
            if !fits {
                return None;
            }
            Some(Numbers {
                table: ([rows, columns, 1], [row, column, 0]),
                list: [step, 0, 0],
                values: ([rows, 1, 1], [values.strides()[0], 0, 0]),
            })
        }
        Form::Axis(0) if list.rank() == 1 => {
            let [a, b] = strides(values, list.len(), columns)?;
            let [column, b, columns] = if columns == 1 { [0, 0, 1] } else { [column, b, columns as isize] };
            let columns = columns as usize;
            Some(Numbers {
                table: ([1, rows, columns], [0, row, column]),
                list: [0, step, 0],
                values: ([1, list.len(), columns], [0, a, b]),
            })
        }
        Form::Axis(1) if list.rank() == 1 => {
            let [a, b] = strides(values, rows, list.len())?;
            Some(Numbers {
                table: ([rows, columns, 1], [row, column, 0]),
                list: [0, step, 0],
                values: ([rows, list.len(), 1], [a, b, 0]),
            })
        }
        Form::Along(1) if list.rank() == 2 && list.shape()[0] == rows => {
            let len = list.shape()[1];
            let [a, b] = strides(values, rows, len)?;
            Some(Numbers {
                table: ([rows, columns, 1], [row, column, 0]),
                list: [len as isize, 1, 0],
                values: ([rows, len, 1], [a, b, 0]),
            })
        }
        Form::Along(0) if list.rank() == 2 && list.shape()[1] == columns => {
            let len = list.shape()[0];
            let [a, b] = strides(values, len, columns)?;
            Some(Numbers {
                table: ([1, rows, columns], [0, row, column]),
                list: [0, columns as isize, 1],
                values: ([1, len, columns], [0, a, b]),
            })
        }
        _ => None,
    }
}

/// Whether two shapes of up to three axes are the same. By their lengths: a comparison of slices would have a view
/// that is made for one call stand in memory.
#[inline(always)]
fn are_alike(a: &[usize], b: &[usize]) -> bool {
    match (a, b) {
        (&[a], &[x]) => a == x,
        (&[a, b], &[x, y]) => a == x && b == y,
        (&[a, b, c], &[x, y, z]) => a == x && b == y && c == z,
        _ => false,
    }
}

/// The numbers of a call whose table and values have three axes, of which those beside the index continue each other,
/// and whose list is dense.
#[inline(always)]
fn of_three_axes(
    form: Form,
    (table, [a, b, c]): (&ErasedView<'_>, [usize; 3]),
    list: &ErasedView<'_>,
    values: &ErasedView<'_>,
) -> Option<Numbers> {
    let (&[x, y, z], &[i, j, l], &[r, s, t]) = (values.shape(), values.strides(), table.strides()) else {
        return None;
    };
    let (axis, is_along) = match form {
        Form::Axis(axis) => (axis, false),
        Form::Along(axis) => (axis, true),
        Form::Flat | Form::Pick => return None,
    };
    let is_listed = |k: usize| match list.shape() {
        &[len] => !is_along && len == k,
        shape => is_along && are_alike(shape, values.shape()) && list.is_plainly_dense(),
    };
    // Whether the axis with the first stride is continued by one of that length and stride.
    let goes_on = |outer: isize, n: usize, inner: isize| (n as isize).checked_mul(inner) == Some(outer);
    let ([p, n, m], k, fits, table_strides, flow_strides) = match axis {
        0 => {
            let fits = y == b && z == c && goes_on(s, c, t) && goes_on(j, z, l);
            ([1, a, b * c], x, fits, [0, r, t], [0, i, l])
        }
        1 => ([a, b, c], y, x == a && z == c, [r, s, t], [i, j, l]),
        _ => {
            let fits = x == a && y == b && goes_on(r, b, s) && goes_on(i, y, j);
            ([a * b, c, 1], z, fits, [s, t, 0], [j, l, 0])
        }
    };
    if !(fits && is_listed(k) && p * n * m > 0) {
        return None;
    }
    Some(Numbers {
        table: ([p, n, m], table_strides),
        list: if is_along { [(k * m) as isize, m as isize, 1] } else { [0, list.strides()[0], 0] },
        values: ([p, k, m], flow_strides),
    })
}

/// The numbers of a call whose arrays are all in C order, of any rank, where there is an element to move and the
/// shapes fit.
pub(crate) fn of_dense(
    form: Form,
    table: &ErasedView<'_>,
    list: &ErasedView<'_>,
    values: &ErasedView<'_>,
) -> Option<Numbers> {
    if !table.is_c_order() || !list.is_c_order() || !values.is_c_order() {
        return None;
    }
    let shape = table.shape();
    let (before, n, after, is_along) = match form {
        Form::Flat => (&shape[..0], table.len(), &shape[..0], false),
        Form::Axis(axis) => (&shape[..axis], shape[axis], &shape[axis + 1..], false),
        Form::Along(axis) => (&shape[..axis], shape[axis], &shape[axis + 1..], true),
        Form::Pick => return None, // matrices go the short way
    };
    let listed = if is_along {
        let &len = list.shape().get(before.len())?;
        if list.rank() != shape.len() || !list.shape().starts_with(before) || !list.shape().ends_with(after) {
            return None;
        }
        &[len][..]
    } else {
        list.shape()
    };
    let product = |axes: &[usize]| axes.iter().product::<usize>(); // of axes of arrays that exist
    let (p, k, m) = (product(before), product(listed), product(after));
    let len = p.checked_mul(k)?.checked_mul(m)?;
    if len == 0 || n == 0 {
        return None;
    }
    let fits = match values.rank() {
        1 if values.shape()[0] == len => true,
        rank if rank == before.len() + listed.len() + after.len() => {
            let (a, bc) = values.shape().split_at(before.len());
            let (b, c) = bc.split_at(listed.len());
            a == before && b == listed && c == after
        }
        _ => false,
    };
    let strides = |n: usize| [(n * m) as isize, m as isize, 1];
    fits.then(|| Numbers {
        table: ([p, n, m], strides(n)),
        list: if is_along { strides(k) } else { [0, 1, 0] },
        values: ([p, k, m], strides(k)),
    })
}

/// The strides of an array of shape a × b, or of one of rank 1 with as many dense elements.
#[inline(always)]
fn strides(values: &ErasedView<'_>, a: usize, b: usize) -> Option<[isize; 2]> {
    match (values.shape(), values.strides()) {
        (&[rows, columns], &[row, column]) if rows == a && columns == b => Some([row, column]),
        (&[len], &[1]) if a.checked_mul(b) == Some(len) => Some([b as isize, 1]), // others are rare
        _ => None,
    }
}

/// Refuses labels, and a third array, which goes by `name`, that are not one for each row of a matrix.
pub(crate) fn check_labels(
    matrix: &[usize],
    labels: &ErasedView<'_>,
    (values, name): (&[usize], &'static str),
) -> Result<()> {
    let &[rows, _] = matrix else {
        return Err(Error::Rank { what: "the array", expected: "2 is needed", got: matrix.len() });
    };
    let one_per_row = |what, got: &[usize]| match got == [rows] {
        true => Ok(()),
        false => Err(Error::Shape { what, expected: vec![rows], got: got.to_vec() }),
    };
    one_per_row("the list of labels", labels.shape())?;
    one_per_row(name, values)
}

/// The axis along which to go element by element: where the elements of the values are neighbours and so are the
/// indices; else where those of the values are nearest to each other, as long as it is worth a run; else the longest.
/// Runs of at most `short` neighbours are left for the indexed axis, or for planes.
#[inline(always)]
pub(crate) fn run_axis(shape: &[usize; 3], values: &[isize; 3], list: &List<'_>, short: usize) -> usize {
    if shape[OUTER] == 1 && shape[INNER] == 1
        || shape[INDEX] > 1 && values[INDEX] == 1 && list.stride(INDEX) == 1
    {
        return INDEX;
    }
    if shape[INDEX] == 1 && shape[INNER] == 1 {
        return OUTER;
    }
    if shape[OUTER] == 1 && shape[INNER] > short && values[INNER] == 1 && list.stride(INNER) == 1 {
        return INNER;
    }
    run_axis_of_any(shape, values, list, short)
}

#[inline(never)]
fn run_axis_of_any(shape: &[usize; 3], values: &[isize; 3], list: &List<'_>, short: usize) -> usize {
    let is_dense = |&axis: &usize| shape[axis] > 1 && values[axis] == 1 && list.stride(axis) == 1;
    let is_large = shape.iter().product::<usize>() >= 4096;
    if let Some(axis) = [INDEX, OUTER, INNER].into_iter().find(is_dense) {
        let is_left = shape[axis] <= short;
        if is_left && shape[INDEX] >= 8 {
            return INDEX;
        }
        return if is_left && shape[OUTER] >= 16 && !is_large { OUTER } else { axis };
    }
    // Short runs cost less than going over values that leave the first-level cache, again and again.
    let worth = |&axis: &usize| shape[axis] >= if is_large { 2 } else { 16 };
    let nearest = (0..3).filter(worth).min_by_key(|&axis| values[axis].unsigned_abs());
    nearest.unwrap_or_else(|| (0..3).max_by_key(|&axis| shape[axis]).unwrap_or(INDEX))
}

/// Whether one index names a run of neighbours: dense rows in both arrays, numbered by 32 bits.
#[inline(always)]
pub(crate) fn are_rows(table: &Erased3<'_>, list: &List<'_>, values: &impl Piece) -> bool {
    let values = values.as_piece();
    values.shape()[INNER] > 1
        && table.strides()[INNER] == 1
        && values.strides()[INNER] == 1
        && list.stride(INNER) == 0
        && table.shape()[INDEX] <= u32::MAX as usize
}
