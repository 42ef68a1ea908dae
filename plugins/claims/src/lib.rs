//! Billing sanity: what was done in imaging against what was claimed for it, by people who may see one of the two or neither.
//!
//! One component with three parts, each a stage of its own with grants of its own (`part` in the configuration):
//!
//! - *performed* ([`clinical`]) stands in flows of images and results, and says of each study that it was done: MACs of its numbers, and
//!   modality, region of the body and year, and the day as nobody can read it ([`day`]);
//! - *claimed* ([`billing`]) stands in the flow of claims and says the same of each service line that is for imaging;
//! - *match* ([`matching`]) stands in the flow that both emit to, sees nothing but that ([`notice`]), and finds what is missing, double or
//!   different.
//!
//! MACs are made by the broker under a key that the first two stages are granted and the third is not ([`mac`]).

mod billing;
mod case;
mod claim;
mod clinical;
mod crosswalk;
mod day;
mod dicom;
mod finding;
mod mac;
mod matching;
mod message;
mod notice;
mod settings;
mod store;
#[cfg(test)]
mod tests;

use hilum_plugin::{ConfigError, Context, Description, Message, Observe, log, metrics};

use billing::Billing;
use clinical::Clinical;
pub use finding::{FINDING_CONTENT_TYPE, SUMMARY_CONTENT_TYPE};
use matching::Matching;
pub use notice::CONTENT_TYPE as NOTICE_CONTENT_TYPE;
pub use settings::Settings;

/// The media types that are read.
pub const DICOM_CONTENT_TYPE: &str = "application/dicom";
/// HL7v2 in its vertical-bar encoding.
pub const HL7_CONTENT_TYPE: &str = "application/hl7-v2";
/// X12 (RFC 1767).
pub const X12_CONTENT_TYPE: &str = "application/edi-x12";

pub(crate) const DAY_MS: u64 = 86_400_000;

/// The plugin: one instance of many, without any memory of its own.
#[derive(Debug)]
pub enum Claims {
    /// Sees what was done.
    Performed(Clinical),
    /// Sees what was claimed.
    Claimed(Billing),
    /// Sees notices of both.
    Match(Matching),
}

impl Observe for Claims {
    type Config = Settings;

    fn describe(_: Option<&Settings>) -> Description {
        Description::new("claims", env!("CARGO_PKG_VERSION"))
            .config_schema(include_str!("settings.schema.json"))
            .content_type(DICOM_CONTENT_TYPE)
            .content_type(HL7_CONTENT_TYPE)
            .content_type(X12_CONTENT_TYPE)
            .content_type(NOTICE_CONTENT_TYPE)
    }

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        Ok(match settings {
            Settings::Performed(settings) => Self::Performed(Clinical::new(settings)?),
            Settings::Claimed(settings) => Self::Claimed(Billing::new(settings)?),
            Settings::Match(settings) => Self::Match(Matching::new(settings)?),
        })
    }

    fn observe(&mut self, context: &Context, messages: Vec<Message>) {
        let mut tally = Tally::default();
        match self {
            Self::Performed(stage) => stage.observe(messages, &mut tally),
            Self::Claimed(stage) => stage.observe(messages, &mut tally),
            Self::Match(stage) => stage.observe(context, messages, &mut tally),
        }
        tally.report();
    }

    fn tick(&mut self, now: u64) {
        if let Self::Match(stage) = self {
            let mut tally = Tally::default();
            stage.tick(now, &mut tally);
            tally.report();
        }
    }
}

hilum_plugin::export_observe!(Claims);

/// What happened in a batch, for the metrics.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) performed: u64,
    pub(crate) claimed: u64,
    pub(crate) findings: u64,
    pub(crate) malformed: u64,
    pub(crate) incomplete: u64,
    pub(crate) foreign: u64,
    pub(crate) forgotten: u64,
    pub(crate) unkept: u64,
    /// The last thing that an operator should see; one line a batch is enough. Never a value of a record.
    pub(crate) trouble: Option<String>,
}

impl Tally {
    fn report(&self) {
        for (counter, value) in [
            ("performed", self.performed),
            ("claimed", self.claimed),
            ("findings", self.findings),
            ("malformed", self.malformed),
            ("incomplete", self.incomplete),
            ("foreign", self.foreign),
            ("forgotten", self.forgotten),
            ("unkept", self.unkept),
        ] {
            if value > 0 {
                metrics::add(counter, value);
            }
        }
        if let Some(trouble) = &self.trouble {
            log::warn(trouble);
        }
    }
}
