//! HL7v2: which fields say who somebody is, written down from the standard and 45 CFR 164.514(b)(2)(i), apart from the plugin's table.

use super::key::Mark;
use super::values::Values;
use super::what::What;

/// Segment, field, component of the first repetition, and what is planted there: also the texts of codes without a published system, and
/// numbers and short values, which have room for somebody's number.
const FIELDS: &[(&str, usize, usize, What)] = &[
    ("MSH", 7, 1, What::DateTime),
    ("MSH", 8, 1, What::Other),
    ("MSH", 9, 1, What::Keep),
    ("MSH", 9, 2, What::Keep),
    ("MSH", 10, 1, What::Other),
    ("MSH", 11, 1, What::Keep),
    ("MSH", 12, 1, What::Keep),
    ("EVN", 1, 1, What::Keep),
    ("EVN", 2, 1, What::DateTime),
    ("EVN", 5, 1, What::Staff),
    ("PID", 2, 1, What::Mrn),
    ("PID", 3, 1, What::Mrn),
    ("PID", 4, 1, What::Other),
    ("PID", 5, 1, What::Name),
    ("PID", 5, 2, What::Name),
    ("PID", 6, 1, What::Name),
    ("PID", 7, 1, What::Reduced),
    ("PID", 8, 1, What::Keep),
    ("PID", 9, 1, What::Name),
    ("PID", 11, 1, What::Street),
    ("PID", 11, 3, What::City),
    ("PID", 11, 5, What::Zip),
    ("PID", 12, 1, What::City),
    ("PID", 13, 1, What::Phone),
    ("PID", 13, 4, What::Email),
    ("PID", 14, 1, What::Phone),
    ("PID", 18, 1, What::Account),
    ("PID", 19, 1, What::Ssn),
    ("PID", 20, 1, What::License),
    ("PID", 21, 1, What::Other),
    ("PID", 23, 1, What::City),
    ("PID", 24, 1, What::Ssn),
    ("PID", 25, 1, What::Ssn),
    ("PID", 29, 1, What::Reduced),
    ("PD1", 3, 1, What::Other),
    ("PD1", 4, 2, What::Staff),
    ("NK1", 2, 1, What::Name),
    ("NK1", 4, 1, What::Street),
    ("NK1", 5, 1, What::Phone),
    ("NK1", 6, 1, What::Fax),
    ("NK1", 13, 1, What::Other),
    ("NK1", 16, 1, What::Reduced),
    ("NK1", 30, 1, What::Name),
    ("NK1", 33, 1, What::Other),
    ("NK1", 37, 1, What::Ssn),
    ("PV1", 2, 1, What::Keep),
    ("PV1", 7, 1, What::Staff),
    ("PV1", 7, 2, What::Staff),
    ("PV1", 8, 2, What::Staff),
    ("PV1", 17, 2, What::Staff),
    ("PV1", 19, 1, What::Account),
    ("PV1", 44, 1, What::DateTime),
    ("PV1", 45, 1, What::DateTime),
    ("PV1", 50, 1, What::Account),
    ("PV2", 8, 1, What::DateTime),
    ("PV2", 12, 1, What::Note),
    ("ACC", 1, 1, What::DateTime),
    ("ACC", 3, 1, What::City),
    ("ACC", 7, 1, What::Staff),
    ("ACC", 8, 1, What::Vehicle),
    ("DG1", 3, 1, What::Keep),
    ("IN1", 2, 2, What::Note),
    ("IN1", 8, 1, What::HealthPlan),
    ("IN1", 11, 1, What::Other),
    ("IN1", 16, 1, What::Name),
    ("IN1", 18, 1, What::Reduced),
    ("IN1", 19, 1, What::Street),
    ("IN1", 36, 1, What::HealthPlan),
    ("IN1", 49, 1, What::HealthPlan),
    ("IN2", 2, 1, What::Ssn),
    ("IN2", 61, 1, What::HealthPlan),
    ("IN2", 63, 1, What::Phone),
    ("GT1", 2, 1, What::Account),
    ("GT1", 3, 1, What::Name),
    ("GT1", 5, 1, What::Street),
    ("GT1", 6, 1, What::Phone),
    ("GT1", 8, 1, What::Reduced),
    ("GT1", 12, 1, What::Ssn),
    ("MRG", 1, 1, What::Mrn),
    ("MRG", 3, 1, What::Account),
    ("ROL", 4, 2, What::Staff),
    ("ORC", 1, 1, What::Keep),
    ("ORC", 2, 1, What::Other),
    ("ORC", 3, 1, What::Other),
    ("ORC", 9, 1, What::DateTime),
    ("ORC", 10, 2, What::Staff),
    ("ORC", 12, 1, What::Staff),
    ("ORC", 12, 2, What::Staff),
    ("ORC", 14, 1, What::Phone),
    ("OBR", 2, 1, What::Other),
    ("OBR", 3, 1, What::Other),
    ("OBR", 4, 1, What::Keep),
    ("OBR", 7, 1, What::DateTime),
    ("OBR", 8, 1, What::DateTime),
    ("OBR", 13, 1, What::Note),
    ("OBR", 14, 1, What::DateTime),
    ("OBR", 16, 2, What::Staff),
    ("OBR", 22, 1, What::DateTime),
    ("OBR", 25, 1, What::Keep),
    ("OBR", 31, 2, What::Note),
    ("OBX", 2, 1, What::Keep),
    ("OBX", 3, 1, What::Keep),
    ("OBX", 6, 1, What::Keep),
    ("OBX", 8, 1, What::Keep),
    ("OBX", 9, 1, What::Ssn),
    ("OBX", 10, 1, What::Ssn),
    ("OBX", 11, 1, What::Keep),
    ("OBX", 14, 1, What::DateTime),
    ("OBX", 16, 2, What::Staff),
    ("OBX", 18, 1, What::Device),
    ("NTE", 3, 1, What::Note),
    ("NTE", 4, 2, What::Note),
    ("TXA", 2, 1, What::Keep),
    ("TXA", 4, 1, What::DateTime),
    ("TXA", 5, 2, What::Staff),
    ("TXA", 12, 1, What::Other),
    ("TXA", 16, 1, What::Url),
    ("SCH", 1, 1, What::Other),
    ("SCH", 2, 1, What::Other),
    ("SCH", 7, 2, What::Note),
    ("SCH", 12, 2, What::Staff),
    ("SCH", 13, 1, What::Phone),
    ("AIP", 3, 2, What::Staff),
    ("FT1", 2, 1, What::Account),
    ("FT1", 4, 1, What::DateTime),
    ("FT1", 6, 1, What::Keep),
    ("FT1", 8, 1, What::Note),
    ("FT1", 20, 2, What::Staff),
    ("FT1", 23, 1, What::Other),
    ("FT1", 31, 1, What::Ssn),
];
/// Types of OBX-5 that are free text, and those that are numbers.
const TEXT_TYPES: [&str; 3] = ["TX", "FT", "ST"];

