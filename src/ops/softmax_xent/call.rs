//! A call: what a public function asks for, checked and turned into work for the kernel.
//!
//! The public functions are thin doors: they forget the labels' type and hand a [`Request`] on. All that follows is
//! compiled with this crate, once for each element type.

use super::driver::{Job, Rows as Work, Targets};
use super::labels::{Counted, Labels};
use super::lanes::FEW_ROWS;
use super::partial::Partial;
use super::plan::{Classes, Plan, is_factor};
use super::scale::{CallScale, LossSum};
use super::{Loss, Reduction, Rows, SoftmaxXent};
use crate::array::{View, ViewMut, zeros};
use crate::error::{Error, Result};
use crate::index::ErasedIndices;
use crate::order;
use crate::simd::scaled::{self, Scaled};
use crate::simd::{self, Float, Level, compiled};
use std::borrow::Cow;
#[cfg(feature = "linear")]
use std::ops::Range;

/// The arguments of a public function. What is `None` is not given.
pub(super) struct Request<'r, T: Float> {
    pub(super) xent: &'r SoftmaxXent<T>,
    /// The logits; where `None`, they are in `grad`.
    pub(super) logits: Option<&'r View<'r, T>>,
    /// The labels; where `None`, rows have no target.
    pub(super) labels: Option<ErasedIndices<'r>>,
    /// Targets that are probabilities, in place of labels.
    pub(super) targets: Option<&'r View<'r, T>>,
    pub(super) grad: Option<&'r mut ViewMut<'r, T>>,
    pub(super) upstream: Option<&'r View<'r, T>>,
    pub(super) known: Option<&'r [Partial<T>]>,
    /// Whether the logits may be a part of the classes.
    pub(super) in_parts: bool,
}

impl<'r, T: Float> Request<'r, T> {
    /// Of rows in these logits, and nothing else yet.
    #[inline(always)]
    pub(super) fn of(xent: &'r SoftmaxXent<T>, logits: &'r View<'r, T>) -> Self {
        Request { logits: Some(logits), ..Request::new(xent) }
    }

    /// Of rows that become their gradient.
    #[inline(always)]
    pub(super) fn in_place(xent: &'r SoftmaxXent<T>, grad: &'r mut ViewMut<'r, T>) -> Self {
        Request { grad: Some(grad), ..Request::new(xent) }
    }

    #[inline(always)]
    fn new(xent: &'r SoftmaxXent<T>) -> Self {
        let (logits, labels, targets, grad, upstream, known) = (None, None, None, None, None, None);
        Request { xent, logits, labels, targets, grad, upstream, known, in_parts: false }
    }

    fn shape(&self) -> &[usize] {
        self.logits.map_or(self.grad.as_ref().map_or(&[], |grad| grad.shape()), View::shape)
    }

    #[inline(always)]
    fn call<'c>(&self, labels: &'c mut Option<Labels<'r>>) -> Result<Checked<'c, T>>
    where
        'r: 'c,
    {
        self.xent.check(self.shape(), self.labels, self.in_parts, labels)
    }

    /// [`Request::call`], compiled once for those whose answers are vectors: beside an allocation it does not show that
    /// what was checked goes through memory. (Few rows' gradients would take 35 ns more.)
    #[inline(never)]
    fn call_apart<'c>(&self, labels: &'c mut Option<Labels<'r>>) -> Result<Checked<'c, T>>
    where
        'r: 'c,
    {
        self.call(labels)
    }

    /// The gradient and the loss.
    fn gradient(self) -> Result<Loss<T>> {
        let mut reshaped = None;
        if let Some(targets) = self.targets {
            let soft = self.xent.soft(self.shape(), targets)?;
            let logits = self.logits;
            return match self.into_grad(&mut reshaped)? {
                Some(grad) => soft.run(logits, targets, grad),
                None => Ok(soft.loss(LossSum::ZERO, 0)),
            };
        }
        let mut labels = None;
        let call = self.call(&mut labels)?.call();
        let known = self.known.map(|known| call.checked(known)).transpose()?;
        let upstream = self.upstream.map(|upstream| self.xent.upstream(upstream, call.rows)).transpose()?;
        let logits = self.logits;
        match self.into_grad(&mut reshaped)? {
            Some(grad) => call.gradient(logits, grad, upstream.as_deref(), known),
            None => Ok(call.loss(&[])),
        }
    }

