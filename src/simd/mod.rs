//! One body per kernel, whatever the instructions.
//!
//! A kernel is written once, as [`Kernel::run`], generic over a level `S: Simd<T>`: a token whose
//! methods are the operations that the kernels use. There are three: [`Portable`] (the crate `wide`, with
//! the instructions that the build was told of), [`Avx2`] and [`Avx512`]. `Float::dispatch` turns a [`Level`] into a
//! token and runs the kernel inside a function compiled for that level.
//!
//! # Why this is sound
//!
//! *Possession is proof.* The tokens' fields are private and only `detect` makes one, after it has asked the
//! CPU. The operations are safe `#[target_feature]` functions, so the compiler itself refuses an AVX-512
//! instruction in the AVX2 file; each is reached through the one `unsafe` call of its file's macro, which is
//! sound because `self` exists. Memory is read and written through references to whole vectors
//! ([`Float::Block`]), never through bare pointers.
//!
//! # One width
//!
//! A vector is 64 bytes on every level (16 `f32`, 8 `f64`), on those with smaller registers several of them. So the
//! order in which a kernel adds is the same on every level, and with fused multiply-add so is every bit.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod exp;
mod float;
mod portable;
pub(crate) mod scaled;
pub(crate) mod select;
pub(crate) mod slices;

use crate::error::{Error, Result};
pub use float::Float;
use std::cell::Cell;
use std::sync::OnceLock;

/// An operation waiting for a level.
pub(crate) trait Kernel<T: Float> {
    /// What it answers.
    type Output;
    /// The one body. Implementations are `#[inline(always)]`, and so is all that they call on the way to `s`.
    fn run<S: Simd<T>>(self, s: S) -> Self::Output;
}

/// Work whose code belongs to this crate: it is compiled here, once for each element type, and not again in
/// each crate that asks for it. [`Float::compiled`] does it.
pub(crate) trait Compiled {
    /// The work.
    type Of<T: Float>;
    /// What it gives.
    type Answer<T: Float>;
    /// Does it for `f32`.
    fn f32(work: Self::Of<f32>) -> Self::Answer<f32>;
    /// Does it for `f64`.
    fn f64(work: Self::Of<f64>) -> Self::Answer<f64>;
}

