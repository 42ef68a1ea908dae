//! The power is cut at any write, again and again: nothing that was acknowledged is lost or changed, nothing that was erased
//! comes back, and no torn write is taken for damage.

use std::collections::BTreeSet;

use super::power::{PowerDisk, Random};
use super::*;
use crate::conformance::entry_of;
use hilum_core::record::BlobRef;
use hilum_core::{Entry, LogName};

const LIVES: u64 = 3;
const SEEDS: u64 = 110;

fn open_power(dir: &Path, disk: &PowerDisk) -> Result<Store, OpenError> {
    let settings = Settings { segment_octets: 3000, ..Settings::default() };
    Store::open_on(Arc::new(disk.clone()), dir, &key(), &settings)
}

/// What must be there: for each entry ever acknowledged its text, and what became of it.
#[derive(Default)]
struct Model {
    /// The texts of two logs by offset; none where nobody knows.
    acked: [Vec<(u64, String)>; 2],
    /// Acknowledged as erased or trimmed.
    gone: [BTreeSet<u64>; 2],
    /// Erasures and trims that were not answered.
    maybe_gone: [BTreeSet<u64>; 2],
    bodies: Vec<(BlobRef, usize)>,
}

const LOGS: [&str; 2] = ["scans", "vitals"];

fn log_name(number: usize) -> LogName {
    LogName::Quarantine(LOGS[number].parse().unwrap())
}

fn batch(number: usize, random: &mut Random) -> (Vec<String>, Vec<Entry>) {
    let text = |random: &mut Random| format!("{:x}", random.next()).repeat(random.length(60) + 1);
    let texts: Vec<String> = (0..=random.below(4)).map(|_| text(random)).collect();
    let entries = texts.iter().map(|text| entry_of(LOGS[number], text)).collect();
    (texts, entries)
}

/// One run of a broker until the power goes off.
fn live(store: &Store, disk: &PowerDisk, model: &mut Model, random: &mut Random) {
    for _ in 0..60 {
        if disk.is_off() {
            return;
        }
        let number = random.length(2);
        let name = log_name(number);
        match random.below(12) {
            0 => {
                let known: Vec<u64> = model.acked[number].iter().map(|(offset, _)| *offset).collect();
                let chosen: Vec<u64> = known.into_iter().filter(|_| random.below(6) == 0).collect();
                let erased = block_on(store.log().erase(&name, chosen.iter().map(|o| Offset(*o)).collect()));
                let set = if erased.is_ok() { &mut model.gone } else { &mut model.maybe_gone };
                set[number].extend(chosen);
            }
            1 => {
                let end = model.acked[number].last().map_or(0, |(offset, _)| offset + 1);
                let before = random.below(end + 1);
                // Only what is in whole segments goes, so what goes is not certain either way.
                let _ = block_on(store.log().trim(&name, Offset(before)));
                model.maybe_gone[number].extend(0..before);
            }
            2 => {
                let octets = random.length(2000) + 1;
                if let Ok(blob) = write_blob(store.blobs().as_ref(), &pattern(octets)) {
                    model.bodies.push((blob, octets));
                }
            }
            _ => {
                let count = random.below(5) + 1;
                let batches: Vec<_> = (0..count).map(|_| batch(number, random)).collect();
                let append = |entries| store.log().append(&name, entries, Durability::Fsynced);
                let pending: Vec<_> =
                    batches.into_iter().map(|(texts, entries)| (texts, append(entries))).collect();
                for (texts, append) in pending {
                    if let Ok(first) = block_on(append) {
                        model.acked[number].extend((first.0..).zip(texts));
                    }
                }
            }
        }
    }
}

fn check(store: &Store, model: &mut Model, place: &str) {
    for (number, log) in LOGS.iter().enumerate() {
        let found = read_all(store.log().as_ref(), &log_name(number), 0);
        let found = found.unwrap_or_else(|error| panic!("{place}: {error}"));
        let mut found: HashMap<u64, bytes::Bytes> =
            found.into_iter().map(|entry| (entry.offset.0, entry.octets)).collect();
        for (offset, text) in &model.acked[number] {
            match found.remove(offset) {
                Some(octets) => {
                    assert!(!model.gone[number].contains(offset), "{place}: {offset} was erased and is back");
                    assert_eq!(octets, entry_of(log, text).into_octets(), "{place}: {offset} is another");
                }
                None => {
                    let may_be_gone =
                        model.gone[number].contains(offset) || model.maybe_gone[number].contains(offset);
                    assert!(may_be_gone, "{place}: {offset} was acknowledged and is lost");
                }
            }
        }
    }
    for (blob, octets) in &model.bodies {
        let found =
            block_on(store.blobs().read(blob, 0, 5000)).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(found, pattern(*octets), "{place}");
    }
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let mut model = Model::default();
    let mut dir = tempdir().unwrap();
    for life in 0..LIVES {
        let place = format!("seed {seed}, life {life}");
        let disk = PowerDisk::new(dir.path());
        // Sometimes the power goes off before the store is even open.
        disk.cut_at(random.below(if life == 0 { 120 } else { 200 }) + 1);
        if let Ok(store) = open_power(dir.path(), &disk) {
            if !disk.is_off() {
                check(&store, &mut model, &place);
            }
            live(&store, &disk, &mut model, &mut random);
            assert!(disk.operations() > 0);
        }
        let next = tempdir().unwrap();
        disk.image(next.path(), &mut random);
        dir = next;
    }
    let disk = PowerDisk::new(dir.path());
    let store = open_power(dir.path(), &disk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    check(&store, &mut model, &format!("seed {seed}, at last"));
    for number in 0..2 {
        let (_, entries) = batch(number, &mut random);
        let end = model.acked[number].last().map_or(0, |(offset, _)| offset + 1);
        let offset = block_on(store.log().append(&log_name(number), entries, Durability::Fsynced)).unwrap();
        assert!(offset.0 >= end, "seed {seed}: an acknowledged offset is used again");
    }
}

#[test]
fn nothing_acknowledged_is_lost_when_the_power_is_cut() {
    let from: u64 = std::env::var("HILUM_SEED").map_or(0, |seed| seed.parse().unwrap());
    let count = if from > 0 { 1 } else { SEEDS };
    for seed in from..from + count {
        run(seed);
    }
}
