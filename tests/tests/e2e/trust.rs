//! Packages of plugins from the vendor's desk to a running broker: who signed, who must, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use hilum_tests::{Broker, Flow, Hospital, Stage, hilum};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{done, printed, publish, said, says, subscribe, take};

/// Keys of a vendor and of those who look at what vendors make, and packages that they sign.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        for (name, algorithm) in [("ann", "ed25519"), ("ben", "p256"), ("eve", "ed25519")] {
            let key = desk.at(&format!("{name}.key"));
            succeeds(&["plugin", "keygen", "--algorithm", algorithm, "--out", &key]);
        }
        let access = &hilum::bundled::PACKED[0];
        fs::write(desk.0.path().join("access.wasm"), access.component).unwrap();
        fs::write(desk.0.path().join("access.cdx.json"), access.sbom).unwrap();
        desk
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// A package of the plugin `access` that is supported so long and that these signed.
    fn package(&self, end_of_support: &str, signers: &[&str]) -> PathBuf {
        let out = self.at(&format!("until-{end_of_support}-by-{}", signers.join("-")));
        let (component, sbom) = (self.at("access.wasm"), self.at("access.cdx.json"));
        let about = ["--vendor", "Example GmbH", "--end-of-support", end_of_support, "--out", &out, "--json"];
        let packed = succeeds(&[&["plugin", "pack", &component, "--sbom", &sbom][..], &about].concat());
        let packed: Value = serde_json::from_str(&printed(&packed)).unwrap();
        let package = packed["package"].as_str().unwrap();
        for name in signers {
            succeeds(&["plugin", "sign", package, "--key", &self.at(&format!("{name}.key"))]);
        }
        package.into()
    }

    /// A hospital that has this package for its plugin `access`, and trusts as this says.
    fn hospital(&self, trust: &str, package: &Path) -> Hospital {
        let trust = format!("\n[trust]\n{trust}");
        let hospital = Hospital::with(&trust, &[Flow::plain().ingress(Stage::open("check"))]);
        change(&hospital, "hilum.toml", "plugins/access.wasm", "plugins/access");
        fs::create_dir(hospital.file("trust")).unwrap();
        for name in ["ann", "ben"] {
            fs::copy(self.at(&format!("{name}.pub")), hospital.file(&format!("trust/{name}.pub"))).unwrap();
        }
        install(&hospital, package);
        hospital
    }
}

fn install(hospital: &Hospital, package: &Path) {
    let to = hospital.file("plugins/access");
    if to.exists() {
        fs::remove_dir_all(&to).unwrap();
    }
    fs::create_dir_all(to.join("signatures")).unwrap();
    for file in ["manifest.json", "plugin.wasm", "sbom.cdx.json"] {
        fs::copy(package.join(file), to.join(file)).unwrap();
    }
    for entry in fs::read_dir(package.join("signatures")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join("signatures").join(path.file_name().unwrap())).unwrap();
    }
}

fn change(hospital: &Hospital, file: &str, from: &str, to: &str) {
    let text = fs::read_to_string(hospital.file(file)).unwrap();
    assert!(text.contains(from), "`{from}` is not in {file}");
    fs::write(hospital.file(file), text.replace(from, to)).unwrap();
}

