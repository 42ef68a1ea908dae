//! Compiled components on disk: found again, and never trusted for lying there.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use hilum_sandbox::{Cache, Sandbox, Settings};

use crate::support::component;

const SECRET: &[u8] = b"a key of the hospital";

fn sandbox(folder: &Path, secret: &[u8], settings: Settings) -> Sandbox {
    Sandbox::new(settings).unwrap().with_cache(Cache::open(folder, secret).unwrap())
}

fn settings() -> Settings {
    Settings { instances: 4, ..Settings::default() }
}

/// The entries, in order of their names.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

/// Loads a guest, and says whether that made or remade an entry.
fn compiles(sandbox: &Sandbox, folder: &Path, guest: &str) -> bool {
    let stamp = |folder: &Path| {
        let of = |path: PathBuf| (fs::metadata(&path).unwrap().modified().unwrap(), fs::read(&path).unwrap());
        entries(folder).into_iter().map(of).collect::<Vec<_>>()
    };
    let before = stamp(folder);
    sandbox.load(component(guest)).unwrap();
    stamp(folder) != before
}

#[test]
fn what_was_compiled_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("data/compiled");
    let first = sandbox(&folder, SECRET, settings());
    let began = Instant::now();
    assert!(compiles(&first, &folder, "gate"));
    let compiled = began.elapsed();
    assert!(compiles(&first, &folder, "counter"), "each component has an entry of its own");
    let again = sandbox(&folder, SECRET, settings());
    let began = Instant::now();
    assert!(!compiles(&again, &folder, "gate"));
    println!("compiled in {compiled:?}, loaded in {:?}", began.elapsed());
    for entry in entries(&folder) {
        assert_eq!(fs::metadata(entry).unwrap().permissions().mode() & 0o777, 0o600);
    }
    // Another engine has entries of its own.
    let other = sandbox(&folder, SECRET, Settings { memory_octets: 128 << 20, ..settings() });
    other.load(component("gate")).unwrap();
}

#[test]
fn an_entry_that_was_changed_is_compiled_again() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("compiled");
    let sandbox = sandbox(&folder, SECRET, settings());
    sandbox.load(component("gate")).unwrap();
    let entry = entries(&folder).remove(0);
    let whole = fs::read(&entry).unwrap();
    let changes: [fn(&mut Vec<u8>); 5] = [
        |octets| octets[0] ^= 1,
        |octets| *octets.last_mut().unwrap() ^= 1,
        |octets| {
            let middle = octets.len() / 2;
            octets[middle] ^= 0x80;
        },
        |octets| octets.truncate(octets.len() - 1),
        Vec::clear,
    ];
    for (index, change) in changes.into_iter().enumerate() {
        let mut octets = whole.clone();
        change(&mut octets);
        fs::write(&entry, octets).unwrap();
        sandbox.load(component("gate")).unwrap();
        assert!(fs::read(&entry).unwrap() == whole, "change {index} was loaded, or not mended");
    }
}

#[test]
fn an_entry_of_somebody_else_is_not_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let (ours, theirs) = (directory.path().join("ours"), directory.path().join("theirs"));
    let sandbox_of_theirs = sandbox(&theirs, b"another key", settings());
    sandbox_of_theirs.load(component("gate")).unwrap();
    let entry = entries(&theirs).remove(0);
    let sandbox = sandbox(&ours, SECRET, settings());
    sandbox.load(component("gate")).unwrap();
    let place = entries(&ours).remove(0);
    assert_eq!(place.file_name(), entry.file_name());
    let own = fs::read(&place).unwrap();
    fs::copy(&entry, &place).unwrap();
    sandbox.load(component("gate")).unwrap();
    assert!(fs::read(&place).unwrap() == own);
    // One of ours, under the name of another component.
    sandbox.load(component("counter")).unwrap();
    let other = entries(&ours).into_iter().find(|path| *path != place).unwrap();
    let counter = fs::read(&other).unwrap();
    fs::copy(&place, &other).unwrap();
    assert_eq!(sandbox.load(component("counter")).unwrap().description().name, "counter");
    assert!(fs::read(&other).unwrap() == counter);
}

#[test]
fn a_folder_that_others_can_read_is_no_cache() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let error = Cache::open(directory.path(), SECRET).unwrap_err();
    assert!(error.to_string().contains("mode is 755"), "{error}");
}
