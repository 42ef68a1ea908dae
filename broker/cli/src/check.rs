//! `hilum check DIR`: whether a hospital's configuration is right, and what it lets every stakeholder see.

mod names;
mod plugins;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use hilum_core::Label;
use hilum_server::chains::{Admitted, Catalog, ChainsError};
use hilum_server::clock::Clock;
use hilum_server::config::{
    self, FlowConfig, Hospital, Problem, Problems, Received, StageConfig, SubscriptionConfig,
};
use serde_json::{Value, json};

use crate::output::{Exit, print, print_json};

/// What `hilum check` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads hilum.toml and flows/, looks whether the files that they name are there, loads every plugin, checks every stage's \
configuration against its plugin's schema, verifies every plugin's signatures by the rules of [trust], and follows every label from its flow through the chains to each stakeholder. A \
configuration in which a stakeholder could receive a label that it is not cleared for is refused.

Names in policies of plugin access that nobody has (roles, stakeholders, zones, locations, principals, flows) are noted: such a policy decides nothing.

Everything that is wrong is listed with file, line, column and key. Exit code 1 if anything is.

Examples:
  hilum check st-marys
  hilum check st-marys --json | jq -r '.problems[] | \"\\(.file):\\(.line): \\(.what)\"'")]
pub struct Args {
    /// The hospital directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Prints what the hospital lets whom see, or everything that is wrong.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let checked = tokio::task::spawn_blocking(move || (check(&args.directory), args.json));
    let (checked, json) = checked.await.context("the check ended abnormally")?;
    match (checked?, json) {
        (Ok(checked), true) => {
            let mut summary = summary_json(&checked.hospital, &checked.received);
            summary["plugins"] = plugins::as_json(&checked.hospital, &checked.admitted);
            summary["notes"] = names::notes(&checked.hospital).into();
            print_json(&summary)?;
        }
        (Ok(checked), false) => {
            print(summary(&checked.hospital, &checked.received))?;
            print(plugins::as_text(&checked.hospital, &checked.admitted))?;
            for note in names::notes(&checked.hospital) {
                print(format_args!("note: {note}"))?;
            }
        }
        (Err(problems), true) => {
            let problems: Vec<_> = problems.iter().map(problem_json).collect();
            print_json(&json!({"ok": false, "problems": problems}))?;
            return Ok(Exit::Failed.into());
        }
        (Err(problems), false) => return Err(problems.into()),
    }
    Ok(Exit::Ok.into())
}

/// A hospital in which everything is right.
struct Checked {
    hospital: Hospital,
    received: Received,
    admitted: BTreeMap<String, Admitted>,
}

/// What was found out about a hospital, or what is wrong; an error if it cannot be found out.
fn check(directory: &Path) -> anyhow::Result<Result<Checked, Problems>> {
    let hospital = match config::load(directory)
        .and_then(|hospital| config::check_files(&hospital).map(|()| hospital))
    {
        Ok(hospital) => hospital,
        Err(problems) => return Ok(Err(problems)),
    };
    let catalog = match Catalog::load(&hospital, Clock::SYSTEM.now()) {
        Ok(catalog) => catalog,
        Err(ChainsError::Labels(problems)) => return Ok(Err(problems)),
        Err(ChainsError::Plugin(error)) => return Ok(Err(plugins::problem(&hospital, &error).into())),
        Err(ChainsError::Trust(error)) => return Ok(Err(plugins::key_problem(&hospital, &error).into())),
        Err(error) => return Err(error.into()),
    };
    let admitted = catalog.admitted().clone();
    Ok(config::received_labels(&hospital, &catalog).map(|received| Checked { hospital, received, admitted }))
}

/// A problem for scripts.
pub(crate) fn problem_json(problem: &Problem) -> Value {
    json!({
        "file": &*problem.file,
        "line": problem.position.map(|(line, _)| line),
        "column": problem.position.map(|(_, column)| column),
        "key": problem.key,
        "what": problem.what,
        "help": problem.help,
    })
}

