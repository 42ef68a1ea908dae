//! Finds the segments of a text and the messages among them (v2.5.1 sections 2.5.1 and 2.10.3).

use std::borrow::Cow;

use memchr::{memchr_iter, memchr2};

use super::segment::is_header;
use super::{Delimiters, Error, FIELDS_MAX, Part, Problem, Segment};

/// Octets of one text, at most.
pub const OCTETS_MAX: usize = 64 << 20;
/// Segments of one text, at most.
pub const SEGMENTS_MAX: usize = 100_000;

/// One message, several, or a batch file (`FHS`, `BHS`, messages, `BTS`, `FTS`).
#[derive(Clone, Debug)]
pub struct Document<'a> {
    segments: Vec<Segment<'a>>,
}

impl<'a> Document<'a> {
    /// Finds the segments. A segment may end in a carriage return, as the standard has it, in a line feed, or in both;
    /// empty lines are passed over.
    ///
    /// # Errors
    /// The first place where the text is not one of messages.
    pub fn parse(text: &'a [u8]) -> Result<Document<'a>, Error> {
        if text.len() > OCTETS_MAX {
            return Err(Error { segment: 1, offset: OCTETS_MAX, problem: Problem::TooLong });
        }
        let mut reader = Reader::default();
        for (line, end) in lines(text) {
            reader.segment(line, end)?;
        }
        if reader.segments.is_empty() {
            return Err(Error { segment: 1, offset: 0, problem: Problem::Empty });
        }
        Ok(Document { segments: reader.segments })
    }

    /// All segments, in order.
    pub fn segments(&self) -> &[Segment<'a>] {
        &self.segments
    }

    /// The messages, without the headers and trailers of batches and files.
    pub fn messages(&self) -> impl Iterator<Item = Message<'_, 'a>> {
        let envelope = |segment: &Segment<'_>| matches!(segment.name(), "BHS" | "FHS" | "BTS" | "FTS");
        self.segments
            .split(envelope)
            .flat_map(|between| between.chunk_by(|_, next| next.name() != "MSH"))
            .map(|segments| Message { segments })
    }
}

/// The segments of one message, from its MSH on.
#[derive(Clone, Copy, Debug)]
pub struct Message<'d, 'a> {
    segments: &'d [Segment<'a>],
}

impl<'d, 'a> Message<'d, 'a> {
    /// Its segments; the first is MSH.
    pub fn segments(&self) -> &'d [Segment<'a>] {
        self.segments
    }

    /// The message code, e.g. `ORU`: MSH-9.1.
    pub fn message_code(&self) -> Cow<'a, [u8]> {
        self.header(9, 1)
    }

    /// The trigger event, e.g. `R01`: MSH-9.2.
    pub fn trigger_event(&self) -> Cow<'a, [u8]> {
        self.header(9, 2)
    }

    /// The message control identifier: MSH-10.
    pub fn control_id(&self) -> Cow<'a, [u8]> {
        self.header(10, 1)
    }

    /// The version, e.g. `2.5.1`: MSH-12.1.
    pub fn version(&self) -> Cow<'a, [u8]> {
        self.header(12, 1)
    }

    /// The character sets of MSH-18, as they stand (HL7 table 0211); none means ASCII.
    pub fn character_sets(&self) -> impl Iterator<Item = Part<'a>> + use<'a> {
        let header = &self.segments[0];
        header.field(18).unwrap_or_default().repetitions(&header.delimiters).filter(|part| !part.is_empty())
    }

    fn header(&self, field: usize, component: usize) -> Cow<'a, [u8]> {
        let header = &self.segments[0];
        let part = header.field(field).unwrap_or_default();
        part.component(component, &header.delimiters).decode(&header.delimiters)
    }
}

/// What has been read so far.
#[derive(Default)]
struct Reader<'a> {
    segments: Vec<Segment<'a>>,
    delimiters: Option<Delimiters>,
    /// Those of the batch and of the file around the message, which their trailers use again.
    batch: Option<Delimiters>,
    file: Option<Delimiters>,
    in_message: bool,
}

impl<'a> Reader<'a> {
    fn segment(&mut self, line: Part<'a>, end: usize) -> Result<(), Error> {
        let number = self.segments.len() + 1;
        let fault = |problem| Error { segment: number, offset: line.offset, problem };
        if number > SEGMENTS_MAX {
            return Err(fault(Problem::TooManySegments));
        }
        let delimiters = if is_header(line.text) {
            Delimiters::of_header(line.text).ok_or(fault(Problem::Delimiters))?
        } else {
            self.delimiters_above(line.text).ok_or(fault(Problem::NoHeader))?
        };
        match line.text.get(..3) {
            Some(b"FHS") => self.file = Some(delimiters),
            Some(b"BHS") => self.batch = Some(delimiters),
            _ => {}
        }
        self.delimiters = Some(delimiters);
        if !is_named(line.text, delimiters.field) {
            return Err(fault(Problem::Name));
        }
        if memchr_iter(delimiters.field, line.text).count() > FIELDS_MAX {
            return Err(fault(Problem::TooManyFields));
        }
        self.in_message = match &line.text[..3] {
            b"MSH" => true,
            b"BHS" | b"FHS" | b"BTS" | b"FTS" => false,
            _ if self.in_message => true,
            _ => return Err(fault(Problem::OutsideMessage)),
        };
        self.segments.push(Segment { line, end, number, delimiters });
        Ok(())
    }

    /// The delimiters of the header that a line belongs to.
    fn delimiters_above(&self, line: &[u8]) -> Option<Delimiters> {
        match line.get(..3) {
            Some(b"FTS") => self.file.or(self.delimiters),
            Some(b"BTS") => self.batch.or(self.delimiters),
            _ => self.delimiters,
        }
    }
}

/// Whether a line begins with a segment's name and then ends or goes on with a field separator.
fn is_named(line: &[u8], field: u8) -> bool {
    let Some((name, rest)) = line.split_first_chunk::<3>() else { return false };
    name[0].is_ascii_uppercase()
        && name[1..].iter().all(|octet| octet.is_ascii_uppercase() || octet.is_ascii_digit())
        && rest.first().is_none_or(|octet| *octet == field)
}

/// The lines that are not empty, each with the offset at which its terminator ends.
fn lines(text: &[u8]) -> impl Iterator<Item = (Part<'_>, usize)> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        let rest = text.get(offset..).filter(|rest| !rest.is_empty())?;
        let length = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let terminator = match &rest[length..] {
            [] => 0,
            [b'\r', b'\n', ..] => 2,
            _ => 1,
        };
        let line = Part { text: &rest[..length], offset };
        offset += length + terminator;
        Some((line, offset))
    })
    .filter(|(line, _)| !line.is_empty())
}
