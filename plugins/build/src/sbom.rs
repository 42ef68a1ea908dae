//! The software bill of materials of a plugin crate, as CycloneDX 1.6 in JSON: what cargo resolved for [`crate::TARGET`], with
//! licences, and with the checksums of Cargo.lock.
//!
//! Build dependencies and macros are no part of a component and are left out. There is no time and no serial number in it, so that
//! the same sources give the same octets.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{TARGET, without_leaks};

/// Why there is no SBOM.
#[derive(Debug)]
pub enum SbomError {
    /// Cargo could not be started.
    Cargo(std::io::Error),
    /// Cargo failed; what it said.
    Failed(String),
    /// What cargo said is not understood.
    Metadata(String),
    /// The workspace has no such package; those that it has.
    Package(String, Vec<String>),
}

impl std::fmt::Display for SbomError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cargo(error) => write!(f, "cargo could not be started to list dependencies: {error}"),
            Self::Failed(output) => write!(f, "cargo does not list dependencies:\n{output}"),
            Self::Metadata(error) => write!(f, "what cargo lists is not understood: {error}"),
            Self::Package(name, known) => {
                write!(f, "there is no package `{name}`; there are {}", known.join(", "))
            }
        }
    }
}

impl std::error::Error for SbomError {}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
    workspace_root: String,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    description: Option<String>,
    source: Option<String>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Resolve {
    root: Option<String>,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// Lists what is in the component of a package: of the one at `manifest` (its Cargo.toml), or of the one called `package` in the
/// workspace there.
///
/// # Errors
///
/// [`SbomError`], whose text says what is wrong.
pub fn sbom(manifest: &Path, package: Option<&str>) -> Result<Vec<u8>, SbomError> {
    let metadata = metadata(manifest)?;
    let root = root(&metadata, package)?;
    let lock = Path::new(&metadata.workspace_root).join("Cargo.lock");
    let lock = std::fs::read_to_string(&lock).unwrap_or_default();
    let lock: Lock = toml::from_str(&lock).map_err(|error| SbomError::Metadata(error.to_string()))?;
    Ok(listed(&metadata, &root, &lock))
}

fn metadata(manifest: &Path) -> Result<Metadata, SbomError> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["metadata", "--format-version", "1", "--filter-platform", TARGET, "--manifest-path"]);
    let output = without_leaks(command.arg(manifest)).output().map_err(SbomError::Cargo)?;
    if !output.status.success() {
        return Err(SbomError::Failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| SbomError::Metadata(error.to_string()))
}

fn root(metadata: &Metadata, package: Option<&str>) -> Result<String, SbomError> {
    let members = metadata.packages.iter().filter(|member| metadata.workspace_members.contains(&member.id));
    let members: Vec<&Package> = members.collect();
    let found = match (package, &metadata.resolve.root, members.as_slice()) {
        (Some(name), ..) => members.iter().find(|member| member.name == name).map(|member| member.id.clone()),
        (None, Some(root), _) => Some(root.clone()),
        (None, None, [only]) => Some(only.id.clone()),
        (None, None, _) => None,
    };
    let names = || members.iter().map(|member| member.name.clone()).collect();
    found.ok_or_else(|| SbomError::Package(package.unwrap_or("of this manifest").to_owned(), names()))
}

