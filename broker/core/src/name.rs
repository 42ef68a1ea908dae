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
#[error(
    "{kind} name `{name}` is not valid: 1 to 64 characters of a-z, 0-9, `-`, `_` and `.`, starting with a letter or digit"
)]
pub struct NameError {
    kind: &'static str,
    name: String,
}

fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    text.len() <= NAME_CHARS_MAX
        && text.bytes().all(allowed)
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $kind:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a name.
            pub fn new(name: &str) -> Result<Self, NameError> {
                if is_name(name) {
                    Ok(Self(name.into()))
                } else {
                    Err(NameError { kind: $kind, name: name.chars().take(NAME_CHARS_MAX + 1).collect() })
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
    /// Why a reader gave a record up, such as `unknown-patient`. It is written down: a code, not a sentence about the record.
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
}
