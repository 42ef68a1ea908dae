//! What the options of the profile keep, clean and say.

use super::build::{EXPLICIT, Elements, Ends};
use super::{contains, deidentify_as, has, item_text, open, text, with_options};
use crate::dicom::ProfileOption::{self, *};
use crate::pseudonym::tests::TestKeys;
use crate::{Config, PatientId, PrivateSopClasses, Pseudonyms, SafePrivate, UnknownAttributes, pseudonym};
use dicom_object::{DefaultDicomObject, Tag};
use hilum_formats::dicom::Encoding;

const LITTLE: Encoding = Encoding::EXPLICIT_LITTLE;
const PATIENT: &str = "4711";

fn elements() -> Elements {
    Elements::new(LITTLE)
}

/// An object of a SOP class with a patient, between `before` and `after` (0010,0020).
fn object_of(sop_class: &str, before: &Elements, after: &Elements) -> Vec<u8> {
    let mut object = elements().text(0x0008_0016, "UI", sop_class).text(0x0008_0018, "UI", "1.9.8.7.4711");
    object.octets.extend_from_slice(&before.octets);
    object = object.text(0x0010_0010, "PN", "DOE^JANE").text(0x0010_0020, "LO", PATIENT);
    object.octets.extend_from_slice(&after.octets);
    super::build::part_10(EXPLICIT, sop_class, &object.octets)
}

const MR: &str = "1.2.840.10008.5.1.4.1.1.4";

fn made(options: &[ProfileOption], before: &Elements, after: &Elements) -> DefaultDicomObject {
    open(&deidentify_as(&with_options(options), &object_of(MR, before, after)).unwrap())
}

#[test]
fn an_object_names_the_options_in_the_order_of_their_codes() {
    let options = [RetainUids, CleanDescriptors, RetainLongitudinalFullDates];
    let object = made(&options, &elements(), &elements());
    let codes = object.element(Tag(0x0012, 0x0064)).unwrap().items().unwrap();
    let codes: Vec<_> =
        codes.iter().map(|item| item.element(Tag(0x0008, 0x0100)).unwrap().to_str().unwrap()).collect();
    assert_eq!(codes, ["113100", "113105", "113106", "113110"]);
    assert_eq!(text(&object, 0x0028, 0x0303), "UNMODIFIED");
    assert_eq!(text(&object, 0x0008, 0x0018), "1.9.8.7.4711");
    assert_eq!(object.meta().media_storage_sop_instance_uid(), "1.9.8.7.4711");
}

#[test]
fn full_dates_stay_and_none_stay_without_the_option() {
    let before = || elements().text(0x0008_0020, "DA", "20260102").text(0x0008_0030, "TM", "235959");
    let object = made(&[RetainLongitudinalFullDates], &before(), &elements());
    assert_eq!(text(&object, 0x0008, 0x0020), "20260102");
    assert_eq!(text(&object, 0x0008, 0x0030), "235959");
    let object = made(&[], &before(), &elements());
    assert_eq!(text(&object, 0x0008, 0x0020), "");
}

#[test]
fn dates_of_one_patient_are_shifted_alike_before_and_after_the_patient_is_known() {
    // Few enough days that the month stays.
    let moved = |day: i32| format!("{:08}", 20_250_100 + day);
    let days_max = 20;
    let config = Config { date_shift_days_max: days_max, ..with_options(&[RetainLongitudinalModifiedDates]) };
    let days = TestKeys(1).date_shift(pseudonym::PATIENT, PATIENT.as_bytes(), days_max).unwrap();
    let item = elements().text(0x0008_0021, "DA", "20250103");
    let before = elements()
        .text(0x0008_0020, "DA", "20250102")
        .text(0x0008_0022, "DA", "DOE^JANE")
        .text(0x0008_002A, "DT", "20250102235959.5+0100")
        .text(0x0008_0030, "TM", "235959")
        .sequence(0x0008_1140, &[item], Ends::Length);
    let after = elements().text(0x0018_1012, "DA", "20250104").text(0x0018_1014, "TM", "1200");
    let output = deidentify_as(&config, &object_of(MR, &before, &after)).unwrap();
    let object = open(&output);
    assert_eq!(text(&object, 0x0008, 0x0020), moved(2 + days));
    assert_eq!(text(&object, 0x0008, 0x002A), format!("{}235959.5+0100", moved(2 + days)));
    assert_eq!(text(&object, 0x0008, 0x0030), "235959");
    assert_eq!(text(&object, 0x0018, 0x1012), moved(4 + days));
    assert_eq!(text(&object, 0x0018, 0x1014), "1200");
    assert!(!has(&object, 0x0008, 0x0022), "what is no date goes as the Basic Profile says");
    assert_eq!(text(&object, 0x0028, 0x0303), "MODIFIED");
    assert!(!contains(&output, "DOE"));

    // The patient's identifier counts even where it is left out of the output.
    let empty = Config { patient_id: PatientId::Empty, ..config };
    let object = open(&deidentify_as(&empty, &object_of(MR, &before, &after)).unwrap());
    assert_eq!(text(&object, 0x0008, 0x0020), moved(2 + days));
}

