//! The counts and control numbers of trailers: SE, GE and IEA (X12.5 section 3, 005010 TR3 C.1).

use super::{Document, Error, Problem, Segment};
use crate::Edits;

/// A trailer, the count that it should hold, and the control number of its header.
struct Trailer<'d, 'a> {
    segment: &'d Segment<'a>,
    count: usize,
    control: &'a [u8],
}

impl Document<'_> {
    /// Checks that every trailer counts what is there and repeats its header's control number.
    ///
    /// # Errors
    /// The first trailer that does not.
    pub fn check_counts(&self) -> Result<(), Error> {
        for trailer in trailers(self) {
            let segment = trailer.segment;
            let fault = |problem| Error { segment: segment.number(), offset: segment.offset(), problem };
            if number(segment.element(1)) != Some(trailer.count) {
                return Err(fault(Problem::Count));
            }
            if segment.element(2) != trailer.control {
                return Err(fault(Problem::ControlNumber));
            }
        }
        Ok(())
    }
}

/// The text with the counts of all trailers set to what is there, for when segments were left out.
///
/// # Errors
/// When the text is not one of interchanges.
pub fn recount(text: &[u8]) -> Result<Vec<u8>, Error> {
    let document = Document::parse(text)?;
    let mut edits = Edits::new();
    for trailer in trailers(&document) {
        let segment = trailer.segment;
        if number(segment.element(1)) == Some(trailer.count) {
            continue;
        }
        let (span, count) = (segment.span(), trailer.count.to_string());
        let start = span.start + segment.identifier().len() + 1;
        if start > span.end {
            // There is not even the separator of an element.
            let separator = segment.separators().element;
            edits.replace(span.end..span.end, [&[separator], count.as_bytes()].concat());
        } else {
            edits.replace(start..start + segment.element(1).len(), count);
        }
    }
    Ok(edits.apply(text).expect("trailers do not overlap"))
}

fn trailers<'d, 'a>(document: &'d Document<'a>) -> Vec<Trailer<'d, 'a>> {
    let mut trailers = Vec::new();
    // Of the interchange, the group and the transaction that are open: the control number and what was counted.
    let (mut interchange, mut group, mut transaction) = ((&[][..], 0), (&[][..], 0), (&[][..], 0));
    for segment in document.segments() {
        transaction.1 += 1;
        let (control, count) = match segment.identifier() {
            "ISA" => {
                interchange = (segment.element(13), 0);
                continue;
            }
            "GS" => {
                group = (segment.element(6), 0);
                interchange.1 += 1;
                continue;
            }
            "ST" => {
                transaction = (segment.element(2), 1);
                group.1 += 1;
                continue;
            }
            "SE" => transaction,
            "GE" => group,
            "IEA" => interchange,
            _ => continue,
        };
        trailers.push(Trailer { segment, count, control });
    }
    trailers
}

/// A count; leading zeros do not matter. Nine digits count more than there can be and fit 32 bits, also in a plugin.
fn number(element: &[u8]) -> Option<usize> {
    let zeros = element.iter().take_while(|digit| **digit == b'0').count();
    let digits = &element[zeros..];
    if element.is_empty() || digits.len() > 9 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn counts_are_digits_and_fit() {
        assert_eq!(number(b"54"), Some(54));
        assert_eq!(number(b"0000000054"), Some(54));
        assert_eq!(number(b"000"), Some(0));
        for wrong in [&b""[..], b"9999999999", b"5x", b"-1", b" 5"] {
            assert_eq!(number(wrong), None);
        }
    }
}
