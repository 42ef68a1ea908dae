//! Looks for planted identifiers in what must not have them.

use std::collections::{BTreeSet, HashMap};

/// Shorter identifiers would be found by chance in pixel data.
pub const IDENTIFIER_OCTETS_MIN: usize = 8;

/// How an identifier starts. A body has half a million places to look at, and there are hundreds of identifiers.
type Start = [u8; IDENTIFIER_OCTETS_MIN];

/// Identifiers that were planted.
#[derive(Debug, Clone, Default)]
pub struct Canaries {
    by_start: HashMap<Start, BTreeSet<Vec<u8>>>,
}

impl Canaries {
    /// Plants `identifiers` to look for, each at least [`IDENTIFIER_OCTETS_MIN`] octets long.
    ///
    /// # Panics
    /// If one is shorter.
    pub fn plant(&mut self, identifiers: impl IntoIterator<Item = String>) {
        for identifier in identifiers {
            let identifier = identifier.to_ascii_uppercase().into_bytes();
            let start = identifier.first_chunk().expect("identifiers are long enough to be no coincidence");
            self.by_start.entry(*start).or_default().insert(identifier);
        }
    }

    /// How many different ones there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.by_start.values().map(BTreeSet::len).sum()
    }

    /// How many of them are in `octets`, in upper or lower case: formats change it.
    #[must_use]
    pub fn found_in(&self, octets: &[u8]) -> usize {
        let upper = octets.to_ascii_uppercase();
        let mut found = BTreeSet::new();
        for position in 0..upper.len() {
            let rest = &upper[position..];
            let Some(candidates) = rest.first_chunk().and_then(|start: &Start| self.by_start.get(start))
            else {
                continue;
            };
            found.extend(candidates.iter().filter(|identifier| rest.starts_with(identifier)));
        }
        found.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_planted_identifiers_in_any_case_and_nothing_else() {
        let mut canaries = Canaries::default();
        canaries.plant(["Quillfeather".to_owned(), "MRN1234567".to_owned(), "Quillfeather".to_owned()]);
        assert_eq!(canaries.count(), 2);
        assert_eq!(canaries.found_in(b"\x00\xffNM1*IL*1*QUILLFEATHER*"), 1);
        assert_eq!(canaries.found_in(b"quillfeather QQuillfeather mrn1234567"), 2);
        assert_eq!(canaries.found_in(b"Quillfeathe MRN123456"), 0);
        assert_eq!(canaries.found_in(b""), 0);
    }
}
