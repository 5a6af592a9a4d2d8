//! A linear layer and its cross-entropy, chunk by chunk: the logits of all rows are never held.
//!
//! ```text
//! logits = x·Wᵀ + b        G = ∂loss/∂logits        dx = G·W        dW = Gᵀ·x        db = Σ rows of G
//! ```
//!
//! The divisor of a mean follows from the labels alone, so each chunk's gradient is final. Where a chunk
//! would hold too few rows, because there are very many classes, it holds but some of the classes of more
//! rows: a first pass over them finds each row's sums (see [`Partial`]), a second one makes the logits
//! again and the gradients.

mod product;

use super::softmax_xent::{Call, Labels, Loss, Partial, Rows, SoftmaxXent, shaped};
use crate::array::{View, ViewMut, zeros};
use crate::error::{Error, Result};
use crate::index::{ErasedIndices, Index};
use crate::parallel;
use crate::simd::Float;
pub use product::{Gemm, Product};
use std::ops::Range;

/// What a linear layer computes with: `x`, of N rows and K columns; `weight`, of C rows and K columns; and
/// a bias of C elements, if there is one. Any strides.
#[derive(Debug, Clone, Copy)]
pub struct Linear<'a, T> {
    pub(crate) x: View<'a, T>,
    pub(crate) weight: View<'a, T>,
    pub(crate) bias: Option<View<'a, T>>,
}

impl<'a, T> Linear<'a, T> {
    /// Without bias.
    pub fn new(x: impl Into<View<'a, T>>, weight: impl Into<View<'a, T>>) -> Self {
        Linear { x: x.into(), weight: weight.into(), bias: None }
    }

    /// With a bias.
    #[must_use]
    pub fn bias(self, bias: impl Into<View<'a, T>>) -> Self {
        Linear { bias: Some(bias.into()), ..self }
    }
}

/// Where the gradients go: those that are not named are not computed. Each has the shape of what it is the
/// gradient of and any strides, or is a slice of as many elements in C order. It is overwritten.
#[derive(Debug)]
pub struct LinearGradients<'g, T> {
    pub(crate) x: Option<ViewMut<'g, T>>,
    pub(crate) weight: Option<ViewMut<'g, T>>,
    pub(crate) bias: Option<ViewMut<'g, T>>,
}

impl<T> Default for LinearGradients<'_, T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'g, T> LinearGradients<'g, T> {
    /// None.
    pub fn new() -> Self {
        LinearGradients { x: None, weight: None, bias: None }
    }

    /// That of `x`.
    #[must_use]
    pub fn x(self, to: impl Into<ViewMut<'g, T>>) -> Self {
        LinearGradients { x: Some(to.into()), ..self }
    }

    /// That of the weight.
    #[must_use]
    pub fn weight(self, to: impl Into<ViewMut<'g, T>>) -> Self {
        LinearGradients { weight: Some(to.into()), ..self }
    }

    /// That of the bias: the sum of the logits' gradients, whether or not the layer has a bias.
    #[must_use]
    pub fn bias(self, to: impl Into<ViewMut<'g, T>>) -> Self {
        LinearGradients { bias: Some(to.into()), ..self }
    }
}

