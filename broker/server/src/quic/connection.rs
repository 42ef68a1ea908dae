//! Lets clients in: handshake, identity from the certificate, the control stream, then a task for each further stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hilum_core::audit::Action;
use hilum_core::session::{Accepted, ControlServer, Incoming, Machine};
use hilum_core::wire::{CloseCode, Refusal, RefusalCode};
use hilum_core::{Principal, PrincipalId};
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::pace::Pace;
use super::window::Window;
use super::{
    DOWNLOADS_OCTETS, LARGE_BODIES_MAX, Session, Stream, StreamError, WINDOWS_OCTETS, admin, close_code,
    download, publisher, read, subscription, upload,
};
use crate::broker::About;
use crate::flows::{Flows, Rules};
use crate::memory::Account;
use crate::provision::spiffe_id;

/// A client that does not finish the handshake and its hello in this time is let go.
const HELLO_TIME: Duration = Duration::from_secs(10);
/// Streams that every connection may have.
pub(super) const OWN_STREAMS: usize = 4;
/// Streams that all connections together may have beyond those.
pub(super) const STREAMS_MAX: usize = 16_384;
/// How long streams may finish what is under way when the broker stops or the client is leaving.
const GOODBYE_TIME: Duration = Duration::from_secs(5);

/// Takes connections until `stopping` says so, then lets those that are open finish.
pub async fn serve(
    endpoint: Endpoint,
    flows: Arc<Flows>,
    connections_max: u32,
    mut stopping: watch::Receiver<bool>,
) {
    let open = Arc::new(AtomicU32::new(0));
    let memory = &flows.shared.memory;
    let common = Common {
        uploads: upload::Uploads::new(flows.body_octets_max),
        sending: memory.account(DOWNLOADS_OCTETS),
        windows: memory.account(WINDOWS_OCTETS),
        streams: Arc::new(Semaphore::new(STREAMS_MAX)),
        flows,
    };
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                if open.load(Ordering::Relaxed) >= connections_max {
                    tracing::warn!(connections_max, "a connection was refused: too many are open");
                    incoming.refuse();
                    continue;
                }
                // When it gets crowded, an address has to prove that it is its sender's before it costs a handshake.
                if open.load(Ordering::Relaxed) >= connections_max / 2 && incoming.may_retry() {
                    // It fails only where a retry may not be asked for.
                    let _ = incoming.retry();
                    continue;
                }
                let (common, stopping) = (common.clone(), stopping.clone());
                let counted = Counted::new(&open);
                connections.spawn(async move {
                    connection(incoming, common, stopping).await;
                    drop(counted);
                });
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = stopped(&mut stopping) => break,
        }
    }
    while connections.join_next().await.is_some() {}
    endpoint.close(close_code(CloseCode::Stopping), b"stopping");
    endpoint.wait_idle().await;
}

/// What all connections share.
#[derive(Clone)]
struct Common {
    flows: Arc<Flows>,
    uploads: Arc<upload::Uploads>,
    sending: Account,
    windows: Account,
    /// For streams beyond those that every connection may have.
    streams: Arc<Semaphore>,
}

/// One of the open connections, until it is dropped.
struct Counted(Arc<AtomicU32>);

