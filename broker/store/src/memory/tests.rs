//! The memory store: the conformance suite, and each fault.

use super::*;
use crate::conformance::{block_on, entry, pattern, read_all, scans, suite, write_blob};
use crate::{AppendError, BlobError, Durability, ReadError};

fn append(store: &Store, text: &str) -> Result<u64, AppendError> {
    block_on(store.log().append(&scans(), vec![entry(text)], Durability::Fsynced)).map(|offset| offset.0)
}

fn length(store: &Store) -> usize {
    read_all(store.log().as_ref(), &scans(), 0).unwrap().len()
}

#[test]
fn conforms() {
    let store = Store::new();
    suite(store.log().as_ref(), store.blobs().as_ref(), store.meta().as_ref());
}

#[test]
fn the_nth_append_fails_alone() {
    let store = Store::new();
    store.faults().fail_append(2);
    assert_eq!(append(&store, "a").unwrap(), 0);
    assert!(matches!(append(&store, "b"), Err(AppendError::Io(_))));
    assert_eq!(append(&store, "c").unwrap(), 1);
}

#[test]
fn a_failed_fsync_poisons_until_the_crash() {
    let store = Store::new();
    append(&store, "a").unwrap();
    store.faults().fail_sync(1);
    assert!(matches!(append(&store, "b"), Err(AppendError::Poisoned { .. })));
    assert!(matches!(append(&store, "c"), Err(AppendError::Poisoned { .. })));
    assert_eq!(length(&store), 1);
    let store = store.crash();
    assert_eq!(append(&store, "d").unwrap(), 1);
}

#[test]
fn a_full_disk_refuses_until_there_is_room() {
    let store = Store::new();
    store.faults().set_disk_full(true);
    assert!(append(&store, "a").unwrap_err().is_retryable());
    assert!(matches!(write_blob(store.blobs().as_ref(), &pattern(1)), Err(BlobError::DiskFull(_))));
    store.faults().set_disk_full(false);
    assert_eq!(append(&store, "a").unwrap(), 0);
}

#[test]
fn a_crash_keeps_what_is_durable_and_a_lying_fsync_makes_it_less() {
    let store = Store::new();
    append(&store, "a").unwrap();
    let kept = write_blob(store.blobs().as_ref(), &pattern(1)).unwrap();
    store.faults().set_lying_sync(true);
    assert_eq!(append(&store, "b").unwrap(), 1);
    let lost = write_blob(store.blobs().as_ref(), &pattern(2)).unwrap();
    block_on(store.blobs().commit(kept.id)).unwrap();
    assert_eq!(length(&store), 2);
    let log = store.log();
    let store = store.crash();
    assert_eq!(length(&store), 1);
    assert!(matches!(block_on(store.blobs().read(&lost, 0, 1)), Err(BlobError::NotFound(_))));
    assert_eq!(block_on(store.blobs().staged()).unwrap()[0].id, kept.id, "its commit was lost");
    assert!(matches!(block_on(log.read(&scans(), Offset(0), 1)), Err(ReadError::Closed)));
}

#[test]
fn held_appends_are_neither_shown_nor_kept() {
    let store = Store::new();
    store.faults().hold_syncs(true);
    let log = store.log();
    let first = log.append(&scans(), vec![entry("a")], Durability::Fsynced);
    let second = log.append(&scans(), vec![entry("b")], Durability::Fsynced);
    assert_eq!(length(&store), 0);
    store.faults().hold_syncs(false);
    assert_eq!((block_on(first).unwrap(), block_on(second).unwrap()), (Offset(0), Offset(1)));
    assert_eq!(length(&store), 2);
    store.faults().hold_syncs(true);
    let third = log.append(&scans(), vec![entry("c")], Durability::Fsynced);
    let store = store.crash();
    assert!(matches!(block_on(third), Err(AppendError::Closed)));
    assert_eq!(length(&store), 2);
}

#[test]
fn damage_and_lost_metadata() {
    let store = Store::new();
    append(&store, "a").unwrap();
    append(&store, "b").unwrap();
    store.faults().corrupt(&scans(), Offset(1));
    assert_eq!(block_on(store.log().read(&scans(), Offset(0), 1000)).unwrap().len(), 1);
    assert!(matches!(block_on(store.log().read(&scans(), Offset(1), 1000)), Err(ReadError::Corrupt(_))));
    assert!(matches!(append(&store, "c"), Err(AppendError::Corrupt(_))));
    assert!(block_on(store.meta().compare_and_set(b"k", None, Some(b"v"))).unwrap());
    store.faults().lose_meta();
    assert_eq!(block_on(store.meta().get(b"k")).unwrap(), None);
    store.close();
    assert!(matches!(block_on(store.meta().get(b"k")), Err(MetaError::Closed)));
}

#[test]
fn a_power_cut_may_leave_what_was_written_and_not_synced() {
    let store = Store::new();
    append(&store, "a").unwrap();
    store.faults().set_lying_sync(true);
    append(&store, "b").unwrap();
    append(&store, "c").unwrap();
    let (found, losses) = store.power_cut(|_, batches| {
        assert_eq!(batches, 2);
        1
    });
    assert_eq!(losses[&scans()], Loss { end: Offset(2), told: Offset(3) });
    assert_eq!(length(&found), 2);
    assert_eq!(append(&found, "d").unwrap(), 2);
}
