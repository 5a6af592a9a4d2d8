//! What the fuzz targets share: arrays of any layout, numbers of any kind, indices of any type, every level.
//!
//! Each target makes one call from the fuzzer's bytes, asks [`gradix::reference`] for the answer and wants the same
//! one (bits, errors and untouched outputs) at every level with the chosen number of threads. Most calls are small;
//! the largest just reach the sizes at which threads share the work.
//!
//! ```text
//! cargo +nightly fuzz run gather -- -max_total_time=600
//! ```

#[allow(dead_code)] // gathers are no business of the target of scatters, and the other way round
#[path = "../../tests/common/calls.rs"]
pub mod calls;
#[allow(dead_code)] // of the tests: the targets choose the layouts that the tests draw
#[path = "../../tests/common/strided.rs"]
pub mod strided;

use arbitrary::{Result, Unstructured};
pub use calls::Op;
use gradix::{Clip, Fill, Float, Index, Indices, Level, View, Wrap};
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::OnceLock;
use strided::Strided;

/// The most elements of an array: twice the elements that one thread keeps to itself, and some.
const MOST: usize = 40_000;

/// Runs `check` at every level, on this thread or in a pool of 1, 2 or 5.
pub fn everywhere(u: &mut Unstructured, mut check: impl FnMut(Level) + Send) -> Result<()> {
    static POOLS: OnceLock<Vec<ThreadPool>> = OnceLock::new();
    let pool = |n| ThreadPoolBuilder::new().num_threads(n).build().expect("threads");
    let pools = POOLS.get_or_init(|| [1, 2, 5].map(pool).into());
    let pool = pools.get(u.int_in_range(0..=2 * pools.len())?);
    for &level in Level::available() {
        let mut run = || level.run(|| check(level)).expect("an available level");
        match pool {
            Some(pool) => pool.install(run),
            None => run(),
        }
    }
    Ok(())
}

/// The length of an axis: 0 to 5 nearly always.
pub fn length(u: &mut Unstructured) -> Result<usize> {
    Ok(match u.arbitrary::<u8>()? {
        0..=9 => 0,
        n @ 10..=209 => 1 + n as usize % 5,
        210..=239 => u.int_in_range(6..=70)?,
        240..=253 => u.int_in_range(60..=600)?,
        _ => u.int_in_range(0..=MOST)?,
    })
}

/// A shape of 1 to `ranks` axes (or none, rarely) with at most [`MOST`] elements.
pub fn shape(u: &mut Unstructured, ranks: usize) -> Result<Vec<usize>> {
    let rank = u.int_in_range(0..=8 * ranks)?.div_ceil(8);
    let mut room = MOST;
    let mut shape = Vec::new();
    for _ in 0..rank {
        let n = length(u)?.min(room);
        room /= n.max(1);
        shape.push(n);
    }
    Ok(shape)
}

/// A layout of this shape; with `repeats` also one that repeats elements.
pub fn layout(u: &mut Unstructured, shape: &[usize], repeats: bool) -> Result<Strided> {
    if u.ratio(1, 3)? {
        return Ok(Strided::dense(shape));
    }
    let (mut order, mut steps, mut reversed) = (vec![], vec![], vec![]);
    for _ in shape {
        let kind: u8 = u.arbitrary()?;
        order.push(u32::from(kind & 3));
        reversed.push(kind & 4 != 0);
        steps.push(match kind >> 3 {
            0..=2 if repeats => 0,
            3..=5 => 2,
            6 => 3,
            _ => 1,
        });
    }
    Ok(Strided::new(shape, &order, &steps, &reversed, u.int_in_range(0..=3)?))
}

/// A shape that is nearly always this one, or flat where `flat`.
pub fn nearly(u: &mut Unstructured, shape: Vec<usize>, flat: bool) -> Result<Vec<usize>> {
    let mut shape = if flat && u.arbitrary()? { vec![shape.iter().product()] } else { shape };
    if u.ratio(1, 40)? {
        match u.int_in_range(0..=2)? {
            0 => shape.push(1),
            1 => drop(shape.pop()),
            _ => shape.iter_mut().for_each(|n| *n = n.saturating_sub(1)),
        }
    }
    Ok(shape)
}

