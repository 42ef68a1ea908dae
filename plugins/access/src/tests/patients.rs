//! Decisions by who treats a record's patient and by what the patient allows.

use hilum_formats::care::{Carer, Consent as Agreed, Kind, Known, Provision, Stay, Tag, coded};
use hilum_formats::dicom::Encoding;
use hilum_formats::dicom::build::{EXPLICIT, Elements};

use super::*;

const NOW: u64 = 1_774_746_000_000;
const ADMISSIONS: &str = "admissions/learn";
const CONSENTS: &str = "consents/learn";

fn tag(kind: Kind, authority: &str, value: &str) -> Tag {
    Tag::of(&hilum_plugin::keys::mac("relationships", &coded(kind, authority, value)).unwrap())
}

/// What the stages of both flows know of patient 4711.
pub(super) fn learned(stays: Vec<Stay>, consents: Vec<Provision>) {
    let key = tag(Kind::Patient, "st-marys", "4711").key();
    let id = || tag(Kind::Consent, "", "c");
    let known = Known::new(stays, vec![]);
    let consents = consents.into_iter().map(|says| Agreed { id: id(), says }).collect();
    let agreed = Known::new(vec![], consents);
    testing::with(|host| {
        host.now = NOW;
        host.observed.clear();
        host.observed.insert(ADMISSIONS.into(), [(key.clone(), known.encode())].into());
        host.observed.insert(CONSENTS.into(), [(key, agreed.encode())].into());
    });
}

fn stay(role: Role, kind: Kind, who: &str) -> Stay {
    let authority = if kind == Kind::Practitioner { "st-marys" } else { "" };
    let carers = vec![Carer { role, who: tag(kind, authority, who), from: NOW, until: None }];
    Stay { id: tag(Kind::Visit, "", "v"), until: NOW + 1, is_discharged: false, carers }
}

pub(super) fn settings() -> Value {
    json!({
        "people": r#"[
            {"principal": "spiffe://st-marys/person/roentgen", "practitioners": [{"authority": "st-marys", "value": "D1"}]},
            {"role": "teacher", "places": ["4-WEST"]},
            {"stakeholder": "radiology", "actors": ["Organization/radiology"]},
            {"stakeholder": "research", "actors": ["Organization/research"]}
        ]"#,
        "patients": {
            "identifiers": {"authorities": {"st-marys": ["ST-MARYS", "urn:oid:1.2.3"]}, "unnamed": "st-marys"},
            "relationships": [ADMISSIONS], "consents": [CONSENTS],
        },
    })
}

pub(super) fn with(policies: &str) -> Access {
    let mut settings = settings();
    settings["policies"] = policies.into();
    configured(settings).unwrap()
}

fn image_of(patient: &str) -> Vec<u8> {
    Elements::image(Encoding::EXPLICIT_LITTLE)
        .text(0x0010_0020, "LO", patient)
        .text(0x0020_0010, "SH", "study")
        .part_10(EXPLICIT)
}

/// Whether one condition alone lets the radiologist have a patient's image.
fn holds(condition: &str) -> bool {
    let mut access = with(&format!("@id(\"one\") {ALL} when {{ {condition} }};"));
    match access.decide(&egress(), request(head("application/dicom"), image_of("4711"))) {
        Decision::Deny(refusal) => {
            assert_eq!(refusal.code, "no-policy", "{condition}: {refusal:?}");
            false
        }
        decision => decision == allowed_by("one"),
    }
}

#[test]
fn who_treats_the_patient_is_known_by_number_or_by_place() {
    learned(vec![stay(Role::Attending, Kind::Practitioner, "D1")], vec![]);
    assert!(holds("context.treats") && holds("context.treatsAs == [\"attending\"]"));
    assert!(!holds("context.treatsAs.contains(\"referring\")"));
    learned(vec![stay(Role::Place, Kind::Place, "4-WEST")], vec![]);
    assert!(holds("context.treats && context.treatsAs.contains(\"place\")"));
    learned(vec![stay(Role::Attending, Kind::Practitioner, "D2")], vec![]);
    assert!(holds("!context.treats && context.treatsAs.isEmpty()"));
    let mut over = stay(Role::Attending, Kind::Practitioner, "D1");
    over.until = NOW;
    learned(vec![over], vec![]);
    assert!(!holds("context.treats"));
}