/// Declares [`Compiled`] work: its name, the type that holds what it needs, and the method of it that does it.
macro_rules! compiled {
    ($(#[$doc:meta])* $vis:vis $name:ident: $of:ident::$by:ident -> $answer:ty) => {
        $(#[$doc])*
        $vis struct $name<'a>(std::marker::PhantomData<&'a ()>);

        impl<'a> $crate::simd::Compiled for $name<'a> {
            type Of<T: $crate::simd::Float> = $of<'a, T>;
            type Answer<T: $crate::simd::Float> = $answer;
            fn f32(work: $of<'a, f32>) -> Self::Answer<f32> {
                work.$by()
            }
            fn f64(work: $of<'a, f64>) -> Self::Answer<f64> {
                work.$by()
            }
        }
    };
}
pub(crate) use compiled;

/// At most a block's elements, and `pad` after them. For levels without instructions for it.
#[inline(always)]
fn block_of<T: Float>(from: &[T], pad: T) -> T::Block {
    let mut block = T::Block::default();
    for (k, x) in block.as_mut().iter_mut().enumerate() {
        *x = if k < from.len() { from[k] } else { pad };
    }
    block
}

/// [`block_of`] as a function of its own: what is left after many vectors takes 9 ns more, and each loop is a kilobyte
/// shorter.
#[inline(never)]
fn block_apart<T: Float>(from: &[T], pad: T) -> T::Block {
    block_of(from, pad)
}

/// A level's operations on vectors of 64 bytes. Lane `i` of a vector is element `i` of a [`Float::Block`].
pub(crate) trait Simd<T: Float>: select::Compress<T> + Copy + Send + Sync + 'static {
    /// [`Float::LANES`] elements.
    type V: Copy;
    /// A truth value for each lane.
    type M: Copy;
    /// Whether `mul_add` rounds once. Where it does not, there is nothing like the speed of a level with it to be had:
    /// kernels take their plainest way, and exponentials are functions that are called.
    const FUSED: bool = true;

    /// Runs a kernel inside a function compiled for this level.
    fn enter<K: Kernel<T>>(self, kernel: K) -> K::Output;

    /// Runs a kernel as a function of its own, whose loop has registers for all its constants: as part of a large
    /// function they are read from memory each time, and each of its callers would hold a copy.
    #[inline(never)]
    fn outlined<K: Kernel<T>>(self, kernel: K) -> K::Output {
        self.enter(kernel)
    }

    /// `x` in every lane.
    fn splat(self, x: T) -> Self::V;
    /// The block's elements. No alignment is asked for.
    fn load(self, from: &T::Block) -> Self::V;
    /// Overwrites the block.
    fn store(self, v: Self::V, to: &mut T::Block);
    /// Asks for the cache line `n` elements after `at`, whether there is such an element or not.
    fn prefetch_after(self, at: *const T, n: usize);
    /// The same, as far as the second-level cache.
    fn prefetch_far_after(self, at: *const T, n: usize);
    /// The first elements of a vector from a slice of at most as many, and `pad` after them.
    #[inline(always)]
    fn load_up_to(self, from: &[T], pad: T) -> Self::V {
        self.load(&block_apart(from, pad))
    }
    /// The same, where that may be most of what there is to load.
    #[inline(always)]
    fn load_few(self, from: &[T], pad: T) -> Self::V {
        self.load_up_to(from, pad)
    }
    /// Overwrites a slice of at most as many elements as a vector has with the first of them.
    #[inline(always)]
    fn store_up_to(self, v: Self::V, to: &mut [T]) {
        let mut block = T::Block::default();
        self.store(v, &mut block);
        to.copy_from_slice(&block.as_ref()[..to.len()]);
    }
    /// `store`, non-temporal if the block is a cache line and the level can.
    #[inline(always)]
    fn stream(self, v: Self::V, to: &mut T::Block, _streaming: &Streaming) {
        self.store(v, to);
    }

    /// `a + b`
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a − b`
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, rounded once where [`Simd::FUSED`]
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger; where either is NaN, unspecified which of the two. Of zeros of unlike sign, likewise.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller, likewise.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `so_far`, with the lanes of `x` taken in: the largest of all lanes is that of both, whichever lane it
    /// stands in. A level of two registers a vector has but one of them change, so that a loop has the other
    /// for something else.
    #[inline(always)]
    fn max_so_far(self, so_far: Self::V, x: Self::V) -> Self::V {
        self.max(so_far, x)
    }
    /// The same with the least.
    #[inline(always)]
    fn min_so_far(self, so_far: Self::V, x: Self::V) -> Self::V {
        self.min(so_far, x)
    }
    /// `|a|`
    fn abs(self, a: Self::V) -> Self::V;
    /// 2^n, from n + [`Float::SHIFTER`]: the integer stands in the last bits, the exponent's bias added.
    fn power_of_two(self, shifted: Self::V) -> Self::V;
    /// 2^n for n a multiple of an eighth, from n + [`Float::EIGHTH_SHIFTER`]: n's integer and fraction stand
    /// in the last bits. `table` is [`Float::EIGHTHS_BY_LANE`], or that times 4: then the result is, too.
    fn power_of_eighths(self, shifted: Self::V, table: &T::Block) -> Self::V;
    /// `so_far`, with the bits set in which `a` and `b` differ.
    fn or_differing(self, so_far: Self::V, a: Self::V, b: Self::V) -> Self::V;
    /// `(m, e)` with `a = m · 2^e` and m in `1..2`, for normal positive `a`.
    fn split(self, a: Self::V) -> (Self::V, Self::V);

    /// The sum of the lanes, joined by halves: lane i with lane i + 8 (with 16 lanes), then i + 4, i + 2, i + 1.
    #[inline(always)]
    fn sum_lanes(self, v: Self::V) -> T {
        slices::join_lanes(
            self,
            v,
            #[inline(always)]
            |a, b| a + b,
        )
    }
    /// [`Simd::sum_lanes`] of the first `count` blocks, one a lane; 0 in the lanes after them.
    #[inline(always)]
    fn sums_of_rows(self, rows: &T::BlockMatrix, count: usize) -> Self::V {
        let mut sums = T::Block::default();
        for (sum, row) in sums.as_mut().iter_mut().zip(&rows.as_ref()[..count]) {
            *sum = self.sum_lanes(self.load(row));
        }
        self.load(&sums)
    }
    /// The largest of the lanes; unspecified where one is NaN.
    #[inline(always)]
    fn max_lanes(self, v: Self::V) -> T {
        slices::join_lanes(
            self,
            v,
            #[inline(always)]
            |a, b| if a > b { a } else { b },
        )
    }
    /// Reads `count` rows, from 1 to as many as a vector has lanes, which begin every `width` elements: of
    /// each, as many elements as there are blocks. Element j of block i becomes element i of row j. The lanes after
    /// the last row get numbers of one of the rows.
    #[inline(always)]
    fn columns(self, rows: &[T], width: usize, count: usize, to: &mut [T::Block]) {
        slices::columns(rows, width, count, to);
    }
    /// Writes what `columns` reads.
    #[inline(always)]
    fn rows(self, columns: &[T::Block], to: &mut [T], width: usize, count: usize) {
        slices::rows(columns, to, width, count);
    }

    /// Of each lane's class, its number from `first` on, or `end` where it comes before that or is no
    /// smaller; −1 where it is `usize::MAX`.
    #[inline(always)]
    fn target_columns(self, classes: &[usize; 16], first: usize, end: u32) -> Self::V {
        let mut target_columns = T::Block::default();
        for (column, &class) in target_columns.as_mut().iter_mut().zip(classes) {
            let at = class.wrapping_sub(first).min(end as usize) as u32;
            *column = T::from_f64(if class == usize::MAX { -1.0 } else { f64::from(at) });
        }
        self.load(&target_columns)
    }

    /// `a > b`; false where either is NaN.
    fn gt(self, a: Self::V, b: Self::V) -> Self::M;
    /// `a >= b`; false where either is NaN.
    fn ge(self, a: Self::V, b: Self::V) -> Self::M;
    /// `a != b`; true where either is NaN.
    fn ne(self, a: Self::V, b: Self::V) -> Self::M;
    /// `a == b`
    fn eq(self, a: Self::V, b: Self::V) -> Self::M;
    /// Neither `a < b` nor its contrary known: `!(a < b)`, true where either is NaN.
    fn not_lt(self, a: Self::V, b: Self::V) -> Self::M;
    /// Both.
    fn and(self, a: Self::M, b: Self::M) -> Self::M;
    /// `a` where `m`, else `b`.
    fn select(self, m: Self::M, a: Self::V, b: Self::V) -> Self::V;
    /// `a + b` where `m`, else `a`, which is not −0.
    #[inline(always)]
    fn add_where(self, m: Self::M, a: Self::V, b: Self::V) -> Self::V {
        self.add(a, self.select(m, b, self.splat(T::ZERO)))
    }
    /// Bit `i` is lane `i`'s truth value.
    fn bits(self, m: Self::M) -> u32;

    /// [`Simd::bits`] of four masks, one after the other.
    #[inline(always)]
    fn bits_of_4(self, m: [Self::M; 4]) -> u64 {
        let [a, b, c, d] = m;
        let (a, b) = (u64::from(self.bits(a)), u64::from(self.bits(b)));
        let (c, d) = (u64::from(self.bits(c)), u64::from(self.bits(d)));
        a | b << T::LANES | c << (2 * T::LANES) | d << (3 * T::LANES)
    }

    /// Writes the elements of four vectors, which were loaded from `from`, where `m`, whose bits are `bits`, to
    /// the front of `to`, in order. What follows in `to` is unspecified as far as [`select::SLACK`] places, and as
    /// it was after those.
    #[inline(always)]
    fn compress_4(
        self,
        bits: u64,
        m: [Self::M; 4],
        v: [Self::V; 4],
        from: &[T::Block; 4],
        to: &mut [T; select::WORD],
    ) {
        let _ = (m, v);
        self.compress(bits, T::elements(from), to);
    }
    /// Writes `first + i` for each lane i of four vectors where `m` as [`Simd::compress_4`] writes elements.
    #[inline(always)]
    fn positions_32_of_4(self, bits: u64, m: [Self::M; 4], first: u32, to: &mut [u32; select::WORD]) {
        let _ = m;
        self.positions_32(bits, first, to);
    }
    /// [`Simd::positions_32_of_4`] of 64-bit positions.
    #[inline(always)]
    fn positions_64_of_4(self, bits: u64, m: [Self::M; 4], first: u64, to: &mut [u64; select::WORD]) {
        let _ = m;
        self.positions_64(bits, first, to);
    }
}

/// The instructions that kernels run with.
///
/// An operation asks for the level once, on the calling thread, when it is called: [`Level::run`] if it is called
/// inside one, else the environment variable `GRADIX_LEVEL` (`portable`, `avx2` or `avx512`), else the best that this
/// CPU has. A level that this CPU does not have is an [`Error::Level`], never a silent substitute.
///
/// ```
/// use gradix::Level;
/// for &level in Level::available() {
///     assert_eq!(level.run(|| gradix::take(&[1.0, 2.0], &[1]))??, [2.0]);
/// }
/// # Ok::<(), gradix::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Level {
    /// What the crate `wide` was compiled to: SSE2 in a default x86-64 build, NEON on AArch64.
    Portable,
    /// AVX2 with FMA, BMI1, BMI2, LZCNT and POPCNT: x86-64-v3.
    Avx2,
    /// AVX-512 F, BW, DQ and VL: x86-64-v4.
    Avx512,
}

