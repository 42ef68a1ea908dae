//! Identifiers planted in every field, and what must be left.

mod shifted;

use proptest::prelude::*;

use super::table::Action;
use super::*;
use crate::pseudonym::patient;
use crate::pseudonym::tests::TestKeys;
use crate::{PatientId, Staff};

const HEADER: &str = "MSH|^~\\&|LAB|ST-MARYS|EHR|ST-MARYS|20261123101500||ORU^R01^ORU_R01|MSG7|P|2.5.1\r";

fn clean(text: &str) -> String {
    clean_as(text, &Config::default())
}

fn clean_as(text: &str, config: &Config) -> String {
    String::from_utf8(deidentify(text.as_bytes(), config, &TestKeys(1)).unwrap()).unwrap()
}

fn code_of(text: &str) -> &'static str {
    deidentify(text.as_bytes(), &Config::default(), &TestKeys(1)).unwrap_err().code
}

/// The value of one field after a message with that segment was cleaned.
fn field(segment: &str, number: usize) -> String {
    let text = clean(&format!("{HEADER}{segment}\r"));
    let document = Document::parse(text.as_bytes()).unwrap();
    let part = document.segments()[1].field(number).unwrap_or_default();
    String::from_utf8(part.text.to_vec()).unwrap()
}

/// A segment with a value in every field up to 80.
fn planted(name: &str, value: &str) -> String {
    match name {
        "MSH" | "BHS" | "FHS" => {
            let fields: Vec<String> =
                (3..=80).map(|n| if n == 18 { String::new() } else { plant(value, n) }).collect();
            format!("{name}|^~\\&|{}\r", fields.join("|"))
        }
        _ => format!("{name}|{}\r", (1..=80).map(|n| plant(value, n)).collect::<Vec<_>>().join("|")),
    }
}

/// The value in components, subcomponents and repetitions, marked with the number of the field.
fn plant(value: &str, field: usize) -> String {
    let v = format!("{value}{field}");
    format!("{v}^{v}&{v}^{v}^{v}^{v}^{v}^{v}^{v}^{v}~{v}^{v}&{v}")
}

#[test]
fn a_message_type_keeps_its_codes_and_nothing_else() {
    let header = |text: &str| clean(text).lines().next().unwrap_or_default().to_owned();
    assert!(clean(&format!("{HEADER}PID|1\r")).contains("|ORU^R01^ORU_R01|"));
    let planted = HEADER.replace("^ORU_R01", "^Jane Doe");
    assert!(header(&planted).contains("|ORU^R01|"), "{}", header(&planted));
}

#[test]
fn free_text_survives_in_no_field() {
    for (name, rules) in TABLE.iter() {
        let header = if ["MSH", "BHS", "FHS"].contains(name) { "" } else { HEADER };
        let text = clean(&format!("{header}{}", planted(name, "Jane Doe ")));
        let document = Document::parse(text.as_bytes()).unwrap();
        let segment = document.segments().last().unwrap();
        assert_eq!(segment.name(), *name);
        for (number, part) in segment.fields().filter(|(number, _)| !is_grammar(name, *number)) {
            assert!(!String::from_utf8_lossy(part.text).contains("Jane"), "{name}-{number}");
            assert_ne!(rules.action(number), Action::Keep, "{name}-{number}");
        }
    }
}

/// The delimiters, and the character set, of which unknown ones are refused.
fn is_grammar(segment: &str, field: usize) -> bool {
    matches!(segment, "MSH" | "FHS" | "BHS") && (field < 3 || field == 18)
}

