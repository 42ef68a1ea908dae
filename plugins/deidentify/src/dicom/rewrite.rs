//! Walks the data elements of an object and writes what the profile leaves of each, at every depth.
//!
//! Sequences and items are written with undefined length (PS3.5 section 7.5.2), so that nothing has to be measured before
//! it is written. Tags have to ascend (PS3.5 section 7.1): where they do not, the encoding is not what it claims to be.

use super::dummy::{self, BASIC_PROFILE};
use super::meta;
use super::profile::{self, Fate};
use hilum_formats::dicom::{
    DEPTH_MAX, Encoding, Extent, Header, Stream, Syntax, Tag, UNDEFINED, Vr, check_place, read_header,
    skip_value, trim, write_element, write_header, write_item,
};

use crate::{BurnedInAnnotation, Config, PatientId, Pseudonyms, Refusal, pseudonym};

/// The longest unique identifier (PS3.5 section 9.1).
const UID_OCTETS_MAX: usize = 64;
/// How many octets may come before the SOP Instance UID.
const HELD_OCTETS_MAX: usize = 64 << 10;
/// How many octets are read at a time between fragments that are too large to be read.
const FRAGMENT_READ_OCTETS: usize = 64;
const LARGE_FRAGMENT_OCTETS_MIN: u64 = 64 << 10;

/// Rewrites one object.
pub(super) struct Rewriter<'s, 'p> {
    stream: &'s mut Stream<'p>,
    config: &'s Config,
    keys: &'s dyn Pseudonyms,
    /// How many of [`ADDED`] were written.
    added: usize,
}

/// The attributes that the profile adds, in the order of their tags.
const ADDED: [Tag; 4] = [
    profile::PATIENT_IDENTITY_REMOVED,
    profile::DEIDENTIFICATION_METHOD,
    profile::DEIDENTIFICATION_METHOD_CODES,
    profile::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED,
];

impl<'s, 'p> Rewriter<'s, 'p> {
    pub(super) fn new(stream: &'s mut Stream<'p>, config: &'s Config, keys: &'s dyn Pseudonyms) -> Self {
        Rewriter { stream, config, keys, added: 0 }
    }

    /// Rewrites the data set that follows the file meta information, to the end of the input. The new file meta
    /// information needs the SOP class and the replaced SOP instance, so what precedes them in the data set is held.
    pub(super) fn object(mut self, syntax: Syntax) -> Result<(), Refusal> {
        let encoding = syntax.encoding;
        let extent = Extent { end: u64::MAX, delimited: false };
        let mut last = None;
        let (mut sop_class, mut identified) = (None, false);
        self.stream.hold(HELD_OCTETS_MAX);
        while !self.stream.at_end()? {
            let header = read_header(self.stream, encoding)?;
            check_place(&header, &mut last)?;
            self.add_up_to(header.tag, encoding)?;
            match header.tag {
                tag if tag.group() == 4 => {
                    return Err(header.refuse("media-directory", "a DICOMDIR lists other objects").into());
                }
                profile::SOP_CLASS_UID => sop_class = Some(self.identity(&header, encoding)?),
                profile::SOP_INSTANCE_UID => {
                    let sop_instance = self.identity(&header, encoding)?;
                    let sop_class = sop_class.take().ok_or_else(|| incomplete(profile::SOP_CLASS_UID))?;
                    let held = self.stream.release();
                    meta::write(self.stream, &sop_class, &sop_instance, syntax.written_as())?;
                    self.stream.write(&held)?;
                    identified = true;
                }
                _ => self.element(&header, encoding, extent, 0)?,
            }
        }
        if !identified {
            return Err(incomplete(profile::SOP_INSTANCE_UID));
        }
        self.add_up_to(Tag(u32::MAX), encoding)
    }

    /// Rewrites the SOP class or the SOP instance of the object itself; what is now written.
    fn identity(&mut self, header: &Header, encoding: Encoding) -> Result<Vec<u8>, Refusal> {
        let length = header.defined_length().unwrap_or(0);
        let value = self.stream.take_value(length)?;
        let uid = trim(&value);
        let is_uid = uid.iter().all(|octet| octet.is_ascii_digit() || *octet == b'.');
        let stated_as_uid = matches!(header.vr, None | Some(Vr::UI | Vr::UN));
        if uid.is_empty() || uid.len() > UID_OCTETS_MAX || !is_uid || !stated_as_uid {
            return Err(header.refuse("malformed-uid", "this is not a unique identifier").into());
        }
        let uid = match header.tag {
            profile::SOP_CLASS_UID => uid.to_vec(),
            _ => self.replace_uid(uid)?,
        };
        write_element(self.stream, encoding, header.tag, Vr::UI, &uid)?;
        Ok(uid)
    }

