//! The store on disk: the conformance suite, restarts, and who may open it. Damage and faults have files of their own.

mod damage;
mod faults;
mod faulty;
mod keys;
mod power;
mod power_cut;
mod secrecy;

use tempfile::{TempDir, tempdir};

use super::*;
use crate::conformance::{block_on, entry, event, pattern, read_all, scans, source, suite, write_blob};
use crate::{AppendError, BlobError, Durability, MetaError, ReadError};
use hilum_core::Offset;

fn key() -> MasterKey {
    MasterKey::new([1; 32])
}

fn open(dir: &TempDir) -> Store {
    open_with(dir, SEGMENT_OCTETS)
}

fn open_with(dir: &TempDir, segment_octets: u64) -> Store {
    Store::open(dir.path(), key(), Settings { segment_octets, ..Settings::default() }).unwrap()
}

fn append(store: &Store, texts: &[&str]) -> Result<u64, AppendError> {
    let batch = texts.iter().map(|text| entry(text)).collect();
    block_on(store.log().append(&scans(), batch, Durability::Fsynced)).map(|offset| offset.0)
}

/// What is in the log, as octets of entries.
fn contents(store: &Store) -> Result<Vec<Vec<u8>>, ReadError> {
    let entries = read_all(store.log().as_ref(), &scans(), 0)?;
    Ok(entries.into_iter().map(|entry| entry.octets.to_vec()).collect())
}

fn plain(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| entry(text).into_octets()).collect()
}

/// The segment files of the log, in order.
fn segment_files(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir.join("log").join(scans().to_string())).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "seg"));
    files.sort();
    files
}

#[test]
fn conforms() {
    for segment_octets in [SEGMENT_OCTETS, 2000] {
        let dir = tempdir().unwrap();
        let store = open_with(&dir, segment_octets);
        suite(store.log().as_ref(), store.blobs().as_ref(), store.meta().as_ref());
        store.close();
        let store = open_with(&dir, segment_octets);
        assert_eq!(block_on(store.log().bounds(&scans())).unwrap().end, 122);
        assert_eq!(block_on(store.meta().get(b"a/1")).unwrap().unwrap(), "a/1");
    }
}

#[tokio::test]
async fn works_inside_an_executor_too() {
    let dir = tempdir().unwrap();
    let store = open(&dir);
    let offset = store.log().append(&scans(), vec![entry("a")], Durability::Fsynced).await.unwrap();
    assert_eq!(store.log().read(&scans(), offset, 100).await.unwrap().len(), 1);
}

#[test]
fn goes_on_where_it_ended() {
    let dir = tempdir().unwrap();
    for round in 0..3 {
        let store = open(&dir);
        assert_eq!(append(&store, &["x", "yy"]).unwrap(), round * 2);
        store.close();
    }
    let store = open(&dir);
    assert_eq!(contents(&store).unwrap(), plain(&["x", "yy", "x", "yy", "x", "yy"]));
    assert_eq!(segment_files(dir.path()).len(), 3, "a run never writes into the segment of another");
    let salts: std::collections::BTreeSet<Vec<u8>> =
        segment_files(dir.path()).iter().map(|file| std::fs::read(file).unwrap()[20..36].to_vec()).collect();
    assert_eq!(salts.len(), 3);
}

#[test]
fn a_log_that_was_only_opened_gains_no_segment() {
    let dir = tempdir().unwrap();
    let store = open(&dir);
    append(&store, &["x"]).unwrap();
    drop(store);
    for _ in 0..3 {
        drop(open(&dir));
    }
    assert_eq!(segment_files(dir.path()).len(), 1);
}

#[test]
fn a_second_broker_is_refused_by_name_of_the_directory() {
    let dir = tempdir().unwrap();
    let store = open(&dir);
    let refused = Store::open(dir.path(), key(), Settings::default()).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }));
    assert!(refused.to_string().contains(dir.path().to_str().unwrap()), "{refused}");
    store.close();
    drop(open(&dir));
}

