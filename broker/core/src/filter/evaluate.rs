//! What a filter says of a record, in SQL's logic of three values: none is unknown.

use std::borrow::Cow;

use super::expression::{Comparison, Expression, Field, Number, Operation, ReadAs, Sign};
use crate::record::Head;

/// A condition's value.
pub(super) fn truth(expression: &Expression, head: &Head) -> Option<bool> {
    match expression {
        Expression::Or(parts) => any(parts, true, head),
        Expression::And(parts) => any(parts, false, head),
        Expression::Not(part) => truth(part, head).map(|truth| !truth),
        Expression::Compare { read_as, comparison, left, right } => {
            compare(*read_as, *comparison, left, right, head)
        }
        Expression::Between { negated, value, low, high } => {
            let (value, low, high) = (number(value, head), number(low, head), number(high, head));
            let above = holds_of(Comparison::AtLeast, value, low);
            let below = holds_of(Comparison::AtMost, value, high);
            let within = match (above, below) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
            within.map(|within| within != *negated)
        }
        Expression::In { negated, field, texts } => {
            let value = text_of(field, head)?;
            Some(texts.iter().any(|text| *text == *value) != *negated)
        }
        Expression::Like { negated, field, pattern } => {
            Some(pattern.matches(&text_of(field, head)?) != *negated)
        }
        Expression::IsNull { negated, field } => Some(text_of(field, head).is_none() != *negated),
        Expression::Truth(truth) => Some(*truth),
        Expression::Field(field) => {
            let text = text_of(field, head)?;
            let read = [("true", true), ("false", false)].into_iter();
            read.filter(|(word, _)| word.eq_ignore_ascii_case(&text)).map(|(_, truth)| truth).next()
        }
        // The parser lets none of them stand for a condition.
        Expression::Sum(..)
        | Expression::Product(..)
        | Expression::Signed(..)
        | Expression::Text(_)
        | Expression::Number(_) => None,
    }
}

/// `deciding` if one part is, the opposite if all are, otherwise unknown.
fn any(parts: &[Expression], deciding: bool, head: &Head) -> Option<bool> {
    let mut outcome = Some(!deciding);
    for part in parts {
        match truth(part, head) {
            Some(truth) if truth == deciding => return Some(deciding),
            Some(_) => {}
            None => outcome = None,
        }
    }
    outcome
}

fn compare(
    read_as: ReadAs,
    comparison: Comparison,
    left: &Expression,
    right: &Expression,
    head: &Head,
) -> Option<bool> {
    let same = match read_as {
        ReadAs::Number => return holds_of(comparison, number(left, head), number(right, head)),
        ReadAs::Text => text(left, head)? == text(right, head)?,
        ReadAs::Truth => truth(left, head)? == truth(right, head)?,
    };
    // The parser lets no other comparison stand here.
    Some(same == (comparison == Comparison::Equal))
}

fn holds_of(comparison: Comparison, left: Option<Number>, right: Option<Number>) -> Option<bool> {
    let order = match (left?, right?) {
        (Number::Exact(left), Number::Exact(right)) => left.cmp(&right),
        (left, right) => double(left).partial_cmp(&double(right))?,
    };
    Some(match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::Unequal => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::AtMost => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::AtLeast => order.is_ge(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "as in Java, whose numbers selectors have")]
fn double(number: Number) -> f64 {
    match number {
        Number::Exact(number) => number as f64,
        Number::Approximate(number) => number,
    }
}

fn number(expression: &Expression, head: &Head) -> Option<Number> {
    match expression {
        Expression::Number(number) => Some(*number),
        Expression::Field(Field::Time) => i64::try_from(head.time.0).ok().map(Number::Exact),
        Expression::Field(field) => Number::read(&text_of(field, head)?),
        Expression::Signed(sign, part) => match (sign, number(part, head)?) {
            (Sign::Plus, number) => Some(number),
            (Sign::Minus, Number::Exact(number)) => number.checked_neg().map(Number::Exact),
            (Sign::Minus, Number::Approximate(number)) => Some(Number::Approximate(-number)),
        },
        Expression::Sum(first, rest) | Expression::Product(first, rest) => {
            rest.iter().try_fold(number(first, head)?, |so_far, (operation, operand)| {
                calculate(*operation, so_far, number(operand, head)?)
            })
        }
        _ => None,
    }
}

/// None where there is no result, or none in range.
fn calculate(operation: Operation, left: Number, right: Number) -> Option<Number> {
    if let (Number::Exact(left), Number::Exact(right)) = (left, right) {
        let exact = match operation {
            Operation::Plus => left.checked_add(right),
            Operation::Minus => left.checked_sub(right),
            Operation::Times => left.checked_mul(right),
            Operation::Divide => left.checked_div(right),
        };
        return exact.map(Number::Exact);
    }
    let (left, right) = (double(left), double(right));
    Number::approximate(match operation {
        Operation::Plus => left + right,
        Operation::Minus => left - right,
        Operation::Times => left * right,
        Operation::Divide => left / right,
    })
}

fn text<'a>(expression: &'a Expression, head: &'a Head) -> Option<Cow<'a, str>> {
    match expression {
        Expression::Text(text) => Some(Cow::Borrowed(text)),
        Expression::Field(field) => text_of(field, head),
        _ => None,
    }
}

fn text_of<'a>(field: &Field, head: &'a Head) -> Option<Cow<'a, str>> {
    match field {
        Field::Key => head.key.as_deref().map(Cow::Borrowed),
        Field::ContentType => Some(Cow::Borrowed(&head.content_type)),
        Field::Time => Some(Cow::Owned(head.time.0.to_string())),
        Field::Attribute(name) => {
            let found = head.attributes.iter().find(|attribute| attribute.name == *name);
            found.map(|attribute| Cow::Borrowed(&*attribute.value))
        }
    }
}
