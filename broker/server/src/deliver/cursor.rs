//! Where a subscription stands: the lowest offset that its reader has not acknowledged.
//!
//! Kept in `Meta`, which may be lost: then the subscription begins at the start of its flow again, and records are
//! delivered twice but never left out.

use hilum_core::{FlowName, Offset, SubscriptionName};
use hilum_store::{Meta, MetaError};

/// A subscription's position as it was last written.
#[derive(Debug)]
pub struct Cursor {
    key: Vec<u8>,
    written: Option<Offset>,
}

impl Cursor {
    /// Reads the position of a subscription; the start of the flow where none was written.
    pub async fn load(
        meta: &dyn Meta,
        flow: &FlowName,
        subscription: &SubscriptionName,
    ) -> Result<Self, MetaError> {
        let key = format!("cursor/{flow}/{subscription}").into_bytes();
        let value = meta.get(&key).await?;
        let written = value.and_then(|octets| <[u8; 8]>::try_from(&octets[..]).ok());
        Ok(Self { key, written: written.map(|octets| Offset(u64::from_be_bytes(octets))) })
    }

    /// The position.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.written.unwrap_or(Offset(0))
    }

    /// Writes a new position. A position that somebody else wrote meanwhile stays: it is the newer reader's.
    pub async fn advance(&mut self, meta: &dyn Meta, to: Offset) -> Result<(), MetaError> {
        if self.written.is_some_and(|written| to <= written) {
            return Ok(());
        }
        let expected = self.written.map(|written| written.0.to_be_bytes());
        let expected = expected.as_ref().map(<[u8; 8]>::as_slice);
        if meta.compare_and_set(&self.key, expected, Some(&to.0.to_be_bytes())).await? {
            self.written = Some(to);
        }
        Ok(())
    }
}
