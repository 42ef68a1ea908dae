//! Subscription filters: what is read can be printed and means the same, and says the same of every record.

use hilum_core::filter::{FILTER_OCTETS_MAX, Filter};
use hilum_core::{Attribute, Head, Timestamp};

use crate::memory;

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

/// A filter, and after a NUL each a key, a time and attributes (`name=value`) of a record.
pub fn check(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let mut parts = text.split('\0');
    let text = parts.next().unwrap_or_default();
    let filter = match Filter::parse(text) {
        Ok(filter) => filter,
        Err(error) => {
            assert!(error.column >= 1 && error.column <= text.chars().count() + 1, "{error}");
            return;
        }
    };
    let head = head(parts);
    let shown = filter.to_string();
    // What is printed has spaces and parentheses that the text may have done without.
    if shown.len() <= FILTER_OCTETS_MAX {
        let again = Filter::parse(&shown).expect("what is printed can be read");
        assert_eq!(again, filter, "what is printed means the same: {shown}");
        assert_eq!(again.matches(&head), filter.matches(&head));
    }
    // A condition, its opposite and the unknown: never two of them at once.
    if let Ok(opposite) = Filter::parse(&format!("NOT ({text})")) {
        assert!(!(filter.matches(&head) && opposite.matches(&head)), "{text} and its opposite");
    }
    if let Ok(either) = Filter::parse(&format!("({text}) OR ({text})")) {
        assert_eq!(either.matches(&head), filter.matches(&head), "{text}");
    }
}

fn head<'a>(mut parts: impl Iterator<Item = &'a str>) -> Head {
    let key = parts.next().map(str::to_owned);
    let time = Timestamp(parts.next().and_then(|time| time.parse().ok()).unwrap_or(1_700_000_000_000));
    let attributes = parts.filter_map(|part| {
        let (name, value) = part.split_once('=')?;
        Some(Attribute { name: name.to_owned(), value: value.to_owned() })
    });
    Head {
        time,
        expires: None,
        deliver_after: None,
        key,
        content_type: "application/dicom".into(),
        attributes: attributes.collect(),
        labels: Vec::new(),
        trace: None,
    }
}

/// The examples of the standard and of the documentation, with a record that some of them fit.
pub fn seeds() -> Vec<Vec<u8>> {
    let filters = [
        "modality = 'MR' AND (slices > 100 OR hilum_key LIKE 'ward-7-%')",
        "age BETWEEN 15 AND 19",
        "age NOT BETWEEN -1.5e3 AND +19.",
        "Country IN ('UK', 'it''s', 'France')",
        "Country NOT IN ('UK')",
        "phone LIKE '12%3' OR underscored LIKE '\\_%' ESCAPE '\\'",
        "word NOT LIKE 'l_se'",
        "prop_name IS NULL AND phone IS NOT NULL",
        "\"dicom.modality\" <> 'MR' AND hilum_content_type = 'a/b'",
        "hilum_time >= 1700000000000 - 3 * (slices + -age / 2)",
        "urgent = TRUE OR NOT urgent = FALSE",
        "-9223372036854775808 < - -5 AND 7. <= .5E2",
        "NOT NOT (TRUE AND FALSE OR urgent)",
        "age = slices OR age < slices",
    ];
    let record = "\0ward-7-bed-2\01700000000000\0modality=MR\0slices=120\0age=17\0Country=UK\0phone=12993\0urgent=True";
    filters.map(|filter| format!("{filter}{record}").into_bytes()).into()
}
