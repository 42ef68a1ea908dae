//! A disk that is full, and one that fails: what was acknowledged stays, what was refused is not there.

use std::thread::sleep;
use std::time::Duration;

use super::faulty::FaultyDisk;
use super::*;
use crate::limits::BLOB_DIRTY_OCTETS_MAX;

fn open_faulty(dir: &TempDir, disk: &FaultyDisk) -> Store {
    Store::open_on(Arc::new(disk.clone()), dir.path(), &key(), &Settings::default()).unwrap()
}

#[test]
fn a_full_disk_refuses_and_then_goes_on() {
    // However many octets of the batches still fit, whether of the keys, the header or the frames.
    for room in (0..2000).step_by(37) {
        let dir = tempdir().unwrap();
        let disk = FaultyDisk::default();
        let store = open_faulty(&dir, &disk);
        disk.0.lock().room = Some(room);
        let log = store.log();
        let pending: Vec<_> = (0..3)
            .map(|_| log.append(&scans(), vec![entry("x"), entry("yy")], Durability::Fsynced))
            .collect();
        let answers: Vec<_> = pending.into_iter().map(block_on).collect();
        let accepted = answers.iter().take_while(|answer| answer.is_ok()).count();
        for refused in &answers[accepted..] {
            let error = refused.as_ref().unwrap_err();
            assert!(matches!(error, AppendError::DiskFull(_)) && error.is_retryable(), "{error}");
        }
        let mut expected = plain(&["x", "yy"].repeat(accepted));
        assert_eq!(contents(&store).unwrap(), expected, "room {room}");
        disk.0.lock().room = None;
        assert_eq!(append(&store, &["later"]).unwrap(), accepted as u64 * 2, "room {room}");
        expected.extend(plain(&["later"]));
        assert_eq!(contents(&store).unwrap(), expected);
        store.close();
        assert_eq!(contents(&open(&dir)).unwrap(), expected, "room {room}");
    }
}

#[test]
fn a_full_disk_refuses_blobs_and_keeps_nothing_of_them() {
    let dir = tempdir().unwrap();
    let disk = FaultyDisk::default();
    let store = open_faulty(&dir, &disk);
    for room in [0, 100, 300_000] {
        disk.0.lock().room = Some(room);
        let refused = write_blob(store.blobs().as_ref(), &pattern(1_000_000)).unwrap_err();
        assert!(matches!(refused, BlobError::DiskFull(_)) && refused.is_retryable(), "{refused}");
        assert_eq!(std::fs::read_dir(dir.path().join("blobs/incoming")).unwrap().count(), 0);
    }
    disk.0.lock().room = None;
    let blob = write_blob(store.blobs().as_ref(), &pattern(1_000_000)).unwrap();
    assert_eq!(block_on(store.blobs().read(&blob, 0, 1_000_000)).unwrap(), pattern(1_000_000));
}

#[test]
fn a_failed_blob_writer_stays_failed() {
    let dir = tempdir().unwrap();
    let disk = FaultyDisk::default();
    let store = open_faulty(&dir, &disk);
    let mut writer = block_on(store.blobs().create(&scans(), &source("a"))).unwrap();
    disk.0.lock().room = Some(0);
    assert!(block_on(writer.write(pattern(600_000))).is_err());
    disk.0.lock().room = None;
    assert!(matches!(block_on(writer.write(pattern(1))), Err(BlobError::WriterFailed)));
    assert!(matches!(block_on(writer.finish()), Err(BlobError::WriterFailed)));
    assert!(block_on(store.blobs().staged()).unwrap().is_empty());
}

/// Waits for the first sync of a portion, which happens behind the writer.
fn wait_for_sync(disk: &FaultyDisk, before: u32) {
    for _ in 0..10_000 {
        if disk.0.lock().syncs > before {
            return;
        }
        sleep(Duration::from_millis(1));
    }
    panic!("no portion was synced");
}

#[test]
fn a_portion_that_was_not_made_durable_fails_the_body_though_later_ones_were() {
    let dir = tempdir().unwrap();
    let disk = FaultyDisk::default();
    let store = open_faulty(&dir, &disk);
    for more in [0, BLOB_DIRTY_OCTETS_MAX] {
        let mut writer = block_on(store.blobs().create(&scans(), &source("a"))).unwrap();
        let before = {
            let mut plan = disk.0.lock();
            plan.syncs_fail = true;
            plan.syncs
        };
        block_on(writer.write(pattern(BLOB_DIRTY_OCTETS_MAX + 600_000))).unwrap();
        wait_for_sync(&disk, before);
        disk.0.lock().syncs_fail = false;
        let written = block_on(writer.write(pattern(more)));
        let refused = written.and_then(|()| block_on(writer.finish())).unwrap_err();
        assert!(matches!(&refused, BlobError::Io(fault) if fault.to_string().contains("fsync")), "{refused}");
        assert!(block_on(store.blobs().staged()).unwrap().is_empty());
        assert_eq!(std::fs::read_dir(dir.path().join("blobs/incoming")).unwrap().count(), 0);
    }
}

#[test]
fn a_portion_is_written_while_the_one_before_it_is_made_durable() {
    let dir = tempdir().unwrap();
    let disk = FaultyDisk::default();
    let store = open_faulty(&dir, &disk);
    let body = pattern(2 * BLOB_DIRTY_OCTETS_MAX - 600_000);
    let mut writer = block_on(store.blobs().create(&scans(), &source("a"))).unwrap();
    disk.0.lock().stalled = Some("incoming");
    block_on(writer.write(body.clone())).unwrap();
    disk.0.lock().stalled = None;
    let blob = block_on(writer.finish()).unwrap();
    assert_eq!(block_on(store.blobs().read(&blob, 0, body.len())).unwrap(), body);
}

