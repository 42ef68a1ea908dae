//! JPEG 2000 (ITU-T T.800; PS3.5 section 8.2.4): samples become coefficients of wavelets, whose bits are coded plane by plane. A library reads it, `hayro-jpeg2000`; the ones
//! that write it are young, so writing is our own, and every frame that was written is read again by the library, which nobody of ours wrote.
//!
//! - `encode` lays out a codestream; `wavelet` transforms, `block` and `arithmetic` code what comes out, `packet` says where it is.
//! - This module reads the head of a codestream, before any of it is decoded: what is not of the object, would need much memory, or lost something.
//!
//! Written is what loses nothing: the same size, bits, signs and transform of colours, in one tile. Comments, which may be text, are left out.

mod arithmetic;
mod block;
mod encode;
mod head;
mod packet;
mod wavelet;

use std::borrow::Cow;

use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};

use super::codec::{Coded, Malformed};
use super::layout::{Layout, Mask};
use encode::Shape;
use head::Head;

/// A decoded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    shape: Shape,
    loss: Option<&'static str>,
    /// Pixel after pixel; what has a sign has it in the highest of 16 bits.
    samples: Vec<u16>,
}

impl Coded for Frame {
    fn decode(encoded: &[u8], layout: &Layout) -> Result<Frame, Malformed> {
        let Head { shape, loss } = Head::read(encoded, layout)?;
        let settings =
            DecodeSettings { resolve_palette_indices: false, strict: true, target_resolution: None };
        let wrong = |_| Malformed("the codestream of a frame cannot be decoded");
        let image = Image::new(encoded, &settings).map_err(wrong)?;
        let mut context = DecoderContext::default();
        let decoded = image.decode(&mut context).map_err(wrong)?;
        let planes = decoded.components();
        let pixels = shape.columns * shape.rows;
        if planes.len() != shape.components || planes.iter().any(|plane| plane.samples().len() != pixels) {
            return Err(Malformed("a frame has other components than its head says"));
        }
        let mut samples = vec![0; pixels * shape.components];
        for (component, plane) in planes.iter().enumerate() {
            let places = samples.iter_mut().skip(component).step_by(shape.components);
            places.zip(plane.samples()).for_each(|(sample, decoded)| *sample = shape.sample(*decoded));
        }
        Ok(Frame { shape, loss, samples })
    }

    fn obstacle(&self) -> Option<&'static str> {
        self.loss
    }

    fn cover(&mut self, layout: &Layout, mask: &Mask) {
        mask.cover(&mut self.samples, layout);
    }

    fn samples(&self) -> Cow<'_, [u16]> {
        Cow::Borrowed(&self.samples)
    }

    fn encode(&self) -> Option<Vec<u8>> {
        Some(encode::encode(self.shape, &self.samples))
    }
}

impl Shape {
    /// A sample that was decoded as if it had no sign, as large as it can be at most.
    fn sample(self, decoded: f32) -> u16 {
        let most = i32::from(u16::MAX >> (16 - self.precision));
        #[expect(
            clippy::cast_possible_truncation,
            reason = "what is too large becomes the largest number, which is cut off"
        )]
        let number = (decoded.round() as i32).clamp(0, most);
        let number = if self.signed { number - (1 << (self.precision - 1)) } else { number };
        let [.., high, low] = number.to_be_bytes();
        u16::from_be_bytes([high, low])
    }
}

#[cfg(test)]
impl Frame {
    pub(super) fn of_test(
        (precision, signed): (u8, bool),
        [rows, columns, components]: [usize; 3],
        samples: Vec<u16>,
    ) -> Frame {
        let turns_colours = components == 3;
        let shape = Shape { columns, rows, components, precision, signed, turns_colours };
        Frame { shape, loss: None, samples }
    }
}

#[cfg(test)]
pub(super) mod tests;