    /// Rewrites the data elements of an item.
    fn item(&mut self, encoding: Encoding, extent: Extent, depth: usize) -> Result<(), Refusal> {
        let mut last = None;
        loop {
            if !extent.delimited && self.stream.offset() == extent.end {
                return Ok(());
            }
            let header = read_header(self.stream, encoding)?;
            extent.check(&header, self.stream)?;
            if extent.delimited && header.tag == Tag::ITEM_DELIMITATION && header.length == 0 {
                return Ok(());
            }
            check_place(&header, &mut last)?;
            self.element(&header, encoding, extent, depth)?;
        }
    }

    fn element(
        &mut self,
        header: &Header,
        encoding: Encoding,
        extent: Extent,
        depth: usize,
    ) -> Result<(), Refusal> {
        match (profile::fate(header.tag, header.vr), header.defined_length()) {
            (Fate::Descend, Some(0)) => {
                let vr = header.vr.unwrap_or(Vr::SQ);
                return Ok(write_header(self.stream, encoding, header.tag, vr, 0)?);
            }
            (Fate::Descend, _) => return self.sequence(header, encoding, extent, depth),
            (Fate::Keep(vr), Some(length)) => return self.keep(header, vr, length, encoding),
            (Fate::Keep(_), None) if header.tag == Tag::PIXEL_DATA => {
                return self.fragments(header, encoding, extent);
            }
            (Fate::Uids, Some(length)) => return self.uids(header, length, encoding),
            (Fate::PatientId, Some(length)) => return self.patient_id(header, length, encoding),
            (Fate::Empty(vr), _) => write_header(self.stream, encoding, header.tag, vr, 0)?,
            (Fate::Dummy(vr), _) => dummy::write(self.stream, encoding, header.tag, vr)?,
            (Fate::Remove, _) => {}
            // A value of undefined length is a sequence, so this is not the attribute that it claims to be.
            (Fate::Keep(_) | Fate::Uids | Fate::PatientId, None) => {}
        }
        Ok(skip_value(self.stream, header, encoding, extent, depth)?)
    }

    /// Rewrites the items of a sequence.
    fn sequence(
        &mut self,
        header: &Header,
        encoding: Encoding,
        extent: Extent,
        depth: usize,
    ) -> Result<(), Refusal> {
        if depth >= DEPTH_MAX {
            return Err(header.refuse("too-deep", "sequences are nested too deeply").into());
        }
        let vr = header.vr.unwrap_or(Vr::SQ);
        // PS3.5 section 6.2.2: the items of an unknown value are encoded as implicit VR little endian.
        let inner = if vr == Vr::UN { Encoding::IMPLICIT_LITTLE } else { encoding };
        let end = header.defined_length().map(|length| self.stream.offset() + length);
        let within = Extent { end: end.unwrap_or(extent.end), delimited: end.is_none() };
        write_header(self.stream, encoding, header.tag, vr, UNDEFINED)?;
        while within.delimited || self.stream.offset() != within.end {
            let item = read_header(self.stream, inner)?;
            within.check(&item, self.stream)?;
            match item.tag {
                Tag::ITEM => {}
                Tag::SEQUENCE_DELIMITATION if within.delimited && item.length == 0 => break,
                _ => {
                    return Err(item
                        .refuse("malformed-sequence", "an item or the end of the sequence was expected")
                        .into());
                }
            }
            let end = item.defined_length().map(|length| self.stream.offset() + length);
            write_item(self.stream, inner, Tag::ITEM, UNDEFINED)?;
            let extent = Extent { end: end.unwrap_or(within.end), delimited: end.is_none() };
            self.item(inner, extent, depth + 1)?;
            write_item(self.stream, inner, Tag::ITEM_DELIMITATION, 0)?;
        }
        Ok(write_item(self.stream, inner, Tag::SEQUENCE_DELIMITATION, 0)?)
    }

