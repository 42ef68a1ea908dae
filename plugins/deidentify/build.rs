//! Turns the tables of DICOM in `data/` into sorted static arrays, so that an instance has nothing to build when it starts: the
//! profile's table (PS3.15 Table E.1-1) merged with the data dictionary (PS3.6), the types of attributes by IOD (PS3.3), the concepts of content
//! items (PS3.15 Table E.3.4-1), the safe private attributes (Table E.3.10-1), registered unique identifiers and the words of body parts. And the
//! elements of FHIR.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::{env, fs, path::Path};

#[path = "src/dicom/table.rs"]
#[allow(dead_code, reason = "the plugin uses what is left")]
mod table;

#[path = "src/dicom/content/rows.rs"]
mod content;

use table::{Action, Row, exact_tag};

const PROFILE: &str = "data/ps3.15-2026c-table-e.1-1.tsv";
const CONTENT: &str = "data/ps3.15-2026a-table-e.3.4-1.tsv";
const SAFE_PRIVATE: &str = "data/ps3.15-2026d-table-e.3.10-1.tsv";
const DICTIONARY: &str = "data/ps3.6-data-elements.tsv";
const REGISTERED_UIDS: &str = "data/ps3.6-uids.txt";
const SOP_CLASSES: &str = "data/ps3.4-sop-classes.tsv";
const IOD_MODULES: &str = "data/ps3.3-iod-modules.tsv";
const MODULE_TYPES: &str = "data/ps3.3-module-types.tsv";
const FHIR_ELEMENTS: &str = "data/fhir-r4-elements.tsv";
const FHIR_CODES: &str = "data/fhir-r4-codes.tsv";
const WORDS: &str = "data/ps3.16-annex-l-words.txt";

fn main() {
    for input in [
        "build.rs",
        "src/dicom/table.rs",
        "src/dicom/content/rows.rs",
        PROFILE,
        CONTENT,
        SAFE_PRIVATE,
        DICTIONARY,
        REGISTERED_UIDS,
        SOP_CLASSES,
        IOD_MODULES,
        MODULE_TYPES,
        WORDS,
        FHIR_ELEMENTS,
        FHIR_CODES,
    ] {
        println!("cargo::rerun-if-changed={input}");
    }
    let table = table::parse(&read(PROFILE)).unwrap_or_else(|error| panic!("{PROFILE}: {error}"));
    write("attributes.rs", &attributes(&table));
    write("types.rs", &types(&table.rows));
    write("content.rs", &contents());
    write("safe_private.rs", &safe_private());
    write("fhir.rs", &fhir());
    let mut words: Vec<String> = read(WORDS).lines().map(str::to_owned).collect();
    words.sort();
    write("words.rs", &format!("static BODY_PARTS: [&str; {}] = {words:#?};\n", words.len()));
}

/// The table, and the dictionary with the place of each attribute's row in the table.
fn attributes(table: &table::Table) -> String {
    let mut attributes: BTreeMap<u32, (String, usize)> = BTreeMap::new();
    for line in read(DICTIONARY).lines().skip(1) {
        let (tag, vr) = line.split_once('\t').expect("two columns");
        let tag = exact_tag(tag).expect("the dictionary has no patterns");
        attributes.insert(tag, (first_vr(vr.as_bytes().first_chunk()), usize::from(u16::MAX)));
    }
    for (index, row) in table.rows.iter().enumerate() {
        attributes.entry(row.tag).or_insert_with(|| (first_vr(row.vr.as_ref()), 0)).1 = index;
    }
    let edition = &table.edition;
    let mut made = format!("pub(super) const EDITION: &str = {edition:?};\n");
    let _ = writeln!(made, "pub(super) static ROWS: [Row; {}] = [", table.rows.len());
    for Row { tag, vr, basic, keep, clean } in &table.rows {
        let _ = writeln!(
            made,
            "    Row {{ tag: 0x{tag:08X}, vr: {vr:?}, basic: Action::{basic:?}, keep: {keep}, clean: {clean} }},"
        );
    }
    let _ = writeln!(made, "];\npub(super) static ATTRIBUTES: [Attribute; {}] = [", attributes.len());
    for (tag, (vr, row)) in &attributes {
        let _ = writeln!(made, "    Attribute {{ tag: Tag(0x{tag:08X}), vr: Vr::{vr}, row: {row} }},");
    }
    let _ = writeln!(made, "];\n{}", slots(attributes.keys()));
    let mut uids: Vec<String> = read(REGISTERED_UIDS).lines().map(str::to_owned).collect();
    uids.sort();
    let _ = writeln!(made, "pub(super) static REGISTERED_UIDS: [&str; {}] = {uids:#?};", uids.len());
    made
}

