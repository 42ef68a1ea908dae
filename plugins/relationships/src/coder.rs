//! Tags of whom and what messages name: authentication codes that the host makes, so that no identifier is kept.

use std::collections::HashMap;

use hilum_formats::care::{Kind, Tag, coded, coded_identifier};
use hilum_formats::patient::Identifier;
use hilum_plugin::keys::{self, KeyError};

/// Codes that are kept for the next message.
const KEPT_MAX: usize = 4096;

/// Makes tags under one key.
#[derive(Debug)]
pub(crate) struct Coder {
    key: String,
    kept: HashMap<Vec<u8>, Tag>,
}

impl Coder {
    pub(crate) fn new(key: &str) -> Self {
        Self { key: key.to_owned(), kept: HashMap::new() }
    }

    /// The tag of an identifier.
    pub(crate) fn identifier(&mut self, kind: Kind, of: &Identifier) -> Result<Tag, KeyError> {
        self.tag(coded_identifier(kind, of))
    }

    /// The tag of something that has no authority.
    pub(crate) fn plain(&mut self, kind: Kind, value: &str) -> Result<Tag, KeyError> {
        self.tag(coded(kind, "", value))
    }

    fn tag(&mut self, of: Vec<u8>) -> Result<Tag, KeyError> {
        if let Some(tag) = self.kept.get(&of) {
            return Ok(tag.clone());
        }
        let tag = Tag::of(&keys::mac(&self.key, &of)?);
        if self.kept.len() >= KEPT_MAX {
            self.kept.clear();
        }
        self.kept.insert(of, tag.clone());
        Ok(tag)
    }
}
