//! Content items under the Clean Structured Content Option: every row of PS3.15 Table E.3.4-1 under every option that it has a column of, and a
//! whole report.

use std::collections::BTreeMap;

use super::build::{EXPLICIT, Elements, Ends, part_10};
use super::{contains, deidentify_as, item_text, open, with_options};
use crate::Config;
use crate::dicom::ProfileOption::{self, *};
use dicom_object::{InMemDicomObject, Tag};
use hilum_formats::dicom::Encoding;

const TABLE: &str = include_str!("../../../data/ps3.15-2026a-table-e.3.4-1.tsv");
const REPORT: &str = "1.2.840.10008.5.1.4.1.1.88.33";
/// Referenced Content Item Identifier, by which items are found again.
const NUMBER: u32 = 0x0040_DB73;

fn elements() -> Elements {
    Elements::new(Encoding::EXPLICIT_LITTLE)
}

/// A sequence of one code.
fn code(tag: u32, scheme: &str, value: &str) -> Elements {
    let code = elements().text(0x0008_0100, "SH", value).text(0x0008_0102, "SH", scheme);
    elements().sequence(tag, &[code.text(0x0008_0104, "LO", "Meaning")], Ends::Delimiter)
}

/// A content item: what comes before its concept, the concept, and what comes after.
fn item(value_type: &str, before: &Elements, concept: &Elements, after: &Elements) -> Elements {
    let mut item = elements();
    item.octets.extend_from_slice(&before.octets);
    item = item.text(0x0040_A040, "CS", value_type);
    item.octets.extend_from_slice(&concept.octets);
    item.octets.extend_from_slice(&after.octets);
    item
}

fn number(value: &str, unit: (&str, &str)) -> Elements {
    let mut measured = code(0x0040_08EA, unit.0, unit.1);
    measured = measured.text(0x0040_A30A, "DS", value);
    elements().sequence(0x0040_A300, &[measured], Ends::Length)
}

fn report(items: &[Elements]) -> Vec<u8> {
    let object = elements()
        .text(0x0008_0016, "UI", REPORT)
        .text(0x0008_0018, "UI", "1.9.8.7.4711")
        .text(0x0010_0010, "PN", "DOE^JANE")
        .text(0x0010_0020, "LO", "4711")
        .sequence(0x0040_A730, items, Ends::Delimiter);
    part_10(EXPLICIT, REPORT, &object.octets)
}

/// A row for each code under which a concept may come: its number, value type, basic action, and what the options say.
struct Row {
    scheme: &'static str,
    code: &'static str,
    value_type: &'static str,
    basic: &'static str,
    said: BTreeMap<&'static str, &'static str>,
}

fn rows() -> Vec<Row> {
    let names: Vec<&str> = TABLE.lines().nth(1).unwrap().split('\t').collect();
    let mut rows = Vec::new();
    for line in TABLE.lines().skip(2) {
        let cells: Vec<&'static str> = line.split('\t').collect();
        let mut row = |scheme, code| {
            let said = names.iter().zip(&cells).skip(4).take(7).map(|(name, said)| (*name, *said)).collect();
            rows.push(Row { scheme, code, value_type: cells[2], basic: cells[3], said });
        };
        row(cells[0], cells[1]);
        if !cells[11].is_empty() {
            for scheme in ["SRT", "SNM3", "99SDM"] {
                row(scheme, cells[11]);
            }
        }
    }
    rows
}

/// An item of a row, with a value that is recognised again.
fn planted(number_of_item: usize, row: &Row) -> Elements {
    let concept = code(0x0040_A043, row.scheme, row.code);
    let (mut before, mut after) = (elements(), elements());
    let uid = format!("1.77.{number_of_item}");
    match row.value_type {
        "TEXT" => after = after.text(0x0040_A160, "UT", &format!("PHI{number_of_item} liver")),
        "DATETIME" => after = after.text(0x0040_A120, "DT", "20250615101112"),
        "DATE" => after = after.text(0x0040_A121, "DA", "20250615"),
        "TIME" => after = after.text(0x0040_A122, "TM", "101112"),
        "PNAME" => after = after.text(0x0040_A123, "PN", &format!("PHI{number_of_item}")),
        "UIDREF" => after = after.text(0x0040_A124, "UI", &uid),
        "CODE" => after = code(0x0040_A168, "DCM", "F"),
        "NUM" => after = number("42", ("UCUM", "a")),
        "CONTAINER" => {}
        "COMPOSITE" | "IMAGE" | "WAVEFORM" => {
            let reference = elements().text(0x0008_1150, "UI", REPORT).text(0x0008_1155, "UI", &uid);
            before = before.sequence(0x0008_1199, &[reference], Ends::Length);
        }
        other => panic!("{other}"),
    }
    let last = u32::try_from(number_of_item).unwrap().to_le_bytes();
    item(row.value_type, &before, &concept, &after.value(NUMBER, "UL", &last))
}

