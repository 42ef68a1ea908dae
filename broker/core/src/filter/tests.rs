//! The examples of Jakarta Messaging's section 3.8.1, the logic of three values, each error's column; what is printed can be
//! read again; anything may be fed to the parser.

use proptest::prelude::*;

use super::expression::*;
use super::like::Pattern;
use super::*;
use crate::record::{Attribute, Timestamp};

fn head(attributes: &[(&str, &str)]) -> Head {
    let attribute = |(name, value): &(&str, &str)| Attribute { name: (*name).into(), value: (*value).into() };
    Head {
        time: Timestamp(1_700_000_000_000),
        expires: None,
        deliver_after: None,
        key: Some("ward-7-bed-2".into()),
        content_type: "application/dicom".into(),
        attributes: attributes.iter().map(attribute).collect(),
        labels: vec![],
        trace: None,
    }
}

fn truth(filter: &str, head: &Head) -> Option<bool> {
    let filter = Filter::parse(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
    evaluate::truth(&filter.condition, head)
}

#[track_caller]
fn check(attributes: &[(&str, &str)], cases: &[(&str, Option<bool>)]) {
    let head = head(attributes);
    for (filter, expected) in cases {
        assert_eq!(truth(filter, &head), *expected, "{filter}");
        assert_eq!(Filter::parse(filter).unwrap().matches(&head), *expected == Some(true), "{filter}");
    }
}

const TRUE: Option<bool> = Some(true);
const FALSE: Option<bool> = Some(false);
const UNKNOWN: Option<bool> = None;

/// Each example of the section, true and false.
#[test]
fn the_standards_examples() {
    check(
        &[("age", "17"), ("Country", "UK"), ("phone", "12993"), ("word", "lose"), ("underscored", "_foo")],
        &[
            ("age BETWEEN 15 AND 19", TRUE),
            ("age >= 15 AND age <= 19", TRUE),
            ("age NOT BETWEEN 15 AND 19", FALSE),
            ("age < 15 OR age > 19", FALSE),
            ("Country IN ('UK', 'US', 'France')", TRUE),
            ("(Country = 'UK') OR (Country = 'US') OR (Country = 'France')", TRUE),
            ("Country NOT IN ('UK', 'US', 'France')", FALSE),
            ("NOT ((Country = 'UK') OR (Country = 'US') OR (Country = 'France'))", FALSE),
            ("phone LIKE '12%3'", TRUE),
            ("word LIKE 'l_se'", TRUE),
            ("underscored LIKE '\\_%' ESCAPE '\\'", TRUE),
            ("phone NOT LIKE '12%3'", FALSE),
            ("prop_name IS NULL", TRUE),
            ("phone IS NOT NULL", TRUE),
        ],
    );
    check(
        &[("age", "20"), ("Country", "Peru"), ("phone", "1234"), ("word", "loose"), ("underscored", "bar")],
        &[
            ("age BETWEEN 15 AND 19", FALSE),
            ("Country IN ('UK', 'US', 'France')", FALSE),
            ("phone LIKE '12%3'", FALSE),
            ("word LIKE 'l_se'", FALSE),
            ("underscored LIKE '\\_%' ESCAPE '\\'", FALSE),
        ],
    );
    check(
        &[("JMSType", "car"), ("color", "blue"), ("weight", "3000")],
        &[
            ("JMSType = 'car' AND color = 'blue' AND weight > 2500", TRUE),
            ("JMSType = 'car' AND color = 'blue' AND weight > 3000", FALSE),
        ],
    );
    // "If any comparison value is NULL, the expression is unknown" holds for each operator.
    check(
        &[],
        &[
            ("age BETWEEN 15 AND 19", UNKNOWN),
            ("Country IN ('UK')", UNKNOWN),
            ("Country NOT IN ('UK')", UNKNOWN),
            ("phone LIKE '%'", UNKNOWN),
            ("phone NOT LIKE '%'", UNKNOWN),
            ("age <> 1", UNKNOWN),
            ("NOT (age = 1)", UNKNOWN),
            ("urgent", UNKNOWN),
        ],
    );
}

/// The tables 3-4 to 3-6 of the section: AND, OR and NOT of true, false and unknown.
#[test]
fn logic_has_three_values() {
    let word = |value| match value {
        TRUE => "TRUE",
        FALSE => "FALSE",
        _ => "absent = 1",
    };
    let and = [TRUE, FALSE, UNKNOWN, FALSE, FALSE, FALSE, UNKNOWN, FALSE, UNKNOWN];
    let or = [TRUE, TRUE, TRUE, TRUE, FALSE, UNKNOWN, TRUE, UNKNOWN, UNKNOWN];
    let values = [TRUE, FALSE, UNKNOWN];
    let pairs = values.into_iter().flat_map(|left| values.map(|right| (left, right)));
    for (index, (left, right)) in pairs.enumerate() {
        let both = |operator| truth(&format!("{} {operator} {}", word(left), word(right)), &head(&[]));
        assert_eq!(both("AND"), and[index], "{left:?} AND {right:?}");
        assert_eq!(both("OR"), or[index], "{left:?} OR {right:?}");
    }
    check(&[], &[("NOT TRUE", FALSE), ("NOT FALSE", TRUE), ("NOT absent = 1", UNKNOWN)]);
}

#[test]
fn attributes_are_read_as_the_other_side_wants() {
    check(
        &[("n", "007"), ("x", "6.20"), ("word", "seven"), ("yes", "True"), ("m", "7.0")],
        &[
            ("n = 7", TRUE),
            ("n = '7'", FALSE),
            ("n = '007'", TRUE),
            ("x = 6.2 AND x > 6 AND x < 7E0", TRUE),
            ("word = 7", UNKNOWN),
            ("word <> 7", UNKNOWN),
            ("n = m", FALSE),
            ("n <= m AND n >= m", TRUE),
            ("n < word", UNKNOWN),
            ("yes = TRUE AND yes", TRUE),
            ("NOT yes", FALSE),
            ("n = TRUE", UNKNOWN),
            ("word", UNKNOWN),
            ("+n = m", TRUE),
        ],
    );
}

#[test]
fn names_of_the_records_own() {
    check(
        &[("dicom.modality", "MR"), ("and", "x"), ("a\"b", "y"), ("twice", "1"), ("twice", "2")],
        &[
            ("hilum_key LIKE 'ward-7-%'", TRUE),
            ("hilum_content_type = 'application/dicom'", TRUE),
            ("hilum_time > 1699999999999 AND hilum_time - 1 < 1700000000000", TRUE),
            ("\"dicom.modality\" IN ('CT', 'MR')", TRUE),
            ("\"and\" = 'x' aNd \"a\"\"b\" = 'y'", TRUE),
            ("twice = 1", TRUE),
        ],
    );
    let keyless = Head { key: None, ..head(&[]) };
    assert_eq!(truth("hilum_key IS NULL", &keyless), TRUE);
    assert_eq!(truth("hilum_key = 'a'", &keyless), UNKNOWN);
}

#[test]
fn arithmetic_has_precedence_and_stays_in_range() {
    check(
        &[("a", "10"), ("zero", "0")],
        &[
            ("a + 2 * 3 = 16", TRUE),
            ("(a + 2) * 3 = 36", TRUE),
            ("a - 3 - 2 = 5", TRUE),
            ("-a = -10 AND - -a = a + 0", TRUE),
            ("a / 4 = 2", TRUE),
            ("a / 4. = 2.5", TRUE),
            ("a/zero = 1 OR a/0.0 = 1", UNKNOWN),
            ("9223372036854775807 + 1 > 0", UNKNOWN),
            ("-9223372036854775808 < 0 AND .5 < 1", TRUE),
            ("1E308 * 10 > 0", UNKNOWN),
            ("57 = 57.0 AND -57.9E2 = -5790 AND 7E3 = 7000 AND 7. = 7", TRUE),
        ],
    );
}

#[test]
fn patterns_and_escapes() {
    let like = |pattern: &str, value: &str| Pattern::new(pattern.into(), Some('!')).unwrap().matches(value);
    for (pattern, value) in [
        ("", ""),
        ("%", ""),
        ("%%", "abc"),
        ("a%", "a"),
        ("%b%", "abc"),
        ("_", "é"),
        ("a_c%e", "abcdede"),
        ("%aab", "aaaab"),
        ("100!%", "100%"),
        ("!!_", "!x"),
        ("it's%", "it's"),
    ] {
        assert!(like(pattern, value), "{pattern} {value}");
    }
    for (pattern, value) in [
        ("", "a"),
        ("_", ""),
        ("a%", "ba"),
        ("_", "ab"),
        ("%b", "abc"),
        ("100!%", "1000"),
        ("A", "a"),
        ("a%b%c", "acb"),
    ] {
        assert!(!like(pattern, value), "{pattern} {value}");
    }
    check(&[("t", "it's")], &[("t LIKE 'it''s'", TRUE), ("t = 'it''s'", TRUE), ("t IN ('it''s')", TRUE)]);
}

/// What would take a matcher that tries everything longer than the age of the world.
#[test]
fn a_hostile_pattern_takes_no_longer_than_its_length_times_the_values() {
    let pattern = Pattern::new("%a".repeat(500) + "b", None).unwrap();
    assert!(!pattern.matches(&"a".repeat(1024)));
}

#[test]
fn errors_tell_where_and_what() {
    let error = |filter: &str| {
        let error = Filter::parse(filter).expect_err(filter);
        (error.column, error.expected.split([':', '`']).next().unwrap().trim().to_owned())
    };
    for (filter, column, expected) in [
        ("", 1, "a name, a text, a number,"),
        ("a =", 4, "a name, a text, a number,"),
        ("a = 1 b", 7, ""),
        ("a = 'x", 7, "a"),
        ("a == 1", 4, "a name, a text, a number,"),
        ("'ü' = a # 1", 9, "a part of a filter"),
        ("a < 'x'", 5, "a number or an attribute"),
        ("a > TRUE", 5, "a number or an attribute"),
        ("1 = 'x'", 5, "a number or an attribute"),
        ("5", 1, "a condition"),
        ("a = 1 AND 'x'", 11, "a condition"),
        ("a + 'x' = 1", 5, "a number or an attribute"),
        ("a BETWEEN 1", 12, ""),
        ("1 IN ('a')", 1, "a name before this"),
        ("a IN ()", 7, "a text such as"),
        ("a IN ('x' 'y')", 11, ""),
        ("a LIKE 1", 8, "a pattern such as"),
        ("a LIKE 'x!y' ESCAPE '!'", 8, "a pattern in which each escape character stands before"),
        ("a LIKE 'x' ESCAPE 'xy'", 19, "a text of one character"),
        ("a NOT NULL", 7, ""),
        ("hilum_source = 'x'", 1, ""),
        ("hilum_time IS NULL", 1, "a name before this"),
        ("a = 017", 5, "a decimal number, without leading zeros"),
        ("a = 0x1F", 5, "a decimal number, without leading zeros"),
        ("a = 7x", 5, "a number such as"),
        ("a = 1e999", 5, "a number such as"),
        ("a = 9223372036854775808", 5, "a whole number of 64 bits with a sign"),
        ("\"\" = 1", 1, "the name of an attribute"),
    ] {
        assert_eq!(error(filter), (column, expected.to_owned()), "{filter}");
    }
    let shown = Filter::parse("name = 'MRN-4711' 'MRN-4712'").unwrap_err().to_string();
    assert_eq!(shown, "at column 19 of the filter: expected `AND`, `OR` or the end, found a text");
}

#[test]
fn length_and_depth_are_bounded() {
    let nested = |levels: usize| "(".repeat(levels) + "a = 1" + &")".repeat(levels);
    assert!(Filter::parse(&nested(FILTER_DEPTH_MAX)).is_ok());
    assert_eq!(Filter::parse(&nested(FILTER_DEPTH_MAX + 1)).unwrap_err().expected, "no more than 32 levels");
    assert!(Filter::parse(&("NOT ".repeat(33) + "a")).is_err());
    assert!(Filter::parse(&("- ".repeat(33) + "a = 1")).is_err());
    // What stands in a row is not deep.
    let row = vec!["a=1"; FILTER_OCTETS_MAX / 7].join(" OR ");
    assert!(Filter::parse(&row).unwrap().matches(&head(&[("a", "1")])));
    assert!(Filter::parse(&" ".repeat(FILTER_OCTETS_MAX + 1)).is_err());
}

/// Printing adds no level where there are as many as there may be.
#[test]
fn what_is_as_deep_as_may_be_can_be_printed_and_read_again() {
    for number in ["61", "6.1", "(61)", "-0", "+61"] {
        let signs = "-".repeat(FILTER_DEPTH_MAX - usize::from(!number.starts_with('6')));
        let deepest = Filter::parse(&format!("a < {signs}{number}")).unwrap();
        assert_eq!(Filter::parse(&deepest.to_string()), Ok(deepest));
    }
}

fn any_field() -> impl Strategy<Value = Field> {
    prop_oneof![
        Just(Field::Key),
        Just(Field::ContentType),
        "[a-zA-Z_$][a-zA-Z0-9_$]{0,5}|[!-~]{1,6}|and|Null".prop_map(Field::Attribute),
    ]
}

fn any_number() -> impl Strategy<Value = Expression> {
    let number = prop_oneof![
        any::<i64>().prop_map(Number::Exact),
        (-9..9_i64).prop_map(Number::Exact),
        any::<f64>().prop_filter_map("finite", Number::approximate),
    ];
    let field = prop_oneof![Just(Field::Time), any_field()].prop_map(Expression::Field);
    let leaf = prop_oneof![number.prop_map(Expression::Number), field];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let operand =
            |operations: [Operation; 2]| (proptest::sample::select(operations.to_vec()), inner.clone());
        let sum = proptest::collection::vec(operand([Operation::Plus, Operation::Minus]), 1..3);
        let product = proptest::collection::vec(operand([Operation::Times, Operation::Divide]), 1..3);
        let sign = prop_oneof![Just(Sign::Plus), Just(Sign::Minus)];
        prop_oneof![
            (inner.clone(), sum).prop_map(|(first, rest)| Expression::Sum(Box::new(first), rest)),
            (inner.clone(), product).prop_map(|(first, rest)| Expression::Product(Box::new(first), rest)),
            (sign, inner).prop_map(|(sign, part)| Expression::Signed(sign, Box::new(part))),
        ]
    })
}

