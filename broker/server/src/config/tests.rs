//! Every mistake has its message, and the messages are snapshots.

use std::fs;

use expect_test::{Expect, expect};
use hilum_core::{FlowName, Label};
use tempfile::TempDir;

use super::*;

mod audit;
mod canary;
mod config_files;
mod memory;
mod originals;
mod paths;
mod retention;
mod score;
mod trust;

/// A hospital in which everything is right.
const MAIN: &str = r#"[hospital]
name = "st-marys"

[broker]
listen = "127.0.0.1:4433"

[labels]
phi = { description = "identifies a patient" }
device = { description = "how a machine is doing" }

[zones]
device = { description = "machines" }
clinical = { description = "clinical systems" }
vendor = { description = "manufacturers" }

[[conduits]]
from = "device"
to = "clinical"

[[conduits]]
from = "device"
to = "vendor"

[stakeholders.imaging-dept]
description = "runs the machine"

[stakeholders.radiology]
description = "reads images"
cleared = ["phi"]

[stakeholders.manufacturer]
description = "built the machine"
cleared = ["device"]

[principals.mri-1]
path = "device/mri-1"
stakeholder = "imaging-dept"
zone = "device"
roles = ["scanner"]

[principals.workstation-1]
path = "service/workstation-1"
stakeholder = "radiology"
zone = "clinical"
roles = ["radiologist"]

[principals.manufacturer-1]
path = "service/manufacturer-1"
stakeholder = "manufacturer"
zone = "vendor"

[plugins.deidentify]
path = "plugins/deidentify.wasm"

[plugins.analytics]
path = "plugins/analytics.wasm"

[keys.research]
kind = "secret"
file = "keys/research"
"#;

const IMAGING: &str = r#"name = "imaging"
class = "imaging"
zone = "clinical"
labels = ["phi"]

[[publish]]
stakeholder = "imaging-dept"
roles = ["scanner"]

[[subscription]]
name = "radiology"
stakeholder = "radiology"
purpose = "TREAT"
"#;

const DEVICE: &str = r#"name = "device"
class = "device"
zone = "device"
labels = ["device"]

[[publish]]
stakeholder = "imaging-dept"

[[ingress]]
stage = "watch"
plugin = "analytics"
grants = ["metrics", "state", "emit:maintenance"]
config = { threshold = 20.5, sensors = ["helium-level"] }
limits = { memory_octets = 1_000_000 }

[[subscription]]
name = "manufacturer"
stakeholder = "manufacturer"
purpose = "PERFMSR"
"#;

const MAINTENANCE: &str = r#"name = "maintenance"
class = "device"
zone = "device"
labels = ["device"]

[[subscription]]
name = "manufacturer"
stakeholder = "manufacturer"
purpose = "PERFMSR"
"#;

/// Plugins that remove what their configuration says, and that are never looked at.
struct Pretended;

impl PluginCatalog for Pretended {
    fn removes(&self, stage: &StageConfig) -> Result<Vec<Label>, StageProblem> {
        if stage.config.get("broken").is_some() {
            let (what, help) = ("there is no setting `broken`".to_owned(), "remove it".to_owned());
            return Err(StageProblem { key: "config.broken".to_owned(), what, help });
        }
        let removed = stage.config.get("removes").and_then(|labels| labels.as_array());
        let labels = removed.into_iter().flatten().filter_map(|label| label.as_str());
        Ok(labels.map(|label| Label::new(label).unwrap()).collect())
    }
}

type Files = BTreeMap<&'static str, String>;

fn hospital() -> Files {
    let files = [
        ("hilum.toml", MAIN),
        ("flows/imaging.toml", IMAGING),
        ("flows/device.toml", DEVICE),
        ("flows/maintenance.toml", MAINTENANCE),
    ];
    files.into_iter().map(|(path, text)| (path, text.to_owned())).collect()
}

fn checked(files: &Files) -> Result<Hospital, Problems> {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("flows")).unwrap();
    for (path, text) in files {
        fs::write(directory.path().join(path), text).unwrap();
    }
    let hospital = load(directory.path())?;
    check_labels(&hospital, &Pretended)?;
    Ok(hospital)
}

