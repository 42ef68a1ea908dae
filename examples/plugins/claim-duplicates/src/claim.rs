//! Reads the claims of an interchange: 837 professional, institutional and dental (005010X222, X223 and X224), by the segments that
//! all three have.

use hilum_formats::x12::{Area, Document, Level, Party, Place, Segment, Transaction, Walker};

/// A person by given name and birth date; nobody.
type Person<'a> = (&'a [u8], &'a [u8]);
const NOBODY: Person<'static> = (&[], &[]);
/// Between the parts of a claim's content; no X12 element holds it unless it separates them.
const BETWEEN: u8 = 0x1F;

/// A claim, as far as it has to be told from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The record of the batch that it came in, and the day of that.
    pub(crate) record: usize,
    pub(crate) day: u32,
    /// ISA13, ST02 and the number of its CLM segment: where its sender finds it.
    pub(crate) interchange: String,
    pub(crate) transaction: String,
    pub(crate) segment: usize,
    pub(crate) correction: Option<Correction>,
    /// Everything that makes it the same as another one.
    pub(crate) content: Vec<u8>,
}

/// What a claim does to one before it (CLM05-3, claim frequency type code).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Correction {
    /// `6` and `7`: takes its place.
    Replacement,
    /// `8`: takes it back.
    Void,
}

/// The claims of all 837 transactions, and how many lacked something without which they cannot be compared.
pub(crate) fn read(document: &Document<'_>, record: usize, day: u32) -> (Vec<Claim>, u64) {
    let mut reader = Reader { record, day, ..Reader::default() };
    for transaction in document.transactions().filter(|transaction| transaction.identifier() == b"837") {
        reader.transaction(document, &transaction);
    }
    (reader.claims, reader.incomplete)
}

#[derive(Default)]
struct Reader<'a> {
    record: usize,
    day: u32,
    interchange: String,
    transaction: String,
    /// NM109 of the billing provider and of the subscriber.
    provider: &'a [u8],
    subscriber: &'a [u8],
    /// Given name and birth date of a patient who is not the subscriber: members share a number.
    patient: Person<'a>,
    open: Option<Open<'a>>,
    claims: Vec<Claim>,
    incomplete: u64,
}

/// A claim being read.
struct Open<'a> {
    segment: usize,
    charge: &'a [u8],
    frequency: &'a [u8],
    /// Of the claim as a whole: service dates or statement dates.
    dates: Vec<&'a [u8]>,
    lines: Vec<Line<'a>>,
}

/// A service line.
#[derive(Default)]
struct Line<'a> {
    procedure: Vec<u8>,
    charge: &'a [u8],
    units: &'a [u8],
    dates: Vec<&'a [u8]>,
}

impl<'a> Reader<'a> {
    fn transaction(&mut self, document: &Document<'a>, transaction: &Transaction<'_, 'a>) {
        let group = transaction.group().number();
        let header = document.segments()[..group].iter().rev().find(|segment| segment.identifier() == "ISA");
        self.interchange = header.map_or_else(String::new, |header| control_number(header.element(13)));
        self.transaction = control_number(transaction.segments()[0].element(2));
        let mut walker = Walker::default();
        for segment in transaction.segments() {
            let place = walker.place(segment);
            match place.area {
                Area::Heading => self.heading(segment, place),
                Area::Claim | Area::Line => self.claim(segment, place),
            }
        }
        self.close();
    }

    fn heading(&mut self, segment: &Segment<'a>, place: Place) {
        self.close();
        match (segment.identifier(), place.level, place.party) {
            ("HL", Some(Level::Source), _) => {
                (self.provider, self.subscriber, self.patient) = (&[], &[], NOBODY);
            }
            ("HL", Some(Level::Subscriber), _) => (self.subscriber, self.patient) = (&[], NOBODY),
            ("HL", Some(Level::Dependent), _) => self.patient = NOBODY,
            ("NM1", Some(Level::Source), _) if segment.element(1) == b"85" => {
                self.provider = segment.element(9);
            }
            ("NM1", Some(Level::Subscriber), Some(Party::Subscriber)) => self.subscriber = segment.element(9),
            ("NM1", Some(Level::Dependent), Some(Party::Patient)) => self.patient.0 = segment.element(4),
            ("DMG", Some(Level::Dependent), Some(Party::Patient)) => self.patient.1 = segment.element(2),
            _ => {}
        }
    }

