//! One patient's story, told in every format: the same pseudonyms, unique identifiers and intervals under one key, and others under another.

use hilum_formats::dicom::Encoding;
use hilum_formats::dicom::build::{EXPLICIT, Elements};
use serde_json::{Value, json};

use crate::dicom::{Profile, ProfileOption};
use crate::pseudonym::tests::TestKeys;
use crate::{Config, MessageDates, dicom, fhir, hl7, x12};

/// The patient's number, that of the order, and the study.
const NUMBER: &str = "4711";
const ORDER: &str = "A-77";
const STUDY: &str = "1.2.826.0.1.99";
/// The examination, the result and the claim: five days later, and another twelve.
const DATES: [&str; 3] = ["20260301", "20260306", "20260318"];

/// What one format says of the patient after de-identification.
#[derive(Debug, PartialEq, Eq)]
struct Story {
    number: String,
    order: String,
    dates: [String; 3],
}

fn config() -> Config {
    let options = vec![ProfileOption::RetainLongitudinalModifiedDates];
    Config { message_dates: MessageDates::Shift, options, ..Config::default() }
}

fn in_hl7(keys: &TestKeys) -> Story {
    let [examined, resulted, claimed] = DATES;
    let text = format!(
        "MSH|^~\\&|LAB|ST-MARYS|EHR|ST-MARYS|{claimed}||ORU^R01^ORU_R01|7|P|2.5.1\rPID|1||{NUMBER}^^^B^MR\rOBR|1||{ORDER}|T^T^L|||{examined}|{resulted}\r"
    );
    let cleaned = String::from_utf8(hl7::deidentify(text.as_bytes(), &config(), keys).unwrap()).unwrap();
    let field = |segment: &str, number: usize| {
        let line = cleaned.split('\r').find(|line| line.starts_with(segment)).unwrap();
        line.split('|').nth(number).unwrap().split('^').next().unwrap().to_owned()
    };
    let dates = [field("OBR", 7), field("OBR", 8), field("MSH", 6)];
    Story { number: field("PID", 3), order: field("OBR", 3), dates }
}

fn in_x12(keys: &TestKeys) -> Story {
    let [examined, resulted, claimed] = DATES;
    let text = format!(
        "ISA*00*          *00*          *ZZ*A              *ZZ*B              *260318*1023*^*00501*000000001*0*T*:~\
         GS*HC*A*B*20260318*1023*7*X*005010X222A1~ST*837*1~HL*1**22*0~SBR*P~NM1*IL*1*DOE*JANE****MI*{NUMBER}~CLM*1*2~REF*6R*{ORDER}~\
         DTP*434*D8*{examined}~DTP*472*D8*{resulted}~DTP*573*D8*{claimed}~SE*10*1~GE*1*7~IEA*1*000000001~"
    );
    let cleaned = String::from_utf8(x12::deidentify(text.as_bytes(), &config(), keys).unwrap()).unwrap();
    let element = |start: &str, number: usize| {
        let segment = cleaned.split('~').find(|segment| segment.starts_with(start)).unwrap();
        segment.split('*').nth(number).unwrap().to_owned()
    };
    let dates = ["DTP*434", "DTP*472", "DTP*573"].map(|start| element(start, 3));
    Story { number: element("NM1*IL", 9), order: element("REF*6R", 2), dates }
}

