//! The examples `dicom-morph` and `dose-alert` on DICOM objects: what is changed stays an object and needs no change again, what
//! is forwarded is the same in pieces, and a dose that comes again does not count twice.

use std::cell::RefCell;

use hilum_dicom_morph::{CONTENT_TYPE, Morph};
use hilum_dose_alert::DoseAlert;
use hilum_formats::dicom::build::{EXPLICIT, Elements, Ends, IMPLICIT, part_10};
use hilum_formats::dicom::{DataSet, Encoding};
use hilum_plugin::testing;
use serde_json::json;

use crate::memory;
use crate::plugin::{Made, count, emitted, observe, run, transform, twice};

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

/// X-Ray Radiation Dose SR Storage.
const DOSE_REPORT: &str = "1.2.840.10008.5.1.4.1.1.88.67";

thread_local! {
    static MORPH: RefCell<Morph> = RefCell::new(transform(&json!({"rules": [
        {"name": "magnetic", "when": {"tags": [{"tag": "(0008,0060)", "in": ["MR"]}]}, "changes": [
            {"action": "map", "tag": "(0018,0015)", "vr": "CS", "from": "(0009,xx15,SECRET)", "values": {"K": "HEAD"}, "otherwise": "remove"},
            {"action": "replace", "tag": "(0008,1040)", "vr": "LO", "value": "Radiology"},
            {"action": "remove", "tag": "(0040,0260)"},
            {"action": "map", "tag": "(0008,1140)[*].(0008,0104)", "vr": "LO", "values": {"DOE": "nobody"}},
            {"action": "remove", "tag": "(0008,1140)[*].(0008,1155)"},
        ]},
        {"name": "report", "when": {"tags": [{"tag": "(0040,A730)[*].(0040,A043)[*].(0008,0102)", "in": ["DCM"]}]}, "changes": [
            {"action": "set", "tag": "(0040,A730)[*].(0040,A730)[*].(0040,A043)[*].(0008,0103)", "vr": "SH", "value": "01"},
            {"action": "copy", "tag": "(0008,1090)", "vr": "LO", "from": "(0008,1032)[*].(0008,0100)"},
            {"action": "copy", "tag": "(0040,A730)[*].(0040,A010)", "vr": "CS", "from": "(0008,0060)"},
            {"action": "add", "tag": "(0040,A730)[*].(0040,A043)[*].(0008,0104)", "vr": "LO", "value": "Dose"},
        ]},
        {"name": "everybody", "changes": [
            {"action": "copy", "tag": "(0008,1010)", "vr": "SH", "from": "(0008,1090)"},
            {"action": "add", "tag": "(0008,0080)", "vr": "LO", "value": "St. Mary's"},
        ]},
    ]})));
    static DOSE: RefCell<DoseAlert> = RefCell::new(observe(&json!({
        "alerts_flow": "alerts", "key": "dose",
        "levels": [
            {"name": "head", "when": {"procedures": ["C4:70450"]}, "quantity": "dlp", "limit": 100},
            {"name": "any", "when": {"descriptions": ["head"]}, "quantity": "ctdi-vol", "limit": 10},
            {"name": "dap", "quantity": "dap", "limit": 1},
        ],
        "cumulative": [{"name": "sum", "quantity": "dlp", "limit": 100, "days": 30}]
    })));
}

/// Gives an object to both plugins.
pub fn check(octets: &[u8]) {
    MORPH.with_borrow_mut(|plugin| morph(plugin, octets));
    let [first, both] = DOSE.with_borrow_mut(|plugin| twice(plugin, CONTENT_TYPE, octets));
    assert!(count(&first, "reports") + count(&first, "unreadable") <= 1, "it is one object");
    // Whom a report does not name, nothing is kept of.
    let repeated = count(&both, "repeated") == 1 && count(&both, "reports") == 1;
    assert_eq!(repeated, first.state.len() == 1);
    assert_eq!(emitted(&both).len(), emitted(&first).len() * if repeated { 1 } else { 2 });
}

fn morph(plugin: &mut Morph, octets: &[u8]) {
    let inline = run(plugin, testing::message(CONTENT_TYPE, octets));
    let large = run(plugin, testing::large_message(CONTENT_TYPE, octets));
    assert_eq!(inline, large, "in pieces it is the same");
    let Some(Made::Other(records)) = inline else { return };
    let changed = &records[0].body;
    let again = run(plugin, testing::message(CONTENT_TYPE, &changed[..]));
    assert_eq!(again, Some(Made::Same(Vec::new())), "nothing is left to change");
    if DataSet::parse(octets, &[]).is_ok() {
        assert!(DataSet::parse(changed, &[]).is_ok(), "it is an object no more");
    }
}

/// The objects of the de-identifier's target, and dose reports.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = crate::deidentify::dicom_seeds();
    for (syntax, encoding) in [(EXPLICIT, Encoding::EXPLICIT_LITTLE), (IMPLICIT, Encoding::IMPLICIT_LITTLE)] {
        seeds.push(dose_report(syntax, encoding, "4711"));
        seeds.push(dose_report(syntax, encoding, ""));
    }
    seeds
}

fn code(encoding: Encoding, value: &str, scheme: &str) -> Elements {
    Elements::new(encoding).text(0x0008_0100, "SH", value).text(0x0008_0102, "SH", scheme)
}

fn item(encoding: Encoding, concept: &str) -> Elements {
    Elements::new(encoding).sequence(0x0040_A043, &[code(encoding, concept, "DCM")], Ends::Delimiter)
}

fn number(encoding: Encoding, concept: &str, value: &str, unit: &str) -> Elements {
    let measured = Elements::new(encoding)
        .sequence(0x0040_08EA, &[code(encoding, unit, "UCUM")], Ends::Length)
        .text(0x0040_A30A, "DS", value);
    item(encoding, concept).sequence(0x0040_A300, &[measured], Ends::Length)
}

fn dose_report(syntax: &str, encoding: Encoding, patient: &str) -> Vec<u8> {
    let totals = [number(encoding, "113813", "825", "mGy.cm"), number(encoding, "113722", "12", "dGy.cm2")];
    let acquisition = [number(encoding, "113830", "42.25", "mGy")];
    let content = [("113811", &totals[..]), ("113819", &acquisition)]
        .map(|(concept, content)| item(encoding, concept).sequence(0x0040_A730, content, Ends::Delimiter));
    let elements = Elements::new(encoding)
        .text(0x0008_0016, "UI", DOSE_REPORT)
        .text(0x0008_0018, "UI", "1.9.1")
        .text(0x0008_1030, "LO", "CT Head")
        .sequence(0x0008_1032, &[code(encoding, "70450", "C4")], Ends::Length)
        .text(0x0010_0020, "LO", patient)
        .sequence(0x0040_A730, &content, Ends::Length);
    part_10(syntax, DOSE_REPORT, &elements.octets)
}
