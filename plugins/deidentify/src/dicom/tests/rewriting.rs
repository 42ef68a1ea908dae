//! What an output says: dummies, unique identifiers, what is added and what is left alone.

use super::build::{
    BIG_ENDIAN, DEFLATED, ENCODINGS, EXPLICIT, Elements, Ends, IMPLICIT, JPEG, SOP_CLASS, SOP_INSTANCE,
};
use super::{contains, deidentify, deidentify_as, item_text, open, text};
use crate::dicom::{Pipe, Profile, rewrite};
use crate::pseudonym::tests::TestKeys;
use crate::{BurnedInAnnotation, Config, PatientId, pseudonym};
use dicom_object::Tag;
use hilum_formats::dicom::Encoding;

const LITTLE: Encoding = Encoding::EXPLICIT_LITTLE;

#[test]
fn the_object_says_what_was_done_to_it_in_the_order_of_tags() {
    for (syntax, encoding) in ENCODINGS {
        let elements = Elements::image(encoding)
            .text(0x0012_0062, "CS", "NO")
            .text(0x0012_0063, "LO", "SOMEBODY ELSE")
            .value(0x0028_0010, "US", &[2, 0])
            .text(0x0028_0303, "CS", "UNMODIFIED")
            .text(0x0040_0254, "LO", "A DESCRIPTION");
        let output = deidentify(&elements.part_10(syntax)).unwrap();
        let object = open(&output);
        assert_eq!(object.meta().transfer_syntax(), syntax);
        assert_eq!(text(&object, 0x0012, 0x0062), "YES");
        assert_eq!(
            text(&object, 0x0012, 0x0063),
            concat!(
                "Hilum deidentify ",
                env!("CARGO_PKG_VERSION"),
                "\\PS3.15 2026c Basic Application Confidentiality Profile"
            )
        );
        let codes = object.element(Tag(0x0012, 0x0064)).unwrap();
        assert_eq!(item_text(codes, 0x0008, 0x0100), "113100");
        assert_eq!(item_text(codes, 0x0008, 0x0102), "DCM");
        assert_eq!(text(&object, 0x0028, 0x0303), "REMOVED");
        assert!(!contains(&output, "SOMEBODY"));
        let tags: Vec<Tag> = object.iter().map(|element| element.header().tag).collect();
        assert!(tags.is_sorted(), "{tags:?}");
    }
}

#[test]
fn a_data_set_that_ends_early_says_it_too() {
    let object = open(&deidentify(&Elements::image(LITTLE).part_10(EXPLICIT)).unwrap());
    assert_eq!(text(&object, 0x0012, 0x0062), "YES");
    assert_eq!(text(&object, 0x0028, 0x0303), "REMOVED");
}

#[test]
fn the_file_meta_information_is_new() {
    let output = deidentify(&Elements::image(LITTLE).part_10(EXPLICIT)).unwrap();
    assert_eq!(output[..128], [0; 128]);
    let object = open(&output);
    let meta = object.meta();
    assert_eq!(meta.media_storage_sop_class_uid(), SOP_CLASS);
    assert_eq!(meta.media_storage_sop_instance_uid(), text(&object, 0x0008, 0x0018));
    assert_eq!(
        meta.media_storage_sop_instance_uid(),
        pseudonym::uid(&TestKeys(1), SOP_INSTANCE.as_bytes()).unwrap()
    );
    // The data set says which object it is, even where the sender's file meta information says otherwise.
    let other = Elements::new(LITTLE).text(0x0008_0016, "UI", SOP_CLASS).text(0x0008_0018, "UI", "1.9.9");
    let other = open(&deidentify(&other.part_10(EXPLICIT)).unwrap());
    assert_eq!(other.meta().media_storage_sop_instance_uid(), text(&other, 0x0008, 0x0018));
    assert!(meta.implementation_class_uid().starts_with("2.25."));
    assert_eq!(meta.source_application_entity_title, None);
    // The group length counts from after itself to the data set.
    let data_set = 128 + 4 + 12 + usize::try_from(meta.information_group_length).unwrap();
    assert_eq!(output[data_set..data_set + 4], [8, 0, 0x16, 0]);
}

