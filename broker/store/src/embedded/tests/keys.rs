//! The key-encryption key is changed, also while the power goes off at any step.

use super::power::{PowerDisk, Random};
use super::*;
use crate::embedded::disk::new_name;
use crate::embedded::rotation::{RotateError, rotate_on, settle_locked};

/// A store under a key that stands in a file, with an entry, a body and a value.
struct Sample {
    dir: TempDir,
    blob: hilum_core::record::BlobRef,
}

impl Sample {
    fn new() -> Self {
        let dir = tempdir().unwrap();
        let key = MasterKey::generate().unwrap();
        std::fs::create_dir(dir.path().join("data")).unwrap();
        std::fs::write(dir.path().join("kek"), &*key.to_hex()).unwrap();
        let store = Self::open(dir.path()).unwrap();
        append(&store, &["x", "yy"]).unwrap();
        let blob = write_blob(store.blobs().as_ref(), &pattern(1000)).unwrap();
        assert!(block_on(store.meta().compare_and_set(b"k", None, Some(b"v"))).unwrap());
        store.close();
        Self { dir, blob }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn key_file(&self) -> PathBuf {
        self.dir.path().join("kek")
    }

    /// Opens as a broker does.
    fn open(dir: &Path) -> Result<Store, RotateError> {
        let (data, kek) = (dir.join("data"), dir.join("kek"));
        settle(&data, &kek)?;
        Ok(Store::open(&data, MasterKey::from_file(&kek)?, Settings::default())?)
    }

    fn check(&self, store: &Store, texts: &[&str]) {
        assert_eq!(contents(store).unwrap(), plain(texts));
        assert_eq!(block_on(store.blobs().read(&self.blob, 0, 2000)).unwrap(), pattern(1000));
    }
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn a_rotated_key_opens_everything_and_the_old_one_nothing() {
    let sample = Sample::new();
    let segments =
        || segment_files(&sample.data()).iter().map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>();
    let (old, before) = (MasterKey::from_file(&sample.key_file()).unwrap(), segments());
    assert_eq!(rotate(&sample.data(), &sample.key_file()).unwrap(), 2, "one for each source");
    assert_eq!(segments(), before, "no record is rewritten");
    assert_ne!(text(&sample.key_file()).trim(), &*old.to_hex());
    assert!(!new_name(&sample.key_file()).exists());
    let refused = Store::open(&sample.data(), old, Settings::default()).unwrap_err();
    assert!(matches!(refused, OpenError::WrongKey { .. }), "{refused}");
    let store = Sample::open(sample.dir.path()).unwrap();
    sample.check(&store, &["x", "yy"]);
    assert_eq!(block_on(store.meta().get(b"k")).unwrap().unwrap(), "v", "cursors live on");
    append(&store, &["on"]).unwrap();
    let busy = rotate(&sample.data(), &sample.key_file()).unwrap_err();
    assert!(matches!(busy, RotateError::Open(OpenError::Locked { .. })), "{busy}");
    store.close();
    for _ in 0..3 {
        rotate(&sample.data(), &sample.key_file()).unwrap();
        sample.check(&Sample::open(sample.dir.path()).unwrap(), &["x", "yy", "on"]);
    }
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(sample.key_file()).unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "the new key is its owner's only");
}

#[test]
fn a_wrong_or_missing_key_is_refused_before_anything_changes() {
    let sample = Sample::new();
    let (right, keys) = (text(&sample.key_file()), std::fs::read(sample.data().join("keys")).unwrap());
    std::fs::write(sample.key_file(), "0".repeat(64)).unwrap();
    let refused = rotate(&sample.data(), &sample.key_file()).unwrap_err();
    assert!(matches!(refused, RotateError::Open(OpenError::WrongKey { .. })), "{refused}");
    std::fs::remove_file(sample.key_file()).unwrap();
    let refused = rotate(&sample.data(), &sample.key_file()).unwrap_err();
    assert!(matches!(refused, RotateError::KeyFile(crate::KeyFileError::Io { .. })), "{refused}");
    assert_eq!(std::fs::read(sample.data().join("keys")).unwrap(), keys);
    std::fs::write(sample.key_file(), right).unwrap();
    sample.check(&Sample::open(sample.dir.path()).unwrap(), &["x", "yy"]);
}

#[test]
fn a_rotation_may_be_cut_off_at_every_step() {
    let mut random = Random(1);
    let (mut with_old, mut with_new) = (0, 0);
    for step in 1.. {
        let mut is_done = false;
        for _ in 0..8 {
            let sample = Sample::new();
            let old = text(&sample.key_file());
            let disk = PowerDisk::new(sample.dir.path());
            disk.cut_at(step);
            is_done = rotate_on(&disk, &sample.data(), &sample.key_file()).is_ok();
            let found = tempdir().unwrap();
            disk.image(found.path(), &mut random);
            let store = Sample::open(found.path()).unwrap_or_else(|error| panic!("step {step}: {error}"));
            sample.check(&store, &["x", "yy"]);
            if text(&found.path().join("kek")) == old {
                with_old += 1;
            } else {
                with_new += 1;
            }
            assert!(!new_name(&found.path().join("kek")).exists(), "step {step}: settled");
        }
        if is_done {
            break;
        }
    }
    assert!(with_old > 20 && with_new > 10, "{with_old} {with_new}");
}

/// The start that ends an interrupted rotation may be interrupted too.
#[test]
fn settling_may_be_cut_off_as_well() {
    let mut random = Random(2);
    for rotate_step in [5, 8, 9, 10, 11] {
        for settle_step in 1..5 {
            let sample = Sample::new();
            let disk = PowerDisk::new(sample.dir.path());
            disk.cut_at(rotate_step);
            drop(rotate_on(&disk, &sample.data(), &sample.key_file()));
            let half = tempdir().unwrap();
            disk.image(half.path(), &mut random);
            let disk = PowerDisk::new(half.path());
            disk.cut_at(settle_step);
            drop(settle_locked(&disk, &half.path().join("data"), &half.path().join("kek")));
            let found = tempdir().unwrap();
            disk.image(found.path(), &mut random);
            let store = Sample::open(found.path()).unwrap();
            sample.check(&store, &["x", "yy"]);
        }
    }
}
