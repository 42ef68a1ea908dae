//! Whose a segment is: the hierarchical levels (HL) and the entity named last (NM1) of the health care transactions.
//!
//! In 837P, 837I and 837D (005010X222, X223, X224), 270 and 271 (X279), HL opens a level and NM1 a loop about somebody;
//! the address (N3, N4), birth date (DMG), references (REF) and contacts (PER) after it are that somebody's. In 835
//! (X221) there is no HL; NM1 follows CLP.

use super::Segment;

/// A level of the hierarchy, from HL03 (code source: data element 735).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// `20`: information source; in a claim the billing provider.
    Source,
    /// `21`: information receiver.
    Receiver,
    /// `22`: subscriber.
    Subscriber,
    /// `23`: dependent; in a claim the patient, where that is not the subscriber.
    Dependent,
    /// Any other.
    Other,
}

impl Level {
    fn of(code: &[u8]) -> Level {
        match code {
            b"20" => Level::Source,
            b"21" => Level::Receiver,
            b"22" => Level::Subscriber,
            b"23" => Level::Dependent,
            _ => Level::Other,
        }
    }
}

/// Who an NM1 names, from NM101 (data element 98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// `IL`, `74`, `GB`: the person insured, in one of their roles.
    Subscriber,
    /// `QC`, `03`: the patient or dependent.
    Patient,
    /// Somebody who treats, refers, bills or is paid: `85`, `82`, `DN`, `77`, `71` and so on.
    Provider,
    /// Somebody who pays or passes the message on: `PR`, `40`, `41` and so on.
    Payer,
    /// `PW`, `45`: where an ambulance fetched the patient and brought them.
    Place,
    /// Any other code: possibly a relative, an employer or a guardian of the patient.
    Unknown,
}

impl Party {
    fn of(code: &[u8]) -> Party {
        match code {
            b"IL" | b"74" | b"GB" => Party::Subscriber,
            b"QC" | b"03" => Party::Patient,
            b"85" | b"87" | b"82" | b"DN" | b"P3" | b"DQ" | b"DK" | b"QB" | b"77" | b"71" | b"72" | b"73"
            | b"ZZ" | b"DD" | b"DJ" | b"FA" | b"TL" | b"LI" | b"P2" | b"1P" | b"80" | b"SJ" | b"AY" => {
                Party::Provider
            }
            b"PR" | b"PE" | b"40" | b"41" | b"TT" | b"X3" | b"ACV" | b"AGR" | b"2B" | b"P5" => Party::Payer,
            b"PW" | b"45" => Party::Place,
            _ => Party::Unknown,
        }
    }
}

/// Which part of a claim a segment stands in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Area {
    /// Before the claim: headers, levels, names.
    #[default]
    Heading,
    /// In the claim, from CLM (837) or CLP (835) on.
    Claim,
    /// In a service line, from LX, SVC or SVD on.
    Line,
}

/// Where a segment stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The level that HL opened last.
    pub level: Option<Level>,
    /// The part of the claim.
    pub area: Area,
    /// Whom the segment is about, if it belongs to an NM1.
    pub party: Option<Party>,
    /// Whether that party is an organisation (NM102 is `2`) and not a person.
    pub organisation: bool,
}

/// Goes through a transaction and says of each segment where it stands.
#[derive(Clone, Debug, Default)]
pub struct Walker {
    place: Place,
}

impl Walker {
    /// The place of the next segment of the transaction; call it for each, in order.
    pub fn place(&mut self, segment: &Segment<'_>) -> Place {
        let place = &mut self.place;
        match segment.identifier() {
            "ST" => *place = Place::default(),
            "HL" => *place = Place { level: Some(Level::of(segment.element(3))), ..Place::default() },
            "CLM" | "CLP" => place.open(Area::Claim),
            "LX" if place.area != Area::Heading => place.open(Area::Line),
            "SVC" | "SVD" => place.open(Area::Line),
            // SBR opens the loop of another subscriber, LIN of a drug, LQ of a form, EB of a benefit.
            "SBR" | "LIN" | "LQ" | "EB" => place.open(place.area),
            "NM1" => {
                place.party = Some(Party::of(segment.element(1)));
                place.organisation = segment.element(2) == b"2";
            }
            // Payer and payee of a remittance.
            "N1" => {
                place.party = Some(if segment.element(1) == b"PR" { Party::Payer } else { Party::Provider });
                place.organisation = true;
            }
            _ => {}
        }
        *place
    }
}

impl Place {
    fn open(&mut self, area: Area) {
        *self = Place { level: self.level, area, ..Place::default() };
    }
}
