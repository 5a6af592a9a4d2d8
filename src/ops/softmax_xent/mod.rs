//! Softmax cross-entropy: forward and backward in one pass over the logits.
//!
//! The equations and the departures from them are in [`rows`], the accuracy of the exponentials in
//! [`exp`](crate::simd::exp).

mod by_class;
mod drive;
mod lanes;
mod partial;
mod plan;
mod rows;
mod scale;
mod soft;
mod softmax;
mod tile;

use crate::array::{View, ViewMut, zeros};
use crate::error::{Error, Result};
use crate::index::{Extent, Index};
use crate::order;
use crate::simd::scaled::{self, Scaled};
use crate::simd::{self, Float, Level};
use drive::{Drive, LabelList, Rows as Work, Targets, class_of};
pub use partial::Partial;
use plan::{Classes, Plan, Weights, is_factor};
use rows::NO_CLASS;
use scale::{CallScale, LossSum, RowWeights};
pub use softmax::{
    log_softmax, log_softmax_in_place, log_softmax_into, softmax, softmax_in_place, softmax_into,
};
use std::borrow::Cow;
#[cfg(feature = "linear")]
use std::ops::Range;

/// How the losses of the rows become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Reduction {
    /// Their sum, divided by the number of rows that count (with class weights: by the sum of their targets' weights,
    /// as PyTorch has it; with [`SoftmaxXent::normalizer`]: by the caller's number).
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// Not at all: each row's gradient is of its own loss. [`Loss::value`] is their sum.
    None,
}

/// The loss of all rows together.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Loss<T> {
    /// The reduced loss.
    pub value: T,
    /// The number of rows whose label is not the ignored one.
    pub count: usize,
    /// The sum of these rows' target weights, times their row weights; their number where there are no weights.
    pub weight: T,
    /// The number of these rows whose target is the largest logit; where several are, the one of the lowest
    /// class. A row that is no number has none.
    pub correct: usize,
}

/// What [`SoftmaxXent::forward`] finds out about each row, in C order over all axes but the class axis.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Rows<T> {
    /// Each row's loss; 0 for an ignored row.
    pub losses: Vec<T>,
    /// The logarithm of the sum of each row's exponentials.
    pub lse: Vec<T>,
    /// Each row's sums, for [`SoftmaxXent::backward_from`].
    pub partials: Vec<Partial<T>>,
    /// The losses, reduced.
    pub loss: Loss<T>,
}

/// Softmax cross-entropy, configured once and run every step.
///
/// *Logits*: a [`View`] of rank 1 to 8 of `f32` or `f64`, any strides; the class axis is the last unless
/// [`class_axis`](Self::class_axis) says otherwise. All other axes together make the rows. *Labels*: a slice
/// of any [`Index`] type, one per row in C order, or a [`View`] of the logits' shape without the class axis,
/// of any strides. *Gradient*: a [`ViewMut`] of the logits' shape and any strides, or a slice of as many
/// elements in C order.
///
/// ```
/// use gradix::{SoftmaxXent, View};
/// let logits = [2.0, 1.0, 0.0, 0.0, 3.0, 0.0_f32];
/// let mut grad = [0.0; 6];
/// let xent = SoftmaxXent::new();
/// let loss = xent.forward_backward(View::new(&logits, &[2, 3])?, &[0, 1], &mut grad)?;
/// assert!((loss.value - 0.2513).abs() < 1e-4);
/// assert!((grad[0] - (0.6652 - 1.0) / 2.0).abs() < 1e-4);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// **Edges.** A row with a NaN, with +∞, or of nothing but −∞ has NaN for its loss and gradient; other rows
/// are not touched by it. A logit of −∞ is a masked class: its probability is 0, and so is its gradient; that
/// is the way to mask classes, and a [`softcap`](Self::softcap) leaves it as it is. With label smoothing the
/// loss of such a row is +∞ and the masked class's gradient −ε/C times its weight, as the formula says,
/// unless its class weight is 0: a class of weight 0 takes no part (0·∞ = 0). Masks may also be finite, down
/// to the least number of the type. An ignored row has loss 0 and gradient 0. Where no row counts, so are the
/// loss and all gradients, and [`Loss::count`] says 0. Weights, upstream gradients and normalizers may be
/// tiny or huge, as long as a row's factor, the product of all of them, has the range of the type. Results
/// are flushed to 0 only where they are subnormal.
///
/// **Errors.** [`Error::Shape`], [`Error::Axis`], [`Error::Rank`], [`Error::Label`], [`Error::Option`],
/// [`Error::Conflict`], [`Error::Level`]; all before anything is written.
///
/// **Equality class.** The same bits for every number of threads; the same bits as [`reference`](crate::reference) on
/// every level with FMA.
///
/// **Cost.** Out of cache, one read of the logits and one write of the gradient; one of 12 MiB or more, in
/// rows of 1 KiB or more, is written past the caches, unless in place, strided, or with a softcap: who reads
/// it next reads memory. Each thread keeps scratch from call to call: 256 bytes per 5 KiB of its longest row
/// (per 128 classes where rows sit in lanes; twice that where the gradient goes past the caches), and 8 KiB
/// (20 KiB for dense rows of at most as many classes as a vector has lanes), or the longest row where its
/// gradient is strided, or rows of 64 KiB (one, if it is longer) where that goes past the caches.
#[derive(Debug, Clone, PartialEq)]
pub struct SoftmaxXent<T> {
    pub(crate) class_axis: isize,
    pub(crate) ignore_index: Option<i128>,
    pub(crate) class_weights: Option<Weights<T>>,
    pub(crate) row_weights: Option<RowWeights<T>>,
    pub(crate) label_smoothing: T,
    pub(crate) z_loss: T,
    pub(crate) softcap: Option<T>,
    pub(crate) reduction: Reduction,
    pub(crate) normalizer: Option<T>,
    pub(crate) shard: Option<(usize, usize)>,
    /// Whether logarithms of probabilities are wanted in place of gradients.
    log: bool,
}

