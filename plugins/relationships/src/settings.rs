//! The configuration, as `config.schema.json` describes it.

use hilum_formats::local_time::TimeZone;
use hilum_formats::patient::Authorities;
use hilum_plugin::ConfigError;
use serde::Deserialize;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// What a stage is configured with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default = "key")]
    pub(crate) key: String,
    pub(crate) identifiers: Authorities,
    #[serde(default = "hours")]
    grace_hours: u64,
    #[serde(default = "stay_days")]
    stay_days: u64,
    #[serde(default = "outpatient_days")]
    outpatient_days: u64,
    #[serde(default = "hours")]
    appointment_before_hours: u64,
    #[serde(default = "utc")]
    time_zone: String,
}

/// The same, in the units that are reckoned with: milliseconds.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) grace: u64,
    pub(crate) stay: u64,
    pub(crate) outpatient: u64,
    pub(crate) before: u64,
    pub(crate) zone: TimeZone,
}

impl Settings {
    /// What holds for how long.
    ///
    /// # Errors
    ///
    /// If authorities are described twice or not at all, or the time zone is none.
    pub(crate) fn rules(&self) -> Result<Rules, ConfigError> {
        if let Some(fault) = self.identifiers.fault() {
            return Err(ConfigError::new("/identifiers", fault));
        }
        let zone = TimeZone::parse(&self.time_zone).ok_or_else(|| {
            let reason = "write it as the POSIX variable TZ has it, e.g. `CET-1CEST,M3.5.0,M10.5.0/3`";
            ConfigError::new("/time_zone", reason)
        })?;
        Ok(Rules {
            grace: self.grace_hours * HOUR_MS,
            stay: self.stay_days * DAY_MS,
            outpatient: self.outpatient_days * DAY_MS,
            before: self.appointment_before_hours * HOUR_MS,
            zone,
        })
    }
}

fn key() -> String {
    "relationships".into()
}

fn hours() -> u64 {
    72
}

fn stay_days() -> u64 {
    366
}

fn outpatient_days() -> u64 {
    30
}

fn utc() -> String {
    "UTC0".into()
}
