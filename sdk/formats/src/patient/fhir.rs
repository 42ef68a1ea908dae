//! Patients in FHIR R4: Patient.identifier, and the references that other resources have to a Patient (2.3.0 "References").

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Authorities, Identifier, distinct};
use crate::strict_json;

/// The members that say whom a resource is about.
const SUBJECTS: [&str; 4] = ["subject", "patient", "beneficiary", "for"];
/// Entries of one bundle.
const ENTRIES_MAX: usize = 4096;

/// The identifiers of the patient whom a resource, or each resource of a bundle, is about; none if they are about several, about nobody,
/// or about one who is not known.
pub fn of_fhir(text: &[u8], authorities: &Authorities) -> Option<Vec<Identifier>> {
    let document = strict_json::parse(text)?;
    let index = Index::of(&document, authorities);
    let mut found: Option<Vec<Identifier>> = None;
    for resource in resources(&document)? {
        let of = index.patient_of(resource)?;
        if *found.get_or_insert_with(|| of.clone()) != of {
            return None;
        }
    }
    found
}

/// The resource, or those of a bundle.
fn resources(document: &Value) -> Option<Vec<&Value>> {
    if kind(document) != "Bundle" {
        return Some(vec![document]);
    }
    let entries = document.get("entry")?.as_array().filter(|entries| entries.len() <= ENTRIES_MAX)?;
    entries.iter().map(|entry| entry.get("resource")).collect()
}

fn kind(of: &Value) -> &str {
    of.get("resourceType").and_then(Value::as_str).unwrap_or_default()
}

/// The Patients of a document, by what references call them.
pub struct Index<'a> {
    authorities: &'a Authorities,
    patients: BTreeMap<String, Option<Vec<Identifier>>>,
}

impl<'a> Index<'a> {
    /// Looks through a document.
    pub fn of(document: &Value, authorities: &'a Authorities) -> Self {
        let mut index = Self { authorities, patients: BTreeMap::new() };
        let entries = document.get("entry").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for entry in entries.iter().take(ENTRIES_MAX) {
            let Some(patient) = entry.get("resource").filter(|of| kind(of) == "Patient") else { continue };
            let identifiers = index.identifiers(patient);
            let id = patient.get("id").and_then(Value::as_str).map(|id| format!("Patient/{id}"));
            let url = entry.get("fullUrl").and_then(Value::as_str).map(str::to_owned);
            for name in id.into_iter().chain(url) {
                // Two Patients of one name are nobody.
                let of = index.patients.entry(name).or_insert_with(|| identifiers.clone());
                if *of != identifiers {
                    *of = None;
                }
            }
        }
        index
    }

    /// The identifiers of the patient whom a resource is about.
    pub fn patient_of(&self, resource: &Value) -> Option<Vec<Identifier>> {
        if kind(resource) == "Patient" {
            return self.identifiers(resource);
        }
        let mut subjects = SUBJECTS.iter().filter_map(|name| resource.get(name));
        let subject = subjects.next()?;
        if subjects.next().is_some() {
            return None;
        }
        self.referred(subject, resource)
    }

    /// Of a Patient: its identifiers, and its logical one.
    fn identifiers(&self, patient: &Value) -> Option<Vec<Identifier>> {
        let stated =
            patient.get("identifier").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let stated = stated.iter().filter_map(|identifier| self.identifier(identifier));
        let own = patient.get("id").and_then(Value::as_str).and_then(|id| self.logical(id));
        distinct(stated.chain(own))
    }

    fn identifier(&self, of: &Value) -> Option<Identifier> {
        let text = |name: &str| of.get(name).and_then(Value::as_str);
        self.authorities.identifier(&[text("system").unwrap_or_default()], text("value")?)
    }

    fn logical(&self, id: &str) -> Option<Identifier> {
        let authority = self.authorities.references.as_deref()?;
        self.authorities.identifier(&[authority], id)
    }

    /// The patient whom a Reference refers to.
    fn referred(&self, reference: &Value, resource: &Value) -> Option<Vec<Identifier>> {
        let stated = reference.get("identifier").and_then(|of| self.identifier(of));
        let Some(literal) = reference.get("reference").and_then(Value::as_str) else {
            return distinct(stated);
        };
        if let Some(id) = literal.strip_prefix('#') {
            let contained = resource.get("contained")?.as_array()?;
            let is = |of: &&Value| kind(of) == "Patient" && of.get("id").and_then(Value::as_str) == Some(id);
            let patient = contained.iter().find(is)?;
            let own =
                patient.get("identifier").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            return distinct(own.iter().filter_map(|of| self.identifier(of)).chain(stated));
        }
        if let Some(known) = self.patients.get(literal) {
            return known.clone();
        }
        // An absolute one is on some server, whose Patients may have the same logical identifiers as others on this one.
        let id = literal.strip_prefix("Patient/")?;
        let id = id.split("/_history/").next().unwrap_or(id);
        if let Some(known) = self.patients.get(&format!("Patient/{id}")) {
            return known.clone();
        }
        distinct(self.logical(id).into_iter().chain(stated))
    }
}
