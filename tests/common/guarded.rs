//! Memory between two pages that nobody may touch: an access outside ends the test with a fault.

#![allow(unsafe_code)]

use bytemuck::Pod;
use region::{Allocation, Protection};

/// Which of the two pages the elements touch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Side {
    /// The first element stands right after the page in front.
    Front,
    /// The last element stands right before the page behind.
    Back,
}

pub const SIDES: [Side; 2] = [Side::Front, Side::Back];

pub struct Guarded {
    pages: Allocation,
    page: usize,
    /// The bytes between the two pages.
    room: usize,
}

impl Guarded {
    /// Room for at least so many bytes.
    pub fn new(bytes: usize) -> Self {
        let page = region::page::size();
        let room = bytes.max(1).next_multiple_of(page);
        let mut pages = region::alloc(room + 2 * page, Protection::READ_WRITE).expect("pages");
        let first = pages.as_mut_ptr::<u8>();
        for at in [0, page + room] {
            // SAFETY: a whole page of the allocation, to which no reference exists.
            unsafe { region::protect(first.add(at), page, Protection::NONE).expect("a page of our own") }
        }
        Guarded { pages, page, room }
    }

    /// These elements, at one of the ends.
    pub fn put<T: Pod>(&mut self, side: Side, elements: &[T]) -> &mut [T] {
        let bytes = size_of_val(elements);
        assert!(bytes <= self.room);
        let skip = if side == Side::Front { 0 } else { self.room - bytes };
        // SAFETY: inside the pages between the two, which are readable, writable and zeroed by the system; borrowed as
        // long as `self` is.
        let memory = unsafe {
            std::slice::from_raw_parts_mut(self.pages.as_mut_ptr::<u8>().add(self.page + skip), bytes)
        };
        let place: &mut [T] = bytemuck::cast_slice_mut(memory);
        place.copy_from_slice(elements);
        place
    }
}
