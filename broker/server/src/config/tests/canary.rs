//! What is tried at a stage, and what cannot be.

use hilum_core::canary::{Millionths, Rules};

use super::*;

const PLUGIN: &str = "[plugins.analytics]\n";
const NEXT: &str = "[plugins.analytics-next]\npath = \"plugins/next.wasm\"\n\n[plugins.analytics]\n";
const STAGE: &str = "limits = { memory_octets = 1_000_000 }";

fn with(canary: &str) -> String {
    format!("{STAGE}\ncanary = {canary}")
}

/// What is wrong with a stage that has this beside its limits.
fn said(beside: &str) -> String {
    let mut files = hospital();
    files.entry("hilum.toml").and_modify(|text| *text = text.replace(PLUGIN, NEXT));
    files.entry("flows/device.toml").and_modify(|text| *text = text.replace(STAGE, &with(beside)));
    checked(&files).unwrap_err().to_string()
}

#[track_caller]
fn says(said: &str, words: &[&str]) {
    words.iter().for_each(|word| assert!(said.contains(word), "`{word}` is not in:\n{said}"));
}

#[test]
fn a_trial_has_defaults_and_the_stages_own_settings() {
    let mut files = hospital();
    files.entry("hilum.toml").and_modify(|text| *text = text.replace(PLUGIN, NEXT));
    let canary = with("{ plugin = \"analytics-next\", share = 0.1 }");
    files.entry("flows/device.toml").and_modify(|text| *text = text.replace(STAGE, &canary));
    let hospital = checked(&files).unwrap();
    let (_, stage) = hospital.stages().find(|(_, stage)| stage.canary.is_some()).unwrap();
    let rules = Rules { share: Millionths(100_000), error_rate_max: Millionths(10_000), records_min: 200 };
    assert_eq!(stage.canary.as_ref().unwrap().rules, rules);
    let candidate = stage.candidate().unwrap();
    assert_eq!((candidate.plugin.as_str(), candidate.canary.is_none()), ("analytics-next", true));
    assert_eq!((&candidate.config, &candidate.limits), (&stage.config, &stage.limits));
    assert_eq!(stage.plugins().collect::<Vec<_>>(), ["analytics", "analytics-next"]);
}

#[test]
fn a_trial_needs_a_plugin_and_a_part() {
    let wrong = said("{ plugin = \"analytics-nxt\", share = 1.5, max_error_rate = \"little\" }");
    says(&wrong, &["there is no plugin `analytics-nxt`", "did you mean `analytics-next`?"]);
    says(&wrong, &["`ingress[0].canary.share`: a number from 0 to 1 is needed here", "max_error_rate"]);
    let same = said("{ plugin = \"analytics\" }");
    says(&same, &["this is what the stage runs already", "`ingress[0].canary.share`: this key is missing"]);
    says(&said("{ plugin = \"analytics-next\", share = 1 }"), &["a trial needs records on both sides"]);
}

#[test]
fn a_chain_tries_one_plugin_at_a_time() {
    let second = "[[ingress]]\nstage = \"again\"\nplugin = \"analytics\"\n";
    let first = "{ plugin = \"analytics-next\", share = 0.1 }";
    let both = said(&format!("{first}\n\n{second}canary = {first}"));
    says(&both, &["stage `watch` of the same chain tries a plugin already", "try one at a time"]);
}
