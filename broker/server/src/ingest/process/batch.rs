//! Records that are stored together or not at all.
//!
//! What keeps one of them from being stored keeps all: the chain stopped it, its time was over, or they became more than an append
//! takes. Then all of them are stopped, and go to quarantine together. So none is lost, and a retry whose answer got lost finds all of
//! them settled.

use hilum_core::Timestamp;
use hilum_core::record::Admitted;
use hilum_sandbox::{Failure, Ran};

use super::super::grouping::UNIT_OCTETS_MAX;
use super::super::{Item, Origin, RefusalKind};
use super::{Passed, ProcessedRecord, Stopped, large_of, stopped};
use crate::chains::Route;

/// Why a record is stopped of whose batch another one was, for programs and for people.
pub(in super::super) const ANOTHER: (&str, &str) = ("batch", "another record of its batch was refused");

/// Seals the records of one batch, or stops all.
pub(super) fn seal(
    route: &Route,
    now: Timestamp,
    ran: Vec<(Item, Origin, Result<Ran, Failure>)>,
) -> Vec<ProcessedRecord> {
    let spares: Vec<Admitted> = ran.iter().map(|(item, ..)| item.record.clone()).collect();
    let mut records: Vec<ProcessedRecord> =
        ran.into_iter().map(|(item, origin, result)| super::seal(route, now, item, origin, result)).collect();
    let octets: u64 = records.iter().map(ProcessedRecord::appended_octets).sum();
    let expired = |passed: &Passed| passed.has_expired(now);
    let is_whole = records.iter().all(|record| record.result.as_ref().is_ok_and(|passed| !expired(passed)));
    if is_whole && octets <= UNIT_OCTETS_MAX {
        return records;
    }
    for (record, spare) in records.iter_mut().zip(spares) {
        let Ok(passed) = &record.result else { continue };
        let (kind, code, reason) = if expired(passed) {
            (RefusalKind::Expired, "expired", "the record had expired when it came")
        } else if is_whole {
            (RefusalKind::Batch, "batch-too-large", "plugins made more of its batch than is stored at once")
        } else {
            (RefusalKind::Batch, ANOTHER.0, ANOTHER.1)
        };
        let made = large_of(passed, &record.input);
        let stopped = stopped(&spare, now, None, code, reason.to_owned(), kind);
        record.result = Err(Box::new(Stopped { made, ..stopped }));
        record.observed = None;
    }
    records
}
