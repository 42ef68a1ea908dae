//! `hilum plugin test access`: a hospital's policies, asked by the cases that are written beside them.
//!
//! The cases of `policies/imaging.cedar` are in `policies/imaging.cases.toml`. Each goes through every stage that decides by these policies and
//! that it is about, with the stage's own configuration, in the sandbox that a broker has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use hilum_core::{Attribute, Head, Label, Principal, ReasonCode, Timestamp};
use hilum_sandbox::{ChainContext, Plugin, Sandbox, Settings};
use hilum_server::chains::{grants, limits, load_plugin};
use hilum_server::clock::Clock;
use hilum_server::config::{self, FlowConfig, Hospital, StageConfig, SubscriptionConfig, units};
use serde::Deserialize;
use serde_json::json;
use toml::value::Datetime;

use super::super::trial::outcome::{Kind, Outcome};
use super::super::trial::records::{Party, Record, TIME};
use super::super::trial::runner::{Runner, Setting};
use crate::output::{Exit, Failure, print, print_json};

/// What `hilum plugin test` takes for the name of a plugin and not of a directory.
pub(super) const PLUGIN: &str = "access";
/// The setting that has the policies, and the folder with their files.
const SETTING: &str = "policies";
const FOLDER: &str = "policies";
/// Cases of one file.
const CASES_MAX: usize = 10_000;

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    #[serde(rename = "case")]
    cases: Vec<Case>,
}

/// Who wants what, and what should be decided.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    action: Action,
    who: Who,
    /// Who published what is read.
    #[serde(default)]
    from: Option<Who>,
    /// What the record, or the subscription, states; where the case says nothing, the subscription's own.
    #[serde(default)]
    purpose: Option<String>,
    /// Why the reader breaks the glass, or what the record says of that.
    #[serde(default)]
    break_glass: Option<ReasonCode>,
    /// What the clock shows.
    #[serde(default)]
    time: Option<Datetime>,
    content_type: String,
    #[serde(default)]
    labels: Vec<Label>,
    #[serde(default)]
    attributes: Vec<(String, String)>,
    /// The record's body, or the file that has it, relative to the hospital directory.
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    body_file: Option<PathBuf>,
    /// What was learned of patients before.
    #[serde(default)]
    learned: Vec<Learned>,
    /// Which stages it is about; all that decide by the policies where nothing is said.
    #[serde(default)]
    flow: Option<String>,
    #[serde(default)]
    subscription: Option<String>,
    expect: Decision,
    /// The policy that decides.
    #[serde(default)]
    policy: Option<String>,
    /// The code of the denial.
    #[serde(default)]
    code: Option<String>,
}

/// A record that a stage learned from, as it is configured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Learned {
    /// `FLOW/STAGE`.
    by: String,
    content_type: String,
    body: String,
    /// When; the case's own time where nothing is said.
    #[serde(default)]
    time: Option<Datetime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    Store,
    Read,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Who {
    /// An identity of the hospital, e.g. `mri-1`.
    Identity(String),
    Party(Party),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Decision {
    Allow,
    BreakGlass,
    Deny,
}

impl Decision {
    fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::BreakGlass => "break-glass",
            Self::Deny => "deny",
        }
    }
}

/// A stage that decides, and where it is.
struct Stage<'h> {
    flow: &'h FlowConfig,
    subscription: Option<&'h SubscriptionConfig>,
    stage: &'h StageConfig,
}

/// What a case showed at a stage.
#[derive(Debug)]
pub(super) struct Tested {
    pub(super) file: String,
    pub(super) case: String,
    pub(super) stage: String,
    /// What was expected and did not come, line by line.
    pub(super) differences: Vec<String>,
    /// What came.
    pub(super) came: String,
    reason: Option<String>,
}

/// Policies of a hospital, tested.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) tested: Vec<Tested>,
    /// Policies that decided no case, and files without cases.
    pub(super) untested: Vec<String>,
}

