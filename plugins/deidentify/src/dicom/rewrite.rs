//! Walks the data elements of an object and writes what the profile leaves of each, at every depth.
//!
//! Sequences and items are written with undefined length (PS3.5 section 7.5.2), so that nothing has to be measured before
//! it is written. Tags have to ascend (PS3.5 section 7.1): where they do not, the encoding is not what it claims to be.
//! What single values become is in `values`, what has to be known before anything is written in `opening`.

use hilum_formats::dicom::{
    DEPTH_MAX, Encoding, Extent, Header, Held, Stream, Syntax, Tag, UNDEFINED, Vr, check_place, read_header,
    skip_value, write_element, write_header, write_item,
};

use super::characters::Characters;
use super::content::{self, Verdict};
use super::dummy;
use super::opening::Opening;
use super::options::ProfileOption;
use super::pixels::{self, Facts};
use super::profile::{self, Cleaning, Fate, Otherwise, Place, Profile};
use super::safe_private::{self, Blocks};
use super::types::{Iod, Node};
use super::values::CodeParts;
use crate::{Pseudonyms, Refusal, UnknownAttributes};

/// How many octets of a content item may come before its concept.
const CONCEPT_OCTETS_MAX: usize = 64 << 10;
/// How many octets may come between the codes that say what was done and what says whether there are pixels.
const CODES_HELD_OCTETS_MAX: usize = 1 << 20;
/// What a content item is about.
const CONCEPT_NAME: Tag = Tag(0x0040_A043);

/// Rewrites one object.
pub(super) struct Rewriter<'s, 'p> {
    pub(super) stream: &'s mut Stream<'p>,
    pub(super) profile: &'s Profile,
    pub(super) keys: &'s dyn Pseudonyms,
    /// What is known of the object so far.
    pub(super) opening: Opening,
    /// None where the SOP class is not known.
    iod: Option<Iod>,
    /// How many of [`ADDED`] were written.
    added: usize,
    /// What is being looked for in content items.
    pub(super) reading: content::Reading,
    /// What the object says of its pixels.
    pub(super) facts: Facts,
    /// The unique identifier of the transfer syntax.
    pub(super) syntax: &'static str,
    /// What comes after the codes that say what was done, until it is known whether there are pixels.
    codes: Option<Held>,
}

/// The attributes that the profile adds, in the order of their tags.
const ADDED: [Tag; 6] = [
    profile::PATIENT_IDENTITY_REMOVED,
    profile::DEIDENTIFICATION_METHOD,
    profile::DEIDENTIFICATION_METHOD_CODES,
    profile::BURNED_IN_ANNOTATION,
    profile::RECOGNIZABLE_VISUAL_FEATURES,
    profile::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED,
];

/// Where the walk is, and what holds for all that is there.
#[derive(Clone, Copy)]
pub(super) struct Scope {
    pub(super) encoding: Encoding,
    pub(super) extent: Extent,
    pub(super) depth: usize,
    pub(super) characters: Characters,
    /// The sequence that this is an item of.
    pub(super) sequence: Tag,
    node: Node,
    cleaning: Cleaning,
}

/// What has been read of one data set, be it the object's own or an item's.
#[derive(Default)]
pub(super) struct Within {
    last: Option<Tag>,
    blocks: Blocks,
    pub(super) code: CodeParts,
    content: content::Item,
}

impl<'s, 'p> Rewriter<'s, 'p> {
    /// A rewriter of what follows the file meta information, which names a SOP class.
    pub(super) fn new(
        stream: &'s mut Stream<'p>,
        profile: &'s Profile,
        keys: &'s dyn Pseudonyms,
        syntax: Syntax,
        sop_class: &[u8],
    ) -> Self {
        let iod = Iod::of(sop_class);
        let opening = Opening::new(profile.options.has(ProfileOption::RetainLongitudinalModifiedDates));
        Rewriter {
            stream,
            profile,
            keys,
            opening,
            iod,
            added: 0,
            reading: content::Reading::default(),
            facts: Facts::default(),
            syntax: syntax.written_as(),
            codes: None,
        }
    }

