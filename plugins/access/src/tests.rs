//! Policies as hospitals write them, and what becomes of records.

use hilum_plugin::testing::{self, context, head, request};
use hilum_plugin::{Party, Phase};
use serde_json::{Value, json};

use super::*;

const ALL: &str = "permit(principal, action, resource)";

fn configured(settings: Value) -> Result<Access, ConfigError> {
    Access::configure(serde_json::from_value(settings).unwrap())
}

fn by(policies: &str) -> Access {
    configured(json!({"policies": policies})).unwrap()
}

/// What is wrong with a text of policies.
fn fault(policies: &str) -> String {
    let error = configured(json!({"policies": policies})).unwrap_err();
    assert_eq!(error.at, "/policies");
    error.reason
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
    let mut image = head("Application/DICOM; transfer-syntax=1.2.840.10008.1.2.1");
    image.labels = vec!["phi".into(), "device".into()];
    image.attributes = vec![Attribute::new("patient", "Doe^Jane"), Attribute::new("site", "north")];
    image
}

fn ask(access: &mut Access, context: &Context, head: Head) -> Decision {
    access.decide(context, request(head, b"1234".as_slice()))
}

fn allowed_by(policy: &str) -> Decision {
    Decision::AllowWith(vec![Obligation { name: "policy".into(), value: policy.into() }])
}

