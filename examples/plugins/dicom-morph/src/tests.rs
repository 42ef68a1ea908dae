//! The plugin on whole objects under each encoding, read back with another DICOM library.

use dicom_object::{DefaultDicomObject, Tag};
use hilum_formats::dicom::build::{BIG_ENDIAN, DEFLATED, EXPLICIT, Elements, Ends, IMPLICIT, JPEG};
use hilum_formats::dicom::{Encoding, Error, Pipe};
use hilum_plugin::testing::{self, context, large_message, message, refused, replaced};
use serde_json::{Value, json};

use super::*;

const ENCODINGS: [(&str, Encoding); 3] = [
    (IMPLICIT, Encoding::IMPLICIT_LITTLE),
    (EXPLICIT, Encoding::EXPLICIT_LITTLE),
    (BIG_ENDIAN, Encoding::EXPLICIT_BIG),
];

fn config() -> Value {
    json!({"rules": [
        {
            "name": "acme-body-part",
            "when": {"principals": ["spiffe://st-marys/device/mri-1"], "tags": [{"tag": "(0008,0060)", "in": ["MR"]}]},
            "changes": [
                {"action": "map", "tag": "(0018,0015)", "vr": "CS", "from": "(0019,xx15,ACME MR 1.0)",
                 "values": {"Kopf": "HEAD", "Knie": "KNEE"}, "otherwise": "refuse"},
                {"action": "remove", "tag": "(0019,xx15,ACME MR 1.0)"},
                {"action": "map", "tag": "(0008,1030)", "vr": "LO", "values": {"schaedel nativ": "MR Head without contrast"}}
            ]
        },
        {
            "name": "everybody",
            "changes": [
                {"action": "copy", "tag": "(0008,1010)", "vr": "SH", "from": "(0008,1090)"},
                {"action": "add", "tag": "(0008,0080)", "vr": "LO", "value": "St. Mary's"},
                {"action": "replace", "tag": "(0008,1040)", "vr": "LO", "value": "Radiology"},
                {"action": "set", "tag": "(0012,0010)", "vr": "LO", "value": "none"}
            ]
        }
    ]})
}

/// An image of a modality that keeps its body part in a private tag and writes a sequence before it.
fn image(encoding: Encoding, ends: Ends) -> Elements {
    let code = Elements::new(encoding).text(0x0008_0100, "SH", "70551").text(0x0008_0102, "SH", "C4");
    Elements::image(encoding)
        .text(0x0008_1030, "LO", "schaedel nativ")
        .sequence(0x0008_1032, &[code], ends)
        .text(0x0008_1090, "LO", "Magnet 3T")
        .text(0x0010_0010, "PN", "DOE^JANE")
        .text(0x0019_0011, "LO", "ACME MR 1.0")
        .text(0x0019_1115, "LO", "Kopf")
        .value(0x0028_0010, "US", &[2, 0])
}

fn pixels(elements: Elements, octets: usize) -> Elements {
    elements.value(0x7FE0_0010, "OW", &vec![7; octets])
}

fn run(config: &Value, message: Message) -> Outcome {
    Morph::configure(testing::config(config.clone())).unwrap().transform(&context(), message)
}

fn open(octets: &[u8]) -> DefaultDicomObject {
    dicom_object::from_reader(octets).unwrap()
}

fn text(object: &DefaultDicomObject, group: u16, element: u16) -> Option<String> {
    let element = object.element(Tag(group, element)).ok()?;
    Some(element.to_str().unwrap().trim_end_matches(['\0', ' ']).to_owned())
}

