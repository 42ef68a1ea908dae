//! The grammar of RFC 8259, by recursive descent down to a bounded depth.

use super::{DEPTH_MAX, Json, MEMBERS_MAX, VALUES_MAX};
use crate::Refusal;

/// Reads a text from its beginning to its end.
pub(super) struct Parser<'a> {
    text: &'a str,
    at: usize,
    values: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Parser { text, at: 0, values: 0 }
    }

    /// One value and nothing after it.
    pub(super) fn document(mut self) -> Result<Json<'a>, Refusal> {
        let value = self.value(0)?;
        self.skip_space();
        match self.peek() {
            None => Ok(value),
            Some(_) => Err(self.invalid("something follows the value")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Json<'a>, Refusal> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(self.too_large("more values than are held in memory"));
        }
        self.skip_space();
        match self.peek() {
            Some(b'{' | b'[') if depth == DEPTH_MAX => {
                Err(self.too_large("values are in each other too deep"))
            }
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => Ok(Json::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>, Refusal> {
        let mut members: Vec<(&str, Json<'_>)> = Vec::new();
        self.at += 1;
        self.skip_space();
        if self.take(b'}') {
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.invalid("a name was expected"));
            }
            let name = self.string()?;
            if name.contains('\\') {
                return Err(self.invalid("a name has an escape"));
            }
            if members.iter().any(|(member, _)| *member == name) {
                return Err(self.invalid("a name is there twice"));
            }
            if members.len() == MEMBERS_MAX {
                return Err(self.too_large("an object has more members than are looked at"));
            }
            self.skip_space();
            if !self.take(b':') {
                return Err(self.invalid("a colon was expected"));
            }
            members.push((name, self.value(depth)?));
            self.skip_space();
            if self.take(b'}') {
                return Ok(Json::Object(members));
            }
            if !self.take(b',') {
                return Err(self.invalid("a comma or the end of an object was expected"));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json<'a>, Refusal> {
        let mut elements = Vec::new();
        self.at += 1;
        self.skip_space();
        if self.take(b']') {
            return Ok(Json::Array(elements));
        }
        loop {
            elements.push(self.value(depth)?);
            self.skip_space();
            if self.take(b']') {
                return Ok(Json::Array(elements));
            }
            if !self.take(b',') {
                return Err(self.invalid("a comma or the end of an array was expected"));
            }
        }
    }

    /// A string as written, without its quotation marks.
    fn string(&mut self) -> Result<&'a str, Refusal> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    let (_, length) = escape(&self.text.as_bytes()[self.at..])
                        .ok_or_else(|| self.invalid("an escape is none"))?;
                    self.at += length;
                }
                Some(0..0x20) => return Err(self.invalid("a control character is in a string")),
                Some(_) => self.at += 1,
                None => return Err(self.invalid("a string does not end")),
            }
        }
        self.at += 1;
        Ok(&self.text[start..self.at - 1])
    }

    fn number(&mut self) -> Result<Json<'a>, Refusal> {
        let start = self.at;
        self.take(b'-');
        let whole = self.digits();
        if whole == 0 || (whole > 1 && self.text.as_bytes()[self.at - whole] == b'0') {
            return Err(self.invalid("a number is none"));
        }
        if self.take(b'.') && self.digits() == 0 {
            return Err(self.invalid("a number has no digit after its point"));
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            if self.digits() == 0 {
                return Err(self.invalid("a number has no digit in its exponent"));
            }
        }
        Ok(Json::Number(&self.text[start..self.at]))
    }

    fn word(&mut self) -> Result<Json<'a>, Refusal> {
        let words = [("true", Json::Boolean(true)), ("false", Json::Boolean(false)), ("null", Json::Null)];
        for (word, value) in words {
            if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(self.invalid("a value was expected"))
    }

    /// Goes over digits, and says how many there were.
    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|octet| octet.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, octet: u8) -> bool {
        let is_next = self.peek() == Some(octet);
        self.at += usize::from(is_next);
        is_next
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn invalid(&self, what: &str) -> Refusal {
        invalid(self.at, what)
    }

    fn too_large(&self, what: &str) -> Refusal {
        Refusal::new("too-large", format!("offset {}: {what}", self.at))
    }
}

pub(super) fn invalid(at: usize, what: &str) -> Refusal {
    Refusal::new("invalid-json", format!("offset {at}: {what}"))
}

/// The character that an escape at the beginning of a text stands for, and how many octets it has.
pub(super) fn escape(text: &[u8]) -> Option<(char, usize)> {
    let plain = |character| Some((character, 2));
    match text.get(1)? {
        b'"' => plain('"'),
        b'\\' => plain('\\'),
        b'/' => plain('/'),
        b'b' => plain('\u{8}'),
        b'f' => plain('\u{C}'),
        b'n' => plain('\n'),
        b'r' => plain('\r'),
        b't' => plain('\t'),
        b'u' => {
            let first = unit(text)?;
            if let Some(character) = char::from_u32(first) {
                return Some((character, 6));
            }
            // A pair of surrogates, or half of one.
            let second = unit(text.get(6..)?)?;
            let is_pair = (0xD800..0xDC00).contains(&first) && (0xDC00..0xE000).contains(&second);
            let character = 0x1_0000 + ((first & 0x3FF) << 10) + (second & 0x3FF);
            Some((char::from_u32(character).filter(|_| is_pair)?, 12))
        }
        _ => None,
    }
}

/// The number of `\uXXXX`.
fn unit(text: &[u8]) -> Option<u32> {
    let [b'\\', b'u', digits @ ..] = text.get(..6)? else { return None };
    digits.iter().try_fold(0, |number, digit| Some(number * 16 + char::from(*digit).to_digit(16)?))
}
