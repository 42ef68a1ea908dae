//! Kinds of identifiers in messages: how a synthetic one looks, how it is looked for afterwards, and which identifier of 45 CFR
//! 164.514(b)(2)(i) it is.

use super::key::{Kind, Mark};
use super::values::Values;

/// What is planted into a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Name,
    Staff,
    Street,
    City,
    Zip,
    Phone,
    Fax,
    Email,
    Ssn,
    /// The patient's number.
    Mrn,
    HealthPlan,
    Account,
    License,
    Vehicle,
    Device,
    Url,
    Address,
    Biometric,
    Photo,
    Other,
    /// Free text.
    Note,
    /// A date of the patient, as DICOM writes it; with time; as FHIR writes both.
    Date,
    DateTime,
    DateDashed,
    DateTimeDashed,
    /// A date that is reduced whatever the configuration says, in the same forms; and as ISA has it, `YYMMDD`.
    Reduced,
    ReducedDashed,
    ReducedTimeDashed,
    ReducedShort,
    /// What is there already and identifies nobody.
    Keep,
}

impl What {
    /// A value and how it is looked for; what is there stays if nothing is planted.
    pub(super) fn plant(
        self,
        path: String,
        there: &str,
        patient: &str,
        values: &mut Values,
    ) -> (String, Mark) {
        let (kind, value, letter) = self.made(patient, values);
        if self == Self::Keep {
            return (there.to_owned(), Mark::harmless(path, Kind::Existing, there));
        }
        (value.clone(), Mark::new(path, kind, value, letter))
    }

    fn made(self, patient: &str, values: &mut Values) -> (Kind, String, char) {
        let dashed = |date: String| format!("{}-{}-{}", &date[..4], &date[4..6], &date[6..]);
        let clock = |time: String| format!("T{}:{}:{}Z", &time[..2], &time[2..4], &time[4..]);
        match self {
            Self::Name => (Kind::Text, values.token(), 'A'),
            Self::Staff => (Kind::Staff, values.token(), 'A'),
            Self::Street | Self::City => (Kind::Text, values.token(), 'B'),
            Self::Zip => (Kind::Local, format!("8{}7", values.digits(3)), 'B'),
            Self::Phone => (Kind::Text, values.digits(10), 'D'),
            Self::Fax => (Kind::Text, values.digits(10), 'E'),
            Self::Email => (Kind::Text, format!("{}@example.org", values.token()), 'F'),
            Self::Ssn => (Kind::Text, values.digits(9), 'G'),
            Self::Mrn => (Kind::Patient, patient.to_owned(), 'H'),
            Self::HealthPlan => (Kind::Text, values.token(), 'I'),
            Self::Account => (Kind::Text, values.token(), 'J'),
            Self::License => (Kind::Staff, values.digits(10), 'K'),
            Self::Vehicle => (Kind::Text, values.token(), 'L'),
            Self::Device => (Kind::Text, values.token(), 'M'),
            Self::Url => (Kind::Text, format!("https://{}.example/", values.token().to_lowercase()), 'N'),
            Self::Address => (
                Kind::Text,
                format!("10.{}.{}.{}", values.below(256), values.below(256), 100 + values.below(156)),
                'O',
            ),
            Self::Biometric => (Kind::Text, values.token(), 'P'),
            // Twelve characters of Base64 are nine octets.
            Self::Photo => (Kind::Text, values.token(), 'Q'),
            Self::Other | Self::Keep => (Kind::Text, values.token(), 'R'),
            Self::Note => (Kind::Text, values.token(), 'A'),
            Self::Date => (Kind::Date, values.date(), 'C'),
            Self::DateTime => (Kind::Date, format!("{}{}", values.date(), values.time()), 'C'),
            Self::DateDashed => (Kind::Date, dashed(values.date()), 'C'),
            Self::DateTimeDashed => {
                (Kind::Date, format!("{}{}", dashed(values.date()), clock(values.time())), 'C')
            }
            Self::Reduced => (Kind::Reduced, values.date(), 'C'),
            Self::ReducedDashed => (Kind::Reduced, dashed(values.date()), 'C'),
            Self::ReducedTimeDashed => {
                (Kind::Reduced, format!("{}{}", dashed(values.date()), clock(values.time())), 'C')
            }
            Self::ReducedShort => (Kind::Reduced, values.date()[2..].to_owned(), 'C'),
        }
    }
}
