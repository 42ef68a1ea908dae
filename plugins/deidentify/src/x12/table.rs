//! The table of elements and what happens to each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// The elements of claims, and those that the answers to them and the questions about them have besides.
const SOURCES: [&str; 2] =
    [include_str!("../../data/x12-837-elements.tsv"), include_str!("../../data/x12-reply-elements.tsv")];
/// The segments of each transaction.
const TRANSACTIONS: &str = include_str!("../../data/x12-transactions.tsv");

/// Whom a segment is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Owner {
    /// Anybody: the rows for it hold unless others do.
    Any,
    /// The claim, not somebody in it.
    Claim,
    /// The patient, the subscriber, and whoever may be their relative.
    Person,
    /// A person who treats the patient.
    Staff,
    /// An organisation that treats the patient.
    Organisation,
    /// An organisation that pays or passes the claim on.
    Payer,
}

impl Owner {
    fn named(name: &str) -> Option<Owner> {
        Some(match name {
            "any" => Owner::Any,
            "claim" => Owner::Claim,
            "person" => Owner::Person,
            "staff" => Owner::Staff,
            "organisation" => Owner::Organisation,
            "payer" => Owner::Payer,
            _ => return None,
        })
    }
}

/// What happens to an element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Action {
    /// It goes on as it is.
    Keep,
    /// Nothing of it goes on.
    #[default]
    Empty,
    /// Spaces stand for it, as many.
    Blank,
    /// A text stands for it, if there was one.
    Text(&'static str),
    /// Zeros stand for a postal code, as many: a billing provider's must have nine.
    Postal,
    /// It becomes a patient's pseudonym.
    Patient,
    /// It becomes a pseudonym in a domain.
    Identifier(&'static str),
    /// A date in the format that the element before names.
    Date,
    /// CCYYMMDD, or nothing.
    Date8,
    /// YYMMDD.
    Date6,
    /// A date of birth, in the format that the element before names.
    Birth,
    /// HHMM and so on: midnight.
    Time,
    /// A procedure without its description (C003-07).
    Procedure,
    /// A reason, and a reference that becomes a pseudonym (C042).
    Adjustment,
    /// Codes with dates (C022-03 and C022-04).
    Codes,
    /// The number of a person who treats the patient: what the configuration says.
    StaffNumber,
    /// As [`Action::StaffNumber`]; ten digits become a provider identifier whatever is said of them.
    Provider,
    /// A code for what a provider does, or the number of one: the element before says which.
    Taxonomy,
    /// Zeros stand for such a person's postal code, unless the configuration keeps it.
    StaffPostal,
    /// A text stands for something about such a person, unless the configuration keeps it.
    StaffText(&'static str),
}

impl Action {
    fn named(name: &'static str) -> Option<Action> {
        if let Some(text) = name.strip_prefix("text:") {
            return Some(Action::Text(text));
        }
        if let Some(text) = name.strip_prefix("staff-text:") {
            return Some(Action::StaffText(text));
        }
        Some(match name {
            "keep" => Action::Keep,
            "empty" => Action::Empty,
            "blank" => Action::Blank,
            "patient" => Action::Patient,
            "account" => Action::Identifier(crate::pseudonym::ACCOUNT),
            "order" => Action::Identifier(crate::pseudonym::ORDER),
            "reference" => Action::Identifier("reference"),
            "date" => Action::Date,
            "date8" => Action::Date8,
            "date6" => Action::Date6,
            "birth" => Action::Birth,
            "time" => Action::Time,
            "procedure" => Action::Procedure,
            "codes" => Action::Codes,
            "adjustment" => Action::Adjustment,
            "provider" => Action::Provider,
            "taxonomy" => Action::Taxonomy,
            "staff-number" => Action::StaffNumber,
            "staff-name" => Action::StaffText("ANONYMOUS"),
            "postal" => Action::Postal,
            "staff-postal" => Action::StaffPostal,
            "staff-empty" => Action::StaffText(""),
            _ => return None,
        })
    }
}

/// What happens to a segment.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// It is left out.
    Remove,
    /// Each element has its action; those after the last are emptied.
    Elements(Vec<Action>),
}

/// The rules of one segment, by whose it is and by what its first element holds.
type Rules = BTreeMap<(Owner, &'static str), Rule>;

static TABLE: LazyLock<BTreeMap<&'static str, Rules>> = LazyLock::new(|| {
    let mut table: BTreeMap<&str, Rules> = BTreeMap::new();
    for [owner, segment, qualifier, element, action] in rows() {
        let Some(owner) = Owner::named(owner) else { continue };
        let rules = table.entry(segment).or_default();
        let rule = rules.entry((owner, qualifier)).or_insert(Rule::Elements(Vec::new()));
        let element: usize = element.parse().unwrap_or_default();
        match (element.checked_sub(1), &mut *rule) {
            (Some(index), Rule::Elements(actions)) => {
                actions.resize(actions.len().max(element), Action::Empty);
                actions[index] = Action::named(action).unwrap_or_default();
            }
            _ => *rule = Rule::Remove,
        }
    }
    table
});

