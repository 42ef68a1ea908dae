//! What `[audit]` may say of the flow that gets its events.

use std::time::Duration;

use super::*;

const AUDIT: &str = r#"name = "audit"
class = "audit"
zone = "clinical"

[[subscription]]
name = "watchers"
stakeholder = "radiology"
purpose = "HOPERAT"
"#;

fn with_audit(main: &str, audit: &str) -> Files {
    let mut files = hospital();
    files.get_mut("hilum.toml").unwrap().push_str(main);
    files.insert("flows/audit.toml", audit.to_owned());
    files
}

#[test]
fn a_flow_may_get_the_audit_and_what_leads_on_from_it_is_known() {
    let stage = "[[ingress]]\nstage = \"look\"\nplugin = \"analytics\"\ngrants = [\"emit:alarms\"]\n\n[[subscription]]";
    let mut files = with_audit("\n[audit]\nflow = \"audit\"\n", &AUDIT.replace("[[subscription]]", stage));
    files.insert("flows/alarms.toml", AUDIT.replace("\"audit\"", "\"alarms\""));
    let hospital = checked(&files).unwrap();
    let audit = hospital.audit_flow.as_ref().unwrap();
    assert_eq!((audit.flow.as_str(), audit.statistics), ("audit", Duration::from_secs(60)));
    let downstream = audit.downstream(&hospital);
    assert_eq!(downstream.iter().map(FlowName::as_str).collect::<Vec<_>>(), ["alarms", "audit"]);
    let publisher = AuditFlow::publisher(&hospital, &hospital.flows[&audit.flow].zone);
    assert!(hospital.policy().admit(&publisher, &audit.flow).is_ok());
    assert!(hospital.policy().admit(&publisher, &"imaging".parse().unwrap()).is_err());
    let other = hospital.principal(&"spiffe://st-marys/device/mri-1".parse().unwrap()).unwrap();
    assert!(hospital.policy().admit(other, &audit.flow).is_err());
}

#[test]
fn says_what_is_wrong_with_it() {
    let said = |main: &str, audit: &str| {
        let problems = checked(&with_audit(main, audit)).unwrap_err();
        problems.to_string()
    };
    let has =
        |said: String, words: &[&str]| words.iter().for_each(|word| assert!(said.contains(word), "{said}"));
    has(
        said("\n[audit]\nflow = \"adit\"\n", AUDIT),
        &["audit.flow", "there is no flow `adit`", "nobody may publish"],
    );
    has(said("\n[audit]\nstatistics = \"5m\"\n", AUDIT), &["audit.statistics", "none is named"]);
    has(said("\n[audit]\nflow = \"audit\"\nstatistics = \"2d\"\n", AUDIT), &["1 hour at most"]);
    let published = format!("{AUDIT}\n[[publish]]\nstakeholder = \"imaging-dept\"\n");
    has(said("\n[audit]\nflow = \"audit\"\n", &published), &["nobody but the broker may publish"]);
    let main = "\n[audit]\nflow = \"maintenance\"\n";
    has(said(main, AUDIT), &["flows/device.toml", "gets the audit, and nobody but the broker"]);
}
