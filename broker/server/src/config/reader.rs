//! Reads TOML so that nothing wrong in it goes unnoticed, and everything wrong is noticed at once.
//!
//! A [`Table`] gives out the values that it is asked for, as [`At`]: with their place. What it does not have, or has in
//! another shape, it reports to the [`Sink`] and gives nothing. [`Table::finish`] reports every key that was not asked
//! for, so the keys that exist are the keys that are read.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use hilum_core::canary::Millionths;
use hilum_core::{FlowName, Label, StakeholderName, ZoneName};
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::model::Place;
use super::problem::Problem;

/// A file's text, and where its lines begin.
pub(super) struct Source {
    file: Arc<str>,
    text: String,
}

impl Source {
    pub(super) fn new(file: &str, text: String) -> Self {
        Self { file: file.into(), text }
    }

    /// As it stands in the file.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place {
            file: self.file.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// Reads the text and hands its top table to `read`. Nothing, if it is not TOML: what is left of a broken file would
    /// only give follow-up errors.
    pub(super) fn read<T>(&self, sink: &Sink, read: impl FnOnce(&mut Table<'_>) -> T) -> Option<T> {
        let (document, errors) = DeTable::parse_recoverable(&self.text);
        for error in &errors {
            let place = self.place(&error.span().unwrap_or(0..0));
            let help = "correct the TOML here (https://toml.io/en/v1.1.0)";
            sink.report(Problem::at(&place, "", error.message(), help));
        }
        if !errors.is_empty() {
            return None;
        }
        let place = self.place(&(0..0));
        let table = document.get_ref();
        let mut table = Table { source: self, sink, path: String::new(), place, table, asked: Vec::new() };
        let value = read(&mut table);
        table.finish();
        Some(value)
    }
}

/// Collects problems.
#[derive(Default)]
pub(super) struct Sink(RefCell<Vec<Problem>>);

impl Sink {
    pub(super) fn report(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

/// A value, where it is, and the key that leads there.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
    pub(super) key: String,
}

impl<T> At<T> {
    pub(super) fn problem(&self, what: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem::at(&self.place, &*self.key, what, help)
    }

    pub(super) fn map<U>(self, map: impl FnOnce(T) -> U) -> At<U> {
        At { value: map(self.value), place: self.place, key: self.key }
    }
}

/// The name of a folder, plugin or key: of the same form as other names.
#[derive(Debug, Clone)]
pub(super) struct PlainName(pub(super) String);

impl FromStr for PlainName {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, String> {
        let message = |_| {
            format!(
                "name `{name}` is not valid: 1 to {} characters of a-z, 0-9, `-`, `_` and `.`, starting with a letter or digit",
                hilum_core::limits::NAME_CHARS_MAX
            )
        };
        hilum_core::StageName::new(name).map(|_| Self(name.to_owned())).map_err(message)
    }
}

/// A table being read.
pub(super) struct Table<'a> {
    source: &'a Source,
    sink: &'a Sink,
    path: String,
    place: Place,
    table: &'a DeTable<'a>,
    asked: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub(super) fn sink(&self) -> &'a Sink {
        self.sink
    }

    /// A text that must be there.
    pub(super) fn text(&mut self, key: &'static str, meaning: &str) -> Option<At<String>> {
        let found = self.text_if(key);
        if found.is_none() && self.table.get(key).is_none() {
            self.missing(key, meaning);
        }
        found
    }

    /// A text that may be there.
    pub(super) fn text_if(&mut self, key: &'static str) -> Option<At<String>> {
        let value = self.value(key)?;
        self.as_text(value, self.path_of(key))
    }

    /// Something that is written as text and must be there.
    pub(super) fn parsed<T: FromStr<Err: Display>>(
        &mut self,
        key: &'static str,
        meaning: &str,
    ) -> Option<At<T>> {
        let text = self.text(key, meaning)?;
        self.parse(text)
    }

