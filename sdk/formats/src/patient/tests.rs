//! Whose records of each format are, and which are nobody's.

use super::*;
use crate::dicom::build::{ENCODINGS, EXPLICIT, Elements, Ends};
use crate::dicom::{Encoding, MemoryPipe};

fn authorities() -> Authorities {
    serde_json::from_str(
        r#"{"authorities": {"st-marys": ["ST-MARYS", "1.2.3", "urn:oid:1.2.3"], "city": ["CITY"], "fhir": []},
            "unnamed": "st-marys", "references": "fhir"}"#,
    )
    .unwrap()
}

fn shown(found: Option<Vec<Identifier>>) -> Option<String> {
    let all = found?.into_iter().map(|of| format!("{}:{}", of.authority, of.value));
    Some(all.collect::<Vec<_>>().join(" "))
}

fn hl7(pid: &str) -> Option<String> {
    let text = format!("MSH|^~\\&|ADT|ST-MARYS|||20260301||ADT^A01^ADT_A01|7|P|2.5.1\r{pid}");
    shown(of_hl7(text.as_bytes(), &authorities()))
}

#[test]
fn a_message_is_of_the_patient_of_its_pid() {
    let st_marys = Some("st-marys:4711".to_owned());
    assert_eq!(hl7("PID|1||4711^^^ST-MARYS^MR||Doe^Jane\r"), st_marys);
    assert_eq!(hl7("PID|1||4711^^^ST-MARYS&1.2.3&ISO^MR\r"), st_marys);
    assert_eq!(hl7("PID|1||4711^^^&1.2.3&ISO^MR\r"), st_marys);
    assert_eq!(hl7("PID|1||4711\r"), st_marys, "nobody else is meant where nobody is named");
    assert_eq!(hl7("PID|1||4711^^^ST-MARYS~99^^^CITY~1^^^ELSEWHERE\r"), Some("city:99 st-marys:4711".into()));
    for nobody in
        ["", "PV1|1|I\r", "PID|1||\r", "PID|1||\"\"\r", "PID|1||1^^^ELSEWHERE\r", "PID|1||1^^^CITY&1.2.3\r"]
    {
        assert_eq!(hl7(nobody), None, "{nobody}");
    }
    assert_eq!(hl7("PID|1||1\rPID|1||2\r"), None, "of two patients");
    assert_eq!(hl7("PID|1||1\rMSH|^~\\&|A|B|||2026||ADT^A08|8|P|2.5.1\rPID|1||2\r"), None);
}

#[test]
fn an_image_is_of_its_patient_id_and_issuer() {
    let found = |octets: &[u8]| shown(of_dicom(&mut MemoryPipe::new(octets), &authorities()));
    for (syntax, encoding) in ENCODINGS {
        let image = Elements::image(encoding).text(0x0010_0020, "LO", "4711").text(0x0010_0021, "LO", "CITY");
        assert_eq!(found(&image.part_10(syntax)), Some("city:4711".into()));
    }
    let explicit = || Elements::new(Encoding::EXPLICIT_LITTLE);
    let id = || explicit().text(0x0010_0020, "LO", "4711");
    assert_eq!(found(&id().part_10(EXPLICIT)), Some("st-marys:4711".into()));
    let qualified = id().sequence(0x0010_0024, &[explicit().text(0x0040_0032, "UT", "9.9")], Ends::Length);
    assert_eq!(found(&qualified.part_10(EXPLICIT)), None, "somebody else assigned it");
    let twice = id().text(0x0010_0020, "LO", "4712");
    assert_eq!(found(&twice.part_10(EXPLICIT)), None);
    assert_eq!(found(&explicit().text(0x0010_0020, "LO", "").part_10(EXPLICIT)), None);
    assert_eq!(found(&explicit().text(0x0008_0060, "CS", "MR").part_10(EXPLICIT)), None);
    let whole = id().part_10(EXPLICIT);
    for end in 0..whole.len() {
        assert_eq!(found(&whole[..end]), None, "cut at {end}");
    }
    assert_eq!(found(b"MSH|^~\\&|"), None);
}

#[test]
fn a_resource_is_of_whom_it_refers_to() {
    let found = |text: &str| shown(of_fhir(text.as_bytes(), &authorities()));
    let patient = r#"{"resourceType": "Patient", "id": "77", "identifier": [{"system": "urn:oid:1.2.3", "value": "4711"}]}"#;
    let both = Some("fhir:77 st-marys:4711".to_owned());
    assert_eq!(found(patient), both);
    assert_eq!(
        found(r#"{"resourceType": "Observation", "subject": {"reference": "Patient/77/_history/2"}}"#),
        Some("fhir:77".into())
    );
    let logical = r#"{"resourceType": "Consent", "patient": {"identifier": {"system": "urn:oid:1.2.3", "value": "4711"}}}"#;
    assert_eq!(found(logical), Some("st-marys:4711".into()));
    let bundle = |more: &str| {
        found(&format!(
            r#"{{"resourceType": "Bundle", "entry": [{{"fullUrl": "urn:uuid:1", "resource": {patient}}},
                {{"resource": {{"resourceType": "Observation", "subject": {{"reference": "urn:uuid:1"}}}}}}{more}]}}"#
        ))
    };
    assert_eq!(bundle(""), both);
    let other = r#", {"resource": {"resourceType": "Claim", "patient": {"reference": "Patient/78"}}}"#;
    assert_eq!(bundle(other), None, "of two patients");
    for nobody in [
        "{}",
        r#"{"resourceType": "Device"}"#,
        r#"{"resourceType": "Observation", "subject": {"reference": "https://elsewhere.example/Patient/77"}}"#,
        r#"{"resourceType": "Observation", "subject": {"reference": "Group/77"}}"#,
        r#"{"resourceType": "Observation", "subject": {"reference": "Patient/77"}, "subject": {"reference": "Patient/78"}}"#,
        r#"{"resourceType": "Claim", "subject": {"reference": "Patient/77"}, "patient": {"reference": "Patient/78"}}"#,
        "[1]",
        "{",
    ] {
        assert_eq!(found(nobody), None, "{nobody}");
    }
}

#[test]
fn authorities_are_described_once() {
    assert_eq!(authorities().fault(), None);
    let fault = |text: &str| serde_json::from_str::<Authorities>(text).unwrap().fault();
    assert!(fault(r#"{"authorities": {"a": ["X"], "b": ["X"]}}"#).is_some());
    assert!(fault(r#"{"authorities": {"a": []}, "unnamed": "b"}"#).is_some());
}

proptest::proptest! {
    /// Whatever comes is of one patient or of nobody.
    #[test]
    fn no_octets_are_too_strange(octets: Vec<u8>, at: proptest::sample::Index, with: u8) {
        let image = Elements::image(Encoding::EXPLICIT_LITTLE).text(0x0010_0020, "LO", "4711").part_10(EXPLICIT);
        let message = b"MSH|^~\\&|A|B|||2026||ADT^A01|7|P|2.5.1\rPID|1||4711^^^ST-MARYS&1.2.3~9^^^CITY\r".to_vec();
        let resource = br#"{"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Patient", "id": "7"}}]}"#.to_vec();
        for mut octets in [octets, image, message, resource] {
            if !octets.is_empty() {
                let at = at.index(octets.len());
                octets[at] = with;
            }
            let all = [
                of_hl7(&octets, &authorities()),
                of_dicom(&mut MemoryPipe::new(&octets), &authorities()),
                of_fhir(&octets, &authorities()),
            ];
            proptest::prop_assert!(all.iter().flatten().all(|found| (1..=IDENTIFIERS_MAX).contains(&found.len())));
        }
    }
}
