//! Consents and lists as they are said, and what is kept of them.

use super::*;

fn consent(change: impl FnOnce(&mut Value)) -> String {
    let mut consent = json!({
        "resourceType": "Consent", "id": "c1", "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": "Patient/77", "identifier": {"system": "urn:oid:1.2.3", "value": "4711"}},
        "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]},
        "provision": {
            "type": "permit",
            "period": {"start": "2026-01-01", "end": "2026-12-31"},
            "purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HRESCH"}],
            "provision": [{
                "type": "deny",
                "actor": [{"role": {"text": "recipient"}, "reference": {"reference": "Organization/pharma"}}],
                "action": [{"coding": [{"code": "access"}]}],
                "securityLabel": [{"code": "R"}],
                "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "ImagingStudy"}]
            }]
        }
    });
    change(&mut consent);
    consent.to_string()
}

fn says() -> Option<hilum_formats::care::Provision> {
    let known = known("4711")?;
    assert!(known.consents.len() <= 1);
    known.consents.into_iter().next().map(|consent| consent.says)
}

#[test]
fn a_consent_is_in_force_until_it_is_withdrawn() {
    let plugin = &mut plugin();
    told(plugin, "application/fhir+json; fhirVersion=4.0", &consent(|_| {}), START);
    let says_now = says().unwrap();
    let root = &says_now.except[0];
    assert_eq!((says_now.permits, root.permits, root.is_unclear), (Some(true), Some(true), false));
    assert_eq!(root.purposes, ["HRESCH"]);
    assert_eq!((root.from, root.until), (Some(1_767_225_600_000), Some(1_798_761_600_000)));
    let exception = &root.except[0];
    assert_eq!((exception.permits, exception.is_unclear), (Some(false), false));
    assert_eq!(exception.actors, [tag(Kind::Actor, "", "Organization/pharma")]);
    assert_eq!(
        (&*exception.actions, &*exception.labels, &*exception.classes),
        (&["read".to_owned()][..], &["R".to_owned()][..], &["ImagingStudy".to_owned()][..])
    );
    for status in ["inactive", "rejected", "entered-in-error", "proposed", "draft"] {
        told(plugin, FHIR, &consent(|_| {}), START);
        told(plugin, FHIR, &consent(|of| of["status"] = status.into()), START);
        assert_eq!(says(), None, "{status}");
    }
    told(plugin, FHIR, &consent(|of| of["scope"]["coding"][0]["code"] = "treatment".into()), START);
    assert_eq!(says(), None, "it is about being treated, not about who sees what");
}

#[test]
fn what_of_a_consent_is_not_understood_is_unclear() {
    let plugin = &mut plugin();
    let root: [fn(&mut Value); 8] = [
        |of| of["provision"]["data"] = json!([{"meaning": "instance"}]),
        |of| of["provision"]["type"] = "maybe".into(),
        |of| of["provision"]["period"] = json!({"start": "yesterday"}),
        |of| of["provision"]["purpose"] = json!([{"code": "FUN"}]),
        |of| of["provision"]["actor"] = json!([{"role": {}}]),
        |of| of["provision"]["action"] = json!([{"coding": [{"code": "dance"}]}]),
        |of| of["provision"]["class"] = json!([{"code": "Thing"}]),
        |of| of["provision"]["modifierExtension"] = json!([]),
    ];
    for change in root {
        told(plugin, FHIR, &consent(change), START);
        let says = says().unwrap();
        assert!(says.except[0].is_unclear, "{says:?}");
    }
    let mixed = |of: &mut Value| {
        let known = json!({"reference": {"reference": "Organization/pharma"}});
        of["provision"]["actor"] = json!([known, {"role": {}}]);
        of["provision"]["purpose"] = json!([{"code": "HRESCH"}, {"code": "FUN"}]);
    };
    told(plugin, FHIR, &consent(mixed), START);
    let root = says().unwrap().except.remove(0);
    assert!(root.is_unclear && root.actors.is_empty() && root.purposes.is_empty(), "it may be anybody");
    let outer: [fn(&mut Value); 4] = [
        |of| of["scope"] = json!({}),
        |of| of["status"] = "new".into(),
        |of| of["modifierExtension"] = json!([]),
        |of| of["provision"] = 3.into(),
    ];
    for change in outer {
        told(plugin, FHIR, &consent(change), START);
        assert!(says().unwrap().is_unclear);
    }
}