/// A hash table with open addressing: in a slot is the place of a tag among all, from 1; in one that is free, 0.
fn slots<'t>(tags: impl ExactSizeIterator<Item = &'t u32>) -> String {
    let bits = (2 * tags.len()).next_power_of_two().ilog2();
    let mut slots = vec![0; 1 << bits];
    for (place, tag) in (1..).zip(tags) {
        let mut slot = table::slot(*tag, bits);
        while slots[slot] != 0 {
            slot = (slot + 1) % slots.len();
        }
        slots[slot] = place;
    }
    format!(
        "pub(super) const SLOT_BITS: u32 = {bits};\npub(super) static SLOTS: [u16; {}] = {slots:?};",
        slots.len()
    )
}

/// The sequences that lead to an attribute with a choice, as nodes of a tree, and the type of each attribute in each IOD as two bits.
fn types(rows: &[Row]) -> String {
    let mut modules: BTreeMap<String, Vec<(Vec<u32>, u8)>> = BTreeMap::new();
    for line in read(MODULE_TYPES).lines().skip(1) {
        let [module, path, kind] = columns(line, MODULE_TYPES);
        let path: Vec<u32> = path.split('>').map(|tag| exact_tag(tag).expect("a path of tags")).collect();
        let kind = kind.parse().ok().filter(|kind| matches!(kind, 1 | 2)).expect("a type is 1 or 2");
        modules.entry(module.to_owned()).or_default().push((path, kind));
    }
    let paths: BTreeSet<&[u32]> = modules.values().flatten().map(|(path, _)| path.as_slice()).collect();
    let mut nodes: BTreeMap<(u8, u32), u8> = BTreeMap::new();
    let mut attributes: BTreeMap<(u8, u32), usize> = BTreeMap::new();
    let mut place = BTreeMap::new();
    for (index, path) in paths.iter().enumerate() {
        let (attribute, sequences) = path.split_last().expect("no path is empty");
        let choice = rows.iter().any(|row| row.tag == *attribute && !is_plain(row.basic));
        assert!(choice, "{MODULE_TYPES}: {attribute:08X} has no choice of actions; run `cargo xtask tables`");
        let node = sequences.iter().fold(0, |node, tag| {
            let next = u8::try_from(nodes.len() + 1).expect("there are under 256 nodes");
            *nodes.entry((node, *tag)).or_insert(next)
        });
        attributes.insert((node, *attribute), index);
        place.insert(*path, index);
    }
    assert!(nodes.len() < 255, "the last number stands for no node");

    let mut iods: BTreeMap<String, usize> = BTreeMap::new();
    let mut kinds = String::new();
    let octets = paths.len().div_ceil(4);
    for (index, line) in read(IOD_MODULES).lines().skip(1).enumerate() {
        let [iod, of_iod] = columns(line, IOD_MODULES);
        let mut packed = vec![0u8; octets];
        for module in of_iod.split(' ').filter(|module| !module.is_empty()) {
            for (path, kind) in modules.get(module).unwrap_or_else(|| panic!("{IOD_MODULES}: {module}")) {
                let at = place[path.as_slice()];
                let (octet, shift) = (at / 4, at % 4 * 2);
                let before = packed[octet] >> shift & 3;
                // The stricter type, which is valid where the other one would have been enough.
                if before == 0 || *kind < before {
                    packed[octet] = packed[octet] & !(3 << shift) | *kind << shift;
                }
            }
        }
        let _ = writeln!(kinds, "    {packed:?},");
        iods.insert(iod.to_owned(), index);
    }
    let mut classes: Vec<(String, usize)> = read(SOP_CLASSES)
        .lines()
        .skip(1)
        .map(|line| {
            let [uid, iod] = columns(line, SOP_CLASSES);
            (uid.to_owned(), iods[iod])
        })
        .collect();
    classes.sort();
    let mut made = format!("static SOP_CLASSES: [(&str, u8); {}] = {classes:?};\n", classes.len());
    let list = |name: &str, entries: &mut dyn Iterator<Item = (u8, u32, usize)>, count: usize| {
        let entries: String =
            entries.map(|(node, tag, to)| format!("({node}, 0x{tag:08X}, {to}), ")).collect();
        format!("static {name}: [(u8, u32, u8); {count}] = [{entries}];\n")
    };
    let count = nodes.len();
    made += &list("NODES", &mut nodes.into_iter().map(|((a, b), to)| (a, b, to.into())), count);
    let count = attributes.len();
    made += &list("TYPED", &mut attributes.into_iter().map(|((a, b), to)| (a, b, to)), count);
    let _ = write!(made, "static TYPES: [[u8; {octets}]; {}] = [\n{kinds}];\n", iods.len());
    made
}

