//! Damaged files: every changed octet is found or does no harm, a torn end is cut, nothing wrong is ever served.

use hilum_core::limits::BLOB_CHUNK_OCTETS;

use super::super::frame::{Kind, MARK_OCTETS, TAG_OCTETS};
use super::super::tear::{Piece, Walk};
use super::*;
use crate::embedded::{repair, verify};
use hilum_core::LogName;

/// A closed store with three segments: the files of its log and its keys, and what is in it.
struct Sample {
    dir: TempDir,
    files: Vec<(PathBuf, Vec<u8>)>,
    expected: Vec<Vec<u8>>,
}

impl Sample {
    fn new() -> Self {
        let sample = Self::of(500);
        assert_eq!(sample.segments(), 3);
        sample
    }

    fn of(segment_octets: u64) -> Self {
        let dir = tempdir().unwrap();
        let store = open_with(&dir, segment_octets);
        let mut expected = Vec::new();
        for batch in [["a", "bb"], ["c", "dddd"], ["eeee", "f"], ["g", "h"], ["i", "jj"]] {
            append(&store, &batch).unwrap();
            expected.extend(plain(&batch));
        }
        store.close();
        let mut files = segment_files(dir.path());
        files.push(dir.path().join("keys"));
        let files = files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
        Self { dir, files, expected }
    }

    /// The same without the end of a broker's run.
    fn crashed() -> Self {
        let dir = tempdir().unwrap();
        let store = open_with(&dir, 500);
        let mut expected = Vec::new();
        for batch in [["a", "bb"], ["c", "dddd"], ["eeee", "f"], ["g", "h"], ["i", "jj"]] {
            append(&store, &batch).unwrap();
            expected.extend(plain(&batch));
        }
        // Closed only so that the log can be opened again; the last mark and the ends are taken away.
        store.close();
        std::fs::remove_file(dir.path().join("ends")).unwrap();
        let mut paths = segment_files(dir.path());
        let last = paths.last().unwrap();
        let octets = std::fs::read(last).unwrap();
        std::fs::write(last, &octets[..octets.len() - MARK_OCTETS]).unwrap();
        paths.push(dir.path().join("keys"));
        let files = paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
        Self { dir, files, expected }
    }

    /// Puts the files as they were, but for one.
    fn put(&self, changed: usize, octets: &[u8]) {
        for (path, original) in &self.files {
            std::fs::write(path, original).unwrap();
        }
        std::fs::write(&self.files[changed].0, octets).unwrap();
    }

    /// What is found: the entries that are served, and whether damage is reported. Skips sled, which takes its time.
    fn open(&self) -> (Vec<Vec<u8>>, Option<String>) {
        match read_through(self.dir.path(), &key(), &scans()) {
            Ok((entries, error)) => {
                let entries = entries.into_iter().map(|entry| entry.octets.to_vec()).collect();
                (entries, error.map(|error| error.to_string()))
            }
            Err(error) => (Vec::new(), Some(error.to_string())),
        }
    }

    fn segments(&self) -> usize {
        self.files.len() - 1
    }

    /// Writes the last segment once more, as one that says that it begins elsewhere; its path.
    fn forge(&self, base: u64) -> PathBuf {
        let (path, mut octets) = self.files[self.segments() - 1].clone();
        octets[12..20].copy_from_slice(&base.to_le_bytes());
        let crc = crc32c::crc32c(&octets[..124]).to_le_bytes();
        octets[124..128].copy_from_slice(&crc);
        let forged = path.with_file_name(format!("{base:020}.seg"));
        std::fs::write(&forged, &octets).unwrap();
        forged
    }
}

/// The octets of a file that belong to marks, which say nothing that is not said elsewhere.
fn mark_octets(path: &Path, original: &[u8]) -> Vec<bool> {
    let mut is_mark = vec![false; original.len()];
    let Ok(segment) = segment::Segment::parse(path, &scans(), original) else { return is_mark };
    for piece in Walk::new(&segment, original, 0) {
        let Piece::Frame(at, header) = piece else { panic!("the original is whole: {piece:?}") };
        if header.kind == Kind::Mark {
            is_mark[at..at + MARK_OCTETS].fill(true);
        }
    }
    is_mark
}

/// Flips each bit position in turn over every octet of every file.
fn flip_everywhere(sample: &Sample) {
    for (number, (path, original)) in sample.files.iter().enumerate() {
        let is_mark = mark_octets(path, original);
        for at in 0..original.len() {
            let mut octets = original.clone();
            octets[at] ^= 1 << (at % 8);
            sample.put(number, &octets);
            let (entries, error) = sample.open();
            let place = format!("octet {at} of {}", path.display());
            assert!(sample.expected.starts_with(&entries), "{place}: something else was served");
            match error {
                Some(_) => {}
                None if entries == sample.expected => {
                    assert!(is_mark[at], "{place}: harmless, and not a mark");
                }
                None => panic!("{place}: acknowledged entries are silently missing"),
            }
        }
    }
}