static SEGMENTS: LazyLock<BTreeMap<&'static str, BTreeSet<&'static str>>> = LazyLock::new(|| {
    let row = |line: &'static str| {
        let mut columns = line.split('\t');
        let (transaction, _guide) = (columns.next()?, columns.next()?);
        Some((transaction, columns.next()?.split(' ').collect()))
    };
    TRANSACTIONS.lines().skip(1).filter_map(row).collect()
});

/// The segments that a transaction may have beside its envelope; none if nobody has described it.
pub(super) fn segments(transaction: &[u8]) -> Option<&'static BTreeSet<&'static str>> {
    std::str::from_utf8(transaction).ok().and_then(|name| SEGMENTS.get(name))
}

/// The rule for a segment of somebody whose first element holds a qualifier; none if nobody has described it.
pub(super) fn rule(owner: Owner, segment: &str, qualifier: &[u8]) -> Option<&'static Rule> {
    let rules = TABLE.get(segment)?;
    let held = rules.iter().find(|((of, held), _)| *of == owner && held.as_bytes() == qualifier);
    held.map(|(_, rule)| rule).or_else(|| rules.get(&(owner, "*"))).or_else(|| rules.get(&(Owner::Any, "*")))
}

/// The rows of the table: owner, segment, qualifier, element and action.
fn rows() -> impl Iterator<Item = [&'static str; 5]> {
    SOURCES.into_iter().flat_map(|source| source.lines().skip(1)).map(|line| {
        let mut columns = line.split('\t');
        let mut next = || columns.next().unwrap_or_default();
        let [owner, segment, qualifier, element] = [next(), next(), next(), next()];
        let _name = next();
        [owner, segment, qualifier, element, next()]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_names_an_element_and_a_known_action_once() {
        let mut seen = BTreeSet::new();
        for row @ [owner, segment, qualifier, element, action] in rows() {
            assert!(Owner::named(owner).is_some(), "{row:?}");
            assert!(matches!(segment.len(), 2 | 3), "{row:?}");
            if element == "*" {
                assert_eq!(action, "remove", "{row:?}");
            } else {
                assert!((1..=30).contains(&element.parse::<usize>().unwrap()), "{row:?}");
                assert!(Action::named(action).is_some(), "{row:?}");
            }
            assert!(seen.insert((owner, segment, qualifier, element)), "{row:?} twice");
        }
        assert!(seen.len() > 600);
        for (transaction, segments) in SEGMENTS.iter() {
            assert!(segments.len() > 10, "{transaction}");
            for segment in segments {
                assert!(TABLE.contains_key(segment), "{transaction} {segment}");
            }
        }
        assert_eq!(SEGMENTS.len(), 6);
    }
}
