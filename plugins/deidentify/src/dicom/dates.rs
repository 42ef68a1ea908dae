//! Dates, shifted by whole days (PS3.15 E.3.6), and ages (PS3.5 section 6.2).
//!
//! A shift leaves the time of day, the offset from UTC and the form of a value as they are, so that intervals stay to the second and a value
//! keeps its length. A value that is not of the form of its representation is nothing to be shifted.

use hilum_formats::dicom::Vr;

/// From this age on people are few (45 CFR 164.514(b)(2)(i)(C)).
const AGE_YEARS_MAX: u32 = 90;
/// What an age over it becomes.
const AGE_AT_MOST: &[u8] = b"090Y";

/// Shifts every date of a value of `DA` or `DT` in place; whether each was one, and still is after the shift. Times (`TM`) are
/// only looked at. After `false` the value is of no use.
pub(super) fn shift(vr: Vr, value: &mut [u8], days: i32) -> bool {
    value.split_mut(|octet| *octet == b'\\').all(|one| {
        let one = trimmed(one);
        one.is_empty()
            || match vr {
                Vr::DA => shift_date(one, days),
                Vr::DT => shift_date_time(one, days),
                Vr::TM => is_time(one),
                _ => false,
            }
    })
}

/// An age that says no more than that somebody is old; none if it is not an age.
pub(super) fn aggregated_age(value: &[u8]) -> Option<&[u8]> {
    let one: &[u8; 4] = hilum_formats::dicom::trim(value).try_into().ok()?;
    let years = digits(&one[..3])?;
    match one[3] {
        b'Y' if years >= AGE_YEARS_MAX => Some(AGE_AT_MOST),
        b'D' | b'W' | b'M' | b'Y' => Some(value),
        _ => None,
    }
}

/// Without the spaces and NULs around it.
fn trimmed(value: &mut [u8]) -> &mut [u8] {
    let padding = |octet: &u8| matches!(octet, b' ' | 0);
    let start = value.iter().position(|octet| !padding(octet)).unwrap_or(value.len());
    let end = value.iter().rposition(|octet| !padding(octet)).map_or(start, |last| last + 1);
    &mut value[start..end]
}

/// `YYYYMMDD`, or `YYYY.MM.DD` of the standard before 1993.
fn shift_date(date: &mut [u8], days: i32) -> bool {
    match date {
        [_, _, _, _, _, _, _, _] => shift_digits(date, days),
        [a, b, c, d, b'.', e, f, b'.', g, h] => {
            let mut plain = [*a, *b, *c, *d, *e, *f, *g, *h];
            let shifted = shift_digits(&mut plain, days);
            date[..4].copy_from_slice(&plain[..4]);
            date[5..7].copy_from_slice(&plain[4..6]);
            date[8..].copy_from_slice(&plain[6..]);
            shifted
        }
        _ => false,
    }
}

/// `YYYY[MM[DD[HH[MM[SS[.F]]]]]][&ZZXX]`. A year or a month alone is shifted as its middle, so that it stays about as far from others.
fn shift_date_time(value: &mut [u8], days: i32) -> bool {
    let end = value.iter().position(|octet| matches!(octet, b'+' | b'-')).unwrap_or(value.len());
    let (time, offset) = value.split_at_mut(end);
    let offset_is_right = matches!(offset.len(), 0 | 5) && offset.iter().skip(1).all(u8::is_ascii_digit);
    let date = time.len().min(8);
    let (date, time) = time.split_at_mut(date);
    if !offset_is_right || !(time.is_empty() || is_time(time)) {
        return false;
    }
    let mut whole = *b"00000701";
    match date.len() {
        4 => {}
        6 => whole[6..].copy_from_slice(b"15"),
        8 => {}
        _ => return false,
    }
    whole[..date.len()].copy_from_slice(date);
    let shifted = shift_digits(&mut whole, days);
    date.copy_from_slice(&whole[..date.len()]);
    shifted
}

/// `HH[MM[SS[.F]]]`, or `HH:MM:SS` of the standard before 1993.
fn is_time(time: &[u8]) -> bool {
    let (whole, fraction) = match time.iter().position(|octet| *octet == b'.') {
        Some(point) => (&time[..point], &time[point + 1..]),
        None => (time, &b"0"[..]),
    };
    let is_whole = match whole {
        [_, _, b':', _, _] | [_, _, b':', _, _, b':', _, _] => true,
        _ => matches!(whole.len(), 2 | 4 | 6) && !whole.contains(&b':'),
    };
    let allowed = |octet: &u8| octet.is_ascii_digit() || *octet == b':';
    is_whole
        && whole.iter().all(allowed)
        && (1..=6).contains(&fraction.len())
        && fraction.iter().all(u8::is_ascii_digit)
}

