//! Dates of messages and resources: their year, or all of one patient's moved by as many days, as dates of DICOM are.

use crate::dicom::shift_digits;
use crate::pseudonym::{PATIENT, trim};
use crate::{Config, MessageDates, Pseudonyms, Refusal};

/// What happens to dates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dates {
    /// Their year is left.
    #[default]
    Year,
    /// They move by days.
    Shifted(i32),
    /// They would move if it were known whose they are.
    Unknown,
}

impl Dates {
    /// What happens to the dates of the patient with an identifier, which may be empty.
    pub(crate) fn of_patient(
        identifier: &[u8],
        config: &Config,
        keys: &dyn Pseudonyms,
    ) -> Result<Dates, Refusal> {
        let identifier = trim(identifier);
        match config.message_dates {
            MessageDates::Year => Ok(Dates::Year),
            MessageDates::Shift if identifier.is_empty() => Ok(Dates::Unknown),
            MessageDates::Shift => {
                keys.date_shift(PATIENT, identifier, config.date_shift_days_max).map(Dates::Shifted)
            }
        }
    }
}

/// Moves the date at the beginning of `CCYY[MM[DD[...]]]`, all of which are digits up to there, and leaves what follows. A year or a month
/// alone moves as its middle. Whether there was a date, and still is.
pub(crate) fn shift(value: &mut [u8], days: i32) -> bool {
    let digits = value.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let length = match digits {
        4 | 5 => 4,
        6 | 7 => 6,
        8.. => 8,
        _ => return false,
    };
    if digits % 2 == 1 {
        return false;
    }
    let mut whole = *b"00000701";
    if length == 6 {
        whole[6..].copy_from_slice(b"15");
    }
    whole[..length].copy_from_slice(&value[..length]);
    let shifted = shift_digits(&mut whole, days);
    value[..length].copy_from_slice(&whole[..length]);
    shifted
}

/// The year of a `date`, `dateTime` or `instant` (FHIR R4, 2.24.0.1), if it is one.
pub(crate) fn year_of_iso(text: &str) -> Option<u16> {
    let year = text.get(..4).filter(|year| year.bytes().all(|octet| octet.is_ascii_digit()))?;
    let year = year.parse().ok().filter(|year| (1800..2200).contains(year))?;
    is_iso(text).then_some(year)
}

/// A `date`, `dateTime` or `instant` moved by days.
pub(crate) fn shift_iso(text: &str, days: i32) -> Option<String> {
    if !is_iso(text) {
        return None;
    }
    let (date, time) = text.split_at(text.find('T').unwrap_or(text.len()));
    let mut digits: Vec<u8> = date.bytes().filter(u8::is_ascii_digit).collect();
    if !shift(&mut digits, days) {
        return None;
    }
    let parts = [digits.get(..4), digits.get(4..6), digits.get(6..8)];
    let parts: Vec<&str> =
        parts.into_iter().flatten().filter_map(|part| std::str::from_utf8(part).ok()).collect();
    Some(format!("{}{time}", parts.join("-")))
}

/// Whether a text has the form `YYYY[-MM[-DD[Thh:mm[:ss[.f]][Z|(+|-)hh:mm]]]]`.
fn is_iso(text: &str) -> bool {
    const FORM: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let is = |form: &u8, octet: u8| if *form == b'd' { octet.is_ascii_digit() } else { *form == octet };
    let length = FORM.iter().zip(text.bytes()).take_while(|(form, octet)| is(form, *octet)).count();
    let rest = text.as_bytes().get(length..).unwrap_or_default();
    if rest.is_empty() {
        return matches!(length, 4 | 7 | 10 | 16 | 19);
    }
    let fraction = match rest {
        [b'.', after @ ..] if length == 19 => {
            1 + after.iter().take_while(|octet| octet.is_ascii_digit()).count()
        }
        _ => 0,
    };
    let zone = rest.get(fraction..).unwrap_or_default();
    let is_zone = match zone {
        [] | b"Z" => true,
        [b'+' | b'-', a, b, b':', c, d] => [a, b, c, d].iter().all(|octet| octet.is_ascii_digit()),
        _ => false,
    };
    matches!(length, 16 | 19) && fraction != 1 && fraction <= 10 && is_zone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_fhir_move_in_their_precision() {
        for (text, days, expected) in [
            ("2024-02-28", 1, "2024-02-29"),
            ("2024-01", 31, "2024-02"),
            ("2024", 365, "2025"),
            ("2024-12-31T23:59:59.123+01:00", 1, "2025-01-01T23:59:59.123+01:00"),
            ("2024-12-31T23:59Z", -366, "2023-12-31T23:59Z"),
        ] {
            assert_eq!(shift_iso(text, days).as_deref(), Some(expected), "{text}");
            assert_eq!(year_of_iso(text), Some(2024));
        }
        for text in [
            "",
            "Jane",
            "2024-1-1",
            "2024-01-01Jane",
            "2024-01-01T10",
            "2024-01-01T10:00:00.",
            "20240101",
            "2024-01-01T10:00+1",
            "24",
        ] {
            assert_eq!((shift_iso(text, 1), year_of_iso(text)), (None, None), "{text}");
        }
        assert_eq!(shift_iso("2023-02-29", 1), None);
        assert_eq!(year_of_iso("0004-01-01"), None);
    }

    #[test]
    fn dates_of_messages_move_and_their_times_stay() {
        let moved = |text: &str, days| {
            let mut value = text.as_bytes().to_vec();
            shift(&mut value, days).then(|| String::from_utf8(value).unwrap())
        };
        assert_eq!(moved("202402281530+0100", 1).as_deref(), Some("202402291530+0100"));
        assert_eq!(moved("20240228", 2).as_deref(), Some("20240301"));
        assert_eq!(moved("2024", 365).as_deref(), Some("2025"));
        assert_eq!(moved("202401", 31).as_deref(), Some("202402"));
        for text in ["", "24", "2024022", "20240230", "Jane"] {
            assert_eq!(moved(text, 1), None, "{text}");
        }
    }
}
