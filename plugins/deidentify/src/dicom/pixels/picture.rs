//! A frame as shades of grey, for the eyes of a program: what is bright is large, and colours do not matter.

use super::layout::{Layout, Mask, Samples};
use super::rle::{self, Malformed};

/// Pixels of a picture, which is held in memory.
const PIXELS_MAX: usize = 4 << 20;

/// Shades of grey, row after row.
pub(super) struct Picture {
    pub(super) columns: u32,
    pub(super) shades: Vec<u8>,
}

impl Picture {
    /// How many octets of a frame that is not compressed make a picture.
    ///
    /// # Errors
    /// What stands against one.
    pub(super) fn octets(layout: &Layout) -> Result<usize, &'static str> {
        let pixels = layout.plane_octets().filter(|pixels| *pixels <= PIXELS_MAX);
        pixels.ok_or("a frame has more pixels than are looked at")?;
        if layout.bits_allocated == 32 {
            return Err("samples of 32 bits are not looked at");
        }
        let bits = layout.frame_bits();
        if !bits.is_multiple_of(8) {
            return Err("frames that begin within an octet are not looked at");
        }
        usize::try_from(bits / 8).map_err(|_| "a frame has more pixels than are looked at")
    }

    /// The picture of a frame that is not compressed.
    pub(super) fn of_native(frame: &[u8], layout: &Layout, big_endian: bool) -> Picture {
        let octets = (layout.bits_allocated / 8) as usize;
        let number = |sample: &[u8]| match (sample, big_endian) {
            ([high, low], true) | ([low, high], false) => u16::from_be_bytes([*high, *low]),
            (sample, _) => sample.first().copied().unwrap_or(0).into(),
        };
        let brightest = |pixel: &[u8]| pixel.chunks_exact(octets).map(number).max().unwrap_or(0);
        let values: Vec<u16> = match layout.samples {
            Samples::One if octets == 0 => {
                let bits = |octet: &u8| (0..8).map(|bit| u16::from(*octet >> bit & 1)).collect::<Vec<_>>();
                frame.iter().flat_map(bits).collect()
            }
            Samples::One => frame.chunks_exact(octets).map(number).collect(),
            Samples::Pairs => {
                frame.chunks_exact(4).flat_map(|pair| [pair[0].into(), pair[1].into()]).collect()
            }
            Samples::Interleaved if layout.has_chroma() => {
                frame.chunks_exact(3 * octets).map(|pixel| number(&pixel[..octets])).collect()
            }
            Samples::Interleaved => frame.chunks_exact(3 * octets).map(brightest).collect(),
            Samples::Planes => {
                let mut planes = frame.chunks_exact(frame.len() / 3);
                let values = |plane: Option<&[u8]>| -> Vec<u16> {
                    plane.unwrap_or_default().chunks_exact(octets).map(number).collect()
                };
                let mut brightest = values(planes.next());
                for plane in planes.filter(|_| !layout.has_chroma()) {
                    let plane = values(Some(plane));
                    brightest.iter_mut().zip(plane).for_each(|(most, value)| *most = value.max(*most));
                }
                brightest
            }
        };
        Picture::of(values, layout)
    }

    /// The picture of a frame in RLE Lossless.
    ///
    /// # Errors
    /// Where the frame is not what its layout says.
    pub(super) fn of_rle(frame: &[u8], layout: &Layout) -> Result<Picture, Malformed> {
        let pixels = layout.plane_octets().filter(|pixels| *pixels <= PIXELS_MAX);
        let pixels = pixels.ok_or(Malformed("a frame has more pixels than are looked at"))?;
        let octets = (layout.bits_allocated / 8) as usize;
        let segments = rle::segments(frame, layout.segment_fills().len())?;
        let mut values = vec![0u16; pixels];
        for sample in segments.chunks(octets).take(if layout.has_chroma() { 1 } else { 3 }) {
            let high = rle::decode(sample[0], pixels)?;
            let low = sample.get(1).map(|low| rle::decode(low, pixels)).transpose()?;
            for (pixel, most) in values.iter_mut().enumerate() {
                let high = u16::from(high[pixel]);
                let value = low.as_ref().map_or(high, |low| high << 8 | u16::from(low[pixel]));
                *most = value.max(*most);
            }
        }
        Ok(Picture::of(values, layout))
    }

    /// The picture of samples, pixel after pixel.
    pub(super) fn of_samples(samples: &[u16], layout: &Layout) -> Picture {
        let pixels = samples.chunks_exact(layout.sample_fills().len());
        let values = if layout.has_chroma() {
            pixels.map(|pixel| pixel[0]).collect()
        } else {
            pixels.map(|pixel| pixel.iter().copied().max().unwrap_or(0)).collect()
        };
        Picture::of(values, layout)
    }

    /// Makes what a mask covers dark.
    pub(super) fn cover(&mut self, mask: &Mask) {
        for range in mask.ranges(self.columns) {
            self.shades[range].fill(0);
        }
    }

    /// Stretches values to all shades that there are.
    fn of(mut values: Vec<u16>, layout: &Layout) -> Picture {
        // The sign is the highest bit: turned over, numbers are in order.
        let (signed, kept) = layout.sign_and_bits();
        values.iter_mut().for_each(|value| *value = (*value & kept) ^ signed);
        let least = values.iter().copied().min().unwrap_or(0);
        let range = u32::from(values.iter().copied().max().unwrap_or(0) - least).max(1);
        let shade = |value: u16| u8::try_from(u32::from(value - least) * 255 / range).unwrap_or(u8::MAX);
        Picture { columns: layout.columns, shades: values.into_iter().map(shade).collect() }
    }
}
