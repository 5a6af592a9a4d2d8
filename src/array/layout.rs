//! Shapes and strides: extent, injectivity, merging of axes. Numbers alone; nothing here touches memory.

use crate::error::{Error, Result};

/// The largest rank of a view.
pub const MAX_RANK: usize = 8;

/// A shape and strides, both in elements.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(super) rank: usize,
    pub(super) shape: [usize; MAX_RANK],
    pub(super) strides: [isize; MAX_RANK],
}

impl Layout {
    /// The layout with these axes, whatever memory it may lie over.
    pub(super) fn new(shape: &[usize], strides: &[isize]) -> Result<Self> {
        let rank = shape.len();
        if rank > MAX_RANK {
            return Err(Error::Rank { what: "the array", expected: "at most 8", got: rank });
        }
        if strides.len() != rank {
            return Err(Error::Rank {
                what: "the list of strides",
                expected: "the shape's",
                got: strides.len(),
            });
        }
        count(shape)?;
        let mut layout = Layout { rank, shape: [1; MAX_RANK], strides: [0; MAX_RANK] };
        layout.shape[..rank].copy_from_slice(shape);
        layout.strides[..rank].copy_from_slice(strides);
        Ok(layout)
    }

    /// The layout of a whole slice. Its length is at most `isize::MAX`, so nothing can be refused.
    #[inline(always)]
    pub(super) fn flat(len: usize) -> Self {
        Layout { rank: 1, shape: [len, 1, 1, 1, 1, 1, 1, 1], strides: [1, 0, 0, 0, 0, 0, 0, 0] }
    }

    /// The same places, all at one element.
    #[inline(always)]
    pub(super) fn repeated(self) -> Self {
        Layout { strides: [0; MAX_RANK], ..self }
    }

    /// Why `len` elements are no array of this shape in C order, if they are none. Inlined for up to three axes, as
    /// [`Layout::in_c_order`] is.
    #[inline(always)]
    pub(super) fn why_not_whole(len: usize, given: &[usize]) -> Option<Error> {
        let is_whole = match *given {
            [a] => a == len,
            [a, b] => a.checked_mul(b) == Some(len),
            [a, b, c] => b.checked_mul(c).and_then(|plane| plane.checked_mul(a)) == Some(len),
            _ => false,
        };
        match is_whole && len.wrapping_sub(1) < isize::MAX as usize {
            true => None,
            false => Layout::whole_of_any_rank(len, given).err(), // an error, or an array without elements
        }
    }

    /// The layout of all elements of a whole array in C order. Apart from what may be wrong: so the compiler knows the
    /// rank, and a view which is made for one call need never stand in memory.
    #[inline(always)]
    pub(super) fn in_c_order(len: usize, given: &[usize]) -> Self {
        let (rank, [a, b, c], [x, y, z]) = match *given {
            [a] => (1, [a, 1, 1], [1, 0, 0]),
            [a, b] => (2, [a, b, 1], [b.max(1), 1, 0]),
            // Of arrays that exist: no product wraps.
            [a, b, c] => (3, [a, b, c], [c.max(1).wrapping_mul(b.max(1)), c.max(1), 1]),
            _ => return Layout::whole_of_any_rank(len, given).unwrap_or(Layout::flat(len)),
        };
        let strides = [x as isize, y as isize, z as isize, 0, 0, 0, 0, 0];
        Layout { rank, shape: [a, b, c, 1, 1, 1, 1, 1], strides }
    }