    fn claim(&mut self, segment: &Segment<'a>, place: Place) {
        if segment.identifier() == "CLM" {
            self.close();
            self.open = Some(Open {
                segment: segment.number(),
                charge: segment.element(2),
                frequency: segment.components(5).nth(2).unwrap_or_default(),
                dates: Vec::new(),
                lines: Vec::new(),
            });
            return;
        }
        let Some(open) = &mut self.open else { return };
        match segment.identifier() {
            "LX" => open.lines.push(Line::default()),
            // 472 is the service, 434 the statement of an institution.
            "DTP" if matches!(segment.element(1), b"472" | b"434") => {
                match open.lines.last_mut().filter(|_| place.area == Area::Line) {
                    Some(line) => line.dates.push(segment.element(3)),
                    None => open.dates.push(segment.element(3)),
                }
            }
            "SV1" | "SV3" => open.service(segment, 1, 2, if segment.identifier() == "SV1" { 4 } else { 6 }),
            "SV2" => open.service(segment, 2, 3, 5),
            _ => {}
        }
    }

    /// Ends the claim that is open.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let Some(content) = self.content(&open) else {
            self.incomplete += 1;
            return;
        };
        let correction = match open.frequency {
            b"6" | b"7" => Some(Correction::Replacement),
            b"8" => Some(Correction::Void),
            _ => None,
        };
        self.claims.push(Claim {
            record: self.record,
            day: self.day,
            interchange: self.interchange.clone(),
            transaction: self.transaction.clone(),
            segment: open.segment,
            correction,
            content,
        });
    }

    /// What two claims have in common that are one: not the order of their lines, not how an amount is written.
    fn content(&self, open: &Open<'a>) -> Option<Vec<u8>> {
        let dated = !open.dates.is_empty() || open.lines.iter().any(|line| !line.dates.is_empty());
        let complete =
            !self.provider.is_empty() && !self.subscriber.is_empty() && !open.lines.is_empty() && dated;
        let charge = complete.then(|| amount(open.charge))??;
        let mut lines = open.lines.iter().map(Line::content).collect::<Option<Vec<Vec<u8>>>>()?;
        lines.sort();
        let mut dates = open.dates.clone();
        dates.sort_unstable();
        let mut content = Vec::new();
        let parts = [self.provider, self.subscriber, self.patient.0, self.patient.1, &charge];
        let lines = lines.iter().map(Vec::as_slice);
        for part in parts.into_iter().chain(dates).chain([&b"lines"[..]]).chain(lines) {
            content.extend(part.iter().map(u8::to_ascii_uppercase));
            content.push(BETWEEN);
        }
        Some(content)
    }
}

impl<'a> Open<'a> {
    fn service(&mut self, segment: &Segment<'a>, procedure: usize, charge: usize, units: usize) {
        let Some(line) = self.lines.last_mut() else { return };
        // Qualifier, code and up to four modifiers, in the order in which they matter; a description does not.
        let codes: Vec<&[u8]> = segment.components(procedure).take(6).collect();
        line.procedure = codes.join(&b':');
        if segment.identifier() == "SV2" {
            // The revenue code, without which a line of an institution may have no procedure.
            line.procedure = [segment.element(1), b" ", &line.procedure].concat();
        }
        while line.procedure.last() == Some(&b':') {
            line.procedure.pop();
        }
        line.charge = segment.element(charge);
        line.units = segment.element(units);
    }
}

impl Line<'_> {
    fn content(&self) -> Option<Vec<u8>> {
        if self.procedure.is_empty() {
            return None;
        }
        let mut dates = self.dates.clone();
        dates.sort_unstable();
        let units = amount(self.units).unwrap_or_else(|| self.units.to_vec());
        Some(
            [&self.procedure, &amount(self.charge)?, &units, &dates.join(&b',')]
                .map(|part| part.as_slice())
                .join(&b'|'),
        )
    }
}

/// A decimal number (X12.6 type R) without what does not matter: `+01250.00` is `1250`.
fn amount(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}").into_bytes())
}

/// A control number of at most nine digits or letters; anything else is not told.
fn control_number(element: &[u8]) -> String {
    let text = std::str::from_utf8(element).unwrap_or_default().trim();
    let plain = text.len() <= 9 && text.bytes().all(|octet| octet.is_ascii_alphanumeric());
    if plain { text.to_owned() } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn amounts_that_are_equal_are_written_the_same() {
        for (text, expected) in [
            ("1250", "1250"),
            ("1250.00", "1250"),
            ("01250.50", "1250.5"),
            (".5", "0.5"),
            ("-3.10", "-3.1"),
            ("0", "0"),
        ] {
            assert_eq!(amount(text.as_bytes()).unwrap(), expected.as_bytes());
        }
        for wrong in ["", ".", "-", "1,250", "12 50", "1e3"] {
            assert_eq!(amount(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
