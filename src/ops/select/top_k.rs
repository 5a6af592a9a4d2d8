//! The k largest elements: the k-th of them, and exactly k.

use super::answer::{Outcome, Places, Position, Sink, Slices, Vectors};
use super::predicate::{IsNan, Kind, NanPolicy, NotNan, Predicate, Test};
use super::source::{Source, WORDS};
use super::sparsify::{check, estimate_density, sparsify_to, take};
use super::{Hits, fits, kernels, put, write};
use crate::array::{View, ViewMut};
use crate::error::{Error, Result};
use crate::parallel::Split;
use crate::simd::select::WORD;
use crate::simd::{Float, Level, compiled};

/// What is large: see [`TopK::by`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum By {
    /// The magnitude: |x|.
    #[default]
    Magnitude,
    /// The value: x. −0 and 0 are equal.
    Value,
}

/// How many elements are meant, and which: a number of them, or one with choices.
///
/// ```
/// use gradix::select::{self, By, TopK};
/// let x = [3.0, -5.0, 1.0];
/// let (indices, _): (Vec<u32>, _) = select::top_k(&x, 1)?;
/// assert_eq!(indices, [1]);
/// let (indices, _): (Vec<u32>, _) = select::top_k(&x, TopK::new(1).by(By::Value))?;
/// assert_eq!(indices, [0]);
/// # Ok::<(), gradix::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopK {
    pub(crate) k: usize,
    pub(crate) by: By,
    pub(crate) nan: NanPolicy,
}

impl TopK {
    /// The `k` elements of largest magnitude, of those that are not NaN.
    pub fn new(k: usize) -> Self {
        TopK { k, by: By::Magnitude, nan: NanPolicy::Keep }
    }
    /// What is large.
    pub fn by(self, by: By) -> Self {
        TopK { by, ..self }
    }
    /// What becomes of NaN. With [`NanPolicy::Send`] it comes before every number: as many as `k` of them are
    /// selected, and numbers only where fewer are NaN.
    pub fn nan(self, nan: NanPolicy) -> Self {
        TopK { nan, ..self }
    }
}

impl From<usize> for TopK {
    fn from(k: usize) -> Self {
        TopK::new(k)
    }
}

/// An element type whose elements are ordered by integers.
trait Ordered: Float {
    /// 0 for NaN.
    type Key: Copy + Default + Ord;
    fn key(self, by: By) -> Self::Key;
    /// The element, or its magnitude, with this key, which is not 0.
    fn of_key(key: Self::Key, by: By) -> Self;
}

macro_rules! ordered {
    ($t:ident $bits:ident) => {
        impl Ordered for $t {
            type Key = $bits;
            #[inline(always)]
            fn key(self, by: By) -> $bits {
                let (bits, sign) = (self.to_bits(), 1 << ($bits::BITS - 1));
                let magnitude = bits & !sign;
                let key = match by {
                    By::Magnitude => magnitude + 1,
                    By::Value if magnitude == 0 => sign, // of both zeros
                    By::Value if bits & sign == 0 => sign + magnitude,
                    By::Value => sign - magnitude,
                };
                if self.is_nan() { 0 } else { key }
            }
            #[inline(always)]
            fn of_key(key: $bits, by: By) -> $t {
                let sign = 1 << ($bits::BITS - 1);
                $t::from_bits(match by {
                    By::Magnitude => key - 1,
                    By::Value if key >= sign => key - sign,
                    By::Value => (sign - key) | sign,
                })
            }
        }
    };
}
ordered!(f32 u32);
ordered!(f64 u64);

/// The test for what is at least (or `is_strict`, more than) `t`.
fn from_on<T: Float>(by: By, t: T, is_strict: bool) -> Test<T> {
    let kind = match (by, is_strict) {
        (By::Magnitude, false) => Kind::AbsGe,
        (By::Magnitude, true) => Kind::AbsGt,
        (By::Value, false) => Kind::Ge,
        (By::Value, true) => Kind::Gt,
    };
    Test::new(kind, t, t)
}

