//! Messages as hospitals send them, and what is known afterwards.

use hilum_formats::care::{Kind, Role, coded};
use hilum_formats::patient::Identifier;
use hilum_plugin::testing::{self, context, message};
use serde_json::{Value, json};

use super::*;

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;
/// 2026-03-01T00:00:00Z.
const START: u64 = 1_772_323_200_000;

fn settings() -> Value {
    json!({
        "identifiers": {
            "authorities": {"st-marys": ["ST-MARYS", "urn:oid:1.2.3"], "other": ["OTHER", "urn:oid:9"], "fhir": []},
            "unnamed": "st-marys", "references": "fhir",
        },
        "grace_hours": 48, "outpatient_days": 10, "time_zone": "CET-1CEST,M3.5.0,M10.5.0/3",
    })
}

fn plugin() -> Relationships {
    testing::with(|host| host.now = START + 1_000 * DAY);
    Relationships::configure(serde_json::from_value(settings()).unwrap()).unwrap()
}

fn tag(kind: Kind, authority: &str, value: &str) -> Tag {
    let authority = authority.to_owned();
    let code = hilum_plugin::keys::mac("relationships", &coded(kind, &authority, value)).unwrap();
    Tag::of(&code)
}

/// A message as a record that was made at a time.
fn told(plugin: &mut Relationships, content_type: &str, body: &str, at: u64) {
    let mut record = message(content_type, body);
    record.head.time = at;
    plugin.observe(&context(), vec![record]);
}

fn hl7(plugin: &mut Relationships, kind: &str, segments: &[&str], at: u64) {
    let text = format!(
        "MSH|^~\\&|ADT|ST-MARYS|||20260301||{kind}|7|P|2.5.1\rEVN||20260301\r{}\r",
        segments.join("\r")
    );
    told(plugin, HL7, &text, at);
}

const PID: &str = "PID|1||4711^^^ST-MARYS^MR||Doe^Jane||19700101|F";

/// PV1 of an inpatient on a ward: attending and referring doctors, and one or two who are consulted.
fn pv1(ward: &str, attending: &str, consulting: &str) -> String {
    format!(
        "PV1|1|I|{ward}^101^A^ST-MARYS||||{attending}^Lee^Ann|D2^Ref^Eve|{consulting}||||||||D4^Adm^Max||V-1"
    )
}

fn known(patient: &str) -> Option<Known> {
    let key = tag(Kind::Patient, "st-marys", patient).key();
    testing::with(|host| host.state.get(&key).map(|found| Known::decode(&found.value).unwrap()))
}

fn roles(patient: &str, kind: Kind, who: &str, at: u64) -> Vec<&'static str> {
    let authority = if kind == Kind::Practitioner { "st-marys" } else { "" };
    let tags = [tag(kind, authority, who)];
    let known = known(patient).unwrap_or_default();
    known.treated_as(&tags, at).into_iter().map(Role::name).collect()
}

fn doctor(who: &str, at: u64) -> Vec<&'static str> {
    roles("4711", Kind::Practitioner, who, at)
}

#[test]
fn who_treats_is_learned_from_admission_to_discharge_and_some_time_after() {
    let plugin = &mut plugin();
    hl7(plugin, "ADT^A01^ADT_A01", &[PID, &pv1("4-WEST", "D1", "D3~D5")], START);
    assert_eq!(doctor("D1", START - 1), [""; 0]);
    assert_eq!(doctor("D1", START), ["attending"]);
    assert_eq!(doctor("D2", START), ["referring"]);
    assert_eq!((doctor("D3", START), doctor("D5", START)), (vec!["consulting"], vec!["consulting"]));
    assert_eq!(doctor("D4", START), ["admitting"]);
    assert_eq!(doctor("D9", START), [""; 0]);
    assert_eq!(roles("4711", Kind::Place, "4-WEST", START), ["place"]);
    assert_eq!(roles("4711", Kind::Place, "4-WEST@ST-MARYS", START), ["place"]);

    // Moved, and somebody else attends: who did before has time to hand over.
    hl7(plugin, "ADT^A02^ADT_A02", &[PID, &pv1("ICU", "D6", "")], START + DAY);
    assert_eq!(doctor("D6", START + DAY), ["attending"]);
    assert_eq!(
        (doctor("D1", START + 3 * DAY - 1), doctor("D1", START + 3 * DAY)),
        (vec!["attending"], vec![])
    );
    assert_eq!(doctor("D3", START + 9 * DAY), ["consulting"], "nothing was said of them");
    assert_eq!(roles("4711", Kind::Place, "4-WEST", START + 3 * DAY), [""; 0]);
    assert_eq!(roles("4711", Kind::Place, "ICU", START + 3 * DAY), ["place"]);
    hl7(plugin, "ADT^A08^ADT_A01", &[PID, &pv1("ICU", "D6", "\"\"")], START + 2 * DAY);
    assert_eq!(doctor("D3", START + 4 * DAY), [""; 0], "nobody is consulted any more");

    hl7(plugin, "ADT^A03^ADT_A03", &[PID, &pv1("ICU", "D6", "")], START + 5 * DAY);
    assert_eq!(
        (doctor("D6", START + 7 * DAY - 1), doctor("D6", START + 7 * DAY)),
        (vec!["attending"], vec![])
    );
    hl7(plugin, "ADT^A08^ADT_A01", &[PID, &pv1("ICU", "D6", "")], START + 6 * DAY);
    assert_eq!(doctor("D6", START + 7 * DAY), [""; 0], "a correction brings nobody back");
    hl7(plugin, "ADT^A13^ADT_A01", &[PID, &pv1("ICU", "D6", "")], START + 6 * DAY);
    assert_eq!(doctor("D6", START + 30 * DAY), ["attending"], "the discharge was a mistake");
    hl7(plugin, "ADT^A11^ADT_A09", &[PID, &pv1("ICU", "D6", "")], START + 6 * DAY);
    assert_eq!(doctor("D6", START + 6 * DAY), [""; 0], "and so was the admission");
}

