//! Rules, in the order in which they decide.

use hilum_plugin::testing::{context, head, request};
use serde_json::{Value, json};

use super::*;

fn configured(rules: &Value) -> Result<Access, ConfigError> {
    Access::configure(serde_json::from_value(json!({"rules": rules})).unwrap())
}

/// A radiologist's subscription for treatment.
fn egress() -> Context {
    let radiologist = Party {
        principal: "spiffe://st-marys/person/roentgen".into(),
        stakeholder: "radiology".into(),
        zone: "clinical".into(),
        roles: vec!["radiologist".into(), "teacher".into()],
    };
    Context { phase: Phase::Egress, recipient: Some(radiologist), purpose: Some("TREAT".into()), ..context() }
}

/// A labelled MR image of an identified patient.
fn image() -> Head {
    let mut image = head("application/dicom; transfer-syntax=1.2.840.10008.1.2.1");
    image.labels = vec!["phi".into(), "device".into()];
    image.attributes = vec![Attribute::new("patient", "Doe^Jane"), Attribute::new("site", "north")];
    image
}

fn decide_by(rules: &Value, context: &Context, head: Head) -> Decision {
    configured(rules).unwrap().decide(context, request(head, b"".as_slice()))
}

/// Whether one condition alone lets the radiologist have the image.
fn allows(when: &Value) -> bool {
    let rules = json!([{"name": "one", "effect": "allow", "when": when}]);
    match decide_by(&rules, &egress(), image()) {
        Decision::Allow => true,
        Decision::Deny(refusal) => {
            assert_eq!(refusal.code, "no-rule");
            false
        }
        other => panic!("{other:?}"),
    }
}

