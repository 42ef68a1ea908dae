//! Whole images: every sample in a rectangle is the fill, every other one is as it was, and an object says it.

use dicom_object::Tag;
use hilum_formats::dicom::Encoding;
use hilum_formats::dicom::build::{
    self, BIG_ENDIAN, DEFLATED, EXPLICIT, Elements, Ends, IMPLICIT, SOP_CLASS,
};

use super::{Facts, Layout};
use crate::dicom::tests::{deidentify_as, has, open, text, with_options};
use crate::dicom::{MemoryPipe, Pipe, Profile, ProfileOption, rewrite};
use crate::pseudonym::tests::TestKeys;
use crate::{BurnedInAnnotation, Config, RecognizableFaces, TextDetector};

mod codecs;
mod doubt;

pub(super) const RULES: &str = "# Hilum pixel rules\nmanufacturer\tmodel\taction\n\
    ACME\tBANNER\tmask 0,0,*,2 1,1,3,3\n\
    ACME\tCORNER\tmask 5,3,*,*\n\
    ACME\tLARGE\tmask 0,0,*,40 600,40,40,100\n\
    ACME\tELSEWHERE\tmask 1000,0,1,1\n\
    ACME\tNOTHING\tclean\n\
    ACME\tSETTINGS\tclean known 1,1,31,9\n\
    ACME\tNAME\tmask 1,1,31,9\n\
    ACME\tDOUBT\tquarantine\n";
const JPEG_EXTENDED: &str = "1.2.840.10008.1.2.4.51";
pub(super) const RLE_LOSSLESS: &str = "1.2.840.10008.1.2.5";
const LITTLE: Encoding = Encoding::EXPLICIT_LITTLE;

/// A small image, as its object says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Image {
    pub(super) encoding: Encoding,
    pub(super) model: &'static str,
    pub(super) modality: &'static str,
    pub(super) rows: u16,
    pub(super) columns: u16,
    pub(super) frames: u32,
    pub(super) samples: u16,
    pub(super) photometric: &'static str,
    pub(super) planar: u16,
    pub(super) bits: u16,
    pub(super) said: &'static str,
}

pub(super) const GREY: Image = Image {
    encoding: LITTLE,
    model: "BANNER",
    modality: "US",
    rows: 5,
    columns: 7,
    frames: 3,
    samples: 1,
    photometric: "MONOCHROME2",
    planar: 0,
    bits: 8,
    said: "YES",
};
pub(super) const COLOUR: Image = Image { samples: 3, photometric: "RGB", ..GREY };

impl Image {
    /// All that comes before the pixels.
    pub(super) fn elements(self) -> Elements {
        let short = |value: u16| {
            if self.encoding.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
        };
        let elements = Elements::new(self.encoding)
            .text(0x0008_0008, "CS", "ORIGINAL\\PRIMARY")
            .text(0x0008_0016, "UI", SOP_CLASS)
            .text(0x0008_0018, "UI", build::SOP_INSTANCE)
            .text(0x0008_0060, "CS", self.modality)
            .text(0x0008_0070, "LO", "ACME")
            .text(0x0008_1090, "LO", self.model)
            .text(0x0010_0010, "PN", "DOE^JANE")
            .text(0x0010_0020, "LO", "4711")
            .text(0x0018_0015, "CS", "KNEE")
            .value(0x0028_0002, "US", &short(self.samples))
            .text(0x0028_0004, "CS", self.photometric)
            .value(0x0028_0006, "US", &short(self.planar))
            .text(0x0028_0008, "IS", &self.frames.to_string())
            .value(0x0028_0010, "US", &short(self.rows))
            .value(0x0028_0011, "US", &short(self.columns))
            .value(0x0028_0100, "US", &short(self.bits))
            .value(0x0028_0101, "US", &short(self.bits));
        match self.said {
            "" => elements,
            said => elements.text(0x0028_0301, "CS", said),
        }
    }

    fn object(self, pixels: &[u8], vr: &str, syntax: &str) -> Vec<u8> {
        self.elements().value(0x7FE0_0010, vr, pixels).part_10(syntax)
    }

    /// How many octets the pixels are, before they are padded.
    pub(super) fn octets(self) -> usize {
        let pixels = usize::from(self.rows) * usize::from(self.columns) * self.frames as usize;
        let bits = match self.photometric {
            "YBR_FULL_422" => 16,
            _ => usize::from(self.samples) * usize::from(self.bits),
        };
        (pixels * bits).div_ceil(8)
    }

