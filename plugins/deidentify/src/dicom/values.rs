//! What single values become: kept, replaced, cleaned or left out.

use hilum_formats::dicom::{
    Encoding, Extent, Header, Tag, UNDEFINED, VALUE_OCTETS_MAX, Vr, read_header, trim, write_element,
    write_header, write_item,
};

use super::options::ProfileOption;
use super::profile::{self, Otherwise};
use super::rewrite::{Rewriter, Scope, Within};
use super::{characters, content, dates, dummy};
use crate::pseudonym::{self, ORDER};
use crate::{BurnedInAnnotation, PatientId, Refusal};

/// How many octets are read at a time between fragments that are too large to be read.
const FRAGMENT_READ_OCTETS: usize = 64;
const LARGE_FRAGMENT_OCTETS_MIN: u64 = 64 << 10;
/// What stands for a code that only some know (PS3.3 table 8.8-1).
const REMOVED: &[u8] = b"REMOVED";
const REMOVED_SCHEME: &[u8] = b"99HILUM";

/// What has been read of a code in a sequence that is cleaned: its value comes before the coding scheme that says whose it is.
#[derive(Default)]
pub(super) struct CodeParts {
    value: Option<(Vr, Vec<u8>)>,
    scheme: Vec<u8>,
    is_public: bool,
}

impl Rewriter<'_, '_> {
    /// Writes what a value becomes that is not looked at.
    pub(super) fn put(
        &mut self,
        tag: Tag,
        vr: Vr,
        otherwise: Otherwise,
        encoding: Encoding,
    ) -> Result<(), Refusal> {
        match otherwise {
            Otherwise::Remove => Ok(()),
            Otherwise::Empty => Ok(write_header(self.stream, encoding, tag, vr, 0)?),
            Otherwise::Dummy => Ok(dummy::write(self.stream, encoding, tag, vr)?),
        }
    }

    /// Passes on a value as it is.
    pub(super) fn keep(
        &mut self,
        header: &Header,
        vr: Vr,
        length: u64,
        scope: &Scope,
    ) -> Result<(), Refusal> {
        let is_age = vr == Vr::AS;
        let vr = header.vr.unwrap_or(vr);
        let encoding = scope.encoding;
        if header.tag == profile::BURNED_IN_ANNOTATION {
            self.check_annotation(header, length, scope)?;
        }
        if is_age {
            let value = self.stream.take_value(length)?;
            return match dates::aggregated_age(&value) {
                Some(age) => Ok(write_element(self.stream, encoding, header.tag, vr, age)?),
                None => self.put(header.tag, vr, Otherwise::Empty, encoding),
            };
        }
        self.pass_on(header, vr, length, encoding)
    }

    /// Passes on a value of any length, padded to an even one.
    pub(super) fn pass_on(
        &mut self,
        header: &Header,
        vr: Vr,
        length: u64,
        encoding: Encoding,
    ) -> Result<(), Refusal> {
        let vr = header.vr.unwrap_or(vr);
        let odd = header.length % 2;
        write_header(self.stream, encoding, header.tag, vr, header.length + odd)?;
        self.stream.copy(length)?;
        if odd == 1 {
            self.stream.write(&[vr.padding()])?;
        }
        Ok(())
    }

    /// Refuses an image that says that text is burned into it, unless that may go on or a rule may say where the text is.
    fn check_annotation(&mut self, header: &Header, length: u64, scope: &Scope) -> Result<(), Refusal> {
        let by_rules = scope.depth == 0 && self.profile.options.has(ProfileOption::CleanPixelData);
        let refuse = self.profile.burned_in_annotation == BurnedInAnnotation::Refuse && !by_rules;
        if refuse && trim(self.stream.peek_value(length)?).eq_ignore_ascii_case(b"YES") {
            let what = "the image says that text is burned into its pixels";
            return Err(header.refuse("burned-in-annotation", what).into());
        }
        Ok(())
    }