#[test]
fn rules_change_tags_under_each_encoding() {
    for (syntax, encoding) in ENCODINGS {
        for ends in [Ends::Length, Ends::Delimiter] {
            let object = pixels(image(encoding, ends), 64).part_10(syntax);
            let made = testing::octets(replaced(run(&config(), message(CONTENT_TYPE, object.clone()))).body);
            let read = open(&made);
            assert_eq!(read.meta().transfer_syntax(), syntax);
            for (tag, expected) in [
                ((0x0018, 0x0015), Some("HEAD")),
                ((0x0019, 0x1115), None),
                ((0x0019, 0x0011), Some("ACME MR 1.0")),
                ((0x0008, 0x1030), Some("MR Head without contrast")),
                ((0x0008, 0x1010), Some("Magnet 3T")),
                ((0x0008, 0x0080), Some("St. Mary's")),
                ((0x0008, 0x1040), None),
                ((0x0012, 0x0010), Some("none")),
                ((0x0010, 0x0010), Some("DOE^JANE")),
            ] {
                assert_eq!(text(&read, tag.0, tag.1).as_deref(), expected, "{tag:04X?} of {syntax}");
            }
            let tags: Vec<Tag> = read.iter().map(|element| element.header().tag).collect();
            assert!(tags.is_sorted(), "{tags:?}");
            assert_eq!(read.element(Tag(0x7FE0, 0x0010)).unwrap().to_bytes().unwrap().len(), 64);
            assert!(read.element(Tag(0x0008, 0x1032)).is_ok() || syntax == IMPLICIT, "the sequence is there");
            // The sender's file meta information goes on.
            assert!(made.windows(8).any(|window| window == b"SENDERAE"));
            assert!(made.starts_with(b"PREAMBLE"));
        }
    }
}

/// Rules about what is in sequences: of the request, of a code in it, and from one into the other.
fn nested() -> Value {
    json!({"rules": [
        {
            "name": "requests",
            "when": {"tags": [{"tag": "(0040,0275)[*].(0040,1001)", "in": ["R-2"]}]},
            "changes": [
                {"action": "map", "tag": "(0040,0275)[*].(0040,0007)", "vr": "LO", "values": {"kopf": "MR Head", "MR Head": "MR Head"}, "otherwise": "remove"},
                {"action": "copy", "tag": "(0040,0275)[*].(0040,0009)", "vr": "SH", "from": "(0040,0275)[*].(0040,1001)"},
                {"action": "set", "tag": "(0040,0275)[*].(0040,0008)[*].(0008,0104)", "vr": "LO", "value": "Brain"},
                {"action": "add", "tag": "(0040,0275)[*].(0008,0050)", "vr": "SH", "value": "none"},
                {"action": "remove", "tag": "(0040,0275)[*].(0019,xx15,ACME MR 1.0)"}
            ]
        },
        {
            "name": "study",
            "changes": [
                {"action": "copy", "tag": "(0008,1030)", "vr": "LO", "from": "(0040,0275)[*].(0040,0008)[*].(0008,0104)"},
                {"action": "copy", "tag": "(0040,0275)[*].(0008,0060)", "vr": "CS", "from": "(0008,0060)"},
                {"action": "set", "tag": "(0040,0100)[*].(0040,0007)", "vr": "LO", "value": "nowhere"}
            ]
        }
    ]})
}

/// Two requests, the first with a code and a private element.
fn requests(encoding: Encoding, ends: Ends) -> Elements {
    let code = Elements::new(encoding).text(0x0008_0100, "SH", "70551").text(0x0008_0104, "LO", "Schaedel");
    let one = Elements::new(encoding)
        .text(0x0008_0050, "SH", "AC-1")
        .text(0x0019_0010, "LO", "ACME MR 1.0")
        .text(0x0019_1015, "LO", "DOE^JANE")
        .text(0x0040_0007, "LO", "kopf")
        .sequence(0x0040_0008, &[code], ends)
        .text(0x0040_1001, "SH", "R-1");
    let two = Elements::new(encoding).text(0x0040_0007, "LO", "knie").text(0x0040_1001, "SH", "R-2");
    Elements::image(encoding).text(0x0010_0020, "LO", "4711").sequence(0x0040_0275, &[one, two], ends).text(
        0x0040_A040,
        "CS",
        "AFTER",
    )
}

