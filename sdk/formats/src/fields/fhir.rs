//! Elements of FHIR resources in JSON, e.g. `Patient.birthDate` (FHIR R4, 2.6.2).
//!
//! In the place of an element is an element of the same name that has nothing but an extension with [`EXTENSION`] for its URL and a
//! text for its value. Any element may have extensions, and one that has some needs no value (rule `ele-1`), so the resource stays
//! valid where the element itself has no parts that R4 demands; a narrative, which has two, says that it is empty.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::NameError;

/// The URL of the extension that holds what stands for an element.
pub const EXTENSION: &str = "urn:hilum:fhir:sealed-element";
/// How deep objects and arrays may be in each other.
pub const DEPTH_MAX: usize = 64;
/// Octets of a resource, at most.
pub const OCTETS_MAX: usize = 16 << 20;

/// What says what a resource is, or is made of extensions itself.
const STRUCTURE: [&str; 7] =
    ["resourceType", "id", "meta", "contained", "resource", "extension", "modifierExtension"];
/// The narrative that stands for one, beside its extension.
const EMPTY_NARRATIVE: &str =
    r#""status":"empty","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">sealed</div>""#;

/// An element of every resource of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    resource: String,
    elements: Vec<String>,
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut parts = text.split('.').map(str::to_owned);
        let resource = parts.next().unwrap_or_default();
        let elements: Vec<String> = parts.collect();
        let is_word = |word: &str, first: fn(&char) -> bool| {
            word.starts_with(|c| first(&c)) && word.chars().all(|c| c.is_ascii_alphanumeric())
        };
        let is_element = |element: &String| {
            is_word(element.strip_suffix("[x]").unwrap_or(element), char::is_ascii_lowercase)
        };
        if !is_word(&resource, char::is_ascii_uppercase) || !elements.iter().all(is_element) {
            return Err(NameError::Fhir);
        }
        match elements.last() {
            None => Err(NameError::Fhir),
            Some(last) if STRUCTURE.contains(&last.as_str()) => Err(NameError::Structure(text.into())),
            Some(_) => Ok(Self { resource, elements }),
        }
    }
}

/// Whether an element's name in JSON is meant: `value[x]` means `valueString` and all others of the choice.
fn is_meant(name: &str, element: &str) -> bool {
    match name.strip_suffix("[x]") {
        Some(choice) => element
            .strip_prefix(choice)
            .is_some_and(|kind| kind.starts_with(|first: char| first.is_ascii_uppercase())),
        None => name == element,
    }
}

