//! Bodies as lines: HL7v2 by field, X12 by segment, JSON by member, text by line, and anything else as octets.

use std::fmt::Write as _;

/// Beyond so many octets only the surroundings of the first difference are shown.
const WHOLE_OCTETS_MAX: usize = 1 << 20;
/// Octets of a line of octets.
const ROW_OCTETS: usize = 16;
/// Octets of the surroundings.
const AROUND_OCTETS: usize = 8 * ROW_OCTETS;

/// Both as lines, in the first of the forms in which they differ.
pub(crate) fn forms(
    content_type: &str,
    expected: Option<&[u8]>,
    came: Option<&[u8]>,
) -> (Vec<String>, Vec<String>) {
    let unchanged = || vec!["the body of the record, unchanged".to_owned()];
    let (Some(expected), Some(came)) = (expected, came) else {
        let lines = |of: Option<&[u8]>| of.map_or_else(unchanged, |octets| best(content_type, octets));
        return (lines(expected), lines(came));
    };
    if expected.len().max(came.len()) > WHOLE_OCTETS_MAX {
        return around(expected, came);
    }
    for form in [parsed(content_type), Some(text as Form)].into_iter().flatten() {
        match (form(expected), form(came)) {
            (Some(expected), Some(came)) if expected != came => return (expected, came),
            _ => {}
        }
    }
    (rows(expected, 0), rows(came, 0))
}

type Form = fn(&[u8]) -> Option<Vec<String>>;

/// What a content type is read as.
fn parsed(content_type: &str) -> Option<Form> {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind.contains("hl7-v2") {
        Some(hl7)
    } else if kind.contains("x12") {
        Some(x12)
    } else if kind.ends_with("json") {
        Some(json)
    } else {
        None
    }
}

fn best(content_type: &str, octets: &[u8]) -> Vec<String> {
    let octets = &octets[..octets.len().min(WHOLE_OCTETS_MAX)];
    let read = parsed(content_type).and_then(|form| form(octets));
    read.or_else(|| text(octets)).unwrap_or_else(|| rows(octets, 0))
}

/// A line for each field that is not empty, e.g. `PID-5 Doe^John` (HL7 2.5.1, 2.5.3). Of several segments of a name each has its
/// number: `OBX[2]-5`.
fn hl7(octets: &[u8]) -> Option<Vec<String>> {
    let message = std::str::from_utf8(octets).ok()?;
    let separator = message.strip_prefix("MSH")?.chars().next()?;
    let segments: Vec<&str> = message.split(['\r', '\n']).filter(|segment| !segment.is_empty()).collect();
    let name = |segment: &str| segment.split(separator).next().unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let of = name(segment);
        let before = segments[..index].iter().filter(|other| name(other) == of).count();
        let number = if before == 0 { String::new() } else { format!("[{}]", before + 1) };
        // The separator is itself the first field of MSH.
        let first = if of == "MSH" { 2 } else { 1 };
        for (field, value) in
            segment.split(separator).skip(1).enumerate().filter(|(_, value)| !value.is_empty())
        {
            lines.push(format!("{of}{number}-{} {value}", field + first));
        }
    }
    Some(lines)
}

/// A line for each segment. The terminator is the octet after the fixed ISA (X12.5, 106 octets with it).
fn x12(octets: &[u8]) -> Option<Vec<String>> {
    let interchange = std::str::from_utf8(octets).ok()?;
    let terminator = *octets.get(105).filter(|_| interchange.starts_with("ISA"))?;
    let segments = interchange.split(char::from(terminator)).map(|segment| segment.trim().to_owned());
    Some(segments.filter(|segment| !segment.is_empty()).collect())
}

fn json(octets: &[u8]) -> Option<Vec<String>> {
    let value: serde_json::Value = serde_json::from_slice(octets).ok()?;
    Some(serde_json::to_string_pretty(&value).ok()?.lines().map(str::to_owned).collect())
}

fn text(octets: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(octets).ok()?;
    let is_text = text.chars().all(|c| !c.is_control() || matches!(c, '\t' | '\r' | '\n'));
    is_text.then(|| text.split('\n').map(str::to_owned).collect())
}

/// Sixteen octets a line, with their position and what they are in ASCII.
fn rows(octets: &[u8], from: usize) -> Vec<String> {
    let row = |(index, row): (usize, &[u8])| {
        let mut line = format!("{:08x} ", from + index * ROW_OCTETS);
        for octet in row {
            write!(line, " {octet:02x}").expect("a String takes it");
        }
        let shown =
            |octet: &u8| if octet.is_ascii_graphic() || *octet == b' ' { char::from(*octet) } else { '.' };
        let ascii: String = row.iter().map(shown).collect();
        format!("{line:<58} {ascii}")
    };
    octets.chunks(ROW_OCTETS).enumerate().map(row).collect()
}

/// The sizes, and the octets where the first difference is.
fn around(expected: &[u8], came: &[u8]) -> (Vec<String>, Vec<String>) {
    let same = expected.iter().zip(came).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(2 * ROW_OCTETS) / ROW_OCTETS * ROW_OCTETS;
    let part = |octets: &[u8]| {
        let mut lines = vec![format!("{} octets", octets.len())];
        lines.extend(rows(&octets[from.min(octets.len())..octets.len().min(from + AROUND_OCTETS)], from));
        lines
    };
    (part(expected), part(came))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_body_has_its_form() {
        let isa = format!("ISA*{}~GS*HC~ST*837~", "0".repeat(101));
        let forms = |content_type, octets: &[u8]| best(content_type, octets);
        assert_eq!(forms("application/EDI-X12", isa.as_bytes())[1..], ["GS*HC", "ST*837"]);
        assert_eq!(forms("application/fhir+json", b"{\"a\":1}"), ["{", "  \"a\": 1", "}"]);
        assert_eq!(forms("text/plain", b"a\nb"), ["a", "b"]);
        let rows = forms("application/dicom", b"DICM\0\x01");
        assert_eq!(rows, [format!("{:<58} DICM..", "00000000  44 49 43 4d 00 01")]);
        let hl7 = forms("x-application/hl7-v2+er7", b"MSH|^~\\&|A||B\rOBX|1|5\rOBX|2|6\r");
        assert_eq!(
            hl7,
            ["MSH-2 ^~\\&", "MSH-3 A", "MSH-5 B", "OBX-1 1", "OBX-2 5", "OBX[2]-1 2", "OBX[2]-2 6"]
        );
    }

    #[test]
    fn a_difference_is_shown_in_a_form_in_which_there_is_one() {
        let (before, after) = forms("application/json", Some(b"{\"a\":1}"), Some(b"{\"a\": 1}"));
        assert_eq!((before, after), (vec!["{\"a\":1}".to_owned()], vec!["{\"a\": 1}".to_owned()]));
        let (before, after) = forms("text/plain", None, Some(b"new"));
        assert_eq!((before.len(), after), (1, vec!["new".to_owned()]));
    }

    #[test]
    fn of_a_large_body_the_place_is_shown() {
        let before = vec![b'x'; 2 << 20];
        let mut after = before.clone();
        after[1_500_000] = b'y';
        let (before, after) = forms("application/dicom", Some(&before), Some(&after));
        assert_eq!(before.len(), 9);
        let differing: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).collect();
        assert!(matches!(differing[..], [(_, row)] if row.starts_with("0016e360")), "{differing:?}");
    }
}
