//! A record's way, as types: [`Draft`] → [`Attested`] → [`Admitted`] → [`Sealed`] → [`Stored`] → [`Delivered`].
//!
//! Each step consumes the one before and has no other constructor, so a skipped step does not compile:
//!
//! ```compile_fail
//! # use hilum_core::record::{Attested, Sealed};
//! fn append(_: Sealed) {}
//! fn skip_policy_and_chain(attested: Attested) {
//!     append(attested); // expected `Sealed`, found `Attested`
//! }
//! ```
//!
//! | step | what it proves | made by |
//! |---|---|---|
//! | [`Draft`] | bounded | [`Draft::new`] |
//! | [`Attested`] | who sent it | [`Draft::attest`] |
//! | [`Admitted`] | policy allowed it | [`Attested::admit`] with a [`Permit`] |
//! | [`Sealed`] | the flow's chain ran on it | [`Admitted::seal`] with a [`ChainRun`] |
//! | [`Stored`] | it has an offset in a durable log | [`Stored::decode`], by a store |
//! | [`Delivered`] | policy and the subscription's chain allowed it | [`Stored::deliver`] |

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::chain::{Plan, Receipt, StageOutcome, output_digest};
use crate::digest::Digest;
use crate::entry::{Entry, EntryError, LogName, decode, encode};
use crate::identity::{Principal, PrincipalId};
use crate::limits;
use crate::name::{FlowName, Label};
use crate::policy::{Permit, ReadPermit};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// Position of a record in its flow, from 0, without gaps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub u64);

impl Offset {
    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One named value of a record's head.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// Up to [`limits::ATTRIBUTE_NAME_OCTETS_MAX`] octets.
    pub name: String,
    /// Up to [`limits::ATTRIBUTE_VALUE_OCTETS_MAX`] octets. May identify a patient: never logged.
    pub value: String,
}

impl fmt::Debug for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=<{} octets>", self.name, self.value.len())
    }
}

/// A W3C trace context (Trace Context, section 3.2: `traceparent`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceContext {
    /// `trace-id`, not all zero.
    pub trace: [u8; 16],
    /// `parent-id`, not all zero.
    pub span: [u8; 8],
    /// `trace-flags`; bit 0 is "sampled".
    pub flags: u8,
}

/// What is known of a record without its body.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// When it was made, by the publisher's clock.
    pub time: Timestamp,
    /// From then on, by the broker's clock, nobody gets it any more.
    pub expires: Option<Timestamp>,
    /// Before that, by the broker's clock, nobody gets it.
    pub deliver_after: Option<Timestamp>,
    /// Records of one key keep their order everywhere. May identify a patient: never logged.
    pub key: Option<String>,
    /// Media type of the body (RFC 6838), e.g. `application/dicom`.
    pub content_type: String,
    /// Up to [`limits::ATTRIBUTES_MAX`].
    pub attributes: Vec<Attribute>,
    /// What the record may reveal: the flow's labels, less those its chain removed. Publishers do not set it.
    pub labels: Vec<Label>,
    /// The trace that this record belongs to.
    pub trace: Option<TraceContext>,
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("time", &self.time)
            .field("expires", &self.expires)
            .field("deliver_after", &self.deliver_after)
            .field("key", &self.key.as_ref().map(|_| "<hidden>"))
            .field("content_type", &self.content_type)
            .field("attributes", &self.attributes)
            .field("labels", &self.labels)
            .field("trace", &self.trace)
            .finish()
    }
}

/// Names a large body in a store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlobId(pub [u8; 16]);

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A large body that a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    /// Its name in the store.
    pub id: BlobId,
    /// Its octets.
    pub size: u64,
    /// SHA-256 of its octets.
    pub digest: Digest,
}

/// The content of a record.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Up to [`limits::INLINE_BODY_OCTETS_MAX`] octets.
    Inline(Bytes),
    /// More than that, kept in chunks beside the log.
    Blob(BlobRef),
}

impl Body {
    /// Octets in all.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Inline(octets) => octets.len() as u64,
            Self::Blob(blob) => blob.size,
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(octets) => write!(f, "Inline(<{} octets>)", octets.len()),
            Self::Blob(blob) => write!(f, "Blob({}, {} octets)", blob.id, blob.size),
        }
    }
}

