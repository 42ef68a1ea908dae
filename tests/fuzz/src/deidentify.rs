//! De-identification of DICOM objects, HL7v2 messages, X12 claims, FHIR resources and telemetry: what goes out can be read again, in pieces of any size.

use hilum_deidentify::dicom::{Pipe, Profile, ProfileOption, rewrite};
use hilum_deidentify::{
    BurnedInAnnotation, Config, LocalSegment, PatientId, PrivateSopClasses, Pseudonyms, Refusal, Staff,
    TextDetector, dicom, fhir, hl7, telemetry, x12,
};
use hilum_formats::dicom::Error;
use hilum_formats::x12::Separators;

/// See [`crate::memory::bounded`]: a deflated object may grow by 64 MiB, in a vector that doubles and is held twice.
pub const OCTETS_MAX: usize = 320 << 20;

/// What [`rewrite`] writes of one input at most, of those that are compared: far less than an object may inflate to.
const COMPARED_OCTETS_MAX: usize = 1 << 20;

/// The first octet chooses the format and the configuration, and with it the options of an image.
pub fn check(octets: &[u8]) {
    let Some((choice, input)) = octets.split_first() else { return };
    let config = config(*choice);
    match choice % 6 {
        5 => frame(input),
        0 => image(input, &config),
        1 => drop(again(input, |input| hl7::deidentify(input, &config, &Keys))),
        2 => drop(again(input, |input| x12::deidentify(input, &config, &Keys))),
        3 => drop(again(input, |input| fhir::deidentify(input, 2026, &config, &Keys))),
        _ => drop(again(input, |input| telemetry::deidentify(input, &config, &Keys))),
    }
}

fn config(choice: u8) -> Config {
    let is = |bit: u8| choice & (1 << bit) != 0;
    let local = [("ZPI", LocalSegment::Keep), ("ZZZ", LocalSegment::Remove)];
    Config {
        patient_id: if is(4) { PatientId::Empty } else { PatientId::Pseudonym },
        burned_in_annotation: if is(5) { BurnedInAnnotation::Pass } else { BurnedInAnnotation::Refuse },
        staff: if is(6) { Staff::Keep } else { Staff::Pseudonym },
        local_segments: local.map(|(name, what)| (name.to_owned(), what)).into(),
        options: options(choice),
        private_sop_classes: PrivateSopClasses::Unknown,
        ..Config::default()
    }
}

/// All options that go together but for those on pixels, every other one, or none. Dates are shifted only where a patient's
/// identifier is left to shift them by once more.
fn options(choice: u8) -> Vec<ProfileOption> {
    let chosen = |(index, option): (usize, ProfileOption)| {
        let is_about_pixels = option <= ProfileOption::CleanRecognizableVisualFeatures;
        let is_full_dates = option == ProfileOption::RetainLongitudinalFullDates;
        let is_modified_dates = option == ProfileOption::RetainLongitudinalModifiedDates;
        let wanted = choice & 0b1000 != 0 || choice & 0b1000_0000 != 0 && index % 2 == 0;
        let patient_stays = choice & 0b1_0000 == 0;
        let fits = !is_about_pixels && !is_full_dates && (!is_modified_dates || patient_stays);
        (wanted && fits).then_some(option)
    };
    ProfileOption::ALL.into_iter().enumerate().filter_map(chosen).collect()
}

/// What is de-identified can be de-identified again.
fn again(input: &[u8], deidentify: impl Fn(&[u8]) -> Result<Vec<u8>, Refusal>) -> Option<Vec<u8>> {
    let output = match deidentify(input) {
        Ok(output) => output,
        Err(refusal) => {
            assert!(refusal.reason.chars().count() <= 256 && !refusal.code.is_empty(), "{refusal}");
            return None;
        }
    };
    let twice = deidentify(&output);
    assert!(twice.is_ok(), "the output is refused: {twice:?}");
    Some(output)
}

fn image(input: &[u8], config: &Config) {
    let profile = Profile::new(config).expect("the options go together");
    let Some(output) = again(input, |input| dicom::deidentify(input, &profile, &Keys)) else { return };
    if output.len() > COMPARED_OCTETS_MAX {
        return;
    }
    let mut pieces = Pieces { input, output: Vec::new() };
    rewrite(&mut pieces, &profile, &Keys).expect("in memory it goes through");
    assert_eq!(pieces.output, output, "in pieces it is the same");
}

