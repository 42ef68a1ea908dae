//! The configuration of a stage: which part it is, and what that part needs.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Configuration of a stage.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "part", rename_all = "lowercase")]
pub enum Settings {
    /// In flows of images and results.
    Performed(Performed),
    /// In the flow of claims.
    Claimed(Claimed),
    /// In the flow that the other two emit to.
    Match(Match),
}

/// Of the stage that sees what was done.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Performed {
    /// Where notices go; the stage needs the grant `emit:FLOW`.
    pub notices_flow: String,
    /// The secret of the MACs, the same on both sides; the stage needs the grant `keys:NAME`.
    pub key: String,
    /// Which fields of OBR have the accession number, the first that is not empty.
    #[serde(default = "default_accession_fields")]
    pub accession_fields: Vec<usize>,
    /// `MODALITY/REGION` of the procedure codes (OBR-4.1) that the hospital's own systems write.
    #[serde(default)]
    pub procedures: BTreeMap<String, String>,
    /// What comes so many days after it was done is old: nobody is missed who claims it.
    #[serde(default = "default_old_days")]
    pub old_days: u32,
}

/// Of the stage that sees what was claimed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claimed {
    /// Where notices go; the stage needs the grant `emit:FLOW`.
    pub notices_flow: String,
    /// The secret of the MACs, the same on both sides; the stage needs the grant `keys:NAME`.
    pub key: String,
    /// Which codes are for imaging, and of what: lines of `FROM-TO MODALITY REGION`.
    pub crosswalk: String,
    /// Qualifiers of REF segments of a claim or line that have the accession number.
    #[serde(default = "default_accession_qualifiers")]
    pub accession_qualifiers: Vec<String>,
    /// Qualifiers of REF segments that have the patient's number in the hospital.
    #[serde(default = "default_record_qualifiers")]
    pub record_qualifiers: Vec<String>,
    /// What is claimed so many days after it was done is old: no procedure is missed.
    #[serde(default = "default_old_days")]
    pub old_days: u32,
}

/// Of the stage that compares.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Where findings go; the stage needs the grant `emit:FLOW`.
    pub findings_flow: String,
    /// A procedure without a claim for so long after it was first heard of is a finding.
    #[serde(default = "default_claim_days")]
    pub claim_days: u32,
    /// A claim without a procedure for so long after it was first heard of is a finding: images may be late too.
    #[serde(default = "default_procedure_days")]
    pub procedure_days: u32,
    /// How far the days of procedure and claim may differ.
    #[serde(default = "default_tolerance_days")]
    pub tolerance_days: u32,
    /// For how long a procedure is remembered after the last that was heard of it, so that later duplicates are seen.
    #[serde(default = "default_remember_days")]
    pub remember_days: u32,
}

fn default_accession_fields() -> Vec<usize> {
    vec![18, 3, 2]
}
fn default_accession_qualifiers() -> Vec<String> {
    vec!["6R".to_owned()]
}
fn default_record_qualifiers() -> Vec<String> {
    vec!["EA".to_owned()]
}
fn default_old_days() -> u32 {
    90
}
fn default_claim_days() -> u32 {
    30
}
fn default_procedure_days() -> u32 {
    7
}
fn default_tolerance_days() -> u32 {
    1
}
fn default_remember_days() -> u32 {
    120
}