    /// The gradient, in the shape of the logits.
    #[inline(always)]
    fn into_grad<'g>(self, reshaped: &'g mut Option<ViewMut<'r, T>>) -> Result<Option<&'g mut ViewMut<'r, T>>>
    where
        'r: 'g,
    {
        match (self.grad, self.logits) {
            (Some(grad), Some(logits)) if !grad.shape().iter().eq(logits.shape()) => {
                Ok(Some(reshaped.insert(shaped(grad.reborrow(), logits.shape())?)))
            }
            (grad, _) => Ok(grad),
        }
    }

    /// What there is to find out about the rows.
    fn forward(self) -> Result<Rows<T>> {
        let mut labels = None;
        let call = self.call_apart(&mut labels)?.call();
        let mut rows = call.found()?;
        let mut totals = call.totals();
        call.run(
            self.logits,
            &mut Work {
                losses: Some(&mut rows.losses),
                lse: Some(&mut rows.lse),
                found: Some(&mut rows.partials),
                totals: Some(&mut totals),
                ..call.work()
            },
        );
        rows.loss = call.loss(&totals);
        Ok(rows)
    }

    /// The sums of the rows.
    fn partials(self) -> Result<Vec<Partial<T>>> {
        let mut labels = None;
        let call = self.call_apart(&mut labels)?.call();
        let mut partials: Vec<Partial<T>> = zeros(&[call.rows])?;
        call.run(self.logits, &mut Work { found: Some(&mut partials), ..call.work() });
        Ok(partials)
    }
}

compiled! {
    /// [`Request::gradient`]
    pub(super) Gradient: Request::gradient -> Result<Loss<T>>
}
compiled! {
    /// [`Request::forward`]
    pub(super) Forward: Request::forward -> Result<Rows<T>>
}
compiled! {
    /// [`Request::partials`]
    pub(super) Partials: Request::partials -> Result<Vec<Partial<T>>>
}

/// Where multiply-add is not fused, [`by_class`](super::by_class) has no part in this, and rows of at most so many
/// classes sit in lanes. In lanes and along vectors 65 classes take 2.0 and 2.4 ns a logit, 124 take 1.69 and 1.65
/// (`f64` 3.4 and 3.7, 3.1 and 2.9).
const UNFUSED_CLASSES_IN_LANES: usize = 96;

