//! The configuration: which sensors are watched, for which thresholds, and how early to warn.

use std::cmp::Ordering;

use hilum_plugin::ConfigError;
use serde::Deserialize;

use crate::baseline::Learn;
use crate::telemetry::is_name;
use crate::vibration::Waveforms;

/// Sensors that one stage watches by name.
const WATCHES_MAX: usize = 64;
/// Sensors whose waveforms one stage reads.
const WAVEFORMS_MAX: usize = 16;

/// The configuration, as `settings.schema.json` describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The flow that maintenance records go to; the stage needs the grant `emit:FLOW`.
    pub alerts_flow: String,
    /// What is watched. Readings of other sensors are counted and otherwise ignored.
    pub watch: Vec<Watch>,
    /// Whose waveforms are read. What is made of them is watched by names such as `SENSOR.kurtosis`.
    #[serde(default)]
    pub waveforms: Vec<Waveforms>,
    /// Sensors, each of one machine, that state is kept for.
    #[serde(default = "default_sensors_max")]
    pub sensors_max: u32,
}

/// How one sensor is watched, on every machine that has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Its name in telemetry.
    pub sensor: String,
    /// Its unit; readings in another one are ignored.
    #[serde(default)]
    pub unit: Option<String>,
    /// Alert when it is less.
    #[serde(default)]
    pub below: Option<f64>,
    /// Alert when it is more.
    #[serde(default)]
    pub above: Option<f64>,
    /// What is compared with the thresholds.
    #[serde(default)]
    pub statistic: Statistic,
    /// Time constant of smoothing, and of the root mean square.
    #[serde(default = "default_smoothing_minutes")]
    pub smoothing_minutes: f64,
    /// Alert when a threshold will be crossed within this time.
    #[serde(default = "default_horizon_days")]
    pub horizon_days: f64,
    /// Time constant in which the trend forgets.
    #[serde(default = "default_memory_days")]
    pub memory_days: f64,
    /// No forecast from less history than this.
    #[serde(default = "default_history_hours")]
    pub history_hours: f64,
    /// Readings in a row that it takes to believe that a threshold was crossed, or is not any more.
    #[serde(default = "default_confirm")]
    pub confirm: u8,
    /// How far back inside a threshold a crossed sensor has to be; 2 per cent of the threshold where not given.
    #[serde(default)]
    pub hysteresis: Option<f64>,
    /// The least standard deviation that a reading has; 0.05 per cent of the threshold where not given.
    #[serde(default)]
    pub noise_floor: Option<f64>,
    /// Alert when it is not as it used to be.
    #[serde(default)]
    pub baseline: Option<Learn>,
    /// What a reading can be, from and to; the sensor is broken where it says otherwise.
    #[serde(default)]
    pub possible: Option<[f64; 2]>,
    /// The sensor is stuck when it says exactly the same for so long.
    #[serde(default)]
    pub stuck_minutes: Option<f64>,
    /// The sensor is missing when it says nothing for so long.
    #[serde(default)]
    pub missing_minutes: Option<f64>,
}

/// What is compared with thresholds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Statistic {
    /// The reading itself.
    #[default]
    Value,
    /// The root mean square of recent readings, for a sensor that swings around zero.
    Rms,
}

fn default_sensors_max() -> u32 {
    1024
}
fn default_smoothing_minutes() -> f64 {
    60.0
}
fn default_horizon_days() -> f64 {
    30.0
}
fn default_memory_days() -> f64 {
    7.0
}
fn default_history_hours() -> f64 {
    24.0
}
fn default_confirm() -> u8 {
    2
}

/// The sides on which a sensor may leave its range. A [`Watch`] may have a threshold on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Below,
    Above,
}

impl Side {
    pub(crate) const ALL: [Self; 2] = [Self::Below, Self::Above];
}

impl Watch {
    /// The threshold on one side.
    pub(crate) fn threshold(&self, side: Side) -> Option<f64> {
        match side {
            Side::Below => self.below,
            Side::Above => self.above,
        }
    }

    /// Whether there is a threshold at all.
    pub(crate) fn has_threshold(&self) -> bool {
        self.below.is_some() || self.above.is_some()
    }