fn listed(metadata: &Metadata, root: &str, lock: &Lock) -> Vec<u8> {
    let packages: BTreeMap<&str, &Package> =
        metadata.packages.iter().map(|of| (of.id.as_str(), of)).collect();
    let nodes: BTreeMap<&str, &Node> = metadata.resolve.nodes.iter().map(|of| (of.id.as_str(), of)).collect();
    let linked = |id: &str| -> Vec<&str> {
        let dependencies = nodes.get(id).into_iter().flat_map(|node| &node.deps);
        let normal = dependencies.filter(|of| of.dep_kinds.iter().any(|kind| kind.kind.is_none()));
        normal
            .map(|of| of.pkg.as_str())
            .filter(|id| packages.get(id).is_some_and(|of| !of.is_macro()))
            .collect()
    };
    let (mut found, mut next) = (BTreeSet::from([root]), vec![root]);
    while let Some(id) = next.pop() {
        next.extend(linked(id).into_iter().filter(|id| found.insert(id)));
    }
    let mut sorted: Vec<&Package> = found.iter().filter_map(|id| packages.get(id).copied()).collect();
    sorted.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    let components: Vec<Value> =
        sorted.iter().filter(|of| of.id != root).map(|of| of.component("library", lock)).collect();
    let depends = |of: &&Package| {
        let mut on: Vec<String> =
            linked(&of.id).iter().filter_map(|id| packages.get(id)).map(|of| of.purl()).collect();
        on.sort();
        on.dedup();
        json!({"ref": of.purl(), "dependsOn": on})
    };
    let bom = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": packages.get(root).map(|of| of.component("application", lock))},
        "components": components,
        "dependencies": sorted.iter().map(depends).collect::<Vec<_>>(),
    });
    let mut octets = serde_json::to_vec_pretty(&bom).expect("texts are JSON");
    octets.push(b'\n');
    octets
}

impl Package {
    fn is_macro(&self) -> bool {
        self.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    }

    /// Package URL (<https://github.com/package-url/purl-spec>).
    fn purl(&self) -> String {
        format!("pkg:cargo/{}@{}", self.name, self.version.replace('+', "%2B"))
    }

    fn component(&self, kind: &str, lock: &Lock) -> Value {
        let mut component = json!({
            "type": kind,
            "bom-ref": self.purl(),
            "name": self.name,
            "version": self.version,
            "purl": self.purl(),
        });
        if let Some(description) = &self.description {
            component["description"] = json!(description.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        if let Some(licence) = &self.license {
            // Cargo once wrote `MIT/Apache-2.0`, which SPDX writes with `OR`.
            component["licenses"] = json!([{"expression": licence.replace('/', " OR ")}]);
        }
        let is_it = |of: &&Locked| of.name == self.name && of.version == self.version;
        let checksum = lock.package.iter().find(is_it).and_then(|of| of.checksum.as_ref());
        if let (Some(checksum), Some(_)) = (checksum, &self.source) {
            component["hashes"] = json!([{"alg": "SHA-256", "content": checksum}]);
        }
        component
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_the_workspace(package: &str) -> Result<Value, SbomError> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
        sbom(&manifest, Some(package)).map(|octets| serde_json::from_slice(&octets).unwrap())
    }

    #[test]
    fn what_is_linked_is_listed_with_licence_and_checksum() {
        let bom = of_the_workspace("hilum-deidentify").unwrap();
        assert_eq!((&bom["bomFormat"], &bom["specVersion"]), (&"CycloneDX".into(), &"1.6".into()));
        assert_eq!(bom["metadata"]["component"]["name"], "hilum-deidentify");
        let components = bom["components"].as_array().unwrap();
        let named = |name: &str| components.iter().find(|component| component["name"] == name);
        assert!(named("hilum-plugin").is_some() && named("serde_json").is_some());
        assert!(
            named("serde_derive").is_none() && named("wasmtime").is_none(),
            "neither macros nor the host"
        );
        let memchr = named("memchr").unwrap();
        assert_eq!(memchr["hashes"][0]["content"].as_str().map(str::len), Some(64));
        assert!(memchr["licenses"][0]["expression"].as_str().unwrap().contains("MIT"));
        let known: BTreeSet<_> =
            bom["dependencies"].as_array().unwrap().iter().map(|of| of["ref"].as_str()).collect();
        assert_eq!(known.len(), components.len() + 1, "each has its edges");
    }

    #[test]
    fn the_same_sources_give_the_same_octets() {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../access/Cargo.toml");
        assert!(sbom(&manifest, None).unwrap() == sbom(&manifest, None).unwrap());
    }

    #[test]
    fn a_package_that_is_not_there_is_told_with_those_that_are() {
        let error = of_the_workspace("nonesuch").unwrap_err().to_string();
        assert!(error.contains("`nonesuch`") && error.contains("hilum-deidentify"), "{error}");
    }
}
