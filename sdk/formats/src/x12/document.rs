//! Finds the segments of a text and the transactions among them.

use super::{ELEMENTS_MAX, Error, HEADER_OCTETS, Problem, Segment, Separators};

/// Octets of one text, at most.
pub const OCTETS_MAX: usize = 64 << 20;
/// Segments of one text, at most.
pub const SEGMENTS_MAX: usize = 1_000_000;

/// One interchange or several.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    segments: Vec<Segment<'a>>,
    /// For each transaction its group's header, its own first segment and the one after its last.
    transactions: Vec<(usize, usize, usize)>,
}

impl<'a> Document<'a> {
    /// Finds the segments and checks how interchanges, groups and transactions are nested. Line ends after a
    /// terminator belong to the segment before.
    ///
    /// # Errors
    /// The first place where the text is not one of interchanges. Counts and control numbers are not looked at; see
    /// [`Document::check_counts`].
    pub fn parse(text: &'a [u8]) -> Result<Document<'a>, Error> {
        if text.len() > OCTETS_MAX {
            return Err(Error { segment: 1, offset: OCTETS_MAX, problem: Problem::TooLong });
        }
        let mut reader = Reader::default();
        let mut offset = line_ends(text, 0);
        while offset < text.len() {
            offset = reader.segment(text, offset)?;
        }
        reader.finish(text.len())
    }

    /// All segments, in order.
    pub fn segments(&self) -> &[Segment<'a>] {
        &self.segments
    }

    /// The transactions, in order.
    pub fn transactions(&self) -> impl Iterator<Item = Transaction<'_, 'a>> {
        self.transactions.iter().map(|(group, start, end)| Transaction {
            group: &self.segments[*group],
            segments: &self.segments[*start..*end],
        })
    }
}

/// One transaction, from ST to SE.
#[derive(Clone, Copy, Debug)]
pub struct Transaction<'d, 'a> {
    group: &'d Segment<'a>,
    segments: &'d [Segment<'a>],
}

impl<'d, 'a> Transaction<'d, 'a> {
    /// Its segments; the first is ST and the last SE.
    pub fn segments(&self) -> &'d [Segment<'a>] {
        self.segments
    }

    /// What it is: `837`, `835`, `270`, `271` and so on, from ST01.
    pub fn identifier(&self) -> &'a [u8] {
        self.segments[0].element(1)
    }

    /// The implementation guide it follows, e.g. `005010X222A1`: ST03, or GS08 where ST03 is not sent.
    pub fn guide(&self) -> &'a [u8] {
        match self.segments[0].element(3) {
            [] => self.group.element(8),
            guide => guide,
        }
    }

    /// The header of its functional group, GS.
    pub fn group(&self) -> &'d Segment<'a> {
        self.group
    }
}

/// How deep in the envelopes the reader is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Depth {
    #[default]
    Outside,
    Interchange,
    Group,
    Transaction,
}

/// What has been read so far.
#[derive(Default)]
struct Reader<'a> {
    segments: Vec<Segment<'a>>,
    transactions: Vec<(usize, usize, usize)>,
    separators: Separators,
    depth: Depth,
    group: usize,
    start: usize,
}

impl<'a> Reader<'a> {
    /// Reads the segment at an offset; gives the offset of the next.
    fn segment(&mut self, text: &'a [u8], offset: usize) -> Result<usize, Error> {
        let number = self.segments.len() + 1;
        let fault = |problem| Error { segment: number, offset, problem };
        if number > SEGMENTS_MAX {
            return Err(fault(Problem::TooManySegments));
        }
        let rest = &text[offset..];
        let length = if self.depth == Depth::Outside {
            self.separators = Separators::of_header(rest).ok_or(fault(Problem::Header))?;
            HEADER_OCTETS - 1
        } else {
            let terminator = self.separators.terminator;
            rest.iter().position(|octet| *octet == terminator).ok_or(fault(Problem::Unterminated))?
        };
        let end = line_ends(text, offset + length + 1);
        let segment = Segment { text: &rest[..length], offset, end, number, separators: self.separators };
        check_shape(&segment).map_err(fault)?;
        self.depth = self.nest(&segment).ok_or(fault(Problem::Nesting))?;
        self.segments.push(segment);
        Ok(end)
    }

    /// The depth after a segment; none if it is out of place.
    fn nest(&mut self, segment: &Segment<'_>) -> Option<Depth> {
        let index = self.segments.len();
        match (self.depth, segment.identifier()) {
            (Depth::Outside, "ISA") | (Depth::Interchange, "TA1") | (Depth::Group, "GE") => {
                Some(Depth::Interchange)
            }
            (Depth::Interchange, "GS") => {
                self.group = index;
                Some(Depth::Group)
            }
            (Depth::Group, "ST") => {
                self.start = index;
                Some(Depth::Transaction)
            }
            (Depth::Transaction, "SE") => {
                self.transactions.push((self.group, self.start, index + 1));
                Some(Depth::Group)
            }
            (Depth::Interchange, "IEA") => Some(Depth::Outside),
            (Depth::Transaction, "ISA" | "GS" | "ST" | "GE" | "IEA" | "TA1") => None,
            (Depth::Transaction, _) => Some(Depth::Transaction),
            _ => None,
        }
    }

    fn finish(self, offset: usize) -> Result<Document<'a>, Error> {
        let fault = |problem| Error { segment: self.segments.len() + 1, offset, problem };
        if self.segments.is_empty() {
            return Err(fault(Problem::Empty));
        }
        if self.depth != Depth::Outside {
            return Err(fault(Problem::Open));
        }
        Ok(Document { segments: self.segments, transactions: self.transactions })
    }
}

fn check_shape(segment: &Segment<'_>) -> Result<(), Problem> {
    let mut elements = segment.text.split(|octet| *octet == segment.separators.element);
    let identifier = elements.next().unwrap_or_default();
    let letters = |octet: &u8| octet.is_ascii_uppercase() || octet.is_ascii_digit();
    if !(2..=3).contains(&identifier.len()) || !identifier.iter().all(letters) {
        return Err(Problem::Identifier);
    }
    if elements.count() > ELEMENTS_MAX {
        return Err(Problem::TooManyElements);
    }
    Ok(())
}

/// The offset after the line ends at an offset.
fn line_ends(text: &[u8], offset: usize) -> usize {
    let rest = text.get(offset..).unwrap_or_default();
    offset + rest.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count()
}
