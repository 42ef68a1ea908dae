//! Plans of plugin stages, and the receipts that their runs leave.
//!
//! A [`Plan`] says which plugins, by digest, with which configuration, a record goes through. A [`Receipt`]
//! says that a record went through them: it names the plan by digest and binds input to output.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::identity::PrincipalId;
use crate::name::{Label, StageName};

/// The kinds of plugin (the worlds of the WIT package `hilum:plugin`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum World {
    /// Passes, changes, splits or refuses records.
    Transform,
    /// Allows or denies on the head, or on the body where it must.
    Authorize,
    /// Reads, and may emit records and metrics.
    Observe,
}

impl World {
    /// As the WIT package and configurations write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::Authorize => "authorize",
            Self::Observe => "observe",
        }
    }
}

/// Whose records a stage fails on, so that it is left alone for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailsOn {
    /// Those of several sources, and nobody's went well since.
    Everybody,
    /// Those of one.
    Source(PrincipalId),
    /// Those of many sources, more than are told from each other.
    Others,
    /// None: it fails when it is told the time.
    Clock,
}

impl fmt::Display for FailsOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str("records of several sources"),
            Self::Source(id) => write!(f, "records of {id}"),
            Self::Others => f.write_str("records of many sources"),
            Self::Clock => f.write_str("being told the time"),
        }
    }
}

/// One stage of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStage {
    /// Its name in the chain.
    pub name: StageName,
    /// The kind of plugin.
    pub world: World,
    /// The plugin's own name.
    pub plugin: String,
    /// The plugin's own version.
    pub version: String,
    /// Digest of the component.
    pub component: Digest,
    /// Digest of the configuration given to it.
    pub configuration: Digest,
    /// Labels that records no longer carry after it.
    pub removes: Vec<Label>,
}

/// The stages that a record goes through, in order; may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    stages: Vec<PlannedStage>,
    digest: Digest,
}

impl Plan {
    /// A plan of these stages.
    #[must_use]
    pub fn new(stages: Vec<PlannedStage>) -> Self {
        let encoded = postcard::to_allocvec(&stages).expect("stages encode into memory");
        Self { digest: Digest::of(&encoded), stages }
    }

    /// The stages, in order.
    #[must_use]
    pub fn stages(&self) -> &[PlannedStage] {
        &self.stages
    }

    /// What names this plan in receipts.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The labels that are left of `labels` after all stages.
    pub fn labels_after<'a>(&'a self, labels: &'a [Label]) -> impl Iterator<Item = &'a Label> {
        labels.iter().filter(|label| !self.stages.iter().any(|stage| stage.removes.contains(label)))
    }
}

/// What one stage did to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StageOutcome {
    /// Went on as it was (also: allowed, observed).
    Passed,
    /// Went on with other attributes.
    Annotated,
    /// Went on as another record.
    Replaced,
    /// Went on as several records.
    Split,
    /// Was allowed with obligations, which are in the audit log.
    Obliged,
}

/// What a chain run leaves: which input became which output under which plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Digest of the body that went in; [`Digest::WITHHELD`] from readers of another one.
    pub input: Digest,
    /// Digest of the [`Plan`]: plugins and configurations.
    pub plan: Digest,
    /// What each stage did, in the plan's order.
    pub outcomes: Vec<StageOutcome>,
    /// Digest of the bodies that came out ([`output_digest`]).
    pub output: Digest,
}

impl Receipt {
    /// The receipt as a reader gets it. Where the body was changed it does not say what it was: the digest would confirm a guess about a short
    /// one, and show two readers, each with pseudonyms of their own, that they have the same record.
    #[must_use]
    pub fn for_reader(mut self) -> Self {
        if self.input != self.output {
            self.input = Digest::WITHHELD;
        }
        self
    }
}

/// Digest over the bodies that came out of a chain: that of the body where there is one, otherwise the digest of the
/// digests in order.
#[must_use]
pub fn output_digest(bodies: impl IntoIterator<Item = Digest>) -> Digest {
    let mut bodies = bodies.into_iter();
    let (first, second) = (bodies.next(), bodies.next());
    if let (Some(one), None) = (first, second) {
        return one;
    }
    let mut hasher = Hasher::new();
    first.into_iter().chain(second).chain(bodies).for_each(|body| hasher.update(&body.0));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(configuration: &[u8]) -> PlannedStage {
        PlannedStage {
            name: StageName::new("clean").unwrap(),
            world: World::Transform,
            plugin: "deidentify".into(),
            version: "0.1.0".into(),
            component: Digest::of(b"component"),
            configuration: Digest::of(configuration),
            removes: vec![Label::new("phi").unwrap()],
        }
    }

    #[test]
    fn a_plan_is_named_by_its_configuration_too() {
        assert_ne!(Plan::new(vec![stage(b"a")]).digest(), Plan::new(vec![stage(b"b")]).digest());
        assert_eq!(Plan::new(vec![stage(b"a")]).digest(), Plan::new(vec![stage(b"a")]).digest());
    }

    #[test]
    fn labels_are_removed_by_stages_only() {
        let labels = [Label::new("phi").unwrap(), Label::new("device").unwrap()];
        let plan = Plan::new(vec![stage(b"")]);
        assert_eq!(plan.labels_after(&labels).collect::<Vec<_>>(), [&labels[1]]);
        assert_eq!(Plan::new(vec![]).labels_after(&labels).count(), 2);
    }
}
