//! What operators hear of stages: every limit that a plugin runs into is counted, and told in the log, but not each time; and every
//! circuit breaker that opens or closes, in the log and in the audit, but one that does so all the time not each time either.

use std::collections::BTreeMap;

use hilum_core::audit::Action;
use hilum_core::chain::FailsOn;
use hilum_core::{StageName, SubscriptionName, Timestamp};
use hilum_sandbox::{Limit, StageEvent, StageOf};
use parking_lot::Mutex;

use crate::broker::{About, Shared};

/// A limit of a stage is told once, and then with how often it was since, at most this often. So is a probe that fails.
const SILENCE_MS: u64 = 10_000;
/// Openings and closings of a stage's breakers that are told at once, and how long it takes until one more is.
const BREAKERS_MAX: u32 = 8;
const BREAKER_MS: u64 = 60_000;

/// What was told of the stages of one chain. Their number and that of the limits bounds it.
#[derive(Default)]
pub(crate) struct Watch {
    by_limit: Mutex<BTreeMap<(StageName, Limit), Told>>,
    by_breaker: Mutex<BTreeMap<StageName, Breakers>>,
}

#[derive(Default)]
struct Told {
    at: Option<Timestamp>,
    since: u64,
}

impl Told {
    /// How often it was since it was told last, if it is to be told now.
    fn tell(&mut self, count: u64, now: Timestamp) -> Option<u64> {
        self.since = self.since.saturating_add(count);
        let is_due = |at: Timestamp| now.0.checked_sub(at.0).is_none_or(|elapsed| elapsed >= SILENCE_MS);
        if !self.at.is_none_or(is_due) {
            return None;
        }
        self.at = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

/// What was told of one stage's breakers.
struct Breakers {
    probes: Told,
    /// How many openings and closings may be told.
    left: u32,
    /// Since when there is one less than there may be.
    from: Timestamp,
    /// Those that were not told.
    untold: u64,
}

impl Breakers {
    fn new(now: Timestamp) -> Self {
        Self { probes: Told::default(), left: BREAKERS_MAX, from: now, untold: 0 }
    }

    /// How many were not told before this one, if it is to be told.
    fn tell(&mut self, now: Timestamp) -> Option<u64> {
        // A clock that was set back begins anew.
        let elapsed = now.0.checked_sub(self.from.0);
        let more = elapsed.map_or(0, |elapsed| elapsed / BREAKER_MS);
        self.left = self.left.saturating_add(u32::try_from(more).unwrap_or(u32::MAX)).min(BREAKERS_MAX);
        self.from = match elapsed {
            Some(_) if self.left < BREAKERS_MAX => Timestamp(self.from.0 + more * BREAKER_MS),
            _ => now,
        };
        if self.left == 0 {
            self.untold += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.untold))
    }
}

impl Watch {
    /// Counts and tells an event. Does not wait for the audit log.
    pub(crate) fn event(
        &self,
        shared: &Shared,
        subscription: Option<&SubscriptionName>,
        of: StageOf<'_>,
        event: StageEvent,
    ) {
        let StageOf { flow, stage, plugin, version } = of;
        let (now, name) = (shared.now(), subscription.map(SubscriptionName::as_str));
        match event {
            StageEvent::Limited { limit, max, count } => {
                shared.instruments.limited(subscription, of, limit, count);
                if let Some(count) = self.tell(stage, limit, count, now) {
                    tracing::warn!(
                        %flow, subscription = name, %stage, plugin, version, %limit, max, count,
                        "a plugin ran into a limit"
                    );
                }
            }
            StageEvent::BreakerOpened { on, faults, for_ms, again: true } => {
                shared.instruments.breaker(subscription, of, true);
                if let Some(probes) = self.tell_probe(stage, now) {
                    tracing::warn!(
                        %flow, subscription = name, %stage, plugin, version, %on, faults, for_ms, probes,
                        "a plugin still fails: its stage is left alone for longer"
                    );
                }
            }
            StageEvent::BreakerOpened { on, faults, for_ms, again: false } => {
                shared.instruments.breaker(subscription, of, true);
                let Some(untold) = self.tell_breaker(stage, now) else { return };
                tracing::error!(
                    %flow, subscription = name, %stage, plugin, version, %on, faults, for_ms, untold,
                    "a plugin fails again and again: its stage is left alone, and its records go to quarantine"
                );
                let what = format!(
                    "failed {faults} times one after another on {on}, and is left alone for {for_ms} ms"
                );
                write(shared, subscription, of, Action::BreakerOpened, &on, (&what, untold));
            }
            StageEvent::BreakerClosed { on, faults, is_open } => {
                shared.instruments.breaker(subscription, of, is_open);
                let Some(untold) = self.tell_breaker(stage, now) else { return };
                tracing::info!(
                    %flow, subscription = name, %stage, plugin, version, %on, faults, untold,
                    "a plugin works again"
                );
                let what = format!("works again, after {faults} faults on {on}");
                write(shared, subscription, of, Action::BreakerClosed, &on, (&what, untold));
            }
        }
    }