impl<T: Float> Default for SoftmaxXent<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Float> SoftmaxXent<T> {
    /// The mean over all rows, classes on the last axis, no other option.
    ///
    /// ```
    /// # use gradix::SoftmaxXent;
    /// let loss = SoftmaxXent::new().forward(&[0.0, 0.0], &[1])?.loss;
    /// assert_eq!(loss.value, 2.0_f32.ln());
    /// # Ok::<(), gradix::Error>(())
    /// ```
    pub fn new() -> Self {
        SoftmaxXent {
            class_axis: -1,
            ignore_index: None,
            class_weights: None,
            row_weights: None,
            label_smoothing: T::ZERO,
            z_loss: T::ZERO,
            softcap: None,
            reduction: Reduction::Mean,
            normalizer: None,
            shard: None,
            log: false,
        }
    }

    /// The axis of the classes, negative ones counted from the end: 1 for (N, C, d1, d2 …).
    ///
    /// ```
    /// # use gradix::{SoftmaxXent, View};
    /// // Two classes, three places.
    /// let logits = View::new(&[0.0, 0.0, 0.0, 0.0, 9.0, -9.0], &[2, 3])?;
    /// let rows = SoftmaxXent::new().class_axis(0).forward(logits, &[0, 1, 0])?;
    /// assert_eq!(rows.losses[0], 2.0_f64.ln());
    /// assert!(rows.losses[1] < 1e-3 && rows.losses[2] < 1e-3);
    /// # Ok::<(), gradix::Error>(())
    /// ```
    #[must_use]
    pub fn class_axis(self, axis: isize) -> Self {
        SoftmaxXent { class_axis: axis, ..self }
    }

    /// Rows with this label, of any integer type, have no loss and no gradient. −100 in PyTorch; none here
    /// unless said. Labels of a type that cannot have this value are all classes.
    ///
    /// ```
    /// # use gradix::{SoftmaxXent, View};
    /// let logits = View::new(&[0.0, 0.0, 5.0, 0.0], &[2, 2])?;
    /// let loss = SoftmaxXent::new().ignore_index(-100).forward(logits, &[1, -100])?.loss;
    /// assert_eq!((loss.value, loss.count), (2.0_f64.ln(), 1));
    /// # Ok::<(), gradix::Error>(())
    /// ```
    #[must_use]
    pub fn ignore_index(self, label: impl Index) -> Self {
        SoftmaxXent { ignore_index: Some(label.value()), ..self }
    }

    /// A weight for each class, finite and not negative. They are copied, and added up: made once, the
    /// options serve many calls.
    ///
    /// ```
    /// # use gradix::{SoftmaxXent, View};
    /// let logits = View::new(&[0.0, 0.0, 0.0, 0.0], &[2, 2])?;
    /// let loss = SoftmaxXent::new().class_weights(&[1.0, 3.0]).forward(logits, &[0, 1])?.loss;
    /// assert_eq!(loss.weight, 4.0_f64);
    /// # Ok::<(), gradix::Error>(())
    /// ```
    #[must_use]
    pub fn class_weights(self, weights: &[T]) -> Self {
        SoftmaxXent { class_weights: Some(Weights::new(weights)), ..self }
    }

    /// A weight for each row, finite and not negative: a factor of its loss and gradient. A mean divides by
    /// the sum of the weights that count (with class weights: of their products with the targets' own). They
    /// are copied.
    ///
    /// ```
    /// # use gradix::{SoftmaxXent, View};
    /// let logits = View::new(&[0.0, 0.0, 0.0, 0.0], &[2, 2])?;
    /// let mut grad = [0.0; 4];
    /// let loss = SoftmaxXent::new().row_weights(&[1.0, 3.0]).forward_backward(logits, &[0, 1], &mut grad)?;
    /// assert_eq!(loss.weight, 4.0_f64);
    /// assert_eq!(grad, [-0.125, 0.125, 0.375, -0.375]);
    /// # Ok::<(), gradix::Error>(())
    /// ```
    #[must_use]
    pub fn row_weights(self, weights: &[T]) -> Self {
        SoftmaxXent { row_weights: Some(RowWeights::new(weights)), ..self }
    }

    /// The share ε of the target that is spread over all classes, in 0..=1 (Szegedy et al. 2016), with class
    /// weights as `torch.nn.CrossEntropyLoss` defines it.
    ///
    /// ```
    /// # use gradix::SoftmaxXent;
    /// let mut grad = [0.0; 4];
    /// SoftmaxXent::new().label_smoothing(0.5).forward_backward(&[0.0; 4], &[0], &mut grad)?;
    /// assert_eq!(grad, [0.25 - 0.625, 0.125, 0.125, 0.125]);
    /// # Ok::<(), gradix::Error>(())
    /// ```
    #[must_use]
    pub fn label_smoothing(self, share: T) -> Self {
        SoftmaxXent { label_smoothing: share, ..self }
    }

    /// Adds `factor`·lse² to each row's loss, finite and not negative (Zoph et al. 2022, ST-MoE). Class
    /// weights do not apply to it.
    ///
    /// ```
    /// # use gradix::SoftmaxXent;
    /// let loss = SoftmaxXent::new().z_loss(0.5).forward(&[0.0, 0.0], &[0])?.loss;
    /// let lse = 2.0_f64.ln();
    /// assert!((loss.value - (lse + 0.5 * lse * lse)).abs() < 1e-15);
    /// # Ok::<(), gradix::Error>(())
    /// ```
    #[must_use]
    pub fn z_loss(self, factor: T) -> Self {
        SoftmaxXent { z_loss: factor, ..self }
    }

    /// Takes `cap`·tanh(x/`cap`) for each logit x, `cap` finite and positive (Gemma 2, 2024). A logit of −∞
    /// stays so, and masked; a finite one, however small, does not.
    ///
    /// ```
    /// # use gradix::SoftmaxXent;
    /// let capped = SoftmaxXent::new().softcap(1.0).forward(&[1e6, 0.0], &[0])?;
    /// assert!((capped.lse[0] - (1.0 + (-1.0_f64).exp().ln_1p())).abs() < 1e-15);
    /// # Ok::<(), gradix::Error>(())
    /// ```
    #[must_use]
    pub fn softcap(self, cap: T) -> Self {
        SoftmaxXent { softcap: Some(cap), ..self }
    }

