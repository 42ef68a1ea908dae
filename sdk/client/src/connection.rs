//! A connection to the broker: addresses, handshake, welcome, goodbye.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hilum_core::session::{ControlClient, Violation};
use hilum_core::wire::CloseCode;
use hilum_core::wire::control::{ToClient, Welcome};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::udp::UdpSocketState;
use quinn::{
    Connection, ConnectionError, Endpoint, EndpointConfig, IdleTimeout, TokioRuntime, TransportConfig, VarInt,
};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::error::{ConnectError, Lost, StreamError};
use crate::stream::{Stream, close_code};
use crate::tls::{self, Tls};

/// How long to try each address of a broker, and how long to wait for its welcome.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// After this much silence, a connection is given up (RFC 9000, section 10.1).
const SILENCE: Duration = Duration::from_secs(30);
/// How often a silent connection says that it is alive in that time.
const KEEP_ALIVES: u32 = 4;
/// Octets that may be on their way to us on one stream: so few that four large bodies leave most of the connection's to others.
const STREAM_WINDOW_OCTETS: u32 = 2 << 20;
/// Octets that may be on their way on one connection, either way.
const CONNECTION_WINDOW_OCTETS: u32 = 32 << 20;
/// Octets that the system holds for the socket, either way (Linux: at most `net.core.rmem_max` and `wmem_max`).
const SOCKET_OCTETS: usize = 2 << 20;
/// Sent as the name of the server where none is configured; the broker is verified by its SPIFFE ID.
const UNCHECKED_SERVER_NAME: &str = "broker.hilum.internal";

/// Where the broker is, and who we are.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// `host:port`.
    pub address: String,
    /// The hospital's name: the trust domain of the broker's SPIFFE ID.
    pub hospital: String,
    /// Certificates of the hospital's authority, in PEM.
    pub ca_pem: Vec<u8>,
    /// Our certificate and what it chains over, in PEM.
    pub cert_pem: Vec<u8>,
    /// Our private key, in PEM.
    pub key_pem: Vec<u8>,
    /// A DNS name or IP address that the broker's certificate must have too; none by default.
    pub server_name: Option<String>,
    /// Name and version of this software, for the broker's log.
    pub agent: String,
    /// After this much silence, a connection is given up: 30 seconds by default, and by the broker's own choice at most.
    pub silence: Duration,
}

impl Config {
    /// A configuration with what cannot have a default.
    #[must_use]
    pub fn new(address: &str, hospital: &str, ca_pem: Vec<u8>, cert_pem: Vec<u8>, key_pem: Vec<u8>) -> Self {
        Self {
            address: address.to_owned(),
            hospital: hospital.to_owned(),
            ca_pem,
            cert_pem,
            key_pem,
            server_name: None,
            agent: concat!("hilum-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            silence: SILENCE,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The private key stays out of logs.
        f.debug_struct("Config")
            .field("address", &self.address)
            .field("hospital", &self.hospital)
            .field("server_name", &self.server_name)
            .field("agent", &self.agent)
            .finish_non_exhaustive()
    }
}

/// A connection to a broker. Clones share it; it closes with the last of them, and of their publishers and subscriptions.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

/// What it takes to connect again, and the connection that came of it last.
#[derive(Debug)]
struct Renewal {
    config: Config,
    endpoint: Option<Endpoint>,
    newest: tokio::sync::Mutex<Weak<Inner>>,
}

#[derive(Debug)]
struct Inner {
    renewal: Arc<Renewal>,
    endpoint: Endpoint,
    connection: Connection,
    welcome: Welcome,
    goodbye: watch::Receiver<Option<String>>,
    control: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.control.abort();
        self.connection.close(close_code(CloseCode::Done), b"");
    }
}

impl Client {
    /// Connects, proves both identities and agrees on the version.
    pub async fn connect(config: Config) -> Result<Self, ConnectError> {
        Self::connect_with(config, None).await
    }

    /// As [`Client::connect`], through an endpoint of the caller's: over its socket and its runtime, and as one of many connections
    /// where it has more. [`Client::close`] then waits for all of them.
    pub async fn connect_through(endpoint: Endpoint, config: Config) -> Result<Self, ConnectError> {
        Self::connect_with(config, Some(endpoint)).await
    }

