//! What `[keys.NAME.originals]` may say, and who may be a holder.

use std::time::Duration;

use super::*;

/// Radiology may see patients, and ask; the flow's stage uses the key.
const HELD: &str = r#"
[[operators]]
stakeholder = "radiology"
may = ["pseudonyms"]

[keys.research.originals]
holders = ["workstation-1"]
"#;
const CLEAN: &str = r#"
[[subscription.egress]]
stage = "clean"
plugin = "deidentify"
grants = ["keys:research"]
config = { key = "research" }
"#;

fn with(more: &str, imaging: &str) -> Result<Hospital, Problems> {
    let mut files = hospital();
    files.get_mut("hilum.toml").unwrap().push_str(more);
    files.get_mut("flows/imaging.toml").unwrap().push_str(imaging);
    checked(&files)
}

#[expect(clippy::needless_pass_by_value, reason = "`expect!` is written at the call")]
fn check_originals(more: &str, expected: Expect) {
    expected.assert_eq(&with(more, CLEAN).unwrap_err().to_string());
}

#[test]
fn nothing_is_kept_unless_said_and_then_for_its_holders() {
    assert_eq!(with("", CLEAN).unwrap().kept_keys().count(), 0);
    let hospital = with(HELD, CLEAN).unwrap();
    let (key, originals) = hospital.kept_keys().next().unwrap();
    assert_eq!((key.as_str(), &originals.holders[..]), ("research", &["workstation-1".to_owned()][..]));
    assert_eq!((originals.count_max, originals.octets_max), (1_000_000, 1 << 30));
    assert!(originals.domains.is_empty() && originals.max_age.is_none());
    let flows: Vec<_> = hospital.flows_with_key(&key).map(FlowName::as_str).collect();
    assert_eq!(flows, ["imaging"]);

    let all = "domains = [\"patient-id\"]\nmax_entries = 5000\nmax_bytes = \"10MiB\"\nmax_age = \"3650d\"\n";
    let hospital = with(&format!("{HELD}{all}"), CLEAN).unwrap();
    let (_, originals) = hospital.kept_keys().next().unwrap();
    assert_eq!((originals.count_max, originals.octets_max), (5000, 10 << 20));
    assert_eq!(originals.max_age, Some(Duration::from_secs(3650 * 86_400)));
    assert!(originals.domains.contains("patient-id"));
}

#[test]
fn a_holder_is_somebody_who_may_ask_and_see() {
    check_originals(
        "\n[keys.research.originals]\nholders = []\n",
        expect![[r#"
        error: hilum.toml:62:1: `keys.research.originals`: 1 to 8 holders are needed, to whom it is sealed
        help: add `holders = ["..."]` with names of [principals]"#]],
    );
    check_originals(
        &HELD.replace("workstation-1", "workstation-2"),
        expect![[r#"
        error: hilum.toml:67:12: `keys.research.originals.holders[0]`: there is no principal `workstation-2`
        help: did you mean `workstation-1`?"#]],
    );
    check_originals(
        &HELD.replace("\"pseudonyms\"", "\"bodies\""),
        expect![[r#"
        error: hilum.toml:66:1: `keys.research.originals`: holder `workstation-1` may not ask what pseudonyms stand for: no rule gives stakeholder `radiology` with these roles the operator's right `pseudonyms`
        help: give its stakeholder the right `pseudonyms` in [[operators]], a conduit and clearance, or name another holder"#]],
    );
    check_originals(
        &format!("{HELD}domains = [\"\"]\nmax_entries = 0\nholder = \"x\"\n"),
        expect![[r#"
        error: hilum.toml:68:12: `keys.research.originals.domains[0]`: a domain has 1 to 128 octets
        help: the plugin's README names its domains, e.g. "patient-id"
        error: hilum.toml:69:15: `keys.research.originals.max_entries`: a whole number from 1 to 16000000 is needed here
        help: write a number in this range
        error: hilum.toml:70:1: `keys.research.originals.holder`: there is no such key
        help: did you mean `holders`?"#]],
    );
    let manufacturer =
        HELD.replace("workstation-1", "manufacturer-1").replace("\"radiology\"", "\"manufacturer\"");
    check_originals(
        &manufacturer,
        expect![[r#"
        error: hilum.toml:66:1: `keys.research.originals`: holder `manufacturer-1` may not ask what pseudonyms stand for: there is no flow `imaging` that can be operated from zone `vendor`
        help: give its stakeholder the right `pseudonyms` in [[operators]], a conduit and clearance, or name another holder"#]],
    );
    let uncleared = HELD.replace("workstation-1", "mri-1").replace("\"radiology\"", "\"imaging-dept\"");
    let there = "\n[[conduits]]\nfrom = \"clinical\"\nto = \"device\"\n";
    check_originals(
        &format!("{there}{uncleared}"),
        expect![[r#"
        error: hilum.toml:70:1: `keys.research.originals`: holder `mri-1` may not ask what pseudonyms stand for: stakeholder `imaging-dept` is not cleared for label `phi` of flow `imaging`
        help: give its stakeholder the right `pseudonyms` in [[operators]], a conduit and clearance, or name another holder"#]],
    );
    // Where no stage uses the key, there is nothing to see.
    assert!(with(&manufacturer, "").is_ok());
}
