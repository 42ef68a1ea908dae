//! What is told of the duplicates of one record: where its sender finds them, and nothing that says whom they are about.

use hilum_formats::calendar;
use hilum_plugin::Draft;
use serde::Serialize;

/// Media type of the records.
pub(crate) const CONTENT_TYPE: &str = "application/vnd.hilum.claim-duplicates+json";
/// Duplicates of one record that are listed; all are counted.
const LISTED_MAX: usize = 1000;
const DAY_MS: u64 = 86_400_000;

/// A claim that was made before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Duplicate {
    /// The record of the batch.
    pub(crate) record: usize,
    pub(crate) interchange: String,
    pub(crate) transaction: String,
    /// Its CLM segment, counted from 1 in the record.
    pub(crate) segment: usize,
    /// The day that it was seen first, in days since 1970.
    pub(crate) first_day: u32,
    /// How often it was seen now.
    pub(crate) times: u16,
}

#[derive(Serialize)]
struct Record<'a> {
    count: usize,
    claims: Vec<Listed<'a>>,
}

#[derive(Serialize)]
struct Listed<'a> {
    interchange: &'a str,
    transaction: &'a str,
    segment: usize,
    first_seen: String,
    times: u16,
}

impl<'a> Listed<'a> {
    fn of(duplicate: &'a Duplicate) -> Self {
        let first_seen = calendar::format(u64::from(duplicate.first_day) * DAY_MS);
        Self {
            interchange: &duplicate.interchange,
            transaction: &duplicate.transaction,
            segment: duplicate.segment,
            first_seen: first_seen[..10].to_owned(),
            times: duplicate.times,
        }
    }
}

/// The record to emit for the duplicates of one record.
pub(crate) fn record(duplicates: &[Duplicate]) -> Draft {
    let claims = duplicates.iter().take(LISTED_MAX).map(Listed::of).collect();
    let record = Record { count: duplicates.len(), claims };
    let body = serde_json::to_vec(&record).expect("numbers and text serialize into memory");
    Draft::new(CONTENT_TYPE, body).attribute("count", duplicates.len().to_string())
}