#[test]
fn unique_identifiers_are_replaced_alike_everywhere_and_registered_ones_are_kept() {
    let study = "1.9.8.7.1";
    let item = Elements::new(LITTLE).text(0x0008_1150, "UI", SOP_CLASS).text(0x0008_1155, "UI", study);
    let elements = Elements::image(LITTLE)
        .sequence(0x0008_114A, &[item], Ends::Length)
        .text(0x0020_000D, "UI", study)
        .text(0x0020_000E, "UI", "1.2.840.10008.1.2.3.4711")
        .text(0x0020_0052, "UI", "1.2.840.10008.1.4.1.1")
        .text(0x0020_0200, "UI", "1.9.8.7.1\\1.2.840.10008.15.1.1\\1.9.8.7.2");
    let output = deidentify(&elements.part_10(EXPLICIT)).unwrap();
    let object = open(&output);
    let replaced = text(&object, 0x0020, 0x000D);
    assert_eq!(replaced, pseudonym::uid(&TestKeys(1), study.as_bytes()).unwrap());
    let references = object.element(Tag(0x0008, 0x114A)).unwrap();
    assert_eq!(item_text(references, 0x0008, 0x1155), replaced);
    assert_eq!(item_text(references, 0x0008, 0x1150), SOP_CLASS);
    assert!(text(&object, 0x0020, 0x000E).starts_with("2.25."), "a false registered identifier is replaced");
    assert_eq!(text(&object, 0x0020, 0x0052), "1.2.840.10008.1.4.1.1");
    let several = text(&object, 0x0020, 0x0200);
    let several: Vec<&str> = several.split('\\').collect();
    assert_eq!(several[0], replaced);
    assert_eq!(several[1], "1.2.840.10008.15.1.1");
    assert!(several[2].starts_with("2.25.") && several[2] != replaced);
}

#[test]
fn a_patient_is_a_pseudonym_or_nobody() {
    let elements =
        Elements::image(LITTLE).text(0x0010_0010, "PN", "DOE^JANE").text(0x0010_0020, "LO", "4711");
    let input = elements.part_10(EXPLICIT);
    let object = open(&deidentify(&input).unwrap());
    assert_eq!(text(&object, 0x0010, 0x0010), "");
    assert_eq!(text(&object, 0x0010, 0x0020), pseudonym::patient(&TestKeys(1), b"4711").unwrap());

    let config = Config { patient_id: PatientId::Empty, ..Config::default() };
    let object = open(&deidentify_as(&config, &input).unwrap());
    assert_eq!(text(&object, 0x0010, 0x0020), "");
}

#[test]
fn text_burned_into_pixels_is_refused_unless_the_flow_says_otherwise() {
    let yes = Elements::image(LITTLE).text(0x0028_0301, "CS", "YES").part_10(EXPLICIT);
    assert_eq!(deidentify(&yes).unwrap_err().code, "burned-in-annotation");
    let config = Config { burned_in_annotation: BurnedInAnnotation::Pass, ..Config::default() };
    let object = open(&deidentify_as(&config, &yes).unwrap());
    assert_eq!(text(&object, 0x0028, 0x0301), "YES");
    let no = Elements::image(LITTLE).text(0x0028_0301, "CS", "NO").part_10(EXPLICIT);
    assert_eq!(text(&open(&deidentify(&no).unwrap()), 0x0028, 0x0301), "NO");
}

