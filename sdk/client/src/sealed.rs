//! Opens bodies that the bundled plugin `encrypt` sealed to us: one message where they were inline, a stream where they were large.
//!
//! - [`open_sealed`] opens a body that is in memory.
//! - [`Opener`] opens one as it comes, and checks each segment before it hands it on.
//! - [`open_fields`] opens single fields of a body that is in the clear otherwise.
//! - [`OpeningWriter`] does so on the way to a file: with [`Subscription::fetch_large`](crate::Subscription::fetch_large) it goes on after a lost
//!   connection.

mod fields;
mod writer;

use hilum_core::cose::{self, OpenError, PrivateKey, SEALED_OCTETS_MAX, STREAM_CONTENT_TYPE, StreamOpener};
use hilum_core::jose::JweError;
use hilum_formats::sealed::{
    BoundError, Form as Sealed, ORIGINAL_CONTENT_TYPE, Place, RECORD_ID, bound_text,
};

use crate::{Attribute, FlowName, Head};

pub use fields::{OpenedFields, has_sealed_fields, open_fields};
pub use writer::OpeningWriter;

/// The media type of a sealed message (RFC 9052, section 11.3.3) begins so.
const MESSAGE_CONTENT_TYPE: &str = "application/cose";

/// Why a sealed body does not open.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// It does not say what is inside.
    #[error("the record has no attribute `{ORIGINAL_CONTENT_TYPE}`, which a sealed one has")]
    ContentType,
    /// It does not say which record it is of.
    #[error(transparent)]
    Bound(#[from] BoundError),
    /// It is not sealed to this key, was changed, or belongs to another record.
    #[error("the body does not open: {0}")]
    Open(#[from] OpenError),
    /// A field was changed, belongs to another place, or is not sealed as it should be.
    #[error("the field {place} does not open: {why}")]
    Field {
        /// Where it is in the body; nothing of what is there.
        place: String,
        /// What is wrong.
        why: JweError,
    },
    /// A body with sealed fields is none of a format that has some.
    #[error("the fields of the body do not open: {0}")]
    Format(String),
}

/// A body that was opened.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// Its media type.
    pub content_type: String,
    /// Its octets.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opened({}, <{} octets>)", self.content_type, self.body.len())
    }
}

/// Whether a record's body is sealed.
#[must_use]
pub fn is_sealed(head: &Head) -> bool {
    is_stream(head) || head.content_type.split(';').next() == Some(MESSAGE_CONTENT_TYPE)
}

fn is_stream(head: &Head) -> bool {
    head.content_type == STREAM_CONTENT_TYPE
}

/// The attributes that what is sealed is bound to: those that whoever sealed it kept or set, in order, up to the record's own id. Those
/// behind them may be anybody's. None where the record has no id.
#[must_use]
pub fn bound_attributes(head: &Head) -> Option<&[Attribute]> {
    let id = head.attributes.iter().position(|attribute| attribute.name == RECORD_ID)?;
    Some(&head.attributes[..=id])
}

/// What is sealed in a record of this head is bound to.
fn bound(form: Sealed, flow: &FlowName, head: &Head) -> Result<String, BoundError> {
    let Head { content_type, time, key, attributes, .. } = head;
    let place = Place { flow: flow.as_str(), content_type, time: time.0, key: key.as_deref() };
    bound_text(form, place, attributes.iter().map(|of| (of.name.as_str(), of.value.as_str())))
}

/// Opens a sealed body with our private key. It opens only as the record that it was sealed as: flow, content type, time, key and the
/// [`bound_attributes`], of which one is an id that no other record has, are bound to it (see the plugin's README).
///
/// # Errors
///
/// [`SealedError`].
pub fn open_sealed(
    key: &PrivateKey,
    flow: &FlowName,
    head: &Head,
    sealed: &[u8],
) -> Result<Opened, SealedError> {
    let mut opener = Opener::new(key, flow, head)?;
    let content_type = opener.content_type().to_owned();
    let mut body = Vec::new();
    opener.push(sealed, &mut body)?;
    opener.finish(&mut body)?;
    Ok(Opened { content_type, body })
}

/// Opens a sealed body as it comes: [`push`](Self::push) its octets in order, then [`finish`](Self::finish).
///
/// What comes out of a stream before its end was sealed, and began the body so; it is all of it only where `finish` succeeds.
/// Throw away what came out where anything fails.
pub struct Opener<'a> {
    content_type: String,
    form: Form<'a>,
}

enum Form<'a> {
    /// It opens as a whole, at its end.
    Message {
        key: &'a PrivateKey,
        associated: Vec<u8>,
        sealed: Vec<u8>,
    },
    Stream(StreamOpener<'a>),
}

impl<'a> Opener<'a> {
    /// For the body of the record with this head, which came from `flow`.
    ///
    /// # Errors
    ///
    /// [`SealedError::ContentType`] or [`SealedError::Bound`].
    pub fn new(key: &'a PrivateKey, flow: &FlowName, head: &Head) -> Result<Self, SealedError> {
        let form = if is_stream(head) { Sealed::Stream } else { Sealed::Message };
        let associated = bound(form, flow, head)?.into_bytes();
        let said = bound_attributes(head).unwrap_or_default();
        let content_type = said.iter().find(|attribute| attribute.name == ORIGINAL_CONTENT_TYPE);
        let content_type = content_type.map(|of| of.value.clone()).ok_or(SealedError::ContentType)?;
        let form = match is_stream(head) {
            true => Form::Stream(StreamOpener::new(key, &associated)),
            false => Form::Message { key, associated, sealed: Vec::new() },
        };
        Ok(Self { content_type, form })
    }

    /// The media type of what is inside.
    #[must_use]
    pub fn content_type(&self) -> &str {
        &self.content_type
    }

    /// Takes the next octets, and appends what could be opened and checked to `out`.
    ///
    /// # Errors
    ///
    /// [`SealedError::Open`].
    pub fn push(&mut self, octets: &[u8], out: &mut Vec<u8>) -> Result<(), SealedError> {
        match &mut self.form {
            Form::Message { sealed, .. } if sealed.len() + octets.len() > SEALED_OCTETS_MAX => {
                return Err(OpenError::TooLarge(sealed.len() + octets.len()).into());
            }
            Form::Message { sealed, .. } => sealed.extend_from_slice(octets),
            Form::Stream(opener) => opener.push(octets, out)?,
        }
        Ok(())
    }

    /// Appends the rest to `out`. Without an error, the whole body came out.
    ///
    /// # Errors
    ///
    /// [`SealedError::Open`].
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), SealedError> {
        match self.form {
            Form::Message { key, associated, sealed } => {
                out.append(&mut cose::open(key, &associated, &sealed)?);
            }
            Form::Stream(opener) => opener.finish(out)?,
        }
        Ok(())
    }
}
