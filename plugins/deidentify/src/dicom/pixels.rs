//! Pixels: which images hold text or a face, and what is done about it (PS3.15 E.3.1 and E.3.2). In reading order:
//!
//! - `facts` are what an object says of itself before its pixels come.
//! - `rules` says by the signature of a device where text is; `faces` whether somebody could be recognised.
//! - `layout` finds the bits of a rectangle; `native` covers them as the pixels stream by.
//! - `look` chooses frames, `picture` makes them grey, and `text` doubts that there is no text in them.
//! - `fragments` holds what is encapsulated frame by frame, `codec` covers a frame with what `rle`, `jpeg_lossless`, `jpeg_ls`, `jpeg_2000` and `jpeg` read and write,
//!   `jpeg_segments` is what JPEG, JPEG Lossless and JPEG-LS share before their scans, and `segments` overwrites comments.
//!
//! What is not known to be clean, and cannot be made clean exactly, is refused.

mod codec;
mod faces;
mod facts;
mod fragments;
mod jpeg;
mod jpeg_2000;
mod jpeg_lossless;
mod jpeg_ls;
mod jpeg_segments;
mod layout;
mod look;
mod native;
mod picture;
mod rle;
mod rules;
pub(super) mod segments;
mod text;

use std::borrow::Cow;

use hilum_formats::dicom::{Encoding, Header, Tag, Vr, trim, write_header};

use super::options::ProfileOption;
use super::profile;
use super::rewrite::{Rewriter, Scope};
use crate::{BurnedInAnnotation, RecognizableFaces, Refusal, TextDetector};
use codec::{Codec, Failure};
use faces::Face;
pub(super) use facts::{Facts, Said};
use fragments::Frames;
use layout::{Layout, Mask, Samples};
use look::Looks;
pub(super) use rules::PixelRules;
use rules::{Action, Decision};
pub(super) use segments::Codestream;

/// Elements of group 7FE0 that hold pixels: of floating point, of double, of integers.
const PIXELS: [Tag; 3] = [Tag(0x7FE0_0008), Tag(0x7FE0_0009), Tag::PIXEL_DATA];
/// An object with this one has pixels.
pub(super) const ROWS: Tag = Tag(0x0028_0010);
/// Octets of a value that is taken note of. What is longer was not written by a device.
const NOTED_OCTETS_MAX: u64 = 1024;
/// Extended Offset Table and its lengths (PS3.3 C.7.6.3.1.8).
const EXTENDED_OFFSETS: Tag = Tag(0x7FE0_0001);
const EXTENDED_LENGTHS: Tag = Tag(0x7FE0_0002);
/// Transfer syntaxes whose frames are compressed by something else, by the ends of their identifiers.
const SYNTAX_NAMES: [(&str, &str); 5] = [
    ("1.2.4.51", "JPEG Extended"),
    ("1.2.4.201", "HTJ2K Lossless"),
    ("1.2.4.202", "HTJ2K Lossless"),
    ("1.2.4.203", "HTJ2K"),
    ("1.2.4.110", "JPEG XL Lossless"),
];
const ANATOMIC_REGION: Tag = Tag(0x0008_2218);