    /// After how long a silence it is missing, in milliseconds.
    pub(crate) fn missing_ms(&self) -> Option<f64> {
        self.missing_minutes.map(|minutes| minutes * 60_000.0)
    }

    pub(crate) fn noise_floor(&self) -> f64 {
        self.noise_floor.unwrap_or(0.0005 * self.scale()).max(1e-9)
    }

    pub(crate) fn hysteresis(&self) -> f64 {
        self.hysteresis.unwrap_or(0.02 * self.scale())
    }

    /// The size of the thresholds.
    fn scale(&self) -> f64 {
        [self.below, self.above]
            .into_iter()
            .flatten()
            .fold(0.0, |scale, threshold| threshold.abs().max(scale))
    }

    fn check(&self, at: &str) -> Result<(), ConfigError> {
        let error = |below: &str, reason: &str| Err(ConfigError::new(format!("{at}{below}"), reason));
        if !is_name(&self.sensor) {
            return error("/sensor", "give 1 to 64 letters, digits, `-`, `_`, `.` and `:`");
        }
        match (self.below, self.above) {
            (None, None) if !self.looks_otherwise() => {
                let reason =
                    "give `below`, `above`, `baseline`, `possible`, `stuck_minutes` or `missing_minutes`";
                return error("", reason);
            }
            (Some(below), Some(above)) if below >= above => {
                return error("/below", "must be less than `above`");
            }
            _ => {}
        }
        for (name, value) in [
            ("/smoothing_minutes", self.smoothing_minutes),
            ("/horizon_days", self.horizon_days),
            ("/memory_days", self.memory_days),
            ("/history_hours", self.history_hours),
            ("/noise_floor", self.noise_floor()),
        ] {
            if !(value > 0.0 && value < 1e6) {
                return error(name, "must be more than 0 and less than 1000000");
            }
        }
        if self.hysteresis() < 0.0 {
            return error("/hysteresis", "must not be negative");
        }
        if self.confirm == 0 {
            return error("/confirm", "at least one reading has to be beyond a threshold");
        }
        if self.possible.is_some_and(|[from, to]| from.partial_cmp(&to) != Some(Ordering::Less)) {
            return error("/possible", "give two values, the lower one first");
        }
        for (name, minutes) in
            [("/stuck_minutes", self.stuck_minutes), ("/missing_minutes", self.missing_minutes)]
        {
            if minutes.is_some_and(|minutes| !(minutes > 0.0 && minutes < 1e6)) {
                return error(name, "must be more than 0 and less than 1000000");
            }
        }
        self.baseline.as_ref().map_or(Ok(()), |learn| learn.check(&format!("{at}/baseline")))
    }

    /// Whether there is something else than thresholds to alert of.
    fn looks_otherwise(&self) -> bool {
        self.baseline.is_some()
            || self.possible.is_some()
            || self.stuck_minutes.is_some()
            || self.missing_minutes.is_some()
    }
}

impl Settings {
    /// # Errors
    ///
    /// A [`ConfigError`] at the value at fault.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.alerts_flow.is_empty() {
            return Err(ConfigError::new("/alerts_flow", "name the flow that maintenance records go to"));
        }
        if self.watch.is_empty() || self.watch.len() > WATCHES_MAX {
            return Err(ConfigError::new("/watch", format!("watch 1 to {WATCHES_MAX} sensors")));
        }
        for (index, watch) in self.watch.iter().enumerate() {
            let at = format!("/watch/{index}");
            if self.watch[..index].iter().any(|other| other.sensor == watch.sensor) {
                return Err(ConfigError::new(format!("{at}/sensor"), "this sensor is watched already"));
            }
            watch.check(&at)?;
        }
        if self.waveforms.len() > WAVEFORMS_MAX {
            return Err(ConfigError::new("/waveforms", format!("read up to {WAVEFORMS_MAX} sensors")));
        }
        for (index, waveforms) in self.waveforms.iter().enumerate() {
            let at = format!("/waveforms/{index}");
            if self.waveforms[..index].iter().any(|other| other.sensor == waveforms.sensor) {
                return Err(ConfigError::new(format!("{at}/sensor"), "this sensor is read already"));
            }
            waveforms.check(&at)?;
        }
        Ok(())
    }
}
