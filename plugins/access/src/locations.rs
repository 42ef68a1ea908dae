//! Where principals are: a text in JSON that a hospital keeps beside its policies.
//!
//! ```json
//! [
//!   {"location": "main-building"},
//!   {"location": "emergency-room", "inside": "main-building", "principals": ["spiffe://st-marys/person/lee"]}
//! ]
//! ```

use std::collections::{BTreeMap, BTreeSet};

use hilum_plugin::ConfigError;
use serde::Deserialize;

/// Places of one text.
const PLACES_MAX: usize = 1_024;
/// Places inside each other.
const DEPTH_MAX: usize = 16;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    location: String,
    #[serde(default)]
    inside: Option<String>,
    #[serde(default)]
    principals: Vec<String>,
}

/// Where each principal is.
#[derive(Debug, Default)]
pub(crate) struct Locations {
    inside: BTreeMap<String, Option<String>>,
    of: BTreeMap<String, String>,
}

impl Locations {
    /// Reads the text.
    ///
    /// # Errors
    ///
    /// If it is not of that shape, names a place or a principal twice, or a place that there is not, or puts places inside each other in a
    /// circle.
    pub(crate) fn read(text: &str) -> Result<Self, ConfigError> {
        let fault = |reason: String| ConfigError::new("/locations", reason);
        let places: Vec<Place> = serde_json::from_str(text).map_err(|error| {
            fault(format!("line {}, column {}: not as it should be: {error}", error.line(), error.column()))
        })?;
        if places.len() > PLACES_MAX {
            return Err(fault(format!(
                "there are {} locations, and at most {PLACES_MAX} may be",
                places.len()
            )));
        }
        let mut read = Self::default();
        for Place { location, inside, principals } in places {
            for principal in principals {
                if let Some(other) = read.of.insert(principal.clone(), location.clone()) {
                    return Err(fault(format!("`{principal}` is in `{other}` and in `{location}`")));
                }
            }
            if read.inside.insert(location.clone(), inside).is_some() {
                return Err(fault(format!("location `{location}` is there twice")));
            }
        }
        for place in read.inside.keys() {
            read.check(place).map_err(fault)?;
        }
        Ok(read)
    }

    fn check(&self, place: &str) -> Result<(), String> {
        let mut seen = BTreeSet::from([place]);
        let mut at = place;
        while let Some(outer) = self.inside[at].as_deref() {
            if !self.inside.contains_key(outer) {
                return Err(format!("`{at}` is inside `{outer}`, which is no location of this text"));
            }
            if !seen.insert(outer) {
                return Err(format!("`{place}` is inside itself"));
            }
            if seen.len() > DEPTH_MAX {
                return Err(format!("`{place}` is inside more than {DEPTH_MAX} others"));
            }
            at = outer;
        }
        Ok(())
    }

    /// The place of a principal and what that is inside of, from the inside out; none where nothing is known of it.
    pub(crate) fn of(&self, principal: &str) -> impl Iterator<Item = &str> {
        let outer = |place: &&str| self.inside.get(*place).and_then(Option::as_deref);
        std::iter::successors(self.of.get(principal).map(String::as_str), outer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_where_its_place_is() {
        let text = r#"[{"location": "house"}, {"location": "er", "inside": "house", "principals": ["lee"]}]"#;
        let read = Locations::read(text).unwrap();
        assert_eq!(read.of("lee").collect::<Vec<_>>(), ["er", "house"]);
        assert_eq!(read.of("ann").count(), 0);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (text, says) in [
            ("[\n {\"place\": 1}]", "line 2, column 9: "),
            (r#"[{"location": "a", "inside": "b"}]"#, "no location"),
            (r#"[{"location": "a", "inside": "b"}, {"location": "b", "inside": "a"}]"#, "inside itself"),
            (r#"[{"location": "a"}, {"location": "a"}]"#, "twice"),
            (
                r#"[{"location": "a", "principals": ["x"]}, {"location": "b", "principals": ["x"]}]"#,
                "`x` is in `a` and in `b`",
            ),
        ] {
            let error = Locations::read(text).unwrap_err();
            assert!(error.reason.contains(says), "{error}");
        }
    }
}