    /// Passes on encapsulated pixel data (PS3.5 A.4), fragment by fragment.
    pub(super) fn fragments(
        &mut self,
        header: &Header,
        encoding: Encoding,
        extent: Extent,
    ) -> Result<(), Refusal> {
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

    /// Replaces each unique identifier of a value that DICOM did not register.
    pub(super) fn uids(&mut self, header: &Header, length: u64, encoding: Encoding) -> Result<(), Refusal> {
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

    pub(super) fn replace_uid(&self, uid: &[u8]) -> Result<Vec<u8>, Refusal> {
        if uid.is_empty() || profile::is_registered_uid(uid) {
            return Ok(uid.to_vec());
        }
        Ok(pseudonym::uid(self.keys, uid)?.into_bytes())
    }

    /// Replaces the patient's identifier. That of the object itself says by how much dates are shifted.
    pub(super) fn patient_id(&mut self, header: &Header, length: u64, scope: &Scope) -> Result<(), Refusal> {
        let value = self.stream.take_value(length)?;
        if scope.depth == 0 {
            self.know_patient(&value)?;
        }
        let replaced = match self.profile.patient_id {
            PatientId::Empty => String::new(),
            PatientId::Pseudonym => pseudonym::patient(self.keys, &value)?,
        };
        Ok(write_element(self.stream, scope.encoding, header.tag, Vr::LO, replaced.as_bytes())?)
    }

    /// Replaces the number of an order.
    pub(super) fn order(
        &mut self,
        header: &Header,
        vr: Vr,
        length: u64,
        encoding: Encoding,
    ) -> Result<(), Refusal> {
        let value = self.stream.take_value(length)?;
        let replaced = pseudonym::short(self.keys, ORDER, &value)?;
        Ok(write_element(self.stream, encoding, header.tag, vr, replaced.as_bytes())?)
    }

    /// Leaves the words of a description that may stay; of one that is too long to be looked at, none.
    pub(super) fn words(
        &mut self,
        header: &Header,
        vr: Vr,
        length: u64,
        otherwise: Otherwise,
        scope: &Scope,
    ) -> Result<(), Refusal> {
        let words = if length > VALUE_OCTETS_MAX {
            self.stream.skip(length)?;
            None
        } else {
            self.profile.words.of(&self.stream.take_value(length)?, scope.characters)
        };
        match words {
            Some(words) => Ok(write_element(self.stream, scope.encoding, header.tag, vr, &words)?),
            None => self.put(header.tag, vr, otherwise, scope.encoding),
        }
    }

    /// Shifts dates.
    pub(super) fn shift(
        &mut self,
        header: &Header,
        vr: Vr,
        length: u64,
        otherwise: Otherwise,
        encoding: Encoding,
    ) -> Result<(), Refusal> {
        let mut value = self.stream.take_value(length)?;
        if self.write_date(header, vr, &mut value, encoding)? {
            return Ok(());
        }
        self.put(header.tag, vr, otherwise, encoding)
    }

    /// Passes on the parts of a code whose coding scheme is a published one, and puts a code that says nothing in the place of any other.
    pub(super) fn code(
        &mut self,
        header: &Header,
        vr: Vr,
        length: u64,
        within: &mut Within,
        encoding: Encoding,
    ) -> Result<(), Refusal> {
        let value = self.stream.take_value(length)?;
        let code = &mut within.code;
        match header.tag {
            profile::CODE_VALUE => {
                code.value = Some((vr, value));
                return Ok(());
            }
            profile::CODING_SCHEME => {
                code.is_public = content::is_public(trim(&value));
                code.scheme = trim(&value).to_vec();
                let is_public = code.is_public;
                let of_code = code.value.as_ref().map_or(&[][..], |(_, of_code)| trim(of_code));
                self.look_at_code(trim(&value), of_code);
                self.write_code_value(within, encoding)?;
                let scheme = if is_public { &value } else { REMOVED_SCHEME };
                return Ok(write_element(self.stream, encoding, header.tag, vr, scheme)?);
            }
            profile::LONG_CODE_VALUE => self.look_at_code(&code.scheme, trim(&value)),
            _ => {}
        }
        if code.is_public && header.tag != profile::URN_CODE_VALUE {
            return Ok(write_element(self.stream, encoding, header.tag, vr, &value)?);
        }
        match header.tag {
            profile::CODE_MEANING => self.put(header.tag, vr, Otherwise::Dummy, encoding),
            profile::URN_CODE_VALUE => self.put(header.tag, vr, Otherwise::Dummy, encoding),
            _ => Ok(()),
        }
    }

    /// Writes the value of a code that no coding scheme follows.
    pub(super) fn end_code(&mut self, within: &mut Within, encoding: Encoding) -> Result<(), Refusal> {
        if within.code.value.is_some() {
            within.code.is_public = false;
            self.write_code_value(within, encoding)?;
        }
        Ok(())
    }

    fn write_code_value(&mut self, within: &mut Within, encoding: Encoding) -> Result<(), Refusal> {
        let Some((vr, value)) = within.code.value.take() else { return Ok(()) };
        let value = if within.code.is_public { &value } else { REMOVED };
        Ok(write_element(self.stream, encoding, profile::CODE_VALUE, vr, value)?)
    }

    /// Passes on the character set, if it is one: otherwise what is written has none but ASCII.
    pub(super) fn characters(
        &mut self,
        header: &Header,
        length: u64,
        scope: &mut Scope,
    ) -> Result<(), Refusal> {
        let value = self.stream.take_value(length)?;
        let Some(characters) = characters::specific_character_set(&value) else { return Ok(()) };
        scope.characters = characters;
        Ok(write_element(self.stream, scope.encoding, header.tag, Vr::CS, &value)?)
    }
}
