//! What every backend must do, as one suite over the three traits.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use bytes::Bytes;
use hilum_core::audit::{Action, Event};
use hilum_core::digest::Digest;
use hilum_core::identity::{Principal, PrincipalId};
use hilum_core::limits::BLOB_CHUNK_OCTETS;
use hilum_core::quarantine::{Cause, Quarantined};
use hilum_core::record::{BlobId, BlobRef};
use hilum_core::{Body, Entry, Head, LogName, Offset, Timestamp};

use crate::limits::{META_KEY_OCTETS_MAX, META_VALUE_OCTETS_MAX};
use crate::{AppendError, BlobError, Blobs, Durability, Log, LogEntry, Meta, MetaError};

/// Waits on this thread, which is none of an executor's.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

pub(crate) fn source(name: &str) -> PrincipalId {
    PrincipalId::new(&format!("spiffe://st-marys/{name}")).unwrap()
}

/// An entry of the quarantine of `scans`, from one of two sources, whose octets hold the text.
pub(crate) fn entry(text: &str) -> Entry {
    entry_of("scans", text)
}

/// An entry of the quarantine of a flow.
pub(crate) fn entry_of(flow: &str, text: &str) -> Entry {
    let name = if text.len().is_multiple_of(2) { "device/mri-1" } else { "device/mri-2" };
    let principal = Principal {
        id: source(name),
        stakeholder: "imaging".parse().unwrap(),
        zone: "device".parse().unwrap(),
        roles: vec![],
    };
    let head = Head {
        time: Timestamp(1),
        expires: None,
        deliver_after: None,
        key: None,
        content_type: "text/plain".into(),
        attributes: vec![],
        labels: vec![],
        trace: None,
    };
    Quarantined {
        flow: flow.parse().unwrap(),
        delivery: None,
        head,
        body: Body::Inline(Bytes::copy_from_slice(text.as_bytes())),
        principal: Arc::new(principal),
        cause: Cause { stage: None, code: "test".into(), reason: String::new() },
        time: Timestamp(2),
    }
    .into_entry()
}

pub(crate) fn scans() -> LogName {
    LogName::Quarantine("scans".parse().unwrap())
}

pub(crate) fn event(number: u64) -> Entry {
    let reason = number.to_string();
    let event = Event {
        time: Timestamp(number),
        principal: None,
        flow: None,
        subscription: None,
        offset: None,
        action: Action::Lifecycle,
        reason,
    };
    event.into_entry(&source("broker"))
}

/// All entries of a log from an offset on.
pub(crate) fn read_all(log: &dyn Log, name: &LogName, from: u64) -> Result<Vec<LogEntry>, crate::ReadError> {
    let mut entries: Vec<LogEntry> = Vec::new();
    loop {
        let next = entries.last().map_or(from, |entry| entry.offset.0 + 1);
        let more = block_on(log.read(name, Offset(next), 300))?;
        if more.is_empty() {
            return Ok(entries);
        }
        entries.extend(more);
    }
}

/// The whole suite, on an empty store.
pub(crate) fn suite(log: &dyn Log, blobs: &dyn Blobs, meta: &dyn Meta) {
    entries_come_back_in_order(log);
    logs_are_apart(log);
    reads_are_bounded(log);
    bad_batches_are_refused(log);
    trimming_lets_go_of_the_beginning(log);
    erased_entries_are_left_out(log);
    what_is_only_in_memory_is_answered_and_then_shown(log);
    usage_falls_when_entries_go(log);
    bodies_come_back(log, blobs);
    bodies_are_staged_then_committed_or_deleted(blobs);
    values_are_compared_and_set(meta);
    values_are_scanned_in_order(meta);
    values_are_bounded(meta);
}

