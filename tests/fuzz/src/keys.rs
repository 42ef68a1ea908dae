//! The keys file, and the text of a key-encryption key: a changed file is refused, or nothing that it opens is lost.

use std::sync::LazyLock;

use hilum_store::MasterKey;
use hilum_store::embedded::{read_through, rotate, verify};

use crate::disk::{Sample, change, key, log, mend_keys, mend_segment, records};
use crate::memory;
use crate::script::Script;

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

static SAMPLE: LazyLock<Sample> = LazyLock::new(Sample::new);

/// Changes the keys file and opens the store with it.
pub fn check(octets: &[u8]) {
    let mut script = Script(octets);
    let choice = script.octet();
    if choice & 8 != 0 {
        return text(script.0);
    }
    let mut files = vec![SAMPLE.keys()];
    script.changes(|script| change(script, &mut files, records));
    if choice & 1 != 0 {
        mend_keys(&mut files[0]);
    }
    let named = |mut segment: Vec<u8>| (mend_segment(&mut segment), segment);
    let segments: Vec<_> = SAMPLE.segments().into_iter().map(named).collect();
    SAMPLE.put(&segments, &files[0], true);

    let verified = verify(&SAMPLE.dir, &key(), None, &mut |_| {});
    let opened = read_through(&SAMPLE.dir, &key(), &log());
    assert_eq!(verified.is_ok(), opened.is_ok());
    let (Ok(reports), Ok((served, error))) = (verified, opened) else { return };
    for (entry, appended) in served.iter().zip(&SAMPLE.entries) {
        assert_eq!(entry.octets, appended, "at {}", entry.offset);
    }
    let is_damaged = reports.iter().any(|report| !report.damage.is_empty());
    assert_eq!(is_damaged, error.is_some(), "{error:?}");
    assert!(error.is_some() || served.len() == SAMPLE.entries.len(), "entries are missing");
    if choice & 2 != 0 && !is_damaged {
        check_rotation();
    }
}

/// A file that opens can be wrapped anew.
fn check_rotation() {
    let kek = SAMPLE.dir.join("kek");
    std::fs::write(&kek, &*key().to_hex()).expect("there is room");
    rotate(&SAMPLE.dir, &kek).expect("what opens can be wrapped anew");
    let new = MasterKey::from_file(&kek).expect("it was written a moment ago");
    let (served, error) = read_through(&SAMPLE.dir, &new, &log()).expect("the new key opens it");
    assert!(error.is_none() && served.len() == SAMPLE.entries.len());
    assert!(read_through(&SAMPLE.dir, &key(), &log()).is_err(), "the old key opens it no more");
}

/// A key has one text in each encoding.
fn text(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let Ok(key) = MasterKey::from_text(text) else { return };
    let hex = key.to_hex();
    let again = MasterKey::from_text(&hex).expect("it was written a moment ago");
    assert_eq!(again.to_hex(), hex);
    assert!(text.trim().len() != hex.len() || text.trim().eq_ignore_ascii_case(&hex));
}

/// No change, each kind of change, and texts of keys.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = (0..4).map(|choice| vec![choice]).collect();
    for choice in [0, 1, 3] {
        for action in 0..9 {
            for begin in 0..3 {
                seeds.push(vec![choice, 0, 0, begin, 12, action, 40, 0, 60, 0, 7, 7]);
            }
        }
    }
    seeds.push([&[8][..], &[b'7'; 64]].concat());
    seeds.push([&[8][..], b" AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"].concat());
    seeds
}