#[test]
fn a_list_takes_patients_out_and_back_in() {
    let plugin = &mut plugin();
    let list = |opts: &str| {
        json!({"patients": [{"authority": "st-marys", "value": "4711", "purposes": ["HRESCH"], "opts": opts}]}).to_string()
    };
    told(plugin, OPT_OUT, &list("out"), START);
    assert_eq!(
        says().map(|says| (says.permits, says.purposes)),
        Some((Some(false), vec!["HRESCH".to_owned()]))
    );
    told(plugin, OPT_OUT, &list("in"), START);
    assert_eq!(says(), None);
}

#[test]
fn a_consent_of_nobody_or_of_no_name_is_stopped() {
    let stopped = |content_type: &'static str, body: String| {
        std::thread::spawn(move || told(&mut plugin(), content_type, &body, START)).join().is_err()
    };
    assert!(!stopped(FHIR, consent(|_| {})));
    assert!(stopped(FHIR, consent(|of| of["patient"] = json!({"reference": "Group/1"}))));
    assert!(stopped(FHIR, consent(|of| of["id"] = Value::Null)));
    assert!(stopped(FHIR, "{".into()));
    assert!(stopped(
        OPT_OUT,
        r#"{"patients": [{"authority": "elsewhere", "value": "1", "opts": "out"}]}"#.into()
    ));
    assert!(stopped(OPT_OUT, "{}".into()));
    let entry = json!({"authority": "st-marys", "value": "1", "purposes": ["HRESCH", 1], "opts": "out"});
    assert!(stopped(OPT_OUT, json!({"patients": [entry]}).to_string()));
}

/// As [`consent`], of a patient with these numbers.
fn consent_of(numbers: &[(&str, &str)], change: impl FnOnce(&mut Value)) -> String {
    let numbers = numbers.iter().map(|(system, value)| json!({"system": system, "value": value}));
    let patient = json!({"resourceType": "Patient", "id": "p", "identifier": numbers.collect::<Vec<_>>()});
    consent(|of| {
        of["contained"] = json!([patient]);
        of["patient"] = json!({"reference": "#p"});
        change(of);
    })
}

const NUMBER: (&str, &str) = ("urn:oid:1.2.3", "4711");
const OTHER: (&str, &str) = ("urn:oid:9", "99");

/// What consents say under a number.
fn under(authority: &str, number: &str) -> Vec<hilum_formats::care::Provision> {
    let key = tag(Kind::Patient, authority, number).key();
    let known = testing::with(|host| host.state.get(&key).map(|found| Known::decode(&found.value).unwrap()));
    known.unwrap_or_default().consents.into_iter().map(|consent| consent.says).collect()
}

fn permits(authority: &str, number: &str) -> bool {
    under(authority, number).iter().any(|says| Some(says) != says.denials().as_ref())
}

fn inactive(of: &mut Value) {
    of["status"] = "inactive".into();
}

#[test]
fn the_newest_statement_of_a_consent_holds_under_each_number_it_was_filed_under() {
    let changes: [fn(&mut Value); 4] = [
        inactive,
        |of| of["status"] = "entered-in-error".into(),
        |of| of["status"] = "new".into(),
        |of| of["provision"] = json!({"type": "deny"}),
    ];
    for change in changes {
        let mut plugin = plugin();
        told(&mut plugin, FHIR, &consent_of(&[NUMBER, OTHER], |_| {}), START);
        assert!(permits("st-marys", "4711") && permits("other", "99"));
        // Another instance, as after a start: what is needed is in the state.
        let plugin = &mut self::plugin();
        told(plugin, FHIR, &consent_of(&[NUMBER], change), START);
        let (named, not_named) = (under("st-marys", "4711"), under("other", "99"));
        assert_eq!(named, not_named);
        told(plugin, FHIR, &consent_of(&[OTHER], |_| {}), START);
        told(plugin, FHIR, &consent_of(&[NUMBER], inactive), START);
        told(plugin, FHIR, &consent_of(&[OTHER], inactive), START);
        assert!(!permits("st-marys", "4711") && !permits("other", "99"));
        drop(testing::take());
    }
}

