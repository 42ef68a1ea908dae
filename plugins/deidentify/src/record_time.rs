//! The time of a record's head, which is treated as the dates in its body are: beside dates that moved it would tell by how much, and beside
//! years it would be a date.

use serde::Deserialize;

use crate::dates::Dates;
use crate::dicom::{days_from_1970_to, year_of_day};

/// What happens to the time of a record's head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordTime {
    /// What happens to the dates in its body: it moves by as many days, becomes the beginning of its year, or stays.
    #[default]
    AsDates,
    /// It stays, and the stage does not remove label `phi`.
    Keep,
}

const DAY_MS: u64 = 86_400_000;
/// The first millisecond after the year 9999: what is later is no date.
const END_MS: u64 = 253_402_300_800_000;

/// A time in milliseconds since 1970, treated as dates are. Where it is not known by how much dates move, they are reduced. What is no
/// date becomes 1970, and so does what would be before it.
pub(crate) fn treated(time_ms: u64, as_are: Dates) -> u64 {
    if time_ms >= END_MS {
        return 0;
    }
    let (day, of_day) = (time_ms / DAY_MS, time_ms % DAY_MS);
    let day = i32::try_from(day).unwrap_or(i32::MAX);
    match as_are {
        Dates::Shifted(days) => match u64::try_from(day.saturating_add(days)) {
            Ok(day) => (day * DAY_MS + of_day).min(END_MS - 1),
            Err(_) => 0,
        },
        Dates::Year | Dates::Unknown => {
            let first = days_from_1970_to(year_of_day(day));
            u64::try_from(first).unwrap_or_default() * DAY_MS
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-05-17T09:41:23.456Z.
    const TIME: u64 = 1_779_010_883_456;

    #[test]
    fn a_time_moves_by_whole_days() {
        assert_eq!(treated(TIME, Dates::Shifted(-365)), TIME - 365 * DAY_MS);
        assert_eq!(treated(TIME, Dates::Shifted(1)), TIME + DAY_MS);
        assert_eq!(treated(5, Dates::Shifted(-1)), 0);
        assert_eq!(treated(END_MS - 1, Dates::Shifted(36_525)), END_MS - 1);
    }

    #[test]
    fn a_time_becomes_the_beginning_of_its_year() {
        let first = 1_767_225_600_000;
        for dates in [Dates::Year, Dates::Unknown] {
            for time in [first, TIME, first + 365 * DAY_MS - 1] {
                assert_eq!(treated(time, dates), first, "{time}");
            }
            assert_eq!(treated(first - 1, dates), first - 365 * DAY_MS);
            assert_eq!(treated(DAY_MS, dates), 0);
            // 2024 is a leap year, 2100 is none.
            assert_eq!(treated(1_735_689_599_999, dates), 1_704_067_200_000);
            assert_eq!(treated(4_133_980_799_999, dates), 4_102_444_800_000);
            assert_eq!(treated(END_MS - 1, dates), END_MS - 365 * DAY_MS);
        }
    }

    #[test]
    fn what_is_no_date_says_nothing() {
        for time in [END_MS, u64::MAX] {
            for dates in [Dates::Year, Dates::Unknown, Dates::Shifted(-36_525), Dates::Shifted(36_525)] {
                assert_eq!(treated(time, dates), 0);
            }
        }
    }
}