/// Tests all policies of a hospital directory.
pub(super) fn run(directory: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let report = test(directory)?;
    let good = report.tested.iter().filter(|of| of.differences.is_empty()).count();
    if json {
        let case = |of: &Tested| {
            json!({
                "file": of.file, "case": of.case, "stage": of.stage, "as_expected": of.differences.is_empty(),
                "came": of.came, "reason": of.reason, "differences": of.differences,
            })
        };
        let cases: Vec<_> = report.tested.iter().map(case).collect();
        print_json(&json!({"cases": cases, "untested": report.untested}))?;
    } else {
        for of in &report.tested {
            let word = if of.differences.is_empty() { "as-expected" } else { "different" };
            let reason = of.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            print(format_args!("{word:<12} {}, at {} ({}{reason})", of.case, of.stage, of.came))?;
            for difference in &of.differences {
                print(format_args!("  {difference}"))?;
            }
        }
        for untested in &report.untested {
            print(format_args!("note: {untested}"))?;
        }
        print(format_args!("{good} of {} cases as expected", report.tested.len()))?;
    }
    Ok(if good == report.tested.len() { Exit::Ok } else { Exit::Failed }.into())
}

/// Runs the cases of all policies.
pub(super) fn test(directory: &Path) -> anyhow::Result<Report> {
    let hospital = config::load(directory)?;
    let files = files(directory, &hospital)?;
    if files.is_empty() {
        let help = "name a file of policies with `config_files = { policies = \"policies/NAME.cedar\" }`";
        return Err(Failure::new(format!("no stage has its policies in a file of {FOLDER}/"), help).into());
    }
    let sandbox = Sandbox::new(Settings { instances: 4, hash_seed: Some((1, 2)), ..Settings::default() })?;
    let mut bench = Bench { hospital: &hospital, sandbox, plugins: BTreeMap::new() };
    let mut report = Report::default();
    for (file, stages) in &files {
        let cases = cases_file(file);
        let text = match fs::read_to_string(directory.join(&cases)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                report.untested.push(format!("{file} has no cases: write them to {}", cases.display()));
                continue;
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", cases.display())),
        };
        let read: Cases = toml::from_str(&text).with_context(|| cases.display().to_string())?;
        anyhow::ensure!(read.cases.len() <= CASES_MAX, "{} has more than {CASES_MAX} cases", cases.display());
        let mut decided = BTreeSet::new();
        for case in &read.cases {
            let about = || format!("{}, case `{}`", cases.display(), case.name);
            let of_case: Vec<_> = stages.iter().filter(|stage| case.is_about(stage)).collect();
            if of_case.is_empty() {
                let help =
                    "correct its `action`, `flow` and `subscription`, which have to be those of a stage";
                return Err(Failure::new(
                    format!("{} is about no stage that decides by {file}", about()),
                    help,
                )
                .into());
            }
            for stage in of_case {
                let tested = case.run(&mut bench, directory, stage).with_context(about)?;
                let (outcome, differences) = tested;
                decided.extend(deciding(&outcome));
                report.tested.push(Tested {
                    file: cases.display().to_string(),
                    case: case.name.clone(),
                    stage: stage.name(),
                    differences,
                    came: came(&outcome),
                    reason: outcome.reason.clone(),
                });
            }
        }
        let policies = stages[0].stage.config[SETTING].as_str().unwrap_or_default();
        let untested = named(policies).filter(|name| !decided.contains(*name));
        report
            .untested
            .extend(untested.map(|name| format!("no case is decided by policy `{name}` of {file}")));
    }
    Ok(report)
}

/// What cases run on.
struct Bench<'h> {
    hospital: &'h Hospital,
    sandbox: Sandbox,
    plugins: BTreeMap<&'h str, Arc<Plugin>>,
}

impl<'h> Bench<'h> {
    /// The plugin of a stage, loaded once.
    fn plugin(&mut self, stage: &'h StageConfig) -> anyhow::Result<Arc<Plugin>> {
        let name = stage.plugin.as_str();
        if let Some(plugin) = self.plugins.get(name) {
            return Ok(plugin.clone());
        }
        let file = self.hospital.plugins.get(name).context("the plugin is configured")?;
        let plugin = load_plugin(&self.sandbox, self.hospital, name, file, Clock::SYSTEM.now())?;
        Ok(self.plugins.entry(name).or_insert(plugin).clone())
    }

    /// A stage of a flow's own chain, by `FLOW/STAGE`.
    fn observer(&self, name: &str) -> anyhow::Result<(&'h FlowConfig, &'h StageConfig)> {
        let found = self.hospital.flows.values().find_map(|flow| {
            let is = |stage: &&StageConfig| format!("{}/{}", flow.name, stage.stage) == name;
            flow.ingress.iter().find(is).map(|stage| (flow, stage))
        });
        found.with_context(|| format!("there is no stage `{name}` in the chain of a flow"))
    }
}