#[test]
fn every_changed_octet_is_found_or_harmless() {
    flip_everywhere(&Sample::new());
}

/// What a killed broker leaves: nobody wrote down where the log ends, and the last group has no mark behind it. A changed
/// octet in it is still told from a torn write.
#[test]
fn every_changed_octet_is_found_after_a_crash_too() {
    flip_everywhere(&Sample::crashed());
}

#[test]
fn a_last_segment_cut_anywhere_after_a_crash_gives_what_is_before() {
    let sample = Sample::crashed();
    let last = sample.segments() - 1;
    let original = &sample.files[last].1;
    let mut lengths = std::collections::BTreeSet::new();
    for length in 0..=original.len() {
        sample.put(last, &original[..length]);
        let (entries, error) = sample.open();
        assert_eq!(error, None, "cut to {length}");
        assert!(sample.expected.starts_with(&entries));
        assert_eq!(entries.len() % 2, 0, "batches are whole");
        assert_eq!(sample.open(), (entries.clone(), None), "found the same again");
        lengths.insert(entries.len());
    }
    assert_eq!(lengths.last(), Some(&sample.expected.len()));
    assert!(lengths.len() > 1);
}

#[test]
fn a_segment_cut_anywhere_after_a_clean_end_is_told() {
    let sample = Sample::new();
    for number in 0..sample.segments() {
        let original = &sample.files[number].1;
        for length in 0..original.len() {
            sample.put(number, &original[..length]);
            let (entries, error) = sample.open();
            assert!(sample.expected.starts_with(&entries));
            match error {
                Some(error) => assert!(error.contains("corrupt from offset"), "{error}"),
                None => assert_eq!(
                    entries, sample.expected,
                    "segment {number} cut to {length}: only the mark is gone"
                ),
            }
        }
    }
}

#[test]
fn a_zero_filled_end_is_cut() {
    for sample in [Sample::new(), Sample::crashed()] {
        let last = sample.segments() - 1;
        let original = &sample.files[last].1;
        for zeros in [1, 43, 56, 57, 4096] {
            let octets = [original.as_slice(), &vec![0; zeros]].concat();
            sample.put(last, &octets);
            assert_eq!(sample.open(), (sample.expected.clone(), None));
            let found = std::fs::read(&sample.files[last].0).unwrap();
            let segment = segment::Segment::parse(&sample.files[last].0, &scans(), &found).unwrap();
            assert!(
                Walk::new(&segment, &found, 0).all(|piece| matches!(piece, Piece::Frame(..))),
                "{zeros} zeros"
            );
        }
    }
}

#[test]
fn zero_filled_blocks_of_what_was_durable_are_told() {
    let sample = Sample::new();
    for number in 0..sample.segments() {
        let original = &sample.files[number].1;
        for start in (0..original.len()).step_by(512) {
            let mut octets = original.clone();
            let end = octets.len().min(start + 512);
            octets[start..end].fill(0);
            sample.put(number, &octets);
            let (entries, error) = sample.open();
            assert!(sample.expected.starts_with(&entries));
            let error = error.unwrap();
            assert!(error.contains("zero-filled") || error.contains("truncated"), "{start}: {error}");
        }
    }
}

#[test]
fn a_missing_segment_is_told_wherever_it_was() {
    let sample = Sample::new();
    for missing in 0..sample.segments() {
        sample.put(0, &sample.files[0].1);
        std::fs::remove_file(&sample.files[missing].0).unwrap();
        let (entries, error) = sample.open();
        assert!(error.unwrap().contains("missing"), "segment {missing}");
        assert!(sample.expected.starts_with(&entries));
    }
}

#[test]
fn a_missing_log_is_told() {
    let sample = Sample::new();
    std::fs::remove_dir_all(sample.files[0].0.parent().unwrap()).unwrap();
    let (entries, error) = sample.open();
    assert_eq!(entries.len(), 0);
    assert!(error.unwrap().contains("from offset 0 up to 10: missing"));
    let store = open(&sample.dir);
    assert!(matches!(append(&store, &["x"]), Err(AppendError::Corrupt(_))));
    store.close();
    assert!(sample.open().1.is_some(), "it is not forgotten at the next start");
}