/// Why elements were not replaced. Holds nothing of the resource.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError<E> {
    /// Not JSON.
    #[error(
        "the body is no JSON: line {line}, column {column}; send FHIR resources as `application/fhir+json`"
    )]
    Malformed {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// JSON, but no resource.
    #[error("the body is no FHIR resource in JSON: {0}")]
    NotAResource(&'static str),
    /// The visitor's.
    #[error(transparent)]
    Visit(E),
}

/// Replaces the named elements by what `visit` gives for a place and the members of the element: a JSON object of one member, or of two
/// where a primitive has its own extensions (`birthDate` and `_birthDate`).
///
/// # Errors
/// Where `text` is no resource, and the visitor's.
pub fn replace<E>(
    text: &[u8],
    names: &[Name],
    mut visit: impl FnMut(&str, &str) -> Result<Option<String>, E>,
) -> Result<Vec<u8>, FieldsError<E>> {
    let mut element = |place: &Place<'_>, element: &Element<'_>| {
        if !place.is_named(names, element.name) {
            return Ok(None);
        }
        let made = visit(&place.of(element.name), &element.object()).map_err(FieldsError::Visit)?;
        Ok(made.map(|with| element.holding(&with)))
    };
    walk(text, &mut element)
}

/// Replaces the elements of which [`replace`] put something there, by what `visit` gives for a place and that something: the object of
/// members that once stood there.
///
/// # Errors
/// Where `text` is no resource, or what the visitor gives has other members; and the visitor's.
pub fn restore<E>(
    text: &[u8],
    mut visit: impl FnMut(&str, &str) -> Result<Option<Vec<u8>>, E>,
) -> Result<Vec<u8>, FieldsError<E>> {
    let mut element = |place: &Place<'_>, element: &Element<'_>| {
        let Some(held) = element.held() else { return Ok(None) };
        let Some(was) = visit(&place.of(element.name), &held).map_err(FieldsError::Visit)? else {
            return Ok(None);
        };
        let other = FieldsError::NotAResource("what was put in the place of an element is another one");
        let Ok(Members(was)) = serde_json::from_slice(&was) else { return Err(other) };
        let is_same = |(name, _): &(String, &RawValue)| name.trim_start_matches('_') == element.name;
        if was.is_empty() || !was.iter().all(is_same) {
            return Err(other);
        }
        Ok(Some(was.iter().map(|(name, value)| (name.clone(), value.get().to_owned())).collect()))
    };
    walk(text, &mut element)
}

/// Members of an object, by name.
type Replacement = Vec<(String, String)>;
type Visit<'v, E> =
    &'v mut dyn FnMut(&Place<'_>, &Element<'_>) -> Result<Option<Replacement>, FieldsError<E>>;

fn walk<E>(text: &[u8], visit: Visit<'_, E>) -> Result<Vec<u8>, FieldsError<E>> {
    if text.len() > OCTETS_MAX {
        return Err(FieldsError::NotAResource("it has over 16 MiB"));
    }
    let root: &RawValue = serde_json::from_slice(text)
        .map_err(|error| FieldsError::Malformed { line: error.line(), column: error.column() })?;
    let mut out = String::with_capacity(text.len());
    value(root, &Place::Root, 0, visit, &mut out)?;
    Ok(out.into_bytes())
}

/// Writes a value with its replacements.
fn value<E>(
    raw: &RawValue,
    place: &Place<'_>,
    depth: usize,
    visit: Visit<'_, E>,
    out: &mut String,
) -> Result<(), FieldsError<E>> {
    let text = raw.get();
    if depth == DEPTH_MAX {
        return Err(FieldsError::NotAResource("objects and arrays are more than 64 deep"));
    }
    if text.starts_with('[') {
        let items: Vec<&RawValue> =
            serde_json::from_str(text).map_err(|_| FieldsError::NotAResource("an array is none"))?;
        out.push('[');
        for (index, item) in items.into_iter().enumerate() {
            separate(index, out);
            value(item, &Place::Item(place, index), depth + 1, visit, out)?;
        }
        out.push(']');
        return Ok(());
    }
    if !text.starts_with('{') {
        if depth == 0 {
            return Err(FieldsError::NotAResource("it is no object"));
        }
        out.push_str(text);
        return Ok(());
    }
    let Members(members) =
        serde_json::from_str(text).map_err(|_| FieldsError::NotAResource("an object has a member twice"))?;
    let resource = members.iter().find(|(name, _)| name == "resourceType");
    let resource = resource.and_then(|(_, raw)| serde_json::from_str::<String>(raw.get()).ok());
    let place = match &resource {
        Some(kind) => &Place::Resource(place, kind),
        None if depth == 0 => return Err(FieldsError::NotAResource("it has no `resourceType`")),
        None => place,
    };
    out.push('{');
    let mut written = 0;
    for element in elements(&members) {
        if let Some(replacement) = visit(place, &element)? {
            for (name, with) in replacement {
                separate(written, out);
                written += 1;
                let _ = write!(out, "{}:{with}", quoted(&name));
            }
            continue;
        }
        for (name, raw) in
            [(element.name.to_owned(), element.value), (format!("_{}", element.name), element.more)]
        {
            let Some(raw) = raw else { continue };
            separate(written, out);
            written += 1;
            let _ = write!(out, "{}:", quoted(&name));
            value(raw, &Place::Element(place, &name), depth + 1, visit, out)?;
        }
    }
    out.push('}');
    Ok(())
}

fn separate(before: usize, out: &mut String) {
    if before > 0 {
        out.push(',');
    }
}

/// A text as JSON has it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Where one is in a resource.
enum Place<'p> {
    Root,
    /// A resource, where that was found.
    Resource(&'p Place<'p>, &'p str),
    Element(&'p Place<'p>, &'p str),
    Item(&'p Place<'p>, usize),
}

impl Place<'_> {
    /// Whether one of the names means an element here.
    fn is_named(&self, names: &[Name], element: &str) -> bool {
        names.iter().any(|name| match name.elements.split_last() {
            Some((last, before)) => is_meant(last, element) && self.is_below(&name.resource, before),
            None => false,
        })
    }

    fn is_below(&self, resource: &str, elements: &[String]) -> bool {
        match (self, elements.split_last()) {
            (Self::Item(above, _), _) => above.is_below(resource, elements),
            (Self::Resource(_, kind), None) => *kind == resource,
            (Self::Element(above, name), Some((last, before))) => {
                is_meant(last, name) && above.is_below(resource, before)
            }
            _ => false,
        }
    }

    /// How an element here is called.
    fn of(&self, element: &str) -> String {
        format!("{self}.{element}")
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Resource(above, kind) => {
                write!(f, "{above}{}{kind}", if matches!(above, Self::Root) { "" } else { ":" })
            }
            Self::Element(above, name) => write!(f, "{above}.{name}"),
            Self::Item(above, index) => write!(f, "{above}[{index}]"),
        }
    }
}