#[test]
fn without_a_patient_no_date_is_shifted() {
    let config = with_options(&[RetainLongitudinalModifiedDates]);
    let image = || Elements::image(LITTLE);
    for object in [
        Elements::new(LITTLE).text(0x0008_0016, "UI", MR).text(0x0008_0018, "UI", "1.2.3").text(
            0x0008_0020,
            "DA",
            "20260102",
        ),
        image().text(0x0010_0020, "LO", "").text(0x0018_1012, "DA", "20250104"),
        image().text(0x0018_1012, "DA", "20250104"),
    ] {
        assert_eq!(deidentify_as(&config, &object.part_10(EXPLICIT)).unwrap_err().code, "no-patient-id");
    }
    assert!(deidentify_as(&config, &image().part_10(EXPLICIT)).is_ok(), "nothing is to be shifted");
}

#[test]
fn many_references_may_come_before_the_patient_but_not_any_number() {
    let config = with_options(&[RetainLongitudinalModifiedDates]);
    let reference = elements().text(0x0008_1150, "UI", MR).text(0x0008_1155, "UI", "1.2.3.4.5.6.7.8.9");
    for (count, expected) in [(2000, None), (20_000, Some("too-large"))] {
        let items = vec![reference.clone(); count];
        let before =
            elements().text(0x0008_0020, "DA", "20250102").sequence(0x0008_114A, &items, Ends::Delimiter);
        let output = deidentify_as(&config, &object_of(MR, &before, &elements()));
        assert_eq!(output.err().map(|refusal| refusal.code), expected, "{count}");
    }
}

#[test]
fn characteristics_of_a_patient_stay_and_great_ages_are_one() {
    let after = elements()
        .text(0x0010_0040, "CS", "F")
        .text(0x0010_1010, "AS", "097Y")
        .text(0x0010_1030, "DS", "61.5")
        .text(0x0010_2110, "LO", "penicillin, says DOE");
    let config =
        Config { vocabulary: vec!["Penicillin".to_owned()], ..with_options(&[RetainPatientCharacteristics]) };
    let object = open(&deidentify_as(&config, &object_of(MR, &elements(), &after)).unwrap());
    assert_eq!(text(&object, 0x0010, 0x0040), "F");
    assert_eq!(text(&object, 0x0010, 0x1010), "090Y");
    assert_eq!(text(&object, 0x0010, 0x1030), "61.5");
    assert_eq!(text(&object, 0x0010, 0x2110), "penicillin");
    // An age whose value representation the object does not state is one too.
    let unknown = elements().value(0x0010_1010, "UN", b"101Y");
    let output = deidentify_as(&config, &object_of(MR, &elements(), &unknown)).unwrap();
    assert!(contains(&output, "090Y") && !contains(&output, "101Y"));
    let object = made(&[], &elements(), &after);
    assert_eq!(text(&object, 0x0010, 0x0040), "");
    assert!(!has(&object, 0x0010, 0x1010) && !has(&object, 0x0010, 0x2110));
}

