//! Strings and narratives that a rule of the hospital lets go on, whole or in words.

use super::elements::{Cleaner, misplaced, write_without_extensions};
use super::table::{self, Action, Row};
use crate::json::{Json, write_raw, write_text};
use crate::{Refusal, TextRule};

/// What a rule for narratives is called.
const NARRATIVE: &str = "Narrative";

/// A note, with who made it and when.
const NOTE: &str = "Annotation";

/// Whether an element is a string, markdown or note that goes otherwise, or a narrative.
pub(crate) fn is_free_text(place: &str) -> bool {
    let of_element = || place.rsplit_once('.').and_then(|(container, member)| table::find(container, member));
    place == NARRATIVE || of_element().is_some_and(is_text)
}

fn is_text(row: &Row) -> bool {
    matches!(row.kind, "string" | "markdown" | NOTE) && matches!(row.action, Action::Remove | Action::Masked)
}

impl Cleaner<'_> {
    /// The hospital's rule for an element, if it is free text.
    pub(super) fn text_rule(&self, row: &Row) -> Option<TextRule> {
        if row.kind == NARRATIVE {
            return self.texts.rule(|| NARRATIVE.to_owned());
        }
        self.texts.rule(|| format!("{}.{}", row.container, row.member)).filter(|_| is_text(row))
    }

    /// Writes what a rule leaves of one value; whether there is anything.
    pub(super) fn free_text(
        &self,
        rule: TextRule,
        row: &Row,
        value: &Json<'_>,
        out: &mut Vec<u8>,
    ) -> Result<bool, Refusal> {
        match (value, rule) {
            (Json::Object(_), _) if row.kind == NOTE => {
                let Some(text) = value.member("text") else { return Ok(false) };
                let start = out.len();
                out.extend_from_slice(br#"{"text":"#);
                let is_left = self.one_text(rule, row, text, out)?;
                out.push(b'}');
                if !is_left {
                    out.truncate(start);
                }
                Ok(is_left)
            }
            (Json::Object(_), TextRule::Keep) if row.kind == NARRATIVE => {
                Ok(write_without_extensions(value, out))
            }
            (Json::Object(_), TextRule::Words) if row.kind == NARRATIVE => {
                let div = value.member("div").and_then(Json::text).unwrap_or_default();
                let words = self.texts.words(without_tags(&div).as_bytes()).unwrap_or_else(|| "-".to_owned());
                let div = format!(r#"<div xmlns="http://www.w3.org/1999/xhtml">{words}</div>"#);
                out.extend_from_slice(br#"{"status":"additional","div":"#);
                write_text(&div, out);
                out.push(b'}');
                Ok(true)
            }
            (Json::Text(_), _) if row.is_primitive() => self.one_text(rule, row, value, out),
            (Json::Null, _) => Ok(false),
            _ => Err(misplaced(row)),
        }
    }

    /// Writes what a rule leaves of one text; whether there is anything.
    fn one_text(
        &self,
        rule: TextRule,
        row: &Row,
        value: &Json<'_>,
        out: &mut Vec<u8>,
    ) -> Result<bool, Refusal> {
        let Json::Text(raw) = value else { return Err(misplaced(row)) };
        if rule == TextRule::Keep {
            write_raw(raw, out);
            return Ok(true);
        }
        let words = value.text().and_then(|text| self.texts.words(text.as_bytes()));
        words.iter().for_each(|words| write_text(words, out));
        Ok(words.is_some())
    }
}

/// The text of a piece of XHTML: a tag's own name is no word of it.
fn without_tags(xhtml: &str) -> String {
    let mut pieces = xhtml.split('<');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        text.push(' ');
        text.push_str(piece.split_once('>').map_or("", |(_, after)| after));
    }
    text
}