#[test]
fn a_consent_that_is_in_force_nowhere_is_filed_nowhere() {
    let plugin = &mut plugin();
    told(plugin, FHIR, &consent_of(&[NUMBER, OTHER], |_| {}), START);
    let filed = || testing::with(|host| host.state.keys().any(|key| key.starts_with("filed/")));
    assert!(filed());
    told(plugin, FHIR, &consent_of(&[OTHER], inactive), START);
    assert!(!filed());
}

#[test]
fn of_a_statement_about_nobody_who_was_named_only_denials_hold_for_those() {
    let plain = |of: &mut Value| of["provision"] = json!({"type": "permit"});
    let deny = |of: &mut Value| of["provision"] = json!({"type": "deny", "purpose": [{"code": "HRESCH"}]});
    let plugin = &mut plugin();
    told(plugin, FHIR, &consent_of(&[NUMBER], plain), START);
    told(plugin, FHIR, &consent_of(&[OTHER], inactive), START);
    assert_eq!(under("st-marys", "4711"), []);
    told(plugin, FHIR, &consent_of(&[NUMBER], |_| {}), START);
    told(plugin, FHIR, &consent_of(&[OTHER], plain), START);
    assert!(permits("other", "99") && !permits("st-marys", "4711"));
    assert!(!under("st-marys", "4711").is_empty(), "it denied something");
    told(plugin, FHIR, &consent_of(&[OTHER], deny), START);
    assert!(under("st-marys", "4711")[0].is_unclear, "it denies two things");
    told(plugin, FHIR, &consent_of(&[NUMBER], inactive), START);
    assert_eq!(under("st-marys", "4711"), [], "now it is said of whom");
    assert!(!permits("other", "99") && !under("other", "99").is_empty());
}

#[test]
fn a_consent_of_another_publisher_is_another_one_unless_a_patient_says_so() {
    let plugin = &mut plugin();
    let mut elsewhere = context();
    elsewhere.source.principal = "spiffe://other/service/fhir".into();
    let mut tell = |body: String| plugin.observe(&elsewhere, vec![message(FHIR, body.as_str())]);
    let mine = &mut self::plugin();
    told(mine, FHIR, &consent_of(&[NUMBER], |_| {}), START);
    tell(consent_of(&[OTHER], |_| {}));
    assert!(permits("st-marys", "4711") && permits("other", "99"));
    tell(consent_of(&[OTHER], inactive));
    assert!(permits("st-marys", "4711") && !permits("other", "99"));
    tell(consent_of(&[NUMBER, OTHER], inactive));
    assert!(!permits("st-marys", "4711"));
}

#[test]
fn a_consent_goes_where_its_patient_was_merged_into() {
    let plugin = &mut plugin();
    let merge = |plugin: &mut Relationships| {
        let pid = "PID|1||4711^^^ST-MARYS^MR~99^^^OTHER^PI";
        hl7(plugin, "ADT^A40^ADT_A39", &[pid, "MRG|4710^^^ST-MARYS^MR"], START);
    };
    told(plugin, FHIR, &consent_of(&[("urn:oid:1.2.3", "4710")], |_| {}), START);
    merge(plugin);
    assert!(permits("st-marys", "4711") && permits("other", "99"));
    told(plugin, FHIR, &consent_of(&[("urn:oid:1.2.3", "4710")], inactive), START);
    assert!(!permits("st-marys", "4711") && !permits("other", "99"));
}

#[test]
fn where_a_consent_is_filed_is_bounded_and_withdrawing_it_always_fits() {
    let plugin = &mut plugin();
    let number = |n: usize| ("urn:oid:1.2.3", format!("9{n}"));
    let of = |from: usize| {
        let all: Vec<_> = (from..from + 16).map(number).collect();
        all.iter().map(|(system, value)| (*system, value.clone())).collect::<Vec<_>>()
    };
    let text = |numbers: &[(&'static str, String)], change: fn(&mut Value)| {
        let numbers: Vec<_> = numbers.iter().map(|(system, value)| (*system, value.as_str())).collect();
        consent_of(&numbers, change)
    };
    for from in [0, 15, 30, 45] {
        told(plugin, FHIR, &text(&of(from), |_| {}), START);
    }
    let more = text(&of(60), |_| {});
    let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| told(plugin, FHIR, &more, START)));
    assert!(stopped.is_err());
    told(plugin, FHIR, &text(&of(60), inactive), START);
    assert!(!permits("st-marys", "90") && !permits("st-marys", "960"));
}

