//! The types and lengths of the data elements of 005010, against which each element that goes on is held.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::{places, shape};

const SOURCE: &str = include_str!("../../data/x12-005010-types.tsv");
/// Digits before the point of an amount: nine may be a social security number.
const AMOUNT_DIGITS_MAX: usize = 8;
/// Digits of a fraction.
const FRACTION_DIGITS_MAX: usize = 4;
/// Digits of a count.
const COUNT_DIGITS_MAX: usize = 6;
/// Letters of a code from a list that need no digit beside them; more may be a name.
const LIST_LETTERS_MAX: usize = 3;
/// Letters of a code that need no digit beside them.
const CODE_LETTERS_MAX: usize = 2;
/// Octets of a diagnosis, condition, remark or question.
const CODE_OCTETS_MAX: usize = 15;
/// Digits of a National Drug Code.
const DRUG_DIGITS: usize = 11;

/// What an element may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Form {
    /// ID: capitals and digits.
    List,
    /// R: a number.
    Amount,
    /// N0, or AN that counts.
    Count,
    /// AN that is a code: capitals, digits and points.
    #[default]
    Code,
    /// AN: what is done or dispensed.
    Product,
    /// AN: two characters.
    Modifier,
    /// AN: the identifier of an organisation, a payer, or a reference.
    Identifier,
    /// AN: the name or address of an organisation.
    Name,
    /// ID: the postal code of an organisation.
    Postal,
    State,
    Country,
    /// AN: an implementation guide.
    Guide,
    /// AN: who sends or receives an interchange, padded.
    Partner,
    /// AN: a bank, by a number with a check digit.
    Bank,
    /// AN: a company, by ten characters.
    Company,
    /// What counts interchanges, groups and transactions.
    Control,
    /// A separator.
    Mark,
    /// Free text, which does not go on.
    Text,
}

