//! A plugin's project: what `hilum-plugin.toml` in its directory says.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use hilum_core::chain::World as Kind;
use hilum_sandbox::{Grant, Grants, Limits, Settings};
use serde::Deserialize;
use serde_json::{Value, json};

use super::sdk;
use crate::output::Failure;

/// The file that makes a directory a project.
pub(super) const FILE: &str = "hilum-plugin.toml";
/// The largest bounds that a stage may be given, as in a flow's file.
const STAGE_OCTETS_MAX: usize = 4 << 30;
const STAGE_CALL_MS_MAX: u64 = 10 * 60 * 1000;

/// The worlds of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum World {
    /// Passes, changes, splits or refuses records
    Transform,
    /// Allows or denies records
    Authorize,
    /// Reads records; keeps state, emits others
    Observe,
}

impl World {
    /// As the contract and the configuration write it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::Authorize => "authorize",
            Self::Observe => "observe",
        }
    }

    /// The interface that a plugin of it exports, besides `plugin`.
    pub(super) fn interface(self) -> &'static str {
        match self {
            Self::Transform => "transformer",
            Self::Authorize => "authorizer",
            Self::Observe => "observer",
        }
    }
}

impl From<Kind> for World {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Transform => Self::Transform,
            Kind::Authorize => Self::Authorize,
            Kind::Observe => Self::Observe,
        }
    }
}

/// The languages that `hilum plugin build` compiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Language {
    /// With cargo, for wasm32-wasip2
    Rust,
    /// With componentize-py
    Python,
    /// With componentize-js
    Javascript,
}

impl Language {
    /// As `hilum-plugin.toml` writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Javascript => "javascript",
        }
    }
}

/// What `hilum-plugin.toml` says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Project {
    /// The plugin's own name.
    pub(super) name: String,
    /// Which world it exports.
    pub(super) world: World,
    /// What it is written in.
    pub(super) language: Language,
    /// The directory with the SDK and the WIT package, relative to the project.
    #[serde(default = "vendor")]
    sdk: PathBuf,
    /// How a flow's file would configure it.
    #[serde(default)]
    pub(super) stage: Stage,
    /// Where its tests run it.
    #[serde(default)]
    pub(super) test: Test,
    /// The project's directory.
    #[serde(skip)]
    pub(super) root: PathBuf,
}

/// A stage as a flow's file has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stage {
    /// What the host lets it use.
    #[serde(default)]
    pub(super) grants: Vec<String>,
    /// The plugin's configuration.
    #[serde(default = "nothing")]
    pub(super) config: Value,
    /// Bounds other than the sandbox's own.
    #[serde(default)]
    limits: StageLimits,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct StageLimits {
    memory_octets: Option<usize>,
    output_octets: Option<usize>,
    call_ms: Option<u64>,
}

/// Where the tests run the plugin.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Test {
    /// The flow's name.
    pub(super) flow: String,
    /// The flow's class.
    pub(super) class: String,
    /// The purpose of use that is stated, if any.
    pub(super) purpose: Option<String>,
    /// Whether the records follow each other in order of their names, on one instance and one state.
    pub(super) in_order: bool,
}

impl Default for Stage {
    fn default() -> Self {
        Self { grants: Vec::new(), config: nothing(), limits: StageLimits::default() }
    }
}

impl Default for Test {
    fn default() -> Self {
        Self { flow: "local".into(), class: "device".into(), purpose: None, in_order: false }
    }
}

fn nothing() -> Value {
    json!({})
}

fn vendor() -> PathBuf {
    sdk::VENDOR.into()
}

impl Project {
    /// Reads the project of a directory.
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let path = root.join(FILE);
        let text = fs::read_to_string(&path).map_err(|error| {
            let help = "name the directory of a plugin's project, or make one with `hilum plugin new NAME`";
            Failure::new(format!("{} cannot be read: {error}", path.display()), help)
        })?;
        let wrong = || path.display().to_string();
        let mut project: Self = toml::from_str(&text).with_context(wrong)?;
        check_name(&project.name).with_context(wrong)?;
        project.stage.limits.check().with_context(wrong)?;
        project.root = root.to_owned();
        Ok(project)
    }

    /// Where the component goes that `hilum plugin build` makes.
    pub(super) fn component(&self) -> PathBuf {
        self.root.join("dist").join(format!("{}.wasm", self.name))
    }

    /// Where what is installed and generated for it goes.
    pub(super) fn work(&self) -> PathBuf {
        self.root.join(".hilum")
    }

    /// The WIT package. A project that has lost its `vendor` gets it again, from this binary.
    pub(super) fn contract(&self) -> anyhow::Result<PathBuf> {
        let sdk = self.root.join(&self.sdk);
        if self.sdk == Path::new(sdk::VENDOR) && !sdk.exists() {
            sdk::write(&sdk, self.language == Language::Rust)?;
        }
        let contract = sdk.join("wit").join("v1");
        if !contract.is_dir() {
            let what = format!("{} is not there", contract.display());
            let help = format!("correct `sdk` in {FILE}, or leave it out to use what this hilum carries");
            return Err(Failure::new(what, help).into());
        }
        Ok(contract)
    }
}

