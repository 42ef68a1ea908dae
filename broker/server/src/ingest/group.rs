//! The entries of one append, and the large bodies whose fate hangs on it.

use hilum_core::audit::{Action, Event};
use hilum_core::name::FlowName;
use hilum_core::quarantine::Cause;
use hilum_core::record::{BlobId, Body};
use hilum_core::{Entry, Timestamp};
use hilum_store::AppendError;

use super::process::{Passed, ProcessedRecord, Stopped};
use crate::broker::About;
use crate::permits::Permits;
use crate::traffic::Shares;

/// The entries of one append and what follows when they are durable.
pub(super) struct Group {
    /// When it is made.
    pub(super) now: Timestamp,
    pub(super) entries: Vec<Entry>,
    pub(super) quarantine: Vec<Entry>,
    pub(super) audit: Vec<Event>,
    /// By which policies the records passed; written when they are durable.
    pub(super) permits: Permits,
    /// Large bodies that the entries name.
    pub(super) stored_blobs: Vec<BlobId>,
    /// Large bodies that the quarantine names.
    pub(super) quarantined_blobs: Vec<BlobId>,
    /// Octets that the quarantine grows by.
    pub(super) quarantined_octets: u64,
    /// Large bodies that nothing will name, whatever becomes of the group.
    pub(super) released_blobs: Vec<BlobId>,
    /// Octets of the entries' bodies, large ones included.
    pub(super) octets: u64,
    /// Octets of those that are large.
    pub(super) large_octets: u64,
    /// Whose entries they are.
    pub(super) shares: Shares,
    /// Why the first of those in quarantine is there.
    pub(super) first_cause: Option<Cause>,
}

/// Whether an entry names a large body after an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// The entry is durable.
    Named,
    /// There is no such entry and will be none.
    Unnamed,
    /// Only the next start finds out.
    InDoubt,
}

impl Kept {
    pub(super) fn after<T>(outcome: &Result<T, AppendError>) -> Self {
        match outcome {
            Ok(_) => Self::Named,
            Err(AppendError::Poisoned { .. } | AppendError::Closed) => Self::InDoubt,
            Err(_) => Self::Unnamed,
        }
    }
}

impl Group {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            now,
            entries: Vec::new(),
            quarantine: Vec::new(),
            audit: Vec::new(),
            permits: Permits::default(),
            stored_blobs: Vec::new(),
            quarantined_blobs: Vec::new(),
            quarantined_octets: 0,
            released_blobs: Vec::new(),
            octets: 0,
            large_octets: 0,
            shares: Shares::default(),
            first_cause: None,
        }
    }

    pub(super) fn take_passed(&mut self, passed: &mut Passed, input: &Body, flow: &FlowName) {
        let mut is_kept = false;
        for sealed in passed.sealed.drain(..) {
            let body = &sealed.envelope().body;
            is_kept |= body == input;
            if let Body::Blob(blob) = body {
                self.stored_blobs.push(blob.id);
                self.large_octets += blob.size;
            }
            for obligation in passed.obligations.drain(..) {
                if self.permits.count(sealed.source(), &obligation) {
                    continue;
                }
                let about = About {
                    principal: Some(sealed.source().clone()),
                    flow: Some(flow.clone()),
                    ..About::default()
                };
                let reason =
                    format!("stage `{}`: {}={}", obligation.stage, obligation.name, obligation.value);
                self.audit.push(about.event(self.now, Action::Obliged, reason));
            }
            self.octets += body.size();
            self.shares.add(sealed.source(), body.size());
            let entry = sealed.into_entry();
            self.entries.push(entry);
        }
        if !is_kept {
            self.release(input);
        }
    }

    /// Takes a record for which the quarantine has kept so many octets of room.
    pub(super) fn take_stopped(&mut self, stopped: &Stopped, octets: u64) {
        self.quarantined_octets += octets;
        let record = &stopped.record;
        let about = About {
            principal: Some(record.principal.id.clone()),
            flow: Some(record.flow.clone()),
            ..About::default()
        };
        self.audit.push(about.event(self.now, Action::Quarantined, stopped.refusal.reason.clone()));
        if let Body::Blob(blob) = &record.body {
            self.quarantined_blobs.push(blob.id);
        }
        self.released_blobs.extend(&stopped.made);
        self.first_cause.get_or_insert_with(|| record.cause.clone());
        let entry = record.clone().into_entry();
        self.quarantine.push(entry);
    }

    fn release(&mut self, body: &Body) {
        if let Body::Blob(blob) = body {
            self.released_blobs.push(blob.id);
        }
    }

    /// Lets go of the body that came in and of all that the chain made of it.
    pub(super) fn release_all(&mut self, record: &ProcessedRecord) {
        self.release(&record.input);
        match &record.result {
            Ok(passed) => {
                let made = passed.sealed.iter().map(|sealed| &sealed.envelope().body);
                made.filter(|body| **body != record.input).for_each(|body| self.release(body));
            }
            Err(stopped) => self.released_blobs.extend(&stopped.made),
        }
    }
}