/// What the value of an item is: as planted (`kept`), `words` of it, `shifted`, another one that says nothing (`dummy`).
fn state(number_of_item: usize, row: &Row, item: &InMemDicomObject) -> &'static str {
    let text = |tag| item.element(tag).unwrap().to_str().unwrap().trim_end_matches('\0').to_owned();
    let date = |value: &str, planted: &str, dummy: &str| match value {
        _ if value == planted => "kept",
        _ if value == dummy => "dummy",
        _ => "shifted",
    };
    let is_one = |is_kept: bool| if is_kept { "kept" } else { "dummy" };
    match row.value_type {
        "TEXT" => match text(Tag(0x0040, 0xA160)) {
            value if value == format!("PHI{number_of_item} liver") => "kept",
            value if value == "liver" => "words",
            value if value == "REMOVED" => "dummy",
            value => panic!("{value}"),
        },
        "DATETIME" => date(&text(Tag(0x0040, 0xA120)), "20250615101112", "19000101000000"),
        "DATE" => date(&text(Tag(0x0040, 0xA121)), "20250615", "19000101"),
        // The time of day stays in a shift.
        "TIME" => date(&text(Tag(0x0040, 0xA122)), "101112", "000000"),
        "PNAME" => is_one(text(Tag(0x0040, 0xA123)).starts_with("PHI")),
        "UIDREF" => is_one(text(Tag(0x0040, 0xA124)) == format!("1.77.{number_of_item}")),
        "CODE" => is_one(item_text(item.element(Tag(0x0040, 0xA168)).unwrap(), 0x0008, 0x0100) == "F"),
        "NUM" => is_one(item_text(item.element(Tag(0x0040, 0xA300)).unwrap(), 0x0040, 0xA30A) == "42"),
        "CONTAINER" => "kept",
        _ => {
            let uid = item_text(item.element(Tag(0x0008, 0x1199)).unwrap(), 0x0008, 0x1155);
            is_one(uid == format!("1.77.{number_of_item}"))
        }
    }
}

fn option_of(column: &str) -> ProfileOption {
    match column {
        "retain_uids" => RetainUids,
        "retain_device_id" => RetainDeviceIdentity,
        "retain_institution_id" => RetainInstitutionIdentity,
        "retain_patient_chars" => RetainPatientCharacteristics,
        "retain_long_full_dates" => RetainLongitudinalFullDates,
        "retain_long_modif_dates" => RetainLongitudinalModifiedDates,
        "clean_desc" => CleanDescriptors,
        other => panic!("{other}"),
    }
}

#[test]
fn every_row_of_the_table_is_followed_under_each_option_that_it_has_a_column_of() {
    let rows = rows();
    assert_eq!(rows.len(), 211 + 11 * 3);
    let planted: Vec<Elements> = rows.iter().enumerate().map(|(i, row)| planted(i, row)).collect();
    let input = report(&planted);
    let columns: Vec<&str> = rows[0].said.keys().copied().collect();
    let mut acted = BTreeMap::new();
    for chosen in std::iter::once(None).chain(columns.into_iter().map(Some)) {
        let options = [Some(CleanStructuredContent), chosen.map(option_of)];
        let output = deidentify_as(&with_options(&options.into_iter().flatten().collect::<Vec<_>>()), &input);
        let object = open(&output.unwrap());
        let items = object.element(Tag(0x0040, 0xA730)).unwrap().items().unwrap();
        let left: BTreeMap<usize, &InMemDicomObject> = (items.iter())
            .map(|item| (item.element(Tag(0x0040, 0xDB73)).unwrap().to_int::<usize>().unwrap(), item))
            .collect();
        assert_eq!(left.len(), items.len());
        for (i, row) in rows.iter().enumerate() {
            let said = chosen.map_or("", |column| row.said[column]);
            let expected = match (said, row.value_type, row.basic) {
                ("K", ..) => "kept",
                // The time of day is kept by a shift.
                ("C", "TIME", _) => "kept",
                ("C", "TEXT", _) => "words",
                ("C", ..) => "shifted",
                (_, _, "X") => "removed",
                _ => "dummy",
            };
            let found = left.get(&i).map_or("removed", |item| state(i, row, item));
            assert_eq!(found, expected, "{} {} {} under {chosen:?}", row.scheme, row.code, row.value_type);
            *acted.entry((chosen.unwrap_or("alone"), expected)).or_insert(0) += 1;
        }
    }
    assert_eq!(acted[&("alone", "removed")] + acted[&("alone", "dummy")], rows.len());
    assert_eq!(acted[&("retain_patient_chars", "kept")], 2);
    assert_eq!(
        acted[&("clean_desc", "words")],
        rows.iter().filter(|row| row.said["clean_desc"] == "C").count()
    );
}

