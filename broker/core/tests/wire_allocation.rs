//! What a peer sends makes us allocate in proportion to it, whatever lengths it announces.

#![expect(unsafe_code, reason = "an allocator that counts is the only way to see allocations")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use hilum_core::limits::FRAME_OCTETS_MAX;
use hilum_core::session::Incoming;
use hilum_core::wire::{Frame, FrameDecoder, Open, publisher, subscription};
use proptest::prelude::*;

struct Counting;

thread_local! {
    /// Octets allocated and not freed by this thread, and the most there were.
    static HELD: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

fn count(more: usize, less: usize) {
    // It fails only while the thread ends.
    let _ = HELD.try_with(|held| {
        let (now, peak) = held.get();
        let now = (now + more).saturating_sub(less);
        held.set((now, peak.max(now)));
    });
}

// SAFETY: all calls go to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as our caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as our caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that `work` held at a time beyond what was held before.
fn peak(work: impl FnOnce()) -> usize {
    let before = HELD.with(|held| {
        let (now, _) = held.get();
        held.set((now, now));
        now
    });
    work();
    HELD.with(Cell::get).1 - before
}

/// Lists, texts and error messages that a frame of this size may need: 256 records with 32 attributes each of two empty texts are the
/// costliest octets there are.
fn allowance(octets: usize) -> usize {
    24 * octets + 200_000
}

fn decode(octets: &Bytes) {
    drop(Open::decode(octets));
    drop(publisher::ToBroker::decode(octets));
    drop(publisher::ToClient::decode(octets));
    drop(subscription::ToBroker::decode(octets));
    drop(subscription::ToClient::decode(octets));
}

#[test]
fn the_counter_counts() {
    assert!(peak(|| drop(std::hint::black_box(vec![0_u8; 5000]))) >= 5000);
}

#[test]
fn an_announced_frame_allocates_nothing_before_it_comes() {
    let announced = u32::try_from(FRAME_OCTETS_MAX).unwrap().to_le_bytes();
    let held = peak(|| {
        let mut decoder = FrameDecoder::new();
        decoder.push(&announced);
        assert_eq!(decoder.next_frame(), Ok(None));
        decoder.push(&[0; 100]);
        assert_eq!(decoder.next_frame(), Ok(None));
    });
    assert!(held < 64 * 1024, "{held}");
}

#[test]
fn announced_lists_and_texts_allocate_nothing_before_they_come() {
    // A publish frame whose list, head and texts announce far more than is there.
    let giants: [&[u8]; 4] = [
        &[0, 1, 255, 255, 255, 255, 15],
        &[0, 1, 200, 1, 0, 0, 0, 1, 255, 255, 255, 255, 15],
        &[0, 1, 1, 0, 0, 0, 0, 255, 255, 255, 255, 15],
        &[0, 1, 1, 0, 0, 0, 0, 0, 255, 255, 255, 255, 15],
    ];
    for octets in giants {
        let frame = Bytes::from_static(octets);
        let held = peak(|| assert!(publisher::ToBroker::decode(&frame).is_err()));
        assert!(held < allowance(octets.len()), "{held} for {octets:?}");
    }
}

#[test]
fn the_costliest_frame_stays_within_the_allowance() {
    // 256 records of 32 attributes without name and value: two octets each on the wire, two empty strings in memory.
    let mut octets = vec![0, 1, 0x80, 2];
    for _ in 0..256 {
        // Three times, no key, an empty content type.
        octets.extend([0, 0, 0, 0, 0, 32]);
        octets.extend([0; 64]);
        // No labels, no trace, an empty body.
        octets.extend([0, 0, 0]);
    }
    let frame = Bytes::from(octets);
    let mut decoded = None;
    let held = peak(|| decoded = Some(publisher::ToBroker::decode(&frame)));
    let Some(Ok(publisher::ToBroker::Publish(publish))) = decoded else { panic!("it is a valid frame") };
    assert_eq!(publish.records.len(), 256);
    assert!(held <= allowance(frame.len()), "{held} for {} octets", frame.len());
}

proptest! {
    #[test]
    fn arbitrary_octets_allocate_in_proportion(octets in proptest::collection::vec(any::<u8>(), 0..4000)) {
        let frame = Bytes::from(octets.clone());
        let held = peak(|| decode(&frame));
        prop_assert!(held <= allowance(octets.len()), "{held} for {}", octets.len());
        let held = peak(|| {
            let mut incoming = Incoming::new();
            for chunk in octets.chunks(100) {
                incoming.handle_data(chunk);
                drop(incoming.poll_accept());
            }
        });
        prop_assert!(held <= allowance(octets.len()), "{held} for {}", octets.len());
    }
}