impl<T: Float> SoftmaxXent<T> {
    /// One value, or one for each of `rows` rows, in C order.
    pub(crate) fn upstream<'u>(&self, upstream: &View<'u, T>, rows: usize) -> Result<Cow<'u, [T]>> {
        let expected = if self.reduction == Reduction::None && upstream.len() != 1 { rows } else { 1 };
        if upstream.len() != expected {
            let (expected, got) = (vec![expected], upstream.shape().to_vec());
            return Err(Error::Shape { what: "the upstream gradient", expected, got });
        }
        Ok(upstream.as_slice().map_or_else(|| Cow::Owned(upstream.to_vec()), Cow::Borrowed))
    }

    /// The class axis.
    pub(super) fn axis(&self, shape: &[usize]) -> Result<usize> {
        if shape.is_empty() {
            return Err(Error::Rank { what: "the logits", expected: "at least 1 is needed", got: 0 });
        }
        let axis = self.class_axis;
        let from_start = if axis < 0 { axis.checked_add_unsigned(shape.len()) } else { Some(axis) };
        match from_start.and_then(|axis| usize::try_from(axis).ok()) {
            Some(axis) if axis < shape.len() => Ok(axis),
            _ => Err(Error::Axis { axis, rank: shape.len() }),
        }
    }

    /// Whether rows sit in lanes at this level.
    pub(super) fn is_row_per_lane(&self, axis: usize, shape: &[usize], level: Level) -> bool {
        let finds_maxima = self.label_smoothing > T::ZERO || self.z_loss > T::ZERO;
        if !level.has_fma() && order::is_last_axis(shape, axis) {
            let rows = shape.iter().product::<usize>().checked_div(shape[axis]).unwrap_or(0);
            return shape[axis] <= if rows <= FEW_ROWS { T::LANES } else { UNFUSED_CLASSES_IN_LANES };
        }
        order::is_row_per_lane::<T>(shape, axis, finds_maxima)
    }

    /// Checks the options against each other and the inputs.
    #[inline(always)]
    pub(crate) fn check<'c, 'l: 'c>(
        &'c self,
        shape: &[usize],
        labels: Option<ErasedIndices<'l>>,
        in_parts: bool,
        kept: &'c mut Option<Labels<'l>>,
    ) -> Result<Checked<'c, T>> {
        let axis = self.axis(shape)?;
        let here = shape[axis];
        let rows = shape.iter().enumerate().filter(|&(k, _)| k != axis).map(|(_, &n)| n).product::<usize>();
        let (first, all) = self.shard.unwrap_or((0, here));
        let classes = |level| {
            let row_per_lane = self.is_row_per_lane(axis, shape, level);
            Classes { all, first, here, row_per_lane }
        };
        let Some(labels) = labels else {
            let counted = Counted { rows, weight: Scaled::of_f64(rows as f64), heaviest: T::ONE };
            let (labels, level) = (kept.insert(Labels::none()), Level::current()?);
            return Ok(Checked { xent: self, labels, classes: classes(level), rows, axis, level, counted });
        };
        self.check_options(all, in_parts)?;
        if first.checked_add(here).is_none_or(|end| end > all) {
            return Err(Error::Option {
                option: "shard",
                value: format!("{:?}", (first, all)),
                expected: "room for the logits' classes",
            });
        }
        let list = &labels.list;
        let without_classes = || shape[..axis].iter().chain(&shape[axis + 1..]).copied();
        if list.len() != rows || list.rank() != 1 && !without_classes().eq(list.shape().iter().copied()) {
            let expected = without_classes().collect();
            return Err(Error::Shape { what: "the labels", expected, got: list.shape().to_vec() });
        }
        self.check_row_weights(rows)?;
        let level = Level::current()?;
        let labels = kept.insert(Labels::new(&labels, self.ignore_index));
        let counted = labels.count(self, all, level)?;
        Ok(Checked { xent: self, labels, classes: classes(level), rows, axis, level, counted })
    }

    pub(super) fn check_row_weights(&self, rows: usize) -> Result<()> {
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
    pub(super) fn divisor(&self, weight: Scaled<f64>) -> Scaled<f64> {
        match (self.reduction, self.normalizer) {
            (Reduction::Mean, Some(n)) => Scaled::of(n.to_f64()),
            (Reduction::Mean, None) => weight,
            (Reduction::Sum | Reduction::None, _) => Scaled::ONE,
        }
    }

    pub(super) fn check_options(&self, classes: usize, in_parts: bool) -> Result<()> {
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
}

/// One by the divisor; 0 where no row counts, or all weigh nothing.
pub(super) fn mean<T: Float>(Scaled { mantissa, exponent }: Scaled<f64>) -> Scaled<T> {
    match mantissa == 0.0 {
        true => Scaled { mantissa: T::ZERO, exponent: 0 },
        false => Scaled { mantissa: T::ONE / T::from_f64(mantissa), exponent: -exponent },
    }
}

fn wrong_option<T: Float>(option: &'static str, value: T, expected: &'static str) -> Result<()> {
    Err(Error::Option { option, value: format!("{value:?}"), expected })
}

/// `grad` in the logits' shape: as it is, or a slice of as many elements taken in C order.
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

/// The inputs of a call, checked: what is small of a [`Call`], which is large and not moved.
pub(crate) struct Checked<'c, T: Float> {
    xent: &'c SoftmaxXent<T>,
    labels: &'c Labels<'c>,
    classes: Classes,
    rows: usize,
    axis: usize,
    level: Level,
    counted: Counted<T>,
}

