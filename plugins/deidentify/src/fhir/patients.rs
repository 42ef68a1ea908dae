//! Whose a resource is, which says by how much its dates are shifted.

use std::collections::{BTreeMap, BTreeSet};

use super::elements::Cleaner;
use super::references::{Target, target};
use crate::dates::Dates;
use crate::json::Json;
use crate::{Config, MessageDates, Refusal};

/// The members that name whom a resource is about, where it names several patients.
const SUBJECTS: [&str; 3] = ["subject", "patient", "beneficiary"];

/// What a document says of its entries and patients.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The entries of a bundle that are named by `urn:uuid:` alone, and the type and logical identifier of each.
    entries: BTreeMap<String, (String, Option<String>)>,
    /// The identifier of each patient by which dates are shifted.
    identifiers: BTreeMap<String, String>,
}

impl Index {
    /// Looks through a document.
    pub(super) fn of(document: &Json<'_>, config: &Config) -> Index {
        let mut index = Index::default();
        let entries = document.member("entry").map(Json::each).unwrap_or_default();
        for entry in entries {
            let Some(resource) = entry.member("resource") else { continue };
            let name = entry.member("fullUrl").and_then(Json::text);
            index.note(resource, name.as_deref(), config);
        }
        index.note(document, None, config);
        index
    }

    fn note(&mut self, resource: &Json<'_>, name: Option<&str>, config: &Config) {
        let text = |member| resource.member(member).and_then(Json::text);
        let id = text("id").map(std::borrow::Cow::into_owned);
        let kind = text("resourceType").unwrap_or_default();
        if let Some(Target::Uuid(uuid)) = name.map(target) {
            self.entries.insert(uuid.to_ascii_lowercase(), (kind.clone().into_owned(), id.clone()));
        }
        if kind == "Patient"
            && let (Some(id), Some(identifier)) = (id, identifier_of(resource, config))
        {
            self.identifiers.insert(id, identifier);
        }
    }

    /// The type and the logical identifier of the entry that a UUID names.
    pub(super) fn entry(&self, uuid: &str) -> Option<(&str, Option<&str>)> {
        let (kind, id) = self.entries.get(&uuid.to_ascii_lowercase())?;
        Some((kind, id.as_deref()))
    }
}

/// The patient's identifier of the system that the configuration names.
fn identifier_of(resource: &Json<'_>, config: &Config) -> Option<String> {
    let system = config.patient_system.as_deref()?;
    let identifiers = resource.member("identifier").map(Json::each).unwrap_or_default();
    let of_system = |identifier: &&Json<'_>| {
        identifier.member("system").and_then(Json::text).is_some_and(|found| found == system)
    };
    let value = identifiers.iter().find(of_system)?.member("value")?.text()?;
    Some(value.into_owned())
}

impl Cleaner<'_> {
    /// What happens to the dates of a resource. Dates of nobody, such as when an organisation was entered, are reduced.
    pub(super) fn dates_of(&self, resource: &Json<'_>, kind: &str) -> Result<Dates, Refusal> {
        if self.config.message_dates == MessageDates::Year {
            return Ok(Dates::Year);
        }
        let patients = self.patients_of(resource, kind);
        let only = match patients.len() {
            0 => return Ok(Dates::Year),
            1 => patients.into_iter().next().flatten(),
            _ if kind == "Bundle" => return Ok(Dates::Year),
            _ => self.subject_of(resource),
        };
        Dates::of_patient(only.as_deref().unwrap_or_default().as_bytes(), self.config, self.keys)
    }

    /// The patients whom a resource is about, each by what its dates are shifted by; none for one of whom that is not known.
    fn patients_of(&self, resource: &Json<'_>, kind: &str) -> BTreeSet<Option<String>> {
        let mut patients = BTreeSet::new();
        if kind == "Patient" {
            patients.insert(self.patient(resource));
        } else {
            self.note_patients(resource, resource, &mut patients);
        }
        patients
    }

    fn note_patients(&self, value: &Json<'_>, resource: &Json<'_>, patients: &mut BTreeSet<Option<String>>) {
        if value.member("resourceType").and_then(Json::text).is_some_and(|kind| kind == "Patient") {
            patients.insert(self.patient(value));
        }
        if let Some(patient) = self.referred(value, resource) {
            patients.insert(patient);
        }
        match value {
            Json::Array(elements) => {
                elements.iter().for_each(|element| self.note_patients(element, resource, patients));
            }
            Json::Object(members) => {
                members.iter().for_each(|(_, member)| self.note_patients(member, resource, patients));
            }
            _ => {}
        }
    }

    /// The patient that the first of the members names that name one.
    fn subject_of(&self, resource: &Json<'_>) -> Option<String> {
        let subjects = SUBJECTS.iter().filter_map(|name| resource.member(name));
        subjects.filter_map(|subject| self.referred(subject, resource)).next().flatten()
    }

    /// What the dates of a Patient are shifted by.
    fn patient(&self, patient: &Json<'_>) -> Option<String> {
        match self.config.patient_system {
            Some(_) => identifier_of(patient, self.config),
            None => patient.member("id").and_then(Json::text).map(std::borrow::Cow::into_owned),
        }
    }

    /// The patient whom a reference refers to; none if it refers to somebody or something else.
    fn referred(&self, reference: &Json<'_>, resource: &Json<'_>) -> Option<Option<String>> {
        let is_patient = |kind: &Json<'_>| kind.text().is_some_and(|kind| kind == "Patient");
        let typed = reference.member("type").is_some_and(is_patient);
        let Some(literal) = reference.member("reference").and_then(Json::text) else {
            // A logical reference (FHIR R4, 2.3.0.3), to a patient or to what it does not say.
            return typed.then(|| identifier_of(reference, self.config));
        };
        let id = match target(&literal) {
            Target::Resource { kind: "Patient", id, .. } => id.to_owned(),
            Target::Uuid(uuid) => match self.index.entry(uuid) {
                Some(("Patient", Some(id))) => id.to_owned(),
                Some(("Patient", None)) => uuid.to_ascii_lowercase(),
                None if typed => uuid.to_ascii_lowercase(),
                _ => return None,
            },
            Target::Contained(id) => {
                return contained_patient(resource, id).map(|patient| self.patient(patient));
            }
            // A query for a patient, who is not known before it is made.
            _ if typed || literal.contains("Patient") => return Some(None),
            _ => return None,
        };
        if self.config.patient_system.is_none() {
            return Some(Some(id));
        }
        Some(self.index.identifiers.get(&id).cloned().or_else(|| identifier_of(reference, self.config)))
    }
}

fn contained_patient<'r, 'a>(resource: &'r Json<'a>, id: &str) -> Option<&'r Json<'a>> {
    let contained = resource.member("contained").map(Json::each).unwrap_or_default();
    let is = |one: &Json<'_>, member, value: &str| {
        one.member(member).and_then(Json::text).is_some_and(|found| found == value)
    };
    contained.iter().find(|one| is(one, "resourceType", "Patient") && is(one, "id", id))
}
