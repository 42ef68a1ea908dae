//! Who somebody is: a SPIFFE ID from an X.509 certificate, and the party and zone it stands for.
//!
//! An identity never comes from a message. The server takes the SPIFFE ID from the certificate of the
//! mutual-TLS handshake and looks up the rest in the hospital's configuration.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::SPIFFE_ID_OCTETS_MAX;
use crate::name::{RoleName, StakeholderName, ZoneName};

/// A SPIFFE ID, e.g. `spiffe://st-marys/device/mri-1` (SPIFFE-ID specification, section 2).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PrincipalId(Arc<str>);

/// Why a text is not a SPIFFE ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrincipalIdError {
    /// It does not start with `spiffe://`.
    #[error("a SPIFFE ID starts with `spiffe://`")]
    Scheme,
    /// It is longer than the specification's 2048 octets.
    #[error("a SPIFFE ID has at most {SPIFFE_ID_OCTETS_MAX} octets")]
    TooLong,
    /// The trust domain is empty or has characters other than `a-z 0-9 . - _`.
    #[error("the trust domain of a SPIFFE ID has 1 to 255 characters of a-z, 0-9, `.`, `-` and `_`")]
    TrustDomain,
    /// A segment is empty, `.` or `..`, or has a character outside `a-z A-Z 0-9 . - _`.
    #[error(
        "each path segment of a SPIFFE ID has characters of a-z, A-Z, 0-9, `.`, `-` and `_`, and is not `.` or `..`"
    )]
    Path,
}

impl PrincipalId {
    /// Checks and takes a SPIFFE ID that names a workload (so with a path).
    pub fn new(id: &str) -> Result<Self, PrincipalIdError> {
        let rest = id.strip_prefix("spiffe://").ok_or(PrincipalIdError::Scheme)?;
        if id.len() > SPIFFE_ID_OCTETS_MAX {
            return Err(PrincipalIdError::TooLong);
        }
        let (domain, path) = rest.split_once('/').ok_or(PrincipalIdError::Path)?;
        let in_domain =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        if domain.is_empty() || domain.len() > 255 || !domain.bytes().all(in_domain) {
            return Err(PrincipalIdError::TrustDomain);
        }
        let in_path = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        let segment_ok = |s: &str| !s.is_empty() && s != "." && s != ".." && s.bytes().all(in_path);
        if !path.split('/').all(segment_ok) {
            return Err(PrincipalIdError::Path);
        }
        Ok(Self(id.into()))
    }

    /// The whole ID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trust domain: one hospital.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        self.split().0
    }

    /// The path without its first slash, e.g. `device/mri-1`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.split().1
    }

    fn split(&self) -> (&str, &str) {
        self.0["spiffe://".len()..].split_once('/').expect("checked in `new`")
    }
}

impl FromStr for PrincipalId {
    type Err = PrincipalIdError;
    fn from_str(id: &str) -> Result<Self, PrincipalIdError> {
        Self::new(id)
    }
}

impl TryFrom<String> for PrincipalId {
    type Error = PrincipalIdError;
    fn try_from(id: String) -> Result<Self, PrincipalIdError> {
        Self::new(&id)
    }
}

impl From<PrincipalId> for String {
    fn from(id: PrincipalId) -> String {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// An authenticated identity with what the hospital's configuration says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// From the certificate.
    pub id: PrincipalId,
    /// The party it acts for.
    pub stakeholder: StakeholderName,
    /// The network segment it is in.
    pub zone: ZoneName,
    /// What it does there.
    pub roles: Vec<RoleName>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_apart_a_spiffe_id() {
        let id = PrincipalId::new("spiffe://st-marys/device/mri-1").unwrap();
        assert_eq!((id.trust_domain(), id.path()), ("st-marys", "device/mri-1"));
    }

    #[test]
    fn refuses_what_the_specification_refuses() {
        use PrincipalIdError::{Path, Scheme, TooLong, TrustDomain};
        for (id, error) in [
            ("https://a/b", Scheme),
            ("spiffe://a", Path),
            ("spiffe:///b", TrustDomain),
            ("spiffe://A/b", TrustDomain),
            ("spiffe://a/", Path),
            ("spiffe://a//b", Path),
            ("spiffe://a/../b", Path),
            ("spiffe://a/b?c", Path),
        ] {
            assert_eq!(PrincipalId::new(id), Err(error), "{id}");
        }
        assert_eq!(PrincipalId::new(&format!("spiffe://a/{}", "b".repeat(2048))), Err(TooLong));
    }
}
