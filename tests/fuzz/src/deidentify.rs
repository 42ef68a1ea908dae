//! De-identification of DICOM objects, HL7v2 messages, X12 claims, FHIR resources and telemetry: what goes out can be read again, in pieces of any size.

use hilum_deidentify::dicom::{Pipe, Profile, ProfileOption, rewrite};
use hilum_deidentify::{
    BurnedInAnnotation, Config, LocalSegment, PatientId, PrivateSopClasses, Pseudonyms, Refusal, Staff,
    dicom, fhir, hl7, telemetry, x12,
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
    match choice % 5 {
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
    seeds
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
