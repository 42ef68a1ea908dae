//! Who may sign what, by keys, rules and days.

use super::*;
use crate::package::tests::{key, package};
use crate::package::{Algorithm, Parts, SigningKey};

/// Noon of a day.
fn noon(day: &str) -> Timestamp {
    let day: Date = day.parse().unwrap();
    let mut at = Timestamp(43_200_000);
    while Date::at(at) != day {
        at.0 += 86_400_000;
    }
    at
}

fn trusted(name: &str, key: &SigningKey) -> TrustedKey {
    TrustedKey { name: name.into(), key: key.public().clone(), not_after: None, revoked: false }
}

fn rule(all_of: &[&str], any_of: &[&str], minimum: usize) -> Rule {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Rule { all_of: names(all_of), any_of: names(any_of), minimum, ..Rule::default() }
}

fn zone(name: &str) -> ZoneName {
    name.parse().unwrap()
}

/// Three who are trusted, and a stranger.
struct Scene {
    ann: SigningKey,
    ben: SigningKey,
    cat: SigningKey,
    stranger: SigningKey,
    policy: Policy,
}

impl Scene {
    fn new(rules: Vec<Rule>) -> Self {
        let [ann, cat, stranger] = [Algorithm::Ed25519; 3].map(key);
        let ben = key(Algorithm::P256);
        let keys = vec![trusted("ann", &ann), trusted("ben", &ben), trusted("cat", &cat)];
        let policy = Policy { keys, rules, ..Policy::default() };
        Self { ann, ben, cat, stranger, policy }
    }

    /// What becomes of a package that these signed, on this day, in zone `clinical`.
    fn on(&self, day: &str, signers: &[&SigningKey]) -> Result<Examined, Refusal> {
        let examined = self.policy.examine(&package(signers), noon(day))?;
        self.policy.permits(&examined, World::Transform, &zone("clinical")).map(|()| examined)
    }

    fn now(&self, signers: &[&SigningKey]) -> Result<Examined, Refusal> {
        self.on("2026-06-15", signers)
    }
}

#[track_caller]
fn refused_by_rule(result: Result<Examined, Refusal>, words: &[&str]) {
    let refusal = result.unwrap_err();
    assert!(matches!(refusal, Refusal::Rule { .. }), "{refusal}");
    let said = refusal.to_string();
    words.iter().for_each(|word| assert!(said.contains(word), "`{word}` is not in: {said}"));
}

#[test]
fn any_of_wants_its_minimum_and_all_of_wants_all() {
    let one = Scene::new(vec![rule(&[], &["ann", "ben"], 1)]);
    one.now(&[&one.ann]).unwrap();
    one.now(&[&one.stranger, &one.ben]).unwrap();
    refused_by_rule(one.now(&[&one.cat]), &["1 of `ann`, `ben`", "signed by `cat`"]);
    refused_by_rule(one.now(&[&one.stranger]), &["a key that is not known here"]);

    let two = Scene::new(vec![rule(&[], &["ann", "ben", "cat"], 2)]);
    two.now(&[&two.ann, &two.cat]).unwrap();
    refused_by_rule(two.now(&[&two.ben]), &["2 of `ann`, `ben`, `cat`", "signed by `ben`"]);

    let both = Scene::new(vec![rule(&["ann"], &["ben", "cat"], 1)]);
    both.now(&[&both.ann, &both.cat]).unwrap();
    refused_by_rule(both.now(&[&both.ben, &both.cat]), &["all of `ann` and 1 of `ben`, `cat`"]);
    refused_by_rule(both.now(&[&both.ann]), &["signed by `ann`"]);
}

#[test]
fn the_first_rule_that_fits_decides_and_where_none_fits_nobody_can_sign() {
    let clinical = Rule { zones: vec![zone("clinical")], ..rule(&["ann", "ben"], &[], 0) };
    let observers = Rule { worlds: vec![World::Observe], ..rule(&["cat"], &[], 0) };
    let scene = Scene::new(vec![clinical, observers]);
    let examined = scene.policy.examine(&package(&[&scene.cat]), noon("2026-06-15")).unwrap();
    let permits = |world, name| scene.policy.permits(&examined, world, &zone(name));
    assert!(matches!(permits(World::Observe, "clinical"), Err(Refusal::Rule { rule: 0, .. })));
    permits(World::Observe, "device").unwrap();
    let refusal = permits(World::Transform, "device").unwrap_err();
    assert_eq!(refusal, Refusal::NoRule { world: World::Transform, zone: zone("device") });
    assert!(refusal.help().contains("[[trust.rules]]"));
    assert!(matches!(
        Policy::default().permits(&examined, World::Observe, &zone("a")),
        Err(Refusal::NoRule { .. })
    ));
}

#[test]
fn a_rule_that_asks_for_nobody_lets_nobody() {
    let scene = Scene::new(vec![Rule::default()]);
    assert!(matches!(scene.now(&[&scene.ann]), Err(Refusal::Rule { .. })));
}

