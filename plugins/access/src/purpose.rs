//! Codes of the HL7 v3 value set PurposeOfUse (code system ActReason, 2.16.840.1.113883.5.8), as FHIR R4 (4.0.1) expands it.
//!
//! Codes are compared exactly: a policy for `TREAT` does not cover `ETREAT`, although HL7 makes one a kind of the other,
//! because what is meant for an emergency should be said.

/// In the order of the value set's hierarchy: marketing, operations, payment, research, patient, public health, treatment.
#[rustfmt::skip] // One line a branch.
pub(crate) const CODES: [&str; 59] = [
    "HMARKT", //
    "HOPERAT", "CAREMGT", "DONAT", "FRAUD", "GOV", "HACCRED", "HCOMPL", "HDECD", "HDIRECT", "HDM", "HLEGAL",
    "HOUTCOMS", "HPRGRP", "HQUALIMP", "HSYSADMIN", "LABELING", "METAMGT", "MEMADMIN", "MILCDM", "PATADMIN",
    "PATSFTY", "PERFMSR", "RECORDMGT", "SYSDEV", "HTEST", "TRAIN", //
    "HPAYMT", "CLMATTCH", "COVAUTH", "COVERAGE", "ELIGDTRM", "ELIGVER", "ENROLLM", "MILDCRG", "REMITADV", //
    "HRESCH", "BIORCH", "CLINTRCH", "CLINTRCHNPC", "CLINTRCHPC", "PRECLINTRCH", "DSRCH", "POARCH", "TRANSRCH", //
    "PATRQT", "FAMRQT", "PWATRNY", "SUPNWK", //
    "PUBHLTH", "DISASTER", "THREAT", //
    "TREAT", "CLINTRL", "COC", "ETREAT", "BTG", "ERTREAT", "POPHLTH",
];

/// What the purpose is where none of the codes was stated.
pub(crate) const UNSTATED: &str = "unstated";

/// The code that was stated.
pub(crate) fn of_code(code: Option<&str>) -> &'static str {
    code.and_then(|stated| CODES.into_iter().find(|code| *code == stated)).unwrap_or(UNSTATED)
}

/// Emergency treatment and breaking the glass.
pub(crate) fn is_emergency(code: &str) -> bool {
    matches!(code, "BTG" | "ETREAT")
}
