//! A made hospital works: it loads, its files are private, and its certificates are what TLS wants of each side.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use tempfile::TempDir;

use super::*;

const fn bundled(name: &'static str) -> Bundled {
    let component = name.as_bytes();
    Bundled { name, description: "none", component, sbom: b"", end_of_support: "2028-12-31" }
}

/// They are no components, so that they cannot be packed.
const BUNDLED: &[Bundled] = &[
    bundled("access"),
    bundled("analytics"),
    bundled("claims"),
    bundled("deidentify"),
    bundled("encrypt"),
    bundled("relationships"),
    bundled("rooms"),
    bundled("security"),
];

const SBOM: &[u8] = br#"{"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1}"#;

/// Some day in 2026.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

fn unix(time: SystemTime) -> UnixTime {
    UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).unwrap())
}

fn made() -> (TempDir, Report) {
    made_with(BUNDLED)
}

/// The example, whose plugins are bare components here.
fn made_with(bundled: &[Bundled]) -> (TempDir, Report) {
    let place = TempDir::new().unwrap();
    let from = place.path().join("example");
    fs::create_dir_all(from.join("flows")).unwrap();
    fs::create_dir_all(from.join("policies")).unwrap();
    for (path, text) in Template::Example.files().unwrap() {
        let bare = |text: String, of: &Bundled| {
            text.replace(&format!("\"plugins/{}\"", of.name), &format!("\"plugins/{}.wasm\"", of.name))
        };
        fs::write(from.join(path), BUNDLED.iter().fold(text, bare)).unwrap();
    }
    let report = init(&place.path().join("st-marys"), Some(&from), bundled, now()).unwrap();
    (place, report)
}

fn leaf(directory: &Directory, name: &str) -> CertificateDer<'static> {
    read_certificates(&directory.identity(name).certificate).unwrap().remove(0)
}

/// Whether a client with this certificate gets through the server's handshake.
fn accepted_as_client(
    directory: &Directory,
    leaf: &CertificateDer<'_>,
    at: SystemTime,
) -> Result<(), rustls::Error> {
    let roots = read_roots(&directory.authority().certificate).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::new(default_provider()));
    verifier.build().unwrap().verify_client_cert(leaf, &[], unix(at)).map(|_| ())
}

fn accepted_as_server(
    directory: &Directory,
    leaf: &CertificateDer<'_>,
    name: &str,
) -> Result<(), rustls::Error> {
    let roots = read_roots(&directory.authority().certificate).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::new(default_provider()));
    let name = ServerName::try_from(name).unwrap();
    verifier.build().unwrap().verify_server_cert(leaf, &[], &name, &[], unix(now())).map(|_| ())
}

#[test]
fn makes_a_hospital_that_loads_with_all_its_files() {
    let (_place, report) = made();
    assert_eq!(report.hospital.name, "st-marys");
    assert!(report.hospital.zones.len() >= 5);
    assert!(report.plugins_missing.is_empty());
    config::check_files(&report.hospital).unwrap();
}

