//! Times as milliseconds since 1970-01-01T00:00:00Z and as text (RFC 3339).

const DAY_MS: u64 = 86_400_000;

/// `2026-11-23T19:00:00.250Z`; years from 1970 to 9999.
pub fn format(ms: u64) -> String {
    let (year, month, day) = civil(ms / DAY_MS);
    let (hour, minute) = (ms / 3_600_000 % 24, ms / 60_000 % 60);
    let (second, fraction) = (ms / 1000 % 60, ms % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z")
}

/// RFC 3339, section 5.6. A leap second is the second after it; fractions are cut to milliseconds.
pub fn parse(text: &str) -> Option<u64> {
    let octets = text.as_bytes();
    if octets.len() < 20 || !text.is_ascii() {
        return None;
    }
    let separators = [(4, b"-" as &[u8]), (7, b"-"), (10, b"Tt "), (13, b":"), (16, b":")];
    if !separators.iter().all(|(at, allowed)| allowed.contains(&octets[*at])) {
        return None;
    }
    let (year, month, day) = (digits(&text[..4])?, digits(&text[5..7])?, digits(&text[8..10])?);
    let (hour, minute, second) = (digits(&text[11..13])?, digits(&text[14..16])?, digits(&text[17..19])?);
    if !(1970..=9999).contains(&year) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction_ms, zone) = fraction(&text[19..])?;
    let days = days_since_1970(year, month, day)?;
    let ms = days * DAY_MS + hour * 3_600_000 + minute * 60_000 + second * 1000 + fraction_ms;
    match zone.as_bytes() {
        b"Z" | b"z" => Some(ms),
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (digits(&zone[1..3])?, digits(&zone[4..6])?);
            let ahead_ms = (hours * 60 + minutes) * 60_000;
            let is_offset = hours <= 23 && minutes <= 59;
            if !is_offset {
                None
            } else if *sign == b'+' {
                ms.checked_sub(ahead_ms)
            } else {
                Some(ms + ahead_ms)
            }
        }
        _ => None,
    }
}

/// Milliseconds of a fraction such as `.25`, and what follows it.
fn fraction(text: &str) -> Option<(u64, &str)> {
    let Some(after) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = after.find(|c: char| !c.is_ascii_digit())?;
    let (fraction, zone) = after.split_at(end);
    let thousandths: String = fraction.chars().chain("00".chars()).take(3).collect();
    Some((digits(&thousandths)?, zone)).filter(|_| !fraction.is_empty())
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|octet| octet.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Days of a date in the proleptic Gregorian calendar; years begin in March so that the leap day comes last.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u64::from(is_leap),
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    days.checked_sub(EPOCH_DAYS)
}

/// Days from 0000-03-01 to 1970-01-01.
const EPOCH_DAYS: u64 = 719_468;

fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + EPOCH_DAYS;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + era * 400 + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known from `date -u -d @...`.
    #[test]
    fn times_are_read_and_written() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_700_000_000_250, "2023-11-14T22:13:20.250Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
        ] {
            assert_eq!(format(ms), text);
            assert_eq!(parse(text), Some(ms));
        }
        assert_eq!(parse("2023-11-14T23:13:20.25+01:00"), Some(1_700_000_000_250));
        assert_eq!(parse("2023-11-14t17:13:20-05:00"), Some(1_700_000_000_000));
        assert_eq!(parse("2016-12-31T23:59:60Z"), parse("2017-01-01T00:00:00Z"));
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in (0..146_097).step_by(7) {
            let ms = day * DAY_MS + 12_345;
            assert_eq!(parse(&format(ms)), Some(ms));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-11-14T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20+1:00",
            "2023-11-14T22:13:20+00:60",
            "1970-01-01T00:00:00+01:00",
            "2023-11-14T22:13:2éZ",
            "+023-11-14T22:13:20Z",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
