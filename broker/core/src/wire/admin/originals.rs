//! What holders of a key ask about pseudonyms, and what the broker answers: originals come sealed, as they are kept.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::bounded;
use super::Short;
use crate::limits::{ADMIN_PAGE_ITEMS_MAX, ASKED_MAX, MEANT_MAX};
use crate::name::KeyName;
use crate::originals::Pseudonym;

/// Asks for keys whose originals are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListOriginals {
    /// Those whose name comes after this one; from the first where there is none.
    pub after: Option<KeyName>,
}

/// Asks what pseudonyms stood for. The reason is the stream's note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskOriginals {
    /// Under which key.
    pub key: KeyName,
    /// Up to [`ASKED_MAX`], each as it stands in a record: see [`crate::originals::Asked`].
    #[serde(deserialize_with = "bounded::list::<_, _, ASKED_MAX>")]
    pub pseudonyms: Vec<Short>,
}

/// Orders that originals are destroyed. The reason is the stream's note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForgetOriginals {
    /// Of which key.
    pub key: KeyName,
    /// Which ones.
    pub what: Forget,
}

/// Which originals are destroyed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Forget {
    /// Those of up to [`ASKED_MAX`] pseudonyms.
    These(#[serde(deserialize_with = "bounded::list::<_, _, ASKED_MAX>")] Vec<Short>),
    /// All that are kept for the key.
    All,
}

/// Keys whose originals are kept, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginalsPage {
    /// Up to [`ADMIN_PAGE_ITEMS_MAX`].
    #[serde(deserialize_with = "bounded::list::<_, _, ADMIN_PAGE_ITEMS_MAX>")]
    pub keys: Vec<OriginalsStatus>,
    /// Whether there are more after the last one.
    pub more: bool,
}

/// How much is kept for a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginalsStatus {
    /// The key.
    pub key: KeyName,
    /// Originals.
    pub count: u64,
    /// As many as may be.
    pub count_max: u64,
    /// Octets of them, sealed.
    pub octets: u64,
    /// As many as may be.
    pub octets_max: u64,
    /// Why nothing is kept or told: a damaged log, for example.
    pub fault: Option<Short>,
}

/// What pseudonyms stood for. Of a pseudonym of which nothing is kept there is nothing here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevealedPage {
    /// In the order in which was asked; up to [`MEANT_MAX`] for each.
    #[serde(deserialize_with = "bounded::list::<_, _, { ASKED_MAX * MEANT_MAX }>")]
    pub revealed: Vec<Revealed>,
}

/// What one pseudonym stood for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revealed {
    /// Which of those that were asked for, from 0.
    pub asked: u32,
    /// All of it.
    pub pseudonym: Pseudonym,
    /// What it stood for, sealed to the key's holders: see [`crate::originals::open`].
    pub sealed: Bytes,
}

impl std::fmt::Debug for Revealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Revealed({}, <{} octets>)", self.asked, self.sealed.len())
    }
}