#[test]
fn descriptions_keep_words_that_are_known() {
    let before =
        elements().text(0x0008_1030, "LO", "MRT Kopf DOE").text(0x0008_103E, "LO", "t2 knee JANE 4711");
    let after = elements().text(0x0018_1030, "LO", "JANE'S PROTOCOL");
    let config = Config {
        vocabulary: vec!["T2".to_owned(), "MRT".to_owned(), "Kopf".to_owned()],
        ..with_options(&[CleanDescriptors])
    };
    let output = deidentify_as(&config, &object_of(MR, &before, &after)).unwrap();
    let object = open(&output);
    assert_eq!(text(&object, 0x0008, 0x1030), "MRT Kopf");
    assert_eq!(text(&object, 0x0008, 0x103E), "t2 knee");
    assert!(!contains(&output, "JANE"));
}

/// A code in a sequence of its own.
fn code(tag: u32, scheme: &str, value: &str, meaning: &str) -> Elements {
    let code = elements().text(0x0008_0100, "SH", value).text(0x0008_0102, "SH", scheme).text(
        0x0008_0104,
        "LO",
        meaning,
    );
    elements().sequence(tag, &[code], Ends::Delimiter)
}

/// A content item with a concept, and what comes after it.
fn content(value_type: &str, concept: (&str, &str), rest: &Elements) -> Elements {
    let mut item = elements().text(0x0040_A010, "CS", "CONTAINS").text(0x0040_A040, "CS", value_type);
    item.octets.extend_from_slice(&code(0x0040_A043, concept.0, concept.1, "Concept").octets);
    item.octets.extend_from_slice(&rest.octets);
    item
}

#[test]
fn content_items_stay_and_what_identifies_in_them_goes() {
    let finding = ("DCM", "121071");
    let measured = elements().text(0x0040_A30A, "DS", "42");
    let measured = elements().sequence(0x0040_A300, &[measured], Ends::Length);
    let nested = content("TEXT", finding, &elements().text(0x0040_A160, "UT", "Seen in DOE's liver"));
    let items = [
        content("NUM", ("SCT", "103355008"), &measured),
        content("NUM", ("DCM", "121033"), &measured),
        content("CODE", ("DCM", "121032"), &code(0x0040_A168, "DCM", "F", "Female")),
        content("PNAME", ("DCM", "121008"), &elements().text(0x0040_A123, "PN", "DOE^JANE")),
        content("UIDREF", ("DCM", "121012"), &elements().text(0x0040_A124, "UI", "1.9.9.9")),
        content("DATE", ("DCM", "121031"), &elements().text(0x0040_A121, "DA", "19800102")),
        content("CODE", finding, &code(0x0040_A168, "99WARD", "DOE4711", "DOE JANE")),
        content(
            "CONTAINER",
            ("99WARD", "DOE"),
            &elements().sequence(0x0040_A730, &[nested], Ends::Delimiter),
        ),
    ];
    let after = elements().sequence(0x0040_A730, &items, Ends::Length);
    let report = object_of("1.2.840.10008.5.1.4.1.1.88.33", &elements(), &after);

    let config = with_options(&[CleanStructuredContent, CleanDescriptors, RetainLongitudinalFullDates]);
    let output = deidentify_as(&config, &report).unwrap();
    for gone in ["DOE", "JANE", "4711", "1.9.9.9", "19800102", "99WARD", "Female"] {
        assert!(!contains(&output, gone), "{gone}");
    }
    let object = open(&output);
    let kept = object.element(Tag(0x0040, 0xA730)).unwrap().items().unwrap();
    let types: Vec<_> =
        kept.iter().map(|item| item.element(Tag(0x0040, 0xA040)).unwrap().to_str().unwrap()).collect();
    assert_eq!(types, ["NUM", "PNAME", "UIDREF", "CODE", "CONTAINER"]);
    assert_eq!(item_text(kept[0].element(Tag(0x0040, 0xA300)).unwrap(), 0x0040, 0xA30A), "42");
    let concept = kept[0].element(Tag(0x0040, 0xA043)).unwrap();
    assert_eq!(item_text(concept, 0x0008, 0x0100), "103355008");
    assert_eq!(item_text(concept, 0x0008, 0x0104), "Concept");
    let local = kept[3].element(Tag(0x0040, 0xA168)).unwrap();
    assert_eq!(item_text(local, 0x0008, 0x0102), "99HILUM");
    assert_eq!(item_text(local, 0x0008, 0x0100), "REMOVED");
    let nested = kept[4].element(Tag(0x0040, 0xA730)).unwrap();
    assert_eq!(item_text(nested, 0x0040, 0xA160), "liver");

    // A patient's sex is a characteristic; a text without words that are known is a dummy.
    let config = with_options(&[CleanStructuredContent, RetainPatientCharacteristics]);
    let output = deidentify_as(&config, &report).unwrap();
    assert!(contains(&output, "Female") && !contains(&output, "liver"));
    let kept = open(&output);
    assert_eq!(kept.element(Tag(0x0040, 0xA730)).unwrap().items().unwrap().len(), 6);

    // Without the option nothing of the content is left.
    let output = deidentify_as(&with_options(&[]), &report).unwrap();
    assert!(!contains(&output, "103355008") && !contains(&output, "DOE"));
}

