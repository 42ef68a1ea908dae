//! What is on disk tells nothing without the key.

use super::*;

fn all_octets(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(all_octets(&path)),
            false => files.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    files
}

#[test]
fn nothing_plain_is_in_any_file() {
    const CANARY: &str = "Doe^Jane^MRN-4711-canary";
    let dir = tempdir().unwrap();
    let store = open(&dir);
    append(&store, &[CANARY]).unwrap();
    let body: Vec<u8> = CANARY.bytes().cycle().take(600_000).collect();
    let blob = write_blob(store.blobs().as_ref(), &body.into()).unwrap();
    block_on(store.blobs().commit(blob.id)).unwrap();
    write_blob(store.blobs().as_ref(), &CANARY.into()).unwrap();
    assert!(block_on(store.meta().compare_and_set(b"state", None, Some(CANARY.as_bytes()))).unwrap());
    store.close();
    let files = all_octets(dir.path());
    assert!(files.iter().map(|(_, octets)| octets.len()).sum::<usize>() > 600_000);
    for (path, octets) in files {
        for secret in [CANARY.as_bytes(), &[1; 32]] {
            let leaked = octets.windows(secret.len()).any(|window| window == secret);
            assert!(!leaked, "in {}", path.display());
        }
    }
    assert!(
        contents(&open(&dir)).unwrap()[0].windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
    );
}

#[test]
fn files_are_their_owners_only() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempdir().unwrap();
    let store = open(&dir);
    append(&store, &["x"]).unwrap();
    let blob = write_blob(store.blobs().as_ref(), &pattern(1)).unwrap();
    let files = [
        dir.path().join("keys"),
        dir.path().join("log"),
        dir.path().join("blobs/staged").join(blob.id.to_string()),
        segment_files(dir.path()).remove(0),
    ];
    for file in files {
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o077, 0, "{}", file.display());
    }
}

#[test]
fn another_key_is_refused() {
    let dir = tempdir().unwrap();
    let open_with_other =
        || Store::open(dir.path(), MasterKey::new([2; 32]), Settings::default()).unwrap_err();
    drop(open(&dir));
    assert!(matches!(open_with_other(), OpenError::WrongKey { .. }), "before there is a data key");
    let store = open(&dir);
    append(&store, &["x"]).unwrap();
    store.close();
    assert!(matches!(open_with_other(), OpenError::WrongKey { .. }));
    assert_eq!(contents(&open(&dir)).unwrap(), plain(&["x"]));
}

#[test]
fn lost_keys_are_told_and_not_made_anew() {
    let dir = tempdir().unwrap();
    let store = open(&dir);
    append(&store, &["x"]).unwrap();
    store.close();
    let path = dir.path().join("keys");
    let keys = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let refused = Store::open(dir.path(), key(), Settings::default()).unwrap_err();
    assert!(matches!(refused, OpenError::KeysMissing { .. }), "{refused}");
    std::fs::write(&path, keys).unwrap();
    assert_eq!(contents(&open(&dir)).unwrap(), plain(&["x"]));
}