    /// Something that is written as text and may be there, such as a duration or a size (see [`super::units`]).
    pub(super) fn read_if<T, E: Display>(
        &mut self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<At<T>> {
        let text = self.text_if(key)?;
        match read(&text.value) {
            Ok(value) => Some(text.map(|_| value)),
            Err(error) => {
                self.sink
                    .report(text.problem(error.to_string(), format!("for example `{key} = \"{example}\"`")));
                None
            }
        }
    }

    /// A list of texts that may be left out.
    pub(super) fn texts(&mut self, key: &'static str) -> Vec<At<String>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let path = self.path_of(key);
        let Some(array) = value.get_ref().as_array() else {
            self.wrong_shape(value, path, "a list of texts", "[\"...\"]");
            return Vec::new();
        };
        let items = array.iter().enumerate();
        items.filter_map(|(index, item)| self.as_text(item, format!("{path}[{index}]"))).collect()
    }

    /// A list of things that are written as texts; may be left out.
    pub(super) fn parsed_list<T: FromStr<Err: Display>>(&mut self, key: &'static str) -> Vec<At<T>> {
        let texts = self.texts(key);
        texts.into_iter().filter_map(|text| self.parse(text)).collect()
    }

    /// A whole number from 1 on that may be there.
    pub(super) fn number_if(&mut self, key: &'static str, max: u64) -> Option<u64> {
        self.number_at_if(key, max).map(|number| number.value)
    }

    /// The same with where it is.
    pub(super) fn number_at_if(&mut self, key: &'static str, max: u64) -> Option<At<u64>> {
        let value = self.value(key)?;
        let path = self.path_of(key);
        let number = value.get_ref().as_integer();
        let number = number.and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
        match number {
            Some(number) if (1..=max).contains(&number) => Some(self.at(value, path, number)),
            _ => {
                let what = format!("a whole number from 1 to {max} is needed here");
                self.sink.report(self.at(value, path, ()).problem(what, "write a number in this range"));
                None
            }
        }
    }

    /// A whole number from 0 on that may be there.
    pub(super) fn count_if(&mut self, key: &'static str, max: u64) -> Option<u64> {
        let is_zero = |value: &Spanned<DeValue<'_>>| {
            value
                .get_ref()
                .as_integer()
                .is_some_and(|number| number.as_str().bytes().all(|digit| digit == b'0'))
        };
        if self.table.get(key).is_some_and(is_zero) {
            self.asked.push(key);
            return Some(0);
        }
        self.number_if(key, max)
    }

    /// A part of a whole, from 0 to 1, that must be there.
    pub(super) fn part(&mut self, key: &'static str, meaning: &str) -> Option<At<Millionths>> {
        if self.table.get(key).is_none() {
            self.asked.push(key);
            self.missing(key, meaning);
        }
        self.part_if(key)
    }

