//! RLE Lossless frames (DICOM PS3.5 annex G), decoded and encoded.

/// Octets of the header: the number of segments and 15 offsets.
const HEADER: usize = 64;
/// Octets that a frame may have when it is decoded.
const FRAME_OCTETS_MAX: usize = 256 << 20;

/// A frame of pixels one after the other, each with its samples, each in little-endian order.
pub(super) fn decode(frame: &[u8], pixels: usize, samples: usize, octets: usize) -> Option<Vec<u8>> {
    let word = |at: usize| Some(u32::from_le_bytes(frame.get(at..at + 4)?.try_into().ok()?) as usize);
    let planes = samples * octets;
    if word(0)? != planes || planes == 0 || planes > 15 || pixels.checked_mul(planes)? > FRAME_OCTETS_MAX {
        return None;
    }
    let mut out = vec![0; pixels * planes];
    for plane in 0..planes {
        let start = word(4 + 4 * plane)?;
        let end = if plane + 1 < planes { word(8 + 4 * plane)? } else { frame.len() };
        // Of each sample the most significant octet comes first.
        let (sample, octet) = (plane / octets, octets - 1 - plane % octets);
        let unpacked = unpack(frame.get(start..end)?, pixels)?;
        for (pixel, value) in unpacked.into_iter().enumerate() {
            out[(pixel * samples + sample) * octets + octet] = value;
        }
    }
    Some(out)
}

fn unpack(mut packed: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(length);
    while out.len() < length {
        let (control, rest) = packed.split_first()?;
        match usize::from(*control) {
            literal @ 0..=127 => {
                out.extend_from_slice(rest.get(..=literal)?);
                packed = &rest[literal + 1..];
            }
            128 => packed = rest,
            run => {
                out.extend(std::iter::repeat_n(*rest.first()?, 257 - run));
                packed = &rest[1..];
            }
        }
    }
    (out.len() == length).then_some(out)
}

/// The reverse of [`decode`].
pub(super) fn encode(pixels: &[u8], samples: usize, octets: usize) -> Vec<u8> {
    let planes = samples * octets;
    let mut header = vec![0; HEADER];
    let mut body = Vec::new();
    header[..4].copy_from_slice(&u32::try_from(planes).unwrap_or(0).to_le_bytes());
    for plane in 0..planes {
        let offset = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
        header[4 + 4 * plane..8 + 4 * plane].copy_from_slice(&offset.to_le_bytes());
        let (sample, octet) = (plane / octets, octets - 1 - plane % octets);
        let octets: Vec<u8> = pixels.chunks(planes).map(|pixel| pixel[sample * octets + octet]).collect();
        pack(&octets, &mut body);
        body.resize(body.len().next_multiple_of(2), 0);
    }
    header.extend_from_slice(&body);
    header
}

fn pack(octets: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while at < octets.len() {
        let run = octets[at..].iter().take(128).take_while(|octet| **octet == octets[at]).count();
        if run > 1 {
            out.push(u8::try_from(257 - run).unwrap_or(128));
            out.push(octets[at]);
            at += run;
            continue;
        }
        let rest = &octets[at..];
        let literal = rest.windows(2).take(127).take_while(|pair| pair[0] != pair[1]).count().max(1);
        out.push(u8::try_from(literal - 1).unwrap_or(0));
        out.extend_from_slice(&rest[..literal]);
        at += literal;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_again() {
        for (samples, octets) in [(1, 1), (1, 2), (3, 1), (3, 2)] {
            let pixels = 601;
            let plain: Vec<u8> =
                (0..pixels * samples * octets).map(|i| u8::try_from((i / 7 * i) % 13).unwrap()).collect();
            let frame = encode(&plain, samples, octets);
            assert_eq!(decode(&frame, pixels, samples, octets).unwrap(), plain);
            assert!(decode(&frame[..frame.len() - 4], pixels, samples, octets).is_none());
        }
        assert!(decode(&[0; 70], 4, 1, 1).is_none());
    }
}
