//! Packages as artifacts of an OCI registry (OCI image specification 1.1, distribution specification 1.1).
//!
//! The config is the package's manifest, so that its digest is in the artifact's; component, SBOM and signatures are layers, with
//! their file names as titles, so that other tools (`oras pull`) write the same directory. What a registry says is the word of a
//! stranger: all of it is read up to a limit and within a time ([`fetch`]), and digests are checked after.

mod artifact;
mod fetch;
mod identity;

use std::path::PathBuf;
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
use reqwest::Url;

use artifact::Artifact;
use fetch::{FetchError, Source, Wanted};

use crate::output::Failure;

/// Octets of an artifact's own manifest.
const ARTIFACT_OCTETS_MAX: usize = 256 << 10;
/// How long a registry may take to answer, and to go on sending.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// How long a small answer may take as a whole: a token, an artifact's manifest.
const SMALL_TIME: Duration = Duration::from_secs(60);
/// How long one artifact may take.
const TRANSFER_TIME: Duration = Duration::from_secs(15 * 60);

const AGENT: &str = concat!("hilum/", env!("CARGO_PKG_VERSION"));

const WHO: &str =
    "say who you are with HILUM_REGISTRY_USER and HILUM_REGISTRY_PASSWORD, or with HILUM_REGISTRY_TOKEN";
const WHICH: &str = "see whether name and tag are right, and whether you may";
const WHERE: &str = "see whether the registry runs there; `--ca FILE` trusts an authority of your own, `--plain-http` talks without TLS";
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
    /// For what is sent.
    client: Client,
    /// For what is read.
    http: reqwest::Client,
    scheme: &'static str,
    reference: Reference,
    auth: RegistryAuth,
}

impl Registry {
    /// A place by its name. Does not connect yet.
    pub(super) fn at(reference: &str, connection: &Connection) -> anyhow::Result<Self> {
        let reference = named(reference)?;
        let scheme = if connection.plain_http { "http" } else { "https" };
        let mut http = reqwest::Client::builder()
            .user_agent(AGENT)
            .connect_timeout(ANSWER_TIME)
            .read_timeout(ANSWER_TIME)
            // Neither a redirect nor who gives tokens may take us, or who we are, off TLS.
            .https_only(!connection.plain_http);
        let mut roots = Vec::new();
        if let Some(file) = &connection.ca {
            let data = std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?;
            let root = reqwest::Certificate::from_pem(&data);
            http = http
                .tls_certs_merge([root.with_context(|| format!("{} is no certificate", file.display()))?]);
            roots.push(Certificate { encoding: CertificateEncoding::Pem, data });
        }
        let config = ClientConfig {
            protocol: if connection.plain_http { ClientProtocol::Http } else { ClientProtocol::Https },
            extra_root_certificates: roots,
            platform_resolver: None,
            connect_timeout: Some(ANSWER_TIME),
            read_timeout: Some(ANSWER_TIME),
            user_agent: AGENT,
            ..ClientConfig::default()
        };
        let auth = identity::of(reference.registry())?;
        let client = Client::try_from(config).context("no client for registries can be made")?;
        let http = http.build().context("no client for registries can be made")?;
        Ok(Self { client, http, scheme, reference, auth })
    }

    /// To read from it, when it is known who we are.
    async fn source(&self) -> anyhow::Result<Source> {
        let base = format!("{}://{}/v2/", self.scheme, self.reference.resolve_registry());
        let base: Url = base.parse().with_context(|| format!("`{base}` is no address"))?;
        let (http, repository) = (self.http.clone(), self.reference.repository().to_owned());
        let mut source = Source { http, base, repository, time: SMALL_TIME, authorization: None };
        source.introduce(&self.auth).await?;
        Ok(source)
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
        let source = self.source().await?;
        let named = match expected {
            Some(digest) => format!("sha256:{digest}"),
            None => self.reference.tag().unwrap_or("latest").to_owned(),
        };
        let octets = source
            .get_small(&Wanted {
                what: "the artifact's manifest",
                path: &format!("manifests/{named}"),
                media_type: Some(OCI_IMAGE_MEDIA_TYPE),
                octets_max: ARTIFACT_OCTETS_MAX,
            })
            .await?;
        let digest = Digest::of(&octets);
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            bail!(changed("the artifact", &format!("sha256:{expected}"), digest));
        }
        let manifest: OciImageManifest = serde_json::from_slice(&octets)
            .map_err(|error| Failure::new(format!("the artifact's manifest: {error}"), NO_PACKAGE))?;
        let package = Package::from_parts(parts(&source, &manifest).await?).map_err(|error| {
            let help = "the package in the registry is broken; ask its vendor to push it again";
            Failure::new(error.to_string(), help)
        })?;
        Ok((package, digest))
    }

    async fn in_time<T>(&self, transfer: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let shown = format!("{}/{}", self.reference.registry(), self.reference.repository());
        match tokio::time::timeout(TRANSFER_TIME, transfer).await {
            Ok(done) => done.map_err(explained).with_context(|| shown),
            Err(_) => bail!(Failure::new(format!("{shown}: the registry is too slow"), "try again")),
        }
    }
}