    /// Rewrites the data set to the end of the input.
    pub(super) fn object(mut self, syntax: Syntax) -> Result<(), Refusal> {
        let extent = Extent { end: u64::MAX, delimited: false };
        let mut scope = Scope {
            encoding: syntax.encoding,
            extent,
            depth: 0,
            characters: Characters::default(),
            sequence: Tag(0),
            node: Node::ROOT,
            cleaning: Cleaning::None,
        };
        let mut within = Within::default();
        self.begin();
        while !self.stream.at_end()? {
            let header = read_header(self.stream, scope.encoding)?;
            check_place(&header, &mut within.last)?;
            if self.is_private_and_goes(header.tag) {
                skip_value(self.stream, &header, scope.encoding, scope.extent, scope.depth)?;
                continue;
            }
            self.open_up_to(header.tag, syntax)?;
            self.add_up_to(header.tag, scope.encoding)?;
            self.note(&header, &scope)?;
            match header.tag {
                tag if tag.group() == 4 => {
                    return Err(header.refuse("media-directory", "a DICOMDIR lists other objects").into());
                }
                profile::SOP_CLASS_UID => {
                    let sop_class = self.sop_class(&header, scope.encoding)?;
                    self.iod = Iod::of(&sop_class);
                }
                profile::SOP_INSTANCE_UID => self.sop_instance(&header, syntax)?,
                _ if self.takes_offsets(&header, scope.encoding)? => {}
                tag if self.is_claimed(tag) => {
                    skip_value(self.stream, &header, scope.encoding, scope.extent, scope.depth)?;
                }
                _ => self.element(&header, &mut scope, &mut within)?,
            }
        }
        self.open_up_to(Tag(u32::MAX), syntax)?;
        self.end_code(&mut within, scope.encoding)?;
        self.add_up_to(Tag(u32::MAX), scope.encoding)
    }

    /// Rewrites the data elements of an item, whose beginning may be held back until its concept is known; whether it stays.
    fn item(&mut self, mut scope: Scope, mut held: Option<Held>) -> Result<bool, Refusal> {
        let mut within = Within::default();
        let mut stays = true;
        loop {
            if !scope.extent.delimited && self.stream.offset() == scope.extent.end {
                break;
            }
            let header = read_header(self.stream, scope.encoding)?;
            scope.extent.check(&header, self.stream)?;
            if scope.extent.delimited && header.tag == Tag::ITEM_DELIMITATION && header.length == 0 {
                break;
            }
            check_place(&header, &mut within.last)?;
            if !stays || self.is_private_and_goes(header.tag) {
                skip_value(self.stream, &header, scope.encoding, scope.extent, scope.depth)?;
                continue;
            }
            self.note(&header, &scope)?;
            if scope.cleaning != Cleaning::Content {
                self.element(&header, &mut scope, &mut within)?;
                continue;
            }
            let before = self.begin_content(&header, &mut within.content)?;
            self.element(&header, &mut scope, &mut within)?;
            self.end_content(header.tag, before, &mut within.content);
            if header.tag == CONCEPT_NAME
                && within.content.verdict != Verdict::Age
                && let Some(held) = held.take()
            {
                stays = self.settle(held, within.content.verdict != Verdict::Remove)?;
            }
        }
        if stays {
            self.end_code(&mut within, scope.encoding)?;
        }
        if let Some(held) = held {
            stays = self.settle(held, within.content.verdict != Verdict::Age || within.content.is_young())?;
        }
        Ok(stays)
    }

    /// Lets go of what is held of a content item, or drops it if it does not stay; whether it does.
    fn settle(&mut self, held: Held, stays: bool) -> Result<bool, Refusal> {
        if stays {
            self.stream.let_go(held)?;
        } else {
            let left = self.stream.drop_held(held);
            self.opening.forget_from(left);
        }
        Ok(stays)
    }