fn summary_json(hospital: &Hospital, received: &Received) -> Value {
    let stages = |stages: &[StageConfig]| -> Vec<Value> {
        stages.iter().map(|stage| json!({"stage": stage.stage, "plugin": stage.plugin})).collect()
    };
    let subscription = |flow: &FlowConfig, subscription: &SubscriptionConfig| {
        json!({
            "name": subscription.name,
            "stakeholder": subscription.stakeholder,
            "purpose": subscription.purpose,
            "egress": stages(&subscription.egress),
            "receives": received_by(flow, subscription, received).collect::<Vec<_>>(),
        })
    };
    let flow = |flow: &FlowConfig| {
        let publishers: Vec<_> = flow.publish.iter().map(|grant| &grant.stakeholder).collect();
        let subscriptions: Vec<_> = flow.subscriptions.iter().map(|s| subscription(flow, s)).collect();
        json!({
            "name": flow.name,
            "class": flow.class,
            "zone": flow.zone,
            "labels": flow.labels,
            "publishers": publishers,
            "ingress": stages(&flow.ingress),
            "subscriptions": subscriptions,
        })
    };
    let principals: Vec<_> = hospital.identities.values().collect();
    let flows: Vec<_> = hospital.flows.values().map(flow).collect();
    let originals = hospital.kept_keys();
    let originals = originals.map(|(key, originals)| json!({"key": key, "holders": originals.holders}));
    json!({
        "ok": true,
        "hospital": hospital.name,
        "listen": hospital.listen,
        "labels": hospital.labels,
        "zones": hospital.zones,
        "principals": principals,
        "flows": flows,
        "originals": originals.collect::<Vec<_>>(),
    })
}

/// A line for each flow and for each of its readers.
fn summary(hospital: &Hospital, received: &Received) -> String {
    let mut lines = vec![format!(
        "{}: {} zones, {} stakeholders, {} principals, {} flows, no leak",
        hospital.name,
        hospital.zones.len(),
        hospital.stakeholders.len(),
        hospital.identities.len(),
        hospital.flows.len()
    )];
    for flow in hospital.flows.values() {
        let publishers: Vec<_> = flow.publish.iter().map(|grant| grant.stakeholder.as_str()).collect();
        let publishers = if publishers.is_empty() { made_by(hospital, flow) } else { publishers.join(", ") };
        lines.push(format!(
            "\n{} in zone {}, from {publishers}{}",
            flow.name,
            flow.zone,
            through(&flow.ingress)
        ));
        let subscriptions = flow.subscriptions.iter();
        let width = subscriptions.clone().map(|s| s.stakeholder.as_str().len()).max().unwrap_or(0);
        for subscription in subscriptions {
            let labels: Vec<_> = received_by(flow, subscription, received).map(Label::as_str).collect();
            let labels = if labels.is_empty() { "no label".to_owned() } else { labels.join(", ") };
            lines.push(format!(
                "  to {:width$}  for {:7}  receives {labels}{}",
                subscription.stakeholder.as_str(),
                subscription.purpose,
                through(&subscription.egress)
            ));
        }
    }
    for (key, originals) in hospital.kept_keys() {
        let holders = originals.holders.join(", ");
        lines.push(format!(
            "\nkey {key}: what its pseudonyms stand for is kept, and {holders} may ask for it"
        ));
    }
    lines.join("\n")
}

/// Who fills a flow that nobody may publish to.
fn made_by(hospital: &Hospital, flow: &FlowConfig) -> String {
    let is_fed = hospital.audit_flow.as_ref().is_some_and(|audit| audit.flow == flow.name);
    if is_fed { "the broker".to_owned() } else { "plugins".to_owned() }
}

fn through(stages: &[StageConfig]) -> String {
    let plugins: Vec<_> = stages.iter().map(|stage| stage.plugin.as_str()).collect();
    if plugins.is_empty() { String::new() } else { format!(", through {}", plugins.join(", ")) }
}

