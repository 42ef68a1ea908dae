//! HL7 version 2: whatever is read can be written back octet for octet, part by part.

use hilum_formats::Edits;
use hilum_formats::hl7::{Document, Part, SegmentBuilder, encode};

use crate::memory;

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

/// Reads a text, writes every part of it anew, and compares.
pub fn check(text: &[u8]) {
    let Ok(document) = Document::parse(text) else { return };
    let mut same = Edits::new();
    let mut rebuilt = Vec::new();
    let mut reached = 0;
    for segment in document.segments() {
        let delimiters = segment.delimiters();
        rebuilt.extend_from_slice(&text[reached..segment.line().offset]);
        assert!(text[reached..segment.line().offset].iter().all(|octet| matches!(octet, b'\r' | b'\n')));
        reached = segment.whole_span().end;
        rebuilt.extend_from_slice(segment.name().as_bytes());
        let skipped = if segment.is_header() { 2 } else { 0 };
        if skipped > 0 {
            rebuilt.push(delimiters.field);
            rebuilt.extend(delimiters.encoding_characters());
        }
        for (number, field) in segment.fields() {
            // `nth` for each field is quadratic: the first ones will do.
            assert!(number > 32 || segment.field(number) == Some(field));
            check_part(text, field);
            same.replace(field.span(), field.text);
            if number <= skipped {
                continue;
            }
            rebuilt.push(delimiters.field);
            for (index, repetition) in field.repetitions(&delimiters).enumerate() {
                rebuilt.extend((index > 0).then_some(delimiters.repetition));
                for (index, component) in repetition.components(&delimiters).enumerate() {
                    rebuilt.extend((index > 0).then_some(delimiters.component));
                    for (index, part) in component.subcomponents(&delimiters).enumerate() {
                        rebuilt.extend((index > 0).then_some(delimiters.subcomponent));
                        check_part(text, part);
                        rebuilt.extend_from_slice(part.text);
                        let value = part.decode(&delimiters);
                        let escaped = encode(&value, &delimiters);
                        let again = Part { text: &escaped, offset: 0 }.decode(&delimiters).into_owned();
                        assert_eq!(again, value.as_ref(), "a value survives escaping");
                    }
                }
            }
        }
        rebuilt.extend_from_slice(&text[segment.line().span().end..reached]);
    }
    rebuilt.extend_from_slice(&text[reached..]);
    assert_eq!(rebuilt, text, "the parts put together are the text");
    assert_eq!(same.apply(text).as_deref(), Ok(text));
    for message in document.messages() {
        assert_eq!(message.segments()[0].name(), "MSH");
        let _ = (message.message_code(), message.trigger_event(), message.control_id(), message.version());
        assert!(message.character_sets().all(|part| !part.is_empty()));
    }
    left_out(text, &document);
}

fn check_part(text: &[u8], part: Part<'_>) {
    assert_eq!(&text[part.span()], part.text);
}

/// What is left when every second segment is left out is a text of the others. Headers and trailers stay: they say how those
/// after them are delimited.
fn left_out(text: &[u8], document: &Document<'_>) {
    let mut edits = Edits::new();
    let mut kept = Vec::new();
    for segment in document.segments() {
        let stays = segment.is_header() || matches!(segment.name(), "BTS" | "FTS");
        if segment.number() % 2 == 0 && !stays {
            edits.remove(segment.whole_span());
        } else {
            kept.push(segment.line().text);
        }
    }
    let fewer = edits.apply(text).expect("segments do not overlap");
    let fewer = Document::parse(&fewer).expect("the segments that are left are still segments");
    assert!(fewer.segments().iter().map(|segment| segment.line().text).eq(kept));
}

/// Messages with every construct of the encoding.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut built = SegmentBuilder::new("MSH").text(7, "2026").components(9, &["ADT", "A01"]).finish();
    built.extend(
        SegmentBuilder::new("PID").repetitions(3, &[&["1", "A&B"], &["2"]]).text(5, "a|b\\").finish(),
    );
    vec![
        b"MSH|^~\\&|LAB|ST-MARYS|||20261123101500||ORU^R01^ORU_R01|7|P|2.5.1||||||8859/1~UNICODE UTF-8\r\
PID|1||4711^^^ST-MARYS^MR~99^^^GOV^SS||Doe^Jane||1970\rOBR|1||||\r\
OBX|1|TX|8^T&x||a\\T\\b \\.br\\ c\\X41\\|\"\"\r"
            .to_vec(),
        b"FHS|^~\\&\rBHS|^~\\&\rMSH|^~\\&||||||||a\rPID|1\rMSH*%~\\&********b\rPID*1\rBTS|2\rFTS|1\r"
            .to_vec(),
        b"MSH|^~\\&#|A|B\r\nNTE|1||cut#\r\n\r\n".to_vec(),
        b"\nMSH|^~\\&\nZ01".to_vec(),
        built,
    ]
}