    fn element(&mut self, header: &Header, scope: &mut Scope, within: &mut Within) -> Result<(), Refusal> {
        if header.tag > profile::CODING_SCHEME {
            self.end_code(within, scope.encoding)?;
        }
        let at = Place { iod: self.iod, node: scope.node, cleaning: scope.cleaning };
        let fate = match header.tag.group() % 2 {
            1 => self.private(header, scope, within)?,
            _ => self.profile.fate(header.tag, header.vr, at),
        };
        let fate = match scope.cleaning {
            Cleaning::Content => within.content.fate(header.tag, fate),
            Cleaning::None | Cleaning::Texts => fate,
        };
        let encoding = scope.encoding;
        match (fate, header.defined_length()) {
            (Fate::Descend(_), Some(0)) => {
                let vr = header.vr.unwrap_or(Vr::SQ);
                return Ok(write_header(self.stream, encoding, header.tag, vr, 0)?);
            }
            (Fate::Descend(cleaning), _) => return self.sequence(header, *scope, cleaning),
            (Fate::Keep(vr), Some(_)) if Self::is_pixels(header.tag) => {
                return self.pixels(header, vr, scope);
            }
            (Fate::Keep(vr), None) if header.tag == Tag::PIXEL_DATA => return self.pixels(header, vr, scope),
            (Fate::Keep(vr), Some(length)) => return self.keep(header, vr, length, scope),
            (Fate::Uids, Some(length)) => return self.uids(header, length, encoding),
            (Fate::PatientId, Some(length)) => return self.patient_id(header, length, scope),
            (Fate::Order(vr), Some(length)) => return self.order(header, vr, length, encoding),
            (Fate::Words(vr, otherwise), Some(length)) => {
                return self.words(header, vr, length, otherwise, scope);
            }
            (Fate::Shift(vr, otherwise), Some(length)) => {
                return self.shift(header, vr, length, otherwise, encoding);
            }
            (Fate::Code(vr), Some(length)) => return self.code(header, vr, length, within, encoding),
            (Fate::Characters, Some(length)) => return self.characters(header, length, scope),
            (Fate::Put(otherwise, vr), _) => self.put(header.tag, vr, otherwise, encoding)?,
            (Fate::Unjudged, _) if self.profile.unknown_attributes == UnknownAttributes::Quarantine => {
                let what =
                    "no dictionary or no table knows this attribute, or not with this value representation";
                return Err(header.refuse("unknown-attribute", what).into());
            }
            // A value of undefined length is a sequence, so this is not the attribute that it claims to be.
            _ => {}
        }
        Ok(skip_value(self.stream, header, encoding, scope.extent, scope.depth)?)
    }

    /// Whether nothing has to be known of a data element to leave it out: in many images most are like that.
    fn is_private_and_goes(&self, tag: Tag) -> bool {
        tag.group() % 2 == 1 && self.profile.safe_privates.is_none()
    }

    /// Decides about a private data element. That one says whose a block is comes before the block.
    fn private(&mut self, header: &Header, scope: &Scope, within: &mut Within) -> Result<Fate, Refusal> {
        let removed = Fate::Put(Otherwise::Remove, Vr::UN);
        let Some(safe) = &self.profile.safe_privates else { return Ok(removed) };
        if !safe_private::is_creator(header.tag) {
            let vr = safe.vr(&within.blocks, header.tag, header.vr);
            return Ok(match vr {
                None => removed,
                Some(Vr::SQ) => Fate::Descend(scope.cleaning),
                Some(Vr::UI) if self.profile.options.has(ProfileOption::RetainUids) => Fate::Keep(Vr::UI),
                Some(Vr::UI) => Fate::Uids,
                Some(vr) => Fate::Keep(vr),
            });
        }
        let Some(length @ 0..=64) = header.defined_length() else { return Ok(removed) };
        let creator = self.stream.peek_value(length)?;
        let stays = safe.reserve(&mut within.blocks, header.tag, creator);
        Ok(if stays { Fate::Keep(Vr::LO) } else { removed })
    }

