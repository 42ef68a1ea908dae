//! Maintenance records: what the manufacturer and the hospital's operations are told.

use hilum_plugin::{Attribute, Body, Draft};
use serde::Serialize;

use crate::baseline;
use crate::curves::{DAYS_MAX, Forecast, Shape};
use crate::fault;
use crate::presence;
use crate::sensor::{self, Phase, Statistics};
use crate::settings::{Side, Statistic, Watch};
use crate::watched::Change;
use hilum_formats::calendar;

/// Media type of the records.
pub const CONTENT_TYPE: &str = "application/vnd.hilum.maintenance+json";

#[derive(Serialize)]
struct Record<'a> {
    status: &'static str,
    cause: &'static str,
    machine: &'a str,
    sensor: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    #[serde(flatten)]
    detail: Detail,
    #[serde(skip_serializing_if = "Option::is_none")]
    statistics: Option<Figures>,
}

/// What only some causes have.
#[derive(Serialize, Default)]
struct Detail {
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<Limit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trend_per_day: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<Expected>,
    #[serde(skip_serializing_if = "Option::is_none")]
    normal: Option<Normal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_heard: Option<String>,
}

/// What was normal for a sensor, and how far it is from that.
#[derive(Serialize)]
struct Normal {
    side: &'static str,
    value: f64,
    deviations: f64,
    /// Whether what was not normal counts as normal from now on.
    is_adopted: bool,
}

#[derive(Serialize)]
struct Limit {
    side: &'static str,
    threshold: f64,
    statistic: &'static str,
}

/// When the threshold will be crossed.
#[derive(Serialize)]
struct Expected {
    at: String,
    earliest: String,
    latest: String,
    days: f64,
    days_earliest: f64,
    days_latest: f64,
    confidence: f64,
    /// What the trend looks like.
    shape: &'static str,
}

#[derive(Serialize)]
struct Figures {
    readings: f64,
    mean: f64,
    standard_deviation: f64,
    smoothed: f64,
}

/// The record of one change of an alert.
pub(crate) fn record(machine: &str, watch: &Watch, change: &Change, statistics: &Statistics) -> Draft {
    let (status, cause, time_ms, value, detail) = match change {
        Change::Limit(change) => {
            (status(change.after), side(change.side), change.time_ms, change.value, of_limit(watch, change))
        }
        Change::Baseline(change) => (
            raised(change.is_raised),
            kind(change.of.kind),
            change.time_ms,
            change.value,
            of_baseline(change),
        ),
        Change::Fault(change) => {
            (raised(change.is_raised), fault(change.kind), change.time_ms, change.value, Detail::default())
        }
    };
    let figures = Figures {
        readings: statistics.count,
        mean: rounded(statistics.mean),
        standard_deviation: rounded(statistics.deviation),
        smoothed: rounded(statistics.smoothed),
    };
    draft(&Record {
        status,
        cause,
        machine,
        sensor: &watch.sensor,
        unit: watch.unit.as_deref(),
        time: calendar::format(time_ms),
        value: Some(value),
        detail,
        statistics: Some(figures),
    })
}

/// The record of a sensor that has gone silent, or was heard of again.
pub(crate) fn silence(change: &presence::Change<'_>) -> Draft {
    let presence::Change { machine, watch, is_raised, time_ms, last_ms } = change;
    draft(&Record {
        status: raised(*is_raised),
        cause: fault(fault::Kind::Missing),
        machine,
        sensor: &watch.sensor,
        unit: watch.unit.as_deref(),
        time: calendar::format(*time_ms),
        value: None,
        detail: Detail { last_heard: Some(calendar::format(*last_ms)), ..Detail::default() },
        statistics: None,
    })
}

fn draft(record: &Record<'_>) -> Draft {
    let attribute = |name: &str, value: &str| Attribute::new(name, value);
    Draft {
        key: Some(format!("{}/{}", record.machine, record.sensor)),
        content_type: CONTENT_TYPE.into(),
        attributes: vec![
            attribute("machine", record.machine),
            attribute("sensor", record.sensor),
            attribute("status", record.status),
            attribute("cause", record.cause),
        ],
        body: Body::Inline(serde_json::to_vec(record).expect("numbers and text serialize into memory")),
    }
}

fn of_limit(watch: &Watch, change: &sensor::Change) -> Detail {
    let statistic = match watch.statistic {
        Statistic::Value => "value",
        Statistic::Rms => "rms",
    };
    let threshold = watch.threshold(change.side).unwrap_or_default();
    Detail {
        limit: Some(Limit { side: side(change.side), threshold, statistic }),
        trend_per_day: change.line.map(|line| rounded(line.slope)),
        expected: change.forecast.map(|forecast| expected(change.time_ms, forecast)),
        ..Detail::default()
    }
}

fn of_baseline(change: &baseline::Change) -> Detail {
    let normal = Normal {
        side: side(change.of.side),
        value: rounded(change.expected),
        deviations: rounded(change.deviations),
        is_adopted: change.is_adopted,
    };
    Detail { normal: Some(normal), ..Detail::default() }
}

fn side(side: Side) -> &'static str {
    match side {
        Side::Below => "below",
        Side::Above => "above",
    }
}

fn kind(kind: baseline::Kind) -> &'static str {
    match kind {
        baseline::Kind::Unusual => "unusual",
        baseline::Kind::Shift => "shift",
        baseline::Kind::Drift => "drift",
    }
}

fn fault(kind: fault::Kind) -> &'static str {
    match kind {
        fault::Kind::OutOfRange => "out-of-range",
        fault::Kind::Stuck => "stuck",
        fault::Kind::Missing => "missing",
    }
}

fn raised(is_raised: bool) -> &'static str {
    if is_raised { "raised" } else { "cleared" }
}

fn status(phase: Phase) -> &'static str {
    match phase {
        Phase::Quiet => "cleared",
        Phase::Forecast => "forecast",
        Phase::Crossed => "crossed",
    }
}

fn expected(time_ms: u64, Forecast { days, days_earliest, days_latest, shape }: Forecast) -> Expected {
    let at = |days: f64| calendar::format(time_ms.saturating_add(whole_ms(days)));
    Expected {
        at: at(days),
        earliest: at(days_earliest),
        latest: at(days_latest),
        days: rounded(days),
        days_earliest: rounded(days_earliest),
        days_latest: rounded(days_latest),
        confidence: 0.95,
        shape: match shape {
            Shape::Line => "line",
            Shape::Accelerating => "accelerating",
            Shape::Slowing => "slowing",
            Shape::Unclear => "unclear",
        },
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a hundred years")]
fn whole_ms(days: f64) -> u64 {
    (days.clamp(0.0, DAYS_MAX) * 86_400_000.0) as u64
}

/// Four decimals are more than any sensor has.
fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
