//! De-identifies FHIR R4 resources in JSON by the table `data/fhir-r4-elements.tsv`: every element is cleaned, replaced, reduced or removed,
//! as 45 CFR 164.514(b)(2) (Safe Harbor) asks. What the table does not name is removed, and resource types without rows are refused.
//!
//! Resources stay valid: an element that R4 requires and that may not go on says that it is masked (extension `data-absent-reason`). A
//! resource is looked at as a whole, because it says late, or in another entry of its bundle, whose it is; so its size is bounded.

mod codes;
mod elements;
mod identifiers;
mod patients;
mod references;
mod table;
#[cfg(test)]
mod tests;
mod texts;
mod values;

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::json::Json;
use crate::texts::Texts;
use crate::{Config, Pseudonyms, Refusal};
use elements::{Cleaner, Scope};
use patients::Index;
pub(crate) use texts::is_free_text;

/// Octets of a resource or bundle, which is held in memory with all that it is made of.
pub const OCTETS_MAX: usize = 8 << 20;
/// The parameter of the content type that tells the version of FHIR, and what it is for R4 (FHIR R4, 3.1.0.1.10).
const VERSION: (&str, &str) = ("fhirversion", "4.0");

/// De-identifies one resource, which may be a bundle. Ages are counted from the year `now`, that of the record.
///
/// # Errors
/// What it cannot parse, resource types that nobody has described, extensions that change the meaning of what they are in, and, where
/// dates are shifted, dates of somebody unknown.
pub fn deidentify(
    input: &[u8],
    now: u16,
    config: &Config,
    keys: &dyn Pseudonyms,
) -> Result<Vec<u8>, Refusal> {
    if input.len() > OCTETS_MAX {
        return Err(Refusal::new("too-large", format!("a resource has over {OCTETS_MAX} octets")));
    }
    let document = Json::parse(input)?;
    let index = Index::of(&document, config);
    let texts = Texts::new(config);
    let cleaner = Cleaner { config, keys, texts, index, now, made: RefCell::new(BTreeMap::new()) };
    let mut out = Vec::with_capacity(input.len());
    cleaner.resource(&document, &Scope::default(), &mut out)?;
    Ok(out)
}

/// Refuses a version of FHIR other than R4, if the content type names one.
///
/// # Errors
/// `unsupported-version`.
pub fn check_version(content_type: &str) -> Result<(), Refusal> {
    for parameter in content_type.split(';').skip(1) {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        if name.trim().eq_ignore_ascii_case(VERSION.0) && value.trim().trim_matches('"') != VERSION.1 {
            return Err(Refusal::new("unsupported-version", "only FHIR R4 (fhirVersion 4.0) is described"));
        }
    }
    Ok(())
}