#[test]
fn a_deflated_object_is_written_inflated() {
    let elements = Elements::image(LITTLE).text(0x0010_0010, "PN", "DOE^JANE").value(
        0x7FE0_0010,
        "OW",
        &b"\x01\x02\x03\x04".repeat(50_000),
    );
    let deflated = miniz_oxide::deflate::compress_to_vec(&elements.octets, 6);
    let plain = deidentify(&elements.part_10(EXPLICIT)).unwrap();
    for padding in [&[][..], &[0][..], b"CRC-SIZE"] {
        let input = super::build::part_10(DEFLATED, SOP_CLASS, &[&deflated, padding].concat());
        assert_eq!(deidentify(&input).unwrap(), plain);
    }
    let trailing = super::build::part_10(DEFLATED, SOP_CLASS, &[&deflated, &b"DOE^JANE^4711"[..]].concat());
    assert_eq!(deidentify(&trailing).unwrap_err().code, "trailing-data");
    let short = super::build::part_10(DEFLATED, SOP_CLASS, &deflated[..deflated.len() - 3]);
    assert_eq!(deidentify(&short).unwrap_err().code, "truncated");
}

#[test]
fn pixel_data_is_left_alone_in_fragments_or_not() {
    let large = vec![7; 100_000];
    let begun = [&b"\xFF\xD8\xFF\xDA"[..], &large].concat();
    let short: [&[u8]; 4] = [&[], b"\xFF\xD8\xFF\xDA", &large, b"ab"];
    let long: [&[u8]; 3] = [&[0; 4], &begun, &large];
    for fragments in [&short[..], &long] {
        let output = deidentify(&Elements::image(LITTLE).fragments(fragments).part_10(JPEG)).unwrap();
        assert!(output.ends_with(&Elements::new(LITTLE).fragments(fragments).octets));
    }

    let native = Elements::new(Encoding::EXPLICIT_BIG).value(0x7FE0_0010, "OW", &large);
    let mut elements = Elements::image(Encoding::EXPLICIT_BIG);
    elements.octets.extend_from_slice(&native.octets);
    assert!(deidentify(&elements.part_10(BIG_ENDIAN)).unwrap().ends_with(&native.octets));
}

#[test]
fn nothing_but_an_image_is_in_its_fragments() {
    let comment = b"\xFF\xFE\x00\x0ADOE^JANE";
    let begin = |after: &[u8]| [b"\xFF\xD8", after, b"\xFF\xDA\x00\x02"].concat();
    let output =
        deidentify(&Elements::image(LITTLE).fragments(&[&[], &begin(comment)]).part_10(JPEG)).unwrap();
    assert!(
        output
            .ends_with(&Elements::new(LITTLE).fragments(&[&[], &begin(b"\xFF\xFE\x00\x0A        ")]).octets)
    );
    for fragments in [
        &[b"DOE^JANE", &*begin(&[])][..],
        &[&[0, 0, 0, 0, 4, 0, 0, 0], &begin(&[])],
        &[b"DOE", &begin(&[])],
        &[&[], b"DOE^JANE"],
        &[&[], b"\xFF\xD8\xFF\xFE\x40\x00DOE^JANE"],
    ] {
        let object = Elements::image(LITTLE).fragments(fragments).part_10(JPEG);
        assert_eq!(deidentify(&object).unwrap_err().code, "malformed-fragments", "{fragments:?}");
    }
}

#[test]
fn numbers_are_numbers_and_codes_are_short() {
    let kept = |vr: &str, stated: &str, tag: u32, value: &str| {
        assert!(vr == stated || stated == "LO" || stated == "UN");
        let output = deidentify(&Elements::image(LITTLE).text(tag, stated, value).part_10(EXPLICIT)).unwrap();
        contains(&output, value)
    };
    for (value, stays) in [
        ("2.5", true),
        ("-1.5E+02\\ 3", true),
        ("0.12345678901234567890", true),
        ("DOE^JANE", false),
        ("2.5\\DOE", false),
    ] {
        assert_eq!(kept("DS", "DS", 0x0018_0050, value), stays, "{value}");
        assert_eq!(kept("DS", "LO", 0x0018_0050, value), stays, "{value}");
    }
    for (value, stays) in [("ORIGINAL\\PRIMARY", true), ("DOE JANE 123-45-6789", false)] {
        assert_eq!(kept("CS", "CS", 0x0018_0020, value), stays, "{value}");
        assert_eq!(kept("CS", "UN", 0x0018_0020, value), stays, "{value}");
    }
}

