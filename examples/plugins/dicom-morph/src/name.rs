//! How a configuration names tags, and places in sequences.

use std::fmt;

use hilum_formats::dicom::Tag;
use serde::Deserialize;

/// `(0008,1030)`, or a private tag by its creator, wherever that reserved a block: `(0019,xx15,ACME MR)`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct TagName {
    pub(crate) group: u32,
    /// The whole element number; of a private tag its lower half.
    pub(crate) element: u32,
    pub(crate) creator: Option<String>,
}

/// How many sequences may be around a tag.
const DEPTH_MAX: usize = 4;

/// A tag of the whole object, or of each item of a sequence: `(0040,0275)[*].(0040,0007)`, which may be nested.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Path {
    /// The sequences around the tag, from the outermost to the innermost.
    pub(crate) within: Vec<TagName>,
    pub(crate) tag: TagName,
}

impl Path {
    /// Everything that the path names, from the outside in.
    pub(crate) fn names(&self) -> impl Iterator<Item = &TagName> {
        self.within.iter().chain([&self.tag])
    }

    /// The highest tag of the whole object that has to be known for it.
    pub(crate) fn last(&self) -> Tag {
        self.within.first().unwrap_or(&self.tag).last()
    }
}

impl TryFrom<String> for Path {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut names =
            text.split("[*].").map(|name| name.to_owned().try_into()).collect::<Result<Vec<TagName>, _>>()?;
        let tag = names.pop().expect("splitting a text gives at least one part");
        if names.len() > DEPTH_MAX {
            return Err(format!("`{text}` goes through more than {DEPTH_MAX} sequences"));
        }
        Ok(Self { within: names, tag })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.within.iter().try_for_each(|name| write!(f, "{name}[*]."))?;
        self.tag.fmt(f)
    }
}

impl TagName {
    /// The highest tag that the name can stand for.
    pub(crate) fn last(&self) -> Tag {
        let block = if self.creator.is_some() { 0xFF00 } else { 0 };
        Tag(self.group << 16 | block | self.element)
    }
}

impl TryFrom<String> for TagName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is neither a tag such as `(0008,1030)` nor `(0019,xx15,CREATOR)`; \
                 in the items of a sequence it is `(0040,0275)[*].(0040,0007)`"
            )
        };
        let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(')')).ok_or_else(wrong)?;
        let mut parts = inner.splitn(3, ',');
        let (group, element, creator) = (parts.next(), parts.next(), parts.next());
        let hex = |digits: &str, count: usize| {
            let all = digits.len() == count && digits.bytes().all(|octet| octet.is_ascii_hexdigit());
            if all { u32::from_str_radix(digits, 16).ok() } else { None }
        };
        let group = group.and_then(|group| hex(group, 4)).ok_or_else(wrong)?;
        let element = element.ok_or_else(wrong)?;
        match (group % 2, creator) {
            (0, None) => {
                let element = hex(element, 4).ok_or_else(wrong)?;
                Ok(Self { group, element, creator: None })
            }
            (1, Some(creator)) if !creator.is_empty() && creator.len() <= 64 => {
                let low = element.strip_prefix("xx").and_then(|low| hex(low, 2)).ok_or_else(wrong)?;
                Ok(Self { group, element: low, creator: Some(creator.to_owned()) })
            }
            (1, None) => Err(format!("`{text}` is private: name its creator, as in `(0019,xx15,CREATOR)`")),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for TagName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.creator {
            None => write!(f, "({:04X},{:04X})", self.group, self.element),
            Some(creator) => write!(f, "({:04X},xx{:02X},{creator})", self.group, self.element),
        }
    }
}