    /// Rewrites the items of a sequence.
    fn sequence(&mut self, header: &Header, outer: Scope, cleaning: Cleaning) -> Result<(), Refusal> {
        let Scope { encoding, extent, depth, .. } = outer;
        if depth >= DEPTH_MAX {
            return Err(header.refuse("too-deep", "sequences are nested too deeply").into());
        }
        let vr = header.vr.unwrap_or(Vr::SQ);
        // PS3.5 section 6.2.2: the items of an unknown value are encoded as implicit VR little endian.
        let inner = if vr == Vr::UN { Encoding::IMPLICIT_LITTLE } else { encoding };
        let end = header.defined_length().map(|length| self.stream.offset() + length);
        let within = Extent { end: end.unwrap_or(extent.end), delimited: end.is_none() };
        let node = outer.node.below(header.tag);
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
            let extent = Extent { end: end.unwrap_or(within.end), delimited: end.is_none() };
            let held =
                (cleaning == Cleaning::Content).then(|| self.stream.hold_from_here(CONCEPT_OCTETS_MAX));
            write_item(self.stream, inner, Tag::ITEM, UNDEFINED)?;
            let scope = Scope {
                encoding: inner,
                extent,
                depth: depth + 1,
                sequence: header.tag,
                node,
                cleaning,
                ..outer
            };
            if self.item(scope, held)? {
                write_item(self.stream, inner, Tag::ITEM_DELIMITATION, 0)?;
            }
        }
        Ok(write_item(self.stream, inner, Tag::SEQUENCE_DELIMITATION, 0)?)
    }

    /// Writes the attributes that the profile adds and whose place is not after `tag`.
    fn add_up_to(&mut self, tag: Tag, encoding: Encoding) -> Result<(), Refusal> {
        if self.codes.is_none() && ADDED.get(self.added).is_none_or(|next| *next > tag) {
            return Ok(());
        }
        while let Some(added) = ADDED.get(self.added).filter(|added| **added <= tag) {
            self.added += 1;
            if *added > pixels::ROWS {
                self.write_codes(encoding)?;
            }
            let stream = &mut *self.stream;
            match *added {
                profile::PATIENT_IDENTITY_REMOVED => write_element(stream, encoding, *added, Vr::CS, b"YES"),
                profile::DEIDENTIFICATION_METHOD => {
                    write_element(stream, encoding, *added, Vr::LO, self.profile.method().as_bytes())
                }
                profile::DEIDENTIFICATION_METHOD_CODES => {
                    self.codes = Some(stream.hold_from_here(CODES_HELD_OCTETS_MAX));
                    Ok(())
                }
                profile::LONGITUDINAL_TEMPORAL_INFORMATION_MODIFIED => {
                    let said = self.profile.options.temporal_information();
                    write_element(stream, encoding, *added, Vr::CS, said)
                }
                cleaned if self.is_claimed(cleaned) => {
                    write_element(self.stream, encoding, cleaned, Vr::CS, b"NO")
                }
                _ => Ok(()),
            }?;
        }
        // What needs no pixels to be true need not wait for them.
        if tag > pixels::ROWS || !self.profile.options.are_about_pixels() {
            self.write_codes(encoding)?;
        }
        Ok(())
    }

    /// Whether this object will say `NO` here because an option has seen to it, or is refused.
    pub(super) fn is_claimed(&self, tag: Tag) -> bool {
        let option = match tag {
            profile::BURNED_IN_ANNOTATION => ProfileOption::CleanPixelData,
            profile::RECOGNIZABLE_VISUAL_FEATURES => ProfileOption::CleanRecognizableVisualFeatures,
            _ => return false,
        };
        self.facts.has_pixels() && self.profile.options.has(option)
    }

    /// Writes the codes that say what was done, and then what came after them.
    fn write_codes(&mut self, encoding: Encoding) -> Result<(), Refusal> {
        let Some(held) = self.codes.take() else { return Ok(()) };
        let after = self.stream.take_held(held);
        let codes = self.profile.options.codes(self.facts.has_pixels());
        dummy::write_codes(self.stream, encoding, profile::DEIDENTIFICATION_METHOD_CODES, codes)?;
        Ok(self.stream.write(&after)?)
    }
}
