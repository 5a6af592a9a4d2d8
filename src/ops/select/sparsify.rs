//! Gradient compression with error feedback: what passes a threshold goes out as (index, value), the rest stays.

use super::source::{PIECE, Source, piece};
use super::{
    Block, CHUNK, Comparison, Elements, GROUP, Indices, Position, Predicate, ROOM_FOR_ALL, Values, cut, fits,
    hits, is_parallel, padded, write,
};
use crate::array::{self, View, ViewMut};
use crate::error::{Error, Result};
use crate::parallel::{self, Split};
use crate::simd::{Float, Kernel, Level, Simd};
use std::ops::Range;

/// The elements that are added to, counted and written by one thread before the next ones: three arrays of them and
/// the answer stay in a private cache.
const BLOCK: usize = 4 << 10;

/// Elements that become 0 when they are selected.
struct Emptied<'a, T: Float> {
    groups: &'a mut [[T::Block; GROUP]],
    rest: &'a mut [T],
}

impl<'a, T: Float> Emptied<'a, T> {
    #[inline(always)]
    fn new(x: &'a mut [T]) -> Self {
        let (whole, rest) = x.split_at_mut(x.len() - x.len() % (GROUP * T::LANES));
        Emptied { groups: T::blocks_mut(whole).0.as_chunks_mut().0, rest }
    }
}

impl<T: Float> Elements<T> for Emptied<'_, T> {
    #[inline(always)]
    fn groups(&self) -> usize {
        self.groups.len()
    }
    #[inline(always)]
    fn group(&self, i: usize) -> &[T::Block; GROUP] {
        &self.groups[i]
    }
    #[inline(always)]
    fn rest(&self) -> &[T] {
        self.rest
    }
    #[inline(always)]
    fn taken<S: Simd<T>>(&mut self, s: S, i: usize, m: [S::M; GROUP], v: [S::V; GROUP]) {
        let left = |j: usize| s.select(m[j], s.splat(T::ZERO), v[j]);
        if let Some([a, b, c, d]) = self.groups.get_mut(i) {
            s.store(left(0), a);
            s.store(left(1), b);
            s.store(left(2), c);
            s.store(left(3), d);
        } else {
            for (j, rest) in self.rest.chunks_mut(T::LANES).enumerate() {
                s.store_up_to(left(j), rest);
            }
        }
    }
}

/// What is added to a residual before the selection.
trait Added<T: Float>: Split + Clone + Sync {
    /// Adds it to `residual` and says how many sums satisfy `p`.
    fn add<S: Simd<T>>(self, s: S, p: impl Comparison<T>, residual: &mut [T]) -> usize;
}

/// Nothing; the range is only there to be as long as the residual.
impl<T: Float> Added<T> for Range<usize> {
    #[inline(always)]
    fn add<S: Simd<T>>(self, s: S, p: impl Comparison<T>, residual: &mut [T]) -> usize {
        hits(s, p, residual)
    }
}

impl<T: Float> Added<T> for Source<'_, T> {
    #[inline(always)]
    fn add<S: Simd<T>>(self, s: S, p: impl Comparison<T>, residual: &mut [T]) -> usize {
        let mut total = 0;
        self.each(
            #[inline(always)]
            |first, grad| {
                let (grad, grad_rest) = T::blocks(grad);
                let (sums, rest) =
                    T::blocks_mut(&mut residual[first..][..grad.len() * T::LANES + grad_rest.len()]);
                for (sum, grad) in sums.iter_mut().zip(grad) {
                    let v = s.add(s.load(sum), s.load(grad));
                    s.store(v, sum);
                    total += s.bits(p.mask(s, v)).count_ones() as usize;
                }
                if !rest.is_empty() {
                    let v = s.add(s.load(&padded::<T>(rest)), s.load(&padded::<T>(grad_rest)));
                    total += s.bits(p.mask(s, v)).count_ones() as usize;
                    let mut sum = T::Block::default();
                    s.store(v, &mut sum);
                    rest.copy_from_slice(&sum.as_ref()[..rest.len()]);
                }
            },
        );
        total
    }
}

