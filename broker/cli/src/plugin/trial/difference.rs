//! How what came out differs from what was expected, so that a person sees it: fields by name, bodies by line.

use std::io::IsTerminal as _;
use std::time::Duration;

use serde_json::json;
use similar::{ChangeTag, TextDiff};

use super::outcome::{Made, Outcome};

mod body;

/// Lines of one difference that are shown.
const LINES_MAX: usize = 60;
/// Lines around a difference.
const CONTEXT_LINES: usize = 2;
/// How long is looked for the shortest difference.
const PATIENCE: Duration = Duration::from_secs(1);

/// One part of an outcome that is another than expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    /// Which part, e.g. `outputs[0].attributes`.
    at: String,
    lines: Vec<(Sign, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Same,
    Expected,
    Came,
    Note,
}

impl Difference {
    pub(crate) fn as_json(&self) -> serde_json::Value {
        let of = |sign: Sign| {
            let lines = self.lines.iter().filter(move |(of, _)| *of == sign);
            lines.map(|(_, line)| line).collect::<Vec<_>>()
        };
        json!({ "at": self.at, "expected": of(Sign::Expected), "came": of(Sign::Came) })
    }

    /// For a terminal in colours, if standard output is one that wants them.
    pub(crate) fn shown(&self) -> String {
        let in_colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        self.text(in_colours)
    }

    fn text(&self, in_colours: bool) -> String {
        let line = |(sign, line): &(Sign, String)| {
            let (mark, colour) = match sign {
                Sign::Same => (' ', ""),
                Sign::Expected => ('-', "\x1b[31m"),
                Sign::Came => ('+', "\x1b[32m"),
                Sign::Note => ('.', "\x1b[2m"),
            };
            match in_colours && !colour.is_empty() {
                true => format!("\n    {colour}{mark} {line}\x1b[0m"),
                false => format!("\n    {mark} {line}"),
            }
        };
        format!("  {} (- expected, + came){}", self.at, self.lines.iter().map(line).collect::<String>())
    }
}

/// All that differs; empty where nothing does.
pub(crate) fn between(expected: &Outcome, came: &Outcome) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut field =
        |at: &str, expected: Vec<String>, came: Vec<String>| found.extend(lines(at, &expected, &came));
    let stopped = |of: &Outcome| match (&of.code, &of.reason) {
        (Some(code), Some(reason)) => vec![format!("{}: {reason} ({code})", of.kind.name())],
        _ => vec![of.kind.name().to_owned()],
    };
    field("outcome", stopped(expected), stopped(came));
    field("obligations", pairs(&expected.obligations), pairs(&came.obligations));
    let state = |of: &Outcome| of.state.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    field("state", state(expected), state(came));
    found.extend(records("outputs", &expected.outputs, &came.outputs));
    found.extend(records("emitted", &expected.emitted, &came.emitted));
    found
}

fn records(at: &str, expected: &[Made], came: &[Made]) -> Vec<Difference> {
    let count = |of: &[Made]| vec![format!("{} records", of.len())];
    let mut found: Vec<_> = lines(at, &count(expected), &count(came)).into_iter().collect();
    let nothing = Made::default();
    for index in 0..expected.len().max(came.len()) {
        let (expected, came) = (expected.get(index).unwrap_or(&nothing), came.get(index).unwrap_or(&nothing));
        let mut field = |name: &str, of: fn(&Made) -> Vec<String>| {
            found.extend(lines(&format!("{at}[{index}].{name}"), &of(expected), &of(came)));
        };
        field("flow", |made| made.flow.iter().cloned().collect());
        field("content_type", |made| vec![made.content_type.clone()]);
        field("key", |made| made.key.iter().cloned().collect());
        field("attributes", |made| pairs(&made.attributes));
        field("time", |made| made.time.iter().map(u64::to_string).collect());
        field("sealed_to", |made| made.sealed_to.clone());
        if expected.octets != came.octets {
            let (before, after) =
                body::forms(&came.content_type, expected.octets.as_deref(), came.octets.as_deref());
            found.extend(lines(&format!("{at}[{index}].body"), &before, &after));
        }
    }
    found
}

fn pairs(pairs: &[(String, String)]) -> Vec<String> {
    pairs.iter().map(|(name, value)| format!("{name} = {value}")).collect()
}

/// The lines that differ, with some around them.
fn lines(at: &str, expected: &[String], came: &[String]) -> Option<Difference> {
    if expected == came {
        return None;
    }
    let (before, after): (Vec<&str>, Vec<&str>) =
        (expected.iter().map(String::as_str).collect(), came.iter().map(String::as_str).collect());
    let difference = TextDiff::configure().timeout(PATIENCE).diff_slices(&before, &after);
    let mut lines = Vec::new();
    for (index, group) in difference.grouped_ops(CONTEXT_LINES).iter().enumerate() {
        if index > 0 {
            lines.push((Sign::Note, "..".to_owned()));
        }
        for change in group.iter().flat_map(|op| difference.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Equal => Sign::Same,
                ChangeTag::Delete => Sign::Expected,
                ChangeTag::Insert => Sign::Came,
            };
            lines.push((sign, printable(change.value())));
        }
    }
    let more = lines.len().saturating_sub(LINES_MAX);
    lines.truncate(LINES_MAX);
    if more > 0 {
        lines.push((Sign::Note, format!("and {more} lines more")));
    }
    Some(Difference { at: at.to_owned(), lines })
}

/// Control characters would confuse a terminal, and would not be seen.
fn printable(line: &str) -> String {
    line.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::outcome::Kind;
    use super::*;

    fn made(content_type: &str, body: &[u8]) -> Outcome {
        let attributes = vec![hilum_core::Attribute { name: "ward".into(), value: "3".into() }];
        let made = Made::new(content_type.into(), None, attributes, Some(body.to_vec()));
        Outcome { outputs: vec![made], ..Outcome::of(Kind::Replaced) }
    }

    #[test]
    fn the_same_does_not_differ() {
        assert_eq!(between(&made("text/plain", b"a"), &made("text/plain", b"a")), []);
    }

    #[test]
    fn a_field_of_a_segment_is_named() {
        let before = made("x-application/hl7-v2+er7", b"MSH|^~\\&|A\rPID|1||4711^^^H||Doe^John\r");
        let after = made("x-application/hl7-v2+er7", b"MSH|^~\\&|A\rPID|1||4711^^^H||Roe^Jane\r");
        let found = between(&before, &after);
        assert_eq!(found.len(), 1);
        let text = found[0].text(false);
        assert!(text.contains("outputs[0].body"), "{text}");
        assert!(text.contains("\n    - PID-5 Doe^John\n    + PID-5 Roe^Jane"), "{text}");
        assert!(found[0].text(true).contains("\x1b[32m+ PID-5"));
    }

    #[test]
    fn every_part_that_differs_is_named() {
        let before = made("text/plain", b"a");
        let mut after = made("text/html", b"b");
        after.kind = Kind::Split;
        after.outputs[0].attributes[0].1 = "4\x07".into();
        after.outputs.push(Made::default());
        after.state.insert("n".into(), "1".into());
        let found = between(&before, &after);
        let at: Vec<_> = found.iter().map(|difference| difference.at.as_str()).collect();
        let parts = [
            "outcome",
            "state",
            "outputs",
            "outputs[0].content_type",
            "outputs[0].attributes",
            "outputs[0].body",
        ];
        assert_eq!(at, parts);
        assert!(found[4].text(false).contains("+ ward = 4\\u{7}"));
    }
}
