//! How long things are kept: `[retention]` of a flow, `max_age` of `[audit]` and `[quarantine]`.

use std::time::Duration;

use hilum_core::retention::Policy;

use super::reader::Table;
use super::units::{self, UnitError};

/// Records that a flow may be limited to.
const RECORDS_MAX: u64 = 1 << 60;

/// Reads `[retention]`.
pub(super) fn read(mut table: Table<'_>) -> Policy {
    let default = Policy::default();
    let policy = Policy {
        max_age: max_age(&mut table),
        max_octets: table.read_if("max_bytes", "10GiB", size).map(|size| size.value),
        max_records: table.number_if("max_records", RECORDS_MAX),
        until_read: table.flag_if("until_read").unwrap_or(default.until_read),
        compact: table.flag_if("compact").unwrap_or(default.compact),
    };
    table.finish();
    policy
}

/// Reads `max_age` of any of them.
pub(super) fn max_age(table: &mut Table<'_>) -> Option<Duration> {
    table.read_if("max_age", "30d", age).map(|age| age.value)
}

/// Why a limit is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum LimitError {
    #[error(transparent)]
    Unit(#[from] UnitError),
    #[error("this would keep nothing: leave the key out to keep everything")]
    Nothing,
}

fn age(text: &str) -> Result<Duration, LimitError> {
    Some(units::duration(text)?).filter(|age| !age.is_zero()).ok_or(LimitError::Nothing)
}

pub(super) fn size(text: &str) -> Result<u64, LimitError> {
    Some(units::octets(text)?).filter(|octets| *octets > 0).ok_or(LimitError::Nothing)
}
