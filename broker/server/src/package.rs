//! Packages of plugins on disk: read with every length bounded, and written so that half of one is never there.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use hilum_sandbox::package::{
    COMPONENT_OCTETS_MAX, MANIFEST_OCTETS_MAX, Package, PackageError, Parts, SBOM_OCTETS_MAX,
    SIGNATURE_OCTETS_MAX, SIGNATURES_MAX,
};

/// Why a directory is no package.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file cannot be read.
    #[error("{file} cannot be read: {source}")]
    File {
        /// Relative to the package.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A file is longer than it may be.
    #[error("{file} is longer than {octets_max} octets")]
    TooLarge {
        /// Relative to the package.
        file: String,
        /// The limit.
        octets_max: usize,
    },
    /// Too many signatures.
    #[error("there are more than {SIGNATURES_MAX} files in {folder}/", folder = Package::SIGNATURES)]
    Signatures,
    /// The files do not fit together.
    #[error(transparent)]
    Package(#[from] PackageError),
}

/// Reads a package. Looks at its four places and at nothing else in the directory.
pub fn read(directory: &Path) -> Result<Package, ReadError> {
    let parts = Parts {
        manifest: read_file(directory, Package::MANIFEST, MANIFEST_OCTETS_MAX)?,
        component: read_file(directory, Package::COMPONENT, COMPONENT_OCTETS_MAX)?,
        sbom: read_file(directory, Package::SBOM, SBOM_OCTETS_MAX)?,
        signatures: read_signatures(directory)?,
    };
    Ok(Package::from_parts(parts)?)
}

fn read_signatures(directory: &Path) -> Result<Vec<(String, Vec<u8>)>, ReadError> {
    let failed = |source| ReadError::File { file: Package::SIGNATURES.to_owned(), source };
    let entries = match fs::read_dir(directory.join(Package::SIGNATURES)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
        if names.len() > SIGNATURES_MAX {
            return Err(ReadError::Signatures);
        }
    }
    names.sort();
    let read = |name: String| {
        let octets = read_file(directory, &format!("{}/{name}", Package::SIGNATURES), SIGNATURE_OCTETS_MAX)?;
        Ok((name, octets))
    };
    names.into_iter().map(read).collect()
}

fn read_file(directory: &Path, file: &str, octets_max: usize) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError::File { file: file.to_owned(), source };
    let open = File::open(directory.join(file)).map_err(failed)?;
    let mut octets = Vec::new();
    open.take(octets_max as u64 + 1).read_to_end(&mut octets).map_err(failed)?;
    if octets.len() > octets_max {
        return Err(ReadError::TooLarge { file: file.to_owned(), octets_max });
    }
    Ok(octets)
}

/// Writes a package to a directory that is not there yet: all of it appears at once, or nothing does.
pub fn write(directory: &Path, package: &Package) -> io::Result<()> {
    if directory.exists() {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists));
    }
    let parts = package.parts();
    let name = directory.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = directory.with_file_name(format!(".{name}.new"));
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?; // left by a run that was interrupted
    }
    fs::create_dir_all(unfinished.join(Package::SIGNATURES))?;
    let signatures = parts.signatures.iter();
    let signatures =
        signatures.map(|(name, octets)| (format!("{}/{name}", Package::SIGNATURES), octets.as_slice()));
    let files = [
        (Package::MANIFEST.to_owned(), parts.manifest.as_slice()),
        (Package::COMPONENT.to_owned(), parts.component.as_slice()),
        (Package::SBOM.to_owned(), parts.sbom.as_slice()),
    ];
    for (file, octets) in files.into_iter().chain(signatures) {
        write_file(&unfinished.join(file), octets)?;
    }
    File::open(unfinished.join(Package::SIGNATURES))?.sync_all()?;
    File::open(&unfinished)?.sync_all()?;
    fs::rename(&unfinished, directory)?;
    File::open(parent(directory))?.sync_all()
}

/// Writes the signatures of a package that is there already.
pub fn write_signatures(directory: &Path, package: &Package) -> io::Result<()> {
    let folder = directory.join(Package::SIGNATURES);
    fs::create_dir_all(&folder)?;
    for (name, octets) in &package.parts().signatures {
        let path = folder.join(name);
        let unfinished = path.with_extension("new");
        write_file(&unfinished, octets)?;
        fs::rename(&unfinished, &path)?;
    }
    File::open(&folder)?.sync_all()
}

fn write_file(path: &Path, octets: &[u8]) -> io::Result<()> {
    fs::write(path, octets)?;
    File::open(path)?.sync_all()
}

fn parent(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}
