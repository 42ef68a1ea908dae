//! A small store on disk, files of it changed as a script says, and checksums set right, so that what is behind them is
//! reached: a checksum keeps nobody out, only the seals do.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use bytes::Bytes;
use hilum_core::quarantine::{Cause, Quarantined};
use hilum_core::{Body, Entry, Head, LogName, Principal, PrincipalId, Timestamp};
use hilum_store::embedded::{Settings, Store};
use hilum_store::{Durability, MasterKey};

use crate::script::Script;

/// Octets after which a log of the sample goes on in a new segment, so that there are several.
const SEGMENT_OCTETS: u64 = 900;
/// Octets of a segment's header; of a frame's.
const SEGMENT_HEADER_OCTETS: usize = 128;
const FRAME_HEADER_OCTETS: usize = 56;
/// Octets of the header of a keys file, and of the length before each of its records.
const KEYS_HEADER_OCTETS: usize = 76;
const RECORD_LENGTH_OCTETS: usize = 8;
/// Octets that a file may grow to.
const FILE_OCTETS_MAX: usize = 16 * 1024;

/// The key-encryption key of the sample.
pub(crate) fn key() -> MasterKey {
    MasterKey::new([1; 32])
}

pub(crate) fn log() -> LogName {
    LogName::Quarantine("scans".parse().expect("a name"))
}

pub(crate) fn broker() -> PrincipalId {
    "spiffe://st-marys/broker".parse().expect("an identity")
}