/// A linear layer and the softmax cross-entropy of what it answers, in one: `F.linear_cross_entropy(x,
/// weight, y)` of PyTorch, or `F.cross_entropy(x @ weight.T + bias, y)` and its backward pass, in memory
/// that does not grow with the number of rows.
///
/// ```
/// use gradix::{Linear, LinearGradients, LinearXent, SoftmaxXent, View};
/// let x = [1.0, 0.0, 0.0, 2.0_f32]; // 2 rows of 2
/// let weight = [1.0, 0.0, 0.0, 1.0, 0.5, 0.5]; // 3 classes
/// let layer = Linear::new(View::new(&x, &[2, 2])?, View::new(&weight, &[3, 2])?);
/// let (mut dx, mut dw) = ([0.0; 4], [0.0; 6]);
/// let gradients = LinearGradients::new().x(&mut dx).weight(&mut dw);
/// let loss = LinearXent::new(SoftmaxXent::new()).forward_backward(layer, &[0, 1], gradients)?;
///
/// // The same with the logits held.
/// let mut logits = [1.0, 0.0, 0.5, 0.0, 2.0, 1.0];
/// let logits_view = gradix::ViewMut::new(&mut logits, &[2, 3])?;
/// assert_eq!(loss, SoftmaxXent::new().forward_backward_in_place(logits_view, &[0, 1])?);
/// assert!((dw[0] - logits[0]).abs() < 1e-7 && (dw[1] - 2.0 * logits[3]).abs() < 1e-7);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// *Layer*: [`Linear`], of `f32` or `f64`. *Labels*: one per row of `x`, as [`SoftmaxXent`] takes them.
/// *Options*: those of [`SoftmaxXent`], but for `class_axis` and `shard`; weights of rows are those of the
/// rows of `x`.
///
/// **Errors.** [`Error::Rank`] where `x` or the weight is no matrix, [`Error::Shape`] where the weight's
/// columns are not as many as those of `x`, or a bias or gradient has another shape; [`Error::Conflict`]
/// with a `class_axis` other than the last; [`Error::Memory`] where there is none for the scratch; and
/// those of [`SoftmaxXent`]. All before anything is written.
///
/// **Edges.** The gradient of an ignored row of logits is 0, and takes part in the products as such: a row
/// of `x` that is no number makes its columns of the weight's gradient none, ignored or not (0·NaN), as
/// anywhere. Without rows the weight's and the bias' gradients are 0.
///
/// **Equality class.** The same bits for any number of threads, as long as the product's are; those of
/// [`Gemm`] are. They depend on the CPU, as those of any product of matrices do. Against exact sums, a
/// logit is off by at most (K + 2)·ε·(Σ |x|·|w| + |b|), a gradient of the logits by what that makes of the
/// probabilities, besides the bound of [`SoftmaxXent`], and the sums over C classes or N rows by (C + 2)·ε
/// or (N + 2)·ε times the sum of magnitudes.
///
/// **Cost.** Three products of matrices, 6·N·K·C operations; four, 8·N·K·C, where there are so many classes
/// that too few rows of logits fit (`f32`: more than 53,248, `f64`: 26,624). Scratch of at most 26 MiB for
/// logits, whatever the shape, or of [as much as you give](LinearXent::scratch_bytes), beside what `gemm` takes
/// for each thread, at most 3 MiB. For each chunk of rows the weight is read twice, and its gradient read and
/// written once.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearXent<T, P = Gemm> {
    xent: SoftmaxXent<T>,
    product: P,
    /// Bytes of a chunk's logits, at most.
    most_bytes: usize,
}

/// What [`LinearXent::scratch_bytes`] is, unless it is chosen, and at least.
const MOST_BYTES: usize = 26 << 20;
const LEAST_BYTES: usize = 1 << 20;

/// Bytes of a chunk's logits if that is as many rows as [`ENOUGH_ROWS`]: they should stay in cache.
const BYTES: usize = 8 << 20;

/// Rows of a chunk from which on a product with the weight is bound by arithmetic, no more by reading the
/// weight.
const ENOUGH_ROWS: usize = 1024;

/// Rows of a chunk below which making all logits twice, of more rows at a time, is quicker: 512 rows, 512
/// columns and 128,256 classes took 1.27 times as long as with all logits held where a chunk of 53 rows
/// took 1.73 times (one thread).
const FEW_ROWS: usize = 128;

impl<T: Float> LinearXent<T> {
    /// With these options, and products by [`Gemm`].
    pub fn new(xent: SoftmaxXent<T>) -> Self {
        LinearXent::with_product(xent, Gemm)
    }
}

