//! Watches what patients are irradiated with: reads DICOM radiation dose reports, compares each examination with reference levels, and
//! keeps what each patient received, under a pseudonym, to tell when it adds up.
//!
//! A record goes this way: [`report`] reads the doses of a report, [`levels`] compares them, [`history`] adds them to what is kept
//! for the patient, and [`alert`] tells. The plugin keeps and tells no identifier.

mod alert;
mod history;
mod levels;
mod report;
mod settings;
#[cfg(test)]
mod tests;

use hilum_plugin::emit::{self, EmitError};
use hilum_plugin::keys::{self, KeyError};
use hilum_plugin::state::StateError;
use hilum_plugin::{Body, ConfigError, Context, Description, Message, Observe, log, metrics};

use alert::Alert;
use report::Report;
pub use settings::{Cumulative, Level, Quantity, Settings, When};

/// The media type of DICOM Part 10 objects.
pub const DICOM_CONTENT_TYPE: &str = "application/dicom";
/// The domain of the pseudonyms that patients are kept under.
const PATIENT: &str = "dose-alert patient";
/// The domain of the pseudonyms by which a report is told from its repetition.
const EXAMINATION: &str = "dose-alert examination";
/// Octets of a report; one of a thousand exposures has less.
const REPORT_OCTETS_MAX: usize = 8 << 20;
/// Octets of a large body in which its SOP class has to be found.
const BEGINNING_OCTETS: u32 = 4 << 10;

/// The plugin: one instance of many, without any memory of its own.
#[derive(Debug)]
pub struct DoseAlert(Settings);

impl Observe for DoseAlert {
    type Config = Settings;

    fn describe(_: Option<&Settings>) -> Description {
        Description::new("dose-alert", env!("CARGO_PKG_VERSION"))
            .config_schema(include_str!("settings.schema.json"))
            .content_type(DICOM_CONTENT_TYPE)
    }

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        settings.check()?;
        Ok(Self(settings))
    }

    fn observe(&mut self, _: &Context, messages: Vec<Message>) {
        let together = messages.len() > 1;
        for Message { head, body } in messages {
            if !head.is(DICOM_CONTENT_TYPE) {
                continue;
            }
            match self.follow(body, head.time) {
                Ok(Seen::OtherObject) => {}
                Ok(Seen::Report { repeated, alerts }) => {
                    metrics::add(if repeated { "repeated" } else { "reports" }, 1);
                    metrics::add("alerts", alerts);
                }
                // What was kept would stay kept without its alert. A call that ends like this is undone, and its records come again one
                // by one: then there is room.
                Err(Trouble::Emit(EmitError::Full)) if together => {
                    panic!("more alerts than one call may emit")
                }
                Err(trouble) => {
                    metrics::add(trouble.counter(), 1);
                    log::warn(trouble.to_string());
                }
            }
        }
    }
}

hilum_plugin::export_observe!(DoseAlert);

/// What a record was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    OtherObject,
    Report { repeated: bool, alerts: u64 },
}

/// Why a report did not count. No text of it holds a value.
#[derive(Debug)]
enum Trouble {
    Unreadable(String),
    Key(KeyError),
    State(StateError),
    Emit(EmitError),
}

impl Trouble {
    fn counter(&self) -> &'static str {
        if matches!(self, Self::Unreadable(_)) { "unreadable" } else { "unkept" }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(what) => write!(f, "a dose report was not read: {what}"),
            Self::Key(error) => write!(f, "a dose report was not counted: {error}"),
            Self::State(error) => write!(f, "a dose report was not counted: {error}"),
            Self::Emit(error) => write!(f, "an alert was not emitted: {error}"),
        }
    }
}

impl DoseAlert {
    fn follow(&self, body: Body, time_ms: u64) -> Result<Seen, Trouble> {
        let Some(report) = read(body)? else { return Ok(Seen::OtherObject) };
        let mut alerts: Vec<Alert<'_>> = levels::exceeded(&self.0.levels, &report).collect();
        // An examination over its level is told whether or not it can be kept.
        let mut unkept = None;
        match report.patient.as_deref().map(|patient| self.remember(patient, time_ms, &report)) {
            Some(Ok(None)) => return Ok(Seen::Report { repeated: true, alerts: 0 }),
            Some(Ok(Some(crossed))) => alerts.extend(crossed),
            Some(Err(trouble)) => unkept = Some(trouble),
            None => {}
        }
        for alert in &alerts {
            emit::emit(&self.0.alerts_flow, alert.record(&report)).map_err(Trouble::Emit)?;
        }
        match unkept {
            Some(trouble) => Err(trouble),
            None => Ok(Seen::Report { repeated: false, alerts: alerts.len() as u64 }),
        }
    }

    /// Adds a report to what its patient received; what that crossed, or nothing if it was there already.
    fn remember(
        &self,
        patient: &[u8],
        time_ms: u64,
        report: &Report,
    ) -> Result<Option<Vec<Alert<'_>>>, Trouble> {
        let key = self.pseudonym(PATIENT, patient)?;
        let examination = self.pseudonym(EXAMINATION, &report.instance)?;
        history::add(&self.0, &key, &history::Entry::of(examination, time_ms, report)).map_err(Trouble::State)
    }

    /// The first half of a pseudonym, in hexadecimal: 128 bits tell patients apart.
    fn pseudonym(&self, domain: &str, value: &[u8]) -> Result<String, Trouble> {
        let pseudonym = keys::pseudonym(&self.0.key, domain, value).map_err(Trouble::Key)?;
        Ok(pseudonym[..16].iter().map(|octet| format!("{octet:02x}")).collect())
    }
}

/// Reads a report; none if the object is another one. Of a large object that is no report only the beginning is read.
fn read(body: Body) -> Result<Option<Report>, Trouble> {
    let unreadable = |error: &dyn std::fmt::Display| Trouble::Unreadable(error.to_string());
    let octets = match body {
        Body::Inline(octets) => octets,
        Body::Large(mut reader) => {
            let mut octets = reader.read(BEGINNING_OCTETS).map_err(|error| unreadable(&error))?;
            if !report::is_report(&octets) {
                return Ok(None);
            }
            if reader.size() > REPORT_OCTETS_MAX as u64 {
                return Err(Trouble::Unreadable(format!("it has over {REPORT_OCTETS_MAX} octets")));
            }
            octets.extend(reader.read_to_end().map_err(|error| unreadable(&error))?);
            octets
        }
    };
    if !report::is_report(&octets) {
        return Ok(None);
    }
    report::read(&octets).map(Some).map_err(|error| unreadable(&error))
}
