//! What is left of resources, and what of them is never left.

mod planted;

use serde_json::{Value, json};

use super::*;
use crate::pseudonym::tests::TestKeys;
use crate::pseudonym::{patient, uid};
use crate::{MessageDates, PatientId, PostalCodes, Staff, UnknownAttributes};

const MASKED: &str = "http://hl7.org/fhir/StructureDefinition/data-absent-reason";

fn clean(resource: &Value) -> Value {
    clean_as(resource, &Config::default())
}

fn clean_as(resource: &Value, config: &Config) -> Value {
    let cleaned = deidentify(resource.to_string().as_bytes(), 2026, config, &TestKeys(1)).unwrap();
    let again = deidentify(&cleaned, 2026, config, &TestKeys(1)).unwrap();
    serde_json::from_slice::<Value>(&again).unwrap();
    serde_json::from_slice(&cleaned).unwrap()
}

fn code_as(resource: &Value, config: &Config) -> &'static str {
    let refusal = deidentify(resource.to_string().as_bytes(), 2026, config, &TestKeys(1)).unwrap_err();
    assert!(!refusal.reason.contains("SENTINEL"), "{refusal}");
    refusal.code
}

fn shifting() -> Config {
    Config { message_dates: MessageDates::Shift, ..Config::default() }
}

fn pseudonym_of(id: &str) -> String {
    patient(&TestKeys(1), id.as_bytes()).unwrap()
}

fn masked() -> Value {
    json!({"extension": [{"url": MASKED, "valueCode": "masked"}]})
}

#[test]
fn a_patient_keeps_what_identifies_nobody() {
    let cleaned = clean(&json!({
        "resourceType": "Patient", "id": "4711", "language": "en-US", "active": true, "gender": "female",
        "meta": {"versionId": "3", "lastUpdated": "2026-05-06T07:08:09.123+02:00", "source": "#SENTINEL",
            "profile": ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient", "http://st-marys.example/p"]},
        "text": {"status": "generated", "div": "<div>SENTINEL</div>"},
        "extension": [{"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race", "valueString": "SENTINEL"}],
        "identifier": [
            {"use": "usual", "system": "urn:oid:1.2.3", "value": "4711", "period": {"start": "2001-02-03"},
             "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR", "display": "SENTINEL"}]},
             "assigner": {"display": "SENTINEL"}},
            {"system": "http://hl7.org/fhir/sid/us-ssn", "value": "123-45-6789"}, {"system": "urn:empty"}],
        "name": [{"family": "SENTINEL", "given": ["SENTINEL"]}], "telecom": [{"system": "phone", "value": "555"}],
        "birthDate": "1961-07-23", "_birthDate": {"extension": [{"url": "x", "valueDateTime": "1961-07-23T04:05:06Z"}]},
        "address": [{"line": ["SENTINEL"], "city": "SENTINEL", "state": "FL", "postalCode": "33111", "country": "US"}],
        "photo": [{"data": "U0VOVElORUw="}], "contact": [{"name": {"text": "SENTINEL"}}], "SENTINEL": 1, "fhir_comments": ["SENTINEL"],
    }));
    let identifiers = cleaned["identifier"].as_array().unwrap();
    assert_eq!(identifiers.len(), 2);
    assert_eq!(identifiers[0]["value"], pseudonym_of("4711"));
    assert_ne!(identifiers[0]["system"], identifiers[1]["system"], "systems are told apart");
    assert_eq!(
        identifiers[0]["type"]["coding"][0],
        json!({"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"})
    );
    assert_eq!(identifiers[0]["period"], json!({"start": "2001"}));
    let mut rest = cleaned.clone();
    rest.as_object_mut().unwrap().remove("identifier");
    assert_eq!(
        rest,
        json!({
            "resourceType": "Patient", "id": pseudonym_of("4711"), "language": "en-US", "active": true, "gender": "female",
            "meta": {"lastUpdated": "2026-01-01T00:00:00Z", "profile": ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient"]},
            "birthDate": "1961", "address": [{"state": "FL", "postalCode": "00000", "country": "US"}],
        })
    );
    let three = Config { postal_codes: PostalCodes::ThreeDigits, ..Config::default() };
    let address = |country: &str| {
        let address =
            json!({"resourceType": "Patient", "address": [{"postalCode": "33111", "country": country}]});
        clean_as(&address, &three)["address"][0]["postalCode"].as_str().unwrap().to_owned()
    };
    assert_eq!((address("US"), address("DE")), ("33100".to_owned(), "00000".to_owned()));
}

