//! Dates as the formats write them, from milliseconds since 1970 (UTC). No clock, no time zones.

use hilum_core::Timestamp;

/// One minute.
pub const MINUTE_MS: u64 = 60_000;
/// One hour.
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
/// One day.
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// Year, month from 1, day from 1 of a day counted from 1970-01-01 (Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// `YYYYMMDD`: DICOM DA, HL7v2 DT and X12 D8.
#[must_use]
pub fn date(at: Timestamp) -> String {
    let (year, month, day) = civil(at.0 / DAY_MS);
    format!("{year:04}{month:02}{day:02}")
}

/// `HHMMSS`: DICOM TM.
#[must_use]
pub fn time(at: Timestamp) -> String {
    let seconds = at.0 / 1000 % 86_400;
    format!("{:02}{:02}{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `YYYYMMDDHHMMSS`: HL7v2 TS.
#[must_use]
pub fn date_time(at: Timestamp) -> String {
    date(at) + &time(at)
}

/// `YYYY-MM-DDTHH:MM:SSZ` (RFC 3339).
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    let (date, time) = (date(at), time(at));
    format!("{}-{}-{}T{}:{}:{}Z", &date[..4], &date[4..6], &date[6..], &time[..2], &time[2..4], &time[4..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_known_moments() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_251_199_000, "2024-02-29T23:59:59Z"),
            (1_795_564_800_000, "2026-11-25T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(Timestamp(ms)), text);
        }
        assert_eq!(date_time(Timestamp(1_709_251_199_000)), "20240229235959");
    }
}