/// An axis, nearly always one that there is; negative ones count from the end.
pub fn axis(u: &mut Unstructured, rank: usize) -> Result<isize> {
    let rank = rank as isize;
    if u.ratio(1, 60)? || rank == 0 {
        return Ok(*u.choose(&[rank, -rank - 1, isize::MIN, isize::MAX])?);
    }
    u.int_in_range(-rank..=rank - 1)
}

/// Numbers of many magnitudes, some of them special, from a seed and a few chosen ones.
pub fn numbers<T: Float>(u: &mut Unstructured, len: usize, scale: f64) -> Result<Vec<T>> {
    let mut next = xorshift(u.arbitrary()?);
    let mut numbers: Vec<T> = (0..len).map(|_| T::from_f64(bell(&mut next) * scale)).collect();
    const SPECIAL: [f64; 14] = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -0.0,
        1.0,
        -1.0,
        1e-40,
        -1e-310,
        3.4e38,
        -1.7e308,
        1e6,
        -88.0,
        5e-324,
    ];
    for _ in 0..u.int_in_range(0..=len.min(12))? {
        let x = if u.arbitrary()? { *u.choose(&SPECIAL)? } else { u.arbitrary::<f32>()?.into() };
        let at = u.choose_index(len)?;
        let many = u.ratio(1, 8)?;
        let until = if many { u.int_in_range(at..=len)? } else { at + 1 };
        numbers[at..until].fill(T::from_f64(x));
    }
    Ok(numbers)
}

/// About normal.
fn bell(next: &mut impl FnMut() -> u64) -> f64 {
    (0..4).map(|_| (next() >> 11) as f64 / (1u64 << 53) as f64).sum::<f64>() * 2.0 - 4.0
}

pub fn xorshift(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

/// The same bits, or both NaN.
pub fn same<T: Float>(a: T, b: T) -> bool {
    a.is_nan() && b.is_nan() || a.to_f64().to_bits() == b.to_f64().to_bits()
}

/// Fails at the first place where two arrays differ.
#[track_caller]
pub fn assert_same<T: Float>(what: &str, got: &[T], expected: &[T]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (&a, &b)) in got.iter().zip(expected).enumerate() {
        assert!(same(a, b), "{what}[{i}] is {a:?}, by definition {b:?}");
    }
}

/// A list of indices: what they are made from, how they lie, and what those outside mean.
pub struct List {
    pub layout: Strided,
    seeds: Vec<i64>,
    mode: u8,
    bound: usize,
}

impl List {
    /// A list of this shape into an axis of length `bound`; nearly always inside.
    pub fn new(u: &mut Unstructured, shape: &[usize], bound: usize) -> Result<Self> {
        let layout = layout(u, shape, true)?;
        let mode = u.int_in_range(0..=5)?;
        let mut next = xorshift(u.arbitrary()?);
        // Of few values, many share a place.
        let spread = if u.ratio(1, 4)? { 3 } else { u64::MAX };
        let inside = |seed: u64| match bound as i64 {
            0 => 0,
            n => (seed % spread % (2 * n as u64)) as i64 - n,
        };
        let mut seeds: Vec<i64> = (0..layout.len).map(|_| inside(next())).collect();
        for _ in 0..u.int_in_range(0..=seeds.len().min(4))? {
            let at = u.choose_index(layout.len)?;
            seeds[at] = inside(u.arbitrary()?);
        }
        if u.ratio(1, 16)? {
            let at = u.choose_index(layout.len)?;
            seeds[at] = u.arbitrary()?;
        }
        Ok(List { layout, seeds, mode, bound })
    }

    /// The buffer of indices; those that the type does not hold are put somewhere inside.
    pub fn buffer<I: Index + TryFrom<i64>>(&self) -> Vec<I> {
        let most = (self.bound as i64).clamp(1, 100);
        let narrow = |seed: i64| I::try_from(seed).or_else(|_| I::try_from(seed.rem_euclid(most)));
        self.seeds.iter().map(|&seed| narrow(seed).ok().expect("at most 100")).collect()
    }