    /// Passes on encapsulated pixel data (PS3.5 A.4), fragment by fragment.
    fn fragments(&mut self, header: &Header, encoding: Encoding, extent: Extent) -> Result<(), Refusal> {
        // Some writers say OW, which PS3.5 A.4 does not allow.
        if !matches!(header.vr, Some(Vr::OB | Vr::OW)) {
            return Err(header.refuse("undefined-length", "encapsulated pixel data has to be OB").into());
        }
        write_header(self.stream, encoding, header.tag, Vr::OB, UNDEFINED)?;
        loop {
            let item = read_header(self.stream, encoding)?;
            extent.check(&item, self.stream)?;
            match (item.tag, item.defined_length()) {
                (Tag::SEQUENCE_DELIMITATION, Some(0)) => break,
                // An odd fragment would move all later ones away from where the offset table says they are.
                (Tag::ITEM, Some(length)) if length % 2 == 0 => {
                    write_item(self.stream, encoding, Tag::ITEM, item.length)?;
                    let large = length >= LARGE_FRAGMENT_OCTETS_MIN;
                    self.stream.read_at_a_time(large.then_some(FRAGMENT_READ_OCTETS));
                    self.stream.copy(length)?;
                }
                _ => return Err(item.refuse("malformed-fragments", "an even fragment was expected").into()),
            }
        }
        self.stream.read_at_a_time(None);
        Ok(write_item(self.stream, encoding, Tag::SEQUENCE_DELIMITATION, 0)?)
    }

    /// Passes on a value that the table does not name.
    fn keep(&mut self, header: &Header, vr: Vr, length: u64, encoding: Encoding) -> Result<(), Refusal> {
        let vr = header.vr.unwrap_or(vr);
        if header.tag == profile::BURNED_IN_ANNOTATION {
            let value = self.stream.take_value(length)?;
            let refuse = self.config.burned_in_annotation == BurnedInAnnotation::Refuse;
            if refuse && trim(&value).eq_ignore_ascii_case(b"YES") {
                return Err(header
                    .refuse("burned-in-annotation", "the image says that text is burned into its pixels")
                    .into());
            }
            return Ok(write_element(self.stream, encoding, header.tag, vr, &value)?);
        }
        let odd = header.length % 2;
        write_header(self.stream, encoding, header.tag, vr, header.length + odd)?;
        self.stream.copy(length)?;
        if odd == 1 {
            self.stream.write(&[vr.padding()])?;
        }
        Ok(())
    }

    /// Replaces each unique identifier of a value that DICOM did not register.
    fn uids(&mut self, header: &Header, length: u64, encoding: Encoding) -> Result<(), Refusal> {
        let value = self.stream.take_value(length)?;
        let mut replaced = Vec::with_capacity(value.len());
        for (i, uid) in value.split(|octet| *octet == b'\\').enumerate() {
            if i > 0 {
                replaced.push(b'\\');
            }
            replaced.extend_from_slice(&self.replace_uid(trim(uid))?);
        }
        Ok(write_element(self.stream, encoding, header.tag, Vr::UI, &replaced)?)
    }

    fn replace_uid(&self, uid: &[u8]) -> Result<Vec<u8>, Refusal> {
        if uid.is_empty() || profile::is_registered_uid(uid) {
            return Ok(uid.to_vec());
        }
        Ok(pseudonym::uid(self.keys, uid)?.into_bytes())
    }

    fn patient_id(&mut self, header: &Header, length: u64, encoding: Encoding) -> Result<(), Refusal> {
        let value = self.stream.take_value(length)?;
        let replaced = match self.config.patient_id {
            PatientId::Empty => String::new(),
            PatientId::Pseudonym => pseudonym::patient(self.keys, &value)?,
        };
        Ok(write_element(self.stream, encoding, header.tag, Vr::LO, replaced.as_bytes())?)
    }

    /// Writes the attributes that the profile adds and whose place is not after `tag`.
    fn add_up_to(&mut self, tag: Tag, encoding: Encoding) -> Result<(), Refusal> {
        while let Some(added) = ADDED.get(self.added).filter(|added| **added <= tag) {
            self.added += 1;
            let stream = &mut *self.stream;
            match *added {
                profile::PATIENT_IDENTITY_REMOVED => write_element(stream, encoding, *added, Vr::CS, b"YES"),
                profile::DEIDENTIFICATION_METHOD => {
                    write_element(stream, encoding, *added, Vr::LO, profile::METHOD.as_bytes())
                }
                profile::DEIDENTIFICATION_METHOD_CODES => {
                    dummy::write_sequence(stream, encoding, *added, &BASIC_PROFILE)
                }
                _ => write_element(stream, encoding, *added, Vr::CS, b"REMOVED"),
            }?;
        }
        Ok(())
    }
}

fn incomplete(tag: Tag) -> Refusal {
    Refusal::new("incomplete-object", format!("the data set has no {tag} in its place"))
}
