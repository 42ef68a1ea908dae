//! The plugin's configuration. Every threshold has a default that a hospital can begin with.

use std::collections::BTreeMap;

use hilum_plugin::ConfigError;
use serde::Deserialize;

/// Principals that may be left out.
const IGNORED_MAX: usize = 256;

/// Configuration of a stage.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where alerts go; the stage needs the grant `emit:FLOW`.
    pub alerts_flow: String,
    /// For so long nothing is unusual: everything is new. Of a principal too, before it can go where it never was.
    #[serde(default = "default_learning_days")]
    pub learning_days: f64,
    /// The hospital's time, for hours of the day and days of the week.
    #[serde(default)]
    pub utc_offset_minutes: i32,
    /// An alert stands until its cause has been quiet for so long.
    #[serde(default = "default_calm_minutes")]
    pub calm_minutes: f64,
    /// Who was not heard of for so long is forgotten, and new when it comes again.
    #[serde(default = "default_forget_days")]
    pub forget_days: f64,
    /// Spreads above what is usual in this hour of the week, from which an amount is unusual.
    #[serde(default = "default_deviations")]
    pub deviations: f64,
    /// And at least so many times what is usual.
    #[serde(default = "default_factor")]
    pub factor: f64,
    /// Octets in an hour below which nothing is unusual.
    #[serde(default = "default_floor_octets")]
    pub floor_octets_hour: f64,
    /// Records in an hour below which nothing is unusual.
    #[serde(default = "default_floor_records")]
    pub floor_records_hour: f64,
    /// Octets that a principal reads in a day, below which that is no exfiltration.
    #[serde(default = "default_floor_octets_day")]
    pub floor_octets_day: f64,
    /// Octets that nobody may read in a day, usual or not. From the first day on.
    #[serde(default)]
    pub octets_day_max: Option<f64>,
    /// How many events of a cause are too many, by cause.
    #[serde(default)]
    pub rates: BTreeMap<Cause, Rate>,
    /// SPIFFE IDs of those who are not watched for volume, time and destinations, such as an archive that is being moved.
    #[serde(default)]
    pub ignore: Vec<String>,
}

/// Causes that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A principal was refused what it asked for.
    Denials,
    /// Connections were refused, of a principal or of somebody who is none.
    RefusedConnections,
    /// A principal broke the glass, or got access with another obligation.
    Obligations,
    /// An operator looked into records.
    Disclosures,
    /// Records of a flow went to quarantine.
    Quarantines,
    /// Plugins of a flow were left alone because they failed.
    PluginFailures,
}

/// So many in so long.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Events.
    pub count: f64,
    /// Minutes after which an event counts about a third.
    pub minutes: f64,
}

impl Cause {
    /// All of them, in the order in which profiles keep them.
    pub(crate) const ALL: [Self; 6] = [
        Self::Denials,
        Self::RefusedConnections,
        Self::Obligations,
        Self::Disclosures,
        Self::Quarantines,
        Self::PluginFailures,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Denials => "denials",
            Self::RefusedConnections => "refused-connections",
            Self::Obligations => "obligations",
            Self::Disclosures => "disclosures",
            Self::Quarantines => "quarantines",
            Self::PluginFailures => "plugin-failures",
        }
    }

    fn default_rate(self) -> Rate {
        let (count, minutes) = match self {
            Self::Denials => (5.0, 10.0),
            Self::RefusedConnections => (10.0, 10.0),
            Self::Obligations => (5.0, 1440.0),
            Self::Disclosures => (20.0, 60.0),
            Self::Quarantines => (50.0, 60.0),
            Self::PluginFailures => (1.0, 60.0),
        };
        Rate { count, minutes }
    }
}

fn default_learning_days() -> f64 {
    14.0
}
fn default_calm_minutes() -> f64 {
    60.0
}
fn default_forget_days() -> f64 {
    90.0
}
fn default_deviations() -> f64 {
    6.0
}
fn default_factor() -> f64 {
    4.0
}
fn default_floor_octets() -> f64 {
    10_485_760.0
}
fn default_floor_records() -> f64 {
    1000.0
}
fn default_floor_octets_day() -> f64 {
    104_857_600.0
}

impl Settings {
    pub(crate) fn rate(&self, cause: Cause) -> Rate {
        self.rates.get(&cause).copied().unwrap_or_else(|| cause.default_rate())
    }

    pub(crate) fn is_ignored(&self, principal: &str) -> bool {
        self.ignore.iter().any(|ignored| ignored == principal)
    }

    /// # Errors
    ///
    /// A [`ConfigError`] at the value at fault.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.alerts_flow.is_empty() {
            return Err(ConfigError::new("/alerts_flow", "name the flow that alerts go to"));
        }
        if !(0.0..=365.0).contains(&self.learning_days) {
            return Err(ConfigError::new("/learning_days", "give 0 to 365"));
        }
        if self.utc_offset_minutes.abs() > 14 * 60 {
            return Err(ConfigError::new("/utc_offset_minutes", "give -840 to 840"));
        }
        for (name, value, least) in [
            ("/calm_minutes", self.calm_minutes, 0.0),
            ("/forget_days", self.forget_days, 1.0),
            ("/deviations", self.deviations, 1.0),
            ("/factor", self.factor, 1.0),
            ("/floor_octets_hour", self.floor_octets_hour, 0.0),
            ("/floor_records_hour", self.floor_records_hour, 0.0),
            ("/floor_octets_day", self.floor_octets_day, 0.0),
            ("/octets_day_max", self.octets_day_max.unwrap_or(1.0), 1.0),
        ] {
            if !(value >= least && value <= 1e18) {
                return Err(ConfigError::new(
                    name,
                    format!("must be {least} at least, and a number that can be"),
                ));
            }
        }
        for (cause, rate) in &self.rates {
            let at = format!("/rates/{}", cause.name());
            if !(rate.count >= 1.0 && rate.count <= 1e6) {
                return Err(ConfigError::new(format!("{at}/count"), "give 1 to 1000000"));
            }
            if !(rate.minutes > 0.0 && rate.minutes <= 1e6) {
                return Err(ConfigError::new(
                    format!("{at}/minutes"),
                    "must be more than 0 and at most 1000000",
                ));
            }
        }
        if self.ignore.len() > IGNORED_MAX {
            return Err(ConfigError::new("/ignore", format!("leave out {IGNORED_MAX} at most")));
        }
        Ok(())
    }
}
