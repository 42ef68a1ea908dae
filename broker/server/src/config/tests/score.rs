//! What a plugin's score has to be before it runs.

use hilum_core::canary::Millionths;

use super::*;

const PLUGIN: &str = "[plugins.deidentify]\n";

/// The hospital with this `score` of its plugin.
fn with(score: &str) -> Result<Hospital, Problems> {
    let mut files = hospital();
    let plugin = format!("{PLUGIN}score = {score}\n");
    files.entry("hilum.toml").and_modify(|text| *text = text.replace(PLUGIN, &plugin));
    checked(&files)
}

#[test]
fn a_folder_of_reports_is_in_the_directory_and_the_bar_has_a_default() {
    let demand = |score: &str| {
        let hospital = with(score).unwrap();
        let demand = hospital.plugins["deidentify"].score.clone().unwrap();
        (demand.reports == hospital.directory.join("scores"), demand.require)
    };
    assert_eq!(demand("{ reports = \"scores\" }"), (true, Millionths(999_000)));
    assert_eq!(demand("{ reports = \"scores\", require = 1 }"), (true, Millionths(1_000_000)));
    assert_eq!(checked(&hospital()).unwrap().plugins["deidentify"].score, None);
}

#[test]
fn mistakes_are_told() {
    for (score, words) in [
        ("{}", "`plugins.deidentify.score.reports`: this key is missing"),
        ("{ reports = \"../scores\" }", "is not a path within the hospital directory"),
        ("{ reports = \"scores\", require = 99.9 }", "a number from 0 to 1 is needed here"),
        ("{ reports = \"scores\", requires = 1 }", "requires"),
    ] {
        let said = with(score).unwrap_err().to_string();
        assert!(said.contains(words), "`{words}` is not in:\n{said}");
    }
}
