//! Packages as artifacts of an OCI registry (OCI image specification 1.1, distribution specification 1.1).
//!
//! The config is the package's manifest, so that its digest is in the artifact's; component, SBOM and signatures are layers, with
//! their file names as titles, so that other tools (`oras pull`) write the same directory. What a registry says is the word of a
//! stranger: sizes are bounded before anything is fetched, and digests are checked after.

mod artifact;
mod identity;

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use hilum_core::Digest;
use hilum_sandbox::package::{
    COMPONENT_OCTETS_MAX, MANIFEST_OCTETS_MAX, Package, Parts, SBOM_OCTETS_MAX, SIGNATURE_OCTETS_MAX,
};
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use tokio::io::AsyncWrite;

use artifact::Artifact;

use crate::output::Failure;

/// Octets of an artifact's own manifest.
const ARTIFACT_OCTETS_MAX: usize = 256 << 10;
/// How long a registry may take to answer, and to go on sending.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// How long one artifact may take.
const TRANSFER_TIME: Duration = Duration::from_secs(15 * 60);

/// What is said of an artifact that is none of ours.
const NO_PACKAGE: &str = "this is no package of a plugin: those are pushed with `hilum plugin push`";

/// How to talk to a registry.
#[derive(Debug, clap::Args)]
pub(super) struct Connection {
    /// Talk HTTP without TLS, for a registry on this machine
    #[arg(long)]
    plain_http: bool,
    /// A file with an authority's certificate to trust beside the system's, in PEM
    #[arg(long, value_name = "FILE", conflicts_with = "plain_http")]
    ca: Option<PathBuf>,
}

/// A place in a registry.
pub(super) struct Registry {
    client: Client,
    reference: Reference,
    auth: RegistryAuth,
}

