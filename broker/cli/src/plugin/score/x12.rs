//! X12: which elements of claims, payments, questions and answers say who somebody is, written down from their guides, apart from the
//! plugin's tables.

use super::key::Mark;
use super::values::Values;
use super::what::What;

/// Parties of NM1 and N1 that are a patient or who is insured with them, and those that are staff.
const PATIENTS: [&str; 4] = ["IL", "QC", "03", "74"];
const STAFF: [&str; 8] = ["82", "85", "DN", "77", "71", "1P", "P3", "PE"];
/// Dates that belong to a payment, not to a patient.
const PAYMENT_DATES: [&str; 1] = ["405"];

/// Where in an interchange.
#[derive(Default)]
struct Place {
    party: String,
    /// Whether the patient's number is known from here on.
    is_of_patient: bool,
}

/// Plants into all elements that are there; nothing if the text is no interchange.
pub(super) fn plant(text: &str, patient: &str, values: &mut Values) -> Option<(String, Vec<Mark>)> {
    let (element, end) = separators(text)?;
    let (mut marks, mut out, mut numbers, mut place) =
        (Vec::new(), String::new(), Vec::new(), Place::default());
    for segment in
        text.split(end).map(|segment| segment.trim_matches(['\r', '\n'])).filter(|text| !text.is_empty())
    {
        let mut elements: Vec<String> = segment.split(element).map(str::to_owned).collect();
        let name = elements[0].clone();
        let place_of = named(&name, elements.get(1).map(String::as_str));
        let number = numbers.iter().filter(|found| **found == place_of).count();
        numbers.push(place_of.clone());
        place.enter(&elements);
        for at in 1..elements.len() {
            let there = elements[at].clone();
            let Some(what) = place.what(&elements, at).filter(|_| !there.is_empty()) else { continue };
            let path = format!("{place_of}[{number}]-{at:02}");
            let (value, mark) = what.plant(path, &there, patient, values);
            // Lengths of ISA are fixed.
            elements[at] = value;
            marks.push(mark);
        }
        out.push_str(&elements.join(&element.to_string()));
        out.push(end);
    }
    Some((out, marks))
}

impl Place {
    fn enter(&mut self, elements: &[String]) {
        match elements[0].as_str() {
            "NM1" | "N1" => {
                self.party = elements.get(1).cloned().unwrap_or_default();
                self.is_of_patient |=
                    PATIENTS.contains(&self.party.as_str()) && elements.get(8).is_some_and(|of| of == "MI");
            }
            "ST" | "CLP" => *self = Self { is_of_patient: elements[0] == "CLP", ..Self::default() },
            "HL" if elements.get(3).is_some_and(|level| level != "23") => *self = Self::default(),
            _ => {}
        }
    }

    fn is_patient(&self) -> bool {
        PATIENTS.contains(&self.party.as_str())
    }

    /// What to plant into an element.
    fn what(&self, elements: &[String], at: usize) -> Option<What> {
        let code = |at: usize| elements.get(at).map(String::as_str).unwrap_or_default();
        let date = if self.is_of_patient { What::Date } else { What::Reduced };
        match (elements[0].as_str(), at) {
            ("ISA", 9) => Some(What::ReducedShort),
            ("GS", 4) | ("BHT", 4) | ("DMG", 2) => Some(What::Reduced),
            ("ST" | "HL", 1..=3) | ("BHT", 1 | 2) | ("CLM" | "CLP" | "BPR", 2) => Some(What::Keep),
            ("CLP", 3 | 4) | ("SV1" | "SVC", 2 | 3) | ("EB", 1 | 3) | ("HI", _) | ("CAS", 1..=3) => {
                Some(What::Keep)
            }
            ("NM1", 3..=5) if self.is_patient() => Some(What::Name),
            ("NM1", 3..=5) if STAFF.contains(&code(1)) && code(2) == "1" => Some(What::Staff),
            ("NM1", 9) if self.is_patient() && code(8) == "MI" => Some(What::Mrn),
            ("NM1", 9) if STAFF.contains(&code(1)) => Some(What::License),
            ("N3", 1 | 2) if self.is_patient() => Some(What::Street),
            ("N4", 1) if self.is_patient() => Some(What::City),
            ("N4", 3) if self.is_patient() => Some(What::Zip),
            ("REF", 2) => reference(code(1)),
            ("CLM" | "CLP", 1) => Some(What::Account),
            ("CLP", 7) | ("TRN", 2) | ("BHT", 3) | ("PWK", 6) | ("INS", 12) => Some(What::Other),
            ("SBR", 3) => Some(What::HealthPlan),
            // Coded values and amounts have room for more than they should hold.
            ("DMG", 3) | ("PWK", 1) | ("SBR", 5) | ("AMT", 2) => Some(What::Ssn),
            ("CLM", 5) => Some(What::Note),
            ("BPR", 9 | 15) => Some(What::Account),
            ("NTE", 2) | ("K3" | "MSG", 1) => Some(What::Note),
            ("PER", 2) => Some(What::Staff),
            ("PER", 4 | 6 | 8) => contact(code(at - 1)),
            ("DTP", 3) if code(2) == "D8" => Some(date),
            ("DTM", 2) if PAYMENT_DATES.contains(&code(1)) => Some(What::Reduced),
            ("DTM", 2) => Some(date),
            ("PAT", 6) => Some(What::Reduced),
            _ => None,
        }
    }
}

fn reference(qualifier: &str) -> Option<What> {
    match qualifier {
        "SY" => Some(What::Ssn),
        "EA" => Some(What::Mrn),
        "EJ" => Some(What::Account),
        "1L" | "1W" | "18" | "IG" => Some(What::HealthPlan),
        "0B" => Some(What::License),
        "Y4" | "G1" | "9F" | "6R" | "1K" | "D9" => Some(What::Other),
        _ => None,
    }
}

fn contact(qualifier: &str) -> Option<What> {
    match qualifier {
        "TE" | "EX" => Some(What::Phone),
        "EM" => Some(What::Email),
        "FX" => Some(What::Fax),
        "UR" => Some(What::Url),
        _ => None,
    }
}

/// How a segment is counted: with its qualifier where it has one, so that others of its name may go.
fn named(name: &str, qualifier: Option<&str>) -> String {
    const QUALIFIED: [&str; 8] = ["NM1", "N1", "REF", "DTP", "DTM", "PER", "AMT", "QTY"];
    match qualifier.filter(|_| QUALIFIED.contains(&name)) {
        Some(qualifier) => format!("{name}*{qualifier}"),
        None => name.to_owned(),
    }
}

/// The separators of elements and segments (X12.5).
fn separators(text: &str) -> Option<(char, char)> {
    let octets = text.strip_prefix("ISA").filter(|_| text.is_ascii())?.as_bytes();
    Some((char::from(*octets.first()?), char::from(*octets.get(102)?)))
}

/// Every element, by its place.
pub(super) fn flatten(text: &str) -> Option<Vec<(String, String)>> {
    let (element, end) = separators(text)?;
    let (mut found, mut numbers) = (Vec::new(), Vec::new());
    for segment in text.split(end).map(|segment| segment.trim_matches(['\r', '\n'])) {
        let elements: Vec<&str> = segment.split(element).collect();
        if segment.is_empty() {
            continue;
        }
        let name = named(elements[0], elements.get(1).copied());
        let number = numbers.iter().filter(|found| **found == name).count();
        numbers.push(name.clone());
        let values = elements.iter().enumerate().skip(1);
        found.extend(values.map(|(at, value)| (format!("{name}[{number}]-{at:02}"), (*value).to_owned())));
    }
    Some(found)
}
