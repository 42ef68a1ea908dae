//! Plants an identifier of its own in every attribute of PS3.15 Table E.1-1, at the top level and in a sequence that is
//! not in the table, and looks for each of them in the output.

use super::build::{ENCODINGS, Elements, Ends, SOP_CLASS};
use super::{contains, deidentify};
use crate::dicom::profile::{Fate, fate};
use hilum_formats::dicom::{Encoding, Tag};

const TABLE: &str = include_str!("../../../data/ps3.15-table-e.1-1.tsv");
/// Performed Protocol Code Sequence is not in the table.
const CARRIER: u32 = 0x0040_0260;

struct Row {
    tag: u32,
    vr: String,
}

/// Every row with an exact tag that may stand in a data set.
fn rows() -> Vec<Row> {
    let exact = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let tag = u32::from_str_radix(&columns[0].replace(['(', ')', ','], ""), 16).ok()?;
        let vr = if columns[2].is_empty() { "LO" } else { &columns[2][..2] };
        (tag >> 16 >= 8).then(|| Row { tag, vr: vr.to_owned() })
    };
    let mut rows: Vec<Row> = TABLE.lines().skip(1).filter_map(exact).collect();
    rows.sort_by_key(|row| row.tag);
    rows
}

/// All rows, each with an identifier that begins with `prefix`, and what was planted. `carried` goes into the carrier.
fn plant(
    encoding: Encoding,
    ends: Ends,
    prefix: &str,
    carried: Option<&Elements>,
) -> (Elements, Vec<String>) {
    let mut elements = Elements::new(encoding);
    let mut planted = Vec::new();
    let mut carried = carried;
    for (i, row) in rows().iter().enumerate() {
        if row.tag > 0x0008_FFFF && row.tag < 0x0010_0000 && planted.len() == i {
            let private = format!("{prefix}PRIV");
            elements = elements.text(0x0009_0010, "LO", &private).text(0x0009_1001, "UN", &private);
            let item = Elements::new(encoding).text(0x0009_1003, "LT", &private);
            elements = elements.sequence(0x0009_1002, &[item], ends);
            planted.push(private);
        }
        if row.tag == 0x0008_0017 {
            elements = elements.text(0x0008_0016, "UI", SOP_CLASS);
        }
        if row.tag > CARRIER
            && let Some(carried) = carried.take()
        {
            elements = elements.sequence(CARRIER, std::slice::from_ref(carried), ends);
        }
        let identifier = match row.vr.as_str() {
            "UI" => format!("1.77.{}.{i:04}.77", prefix.len()),
            _ => format!("{prefix}{i:04}"),
        };
        elements = match row.vr.as_str() {
            "SQ" if fate(Tag(row.tag), None) == Fate::Descend => {
                let item = Elements::new(encoding).text(0x0010_0010, "PN", &identifier);
                elements.sequence(row.tag, &[item], ends)
            }
            "SQ" => {
                let item = Elements::new(encoding).text(0x0008_0104, "LO", &identifier);
                elements.sequence(row.tag, &[item], ends)
            }
            vr => elements.text(row.tag, vr, &identifier),
        };
        planted.push(identifier);
    }
    assert!(planted.len() > 640, "{}", planted.len());
    (elements, planted)
}

fn survivors(output: &[u8], planted: &[String]) -> Vec<String> {
    planted.iter().filter(|identifier| contains(output, identifier)).cloned().collect()
}

#[test]
fn no_identifier_of_the_table_survives_at_any_depth_under_any_encoding() {
    for (syntax, encoding) in ENCODINGS {
        for ends in [Ends::Length, Ends::Delimiter] {
            let (nested, mut planted) = plant(encoding, ends, "NEST", None);
            let (elements, top) = plant(encoding, ends, "TOPPHI", Some(&nested));
            planted.extend(top);
            let input = elements.part_10(syntax);
            assert_eq!(survivors(&input, &planted).len(), planted.len(), "all are planted");

            let output = deidentify(&input).unwrap();
            assert_eq!(survivors(&output, &planted), [""; 0], "{syntax} {ends:?}");
            for of_the_sender in ["PREAMBLE", "SENDERAE", "1.9.9.9.1", super::build::SOP_INSTANCE] {
                assert!(!contains(&output, of_the_sender), "{of_the_sender}");
            }
            let object = dicom_object::from_reader(&output[..]).unwrap();
            assert_eq!(object.element_by_name("PatientIdentityRemoved").unwrap().to_str().unwrap(), "YES");
            assert!(object.element_by_name("PerformedProtocolCodeSequence").unwrap().items().is_some());
        }
    }
}

#[test]
fn an_unknown_value_that_the_dictionary_knows_as_a_sequence_is_rewritten() {
    for ends in [Ends::Length, Ends::Delimiter] {
        let (nested, planted) = plant(Encoding::IMPLICIT_LITTLE, ends, "UNSEQ", None);
        for (syntax, encoding) in &ENCODINGS[1..] {
            let elements =
                Elements::image(*encoding).sequence_as(CARRIER, "UN", std::slice::from_ref(&nested), ends);
            let output = deidentify(&elements.part_10(syntax)).unwrap();
            assert_eq!(survivors(&output, &planted), [""; 0], "{syntax} {ends:?}");
        }
    }
}
