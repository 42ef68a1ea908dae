//! A filter's parts, and their text. What stands in a row (`a AND b AND c`) is one part, so that its depth is bounded by that of
//! the text.

use std::fmt::{self, Write as _};

use super::like::Pattern;

/// A part of a filter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Or(Vec<Expression>),
    And(Vec<Expression>),
    Not(Box<Expression>),
    Compare { read_as: ReadAs, comparison: Comparison, left: Box<Expression>, right: Box<Expression> },
    Between { negated: bool, value: Box<Expression>, low: Box<Expression>, high: Box<Expression> },
    In { negated: bool, field: Field, texts: Vec<String> },
    Like { negated: bool, field: Field, pattern: Pattern },
    IsNull { negated: bool, field: Field },
    Sum(Box<Expression>, Vec<(Operation, Expression)>),
    Product(Box<Expression>, Vec<(Operation, Expression)>),
    Signed(Sign, Box<Expression>),
    Field(Field),
    Text(String),
    Number(Number),
    Truth(bool),
}

/// What a part can be, as far as it is known before there is a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Truth,
    /// An attribute: text, that is read as what is wanted.
    Attribute,
}

/// As what both sides of a comparison are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadAs {
    Text,
    Number,
    Truth,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Plus,
    Minus,
    Times,
    Divide,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Plus,
    Minus,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Field {
    Key,
    ContentType,
    Time,
    Attribute(String),
}

/// An exact number stays exact as long as it can.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Exact(i64),
    Approximate(f64),
}

impl Number {
    /// Reads a number with or without a sign, such as `57`, `-95.7` and `7E3`.
    pub(super) fn read(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        // Rust reads more than that: `inf`, for instance.
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (unsigned, None),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let exponent = exponent.map(|text| text.strip_prefix(['-', '+']).unwrap_or(text));
        let is_number = digits(whole)
            && digits(fraction)
            && whole.len() + fraction.len() > 0
            && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent));
        if !is_number {
            return None;
        }
        if let (Ok(exact), false) = (text.parse(), text.contains(['.', 'e', 'E'])) {
            return Some(Self::Exact(exact));
        }
        text.parse().ok().and_then(Self::approximate)
    }

    /// None for what is not finite.
    pub(super) fn approximate(number: f64) -> Option<Self> {
        number.is_finite().then_some(Self::Approximate(number))
    }
}

impl Field {
    /// None for a name of the broker's that there is not.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "hilum_key" => Self::Key,
            "hilum_content_type" => Self::ContentType,
            "hilum_time" => Self::Time,
            _ if name.starts_with("hilum_") => return None,
            _ => Self::Attribute(name.to_owned()),
        })
    }
}

/// Words that are not names.
pub(super) const KEYWORDS: [&str; 11] =
    ["AND", "BETWEEN", "ESCAPE", "FALSE", "IN", "IS", "LIKE", "NOT", "NULL", "OR", "TRUE"];

impl Expression {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Field(Field::Time)
            | Self::Sum(..)
            | Self::Product(..)
            | Self::Signed(..)
            | Self::Number(_) => Kind::Number,
            Self::Field(_) => Kind::Attribute,
            Self::Text(_) => Kind::Text,
            _ => Kind::Truth,
        }
    }

    /// How tightly it binds.
    fn level(&self) -> u8 {
        match self {
            Self::Or(_) => 0,
            Self::And(_) => 1,
            Self::Not(_) => 2,
            Self::Compare { .. }
            | Self::Between { .. }
            | Self::In { .. }
            | Self::Like { .. }
            | Self::IsNull { .. } => 3,
            Self::Sum(..) => 4,
            Self::Product(..) => 5,
            Self::Signed(..) | Self::Number(Number::Exact(i64::MIN..=-1)) => 6,
            Self::Number(Number::Approximate(number)) if number.is_sign_negative() => 6,
            Self::Field(_) | Self::Text(_) | Self::Number(_) | Self::Truth(_) => 7,
        }
    }

    fn write(&self, level: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.level() < level {
            return write!(f, "({self})");
        }
        fmt::Display::fmt(self, f)
    }
}