    /// Pixels that do not look like a fill, padded.
    pub(super) fn noise(self) -> Vec<u8> {
        let mut state = 12345u32;
        let mut octets: Vec<u8> = (0..self.octets())
            .map(|_| {
                state = state.wrapping_mul(1_103_515_245).wrapping_add(12345);
                state.to_be_bytes()[1] | 1
            })
            .collect();
        octets.resize(octets.len().next_multiple_of(2), 0);
        octets
    }

    /// The pixels with every covered sample replaced, one by one, where the standard says that it is.
    pub(super) fn masked(self, pixels: &[u8], covers: impl Fn(u32, u32) -> bool) -> Vec<u8> {
        let mut masked = pixels.to_vec();
        let (rows, columns) = (u32::from(self.rows), u32::from(self.columns));
        let octets = usize::from(self.bits / 8);
        for frame in 0..self.frames {
            for row in 0..rows {
                for column in (0..columns).filter(|column| covers(row, *column)) {
                    let pixel = (row * columns + column) as usize;
                    let first = frame as usize * (rows * columns) as usize;
                    if self.bits == 1 {
                        masked[(first + pixel) / 8] &= !(1 << ((first + pixel) % 8));
                        continue;
                    }
                    if self.photometric == "YBR_FULL_422" {
                        let at = (first + pixel) * 2;
                        let (luma, chroma) = (at - pixel % 2, at / 4 * 4 + 2);
                        masked[luma] = 0;
                        masked[chroma..chroma + 2].fill(128);
                        continue;
                    }
                    for sample in 0..usize::from(self.samples) {
                        let at = match self.planar {
                            0 => (first + pixel) * usize::from(self.samples) + sample,
                            _ => first * 3 + sample * (rows * columns) as usize + pixel,
                        };
                        let is_chroma = self.photometric == "YBR_FULL" && sample > 0;
                        let mut value = vec![0; octets];
                        if is_chroma {
                            let most = if self.encoding.big_endian { 0 } else { octets - 1 };
                            value[most] = 0x80;
                        }
                        masked[at * octets..][..octets].copy_from_slice(&value);
                    }
                }
            }
        }
        masked
    }
}

fn banner(row: u32, column: u32) -> bool {
    row < 2 || (1..4).contains(&row) && (1..4).contains(&column)
}

pub(super) fn clean() -> Config {
    Config { pixel_rules: Some(RULES.to_owned()), ..with_options(&[ProfileOption::CleanPixelData]) }
}

/// The value of Pixel Data, which is the last element, of an output.
fn pixels_of(output: &[u8], octets: usize) -> &[u8] {
    &output[output.len() - octets..]
}

fn refusal(config: &Config, object: &[u8]) -> &'static str {
    let refusal = deidentify_as(config, object).unwrap_err();
    assert!(!refusal.reason.contains("ACME") && !refusal.reason.contains("DOE"), "{refusal}");
    refusal.code
}

#[test]
fn masks_are_exact_in_every_layout() {
    let mut layouts = Vec::new();
    for bits in [1, 8, 16, 32] {
        for photometric in ["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"] {
            layouts.push(Image { bits, photometric, ..GREY });
        }
    }
    for bits in [8, 16, 32] {
        for planar in [0, 1] {
            for photometric in ["RGB", "YBR_FULL"] {
                layouts.push(Image { bits, planar, photometric, ..COLOUR });
            }
        }
    }
    for columns in [7, 8, 9, 16] {
        layouts.push(Image { bits: 1, columns, ..GREY });
    }
    layouts.push(Image { photometric: "YBR_FULL_422", columns: 8, ..COLOUR });
    for layout in layouts {
        for (syntax, encoding) in build::ENCODINGS {
            let image = Image { encoding, modality: "MR", ..layout };
            let pixels = image.noise();
            let vr = if image.bits <= 8 { "OB" } else { "OW" };
            let output = deidentify_as(&clean(), &image.object(&pixels, vr, syntax));
            let output = output.unwrap_or_else(|refusal| panic!("{image:?}: {refusal}"));
            let widened = |row, column| match image.photometric {
                "YBR_FULL_422" => banner(row, column / 2 * 2) || banner(row, column / 2 * 2 + 1),
                _ => banner(row, column),
            };
            let expected = image.masked(&pixels, widened);
            assert_eq!(pixels_of(&output, pixels.len()), expected, "{image:?}");
            assert_ne!(expected, pixels, "{image:?}");
        }
    }
}