fn denied(decision: Decision) -> Refusal {
    match decision {
        Decision::Deny(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_condition_holds_if_any_of_its_values_does() {
    for (holds, fails) in [
        (json!({"stakeholders": ["billing", "radiology"]}), json!({"stakeholders": ["imaging-dept"]})),
        (json!({"roles": ["teacher"]}), json!({"roles": ["scanner"]})),
        (json!({"zones": ["clinical"]}), json!({"zones": ["device"]})),
        (json!({"purposes": ["TREAT", "BTG"]}), json!({"purposes": ["ETREAT"]})),
        (
            json!({"content_types": ["Application/DICOM"]}),
            json!({"content_types": ["application/dicom+json"]}),
        ),
        (json!({"content_types": ["application/*"]}), json!({"content_types": ["image/*", "app/*"]})),
        (json!({"phases": ["egress"]}), json!({"phases": ["ingress"]})),
        (json!({"labels": ["payment", "phi"]}), json!({"labels": ["payment"]})),
        (json!({"only_labels": ["device", "phi", "payment"]}), json!({"only_labels": ["device"]})),
        (json!({"only_labels": ["device", "phi"]}), json!({"only_labels": []})),
        (
            json!({"attributes": [{"name": "site", "equals": "north"}]}),
            json!({"attributes": [{"name": "site", "equals": "nort"}]}),
        ),
        (
            json!({"attributes": [{"name": "site", "in": ["south", "north"]}]}),
            json!({"attributes": [{"name": "town", "in": ["north"]}]}),
        ),
        (
            json!({"attributes": [{"name": "consent", "present": false}]}),
            json!({"attributes": [{"name": "consent", "present": true}]}),
        ),
    ] {
        assert!(allows(&holds), "{holds}");
        assert!(!allows(&fails), "{fails}");
    }
}

#[test]
fn all_conditions_have_to_hold() {
    assert!(allows(&json!({"roles": ["radiologist"], "purposes": ["TREAT"], "labels": ["phi"]})));
    assert!(!allows(&json!({"roles": ["radiologist"], "purposes": ["HRESCH"], "labels": ["phi"]})));
    assert!(!allows(
        &json!({"attributes": [{"name": "site", "equals": "north"}, {"name": "x", "present": true}]})
    ));
}

#[test]
fn the_first_rule_that_matches_decides() {
    let deny = json!({"name": "no-phi", "effect": "deny", "when": {"labels": ["phi"]}});
    let allow = json!({"name": "treatment", "effect": "allow", "when": {"purposes": ["TREAT"]}});
    let refusal = denied(decide_by(&json!([deny, allow]), &egress(), image()));
    assert_eq!(refusal, Refusal::new("denied", "rule `no-phi` denies it"));
    assert_eq!(decide_by(&json!([allow, deny]), &egress(), image()), Decision::Allow);
}

#[test]
fn at_ingress_the_publisher_is_the_party_and_states_its_purpose_in_the_record() {
    let rules = json!([{"name": "scans", "effect": "allow",
                        "when": {"phases": ["ingress"], "roles": ["scanner"], "purposes": ["TREAT"]}}]);
    assert_eq!(denied(decide_by(&rules, &context(), image())).code, "no-rule");
    let mut stated = image();
    stated.attributes.push(Attribute::new(PURPOSE_ATTRIBUTE, "TREAT"));
    assert_eq!(decide_by(&rules, &context(), stated), Decision::Allow);
}

#[test]
fn at_egress_a_record_states_no_purpose_for_its_reader() {
    let rules = json!([{"name": "emergency", "effect": "allow", "when": {"purposes": ["ETREAT"]}}]);
    let mut stated = image();
    stated.attributes.push(Attribute::new(PURPOSE_ATTRIBUTE, "ETREAT"));
    assert_eq!(denied(decide_by(&rules, &egress(), stated)).code, "no-rule");
}

#[test]
fn an_unknown_reader_matches_no_rule_about_parties() {
    let rules = json!([{"name": "all", "effect": "allow", "when": {"stakeholders": ["imaging-dept"]}}]);
    assert_eq!(decide_by(&rules, &context(), image()), Decision::Allow);
    let nobody = Context { recipient: None, ..egress() };
    assert_eq!(denied(decide_by(&rules, &nobody, image())).code, "no-rule");
}

#[test]
fn an_attribute_given_twice_is_denied() {
    let rules = json!([{"name": "all", "effect": "allow"}]);
    assert_eq!(decide_by(&rules, &egress(), image()), Decision::Allow);
    let mut twice = image();
    twice.attributes.push(Attribute::new("patient", "Roe^Richard"));
    let refusal = denied(decide_by(&rules, &egress(), twice));
    assert_eq!(refusal.code, "ambiguous");
    assert!(refusal.reason.contains("`patient`") && !refusal.reason.contains("Roe"));
}

fn emergency() -> Value {
    json!([{"name": "emergency", "effect": "allow", "when": {"purposes": ["BTG", "ETREAT"]},
            "break_glass": {"reasons": ["unconscious", "transfer"]}}])
}

fn reading_for(purpose: &str, reason: Option<&str>) -> Decision {
    let context = Context { purpose: Some(purpose.into()), ..egress() };
    let mut image = image();
    image.attributes.extend(reason.map(|reason| Attribute::new("break-glass-reason", reason)));
    decide_by(&emergency(), &context, image)
}

#[test]
fn the_glass_breaks_for_an_emergency_with_a_reason_and_is_audited() {
    let Decision::AllowWith(obligations) = reading_for("BTG", Some("unconscious")) else { panic!() };
    let obligations: Vec<_> = obligations.iter().map(|o| (o.name.as_str(), o.value.as_str())).collect();
    let expected =
        [("audit", "break-glass"), ("break-glass-rule", "emergency"), ("break-glass-reason", "unconscious")];
    assert_eq!(obligations, expected);
}

#[test]
fn the_glass_stays_whole_without_emergency_or_reason() {
    assert_eq!(denied(reading_for("TREAT", Some("unconscious"))).code, "no-rule");
    for reason in [None, Some(""), Some("curiosity about Doe^Jane")] {
        let refusal = denied(reading_for("BTG", reason));
        assert_eq!(refusal.code, "break-glass-reason");
        assert!(refusal.reason.contains("`emergency`") && !refusal.reason.contains("Jane"));
    }
}

#[test]
fn configuration_errors_say_where() {
    let at = |rules: Value| configured(&rules).unwrap_err().at;
    let rule = |more: Value| {
        let mut rule = json!({"name": "r", "effect": "allow"});
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    };
    let break_glass = json!({"reasons": ["x"]});
    assert_eq!(at(json!([])), "/rules");
    assert_eq!(at(json!([rule(json!({})), rule(json!({}))])), "/rules/1/name");
    assert_eq!(at(json!([rule(json!({"name": ""}))])), "/rules/0/name");
    assert_eq!(at(json!([rule(json!({"when": {"roles": []}}))])), "/rules/0/when/roles");
    assert_eq!(
        at(json!([rule(json!({"when": {"purposes": ["TREAT", "TRAET"]}}))])),
        "/rules/0/when/purposes/1"
    );
    assert_eq!(
        at(json!([rule(json!({"when": {"content_types": ["dicom"]}}))])),
        "/rules/0/when/content_types/0"
    );
    let no_purpose = rule(json!({"break_glass": break_glass}));
    assert_eq!(at(json!([no_purpose])), "/rules/0/when/purposes");
    let any_purpose = rule(json!({"break_glass": break_glass, "when": {"purposes": ["BTG", "TREAT"]}}));
    assert_eq!(at(json!([any_purpose])), "/rules/0/when/purposes");
    let denying = rule(json!({"effect": "deny", "break_glass": break_glass, "when": {"purposes": ["BTG"]}}));
    assert_eq!(at(json!([denying])), "/rules/0/break_glass");
    let unspoken = rule(json!({"break_glass": {"reasons": []}, "when": {"purposes": ["BTG"]}}));
    assert_eq!(at(json!([unspoken])), "/rules/0/break_glass/reasons");
}

#[test]
fn what_is_unknown_or_ambiguous_is_no_configuration() {
    for bad in [
        json!({"rules": [], "default": "allow"}),
        json!({"rules": [{"name": "r", "effect": "permit"}]}),
        json!({"rules": [{"name": "r", "effect": "allow", "when": {"role": ["x"]}}]}),
        json!({"rules": [{"name": "r", "effect": "allow", "when": {"attributes": [{"name": "a"}]}}]}),
        json!({"rules": [{"name": "r", "effect": "allow",
                          "when": {"attributes": [{"name": "a", "equals": "b", "present": true}]}}]}),
    ] {
        assert!(serde_json::from_value::<Rules>(bad.clone()).is_err(), "{bad}");
        assert!(!schema().is_valid(&bad), "{bad}");
    }
}

fn schema() -> jsonschema::Validator {
    let schema: Value = serde_json::from_str(&Access::describe(None).config_schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

#[test]
fn the_readme_shows_a_configuration_that_works() {
    let readme = include_str!("../README.md");
    let example = readme.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let example: Value = serde_json::from_str(example).unwrap();
    schema().validate(&example).unwrap();
    let decision = decide_by(&example["rules"], &egress(), image());
    assert_eq!(decision, Decision::Allow);
}
