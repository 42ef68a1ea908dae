//! Who and what there is in a simulated hospital: the configuration beside this file, and identities made for the run.
//!
//! The keys are of Ed25519, whose signatures always have the same length: handshakes of two runs then have datagrams of the
//! same sizes.

use std::path::Path;

use hilum_client::Config;
use hilum_server::config::{self, Hospital};
use hilum_server::endpoint::ServerIdentity;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ED25519, SanType, SerialNumber,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::network::BROKER;
use super::tally;

/// The certificate authority of a run.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
#[derive(Clone)]
pub(super) struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Vec<u8>,
}

/// Reads the configuration. In most runs nobody observes: a plugin takes longer to compile than a run takes without one.
pub(super) fn hospital(observes: bool) -> Hospital {
    let mut hospital = config::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sim/hospital"))
        .unwrap_or_else(|problems| panic!("{problems}"));
    for plugin in hospital.plugins.values_mut() {
        plugin.path = tally::component();
    }
    if !observes {
        hospital.flows.values_mut().for_each(|flow| flow.ingress.clear());
    }
    hospital
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut parameters = parameters(1);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        Self(CertifiedIssuer::self_signed(parameters, key).unwrap())
    }

    /// An identity `spiffe://sim/<path>`.
    pub(super) fn issue(&self, serial: u64, path: &str) -> Identity {
        let mut parameters = parameters(serial);
        let name = format!("spiffe://sim/{path}");
        parameters.subject_alt_names = vec![SanType::URI(name.as_str().try_into().unwrap())];
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let certificate = parameters.signed_by(&key, &self.0).unwrap();
        Identity {
            certificate: certificate.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
            authority: self.0.pem().into_bytes(),
        }
    }
}

fn parameters(serial: u64) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.serial_number = Some(SerialNumber::from(serial));
    parameters
}

impl Identity {
    /// How a client with this identity reaches the broker.
    pub(super) fn client(&self) -> Config {
        Config::new(
            &BROKER.to_string(),
            "sim",
            self.authority.clone(),
            self.certificate.clone(),
            self.key.clone(),
        )
    }

    pub(super) fn server(&self) -> ServerIdentity {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&self.authority).unwrap()).unwrap();
        ServerIdentity {
            chain: vec![CertificateDer::from_pem_slice(&self.certificate).unwrap()],
            key: PrivateKeyDer::from_pem_slice(&self.key).unwrap(),
            roots: roots.into(),
        }
    }
}
