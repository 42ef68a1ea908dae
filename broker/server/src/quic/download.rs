//! The broker's end of a download: the large body of a delivery that its reader has not settled.

use std::collections::HashMap;
use std::time::Duration;

use hilum_core::delivery::Claim;
use hilum_core::limits;
use hilum_core::record::BlobRef;
use hilum_core::session::DownloadServer;
use hilum_core::wire::{CloseCode, Refusal, RefusalCode};
use hilum_core::{FlowName, Offset, SubscriptionName};
use parking_lot::Mutex;

use super::{LARGE_BODY_PRIORITY, Session, Stream, StreamError};

/// A reader that takes nothing of a body for so long may have to come again for the rest.
const STALL_TIME: Duration = Duration::from_secs(30);

/// What names a part of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PartKey {
    pub(super) flow: FlowName,
    pub(super) subscription: SubscriptionName,
    pub(super) offset: Offset,
    pub(super) part: u16,
}

/// The large bodies that one client may read now: those of its deliveries under way, and so bounded by its credit.
#[derive(Debug, Default)]
pub(super) struct LargeDeliveries(Mutex<HashMap<PartKey, (Claim, BlobRef)>>);

impl LargeDeliveries {
    pub(super) fn insert(&self, key: PartKey, claim: Claim, blob: BlobRef) {
        self.0.lock().insert(key, (claim, blob));
    }

    /// Takes away what a claim put there, and not what a later one did.
    pub(super) fn remove(&self, key: &PartKey, claim: Claim) {
        let mut parts = self.0.lock();
        if parts.get(key).is_some_and(|(of, _)| *of == claim) {
            parts.remove(key);
        }
    }

    fn find(&self, key: &PartKey) -> Option<BlobRef> {
        self.0.lock().get(key).map(|(_, blob)| *blob)
    }
}

/// Serves the stream to its end.
pub(super) async fn serve(
    session: &Session,
    mut machine: DownloadServer,
    mut stream: Stream,
) -> Result<(), StreamError> {
    machine.check_silence()?;
    // Further ones wait here, before they hold anything.
    let _slot = session.downloading.acquire().await.expect("the semaphore is never closed");
    let _lease = session.sending.take(2 * limits::BLOB_CHUNK_OCTETS as u64).await;
    session.window.for_reader();
    // It fails only where the stream has ended, which writing will tell.
    let _ = stream.send.set_priority(LARGE_BODY_PRIORITY);
    let request = machine.request().clone();
    let key = PartKey {
        flow: request.flow,
        subscription: request.subscription,
        offset: request.offset,
        part: request.part,
    };
    let found = session.deliveries.find(&key);
    let started = match &found {
        Some(blob) => machine.start(blob.size, blob.digest),
        None => {
            let reason = "no delivery under way on this connection has such a large body";
            machine.refuse(Refusal::new(RefusalCode::NoSuchDelivery, reason));
            false
        }
    };
    machine.poll_transmit(&mut stream.out);
    stream.write_out().await?;
    if let (Some(blob), true) = (found, started) {
        return send_body(session, &blob, request.from, stream).await;
    }
    stream.finish();
    Ok(())
}

async fn send_body(
    session: &Session,
    blob: &BlobRef,
    mut from: u64,
    mut stream: Stream,
) -> Result<(), StreamError> {
    while from < blob.size {
        match session.flows.shared.blobs.read(blob, from, limits::BLOB_CHUNK_OCTETS).await {
            Ok(octets) if !octets.is_empty() => {
                let count = octets.len();
                from += count as u64;
                let mut sending = Box::pin(stream.send.write_chunk(octets));
                let mut sent = tokio::time::timeout(STALL_TIME, &mut sending).await;
                // Who does not read keeps its memory only as long as nobody else needs it.
                while sent.is_err() && !session.sending.is_short() {
                    sent = tokio::time::timeout(STALL_TIME, &mut sending).await;
                }
                drop(sending);
                match sent {
                    Ok(sent) => sent?,
                    Err(_) => {
                        stream.reset(CloseCode::TimedOut);
                        return Ok(());
                    }
                }
                session.pace.give_way(count).await;
            }
            other => {
                // The reader must not take what it has for the whole: a reset says so, a finish would not.
                let error = other.err().map_or_else(|| "it ends early".to_owned(), |error| error.to_string());
                tracing::error!(blob = %blob.id, error, "a large body could not be read");
                stream.reset(CloseCode::Internal);
                return Ok(());
            }
        }
    }
    stream.finish();
    Ok(())
}
