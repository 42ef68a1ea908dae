//! The walk over a resource: each member is looked up in the table, and what is left of it is written.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::identifiers::Replaced;
use super::patients::Index;
use super::table::{self, Action, Row};
use super::{OCTETS_MAX, codes};
use crate::dates::Dates;
use crate::json::{Json, Members, member, write_raw, write_text};
use crate::texts::Texts;
use crate::{Config, Pseudonyms, Refusal, Staff, UnknownAttributes};

/// What an element says that is not there because it may not be known (FHIR R4, extension data-absent-reason).
const MASKED: &[u8] =
    br#"{"extension":[{"url":"http://hl7.org/fhir/StructureDefinition/data-absent-reason","valueCode":"masked"}]}"#;
/// Octets of what is left: elements that say that they are masked are longer than some that are not.
const LEFT_OCTETS_MAX: usize = OCTETS_MAX + (OCTETS_MAX >> 1);
/// A narrative that says that there is nothing in it.
const NARRATIVE: &[u8] = br#"{"status":"empty","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">-</div>"}"#;

/// Cleans one document.
pub(super) struct Cleaner<'c> {
    pub(super) config: &'c Config,
    pub(super) keys: &'c dyn Pseudonyms,
    pub(super) texts: Texts<'c>,
    pub(super) index: Index,
    /// The year from which ages are counted.
    pub(super) now: u16,
    /// The pseudonyms made so far, by domain and identifier: a bundle names its patient thousands of times.
    pub(super) made: RefCell<BTreeMap<(String, String), String>>,
}

/// What an element inherits from what it stands in.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) dates: Dates,
    /// Whether it is in a contained resource.
    is_contained: bool,
    /// The form of its codes, if their system is a published one.
    form: Option<crate::forms::Form>,
    /// What stands for the identifier that it is in.
    replaced: Option<Replaced>,
    /// What a reference's own identifier is in.
    domain: Option<&'static str>,
    /// Whether the value of the observation is an age.
    is_age: bool,
    /// What stands for the number of a quantity.
    pub(super) capped: Option<u16>,
    /// Whether it is in an address that may be one in the United States.
    pub(super) is_of_states: bool,
}