#[test]
fn an_image_says_that_its_pixels_were_cleaned() {
    for (syntax, encoding) in build::ENCODINGS {
        for said in ["YES", "NO", ""] {
            let image = Image { encoding, said, ..GREY };
            let output = deidentify_as(&clean(), &image.object(&image.noise(), "OB", syntax)).unwrap();
            let object = open(&output);
            let codes = object.element(Tag(0x0012, 0x0064)).unwrap().items().unwrap();
            let codes: Vec<_> = codes
                .iter()
                .map(|item| item.element(Tag(0x0008, 0x0100)).unwrap().to_str().unwrap())
                .collect();
            assert_eq!(codes, ["113100", "113101"]);
            assert_eq!(text(&object, 0x0028, 0x0301), "NO");
            assert!(!has(&object, 0x0028, 0x0302));
            let tags: Vec<Tag> = object.iter().map(|element| element.header().tag).collect();
            assert!(tags.is_sorted(), "{tags:?}");
        }
    }
}

#[test]
fn an_object_without_pixels_claims_nothing_about_them() {
    let report = |elements: Elements| {
        let config = with_options(&ProfileOption::ALL[..2]);
        open(&deidentify_as(&config, &elements.part_10(EXPLICIT)).unwrap())
    };
    for elements in [
        Elements::image(LITTLE),
        Elements::image(LITTLE).text(0x0010_0010, "PN", "DOE").text(0x0018_0015, "CS", "HEAD"),
        Elements::image(LITTLE).text(0x0020_4000, "LT", "DOE").text(0x0040_0254, "LO", "DOE"),
    ] {
        let object = report(elements);
        let codes = object.element(Tag(0x0012, 0x0064)).unwrap().items().unwrap();
        assert_eq!(codes.len(), 1);
        assert!(!has(&object, 0x0028, 0x0301) && !has(&object, 0x0028, 0x0302));
        assert!(has(&object, 0x0028, 0x0303));
    }
}

#[test]
fn what_comes_between_the_codes_and_the_rows_is_held_but_not_any_number_of_octets() {
    let item = Elements::new(LITTLE).value(0x0018_6016, "UL", &[0; 4]);
    for (count, expected) in [(1000, None), (200_000, Some("too-large"))] {
        let mut elements =
            Elements::image(LITTLE).sequence(0x0018_6011, &vec![item.clone(); count], Ends::Length);
        let after = Elements::new(LITTLE)
            .value(0x0028_0010, "US", &[1, 0])
            .text(0x0028_0301, "CS", "NO")
            .value(0x7FE0_0010, "OW", &[1, 2]);
        elements.octets.extend_from_slice(&after.octets);
        let output = deidentify_as(&clean(), &elements.part_10(EXPLICIT));
        assert_eq!(output.err().map(|refusal| refusal.code), expected);
    }
}

#[test]
fn words_of_big_endian_are_not_divided() {
    let encoding = Encoding::EXPLICIT_BIG;
    let image = Image { encoding, columns: 8, frames: 2, rows: 4, ..GREY };
    let pixels = image.noise();
    let object = |image: Image| image.object(&pixels, "OW", BIG_ENDIAN);
    assert_eq!(refusal(&clean(), &object(image)), "pixels-not-maskable");
    let rules = "# Hilum pixel rules\naction\nmask 2,1,4,2\n".to_owned();
    let config = Config { pixel_rules: Some(rules), ..clean() };
    let output = deidentify_as(&config, &object(image)).unwrap();
    let expected = image.masked(&pixels, |row, column| (1..3).contains(&row) && (2..6).contains(&column));
    assert_eq!(pixels_of(&output, pixels.len()), expected);
}