fn is_plain(action: Action) -> bool {
    matches!(action, Action::X | Action::Z | Action::D | Action::U)
}

/// The concepts of content items, in the order of their codes.
fn contents() -> String {
    let table = content::parse(&read(CONTENT)).unwrap_or_else(|error| panic!("{CONTENT}: {error}"));
    let edition = &table.edition;
    let mut made =
        format!("const EDITION: &str = {edition:?};\nstatic ROWS: [ContentRow; {}] = [\n", table.rows.len());
    for content::ContentRow { scheme, code, value_type, basic, keep, clean } in &table.rows {
        let (scheme, code) = (format!("Cow::Borrowed({scheme:?})"), format!("Cow::Borrowed({code:?})"));
        let _ = writeln!(
            made,
            "    ContentRow {{ scheme: {scheme}, code: {code}, value_type: {value_type:?}, basic: Action::{basic:?}, keep: {keep}, clean: {clean} }},"
        );
    }
    made + "];\n"
}

fn safe_private() -> String {
    let text = read(SAFE_PRIVATE);
    let mut entries: BTreeSet<(&str, u16, u8, &str)> = BTreeSet::new();
    for line in text.lines().skip(2) {
        let [creator, tag, vr] = columns(line, SAFE_PRIVATE);
        let hexadecimal = |range| u16::from_str_radix(&tag[range], 16).expect("`(gggg,xxee)`");
        let element = u8::try_from(hexadecimal(8..10)).expect("two digits");
        entries.insert((creator, hexadecimal(1..5), element, vr));
    }
    let mut made = format!("static TABLE: [Safe<'static>; {}] = [\n", entries.len());
    for (creator, group, element, vr) in entries {
        let _ = writeln!(
            made,
            "    Safe {{ creator: {creator:?}, group: 0x{group:04X}, element: 0x{element:02X}, vr: Vr::{vr} }},"
        );
    }
    made + "];\n"
}

/// The elements of FHIR, sorted by what they stand in and what they are called, with the lists of codes that they may hold.
fn fhir() -> String {
    let mut made = String::new();
    for line in read(FHIR_CODES).lines().skip(1) {
        let [set, codes] = columns(line, FHIR_CODES);
        let codes: Vec<&str> = codes.split(' ').collect();
        let _ = writeln!(made, "static {}: [&str; {}] = {codes:?};", constant(set), codes.len());
    }
    let text = read(FHIR_ELEMENTS);
    let rows: BTreeMap<(&str, &str), [&str; 3]> = (text.lines().skip(1))
        .map(|line| {
            let [container, member, kind, cardinality, action, _why] = columns(line, FHIR_ELEMENTS);
            ((container, member), [kind, cardinality, action])
        })
        .collect();
    let _ = writeln!(made, "static ROWS: [Row; {}] = [", rows.len());
    for ((container, member), [kind, cardinality, action]) in rows {
        let is_required = cardinality.starts_with('1');
        let is_list = !cardinality.ends_with("..1") && !cardinality.ends_with("..0");
        let action = match action.split_once(':') {
            Some(("codes", set)) => format!("Codes(&{})", constant(set)),
            Some((name, argument)) => format!("{}({argument:?})", camel(name)),
            None => camel(action),
        };
        let _ = writeln!(
            made,
            "    Row {{ container: {container:?}, member: {member:?}, kind: {kind:?}, is_required: {is_required}, is_list: {is_list}, action: Action::{action} }},"
        );
    }
    made + "];\n"
}

/// `fm-status` as `FM_STATUS`.
fn constant(name: &str) -> String {
    name.to_ascii_uppercase().replace('-', "_")
}

/// `full-url` as `FullUrl`.
fn camel(name: &str) -> String {
    let capital = |part: &str| part[..1].to_ascii_uppercase() + &part[1..];
    name.split('-').map(capital).collect()
}

fn columns<'l, const N: usize>(line: &'l str, file: &str) -> [&'l str; N] {
    let found: Vec<&str> = line.split('\t').collect();
    found.try_into().unwrap_or_else(|_| panic!("{file}: not {N} columns: {line}"))
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn write(name: &str, made: &str) {
    let out = env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&out).join(name), made).expect("OUT_DIR is writable");
}

/// The two letters; unknown where the table does not say.
fn first_vr(letters: Option<&[u8; 2]>) -> String {
    letters.map_or_else(|| "UN".to_owned(), |letters| String::from_utf8_lossy(letters).into_owned())
}
