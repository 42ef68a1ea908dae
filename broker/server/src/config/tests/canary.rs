//! What is tried at a stage, and what cannot be.

use expect_test::expect;
use hilum_core::canary::{Millionths, Rules};

use super::*;

const PLUGIN: &str = "[plugins.analytics]\n";
const NEXT: &str = "[plugins.analytics-next]\npath = \"plugins/next.wasm\"\n\n[plugins.analytics]\n";
const STAGE: &str = "limits = { memory_octets = 1_000_000 }";

fn with(canary: &str) -> String {
    format!("{STAGE}\ncanary = {canary}")
}

fn check_canary(canary: &str, expected: Expect) {
    check(&[("hilum.toml", PLUGIN, NEXT), ("flows/device.toml", STAGE, &with(canary))], expected);
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
    assert_eq!((&candidate.config, candidate.limits), (&stage.config, stage.limits));
    assert_eq!(stage.plugins().collect::<Vec<_>>(), ["analytics", "analytics-next"]);
}

#[test]
fn a_trial_needs_a_plugin_and_a_part() {
    check_canary("{ plugin = \"analytics-nxt\", share = 1.5, max_error_rate = \"little\" }", expect![[""]]);
    check_canary("{ plugin = \"analytics\" }", expect![[""]]);
    check_canary("{ plugin = \"analytics-next\", share = 1 }", expect![[""]]);
}

#[test]
fn a_chain_tries_one_plugin_at_a_time() {
    let second = "\n[[ingress]]\nstage = \"again\"\nplugin = \"analytics\"\ncanary = { plugin = \"analytics-next\", share = 0.5 }";
    let both = with("{ plugin = \"analytics-next\", share = 0.1 }") + second;
    check(&[("hilum.toml", PLUGIN, NEXT), ("flows/device.toml", STAGE, &both)], expect![[""]]);
}
