//! Reads the service lines of claims: X12 837 professional and institutional (005010X222 and X223).

use hilum_formats::x12::{Area, Document, Level, Segment, Transaction, Walker};

use crate::clinical::day_of;
use crate::crosswalk::Crosswalk;
use crate::mac::{Kind, number};
use crate::notice::{Component, Frequency, LINES_MAX, What, is_code};
use crate::settings::Claimed;

/// A claim with its imaging lines. Numbers go no further than into MACs.
pub(crate) struct Claim {
    pub(crate) number: Option<Vec<u8>>,
    pub(crate) frequency: Frequency,
    pub(crate) lines: Vec<Line>,
    pub(crate) at: String,
}

pub(crate) struct Line {
    pub(crate) accession: Option<Vec<u8>>,
    pub(crate) visit: Option<Vec<u8>>,
    pub(crate) code: String,
    pub(crate) component: Component,
    pub(crate) fits: Vec<What>,
    pub(crate) day: u32,
}

/// What is read from where.
pub(crate) struct Reader<'c, 'a> {
    settings: &'c Claimed,
    crosswalk: &'c Crosswalk,
    interchange: String,
    transaction: String,
    /// NM109 of the billing provider.
    provider: &'a [u8],
    open: Option<Open<'a>>,
    pub(crate) claims: Vec<Claim>,
    /// Lines for imaging that have no date, or nothing by which to find the procedure.
    pub(crate) incomplete: u64,
}

#[derive(Default)]
struct Open<'a> {
    segment: usize,
    number: &'a [u8],
    frequency: &'a [u8],
    date: &'a [u8],
    accession: &'a [u8],
    record: &'a [u8],
    lines: Vec<OpenLine<'a>>,
}

#[derive(Default)]
struct OpenLine<'a> {
    code: &'a [u8],
    component: Option<Component>,
    date: &'a [u8],
    accession: &'a [u8],
}

impl<'c, 'a> Reader<'c, 'a> {
    pub(crate) fn new(settings: &'c Claimed, crosswalk: &'c Crosswalk) -> Self {
        let (interchange, transaction) = (String::new(), String::new());
        Self {
            settings,
            crosswalk,
            interchange,
            transaction,
            provider: &[],
            open: None,
            claims: Vec::new(),
            incomplete: 0,
        }
    }

    /// Reads all claims of an interchange.
    pub(crate) fn read(&mut self, document: &Document<'a>) {
        for transaction in document.transactions().filter(|of| of.identifier() == b"837") {
            self.transaction(document, &transaction);
        }
    }

    fn transaction(&mut self, document: &Document<'a>, transaction: &Transaction<'_, 'a>) {
        let group = transaction.group().number().min(document.segments().len());
        let header = document.segments()[..group].iter().rev().find(|segment| segment.identifier() == "ISA");
        self.interchange = header.map_or_else(String::new, |header| control_number(header.element(13)));
        let first = transaction.segments().first();
        self.transaction = first.map_or_else(String::new, |first| control_number(first.element(2)));
        let mut walker = Walker::default();
        for segment in transaction.segments() {
            let place = walker.place(segment);
            match place.area {
                Area::Heading => {
                    self.close();
                    let is_provider = segment.identifier() == "NM1" && segment.element(1) == b"85";
                    if is_provider && place.level == Some(Level::Source) {
                        self.provider = segment.element(9);
                    }
                }
                Area::Claim | Area::Line => self.segment(segment),
            }
        }
        self.close();
    }

    fn segment(&mut self, segment: &Segment<'a>) {
        let element = |number| segment.element(number);
        if segment.identifier() == "CLM" {
            self.close();
            let frequency = segment.components(5).nth(2).unwrap_or_default();
            self.open =
                Some(Open { segment: segment.number(), number: element(1), frequency, ..Open::default() });
            return;
        }
        let Some(open) = &mut self.open else { return };
        match segment.identifier() {
            "LX" if open.lines.len() < LINES_MAX => open.lines.push(OpenLine::default()),
            "SV1" => open.service(segment, 1),
            "SV2" => open.service(segment, 2),
            // 472 is the service, 434 the statement of an institution; of a range the first day.
            "DTP" if matches!(element(1), b"472" | b"434") => match open.lines.last_mut() {
                Some(line) => line.date = element(3),
                None => open.date = element(3),
            },
            "REF" => {
                let is_one = |of: &[String]| of.iter().any(|qualifier| qualifier.as_bytes() == element(1));
                if is_one(&self.settings.record_qualifiers) && open.lines.is_empty() {
                    open.record = element(2);
                } else if is_one(&self.settings.accession_qualifiers) {
                    match open.lines.last_mut() {
                        Some(line) => line.accession = element(2),
                        None => open.accession = element(2),
                    }
                }
            }
            _ => {}
        }
    }

    /// Ends the claim that is open. One without lines for imaging matters only where it changes one before it.
    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let frequency = match open.frequency {
            b"6" | b"7" => Frequency::Replacement,
            b"8" => Frequency::Void,
            _ => Frequency::Original,
        };
        let mut lines = Vec::new();
        for line in &open.lines {
            let code = String::from_utf8_lossy(line.code).to_ascii_uppercase();
            let fits = if is_code(&code) { self.crosswalk.of(&code) } else { Vec::new() };
            if fits.is_empty() {
                continue;
            }
            let first = |one: &'a [u8], other: &'a [u8]| if one.is_empty() { other } else { one };
            let date = first(line.date, open.date);
            let accession = number(Kind::Accession, &[first(line.accession, open.accession)]);
            let visit = number(Kind::Visit, &[open.record, date.get(..8).unwrap_or_default()]);
            let Some(day) = day_of(date).filter(|_| accession.is_some() || visit.is_some()) else {
                self.incomplete += 1;
                continue;
            };
            let component = line.component.unwrap_or(Component::Global);
            lines.push(Line { accession, visit, code, component, fits, day });
        }
        if lines.is_empty() && frequency == Frequency::Original {
            return;
        }
        let at = format!("{}/{}/{}", self.interchange, self.transaction, open.segment);
        // A provider without a number is told from others by nothing, and its claims by their own numbers.
        let provider = if self.provider.is_empty() { b"-" } else { self.provider };
        self.claims.push(Claim {
            number: number(Kind::Claim, &[provider, open.number]),
            frequency,
            lines,
            at,
        });
    }
}

impl<'a> Open<'a> {
    /// Qualifier, code and up to four modifiers.
    fn service(&mut self, segment: &Segment<'a>, procedure: usize) {
        let Some(line) = self.lines.last_mut() else { return };
        let mut parts = segment.components(procedure);
        // HC is CPT and HCPCS.
        if parts.next() != Some(b"HC") {
            return;
        }
        line.code = parts.next().unwrap_or_default();
        line.component = parts.take(4).find_map(|modifier| match modifier {
            b"26" => Some(Component::Professional),
            b"TC" => Some(Component::Technical),
            _ => None,
        });
    }
}

/// A control number of at most nine digits or letters; anything else is not told.
fn control_number(element: &[u8]) -> String {
    let text = std::str::from_utf8(element).unwrap_or_default().trim();
    let plain = text.len() <= 9 && text.bytes().all(|octet| octet.is_ascii_alphanumeric());
    if plain { text.to_owned() } else { String::new() }
}
