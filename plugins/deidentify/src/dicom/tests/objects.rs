//! Objects of kinds other than images, and every transfer syntax: what a study needs of them stays, what identifies does not.

use super::build::{
    BIG_ENDIAN, DEFLATED, EXPLICIT, Elements, Ends, IMPLICIT, SOP_CLASS, SOP_INSTANCE, part_10,
};
use super::{contains, deidentify, has, item_text, open, text};
use dicom_object::{DefaultDicomObject, Tag};
use hilum_formats::dicom::Encoding;

const LITTLE: Encoding = Encoding::EXPLICIT_LITTLE;

fn elements() -> Elements {
    Elements::new(LITTLE)
}

/// An object of a SOP class with a patient; nothing of what is called Doe or 4711 may be left of it.
fn made(sop_class: &str, rest: &Elements) -> DefaultDicomObject {
    let mut object = elements()
        .text(0x0008_0016, "UI", sop_class)
        .text(0x0008_0018, "UI", SOP_INSTANCE)
        .text(0x0008_0023, "DA", "20260102")
        .text(0x0008_0090, "PN", "DOE^JOHN")
        .text(0x0010_0010, "PN", "DOE^JANE")
        .text(0x0010_0020, "LO", "4711");
    object.octets.extend_from_slice(&rest.octets);
    let output = deidentify(&part_10(EXPLICIT, sop_class, &object.octets)).unwrap();
    assert!(!contains(&output, "DOE") && !contains(&output, "4711"), "{sop_class}");
    open(&output)
}

#[test]
fn headers_are_read_under_every_transfer_syntax() {
    let patient = |elements: Elements| {
        elements
            .text(0x0010_0010, "PN", "DOE^JANE")
            .value(0x0028_0010, "US", &[0, 2])
            .sequence(0x0040_0275, &[], Ends::Delimiter)
            .value(0x7FE0_0010, "OB", &[7; 16])
    };
    let suffixes = [
        "1.98", "4.50", "4.51", "4.57", "4.70", "4.80", "4.81", "4.90", "4.91", "4.92", "4.93", "4.100",
        "4.101", "4.102", "4.103", "4.104", "4.105", "4.106", "4.107", "4.108", "4.110", "4.111", "4.112",
        "4.201", "4.202", "4.203", "5",
    ];
    let explicit = suffixes.map(|suffix| (format!("1.2.840.10008.1.2.{suffix}"), LITTLE));
    let plain =
        [(EXPLICIT, LITTLE), (IMPLICIT, Encoding::IMPLICIT_LITTLE), (BIG_ENDIAN, Encoding::EXPLICIT_BIG)];
    let plain = plain.map(|(uid, encoding)| (uid.to_owned(), encoding));
    for (uid, encoding) in plain.into_iter().chain(explicit) {
        let octets = deidentify(&patient(Elements::image(encoding)).part_10(&uid));
        let octets = octets.unwrap_or_else(|refusal| panic!("{uid}: {refusal}"));
        assert!(contains(&octets, &uid) && !contains(&octets, "DOE"), "{uid}");
    }
    let deflated = miniz_oxide::deflate::compress_to_vec(&patient(Elements::image(LITTLE)).octets, 6);
    let octets = deidentify(&part_10(DEFLATED, SOP_CLASS, &deflated)).unwrap();
    assert!(!contains(&octets, "DOE"));
    assert_eq!(open(&octets).meta().transfer_syntax(), EXPLICIT);
}

#[test]
fn documents_are_taken_out_of_what_encapsulates_them() {
    for (sop_class, media_type, document) in [
        ("1.2.840.10008.5.1.4.1.1.104.1", "application/pdf", &b"%PDF-1.7 DOE^JANE"[..]),
        ("1.2.840.10008.5.1.4.1.1.104.2", "text/XML", b"<name>DOE</name> "),
        ("1.2.840.10008.5.1.4.1.1.104.3", "model/stl", b"solid DOE^JANE "),
    ] {
        let rest = elements()
            .text(0x0042_0010, "ST", "Letter about DOE")
            .value(0x0042_0011, "OB", document)
            .text(0x0042_0012, "LO", media_type)
            .value(0x0042_0015, "UL", &[17, 0, 0, 0]);
        let object = made(sop_class, &rest);
        assert_eq!(object.element(Tag(0x0042, 0x0011)).unwrap().to_bytes().unwrap()[..], [0, 0]);
        assert_eq!(text(&object, 0x0042, 0x0012), media_type);
        assert_eq!(text(&object, 0x0042, 0x0010), "REMOVED");
        assert!(!has(&object, 0x0042, 0x0015), "the length of what is gone");
    }
}

#[test]
fn icons_and_thumbnails_go() {
    let icon = elements().value(0x0028_0010, "US", &[2, 0]).fragments(&[&[], b"DOE^JANE"]);
    for ends in [Ends::Length, Ends::Delimiter] {
        let rest = elements().sequence(0x0088_0200, std::slice::from_ref(&icon), ends);
        assert!(!has(&made(SOP_CLASS, &rest), 0x0088, 0x0200));
        let thumbnail = elements().text(0x0019_0010, "LO", "ACME").sequence(
            0x0019_1001,
            std::slice::from_ref(&icon),
            ends,
        );
        assert!(!has(&made(SOP_CLASS, &thumbnail), 0x0019, 0x1001));
    }
}