fn any_predicate() -> impl Strategy<Value = Expression> {
    let order = [Comparison::Less, Comparison::AtMost, Comparison::Greater, Comparison::AtLeast];
    let equality = || prop_oneof![Just(Comparison::Equal), Just(Comparison::Unequal)];
    let numbers = (proptest::sample::select(order.to_vec()), any_number(), any_number()).prop_map(
        |(comparison, left, right)| {
            let (read_as, left, right) = (ReadAs::Number, Box::new(left), Box::new(right));
            Expression::Compare { read_as, comparison, left, right }
        },
    );
    let texts = (equality(), any_field(), "\\PC{0,6}").prop_map(|(comparison, left, right)| {
        let (left, right) = (Box::new(Expression::Field(left)), Box::new(Expression::Text(right)));
        Expression::Compare { read_as: ReadAs::Text, comparison, left, right }
    });
    let pattern = ("[a%_é']{0,6}", proptest::option::of(Just('#')))
        .prop_map(|(text, escape)| Pattern::new(text, escape).unwrap());
    prop_oneof![
        numbers,
        texts,
        (any::<bool>(), any_number(), any_number(), any_number()).prop_map(|(negated, value, low, high)| {
            let (value, low, high) = (Box::new(value), Box::new(low), Box::new(high));
            Expression::Between { negated, value, low, high }
        }),
        (any::<bool>(), any_field(), proptest::collection::vec("\\PC{0,6}", 1..4))
            .prop_map(|(negated, field, texts)| Expression::In { negated, field, texts }),
        (any::<bool>(), any_field(), pattern).prop_map(|(negated, field, pattern)| Expression::Like {
            negated,
            field,
            pattern
        }),
        (any::<bool>(), any_field()).prop_map(|(negated, field)| Expression::IsNull { negated, field }),
        any::<bool>().prop_map(Expression::Truth),
        any_field().prop_map(Expression::Field),
    ]
}

