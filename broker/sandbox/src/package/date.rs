//! A day as ISO 8601 writes it, and as clocks reach it.

use std::fmt;
use std::str::FromStr;

use hilum_core::Timestamp;
use serde::{Deserialize, Serialize};
use time::Month;

const DAY_MS: u64 = 86_400_000;

/// A text that is no day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no date from 1970 to 9999: write it as `2031-12-31`")]
pub struct DateError;

/// A day of UTC, from 1970 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Date(time::Date);

impl Date {
    /// The day that it is at a time; the last day that there is for all later times.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        let days = i32::try_from(time.0 / DAY_MS).unwrap_or(i32::MAX);
        let day = EPOCH_JULIAN_DAY.checked_add(days).and_then(|day| time::Date::from_julian_day(day).ok());
        Self(day.filter(|day| day.year() <= 9999).unwrap_or(time::Date::MAX))
    }

    /// The day that comes so many days later; the last one that there is where that is too far.
    #[must_use]
    pub fn plus_days(self, days: u32) -> Self {
        Self(self.0.checked_add(time::Duration::days(days.into())).unwrap_or(time::Date::MAX))
    }

    /// Whether the whole of it, to its end, is over.
    #[must_use]
    pub fn is_over(self, now: Timestamp) -> bool {
        Self::at(now) > self
    }
}

/// 1970-01-01.
const EPOCH_JULIAN_DAY: i32 = 2_440_588;

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.0.year(), u8::from(self.0.month()), self.0.day())
    }
}

impl FromStr for Date {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        let shaped = text.len() == 10
            && text.bytes().enumerate().all(|(at, octet)| match at {
                4 | 7 => octet == b'-',
                _ => octet.is_ascii_digit(),
            });
        if !shaped {
            return Err(DateError);
        }
        let number = |range: std::ops::Range<usize>| text[range].parse::<u16>().map_err(|_| DateError);
        let (month, day) = (number(5..7)?, number(8..10)?);
        let month =
            u8::try_from(month).ok().and_then(|month| Month::try_from(month).ok()).ok_or(DateError)?;
        let day = u8::try_from(day).map_err(|_| DateError)?;
        let year = i32::from(number(0..4)?);
        let date = time::Date::from_calendar_date(year, month, day).map_err(|_| DateError)?;
        if year < 1970 { Err(DateError) } else { Ok(Self(date)) }
    }
}

impl TryFrom<String> for Date {
    type Error = DateError;
    fn try_from(text: String) -> Result<Self, DateError> {
        text.parse()
    }
}

impl From<Date> for String {
    fn from(date: Date) -> Self {
        date.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_as_they_are_written_and_all_else_is_refused() {
        for right in ["1970-01-01", "2028-02-29", "9999-12-31"] {
            assert_eq!(right.parse::<Date>().unwrap().to_string(), right);
        }
        for wrong in [
            "",
            "2026-1-1",
            "2026-02-29",
            "2026-13-01",
            "1969-12-31",
            "2026-01-01T00:00",
            "+026-01-01",
            "2026/01/01",
        ] {
            assert_eq!(wrong.parse::<Date>(), Err(DateError), "{wrong}");
        }
    }

    #[test]
    fn a_day_is_over_when_the_next_one_begins() {
        let day: Date = "2023-11-14".parse().unwrap();
        let midnight = Timestamp(1_700_006_400_000);
        assert_eq!(Date::at(midnight).to_string(), "2023-11-15");
        assert!(day.is_over(midnight) && !day.is_over(Timestamp(midnight.0 - 1)));
        assert_eq!(day.plus_days(1), Date::at(midnight));
        assert_eq!(Date::at(Timestamp(u64::MAX)).to_string(), "9999-12-31");
    }
}