#[test]
fn a_key_counts_until_its_last_day_and_never_when_it_is_revoked() {
    let mut scene = Scene::new(vec![rule(&[], &["ann"], 1)]);
    scene.policy.keys[0].not_after = Some("2026-12-31".parse().unwrap());
    assert_eq!(scene.now(&[&scene.ann]).unwrap().warnings, []);
    let soon = scene.on("2026-12-31", &[&scene.ann]).unwrap().warnings;
    assert!(matches!(&soon[..], [Warning::KeyExpires { name, .. }] if name == "ann"), "{soon:?}");
    refused_by_rule(scene.on("2027-01-01", &[&scene.ann]), &["`ann`, which counted until 2026-12-31"]);
    scene.policy.keys[0].revoked = true;
    refused_by_rule(scene.now(&[&scene.ann]), &["`ann`, which is revoked"]);
}

#[test]
fn what_nobody_signed_is_refused_unless_it_is_allowed_and_then_warned_of() {
    let mut scene = Scene::new(vec![rule(&[], &["ann"], 1)]);
    let bare = Digest::of(b"component");
    assert_eq!(scene.now(&[]), Err(Refusal::Unsigned));
    assert_eq!(scene.policy.examine_bare(bare), Err(Refusal::Unsigned));
    scene.policy.unsigned = Unsigned::Allow;
    assert_eq!(scene.now(&[]).unwrap().warnings, [Warning::Unsigned]);
    let examined = scene.policy.examine_bare(bare).unwrap();
    assert_eq!(examined.warnings, [Warning::Unsigned]);
    scene.policy.permits(&examined, World::Observe, &zone("anywhere")).unwrap();
    refused_by_rule(scene.now(&[&scene.stranger]), &["not known here"]);
}

#[test]
fn what_is_revoked_never_runs_whoever_signed() {
    let mut scene = Scene::new(vec![rule(&[], &["ann"], 1)]);
    scene.policy.unsigned = Unsigned::Allow;
    let signed = package(&[&scene.ann]);
    for digest in [signed.digest(), signed.manifest().component.sha256] {
        scene.policy.revoked = BTreeSet::from([digest]);
        assert_eq!(scene.now(&[&scene.ann]), Err(Refusal::Revoked(digest)));
    }
    assert!(matches!(
        scene.policy.examine_bare(signed.manifest().component.sha256),
        Err(Refusal::Revoked(_))
    ));
}

#[test]
fn the_end_of_support_warns_and_by_policy_refuses_after_the_grace() {
    let mut scene = Scene::new(vec![rule(&[], &["ann"], 1)]);
    let warnings = |scene: &Scene, day: &str| scene.on(day, &[&scene.ann]).map(|examined| examined.warnings);
    let ends: Date = "2030-12-31".parse().unwrap();
    assert_eq!(warnings(&scene, "2030-06-01"), Ok(vec![]));
    assert_eq!(warnings(&scene, "2030-12-31"), Ok(vec![Warning::SupportEnds(ends)]));
    assert_eq!(warnings(&scene, "2040-01-01"), Ok(vec![Warning::SupportEnded(ends)]));
    scene.policy.end_of_support = EndOfSupport::Refuse { grace_days: 30 };
    assert_eq!(warnings(&scene, "2031-01-30"), Ok(vec![Warning::SupportEnded(ends)]));
    let until = "2031-01-30".parse().unwrap();
    assert_eq!(warnings(&scene, "2031-01-31"), Err(Refusal::EndOfSupport { ended: ends, until }));
    scene.policy.end_of_support = EndOfSupport::Refuse { grace_days: 0 };
    assert!(warnings(&scene, "2031-01-01").is_err());
}

#[test]
fn a_signature_under_a_known_name_that_does_not_verify_refuses_the_package() {
    let scene = Scene::new(vec![rule(&[], &["ann"], 1)]);
    let Parts { manifest, component, sbom, signatures } =
        package(&[&scene.ann, &scene.stranger]).parts().clone();
    // The stranger's signature with the name of ann's key.
    let text = String::from_utf8(signatures[1].1.clone()).unwrap();
    let [ann, stranger] = [&scene.ann, &scene.stranger].map(|key| key.public().id().to_string());
    let forged = (format!("{ann}.json"), text.replace(&stranger, &ann).into_bytes());
    let parts = Parts { manifest, component, sbom, signatures: vec![forged] };
    let forged = Package::from_parts(parts).unwrap();
    assert_eq!(scene.policy.examine(&forged, noon("2026-06-15")), Err(Refusal::Forged("ann".into())));
}

#[test]
fn a_rule_covers_what_is_about_less() {
    let all = Rule::default();
    let clinical = Rule { zones: vec![zone("clinical")], ..Rule::default() };
    let clinical_observers = Rule { worlds: vec![World::Observe], ..clinical.clone() };
    assert!(all.covers(&clinical) && all.covers(&all) && clinical.covers(&clinical_observers));
    assert!(!clinical.covers(&all) && !clinical_observers.covers(&clinical));
}
