//! A broker in memory: the protocol's server machines behind a real QUIC endpoint, with just enough behind them to be asked.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use hilum_client::{Config, Credit, Digest, Durability, Offset, Refusal, RefusalCode};
use hilum_core::Timestamp;
use hilum_core::chain::{Plan, Receipt};
use hilum_core::session::{
    Accepted, ControlServer, DownloadServer, Incoming, Machine, PublisherServer, PublisherServerEvent,
    SubscriptionServer, SubscriptionServerEvent, UploadServer,
};
use hilum_core::wire::large::UploadAck;
use hilum_core::wire::publisher::{Opened, PublishedRecord};
use hilum_core::wire::subscription::{DeliveredBody, Delivery};
use hilum_core::wire::{ALPN, CloseCode};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, RecvStream, SendStream, VarInt};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

/// A certificate authority and what it issues.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// Certificate and key in PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        Self(CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Identity {
        self.issue_until(names, 4000)
    }

    pub(crate) fn issue_until(&self, names: &[&str], year: i32) -> Identity {
        let mut parameters = CertificateParams::default();
        parameters.subject_alt_names =
            names.iter().map(|name| SanType::URI((*name).try_into().unwrap())).collect();
        parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.0).unwrap();
        Identity { certificate: certificate.pem().into_bytes(), key: key.serialize_pem().into_bytes() }
    }
}

/// What the broker was told.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) records: Vec<PublishedRecord>,
    pub(crate) large: Vec<Bytes>,
    pub(crate) acked: u64,
}

pub(crate) struct Broker {
    pub(crate) authority: Authority,
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Mutex<Seen>>,
}

/// Small, so that publishers feel it.
const CREDIT: Credit = Credit { records: 8, octets: 1 << 20 };

impl Broker {
    pub(crate) fn start() -> Self {
        Self::start_as("spiffe://st-marys/broker")
    }

    /// A broker whose certificate has this name.
    pub(crate) fn start_as(name: &str) -> Self {
        let authority = Authority::new();
        let endpoint =
            Endpoint::server(server_config(&authority, name), (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let address = endpoint.local_addr().unwrap();
        let broker = Self { authority, address, seen: seen.clone() };
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                tokio::spawn(serve_connection(incoming, seen.clone()));
            }
        });
        broker
    }

    pub(crate) fn config(&self, identity: Identity) -> Config {
        let Identity { certificate, key } = identity;
        Config::new(&self.address.to_string(), "st-marys", self.authority.pem(), certificate, key)
    }

    pub(crate) fn mri(&self) -> Config {
        self.config(self.authority.issue(&["spiffe://st-marys/device/mri-1"]))
    }
}

fn server_config(authority: &Authority, name: &str) -> quinn::ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let identity = authority.issue(&[name]);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&authority.pem()).unwrap()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(&identity.certificate).unwrap()],
            PrivateKeyDer::from_pem_slice(&identity.key).unwrap(),
        )
        .unwrap();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()))
}

async fn serve_connection(incoming: quinn::Incoming, seen: Arc<Mutex<Seen>>) {
    let Ok(connection) = incoming.await else { return };
    while let Ok((send, recv)) = connection.accept_bi().await {
        tokio::spawn(serve_stream(connection.clone(), send, recv, seen.clone()));
    }
}

async fn serve_stream(
    connection: quinn::Connection,
    mut send: SendStream,
    mut recv: RecvStream,
    seen: Arc<Mutex<Seen>>,
) {
    let mut incoming = Incoming::new();
    let accepted = loop {
        if let Some(accepted) = incoming.poll_accept().unwrap() {
            break accepted;
        }
        match read(&mut recv).await {
            Some(chunk) => incoming.handle_data(&chunk),
            None => return,
        }
    };
    match accepted {
        Accepted::Control(machine) => control(machine, send, recv).await,
        Accepted::Publisher(machine) => publisher(connection, machine, send, recv, &seen).await,
        Accepted::Subscription(machine) => subscription(machine, send, recv, &seen).await,
        Accepted::Upload(machine) => upload(machine, &mut send, recv, &seen).await,
        Accepted::Download(machine) => download(machine, send, &seen).await,
        Accepted::Admin(_) => {}
    }
}

async fn read(recv: &mut RecvStream) -> Option<Bytes> {
    recv.read_chunk(1 << 20, true).await.ok().flatten().map(|chunk| chunk.bytes)
}

/// Moves octets for a machine until it is done; `work` acts on what happened.
async fn drive<M: Machine>(
    mut machine: M,
    mut send: SendStream,
    mut recv: RecvStream,
    mut work: impl FnMut(&mut M, M::Event),
) {
    loop {
        while let Some(event) = machine.poll_event().unwrap() {
            work(&mut machine, event);
        }
        let mut out = BytesMut::new();
        machine.poll_transmit(&mut out);
        if send.write_all(&out).await.is_err() {
            return;
        }
        if machine.wants_finish() {
            let _ = send.finish();
            let _ = send.stopped().await;
            return;
        }
        match recv.read_chunk(1 << 20, true).await {
            Ok(Some(chunk)) => machine.handle_data(&chunk.bytes),
            Ok(None) => machine.handle_finish(),
            Err(_) => return,
        }
    }
}

async fn control(mut machine: ControlServer, send: SendStream, recv: RecvStream) {
    let agent = machine.hello().agent.clone();
    if agent == "unwelcome" {
        machine.refuse(Refusal::new(RefusalCode::UnknownPrincipal, "not in hilum.toml"));
    } else {
        machine.welcome("spiffe://st-marys/device/mri-1".parse().unwrap()).unwrap();
    }
    if agent == "too-late" {
        machine.goodbye("restart");
    }
    drive(machine, send, recv, |_, ()| {}).await;
}

