//! Inputs: drawn from fixed seeds.

use memmap2::MmapMut;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, Zipf};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};

const LARGE_PAGE: usize = 2 << 20;

static LARGE_PAGES: AtomicBool = AtomicBool::new(false);

/// From now on, buffers are in pages of 2 MiB, where the system grants them to those who ask (Linux:
/// `transparent_hugepage` is `madvise` or `always`). Without this call they are vectors, in whatever pages a vector gets.
pub fn use_large_pages() {
    LARGE_PAGES.store(true, Ordering::Relaxed);
}

/// Elements that are written when they are made, so that no timing pays for a page fault. All sides of a comparison read and
/// write the same ones.
pub enum Buffer<T> {
    Vector(Vec<T>),
    /// The elements are bytes from `first` on, `len` elements.
    LargePages {
        pages: MmapMut,
        first: usize,
        len: usize,
    },
}

impl<T: bytemuck::Pod> Buffer<T> {
    pub fn filled(len: usize, element: impl FnMut(usize) -> T) -> Self {
        let bytes = len * size_of::<T>();
        if !LARGE_PAGES.load(Ordering::Relaxed) || bytes < LARGE_PAGE {
            return Buffer::Vector((0..len).map(element).collect());
        }
        let pages = MmapMut::map_anon(bytes + LARGE_PAGE).expect("memory for a benchmark's data");
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage); // refused where the kernel has none: then small pages
        let first = pages.as_ptr().align_offset(LARGE_PAGE);
        let mut buffer = Buffer::LargePages { pages, first, len };
        let mut element = element;
        buffer.iter_mut().enumerate().for_each(|(i, x)| *x = element(i));
        buffer
    }

    pub fn zeros(len: usize) -> Self {
        Self::filled(len, |_| T::zeroed())
    }
}

impl<T: bytemuck::Pod> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match self {
            Buffer::Vector(elements) => elements,
            Buffer::LargePages { pages, first, len } => {
                bytemuck::cast_slice(&pages[*first..*first + *len * size_of::<T>()])
            }
        }
    }
}

impl<T: bytemuck::Pod> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Buffer::Vector(elements) => elements,
            Buffer::LargePages { pages, first, len } => {
                bytemuck::cast_slice_mut(&mut pages[*first..*first + *len * size_of::<T>()])
            }
        }
    }
}

fn seeded(len: usize) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(len as u64)
}

/// The element types that are timed.
pub trait Element:
    gradix::Float + bytemuck::Pod + num_traits::Float + std::ops::AddAssign + std::iter::Sum
{
    const TYPE: &'static str;
}
impl Element for f32 {
    const TYPE: &'static str = "f32";
}
impl Element for f64 {
    const TYPE: &'static str = "f64";
}

/// Uniform in 0..1.
pub fn uniform<T: Element>(len: usize) -> Buffer<T> {
    let mut rng = seeded(len);
    Buffer::filled(len, |_| num_traits::cast(rng.random::<f32>()).expect("a float"))
}

/// Normal with mean 0 and variance 1.
pub fn normal<T: Element>(len: usize) -> Buffer<T> {
    let mut rng = seeded(len);
    Buffer::filled(len, |_| {
        let x: f64 = StandardNormal.sample(&mut rng);
        num_traits::cast(x).expect("a float")
    })
}

/// Constant in runs of 64 elements, and as many of these above any threshold as of [`uniform`]'s elements, or one more.
pub fn in_runs<T: Element>(len: usize) -> Buffer<T> {
    let golden = (5f64.sqrt() - 1.0) / 2.0; // whose multiples fill 0..1 evenly
    Buffer::filled(len, |i| num_traits::cast(((i / 64 + 1) as f64 * golden).fract()).expect("a float"))
}

/// How indices come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Order {
    /// Uniform.
    Random,
    /// Those of `Random`, in order.
    Sorted,
    /// Word frequencies: the i-th row 1/i times as often as the first.
    Zipf,
}

/// `len` indices in 0..bound.
pub fn indices(len: usize, bound: usize, order: Order) -> Buffer<u32> {
    let mut rng = seeded(len ^ bound.rotate_left(32));
    let zipf = Zipf::new(bound as f64, 1.0).expect("a distribution");
    let mut indices = Buffer::filled(len, |_| match order {
        Order::Zipf => zipf.sample(&mut rng) as u32 - 1,
        _ => rng.random_range(0..bound as u32),
    });
    if order == Order::Sorted {
        indices.sort_unstable();
    }
    indices
}

/// The tables that criterion gathers from and scatters to, one for each cache and one for memory, of so many `f32`: rows of
/// each width, each order of indices.
pub fn tables() -> impl Iterator<Item = (&'static str, usize, usize, Order)> {
    let tables = [("16KiB", 4 << 10), ("512KiB", 128 << 10), ("8MiB", 2 << 20), ("256MiB", 64 << 20)];
    let widths = [1, 16, 64, 768];
    let orders = [Order::Random, Order::Sorted, Order::Zipf];
    tables.into_iter().flat_map(move |(name, len)| {
        widths.into_iter().flat_map(move |width| orders.map(|order| (name, len / width, width, order)))
    })
}