/// Every field that 45 CFR 164.514(b)(2)(i) is about, written down apart from the table.
const IDENTIFYING: &[(&str, &[usize])] = &[
    ("PID", &[2, 3, 4, 5, 6, 7, 9, 11, 12, 13, 14, 18, 19, 20, 21, 23, 29, 33, 37, 40]),
    ("PD1", &[3, 4, 10, 14]),
    ("NK1", &[2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 16, 20, 26, 30, 31, 32, 33, 37, 38]),
    ("GT1", &[2, 3, 4, 5, 6, 7, 8, 12, 13, 14, 16, 17, 18, 19, 21, 42, 45, 46, 51]),
    ("IN1", &[6, 7, 8, 9, 10, 11, 12, 13, 14, 16, 18, 19, 28, 36, 44, 49, 52]),
    ("IN2", &[1, 2, 3, 6, 7, 8, 9, 10, 25, 26, 40, 49, 52, 61, 63, 64, 69]),
    ("IN3", &[2, 3, 8, 14, 16, 19, 25]),
    ("MRG", &[1, 2, 3, 4, 5, 6, 7]),
    ("PV1", &[5, 7, 8, 9, 17, 19, 37, 44, 45, 50, 52]),
    ("PV2", &[5, 6, 8, 9, 12, 13, 23, 33]),
    ("ACC", &[1, 3, 7, 8, 9, 11]),
    ("ROL", &[1, 4, 5, 6, 8, 11, 12]),
    ("ORC", &[2, 3, 4, 7, 8, 9, 10, 11, 12, 14, 15, 21, 22, 23, 24]),
    ("OBR", &[2, 3, 6, 7, 8, 10, 13, 14, 16, 17, 18, 19, 20, 21, 22, 28, 29, 32, 33, 34, 35, 36, 39]),
    ("OBX", &[5, 14, 16, 18, 19, 23, 24, 25]),
    ("NTE", &[3]),
    ("TXA", &[4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 22, 23]),
    ("SCH", &[1, 2, 11, 12, 13, 14, 16, 17, 18, 20, 21, 26, 27]),
    ("AIP", &[3, 6]),
    ("FT1", &[2, 3, 4, 5, 8, 9, 20, 21, 23, 24, 30]),
    ("MSH", &[7, 8, 10]),
];

#[test]
fn an_identifier_survives_in_no_identifying_field() {
    for (name, numbers) in IDENTIFYING {
        let header = if *name == "MSH" { "" } else { HEADER };
        for value in ["Doe", "20261122", "555667777", "X", "a@b.c"] {
            let value = format!("{value}Q");
            let text = clean(&format!("{header}{}", planted(name, &value)));
            let document = Document::parse(text.as_bytes()).unwrap();
            for number in *numbers {
                let part = document.segments().last().unwrap().field(*number).unwrap_or_default();
                assert!(!String::from_utf8_lossy(part.text).contains(&value), "{name}-{number}");
            }
        }
    }
}

#[test]
fn a_patient_is_who_they_are_in_dicom() {
    let pseudonym = patient(&TestKeys(1), b"4711").unwrap();
    let cleaned = field("PID|1|4711|4711^^^ST-MARYS^MR~ 4711 ^5^M10^ST-MARYS^PI||Doe^Jane", 3);
    assert_eq!(cleaned, format!("{pseudonym}^^^^MR~{pseudonym}^^^^PI"));
    assert_eq!(field("PID|1|4711", 2), pseudonym);
    assert_eq!(field("MRG|4711", 1), pseudonym);
    assert_eq!(
        field("PID|1||A\\T\\B", 3),
        patient(&TestKeys(1), b"A&B").unwrap(),
        "escapes are resolved first"
    );
    let empty = Config { patient_id: PatientId::Empty, ..Config::default() };
    assert!(clean_as(&format!("{HEADER}PID|1||4711^^^A^MR|||\r"), &empty).ends_with("PID|1|||||\r"));
}

