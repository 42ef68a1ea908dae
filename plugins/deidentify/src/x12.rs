//! De-identifies X12 health care claims (837P, 837I, 837D; 005010 X222, X223, X224), payments (835; X221), and questions and answers about
//! eligibility (270, 271; X279) and the status of claims (276, 277; X212, X214), by the tables `data/x12-837-elements.tsv` and
//! `data/x12-reply-elements.tsv`: every element is kept, reduced, replaced or emptied, by whose segment it is.
//!
//! Transactions go on as valid ones: what the implementation guides require is replaced by something that says nothing
//! (a name by `ANONYMOUS`, a date by the first of January of its year), what they do not require is emptied, notes are
//! left out and the counts set right. All other transactions are refused: nobody has described their elements.

mod element;
mod patients;
mod table;
#[cfg(test)]
pub(crate) mod tests;
mod types;

use std::collections::BTreeSet;

use hilum_formats::Edits;
use hilum_formats::x12::{Document, Error, Party, Place, Segment, Transaction, Walker, recount};

use crate::dates::Dates;
use crate::texts::Texts;
use crate::{Config, Pseudonyms, Refusal};
use element::Cleaner;
pub(crate) use element::is_free_text;
use patients::Patients;
use table::{Owner, Rule, rule, segments};

/// De-identifies one interchange or several.
///
/// # Errors
/// Everything it cannot parse, transactions and segments that nobody has described, dates in a
/// format that it does not know and, where dates are shifted, those of somebody unknown.
pub fn deidentify(input: &[u8], config: &Config, keys: &dyn Pseudonyms) -> Result<Vec<u8>, Refusal> {
    let document = Document::parse(input).map_err(invalid)?;
    document.check_counts().map_err(|error| Refusal::new("invalid-count", error.to_string()))?;
    let mut edits = Edits::new();
    let texts = &Texts::new(config);
    for segment in document.segments().iter().filter(|segment| is_envelope(segment)) {
        let cleaner = Cleaner { config, keys, texts, year: None, dates: Dates::Year, segment };
        clean(&cleaner, Owner::Claim, &mut edits)?;
    }
    for transaction in document.transactions() {
        let known = described(&transaction)?;
        let year = year(&transaction);
        let mut walker = Walker::default();
        let mut patients = Patients::new(transaction.segments());
        for segment in transaction.segments() {
            let owner = owner(&walker.place(segment));
            let dates = patients.dates(segment, config, keys)?;
            if is_envelope(segment) {
                continue;
            }
            if !known.contains(segment.identifier()) {
                return Err(unknown(segment));
            }
            clean(&Cleaner { config, keys, texts, year, dates, segment }, owner, &mut edits)?;
        }
    }
    let cleaned = edits.apply(input).map_err(|error| Refusal::new("internal", error.to_string()))?;
    recount(&cleaned).map_err(invalid)
}

fn invalid(error: Error) -> Refusal {
    Refusal::new("invalid-x12", error.to_string())
}

fn is_envelope(segment: &Segment<'_>) -> bool {
    matches!(segment.identifier(), "ISA" | "TA1" | "GS" | "ST" | "SE" | "GE" | "IEA")
}

/// The segments that a transaction may have.
fn described(transaction: &Transaction<'_, '_>) -> Result<&'static BTreeSet<&'static str>, Refusal> {
    let start = &transaction.segments()[0];
    segments(transaction.identifier()).ok_or_else(|| {
        let place = format!("segment {}, offset {}", start.number(), start.offset());
        let reason = format!("{place}: only 837, 835, 270, 271, 276 and 277 can be de-identified");
        Refusal::new("unsupported-transaction", reason)
    })
}

fn unknown(segment: &Segment<'_>) -> Refusal {
    let place = format!("segment {}, offset {}", segment.number(), segment.offset());
    Refusal::new("unknown-segment", format!("{place}: no rule says what its elements hold"))
}

/// The year in which the transaction was made, from which ages are counted: BHT04, or GS04 without it.
fn year(transaction: &Transaction<'_, '_>) -> Option<u16> {
    let begin = transaction.segments().iter().find(|segment| segment.identifier() == "BHT");
    let made = begin.and_then(|begin| element::year_of(begin.element(4)));
    made.or_else(|| element::year_of(transaction.group().element(4)))
}

/// Whose elements the table should be asked for. Whoever is not known to treat or to pay may be a relative.
fn owner(place: &Place) -> Owner {
    match place.party {
        None => Owner::Claim,
        Some(Party::Provider) if place.organisation => Owner::Organisation,
        Some(Party::Payer) if place.organisation => Owner::Payer,
        Some(Party::Provider | Party::Payer) => Owner::Staff,
        Some(Party::Subscriber | Party::Patient | Party::Place | Party::Unknown) => Owner::Person,
    }
}

fn clean(cleaner: &Cleaner<'_>, owner: Owner, edits: &mut Edits) -> Result<(), Refusal> {
    let segment = cleaner.segment;
    match rule(owner, segment.identifier(), segment.element(1)) {
        None => Err(unknown(segment)),
        Some(Rule::Remove) => {
            match cleaner.text() {
                Some(left) => edits.replace(segment.span(), left),
                None => edits.remove(segment.whole_span()),
            }
            Ok(())
        }
        Some(Rule::Elements(actions)) => {
            let cleaned = cleaner.clean(actions)?;
            if cleaned != segment.text() {
                edits.replace(segment.span(), cleaned);
            }
            Ok(())
        }
    }
}
