//! The data elements that rules see and change.

use std::collections::BTreeMap;

use hilum_formats::dicom::{Encoding, Error, Kind, Stream, Tag, Vr, trim, write_element, write_header};

use crate::fit;
use crate::name::TagName;

/// A data element as it came.
#[derive(Debug, Clone)]
pub(crate) struct Element {
    /// Nothing under an implicit encoding.
    pub(crate) vr: Option<Vr>,
    /// As the header said, so that a sequence of undefined length stays one.
    pub(crate) length: u32,
    pub(crate) value: Vec<u8>,
}

/// A data element as it goes on.
#[derive(Debug, Clone)]
enum Goes {
    AsItCame(Element),
    With(Vr, Vec<u8>),
}

/// Data elements by tag.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    elements: BTreeMap<Tag, Goes>,
    /// Whether a rule changed something.
    pub(crate) changed: bool,
}

impl Held {
    pub(crate) fn push(&mut self, tag: Tag, element: Element) {
        self.elements.insert(tag, Goes::AsItCame(element));
    }

    /// The tag that a name stands for here: a private one depends on where its creator reserved a block (PS3.5 section 7.8).
    pub(crate) fn resolve(&self, name: &TagName) -> Option<Tag> {
        let Some(creator) = &name.creator else { return Some(Tag(name.group << 16 | name.element)) };
        let reservations = Tag(name.group << 16 | 0x10)..=Tag(name.group << 16 | 0xFF);
        let (reservation, _) = self
            .elements
            .range(reservations)
            .find(|(_, element)| trim(element.value()) == creator.as_bytes())?;
        Some(Tag(name.group << 16 | reservation.element() << 8 | name.element))
    }

    pub(crate) fn contains(&self, name: &TagName) -> bool {
        self.resolve(name).is_some_and(|tag| self.elements.contains_key(&tag))
    }

    /// The text of a tag without its padding; none if it is not there or empty.
    ///
    /// # Errors
    ///
    /// `not-text` if it is a number or a sequence.
    pub(crate) fn text(&self, name: &TagName) -> Result<Option<&[u8]>, Error> {
        let Some(element) = self.resolve(name).and_then(|tag| self.elements.get(&tag)) else {
            return Ok(None);
        };
        let is_text = match element {
            Goes::AsItCame(Element { vr, length, value }) => {
                vr.is_none_or(|vr| matches!(vr.kind(), Kind::Text | Kind::Unknown))
                    && usize::try_from(*length) == Ok(value.len())
            }
            Goes::With(..) => true,
        };
        if !is_text {
            return Err(Error::new("not-text", format!("{name} does not hold text")));
        }
        Ok(Some(trim(element.value())).filter(|text| !text.is_empty()))
    }

    /// Gives a tag a value.
    ///
    /// # Errors
    ///
    /// `value-does-not-fit` if the value representation cannot have it.
    pub(crate) fn set(&mut self, name: &TagName, vr: Vr, value: &[u8]) -> Result<(), Error> {
        if !fit::fits(vr, value) {
            let reason = format!("the new value of {name} is none that {vr:?} can have");
            return Err(Error::new("value-does-not-fit", reason));
        }
        let Some(tag) = self.resolve(name) else { return Ok(()) };
        if self.elements.get(&tag).is_some_and(|element| trim(element.value()) == value) {
            return Ok(());
        }
        self.elements.insert(tag, Goes::With(vr, value.to_vec()));
        self.changed = true;
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &TagName) {
        let removed = self.resolve(name).and_then(|tag| self.elements.remove(&tag));
        self.changed |= removed.is_some();
    }

    pub(crate) fn write(&self, stream: &mut Stream<'_>, encoding: Encoding) -> Result<(), Error> {
        for (tag, element) in &self.elements {
            match element {
                Goes::AsItCame(Element { vr, length, value }) => {
                    write_header(stream, encoding, *tag, vr.unwrap_or(Vr::UN), *length)?;
                    stream.write(value)?;
                }
                Goes::With(vr, value) => write_element(stream, encoding, *tag, *vr, value)?,
            }
        }
        Ok(())
    }
}

impl Goes {
    fn value(&self) -> &[u8] {
        match self {
            Self::AsItCame(element) => &element.value,
            Self::With(_, value) => value,
        }
    }
}
