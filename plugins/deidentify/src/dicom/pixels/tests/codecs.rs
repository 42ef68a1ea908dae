//! Frames that are compressed sample by sample: masked exactly, looked at, or refused.

use super::super::codec::Sampled;
use super::super::{jpeg_lossless, jpeg_ls};
use super::*;

/// How frames of 8 or 16 bits are made in a transfer syntax, and what of them are their samples.
struct Coded {
    syntax: &'static str,
    malformed: &'static str,
    encode: fn(Image, Vec<u16>) -> Vec<u8>,
    decode: fn(&[u8], &Layout) -> Vec<u16>,
}

fn size(image: Image) -> [usize; 3] {
    [image.rows, image.columns, image.samples].map(usize::from)
}

fn bits(image: Image) -> u8 {
    u8::try_from(image.bits).unwrap()
}

/// With a selection value that is not the one that is written.
fn jpeg_lossless(image: Image, samples: Vec<u16>) -> Vec<u8> {
    jpeg_lossless::Frame::of_test(bits(image), size(image), samples).encode_by(6)
}

fn jpeg_ls<const MODE: u8>(image: Image, samples: Vec<u16>) -> Vec<u8> {
    let mode = if image.samples == 1 { 0 } else { MODE };
    jpeg_ls::Frame::of_test(bits(image), size(image), mode, samples).encode()
}

fn samples<F: Sampled>(frame: &[u8], layout: &Layout) -> Vec<u16> {
    F::decode(frame, layout).ok().unwrap().samples().to_vec()
}

const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
const CODED: [Coded; 6] = [
    coded_lossless("1.2.840.10008.1.2.4.57"),
    coded_lossless("1.2.840.10008.1.2.4.70"),
    coded_ls(JPEG_LS, jpeg_ls::<0>),
    coded_ls(JPEG_LS, jpeg_ls::<1>),
    coded_ls(JPEG_LS, jpeg_ls::<2>),
    coded_ls("1.2.840.10008.1.2.4.81", jpeg_ls::<2>),
];

const fn coded_lossless(syntax: &'static str) -> Coded {
    let (malformed, encode) = ("malformed-jpeg-lossless", jpeg_lossless);
    Coded { syntax, malformed, encode, decode: samples::<jpeg_lossless::Frame> }
}

const fn coded_ls(syntax: &'static str, encode: fn(Image, Vec<u16>) -> Vec<u8>) -> Coded {
    Coded { syntax, malformed: "malformed-jpeg-ls", encode, decode: samples::<jpeg_ls::Frame> }
}

impl Coded {
    fn frames(&self, pixels: &[u8], image: Image) -> Vec<Vec<u8>> {
        let number = |sample: &[u8]| match sample {
            [low, high] => u16::from_le_bytes([*low, *high]),
            sample => sample[0].into(),
        };
        let frames = pixels.chunks_exact(image.octets() / image.frames as usize);
        let samples = |frame: &[u8]| frame.chunks(usize::from(image.bits / 8)).map(number).collect();
        frames.map(|frame| (self.encode)(image, samples(frame))).collect()
    }

    /// The pixels of frames, pixel after pixel.
    fn pixels(&self, frames: &[Vec<u8>], image: Image) -> Vec<u8> {
        let layout =
            Layout::of(&Facts::of_test(image.rows, image.columns, image.samples, image.bits)).unwrap();
        let samples = frames.iter().flat_map(|frame| (self.decode)(frame, &layout));
        samples.flat_map(|sample| sample.to_le_bytes()[..usize::from(image.bits / 8)].to_vec()).collect()
    }
}

