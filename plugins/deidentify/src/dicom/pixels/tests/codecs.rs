//! Frames that are compressed sample by sample: masked exactly, looked at, or refused.

use super::super::codec::Coded;
use super::super::{jpeg, jpeg_2000, jpeg_lossless, jpeg_ls};
use super::*;
use hilum_formats::dicom::build::JPEG;

/// How frames of 8 or 16 bits are made in a transfer syntax, and what of them are their samples.
struct Made {
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
    jpeg_ls::Frame::of_test(bits(image), size(image), mode, samples).encode().unwrap()
}

fn samples<F: Coded>(frame: &[u8], layout: &Layout) -> Vec<u16> {
    F::decode(frame, layout).ok().unwrap().samples().into_owned()
}

fn jpeg_2000(image: Image, samples: Vec<u16>) -> Vec<u8> {
    jpeg_2000::Frame::of_test((bits(image), false), size(image), samples).encode().unwrap()
}

const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";
const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
const MADE: [Made; 7] = [
    coded_lossless("1.2.840.10008.1.2.4.57"),
    coded_lossless("1.2.840.10008.1.2.4.70"),
    coded_ls(JPEG_LS, jpeg_ls::<0>),
    coded_ls(JPEG_LS, jpeg_ls::<1>),
    coded_ls(JPEG_LS, jpeg_ls::<2>),
    coded_ls("1.2.840.10008.1.2.4.81", jpeg_ls::<2>),
    Made {
        syntax: JPEG_2000,
        malformed: "malformed-jpeg-2000",
        encode: jpeg_2000,
        decode: samples::<jpeg_2000::Frame>,
    },
];

const fn coded_lossless(syntax: &'static str) -> Made {
    let (malformed, encode) = ("malformed-jpeg-lossless", jpeg_lossless);
    Made { syntax, malformed, encode, decode: samples::<jpeg_lossless::Frame> }
}

const fn coded_ls(syntax: &'static str, encode: fn(Image, Vec<u16>) -> Vec<u8>) -> Made {
    Made { syntax, malformed: "malformed-jpeg-ls", encode, decode: samples::<jpeg_ls::Frame> }
}

