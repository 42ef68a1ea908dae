//! Escape sequences: how a value may hold a delimiter (v2.5.1 section 2.7).

use std::borrow::Cow;

use super::Delimiters;

/// Resolves the sequences that stand for octets: `\F\`, `\S\`, `\T\`, `\R\`, `\E\`, `\P\` and `\Xdd..\`.
///
/// All others (highlighting, `\.br\` and the like of FT, character sets, local ones) are left as they stand, and so is
/// an escape character that begins none.
pub fn decode<'a>(value: &'a [u8], delimiters: &Delimiters) -> Cow<'a, [u8]> {
    if !value.contains(&delimiters.escape) {
        return Cow::Borrowed(value);
    }
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(start) = rest.iter().position(|octet| *octet == delimiters.escape) {
        decoded.extend_from_slice(&rest[..start]);
        let after = &rest[start + 1..];
        let sequence = after.iter().position(|octet| *octet == delimiters.escape).map(|end| &after[..end]);
        match sequence.and_then(|sequence| Some((sequence, resolve(sequence, delimiters)?))) {
            Some((sequence, octets)) => {
                decoded.extend_from_slice(&octets);
                rest = &after[sequence.len() + 1..];
            }
            None => {
                decoded.push(delimiters.escape);
                rest = after;
            }
        }
    }
    decoded.extend_from_slice(rest);
    Cow::Owned(decoded)
}

/// Escapes delimiters and line ends, so that any text can be a value.
pub fn encode(text: &[u8], delimiters: &Delimiters) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(text.len());
    for octet in text {
        let letter = match *octet {
            octet if octet == delimiters.field => b"F",
            octet if octet == delimiters.component => b"S",
            octet if octet == delimiters.subcomponent => b"T",
            octet if octet == delimiters.repetition => b"R",
            octet if octet == delimiters.escape => b"E",
            octet if Some(octet) == delimiters.truncation => b"P",
            b'\r' => &b"X0D"[..],
            b'\n' => b"X0A",
            octet => {
                encoded.push(octet);
                continue;
            }
        };
        encoded.push(delimiters.escape);
        encoded.extend_from_slice(letter);
        encoded.push(delimiters.escape);
    }
    encoded
}

/// What the inside of an escape sequence stands for, if it stands for octets.
fn resolve(sequence: &[u8], delimiters: &Delimiters) -> Option<Vec<u8>> {
    match sequence {
        b"F" => Some(vec![delimiters.field]),
        b"S" => Some(vec![delimiters.component]),
        b"T" => Some(vec![delimiters.subcomponent]),
        b"R" => Some(vec![delimiters.repetition]),
        b"E" => Some(vec![delimiters.escape]),
        b"P" => delimiters.truncation.map(|octet| vec![octet]),
        [b'X', digits @ ..] if !digits.is_empty() && digits.len() % 2 == 0 => digits
            .chunks_exact(2)
            .map(|pair| Some(hexadecimal(pair[0])? << 4 | hexadecimal(pair[1])?))
            .collect(),
        _ => None,
    }
}

fn hexadecimal(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}
