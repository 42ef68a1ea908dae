//! Frames that CharLS 2.4 made of one small picture, and frames of this module's own, which have to come back as they were.

use super::super::Facts;
use super::*;
use proptest::prelude::*;

/// What the standard works out by hand (H.3).
const EXAMPLE: [u8; 16] = [0, 0, 90, 74, 68, 50, 43, 205, 64, 145, 145, 145, 100, 145, 145, 145];
const EXAMPLE_SCAN: &[u8] = b"\xC0\x00\x00\x6C\x80\x20\x8E\x01\xC0\x00\x00\x57\x40\x00\x00\x6E\xE6\x00\x00\x01\xBC\x18\x00\x00\x05\xD8\x00\x00\x91\x60";

const GREY_8: &[u8] = b"\xFF\xD8\xFF\xF7\x00\x0B\x08\x00\x06\x00\x0C\x01\x01\x11\x00\xFF\xDA\x00\x08\x01\x01\x00\x00\x00\x00\x00\x00\x0F\x28\x00\
        \x00\x04\x5C\x71\x56\x94\xFF\x67\x00\x73\x31\xC4\x24\x08\xE8\x30\x18\x40\x46\xE6\x00\x00\x01\x7B\x9C\x0C\x83\x03\x28\x1A\
        \xB8\xDD\xC5\x33\x00\x1A\x0E\x2A\x00\x00\x00\xC6\x2E\xE9\x88\x76\x32\xAC\x66\x20\xFF\xD9";
const GREY_16: &[u8] = b"\xFF\xD8\xFF\xF7\x00\x0B\x10\x00\x06\x00\x0C\x01\x01\x11\x00\xFF\xF8\x00\x0D\x01\xFF\xFF\x00\x12\x00\x43\x01\x14\x00\x40\
        \xFF\xDA\x00\x08\x01\x01\x00\x00\x00\x00\x00\x00\x04\x4F\x80\x10\x04\x00\x00\x00\x01\x18\x18\x3C\x60\xD7\x05\xB8\x25\xC0\
        \xEE\x05\x70\x1C\x00\xE0\x04\x23\x30\x53\x83\x0A\x0E\x38\x42\xFF\x1F\xFC\x04\x18\xF0\x68\xA1\xE1\x44\x82\x06\x18\x11\xBF\
        \x0D\xFE\x38\x10\x00\x53\x6A\x01\x90\x14\x40\xB0\x30\xD2\x80\x59\xF6\x58\x03\x7E\x8B\xFF\x3B\xE5\x40\x57\x08\x76\x7F\x15\
        \xF6\xFF\x3B\x3C\xC1\x86\xD0\x20\x9B\x81\xD0\x10\x00\x00\x00\x00\x68\xF2\x82\x58\x03\xBF\x2C\xFB\x2F\xE4\xAF\x75\x01\x1C\
        \x2D\x56\x16\x77\xD2\xBB\x52\x02\x00\xFF\xD9";
pub(in crate::dicom::pixels) const GREY_8_NEAR_3: &[u8] = b"\xFF\xD8\xFF\xF7\x00\x0B\x08\x00\x06\x00\x0C\x01\x01\x11\x00\xFF\xDA\x00\x08\x01\x01\x00\x03\x00\x00\x03\xB0\xFA\xAE\xE3\
        \x89\x0C\xA6\x24\x94\x88\x0E\xE4\x92\x44\xA5\xD1\x50\xDF\x00\x00\x02\xE8\x8A\x2B\x8B\x80\xFF\xD9";
