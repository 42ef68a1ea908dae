//! Where a record goes that was delivered too often: to the subscription's dead-letter flow, on the ordinary way into it, or to
//! quarantine. Only when it is durable there does it count as settled.

use hilum_core::audit::Action;
use hilum_core::quarantine::{Cause, Quarantined};
use hilum_core::record::{BlobRef, Body, Draft, DraftError, Head, Stored};
use hilum_core::{Attribute, LogName, Offset, Principal, limits};
use hilum_store::{BlobError, Durability};

use super::{Outlet, OutletError};
use crate::broker::About;
use crate::config::DeadLetter;
use crate::flows::Flows;
use crate::ingest::{Item, Settled};

/// The code in quarantine, in the audit and in the dead letter.
const CODE: &str = "max-deliveries";
/// What the names of a dead letter's own attributes begin with. A record that has them already gets new ones.
const PREFIX: &str = "hilum.dead.";

/// Why a record could not be buried now. It stays where it is, and is tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuryError {
    #[error(transparent)]
    Outlet(#[from] OutletError),
    #[error("its large body cannot be copied: {0}")]
    Blob(#[from] BlobError),
    #[error("policy does not let it into flow `{0}`")]
    Policy(hilum_core::FlowName),
    #[error("flow `{0}` does not take it: {1}")]
    Refused(hilum_core::FlowName, String),
    #[error("the flow's quarantine is full")]
    QuarantineFull,
}

impl Outlet {
    /// Makes an exhausted record safe elsewhere.
    pub(super) async fn bury(&self, flows: &Flows, offset: Offset, attempts: u32) -> Result<(), BuryError> {
        let log = LogName::Flow(self.flow.clone());
        let entries = self.shared.log.read(&log, offset, 1).await.map_err(OutletError::from)?;
        // Where it was erased or trimmed meanwhile there is nothing to bury.
        let Some(entry) = entries.first().filter(|entry| entry.offset == offset) else { return Ok(()) };
        let stored = self.decode(offset, &entry.octets)?;
        let why = match &self.setup().settings.dead_letter {
            Some(letter) => match self.send_letter(flows, letter, &stored, attempts).await? {
                Letter::Stored => return Ok(()),
                Letter::DoesNotFit(error) => format!("; it is too large for a dead letter: {error}"),
            },
            None => String::new(),
        };
        self.quarantine_exhausted(&stored, attempts, &why).await
    }

    async fn send_letter(
        &self,
        flows: &Flows,
        letter: &DeadLetter,
        stored: &Stored,
        attempts: u32,
    ) -> Result<Letter, BuryError> {
        let envelope = stored.envelope();
        let head = self.letter_head(stored, attempts);
        let permit = flows.rules().policy.admit(&letter.principal, &letter.flow);
        let permit = permit.map_err(|_| BuryError::Policy(letter.flow.clone()))?;
        let lane = flows.by_name.get(&letter.flow).map(|flow| &flow.lane);
        let lane = lane.ok_or_else(|| BuryError::Policy(letter.flow.clone()))?;
        // Looked at before a large body is copied.
        if let Err(error) =
            Draft::new(letter.flow.clone(), head.clone(), Body::Inline(bytes::Bytes::new()), None)
        {
            return Ok(Letter::DoesNotFit(error));
        }
        let body = match &envelope.body {
            Body::Inline(octets) => Body::Inline(octets.clone()),
            Body::Blob(blob) => Body::Blob(self.copy(letter, blob).await?),
        };
        let copied = if let Body::Blob(blob) = &body { Some(blob.id) } else { None };
        let draft = match Draft::new(letter.flow.clone(), head, body, None) {
            Ok(draft) => draft,
            Err(error) => return Ok(Letter::DoesNotFit(error)),
        };
        let record = draft.attest(letter.principal.clone()).admit(&permit);
        let record = record.map_err(|_| BuryError::Policy(letter.flow.clone()))?;
        // Audited first: whoever finds it there finds out why.
        let about = self.about_record(stored.offset());
        let reason = format!("{CODE}: {attempts} deliveries; to flow `{}`", letter.flow);
        let event = about.event(self.shared.now(), Action::DeadLettered, reason);
        self.shared.audit(vec![event]).await.map_err(OutletError::from)?;
        let gone = || BuryError::Refused(letter.flow.clone(), "it is closed".into());
        let answer = lane.submit(vec![Item { record, span: None }]).await.map_err(|_| gone())?;
        match answer.await.map_err(|_| gone())?.pop() {
            Some(settled @ Settled::Refused(_)) if settled.is_retryable() => {
                // The flow let go of the body; the next try copies it anew.
                if let Some(copied) = copied {
                    self.release([copied]).await;
                }
                Err(BuryError::Refused(letter.flow.clone(), "it cannot store now".into()))
            }
            // A chain of that flow may have refused it: then it is in quarantine there.
            Some(_) => {
                self.shared.instruments.dead_lettered(&self.flow, &self.subscription);
                Ok(Letter::Stored)
            }
            None => Err(gone()),
        }
    }

    /// The record's own head, with its history.
    fn letter_head(&self, stored: &Stored, attempts: u32) -> Head {
        let envelope = stored.envelope();
        let source: &Principal = &envelope.principal;
        let history = [
            ("flow", self.flow.to_string()),
            ("subscription", self.subscription.to_string()),
            ("offset", stored.offset().to_string()),
            ("deliveries", attempts.to_string()),
            ("reason", CODE.to_owned()),
            ("source", source.id.to_string()),
        ];
        let own = envelope.head.attributes.iter().filter(|attribute| !attribute.name.starts_with(PREFIX));
        let history = history.map(|(name, value)| Attribute { name: format!("{PREFIX}{name}"), value });
        Head {
            attributes: own.cloned().chain(history).collect(),
            labels: Vec::new(),
            // It waits for a person now.
            expires: None,
            deliver_after: None,
            ..envelope.head.clone()
        }
    }

    /// Retention of the one flow must not take a body away from the other.
    async fn copy(&self, letter: &DeadLetter, blob: &BlobRef) -> Result<BlobRef, BlobError> {
        let blobs = &self.shared.blobs;
        let mut writer = blobs.create(&LogName::Flow(letter.flow.clone()), &letter.principal.id).await?;
        let mut from = 0;
        while from < blob.size {
            let octets = blobs.read(blob, from, limits::BLOB_CHUNK_OCTETS).await?;
            if octets.is_empty() {
                break;
            }
            from += octets.len() as u64;
            writer.write(octets).await?;
        }
        writer.finish().await
    }

    async fn quarantine_exhausted(&self, stored: &Stored, attempts: u32, why: &str) -> Result<(), BuryError> {
        let reason = format!("{attempts} deliveries to subscription `{}`{why}", self.subscription);
        let cause = Cause { stage: None, code: CODE.into(), reason: reason.clone() };
        let record = Quarantined::at_egress(stored, self.subscription.clone(), cause, self.shared.now());
        let octets = record.octets();
        if !self.shared.quarantine.reserve(&self.flow, 1, octets) {
            return Err(BuryError::QuarantineFull);
        }
        let log = LogName::Quarantine(self.flow.clone());
        let appended = self.shared.log.append(&log, vec![record.into_entry()], Durability::Fsynced).await;
        if let Err(error) = appended {
            self.shared.quarantine.give_back(&self.flow, 1, octets);
            return Err(OutletError::from(error).into());
        }
        let about = self.about_record(stored.offset());
        let event = about.event(self.shared.now(), Action::Quarantined, format!("{CODE}: {reason}"));
        self.shared.audit(vec![event]).await.map_err(OutletError::from)?;
        self.shared.instruments.dead_lettered(&self.flow, &self.subscription);
        Ok(())
    }

    fn about_record(&self, offset: Offset) -> About {
        About {
            principal: None,
            flow: Some(self.flow.clone()),
            subscription: Some(self.subscription.clone()),
            offset: Some(offset),
        }
    }
}

enum Letter {
    Stored,
    DoesNotFit(DraftError),
}
