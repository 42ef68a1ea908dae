//! The model of the disk, and the same seen through the kernel.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;

use super::disk::ROOT;
use super::file::SECTOR_OCTETS;
use super::*;

const AT_ONCE: Sync = Sync::Honest(Duration::ZERO);

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

/// Names and contents after a cut.
fn after(mut disk: Disk, survival: Survival) -> Vec<(String, Vec<u8>)> {
    disk.cut(survival);
    assert_eq!(disk.names(ROOT), Err(Errno::EIO), "there is no power");
    disk.restore();
    let mut found = Vec::new();
    walk(&disk, ROOT, "", &mut found);
    found
}

fn walk(disk: &Disk, directory: Number, path: &str, found: &mut Vec<(String, Vec<u8>)>) {
    for (name, number) in disk.names(directory).unwrap() {
        let path = format!("{path}/{}", name.display());
        match &disk.node(*number).unwrap().kind {
            Kind::File(file) => found.push((path, file.read(0, file.size()).to_vec())),
            Kind::Directory(_) => walk(disk, *number, &path, found),
        }
    }
}

fn sync(disk: &mut Disk, number: Number) {
    let now = disk.now().unwrap();
    disk.sync(number, now).unwrap();
}

fn file(disk: &mut Disk, directory: Number, text: &str) -> Number {
    disk.make(directory, name(text), 0o600, Kind::File(File::default())).unwrap()
}

fn directory(disk: &mut Disk, parent: Number, text: &str) -> Number {
    disk.make(parent, name(text), 0o700, Kind::Directory(Directory::default())).unwrap()
}

#[test]
fn octets_need_a_sync_of_the_file_and_names_one_of_the_directory() {
    let mut disk = Disk::new();
    let both = file(&mut disk, ROOT, "both");
    disk.write(both, 0, b"synced").unwrap();
    sync(&mut disk, both);
    let named = file(&mut disk, ROOT, "named");
    disk.write(named, 0, b"never").unwrap();
    sync(&mut disk, ROOT);
    disk.write(both, 6, b", not synced").unwrap();
    let lost = file(&mut disk, ROOT, "lost");
    disk.write(lost, 0, b"synced").unwrap();
    sync(&mut disk, lost);
    let expected = [("/both".to_owned(), b"synced".to_vec()), ("/named".to_owned(), Vec::new())];
    assert_eq!(after(disk, Survival::Nothing), expected);
}

#[test]
fn what_is_written_during_a_sync_is_not_synced_by_it() {
    let mut disk = Disk::new();
    let number = file(&mut disk, ROOT, "file");
    disk.write(number, 0, b"before").unwrap();
    let called = disk.now().unwrap();
    disk.write(number, 0, b"during").unwrap();
    disk.resize(number, 3).unwrap();
    disk.sync(number, called).unwrap();
    sync(&mut disk, ROOT);
    assert_eq!(after(disk, Survival::Nothing), [("/file".to_owned(), b"before".to_vec())]);
}

#[test]
fn a_rename_is_whole_and_takes_what_it_builds_on_along() {
    let mut disk = Disk::new();
    let (from, to) = (directory(&mut disk, ROOT, "from"), directory(&mut disk, ROOT, "to"));
    sync(&mut disk, ROOT);
    let moved = file(&mut disk, from, "incoming");
    disk.write(moved, 0, b"x").unwrap();
    sync(&mut disk, moved);
    disk.rename((from, name("incoming")), (to, name("staged"))).unwrap();
    file(&mut disk, from, "later");
    sync(&mut disk, to);
    // Neither its old name nor what was made after it is there.
    assert_eq!(after(disk, Survival::Nothing), [("/to/staged".to_owned(), b"x".to_vec())]);
}

#[test]
fn a_directory_that_nobody_synced_takes_its_files_with_it_and_a_removal_can_be_undone() {
    let mut disk = Disk::new();
    let kept = file(&mut disk, ROOT, "kept");
    sync(&mut disk, ROOT);
    disk.remove(ROOT, name("kept"), false).unwrap();
    assert_eq!(disk.find(ROOT, name("kept")), Err(Errno::ENOENT));
    let inner = directory(&mut disk, ROOT, "inner");
    let number = file(&mut disk, inner, "file");
    sync(&mut disk, number);
    sync(&mut disk, inner);
    disk.write(kept, 0, b"it is still open").unwrap();
    assert_eq!(after(disk, Survival::Nothing), [("/kept".to_owned(), Vec::new())]);
}

