//! Large bodies on disk: a changed file is refused, or what is read of it is what was written.

use std::path::PathBuf;
use std::sync::LazyLock;

use bytes::Bytes;
use hilum_core::limits::BLOB_CHUNK_OCTETS;
use hilum_core::record::BlobRef;
use hilum_store::embedded::{Settings, Store};

use crate::disk::{block_on, broker, change, key, log, scratch};
use crate::memory;
use crate::script::Script;

/// See [`memory::bounded`]: some chunks are held at once.
pub const OCTETS_MAX: usize = memory::USUAL;

const HEADER_OCTETS: usize = 128;
/// An open store with two bodies, of one chunk and of two.
struct Opened {
    store: Store,
    folder: PathBuf,
    bodies: Vec<(BlobRef, Bytes, Vec<u8>)>,
}

static OPENED: LazyLock<Opened> = LazyLock::new(|| {
    let dir = scratch().join("store");
    let _ = std::fs::remove_dir_all(&dir);
    let store = Store::open(&dir, key(), Settings::default()).expect("a new store");
    let folder = dir.join("blobs");
    let bodies = [100, BLOB_CHUNK_OCTETS + 100].map(|octets| {
        let body: Bytes = (0..octets).map(|at| (at % 251).to_le_bytes()[0]).collect();
        let mut writer = block_on(store.blobs().create(&log(), &broker())).expect("a sound store");
        block_on(writer.write(body.clone())).expect("a sound store");
        let blob = block_on(writer.finish()).expect("a sound store");
        let file = std::fs::read(folder.join("staged").join(blob.id.to_string())).expect("it is there");
        block_on(store.blobs().delete(blob.id)).expect("a sound store");
        (blob, body, file)
    });
    Opened { store, folder, bodies: bodies.into() }
});

/// Changes the file of a body, then reads from any place, also with a wrong size.
pub fn check(octets: &[u8]) {
    let mut script = Script(octets);
    let choice = script.octet();
    let (blob, body, file) = &OPENED.bodies[usize::from(choice & 1)];
    let part = if choice & 2 == 0 { "staged" } else { "committed" };
    let (from, octets_max) = (script.number(), usize::try_from(script.number()).unwrap_or(usize::MAX));
    let mut asked = *blob;
    if choice & 4 != 0 {
        asked.size = script.number();
    }
    let mut files = vec![file.clone()];
    script.changes(|script| change_long(script, &mut files));
    if let Some(header) = files[0].first_chunk_mut::<HEADER_OCTETS>().filter(|_| choice & 8 != 0) {
        let crc = crc32c::crc32c(&header[..HEADER_OCTETS - 4]).to_le_bytes();
        header[HEADER_OCTETS - 4..].copy_from_slice(&crc);
    }
    let path = OPENED.folder.join(part).join(blob.id.to_string());
    std::fs::write(&path, &files[0]).expect("there is room");
    let read = block_on(OPENED.store.blobs().read(&asked, from, octets_max));
    let staged = block_on(OPENED.store.blobs().staged()).expect("the folder can be read");
    assert!(staged.iter().all(|staged| part == "staged" && staged.id == blob.id));
    std::fs::remove_file(&path).expect("it is there");
    let Ok(read) = read else {
        assert!(files[0] != *file || asked.size != blob.size, "a sound file is refused");
        return;
    };
    assert!(read.len() <= octets_max);
    let start = usize::try_from(from).unwrap_or(usize::MAX).min(body.len());
    assert!(body[start..].starts_with(&read), "what was not written is read");
    if asked.size == blob.size {
        assert_eq!(read.len(), octets_max.min(body.len() - start), "less than there is is read");
    }
}

/// Changes at the beginning, at the border of two chunks, and at the end.
fn change_long(script: &mut Script<'_>, files: &mut [Vec<u8>]) {
    let border = HEADER_OCTETS + BLOB_CHUNK_OCTETS;
    let octets = files[0].len();
    let from = match script.octet() % 4 {
        0 => 0,
        1 => HEADER_OCTETS.min(octets),
        2 => border.min(octets),
        _ => octets.saturating_sub(32),
    };
    let mut part = files[0].split_off(from);
    let rest = part.split_off(part.len().min(512));
    let mut window = [part];
    change(script, &mut window, |_| vec![0]);
    files[0].extend_from_slice(&window[0]);
    files[0].extend_from_slice(&rest);
}

/// Sound files read from several places, and each kind of change.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = (0..8).map(|choice| vec![choice, 3, 50, 100]).collect();
    seeds.push(vec![1, 253, 4, 0, 255, 0]);
    seeds.push(vec![1, 5, 255, 0]);
    for action in 0..9 {
        for place in 0..4 {
            for choice in [0, 9, 15] {
                seeds.push(vec![choice, 0, 255, 0, 100, place, 0, 0, 0, 9, action, 40, 0, 60, 0, 7, 7]);
            }
        }
    }
    seeds
}