/// Acks every record, but refuses one that says so and hangs up on one that says that.
async fn publisher(
    connection: quinn::Connection,
    mut machine: PublisherServer,
    send: SendStream,
    recv: RecvStream,
    seen: &Mutex<Seen>,
) {
    if machine.request().flow.as_str() == "nowhere" {
        machine.refuse(Refusal::new(RefusalCode::UnknownFlow, "there is no flow `nowhere`"));
    } else {
        machine.open(Opened {
            last_sequence: 0,
            known_since: Timestamp(1),
            durability: Durability::Fsynced,
            credit: CREDIT,
        });
    }
    drive(machine, send, recv, |machine, event| {
        let PublisherServerEvent::Records(publish) = event else { return };
        let mut seen = seen.lock().unwrap();
        let last = publish.first_sequence + publish.records.len() as u64 - 1;
        for (sequence, record) in (publish.first_sequence..).zip(publish.records) {
            match &record.body[..] {
                b"hang up" => connection.close(VarInt::from_u32(CloseCode::Stopping.into()), b"restart"),
                b"refuse" => {
                    let refusal = Refusal::new(RefusalCode::RefusedByPlugin, "no unit");
                    machine.refuse_record(sequence, refusal).unwrap();
                }
                _ => seen.records.push(record),
            }
        }
        let last_offset = Some(Offset(seen.records.len() as u64));
        machine.ack(last, Durability::Fsynced, last_offset).unwrap();
    })
    .await;
}

/// Delivers what was published, and last the large bodies.
async fn subscription(
    mut machine: SubscriptionServer,
    send: SendStream,
    recv: RecvStream,
    seen: &Mutex<Seen>,
) {
    machine.open(Offset(0));
    let plan = Plan::new(vec![]).digest();
    let mut ready: Vec<Delivery> = Vec::new();
    {
        let seen = seen.lock().unwrap();
        let inline = seen.records.iter().map(|record| DeliveredBody::Inline(record.body.clone()));
        let large = seen.large.iter();
        let large =
            large.map(|body| DeliveredBody::Large { size: body.len() as u64, digest: Digest::of(body) });
        let head = hilum_client::Record::new("text/plain", Bytes::new()).head;
        for (offset, body) in (0..).zip(inline.chain(large)) {
            let digest = Digest::of(b"");
            let receipt = Receipt { input: digest, plan, outcomes: vec![], output: digest };
            let offset = Offset(offset);
            let head = head.clone();
            ready.push(Delivery { number: 0, offset, attempt: 1, part: 0, parts: 1, head, body, receipt });
        }
    }
    let mut ready = ready.into_iter();
    let mut deliver = move |machine: &mut SubscriptionServer| {
        while machine.has_room() {
            let Some(delivery) = ready.next() else { break };
            machine.deliver(vec![delivery]).unwrap();
        }
    };
    deliver(&mut machine);
    drive(machine, send, recv, |machine, event| {
        if let SubscriptionServerEvent::Acked(numbers) = event {
            seen.lock().unwrap().acked += numbers.len() as u64;
        }
        deliver(machine);
    })
    .await;
}

async fn upload(mut machine: UploadServer, send: &mut SendStream, mut recv: RecvStream, seen: &Mutex<Seen>) {
    let mut body = BytesMut::new();
    if machine.request().flow.as_str() == "full" {
        machine.refuse(Refusal::retryable(RefusalCode::Unavailable, "the disk is full"));
    } else {
        machine.ready(0, Timestamp(1));
        let mut out = BytesMut::new();
        machine.poll_transmit(&mut out);
        send.write_all(&out).await.unwrap();
        let mut chunk = Some(Bytes::new());
        while let Some(octets) = chunk {
            let Ok(octets) = machine.handle_chunk(octets) else { break };
            body.extend_from_slice(&octets);
            chunk = match recv.read_chunk(1 << 20, true).await {
                Ok(chunk) => chunk.map(|chunk| chunk.bytes),
                Err(_) => return,
            };
        }
        if machine.handle_finish() == Ok(Digest::of(&body)) {
            seen.lock().unwrap().large.push(body.freeze());
            machine.ack(UploadAck { durability: Durability::Fsynced, offset: Some(Offset(0)) });
        }
    }
    let mut out = BytesMut::new();
    machine.poll_transmit(&mut out);
    send.write_all(&out).await.unwrap();
    let _ = send.finish();
    let _ = recv.stop(VarInt::from_u32(CloseCode::Done.into()));
    let _ = send.stopped().await;
}

/// Sends the first large body, damaged where the subscription is called so.
async fn download(mut machine: DownloadServer, mut send: SendStream, seen: &Mutex<Seen>) {
    let (records, body) = {
        let seen = seen.lock().unwrap();
        (seen.records.len() as u64, seen.large.first().cloned())
    };
    let request = machine.request().clone();
    let mut out = BytesMut::new();
    match body {
        Some(body) if request.offset.0 >= records => {
            machine.start(body.len() as u64, Digest::of(&body));
            machine.poll_transmit(&mut out);
            out.extend_from_slice(&body[usize::try_from(request.from).unwrap()..]);
            if request.subscription.as_str() == "damaged"
                && let Some(last) = out.last_mut()
            {
                *last ^= 1;
            }
        }
        _ => {
            machine.refuse(Refusal::new(RefusalCode::NoSuchDelivery, "it is not large"));
            machine.poll_transmit(&mut out);
        }
    }
    let _ = send.write_all(&out).await;
    let _ = send.finish();
    let _ = send.stopped().await;
}
