//! What cannot be parsed: it is refused with a code, no panic, and no value in the reason.

use super::build::{BIG_ENDIAN, DEFLATED, ENCODINGS, EXPLICIT, Elements, Ends, IMPLICIT, SOP_CLASS, part_10};
use super::{contains, deidentify};
use hilum_formats::dicom::Encoding;
use proptest::prelude::*;

const LITTLE: Encoding = Encoding::EXPLICIT_LITTLE;

fn refused(octets: &[u8], code: &str) {
    let refusal = deidentify(octets).unwrap_err();
    assert_eq!(refusal.code, code, "{refusal}");
    for value in ["DOE", "JANE", "4711"] {
        assert!(!refusal.reason.contains(value), "{refusal}");
    }
    assert!(refusal.reason.len() <= 200, "{refusal}");
}

#[test]
fn what_is_not_a_part_10_object_is_refused() {
    refused(b"", "not-part-10");
    refused(&[0; 200], "not-part-10");
    refused(&Elements::image(LITTLE).octets, "not-part-10");
    refused(&[&[0; 128][..], b"DICM"].concat(), "no-transfer-syntax");
    let directory = Elements::image(LITTLE).octets;
    refused(&part_10(EXPLICIT, "1.2.840.10008.1.3.10", &directory), "media-directory");
    refused(&Elements::new(LITTLE).text(0x0004_1130, "CS", "DOE").part_10(EXPLICIT), "media-directory");
    for private_or_jpip in ["1.2.840.113619.5.2", "1.2.840.10008.1.2.4.94", "1.2.3"] {
        refused(&Elements::image(LITTLE).part_10(private_or_jpip), "unsupported-transfer-syntax");
    }
    refused(&Elements::new(LITTLE).text(0x0008_0016, "UI", "DOE^JANE").part_10(EXPLICIT), "malformed-uid");
    let nameless = Elements::new(LITTLE).text(0x0008_0018, "UI", "1.9.4711");
    refused(&nameless.part_10(EXPLICIT), "incomplete-object");
}

#[test]
fn an_object_under_the_wrong_transfer_syntax_is_refused() {
    let elements = |encoding| Elements::image(encoding).text(0x0010_0010, "PN", "DOE^JANE");
    for (syntax, _) in ENCODINGS {
        for (right, encoding) in ENCODINGS {
            let outcome = deidentify(&elements(encoding).part_10(syntax));
            assert_eq!(outcome.is_ok(), syntax == right, "{right} as {syntax}");
        }
    }
    refused(&elements(LITTLE).part_10(DEFLATED), "malformed-deflate");
}

#[test]
fn structure_that_does_not_hold_is_refused() {
    let image = || Elements::image(LITTLE);
    refused(&image().text(0x0008_0060, "CS", "CT").part_10(EXPLICIT), "tag-order");
    refused(&image().text(0x0008_0005, "CS", "DOE").part_10(EXPLICIT), "tag-order");
    refused(&image().text(0x0010_0010, "XX", "DOE^JANE").part_10(EXPLICIT), "unknown-vr");
    let mut stray = image();
    stray.header(0xFFFE_E00D, "", 0);
    refused(&stray.part_10(EXPLICIT), "misplaced-tag");
    refused(&Elements::new(LITTLE).text(0x0000_1000, "UI", "1.2").part_10(EXPLICIT), "misplaced-tag");
    let odd_and_full = "DOE^JANE".repeat(8192);
    refused(
        &image().value(0x0018_0030, "LO", &odd_and_full.as_bytes()[1..]).part_10(EXPLICIT),
        "value-too-long",
    );
    let early = vec![0; 70_000];
    refused(&Elements::new(LITTLE).value(0x0008_0010, "UT", &early).part_10(EXPLICIT), "too-large");
    refused(&Elements::new(LITTLE).text(0x0008_0060, "CS", "MR").part_10(EXPLICIT), "incomplete-object");
}

#[test]
fn a_sequence_that_does_not_hold_is_refused() {
    let carrier = 0x0040_0260;
    // A value that is longer than its item.
    let mut item = Elements::new(LITTLE);
    item.header(0x0008_0104, "LO", 50);
    item.octets.extend_from_slice(b"DOE^JANE");
    let input = Elements::image(LITTLE).sequence(carrier, std::slice::from_ref(&item), Ends::Length);
    refused(&input.part_10(EXPLICIT), "length-past-end");
    // A data element where an item has to be.
    let not_an_item = Elements::new(LITTLE).text(0x0008_0104, "LO", "DOE^JANE");
    let input = Elements::image(LITTLE).value(carrier, "SQ", &not_an_item.octets);
    refused(&input.part_10(EXPLICIT), "malformed-sequence");
    // A value of undefined length that is neither a sequence nor pixel data.
    let mut undefined = Elements::image(LITTLE);
    undefined.header(0x0040_0254, "UT", u32::MAX);
    refused(&undefined.part_10(EXPLICIT), "undefined-length");
}