/// The files of policies that some stage decides by, with these stages.
fn files<'h>(directory: &Path, hospital: &'h Hospital) -> anyhow::Result<BTreeMap<String, Vec<Stage<'h>>>> {
    let mut files = BTreeMap::new();
    let folder = directory.join(FOLDER);
    if !folder.is_dir() {
        return Ok(files);
    }
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".cedar") {
            continue;
        }
        let text = fs::read_to_string(folder.join(&name)).with_context(|| format!("cannot read {name}"))?;
        // The text of the file is what the stage is configured with.
        let decides =
            |stage: &Stage<'_>| stage.stage.config.get(SETTING).and_then(|of| of.as_str()) == Some(&text);
        let stages: Vec<_> = stages(hospital).filter(decides).collect();
        if !stages.is_empty() {
            files.insert(format!("{FOLDER}/{name}"), stages);
        }
    }
    Ok(files)
}

/// Where the cases of a file of policies are.
fn cases_file(policies: &str) -> PathBuf {
    Path::new(policies).with_extension("cases.toml")
}

fn stages(hospital: &Hospital) -> impl Iterator<Item = Stage<'_>> {
    hospital.flows.values().flat_map(|flow| {
        let ingress = flow.ingress.iter().map(move |stage| Stage { flow, subscription: None, stage });
        let egress = flow.subscriptions.iter().flat_map(move |subscription| {
            subscription.egress.iter().map(move |stage| Stage {
                flow,
                subscription: Some(subscription),
                stage,
            })
        });
        ingress.chain(egress)
    })
}

/// Names of policies, as the text has them.
fn named(policies: &str) -> impl Iterator<Item = &str> {
    policies.split("@id(\"").skip(1).filter_map(|rest| rest.split('"').next())
}

impl Stage<'_> {
    fn name(&self) -> String {
        let chain = self.subscription.map_or("ingress".to_owned(), |of| format!("subscription {}", of.name));
        format!("{}, {chain}, stage {}", self.flow.name, self.stage.stage)
    }
}

impl Who {
    fn principal(&self, hospital: &Hospital) -> anyhow::Result<Principal> {
        match self {
            Self::Party(party) => party.principal(),
            Self::Identity(name) => {
                let principal = hospital.identities.get(name);
                Ok(principal.with_context(|| format!("there is no identity `{name}`"))?.as_ref().clone())
            }
        }
    }
}

impl Case {
    fn is_about(&self, stage: &Stage<'_>) -> bool {
        let subscription = stage.subscription.map(|subscription| subscription.name.as_str());
        (self.action == Action::Read) == subscription.is_some()
            && self.flow.as_deref().is_none_or(|flow| stage.flow.name.as_str() == flow)
            && (self.subscription.is_none() || self.subscription.as_deref() == subscription)
    }

