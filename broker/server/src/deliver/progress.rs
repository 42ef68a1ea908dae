//! Where a subscription stands, kept in `Meta`: what is settled, and how often the rest was delivered.
//!
//! `Meta` may be lost: then the subscription begins at its start again, and records are delivered twice but never left out.

use bytes::Bytes;
use hilum_core::delivery::Progress;
use hilum_core::{FlowName, Offset, SubscriptionName};
use hilum_store::{Meta, MetaError};

/// How often a progress is tried to be written over one that is not the one expected.
const WRITES_MAX: u32 = 3;

/// The key of a subscription in `Meta`, and what it has, as far as is known.
#[derive(Debug)]
pub(super) struct Kept {
    key: Vec<u8>,
    written: Option<Bytes>,
}

impl Kept {
    /// What is kept of a subscription, if anything is, and fits to the flow; see [`FlowEnd`].
    pub(super) async fn load(
        meta: &dyn Meta,
        flow: &FlowName,
        subscription: &SubscriptionName,
        flow_end: FlowEnd,
    ) -> Result<(Self, Option<Progress>), MetaError> {
        let key = format!("cursor/{flow}/{subscription}").into_bytes();
        let written = meta.get(&key).await?;
        let progress = match written.as_deref().map(Progress::decode) {
            None => None,
            Some(Ok(progress)) => match flow_end {
                FlowEnd::Fixed(end) if reaches(&progress) > end => {
                    let cursor = progress.cursor;
                    tracing::warn!(%flow, %subscription, %cursor, %end, "what is kept of the subscription reaches beyond the end of the flow: reading from the start");
                    None
                }
                FlowEnd::Moving(end) if reaches(&progress) > end => {
                    tracing::warn!(%flow, %subscription, %end, "records were lost that were acked from memory: reading on from the end of what is left");
                    Some(before(progress, end))
                }
                _ => Some(progress),
            },
            Some(Err(error)) => {
                tracing::warn!(%flow, %subscription, %error, "reading from the start");
                None
            }
        };
        Ok((Self { key, written }, progress))
    }

    /// Writes over whatever is there: it may have been lost, or be of a log that is gone.
    pub(super) async fn write(&mut self, meta: &dyn Meta, progress: &Progress) -> Result<(), MetaError> {
        let new = Bytes::from(progress.encode());
        if self.written.as_ref() == Some(&new) {
            return Ok(());
        }
        for _ in 0..WRITES_MAX {
            if meta.compare_and_set(&self.key, self.written.as_deref(), Some(&new)).await? {
                self.written = Some(new);
                return Ok(());
            }
            self.written = meta.get(&self.key).await?;
        }
        Err(MetaError::Database("another one keeps writing the cursor".into()))
    }
}

/// Where the flow ended when the broker started.
#[derive(Debug, Clone, Copy)]
pub(super) enum FlowEnd {
    /// What reaches beyond it belongs to a log that is gone, and is forgotten.
    Fixed(Offset),
    /// Its records are acked before they are safe, so a crash may have taken the last ones: what is before it is still settled.
    Moving(Offset),
    /// The flow is damaged; a repair moves its end to behind the damage again.
    Unknown,
}

/// What is left of a progress when the flow ends there.
fn before(mut progress: Progress, end: Offset) -> Progress {
    let last = Offset(end.0.saturating_sub(1));
    progress.cursor = progress.cursor.min(end);
    progress.settled.retain(|(first, _)| *first < end);
    progress.settled.iter_mut().for_each(|(_, to)| *to = (*to).min(last));
    progress.attempts.retain(|(offset, _)| *offset < end);
    progress
}

/// The end of what a progress knows of.
fn reaches(progress: &Progress) -> Offset {
    progress.settled.last().map_or(progress.cursor, |(_, last)| last.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn load(store: &hilum_store::memory::Store, end: u64) -> (Kept, Option<Progress>) {
        let (flow, subscription) = (FlowName::new("f").unwrap(), SubscriptionName::new("s").unwrap());
        Kept::load(&*store.meta(), &flow, &subscription, FlowEnd::Fixed(Offset(end))).await.unwrap()
    }

    fn at(cursor: u64) -> Progress {
        Progress::from(Offset(cursor))
    }

    #[tokio::test]
    async fn goes_on_where_it_was() {
        let store = hilum_store::memory::Store::new();
        let (mut kept, found) = load(&store, 10).await;
        assert_eq!(found, None);
        let progress = Progress { settled: vec![(Offset(6), Offset(8))], ..at(4) };
        kept.write(&*store.meta(), &progress).await.unwrap();
        assert_eq!(load(&store, 10).await.1, Some(progress));
    }

    #[tokio::test]
    async fn is_written_after_metadata_was_lost_or_changed_under_it() {
        let store = hilum_store::memory::Store::new();
        let (mut kept, _) = load(&store, 10).await;
        kept.write(&*store.meta(), &at(4)).await.unwrap();
        store.faults().lose_meta();
        kept.write(&*store.meta(), &at(5)).await.unwrap();
        load(&store, 10).await.0.write(&*store.meta(), &at(6)).await.unwrap();
        kept.write(&*store.meta(), &at(7)).await.unwrap();
        assert_eq!(load(&store, 10).await.1, Some(at(7)));
    }

    /// Records that were acked from memory go with the power; those before them do not come again.
    #[test]
    fn what_a_crash_left_stays_settled() {
        let (settled, attempts) =
            (vec![(Offset(6), Offset(8)), (Offset(11), Offset(12))], vec![(Offset(5), 2)]);
        let progress = Progress { settled, attempts: [&attempts[..], &[(Offset(9), 1)]].concat(), ..at(4) };
        let left = Progress { settled: vec![(Offset(6), Offset(7))], attempts, ..at(4) };
        assert_eq!(before(progress, Offset(8)), left);
        assert_eq!(before(at(9), Offset(8)), at(8));
    }

    #[tokio::test]
    async fn a_log_that_is_shorter_than_what_is_kept_is_read_from_its_start() {
        let store = hilum_store::memory::Store::new();
        let settled = Progress { settled: vec![(Offset(6), Offset(8))], ..at(1) };
        for progress in [at(9), settled] {
            load(&store, 10).await.0.write(&*store.meta(), &progress).await.unwrap();
            assert_eq!(load(&store, 8).await.1, None);
        }
    }
}