#[test]
fn names_dates_and_addresses_are_reduced() {
    assert_eq!(field("PID|||||Doe^Jane~Roe^Jane", 5), "^^^^^^S");
    assert_eq!(field("PID|||||||19700203", 7), "1970");
    assert_eq!(field("PID|||||||1930", 7), "1936", "an age over 89 is given as 90");
    assert_eq!(field("PID|||||||unknown", 7), "");
    assert_eq!(field("PID|||||||12345678901", 7), "", "no date");
    assert_eq!(
        field("PID|||||||||||1 Main St^Apt 2^Denver^CO^80020^USA^H~X^^Y^Denver^1^US", 11),
        "^^^CO^^USA~^^^^^US"
    );
    assert_eq!(field("OBR|1||||||20260102030405.123+0100^S", 7), "2026");
    assert_eq!(field("FT1|1|||20260102^20260304", 4), "2026^2026");
    assert_eq!(field("PV1|1|I|ICU^4^B^ST-MARYS", 3), "ICU");
    assert_eq!(field("PID|1||\"\"||\"\"", 5), "\"\"", "a request to delete goes on");
    let precise = clean("MSH|^~\\&|A|B|C|D|20260102^S||ADT^A01|1|P|2.5\rPID|||||||19700203\r");
    assert!(precise.ends_with("PID|||||||1970\r"), "the precision of an older MSH-7 does not matter");
    let undated = clean("MSH|^~\\&|A|B|C|D|||ADT^A01|1|P|2.5\rPID|||||||19700203\r");
    assert!(undated.ends_with("PID|||||||\r"), "without a date the age is not known");
}

#[test]
fn observations_go_on_by_their_type() {
    let value = |kind: &str, value: &str| field(&format!("OBX|1|{kind}|8302-2^Height^LN||{value}|cm"), 5);
    assert_eq!(value("NM", "171.5"), "171.5");
    assert_eq!(value("NM", "tall Jane"), "");
    assert_eq!(value("NM", "4915112345678"), "", "a number of so many digits may be a telephone");
    assert_eq!(value("SN", ">^5"), ">^5");
    assert_eq!(value("CWE", "260385009^Negative^SCT^^^^^^said Jane Doe"), "260385009^Negative^SCT");
    assert_eq!(value("CE", "^Jane Doe"), "");
    assert_eq!(value("CE", "Janedoe"), "", "a word without a code system may be a name");
    assert_eq!(value("DT", "19300304"), "1936", "a date so long ago is a birth");
    assert_eq!(field("OBX|1|NM|JTRIG^Triglyceride||72", 3), "JTRIG", "a laboratory names its own tests");
    assert_eq!(value("DT", "20260304"), "2026");
    for kind in ["TX", "FT", "ST", "ED", "RP", "XPN", "XAD", "XTN", "XCN", "CX", "EI", "TM", "", "??"] {
        assert_eq!(value(kind, "Doe"), "", "{kind}");
    }
    assert_eq!(field("OBX|1|NM|30525-0^Age^LN||93|a", 5), "90");
    assert_eq!(field("OBX|1|NM|30525-0^Age^LN||93|", 5), "", "of what, it does not say");
    assert_eq!(field("OBX|1|NM|63901-3^Years old^LN||97|a", 5), "90");
    assert_eq!(field("OBX|1|NM|patientage||97|yr", 5), "90");
    assert_eq!(field("OBX|1|NM|424144002^^SCT||97", 5), "");
    assert_eq!(field("OBX|1|NM|X1^Since^L||97|year^years^UCUM", 5), "90", "a quantity in years of whatever");
    assert_eq!(field("OBX|1|NM|30525-0^Age^LN||1200|mo", 5), "1080");
    assert_eq!(field("OBX|1|NM|30525-0^Age^LN||42|a", 5), "42");
    assert_eq!(field("OBX|1|NM|L1^Patient age^99L||101|a", 5), "90");
    assert_eq!(field("OBX|1|NM|L1^Height^99L||171|cm|90-200^90^200", 7), "90-200^90^200");
    assert_eq!(field("OBX|1|NM|L1^Height^99L||171|cm|as Jane said", 7), "");
    for range in ["1980-01-02", "19800102", "123-45-6789", "555-123-4567"] {
        assert_eq!(field(&format!("OBX|1|NM|L1^Height^99L||171|cm|{range}"), 7), "", "{range}");
    }
    assert_eq!(field("OBX|1|NM|L1^Height^99L||171|cm|>=40~3.5 - 4.5~<-1", 7), ">=40~3.5 - 4.5~<-1");
    assert_eq!(field("OBX|1|NM|L1^Height^99L||1|10\\S\\3/uL^x^UCUM", 6), "10\\S\\3/uL^x^UCUM");
}