#[test]
fn waveforms_stay_and_their_labels_go() {
    let channel = elements().text(0x003A_0203, "SH", "DOE").text(0x003A_0210, "DS", "1.5");
    let group = elements()
        .text(0x003A_0020, "SH", "DOE 4711")
        .sequence(0x003A_0200, &[channel], Ends::Length)
        .value(0x5400_1010, "OW", &[1, 2, 3, 4]);
    let note = elements().text(0x0070_0006, "ST", "DOE's beat");
    let rest = elements().sequence(0x0040_B020, &[note], Ends::Delimiter).sequence(
        0x5400_0100,
        &[group],
        Ends::Delimiter,
    );
    let object = made("1.2.840.10008.5.1.4.1.1.9.1.1", &rest);
    let groups = object.element(Tag(0x5400, 0x0100)).unwrap().items().unwrap();
    assert_eq!(groups[0].element(Tag(0x5400, 0x1010)).unwrap().to_bytes().unwrap()[..], [1, 2, 3, 4]);
    let channels = groups[0].element(Tag(0x003A, 0x0200)).unwrap();
    assert_eq!(item_text(channels, 0x003A, 0x0210), "1.5");
}

#[test]
fn contours_and_beams_stay_and_their_names_go() {
    let region = elements().text(0x3006_0022, "IS", "1").text(0x3006_0026, "LO", "DOE liver").text(
        0x3006_0028,
        "ST",
        "as DOE drew it",
    );
    let contour = elements().text(0x3006_0042, "CS", "POINT").text(0x3006_0050, "DS", "1\\2\\3");
    let contours = elements().sequence(0x3006_0040, &[contour], Ends::Length).text(0x3006_0084, "IS", "1");
    let rest = elements()
        .text(0x3006_0002, "SH", "DOE")
        .text(0x3006_0008, "DA", "20260102")
        .sequence(0x3006_0020, &[region], Ends::Delimiter)
        .sequence(0x3006_0039, &[contours], Ends::Delimiter);
    let object = made("1.2.840.10008.5.1.4.1.1.481.3", &rest);
    assert_eq!(text(&object, 0x3006, 0x0002), "REMOVED");
    assert_eq!(text(&object, 0x3006, 0x0008), "");
    assert_eq!(item_text(object.element(Tag(0x3006, 0x0020)).unwrap(), 0x3006, 0x0026), "");
    let contours = object.element(Tag(0x3006, 0x0039)).unwrap().items().unwrap();
    let points = contours[0].element(Tag(0x3006, 0x0040)).unwrap().items().unwrap();
    assert_eq!(points[0].element(Tag(0x3006, 0x0050)).unwrap().to_multi_str().unwrap()[..], ["1", "2", "3"]);

    let plan = elements().text(0x300A_0002, "SH", "DOE").text(0x300A_0006, "DA", "20260102");
    let object = made("1.2.840.10008.5.1.4.1.1.481.5", &plan);
    assert_eq!(text(&object, 0x300A, 0x0006), "19000101", "type 2, and the table offers a dummy");
}

#[test]
fn what_an_object_needs_to_be_valid_is_there() {
    // A presentation state: who made it is of type 2; a report: dates of type 1; references of type 1 keep their form.
    let state = elements().text(0x0070_0080, "CS", "LABEL").text(0x0070_0084, "PN", "DOE^JIM");
    let object = made("1.2.840.10008.5.1.4.1.1.11.1", &state);
    assert_eq!(text(&object, 0x0070, 0x0084), "");
    assert_eq!(text(&object, 0x0070, 0x0080), "LABEL");
    let report = elements().text(0x0040_A032, "DT", "20260102").text(0x0040_A491, "CS", "COMPLETE");
    let object = made("1.2.840.10008.5.1.4.1.1.88.33", &report);
    assert_eq!(text(&object, 0x0008, 0x0023), "19000101");
    assert_eq!(text(&object, 0x0040, 0xA032), "19000101000000");

    let reference = || elements().text(0x0008_1150, "UI", SOP_CLASS).text(0x0008_1155, "UI", "1.9.8.7.6");
    // A segmentation: the images that a frame is of may be left out, but not while (0008,1115) lists them.
    let derived = elements().sequence(0x0008_2112, &[reference()], Ends::Length);
    let frame = elements().sequence(0x0008_9124, &[derived], Ends::Length);
    let object =
        made("1.2.840.10008.5.1.4.1.1.66.4", &elements().sequence(0x5200_9230, &[frame], Ends::Length));
    let frames = object.element(Tag(0x5200, 0x9230)).unwrap().items().unwrap();
    let derived = frames[0].element(Tag(0x0008, 0x9124)).unwrap().items().unwrap();
    let source = derived[0].element(Tag(0x0008, 0x2112)).unwrap();
    assert_eq!(item_text(source, 0x0008, 0x1150), SOP_CLASS);
    assert!(item_text(source, 0x0008, 0x1155).starts_with("2.25."));

    let blended = elements().sequence(0x0008_1140, &[reference()], Ends::Length);
    let rest = elements().sequence(0x0070_1B01, &[blended], Ends::Length);
    let object = made("1.2.840.10008.5.1.4.1.1.11.8", &rest);
    let blending = object.element(Tag(0x0070, 0x1B01)).unwrap().items().unwrap();
    let reference = blending[0].element(Tag(0x0008, 0x1140)).unwrap();
    assert_eq!(item_text(reference, 0x0008, 0x1150), SOP_CLASS);
    assert!(item_text(reference, 0x0008, 0x1155).starts_with("2.25."));
}