    /// How the rows' losses become one. The mean unless said.
    ///
    /// ```
    /// # use gradix::{Reduction, SoftmaxXent, View};
    /// let logits = View::new(&[0.0, 0.0, 0.0, 0.0], &[2, 2])?;
    /// let mut grad = [0.0; 4];
    /// SoftmaxXent::new().reduction(Reduction::Sum).forward_backward(logits, &[0, 1], &mut grad)?;
    /// assert_eq!(grad, [-0.5, 0.5, 0.5, -0.5]);
    /// # Ok::<(), gradix::Error>(())
    /// ```
    #[must_use]
    pub fn reduction(self, reduction: Reduction) -> Self {
        SoftmaxXent { reduction, ..self }
    }

    /// What [`reduction`](Self::reduction) has set.
    ///
    /// ```
    /// # use gradix::{Reduction, SoftmaxXent};
    /// assert_eq!(SoftmaxXent::<f32>::new().get_reduction(), Reduction::Mean);
    /// assert_eq!(SoftmaxXent::<f32>::new().reduction(Reduction::None).get_reduction(), Reduction::None);
    /// ```
    #[must_use]
    pub fn get_reduction(&self) -> Reduction {
        self.reduction
    }

    /// What the mean divides by, finite and positive, in place of the number of rows that count: the number in the
    /// whole step, where it is distributed or accumulated. Only with [`Reduction::Mean`].
    ///
    /// ```
    /// # use gradix::{SoftmaxXent, View};
    /// let logits = View::new(&[0.0, 0.0, 0.0, 0.0], &[2, 2])?;
    /// let mut grad = [0.0; 4];
    /// SoftmaxXent::new().normalizer(8.0).forward_backward(logits, &[0, 1], &mut grad)?;
    /// assert_eq!(grad, [-0.0625, 0.0625, 0.0625, -0.0625]);
    /// # Ok::<(), gradix::Error>(())
    /// ```
    #[must_use]
    pub fn normalizer(self, n: T) -> Self {
        SoftmaxXent { normalizer: Some(n), ..self }
    }

    /// The logits hold but some of `classes` classes, from class `first` on; labels and class weights are
    /// those of all. For [`partials`](Self::partials) and [`backward_from`](Self::backward_from).
    ///
    /// ```
    /// # use gradix::SoftmaxXent;
    /// // Classes 2 and 3 of four; the target, class 0, is elsewhere.
    /// let partial = SoftmaxXent::new().shard(2, 4).partials(&[1.0, 5.0], &[0])?[0];
    /// assert_eq!((partial.max, partial.target), (5.0, f64::NEG_INFINITY));
    /// # Ok::<(), gradix::Error>(())
    /// ```
    #[must_use]
    pub fn shard(self, first: usize, classes: usize) -> Self {
        SoftmaxXent { shard: Some((first, classes)), ..self }
    }

    /// The loss, and the gradient of it into `grad`.
    ///
    /// Shapes, errors, edges, equality class and cost of all methods: see [`SoftmaxXent`].
    ///
    /// ```
    /// # use gradix::{SoftmaxXent, View};
    /// let logits = [0.0, 0.0, 0.0, 3.0_f64.ln()];
    /// let mut grad = [0.0; 4];
    /// let loss = SoftmaxXent::new().forward_backward(View::new(&logits, &[2, 2])?, &[0, 1], &mut grad)?;
    /// assert!((loss.value - (2.0_f64.ln() + (4.0_f64 / 3.0).ln()) / 2.0).abs() < 1e-15);
    /// for (got, expected) in grad.iter().zip([-0.25, 0.25, 0.125, -0.125]) {
    ///     assert!((got - expected).abs() < 1e-15);
    /// }
    /// # Ok::<(), gradix::Error>(())
    /// ```
    pub fn forward_backward<'a, 'l, I: Index>(
        &self,
        logits: impl Into<View<'a, T>>,
        labels: impl Into<View<'l, I>>,
        grad: impl Into<ViewMut<'a, T>>,
    ) -> Result<Loss<T>> {
        let logits = logits.into();
        let call = self.call(logits.shape(), labels.into(), false)?;
        let grad = shaped(grad.into(), logits.shape())?;
        call.gradient(Some(&logits), grad, None, None)
    }

    /// The loss; the logits become its gradient.
    ///
    /// ```
    /// # use gradix::{SoftmaxXent, View, ViewMut};
    /// let mut logits = [2.0, 1.0, 0.0_f64];
    /// SoftmaxXent::new().forward_backward_in_place(&mut logits, &[0])?;
    /// assert!((logits.iter().sum::<f64>()).abs() < 1e-15);
    /// # Ok::<(), gradix::Error>(())
    /// ```
    pub fn forward_backward_in_place<'a, 'l, I: Index>(
        &self,
        logits: impl Into<ViewMut<'a, T>>,
        labels: impl Into<View<'l, I>>,
    ) -> Result<Loss<T>>
    where
        T: 'a,
    {
        let logits = logits.into();
        let call = self.call(logits.shape(), labels.into(), false)?;
        call.gradient(None, logits, None, None)
    }

    /// Each row's loss and log-sum-exp, for evaluation or for a later backward pass. Reads the logits once
    /// and writes no gradient.
    ///
    /// ```
    /// # use gradix::{SoftmaxXent, View};
    /// let logits = [0.0, 0.0, 0.0, 5.0_f32];
    /// let rows = SoftmaxXent::new().ignore_index(-1).forward(View::new(&logits, &[2, 2])?, &[1, -1])?;
    /// assert_eq!(rows.losses, [2.0_f32.ln(), 0.0]);
    /// assert_eq!(rows.loss.count, 1);
    /// # Ok::<(), gradix::Error>(())
    /// ```
    pub fn forward<'a, 'l, I: Index>(
        &self,
        logits: impl Into<View<'a, T>>,
        labels: impl Into<View<'l, I>>,
    ) -> Result<Rows<T>>
    where
        T: 'a,
    {
        let logits = logits.into();
        let call = self.call(logits.shape(), labels.into(), false)?;
        let mut rows = call.found()?;
        let mut totals = call.totals();
        let list = call.label_list();
        call.run(Work {
            from: Some(logits.lanes(call.axis)),
            losses: Some(&mut rows.losses),
            lse: Some(&mut rows.lse),
            found: Some(&mut rows.partials),
            totals: Some(&mut totals),
            ..call.work(&list)
        });
        rows.loss = call.loss(&totals);
        Ok(rows)
    }