#[test]
fn masks_are_exact_in_frames_of_every_codec() {
    for coded in CODED {
        for (bits, (samples, photometric)) in [8, 16].into_iter().flat_map(|bits| {
            [(1, "MONOCHROME2"), (3, "RGB"), (3, "YBR_FULL")].map(|photometric| (bits, photometric))
        }) {
            let image = Image { bits, samples, photometric, ..GREY };
            let mut pixels = image.noise();
            pixels.truncate(image.octets());
            let frames = coded.frames(&pixels, image);
            // Each frame in two fragments, as only a table can tell.
            let halves: Vec<&[u8]> = frames.iter().flat_map(|frame| [&frame[..20], &frame[20..]]).collect();
            let starts: Vec<u8> = frames
                .iter()
                .scan(0, |at, frame| {
                    let start = *at;
                    *at += u32::try_from(frame.len() + 16).unwrap();
                    Some(start.to_le_bytes())
                })
                .flatten()
                .collect();
            let all: Vec<&[u8]> = std::iter::once(&starts[..]).chain(halves).collect();
            let object = image.elements().fragments(&all).part_10(coded.syntax);
            let output = deidentify_as(&clean(), &object).unwrap();
            let expected = image.masked(&pixels, banner);
            assert_eq!(coded.pixels(&fragments(&output), image), expected, "{} {image:?}", coded.syntax);
            assert_eq!(text(&open(&output), 0x0028, 0x0301), "NO");
            let unmarked: Vec<&[u8]> = std::iter::once(&[][..]).chain(all[1..].iter().copied()).collect();
            let object = image.elements().fragments(&unmarked).part_10(coded.syntax);
            assert_eq!(refusal(&clean(), &object), coded.malformed);
        }
    }
}

#[test]
fn frames_of_every_codec_are_looked_at() {
    for coded in CODED {
        let frames = coded.frames(&SCREEN.written(|frame| frame == 2), SCREEN);
        let all: Vec<&[u8]> = std::iter::once(&[][..]).chain(frames.iter().map(Vec::as_slice)).collect();
        let object = |image: Image| image.elements().fragments(&all).part_10(coded.syntax);
        assert_eq!(refusal(&clean(), &object(SCREEN)), "text-in-pixels");
        assert!(deidentify_as(&clean(), &object(Image { model: "NAME", ..SCREEN })).is_ok());
    }
}

#[test]
fn what_was_compressed_with_loss_is_looked_at_but_not_masked() {
    // Made by CharLS: flat places and slopes, and what is off by up to 3.
    let image = Image { rows: 6, columns: 12, frames: 1, ..GREY };
    let frame = jpeg_ls::tests::GREY_8_NEAR_3;
    let object = |model| Image { model, said: "", ..image }.elements().fragments(&[&[], frame]);
    let near = |model| object(model).part_10("1.2.840.10008.1.2.4.81");
    assert_eq!(refusal(&clean(), &near("BANNER")), "pixels-not-maskable");
    let output = deidentify_as(&clean(), &near("NOTHING")).unwrap();
    assert_eq!(fragments(&output), [frame]);
}

#[test]
fn a_fill_that_a_frame_has_no_bits_for_is_refused() {
    // No colour is 128, and the frame has samples of seven bits.
    let image = Image { photometric: "YBR_FULL", frames: 1, ..COLOUR };
    for coded in CODED {
        let pixels = vec![1; image.octets()];
        let frames = coded.frames(&pixels, Image { bits: 8, ..image });
        assert!(
            deidentify_as(&clean(), &image.elements().fragments(&[&[], &frames[0]]).part_10(coded.syntax))
                .is_ok()
        );
        let seven = (coded.encode)(Image { bits: 7, ..image }, vec![1; image.octets()]);
        let object = image.elements().fragments(&[&[], &seven]).part_10(coded.syntax);
        assert_eq!(refusal(&clean(), &object), "pixels-not-maskable");
    }
}

#[test]
fn other_compressions_are_named() {
    for (suffix, name) in [("4.50", "JPEG Baseline"), ("4.90", "JPEG 2000 Lossless"), ("4.201", "HTJ2K")] {
        let object =
            GREY.elements().fragments(&[&[], &[1; 8]]).part_10(&format!("1.2.840.10008.1.2.{suffix}"));
        let refusal = deidentify_as(&clean(), &object).unwrap_err();
        assert!(refusal.code == "pixels-not-maskable" && refusal.reason.contains(name), "{refusal}");
    }
}
