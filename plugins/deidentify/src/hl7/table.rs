//! The table of fields and what happens to each.

use std::collections::BTreeMap;
use std::sync::LazyLock;

const SOURCE: &str = include_str!("../../data/hl7v2-fields.tsv");

/// What happens to a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Action {
    /// It goes on as it is.
    Keep,
    /// Nothing of it goes on.
    #[default]
    Empty,
    /// ID, IS or ST: one component that looks like a code goes on.
    Id,
    /// One of the values of a table of HL7 goes on.
    Of(&'static [&'static str]),
    /// NM: a number goes on, with six digits.
    Number,
    /// SI: up to four digits go on.
    Sequence,
    /// CP, MO or MOP: amounts go on.
    Amount,
    /// CQ: a number and its unit go on.
    Quantity,
    /// ERL: where in a message an error is goes on.
    Location,
    /// FC: the code goes on without its date.
    Class,
    /// HD: who sends or receives goes on, if it has the form of a name of an application or facility.
    Authority,
    /// EI: a profile goes on.
    Profile,
    /// EI: the sponsor's name of a study goes on, or a pseudonym.
    Study,
    /// CX or XON: the short name or the number of an insurer goes on, or a pseudonym.
    Insurer,
    /// PT: the processing ID goes on.
    Processing,
    /// VID: the version goes on.
    Version,
    /// CE: a unit goes on.
    Measure,
    /// Message code, trigger event and structure go on, each in capitals, digits and `_` (HL7 v2.5.1, 2.15.9.9); else nothing.
    MessageType,
    /// Codes go on, with their texts where their systems are published (CE, CWE, CNE); text without a code does not.
    Code,
    /// As [`Action::Code`], but a code without a code system may be a word in capitals: the laboratory's own name of a test.
    Service,
    /// The year goes on (DT, TS, DTM, DR).
    Year,
    /// The year goes on, and no year shows an age over 89.
    Birth,
    /// The identifier becomes a patient's pseudonym (CX).
    Patient,
    /// The identifier becomes a pseudonym in a domain (CX, EI, ST).
    Identifier(&'static str),
    /// The name becomes a coded pseudo-name (XPN).
    Name,
    /// State and country go on (XAD).
    Region,
    /// A person who treats the patient (XCN): what the configuration says.
    Staff,
    /// The ward goes on, without room and bed (PL).
    Unit,
    /// An observation's value, by its type.
    Value,
    /// A range of numbers goes on.
    Range,
    /// NM of an observation that is an age: no number over 89 years goes on.
    Age,
    /// SN of an observation: a comparator, a number, a separator and a number go on.
    Structured,
    /// ID or IS of an observation: what looks like a code, or a word for a result, goes on.
    Result,
}

impl Action {
    fn named(name: &'static str) -> Option<Action> {
        if let Some(number) = name.strip_prefix("table:") {
            return super::tables::values(number).map(Action::Of);
        }
        Some(match name {
            "keep" => Action::Keep,
            "empty" => Action::Empty,
            "id" => Action::Id,
            "number" => Action::Number,
            "sequence" => Action::Sequence,
            "amount" => Action::Amount,
            "quantity" => Action::Quantity,
            "location" => Action::Location,
            "class" => Action::Class,
            "authority" => Action::Authority,
            "profile" => Action::Profile,
            "study" => Action::Study,
            "insurer" => Action::Insurer,
            "processing" => Action::Processing,
            "version" => Action::Version,
            "measure" => Action::Measure,
            "message-type" => Action::MessageType,
            "code" => Action::Code,
            "service" => Action::Service,
            "year" => Action::Year,
            "birth" => Action::Birth,
            "patient" => Action::Patient,
            "account" => Action::Identifier(crate::pseudonym::ACCOUNT),
            "visit" => Action::Identifier("visit"),
            "order" => Action::Identifier(crate::pseudonym::ORDER),
            "document" => Action::Identifier("document"),
            "member" => Action::Identifier("group"),
            "control" => Action::Identifier("message-control"),
            "name" => Action::Name,
            "region" => Action::Region,
            "staff" => Action::Staff,
            "unit" => Action::Unit,
            "value" => Action::Value,
            "range" => Action::Range,
            _ => return None,
        })
    }
}

/// What happens to the fields of one segment.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules(Vec<Action>);

impl Rules {
    /// What happens to a field, counted from 1; a field that the table does not name is emptied.
    pub(super) fn action(&self, field: usize) -> Action {
        field.checked_sub(1).and_then(|index| self.0.get(index)).copied().unwrap_or_default()
    }
}

/// The rules of each segment.
pub(super) static TABLE: LazyLock<BTreeMap<&'static str, Rules>> = LazyLock::new(|| {
    let mut table: BTreeMap<&str, Rules> = BTreeMap::new();
    for (segment, field, action) in rows() {
        let Rules(actions) = table.entry(segment).or_default();
        let field: usize = field.parse().unwrap_or_default();
        actions.resize(actions.len().max(field), Action::Empty);
        if let Some(place) = field.checked_sub(1).and_then(|index| actions.get_mut(index)) {
            *place = Action::named(action).unwrap_or_default();
        }
    }
    table
});

/// Whether a field, such as `NTE-3`, is one of free text, or OBX-5, which may be.
pub(crate) fn is_free_text(field: &str) -> bool {
    SOURCE.lines().skip(1).any(|line| {
        let mut columns = line.split('\t');
        let mut next = || columns.next().unwrap_or_default();
        let (segment, number, _name, action, why) = (next(), next(), next(), next(), next());
        let is_named = field.strip_prefix(segment).and_then(|rest| rest.strip_prefix('-')) == Some(number);
        is_named && why.starts_with("free text") && matches!(action, "empty" | "value")
    })
}

/// The rows of the table: segment, field and action.
fn rows() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    SOURCE.lines().skip(1).map(|line| {
        let mut columns = line.split('\t');
        let mut next = || columns.next().unwrap_or_default();
        let (segment, field, _name, action) = (next(), next(), next(), next());
        (segment, field, action)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_names_a_field_and_a_known_action_once() {
        let mut seen = std::collections::BTreeSet::new();
        for (segment, field, action) in rows() {
            assert!(
                segment.len() == 3 && (1..=80).contains(&field.parse::<usize>().unwrap()),
                "{segment}-{field}"
            );
            assert!(Action::named(action).is_some(), "{segment}-{field} {action}");
            assert!(seen.insert((segment, field)), "{segment}-{field} twice");
        }
        assert!(seen.len() > 700);
    }
}
