//! FHIR R4 resources of a case: what its patient says of research.

use serde_json::json;

use super::calendar;
use super::case::Case;

/// The media type of FHIR resources as JSON (FHIR R4, section 2.1.0.6).
pub const CONTENT_TYPE: &str = "application/fhir+json";
/// The system of the hospital's record numbers.
pub const RECORD_NUMBERS: &str = "urn:oid:2.16.840.1.113883.19.5";

/// A Consent (FHIR R4, resource Consent): the patient lets what was found be used for research, or does not.
#[must_use]
pub fn consent(case: &Case, permits: bool) -> Vec<u8> {
    let coding = |system: &str, code: &str| json!([{"system": system, "code": code}]);
    let provision = if permits { "permit" } else { "deny" };
    let consent = json!({
        "resourceType": "Consent",
        "id": format!("research-{}", case.visit_number),
        "status": "active",
        "scope": {"coding": coding("http://terminology.hl7.org/CodeSystem/consentscope", "research")},
        "category": [{"coding": coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", "RESEARCH")}],
        "patient": {
            "identifier": {"system": RECORD_NUMBERS, "value": case.patient.record_number},
            "display": format!("{} {}", case.patient.given, case.patient.family),
        },
        "dateTime": calendar::rfc3339(case.time),
        "policyRule": {"coding": coding("http://terminology.hl7.org/CodeSystem/v3-ActCode", if permits { "OPTIN" } else { "OPTOUT" })},
        "provision": {
            "type": provision,
            "purpose": coding("http://terminology.hl7.org/CodeSystem/v3-ActReason", "HRESCH"),
        },
    });
    consent.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use hilum_core::Timestamp;

    use super::*;

    #[test]
    fn a_consent_names_its_patient_and_says_one_thing() {
        let case = Case::new(5, 1, Timestamp(1_790_000_000_000));
        for (permits, says) in [(true, "permit"), (false, "deny")] {
            let read: serde_json::Value = serde_json::from_slice(&consent(&case, permits)).unwrap();
            assert_eq!(read["patient"]["identifier"]["value"], case.patient.record_number);
            assert_eq!(read["provision"]["type"], says);
        }
    }
}