/// The test for what is between two bounds, both included.
fn between<T: Float>(by: By, low: T, high: T) -> Test<T> {
    let kind = match by {
        By::Magnitude => Kind::AbsBetween,
        By::Value => Kind::Between,
    };
    Test::new(kind, low, high)
}

/// The element that `k − 1` others precede, as far as it is known.
struct Kth<T> {
    threshold: T,
    /// How many are larger.
    larger: usize,
    /// How many are as large.
    ties: usize,
}

/// Up to so many elements are put in order by their keys at once.
const SMALL: usize = 1 << 10;
/// The elements of a sample, at most.
const SAMPLE: usize = 16 << 10;

/// The element with `rank` larger ones, if so many are not NaN.
///
/// Of many elements a sample tells between which bounds the answer probably is. What is above them is
/// counted, what is between them collected, and the same is done with these. If the answer turns out to be
/// above or below, what is there is collected instead.
fn kth<T: Ordered>(level: Level, x: &Source<'_, T>, rank: usize, by: By) -> Outcome<Option<Kth<T>>> {
    let mut collected: Vec<T>;
    let (mut x, mut rank, mut larger) = (*x, rank, 0);
    while x.len() > SMALL {
        let (low, high) = bracket(&x, rank, by);
        let above = high.map_or(0, |high| Hits::Test(from_on(by, high, true)).count(level, &x));
        let mut next = Vec::new();
        if let (true, Some(high)) = (rank < above, high) {
            next = collect(level, &x, from_on(by, high, true))?;
        } else {
            let test = high.map_or(from_on(by, low, false), |high| between(by, low, high));
            let inside = if high.is_some_and(|high| high.key(by) == low.key(by)) {
                let ties = Hits::Test(test).count(level, &x);
                if rank - above < ties {
                    return Ok(Some(Kth { threshold: low, larger: larger + above, ties }));
                }
                ties
            } else {
                next = collect(level, &x, test)?;
                next.len()
            };
            (rank, larger) = (rank - above, larger + above);
            if rank >= inside {
                next = collect(level, &x, from_on(by, low, false).inverted())?;
                (rank, larger) = (rank - inside, larger + inside);
            }
        }
        let is_stuck = next.len() > x.len() - x.len() / 8;
        collected = next;
        x = Source::Dense(&collected);
        if is_stuck {
            break;
        }
    }
    Ok(by_keys(&x, rank, by).map(|kth| Kth { larger: larger + kth.larger, ..kth }))
}

/// The elements that satisfy a test.
fn collect<T: Ordered>(level: Level, x: &Source<'_, T>, test: Test<T>) -> Outcome<Vec<T>> {
    let mut values = Vec::new();
    let mut sink = Vectors::<u64, T> { positions: None, values: Some(&mut values) };
    write(level, x, &Hits::Test(test), None, &mut sink)?;
    Ok(values)
}

/// [`kth`] by putting all keys in order, as far as needed.
fn by_keys<T: Ordered>(x: &Source<'_, T>, rank: usize, by: By) -> Option<Kth<T>> {
    let len = x.len();
    if rank >= len {
        return None;
    }
    let (mut few, mut many) = ([T::Key::default(); 64], Vec::new());
    let keys = if len <= few.len() {
        &mut few[..len]
    } else {
        many.resize(len, T::Key::default());
        &mut many[..]
    };
    let _: std::result::Result<(), ()> = x.each_block(|at, _, x| {
        keys[at..].iter_mut().zip(x).for_each(|(key, x)| *key = x.key(by));
        Ok(())
    });
    // Ascending, because that needs no comparison of our own.
    let (smaller, &mut key, greater) = keys.select_nth_unstable(len - 1 - rank);
    if key == T::Key::default() {
        return None;
    }
    let ties = 1 + smaller.iter().chain(&*greater).filter(|&&k| k == key).count();
    let larger = greater.iter().filter(|&&k| k > key).count();
    Some(Kth { threshold: T::of_key(key, by), larger, ties })
}