#[test]
fn a_closed_store_refuses_everything() {
    let dir = tempdir().unwrap();
    let store = open(&dir);
    append(&store, &["x"]).unwrap();
    let (log, blobs, meta) = (store.log(), store.blobs(), store.meta());
    let mut writer = block_on(blobs.create(&scans(), &source("a"))).unwrap();
    store.close();
    assert!(matches!(
        block_on(log.append(&scans(), vec![entry("x")], Durability::Fsynced)),
        Err(AppendError::Closed)
    ));
    assert!(matches!(block_on(log.read(&scans(), Offset(0), 1)), Err(ReadError::Closed)));
    assert!(matches!(block_on(writer.write(pattern(1))), Err(BlobError::Closed)));
    assert!(matches!(block_on(blobs.staged()), Err(BlobError::Closed)));
    assert!(matches!(block_on(meta.get(b"a")), Err(MetaError::Closed)));
}

#[test]
fn trimming_deletes_whole_segments_for_good() {
    let dir = tempdir().unwrap();
    let store = open_with(&dir, 500);
    for _ in 0..20 {
        append(&store, &["one", "three"]).unwrap();
    }
    let before = segment_files(dir.path()).len();
    block_on(store.log().trim(&scans(), Offset(21))).unwrap();
    let bounds = block_on(store.log().bounds(&scans())).unwrap();
    assert!(bounds.start > 10 && bounds.start <= 21, "{bounds:?}");
    assert!(segment_files(dir.path()).len() < before);
    store.close();
    let store = open(&dir);
    assert_eq!(block_on(store.log().bounds(&scans())).unwrap(), bounds);
    assert_eq!(contents(&store).unwrap().len() as u64, bounds.end - bounds.start);
    block_on(store.log().trim(&scans(), Offset(u64::MAX))).unwrap();
    assert_eq!(segment_files(dir.path()).len(), 0, "an idle log gives everything back");
    assert_eq!(block_on(store.log().usage(&scans())).unwrap(), crate::Usage::default());
    assert_eq!(block_on(store.log().bounds(&scans())).unwrap(), 40..40);
    store.close();
    let store = open(&dir);
    assert_eq!(append(&store, &["on"]).unwrap(), 40, "offsets are not used again");
    append(&store, &["and on"]).unwrap();
    block_on(store.log().trim(&scans(), Offset(41))).unwrap();
    assert_eq!(contents(&store).unwrap(), plain(&["on", "and on"]), "a segment with a younger entry stays");
    block_on(store.log().trim(&scans(), Offset(42))).unwrap();
    assert_eq!(segment_files(dir.path()).len(), 0, "not even the one being written stays");
    assert_eq!(append(&store, &["on"]).unwrap(), 42);
}

#[test]
fn what_a_writer_left_is_deleted_and_what_was_staged_is_told() {
    let dir = tempdir().unwrap();
    let store = open(&dir);
    append(&store, &["x"]).unwrap();
    let staged = write_blob(store.blobs().as_ref(), &pattern(300_000)).unwrap();
    let committed = write_blob(store.blobs().as_ref(), &pattern(10)).unwrap();
    block_on(store.blobs().commit(committed.id)).unwrap();
    let mut writer = block_on(store.blobs().create(&scans(), &source("a"))).unwrap();
    block_on(writer.write(pattern(1_000_000))).unwrap();
    let incoming = dir.path().join("blobs/incoming");
    assert_eq!(std::fs::read_dir(&incoming).unwrap().count(), 1);
    // As in a crash, nobody is left to clean up.
    std::mem::forget(writer);
    drop(store);
    let store = open(&dir);
    assert_eq!(std::fs::read_dir(&incoming).unwrap().count(), 0);
    let found = block_on(store.blobs().staged()).unwrap();
    assert_eq!(found, [crate::StagedBlob { id: staged.id, log: scans(), since: Offset(1) }]);
    assert_eq!(block_on(store.blobs().read(&staged, 0, 300_000)).unwrap(), pattern(300_000));
    assert_eq!(block_on(store.blobs().read(&committed, 0, 10)).unwrap(), pattern(10));
}

#[test]
fn a_dropped_writer_leaves_no_file() {
    let dir = tempdir().unwrap();
    let store = open(&dir);
    let mut writer = block_on(store.blobs().create(&scans(), &source("a"))).unwrap();
    block_on(writer.write(pattern(1_000_000))).unwrap();
    drop(writer);
    store.close();
    for part in ["incoming", "staged", "committed"] {
        assert_eq!(std::fs::read_dir(dir.path().join("blobs").join(part)).unwrap().count(), 0, "{part}");
    }
}

