//! Opens bodies that the bundled plugin `encrypt` sealed to us.

use hilum_core::cose::{self, OpenError, PrivateKey};

use crate::{FlowName, Head};

/// The media type of a sealed body (RFC 9052, section 11.3.3) begins so.
const SEALED_CONTENT_TYPE: &str = "application/cose";
/// The attribute that carries the media type of what is inside.
const ORIGINAL_CONTENT_TYPE: &str = "original-content-type";

/// Why a sealed body does not open.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// It does not say what is inside.
    #[error("the record has no attribute `{ORIGINAL_CONTENT_TYPE}`, which a sealed one has")]
    ContentType,
    /// It is not sealed to this key, was changed, or belongs to another record.
    #[error("the body does not open: {0}")]
    Open(#[from] OpenError),
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
    head.content_type.split(';').next() == Some(SEALED_CONTENT_TYPE)
}

/// Opens a sealed body with our private key. It opens only as the record that it was sealed as: flow, content type and time
/// are bound to it (see the plugin's README).
pub fn open_sealed(
    key: &PrivateKey,
    flow: &FlowName,
    head: &Head,
    sealed: &[u8],
) -> Result<Opened, SealedError> {
    let content_type = head.attributes.iter().find(|attribute| attribute.name == ORIGINAL_CONTENT_TYPE);
    let content_type =
        content_type.map(|attribute| attribute.value.clone()).ok_or(SealedError::ContentType)?;
    let associated = format!("hilum-encrypt-v1\n{flow}\n{content_type}\n{}", head.time.0);
    let body = cose::open(key, associated.as_bytes(), sealed)?;
    Ok(Opened { content_type, body })
}
