//! The QUIC endpoint: mutual TLS 1.3 and nothing less.
//!
//! Key exchange prefers the hybrid X25519MLKEM768, so that what is recorded on the wire today stays closed to a quantum
//! computer later. Every client shows a certificate of the hospital's own authority; who it is, is read from it.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::udp::UdpSocketState;
use quinn::{Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TokioRuntime, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use crate::quic::window::{RECEIVE_OCTETS, SEND_OCTETS, STREAM_OCTETS};

/// The application protocol (RFC 7301) of this major version.
pub const ALPN: &[u8] = b"hilum/1";

/// Streams that one connection may have open: publishers, subscriptions and large bodies together.
const STREAMS_MAX: u32 = 256;
/// Octets that the system holds for the socket, either way (Linux: at most `net.core.rmem_max` and `wmem_max`). What does not fit there
/// is dropped and sent again, and on its stream everything behind it waits.
const SOCKET_OCTETS: usize = 4 << 20;
/// A peer that is silent for longer is gone.
const IDLE_MS: u32 = 30_000;
/// Handshakes under way.
const INCOMING_MAX: usize = 1024;

/// What the endpoint shows and whom it trusts.
pub struct ServerIdentity {
    /// The broker's certificate and those between it and the authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// The broker's private key.
    pub key: PrivateKeyDer<'static>,
    /// The hospital's authority.
    pub roots: Arc<RootCertStore>,
}

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The certificate or key does not serve.
    #[error("the broker's certificate and key cannot be used: {0}")]
    Tls(#[from] rustls::Error),
    /// The authority does not serve.
    #[error("the authority's certificate cannot be used: {0}")]
    Authority(#[from] rustls::client::VerifierBuilderError),
    /// The cipher suites do not serve QUIC; a defect of the build.
    #[error("no cipher suite for QUIC: {0}")]
    Cipher(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
    /// The address is taken or not ours.
    #[error(
        "cannot listen on {address}: {source}; choose another `listen` in hilum.toml, or stop what listens there"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// How the broker speaks to those who connect.
pub fn server_config(identity: ServerIdentity) -> Result<ServerConfig, EndpointError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(identity.roots, provider.clone()).build()?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain, identity.key)?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    // 0-RTT data can be replayed by an attacker; a publish must not be.
    tls.max_early_data_size = 0;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport())).max_incoming(INCOMING_MAX);
    Ok(config)
}

/// Listens for connections at an address of this machine.
pub fn bind(address: SocketAddr, config: ServerConfig) -> Result<Endpoint, EndpointError> {
    let bound = UdpSocket::bind(address).and_then(|socket| {
        let state = UdpSocketState::new((&socket).into())?;
        state.set_recv_buffer_size((&socket).into(), SOCKET_OCTETS)?;
        state.set_send_buffer_size((&socket).into(), SOCKET_OCTETS)?;
        Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))
    });
    bound.map_err(|source| EndpointError::Bind { address, source })
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(STREAMS_MAX.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(STREAM_OCTETS.into())
        .receive_window(RECEIVE_OCTETS.into())
        .send_window(SEND_OCTETS)
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MS))))
        .keep_alive_interval(Some(Duration::from_millis(u64::from(IDLE_MS) / 3)))
        .datagram_receive_buffer_size(None);
    transport
}
