//! A filter's text as tokens.

use super::FilterError;
use super::expression::KEYWORDS;

/// A token and its column, from 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) column: usize,
    pub(super) what: What<'a>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum What<'a> {
    /// In upper case.
    Keyword(&'static str),
    Name(String),
    Text(String),
    /// Digits, perhaps with a point and an exponent; without a sign.
    Number(&'a str),
    Symbol(&'static str),
    End,
}

impl What<'_> {
    /// For an error: literals may be names of patients.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Keyword(word) | Self::Symbol(word) => format!("`{word}`"),
            Self::Name(_) => "a name".to_owned(),
            Self::Text(_) => "a text".to_owned(),
            Self::Number(_) => "a number".to_owned(),
            Self::End => "the end".to_owned(),
        }
    }
}

/// Longer ones first.
const SYMBOLS: [&str; 13] = ["<>", "<=", ">=", "=", "<", ">", "(", ")", ",", "+", "-", "*", "/"];

/// All tokens; the last one is the end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, FilterError> {
    let mut lexer = Lexer { rest: text, column: 1 };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next()?;
        let is_last = token.what == What::End;
        tokens.push(token);
        if is_last {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    rest: &'a str,
    column: usize,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Result<Token<'a>, FilterError> {
        let blank = self.rest.find(|c: char| !c.is_ascii_whitespace()).unwrap_or(self.rest.len());
        self.take(blank);
        let column = self.column;
        let Some(first) = self.rest.chars().next() else { return Ok(Token { column, what: What::End }) };
        let what = match first {
            '\'' => What::Text(self.quoted('\'', "a `'` at the end of the text")?),
            '"' => What::Name(self.quoted('"', "a `\"` at the end of the name")?),
            '0'..='9' | '.' => self.number()?,
            'a'..='z' | 'A'..='Z' | '_' | '$' => self.word(),
            _ => {
                let symbol = SYMBOLS.into_iter().find(|symbol| self.rest.starts_with(symbol));
                let symbol = symbol.ok_or_else(|| self.error("a part of a filter", "another character"))?;
                self.take(symbol.len());
                What::Symbol(symbol)
            }
        };
        Ok(Token { column, what })
    }

    fn take(&mut self, octets: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(octets);
        self.column += taken.chars().count();
        self.rest = rest;
        taken
    }

    fn word(&mut self) -> What<'a> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || "_$".contains(c);
        let word = self.take(self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len()));
        match KEYWORDS.into_iter().find(|keyword| keyword.eq_ignore_ascii_case(word)) {
            Some(keyword) => What::Keyword(keyword),
            None => What::Name(word.to_owned()),
        }
    }

    /// What is between two quotes; one within is doubled.
    fn quoted(&mut self, quote: char, expected: &'static str) -> Result<String, FilterError> {
        self.take(quote.len_utf8());
        let mut text = String::new();
        loop {
            let Some(end) = self.rest.find(quote) else {
                self.take(self.rest.len());
                return Err(self.error(expected, "the end"));
            };
            text.push_str(self.take(end));
            self.take(quote.len_utf8());
            if !self.rest.starts_with(quote) {
                return Ok(text);
            }
            text.push(quote);
            self.take(quote.len_utf8());
        }
    }

    /// Takes what belongs to a number or touches it, so that `7x` is an error and not two tokens.
    fn number(&mut self) -> Result<What<'a>, FilterError> {
        let mut before = ' ';
        let end = self.rest.find(|c: char| {
            let is_sign_of_exponent = "+-".contains(c) && matches!(before, 'e' | 'E');
            before = c;
            !(c.is_ascii_alphanumeric() || c == '.' || c == '_' || is_sign_of_exponent)
        });
        let column = self.column;
        let text = self.take(end.unwrap_or(self.rest.len()));
        let wrong = |expected: &'static str| {
            Err(FilterError { column, expected, found: "other digits or letters".to_owned() })
        };
        let second = text.as_bytes().get(1).copied().unwrap_or(b'.');
        if text.starts_with('0') && !matches!(second, b'.' | b'e' | b'E') {
            return wrong("a decimal number, without leading zeros");
        }
        match super::expression::Number::read(text) {
            Some(_) => Ok(What::Number(text)),
            None => wrong("a number such as `57`, `6.2` or `7E3`"),
        }
    }

    fn error(&self, expected: &'static str, found: &str) -> FilterError {
        FilterError { column: self.column, expected, found: found.to_owned() }
    }
}