impl<T: Float, P: Product<T>> LinearXent<T, P> {
    /// With these options, and the caller's products.
    ///
    /// ```
    /// use gradix::{Gemm, Linear, LinearXent, Product, SoftmaxXent, View, ViewMut};
    /// use std::cell::Cell;
    /// let calls = Cell::new(0);
    /// let counting = |a: View<'_, f64>, b: View<'_, f64>, c: ViewMut<'_, f64>, add: bool| {
    ///     calls.set(calls.get() + 1);
    ///     Gemm.multiply(a, b, c, add)
    /// };
    /// let layer = Linear::new(View::new(&[1.0], &[1, 1])?, View::new(&[2.0, 2.0], &[2, 1])?);
    /// let rows = LinearXent::with_product(SoftmaxXent::new(), counting).forward(layer, &[1])?;
    /// assert_eq!((rows.loss.value, calls.get()), (2.0_f64.ln(), 1));
    /// # Ok::<(), gradix::Error>(())
    /// ```
    pub fn with_product(xent: SoftmaxXent<T>, product: P) -> Self {
        LinearXent { xent, product, most_bytes: MOST_BYTES }
    }

    /// Logits take at most so many bytes of scratch: 26 MiB unless this is called, and never less than 1 MiB.
    /// With more, a chunk has more rows, up to 1,024, and the weight, which each chunk's products go through, is
    /// gone through less often: that pays where rows of `x` are long or classes many. The last bits of the
    /// gradients depend on it, as they are sums over chunks.
    ///
    /// ```
    /// use gradix::{Linear, LinearGradients, LinearXent, SoftmaxXent, View};
    /// let layer = Linear::new(View::new(&[1.0, 2.0], &[2, 1])?, View::new(&[1.0, 1.0], &[2, 1])?);
    /// let xent = LinearXent::new(SoftmaxXent::<f64>::new()).scratch_bytes(256 << 20);
    /// let mut dw = [0.0; 2];
    /// xent.forward_backward(layer, &[0, 1], LinearGradients::new().weight(&mut dw))?;
    /// assert_eq!(dw, [0.25, -0.25]);
    /// # Ok::<(), gradix::Error>(())
    /// ```
    #[must_use]
    pub fn scratch_bytes(self, most_bytes: usize) -> Self {
        LinearXent { most_bytes: most_bytes.max(LEAST_BYTES), ..self }
    }

