//! Purposes of use: the codes of the HL7 v3 value set PurposeOfUse (code system ActReason, OID 2.16.840.1.113883.5.8).

use super::reader::{At, Sink, nearest};

/// Without the abstract root: marketing, operations, payment, research, patient, public health, treatment.
#[rustfmt::skip] // One line a branch.
const CODES: &[&str] = &[
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

/// Gives a code back if it is one.
pub(super) fn check(purpose: At<String>, sink: &Sink) -> Option<String> {
    let code = purpose.value.as_str();
    if CODES.contains(&code) {
        return Some(purpose.value);
    }
    let upper = code.to_ascii_uppercase();
    let help = match nearest(&upper, CODES.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "use a code such as TREAT, HPAYMT, HOPERAT, HRESCH or PATRQT".to_owned(),
    };
    sink.report(purpose.problem(format!("`{code}` is not a code of HL7 v3 PurposeOfUse"), help));
    None
}
