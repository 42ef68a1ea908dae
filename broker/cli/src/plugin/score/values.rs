//! Synthetic identifiers, all of them drawn from one seed: the same seed plants the same values.

use hilum_core::Digest;

/// How each text begins that can be looked for anywhere in what comes out, in whatever case.
pub(super) const TOKEN: &str = "ZQ";
/// Characters of such a text.
pub(super) const TOKEN_CHARACTERS: usize = 12;
/// The root of planted unique identifiers.
pub(super) const UID_ROOT: &str = "1.2.826.0.1.3680043.10.1338.";
/// What tokens are made of after their beginning: no vowels, so that none is a word.
const ALPHABET: &[u8; 32] = b"BCDFGHJKLMNPQRSTVWXZ23456789BCDF";

/// Draws values.
pub(super) struct Values {
    seed: u64,
    drawn: u64,
}

impl Values {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }

    fn octets(&mut self) -> [u8; 32] {
        self.drawn += 1;
        Digest::of(format!("hilum score {} {}", self.seed, self.drawn).as_bytes()).0
    }

    /// A number below a bound.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let octets = self.octets();
        let number = octets.iter().take(8).fold(0_u64, |number, octet| number << 8 | u64::from(*octet));
        number % bound.max(1)
    }

    /// A text that is nowhere else: 12 capital letters and digits, which every text of DICOM but a number may be.
    pub(super) fn token(&mut self) -> String {
        let octets = self.octets();
        let letters = octets.iter().take(TOKEN_CHARACTERS - TOKEN.len());
        let letters = letters.map(|octet| char::from(ALPHABET[usize::from(octet % 32)]));
        TOKEN.chars().chain(letters).collect()
    }

    /// So many decimal digits, of which the first is no zero.
    pub(super) fn digits(&mut self, count: usize) -> String {
        let octets = self.octets();
        let digit =
            |(at, octet): (usize, &u8)| char::from(b'0' + if at == 0 { 1 + octet % 9 } else { octet % 10 });
        octets.iter().cycle().take(count).enumerate().map(digit).collect()
    }

    /// A date, `YYYYMMDD`: never the first of January or of a month, nor the middle of either, which reduced dates are written as.
    pub(super) fn date(&mut self) -> String {
        let (year, month) = (1996 + self.below(24), 2 + self.below(5));
        let day = 2 + self.below(12);
        format!("{year:04}{month:02}{day:02}")
    }

    /// A time of day, `HHMMSS`, not a full hour.
    pub(super) fn time(&mut self) -> String {
        format!("{:02}{:02}{:02}", 1 + self.below(22), 1 + self.below(58), 1 + self.below(58))
    }

    /// A unique identifier that is nowhere else.
    pub(super) fn uid(&mut self) -> String {
        format!("{UID_ROOT}{}", self.digits(24))
    }

    /// The unique identifier that stands for one of a real file, everywhere.
    pub(super) fn uid_for(&self, original: &str) -> String {
        let octets = Digest::of(format!("hilum score {} uid {original}", self.seed).as_bytes()).0;
        let digits: String = octets[..24].iter().map(|octet| char::from(b'1' + octet % 9)).collect();
        format!("{UID_ROOT}{digits}")
    }
}

/// Days since 1970-01-01 of a date in the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month > 2 { year } else { year - 1 };
    let era = shifted.div_euclid(400);
    let of_era = shifted - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The day that a text begins with, `YYYYMMDD` or `YYYY-MM-DD`, and whatever follows.
pub(super) fn day_of(text: &str) -> Option<i64> {
    let digits: String = match text.get(..10).map(str::as_bytes) {
        Some([_, _, _, _, b'-', _, _, b'-', _, _]) => text[..10].replace('-', ""),
        _ => text.get(..8)?.to_owned(),
    };
    if digits.len() != 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let (year, month, day) =
        (digits[..4].parse().ok()?, digits[4..6].parse().ok()?, digits[6..].parse().ok()?);
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then(|| days(year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_again_and_another_one_others() {
        let draw = |seed| {
            let mut values = Values::new(seed);
            (values.token(), values.digits(40), values.date(), values.uid(), values.uid_for("1.2"))
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        let (token, digits, date, uid, other) = draw(1);
        assert_eq!((token.len(), digits.len(), date.len()), (TOKEN_CHARACTERS, 40, 8));
        assert!(uid.len() <= 64 && other.len() <= 64 && uid != other);
    }

    #[test]
    fn days_count_over_leap_years() {
        assert_eq!(day_of("19700101"), Some(0));
        assert_eq!(day_of("2000-03-01T10:00:00Z").unwrap() - day_of("20000228101010").unwrap(), 2);
        assert_eq!(day_of("1996"), None);
        assert_eq!(day_of("19961399"), None);
    }
}