#[test]
fn an_age_stays_only_where_it_is_sure_that_it_is_under_ninety_years() {
    let config = with_options(&[CleanStructuredContent, RetainPatientCharacteristics]);
    let age = |after: &Elements| {
        item(
            "NUM",
            &elements(),
            &code(0x0040_A043, "DCM", "121033"),
            &after.clone().text(0x0040_A992, "ST", "x"),
        )
    };
    let two = |value: &str| {
        let mut measured = code(0x0040_08EA, "UCUM", "a").value(0x0040_A161, "FD", &101f64.to_le_bytes());
        measured = measured.text(0x0040_A30A, "DS", value);
        elements().sequence(0x0040_A300, &[measured], Ends::Length)
    };
    for (after, stays) in [
        (number("42", ("UCUM", "a")), true),
        (number("89.9", ("UCUM", "a")), true),
        (number("90", ("UCUM", "a")), false),
        (number("104", ("UCUM", "a")), false),
        (number("7", ("UCUM", "mo")), true),
        (number("1100", ("UCUM", "mo")), false),
        (number("40000", ("UCUM", "d")), false),
        (number("42", ("99WARD", "a")), false),
        (number("42", ("UCUM", "decade")), false),
        (number("JANE", ("UCUM", "a")), false),
        (number("-1", ("UCUM", "a")), false),
        (number("NaN", ("UCUM", "a")), false),
        (number("", ("UCUM", "a")), false),
        (two("42"), false),
        (elements(), false),
    ] {
        let output = deidentify_as(&config, &report(&[age(&after)])).unwrap();
        assert_eq!(contains(&output, "121033"), stays, "{:?}", String::from_utf8_lossy(&after.octets));
    }
    // As an acquisition context has it: the unit before the concept, the number beside it.
    for (value, stays) in [("42", true), ("97", false)] {
        let context = item(
            "NUMERIC",
            &code(0x0040_08EA, "UCUM", "a"),
            &code(0x0040_A043, "DCM", "121033"),
            &elements().text(0x0040_A30A, "DS", value),
        );
        let object =
            Elements::image(Encoding::EXPLICIT_LITTLE).sequence(0x0040_0555, &[context], Ends::Length);
        let output = deidentify_as(&config, &object.part_10(EXPLICIT)).unwrap();
        assert_eq!(contains(&output, "121033"), stays, "{value}");
    }
}

#[test]
fn no_second_code_and_no_other_form_of_a_code_hides_what_a_concept_is() {
    let text = elements().text(0x0040_A160, "UT", "DOE 4711");
    let harmless = || code(0x0008_0121, "SCT", "103355008");
    let with = |equivalent: &Elements| {
        let mut concept = elements().text(0x0008_0100, "SH", "121022").text(0x0008_0102, "SH", "DCM").text(
            0x0008_0104,
            "LO",
            "Meaning",
        );
        concept.octets.extend_from_slice(&equivalent.octets);
        concept
    };
    // An equivalent code after the concept's own, a second item, a concept within the concept, and a code in the place of a long one.
    let mut nested = elements().text(0x0040_A040, "CS", "TEXT");
    nested.octets.extend_from_slice(&code(0x0040_A043, "SCT", "103355008").octets);
    let nested = elements().sequence(0x0040_A730, &[nested], Ends::Length);
    let long = elements().text(0x0008_0102, "SH", "DCM").text(0x0008_0104, "LO", "Meaning").text(
        0x0008_0119,
        "UC",
        "121022",
    );
    let second = elements().text(0x0008_0100, "SH", "103355008").text(0x0008_0102, "SH", "SCT");
    for concept in [vec![with(&harmless())], vec![with(&elements()), second], vec![with(&nested)], vec![long]]
    {
        let concept = elements().sequence(0x0040_A043, &concept, Ends::Length);
        let options = [CleanStructuredContent, RetainDeviceIdentity];
        let output =
            deidentify_as(&with_options(&options), &report(&[item("TEXT", &elements(), &concept, &text)]));
        let object = open(&output.unwrap());
        let items = object.element(Tag(0x0040, 0xA730)).unwrap().items().unwrap();
        assert!(items.is_empty(), "{:?}", String::from_utf8_lossy(&concept.octets));
    }
    // What is kept is the value of the item's type, and no other.
    let name = elements().text(0x0040_A123, "PN", "DOE^JANE").text(0x0040_A124, "UI", "1.9.9.4711");
    let name = name.text(0x0040_A160, "UT", "Scanner");
    let kept = item("TEXT", &elements(), &code(0x0040_A043, "DCM", "113877"), &name);
    let options = [CleanStructuredContent, RetainDeviceIdentity];
    let output = deidentify_as(&with_options(&options), &report(&[kept])).unwrap();
    assert!(contains(&output, "Scanner") && !contains(&output, "DOE") && !contains(&output, "1.9.9.4711"));
}