    #[inline(never)]
    fn whole_of_any_rank(len: usize, shape: &[usize]) -> Result<Self> {
        let rank = shape.len();
        if rank > MAX_RANK {
            count(shape)?;
            return Layout::new(shape, &[0; MAX_RANK]); // an error
        }
        // C order: the last axis is dense, each earlier one steps over all later ones.
        let mut layout = Layout { rank, shape: [1; MAX_RANK], strides: [0; MAX_RANK] };
        let (mut step, mut elements) = (1usize, 1usize);
        for d in (0..rank).rev() {
            (layout.shape[d], layout.strides[d]) = (shape[d], step as isize);
            step = match step.checked_mul(shape[d].max(1)) {
                Some(step) if step <= isize::MAX as usize => step,
                _ => return Err(Error::Overflow { shape: shape.to_vec() }),
            };
            elements *= shape[d]; // at most `step`
        }
        if elements == len {
            Ok(layout)
        } else {
            Err(Error::Shape { what: "the data", expected: shape.to_vec(), got: vec![len] })
        }
    }

    /// The lowest and highest offset that an index inside the shape reaches; `None` where no such index exists.
    /// Exact: computed wide enough not to wrap.
    pub(super) fn extent(&self) -> Option<(i128, i128)> {
        extent(self.shape(), self.strides())
    }

    /// Where the first element of an array with these axes stands, shown to reach only `len` elements from element
    /// `offset` on. Inlined for up to three axes of everyday size, as [`Layout::with_axes`] is.
    #[inline(always)]
    pub(super) fn start_of_strided(
        len: usize,
        given: &[usize],
        steps: &[isize],
        offset: usize,
    ) -> Result<usize> {
        let ([a, b, c], [x, y, z]) = match (given, steps) {
            (&[a], &[x]) => ([a, 1, 1], [x, 0, 0]),
            (&[a, b], &[x, y]) => ([a, b, 1], [x, y, 0]),
            (&[a, b, c], &[x, y, z]) => ([a, b, c], [x, y, z]),
            _ => return Layout::start_of_any_rank(len, given, steps, offset),
        };
        // Lengths from 1 to 2^20 and strides up to 2^40: no product or sum below overflows.
        let reach = |n: usize, stride: isize| {
            let is_everyday = n.wrapping_sub(1) < 1 << 20 && stride.unsigned_abs() as u64 <= 1 << 40;
            is_everyday.then(|| (n as i64 - 1) * stride as i64)
        };
        match (reach(a, x), reach(b, y), reach(c, z)) {
            (Some(i), Some(j), Some(k))
                if offset <= len
                    && i.min(0) + j.min(0) + k.min(0) >= -(offset as i64)
                    && i.max(0) + j.max(0) + k.max(0) < (len - offset) as i64 =>
            {
                Ok(offset)
            }
            _ => Layout::start_of_any_rank(len, given, steps, offset),
        }
    }

    #[inline(never)]
    fn start_of_any_rank(len: usize, shape: &[usize], strides: &[isize], offset: usize) -> Result<usize> {
        Layout::new(shape, strides)?.checked_start(len, offset)
    }

    /// The layout with these axes, of which there are as many lengths as strides, and not too many.
    #[inline(always)]
    pub(super) fn with_axes(given: &[usize], steps: &[isize]) -> Self {
        let (rank, [a, b, c], [x, y, z]) = match (given, steps) {
            (&[a], &[x]) => (1, [a, 1, 1], [x, 0, 0]),
            (&[a, b], &[x, y]) => (2, [a, b, 1], [x, y, 0]),
            (&[a, b, c], &[x, y, z]) => (3, [a, b, c], [x, y, z]),
            _ => return Layout::new(given, steps).unwrap_or(Layout::flat(0)),
        };
        Layout { rank, shape: [a, b, c, 1, 1, 1, 1, 1], strides: [x, y, z, 0, 0, 0, 0, 0] }
    }

    /// Where the element (0, 0, …) stands in `len` elements, shown to reach only these.
    pub(super) fn checked_start(&self, len: usize, offset: usize) -> Result<usize> {
        match self.extent() {
            // No index exists: nothing is ever read, and any start does.
            None => Ok(0),
            Some((low, high)) if offset as i128 + low >= 0 && offset as i128 + high < len as i128 => {
                Ok(offset)
            }
            Some(_) => Err(Error::Extent {
                shape: self.shape().to_vec(),
                strides: self.strides().to_vec(),
                offset,
                len,
            }),
        }
    }