    fn run<'h>(
        &self,
        bench: &mut Bench<'h>,
        directory: &Path,
        stage: &Stage<'h>,
    ) -> anyhow::Result<(Outcome, Vec<String>)> {
        let observed = self.learn(bench)?;
        let (plugin, hospital) = (bench.plugin(stage.stage)?, bench.hospital);
        let who = self.who.principal(hospital).context("`who`")?;
        let from = self.from.as_ref().map(|from| from.principal(hospital)).transpose().context("`from`")?;
        let mut attributes = self.attributes.clone();
        let stated = match stage.subscription {
            Some(subscription) => Some(self.purpose.clone().unwrap_or_else(|| subscription.purpose.clone())),
            None => {
                let reason = self.break_glass.as_ref().map(ToString::to_string);
                let said = [("purpose", self.purpose.clone()), ("break-glass-reason", reason)];
                attributes.extend(said.into_iter().filter_map(|(name, said)| Some((name.to_owned(), said?))));
                None
            }
        };
        let context = ChainContext {
            flow: stage.flow.name.clone(),
            class: stage.flow.class.clone(),
            subscription: stage.subscription.map(|subscription| subscription.name.clone()),
            recipient: stage.subscription.map(|_| Arc::new(who.clone())),
            purpose: stated,
            break_glass: self.break_glass.clone().filter(|_| stage.subscription.is_some()),
        };
        // A test is asked by the hospital's own people, who may know what their policies say.
        let mut config = stage.stage.config.clone();
        config["explain"] = true.into();
        let setting = Setting {
            context,
            stage: stage.stage.stage.clone(),
            config,
            grants: grants(stage.stage),
            limits: limits(stage.stage),
            in_order: false,
            observed,
        };
        let record = self.record(directory, from.unwrap_or(who), attributes)?;
        let outcome = Runner::new(&bench.sandbox, &plugin, setting)?.run(&record)?;
        let differences = self.differences(&outcome);
        Ok((outcome, differences))
    }

    /// What the stages that learn keep after what the case says was learned.
    fn learn(&self, bench: &mut Bench<'_>) -> anyhow::Result<BTreeMap<String, BTreeMap<String, Vec<u8>>>> {
        let mut observed = BTreeMap::new();
        let names: BTreeSet<&str> = self.learned.iter().map(|of| of.by.as_str()).collect();
        for name in names {
            let (flow, stage) = bench.observer(name)?;
            let plugin = bench.plugin(stage)?;
            let setting = Setting {
                context: ChainContext {
                    flow: flow.name.clone(),
                    class: flow.class.clone(),
                    subscription: None,
                    recipient: None,
                    purpose: None,
                    break_glass: None,
                },
                stage: stage.stage.clone(),
                config: stage.config.clone(),
                grants: grants(stage),
                limits: limits(stage),
                in_order: true,
                observed: BTreeMap::new(),
            };
            let own = self.learned.iter().filter(|of| of.by == name);
            let records =
                own.map(|of| self.learned_record(bench.hospital, of)).collect::<anyhow::Result<Vec<_>>>()?;
            let kept = Runner::new(&bench.sandbox, &plugin, setting)?.kept(&records)?;
            observed.insert(name.to_owned(), kept);
        }
        Ok(observed)
    }

    fn learned_record(&self, hospital: &Hospital, of: &Learned) -> anyhow::Result<Record> {
        let time = of.time.or(self.time).map(|time| units::time(&time.to_string()));
        let time = time.transpose().context("`time`")?.unwrap_or(TIME);
        let head = head(time, &of.content_type, Vec::new(), Vec::new());
        let source = self.who.principal(hospital).context("`who`")?;
        let body = Bytes::from(of.body.clone());
        Ok(Record { name: of.by.clone(), head, source, offset: None, body, expected: None })
    }

    fn record(
        &self,
        directory: &Path,
        source: Principal,
        attributes: Vec<(String, String)>,
    ) -> anyhow::Result<Record> {
        let time = self.time.map(|time| units::time(&time.to_string())).transpose().context("`time`")?;
        let body = match (&self.body, &self.body_file) {
            (None, None) => Bytes::new(),
            (Some(body), None) => Bytes::from(body.clone()),
            (None, Some(file)) => {
                let read = fs::read(directory.join(file));
                Bytes::from(read.with_context(|| format!("`body_file`: cannot read {}", file.display()))?)
            }
            (Some(_), Some(_)) => anyhow::bail!("write `body` or `body_file`"),
        };
        let attributes = attributes.into_iter().map(|(name, value)| Attribute { name, value }).collect();
        let head = head(time.unwrap_or(TIME), &self.content_type, attributes, self.labels.clone());
        Ok(Record { name: self.name.clone(), head, source, offset: None, body, expected: None })
    }

    fn differences(&self, outcome: &Outcome) -> Vec<String> {
        let mut differences = Vec::new();
        let mut differ = |of: &str, expected: &str, came: String| {
            differences.push(format!("{of}: expected {expected}, came {came}"));
        };
        if decision(outcome) != Some(self.expect) {
            differ("decision", self.expect.word(), came(outcome));
        }
        let deciding = deciding(outcome);
        if let Some(policy) = self.policy.as_deref().filter(|policy| !deciding.iter().any(|of| of == policy))
        {
            let none = deciding.is_empty();
            differ("policy", policy, if none { "none".to_owned() } else { deciding.join(", ") });
        }
        if let Some(code) = self.code.as_deref().filter(|code| outcome.code.as_deref() != Some(code)) {
            differ("code", code, outcome.code.clone().unwrap_or_else(|| "none".to_owned()));
        }
        differences
    }
}

fn head(time: Timestamp, content_type: &str, attributes: Vec<Attribute>, labels: Vec<Label>) -> Head {
    Head {
        time,
        expires: None,
        deliver_after: None,
        key: None,
        content_type: content_type.to_owned(),
        attributes,
        labels,
        trace: None,
    }
}