const PLANES: &[u8] = b"\xFF\xD8\xFF\xF7\x00\x11\x08\x00\x06\x00\x0C\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00\xFF\xDA\x00\x08\x01\x01\x00\x00\x00\
        \x00\x00\x00\x0F\x28\x00\x00\x04\x5C\x71\x56\x94\xFF\x67\x00\x73\x31\xC4\x24\x08\xE8\x30\x18\x40\x46\xE6\x00\x00\x01\x7B\
        \x9C\x0C\x83\x03\x28\x1A\xB8\xDD\xC5\x33\x00\x1A\x0E\x2A\x00\x00\x00\xC6\x2E\xE9\x88\x76\x32\xAC\x66\x20\xFF\xDA\x00\x08\
        \x01\x02\x00\x00\x00\x00\x00\x00\x01\x76\x94\x04\x06\x29\xCA\x57\x79\xC0\x1C\xCC\x71\x09\x02\x28\x0C\x2C\x40\x46\xE6\x00\
        \x00\x00\xB5\x77\x38\x19\x06\x06\x50\x35\x71\xBB\x8A\x66\x00\x0F\x07\x15\x00\x00\x00\x67\x8F\xF3\x10\xEC\x65\x58\xC6\x40\
        \xFF\xDA\x00\x08\x01\x03\x00\x00\x00\x00\x00\x00\x01\x9E\x94\x00\x20\xCA\x57\x75\x59\xC0\x08\x66\x38\x84\x81\x11\xC2\x81\
        \x44\x04\x6E\x60\x00\x00\x0B\xE7\x73\x81\x90\x65\x14\x0D\x5C\x6E\xE2\x99\x80\x00\x48\x38\xA8\x00\x00\x03\x60\x5E\x8C\x43\
        \xB1\x95\x63\x19\x00\xFF\xD9";
const LINES: &[u8] = b"\xFF\xD8\xFF\xF7\x00\x11\x08\x00\x06\x00\x0C\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00\xFF\xDA\x00\x0C\x03\x01\x00\x02\x00\
        \x03\x00\x00\x01\x00\x00\x00\x0F\x28\x00\x00\x04\x5C\x71\x56\x94\xFF\x43\x7E\xEE\x52\x53\xFF\x7F\xF1\x7F\xBB\xB7\xFF\x7F\
        \xBB\xB3\x80\x39\x98\xE2\x12\x04\xB8\x9D\x62\x19\xAD\x57\x14\x9C\xC6\x8A\x85\xA0\xC0\x61\x01\x1B\x10\x00\x00\x0B\xDC\xE9\
        \x08\x3A\x20\x22\x42\x0A\x6A\xA5\x1D\x31\x62\x02\x68\x47\x9B\xFC\x0C\xC6\x06\x50\x24\xE3\x70\x33\x71\x9C\x1A\xD6\x75\x93\
        \x20\x84\x5A\xAE\x61\xBA\x00\x16\x0E\x2A\x00\x00\x00\xC6\x16\xF1\x84\xB5\x02\x66\xAF\x00\x3A\x5F\x8C\x6C\x50\x13\x4D\x30\
        \x16\x97\xE3\x10\xD8\x8A\xB0\x4C\x42\x31\x23\xAA\xC3\x56\x23\x34\xCA\xB0\xD5\x00\xFF\xD9";
const PIXELS: &[u8] = b"\xFF\xD8\xFF\xF7\x00\x11\x08\x00\x06\x00\x0C\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00\xFF\xDA\x00\x0C\x03\x01\x00\x02\x00\
        \x03\x00\x00\x02\x00\x00\x00\x04\x1C\x18\x25\x7E\x00\x00\x02\x2E\x40\x30\x18\xE2\x8A\x73\x9C\xA5\x29\x4A\xEE\xEE\xEE\xEE\
        \xB2\xBB\x1E\x3C\x86\x47\x11\x90\x8C\xC6\x21\x13\x47\x55\x11\x48\x5B\xA6\x80\xC1\x8B\x14\xD8\xB1\x04\x10\x10\x10\x11\x93\
        \x49\x08\x42\x00\x00\x01\x45\x2F\x3E\xD7\x5E\x74\xF8\x18\x0C\x06\x44\x43\x23\x94\x49\x06\x44\x04\x0C\x45\xB7\xDA\x33\x15\
        \xCC\x63\x08\x21\xBB\x33\xFA\x00\x58\x00\x58\x09\x83\x9A\x98\xAB\x4A\x68\x00\x00\x03\x18\x00\xE8\x2D\x29\x4B\x7F\xED\x8C\
        \x42\x33\x31\x88\x4D\x22\x1C\xCB\xB6\xDB\x04\x19\xD9\x54\x9A\x00\xFF\xD9";
