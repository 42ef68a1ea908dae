//! Alerts: one for each cause, which stands until the cause has been quiet for a while.

use hilum_formats::calendar;
use hilum_plugin::state::{self, StateError};
use hilum_plugin::{Attribute, Body, Draft, emit};
use serde::{Deserialize, Serialize};

use crate::octets::fnv1a;
use crate::settings::Settings;
use crate::{About, Finding, Seen, Tally};

/// Media type of alerts.
pub const CONTENT_TYPE: &str = "application/vnd.hilum.security+json";

/// The key of what is kept.
const KEY: &str = "alerts";
/// Alerts that stand at a time. Further ones are counted, and raised when there is room.
const STANDING_MAX: usize = 128;
/// Octets of a name that are kept of it.
const NAME_OCTETS_MAX: usize = 256;
/// An alert that goes on is noted this often, so that not every record is a write.
const NOTED_EVERY_MS: u64 = 10_000;

/// Which alerts stand, and how far the audit was seen.
#[derive(Debug)]
pub(crate) struct Alerts {
    version: u64,
    is_changed: bool,
    kept: Kept,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Kept {
    /// When watching began.
    since_ms: u64,
    /// The last event that was seen, and its time.
    number: u64,
    time_ms: u64,
    standing: Vec<Standing>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Standing {
    cause: String,
    about: About,
    since_ms: u64,
    last_ms: u64,
}

impl Alerts {
    pub(crate) fn load() -> Result<Self, StateError> {
        let found = state::get(KEY)?;
        let version = found.as_ref().map_or(0, |found| found.version);
        // What cannot be read is of another version: alerts are raised anew.
        let kept = found.and_then(|found| serde_json::from_slice(&found.value).ok()).unwrap_or_default();
        Ok(Self { version, is_changed: false, kept })
    }

    pub(crate) fn keep(self) -> Result<(), StateError> {
        if !self.is_changed {
            return Ok(());
        }
        let octets = serde_json::to_vec(&self.kept).map_err(|error| StateError::Other(error.to_string()))?;
        state::put(KEY, &octets, self.version).map(drop)
    }

    /// Whether an event was not seen before. One with an earlier number and a later time is of another audit.
    pub(crate) fn is_news(&mut self, number: u64, time_ms: u64) -> bool {
        let is_news = number > self.kept.number || time_ms > self.kept.time_ms;
        if is_news {
            (self.kept.number, self.kept.time_ms) = (number, time_ms.max(self.kept.time_ms));
            self.is_changed = true;
        }
        is_news
    }

    /// How long has been watched.
    pub(crate) fn age_ms(&mut self, now_ms: u64) -> u64 {
        if self.kept.since_ms == 0 {
            self.kept.since_ms = now_ms.max(1);
            self.is_changed = true;
        }
        now_ms.saturating_sub(self.kept.since_ms)
    }

    /// Raises an alert, or notes that it goes on.
    pub(crate) fn raise(&mut self, settings: &Settings, finding: Finding, tally: &mut Tally) {
        let Finding { cause, about, time_ms, seen } = finding;
        let about = short(about);
        let same = |standing: &&mut Standing| standing.cause == cause && standing.about == about;
        if let Some(standing) = self.kept.standing.iter_mut().find(same) {
            if time_ms >= standing.last_ms.saturating_add(NOTED_EVERY_MS) {
                standing.last_ms = time_ms;
                self.is_changed = true;
            }
            return;
        }
        if self.kept.standing.len() >= STANDING_MAX {
            tally.unraised += 1;
            tally.trouble = Some(format!("{STANDING_MAX} alerts stand already, and there are more"));
            return;
        }
        let standing = Standing { cause: cause.to_owned(), about, since_ms: time_ms, last_ms: time_ms };
        match emit::emit(&settings.alerts_flow, record("raised", &standing, time_ms, seen)) {
            Ok(()) => {
                tally.raised += 1;
                self.kept.standing.push(standing);
                self.is_changed = true;
            }
            // It is raised when it is found again.
            Err(error) => tally.trouble = Some(format!("an alert was not emitted: {error}")),
        }
    }

    /// Clears alerts whose cause has been quiet for long enough.
    pub(crate) fn calm(&mut self, settings: &Settings, now_ms: u64, tally: &mut Tally) {
        let calm_ms = settings.calm_minutes * 60_000.0;
        let before = self.kept.standing.len();
        self.kept.standing.retain(|standing| {
            let quiet_ms = now_ms.saturating_sub(standing.last_ms.saturating_add(NOTED_EVERY_MS)) as f64;
            if quiet_ms < calm_ms {
                return true;
            }
            match emit::emit(&settings.alerts_flow, record("cleared", standing, now_ms, None)) {
                Ok(()) => {
                    tally.cleared += 1;
                    false
                }
                Err(error) => {
                    tally.trouble = Some(format!("the end of an alert was not emitted: {error}"));
                    true
                }
            }
        });
        self.is_changed |= self.kept.standing.len() != before;
    }
}

/// Names that would take too much room end in a mark by which they are told apart.
fn short(about: About) -> About {
    let short = |name: Option<String>| {
        name.map(|mut name| {
            if name.len() > NAME_OCTETS_MAX {
                let mark = fnv1a(&[&name]);
                name.truncate(name.floor_char_boundary(NAME_OCTETS_MAX - 20));
                name.push_str(&format!("...{mark:016x}"));
            }
            name
        })
    };
    let About { principal, flow, subscription, stage } = about;
    About {
        principal: short(principal),
        flow: short(flow),
        subscription: short(subscription),
        stage: short(stage),
    }
}

#[derive(Serialize)]
struct Record<'a> {
    status: &'static str,
    cause: &'a str,
    #[serde(flatten)]
    about: &'a About,
    time: String,
    since: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<Seen>,
}

fn record(status: &'static str, standing: &Standing, time_ms: u64, seen: Option<Seen>) -> Draft {
    let Standing { cause, about, since_ms, .. } = standing;
    let rounded = |number: f64| (number * 10.0).round() / 10.0;
    let seen = seen.map(|seen| Seen {
        value: rounded(seen.value),
        usual: seen.usual.map(rounded),
        limit: rounded(seen.limit),
        ..seen
    });
    let time = calendar::format(time_ms);
    let document = Record { status, cause, about, time, since: calendar::format(*since_ms), seen };
    let body = serde_json::to_vec(&document).unwrap_or_default();
    let parts = [&about.principal, &about.flow, &about.subscription, &about.stage];
    let parts = parts.map(|part| part.as_deref().unwrap_or_default());
    let key = format!("{cause}/{:016x}", fnv1a(&parts));
    let mut draft = Draft::new(CONTENT_TYPE, Body::Inline(body)).key(key);
    draft.attributes = vec![Attribute::new("status", status), Attribute::new("cause", cause.as_str())];
    draft
}
