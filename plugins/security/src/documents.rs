//! Reading what the broker says: audit events and statistics, as JSON.

use hilum_plugin::{Body, Message};
use serde::Deserialize;

/// Media type of audit events.
pub const EVENT_CONTENT_TYPE: &str = "application/vnd.hilum.audit+json";
/// Media type of statistics.
pub const STATISTICS_CONTENT_TYPE: &str = "application/vnd.hilum.statistics+json";

/// Octets of one document: what an inline body has.
const DOCUMENT_OCTETS_MAX: usize = 256 * 1024;
/// Lines of one document.
const LINES_MAX: usize = 1024;
/// Octets of a name: those of the longest SPIFFE ID.
const NAME_OCTETS_MAX: usize = 2048;
/// Times beyond this (the year 287396) are not whole numbers in a double.
const TIME_MS_MAX: u64 = 1 << 53;

/// One audit event.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Event {
    /// Its place in the audit, from 1.
    #[serde(rename = "event")]
    pub(crate) number: u64,
    pub(crate) time: u64,
    pub(crate) action: String,
    #[serde(default)]
    pub(crate) principal: Option<String>,
    #[serde(default)]
    pub(crate) flow: Option<String>,
    #[serde(default)]
    pub(crate) subscription: Option<String>,
    #[serde(default)]
    pub(crate) reason: String,
}

/// What was published and read in a period.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Statistics {
    pub(crate) to: u64,
    pub(crate) lines: Vec<Line>,
}

/// By whom, and where.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Line {
    pub(crate) principal: String,
    pub(crate) flow: String,
    /// None where it was published.
    #[serde(default)]
    pub(crate) subscription: Option<String>,
    pub(crate) records: u64,
    pub(crate) octets: u64,
}

/// A document that this plugin reads.
#[derive(Debug)]
pub(crate) enum Document {
    Event(Event),
    Statistics(Statistics),
}

/// Reads a record; none of another content type is one, and an error means that one of these cannot be read.
pub(crate) fn read(message: Message) -> Option<Result<Document, ()>> {
    let Message { head, body } = message;
    if head.is(EVENT_CONTENT_TYPE) {
        let event = parse::<Event>(body).filter(|event| {
            let names = [Some(&event.action), event.principal.as_ref(), event.flow.as_ref()];
            let others = [event.subscription.as_ref(), Some(&event.reason)];
            event.time <= TIME_MS_MAX && names.into_iter().chain(others).flatten().all(|name| is_short(name))
        });
        return Some(event.map(Document::Event).ok_or(()));
    }
    if head.is(STATISTICS_CONTENT_TYPE) {
        let statistics = parse::<Statistics>(body).filter(|found| {
            let short = |line: &Line| {
                let names = [Some(&line.principal), Some(&line.flow), line.subscription.as_ref()];
                names.into_iter().flatten().all(|name| is_short(name))
            };
            found.to <= TIME_MS_MAX && found.lines.len() <= LINES_MAX && found.lines.iter().all(short)
        });
        return Some(statistics.map(Document::Statistics).ok_or(()));
    }
    None
}

fn parse<T: for<'de> Deserialize<'de>>(body: Body) -> Option<T> {
    serde_json::from_slice(&body.into_octets(DOCUMENT_OCTETS_MAX).ok()?).ok()
}

fn is_short(name: &str) -> bool {
    name.len() <= NAME_OCTETS_MAX
}