    /// The gradient alone, times `upstream`: one value, or, with [`Reduction::None`], one per row.
    ///
    /// ```
    /// # use gradix::{Reduction, SoftmaxXent, View};
    /// let logits = [0.0, 0.0, 0.0, 0.0_f32];
    /// let mut grad = [0.0; 4];
    /// let xent = SoftmaxXent::new().reduction(Reduction::None);
    /// xent.backward(View::new(&logits, &[2, 2])?, &[0, 1], &[1.0, 10.0], &mut grad)?;
    /// assert_eq!(grad, [-0.5, 0.5, 5.0, -5.0]);
    /// # Ok::<(), gradix::Error>(())
    /// ```
    pub fn backward<'a, 'u, 'l, I: Index>(
        &self,
        logits: impl Into<View<'a, T>>,
        labels: impl Into<View<'l, I>>,
        upstream: impl Into<View<'u, T>>,
        grad: impl Into<ViewMut<'a, T>>,
    ) -> Result<()>
    where
        T: 'u,
    {
        let logits = logits.into();
        let call = self.call(logits.shape(), labels.into(), false)?;
        let upstream = self.upstream(upstream.into(), call.labels.len())?;
        let grad = shaped(grad.into(), logits.shape())?;
        call.gradient(Some(&logits), grad, Some(&upstream), None).map(|_| ())
    }

    /// The sums that these classes contribute to each row: see [`Partial`]. Reads the logits once and writes
    /// no gradient.
    ///
    /// ```
    /// # use gradix::{SoftmaxXent, View};
    /// let row = [1.0, 2.0, 3.0, 4.0];
    /// let of = |first: usize| {
    ///     let part = View::new(&row[first..first + 2], &[1, 2])?;
    ///     SoftmaxXent::new().shard(first, 4).partials(part, &[2])
    /// };
    /// let (left, right) = (of(0)?[0], of(2)?[0]);
    /// assert_eq!((left.max, left.target), (2.0, f64::NEG_INFINITY));
    /// assert_eq!((right.max, right.target), (4.0, 3.0));
    /// # Ok::<(), gradix::Error>(())
    /// ```
    pub fn partials<'a, 'l, I: Index>(
        &self,
        logits: impl Into<View<'a, T>>,
        labels: impl Into<View<'l, I>>,
    ) -> Result<Vec<Partial<T>>>
    where
        T: 'a,
    {
        let logits = logits.into();
        let call = self.call(logits.shape(), labels.into(), true)?;
        let mut partials: Vec<Partial<T>> = zeros(&[call.labels.len()])?;
        let list = call.label_list();
        call.run(Work {
            from: Some(logits.lanes(call.axis)),
            found: Some(&mut partials),
            ..call.work(&list)
        });
        Ok(partials)
    }

    /// The loss, and the gradient of these classes times `upstream`, from sums that are known already: those
    /// of [`forward`](Self::forward), or the merged [`partials`](Self::partials) of all shards. One read of
    /// the logits, one write of the gradient.
    ///
    /// ```
    /// # use gradix::{SoftmaxXent, View};
    /// let logits = [2.0, 1.0, 0.0_f32];
    /// let (mut grad, mut later) = ([0.0; 3], [0.0; 3]);
    /// let xent = SoftmaxXent::new();
    /// let loss = xent.forward_backward(&logits, &[0], &mut grad)?;
    /// let rows = xent.forward(&logits, &[0])?;
    /// assert_eq!(loss, xent.backward_from(&logits, &[0], &rows.partials, &[1.0], &mut later)?);
    /// # Ok::<(), gradix::Error>(())
    /// ```
    pub fn backward_from<'a, 'u, 'l, I: Index>(
        &self,
        logits: impl Into<View<'a, T>>,
        labels: impl Into<View<'l, I>>,
        partials: &[Partial<T>],
        upstream: impl Into<View<'u, T>>,
        grad: impl Into<ViewMut<'a, T>>,
    ) -> Result<Loss<T>>
    where
        T: 'u,
    {
        let logits = logits.into();
        let call = self.call(logits.shape(), labels.into(), true)?;
        let partials = call.checked(partials)?;
        let upstream = self.upstream(upstream.into(), call.labels.len())?;
        let grad = shaped(grad.into(), logits.shape())?;
        call.gradient(Some(&logits), grad, Some(&upstream), Some(partials))
    }

    /// One value, or one for each of `rows` rows, in C order.
    pub(crate) fn upstream<'u>(&self, upstream: View<'u, T>, rows: usize) -> Result<Cow<'u, [T]>> {
        let expected = if self.reduction == Reduction::None && upstream.len() != 1 { rows } else { 1 };
        if upstream.len() != expected {
            let (expected, got) = (vec![expected], upstream.shape().to_vec());
            return Err(Error::Shape { what: "the upstream gradient", expected, got });
        }
        Ok(upstream.as_slice().map_or_else(|| Cow::Owned(upstream.to_vec()), Cow::Borrowed))
    }

    /// The class axis.
    fn axis(&self, shape: &[usize]) -> Result<usize> {
        if shape.is_empty() {
            return Err(Error::Rank { what: "the logits", expected: "at least 1 is needed", got: 0 });
        }
        let axis = self.class_axis;
        let from_start = if axis < 0 { axis.checked_add_unsigned(shape.len()) } else { Some(axis) };
        from_start
            .and_then(|axis| usize::try_from(axis).ok())
            .filter(|&axis| axis < shape.len())
            .ok_or(Error::Axis { axis, rank: shape.len() })
    }

    /// Whether rows sit in lanes.
    fn is_across(&self, axis: usize, shape: &[usize]) -> bool {
        let finds_maxima = self.label_smoothing > T::ZERO || self.z_loss > T::ZERO;
        order::is_across::<T>(shape, axis, finds_maxima)
    }

    /// A call for rows that have no target.
    pub(crate) fn call_without_targets(&self, shape: &[usize]) -> Result<Call<'_, T, u8>> {
        let axis = self.axis(shape)?;
        let classes = shape[axis];
        let rows = shape.iter().enumerate().filter(|&(k, _)| k != axis).map(|(_, &n)| n).product::<usize>();
        let across = self.is_across(axis, shape);
        let plan = Plan::new(self, Classes { all: classes, first: 0, here: classes, across }, T::ONE);
        let counted = Counted { rows, weight: Scaled::of_f64(rows as f64), heaviest: T::ONE };
        let (labels, level) = (Cow::Borrowed(&[][..]), Level::current()?);
        Ok(Call { xent: self, plan, labels, rows, axis, here: classes, across, level, counted })
    }

    /// Checks the options against each other and the inputs.
    pub(crate) fn call<'c, I: Index>(
        &'c self,
        shape: &[usize],
        labels: View<'c, I>,
        in_parts: bool,
    ) -> Result<Call<'c, T, I>> {
        let axis = self.axis(shape)?;
        let here = shape[axis];
        let (first_class, classes) = self.shard.unwrap_or((0, here));
        self.check_options(classes, in_parts)?;
        if first_class.checked_add(here).is_none_or(|end| end > classes) {
            return Err(Error::Option {
                option: "shard",
                value: format!("{:?}", (first_class, classes)),
                expected: "room for the logits' classes",
            });
        }
        let rows = shape.iter().enumerate().filter(|&(k, _)| k != axis).map(|(_, &n)| n).product::<usize>();
        let without_classes = || shape[..axis].iter().chain(&shape[axis + 1..]).copied();
        if labels.len() != rows || labels.rank() != 1 && !without_classes().eq(labels.shape().iter().copied())
        {
            let expected = without_classes().collect();
            return Err(Error::Shape { what: "the labels", expected, got: labels.shape().to_vec() });
        }
        let labels = labels.as_slice().map_or_else(|| Cow::Owned(labels.to_vec()), Cow::Borrowed);
        let across = self.is_across(axis, shape);
        self.check_row_weights(rows)?;
        let level = Level::current()?;
        let counted = self.count(&labels, classes, level)?;
        let plan =
            Plan::new(self, Classes { all: classes, first: first_class, here, across }, counted.heaviest);
        Ok(Call { xent: self, plan, labels, rows, axis, here, across, level, counted })
    }

    fn check_row_weights(&self, rows: usize) -> Result<()> {
        if let Some(weights) = &self.row_weights {
            if weights.all.len() != rows {
                let (expected, got) = (vec![rows], vec![weights.all.len()]);
                return Err(Error::Shape { what: "row_weights", expected, got });
            }
            if let Some(weight) = weights.wrong {
                wrong_option("row_weights", weight, "finite and not negative")?;
            }
        }
        Ok(())
    }

    /// What the sum of the losses is divided by, given that of the weights of rows that count; 1 unless it is a mean.
    fn divisor(&self, weight: Scaled<f64>) -> Scaled<f64> {
        match (self.reduction, self.normalizer) {
            (Reduction::Mean, Some(n)) => Scaled::of(n.to_f64()),
            (Reduction::Mean, None) => weight,
            (Reduction::Sum | Reduction::None, _) => Scaled::ONE,
        }
    }

    fn check_options(&self, classes: usize, in_parts: bool) -> Result<()> {
        let option = wrong_option::<T>;
        let conflict = |first, second, why| Err(Error::Conflict { first, second, why });
        if let Some(weights) = &self.class_weights {
            if weights.all.len() != classes {
                let (expected, got) = (vec![classes], vec![weights.all.len()]);
                return Err(Error::Shape { what: "class_weights", expected, got });
            }
            if let Some(weight) = weights.wrong {
                return option("class_weights", weight, "finite and not negative");
            }
        }
        if !(self.label_smoothing >= T::ZERO && self.label_smoothing <= T::ONE) {
            return option("label_smoothing", self.label_smoothing, "in 0..=1");
        }
        if !is_factor(self.z_loss) {
            return option("z_loss", self.z_loss, "finite and not negative");
        }
        if let Some(cap) = self.softcap
            && !(is_factor(cap) && cap > T::ZERO)
        {
            return option("softcap", cap, "finite and positive");
        }
        if let Some(n) = self.normalizer {
            if !(is_factor(n) && n > T::ZERO) {
                return option("normalizer", n, "finite and positive");
            }
            if self.reduction != Reduction::Mean {
                return conflict("normalizer", "reduction", "only a mean divides by a number of rows");
            }
        }
        if self.shard.is_some() && !in_parts {
            return conflict("shard", "a pass over whole rows", "the other classes' sums are missing");
        }
        Ok(())
    }

    /// The labels of rows that do not count, if one of their type can say so.
    fn ignored<I: Index>(&self) -> Option<I> {
        let ignored = self.ignore_index?;
        Some(I::from_bits(ignored as u64)).filter(|label| label.value() == ignored)
    }

    /// What the labels of rows that count amount to.
    fn count<I: Index>(&self, labels: &[I], classes: usize, level: Level) -> Result<Counted<T>> {
        let ignored = self.ignored();
        let (extent, left_out) = f32::dispatch(level, Extent { slice: labels, but: ignored });
        if extent.is_some_and(|[low, high]| low.value() < 0 || high.value() >= classes as i128) {
            let is_wrong = |&label: &I| Some(label) != ignored && label.raise(0) >= classes;
            let row = labels.iter().position(is_wrong).unwrap_or(0);
            return Err(Error::Label { row, value: labels[row].value(), classes });
        }
        let rows = labels.len() - left_out;
        let mut counted = Counted { rows, weight: Scaled::of_f64(rows as f64), heaviest: T::ONE };
        let class_of = |&label: &I| class_of(label, ignored);
        let class_weights = self.class_weights.as_ref();
        // Sums of `f64` could pass its range, if weights are of that type.
        let exponents =
            class_weights.map_or(0, |weights| if weights.is_moderate { 0 } else { weights.largest_exponent });
        let [a, b] = scaled::powers::<f64>(-exponents);
        let class_weight = |label: &I| match class_weights {
            None => {
                if class_of(label) == NO_CLASS {
                    0.0
                } else {
                    1.0
                }
            }
            Some(weights) => weights.all.get(class_of(label)).map_or(0.0, |w| w.to_f64() * a * b),
        };
        let weight = match &self.row_weights {
            None if class_weights.is_none() => return Ok(counted),
            None => sum_in_turn(labels.iter().map(class_weight)),
            Some(weights) => {
                let [a, b] = scaled::powers::<f64>(-weights.exponent);
                let products = labels.iter().zip(&weights.all);
                sum_in_turn(products.map(|(label, w)| class_weight(label) * (w.to_f64() * a * b)))
            }
        };
        let rows_exponent = self.row_weights.as_ref().map_or(0, |weights| weights.exponent);
        counted.weight = Scaled::of_f64(weight).lifted(exponents + rows_exponent);
        if let Some(weights) = class_weights.filter(|weights| !weights.is_moderate) {
            let targets = labels.iter().filter_map(|label| weights.all.get(class_of(label)));
            counted.heaviest = targets.fold(T::ZERO, |most, &w| if w > most { w } else { most });
        }
        Ok(counted)
    }
}

