//! Segments of a log: recovery, reading, verifying and repairing what a script made of sound files, or of no file at all.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use hilum_store::LogEntry;
use hilum_store::embedded::{RepairError, read_through, repair, verify};

use crate::disk::{Sample, broker, change, frames, key, log, mend_segment};
use crate::memory;
use crate::script::Script;

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

static SAMPLE: LazyLock<Sample> = LazyLock::new(Sample::new);

/// Nothing is served that was not appended; nothing is missing unless it is said; what is repaired is sound.
pub fn check(octets: &[u8]) {
    let mut script = Script(octets);
    let choice = script.octet();
    let is = |bit: u8| choice & (1 << bit) != 0;
    let (is_mended, with_ends, is_repaired) = (is(0), is(1), is(2));
    let mut segments = SAMPLE.segments();
    if is(3) {
        // Whatever follows is the last segment, after its header.
        let last = segments.last_mut().expect("there are several");
        last.truncate(128);
        last.extend_from_slice(script.0);
    } else {
        script.changes(|script| change(script, &mut segments, frames));
    }
    let named = named(&mut segments, is_mended);
    SAMPLE.put(&named, &SAMPLE.keys(), with_ends);

    let damage = damage();
    let (served, error) = read_through(&SAMPLE.dir, &key(), &log()).expect("the files can be read");
    let offsets = check_served(&served);
    if with_ends && error.is_none() {
        assert_eq!(offsets.len(), SAMPLE.entries.len(), "entries are missing and nobody said so");
    }
    assert_eq!(error.is_some(), damage > 0, "verify found {damage}, reading said {error:?}");
    if is_repaired {
        SAMPLE.put(&named, &SAMPLE.keys(), with_ends);
        check_repair(with_ends, &offsets);
    }
}

/// The segments, with their checksums set right if so wished, and the names that their files have.
fn named(segments: &mut [Vec<u8>], is_mended: bool) -> Vec<(String, Vec<u8>)> {
    segments
        .iter_mut()
        .zip(SAMPLE.segments())
        .map(|(segment, mut original)| {
            let name = if is_mended { mend_segment(segment) } else { mend_segment(&mut original) };
            (name, segment.clone())
        })
        .collect()
}

/// How much damage there is.
fn damage() -> usize {
    let reports = verify(&SAMPLE.dir, &key(), None, &mut |_| {}).expect("the files can be read");
    reports.iter().map(|report| report.damage.len()).sum()
}

/// What is served is what was appended there.
fn check_served(served: &[LogEntry]) -> BTreeSet<u64> {
    assert!(served.is_sorted_by(|a, b| a.offset < b.offset));
    for entry in served {
        let appended = usize::try_from(entry.offset.0).ok().and_then(|offset| SAMPLE.entries.get(offset));
        assert_eq!(Some(&entry.octets[..]), appended.map(Vec::as_slice), "at {}", entry.offset);
    }
    served.iter().map(|entry| entry.offset.0).collect()
}

/// After a repair nothing is damaged, nothing more is gone, and what is gone was named.
fn check_repair(with_ends: bool, before: &BTreeSet<u64>) {
    let repaired = match repair(&SAMPLE.dir, &key(), &log(), &broker()) {
        // A forged file says that it begins far away, or was written anew too often; an operator has to look at it.
        Err(RepairError::TooFar { .. } | RepairError::TooOften { .. }) => return,
        repaired => repaired.expect("the files can be written"),
    };
    assert_eq!(damage(), 0, "after a repair of {:?}", repaired.lost);
    let (served, error) = read_through(&SAMPLE.dir, &key(), &log()).expect("the files can be read");
    assert!(error.is_none(), "after a repair: {error:?}");
    let after = check_served(&served);
    assert!(after.is_superset(before), "a repair gives up what could be read");
    if with_ends {
        for offset in 0..SAMPLE.entries.len() as u64 {
            let is_lost = repaired
                .lost
                .iter()
                .any(|lost| lost.first.0 <= offset && lost.end.is_none_or(|end| offset < end.0));
            assert!(after.contains(&offset) || is_lost, "{offset} is gone and was not named");
        }
    }
}

/// No change, each kind of change, and a last segment that is anything.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = (0..8).map(|choice| vec![choice]).collect();
    for choice in [2, 3, 6, 7] {
        for action in 0..9 {
            for place in [(0, 0), (1, 1), (2, 2)] {
                seeds.push(vec![choice, place.0, 1, place.1, 12, action, 40, 0, 60, 0, 7, 7]);
            }
        }
        seeds.push([&[choice | 8][..], b"HFRM", &[0; 70]].concat());
    }
    seeds
}