#[test]
fn a_patient_is_who_they_are_wherever_they_are_named() {
    let bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": [
        {"fullUrl": "http://st-marys.example/fhir/Patient/123", "resource": {"resourceType": "Patient", "id": "123"}},
        {"fullUrl": "urn:uuid:6f1d2c3b-0001-4002-8003-000000000004", "resource": {"resourceType": "Observation", "id": "o1", "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]}, "subject": {"reference": "Patient/123", "display": "SENTINEL"},
            "contained": [{"resourceType": "Practitioner", "id": "SENTINEL-1", "name": [{"text": "SENTINEL"}]}],
            "performer": [{"reference": "#SENTINEL-1"}, {"display": "SENTINEL"}, {"type": "Practitioner", "display": "SENTINEL"}],
            "hasMember": [{"reference": "urn:uuid:6F1D2C3B-0001-4002-8003-000000000004"}]}},
        {"resource": {"resourceType": "Encounter", "status": "finished", "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
            "subject": {"reference": "https://other.example/r4/Patient/123/_history/2"}, "serviceProvider": {"reference": "Organization?identifier=SENTINEL"}}},
    ]});
    let cleaned = clean(&bundle);
    let pseudonym = pseudonym_of("123");
    let [first, second, third] = cleaned["entry"].as_array().unwrap().as_slice() else { panic!() };
    assert_eq!(first["fullUrl"], format!("https://deidentified.invalid/Patient/{pseudonym}"));
    assert_eq!(first["resource"]["id"], *pseudonym);
    let observation = &second["resource"];
    assert_eq!(observation["subject"], json!({"reference": format!("Patient/{pseudonym}")}));
    assert_eq!(observation["hasMember"][0]["reference"], second["fullUrl"]);
    assert_ne!(second["fullUrl"], bundle["entry"][1]["fullUrl"]);
    let contained = observation["contained"][0]["id"].as_str().unwrap();
    assert_eq!(observation["performer"], json!([{"reference": format!("#{contained}")}]));
    let encounter = &third["resource"];
    assert_eq!(encounter["subject"]["reference"], first["fullUrl"]);
    assert_eq!(encounter.get("serviceProvider"), None);
    assert!(!cleaned.to_string().contains("SENTINEL"), "{cleaned}");

    let nobody = clean_as(&bundle, &Config { patient_id: PatientId::Empty, ..Config::default() });
    assert!(!nobody.to_string().contains(&pseudonym));
    assert_eq!(nobody["entry"][1]["resource"].get("subject"), None);
}

#[test]
fn what_is_required_and_may_not_go_on_says_that_it_is_masked() {
    let cleaned = clean(
        &json!({"resourceType": "Observation", "status": "SENTINEL", "code": {"text": "SENTINEL"},
        "valueString": "SENTINEL", "referenceRange": [{"text": "SENTINEL"}], "component": [{"code": {"coding": [{"code": "SENTINEL"}]}}]}),
    );
    assert_eq!(
        cleaned,
        json!({"resourceType": "Observation", "_status": masked(), "code": masked(), "_valueString": masked(),
        "referenceRange": [{"_text": masked()}], "component": [{"code": masked()}]})
    );
    let cleaned = clean(
        &json!({"resourceType": "Claim", "status": "active", "_use": {"extension": []}, "insurance": [{"sequence": 1,
        "focal": true, "coverage": {"display": "SENTINEL"}}], "patient": {"display": "SENTINEL"}}),
    );
    assert_eq!(
        cleaned,
        json!({"resourceType": "Claim", "status": "active", "_use": masked(), "patient": masked(),
        "insurance": [{"sequence": 1, "focal": true, "coverage": masked()}]})
    );
    let cleaned =
        clean(&json!({"resourceType": "Composition", "title": "SENTINEL", "section": [{"title": "SENTINEL",
        "text": {"status": "generated", "div": "<div>SENTINEL</div>"}}]}));
    assert_eq!(cleaned["title"], "ANONYMOUS");
    assert_eq!(cleaned["section"][0]["text"]["status"], "empty");
}

