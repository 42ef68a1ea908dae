//! `manifest.json`: what a package says of its plugin, in JSON.
//!
//! Whatever is not understood is refused: a constraint that a later format adds must not go unseen. [`FORMAT`] counts formats.

use hilum_core::chain::World;
use hilum_core::{Digest, Label, StageName};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::date::Date;
use super::{COMPONENT_OCTETS_MAX, MANIFEST_OCTETS_MAX, SBOM_OCTETS_MAX};
use crate::plugin::Plugin;

/// The format that this build writes and reads.
pub const FORMAT: u32 = 1;

/// Characters of a version, a licence or a vendor.
const WORD_CHARS_MAX: usize = 128;
/// Characters of a description.
const DESCRIPTION_CHARS_MAX: usize = 1024;
/// Imports and labels that a manifest may list.
const LIST_MAX: usize = 64;

/// Why octets are no manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Longer than any manifest.
    #[error("it has {0} octets, at most {MANIFEST_OCTETS_MAX} are read")]
    TooLarge(usize),
    /// Of a format that this build does not know.
    #[error(
        "it is of format {0}, this build of Hilum reads format {FORMAT}: update Hilum, or get the package in format {FORMAT}"
    )]
    Format(u64),
    /// Not JSON of the form of a manifest.
    #[error("{0}")]
    Json(String),
    /// A value that is none.
    #[error("`{key}` {what}")]
    Value {
        /// Which.
        key: &'static str,
        /// What is wrong with it.
        what: String,
    },
}

/// A file of the package, by what it digests to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// SHA-256, in hexadecimal.
    #[serde(serialize_with = "to_hex", deserialize_with = "from_hex")]
    pub sha256: Digest,
    /// Octets.
    pub size: u64,
}

impl Content {
    /// Names octets.
    #[must_use]
    pub fn of(octets: &[u8]) -> Self {
        Self { sha256: Digest::of(octets), size: octets.len() as u64 }
    }
}

/// What a package says of its plugin. `describe()` must say the same when the plugin is loaded: see [`Manifest::agrees_with`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The plugin's own name.
    pub name: StageName,
    /// The plugin's own version.
    pub version: String,
    /// The world that it was built for.
    pub world: World,
    /// The version of the WIT package `hilum:plugin` that it needs.
    pub wit: String,
    /// `plugin.wasm`.
    pub component: Content,
    /// `sbom.cdx.json`.
    pub sbom: Content,
    /// The capabilities that it needs: the interfaces of `hilum:plugin` that it imports.
    pub imports: Vec<String>,
    /// Labels that records no longer carry after it.
    pub removes: Vec<Label>,
    /// An SPDX licence expression.
    pub licence: String,
    /// Who made it.
    pub vendor: String,
    /// A sentence for people.
    pub description: String,
    /// When the package was made.
    pub created: Date,
    /// The last day on which the vendor repairs what is wrong with it.
    pub end_of_support: Date,
}

/// A manifest that says something else than the plugin itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the manifest says {key} {manifest}, the plugin itself says {plugin}; have its vendor pack it again with `hilum plugin pack`"
)]
pub struct Disagreement {
    /// About what.
    pub key: &'static str,
    /// What the manifest says.
    pub manifest: String,
    /// What the plugin says.
    pub plugin: String,
}

