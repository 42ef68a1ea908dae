//! What operators see of a subscription and do with it: its status, pausing, and moving it.

use std::time::Duration;

use hilum_core::audit::Action;
use hilum_core::record::Stored;
use hilum_core::wire::admin::SeekTo;
use hilum_core::{LogName, Offset, PrincipalId, Timestamp};

use super::{Outlet, OutletError};
use crate::broker::About;
use crate::control::DecideError;

/// How a subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// The lowest offset that is not settled.
    pub cursor: Offset,
    /// The end of the flow.
    pub end: Offset,
    /// Records that are not settled.
    pub lag: u64,
    /// How long ago the broker took the oldest of them.
    pub oldest: Option<Duration>,
    /// Records under way to readers.
    pub in_flight: usize,
    /// Records that wait to come again, or for their time.
    pub put_off: usize,
    /// Who reads it now.
    pub readers: usize,
    /// Whether it delivers nothing until it is resumed.
    pub paused: bool,
}

impl Outlet {
    /// How the subscription stands.
    pub async fn status(&self) -> Result<Status, OutletError> {
        let state = self.state().await?;
        let end = *self.tail.borrow();
        let (cursor, lag, counts) = state.look(|it| (it.cursor(), it.lag(end), it.counts()));
        let oldest = match lag {
            0 => None,
            _ => self.accepted(cursor).await?.map(|(_, time)| self.shared.now().0.saturating_sub(time.0)),
        };
        Ok(Status {
            cursor,
            end,
            lag,
            oldest: oldest.map(Duration::from_millis),
            in_flight: counts.in_flight,
            put_off: counts.put_off,
            readers: counts.readers,
            paused: self.is_paused(),
        })
    }

    /// Everything before is settled: retention need not keep it for this subscription.
    pub async fn settled_before(&self) -> Result<Offset, OutletError> {
        Ok(self.state().await?.look(hilum_core::delivery::Deliveries::cursor))
    }

    /// The records that readers have now, from the lowest to after the highest: they may still read their large bodies.
    pub async fn under_way(&self) -> Result<std::ops::Range<Offset>, OutletError> {
        Ok(self.state().await?.look(hilum_core::delivery::Deliveries::under_way))
    }

    /// Whether it delivers nothing until it is resumed.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.shared.control.pause_of(&self.flow, &self.subscription).is_some()
    }

    /// Delivers nothing more until it is resumed, also after a restart. What is under way may still be answered.
    pub async fn pause(&self, reason: &str, by: &PrincipalId) -> Result<(), DecideError> {
        self.shared.pause_subscription(&self.flow, &self.subscription, reason, by).await
    }

    /// Delivers again.
    pub async fn resume(&self, by: &PrincipalId) -> Result<(), DecideError> {
        self.shared.resume_subscription(&self.flow, &self.subscription, by).await
    }

    /// Goes on from another place: what is before it counts as settled, what comes from it on is delivered, again or for the first
    /// time. What is under way is forgotten. It is in the audit before it takes effect. Gives the place.
    pub async fn seek(&self, to: SeekTo, by: &PrincipalId, note: &str) -> Result<Offset, OutletError> {
        let state = self.state().await?;
        let bounds = self.bounds().await?;
        let to = match to {
            SeekTo::Start => bounds.start,
            SeekTo::End => bounds.end,
            SeekTo::Offset(offset) => offset.0.clamp(bounds.start, bounds.end),
            SeekTo::Time(time) => self.first_at(time).await?.0,
        };
        let from = state.look(hilum_core::delivery::Deliveries::cursor);
        let about = About {
            principal: Some(by.clone()),
            flow: Some(self.flow.clone()),
            subscription: Some(self.subscription.clone()),
            offset: Some(Offset(to)),
        };
        let note = if note.is_empty() { String::new() } else { format!(": {note}") };
        let reason = format!("from offset {from} to offset {to}{note}");
        self.shared.audit(vec![about.event(self.shared.now(), Action::Sought, reason)]).await?;
        let mut ahead = state.ahead.lock().await;
        ahead.records.clear();
        ahead.through = Offset(to);
        state.change(|it, _| it.seek(Offset(to)));
        self.quarantined.lock().clear();
        drop(ahead);
        self.keep(state).await;
        Ok(Offset(to))
    }

    /// Lets one record come again that was settled. Whether it will.
    pub async fn redeliver(&self, offset: Offset) -> Result<bool, OutletError> {
        let state = self.state().await?;
        self.quarantined.lock().remove(&offset);
        let will_come = state.change(|it, now| it.recall(offset, now));
        // Whoever asked for it lets go of it now.
        self.keep(state).await;
        Ok(will_come)
    }

    pub(super) async fn bounds(&self) -> Result<std::ops::Range<u64>, OutletError> {
        Ok(self.shared.log.bounds(&LogName::Flow(self.flow.clone())).await?)
    }

    /// The first record that the broker took at this time or later, where its clock was not set back; the end if there is none.
    pub(super) async fn first_at(&self, time: Timestamp) -> Result<Offset, OutletError> {
        let bounds = self.bounds().await?;
        let (mut low, mut high) = (bounds.start, bounds.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.accepted(Offset(middle)).await? {
                // Offsets may be missing: then it is the next one that is there.
                Some((offset, accepted)) if accepted < time => low = offset.0 + 1,
                _ => high = middle,
            }
        }
        Ok(Offset(low))
    }

    /// The first record from an offset on, and when the broker took it.
    async fn accepted(&self, from: Offset) -> Result<Option<(Offset, Timestamp)>, OutletError> {
        let entries = self.shared.log.read(&LogName::Flow(self.flow.clone()), from, 1).await?;
        let Some(entry) = entries.first() else { return Ok(None) };
        let stored = Stored::decode(self.flow.clone(), entry.offset, &entry.octets)
            .map_err(|error| OutletError::Entry(entry.offset, error))?;
        Ok(Some((entry.offset, stored.envelope().accepted)))
    }
}