/// What somebody may be known by, in the forms that a code or a number could have.
const IDENTIFIERS: [&str; 8] = [
    "DOE^JANE",
    "Jane.Doe",
    "123-45-6789",
    "123456789",
    "555-123-4567",
    "jane.doe@hosp.org",
    "1980-01-02",
    "19800102",
];

#[test]
fn values_are_of_the_form_of_their_type() {
    for identifier in IDENTIFIERS {
        for kind in ["NM", "SN", "IS", "ID", "SI", "MO", "CP", "CE", "CWE"] {
            // A short word may be a code; nothing stays beside it.
            let left =
                if kind.starts_with('C') && kind != "CP" { identifier.strip_suffix("^JANE") } else { None };
            let cleaned = field(&format!("OBX|1|{kind}|8302-2^Height^LN||{identifier}"), 5);
            assert_eq!(cleaned, left.unwrap_or_default(), "{kind} {identifier}");
        }
        for (segment, number) in [
            ("PID", 8),
            ("PID", 25),
            ("PID", 24),
            ("OBX", 4),
            ("OBX", 8),
            ("OBX", 9),
            ("PV1", 2),
            ("FT1", 31),
            ("PV1", 10),
        ] {
            let text = format!("{segment}|{}{identifier}", "|".repeat(number - 1));
            assert_eq!(field(&text, number), "", "{segment}-{number} {identifier}");
        }
    }
    let value = |kind: &str, value: &str| field(&format!("OBX|1|{kind}|8302-2^Height^LN||{value}|cm"), 5);
    assert_eq!(value("NM", "0.123456789"), "0.123456");
    assert_eq!(value("NM", "250000~Jane~-1.5e3"), "250000~~-1.5e3", "each repetition for itself");
    assert_eq!(value("SN", "^1^:^128"), "^1^:^128");
    assert_eq!(value("SN", "^1980^-^0102^1"), "");
    assert_eq!(value("IS", "POSITIVE"), "POSITIVE");
    assert_eq!(value("MO", "1234567.50^USD"), "1234567.50^USD");
    assert_eq!(field("OBX|1|NM|8302-2^Height^LN||1|cm||H~LL~DOE", 8), "H~LL");
    assert_eq!(field("PV1|1|I|ICU^4|||||||SURG", 10), "SURG");
}

#[test]
fn the_text_of_a_code_stays_only_where_its_system_is_published() {
    let value = |text: &str| field(&format!("OBX|1|CWE|8302-2^Height^LN||{text}"), 5);
    for (text, left) in [
        ("X^Jane Doe 123-45-6789 born 1980-01-02^L", "X^^L"),
        ("X^Jane Doe^99MRC", "X^^99MRC"),
        ("X^Jane Doe^JANE", "X"),
        ("260385009^Negative^SCT^NEG^Jane Doe^L^^^Jane Doe", "260385009^Negative^SCT^NEG^^L"),
        ("260385009^born 1980-01-02^SCT", "260385009^^SCT"),
        ("123456789^Jane Doe^SCT", ""),
        ("Jane.Doe^Jane Doe^HL70005", ""),
        ("2106-3^White^HL70005", "2106-3^White^HL70005"),
        ("E11.9^Diabetes^I10", "E11.9^Diabetes^I10"),
        ("Janedoe^Jane^L", ""),
        ("^Jane Doe^LN", ""),
    ] {
        assert_eq!(value(text), left, "{text}");
    }
    for (segment, number) in [
        ("DG1", 3),
        ("OBR", 4),
        ("OBR", 31),
        ("OBX", 3),
        ("OBX", 6),
        ("SCH", 7),
        ("AIG", 3),
        ("NTE", 4),
        ("IN1", 2),
    ] {
        let text = format!("{segment}|{}X^Jane Doe 123-45-6789^L", "|".repeat(number - 1));
        assert_eq!(field(&text, number), "X^^L", "{segment}-{number}");
    }
    assert_eq!(
        field("OBX|1|NM|JHDL||62|CD:289^mg/dL", 6),
        "CD:289^mg/dL",
        "a unit stays, whoever's its code is"
    );
    assert_eq!(field("OBX|1|NM|JHDL||62|mo^month^ANSI", 6), "mo^month^ANSI");
    assert_eq!(field("OBX|1|NM|JHDL||62|Janedoe^of Jane", 6), "");
    let config = Config { code_systems: vec!["MRC".to_owned()], ..Config::default() };
    let text = clean_as(&format!("{HEADER}DG1|1||X^Much^MRC\r"), &config);
    assert!(text.ends_with("DG1|1||X^Much^MRC\r"), "{text}");
}