impl Manifest {
    /// What must be said of a plugin beside what it says itself.
    #[must_use]
    pub fn facts(plugin: &Plugin) -> (String, World, String, Vec<String>, Vec<Label>) {
        let description = plugin.description();
        let mut removes = description.removes.clone();
        removes.sort();
        (description.version.clone(), plugin.world(), plugin.wit_version(), interfaces(plugin), removes)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// [`ManifestError`].
    pub fn parse(octets: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Format {
            format: u64,
        }
        if octets.len() > MANIFEST_OCTETS_MAX {
            return Err(ManifestError::TooLarge(octets.len()));
        }
        let json = |error: serde_json::Error| ManifestError::Json(error.to_string());
        let Format { format } = serde_json::from_slice(octets).map_err(json)?;
        if format != u64::from(FORMAT) {
            return Err(ManifestError::Format(format));
        }
        let manifest: Self = serde_json::from_slice(octets).map_err(json)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// As a file, which [`Manifest::parse`] reads back.
    ///
    /// # Errors
    ///
    /// [`ManifestError::Value`] where a value is none.
    pub fn to_octets(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        let mut octets = serde_json::to_vec_pretty(self).expect("a manifest has texts and numbers only");
        octets.push(b'\n');
        Ok(octets)
    }

    /// The name of the package's directory.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// Whether the plugin, now that it is compiled, says the same of itself.
    ///
    /// # Errors
    ///
    /// [`Disagreement`] about the first thing.
    pub fn agrees_with(&self, plugin: &Plugin) -> Result<(), Disagreement> {
        let same = |key, manifest: String, plugin: String| {
            if manifest == plugin { Ok(()) } else { Err(Disagreement { key, manifest, plugin }) }
        };
        let (version, world, wit, imports, removes) = Self::facts(plugin);
        same("name", quoted(self.name.as_str()), quoted(&plugin.description().name))?;
        same("version", quoted(&self.version), quoted(&version))?;
        same("world", quoted(self.world.as_str()), quoted(world.as_str()))?;
        same("wit", quoted(&self.wit), quoted(&wit))?;
        same("imports", format!("{:?}", self.imports), format!("{imports:?}"))?;
        let labels = |labels: &[Label]| format!("{:?}", labels.iter().map(Label::as_str).collect::<Vec<_>>());
        same("removes", labels(&self.removes), labels(&removes))
    }

    fn check(&self) -> Result<(), ManifestError> {
        let fault = |key, what: String| Err(ManifestError::Value { key, what });
        let in_a_path = |c: char| c.is_ascii_alphanumeric() || ".+-_".contains(c);
        if !self.version.chars().all(in_a_path)
            || !self.version.starts_with(|c: char| c.is_ascii_alphanumeric())
        {
            return fault(
                "version",
                "begins with a letter or digit, and has letters, digits, `.`, `+`, `-` and `_`".into(),
            );
        }
        let numbers: Vec<_> = self.wit.split('.').map(str::parse::<u16>).collect();
        if numbers.len() != 3 || numbers.iter().any(Result::is_err) {
            return fault("wit", "is a version such as 1.0.0".into());
        }
        let words = [("version", &self.version), ("licence", &self.licence), ("vendor", &self.vendor)];
        for (key, word) in words {
            if word.trim().is_empty()
                || word.chars().count() > WORD_CHARS_MAX
                || word.contains(char::is_control)
            {
                return fault(key, format!("has 1 to {WORD_CHARS_MAX} characters in one line"));
            }
        }
        if self.description.chars().count() > DESCRIPTION_CHARS_MAX
            || self.description.contains(char::is_control)
        {
            return fault(
                "description",
                format!("has at most {DESCRIPTION_CHARS_MAX} characters in one line"),
            );
        }
        for (key, content, max) in
            [("component", self.component, COMPONENT_OCTETS_MAX), ("sbom", self.sbom, SBOM_OCTETS_MAX)]
        {
            if !(1..=max as u64).contains(&content.size) {
                return fault(key, format!("has 1 to {max} octets"));
            }
        }
        if self.imports.len() > LIST_MAX || self.imports.iter().any(|import| !is_import(import)) {
            return fault(
                "imports",
                format!("lists at most {LIST_MAX} interfaces such as `hilum:plugin/keys@1.0.0`"),
            );
        }
        if !self.imports.is_sorted_by(|a, b| a < b) {
            return fault("imports", "is in order, without repetition".into());
        }
        if self.removes.len() > LIST_MAX || !self.removes.is_sorted_by(|a, b| a < b) {
            return fault("removes", format!("lists at most {LIST_MAX} labels in order, without repetition"));
        }
        Ok(())
    }
}

fn is_import(import: &str) -> bool {
    let shaped = |c: char| c.is_ascii_alphanumeric() || ".-/@".contains(c);
    import.len() <= WORD_CHARS_MAX
        && import.strip_prefix("hilum:plugin/").is_some_and(|rest| rest.chars().all(shaped))
}

/// The interfaces of `hilum:plugin` that it imports, in order.
fn interfaces(plugin: &Plugin) -> Vec<String> {
    let own = plugin.imports().iter().filter(|import| import.interface.is_some());
    let mut names: Vec<_> = own.map(|import| import.name.clone()).collect();
    names.sort();
    names.dedup();
    names
}

fn quoted(text: &str) -> String {
    format!("`{text}`")
}

fn to_hex<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digest = Digest::from_hex(&text).filter(|digest| digest.to_string() == text);
    digest.ok_or_else(|| serde::de::Error::custom("a digest is 64 hexadecimal digits in lower case"))
}