/// A text in quotes, those within it doubled.
struct Quoted<'a>(char, &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(quote, text) = *self;
        f.write_char(quote)?;
        for character in text.chars() {
            f.write_char(character)?;
            if character == quote {
                f.write_char(quote)?;
            }
        }
        f.write_char(quote)
    }
}

fn not(negated: bool) -> &'static str {
    if negated { " NOT" } else { "" }
}

fn in_a_row(parts: &[Expression], between: &str, level: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(between)?;
        }
        part.write(level, f)?;
    }
    Ok(())
}

fn arithmetic(
    first: &Expression,
    rest: &[(Operation, Expression)],
    level: u8,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    first.write(level, f)?;
    for (operation, operand) in rest {
        let sign = match operation {
            Operation::Plus => '+',
            Operation::Minus => '-',
            Operation::Times => '*',
            Operation::Divide => '/',
        };
        write!(f, " {sign} ")?;
        operand.write(level, f)?;
    }
    Ok(())
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Or(parts) => in_a_row(parts, " OR ", 1, f),
            Self::And(parts) => in_a_row(parts, " AND ", 2, f),
            Self::Not(part) => {
                f.write_str("NOT ")?;
                part.write(2, f)
            }
            Self::Compare { comparison, left, right, .. } => {
                left.write(4, f)?;
                write!(f, " {comparison} ")?;
                right.write(4, f)
            }
            Self::Between { negated, value, low, high } => {
                value.write(4, f)?;
                write!(f, "{} BETWEEN ", not(*negated))?;
                low.write(4, f)?;
                f.write_str(" AND ")?;
                high.write(4, f)
            }
            Self::In { negated, field, texts } => {
                write!(f, "{field}{} IN (", not(*negated))?;
                for (index, text) in texts.iter().enumerate() {
                    write!(f, "{}{}", if index > 0 { ", " } else { "" }, Quoted('\'', text))?;
                }
                f.write_char(')')
            }
            Self::Like { negated, field, pattern } => {
                write!(f, "{field}{} LIKE {}", not(*negated), Quoted('\'', pattern.text()))?;
                match pattern.escape() {
                    Some(escape) => write!(f, " ESCAPE {}", Quoted('\'', escape.encode_utf8(&mut [0; 4]))),
                    None => Ok(()),
                }
            }
            Self::IsNull { negated, field } => write!(f, "{field} IS{} NULL", not(*negated)),
            Self::Sum(first, rest) => arithmetic(first, rest, 5, f),
            Self::Product(first, rest) => arithmetic(first, rest, 6, f),
            Self::Signed(sign, part) => {
                f.write_char(if *sign == Sign::Minus { '-' } else { '+' })?;
                // A sign before digits belongs to the number. One more adds no level, as parentheses would.
                let begins_with_digits = matches!(**part, Self::Number(_)) && part.level() == 7;
                if begins_with_digits { write!(f, "+{part}") } else { part.write(6, f) }
            }
            Self::Field(field) => write!(f, "{field}"),
            Self::Text(text) => write!(f, "{}", Quoted('\'', text)),
            Self::Number(number) => write!(f, "{number}"),
            Self::Truth(truth) => f.write_str(if *truth { "TRUE" } else { "FALSE" }),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key => f.write_str("hilum_key"),
            Self::ContentType => f.write_str("hilum_content_type"),
            Self::Time => f.write_str("hilum_time"),
            Self::Attribute(name) => {
                let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || "_$".contains(c));
                let is_plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_$".contains(&b));
                let is_keyword = KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(name));
                if starts && is_plain && !is_keyword {
                    f.write_str(name)
                } else {
                    write!(f, "{}", Quoted('"', name))
                }
            }
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(number) => number.fmt(f),
            Self::Approximate(number) => fmt::Debug::fmt(number, f),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "=",
            Self::Unequal => "<>",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        })
    }
}
