//! What a stage decides about each attribute, under each option, and with a table of its own.

use super::*;
use crate::SafePrivate;

const REMOVE: Otherwise = Otherwise::Remove;
const EMPTY: Otherwise = Otherwise::Empty;
const DUMMY: Otherwise = Otherwise::Dummy;
/// The table as published, read again here so that a mistake of the build script shows.
const TABLE: &str = include_str!("../../../data/ps3.15-2026c-table-e.1-1.tsv");
/// CT Image Storage.
const CT: &[u8] = b"1.2.840.10008.5.1.4.1.1.2";
/// Enhanced CT Image Storage.
const ENHANCED_CT: &[u8] = b"1.2.840.10008.5.1.4.1.1.2.1";

fn with(options: &[ProfileOption]) -> Profile {
    Profile::new(&Config { options: options.to_vec(), ..Config::default() }).unwrap()
}

fn at(sop_class: &[u8]) -> Place {
    Place { iod: Iod::of(sop_class), node: Node::ROOT, cleaning: Cleaning::None }
}

fn fate(profile: &Profile, tag: u32) -> Fate {
    profile.fate(Tag(tag), None, at(b""))
}

fn rejected(config: &Config) -> ConfigError {
    Profile::new(config).unwrap_err()
}

#[test]
fn every_row_of_the_table_decides() {
    let profile = with(&[]);
    let mut rows = 0;
    for line in TABLE.lines().skip(2) {
        rows += 1;
        let columns: Vec<&str> = line.split('\t').collect();
        let Some(tag) = table::exact_tag(columns[0]).map(Tag) else { continue };
        let vr = profile.lookup(tag).unwrap().0;
        let expected = match columns[3] {
            _ if tag == PATIENT_ID => Fate::PatientId,
            "X/Z/U*" => Fate::Descend(Cleaning::None),
            _ if tag == REFERENCED_PERFORMED_PROCEDURE_STEPS => Fate::Descend(Cleaning::Texts),
            "X" => Fate::Put(REMOVE, vr),
            "Z" if ORDER_NUMBERS.contains(&tag) => Fate::Order(vr),
            "Z" | "X/Z" => Fate::Put(EMPTY, vr),
            "U" => Fate::Uids,
            _ if columns[2] == "UI" => Fate::Uids,
            _ => Fate::Put(DUMMY, vr),
        };
        assert_eq!(fate(&profile, tag.0), expected, "{tag} {}", columns[3]);
    }
    assert_eq!(rows, 656);
}

#[test]
fn a_choice_follows_the_type_in_the_iod_of_the_object() {
    let profile = with(&[]);
    let decide = |sop_class, tag| profile.fate(Tag(tag), None, at(sop_class));
    for (sop_class, tag, expected) in [
        // Acquisition Date, X/Z: type 3 in General Acquisition.
        (CT, 0x0008_0022, Fate::Put(REMOVE, Vr::DA)),
        (&b"1.2.3"[..], 0x0008_0022, Fate::Put(EMPTY, Vr::DA)),
        // Content Date, Z/D: type 2C in General Image, type 1 in multi-frame IODs.
        (CT, 0x0008_0023, Fate::Put(EMPTY, Vr::DA)),
        (ENHANCED_CT, 0x0008_0023, Fate::Put(DUMMY, Vr::DA)),
        // Device Serial Number, X/Z/D: type 3 in General Equipment, type 1 in Enhanced General Equipment.
        (CT, 0x0018_1000, Fate::Put(REMOVE, Vr::LO)),
        (ENHANCED_CT, 0x0018_1000, Fate::Put(DUMMY, Vr::LO)),
        // Source Image Sequence, X/Z/U*.
        (CT, 0x0008_2112, Fate::Put(REMOVE, Vr::SQ)),
        (&b""[..], 0x0008_2112, Fate::Descend(Cleaning::None)),
    ] {
        assert_eq!(decide(sop_class, tag), expected, "{} {:?}", Tag(tag), std::str::from_utf8(sop_class));
    }
}