#[test]
fn what_cannot_be_masked_exactly_is_refused() {
    let pixels = GREY.noise();
    let overlay = |bit: u8| GREY.elements().value(0x6000_0102, "US", &[bit, 0]);
    let with_pixels = |elements: Elements| elements.value(0x7FE0_0010, "OB", &pixels).part_10(EXPLICIT);
    assert!(deidentify_as(&clean(), &with_pixels(overlay(0))).is_ok());
    assert_eq!(refusal(&clean(), &with_pixels(overlay(15))), "pixels-not-cleaned");
    let compressed =
        GREY.elements().fragments(&[&[], b"\xFF\xD8\xFF\xDA\x01\x01\x01\x01"]).part_10(JPEG_EXTENDED);
    assert_eq!(refusal(&clean(), &compressed), "pixels-not-maskable");
    let reason = deidentify_as(&clean(), &compressed).unwrap_err().reason;
    assert!(reason.contains("JPEG Extended"), "{reason}");
    let float = GREY.elements().value(0x7FE0_0008, "OF", &[0; 420]).part_10(EXPLICIT);
    assert_eq!(refusal(&clean(), &float), "pixels-not-maskable");
    let ycbcr = Image { photometric: "YBR_PARTIAL_422", ..COLOUR };
    assert_eq!(refusal(&clean(), &ycbcr.object(&ycbcr.noise(), "OB", EXPLICIT)), "pixels-not-maskable");
    let rowless = Elements::image(LITTLE).text(0x0028_0301, "CS", "NO");
    assert_eq!(refusal(&clean(), &with_pixels(rowless)), "pixels-not-cleaned");
    let within = Elements::new(LITTLE).value(0x7FE0_0010, "OB", &[0; 2]);
    let nested = Elements::image(LITTLE).sequence(0x0040_0260, &[within], Ends::Length).part_10(EXPLICIT);
    assert_eq!(refusal(&clean(), &nested), "pixels-not-cleaned");
}

#[test]
fn deflated_pixels_are_masked_too() {
    let pixels = GREY.noise();
    let data_set = GREY.elements().value(0x7FE0_0010, "OB", &pixels).octets;
    let deflated = miniz_oxide::deflate::compress_to_vec(&data_set, 6);
    let output = deidentify_as(&clean(), &build::part_10(DEFLATED, SOP_CLASS, &deflated)).unwrap();
    assert_eq!(pixels_of(&output, pixels.len()), GREY.masked(&pixels, banner));
}

/// An independent encoder: each octet as it is, 128 at a time.
fn rle(pixels: &[u8], image: Image) -> Vec<Vec<u8>> {
    let octets = usize::from(image.bits / 8);
    let plane = usize::from(image.rows) * usize::from(image.columns);
    let samples = usize::from(image.samples);
    let frame = |frame: &[u8]| {
        let segments: Vec<Vec<u8>> = (0..samples * octets)
            .map(|segment| {
                let (sample, octet) = (segment / octets, octets - 1 - segment % octets);
                let octets: Vec<u8> =
                    (0..plane).map(|pixel| frame[(pixel * samples + sample) * octets + octet]).collect();
                let mut encoded = Vec::new();
                for literal in octets.chunks(128) {
                    encoded.push(u8::try_from(literal.len() - 1).unwrap());
                    encoded.extend_from_slice(literal);
                }
                encoded.resize(encoded.len().next_multiple_of(2), 0);
                encoded
            })
            .collect();
        let mut encoded = vec![0; 64];
        encoded[0] = u8::try_from(segments.len()).unwrap();
        for (segment, octets) in segments.iter().enumerate() {
            let at = u32::try_from(encoded.len()).unwrap();
            encoded[4 + 4 * segment..][..4].copy_from_slice(&at.to_le_bytes());
            encoded.extend_from_slice(octets);
        }
        encoded
    };
    pixels.chunks_exact(plane * samples * octets).map(frame).collect()
}

/// The pixels of frames in RLE Lossless, pixel after pixel, by the decoder of this module's own tests.
fn unrle(frames: &[&[u8]], image: Image) -> Vec<u8> {
    let octets = usize::from(image.bits / 8);
    let plane = usize::from(image.rows) * usize::from(image.columns);
    let count = usize::from(image.samples) * octets;
    let mut pixels = Vec::new();
    for frame in frames {
        let segments: Vec<Vec<u8>> = super::rle::segments(frame, count)
            .unwrap()
            .into_iter()
            .map(|segment| super::rle::decode(segment, plane).unwrap())
            .collect();
        for pixel in 0..plane {
            for sample in segments.chunks(octets) {
                pixels.extend(sample.iter().rev().map(|octets| octets[pixel]));
            }
        }
    }
    pixels
}