#[test]
fn numbers_stay_to_the_letter_and_ages_are_capped() {
    let raw = r#"{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"2339-0"}]},"valueQuantity":{"value":6.30,"unit":"mmol/L","system":"http://unitsofmeasure.org","code":"mmol/L"}}"#;
    let cleaned = deidentify(raw.as_bytes(), 2026, &Config::default(), &TestKeys(1)).unwrap();
    assert_eq!(String::from_utf8(cleaned).unwrap(), raw);

    let age = |code: &str, value: Value, name: &str| {
        let coding = json!({"coding": [{"system": "http://loinc.org", "code": code}]});
        clean(&json!({"resourceType": "Observation", "status": "final", "code": coding, name: value}))[name]
            .clone()
    };
    let quantity =
        |value: u32, code: &str| json!({"value": value, "system": "http://unitsofmeasure.org", "code": code});
    assert_eq!(age("30525-0", quantity(97, "a"), "valueQuantity"), quantity(90, "a"));
    assert_eq!(age("30525-0", quantity(89, "a"), "valueQuantity"), quantity(89, "a"));
    assert_eq!(age("30525-0", quantity(1200, "mo"), "valueQuantity"), quantity(1080, "mo"));
    assert_eq!(
        age("30525-0", json!({"value": 97}), "valueQuantity"),
        Value::Null,
        "of what, it does not say"
    );
    assert_eq!(age("30525-0", json!(97), "valueInteger"), 90);
    assert_eq!(age("2339-0", quantity(97, "kg"), "valueQuantity"), quantity(97, "kg"));
    assert_eq!(age("2339-0", quantity(97, "a"), "valueQuantity"), quantity(90, "a"), "years of whatever");
    assert_eq!(age("2339-0", json!({"value": 97, "unit": "years"}), "valueQuantity")["value"], 90);
    for code in ["424144002", "397669002", "63901-3"] {
        assert_eq!(age(code, json!(97), "valueInteger"), 90, "{code}");
    }
    assert_eq!(
        age("2339-0", json!({"value": 0.123_456_789, "unit": "mg"}), "valueQuantity")["value"],
        0.123_456
    );
    assert_eq!(age("2339-0", json!(123_456_789), "valueInteger"), Value::Null, "somebody's number");
    let onset = clean(
        &json!({"resourceType": "Condition", "subject": {"reference": "Patient/1"}, "onsetAge": quantity(101, "a")}),
    );
    assert_eq!(onset["onsetAge"]["value"], 90);
    for (born, expected) in [("1930-01-02", "1936"), ("1990", "1990")] {
        assert_eq!(clean(&json!({"resourceType": "Patient", "birthDate": born}))["birthDate"], expected);
    }
}

#[test]
fn codes_of_published_systems_go_on_and_others_may_be_anything() {
    let code = |coding: Value, config: &Config| {
        clean_as(&json!({"resourceType": "Condition", "code": {"coding": [coding]}}), config)["code"].clone()
    };
    let snomed = json!({"system": "http://snomed.info/sct", "code": "44054006", "display": "SENTINEL", "version": "SENTINEL"});
    assert_eq!(
        code(snomed, &Config::default()),
        json!({"coding": [{"system": "http://snomed.info/sct", "code": "44054006"}]})
    );
    let own = json!({"system": "http://st-marys.example/codes", "code": "DM2"});
    assert_eq!(code(own.clone(), &Config::default()), Value::Null);
    let config =
        Config { code_systems: vec!["http://st-marys.example/codes".to_owned()], ..Config::default() };
    assert_eq!(code(own.clone(), &config), json!({"coding": [own]}));
}

#[test]
fn imaging_is_named_as_in_dicom() {
    let study = uid(&TestKeys(1), b"1.2.3.4").unwrap();
    let cleaned = clean(
        &json!({"resourceType": "ImagingStudy", "status": "available", "subject": {"reference": "Patient/1"},
        "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3.4"}, {"value": "A-77", "type": {"coding": [
            {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}]}}],
        "series": [{"uid": "1.2.3.4", "description": "SENTINEL", "modality": {"system": "http://dicom.nema.org/resources/ontology/DCM", "code": "MR"},
            "instance": [{"uid": "1.2.3.4.5", "title": "SENTINEL", "sopClass": {"system": "urn:ietf:rfc:3986", "code": "urn:oid:1.2.840.10008.5.1.4.1.1.4"}}]}]}),
    );
    assert_eq!(
        cleaned["identifier"][0],
        json!({"system": "urn:dicom:uid", "value": format!("urn:oid:{study}")})
    );
    assert_eq!(
        cleaned["identifier"][1]["value"],
        crate::pseudonym::short(&TestKeys(1), "order", b"A-77").unwrap()
    );
    assert_eq!(cleaned["series"][0]["uid"], *study);
    let instance = &cleaned["series"][0]["instance"][0];
    assert_eq!(instance["uid"], uid(&TestKeys(1), b"1.2.3.4.5").unwrap());
    assert_eq!(instance["sopClass"]["code"], "urn:oid:1.2.840.10008.5.1.4.1.1.4");
}