fn received_by<'r>(
    flow: &FlowConfig,
    subscription: &SubscriptionConfig,
    received: &'r Received,
) -> impl Iterator<Item = &'r Label> {
    received.get(&(flow.name.clone(), subscription.name.clone())).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use hilum_server::provision;
    use tempfile::TempDir;

    use super::*;

    fn made() -> TempDir {
        let directory = TempDir::new().unwrap();
        provision::init(directory.path(), None, crate::bundled::PACKED, SystemTime::now()).unwrap();
        directory
    }

    fn change(directory: &TempDir, file: &str, from: &str, to: &str) {
        let path = directory.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(from).count(), 1, "`{from}` is not once in {file}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    fn said(directory: &TempDir) -> String {
        check(directory.path()).unwrap().map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn the_example_hospital_is_right_and_does_not_leak() {
        let directory = made();
        let Checked { hospital, received, admitted } = check(directory.path()).unwrap().unwrap();
        let text = plugins::as_text(&hospital, &admitted);
        assert!(text.contains("signed by `hospital`") && text.contains("supported until"), "{text}");
        assert_eq!(plugins::as_json(&hospital, &admitted).as_array().unwrap().len(), 8);
        let receives = |flow: &str, subscription: &str| {
            let labels = &received[&(flow.parse().unwrap(), subscription.parse().unwrap())];
            labels.iter().map(Label::as_str).collect::<Vec<_>>()
        };
        assert_eq!(receives("imaging", "radiology"), ["phi"]);
        assert!(receives("imaging", "research").is_empty());
        assert_eq!(receives("billing", "statistics"), ["payment"]);
        assert!(summary(&hospital, &received).contains("imaging in zone clinical, from imaging-dept"));
        assert_eq!(
            summary_json(&hospital, &received)["flows"].as_array().unwrap().len(),
            hospital.flows.len()
        );
    }

    #[test]
    fn who_may_come_back_to_a_patient_is_shown() {
        let directory = made();
        let kept = "\n[[operators]]\nstakeholder = \"privacy\"\nmay = [\"pseudonyms\"]\n\n[keys.research.originals]\nholders = [\"privacy-officer\"]\n";
        let path = directory.path().join("hilum.toml");
        fs::write(&path, fs::read_to_string(&path).unwrap() + kept).unwrap();
        let Checked { hospital, received, .. } = check(directory.path()).unwrap().unwrap();
        let said = summary(&hospital, &received);
        assert!(said.ends_with("is kept, and privacy-officer may ask for it"), "{said}");
        let expected = json!([{"key": "research", "holders": ["privacy-officer"]}]);
        assert_eq!(summary_json(&hospital, &received)["originals"], expected);
    }

    #[test]
    fn a_stakeholder_that_lost_its_clearance_would_receive_a_label() {
        let directory = made();
        let described = "description = \"Reads images and reports on them\"\ncleared = ";
        change(&directory, "hilum.toml", &format!("{described}[\"phi\"]"), &format!("{described}[]"));
        let said = said(&directory);
        assert!(said.contains("stakeholder `radiology` is not cleared for label `phi`"), "{said}");
        assert!(said.contains("flows/imaging.toml:"), "{said}");
    }

    #[test]
    fn a_plugins_own_complaint_has_file_and_line() {
        let directory = made();
        change(
            &directory,
            "flows/imaging.toml",
            "config = { key = \"research\" }",
            "config = { kee = \"x\" }",
        );
        let said = said(&directory);
        assert!(said.contains("flows/imaging.toml:"), "{said}");
        assert!(said.contains("kee"), "{said}");
    }

    #[test]
    fn a_name_in_a_policy_that_nobody_has_is_noted() {
        let directory = made();
        let notes = || names::notes(&check(directory.path()).unwrap().unwrap().hospital);
        assert_eq!(notes(), Vec::<String>::new());
        let policies = directory.path().join("policies/imaging.cedar");
        let text =
            fs::read_to_string(&policies).unwrap().replace("Role::\"radiologist\"", "Role::\"radiology\"");
        fs::write(&policies, text).unwrap();
        let notes = notes();
        assert!(!notes.is_empty() && notes.iter().all(|note| note.contains("stage `")), "{notes:?}");
        assert!(
            notes.iter().all(|note| note.ends_with("nothing and nobody here is Role::\"radiology\"")),
            "{notes:?}"
        );
    }

    #[test]
    fn a_component_that_was_changed_is_named_with_what_it_was() {
        let directory = made();
        fs::write(directory.path().join("plugins/encrypt/plugin.wasm"), "not WebAssembly").unwrap();
        let said = said(&directory);
        assert!(said.starts_with("error: plugins/encrypt: plugin.wasm has 15 octets with digest "), "{said}");
        assert!(said.contains("was changed after the package was made"), "{said}");
    }

    #[test]
    fn a_component_that_nobody_signed_is_refused_and_what_to_do_is_said() {
        let directory = made();
        change(&directory, "hilum.toml", "path = \"plugins/encrypt\"", "path = \"plugins/bare.wasm\"");
        fs::write(directory.path().join("plugins/bare.wasm"), crate::bundled::PLUGINS[3].1).unwrap();
        let said = said(&directory);
        assert!(said.starts_with("error: plugins/bare.wasm: nobody signed it"), "{said}");
        assert!(said.contains("help: ") && said.contains("unsigned = \"allow\""), "{said}");
    }

    /// The digests that problems name, of component and configuration.
    fn demanded(said: &str) -> Vec<(String, String)> {
        let digest = |text: &str| text.split([' ', ';', '\n']).next().unwrap().to_owned();
        let each = said.split("no report scores component ").skip(1);
        each.map(|text| (digest(text), digest(text.split("under configuration ").nth(1).unwrap()))).collect()
    }

    fn report(component: &str, configuration: &str, passed: u64) -> String {
        let count = |passed| json!({"tried": 10_000, "passed": passed});
        json!({
            "form": hilum_server::score::FORM, "plugin": "deidentify", "version": "1", "component": component,
            "configuration": configuration, "table": {"edition": "PS3.15 2026c", "sha256": "00"}, "made": "2026-01-01T00:00:00Z",
            "seed": 1, "files": {"planted": 1, "refused": {}, "left_out": {}}, "total": count(passed), "removals": count(10_000),
            "actions": {}, "identifiers": {}, "intervals": count(0), "failures": [],
        })
        .to_string()
    }

    #[test]
    fn a_plugin_whose_score_is_demanded_runs_only_with_a_report_that_is_good_enough() {
        let directory = made();
        let path = "path = \"plugins/deidentify\"";
        change(&directory, "hilum.toml", path, &format!("{path}\nscore = {{ reports = \"scores\" }}"));
        let no_folder = said(&directory);
        assert!(no_folder.contains("the folder of its reports cannot be read"), "{no_folder}");
        let scores = directory.path().join("scores");
        fs::create_dir(&scores).unwrap();
        let none = said(&directory);
        assert!(
            none.contains("flows/imaging.toml:") && none.contains("hilum plugin score deidentify"),
            "{none}"
        );
        let wanted = demanded(&none);
        assert!(!wanted.is_empty(), "{none}");

        let write = |passed: u64, component: Option<&str>| {
            for (index, (of, configuration)) in wanted.iter().enumerate() {
                let text = report(component.unwrap_or(of), configuration, passed);
                fs::write(scores.join(format!("{index}.json")), text).unwrap();
            }
        };
        write(10_000, Some(&"7".repeat(64)));
        assert_eq!(demanded(&said(&directory)), wanted, "a report of another component says nothing");
        write(9_989, None);
        let low = said(&directory);
        assert!(low.contains("has 99.8900% of all actions and 10000 of 10000 removals"), "{low}");
        write(9_990, None);
        assert!(check(directory.path()).unwrap().is_ok());

        change(
            &directory,
            "flows/imaging.toml",
            "config = { key = \"research\" }",
            "config = { key = \"research\", patient_id = \"empty\" }",
        );
        let other = said(&directory);
        assert!(other.contains("score this component under other configurations"), "{other}");
    }

    #[test]
    fn a_missing_package_is_named() {
        let directory = made();
        fs::remove_dir_all(directory.path().join("plugins/encrypt")).unwrap();
        assert!(said(&directory).contains("plugins/encrypt/manifest.json: this file is missing"));
    }
}
