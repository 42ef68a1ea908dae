//! Tokens to a filter, by recursive descent: one function for each level of precedence.

use super::expression::{Comparison, Expression, Field, Kind, Number, Operation, ReadAs, Sign};
use super::lexer::{Token, What};
use super::like::Pattern;
use super::{FILTER_DEPTH_MAX, FilterError};
use crate::limits::ATTRIBUTE_NAME_OCTETS_MAX;

const TRUTH: &str = "a condition: a comparison, `TRUE`, `FALSE` or an attribute";
const NUMBER: &str = "a number or an attribute";
const FIELD: &str = "a name before this: an attribute, `hilum_key` or `hilum_content_type`";

/// Reads all tokens, of which the last is the end.
pub(super) fn parse(tokens: Vec<Token<'_>>) -> Result<Expression, FilterError> {
    let mut parser = Parser { tokens, next: 0, depth: 0 };
    let condition = parser.condition()?;
    match parser.peek() {
        What::End => Ok(condition),
        _ => Err(parser.expected("`AND`, `OR` or the end")),
    }
}

struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    next: usize,
    depth: usize,
}

/// A part and the column where it begins.
struct Operand {
    column: usize,
    part: Expression,
}

impl Operand {
    fn error(&self, expected: &'static str) -> FilterError {
        let found = match self.part.kind() {
            Kind::Text => "a text",
            Kind::Number => "a number",
            Kind::Truth => "a condition",
            Kind::Attribute => "an attribute",
        };
        FilterError { column: self.column, expected, found: found.to_owned() }
    }

    fn truth(self) -> Result<Expression, FilterError> {
        match self.part.kind() {
            Kind::Truth | Kind::Attribute => Ok(self.part),
            _ => Err(self.error(TRUTH)),
        }
    }

    fn number(self) -> Result<Expression, FilterError> {
        match self.part.kind() {
            Kind::Number | Kind::Attribute => Ok(self.part),
            _ => Err(self.error(NUMBER)),
        }
    }

    /// What `IN`, `LIKE` and `IS NULL` may be asked of.
    fn field(self) -> Result<Field, FilterError> {
        match self.part {
            Expression::Field(field) if field != Field::Time => Ok(field),
            _ => Err(self.error(FIELD)),
        }
    }
}

