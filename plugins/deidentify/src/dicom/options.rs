//! The options of the Basic Application Level Confidentiality Profile (PS3.15 E.3), what each is called, and how an object says that it
//! was treated by them (PS3.16 CID 7050).

use std::fmt;

use serde::Deserialize;

use super::table;

/// An option, in the order of CID 7050.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileOption {
    /// E.3.1. Text is covered where the rules of the stage say that it is; what they are not sure of is refused.
    CleanPixelData,
    /// E.3.2. Images in which somebody may be recognised are refused.
    CleanRecognizableVisualFeatures,
    /// E.3.3. Graphics stay, their texts are cleaned; overlays and curves go.
    CleanGraphics,
    /// E.3.4. Content items stay, what identifies in them is cleaned.
    CleanStructuredContent,
    /// E.3.5. Words of the vocabulary stay in descriptions.
    CleanDescriptors,
    /// E.3.6. Dates stay as they are.
    RetainLongitudinalFullDates,
    /// E.3.6. Dates are shifted, by as many days for all of one patient.
    RetainLongitudinalModifiedDates,
    /// E.3.7. Age, sex, size, weight and the like.
    RetainPatientCharacteristics,
    /// E.3.8. Which device it was.
    RetainDeviceIdentity,
    /// E.3.9. Unique identifiers stay as they are.
    RetainUids,
    /// E.3.10. Private attributes that are known to identify nobody.
    RetainSafePrivate,
    /// E.3.11. Which institution it was.
    RetainInstitutionIdentity,
}

use ProfileOption::{
    CleanDescriptors, CleanGraphics, CleanPixelData, CleanRecognizableVisualFeatures, CleanStructuredContent,
    RetainDeviceIdentity, RetainInstitutionIdentity, RetainLongitudinalFullDates,
    RetainLongitudinalModifiedDates, RetainPatientCharacteristics, RetainSafePrivate, RetainUids,
};

/// The code of the Basic Profile.
const BASIC: Code = Code { value: "113100", meaning: "Basic Application Confidentiality Profile" };

/// A code of the DICOM Controlled Terminology (PS3.16 Annex D, coding scheme `DCM`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) value: &'static str,
    pub(super) meaning: &'static str,
}

impl ProfileOption {
    /// All of them.
    pub const ALL: [ProfileOption; 12] = [
        CleanPixelData,
        CleanRecognizableVisualFeatures,
        CleanGraphics,
        CleanStructuredContent,
        CleanDescriptors,
        RetainLongitudinalFullDates,
        RetainLongitudinalModifiedDates,
        RetainPatientCharacteristics,
        RetainDeviceIdentity,
        RetainUids,
        RetainSafePrivate,
        RetainInstitutionIdentity,
    ];

    /// Whether 45 CFR 164.514(b)(2)(i) lists something that this option retains: dates (C), addresses (B), serial numbers of
    /// devices (M), any other unique number (R).
    #[must_use]
    pub fn retains_identifiers(self) -> bool {
        matches!(
            self,
            RetainLongitudinalFullDates | RetainInstitutionIdentity | RetainDeviceIdentity | RetainUids
        )
    }

    /// The column of Table E.1-1, as a bit of its rows; none for what is about pixels.
    fn column(self) -> u16 {
        let name = match self {
            CleanPixelData | CleanRecognizableVisualFeatures => return 0,
            CleanGraphics => "clean_graph",
            CleanStructuredContent => "clean_struct_cont",
            CleanDescriptors => "clean_desc",
            RetainLongitudinalFullDates => "retain_long_full_dates",
            RetainLongitudinalModifiedDates => "retain_long_modif_dates",
            RetainPatientCharacteristics => "retain_patient_chars",
            RetainDeviceIdentity => "retain_device_id",
            RetainUids => "retain_uids",
            RetainSafePrivate => "retain_safe_private",
            RetainInstitutionIdentity => "retain_institution_id",
        };
        table::column(name)
    }

    /// Whether it says something about pixels, and so nothing about an object that has none.
    fn is_about_pixels(self) -> bool {
        matches!(self, CleanPixelData | CleanRecognizableVisualFeatures)
    }