#[test]
fn rules_reach_into_sequences_under_each_encoding() {
    for (syntax, encoding) in ENCODINGS {
        for ends in [Ends::Length, Ends::Delimiter] {
            let object = pixels(requests(encoding, ends), 64).part_10(syntax);
            let made = testing::octets(replaced(run(&nested(), message(CONTENT_TYPE, object.clone()))).body);
            // By the standard alone: what should be there, as it would have been built.
            let code =
                Elements::new(encoding).text(0x0008_0100, "SH", "70551").text(0x0008_0104, "LO", "Brain");
            let one = Elements::new(encoding)
                .text(0x0008_0050, "SH", "AC-1")
                .text(0x0008_0060, "CS", "MR")
                .text(0x0019_0010, "LO", "ACME MR 1.0")
                .text(0x0040_0007, "LO", "MR Head")
                .sequence(0x0040_0008, &[code], ends)
                .text(0x0040_0009, "SH", "R-1")
                .text(0x0040_1001, "SH", "R-1");
            let two = Elements::new(encoding)
                .text(0x0008_0050, "SH", "none")
                .text(0x0008_0060, "CS", "MR")
                .text(0x0040_0009, "SH", "R-2")
                .text(0x0040_1001, "SH", "R-2");
            let expected = Elements::image(encoding)
                .text(0x0008_1030, "LO", "Brain")
                .text(0x0010_0020, "LO", "4711")
                .sequence(0x0040_0275, &[one, two], ends)
                .text(0x0040_A040, "CS", "AFTER");
            assert_eq!(made, pixels(expected, 64).part_10(syntax), "{syntax}, {ends:?}");
            let again = run(&nested(), message(CONTENT_TYPE, made));
            assert!(matches!(again, Outcome::Pass), "nothing is left to change: {again:?}");
        }
    }
}

#[test]
fn a_sequence_that_no_rule_changes_goes_on_octet_for_octet() {
    // Its private part is a sequence of unknown representation: implicit inside (PS3.5 section 6.2.2).
    let inner = Elements::new(Encoding::IMPLICIT_LITTLE).text(0x0040_0007, "LO", "kopf");
    let object = |part: &str| {
        let item = Elements::new(Encoding::IMPLICIT_LITTLE).text(0x0040_0007, "LO", part);
        Elements::image(Encoding::EXPLICIT_LITTLE)
            .text(0x0010_0020, "LO", "4711")
            .sequence_as(0x0040_0275, "UN", &[item, inner.clone()], Ends::Delimiter)
            .part_10(EXPLICIT)
    };
    let mut config = json!({"rules": [{"name": "one", "changes": [
        {"action": "map", "tag": "(0040,0275)[*].(0040,0007)", "vr": "LO", "values": {"knie": "knee"}},
        {"action": "replace", "tag": "(0010,0020)", "vr": "LO", "value": "4712"}]}]});
    let made = testing::octets(replaced(run(&config, message(CONTENT_TYPE, object("kopf")))).body);
    let at = made.windows(4).position(|window| window == b"4712").unwrap();
    let mut expected = object("kopf");
    expected[at..at + 4].copy_from_slice(b"4712");
    assert_eq!(made, expected);
    config["rules"][0]["changes"].as_array_mut().unwrap().pop();
    let made = testing::octets(replaced(run(&config, message(CONTENT_TYPE, object("knie")))).body);
    assert_eq!(made, object("knee"));
    assert!(matches!(run(&config, message(CONTENT_TYPE, object("kopf"))), Outcome::Pass));
}

