//! Elements that are replaced and come back, and what is refused.

use std::convert::Infallible;

use super::*;

const PATIENT: &str = r#"{"resourceType":"Patient","id":"p1","text":{"status":"generated","div":"<div>Jane</div>"},
"name":[{"family":"Doe","given":["Jane","A."]},{"text":"J. Doe"}],"birthDate":"1950-02-03","_birthDate":{"extension":[{"url":"t","valueTime":"08:00:00"}]},
"contact":[{"name":{"family":"Roe"}},{"name":{"family":"Poe"},"gender":"male"}],"multipleBirthInteger":2,"deceasedBoolean":false}"#;

fn names(of: &[&str]) -> Vec<Name> {
    of.iter().map(|name| name.parse().unwrap()).collect()
}

/// Places and members of the elements that are named.
fn seen(text: &str, of: &[&str]) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    replace::<Infallible>(text.as_bytes(), &names(of), |place, members| {
        seen.push((place.to_owned(), members.to_owned()));
        Ok(None)
    })
    .unwrap();
    seen
}

/// Replaces, checks what restoring gives, and gives what was between.
fn there_and_back(text: &str, of: &[&str]) -> serde_json::Value {
    let mut kept = Vec::new();
    let replaced = replace::<Infallible>(text.as_bytes(), &names(of), |place, members| {
        kept.push((place.to_owned(), members.to_owned()));
        Ok(Some(format!("sealed \"{}\"", kept.len())))
    })
    .unwrap();
    let mut restored = 0;
    let back = restore::<Infallible>(&replaced, |place, held| {
        let number: usize = held.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
        assert_eq!(kept[number - 1].0, place);
        restored += 1;
        Ok(Some(kept[number - 1].1.clone().into_bytes()))
    })
    .unwrap();
    assert_eq!(restored, kept.len());
    let parsed = |octets: &[u8]| serde_json::from_slice::<serde_json::Value>(octets).unwrap();
    assert_eq!(parsed(&back), parsed(text.as_bytes()));
    parsed(&replaced)
}

