//! Arrays with any strides: transposed, sliced, reversed, broadcast.

use gradix::{Result, View, ViewMut};
use proptest::collection::vec;
use proptest::prelude::*;

/// A shape and a way to lay it out in a buffer.
#[derive(Debug, Clone)]
pub struct Strided {
    pub shape: Vec<usize>,
    pub strides: Vec<isize>,
    pub offset: usize,
    /// How many elements the buffer needs.
    pub len: usize,
}

impl Strided {
    /// `shape` in C order.
    pub fn dense(shape: &[usize]) -> Self {
        Strided::new(shape, &vec![0; shape.len()], &vec![1; shape.len()], &vec![false; shape.len()], 0)
    }

    /// Axes in memory order of their `rank` (coarsest first), each with a step of so many times what it must have, or
    /// backwards where negative, or of 0 where zero; `pad` unused elements in front and behind.
    pub fn new(shape: &[usize], order: &[u32], steps: &[usize], reversed: &[bool], pad: usize) -> Self {
        let mut axes: Vec<usize> = (0..shape.len()).collect();
        axes.sort_by_key(|&axis| (order[axis], axis));
        let mut strides = vec![0isize; shape.len()];
        let (mut extent, mut offset) = (1usize, pad);
        for &axis in axes.iter().rev() {
            let stride = extent * steps[axis];
            let reach = stride * shape[axis].saturating_sub(1);
            strides[axis] = if reversed[axis] { -(stride as isize) } else { stride as isize };
            offset += if reversed[axis] { reach } else { 0 };
            extent += reach;
        }
        Strided { shape: shape.to_vec(), strides, offset, len: extent + 2 * pad }
    }

    pub fn view<'a, T>(&self, data: &'a [T]) -> Result<View<'a, T>> {
        View::strided(data, &self.shape, &self.strides, self.offset)
    }

    pub fn view_mut<'a, T>(&self, data: &'a mut [T]) -> Result<ViewMut<'a, T>> {
        ViewMut::strided(data, &self.shape, &self.strides, self.offset)
    }
}

/// Layouts of a shape; with `broadcast` also ones that repeat elements, which no `ViewMut` takes.
pub fn layout(shape: Vec<usize>, broadcast: bool) -> impl Strategy<Value = Strided> {
    let rank = shape.len();
    let step = if broadcast {
        prop_oneof![1 => Just(0usize), 6 => Just(1), 1 => Just(2)].boxed()
    } else {
        prop_oneof![6 => Just(1usize), 1 => Just(2)].boxed()
    };
    let scattered = (vec(0u32..4, rank), vec(step, rank), vec(any::<bool>(), rank), 0usize..3);
    let dense = Strided::dense(&shape);
    prop_oneof![
        1 => Just(dense),
        3 => scattered.prop_map(move |(order, steps, reversed, pad)| {
            Strided::new(&shape, &order, &steps, &reversed, pad)
        }),
    ]
}
