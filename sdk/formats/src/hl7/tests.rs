//! Whole messages: real ones, broken ones and any at all.

use proptest::prelude::*;

use super::*;
use crate::Edits;

const ORU: &[u8] =
    b"MSH|^~\\&|LAB|ST-MARYS|||20261123101500||ORU^R01^ORU_R01|7|P|2.5.1||||||8859/1~UNICODE UTF-8\r\
PID|1||4711^^^ST-MARYS^MR~99^^^GOV^SS||Doe^Jane||1970\r\
OBR|1||||\r\
OBX|1|TX|8^T&x||a\\T\\b \\.br\\ c\\X41\\|\r";

fn first(document: &Document<'_>) -> Vec<String> {
    document.messages().map(|message| String::from_utf8(message.control_id().into_owned()).unwrap()).collect()
}

#[test]
fn a_message_gives_its_parts() {
    let document = Document::parse(ORU).unwrap();
    let message = document.messages().next().unwrap();
    assert_eq!(message.message_code().as_ref(), b"ORU");
    assert_eq!(message.trigger_event().as_ref(), b"R01");
    assert_eq!(message.version().as_ref(), b"2.5.1");
    let sets: Vec<&[u8]> = message.character_sets().map(|part| part.text).collect();
    assert_eq!(sets, [&b"8859/1"[..], b"UNICODE UTF-8"]);

    let patient = message.segments()[1];
    let delimiters = patient.delimiters();
    assert_eq!((patient.name(), patient.number()), ("PID", 2));
    let identifiers: Vec<_> = patient.field(3).unwrap().repetitions(&delimiters).collect();
    assert_eq!(identifiers[1].components(&delimiters).nth(4).unwrap().text, b"SS");
    assert_eq!(&ORU[identifiers[1].span()], b"99^^^GOV^SS");
    assert!(patient.field(8).is_none());
    assert!(patient.field(0).is_none());

    let observation = message.segments()[3];
    let subcomponents: Vec<_> =
        observation.field(3).unwrap().component(2, &delimiters).subcomponents(&delimiters).collect();
    assert_eq!(subcomponents[1].text, b"x");
    assert_eq!(observation.field(5).unwrap().decode(&delimiters).as_ref(), b"a&b \\.br\\ cA");
}

#[test]
fn the_first_two_fields_of_a_header_are_its_delimiters() {
    let document = Document::parse(ORU).unwrap();
    let fields: Vec<_> = document.segments()[0].fields().take(3).map(|(n, part)| (n, part.text)).collect();
    assert_eq!(fields, [(1, &b"|"[..]), (2, b"^~\\&"), (3, b"LAB")]);
}

#[test]
fn any_line_end_will_do() {
    for end in ["\r", "\n", "\r\n", "\r\r\n"] {
        let text = String::from_utf8(ORU.to_vec()).unwrap().replace('\r', end);
        let document = Document::parse(text.as_bytes()).unwrap();
        assert_eq!(document.segments().len(), 4, "{end:?}");
        let spans: Vec<_> = document.segments().iter().map(Segment::whole_span).collect();
        assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start));
    }
    assert_eq!(
        Document::parse(&ORU[..ORU.len() - 1]).unwrap().segments().len(),
        4,
        "the last end may be missing"
    );
}

#[test]
fn batches_and_streams_give_their_messages() {
    let batch = b"FHS|^~\\&\rBHS|^~\\&\rMSH|^~\\&||||||||a\rPID|1\rMSH*%~\\&********b\rPID*1\rBTS|2\rFTS|1\r";
    let document = Document::parse(batch).unwrap();
    assert_eq!(first(&document), ["a", "b"]);
    assert_eq!(document.messages().nth(1).unwrap().segments()[1].field(1).unwrap().text, b"1");
}

#[test]
fn errors_say_where_and_never_what() {
    let cases: [(&[u8], usize, usize, Problem); 8] = [
        (b"", 1, 0, Problem::Empty),
        (b"\r\n", 1, 0, Problem::Empty),
        (b"PID|1\r", 1, 0, Problem::NoHeader),
        (b"MSH|^~\\&|\rSecret\r", 2, 10, Problem::Name),
        (b"MSH|^~\\&|\rPIDSecret\r", 2, 10, Problem::Name),
        (b"MSH|^^^^|\r", 1, 0, Problem::Delimiters),
        (b"BHS|^~\\&|\rPID|1\r", 2, 10, Problem::OutsideMessage),
        (b"\x0bMSH|^~\\&|\r", 1, 0, Problem::NoHeader),
    ];
    for (text, segment, offset, problem) in cases {
        let error = Document::parse(text).unwrap_err();
        assert_eq!(error, Error { segment, offset, problem });
        assert!(!error.to_string().contains("Secret"));
    }
    let wide = [&b"MSH|^~\\&|\rPID"[..], &vec![b'|'; FIELDS_MAX + 1]].concat();
    assert_eq!(Document::parse(&wide).unwrap_err().problem, Problem::TooManyFields);
    let long = [&b"MSH|^~\\&|\r"[..], &b"NTE\r".repeat(SEGMENTS_MAX)].concat();
    assert_eq!(Document::parse(&long).unwrap_err().problem, Problem::TooManySegments);
}