#[test]
fn what_says_to_be_a_published_code_looks_like_one() {
    let finding = ("DCM", "121071");
    let long = elements().text(0x0008_0102, "SH", "SCT").text(0x0008_0104, "LO", "Jane").text(
        0x0008_0119,
        "UC",
        "DOE JANE 4711",
    );
    let items = [
        content("CODE", finding, &code(0x0040_A168, "SCT", "80891009", "Heart")),
        content("CODE", finding, &code(0x0040_A168, "SCT", "DOE JANE", "Heart")),
        content("CODE", finding, &code(0x0040_A168, "LN", "4711", "Heart")),
        content("CODE", finding, &code(0x0040_A168, "SRT", "Doe^Jane", "Heart")),
        content("CODE", finding, &code(0x0040_A168, "SRT", "T-32000", "of 555-123-4567")),
        content("CODE", finding, &elements().sequence(0x0040_A168, &[long], Ends::Delimiter)),
    ];
    let after = elements().sequence(0x0040_A730, &items, Ends::Length);
    let report = object_of("1.2.840.10008.5.1.4.1.1.88.33", &elements(), &after);
    let output = deidentify_as(&with_options(&[CleanStructuredContent]), &report).unwrap();
    for gone in ["DOE", "JANE", "Doe", "4711", "4567"] {
        assert!(!contains(&output, gone), "{gone}");
    }
    let object = open(&output);
    let kept = object.element(Tag(0x0040, 0xA730)).unwrap().items().unwrap();
    let values = kept[..5].iter().map(|item| {
        let code = item.element(Tag(0x0040, 0xA168)).unwrap();
        [0x0102, 0x0100, 0x0104].map(|element| item_text(code, 0x0008, element))
    });
    let own = ["99HILUM", "REMOVED", "REMOVED"].map(str::to_owned);
    let of_heart = ["SCT", "80891009", "Heart"].map(str::to_owned);
    let unnamed = ["SRT", "T-32000", "REMOVED"].map(str::to_owned);
    assert_eq!(values.collect::<Vec<_>>(), [of_heart, own.clone(), own.clone(), own, unnamed]);
}

#[test]
fn graphics_stay_without_their_texts() {
    let text_object = elements().text(0x0070_0006, "ST", "DOE JANE, knee");
    let graphic = elements().text(0x0070_0023, "CS", "POINT");
    let annotation = elements()
        .text(0x0070_0002, "CS", "LAYER1")
        .sequence(0x0070_0008, &[text_object], Ends::Length)
        .sequence(0x0070_0009, &[graphic], Ends::Length);
    let object = elements()
        .sequence(0x0070_0001, &[annotation], Ends::Length)
        .value(0x6000_0010, "US", &[2, 0])
        .text(0x6000_4000, "LT", "DOE");
    let state = "1.2.840.10008.5.1.4.1.1.11.1";
    for (options, expected) in
        [(&[CleanGraphics][..], "REMOVED"), (&[CleanGraphics, CleanDescriptors][..], "knee")]
    {
        let output = deidentify_as(&with_options(options), &object_of(state, &elements(), &object)).unwrap();
        assert!(!contains(&output, "DOE") && contains(&output, "POINT"));
        let made = open(&output);
        let annotations = made.element(Tag(0x0070, 0x0001)).unwrap();
        let texts = annotations.items().unwrap()[0].element(Tag(0x0070, 0x0008)).unwrap();
        assert_eq!(item_text(texts, 0x0070, 0x0006), expected);
        assert!(!has(&made, 0x6000, 0x0010), "an overlay goes whole");
    }
}

