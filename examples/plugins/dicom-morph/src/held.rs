//! The data elements that rules see and change: of the whole object, or of one item of a sequence.

use std::collections::BTreeMap;

use hilum_formats::dicom::{Encoding, Error, Kind, Stream, Tag, Vr, trim, write_element, write_header};

use crate::fit;
use crate::items::Sequence;
use crate::name::{Path, TagName};

/// The code of a refusal: a rule wants the text of what is none.
pub(crate) const NOT_TEXT: &str = "not-text";
/// The code of a refusal: a rule wants the items of what has none.
pub(crate) const NOT_A_SEQUENCE: &str = "not-a-sequence";
/// Data elements and items that are held, at every depth together.
const ELEMENTS_MAX: usize = 65_536;
/// Octets that rules may add: a change of each item of a sequence is as many changes as there are items.
const ADDED_OCTETS_MAX: usize = 4 << 20;

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
#[derive(Debug)]
enum Goes {
    AsItCame(Element),
    With(Vr, Vec<u8>),
    /// As it came, unless an item was changed.
    Opened(Element, Sequence),
}

/// What one object may still use up.
#[derive(Debug)]
pub(crate) struct Room {
    elements: usize,
    octets: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self { elements: ELEMENTS_MAX, octets: ADDED_OCTETS_MAX }
    }
}

impl Room {
    /// # Errors
    ///
    /// `too-large` when there are more data elements and items than are held.
    pub(crate) fn element(&mut self, count: usize) -> Result<(), Error> {
        let left = self.elements.checked_sub(count);
        self.elements = left.ok_or_else(|| {
            let reason = format!("rules name what stands among more than {ELEMENTS_MAX} data elements");
            Error::new("too-large", reason)
        })?;
        Ok(())
    }

    fn added(&mut self, octets: usize) -> Result<(), Error> {
        let left = self.octets.checked_sub(octets);
        self.octets = left.ok_or_else(|| {
            Error::new("too-large", format!("the rules add more than {ADDED_OCTETS_MAX} octets"))
        })?;
        Ok(())
    }
}

/// Data elements by tag.
#[derive(Debug)]
pub(crate) struct Held {
    encoding: Encoding,
    elements: BTreeMap<Tag, Goes>,
    /// Whether a rule changed something.
    pub(crate) changed: bool,
}

