//! Merges the profile's table (PS3.15 Table E.1-1) and the data dictionary (PS3.6) into one sorted static array, so
//! that an instance has nothing to build when it starts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::{env, fs, path::Path};

const PROFILE: &str = "data/ps3.15-table-e.1-1.tsv";
const DICTIONARY: &str = "data/ps3.6-data-elements.tsv";
const REGISTERED_UIDS: &str = "data/ps3.6-uids.txt";

fn main() {
    for input in ["build.rs", PROFILE, DICTIONARY, REGISTERED_UIDS] {
        println!("cargo::rerun-if-changed={input}");
    }
    let mut attributes: BTreeMap<u32, (String, &str)> = BTreeMap::new();
    for line in read(DICTIONARY).lines().skip(1) {
        let (tag, vr) = line.split_once('\t').expect("two columns");
        let tag = exact_tag(tag).expect("the dictionary has no patterns");
        attributes.insert(tag, (first_vr(vr), "Action::Keep"));
    }
    let mut patterns = 0;
    for line in read(PROFILE).lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let Some(tag) = exact_tag(columns[0]) else {
            patterns += 1;
            continue;
        };
        let action = action(columns[3]);
        attributes.entry(tag).or_insert_with(|| (first_vr(columns[2]), action)).1 = action;
    }
    assert_eq!(patterns, 4, "the code handles (50xx,xxxx), (60xx,3000), (60xx,4000) and private attributes");

    let mut made = format!("pub(super) static ATTRIBUTES: [Attribute; {}] = [\n", attributes.len());
    for (tag, (vr, action)) in &attributes {
        writeln!(made, "    Attribute {{ tag: Tag(0x{tag:08X}), vr: Vr::{vr}, action: {action} }},")
            .expect("a string can be written to");
    }
    let mut uids: Vec<String> = read(REGISTERED_UIDS).lines().map(str::to_owned).collect();
    uids.sort();
    write!(made, "];\n\npub(super) static REGISTERED_UIDS: [&str; {}] = {uids:#?};\n", uids.len())
        .expect("a string can be written to");
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join("attributes.rs"), made).expect("OUT_DIR is writable");
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `(0010,0020)`; nothing for a pattern such as `(50xx,xxxx)`.
fn exact_tag(text: &str) -> Option<u32> {
    let (group, element) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    Some(u32::from_str_radix(group, 16).ok()? << 16 | u32::from_str_radix(element, 16).ok()?)
}

/// The first of `US or SS`, `OB/OW`; unknown where the table does not say.
fn first_vr(text: &str) -> String {
    if text.is_empty() { "UN".to_owned() } else { text[..2].to_owned() }
}

fn action(basic: &str) -> &'static str {
    match basic {
        "X" => "Action::X",
        "Z" => "Action::Z",
        "D" => "Action::D",
        "U" => "Action::U",
        "X/Z" => "Action::XorZ",
        "X/D" => "Action::XorD",
        "Z/D" => "Action::ZorD",
        "X/Z/D" => "Action::XorZorD",
        "X/Z/U*" => "Action::XorZorU",
        unknown => panic!("{PROFILE}: an action that the code does not know: {unknown}"),
    }
}