impl Made {
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
    for coded in MADE {
        for (bits, (samples, photometric)) in [8, 16].into_iter().flat_map(|bits| {
            [(1, "MONOCHROME2"), (3, "RGB"), (3, "YBR_FULL")].map(|photometric| (bits, photometric))
        }) {
            let image = Image { bits, samples, photometric, ..GREY };
            let mut pixels = image.noise();
            pixels.truncate(image.octets());
            let frames = coded.frames(&pixels, image);
            // Each frame in two fragments, as only a table can tell.
            let halves: Vec<&[u8]> = frames.iter().flat_map(|frame| [&frame[..30], &frame[30..]]).collect();
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
    for coded in MADE {
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
fn jpeg_2000_that_may_have_lost_something_is_looked_at_but_not_masked() {
    // Made by OpenJPEG.
    let [whole, lossy] = [jpeg_2000::tests::GREY_8, jpeg_2000::tests::GREY_8_LOSSY]
        .map(|frame| [frame, &[0][..frame.len() % 2]].concat());
    let image = Image { rows: 33, columns: 36, frames: 1, said: "", ..GREY };
    let object = |model, frame: &[u8]| Image { model, ..image }.elements().fragments(&[&[], frame]);
    assert!(deidentify_as(&clean(), &object("BANNER", &whole).part_10(JPEG_2000)).is_ok());
    assert_eq!(refusal(&clean(), &object("BANNER", &lossy).part_10(JPEG_2000)), "pixels-not-maskable");
    for frame in [whole, lossy] {
        let general = |model| object(model, &frame).part_10("1.2.840.10008.1.2.4.91");
        assert_eq!(refusal(&clean(), &general("BANNER")), "pixels-not-maskable");
        let output = deidentify_as(&clean(), &general("NOTHING")).unwrap();
        assert!(!crate::dicom::tests::contains(&output, "OpenJPEG"));
    }
}

#[test]
fn colours_stay_as_jpeg_2000_turns_them() {
    let image = Image { photometric: "YBR_RCT", frames: 1, ..COLOUR };
    let mut pixels = image.noise();
    pixels.truncate(image.octets());
    let frame = jpeg_2000(image, pixels.iter().map(|octet| u16::from(*octet)).collect());
    let object = |syntax| image.elements().fragments(&[&[], &frame]).part_10(syntax);
    let output = deidentify_as(&clean(), &object(JPEG_2000)).unwrap();
    assert_eq!(text(&open(&output), 0x0028, 0x0004), "YBR_RCT");
    let layout = Layout::of(&Facts::of_test(image.rows, image.columns, 3, 8)).unwrap();
    let samples = samples::<jpeg_2000::Frame>(&fragments(&output)[0], &layout);
    let expected = Image { photometric: "RGB", ..image }.masked(&pixels, banner);
    assert!(samples.iter().copied().eq(expected.into_iter().map(u16::from)));
    // In nothing else there is such an interpretation.
    assert_eq!(refusal(&clean(), &object(JPEG_LS)), "pixels-not-maskable");
    assert_eq!(refusal(&clean(), &image.object(&pixels, "OB", EXPLICIT)), "pixels-not-maskable");
}

#[test]
fn baseline_jpeg_is_masked_by_whole_blocks_and_looked_at() {
    // Made by libjpeg-turbo: 44 pixels by 27, with colours that are half as fine.
    let frame = [jpeg::tests::HALVES_FRAME, &[0][..jpeg::tests::HALVES_FRAME.len() % 2]].concat();
    let image = Image { rows: 27, columns: 44, frames: 1, photometric: "YBR_FULL_422", ..COLOUR };
    let object = |image: Image| image.elements().fragments(&[&[], &frame]).part_10(JPEG);
    let output = deidentify_as(&clean(), &object(image)).unwrap();
    assert!(!crate::dicom::tests::contains(&output, "Jane"));
    assert_eq!(text(&open(&output), 0x0028, 0x0301), "NO");
    let layout =
        Layout::of(&Facts { photometric: b"YBR_FULL".to_vec(), ..Facts::of_test(27, 44, 3, 8) }).unwrap();
    let before = samples::<jpeg::Frame>(&frame, &layout);
    let after = samples::<jpeg::Frame>(&fragments(&output)[0], &layout);
    for (at, (before, after)) in before.chunks(3).zip(after.chunks(3)).enumerate() {
        assert_eq!(after[0], if at / 44 < 16 { 0 } else { before[0] }, "{at}");
    }
    let looked_at = Image { model: "NOTHING", said: "", ..image };
    assert!(deidentify_as(&clean(), &object(looked_at)).is_ok());
    assert_eq!(refusal(&clean(), &object(Image { rows: 28, ..image })), "malformed-jpeg");
}

#[test]
fn frames_that_cannot_be_looked_at_go_on_where_only_readable_ones_are_to_be() {
    let readable = Config { text_detector: TextDetector::Readable, ..clean() };
    for made in MADE {
        let mut frames = made.frames(&SCREEN.written(|_| true), SCREEN);
        for frame in &mut frames {
            let end = frame.len() - 40;
            frame.drain(end..end + 20);
        }
        let all: Vec<&[u8]> = std::iter::once(&[][..]).chain(frames.iter().map(Vec::as_slice)).collect();
        let object = SCREEN.elements().fragments(&all).part_10(made.syntax);
        assert_eq!(refusal(&clean(), &object), made.malformed);
        assert!(deidentify_as(&readable, &object).is_ok());
    }
}

#[test]
fn a_fill_that_a_frame_has_no_bits_for_is_refused() {
    // No colour is 128, and the frame has samples of seven bits.
    let image = Image { photometric: "YBR_FULL", frames: 1, ..COLOUR };
    for coded in MADE {
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
    for (suffix, name) in [("4.51", "JPEG Extended"), ("4.110", "JPEG XL"), ("4.201", "HTJ2K")] {
        let object =
            GREY.elements().fragments(&[&[], &[1; 8]]).part_10(&format!("1.2.840.10008.1.2.{suffix}"));
        let refusal = deidentify_as(&clean(), &object).unwrap_err();
        assert!(refusal.code == "pixels-not-maskable" && refusal.reason.contains(name), "{refusal}");
    }
}
