//! Records as a plugin sees them (interface `types` of `hilum:plugin`).

use std::fmt;

use crate::body::{BodyError, BodyReader, BodyWriter};
use crate::keys::KeyError;

/// Octets of a body that may be inline.
pub const INLINE_OCTETS_MAX: usize = 256 * 1024;

/// One named value of a record's head. Values may identify a patient: never log one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Printable ASCII, at most 64 octets.
    pub name: String,
    /// At most 1024 octets.
    pub value: String,
}

impl Attribute {
    /// An attribute.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// Somebody a record comes from or goes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Party {
    /// The SPIFFE ID of the certificate, e.g. `spiffe://st-marys/device/mri-1`.
    pub principal: String,
    /// The party it acts for.
    pub stakeholder: String,
    /// The network segment it is in.
    pub zone: String,
    /// What it does there.
    pub roles: Vec<String>,
}

/// When a chain runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Before the record is stored.
    #[default]
    Ingress,
    /// Before it is delivered to one subscription.
    Egress,
}

/// What is the same for all records of one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// The flow's name.
    pub flow: String,
    /// `device`, `imaging` or `billing`; more may come.
    pub class: String,
    /// The name of this stage in its chain.
    pub stage: String,
    /// When the chain runs.
    pub phase: Phase,
    /// Who will receive the records; none at ingress.
    pub recipient: Option<Party>,
    /// Purpose of use (HL7 v3 PurposeOfUse code), where one was stated.
    pub purpose: Option<String>,
    /// Where the records come from: a call has records of one source.
    pub source: Party,
}

/// What is known of a record without its body.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Head {
    /// Position in the flow; none before the record is stored.
    pub offset: Option<u64>,
    /// When it was made, in milliseconds since 1970, by the publisher's clock.
    pub time: u64,
    /// Records of one key keep their order. May identify a patient.
    pub key: Option<String>,
    /// Media type of the body, e.g. `application/dicom`.
    pub content_type: String,
    /// What the record may still reveal.
    pub labels: Vec<String>,
    /// The rest.
    pub attributes: Vec<Attribute>,
}

impl Head {
    /// Whether the content type is this one, whatever its parameters and its case (RFC 6838, section 4.2).
    #[must_use]
    pub fn is(&self, content_type: &str) -> bool {
        self.content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(content_type)
    }

    /// Sets an attribute, in the place of all others of its name.
    pub fn set_attribute(&mut self, name: &str, value: impl Into<String>) {
        self.attributes.retain(|attribute| attribute.name != name);
        self.attributes.push(Attribute::new(name, value));
    }

    /// The value of the first attribute of a name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|attribute| attribute.name == name)
            .map(|attribute| attribute.value.as_str())
    }
}

/// The content of a record.
#[derive(Debug)]
pub enum Body {
    /// Up to 256 KiB.
    Inline(Vec<u8>),
    /// More than that; in a draft also less.
    Large(BodyReader),
}

impl Body {
    /// A body of octets in memory: inline if it may be, through a [`BodyWriter`](crate::BodyWriter) otherwise.
    pub fn of(octets: Vec<u8>) -> Result<Self, BodyError> {
        if octets.len() <= INLINE_OCTETS_MAX {
            return Ok(Self::Inline(octets));
        }
        let mut writer = BodyWriter::new();
        for piece in octets.chunks(INLINE_OCTETS_MAX) {
            writer.write(piece)?;
        }
        writer.finish().map(Self::Large)
    }

    /// Octets in all.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Inline(octets) => octets.len() as u64,
            Self::Large(reader) => reader.size(),
        }
    }

    /// The whole body in memory, if it has at most `max` octets.
    pub fn into_octets(self, max: usize) -> Result<Vec<u8>, BodyError> {
        if self.size() > max as u64 {
            return Err(BodyError::TooLarge(max as u64));
        }
        match self {
            Self::Inline(octets) => Ok(octets),
            Self::Large(mut reader) => reader.read_to_end(),
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(octets: Vec<u8>) -> Self {
        Self::Inline(octets)
    }
}

impl From<BodyReader> for Body {
    fn from(reader: BodyReader) -> Self {
        Self::Large(reader)
    }
}

/// A record that a plugin is shown.
#[derive(Debug)]
pub struct Message {
    /// What is known without the body.
    pub head: Head,
    /// The body.
    pub body: Body,
}

/// What a plugin may set of a record that it makes. Time, source and labels follow the record it was made of.
#[derive(Debug)]
pub struct Draft {
    /// As in [`Head`].
    pub key: Option<String>,
    /// As in [`Head`].
    pub content_type: String,
    /// At most 32.
    pub attributes: Vec<Attribute>,
    /// The body; a large one comes of a [`BodyWriter`](crate::BodyWriter).
    pub body: Body,
}

impl Draft {
    /// A record without key and attributes, for instance to be emitted.
    pub fn new(content_type: impl Into<String>, body: impl Into<Body>) -> Self {
        Self { key: None, content_type: content_type.into(), attributes: Vec::new(), body: body.into() }
    }

    /// Sets the key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Adds an attribute.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push(Attribute::new(name, value));
        self
    }

    /// The record with another body.
    pub fn of(head: Head, body: impl Into<Body>) -> Self {
        let Head { key, content_type, attributes, .. } = head;
        Self { key, content_type, attributes, body: body.into() }
    }
}

/// Why a record may not go on. Shown to operators and to the publisher: name fields, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct Refusal {
    /// Short and stable, of `a-z`, `0-9` and `-`, e.g. `malformed`.
    pub code: String,
    /// At most 256 characters.
    pub reason: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self { code: code.into(), reason: reason.to_string() }
    }
}

/// So that `?` works where a body is read or written.
impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        let code = if matches!(error, BodyError::TooLarge(_)) { "too-large" } else { "interrupted" };
        Self::new(code, error)
    }
}

/// So that `?` works where a key is used: the reason names what has to be granted.
impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        let code = if matches!(error, KeyError::Malformed) { "sealed" } else { "no-key" };
        Self::new(code, error)
    }
}

/// What becomes of a record.
#[derive(Debug)]
pub enum Outcome {
    /// Goes on as it is.
    Pass,
    /// Goes on with these attributes and the same body.
    Annotate(Vec<Attribute>),
    /// Goes on as this record.
    Replace(Draft),
    /// Goes on as these records, 1 to 64.
    Split(Vec<Draft>),
    /// Does not go on.
    Refuse(Refusal),
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        Self::Refuse(refusal)
    }
}

impl From<Draft> for Outcome {
    fn from(draft: Draft) -> Self {
        Self::Replace(draft)
    }
}

impl From<Vec<Draft>> for Outcome {
    fn from(drafts: Vec<Draft>) -> Self {
        Self::Split(drafts)
    }
}

impl<T: Into<Outcome>> From<Result<T, Refusal>> for Outcome {
    fn from(result: Result<T, Refusal>) -> Self {
        result.map_or_else(Self::Refuse, Into::into)
    }
}

/// A record whose way is to be decided.
#[derive(Debug)]
pub struct Request {
    /// What is known without the body.
    pub head: Head,
    /// Octets of the body.
    pub size: u64,
    /// Read only if the decision needs it.
    pub body: BodyReader,
}

/// Something that has to be done because of a permission; the broker audits it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obligation {
    /// E.g. `break-glass`.
    pub name: String,
    /// Never a value from a body.
    pub value: String,
}

/// Whether a record may go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow,
    /// Yes, and this has to be done.
    AllowWith(Vec<Obligation>),
    /// No.
    Deny(Refusal),
}
