//! The story: who publishes what, who shall receive it in which form, and who shall be refused.
//!
//! These are expectations, written down apart from the configuration that they are about. The demo fails where the
//! running hospital differs.

use std::fmt;

use hilum_core::Timestamp;

use crate::simulator::calendar::MINUTE_MS;
use crate::simulator::{Case, fhir, hl7, mr, telemetry, x12};

/// Examinations in the story.
pub(super) const CASES: u64 = 4;
/// Slices of each series.
const SLICES: u16 = 5;
/// Rows and columns of the ordinary images and of the fine ones, which travel as large bodies.
const MATRIX: u16 = 256;
const MATRIX_FINE: u16 = 512;
/// Batches of machine readings: ten days.
const MACHINE_BATCHES: u64 = 480;
/// Batches of room readings: an hour.
const ROOM_BATCHES: u64 = 60;

/// What a record is, as far as anybody's rights go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// An MR image.
    Image,
    /// An MR image that says that identifying text is burned into its pixels.
    BurnedIn,
    /// FHIR Consent.
    Consent,
    /// HL7v2 ADT^A01.
    Admission,
    /// HL7v2 ORU^R01.
    Result,
    /// HL7v2 DFT^P03.
    Charge,
    /// X12 837P.
    Claim,
    /// Readings of the machine.
    Telemetry,
    /// Readings of the room.
    Presence,
}

impl Kind {
    /// Whether it says who the patient is.
    #[must_use]
    pub(super) fn names_patient(self) -> bool {
        !matches!(self, Self::Telemetry | Self::Presence)
    }

    /// For tables.
    #[must_use]
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Image => "images",
            Self::BurnedIn => "with burned-in text",
            Self::Consent => "consents",
            Self::Admission => "admissions",
            Self::Result => "results",
            Self::Charge => "charges",
            Self::Claim => "claims",
            Self::Telemetry => "machine readings",
            Self::Presence => "room readings",
        }
    }
}

/// What decides about a record besides its kind; of what says nothing of a patient all of it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patient {
    /// The doctor who reads as `referrer-1` treats the patient.
    pub(super) is_treated: bool,
    /// The patient lets research have what was found.
    pub(super) permits: bool,
}

impl Patient {
    /// Where there is none.
    pub(super) const NONE: Self = Self { is_treated: true, permits: true };
}

/// One record to publish.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// What it is.
    pub(super) kind: Kind,
    /// Whose it is.
    pub(super) patient: Patient,
    /// Its media type.
    pub(super) content_type: &'static str,
    /// Its attributes.
    pub(super) attributes: Vec<(&'static str, String)>,
    /// Its body.
    pub(super) octets: Vec<u8>,
}

/// What one identity publishes to one flow, in order.
#[derive(Debug, Clone)]
pub(super) struct Publication {
    /// A folder in `identities`.
    pub(super) identity: &'static str,
    /// The flow.
    pub(super) flow: &'static str,
    /// In order.
    pub(super) items: Vec<Item>,
    /// Milliseconds between two of them.
    pub(super) pause_ms: u64,
}

/// In which form a reader gets a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// Octet for octet as published.
    Original,
    /// Changed, and without any planted identifier.
    Deidentified,
    /// A COSE_Encrypt message that opens with the reader's own key, and holds the original.
    Sealed,
    /// Made by a plugin.
    Made(Maker),
}

/// A plugin that makes records of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Maker {
    /// Forecasts of the machine.
    Analytics,
    /// How the room was used.
    Rooms,
    /// What was claimed and does not fit what was done.
    Claims,
    /// Who does what they should not.
    Security,
}

impl Form {
    /// For tables.
    #[must_use]
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Deidentified => "de-identified",
            Self::Sealed => "encrypted to its key",
            Self::Made(Maker::Analytics) => "made by analytics",
            Self::Made(Maker::Rooms) => "made by rooms",
            Self::Made(Maker::Claims) => "made by claims",
            Self::Made(Maker::Security) => "made by security",
        }
    }

    /// Whether a plugin makes what comes.
    #[must_use]
    pub(super) fn maker(self) -> Option<Maker> {
        if let Self::Made(maker) = self { Some(maker) } else { None }
    }
}