    /// Each row's loss and log-sum-exp: [`SoftmaxXent::forward`] of the layer's answer.
    ///
    /// ```
    /// use gradix::{Linear, LinearXent, SoftmaxXent, View};
    /// let (x, weight, bias) = ([2.0_f64], [1.0, 1.0], [0.0, 3.0_f64.ln()]);
    /// let layer = Linear::new(View::new(&x, &[1, 1])?, View::new(&weight, &[2, 1])?).bias(&bias);
    /// let rows = LinearXent::new(SoftmaxXent::new()).forward(layer, &[0])?;
    /// assert!((rows.losses[0] - 4.0_f64.ln()).abs() < 1e-15);
    /// # Ok::<(), gradix::Error>(())
    /// ```
    pub fn forward<'l, I: Index>(
        &self,
        layer: Linear<'_, T>,
        labels: impl Into<View<'l, I>>,
    ) -> Result<Rows<T>> {
        let labels = labels.into();
        let mut kept = None;
        let call = self.call(&layer, &labels, &mut kept)?;
        let chunks = Chunks::of(&call, self.most_bytes);
        let mut found = call.found()?;
        let mut totals = call.totals();
        let mut scratch = chunks.scratch::<T>()?;
        for range in chunks.rows() {
            if chunks.width == call.here {
                let logits = self.logits(&layer, &mut scratch, range.clone(), 0..call.here)?;
                call.forward_rows(range, logits.as_view(), &mut found, &mut totals);
            } else {
                let partials = self.partials(&call, &layer, &chunks, range.clone(), &mut scratch)?;
                call.losses_known(range, &partials, Some(&mut found), &mut totals);
            }
        }
        found.loss = call.loss(&totals);
        Ok(found)
    }

    /// The loss, and its gradients.
    ///
    /// ```
    /// use gradix::{Linear, LinearGradients, LinearXent, SoftmaxXent, View};
    /// let (x, weight) = ([2.0_f32], [1.0, 1.0]);
    /// let layer = Linear::new(View::new(&x, &[1, 1])?, View::new(&weight, &[2, 1])?);
    /// let (mut dx, mut dw, mut db) = ([9.0], [9.0; 2], [9.0; 2]);
    /// let gradients = LinearGradients::new().x(&mut dx).weight(&mut dw).bias(&mut db);
    /// LinearXent::new(SoftmaxXent::new()).forward_backward(layer, &[0], gradients)?;
    /// assert_eq!((dx, dw, db), ([0.0], [-1.0, 1.0], [-0.5, 0.5]));
    /// # Ok::<(), gradix::Error>(())
    /// ```
    pub fn forward_backward<'l, I: Index>(
        &self,
        layer: Linear<'_, T>,
        labels: impl Into<View<'l, I>>,
        gradients: LinearGradients<'_, T>,
    ) -> Result<Loss<T>> {
        let labels = labels.into();
        let mut kept = None;
        let call = self.call(&layer, &labels, &mut kept)?;
        let mut gradients = gradients.shaped(&layer)?;
        let chunks = Chunks::of(&call, self.most_bytes);
        let mut totals = call.totals();
        let mut scratch = chunks.scratch::<T>()?;
        if call.rows == 0 {
            gradients.clear();
        }
        for range in chunks.rows() {
            if chunks.width == call.here {
                let mut logits = self.logits(&layer, &mut scratch, range.clone(), 0..call.here)?;
                call.gradient_in_place(range.clone(), logits.reborrow(), &mut totals);
                self.add_gradients(&layer, &mut gradients, logits, [range, 0..call.here]);
                continue;
            }
            let partials = self.partials(&call, &layer, &chunks, range.clone(), &mut scratch)?;
            call.losses_known(range.clone(), &partials, None, &mut totals);
            for classes in chunks.classes(call.here) {
                let mut logits = self.logits(&layer, &mut scratch, range.clone(), classes.clone())?;
                let panel = call.panel(classes.clone());
                panel.gradient_known(range.clone(), logits.reborrow(), &partials);
                self.add_gradients(&layer, &mut gradients, logits, [range.clone(), classes]);
            }
        }
        Ok(call.loss(&totals))
    }

    /// Checks the layer, the options and the labels.
    fn call<'c, I: Index>(
        &'c self,
        layer: &Linear<'_, T>,
        labels: &'c View<'_, I>,
        kept: &'c mut Option<Labels<'c>>,
    ) -> Result<Call<'c, T>> {
        let (&[rows, columns], &[classes, of_weight]) = (layer.x.shape(), layer.weight.shape()) else {
            let (what, got) = match layer.x.rank() {
                2 => ("the weight", layer.weight.rank()),
                got => ("x", got),
            };
            return Err(Error::Rank { what, expected: "2 is needed", got });
        };
        let expect = |what, expected: &[usize], got: &[usize]| match expected == got {
            true => Ok(()),
            false => Err(Error::Shape { what, expected: expected.to_vec(), got: got.to_vec() }),
        };
        expect("the weight", &[classes, columns], &[classes, of_weight])?;
        if let Some(bias) = &layer.bias {
            expect("the bias", &[classes], bias.shape())?;
        }
        if self.xent.class_axis != -1 && self.xent.class_axis != 1 {
            let why = "its classes are the last axis";
            return Err(Error::Conflict { first: "class_axis", second: "a linear layer", why });
        }
        let labels = Some(ErasedIndices::plain(labels));
        Ok(self.xent.check(&[rows, classes], labels, false, kept)?.call())
    }

    /// The logits of some rows and classes, in `scratch`.
    fn logits<'s>(
        &self,
        layer: &Linear<'_, T>,
        scratch: &'s mut [T],
        rows: Range<usize>,
        classes: Range<usize>,
    ) -> Result<ViewMut<'s, T>> {
        let shape = [rows.len(), classes.len()];
        let scratch = &mut scratch[..rows.len() * classes.len()];
        if let Some(bias) = layer.bias
            && !classes.is_empty()
        {
            let bias = bias.part(0, classes.clone());
            let work = RowsOf { width: classes.len(), elements: &mut *scratch };
            let grain = (1 << 16) / classes.len();
            parallel::for_each(work, grain, |_, work| {
                let slice = bias.axis_slices(0).slice(0);
                work.elements.chunks_exact_mut(work.width).for_each(|row| slice.copy_to(0, row));
            });
        }
        let mut logits = ViewMut::new(scratch, &shape)?;
        let weight = layer.weight.part(0, classes).transposed();
        self.product.multiply(layer.x.part(0, rows), weight, logits.reborrow(), layer.bias.is_some());
        Ok(logits)
    }

    /// The sums of some rows over all classes, of which scratch holds some at a time.
    fn partials(
        &self,
        call: &Call<'_, T>,
        layer: &Linear<'_, T>,
        chunks: &Chunks,
        rows: Range<usize>,
        scratch: &mut [T],
    ) -> Result<Vec<Partial<T>>> {
        let mut all: Vec<Partial<T>> = zeros(&[rows.len()])?;
        let mut some = all.clone();
        for classes in chunks.classes(call.here) {
            let logits = self.logits(layer, scratch, rows.clone(), classes.clone())?;
            call.panel(classes).partials_of(rows.clone(), logits.as_view(), &mut some);
            all.iter_mut().zip(&some).for_each(|(all, &some)| *all = all.merge(some));
        }
        Ok(all)
    }

    /// Adds what the gradient of some logits contributes to the layer's; what comes first is stored.
    fn add_gradients(
        &self,
        layer: &Linear<'_, T>,
        gradients: &mut LinearGradients<'_, T>,
        mut of_logits: ViewMut<'_, T>,
        [rows, classes]: [Range<usize>; 2],
    ) {
        let (is_first_panel, is_first_chunk) = (classes.start == 0, rows.start == 0);
        let of_logits = &mut of_logits;
        if let Some(dx) = &mut gradients.x {
            let dx = dx.reborrow().part(0, rows.clone());
            let weight = layer.weight.part(0, classes.clone());
            self.product.multiply(of_logits.as_view(), weight, dx, !is_first_panel);
        }
        if let Some(dw) = &mut gradients.weight {
            let dw = dw.reborrow().part(0, classes.clone());
            let x = layer.x.part(0, rows);
            self.product.multiply(of_logits.as_view().transposed(), x, dw, !is_first_chunk);
        }
        if let Some(db) = &mut gradients.bias {
            let db = db.reborrow().part(0, classes);
            parallel::for_each(Columns(of_logits.as_view(), db), 1, |_, work| work.sum(!is_first_chunk));
        }
    }
}

