//! What a clock on the hospital's wall shows: time zones as the POSIX variable `TZ` has them (IEEE 1003.1-2017, section 8.3), e.g.
//! `CET-1CEST,M3.5.0,M10.5.0/3`. It needs no database, which a sandbox has none of.

const DAY_SECONDS: i64 = 86_400;

/// A time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeZone {
    /// Seconds that it is ahead of UTC.
    standard: i64,
    daylight: Option<Daylight>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Daylight {
    /// Seconds that it is ahead of UTC.
    ahead: i64,
    start: Change,
    end: Change,
}

/// When clocks change, each year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    day: Day,
    /// Seconds after midnight, by the clock that is changed.
    time: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Day {
    /// `Mm.w.d`: of a month the `w`th weekday `d`, where 5 is the last one and 0 is Sunday.
    Weekday { month: i64, week: i64, weekday: i64 },
    /// `Jn`: from 1, in which 29 February is not counted.
    WithoutLeap(i64),
    /// `n`: from 0.
    Counted(i64),
}

/// What the clock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clock {
    /// From 1, which is Monday (ISO 8601).
    pub weekday: i64,
    /// From 0 to 23.
    pub hour: i64,
    /// From 0 to 59.
    pub minute: i64,
}

impl TimeZone {
    /// Reads a value of `TZ`; none if it is not of that form.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = Reader(text);
        rest.name()?;
        let standard = -rest.offset(24)?;
        if rest.0.is_empty() {
            return Some(Self { standard, daylight: None });
        }
        rest.name()?;
        let ahead = if rest.0.starts_with(',') { standard + 3_600 } else { -rest.offset(24)? };
        let start = rest.change()?;
        let end = rest.change()?;
        rest.0.is_empty().then_some(Self { standard, daylight: Some(Daylight { ahead, start, end }) })
    }

    /// When its clock shows a time, both in milliseconds since 1970. Of two such instants in autumn it is one, and where there is none in
    /// spring it is that of an hour later or earlier.
    pub fn instant(&self, local: u64) -> u64 {
        let seconds = i64::try_from(local / 1_000).unwrap_or(i64::MAX / 2);
        let guess = seconds - self.ahead(seconds - self.standard);
        let instant = seconds - self.ahead(guess);
        u64::try_from(instant).unwrap_or(0).saturating_mul(1_000).saturating_add(local % 1_000)
    }

    /// What its clock shows at a time, in milliseconds since 1970.
    pub fn clock(&self, at: u64) -> Clock {
        let seconds = i64::try_from(at / 1_000).unwrap_or(i64::MAX / 2);
        let local = seconds + self.ahead(seconds);
        let days = local.div_euclid(DAY_SECONDS);
        let of_day = local.rem_euclid(DAY_SECONDS);
        // 1 January 1970 was a Thursday.
        Clock { weekday: (days + 3).rem_euclid(7) + 1, hour: of_day / 3_600, minute: of_day % 3_600 / 60 }
    }

    fn ahead(&self, seconds: i64) -> i64 {
        let Some(Daylight { ahead, start, end }) = &self.daylight else { return self.standard };
        let year = year((seconds + self.standard).div_euclid(DAY_SECONDS));
        let from = start.in_year(year) - self.standard;
        let until = end.in_year(year) - ahead;
        // South of the equator daylight time is at both ends of the year.
        let is_daylight =
            if from < until { (from..until).contains(&seconds) } else { !(until..from).contains(&seconds) };
        if is_daylight { *ahead } else { self.standard }
    }
}