/// The key of the element with `rank` larger ones among a few; 0 where they are NaN.
fn nth_key<T: Ordered>(x: &[T], rank: usize, by: By) -> T::Key {
    // By one way or the other: no choice for each element.
    let (mut few, mut many): (_, Vec<T::Key>);
    let keys = if x.len() <= WORD {
        few = [T::Key::default(); WORD];
        let keys = few.iter_mut().zip(x);
        match by {
            By::Magnitude => keys.for_each(|(key, x)| *key = x.key(By::Magnitude)),
            By::Value => keys.for_each(|(key, x)| *key = x.key(By::Value)),
        }
        &mut few[..x.len()]
    } else {
        many = match by {
            By::Magnitude => x.iter().map(|x| x.key(By::Magnitude)).collect(),
            By::Value => x.iter().map(|x| x.key(By::Value)).collect(),
        };
        &mut many[..]
    };
    // Ascending, because that needs no comparison of our own.
    *keys.select_nth_unstable(x.len() - 1 - rank).1
}

/// Writes the words of the largest of up to [`SMALL`] elements, of which there are as many as are asked for.
fn words_of_largest<T: Ordered>(level: Level, x: &[T], top: TopK, words: &mut [u64]) -> Outcome<()> {
    let TopK { k, by, nan } = top;
    if nan == NanPolicy::Send || k == 0 || k > x.len() {
        largest(level, &Source::Dense(x), top)?.words(level, 0, x, words);
        return Ok(());
    }
    let key = nth_key(x, k - 1, by);
    if key == T::Key::default() {
        return Err(Box::new(Error::TooFew { k, found: kernels::count(level, &NotNan.test(), x) }));
    }
    let threshold = T::of_key(key, by);
    if kernels::compare(level, &from_on(by, threshold, false), x, words) == k {
        return Ok(());
    }
    let mut larger = [0; SMALL / WORD];
    let larger = &mut larger[..words.len()];
    let mut ties_left = k - kernels::compare(level, &from_on(by, threshold, true), x, larger).min(k);
    for (word, &larger) in words.iter_mut().zip(&*larger) {
        let ties = *word & !larger;
        let taken = ties_left.min(ties.count_ones() as usize);
        let rest = (0..taken).fold(ties, |ties, _| ties & (ties - 1));
        (*word, ties_left) = (larger | ties ^ rest, ties_left - taken);
    }
    Ok(())
}

/// Bounds between which the element with `rank` larger ones probably is, as far as a sample shows; no upper
/// one where few are larger, which are quicker collected than counted.
fn bracket<T: Ordered>(x: &Source<'_, T>, rank: usize, by: By) -> (T, Option<T>) {
    let n = (x.len() / 16).min(SAMPLE);
    let step = x.len() / n;
    // One of each `step` elements, at a place that looks random, so that no period of the data is met.
    let place = |i: usize| i * step + (i.wrapping_mul(0x9e37_79b9) >> 7) % step;
    let mut keys: Vec<T::Key> = (0..n).map(|i| x.get(place(i)).key(by)).collect();
    let lowest = match by {
        By::Magnitude => T::ZERO.key(by),
        By::Value => T::NEG_INFINITY.key(by),
    };
    // The place in the sample is spread like a count of heads; it is further off than this once in 10⁴ times.
    let share = rank as f64 / x.len() as f64;
    let margin = 4.0 * (n as f64 * share * (1.0 - share)).max(1.0).sqrt() + 1.0;
    let (first, last) = (share * n as f64 - margin, share * n as f64 + margin);
    // Ascending, because that needs no comparison of our own.
    let mut at = |place: usize| (*keys.select_nth_unstable(n - 1 - place.min(n - 1)).1).max(lowest);
    let low = if last >= n as f64 { lowest } else { at(last as usize) };
    let high = at(first as usize); // the largest, if that is negative
    let is_open = high > low && last < n as f64 / 4.0;
    (T::of_key(low, by), (!is_open && first >= 0.0 || high == low).then(|| T::of_key(high, by)))
}