#[test]
fn elements_are_found_by_type_and_path_with_their_places() {
    let found = seen(PATIENT, &["Patient.contact.name", "Patient.deceased[x]", "Observation.name"]);
    let expected = [
        ("Patient.contact[0].name", r#"{"name":{"family":"Roe"}}"#),
        ("Patient.contact[1].name", r#"{"name":{"family":"Poe"}}"#),
        ("Patient.deceasedBoolean", r#"{"deceasedBoolean":false}"#),
    ];
    assert_eq!(found, expected.map(|(place, members)| (place.to_owned(), members.to_owned())));
}

#[test]
fn resources_in_others_are_looked_into() {
    let bundle = format!(
        r#"{{"resourceType":"Bundle","entry":[{{"resource":{{"resourceType":"Observation","contained":[{PATIENT}],"subject":{{"display":"Jane"}}}}}}]}}"#
    );
    let found = seen(&bundle, &["Patient.birthDate", "Observation.subject.display"]);
    let places: Vec<&str> = found.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(
        places,
        [
            "Bundle.entry[0].resource:Observation.contained[0]:Patient.birthDate",
            "Bundle.entry[0].resource:Observation.subject.display"
        ]
    );
    there_and_back(&bundle, &["Patient.birthDate", "Observation.subject.display"]);
}

#[test]
fn every_kind_of_element_keeps_its_kind() {
    let held = |n: u32| serde_json::json!({"extension": [{"url": EXTENSION, "valueString": format!("sealed \"{n}\"")}]});
    let made = there_and_back(
        PATIENT,
        &[
            "Patient.text",
            "Patient.name",
            "Patient.birthDate",
            "Patient.contact.name",
            "Patient.multipleBirth[x]",
        ],
    );
    assert_eq!(made["text"]["status"], "empty");
    assert_eq!(made["text"]["extension"], held(1)["extension"]);
    assert_eq!(made["name"], serde_json::json!([held(2)]));
    assert_eq!((&made["_birthDate"], made.get("birthDate")), (&held(3), None));
    assert_eq!(made["contact"][1], serde_json::json!({"name": held(5), "gender": "male"}));
    assert_eq!((&made["_multipleBirthInteger"], made.get("multipleBirthInteger")), (&held(6), None));
    let made = there_and_back(PATIENT, &["Patient.name.given"]);
    assert_eq!(made["name"][0], serde_json::json!({"family": "Doe", "given": [null], "_given": [held(1)]}));
    assert!(!there_and_back(PATIENT, &["Patient.name", "Patient.text"]).to_string().contains("Doe"));
}

#[test]
fn numbers_stay_as_they_were_written() {
    let text = r#"{"resourceType":"Observation","valueQuantity":{"value":1.50},"component":[{"valueQuantity":{"value":2.0}}]}"#;
    let same =
        replace::<Infallible>(text.as_bytes(), &names(&["Observation.value[x]"]), |_, _| Ok(None)).unwrap();
    assert_eq!(same, text.as_bytes());
    assert_eq!(seen(text, &["Observation.component.value[x]"])[0].1, r#"{"valueQuantity":{"value":2.0}}"#);
}

#[test]
fn what_is_no_resource_is_refused_without_a_word_of_it() {
    let refused =
        |text: &str| replace::<Infallible>(text.as_bytes(), &[], |_, _| Ok(None)).unwrap_err().to_string();
    for (text, says) in [
        ("{\"resourceType\":\"Patient\",\n \"Doe\"}", "line 2, column 7"),
        ("\"Doe\"", "it is no object"),
        ("{\"Doe\":1}", "`resourceType`"),
        ("{\"resourceType\":\"Patient\",\"Doe\":1,\"Doe\":2}", "a member twice"),
    ] {
        let error = refused(text);
        assert!(error.contains(says) && !error.contains("Doe"), "{error}");
    }
    let deep = format!("{{\"resourceType\":\"Patient\",\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
    assert!(refused(&deep).contains("64 deep"));
}

#[test]
fn an_object_of_very_many_members_takes_no_longer_for_each_of_them() {
    let members: Vec<String> = (0..400_000).map(|number| format!("\"m{number}\":0")).collect();
    let text = format!("{{\"resourceType\":\"Patient\",{}}}", members.join(","));
    let began = std::time::Instant::now();
    let same = replace::<Infallible>(text.as_bytes(), &[], |_, _| Ok(None)).unwrap();
    assert!(same == text.as_bytes());
    // It is a fraction of a second; comparing each with all others takes minutes.
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

#[test]
fn what_another_put_there_is_not_taken_for_the_element() {
    let replaced = replace::<Infallible>(PATIENT.as_bytes(), &names(&["Patient.birthDate"]), |_, _| {
        Ok(Some("x".into()))
    });
    let replaced = replaced.unwrap();
    for other in ["{\"gender\":\"male\"}", "{}", "[]", "Doe"] {
        let restored = restore::<Infallible>(&replaced, |_, _| Ok(Some(other.into())));
        assert!(matches!(restored, Err(FieldsError::NotAResource(_))), "{other}");
    }
    assert_eq!(restore::<Infallible>(&replaced, |_, _| Ok(None)).unwrap(), replaced);
}

#[test]
fn what_is_no_name_is_told() {
    for text in ["Patient", "Patient.", "patient.name", "Patient.Name", "Patient.name[0]", "Patient name"] {
        assert_eq!(text.parse::<Name>(), Err(NameError::Fhir), "{text}");
    }
    for text in ["Patient.id", "Patient.contained", "Patient.name.extension", "Bundle.entry.resource"] {
        assert!(matches!(text.parse::<Name>(), Err(NameError::Structure(_))), "{text}");
    }
}