/// Adds to a piece of a residual and counts the hits.
struct Add<'a, T, P, G> {
    residual: &'a mut [T],
    grad: G,
    predicate: P,
}

impl<T: Float, P: Comparison<T>, G: Added<T>> Kernel<T> for Add<'_, T, P, G> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> usize {
        self.grad.add(s, self.predicate, self.residual)
    }
}

/// Counts the hits that [`Add`] would find, and leaves the residual as it is.
struct Foresee<'a, T, P, G> {
    residual: Source<'a, T>,
    grad: G,
    predicate: P,
}

impl<T: Float, P: Comparison<T>, G: Added<T>> Kernel<T> for Foresee<'_, T, P, G> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> usize {
        let (mut total, mut grad) = (0, self.grad);
        let mut sums = piece(self.residual.len());
        self.residual.each(
            #[inline(always)]
            |_, residual| {
                for residual in residual.chunks(PIECE) {
                    let sums = &mut sums[..residual.len()];
                    sums.copy_from_slice(residual);
                    let (now, later) = grad.clone().split_at(residual.len());
                    total += now.add(s, self.predicate, sums);
                    grad = later;
                }
            },
        );
        total
    }
}

/// Moves the hits of a piece of a residual, of which there are as many as `indices` and `values` have places, there.
struct Take<'a, T, P, I> {
    residual: &'a mut [T],
    first: usize,
    predicate: P,
    indices: &'a mut [I],
    values: &'a mut [T],
}

impl<T: Float, P: Comparison<T>, I: Position> Kernel<T> for Take<'_, T, P, I> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) {
        let Take { residual, first, predicate, indices, values } = self;
        if !indices.is_empty() {
            let x = Emptied::new(residual);
            write::<T, S, Indices<I>, Values>(
                s,
                predicate,
                x,
                first,
                indices,
                values,
                &mut Block::exact(false),
            );
        }
    }
}

/// [`Add`] and [`Take`], block by block; says how many hits there are.
struct Sparsify<'a, 'r, T, P, G, I> {
    residual: ViewMut<'r, T>,
    grad: G,
    predicate: P,
    indices: &'a mut [I],
    values: &'a mut [T],
}

impl<T: Float, P: Comparison<T>, G: Added<T>, I: Position> Kernel<T> for Sparsify<'_, '_, T, P, G, I> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd<T>>(self, s: S) -> usize {
        let Sparsify { residual, grad, predicate, indices, values } = self;
        let mut blocks = Blocks { s, grad, predicate, first: 0, hits: 0, indices, values };
        match residual.into_slice() {
            Ok(residual) => residual.chunks_mut(BLOCK).for_each(
                #[inline(always)]
                |residual| blocks.next(residual),
            ),
            Err(residual) => {
                let axis = residual.rank() - 1; // an array of rank 0 is a slice
                let (len, mut lanes) = (residual.len(), residual.into_lanes(axis));
                let lane_len = lanes.lane_len();
                let mut piece = piece(lane_len);
                for i in 0..len / lane_len.max(1) {
                    let mut lane = lanes.lane(i);
                    for start in (0..lane_len).step_by(PIECE) {
                        let piece = &mut piece[..PIECE.min(lane_len - start)];
                        lane.as_lane().copy_to(start, piece);
                        blocks.next(piece);
                        lane.copy_from(start, piece);
                    }
                }
            }
        }
        blocks.hits
    }
}

/// A residual on its way, block by block, through [`Sparsify`].
struct Blocks<'a, T, S, P, G, I> {
    s: S,
    grad: G,
    predicate: P,
    /// How many elements the earlier blocks had.
    first: usize,
    /// How many hits they had.
    hits: usize,
    indices: &'a mut [I],
    values: &'a mut [T],
}

