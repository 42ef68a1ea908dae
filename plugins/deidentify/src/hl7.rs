//! De-identifies HL7v2 messages by the table `data/hl7v2-fields.tsv`: every field of every segment is kept, reduced,
//! given a pseudonym or emptied, as 45 CFR 164.514(b)(2) (Safe Harbor) asks; what the table does not name is emptied.
//!
//! Messages go on with the segments, delimiters and line ends that they came with. A segment without rows is refused,
//! and so is a character set in which an octet of a name could look like a delimiter.

mod coded;
mod field;
mod patients;
mod scalar;
mod table;
mod tables;
#[cfg(test)]
mod tests;

use hilum_formats::Edits;
use hilum_formats::hl7::{Document, Segment};

use crate::dates::Dates;
use crate::texts::Texts;
use crate::{Config, LocalSegment, Pseudonyms, Refusal};
pub(crate) use field::aggregated;
use field::{Cleaned, Cleaner, year_of};
use table::TABLE;
pub(crate) use table::is_free_text;

/// Character sets (HL7 table 0211) in which an octet that is ASCII is what it looks like.
const CHARACTER_SETS: [&str; 21] = [
    "ASCII",
    "ISO IR6",
    "ISO IR14",
    "KS X 1001",
    "UNICODE UTF-8",
    "UTF-8",
    "8859/1",
    "8859/2",
    "8859/3",
    "8859/4",
    "8859/5",
    "8859/6",
    "8859/7",
    "8859/8",
    "8859/9",
    "8859/10",
    "8859/11",
    "8859/13",
    "8859/14",
    "8859/15",
    "8859/16",
];

/// De-identifies one message, several, or a batch file.
///
/// # Errors
/// Everything it cannot parse, segments that nobody has described, character sets that are not ASCII-compatible and, where dates are
/// shifted, those of somebody unknown.
pub fn deidentify(input: &[u8], config: &Config, keys: &dyn Pseudonyms) -> Result<Vec<u8>, Refusal> {
    let document = parse(input)?;
    check_character_sets(input, &document)?;
    let mut edits = Edits::new();
    let mut message_year = None;
    let mut dates = Dates::Year;
    let mut cleaned = Vec::new();
    let texts = &Texts::new(config);
    for (index, segment) in document.segments().iter().enumerate() {
        dates = patients::dates(&document.segments()[index..], dates, config, keys)?;
        if segment.name() == "MSH" {
            let sent = segment.field(7).unwrap_or_default();
            message_year = year_of(sent.component(1, &segment.delimiters()).text);
        }
        let cleaner = Cleaner { config, keys, texts, message_year, dates, segment };
        clean_segment(&cleaner, segment, &mut cleaned, &mut edits)?;
    }
    let output = edits.apply(input).map_err(|error| Refusal::new("internal", error.to_string()))?;
    parse(&output)?;
    Ok(output)
}

fn parse(text: &[u8]) -> Result<Document<'_>, Refusal> {
    Document::parse(text).map_err(|error| Refusal::new("invalid-hl7", error.to_string()))
}

/// `cleaned` is room to work in, whatever is in it.
fn clean_segment(
    cleaner: &Cleaner<'_>,
    segment: &Segment<'_>,
    cleaned: &mut Vec<u8>,
    edits: &mut Edits,
) -> Result<(), Refusal> {
    let Some(rules) = TABLE.get(segment.name()) else {
        match cleaner.config.local_segments.get(segment.name()).filter(|_| segment.name().starts_with('Z')) {
            Some(LocalSegment::Keep) => {}
            Some(LocalSegment::Remove) => edits.remove(segment.whole_span()),
            None => return Err(unknown(segment)),
        }
        return Ok(());
    };
    for (number, field) in segment.fields() {
        if field.is_empty() || field.is_null() {
            continue;
        }
        cleaned.clear();
        let outcome = match cleaner.text_rule(number, rules.action(number)) {
            Some(rule) => cleaner.text(rule, &field, cleaned),
            None => cleaner.clean(rules.action(number), &field, cleaned)?,
        };
        if outcome == Cleaned::Written && cleaned != field.text {
            edits.replace(field.span(), &cleaned);
        }
    }
    Ok(())
}

/// The name of a Z segment is the sender's, so it is told; what stands where another name should be may be anything.
fn unknown(segment: &Segment<'_>) -> Refusal {
    let (number, offset) = (segment.number(), segment.line().offset);
    let reason = if segment.name().starts_with('Z') {
        format!(
            "segment {number}, offset {offset}: {} is local; say in local_segments what to do with it",
            segment.name()
        )
    } else {
        format!("segment {number}, offset {offset}: no rule says what its fields hold")
    };
    Refusal::new("unknown-segment", reason)
}

/// Refuses what could hide a delimiter or be hidden by one: character sets (HL7 table 0211) of two octets a character
/// in which the second may be an ASCII letter or mark, and the escape sequences of ISO 2022.
fn check_character_sets(input: &[u8], document: &Document<'_>) -> Result<(), Refusal> {
    if let Some(offset) = input.iter().position(|octet| *octet == 0x1B) {
        let reason = format!("offset {offset}: an escape character of ISO 2022 changes the character set");
        return Err(Refusal::new("unsupported-character-set", reason));
    }
    for message in document.messages() {
        for set in message.character_sets() {
            let name = set.text.to_ascii_uppercase();
            if !CHARACTER_SETS.iter().any(|known| known.as_bytes() == name) {
                let reason = format!(
                    "offset {}: MSH-18 names a character set that is not ASCII-compatible",
                    set.offset
                );
                return Err(Refusal::new("unsupported-character-set", reason));
            }
        }
    }
    Ok(())
}
