//! Days of services that can be compared, and that nobody can read.
//!
//! A date more exact than its year identifies (45 CFR 164.514(b)(2)(i)(C)). So what is said of a day is its year, and the day under a pad: the
//! sum, modulo 2^16, of the days since 1970 and of a number that is made of the MAC of the examination's number, under a name of its
//! own. Of one number both sides make the same pad, so that the difference of two days is what it was; by itself a padded day is a number
//! that is as likely for any day. Where there is no number of an examination, procedures and claims are found by a patient's number with the
//! day in one MAC, and then the days are the same anyway.

use crate::DAY_MS;
use crate::mac;

/// Years that dates may have: four digits.
const YEAR_MAX: u16 = 9999;

/// A day, as far as it is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Day {
    pub(crate) year: u16,
    /// A part of the MAC of the examination's number, and the day under its pad; none without such a number.
    pub(crate) hidden: Option<(u32, u16)>,
}

impl Day {
    /// Of what a notice says; the MAC is that of the examination's number.
    pub(crate) fn new(year: u16, accession: Option<&str>, hidden_day: Option<u16>) -> Self {
        let number =
            accession.and_then(mac::short).map(|short| u32::try_from(short >> 32).unwrap_or_default());
        Self { year, hidden: number.zip(hidden_day) }
    }

    /// How many days there are between two of one examination, forwards or backwards; none where that cannot be told.
    pub(crate) fn apart(self, other: Self) -> Option<u16> {
        let ((number, one), (of, other)) = self.hidden.zip(other.hidden)?;
        (number == of).then(|| one.wrapping_sub(other).cast_signed().unsigned_abs())
    }
}

/// A day since 1970 under the pad that is made of a MAC; none where that is no MAC.
pub(crate) fn hide(day: u32, pad: &str) -> Option<u16> {
    let pad = pad.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok())?;
    // What is lost is a multiple of 179 years.
    let [low, high, ..] = day.to_le_bytes();
    Some(u16::from_le_bytes([low, high]).wrapping_add(pad))
}

/// The year of a day since 1970.
pub(crate) fn year_of(day: u32) -> u16 {
    let date = hilum_formats::calendar::format(u64::from(day) * DAY_MS);
    date.get(..4).and_then(|year| year.parse().ok()).unwrap_or_default()
}

/// Whether a notice may say so.
pub(crate) fn is_year(year: u16) -> bool {
    (1..=YEAR_MAX).contains(&year)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: &str = "00112233445566778899aabbccddeeff";

    fn day(day: u32, pad: &str) -> Day {
        Day::new(year_of(day), Some(NUMBER), hide(day, pad))
    }

    #[test]
    fn differences_are_what_they_were_whatever_the_pad() {
        for pad in ["0000", "8000", "ffff", "1234abcd"] {
            for (one, other) in
                [(20_759, 20_759), (20_759, 20_760), (20_819, 20_818), (0, 30_000), (65_535, 65_536)]
            {
                assert_eq!(
                    day(one, pad).apart(day(other, pad)),
                    u16::try_from(one.abs_diff(other)).ok(),
                    "{pad}"
                );
            }
        }
    }

    #[test]
    fn another_examination_is_not_compared() {
        let other = Day::new(2026, Some("ff112233445566778899aabbccddeeff"), Some(7));
        assert_eq!(day(20_759, "0000").apart(other), None);
        assert_eq!(day(20_759, "0000").apart(Day::new(2026, None, None)), None);
        assert_eq!(Day::new(2026, None, Some(7)).hidden, None);
    }

    /// Every day may be behind every padded day.
    #[test]
    fn a_padded_day_says_nothing() {
        let mut seen: Vec<u16> =
            (0..=u16::MAX).filter_map(|pad| hide(20_759, &format!("{pad:04x}"))).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1 << 16);
        assert_eq!(hide(20_759, "no MAC"), None);
    }

    #[test]
    fn years_are_those_of_the_calendar() {
        // 2026-12-31 and the day after.
        assert_eq!((year_of(20_818), year_of(20_819), year_of(0)), (2026, 2027, 1970));
    }
}