/// A body together with its digest, which is right by construction. The digest is computed when somebody first asks for it, once for all
/// clones: what one stage makes and the next one replaces needs none.
#[derive(Debug, Clone)]
pub struct Measured {
    body: Body,
    digest: Arc<OnceLock<Digest>>,
}

impl Measured {
    /// Takes a body. The digest of a large one is that of its reference.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self { body, digest: Arc::default() }
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// SHA-256 of the body.
    #[must_use]
    pub fn digest(&self) -> Digest {
        match &self.body {
            Body::Inline(octets) => *self.digest.get_or_init(|| Digest::of(octets)),
            Body::Blob(blob) => blob.digest,
        }
    }

    /// Gives the body back.
    #[must_use]
    pub fn into_body(self) -> Body {
        self.body
    }
}

/// Names one publisher across its connections and restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProducerId(pub [u8; 16]);

/// Where in a publisher's own sequence a record stands, so that a retry is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProducerPosition {
    /// Chosen at random by the publisher, once.
    pub producer: ProducerId,
    /// From 1, without gaps.
    pub sequence: u64,
}

/// A record as it came in: bounded, but from nobody yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    flow: FlowName,
    head: Head,
    body: Body,
    producer: Option<ProducerPosition>,
}

/// Why bytes do not make a draft. Names fields, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// A field is over its limit.
    #[error("{field} is {actual} {unit}, the limit is {limit}")]
    TooLarge {
        /// The field at fault.
        field: &'static str,
        /// What it has.
        actual: u64,
        /// What it may have.
        limit: u64,
        /// Of what.
        unit: &'static str,
    },
    /// The content type is not `type/subtype` of printable ASCII.
    #[error("the content type is not of the form `type/subtype`")]
    ContentType,
    /// It expires before it may be delivered.
    #[error("the record expires before it may be delivered")]
    NeverDue,
    /// An attribute has no name, or one with other than printable ASCII.
    #[error("attribute {index} has a name that is empty or not printable ASCII")]
    AttributeName {
        /// Which one, from 0.
        index: usize,
    },
}

fn bound(field: &'static str, actual: usize, limit: usize, unit: &'static str) -> Result<(), DraftError> {
    if actual <= limit {
        return Ok(());
    }
    Err(DraftError::TooLarge { field, actual: actual as u64, limit: limit as u64, unit })
}

fn check_times(head: &Head) -> Result<(), DraftError> {
    match (head.deliver_after, head.expires) {
        (Some(after), Some(expires)) if after >= expires => Err(DraftError::NeverDue),
        _ => Ok(()),
    }
}

fn check_fields(key: Option<&str>, content_type: &str, attributes: &[Attribute]) -> Result<(), DraftError> {
    let printable = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    bound("key", key.map_or(0, str::len), limits::KEY_OCTETS_MAX, "octets")?;
    bound("content type", content_type.len(), limits::CONTENT_TYPE_OCTETS_MAX, "octets")?;
    let (kind, subtype) = content_type.split_once('/').ok_or(DraftError::ContentType)?;
    if !printable(kind) || subtype.is_empty() || !subtype.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
        return Err(DraftError::ContentType);
    }
    bound("attributes", attributes.len(), limits::ATTRIBUTES_MAX, "entries")?;
    let mut octets = key.map_or(0, str::len) + content_type.len();
    for (index, attribute) in attributes.iter().enumerate() {
        if !printable(&attribute.name) {
            return Err(DraftError::AttributeName { index });
        }
        bound("attribute name", attribute.name.len(), limits::ATTRIBUTE_NAME_OCTETS_MAX, "octets")?;
        bound("attribute value", attribute.value.len(), limits::ATTRIBUTE_VALUE_OCTETS_MAX, "octets")?;
        octets += attribute.name.len() + attribute.value.len();
    }
    bound("head", octets, limits::HEAD_OCTETS_MAX, "octets")
}

fn check_body(body: &Body) -> Result<(), DraftError> {
    match body {
        Body::Inline(octets) => bound("body", octets.len(), limits::INLINE_BODY_OCTETS_MAX, "octets"),
        Body::Blob(blob) if blob.size > limits::BLOB_OCTETS_MAX => Err(DraftError::TooLarge {
            field: "body",
            actual: blob.size,
            limit: limits::BLOB_OCTETS_MAX,
            unit: "octets",
        }),
        Body::Blob(_) => Ok(()),
    }
}