#[test]
fn nesting_is_bounded_whether_it_is_kept_or_removed() {
    for tag in [0x0040_0260, 0x0041_1001] {
        for ends in [Ends::Length, Ends::Delimiter] {
            let mut nested = Elements::new(LITTLE).text(0x0040_0254, "LO", "DOE");
            for depth in 1..=40 {
                nested = Elements::new(LITTLE).sequence(tag, &[nested], ends);
                let mut object = Elements::image(LITTLE);
                object.octets.extend_from_slice(&nested.octets);
                let outcome = deidentify(&object.part_10(EXPLICIT));
                let skipped_whole = tag == 0x0041_1001 && matches!(ends, Ends::Length);
                assert_eq!(outcome.is_ok(), depth <= 32 || skipped_whole, "{depth} {ends:?} {outcome:?}");
            }
        }
    }
}

#[test]
fn a_cut_object_is_refused_unless_it_is_a_shorter_one() {
    for (syntax, encoding) in ENCODINGS {
        for ends in [Ends::Length, Ends::Delimiter] {
            let item =
                || Elements::new(encoding).text(0x0008_0104, "LO", "DOE").text(0x0008_1155, "UI", "1.9.4711");
            let private = Elements::new(encoding).text(0x0009_1003, "LT", "DOE");
            // The object after each data element: there, and only there, it may end.
            let steps: [&dyn Fn(Elements) -> Elements; 6] = [
                &|it| it.text(0x0009_0010, "LO", "DOE"),
                &|it| it.sequence(0x0009_1002, std::slice::from_ref(&private), ends),
                &|it| it.text(0x0010_0010, "PN", "DOE^JANE"),
                &|it| it.value(0x0028_0010, "US", &[1, 0]),
                &|it| it.sequence(0x0040_0260, &[item(), item()], ends),
                &|it| it.value(0x7FE0_0010, "OW", &[0; 40]),
            ];
            let mut object = Elements::image(encoding);
            let mut whole = vec![object.part_10(syntax).len()];
            for step in steps {
                object = step(object);
                whole.push(object.part_10(syntax).len());
            }
            let input = object.part_10(syntax);
            for cut in 0..input.len() {
                let outcome = deidentify(&input[..cut]);
                if cut >= whole[0] {
                    assert_eq!(outcome.is_ok(), whole.contains(&cut), "{syntax} {ends:?} cut at {cut}");
                }
                match outcome {
                    Ok(output) => assert!(!contains(&output, "DOE^JANE")),
                    Err(refusal) => {
                        let known = ["truncated", "not-part-10", "no-transfer-syntax", "incomplete-object"];
                        assert!(known.contains(&refusal.code), "{refusal} at {cut}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_deflated_bomb_is_refused() {
    let zeros = vec![0; 80 << 20];
    let elements = Elements::image(LITTLE).value(0x7FE0_0010, "OW", &zeros);
    let bomb = miniz_oxide::deflate::compress_to_vec(&elements.octets, 1);
    assert!(bomb.len() < 2 << 20);
    refused(&part_10(DEFLATED, SOP_CLASS, &bomb), "too-large");
}

proptest! {
    #[test]
    fn arbitrary_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        for syntax in [IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED, super::build::JPEG] {
            let _ = deidentify(&part_10(syntax, SOP_CLASS, &octets));
        }
        prop_assert!(deidentify(&octets).is_err());
    }

    #[test]
    fn a_changed_object_never_panics(
        which in 0..3usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let (syntax, encoding) = ENCODINGS[which];
        let item = Elements::image(encoding).text(0x0010_0010, "PN", "DOE^JANE");
        let item = Elements::new(encoding).sequence(0x0040_0260, &[item], Ends::Delimiter);
        let object = Elements::image(encoding)
            .sequence(0x0009_1002, std::slice::from_ref(&item), Ends::Delimiter)
            .sequence(0x0040_0260, std::slice::from_ref(&item), Ends::Length)
            .fragments(&[b"abcd"]);
        let mut octets = object.part_10(syntax);
        for (index, octet) in changes {
            let at = index.index(octets.len());
            octets[at] = octet;
        }
        let _ = deidentify(&octets);
    }
}
