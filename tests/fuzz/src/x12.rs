//! X12: whatever is read can be written back octet for octet, and counts that were set right are right.

use hilum_formats::Edits;
use hilum_formats::x12::{Document, Interchange, Separators, Walker, recount, segment};

use crate::memory;

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

/// Reads a text, writes every part of it anew, and compares.
pub fn check(text: &[u8]) {
    let Ok(document) = Document::parse(text) else { return };
    let mut rebuilt = Vec::new();
    let mut reached = 0;
    for segment in document.segments() {
        let separators = segment.separators();
        rebuilt.extend_from_slice(&text[reached..segment.offset()]);
        assert!(text[reached..segment.offset()].iter().all(|octet| matches!(octet, b'\r' | b'\n')));
        reached = segment.whole_span().end;
        assert_eq!(&text[segment.span()], segment.text());
        assert_eq!(text[segment.span().end], separators.terminator);
        rebuilt.extend_from_slice(segment.identifier().as_bytes());
        for (index, element) in segment.elements().enumerate() {
            assert_eq!(segment.element(index + 1), element);
            rebuilt.push(separators.element);
            for (index, component) in segment.components(index + 1).enumerate() {
                rebuilt.extend((index > 0).then_some(separators.component));
                rebuilt.extend_from_slice(component);
            }
        }
        rebuilt.extend_from_slice(&text[segment.span().end..reached]);
    }
    rebuilt.extend_from_slice(&text[reached..]);
    assert_eq!(rebuilt, text, "the parts put together are the text");
    for transaction in document.transactions() {
        let segments = transaction.segments();
        assert_eq!((segments[0].identifier(), segments[segments.len() - 1].identifier()), ("ST", "SE"));
        assert_eq!(transaction.group().identifier(), "GS");
        let _ = (transaction.identifier(), transaction.guide());
        let mut walker = Walker::default();
        segments.iter().for_each(|segment| {
            walker.place(segment);
        });
    }
    counts(text, &document);
}

/// Counts that are right stay as they are; after segments were left out they can be set right.
fn counts(text: &[u8], document: &Document<'_>) {
    let right = recount(text).expect("it was parsed before");
    let again = Document::parse(&right).expect("setting counts right leaves the rest alone");
    assert_eq!(again.segments().len(), document.segments().len());
    assert_eq!(recount(&right).as_deref(), Ok(&right[..]), "what is right stays");
    if document.check_counts().is_ok() {
        assert_eq!(right, text);
    }
    let mut edits = Edits::new();
    for segment in document.segments().iter().filter(|segment| segment.identifier() == "REF") {
        edits.remove(segment.whole_span());
    }
    let fewer = edits.apply(text).expect("segments do not overlap");
    let fewer = recount(&fewer).expect("a segment inside a transaction may be left out");
    Document::parse(&fewer).expect("setting counts right leaves the rest alone");
}

/// Interchanges: a claim, several transactions, other separators, an older version without repetitions.
pub fn seeds() -> Vec<Vec<u8>> {
    let usual = Separators::default();
    let other = Separators { element: b'|', component: b'>', repetition: Some(b'!'), terminator: b'\n' };
    let plain = interchange(&usual, "");
    let text = String::from_utf8(plain.clone()).expect("it is ASCII");
    vec![
        plain,
        interchange(&usual, "\r\n"),
        interchange(&other, ""),
        text.replace("*^*00501*", "*U*00401*").into_bytes(),
        [text.as_bytes(), text.as_bytes()].concat(),
    ]
}

/// One interchange with two claims.
pub(crate) fn interchange(separators: &Separators, end: &str) -> Vec<u8> {
    let place = format!("11{}B{0}1", char::from(separators.component));
    let claim: [(&str, &[&str]); 16] = [
        ("ST", &["837", "0021", "005010X222A1"]),
        ("BHT", &["0019", "00", "0123", "20261015", "1023", "CH"]),
        ("NM1", &["41", "2", "BILLING", "", "", "", "", "46", "TGJ23"]),
        ("HL", &["1", "", "20", "1"]),
        ("NM1", &["85", "1", "DOE", "JOHN", "", "", "", "XX", "1999996666"]),
        ("HL", &["2", "1", "22", "1"]),
        ("SBR", &["P", "", "", "", "", "", "", "", "CI"]),
        ("NM1", &["IL", "1", "DOE", "JANE", "", "", "", "MI", "4711"]),
        ("DMG", &["D8", "19700101", "F"]),
        ("CLM", &["26407789", "79.04", "", "", &place, "Y"]),
        ("REF", &["EA", "44"]),
        ("LX", &["1"]),
        ("SV1", &["HC", "43", "UN", "1"]),
        ("REF", &["6R", "1"]),
        ("K3", &["X"]),
        ("SE", &["16", "0021"]),
    ];
    let envelope: [(&str, &[&str]); 1] =
        [("GS", &["HC", "A", "B", "20261015", "1023", "7", "X", "005010X222A1"])];
    let trailers: [(&str, &[&str]); 2] = [("GE", &["2", "7"]), ("IEA", &["1", "000000001"])];
    let mut text = Interchange::default().header(separators).expect("the values fit");
    text.extend_from_slice(end.as_bytes());
    for (identifier, elements) in envelope.iter().chain(&claim).chain(&claim).chain(&trailers) {
        text.extend(segment(identifier, elements, separators).expect("no value holds a separator"));
        text.extend_from_slice(end.as_bytes());
    }
    text
}