#[test]
fn exchanged_and_renamed_segments_are_told() {
    let sample = Sample::new();
    sample.put(0, &sample.files[1].1);
    assert!(sample.open().1.unwrap().contains("named for another place"));
}

#[test]
fn a_damaged_log_takes_nothing_and_the_others_go_on() {
    let sample = Sample::new();
    let mut octets = sample.files[1].1.clone();
    let middle = octets.len() / 2;
    octets[middle] ^= 0x40;
    sample.put(1, &octets);
    let store = open(&sample.dir);
    let before = read_all(store.log().as_ref(), &scans(), 0).unwrap_err();
    assert!(matches!(&before, ReadError::Corrupt(found) if found.log == scans()), "{before}");
    let refused = append(&store, &["x"]).unwrap_err();
    assert!(matches!(&refused, AppendError::Corrupt(_)) && !refused.is_retryable(), "{refused}");
    let bounds = block_on(store.log().bounds(&scans())).unwrap();
    assert!(bounds.start == 0 && bounds.end < 10, "the log ends before the damage: {bounds:?}");
    assert_eq!(
        block_on(store.log().read(&scans(), Offset(0), 10)).unwrap().len(),
        1,
        "what is before is served"
    );
    assert!(matches!(block_on(store.log().erase(&scans(), vec![Offset(0)])), Err(ReadError::Corrupt(_))));
    let offset = block_on(store.log().append(&LogName::Audit, vec![event(1)], Durability::Fsynced));
    assert_eq!(offset.unwrap(), Offset(0), "another log");
}

#[test]
fn a_repair_gives_up_what_is_damaged_and_nothing_else() {
    let sample = Sample::new();
    let mut octets = sample.files[1].1.clone();
    let middle = octets.len() / 2;
    octets[middle] ^= 0x40;
    sample.put(1, &octets);
    let report =
        |name: &LogName| verify(sample.dir.path(), &key(), Some(name), &mut |_| {}).unwrap().remove(0);
    let found = report(&scans());
    assert_eq!((found.damage.len(), found.given_up), (1, 0), "{found:?}");

    let broker = hilum_core::PrincipalId::new("spiffe://st-marys/broker").unwrap();
    let repaired = repair(sample.dir.path(), &key(), &scans(), &broker).unwrap();
    assert_eq!(repaired.lost.len(), 1);
    assert_eq!(std::fs::read(&repaired.kept[0]).unwrap(), octets, "the damaged file is kept");
    let mended = report(&scans());
    assert_eq!(mended.damage.len(), 0, "{mended:?}");
    assert_eq!((mended.offsets.clone(), mended.entries + mended.given_up), (0..10, 10));
    assert!((1..10).contains(&mended.given_up), "{mended:?}");
    assert!(repair(sample.dir.path(), &key(), &scans(), &broker).unwrap().lost.is_empty(), "once is enough");

    let store = open(&sample.dir);
    let left = contents(&store).unwrap();
    assert_eq!(left.len() as u64, mended.entries);
    assert!(left.iter().all(|entry| sample.expected.contains(entry)), "what is served is what was written");
    assert_eq!((left.first(), left.last()), (sample.expected.first(), sample.expected.last()));
    assert_eq!(append(&store, &["k"]).unwrap(), 10, "offsets stay, and the log takes appends");
}

/// Whoever can write to the disk can set a checksum right.
#[test]
fn a_repair_does_not_fill_the_disk_because_a_file_claims_to_begin_far_away() {
    let sample = Sample::new();
    let far = sample.forge(1 << 50);
    let broker = hilum_core::PrincipalId::new("spiffe://st-marys/broker").unwrap();
    let refused = repair(sample.dir.path(), &key(), &scans(), &broker).unwrap_err().to_string();
    assert!(refused.contains("would lose offsets 8 to 1125899906842624"), "{refused}");
    assert!(refused.contains(far.to_str().unwrap()), "{refused}");
    std::fs::remove_file(far).unwrap();
    assert!(
        repair(sample.dir.path(), &key(), &scans(), &broker).unwrap().lost.is_empty(),
        "nothing was changed"
    );
}

#[test]
fn a_repair_writes_no_generation_that_is_not_read() {
    let sample = Sample::new();
    let (path, octets) = &sample.files[sample.segments() - 1];
    let forged =
        path.with_file_name(path.file_name().unwrap().to_str().unwrap().replace(".seg", "-1073741824.seg"));
    std::fs::write(&forged, &octets[..100]).unwrap();
    let broker = hilum_core::PrincipalId::new("spiffe://st-marys/broker").unwrap();
    let refused = repair(sample.dir.path(), &key(), &scans(), &broker).unwrap_err().to_string();
    assert!(refused.contains("written anew 1073741824 times: move that file out"), "{refused}");
    assert!(refused.contains(forged.to_str().unwrap()), "{refused}");
    std::fs::remove_file(forged).unwrap();
    let (entries, error) = sample.open();
    assert_eq!((entries, error), (sample.expected.clone(), None), "nothing was changed");
}

