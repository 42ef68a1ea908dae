//! Pixels: read where they are not compressed or in RLE, compared as they are where they are in other fragments.

use dicom_core::Tag;
use dicom_core::value::Value;
use dicom_object::InMemDicomObject;
use dicom_object::mem::InMemElement;

use super::{PIXEL_DATA, glyphs, rle};

const RLE_LOSSLESS: &str = "1.2.840.10008.1.2.5";

/// How samples lie in frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Shape {
    pub(super) columns: u32,
    pub(super) rows: u32,
    pub(super) samples: u32,
    /// Octets of a sample.
    pub(super) octets: u32,
    /// Whether the samples of a frame come one plane after the other.
    pub(super) is_planar: bool,
    pub(super) frames: u32,
}

/// The pixels of an object.
pub(in super::super) struct Pixels {
    /// Fragments one after the other, or the value.
    raw: Vec<u8>,
    /// Samples, where they can be read.
    samples: Option<(Shape, Vec<u8>)>,
}

impl Shape {
    fn read(object: &InMemDicomObject) -> Option<Self> {
        let number = |element: u16| object.get(Tag(0x0028, element))?.to_int::<u32>().ok();
        let bits = number(0x0100)?;
        let shape = Self {
            columns: number(0x0011)?,
            rows: number(0x0010)?,
            samples: number(0x0002).unwrap_or(1),
            octets: bits / 8,
            is_planar: number(0x0006).unwrap_or(0) == 1,
            frames: number(0x0008).unwrap_or(1).max(1),
        };
        let is_subsampled = object
            .get(Tag(0x0028, 0x0004))
            .and_then(|element| element.to_str().ok())
            .is_some_and(|photometric| photometric.trim().ends_with("422"));
        (bits % 8 == 0 && (1..=4).contains(&shape.octets) && !is_subsampled).then_some(shape)
    }

    fn frame_octets(self) -> usize {
        (self.columns as usize) * (self.rows as usize) * (self.samples as usize) * (self.octets as usize)
    }

    /// Where a sample begins.
    fn at(self, frame: u32, x: u32, y: u32, sample: u32) -> usize {
        let pixel = (y * self.columns + x) as usize;
        let plane = (self.columns * self.rows) as usize;
        let within = if self.is_planar {
            sample as usize * plane + pixel
        } else {
            pixel * self.samples as usize + sample as usize
        };
        frame as usize * self.frame_octets() + within * self.octets as usize
    }

    fn each_sample(self) -> impl Iterator<Item = (u32, u32)> {
        (0..self.frames).flat_map(move |frame| (0..self.samples).map(move |sample| (frame, sample)))
    }
}

impl Pixels {
    pub(super) fn read(object: &InMemDicomObject, syntax: &str) -> Option<Self> {
        let element = object.get(PIXEL_DATA)?;
        let shape = Shape::read(object);
        match element.value() {
            Value::PixelSequence(fragments) => {
                let samples = shape.filter(|_| syntax == RLE_LOSSLESS);
                let samples = samples.and_then(|shape| decoded(shape, fragments.fragments()));
                Some(Self { raw: fragments.fragments().concat(), samples })
            }
            Value::Primitive(value) => {
                let raw = value.to_bytes().into_owned();
                let is_whole = |shape: &Shape| raw.len() >= shape.frame_octets() * shape.frames as usize;
                let samples = shape.filter(is_whole).map(|shape| (shape, raw.clone()));
                Some(Self { raw, samples })
            }
            Value::Sequence(_) => None,
        }
    }

    /// Whether every sample is the same in each of these rectangles, so that nothing can be read there.
    pub(in super::super) fn are_flat_in(&self, rectangles: &[[u32; 4]]) -> bool {
        let Some((shape, samples)) = &self.samples else { return false };
        let value = |at: usize| &samples[at..at + shape.octets as usize];
        rectangles.iter().all(|[left, top, width, height]| {
            let inside = || {
                (*top..(top + height).min(shape.rows))
                    .flat_map(|y| (*left..(left + width).min(shape.columns)).map(move |x| (x, y)))
            };
            shape.each_sample().all(|(frame, sample)| {
                let first = value(shape.at(frame, *left, *top, sample));
                inside().all(|(x, y)| value(shape.at(frame, x, y, sample)) == first)
            })
        })
    }