impl<'s> Rewriter<'s, '_> {
    /// Takes note of what a data element says of the pixels, before anything is decided about it.
    pub(super) fn note(&mut self, header: &Header, scope: &Scope) -> Result<(), Refusal> {
        let tag = header.tag;
        let is_overlay = tag.group() & 0xFF01 == 0x6000 && tag.element() == 0x0102;
        let is_of_anatomy =
            scope.sequence == ANATOMIC_REGION && matches!(tag, profile::CODE_VALUE | profile::CODE_MEANING);
        let is_wanted = match tag.0 {
            0x0018_0015 => true,
            0x0008_0008 | 0x0008_0016 | 0x0008_0060 | 0x0008_0070 | 0x0008_1090 => scope.depth == 0,
            0x0008_1030 | 0x0008_103E | 0x0018_1030 => scope.depth == 0,
            0x0028_0002..=0x0028_0302 => scope.depth == 0,
            _ => is_overlay || is_of_anatomy,
        };
        let length = header.defined_length().filter(|length| is_wanted && *length <= NOTED_OCTETS_MAX);
        let Some(length) = length else { return Ok(()) };
        let value = self.stream.peek_value(length)?;
        if is_overlay {
            self.facts.has_overlay_bits |= value.iter().any(|octet| *octet != 0);
        } else if tag == profile::CODE_VALUE {
            self.facts.shown.code(trim(value));
        } else if tag == profile::CODE_MEANING {
            self.facts.shown.part(value);
        } else {
            self.facts.note(tag, value, scope.encoding);
        }
        Ok(())
    }

    /// Whether a data element holds pixels.
    pub(super) fn is_pixels(tag: Tag) -> bool {
        PIXELS.contains(&tag)
    }

    /// Passes on the pixels of an image, without the text that a rule knows to be in them, or refuses them.
    pub(super) fn pixels(&mut self, header: &Header, vr: Vr, scope: &Scope) -> Result<(), Refusal> {
        self.check_face(header)?;
        let Some(decision) = self.treatment(header, scope)? else {
            return self.pass_pixels(header, vr, scope);
        };
        let covered: &[_] = if let Action::Mask(covered) = &decision.action { covered } else { &[] };
        let detector = self.profile.text_detector;
        let is_looked_at = self.is_looked_at();
        let what = |what: &str| Refusal::from(header.refuse("pixels-not-maskable", what));
        let unseen = |what: &str| match detector {
            TextDetector::On => Err(Refusal::from(header.refuse("text-not-looked-for", what))),
            TextDetector::Readable | TextDetector::Off => Ok(()),
        };
        if covered.is_empty() && !is_looked_at {
            return self.pass_pixels(header, vr, scope);
        }
        let layout = Layout::of(&self.facts_of(header));
        if covered.is_empty() {
            let is_seen = match (&layout, header.defined_length()) {
                _ if header.tag != Tag::PIXEL_DATA => Err("pixels of floating point are not looked at"),
                (Err(what), _) => Err(*what),
                (Ok(_), None) if self.codec().is_none() => Err("compressed pixels are not looked at"),
                (Ok(layout), _) => Looks::new(layout, &decision.known).map(|_| ()),
            };
            if let Err(why) = is_seen {
                unseen(why)?;
                return self.pass_pixels(header, vr, scope);
            }
        } else if header.tag != Tag::PIXEL_DATA {
            return Err(what("a rule has a mask, and pixels of floating point cannot be masked"));
        }
        let layout = layout.map_err(what)?;
        let mask = Mask::new(covered, &layout).map_err(what)?;
        let looks = match Looks::new(&layout, &decision.known) {
            _ if !is_looked_at => None,
            Ok(looks) => Some(looks),
            Err(why) => unseen(why).map(|()| None)?,
        };
        match header.defined_length() {
            Some(length) => {
                self.mask_native(header, (vr, length), scope.encoding, &layout, &mask, looks.as_ref())
            }
            None => self.mask_fragments(header, scope, &layout, &mask, looks.as_ref()),
        }
    }

    /// Passes on pixels as they are.
    fn pass_pixels(&mut self, header: &Header, vr: Vr, scope: &Scope) -> Result<(), Refusal> {
        match header.defined_length() {
            Some(length) => {
                self.check_length(header, length, scope)?;
                self.pass_on(header, vr, length, scope.encoding)
            }
            None => self.fragments(header, scope.encoding, scope.extent),
        }
    }

    /// Refuses pixels of the object itself with more octets than there are pixels for: nobody knows what the rest says.
    fn check_length(&self, header: &Header, length: u64, scope: &Scope) -> Result<(), Refusal> {
        match Layout::of(&self.facts) {
            Ok(layout) if scope.depth == 0 && header.tag == Tag::PIXEL_DATA => {
                check_octets(header, length, &layout)
            }
            _ => Ok(()),
        }
    }

    /// Takes note of where encapsulated frames are, if they will not stay there; whether they will not.
    pub(super) fn takes_offsets(&mut self, header: &Header, encoding: Encoding) -> Result<bool, Refusal> {
        let is_offsets = matches!(header.tag, EXTENDED_OFFSETS | EXTENDED_LENGTHS);
        let is_cleaned = self.profile.options.has(ProfileOption::CleanPixelData);
        if !is_offsets || !is_cleaned || header.defined_length().is_none() {
            return Ok(false);
        }
        let is_masked = matches!(self.facts.decision(&self.profile.pixel_rules).action, Action::Mask(_));
        let is_merged = self.codec().is_some_and(|codec| codec != Codec::Rle) && self.is_looked_at();
        if !is_masked && !is_merged {
            return Ok(false);
        }
        let offsets = Some(fragments::read_offsets(self.stream, header, encoding)?);
        if header.tag == EXTENDED_OFFSETS {
            self.facts.extended.offsets = offsets;
        } else {
            self.facts.extended.lengths = offsets;
        }
        Ok(true)
    }

    fn mask_fragments(
        &mut self,
        header: &Header,
        scope: &Scope,
        layout: &Layout,
        mask: &Mask,
        looks: Option<&Looks<'_>>,
    ) -> Result<(), Refusal> {
        let Some(codec) = self.codec() else {
            let what = format!("a rule has a mask, and {} cannot be encoded again", self.syntax_name());
            return Err(header.refuse("pixels-not-maskable", &what).into());
        };
        if layout.samples == Samples::Pairs || layout.bits_allocated < 8 {
            let what =
                "neither single bits nor chroma that pixels share can be masked in this transfer syntax";
            return Err(header.refuse("pixels-not-maskable", what).into());
        }
        let extended = std::mem::take(&mut self.facts.extended);
        let (at, count) = ((scope.encoding, scope.extent), (layout.frames, codec == Codec::Rle));
        // The fragments of a frame in anything but RLE become one.
        let keeps_table = mask.is_empty() && codec == Codec::Rle;
        let mut frames = Frames::begin(self.stream, header, at, count, &extended, keeps_table)?;
        let detector = self.profile.text_detector;
        let mut number = 0;
        while let Some(mut frame) = frames.next(self.stream)? {
            let looks = looks.filter(|looks| looks.want(number));
            let cleaned = codec.clean(&mut frame, layout, mask, looks.is_some());
            let picture = match cleaned {
                Err(Failure::Malformed(_)) if mask.is_empty() && detector == TextDetector::Readable => {
                    codec.clean(&mut frame, layout, mask, false)
                }
                cleaned => cleaned,
            };
            let picture = picture.map_err(|failure| {
                let (code, what) = codec.refusal(failure);
                header.refuse(code, what)
            })?;
            if let (Some(looks), Some(picture)) = (looks, picture) {
                looks.at(number, picture)?;
            }
            frames.write(self.stream, &frame)?;
            number += 1;
        }
        Ok(frames.end(self.stream, header)?)
    }

    /// Whether the object is looked at for text.
    fn is_looked_at(&self) -> bool {
        self.profile.text_detector != TextDetector::Off && self.facts.is_looked_at()
    }

    /// What the object says of its pixels when they are decoded.
    fn facts_of(&self, header: &Header) -> Cow<'_, Facts> {
        match self.codec().filter(|_| header.defined_length().is_none()) {
            Some(codec) => codec.decoded(&self.facts),
            None => Cow::Borrowed(&self.facts),
        }
    }

    /// What the frames of the object can be decoded and encoded with.
    fn codec(&self) -> Option<Codec> {
        Codec::of(self.syntax)
    }

    /// How many frames the object has, if it says so in a number.
    pub(super) fn frames_stated(&self) -> Option<u64> {
        self.facts.frames
    }

    /// What the transfer syntax of the object is called.
    fn syntax_name(&self) -> &'static str {
        let name = |(uid, name): &(&str, &'static str)| self.syntax.ends_with(uid).then_some(*name);
        SYNTAX_NAMES.iter().find_map(name).unwrap_or("this transfer syntax")
    }

    fn mask_native(
        &mut self,
        header: &Header,
        (vr, length): (Vr, u64),
        encoding: Encoding,
        layout: &Layout,
        mask: &Mask,
        looks: Option<&Looks<'_>>,
    ) -> Result<(), Refusal> {
        check_octets(header, length, layout)?;
        let vr = header.vr.unwrap_or(vr);
        let in_swapped_words = encoding.big_endian && vr == Vr::OW && layout.bits_allocated < 16;
        if in_swapped_words && !native::is_in_words(layout, mask) {
            let what = "a mask divides words of 16 bits under big endian";
            return Err(header.refuse("pixels-not-maskable", what).into());
        }
        write_header(self.stream, encoding, header.tag, vr, header.length + header.length % 2)?;
        native::mask(self.stream, layout, mask, length, encoding.big_endian, looks)?;
        if length % 2 == 1 {
            self.stream.write(&[vr.padding()])?;
        }
        Ok(())
    }

    /// What the rules say of the pixels where text is to be cleaned; none where they go on as they are.
    fn treatment(&self, header: &Header, scope: &Scope) -> Result<Option<&'s Decision>, Refusal> {
        let profile = self.profile;
        if !profile.options.has(ProfileOption::CleanPixelData) {
            return self.check_doubt(header, scope).map(|()| None);
        }
        if scope.depth > 0 || !self.facts.has_pixels() {
            let what =
                "these are no pixels of the object itself, with Rows (0028,0010), so no rule is for them";
            return Err(header.refuse("pixels-not-cleaned", what).into());
        }
        if self.facts.has_overlay_bits {
            let what = "an overlay is in bits of the pixels, as Overlay Bit Position (60xx,0102) says";
            return Err(header.refuse("pixels-not-cleaned", what).into());
        }
        let decision = self.facts.decision(&profile.pixel_rules);
        match (&decision.action, self.facts.text) {
            (Action::Mask(_), _) => Ok(Some(decision)),
            (Action::Clean | Action::Believe, Said::Yes) => {
                let what = "the image says that text is burned into its pixels, and no rule says where";
                Err(header.refuse("burned-in-annotation", what).into())
            }
            (Action::Clean, _) | (Action::Believe, Said::No) => Ok(Some(decision)),
            (Action::Believe | Action::Quarantine, _) => Err(uncertain(header)),
        }
    }

    /// Refuses pixels that probably have text in them though nothing says so, unless that may go on.
    fn check_doubt(&self, header: &Header, scope: &Scope) -> Result<(), Refusal> {
        if self.profile.burned_in_annotation != BurnedInAnnotation::Refuse || self.facts.text == Said::No {
            return Ok(());
        }
        if scope.depth > 0 {
            let what =
                "these are pixels within a sequence, of which nothing says whether there is text in them";
            return Err(header.refuse("burned-in-annotation", what).into());
        }
        match self.facts.decision(&self.profile.pixel_rules).action {
            Action::Clean | Action::Believe | Action::Mask(_) => Ok(()),
            Action::Quarantine => {
                let what = "images of this kind often have text in their pixels, and this one does not say `NO` in Burned In \
                            Annotation (0028,0301): choose option `clean-pixel-data`, with rules for the device";
                Err(header.refuse("burned-in-annotation", what).into())
            }
        }
    }

    /// Refuses an image in which somebody could be recognised, unless that may go on.
    fn check_face(&self, header: &Header) -> Result<(), Refusal> {
        let is_claimed = self.profile.options.has(ProfileOption::CleanRecognizableVisualFeatures);
        if !is_claimed && self.profile.recognizable_faces != RecognizableFaces::Refuse {
            return Ok(());
        }
        let face = match self.facts.features {
            Said::Yes => Face::Likely,
            Said::No => Face::None,
            Said::Nothing => self.facts.shown.face(&self.facts.modality),
        };
        match face {
            Face::Likely => {
                let what = "somebody may be recognised in these pixels of a head";
                Err(header.refuse("recognizable-face", what).into())
            }
            Face::Unknown if is_claimed => {
                let what = "nothing says which part of a body this is, nor `NO` in Recognizable Visual Features (0028,0302)";
                Err(header.refuse("features-not-cleaned", what).into())
            }
            Face::Unknown | Face::None => Ok(()),
        }
    }
}

fn check_octets(header: &Header, length: u64, layout: &Layout) -> Result<(), Refusal> {
    let octets = layout.octets();
    if octets != Some(length) && octets.map(|octets| octets + octets % 2) != Some(length) {
        let what =
            "the pixels are not as many octets as the object says of their frames, rows, columns and bits";
        return Err(header.refuse("wrong-length", what).into());
    }
    Ok(())
}

fn uncertain(header: &Header) -> Refusal {
    let what = "no rule says whether there is text in the pixels of such images, or where";
    header.refuse("pixels-not-cleaned", what).into()
}

#[cfg(test)]
mod tests;
