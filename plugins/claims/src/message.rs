//! What an HL7v2 message says was done: results (ORU^R01, chapter 7.3.1) and orders that are completed or cancelled (ORM^O01, 4.4.1).

use std::collections::BTreeMap;

use hilum_formats::hl7::{Document, Message, Segment};

use crate::clinical::{Seen, day_of};
use crate::mac::{Kind, number};
use crate::notice::What;

/// Procedures of one record.
pub(crate) const PROCEDURES_MAX: usize = 256;

/// Where the hospital's systems put what.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) accession_fields: Vec<usize>,
    /// By procedure code.
    pub(crate) procedures: BTreeMap<String, What>,
}

/// Reads the procedures of all messages of a record.
///
/// # Errors
/// Where the octets are no messages; no value is named.
pub(crate) fn read(octets: &[u8], reading: &Reading) -> Result<Vec<Seen>, String> {
    let document = Document::parse(octets).map_err(|_| "no HL7v2 message".to_owned())?;
    let mut found = Vec::new();
    for message in document.messages() {
        match (&*message.message_code(), &*message.trigger_event()) {
            (b"ORU", b"R01") => procedures(&message, reading, false, &mut found),
            (b"ORM", b"O01") => procedures(&message, reading, true, &mut found),
            _ => {}
        }
    }
    found.truncate(PROCEDURES_MAX);
    Ok(found)
}

fn procedures(message: &Message<'_, '_>, reading: &Reading, is_order: bool, found: &mut Vec<Seen>) {
    let mut patient = Vec::new();
    let mut order = None;
    for segment in message.segments() {
        match segment.name() {
            "PID" => patient = component(segment, 3, 1),
            "ORC" => order = Some((component(segment, 1, 1), component(segment, 5, 1))),
            "OBR" => {
                let (is_done, cancelled) = standing(segment, order.as_ref(), is_order);
                if is_done || cancelled {
                    found.extend(procedure(segment, &patient, reading, cancelled));
                }
            }
            _ => {}
        }
    }
}

/// Whether the procedure was done, and whether it was called off. An order by itself says neither.
fn standing(obr: &Segment<'_>, order: Option<&(Vec<u8>, Vec<u8>)>, is_order: bool) -> (bool, bool) {
    let status = component(obr, 25, 1);
    let (control, order) = order.map_or((&[][..], &[][..]), |(control, status)| (control, status));
    let cancelled = status == b"X" || matches!(control, b"CA" | b"OC" | b"CR") || order == b"CA";
    let is_done = if is_order { order == b"CM" } else { !matches!(&status[..], b"O" | b"S" | b"I") };
    (is_done && !cancelled, cancelled)
}

fn procedure(obr: &Segment<'_>, patient: &[u8], reading: &Reading, cancelled: bool) -> Option<Seen> {
    let accession = reading.accession_fields.iter().map(|field| component(obr, *field, 1));
    let accession = accession.into_iter().find(|number| !number.is_empty()).unwrap_or_default();
    // When it was observed; when it was reported, where that is not said.
    let date =
        [7, 22].map(|field| component(obr, field, 1)).into_iter().find(|date| day_of(date).is_some())?;
    let code = String::from_utf8_lossy(&component(obr, 4, 1)).into_owned();
    let what = reading.procedures.get(&code).cloned().unwrap_or_default();
    let seen = Seen {
        accession: number(Kind::Accession, &[&accession]),
        study: None,
        visit: number(Kind::Visit, &[patient, &date[..8]]),
        what,
        day: day_of(&date)?,
        old: false,
        cancelled,
    };
    Some(seen).filter(Seen::is_named)
}

/// A component of the first repetition of a field, decoded; empty where it is not there.
fn component(segment: &Segment<'_>, field: usize, number: usize) -> Vec<u8> {
    let delimiters = segment.delimiters();
    let Some(field) = segment.field(field) else { return Vec::new() };
    let Some(first) = field.repetitions(&delimiters).next() else { return Vec::new() };
    first.component(number, &delimiters).decode(&delimiters).into_owned()
}