impl Registry {
    /// A place by its name. Does not connect yet.
    pub(super) fn at(reference: &str, connection: &Connection) -> anyhow::Result<Self> {
        let reference = named(reference)?;
        let mut roots = Vec::new();
        if let Some(file) = &connection.ca {
            let data = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
            roots.push(Certificate { encoding: CertificateEncoding::Pem, data });
        }
        let config = ClientConfig {
            protocol: if connection.plain_http { ClientProtocol::Http } else { ClientProtocol::Https },
            extra_root_certificates: roots,
            platform_resolver: None,
            connect_timeout: Some(ANSWER_TIME),
            read_timeout: Some(ANSWER_TIME),
            user_agent: concat!("hilum/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        let auth = identity::of(reference.registry())?;
        let client = Client::try_from(config).context("no client for registries can be made")?;
        Ok(Self { client, reference, auth })
    }

    /// The place with a digest instead of a tag.
    pub(super) fn pinned(&self, digest: Digest) -> String {
        format!("{}/{}@sha256:{digest}", self.reference.registry(), self.reference.repository())
    }

    /// Sends a package; what the artifact digests to.
    pub(super) async fn push(&self, package: &Package) -> anyhow::Result<Digest> {
        if self.reference.digest().is_some() {
            let help = "write HOST/NAME:TAG";
            return Err(Failure::new("a package is pushed to a tag, not to a digest", help).into());
        }
        let Artifact { manifest, blobs } = Artifact::of(package);
        let octets = Bytes::from(serde_json::to_vec(&manifest)?);
        let digest = Digest::of(&octets);
        self.in_time(async {
            self.client.auth(&self.reference, &self.auth, RegistryOperation::Push).await?;
            for (descriptor, octets) in blobs {
                self.client.push_blob(&self.reference, octets, &descriptor.digest).await?;
            }
            let media_type = OCI_IMAGE_MEDIA_TYPE.parse()?;
            self.client.push_manifest_raw(&self.reference, octets, media_type).await?;
            Ok(())
        })
        .await?;
        Ok(digest)
    }

    /// Gets a package, and what its artifact digests to: this where one is named.
    pub(super) async fn pull(&self, named: Option<Digest>) -> anyhow::Result<(Package, Digest)> {
        let in_reference = self.reference.digest().map(|text| {
            let digest = text.strip_prefix("sha256:").and_then(Digest::from_hex);
            digest.ok_or_else(|| Failure::new(format!("`{text}` is no SHA-256 digest"), "write @sha256:..."))
        });
        let in_reference = in_reference.transpose()?;
        if let (Some(named), Some(other)) = (named, in_reference)
            && named != other
        {
            let what = "the digest in the reference and `--digest` differ";
            return Err(Failure::new(what, "leave one of them out").into());
        }
        self.in_time(self.pull_expected(named.or(in_reference))).await
    }

    async fn pull_expected(&self, expected: Option<Digest>) -> anyhow::Result<(Package, Digest)> {
        let place = match expected {
            Some(digest) => self.reference.clone_with_digest(format!("sha256:{digest}")),
            None => self.reference.clone(),
        };
        self.client.auth(&place, &self.auth, RegistryOperation::Pull).await?;
        let (octets, _) = self.client.pull_manifest_raw(&place, &self.auth, &[OCI_IMAGE_MEDIA_TYPE]).await?;
        let digest = Digest::of(&octets);
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            bail!(changed("the artifact", &format!("sha256:{expected}"), digest));
        }
        if octets.len() > ARTIFACT_OCTETS_MAX {
            bail!(Failure::new("the artifact's manifest is too large", NO_PACKAGE));
        }
        let manifest: OciImageManifest = serde_json::from_slice(&octets)
            .map_err(|error| Failure::new(format!("the artifact's manifest: {error}"), NO_PACKAGE))?;
        let package = Package::from_parts(self.parts(&manifest).await?).map_err(|error| {
            let help = "the package in the registry is broken; ask its vendor to push it again";
            Failure::new(error.to_string(), help)
        })?;
        Ok((package, digest))
    }

    async fn parts(&self, manifest: &OciImageManifest) -> anyhow::Result<Parts> {
        let (config, component, sbom, signatures) = artifact::parts(manifest)?;
        let mut parts = Parts {
            manifest: self.blob(config, MANIFEST_OCTETS_MAX).await?,
            component: self.blob(component, COMPONENT_OCTETS_MAX).await?,
            sbom: self.blob(sbom, SBOM_OCTETS_MAX).await?,
            signatures: Vec::new(),
        };
        for (name, layer) in signatures {
            parts.signatures.push((name, self.blob(layer, SIGNATURE_OCTETS_MAX).await?));
        }
        Ok(parts)
    }

    /// Gets what a descriptor names, and nothing else.
    async fn blob(&self, descriptor: &OciDescriptor, octets_max: usize) -> anyhow::Result<Vec<u8>> {
        let size = usize::try_from(descriptor.size).ok().filter(|size| *size <= octets_max);
        let Some(size) = size else {
            let said = descriptor.size;
            let what = format!("a part is said to have {said} octets, at most {octets_max} are taken");
            bail!(Failure::new(what, NO_PACKAGE));
        };
        let mut octets = Bounded { octets: Vec::new(), octets_max: size };
        let pulled = self.client.pull_blob(&self.reference, descriptor, &mut octets).await;
        let is_whole = octets.octets.len() == size;
        let actual = Digest::of(&octets.octets);
        match pulled {
            Ok(()) if is_whole && format!("sha256:{actual}") == descriptor.digest => Ok(octets.octets),
            Err(oci_client::errors::OciDistributionError::DigestError(_)) | Ok(()) => {
                bail!(changed("a part of the artifact", &descriptor.digest, actual))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn in_time<T>(&self, transfer: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let shown = format!("{}/{}", self.reference.registry(), self.reference.repository());
        match tokio::time::timeout(TRANSFER_TIME, transfer).await {
            Ok(done) => done.map_err(explained).with_context(|| shown),
            Err(_) => bail!(Failure::new(format!("{shown}: the registry is too slow"), "try again")),
        }
    }
}

/// What to do about the more usual of a registry's answers.
fn explained(error: anyhow::Error) -> anyhow::Error {
    use oci_client::errors::OciDistributionError as Answer;
    let help = match error.downcast_ref::<Answer>() {
        Some(Answer::DigestError(_)) => "do not use it; ask who runs the registry how that came about",
        Some(Answer::RegistryError { .. } | Answer::ImageManifestNotFoundError(_)) => {
            "see whether name and tag are right, and whether you may"
        }
        Some(Answer::UnauthorizedError { .. } | Answer::AuthenticationFailure(_)) => {
            "say who you are with HILUM_REGISTRY_USER and HILUM_REGISTRY_PASSWORD, or with HILUM_REGISTRY_TOKEN"
        }
        Some(Answer::RequestError(_)) => {
            "see whether the registry runs there; `--ca FILE` trusts an authority of your own, `--plain-http` talks without TLS"
        }
        _ => return error,
    };
    let mut what = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        if !what.contains(&cause) {
            what = format!("{what}: {cause}");
        }
    }
    Failure::new(what, help).into()
}

/// A reference that names its registry: there is none that goes without saying.
fn named(reference: &str) -> anyhow::Result<Reference> {
    let help = "write HOST/NAME:TAG or HOST/NAME@sha256:..., e.g. registry.example.org/plugins/clean:1.2.0";
    let host = reference.split_once('/').map(|(host, _)| host).unwrap_or_default();
    if !(host == "localhost" || host.contains(['.', ':'])) {
        return Err(Failure::new(format!("`{reference}` names no registry"), help).into());
    }
    let parsed = reference.parse::<Reference>();
    Ok(parsed.map_err(|error| Failure::new(format!("`{reference}`: {error}"), help))?)
}

fn changed(what: &str, named: &str, actual: Digest) -> Failure {
    let what =
        format!("{what} digests to sha256:{actual}, not to {named}: it was changed, or not sent whole");
    Failure::new(what, "do not use it; ask who runs the registry how that came about")
}

/// Takes so many octets and no more.
struct Bounded {
    octets: Vec<u8>,
    octets_max: usize,
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        if self.octets.len() + octets.len() > self.octets_max {
            return Poll::Ready(Err(io::Error::other("there are more octets than the artifact names")));
        }
        self.octets.extend_from_slice(octets);
        Poll::Ready(Ok(octets.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_its_registry() {
        let reference = named("registry.example.org:5000/plugins/clean:1.2.0").unwrap();
        assert_eq!(reference.registry(), "registry.example.org:5000");
        assert_eq!((reference.repository(), reference.tag()), ("plugins/clean", Some("1.2.0")));
        assert!(named("localhost/clean").is_ok());
        for wrong in ["clean", "plugins/clean:1", "registry.example.org/Clean", "registry.example.org/", ""] {
            assert!(named(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn no_more_is_taken_than_is_named() {
        use tokio::io::AsyncWriteExt as _;
        let mut bounded = Bounded { octets: Vec::new(), octets_max: 5 };
        bounded.write_all(b"four").await.unwrap();
        assert!(bounded.write_all(b"or").await.is_err());
        assert_eq!(bounded.octets, b"four");
    }
}
