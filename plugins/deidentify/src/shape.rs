//! What a value looks like, whatever message it stands in: a code, a number, or something that a person is known by.

/// Digits that a code may have in all; more may be a date, a telephone or a social security number.
pub(crate) const CODE_DIGITS_MAX: usize = 7;
/// Digits before the point that a number may have.
const WHOLE_DIGITS_MAX: usize = 7;
/// Digits of a number that say something; the others become zeros, or go with the fraction.
const SIGNIFICANT_DIGITS_MAX: usize = 6;
/// Letters that may be an abbreviation; more may be a name.
const WORD_LETTERS: usize = 4;
/// Letters of one of several words that may be names.
const NAME_LETTERS_MIN: usize = 3;
/// Results that are words, in small letters.
const RESULTS: [&str; 20] = [
    "abnormal",
    "absent",
    "detected",
    "equivocal",
    "false",
    "immune",
    "indeterminate",
    "negative",
    "nonreactive",
    "normal",
    "positive",
    "present",
    "reactive",
    "resistant",
    "routine",
    "susceptible",
    "trace",
    "undetected",
    "unknown",
    "urgent",
];

/// Whether a text holds what somebody is known by: an address of e-mail, a date, or digits in groups as telephone and social security
/// numbers have them, or nine or more in a row.
pub(crate) fn identifies(text: &[u8]) -> bool {
    if text.contains(&b'@') {
        return true;
    }
    // Runs of digits, and what stands between one and the next.
    let mut runs = [(0, 0); 3];
    let mut at = 0;
    while let Some(start) = text[at..].iter().position(u8::is_ascii_digit).map(|gap| at + gap) {
        let end = text[start..].iter().position(|o| !o.is_ascii_digit()).map_or(text.len(), |n| start + n);
        runs = [runs[1], runs[2], (start, end)];
        at = end;
        let [first, second, third] = runs.map(|(start, end)| end - start);
        if third >= 9 || (third == 8 && is_day(&text[start..end])) {
            return true;
        }
        let is_joined = |(_, end): (usize, usize), (start, _): (usize, usize)| {
            let between = &text[end.min(start)..start];
            end > 0 && matches!(between, [b'-' | b'.' | b'/' | b' '] | [b')' | b'.', b' ' | b'-'] | [b')'])
        };
        let two = is_joined(runs[1], runs[2]);
        let three = two && is_joined(runs[0], runs[1]);
        let is_grouped = match (first, second, third) {
            // 123-45-6789, 555-123-4567, 1980-01-02, 02.01.1980
            (3, 2, 4) | (3, 3, 4) | (4, 1..=2, 1..=2) | (1..=2, 1..=2, 4) if three => true,
            // 555-1234
            (_, 3, 4) if two => text[runs[1].1..start] == *b"-",
            _ => false,
        };
        if is_grouped {
            return true;
        }
    }
    false
}

/// Whether eight digits are a day that somebody may be born on.
fn is_day(digits: &[u8]) -> bool {
    let number = |digits: &[u8]| digits.iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    let is = |year, month, day| {
        (1800..2200).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day)
    };
    let [a, b, c, d] = [&digits[..2], &digits[2..4], &digits[4..6], &digits[6..]].map(number);
    is(a * 100 + b, c, d) || is(c * 100 + d, a, b) || is(c * 100 + d, b, a)
}

/// Whether a text may stay beside a code: it says nothing that somebody is known by.
pub(crate) fn is_text(text: &[u8]) -> bool {
    !identifies(text) && text.iter().all(|octet| !octet.is_ascii_control())
}

/// Whether a text looks like a code of which there are many alike: no space, few digits in all.
pub(crate) fn is_code(text: &[u8]) -> bool {
    let digits = text.iter().filter(|octet| octet.is_ascii_digit()).count();
    !text.is_empty()
        && text.iter().all(|octet| octet.is_ascii_graphic() && !b"\"\\".contains(octet))
        && digits <= CODE_DIGITS_MAX
        && !identifies(text)
}

/// Whether a text may be a name: a word too long to be an abbreviation, or several words in a row, and no word for a result.
pub(crate) fn is_name(text: &[u8]) -> bool {
    let is_letter = |octet: &u8| octet.is_ascii_alphabetic() || !octet.is_ascii();
    if text.iter().all(is_letter) {
        let is_result = || RESULTS.iter().any(|result| text.eq_ignore_ascii_case(result.as_bytes()));
        return text.len() > WORD_LETTERS && !is_result();
    }
    are_names(text)
}

/// Whether a text is several words with nothing but a mark between them, each as long as a name.
pub(crate) fn are_names(text: &[u8]) -> bool {
    if text.iter().any(u8::is_ascii_digit) {
        return false;
    }
    let words = text.split(|octet| octet.is_ascii_punctuation() || *octet == b' ');
    words.filter(|word| word.len() >= NAME_LETTERS_MIN).count() > 1
}

