//! What is known of one patient: who treats them from when until when, and what they allow. One plugin keeps it, and another one reads it.
//!
//! Nobody is named in it. A [`Tag`] stands for a patient, a practitioner, a place or a visit: the first half of an authentication code
//! (HMAC) of who or what that is, under a key that the host has ([`coded`] says of which octets). Whoever has what is kept and
//! not the key learns how many patients are treated, and not whom.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::patient::Identifier;
use crate::purpose;

/// Octets that one patient's [`Known`] may have as text: those of a value of keyed state.
pub const KNOWN_OCTETS_MAX: usize = 64 << 10;
/// The version of the shape. In the first one it was not known under which other numbers a consent was filed.
const VERSION: u8 = 2;
const VERSION_UNFILED: u8 = 1;

/// Stands for somebody or something: 32 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tag(String);

impl Tag {
    /// The first half of an authentication code.
    pub fn of(code: &[u8; 32]) -> Self {
        use fmt::Write as _;
        let mut digits = String::with_capacity(32);
        for octet in &code[..16] {
            let _ = write!(digits, "{octet:02x}");
        }
        Self(digits)
    }

    /// One that was written down before.
    pub fn parse(digits: &[u8]) -> Option<Self> {
        let is_one = digits.len() == 32 && digits.iter().all(|digit| digit.is_ascii_hexdigit());
        is_one.then(|| Self(digits.iter().map(|digit| char::from(*digit)).collect()))
    }

    /// Under which key a patient's [`Known`] is kept.
    pub fn key(&self) -> String {
        format!("patient/{}", self.0)
    }

    /// Under which key it is kept where a consent is filed.
    pub fn filed_key(&self) -> String {
        format!("filed/{}", self.0)
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tag")
    }
}

/// What a tag can stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Somebody who is treated.
    Patient,
    /// Somebody who treats.
    Practitioner,
    /// A ward, a room.
    Place,
    /// A stay or a visit (PV1-19).
    Visit,
    /// An appointment (SCH-1, SCH-2).
    Appointment,
    /// A consent, by its logical identifier.
    Consent,
    /// Whom a consent is about, as it refers to them.
    Actor,
    /// Who published a consent.
    Publisher,
}

/// The octets whose authentication code a [`Tag`] is the half of.
pub fn coded(kind: Kind, authority: &str, value: &str) -> Vec<u8> {
    let kind = match kind {
        Kind::Patient => "patient",
        Kind::Practitioner => "practitioner",
        Kind::Place => "place",
        Kind::Visit => "visit",
        Kind::Appointment => "appointment",
        Kind::Consent => "consent",
        Kind::Actor => "actor",
        Kind::Publisher => "publisher",
    };
    let mut octets = format!("hilum care v1\0{kind}\0{}\0{authority}", authority.len()).into_bytes();
    octets.extend_from_slice(value.as_bytes());
    octets
}

/// [`coded`] of an identifier.
pub fn coded_identifier(kind: Kind, of: &Identifier) -> Vec<u8> {
    coded(kind, &of.authority, &of.value)
}

/// What is known of one patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    #[serde(rename = "v")]
    version: u8,
    /// Two records were of the same patient (A40), and this is the one that is used now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<Tag>,
    /// Stays, visits and appointments that may still matter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stays: Vec<Stay>,
    /// What the patient allows and forbids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consents: Vec<Consent>,
    /// The first hour since 1970 at which somebody looks whether all of it is over; 0 where nobody will.
    #[serde(default)]
    pub due: u64,
}

impl Default for Known {
    fn default() -> Self {
        Self { version: VERSION, merged_into: None, stays: Vec::new(), consents: Vec::new(), due: 0 }
    }
}

impl Known {
    /// What is known of a patient who is, or was, here.
    pub fn new(stays: Vec<Stay>, consents: Vec<Consent>) -> Self {
        Self { stays, consents, ..Self::default() }
    }

