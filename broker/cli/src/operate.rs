//! What the commands of operators share: the admin stream, the note for the audit, times.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hilum_client::Client;
use hilum_client::admin::Admin;
use hilum_core::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::connect::Connection;

/// Options of every command of operators.
#[derive(Debug, clap::Args)]
pub struct Operate {
    /// What for, e.g. a ticket: goes to the audit
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    note: String,
    /// Print the result as lines of JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Operate {
    /// Connects and opens an admin stream.
    pub async fn open(&self) -> anyhow::Result<(Client, Admin)> {
        let client = self.connection.connect().await?;
        let admin = client.admin(&self.note).await?;
        Ok((client, admin))
    }
}

/// So long before now.
#[must_use]
pub fn ago(age: Duration) -> Timestamp {
    let then = SystemTime::now().checked_sub(age).unwrap_or(UNIX_EPOCH);
    let elapsed = then.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

/// A time as people read it (RFC 3339, UTC, seconds).
#[must_use]
pub fn shown(time: Timestamp) -> String {
    let seconds = i64::try_from(time.0 / 1000).unwrap_or(i64::MAX);
    let time_of_day = OffsetDateTime::from_unix_timestamp(seconds).ok();
    let text = time_of_day.and_then(|time| time.format(&Rfc3339).ok());
    text.unwrap_or_else(|| format!("{} ms", time.0))
}

/// Octets as people read them.
#[must_use]
pub fn size(octets: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, unit)| octets >= *unit) {
        Some((name, unit)) => format!("{}.{} {name}", octets / unit, octets % unit * 10 / unit),
        None => format!("{octets} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_for_people() {
        assert_eq!(shown(Timestamp(1_700_000_000_123)), "2023-11-14T22:13:20Z");
        assert_eq!(shown(Timestamp(u64::MAX)), format!("{} ms", u64::MAX));
        assert_eq!(
            [0, 1023, 1536, 500 << 20, 3 << 40].map(size),
            ["0 B", "1023 B", "1.5 KiB", "500.0 MiB", "3.0 TiB"]
        );
    }
}
