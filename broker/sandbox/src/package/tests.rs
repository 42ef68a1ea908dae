//! A package is what was packed and signed, to the octet, or it is refused.

use hilum_core::chain::World;
use proptest::prelude::*;

use super::*;

pub(crate) const SBOM: &[u8] = br#"{"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}"#;

pub(crate) fn manifest(component: &[u8]) -> Manifest {
    Manifest {
        format: FORMAT,
        name: "clean".parse().unwrap(),
        version: "1.2.0".into(),
        world: World::Transform,
        wit: "1.0.0".into(),
        component: Content::of(component),
        sbom: Content::of(SBOM),
        imports: vec!["hilum:plugin/keys@1.0.0".into(), "hilum:plugin/types@1.0.0".into()],
        removes: vec!["phi".parse().unwrap()],
        licence: "MIT".into(),
        vendor: "Example GmbH".into(),
        description: "cleans".into(),
        created: "2026-01-01".parse().unwrap(),
        end_of_support: "2030-12-31".parse().unwrap(),
    }
}

/// A package of something that is no component, which nobody looks at here.
pub(crate) fn package(signers: &[&SigningKey]) -> Package {
    let component = b"no component".to_vec();
    let octets = manifest(&component).to_octets().unwrap();
    let parts = Parts { manifest: octets, component, sbom: SBOM.to_vec(), signatures: Vec::new() };
    let mut package = Package::from_parts(parts).unwrap();
    for key in signers {
        package.sign(key).unwrap();
    }
    package
}

pub(crate) fn key(algorithm: Algorithm) -> SigningKey {
    SigningKey::generate(algorithm).unwrap()
}

#[test]
fn a_package_comes_back_from_its_parts_with_all_signatures() {
    let (ann, ben) = (key(Algorithm::Ed25519), key(Algorithm::P256));
    let mut package = package(&[&ann, &ben]);
    package.sign(&ben).unwrap();
    assert_eq!(package.signatures().len(), 2, "who signs again replaces his signature");
    let again = Package::from_parts(package.parts().clone()).unwrap();
    assert_eq!((again.digest(), again.manifest()), (package.digest(), package.manifest()));
    for (envelope, by) in again.signatures().iter().zip([&ann, &ben]) {
        assert!(envelope.is_by(by.public(), &again.parts().manifest));
    }
    assert_eq!(again.manifest().folder(), "clean-1.2.0");
}

#[test]
fn what_a_later_hilum_wrote_is_told() {
    let text = String::from_utf8(package(&[]).parts().manifest.clone()).unwrap();
    let error = Manifest::parse(text.replace("\"format\": 1", "\"format\": 2").as_bytes()).unwrap_err();
    assert_eq!(error, ManifestError::Format(2));
    assert!(error.to_string().contains("update Hilum"));
}

#[test]
fn a_manifest_with_anything_strange_is_refused() {
    let text = String::from_utf8(package(&[]).parts().manifest.clone()).unwrap();
    let changes = [
        ("\"format\": 1,", "\"format\": 1, \"unless\": \"tuesday\","),
        ("\"clean\"", "\"../clean\""),
        ("\"1.2.0\"", "\"../1\""),
        ("\"1.2.0\"", "\"\""),
        ("\"transform\"", "\"transmogrify\""),
        ("\"1.0.0\"", "\"1\""),
        ("hilum:plugin/keys@1.0.0", "wasi:sockets/tcp@0.2.0"),
        ("hilum:plugin/keys@1.0.0", "hilum:plugin/zeta@1.0.0"),
        ("\"Example GmbH\"", "\"\""),
        ("\"Example GmbH\"", "\"Example\\nGmbH\""),
        ("2030-12-31", "2030-02-30"),
        ("\"size\": 12", "\"size\": 0"),
        ("\"vendor\"", "\"licence\": \"MIT\", \"vendor\""),
    ];
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        assert!(Manifest::parse(text.replacen(from, to, 1).as_bytes()).is_err(), "{from} -> {to}");
    }
    Manifest::parse(text.as_bytes()).unwrap();
}

#[test]
fn a_part_that_was_changed_is_named_with_what_it_should_be() {
    let mut parts = package(&[]).parts().clone();
    parts.component = b"another one!".to_vec();
    let error = Package::from_parts(parts).unwrap_err();
    assert!(matches!(error, PackageError::Changed { file: Package::COMPONENT, .. }), "{error}");
    assert!(error.to_string().contains("the file was changed"), "{error}");
}

#[test]
fn a_signature_is_in_a_file_of_its_keys_name_and_there_are_not_too_many() {
    let ann = key(Algorithm::Ed25519);
    let mut parts = package(&[&ann]).parts().clone();
    parts.signatures[0].0 = "somebody.json".into();
    let error = Package::from_parts(parts.clone()).unwrap_err();
    assert!(matches!(error, PackageError::Signature { source: EnvelopeError::FileName(_), .. }), "{error}");
    parts.signatures = vec![parts.signatures[0].clone(); SIGNATURES_MAX + 1];
    assert_eq!(Package::from_parts(parts).unwrap_err(), PackageError::Signatures(SIGNATURES_MAX + 1));
}

proptest! {
    /// Whichever octet of whichever file is changed: the package is refused, or the signature no longer verifies.
    #[test]
    fn no_octet_can_be_changed(file in 0..4usize, at in any::<prop::sample::Index>(), change in 1..=255u8) {
        let ann = key(Algorithm::Ed25519);
        let mut parts = package(&[&ann]).parts().clone();
        let octets = match file {
            0 => &mut parts.manifest,
            1 => &mut parts.component,
            2 => &mut parts.sbom,
            _ => &mut parts.signatures[0].1,
        };
        let at = at.index(octets.len());
        octets[at] ^= change;
        if let Ok(package) = Package::from_parts(parts) {
            prop_assert_eq!(file, 3, "only a signature's own octets can still look like one");
            prop_assert!(!package.signatures()[0].is_by(ann.public(), &package.parts().manifest));
        }
    }

    /// Octets of anybody are refused, or are a manifest that is written as it was read.
    #[test]
    fn any_octets_are_refused_or_read(octets in prop::collection::vec(any::<u8>(), 0..256)) {
        prop_assert!(Manifest::parse(&octets).is_err());
        prop_assert!(Envelope::parse(&octets, b"none").is_err());
        prop_assert!(sbom::Summary::parse(&octets).is_err());
    }
}