#[test]
fn safe_private_attributes_stay_with_their_creators() {
    let item = elements().text(0x2001_0010, "LO", "Philips Imaging DD 001").text(0x2001_1010, "CS", "YES");
    let after = elements()
        .text(0x0019_0010, "LO", "SIEMENS MR HEADER")
        .text(0x0019_0011, "LO", "DOE")
        .text(0x0019_100C, "IS", "1000")
        .text(0x0019_100F, "LO", "DOE")
        .text(0x0019_110C, "IS", "4711")
        .text(0x0029_0010, "LO", "ACME 1.0")
        .text(0x0029_1010, "DS", "1.5")
        .text(0x0029_1011, "LO", "DOE")
        .sequence(0x0040_0260, &[item], Ends::Delimiter)
        .text(0x0099_0010, "LO", "NQHeader")
        .text(0x0099_1002, "UI", "1.9.9.9");
    let own = SafePrivate { creator: "ACME 1.0".into(), tag: "(0029,xx10)".into(), vr: "DS".into() };
    let config = Config { safe_private: vec![own], ..with_options(&[RetainSafePrivate]) };
    let output = deidentify_as(&config, &object_of(MR, &elements(), &after)).unwrap();
    for gone in ["DOE", "4711", "1.9.9.9"] {
        assert!(!contains(&output, gone), "{gone}");
    }
    let object = open(&output);
    assert_eq!(text(&object, 0x0019, 0x0010), "SIEMENS MR HEADER");
    assert_eq!(text(&object, 0x0019, 0x100C), "1000");
    assert_eq!(text(&object, 0x0029, 0x1010), "1.5");
    assert!(text(&object, 0x0099, 0x1002).starts_with("2.25."));
    let nested = object.element(Tag(0x0040, 0x0260)).unwrap();
    assert_eq!(item_text(nested, 0x2001, 0x1010), "YES");
    let output = deidentify_as(&with_options(&[]), &object_of(MR, &elements(), &after)).unwrap();
    assert!(open(&output).iter().all(|element| element.header().tag.group() % 2 == 0));
}

#[test]
fn attributes_that_nobody_has_judged_are_removed_or_their_object_is_refused() {
    let quarantine = Config { unknown_attributes: UnknownAttributes::Quarantine, ..Config::default() };
    let future = elements().text(0x0018_FFF0, "LO", "DOE");
    let nested = elements().sequence(0x0040_0260, std::slice::from_ref(&future), Ends::Length);
    let mistaken = elements().text(0x0028_0010, "LO", "DOE");
    for after in [future, nested, mistaken] {
        let object = object_of(MR, &elements(), &after);
        assert!(!contains(&deidentify_as(&Config::default(), &object).unwrap(), "DOE"));
        let refusal = deidentify_as(&quarantine, &object).unwrap_err();
        assert_eq!(refusal.code, "unknown-attribute");
        assert!(!refusal.reason.contains("DOE"));
    }
    let private = elements().text(0x0019_0010, "LO", "ACME").text(0x0019_1001, "LO", "DOE");
    assert!(
        deidentify_as(&quarantine, &object_of(MR, &elements(), &private)).is_ok(),
        "the profile names them"
    );
}

#[test]
fn an_object_of_a_private_class_is_refused_unless_it_may_be_any() {
    let object = object_of("1.2.840.113619.4.30", &elements(), &elements());
    assert_eq!(deidentify_as(&Config::default(), &object).unwrap_err().code, "private-sop-class");
    let unknown = Config { private_sop_classes: PrivateSopClasses::Unknown, ..Config::default() };
    let output = deidentify_as(&unknown, &object).unwrap();
    assert_eq!(open(&output).meta().media_storage_sop_class_uid(), "1.2.840.113619.4.30");
}