impl Stage {
    /// What the host lets it use.
    pub(super) fn grants(&self) -> anyhow::Result<Grants> {
        Grants::parse(&self.grants).context("`stage.grants`")
    }

    /// The interfaces that its grants open.
    pub(super) fn interfaces(&self) -> anyhow::Result<Vec<String>> {
        let mut interfaces = vec!["log".to_owned()];
        interfaces.extend(self.grants()?.iter().map(interface));
        interfaces.sort_unstable();
        interfaces.dedup();
        Ok(interfaces)
    }

    /// What it may use up.
    pub(super) fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            memory_octets: self.limits.memory_octets.unwrap_or(default.memory_octets),
            output_octets: self.limits.output_octets.unwrap_or(default.output_octets),
            time: self.limits.call_ms.map_or(default.time, Duration::from_millis),
            ..default
        }
    }

    /// A sandbox in which it has room.
    pub(super) fn settings(&self) -> Settings {
        let default = Settings::default();
        let memory_octets = self.limits().memory_octets.max(default.memory_octets);
        Settings { instances: 4, memory_octets, hash_seed: Some((1, 2)), ..default }
    }
}

impl StageLimits {
    fn check(&self) -> anyhow::Result<()> {
        let octets = [self.memory_octets, self.output_octets].into_iter().flatten().max();
        anyhow::ensure!(
            octets.unwrap_or_default() <= STAGE_OCTETS_MAX,
            "`stage.limits`: at most {STAGE_OCTETS_MAX} octets are given to a stage"
        );
        anyhow::ensure!(
            self.call_ms.unwrap_or_default() <= STAGE_CALL_MS_MAX,
            "`stage.limits`: at most {STAGE_CALL_MS_MAX} ms are given to a call"
        );
        Ok(())
    }
}

/// The interface that a grant opens. It begins with its name, but for `recipient`, which opens `keys` too.
fn interface(grant: &Grant) -> String {
    let grant = grant.to_string();
    let name = grant.split(':').next().unwrap_or_default();
    if name == "recipient" { "keys".to_owned() } else { name.to_owned() }
}

/// Whether this names a plugin: what cargo, npm, WIT and a configuration all take.
pub(super) fn check_name(name: &str) -> anyhow::Result<()> {
    let word = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    if name.len() <= 64 && name.split('-').all(word) {
        return Ok(());
    }
    let what = format!("`{}` is no name for a plugin", name.chars().take(64).collect::<String>());
    let help = "use up to 64 characters: words of a-z and 0-9 that begin with a letter, joined by `-`, e.g. dose-check";
    Err(Failure::new(what, help).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> anyhow::Result<Project> {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(FILE), text).unwrap();
        Project::read(root.path())
    }

    const LEAST: &str = "name = \"dose-check\"\nworld = \"observe\"\nlanguage = \"python\"\n";

    #[test]
    fn what_is_not_said_is_as_in_a_flows_file() {
        let project = read(LEAST).unwrap();
        assert_eq!((project.world, project.language), (World::Observe, Language::Python));
        assert_eq!(project.stage.limits(), Limits::default());
        assert_eq!(project.stage.config, json!({}));
        assert!(project.component().ends_with("dist/dose-check.wasm"));
    }

    #[test]
    fn grants_open_interfaces_and_limits_make_room() {
        let stage = "[stage]\ngrants = [\"keys:a\", \"recipient:b\", \"emit:alerts\"]\nlimits.memory_octets = 134217728\n";
        let project = read(&format!("{LEAST}{stage}")).unwrap();
        assert_eq!(project.stage.interfaces().unwrap(), ["emit", "keys", "log"]);
        assert_eq!(project.stage.settings().memory_octets, 128 << 20);
    }

    #[test]
    fn what_is_wrong_is_refused_with_its_place() {
        for wrong in [
            "name = \"x\"\n".to_owned(),
            format!("{LEAST}colour = 1\n"),
            format!("{LEAST}[stage]\nlimits.call_ms = 99999999\n"),
            LEAST.replace("dose-check", "Dose Check"),
            LEAST.replace("python", "cobol"),
        ] {
            let error = format!("{:#}", read(&wrong).unwrap_err());
            assert!(error.contains(FILE), "{error}");
        }
        let error = Project::read(Path::new("/nowhere")).unwrap_err();
        assert!(error.downcast_ref::<Failure>().unwrap().help.contains("hilum plugin new"));
    }
}