/// An element: its value, and, of a primitive, what else is said of it (FHIR R4, 2.6.2.3).
struct Element<'m> {
    name: &'m str,
    value: Option<&'m RawValue>,
    more: Option<&'m RawValue>,
}

/// The elements of an object, in the order in which they are first named.
fn elements<'m>(members: &'m [(String, &'m RawValue)]) -> Vec<Element<'m>> {
    let mut found: Vec<Element<'m>> = Vec::with_capacity(members.len());
    let mut places = HashMap::with_capacity(members.len());
    for (name, raw) in members {
        let plain = name.strip_prefix('_').unwrap_or(name);
        let at = *places.entry(plain).or_insert_with(|| {
            found.push(Element { name: plain, value: None, more: None });
            found.len() - 1
        });
        let place = if plain == name { &mut found[at].value } else { &mut found[at].more };
        *place = Some(*raw);
    }
    found
}

impl Element<'_> {
    /// Its members, as they stand.
    fn object(&self) -> String {
        let value = self.value.map(|raw| format!("{}:{}", quoted(self.name), raw.get()));
        let more = self.more.map(|raw| format!("{}:{}", quoted(&format!("_{}", self.name)), raw.get()));
        format!("{{{}}}", value.into_iter().chain(more).collect::<Vec<_>>().join(","))
    }

    /// Members of an element of the same name and kind that has nothing but `with` in an extension.
    fn holding(&self, with: &str) -> Replacement {
        let extension = format!(r#""extension":[{{"url":"{EXTENSION}","valueString":{}}}]"#, quoted(with));
        let element = format!("{{{extension}}}");
        let more = |value: String| (format!("_{}", self.name), value);
        let text = self.value.map_or("", |raw| raw.get());
        let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
        match text.as_bytes().first() {
            Some(b'{') if is_narrative(self.name, text) => {
                vec![(self.name.into(), format!("{{{extension},{EMPTY_NARRATIVE}}}"))]
            }
            Some(b'{') => vec![(self.name.into(), element)],
            Some(b'[') if items.iter().any(|item| item.get().starts_with('{')) => {
                vec![(self.name.into(), format!("[{element}]"))]
            }
            Some(b'[') => vec![(self.name.into(), "[null]".into()), more(format!("[{element}]"))],
            _ => vec![more(element)],
        }
    }

    /// What [`Self::holding`] put there.
    fn held(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Holder<'t> {
            #[serde(borrow)]
            extension: [Held<'t>; 1],
        }
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Held<'t> {
            #[serde(borrow)]
            url: Cow<'t, str>,
            #[serde(rename = "valueString")]
            value: String,
        }
        let raw = self.more.or(self.value)?.get();
        // Most elements are none, and are not looked into.
        memchr::memmem::find(raw.as_bytes(), EXTENSION.as_bytes())?;
        let holder = match raw.as_bytes().first() {
            Some(b'[') => serde_json::from_str::<[Holder<'_>; 1]>(raw).ok().map(|[only]| only),
            _ => serde_json::from_str(raw).ok(),
        };
        let [held] = holder?.extension;
        (held.url == EXTENSION).then_some(held.value)
    }
}

/// A narrative has `status` and `div`, both of which it needs (FHIR R4, 2.4.1).
fn is_narrative(name: &str, text: &str) -> bool {
    let has_div = |Members(members): Members<'_>| members.iter().any(|(name, _)| name == "div");
    name == "text" && serde_json::from_str(text).is_ok_and(has_div)
}

/// The members of an object, in order, none twice.
struct Members<'t>(Vec<(String, &'t RawValue)>);

impl<'de: 't, 't> Deserialize<'de> for Members<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                let mut names = HashSet::new();
                while let Some((name, raw)) = map.next_entry::<String, &RawValue>()? {
                    if !names.insert(name.clone()) {
                        return Err(serde::de::Error::custom("a member is there twice"));
                    }
                    members.push((name, raw));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests;