async fn parts(source: &Source, manifest: &OciImageManifest) -> anyhow::Result<Parts> {
    let (config, component, sbom, signatures) = artifact::parts(manifest)?;
    let mut parts = Parts {
        manifest: blob(source, config, MANIFEST_OCTETS_MAX).await?,
        component: blob(source, component, COMPONENT_OCTETS_MAX).await?,
        sbom: blob(source, sbom, SBOM_OCTETS_MAX).await?,
        signatures: Vec::new(),
    };
    for (name, layer) in signatures {
        parts.signatures.push((name, blob(source, layer, SIGNATURE_OCTETS_MAX).await?));
    }
    Ok(parts)
}

/// Gets what a descriptor names, and nothing else.
async fn blob(source: &Source, descriptor: &OciDescriptor, octets_max: usize) -> anyhow::Result<Vec<u8>> {
    let named = descriptor.digest.strip_prefix("sha256:").and_then(Digest::from_hex);
    let size = usize::try_from(descriptor.size).ok().filter(|size| *size <= octets_max);
    let (Some(named), Some(size)) = (named, size) else {
        let said = descriptor.size;
        let what = format!(
            "a part is said to have {said} octets, at most {octets_max} with a SHA-256 digest are taken"
        );
        bail!(Failure::new(what, NO_PACKAGE));
    };
    let what = "a part of the artifact";
    let path = format!("blobs/sha256:{named}");
    let octets = source.get(&Wanted { what, path: &path, media_type: None, octets_max: size }).await?;
    let actual = Digest::of(&octets);
    if octets.len() != size || actual != named {
        bail!(changed(what, &descriptor.digest, actual));
    }
    Ok(octets)
}

/// What to do about the more usual of a registry's answers.
fn explained(error: anyhow::Error) -> anyhow::Error {
    use oci_client::errors::OciDistributionError as Answer;
    let help = match error.downcast_ref::<Answer>() {
        Some(Answer::RegistryError { .. } | Answer::ImageManifestNotFoundError(_)) => WHICH,
        Some(Answer::UnauthorizedError { .. } | Answer::AuthenticationFailure(_)) => WHO,
        Some(Answer::RequestError(_)) => WHERE,
        _ => match error.downcast_ref::<FetchError>() {
            Some(error) => fetched(error),
            None => return error,
        },
    };
    let mut what = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        if !what.contains(&cause) {
            what = format!("{what}: {cause}");
        }
    }
    Failure::new(what, help).into()
}

/// What to do where nothing can be read.
fn fetched(error: &FetchError) -> &'static str {
    use reqwest::StatusCode;
    match error {
        FetchError::Status { status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, .. } => WHO,
        FetchError::Status { .. } => WHICH,
        FetchError::TooLarge { .. } => NO_PACKAGE,
        FetchError::TooSlow { .. } => "try again",
        FetchError::Challenge => {
            "see whether there is a registry: it should speak the OCI distribution protocol"
        }
        FetchError::Http(_) => WHERE,
    }
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

#[cfg(test)]
mod tests {
    use super::fetch::tests::{Answer, serve};
    use super::*;

    /// A package of the bundled ones, and where a registry has its parts.
    fn stored() -> (Package, Vec<(String, Answer)>) {
        let other = tempfile::tempdir().unwrap();
        let now = std::time::SystemTime::now();
        hilum_server::provision::init(other.path(), None, crate::bundled::PACKED, now).unwrap();
        let package = hilum_server::package::read(&other.path().join("plugins/access")).unwrap();
        let Artifact { manifest, blobs } = Artifact::of(&package);
        let mut answers: Vec<_> = blobs
            .into_iter()
            .map(|(descriptor, octets)| {
                (format!("/v2/access/blobs/{}", descriptor.digest), Answer::Octets(octets.to_vec()))
            })
            .collect();
        answers
            .push(("/v2/access/manifests/1".into(), Answer::Octets(serde_json::to_vec(&manifest).unwrap())));
        (package, answers)
    }

    async fn pulled(answers: Vec<(String, Answer)>) -> anyhow::Result<Package> {
        let registry = serve(answers);
        let reference = format!("{}/access:1", registry.address);
        let registry = Registry::at(&reference, &Connection { plain_http: true, ca: None })?;
        Ok(registry.pull(None).await?.0)
    }

    #[tokio::test]
    async fn a_package_comes_whole_or_not_at_all() {
        let (package, answers) = stored();
        assert_eq!(pulled(answers.clone()).await.unwrap().digest(), package.digest());
        let changed = |change: fn(&mut Vec<u8>)| {
            let mut answers = answers.clone();
            let Answer::Octets(component) = &mut answers[0].1 else { panic!("it is whole") };
            change(component);
            answers
        };
        for (answers, why) in [
            (changed(|octets| octets[100] ^= 1), "it was changed"),
            (changed(|octets| octets.truncate(100)), "not sent whole"),
            (changed(|octets| octets.push(0)), "it was not read on"),
        ] {
            let error = format!("{:#}", pulled(answers).await.unwrap_err());
            assert!(error.contains(why), "{error}");
        }
        let mut endless = answers;
        endless.last_mut().unwrap().1 = Answer::Endless("200 OK", "");
        let error = format!("{:#}", pulled(endless).await.unwrap_err());
        assert!(error.contains("the artifact's manifest has more than 262144 octets"), "{error}");
    }

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
}
