//! Compaction: of each key only the newest record stays. Records without a key stay all.
//!
//! A record with an empty body is one like any other: it stays as the newest of its key, and tells whoever reads from the start
//! that the key has no value any more. `max_age` removes it in the end.

use std::ops::Range;

use hilum_core::Offset;
use hilum_core::retention::{Compaction, Rules};

use super::Keeper;
use super::pass::{Known, Needs, PassError};

impl Keeper {
    /// Passes over the flow as long as there is enough to do.
    pub(super) async fn compact(&mut self) -> Result<(), PassError> {
        let needs = self.needs().await?;
        loop {
            let bounds = self.shared.log.bounds(&self.log).await?;
            let end = Offset(needs.settled.0.min(bounds.end));
            let from = Offset(self.compacted.clamp(bounds.start, end.0.max(bounds.start)));
            if self.holds().is_whole()
                || !Compaction::is_due(from.0 - bounds.start, end.0.saturating_sub(from.0))
            {
                return Ok(());
            }
            let (pass, through) = self.see(from..end).await?;
            let spans = self.shared.log.usage(&self.log).await?.spans;
            for span in spans.iter().take_while(|span| span.first < through) {
                self.compact_span(span.first..span.end.min(through), &pass, &needs).await?;
            }
            self.compacted = through.0;
            self.keep_ledger().await?;
        }
    }

    /// Notes the newest record of each key of a range, as far as memory goes: through which offset.
    async fn see(&self, range: Range<Offset>) -> Result<(Compaction, Offset), PassError> {
        let (mut pass, mut at) = (Compaction::default(), range.start);
        while at < range.end {
            let entries = self.shared.log.read(&self.log, at, super::pass::READ_OCTETS).await?;
            let Some(last) = entries.last() else { break };
            at = last.offset.next();
            for entry in entries.iter().take_while(|entry| entry.offset < range.end) {
                let Known { key, fact, .. } = super::pass::known(&self.log, entry)?;
                if key.is_some_and(|key| !pass.see(&key, fact.offset)) {
                    return Ok((pass, fact.offset));
                }
            }
        }
        Ok((pass, range.end))
    }

    async fn compact_span(
        &self,
        range: Range<Offset>,
        pass: &Compaction,
        needs: &Needs,
    ) -> Result<(), PassError> {
        let shared = self.shared.clone();
        let _deleting = shared.control.deleting().await;
        let holds = self.holds();
        let mut gone = self.read_span(range).await?;
        gone.retain(|entry| {
            let key = entry.key.as_deref();
            key.is_some_and(|key| pass.replaces(key, entry.fact.offset)) && !holds.holds(key)
        });
        let stay = self.bodies_that_stay(&gone, needs).await?;
        gone.retain(|entry| entry.blob.is_none_or(|(blob, _)| !stay.contains(&blob)));
        if gone.is_empty() {
            return Ok(());
        }
        self.delete(&gone, None, "replaced by newer ones of their keys (compact)").await?;
        self.count_deleted(&gone, Rules::default());
        Ok(())
    }
}
