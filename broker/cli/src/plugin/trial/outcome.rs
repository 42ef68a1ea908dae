//! What became of a record, and the files that say what should.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use hilum_core::Attribute;
use serde::{Deserialize, Serialize};

use super::records::{EXPECTED, read_body};

/// What a stage did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// It went on as it was: passed, allowed, observed.
    Passed,
    Annotated,
    Replaced,
    Split,
    /// Allowed, with obligations.
    Obliged,
    /// Refused or denied.
    Refused,
    /// The plugin trapped, or ran over a limit.
    Failed,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Annotated => "annotated",
            Self::Replaced => "replaced",
            Self::Split => "split",
            Self::Obliged => "obliged",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outcome {
    #[serde(rename = "outcome")]
    pub(crate) kind: Kind,
    /// Of a refusal or a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) obligations: Vec<(String, String)>,
    /// The records that it goes on as, where that is not as it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) outputs: Vec<Made>,
    /// What an `observe` plugin emitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) emitted: Vec<Made>,
    /// The state of the stage afterwards.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) state: BTreeMap<String, String>,
}

/// A record that a plugin made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Made {
    /// Where it was emitted to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) flow: Option<String>,
    pub(crate) content_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) attributes: Vec<(String, String)>,
    /// Its time in milliseconds since 1970, where that is not the record's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<u64>,
    /// Who can open the body, which is compared open.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) sealed_to: Vec<String>,
    /// The file with the body; none where it is the record's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
    #[serde(skip)]
    pub(crate) octets: Option<Vec<u8>>,
}

impl Made {
    /// A record with a body, or with the record's own.
    pub(crate) fn new(
        content_type: String,
        key: Option<String>,
        attributes: Vec<Attribute>,
        octets: Option<Vec<u8>>,
    ) -> Self {
        let attributes = attributes.into_iter().map(|of| (of.name, of.value)).collect();
        Self { content_type, key, attributes, octets, ..Self::default() }
    }
}

impl Outcome {
    /// Something without outputs.
    pub(crate) fn of(kind: Kind) -> Self {
        let (obligations, outputs, emitted, state) = (Vec::new(), Vec::new(), Vec::new(), BTreeMap::new());
        Self { kind, code: None, reason: None, obligations, outputs, emitted, state }
    }

    /// What is expected of a record, if anything is.
    pub(crate) fn read(folder: &Path, name: &str) -> anyhow::Result<Option<Self>> {
        let path = folder.join(format!("{name}{EXPECTED}"));
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut outcome: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        for made in outcome.outputs.iter_mut().chain(&mut outcome.emitted) {
            made.octets = made.body.as_deref().map(|body| read_body(folder, body)).transpose()?;
        }
        Ok(Some(outcome))
    }

    /// Writes this as what is expected of a record; bodies of what was expected before go.
    pub(crate) fn write(&self, folder: &Path, name: &str, before: Option<&Self>) -> anyhow::Result<()> {
        let mut file = self.clone();
        let count = file.outputs.len();
        let number = |index: usize| if count == 1 { String::new() } else { format!(".{}", index + 1) };
        for (index, made) in file.outputs.iter_mut().enumerate() {
            made.body = made.octets.is_some().then(|| format!("{name}.expected{}.body", number(index)));
        }
        for (index, made) in file.emitted.iter_mut().enumerate() {
            made.body = made.octets.is_some().then(|| format!("{name}.emitted.{}.body", index + 1));
        }
        if let Some(before) = before {
            // Only what --accept would have named so: a body of another name may be somebody else's too.
            let ours = before.bodies().filter(|(body, _)| body.starts_with(&format!("{name}.e")));
            for (body, _) in ours {
                fs::remove_file(folder.join(body)).with_context(|| format!("cannot remove {body}"))?;
            }
        }
        for (body, octets) in file.bodies() {
            fs::write(folder.join(body), octets).with_context(|| format!("cannot write {body}"))?;
        }
        let path = folder.join(format!("{name}{EXPECTED}"));
        fs::write(&path, toml::to_string(&file)?).with_context(|| format!("cannot write {}", path.display()))
    }

    fn bodies(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let made = self.outputs.iter().chain(&self.emitted);
        made.filter_map(|made| Some((made.body.as_deref()?, made.octets.as_deref()?)))
    }
}
