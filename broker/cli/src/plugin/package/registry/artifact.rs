//! What a package is as an artifact: an image manifest of OCI with a type of its own.

use std::collections::BTreeMap;

use bytes::Bytes;
use hilum_core::Digest;
use hilum_sandbox::package::envelope::PAYLOAD_TYPE;
use hilum_sandbox::package::{Package, SIGNATURES_MAX};
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};

use super::NO_PACKAGE;
use crate::output::Failure;

/// The type of the artifact.
const ARTIFACT: &str = "application/vnd.hilum.plugin.v1+json";
const COMPONENT: &str = "application/wasm";
const SBOM: &str = "application/vnd.cyclonedx+json";
const SIGNATURE: &str = "application/vnd.dsse.envelope.v1+json";
/// Annotation of a layer: its file name.
const TITLE: &str = "org.opencontainers.image.title";

/// What is sent.
pub(super) struct Artifact {
    pub(super) manifest: OciImageManifest,
    /// Layers, then the config.
    pub(super) blobs: Vec<(OciDescriptor, Bytes)>,
}

impl Artifact {
    pub(super) fn of(package: &Package) -> Self {
        let parts = package.parts();
        let mut blobs = vec![
            blob(COMPONENT, Package::COMPONENT, &parts.component),
            blob(SBOM, Package::SBOM, &parts.sbom),
        ];
        for (name, octets) in &parts.signatures {
            blobs.push(blob(SIGNATURE, &format!("{}/{name}", Package::SIGNATURES), octets));
        }
        let layers = blobs.iter().map(|(descriptor, _)| descriptor.clone()).collect();
        let config = blob(PAYLOAD_TYPE, Package::MANIFEST, &parts.manifest);
        let manifest = OciImageManifest {
            media_type: Some(OCI_IMAGE_MEDIA_TYPE.to_owned()),
            artifact_type: Some(ARTIFACT.to_owned()),
            config: config.0.clone(),
            layers,
            annotations: Some(annotations(package)),
            ..OciImageManifest::default()
        };
        blobs.push(config);
        Self { manifest, blobs }
    }
}

/// Config, component, SBOM, and signatures with the names of their files.
type PartsOf<'m> =
    (&'m OciDescriptor, &'m OciDescriptor, &'m OciDescriptor, Vec<(String, &'m OciDescriptor)>);

/// Which part is where, in a manifest that a stranger wrote.
pub(super) fn parts(manifest: &OciImageManifest) -> Result<PartsOf<'_>, Failure> {
    if manifest.artifact_type.as_deref() != Some(ARTIFACT) || manifest.config.media_type != PAYLOAD_TYPE {
        let of = manifest.artifact_type.as_deref().unwrap_or(&manifest.config.media_type);
        let of: String = of.chars().filter(|c| !c.is_control()).take(128).collect();
        return Err(Failure::new(format!("there is something else than a plugin: `{of}`"), NO_PACKAGE));
    }
    let signatures: Vec<_> = manifest.layers.iter().filter(|layer| layer.media_type == SIGNATURE).collect();
    if signatures.len() > SIGNATURES_MAX {
        return Err(Failure::new(format!("it has more than {SIGNATURES_MAX} signatures"), NO_PACKAGE));
    }
    let named = |layer| (file_name(layer), layer);
    let signatures = signatures.into_iter().map(named).collect();
    Ok((&manifest.config, only(manifest, COMPONENT)?, only(manifest, SBOM)?, signatures))
}

/// The name of a signature's file, by the layer's title. A wrong one is found when the signature is read.
fn file_name(layer: &OciDescriptor) -> String {
    let title = layer.annotations.as_ref().and_then(|annotations| annotations.get(TITLE));
    let name = title.and_then(|title| title.strip_prefix(Package::SIGNATURES)?.strip_prefix('/'));
    name.unwrap_or_default().to_owned()
}

/// The one layer of this type.
fn only<'m>(manifest: &'m OciImageManifest, media_type: &str) -> Result<&'m OciDescriptor, Failure> {
    let mut layers = manifest.layers.iter().filter(|layer| layer.media_type == media_type);
    match (layers.next(), layers.next()) {
        (Some(layer), None) => Ok(layer),
        _ => Err(Failure::new(format!("it has not exactly one layer of type `{media_type}`"), NO_PACKAGE)),
    }
}

fn blob(media_type: &str, title: &str, octets: &[u8]) -> (OciDescriptor, Bytes) {
    let descriptor = OciDescriptor {
        media_type: media_type.to_owned(),
        digest: format!("sha256:{}", Digest::of(octets)),
        size: i64::try_from(octets.len()).unwrap_or(i64::MAX),
        annotations: Some(BTreeMap::from([(TITLE.to_owned(), title.to_owned())])),
        ..OciDescriptor::default()
    };
    (descriptor, Bytes::copy_from_slice(octets))
}

fn annotations(package: &Package) -> BTreeMap<String, String> {
    let manifest = package.manifest();
    let pairs = [
        (TITLE, manifest.name.to_string()),
        ("org.opencontainers.image.version", manifest.version.clone()),
        ("org.opencontainers.image.vendor", manifest.vendor.clone()),
        ("org.opencontainers.image.licenses", manifest.licence.clone()),
        ("org.opencontainers.image.description", manifest.description.clone()),
    ];
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}
