//! Whose the dates of a message are: those of the patient of its first PID, from MSH on, and of each further PID from there on.

use std::borrow::Cow;

use hilum_formats::hl7::Segment;

use crate::dates::Dates;
use crate::{Config, MessageDates, Pseudonyms, Refusal};

/// What happens to the dates from the first of these segments on, if those before it had these. Dates of nobody, such as those of a batch
/// or an acknowledgement, are reduced.
pub(super) fn dates(
    segments: &[Segment<'_>],
    before: Dates,
    config: &Config,
    keys: &dyn Pseudonyms,
) -> Result<Dates, Refusal> {
    let Some((first, rest)) = segments.split_first() else { return Ok(before) };
    if config.message_dates == MessageDates::Year {
        return Ok(Dates::Year);
    }
    let patient = match first.name() {
        "PID" => Some(first),
        "MSH" => {
            rest.iter().take_while(|segment| !is_header(segment)).find(|segment| segment.name() == "PID")
        }
        "FHS" | "BHS" | "BTS" | "FTS" => None,
        _ => return Ok(before),
    };
    patient.map_or(Ok(Dates::Year), |patient| Dates::of_patient(&identifier(patient), config, keys))
}

fn is_header(segment: &Segment<'_>) -> bool {
    matches!(segment.name(), "MSH" | "FHS" | "BHS" | "BTS" | "FTS")
}

/// The medical record number (type `MR`, HL7 table 0203) of PID-3, or its first identifier.
fn identifier<'a>(patient: &Segment<'a>) -> Cow<'a, [u8]> {
    let delimiters = patient.delimiters();
    let Some(field) = patient.field(3) else { return Cow::Borrowed(&[]) };
    let number = field.repetitions(&delimiters).find(|part| part.component(5, &delimiters).text == b"MR");
    let first = || field.repetitions(&delimiters).find(|part| !part.component(1, &delimiters).is_empty());
    let number = number.filter(|part| !part.component(1, &delimiters).is_empty()).or_else(first);
    number.map_or(Cow::Borrowed(&[]), |part| part.component(1, &delimiters).decode(&delimiters))
}
