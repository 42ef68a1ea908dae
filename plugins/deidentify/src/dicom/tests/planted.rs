//! Plants an identifier of its own in every attribute of PS3.15 Table E.1-1, in names, free text, addresses and dates that the table leaves
//! out, in private attributes and in ones that nobody knows, at the top level and in sequences down to a depth of three, in objects of many kinds, and looks for each in what is made of them under every
//! pair of options. What options retain has to be there; nothing else may.

use std::collections::BTreeSet;

use super::build::{ENCODINGS, EXPLICIT, Elements, Ends, part_10};
use super::{contains, deidentify_as};
use crate::dicom::ProfileOption::{self, *};
use crate::{Config, PrivateSopClasses};
use hilum_formats::dicom::Encoding;

const DICTIONARY: &str = include_str!("../../../data/ps3.6-data-elements.tsv");
const TABLE: &str = include_str!("../../../data/ps3.15-2026c-table-e.1-1.tsv");
/// Performed Protocol Code Sequence is not in the table.
const CARRIER: u32 = 0x0040_0260;
/// A code, which stays: only what is known to describe is cleaned.
const URN_CODE_VALUE: u32 = 0x0008_0120;
const LONG_CODE_VALUE: u32 = 0x0008_0119;
const ENCRYPTED_ATTRIBUTES: u32 = 0x0400_0500;
/// Unique identifiers that are the same everywhere, and the SOP class, which is planted by itself.
const NOT_OWN: [u32; 4] = [0x0008_0016, 0x0008_010C, 0x0008_0117, 0x0008_0118];
/// Octets that are of an image or a waveform.
const IMAGES: [u32; 7] =
    [0x0028_2000, 0x0070_0256, 0x5400_0110, 0x5400_0112, 0x5400_100A, 0x5400_1010, 0x7FE0_0010];
/// Short texts and numbers that the table forgot.
const FORGOTTEN: [u32; 12] = [
    0x0010_0033,
    0x0010_0034,
    0x0020_1070,
    0x0040_0255,
    0x0040_1006,
    0x0040_1007,
    0x0040_1060,
    0x0040_2006,
    0x0040_2007,
    0x0044_0011,
    0x0044_0012,
    0x0074_100C,
];
/// How deeply identifiers are planted: at the top level, and in three sequences within each other.
const DEPTH: usize = 4;

/// Objects of these SOP classes: MR and enhanced CT images, ultrasound, segmentation, whole slide, comprehensive report, key object
/// selection, presentation state, ECG, encapsulated PDF and CDA, RT structure set, plan and dose, raw data, and one that nobody knows.
const SOP_CLASSES: [&str; 16] = [
    "1.2.840.10008.5.1.4.1.1.4",
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.6.1",
    "1.2.840.10008.5.1.4.1.1.66.4",
    "1.2.840.10008.5.1.4.1.1.77.1.6",
    "1.2.840.10008.5.1.4.1.1.88.33",
    "1.2.840.10008.5.1.4.1.1.88.59",
    "1.2.840.10008.5.1.4.1.1.11.1",
    "1.2.840.10008.5.1.4.1.1.9.1.1",
    "1.2.840.10008.5.1.4.1.1.104.1",
    "1.2.840.10008.5.1.4.1.1.104.2",
    "1.2.840.10008.5.1.4.1.1.481.3",
    "1.2.840.10008.5.1.4.1.1.481.5",
    "1.2.840.10008.5.1.4.1.1.481.2",
    "1.2.840.10008.5.1.4.1.1.66",
    "1.2.3.4.5.6.7.8",
];

/// A row that may stand in a data set, with the columns of the table that say K and C.
struct Row {
    tag: u32,
    vr: String,
    keep: BTreeSet<&'static str>,
    clean: BTreeSet<&'static str>,
}

