//! Memory that a check takes, held against the length of its input: libFuzzer's own limit needs a sanitizer's allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};

/// Octets that any input may cost in most targets: tables, buffers of a fixed size, and what the check itself keeps.
pub const USUAL: usize = 8 << 20;
/// Octets that each octet of the input may cost besides.
const OCTETS_FOR_EACH_MAX: usize = 512;

static LIVE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

/// The system's allocator, counting what is alive and what was at most.
pub struct Counting;

fn grow(octets: usize) {
    let octets = octets.cast_signed();
    PEAK.fetch_max(LIVE.fetch_add(octets, Relaxed) + octets, Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size().cast_signed(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, octets: usize) -> *mut u8 {
        grow(octets);
        LIVE.fetch_sub(layout.size().cast_signed(), Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, octets) }
    }
}

/// Runs a check of an input of so many octets, which may cost `octets_max` octets of memory and [`OCTETS_FOR_EACH_MAX`] for each
/// of its own.
///
/// # Panics
/// When the check takes more memory than such an input may cost.
pub fn bounded(octets_max: usize, input_octets: usize, check: impl FnOnce()) {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    check();
    let taken = usize::try_from(PEAK.load(Relaxed) - before).unwrap_or(0);
    let limit = octets_max + OCTETS_FOR_EACH_MAX * input_octets;
    assert!(taken <= limit, "{input_octets} octets made the parser take {taken} octets of memory");
}