#[test]
fn an_escape_character_that_begins_nothing_is_text() {
    let delimiters = Delimiters::default();
    for text in [&b"\\"[..], b"a\\b", b"\\Xzz\\", b"\\X4\\", b"\\X\\", b"\\H\\bold\\N\\", b"\\P\\"] {
        assert_eq!(decode(text, &delimiters).as_ref(), text);
    }
    assert_eq!(decode(b"\\\\F\\", &delimiters).as_ref(), b"\\|");
}

/// A field's worth of text, possibly with delimiters and escapes in it.
fn field() -> impl Strategy<Value = String> {
    "[ -{}~]{0,12}"
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let segment = ("[A-Z][A-Z0-9]{2}", prop::collection::vec(field(), 0..12))
        .prop_filter("headers and trailers are added by the test", |(name, _)| {
            !["MSH", "BHS", "FHS", "BTS", "FTS"].contains(&name.as_str())
        })
        .prop_map(|(name, fields)| format!("{name}|{}", fields.join("|")));
    let end = prop::sample::select(vec!["\r", "\n", "\r\n"]);
    (prop::collection::vec((segment, end), 0..8)).prop_map(|segments| {
        let mut text = "MSH|^~\\&|A|B|||2026||ADT^A01|1|P|2.5.1\r".to_owned();
        for (segment, end) in segments {
            text.push_str(&segment);
            text.push_str(end);
        }
        text.into_bytes()
    })
}

/// Everything a reader may do with a document; gives the parts put together again.
fn walk(text: &[u8]) -> Option<Vec<u8>> {
    let document = Document::parse(text).ok()?;
    let mut edits = Edits::new();
    for segment in document.segments() {
        let delimiters = segment.delimiters();
        for (number, field) in segment.fields() {
            assert_eq!(&text[field.span()], field.text);
            assert_eq!(segment.field(number), Some(field));
            for repetition in field.repetitions(&delimiters) {
                for component in repetition.components(&delimiters) {
                    for part in component.subcomponents(&delimiters) {
                        assert_eq!(&text[part.span()], part.text);
                        let _ = part.decode(&delimiters);
                    }
                }
            }
            edits.replace(field.span(), field.text);
        }
    }
    assert!(document.messages().all(|message| message.segments()[0].name() == "MSH"));
    Some(edits.apply(text).unwrap())
}

proptest! {
    #[test]
    fn a_valid_message_is_written_back_octet_for_octet(text in message()) {
        prop_assert_eq!(walk(&text), Some(text));
    }

    #[test]
    fn arbitrary_octets_never_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
        walk(&text);
        walk(&[b"MSH|^~\\&|", text.as_slice()].concat());
    }

    #[test]
    fn a_message_cut_anywhere_never_panics(text in message(), at in any::<prop::sample::Index>()) {
        walk(&text[..at.index(text.len())]);
    }

    #[test]
    fn any_text_survives_escaping(text in prop::collection::vec(any::<u8>(), 0..60), truncating in any::<bool>()) {
        let delimiters = Delimiters { truncation: truncating.then_some(b'#'), ..Delimiters::default() };
        let encoded = encode(&text, &delimiters);
        prop_assert!(!encoded.iter().any(|octet| b"|^~&\r\n".contains(octet)));
        prop_assert_eq!(decode(&encoded, &delimiters).into_owned(), text);
    }

    #[test]
    fn what_is_built_is_read(values in prop::collection::vec("[ -~éß]{0,10}", 1..6)) {
        let components: Vec<&str> = values.iter().map(String::as_str).collect();
        let mut text = SegmentBuilder::new("MSH").text(10, "1").finish();
        text.extend(SegmentBuilder::new("PID").components(5, &components).text(2, "x").finish());
        let document = Document::parse(&text).unwrap();
        let patient = document.segments()[1];
        let delimiters = patient.delimiters();
        let read: Vec<_> =
            patient.field(5).unwrap().components(&delimiters).map(|part| part.decode(&delimiters).into_owned()).collect();
        prop_assert_eq!(read, values.iter().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>());
        prop_assert_eq!(patient.field(2).unwrap().text, b"x");
    }
}
