//! JSON (RFC 8259), read into a bounded tree of pieces of the input: strings and numbers stay as they were written, so that what is kept
//! is kept to the letter, decimals with their zeros at the end too.

mod parse;

use std::borrow::Cow;

use crate::Refusal;

/// How deep arrays and objects may be in each other; FHIR of everyday use has ten levels, or fifteen in a bundle.
const DEPTH_MAX: usize = 64;
/// Values in one text. Each takes at most 48 octets, in a list that doubles as it grows.
const VALUES_MAX: usize = 300_000;
/// Members of one object.
const MEMBERS_MAX: usize = 1024;

/// The members of an object, in order; no name is there twice.
pub(crate) type Members<'a> = [(&'a str, Json<'a>)];

/// A value, in pieces of the text that it was read from.
#[derive(Debug, PartialEq)]
pub(crate) enum Json<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number, as written.
    Number(&'a str),
    /// A string as written, without its quotation marks; [`decode`] has what it says.
    Text(&'a str),
    /// An array.
    Array(Vec<Json<'a>>),
    /// An object.
    Object(Vec<(&'a str, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// Reads one text of JSON.
    ///
    /// # Errors
    /// `invalid-json` for what is none, `too-large` for what is more than the bounds allow; neither tells a value.
    pub(crate) fn parse(text: &'a [u8]) -> Result<Json<'a>, Refusal> {
        let text =
            std::str::from_utf8(text).map_err(|error| parse::invalid(error.valid_up_to(), "not UTF-8"))?;
        parse::Parser::new(text).document()
    }

    /// What the string says.
    pub(crate) fn text(&self) -> Option<Cow<'a, str>> {
        match self {
            Json::Text(raw) => Some(decode(raw)),
            _ => None,
        }
    }

    /// The elements of an array; of anything else there is one, itself.
    pub(crate) fn each(&self) -> &[Json<'a>] {
        match self {
            Json::Array(elements) => elements,
            other => std::slice::from_ref(other),
        }
    }

    /// The members of an object; anything else has none.
    pub(crate) fn members(&self) -> &Members<'a> {
        match self {
            Json::Object(members) => members,
            _ => &[],
        }
    }

    /// A member of an object.
    pub(crate) fn member(&self, name: &str) -> Option<&Json<'a>> {
        member(self.members(), name)
    }
}

/// A member by its name.
pub(crate) fn member<'m, 'a>(members: &'m Members<'a>, name: &str) -> Option<&'m Json<'a>> {
    members.iter().find(|(member, _)| *member == name).map(|(_, value)| value)
}

/// Without its escapes; the parser has seen that they are right.
fn decode(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\\') {
        return Cow::Borrowed(raw);
    }
    let mut decoded = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        decoded.push_str(&rest[..at]);
        let (character, length) = parse::escape(&rest.as_bytes()[at..]).unwrap_or(('\u{FFFD}', 2));
        decoded.push(character);
        rest = rest.get(at + length..).unwrap_or_default();
    }
    decoded.push_str(rest);
    Cow::Owned(decoded)
}

/// Writes a string.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for octet in text.bytes() {
        match octet {
            b'"' | b'\\' => out.extend([b'\\', octet]),
            0..0x20 => out.extend_from_slice(format!("\\u{octet:04x}").as_bytes()),
            _ => out.push(octet),
        }
    }
    out.push(b'"');
}

/// Writes a string as it was read.
pub(crate) fn write_raw(raw: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(raw.as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(text: &str) -> &'static str {
        Json::parse(text.as_bytes()).map_or_else(|refusal| refusal.code, |_| "none")
    }

    #[test]
    fn values_are_read_as_they_are_written() {
        let text = r#" {"a":[1.50,-0,1e+9,true,false,null,"x\n\"\ud83d\ude00\u00e9"],"b":{},"c":[]} "#;
        let json = Json::parse(text.as_bytes()).unwrap();
        let a = json.member("a").unwrap().each();
        assert_eq!(a[..3], [Json::Number("1.50"), Json::Number("-0"), Json::Number("1e+9")]);
        assert_eq!(a[3..6], [Json::Boolean(true), Json::Boolean(false), Json::Null]);
        assert_eq!(a[6].text().unwrap(), "x\n\"😀é");
        assert_eq!(json.member("b").unwrap().members(), []);
        assert_eq!(json.member("c").unwrap().each(), []);
        let mut out = Vec::new();
        write_text("x\n\"\\é", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), r#""x\u000a\"\\é""#);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\"}",
            "{a:1}",
            "01",
            "1.",
            "-",
            "1e",
            "\"",
            "\"\\x\"",
            "\"\\ud83d\"",
            "\"\\udc00\"",
            "\"\t\"",
            "tru",
            "[1]2",
            "{\"a\":1,\"a\":2}",
            "{\"\\u0061\":1}",
            "\u{feff}{}",
            "+1",
            ".5",
            "'a'",
            "\"\\ud83d\\u0041\"",
        ] {
            assert_eq!(code(text), "invalid-json", "{text}");
        }
        assert_eq!(Json::parse(b"\"\xff\"").unwrap_err().code, "invalid-json");
    }

    #[test]
    fn what_is_too_much_is_refused() {
        assert_eq!(code(&"[".repeat(10_000)), "too-large");
        assert_eq!(code(&format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX))), "none");
        assert_eq!(code(&format!("[{}0]", "0,".repeat(VALUES_MAX))), "too-large");
        let members: Vec<String> = (0..=MEMBERS_MAX).map(|n| format!("\"{n}\":0")).collect();
        assert_eq!(code(&format!("{{{}}}", members.join(","))), "too-large");
    }

    proptest! {
        #[test]
        fn it_reads_what_serde_json_reads(text in r#"[\[\]{}:,"a\\u0-9.eE+\-ntrufals ]{0,12}"#) {
            let theirs: Result<serde_json::Value, _> = serde_json::from_str(&text);
            match (Json::parse(text.as_bytes()), theirs) {
                (Ok(_), Err(error)) => {
                    // Numbers are not converted here, so none is too big.
                    prop_assert!(error.to_string().contains("out of range"), "{}: {}", text, error);
                }
                (Err(refusal), Ok(_)) => {
                    // Names are here once and without escapes.
                    prop_assert!(refusal.reason.contains("name"), "{}: {}", text, refusal);
                }
                _ => {}
            }
        }

        #[test]
        fn strings_come_back(text in any::<String>()) {
            let mut out = Vec::new();
            write_text(&text, &mut out);
            prop_assert_eq!(Json::parse(&out).unwrap().text().unwrap(), text.as_str());
            let theirs = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(Json::parse(theirs.as_bytes()).unwrap().text().unwrap(), text);
        }
    }
}