#[test]
fn visits_that_nobody_ends_end_by_themselves() {
    let plugin = &mut plugin();
    let visit = "PV1|1|O|MRI^^^ST-MARYS||||D1^Lee|||||||||||||";
    hl7(plugin, "ADT^A04^ADT_A01", &[PID, visit], START);
    assert_eq!(
        (doctor("D1", START + 10 * DAY - 1), doctor("D1", START + 10 * DAY)),
        (vec!["attending"], vec![])
    );
    hl7(plugin, "ADT^A12^ADT_A12", &[PID, &visit.replace("MRI", "CT")], START + 5 * DAY);
    assert_eq!(doctor("D1", START + 12 * DAY), ["attending"], "something was heard of it");
    hl7(plugin, "ADT^A05^ADT_A05", &[PID, &pv1("4-WEST", "D7", "")], START + 5 * DAY);
    assert_eq!(doctor("D7", START + 6 * DAY), ["attending"]);
    hl7(plugin, "ADT^A38^ADT_A38", &[PID, &pv1("4-WEST", "D7", "")], START + 6 * DAY);
    assert_eq!((doctor("D7", START + 6 * DAY), doctor("D1", START + 6 * DAY)), (vec![], vec!["attending"]));
}

#[test]
fn those_who_are_expected_at_an_appointment_treat_the_patient_around_it() {
    let plugin = &mut plugin();
    let send = |plugin: &mut Relationships, trigger: &str, start: &str, doctor: &str| {
        let schedule = format!("SCH|P-1|F-1^RIS|||||ROUTINE|MR|30|min|^^30^{start}");
        let person = format!("AIP|1|A|{doctor}^Scan^Sue|MD");
        hl7(
            plugin,
            trigger,
            &[&schedule, PID, "RGS|1", &person, "AIP|2|D|D9^Off", "AIL|1|A|MR-ROOM^^^ST-MARYS"],
            START,
        );
    };
    send(plugin, "SIU^S12^SIU_S12", "202603111000", "D1");
    let at = START + 10 * DAY + 9 * HOUR; // 10:00 in Berlin
    assert_eq!(
        (doctor("D1", at - 72 * HOUR - 1), doctor("D1", at - 72 * HOUR)),
        (vec![], vec!["appointment"])
    );
    let end = at + HOUR / 2 + 48 * HOUR;
    assert_eq!((doctor("D1", end - 1), doctor("D1", end)), (vec!["appointment"], vec![]));
    assert_eq!(roles("4711", Kind::Place, "MR-ROOM", at), ["place"]);
    assert_eq!(doctor("D9", at), [""; 0], "was taken off it");
    send(plugin, "SIU^S13^SIU_S12", "202604111000", "D1");
    assert_eq!((doctor("D1", at), doctor("D1", at + 31 * DAY)), (vec![], vec!["appointment"]), "another day");
    send(plugin, "SIU^S14^SIU_S12", "202604111000", "D2");
    assert_eq!((doctor("D1", at + 31 * DAY), doctor("D2", at + 31 * DAY)), (vec![], vec!["appointment"]));
    for cancelled in ["SIU^S15^SIU_S12", "SIU^S26^SIU_S12"] {
        send(plugin, "SIU^S12^SIU_S12", "202603111000", "D1");
        send(plugin, cancelled, "202603111000", "D1");
        assert_eq!(doctor("D1", at), [""; 0], "{cancelled}");
    }
}