/// One by the divisor; 0 where no row counts, or all weigh nothing.
fn mean<T: Float>(Scaled { mantissa, exponent }: Scaled<f64>) -> Scaled<T> {
    match mantissa == 0.0 {
        true => Scaled { mantissa: T::ZERO, exponent: 0 },
        false => Scaled { mantissa: T::ONE / T::from_f64(mantissa), exponent: -exponent },
    }
}

/// What the rows that count amount to.
#[derive(Clone, Copy)]
struct Counted<T> {
    /// Their number.
    rows: usize,
    /// The sum of their weights.
    weight: Scaled<f64>,
    /// The largest weight of one of their classes, if some are tiny or huge.
    heaviest: T,
}

fn wrong_option<T: Float>(option: &'static str, value: T, expected: &'static str) -> Result<()> {
    Err(Error::Option { option, value: format!("{value:?}"), expected })
}

/// The sum of numbers, as several sums by turns, so that none waits for the one before.
fn sum_in_turn(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut sums = [0.0; order::SUMS_OF_WEIGHTS];
    for (i, x) in numbers.enumerate() {
        sums[i % order::SUMS_OF_WEIGHTS] += x;
    }
    sums.iter().sum()
}

/// `grad` in the logits' shape: as it is, or a slice of as many elements taken in C order.
#[inline(always)]
pub(crate) fn shaped<'g, T>(grad: ViewMut<'g, T>, shape: &[usize]) -> Result<ViewMut<'g, T>> {
    if grad.shape() == shape {
        return Ok(grad);
    }
    let wrong =
        |got: &[usize]| Error::Shape { what: "the gradient", expected: shape.to_vec(), got: got.to_vec() };
    if grad.rank() != 1 {
        return Err(wrong(grad.shape()));
    }
    let len = grad.len();
    let slice = grad.into_slice().map_err(|_| wrong(&[len]))?;
    ViewMut::new(slice, shape).map_err(|_| wrong(&[len]))
}