#[test]
fn patterns_go_and_what_nobody_has_judged_is_told() {
    let profile = with(&ProfileOption::ALL[..5]);
    for tag in [0x5000_0005, 0x501E_3000, 0x6000_3000, 0x60FE_4000, 0x6002_0022, 0x0008_0000] {
        assert_eq!(fate(&profile, tag), Fate::Put(REMOVE, Vr::UN), "{}", Tag(tag));
    }
    assert_eq!(fate(&profile, 0x0008_0007), Fate::Unjudged, "not in the dictionary");
    let rows = Tag(0x0028_0010);
    assert_eq!(profile.fate(rows, Some(Vr::US), at(CT)), Fate::Keep(Vr::US));
    assert_eq!(profile.fate(rows, Some(Vr::UN), at(CT)), Fate::Keep(Vr::US));
    assert_eq!(profile.fate(rows, Some(Vr::LO), at(CT)), Fate::Unjudged, "text in a number's place");
    assert_eq!(profile.fate(rows, Some(Vr::SQ), at(CT)), Fate::Unjudged);
}

#[test]
fn options_say_what_their_columns_say() {
    use ProfileOption::*;
    let (age, uid, date) = (0x0010_1010, 0x0020_000D, 0x0008_0020);
    let (description, content, allergies) = (0x0008_103E, 0x0040_A730, 0x0010_2110);
    for (options, tag, expected) in [
        (&[][..], age, Fate::Put(REMOVE, Vr::AS)),
        (&[RetainPatientCharacteristics], age, Fate::Keep(Vr::AS)),
        (&[RetainPatientCharacteristics], allergies, Fate::Words(Vr::LO, REMOVE)),
        (&[RetainUids], uid, Fate::Keep(Vr::UI)),
        (&[RetainUids], 0x0008_1140, Fate::Descend(Cleaning::None)),
        (&[RetainLongitudinalFullDates], date, Fate::Keep(Vr::DA)),
        (&[RetainLongitudinalModifiedDates], date, Fate::Shift(Vr::DA, EMPTY)),
        (&[RetainLongitudinalModifiedDates], 0x0400_0310, Fate::Put(REMOVE, Vr::OB)),
        (&[RetainDeviceIdentity], 0x0018_1200, Fate::Keep(Vr::DA)),
        (&[RetainDeviceIdentity, RetainLongitudinalModifiedDates], 0x0018_1200, Fate::Shift(Vr::DA, REMOVE)),
        (&[RetainDeviceIdentity], 0x0018_1000, Fate::Keep(Vr::LO)),
        (&[RetainInstitutionIdentity], 0x0008_0080, Fate::Keep(Vr::LO)),
        (&[CleanDescriptors], description, Fate::Words(Vr::LO, REMOVE)),
        (&[CleanDescriptors], 0x0008_1084, Fate::Descend(Cleaning::Texts)),
        (&[CleanStructuredContent], content, Fate::Descend(Cleaning::Content)),
        (&[CleanGraphics], 0x0070_0001, Fate::Descend(Cleaning::Texts)),
        (&[CleanGraphics], 0x6000_3000, Fate::Put(REMOVE, Vr::UN)),
    ] {
        assert_eq!(fate(&with(options), tag), expected, "{options:?} {}", Tag(tag));
    }
}

#[test]
fn options_that_exclude_each_other_are_refused_with_a_way_out() {
    use ProfileOption::*;
    let both = vec![RetainLongitudinalFullDates, RetainLongitudinalModifiedDates];
    let error = rejected(&Config { options: both, ..Config::default() });
    assert_eq!(error.at, "/options");
    assert!(error.reason.contains("exclude each other") && error.reason.contains("leave one"), "{error}");

    let pass = BurnedInAnnotation::Pass;
    let error =
        rejected(&Config { options: vec![CleanPixelData], burned_in_annotation: pass, ..Config::default() });
    assert_eq!(error.at, "/burned_in_annotation");

    let safe = |tag: &str| {
        vec![SafePrivate { creator: "ACME".to_owned(), tag: tag.to_owned(), vr: "DS".to_owned() }]
    };
    let error = rejected(&Config { safe_private: safe("(0029,xx10)"), ..Config::default() });
    assert_eq!(error.at, "/safe_private");
    let wrong = safe("(0028,xx10)");
    let error =
        rejected(&Config { options: vec![RetainSafePrivate], safe_private: wrong, ..Config::default() });
    assert_eq!(error.at, "/safe_private/0");
}

