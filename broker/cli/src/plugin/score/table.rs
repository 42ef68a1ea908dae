//! DICOM PS3.15 Table E.1-1 and what goes with it, read from the data that the plugin is built with, or from the edition that a stage
//! brings along. Nothing here is shared with how the plugin reads them.

use std::collections::BTreeMap;

use hilum_core::Digest;

use crate::output::Failure;

const BUILT_IN: &str = include_str!("../../../../../plugins/deidentify/data/ps3.15-2026c-table-e.1-1.tsv");
const SAFE_PRIVATE: &str =
    include_str!("../../../../../plugins/deidentify/data/ps3.15-2026d-table-e.3.10-1.tsv");
const DICTIONARY: &str = include_str!("../../../../../plugins/deidentify/data/ps3.6-data-elements.tsv");
/// The columns of the options, and the options.
const OPTIONS: [(&str, &str); 10] = [
    ("retain_safe_private", "retain-safe-private"),
    ("retain_uids", "retain-uids"),
    ("retain_device_id", "retain-device-identity"),
    ("retain_institution_id", "retain-institution-identity"),
    ("retain_patient_chars", "retain-patient-characteristics"),
    ("retain_long_full_dates", "retain-longitudinal-full-dates"),
    ("retain_long_modif_dates", "retain-longitudinal-modified-dates"),
    ("clean_desc", "clean-descriptors"),
    ("clean_struct_cont", "clean-structured-content"),
    ("clean_graph", "clean-graphics"),
];

/// The table, by attribute.
pub(super) struct Table {
    pub(super) edition: String,
    pub(super) digest: Digest,
    rows: BTreeMap<String, Row>,
}

/// What the table says of an attribute.
pub(super) struct Row {
    pub(super) keyword: String,
    /// The value representation; empty where the table gives none.
    pub(super) vr: String,
    pub(super) basic: String,
    /// What the option says: `K` or `C`.
    options: Vec<(&'static str, String)>,
}

impl Row {
    /// Whether a sequence that it is about goes on under no option.
    pub(super) fn is_never_rewritten(&self) -> bool {
        self.options.is_empty() && !self.basic.contains('U')
    }

    /// Whether one of these options says so.
    pub(super) fn says<'o>(&self, letter: &str, mut options: impl Iterator<Item = &'o str>) -> bool {
        options.any(|option| self.options.iter().any(|(name, said)| *name == option && said == letter))
    }
}

impl Table {
    /// The text of a table, or the one that is built in.
    pub(super) fn read(text: Option<&str>) -> anyhow::Result<Self> {
        let text = text.unwrap_or(BUILT_IN);
        let broken = || Failure::new("the stage's table cannot be read", "see what `hilum check` says of it");
        let mut lines = text.lines();
        let edition = lines.next().ok_or_else(broken)?.trim_start_matches(['#', ' ']).to_owned();
        let names: Vec<&str> = lines.next().ok_or_else(broken)?.split('\t').collect();
        let column = |name: &str| names.iter().position(|found| *found == name);
        let (Some(tag), Some(vr), Some(basic)) = (column("tag"), column("vr"), column("basic")) else {
            return Err(broken().into());
        };
        let keyword = column("keyword");
        let options = OPTIONS.map(|(name, option)| (option, column(name)));
        let mut rows = BTreeMap::new();
        for line in lines.filter(|line| !line.is_empty()) {
            let cells: Vec<&str> = line.split('\t').collect();
            let cell = |at: usize| cells.get(at).copied().unwrap_or_default();
            let said = options.iter().filter_map(|(option, at)| Some((*option, cell((*at)?).to_owned())));
            let row = Row {
                keyword: keyword.map(cell).unwrap_or_default().to_owned(),
                vr: cell(vr).to_owned(),
                basic: cell(basic).to_owned(),
                options: said.filter(|(_, said)| !said.is_empty()).collect(),
            };
            rows.insert(cell(tag).to_owned(), row);
        }
        Ok(Self { edition, digest: Digest::of(text.as_bytes()), rows })
    }

    /// The row of an attribute, `(gggg,eeee)`.
    pub(super) fn row(&self, tag: &str) -> Option<&Row> {
        self.rows.get(tag)
    }

