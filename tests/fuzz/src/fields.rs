//! Single fields of messages and resources, and the values sealed in their places: what is replaced can be restored in every place, and no
//! text that pretends to be sealed opens.

use std::convert::Infallible;

use hilum_core::cose::PrivateKey;
use hilum_core::jose::SealedValue;
use hilum_formats::fields::{fhir, hl7};
use serde_json::Value;

use crate::memory;

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

const KEY: &str = include_str!("../../../broker/core/src/cose/tests/a.pem");
const SEALED: [&str; 4] = [
    include_str!("../../../broker/core/src/jose/tests/compact.txt"),
    include_str!("../../../broker/core/src/jose/tests/parties.txt"),
    include_str!("../../../broker/core/src/jose/tests/flattened.json"),
    include_str!("../../../broker/core/src/jose/tests/general.json"),
];
/// What those were sealed as.
const CONTEXT: &[u8] = b"PID-5";
const PLAIN: &str = "Müller^Jörg|19500203";

/// Takes the octets for a value, a message and a resource.
pub fn check(octets: &[u8]) {
    if let Ok(text) = std::str::from_utf8(octets) {
        value(text);
    }
    message(octets);
    resource(octets);
}

fn value(text: &str) {
    let key = PrivateKey::from_pem(KEY).expect("it is the key of a test");
    match SealedValue::parse(text).and_then(|sealed| sealed.open(&key, CONTEXT)) {
        // Only who has the key can make another one, and nobody here has.
        Ok(plain) => assert!(plain == PLAIN.as_bytes()),
        Err(error) => assert!(!error.to_string().contains("19500203")),
    }
}

fn message(octets: &[u8]) {
    let names: Vec<hl7::Name> = ["PID-3", "PID-5", "NTE-3", "OBX-5"]
        .iter()
        .map(|name| name.parse().expect("it is a field"))
        .collect();
    let mut kept = Vec::new();
    let replaced = hl7::replace::<Infallible>(octets, &names, |place, text| {
        kept.push((place.to_owned(), text.to_vec()));
        Ok(Some(marker(kept.len())))
    });
    let Ok(replaced) = replaced else { return };
    let mut restored = 0;
    let back = hl7::restore::<Infallible>(&replaced, |place, text| {
        Ok(found(text, &kept, place).map(|was| {
            restored += 1;
            was.clone()
        }))
    });
    assert_eq!(back.as_deref(), Ok(octets), "what was replaced comes back");
    assert_eq!(restored, kept.len());
}

fn resource(octets: &[u8]) {
    let names = [
        "Patient.name",
        "Patient.birthDate",
        "Patient.contact.name.given",
        "Patient.text",
        "Observation.value[x]",
    ];
    let names: Vec<fhir::Name> = names.iter().map(|name| name.parse().expect("it is an element")).collect();
    let mut kept = Vec::new();
    let replaced = fhir::replace::<Infallible>(octets, &names, |place, members| {
        assert!(serde_json::from_str::<Value>(members).is_ok_and(|value| value.is_object()));
        kept.push((place.to_owned(), members.as_bytes().to_vec()));
        Ok(Some(marker(kept.len())))
    });
    let Ok(replaced) = replaced else { return };
    let back = fhir::restore::<Infallible>(&replaced, |place, held| Ok(found(held, &kept, place).cloned()))
        .expect("what was replaced can be restored");
    // Numbers of any precision are compared as text.
    // What is replaced as a whole is not looked into; it may have a member twice.
    let Ok(same) = fhir::replace::<Infallible>(octets, &[], |_, _| Ok(None)) else { return };
    assert_eq!(members(&back), members(&same), "what was replaced comes back");
}

/// Numbered, and of octets that need escapes.
fn marker(number: usize) -> String {
    format!("~marker|{number}\"")
}

fn found<'k>(text: &str, kept: &'k [(String, Vec<u8>)], place: &str) -> Option<&'k Vec<u8>> {
    let number: usize = text.strip_prefix("~marker|")?.strip_suffix('"')?.parse().ok()?;
    let (at, was) = kept.get(number.checked_sub(1)?)?;
    (at == place).then_some(was)
}

/// The octets in no order: an element may come back beside another one than before.
fn members(json: &[u8]) -> Vec<u8> {
    let mut octets: Vec<u8> = json.iter().copied().filter(|octet| !octet.is_ascii_whitespace()).collect();
    octets.sort_unstable();
    octets
}

/// Sealed values, and what they are sealed in.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = SEALED.iter().map(|sealed| sealed.as_bytes().to_vec()).collect();
    seeds.push(
        b"MSH|^~\\&|A|B|||2026||ADT^A01|7|P|2.5.1\rPID|1||4711^^^X^MR~12||Doe^Jane\rNTE|1||a\\F\\b\r"
            .to_vec(),
    );
    seeds.push(
        br#"{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Patient","text":{"status":"generated","div":"<div/>"},"name":[{"family":"Doe"}],"birthDate":"1950-02-03","_birthDate":{"extension":[]},"contact":[{"name":{"given":["A",null],"_given":[null,{"id":"x"}]}}]}},{"resource":{"resourceType":"Observation","valueQuantity":{"value":1.50}}}]}"#
            .to_vec(),
    );
    seeds
}