impl<'c, T: Float> Checked<'c, T> {
    #[inline(always)]
    pub(crate) fn call(self) -> Call<'c, T> {
        let Checked { xent, labels, classes, rows, axis, level, counted } = self;
        let Classes { here, row_per_lane, .. } = classes;
        let plan = Plan::new(xent, classes, counted.heaviest);
        Call { xent, plan, labels, rows, axis, here, row_per_lane, level, counted }
    }
}

/// A call whose inputs are checked.
pub(crate) struct Call<'c, T: Float> {
    xent: &'c SoftmaxXent<T>,
    pub(crate) plan: Plan<'c, T>,
    labels: &'c Labels<'c>,
    /// The number of rows.
    pub(crate) rows: usize,
    pub(crate) axis: usize,
    /// The number of classes of these logits.
    pub(crate) here: usize,
    /// Whether rows sit in lanes.
    pub(crate) row_per_lane: bool,
    level: Level,
    counted: Counted<T>,
}

/// Bytes of logits from which on they, and the gradient's lines, are prefetched: a second-level cache
/// holds no more.
const FAR: usize = 2 << 20;

/// Bytes of a gradient from which on it is written by streaming stores: with the logits, most of a third-level
/// cache of 32 MiB.
const STREAMED: usize = 12 << 20;

/// Bytes of a row from which on that pays: shorter ones are bound by what a row costs beside its elements.
const STREAMED_ROW: usize = 1024;

impl<T: Float> Call<'_, T> {
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
        order::rows_per_block::<T>(self.here, self.row_per_lane)
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

    /// Nothing but the rows.
    fn work(&self) -> Work<'_, T> {
        Work {
            targets: Targets { labels: self.labels, rows: 0..self.rows },
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

    /// Reads the logits, and writes no gradient.
    fn run<'w>(&'w self, logits: Option<&View<'w, T>>, work: &mut Work<'w, T>) {
        if let Some(logits) = logits {
            logits.set_axis_slices(self.axis, &mut work.from);
        }
        self.run_scaled(work, Scaled::ONE);
    }

    /// `scale` multiplies the gradient of every row.
    fn run_scaled<'w>(&'w self, work: &mut Work<'w, T>, scale: Scaled<T>) {
        let large = work.from.is_some() && self.row_bytes() >= STREAMED_ROW && self.bytes() >= STREAMED;
        let mut job = self.job(work, scale, large);
        // A pass that writes after one that reads takes longer by streaming stores than by ordinary ones, but on
        // Intel's CPUs.
        job.streams = large && (job.is_pipelined() && !job.is_cut() || simd::is_intel());
        job.run_at(self.level);
    }

    #[inline(always)]
    fn job<'j, 'w>(&'j self, rows: &'j mut Work<'w, T>, scale: Scaled<T>, streams: bool) -> Job<'j, 'w, T> {
        let (plan, classes, row_per_lane) = (&self.plan, self.here, self.row_per_lane);
        let scale = self.scale(scale);
        Job { plan, rows, classes, scale, row_per_lane, streams, far: self.bytes() >= FAR }
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
        grad: &mut ViewMut<'_, T>,
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
        let mut work = Work { upstream, known, totals: Some(&mut *totals), ..self.work() };
        if let Some(logits) = logits {
            logits.set_axis_slices(self.axis, &mut work.from);
        }
        grad.set_axis_slices(self.axis, &mut work.to);
        self.run_scaled(&mut work, scale);
        Ok(self.loss(totals))
    }
}