/// What becomes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// It goes on as it is.
    Same,
    /// It goes, or a text stands for it.
    Text(&'static str),
    /// A pseudonym stands for it.
    Pseudonym,
    /// A text stands for it, followed by as many spaces as it takes to be as long.
    Padded(&'static str),
}

type Key = (&'static str, usize, usize);

static TYPES: LazyLock<BTreeMap<Key, (Form, usize)>> =
    LazyLock::new(|| SOURCE.lines().skip(1).filter_map(row).collect());

fn row(line: &'static str) -> Option<(Key, (Form, usize))> {
    let mut columns = line.split('\t');
    let segment = columns.next()?;
    let mut number = || columns.next()?.parse().ok();
    let (element, component) = (number()?, number()?);
    let _data_element = columns.next()?;
    let form = match columns.next()? {
        "list" => Form::List,
        "amount" => Form::Amount,
        "count" => Form::Count,
        "code" => Form::Code,
        "product" => Form::Product,
        "modifier" => Form::Modifier,
        "id" => Form::Identifier,
        "name" => Form::Name,
        "postal" => Form::Postal,
        "state" => Form::State,
        "country" => Form::Country,
        "guide" => Form::Guide,
        "partner" => Form::Partner,
        "bank" => Form::Bank,
        "company" => Form::Company,
        "control" => Form::Control,
        "mark" => Form::Mark,
        "text" => Form::Text,
        _ => return None,
    };
    Some(((segment, element, component), (form, columns.next()?.parse().ok()?)))
}

/// Whether an element is made of components.
pub(super) fn is_composite(segment: &str, element: usize) -> bool {
    find(segment, element, 1).is_some()
}

/// The row of a place.
fn find(segment: &str, element: usize, component: usize) -> Option<(Form, usize)> {
    let types: &BTreeMap<(&str, usize, usize), (Form, usize)> = &TYPES;
    types.get(&(segment, element, component)).copied()
}

/// What becomes of a value at a place of a segment (component 0: of an element without components), and what stands before it.
pub(super) fn left(segment: &str, element: usize, component: usize, before: &[u8], value: &[u8]) -> Left {
    let (form, length) = find(segment, element, component).unwrap_or((Form::Code, CODE_OCTETS_MAX));
    let keep = |stays: bool, otherwise: Left| if stays { Left::Same } else { otherwise };
    let is_short = value.len() <= length;
    match form {
        Form::List => keep(is_short && is_coded(value, LIST_LETTERS_MAX), Left::Text("")),
        Form::Amount => keep(is_short && is_amount(value), Left::Text("0")),
        Form::Count => keep(is_short && is_count(value, COUNT_DIGITS_MAX), Left::Text("0")),
        Form::Control => keep(is_short && is_upper(value), Left::Text("0")),
        Form::Code => keep(is_short && is_code(value), Left::Text("XX")),
        Form::Product => {
            keep(is_short && (is_code(value) || before == b"N4" && is_drug(value)), Left::Text("XX"))
        }
        Form::Modifier => keep(value.len() == 2 && is_upper(value), Left::Text("")),
        Form::Identifier => keep(is_identifier(before, value), Left::Pseudonym),
        Form::Name => keep(is_short && shape::is_text(value), Left::Text("ANONYMOUS")),
        Form::Postal => {
            let is_postal = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b' ';
            let has_digits = value.iter().any(u8::is_ascii_digit);
            keep(value.len() <= 10 && has_digits && value.iter().all(is_postal), Left::Text("00000"))
        }
        Form::State => keep(places::is_state(value), Left::Text("")),
        Form::Country => keep(places::is_country(value), Left::Text("")),
        Form::Guide => keep(is_guide(value), Left::Text("")),
        Form::Partner => keep(
            is_partner(value),
            if segment == "ISA" { Left::Padded("ANONYMOUS") } else { Left::Text("ANONYMOUS") },
        ),
        Form::Bank => keep(is_bank(value), Left::Text("000000000")),
        Form::Company => keep(value.len() == length && is_coded(value, 0), Left::Text("0000000000")),
        Form::Mark => keep(value.len() == 1, Left::Text("")),
        Form::Text => Left::Text(""),
    }
}

/// Whether a value is a reason for an adjustment (data element 426).
pub(super) fn is_reason(value: &[u8]) -> bool {
    value.len() == 2 && is_upper(value)
}

fn is_upper(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(|octet| octet.is_ascii_uppercase() || octet.is_ascii_digit())
}

/// Whether a value is of capitals and digits, or of so many letters at most.
fn is_coded(value: &[u8], letters: usize) -> bool {
    let mut digits = value.iter().filter(|octet| octet.is_ascii_digit());
    is_upper(value) && (value.len() <= letters || digits.next().is_some())
}

/// Whether a value is a diagnosis, a procedure, a condition, a remark or the like: few digits, and at least one unless it is short.
fn is_code(value: &[u8]) -> bool {
    let digits = value.iter().filter(|octet| octet.is_ascii_digit()).count();
    value.len() <= CODE_OCTETS_MAX
        && !value.is_empty()
        && value.iter().all(|octet| octet.is_ascii_alphanumeric() || b".-".contains(octet))
        && (digits > 0 || value.len() <= CODE_LETTERS_MAX)
        && shape::is_code(value)
}

fn is_drug(value: &[u8]) -> bool {
    value.len() == DRUG_DIGITS && value.iter().all(u8::is_ascii_digit)
}

/// Whether a value is the number of a provider after `XX`, of an employer after its qualifiers, of a laboratory, or of no more digits than a
/// code has. A state stands after `LU` of a claim.
fn is_identifier(before: &[u8], value: &[u8]) -> bool {
    let are_digits = value.iter().all(u8::is_ascii_digit);
    let is_laboratory = value.len() == 10
        && value
            .iter()
            .enumerate()
            .all(|(at, octet)| if at == 2 { *octet == b'D' } else { octet.is_ascii_digit() });
    match before {
        b"XX" | b"HPI" if are_digits && value.len() == 10 => true,
        b"24" | b"EI" | b"FI" | b"TJ" if is_employer(value) => true,
        b"F4" | b"X4" if is_laboratory => true,
        b"87" if is_guide(value) => true,
        _ => is_code(value) || places::is_state(value),
    }
}

/// The number of an employer: nine digits, or two, a hyphen and seven.
fn is_employer(value: &[u8]) -> bool {
    let digits = value.iter().filter(|octet| octet.is_ascii_digit()).count();
    digits == 9 && (value.len() == 9 || value.len() == 10 && value[2] == b'-')
}

/// A number without so many digits that it may be somebody's, and no day.
fn is_amount(value: &[u8]) -> bool {
    let unsigned = value.strip_prefix(b"-").unwrap_or(value);
    let mut parts = unsigned.splitn(2, |octet| *octet == b'.');
    let (whole, fraction) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    !(whole.is_empty() && fraction.is_empty())
        && [whole, fraction].iter().all(|digits| digits.iter().all(u8::is_ascii_digit))
        && whole.len() <= AMOUNT_DIGITS_MAX
        && fraction.len() <= FRACTION_DIGITS_MAX
        && !shape::identifies(whole)
}

fn is_count(value: &[u8], most: usize) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    (1..=most).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
}

/// `005010X222A1`, or another version, release and guide.
fn is_guide(value: &[u8]) -> bool {
    const FORM: &[u8] = b"ddddddXdddAd";
    let is = |(form, octet): (&u8, &u8)| if *form == b'd' { octet.is_ascii_digit() } else { form == octet };
    matches!(value.len(), 6 | 10 | 12) && FORM.iter().zip(value).all(is)
}

fn is_partner(value: &[u8]) -> bool {
    let value = value.trim_ascii_end();
    !value.is_empty()
        && value.iter().all(|octet| octet.is_ascii_alphanumeric() || b"._-/&".contains(octet))
        && (value.iter().all(u8::is_ascii_alphanumeric) || !shape::identifies(value))
}

/// The number of a bank in the United States: nine digits, weighted by 3, 7 and 1.
fn is_bank(value: &[u8]) -> bool {
    let weighted =
        value.iter().zip([3, 7, 1].iter().cycle()).map(|(octet, weight)| u32::from(octet - b'0') * weight);
    value.len() == 9 && value.iter().all(u8::is_ascii_digit) && weighted.sum::<u32>().is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_known_form() {
        assert_eq!(TYPES.len(), SOURCE.lines().count() - 1);
        assert!(is_composite("CLM", 5) && !is_composite("CLM", 2));
    }

    #[test]
    fn numbers_of_organisations_have_their_forms() {
        assert!(is_bank(b"021000021") && !is_bank(b"123456789"));
        assert!(is_guide(b"005010X222A1") && is_guide(b"005010X223") && !is_guide(b"Jane Doe"));
        assert!(is_identifier(b"X4", b"45D0470381") && !is_identifier(b"PI", b"123456789"));
        assert!(is_amount(b"1234567.89") && !is_amount(b"123456789") && !is_amount(b"19800102"));
    }
}