/// Shifts `YYYYMMDD`.
pub(crate) fn shift_digits(date: &mut [u8], days: i32) -> bool {
    let numbers = (digits(&date[..4]), digits(&date[4..6]), digits(&date[6..]));
    let (Some(year), Some(month), Some(day)) = numbers else { return false };
    if !(1..=12).contains(&month) || day == 0 || day > days_of(year, month) {
        return false;
    }
    let shifted = from_days(to_days(year.cast_signed(), month.cast_signed(), day.cast_signed()) + days);
    let (year, month, day) = shifted;
    let Some(year) = u32::try_from(year).ok().filter(|year| (1..=9999).contains(year)) else { return false };
    let mut number = year * 10_000 + month * 100 + day;
    for digit in date.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
    true
}

fn digits(text: &[u8]) -> Option<u32> {
    text.iter()
        .try_fold(0, |number, octet| octet.is_ascii_digit().then(|| number * 10 + u32::from(octet - b'0')))
}

fn days_of(year: u32, month: u32) -> u32 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The first of March of year 0 before the first of January 1970.
const DAYS_TO_1970: i32 = 719_468;

/// The year of a day, counted from the first of January 1970 as 0.
pub(crate) fn year_of_day(day: i32) -> i32 {
    from_days(day.saturating_add(DAYS_TO_1970)).0
}

/// Days from the first of January 1970 to that of a year.
pub(crate) fn days_from_1970_to(year: i32) -> i32 {
    to_days(year, 1, 1) - DAYS_TO_1970
}

/// Days from 1 March of year 0, in the Gregorian calendar of all times (ISO 8601). Years begin in March, so that the day that
/// is sometimes there is the last one.
fn to_days(year: i32, month: i32, day: i32) -> i32 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, month) = (year.div_euclid(400), (month + 9) % 12);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year
}

fn from_days(days: i32) -> (i32, u32, u32) {
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i32::from(month <= 2);
    (year, month.cast_unsigned(), day.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shifted(vr: Vr, value: &str, days: i32) -> Option<String> {
        let mut value = value.as_bytes().to_vec();
        shift(vr, &mut value, days).then(|| String::from_utf8(value).unwrap())
    }

    #[test]
    fn dates_move_and_times_of_day_stay() {
        for (vr, value, days, expected) in [
            (Vr::DA, "20240228", 1, "20240229"),
            (Vr::DA, "20230228", 1, "20230301"),
            (Vr::DA, "20000101", -1, "19991231"),
            (Vr::DA, "19000228", 1, "19000301"),
            (Vr::DA, "2024.02.29", 366, "2025.03.01"),
            (Vr::DA, "20240101\\20240105 ", 10, "20240111\\20240115 "),
            (Vr::DA, "", 1, ""),
            (Vr::DT, "20240131235959.123456+0100", 1, "20240201235959.123456+0100"),
            (Vr::DT, "202401312359", -31, "202312312359"),
            (Vr::DT, "202401", 31, "202402"),
            (Vr::DT, "2024", 365, "2025"),
            (Vr::DT, "2024-0500", -366, "2023-0500"),
            (Vr::TM, "235959.5", 1, "235959.5"),
            (Vr::TM, "23:59:59", 1, "23:59:59"),
        ] {
            assert_eq!(shifted(vr, value, days).as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn what_is_no_date_is_not_shifted() {
        for (vr, value) in [
            (Vr::DA, "20230229"),
            (Vr::DA, "20231301"),
            (Vr::DA, "2023"),
            (Vr::DA, "DOE^JANE"),
            (Vr::DA, "20230101\\JANE"),
            (Vr::DT, "20230101JANE"),
            (Vr::DT, "20230101+01"),
            (Vr::DT, "202301011"),
            (Vr::TM, "DOE"),
            (Vr::TM, "12:30:"),
            (Vr::TM, "120000."),
            (Vr::LO, "20230101"),
        ] {
            assert_eq!(shifted(vr, value, 1), None, "{value}");
        }
        assert_eq!(shifted(Vr::DA, "99991231", 1), None);
        assert_eq!(shifted(Vr::DA, "00010101", -1), None);
    }

    #[test]
    fn great_ages_are_one() {
        assert_eq!(aggregated_age(b"089Y"), Some(&b"089Y"[..]));
        assert_eq!(aggregated_age(b"090Y"), Some(&b"090Y"[..]));
        assert_eq!(aggregated_age(b"104Y"), Some(&b"090Y"[..]));
        assert_eq!(aggregated_age(b"010M"), Some(&b"010M"[..]));
        assert_eq!(aggregated_age(b"DOE "), None);
        assert_eq!(aggregated_age(b"12Y"), None);
    }

    proptest! {
        #[test]
        fn a_shift_and_its_opposite_are_nothing(day in 0..3_000_000_i32, days in -36_525..=36_525_i32) {
            let (year, month, of_month) = from_days(400 * 366 + day);
            prop_assert_eq!(to_days(year, month.cast_signed(), of_month.cast_signed()), 400 * 366 + day);
            let date = format!("{year:04}{month:02}{of_month:02}");
            if let Some(there) = shifted(Vr::DA, &date, days) {
                prop_assert_eq!(shifted(Vr::DA, &there, -days), Some(date));
            }
        }
    }
}