#[test]
fn a_header_says_nothing_of_a_patient() {
    let header = |number: usize, value: &str| {
        let mut fields: Vec<&str> = HEADER.trim_end().split('|').collect();
        fields.resize(fields.len().max(number), "");
        fields[number - 1] = value;
        let text = clean(&format!("{}\rPID|1\r", fields.join("|")));
        text.split('\r').next().unwrap().split('|').nth(number - 1).unwrap_or_default().to_owned()
    };
    for number in [3, 4, 5, 6, 21] {
        assert_eq!(header(number, "Jane Doe"), "", "MSH-{number}");
        assert_eq!(header(number, "4711"), "", "MSH-{number}");
    }
    assert_eq!(header(3, "LAB^2.16.840.1.113883.3.72^ISO"), "LAB^2.16.840.1.113883.3.72^ISO");
    assert_eq!(header(4, "ST-MARYS^45D0470381^CLIA"), "ST-MARYS^45D0470381^CLIA");
    assert_eq!(header(4, "ST-MARYS^Jane Doe^DNS"), "ST-MARYS");
    assert_eq!(
        header(21, "PHLabReport^PH^2.16.840.1.113883.9.11^ISO"),
        "PHLabReport^PH^2.16.840.1.113883.9.11^ISO"
    );
    assert_eq!((header(11, "T^A"), header(11, "Jane Doe")), ("T^A".to_owned(), "P".to_owned()));
    assert_eq!((header(12, "2.3"), header(12, "Jane Doe^Jane")), ("2.3".to_owned(), "2.5.1".to_owned()));
    assert_eq!(header(12, "2.5.1^DEU&&ISO3166_1"), "2.5.1^DEU");
    let set = HEADER.replace("2.5.1\r", "2.5.1||||||8859/Jane Doe\r");
    assert_eq!(code_of(&set), "unsupported-character-set");
    assert_eq!(field("CTI|Jane Doe", 1).len(), 20, "a pseudonym, as it is required");
    assert_eq!(field("IN1|1|PPO|60054|ACME", 3), "60054");
    assert_eq!(field("IN1|1|PPO|60054|ACME", 4), "ACME");
    for number in [3, 4] {
        assert_eq!(field(&format!("IN1|1|{}Jane Doe", "|".repeat(number - 2)), number).len(), 20);
    }
    assert!(!field("PID|1||4711^^^A^DOE", 3).contains('^'));
    assert_eq!(field("PV1|1|I|Janedoe^1", 3), "");
    assert_eq!(field("PID|||||||||||^^^DOE^^DOE", 11), "");
    assert_eq!(field("EVN|A01|2026|||||Jane Doe", 7), "");
    let batch = clean(&format!(
        "FHS|^~\\&|Jane Doe|4711\rBHS|^~\\&|Jane Doe\r{HEADER}PID|1\rBTS|Jane Doe\rFTS|Jane Doe\r"
    ));
    assert!(!batch.contains("Jane") && !batch.contains("4711"), "{batch}");
}

#[test]
fn staff_are_pseudonyms_unless_kept() {
    let text = format!("{HEADER}PV1|1|I|||||277^Allen^Bonnie~^Allen^Bonnie\r");
    let cleaned = clean(&text);
    assert!(!cleaned.contains("Allen") && !cleaned.contains("277"));
    assert_eq!(
        field("OBR|1|||||||||277^Ally^B", 10),
        field("PV1|1|I|||||277^Allen^Bonnie", 7),
        "the number counts"
    );
    assert_eq!(field("PV1|1|I|||||^^", 7), "");
    let keep = Config { staff: Staff::Keep, ..Config::default() };
    assert!(clean_as(&text, &keep).contains("|277^Allen^Bonnie~^Allen^Bonnie\r"));
}