const PIXELS_NEAR_2: &[u8] = b"\xFF\xD8\xFF\xF7\x00\x11\x08\x00\x06\x00\x0C\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00\xFF\xDA\x00\x0C\x03\x01\x00\x02\x00\
        \x03\x00\x02\x02\x00\x00\x42\x02\x2F\xF0\xDD\x14\x51\x55\x75\x55\x6F\xAB\x54\x24\x91\x22\x49\x21\x6A\x8D\x24\xD9\xA2\x26\
        \x25\x34\x92\x22\xD2\x89\x10\x40\x30\x03\x13\xD5\xFD\x10\x88\x91\x54\x44\xA9\x08\x91\x25\x62\x55\xD6\xC8\x24\x62\x92\x92\
        \x00\xC2\x80\x0C\xDB\x5B\xB0\x00\x00\x05\xA0\x1C\x2D\x15\x45\x52\x24\xB4\x44\x56\x42\x4E\x76\x61\x23\x4A\xA0\xFF\xD9";

fn layout(rows: u16, columns: u16, samples: u16, bits: u16) -> Layout {
    Layout::of(&Facts::of_test(rows, columns, samples, bits)).unwrap()
}

/// The picture: flat here, a slope there.
fn picture(count: u16, scale: u16) -> Vec<u16> {
    let value = |x: u16, y: u16, component: u16| {
        if (x / 4 + y / 2).is_multiple_of(3) {
            40 + 20 * component
        } else {
            (x * 7 + y * 13 + component * 29 + x * x * y % 11) % 256
        }
    };
    let pixels = (0..6).flat_map(|y| (0..12).map(move |x| (x, y)));
    pixels.flat_map(|(x, y)| (0..count).map(move |component| value(x, y, component) * scale)).collect()
}

#[test]
fn the_example_of_the_standard_comes_out_as_there() {
    let samples: Vec<u16> = EXAMPLE.map(u16::from).to_vec();
    let frame = Frame::of_test(8, [4, 4, 1], 0, samples);
    let encoded = frame.encode().unwrap();
    let start = encoded.windows(2).position(|two| two == [0xFF, 0xDA]).unwrap() + 10;
    assert_eq!(&encoded[start..start + EXAMPLE_SCAN.len()], EXAMPLE_SCAN);
    assert_eq!(Frame::decode(&encoded, &layout(4, 4, 1, 8)).unwrap(), frame);
}

#[test]
fn frames_of_another_encoder_are_read_and_written_as_it_does() {
    for (encoded, count, bits, scale) in
        [(GREY_8, 1, 8, 1), (GREY_16, 1, 16, 257), (PLANES, 3, 8, 1), (LINES, 3, 8, 1), (PIXELS, 3, 8, 1)]
    {
        let frame = Frame::decode(encoded, &layout(6, 12, count, bits)).unwrap();
        assert_eq!(frame.samples, picture(count, scale));
        assert_eq!(frame.obstacle(), None);
        let mut expected = encoded.to_vec();
        expected.resize(encoded.len().next_multiple_of(2), 0);
        assert_eq!(frame.encode().unwrap(), expected);
    }
}

#[test]
fn what_was_compressed_with_loss_is_read_and_said_to_be() {
    for (encoded, count, near) in [(GREY_8_NEAR_3, 1, 3), (PIXELS_NEAR_2, 3, 2)] {
        let frame = Frame::decode(encoded, &layout(6, 12, count, 8)).unwrap();
        assert!(frame.obstacle().is_some());
        let mut off = frame.samples.iter().zip(picture(count, 1)).map(|(one, other)| one.abs_diff(other));
        assert!(off.clone().all(|off| off <= near) && off.any(|off| off > 0));
    }
}

