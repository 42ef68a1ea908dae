//! The plugin on the test host: heads and bodies, inline and large, of each format.

use super::*;
use hilum_formats::dicom::Encoding;
use hilum_formats::dicom::build::{EXPLICIT, Elements};
use hilum_plugin::{Attribute, testing};

const IMAGE: &str = "application/dicom";

fn plugin(config: Config) -> Deidentify {
    Deidentify::configure(config).unwrap()
}

fn replaced(outcome: Outcome) -> Draft {
    match outcome {
        Outcome::Replace(draft) => draft,
        other => panic!("{other:?}"),
    }
}

fn refused(outcome: Outcome) -> hilum_plugin::Refusal {
    match outcome {
        Outcome::Refuse(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

fn run(config: Config, message: Message) -> Outcome {
    plugin(config).transform(&testing::context(), message)
}

#[test]
fn an_image_is_the_same_whether_it_is_inline_or_large() {
    let image = dicom::tests::image_of(600_000);
    let inline = replaced(run(Config::default(), testing::message(IMAGE, image.clone())));
    let large = replaced(run(Config::default(), testing::large_message(IMAGE, image.clone())));
    assert_eq!(inline.content_type, IMAGE);
    let inline = testing::octets(inline.body);
    assert_eq!(inline, testing::octets(large.body));
    let profile = Profile::new(&Config::default()).unwrap();
    assert_eq!(inline, dicom::deidentify(image, &profile, &HostKeys::new("research")).unwrap());
}

#[test]
fn dates_are_shifted_by_the_key_of_the_host() {
    let image = Elements::image(Encoding::EXPLICIT_LITTLE)
        .text(0x0010_0020, "LO", "4711")
        .text(0x0018_1012, "DA", "20200101")
        .part_10(EXPLICIT);
    let modified = vec![ProfileOption::RetainLongitudinalModifiedDates];
    let config = Config { options: modified, ..Config::default() };
    let draft = replaced(run(config.clone(), testing::message(IMAGE, image.clone())));
    let octets = testing::octets(draft.body);
    let days = keys::date_shift("research", pseudonym::PATIENT, b"4711", 365).unwrap();
    let mut date = *b"20200101";
    assert!(dicom::tests::shift(&mut date, days));
    assert!(octets.windows(8).any(|window| window == date) && date != *b"20200101");

    testing::with(|host| host.denied.insert("research".to_owned()));
    assert_eq!(refused(run(config, testing::message(IMAGE, image))).code, "no-key");
}

/// The time of what comes of a record, if it was set.
fn time_of(config: Config, message: Message) -> Option<u64> {
    replaced(run(config, message));
    testing::take().times.remove(&0)
}

const DAY_MS: i64 = 86_400_000;
/// The beginning of the year of the test host's records, 2023.
const YEAR_MS: u64 = 1_672_531_200_000;

#[test]
fn the_time_of_an_image_is_treated_as_its_dates_are() {
    let image = Elements::image(Encoding::EXPLICIT_LITTLE)
        .text(0x0010_0020, "LO", "4711")
        .text(0x0018_1012, "DA", "20200101")
        .part_10(EXPLICIT);
    let message = || testing::message(IMAGE, image.clone());
    let time = testing::head("").time;
    let with = |option| Config { options: vec![option], ..Config::default() };
    assert_eq!(time_of(Config::default(), message()), Some(YEAR_MS));
    assert_eq!(time_of(with(ProfileOption::RetainLongitudinalFullDates), message()), None);
    let moved = with(ProfileOption::RetainLongitudinalModifiedDates);
    let days = keys::date_shift("research", pseudonym::PATIENT, b"4711", 365).unwrap();
    let expected = time.checked_add_signed(i64::from(days) * DAY_MS).unwrap();
    assert_eq!(time_of(moved.clone(), message()), Some(expected));
    assert_eq!(time_of(moved.clone(), testing::large_message(IMAGE, image.clone())), Some(expected));
    let kept = Config { record_time: RecordTime::Keep, ..moved.clone() };
    assert_eq!(time_of(kept, message()), None);
    // Nobody's: it has no Patient ID, and no dates.
    let bare = Elements::new(Encoding::EXPLICIT_LITTLE)
        .text(0x0008_0016, "UI", "1.2.840.10008.5.1.4.1.1.4")
        .text(0x0008_0018, "UI", "1.2.826.0.1.99.1")
        .part_10(EXPLICIT);
    assert_eq!(time_of(moved, testing::message(IMAGE, bare)), Some(YEAR_MS));
}

#[test]
fn the_time_of_a_message_is_treated_as_its_dates_are() {
    const HL7: &str = "application/hl7-v2";
    const MESSAGE: &str = "MSH|^~\\&|A|B|||202311141200||ADT^A01|7|P|2.5.1\rPID|1||4711^^^X^MR||Doe^Jane\r";
    let time = testing::head("").time;
    let shift = || Config { message_dates: MessageDates::Shift, ..Config::default() };
    let moved = |number: &[u8]| {
        let days = keys::date_shift("research", pseudonym::PATIENT, number, 365).unwrap();
        time.checked_add_signed(i64::from(days) * DAY_MS)
    };
    assert_eq!(time_of(Config::default(), testing::message(HL7, MESSAGE)), Some(YEAR_MS));
    assert_eq!(time_of(shift(), testing::message(HL7, MESSAGE)), moved(b"4711"));
    let nobody = MESSAGE.split_inclusive('\r').next().unwrap();
    assert_eq!(time_of(shift(), testing::message(HL7, nobody)), Some(YEAR_MS));

    let patient = |id: &str| {
        format!(r#"{{"resource":{{"resourceType":"Patient","id":"{id}","birthDate":"1950-02-03"}}}}"#)
    };
    let bundle = |entries: &[String]| {
        format!(r#"{{"resourceType":"Bundle","type":"collection","entry":[{}]}}"#, entries.join(","))
    };
    let one = bundle(&[patient("1"), patient("1")]);
    let two = bundle(&[patient("1"), patient("2")]);
    let fhir = |body: &str| testing::message("application/fhir+json", body);
    assert_eq!(time_of(shift(), fhir(&one)), moved(b"1"));
    assert_eq!(
        time_of(shift(), fhir(&two)),
        Some(YEAR_MS),
        "two patients, two shifts: the time is of neither"
    );
}

#[test]
fn the_time_of_telemetry_goes_on_as_its_own_times_do() {
    let body = r#"{"machine":"mri-1","readings":[{"sensor":"helium-level","unit":"%","at":"2026-05-17T09:41:23Z","value":70.5}]}"#;
    let telemetry = || testing::message("application/vnd.hilum.telemetry+json", body);
    if let Outcome::Replace(_) = run(Config::default(), telemetry()) {
        assert!(testing::take().times.is_empty());
    } else {
        panic!("the telemetry is not as it should be");
    }
}

#[test]
fn a_cut_image_is_refused_wherever_it_is() {
    let mut image = dicom::tests::image_of(600_000);
    image.truncate(500_000);
    for message in [testing::message(IMAGE, image.clone()), testing::large_message(IMAGE, image)] {
        assert_eq!(refused(run(Config::default(), message)).code, "truncated");
    }
}

#[test]
fn the_head_reveals_as_little_as_the_body() {
    let message = || {
        let mut message = testing::message("Application/DICOM; version=1", dicom::tests::image_of(10));
        message.head.key = Some("DOE^JANE 4711".to_owned());
        message.head.attributes = vec![Attribute::new("patient", "DOE"), Attribute::new("modality", "MR")];
        message
    };
    let draft = replaced(run(Config::default(), message()));
    assert!(draft.attributes.is_empty());
    let key = draft.key.unwrap();
    assert!(key.len() == 32 && !key.contains("4711"));

    let config = Config { attributes: vec!["modality".to_owned()], ..Config::default() };
    let draft = replaced(run(config, message()));
    assert_eq!(draft.attributes, [Attribute::new("modality", "MR")]);
    assert_eq!(draft.key.unwrap(), key, "records of one key stay together");
}

#[test]
fn a_content_type_says_how_to_read_a_body_and_nothing_else() {
    for (given, left) in [
        ("application/dicom", "application/dicom"),
        ("Application/DICOM; patient=DOE-JANE-123-45-6789", "application/dicom"),
        ("application/fhir+json;fhirVersion=4.0 ; x", "application/fhir+json; fhirVersion=4.0"),
        ("application/hl7-v2; charset=\"UTF-8\"", "application/hl7-v2; charset=\"UTF-8\""),
        ("application/hl7-v2; charset=DOE", "application/hl7-v2"),
    ] {
        assert_eq!(media_type(given), left);
    }
    let message = testing::message("application/dicom; patient=DOE", dicom::tests::image_of(10));
    assert_eq!(replaced(run(Config::default(), message)).content_type, "application/dicom");
}

#[test]
fn each_content_type_goes_to_its_format_and_others_are_refused() {
    for (content_type, format_expected) in [
        ("application/dicom", Format::Dicom),
        ("application/hl7-v2", Format::Hl7),
        ("x-application/hl7-v2+er7; charset=utf-8", Format::Hl7),
        ("application/EDI-X12", Format::X12),
        ("application/fhir+json; fhirVersion=4.0", Format::Fhir),
        ("application/vnd.hilum.telemetry+json", Format::Telemetry),
    ] {
        assert_eq!(format(content_type).unwrap(), format_expected);
        let code = refused(run(Config::default(), testing::message(content_type, "?"))).code;
        assert_ne!(code, UNSUPPORTED, "{content_type}");
    }
    for content_type in ["", "application/json", "application/dicom+json", "text/plain"] {
        assert_eq!(refused(run(Config::default(), testing::message(content_type, "?"))).code, UNSUPPORTED);
    }
}

#[test]
fn without_its_key_nothing_goes_on() {
    testing::with(|host| host.denied.insert("research".to_owned()));
    let refusal = refused(run(Config::default(), testing::message(IMAGE, dicom::tests::image_of(10))));
    assert_eq!(refusal.code, "no-key");
    assert!(refusal.reason.contains("keys:research"));
}

#[test]
fn it_claims_to_remove_phi_unless_pixels_may_show_it() {
    assert_eq!(Deidentify::describe(None).removes, ["phi"]);
    assert_eq!(Deidentify::describe(Some(&Config::default())).removes, ["phi"]);
    let config = Config { burned_in_annotation: BurnedInAnnotation::Pass, ..Config::default() };
    assert!(Deidentify::describe(Some(&config)).removes.is_empty());
    for (faces, reveals) in [
        (RecognizableFaces::Refuse, false),
        (RecognizableFaces::Pass, true),
        (RecognizableFaces::Accepted, false),
    ] {
        let config = Config { recognizable_faces: faces, ..Config::default() };
        assert_eq!(Deidentify::describe(Some(&config)).removes.is_empty(), reveals, "{faces:?}");
    }
    for (rule, reveals) in [(TextRule::Words, false), (TextRule::Keep, true)] {
        let mut config = Config { texts: [("NTE-3".to_owned(), rule)].into(), ..Config::default() };
        assert_eq!(Deidentify::describe(Some(&config)).removes.is_empty(), reveals, "{rule:?}");
        config.retained_identifiers = RetainedIdentifiers::Accepted;
        assert_eq!(Deidentify::describe(Some(&config)).removes, ["phi"], "{rule:?}");
    }
    let mut config = Config { record_time: RecordTime::Keep, ..Config::default() };
    assert!(Deidentify::describe(Some(&config)).removes.is_empty());
    config.retained_identifiers = RetainedIdentifiers::Accepted;
    assert_eq!(Deidentify::describe(Some(&config)).removes, ["phi"]);
    for option in ProfileOption::ALL {
        let mut config = Config { options: vec![option], ..Config::default() };
        let removes = Deidentify::describe(Some(&config)).removes;
        assert_eq!(removes.is_empty(), option.retains_identifiers(), "{option}");
        config.retained_identifiers = RetainedIdentifiers::Accepted;
        assert_eq!(Deidentify::describe(Some(&config)).removes, ["phi"], "{option}");
    }
    assert_eq!(Deidentify::describe(None).content_types.len(), CONTENT_TYPES.len());
}