    /// Whether no two indices share an element: each axis steps over all that the finer axes reach together. The
    /// layout's indices have been shown to land inside a slice.
    #[inline(always)]
    pub(super) fn is_injective(&self) -> bool {
        // The outermost axis steps over two others, or one. What an axis reaches is below the slice's length.
        let is_apart = |(a, x): (usize, isize), (b, y): (usize, isize), (c, z): (usize, isize)| {
            let (x, y, z) = (x.unsigned_abs(), y.unsigned_abs(), z.unsigned_abs());
            let ((fine, n), (coarse, m)) = if z <= y { ((z, c), (y, b)) } else { ((y, b), (z, c)) };
            let reach = n.wrapping_sub(1).wrapping_mul(fine);
            let both = m.wrapping_sub(1).wrapping_mul(coarse).wrapping_add(reach);
            a > 0 && n > 0 && m > 0 && fine > 0 && coarse > reach && x > both
        };
        let is_plain = match (self.shape(), self.strides()) {
            (&[n], &[stride]) => n > 0 && stride != 0,
            (&[a, b], &[x, y]) if y.unsigned_abs() > x.unsigned_abs() => is_apart((b, y), (a, x), (1, y)),
            (&[a, b], &[x, y]) => is_apart((a, x), (b, y), (1, x)),
            (&[a, b, c], &[x, y, z]) => is_apart((a, x), (b, y), (c, z)),
            _ => false,
        };
        let layout = *self; // a copy: this one need not stand in memory
        is_plain || layout.is_injective_of_any_rank()
    }

    #[inline(never)]
    fn is_injective_of_any_rank(&self) -> bool {
        let mut axes: Vec<(u128, u128)> = (self.shape().iter().zip(self.strides()))
            .filter(|&(&n, _)| n > 1)
            .map(|(&n, &stride)| (stride.unsigned_abs() as u128, n as u128))
            .collect();
        axes.sort_unstable();
        let mut reach = 0u128;
        axes.iter().all(|&(stride, n)| {
            let free = stride > reach;
            reach += stride * (n - 1);
            free
        }) || self.len() == 0
    }