fn in_fhir(keys: &TestKeys) -> (Story, String) {
    let dates = DATES.map(|date| format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..]));
    let reference = json!({"reference": "Patient/77", "identifier": {"system": "urn:mrn", "value": NUMBER}});
    let bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": [
        {"resource": {"resourceType": "ImagingStudy", "status": "available", "subject": reference, "started": dates[0],
            "identifier": [{"system": "urn:dicom:uid", "value": format!("urn:oid:{STUDY}")},
                {"system": "urn:accession", "value": ORDER}]}},
        {"resource": {"resourceType": "DiagnosticReport", "status": "final", "subject": reference, "effectiveDateTime": dates[1]}},
        {"resource": {"resourceType": "Claim", "status": "active", "patient": {"reference": "Patient/77"}, "created": dates[2]}},
        {"resource": {"resourceType": "Patient", "id": "77", "identifier": [{"system": "urn:mrn", "value": NUMBER}]}}]});
    let config = Config { patient_system: Some("urn:mrn".to_owned()), ..config() };
    let cleaned = fhir::deidentify(bundle.to_string().as_bytes(), 2026, &config, keys).unwrap();
    let cleaned: Value = serde_json::from_slice(&cleaned).unwrap();
    let text = |pointer: &str| cleaned.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
    let date = |pointer: &str| text(pointer).replace('-', "");
    let story = Story {
        number: text("/entry/3/resource/identifier/0/value"),
        order: text("/entry/0/resource/identifier/1/value"),
        dates: [
            date("/entry/0/resource/started"),
            date("/entry/1/resource/effectiveDateTime"),
            date("/entry/2/resource/created"),
        ],
    };
    (story, text("/entry/0/resource/identifier/0/value").replace("urn:oid:", ""))
}

fn in_dicom(keys: &TestKeys) -> (Story, String) {
    let image = |date: &str| {
        let object = Elements::new(Encoding::EXPLICIT_LITTLE)
            .text(0x0008_0016, "UI", "1.2.840.10008.5.1.4.1.1.4")
            .text(0x0008_0018, "UI", "1.2.826.0.1.99.1")
            .text(0x0008_0050, "SH", ORDER)
            .text(0x0008_0060, "CS", "MR")
            .text(0x0010_0020, "LO", NUMBER)
            .text(0x0018_1012, "DA", date)
            .text(0x0020_000D, "UI", STUDY);
        let profile = Profile::new(&config()).unwrap();
        let cleaned = dicom::deidentify(object.part_10(EXPLICIT), &profile, keys).unwrap();
        let read = dicom_object::from_reader(cleaned.as_slice()).unwrap();
        let text = |tag: u32| {
            let tag =
                dicom_object::Tag(u16::try_from(tag >> 16).unwrap(), u16::try_from(tag & 0xFFFF).unwrap());
            let value = read.element(tag).unwrap().to_str().unwrap().into_owned();
            value.trim_end_matches(['\0', ' ']).to_owned()
        };
        (text(0x0010_0020), text(0x0008_0050), text(0x0020_000D), text(0x0018_1012))
    };
    let images = DATES.map(image);
    let (number, order, study, _) = images[0].clone();
    (Story { number, order, dates: images.map(|(_, _, _, date)| date) }, study)
}

#[test]
fn one_story_ends_the_same_in_all_four_formats() {
    let keys = TestKeys(1);
    let (dicom, study) = in_dicom(&keys);
    let (fhir, study_of_fhir) = in_fhir(&keys);
    assert_eq!(in_hl7(&keys), dicom);
    assert_eq!(in_x12(&keys), dicom);
    assert_eq!(fhir, dicom);
    assert_eq!(study_of_fhir, study);
    assert_eq!(dicom.order.len(), 16, "VR SH holds no more");
    assert!(dicom.number.len() == 32 && dicom.dates != DATES.map(str::to_owned));

    // Nor are intervals others: the dates have moved by as many days.
    let days =
        crate::Pseudonyms::date_shift(&keys, crate::pseudonym::PATIENT, NUMBER.as_bytes(), 365).unwrap();
    for (date, original) in dicom.dates.iter().zip(DATES) {
        let mut moved = original.as_bytes().to_vec();
        assert!(crate::dates::shift(&mut moved, days));
        assert_eq!(date.as_bytes(), moved);
    }
}

#[test]
fn two_recipients_cannot_put_their_records_together() {
    let (one, study) = in_dicom(&TestKeys(1));
    for keys in [2, 3].map(TestKeys) {
        let (other, study_of_other) = in_fhir(&keys);
        assert_ne!(other.number, one.number);
        assert_ne!(other.order, one.order);
        assert_ne!(other.dates, one.dates);
        assert_ne!(study_of_other, study);
    }
}
