//! Where a subscription stands: the lowest offset that its reader has not acknowledged.
//!
//! Kept in `Meta`, which may be lost: then the subscription begins at the start of its flow again, and records are
//! delivered twice but never left out.

use hilum_core::{FlowName, Offset, SubscriptionName};
use hilum_store::{Meta, MetaError};

/// How often a position is tried to be written over one that is not the one expected.
const WRITES_MAX: u32 = 3;

/// A subscription's position. Its reader has the subscription's seat, so that nobody else moves it.
#[derive(Debug)]
pub struct Cursor {
    key: Vec<u8>,
    /// What `Meta` has, as far as is known.
    written: Option<[u8; 8]>,
    position: Offset,
}

impl Cursor {
    /// Reads the position of a subscription; the start of the flow where none was written. A position beyond `end`, the end of
    /// the flow, belongs to a log that is gone: the subscription begins at the start of the one that is there.
    pub async fn load(
        meta: &dyn Meta,
        flow: &FlowName,
        subscription: &SubscriptionName,
        end: Offset,
    ) -> Result<Self, MetaError> {
        let key = format!("cursor/{flow}/{subscription}").into_bytes();
        let written = read(meta, &key).await?;
        let mut position = written.map_or(Offset(0), |octets| Offset(u64::from_be_bytes(octets)));
        if position > end {
            tracing::warn!(%flow, %subscription, %position, %end, "the cursor is beyond the end of the flow: reading from its start");
            position = Offset(0);
        }
        Ok(Self { key, written, position })
    }

    /// The position.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.position
    }

    /// Writes a new position, over whatever is there: it may have been lost, or be of a log that is gone.
    pub async fn advance(&mut self, meta: &dyn Meta, to: Offset) -> Result<(), MetaError> {
        if to <= self.position {
            return Ok(());
        }
        let new = to.0.to_be_bytes();
        for _ in 0..WRITES_MAX {
            let expected = self.written.as_ref().map(<[u8; 8]>::as_slice);
            if meta.compare_and_set(&self.key, expected, Some(&new)).await? {
                (self.written, self.position) = (Some(new), to);
                return Ok(());
            }
            self.written = read(meta, &self.key).await?;
        }
        Err(MetaError::Database("another one keeps writing the cursor".into()))
    }
}

async fn read(meta: &dyn Meta, key: &[u8]) -> Result<Option<[u8; 8]>, MetaError> {
    Ok(meta.get(key).await?.and_then(|octets| <[u8; 8]>::try_from(&octets[..]).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn load(store: &hilum_store::memory::Store, end: u64) -> Cursor {
        let (flow, subscription) = (FlowName::new("f").unwrap(), SubscriptionName::new("s").unwrap());
        Cursor::load(&*store.meta(), &flow, &subscription, Offset(end)).await.unwrap()
    }

    #[tokio::test]
    async fn goes_on_where_the_last_reader_stopped() {
        let store = hilum_store::memory::Store::new();
        let mut cursor = load(&store, 10).await;
        assert_eq!(cursor.position(), Offset(0));
        cursor.advance(&*store.meta(), Offset(4)).await.unwrap();
        cursor.advance(&*store.meta(), Offset(3)).await.unwrap();
        assert_eq!(load(&store, 10).await.position(), Offset(4), "never backwards");
    }

    #[tokio::test]
    async fn moves_on_after_metadata_was_lost_or_changed_under_it() {
        let store = hilum_store::memory::Store::new();
        let mut cursor = load(&store, 10).await;
        cursor.advance(&*store.meta(), Offset(4)).await.unwrap();
        store.faults().lose_meta();
        cursor.advance(&*store.meta(), Offset(5)).await.unwrap();
        load(&store, 10).await.advance(&*store.meta(), Offset(6)).await.unwrap();
        cursor.advance(&*store.meta(), Offset(7)).await.unwrap();
        assert_eq!(load(&store, 10).await.position(), Offset(7));
    }

    #[tokio::test]
    async fn a_log_that_is_shorter_than_the_cursor_is_read_from_its_start() {
        let store = hilum_store::memory::Store::new();
        load(&store, 10).await.advance(&*store.meta(), Offset(9)).await.unwrap();
        let mut cursor = load(&store, 2).await;
        assert_eq!(cursor.position(), Offset(0));
        cursor.advance(&*store.meta(), Offset(2)).await.unwrap();
        assert_eq!(load(&store, 2).await.position(), Offset(2));
    }
}