    #[inline(always)]
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape[..self.rank]
    }

    #[inline(always)]
    pub(super) fn strides(&self) -> &[isize] {
        &self.strides[..self.rank]
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        match self.rank {
            1 => self.shape[0],
            2 => self.shape[0] * self.shape[1],
            3 => self.shape[0] * self.shape[1] * self.shape[2],
            _ => self.shape().iter().product(),
        }
    }

    /// Whether the elements stand one after the other in C order.
    pub(super) fn is_c_order(&self) -> bool {
        let mut step = 1isize;
        for (&n, &stride) in self.shape().iter().zip(self.strides()).rev() {
            if n > 1 && stride != step {
                return self.len() == 0;
            }
            step = step.saturating_mul(n as isize);
        }
        true
    }

    /// Whether this is an array of rank 1, 2 or 3 whose strides are those of C order, for axes of length 1, too.
    #[inline(always)]
    pub(super) fn is_plainly_dense(&self) -> bool {
        match self.rank {
            1 => self.strides[0] == 1,
            2 => self.strides[1] == 1 && self.strides[0] == self.shape[1] as isize,
            3 => {
                let [_, b, c, ..] = self.shape;
                self.strides[2] == 1 && self.strides[1] == c as isize && self.strides[0] == (b * c) as isize
            }
            _ => false,
        }
    }

    /// The shape and strides of an array of rank 1 or 2 as those of a matrix: a vector has one row.
    #[inline(always)]
    pub(super) fn as_matrix(&self) -> Option<([usize; 2], [isize; 2])> {
        match self.rank {
            1 => Some(([1, self.shape[0]], [0, self.strides[0]])),
            2 => Some(([self.shape[0], self.shape[1]], [self.strides[0], self.strides[1]])),
            _ => None,
        }
    }

    /// The offset of the element at `index`, where the shape has such a place.
    pub(super) fn offset(&self, index: &[usize]) -> Option<isize> {
        let inside = index.len() == self.rank && index.iter().zip(self.shape()).all(|(&i, &n)| i < n);
        inside.then(|| index.iter().zip(self.strides()).map(|(&i, &s)| i as isize * s).sum())
    }

    /// The layout of all elements in C order as one axis, where one stride leads through them.
    pub(super) fn flattened(&self) -> Option<Layout> {
        let mut one = Layout::flat(self.len());
        if one.shape[0] > 1 {
            let axes = self.shape().iter().zip(self.strides()).filter(|&(&n, _)| n > 1);
            let (mut inner, mut step) = (None, None);
            for (&n, &stride) in axes.rev() {
                if step.is_some_and(|step| step != Some(stride)) {
                    return None;
                }
                inner = inner.or(Some(stride));
                step = Some(stride.checked_mul(n as isize)); // nothing continues an axis that ends past all strides
            }
            one.strides[0] = inner.unwrap_or(1);
        }
        Some(one)
    }

    /// The same elements with one axis more, the last, of length 1.
    pub(super) fn with_axis_of_one(mut self) -> Result<Self> {
        let rank = self.rank;
        if rank == MAX_RANK {
            return Err(Error::Rank { what: "the array", expected: "less than 8 is needed", got: rank });
        }
        (self.rank, self.shape[rank], self.strides[rank]) = (rank + 1, 1, 0);
        Ok(self)
    }

    /// The axis that `axis` names, negative ones counted from the end.
    #[inline(always)]
    pub(super) fn axis(&self, axis: isize) -> Result<usize> {
        let from_start = if axis < 0 { axis.wrapping_add(self.rank as isize) } else { axis };
        if (from_start as usize) < self.rank {
            Ok(from_start as usize)
        } else {
            Err(Error::Axis { axis, rank: self.rank })
        }
    }

    pub(super) fn transposed(mut self) -> Self {
        match self.rank {
            2 => {
                self.shape.swap(0, 1);
                self.strides.swap(0, 1);
            }
            rank => {
                self.shape[..rank].reverse();
                self.strides[..rank].reverse();
            }
        }
        self
    }
}

impl std::fmt::Debug for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layout").field("shape", &self.shape()).field("strides", &self.strides()).finish()
    }
}

/// See [`Layout::extent`].
pub(super) fn extent(shape: &[usize], strides: &[isize]) -> Option<(i128, i128)> {
    let (mut low, mut high) = (0i128, 0i128);
    for (&n, &stride) in shape.iter().zip(strides) {
        let reach = (n as i128 - 1) * stride as i128;
        match n {
            0 => return None,
            _ if reach < 0 => low += reach,
            _ => high += reach,
        }
    }
    Some((low, high))
}

/// The number of elements of a shape, if that can be counted: see [`product`].
pub(crate) fn count(shape: &[usize]) -> Result<usize> {
    product(shape.iter().copied()).ok_or_else(|| Error::Overflow { shape: shape.to_vec() })
}

/// The product of lengths, if it is addressable. Zero-length axes do not excuse the others: their product must be
/// addressable too, so that no later partial product can wrap.
fn product(mut lengths: impl Iterator<Item = usize> + Clone) -> Option<usize> {
    let bound = lengths.clone().try_fold(1usize, |product, n| product.checked_mul(n.max(1)))?;
    let len = if lengths.any(|n| n == 0) { 0 } else { bound };
    (bound <= isize::MAX as usize).then_some(len)
}