/// Of which patients a reader gets records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Of all.
    Everybody,
    /// Of those whom the reader treats.
    Treated,
    /// Of those who permit research.
    Permitting,
}

impl Whose {
    /// Whether records of a patient are among them.
    #[must_use]
    pub(super) fn has(self, patient: Patient) -> bool {
        match self {
            Self::Everybody => true,
            Self::Treated => patient.is_treated,
            Self::Permitting => patient.permits,
        }
    }
}

/// One subscription and what its reader shall get.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    /// The stakeholder, for tables.
    pub(super) stakeholder: &'static str,
    /// A folder in `identities`.
    pub(super) identity: &'static str,
    /// The flow.
    pub(super) flow: &'static str,
    /// The subscription.
    pub(super) subscription: &'static str,
    /// In which form everything comes.
    pub(super) form: Form,
    /// What comes.
    pub(super) kinds: &'static [Kind],
    /// Of which patients.
    pub(super) whose: Whose,
    /// The codes of the refusals that withhold the rest of the flow, if there is a rest.
    pub(super) withheld: &'static [&'static str],
}

impl Reading {
    /// Whether a record of its flow comes.
    #[must_use]
    pub(super) fn wants(&self, kind: Kind, patient: Patient) -> bool {
        self.kinds.contains(&kind) && self.whose.has(patient)
    }
}

const fn reading(
    [stakeholder, identity, flow, subscription]: [&'static str; 4],
    form: Form,
    kinds: &'static [Kind],
) -> Reading {
    Reading { stakeholder, identity, flow, subscription, form, kinds, whose: Whose::Everybody, withheld: &[] }
}

const fn without(withheld: &'static [&'static str], whose: Whose, of: Reading) -> Reading {
    Reading { whose, withheld, ..of }
}

/// Every subscription of the hospital.
pub(super) const READINGS: [Reading; 19] = {
    use Form::{Deidentified, Made, Original, Sealed};
    use Kind::{Admission, BurnedIn, Charge, Claim, Consent, Image, Presence, Result, Telemetry};
    use Maker::{Analytics, Claims, Rooms, Security};
    const MESSAGES: &[Kind] = &[Admission, Result];
    [
        reading(["radiology", "workstation-1", "imaging", "radiology"], Original, &[Image, BurnedIn]),
        reading(["radiology", "workstation-1", "results", "radiology"], Original, MESSAGES),
        without(
            &["no-policy"],
            Whose::Treated,
            reading(["referrers", "referrer-1", "results", "referrers"], Original, MESSAGES),
        ),
        without(
            &["burned-in-annotation", "no-policy"],
            Whose::Permitting,
            reading(["research", "research-1", "imaging", "research"], Deidentified, &[Image]),
        ),
        without(
            &["no-policy"],
            Whose::Permitting,
            reading(["research", "research-1", "results", "research"], Deidentified, MESSAGES),
        ),
        reading(["patient-app", "patient-app-1", "imaging", "patient-app"], Sealed, &[Image, BurnedIn]),
        reading(["patient-app", "patient-app-1", "results", "patient-app"], Sealed, MESSAGES),
        reading(["patient-app", "patient-app-1", "consents", "patient-app"], Sealed, &[Consent]),
        reading(["billing", "billing-1", "billing", "billing"], Original, &[Charge, Claim]),
        reading(["billing", "billing-1", "findings", "billing"], Made(Claims), &[]),
        without(
            &["no-policy"],
            Whose::Everybody,
            reading(["insurer", "insurer-1", "billing", "insurer"], Sealed, &[Claim]),
        ),
        reading(["operations", "operations-1", "billing", "statistics"], Deidentified, &[Charge, Claim]),
        reading(["operations", "operations-1", "room", "operations"], Original, &[Presence]),
        reading(["operations", "operations-1", "room-use", "operations"], Made(Rooms), &[]),
        reading(["operations", "operations-1", "device", "operations"], Original, &[Telemetry]),
        reading(["operations", "operations-1", "maintenance", "operations"], Made(Analytics), &[]),
        reading(["manufacturer", "manufacturer-1", "device", "manufacturer"], Original, &[Telemetry]),
        reading(["manufacturer", "manufacturer-1", "maintenance", "manufacturer"], Made(Analytics), &[]),
        reading(["it", "operator", "security", "security"], Made(Security), &[]),
    ]
};

