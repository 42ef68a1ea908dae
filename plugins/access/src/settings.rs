//! The configuration, as `config.schema.json` describes it.

use std::collections::BTreeMap;

use hilum_formats::patient::Authorities;
use serde::Deserialize;

/// What a stage is configured with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Cedar text.
    pub(crate) policies: String,
    /// JSON text; see [`crate::locations`].
    #[serde(default)]
    pub(crate) locations: Option<String>,
    /// JSON text; see [`crate::people`].
    #[serde(default)]
    pub(crate) people: Option<String>,
    /// JSON text; see [`crate::people`].
    #[serde(default)]
    pub(crate) opt_outs: Option<String>,
    /// Where what is known of patients is.
    #[serde(default)]
    pub(crate) patients: Option<Patients>,
    /// See [`hilum_formats::local_time`].
    #[serde(default = "utc")]
    pub(crate) time_zone: String,
    #[serde(default)]
    pub(crate) confidentiality: Marking,
    /// Whether denials say what did not hold.
    #[serde(default)]
    pub(crate) explain: bool,
}

/// Where what is known of patients is, and how records name them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Patients {
    /// The secret under which the stages that learn keep it.
    #[serde(default = "relationships")]
    pub(crate) key: String,
    pub(crate) identifiers: Authorities,
    /// Stages that learn who treats whom, each `FLOW/STAGE`.
    #[serde(default)]
    pub(crate) relationships: Vec<String>,
    /// Stages that learn what patients allow.
    #[serde(default)]
    pub(crate) consents: Vec<String>,
}

/// How confidential records are.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Marking {
    /// What a label says.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, Confidentiality>,
    /// What holds where nothing says anything.
    #[serde(default = "very_restricted")]
    pub(crate) unmarked: Confidentiality,
}

impl Default for Marking {
    fn default() -> Self {
        Self { labels: BTreeMap::new(), unmarked: very_restricted() }
    }
}

/// A code of HL7 v3 Confidentiality (2.16.840.1.113883.5.25), from the least restrictive to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) enum Confidentiality {
    /// Unrestricted.
    U,
    /// Low.
    L,
    /// Moderate.
    M,
    /// Normal.
    N,
    /// Restricted.
    R,
    /// Very restricted.
    V,
}

impl Confidentiality {
    /// From the least restrictive to the most.
    pub(crate) const ALL: [Self; 6] = [Self::U, Self::L, Self::M, Self::N, Self::R, Self::V];

    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::U => "U",
            Self::L => "L",
            Self::M => "M",
            Self::N => "N",
            Self::R => "R",
            Self::V => "V",
        }
    }

    pub(crate) fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.code() == code)
    }
}

fn relationships() -> String {
    "relationships".into()
}

fn utc() -> String {
    "UTC0".into()
}

fn very_restricted() -> Confidentiality {
    Confidentiality::V
}