#[test]
fn a_hospital_may_bring_another_edition_of_the_table() {
    // The table as it is, without Station Name, with another word for Patient's Sex and with an attribute of the future.
    let without: Vec<&str> = TABLE.lines().filter(|line| !line.starts_with("(0008,1010)")).collect();
    let text = without.join("\n").replacen("2026c", "2027a", 1);
    let sex = text.lines().find(|line| line.starts_with("(0010,0040)")).unwrap();
    let text = text.replace(sex, &sex.replacen("\tZ\t", "\tX\t", 1));
    let text = format!("{text}\n{}\n", sex.replacen("(0010,0040)", "(0010,004F)", 1));
    let own = Profile::new(&Config { table: Some(text), ..Config::default() }).unwrap();
    assert!(own.method().ends_with("\\PS3.15 2027a Basic Application Confidentiality Profile"));
    assert_eq!(fate(&own, 0x0010_0040), Fate::Put(REMOVE, Vr::CS));
    assert_eq!(fate(&own, 0x0010_004F), Fate::Put(EMPTY, Vr::CS), "the dictionary does not know it");
    assert_eq!(fate(&own, 0x0008_1010), Fate::Unjudged, "this edition does not know it");
    assert_eq!(fate(&own, 0x0008_0060), Fate::Keep(Vr::CS), "no edition names it");
    assert_eq!(fate(&own, 0x0008_0090), Fate::Put(EMPTY, Vr::PN));
    let built_in = with(&[]);
    assert_eq!(fate(&built_in, 0x0010_0040), Fate::Put(EMPTY, Vr::CS));
    assert_eq!(fate(&built_in, 0x0010_004F), Fate::Unjudged);
}

#[test]
fn a_table_that_cannot_be_read_is_refused_at_its_line_and_column() {
    let head = TABLE.lines().take(2).collect::<Vec<_>>().join("\n");
    let row = TABLE.lines().find(|line| line.starts_with("(0010,0010)")).unwrap();
    let good = format!("{head}\n{row}\n");
    assert!(table::parse(&good).is_ok());
    for (text, place) in [
        (String::new(), "line 1, column 1: "),
        (good.replacen("2026c", "now", 1), "line 1, column 1: "),
        (good.replacen("\tbasic", "\tbase", 1), "line 2, column 1: "),
        (good.replacen("(0010,0010)", "(0010,10)", 1), "line 3, column 1: "),
        (good.replacen("\tPN\t", "\tpn\t", 1), "line 3, column 25: "),
        (good.replacen("\tZ\t", "\tY\t", 1), "line 3, column 28: "),
        (good.replacen("\tZ\t", "\tZ\tk", 1), "line 3, column 30: "),
        (format!("{head}\n(0010,0010)\n"), "line 3, column 12: "),
        (format!("{good}{row}\n"), "line 4, column 1: "),
        (format!("{head}\n"), "line 3, column 1: "),
    ] {
        let error = rejected(&Config { table: Some(text.clone()), ..Config::default() });
        assert_eq!(error.at, "/table");
        assert!(error.reason.starts_with(place), "{place}: {error}");
    }
}

#[test]
fn attributes_and_registered_uids_are_found() {
    assert!(ATTRIBUTES.is_sorted_by_key(|attribute| attribute.tag));
    for (place, attribute) in ATTRIBUTES.iter().enumerate() {
        let next = Tag(attribute.tag.0 + 1);
        let is_known = ATTRIBUTES.get(place + 1).is_some_and(|known| known.tag == next);
        assert_eq!(place_of(attribute.tag), Some(place));
        assert_eq!(place_of(next), is_known.then_some(place + 1));
    }
    assert!(is_registered_uid(b"1.2.840.10008.1.1"));
    assert!(is_registered_uid(b"1.2.840.10008.1.4.1.1"));
    assert!(!is_registered_uid(b"1.2.840.10008.1.1.1999"));
    assert!(with(&[]).method().split('\\').all(|value| value.len() <= 64));
}
