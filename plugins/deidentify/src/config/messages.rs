//! Settings of messages, claims and resources that images have no use for.

use serde::Deserialize;

/// What happens to the dates of HL7v2 messages, X12 transactions and FHIR resources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MessageDates {
    /// They are reduced to their year.
    #[default]
    Year,
    /// All of one patient are shifted by as many days, as many as in DICOM with `retain-longitudinal-modified-dates`.
    Shift,
}

/// What happens to postal codes (45 CFR 164.514(b)(2)(i)(B)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PostalCodes {
    /// Zeros stand for them.
    #[default]
    Zeros,
    /// Of ZIP codes of the United States the first three digits go on, unless 20,000 people or fewer live there.
    ThreeDigits,
}

/// What happens to a member of telemetry that says neither what was measured nor when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TelemetryMember {
    /// It goes on as it is, if it is a text, a number or a truth value.
    Keep,
    /// A pseudonym stands for it, as for the machine.
    Pseudonym,
    /// It names a person who works there: what `staff` says.
    Staff,
}