/// A time in milliseconds since 1970 as Cedar's `datetime` has it, e.g. `2026-01-05T08:00:00.000Z`; at most the end of the year 9999.
pub fn datetime(at: u64) -> String {
    let at = i64::try_from(at).unwrap_or(i64::MAX).min(253_402_300_799_999);
    let (days, of_day) = (at.div_euclid(DAY_SECONDS * 1_000), at.rem_euclid(DAY_SECONDS * 1_000));
    let year = year(days);
    let month = (1..=12).rev().find(|&month| days_before(year, month) <= days).unwrap_or(1);
    let day = days - days_before(year, month) + 1;
    let (seconds, milliseconds) = (of_day / 1_000, of_day % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z")
}

impl Change {
    /// Seconds since 1970 of the local clock.
    fn in_year(self, year: i64) -> i64 {
        let first = days_before(year, 1);
        let day = match self.day {
            Day::Counted(days) => first + days,
            Day::WithoutLeap(n) => first + n - 1 + i64::from(is_leap(year) && n >= 60),
            Day::Weekday { month, week, weekday } => {
                let first = days_before(year, month);
                let next = if month == 12 { days_before(year + 1, 1) } else { days_before(year, month + 1) };
                let to = (weekday - (first + 4)).rem_euclid(7);
                let day = first + to + 7 * (week - 1);
                if day < next { day } else { day - 7 }
            }
        };
        day * DAY_SECONDS + self.time
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days from 1970 to the first of a month of the Gregorian calendar.
fn days_before(year: i64, month: i64) -> i64 {
    const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let past = year - 1;
    let of_years = 365 * past + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400);
    let index = usize::try_from(month - 1).unwrap_or(0).min(11);
    of_years + BEFORE[index] + i64::from(month > 2 && is_leap(year)) - 719_162
}

/// The year that a day since 1970 is in.
fn year(days: i64) -> i64 {
    let guess = 1970 + days.div_euclid(366);
    (guess..).find(|&year| days < days_before(year + 1, 1)).unwrap_or(guess)
}

/// What is left of the text.
struct Reader<'t>(&'t str);

impl Reader<'_> {
    fn take(&mut self, of: impl Fn(char) -> bool) -> &str {
        let end = self.0.find(|next| !of(next)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn skip(&mut self, sign: char) -> Option<()> {
        self.0 = self.0.strip_prefix(sign)?;
        Some(())
    }

    fn name(&mut self) -> Option<()> {
        if self.skip('<').is_some() {
            let name = self.take(|next| next.is_ascii_alphanumeric() || next == '+' || next == '-').len();
            self.skip('>')?;
            return (name >= 3).then_some(());
        }
        (self.take(|next| next.is_ascii_alphabetic()).len() >= 3).then_some(())
    }

    fn number(&mut self, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let number = self.take(|next| next.is_ascii_digit()).parse().ok()?;
        range.contains(&number).then_some(number)
    }

    /// `[+-]hh[:mm[:ss]]`, in seconds.
    fn offset(&mut self, hours: i64) -> Option<i64> {
        let sign = if self.skip('-').is_some() { -1 } else { 1 };
        if sign == 1 {
            let _ = self.skip('+');
        }
        let mut seconds = self.number(0..=hours)? * 3_600;
        for unit in [60, 1] {
            if self.skip(':').is_none() {
                break;
            }
            seconds += self.number(0..=59)? * unit;
        }
        Some(sign * seconds)
    }

    fn change(&mut self) -> Option<Change> {
        self.skip(',')?;
        let day = if self.skip('M').is_some() {
            let month = self.number(1..=12)?;
            self.skip('.')?;
            let week = self.number(1..=5)?;
            self.skip('.')?;
            Day::Weekday { month, week, weekday: self.number(0..=6)? }
        } else if self.skip('J').is_some() {
            Day::WithoutLeap(self.number(1..=365)?)
        } else {
            Day::Counted(self.number(0..=365)?)
        };
        let time = if self.skip('/').is_some() { self.offset(167)? } else { 7_200 };
        Some(Change { day, time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(zone: &str, seconds: u64) -> (i64, i64, i64) {
        let Clock { weekday, hour, minute } = TimeZone::parse(zone).unwrap().clock(seconds * 1_000);
        (weekday, hour, minute)
    }

    #[test]
    fn utc_is_as_it_is() {
        assert_eq!(shows("UTC0", 0), (4, 0, 0));
        assert_eq!(shows("UTC0", 951_782_399), (1, 23, 59), "28 February 2000 was a Monday");
        assert_eq!(shows("UTC0", 951_782_400), (2, 0, 0), "and 2000 was a leap year");
    }

    #[test]
    fn clocks_change_when_they_should() {
        // In 2026 on Sunday 29 March and on Sunday 25 October at 01:00 UTC.
        let berlin = "CET-1CEST,M3.5.0,M10.5.0/3";
        assert_eq!(shows(berlin, 1_774_745_999), (7, 1, 59));
        assert_eq!(shows(berlin, 1_774_746_000), (7, 3, 0));
        assert_eq!(shows(berlin, 1_792_889_999), (7, 2, 59));
        assert_eq!(shows(berlin, 1_792_890_000), (7, 2, 0));
        // In 2026 on Sunday 8 March at 07:00 UTC, and on Sunday 1 November at 06:00 UTC.
        let new_york = "EST5EDT,M3.2.0,M11.1.0";
        assert_eq!(shows(new_york, 1_772_953_199), (7, 1, 59));
        assert_eq!(shows(new_york, 1_772_953_200), (7, 3, 0));
        assert_eq!(shows(new_york, 1_793_512_799), (7, 1, 59));
        assert_eq!(shows(new_york, 1_793_512_800), (7, 1, 0));
    }

    #[test]
    fn times_are_written_as_cedar_reads_them() {
        for (at, written) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_798_761_599_001, "2026-12-31T23:59:59.001Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(datetime(at), written);
        }
    }

    #[test]
    fn south_of_the_equator_summer_is_over_new_year() {
        let sydney = "AEST-10AEDT,M10.1.0,M4.1.0/3";
        assert_eq!(shows(sydney, 1_767_225_600), (4, 11, 0), "1 January 2026 00:00 UTC");
        assert_eq!(shows(sydney, 1_782_864_000), (3, 10, 0), "1 July 2026 00:00 UTC");
    }

    #[test]
    fn names_offsets_and_days_are_of_all_forms() {
        assert_eq!(shows("<+0545>-5:45", 0), (4, 5, 45));
        assert_eq!(
            shows("AAA0BBB,J60/0,J61/0", 68_256_000),
            (3, 1, 0),
            "1 March 1972 is J60, in a leap year too"
        );
        assert_eq!(shows("AAA0BBB,59/0,60/0", 68_169_600), (2, 1, 0), "29 February 1972");
        for wrong in [
            "",
            "CE-1",
            "CET",
            "CET-1CEST",
            "CET-1CEST,M13.1.0,M1.1.0",
            "CET-1CEST,M3.5.0",
            "UTC0 ",
            "UTC25",
            "<+1-1",
        ] {
            assert_eq!(TimeZone::parse(wrong), None, "{wrong}");
        }
    }
}
