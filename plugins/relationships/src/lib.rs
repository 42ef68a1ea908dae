//! Relationships: learns from flows of admissions, appointments and consents who treats whom from when until when, and what patients allow,
//! for stages that decide who may read what.
//!
//! A message becomes an event ([`event`], [`consent`], [`opted`]), which changes what is known of its patient ([`stays`]). What is known is kept by
//! tags ([`coder`]), so that nobody is named in it, until it is over ([`keep`]). A consent is kept under each number of its patient ([`filed`]).

mod coder;
mod consent;
mod event;
mod filed;
mod keep;
mod opted;
mod periods;
mod settings;
mod stays;
#[cfg(test)]
mod tests;
mod times;

use hilum_formats::care::{Kind, Known, Tag};
use hilum_formats::hl7::Document;
use hilum_plugin::{ConfigError, Context, Description, Message, Observe, log, time};

use coder::Coder;
use consent::ConsentError;
use event::{Event, Reader};
use keep::KeepError;
use opted::Opted;
use settings::Rules;
pub use settings::Settings;

/// HL7v2 in its vertical-bar encoding.
pub const HL7: &str = "application/hl7-v2";
/// FHIR resources as JSON.
pub const FHIR: &str = "application/fhir+json";
/// Lists of those who opted out.
pub const OPT_OUT: &str = "application/vnd.hilum.opt-out+json";

/// Octets of a record that is looked at.
const OCTETS_MAX: usize = 2 << 20;

/// The plugin.
#[derive(Debug)]
pub struct Relationships {
    settings: Settings,
    rules: Rules,
    coder: Coder,
}

/// Why a record is stopped. Names no value of it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stopped {
    Consent(ConsentError),
    Keep(KeepError),
    Body,
}

impl From<ConsentError> for Stopped {
    fn from(error: ConsentError) -> Self {
        Self::Consent(error)
    }
}

impl From<KeepError> for Stopped {
    fn from(error: KeepError) -> Self {
        Self::Keep(error)
    }
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Consent(ConsentError::Malformed(what)) => f.write_str(what),
            Self::Consent(ConsentError::Key(error)) => {
                write!(f, "{error}: grant `keys:` and the name in `key`")
            }
            Self::Keep(error) => write!(f, "{error}"),
            Self::Body => write!(f, "the record is over {OCTETS_MAX} octets, or was interrupted"),
        }
    }
}

impl Observe for Relationships {
    type Config = Settings;

    fn describe(_: Option<&Settings>) -> Description {
        Description::new("relationships", env!("CARGO_PKG_VERSION"))
            .config_schema(include_str!("config.schema.json"))
            .content_type(HL7)
            .content_type(FHIR)
            .content_type(OPT_OUT)
    }

    fn configure(settings: Settings) -> Result<Self, ConfigError> {
        let rules = settings.rules()?;
        let coder = Coder::new(&settings.key);
        Ok(Self { settings, rules, coder })
    }

    /// A record that cannot be taken in is stopped, as by any stage that fails: nobody would know what was not learned.
    fn observe(&mut self, context: &Context, messages: Vec<Message>) {
        let now = time::now();
        for message in messages {
            if let Err(stopped) = self.learn(message, &context.source.principal, now) {
                log::error(format!("a record is stopped: {stopped}"));
                panic!("a record cannot be learned from");
            }
        }
    }

    fn tick(&mut self, now: u64) {
        if let Err(error) = keep::sweep(now) {
            log::error(format!("what is over was not forgotten: {error}"));
        }
    }
}

hilum_plugin::export_observe!(Relationships);

impl Relationships {
    fn learn(&mut self, message: Message, publisher: &str, now: u64) -> Result<(), Stopped> {
        // A publisher whose clock is ahead makes nobody treat a patient for longer.
        let at = message.head.time.min(now);
        let content_type = message.head.content_type.split(';').next().unwrap_or_default().trim();
        let content_type = content_type.to_ascii_lowercase();
        if ![HL7, FHIR, OPT_OUT].contains(&content_type.as_str()) {
            return Ok(());
        }
        let body = message.body.into_octets(OCTETS_MAX).map_err(|_| Stopped::Body)?;
        let authorities = &self.settings.identifiers;
        match content_type.as_str() {
            HL7 => self.learn_events(&body, at),
            FHIR => {
                let by = self.coder.plain(Kind::Publisher, publisher).map_err(ConsentError::Key)?;
                let said = consent::of_fhir(&body, authorities, &mut self.coder)?;
                said.iter().try_for_each(|said| Ok(filed::said(said, &by)?))
            }
            _ => said(&opted::of_list(&body, authorities, &mut self.coder)?),
        }
    }

    /// What is no message says nothing: whoever reads it finds that out.
    fn learn_events(&mut self, text: &[u8], at: u64) -> Result<(), Stopped> {
        let Ok(document) = Document::parse(text) else { return Ok(()) };
        for message in document.messages() {
            let (authorities, rules) = (&self.settings.identifiers, &self.rules);
            let mut reader = Reader { coder: &mut self.coder, authorities, rules };
            let happened = reader.read(&message).map_err(ConsentError::Key)?;
            for (patient, event) in happened {
                self.happened(&patient, event, at)?;
            }
        }
        Ok(())
    }

    fn happened(&self, patient: &[Tag], event: Event, at: u64) -> Result<(), Stopped> {
        let rules = &self.rules;
        if let Event::Merged(others) = event {
            for from in &others {
                let moved = keep::merge(from, patient, stays::merged)?;
                for consent in moved.consents {
                    filed::merged(&consent.id, from, patient)?;
                }
            }
            return Ok(());
        }
        for tag in patient {
            keep::update(tag, |known| match &event {
                Event::Visit(visit) => stays::visit(known, visit, at, rules),
                Event::Discharged(id) => stays::discharged(known, id, at, rules),
                Event::Cancelled(id) => stays::cancelled(known, id),
                Event::Expected(appointment) => stays::expected(known, appointment, rules),
                Event::Merged(_) => {}
            })?;
        }
        Ok(())
    }
}

/// Patients opted out, or in.
fn said(opted: &[Opted]) -> Result<(), Stopped> {
    for of in opted {
        for tag in &of.patient {
            let fits = std::cell::Cell::new(true);
            keep::update(tag, |known: &mut Known| fits.set(of.apply(known)))?;
            if !fits.get() {
                return Err(KeepError::TooMuch.into());
            }
        }
    }
    Ok(())
}