#[track_caller]
fn succeeds(arguments: &[&str]) -> Output {
    let output = hilum(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", said(&output));
    output
}

fn check(hospital: &Hospital) -> Output {
    hilum(["check".as_ref(), hospital.path().as_os_str()])
}

/// `hilum check` finds something wrong, and says so with these words.
#[track_caller]
fn refused(hospital: &Hospital, words: &[&str]) {
    let output = check(hospital);
    assert_eq!(output.status.code(), Some(1), "{}", printed(&output));
    says(&said(&output), words);
    says(&said(&output), &["help: "]);
}

/// `hilum check` is content, and says these words of the plugins.
#[track_caller]
fn admitted(hospital: &Hospital, words: &[&str]) {
    let output = check(hospital);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    says(&printed(&output), words);
}

/// Keys of ann and ben, and then this rule.
fn keys_and(rule: &str) -> String {
    let key = |name: &str| format!("[[trust.keys]]\nname = \"{name}\"\nfile = \"trust/{name}.pub\"\n");
    format!("{}{}[[trust.rules]]\n{rule}\n", key("ann"), key("ben"))
}

#[tokio::test]
async fn a_broker_runs_what_is_signed_by_both_who_must_and_says_who_did() {
    let desk = Desk::new();
    let package = desk.package("2030-12-31", &["ann"]);
    let both = keys_and("any_of = [\"ann\", \"ben\"]\nminimum = 2");
    let hospital = desk.hospital(&both, &package);
    let log = Broker::try_start(hospital.path()).err().expect("the broker started");
    says(&log, &["plugin `access`", "flows/0.toml:", "world `authorize` in zone `clinic`"]);
    says(&log, &["2 of `ann`, `ben`", "signed by `ann`", "hilum plugin sign"]);

    let key = desk.at("ben.key");
    succeeds(&["plugin", "sign", &hospital.file("plugins/access").display().to_string(), "--key", &key]);
    admitted(&hospital, &["signed by `ann`; `ben`", "supported until 2030-12-31", "by Example GmbH"]);
    let broker = Broker::start(hospital.path());
    publish(&hospital.connect(broker.address(), "scanner").await.unwrap(), &["signed"]).await;
    let reader = hospital.connect(broker.address(), "reader").await.unwrap();
    assert_eq!(take(&mut subscribe(&reader).await, 1).await, ["signed"]);
    let events = done(&hospital, &broker, "operator", "audit --action plugin-admitted");
    let reasons: Vec<_> = events.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    says(reasons[0], &["plugin `access`", "signed by `ann`; `ben`", "support until 2030-12-31"]);
    let refusals = done(&hospital, &broker, "operator", "audit --action plugin-refused");
    assert_eq!(refusals.len(), 1, "the start that failed: {refusals:?}");
    assert!(broker.stop().0);
}

#[test]
fn the_wrong_key_the_expired_one_the_revoked_one_and_none_are_refused() {
    let desk = Desk::new();
    let [by_ann, by_eve, by_nobody] =
        [&["ann"][..], &["eve"], &[]].map(|signers| desk.package("2030-12-31", signers));
    let hospital = desk.hospital(&keys_and("any_of = [\"ann\"]"), &by_ann);
    admitted(&hospital, &["signed by `ann`"]);
    install(&hospital, &by_eve);
    refused(&hospital, &["flows/0.toml:", "1 of `ann`", "a key that is not known here"]);
    install(&hospital, &by_nobody);
    refused(&hospital, &["plugins/access: nobody signed it", "unsigned = \"allow\""]);

    install(&hospital, &by_ann);
    let file = "file = \"trust/ann.pub\"";
    change(&hospital, "hilum.toml", file, &format!("{file}\nnot_after = \"2020-12-31\""));
    refused(&hospital, &["`ann`, which counted until 2020-12-31"]);
    change(&hospital, "hilum.toml", "not_after = \"2020-12-31\"", "revoked = true");
    refused(&hospital, &["`ann`, which is revoked"]);
    let log = Broker::try_start(hospital.path()).err().expect("the broker started");
    says(&log, &["`ann`, which is revoked"]);
}

#[test]
fn a_rule_is_about_worlds_and_zones() {
    let desk = Desk::new();
    let package = desk.package("2030-12-31", &["ann"]);
    let hospital = desk.hospital(&keys_and("worlds = [\"transform\"]\nany_of = [\"ann\"]"), &package);
    refused(&hospital, &["no rule says who may sign what is of world `authorize` in zone `clinic`"]);
    change(&hospital, "hilum.toml", "worlds = [\"transform\"]", "zones = [\"clinic\"]");
    admitted(&hospital, &["signed by `ann`"]);
    let stricter = "zones = [\"clinic\"]\nall_of = [\"ann\", \"ben\"]\n[[trust.rules]]\nany_of = [\"ann\"]";
    change(&hospital, "hilum.toml", "zones = [\"clinic\"]\nany_of = [\"ann\"]", stricter);
    refused(&hospital, &["`trust.rules[0]` wants signatures of all of `ann`, `ben`"]);
    let general = "[[trust.rules]]\nany_of = [\"ben\"]\n[[trust.rules]]\nzones =";
    change(&hospital, "hilum.toml", "[[trust.rules]]\nzones =", general);
    refused(&hospital, &["`trust.rules[1]`: rule 0 is about everything that this one is about"]);
}

#[test]
fn whatever_is_changed_in_a_package_is_found() {
    let desk = Desk::new();
    let package = desk.package("2030-12-31", &["ann"]);
    let hospital = desk.hospital(&keys_and("any_of = [\"ann\"]"), &package);
    for (file, words) in [
        ("plugin.wasm", "plugin.wasm has"),
        ("sbom.cdx.json", "sbom.cdx.json has"),
        ("manifest.json", "signs another manifest"),
    ] {
        let path = hospital.file(&format!("plugins/access/{file}"));
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        let at = match file {
            "manifest.json" => String::from_utf8_lossy(&good).find("GmbH").unwrap(),
            _ => good.len() / 2,
        };
        bad[at] ^= 1;
        fs::write(&path, bad).unwrap();
        refused(&hospital, &["plugins/access: ", words]);
        fs::write(&path, good).unwrap();
    }
    let key =
        fs::read_dir(hospital.file("plugins/access/signatures")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&key).unwrap();
    let at = text.find("\"sig\": \"").unwrap() + 12;
    let other = if &text[at..=at] == "A" { "B" } else { "A" };
    fs::write(&key, format!("{}{other}{}", &text[..at], &text[at + 1..])).unwrap();
    refused(&hospital, &["the signature of key `ann` does not verify"]);
    fs::write(&key, text).unwrap();
    admitted(&hospital, &["signed by `ann`"]);
}

#[test]
fn pins_and_revoked_digests_are_held_to() {
    let desk = Desk::new();
    let package = desk.package("2030-12-31", &["ann"]);
    let hospital = desk.hospital(&keys_and("any_of = [\"ann\"]"), &package);
    let shown = succeeds(&["plugin", "inspect", &package.display().to_string(), "--json"]);
    let shown: Value = serde_json::from_str(&printed(&shown)).unwrap();
    let (digest, component) = (&shown["sha256"], &shown["manifest"]["component"]["sha256"]);
    let path = "path = \"plugins/access\"";
    for pin in [digest, component] {
        change(&hospital, "hilum.toml", path, &format!("{path}\nsha256 = {pin}"));
        admitted(&hospital, &["signed by `ann`"]);
        change(&hospital, "hilum.toml", &format!("\nsha256 = {pin}"), "");
    }
    let other = "0".repeat(64);
    change(&hospital, "hilum.toml", path, &format!("{path}\nsha256 = \"{other}\""));
    refused(&hospital, &["hilum.toml pins 0000"]);
    change(&hospital, "hilum.toml", &format!("\nsha256 = \"{other}\""), "");
    change(&hospital, "hilum.toml", "[trust]\n", &format!("[trust]\nrevoked = [{component}]\n"));
    refused(&hospital, &["is revoked"]);
}

#[test]
fn a_plugin_past_its_end_of_support_is_warned_of_and_by_policy_refused() {
    let desk = Desk::new();
    let package = desk.package("2021-12-31", &["ann"]);
    let hospital = desk.hospital(&keys_and("any_of = [\"ann\"]"), &package);
    admitted(&hospital, &["warning: its support ended on 2021-12-31"]);
    let broker = Broker::start(hospital.path());
    let events = done(&hospital, &broker, "operator", "audit --action plugin-admitted");
    says(events[0]["reason"].as_str().unwrap(), &["its support ended on 2021-12-31"]);
    let (in_good_order, log) = broker.stop();
    assert!(in_good_order);
    says(&log, &["a plugin needs attention", "its support ended on 2021-12-31"]);

    change(&hospital, "hilum.toml", "[trust]\n", "[trust]\nend_of_support = \"refuse\"\ngrace = \"90d\"\n");
    refused(&hospital, &["its support ended on 2021-12-31, and it was let run until 2022-03-31"]);
    change(&hospital, "hilum.toml", "grace = \"90d\"", "grace = \"36500d\"");
    admitted(&hospital, &["warning: its support ended on 2021-12-31"]);
}

#[test]
fn a_package_is_verified_without_a_hospital_and_against_one() {
    let desk = Desk::new();
    let package = desk.package("2030-12-31", &["ann"]);
    let hospital = desk.hospital(&keys_and("zones = [\"clinic\"]\nall_of = [\"ann\", \"ben\"]"), &package);
    let (shown, ann, ben) = (package.display().to_string(), desk.at("ann.pub"), desk.at("ben.pub"));
    let verified = succeeds(&["plugin", "verify", &shown, "--key", &ann]);
    says(&printed(&verified), &["access", "is as it was signed", "ann.pub"]);
    let refused = |arguments: &[&str]| {
        let output = hilum([&["plugin", "verify", &shown], arguments].concat());
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        said(&output)
    };
    says(&refused(&["--key", &ann, "--key", &ben]), &["all of", "ben.pub"]);
    let dir = hospital.path().display().to_string();
    says(&refused(&["--trust", &dir]), &["all of `ann`, `ben`", "signed by `ann`"]);
    succeeds(&["plugin", "sign", &shown, "--key", &desk.at("ben.key")]);
    let verified = succeeds(&["plugin", "verify", &shown, "--trust", &dir, "--zone", "clinic"]);
    says(&printed(&verified), &["signed by  `ann`", "signed by  `ben`", "may run    in clinic"]);
    let without = hilum(["plugin", "verify", &shown]);
    assert_eq!(without.status.code(), Some(2), "whose signature?");
}