#[test]
fn a_merged_record_is_where_it_was_merged_into() {
    let plugin = &mut plugin();
    let other = PID.replace("4711", "4712");
    hl7(plugin, "ADT^A01^ADT_A01", &[&other, &pv1("4-WEST", "D1", "")], START);
    hl7(plugin, "ADT^A40^ADT_A39", &[PID, "MRG|4712^^^ST-MARYS^MR"], START + HOUR);
    assert_eq!(doctor("D1", START + HOUR), ["attending"]);
    assert_eq!(known("4712").unwrap().merged_into, Some(tag(Kind::Patient, "st-marys", "4711")));
    // Somebody goes on with the old number.
    hl7(plugin, "ADT^A03^ADT_A03", &[&other, &pv1("4-WEST", "D1", "")], START + HOUR);
    assert_eq!(doctor("D1", START + 3 * DAY), [""; 0]);
    hl7(plugin, "ADT^A40^ADT_A39", &[&PID.replace("4711", "4713"), "MRG|4712^^^ST-MARYS^MR"], START + HOUR);
    let merged = tag(Kind::Patient, "st-marys", "4711");
    assert_eq!(known("4712").unwrap().merged_into, Some(merged), "it leads where it led");
    // And back again: no circle.
    hl7(plugin, "ADT^A40^ADT_A39", &[&other, "MRG|4711^^^ST-MARYS^MR"], START + 2 * HOUR);
    assert_eq!(known("4711").unwrap().merged_into, Some(tag(Kind::Patient, "st-marys", "4712")));
    assert_eq!(known("4712").unwrap().merged_into, None);
}

#[test]
fn nobody_is_named_in_what_is_kept_and_nobody_is_kept_for_ever() {
    let plugin = &mut plugin();
    hl7(plugin, "ADT^A01^ADT_A01", &[PID, &pv1("4-WEST", "DOC-1", "DOC-3")], START);
    hl7(plugin, "ADT^A03^ADT_A03", &[PID, &pv1("4-WEST", "DOC-1", "")], START + DAY);
    let kept = testing::with(|host| host.state.clone());
    for (key, value) in &kept {
        let text = format!("{key} {}", String::from_utf8_lossy(&value.value));
        for name in ["4711", "DOC-", "4-WEST", "V-1", "Doe", "ST-MARYS"] {
            assert!(!text.contains(name), "{name} is in {text}");
        }
    }
    plugin.tick(START);
    plugin.tick(START + 2 * DAY);
    assert!(known("4711").is_some(), "the grace is not over");
    for hours in 0..48 {
        plugin.tick(START + 3 * DAY + hours * HOUR);
    }
    assert_eq!(known("4711"), None);
    let left = testing::with(|host| host.state.keys().cloned().collect::<Vec<_>>());
    assert!(left.iter().all(|key| key == "swept" || key.starts_with("due/")), "{left:?}");
}

#[test]
fn messages_of_others_and_about_nobody_teach_nothing() {
    let plugin = &mut plugin();
    hl7(plugin, "ORU^R01^ORU_R01", &[PID, &pv1("4-WEST", "D1", "")], START);
    hl7(plugin, "ADT^A01^ADT_A01", &["PID|1||4711^^^ELSEWHERE", &pv1("4-WEST", "D1", "")], START);
    hl7(plugin, "ADT^A01^ADT_A01", &[PID], START);
    told(plugin, HL7, "no message", START);
    told(plugin, "text/plain", "MSH|", START);
    told(plugin, FHIR, r#"{"resourceType": "Observation"}"#, START);
    assert_eq!(testing::take().state.len(), 0);
}

#[test]
fn what_is_kept_of_one_patient_is_bounded() {
    let plugin = &mut plugin();
    for number in 0..200 {
        let visit =
            pv1("4-WEST", &format!("D{number}"), "D3~D4~D5~D6").replace("V-1", &format!("V-{number}"));
        hl7(plugin, "ADT^A01^ADT_A01", &[PID, &visit], START + number);
        let visit = pv1(&format!("W{number}"), &format!("D{number}"), "");
        hl7(plugin, "ADT^A08^ADT_A01", &[PID, &visit], START + number);
    }
    let known = known("4711").unwrap();
    assert!(known.stays.len() <= 48 && known.stays.iter().all(|stay| stay.carers.len() <= 64));
    assert_eq!(doctor("D199", START + 199), ["attending"]);
}

#[test]
fn the_schema_is_one_and_takes_the_settings() {
    let schema: Value = serde_json::from_str(include_str!("config.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    assert!(schema.is_valid(&settings()));
    assert!(!schema.is_valid(&json!({})) && !schema.is_valid(&json!({"identifiers": {"authorities": {}}})));
    let wrong = json!({"identifiers": {"authorities": {"a": []}, "unnamed": "b"}});
    assert_eq!(
        Relationships::configure(serde_json::from_value(wrong).unwrap()).unwrap_err().at,
        "/identifiers"
    );
}

#[test]
fn identifiers_are_told_apart_by_who_assigned_them() {
    let of = |authority: &str| {
        let identifier = Identifier { authority: authority.into(), value: "4711".into() };
        Coder::new("relationships").identifier(Kind::Patient, &identifier).unwrap()
    };
    assert_ne!(of("a"), of("b"));
    assert_eq!(of("a"), of("a"));
}

mod consents;
