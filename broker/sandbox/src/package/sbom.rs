//! `sbom.cdx.json`: what is in a component, as CycloneDX in JSON (ECMA-424). Read as far as people are shown it.

use serde::Deserialize;

use super::SBOM_OCTETS_MAX;

/// Versions of CycloneDX that are taken. What is read of it is in all of them.
pub const VERSIONS: [&str; 4] = ["1.4", "1.5", "1.6", "1.7"];

/// Why octets are no SBOM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SbomError {
    /// Longer than any SBOM.
    #[error("it has {0} octets, at most {SBOM_OCTETS_MAX} are read")]
    TooLarge(usize),
    /// Not JSON of the form of an SBOM.
    #[error("this is no SBOM in CycloneDX's JSON: {0}")]
    Json(String),
    /// Another format.
    #[error("its `bomFormat` is not `CycloneDX`")]
    Format,
    /// Another version.
    #[error("it is of CycloneDX {0}; take one of the versions {list}", list = VERSIONS.join(", "))]
    Version(String),
}

/// What an SBOM lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Version of CycloneDX.
    pub version: String,
    /// What it is about, with its version, where it says so.
    pub of: Option<String>,
    /// The licence of that, as an SPDX expression or identifier, where it says so.
    pub licence: Option<String>,
    /// A sentence about that, where it has one.
    pub description: Option<String>,
    /// Components that it lists.
    pub components: usize,
    /// Those of them that state a licence.
    pub licensed: usize,
}

#[derive(Deserialize)]
struct Json {
    #[serde(rename = "bomFormat")]
    format: String,
    #[serde(rename = "specVersion")]
    version: String,
    metadata: Option<Metadata>,
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Metadata {
    component: Option<Component>,
}

#[derive(Deserialize)]
struct Component {
    name: String,
    version: Option<String>,
    description: Option<String>,
    #[serde(default)]
    licenses: Vec<Licence>,
}

#[derive(Deserialize)]
struct Licence {
    expression: Option<String>,
    license: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    id: Option<String>,
}

impl Summary {
    /// Reads an SBOM.
    ///
    /// # Errors
    ///
    /// [`SbomError`].
    pub fn parse(octets: &[u8]) -> Result<Self, SbomError> {
        if octets.len() > SBOM_OCTETS_MAX {
            return Err(SbomError::TooLarge(octets.len()));
        }
        let json: Json =
            serde_json::from_slice(octets).map_err(|error| SbomError::Json(error.to_string()))?;
        if json.format != "CycloneDX" {
            return Err(SbomError::Format);
        }
        if !VERSIONS.contains(&json.version.as_str()) {
            return Err(SbomError::Version(crate::plugin::clip(&json.version, 32).to_owned()));
        }
        let of = json.metadata.and_then(|metadata| metadata.component);
        let stated = of.as_ref().and_then(|component| component.licenses.first());
        let licence = stated.and_then(|stated| {
            let id = || stated.license.as_ref().and_then(|named| named.id.clone());
            stated.expression.clone().or_else(id)
        });
        let description = of.as_ref().and_then(|component| component.description.clone());
        let of = of.map(|Component { name, version, .. }| match version {
            Some(version) => format!("{name} {version}"),
            None => name,
        });
        let licensed = json.components.iter().filter(|component| !component.licenses.is_empty()).count();
        Ok(Self {
            version: json.version,
            of,
            licence,
            description,
            components: json.components.len(),
            licensed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sbom_is_counted() {
        let sbom = br#"{"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
            "metadata": {"component": {"type": "library", "name": "clean", "version": "1.2.0",
                "licenses": [{"license": {"id": "MIT"}}]}},
            "components": [{"name": "a", "licenses": [{"expression": "MIT"}]}, {"name": "b"}]}"#;
        let of = Some("clean 1.2.0".to_owned());
        let licence = Some("MIT".to_owned());
        let summary =
            Summary { version: "1.6".into(), of, licence, description: None, components: 2, licensed: 1 };
        assert_eq!(Summary::parse(sbom), Ok(summary));
    }

    #[test]
    fn what_is_none_is_told() {
        let other = br#"{"bomFormat": "SPDX", "specVersion": "1.6"}"#;
        assert_eq!(Summary::parse(other), Err(SbomError::Format));
        let later = br#"{"bomFormat": "CycloneDX", "specVersion": "9.0"}"#;
        assert_eq!(Summary::parse(later), Err(SbomError::Version("9.0".into())));
        assert!(matches!(Summary::parse(b"<bom/>"), Err(SbomError::Json(_))));
    }
}