fn rows() -> Vec<Row> {
    let names: Vec<&str> = TABLE.lines().nth(1).unwrap().split('\t').collect();
    let exact = |line: &'static str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let tag = u32::from_str_radix(&columns[0].replace(['(', ')', ','], ""), 16).ok()?;
        let vr = if columns[2].is_empty() { "LO" } else { &columns[2][..2] };
        let saying = |letter: &str| {
            let said = columns.iter().zip(&names).skip(4).take(10).filter(|(said, _)| **said == letter);
            said.map(|(_, name)| *name).collect()
        };
        (tag >> 16 >= 8).then(|| Row { tag, vr: vr.to_owned(), keep: saying("K"), clean: saying("C") })
    };
    let mut rows: Vec<Row> = TABLE.lines().skip(2).filter_map(exact).collect();
    let others: Vec<Row> = DICTIONARY
        .lines()
        .skip(1)
        .filter_map(|line| {
            let (tag, vr) = line.split_once('\t')?;
            let tag = u32::from_str_radix(&tag.replace(['(', ')', ','], ""), 16).ok()?;
            let is_date = ["DA", "DT", "TM"].contains(&vr);
            let dates = |column| if is_date { BTreeSet::from([column]) } else { BTreeSet::new() };
            let (mut keep, clean) = (dates("retain_long_full_dates"), dates("retain_long_modif_dates"));
            let is_uid = vr == "UI" && !NOT_OWN.contains(&tag);
            if is_uid {
                keep.insert("retain_uids");
            }
            let is_text = ["PN", "LT", "ST", "UC", "UR", "UT"].contains(&vr)
                && ![URN_CODE_VALUE, LONG_CODE_VALUE].contains(&tag);
            let is_opaque = vr == "OB" && !IMAGES.contains(&tag) || tag == ENCRYPTED_ATTRIBUTES;
            let is_wanted = is_text || is_date || is_uid || is_opaque || FORGOTTEN.contains(&tag);
            let is_other = tag >> 16 >= 8 && rows.iter().all(|row| row.tag != tag) && is_wanted;
            is_other.then(|| Row { tag, vr: vr.to_owned(), keep, clean })
        })
        .collect();
    rows.extend(others);
    rows.sort_by_key(|row| row.tag);
    rows
}

fn column(option: ProfileOption) -> &'static str {
    match option {
        CleanPixelData | CleanRecognizableVisualFeatures => "",
        CleanGraphics => "clean_graph",
        CleanStructuredContent => "clean_struct_cont",
        CleanDescriptors => "clean_desc",
        RetainLongitudinalFullDates => "retain_long_full_dates",
        RetainLongitudinalModifiedDates => "retain_long_modif_dates",
        RetainPatientCharacteristics => "retain_patient_chars",
        RetainDeviceIdentity => "retain_device_id",
        RetainUids => "retain_uids",
        RetainSafePrivate => "retain_safe_private",
        RetainInstitutionIdentity => "retain_institution_id",
    }
}

/// Referenced Performed Procedure Step Sequence.
const STEPS: u32 = 0x0008_1111;
/// Sequences whose items are rewritten whatever the options: what is planted in them has a row of its own.
const REWRITTEN: [u32; 3] = [STEPS, 0x0008_1140, 0x0008_2112];
/// A number of a row that is none of the table's: private, unknown to the dictionary, a curve, an overlay.
const OTHERS: usize = 9000;

/// `PHI` and a number, or a unique identifier with it, so that one pass finds them all.
fn identifier(depth: usize, index: usize, vr: &str) -> String {
    match vr {
        "UI" => format!("1.77.{depth}{index:04}.77"),
        _ => format!("PHI{depth}{index:04}"),
    }
}

/// All rows at one depth and at those below it.
fn plant(encoding: Encoding, ends: Ends, depth: usize, sop_class: &str) -> Elements {
    let mut elements = Elements::new(encoding);
    let other = |number: usize| identifier(depth, OTHERS + number, "LO");
    let mut extras: Vec<(u32, usize)> = vec![
        (0x0009_0010, 0),
        (0x0009_1001, 1),
        (0x0018_FFF0, 2),
        (0x2001_0010, 3),
        (0x2001_1001, 4),
        (0x5000_2500, 5),
        (0x6000_0022, 6),
        (0x6000_4000, 7),
        (0x7FE1_1010, 8),
    ];
    extras.reverse();
    let mut carrier = depth + 1 < DEPTH;
    for (i, row) in rows().iter().enumerate() {
        while let Some((tag, number)) = extras.pop_if(|(tag, _)| *tag < row.tag) {
            elements = elements.text(tag, "LO", &other(number));
        }
        if row.tag == 0x0008_0017 && depth == 0 {
            elements = elements.text(0x0008_0016, "UI", sop_class);
        }
        if row.tag > CARRIER && carrier {
            carrier = false;
            let below = plant(encoding, ends, depth + 1, sop_class);
            elements = elements.sequence(CARRIER, &[below], ends);
        }
        let planted = identifier(depth, i, &row.vr);
        elements = match row.vr.as_str() {
            "SQ" if REWRITTEN.contains(&row.tag) => {
                let mut item = Elements::new(encoding);
                if row.tag == STEPS {
                    // Its references stay as a dummy, so no text may stay beside them.
                    item = item.text(0x0008_0104, "LO", &planted);
                }
                elements.sequence(row.tag, &[item.text(0x0010_0010, "PN", &planted)], ends)
            }
            "SQ" => {
                let item = Elements::new(encoding).text(0x0008_0104, "LO", &planted);
                elements.sequence(row.tag, &[item], ends)
            }
            vr => elements.text(row.tag, vr, &planted),
        };
    }
    for (tag, number) in extras.into_iter().rev() {
        elements = elements.text(tag, "LO", &other(number));
    }
    elements
}