fn any_condition() -> impl Strategy<Value = Expression> {
    any_predicate().prop_recursive(4, 16, 3, |inner| {
        let row = || proptest::collection::vec(inner.clone(), 2..4);
        let truths = (inner.clone(), any::<bool>()).prop_map(|(left, right)| {
            let (left, right) = (Box::new(left), Box::new(Expression::Truth(right)));
            Expression::Compare { read_as: ReadAs::Truth, comparison: Comparison::Equal, left, right }
        });
        prop_oneof![
            row().prop_map(Expression::Or),
            row().prop_map(Expression::And),
            inner.clone().prop_map(|part| Expression::Not(Box::new(part))),
            truths,
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_can_be_read_again(condition in any_condition()) {
        let filter = Filter { condition };
        let text = filter.to_string();
        prop_assume!(text.len() <= FILTER_OCTETS_MAX);
        prop_assert_eq!(Filter::parse(&text), Ok(filter), "{}", text);
    }

    #[test]
    fn anything_may_be_fed_to_the_parser(text in "\\PC{0,80}") {
        let _ = Filter::parse(&text);
    }

    #[test]
    fn any_tokens_may_be_fed_to_the_parser(tokens in proptest::collection::vec(
        proptest::sample::select(vec![
            "a", "'x'", "1", "-", "+", "*", "(", ")", ",", "=", "<>", "<", "NOT", "AND", "OR", "IN", "LIKE", "ESCAPE", "'%'",
            "BETWEEN", "IS", "NULL", "TRUE", "hilum_key", "hilum_time", "\"q\"", "2.5",
        ]),
        0..16,
    )) {
        if let Ok(filter) = Filter::parse(&tokens.join(" ")) {
            let again = Filter::parse(&filter.to_string()).unwrap();
            prop_assert_eq!(&again, &filter);
            let head = head(&[("a", "1"), ("q", "x")]);
            prop_assert_eq!(again.matches(&head), filter.matches(&head));
        }
    }

    #[test]
    fn like_is_what_trying_everything_finds(pattern in "[ab%_]{0,7}", value in "[ab]{0,7}") {
        fn slow(pattern: &[u8], value: &[u8]) -> bool {
            match (pattern, value) {
                ([], []) => true,
                ([b'%', more @ ..], _) => (0..=value.len()).any(|skip| slow(more, &value[skip..])),
                ([b'_', more @ ..], [_, rest @ ..]) => slow(more, rest),
                ([wanted, more @ ..], [got, rest @ ..]) => wanted == got && slow(more, rest),
                _ => false,
            }
        }
        let expected = slow(pattern.as_bytes(), value.as_bytes());
        prop_assert_eq!(Pattern::new(pattern, None).unwrap().matches(&value), expected);
    }
}