/// What a linear layer wants of some of its rows, a multiple of [`Call::block`] or the last.
#[cfg(feature = "linear")]
impl<T: Float> Call<'_, T> {
    /// The same call for some of its classes, which are numbered on.
    pub(crate) fn panel(&self, classes: Range<usize>) -> Call<'_, T> {
        let (all, first, here) = (self.plan.all_classes, classes.start, classes.len());
        let row_per_lane = self.xent.is_row_per_lane(1, &[self.rows, here], self.level);
        let plan = Plan::new(self.xent, Classes { all, first, here, row_per_lane }, self.counted.heaviest);
        let &Call { xent, labels, rows, axis, level, counted, .. } = self;
        Call { xent, plan, labels, rows, axis, here, row_per_lane, level, counted }
    }

    /// Runs the kernel for these rows, a part of all.
    fn run_rows(&self, rows: Range<usize>, work: Work<'_, T>) {
        let row_weights = self.row_weights().map(|weights| &weights[rows.clone()]);
        let far = rows.len().saturating_mul(self.row_bytes()) >= FAR;
        let targets = Targets { rows, ..work.targets.clone() };
        let mut work = Work { targets, row_weights, ..work };
        let mut job = self.job(&mut work, self.mean(), false);
        job.far = far;
        job.run_at(self.level);
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
        let totals = Some(&mut totals[self.blocks(&rows)]);
        self.run_rows(rows, Work { to: Some(logits.into_axis_slices(1)), totals, ..self.work() });
    }

    /// The gradient of these classes from the rows' sums over all.
    pub(crate) fn gradient_known(&self, rows: Range<usize>, logits: ViewMut<'_, T>, known: &[Partial<T>]) {
        let to = Some(logits.into_axis_slices(1));
        self.run_rows(rows, Work { to, known: Some(known), ..self.work() });
    }

    /// The losses from the rows' sums over all, and all else that they tell.
    pub(crate) fn losses_known(
        &self,
        rows: Range<usize>,
        known: &[Partial<T>],
        found: Option<&mut Rows<T>>,
        totals: &mut [LossSum],
    ) {
        let losses = found.map(|found| {
            found.partials[rows.clone()].copy_from_slice(known);
            // Not by the kernel, which does not look at the sums of ignored rows.
            found.lse[rows.clone()].iter_mut().zip(known).for_each(|(lse, known)| *lse = known.lse());
            &mut found.losses[rows.clone()]
        });
        let (totals, block) = (Some(&mut totals[self.blocks(&rows)]), self.block());
        // As many classes as need no scratch: none is looked at.
        let panel = self.panel(0..self.here.min(1));
        panel.run_rows(rows, Work { known: Some(known), losses, totals, block, ..panel.work() });
    }

    /// The sums of some rows over these classes.
    pub(crate) fn partials_of(&self, rows: Range<usize>, logits: View<'_, T>, found: &mut [Partial<T>]) {
        let from = Some(logits.axis_slices(1));
        self.run_rows(rows, Work { from, found: Some(found), ..self.work() });
    }

    /// What there is to find out about whole rows.
    pub(crate) fn forward_rows(
        &self,
        rows: Range<usize>,
        logits: View<'_, T>,
        found: &mut Rows<T>,
        totals: &mut [LossSum],
    ) {
        let work = Work {
            from: Some(logits.axis_slices(1)),
            losses: Some(&mut found.losses[rows.clone()]),
            lse: Some(&mut found.lse[rows.clone()]),
            found: Some(&mut found.partials[rows.clone()]),
            totals: Some(&mut totals[self.blocks(&rows)]),
            ..self.work()
        };
        self.run_rows(rows, work);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Smaller gradients than are ever asked to, by both ways: pipelined groups, and (only on Intel's CPUs) a
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
                let [plain, streamed] = [false, true].map(|streams| {
                    let mut grad = vec![T::NAN; x.len() + offset];
                    let mut losses = vec![T::NAN; rows];
                    level
                        .run(|| {
                            let view = View::new(&x, &[rows, classes])?;
                            let labels = View::from(&labels);
                            let (mut kept, labels) = (None, Some(ErasedIndices::plain(&labels)));
                            let call = xent.check(view.shape(), labels, false, &mut kept)?.call();
                            let to = ViewMut::new(&mut grad[offset..], view.shape())?.into_axis_slices(1);
                            let mut totals = call.totals();
                            let mut work = Work {
                                from: Some(view.axis_slices(1)),
                                to: Some(to),
                                losses: Some(&mut losses),
                                totals: Some(&mut totals),
                                ..call.work()
                            };
                            let mut job = call.job(&mut work, call.mean(), streams);
                            pool.install(|| job.run_at(call.level));
                            Ok::<_, Error>(totals)
                        })?
                        .map(|totals| (grad.split_off(offset), losses, totals))
                });
                assert!(
                    plain.unwrap() == streamed.unwrap(),
                    "{level}, {rows} x {classes}, {threads} threads"
                );
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