impl<'a> Parser<'a> {
    fn peek(&self) -> &What<'a> {
        &self.token().what
    }

    fn token(&self) -> &Token<'a> {
        &self.tokens[self.next]
    }

    /// The end is never passed.
    fn advance(&mut self) -> What<'a> {
        let what = self.peek().clone();
        if what != What::End {
            self.next += 1;
        }
        what
    }

    fn takes(&mut self, what: &What<'_>) -> bool {
        let is_next = self.peek() == what;
        if is_next {
            self.advance();
        }
        is_next
    }

    fn takes_keyword(&mut self, word: &'static str) -> bool {
        self.takes(&What::Keyword(word))
    }

    fn expect(&mut self, what: &What<'_>, expected: &'static str) -> Result<(), FilterError> {
        if self.takes(what) { Ok(()) } else { Err(self.expected(expected)) }
    }

    fn expected(&self, expected: &'static str) -> FilterError {
        let Token { column, what } = self.token();
        FilterError { column: *column, expected, found: what.describe() }
    }

    /// Goes one level down.
    fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, FilterError>,
    ) -> Result<T, FilterError> {
        if self.depth == FILTER_DEPTH_MAX {
            return Err(self.expected("no more than 32 levels"));
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn condition(&mut self) -> Result<Expression, FilterError> {
        self.disjunction()?.truth()
    }

    fn disjunction(&mut self) -> Result<Operand, FilterError> {
        self.in_a_row("OR", Expression::Or, Self::conjunction)
    }

    fn conjunction(&mut self) -> Result<Operand, FilterError> {
        self.in_a_row("AND", Expression::And, Self::negation)
    }

    fn in_a_row(
        &mut self,
        word: &'static str,
        made: fn(Vec<Expression>) -> Expression,
        read: fn(&mut Self) -> Result<Operand, FilterError>,
    ) -> Result<Operand, FilterError> {
        let first = read(self)?;
        if *self.peek() != What::Keyword(word) {
            return Ok(first);
        }
        let column = first.column;
        let mut parts = vec![first.truth()?];
        while self.takes_keyword(word) {
            parts.push(read(self)?.truth()?);
        }
        Ok(Operand { column, part: made(parts) })
    }

    fn negation(&mut self) -> Result<Operand, FilterError> {
        let column = self.token().column;
        if !self.takes_keyword("NOT") {
            return self.predicate();
        }
        let part = self.nested(Self::negation)?.truth()?;
        Ok(Operand { column, part: Expression::Not(Box::new(part)) })
    }

    fn predicate(&mut self) -> Result<Operand, FilterError> {
        let left = self.sum()?;
        let column = left.column;
        let symbol = match self.peek() {
            What::Symbol(symbol) => *symbol,
            _ => "",
        };
        let comparison = match symbol {
            "=" => Comparison::Equal,
            "<>" => Comparison::Unequal,
            "<" => Comparison::Less,
            "<=" => Comparison::AtMost,
            ">" => Comparison::Greater,
            ">=" => Comparison::AtLeast,
            _ => return self.other_predicate(left),
        };
        let compared = self.advance_to_operand(left, comparison)?;
        Ok(Operand { column, part: compared })
    }

    fn advance_to_operand(
        &mut self,
        left: Operand,
        comparison: Comparison,
    ) -> Result<Expression, FilterError> {
        self.advance();
        let right = self.sum()?;
        let orders = !matches!(comparison, Comparison::Equal | Comparison::Unequal);
        let read_as = match (left.part.kind(), right.part.kind()) {
            (Kind::Text | Kind::Truth, _) if orders => return Err(left.error(NUMBER)),
            (_, Kind::Text | Kind::Truth) if orders => return Err(right.error(NUMBER)),
            (Kind::Number, Kind::Number | Kind::Attribute) | (Kind::Attribute, Kind::Number) => {
                ReadAs::Number
            }
            (Kind::Attribute, Kind::Attribute) if orders => ReadAs::Number,
            (Kind::Text | Kind::Attribute, Kind::Text | Kind::Attribute) => ReadAs::Text,
            (Kind::Truth | Kind::Attribute, Kind::Truth | Kind::Attribute) => ReadAs::Truth,
            (Kind::Text, _) => return Err(right.error("a text or an attribute")),
            (Kind::Number, _) => return Err(right.error(NUMBER)),
            (Kind::Truth, _) => return Err(right.error(TRUTH)),
        };
        let (left, right) = (Box::new(left.part), Box::new(right.part));
        Ok(Expression::Compare { read_as, comparison, left, right })
    }

    fn other_predicate(&mut self, left: Operand) -> Result<Operand, FilterError> {
        let column = left.column;
        if self.takes_keyword("IS") {
            let negated = self.takes_keyword("NOT");
            self.expect(&What::Keyword("NULL"), "`NULL` or `NOT NULL`")?;
            return Ok(Operand { column, part: Expression::IsNull { negated, field: left.field()? } });
        }
        let negated = self.takes_keyword("NOT");
        let part = match self.peek() {
            What::Keyword("BETWEEN") => self.between(left, negated)?,
            What::Keyword("IN") => self.set(left, negated)?,
            What::Keyword("LIKE") => self.like(left, negated)?,
            _ if negated => return Err(self.expected("`BETWEEN`, `IN` or `LIKE`")),
            _ => return Ok(left),
        };
        Ok(Operand { column, part })
    }

    fn between(&mut self, value: Operand, negated: bool) -> Result<Expression, FilterError> {
        self.advance();
        let value = Box::new(value.number()?);
        let low = Box::new(self.sum()?.number()?);
        self.expect(&What::Keyword("AND"), "`AND` and the upper bound")?;
        let high = Box::new(self.sum()?.number()?);
        Ok(Expression::Between { negated, value, low, high })
    }

    fn set(&mut self, field: Operand, negated: bool) -> Result<Expression, FilterError> {
        self.advance();
        let field = field.field()?;
        self.expect(&What::Symbol("("), "`(` and a list of texts")?;
        let mut texts = vec![self.text("a text such as `'MR'`")?];
        while self.takes(&What::Symbol(",")) {
            texts.push(self.text("a text such as `'MR'`")?);
        }
        self.expect(&What::Symbol(")"), "`,` or `)`")?;
        Ok(Expression::In { negated, field, texts })
    }

    fn like(&mut self, field: Operand, negated: bool) -> Result<Expression, FilterError> {
        self.advance();
        let field = field.field()?;
        let column = self.token().column;
        let text = self.text("a pattern such as `'ward-7-%'`")?;
        let escape = if self.takes_keyword("ESCAPE") { Some(self.escape()?) } else { None };
        let wrong = |_| FilterError {
            column,
            expected: "a pattern in which each escape character stands before `_`, `%` or itself",
            found: "one that does not".to_owned(),
        };
        Pattern::new(text, escape).map(|pattern| Expression::Like { negated, field, pattern }).map_err(wrong)
    }

    fn escape(&mut self) -> Result<char, FilterError> {
        const EXPECTED: &str = "a text of one character";
        let error = self.expected(EXPECTED);
        let text = self.text(EXPECTED)?;
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(escape), None) => Ok(escape),
            _ => Err(error),
        }
    }

    fn text(&mut self, expected: &'static str) -> Result<String, FilterError> {
        match self.peek() {
            What::Text(text) => {
                let text = text.clone();
                self.advance();
                Ok(text)
            }
            _ => Err(self.expected(expected)),
        }
    }

    fn sum(&mut self) -> Result<Operand, FilterError> {
        let signs = [("+", Operation::Plus), ("-", Operation::Minus)];
        self.arithmetic(signs, Expression::Sum, Self::product)
    }

    fn product(&mut self) -> Result<Operand, FilterError> {
        let signs = [("*", Operation::Times), ("/", Operation::Divide)];
        self.arithmetic(signs, Expression::Product, Self::signed)
    }

    fn arithmetic(
        &mut self,
        signs: [(&'static str, Operation); 2],
        made: fn(Box<Expression>, Vec<(Operation, Expression)>) -> Expression,
        read: fn(&mut Self) -> Result<Operand, FilterError>,
    ) -> Result<Operand, FilterError> {
        let first = read(self)?;
        let column = first.column;
        let sign = |parser: &mut Self| signs.into_iter().find(|(sign, _)| parser.takes(&What::Symbol(sign)));
        let Some((_, mut operation)) = sign(self) else { return Ok(first) };
        let first = first.number()?;
        let mut rest = Vec::new();
        loop {
            rest.push((operation, read(self)?.number()?));
            match sign(self) {
                Some((_, next)) => operation = next,
                None => return Ok(Operand { column, part: made(Box::new(first), rest) }),
            }
        }
    }

    fn signed(&mut self) -> Result<Operand, FilterError> {
        let column = self.token().column;
        let sign = match self.peek() {
            What::Symbol("-") => Sign::Minus,
            What::Symbol("+") => Sign::Plus,
            _ => return self.primary(),
        };
        self.advance();
        // Read together, since the lowest number has no opposite.
        if let What::Number(digits) = *self.peek() {
            let text = if sign == Sign::Minus { format!("-{digits}") } else { digits.to_owned() };
            return self.number(&text, column);
        }
        let part = self.nested(Self::signed)?.number()?;
        Ok(Operand { column, part: Expression::Signed(sign, Box::new(part)) })
    }

    fn number(&mut self, text: &str, column: usize) -> Result<Operand, FilterError> {
        let number = Number::read(text).ok_or_else(|| self.expected("a number in the range of a double"))?;
        if let (Number::Approximate(_), true) =
            (number, text.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
        {
            return Err(self.expected("a whole number of 64 bits with a sign"));
        }
        self.advance();
        Ok(Operand { column, part: Expression::Number(number) })
    }

    fn primary(&mut self) -> Result<Operand, FilterError> {
        let column = self.token().column;
        let part = match self.peek().clone() {
            What::Symbol("(") => {
                self.advance();
                let inner = self.nested(Self::disjunction)?;
                self.expect(&What::Symbol(")"), "`)`")?;
                return Ok(Operand { column, part: inner.part });
            }
            What::Number(digits) => return self.number(digits, column),
            What::Name(name) => Expression::Field(self.named(&name)?),
            What::Text(text) => Expression::Text(text),
            What::Keyword("TRUE") => Expression::Truth(true),
            What::Keyword("FALSE") => Expression::Truth(false),
            _ => return Err(self.expected("a name, a text, a number, `TRUE`, `FALSE` or `(`")),
        };
        self.advance();
        Ok(Operand { column, part })
    }

    fn named(&self, name: &str) -> Result<Field, FilterError> {
        let is_name = (1..=ATTRIBUTE_NAME_OCTETS_MAX).contains(&name.len());
        if !is_name || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(self.expected("the name of an attribute: 1 to 64 characters of printable ASCII"));
        }
        Field::named(name)
            .ok_or_else(|| self.expected("`hilum_key`, `hilum_content_type`, `hilum_time` or an attribute"))
    }
}