/// The fragments of encapsulated pixel data, with the offset table.
fn fragments(output: &[u8]) -> Vec<Vec<u8>> {
    let object = open(output);
    let pixels = object.element(Tag(0x7FE0, 0x0010)).unwrap().fragments().unwrap().to_vec();
    let start = output.windows(4).rposition(|window| window == [0xE0, 0x7F, 0x10, 0x00]).unwrap();
    let table = u32::from_le_bytes(output[start + 16..start + 20].try_into().unwrap());
    assert_eq!(table, 0, "the offset table is empty");
    pixels
}

#[test]
fn masks_are_exact_in_rle_frames() {
    for bits in [8, 16, 32] {
        for (samples, photometric) in [(1, "MONOCHROME2"), (1, "PALETTE COLOR"), (3, "RGB"), (3, "YBR_FULL")]
        {
            let image = Image { bits, samples, photometric, modality: "MR", ..GREY };
            let mut pixels = image.noise();
            pixels.truncate(image.octets());
            let frames = rle(&pixels, image);
            let step = u32::try_from(frames[0].len() + 8).unwrap();
            let offsets: Vec<u8> = (0..3).flat_map(|frame| (frame * step).to_le_bytes()).collect();
            let lengths: Vec<u8> =
                frames.iter().flat_map(|frame| (frame.len() as u64).to_le_bytes()).collect();
            let wide: Vec<u8> = (0..3).flat_map(|frame| (frame * u64::from(step)).to_le_bytes()).collect();
            for (table, extended) in [(&[][..], false), (&offsets, false), (&[], true)] {
                let mut elements = image.elements();
                if extended {
                    elements = elements.value(0x7FE0_0001, "OV", &wide).value(0x7FE0_0002, "OV", &lengths);
                }
                let all: Vec<&[u8]> =
                    std::iter::once(table).chain(frames.iter().map(Vec::as_slice)).collect();
                let output =
                    deidentify_as(&clean(), &elements.fragments(&all).part_10(RLE_LOSSLESS)).unwrap();
                let made = fragments(&output);
                let made: Vec<&[u8]> = made.iter().map(Vec::as_slice).collect();
                assert_eq!(unrle(&made, image), image.masked(&pixels, banner), "{image:?}");
                assert!(!has(&open(&output), 0x7FE0, 0x0001) && !has(&open(&output), 0x7FE0, 0x0002));
                assert_eq!(text(&open(&output), 0x0028, 0x0301), "NO");
            }
        }
    }
}

#[test]
fn rle_frames_that_are_not_what_they_should_be_are_refused() {
    let mut pixels = GREY.noise();
    pixels.truncate(GREY.octets());
    let frames = rle(&pixels, GREY);
    let [a, b, c] = [0, 1, 2].map(|frame| frames[frame].as_slice());
    let step = u32::try_from(a.len() + 8).unwrap();
    let table = |offsets: [u32; 3]| offsets.map(u32::to_le_bytes).concat();
    let right = table([0, step, 2 * step]);
    let code = |elements: Elements, fragments: &[&[u8]]| {
        refusal(&clean(), &elements.fragments(fragments).part_10(RLE_LOSSLESS))
    };
    let plain = || GREY.elements();
    assert!(deidentify_as(&clean(), &plain().fragments(&[&right, a, b, c]).part_10(RLE_LOSSLESS)).is_ok());
    for (elements, fragments, expected) in [
        (plain(), &[&right, a, b][..], "malformed-fragments"),
        (plain(), &[&[], a, b, c, a], "malformed-fragments"),
        (plain(), &[], "malformed-fragments"),
        (plain(), &[&right[..4], a, b, c], "malformed-fragments"),
        (plain(), &[&right[..10], a, b, c], "malformed-fragments"),
        (plain(), &[&table([0, step + 2, 2 * step]), a, b, c], "malformed-fragments"),
        (plain(), &[&[], &a[..a.len() / 4 * 2], b, c], "malformed-rle"),
        (plain(), &[&[], &a[..60], b, c], "malformed-rle"),
        (plain().value(0x7FE0_0001, "OV", &[0; 24]), &[&[], a, b, c], "malformed-fragments"),
        (plain().value(0x7FE0_0001, "OV", &[0; 23]), &[&[], a, b, c], "malformed-fragments"),
        (
            plain().value(0x7FE0_0001, "OV", &[0; 24]).value(0x7FE0_0002, "OV", &[0; 24]),
            &[&right, a, b, c],
            "malformed-fragments",
        ),
        (
            plain().value(0x7FE0_0001, "OV", &[0; 24]).value(0x7FE0_0002, "OV", &[0; 24]),
            &[&[], a, b, c],
            "malformed-fragments",
        ),
    ] {
        assert_eq!(code(elements, fragments), expected);
    }
    let large = Image { modality: "MR", rows: 4096, columns: 4096, frames: 1, ..GREY };
    let object = large.elements().fragments(&[&[], a]).part_10(RLE_LOSSLESS);
    assert_eq!(refusal(&clean(), &object), "malformed-rle");
}

