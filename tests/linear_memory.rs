//! What a fused linear layer takes of memory: at most 32 MiB, whatever the shape. A process of its own,
//! whose allocator counts.
#![cfg(feature = "linear")]
#![allow(unsafe_code)]

use gradix::{Linear, LinearGradients, LinearXent, SoftmaxXent, View};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator, whose calls are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: as the caller has promised.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller has promised.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn scratch_is_at_most_32_mib() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("two threads");
    for [rows, columns, classes] in [
        [1, 1, 1],
        [3_000, 4, 1_000],
        [1_000_000, 2, 3],
        [300, 4_000, 600],
        [2_000, 2, 20_000],
        [200, 4, 50_257],
        [600, 2, 256_000],
        [2, 1, 9_000_000],
        [5, 1, 9_000_000],
    ] {
        let x: Vec<f32> = (0..rows * columns).map(|i| (i % 7) as f32 / 8.0).collect();
        let weight: Vec<f32> = (0..classes * columns).map(|i| (i % 11) as f32 / 8.0).collect();
        let labels: Vec<u32> = (0..rows).map(|i| (i * 7919 % classes) as u32).collect();
        let (mut dx, mut dw, mut db) = (x.clone(), weight.clone(), vec![0.0; classes]);
        let layer = Linear::new(
            View::new(&x, &[rows, columns]).expect("a matrix"),
            View::new(&weight, &[classes, columns]).expect("a matrix"),
        );
        for (fused, bound) in [
            (LinearXent::new(SoftmaxXent::new()), 32 << 20),
            (LinearXent::new(SoftmaxXent::new()).scratch_bytes(4 << 20), 10 << 20),
        ] {
            let before = NOW.load(Ordering::Relaxed);
            MOST.store(before, Ordering::Relaxed);
            let to = LinearGradients::new().x(&mut dx).weight(&mut dw).bias(&mut db);
            pool.install(|| fused.forward_backward(layer, &labels, to)).expect("a layer");
            let most = MOST.load(Ordering::Relaxed) - before;
            assert!(most <= bound, "{rows} x {columns} x {classes}: {most} bytes");
        }
    }
}