/// The index after the `n`-th hit, of which there are as many.
fn after_nth<T: Float>(level: Level, x: &Source<'_, T>, test: Test<T>, n: usize) -> usize {
    let (hits, mut words, mut before) = (Hits::Test(test), [0; WORDS], 0);
    let found = x.each_block(|at, len, x| {
        let words = &mut words[..len.div_ceil(WORD)];
        let inside = hits.words(level, at, x, words);
        if before + inside < n {
            before += inside;
            return Ok(());
        }
        for (w, &word) in words.iter().enumerate() {
            let mut bits = word;
            while bits != 0 {
                before += 1;
                if before == n {
                    return Err(at + w * WORD + bits.trailing_zeros() as usize + 1);
                }
                bits &= bits - 1;
            }
        }
        Ok(())
    });
    found.err().unwrap_or(x.len())
}

/// Which elements the k largest are.
fn largest<T: Ordered>(level: Level, x: &Source<'_, T>, top: TopK) -> Outcome<Hits<'static, T>> {
    let TopK { k, by, nan } = top;
    let none = Test::new(Kind::Between, T::ONE, T::ZERO);
    if k == 0 {
        return Ok(Hits::Test(none));
    }
    let is_sent = nan == NanPolicy::Send;
    let is_nan: Test<T> = IsNan.test();
    let nans = if is_sent { Hits::Test(is_nan).count(level, x) } else { 0 };
    if k <= nans {
        return Ok(Hits::Cut(is_nan, after_nth(level, x, is_nan, k), none));
    }
    let rank = k - nans - 1;
    let kth = if rank < x.len() { kth(level, x, rank, by)? } else { None };
    let Some(Kth { threshold, larger, ties }) = kth else {
        let found = nans + Hits::Test(NotNan.test()).count(level, x);
        return Err(Box::new(Error::TooFew { k, found }));
    };
    let test = |is_strict| Test { or_nan: is_sent, ..from_on(by, threshold, is_strict) };
    let taken = rank + 1 - larger;
    if taken == ties {
        return Ok(Hits::Test(test(false)));
    }
    let cut = after_nth(level, x, between(by, threshold, threshold), taken);
    Ok(Hits::Cut(test(false), cut, test(true)))
}

compiled! {
    /// [`top_k_threshold`] of up to [`SMALL`] elements, if there is one.
    ThresholdOfFew: FewMagnitudes::threshold -> Option<T>
}
compiled! {
    /// [`top_k`] of up to [`SMALL`] elements.
    SelectOfFew: Few::select -> Outcome<usize>
}
compiled! {
    /// [`sparsify_top_k`] of up to [`SMALL`] elements.
    SparsifyOfFew: FewResiduals::sparsify -> Outcome<usize>
}

struct Few<'a, T> {
    level: Level,
    x: &'a [T],
    top: TopK,
    sink: &'a mut (dyn Sink<T> + 'a),
}

impl<T: Ordered> Few<'_, T> {
    #[inline(always)]
    fn select(self) -> Outcome<usize> {
        let Few { level, x, top, sink } = self;
        let words = &mut [0; SMALL / WORD][..x.len().div_ceil(WORD)];
        words_of_largest(level, x, top, words)?;
        put(level, words, 0, x, &mut sink.places(top.k)?);
        Ok(top.k)
    }
}

struct FewResiduals<'a, T> {
    level: Level,
    residual: &'a mut [T],
    top: TopK,
    sink: &'a mut (dyn Sink<T> + 'a),
}

impl<T: Ordered> FewResiduals<'_, T> {
    #[inline(always)]
    fn sparsify(self) -> Outcome<usize> {
        let FewResiduals { level, residual, top, sink } = self;
        let words = &mut [0; SMALL / WORD][..residual.len().div_ceil(WORD)];
        words_of_largest(level, residual, top, words)?;
        take(level, words, 0, residual, sink.places(top.k)?);
        Ok(top.k)
    }
}

struct FewMagnitudes<'a, T> {
    x: &'a [T],
    k: usize,
}

