//! The entries of one append, and the large bodies whose fate hangs on it.

use hilum_core::audit::{Action, Event};
use hilum_core::name::FlowName;
use hilum_core::quarantine::Cause;
use hilum_core::record::{BlobId, Body};
use hilum_core::{Entry, Timestamp, limits};
use hilum_store::AppendError;

use super::process::{Passed, ProcessedRecord, Stopped};
use crate::broker::About;

/// The entries of one append and what follows when they are durable.
pub(super) struct Group {
    /// When it is made.
    now: Timestamp,
    pub(super) entries: Vec<Entry>,
    pub(super) quarantine: Vec<Entry>,
    pub(super) audit: Vec<Event>,
    /// Large bodies that the entries name.
    pub(super) stored_blobs: Vec<BlobId>,
    /// Large bodies that the quarantine names.
    pub(super) quarantined_blobs: Vec<BlobId>,
    /// Large bodies that nothing will name, whatever becomes of the group.
    pub(super) released_blobs: Vec<BlobId>,
    /// Octets of the entries' bodies, large ones included.
    pub(super) octets: u64,
    /// Why the first of those in quarantine is there.
    pub(super) first_cause: Option<Cause>,
    records: usize,
    encoded_octets: usize,
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
            stored_blobs: Vec::new(),
            quarantined_blobs: Vec::new(),
            released_blobs: Vec::new(),
            octets: 0,
            first_cause: None,
            records: 0,
            encoded_octets: 0,
        }
    }

    /// Whether more would be over what goes into the log together.
    pub(super) fn is_full(&self) -> bool {
        self.records >= limits::APPEND_RECORDS_MAX || self.encoded_octets >= limits::APPEND_OCTETS_MAX
    }

    pub(super) fn take_passed(&mut self, passed: &mut Passed, input: &Body, flow: &FlowName) {
        let mut is_kept = false;
        for sealed in passed.sealed.drain(..) {
            let body = &sealed.envelope().body;
            is_kept |= body == input;
            if let Body::Blob(blob) = body {
                self.stored_blobs.push(blob.id);
            }
            for obligation in passed.obligations.drain(..) {
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
            let entry = sealed.into_entry();
            self.encoded_octets += entry.octets().len();
            self.entries.push(entry);
        }
        self.records += 1;
        if !is_kept {
            self.release(input);
        }
    }

    pub(super) fn take_stopped(&mut self, stopped: &Stopped) {
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
        self.records += 1;
        self.encoded_octets += entry.octets().len();
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