/// A pipe that counts what it is asked to read.
struct Counted<'a>(MemoryPipe<'a>, u64);

impl Pipe for Counted<'_> {
    fn read(&mut self, into: &mut Vec<u8>, max: usize) -> Result<usize, hilum_formats::dicom::Error> {
        let read = self.0.read(into, max)?;
        self.1 += read as u64;
        Ok(read)
    }

    fn skip(&mut self, n: u64) -> Result<u64, hilum_formats::dicom::Error> {
        self.0.skip(n)
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), hilum_formats::dicom::Error> {
        self.0.write(octets)
    }

    fn forward(&mut self, n: u64) -> Result<u64, hilum_formats::dicom::Error> {
        self.0.forward(n)
    }
}

#[test]
fn of_a_large_image_only_what_is_near_a_rectangle_is_read() {
    let encoding = Encoding::IMPLICIT_LITTLE;
    let image =
        Image { encoding, model: "LARGE", modality: "MR", rows: 1024, columns: 640, frames: 20, ..COLOUR };
    let pixels = image.noise();
    let object = image.object(&pixels, "OB", IMPLICIT);
    let mut pipe = Counted(MemoryPipe::new(&object), 0);
    rewrite(&mut pipe, &Profile::new(&clean()).unwrap(), &TestKeys(1)).unwrap();
    let Counted(pipe, read) = pipe;
    let expected = image.masked(&pixels, |row, column| row < 40 || (40..140).contains(&row) && column >= 600);
    assert!(pixels_of(&pipe.into_output(), pixels.len()) == expected);
    assert!(read < 20 * 6 * (64 << 10), "{read} of {} octets were read", object.len());
}

#[test]
fn heads_are_refused_unless_they_may_go_on_or_say_that_nobody_can_be_recognised() {
    let slice = |part: &str, description: &str, said: &str| {
        let elements = Elements::image(LITTLE)
            .text(0x0008_103E, "LO", description)
            .text(0x0018_0015, "CS", part)
            .value(0x0028_0010, "US", &[1, 0]);
        let elements = if said.is_empty() { elements } else { elements.text(0x0028_0302, "CS", said) };
        elements.value(0x7FE0_0010, "OW", &[1, 2]).part_10(EXPLICIT)
    };
    let code =
        |config: &Config, object: &[u8]| deidentify_as(config, object).err().map(|refusal| refusal.code);
    let claim = with_options(&[ProfileOption::CleanRecognizableVisualFeatures]);
    for (object, by_policy, by_option) in [
        (slice("HEAD", "", ""), Some("recognizable-face"), Some("recognizable-face")),
        (slice("", "t1 brain", ""), Some("recognizable-face"), Some("recognizable-face")),
        (slice("HEAD", "", "NO"), None, None),
        (slice("KNEE", "", "YES"), Some("recognizable-face"), Some("recognizable-face")),
        (slice("KNEE", "", ""), None, None),
        (slice("", "T1 TSE", ""), None, Some("features-not-cleaned")),
    ] {
        assert_eq!(code(&Config::default(), &object), by_policy);
        assert_eq!(code(&claim, &object), by_option);
        for faces in [RecognizableFaces::Pass, RecognizableFaces::Accepted] {
            let config = Config { recognizable_faces: faces, ..Config::default() };
            assert_eq!(code(&config, &object), None);
        }
        if by_option.is_none() {
            let output = deidentify_as(&claim, &object).unwrap();
            assert_eq!(text(&open(&output), 0x0028, 0x0302), "NO");
            assert!(crate::dicom::tests::contains(&output, "113102"));
        }
    }
}