impl<T: Ordered> FewMagnitudes<'_, T> {
    #[inline(always)]
    fn threshold(self) -> Option<T> {
        let rank = self.k.checked_sub(1).filter(|&rank| rank < self.x.len())?;
        let key = nth_key(self.x, rank, By::Magnitude);
        (key != T::Key::default()).then(|| T::of_key(key, By::Magnitude))
    }
}

compiled! {
    /// The work of this file, of any number of elements.
    Top: Request::run -> ()
}

enum Request<'a, T> {
    Threshold {
        level: Level,
        x: &'a View<'a, T>,
        k: usize,
        answer: &'a mut Outcome<T>,
    },
    Select {
        level: Level,
        x: &'a View<'a, T>,
        top: TopK,
        sink: &'a mut (dyn Sink<T> + 'a),
        answer: &'a mut Outcome<usize>,
    },
    Sparsify {
        level: Level,
        residual: ViewMut<'a, T>,
        grad: Option<&'a View<'a, T>>,
        top: TopK,
        sink: &'a mut (dyn Sink<T> + 'a),
        answer: &'a mut Outcome<usize>,
    },
}

impl<T: Ordered> Request<'_, T> {
    #[inline(always)]
    fn run(self) {
        let mut slices = None;
        match self {
            Request::Threshold { level, x, k, answer } => {
                *answer = threshold(level, &Source::new(x, &mut slices), k);
            }
            Request::Select { level, x, top, sink, answer } => {
                let x = Source::new(x, &mut slices);
                *answer = largest(level, &x, top).and_then(|hits| write(level, &x, &hits, Some(top.k), sink));
            }
            Request::Sparsify { level, residual, grad, top, sink, answer } => {
                *answer = sparsify(level, residual, grad, top, sink);
            }
        }
    }
}

fn threshold<T: Ordered>(level: Level, x: &Source<'_, T>, k: usize) -> Outcome<T> {
    let rank = k.checked_sub(1).filter(|&rank| rank < x.len());
    let kth = rank.map_or(Ok(None), |rank| kth(level, x, rank, By::Magnitude))?;
    kth.map(|kth| kth.threshold).ok_or_else(|| Box::new(no_threshold(k)))
}

#[cold]
fn no_threshold(k: usize) -> Error {
    Error::Option {
        option: "k",
        value: k.to_string(),
        expected: "between 1 and the number of elements that are not NaN",
    }
}

/// Up to [`SMALL`] elements of a view that lies before us; strided ones, which are copied, up to [`WORD`].
#[inline(always)]
fn few<'a, T: Float>(x: &View<'a, T>, copy: &'a mut Option<[T; WORD]>) -> Option<&'a [T]> {
    x.as_plain_slice().filter(|x| x.len() <= SMALL).or_else(|| super::few(x, copy))
}

fn sparsify<T: Ordered>(
    level: Level,
    mut residual: ViewMut<'_, T>,
    grad: Option<&View<'_, T>>,
    top: TopK,
    sink: &mut dyn Sink<T>,
) -> Outcome<usize> {
    let nothing = Source::Length(residual.len());
    if let Some(grad) = grad {
        // Whatever can be refused is refused before the first addition.
        let mut slices = None;
        let grad = Source::new(grad, &mut slices);
        if top.nan == NanPolicy::Keep || top.k > residual.len() {
            let view = residual.as_view();
            let found = match top.nan {
                NanPolicy::Keep => {
                    let mut slices = None;
                    estimate_density(
                        level,
                        &Source::new(&view, &mut slices),
                        &grad,
                        &Hits::Test(NotNan.test()),
                    )
                }
                NanPolicy::Send => residual.len(),
            };
            if found < top.k {
                return Err(Box::new(Error::TooFew { k: top.k, found }));
            }
        }
        if !sink.reserve(top.k) {
            sink.places(top.k)?; // which says why not
        }
        let none = Hits::Test(Test::new(Kind::Between, T::ONE, T::ZERO));
        sparsify_to(level, residual.reborrow(), grad, &none, Some(0), sink)?;
    }
    let hits = largest(level, &Source::new(&residual.as_view(), &mut None), top)?;
    sparsify_to(level, residual, nothing, &hits, Some(top.k), sink)
}

