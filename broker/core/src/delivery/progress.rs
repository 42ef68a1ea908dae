//! What is kept of a subscription while the broker is not running.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::limits::{PROGRESS_RANGES_MAX, SEQUENCE_MAX};
use crate::record::Offset;

/// First octet of the kept form.
const VERSION: u8 = 1;

/// Where a subscription stands: everything before the cursor is settled, and some of what comes after. It may be lost, or be older
/// than what happened: then records come again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The lowest offset that is not settled.
    pub cursor: Offset,
    /// First and last of ranges that are settled, upwards, all after the cursor. Up to [`PROGRESS_RANGES_MAX`].
    pub settled: Vec<(Offset, Offset)>,
    /// How often records that are not settled were delivered. Up to [`PROGRESS_RANGES_MAX`].
    pub attempts: Vec<(Offset, u32)>,
}

/// Octets that are not the kept form of a progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what was kept of the subscription does not decode")]
pub struct ProgressError;

impl Progress {
    /// Nothing before `cursor` is wanted, nothing from it on is settled.
    #[must_use]
    pub fn from(cursor: Offset) -> Self {
        Self { cursor, settled: Vec::new(), attempts: Vec::new() }
    }

    /// Of the offsets before `next` only those in `unsettled` are not settled; of the others those in `settled_ahead` are.
    pub(super) fn of(
        cursor: Offset,
        unsettled: impl Iterator<Item = u64>,
        next: u64,
        settled_ahead: &BTreeMap<u64, u64>,
        attempts: impl Iterator<Item = (u64, u32)>,
    ) -> Self {
        let mut settled: Vec<(Offset, Offset)> = Vec::new();
        let mut from = cursor.0;
        let gaps = unsettled.chain([next]).filter_map(|offset| {
            let gap = (offset > from).then(|| (from, offset - 1));
            from = from.max(offset + 1);
            gap
        });
        let ahead = settled_ahead.iter().map(|(&first, &last)| (first.max(next), last));
        for (first, last) in gaps.chain(ahead).filter(|(first, last)| first <= last && *first >= cursor.0) {
            let count = settled.len();
            match settled.last_mut() {
                Some(range) if range.1.0 + 1 == first => range.1 = Offset(last),
                _ if count == PROGRESS_RANGES_MAX => break,
                _ => settled.push((Offset(first), Offset(last))),
            }
        }
        let attempts = attempts.filter(|(_, attempts)| *attempts > 0).take(PROGRESS_RANGES_MAX);
        let attempts = attempts.map(|(offset, attempts)| (Offset(offset), attempts)).collect();
        Self { cursor, settled, attempts }
    }

    /// The kept form: a version octet, then this in postcard.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).expect("plain data encodes into memory")
    }

    /// Reads what [`Progress::encode`] wrote. Refuses what could not have been written: it would leave records out.
    pub fn decode(octets: &[u8]) -> Result<Self, ProgressError> {
        let (&version, rest) = octets.split_first().ok_or(ProgressError)?;
        let (progress, rest): (Self, _) = postcard::take_from_bytes(rest).map_err(|_| ProgressError)?;
        let mut before = progress.cursor.0;
        let mut is_next = |&(first, last): &(Offset, Offset)| {
            let is_next = before < first.0 && first <= last && last.0 < SEQUENCE_MAX;
            before = last.0;
            is_next
        };
        let is_right = version == VERSION
            && rest.is_empty()
            && progress.cursor.0 < SEQUENCE_MAX
            && progress.settled.len() <= PROGRESS_RANGES_MAX
            && progress.attempts.len() <= PROGRESS_RANGES_MAX
            && progress.settled.iter().all(&mut is_next);
        is_right.then_some(progress).ok_or(ProgressError)
    }
}
