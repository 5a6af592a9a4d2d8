//! What every test of equality shares: all levels, several thread counts, arrays at every misalignment.

#![allow(dead_code, unreachable_pub)] // each test file uses its part, of all that is shared

pub mod calls;
pub mod guarded;
pub mod indexed;
pub mod jobs;
pub mod strided;

use gradix::Level;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::OnceLock;

/// Runs `check` at every level that this CPU has, in pools of 1, 2 and 5 threads.
///
/// With `GRADIX_REQUIRE_LEVELS` (names separated by commas) a level that cannot run here fails the test instead of
/// being left out.
pub fn everywhere(mut check: impl FnMut(Level, usize) + Send) {
    static POOLS: OnceLock<Vec<ThreadPool>> = OnceLock::new();
    let pools = POOLS.get_or_init(|| {
        [1, 2, 5]
            .map(|n| ThreadPoolBuilder::new().num_threads(n).build().expect("threads to test with"))
            .into()
    });
    if let Ok(required) = std::env::var("GRADIX_REQUIRE_LEVELS") {
        for name in required.split(',') {
            let here = Level::available().iter().any(|level| level.name() == name);
            assert!(here, "level {name} is required and this CPU does not have it");
        }
    }
    for pool in pools {
        for &level in Level::available() {
            let threads = pool.current_num_threads();
            pool.install(|| level.run(|| check(level, threads))).expect("an available level");
        }
    }
}

/// `len` elements that start `misalignment` elements into their allocation.
pub fn misaligned<T: Copy>(misalignment: usize, filler: T, elements: &[T]) -> Vec<T> {
    let mut buffer = vec![filler; misalignment];
    buffer.extend_from_slice(elements);
    buffer
}
