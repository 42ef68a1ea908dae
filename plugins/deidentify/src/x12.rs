//! De-identifies X12 health care claims (837P, 837I, 837D; 005010 X222, X223, X224) by the table
//! `data/x12-837-elements.tsv`: every element is kept, reduced, replaced or emptied, by whose segment it is.
//!
//! Claims go on as valid claims: what the implementation guides require is replaced by something that says nothing
//! (a name by `ANONYMOUS`, a date by the first of January of its year), what they do not require is emptied, notes are
//! left out and the counts set right. All other transactions are refused: nobody has described their elements.

mod element;
mod table;
#[cfg(test)]
mod tests;

use hilum_formats::Edits;
use hilum_formats::x12::{Document, Error, Party, Place, Segment, Transaction, Walker, recount};

use crate::{Config, Pseudonyms, Refusal};
use element::Cleaner;
use table::{Owner, Rule, rule};

/// De-identifies one interchange or several.
///
/// # Errors
/// Everything it cannot parse, transactions that are not claims, segments that nobody has described, and dates in a
/// format that it does not know.
pub fn deidentify(input: &[u8], config: &Config, keys: &dyn Pseudonyms) -> Result<Vec<u8>, Refusal> {
    let document = Document::parse(input).map_err(invalid)?;
    document.check_counts().map_err(|error| Refusal::new("invalid-count", error.to_string()))?;
    let mut edits = Edits::new();
    for segment in document.segments().iter().filter(|segment| is_envelope(segment)) {
        let cleaner = Cleaner { config, keys, year: None, segment };
        clean(&cleaner, Owner::Claim, &mut edits)?;
    }
    for transaction in document.transactions() {
        check_is_claim(&transaction)?;
        let year = year(&transaction);
        let mut walker = Walker::default();
        for segment in transaction.segments() {
            let owner = owner(&walker.place(segment));
            if !is_envelope(segment) {
                clean(&Cleaner { config, keys, year, segment }, owner, &mut edits)?;
            }
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

fn check_is_claim(transaction: &Transaction<'_, '_>) -> Result<(), Refusal> {
    let start = &transaction.segments()[0];
    if transaction.identifier() == b"837" {
        return Ok(());
    }
    let place = format!("segment {}, offset {}", start.number(), start.offset());
    Err(Refusal::new("unsupported-transaction", format!("{place}: only claims (837) can be de-identified")))
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
        None => {
            let place = format!("segment {}, offset {}", segment.number(), segment.offset());
            Err(Refusal::new("unknown-segment", format!("{place}: no rule says what its elements hold")))
        }
        Some(Rule::Remove) => {
            edits.remove(segment.whole_span());
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