#[test]
fn an_odd_value_is_padded_and_padding_after_the_data_set_is_dropped() {
    let elements = Elements::image(LITTLE)
        .value(0x0018_0015, "CS", b"HEAD ")
        .value(0x0018_0021, "CS", b"SE\\IR")
        .value(0xFFFC_FFFC, "OB", b"DOE^JANE");
    let output = deidentify(&elements.part_10(EXPLICIT)).unwrap();
    assert_eq!(output.len() % 2, 0);
    let object = open(&output);
    assert_eq!(object.element(Tag(0x0018, 0x0021)).unwrap().to_multi_str().unwrap()[..], ["SE", "IR"]);
    assert!(!contains(&output, "DOE"));
}

#[test]
fn content_that_has_to_be_there_is_a_dummy() {
    let elements = Elements::image(Encoding::IMPLICIT_LITTLE)
        .text(0x0018_9151, "DT", "20260102")
        .sequence(0x0040_A730, &[Elements::image(Encoding::IMPLICIT_LITTLE)], Ends::Delimiter)
        .value(0x0042_0011, "OB", b"%PDF DOE^JANE");
    let output = deidentify(&elements.part_10(IMPLICIT)).unwrap();
    let object = open(&output);
    assert_eq!(text(&object, 0x0018, 0x9151), "19000101000000");
    let content = object.element(Tag(0x0040, 0xA730)).unwrap();
    assert_eq!(item_text(content, 0x0040, 0xA040), "TEXT");
    assert!(!contains(&output, "DOE"));
}

/// A scanner's half gigabyte: what is read is counted, what is forwarded never exists.
struct Scanner {
    head: Vec<u8>,
    pixel_octets: u64,
    read: u64,
    forwarded: u64,
    written: u64,
}

impl Scanner {
    fn advance(&mut self, n: u64) -> u64 {
        let n = n.min(self.pixel_octets);
        self.pixel_octets -= n;
        n
    }
}

impl Pipe for Scanner {
    fn read(&mut self, into: &mut Vec<u8>, max: usize) -> Result<usize, hilum_formats::dicom::Error> {
        let from_head = max.min(self.head.len());
        into.extend(self.head.drain(..from_head));
        let rest = usize::try_from(self.advance((max - from_head) as u64)).unwrap();
        into.resize(into.len() + rest, 0);
        self.read += (from_head + rest) as u64;
        Ok(from_head + rest)
    }

    fn skip(&mut self, n: u64) -> Result<u64, hilum_formats::dicom::Error> {
        assert!(self.head.is_empty());
        Ok(self.advance(n))
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), hilum_formats::dicom::Error> {
        self.written += octets.len() as u64;
        Ok(())
    }

    fn forward(&mut self, n: u64) -> Result<u64, hilum_formats::dicom::Error> {
        assert!(self.head.is_empty());
        let n = self.advance(n);
        self.forwarded += n;
        Ok(n)
    }
}

#[test]
fn half_a_gigabyte_of_pixels_passes_by() {
    const PIXELS: u64 = 500 << 20;
    let mut elements = Elements::image(LITTLE);
    elements.header(0x7FE0_0010, "OW", u32::try_from(PIXELS).unwrap());
    let head = elements.part_10(EXPLICIT);
    let mut scanner = Scanner { head, pixel_octets: PIXELS, read: 0, forwarded: 0, written: 0 };
    rewrite(&mut scanner, &Profile::new(&Config::default()).unwrap(), &TestKeys(1)).unwrap();
    assert!(scanner.read <= 64 << 10 && scanner.written <= 128 << 10, "{} {}", scanner.read, scanner.written);
    assert!(scanner.forwarded > PIXELS - (64 << 10));

    // The same, but the scanner lost its last kilobyte.
    let head = elements.part_10(EXPLICIT);
    let mut scanner = Scanner { head, pixel_octets: PIXELS - 1024, read: 0, forwarded: 0, written: 0 };
    assert_eq!(
        rewrite(&mut scanner, &Profile::new(&Config::default()).unwrap(), &TestKeys(1)).unwrap_err().code,
        "truncated"
    );
}