/// A call whose inputs are checked.
pub(crate) struct Call<'c, T: Float, I: Index> {
    xent: &'c SoftmaxXent<T>,
    pub(crate) plan: Plan<'c, T>,
    pub(crate) labels: Cow<'c, [I]>,
    /// The number of rows.
    pub(crate) rows: usize,
    pub(crate) axis: usize,
    /// The number of classes of these logits.
    pub(crate) here: usize,
    /// Whether rows sit in lanes.
    pub(crate) across: bool,
    level: Level,
    counted: Counted<T>,
}

/// Bytes of logits from which on they, and the gradient's lines, are asked for ahead: a second-level cache
/// holds no more.
const FAR: usize = 2 << 20;

/// Bytes of a gradient from which on it is written past the caches: with the logits, most of a third-level
/// cache of 32 MiB.
const PAST_CACHES: usize = 12 << 20;

/// Bytes of a row from which on that pays: shorter ones are bound by what a row costs beside its elements.
const ROW_PAST_CACHES: usize = 1024;

impl<T: Float, I: Index> Call<'_, T, I> {
    /// The partials, one a row.
    pub(crate) fn checked<'p>(&self, partials: &'p [Partial<T>]) -> Result<&'p [Partial<T>]> {
        if partials.len() == self.rows {
            return Ok(partials);
        }
        let (expected, got) = (vec![self.rows], vec![partials.len()]);
        Err(Error::Shape { what: "the partials", expected, got })
    }

    /// Rows of a block.
    pub(crate) fn block(&self) -> usize {
        order::rows_per_block::<T>(self.here, self.across)
    }

    /// Room for what is found out about each row.
    pub(crate) fn found(&self) -> Result<Rows<T>> {
        let shape = &[self.rows];
        Ok(Rows { losses: zeros(shape)?, lse: zeros(shape)?, partials: zeros(shape)?, loss: self.loss(&[]) })
    }

    /// Room for each block's loss.
    pub(crate) fn totals(&self) -> Vec<LossSum> {
        vec![LossSum::ZERO; self.rows.div_ceil(self.block())]
    }

    fn label_list(&self) -> LabelList<'_, I> {
        LabelList { labels: &self.labels, ignored: self.xent.ignored() }
    }

    /// Nothing but the rows.
    fn work<'w>(&'w self, labels: &'w dyn drive::Labels) -> Work<'w, T> {
        Work {
            targets: Targets { labels, rows: 0..self.rows },
            from: None,
            to: None,
            upstream: None,
            row_weights: self.row_weights(),
            known: None,
            found: None,
            losses: None,
            lse: None,
            totals: None,
            block: self.block(),
        }
    }

    fn run(&self, work: Work<'_, T>) {
        self.run_scaled(work, Scaled::ONE);
    }

    /// `scale` multiplies the gradient of every row.
    fn run_scaled(&self, work: Work<'_, T>, scale: Scaled<T>) {
        let large = work.from.is_some() && self.row_bytes() >= ROW_PAST_CACHES && self.bytes() >= PAST_CACHES;
        let all = self.drive(work, scale, large);
        // A pass that writes after one that reads takes longer past the caches than through them, but on
        // Intel's CPUs.
        let past_caches = large && (all.is_lagging() && !all.is_cut() || simd::is_intel());
        Drive { past_caches, ..all }.run_at(self.level);
    }

    fn drive<'w>(&'w self, rows: Work<'w, T>, scale: Scaled<T>, past_caches: bool) -> Drive<'w, 'w, T> {
        let (plan, classes, across) = (&self.plan, self.here, self.across);
        let scale = self.scale(scale);
        let rows = Box::new(rows);
        Drive { plan, rows, classes, scale, across, past_caches, far: self.bytes() >= FAR }
    }

    /// Bytes of a row's logits; as many as can be counted, where an array of no rows claims more.
    fn row_bytes(&self) -> usize {
        self.here.saturating_mul(size_of::<T>())
    }

    /// Bytes of all logits.
    fn bytes(&self) -> usize {
        self.rows.saturating_mul(self.row_bytes())
    }

    /// What multiplies the rows' losses and gradients, those that are theirs alone aside.
    pub(crate) fn scale(&self, factor: Scaled<T>) -> CallScale<T> {
        let Plan { first_lift, unit, .. } = self.plan;
        CallScale::new(factor, first_lift, unit, self.rows_exponent())
    }

    /// The weights of the rows, where there are any.
    pub(crate) fn row_weights(&self) -> Option<&[T]> {
        self.xent.row_weights.as_ref().map(|weights| &*weights.all)
    }

    fn rows_exponent(&self) -> i32 {
        self.xent.row_weights.as_ref().map_or(0, |weights| weights.exponent)
    }

    /// What each row's gradient is multiplied by.
    pub(crate) fn mean(&self) -> Scaled<T> {
        mean(self.xent.divisor(self.counted.weight))
    }

    /// The loss from those of the blocks.
    pub(crate) fn loss(&self, totals: &[LossSum]) -> Loss<T> {
        let mut sum = LossSum::ZERO;
        totals.iter().for_each(|&total| sum.add(total));
        let Scaled { mantissa, exponent } = self.xent.divisor(self.counted.weight);
        let divisor = if mantissa == 0.0 { 1.0 } else { mantissa };
        let value = sum.over(divisor, self.plan.unit + self.rows_exponent() - exponent);
        let weight = scaled::scale(self.counted.weight.mantissa, self.counted.weight.exponent);
        Loss {
            value: T::from_f64(value),
            count: self.counted.rows,
            weight: T::from_f64(weight),
            correct: sum.correct as usize,
        }
    }

    fn gradient(
        &self,
        logits: Option<&View<'_, T>>,
        grad: ViewMut<'_, T>,
        upstream: Option<&[T]>,
        known: Option<&[Partial<T>]>,
    ) -> Result<Loss<T>> {
        let mean = self.mean();
        let (scale, upstream) = match upstream {
            Some(&[upstream]) => (mean.times(Scaled::of(upstream)), None),
            upstream => (mean, upstream),
        };
        let (mut one, mut many);
        let totals = match self.rows.div_ceil(self.block()) {
            count @ 0..=1 => {
                one = [LossSum::ZERO];
                &mut one[..count]
            }
            _ => {
                many = self.totals();
                &mut many[..]
            }
        };
        let list = self.label_list();
        let work = Work {
            from: logits.map(|logits| logits.lanes(self.axis)),
            to: Some(grad.into_lanes(self.axis)),
            upstream,
            known,
            totals: Some(&mut *totals),
            ..self.work(&list)
        };
        self.run_scaled(work, scale);
        Ok(self.loss(totals))
    }

    /// The softmax of every row, or its logarithm: `x` to `out`; in place where there is no `x`.
    pub(crate) fn softmax(&self, x: Option<View<'_, T>>, out: ViewMut<'_, T>) {
        self.run(Work {
            from: x.map(|x| x.lanes(self.axis)),
            to: Some(out.into_lanes(self.axis)),
            ..self.work(&drive::NoTargets)
        });
    }
}