fn entries_come_back_in_order(log: &dyn Log) {
    assert_eq!(block_on(log.bounds(&scans())).unwrap(), 0..0);
    assert!(block_on(log.read(&scans(), Offset(0), 100)).unwrap().is_empty());
    let texts: Vec<String> = (0..120).map(|number| format!("record {number}")).collect();
    // None is polled before all are made: the order is that of the calls.
    let append = |batch: &[String]| {
        log.append(&scans(), batch.iter().map(|text| entry(text)).collect(), Durability::Fsynced)
    };
    let pending: Vec<_> = texts.chunks(7).map(append).collect();
    let offsets: Vec<u64> = pending.into_iter().map(|append| block_on(append).unwrap().0).collect();
    assert_eq!(offsets, (0..120).step_by(7).collect::<Vec<_>>());
    assert_eq!(block_on(log.bounds(&scans())).unwrap(), 0..120);
    for from in [0, 1, 60, 119, 120, 1000] {
        let expected = (from..120).zip(texts.iter().skip(usize::try_from(from).unwrap()));
        let expected: Vec<_> = expected.map(|(offset, text)| (offset, entry(text).into_octets())).collect();
        let found = read_all(log, &scans(), from).unwrap();
        let found: Vec<_> = found.into_iter().map(|entry| (entry.offset.0, entry.octets.to_vec())).collect();
        assert_eq!(found, expected, "from {from}");
    }
}

fn logs_are_apart(log: &dyn Log) {
    assert_eq!(
        block_on(log.append(&LogName::Audit, vec![event(7)], Durability::Fsynced)).unwrap(),
        Offset(0)
    );
    let found = read_all(log, &LogName::Audit, 0).unwrap();
    assert_eq!(Event::decode(&found[0].octets).unwrap().time, Timestamp(7));
    assert_eq!(block_on(log.bounds(&scans())).unwrap(), 0..120);
}

fn reads_are_bounded(log: &dyn Log) {
    let one = entry("record 0").octets().len();
    let count = |octets_max| block_on(log.read(&scans(), Offset(0), octets_max)).unwrap().len();
    assert_eq!(count(0), 1, "at least one");
    assert_eq!(count(one), 1);
    assert_eq!(count(3 * one), 3);
    assert_eq!(count(usize::MAX), 120);
}

fn bad_batches_are_refused(log: &dyn Log) {
    let refusal = |batch| block_on(log.append(&scans(), batch, Durability::Fsynced)).unwrap_err();
    assert!(matches!(refusal(vec![]), AppendError::Empty));
    assert!(matches!(
        refusal(vec![entry("a"), event(1)]),
        AppendError::WrongLog { entry: LogName::Audit, .. }
    ));
    let many = std::iter::repeat_n(event(1), crate::limits::APPEND_ENTRIES_MAX + 1).collect();
    let refused = block_on(log.append(&LogName::Audit, many, Durability::Fsynced)).unwrap_err();
    assert!(matches!(refused, AppendError::TooLarge { unit: "entries", .. }));
    assert_eq!(block_on(log.bounds(&scans())).unwrap(), 0..120);
    assert_eq!(
        block_on(log.append(&scans(), vec![entry("after")], Durability::Fsynced)).unwrap(),
        Offset(120)
    );
}

fn trimming_lets_go_of_the_beginning(log: &dyn Log) {
    block_on(log.trim(&scans(), Offset(50))).unwrap();
    let bounds = block_on(log.bounds(&scans())).unwrap();
    assert!(bounds.start <= 50 && bounds.end == 121, "{bounds:?}");
    let found = read_all(log, &scans(), 0).unwrap();
    assert_eq!(found[0].offset.0, bounds.start, "reads begin with what is there");
    assert_eq!(found.len() as u64, 121 - bounds.start);
    block_on(log.trim(&scans(), Offset(3))).unwrap();
    assert_eq!(block_on(log.bounds(&scans())).unwrap(), bounds, "what was let go of does not come back");
    assert_eq!(block_on(log.append(&scans(), vec![entry("on")], Durability::Fsynced)).unwrap(), Offset(121));
}

fn erasures() -> LogName {
    LogName::Quarantine("erasures".parse().unwrap())
}

/// Entries whose octets say which one it is.
fn numbered(number: u64) -> Entry {
    entry_of("erasures", &format!("{number:04}"))
}

fn offsets(log: &dyn Log, name: &LogName, from: u64) -> Vec<u64> {
    let found = read_all(log, name, from).unwrap();
    for entry in &found {
        assert_eq!(entry.octets, numbered(entry.offset.0).into_octets(), "an offset keeps its entry");
    }
    found.into_iter().map(|entry| entry.offset.0).collect()
}

