//! The body of an upload as far as it came, and what is kept of uploads that broke off.
//!
//! An upload is named by its principal, flow and position. One stream has it at a time: a newer one asks the one before to
//! leave, which it may not have noticed that its connection is gone. An upload whose stream broke is *parked*: its octets stay
//! where they are, encrypted and nameless, until a stream takes it up again or its time is over. The bounds are here; what goes
//! over them is deleted at once. Nothing is kept over the broker's end: the store deletes what was never finished when it opens.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use hilum_core::record::{Body, ProducerPosition};
use hilum_core::{Digest, FlowName, LogName, PrincipalId, limits};
use hilum_store::{BlobError, BlobWriter, Blobs};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

/// How long an upload that broke off is kept.
pub(super) const PARKED_TIME: Duration = Duration::from_secs(600);
/// Uploads of all principals together that are kept.
const PARKED_MAX: usize = 256;
/// Uploads of one principal that are kept.
const PARKED_OF_PRINCIPAL_MAX: usize = 8;
/// How long a newer stream waits for the one before to leave. A record that is on its way into its flow is waited for.
const TAKE_OVER_TIME: Duration = Duration::from_secs(30);

/// What names an upload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct UploadKey {
    pub(super) principal: PrincipalId,
    pub(super) flow: FlowName,
    pub(super) position: ProducerPosition,
}

/// Octets of one upload, as far as they came. Dropping it deletes them.
pub(super) struct Staging {
    sink: Sink,
    size: u64,
    received: u64,
}

/// Where an upload's octets go: into memory if they fit into a record, otherwise into the store.
enum Sink {
    Inline(Vec<u8>),
    Blob(Box<dyn BlobWriter>),
}

impl Staging {
    /// Begins a body of `size` octets.
    pub(super) async fn new(
        blobs: &dyn Blobs,
        log: &LogName,
        source: &PrincipalId,
        size: u64,
    ) -> Result<Self, BlobError> {
        let sink = if size <= limits::INLINE_BODY_OCTETS_MAX as u64 {
            Sink::Inline(Vec::new())
        } else {
            Sink::Blob(blobs.create(log, source).await?)
        };
        Ok(Self { sink, size, received: 0 })
    }

    /// Octets that are here.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Adds octets. The session's machine counts: no more comes than was announced.
    pub(super) async fn write(&mut self, octets: Bytes) -> Result<(), BlobError> {
        self.received += octets.len() as u64;
        match &mut self.sink {
            Sink::Inline(body) => body.extend_from_slice(&octets),
            Sink::Blob(writer) => writer.write(octets).await?,
        }
        Ok(())
    }

    /// Lets go of memory. None where nothing is left that is worth keeping.
    async fn park(mut self) -> Result<Option<Self>, BlobError> {
        let Sink::Blob(writer) = &mut self.sink else { return Ok(None) };
        self.received = writer.park().await?;
        Ok((self.received > 0).then_some(self))
    }

    /// Ends the body; its octets are safe, and their digest is known.
    pub(super) async fn finish(self) -> Result<(Body, Digest), BlobError> {
        match self.sink {
            Sink::Inline(body) => {
                let digest = Digest::of(&body);
                Ok((Body::Inline(body.into()), digest))
            }
            Sink::Blob(writer) => {
                let blob = writer.finish().await?;
                Ok((Body::Blob(blob), blob.digest))
            }
        }
    }
}

/// All uploads of a broker that are under way or parked.
pub(in crate::quic) struct Uploads {
    entries: Mutex<HashMap<UploadKey, Entry>>,
    /// Octets of one principal that are kept: one body of any size fits.
    octets_max: u64,
}

enum Entry {
    UnderWay { leave: Arc<Notify>, gone: watch::Receiver<()> },
    Parked(Parked),
}

struct Parked {
    staging: Staging,
    /// Parked uploads are older the lower this is.
    number: u64,
    expiry: AbortHandle,
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.expiry.abort();
    }
}

impl Uploads {
    /// No uploads, of bodies up to `body_octets_max`.
    pub(in crate::quic) fn new(body_octets_max: u64) -> Arc<Self> {
        Arc::new(Self { entries: Mutex::default(), octets_max: body_octets_max })
    }

    /// Takes an upload for a stream, with what is here of it. The stream that had it leaves first; none if it does not.
    pub(super) async fn take(
        self: &Arc<Self>,
        key: &UploadKey,
        size: u64,
    ) -> Option<(Turn, Option<Staging>)> {
        let taking = async {
            loop {
                match self.try_take(key, size) {
                    Ok(taken) => return taken,
                    // It ends by the drop of its sender.
                    Err(mut gone) => while gone.changed().await.is_ok() {},
                }
            }
        };
        tokio::time::timeout(TAKE_OVER_TIME, taking).await.ok()
    }