/// What a linear layer wants of some of its rows, a multiple of [`Call::block`] or the last.
#[cfg(feature = "linear")]
impl<T: Float, I: Index> Call<'_, T, I> {
    /// The same call for some of its classes, which are numbered on.
    pub(crate) fn panel(&self, classes: Range<usize>) -> Call<'_, T, I> {
        let (all, first, here) = (self.plan.all_classes, classes.start, classes.len());
        let across = self.xent.is_across(1, &[self.rows, here]);
        let plan = Plan::new(self.xent, Classes { all, first, here, across }, self.counted.heaviest);
        let labels = Cow::Borrowed(&*self.labels);
        let &Call { xent, rows, axis, level, counted, .. } = self;
        Call { xent, plan, labels, rows, axis, here, across, level, counted }
    }

    /// Runs the kernel for these rows, a part of all.
    fn run_rows(&self, rows: Range<usize>, work: Work<'_, T>) {
        let row_weights = self.row_weights().map(|weights| &weights[rows.clone()]);
        let far = rows.len().saturating_mul(self.row_bytes()) >= FAR;
        let targets = Targets { rows, ..work.targets.clone() };
        let drive = self.drive(Work { targets, row_weights, ..work }, self.mean(), false);
        Drive { far, ..drive }.run_at(self.level);
    }

    /// The blocks of some rows.
    fn blocks(&self, rows: &Range<usize>) -> Range<usize> {
        rows.start / self.block()..rows.end.div_ceil(self.block())
    }

    /// The gradient of whole rows in the place of their logits, and their losses.
    pub(crate) fn gradient_in_place(
        &self,
        rows: Range<usize>,
        logits: ViewMut<'_, T>,
        totals: &mut [LossSum],
    ) {
        let list = self.label_list();
        let totals = Some(&mut totals[self.blocks(&rows)]);
        self.run_rows(rows, Work { to: Some(logits.into_lanes(1)), totals, ..self.work(&list) });
    }

    /// The gradient of these classes from the rows' sums over all.
    pub(crate) fn gradient_known(&self, rows: Range<usize>, logits: ViewMut<'_, T>, known: &[Partial<T>]) {
        let list = self.label_list();
        let to = Some(logits.into_lanes(1));
        self.run_rows(rows, Work { to, known: Some(known), ..self.work(&list) });
    }

    /// The losses from the rows' sums over all, and all else that they tell.
    pub(crate) fn losses_known(
        &self,
        rows: Range<usize>,
        known: &[Partial<T>],
        found: Option<&mut Rows<T>>,
        totals: &mut [LossSum],
    ) {
        let list = self.label_list();
        let losses = found.map(|found| {
            found.partials[rows.clone()].copy_from_slice(known);
            // Not by the kernel, which does not look at the sums of ignored rows.
            found.lse[rows.clone()].iter_mut().zip(known).for_each(|(lse, known)| *lse = known.lse());
            &mut found.losses[rows.clone()]
        });
        let (totals, block) = (Some(&mut totals[self.blocks(&rows)]), self.block());
        // As many classes as need no scratch: none is looked at.
        let panel = self.panel(0..self.here.min(1));
        panel.run_rows(rows, Work { known: Some(known), losses, totals, block, ..panel.work(&list) });
    }

    /// The sums of some rows over these classes.
    pub(crate) fn partials_of(&self, rows: Range<usize>, logits: View<'_, T>, found: &mut [Partial<T>]) {
        let list = self.label_list();
        let from = Some(logits.lanes(1));
        self.run_rows(rows, Work { from, found: Some(found), ..self.work(&list) });
    }

    /// What there is to find out about whole rows.
    pub(crate) fn forward_rows(
        &self,
        rows: Range<usize>,
        logits: View<'_, T>,
        found: &mut Rows<T>,
        totals: &mut [LossSum],
    ) {
        let list = self.label_list();
        let work = Work {
            from: Some(logits.lanes(1)),
            losses: Some(&mut found.losses[rows.clone()]),
            lse: Some(&mut found.lse[rows.clone()]),
            found: Some(&mut found.partials[rows.clone()]),
            totals: Some(&mut totals[self.blocks(&rows)]),
            ..self.work(&list)
        };
        self.run_rows(rows, work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Smaller gradients than are ever asked to, by both ways: groups in turn, and (only on Intel's CPUs) a
    /// pass after the other.
    #[test]
    fn a_gradient_written_past_the_caches_has_the_same_bits() {
        fn check<T: Float>(xent: &SoftmaxXent<T>, rows: usize, classes: usize, threads: usize) {
            // Some logits underflow beside others of their row.
            let x = |i: usize| {
                T::from_f64((i * 7919 % 1009) as f64 / 50.0 - if i % 1013 == 5 { 1e4 } else { 0.0 })
            };
            let x: Vec<T> = (0..rows * classes).map(x).collect();
            // Ignored rows here and there, more in some groups than in others, and a whole group.
            let is_ignored = |row: usize| row % 8 == 3 || row / 7 % 5 == 2 && row % 2 == 1 || row / 16 == 2;
            let label = |row: usize| if is_ignored(row) { -100 } else { (row * 191 % classes) as i64 };
            let labels: Vec<i64> = (0..rows).map(label).collect();
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            for (&level, offset) in Level::available().iter().flat_map(|level| [(level, 0), (level, 3)]) {
                let [plain, past] = [false, true].map(|past_caches| {
                    let mut grad = vec![T::NAN; x.len() + offset];
                    let mut losses = vec![T::NAN; rows];
                    level
                        .run(|| {
                            let view = View::new(&x, &[rows, classes])?;
                            let call = xent.call(view.shape(), (&labels).into(), false)?;
                            let list = call.label_list();
                            let to = ViewMut::new(&mut grad[offset..], view.shape())?.into_lanes(1);
                            let mut totals = call.totals();
                            let work = Work {
                                from: Some(view.lanes(1)),
                                to: Some(to),
                                losses: Some(&mut losses),
                                totals: Some(&mut totals),
                                ..call.work(&list)
                            };
                            let drive = call.drive(work, call.mean(), past_caches);
                            pool.install(|| drive.run_at(call.level));
                            Ok::<_, Error>(totals)
                        })?
                        .map(|totals| (grad.split_off(offset), losses, totals))
                });
                assert!(plain.unwrap() == past.unwrap(), "{level}, {rows} x {classes}, {threads} threads");
            }
        }
        fn check_all<T: Float>() {
            for (rows, classes, threads) in
                [(53, 400, 1), (90, 401, 3), (21, 4003, 1), (37, 2600, 2), (1, 1300, 1), (300, 140, 2)]
            {
                let plain = || SoftmaxXent::new().ignore_index(-100);
                let smooth = || plain().label_smoothing(T::from_f64(0.1));
                let weights: Vec<T> = (0..classes).map(|i| T::from_f64(0.5 + (i % 7) as f64)).collect();
                check::<T>(&plain(), rows, classes, threads);
                check(&smooth(), rows, classes, threads);
                check(&plain().class_weights(&weights), rows, classes, threads);
                check(&smooth().class_weights(&weights).z_loss(T::from_f64(0.01)), rows, classes, threads);
                check(&plain().softcap(T::from_f64(30.0)), rows, classes, threads);
            }
        }
        check_all::<f32>();
        check_all::<f64>();
    }
}
