//! What is told: a dose and the level that it is over, and nothing that says whose it is.

use hilum_plugin::Draft;
use serde::Serialize;

use crate::report::Report;
use crate::settings::Quantity;

/// Media type of the records.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.hilum.dose-alert+json";

/// Why there is an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One examination is over its reference level.
    Examination,
    /// What a patient received within some days is over a level now and was not before.
    Cumulative { days: u32, examinations: usize },
}

/// A dose that is over a level.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Alert<'a> {
    pub(crate) kind: Kind,
    pub(crate) level: &'a str,
    pub(crate) quantity: Quantity,
    pub(crate) dose: f64,
    pub(crate) limit: f64,
}

#[derive(Serialize)]
struct Record<'a> {
    kind: &'static str,
    level: &'a str,
    quantity: &'static str,
    unit: &'static str,
    dose: f64,
    limit: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    days: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    examinations: Option<usize>,
    /// Codes, not descriptions: people write names into those.
    procedures: &'a [String],
}

impl Alert<'_> {
    /// The record to emit.
    pub(crate) fn record(&self, report: &Report) -> Draft {
        let (kind, days, examinations) = match self.kind {
            Kind::Examination => ("examination", None, None),
            Kind::Cumulative { days, examinations } => ("cumulative", Some(days), Some(examinations)),
        };
        let record = Record {
            kind,
            level: self.level,
            quantity: self.quantity.name(),
            unit: self.quantity.unit(),
            dose: rounded(self.dose),
            limit: self.limit,
            days,
            examinations,
            procedures: &report.procedures,
        };
        let body = serde_json::to_vec(&record).expect("numbers and text serialize into memory");
        Draft::new(CONTENT_TYPE, body)
            .attribute("kind", kind)
            .attribute("level", self.level)
            .attribute("quantity", self.quantity.name())
    }
}

/// Three decimals are more than any dosimeter has.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
