//! What `hilum plugin inspect` says of a package: manifest, signatures, SBOM.

use std::path::Path;

use hilum_sandbox::package::Package;
use hilum_server::clock::Clock;
use serde_json::{Value, json};

use super::read;
use crate::output::{print, print_json};

/// Shows a package; verifies that it fits together, and nobody's signature.
pub(in crate::plugin) fn run(directory: &Path, in_json: bool) -> anyhow::Result<()> {
    let package = read(directory)?;
    if in_json {
        print_json(&as_json(&package))?;
    } else {
        print(as_text(&package))?;
    }
    Ok(())
}

fn as_json(package: &Package) -> Value {
    let sbom = package.sbom();
    json!({
        "manifest": package.manifest(),
        "sha256": package.digest().to_string(),
        "signed_by": package.signatures().iter().map(|of| of.key().to_string()).collect::<Vec<_>>(),
        "sbom": {"cyclonedx": sbom.version, "of": sbom.of, "components": sbom.components, "licensed": sbom.licensed},
    })
}

fn as_text(package: &Package) -> String {
    let (manifest, sbom) = (package.manifest(), package.sbom());
    let list =
        |items: Vec<String>, none: &str| if items.is_empty() { none.to_owned() } else { items.join(", ") };
    let keys = package.signatures().iter().map(|of| format!("key {} (not verified)", of.key())).collect();
    let removes = manifest.removes.iter().map(ToString::to_string).collect();
    let over = if manifest.end_of_support.is_over(Clock::SYSTEM.now()) { ", which is over" } else { "" };
    let component = manifest.component;
    let counted = format!("{} components, {} of them with a licence", sbom.components, sbom.licensed);
    let lines = [
        ("name", manifest.name.to_string()),
        ("version", manifest.version.clone()),
        ("description", manifest.description.clone()),
        ("vendor", manifest.vendor.clone()),
        ("licence", manifest.licence.clone()),
        ("world", format!("{} of hilum:plugin {}", manifest.world.as_str(), manifest.wit)),
        ("needs", list(manifest.imports.clone(), "nothing")),
        ("removes", list(removes, "no label, or as configured")),
        ("made", manifest.created.to_string()),
        ("supported", format!("until {}{over}", manifest.end_of_support)),
        ("sha256", package.digest().to_string()),
        ("component", format!("{} octets, sha256 {}", component.size, component.sha256)),
        ("sbom", format!("CycloneDX {}, {counted}", sbom.version)),
        ("signed by", list(keys, "nobody")),
    ];
    lines.map(|(key, value)| format!("{key:<11} {value}")).join("\n")
}