/// A report after PS3.16 TID 1500: observers, subject, procedure, findings with their images, an impression.
fn whole_report() -> Vec<u8> {
    let concept = |scheme, value| code(0x0040_A043, scheme, value);
    let of = |value_type, scheme, value, after: Elements| {
        item(value_type, &elements(), &concept(scheme, value), &after)
    };
    let text = |value| elements().text(0x0040_A160, "UT", value);
    let image = |value_type, value| {
        let reference = elements().text(0x0008_1150, "UI", "1.2.840.10008.5.1.4.1.1.4").text(
            0x0008_1155,
            "UI",
            "1.9.9.4711",
        );
        let before = elements().sequence(0x0008_1199, &[reference], Ends::Length);
        item(value_type, &before, &concept("DCM", value), &elements())
    };
    let below = [
        of("UIDREF", "DCM", "112040", elements().text(0x0040_A124, "UI", "1.9.9.4712")),
        of("CODE", "DCM", "121071", code(0x0040_A168, "SCT", "4147007")),
        of("TEXT", "DCM", "121071", text("Mass in the liver of DOE")),
        of("NUM", "SCT", "410668003", number("12", ("UCUM", "mm"))),
        image("IMAGE", "121112"),
        image("IMAGE", "121080"),
    ];
    let group = of("CONTAINER", "DCM", "125007", elements().sequence(0x0040_A730, &below, Ends::Delimiter));
    report(&[
        of("PNAME", "DCM", "121008", elements().text(0x0040_A123, "PN", "DOE^JOHN")),
        of("TEXT", "DCM", "121009", text("ST MARYS")),
        of("TEXT", "DCM", "128774", text("jdoe")),
        of("TEXT", "DCM", "121013", text("Scanner 7")),
        of("PNAME", "DCM", "121029", elements().text(0x0040_A123, "PN", "DOE^JANE")),
        of("TEXT", "DCM", "121030", text("4711")),
        of("DATE", "DCM", "121031", elements().text(0x0040_A121, "DA", "19800102")),
        of("CODE", "DCM", "121032", code(0x0040_A168, "DCM", "F")),
        of("NUM", "DCM", "121033", number("46", ("UCUM", "a"))),
        of("TEXT", "DCM", "121022", text("ACC4711")),
        of("DATETIME", "DCM", "122146", elements().text(0x0040_A120, "DT", "20260102101112")),
        group,
        of("TEXT", "DCM", "121077", text("DOE has a lesion")),
    ])
}

#[test]
fn a_whole_report_keeps_its_measurements_and_nothing_that_identifies() {
    let left = |options: &[ProfileOption]| {
        let output = deidentify_as(&with_options(options), &whole_report()).unwrap();
        for gone in ["DOE", "JANE", "JOHN", "4711", "19800102", "jdoe"] {
            assert!(!contains(&output, gone), "{gone} under {options:?}");
        }
        let object = open(&output);
        let method = object.element(Tag(0x0012, 0x0063)).unwrap().to_str().unwrap().into_owned();
        assert!(method.ends_with("\\PS3.15 2026a Table E.3.4-1"), "{method}");
        concepts(object.element(Tag(0x0040, 0xA730)).unwrap().items().unwrap())
    };
    let findings = ["125007", "112040", "121071", "121071", "410668003", "121112"];
    let alone = left(&[CleanStructuredContent]);
    assert_eq!(alone, [&["121008", "121029", "121030", "122146"][..], &findings].concat());
    let retained = left(&[
        CleanStructuredContent,
        CleanDescriptors,
        RetainDeviceIdentity,
        RetainInstitutionIdentity,
        RetainPatientCharacteristics,
        RetainLongitudinalFullDates,
    ]);
    let context = ["121008", "121009", "121013", "121029", "121030", "121032", "121033", "122146"];
    assert_eq!(retained, [&context[..], &findings, &["121077"]].concat());
}

/// The codes of the concepts of items, each before those below it.
fn concepts(items: &[InMemDicomObject]) -> Vec<String> {
    let mut found = Vec::new();
    for item in items {
        found.push(item_text(item.element(Tag(0x0040, 0xA043)).unwrap(), 0x0008, 0x0100));
        if let Some(below) = item.element(Tag(0x0040, 0xA730)).ok().and_then(|below| below.items()) {
            found.extend(concepts(below));
        }
    }
    found
}

#[test]
fn a_table_of_contents_without_its_option_is_refused() {
    let config = Config { content_table: Some(TABLE.to_owned()), ..Config::default() };
    assert_eq!(crate::dicom::Profile::new(&config).unwrap_err().at, "/content_table");
    let config = Config { options: vec![CleanStructuredContent], ..config };
    assert!(crate::dicom::Profile::new(&config).is_ok());
}
