//! Codes of the HL7 v3 value set PurposeOfUse (code system ActReason, 2.16.840.1.113883.5.8), as FHIR R4 (4.0.1) expands it.
//!
//! Codes are compared exactly: a policy for `TREAT` does not cover `ETREAT`, although HL7 makes one a kind of the other,
//! because what is meant for an emergency should be said.

/// In the order of the value set's hierarchy: marketing, operations, payment, research, patient, public health, treatment.
#[rustfmt::skip] // One line a branch.
pub const CODES: [&str; 59] = [
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
pub const UNSTATED: &str = "unstated";

/// The code that was stated.
pub fn of_code(code: Option<&str>) -> &'static str {
    code.and_then(|stated| CODES.into_iter().find(|code| *code == stated)).unwrap_or(UNSTATED)
}

/// Emergency treatment and breaking the glass.
pub fn is_emergency(code: &str) -> bool {
    matches!(code, "BTG" | "ETREAT")
}

/// The branches of the value set: what is at the top, and how many codes there are with it.
const BRANCHES: [(&str, usize); 7] = [
    ("HMARKT", 1),
    ("HOPERAT", 26),
    ("HPAYMT", 9),
    ("HRESCH", 9),
    ("PATRQT", 4),
    ("PUBHLTH", 3),
    ("TREAT", 7),
];

/// Whether what is for purpose `code` is for `purpose` too: the same, or a kind of it. For what patients say, who speak of research and
/// not of its kinds; policies compare codes exactly.
pub fn covers(code: &str, purpose: &str) -> bool {
    if code == purpose {
        return true;
    }
    match code {
        "CLINTRCH" => return matches!(purpose, "CLINTRCHNPC" | "CLINTRCHPC"),
        "COVERAGE" => return matches!(purpose, "ELIGDTRM" | "ELIGVER" | "ENROLLM" | "MILDCRG"),
        "ETREAT" => return matches!(purpose, "BTG" | "ERTREAT"),
        _ => {}
    }
    let mut rest = &CODES[..];
    for (top, codes) in BRANCHES {
        let (branch, after) = rest.split_at(codes);
        if top == code {
            return branch.contains(&purpose);
        }
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_at_the_top_of_a_branch_covers_it_and_nothing_else_does() {
        let mut at = 0;
        for (top, codes) in BRANCHES {
            assert_eq!(CODES[at], top);
            assert!(CODES[at..at + codes].iter().all(|code| covers(top, code)));
            assert!(CODES[..at].iter().chain(&CODES[at + codes..]).all(|code| !covers(top, code)));
            at += codes;
        }
        assert_eq!(at, CODES.len());
        assert!(
            covers("HRESCH", "CLINTRCH") && covers("CLINTRCH", "CLINTRCHPC") && !covers("CLINTRCH", "HRESCH")
        );
        assert!(!covers("unstated", "TREAT") && !covers("TREAT", "unstated"));
    }
}