/// Transfer syntaxes whose frames are decoded and encoded again.
const CODED: [&str; 6] = [
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.50",
];

/// A small frame that is masked: the octets say how it is compressed, how large it is, of which colours and bits.
fn frame(input: &[u8]) {
    let Some(([syntax, kind, rows, columns], frame)) = input.split_first_chunk() else { return };
    let (samples, photometric): (u8, &[u8]) = match kind % 5 {
        0 => (1, b"MONOCHROME2 "),
        1 => (3, b"RGB "),
        2 => (3, b"YBR_FULL"),
        3 => (3, b"YBR_FULL_422"),
        _ => (3, b"YBR_RCT "),
    };
    let bits = if kind & 0x80 == 0 { 8 } else { 16 };
    let explicit = Encoding { explicit: true, big: false };
    let mut octets = Vec::new();
    let out = &mut octets;
    element(out, explicit, 0x0008_0016, b"UI", b"1.2.840.10008.5.1.4.1.1.4\0");
    element(out, explicit, 0x0008_0018, b"UI", b"1.9.8.7.4711");
    element(out, explicit, 0x0008_0060, b"CS", b"US");
    element(out, explicit, 0x0028_0002, b"US", &[samples, 0]);
    element(out, explicit, 0x0028_0004, b"CS", photometric);
    element(out, explicit, 0x0028_0006, b"US", &[0, 0]);
    element(out, explicit, 0x0028_0010, b"US", &[*rows, 0]);
    element(out, explicit, 0x0028_0011, b"US", &[*columns, 0]);
    element(out, explicit, 0x0028_0100, b"US", &[bits, 0]);
    element(out, explicit, 0x0028_0101, b"US", &[bits, 0]);
    header(out, explicit, 0x7FE0_0010, b"OB", u32::MAX);
    header(out, explicit, 0xFFFE_E000, b"", 0);
    let frame = &frame[..frame.len() / 2 * 2];
    header(out, explicit, 0xFFFE_E000, b"", u32::try_from(frame.len()).expect("short"));
    out.extend_from_slice(frame);
    header(out, explicit, 0xFFFE_E0DD, b"", 0);
    let object = part_10(CODED[usize::from(*syntax) % CODED.len()], &octets);
    let config = Config {
        options: vec![ProfileOption::CleanPixelData],
        pixel_rules: Some("# Hilum pixel rules\naction\nmask 0,0,*,1 1,1,1,1\n".to_owned()),
        text_detector: TextDetector::Readable,
        ..Config::default()
    };
    let profile = Profile::new(&config).expect("the rules are rules");
    drop(again(&object, |object| dicom::deidentify(object, &profile, &Keys)));
}

/// A pipe that gives and takes a few octets at a time.
struct Pieces<'a> {
    input: &'a [u8],
    output: Vec<u8>,
}

impl<'a> Pieces<'a> {
    fn advance(&mut self, octets: u64) -> &'a [u8] {
        let octets = usize::try_from(octets).unwrap_or(usize::MAX).min(7).min(self.input.len());
        let (piece, rest) = self.input.split_at(octets);
        self.input = rest;
        piece
    }
}

impl Pipe for Pieces<'_> {
    fn read(&mut self, into: &mut Vec<u8>, max: usize) -> Result<usize, Error> {
        let piece = self.advance(max as u64);
        into.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn skip(&mut self, octets: u64) -> Result<u64, Error> {
        let from = self.input.len();
        self.input = &self.input[usize::try_from(octets).unwrap_or(usize::MAX).min(from)..];
        Ok((from - self.input.len()) as u64)
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.output.extend_from_slice(octets);
        Ok(())
    }

    fn forward(&mut self, octets: u64) -> Result<u64, Error> {
        let octets = usize::try_from(octets).unwrap_or(usize::MAX).min(self.input.len());
        let (piece, rest) = self.input.split_at(octets);
        self.input = rest;
        self.output.extend_from_slice(piece);
        Ok(octets as u64)
    }
}

/// Stands in for the host: not an HMAC, but deterministic and spread over all octets.
struct Keys;