#[test]
fn what_is_not_the_frame_of_the_object_is_refused() {
    assert!(Frame::decode(GREY_8, &layout(6, 12, 1, 16)).is_ok());
    for other in [layout(12, 6, 1, 8), layout(6, 12, 3, 8), layout(6, 13, 1, 8)] {
        assert!(Frame::decode(GREY_8, &other).is_err());
    }
    assert!(Frame::decode(GREY_16, &layout(6, 12, 1, 8)).is_err());
    for (encoded, count, bits) in [(GREY_8, 1, 8), (GREY_16, 1, 16), (PLANES, 3, 8), (LINES, 3, 8)] {
        for end in 0..encoded.len() - 4 {
            assert!(Frame::decode(&encoded[..end], &layout(6, 12, count, bits)).is_err(), "{end}");
        }
    }
    let mut header = GREY_8.to_vec();
    header[7..11].copy_from_slice(&[16, 0, 16, 0]);
    assert_eq!(
        Frame::decode(&header, &layout(4096, 4096, 1, 8)).unwrap_err(),
        Malformed("a frame has more samples than can be held")
    );
}

#[test]
fn what_nobody_uses_is_refused() {
    let (head, rest) = GREY_8.split_at(2);
    let with = |segment: &[u8]| {
        let length = u16::try_from(segment.len() + 1).unwrap().to_be_bytes();
        let encoded = [head, &[0xFF, segment[0]], &length, &segment[1..], rest].concat();
        Frame::decode(&encoded, &layout(6, 12, 1, 8)).is_ok()
    };
    assert!(
        with(b"\xFEJane Doe") && with(b"\xE8mrfx\x00") && with(b"\xF8\x01\0\xFF\0\x03\0\x07\0\x15\0\x40")
    );
    // Colours of HP, a restart interval, a mapping table, thresholds out of order, more lines than a frame has.
    assert!(!with(b"\xE8mrfx\x01") && !with(b"\xDD\x00\x04") && !with(b"\xF8\x02\x01\x01\x00"));
    assert!(!with(b"\xF8\x01\0\xFF\0\x13\0\x07\0\x15\0\x40") && !with(b"\xDC\x00\x06"));
}

/// Noise, slopes and level places, which all codes need.
fn frame(precision: u8, (rows, columns): (usize, usize), count: usize, mode: u8, seed: u32) -> Frame {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u16::from_be_bytes([state.to_be_bytes()[0], state.to_be_bytes()[1]])
    };
    let most = u16::MAX >> (16 - precision);
    let samples = (0..rows * columns * count).map(|at| {
        let noise = next();
        let sample = match seed % 4 {
            0 => noise,
            1 => u16::try_from(at % 251).unwrap() + noise % 5,
            2 if noise % 29 > 0 => most,
            2 => noise,
            _ if at / 50 % 2 == 0 => 7,
            _ => noise % 3,
        };
        sample & most
    });
    let samples = samples.collect();
    Frame::of_test(precision, [rows, columns, count], mode, samples)
}

proptest! {
    #[test]
    fn what_was_encoded_decodes_to_itself(
        precision in 2..=16u8,
        size in (1..24u16, 1..200u16),
        mode in 0..=2u8,
        is_colour in any::<bool>(),
        seed in any::<u32>(),
    ) {
        let (count, mode) = if is_colour { (3, mode) } else { (1, 0) };
        let frame = frame(precision, (size.0.into(), size.1.into()), count.into(), mode, seed);
        let encoded = frame.encode().unwrap();
        prop_assert_eq!(encoded.len() % 2, 0);
        prop_assert_eq!(Frame::decode(&encoded, &layout(size.0, size.1, count, 16)).unwrap(), frame);
    }

    #[test]
    fn whatever_comes_is_decoded_or_refused(
        changes in prop::collection::vec((0..300usize, any::<u8>()), 1..4),
        precision in 2..=16u8,
        mode in 0..=2u8,
        seed in any::<u32>(),
    ) {
        let mut encoded = frame(precision, (6, 14), 3, mode, seed).encode().unwrap();
        for (at, octet) in changes {
            let at = at % encoded.len();
            encoded[at] = octet;
        }
        if let Ok(decoded) = Frame::decode(&encoded, &layout(6, 14, 3, 16)) {
            prop_assert_eq!(decoded.samples.len(), 6 * 14 * 3);
            if decoded.obstacle().is_none() {
                prop_assert_eq!(Frame::decode(&decoded.encode().unwrap(), &layout(6, 14, 3, 16)).unwrap(), decoded);
            }
        }
    }
}