#[test]
fn what_is_no_sequence_or_a_broken_one_is_refused() {
    let encoding = Encoding::EXPLICIT_LITTLE;
    let in_item = |octets: &[u8]| {
        let mut item = Elements::new(encoding);
        item.octets.extend_from_slice(octets);
        Elements::image(encoding).sequence(0x0040_0275, &[item], Ends::Length)
    };
    let descending = Elements::new(encoding).text(0x0040_1001, "SH", "R-1").text(0x0040_0007, "LO", "JANE");
    let long = Elements::new(encoding).value(0x0040_0007, "LO", b"JANE");
    let many = vec![Elements::new(encoding); 70_000];
    let few = vec![Elements::new(encoding); 5_000];
    let change = |tag: &str, value: &str| {
        let changes = [json!({"action": "set", "tag": tag, "vr": "LT", "value": value})];
        json!({"rules": [{"name": "one", "changes": changes}]})
    };
    let usual = change("(0040,0275)[*].(0040,0007)", "x");
    for (code, elements, config) in [
        ("not-a-sequence", Elements::image(encoding).text(0x0040_0275, "LO", "JANE"), &usual),
        ("malformed-sequence", Elements::image(encoding).value(0x0040_0275, "SQ", &long.octets), &usual),
        ("truncated", Elements::image(encoding).value(0x0040_0275, "SQ", b"JANE"), &usual),
        ("tag-order", in_item(&descending.octets), &usual),
        ("truncated", in_item(&long.octets[..6]), &usual),
        ("length-past-end", in_item(&long.octets[..10]), &usual),
        ("too-large", Elements::image(encoding).sequence(0x0040_0275, &many, Ends::Length), &usual),
        (
            "too-large",
            Elements::image(encoding).sequence(0x0040_0275, &few, Ends::Length),
            &change("(0040,0275)[*].(0040,0007)", &"x".repeat(1024)),
        ),
        ("not-text", requests(encoding, Ends::Length), &{
            let mut config = change("(0040,0275)[*].(0040,0008)", "x");
            config["rules"][0]["changes"][0]["action"] = "add".into();
            config
        }),
    ] {
        let refusal = refused(run(config, message(CONTENT_TYPE, elements.part_10(EXPLICIT))));
        assert_eq!(refusal.code, code, "{refusal}");
        assert!(!refusal.reason.contains("JANE") && refusal.reason.contains("rule `one`"), "{refusal}");
    }
    // A condition on what is no sequence does not hold.
    let mut config = usual;
    config["rules"][0]["when"] = json!({"tags": [{"tag": "(0040,0275)[*].(0040,1001)", "in": ["R-1"]}]});
    let text = Elements::image(encoding).text(0x0040_0275, "LO", "JANE").part_10(EXPLICIT);
    assert!(matches!(run(&config, message(CONTENT_TYPE, text)), Outcome::Pass));
}

#[test]
fn what_no_rule_changes_passes_octet_for_octet() {
    let object = pixels(image(Encoding::EXPLICIT_LITTLE, Ends::Delimiter), 64).part_10(EXPLICIT);
    let mut config = config();
    // All but one thing stays: compare the rest of the octets.
    config["rules"] = json!([{"name": "one", "changes": [
        {"action": "replace", "tag": "(0008,1090)", "vr": "LO", "value": "Magnet 7T"}]}]);
    let made = testing::octets(replaced(run(&config, message(CONTENT_TYPE, object.clone()))).body);
    let at = object.windows(9).position(|window| window == b"Magnet 3T").unwrap();
    let mut expected = object.clone();
    expected[at..at + 9].copy_from_slice(b"Magnet 7T");
    assert_eq!(made, expected);
    // Again: nothing is left to change.
    assert!(matches!(run(&config, message(CONTENT_TYPE, made)), Outcome::Pass));
    // Another device: nothing is even read.
    config["rules"][0]["when"] = json!({"principals": ["spiffe://st-marys/device/ct-1"]});
    assert!(matches!(run(&config, message(CONTENT_TYPE, "no DICOM")), Outcome::Pass));
    config["rules"][0]["when"] =
        json!({"roles": ["scanner"], "tags": [{"tag": "(0008,0060)", "in": ["CT"]}]});
    assert!(matches!(run(&config, message(CONTENT_TYPE, object)), Outcome::Pass));
}