fn poisons(fail: impl Fn(&FaultyDisk, bool)) {
    let dir = tempdir().unwrap();
    let disk = FaultyDisk::default();
    let store = open_faulty(&dir, &disk);
    append(&store, &["acked"]).unwrap();
    fail(&disk, true);
    let refused = append(&store, &["lost"]).unwrap_err();
    assert!(matches!(refused, AppendError::Poisoned { .. }) && !refused.is_retryable(), "{refused}");
    fail(&disk, false);
    let again = append(&store, &["lost too"]).unwrap_err();
    assert!(
        matches!(again, AppendError::Poisoned { .. }),
        "the disk is well again, but nobody knows what it holds"
    );
    assert_eq!(contents(&store).unwrap(), plain(&["acked"]), "what is durable may be read");
    store.close();
    let store = open(&dir);
    let found = contents(&store).unwrap();
    assert!(
        found == plain(&["acked"]) || found == plain(&["acked", "lost"]),
        "the unknown batch is whole or not there"
    );
    assert_eq!(append(&store, &["on"]).unwrap(), found.len() as u64);
}

#[test]
fn a_failed_fsync_poisons() {
    poisons(|disk, fail| disk.0.lock().syncs_fail = fail);
}

#[test]
fn a_failed_write_poisons() {
    poisons(|disk, fail| disk.0.lock().writes_fail = fail);
}

#[test]
fn a_full_disk_that_cannot_be_cleaned_up_poisons() {
    poisons(|disk, fail| {
        let mut plan = disk.0.lock();
        plan.room = fail.then_some(50);
        plan.truncates_fail = fail;
    });
}

#[test]
fn failed_keys_poison() {
    let dir = tempdir().unwrap();
    let disk = FaultyDisk::default();
    let store = open_faulty(&dir, &disk);
    disk.0.lock().syncs_fail = true;
    assert!(matches!(append(&store, &["x"]), Err(AppendError::Poisoned { .. })));
    disk.0.lock().syncs_fail = false;
    store.close();
    let store = open(&dir);
    assert_eq!(append(&store, &["x"]).unwrap(), 0);
}

#[test]
fn a_poisoned_log_leaves_the_others_alone() {
    let dir = tempdir().unwrap();
    let disk = FaultyDisk::default();
    let store = open_faulty(&dir, &disk);
    append(&store, &["x"]).unwrap();
    let event = hilum_core::audit::Event {
        time: hilum_core::Timestamp(1),
        principal: None,
        flow: None,
        subscription: None,
        offset: None,
        action: hilum_core::audit::Action::Lifecycle,
        reason: String::new(),
    };
    let audit = |number| {
        let entry = event.clone().into_entry(&source("broker"));
        let offset =
            block_on(store.log().append(&hilum_core::LogName::Audit, vec![entry], Durability::Fsynced));
        assert_eq!(offset.unwrap(), Offset(number));
    };
    audit(0);
    disk.0.lock().syncs_fail = true;
    append(&store, &["x"]).unwrap_err();
    disk.0.lock().syncs_fail = false;
    audit(1);
    assert!(append(&store, &["x"]).is_err());
}

#[test]
fn appends_share_their_fsyncs() {
    let dir = tempdir().unwrap();
    let disk = FaultyDisk::default();
    let store = open_faulty(&dir, &disk);
    append(&store, &["first"]).unwrap();
    let before = disk.0.lock().syncs;
    let log = store.log();
    // While the plan is locked the writer waits in its first fsync, and everything else queues up behind it.
    let plan = disk.0.lock();
    let pending: Vec<_> =
        (0..500).map(|_| log.append(&scans(), vec![entry("x")], Durability::Fsynced)).collect();
    drop(plan);
    let offsets: Vec<u64> = pending.into_iter().map(|append| block_on(append).unwrap().0).collect();
    assert_eq!(offsets, (1..501).collect::<Vec<_>>());
    let syncs = disk.0.lock().syncs - before;
    assert!((1..=3).contains(&syncs), "{syncs} fsyncs for 500 appends");
}

#[test]
fn a_log_whose_disk_stalls_holds_up_no_other() {
    let dir = tempdir().unwrap();
    let disk = FaultyDisk::default();
    let store = open_faulty(&dir, &disk);
    append(&store, &["first"]).unwrap();
    let log = store.log();
    disk.0.lock().stalled = Some("/quarantine.");
    let mut stalled: Vec<_> =
        (0..100).map(|_| log.append(&scans(), vec![entry("x")], Durability::Fsynced)).collect();
    for number in 0..100 {
        block_on(log.append(&hilum_core::LogName::Audit, vec![event(number)], Durability::Fsynced)).unwrap();
    }
    let waker = std::task::Waker::noop();
    let mut context = std::task::Context::from_waker(waker);
    assert!(stalled.iter_mut().all(|append| append.as_mut().poll(&mut context).is_pending()));
    disk.0.lock().stalled = None;
    let offsets: Vec<u64> = stalled.into_iter().map(|append| block_on(append).unwrap().0).collect();
    assert_eq!(offsets, (1..101).collect::<Vec<_>>());
}