impl Pseudonyms for Keys {
    fn pseudonyms(&self, domain: &str, values: &[&[u8]]) -> Result<Vec<[u8; 32]>, Refusal> {
        let one = |value: &&[u8]| {
            let mut hash = 0xcbf2_9ce4_8422_2325_u64;
            for octet in domain.as_bytes().iter().chain(*value) {
                hash = (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
            }
            let mut made = [0; 32];
            made.chunks_exact_mut(8).zip(1..).for_each(|(chunk, n)| {
                chunk.copy_from_slice(&hash.wrapping_mul(2 * n + 1).to_le_bytes());
            });
            made
        };
        Ok(values.iter().map(one).collect())
    }

    fn date_shift(&self, _: &str, value: &[u8], days_max: u32) -> Result<i32, Refusal> {
        let days = 1 + value.iter().map(|octet| i32::from(*octet)).sum::<i32>() % days_max.cast_signed();
        Ok(if value.len() % 2 == 0 { days } else { -days })
    }
}

/// Objects under each encoding, with sequences, fragments and a deflated one; messages; a claim; a bundle.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = dicom_seeds().iter().map(|object| [&[0][..], object].concat()).collect();
    seeds.extend(crate::hl7::seeds().iter().map(|message| [&[1][..], message].concat()));
    let adt = b"MSH|^~\\&|A|B|||20260101||ADT^A01|7|P|2.5.1\rPID|1||4711^^^B^MR||Doe^Jane||19700101|F\rPV1|1|I|W^1^2||||123^Smith^A\rZPI|x\rZZZ|y\r";
    seeds.push([&[1][..], adt].concat());
    seeds.push([&[2][..], &crate::x12::interchange(&Separators::default(), "~\n"[1..].trim_end())].concat());
    let bundle = br##"{"resourceType":"Bundle","type":"batch","entry":[{"fullUrl":"urn:uuid:a-1","resource":{"resourceType":"Patient","id":"7",
        "birthDate":"1930-01-02","identifier":[{"system":"urn:a","value":"4711"}],"_gender":{}}},{"request":{"method":"POST","url":"Observation"},"resource":
        {"resourceType":"Observation","status":"final","contained":[{"resourceType":"Device","id":"d"}],"device":{"reference":"#d"},"code":{"coding":
        [{"system":"http://loinc.org","code":"30525-0"}]},"subject":{"reference":"urn:uuid:a-1"},"valueQuantity":{"value":9.70e1,"code":"a"}}}]}"##;
    seeds.push([&[3][..], bundle].concat());
    seeds.push([&[4][..], br#"{"machine":"m-1","readings":[{"sensor":"t","unit":"Cel","time":1,"value":2.50}],"operator":"x"}"#].concat());
    seeds.extend(frame_seeds());
    seeds
}

/// Frames of JPEG-LS (the example of ITU-T T.87 H.3), JPEG 2000 by OpenJPEG and baseline JPEG by libjpeg-turbo.
const FRAMES: [(&[u8; 4], &[u8]); 3] = [
    (&[2, 0, 4, 4], b"\xFF\xD8\xFF\xF7\0\x0B\x08\0\x04\0\x04\x01\x01\x11\0\xFF\xDA\0\x08\x01\x01\0\0\0\0\
        \xC0\0\0\x6C\x80\x20\x8E\x01\xC0\0\0\x57\x40\0\0\x6E\xE6\0\0\x01\xBC\x18\0\0\x05\xD8\0\0\x91\x60\xFF\xD9\0"),
    (&[4, 0, 33, 36], b"\xFF\x4F\xFF\x51\x00\x29\x00\x00\x00\x00\x00\x24\x00\x00\x00\x21\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x24\x00\x00\
        \x00\x21\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x07\x01\x01\xFF\x52\x00\x0C\x00\x00\x00\x01\x00\x05\x04\x04\x00\x01\xFF\
        \x5C\x00\x13\x40\x40\x48\x48\x50\x48\x48\x50\x48\x48\x50\x48\x48\x50\x48\x48\x50\xFF\x64\x00\x25\x00\x01\x43\x72\x65\x61\
        \x74\x65\x64\x20\x62\x79\x20\x4F\x70\x65\x6E\x4A\x50\x45\x47\x20\x76\x65\x72\x73\x69\x6F\x6E\x20\x32\x2E\x35\x2E\x32\xFF\
        \x90\x00\x0A\x00\x00\x00\x00\x00\xC6\x00\x01\xFF\x93\xCF\xB4\x14\x08\x8E\x17\x2E\x1F\xC0\x3A\x14\x0F\x90\x14\x01\xD0\x40\
        \x05\x9F\x07\x0F\x03\xC1\xF3\x84\x80\x74\x38\x0F\x90\x10\x04\x2B\x36\x5F\x06\x4F\x7F\x07\xA7\xC0\xF9\x02\xC3\xEA\x07\x81\
        \xF3\x85\x12\x12\x9F\x01\xDF\x17\xFE\xF7\xF3\xA9\xFC\x7F\x12\x93\xEB\x2A\xE7\xC3\xEA\x0D\x87\xD4\x1B\x07\xD4\x16\x1B\xCF\
        \x0C\x2D\xA5\xEC\x4D\x5E\x69\xA2\x83\x5B\x4B\x12\xC3\xD1\x07\xB7\x23\xB7\xEE\x43\xCD\x4A\x69\xBF\x17\xE9\x2C\x7B\xD9\xEB\
        \x67\x63\x63\x65\x5C\xC3\xEA\x16\x8F\xB4\x62\x07\xCE\x44\x20\x79\x01\x4B\x48\xD7\x04\xAB\xFB\xE2\x8F\x49\xB7\x83\x9F\x2A\
        \x55\xAF\x1B\x45\x44\x37\x2D\xE5\x38\xF8\x4D\xAD\x6D\xAE\xA1\x86\x10\xB2\x87\x64\x1B\x59\x74\x6B\xCD\x24\x82\x81\xE7\x86\
        \x20\x78\xF6\x9C\x0C\x5C\x8F\x4B\x12\x8E\x88\xA7\x82\xD3\xA7\x88\x7B\xFF\xD9"),
    (&[5, 0, 27, 44], b"\xFF\xD8\xFF\xE0\x00\x10\x4A\x46\x49\x46\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xFF\xFE\x00\x0A\x4A\x61\x6E\x65\x20\x44\
        \x6F\x65\xFF\xDB\x00\x43\x00\x0D\x09\x0A\x0B\x0A\x08\x0D\x0B\x0A\x0B\x0E\x0E\x0D\x0F\x13\x20\x15\x13\x12\x12\x13\x27\x1C\
        \x1E\x17\x20\x2E\x29\x31\x30\x2E\x29\x2D\x2C\x33\x3A\x4A\x3E\x33\x36\x46\x37\x2C\x2D\x40\x57\x41\x46\x4C\x4E\x52\x53\x52\
        \x32\x3E\x5A\x61\x5A\x50\x60\x4A\x51\x52\x4F\xFF\xC0\x00\x0B\x08\x00\x1B\x00\x2C\x01\x01\x11\x00\xFF\xC4\x00\x17\x00\x01\
        \x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x07\x06\xFF\xC4\x00\x19\x10\x00\x02\x03\x01\x00\x00\
        \x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x21\x03\x04\x31\x01\xFF\xDA\x00\x08\x01\x01\x00\x00\x3F\x00\xE0\x6A\xC5\x88\
        \x66\xAC\x58\x86\x6A\xC5\x88\x62\xAC\x58\x8C\xC4\x84\xEA\xC5\x88\x66\xAC\x58\x86\x2A\xC5\x88\x66\xAC\x58\x8C\x88\x8E\x8A\
        \xAC\x58\x86\x6A\xC5\x88\x62\xAC\x58\x86\x6A\xC5\x88\xC4\xC8\xEB\x6A\xF3\x89\x0C\xD5\xE7\x12\x19\xAB\xCE\x24\x31\x57\x9C\
        \x48\xC2\x08\xFF\xD9"),
];

fn frame_seeds() -> impl Iterator<Item = Vec<u8>> {
    FRAMES.into_iter().map(|(head, frame)| [&[5][..], head, frame, &[0][..frame.len() % 2]].concat())
}

/// How headers of data elements are written.
#[derive(Clone, Copy)]
struct Encoding {
    explicit: bool,
    big: bool,
}

pub(crate) fn dicom_seeds() -> Vec<Vec<u8>> {
    let (implicit, explicit) =
        (Encoding { explicit: false, big: false }, Encoding { explicit: true, big: false });
    let big = Encoding { explicit: true, big: true };
    let fragments = {
        let mut octets = image_elements(explicit);
        header(&mut octets, explicit, 0x7FE0_0010, b"OB", u32::MAX);
        for fragment in [&[][..], &[1, 2, 3, 4]] {
            header(&mut octets, explicit, 0xFFFE_E000, b"", u32::try_from(fragment.len()).expect("short"));
            octets.extend_from_slice(fragment);
        }
        header(&mut octets, explicit, 0xFFFE_E0DD, b"", 0);
        octets
    };
    let deflated = miniz_oxide::deflate::compress_to_vec(&image_elements(explicit), 6);
    vec![
        part_10("1.2.840.10008.1.2", &image_elements(implicit)),
        part_10("1.2.840.10008.1.2.1", &image_elements(explicit)),
        part_10("1.2.840.10008.1.2.2", &image_elements(big)),
        part_10("1.2.840.10008.1.2.4.50", &fragments),
        part_10("1.2.840.10008.1.2.1.99", &deflated),
    ]
}

fn image_elements(encoding: Encoding) -> Vec<u8> {
    let mut octets = Vec::new();
    let out = &mut octets;
    element(out, encoding, 0x0008_0016, b"UI", b"1.2.840.10008.5.1.4.1.1.4\0");
    element(out, encoding, 0x0008_0018, b"UI", b"1.9.8.7.4711");
    element(out, encoding, 0x0008_0060, b"CS", b"MR");
    let mut item = Vec::new();
    element(&mut item, encoding, 0x0008_0104, b"LO", b"DOE ");
    element(&mut item, encoding, 0x0008_1155, b"UI", b"1.9.4711");
    header(out, encoding, 0x0008_1140, b"SQ", u32::MAX);
    header(out, encoding, 0xFFFE_E000, b"", u32::MAX);
    out.extend_from_slice(&item);
    header(out, encoding, 0xFFFE_E00D, b"", 0);
    header(out, encoding, 0xFFFE_E0DD, b"", 0);
    element(out, encoding, 0x0009_0010, b"LO", b"SECRET");
    element(out, encoding, 0x0010_0010, b"PN", b"DOE^JANE");
    element(out, encoding, 0x0010_0020, b"LO", b"4711");
    element(out, encoding, 0x0028_0301, b"CS", b"NO");
    let length = u32::try_from(item.len()).expect("short");
    header(out, encoding, 0x0040_0260, b"SQ", length + 8);
    header(out, encoding, 0xFFFE_E000, b"", length);
    out.extend_from_slice(&item);
    element(out, encoding, 0x0041_1001, b"UN", b"DOE ");
    octets
}

fn element(out: &mut Vec<u8>, encoding: Encoding, tag: u32, vr: &[u8], value: &[u8]) {
    header(out, encoding, tag, vr, u32::try_from(value.len()).expect("short"));
    out.extend_from_slice(value);
}

fn header(out: &mut Vec<u8>, encoding: Encoding, tag: u32, vr: &[u8], length: u32) {
    let mut number = |value: u32, octets: usize| {
        let mut written = value.to_be_bytes()[4 - octets..].to_vec();
        if !encoding.big {
            written.reverse();
        }
        out.extend(written);
    };
    number(tag >> 16, 2);
    number(tag & 0xFFFF, 2);
    if !encoding.explicit || vr.is_empty() {
        return number(length, 4);
    }
    let is_long = matches!(vr, b"OB" | b"OW" | b"SQ" | b"UN");
    let vr = u32::from(vr[0]) << 8 | u32::from(vr[1]);
    number(if encoding.big { vr } else { vr.swap_bytes() >> 16 }, 2);
    if is_long {
        number(0, 2);
    }
    number(length, if is_long { 4 } else { 2 });
}

fn part_10(transfer_syntax: &str, data_set: &[u8]) -> Vec<u8> {
    let explicit = Encoding { explicit: true, big: false };
    let mut octets = vec![0; 128];
    octets.extend_from_slice(b"DICM");
    let mut uid = transfer_syntax.as_bytes().to_vec();
    uid.resize(uid.len().next_multiple_of(2), 0);
    element(&mut octets, explicit, 0x0002_0002, b"UI", b"1.2.840.10008.5.1.4.1.1.4\0");
    element(&mut octets, explicit, 0x0002_0010, b"UI", &uid);
    octets.extend_from_slice(data_set);
    octets
}