impl<'g, T: Float> LinearGradients<'g, T> {
    /// Each in the shape of what it is the gradient of.
    fn shaped(self, layer: &Linear<'_, T>) -> Result<Self> {
        let check = |what, to: Option<ViewMut<'g, T>>, shape: &[usize]| match to.map(|to| shaped(to, shape)) {
            Some(Err(Error::Shape { expected, got, .. })) => Err(Error::Shape { what, expected, got }),
            shaped => shaped.transpose(),
        };
        let classes = &layer.weight.shape()[..1];
        Ok(LinearGradients {
            x: check("the gradient of x", self.x, layer.x.shape())?,
            weight: check("the gradient of the weight", self.weight, layer.weight.shape())?,
            bias: check("the gradient of the bias", self.bias, classes)?,
        })
    }

    /// What no row contributes to.
    fn clear(&mut self) {
        for to in [&mut self.weight, &mut self.bias].into_iter().flatten() {
            let axis = to.rank() - 1;
            let count = to.shape()[..axis].iter().product();
            let mut slices = to.reborrow().into_axis_slices(axis);
            (0..count).for_each(|i| slices.slice(i).fill(T::ZERO));
        }
    }
}

/// How rows and classes are cut.
struct Chunks {
    all: usize,
    /// Rows of a chunk: blocks of [`Call`].
    height: usize,
    /// Classes of a panel: all, unless there are very many.
    width: usize,
}

