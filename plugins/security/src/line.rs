//! One way between a principal and a flow: what it published there, or read by one subscription, hour by hour.

use crate::baseline::{Baseline, WEEK, Week, amount, scaled};
use crate::keep::Entry;
use crate::octets::{Octets, Rest};
use crate::settings::Settings;
use crate::{Seen, watch::HOUR_MS};

/// Hours without anything that are learned one by one after a pause; of what is longer no more.
const IDLE_HOURS_MAX: u64 = WEEK as u64;

/// What is known of a line.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Line {
    last_ms: u64,
    /// The hour under way, counted from 1970, and what was seen in it.
    hour: u64,
    octets: f64,
    records: f64,
    of_octets: Baseline,
    of_records: Baseline,
    week: Week,
}

impl Line {
    /// Takes an amount in; gives what is too much of it.
    pub(crate) fn take(&mut self, settings: &Settings, at: &Now, octets: f64, records: f64) -> Option<Seen> {
        self.go_to(at);
        self.last_ms = self.last_ms.max(at.time_ms);
        self.octets += octets;
        self.records += records;
        if !at.is_learned || !self.of_octets.is_known() {
            return None;
        }
        let hour = at.hour_of_week(self.hour);
        let (deviations, factor) = (settings.deviations, settings.factor);
        let limit = amount(self.of_octets.limit(Some((&self.week, hour)), deviations, factor));
        let limit = limit.max(settings.floor_octets_hour);
        if self.octets > limit {
            let usual = Some(amount(self.of_octets.usual(Some((&self.week, hour)))));
            return Some(Seen { value: self.octets, usual, limit, unit: "octets an hour" });
        }
        let limit = amount(self.of_records.limit(None, deviations, factor)).max(settings.floor_records_hour);
        let usual = Some(amount(self.of_records.usual(None)));
        let is_unusual = self.records > limit;
        is_unusual.then_some(Seen { value: self.records, usual, limit, unit: "records an hour" })
    }

    /// Ends hours that are over.
    fn go_to(&mut self, at: &Now) {
        let hour = at.time_ms / HOUR_MS;
        if self.hour == 0 {
            self.hour = hour;
        }
        // A clock that was set back goes on in the hour that it was in.
        if hour <= self.hour {
            return;
        }
        self.learn(at);
        let idle = (hour - self.hour - 1).min(IDLE_HOURS_MAX);
        (self.octets, self.records) = (0.0, 0.0);
        for _ in 0..idle {
            self.hour += 1;
            self.learn(at);
        }
        self.hour = hour;
    }

    fn learn(&mut self, at: &Now) {
        let hour = at.hour_of_week(self.hour);
        self.of_octets.learn(scaled(self.octets), Some((&mut self.week, hour)));
        // Hours without anything say nothing of how much it is when there is something.
        if self.records > 0.0 {
            self.of_records.learn(scaled(self.records), None);
        }
    }
}

/// When something is seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) time_ms: u64,
    pub(crate) utc_offset_minutes: i32,
    /// Whether the whole hospital has been watched for long enough.
    pub(crate) is_learned: bool,
}

impl Now {
    /// The hour of the week, in the hospital's time, of an hour that is counted from 1970. Hour 0 is Monday's first.
    pub(crate) fn hour_of_week(&self, hour: u64) -> usize {
        let minutes = i128::from(hour) * 60 + i128::from(self.utc_offset_minutes);
        // 1970 began on a Thursday.
        let hours = minutes.div_euclid(60) + 3 * 24;
        usize::try_from(hours.rem_euclid(WEEK as i128)).unwrap_or(0)
    }
}

impl Entry for Line {
    const KIND: &'static str = "lines";
    const BUCKETS: u64 = 128;

    fn last_ms(&self) -> u64 {
        self.last_ms
    }

    fn encode(&self, to: &mut Octets) {
        to.whole(self.last_ms);
        to.whole(self.hour);
        to.real(self.octets);
        to.real(self.records);
        self.of_octets.encode(to);
        self.of_records.encode(to);
        self.week.encode(to);
    }

    fn decode(from: &mut Rest<'_>) -> Option<Self> {
        Some(Self {
            last_ms: from.whole()?,
            hour: from.whole()?,
            octets: from.real()?,
            records: from.real()?,
            of_octets: Baseline::decode(from)?,
            of_records: Baseline::decode(from)?,
            week: Week::decode(from)?,
        })
    }
}
