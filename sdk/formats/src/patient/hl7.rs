//! Patients in HL7v2: PID-3, a list of extended composite identifiers (CX, v2.5.1 section 2.A.14).

use super::{Authorities, Identifier, distinct};
use crate::hl7::{Delimiters, Document, Message, Part};

/// The identifiers of the patient whom all messages of a text are about; none if they are of several, of nobody, or of one whose
/// identifiers are assigned by nobody known.
pub fn of_hl7(text: &[u8], authorities: &Authorities) -> Option<Vec<Identifier>> {
    let document = Document::parse(text).ok()?;
    let mut found: Option<Vec<Identifier>> = None;
    for message in document.messages() {
        let of = of_message(&message, authorities)?;
        if *found.get_or_insert_with(|| of.clone()) != of {
            return None;
        }
    }
    found
}

/// The identifiers of the patient of one message.
pub fn of_message(message: &Message<'_, '_>, authorities: &Authorities) -> Option<Vec<Identifier>> {
    let mut found: Option<Vec<Identifier>> = None;
    for segment in message.segments().iter().filter(|segment| segment.name() == "PID") {
        let delimiters = segment.delimiters();
        let field = segment.field(3).unwrap_or_default();
        let each = field.repetitions(&delimiters);
        let of = distinct(each.filter_map(|part| composite(part, &delimiters, authorities)))?;
        if *found.get_or_insert_with(|| of.clone()) != of {
            return None;
        }
    }
    found
}

/// A CX: the number in the first component, who assigned it in the fourth (HD).
pub fn composite(of: Part<'_>, delimiters: &Delimiters, authorities: &Authorities) -> Option<Identifier> {
    named(of, 1, 4, delimiters, authorities)
}

/// An XCN (v2.5.1 section 2.A.88), such as a doctor: the number in the first component, who assigned it in the ninth (HD).
pub fn coded(of: Part<'_>, delimiters: &Delimiters, authorities: &Authorities) -> Option<Identifier> {
    named(of, 1, 9, delimiters, authorities)
}

fn named(
    of: Part<'_>,
    number: usize,
    authority: usize,
    delimiters: &Delimiters,
    authorities: &Authorities,
) -> Option<Identifier> {
    let text = |part: Part<'_>| String::from_utf8(part.decode(delimiters).into_owned()).ok();
    let number = of.component(number, delimiters);
    if number.is_null() {
        return None;
    }
    // An HD has a namespace, a universal identifier and what kind of one that is.
    let names: Option<Vec<String>> =
        of.component(authority, delimiters).subcomponents(delimiters).take(2).map(text).collect();
    let names = names?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    authorities.identifier(&names, &text(number)?)
}
