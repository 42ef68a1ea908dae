//! `hilum check DIR`: whether a hospital's configuration is right, and what it lets every stakeholder see.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use hilum_core::Label;
use hilum_server::chains::{Catalog, ChainsError, PluginError};
use hilum_server::config::{
    self, FlowConfig, Hospital, Problem, Problems, Received, StageConfig, SubscriptionConfig,
};
use serde_json::{Value, json};

use crate::output::{Exit, print, print_json};

/// What `hilum check` is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads hilum.toml and flows/, looks whether the files that they name are there, loads every plugin, checks every stage's \
configuration against its plugin's schema, and follows every label from its flow through the chains to each stakeholder. A \
configuration in which a stakeholder could receive a label that it is not cleared for is refused.

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
        (Ok((hospital, received)), true) => print_json(&summary_json(&hospital, &received))?,
        (Ok((hospital, received)), false) => print(summary(&hospital, &received))?,
        (Err(problems), true) => {
            let problems: Vec<_> = problems.iter().map(problem_json).collect();
            print_json(&json!({"ok": false, "problems": problems}))?;
            return Ok(Exit::Failed.into());
        }
        (Err(problems), false) => return Err(problems.into()),
    }
    Ok(Exit::Ok.into())
}

/// The hospital and the labels that its readers receive, or what is wrong; an error if it cannot be found out.
fn check(directory: &Path) -> anyhow::Result<Result<(Hospital, Received), Problems>> {
    let hospital = match config::load(directory)
        .and_then(|hospital| config::check_files(&hospital).map(|()| hospital))
    {
        Ok(hospital) => hospital,
        Err(problems) => return Ok(Err(problems)),
    };
    let catalog = match Catalog::load(&hospital) {
        Ok(catalog) => catalog,
        Err(ChainsError::Labels(problems)) => return Ok(Err(problems)),
        Err(ChainsError::Plugin(error)) => return Ok(Err(plugin_problem(&hospital, &error).into())),
        Err(error) => return Err(error.into()),
    };
    Ok(config::received_labels(&hospital, &catalog).map(|received| (hospital, received)))
}

fn plugin_problem(hospital: &Hospital, error: &PluginError) -> Problem {
    let (name, path, what) = match error {
        PluginError::Read { name, path, source } => (name, path, source.to_string()),
        PluginError::Load { name, path, source } => (name, path, source.to_string()),
        PluginError::Pin { name, path, .. } | PluginError::TooLarge { name, path, .. } => {
            (name, path, error.to_string())
        }
    };
    let file = path.strip_prefix(hospital.directory.path()).unwrap_or(path).to_string_lossy();
    let help = format!(
        "put a component of the WIT package `hilum:plugin` there; if `{name}` comes with Hilum, remove the file and run `hilum init`"
    );
    Problem::of_file(&file, what, help)
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
    json!({
        "ok": true,
        "hospital": hospital.name,
        "listen": hospital.listen,
        "labels": hospital.labels,
        "zones": hospital.zones,
        "principals": principals,
        "flows": flows,
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
        let publishers = if publishers.is_empty() { "plugins".to_owned() } else { publishers.join(", ") };
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
    lines.join("\n")
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
        provision::init(directory.path(), None, crate::bundled::PLUGINS, SystemTime::now()).unwrap();
        directory
    }

    fn change(directory: &TempDir, file: &str, from: &str, to: &str) {
        let path = directory.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches(from).count(), 1, "`{from}` is not once in {file}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    fn said(directory: &TempDir) -> String {
        check(directory.path()).unwrap().unwrap_err().to_string()
    }

    #[test]
    fn the_example_hospital_is_right_and_does_not_leak() {
        let directory = made();
        let (hospital, received) = check(directory.path()).unwrap().unwrap();
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
    fn a_file_that_is_no_component_is_named() {
        let directory = made();
        fs::write(directory.path().join("plugins/encrypt.wasm"), "not WebAssembly").unwrap();
        let said = said(&directory);
        assert!(said.starts_with("error: plugins/encrypt.wasm: "), "{said}");
        assert!(said.contains("run `hilum init`"), "{said}");
    }

    #[test]
    fn a_missing_component_is_named() {
        let directory = made();
        fs::remove_file(directory.path().join("plugins/encrypt.wasm")).unwrap();
        assert!(said(&directory).contains("plugins/encrypt.wasm: this file is missing"));
    }
}
