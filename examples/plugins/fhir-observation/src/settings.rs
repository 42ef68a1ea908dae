//! The configuration: which sensor is which Observation.

use std::collections::BTreeMap;

use hilum_plugin::ConfigError;
use serde::Deserialize;

use crate::telemetry::is_name;

const LOINC: &str = "http://loinc.org";
/// Sensors of one stage.
const SENSORS_MAX: usize = 1024;
/// <https://terminology.hl7.org/CodeSystem-observation-category.html>
const CATEGORIES: [&str; 9] = [
    "social-history",
    "vital-signs",
    "imaging",
    "laboratory",
    "procedure",
    "survey",
    "exam",
    "therapy",
    "activity",
];

/// The configuration, as `settings.schema.json` describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// By the name that telemetry gives them.
    pub sensors: BTreeMap<String, Sensor>,
    /// What becomes of a reading of another sensor.
    #[serde(default)]
    pub unknown_sensor: Unknown,
    /// What a record becomes.
    #[serde(default)]
    pub form: Form,
    /// What precedes the machine's name in references, e.g. `https://fhir.st-marys.example/Device/`.
    #[serde(default = "default_device_base")]
    pub device_base: String,
    /// The system of machines' names.
    pub device_system: String,
    /// The system of the Observations' identifiers.
    pub identifier_system: String,
    /// A profile that the resources claim.
    #[serde(default)]
    pub profile: Option<String>,
}

fn default_device_base() -> String {
    "Device/".into()
}

/// One kind of reading.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sensor {
    /// What was observed.
    pub code: Code,
    /// The unit that readings must have; any where not given.
    #[serde(default)]
    pub unit: Option<String>,
    /// The same unit as a UCUM code, e.g. `Cel`, `%` or `mm/s`.
    pub ucum: String,
    /// A code of FHIR's observation categories.
    #[serde(default)]
    pub category: Option<String>,
    /// What is normal.
    #[serde(default)]
    pub range: Option<Range>,
    /// Decimals that a value is rounded to.
    #[serde(default)]
    pub decimals: Option<u8>,
}

/// A code of a system.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// `http://loinc.org`, or the hospital's own.
    pub system: String,
    /// E.g. `8867-4`.
    pub code: String,
    /// For people.
    #[serde(default)]
    pub display: Option<String>,
}

/// What is normal.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// Less is low.
    #[serde(default)]
    pub low: Option<f64>,
    /// More is high.
    #[serde(default)]
    pub high: Option<f64>,
}

/// What becomes of a reading whose sensor is not configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// Its record is refused.
    #[default]
    Refuse,
    /// It is left out.
    Skip,
}

/// What a record becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// One record for each Observation, at most 64.
    #[default]
    Observations,
    /// One record with a Bundle.
    Bundle,
}

impl Settings {
    /// # Errors
    ///
    /// A [`ConfigError`] at the value at fault.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.sensors.is_empty() || self.sensors.len() > SENSORS_MAX {
            return Err(ConfigError::new("/sensors", format!("give 1 to {SENSORS_MAX} sensors")));
        }
        for (name, system) in
            [("/device_system", &self.device_system), ("/identifier_system", &self.identifier_system)]
        {
            if !is_uri(system) {
                return Err(ConfigError::new(name, "give an absolute URI"));
            }
        }
        self.sensors.iter().try_for_each(|(name, sensor)| {
            let at = format!("/sensors/{}", name.replace('~', "~0").replace('/', "~1"));
            if !is_name(name) {
                return Err(ConfigError::new(at, "no sensor in telemetry is named like that"));
            }
            sensor.check(&at)
        })
    }
}

impl Sensor {
    fn check(&self, at: &str) -> Result<(), ConfigError> {
        let error = |below: &str, reason: &str| Err(ConfigError::new(format!("{at}{below}"), reason));
        let Code { system, code, .. } = &self.code;
        if !is_uri(system) {
            return error("/code/system", "give an absolute URI");
        }
        if system == LOINC && !is_loinc(code) {
            return error("/code/code", "this is no LOINC code: its check digit is wrong");
        }
        if !is_code(code) {
            return error("/code/code", "a code has no spaces at its ends");
        }
        if self.ucum.is_empty() || !self.ucum.bytes().all(|octet| octet.is_ascii_graphic()) {
            return error("/ucum", "a UCUM code is of printable ASCII without spaces");
        }
        if self.category.as_deref().is_some_and(|category| !CATEGORIES.contains(&category)) {
            return error("/category", "give a code of FHIR's observation categories, such as `vital-signs`");
        }
        match self.range {
            Some(Range { low: None, high: None }) => error("/range", "give `low`, `high` or both"),
            Some(Range { low: Some(low), high: Some(high) }) if low >= high => {
                error("/range/low", "must be less than `high`")
            }
            _ => Ok(()),
        }
    }
}

/// FHIR's `code`: no white space at the ends (R4, section 2.24.0.1).
fn is_code(code: &str) -> bool {
    !code.is_empty() && code.trim() == code && !code.contains("  ") && !code.contains(char::is_control)
}

fn is_uri(text: &str) -> bool {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    !scheme.is_empty()
        && scheme.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(&octet))
        && text.len() > scheme.len() + 1
        && text.bytes().all(|octet| octet.is_ascii_graphic())
}

/// Digits, a hyphen and a check digit by Luhn's rule (LOINC Users' Guide, appendix C).
pub(crate) fn is_loinc(code: &str) -> bool {
    let Some((number, check)) = code.split_once('-') else { return false };
    let is_number = (1..=7).contains(&number.len()) && number.bytes().all(|octet| octet.is_ascii_digit());
    let &[check] = check.as_bytes() else { return false };
    if !is_number {
        return false;
    }
    let sum: u32 = number
        .bytes()
        .rev()
        .enumerate()
        .map(|(index, octet)| {
            let digit = u32::from(octet - b'0') * if index % 2 == 0 { 2 } else { 1 };
            digit / 10 + digit % 10
        })
        .sum();
    u32::from(check.wrapping_sub(b'0')) == (10 - sum % 10) % 10
}
