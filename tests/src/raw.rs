//! A client that keeps to TLS and QUIC but not to our protocol.

use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::Hospital;

/// A QUIC connection to the broker as `identity`, on which nothing was sent.
pub async fn connect(hospital: &Hospital, address: &str, identity: &str) -> (Endpoint, Connection) {
    connect_with(rustls::crypto::aws_lc_rs::default_provider(), hospital, address, identity).await
}

/// As `connect`, with other cryptography.
pub async fn connect_with(
    provider: CryptoProvider,
    hospital: &Hospital,
    address: &str,
    identity: &str,
) -> (Endpoint, Connection) {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(hospital.file("authority/ca.pem")).unwrap()).unwrap();
    let folder = hospital.file(&format!("identities/{identity}"));
    let cert = CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![cert], key)
        .unwrap();
    tls.alpn_protocols = vec![b"hilum/1".to_vec()];
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap())));
    let connection = endpoint.connect(address.parse().unwrap(), "localhost").unwrap().await.unwrap();
    (endpoint, connection)
}