/// What is said about the hospital after replacing texts: (file, text that is there once, what it becomes).
#[expect(clippy::needless_pass_by_value, reason = "`expect!` is written at the call")]
fn check(changes: &[(&'static str, &str, &str)], expected: Expect) {
    let mut files = hospital();
    for (path, from, to) in changes {
        let text = files.entry(path).or_default();
        assert_eq!(text.matches(from).count(), 1, "`{from}` is not there once in {path}");
        *text = text.replace(from, to);
    }
    let said = checked(&files).map_or_else(|problems| problems.to_string(), |_| "all right".to_owned());
    expected.assert_eq(&said);
}

fn check_main(from: &str, to: &str, expected: Expect) {
    check(&[("hilum.toml", from, to)], expected);
}

fn check_imaging(from: &str, to: &str, expected: Expect) {
    check(&[("flows/imaging.toml", from, to)], expected);
}

fn check_device(from: &str, to: &str, expected: Expect) {
    check(&[("flows/device.toml", from, to)], expected);
}

#[test]
fn says_what_the_files_say() {
    let hospital = checked(&hospital()).unwrap();
    assert_eq!(hospital.name, "st-marys");
    assert_eq!(hospital.broker_id().as_str(), "spiffe://st-marys/broker");
    let mri = &hospital.identities["mri-1"];
    assert_eq!(mri.id.as_str(), "spiffe://st-marys/device/mri-1");
    assert_eq!(hospital.principal(&mri.id), Some(mri));
    let device = &hospital.flows[&FlowName::new("device").unwrap()];
    let watch = &device.ingress[0];
    assert_eq!(watch.config, serde_json::json!({"threshold": 20.5, "sensors": ["helium-level"]}));
    assert_eq!(watch.limits.memory_octets, 1_000_000);
    assert_eq!(watch.emits_as.as_ref().unwrap().id.as_str(), "spiffe://st-marys/plugin/watch");
    assert_eq!(watch.place.to_string(), "flows/device.toml:10:9");
}

#[test]
fn tells_what_every_reader_receives() {
    let mut files = hospital();
    let labels = "labels = [\"device\", \"phi\"]";
    files.entry("flows/device.toml").and_modify(|text| {
        *text =
            text.replace("labels = [\"device\"]", labels).replace("threshold = 20.5", "removes = [\"phi\"]");
    });
    let received = received_labels(&checked(&files).unwrap(), &Pretended).unwrap();
    let shown: Vec<_> =
        received.iter().map(|((flow, name), labels)| format!("{flow}/{name}: {labels:?}")).collect();
    expect![[r#"
        device/manufacturer: {"device"}
        imaging/radiology: {"phi"}
        maintenance/manufacturer: {"device"}"#]]
    .assert_eq(&shown.join("\n"));
}

#[test]
fn policy_lets_in_who_the_files_name_and_what_stages_emit() {
    let hospital = checked(&hospital()).unwrap();
    let policy = hospital.policy();
    let [imaging, device, maintenance] =
        ["imaging", "device", "maintenance"].map(|n| FlowName::new(n).unwrap());
    let mri = &hospital.identities["mri-1"];
    let vendor = &hospital.identities["manufacturer-1"];
    assert_eq!(policy.admit(mri, &imaging).unwrap().rule(), "flow.imaging.publish[0]");
    assert!(policy.admit(vendor, &imaging).is_err());
    assert!(policy.admit(mri, &maintenance).is_err());
    let stage = hospital.flows[&device].ingress[0].emits_as.clone().unwrap();
    assert_eq!(policy.admit(&stage, &maintenance).unwrap().rule(), "flow.device.ingress.watch.emit");
    let permit = policy.read(vendor, &device, &"manufacturer".parse().unwrap()).unwrap();
    assert_eq!(permit.rule(), "flow.device.subscription.manufacturer");
    assert!(!permit.is_cleared_for(&Label::new("phi").unwrap()));
}

#[test]
fn finds_text_that_is_not_toml() {
    check_main(
        "name = \"st-marys\"",
        "name = st-marys",
        expect![[r#"
        error: hilum.toml:2:8: string values must be quoted, expected literal string
        help: correct the TOML here (https://toml.io/en/v1.1.0)"#]],
    );
    check_imaging(
        "zone = \"clinical\"",
        "zone = \"clinical\"\nzone = \"device\"",
        expect![[r#"
        error: flows/imaging.toml:4:1: duplicate key
        help: correct the TOML here (https://toml.io/en/v1.1.0)"#]],
    );
}

#[test]
fn suggests_the_key_that_was_meant() {
    check_main(
        "listen =",
        "listn =",
        expect![[r#"
        error: hilum.toml:4:1: `broker.listen`: this key is missing
        help: add `listen = ...`: the address for QUIC, e.g. "127.0.0.1:4433"
        error: hilum.toml:5:1: `broker.listn`: there is no such key
        help: did you mean `listen`?"#]],
    );
    check_main(
        "listen = ",
        "lisbon = 1\nlisten = ",
        expect![[r#"
        error: hilum.toml:5:1: `broker.lisbon`: there is no such key
        help: did you mean `listen`?"#]],
    );
    check_imaging(
        "purpose =",
        "porpuse =",
        expect![[r#"
        error: flows/imaging.toml:10:1: `subscription[0].purpose`: this key is missing
        help: add `purpose = ...`: what for: a code of HL7 v3 PurposeOfUse, e.g. "TREAT"
        error: flows/imaging.toml:13:1: `subscription[0].porpuse`: there is no such key
        help: did you mean `purpose`?"#]],
    );
}

#[test]
fn wants_values_of_the_right_shape() {
    check_main(
        "cleared = [\"phi\"]",
        "cleared = \"phi\"",
        expect![[r#"
        error: hilum.toml:29:11: `stakeholders.radiology.cleared`: a list of texts is needed here, this is of type string
        help: write it as `["..."]`"#]],
    );
    check_main(
        "[[conduits]]\nfrom = \"device\"\nto = \"clinical\"\n\n[[conduits]]",
        "[conduits]",
        expect![[r#"
            error: hilum.toml:16:1: `conduits`: an array of tables is needed here, this is of type table
            help: write it as `[[conduits]]`
            error: flows/device.toml:18:15: `subscription[0].stakeholder`: `spiffe://st-marys/service/manufacturer-1` could not read: no conduit leads from zone `device` to zone `vendor`
            help: add [[conduits]] from = "device" to = "vendor" to hilum.toml if the path is meant to be there, or name `roles` that leave this principal out
            error: flows/imaging.toml:7:15: `publish[0].stakeholder`: `spiffe://st-marys/device/mri-1` could not publish: no conduit leads from zone `device` to zone `clinical`
            help: add [[conduits]] from = "device" to = "clinical" to hilum.toml if the path is meant to be there, or name `roles` that leave this principal out
            error: flows/maintenance.toml:8:15: `subscription[0].stakeholder`: `spiffe://st-marys/service/manufacturer-1` could not read: no conduit leads from zone `device` to zone `vendor`
            help: add [[conduits]] from = "device" to = "vendor" to hilum.toml if the path is meant to be there, or name `roles` that leave this principal out"#]],
    );
    check_main(
        "name = \"st-marys\"",
        "name = 7",
        expect![[r#"
        error: hilum.toml:2:8: `hospital.name`: a text is needed here, this is of type integer
        help: write it as `"..."`"#]],
    );
    check_device(
        "memory_octets = 1_000_000",
        "memory_octets = 0",
        expect![[r#"
        error: flows/device.toml:14:28: `ingress[0].limits.memory_octets`: a whole number from 1 to 4294967296 is needed here
        help: write a number in this range"#]],
    );
    check_device("memory_octets = 1_000_000", "stack_octets = 131_072", expect!["all right"]);
    check_device(
        "memory_octets = 1_000_000",
        "stack_octets = 1_000_000",
        expect![[r#"
        error: flows/device.toml:14:27: `ingress[0].limits.stack_octets`: 1000000 is none of its values
        help: write one of 65536, 131072, 262144, 524288, 1048576, 2097152"#]],
    );
    check_device(
        "threshold = 20.5",
        "threshold = nan",
        expect![[r#"
            error: flows/device.toml:13:24: `ingress[0].config.threshold`: JSON has no such number
            help: write a number that fits 64 bits and is finite"#]],
    );
}

#[test]
fn wants_names_that_are_names() {
    check_main(
        "name = \"st-marys\"",
        "name = \"St. Mary's\"",
        expect![[r#"
        error: hilum.toml:2:8: `hospital.name`: the trust domain of a SPIFFE ID has 1 to 255 characters of a-z, 0-9, `.`, `-` and `_`
        help: the name is the SPIFFE trust domain, e.g. "st-marys""#]],
    );
    check_main(
        "\"127.0.0.1:4433\"",
        "\"localhost\"",
        expect![[r#"
        error: hilum.toml:5:10: `broker.listen`: `localhost` is not an address with a port
        help: write an IP address and a port, e.g. "127.0.0.1:4433""#]],
    );
    check_main(
        "[principals.mri-1]",
        "[principals.\"mri 1\"]",
        expect![[r#"
            error: hilum.toml:35:13: `principals.mri 1`: name `mri 1` is not valid: 1 to 64 characters of a-z, 0-9, `-`, `_` and `.`, starting with a letter or digit
            help: give it a name of this form
            error: flows/device.toml:7:15: `publish[0].stakeholder`: stakeholder `imaging-dept` has no principal
            help: describe one in hilum.toml: [principals.NAME] with stakeholder = "imaging-dept"
            error: flows/imaging.toml:7:15: `publish[0].stakeholder`: stakeholder `imaging-dept` has no principal
            help: describe one in hilum.toml: [principals.NAME] with stakeholder = "imaging-dept""#]],
    );
    check_main(
        "\"device/mri-1\"",
        "\"device//mri-1\"",
        expect![[r#"
            error: hilum.toml:36:8: `principals.mri-1.path`: each path segment of a SPIFFE ID has characters of a-z, A-Z, 0-9, `.`, `-` and `_`, and is not `.` or `..`
            help: write a path like "device/mri-1"
            error: flows/device.toml:7:15: `publish[0].stakeholder`: stakeholder `imaging-dept` has no principal
            help: describe one in hilum.toml: [principals.NAME] with stakeholder = "imaging-dept"
            error: flows/imaging.toml:7:15: `publish[0].stakeholder`: stakeholder `imaging-dept` has no principal
            help: describe one in hilum.toml: [principals.NAME] with stakeholder = "imaging-dept""#]],
    );
    check_main(
        "\"plugins/analytics.wasm\"",
        "\"../analytics.wasm\"",
        expect![[r#"
            error: hilum.toml:56:8: `plugins.analytics.path`: `../analytics.wasm` is not a path within the hospital directory
            help: put the file into the directory and write its path from there"#]],
    );
    check_main(
        "\"keys/research\"",
        "\"keys/kek\"",
        expect![[r#"
        error: hilum.toml:60:8: `keys.research.file`: this is the key-encryption key, which no stage may use
        help: name another file; `hilum init` makes it"#]],
    );
    check_main(
        "kind = \"secret\"",
        "kind = \"public\"",
        expect![[r#"
        error: hilum.toml:59:8: `keys.research.kind`: there is no kind of key `public`
        help: write "secret": a secret for HMAC-SHA-256"#]],
    );
    check_main(
        "\"plugins/analytics.wasm\"",
        "\"plugins/analytics.wasm\"\nsha256 = \"abc\"",
        expect![[r#"
        error: hilum.toml:57:10: `plugins.analytics.sha256`: this is not a SHA-256 digest
        help: write the 64 hexadecimal digits that `hilum plugin verify` prints for a package, or `sha256sum` for a file"#]],
    );
    check_imaging(
        "\"TREAT\"",
        "\"treat\"",
        expect![[r#"
        error: flows/imaging.toml:13:11: `subscription[0].purpose`: `treat` is not a code of HL7 v3 PurposeOfUse
        help: did you mean `TREAT`?"#]],
    );
}

#[test]
fn wants_what_is_named_to_exist() {
    check_imaging(
        "zone = \"clinical\"",
        "zone = \"clinicle\"",
        expect![[r#"
        error: flows/imaging.toml:3:8: `zone`: there is no zone `clinicle`
        help: did you mean `clinical`?"#]],
    );
    check_imaging(
        "labels = [\"phi\"]",
        "labels = [\"phy\"]",
        expect![[r#"
        error: flows/imaging.toml:4:11: `labels[0]`: there is no label `phy`
        help: did you mean `phi`?"#]],
    );
    check_imaging(
        "stakeholder = \"radiology\"",
        "stakeholder = \"surgery\"",
        expect![[r#"
        error: flows/imaging.toml:12:15: `subscription[0].stakeholder`: there is no stakeholder `surgery`
        help: describe it in hilum.toml, or use one of `imaging-dept`, `manufacturer`, `radiology`"#]],
    );
    check_imaging(
        "roles = [\"scanner\"]",
        "roles = [\"scaner\"]",
        expect![[r#"
        error: flows/imaging.toml:8:10: `publish[0].roles[0]`: no principal of stakeholder `imaging-dept` has the role `scaner`
        help: did you mean `scanner`?"#]],
    );
    check_main(
        "stakeholder = \"imaging-dept\"",
        "stakeholder = \"imaging\"",
        expect![[r#"
            error: hilum.toml:37:15: `principals.mri-1.stakeholder`: there is no stakeholder `imaging`
            help: describe it in hilum.toml, or use one of `imaging-dept`, `manufacturer`, `radiology`
            error: flows/device.toml:7:15: `publish[0].stakeholder`: stakeholder `imaging-dept` has no principal
            help: describe one in hilum.toml: [principals.NAME] with stakeholder = "imaging-dept"
            error: flows/imaging.toml:7:15: `publish[0].stakeholder`: stakeholder `imaging-dept` has no principal
            help: describe one in hilum.toml: [principals.NAME] with stakeholder = "imaging-dept""#]],
    );
    check_main(
        "to = \"vendor\"",
        "to = \"vender\"",
        expect![[r#"
            error: hilum.toml:22:6: `conduits[1].to`: there is no zone `vender`
            help: did you mean `vendor`?
            error: flows/device.toml:18:15: `subscription[0].stakeholder`: `spiffe://st-marys/service/manufacturer-1` could not read: no conduit leads from zone `device` to zone `vendor`
            help: add [[conduits]] from = "device" to = "vendor" to hilum.toml if the path is meant to be there, or name `roles` that leave this principal out
            error: flows/maintenance.toml:8:15: `subscription[0].stakeholder`: `spiffe://st-marys/service/manufacturer-1` could not read: no conduit leads from zone `device` to zone `vendor`
            help: add [[conduits]] from = "device" to = "vendor" to hilum.toml if the path is meant to be there, or name `roles` that leave this principal out"#]],
    );
    check_device(
        "plugin = \"analytics\"",
        "plugin = \"analytic\"",
        expect![[r#"
        error: flows/device.toml:11:10: `ingress[0].plugin`: there is no plugin `analytic`
        help: did you mean `analytics`?"#]],
    );
    check_device(
        "emit:maintenance",
        "emit:maintainance",
        expect![[r#"
        error: flows/device.toml:12:31: `ingress[0].grants[2]`: there is no flow `maintainance`
        help: did you mean `maintenance`?
        error: flows/maintenance.toml:1:8: `publish`: nobody may publish to flow `maintenance`
        help: add [[publish]] with a stakeholder, or let a stage of another flow emit to it"#]],
    );
}

#[test]
fn grants_only_what_there_is() {
    check_device(
        "\"metrics\"",
        "\"metric\"",
        expect![[r#"
        error: flows/device.toml:12:11: `ingress[0].grants[0]`: there is nothing to grant called `metric`
        help: grants are `log`, `metrics`, `trace`, `time`, `random`, `state`, `keys:KEY`, `recipient:PRINCIPAL_OR_STAKEHOLDER`, `emit:FLOW` and `observed:FLOW/STAGE`"#]],
    );
    check_device(
        "\"metrics\"",
        "\"keys:reserch\"",
        expect![[r#"
        error: flows/device.toml:12:11: `ingress[0].grants[0]`: there is no key `reserch`
        help: did you mean `research`?"#]],
    );
    check_device(
        "\"metrics\"",
        "\"recipient:insurer\"",
        expect![[r#"
        error: flows/device.toml:12:11: `ingress[0].grants[0]`: there is no principal or stakeholder with a principal `insurer`
        help: describe it in hilum.toml, or use one of `manufacturer-1`, `mri-1`, `workstation-1`, `manufacturer`, `imaging-dept`, `radiology`"#]],
    );
    check_device(
        "\"metrics\"",
        "\"state\"",
        expect![[r#"
        error: flows/device.toml:12:20: `ingress[0].grants[1]`: `state` is granted twice
        help: name it once"#]],
    );
    check_device(
        "\"metrics\"",
        "\"recipient:radiology\", \"recipient:mri-1\", \"keys:research\"",
        expect!["all right"],
    );
}

#[test]
fn refuses_what_is_there_twice() {
    check_imaging(
        "name = \"imaging\"",
        "name = \"device\"",
        expect![[r#"
        error: flows/imaging.toml:1:8: `name`: flow `device` is already in flows/device.toml
        help: give one of the two another name"#]],
    );
    check_main(
        "\"service/workstation-1\"",
        "\"device/mri-1\"",
        expect![[r#"
        error: hilum.toml:42:8: `principals.workstation-1.path`: principal `mri-1` has the same SPIFFE ID `spiffe://st-marys/device/mri-1`
        help: give each principal its own path"#]],
    );
    let again =
        "[[subscription]]\nname = \"radiology\"\nstakeholder = \"radiology\"\npurpose = \"TREAT\"\n\n";
    check_imaging(
        "[[subscription]]",
        &format!("{again}[[subscription]]"),
        expect![[r#"
        error: flows/imaging.toml:16:8: `subscription[1].name`: subscription `radiology` is already in line 11
        help: give one of the two another name"#]],
    );
    let stage = "[[ingress]]\nstage = \"watch\"\nplugin = \"analytics\"\n\n";
    check_device(
        "[[ingress]]",
        &format!("{stage}[[ingress]]"),
        expect![[r#"
        error: flows/device.toml:14:9: `ingress[1].stage`: stage `watch` is already in line 10
        help: give one of the two another name"#]],
    );
}

#[test]
fn keeps_the_brokers_own_names() {
    check_main(
        "[principals.mri-1]",
        "[principals.broker]",
        expect![[r#"
        error: hilum.toml:35:13: `principals.broker`: this name is kept for the broker's own identity
        help: give the principal another name"#]],
    );
    check_main(
        "\"device/mri-1\"",
        "\"plugin/watch\"",
        expect![[r#"
        error: hilum.toml:36:8: `principals.mri-1.path`: SPIFFE IDs under `plugin` are kept for the broker itself
        help: choose another path, e.g. "service/NAME""#]],
    );
    check_main(
        "[stakeholders.imaging-dept]",
        "[stakeholders.plugin]\ndescription = \"x\"\n\n[stakeholders.imaging-dept]",
        expect![[r#"
            error: hilum.toml:24:15: `stakeholders.plugin`: this name is kept for what plugins emit
            help: give the stakeholder another name"#]],
    );
}

#[test]
fn tells_everything_at_once() {
    check(
        &[
            ("hilum.toml", "listen =", "listn ="),
            ("flows/imaging.toml", "zone = \"clinical\"", "zone = \"clinicle\""),
            ("flows/device.toml", "\"metrics\"", "\"metric\""),
        ],
        expect![[r#"
            error: hilum.toml:4:1: `broker.listen`: this key is missing
            help: add `listen = ...`: the address for QUIC, e.g. "127.0.0.1:4433"
            error: hilum.toml:5:1: `broker.listn`: there is no such key
            help: did you mean `listen`?
            error: flows/device.toml:12:11: `ingress[0].grants[0]`: there is nothing to grant called `metric`
            help: grants are `log`, `metrics`, `trace`, `time`, `random`, `state`, `keys:KEY`, `recipient:PRINCIPAL_OR_STAKEHOLDER`, `emit:FLOW` and `observed:FLOW/STAGE`
            error: flows/imaging.toml:3:8: `zone`: there is no zone `clinicle`
            help: did you mean `clinical`?"#]],
    );
}

#[test]
fn a_directory_without_configuration_is_none() {
    let directory = TempDir::new().unwrap();
    let problems = load(directory.path()).unwrap_err().to_string();
    expect![[r#"
        error: hilum.toml: cannot be read: No such file or directory (os error 2)
        help: make a hospital directory with `hilum init DIR`, or name another one"#]]
    .assert_eq(&problems);
}

#[test]
fn files_that_are_missing_are_named() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("flows")).unwrap();
    for (path, text) in hospital() {
        fs::write(directory.path().join(path), text).unwrap();
    }
    let hospital = load(directory.path()).unwrap();
    fs::create_dir(directory.path().join("keys")).unwrap();
    fs::write(directory.path().join("keys/kek"), "").unwrap();
    let problems = check_files(&hospital).unwrap_err();
    let missing: Vec<_> = problems.iter().map(|problem| &*problem.file).collect();
    expect![[r#"
        [
            "authority/ca.pem",
            "authority/plugins.pem",
            "identities/broker/cert.pem",
            "identities/broker/key.pem",
            "identities/manufacturer-1/cert.pem",
            "identities/mri-1/cert.pem",
            "identities/workstation-1/cert.pem",
            "keys/research",
            "plugins/analytics.wasm",
            "plugins/deidentify.wasm",
        ]
    "#]]
    .assert_debug_eq(&missing);
}