/// One entry of a list; without purposes it is about all.
fn opts(plugin: &mut Relationships, opts: &str, purposes: &[&str]) {
    let mut entry = json!({"authority": "st-marys", "value": "4711", "opts": opts});
    if !purposes.is_empty() {
        entry["purposes"] = json!(purposes);
    }
    told(plugin, OPT_OUT, &json!({"patients": [entry]}).to_string(), START);
}

/// Of these purposes those that the patient is out of.
fn out_of(purposes: &[&'static str]) -> Vec<&'static str> {
    let says = under("st-marys", "4711");
    assert!(says.len() <= 1 && says.iter().all(|says| says.permits == Some(false)));
    purposes.iter().copied().filter(|purpose| says.iter().any(|says| says.is_for(purpose))).collect()
}

#[test]
fn who_opts_out_is_out_of_more_and_who_is_back_in_is_in_for_what_is_named() {
    const ALL: [&str; 4] = ["TREAT", "HRESCH", "CLINTRCH", "HMARKT"];
    for (said, out) in [
        (&[("out", &["HRESCH"][..]), ("out", &["HMARKT"])][..], &["HRESCH", "CLINTRCH", "HMARKT"][..]),
        (&[("out", &[]), ("out", &["HMARKT"])], &ALL),
        (&[("out", &[]), ("in", &["HMARKT"])], &["TREAT", "HRESCH", "CLINTRCH"]),
        (&[("out", &[]), ("in", &["HRESCH"]), ("out", &["CLINTRCH"])], &["TREAT", "CLINTRCH", "HMARKT"]),
        (&[("out", &["HRESCH"]), ("in", &["CLINTRCH"])], &["HRESCH"]),
        (&[("out", &["HRESCH"]), ("in", &["CLINTRCH"]), ("out", &["HRESCH"])], &["HRESCH", "CLINTRCH"]),
        (&[("out", &["HRESCH", "HMARKT"]), ("in", &["HRESCH"])], &["HMARKT"]),
        (&[("out", &["HMARKT"]), ("in", &["HRESCH"])], &["HMARKT"]),
        (&[("out", &[]), ("in", &[])], &[]),
        (&[("out", &["HMARKT"]), ("in", &[])], &[]),
        (&[("in", &["HMARKT"])], &[]),
    ] {
        let plugin = &mut plugin();
        said.iter().for_each(|(word, purposes)| opts(plugin, word, purposes));
        assert_eq!(out_of(&ALL), out, "{said:?}");
        drop(testing::take());
    }
    // Of one list, one after the other.
    let plugin = &mut plugin();
    let entry = |purpose: Value| json!({"authority": "st-marys", "value": "4711", "purposes": [purpose], "opts": "out"});
    told(
        plugin,
        OPT_OUT,
        &json!({"patients": [entry("HRESCH".into()), entry("HMARKT".into())]}).to_string(),
        START,
    );
    assert_eq!(out_of(&ALL), ["HRESCH", "CLINTRCH", "HMARKT"]);
}

#[test]
fn merged_records_are_out_of_what_either_was_and_both_come_back_in() {
    let plugin = &mut plugin();
    opts(plugin, "out", &["HRESCH"]);
    let entry = json!({"authority": "st-marys", "value": "4710", "purposes": ["HMARKT"], "opts": "out"});
    told(plugin, OPT_OUT, &json!({"patients": [entry]}).to_string(), START);
    hl7(plugin, "ADT^A40^ADT_A39", &[PID, "MRG|4710^^^ST-MARYS^MR"], START);
    opts(plugin, "out", &["HPAYMT"]);
    assert_eq!(out_of(&["TREAT", "HRESCH", "HMARKT", "HPAYMT"]), ["HRESCH", "HMARKT", "HPAYMT"]);
    opts(plugin, "in", &[]);
    assert_eq!(under("st-marys", "4711"), []);
}