    async fn connect_with(config: Config, endpoint: Option<Endpoint>) -> Result<Self, ConnectError> {
        let newest = tokio::sync::Mutex::default();
        Self::establish(Arc::new(Renewal { config, endpoint, newest })).await
    }

    async fn establish(renewal: Arc<Renewal>) -> Result<Self, ConnectError> {
        let Renewal { config, endpoint, .. } = &*renewal;
        let check_host = config.server_name.is_some();
        let tls =
            tls::configure(&config.hospital, check_host, &config.ca_pem, &config.cert_pem, &config.key_pem)?;
        let quic = QuicClientConfig::try_from(tls.client.clone()).map_err(|error| {
            ConnectError::Credentials { what: "the TLS configuration", reason: error.to_string() }
        })?;
        let mut quinn_config = quinn::ClientConfig::new(Arc::new(quic));
        quinn_config.transport_config(Arc::new(transport(config.silence)));

        let (endpoint, connection) = reach(config, endpoint.as_ref(), quinn_config, &tls).await?;
        let introduced = introduce(&connection, &config.agent, &tls.own_name);
        let introduced = tokio::time::timeout(CONNECT_TIMEOUT, introduced).await;
        let (welcome, stream, machine) =
            introduced.map_err(|_| ConnectError::NoAnswer { address: config.address.clone() })??;

        let (said, goodbye) = watch::channel(None);
        let control = tokio::spawn(listen(stream, machine, said)).abort_handle();
        let inner = Inner { renewal, endpoint, connection, welcome, goodbye, control };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// This connection while it is open, otherwise the one that took its place; connects where there is none.
    pub async fn renewed(&self) -> Result<Self, ConnectError> {
        let is_open = |inner: &Inner| inner.connection.close_reason().is_none();
        if is_open(&self.inner) {
            return Ok(self.clone());
        }
        let mut newest = self.inner.renewal.newest.lock().await;
        if let Some(inner) = newest.upgrade().filter(|inner| is_open(inner)) {
            return Ok(Self { inner });
        }
        let client = Self::establish(self.inner.renewal.clone()).await?;
        *newest = Arc::downgrade(&client.inner);
        Ok(client)
    }

    /// What the broker said: version, who we are to it, limits.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        &self.inner.welcome
    }

    /// Comes back with the broker's reason when it says that it is stopping, or when the connection is lost.
    pub async fn leaving(&self) -> String {
        let mut goodbye = self.inner.goodbye.clone();
        if let Ok(reason) = goodbye.wait_for(Option::is_some).await {
            return reason.clone().unwrap_or_default();
        }
        self.closed().await.to_string()
    }

    /// Comes back when the connection is no more.
    pub async fn closed(&self) -> Lost {
        self.inner.connection.closed().await.into()
    }

    /// Closes the connection and waits until the broker heard of it. What is under way is lost: finish publishers and close
    /// subscriptions before.
    pub async fn close(&self) {
        self.inner.connection.close(close_code(CloseCode::Done), b"");
        self.inner.endpoint.wait_idle().await;
    }

    /// Opens a stream.
    pub(crate) async fn open_stream(&self) -> Result<Stream, StreamError> {
        Stream::open(&self.inner.connection).await
    }

    /// Closes the connection because the broker broke the protocol.
    pub(crate) fn close_for(&self, violation: &Violation) {
        self.inner.connection.close(close_code(violation.code), violation.reason.as_bytes());
    }
}

fn transport(silence: Duration) -> TransportConfig {
    let idle = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle))))
        .keep_alive_interval(Some(silence / KEEP_ALIVES))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_OCTETS))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_OCTETS))
        .send_window(CONNECTION_WINDOW_OCTETS.into())
        // All streams are opened by the client.
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    transport
}