    /// How often it was since it was told last, if it is to be told now.
    fn tell(&self, stage: &StageName, limit: Limit, count: u64, now: Timestamp) -> Option<u64> {
        self.by_limit.lock().entry((stage.clone(), limit)).or_default().tell(count, now)
    }

    fn tell_probe(&self, stage: &StageName, now: Timestamp) -> Option<u64> {
        self.by_breaker.lock().entry(stage.clone()).or_insert_with(|| Breakers::new(now)).probes.tell(1, now)
    }

    fn tell_breaker(&self, stage: &StageName, now: Timestamp) -> Option<u64> {
        self.by_breaker.lock().entry(stage.clone()).or_insert_with(|| Breakers::new(now)).tell(now)
    }
}

/// Puts an audit event where it is written a moment later.
fn write(
    shared: &Shared,
    subscription: Option<&SubscriptionName>,
    of: StageOf<'_>,
    action: Action,
    on: &FailsOn,
    (what, untold): (&str, u64),
) {
    let principal = match on {
        FailsOn::Source(id) => Some(id.clone()),
        _ => None,
    };
    let about =
        About { principal, flow: Some(of.flow.clone()), subscription: subscription.cloned(), offset: None };
    let untold = match untold {
        0 => String::new(),
        untold => format!("; before that, {untold} openings and closings were too many to be written down"),
    };
    // As the plugin calls itself, which it did before it saw a record.
    let [plugin, version] = [of.plugin, of.version].map(|name| name.replace(char::is_control, " "));
    let reason = format!("stage `{}`: plugin {plugin} {version} {what}{untold}", of.stage);
    shared.aside.put(about.event(shared.now(), action, reason));
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

    #[test]
    fn a_breaker_that_flaps_is_told_eight_times_and_then_once_a_minute() {
        let watch = Watch::default();
        let [clean, check] = ["clean", "check"].map(|name| StageName::new(name).unwrap());
        let told = |stage, now| watch.tell_breaker(stage, Timestamp(now));
        for now in 1_000..1_008 {
            assert_eq!(told(&clean, now), Some(0));
        }
        assert_eq!(told(&clean, 1_008), None);
        assert_eq!(told(&check, 1_008), Some(0), "another stage");
        assert_eq!(told(&clean, 60_999), None);
        assert_eq!(told(&clean, 61_000), Some(2));
        assert_eq!(told(&clean, 61_001), None);
        let day = (0..86_400).filter(|second| told(&clean, 62_000 + second * 1_000).is_some()).count();
        assert!((1_438..=1_440).contains(&day), "{day}");
        // After a quiet time there is room for as many as at first.
        let now = 1_000_000_000;
        assert_eq!((now..now + 20).filter(|now| told(&clean, *now).is_some()).count(), 8);
        assert_eq!(told(&clean, 5_000), None, "a clock that was set back gives nothing");
        assert_eq!(watch.tell_probe(&clean, Timestamp(now)), Some(1), "probes are told by themselves");
    }
}