impl<T: Float, S: Simd<T>, P: Comparison<T>, G: Added<T>, I: Position> Blocks<'_, T, S, P, G, I> {
    #[inline(always)]
    fn next(&mut self, residual: &mut [T]) {
        let (grad, later) = self.grad.clone().split_at(residual.len());
        let n = grad.add(self.s, self.predicate, residual);
        let places = self.hits..self.hits + n;
        let (indices, values) = (&mut self.indices[places.clone()], &mut self.values[places]);
        (self.grad, self.hits) = (later, self.hits + n);
        let first = self.first;
        self.first += residual.len();
        Take { residual, first, predicate: self.predicate, indices, values }.run(self.s);
    }
}

/// The hits that there will be.
fn foresee<T: Float>(
    level: Level,
    residual: &ViewMut<'_, T>,
    grad: impl Added<T>,
    predicate: impl Comparison<T>,
) -> usize {
    T::dispatch(level, Foresee { residual: Source::new(&residual.as_view()), grad, predicate })
}

/// Moves the hits to the fronts of `indices` and `values`, which have the same length and room for them.
fn take<T: Float, I: Position, P: Comparison<T>, G: Added<T>>(
    level: Level,
    residual: ViewMut<'_, T>,
    grad: G,
    predicate: P,
    indices: &mut [I],
    values: &mut [T],
) -> usize {
    let residual = match residual.into_slice() {
        Ok(residual) if is_parallel(residual.len()) => {
            return parallel::count_then_write(
                (residual, grad),
                (indices, values),
                CHUNK,
                |_, (residual, grad): &mut (&mut [T], G)| {
                    T::dispatch(level, Add { residual, grad: grad.clone(), predicate })
                },
                |first, (residual, _), (indices, values)| {
                    T::dispatch(level, Take { residual, first, predicate, indices, values })
                },
            );
        }
        Ok(residual) => residual.into(),
        Err(residual) => residual,
    };
    T::dispatch(level, Sparsify { residual, grad, predicate, indices, values })
}

/// The checks of the `_into` forms, then the hits.
fn into<T: Float, I: Position>(
    residual: ViewMut<'_, T>,
    grad: impl Added<T>,
    predicate: impl Comparison<T>,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    let level = Level::current()?;
    fits::<I>(residual.len())?;
    let room = indices.len().min(values.len());
    if room < residual.len() {
        let needed = foresee(level, &residual, grad.clone(), predicate);
        if needed > room {
            return Err(Error::Room { needed, room });
        }
    }
    Ok(take(level, residual, grad, predicate, &mut indices[..room], &mut values[..room]))
}

/// The hits in vectors of their own.
fn collect<T: Float, I: Position>(
    residual: ViewMut<'_, T>,
    grad: impl Added<T>,
    predicate: impl Comparison<T>,
) -> Result<(Vec<I>, Vec<T>)> {
    let level = Level::current()?;
    fits::<I>(residual.len())?;
    let room = match residual.len() {
        len if len <= ROOM_FOR_ALL => len,
        _ => foresee(level, &residual, grad.clone(), predicate),
    };
    let (mut indices, mut values) = (array::zeros(&[room])?, array::zeros(&[room])?);
    let hits = take(level, residual, grad, predicate, &mut indices, &mut values);
    cut(&mut indices, hits);
    cut(&mut values, hits);
    Ok((indices, values))
}

/// Moves the elements that satisfy `predicate` out of `residual`, as flat indices and values, and leaves zeros in their
/// places; everything else stays. [`scatter_add`](crate::scatter_add) is the way back.
///
/// NaN, equality and cost: see [what all share](super#what-all-of-them-share).
///
/// ```
/// use gradix::{AbsGt, select};
/// let mut residual = [0.1, -0.9, 0.2, 0.8];
/// let (indices, values): (Vec<u32>, _) = select::sparsify(&mut residual, AbsGt(0.5))?;
/// assert_eq!((indices, values), (vec![1, 3], vec![-0.9, 0.8]));
/// assert_eq!(residual, [0.1, 0.0, 0.2, 0.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// As [`indices`](super::indices). Nothing is moved then.
pub fn sparsify<'r, T: Float, I: Position>(
    residual: impl Into<ViewMut<'r, T>>,
    predicate: impl Predicate<T>,
) -> Result<(Vec<I>, Vec<T>)> {
    let residual = residual.into();
    let nothing = 0..residual.len();
    collect(residual, nothing, predicate.kernel())
}

