//! Softmax cross-entropy: forward and backward in one pass over the logits.
//!
//! The equations and the departures from them are in [`math`], the accuracy of the exponentials in
//! [`exp`](crate::simd::exp).

mod by_class;
mod by_row;
mod call;
mod chunks;
mod driver;
mod labels;
mod lanes;
mod math;
mod partial;
mod plan;
mod scale;
mod soft;
mod softmax;

use crate::array::{View, ViewMut};
use crate::error::Result;
use crate::index::{ErasedIndices, Index};
use crate::simd::Float;
#[cfg(feature = "linear")]
pub(crate) use call::{Call, shaped};
use call::{Forward, Gradient, Partials, Request};
#[cfg(feature = "linear")]
pub(crate) use labels::Labels;
pub use partial::Partial;
use plan::Weights;
use scale::RowWeights;
pub use softmax::{
    log_softmax, log_softmax_in_place, log_softmax_into, softmax, softmax_in_place, softmax_into,
};

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
/// **Errors.** [`Shape`], [`Axis`], [`Rank`], [`Label`], [`Option`](crate::Error::Option), [`Conflict`], [`Level`];
/// all before anything is written.
///
/// [`Shape`]: crate::Error::Shape
/// [`Axis`]: crate::Error::Axis
/// [`Rank`]: crate::Error::Rank
/// [`Label`]: crate::Error::Label
/// [`Conflict`]: crate::Error::Conflict
/// [`Level`]: crate::Error::Level
///
/// **Equality class.** The same bits for every number of threads; the same bits as [`reference`](crate::reference) on
/// every level with FMA.
///
/// **Cost.** Out of cache, one read of the logits and one write of the gradient; one of 12 MiB or more, in
/// rows of 1 KiB or more, is written by streaming stores, unless in place, strided, or with a softcap: it is not
/// in cache afterwards. Each thread keeps scratch from call to call: 256 bytes per 5 KiB of its longest row
/// (per 128 classes where rows sit in lanes; twice that where the gradient is streamed), and 8 KiB
/// (20 KiB for dense rows of at most as many classes as a vector has lanes), or the longest row where its
/// gradient is strided, or rows of 64 KiB (one, if it is longer) where that is streamed.
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
        let (logits, labels, mut grad) = (logits.into(), labels.into(), grad.into());
        T::compiled::<Gradient<'_>>(Request {
            labels: Some(ErasedIndices::plain(&labels)),
            grad: Some(&mut grad),
            ..Request::of(self, &logits)
        })
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
        let (mut logits, labels) = (logits.into(), labels.into());
        let labels = Some(ErasedIndices::plain(&labels));
        T::compiled::<Gradient<'_>>(Request { labels, ..Request::in_place(self, &mut logits) })
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
        let (logits, labels) = (logits.into(), labels.into());
        let labels = Some(ErasedIndices::plain(&labels));
        T::compiled::<Forward<'_>>(Request { labels, ..Request::of(self, &logits) })
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
        let (logits, labels, upstream) = (logits.into(), labels.into(), upstream.into());
        let mut grad = grad.into();
        T::compiled::<Gradient<'_>>(Request {
            labels: Some(ErasedIndices::plain(&labels)),
            upstream: Some(&upstream),
            grad: Some(&mut grad),
            ..Request::of(self, &logits)
        })
        .map(|_| ())
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
        let (logits, labels) = (logits.into(), labels.into());
        let labels = Some(ErasedIndices::plain(&labels));
        T::compiled::<Partials<'_>>(Request { labels, in_parts: true, ..Request::of(self, &logits) })
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
        let (logits, labels, upstream) = (logits.into(), labels.into(), upstream.into());
        let mut grad = grad.into();
        T::compiled::<Gradient<'_>>(Request {
            labels: Some(ErasedIndices::plain(&labels)),
            upstream: Some(&upstream),
            known: Some(partials),
            grad: Some(&mut grad),
            in_parts: true,
            ..Request::of(self, &logits)
        })
    }
}