impl Chunks {
    fn of<T: Float>(call: &Call<'_, T>, most_bytes: usize) -> Self {
        let (all, classes, block) = (call.rows, call.here.max(1), call.block());
        let rows = |bytes: usize| bytes / size_of::<T>() / classes;
        let most = rows(most_bytes);
        if most < FEW_ROWS.min(all) {
            let height = ENOUGH_ROWS.min(all);
            let width = (most_bytes / 2 / size_of::<T>() / height).min(call.here);
            return Chunks { all, height, width };
        }
        let height = rows(BYTES).max(ENOUGH_ROWS).min(most).max(block);
        Chunks { all, height: (height / block * block).min(all), width: call.here }
    }

    fn rows(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let &Chunks { all, height, .. } = self;
        (0..all).step_by(height.max(1)).map(move |first| first..all.min(first + height))
    }

    fn classes(&self, classes: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let width = self.width;
        (0..classes).step_by(width.max(1)).map(move |first| first..classes.min(first + width))
    }

    fn scratch<T: Float>(&self) -> Result<Vec<T>> {
        zeros(&[self.height, self.width])
    }
}

/// Whole rows of a dense matrix.
struct RowsOf<'s, T> {
    width: usize,
    elements: &'s mut [T],
}

impl<T: Send> parallel::Split for RowsOf<'_, T> {
    fn len(&self) -> usize {
        self.elements.len() / self.width
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        let width = self.width;
        let (a, b) = self.elements.split_at_mut(mid * width);
        (RowsOf { width, elements: a }, RowsOf { width, elements: b })
    }
}

/// A matrix and the sums of its columns.
struct Columns<'a, T>(View<'a, T>, ViewMut<'a, T>);

/// Columns that are summed together: their sums stay in the first-level cache.
const SUMS: usize = 1024;

impl<T: Float> Columns<'_, T> {
    /// In the order of the rows.
    fn sum(self, add: bool) {
        let Columns(matrix, to) = self;
        let mut to = to.into_axis_slices(0);
        let mut to = to.slice(0);
        let [rows, columns] = [matrix.shape()[0], matrix.shape()[1]];
        let mut sums = [T::ZERO; SUMS];
        for first in (0..columns).step_by(SUMS) {
            let range = first..columns.min(first + SUMS);
            let sums = &mut sums[..range.len()];
            if add {
                to.as_slice_view().copy_to(first, sums);
            } else {
                sums.fill(T::ZERO);
            }
            let slices = matrix.part(1, range).axis_slices(1);
            for row in 0..rows {
                let slice = slices.slice(row);
                let row = slice.as_slice().unwrap_or_default();
                sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x);
            }
            to.copy_from(first, sums);
        }
    }
}

impl<T: Float> parallel::Split for Columns<'_, T> {
    fn len(&self) -> usize {
        self.1.shape()[0].div_ceil(SUMS)
    }

    fn split_at(self, mid: usize) -> (Self, Self) {
        let Columns(matrix, to) = self;
        let len = to.shape()[0];
        let mid = len.min(mid * SUMS);
        let (a, b) = to.split_at(0, mid);
        (Columns(matrix.part(1, 0..mid), a), Columns(matrix.part(1, mid..len), b))
    }
}