/// Somebody who tries what they may not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trespass {
    /// A folder in `identities`.
    pub(super) identity: &'static str,
    /// The flow.
    pub(super) flow: &'static str,
    /// The subscription they would read; none for publishing.
    pub(super) subscription: Option<&'static str>,
}

impl fmt::Display for Trespass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.subscription {
            Some(subscription) => write!(f, "{} reads {subscription} of {}", self.identity, self.flow),
            None => write!(f, "{} publishes to {}", self.identity, self.flow),
        }
    }
}

/// All of these the broker must deny.
pub(super) const TRESPASSES: [Trespass; 5] = [
    Trespass { identity: "manufacturer-1", flow: "imaging", subscription: Some("radiology") },
    Trespass { identity: "research-1", flow: "imaging", subscription: Some("radiology") },
    Trespass { identity: "insurer-1", flow: "results", subscription: Some("patient-app") },
    Trespass { identity: "patient-app-1", flow: "billing", subscription: Some("billing") },
    Trespass { identity: "mri-1", flow: "billing", subscription: None },
];

/// Who tries it again and again, and how often. Five denials in ten minutes are an alert.
pub(super) const PROWLER: Trespass =
    Trespass { identity: "research-1", flow: "imaging", subscription: Some("radiology") };
/// See there.
pub(super) const PROWLER_TRIES: u32 = 6;

/// The number of the doctor who reads as `referrer-1`, as `policies/people.json` of the hospital says.
const REFERRER: &str = "D1001";
/// The examination whose patient keeps what was found from research.
const OPTED_OUT: usize = 2;
/// The examination that is claimed a second time.
const CLAIMED_TWICE: usize = 1;

/// The examinations of a run that ends at `now`: some of them were asked for by the doctor who reads as `referrer-1`.
#[must_use]
pub(super) fn cases(seed: u64, now: Timestamp) -> Vec<Case> {
    let start = Timestamp(now.0.saturating_sub(CASES * 30 * MINUTE_MS));
    (0..CASES).map(|index| Case::new(seed, index, start)).collect()
}

/// The examination that is claimed a second time, as the second claim has it.
#[must_use]
pub(super) fn claimed_twice(cases: &[Case]) -> Case {
    let mut case = cases[CLAIMED_TWICE].clone();
    case.claim_number.push('B');
    case
}

fn patient(index: usize, case: &Case) -> Patient {
    Patient { is_treated: case.referrer_number == REFERRER, permits: index != OPTED_OUT }
}

