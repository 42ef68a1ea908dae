//! What a plugin is written with, as this binary carries it: the guest SDK and the WIT package.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

include!(concat!(env!("OUT_DIR"), "/sdk.rs"));

/// The name of the directory in a project that gets it.
pub(super) const VENDOR: &str = "vendor";

/// Writes the WIT package below a directory, and for Rust the SDK's crates, laid out as in Hilum's own repository.
pub(super) fn write(to: &Path, with_crates: bool) -> anyhow::Result<()> {
    for (path, octets) in FILES.iter().filter(|(path, _)| with_crates || path.starts_with("wit/")) {
        let file = to.join(path);
        let directory = file.parent().context("the files of the SDK are in directories")?;
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        fs::write(&file, octets).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// The version that a file of the contract names: that of the whole package.
pub(super) fn contract_version(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("package hilum:plugin@")?;
    Some(rest.split_once(';')?.0)
}

/// The version of the contract that is carried.
pub(super) fn carried_version() -> Option<&'static str> {
    let (_, octets) = FILES.iter().find(|(path, _)| *path == "wit/v1/types.wit")?;
    contract_version(std::str::from_utf8(octets).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> &'static str {
        let (_, octets) = FILES.iter().find(|(name, _)| *name == path).unwrap_or_else(|| panic!("no {path}"));
        std::str::from_utf8(octets).unwrap()
    }

    #[test]
    fn manifests_inherit_nothing_and_name_the_versions_of_the_workspace() {
        for part in ["sdk/plugin", "sdk/formats"] {
            let manifest: toml::Table = text(&format!("{part}/Cargo.toml")).parse().unwrap();
            assert!(!manifest.to_string().contains("workspace"), "{manifest}");
            assert_eq!(manifest["package"]["edition"].as_str(), Some("2024"));
            assert!(manifest["dependencies"]["thiserror"]["version"].is_str());
        }
        let manifest: toml::Table = text("sdk/plugin/Cargo.toml").parse().unwrap();
        assert!(
            manifest["target"]["cfg(target_arch = \"wasm32\")"]["dependencies"]["wit-bindgen"].is_table()
        );
    }

    #[test]
    fn the_sources_and_the_contract_are_whole() {
        assert!(text("sdk/plugin/src/lib.rs").starts_with("//!"));
        assert!(text("wit/v1/worlds.wit").contains("world transform"));
        assert!(carried_version().is_some_and(|version| version.starts_with("1.")));
        // Where the SDK's bindings look for it.
        assert!(text("sdk/plugin/src/backend/export.rs").contains("\"../../wit/v1\""));
    }
}