/// What [`Draft::new`] would say of an inline record, for a sender that wants to know before.
pub(crate) fn check_inline(head: &Head, body: &Bytes) -> Result<(), DraftError> {
    check_times(head)?;
    check_fields(head.key.as_deref(), &head.content_type, &head.attributes)?;
    bound("body", body.len(), limits::INLINE_BODY_OCTETS_MAX, "octets")
}

impl Draft {
    /// Takes what came from outside, if every field is within [`limits`]. Labels in the head are dropped: the
    /// flow sets them.
    pub fn new(
        flow: FlowName,
        mut head: Head,
        body: Body,
        producer: Option<ProducerPosition>,
    ) -> Result<Self, DraftError> {
        check_times(&head)?;
        check_fields(head.key.as_deref(), &head.content_type, &head.attributes)?;
        check_body(&body)?;
        head.labels.clear();
        Ok(Self { flow, head, body, producer })
    }

    /// Binds the draft to who sent it, as the certificate says.
    #[must_use]
    pub fn attest(self, principal: Arc<Principal>) -> Attested {
        let Self { flow, head, body, producer } = self;
        let body = Measured::new(body);
        // Each record's receipt has it, and here many connections work beside each other, while a flow is sealed by one task.
        let _ = body.digest();
        Attested { flow, head, body, producer, principal }
    }
}

/// A draft whose sender is known from its certificate.
#[derive(Debug, Clone)]
pub struct Attested {
    flow: FlowName,
    head: Head,
    body: Measured,
    producer: Option<ProducerPosition>,
    principal: Arc<Principal>,
}

/// A permit that was given for something else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the permit is for another principal or flow")]
pub struct PermitMismatch;

impl Attested {
    /// The flow it is meant for.
    #[must_use]
    pub fn flow(&self) -> &FlowName {
        &self.flow
    }

    /// Goes on with the permission of policy for this principal and flow.
    pub fn admit(mut self, permit: &Permit) -> Result<Admitted, PermitMismatch> {
        if *permit.principal() != *self.principal || *permit.flow() != self.flow {
            return Err(PermitMismatch);
        }
        self.head.labels = permit.labels().to_vec();
        Ok(Admitted { attested: self, rule: permit.rule_shared() })
    }
}

/// A draft that policy allowed.
#[derive(Debug, Clone)]
pub struct Admitted {
    attested: Attested,
    rule: Arc<str>,
}

/// One record that came out of a chain: what a plugin may set.
#[derive(Debug, Clone)]
pub struct Output {
    /// As in [`Head`].
    pub key: Option<String>,
    /// As in [`Head`].
    pub content_type: String,
    /// As in [`Head`].
    pub attributes: Vec<Attribute>,
    /// The body.
    pub body: Measured,
    /// The time that a stage set, where it is another than the record's own.
    pub time: Option<Timestamp>,
}

/// What a chain made of one record, with the receipt that says so.
#[derive(Debug, Clone)]
pub struct ChainRun {
    /// One or more records.
    pub outputs: Vec<Output>,
    /// What happened.
    pub receipt: Receipt,
}

impl ChainRun {
    /// The run of a plan without stages.
    #[must_use]
    pub fn unprocessed(head: &Head, body: &Measured, plan: &Plan) -> Self {
        let digest = body.digest();
        let receipt = Receipt { input: digest, plan: plan.digest(), outcomes: Vec::new(), output: digest };
        Self { outputs: vec![Output::unchanged(head, body)], receipt }
    }
}

impl Output {
    /// The record as it went in.
    #[must_use]
    pub fn unchanged(head: &Head, body: &Measured) -> Self {
        Self {
            key: head.key.clone(),
            content_type: head.content_type.clone(),
            attributes: head.attributes.clone(),
            body: body.clone(),
            time: None,
        }
    }
}