#[test]
fn chance_leaves_sectors_and_is_the_same_for_a_seed() {
    let old = vec![b'o'; 5 * SECTOR_OCTETS];
    let new = vec![b'n'; 4 * SECTOR_OCTETS];
    let cut = |seed| {
        let mut disk = Disk::new();
        let number = file(&mut disk, ROOT, "file");
        disk.write(number, 0, &old).unwrap();
        sync(&mut disk, number);
        sync(&mut disk, ROOT);
        disk.write(number, 100, &new).unwrap();
        after(disk, Survival::Chance(seed)).remove(0).1
    };
    let (mut kept, mut lost, mut torn) = (0, 0, 0);
    for seed in 0..60 {
        let octets = cut(seed);
        assert!(octets == cut(seed));
        assert_eq!(octets.len(), old.len());
        assert!(octets[..100].iter().all(|octet| *octet == b'o'), "before the write");
        for sector in octets.chunks(SECTOR_OCTETS).take(4).skip(1) {
            assert!(sector.windows(2).all(|pair| pair[0] == pair[1]), "a sector is whole");
        }
        match octets.iter().filter(|octet| **octet == b'n').count() {
            0 => lost += 1,
            all if all == new.len() => kept += 1,
            _ => torn += 1,
        }
    }
    assert!(kept > 5 && lost > 5 && torn > 5, "{kept} kept, {lost} lost, {torn} torn");
}

#[test]
fn a_sector_is_never_left_with_a_later_write_and_without_an_earlier_one() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let mut disk = Disk::new();
        let number = file(&mut disk, ROOT, "file");
        sync(&mut disk, ROOT);
        disk.write(number, 0, &[1; 100]).unwrap();
        disk.write(number, 100, &[2; SECTOR_OCTETS]).unwrap();
        let [(_, left)] = &after(disk, Survival::Chance(seed))[..] else { panic!("the name was synced") };
        let first = |at: usize| left.get(at).copied().unwrap_or_default();
        assert!(first(100) == 0 || first(0) == 1, "seed {seed}");
        seen.insert((first(0), first(100), first(SECTOR_OCTETS)));
    }
    let expected = [(0, 0, 0), (0, 0, 2), (1, 0, 0), (1, 0, 2), (1, 2, 0), (1, 2, 2)];
    assert_eq!(seen, BTreeSet::from(expected));
}

#[test]
fn a_process_sees_a_file_system_and_after_a_cut_only_what_it_synced() {
    let place = tempfile::tempdir().unwrap();
    let mut disk = FragileDisk::mount(place.path(), AT_ONCE);
    let path = |name: &str| place.path().join(name);
    fs::create_dir_all(path("a/b")).unwrap();
    let mut written = fs::File::create(path("a/b/file")).unwrap();
    written.write_all(&vec![7; 300_000]).unwrap();
    written.sync_data().unwrap();
    fs::rename(path("a/b/file"), path("a/b/renamed")).unwrap();
    for directory in ["a/b", "a", ""] {
        fs::File::open(path(directory)).unwrap().sync_all().unwrap();
    }
    written.seek(SeekFrom::Start(10)).unwrap();
    written.write_all(b"lost").unwrap();
    written.set_len(5).unwrap();
    fs::write(path("a/lost"), "lost").unwrap();
    let seen = |directory: &str| {
        let entries = fs::read_dir(path(directory)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(seen("a"), ["b", "lost"]);
    assert_eq!(fs::read(path("a/b/renamed")).unwrap(), [7; 5]);

    disk.cut(Survival::Nothing);
    assert!(written.sync_all().is_err());
    assert!(written.write_all_at(b"too late", 0).is_err());
    drop(written);
    disk.restore();
    assert_eq!((seen("a"), seen("a/b")), (vec!["b".into()], vec!["renamed".into()]));
    assert!(fs::read(path("a/b/renamed")).unwrap() == vec![7; 300_000]);
    fs::remove_dir_all(path("a")).unwrap();
    assert_eq!(seen(""), Vec::<std::ffi::OsString>::new());
}

#[test]
fn a_lying_disk_forgets_what_was_synced() {
    let place = tempfile::tempdir().unwrap();
    let mut disk = FragileDisk::mount(place.path(), Sync::Lying);
    let file = fs::File::create(place.path().join("file")).unwrap();
    file.sync_all().unwrap();
    fs::File::open(place.path()).unwrap().sync_all().unwrap();
    drop(file);
    disk.cut(Survival::Nothing);
    disk.restore();
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}
