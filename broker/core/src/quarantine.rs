//! Where a record goes that a chain refused or failed on: kept encrypted like a stored one, shown to operators without its
//! body, until they release or destroy it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::entry::{Entry, EntryError, LogName, decode, encode};
use crate::identity::Principal;
use crate::name::{FlowName, StageName, SubscriptionName};
use crate::record::{
    Admitted, BlobRef, Body, Draft, DraftError, Head, Offset, ProducerId, ProducerPosition, Stored, Timestamp,
};
use crate::wire::record_octets;

/// What an entry takes up besides the texts of its head and its body, about.
const ENTRY_OCTETS: u64 = 512;

/// Why a record is in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The stage that refused or failed; none where the broker itself found the fault.
    pub stage: Option<StageName>,
    /// Short and stable, e.g. `malformed` or `time-limit`.
    pub code: String,
    /// For operators; names fields, never values.
    pub reason: String,
}

/// A record in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The flow it was meant for, or came from.
    pub flow: FlowName,
    /// The subscription whose chain failed, with the record's position; none at ingress.
    pub delivery: Option<(SubscriptionName, Offset)>,
    /// As it was before the chain.
    pub head: Head,
    /// As it was before the chain.
    pub body: Body,
    /// Who sent it.
    pub principal: Arc<Principal>,
    /// Why it is here.
    pub cause: Cause,
    /// When it came here.
    pub time: Timestamp,
}

impl Quarantined {
    /// A record that the flow's ingress chain refused or failed on.
    #[must_use]
    pub fn at_ingress(record: &Admitted, cause: Cause, time: Timestamp) -> Self {
        Self {
            flow: record.flow().clone(),
            delivery: None,
            head: record.head().clone(),
            body: record.body().body().clone(),
            principal: record.principal().clone(),
            cause,
            time,
        }
    }

    /// A stored record that a subscription's egress chain failed on.
    #[must_use]
    pub fn at_egress(record: &Stored, subscription: SubscriptionName, cause: Cause, time: Timestamp) -> Self {
        let envelope = record.envelope();
        Self {
            flow: record.flow().clone(),
            delivery: Some((subscription, record.offset())),
            head: envelope.head.clone(),
            body: envelope.body.clone(),
            principal: envelope.principal.clone(),
            cause,
            time,
        }
    }

    /// The draft that a release at ingress begins with: the record as it came in, with its publisher's time, and `body` in
    /// place of its own. `offset` is the record's position in the quarantine, which makes a second try recognisable: see
    /// [`release_position`].
    pub fn redraft(&self, offset: Offset, body: Body) -> Result<Draft, DraftError> {
        let position = release_position(&self.flow, offset);
        Draft::new(self.flow.clone(), self.head.clone(), body, Some(position))
    }

    /// The large body that goes when it goes. What a subscription's chain failed on is still in its flow, with its body.
    #[must_use]
    pub fn own_blob(&self) -> Option<&BlobRef> {
        match (&self.body, &self.delivery) {
            (Body::Blob(blob), None) => Some(blob),
            _ => None,
        }
    }

    /// Octets that it takes up, about: its own body, and what stands around it.
    #[must_use]
    pub fn octets(&self) -> u64 {
        let body = match &self.body {
            Body::Inline(octets) => octets.len() as u64,
            Body::Blob(_) => self.own_blob().map_or(0, |blob| blob.size),
        };
        ENTRY_OCTETS + record_octets(&self.head, 0) + body
    }

    /// The stored form.
    #[must_use]
    pub fn into_entry(self) -> Entry {
        let source = self.principal.id.clone();
        Entry { log: LogName::Quarantine(self.flow.clone()), source, octets: encode(&self) }
    }

    /// Reads what [`Quarantined::into_entry`] wrote.
    pub fn decode(octets: &[u8]) -> Result<Self, EntryError> {
        decode(octets)
    }
}

/// The place in a producer's sequence that a release of the record at `offset` of a flow's quarantine takes: the same for
/// every try, and of no other record, so that a flow stores it once.
#[must_use]
pub fn release_position(flow: &FlowName, offset: Offset) -> ProducerPosition {
    let digest = Digest::of(format!("hilum quarantine release\0{flow}\0{offset}").as_bytes());
    let mut producer = [0; 16];
    producer.copy_from_slice(&digest.0[..16]);
    ProducerPosition { producer: ProducerId(producer), sequence: 1 }
}

/// Which records somebody wants to see: those that fit everything that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Put there not before.
    pub since: Option<Timestamp>,
    /// Put there before.
    pub until: Option<Timestamp>,
    /// For this code.
    pub code: Option<String>,
}

impl Filter {
    /// Whether a record fits.
    #[must_use]
    pub fn fits(&self, record: &Quarantined) -> bool {
        self.since.is_none_or(|since| record.time >= since)
            && self.until.is_none_or(|until| record.time < until)
            && self.code.as_ref().is_none_or(|code| record.cause.code == *code)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::identity::PrincipalId;

    fn record() -> Quarantined {
        Quarantined {
            flow: "imaging".parse().unwrap(),
            delivery: None,
            head: crate::wire::tests::head(),
            body: Body::Inline(Bytes::from_static(b"body")),
            principal: Arc::new(Principal {
                id: PrincipalId::new("spiffe://st-marys/device/mri-1").unwrap(),
                stakeholder: "imaging-dept".parse().unwrap(),
                zone: "device".parse().unwrap(),
                roles: Vec::new(),
            }),
            cause: Cause { stage: None, code: "malformed".into(), reason: "no unit".into() },
            time: Timestamp(10),
        }
    }

    #[test]
    fn every_try_of_a_release_has_one_position_and_no_other_record_has_it() {
        let (imaging, billing) = ("imaging".parse().unwrap(), "billing".parse().unwrap());
        let at = |flow, offset| release_position(flow, Offset(offset));
        assert_eq!(at(&imaging, 7), at(&imaging, 7));
        assert_ne!(at(&imaging, 7), at(&imaging, 8));
        assert_ne!(at(&imaging, 7), at(&billing, 7));
        // A flow may end in what another one's offset begins with.
        assert_ne!(at(&"a".parse().unwrap(), 11), at(&"a1".parse().unwrap(), 1));
    }

    #[test]
    fn a_release_begins_with_the_record_as_it_came_in() {
        let admitted = record().redraft(Offset(7), record().body).unwrap().attest(record().principal);
        assert_eq!(*admitted.flow(), record().flow);
        let decoded = Quarantined::decode(record().into_entry().octets()).unwrap();
        assert_eq!(decoded, record());
    }

    #[test]
    fn a_record_fits_what_is_said_and_nothing_else() {
        let code = |code: &str| Filter { code: Some(code.into()), ..Filter::default() };
        let time = |since, until| Filter { since, until, code: None };
        assert!(Filter::default().fits(&record()) && code("malformed").fits(&record()));
        assert!(time(Some(Timestamp(10)), Some(Timestamp(11))).fits(&record()));
        assert!(!code("time-limit").fits(&record()));
        assert!(!time(Some(Timestamp(11)), None).fits(&record()));
        assert!(!time(None, Some(Timestamp(10))).fits(&record()));
    }
}