/// What `GRADIX_LEVEL` names, or the CPU has, once somebody has asked.
static FROM_ENVIRONMENT: OnceLock<Level> = OnceLock::new();

thread_local! {
    static FORCED: Cell<Option<Level>> = const { Cell::new(None) };
}

/// Permission to [stream](Simd::stream). Non-temporal stores are ordered with no others until a fence, which
/// follows when this is dropped, also while unwinding: before anyone else can look.
pub(crate) struct Streaming(());

impl Streaming {
    #[inline(always)]
    pub(crate) fn begin() -> Self {
        Streaming(())
    }

    /// All that was streamed so far comes before all that is stored from here on.
    #[inline(always)]
    pub(crate) fn fence(&self) {
        #[cfg(target_arch = "x86_64")]
        avx2::fence();
    }
}

impl Drop for Streaming {
    #[inline(always)]
    fn drop(&mut self) {
        self.fence();
    }
}

/// Whether Intel has made this CPU, whose memory likes other stores than AMD's.
pub(crate) fn is_intel() -> bool {
    #[cfg(target_arch = "x86_64")]
    return avx512::is_intel();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

impl Level {
    /// Every level, from the plainest on.
    pub const ALL: [Level; 3] = [Level::Portable, Level::Avx2, Level::Avx512];

    /// The levels that this CPU has, from the plainest on.
    pub fn available() -> &'static [Level] {
        static AVAILABLE: OnceLock<Vec<Level>> = OnceLock::new();
        AVAILABLE.get_or_init(|| Level::ALL.into_iter().filter(|level| level.is_detected()).collect())
    }

    /// The best level that this CPU has.
    pub fn detected() -> Level {
        *Level::available().last().unwrap_or(&Level::Portable)
    }

    /// The level that an operation called here and now would run with.
    #[inline]
    pub fn current() -> Result<Level> {
        match FORCED.get().or_else(|| FROM_ENVIRONMENT.get().copied()) {
            Some(level) => Ok(level),
            None => Level::from_environment(),
        }
    }

    #[cold]
    #[inline(never)]
    fn from_environment() -> Result<Level> {
        let level = match std::env::var("GRADIX_LEVEL") {
            Ok(name) => Level::named(&name)?,
            Err(std::env::VarError::NotPresent) => Level::detected(),
            Err(std::env::VarError::NotUnicode(name)) => Level::named(&name.to_string_lossy())?,
        };
        Ok(*FROM_ENVIRONMENT.get_or_init(|| level))
    }

    /// Runs `f`; the operations that it calls on this thread run at this level. An error, and `f` is not run,
    /// where the CPU does not have it.
    pub fn run<R>(self, f: impl FnOnce() -> R) -> Result<R> {
        /// Puts the earlier level back, when `f` unwinds too.
        struct Restore(Option<Level>);
        impl Drop for Restore {
            fn drop(&mut self) {
                FORCED.set(self.0);
            }
        }
        if !Level::available().contains(&self) {
            return Err(Error::Level { name: self.name().to_string() });
        }
        let _restore = Restore(FORCED.replace(Some(self)));
        Ok(f())
    }

    /// `portable`, `avx2` or `avx512`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }

    /// Whether multiplication and addition are rounded once here, so that softmax cross-entropy has the bits of
    /// [`reference`](crate::reference).
    pub const fn has_fma(self) -> bool {
        !matches!(self, Level::Portable) || cfg!(any(target_feature = "fma", target_arch = "aarch64"))
    }

    fn named(name: &str) -> Result<Level> {
        Level::available()
            .iter()
            .copied()
            .find(|level| level.name() == name)
            .ok_or_else(|| Error::Level { name: name.to_string() })
    }

    fn is_detected(self) -> bool {
        match self {
            Level::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2::Avx2::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512::Avx512::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}