fn erased_entries_are_left_out(log: &dyn Log) {
    let name = erasures();
    block_on(log.erase(&name, vec![Offset(0)])).unwrap();
    for number in 0..60 {
        let appended =
            log.append(&name, vec![numbered(2 * number), numbered(2 * number + 1)], Durability::Fsynced);
        assert_eq!(block_on(appended).unwrap(), Offset(2 * number));
    }
    let mut left: std::collections::BTreeSet<u64> = (0..120).collect();
    let all: Vec<u64> = (0..120).collect();
    for gone in
        [vec![], vec![7], vec![0, 1, 2, 3], vec![119, 7, 7, 5000], (40..80).collect(), vec![81, 83, 85]]
    {
        block_on(log.erase(&name, gone.iter().map(|offset| Offset(*offset)).collect())).unwrap();
        left.retain(|offset| !gone.contains(offset));
        for from in [0, 1, 7, 8, 45, 79, 84, 119, 120] {
            let expected: Vec<u64> = left.range(from..).copied().collect();
            assert_eq!(offsets(log, &name, from), expected, "from {from} without {gone:?}");
        }
        assert_eq!(block_on(log.bounds(&name)).unwrap(), 0..120, "offsets stay");
    }
    let appended = log.append(&name, vec![numbered(120)], Durability::Fsynced);
    assert_eq!(block_on(appended).unwrap(), Offset(120), "an offset is not used again");
    block_on(log.erase(&name, all.iter().map(|offset| Offset(*offset)).collect())).unwrap();
    assert_eq!(offsets(log, &name, 0), [120]);
}

fn what_is_only_in_memory_is_answered_and_then_shown(log: &dyn Log) {
    let name = erasures();
    for number in 121..140 {
        let appended = log.append(&name, vec![numbered(number)], Durability::Memory);
        assert_eq!(block_on(appended).unwrap(), Offset(number));
    }
    let appended = log.append(&name, vec![numbered(140)], Durability::Fsynced);
    assert_eq!(block_on(appended).unwrap(), Offset(140));
    assert_eq!(offsets(log, &name, 121), (121..141).collect::<Vec<_>>(), "in order with what is fsynced");
}

fn usage_falls_when_entries_go(log: &dyn Log) {
    let name = erasures();
    let usage = || block_on(log.usage(&name)).unwrap().octets;
    let before = usage();
    block_on(log.erase(&name, (120..130).map(Offset).collect())).unwrap();
    let erased = usage();
    assert!(erased < before, "{erased} of {before}");
    block_on(log.trim(&name, Offset(141))).unwrap();
    assert_eq!(usage(), 0, "an empty log takes nothing up");
    assert_eq!(block_on(log.bounds(&name)).unwrap(), 141..141);
    let none = block_on(log.usage(&LogName::Quarantine("none".parse().unwrap()))).unwrap();
    assert_eq!(none, crate::Usage::default());
}

pub(crate) fn pattern(octets: usize) -> Bytes {
    (0..octets).map(|at| (at * 31 % 251).to_le_bytes()[0]).collect()
}

/// Writes a body in pieces.
pub(crate) fn write_blob(blobs: &dyn Blobs, body: &Bytes) -> Result<BlobRef, BlobError> {
    let mut writer = block_on(blobs.create(&scans(), &source("device/mri-1")))?;
    for start in (0..body.len()).step_by(100_000) {
        block_on(writer.write(body.slice(start..body.len().min(start + 100_000))))?;
    }
    block_on(writer.finish())
}

fn bodies_come_back(log: &dyn Log, blobs: &dyn Blobs) {
    let end = block_on(log.bounds(&scans())).unwrap().end;
    const CHUNK: usize = BLOB_CHUNK_OCTETS;
    for octets in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5] {
        let body = pattern(octets);
        let blob = write_blob(blobs, &body).unwrap();
        assert_eq!((blob.size, blob.digest), (octets as u64, Digest::of(&body)));
        let staged = block_on(blobs.staged()).unwrap();
        let staged = staged.iter().find(|staged| staged.id == blob.id).unwrap();
        assert_eq!((&staged.log, staged.since), (&scans(), Offset(end)));
        for (from, octets_max) in [(0, usize::MAX), (0, 10), (CHUNK - 3, 7), (CHUNK, CHUNK), (1, 2 * CHUNK)] {
            let expected = body
                .slice(from.min(octets)..octets.min(from.saturating_add(octets_max)).max(from.min(octets)));
            let found = block_on(blobs.read(&blob, from as u64, octets_max)).unwrap();
            assert_eq!(found, expected, "{octets_max} octets of {octets} from {from}");
        }
        block_on(blobs.commit(blob.id)).unwrap();
    }
    assert_eq!(block_on(blobs.staged()).unwrap(), []);
}