    /// What is kept of a patient whose record was merged into another one.
    pub fn merged(into: &Tag) -> Self {
        Self { merged_into: Some(into.clone()), ..Self::default() }
    }

    /// As it is kept.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers are JSON")
    }

    /// None for what another version keeps, or for what is damaged. Of consents that the first version kept there are only the denials:
    /// somebody may have withdrawn them under another number.
    pub fn decode(octets: &[u8]) -> Option<Self> {
        let mut known: Self = serde_json::from_slice(octets).ok()?;
        if known.version == VERSION_UNFILED {
            known.version = VERSION;
            let denials = |Consent { id, says }| Some(Consent { id, says: says.denials()? });
            known.consents = known.consents.into_iter().filter_map(denials).collect();
        }
        (known.version == VERSION).then_some(known)
    }

    /// As what somebody who has these tags treats the patient at a time, in milliseconds since 1970.
    pub fn treated_as(&self, tags: &[Tag], now: u64) -> Vec<Role> {
        let stays = self.stays.iter().filter(|stay| now < stay.until);
        let carers = stays.flat_map(|stay| &stay.carers);
        let active = carers.filter(|carer| {
            carer.from <= now && carer.until.is_none_or(|until| now < until) && tags.contains(&carer.who)
        });
        let mut roles: Vec<Role> = active.map(|carer| carer.role).collect();
        roles.sort_unstable();
        roles.dedup();
        roles
    }

    /// Whether nothing of it matters any more.
    pub fn is_over(&self, now: u64) -> bool {
        self.merged_into.is_none()
            && self.consents.is_empty()
            && self.stays.iter().all(|stay| stay.until <= now)
    }
}

/// A stay in the hospital, a visit, or an appointment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stay {
    /// Which one it is.
    pub id: Tag,
    /// When nobody treats the patient for it any more, in milliseconds since 1970: the discharge and some time to write letters, or the
    /// longest time that anybody stays.
    pub until: u64,
    /// Whether it has ended by a discharge.
    #[serde(default)]
    pub is_discharged: bool,
    /// Who treats the patient for it.
    pub carers: Vec<Carer>,
}

/// Somebody, or everybody somewhere, who treats a patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carer {
    /// As what.
    pub role: Role,
    /// A practitioner, or a place.
    pub who: Tag,
    /// In milliseconds since 1970.
    pub from: u64,
    /// Present if somebody else took over before the stay ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// As what somebody treats a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// PV1-17.
    Admitting,
    /// Expected at an appointment (AIP-3).
    Appointment,
    /// PV1-7.
    Attending,
    /// PV1-9.
    Consulting,
    /// Works where the patient is (PV1-3, AIL-3).
    Place,
    /// PV1-8.
    Referring,
}

impl Role {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admitting => "admitting",
            Self::Appointment => "appointment",
            Self::Attending => "attending",
            Self::Consulting => "consulting",
            Self::Place => "place",
            Self::Referring => "referring",
        }
    }
}

/// A consent, or somebody's opting out, that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// Which one it is.
    pub id: Tag,
    /// What it says.
    pub says: Provision,
}

/// What a consent permits or denies, and for what (FHIR R4, Consent.provision).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Provision {
    /// Whether it permits or denies; none where it says neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permits: Option<bool>,
    /// Whether there is something in it that cannot be understood: then it denies and does not permit.
    #[serde(skip_serializing_if = "is_false")]
    pub is_unclear: bool,
    /// From when on, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// To whom; to everybody where nobody is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<Tag>,
    /// What may be done: `read`, `store`; anything where nothing is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<String>,
    /// What for: codes of HL7 v3 PurposeOfUse; anything where none is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub purposes: Vec<String>,
    /// Of what `purposes` cover, that for which it says nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_purposes: Vec<String>,
    /// Codes of HL7 v3 Confidentiality and of sensitivity; any where none is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// Types of resources and media types; any where none is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// Exceptions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Provision>,
}