impl Cleaner<'_> {
    /// A pseudonym in a domain, made once.
    pub(super) fn made(
        &self,
        domain: &str,
        value: &str,
        make: impl Fn(&dyn Pseudonyms, &str, &[u8]) -> Result<String, Refusal>,
    ) -> Result<String, Refusal> {
        let key = (domain.to_owned(), value.to_owned());
        if let Some(made) = self.made.borrow().get(&key) {
            return Ok(made.clone());
        }
        let made = make(self.keys, domain, value.as_bytes())?;
        self.made.borrow_mut().insert(key, made.clone());
        Ok(made)
    }

    /// Writes what is left of a resource, of which at least its type is.
    pub(super) fn resource(
        &self,
        resource: &Json<'_>,
        scope: &Scope,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let name = resource.member("resourceType").and_then(Json::text);
        let kind = name.as_deref().and_then(table::resource_type).ok_or_else(|| {
            Refusal::new(
                "unsupported-resource",
                "a resource is of a type that nobody has described, or of none",
            )
        })?;
        let mut scope = Scope { is_contained: scope.is_contained, dates: scope.dates, ..Scope::default() };
        if !scope.is_contained {
            scope.dates = self.dates_of(resource, kind)?;
        }
        out.extend_from_slice(br#"{"resourceType":"#);
        write_text(kind, out);
        self.members(kind, resource.members(), &scope, out)?;
        out.push(b'}');
        Ok(())
    }

    /// Writes what is left of an element with elements; whether there is anything.
    fn object(&self, row: &Row, value: &Json<'_>, scope: &Scope, out: &mut Vec<u8>) -> Result<bool, Refusal> {
        let Json::Object(members) = value else { return Err(misplaced(row)) };
        let start = out.len();
        out.push(b'{');
        let is_empty = match self.scope_of(row, members, scope)? {
            Some(scope) => {
                self.members(row.kind, members, &scope, out)?;
                // A type says nothing of what nothing is left of.
                let only_type = row.kind == "Reference"
                    && out.get(start..).is_some_and(|written| {
                        written.starts_with(br#"{"type":"#) && !written.contains(&b',')
                    });
                out.len() == start + 1 || only_type
            }
            None => true,
        };
        if is_empty {
            out.truncate(start);
        } else {
            out.push(b'}');
        }
        Ok(!is_empty)
    }

    /// What the elements of an element inherit; nothing, if none of them may go on.
    fn scope_of(&self, row: &Row, members: &Members<'_>, scope: &Scope) -> Result<Option<Scope>, Refusal> {
        let text = |name| member(members, name).and_then(Json::text);
        let mut inner = Scope { dates: scope.dates, is_contained: scope.is_contained, ..Scope::default() };
        match row.kind {
            "Coding" | "Quantity" => {
                let form = text("system").and_then(|system| codes::form_of(&system, self.config));
                inner.form = form.filter(|form| text("code").is_some_and(|code| form.fits(&code)));
                inner.capped = scope.capped.or_else(|| super::values::capped_years(members));
                if inner.form.is_none() && row.kind == "Coding" {
                    return Ok(None);
                }
            }
            "Identifier" => {
                let domain = match row.action {
                    Action::Identifier(domain) => Some(domain),
                    _ => scope.domain,
                };
                let Some(domain) = domain else { return Ok(None) };
                inner.replaced = self.identifier(members, domain)?;
                if inner.replaced.is_none() {
                    return Ok(None);
                }
            }
            "Reference" => {
                inner.domain = self.domain_of_target(text("reference").as_deref(), text("type").as_deref());
            }
            "Address" => inner.is_of_states = text("country").is_none_or(|country| is_of_states(&country)),
            "Observation.component" => inner.is_age = is_age(members),
            _ => {}
        }
        Ok(Some(inner))
    }

    /// Writes what is left of the members of a container, each after a comma but for the first of an element.
    fn members(
        &self,
        container: &'static str,
        members: &Members<'_>,
        scope: &Scope,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let observation;
        let scope = if container == "Observation" {
            observation = Scope { is_age: is_age(members), ..scope.clone() };
            &observation
        } else {
            scope
        };
        for (name, value) in members {
            if *name == "resourceType" && table::resource_type(container).is_some() {
                continue;
            }
            let start = out.len();
            if out.last() != Some(&b'{') {
                out.push(b',');
            }
            let named = out.len();
            match table::find(container, name) {
                Some(row) => self.member(row, value, scope, out)?,
                None => self.other(container, name, members, out)?,
            }
            if out.len() == named {
                out.truncate(start);
            }
            if out.len() > LEFT_OCTETS_MAX {
                let reason = "what is left of a resource is longer than what is held in memory";
                return Err(Refusal::new("too-large", reason));
            }
        }
        Ok(())
    }

    /// A member without a row: what is said beside a primitive value, which goes, or what nobody knows.
    fn other(
        &self,
        container: &str,
        name: &str,
        members: &Members<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Refusal> {
        let beside = name.strip_prefix('_').and_then(|plain| table::find(container, plain));
        match beside.filter(|row| row.is_primitive()) {
            Some(row) if member(members, row.member).is_none() => {
                mask(row, out);
                Ok(())
            }
            Some(_) => Ok(()),
            None if self.config.unknown_attributes == UnknownAttributes::Quarantine => {
                let reason = format!("{container} has a member that R4 does not define");
                Err(Refusal::new("unknown-element", reason))
            }
            None => Ok(()),
        }
    }

    /// Writes a member with its name, if anything of it is left or has to be.
    fn member(&self, row: &Row, value: &Json<'_>, scope: &Scope, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let start = out.len();
        write_raw(row.member, out);
        out.push(b':');
        if !self.values(row, value, scope, out)? {
            out.truncate(start);
            if row.action == Action::Masked {
                mask_always(row, out);
            } else {
                mask(row, out);
            }
        }
        Ok(())
    }

    /// Writes what is left of a value or a list of values; whether there is anything.
    fn values(&self, row: &Row, value: &Json<'_>, scope: &Scope, out: &mut Vec<u8>) -> Result<bool, Refusal> {
        let goes = matches!(row.action, Action::Remove | Action::Masked) && self.text_rule(row).is_none();
        let elements = match (row.is_list, value) {
            _ if goes => return Ok(false),
            (true, Json::Array(elements)) => elements,
            (false, Json::Array(_)) | (true, _) => return Err(misplaced(row)),
            (false, value) => return self.value(row, value, scope, out),
        };
        let start = out.len();
        out.push(b'[');
        for element in elements {
            let before = out.len();
            if before > start + 1 {
                out.push(b',');
            }
            if !self.value(row, element, scope, out)? {
                out.truncate(before);
            }
        }
        out.push(b']');
        Ok(out.len() > start + 2)
    }

    /// Writes what is left of one value; whether there is anything.
    fn value(&self, row: &Row, value: &Json<'_>, scope: &Scope, out: &mut Vec<u8>) -> Result<bool, Refusal> {
        if let Some(rule) = self.text_rule(row) {
            return self.free_text(rule, row, value, out);
        }
        match row.action {
            Action::Refuse => {
                let reason = format!("{}.{} changes the meaning of what it is in", row.container, row.member);
                Err(Refusal::new("modifier-extension", reason))
            }
            Action::Resource => {
                let is_contained = scope.is_contained || row.member == "contained";
                self.resource(value, &Scope { is_contained, ..scope.clone() }, out)?;
                Ok(true)
            }
            Action::Narrative => {
                out.extend_from_slice(NARRATIVE);
                Ok(true)
            }
            Action::Staff if self.config.staff == Staff::Keep => Ok(write_without_extensions(value, out)),
            Action::Staff => Ok(false),
            Action::Age => self.age(row, value, scope, out),
            Action::Value if scope.is_age => self.age(row, value, scope, out),
            Action::Value if row.is_primitive() => self.primitive(Action::Number, row, value, scope, out),
            Action::Clean | Action::Value | Action::Identifier(_) | Action::IdentifierOfTarget => {
                self.object(row, value, scope, out)
            }
            action => self.primitive(action, row, value, scope, out),
        }
    }

    /// An age, of which none over 89 goes on as it is.
    fn age(&self, row: &Row, value: &Json<'_>, scope: &Scope, out: &mut Vec<u8>) -> Result<bool, Refusal> {
        match (row.kind, value) {
            ("Quantity", Json::Object(members)) => match super::values::capped(members) {
                Some(capped) => self.object(row, value, &Scope { capped, ..scope.clone() }, out),
                None => Ok(false),
            },
            ("integer", Json::Number(age)) => {
                let age = age.parse().unwrap_or(super::values::AGE_MAX).min(super::values::AGE_MAX);
                out.extend_from_slice(age.to_string().as_bytes());
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// The system and the code of a coding or quantity, if they go on.
    pub(super) fn coding(&self, row: &Row, scope: &Scope) -> bool {
        matches!(row.member, "system" | "code") && scope.form.is_some()
    }

    /// What stands for the identifier that a value is in.
    pub(super) fn replaced<'s>(&self, row: &Row, scope: &'s Scope) -> Option<&'s str> {
        let replaced = scope.replaced.as_ref()?;
        if row.member == "system" { replaced.system.as_deref() } else { Some(&replaced.value) }
    }

    /// Whether what is cleaned is in a contained resource.
    pub(super) fn is_contained(&self, scope: &Scope) -> bool {
        scope.is_contained
    }
}

/// Says that an element is masked, if R4 requires it.
fn mask(row: &Row, out: &mut Vec<u8>) {
    if row.is_required {
        mask_always(row, out);
    }
}

fn mask_always(row: &Row, out: &mut Vec<u8>) {
    let beside = if row.is_primitive() { "_" } else { "" };
    write_raw(&format!("{beside}{}", row.member), out);
    let (begin, end): (&[u8], &[u8]) = if row.is_list { (b":[", b"]") } else { (b":", b"") };
    for part in [begin, MASKED, end] {
        out.extend_from_slice(part);
    }
}

/// Writes a value as it is, but for extensions and what is said beside primitive values.
pub(super) fn write_without_extensions(value: &Json<'_>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    match value {
        Json::Null => return false,
        Json::Boolean(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Json::Number(number) => out.extend_from_slice(number.as_bytes()),
        Json::Text(raw) => write_raw(raw, out),
        Json::Array(elements) => {
            out.push(b'[');
            for element in elements {
                let before = out.len();
                if before > start + 1 {
                    out.push(b',');
                }
                if !write_without_extensions(element, out) {
                    out.truncate(before);
                }
            }
            out.push(b']');
        }
        Json::Object(members) => {
            out.push(b'{');
            for (name, member) in
                members.iter().filter(|(name, _)| *name != "extension" && !name.starts_with('_'))
            {
                let before = out.len();
                if before > start + 1 {
                    out.push(b',');
                }
                write_raw(name, out);
                out.push(b':');
                if !write_without_extensions(member, out) {
                    out.truncate(before);
                }
            }
            out.push(b'}');
        }
    }
    let is_empty = matches!(value, Json::Array(_) | Json::Object(_)) && out.len() == start + 2;
    if is_empty {
        out.truncate(start);
    }
    !is_empty
}

pub(super) fn misplaced(row: &Row) -> Refusal {
    Refusal::new("invalid-fhir", format!("{}.{} is not of its type", row.container, row.member))
}

/// Whether the code of an observation says that its value is an age.
fn is_age(observation: &Members<'_>) -> bool {
    let Some(concept) = member(observation, "code") else { return false };
    let codings = concept.member("coding").map(Json::each).unwrap_or_default();
    let of_codings = codings.iter().flat_map(|coding| [coding.member("code"), coding.member("display")]);
    of_codings
        .chain([concept.member("text")])
        .flatten()
        .filter_map(Json::text)
        .any(|text| crate::ages::is_code(text.as_bytes()) || crate::ages::are_words(&text))
}

fn is_of_states(country: &str) -> bool {
    let country = country.trim();
    ["US", "USA", "840", "United States", "United States of America"]
        .iter()
        .any(|name| name.eq_ignore_ascii_case(country))
}
