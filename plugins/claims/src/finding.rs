//! What the matching stage tells: findings, and a summary of each day.

use std::collections::BTreeMap;

use hilum_formats::calendar;
use hilum_plugin::{Attribute, Body, Draft};
use serde::{Deserialize, Serialize};

use crate::DAY_MS;
use crate::case::Entry;
use crate::day::Day;
use crate::notice::What;

/// Media type of findings.
pub const FINDING_CONTENT_TYPE: &str = "application/vnd.hilum.claim-finding+json";
/// Media type of summaries.
pub const SUMMARY_CONTENT_TYPE: &str = "application/vnd.hilum.claim-summary+json";

/// What does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    /// A procedure that nobody claimed.
    MissingClaim,
    /// A claim of a procedure that nobody performed.
    NoProcedure,
    /// The same service, claimed twice.
    DuplicateClaim,
    /// The code is for another kind of procedure.
    OtherProcedure,
    /// It was on another day.
    OtherDay,
}

impl Cause {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::MissingClaim => "missing-claim",
            Self::NoProcedure => "no-procedure",
            Self::DuplicateClaim => "duplicate-claim",
            Self::OtherProcedure => "other-procedure",
            Self::OtherDay => "other-day",
        }
    }
}

/// Something that does not fit, or does after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) cause: Cause,
    pub(crate) is_resolved: bool,
    /// The first half of the MAC that names the case.
    pub(crate) case: u64,
    pub(crate) performed: Option<(What, Day)>,
    /// The line concerned, and the one that claims the same.
    pub(crate) line: Option<Entry>,
    pub(crate) other: Option<Entry>,
}

#[derive(Serialize)]
struct Document<'a> {
    status: &'static str,
    cause: Cause,
    case: String,
    /// Of `other-day`.
    #[serde(skip_serializing_if = "Option::is_none")]
    days_apart: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    performed: Option<PerformedDocument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed: Option<LineDocument<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    also_claimed: Option<LineDocument<'a>>,
}

#[derive(Serialize)]
struct PerformedDocument<'a> {
    year: u16,
    #[serde(flatten)]
    what: &'a What,
}

#[derive(Serialize)]
struct LineDocument<'a> {
    year: u16,
    code: &'a str,
    component: crate::notice::Component,
    at: &'a str,
}

/// `2026-11-27`
fn date(day: u32) -> String {
    calendar::format(u64::from(day) * DAY_MS).chars().take(10).collect()
}

fn line(entry: &Entry) -> LineDocument<'_> {
    LineDocument { year: entry.day.year, code: &entry.code, component: entry.component, at: &entry.at }
}

impl Finding {
    pub(crate) fn draft(&self) -> Draft {
        let status = if self.is_resolved { "resolved" } else { "found" };
        let case = format!("{:016x}", self.case);
        let performed = self.performed.as_ref().map(|(what, day)| PerformedDocument { year: day.year, what });
        let (claimed, also_claimed) = (self.line.as_ref().map(line), self.other.as_ref().map(line));
        let key = format!("{}/{case}", self.cause.name());
        let days_apart = match (self.cause, &self.performed, &self.line) {
            (Cause::OtherDay, Some((_, day)), Some(line)) => line.day.apart(*day),
            _ => None,
        };
        let cause = self.cause;
        let document = Document { status, cause, case, days_apart, performed, claimed, also_claimed };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut draft = Draft::new(FINDING_CONTENT_TYPE, Body::Inline(body)).key(key);
        draft.attributes = vec![Attribute::new("status", status), Attribute::new("cause", self.cause.name())];
        draft
    }
}

/// What was heard of on a day, which is not the day of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    pub(crate) day: u32,
    pub(crate) performed: u64,
    pub(crate) claimed: u64,
    pub(crate) matched: u64,
    pub(crate) found: BTreeMap<Cause, u64>,
    pub(crate) resolved: u64,
}

#[derive(Serialize)]
struct SummaryDocument<'a> {
    day: String,
    performed: u64,
    claimed: u64,
    matched: u64,
    found: &'a BTreeMap<Cause, u64>,
    resolved: u64,
}

impl Summary {
    pub(crate) fn draft(&self) -> Draft {
        let Self { day, performed, claimed, matched, found, resolved } = self;
        let (performed, claimed, matched, resolved) = (*performed, *claimed, *matched, *resolved);
        let document = SummaryDocument { day: date(*day), performed, claimed, matched, found, resolved };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        Draft::new(SUMMARY_CONTENT_TYPE, Body::Inline(body)).key(date(*day))
    }
}