impl Provision {
    /// One that nobody understands: it denies.
    pub fn unclear() -> Self {
        Self { is_unclear: true, ..Self::default() }
    }

    /// Whether it is about a purpose.
    pub fn is_for(&self, purpose: &str) -> bool {
        let is_covered = |code: &String| purpose::covers(code, purpose);
        (self.purposes.is_empty() || self.purposes.iter().any(is_covered))
            && self.not_purposes.iter().all(|code| code != purpose)
    }

    /// What is left of it if nothing of it permits; none if that says nothing.
    #[must_use]
    pub fn denials(&self) -> Option<Self> {
        if self.is_unclear || self.permits == Some(false) {
            return Some(Self { except: Vec::new(), ..self.clone() });
        }
        let except: Vec<_> = self.except.iter().filter_map(Self::denials).collect();
        (!except.is_empty()).then(|| Self { permits: None, except, ..self.clone() })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(n: u8) -> Tag {
        Tag::of(&[n; 32])
    }

    #[test]
    fn somebody_treats_a_patient_from_a_time_until_another() {
        let carer = |role, who, from, until| Carer { role, who: tag(who), from, until };
        let carers = vec![
            carer(Role::Referring, 1, 100, None),
            carer(Role::Attending, 1, 100, Some(200)),
            carer(Role::Attending, 2, 200, None),
        ];
        let stay = Stay { id: tag(9), until: 300, is_discharged: false, carers };
        let known = Known { stays: vec![stay], ..Known::default() };
        let of = |who, now| known.treated_as(&[tag(who)], now);
        assert_eq!(of(1, 99), []);
        assert_eq!(of(1, 100), [Role::Attending, Role::Referring]);
        assert_eq!(of(1, 200), [Role::Referring]);
        assert_eq!((of(2, 199), of(2, 299), of(2, 300)), (vec![], vec![Role::Attending], vec![]));
        assert!(!known.is_over(299) && known.is_over(300));
        assert_eq!(Known::decode(&known.encode()), Some(known.clone()));
        assert_eq!(Tag::parse(tag(1).as_str().as_bytes()), Some(tag(1)));
        assert_eq!(Tag::parse(b"4711"), None);
        assert_eq!(Known::decode(br#"{"v": 3, "stays": []}"#), None, "another version keeps other things");
    }

    #[test]
    fn of_a_consent_that_was_not_filed_only_the_denials_are_left() {
        let deny = || Provision { permits: Some(false), ..Provision::default() };
        let permit = |except| Provision { permits: Some(true), except, ..Provision::default() };
        let exception = Provision { purposes: vec!["HRESCH".into()], ..deny() };
        let denials = |of: Provision| of.denials();
        assert_eq!(denials(permit(vec![permit(vec![])])), None);
        assert_eq!(
            denials(permit(vec![exception.clone(), permit(vec![])])),
            Some(Provision { except: vec![exception], ..Provision::default() })
        );
        assert_eq!(denials(Provision { except: vec![permit(vec![])], ..deny() }), Some(deny()));
        assert_eq!(denials(Provision::unclear()), Some(Provision::unclear()));

        let of = |says: &str| {
            let id = tag(1).as_str().to_owned();
            format!(r#"{{"v": 1, "consents": [{{"id": "{id}", "says": {{"permits": {says}}}}}], "due": 0}}"#)
        };
        let read = |says: &str| Known::decode(of(says).as_bytes()).expect("it can be read").consents;
        assert_eq!(read("true"), []);
        assert_eq!(read("false"), [Consent { id: tag(1), says: deny() }]);
    }

    #[test]
    fn what_is_coded_is_one_thing_of_one_kind() {
        let all = [
            coded(Kind::Patient, "a", "bc"),
            coded(Kind::Patient, "ab", "c"),
            coded(Kind::Practitioner, "a", "bc"),
            coded(Kind::Patient, "a", "b"),
        ];
        assert!(all.iter().enumerate().all(|(n, of)| !all[..n].contains(of)));
    }
}
