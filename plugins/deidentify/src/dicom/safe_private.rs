//! The Retain Safe Private Option (PS3.15 E.3.10): private attributes that are known to identify nobody, by Table E.3.10-1 and by
//! the hospital's own list. What an object says of its own private attributes (0008,0300) is not believed.

use hilum_formats::dicom::{Kind, Tag, Vr, trim};

use crate::config::SafePrivate;

include!(concat!(env!("OUT_DIR"), "/safe_private.rs"));

/// Private creators whose blocks are followed at a time, in one group of one data set.
const BLOCKS_MAX: usize = 16;

/// A private attribute: its creator, its group, and its element within the creator's block.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Safe<'a> {
    creator: &'a str,
    group: u16,
    element: u8,
    vr: Vr,
}

/// The private attributes that stay.
#[derive(Clone, Debug, Default)]
pub(super) struct SafePrivates {
    own: Vec<(String, u16, u8, Vr)>,
}

/// Whose blocks the group that is being read has (PS3.5 section 7.8.1).
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    group: u16,
    /// The number of a block, and the creator that it belongs to.
    creators: Vec<(u8, String)>,
}

impl SafePrivates {
    /// Those of the table and those of the hospital, whose tags are written `(0029,xx10)`.
    ///
    /// # Errors
    /// The place of the first entry that does not name a private attribute, and what is wrong with it.
    pub(super) fn new(own: &[SafePrivate]) -> Result<SafePrivates, (usize, &'static str)> {
        let read = |(index, entry): (usize, &SafePrivate)| {
            let (group, element) =
                private_tag(&entry.tag).ok_or((index, "a tag is written `(0029,xx10)`"))?;
            let vr = entry.vr.as_bytes().try_into().ok().and_then(Vr::from_letters);
            let vr = vr.ok_or((index, "a value representation is written `DS`"))?;
            Ok((entry.creator.trim().to_owned(), group, element, vr))
        };
        let own: Result<Vec<_>, _> = own.iter().enumerate().map(read).collect();
        Ok(SafePrivates { own: own? })
    }

    /// Whether a creator has attributes that stay.
    fn knows(&self, creator: &str, group: u16) -> bool {
        TABLE.iter().any(|safe| safe.creator == creator && safe.group == group)
            || self.own.iter().any(|(own, of, ..)| own == creator && *of == group)
    }

    /// Notes who takes a block; whether the data element that says so stays.
    pub(super) fn reserve(&self, blocks: &mut Blocks, tag: Tag, creator: &[u8]) -> bool {
        let group = half(tag.group());
        if blocks.group != group {
            *blocks = Blocks { group, creators: Vec::new() };
        }
        let creator = std::str::from_utf8(trim(creator)).unwrap_or_default();
        let known = self.knows(creator, group) && blocks.creators.len() < BLOCKS_MAX;
        if known {
            blocks.creators.push((low(tag.element()), creator.to_owned()));
        }
        known
    }

    /// The value representation of a private attribute that stays, if this is one.
    pub(super) fn vr(&self, blocks: &Blocks, tag: Tag, stated: Option<Vr>) -> Option<Vr> {
        let (group, element) = (half(tag.group()), low(tag.element()));
        let block = low(tag.element() >> 8);
        let (_, creator) = blocks.creators.iter().find(|(of, _)| blocks.group == group && *of == block)?;
        let key = (creator.as_str(), group, element);
        let of_table = TABLE.binary_search_by_key(&key, |safe| (safe.creator, safe.group, safe.element));
        let own = self.own.iter().find(|(own, of, at, _)| (own.as_str(), *of, *at) == key);
        let vr = of_table.map_or_else(|_| own.map(|(.., vr)| *vr), |found| Some(TABLE[found].vr))?;
        let agree = stated.is_none_or(|stated| {
            stated.kind() == vr.kind() || [stated.kind(), vr.kind()].contains(&Kind::Unknown)
        });
        // Text where the table does not say what there is could be anything.
        let is_sure = vr != Vr::UN || stated.is_some_and(|stated| stated.kind() == Kind::Binary);
        (agree && is_sure).then_some(vr)
    }
}

/// Whether a private data element says whose a block is.
pub(super) fn is_creator(tag: Tag) -> bool {
    matches!(tag.element(), 0x10..=0xFF)
}

/// Group and element of `(0029,xx10)`.
fn private_tag(text: &str) -> Option<(u16, u8)> {
    let (group, element) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(",xx")?;
    let group =
        u16::from_str_radix(group, 16).ok().filter(|of| group.len() == 4 && of % 2 == 1 && *of > 8)?;
    let element = u8::from_str_radix(element, 16).ok().filter(|_| element.len() == 2)?;
    Some((group, element))
}

/// Half of a tag has 16 bits.
fn half(of_tag: u32) -> u16 {
    (of_tag & 0xFFFF) as u16
}

/// The lower octet of an element.
fn low(element: u32) -> u8 {
    (element & 0xFF) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(safe: &SafePrivates, creators: &[(u32, &str)]) -> Blocks {
        let mut blocks = Blocks::default();
        for (tag, creator) in creators {
            safe.reserve(&mut blocks, Tag(*tag), creator.as_bytes());
        }
        blocks
    }

    #[test]
    fn an_attribute_stays_in_the_block_of_its_creator_alone() {
        let safe = SafePrivates::default();
        let of = blocks(&safe, &[(0x0019_0010, "ACME"), (0x0019_0011, "SIEMENS MR HEADER ")]);
        let b_value = |tag, stated| safe.vr(&of, Tag(tag), stated);
        assert_eq!(b_value(0x0019_110C, None), Some(Vr::IS));
        assert_eq!(b_value(0x0019_110C, Some(Vr::UN)), Some(Vr::IS));
        assert_eq!(b_value(0x0019_110C, Some(Vr::SQ)), None);
        assert_eq!(b_value(0x0019_100C, None), None, "another creator's block");
        assert_eq!(b_value(0x0019_120C, None), None, "nobody's block");
        assert_eq!(b_value(0x0021_110C, None), None, "another group");
        assert_eq!(b_value(0x0019_110F, None), None, "not in the table");
    }

    #[test]
    fn the_hospital_adds_its_own() {
        let entry = |tag: &str, vr: &str| SafePrivate {
            creator: "ACME 1.0".to_owned(),
            tag: tag.to_owned(),
            vr: vr.to_owned(),
        };
        let safe = SafePrivates::new(&[entry("(0029,xx10)", "DS")]).unwrap();
        let of = blocks(&safe, &[(0x0029_0020, "ACME 1.0")]);
        assert_eq!(safe.vr(&of, Tag(0x0029_2010), Some(Vr::DS)), Some(Vr::DS));
        for (tag, vr) in
            [("(0028,xx10)", "DS"), ("0029,xx10", "DS"), ("(0029,1010)", "DS"), ("(0029,xx10)", "??")]
        {
            assert_eq!(SafePrivates::new(&[entry(tag, vr)]).unwrap_err().0, 0, "{tag} {vr}");
        }
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(TABLE.is_sorted_by_key(|safe| (safe.creator, safe.group, safe.element)));
        assert_eq!(TABLE.len(), 478);
    }
}