    /// The code by which an object says it.
    fn code(self) -> Code {
        let (value, meaning) = match self {
            CleanPixelData => ("113101", "Clean Pixel Data Option"),
            CleanRecognizableVisualFeatures => ("113102", "Clean Recognizable Visual Features Option"),
            CleanGraphics => ("113103", "Clean Graphics Option"),
            CleanStructuredContent => ("113104", "Clean Structured Content Option"),
            CleanDescriptors => ("113105", "Clean Descriptors Option"),
            RetainLongitudinalFullDates => {
                ("113106", "Retain Longitudinal Temporal Information Full Dates Option")
            }
            RetainLongitudinalModifiedDates => {
                ("113107", "Retain Longitudinal Temporal Information Modified Dates Option")
            }
            RetainPatientCharacteristics => ("113108", "Retain Patient Characteristics Option"),
            RetainDeviceIdentity => ("113109", "Retain Device Identity Option"),
            RetainUids => ("113110", "Retain UIDs Option"),
            RetainSafePrivate => ("113111", "Retain Safe Private Option"),
            RetainInstitutionIdentity => ("113112", "Retain Institution Identity Option"),
        };
        Code { value, meaning }
    }
}

impl fmt::Display for ProfileOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CleanPixelData => "clean-pixel-data",
            CleanRecognizableVisualFeatures => "clean-recognizable-visual-features",
            CleanGraphics => "clean-graphics",
            CleanStructuredContent => "clean-structured-content",
            CleanDescriptors => "clean-descriptors",
            RetainLongitudinalFullDates => "retain-longitudinal-full-dates",
            RetainLongitudinalModifiedDates => "retain-longitudinal-modified-dates",
            RetainPatientCharacteristics => "retain-patient-characteristics",
            RetainDeviceIdentity => "retain-device-identity",
            RetainUids => "retain-uids",
            RetainSafePrivate => "retain-safe-private",
            RetainInstitutionIdentity => "retain-institution-identity",
        })
    }
}

/// The options that a stage has chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Options(u16);

impl Options {
    pub(super) fn of(chosen: impl IntoIterator<Item = ProfileOption>) -> Options {
        Options(chosen.into_iter().fold(0, |bits, option| bits | 1 << option as u16))
    }

    pub(super) fn has(self, option: ProfileOption) -> bool {
        self.0 & 1 << option as u16 != 0
    }

    fn all(self) -> impl Iterator<Item = ProfileOption> {
        ProfileOption::ALL.into_iter().filter(move |option| self.has(*option))
    }

    /// The columns of Table E.1-1 that count, as bits of its rows.
    pub(super) fn columns(self) -> u16 {
        self.all().fold(0, |bits, option| bits | option.column())
    }

    /// Whether any of them is about pixels.
    pub(super) fn are_about_pixels(self) -> bool {
        self.all().any(ProfileOption::is_about_pixels)
    }

    /// What an object with or without pixels says of itself in (0012,0064), in the order of CID 7050.
    pub(super) fn codes(self, has_pixels: bool) -> impl Iterator<Item = Code> {
        let said = self.all().filter(move |option| has_pixels || !option.is_about_pixels());
        std::iter::once(BASIC).chain(said.map(ProfileOption::code))
    }

    /// What an object says of its dates in (0028,0303) (PS3.15 E.3.6).
    pub(super) fn temporal_information(self) -> &'static [u8] {
        if self.has(RetainLongitudinalFullDates) {
            b"UNMODIFIED"
        } else if self.has(RetainLongitudinalModifiedDates) {
            b"MODIFIED"
        } else {
            b"REMOVED"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_in_the_order_of_the_context_group_and_clean_pixels_are_claimed_only_where_there_are_any() {
        let values = |has_pixels| -> Vec<&str> {
            Options::of(ProfileOption::ALL).codes(has_pixels).map(|code| code.value).collect()
        };
        let all = values(true);
        assert_eq!(all.len(), 13);
        assert!(all.is_sorted() && all[..3] == ["113100", "113101", "113102"]);
        assert_eq!(values(false)[..], [&all[..1], &all[3..]].concat()[..]);
        assert!(Options::of(ProfileOption::ALL).codes(true).all(|code| code.meaning.len() <= 64));
    }

    #[test]
    fn each_option_is_read_by_the_name_that_it_shows_and_has_a_column() {
        for option in ProfileOption::ALL {
            let name = format!("\"{option}\"");
            assert_eq!(serde_json::from_str::<ProfileOption>(&name).unwrap(), option);
            assert_eq!(option.column() == 0, option <= CleanRecognizableVisualFeatures, "{option}");
        }
        assert_eq!(Options::of(ProfileOption::ALL).columns(), (1 << table::OPTION_COLUMNS.len()) - 1);
    }
}
