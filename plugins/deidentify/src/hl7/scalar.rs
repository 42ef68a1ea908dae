//! Values of one component, and the few types made of numbers: each has to be of the form that its data type demands.

use hilum_formats::hl7::{Delimiters, Part};

use super::field::Joined;
use super::tables;
use crate::{forms, shape};

/// Octets of a value of type IS or ST that is a code.
const ID_OCTETS_MAX: usize = 20;
/// Digits of a sequence number (HL7 v2.5.1, 2.A.70).
const SEQUENCE_DIGITS_MAX: usize = 4;
/// Octets of the name of an application, a facility or a profile.
const NAME_OCTETS_MAX: usize = 40;
/// Digits of such a name: more may be somebody's number.
const NAME_DIGITS_MAX: usize = 5;
/// Letters of the name of a ward.
const WARD_LETTERS_MAX: usize = 12;
/// Digits in a row of a unique identifier of an organisation.
const ARC_DIGITS_MAX: usize = 7;
/// Kinds of universal identifiers (HL7 table 0301).
const UNIVERSAL: [&[u8]; 14] = [
    b"CLIA", b"DNS", b"GUID", b"HCD", b"HL7", b"ISO", b"L", b"M", b"N", b"NPI", b"Random", b"URI", b"UUID",
    b"x500",
];
/// Versions of HL7 (table 0104).
const VERSIONS: [&[u8]; 17] = [
    b"2.0", b"2.0D", b"2.1", b"2.2", b"2.3", b"2.3.1", b"2.3.2", b"2.4", b"2.5", b"2.5.1", b"2.6", b"2.7",
    b"2.7.1", b"2.8", b"2.8.1", b"2.8.2", b"2.9",
];
/// The version that stands for one that there is not, as MSH-12 is required.
const VERSION: &[u8] = b"2.5.1";