    /// The indices, read from that buffer; where they fill, with this value.
    pub fn indices<'a, I: Index, T>(&self, buffer: &'a [I], value: T) -> Indices<'a, I, T> {
        let list: View<'a, I> = self.layout.view(buffer).expect("a buffer of the layout's size");
        match self.mode {
            0 => Wrap(list).into(),
            1 => Clip(list).into(),
            2 => Fill(list, value).into(),
            _ => list.into(),
        }
    }
}

/// One call of gather or scatter: the table is indexed by the list; the values are what gather writes and scatter reads.
pub struct Call {
    pub op: Op,
    pub axis: isize,
    pub table: Strided,
    pub list: List,
    pub values: Strided,
}

impl Call {
    /// Any call; where the values are written the table may repeat elements, else the values may.
    pub fn new(u: &mut Unstructured, values_are_written: bool) -> Result<Self> {
        // As the derived choice of one in four does it, so that kept inputs go on meaning the same.
        let ops = [Op::Flat, Op::Axis, Op::Along, Op::Pick];
        let op = ops[(u64::from(u.arbitrary::<u32>()?) * ops.len() as u64 >> 32) as usize];
        let table = match op {
            Op::Pick => {
                let rows = length(u)?;
                vec![rows, length(u)?.min(MOST / rows.max(1))]
            }
            _ => shape(u, 5)?,
        };
        let table = if op == Op::Pick { nearly(u, table, false)? } else { table };
        let axis = axis(u, table.len())?;
        let at = if axis < 0 { axis.wrapping_add(table.len() as isize) } else { axis } as usize;
        let at = at.min(table.len().saturating_sub(1));
        // Axes of length 0 count as 1, as a layout has room for the others all the same.
        let rest: usize =
            table.iter().enumerate().filter(|&(k, _)| k != at).map(|(_, &n)| n.max(1)).product();
        let list = match op {
            Op::Flat => shape(u, 3)?,
            Op::Axis => shape(u, 3)?.into_iter().map(|n| n.min(MOST / rest.max(1))).collect(),
            Op::Along => {
                let mut list = table.clone();
                if let Some(n) = list.get_mut(at) {
                    *n = length(u)?.min(MOST / rest.max(1));
                }
                nearly(u, list, false)?
            }
            Op::Pick => nearly(u, table[..table.len().min(1)].to_vec(), false)?,
        };
        let values = match op {
            Op::Axis if !table.is_empty() => [&table[..at], &list, &table[at + 1..]].concat(),
            _ => list.clone(),
        };
        let values = nearly(u, values, true)?;
        let bound = match op {
            Op::Flat => table.iter().product(),
            Op::Pick => table.get(1).copied().unwrap_or(3),
            _ => table.get(at).copied().unwrap_or(3),
        };
        let table = layout(u, &table, values_are_written)?;
        let list = List::new(u, &list, bound)?;
        let values = layout(u, &values, !values_are_written)?;
        Ok(Call { op, axis, table, list, values })
    }
}

/// Calls `$check::<element type, index type>($($arg),*)` with a pair of types that the bytes choose.
#[macro_export]
macro_rules! with_types {
    ($u:ident, $check:ident($($arg:expr),*)) => {
        match $u.int_in_range(0..=10)? {
            0 => $check::<f32, u8>($($arg),*),
            1 => $check::<f64, u16>($($arg),*),
            2 => $check::<f32, u32>($($arg),*),
            3 => $check::<f64, u64>($($arg),*),
            4 => $check::<f32, usize>($($arg),*),
            5 => $check::<f64, i32>($($arg),*),
            6 => $check::<f32, i32>($($arg),*),
            7 => $check::<f32, i64>($($arg),*),
            8 => $check::<f32, i8>($($arg),*),
            9 => $check::<f64, i16>($($arg),*),
            _ => $check::<f64, i64>($($arg),*),
        }
    };
}
