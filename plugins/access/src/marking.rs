//! What records are marked with: how confidential they are, and what is sensitive in them. A marking that is not understood is refused, and so
//! is an attribute that is named like one that counts, in other letters: a policy would not see it, and the reader perhaps would.

use std::collections::{BTreeMap, BTreeSet};

use hilum_plugin::{Attribute, Head, Refusal};

use crate::facts::{CONFIDENTIALITY_ATTRIBUTE, PURPOSE_ATTRIBUTE, REASON_ATTRIBUTE, SENSITIVITY_ATTRIBUTE};
use crate::settings::{Confidentiality, Marking};

/// Codes of the HL7 v3 value set InformationSensitivityPolicy (2.16.840.1.113883.1.11.20428) of code system ActCode, as version 5.0.0 of FHIR
/// has it, without those that are abstract.
#[rustfmt::skip] // One line a branch: of acts, of entities, of roles.
pub(crate) const SENSITIVITIES: [&str; 45] = [
    "ETH", "GDIS", "HIV", "MST", "PREGNANT", "SCA", "SDV", "SEX", "SPI", "BH", "COGN", "DVD", "EMOTDIS", "MH", "PSY",
    "PSYTHPN", "SUD", "ETHUD", "OPIOIDUD", "STD", "TBOO", "VIO", "IDS", "SICKLE", //
    "DEMO", "DOB", "GENDER", "LIVARG", "MARST", "PATLOC", "RACE", "REL", //
    "B", "EMPL", "LOCIS", "SSP", "ADOL", "CEL", "VIP", "DIA", "DRGIS", "EMP", "PDS", "PHY", "PRS",
];

/// A code of what is sensitive, as HL7 writes it; small letters mean the same.
pub(crate) fn sensitivity(code: &str) -> Option<&'static str> {
    SENSITIVITIES.into_iter().find(|known| known.eq_ignore_ascii_case(code))
}

/// What is sensitive in a record: the codes of its attribute, with spaces or commas between them.
///
/// # Errors
///
/// If there is anything else in it.
pub(crate) fn sensitivities(head: &Head) -> Result<Vec<&'static str>, Refusal> {
    let codes = head.attribute(SENSITIVITY_ATTRIBUTE).unwrap_or_default().split([' ', ',']);
    let codes = codes.filter(|code| !code.is_empty()).map(sensitivity);
    let known: Option<BTreeSet<_>> = codes.collect();
    known.map(|codes| codes.into_iter().collect()).ok_or_else(|| {
        let reason = format!(
            "attribute `{SENSITIVITY_ATTRIBUTE}` is not codes of HL7 v3 InformationSensitivityPolicy with spaces or commas between them"
        );
        Refusal::new("marking", reason)
    })
}

/// The most restrictive of what labels and the record's own attribute say; none if nothing says anything.
///
/// # Errors
///
/// If the attribute is no code.
pub(crate) fn stated(head: &Head, marking: &Marking) -> Result<Option<Confidentiality>, Refusal> {
    let own = head.attribute(CONFIDENTIALITY_ATTRIBUTE).map(|code| {
        let reason = format!("attribute `{CONFIDENTIALITY_ATTRIBUTE}` is no code of HL7 v3 Confidentiality");
        Confidentiality::of_code(code).ok_or_else(|| Refusal::new("marking", reason))
    });
    let own = own.transpose()?;
    let labels = head.labels.iter().filter_map(|label| marking.labels.get(label).copied());
    Ok(labels.chain(own).max())
}

/// Names of attributes that count here.
#[derive(Debug)]
pub(crate) struct Names(BTreeMap<String, BTreeSet<String>>);

impl Names {
    /// Those that have a meaning, and those that policies look at.
    pub(crate) fn new<'n>(looked_at: impl Iterator<Item = &'n str>) -> Self {
        let own = [PURPOSE_ATTRIBUTE, CONFIDENTIALITY_ATTRIBUTE, SENSITIVITY_ATTRIBUTE, REASON_ATTRIBUTE];
        let mut names = BTreeMap::<_, BTreeSet<_>>::new();
        for name in own.into_iter().chain(looked_at) {
            names.entry(folded(name)).or_default().insert(name.to_owned());
        }
        Self(names)
    }

    /// The name that one of these attributes has in other letters.
    pub(crate) fn misspelt(&self, attributes: &[Attribute]) -> Option<&str> {
        attributes.iter().find_map(|attribute| {
            let names = self.0.get(&folded(&attribute.name))?;
            names.first().filter(|_| !names.contains(&attribute.name)).map(String::as_str)
        })
    }
}

/// A name without regard to case and to the width of its letters (Unicode, Halfwidth and Fullwidth Forms), and without what cannot be seen.
fn folded(name: &str) -> String {
    let narrow = |letter: char| match letter {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(letter) - 0xfee0).unwrap_or(letter),
        other => other,
    };
    let letters = name.chars().map(narrow).flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    letters.filter(char::is_ascii_graphic).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_one_in_capital_and_in_small_letters() {
        assert_eq!((sensitivity("PSY"), sensitivity("psy")), (Some("PSY"), Some("PSY")));
        for other in ["", "PS", "PSY;", "\u{ff30}\u{ff33}\u{ff39}", "_InformationSensitivityPolicy"] {
            assert_eq!(sensitivity(other), None, "{other}");
        }
        let all: BTreeSet<_> = SENSITIVITIES.into_iter().collect();
        assert_eq!(all.len(), SENSITIVITIES.len());
    }

    #[test]
    fn a_name_in_other_letters_is_found() {
        let names = Names::new(["vip", "Ward", "ward"].into_iter());
        let misspelt = |name: &str| names.misspelt(&[Attribute::new(name, "x")]).map(str::to_owned);
        for name in ["vip", "ward", "Ward", "sensitivity", "series", "sensitivities", ""] {
            assert_eq!(misspelt(name), None, "{name}");
        }
        for (name, meant) in [
            ("VIP", "vip"),
            ("WARD", "Ward"),
            ("Sensitivity", "sensitivity"),
            ("sensitivity ", "sensitivity"),
            ("\u{200b}sensitivity", "sensitivity"),
            ("\u{ff33}ensitivity", "sensitivity"),
            ("\u{17f}ensitivity", "sensitivity"),
            ("PURPOSE", "purpose"),
            ("Break-Glass-Reason", "break-glass-reason"),
        ] {
            assert_eq!(misspelt(name).as_deref(), Some(meant), "{name}");
        }
    }
}