/// The numbers of the identifiers that are there, each with its depth before it.
fn found(octets: &[u8]) -> BTreeSet<usize> {
    let number = |after: &[u8]| std::str::from_utf8(after.get(..5)?).ok()?.parse().ok();
    let texts = octets.windows(3).enumerate().filter(|(_, window)| window == b"PHI");
    let uids = octets.windows(5).enumerate().filter(|(_, window)| window == b"1.77.");
    let after = texts.map(|(at, _)| at + 3).chain(uids.map(|(at, _)| at + 5));
    after.filter_map(|at| number(&octets[at..])).collect()
}

/// What the options retain, by the table alone: a K, and no C of another option.
fn retained(options: &[ProfileOption]) -> BTreeSet<usize> {
    let chosen: BTreeSet<&str> = options.iter().map(|option| column(*option)).collect();
    let stays = |row: &Row| {
        let is_kept = !row.keep.is_disjoint(&chosen) && row.clean.is_disjoint(&chosen);
        // No age and no number is planted, so none is kept.
        // Beside references to procedure steps a text is planted, which goes on with them where an option keeps them.
        is_kept
            && !["AS", "DS", "IS"].contains(&row.vr.as_str())
            && (row.tag == STEPS || !REWRITTEN.contains(&row.tag))
    };
    // What no table and no dictionary says the value representation of may stay where the object states it.
    let rows = rows();
    let kept = rows.iter().enumerate().filter(|(_, row)| stays(row)).map(|(i, _)| i);
    kept.flat_map(|i| (0..DEPTH).map(move |depth| depth * 10_000 + i)).collect()
}

fn allowed(a: ProfileOption, b: ProfileOption) -> bool {
    (a, b) != (RetainLongitudinalFullDates, RetainLongitudinalModifiedDates)
}

fn config(options: &[ProfileOption]) -> Config {
    Config { options: options.to_vec(), private_sop_classes: PrivateSopClasses::Unknown, ..Config::default() }
}

#[test]
fn no_identifier_survives_at_any_depth_under_any_encoding_in_any_kind_of_object() {
    for (syntax, encoding) in ENCODINGS {
        for ends in [Ends::Length, Ends::Delimiter] {
            for sop_class in SOP_CLASSES {
                let input = part_10(syntax, sop_class, &plant(encoding, ends, 0, sop_class).octets);
                assert_eq!(found(&input).len(), (rows().len() + 9) * DEPTH, "all are planted");
                let output = deidentify_as(&config(&[]), &input).unwrap();
                assert_eq!(found(&output), BTreeSet::new(), "{syntax} {ends:?} {sop_class}");
                for of_the_sender in ["PREAMBLE", "SENDERAE", "1.9.9.9.1", super::build::SOP_INSTANCE] {
                    assert!(!contains(&output, of_the_sender), "{of_the_sender}");
                }
                let object = dicom_object::from_reader(&output[..]).unwrap();
                assert_eq!(
                    object.element_by_name("PatientIdentityRemoved").unwrap().to_str().unwrap(),
                    "YES"
                );
                assert!(object.element_by_name("PerformedProtocolCodeSequence").unwrap().items().is_some());
            }
        }
    }
}

#[test]
fn under_each_pair_of_options_that_alone_survives_which_they_retain() {
    let inputs = SOP_CLASSES.map(|sop_class| {
        let planted = plant(Encoding::EXPLICIT_LITTLE, Ends::Delimiter, 0, sop_class);
        (sop_class, part_10(EXPLICIT, sop_class, &planted.octets))
    });
    let mut pairs = 0;
    for (i, a) in ProfileOption::ALL.into_iter().enumerate() {
        for b in ProfileOption::ALL.into_iter().skip(i).filter(|b| allowed(a, *b)) {
            pairs += 1;
            let expected = retained(&[a, b]);
            for (sop_class, input) in &inputs {
                let output = deidentify_as(&config(&[a, b]), input).unwrap();
                assert_eq!(found(&output), expected, "{a} and {b}, {sop_class}");
            }
        }
    }
    assert_eq!(pairs, 12 + 12 * 11 / 2 - 1);
    assert!(retained(&[RetainUids, RetainDeviceIdentity]).len() > 90 * DEPTH, "options do retain something");
}

#[test]
fn an_unknown_value_that_the_dictionary_knows_as_a_sequence_is_rewritten() {
    for ends in [Ends::Length, Ends::Delimiter] {
        let below = plant(Encoding::IMPLICIT_LITTLE, ends, 2, "");
        for (syntax, encoding) in &ENCODINGS[1..] {
            let elements =
                Elements::image(*encoding).sequence_as(CARRIER, "UN", std::slice::from_ref(&below), ends);
            let output = deidentify_as(&config(&[]), &elements.part_10(syntax)).unwrap();
            assert_eq!(found(&output), BTreeSet::new(), "{syntax} {ends:?}");
        }
    }
}