#[test]
fn private_files_are_for_their_owner_alone() {
    let (_place, report) = made();
    let directory = &report.hospital.directory;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let mut private =
        vec![directory.authority().key, directory.key_encryption_key(), directory.plugin_signing().key];
    private.extend(report.hospital.identities.keys().map(|name| directory.identity(name).key));
    private.extend(report.hospital.keys.values().map(|key| key.path.clone()));
    for path in &private {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
    for folder in ["", "authority", "identities", "identities/mri-1", "keys", "plugins"] {
        assert_eq!(mode(&directory.join(folder)), 0o700, "{folder}");
    }
}

#[test]
fn secrets_differ_and_can_be_read_back() {
    let (_place, report) = made();
    let kek = read_secret(&report.hospital.directory.key_encryption_key()).unwrap();
    let research = read_secret(&report.hospital.keys["research"].path).unwrap();
    assert_ne!(*kek, *research);
    assert_ne!(*kek, [0; SECRET_OCTETS]);
}

#[test]
fn the_server_is_one_and_the_clients_are_clients() {
    let (_place, report) = made();
    let directory = &report.hospital.directory;
    let broker = leaf(directory, "broker");
    for name in ["localhost", "127.0.0.1", "::1"] {
        accepted_as_server(directory, &broker, name).unwrap();
    }
    assert!(accepted_as_server(directory, &broker, "elsewhere.example").is_err());
    assert!(accepted_as_client(directory, &broker, now()).is_err());
    for (name, principal) in &report.hospital.identities {
        let client = leaf(directory, name);
        accepted_as_client(directory, &client, now()).unwrap();
        assert!(accepted_as_server(directory, &client, "localhost").is_err());
        assert_eq!(spiffe_id(&client).unwrap(), principal.id);
        read_private_key(&directory.identity(name).key).unwrap();
    }
    assert_eq!(spiffe_id(&broker).unwrap(), report.hospital.broker_id());
}

#[test]
fn an_identity_ends_when_it_should() {
    let (_place, report) = made();
    let directory = &report.hospital.directory;
    let client = leaf(directory, "mri-1");
    let day = Duration::from_secs(24 * 60 * 60);
    accepted_as_client(directory, &client, now() + day * 396).unwrap();
    assert!(accepted_as_client(directory, &client, now() + day * 398).is_err());

    let authority = read_authority(&directory.authority()).unwrap();
    let validity = Validity { not_before: now() - day * 2, not_after: now() - day };
    let id = &report.hospital.identities["mri-1"].id;
    let expired = authority.issue(&Request { id, usage: Usage::Client, validity }).unwrap();
    let expired = certificate_of(&expired);
    assert!(accepted_as_client(directory, &expired, now()).is_err());
    accepted_as_client(directory, &expired, now() - day - day / 2).unwrap();
}

#[test]
fn another_authority_is_not_believed() {
    let ((_one, report), (_two, other)) = (made(), made());
    let stranger = leaf(&other.hospital.directory, "mri-1");
    assert!(accepted_as_client(&report.hospital.directory, &stranger, now()).is_err());
}

#[test]
fn running_again_makes_only_what_is_missing() {
    let (_place, report) = made();
    let directory = report.hospital.directory;
    let before = fs::read(directory.identity("mri-1").key).unwrap();
    let again = init(directory.path(), None, BUNDLED, now()).unwrap();
    assert_eq!(again.made, []);

    let main = fs::read_to_string(directory.main_file()).unwrap();
    let added =
        "\n[principals.mri-2]\npath = \"device/mri-2\"\nstakeholder = \"imaging-dept\"\nzone = \"device\"\n";
    fs::write(directory.main_file(), main + added).unwrap();
    fs::remove_file(directory.join("plugins/access.wasm")).unwrap();
    let again = init(directory.path(), None, BUNDLED, now()).unwrap();
    let made: Vec<_> = again.made.iter().map(|made| made.path.as_str()).collect();
    assert_eq!(made, ["identities/mri-2", "plugins/access.wasm"]);
    assert_eq!(fs::read(directory.identity("mri-1").key).unwrap(), before);
    accepted_as_client(&directory, &leaf(&directory, "mri-2"), now()).unwrap();
}

#[test]
fn a_private_key_may_be_moved_away_and_the_authority_kept_offline() {
    let (_place, report) = made();
    let directory = &report.hospital.directory;
    fs::remove_file(directory.identity("mri-1").key).unwrap();
    fs::remove_file(directory.authority().key).unwrap();
    assert_eq!(init(directory.path(), None, BUNDLED, now()).unwrap().made, []);
    config::check_files(&report.hospital).unwrap();

    fs::remove_dir_all(directory.join("identities/mri-1")).unwrap();
    let error = init(directory.path(), None, BUNDLED, now()).unwrap_err();
    assert!(matches!(&error, InitError::AuthorityIncomplete { missing } if missing.ends_with("ca-key.pem")));
}

#[test]
fn what_comes_with_hilum_is_packed_and_signed_with_a_key_that_may_then_go_offline() {
    let (_place, report) = made();
    let directory = &report.hospital.directory;
    let components = crate::fixture::bundled_component("hilum-encrypt");
    let real = Bundled { component: components, sbom: SBOM, ..bundled("encrypt") };
    let main = fs::read_to_string(directory.main_file()).unwrap();
    fs::write(directory.main_file(), main.replace("plugins/encrypt.wasm", "plugins/encrypt")).unwrap();
    let hospital = init(directory.path(), None, &[real], now()).unwrap().hospital;
    let package = crate::package::read(&directory.join("plugins/encrypt")).unwrap();
    let policy = crate::chains::policy(&hospital).unwrap();
    let at = |days: u64| hilum_core::Timestamp((1_790_000_000 + days * 86_400) * 1000);
    let examined = policy.examine(&package, at(0)).unwrap();
    assert_eq!(examined.signers[0].name.as_deref(), Some("hospital"));
    assert_eq!((package.manifest().name.as_str(), examined.warnings.len()), ("encrypt", 0));
    assert_eq!(policy.examine(&package, at(3650)).unwrap().warnings.len(), 1, "its support has ended");

    fs::remove_file(directory.plugin_signing().key).unwrap();
    assert_eq!(init(directory.path(), None, &[real], now()).unwrap().made, []);
    fs::remove_dir_all(directory.join("plugins/encrypt")).unwrap();
    let error = init(directory.path(), None, &[real], now()).unwrap_err();
    assert!(
        matches!(&error, InitError::SigningKeyMissing { missing } if missing.ends_with("plugins-key.pem"))
    );
}

#[test]
fn touches_no_directory_that_is_something_else() {
    let place = TempDir::new().unwrap();
    fs::write(place.path().join("thesis.txt"), "years of work").unwrap();
    let error = init(place.path(), None, BUNDLED, now()).unwrap_err();
    assert!(matches!(error, InitError::NotAHospital(_)), "{error}");
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

#[test]
fn starts_from_a_template_but_only_in_a_new_directory() {
    let (place, report) = made();
    let copy = place.path().join("copy");
    let from = report.hospital.directory.path();
    let copied = init(&copy, Some(from), BUNDLED, now()).unwrap();
    assert_eq!(copied.hospital.flows.len(), report.hospital.flows.len());
    let keys = [from, &copy].map(|directory| fs::read(directory.join("keys/kek")).unwrap());
    assert_ne!(keys[0], keys[1]);
    let error = init(&copy, Some(from), BUNDLED, now()).unwrap_err();
    assert!(matches!(error, InitError::HasConfiguration(_)), "{error}");
}

#[test]
fn a_wrong_template_makes_nothing() {
    let place = TempDir::new().unwrap();
    let (template, target) = (place.path().join("template"), place.path().join("target"));
    fs::create_dir_all(template.join("flows")).unwrap();
    fs::write(template.join("hilum.toml"), "[hospital]\nname = \"x\"\n").unwrap();
    assert!(matches!(init(&target, Some(&template), BUNDLED, now()), Err(InitError::Configuration(_))));
    assert!(!target.exists());
}

#[test]
fn plugins_that_are_nowhere_are_named() {
    let (_place, report) = made_with(&BUNDLED[..4]);
    assert_eq!(report.plugins_missing, ["encrypt", "relationships", "rooms", "security"]);
}

#[test]
fn what_others_can_read_is_no_secret() {
    let (_place, report) = made();
    let path = report.hospital.directory.key_encryption_key();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(read_secret(&path), Err(CredentialError::Exposed { mode: 0o640, .. })));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "short").unwrap();
    assert!(matches!(read_secret(&path), Err(CredentialError::Secret { .. })));
}

#[test]
fn a_certificate_names_exactly_one_principal() {
    let authority = Authority::make("st-marys", Validity::days(now(), 1)).unwrap();
    assert_eq!(spiffe_id(&certificate_of(&authority)), Err(PeerError::Authority));
    assert_eq!(spiffe_id(b"garbage"), Err(PeerError::Malformed));
    let with = |names: &[&str]| {
        let mut params = rcgen::CertificateParams::default();
        params.subject_alt_names =
            names.iter().map(|n| rcgen::SanType::URI((*n).try_into().unwrap())).collect();
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        spiffe_id(params.self_signed(&key).unwrap().der())
    };
    assert_eq!(with(&["spiffe://a/b"]).unwrap().as_str(), "spiffe://a/b");
    assert_eq!(with(&[]), Err(PeerError::UriCount(0)));
    assert_eq!(with(&["spiffe://a/b", "spiffe://a/c"]), Err(PeerError::UriCount(2)));
    assert!(matches!(with(&["https://a/b"]), Err(PeerError::Id(_))));
}

fn certificate_of(issued: &Issued) -> CertificateDer<'static> {
    use rustls::pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(issued.certificate_pem.as_bytes()).unwrap()
}