/// The damage that is found first is not the one that comes first.
#[test]
fn a_damaged_log_does_not_end_in_silence() {
    let sample = Sample::of(100_000);
    let mut whole = sample.files[0].1.clone();
    let last = whole.len() - MARK_OCTETS - 2;
    whole[last] ^= 1;
    sample.put(0, &whole);
    let forged = sample.forge(1);
    let mut octets = std::fs::read(&forged).unwrap();
    octets[0] ^= 1;
    std::fs::write(&forged, octets).unwrap();
    let (entries, error) = sample.open();
    assert_eq!(entries, sample.expected[..entries.len()]);
    assert!(error.is_some(), "{} entries are said to be all", entries.len());
}

#[test]
fn a_repair_puts_a_file_aside_that_lies_where_another_one_is() {
    let sample = Sample::new();
    let forged = sample.forge(1);
    assert!(sample.open().1.is_some(), "it is not passed over in silence");
    let broker = hilum_core::PrincipalId::new("spiffe://st-marys/broker").unwrap();
    let repaired = repair(sample.dir.path(), &key(), &scans(), &broker).unwrap();
    assert_eq!(repaired.lost.len(), 1, "{:?}", repaired.lost);
    assert!(!forged.exists() && repaired.kept[0].exists());
    assert_eq!(sample.open(), (sample.expected.clone(), None), "nothing else is lost");

    // What is named for a place that there is not belongs to no log.
    sample.forge(u64::MAX);
    assert_eq!(sample.open(), (sample.expected.clone(), None));
    assert!(repair(sample.dir.path(), &key(), &scans(), &broker).unwrap().lost.is_empty());
}

#[test]
fn keys_cut_anywhere_are_told_or_were_never_used() {
    let sample = Sample::new();
    let keys = sample.segments();
    let original = &sample.files[keys].1;
    for length in 0..original.len() {
        sample.put(keys, &original[..length]);
        let (entries, error) = sample.open();
        assert!(sample.expected.starts_with(&entries));
        assert!(error.is_some(), "cut to {length}: a key that is in use is gone");
    }
}

#[test]
fn a_tampered_blob_is_told() {
    const CHUNK: usize = BLOB_CHUNK_OCTETS + TAG_OCTETS;
    let dir = tempdir().unwrap();
    let store = open(&dir);
    let body = pattern(3 * BLOB_CHUNK_OCTETS);
    let blob = write_blob(store.blobs().as_ref(), &body).unwrap();
    let path = dir.path().join("blobs/staged").join(blob.id.to_string());
    let original = std::fs::read(&path).unwrap();
    let read = |blob: &hilum_core::record::BlobRef| block_on(store.blobs().read(blob, 0, body.len()));
    let check = |what: &str, octets: &[u8]| {
        std::fs::write(&path, octets).unwrap();
        assert!(matches!(read(&blob), Err(BlobError::Corrupt { .. })), "{what}");
    };
    let chunk = |number: usize| original[128 + number * CHUNK..128 + (number + 1) * CHUNK].to_vec();
    check("cut", &original[..original.len() - 1]);
    check("without its last chunk", &original[..original.len() - CHUNK]);
    check("header cut", &original[..100]);
    check("exchanged chunks", &[&original[..128], &chunk(1), &chunk(0), &chunk(2)].concat());
    for at in [0, 20, 30, 127, 128, 128 + CHUNK, original.len() - 1] {
        let mut octets = original.clone();
        octets[at] ^= 1;
        check(&format!("octet {at}"), &octets);
    }
    std::fs::write(&path, &original[..original.len() - CHUNK]).unwrap();
    let shorter = hilum_core::record::BlobRef { size: 2 * BLOB_CHUNK_OCTETS as u64, ..blob };
    assert!(
        matches!(read(&shorter), Err(BlobError::Corrupt { .. })),
        "an inner chunk does not pass for the last"
    );
    std::fs::write(&path, &original).unwrap();
    let endless = hilum_core::record::BlobRef { size: u64::MAX, ..blob };
    assert!(matches!(read(&endless), Err(BlobError::Corrupt { .. })), "an entry may name any size");
    assert_eq!(read(&blob).unwrap(), body);
    assert_eq!(block_on(store.blobs().read(&blob, 1, usize::MAX)).unwrap(), body[1..], "as much as there is");
}