#[test]
fn what_nobody_described_is_refused() {
    let local = format!("{HEADER}PID|1\rZPI|Jane Doe\r");
    assert_eq!(code_of(&local), "unknown-segment");
    let refusal = deidentify(local.as_bytes(), &Config::default(), &TestKeys(1)).unwrap_err();
    assert!(refusal.reason.contains("segment 3") && !refusal.reason.contains("Jane"), "{refusal}");
    let with = |what| Config { local_segments: [("ZPI".to_owned(), what)].into(), ..Config::default() };
    assert!(clean_as(&local, &with(LocalSegment::Keep)).ends_with("\rZPI|Jane Doe\r"));
    assert!(clean_as(&local, &with(LocalSegment::Remove)).ends_with("\rPID|1\r"));

    assert_eq!(code_of(&format!("{HEADER}DOE|1\r")), "unknown-segment");
    let other =
        deidentify(format!("{HEADER}DOE|1\r").as_bytes(), &Config::default(), &TestKeys(1)).unwrap_err();
    assert!(!other.reason.contains("DOE"));
    assert_eq!(code_of("PID|1\r"), "invalid-hl7");
    assert_eq!(code_of("not a message"), "invalid-hl7");
    assert_eq!(code_of(&format!("{HEADER}Jane Doe\r")), "invalid-hl7");
}

#[test]
fn character_sets_that_could_hide_a_delimiter_are_refused() {
    let with = |sets: &str| format!("MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5||||||{sets}\rPID|1\r");
    for sets in ["", "ASCII", "8859/1", "UNICODE UTF-8", "unicode utf-8~8859/15"] {
        clean(&with(sets));
    }
    for sets in ["ISO IR87", "ASCII~ISO IR87", "GB 18030-2000", "BIG-5", "UNICODE UTF-16"] {
        assert_eq!(code_of(&with(sets)), "unsupported-character-set", "{sets}");
    }
    assert_eq!(code_of(&format!("{HEADER}PID|1||||\x1b$B|\r")), "unsupported-character-set");
}

/// One message of each kind, with an identifier wherever there is room for one.
const WHOLE: &str = concat!(
    "FHS|^~\\&|HIS\nBHS|^~\\&|HIS\r\n",
    "MSH|^~\\&|HIS|ST-MARYS|||20261123||ADT^A01^ADT_A01|SENTINEL1|P|2.5.1\r",
    "EVN|A01|20261123101112|||SENTINEL2\r",
    "PID|1|SENTINEL3|SENTINEL4^^^A^MR||SENTINEL5^B||19330405|F||2106-3^White^HL70005|SENTINEL6^^C^CO^1|D|555-1212\r",
    "NK1|1|SENTINEL7^X|SPO^Spouse^HL70063|SENTINEL8||555\r",
    "PV1|1|I|ICU^1^2||||SENTINEL9^Y||||||||||||SENTINEL10\r",
    "GT1|1|SENTINEL11|SENTINEL12^Z\rIN1|1|PPO^Plan^L|1|ACME|||||SENTINEL13|||||||SENTINEL14^A\r",
    "MSH|^~\\&|LAB|ST-MARYS|||2026||ORU^R01^ORU_R01|SENTINEL15|P|2.5.1\n",
    "OBR|1|SENTINEL16|SENTINEL17|24323-8^CMP^LN|||20261123\nNTE|1||SENTINEL18\n",
    "OBX|1|TX|1^t^L||SENTINEL19\nOBX|2|NM|2345-7^Glucose^LN||5.4|mmol/L|4-6||||F|||20261123\n",
    "MSH|^~\\&|BIL|ST-MARYS|||2026||DFT^P03^DFT_P03|SENTINEL20|P|2.5.1\r",
    "FT1|1|SENTINEL21||20261123|20261123|CG|70551^MRI^C4|SENTINEL22||1|900.00&USD||||||||G35^MS^I10|SENTINEL23\r",
    "BTS|3\rFTS|1\r",
);