/// What is left of a number (HL7 v2.5.1, 2.A.47; JSON): an optional sign, digits, and an optional fraction and exponent, of which
/// [`SIGNIFICANT_DIGITS_MAX`] digits are more than a study needs and fewer than somebody's number has. Nothing if it is none, or has too
/// many digits before the point.
pub(crate) fn number(text: &[u8]) -> Option<Number> {
    let (sign, rest) = match text {
        [sign @ (b'+' | b'-'), rest @ ..] => (Some(*sign), rest),
        rest => (None, rest),
    };
    let digits = |text: &[u8]| text.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let whole = digits(rest);
    let (fraction, after) = match &rest[whole..] {
        [b'.', after @ ..] => (Some(digits(after)), &after[digits(after)..]),
        after => (None, after),
    };
    let is_exponent = match after {
        [] => true,
        [b'e' | b'E', b'+' | b'-', power @ ..] | [b'e' | b'E', power @ ..] => {
            matches!(power.len(), 1 | 2) && power.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    if !is_exponent || whole + fraction.unwrap_or_default() == 0 || whole > WHOLE_DIGITS_MAX {
        return None;
    }
    let mut made = Number { octets: [0; NUMBER_OCTETS], length: 0, is_same: true };
    made.push(sign.into_iter());
    let (mut said, mut is_zero) = (0, true);
    for (at, octet) in rest[..rest.len() - after.len()].iter().enumerate() {
        is_zero &= matches!(octet, b'0' | b'.');
        said += usize::from(octet.is_ascii_digit() && !is_zero);
        let is_cut = said > SIGNIFICANT_DIGITS_MAX || at > FRACTION_MAX;
        match octet {
            b'0' if is_cut && at > whole => made.is_same = false,
            _ if is_cut && octet.is_ascii_digit() => {
                made.is_same &= *octet == b'0';
                made.push((at < whole).then_some(b'0').into_iter());
            }
            _ => made.push(std::iter::once(*octet)),
        }
    }
    while made.octets[..made.length].ends_with(b".") && !made.is_same {
        made.length -= 1;
    }
    made.push(after.iter().copied());
    Some(made)
}

/// Octets of the longest number that is left.
const NUMBER_OCTETS: usize = 48;
/// Where the digits of a fraction end, whatever they are.
const FRACTION_MAX: usize = 20;

/// A number as it is written, with what was too much of it left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    octets: [u8; NUMBER_OCTETS],
    length: usize,
    /// Whether it is written as it was.
    pub(crate) is_same: bool,
}

impl Number {
    fn push(&mut self, octets: impl Iterator<Item = u8>) {
        for octet in octets {
            if let Some(place) = self.octets.get_mut(self.length) {
                *place = octet;
                self.length += 1;
            }
        }
    }

    /// As it is written.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.octets[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_is_known_by_is_told_from_codes() {
        for text in [
            "123-45-6789",
            "555-123-4567",
            "(555)123-4567",
            "555.123.4567",
            "555-1234",
            "jane.doe@hosp.org",
            "1980-01-02",
            "born 1980-01-02",
            "02.01.1980",
            "1/2/1980",
            "19800102",
            "01021980",
            "X123456789",
        ] {
            assert!(identifies(text.as_bytes()), "{text}");
            assert!(!is_code(text.as_bytes()), "{text}");
        }
        for text in
            ["E11.9", "8867-4", "10*3/uL", "90-200", "mL/min/1.73m2", "2106-3", "v2-0203", "005010X222"]
        {
            assert!(!identifies(text.as_bytes()), "{text}");
        }
        assert!(is_code(b"718-7") && !is_code(b"Jane Doe") && !is_code(b"1-2345678") && !is_code(b""));
        for text in ["Janedoe", "DOE-JANE", "Jane.Doe", "DOE,JANE"] {
            assert!(is_name(text.as_bytes()), "{text}");
        }
        for text in ["NEG", "POSITIVE", "PRE-OP", "E11.9", "IV-PB"] {
            assert!(!is_name(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn numbers_keep_six_digits() {
        let left =
            |text: &str| number(text.as_bytes()).map(|n| String::from_utf8(n.as_bytes().to_vec()).unwrap());
        for text in ["0", "171.5", "-0.5", "6.30", "01", ".5", "5.", "250000", "1500000", "1e9", "1.5E-03"] {
            assert_eq!(left(text).as_deref(), Some(text));
            assert!(number(text.as_bytes()).unwrap().is_same, "{text}");
        }
        for (text, expected) in [
            ("0.123456789", "0.123456"),
            ("1234567", "1234560"),
            ("98.60000000000001", "98.6000"),
            ("1234567.89", "1234560"),
            ("0.00001234567", "0.0000123456"),
        ] {
            assert_eq!(left(text).as_deref(), Some(expected), "{text}");
            assert!(!number(text.as_bytes()).unwrap().is_same, "{text}");
        }
        for text in ["", "-", ".", "12345678", "123-45-6789", "1e", "1e123", "Jane", "1 2", "1^2"] {
            assert_eq!(left(text), None, "{text}");
        }
    }
}