    /// Whether these are the pixels of another object, outside of rectangles.
    pub(in super::super) fn are_those_of(&self, other: &Self, rectangles: &[[u32; 4]]) -> bool {
        if rectangles.is_empty() && self.raw == other.raw {
            return true;
        }
        let (Some((shape, one)), Some((other_shape, other))) = (&self.samples, &other.samples) else {
            return false;
        };
        let is_covered = |x: u32, y: u32| {
            let within = |[left, top, width, height]: &[u32; 4]| {
                (*left..left + width).contains(&x) && (*top..top + height).contains(&y)
            };
            rectangles.iter().any(within)
        };
        let octets = shape.octets as usize;
        let mut places = (0..shape.rows).flat_map(|y| (0..shape.columns).map(move |x| (x, y)));
        shape == other_shape
            && places.all(|(x, y)| {
                is_covered(x, y)
                    || shape.each_sample().all(|(frame, sample)| {
                        let at = shape.at(frame, x, y, sample);
                        one[at..at + octets] == other[at..at + octets]
                    })
            })
    }
}

/// The frames of RLE, each a fragment of its own.
fn decoded(shape: Shape, fragments: &[Vec<u8>]) -> Option<(Shape, Vec<u8>)> {
    let shape = Shape { is_planar: false, ..shape };
    if fragments.len() != shape.frames as usize {
        return None;
    }
    let pixels = (shape.columns as usize) * (shape.rows as usize);
    let mut samples = Vec::new();
    for fragment in fragments {
        samples.extend(rle::decode(fragment, pixels, shape.samples as usize, shape.octets as usize)?);
    }
    Some((shape, samples))
}

/// Burns a text into an object's pixels, every frame, within a rectangle. The rectangle that it covers; none where pixels cannot be
/// written, or the text does not fit.
pub(in super::super) fn burn(
    object: &mut InMemDicomObject,
    syntax: &str,
    text: &str,
    within: [u32; 4],
) -> Option<[u32; 4]> {
    let (shape, mut samples) = Pixels::read(object, syntax)?.samples?;
    if within[0] + within[2] > shape.columns || within[1] + within[3] > shape.rows {
        return None;
    }
    let mut covered = None;
    for (frame, sample) in shape.each_sample() {
        // Where the background is bright the text is dark.
        let first = shape.at(frame, within[0], within[1], sample);
        let octets = shape.octets as usize;
        let ink = if samples[first + octets - 1] < 8 { 0x5A } else { 0 };
        covered = glyphs::draw(text, within, |x, y| {
            let at = shape.at(frame, x, y, sample);
            samples[at..at + octets].fill(0);
            // Bits above those that are stored stay clear in images of 12 bits.
            samples[at + octets - 1] = if octets > 1 { ink & 0x07 } else { ink };
            if ink == 0 && octets == 1 {
                samples[at] = samples[at].wrapping_add(1);
            }
        });
    }
    write(object, syntax, shape, &samples);
    covered
}

fn write(object: &mut InMemDicomObject, syntax: &str, shape: Shape, samples: &[u8]) {
    let value: Value<InMemDicomObject> = if syntax == RLE_LOSSLESS {
        let frames = samples.chunks(shape.frame_octets());
        let encoded = frames.map(|frame| rle::encode(frame, shape.samples as usize, shape.octets as usize));
        let fragments: Vec<Vec<u8>> = encoded.collect();
        Value::PixelSequence(dicom_core::value::PixelFragmentSequence::new_fragments(fragments))
    } else {
        Value::Primitive(dicom_core::value::PrimitiveValue::U8(samples.to_vec().into()))
    };
    let vr = object.get(PIXEL_DATA).map_or(dicom_core::VR::OB, InMemElement::vr);
    let value = match value {
        Value::Primitive(_) if vr == dicom_core::VR::OW => {
            let words: Vec<u16> = samples
                .chunks(2)
                .map(|pair| u16::from_le_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))
                .collect();
            Value::Primitive(dicom_core::value::PrimitiveValue::U16(words.into()))
        }
        other => other,
    };
    object.put(dicom_core::DataElement::new(PIXEL_DATA, vr, value));
}
