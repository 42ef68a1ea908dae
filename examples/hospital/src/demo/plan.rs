//! The story: who publishes what, who shall receive it in which form, and who shall be refused.
//!
//! These are expectations, written down apart from the configuration that they are about. The demo fails where the
//! running hospital differs.

use std::fmt;

use hilum_core::Timestamp;

use crate::simulator::calendar::MINUTE_MS;
use crate::simulator::{Case, hl7, mr, telemetry, x12};

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
            Self::Admission => "admissions",
            Self::Result => "results",
            Self::Charge => "charges",
            Self::Claim => "claims",
            Self::Telemetry => "machine readings",
            Self::Presence => "room readings",
        }
    }
}

/// One record to publish.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// What it is.
    pub(super) kind: Kind,
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
    Made,
}

impl Form {
    /// For tables.
    #[must_use]
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Original => "original",
            Self::Deidentified => "de-identified",
            Self::Sealed => "encrypted to its key",
            Self::Made => "made by analytics",
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
    /// The code of the refusal that withholds the rest of the flow, if there is a rest.
    pub(super) withheld: Option<&'static str>,
}

const fn reading(
    [stakeholder, identity, flow, subscription]: [&'static str; 4],
    form: Form,
    kinds: &'static [Kind],
    withheld: Option<&'static str>,
) -> Reading {
    Reading { stakeholder, identity, flow, subscription, form, kinds, withheld }
}

/// Every subscription of the hospital.
pub(super) const READINGS: [Reading; 15] = {
    use Form::{Deidentified, Made, Original, Sealed};
    use Kind::{Admission, BurnedIn, Charge, Claim, Image, Presence, Result, Telemetry};
    [
        reading(["radiology", "workstation-1", "imaging", "radiology"], Original, &[Image, BurnedIn], None),
        reading(["radiology", "workstation-1", "results", "radiology"], Original, &[Admission, Result], None),
        reading(["referrers", "referrer-1", "results", "referrers"], Original, &[Admission, Result], None),
        reading(
            ["research", "research-1", "imaging", "research"],
            Deidentified,
            &[Image],
            Some("burned-in-annotation"),
        ),
        reading(["research", "research-1", "results", "research"], Deidentified, &[Admission, Result], None),
        reading(["patient-app", "patient-app-1", "imaging", "patient-app"], Sealed, &[Image, BurnedIn], None),
        reading(
            ["patient-app", "patient-app-1", "results", "patient-app"],
            Sealed,
            &[Admission, Result],
            None,
        ),
        reading(["billing", "billing-1", "billing", "billing"], Original, &[Charge, Claim], None),
        reading(["insurer", "insurer-1", "billing", "insurer"], Sealed, &[Claim], Some("no-policy")),
        reading(
            ["operations", "operations-1", "billing", "statistics"],
            Deidentified,
            &[Charge, Claim],
            None,
        ),
        reading(["operations", "operations-1", "room", "operations"], Original, &[Presence], None),
        reading(["operations", "operations-1", "device", "operations"], Original, &[Telemetry], None),
        reading(["operations", "operations-1", "maintenance", "operations"], Made, &[], None),
        reading(["manufacturer", "manufacturer-1", "device", "manufacturer"], Original, &[Telemetry], None),
        reading(["manufacturer", "manufacturer-1", "maintenance", "manufacturer"], Made, &[], None),
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

/// The examinations of a run that ends at `now`.
#[must_use]
pub(super) fn cases(seed: u64, now: Timestamp) -> Vec<Case> {
    let start = Timestamp(now.0.saturating_sub(CASES * 30 * MINUTE_MS));
    (0..CASES).map(|index| Case::new(seed, index, start)).collect()
}

/// What everybody publishes.
#[must_use]
pub(super) fn publications(seed: u64, cases: &[Case], now: Timestamp) -> Vec<Publication> {
    let publication = |identity, flow, pause_ms, items| Publication { identity, flow, items, pause_ms };
    let message = |kind, octets| item(kind, hl7::CONTENT_TYPE, octets);
    let reports = cases.iter().map(|case| message(Kind::Result, hl7::result(case))).collect();
    let admissions = cases.iter().map(|case| message(Kind::Admission, hl7::admission(case))).collect();
    let bills = (1..).zip(cases).flat_map(|(number, case)| {
        [
            message(Kind::Charge, hl7::charge(case)),
            item(Kind::Claim, x12::CONTENT_TYPE, x12::claim(case, number)),
        ]
    });
    let machine = telemetry::machine(seed, MACHINE_BATCHES, now);
    let room = telemetry::room(seed, ROOM_BATCHES, now);
    let readings = |kind, batches: Vec<telemetry::Batch>| {
        batches.into_iter().map(|batch| item(kind, telemetry::CONTENT_TYPE, batch.octets)).collect()
    };
    vec![
        publication("mri-1", "imaging", 60, images(cases)),
        publication("mri-1", "device", 4, readings(Kind::Telemetry, machine)),
        publication("room-1", "room", 30, readings(Kind::Presence, room)),
        publication("admission-1", "results", 200, admissions),
        publication("ris-1", "results", 200, reports),
        publication("ris-1", "billing", 100, bills.collect()),
    ]
}

/// Each case is a series and one fine image. The first case's first image has text burned in; the last case is an emergency
/// whose machine states the purpose and the reason, so that access breaks the glass and the audit keeps it.
fn images(cases: &[Case]) -> Vec<Item> {
    let image = |kind, instance: mr::Instance| item(kind, DICOM, instance.octets);
    let mut items = vec![image(Kind::BurnedIn, mr::burned_in(&cases[0], MATRIX))];
    for (index, case) in cases.iter().enumerate() {
        for instance in mr::series(case, SLICES, MATRIX).into_iter().chain(mr::series(case, 1, MATRIX_FINE)) {
            let mut item = image(Kind::Image, instance);
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
    let mut item = item(Kind::Image, DICOM, octets);
    item.attributes.push(("purpose", "ETREAT".to_owned()));
    item
}

/// Media type of a DICOM file (RFC 3240).
const DICOM: &str = "application/dicom";

fn item(kind: Kind, content_type: &'static str, octets: Vec<u8>) -> Item {
    Item { kind, content_type, attributes: Vec::new(), octets }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_published_is_expected_by_somebody_on_its_flow() {
        let now = Timestamp(1_790_000_000_000);
        for publication in publications(1, &cases(1, now), now) {
            for item in &publication.items {
                let wanted =
                    READINGS.iter().any(|r| r.flow == publication.flow && r.kinds.contains(&item.kind));
                assert!(wanted, "{:?} on {}", item.kind, publication.flow);
            }
        }
    }
}