/// What everybody publishes, one after the other: consents, then admissions, which research gets by them, then all that is decided by both.
#[must_use]
pub(super) fn publications(seed: u64, cases: &[Case], now: Timestamp) -> [Vec<Publication>; 3] {
    let publication = |identity, flow, pause_ms, items| Publication { identity, flow, items, pause_ms };
    let of = |kind, content_type, made: &dyn Fn(&Case) -> Vec<u8>| -> Vec<Item> {
        let cases = cases.iter().enumerate();
        cases.map(|(index, case)| item(kind, patient(index, case), content_type, made(case))).collect()
    };
    let admissions = of(Kind::Admission, hl7::CONTENT_TYPE, &hl7::admission);
    let consents = cases.iter().enumerate().map(|(index, case)| {
        let patient = patient(index, case);
        item(Kind::Consent, patient, fhir::CONTENT_TYPE, fhir::consent(case, patient.permits))
    });
    let reports = of(Kind::Result, hl7::CONTENT_TYPE, &hl7::result);
    let mut bills = of(Kind::Charge, hl7::CONTENT_TYPE, &hl7::charge);
    let claimed = cases.iter().cloned().chain([claimed_twice(cases)]);
    bills.extend((1..).zip(claimed).map(|(number, case)| {
        item(Kind::Claim, Patient::NONE, x12::CONTENT_TYPE, x12::claim(&case, number))
    }));
    let machine = telemetry::machine(seed, MACHINE_BATCHES, now);
    let room = telemetry::room(seed, ROOM_BATCHES, now);
    let readings = |kind, batches: Vec<telemetry::Batch>| {
        let readings =
            batches.into_iter().map(|batch| item(kind, Patient::NONE, telemetry::CONTENT_TYPE, batch.octets));
        readings.collect()
    };
    [
        vec![publication("admission-1", "consents", 50, consents.collect())],
        vec![publication("admission-1", "results", 50, admissions)],
        vec![
            publication("mri-1", "imaging", 60, images(cases)),
            publication("mri-1", "device", 4, readings(Kind::Telemetry, machine)),
            publication("room-1", "room", 0, readings(Kind::Presence, room)),
            publication("ris-1", "results", 200, reports),
            publication("ris-1", "billing", 100, bills),
        ],
    ]
}

/// Each case is a series and one fine image. The first case's first image has text burned in; the last case is an emergency
/// whose machine states the purpose and the reason, so that access breaks the glass and the audit keeps it.
fn images(cases: &[Case]) -> Vec<Item> {
    let image = |kind, patient, instance: mr::Instance| item(kind, patient, DICOM, instance.octets);
    let burned_in = mr::burned_in(&cases[0], MATRIX);
    let mut items = vec![image(Kind::BurnedIn, patient(0, &cases[0]), burned_in)];
    for (index, case) in cases.iter().enumerate() {
        for instance in mr::series(case, SLICES, MATRIX).into_iter().chain(mr::series(case, 1, MATRIX_FINE)) {
            let mut item = image(Kind::Image, patient(index, case), instance);
            if index + 1 == cases.len() {
                item.attributes.push(("purpose", "ETREAT".to_owned()));
                item.attributes.push(("break-glass-reason", "stroke".to_owned()));
            }
            items.push(item);
        }
    }
    items
}

/// An image that the ingress chain must refuse: it claims an emergency, and gives no reason.
#[must_use]
pub(super) fn unreasoned_emergency(case: &Case) -> Item {
    let octets = mr::burned_in(case, MATRIX).octets;
    let mut item = item(Kind::Image, Patient::NONE, DICOM, octets);
    item.attributes.push(("purpose", "ETREAT".to_owned()));
    item
}

/// Media type of a DICOM file (RFC 3240).
const DICOM: &str = "application/dicom";

fn item(kind: Kind, patient: Patient, content_type: &'static str, octets: Vec<u8>) -> Item {
    Item { kind, patient, content_type, attributes: Vec::new(), octets }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_published_is_expected_by_somebody_on_its_flow() {
        let now = Timestamp(1_790_000_000_000);
        for publication in publications(1, &cases(1, now), now).into_iter().flatten() {
            for item in &publication.items {
                let wanted = |r: &Reading| r.flow == publication.flow && r.wants(item.kind, item.patient);
                let wanted = READINGS.iter().any(wanted);
                assert!(wanted, "{:?} on {}", item.kind, publication.flow);
            }
        }
    }

    #[test]
    fn the_doctor_who_reads_treats_some_patients_and_not_all() {
        let cases = cases(1, Timestamp(1_790_000_000_000));
        let treated =
            cases.iter().enumerate().filter(|(index, case)| patient(*index, case).is_treated).count();
        assert!((1..cases.len()).contains(&treated), "{treated}");
    }
}
