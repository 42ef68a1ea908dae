//! Patients and their examinations: the facts that images, messages and claims all speak of.

use hilum_core::Timestamp;

use super::calendar::{self, HOUR_MS};
use super::random::Random;

/// Uncommon enough that finding one in an output means a leak, not a coincidence.
const FAMILY_NAMES: [&str; 8] = [
    "Quillfeather",
    "Brandywyne",
    "Thistlewood",
    "Marchbanks",
    "Oakenshield",
    "Winterbourne",
    "Ravensdale",
    "Featherstone",
];
const GIVEN_NAMES: [(&str, Sex); 6] = [
    ("Philippa", Sex::Female),
    ("Bartholomew", Sex::Male),
    ("Clementine", Sex::Female),
    ("Ignatius", Sex::Male),
    ("Wilhelmina", Sex::Female),
    ("Thaddeus", Sex::Male),
];
const STREETS: [&str; 4] = ["Larkspur Crescent", "Juniper Hollow", "Saltmarsh Terrace", "Cobblers Wharf"];
/// Number in the hospital, family name and given name.
const REFERRERS: [(&str, &str, &str); 3] = [
    ("D1001", "Abernethy", "Rosalind"),
    ("D1002", "Fotheringay", "Cuthbert"),
    ("D1003", "Lethbridge", "Hermione"),
];

/// The institution, as its machines write it.
pub const INSTITUTION: &str = "St. Mary's Hospital";
/// The machine's name in images, telemetry and charges.
pub const MACHINE: &str = "mri-1";

/// Administrative sex (DICOM PS3.3 C.2.2.2, HL7 table 0001, X12 DMG03 agree on the letters).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sex {
    /// `F`.
    Female,
    /// `M`.
    Male,
}

impl Sex {
    /// The letter of all three standards.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Self::Female => "F",
            Self::Male => "M",
        }
    }
}

/// A made-up person.
#[derive(Debug, Clone)]
pub struct Patient {
    /// Family name.
    pub family: String,
    /// Given name.
    pub given: String,
    /// Administrative sex.
    pub sex: Sex,
    /// `YYYYMMDD`.
    pub birth_date: String,
    /// Completed years on the day of the examination.
    pub age_years: u64,
    /// Medical record number of the hospital.
    pub record_number: String,
    /// Member number of the insurer.
    pub member_number: String,
    /// House number and street.
    pub street: String,
    /// Ten digits.
    pub telephone: String,
    /// Kilograms.
    pub weight_kg: u64,
}

/// One examination of one patient.
#[derive(Debug, Clone)]
pub struct Case {
    /// Who was examined.
    pub patient: Patient,
    /// When.
    pub time: Timestamp,
    /// The order's number, on images and messages alike.
    pub accession_number: String,
    /// The encounter's number.
    pub visit_number: String,
    /// The claim's number.
    pub claim_number: String,
    /// The number that the hospital gave to who asked for it.
    pub referrer_number: &'static str,
    /// Their family and given name.
    pub referrer: (String, String),
    /// (0020,000D).
    pub study_uid: String,
    /// (0020,000E).
    pub series_uid: String,
    /// (0020,0052).
    pub frame_of_reference_uid: String,
    /// The stream that the case's images draw from.
    pub(crate) random: Random,
}

impl Case {
    /// The case number `index` of `seed`, examined about half an hour after the one before, the first at `start`.
    #[must_use]
    pub fn new(seed: u64, index: u64, start: Timestamp) -> Self {
        let mut random = Random::new(seed).fork(index + 1);
        let time = Timestamp(start.0 + index * HOUR_MS / 2);
        let (referrer_number, referrer_family, referrer_given) = *random.pick(&REFERRERS);
        Self {
            patient: patient(&mut random, index, time),
            time,
            accession_number: format!("AC{}", random.digits(9)),
            visit_number: format!("VN{}", random.digits(8)),
            claim_number: format!("CL{}", random.digits(9)),
            referrer_number,
            referrer: (referrer_family.into(), referrer_given.into()),
            study_uid: random.uid(),
            series_uid: random.uid(),
            frame_of_reference_uid: random.uid(),
            random: random.fork(0),
        }
    }

    /// Every text that tells who the patient is. None of them may be in what is de-identified.
    #[must_use]
    pub fn identifiers(&self) -> Vec<String> {
        let Patient { family, given, birth_date, record_number, member_number, street, telephone, .. } =
            &self.patient;
        let mut found = vec![
            family.clone(),
            given.clone(),
            birth_date.clone(),
            record_number.clone(),
            member_number.clone(),
            street.clone(),
            telephone.clone(),
            self.accession_number.clone(),
            self.visit_number.clone(),
            self.claim_number.clone(),
            self.referrer.0.clone(),
            self.study_uid.clone(),
            self.series_uid.clone(),
            self.frame_of_reference_uid.clone(),
        ];
        found.sort_unstable();
        found
    }
}

fn patient(random: &mut Random, index: u64, time: Timestamp) -> Patient {
    // Family names go round, so that neighbouring cases never share one.
    let family = FAMILY_NAMES[usize::try_from(index % FAMILY_NAMES.len() as u64).expect("below a length")];
    let (given, sex) = *random.pick(&GIVEN_NAMES);
    let age_years = 19 + random.below(70);
    let year: u64 = calendar::date(time)[..4].parse().expect("a date starts with its year");
    // Born in January, so the birthday of this year has passed or is today for any later date.
    let birth_date = format!("{:04}01{:02}", year - age_years, 1 + random.below(28));
    let had_birthday = calendar::date(time)[4..] >= birth_date[4..];
    Patient {
        family: family.into(),
        given: given.into(),
        sex,
        birth_date,
        age_years: age_years - u64::from(!had_birthday),
        record_number: format!("MRN{}", random.digits(7)),
        member_number: format!("JS{}", random.digits(11)),
        street: format!("{} {}", random.digits(3), random.pick(&STREETS)),
        telephone: format!("555{}", random.digits(7)),
        weight_kg: 48 + random.below(60),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn cases_repeat_with_their_seed_and_differ_from_each_other() {
        let case = |seed, index| Case::new(seed, index, Timestamp(1_790_000_000_000));
        assert_eq!(case(1, 3).identifiers(), case(1, 3).identifiers());
        let studies: HashSet<String> = (0..50).map(|index| case(1, index).study_uid).collect();
        assert_eq!(studies.len(), 50);
        assert_ne!(case(1, 0).patient.record_number, case(2, 0).patient.record_number);
    }

    #[test]
    fn identifiers_are_long_enough_to_be_no_coincidence() {
        for index in 0..20 {
            let case = Case::new(9, index, Timestamp(1_790_000_000_000));
            assert!(
                case.identifiers().iter().all(|identifier| identifier.len() >= 8),
                "{:?}",
                case.identifiers()
            );
        }
    }
}