/// Counts what enters the plugin.
struct Counting<'a> {
    input: &'a [u8],
    output: Vec<u8>,
    entered: usize,
}

impl Pipe for Counting<'_> {
    fn read(&mut self, into: &mut Vec<u8>, max: usize) -> Result<usize, Error> {
        let n = max.min(self.input.len());
        into.extend_from_slice(&self.input[..n]);
        self.input = &self.input[n..];
        self.entered += n;
        Ok(n)
    }

    fn skip(&mut self, n: u64) -> Result<u64, Error> {
        let n = usize::try_from(n).unwrap().min(self.input.len());
        self.input = &self.input[n..];
        Ok(n as u64)
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.output.extend_from_slice(octets);
        Ok(())
    }

    fn forward(&mut self, n: u64) -> Result<u64, Error> {
        let n = usize::try_from(n).unwrap().min(self.input.len());
        self.output.extend_from_slice(&self.input[..n]);
        self.input = &self.input[n..];
        Ok(n as u64)
    }
}

#[test]
fn pixels_do_not_enter_and_large_bodies_come_out_the_same() {
    let settings: Settings = testing::config(config());
    let rules: Vec<&Rule> = settings.rules.iter().collect();
    let fragment = vec![9; 2 << 20];
    let native = pixels(image(Encoding::EXPLICIT_LITTLE, Ends::Length), 4 << 20).part_10(EXPLICIT);
    let encapsulated = image(Encoding::EXPLICIT_LITTLE, Ends::Length)
        .fragments(&[&[0; 4], &fragment, &fragment])
        .part_10(JPEG);
    for object in [native, encapsulated] {
        let mut pipe = Counting { input: &object, output: Vec::new(), entered: 0 };
        assert!(morph::morph(&mut pipe, &rules).unwrap());
        assert!(pipe.entered < 256 << 10, "{} octets entered", pipe.entered);
        let large = replaced(run(&config(), large_message(CONTENT_TYPE, object.clone())));
        assert!(matches!(large.body, Body::Large(_)));
        assert_eq!(testing::octets(large.body), pipe.output);
        let inline = replaced(run(&config(), message(CONTENT_TYPE, object.clone())));
        assert_eq!(testing::octets(inline.body), pipe.output);
        assert!(pipe.output.len() > 4 << 20);
    }
}

#[test]
fn what_cannot_be_parsed_or_mapped_is_refused() {
    let encoding = Encoding::EXPLICIT_LITTLE;
    let object = pixels(image(encoding, Ends::Length), 600_000).part_10(EXPLICIT);
    let unmapped = |part: &str| {
        Elements::image(encoding)
            .text(0x0019_0010, "LO", "ACME MR 1.0")
            .text(0x0019_1015, "LO", part)
            .part_10(EXPLICIT)
    };
    let late = Elements::image(encoding).text(0x0008_1090, "LO", &"long ".repeat(9)).part_10(EXPLICIT);
    let huge =
        Elements::image(encoding).value(0x0009_1010, "UN", &vec![0; 5 << 20]).text(0x0010_0010, "PN", "DOE");
    for (code, body) in [
        ("not-part-10", b"DOE^JANE".to_vec()),
        ("truncated", object[..500_000].to_vec()),
        ("truncated", object[..object.len() - 600_050].to_vec()),
        ("tag-order", Elements::image(encoding).text(0x0008_0016, "UI", "1.2").part_10(EXPLICIT)),
        ("unsupported-transfer-syntax", Elements::image(encoding).part_10("1.2.3")),
        ("unmapped", unmapped("DOE^JANE")),
        ("value-does-not-fit", late),
        ("too-large", huge.part_10(EXPLICIT)),
    ] {
        for message in [message(CONTENT_TYPE, body.clone()), large_message(CONTENT_TYPE, body)] {
            let refusal = refused(run(&config(), message));
            assert_eq!(refusal.code, code, "{refusal}");
            for value in ["DOE", "JANE", "long"] {
                assert!(!refusal.reason.contains(value), "{refusal}");
            }
        }
    }
    assert_eq!(refused(run(&config(), message("text/plain", object))).code, "unsupported-content-type");
}