/// How to get from one 1-d slice along an axis to the next: the other axes, those that continue each other merged
/// into one and those of length 1 dropped, so that rows of a matrix are one step and one multiplication apart.
#[derive(Clone, Copy)]
pub(super) struct AxisLayout {
    outer: [(usize, isize); MAX_RANK],
    rank: usize,
    pub(super) len: usize,
    pub(super) stride: isize,
    /// The slices still meant, as a range of their C-order numbers.
    first: usize,
    pub(super) count: usize,
}

impl AxisLayout {
    /// To no slice.
    pub(super) const NONE: Self =
        AxisLayout { outer: [(0, 0); MAX_RANK], rank: 0, len: 0, stride: 0, first: 0, count: 0 };

    pub(super) fn new(layout: &Layout, axis: usize) -> Self {
        let mut along = AxisLayout::NONE;
        along.set(layout, axis);
        along
    }

    /// Makes this one, which is [`AxisLayout::NONE`], that along `axis`. Inlined for up to two axes: it is large, and
    /// what is made for one call is made where it stays.
    #[inline(always)]
    pub(super) fn set(&mut self, layout: &Layout, axis: usize) {
        if layout.rank > 2 || axis > 1 {
            *self = AxisLayout::of_any_rank(layout, axis);
            return;
        }
        // The other axis, which an array of one axis has, too: of length 1.
        let n = layout.shape[1 - axis];
        self.outer[0] = (n, layout.strides[1 - axis]);
        (self.rank, self.count) = (usize::from(n != 1), n);
        (self.len, self.stride) = (layout.shape[axis], layout.strides[axis]);
    }

    #[inline(never)]
    fn of_any_rank(layout: &Layout, axis: usize) -> Self {
        let mut outer = [(1, 0); MAX_RANK];
        let mut rank = 0usize;
        let mut count = 1;
        for (k, (&n, &stride)) in layout.shape().iter().zip(layout.strides()).enumerate() {
            if k == axis {
                continue;
            }
            count *= n;
            if n == 1 {
                continue;
            }
            match rank.checked_sub(1).map(|last| &mut outer[last]) {
                Some((m, step)) if stride.checked_mul(n as isize) == Some(*step) => {
                    (*m, *step) = (*m * n, stride)
                }
                _ => {
                    outer[rank] = (n, stride);
                    rank += 1;
                }
            }
        }
        AxisLayout { outer, rank, len: layout.shape[axis], stride: layout.strides[axis], first: 0, count }
    }

    /// The offset of the first element of slice number `i`.
    #[inline(always)]
    pub(super) fn offset(&self, i: usize) -> isize {
        assert!(i < self.count, "a slice beyond the last");
        let i = self.first + i;
        match self.rank {
            _ if self.len == 0 => 0,
            0 => 0,
            1 => i as isize * self.outer[0].1,
            _ => self.offset_by_division(i),
        }
    }

    fn offset_by_division(&self, mut i: usize) -> isize {
        let mut offset = 0;
        for &(n, stride) in self.outer[..self.rank].iter().rev() {
            offset += (i % n) as isize * stride;
            i /= n;
        }
        offset
    }

    /// Whether the slices `i`, …, `i + count − 1` begin at neighbouring elements.
    #[inline(always)]
    pub(super) fn are_adjacent(&self, i: usize, count: usize) -> bool {
        assert!(i <= self.count && count <= self.count - i, "slices beyond the last");
        match self.rank.checked_sub(1).map(|last| self.outer[last]) {
            Some((n, 1)) => count <= n - (self.first + i) % n,
            _ => count <= 1,
        }
    }

    /// The offset of element `at` of slice `i`, after which those of the `count − 1` next slices follow.
    #[inline(always)]
    pub(super) fn cross_section(&self, i: usize, count: usize, at: usize) -> isize {
        assert!(self.are_adjacent(i, count) && at < self.len, "no such elements side by side");
        if count == 0 { 0 } else { self.offset(i) + at as isize * self.stride }
    }