#[test]
fn the_anatomy_of_frames_names_heads_too() {
    let code = Elements::new(LITTLE).text(0x0008_0100, "SH", "69536005").text(0x0008_0102, "SH", "SCT");
    let region = Elements::new(LITTLE).sequence(0x0008_2218, &[code], Ends::Length);
    let anatomy = Elements::new(LITTLE).sequence(0x0020_9071, &[region], Ends::Delimiter);
    let object = Elements::image(LITTLE)
        .value(0x0028_0010, "US", &[1, 0])
        .sequence(0x5200_9229, &[anatomy], Ends::Length)
        .value(0x7FE0_0010, "OW", &[1, 2]);
    assert_eq!(refusal(&Config::default(), &object.part_10(EXPLICIT)), "recognizable-face");
}

/// A screen of zeros, with five rings in a row on some of its frames.
const SCREEN: Image = Image { model: "NOTHING", rows: 12, columns: 40, said: "", ..GREY };

impl Image {
    fn written(self, on: impl Fn(u32) -> bool) -> Vec<u8> {
        let is_ink = |row: u32, column: u32| {
            let (Some(row), Some(column)) = (row.checked_sub(2), column.checked_sub(2)) else { return false };
            row < 7 && column < 30 && column % 6 < 5 && (row % 6 == 0 || column % 6 % 4 == 0)
        };
        let columns = u32::from(self.columns);
        let plane = u32::from(self.rows) * columns;
        let octets = usize::from(self.bits / 8);
        let mut pixels = vec![0; self.octets()];
        let inks = (0..self.frames * plane)
            .filter(|at| on(at / plane) && is_ink(at % plane / columns, at % columns));
        for at in inks.map(|at| at as usize) {
            match (self.bits, self.photometric, self.planar) {
                (1, ..) => pixels[at / 8] |= 1 << (at % 8),
                (_, "YBR_FULL_422", _) => pixels[at / 2 * 4 + at % 2] = 0xFF,
                (_, _, 0) => {
                    let pixel = at * usize::from(self.samples) * octets;
                    pixels[pixel..pixel + octets].fill(0xFF);
                }
                _ => {
                    let plane = plane as usize;
                    let pixel = (at / plane * 3 * plane + at % plane) * octets;
                    pixels[pixel..pixel + octets].fill(0xFF);
                }
            }
        }
        pixels
    }
}

#[test]
fn what_is_like_text_is_seen_in_every_layout() {
    let grey = [1, 8, 16].map(|bits| Image { bits, ..SCREEN });
    let colours = [(8, 0), (8, 1), (16, 0), (16, 1)].into_iter().flat_map(|(bits, planar)| {
        ["RGB", "YBR_FULL"].map(|photometric| Image { bits, planar, photometric, samples: 3, ..SCREEN })
    });
    let pairs = Image { photometric: "YBR_FULL_422", samples: 3, ..SCREEN };
    let signed = |image: Image| image.elements().value(0x0028_0103, "US", &[1, 0]);
    for image in grey.into_iter().chain(colours).chain([pairs]) {
        let pixels = image.written(|_| true);
        let native = |elements: Elements, pixels: &[u8]| {
            let object = elements.value(0x7FE0_0010, "OW", pixels).part_10(EXPLICIT);
            deidentify_as(&clean(), &object).err().map(|refusal| refusal.code)
        };
        assert_eq!(native(image.elements(), &pixels), Some("text-in-pixels"), "{image:?}");
        assert_eq!(native(signed(image), &pixels), Some("text-in-pixels"), "{image:?}");
        assert_eq!(native(image.elements(), &vec![0; pixels.len()]), None, "{image:?}");
        if image.bits > 1 && image.planar == 0 && image.photometric != "YBR_FULL_422" {
            let frames = rle(&pixels, image);
            let all: Vec<&[u8]> = std::iter::once(&[][..]).chain(frames.iter().map(Vec::as_slice)).collect();
            let object = image.elements().fragments(&all).part_10(RLE_LOSSLESS);
            assert_eq!(refusal(&clean(), &object), "text-in-pixels", "{image:?}");
        }
    }
}