impl Held {
    /// None yet, of an object or an item that is encoded like this.
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self { encoding, elements: BTreeMap::new(), changed: false }
    }

    pub(crate) fn push(&mut self, tag: Tag, element: Element) {
        self.elements.insert(tag, Goes::AsItCame(element));
    }

    /// The tag that a name stands for here: a private one depends on where its creator reserved a block (PS3.5 section 7.8), in an
    /// item as in the whole object (section 7.8.1).
    fn resolve(&self, name: &TagName) -> Option<Tag> {
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

    /// Does something to each item of the innermost of these sequences; to this itself where there are none. Where a sequence is
    /// not there or empty, nothing is done.
    ///
    /// # Errors
    ///
    /// Those of what is done; [`NOT_A_SEQUENCE`], and `malformed-sequence` and the like.
    pub(crate) fn each(
        &mut self,
        within: &[TagName],
        room: &mut Room,
        act: &mut dyn FnMut(&mut Self, &mut Room) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some((name, inner)) = within.split_first() else { return act(self, room) };
        let Some(sequence) = self.open(name, room)? else { return Ok(()) };
        let mut changed = false;
        for item in sequence.items() {
            item.each(inner, room, act)?;
            changed |= item.changed;
        }
        self.changed |= changed;
        Ok(())
    }

    /// The items of a sequence; none if it is not there.
    fn open(&mut self, name: &TagName, room: &mut Room) -> Result<Option<&mut Sequence>, Error> {
        let Some(tag) = self.resolve(name) else { return Ok(None) };
        let encoding = self.encoding;
        let Some(element) = self.elements.get_mut(&tag) else { return Ok(None) };
        if let Goes::AsItCame(came) = element {
            let sequence = Sequence::parse(came, encoding, name, room)?;
            let nothing = Element { vr: None, length: 0, value: Vec::new() };
            *element = Goes::Opened(std::mem::replace(came, nothing), sequence);
        }
        match element {
            Goes::Opened(_, sequence) => Ok(Some(sequence)),
            _ => Err(Error::new(NOT_A_SEQUENCE, format!("{name} is no sequence any more"))),
        }
    }

    /// Whether the text of a tag is one of those that are wanted; in a sequence, that of any item.
    ///
    /// # Errors
    ///
    /// Those of [`Held::each`] and [`Held::text`].
    pub(crate) fn any(
        &mut self,
        path: &Path,
        room: &mut Room,
        wanted: &dyn Fn(&[u8]) -> bool,
    ) -> Result<bool, Error> {
        let mut found = false;
        self.each(&path.within, room, &mut |item, _| {
            found |= item.text(path)?.is_some_and(wanted);
            Ok(())
        })?;
        Ok(found)
    }

    /// The text of a tag; in a sequence, that of the first item that has one.
    ///
    /// # Errors
    ///
    /// Those of [`Held::each`] and [`Held::text`].
    pub(crate) fn first(&mut self, path: &Path, room: &mut Room) -> Result<Option<Vec<u8>>, Error> {
        let mut found = None;
        self.each(&path.within, room, &mut |item, _| {
            if found.is_none() {
                found = item.text(path)?.map(<[u8]>::to_vec);
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// The text of a path's tag here without its padding; none if it is not there or empty.
    ///
    /// # Errors
    ///
    /// [`NOT_TEXT`] if it is a number or a sequence.
    pub(crate) fn text(&self, path: &Path) -> Result<Option<&[u8]>, Error> {
        let Some(element) = self.resolve(&path.tag).and_then(|tag| self.elements.get(&tag)) else {
            return Ok(None);
        };
        let is_text = match element {
            Goes::AsItCame(Element { vr, length, value }) => {
                vr.is_none_or(|vr| matches!(vr.kind(), Kind::Text | Kind::Unknown))
                    && usize::try_from(*length) == Ok(value.len())
            }
            Goes::With(..) => true,
            Goes::Opened(..) => false,
        };
        if !is_text {
            return Err(Error::new(NOT_TEXT, format!("{path} does not hold text")));
        }
        Ok(Some(trim(element.value())).filter(|text| !text.is_empty()))
    }

    /// Gives a path's tag here a value.
    ///
    /// # Errors
    ///
    /// `value-does-not-fit` if the value representation cannot have it, `too-large` if the rules add too much.
    pub(crate) fn set(&mut self, path: &Path, vr: Vr, value: &[u8], room: &mut Room) -> Result<(), Error> {
        if !fit::fits(vr, value) {
            let reason = format!("the new value of {path} is none that {vr:?} can have");
            return Err(Error::new("value-does-not-fit", reason));
        }
        let Some(tag) = self.resolve(&path.tag) else { return Ok(()) };
        if self.elements.get(&tag).is_some_and(|element| element.is(value)) {
            return Ok(());
        }
        room.added(value.len() + size_of::<Goes>())?;
        self.elements.insert(tag, Goes::With(vr, value.to_vec()));
        self.changed = true;
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &TagName) {
        let removed = self.resolve(name).and_then(|tag| self.elements.remove(&tag));
        self.changed |= removed.is_some();
    }

    pub(crate) fn write(&self, stream: &mut Stream<'_>) -> Result<(), Error> {
        for (tag, element) in &self.elements {
            match element {
                Goes::With(vr, value) => write_element(stream, self.encoding, *tag, *vr, value)?,
                Goes::Opened(came, sequence) if sequence.is_changed() => {
                    let (length, value) = sequence.written()?;
                    self.write_raw(stream, *tag, came.vr, length, &value)?;
                }
                Goes::AsItCame(came) | Goes::Opened(came, _) => {
                    self.write_raw(stream, *tag, came.vr, came.length, &came.value)?;
                }
            }
        }
        Ok(())
    }

    fn write_raw(
        &self,
        stream: &mut Stream<'_>,
        tag: Tag,
        vr: Option<Vr>,
        length: u32,
        value: &[u8],
    ) -> Result<(), Error> {
        write_header(stream, self.encoding, tag, vr.unwrap_or(Vr::UN), length)?;
        stream.write(value)
    }
}

impl Goes {
    fn value(&self) -> &[u8] {
        match self {
            Self::AsItCame(element) | Self::Opened(element, _) => &element.value,
            Self::With(_, value) => value,
        }
    }

    /// Whether it has this value already.
    fn is(&self, value: &[u8]) -> bool {
        !matches!(self, Self::Opened(..)) && trim(self.value()) == value
    }
}
