//! What single values become: kept, replaced, cleaned or left out.

use hilum_formats::dicom::{
    Encoding, Extent, Header, Tag, UNDEFINED, VALUE_OCTETS_MAX, Vr, read_header, trim, write_element,
    write_header, write_item,
};

use super::options::ProfileOption;
use super::pixels::{Codestream, Said, segments};
use super::profile::{self, Otherwise};
use super::rewrite::{Rewriter, Scope, Within};
use super::{characters, content, dates, dummy};
use crate::forms::Form;
use crate::pseudonym::{self, ORDER};
use crate::{BurnedInAnnotation, PatientId, Refusal, shape};

/// How many octets are read at a time between fragments that are too large to be read.
const FRAGMENT_READ_OCTETS: usize = 64;
const LARGE_FRAGMENT_OCTETS_MIN: u64 = 64 << 10;
/// Octets of a value of CS, without blanks around it.
const CODE_OCTETS_MAX: usize = 16;
/// What stands for a code that only some know (PS3.3 table 8.8-1).
const REMOVED: &[u8] = b"REMOVED";
const REMOVED_SCHEME: &[u8] = b"99HILUM";

/// What has been read of a code in a sequence that is cleaned: its value comes before the coding scheme that says whose it is.
#[derive(Default)]
pub(super) struct CodeParts {
    value: Option<(Vr, Vec<u8>)>,
    scheme: Vec<u8>,
    /// What codes of the scheme look like, if it is a published one and the value so far is one of them.
    form: Option<Form>,
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
        let dictionary = vr;
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
        if matches!(dictionary, Vr::CS | Vr::DS | Vr::IS) && !self.has_form(dictionary, length)? {
            self.stream.skip(length)?;
            return self.put(header.tag, vr, Otherwise::Empty, encoding);
        }
        self.pass_on(header, vr, length, encoding)
    }

    /// Whether a value is of its value representation, as far as that keeps words and names out of it: numbers are digits, signs and exponents, codes are
    /// short (PS3.5 section 6.2). Real numbers are often longer than they may be.
    fn has_form(&mut self, vr: Vr, length: u64) -> Result<bool, Refusal> {
        if length > VALUE_OCTETS_MAX {
            return Ok(vr != Vr::CS);
        }
        let value = self.stream.peek_value(length)?;
        let mut values = value.split(|octet| *octet == b'\\').map(trim);
        Ok(match vr {
            Vr::CS => values.all(|value| value.len() <= CODE_OCTETS_MAX),
            _ => values.all(|value| value.iter().all(is_of_number)),
        })
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
        let refuse = self.profile.burned_in_annotation != BurnedInAnnotation::Pass && !by_rules;
        if refuse && Said::of(self.stream.peek_value(length)?) == Said::Yes {
            let what = "the image says that text is burned into its pixels";
            return Err(header.refuse("burned-in-annotation", what).into());
        }
        Ok(())
    }

    /// Whether the first item of encapsulated pixel data is what it has to be: empty, or where each frame begins (PS3.5 A.4). Other octets
    /// could say anything.
    fn is_offset_table(&mut self, length: u64, encoding: Encoding) -> Result<bool, Refusal> {
        if length == 0 {
            return Ok(true);
        }
        let is_whole =
            length.is_multiple_of(4) && self.frames_stated().is_none_or(|frames| length / 4 == frames);
        if !is_whole || length > VALUE_OCTETS_MAX {
            return Ok(is_whole);
        }
        let entry = |octets: &[u8]| {
            let octets = octets.try_into().unwrap_or_default();
            if encoding.big_endian { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) }
        };
        let offsets: Vec<u32> = self.stream.peek_value(length)?.chunks_exact(4).map(entry).collect();
        Ok(offsets.first() == Some(&0) && offsets.is_sorted())
    }

    /// Passes on encapsulated pixel data (PS3.5 A.4), fragment by fragment, without the comments in its frames.
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
        let codestream = Codestream::of(self.syntax);
        for number in 0_u64.. {
            let item = read_header(self.stream, encoding)?;
            extent.check(&item, self.stream)?;
            let refuse = |what: &str| Err(item.refuse("malformed-fragments", what).into());
            let length = match (item.tag, item.defined_length()) {
                (Tag::SEQUENCE_DELIMITATION, Some(0)) => break,
                // An odd fragment would move all later ones away from where the offset table says they are.
                (Tag::ITEM, Some(length)) if length % 2 == 0 => length,
                _ => return refuse("an even fragment was expected"),
            };
            if number == 0 && !self.is_offset_table(length, encoding)? {
                return refuse("the first item is no offset table with an entry for each frame, in order");
            }
            write_item(self.stream, encoding, Tag::ITEM, item.length)?;
            let large = length >= LARGE_FRAGMENT_OCTETS_MIN;
            self.stream.read_at_a_time(large.then_some(FRAGMENT_READ_OCTETS));
            let begun = match codestream {
                Some(codestream) if number > 0 => {
                    let begins = codestream.begins(self.stream.peek_value(length.min(2))?);
                    if number == 1 && !begins {
                        return refuse("the first fragment does not begin as its transfer syntax does");
                    }
                    begins.then_some((codestream, length.min(VALUE_OCTETS_MAX)))
                }
                _ => None,
            };
            let Some((codestream, begun)) = begun else {
                self.stream.copy(length)?;
                continue;
            };
            let mut head = self.stream.take_value(begun)?;
            if let Err(segments::Malformed(what)) = codestream.blank(&mut head) {
                return refuse(what);
            }
            self.stream.write(&head)?;
            self.stream.copy(length - begun)?;
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

    /// Passes on the parts of a code whose coding scheme is a published one, if it looks like one of that scheme, and puts a code that says nothing in the place of any other.
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
                let of_code = code.value.as_ref().map_or(&[][..], |(_, of_code)| trim(of_code));
                let fits = |form: &Form| of_code.is_empty() || form.takes(of_code);
                code.form = content::form_of(trim(&value)).filter(fits);
                code.scheme = trim(&value).to_vec();
                let is_public = code.form.is_some();
                self.look_at_code(trim(&value), of_code);
                self.write_code_value(within, encoding)?;
                let scheme = if is_public { &value } else { REMOVED_SCHEME };
                return Ok(write_element(self.stream, encoding, header.tag, vr, scheme)?);
            }
            profile::LONG_CODE_VALUE => {
                code.form = code.form.filter(|form| form.takes(trim(&value)));
                self.look_at_code(&code.scheme, trim(&value));
            }
            _ => {}
        }
        let code = &within.code;
        let is_known = header.tag != profile::CODE_MEANING || !shape::identifies(&value);
        if code.form.is_some() && is_known && header.tag != profile::URN_CODE_VALUE {
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
            within.code.form = None;
            self.write_code_value(within, encoding)?;
        }
        Ok(())
    }

    fn write_code_value(&mut self, within: &mut Within, encoding: Encoding) -> Result<(), Refusal> {
        let Some((vr, value)) = within.code.value.take() else { return Ok(()) };
        let value = if within.code.form.is_some() { &value } else { REMOVED };
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

/// Whether an octet may be in a number: one of DS or IS, or blanks around it (PS3.5 section 6.2).
fn is_of_number(octet: &u8) -> bool {
    matches!(octet, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E' | b' ')
}
