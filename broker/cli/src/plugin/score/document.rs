//! What is in a file, read by code that the de-identifier does not share: values by their place, and all that can be found anywhere in it.

use std::collections::{BTreeMap, BTreeSet};

use super::dicom::pixels::Pixels;
use super::key::Format;
use super::values::{TOKEN, TOKEN_CHARACTERS, UID_ROOT};
use super::{dicom, fhir, hl7, x12};

/// Digits of a planted unique identifier after its root.
const UID_DIGITS: usize = 24;

/// A file that was read, or what is left of one that nobody can read.
#[derive(Default)]
pub(super) struct Document {
    /// Values by place.
    values: BTreeMap<String, String>,
    /// Sequences that have items, by place.
    sequences: BTreeSet<String>,
    /// The same without the numbers of segments, repetitions and elements of arrays, which may move where others are removed.
    loose: BTreeMap<String, Vec<String>>,
    pixels: Option<Pixels>,
    /// The octets and the head, in lower case.
    text: Vec<u8>,
    /// Planted texts that are in it.
    planted: BTreeSet<String>,
}

impl Document {
    /// Reads a body, with its head beside it.
    pub(super) fn read(
        format: Format,
        body: &[u8],
        key: Option<&str>,
        attributes: &[(String, String)],
    ) -> Self {
        let mut document = match format {
            Format::Dicom => dicom::read(body).map(|read| Self {
                values: read.values,
                sequences: read.sequences,
                pixels: read.pixels,
                ..Self::default()
            }),
            Format::Hl7 => std::str::from_utf8(body).ok().map(|text| Self::of(hl7::flatten(text))),
            Format::X12 => std::str::from_utf8(body).ok().and_then(x12::flatten).map(Self::of),
            Format::Fhir | Format::Telemetry => {
                serde_json::from_slice(body).ok().map(|value| Self::of(fhir::flatten(&value)))
            }
        }
        .unwrap_or_default();
        let inflated = if format == Format::Dicom { dicom::deflated::inflated(body) } else { None };
        document.text = inflated.as_deref().unwrap_or(body).to_ascii_lowercase();
        for (name, value) in key.map(|key| ("key", key)).into_iter().chain(pairs(attributes)) {
            document.values.insert(format!("head.{name}"), value.to_owned());
            document.text.push(b'\n');
            document.text.extend_from_slice(value.to_ascii_lowercase().as_bytes());
        }
        // Values too, of which the octets may be in another order.
        let values = document.values.values().flat_map(|value| [b"\n", value.as_bytes()].concat());
        let mut text = values.collect::<Vec<u8>>().to_ascii_lowercase();
        text.extend_from_slice(&document.text);
        document.planted = planted(&text);
        document
    }

    fn of(values: Vec<(String, String)>) -> Self {
        let mut document = Self::default();
        for (path, value) in values {
            document.loose.entry(without_numbers(&path)).or_default().push(value.clone());
            document.values.insert(path, value);
        }
        document
    }

    /// The values at a place: first that at the very place, then those that may have been there before others were removed.
    pub(super) fn at(&self, path: &str) -> Vec<&str> {
        let loose = self.loose.get(&without_numbers(path)).into_iter().flatten();
        self.values.get(path).into_iter().chain(loose).map(String::as_str).collect()
    }

    /// Whether there is something at a place, if only an empty value.
    pub(super) fn has(&self, path: &str) -> bool {
        self.sequences.contains(path) || !self.at(path).is_empty()
    }

    /// Whether a text is anywhere, in whatever case.
    pub(super) fn holds(&self, value: &str) -> bool {
        let value = value.to_ascii_lowercase();
        let is_token = value.len() == TOKEN_CHARACTERS && value.starts_with(&TOKEN.to_ascii_lowercase());
        if is_token || value.starts_with(UID_ROOT) {
            return self.planted.contains(&value);
        }
        !value.is_empty() && self.text.windows(value.len()).any(|window| window == value.as_bytes())
    }

    /// Whether nothing can be read in these rectangles.
    pub(super) fn hides(&self, rectangles: &[[u32; 4]]) -> bool {
        self.pixels.as_ref().is_some_and(|pixels| pixels.are_flat_in(rectangles))
    }

    /// Whether the pixels outside of rectangles are those of another file.
    pub(super) fn has_pixels_of(&self, other: &Self, rectangles: &[[u32; 4]]) -> bool {
        matches!((&self.pixels, &other.pixels), (Some(one), Some(other)) if one.are_those_of(other, rectangles))
    }
}

fn pairs(attributes: &[(String, String)]) -> impl Iterator<Item = (&str, &str)> {
    attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

/// Tokens and unique identifiers of ours, in lower case.
fn planted(text: &[u8]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut take = |at: usize, length: usize| {
        if let Some(Ok(text)) = text.get(at..at + length).map(std::str::from_utf8) {
            found.insert(text.to_owned());
        }
    };
    let token = TOKEN.to_ascii_lowercase();
    for at in 0..text.len() {
        match text[at] {
            b'z' if text[at..].starts_with(token.as_bytes()) => take(at, TOKEN_CHARACTERS),
            b'1' if text[at..].starts_with(UID_ROOT.as_bytes()) => take(at, UID_ROOT.len() + UID_DIGITS),
            _ => {}
        }
    }
    found
}

/// `PID[0]-3~1.1` as `PID-3.1`, `entry[2].resource` as `entry.resource`.
fn without_numbers(path: &str) -> String {
    let (mut out, mut skipping) = (String::with_capacity(path.len()), false);
    for character in path.chars() {
        match character {
            '[' | '~' => skipping = true,
            ']' => skipping = false,
            '.' | '-' if skipping => {
                skipping = false;
                out.push(character);
            }
            _ if skipping => {}
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_planted_is_found_in_any_case_and_values_where_they_went() {
        let text = "MSH|^~\\&|A\rNTE|1||see zqbcdfghjklm there\rPID|1||X^^^B~Y\r";
        let document = Document::read(Format::Hl7, text.as_bytes(), Some("K7"), &[]);
        assert!(document.holds("ZQBCDFGHJKLM") && document.holds("k7") && !document.holds("ZQBCDFGHJKLX"));
        assert_eq!(document.at("PID[4]-3.1"), ["X", "Y"]);
        assert_eq!(document.at("head.key"), ["K7"]);
        assert!(document.has("PID[0]-1.1") && !document.has("PID[0]-9.1"));
        assert_eq!(without_numbers("PID[0]-3~1.1"), "PID-3.1");
    }

    #[test]
    fn what_cannot_be_read_is_still_looked_through() {
        let document = Document::read(Format::Dicom, b"no object, ZQBCDFGHJKLM", None, &[]);
        assert!(document.holds("ZQBCDFGHJKLM") && !document.has("(0010,0010)"));
    }
}