/// Finds the broker and shakes hands. All addresses of the host are tried in turn, those of IPv4 first.
async fn reach(
    config: &Config,
    given: Option<&Endpoint>,
    quinn_config: quinn::ClientConfig,
    tls: &Tls,
) -> Result<(Endpoint, Connection), ConnectError> {
    let unresolved = |source| ConnectError::Address { address: config.address.clone(), source };
    let mut addresses: Vec<_> = tokio::net::lookup_host(&config.address).await.map_err(unresolved)?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let mut last = unresolved(std::io::ErrorKind::NotFound.into());
    for address in addresses {
        let endpoint = match given {
            Some(endpoint) => endpoint.clone(),
            None => bind(unspecified(address)).map_err(ConnectError::Socket)?,
        };
        let name = config.server_name.as_deref().unwrap_or(UNCHECKED_SERVER_NAME);
        let connecting = endpoint.connect_with(quinn_config.clone(), address, name).map_err(|error| {
            ConnectError::Handshake { address: config.address.clone(), reason: error.to_string() }
        })?;
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => return Ok((endpoint, connection)),
            Ok(Err(error)) => last = handshake_error(&config.address, tls, error),
            Err(_) => last = ConnectError::NoAnswer { address: config.address.clone() },
        }
    }
    Err(last)
}

/// An endpoint whose socket holds a burst of packets until we come to them, as far as the system lets it: what is dropped there is
/// sent again, and everything behind it waits.
fn bind(address: SocketAddr) -> std::io::Result<Endpoint> {
    let socket = UdpSocket::bind(address)?;
    let state = UdpSocketState::new((&socket).into())?;
    state.set_recv_buffer_size((&socket).into(), SOCKET_OCTETS)?;
    state.set_send_buffer_size((&socket).into(), SOCKET_OCTETS)?;
    Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))
}

/// Any port of any of our addresses from which `address` can be reached.
fn unspecified(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

fn handshake_error(address: &str, tls: &Tls, error: ConnectionError) -> ConnectError {
    let address = address.to_owned();
    if let Some(refused) = certificate_refused(&error, &tls.own_name) {
        return refused;
    }
    if let Some(reason) = tls.rejected.get() {
        return ConnectError::Handshake { address, reason: reason.clone() };
    }
    match error {
        ConnectionError::TimedOut => ConnectError::NoAnswer { address },
        ConnectionError::TransportError(error) => ConnectError::Handshake { address, reason: error.reason },
        other => ConnectError::Handshake { address, reason: Lost::from(other).to_string() },
    }
}

fn certificate_refused(error: &ConnectionError, own_name: &str) -> Option<ConnectError> {
    let ConnectionError::ConnectionClosed(close) = error else { return None };
    let reason = tls::certificate_alert(close.error_code.into())?.to_owned();
    Some(ConnectError::CertificateRefused { certificate: own_name.to_owned(), reason })
}

/// Says hello and waits for the welcome. A broker that does not accept our certificate says so only now (RFC 8446, section
/// 4.4.2.4: in TLS 1.3, a client's handshake is complete before the server saw its certificate).
async fn introduce(
    connection: &Connection,
    agent: &str,
    own_name: &str,
) -> Result<(Welcome, Stream, ControlClient), ConnectError> {
    let explain = |error: StreamError| {
        let refused = connection.close_reason().and_then(|reason| certificate_refused(&reason, own_name));
        refused.unwrap_or(ConnectError::Stream(error))
    };
    let mut stream = Stream::open(connection).await.map_err(explain)?;
    let mut machine = ControlClient::new(agent);
    match stream.next_event(&mut machine).await.map_err(explain)? {
        Some(ToClient::Welcome(welcome)) => Ok((welcome, stream, machine)),
        Some(ToClient::Refused(refusal)) => {
            connection.close(close_code(CloseCode::Done), b"");
            Err(ConnectError::Refused { certificate: own_name.to_owned(), refusal })
        }
        Some(ToClient::Goodbye(_)) | None => Err(explain(StreamError::Finished)),
    }
}

/// Listens on the control stream until the connection ends.
async fn listen(mut stream: Stream, mut machine: ControlClient, said: watch::Sender<Option<String>>) {
    while let Ok(Some(frame)) = stream.next_event(&mut machine).await {
        if let ToClient::Goodbye(goodbye) = frame {
            tracing::info!(reason = goodbye.reason, "the broker is stopping");
            said.send_replace(Some(goodbye.reason));
        }
    }
    // The end of our direction would say that we are leaving, so the stream is kept as long as the client.
    std::future::pending::<()>().await;
    drop((stream, said));
}