/// The `k`-th largest of the magnitudes |x|, counted from 1: the threshold t for which `AbsGe(t)` selects the `k`
/// elements of largest magnitude.
///
/// Ties count each: where several elements have the magnitude t, `AbsGe(t)` selects all of them, so more than
/// `k` if some were not needed, and `AbsGt(t)` fewer than `k`; [`top_k`] selects just `k`. NaN has no
/// magnitude and is passed over.
///
/// Exact. Of few elements the magnitudes are partitioned, as `select_nth_unstable` does it. Of many a sample
/// tells first between which magnitudes the answer probably is; one pass counts what is larger, another
/// collects what is between, and if the answer is not among these, it is looked for where it is. The passes
/// are shared by threads.
///
/// ```
/// use gradix::{AbsGe, Error, select};
/// let grad = [0.1f32, -0.9, f32::NAN, 0.8, 0.8];
/// let t = select::top_k_threshold(&grad, 2)?;
/// assert_eq!(t, 0.8);
/// assert_eq!(select::count(&grad, AbsGe(t))?, 3);
/// assert!(matches!(select::top_k_threshold(&grad, 5), Err(Error::Option { option: "k", .. })));
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// [`Error::Option`] where `k` is 0 or more than there are elements that are not NaN; [`Error::Level`];
/// [`Error::Memory`].
#[inline(always)]
pub fn top_k_threshold<'a, T: Float>(x: impl Into<View<'a, T>>, k: usize) -> Result<T> {
    let (level, x) = (Level::current()?, x.into());
    if let Some(x) = few(&x, &mut None) {
        return T::compiled::<ThresholdOfFew>(FewMagnitudes { x, k }).ok_or_else(|| no_threshold(k));
    }
    let (x, mut answer) = (x, Ok(T::ZERO)); // a copy of x: the other need never stand in memory
    T::compiled::<Top>(Request::Threshold { level, x: &x, k, answer: &mut answer });
    answer.map_err(|error| *error)
}

/// The `k` elements of largest magnitude, just `k`, as flat indices and values, in the order of the indices:
/// the set of `np.argpartition(-abs(x), k)[:k]`, `torch.topk(x.abs(), k)`.
///
/// Of elements as large as the last one selected, those of the lowest indices are taken. NaN is never
/// selected, unless [`TopK::nan`] says so. `k` is a number, or a [`TopK`] with choices.
///
/// Equality: the same bits as the reference, at every level, stride and number of threads. Cost: that of
/// [`top_k_threshold`], and one selection.
///
/// ```
/// use gradix::select;
/// let x = [0.5f32, -2.0, 0.5, f32::NAN, 1.0];
/// let (indices, values): (Vec<u32>, _) = select::top_k(&x, 3)?;
/// assert_eq!((indices, values), (vec![0, 1, 4], vec![0.5, -2.0, 1.0]));
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// [`Error::TooFew`] where fewer than `k` elements are not NaN; [`Error::Count`] where `I` is too narrow for
/// the input's length; [`Error::Level`]; [`Error::Memory`].
#[inline(always)]
pub fn top_k<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    k: impl Into<TopK>,
) -> Result<(Vec<I>, Vec<T>)> {
    let (level, x) = (Level::current()?, x.into());
    let (mut indices, mut values) = (Vec::new(), Vec::new());
    select::<T, I>(
        level,
        x,
        k.into(),
        &mut Vectors { positions: Some(&mut indices), values: Some(&mut values) },
    )?;
    Ok((indices, values))
}