    /// The offset and length of the slices `i`, …, `i + count − 1` as one run of elements, slice after slice, where
    /// they stand like that.
    #[inline(always)]
    pub(super) fn run(&self, i: usize, count: usize) -> Option<(isize, usize)> {
        assert!(i <= self.count && count <= self.count - i, "slices beyond the last");
        let dense =
            (self.stride == 1 || self.len <= 1) && (count <= 1 || self.step() == Some(self.len as isize));
        dense.then(|| match self.len * count {
            0 => (0, 0),
            elements => (self.offset(i), elements),
        })
    }

    /// The distance between neighbouring slices, where there is but one.
    fn step(&self) -> Option<isize> {
        match self.rank {
            0 => Some(0),
            1 => Some(self.outer[0].1),
            _ => None,
        }
    }

    pub(super) fn split_at(self, mid: usize) -> (Self, Self) {
        assert!(mid <= self.count, "a split beyond the end");
        (
            AxisLayout { count: mid, ..self },
            AxisLayout { first: self.first + mid, count: self.count - mid, ..self },
        )
    }
}

/// The table's place in a [`Plan`].
pub(crate) const TABLE: usize = 0;
/// The index list's place in a [`Plan`].
pub(crate) const LIST: usize = 1;
/// The place in a [`Plan`] of the array that follows the indices: a gather's output, a scatter's source.
pub(crate) const VALUES: usize = 2;

/// The axis of a 3-d piece that counts planes: all axes before the indexed one.
pub(crate) const OUTER: usize = 0;
/// The axis of a 3-d piece that is indexed (table) or follows the indices (list, output, source).
pub(crate) const INDEX: usize = 1;
/// The axis of a 3-d piece along its rows: all axes after the indexed one.
pub(crate) const INNER: usize = 2;

/// Up to 7 axes of the table and 8 of the list.
const MAX_AXES: usize = 2 * MAX_RANK;

/// An axis and its strides in the three arrays.
type Axis = (usize, [isize; 3]);

/// The axes of an indexed operation regrouped as outer × index × inner. Let OUTER stand for the axes before the indexed
/// one, INDEX for those of the list and INNER for those after:
///
/// ```text
/// table             OUTER × n × INNER
/// output or source  OUTER × INDEX × INNER
/// list              INDEX, or (along an axis) OUTER × INDEX × INNER
/// ```
///
/// A list without OUTER and INNER is read as if it had them with stride 0. The axes of each group that continue each
/// other in all three arrays are merged. What is left of a group is one axis nearly always; where it is more,
/// the last stays in the 3-d pieces and the others are looped over outside, piece by piece.
pub(crate) struct Plan {
    /// The layouts that this plan was made for, and is good for.
    pub(super) layouts: [Layout; 3],
    pub(super) shapes: [[usize; 3]; 3],
    pub(super) strides: [[isize; 3]; 3],
    /// The first `outside` are the axes that are looped over outside: nearly always none.
    outer: [Axis; MAX_AXES],
    outside: usize,
    pieces: usize,
}