fn denied(decision: Decision) -> Refusal {
    match decision {
        Decision::Deny(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

/// Whether one condition alone lets the radiologist have the image.
fn holds_for(settings: Value, context: &Context, condition: &str) -> bool {
    let mut settings = settings;
    settings["policies"] = format!("@id(\"one\") {ALL} when {{ {condition} }};").into();
    match ask(&mut configured(settings).unwrap(), context, image()) {
        Decision::Deny(refusal) => {
            assert_eq!(refusal.code, "no-policy", "{condition}: {refusal:?}");
            false
        }
        decision => {
            assert_eq!(decision, allowed_by("one"));
            true
        }
    }
}

#[test]
fn everything_in_the_model_can_be_asked_for() {
    testing::with(|host| host.now = 1_774_746_000_000);
    let locations = r#"[{"location": "house"}, {"location": "reading-room", "inside": "house", "principals": ["spiffe://st-marys/person/roentgen"]}]"#;
    let settings = json!({"locations": locations, "time_zone": "CET-1CEST,M3.5.0,M10.5.0/3"});
    for condition in [
        r#"principal == Principal::"spiffe://st-marys/person/roentgen""#,
        r#"principal in Stakeholder::"radiology" && principal in Zone::"clinical""#,
        r#"principal in Role::"teacher" && principal in Role::"radiologist""#,
        r#"principal in Location::"reading-room" && principal in Location::"house""#,
        r#"action == Action::"read""#,
        r#"context.purpose == Purpose::"TREAT""#,
        r#"[Purpose::"TREAT", Purpose::"BTG"].contains(context.purpose)"#,
        r#"context.now == datetime("2026-03-29T01:00:00Z")"#,
        "context.weekday == 7 && context.hour == 3 && context.minute == 0",
        r#"resource in Flow::"imaging" && resource.class == "imaging""#,
        r#"resource.contentType == "application/dicom" && resource.contentType like "application/*""#,
        r#"resource.labels.contains("phi") && resource.labels.containsAll(["device", "phi"])"#,
        r#"["phi", "device", "payment"].containsAll(resource.labels)"#,
        r#"resource.hasTag("site") && resource.getTag("site") == "north""#,
        r#"resource.confidentiality == Confidentiality::"V""#,
        "resource.sensitivity.isEmpty()",
        "resource.size == 4",
        r#"resource.made < datetime("2030-01-01")"#,
        r#"resource.source in Stakeholder::"imaging-dept""#,
    ] {
        assert!(holds_for(settings.clone(), &egress(), condition), "{condition}");
        let not = format!("!({condition})");
        assert!(!holds_for(settings.clone(), &egress(), &not), "{not}");
    }
}

#[test]
fn what_is_told_to_cedar_fits_the_model() {
    let all = r#"@id("all") permit(principal, action, resource) when { [context].contains(context) };"#;
    let access = by(all);
    let schema = policies::model();
    for context in [context(), egress()] {
        let told = (&access.settings.confidentiality, &access.zone);
        let head = image();
        let known = (vec![Role::Attending], Consent::Permit);
        let facts = Facts::of(&context, &head, 4, &access.policies, told, known).ok().unwrap();
        let (request, entities) = facts.told(&Asker::new(&context, &access.locations).unwrap()).ok().unwrap();
        entities.iter().for_each(|entity| {
            cedar_policy::Entities::from_entities([entity.clone()], Some(&schema)).unwrap();
        });
        let part = |of: Option<&cedar_policy::EntityUid>| of.unwrap().clone();
        let (principal, action) = (part(request.principal()), part(request.action()));
        let told = request.context().unwrap().clone();
        cedar_policy::Request::new(principal, action, part(request.resource()), told, Some(&schema)).unwrap();
    }
}

#[test]
fn what_no_policy_permits_is_denied_and_what_one_forbids_too() {
    let policies = r#"
        @id("treatment") permit(principal in Role::"radiologist", action == Action::"read", resource)
        when { context.purpose == Purpose::"TREAT" };
        @id("teaching") permit(principal in Role::"teacher", action, resource);
        @id("no-payment-data") forbid(principal, action, resource) when { resource.labels.contains("payment") };"#;
    let mut access = by(policies);
    assert_eq!(ask(&mut access, &egress(), image()), allowed_by("teaching, treatment"));
    assert_eq!(denied(ask(&mut access, &context(), image())).code, "no-policy");
    let mut paid = image();
    paid.labels.push("payment".into());
    let refusal = denied(ask(&mut access, &egress(), paid));
    assert_eq!(
        (refusal.code.as_str(), refusal.reason.as_str()),
        ("denied", "policy `no-payment-data` forbids it")
    );
    let nobody = Context { recipient: None, ..egress() };
    assert_eq!(denied(ask(&mut access, &nobody, image())).code, "no-reader");
    let mut twice = image();
    twice.attributes.push(Attribute::new("site", "south"));
    assert_eq!(denied(ask(&mut access, &egress(), twice)).code, "ambiguous");
}

#[test]
fn a_purpose_is_the_readers_own() {
    let is_treatment = r#"context.purpose == Purpose::"TREAT""#;
    let mut stated = image();
    stated.attributes.push(Attribute::new(PURPOSE_ATTRIBUTE, "TREAT"));
    let mut access = by(&format!("@id(\"one\") {ALL} when {{ {is_treatment} }};"));
    assert_eq!(ask(&mut access, &context(), stated.clone()), allowed_by("one"));
    let silent = Context { purpose: None, ..egress() };
    assert_eq!(denied(ask(&mut access, &silent, stated)).code, "no-policy");
    assert!(holds_for(json!({}), &silent, r#"context.purpose == Purpose::"unstated""#));
}

#[test]
fn every_purpose_and_every_code_of_confidentiality_is_one_that_policies_can_name() {
    let of = |code: &str| {
        format!(
            "@id(\"p-{}\") {ALL} when {{ context.purpose == Purpose::\"{code}\" }};\n",
            code.to_lowercase()
        )
    };
    let all = purpose::CODES.iter().chain([&purpose::UNSTATED]);
    let mut access = by(&all.clone().map(|code| of(code)).collect::<String>());
    for code in all {
        let stated = Context { purpose: (*code != purpose::UNSTATED).then(|| (*code).into()), ..egress() };
        assert_eq!(ask(&mut access, &stated, image()), allowed_by(&format!("p-{}", code.to_lowercase())));
    }
    assert!(fault(&of("FUN")).contains("FUN"));
    for code in Confidentiality::ALL {
        let mut marked = image();
        marked.attributes.push(Attribute::new(CONFIDENTIALITY_ATTRIBUTE, code.code()));
        for other in Confidentiality::ALL {
            let condition = format!("resource.confidentiality in Confidentiality::\"{}\"", other.code());
            let decision = ask(
                &mut by(&format!("@id(\"one\") {ALL} when {{ {condition} }};")),
                &egress(),
                marked.clone(),
            );
            assert_eq!(decision == allowed_by("one"), code <= other, "{condition} of {code:?}");
        }
    }
}

#[test]
fn confidentiality_is_the_most_restrictive_that_is_said() {
    let marking = |unmarked: &str| json!({"confidentiality": {"unmarked": unmarked, "labels": {"psychiatry": "R", "phi": "N"}}});
    let at_most = |code: &str| format!("resource.confidentiality in Confidentiality::\"{code}\"");
    assert!(holds_for(marking("V"), &egress(), &at_most("N")));
    assert!(!holds_for(marking("V"), &egress(), &at_most("M")));
    let mut settings = marking("L");
    settings["policies"] = format!("@id(\"one\") {ALL} when {{ {} }};", at_most("N")).into();
    let mut access = configured(settings).unwrap();
    let mut record = image();
    record.labels = vec![];
    assert_eq!(ask(&mut access, &egress(), record.clone()), allowed_by("one"));
    record.labels = vec!["psychiatry".into(), "phi".into()];
    assert_eq!(denied(ask(&mut access, &egress(), record)).code, "no-policy");
    for (code, refused) in [("L", None), ("V", Some("no-policy")), ("secret", Some("marking"))] {
        let mut record = image();
        record.attributes.push(Attribute::new(CONFIDENTIALITY_ATTRIBUTE, code));
        match (ask(&mut access, &egress(), record), refused) {
            (Decision::AllowWith(_), None) => {}
            (decision, Some(refused)) => assert_eq!(denied(decision).code, refused),
            (decision, None) => panic!("{decision:?}"),
        }
    }
    let mut access =
        by(&format!("@id(\"one\") {ALL} when {{ !resource.sensitivity.containsAny([\"HIV\", \"PSY\"]) }};"));
    for (codes, refused) in [
        ("", None),
        ("ETH", None),
        ("eth, MST", None),
        ("ETH, PSY", Some("no-policy")),
        ("HIV PSY", Some("no-policy")),
        ("psy", Some("no-policy")),
        ("HIV;PSY", Some("marking")),
        ("HIV\tPSY", Some("marking")),
        ("\u{ff30}\u{ff33}\u{ff39}", Some("marking")),
        ("ETH secret", Some("marking")),
    ] {
        let mut record = image();
        record.attributes.push(Attribute::new(SENSITIVITY_ATTRIBUTE, codes));
        match (ask(&mut access, &egress(), record), refused) {
            (Decision::AllowWith(_), None) => {}
            (decision, Some(code)) => {
                let refusal = denied(decision);
                assert_eq!(refusal.code, code, "{codes}");
                assert!(!refusal.reason.contains("secret"), "{refusal:?}");
            }
            (decision, None) => panic!("{codes}: {decision:?}"),
        }
    }
    // Where no policy looks at it nobody has to understand it.
    let mut record = image();
    record.attributes.push(Attribute::new(SENSITIVITY_ATTRIBUTE, "secret"));
    assert_eq!(ask(&mut by(&format!("@id(\"one\") {ALL};")), &egress(), record), allowed_by("one"));
}

#[test]
fn an_attribute_in_other_letters_than_a_policy_looks_at_is_refused() {
    let mut access = by(&format!(
        "@id(\"all\") {ALL}; @id(\"vip\") forbid(principal, action, resource) \
         when {{ resource.hasTag(\"vip\") && resource.getTag(\"vip\") == \"yes\" }};"
    ));
    for (name, code) in
        [("vip", "denied"), ("VIP", "ambiguous"), ("Sensitivity", "ambiguous"), ("PURPOSE", "ambiguous")]
    {
        let mut record = image();
        record.attributes.push(Attribute::new(name, "yes"));
        let refusal = denied(ask(&mut access, &egress(), record));
        assert_eq!(refusal.code, code, "{name}");
        assert!(!refusal.reason.contains("yes"), "{refusal:?}");
    }
    let mut record = image();
    record.attributes.push(Attribute::new("VIPs", "yes"));
    assert_eq!(ask(&mut access, &egress(), record), allowed_by("all"));
}

const EMERGENCY: &str = r#"
    @id("emergency") @break_glass("stroke trauma") @justify("within 72h, to the privacy officer")
    permit(principal in Role::"scanner", action == Action::"store", resource);
    @id("not-abroad") forbid(principal, action, resource) when { resource.hasTag("site") && resource.getTag("site") == "abroad" };"#;

fn emergency(purpose: &str, reason: Option<&str>) -> Head {
    let mut record = image();
    record.attributes.push(Attribute::new(PURPOSE_ATTRIBUTE, purpose));
    record.attributes.extend(reason.map(|reason| Attribute::new(REASON_ATTRIBUTE, reason)));
    record
}

#[test]
fn the_glass_breaks_for_a_stated_reason_and_leaves_obligations() {
    let mut access = by(EMERGENCY);
    let Decision::AllowWith(obligations) = ask(&mut access, &context(), emergency("ETREAT", Some("trauma")))
    else {
        panic!("it breaks");
    };
    let obligations: Vec<_> = obligations.iter().map(|of| (of.name.as_str(), of.value.as_str())).collect();
    assert_eq!(
        obligations,
        [
            ("audit", "break-glass"),
            ("break-glass-policy", "emergency"),
            ("break-glass-reason", "trauma"),
            ("justify", "within 72h, to the privacy officer"),
        ]
    );
    for (purpose, reason, code) in [
        ("ETREAT", None, "break-glass-reason"),
        ("BTG", Some("4711"), "break-glass-reason"),
        ("TREAT", Some("trauma"), "break-glass-purpose"),
    ] {
        let refusal = denied(ask(&mut access, &context(), emergency(purpose, reason)));
        assert_eq!(refusal.code, code);
        assert!(
            refusal.reason.contains("`emergency`") && !refusal.reason.contains("4711"),
            "{}",
            refusal.reason
        );
    }
    let mut abroad = emergency("ETREAT", Some("trauma"));
    abroad.set_attribute("site", "abroad");
    assert_eq!(
        denied(ask(&mut access, &context(), abroad)).code,
        "denied",
        "no glass breaks what is forbidden"
    );
}

#[test]
fn at_egress_the_reader_states_the_reason_and_what_the_publisher_wrote_counts_for_nothing() {
    let mut access = by(r#"@id("emergency") @break_glass("stroke trauma") @justify("within 72h")
        permit(principal in Role::"radiologist", action == Action::"read", resource);"#);
    let urgent = Context { purpose: Some("BTG".into()), ..egress() };
    let mut ask = |stated: Option<&str>, written: Option<&str>| {
        testing::with(|host| host.break_glass_reason = stated.map(str::to_owned));
        ask(&mut access, &urgent, emergency("BTG", written))
    };
    // Asked in turns, on one instance: what is kept for one reason is not given for another.
    for _ in 0..2 {
        for (stated, written) in [(None, Some("stroke")), (Some("curious"), Some("stroke")), (None, None)] {
            let refusal = denied(ask(stated, written));
            assert_eq!(refusal.code, "break-glass-reason", "{stated:?} {written:?}");
            assert!(
                refusal.reason.ends_with("by the reader when it opens the subscription"),
                "{}",
                refusal.reason
            );
            assert!(!refusal.reason.contains("curious"), "{}", refusal.reason);
        }
        for (stated, written) in [("stroke", None), ("trauma", Some("stroke")), ("stroke", Some("Doe^Jane"))]
        {
            let Decision::AllowWith(obligations) = ask(Some(stated), written) else { panic!("it breaks") };
            let of = |name: &str| obligations.iter().find(|of| of.name == name).map(|of| of.value.as_str());
            assert_eq!(
                (of("break-glass-policy"), of("break-glass-reason")),
                (Some("emergency"), Some(stated))
            );
        }
    }
}

#[test]
fn at_ingress_nothing_but_the_record_speaks_for_its_publisher() {
    let mut access = by(EMERGENCY);
    testing::with(|host| host.break_glass_reason = Some("trauma".into()));
    let refusal = denied(ask(&mut access, &context(), emergency("ETREAT", None)));
    assert_eq!(refusal.code, "break-glass-reason");
    assert!(refusal.reason.ends_with("in attribute `break-glass-reason`"), "{}", refusal.reason);
}

#[test]
fn what_is_wrong_is_told_with_line_and_column() {
    let named = |rest: &str| format!("@id(\"one\")\n{rest}");
    for (text, says) in [
        (named("permit(principal, action, resource) when { context.purpos == 1 };"), "line 2, column 44: "),
        (
            named("permit(principal, action, resource) when { context.purpose == Purpose::\"CURE\" };"),
            "line 2, column 63: ",
        ),
        (named("permit(principal, action == Action::\"write\", resource);"), "line 2, column 29: "),
        (named("permit(principal in Team::\"a\", action, resource);"), "line 2, column 21: "),
        (
            named("permit(principal, action, resource) when { resource.getTag(\"a\") == \"b\" };"),
            "line 2, column 44: ",
        ),
        (named("permit(principal, action, resource) when { resource.size < \"b\" };"), "line 2, column 60: "),
        (named("permit(principal, action, resource) when { 1 == 2 };"), "impossible"),
        (
            named(
                "permit(principal, action, resource) when { resource.confidentiality in Confidentiality::\"Q\" };",
            ),
            "line 2, column 72: ",
        ),
        (
            named("permit(principal, action, resource) when { resource.sensitivity.contains(\"psy\") };"),
            "line 2, column 74: `psy`",
        ),
        (
            named(
                "permit(principal, action, resource) unless { [\"PSY\", \"X\"].containsAll(resource.sensitivity) };",
            ),
            "`X` is no code",
        ),
        (named("permit(principal action, resource);"), "line 2, column 18: "),
        (named("permit(principal == ?principal, action, resource);"), "line 1, column 1: slots"),
        ("permit(principal, action, resource);".into(), "line 1, column 1: it has no name"),
        (named("@breakglass(\"x\") permit(principal, action, resource);"), "`@breakglass` means nothing"),
        (named("@break_glass(\"x\") permit(principal, action, resource);"), "has to be justified"),
        (named("@justify(\"x\") permit(principal, action, resource);"), "is for policies with"),
        (
            named("@break_glass(\"x\") @justify(\"y\") forbid(principal, action, resource);"),
            "only a `permit`",
        ),
        (
            named("@break_glass(\"X Y\") @justify(\"y\") permit(principal, action, resource);"),
            "codes of accepted reasons",
        ),
        (format!("@id(\"a\") {ALL};\n@id(\"a\") {ALL};"), "line 2, column 1: another policy is named `a`"),
        (format!("@id(\"A\") {ALL};"), "a policy's name is"),
        ("// nothing".into(), "there are 0 policies"),
    ] {
        let fault = fault(&text);
        assert!(fault.contains(says), "{text}\n{fault}");
    }
    let both = fault(
        "@id(\"a\") permit(principal, action, resource) when { context.a };\npermit(principal, action, resource);",
    );
    assert!(both.contains("line 1, column") && both.contains("; line 2, column 1: "), "{both}");
}

#[test]
fn the_readme_shows_policies_that_work() {
    let blocks = include_str!("../README.md").split("\n```").filter_map(|block| block.strip_prefix("text\n"));
    let policies: Vec<_> = blocks.filter(|block| block.starts_with("@id(")).collect();
    assert_eq!(policies.len(), 3);
    patients::learned(vec![], vec![]);
    patients::with(&policies.join("\n"));
}

#[test]
fn settings_fit_their_schema_and_wrong_ones_are_named() {
    let schema = Access::describe(None).config_schema;
    let schema = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    let all = json!({
        "policies": format!("@id(\"all\") {ALL};"), "locations": "[]", "time_zone": "CET-1", "explain": true,
        "confidentiality": {"labels": {"phi": "N"}, "unmarked": "R"},
    });
    assert!(schema.is_valid(&all) && configured(all.clone()).is_ok());
    let mut of_patients = patients::settings();
    of_patients["policies"] = all["policies"].clone();
    of_patients["opt_outs"] = "[]".into();
    assert!(schema.is_valid(&of_patients));
    for (key, value, at) in
        [("time_zone", json!("Europe/Berlin"), "/time_zone"), ("locations", json!("{}"), "/locations")]
    {
        let mut wrong = all.clone();
        wrong[key] = value;
        assert!(schema.is_valid(&wrong));
        assert_eq!(configured(wrong).unwrap_err().at, at);
    }
    for wrong in [
        json!({}),
        json!({"policies": "x", "rules": []}),
        json!({"policies": "x", "confidentiality": {"unmarked": "Q"}}),
    ] {
        assert!(!schema.is_valid(&wrong), "{wrong}");
        assert!(serde_json::from_value::<Settings>(wrong).is_err());
    }
}

#[test]
fn a_policy_that_fails_on_a_record_lets_nothing_pass() {
    let policies = r#"
        @id("all") permit(principal, action, resource);
        @id("large") forbid(principal, action, resource) when { resource.size + 9223372036854775807 > 0 };"#;
    let refusal = denied(ask(&mut by(policies), &context(), image()));
    assert_eq!(
        (refusal.code.as_str(), refusal.reason.as_str()),
        ("policy-error", "policy large fails on this record")
    );
}

#[test]
fn a_denial_is_explained_without_what_the_record_says() {
    let policies = r#"
        @id("treatment") permit(principal in Role::"physician", action == Action::"read", resource)
        when { context.purpose == Purpose::"TREAT" && resource.hasTag("patient") && resource.getTag("patient") == "Smith^John" };
        @id("scans") permit(principal in Role::"scanner", action == Action::"store", resource) unless { resource.labels.contains("phi") };"#;
    let mut access = configured(json!({"policies": policies, "explain": true})).unwrap();
    let refusal = denied(ask(&mut access, &egress(), image()));
    assert_eq!(refusal.code, "no-policy");
    let why = refusal.reason.split_once(": ").unwrap().1;
    assert_eq!(
        why,
        "`treatment` needs principal in Role::\"physician\" and resource.getTag(\"patient\") == \"...\"; \
         `scans` needs principal in Role::\"scanner\" and action == Action::\"store\" and not resource.labels.contains(\"phi\")"
    );
}

#[test]
fn decisions_are_kept_for_what_policies_look_at_only() {
    let policies = format!(
        "@id(\"north\") {ALL} when {{ resource.hasTag(\"site\") && resource.getTag(\"site\") == \"north\" }};"
    );
    let mut access = by(&policies);
    for number in 0..1_000 {
        let mut record = image();
        record.set_attribute("series", number.to_string());
        assert_eq!(ask(&mut access, &egress(), record.clone()), allowed_by("north"));
        record.set_attribute("site", "south");
        assert_eq!(denied(ask(&mut access, &egress(), record)).code, "no-policy");
    }
    assert_eq!((access.askers.len(), access.askers[0].1.len()), (1, 2));
    for number in 0..1_000 {
        let mut record = image();
        record.set_attribute("site", format!("site-{number}"));
        assert_eq!(denied(ask(&mut access, &egress(), record)).code, "no-policy");
        let mut reader = egress();
        reader.flow = format!("flow-{number}");
        assert_eq!(ask(&mut access, &reader, image()), allowed_by("north"));
    }
    assert!(
        access.askers.len() <= ASKERS_MAX && access.askers.iter().all(|(_, kept)| kept.len() <= KEPT_MAX)
    );
}

#[test]
fn time_passes_for_decisions_that_are_kept() {
    let mut access = by(&format!("@id(\"by-day\") {ALL} when {{ context.hour >= 8 && context.hour < 18 }};"));
    for (hour, is_allowed) in [(7, false), (8, true), (17, true), (18, false)] {
        testing::with(|host| host.now = hour * 3_600_000);
        let decision = ask(&mut access, &egress(), image());
        assert_eq!(matches!(decision, Decision::AllowWith(_)), is_allowed, "{hour}");
    }
}

#[test]
fn no_reason_and_no_obligation_holds_a_value_of_the_record() {
    let policies = format!(
        "{EMERGENCY} @id(\"site\") {ALL} when {{ resource.hasTag(\"patient\") && resource.getTag(\"patient\") == \"x\" }};"
    );
    let mut access = configured(json!({"policies": policies, "explain": true})).unwrap();
    testing::with(|host| host.break_glass_reason = Some("doe-jane".into()));
    for record in [
        image(),
        emergency("BTG", Some("Doe^Jane")),
        emergency("Doe^Jane", None),
        emergency("BTG", Some("stroke")),
    ] {
        for context in [context(), egress()] {
            let decision = format!("{:?}", ask(&mut access, &context, record.clone()));
            assert!(
                !decision.contains("Doe") && !decision.contains("doe") && !decision.contains("north"),
                "{decision}"
            );
        }
    }
}

mod patients;