#[test]
fn dates_of_a_patient_keep_their_intervals() {
    let days = TestKeys(1).date_shift(crate::pseudonym::PATIENT, b"123", 365).unwrap();
    let expected = |text: &str| crate::dates::shift_iso(text, days).unwrap();
    let procedure = |subject: Value| {
        json!({"resourceType": "Procedure", "status": "completed", "subject": subject,
        "performedPeriod": {"start": "2026-03-01T10:00:00Z", "end": "2026-03-03"}})
    };
    let cleaned = clean_shifted(&procedure(json!({"reference": "Patient/123"})));
    assert_eq!(
        cleaned["performedPeriod"],
        json!({"start": expected("2026-03-01T10:00:00Z"), "end": expected("2026-03-03")})
    );
    for unknown in [
        json!({"type": "Patient", "display": "SENTINEL"}),
        json!({"type": "Patient", "identifier": {"value": "9"}}),
    ] {
        assert_eq!(code_as(&procedure(unknown), &shifting()), "no-patient-id");
    }
    let of_nobody = json!({"resourceType": "Organization", "meta": {"lastUpdated": "2026-03-01T10:00:00Z"}, "name": "SENTINEL"});
    assert_eq!(clean_shifted(&of_nobody)["meta"]["lastUpdated"], "2026-01-01T00:00:00Z");
    assert_eq!(
        clean_shifted(&json!({"resourceType": "Patient", "id": "123", "birthDate": "1961-07-23"}))["birthDate"],
        "1961"
    );
    let born = clean_shifted(
        &json!({"resourceType": "Condition", "subject": {"reference": "Patient/123"}, "onsetDateTime": "1931-07-23"}),
    );
    assert_eq!(born["onsetDateTime"], "1936", "so long ago that it tells an age");

    // Two patients in one bundle each have their own days; its own date is of neither.
    let bundle = json!({"resourceType": "Bundle", "type": "collection", "timestamp": "2026-03-01T10:00:00Z", "entry": [
        {"fullUrl": "urn:uuid:a-1", "resource": {"resourceType": "Patient", "id": "123", "deceasedDateTime": "2026-03-01"}},
        {"resource": {"resourceType": "Procedure", "status": "completed", "subject": {"reference": "urn:uuid:A-1"}, "performedDateTime": "2026-03-01"}},
        {"resource": {"resourceType": "Patient", "id": "124", "deceasedDateTime": "2026-03-01"}}]});
    let cleaned = clean_shifted(&bundle);
    assert_eq!(cleaned["timestamp"], "2026-01-01T00:00:00Z");
    assert_eq!(cleaned["entry"][0]["resource"]["deceasedDateTime"], expected("2026-03-01"));
    assert_eq!(cleaned["entry"][1]["resource"]["performedDateTime"], expected("2026-03-01"));
    assert_ne!(cleaned["entry"][2]["resource"]["deceasedDateTime"], expected("2026-03-01"));
}

#[test]
fn dates_may_be_shifted_by_the_identifier_that_other_formats_know() {
    let config = Config { patient_system: Some("urn:mrn".to_owned()), ..shifting() };
    let days = TestKeys(1).date_shift(crate::pseudonym::PATIENT, b"4711", 365).unwrap();
    let expected = crate::dates::shift_iso("2026-03-01", days).unwrap();
    let identifier = json!({"system": "urn:mrn", "value": "4711"});
    let procedure = |subject: Value| json!({"resourceType": "Procedure", "status": "completed", "subject": subject, "performedDateTime": "2026-03-01"});
    let logical = procedure(json!({"reference": "Patient/1", "identifier": identifier}));
    assert_eq!(clean_as_once(&logical, &config)["performedDateTime"], *expected);
    assert_eq!(clean_as_once(&logical, &config)["subject"]["identifier"]["value"], pseudonym_of("4711"));
    let bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": [
        {"resource": procedure(json!({"reference": "Patient/1"}))},
        {"resource": {"resourceType": "Patient", "id": "1", "identifier": [{"system": "urn:other", "value": "9"}, identifier]}}]});
    let cleaned = clean_as_once(&bundle, &config);
    assert_eq!(cleaned["entry"][0]["resource"]["performedDateTime"], *expected);
    assert_eq!(code_as(&procedure(json!({"reference": "Patient/1"})), &config), "no-patient-id");
}

