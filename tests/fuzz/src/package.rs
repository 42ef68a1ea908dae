//! Packages of plugins: whatever octets a registry or a directory gives, they are refused, or they are the package that was signed.

use std::sync::LazyLock;

use hilum_core::chain::World;
use hilum_sandbox::package::{
    Algorithm, Content, Envelope, FORMAT, Manifest, Package, Parts, PublicKey, SigningKey, sbom,
};

use crate::memory;

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

const COMPONENT: &[u8] = b"no component";
const SBOM: &[u8] = br#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"name":"a"}]}"#;

/// A key of Ed25519, whose signatures are the same each time.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJIPhCFVaDim2q4+4T+br+GfHWbRkjFmTnUqjV2GVuiw\n-----END PRIVATE KEY-----\n";

/// A package that one key signed.
static SIGNED: LazyLock<(SigningKey, Package)> = LazyLock::new(|| {
    let key = SigningKey::from_pem(KEY.as_bytes()).expect("it is a key");
    let manifest = manifest().to_octets().expect("it is one");
    let parts = Parts { manifest, component: COMPONENT.into(), sbom: SBOM.into(), signatures: Vec::new() };
    let mut package = Package::from_parts(parts).expect("it is one");
    package.sign(&key).expect("there is randomness");
    (key, package)
});

fn manifest() -> Manifest {
    Manifest {
        format: FORMAT,
        name: "clean".parse().expect("it is a name"),
        version: "1.2.0".into(),
        world: World::Observe,
        wit: "1.0.0".into(),
        component: Content::of(COMPONENT),
        sbom: Content::of(SBOM),
        imports: vec!["hilum:plugin/log@1.0.0".into()],
        removes: Vec::new(),
        licence: "MIT".into(),
        vendor: "Example".into(),
        description: String::new(),
        created: "2026-01-01".parse().expect("it is a day"),
        end_of_support: "2030-12-31".parse().expect("it is a day"),
    }
}

/// The first octet says what the others are.
pub fn check(octets: &[u8]) {
    let (key, signed) = &*SIGNED;
    let Some((kind, octets)) = octets.split_first() else { return };
    let mut parts = signed.parts().clone();
    match kind % 5 {
        0 => read_manifest(octets, &mut parts),
        1 => {
            read_envelope(octets);
            parts.signatures[0].1 = octets.to_vec();
        }
        2 => parts.sbom = octets.to_vec(),
        3 => return read_key(octets),
        _ => drop(sbom::Summary::parse(octets)),
    }
    let Ok(package) = Package::from_parts(parts) else { return };
    let verifies = |of: &Envelope| of.is_by(key.public(), &package.parts().manifest);
    if package.signatures().iter().any(verifies) {
        assert_eq!(package.digest(), signed.digest(), "another package with the same signature");
        assert_eq!(package.parts().sbom, signed.parts().sbom);
    }
}

/// What is read is written so that it is read again.
fn read_manifest(octets: &[u8], parts: &mut Parts) {
    if let Ok(manifest) = Manifest::parse(octets) {
        let written = manifest.to_octets().expect("what is read can be written");
        assert_eq!(Manifest::parse(&written), Ok(manifest));
    }
    parts.manifest = octets.to_vec();
    parts.signatures.retain(|_| octets.len().is_multiple_of(2));
}

/// An envelope is written in one way, and a signature of Ed25519 over a manifest is the only one of its key (RFC 8032, section 8.4).
fn read_envelope(octets: &[u8]) {
    let (key, signed) = &*SIGNED;
    let manifest = &signed.parts().manifest;
    let Ok(envelope) = Envelope::parse(octets, manifest) else { return };
    assert_eq!(envelope.to_octets(manifest), octets);
    if envelope.is_by(key.public(), manifest) {
        assert_eq!(octets, signed.parts().signatures[0].1, "another signature of the same key");
    }
}

/// A key has one form.
fn read_key(octets: &[u8]) {
    if let Ok(key) = PublicKey::from_pem(octets) {
        let again = PublicKey::from_pem(key.to_pem().as_bytes()).expect("it was written a moment ago");
        assert_eq!(again, key);
    }
    drop(SigningKey::from_pem(octets));
}

/// Each part of a package, and keys.
pub fn seeds() -> Vec<Vec<u8>> {
    let (key, signed) = &*SIGNED;
    let parts = signed.parts();
    let pem = |algorithm| SigningKey::generate(algorithm).expect("there is randomness").public().to_pem();
    let seed = |kind: u8, octets: &[u8]| [&[kind], octets].concat();
    vec![
        seed(0, &parts.manifest),
        seed(1, &parts.signatures[0].1),
        seed(2, &parts.sbom),
        seed(3, key.public().to_pem().as_bytes()),
        seed(3, pem(Algorithm::P256).as_bytes()),
        seed(3, key.to_pem().expect("it is a key").as_bytes()),
        seed(4, &parts.sbom),
    ]
}
