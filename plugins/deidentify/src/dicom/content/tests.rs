//! What a stage decides about concepts, and with a table of its own. What becomes of whole items is tested on objects.

use super::*;
use crate::dicom::table::column;

/// The table as published, read again here so that a mistake of the build script shows.
const TABLE: &str = include_str!("../../../data/ps3.15-2026a-table-e.3.4-1.tsv");

fn of_type(letters: &str) -> Option<ValueType> {
    ValueType::from_letters(letters.as_bytes())
}

fn rejected(text: &str) -> TableError {
    Contents::new(Some(text), 0).unwrap_err()
}

#[test]
fn the_table_is_built_in_with_its_retired_codes() {
    assert_eq!((EDITION, TABLE.lines().count()), ("2026a", 213));
    assert_eq!(ROWS.len(), 211 + 11 * 3);
    assert!(ROWS.is_sorted_by(|a, b| a.key() < b.key()));
    assert_eq!(rows::parse(TABLE).unwrap().rows, ROWS);
    for scheme in ["SRT", "SNM3", "99SDM"] {
        let contents = Contents::new(None, 0).unwrap();
        let judged = |code: &str, kind| contents.judge(scheme.as_bytes(), code.as_bytes(), of_type(kind));
        assert_eq!(judged("R-42B89", "TEXT"), Verdict::Remove, "{scheme}");
        assert_eq!(judged("G-D320", "DATETIME"), Verdict::Dummy, "{scheme}");
        assert_eq!(judged("F-01860", "NUM"), Verdict::Remove, "{scheme}");
    }
}

#[test]
fn where_the_table_is_silent_the_stricter_default_counts() {
    let alone = Contents::new(None, 0).unwrap();
    let judged =
        |scheme: &str, code: &str, kind: &str| alone.judge(scheme.as_bytes(), code.as_bytes(), of_type(kind));
    // A subject's name as text, which the table does not think of; a finding that is a code; a concept without a row.
    assert_eq!(judged("DCM", "121029", "TEXT"), Verdict::Remove);
    assert_eq!(judged("DCM", "121071", "CODE"), Verdict::Usual);
    assert_eq!(judged("SCT", "103355008", "NUM"), Verdict::Usual);
    assert_eq!(judged("SCT", "50373000", "NUM"), Verdict::Remove, "height");
    assert_eq!(judged("SCT", "397669002", "NUM"), Verdict::Remove, "an age");
    // Without a value type, or with one that is none, the strictest row counts.
    assert_eq!(judged("SCT", "371524004", ""), Verdict::Remove);
    assert_eq!(judged("DCM", "121112", "text"), Verdict::Remove);
    assert_eq!(judged("SCT", "363698007", ""), Verdict::Dummy);

    let retained = Contents::new(None, column("retain_patient_chars")).unwrap();
    let judged = |scheme: &str, code: &str, kind: &str| {
        retained.judge(scheme.as_bytes(), code.as_bytes(), of_type(kind))
    };
    assert_eq!(judged("SCT", "50373000", "NUM"), Verdict::Usual);
    assert_eq!(judged("DCM", "121033", "NUM"), Verdict::Age);
    assert_eq!(judged("DCM", "121033", "NUMERIC"), Verdict::Age, "as an acquisition context calls it");
    assert_eq!(judged("DCM", "121033", "TEXT"), Verdict::Remove);
    assert_eq!(judged("SCT", "397669002", "NUM"), Verdict::Remove);
}

#[test]
fn a_hospital_may_bring_another_edition_of_the_table() {
    let text = TABLE.replace("2026a", "2027b").replace("\t113877\tTEXT\tX\t\tK", "\t113877\tTEXT\tX\t\t");
    let own = Contents::new(Some(&text), column("retain_device_id")).unwrap();
    assert_eq!(own.edition(), "2027b");
    assert_eq!(own.judge(b"DCM", b"113877", of_type("TEXT")), Verdict::Remove);
    assert_eq!(own.judge(b"DCM", b"113880", of_type("TEXT")), Verdict::Keep);
}

#[test]
fn a_table_that_cannot_be_read_is_refused_at_its_line_and_column() {
    let heading: String = TABLE.lines().take(2).map(|line| line.to_owned() + "\n").collect();
    let of = |rows: &str| format!("{heading}{rows}\n");
    let good = "DCM\t1\tTEXT\tX\t\t\t\t\t\t\tC\t\tx";
    assert!(rows::parse(&of(good)).is_ok());
    for (text, line, place) in [
        (TABLE.replacen("# PS3.15 2026a", "table", 1), 1, 1),
        (TABLE.replacen("clean_desc", "clean", 1), 2, 1),
        (of(&good.replacen("TEXT", "STRING", 1)), 3, 7),
        (of(&good.replacen("\tX\t", "\tZ\t", 1)), 3, 12),
        (of(&good.replacen("\tC\t", "\tU\t", 1)), 3, 20),
        (of(&good.replacen("DCM", "", 1)), 3, 1),
        (of("DCM\t1\tTEXT\tX"), 3, 13),
        (of(&format!("{good}\n{good}")), 4, 1),
        (heading.clone(), 3, 1),
    ] {
        let error = rejected(&text);
        assert_eq!((error.line, error.column), (line, place), "{error}");
    }
}