/// Without a second time: pseudonyms have no system by which dates could be shifted again.
fn clean_as_once(resource: &Value, config: &Config) -> Value {
    serde_json::from_slice(&deidentify(resource.to_string().as_bytes(), 2026, config, &TestKeys(1)).unwrap())
        .unwrap()
}

fn clean_shifted(resource: &Value) -> Value {
    clean_as_once(resource, &shifting())
}

#[test]
fn staff_are_pseudonyms_unless_kept() {
    let doctor = json!({"resourceType": "Practitioner", "id": "7", "name": [{"family": "KILDARE", "extension": [{"url": "SENTINEL"}]}],
        "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}], "birthDate": "1960-01-02"});
    let cleaned = clean(&doctor);
    assert_eq!(cleaned.get("name"), None);
    assert_ne!(cleaned["identifier"][0]["value"], "1234567893");
    let kept = clean_as(&doctor, &Config { staff: Staff::Keep, ..Config::default() });
    assert_eq!(
        kept,
        json!({"resourceType": "Practitioner", "id": "7", "name": [{"family": "KILDARE"}],
        "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}]})
    );
}

#[test]
fn what_nobody_described_is_refused() {
    let code = |resource: Value| code_as(&resource, &Config::default());
    assert_eq!(code(json!({"resourceType": "SENTINEL"})), "unsupported-resource");
    assert_eq!(code(json!({"resourceType": "Patient.contact"})), "unsupported-resource");
    assert_eq!(code(json!({"id": "1"})), "unsupported-resource");
    assert_eq!(code(json!([])), "unsupported-resource");
    assert_eq!(
        code(json!({"resourceType": "Patient", "contained": [{"resourceType": "Binary"}]})),
        "unsupported-resource"
    );
    assert_eq!(
        code(json!({"resourceType": "Patient", "modifierExtension": [{"url": "SENTINEL"}]})),
        "modifier-extension"
    );
    assert_eq!(code(json!({"resourceType": "Patient", "implicitRules": "SENTINEL"})), "modifier-extension");
    for wrong in [
        json!({"name": "SENTINEL", "gender": ["SENTINEL"]}),
        json!({"active": "SENTINEL"}),
        json!({"address": [5]}),
        json!({"identifier": {}}),
    ] {
        let mut patient = json!({"resourceType": "Patient"});
        patient.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        assert_eq!(code(patient), "invalid-fhir", "{wrong}");
    }
    let quarantine = Config { unknown_attributes: UnknownAttributes::Quarantine, ..Config::default() };
    assert_eq!(code_as(&json!({"resourceType": "Patient", "SENTINEL": 1}), &quarantine), "unknown-element");
    assert_eq!(
        deidentify(b"SENTINEL", 2026, &Config::default(), &TestKeys(1)).unwrap_err().code,
        "invalid-json"
    );
    assert_eq!(
        deidentify(&vec![b' '; OCTETS_MAX + 1], 2026, &Config::default(), &TestKeys(1)).unwrap_err().code,
        "too-large"
    );
    let masked: Vec<&str> = vec![r#"{"_status":{},"period":{}}"#; 95_000];
    let growing = format!(r#"{{"resourceType":"Encounter","statusHistory":[{}]}}"#, masked.join(","));
    assert_eq!(
        deidentify(growing.as_bytes(), 2026, &Config::default(), &TestKeys(1)).unwrap_err().code,
        "too-large"
    );
    assert!(check_version("application/fhir+json; charset=utf-8; fhirVersion=4.0").is_ok());
    assert!(check_version("application/fhir+json").is_ok());
    assert_eq!(
        check_version("application/fhir+json; fhirVersion=5.0").unwrap_err().code,
        "unsupported-version"
    );
}