#[test]
fn a_batch_keeps_its_structure_and_nobody_in_it() {
    let text = WHOLE;
    let cleaned = clean(text);
    assert!(!cleaned.contains("SENTINEL"), "{cleaned}");
    let names = |text: &str| -> Vec<String> {
        Document::parse(text.as_bytes())
            .unwrap()
            .segments()
            .iter()
            .map(|segment| segment.name().to_owned())
            .collect()
    };
    assert_eq!(names(&cleaned), names(text));
    assert_eq!(names(&clean(&cleaned)), names(text), "and again");
    assert!(cleaned.contains("OBX|2|NM|2345-7^Glucose^LN||5.4|mmol/L|4-6||||F|||2026\n"), "{cleaned}");
    assert!(cleaned.contains("|70551^MRI^C4|||1|900.00&USD||||||||G35^MS^I10|"), "{cleaned}");
    assert!(cleaned.starts_with("FHS|^~\\&|HIS\nBHS|^~\\&|HIS\r\nMSH|"), "line ends stay as they are");
    assert_ne!(clean_keyed(text, 2), cleaned, "another key gives other pseudonyms");
}

fn clean_keyed(text: &str, key: u64) -> String {
    String::from_utf8(deidentify(text.as_bytes(), &Config::default(), &TestKeys(key)).unwrap()).unwrap()
}

/// The segments of the messages ADT, ORM, ORU, DFT, MDM, SIU and of what acknowledges them, by the structures of HL7 v2.5.1 (chapters 2 to 10).
const SEGMENTS: &str = "ACC AIG AIL AIP AIS AL1 BLG CTD CTI DB1 DG1 DRG DSC ERR EVN FT1 GT1 IAM IN1 IN2 IN3 MRG MSA MSH NK1 NPU NTE OBR \
    OBX ODS ODT ORC PD1 PDA PID PR1 PV1 PV2 RGS ROL RQ1 RQD RXC RXO RXR SCH SFT SPM TQ1 TQ2 TXA UB1 UB2";

#[test]
fn every_segment_of_the_messages_is_described() {
    let missing: Vec<&str> = SEGMENTS.split(' ').filter(|name| !TABLE.contains_key(name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
    assert_eq!(field("NTE|1|L|Jane Doe~was here|RE", 3), "");
    assert_eq!(field("RXO|00310-0751^Crestor^NDC|10||mg^^UCUM||^Jane Doe|||G", 6), "");
}

#[test]
fn delimiters_may_be_others() {
    let text = "MSH*%!?@*A*B*C*D*2026**ADT%A01*1*P*2.5\rPID***7%%%X%MR!8**Doe%Jane\r";
    let cleaned = clean(text);
    let (seven, eight) = (patient(&TestKeys(1), b"7").unwrap(), patient(&TestKeys(1), b"8").unwrap());
    assert!(cleaned.ends_with(&format!("PID***{seven}%%%%MR!{eight}**%%%%%%S\r")), "{cleaned}");
}

#[test]
fn a_message_cut_anywhere_is_cleaned_or_refused() {
    for end in 0..WHOLE.len() {
        if let Ok(cleaned) = deidentify(&WHOLE.as_bytes()[..end], &Config::default(), &TestKeys(1)) {
            assert!(!String::from_utf8_lossy(&cleaned).contains("SENTINEL"), "cut at {end}");
        }
    }
}

proptest! {
    #[test]
    fn no_octets_panic_and_no_value_is_in_a_refusal(text in prop::collection::vec(any::<u8>(), 0..120), at in 0..400usize) {
        let mut damaged = WHOLE.as_bytes().to_vec();
        let at = at.min(damaged.len());
        damaged.splice(at..at, text.iter().copied());
        for input in [&text, &damaged] {
            if let Err(refusal) = deidentify(input, &Config::default(), &TestKeys(1)) {
                prop_assert!(!refusal.reason.contains("SENTINEL"));
            }
        }
    }
}
