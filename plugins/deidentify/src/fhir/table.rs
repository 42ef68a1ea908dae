//! The table of elements, made by `build.rs` from `data/fhir-r4-elements.tsv` and `data/fhir-r4-codes.tsv`.

include!(concat!(env!("OUT_DIR"), "/fhir.rs"));

/// What happens to an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It goes; where R4 requires it, it is said to be masked.
    Remove,
    /// It goes, and is said to be masked.
    Masked,
    /// The whole resource is refused.
    Refuse,
    /// It is cleaned element by element.
    Clean,
    /// A resource, contained or in a bundle.
    Resource,
    /// A logical identifier becomes that of its pseudonym.
    Id,
    /// An identifier becomes a pseudonym in a domain.
    Identifier(&'static str),
    /// The identifier of what a reference refers to.
    IdentifierOfTarget,
    /// The system of an identifier.
    System,
    /// The value of an identifier.
    ValueOfIdentifier,
    /// A string that is a patient's identifier.
    Patient,
    /// A string becomes a pseudonym in a domain.
    Pseudonym(&'static str),
    /// A unique identifier of DICOM.
    Uid,
    /// The literal reference to another resource.
    Reference,
    /// The type of what a reference refers to.
    ResourceType,
    /// The address of a bundle's entry.
    FullUrl,
    /// The address of a request or a response, relative to the server.
    RequestUrl,
    /// The code of an HTTP status without its text.
    HttpStatus,
    /// A date, time or both.
    Date,
    /// A time that has to be known to the second.
    Instant,
    /// A date of birth.
    Birth,
    /// A duration that is an age.
    Age,
    /// The value of an observation, which may be an age.
    Value,
    /// `true` or `false`.
    Boolean,
    /// A number.
    Number,
    /// One of the codes of a value set.
    Codes(&'static [&'static str]),
    /// A code and the system that it is of: what is published goes on.
    Coding,
    /// A unit, as people read it.
    Unit,
    /// A code of ISO 4217.
    Currency,
    /// A code of BCP 47.
    Language,
    /// A media type.
    Mime,
    /// An address of HL7.
    PublicUri,
    /// A state or a country.
    Region,
    /// A postal code.
    Postal,
    /// A narrative that says that it is empty.
    Narrative,
    /// Something about a person who treats the patient: what the configuration says.
    Staff,
    /// A text stands for it.
    Text(&'static str),
}

/// An element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    /// The type that it is an element of, or the path of the element that it is in.
    pub(super) container: &'static str,
    /// What it is called in JSON.
    pub(super) member: &'static str,
    /// Its type, which is the container of its own elements.
    pub(super) kind: &'static str,
    /// Whether there has to be one.
    pub(super) is_required: bool,
    /// Whether there may be several.
    pub(super) is_list: bool,
    /// What happens to it.
    pub(super) action: Action,
}

impl Row {
    /// Whether its type is primitive (FHIR R4, 2.24.0.1).
    pub(super) fn is_primitive(&self) -> bool {
        self.kind.starts_with(|first: char| first.is_ascii_lowercase())
    }
}

/// The element of a container that is called so in JSON.
pub(super) fn find(container: &str, member: &str) -> Option<&'static Row> {
    let found = ROWS.binary_search_by(|row| (row.container, row.member).cmp(&(container, member)));
    found.ok().and_then(|index| ROWS.get(index))
}

/// The name of a resource type, if it has rows.
pub(super) fn resource_type(name: &str) -> Option<&'static str> {
    find(name, "implicitRules").map(|row| row.container)
}

/// The domain of the identifiers of a resource type.
pub(super) fn domain(resource_type: &str) -> Option<&'static str> {
    match find(resource_type, "identifier")?.action {
        Action::Identifier(domain) => Some(domain),
        _ => None,
    }
}

/// All of it, for tests.
#[cfg(test)]
pub(super) fn rows() -> &'static [Row] {
    &ROWS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_found_and_what_it_is_made_of_has_rows() {
        assert!(ROWS.len() > 2000);
        for row in &ROWS {
            assert_eq!(find(row.container, row.member).unwrap().kind, row.kind);
            let is_looked_into = matches!(row.action, Action::Clean | Action::Identifier(_) | Action::Age);
            if is_looked_into {
                let has_rows = ROWS.iter().any(|other| other.container == row.kind);
                assert!(has_rows && !row.is_primitive(), "{row:?}");
            }
        }
        assert_eq!(resource_type("Patient"), Some("Patient"));
        assert_eq!(resource_type("Patient.contact"), None);
        assert_eq!(resource_type("Questionnaire"), None);
        assert_eq!(domain("Patient"), Some(crate::pseudonym::PATIENT));
        assert_eq!(domain("Practitioner"), Some(crate::pseudonym::STAFF));
        assert_eq!(domain("Account"), Some(crate::pseudonym::ACCOUNT));
    }
}
