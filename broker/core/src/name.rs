//! Names that appear in configuration, on the wire and on disk, each with its own type.
//!
//! A name has 1 to 64 characters of `a-z 0-9 - _ .` and starts with a letter or digit, so that it can
//! be a file name, a metric attribute and a path segment of a SPIFFE ID without escaping.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::NAME_CHARS_MAX;

/// A name that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name `{name}` is not valid: {rule}")]
pub struct NameError {
    kind: &'static str,
    name: String,
    rule: &'static str,
}

/// What a name is.
const NAME: &str = "1 to 64 characters of a-z, 0-9, `-`, `_` and `.`, starting with a letter or digit";
/// What a reason is. One without a letter is more likely to be a patient's number than a code, and it is written down.
const REASON: &str = "1 to 64 characters of a-z, 0-9, `-`, `_` and `.`, starting with a letter or digit, at least one of them a letter";

fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    text.len() <= NAME_CHARS_MAX
        && text.bytes().all(allowed)
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

fn is_reason(text: &str) -> bool {
    is_name(text) && text.bytes().any(|b| b.is_ascii_lowercase())
}

macro_rules! names {
    ($is:ident, $rule:ident; $($(#[$doc:meta])* $name:ident, $kind:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a name.
            pub fn new(name: &str) -> Result<Self, NameError> {
                if $is(name) {
                    Ok(Self(name.into()))
                } else {
                    let name = name.chars().take(NAME_CHARS_MAX + 1).collect();
                    Err(NameError { kind: $kind, name, rule: $rule })
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(&name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    )+};
}

names! {
    is_name, NAME;
    /// A named, ordered, durable stream of records of one class.
    FlowName, "flow";
    /// A named, durable reader of a flow for one stakeholder.
    SubscriptionName, "subscription";
    /// One entry of a chain.
    StageName, "stage";
    /// The party that a principal acts for.
    StakeholderName, "stakeholder";
    /// A network segment (IEC 62443-3-2).
    ZoneName, "zone";
    /// What a principal does, such as `radiologist`.
    RoleName, "role";
    /// A key of the host that stages may be granted.
    KeyName, "key";
    /// What a record may reveal, such as `phi` or `payment`.
    Label, "label";
}

names! {
    is_reason, REASON;
    /// Why a reader gave a record up, such as `unknown-patient`, or breaks the glass. It is written down: a code, not a sentence about the record
    /// nor a number of one, so at least one character is a letter.
    ReasonCode, "reason";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_names_and_refuses_what_could_be_a_path() {
        for good in ["imaging", "mri-1", "a.b_c", "0"] {
            assert_eq!(FlowName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".hidden", "-x", "A", "a/b", "a b", "é", &"x".repeat(65)] {
            assert!(FlowName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reason_is_no_number() {
        for good in ["stroke", "72h", "4711-a", "a.b_c"] {
            assert_eq!(ReasonCode::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "4711", "2026-11-27", "0", "47.11_2", "-a", "Stroke"] {
            let error = ReasonCode::new(bad).unwrap_err().to_string();
            assert!(error.ends_with("at least one of them a letter"), "{error}");
        }
    }
}
