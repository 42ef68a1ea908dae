//! Files that are made once: never overwritten, durable when made, and for the owner alone where they are secret.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readable {
    ByAll,
    ByOwner,
}

/// Makes a folder for the owner alone, with its parents.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a file that must not be there yet.
pub(super) fn make_file(path: &Path, octets: &[u8], readable: Readable) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    make_folder(parent)?;
    let mode = if readable == Readable::ByOwner { 0o600 } else { 0o644 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(octets)?;
    file.sync_all()?;
    File::open(parent)?.sync_all()
}

/// Makes a folder with files that must not be there yet; all of it appears at once or nothing does.
pub(super) fn make_folder_of(folder: &Path, files: &[(&str, &[u8], Readable)]) -> io::Result<()> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = folder.with_file_name(format!(".{name}.new"));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?; // left by a run that was interrupted
    }
    for (file, octets, readable) in files {
        make_file(&unfinished.join(file), octets, *readable)?;
    }
    fs::rename(&unfinished, folder)?;
    File::open(folder.parent().unwrap_or(Path::new(".")))?.sync_all()
}