impl Plan {
    /// The plan for a table indexed along `axis` (which exists) by a list that is one for all rows, or `along` all of
    /// them. The third array, which goes by `name`, must have the shape OUTER × INDEX × INNER, or be of rank 1 with as
    /// many elements.
    pub(crate) fn new(
        table: &Layout,
        axis: usize,
        (list, along): (&Layout, bool),
        (values, name): (&Layout, &'static str),
    ) -> Result<Self> {
        if along {
            let fits = (0..table.rank).all(|d| d == axis || list.shape().get(d) == Some(&table.shape[d]));
            if list.rank != table.rank || !fits {
                let mut expected = table.shape().to_vec();
                expected[axis] = list.shape().get(axis).copied().unwrap_or(0);
                return Err(Error::Shape { what: "the index array", expected, got: list.shape().to_vec() });
            }
        }
        let listed = if along { axis..axis + 1 } else { 0..list.rank };
        let (first_k, first_m) = (axis, axis + listed.len());
        let rank = first_m + table.rank - axis - 1;
        let mut axes: [Axis; MAX_AXES] = [(1, [0; 3]); MAX_AXES];
        let other =
            |d: usize| (table.shape[d], [table.strides[d], if along { list.strides[d] } else { 0 }, 0]);
        let of_list = listed.map(|d| (list.shape[d], [0, list.strides[d], 0]));
        let all = (0..axis).map(other).chain(of_list).chain((axis + 1..table.rank).map(other));
        axes.iter_mut().zip(all).for_each(|(axis, found)| *axis = found);
        let axes = &mut axes[..rank];

        let shape = || axes.iter().map(|axis| axis.0).collect::<Vec<usize>>();
        let Some(len) = product(axes.iter().map(|axis| axis.0)) else {
            return Err(Error::Overflow { shape: shape() });
        };
        if values.rank == rank && values.shape().iter().zip(&*axes).all(|(&n, axis)| n == axis.0) {
            axes.iter_mut().zip(values.strides()).for_each(|(axis, &stride)| axis.1[VALUES] = stride);
        } else if values.rank == 1 && values.shape[0] == len {
            // C order over the array's own stride. No product overflows where there is an element; nothing is read
            // where there is none.
            let mut step = values.strides[0];
            for axis in axes.iter_mut().rev() {
                axis.1[VALUES] = step;
                step = step.wrapping_mul(axis.0 as isize);
            }
        } else {
            return Err(Error::Shape { what: name, expected: shape(), got: values.shape().to_vec() });
        }

        let mut plan = Plan {
            layouts: [*table, *list, *values],
            shapes: [[1; 3]; 3],
            strides: [[0; 3]; 3],
            outer: [(1, [0; 3]); MAX_AXES],
            outside: 0,
            pieces: usize::from(len > 0),
        };
        if len > 0 {
            for (k, group) in [0..first_k, first_k..first_m, first_m..axes.len()].into_iter().enumerate() {
                plan.group(k, &axes[group]);
            }
            plan.shapes[TABLE][INDEX] = table.shape[axis];
            plan.strides[TABLE][INDEX] = table.strides[axis];
        }
        Ok(plan)
    }

    /// Merges the axes of one group into axis `k` of the pieces and those outside.
    fn group(&mut self, k: usize, axes: &[Axis]) {
        let mut last: Option<Axis> = None;
        for &(n, strides) in axes.iter().filter(|axis| axis.0 != 1) {
            let continued = last.filter(|(_, steps)| {
                steps.iter().zip(strides).all(|(&step, stride)| stride.checked_mul(n as isize) == Some(step))
            });
            last = match (continued, last) {
                (Some((m, _)), _) => Some((m * n, strides)),
                (None, before) => {
                    if let Some(axis) = before {
                        self.pieces *= axis.0;
                        self.outer[self.outside] = axis;
                        self.outside += 1;
                    }
                    Some((n, strides))
                }
            };
        }
        if let Some((n, strides)) = last {
            self.shapes.iter_mut().for_each(|shape| shape[k] = n);
            self.strides.iter_mut().zip(strides).for_each(|(steps, stride)| steps[k] = stride);
        }
    }

    /// How many 3-d pieces there are; 0 where there is no element to move.
    pub(crate) fn pieces(&self) -> usize {
        self.pieces
    }

    /// Where piece number `i` of one of the arrays starts.
    pub(super) fn offset(&self, array: usize, mut i: usize) -> isize {
        assert!(i < self.pieces, "a piece beyond the last");
        let mut offset = 0;
        for &(n, strides) in self.outer[..self.outside].iter().rev() {
            offset += (i % n) as isize * strides[array];
            i /= n;
        }
        offset
    }
}
