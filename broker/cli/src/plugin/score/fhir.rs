//! FHIR R4 and telemetry in JSON: which members say who somebody is, by their names and what they are in, apart from the plugin's tables.

use serde_json::{Map, Value};

use super::key::{Kind, Mark};
use super::values::Values;
use super::what::What;

/// Plants into all members that are there; nothing if the text is no JSON.
pub(super) fn plant(text: &str, patient: &str, values: &mut Values) -> Option<(String, Vec<Mark>)> {
    let mut document: Value = serde_json::from_str(text).ok()?;
    let resource = document.get("resourceType")?.as_str()?.to_owned();
    let mut planter = Planter { patient, values, marks: Vec::new() };
    planter.object(document.as_object_mut()?, "", "", &resource);
    Some((document.to_string(), planter.marks))
}

struct Planter<'p> {
    patient: &'p str,
    values: &'p mut Values,
    marks: Vec<Mark>,
}

impl Planter<'_> {
    fn object(&mut self, members: &mut Map<String, Value>, path: &str, parent: &str, resource: &str) {
        let resource = members.get("resourceType").and_then(Value::as_str).unwrap_or(resource).to_owned();
        let system = members.get("system").and_then(Value::as_str).unwrap_or_default().to_owned();
        for (name, value) in members {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.member(value, &path, (parent, name), (&resource, &system));
        }
    }

    fn member(&mut self, value: &mut Value, path: &str, names: (&str, &str), of: (&str, &str)) {
        match value {
            Value::Object(members) => self.object(members, path, names.1, of.0),
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.member(item, &format!("{path}[{index}]"), names, of);
                }
            }
            Value::String(text) => {
                let Some(what) = what(names, of, text) else { return };
                let there = text.clone();
                let (planted, mut mark) = what.plant(path.to_owned(), &there, self.patient, self.values);
                *text = match names {
                    ("text", "div") => format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{planted}</div>"),
                    _ => planted,
                };
                if names == ("identifier", "value") && there.starts_with("urn:oid:") {
                    let uid = there.trim_start_matches("urn:oid:").to_owned();
                    *text = there;
                    mark = Mark::new(path, Kind::Uid, uid, 'R');
                }
                self.marks.push(mark);
            }
            Value::Number(number) if names.0 == "valueQuantity" && names.1 == "value" => {
                self.marks.push(Mark::harmless(path, Kind::Existing, number.to_string()));
            }
            _ => {}
        }
    }
}

/// What to plant into a member, by its name and that of what it is in, its resource and the system beside it.
fn what((parent, name): (&str, &str), (resource, system): (&str, &str), there: &str) -> Option<What> {
    let is_staff = ["Practitioner", "PractitionerRole"].contains(&resource);
    let person = if is_staff { What::Staff } else { What::Name };
    match (parent, name) {
        (_, "family" | "given") | ("name", "text") => Some(person),
        ("text", "div") => Some(What::Note),
        (_, "line") => Some(What::Street),
        ("address", "city") => Some(What::City),
        (_, "postalCode") => Some(What::Zip),
        ("telecom", "value") => Some(match system {
            "email" => What::Email,
            "fax" => What::Fax,
            "url" => What::Url,
            _ => What::Phone,
        }),
        ("identifier", "value") => Some(identifier(resource, system)),
        (_, "birthDate") => Some(What::ReducedDashed),
        ("photo" | "content" | "presentedForm", "data") => Some(What::Photo),
        ("note" | "referenceRange", "text")
        | (_, "conclusion" | "description" | "valueString" | "comment") => Some(What::Note),
        (_, "display") if parent != "coding" => Some(person),
        (_, "serialNumber" | "lotNumber") => Some(What::Device),
        (_, "subscriberId") => Some(What::HealthPlan),
        ("meta", "source") => Some(What::Url),
        (_, "effectiveDateTime" | "issued" | "started" | "created" | "authoredOn") => dated(there, true),
        (_, "lastUpdated" | "deceasedDateTime") => dated(there, false),
        ("", "resourceType") | ("resource", "resourceType") => Some(What::Keep),
        ("valueQuantity", "unit" | "code") | (_, "gender") => Some(What::Keep),
        ("resource" | "", "status" | "use") => Some(What::Keep),
        ("coding", "code") if is_published(system) => Some(What::Keep),
        _ => None,
    }
}

fn identifier(resource: &str, system: &str) -> What {
    match (resource, system) {
        (_, "http://hl7.org/fhir/sid/us-ssn") => What::Ssn,
        ("Patient", _) => What::Mrn,
        ("Practitioner", _) => What::License,
        ("Coverage", _) => What::HealthPlan,
        ("Encounter", _) => What::Account,
        ("Device", _) => What::Device,
        _ => What::Other,
    }
}

fn dated(there: &str, of_patient: bool) -> Option<What> {
    Some(match (there.len(), of_patient) {
        (10, true) => What::DateDashed,
        (10, false) => What::ReducedDashed,
        (11.., true) => What::DateTimeDashed,
        (11.., false) => What::ReducedTimeDashed,
        _ => return None,
    })
}

fn is_published(system: &str) -> bool {
    ["http://loinc.org", "http://snomed.info/sct", "http://unitsofmeasure.org"].contains(&system)
}

/// Every value that is no object and no array, by its place.
pub(super) fn flatten(document: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    flatten_into(document, String::new(), &mut found);
    found
}

fn flatten_into(value: &Value, path: String, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten_into(value, path, found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                flatten_into(item, format!("{path}[{index}]"), found);
            }
        }
        Value::String(text) => found.push((path, text.trim_start_matches("urn:oid:").to_owned())),
        Value::Null => {}
        other => found.push((path, other.to_string())),
    }
}

/// Members of telemetry, and what is planted into each.
const TELEMETRY: [(&str, What); 13] = [
    ("machine", What::Device),
    ("serial", What::Device),
    ("operator", What::Staff),
    ("patient", What::Other),
    ("patient_name", What::Name),
    ("room_address", What::Street),
    ("phone", What::Phone),
    ("email", What::Email),
    ("ip", What::Address),
    ("url", What::Url),
    ("license_plate", What::Vehicle),
    ("voiceprint", What::Biometric),
    ("note", What::Note),
];

/// Telemetry with an identifier in each member that a machine might send, and readings, which stay.
pub(super) fn telemetry(values: &mut Values) -> (String, Vec<Mark>) {
    let (mut members, mut marks) = (Map::new(), Vec::new());
    for (name, what) in TELEMETRY {
        let (value, mark) = what.plant(name.to_owned(), "", "", values);
        members.insert(name.to_owned(), value.into());
        marks.push(mark);
    }
    let readings = [("helium-level", "%", 71.25), ("cold-head-temperature", "K", 4.125)];
    let reading = |(sensor, unit, value): (&str, &str, f64)| serde_json::json!({"sensor": sensor, "unit": unit, "value": value});
    members.insert("readings".to_owned(), readings.map(reading).to_vec().into());
    for (index, (sensor, unit, value)) in readings.into_iter().enumerate() {
        for (name, value) in
            [("sensor", sensor.to_owned()), ("unit", unit.to_owned()), ("value", value.to_string())]
        {
            marks.push(Mark::harmless(format!("readings[{index}].{name}"), Kind::Existing, value));
        }
    }
    (Value::Object(members).to_string(), marks)
}
