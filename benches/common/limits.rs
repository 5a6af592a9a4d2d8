//! What the memory allows: the least that anything which touches the same bytes must take. Each loop is shared by the
//! threads of the current rayon pool in equal pieces and compiled for the best instructions of this CPU. Each comes with
//! plain and with streaming stores; the limit is whichever is faster, on the same bytes, in the same run.

use super::data::Element;
use bytemuck::Pod;
use pulp::Arch;
use std::hint::black_box;

/// How a loop writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stores {
    /// As compiled: a line that is written is read first, and stays in cache.
    Plain,
    /// Non-temporal: straight to memory. Slower in cache, faster beyond. Without such instructions, as plain ones.
    Streaming,
}

/// `out = a · x`: one read, one write. The limit of softmax cross-entropy.
pub fn scale<T: Element>(x: &[T], a: T, out: &mut [T], stores: Stores) {
    in_pieces(x, out, &|x, out| store(stores, x, out, |x, _| a * x));
}

/// `out = x`: one read, one write. The limit of gathers, which write as many bytes.
pub fn copy<T: Element>(x: &[T], out: &mut [T], stores: Stores) {
    in_pieces(x, out, &|x, out| match stores {
        Stores::Plain => out.copy_from_slice(x),
        Stores::Streaming => store(stores, x, out, |x, _| x),
    });
}

/// `out += x`, element by element. The limit of scatters, which read as many bytes.
pub fn add<T: Element>(x: &[T], out: &mut [T], stores: Stores) {
    in_pieces(x, out, &|x, out| store(stores, x, out, |x, out| out + x));
}

/// The sum of `x`: one read.
pub fn sum<T: Element>(x: &[T]) {
    sum_and_store(x, &mut [] as &mut [T], Stores::Plain);
}

/// The sum of `x`, and a store to all of `out`: one read, and as many bytes written as the answer has. The limit of
/// selections.
pub fn sum_and_store<T: Element, A: Pod + Send + num_traits::One>(x: &[T], out: &mut [A], stores: Stores) {
    const LANES: usize = 128; // independent sums, so that memory and not the latency of an addition decides
    in_pieces(x, out, &|x: &[T], out: &mut [A]| {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                let mut sums = [T::zero(); LANES];
                for block in x.chunks_exact(LANES) {
                    sums.iter_mut().zip(block).for_each(|(sum, &x)| *sum += x);
                }
                black_box(sums);
            },
        );
        store(stores, &vec![(); out.len()], out, |(), _| A::one());
    });
}

/// `out = f(x, out)`, element by element.
#[inline(always)]
fn store<X: Copy, A: Pod>(stores: Stores, x: &[X], out: &mut [A], f: impl Fn(X, A) -> A) {
    Arch::new().dispatch(
        #[inline(always)]
        || match stores {
            Stores::Plain => store_plain(x, out, &f),
            Stores::Streaming => store_streaming(x, out, &f),
        },
    );
}

#[inline(always)]
fn store_plain<X: Copy, A: Pod>(x: &[X], out: &mut [A], f: &impl Fn(X, A) -> A) {
    out.iter_mut().zip(x).for_each(|(out, &x)| *out = f(x, *out));
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
#[inline(always)]
fn store_streaming<X: Copy, A: Pod>(x: &[X], out: &mut [A], f: &impl Fn(X, A) -> A) {
    use std::arch::x86_64::{__m128i, _mm_sfence, _mm_stream_si128};
    let lanes = size_of::<__m128i>() / size_of::<A>();
    let (head, vectors, tail) = bytemuck::pod_align_to_mut::<A, __m128i>(out);
    let (x_head, x) = x.split_at(head.len());
    let (x, x_tail) = x.split_at(vectors.len() * lanes);
    store_plain(x_head, head, f);
    store_plain(x_tail, tail, f);
    for (to, x) in vectors.iter_mut().zip(x.chunks_exact(lanes)) {
        let mut vector = *to;
        store_plain(x, bytemuck::cast_slice_mut(std::slice::from_mut(&mut vector)), f);
        // SAFETY: `to` is a reference to a vector, so aligned to 16 bytes and writable.
        unsafe { _mm_stream_si128(to, vector) }
    }
    // SAFETY: SSE is part of every x86-64; the fence orders the stores above before whatever follows.
    unsafe { _mm_sfence() }
}

#[cfg(not(target_arch = "x86_64"))]
fn store_streaming<X: Copy, A: Pod>(x: &[X], out: &mut [A], f: &impl Fn(X, A) -> A) {
    store_plain(x, out, f);
}

fn in_pieces<T: Element, A: Send>(x: &[T], out: &mut [A], f: &(impl Fn(&[T], &mut [A]) + Sync)) {
    fn halves<T: Element, A: Send>(
        pieces: usize,
        x: &[T],
        out: &mut [A],
        f: &(impl Fn(&[T], &mut [A]) + Sync),
    ) {
        if pieces < 2 {
            return f(x, out);
        }
        let at = x.len() / pieces * (pieces / 2) / 64 * 64;
        let ((x0, x1), (out0, out1)) = (x.split_at(at), out.split_at_mut(out.len() * at / x.len().max(1)));
        rayon::join(|| halves(pieces / 2, x0, out0, f), || halves(pieces - pieces / 2, x1, out1, f));
    }
    halves(rayon::current_num_threads(), x, out, f);
}
