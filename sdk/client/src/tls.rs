//! TLS 1.3 both ways: our certificate for the broker, and the broker's SPIFFE ID checked against the hospital's authority.
//!
//! A workload's certificate carries its name as its one URI subject alternative name (X.509-SVID, section 2). The host that
//! answers is therefore not checked by its DNS name, unless one was asked for: who holds the key of
//! `spiffe://<hospital>/broker` is the broker, wherever it runs.

use std::sync::{Arc, OnceLock};

use hilum_core::wire::ALPN;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::error::ConnectError;

/// What TLS needs, made from PEM files.
pub(crate) struct Tls {
    pub(crate) client: ClientConfig,
    /// The SPIFFE ID in our certificate, for messages.
    pub(crate) own_name: String,
    /// Why the broker's certificate was not accepted: QUIC passes on little more than an alert.
    pub(crate) rejected: Arc<OnceLock<String>>,
}

/// Reads certificates and key, and makes the TLS configuration.
pub(crate) fn configure(
    hospital: &str,
    check_host: bool,
    ca_pem: &[u8],
    certificate_pem: &[u8],
    key_pem: &[u8],
) -> Result<Tls, ConnectError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = roots(ca_pem)?;
    let chain = certificates(certificate_pem, "our certificate")?;
    let own_name = chain.first().and_then(spiffe_id).ok_or(ConnectError::Credentials {
        what: "our certificate",
        reason: "it does not have exactly one URI subject alternative name, its SPIFFE ID".to_owned(),
    })?;
    let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| unusable("our private key", &error))?;
    let rejected = Arc::new(OnceLock::new());
    let verifier = BrokerVerifier {
        roots,
        broker: format!("spiffe://{hospital}/broker"),
        check_host,
        provider: provider.clone(),
        rejected: rejected.clone(),
    };
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| unusable("TLS 1.3", &error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(chain, key)
        .map_err(|error| unusable("our certificate with its private key", &error))?;
    client.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Tls { client, own_name, rejected })
}

fn unusable(what: &'static str, error: &impl ToString) -> ConnectError {
    ConnectError::Credentials { what, reason: error.to_string() }
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = read.map_err(|error| unusable(what, &error))?;
    if certificates.is_empty() {
        return Err(unusable(what, &"there is no certificate in it"));
    }
    Ok(certificates)
}

fn roots(ca_pem: &[u8]) -> Result<RootCertStore, ConnectError> {
    const WHAT: &str = "the hospital's authority certificate";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca_pem, WHAT)? {
        roots.add(certificate).map_err(|error| unusable(WHAT, &error))?;
    }
    Ok(roots)
}

/// The one URI subject alternative name of a certificate; none where there is not exactly one.
fn spiffe_id(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut uris = Vec::new();
    for extension in certificate.extensions() {
        if let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() {
            uris.extend(names.general_names.iter().filter_map(|name| match name {
                GeneralName::URI(uri) => Some((*uri).to_owned()),
                _ => None,
            }));
        }
    }
    let mut uris = uris.into_iter();
    uris.next().filter(|_| uris.next().is_none())
}

/// Accepts a server whose certificate the hospital's authority signed for the broker's SPIFFE ID.
#[derive(Debug)]
struct BrokerVerifier {
    roots: RootCertStore,
    broker: String,
    check_host: bool,
    provider: Arc<CryptoProvider>,
    rejected: Arc<OnceLock<String>>,
}

/// The certificate is good, but for somebody else.
#[derive(Debug, thiserror::Error)]
#[error("the server's certificate is for {found}, not for {expected}")]
struct NotTheBroker {
    found: String,
    expected: String,
}

impl BrokerVerifier {
    fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, &self.roots, intermediates, now, algorithms)?;
        let found = spiffe_id(end_entity).unwrap_or_else(|| "no single SPIFFE ID".to_owned());
        if found != self.broker {
            let error = Arc::new(NotTheBroker { found, expected: self.broker.clone() });
            // The first reason given stays, and this one is clearer than the one below.
            let _ = self.rejected.set(error.to_string());
            return Err(Error::InvalidCertificate(CertificateError::Other(OtherError(error))));
        }
        if self.check_host {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(())
    }
}

impl ServerCertVerifier for BrokerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.check(end_entity, intermediates, server_name, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(error) => {
                let _ = self.rejected.set(error.to_string());
                Err(error)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What a TLS alert in a QUIC error code says of our certificate (RFC 8446, section 6.2; RFC 9001, section 4.8).
pub(crate) fn certificate_alert(transport_code: u64) -> Option<&'static str> {
    const CRYPTO_ERROR: u64 = 0x100;
    match transport_code.checked_sub(CRYPTO_ERROR)? {
        42 => Some("it is corrupt or not valid for this use"),
        43 => Some("its type is not supported"),
        44 => Some("it is revoked"),
        45 => Some("it is expired or not valid yet"),
        46 => Some("it was found unacceptable"),
        48 => Some("it was not issued by the hospital's authority"),
        51 => Some("its signature does not verify"),
        116 => Some("a certificate is required"),
        _ => None,
    }
}