/// Why a chain run does not seal a record. Each one is a defect of the broker or an attack: the record goes to quarantine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The receipt names another plan than the flow's.
    #[error("the receipt is for another plan")]
    Plan,
    /// The receipt does not have one outcome for each stage.
    #[error("the receipt has {actual} outcomes for {expected} stages")]
    Outcomes {
        /// Outcomes in the receipt.
        actual: usize,
        /// Stages in the plan.
        expected: usize,
    },
    /// The receipt's input is another body.
    #[error("the receipt is for another input")]
    Input,
    /// The receipt's output is not what came out.
    #[error("the receipt is for another output")]
    Output,
    /// Nothing came out, or more than [`limits::SPLIT_RECORDS_MAX`].
    #[error("the chain made {0} records of one")]
    Count(usize),
    /// Without a stage that replaces, the body came out changed.
    #[error("the body changed although no stage replaced it")]
    Changed,
    /// What a plugin made is over a limit.
    #[error("the chain's output is not a valid record: {0}")]
    Draft(#[from] DraftError),
}

fn check_run(input: &Measured, plan: &Plan, run: &ChainRun) -> Result<(), SealError> {
    let receipt = &run.receipt;
    if receipt.plan != plan.digest() {
        return Err(SealError::Plan);
    }
    let (actual, expected) = (receipt.outcomes.len(), plan.stages().len());
    if actual != expected {
        return Err(SealError::Outcomes { actual, expected });
    }
    if receipt.input != input.digest() {
        return Err(SealError::Input);
    }
    if run.outputs.is_empty() || run.outputs.len() > limits::SPLIT_RECORDS_MAX {
        return Err(SealError::Count(run.outputs.len()));
    }
    if receipt.output != output_digest(run.outputs.iter().map(|output| output.body.digest())) {
        return Err(SealError::Output);
    }
    let made = |outcome: &StageOutcome| matches!(outcome, StageOutcome::Replaced | StageOutcome::Split);
    if !receipt.outcomes.iter().any(made) && receipt.output != receipt.input {
        return Err(SealError::Changed);
    }
    for output in &run.outputs {
        check_fields(output.key.as_deref(), &output.content_type, &output.attributes)?;
        check_body(output.body.body())?;
    }
    Ok(())
}

/// The head of a chain's output: a plugin sets no trace, and of the times only that of the record.
fn output_head(output: Output, input: &Head, labels: &[Label]) -> (Head, Measured) {
    let Output { key, content_type, attributes, body, time } = output;
    let Head { expires, deliver_after, trace, .. } = *input;
    let time = time.unwrap_or(input.time);
    let labels = labels.to_vec();
    (Head { time, expires, deliver_after, key, content_type, attributes, labels, trace }, body)
}

impl Admitted {
    /// What is known without the body.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.attested.head
    }

    /// The body and its digest.
    #[must_use]
    pub fn body(&self) -> &Measured {
        &self.attested.body
    }

    /// Who sent it.
    #[must_use]
    pub fn principal(&self) -> &Arc<Principal> {
        &self.attested.principal
    }

    /// The flow it goes to.
    #[must_use]
    pub fn flow(&self) -> &FlowName {
        &self.attested.flow
    }

    /// Where it stands in its publisher's sequence.
    #[must_use]
    pub fn producer(&self) -> Option<ProducerPosition> {
        self.attested.producer
    }

    /// Takes what the flow's ingress chain made of this record, if the receipt proves that it was this record, this plan
    /// and this output. `accepted` is the broker's time. Makes one record for each output of the chain.
    pub fn seal(self, plan: &Plan, run: ChainRun, accepted: Timestamp) -> Result<Vec<Sealed>, SealError> {
        check_run(&self.attested.body, plan, &run)?;
        let Attested { flow, head, producer, principal, .. } = self.attested;
        let labels: Vec<Label> = plan.labels_after(&head.labels).cloned().collect();
        let ChainRun { outputs, receipt } = run;
        let seal = |output| {
            let (head, body) = output_head(output, &head, &labels);
            let envelope = Envelope {
                head,
                body: body.into_body(),
                principal: principal.clone(),
                rule: self.rule.clone(),
                receipt: receipt.clone(),
                producer,
                accepted,
            };
            Sealed { flow: flow.clone(), envelope }
        };
        Ok(outputs.into_iter().map(seal).collect())
    }
}

/// What a log entry holds: the record and the audit of its acceptance in one, so that neither exists alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// What is known without the body.
    pub head: Head,
    /// The body, or where it is.
    pub body: Body,
    /// Who sent it.
    pub principal: Arc<Principal>,
    /// The policy rule that admitted it.
    pub rule: Arc<str>,
    /// What the ingress chain did.
    pub receipt: Receipt,
    /// Where it stands in its publisher's sequence.
    pub producer: Option<ProducerPosition>,
    /// When the broker took it, by the broker's clock.
    pub accepted: Timestamp,
}

