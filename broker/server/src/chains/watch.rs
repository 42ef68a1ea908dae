//! What operators hear of stages: every limit that a plugin runs into is counted, and told in the log, but not each time; and every
//! circuit breaker that opens or closes.

use std::collections::BTreeMap;

use hilum_core::{StageName, SubscriptionName, Timestamp};
use hilum_sandbox::{Limit, StageEvent, StageOf};
use parking_lot::Mutex;

use crate::telemetry::Instruments;

/// A limit of a stage is told once, and then with how often it was since, at most this often.
const SILENCE_MS: u64 = 10_000;

/// What was told of the stages of one chain. Their number and that of the limits bounds it.
#[derive(Default)]
pub(crate) struct Watch {
    by_limit: Mutex<BTreeMap<(StageName, Limit), Told>>,
}

#[derive(Default)]
struct Told {
    at: Option<Timestamp>,
    since: u64,
}

impl Watch {
    /// Counts and tells an event.
    pub(crate) fn event(
        &self,
        instruments: &Instruments,
        subscription: Option<&SubscriptionName>,
        of: StageOf<'_>,
        event: StageEvent,
        now: Timestamp,
    ) {
        let StageOf { flow, stage, plugin, version } = of;
        let subscription_name = subscription.map(SubscriptionName::as_str);
        match event {
            StageEvent::Limited { limit, max, count } => {
                instruments.limited(subscription, of, limit, count);
                if let Some(count) = self.tell(stage, limit, count, now) {
                    tracing::warn!(
                        %flow, subscription = subscription_name, %stage, plugin, version, %limit, max, count,
                        "a plugin ran into a limit"
                    );
                }
            }
            StageEvent::BreakerOpened { faults, for_ms } => {
                instruments.breaker(subscription, of, true);
                tracing::error!(
                    %flow, subscription = subscription_name, %stage, plugin, version, faults, for_ms,
                    "a plugin fails again and again: its stage is left alone, and its records go to quarantine"
                );
            }
            StageEvent::BreakerClosed { faults } => {
                instruments.breaker(subscription, of, false);
                tracing::info!(
                    %flow, subscription = subscription_name, %stage, plugin, version, faults,
                    "a plugin works again"
                );
            }
        }
    }

    /// How often it was since it was told last, if it is to be told now.
    fn tell(&self, stage: &StageName, limit: Limit, count: u64, now: Timestamp) -> Option<u64> {
        let mut by_limit = self.by_limit.lock();
        let told = by_limit.entry((stage.clone(), limit)).or_default();
        told.since = told.since.saturating_add(count);
        let is_due = |at: Timestamp| now.0.checked_sub(at.0).is_none_or(|elapsed| elapsed >= SILENCE_MS);
        if !told.at.is_none_or(is_due) {
            return None;
        }
        told.at = Some(now);
        Some(std::mem::take(&mut told.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_told_once_and_then_with_how_often_it_was() {
        let watch = Watch::default();
        let [clean, check] = ["clean", "check"].map(|name| StageName::new(name).unwrap());
        let tell = |stage, limit, count, now| watch.tell(stage, limit, count, Timestamp(now));
        assert_eq!(tell(&clean, Limit::Time, 1, 5_000), Some(1));
        assert_eq!(tell(&clean, Limit::Time, 1, 5_001), None);
        assert_eq!(tell(&clean, Limit::LogLines, 68, 5_001), Some(68), "another limit");
        assert_eq!(tell(&check, Limit::Time, 1, 5_001), Some(1), "another stage");
        assert_eq!(tell(&clean, Limit::Time, 2, 14_999), None);
        assert_eq!(tell(&clean, Limit::Time, 1, 15_000), Some(4));
        assert_eq!(tell(&clean, Limit::Time, 1, 1_000), Some(1), "a clock that was set back");
    }
}