    /// A part of a whole, from 0 to 1, that may be there.
    pub(super) fn part_if(&mut self, key: &'static str) -> Option<At<Millionths>> {
        let value = self.value(key)?;
        let path = self.path_of(key);
        let number = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => number.as_str().parse().ok(),
            _ => None,
        };
        match number.and_then(Millionths::nearest) {
            Some(part) => Some(self.at(value, path, part)),
            None => {
                let what = "a number from 0 to 1 is needed here";
                self.sink.report(
                    self.at(value, path, ()).problem(what, format!("write `{key} = 0.1` for a tenth")),
                );
                None
            }
        }
    }

    /// What is wrong with a key of this table.
    pub(super) fn problem(&self, key: &str, what: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem::at(&self.place, self.path_of(key), what, help)
    }

    /// Yes or no, that may be there.
    pub(super) fn flag_if(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong_shape(value, self.path_of(key), "yes or no", "true` or `false");
        }
        flag
    }

    /// A table as JSON; an empty object if it is not there.
    pub(super) fn json(&mut self, key: &'static str) -> Value {
        self.json_if(key).unwrap_or_else(|| serde_json::json!({}))
    }

    /// A table as JSON that may be there.
    pub(super) fn json_if(&mut self, key: &'static str) -> Option<Value> {
        let value = self.value(key)?;
        if !value.get_ref().is_table() {
            self.wrong_shape(value, self.path_of(key), "a table", "{ key = value }");
        }
        Some(self.to_json(value, &self.path_of(key)))
    }

    /// A table that may be there.
    pub(super) fn table_if(&mut self, key: &'static str) -> Option<Table<'a>> {
        let value = self.value(key)?;
        self.as_table(value, self.path_of(key), self.source.place(&value.span()))
    }

    /// A table that must be there.
    pub(super) fn table(&mut self, key: &'static str, meaning: &str) -> Option<Table<'a>> {
        if self.table.get(key).is_none() {
            self.asked.push(key);
            self.missing(key, meaning);
        }
        self.table_if(key)
    }

    /// An array of tables (`[[key]]`); may be left out.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Table<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let path = self.path_of(key);
        let DeValue::Array(array) = value.get_ref() else {
            self.wrong_shape(value, path, "an array of tables", &format!("[[{key}]]"));
            return Vec::new();
        };
        let items = array.iter().enumerate();
        let table = |(index, item): (usize, &'a Spanned<DeValue<'a>>)| {
            self.as_table(item, format!("{path}[{index}]"), self.source.place(&item.span()))
        };
        items.filter_map(table).collect()
    }

    /// A table of named tables (`[key.NAME]`); may be left out.
    pub(super) fn named<N: FromStr<Err: Display>>(&mut self, key: &'static str) -> Vec<(At<N>, Table<'a>)> {
        let Some(named) = self.table_if(key) else { return Vec::new() };
        let read = |(name, value): (&'a Spanned<Cow<'a, str>>, &'a Spanned<DeValue<'a>>)| {
            let place = self.source.place(&name.span());
            let path = format!("{}.{}", named.path, name.get_ref());
            let table = named.as_table(value, path.clone(), place.clone())?;
            let name = self.parse(At { value: name.get_ref().to_string(), place, key: path })?;
            Some((name, table))
        };
        named.table.iter().filter_map(read).collect()
    }

    /// The texts of a table whose keys are the user's own.
    pub(super) fn every_text(self) -> Vec<(String, At<String>)> {
        let text = |(key, value): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
            let key: &str = key.get_ref();
            Some((key.to_owned(), self.as_text(value, self.path_of(key))?))
        };
        self.table.iter().filter_map(text).collect()
    }

    /// Where the table itself is.
    pub(super) fn here(&self) -> At<()> {
        At { value: (), place: self.place.clone(), key: self.path.clone() }
    }

    /// Reports every key that was not asked for.
    pub(super) fn finish(self) {
        for (key, _) in self.table {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let place = self.source.place(&key.span());
            let help = match nearest(name, self.asked.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("remove it, or use one of {}", list(self.asked.iter().copied())),
            };
            self.sink.report(Problem::at(&place, self.path_of(name), "there is no such key", help));
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.table.get(key)
    }

    fn missing(&self, key: &str, meaning: &str) {
        let help = format!("add `{key} = ...`: {meaning}");
        self.sink.report(Problem::at(&self.place, self.path_of(key), "this key is missing", help));
    }

    fn parse<T: FromStr<Err: Display>>(&self, text: At<String>) -> Option<At<T>> {
        match text.value.parse() {
            Ok(value) => Some(text.map(|_| value)),
            Err(error) => {
                self.sink.report(text.problem(error.to_string(), "give it a name of this form"));
                None
            }
        }
    }

    fn as_text(&self, value: &Spanned<DeValue<'_>>, path: String) -> Option<At<String>> {
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_shape(value, path, "a text", "\"...\"");
            return None;
        };
        Some(self.at(value, path, text.to_owned()))
    }

    fn as_table(&self, value: &'a Spanned<DeValue<'a>>, path: String, place: Place) -> Option<Table<'a>> {
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_shape(value, path, "a table", "{ key = value }");
            return None;
        };
        Some(Table { source: self.source, sink: self.sink, path, place, table, asked: Vec::new() })
    }

    /// TOML as JSON: dates become texts, and numbers that JSON does not have are reported.
    fn to_json(&self, spanned: &Spanned<DeValue<'_>>, path: &str) -> Value {
        let number = |number: Option<serde_json::Number>| {
            number.map(Value::Number).unwrap_or_else(|| {
                let help = "write a number that fits 64 bits and is finite";
                let problem = self.at(spanned, path.to_owned(), ()).problem("JSON has no such number", help);
                self.sink.report(problem);
                Value::Null
            })
        };
        match spanned.get_ref() {
            DeValue::String(text) => Value::from(text.as_ref()),
            DeValue::Integer(n) => number(i64::from_str_radix(n.as_str(), n.radix()).ok().map(Into::into)),
            DeValue::Float(n) => number(n.as_str().parse().ok().and_then(serde_json::Number::from_f64)),
            DeValue::Boolean(flag) => Value::from(*flag),
            DeValue::Datetime(time) => Value::from(time.to_string()),
            DeValue::Array(items) => items.iter().map(|item| self.to_json(item, path)).collect(),
            DeValue::Table(table) => {
                let entry = |(key, value): (&Spanned<Cow<'_, str>>, &Spanned<DeValue<'_>>)| {
                    let name = key.get_ref().to_string();
                    let value = self.to_json(value, &format!("{path}.{name}"));
                    (name, value)
                };
                table.iter().map(entry).collect()
            }
        }
    }

    fn wrong_shape(&self, value: &Spanned<DeValue<'_>>, path: String, needed: &str, example: &str) {
        let what = format!("{needed} is needed here, this is of type {}", value.get_ref().type_str());
        self.sink.report(self.at(value, path, ()).problem(what, format!("write it as `{example}`")));
    }

    fn at<T, V>(&self, spanned: &Spanned<V>, key: String, value: T) -> At<T> {
        At { value, place: self.source.place(&spanned.span()), key }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// Whether a name that is used exists; reports it with the names that do where it does not.
pub(super) fn known<'n, N: AsName + 'n>(
    used: &At<N>,
    names: impl Iterator<Item = &'n N>,
    kind: &str,
    sink: &Sink,
) -> bool {
    let names: Vec<&str> = names.map(AsName::as_name).collect();
    let name = used.value.as_name();
    if names.contains(&name) {
        return true;
    }
    let help = match nearest(name, names.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("describe it in hilum.toml, or use one of {}", list(names.iter().copied())),
    };
    sink.report(used.problem(format!("there is no {kind} `{name}`"), help));
    false
}

/// What can be looked up by name.
pub(super) trait AsName {
    fn as_name(&self) -> &str;
}

impl AsName for String {
    fn as_name(&self) -> &str {
        self
    }
}

macro_rules! as_name {
    ($($name:ty),+) => {$(
        impl AsName for $name {
            fn as_name(&self) -> &str {
                self.as_str()
            }
        }
    )+};
}

as_name!(FlowName, Label, StakeholderName, ZoneName);

/// The candidate that `word` was probably meant to be.
pub(super) fn nearest<'c>(word: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    let distance = |candidate: &&str| strsim::damerau_levenshtein(word, candidate);
    let best = candidates.min_by_key(distance)?;
    (distance(&best) <= (word.len() / 3).max(1)).then_some(best)
}

/// Names as a person would list them.
pub(super) fn list<'c>(names: impl Iterator<Item = &'c str>) -> String {
    let quoted: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    if quoted.is_empty() { "(there are none)".to_owned() } else { quoted.join(", ") }
}