    /// The rows that name one attribute each, in order of their tags.
    pub(super) fn rows(&self) -> impl Iterator<Item = ((u16, u16), &Row)> {
        self.rows.iter().filter_map(|(tag, row)| Some((parse(tag)?, row)))
    }
}

/// `(gggg,eeee)` in hexadecimal digits.
pub(super) fn parse(tag: &str) -> Option<(u16, u16)> {
    let (group, element) = tag.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    Some((u16::from_str_radix(group, 16).ok()?, u16::from_str_radix(element, 16).ok()?))
}

/// Attributes of PS3.6 and their value representations.
pub(super) fn dictionary() -> BTreeMap<(u16, u16), &'static str> {
    let line = |line: &'static str| {
        let (tag, vr) = line.split_once('\t')?;
        Some((parse(tag)?, vr.get(..2)?))
    };
    DICTIONARY.lines().skip(1).filter_map(line).collect()
}

/// Safe private attributes of Table E.3.10-1: creator, group, the last two digits of the element, value representation.
pub(super) fn safe_private() -> impl Iterator<Item = (&'static str, u16, u16, &'static str)> {
    SAFE_PRIVATE.lines().skip(2).filter_map(|line| {
        let mut cells = line.split('\t');
        let (creator, tag, vr) = (cells.next()?, cells.next()?, cells.next()?);
        let (group, element) = tag.strip_prefix('(')?.strip_suffix(')')?.split_once(",xx")?;
        Some((creator, u16::from_str_radix(group, 16).ok()?, u16::from_str_radix(element, 16).ok()?, vr))
    })
}

/// Which identifier of 45 CFR 164.514(b)(2)(i) an attribute is about, by its value representation and the words of its keyword.
pub(super) fn identifier(keyword: &str, vr: &str) -> char {
    let has = |words: &[&str]| words.iter().any(|word| keyword.contains(word));
    match vr {
        "UI" => return 'R',
        "DA" | "DT" | "TM" => return 'C',
        "AS" => return 'C',
        _ => {}
    }
    let words: [(&[&str], char); 15] = [
        (&["Email"], 'F'),
        (&["Fax"], 'E'),
        (&["Telephone", "Telecom"], 'D'),
        (&["URL", "URI", "Hyperlink"], 'N'),
        (&["AETitle", "NetworkID", "PresentationAddress", "IPAddress"], 'O'),
        (&["Insurance", "PlanIdentification"], 'I'),
        (&["Account", "Admission", "AccessionNumber", "ServiceEpisode"], 'J'),
        (&["License", "Certificate"], 'K'),
        (&["PatientID", "PatientPrimary", "MedicalRecord", "SubjectID", "IssuerOfPatient"], 'H'),
        (
            &[
                "Device",
                "Serial",
                "Station",
                "Detector",
                "Gantry",
                "Equipment",
                "Cassette",
                "Plate",
                "Lens",
                "Camera",
            ],
            'M',
        ),
        (&["Address", "Institution", "Residence", "Country", "Region", "GPS", "Location", "Zone"], 'B'),
        (&["Date", "Time"], 'C'),
        (&["Icon", "Overlay", "Graphic", "Photo"], 'Q'),
        (&["Voice", "Biometric", "Fingerprint"], 'P'),
        (&["Name", "Physician", "Operator", "Author", "Person", "Mother"], 'A'),
    ];
    if vr == "PN" {
        return 'A';
    }
    words.iter().find(|(words, _)| has(words)).map_or('R', |(_, letter)| *letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_it_says() {
        let table = Table::read(None).unwrap();
        assert_eq!(table.edition, "PS3.15 2026c");
        assert!(table.rows().count() > 640);
        // Without one, nothing could be planted that looks like a value.
        assert!(table.rows().all(|(_, row)| row.vr.len() >= 2));
        let date = table.row("(0008,0020)").unwrap();
        assert!(date.says("K", ["retain-longitudinal-full-dates"].into_iter()));
        assert!(date.says("C", ["retain-longitudinal-modified-dates"].into_iter()));
        assert!(!date.says("C", ["retain-uids"].into_iter()));
        assert_eq!(table.row("(0010,0020)").unwrap().basic, "Z/D");
        assert!(Table::read(Some("x")).is_err());
        assert!(safe_private().count() > 470 && dictionary().len() > 5000);
    }
}