impl Counted {
    fn new(open: &Arc<AtomicU32>) -> Self {
        open.fetch_add(1, Ordering::Relaxed);
        Self(open.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Comes when the broker stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that whoever would tell us is gone.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn connection(incoming: quinn::Incoming, common: Common, mut stopping: watch::Receiver<bool>) {
    let (address, flows) = (incoming.remote_address(), common.flows.clone());
    let handshake = tokio::select! {
        handshake = tokio::time::timeout(HELLO_TIME, handshake(incoming)) => handshake,
        () = stopped(&mut stopping) => return,
    };
    let connection = match handshake {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => {
            // Also every certificate of another authority and every expired one: rustls says which.
            tracing::warn!(%address, %error, "a connection was refused");
            let event = About::default().event(
                flows.shared.now(),
                Action::ConnectionRefused,
                format!("{address}: {error}"),
            );
            flows.shared.audit_refusal(event).await;
            return;
        }
        Err(_) => {
            tracing::warn!(%address, "a connection was given up: its handshake took too long");
            return;
        }
    };
    let id = match identify(&connection) {
        Ok(id) => id,
        Err(reason) => {
            tracing::warn!(%address, reason, "a connection was refused");
            let event = About::default().event(
                flows.shared.now(),
                Action::ConnectionRefused,
                format!("{address}: {reason}"),
            );
            flows.shared.audit_refusal(event).await;
            connection.close(close_code(CloseCode::UnknownPrincipal), reason.as_bytes());
            return;
        }
    };
    flows.shared.instruments.connections(1);
    admitted(&connection, id, common, stopping).await;
    flows.shared.instruments.connections(-1);
}

async fn handshake(incoming: quinn::Incoming) -> Result<Connection, ConnectionError> {
    incoming.accept()?.await
}

/// The SPIFFE ID of the client's certificate, which rustls has verified against the hospital's authority.
fn identify(connection: &Connection) -> Result<PrincipalId, String> {
    let identity = connection.peer_identity().ok_or("the client showed no certificate")?;
    let chain = identity.downcast::<Vec<CertificateDer<'static>>>().map_err(|_| "no certificate chain")?;
    let leaf = chain.first().ok_or("the certificate chain is empty")?;
    spiffe_id(leaf).map_err(|error| error.to_string())
}

/// The control stream comes first; then streams are served until the client leaves or the broker stops.
async fn admitted(
    connection: &Connection,
    id: PrincipalId,
    common: Common,
    mut stopping: watch::Receiver<bool>,
) {
    let Common { flows, uploads, sending, windows, streams: further } = common;
    // Asked for first: no change may be missed.
    let mut changes = flows.changes();
    let control = tokio::select! {
        control = tokio::time::timeout(HELLO_TIME, control(connection, &id, &flows)) => control,
        () = stopped(&mut stopping) => {
            return connection.close(close_code(CloseCode::Stopping), b"the broker is stopping");
        }
    };
    let (mut machine, mut stream, principal) = match control {
        Ok(Ok(Some(control))) => control,
        Ok(Ok(None)) => return,
        Ok(Err(error)) => return broken(connection, &id, &error),
        Err(_) => return connection.close(close_code(CloseCode::TimedOut), b"no hello came"),
    };
    tracing::info!(principal = %id, agent = machine.hello().agent, "connected");
    let session = Arc::new(Session {
        flows,
        principal,
        deliveries: Arc::default(),
        window: Window::new(connection.clone(), windows),
        uploads,
        sending,
        uploading: Semaphore::new(LARGE_BODIES_MAX),
        downloading: Semaphore::new(LARGE_BODIES_MAX),
        pace: Pace::default(),
    });
    let mut streams = JoinSet::new();
    let code = loop {
        tokio::select! {
            accepted = next_stream(connection, streams.len(), &further) => {
                let Ok((send, recv, place)) = accepted else { break CloseCode::Done };
                let (session, connection) = (session.clone(), connection.clone());
                streams.spawn(async move {
                    if let Err(error) = serve_stream(&session, Stream::new(send, recv)).await {
                        broken(&connection, &session.principal.id, &error);
                    }
                    drop(place);
                });
            }
            Some(_) = streams.join_next(), if !streams.is_empty() => {}
            // The control stream says nothing more but its end, which the connection's own end says too.
            chunk = read(&mut stream.recv) => {
                let Ok(Some(octets)) = chunk else { break CloseCode::Done };
                machine.handle_data(&octets);
                if let Err(violation) = machine.poll_event() {
                    broken(connection, &id, &violation.into());
                    break CloseCode::Unexpected;
                }
            }
            Ok(()) = changes.changed() => {
                if let Some(code) = changed(&changes.borrow_and_update(), &session, &mut machine) {
                    break code;
                }
            }
            () = stopped(&mut stopping) => {
                machine.goodbye("the broker is stopping");
                break CloseCode::Stopping;
            }
        }
    };
    if code == CloseCode::UnknownPrincipal {
        return turned_out(connection, &session, streams).await;
    }
    part(connection, code, &mut stream, &mut machine, &mut streams).await;
    tracing::info!(principal = %id, reason = ?connection.close_reason().map(|reason| reason.to_string()), "disconnected");
}

/// Says goodbye, and ends the connection with everything on it.
async fn part(
    connection: &Connection,
    code: CloseCode,
    stream: &mut Stream,
    machine: &mut ControlServer,
    streams: &mut JoinSet<()>,
) {
    // A client that does not read must not keep the broker from stopping.
    let finish = async {
        let _ = stream.flush(machine).await;
        while streams.join_next().await.is_some() {}
    };
    let _ = tokio::time::timeout(GOODBYE_TIME, finish).await;
    connection.close(close_code(code), b"");
    // Streams end by themselves when their connection does; subscriptions write their cursors then.
    while streams.join_next().await.is_some() {}
}

/// How the connection ends, if another configuration says something else of its principal.
fn changed(rules: &Rules, session: &Session, machine: &mut ControlServer) -> Option<CloseCode> {
    match rules.principals.get(&session.principal.id) {
        Some(principal) if *principal == session.principal => None,
        Some(_) => {
            machine.goodbye("what the hospital says of this principal changed: connect again");
            Some(CloseCode::Stopping)
        }
        None => Some(CloseCode::UnknownPrincipal),
    }
}

/// The hospital knows the principal no more: it gets nothing more, at once.
async fn turned_out(connection: &Connection, session: &Session, mut streams: JoinSet<()>) {
    let (id, shared) = (&session.principal.id, &session.flows.shared);
    let reason = "the hospital's configuration does not name this principal any more";
    connection.close(close_code(CloseCode::UnknownPrincipal), reason.as_bytes());
    tracing::warn!(principal = %id, "a connection was closed: its principal was taken out of the configuration");
    let about = About { principal: Some(id.clone()), ..About::default() };
    shared.audit_refusal(about.event(shared.now(), Action::ConnectionRefused, reason)).await;
    // Streams end by themselves when their connection does; subscriptions write their cursors then.
    while streams.join_next().await.is_some() {}
}

/// The next stream. Those beyond the first few wait until the broker has a place for them: what they send stays within the
/// connection's window.
async fn next_stream(
    connection: &Connection,
    open: usize,
    further: &Arc<Semaphore>,
) -> Result<(SendStream, RecvStream, Option<OwnedSemaphorePermit>), ConnectionError> {
    let place = if open < OWN_STREAMS {
        None
    } else {
        Some(further.clone().acquire_owned().await.expect("the semaphore is never closed"))
    };
    let (send, recv) = connection.accept_bi().await?;
    Ok((send, recv, place))
}

/// Reads the hello and welcomes the client; none where it was refused.
async fn control(
    connection: &Connection,
    id: &PrincipalId,
    flows: &Flows,
) -> Result<Option<(ControlServer, Stream, Arc<Principal>)>, StreamError> {
    let Ok((send, recv)) = connection.accept_bi().await else { return Ok(None) };
    let mut stream = Stream::new(send, recv);
    let Accepted::Control(mut machine) = accept(&mut stream).await? else {
        connection.close(close_code(CloseCode::Unexpected), b"the first stream is not a control stream");
        return Ok(None);
    };
    let Some(principal) = flows.rules().principals.get(id).cloned() else {
        let reason =
            format!("the hospital does not know `{id}`; its configuration has no principal of this path");
        tracing::warn!(principal = %id, "a connection was refused: unknown principal");
        let about = About { principal: Some(id.clone()), ..About::default() };
        let event = about.event(flows.shared.now(), Action::ConnectionRefused, reason.clone());
        flows.shared.audit_refusal(event).await;
        machine.refuse(Refusal::new(RefusalCode::UnknownPrincipal, &reason));
        close_after(connection, machine, stream, CloseCode::UnknownPrincipal).await;
        return Ok(None);
    };
    if let Err(code) = machine.welcome(id.clone()) {
        let offered: Vec<String> = machine.hello().versions.iter().map(ToString::to_string).collect();
        tracing::warn!(principal = %id, offered = offered.join(", "), "a connection was refused: no common version");
        close_after(connection, machine, stream, code).await;
        return Ok(None);
    }
    stream.flush(&mut machine).await?;
    Ok(Some((machine, stream, principal)))
}

/// Sends a refusal, gives the client time to read it, and closes.
async fn close_after(
    connection: &Connection,
    mut machine: ControlServer,
    mut stream: Stream,
    code: CloseCode,
) {
    if stream.flush(&mut machine).await.is_ok() {
        let _ = tokio::time::timeout(Duration::from_secs(1), stream.send.stopped()).await;
    }
    connection.close(close_code(code), b"");
}

/// Reads up to the first frame of a stream.
async fn accept(stream: &mut Stream) -> Result<Accepted, StreamError> {
    let mut incoming = Incoming::new();
    loop {
        match read(&mut stream.recv).await? {
            Some(octets) => incoming.handle_data(&octets),
            None => incoming.handle_finish(),
        }
        if let Some(accepted) = incoming.poll_accept()? {
            return Ok(accepted);
        }
    }
}

async fn serve_stream(session: &Session, mut stream: Stream) -> Result<(), StreamError> {
    let Ok(accepted) = tokio::time::timeout(HELLO_TIME, accept(&mut stream)).await else {
        // Whoever opens a stream says at once what it is for.
        stream.reset(CloseCode::TimedOut);
        return Ok(());
    };
    match accepted? {
        Accepted::Control(_) => Err(StreamError::second_control()),
        Accepted::Publisher(machine) => publisher::serve(session, machine, stream).await,
        Accepted::Subscription(machine) => subscription::serve(session, machine, stream).await,
        Accepted::Upload(machine) => upload::serve(session, machine, stream).await,
        Accepted::Download(machine) => download::serve(session, machine, stream).await,
        Accepted::Admin(machine) => admin::serve(session, machine, stream).await,
    }
}

/// A client that broke the protocol is told how, and let go. One that only went away is none of our business.
fn broken(connection: &Connection, id: &PrincipalId, error: &StreamError) {
    match error {
        StreamError::Violation(violation) => {
            tracing::warn!(principal = %id, code = %violation.code, reason = violation.reason, "a connection was closed: its client broke the protocol");
            connection.close(close_code(violation.code), violation.reason.as_bytes());
        }
        StreamError::Write(_) | StreamError::Read(_) => {
            tracing::debug!(principal = %id, %error, "a stream ended early");
        }
    }
}
