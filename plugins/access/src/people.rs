//! Who principals are where patients are treated, and who opted out: two texts in JSON that a hospital keeps beside its policies.
//!
//! ```json
//! [
//!   {"principal": "spiffe://st-marys/person/lee", "practitioners": [{"authority": "st-marys", "value": "D17"}]},
//!   {"role": "nurse-4-west", "places": ["4-WEST"]},
//!   {"stakeholder": "research", "actors": ["Organization/research-institute"]}
//! ]
//! ```
//!
//! ```json
//! [{"authority": "st-marys", "value": "4711", "purposes": ["HRESCH"]}]
//! ```

use std::collections::{BTreeMap, BTreeSet};

use hilum_formats::care::{Kind, Provision, coded};
use hilum_formats::patient::{Authorities, Identifier};
use hilum_formats::purpose;
use hilum_plugin::{ConfigError, Party};
use serde::Deserialize;

/// Entries of one text.
const ENTRIES_MAX: usize = 100_000;
/// Different actors of one text.
const ACTORS_MAX: usize = 10_000;
/// As whom one party may treat.
const NAMES_MAX: usize = 256;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    #[serde(default)]
    principal: Option<String>,
    #[serde(default)]
    stakeholder: Option<String>,
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    practitioners: Vec<Number>,
    #[serde(default)]
    places: Vec<String>,
    #[serde(default)]
    actors: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Number {
    authority: String,
    value: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OptOut {
    authority: String,
    value: String,
    #[serde(default)]
    purposes: Vec<String>,
}

/// Who principals are where patients are treated.
#[derive(Debug, Default)]
pub(crate) struct People(Vec<Person>);

/// What a party is named as, in octets to be coded.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// Those who treat: practitioners and places.
    pub(crate) carers: Vec<Vec<u8>>,
    /// Those whom consents are about.
    pub(crate) actors: Vec<Vec<u8>>,
}

impl People {
    /// Reads the text.
    ///
    /// # Errors
    ///
    /// If it is not of that shape, or an entry is of nobody or of several.
    pub(crate) fn read(text: &str) -> Result<Self, ConfigError> {
        let people: Vec<Person> = read(text, "/people")?;
        let is_one = |person: &Person| {
            [&person.principal, &person.stakeholder, &person.role].into_iter().flatten().count() == 1
        };
        if let Some(at) = people.iter().position(|person| !is_one(person)) {
            let reason = format!("entry {at} has to name one of `principal`, `stakeholder` and `role`");
            return Err(ConfigError::new("/people", reason));
        }
        let people = Self(people);
        if people.actors().len() > ACTORS_MAX {
            return Err(ConfigError::new("/people", format!("there are over {ACTORS_MAX} different actors")));
        }
        Ok(people)
    }

    /// Whom consents call anybody at all.
    pub(crate) fn actors(&self) -> Vec<Vec<u8>> {
        let actors: BTreeSet<&str> =
            self.0.iter().flat_map(|person| &person.actors).map(String::as_str).collect();
        actors.into_iter().map(|actor| coded(Kind::Actor, "", actor)).collect()
    }

    /// What a party is named as.
    pub(crate) fn names(&self, of: &Party) -> Names {
        let mut names = Names::default();
        let is = |person: &&Person| {
            person.principal.as_ref().is_some_and(|principal| *principal == of.principal)
                || person.stakeholder.as_ref().is_some_and(|stakeholder| *stakeholder == of.stakeholder)
                || person.role.as_ref().is_some_and(|role| of.roles.contains(role))
        };
        for person in self.0.iter().filter(is) {
            let numbers = person.practitioners.iter();
            let numbers = numbers.map(|of| coded(Kind::Practitioner, &of.authority, &of.value));
            let places = person.places.iter().map(|place| coded(Kind::Place, "", place));
            names.carers.extend(numbers.chain(places));
            names.actors.extend(person.actors.iter().map(|actor| coded(Kind::Actor, "", actor)));
        }
        names.carers.truncate(NAMES_MAX);
        // Of these none may be left out: who is described and is not found here is somebody else.
        names.actors.sort_unstable();
        names.actors.dedup();
        names
    }
}

/// Who opted out. No `Debug`: it names patients.
#[derive(Default)]
pub(crate) struct OptOuts(BTreeMap<Identifier, Provision>);

impl std::fmt::Debug for OptOuts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OptOuts(of {} identifiers)", self.0.len())
    }
}

impl OptOuts {
    /// Reads the text.
    ///
    /// # Errors
    ///
    /// If it is not of that shape, or names an authority or a purpose that there is not.
    pub(crate) fn read(text: &str, authorities: &Authorities) -> Result<Self, ConfigError> {
        let fault = |at: usize, what: &str| ConfigError::new("/opt_outs", format!("entry {at}: {what}"));
        let mut out = BTreeMap::new();
        for (at, OptOut { authority, value, purposes }) in
            read::<OptOut>(text, "/opt_outs")?.into_iter().enumerate()
        {
            let identifier = authorities
                .identifier(&[&authority], &value)
                .ok_or_else(|| fault(at, "the authority is none of `patients.identifiers`"))?;
            if !purposes.iter().all(|code| purpose::CODES.contains(&code.as_str())) {
                return Err(fault(at, "`purposes` are codes of HL7 v3 PurposeOfUse"));
            }
            let says = Provision { permits: Some(false), purposes, ..Provision::default() };
            if out.insert(identifier, says).is_some() {
                return Err(fault(at, "this patient is there twice"));
            }
        }
        Ok(Self(out))
    }

    /// What these identifiers' patient opted out of.
    pub(crate) fn of<'a>(&'a self, patient: &'a [Identifier]) -> impl Iterator<Item = &'a Provision> {
        patient.iter().filter_map(|identifier| self.0.get(identifier))
    }
}

/// An array of entries. What is wrong is told by its place, because the text may name patients.
fn read<T: for<'de> Deserialize<'de>>(text: &str, key: &str) -> Result<Vec<T>, ConfigError> {
    let entries: Vec<T> = serde_json::from_str(text).map_err(|error| {
        ConfigError::new(
            key,
            format!("line {}, column {}: not as it should be", error.line(), error.column()),
        )
    })?;
    if entries.len() > ENTRIES_MAX {
        return Err(ConfigError::new(key, format!("there are over {ENTRIES_MAX} entries")));
    }
    Ok(entries)
}