#[test]
fn a_deflated_object_goes_on_inflated() {
    let elements = pixels(image(Encoding::EXPLICIT_LITTLE, Ends::Length), 64);
    // A stored block of RFC 1951, section 3.2.4: nothing but a length before the octets.
    let length = u16::try_from(elements.octets.len()).unwrap();
    let mut stored = vec![1];
    stored.extend(length.to_le_bytes());
    stored.extend((!length).to_le_bytes());
    stored.extend(&elements.octets);
    let object = dicom::build::part_10(DEFLATED, "1.2.840.10008.5.1.4.1.1.4", &stored);
    let made = testing::octets(replaced(run(&config(), message(CONTENT_TYPE, object))).body);
    let read = open(&made);
    assert_eq!(
        (read.meta().transfer_syntax(), text(&read, 0x0018, 0x0015).as_deref()),
        (EXPLICIT, Some("HEAD"))
    );
}

#[test]
fn a_configuration_that_would_break_objects_does_not_load() {
    let schema: Value = serde_json::from_str(include_str!("settings.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&config()) && validator.is_valid(&nested()));
    for (change, why) in [
        (json!({"action": "set", "tag": "(0008,0018)", "vr": "UI", "value": "1.2"}), "file meta information"),
        (json!({"action": "remove", "tag": "(0028,0010)"}), "how pixels are stored"),
        (json!({"action": "remove", "tag": "(7FE0,0010)"}), "pixel data"),
        (json!({"action": "set", "tag": "(0008,0005)", "vr": "CS", "value": "ISO_IR 100"}), "character set"),
        (json!({"action": "set", "tag": "(0008,0060)", "vr": "CS", "value": "mr"}), "CS"),
        (json!({"action": "set", "tag": "(0008,1030)", "vr": "LO", "value": "Schädel"}), "ASCII"),
        (json!({"action": "add", "tag": "(0019,xx15,ACME)", "vr": "LO", "value": "x"}), "reserved"),
        (json!({"action": "remove", "tag": "(0088,0200)[*].(7FE0,0010)"}), "pixel data"),
        (json!({"action": "remove", "tag": "(0088,0200)[*].(0028,0010)"}), "how pixels are stored"),
        (json!({"action": "remove", "tag": "(7FE0,0001)[*].(0008,1030)"}), "pixel data"),
    ] {
        let config = json!({"rules": [{"name": "wrong", "changes": [change]}]});
        assert!(validator.is_valid(&config), "the schema cannot tell: {config}");
        let error = Morph::configure(testing::config(config)).unwrap_err();
        assert!(error.at.starts_with("/rules/0") && error.reason.contains(why), "{error}");
    }
    for wrong in [
        json!({"action": "paint", "tag": "(0008,1030)"}),
        json!({"action": "remove", "tag": "StudyDescription"}),
        json!({"action": "remove", "tag": "(0019,1015)", "because": "it is private"}),
        json!({"action": "remove", "tag": "(0040,0275)[1].(0040,0007)"}),
        json!({"action": "remove", "tag": "(0040,0275).(0040,0007)"}),
        json!({"action": "remove", "tag": format!("{}(0040,0007)", "(0040,0275)[*].".repeat(5))}),
    ] {
        let config = json!({"rules": [{"name": "wrong", "changes": [wrong]}]});
        assert!(serde_json::from_value::<Settings>(config).is_err());
    }
}