#[test]
fn what_is_like_text_raises_doubt_where_no_rule_knows_it() {
    let with = |model: &'static str, modality: &'static str| Image { model, modality, ..SCREEN };
    let code = |config: &Config, image: Image, on: &dyn Fn(u32) -> bool| {
        let object = image.object(&image.written(on), "OB", EXPLICIT);
        deidentify_as(config, &object).err().map(|refusal| refusal.code)
    };
    let off = Config { text_detector: TextDetector::Off, ..clean() };
    for (model, modality, config, expected) in [
        ("NOTHING", "US", clean(), Some("text-in-pixels")),
        ("NOTHING", "MR", clean(), None),
        ("NOTHING", "US", off, None),
        ("SETTINGS", "US", clean(), None),
        ("NAME", "US", clean(), None),
        ("BANNER", "US", clean(), Some("text-in-pixels")),
    ] {
        assert_eq!(code(&config, with(model, modality), &|_| true), expected, "{model} {modality}");
    }
    // Of many frames some are looked at, among them the first and the last.
    let many = Image { frames: 100, ..SCREEN };
    assert_eq!(code(&clean(), many, &|frame| frame == 0), Some("text-in-pixels"));
    assert_eq!(code(&clean(), many, &|frame| frame == 99), Some("text-in-pixels"));
    assert_eq!(code(&clean(), many, &|frame| frame == 1), None);
}

#[test]
fn secondary_capture_is_looked_at_whatever_its_modality() {
    let image = Image { modality: "MR", ..SCREEN };
    let pixels = image.written(|_| true);
    let object = |sop_class: &str| {
        let mut elements = Elements::new(LITTLE).text(0x0008_0016, "UI", sop_class);
        let rest = image.elements().octets;
        let mr = Elements::new(LITTLE).text(0x0008_0008, "CS", "ORIGINAL\\PRIMARY").text(
            0x0008_0016,
            "UI",
            SOP_CLASS,
        );
        elements.octets.extend_from_slice(&rest[mr.octets.len()..]);
        build::part_10(EXPLICIT, sop_class, &elements.value(0x7FE0_0010, "OB", &pixels).octets)
    };
    for sop_class in
        ["1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.7.2", "1.2.840.10008.5.1.4.1.1.6.1"]
    {
        assert_eq!(refusal(&clean(), &object(sop_class)), "text-in-pixels");
    }
    assert!(deidentify_as(&clean(), &object("1.2.840.10008.5.1.4.1.1.77.1.4")).is_ok());
}

#[test]
fn what_cannot_be_looked_at_is_refused_unless_only_what_can_is_to_be() {
    let readable = Config { text_detector: TextDetector::Readable, ..clean() };
    let compressed =
        SCREEN.elements().fragments(&[&[], b"\xFF\xD8\xFF\xDA\x01\x01\x01\x01"]).part_10(JPEG_EXTENDED);
    let large = Image { rows: 4096, columns: 4096, frames: 1, ..SCREEN };
    let large = large.object(&large.noise(), "OB", EXPLICIT);
    let uneven = Image { bits: 1, rows: 3, columns: 3, ..SCREEN };
    let uneven = uneven.object(&uneven.noise(), "OB", EXPLICIT);
    for object in [compressed, large, uneven] {
        assert_eq!(refusal(&clean(), &object), "text-not-looked-for");
        let output = deidentify_as(&readable, &object).unwrap();
        assert_eq!(text(&open(&output), 0x0028, 0x0301), "NO");
    }
}

#[test]
fn frames_that_are_only_looked_at_stay_where_they_are() {
    let pixels = SCREEN.written(|_| false);
    let frames = rle(&pixels, SCREEN);
    let step = u32::try_from(frames[0].len() + 8).unwrap();
    let table = [0, step, 2 * step].map(u32::to_le_bytes).concat();
    let all: Vec<&[u8]> = std::iter::once(&table[..]).chain(frames.iter().map(Vec::as_slice)).collect();
    let elements = SCREEN.elements().fragments(&all);
    let output = deidentify_as(&clean(), &elements.part_10(RLE_LOSSLESS)).unwrap();
    let before = SCREEN.elements().octets.len();
    assert_eq!(output[output.len() - (elements.octets.len() - before)..], elements.octets[before..]);
}