/// [`top_k`] into the fronts of `indices` and `values`; returns how many there are, which is `k`. The shorter
/// of the two is the room.
///
/// ```
/// use gradix::select;
/// let (mut indices, mut values) = ([0u32; 2], [0.0; 2]);
/// assert_eq!(select::top_k_into(&[0.5, -2.0, 1.0], 2, &mut indices, &mut values)?, 2);
/// assert_eq!((indices, values), ([1, 2], [-2.0, 1.0]));
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// As [`top_k`]; [`Error::Room`].
#[inline(always)]
pub fn top_k_into<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    k: impl Into<TopK>,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    let (level, x) = (Level::current()?, x.into());
    select::<T, I>(level, x, k.into(), &mut Slices::from(Places::new(Some(indices), Some(values))))
}

/// The k largest to a sink.
#[inline(always)]
fn select<T: Float, I: Position>(
    level: Level,
    x: View<'_, T>,
    top: TopK,
    sink: &mut dyn Sink<T>,
) -> Result<usize> {
    if let Some(x) = few(&x, &mut None) {
        return T::compiled::<SelectOfFew>(Few { level, x, top, sink }).map_err(|error| *error);
    }
    let (x, mut answer) = (x, Ok(0)); // a copy of x: the other need never stand in memory
    fits::<I>(x.len())?;
    T::compiled::<Top>(Request::Select { level, x: &x, top, sink, answer: &mut answer });
    answer.map_err(|error| *error)
}

/// [`top_k`] by magnitude or by value.
///
/// ```
/// use gradix::select::{self, By};
/// let (indices, values): (Vec<u32>, _) = select::top_k_by(&[0.5, -2.0, 1.0], 2, By::Value)?;
/// assert_eq!((indices, values), (vec![0, 2], vec![0.5, 1.0]));
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// As [`top_k`].
#[inline(always)]
pub fn top_k_by<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    k: usize,
    by: By,
) -> Result<(Vec<I>, Vec<T>)> {
    top_k(x, TopK::new(k).by(by))
}

/// [`top_k_by`] into the fronts of `indices` and `values`; returns how many there are, which is `k`.
///
/// ```
/// use gradix::select::{self, By};
/// let (mut indices, mut values) = ([0u32; 1], [0.0; 1]);
/// assert_eq!(select::top_k_by_into(&[0.5, -2.0], 1, By::Value, &mut indices, &mut values)?, 1);
/// assert_eq!((indices, values), ([0], [0.5]));
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// As [`top_k_into`].
#[inline(always)]
pub fn top_k_by_into<'a, T: Float, I: Position>(
    x: impl Into<View<'a, T>>,
    k: usize,
    by: By,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    top_k_into(x, TopK::new(k).by(by), indices, values)
}

/// Moves the `k` elements of [`top_k`] out of `residual` and leaves zeros in their places; everything else
/// stays. Just `k` leave: ties go by the lowest index.
///
/// ```
/// use gradix::select;
/// let mut residual = [0.1, -0.9, 0.2, 0.9];
/// let (indices, values): (Vec<u32>, _) = select::sparsify_top_k(&mut residual, 1)?;
/// assert_eq!((indices, values), (vec![1], vec![-0.9]));
/// assert_eq!(residual, [0.1, 0.0, 0.2, 0.9]);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// As [`top_k`]. Nothing is moved then.
pub fn sparsify_top_k<'r, T: Float, I: Position>(
    residual: impl Into<ViewMut<'r, T>>,
    k: impl Into<TopK>,
) -> Result<(Vec<I>, Vec<T>)> {
    sparsified(residual.into(), None, k.into())
}

/// [`sparsify_top_k`] into the fronts of `indices` and `values`; returns how many there are, which is `k`.
///
/// ```
/// use gradix::select;
/// let (mut residual, mut indices, mut values) = ([0.1, 0.9], [0u32; 1], [0.0; 1]);
/// assert_eq!(select::sparsify_top_k_into(&mut residual, 1, &mut indices, &mut values)?, 1);
/// assert_eq!((indices, values, residual), ([1], [0.9], [0.1, 0.0]));
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// As [`top_k_into`]. Nothing is moved then.
pub fn sparsify_top_k_into<'r, T: Float, I: Position>(
    residual: impl Into<ViewMut<'r, T>>,
    k: impl Into<TopK>,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    sparsified_into(residual.into(), None, k.into(), indices, values)
}

