//! What arrays hold: plain types, whose values are moved as bits.

/// A type that the operations which only move elements take: every integer and floating-point type, `bool`, with the
/// feature `half` `f16` and `bf16`. (Other plain types go as their bytes: see `View::bytes`, feature `bytemuck`.)
///
/// Kernels move such elements by their size alone, so a gather of `i32` is that of `f32`.
pub trait Element: Copy + Default + Send + Sync + std::fmt::Debug + sealed::Sealed + 'static {}

/// What [`Element`] promises inside the crate: implementors have no padding, so that their bytes may be read, and a
/// value's bytes make the same value elsewhere.
pub(crate) mod sealed {
    pub trait Sealed: Sized {
        /// The bytes of the value, and zeros after them.
        fn bytes(self) -> [u8; 16];
    }
}

macro_rules! numbers {
    ($($t:ty)*) => {$(
        impl Element for $t {}
        impl sealed::Sealed for $t {
            #[inline]
            fn bytes(self) -> [u8; 16] {
                let mut bytes = [0; 16];
                bytes[..size_of::<Self>()].copy_from_slice(&self.to_ne_bytes());
                bytes
            }
        }
    )*};
}
numbers!(u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64);
#[cfg(feature = "half")]
numbers!(half::f16 half::bf16);

impl Element for bool {}
impl sealed::Sealed for bool {
    #[inline]
    fn bytes(self) -> [u8; 16] {
        u8::from(self).bytes()
    }
}