#[test]
fn consent_is_for_this_party_purpose_and_record() {
    let permit = |change: fn(&mut Provision)| {
        let mut says = Provision { permits: Some(true), ..Provision::default() };
        change(&mut says);
        learned(vec![], vec![says]);
        holds(r#"context.consent == Consent::"permit""#)
    };
    assert!(permit(|_| {}));
    assert!(permit(|says| says.purposes = vec!["TREAT".into()]));
    assert!(!permit(|says| says.purposes = vec!["HRESCH".into()]));
    assert!(permit(|says| says.actors = vec![tag(Kind::Actor, "", "Organization/radiology")]));
    assert!(!permit(|says| says.actors = vec![tag(Kind::Actor, "", "Organization/research")]));
    assert!(permit(|says| says.classes = vec!["ImagingStudy".into()]));
    assert!(permit(|says| says.labels = vec!["V".into()]), "it is marked as nothing, so as very restricted");
    assert!(!permit(|says| says.labels = vec!["N".into()]));
    assert!(!permit(|says| says.actions = vec!["store".into()]));
    learned(vec![], vec![Provision { is_unclear: true, ..Provision::default() }]);
    assert!(holds(r#"context.consent == Consent::"deny""#));
    learned(vec![], vec![]);
    assert!(holds(r#"context.consent == Consent::"none""#));
}

#[test]
fn a_denial_for_an_actor_of_whom_nobody_says_who_it_is_is_for_everybody() {
    let mut nobody = egress();
    nobody.recipient.as_mut().unwrap().stakeholder = "wards".into();
    nobody.recipient.as_mut().unwrap().roles.clear();
    for reader in [&egress(), &nobody] {
        for (permits, actor, expected) in [
            (false, "Organization/research", "none"),
            (false, "Organization/pharma", "deny"),
            (true, "Organization/pharma", "none"),
        ] {
            let actors = vec![tag(Kind::Actor, "", actor)];
            learned(vec![], vec![Provision { permits: Some(permits), actors, ..Provision::default() }]);
            let condition = format!("context.consent == Consent::\"{expected}\"");
            let mut access = with(&format!("@id(\"one\") {ALL} when {{ {condition} }};"));
            let decision = access.decide(reader, request(head("application/dicom"), image_of("4711")));
            assert_eq!(decision, allowed_by("one"), "{permits} {actor}");
        }
    }
}

#[test]
fn a_list_in_the_configuration_takes_patients_out() {
    learned(vec![], vec![]);
    let mut settings = settings();
    settings["policies"] =
        format!("@id(\"all\") {ALL} when {{ context.consent != Consent::\"deny\" }};").into();
    settings["opt_outs"] = r#"[{"authority": "st-marys", "value": "4712", "purposes": ["TREAT"]}]"#.into();
    let mut access = configured(settings).unwrap();
    let mut ask =
        |patient: &str| access.decide(&egress(), request(head("application/dicom"), image_of(patient)));
    assert_eq!(ask("4711"), allowed_by("all"));
    assert_eq!(denied(ask("4712")).code, "no-policy");
}

const EMERGENCY: &str = r#"
    @id("emergency") @break_glass("stroke") @justify("within 72h") permit(principal, action, resource)
    when { context.purpose == Purpose::"BTG" };
    @id("treating") permit(principal, action, resource) when { context.treats };"#;

#[test]
fn without_knowledge_of_the_patient_nothing_passes_but_an_emergency() {
    learned(vec![stay(Role::Attending, Kind::Practitioner, "D1")], vec![]);
    let mut access = with(&format!("{EMERGENCY} @id(\"others\") {ALL};"));
    let ask = |access: &mut Access, content_type: &str, body: Vec<u8>| {
        access.decide(&egress(), request(head(content_type), body))
    };
    assert!(matches!(ask(&mut access, "application/dicom", image_of("4711")), Decision::AllowWith(_)));
    for (content_type, body) in [
        ("application/dicom", image_of("")),
        ("application/dicom", b"DICM".to_vec()),
        ("text/plain", b"4711".to_vec()),
        ("application/hl7-v2", b"MSH|^~\\&|A|B|||2026||ORU^R01|7|P|2.5.1\rPID|1||1\rPID|1||2\r".to_vec()),
        ("application/fhir+json", br#"{"resourceType": "Patient"}"#.to_vec()),
    ] {
        let refusal = denied(ask(&mut access, content_type, body));
        assert_eq!(refusal.code, "patient-unclear", "{content_type}");
    }
    let emergency = Context { purpose: Some("BTG".into()), ..egress() };
    testing::with(|host| host.break_glass_reason = Some("stroke".into()));
    let mut access = with(EMERGENCY);
    let decision = access.decide(&emergency, request(head("application/dicom"), image_of("")));
    let Decision::AllowWith(obligations) = decision else { panic!("{decision:?}") };
    assert!(obligations.iter().any(|of| of.name == "break-glass-policy"));

    // What is kept is damaged, or of another version.
    let key = tag(Kind::Patient, "st-marys", "4711").key();
    testing::with(|host| host.observed.get_mut(ADMISSIONS).unwrap().insert(key, b"{}".to_vec()));
    assert_eq!(denied(ask(&mut access, "application/dicom", image_of("4711"))).code, "patients-unavailable");
    // The grant is taken away while it runs: as if nothing could be read.
    testing::with(|host| host.observed.clear());
    assert_eq!(denied(ask(&mut access, "application/dicom", image_of("4711"))).code, "patients-unavailable");
}

#[test]
fn a_merged_record_is_followed_and_a_circle_is_not() {
    learned(vec![stay(Role::Attending, Kind::Practitioner, "D1")], vec![]);
    let of = |patient: &str| tag(Kind::Patient, "st-marys", patient);
    let merged = [("4710", "4711"), ("1", "2"), ("2", "1")];
    let merged = merged.map(|(from, into)| (of(from).key(), Known::merged(&of(into)).encode()));
    testing::with(|host| host.observed.get_mut(ADMISSIONS).unwrap().extend(merged));
    let mut access = with(&format!("@id(\"treating\") {ALL} when {{ context.treats }};"));
    let mut ask =
        |patient: &str| access.decide(&egress(), request(head("application/dicom"), image_of(patient)));
    assert_eq!(ask("4710"), allowed_by("treating"));
    assert_eq!(denied(ask("1")).code, "patients-unavailable");
    assert_eq!(denied(ask("9999")).code, "no-policy", "of whom nothing is known");
}

#[test]
fn decisions_on_one_patient_are_not_those_on_another_nor_of_another_time() {
    learned(vec![stay(Role::Attending, Kind::Practitioner, "D1")], vec![]);
    let mut access = with(&format!("@id(\"treating\") {ALL} when {{ context.treats }};"));
    let ask = |access: &mut Access, patient: &str| {
        access.decide(&egress(), request(head("application/dicom"), image_of(patient)))
    };
    assert_eq!(ask(&mut access, "4711"), allowed_by("treating"));
    assert_eq!(denied(ask(&mut access, "4712")).code, "no-policy");
    assert_eq!(ask(&mut access, "4711"), allowed_by("treating"));
    testing::with(|host| host.now = NOW + 1);
    assert_eq!(denied(ask(&mut access, "4711")).code, "no-policy");
}

#[test]
fn an_explanation_says_what_of_the_patient_does_not_hold() {
    learned(vec![], vec![]);
    let mut settings = settings();
    settings["policies"] =
        format!("@id(\"treating\") {ALL} when {{ context.treatsAs.contains(\"attending\") }};").into();
    settings["explain"] = true.into();
    let mut access = configured(settings).unwrap();
    let refusal = denied(access.decide(&egress(), request(head("application/dicom"), image_of("4711"))));
    assert!(
        refusal.reason.contains("`treating` needs context.treatsAs.contains(\"attending\")"),
        "{refusal:?}"
    );
}

#[test]
fn what_is_looked_at_has_to_be_learned_and_granted() {
    learned(vec![], vec![]);
    let fault = |policies: &str, change: fn(&mut Value)| {
        let mut settings = settings();
        settings["policies"] = format!("@id(\"one\") {ALL} when {{ {policies} }};").into();
        change(&mut settings);
        let error = configured(settings).unwrap_err();
        (error.at, error.reason)
    };
    let consent = r#"context.consent == Consent::"permit""#;
    assert_eq!(fault("context.treats", |of| of["patients"] = Value::Null).0, "/patients");
    assert_eq!(
        fault("context.treats", |of| of["patients"]["relationships"] = json!([])).0,
        "/patients/relationships"
    );
    assert_eq!(fault(consent, |of| of["patients"]["consents"] = json!([])).0, "/patients/consents");
    let (at, reason) = fault("context.treats", |of| of["patients"]["relationships"] = json!(["other/learn"]));
    assert_eq!(at, "/patients/relationships");
    assert!(reason.contains("`observed:other/learn`"), "{reason}");
    testing::with(|host| host.denied.insert("relationships".into()));
    let (at, reason) = fault("context.treats", |_| {});
    assert_eq!(at, "/patients/key");
    assert!(reason.contains("`keys:relationships`"), "{reason}");
    testing::with(|host| host.denied.clear());
    for people in ["{}", "[{}]", r#"[{"principal": "a", "role": "b"}]"#, r#"[{"principal": 1}]"#] {
        let mut settings = settings();
        settings["policies"] = format!("@id(\"one\") {ALL};").into();
        settings["people"] = people.into();
        assert_eq!(configured(settings).unwrap_err().at, "/people", "{people}");
    }
    for out in [
        "{}",
        r#"[{"authority": "x", "value": "1"}]"#,
        r#"[{"authority": "st-marys", "value": "1", "purposes": ["FUN"]}]"#,
    ] {
        let mut settings = settings();
        settings["policies"] = format!("@id(\"one\") {ALL};").into();
        settings["opt_outs"] = out.into();
        assert_eq!(configured(settings).unwrap_err().at, "/opt_outs", "{out}");
    }
}
