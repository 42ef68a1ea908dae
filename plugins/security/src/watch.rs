//! What of a batch is not as usual.

use hilum_plugin::Message;
use hilum_plugin::state::StateError;

use crate::alerts::Alerts;
use crate::documents::{self, Document, Event, Line as Amount, Statistics};
use crate::keep::Kept;
use crate::line::{Line, Now};
use crate::octets::fnv1a;
use crate::profile::Profile;
use crate::settings::{Cause, Settings};
use crate::{About, Finding, Seen, Tally};

pub(crate) const HOUR_MS: u64 = 3_600_000;
pub(crate) const DAY_MS: u64 = 86_400_000;

/// A batch being looked at.
pub(crate) struct Watch<'a> {
    settings: &'a Settings,
    profiles: Kept<Profile>,
    lines: Kept<Line>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(settings: &'a Settings) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most some million years"
        )]
        let forget_ms = (settings.forget_days.min(1e9) * DAY_MS as f64) as u64;
        Self { settings, profiles: Kept::new(forget_ms), lines: Kept::new(forget_ms) }
    }

    /// Writes what was learned.
    pub(crate) fn keep(self) -> Result<(), StateError> {
        self.profiles.write()?;
        self.lines.write()
    }

    /// Looks at one record.
    pub(crate) fn see(&mut self, message: Message, alerts: &mut Alerts, tally: &mut Tally) {
        let found = match documents::read(message) {
            None => return,
            Some(Err(())) => {
                tally.malformed += 1;
                return;
            }
            Some(Ok(Document::Event(event))) => {
                if !alerts.is_news(event.number, event.time) {
                    tally.repeated += 1;
                    return;
                }
                tally.events += 1;
                self.event(&event, alerts)
            }
            Some(Ok(Document::Statistics(statistics))) => {
                tally.statistics += 1;
                self.statistics(&statistics, alerts)
            }
        };
        match found {
            Ok(findings) => {
                findings.into_iter().for_each(|finding| alerts.raise(self.settings, finding, tally));
            }
            Err(error) => tally.trouble = Some(format!("a record could not be compared: {error}")),
        }
    }

    fn now(&self, time_ms: u64, alerts: &mut Alerts) -> Now {
        let age_days = alerts.age_ms(time_ms) as f64 / DAY_MS as f64;
        let is_learned = age_days >= self.settings.learning_days;
        Now { time_ms, utc_offset_minutes: self.settings.utc_offset_minutes, is_learned }
    }

    fn event(&mut self, event: &Event, alerts: &mut Alerts) -> Result<Vec<Finding>, StateError> {
        let at = self.now(event.time, alerts);
        let mut findings = Vec::new();
        let finding = |cause, about, seen| Finding { cause, about, time_ms: event.time, seen };
        let of_flow = || About {
            flow: event.flow.clone(),
            subscription: event.subscription.clone(),
            stage: stage(&event.reason),
            ..About::default()
        };
        let of_principal = || About { principal: event.principal.clone(), ..About::default() };
        let counted = match event.action.as_str() {
            "denied" => Some((Cause::Denials, of_principal())),
            "connection-refused" => Some((Cause::RefusedConnections, of_principal())),
            "obliged" => Some((Cause::Obligations, of_principal())),
            "disclosed" => Some((Cause::Disclosures, of_principal())),
            "quarantined" => Some((Cause::Quarantines, of_flow())),
            "breaker-opened" => Some((Cause::PluginFailures, of_flow())),
            // One of them is enough.
            "rolled-back" => {
                findings.push(finding("plugin-rolled-back", of_flow(), None));
                None
            }
            "plugin-refused" => {
                findings.push(finding("plugin-refused", About::default(), None));
                None
            }
            _ => None,
        };
        if let Some((cause, about)) = counted {
            let name = [about.principal.as_deref(), about.flow.as_deref(), about.stage.as_deref()];
            let name = name.map(Option::unwrap_or_default);
            let profile = self
                .profiles
                .entry(fnv1a(&["counted", cause.name(), name[0], name[1], name[2]]), event.time)?;
            profile.meet(event.time);
            if let Some(seen) = profile.count(self.settings, cause, event.time) {
                findings.push(finding(cause.name(), about, Some(seen)));
            }
        }
        // What people do. What happens to their records is no act of theirs.
        let is_act = matches!(
            event.action.as_str(),
            "denied"
                | "obliged"
                | "disclosed"
                | "released"
                | "destroyed"
                | "paused"
                | "sought"
                | "held"
                | "reloaded"
        );
        if let (true, Some(principal)) = (is_act, &event.principal) {
            self.act(principal, &at, &mut findings)?;
        }
        Ok(findings)
    }

    /// Somebody is there, now.
    fn act(&mut self, principal: &str, at: &Now, findings: &mut Vec<Finding>) -> Result<(), StateError> {
        let profile = self.profiles.entry(fnv1a(&["principal", principal]), at.time_ms)?;
        let about = About { principal: Some(principal.to_owned()), ..About::default() };
        let mut find =
            |cause| findings.push(Finding { cause, about: about.clone(), time_ms: at.time_ms, seen: None });
        if profile.meet(at.time_ms) && at.is_learned {
            find("new-principal");
        }
        if profile.is_unusual_time(self.settings, at) && !self.settings.is_ignored(principal) {
            find("unusual-time");
        }
        Ok(())
    }

    fn statistics(
        &mut self,
        statistics: &Statistics,
        alerts: &mut Alerts,
    ) -> Result<Vec<Finding>, StateError> {
        let at = self.now(statistics.to, alerts);
        let mut findings = Vec::new();
        for line in statistics.lines.iter().filter(|line| line.records > 0) {
            self.act(&line.principal, &at, &mut findings)?;
            if !self.settings.is_ignored(&line.principal) {
                self.amount(line, &at, &mut findings)?;
            }
        }
        Ok(findings)
    }

    fn amount(&mut self, amount: &Amount, at: &Now, findings: &mut Vec<Finding>) -> Result<(), StateError> {
        let Amount { principal, flow, subscription, records, octets } = amount;
        let reads = subscription.is_some();
        let (octets, records) = (*octets as f64, *records as f64);
        let name = ["line", principal.as_str(), flow, subscription.as_deref().unwrap_or_default()];
        let about = About {
            principal: Some(principal.clone()),
            flow: Some(flow.clone()),
            subscription: subscription.clone(),
            stage: None,
        };
        let mut find = |cause, about: About, seen: Option<Seen>| {
            findings.push(Finding { cause, about, time_ms: at.time_ms, seen });
        };
        let profile = self.profiles.entry(fnv1a(&["principal", principal]), at.time_ms)?;
        if profile.is_unusual_destination(self.settings, at, fnv1a(&name)) {
            find("unusual-destination", about.clone(), None);
        }
        if reads && let Some(seen) = profile.read(self.settings, at, octets) {
            let about = About { principal: Some(principal.clone()), ..About::default() };
            find("exfiltration", about, Some(seen));
        }
        let line = self.lines.entry(fnv1a(&name), at.time_ms)?;
        if let Some(seen) = line.take(self.settings, at, octets, records) {
            find("unusual-volume", about, Some(seen));
        }
        Ok(())
    }
}

/// The stage in the broker's words, which begin `stage `NAME``.
fn stage(reason: &str) -> Option<String> {
    let (_, rest) = reason.split_once("stage `")?;
    let (name, _) = rest.split_once('`')?;
    (name.len() <= 64).then(|| name.to_owned())
}
