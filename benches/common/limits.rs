//! What the memory allows: the least that anything which touches the same bytes must take. Each is shared by the
//! threads of the current rayon pool in equal pieces and compiled for the best instructions of this CPU.

use super::data::Element;
use pulp::Arch;
use std::hint::black_box;

/// `out = a · x`: one read, one write. The limit of softmax cross-entropy.
pub fn scale<T: Element>(x: &[T], a: T, out: &mut [T]) {
    in_pieces(x, out, &|x, out| {
        Arch::new().dispatch(
            #[inline(always)]
            || out.iter_mut().zip(x).for_each(|(out, &x)| *out = a * x),
        )
    });
}

/// `out = x`: one read, one write. The limit of gathers, which write as many bytes.
pub fn copy<T: Element>(x: &[T], out: &mut [T]) {
    in_pieces(x, out, &|x, out| out.copy_from_slice(x));
}

/// `out += x`, element by element. The limit of scatters, which read as many bytes.
pub fn add<T: Element>(x: &[T], out: &mut [T]) {
    in_pieces(x, out, &|x, out| {
        Arch::new().dispatch(
            #[inline(always)]
            || out.iter_mut().zip(x).for_each(|(out, &x)| *out += x),
        )
    });
}

/// The sum of `x`: one read.
pub fn sum<T: Element>(x: &[T]) {
    sum_and_store(x, &mut [] as &mut [T]);
}

/// The sum of `x`, and a store to all of `out`: one read, and as many bytes written as the answer has. The limit of
/// selections.
pub fn sum_and_store<T: Element, A: Copy + Send + num_traits::One>(x: &[T], out: &mut [A]) {
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
                out.fill(A::one());
            },
        )
    });
}

/// `out = x` past the caches: no line of `out` is read. What a kernel may reach that never reads its output again.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub fn stream(x: &[f32], out: &mut [f32]) {
    use std::arch::x86_64::{__m128, _mm_sfence, _mm_stream_ps};
    in_pieces(x, out, &|x, out| {
        let (_, from, _) = bytemuck::pod_align_to::<f32, __m128>(x);
        let (_, to, _) = bytemuck::pod_align_to_mut::<f32, __m128>(out);
        for (to, &from) in to.iter_mut().zip(from) {
            // SAFETY: `to` is a reference to a vector, so aligned to 16 bytes and writable.
            unsafe { _mm_stream_ps((to as *mut __m128).cast(), from) }
        }
        // SAFETY: SSE is part of every x86-64; the fence orders the stores above before whatever follows.
        unsafe { _mm_sfence() }
    });
}

/// As [`copy`], where there are no such stores.
#[cfg(not(target_arch = "x86_64"))]
pub fn stream(x: &[f32], out: &mut [f32]) {
    copy(x, out);
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