/// [`sparsify_top_k`] of `residual + grad`: the sums that are not among the `k` largest stay in the residual.
///
/// ```
/// use gradix::select;
/// let mut residual = [0.4, 0.0, -0.1];
/// let (indices, values): (Vec<u32>, _) = select::sparsify_top_k_with(&[0.3, 0.2, 0.1], &mut residual, 1)?;
/// assert_eq!((indices, values), (vec![0], vec![0.7]));
/// assert_eq!(residual, [0.0, 0.2, 0.0]);
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] where the two shapes differ; as [`top_k`]. Nothing is added or moved then.
pub fn sparsify_top_k_with<'g, 'r, T: Float, I: Position>(
    grad: impl Into<View<'g, T>>,
    residual: impl Into<ViewMut<'r, T>>,
    k: impl Into<TopK>,
) -> Result<(Vec<I>, Vec<T>)> {
    sparsified(residual.into(), Some(grad.into()), k.into())
}

/// [`sparsify_top_k_with`] into the fronts of `indices` and `values`; returns how many there are, which is `k`.
///
/// ```
/// use gradix::select;
/// let (mut residual, mut indices, mut values) = ([0.5, 0.0], [0u32; 1], [0.0; 1]);
/// assert_eq!(select::sparsify_top_k_with_into(&[0.5, 0.1], &mut residual, 1, &mut indices, &mut values)?, 1);
/// assert_eq!((indices, values, residual), ([0], [1.0], [0.0, 0.1]));
/// # Ok::<(), gradix::Error>(())
/// ```
///
/// # Errors
/// As [`sparsify_top_k_with`] and [`top_k_into`]. Nothing is added or moved then.
pub fn sparsify_top_k_with_into<'g, 'r, T: Float, I: Position>(
    grad: impl Into<View<'g, T>>,
    residual: impl Into<ViewMut<'r, T>>,
    k: impl Into<TopK>,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    sparsified_into(residual.into(), Some(grad.into()), k.into(), indices, values)
}

/// The elements that leave, in vectors of their own.
#[inline(always)]
fn sparsified<T: Float, I: Position>(
    residual: ViewMut<'_, T>,
    grad: Option<View<'_, T>>,
    top: TopK,
) -> Result<(Vec<I>, Vec<T>)> {
    let (mut indices, mut values) = (Vec::new(), Vec::new());
    let mut sink = Vectors { positions: Some(&mut indices), values: Some(&mut values) };
    sparsified_to::<T, I>(residual, grad, top, &mut sink)?;
    Ok((indices, values))
}

/// The elements that leave, to slices.
#[inline(always)]
fn sparsified_into<T: Float, I: Position>(
    residual: ViewMut<'_, T>,
    grad: Option<View<'_, T>>,
    top: TopK,
    indices: &mut [I],
    values: &mut [T],
) -> Result<usize> {
    let mut sink = Slices::from(Places::new(Some(indices), Some(values)));
    sparsified_to::<T, I>(residual, grad, top, &mut sink)
}

#[inline(always)]
fn sparsified_to<T: Float, I: Position>(
    mut residual: ViewMut<'_, T>,
    grad: Option<View<'_, T>>,
    top: TopK,
    sink: &mut dyn Sink<T>,
) -> Result<usize> {
    let level = Level::current()?;
    if let (Some(residual), None) = (residual.as_plain_slice_mut().filter(|x| x.len() <= SMALL), &grad) {
        return T::compiled::<SparsifyOfFew>(FewResiduals { level, residual, top, sink })
            .map_err(|error| *error);
    }
    let (residual, grad) = (residual, grad); // copies: the others need never stand in memory
    check::<T, I>(grad.as_ref(), &residual)?;
    let mut answer = Ok(0);
    let (grad, answer_to) = (grad.as_ref(), &mut answer);
    T::compiled::<Top>(Request::Sparsify { level, residual, grad, top, sink, answer: answer_to });
    answer.map_err(|error| *error)
}
