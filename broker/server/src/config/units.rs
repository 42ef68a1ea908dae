//! Durations, sizes and times as the configuration and the command line write them.

use std::time::Duration;

use hilum_core::Timestamp;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Why a text is not a duration, a size or a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No such unit.
    #[error("this is no duration: write a whole number and its unit, one of `ms`, `s`, `m`, `h` and `d`")]
    Duration,
    /// No such unit.
    #[error(
        "this is no size: write a whole number and its unit, one of `KiB`, `MiB`, `GiB` and `TiB`, or octets without one"
    )]
    Size,
    /// Not RFC 3339, or before 1970.
    #[error("this is no time: write it as RFC 3339 has it, such as `2026-11-23T22:00:00+01:00`")]
    Time,
    /// More than there can be.
    #[error("this is too much")]
    TooMuch,
}

const DURATIONS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZES: [(&str, u64); 5] =
    [("", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
/// What is above has no place in a file's size or a timer.
const UNITS_MAX: u64 = (1 << 62) - 1;

/// Reads e.g. `500ms`, `30s`, `5m`, `12h` or `30d`.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    read(text, &DURATIONS, UnitError::Duration).map(Duration::from_millis)
}

/// Reads e.g. `4096`, `64KiB` or `10GiB`, as octets.
pub fn octets(text: &str) -> Result<u64, UnitError> {
    read(text, &SIZES, UnitError::Size)
}

/// Reads a time as RFC 3339, section 5.6, has it.
pub fn time(text: &str) -> Result<Timestamp, UnitError> {
    let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| UnitError::Time)?;
    let milliseconds = at.unix_timestamp_nanos() / 1_000_000;
    u64::try_from(milliseconds).map(Timestamp).map_err(|_| UnitError::Time)
}

fn read(text: &str, units: &[(&str, u64)], wrong: UnitError) -> Result<u64, UnitError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(known, _)| *known == unit.trim_start()).ok_or(wrong.clone())?;
    if number.is_empty() {
        return Err(wrong);
    }
    let number: u64 = number.parse().map_err(|_| UnitError::TooMuch)?;
    number.checked_mul(*factor).filter(|product| *product <= UNITS_MAX).ok_or(UnitError::TooMuch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_unit() {
        let milliseconds = |text| duration(text).map(|duration| duration.as_millis());
        assert_eq!(
            ["500ms", "30s", "5m", "12h", "30d"].map(milliseconds),
            [Ok(500), Ok(30_000), Ok(300_000), Ok(43_200_000), Ok(2_592_000_000)]
        );
        assert_eq!(
            ["4096", "64KiB", "10 GiB", "2TiB", "1MiB"].map(octets),
            [Ok(4096), Ok(65_536), Ok(10 << 30), Ok(2 << 40), Ok(1 << 20)]
        );
    }

    #[test]
    fn reads_a_time_in_any_zone() {
        let utc = Timestamp(1_700_000_000_500);
        assert_eq!(time("2023-11-14T22:13:20.5Z"), Ok(utc));
        assert_eq!(time("2023-11-14T23:13:20.500+01:00"), Ok(utc));
        for wrong in ["", "2023-11-14", "2023-11-14T22:13:20", "1969-12-31T23:59:59Z", "tomorrow"] {
            assert_eq!(time(wrong), Err(UnitError::Time), "{wrong}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for wrong in ["", "s", "30", "-1s", "1.5h", "1w", "30S", "s30"] {
            assert_eq!(duration(wrong), Err(UnitError::Duration), "{wrong}");
        }
        for wrong in ["", "GiB", "10GB", "ten", "1kib"] {
            assert_eq!(octets(wrong), Err(UnitError::Size), "{wrong}");
        }
        assert_eq!(octets("99999999999999999999"), Err(UnitError::TooMuch));
        assert_eq!(octets("18000000TiB"), Err(UnitError::TooMuch));
    }
}
