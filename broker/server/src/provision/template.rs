//! The configuration that a new hospital starts with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::config::Directory;

/// Where the configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Template {
    /// The example hospital: an MRI machine and its stakeholders.
    Example,
    /// `hilum.toml`, `flows/*.toml` and what is in `policies/` of this directory.
    Directory(PathBuf),
}

macro_rules! example_files {
    ($($file:literal),+ $(,)?) => {
        /// The example hospital's files: path and text.
        const EXAMPLE: &[(&str, &str)] =
            &[$(($file, include_str!(concat!("../../../../examples/hospital/hospital/", $file)))),+];
    };
}

example_files!(
    "hilum.toml",
    "flows/audit.toml",
    "flows/billing.toml",
    "flows/consents.toml",
    "flows/device.toml",
    "flows/findings.toml",
    "flows/imaging.toml",
    "flows/maintenance.toml",
    "flows/procedures.toml",
    "flows/results.toml",
    "flows/room-use.toml",
    "flows/room.toml",
    "flows/security.toml",
    "policies/billing.cases.toml",
    "policies/billing.cedar",
    "policies/consent.cases.toml",
    "policies/consent.cedar",
    "policies/crosswalk.txt",
    "policies/imaging.cases.toml",
    "policies/imaging.cedar",
    "policies/people.json",
    "policies/results.cases.toml",
    "policies/results.cedar",
    "policies/treating.cases.toml",
    "policies/treating.cedar",
);

/// Where policies are, and what tests them.
const POLICIES_FOLDER: &str = "policies";

impl Template {
    /// Its files: path within the hospital directory, and text.
    pub(super) fn files(&self) -> io::Result<Vec<(String, String)>> {
        match self {
            Self::Example => {
                Ok(EXAMPLE.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
            }
            Self::Directory(directory) => read(directory),
        }
    }
}

fn read(directory: &Path) -> io::Result<Vec<(String, String)>> {
    let main = fs::read_to_string(directory.join(Directory::MAIN_FILE))?;
    let mut files = vec![(Directory::MAIN_FILE.to_owned(), main)];
    for entry in fs::read_dir(directory.join(Directory::FLOWS_FOLDER))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".toml") {
            files.push((format!("{}/{name}", Directory::FLOWS_FOLDER), fs::read_to_string(&path)?));
        }
    }
    let policies = directory.join(POLICIES_FOLDER);
    if policies.is_dir() {
        for entry in fs::read_dir(policies)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_file() && !name.starts_with('.') {
                files.push((format!("{POLICIES_FOLDER}/{name}"), fs::read_to_string(&path)?));
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in the folder of the example is what is in the binary.
    #[test]
    fn carries_every_file_of_the_example() {
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/hospital/hospital"));
        let (mut there, mut carried) = (read(folder).unwrap(), Template::Example.files().unwrap());
        there.sort();
        carried.sort();
        assert_eq!(carried, there);
    }
}