#[test]
fn losing_the_metadata_loses_nothing_else() {
    let dir = tempdir().unwrap();
    let store = open(&dir);
    append(&store, &["x"]).unwrap();
    assert!(block_on(store.meta().compare_and_set(b"k", None, Some(b"v"))).unwrap());
    store.close();
    std::fs::remove_dir_all(dir.path().join("meta")).unwrap();
    let store = open(&dir);
    assert_eq!(block_on(store.meta().get(b"k")).unwrap(), None);
    assert_eq!(contents(&store).unwrap(), plain(&["x"]));
    assert!(block_on(store.meta().compare_and_set(b"k", None, Some(b"v"))).unwrap());
    store.close();
    std::fs::remove_dir_all(dir.path().join("meta")).unwrap();
    std::fs::write(dir.path().join("meta"), b"not even a directory").unwrap();
    let store = open(&dir);
    assert!(dir.path().join("meta.damaged").is_file());
    assert_eq!(block_on(store.meta().get(b"k")).unwrap(), None);
    assert_eq!(contents(&store).unwrap(), plain(&["x"]));
}

#[test]
fn damaged_metadata_never_keeps_the_store_closed_nor_gives_another_value() {
    let dir = tempdir().unwrap();
    let store = open(&dir);
    let value = |number: u32| number.to_string().repeat(50).into_bytes();
    for number in 0..50_u32 {
        let set = store.meta().compare_and_set(&number.to_le_bytes(), None, Some(&value(number)));
        assert!(block_on(set).unwrap());
    }
    store.close();
    let files = ["meta/db", "meta/conf"].map(|file| dir.path().join(file));
    let originals = files.clone().map(|file| std::fs::read(file).unwrap());
    for (round, step) in [3, 17, 101, 997].into_iter().enumerate() {
        let _ = std::fs::remove_dir_all(dir.path().join("meta"));
        std::fs::create_dir(dir.path().join("meta")).unwrap();
        for (file, original) in files.iter().zip(&originals) {
            let mut octets = original.clone();
            octets.iter_mut().skip(round).step_by(step).for_each(|octet| *octet ^= 0x10);
            std::fs::write(file, octets).unwrap();
        }
        let store = open(&dir);
        for number in 0..50_u32 {
            if let Ok(Some(found)) = block_on(store.meta().get(&number.to_le_bytes())) {
                assert_eq!(found, value(number));
            }
        }
    }
}

/// Copies a file, or a directory with all that is in it.
fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        std::fs::copy(from, to).unwrap();
        return;
    }
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        copy(&path, &to.join(path.file_name().unwrap()));
    }
}

#[test]
fn what_was_acknowledged_is_there_after_a_crash_at_any_time() {
    let dir = tempdir().unwrap();
    let store = open_with(&dir, 2000);
    for round in 0..12 {
        assert_eq!(append(&store, &["x", "yy"]).unwrap(), round * 2);
        // What a killed broker leaves is what the files hold now, without any closing.
        let image = tempdir().unwrap();
        for part in ["log", "blobs", "keys"] {
            copy(&dir.path().join(part), &image.path().join(part));
        }
        let found = open(&image);
        let count = usize::try_from(round).unwrap() + 1;
        assert_eq!(contents(&found).unwrap(), plain(&["x", "yy"].repeat(count)));
        assert_eq!(append(&found, &["on"]).unwrap(), round * 2 + 2);
    }
}

#[test]
fn reads_see_whole_durable_entries_while_others_append_and_trim() {
    const ENTRIES: u64 = 2000;
    let dir = tempdir().unwrap();
    let store = open_with(&dir, 5000);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let log = store.log();
                let mut next = 0;
                while next < ENTRIES {
                    for found in block_on(log.read(&scans(), Offset(next), 4000)).unwrap() {
                        assert!(found.offset.0 >= next, "in order");
                        let expected = entry(&format!("{:04}", found.offset.0)).into_octets();
                        assert_eq!(found.octets, expected);
                        next = found.offset.0 + 1;
                    }
                }
            });
        }
        for number in 0..ENTRIES {
            let offset = append(&store, &[&format!("{number:04}")]).unwrap();
            assert_eq!(offset, number);
            if number % 100 == 0 {
                block_on(store.log().trim(&scans(), Offset(number.saturating_sub(50)))).unwrap();
            }
        }
    });
    assert!(block_on(store.log().bounds(&scans())).unwrap().start > 1000);
}