/// [`sparsify`] into the fronts of `indices` and `values`; returns how many there are. The shorter of the two is the
/// room.
///
/// NaN, equality and cost: see [what all share](super#what-all-of-them-share).
///
/// ```
/// use gradix::{Gt, select};
/// let (mut indices, mut values) = ([0u32; 4], [0.0; 4]);
/// assert_eq!(select::sparsify_into(&mut [0.1, 0.9], Gt(0.5), &mut indices, &mut values)?, 1);
/// assert_eq!((indices[0], values[0]), (1, 0.9));
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// As [`indices_into`](super::indices_into). Nothing is moved then.
pub fn sparsify_into<'r, T: Float, I: Position>(
    residual: impl Into<ViewMut<'r, T>>,
    predicate: impl Predicate<T>,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    let residual = residual.into();
    let nothing = 0..residual.len();
    into(residual, nothing, predicate.kernel(), indices, values)
}

/// [`sparsify`] of `residual + grad`, with the addition in the same pass: each element of the residual is read from
/// memory once and written once. It becomes 0 where the sum satisfies `predicate`, else the sum.
///
/// NaN, equality and cost: see [what all share](super#what-all-of-them-share).
///
/// ```
/// use gradix::{AbsGt, select};
/// let mut residual = vec![0.4, 0.0, -0.1];
/// let grad = [0.3, 0.2, 0.1];
/// let (indices, values): (Vec<u32>, _) = select::sparsify_with(&grad, &mut residual, AbsGt(0.5))?;
/// assert_eq!((indices, values), (vec![0], vec![0.7]));
/// assert_eq!(residual, [0.0, 0.2, 0.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] where the two shapes differ; as [`indices`](super::indices). Nothing is added or moved then.
pub fn sparsify_with<'g, 'r, T: Float, I: Position>(
    grad: impl Into<View<'g, T>>,
    residual: impl Into<ViewMut<'r, T>>,
    predicate: impl Predicate<T>,
) -> Result<(Vec<I>, Vec<T>)> {
    let (grad, residual) = (grad.into(), residual.into());
    same_shape(&grad, &residual)?;
    collect(residual, Source::new(&grad), predicate.kernel())
}

/// [`sparsify_with`] into the fronts of `indices` and `values`; returns how many there are. The shorter of the two is
/// the room.
///
/// NaN, equality and cost: see [what all share](super#what-all-of-them-share).
///
/// ```
/// use gradix::{Gt, select};
/// let (mut residual, mut indices, mut values) = ([0.5f32, 0.1], [0u32; 2], [0.0; 2]);
/// let hits = select::sparsify_with_into(&[0.5, 0.1], &mut residual, Gt(0.5), &mut indices, &mut values)?;
/// assert_eq!((hits, indices[0], values[0], residual), (1, 0, 1.0, [0.0, 0.2]));
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// As [`sparsify_with`] and [`indices_into`](super::indices_into). Nothing is added or moved then.
pub fn sparsify_with_into<'g, 'r, T: Float, I: Position>(
    grad: impl Into<View<'g, T>>,
    residual: impl Into<ViewMut<'r, T>>,
    predicate: impl Predicate<T>,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    let (grad, residual) = (grad.into(), residual.into());
    same_shape(&grad, &residual)?;
    into(residual, Source::new(&grad), predicate.kernel(), indices, values)
}

fn same_shape<T>(grad: &View<'_, T>, residual: &ViewMut<'_, T>) -> Result<()> {
    if grad.shape() == residual.shape() {
        return Ok(());
    }
    let (expected, got) = (residual.shape().to_vec(), grad.shape().to_vec());
    Err(Error::Shape { what: "the gradient", expected, got })
}
