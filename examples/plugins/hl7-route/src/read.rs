//! What a message says that decides about its way, and the checks without which it cannot be routed.

use std::borrow::Cow;

use hilum_formats::hl7::{Document, Message, Segment};
use hilum_plugin::Refusal;

/// Octets of a value that becomes an attribute.
const VALUE_OCTETS_MAX: usize = 256;

/// What a message says. Nothing of it names the patient but [`Facts::patient`] and [`Facts::visit`], which only become a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// MSH-9.1, e.g. `ADT`.
    pub(crate) code: String,
    /// MSH-9.2, e.g. `A01`; an acknowledgement has none.
    pub(crate) event: String,
    /// MSH-3.1 and MSH-4.1.
    pub(crate) sending_application: String,
    pub(crate) sending_facility: String,
    /// MSH-5.1 and MSH-6.1.
    pub(crate) receiving_application: String,
    pub(crate) receiving_facility: String,
    /// MSH-11.1 (table 0103): `P`, `T` or `D`.
    pub(crate) processing: String,
    /// MSH-12.1.
    pub(crate) version: String,
    /// PV1-2 (table 0004), e.g. `I`.
    pub(crate) patient_class: String,
    /// PV1-3.1.
    pub(crate) location: String,
    /// PID-3.1, the first identifier with its authority.
    pub(crate) patient: Option<String>,
    /// PV1-19.1.
    pub(crate) visit: Option<String>,
}

impl Facts {
    /// # Errors
    ///
    /// When the header lacks what every message must have (v2.5.1 section 2.15.9), by the name of the field.
    pub(crate) fn of(message: &Message<'_, '_>) -> Result<Self, Refusal> {
        let header = &message.segments()[0];
        let field = |number, name| text(header, number, 1, name);
        let facts = Self {
            code: field(9, "MSH-9.1")?,
            event: text(header, 9, 2, "MSH-9.2")?,
            sending_application: field(3, "MSH-3.1")?,
            sending_facility: field(4, "MSH-4.1")?,
            receiving_application: field(5, "MSH-5.1")?,
            receiving_facility: field(6, "MSH-6.1")?,
            processing: field(11, "MSH-11.1")?,
            version: field(12, "MSH-12.1")?,
            ..Self::default()
        };
        for (value, code, name) in [
            (&facts.code, "no-message-type", "MSH-9.1, the message code,"),
            (&facts.version, "no-version", "MSH-12.1, the version,"),
        ] {
            if value.is_empty() {
                return Err(Refusal::new(code, format!("{name} is empty")));
            }
        }
        if message.control_id().is_empty() {
            return Err(Refusal::new("no-control-id", "MSH-10, the message control identifier, is empty"));
        }
        if !matches!(facts.processing.as_str(), "P" | "T" | "D") {
            return Err(Refusal::new("processing-id", "MSH-11.1 is none of P, T and D"));
        }
        facts.with_patient(message)
    }

    fn with_patient(mut self, message: &Message<'_, '_>) -> Result<Self, Refusal> {
        if let Some(patient) = segment(message, "PID") {
            let number = text(patient, 3, 1, "PID-3.1")?;
            let authority = text(patient, 3, 4, "PID-3.4")?;
            self.patient = (!number.is_empty()).then(|| format!("{number}@{authority}"));
        }
        if let Some(visit) = segment(message, "PV1") {
            self.patient_class = text(visit, 2, 1, "PV1-2")?;
            self.location = text(visit, 3, 1, "PV1-3.1")?;
            self.visit = Some(text(visit, 19, 1, "PV1-19.1")?).filter(|number| !number.is_empty());
        }
        Ok(self)
    }

    /// `ADT^A01`, as rules name it.
    pub(crate) fn message(&self) -> String {
        if self.event.is_empty() { self.code.clone() } else { format!("{}^{}", self.code, self.event) }
    }

    /// What goes into attributes: where the message comes from and what it is about, never whom.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("hl7-code", &self.code),
            ("hl7-event", &self.event),
            ("hl7-sending-application", &self.sending_application),
            ("hl7-sending-facility", &self.sending_facility),
            ("hl7-receiving-application", &self.receiving_application),
            ("hl7-receiving-facility", &self.receiving_facility),
            ("hl7-processing", &self.processing),
            ("hl7-version", &self.version),
            ("hl7-patient-class", &self.patient_class),
            ("hl7-location", &self.location),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name, value.as_str()))
    }
}

/// Whether there are the headers of a batch or a file, which must not go on around a single message.
pub(crate) fn is_batch(document: &Document<'_>) -> bool {
    document.segments().iter().any(|segment| matches!(segment.name(), "BHS" | "FHS" | "BTS" | "FTS"))
}

/// Checks the counts of the trailers, where they are sent: messages of a batch (BTS-1) and batches of a file (FTS-1, v2.5.1
/// section 2.10.3).
pub(crate) fn check_counts(document: &Document<'_>, messages: usize) -> Result<(), Refusal> {
    let (mut batches, mut in_batch, mut seen) = (0, 0, 0);
    for segment in document.segments() {
        match segment.name() {
            "MSH" => {
                in_batch += 1;
                seen += 1;
            }
            "BHS" => {
                in_batch = 0;
                batches += 1;
            }
            "BTS" => check_count(segment, in_batch, "BTS-1", "messages")?,
            // Without BHS the whole file is one batch.
            "FTS" => check_count(segment, batches.max(1), "FTS-1", "batches")?,
            _ => {}
        }
    }
    debug_assert_eq!(seen, messages, "each MSH begins a message");
    Ok(())
}

fn check_count(trailer: &Segment<'_>, counted: usize, field: &str, of: &str) -> Result<(), Refusal> {
    let stated = trailer.field(1).unwrap_or_default();
    let number = std::str::from_utf8(stated.text).ok().and_then(|text| text.trim().parse::<usize>().ok());
    if stated.is_empty() || number == Some(counted) {
        return Ok(());
    }
    let reason = format!("{field} in segment {} differs from the {counted} {of} there are", trailer.number());
    Err(Refusal::new("batch-count", reason))
}

/// The octets of one message, with the terminators of its segments.
pub(crate) fn octets(document: &[u8], message: &Message<'_, '_>) -> Vec<u8> {
    message.segments().iter().flat_map(|segment| &document[segment.whole_span()]).copied().collect()
}

/// The first segment of a name.
pub(crate) fn segment<'m, 'a>(message: &Message<'m, 'a>, name: &str) -> Option<&'m Segment<'a>> {
    message.segments().iter().find(|segment| segment.name() == name)
}

/// A component of a segment's field, unescaped.
pub(crate) fn component<'a>(segment: &Segment<'a>, field: usize, component: usize) -> Cow<'a, [u8]> {
    let delimiters = segment.delimiters();
    let part = segment.field(field).unwrap_or_default().component(component, &delimiters);
    if part.is_null() { Cow::Borrowed(&[]) } else { part.decode(&delimiters) }
}

/// The same as text that an attribute can hold.
fn text(segment: &Segment<'_>, field: usize, number: usize, name: &str) -> Result<String, Refusal> {
    let value = component(segment, field, number);
    if value.len() > VALUE_OCTETS_MAX {
        return Err(Refusal::new(
            "value-too-long",
            format!("{name} has more than {VALUE_OCTETS_MAX} octets"),
        ));
    }
    let text = std::str::from_utf8(&value).ok().filter(|text| !text.contains(char::is_control));
    let text = text.ok_or_else(|| {
        Refusal::new("undecodable", format!("{name} is not printable text in UTF-8 or ASCII"))
    })?;
    Ok(text.trim().to_owned())
}