/// A folder of this process. Who starts it takes the folder away: libFuzzer ends a process without dropping anything.
pub(crate) fn scratch() -> PathBuf {
    let path = std::env::temp_dir().join(format!("hilum-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a folder for temporary files");
    path
}

/// A closed store: its files, and what is in its log.
pub(crate) struct Sample {
    pub(crate) dir: PathBuf,
    files: BTreeMap<PathBuf, Vec<u8>>,
    pub(crate) entries: Vec<Vec<u8>>,
}

impl Sample {
    /// A store with several segments, from two sources.
    pub(crate) fn new() -> Self {
        let dir = scratch().join("store");
        let _ = std::fs::remove_dir_all(&dir);
        let settings = Settings { segment_octets: SEGMENT_OCTETS, ..Settings::default() };
        let store = Store::open(&dir, key(), settings).expect("a new store");
        let mut entries = Vec::new();
        for batch in [["a", "bb"], ["c", "dddd"], ["eeee", "f"], ["g", "h"], ["i", "jj"]] {
            entries.extend(batch.map(|text| entry(text).into_octets()));
            let append = store.log().append(&log(), batch.map(entry).into(), Durability::Fsynced);
            block_on(append).expect("a sound store");
        }
        store.close();
        std::fs::remove_dir_all(dir.join("meta")).expect("it is there");
        let mut files = BTreeMap::new();
        for path in paths(&dir.join("log").join(log().to_string())) {
            files.insert(path.clone(), std::fs::read(&path).expect("it is there"));
        }
        for name in ["keys", "ends"] {
            files.insert(dir.join(name), std::fs::read(dir.join(name)).expect("it is there"));
        }
        Self { dir, files, entries }
    }

    /// The segments, in order.
    pub(crate) fn segments(&self) -> Vec<Vec<u8>> {
        let is_segment = |path: &&PathBuf| path.extension().is_some();
        self.files.keys().filter(is_segment).map(|path| self.files[path].clone()).collect()
    }

    pub(crate) fn keys(&self) -> Vec<u8> {
        self.files[&self.dir.join("keys")].clone()
    }

    /// Puts the store as it was, but with these segments and keys, and without its ends if so wished.
    pub(crate) fn put(&self, segments: &[(String, Vec<u8>)], keys: &[u8], with_ends: bool) {
        let folder = self.dir.join("log").join(log().to_string());
        for path in paths(&folder) {
            std::fs::remove_file(path).expect("it is there");
        }
        let write = |path: &Path, octets: &[u8]| std::fs::write(path, octets).expect("there is room");
        for (name, octets) in segments {
            write(&folder.join(name), octets);
        }
        write(&self.dir.join("keys"), keys);
        let ends = self.dir.join("ends");
        match with_ends {
            true => write(&ends, &self.files[&ends]),
            false => drop(std::fs::remove_file(ends)),
        }
    }
}

/// The files in a folder.
fn paths(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("it is there");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it is there").path()).collect();
    paths.sort();
    paths
}

fn entry(text: &str) -> Entry {
    let name = if text.len().is_multiple_of(2) { "device/mri-1" } else { "device/mri-2" };
    let principal = Principal {
        id: format!("spiffe://st-marys/{name}").parse().expect("an identity"),
        stakeholder: "imaging".parse().expect("a name"),
        zone: "device".parse().expect("a name"),
        roles: Vec::new(),
    };
    let head = Head {
        time: Timestamp(1),
        expires: None,
        deliver_after: None,
        key: None,
        content_type: "text/plain".into(),
        attributes: Vec::new(),
        labels: Vec::new(),
        trace: None,
    };
    let record = Quarantined {
        flow: "scans".parse().expect("a name"),
        delivery: None,
        head,
        body: Body::Inline(Bytes::copy_from_slice(text.as_bytes())),
        principal: principal.into(),
        cause: Cause { stage: None, code: "fuzz".into(), reason: String::new() },
        time: Timestamp(2),
    };
    record.into_entry()
}

/// Waits on this thread.
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

/// Changes one file of several as the script says; `starts` finds the places where something begins.
pub(crate) fn change(script: &mut Script<'_>, files: &mut [Vec<u8>], starts: impl Fn(&[u8]) -> Vec<usize>) {
    let count = files.len();
    let which = usize::from(script.octet()) % count;
    let other = files[usize::from(script.octet()) % count].clone();
    let file = &mut files[which];
    let begins = starts(file);
    let begin = begins.get(usize::from(script.octet()) % begins.len().max(1)).copied().unwrap_or(0);
    let at = (begin + usize::from(script.octet())).min(file.len());
    let until = |octets: u16| (at + usize::from(octets)).min(file.len());
    match script.octet() % 9 {
        0 => file.get_mut(at).into_iter().for_each(|octet| *octet = script.octet()),
        1 => file.get_mut(at).into_iter().for_each(|octet| *octet ^= 1 << (script.octet() % 8)),
        2 => file.truncate(at),
        3 => {
            let end = until(script.short());
            file[at..end].fill(0);
        }
        4 => {
            let from = usize::from(script.short()).min(other.len());
            let octets = usize::from(script.short()).min(other.len() - from).min(file.len() - at);
            file[at..at + octets].copy_from_slice(&other[from..from + octets]);
        }
        5 => {
            let octets = usize::from(script.octet());
            let piece = script.piece(octets).to_vec();
            file.splice(at..at, piece).for_each(drop);
        }
        6 => {
            let end = until(script.short());
            file.drain(at..end).for_each(drop);
        }
        7 => {
            let number = script.number().to_le_bytes();
            let octets = if script.octet() % 2 == 0 { 4 } else { 8 }.min(file.len() - at);
            file[at..at + octets].copy_from_slice(&number[..octets]);
        }
        _ => {
            let from = usize::from(script.short()).min(other.len());
            let octets = usize::from(script.short()).min(other.len() - from);
            file.splice(at..at, other[from..from + octets].to_vec()).for_each(drop);
        }
    }
    file.truncate(FILE_OCTETS_MAX);
}

/// Where a segment's header and its frames begin, by their magic.
pub(crate) fn frames(segment: &[u8]) -> Vec<usize> {
    let magic = |(at, window): (usize, &[u8])| (window == b"HFRM").then_some(at);
    std::iter::once(0).chain(segment.windows(4).enumerate().filter_map(magic)).collect()
}

/// Sets the checksums of a segment right; the name that the file must have.
pub(crate) fn mend_segment(segment: &mut [u8]) -> String {
    for at in frames(segment).into_iter().skip(1) {
        let Some(frame) = segment.get(at..at + FRAME_HEADER_OCTETS) else { continue };
        let payload_octets = u32::from_le_bytes(frame[44..48].try_into().expect("four octets")) as usize;
        let start = at + FRAME_HEADER_OCTETS;
        if let Some(payload) = segment.get(start..start.saturating_add(payload_octets)) {
            let crc = crc32c::crc32c(payload).to_le_bytes();
            segment[at + 48..at + 52].copy_from_slice(&crc);
        }
        let salt = crc32c::crc32c(&segment[20..36]);
        let crc = crc32c::crc32c_append(salt, &segment[at..at + 52]).to_le_bytes();
        segment[at + 52..at + 56].copy_from_slice(&crc);
    }
    let Some(header) = segment.first_chunk_mut::<SEGMENT_HEADER_OCTETS>() else {
        return "00000000000000000000.seg".to_owned();
    };
    let crc = crc32c::crc32c(&header[..SEGMENT_HEADER_OCTETS - 4]).to_le_bytes();
    header[SEGMENT_HEADER_OCTETS - 4..].copy_from_slice(&crc);
    let base = u64::from_le_bytes(header[12..20].try_into().expect("eight octets"));
    match u32::from_le_bytes(header[117..121].try_into().expect("four octets")) {
        0 => format!("{base:020}.seg"),
        generation => format!("{base:020}-{generation}.seg"),
    }
}

/// Where a keys file's header and its records begin.
pub(crate) fn records(keys: &[u8]) -> Vec<usize> {
    let (mut starts, mut at) = (vec![0], KEYS_HEADER_OCTETS);
    while let Some(length) = keys.get(at..at + 4) {
        starts.push(at);
        let length = u32::from_le_bytes(length.try_into().expect("four octets")) as usize;
        // What stands around a record: its length, two checksums, a last octet.
        at = at.saturating_add(length).saturating_add(RECORD_LENGTH_OCTETS + 5);
    }
    starts
}

/// Sets the checksums of a keys file right.
pub(crate) fn mend_keys(keys: &mut [u8]) {
    for at in records(keys).into_iter().skip(1) {
        let Some(head) = keys.get_mut(at..at + RECORD_LENGTH_OCTETS) else { continue };
        let length = u32::from_le_bytes(head[..4].try_into().expect("four octets")) as usize;
        let crc = crc32c::crc32c(&head[..4]).to_le_bytes();
        head[4..].copy_from_slice(&crc);
        let start = at + RECORD_LENGTH_OCTETS;
        let end = start.saturating_add(length);
        let Some(record) = keys.get(start..end) else { continue };
        let crc = crc32c::crc32c(record).to_le_bytes();
        if let Some(place) = keys.get_mut(end..end + 4) {
            place.copy_from_slice(&crc);
        }
    }
    if let Some(header) = keys.first_chunk_mut::<KEYS_HEADER_OCTETS>() {
        let crc = crc32c::crc32c(&header[..KEYS_HEADER_OCTETS - 4]).to_le_bytes();
        header[KEYS_HEADER_OCTETS - 4..].copy_from_slice(&crc);
    }
}
