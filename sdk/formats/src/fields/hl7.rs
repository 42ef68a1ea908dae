//! Fields of HL7v2 messages, e.g. `PID-5`.

use std::str::FromStr;

use super::NameError;
use crate::hl7::{Document, Error, FIELDS_MAX, decode, encode};
use crate::{EditError, Edits};

/// A field of every segment of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    segment: String,
    field: usize,
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (segment, field) = text.split_once('-').ok_or(NameError::Hl7)?;
        let is_name = segment.len() == 3
            && segment.starts_with(|first: char| first.is_ascii_uppercase())
            && segment.chars().all(|octet| octet.is_ascii_uppercase() || octet.is_ascii_digit());
        let digits = field.bytes().all(|digit| digit.is_ascii_digit());
        let number = field.parse().ok().filter(|number| digits && (1..=FIELDS_MAX).contains(number));
        match number {
            Some(_) if is_structure(segment) => Err(NameError::Header),
            Some(field) if is_name => Ok(Self { segment: segment.into(), field }),
            _ => Err(NameError::Hl7),
        }
    }
}

/// Whether a segment says what the message is.
fn is_structure(segment: &str) -> bool {
    matches!(segment, "MSH" | "BHS" | "FHS" | "BTS" | "FTS")
}

/// Why fields were not replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError<E> {
    /// Not a message.
    #[error(transparent)]
    Malformed(#[from] Error),
    /// The visitor's.
    #[error(transparent)]
    Visit(E),
    /// Two segments share octets, which the parser rules out.
    #[error(transparent)]
    Edit(#[from] EditError),
}

/// Replaces the named fields that hold something by what `visit` gives for a place and the field as it stands, delimiters and escape
/// sequences included. What it gives is escaped.
///
/// # Errors
/// Where `text` is no message, and the visitor's.
pub fn replace<E>(
    text: &[u8],
    names: &[Name],
    mut visit: impl FnMut(&str, &[u8]) -> Result<Option<String>, E>,
) -> Result<Vec<u8>, FieldsError<E>> {
    let mut edits = Edits::new();
    for segment in Document::parse(text)?.segments() {
        for name in names.iter().filter(|name| name.segment == segment.name()) {
            let Some(part) = segment.field(name.field).filter(|part| !part.is_empty()) else { continue };
            let place = place(segment.number(), segment.name(), name.field);
            if let Some(with) = visit(&place, part.text).map_err(FieldsError::Visit)? {
                edits.replace(part.span(), encode(with.as_bytes(), &segment.delimiters()));
            }
        }
    }
    Ok(edits.apply(text)?)
}

/// Replaces fields by what `visit` gives for a place and a field that is text in UTF-8, its escape sequences resolved. What it gives is
/// put there as it is: a field as it once stood.
///
/// # Errors
/// Where `text` is no message, and the visitor's.
pub fn restore<E>(
    text: &[u8],
    mut visit: impl FnMut(&str, &str) -> Result<Option<Vec<u8>>, E>,
) -> Result<Vec<u8>, FieldsError<E>> {
    let mut edits = Edits::new();
    for segment in Document::parse(text)?.segments().iter().filter(|segment| !is_structure(segment.name())) {
        for (number, part) in segment.fields().filter(|(_, part)| !part.is_empty()) {
            let value = decode(part.text, &segment.delimiters());
            let Ok(value) = std::str::from_utf8(&value) else { continue };
            let place = place(segment.number(), segment.name(), number);
            if let Some(with) = visit(&place, value).map_err(FieldsError::Visit)? {
                edits.replace(part.span(), with);
            }
        }
    }
    Ok(edits.apply(text)?)
}

fn place(number: usize, segment: &str, field: usize) -> String {
    format!("{number}/{segment}-{field}")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    const ADT: &str = "MSH|^~\\&|A|B|||2026||ADT^A01|7|P|2.5.1\rPID|1||4711^^^X^MR~12||Doe^Jane\rNTE|1||one\rNTE|2||a\\F\\b\rZZZ|x\r";

    fn names(of: &[&str]) -> Vec<Name> {
        of.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn named_fields_are_seen_as_they_stand_with_their_places() {
        let mut seen = Vec::new();
        let same = replace::<Infallible>(
            ADT.as_bytes(),
            &names(&["PID-3", "NTE-3", "PID-19", "OBX-5"]),
            |place, text| {
                seen.push((place.to_owned(), String::from_utf8(text.to_vec()).unwrap()));
                Ok(None)
            },
        );
        assert_eq!(same.unwrap(), ADT.as_bytes());
        let expected = [("2/PID-3", "4711^^^X^MR~12"), ("3/NTE-3", "one"), ("4/NTE-3", "a\\F\\b")];
        assert_eq!(seen, expected.map(|(place, text)| (place.to_owned(), text.to_owned())));
    }

    #[test]
    fn what_was_put_there_is_escaped_and_what_was_there_comes_back_octet_for_octet() {
        let mut kept = Vec::new();
        let replaced = replace::<Infallible>(ADT.as_bytes(), &names(&["PID-5", "NTE-3"]), |place, text| {
            kept.push((place.to_owned(), text.to_vec()));
            Ok(Some(format!("{{\"{}\"|}}", kept.len())))
        })
        .unwrap();
        assert!(String::from_utf8_lossy(&replaced).contains("PID|1||4711^^^X^MR~12||{\"1\"\\F\\}\r"));
        let restored = restore::<Infallible>(&replaced, |place, text| {
            let was = kept.iter().enumerate().find(|(n, _)| text == format!("{{\"{}\"|}}", n + 1));
            Ok(was.map(|(_, (was_at, was))| {
                assert_eq!(was_at, place);
                was.clone()
            }))
        });
        assert_eq!(restored.unwrap(), ADT.as_bytes());
    }

    #[test]
    fn the_visitors_error_and_the_parsers_are_given() {
        let failed = replace(ADT.as_bytes(), &names(&["PID-5"]), |_, _| Err("no"));
        assert_eq!(failed, Err(FieldsError::Visit("no")));
        assert!(matches!(restore::<Infallible>(b"PID|1", |_, _| Ok(None)), Err(FieldsError::Malformed(_))));
    }

    #[test]
    fn what_is_no_name_is_told() {
        for (text, error) in [
            ("PID", NameError::Hl7),
            ("PID-0", NameError::Hl7),
            ("PID-+5", NameError::Hl7),
            ("PID-1025", NameError::Hl7),
            ("pid-5", NameError::Hl7),
            ("PID-5.1", NameError::Hl7),
            ("MSH-3", NameError::Header),
        ] {
            assert_eq!(text.parse::<Name>(), Err(error), "{text}");
        }
    }
}
