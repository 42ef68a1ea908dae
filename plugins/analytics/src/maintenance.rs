//! Maintenance records: what the manufacturer and the hospital's operations are told.

use hilum_plugin::{Attribute, Body, Draft};
use serde::Serialize;

use crate::sensor::{Change, Phase, Statistics};
use crate::settings::{Side, Statistic, Watch};
use crate::trend::Forecast;
use hilum_formats::calendar;

/// Media type of the records.
pub const CONTENT_TYPE: &str = "application/vnd.hilum.maintenance+json";
/// Times further off than this are not written; no trend lasts so long.
const DAYS_MAX: f64 = 36_500.0;

#[derive(Serialize)]
struct Record<'a> {
    status: &'static str,
    machine: &'a str,
    sensor: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    limit: Limit,
    time: String,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    trend_per_day: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<Expected>,
    statistics: Figures,
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
    let status = status(change.after);
    let (side, threshold) = match change.side {
        Side::Below => ("below", watch.below),
        Side::Above => ("above", watch.above),
    };
    let statistic = match watch.statistic {
        Statistic::Value => "value",
        Statistic::Rms => "rms",
    };
    let record = Record {
        status,
        machine,
        sensor: &watch.sensor,
        unit: watch.unit.as_deref(),
        limit: Limit { side, threshold: threshold.unwrap_or_default(), statistic },
        time: calendar::format(change.time_ms),
        value: change.value,
        trend_per_day: change.line.map(|line| rounded(line.slope)),
        expected: change.forecast.map(|forecast| expected(change.time_ms, forecast)),
        statistics: Figures {
            readings: statistics.count,
            mean: rounded(statistics.mean),
            standard_deviation: rounded(statistics.deviation),
            smoothed: rounded(statistics.smoothed),
        },
    };
    let body = serde_json::to_vec(&record).expect("numbers and text serialize into memory");
    let attribute = |name: &str, value: &str| Attribute::new(name, value);
    Draft {
        key: Some(format!("{machine}/{}", watch.sensor)),
        content_type: CONTENT_TYPE.into(),
        attributes: vec![
            attribute("machine", machine),
            attribute("sensor", &watch.sensor),
            attribute("status", status),
        ],
        body: Body::Inline(body),
    }
}

fn status(phase: Phase) -> &'static str {
    match phase {
        Phase::Quiet => "cleared",
        Phase::Forecast => "forecast",
        Phase::Crossed => "crossed",
    }
}

fn expected(time_ms: u64, Forecast { days, days_earliest, days_latest }: Forecast) -> Expected {
    let at = |days: f64| calendar::format(time_ms.saturating_add(whole_ms(days)));
    Expected {
        at: at(days),
        earliest: at(days_earliest),
        latest: at(days_latest),
        days: rounded(days),
        days_earliest: rounded(days_earliest),
        days_latest: rounded(days_latest),
        confidence: 0.95,
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