/// Whether a repetition may stay as it is.
pub(super) type Check = fn(&Part<'_>, &Delimiters) -> bool;

/// ID, IS and ST: one component that looks like a code.
pub(super) fn is_id(part: &Part<'_>, delimiters: &Delimiters) -> bool {
    let text = part.decode(delimiters);
    is_single(part, delimiters)
        && text.len() <= ID_OCTETS_MAX
        && !text.contains(&delimiters.escape)
        && shape::is_code(&text)
        && !shape::are_names(&text)
}

/// SI: up to four digits.
pub(super) fn is_sequence(part: &Part<'_>, _: &Delimiters) -> bool {
    (1..=SEQUENCE_DIGITS_MAX).contains(&part.text.len()) && part.text.iter().all(u8::is_ascii_digit)
}

/// MO, CP and MOP: amounts and the currency of the first, price types and the units of ranges.
pub(super) fn is_amount(part: &Part<'_>, delimiters: &Delimiters) -> bool {
    part.components(delimiters).all(|component| {
        component.subcomponents(delimiters).all(|part| {
            let is_type = part.text.len() <= 3 && part.text.iter().all(u8::is_ascii_uppercase);
            let is_number = || shape::number(part.text).is_some_and(|n| n.is_same || is_money(part.text));
            part.is_empty() || is_type || is_number()
        })
    })
}

/// Whether a number has no more after its point than cents.
fn is_money(text: &[u8]) -> bool {
    text.iter().rposition(|octet| *octet == b'.').is_none_or(|point| text.len() - point <= 3)
}

/// CQ: a number and its unit.
pub(super) fn is_quantity(part: &Part<'_>, delimiters: &Delimiters) -> bool {
    part.components(delimiters).enumerate().all(|(index, component)| {
        component.subcomponents(delimiters).all(|part| {
            let text = part.decode(delimiters);
            let is_unit = || std::str::from_utf8(&text).is_ok_and(forms::is_unit);
            part.is_empty()
                || if index == 0 { shape::number(&text).is_some_and(|n| n.is_same) } else { is_unit() }
        })
    })
}

/// ERL: a segment, and numbers.
pub(super) fn is_location(part: &Part<'_>, delimiters: &Delimiters) -> bool {
    part.components(delimiters).enumerate().all(|(index, component)| {
        let is_segment = || component.text.len() == 3 && component.text.iter().all(u8::is_ascii_alphanumeric);
        component.is_empty() || if index == 0 { is_segment() } else { is_sequence(&component, delimiters) }
    })
}

/// Whether a part has neither components nor subcomponents.
fn is_single(part: &Part<'_>, delimiters: &Delimiters) -> bool {
    !part.text.contains(&delimiters.component) && !part.text.contains(&delimiters.subcomponent)
}

/// A ward, which is one component of PL: what looks like a code, and a word only in capitals.
pub(super) fn is_ward(part: &Part<'_>, delimiters: &Delimiters) -> bool {
    is_id(part, delimiters)
        && (!shape::is_name(part.text)
            || part.text.len() <= WARD_LETTERS_MAX && part.text.iter().all(u8::is_ascii_uppercase))
}

/// An insurer, as its number or its short name: what [`is_name`] and [`is_id`] say.
pub(super) fn is_insurer(part: &Part<'_>, delimiters: &Delimiters) -> bool {
    is_name(part.text) && !shape::are_names(part.text)
        || is_id(part, delimiters) && part.text.iter().all(u8::is_ascii_digit)
}

/// SN: a comparator, a number, a separator and a number (HL7 v2.5.1, 2.A.72).
pub(super) fn is_structured(part: &Part<'_>, delimiters: &Delimiters) -> bool {
    part.components(delimiters).enumerate().all(|(index, component)| {
        let text = component.text;
        text.is_empty()
            || match index {
                0 => matches!(text, b">" | b"<" | b">=" | b"<=" | b"=" | b"<>"),
                2 => matches!(text, b"-" | b"+" | b"/" | b"." | b":"),
                1 | 3 => shape::number(text).is_some_and(|number| number.is_same),
                _ => false,
            }
    })
}

/// A reference range: in each component a number, two with a hyphen between them, or one after a comparator.
pub(super) fn is_range(part: &Part<'_>, delimiters: &Delimiters) -> bool {
    let is_number = |text: &[u8]| {
        let text = text.trim_ascii();
        text.len() < 9 && shape::number(text).is_some_and(|number| number.is_same)
    };
    part.components(delimiters).all(|component| {
        let text = component.text.trim_ascii();
        let bound = text.iter().position(|octet| !b"<>=".contains(octet)).map_or(text, |at| &text[at..]);
        let hyphen = text.iter().skip(1).position(|octet| *octet == b'-').map(|at| at + 1);
        text.is_empty()
            || is_number(bound)
            || hyphen.is_some_and(|at| is_number(&text[..at]) && is_number(&text[at + 1..]))
    })
}

/// Writes what is left of HD (who sends and receives): a name without spaces that begins with a letter, and a universal identifier of
/// a kind that is known.
pub(super) fn authority(part: &Part<'_>, delimiters: &Delimiters, out: &mut Vec<u8>) {
    let [name, id, kind] = [1, 2, 3].map(|number| part.component(number, delimiters));
    let mut left = Joined::new(out, delimiters.component);
    left.push(if is_name(name.text) { name.text } else { &[] });
    universal(&id, &kind, &mut left);
    left.end();
}

/// Writes what is left of EI: the identifier of a profile, and who gave it.
pub(super) fn profile(part: &Part<'_>, delimiters: &Delimiters, out: &mut Vec<u8>) {
    let [entity, name, id, kind] = [1, 2, 3, 4].map(|number| part.component(number, delimiters));
    let mut left = Joined::new(out, delimiters.component);
    for part in [entity, name] {
        left.push(if is_name(part.text) || is_oid(part.text) { part.text } else { &[] });
    }
    universal(&id, &kind, &mut left);
    left.end();
}

fn universal(id: &Part<'_>, kind: &Part<'_>, left: &mut Joined<'_>) {
    let is_id = match kind.text {
        b"CLIA" => is_clia(id.text),
        b"ISO" | b"HL7" => is_oid(id.text),
        kind => UNIVERSAL.contains(&kind) && is_name(id.text),
    };
    for part in [id, kind] {
        left.push(if is_id { part.text } else { &[] });
    }
}

/// Whether a text names an application, a facility or a study: letters first, no space, few digits.
pub(super) fn is_name(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphabetic)
        && text.len() <= NAME_OCTETS_MAX
        && text.iter().all(|octet| octet.is_ascii_alphanumeric() || b"-_.:/".contains(octet))
        && text.iter().filter(|octet| octet.is_ascii_digit()).count() <= NAME_DIGITS_MAX
}

/// Whether a text is the number of a laboratory: two digits, `D`, seven digits.
fn is_clia(text: &[u8]) -> bool {
    text.len() == 10
        && text
            .iter()
            .enumerate()
            .all(|(at, octet)| if at == 2 { *octet == b'D' } else { octet.is_ascii_digit() })
}

fn is_oid(text: &[u8]) -> bool {
    let arcs = || text.split(|octet| *octet == b'.');
    matches!(text.first(), Some(b'0'..=b'2'))
        && arcs().count() > 3
        && arcs().all(|arc| (1..=ARC_DIGITS_MAX).contains(&arc.len()) && arc.iter().all(u8::is_ascii_digit))
}

/// Writes what is left of MSH-11, which is required: what is not as it should be was production.
pub(super) fn processing(part: &Part<'_>, delimiters: &Delimiters, out: &mut Vec<u8>) {
    let [id, mode] = [1, 2].map(|number| part.component(number, delimiters).text);
    let mut left = Joined::new(out, delimiters.component);
    left.push(if matches!(id, b"D" | b"P" | b"T") { id } else { b"P" });
    left.push(if matches!(mode, b"A" | b"I" | b"R" | b"T") { mode } else { &[] });
    left.end();
}

/// Writes what is left of MSH-12, which is required.
pub(super) fn version(part: &Part<'_>, delimiters: &Delimiters, out: &mut Vec<u8>) {
    let [id, country] = [1, 2].map(|number| part.component(number, delimiters));
    let country = country.subcomponents(delimiters).next().unwrap_or_default();
    let mut left = Joined::new(out, delimiters.component);
    left.push(if VERSIONS.contains(&id.text) { id.text } else { VERSION });
    left.push(if tables::has("0399", country.text) { country.text } else { &[] });
    left.end();
}