/// A record whose chain ran: the only thing that a log takes.
#[derive(Debug, Clone)]
pub struct Sealed {
    flow: FlowName,
    envelope: Envelope,
}

impl Sealed {
    /// The flow it goes to.
    #[must_use]
    pub fn flow(&self) -> &FlowName {
        &self.flow
    }

    /// Who it comes from; each source has a data key of its own.
    #[must_use]
    pub fn source(&self) -> &PrincipalId {
        &self.envelope.principal.id
    }

    /// What will be stored.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The stored form: a version octet, then the [`Envelope`] in postcard.
    #[must_use]
    pub fn into_entry(self) -> Entry {
        let source = self.envelope.principal.id.clone();
        Entry { log: LogName::Flow(self.flow), source, octets: encode(&self.envelope) }
    }
}

/// A record with a place in a durable log.
#[derive(Debug, Clone)]
pub struct Stored {
    flow: FlowName,
    offset: Offset,
    envelope: Envelope,
    body: Measured,
}

impl Stored {
    /// Reads what [`Sealed::into_entry`] wrote and the log kept at `offset`.
    pub fn decode(flow: FlowName, offset: Offset, octets: &[u8]) -> Result<Self, EntryError> {
        let envelope: Envelope = decode(octets)?;
        let body = Measured::new(envelope.body.clone());
        Ok(Self { flow, offset, envelope, body })
    }

    /// The flow it is in.
    #[must_use]
    pub fn flow(&self) -> &FlowName {
        &self.flow
    }

    /// Its position there.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// What was stored.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The body and its digest, as input of an egress chain.
    #[must_use]
    pub fn measured(&self) -> Measured {
        self.body.clone()
    }

    /// Takes what a subscription's egress chain made of this record, if policy permits the reader what is left of its
    /// labels and the receipt proves the run. Makes one delivery for each output of the chain.
    pub fn deliver(
        &self,
        permit: &ReadPermit,
        plan: &Plan,
        run: ChainRun,
    ) -> Result<Vec<Delivered>, DeliverError> {
        if *permit.flow() != self.flow {
            return Err(DeliverError::Permit);
        }
        let head = &self.envelope.head;
        let labels: Vec<Label> = plan.labels_after(&head.labels).cloned().collect();
        if let Some(label) = labels.iter().find(|label| !permit.is_cleared_for(label)) {
            return Err(DeliverError::NotCleared(label.clone()));
        }
        check_run(&self.body, plan, &run)?;
        let ChainRun { outputs, receipt } = run;
        let receipt = receipt.for_reader();
        let deliver = |output: Output| {
            let is_retimed = output.time.is_some();
            let (mut head, body) = output_head(output, head, &labels);
            if is_retimed {
                // The broker's business, which is done; they would tell the time that the chain took away.
                (head.expires, head.deliver_after) = (None, None);
            }
            Delivered {
                flow: self.flow.clone(),
                offset: self.offset,
                head,
                body: body.into_body(),
                receipt: receipt.clone(),
            }
        };
        Ok(outputs.into_iter().map(deliver).collect())
    }
}

/// Why a stored record is not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeliverError {
    /// The permit is for another flow.
    #[error("the permit is for another flow")]
    Permit,
    /// The record carries a label that the stakeholder is not cleared for.
    #[error("the stakeholder is not cleared for label `{0}`")]
    NotCleared(Label),
    /// The chain run proves nothing.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// A record on its way to a reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    flow: FlowName,
    offset: Offset,
    head: Head,
    body: Body,
    receipt: Receipt,
}

impl Delivered {
    /// The flow it comes from.
    #[must_use]
    pub fn flow(&self) -> &FlowName {
        &self.flow
    }

    /// Its position there.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// What is known without the body.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The body, or where it is.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// What the egress chain did.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Gives what is sent to the reader.
    #[must_use]
    pub fn into_parts(self) -> (Head, Body, Receipt) {
        (self.head, self.body, self.receipt)
    }

    /// Goes on in the delivery's own span.
    pub fn set_trace(&mut self, trace: TraceContext) {
        self.head.trace = Some(trace);
    }
}

#[cfg(test)]
mod tests;