fn bodies_are_staged_then_committed_or_deleted(blobs: &dyn Blobs) {
    let body = pattern(1000);
    let blob = write_blob(blobs, &body).unwrap();
    for _ in 0..2 {
        block_on(blobs.commit(blob.id)).unwrap();
    }
    assert_eq!(block_on(blobs.read(&blob, 0, 2000)).unwrap(), body);
    for _ in 0..2 {
        block_on(blobs.delete(blob.id)).unwrap();
    }
    assert!(matches!(block_on(blobs.read(&blob, 0, 1)), Err(BlobError::NotFound(id)) if id == blob.id));
    assert!(matches!(block_on(blobs.commit(blob.id)), Err(BlobError::NotFound(_))));
    let staged = write_blob(blobs, &body).unwrap();
    block_on(blobs.delete(staged.id)).unwrap();
    let mut writer = block_on(blobs.create(&scans(), &source("device/mri-1"))).unwrap();
    block_on(writer.write(body)).unwrap();
    drop(writer);
    assert_eq!(block_on(blobs.staged()).unwrap(), []);
    let none = BlobRef { id: BlobId([9; 16]), size: 1, digest: Digest::of(b"") };
    assert!(matches!(block_on(blobs.read(&none, 0, 1)), Err(BlobError::NotFound(_))));
}

fn values_are_compared_and_set(meta: &dyn Meta) {
    let set = |expected: Option<&str>, new: Option<&str>| {
        let octets = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        block_on(meta.compare_and_set(b"key", octets(expected).as_deref(), octets(new).as_deref())).unwrap()
    };
    let get = || block_on(meta.get(b"key")).unwrap();
    assert_eq!(get(), None);
    assert!(!set(Some("1"), Some("2")), "nothing is there");
    assert!(set(None, Some("1")));
    assert!(!set(None, Some("2")), "something is there");
    assert!(set(Some("1"), Some("2")));
    assert_eq!(get(), Some("2".into()));
    assert!(set(Some("2"), None));
    assert_eq!(get(), None);
    assert!(set(None, None));
    assert!(set(None, Some("")));
    assert_eq!(get(), Some("".into()), "empty is not absent");
}

fn values_are_scanned_in_order(meta: &dyn Meta) {
    for key in ["a/3", "a/1", "b/1", "a/2", "a"] {
        assert!(block_on(meta.compare_and_set(key.as_bytes(), None, Some(key.as_bytes()))).unwrap());
    }
    let scan = |prefix: &str, after: Option<&str>, entries_max| -> Vec<String> {
        let found = block_on(meta.scan(prefix.as_bytes(), after.map(str::as_bytes), entries_max)).unwrap();
        let text = |octets: &Bytes| String::from_utf8(octets.to_vec()).unwrap();
        found.iter().inspect(|(key, value)| assert_eq!(key, value)).map(|(key, _)| text(key)).collect()
    };
    assert_eq!(scan("a/", None, 10), ["a/1", "a/2", "a/3"]);
    assert_eq!(scan("a/", None, 2), ["a/1", "a/2"]);
    assert_eq!(scan("a/", Some("a/1"), 10), ["a/2", "a/3"]);
    assert_eq!(scan("a/", Some("a/3"), 10), [""; 0]);
    assert_eq!(scan("a/", Some("b"), 10), [""; 0]);
    assert_eq!(scan("b", Some("a/9"), 10), ["b/1"]);
    assert_eq!(scan("c", None, 10), [""; 0]);
}

fn values_are_bounded(meta: &dyn Meta) {
    let set = |key: usize, value: usize| {
        block_on(meta.compare_and_set(&vec![b'k'; key], None, Some(&vec![1; value])))
    };
    assert!(set(META_KEY_OCTETS_MAX, META_VALUE_OCTETS_MAX).unwrap());
    assert!(matches!(set(META_KEY_OCTETS_MAX + 1, 1), Err(MetaError::TooLarge { field: "key", .. })));
    assert!(matches!(set(1, META_VALUE_OCTETS_MAX + 1), Err(MetaError::TooLarge { field: "value", .. })));
    let found = block_on(meta.get(&vec![b'k'; META_KEY_OCTETS_MAX])).unwrap().unwrap();
    assert_eq!(found.len(), META_VALUE_OCTETS_MAX);
}