/// Plants into every field that a segment has, or could have; nothing if the text is no message.
pub(super) fn plant(text: &str, patient: &str, values: &mut Values) -> Option<(String, Vec<Mark>)> {
    if !text.starts_with("MSH|^~\\&") {
        return None;
    }
    let (mut marks, mut out, mut numbers) = (Vec::new(), String::new(), Vec::new());
    for line in text.split(['\r', '\n']).filter(|line| !line.is_empty()) {
        let mut fields: Vec<String> = line.split('|').map(str::to_owned).collect();
        let name = fields[0].clone();
        let number = numbers.iter().filter(|found| **found == name).count();
        numbers.push(name.clone());
        let own = FIELDS.iter().filter(|(segment, ..)| *segment == name);
        for (_, field, component, what) in own.copied().chain(observed(&fields)) {
            // MSH-1 is the separator itself.
            let at = if name == "MSH" { field - 1 } else { field };
            let there = component_of(fields.get(at), component);
            if what == What::Keep && there.is_empty() {
                continue;
            }
            let path = format!("{name}[{number}]-{field}.{component}");
            let (value, mark) = what.plant(path, &there, patient, values);
            marks.push(mark);
            if fields.len() <= at {
                fields.resize(at + 1, String::new());
            }
            fields[at] = with_component(&fields[at], component, &value);
        }
        out.push_str(&fields.join("|"));
        out.push('\r');
    }
    Some((out, marks))
}

/// What an observation's value is.
fn observed(fields: &[String]) -> Option<(&'static str, usize, usize, What)> {
    if fields[0] != "OBX" {
        return None;
    }
    match fields.get(2)?.as_str() {
        "NM" => Some(("OBX", 5, 1, What::Keep)),
        text if TEXT_TYPES.contains(&text) => Some(("OBX", 5, 1, What::Note)),
        _ => None,
    }
}

fn component_of(field: Option<&String>, component: usize) -> String {
    let first = field.map(String::as_str).unwrap_or_default().split('~').next().unwrap_or_default();
    first.split('^').nth(component - 1).unwrap_or_default().to_owned()
}

/// The field with another component in its first repetition.
fn with_component(field: &str, component: usize, value: &str) -> String {
    let mut repetitions: Vec<String> = field.split('~').map(str::to_owned).collect();
    let mut components: Vec<&str> = repetitions[0].split('^').collect();
    if components.len() < component {
        components.resize(component, "");
    }
    components[component - 1] = value;
    repetitions[0] = components.join("^");
    repetitions.join("~")
}

/// Every component, by its place.
pub(super) fn flatten(text: &str) -> Vec<(String, String)> {
    let (mut found, mut numbers) = (Vec::new(), Vec::new());
    for line in text.split(['\r', '\n']).filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.split('|').collect();
        let name = fields[0];
        let number = numbers.iter().filter(|found| **found == name).count();
        numbers.push(name);
        for (at, field) in fields.iter().enumerate().skip(1) {
            let field_number = if name == "MSH" { at + 1 } else { at };
            for (repetition, text) in field.split('~').enumerate() {
                for (component, value) in text.split('^').enumerate() {
                    let tilde = if repetition == 0 { String::new() } else { format!("~{repetition}") };
                    found.push((
                        format!("{name}[{number}]-{field_number}{tilde}.{}", component + 1),
                        value.to_owned(),
                    ));
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_planted_is_found_at_its_place() {
        let message = "MSH|^~\\&|A|B|C|D|20260101||ORU^R01|1|P|2.5.1\rPID|1||X^^^H^MR~Y||Doe\rOBX|1|NM|8-4^T^LN||7.5|mm\rOBX|2|TX|9||text";
        let (planted, marks) = plant(message, "4711", &mut Values::new(1)).unwrap();
        let values: std::collections::BTreeMap<_, _> = flatten(&planted).into_iter().collect();
        for mark in &marks {
            assert_eq!(values[&mark.path], mark.value, "{}", mark.path);
        }
        assert!(planted.contains("|4711^^^H^MR~Y|") && planted.contains("|7.5|"), "{planted}");
        assert!(!planted.contains("Doe") && !planted.contains("|text"));
        assert!(marks.len() > 30);
        assert!(plant("FHS|", "1", &mut Values::new(1)).is_none());
    }
}