/// None where the plugin failed.
fn decision(outcome: &Outcome) -> Option<Decision> {
    match outcome.kind {
        Kind::Refused => Some(Decision::Deny),
        Kind::Obliged if obligation(outcome, "break-glass-policy").is_some() => Some(Decision::BreakGlass),
        Kind::Obliged | Kind::Passed => Some(Decision::Allow),
        _ => None,
    }
}

fn came(outcome: &Outcome) -> String {
    let word = decision(outcome).map_or(outcome.kind.name(), Decision::word);
    let by = deciding(outcome).join(", ");
    match &outcome.code {
        Some(code) => format!("{word}, {code}"),
        None => format!("{word} by {by}"),
    }
}

fn obligation<'o>(outcome: &'o Outcome, name: &str) -> Option<&'o str> {
    outcome.obligations.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
}

/// The policies that decided: of a denial those that its reason names before it explains anything.
fn deciding(outcome: &Outcome) -> Vec<String> {
    let by = obligation(outcome, "policy").or_else(|| obligation(outcome, "break-glass-policy"));
    if let Some(by) = by {
        return by.split(", ").map(str::to_owned).collect();
    }
    let reason = outcome.reason.as_deref().unwrap_or_default();
    match outcome.code.as_deref() {
        Some("denied" | "break-glass-reason" | "break-glass-purpose") => {
            let named = reason.split_once("policy ").map_or(reason, |(_, rest)| rest);
            let names = named.split([' ', ',']).filter_map(|word| word.strip_prefix('`')?.strip_suffix('`'));
            names.take_while(|name| *name != "break-glass-reason").map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use hilum_server::provision;
    use tempfile::TempDir;

    use super::*;

    fn made() -> TempDir {
        let directory = TempDir::new().unwrap();
        provision::init(directory.path(), None, crate::bundled::PACKED, SystemTime::now()).unwrap();
        directory
    }

    #[test]
    fn the_example_hospitals_policies_hold_and_all_are_tested_and_what_differs_is_told() {
        let directory = made();
        let report = test(directory.path()).unwrap();
        let different: Vec<_> = report.tested.iter().filter(|of| !of.differences.is_empty()).collect();
        assert!(different.is_empty(), "{different:#?}");
        assert!(report.tested.len() > 10 && report.untested.is_empty(), "{:?}", report.untested);

        let file = directory.path().join("policies/imaging.cedar");
        let text = fs::read_to_string(&file).unwrap().replace("Role::\"radiologist\"", "Role::\"radiology\"");
        fs::write(&file, text).unwrap();
        let report = test(directory.path()).unwrap();
        let different: Vec<_> = report.tested.iter().filter(|of| !of.differences.is_empty()).collect();
        assert!(
            different.iter().any(|of| of.differences
                == [
                    "decision: expected allow, came deny, no-policy",
                    "policy: expected treatment, came none"
                ]),
            "{different:#?}"
        );
        let why = different[0].reason.as_deref().unwrap();
        assert!(why.contains("`treatment` needs principal in Role::\"radiology\""), "{why}");
        assert_eq!(report.untested, ["no case is decided by policy `treatment` of policies/imaging.cedar"]);
    }

    /// The example hospital with a doctor's policy, and what it is decided by.
    #[test]
    fn what_was_learned_of_a_patient_is_part_of_a_case() {
        let directory = made();
        let path = |name: &str| directory.path().join(name);
        let identifiers =
            r#"identifiers = { authorities = { st-marys = ["ST-MARYS"] }, unnamed = "st-marys" }"#;
        let flow = fs::read_to_string(path("flows/results.toml")).unwrap();
        let check = format!(
            "\n[[subscription]]\nname = \"ward\"\nstakeholder = \"referrers\"\npurpose = \"TREAT\"\n[[subscription.egress]]\nstage = \"treating\"\nplugin = \"access\"\ngrants = [\"time\", \"keys:relationships\", \"observed:results/learn\"]\nconfig_files = {{ policies = \"policies/ward.cedar\", people = \"policies/ward.json\" }}\nconfig.patients = {{ relationships = [\"results/learn\"], {identifiers} }}\n"
        );
        fs::write(path("flows/results.toml"), flow + &check).unwrap();
        let policy = "@id(\"treating\") permit(principal, action == Action::\"read\", resource) when { context.treats };";
        fs::write(path("policies/ward.cedar"), policy).unwrap();
        let people =
            r#"[{"role": "physician", "practitioners": [{"authority": "st-marys", "value": "D1"}]}]"#;
        fs::write(path("policies/ward.json"), people).unwrap();
        let admission = |at: &str, kind: &str| {
            format!(
                "{{ by = \"results/learn\", time = {at}, content_type = \"application/hl7-v2\", body = \"MSH|^~\\\\&|A|B|||2026||{kind}|7|P|2.5.1\\rPID|1||4711\\rPV1|1|I|W||||D1\\r\" }}"
            )
        };
        let case = |learned: &[String], expect: &str| {
            format!(
                "[[case]]\nname = \"{expect}\"\naction = \"read\"\nwho = \"referrer-1\"\ntime = 2026-03-10T00:00:00Z\ncontent_type = \"application/hl7-v2\"\nbody = \"MSH|^~\\\\&|A|B|||2026||ORU^R01|7|P|2.5.1\\rPID|1||4711\\r\"\nlearned = [{}]\nexpect = \"{expect}\"\n",
                learned.join(", ")
            )
        };
        let (came, went) =
            (admission("2026-03-01T00:00:00Z", "ADT^A01"), admission("2026-03-02T00:00:00Z", "ADT^A03"));
        let cases =
            [case(std::slice::from_ref(&came), "allow"), case(&[], "deny"), case(&[came, went], "deny")];
        fs::write(path("policies/ward.cases.toml"), cases.join("\n")).unwrap();
        let report = test(directory.path()).unwrap();
        let of_ward: Vec<_> = report.tested.iter().filter(|of| of.file.contains("ward")).collect();
        assert_eq!(of_ward.len(), 3);
        assert!(of_ward.iter().all(|of| of.differences.is_empty()), "{of_ward:#?}");
    }

    #[test]
    fn a_reason_for_breaking_the_glass_is_the_readers_own() {
        let directory = made();
        let path = |name: &str| directory.path().join(name);
        let flow = fs::read_to_string(path("flows/results.toml")).unwrap();
        let ward = "\n[[subscription]]\nname = \"ward\"\nstakeholder = \"referrers\"\npurpose = \"BTG\"\n[[subscription.egress]]\nstage = \"urgent\"\nplugin = \"access\"\ngrants = [\"time\"]\nconfig_files = { policies = \"policies/ward.cedar\" }\n";
        fs::write(path("flows/results.toml"), flow + ward).unwrap();
        let policy = "@id(\"urgent\") @break_glass(\"stroke\") @justify(\"within 72h\") permit(principal, action == Action::\"read\", resource);";
        fs::write(path("policies/ward.cedar"), policy).unwrap();
        let case = |lines: &str| {
            format!(
                "[[case]]\nname = \"one\"\naction = \"read\"\nwho = \"referrer-1\"\ncontent_type = \"text/plain\"\npolicy = \"urgent\"\n{lines}\n"
            )
        };
        let cases = [
            case("break_glass = \"stroke\"\nexpect = \"break-glass\""),
            case("break_glass = \"curious\"\nexpect = \"deny\"\ncode = \"break-glass-reason\""),
            case(
                "attributes = [[\"break-glass-reason\", \"stroke\"]]\nexpect = \"deny\"\ncode = \"break-glass-reason\"",
            ),
        ];
        fs::write(path("policies/ward.cases.toml"), cases.join("\n")).unwrap();
        provision::init(directory.path(), None, crate::bundled::PACKED, SystemTime::now()).unwrap();
        let report = test(directory.path()).unwrap();
        let of_ward: Vec<_> = report.tested.iter().filter(|of| of.file.contains("ward")).collect();
        assert_eq!(of_ward.len(), 3);
        assert!(of_ward.iter().all(|of| of.differences.is_empty()), "{of_ward:#?}");
    }

    #[test]
    fn a_case_about_nothing_is_named() {
        let directory = made();
        let file = directory.path().join("policies/results.cases.toml");
        fs::write(
            &file,
            "[[case]]\nname = \"lost\"\naction = \"read\"\nwho = \"research-1\"\ncontent_type = \"text/plain\"\nexpect = \"deny\"\n",
        )
        .unwrap();
        let error = test(directory.path()).unwrap_err().to_string();
        assert!(error.contains("case `lost` is about no stage"), "{error}");
    }
}