    fn try_take(
        self: &Arc<Self>,
        key: &UploadKey,
        size: u64,
    ) -> Result<(Turn, Option<Staging>), watch::Receiver<()>> {
        let mut entries = self.entries.lock();
        if let Some(Entry::UnderWay { leave, gone }) = entries.get(key) {
            leave.notify_one();
            return Err(gone.clone());
        }
        let leave = Arc::new(Notify::new());
        let (is_here, gone) = watch::channel(());
        let before = entries.insert(key.clone(), Entry::UnderWay { leave: leave.clone(), gone });
        let staging = match before {
            Some(Entry::Parked(parked)) => Some(parked.into_staging()).filter(|staging| staging.size == size),
            _ => None,
        };
        let turn = Turn { uploads: self.clone(), key: key.clone(), leave, _is_here: is_here };
        Ok((turn, staging))
    }

    /// Keeps what came of an upload, in place of its entry.
    fn keep(self: &Arc<Self>, key: &UploadKey, staging: Staging) {
        let mut entries = self.entries.lock();
        entries.remove(key);
        let parked = |entry: &Entry| matches!(entry, Entry::Parked(_));
        if entries.values().filter(|entry| parked(entry)).count() >= PARKED_MAX {
            return tracing::warn!(flow = %key.flow, "an upload that broke off is not kept: there are too many");
        }
        let mut own: Vec<(u64, u64, UploadKey)> =
            entries.iter().filter_map(|it| it_of(it, &key.principal)).collect();
        own.sort_by_key(|(number, ..)| *number);
        let number = own.last().map_or(0, |(number, ..)| number + 1);
        let mut octets: u64 = own.iter().map(|(_, octets, _)| octets).sum();
        let mut count = own.len();
        for (_, older, name) in own {
            if count < PARKED_OF_PRINCIPAL_MAX && octets + staging.received <= self.octets_max {
                break;
            }
            entries.remove(&name);
            octets -= older;
            count -= 1;
        }
        tracing::info!(principal = %key.principal, flow = %key.flow, octets = staging.received, "an upload broke off; it is kept for a while");
        let expiry = tokio::spawn(expire(Arc::downgrade(self), key.clone(), number)).abort_handle();
        entries.insert(key.clone(), Entry::Parked(Parked { staging, number, expiry }));
    }
}

/// Number, octets and name of a parked upload of one principal.
fn it_of((key, entry): (&UploadKey, &Entry), principal: &PrincipalId) -> Option<(u64, u64, UploadKey)> {
    match entry {
        Entry::Parked(parked) if key.principal == *principal => {
            Some((parked.number, parked.staging.received, key.clone()))
        }
        _ => None,
    }
}

impl Parked {
    fn into_staging(self) -> Staging {
        // `Drop` stops the timer, so the fields cannot be moved out.
        let mut this = self;
        let empty = Staging { sink: Sink::Inline(Vec::new()), size: 0, received: 0 };
        std::mem::replace(&mut this.staging, empty)
    }
}

/// Deletes a parked upload when its time is over.
async fn expire(uploads: Weak<Uploads>, key: UploadKey, number: u64) {
    tokio::time::sleep(PARKED_TIME).await;
    let Some(uploads) = uploads.upgrade() else { return };
    let mut entries = uploads.entries.lock();
    if matches!(entries.get(&key), Some(Entry::Parked(parked)) if parked.number == number) {
        entries.remove(&key);
        tracing::info!(principal = %key.principal, flow = %key.flow, "an upload that broke off is deleted: nobody went on with it");
    }
}

/// A stream's hold of an upload, until it is dropped.
pub(super) struct Turn {
    uploads: Arc<Uploads>,
    key: UploadKey,
    leave: Arc<Notify>,
    _is_here: watch::Sender<()>,
}

impl Turn {
    /// Comes when a newer stream wants the upload. Losing this future loses nothing.
    pub(super) async fn asked_to_leave(&self) {
        self.leave.notified().await;
        // Whoever asks later is to be heard too.
        self.leave.notify_one();
    }

    /// Leaves, and keeps what came for a later stream.
    pub(super) async fn park(self, staging: Staging) {
        match staging.park().await {
            Ok(Some(staging)) => self.uploads.keep(&self.key, staging),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(flow = %self.key.flow, %error, "an upload that broke off is not kept");
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut entries = self.uploads.entries.lock();
        if let Some(Entry::UnderWay { leave, .. }) = entries.get(&self.key)
            && Arc::ptr_eq(leave, &self.leave)
        {
            entries.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests;
