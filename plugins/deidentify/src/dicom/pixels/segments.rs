//! Marker segments before the compressed data of a frame: JPEG and JPEG-LS (ITU-T T.81 B.1.1, T.87 C.1) and JPEG 2000 (ITU-T T.800 A.1). Comments and
//! what applications put there say who made the image, and often of whom. They are overwritten, so that nothing moves.

/// Begins a frame, and its compressed data.
const JPEG: ([u8; 2], [u8; 2]) = ([0xFF, 0xD8], [0xFF, 0xDA]);
const JPEG_2000: ([u8; 2], [u8; 2]) = ([0xFF, 0x4F], [0xFF, 0x90]);
/// Markers of what may be a comment: COM and APP0 to APP15, and COM of JPEG 2000.
const COMMENT: u8 = 0xFE;
const APPLICATION: std::ops::RangeInclusive<u8> = 0xE0..=0xEF;
const COMMENT_2000: u8 = 0x64;
/// How application data begin that decoders need: colours, and a size, of which none is text. A JFIF segment may have a thumbnail behind it.
const NEEDED: [(&[u8], usize); 4] = [(b"JFIF\0", 14), (b"Adobe", 12), (b"mrfx", 13), (b"SPIFF\0", 30)];
const COLOUR_PROFILE: &[u8] = b"ICC_PROFILE\0";

/// What a frame is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dicom) struct Malformed(pub(in crate::dicom) &'static str);

/// The kind of codestream that a transfer syntax has, if it has marker segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dicom) enum Codestream {
    Jpeg,
    Jpeg2000,
}

impl Codestream {
    /// That of a transfer syntax (PS3.5 A.4).
    pub(in crate::dicom) fn of(syntax: &str) -> Option<Codestream> {
        let number = syntax.strip_prefix("1.2.840.10008.1.2.4.")?;
        match number.parse::<u16>().ok()? {
            50..=81 => Some(Codestream::Jpeg),
            90..=93 | 201..=203 => Some(Codestream::Jpeg2000),
            _ => None,
        }
    }

    /// Whether octets are the beginning of a frame.
    pub(in crate::dicom) fn begins(self, octets: &[u8]) -> bool {
        octets.starts_with(&self.marks().0)
    }

    fn marks(self) -> ([u8; 2], [u8; 2]) {
        match self {
            Codestream::Jpeg => JPEG,
            Codestream::Jpeg2000 => JPEG_2000,
        }
    }

    /// Overwrites what is not needed to see the image, in the beginning of a frame, which has to reach to its compressed data.
    pub(in crate::dicom) fn blank(self, frame: &mut [u8]) -> Result<(), Malformed> {
        let mut at = 2;
        loop {
            let rest = frame.get_mut(at..).unwrap_or_default();
            if rest.starts_with(&self.marks().1) {
                return Ok(());
            }
            if rest.starts_with(&[0xFF, 0xFF]) {
                at += 1;
                continue;
            }
            let &mut [mark, kind, high, low, ..] = rest else {
                return Err(Malformed("the compressed data of a frame begin too late, or never"));
            };
            let length = usize::from(u16::from_be_bytes([high, low]));
            let segment = rest.get_mut(4..2 + length).filter(|_| mark == 0xFF && length >= 2);
            let segment =
                segment.ok_or(Malformed("a marker segment before the compressed data does not hold"))?;
            match self {
                Codestream::Jpeg if kind == COMMENT => segment.fill(b' '),
                Codestream::Jpeg if APPLICATION.contains(&kind) => blank_application(segment),
                // Two octets say that it is text.
                Codestream::Jpeg2000 if kind == COMMENT_2000 => {
                    if let Some(text) = segment.get_mut(2..) {
                        text.fill(b' ');
                    }
                }
                Codestream::Jpeg | Codestream::Jpeg2000 => {}
            }
            at += 2 + length;
        }
    }
}

fn blank_application(segment: &mut [u8]) {
    if segment.starts_with(COLOUR_PROFILE) {
        return;
    }
    let needed = NEEDED.iter().find(|(begin, _)| segment.starts_with(begin)).map_or(0, |(_, needed)| *needed);
    let needed = needed.min(segment.len());
    if segment.starts_with(b"JFIF\0") && segment.len() >= 14 {
        // No thumbnail: what was one is padding.
        segment[12..14].fill(0);
    }
    segment[needed..].fill(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(kind: u8, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 2).unwrap().to_be_bytes();
        [&[0xFF, kind][..], &length, value].concat()
    }

    #[test]
    fn comments_and_application_data_are_overwritten_and_nothing_moves() {
        let jpeg = [
            vec![0xFF, 0xD8],
            segment(0xE0, b"JFIF\0\x01\x02\0\0\x01\0\x01\x01\x01JaneDoe"),
            segment(0xE1, b"Exif\0\0JANE DOE 4711"),
            segment(0xE2, b"ICC_PROFILE\0\x01\x01colours"),
            segment(0xEE, b"Adobe\0\x64\0\0\0\0\x01DOE"),
            vec![0xFF],
            segment(COMMENT, b"DOE^JANE"),
            segment(0xDB, &[7; 65]),
            segment(0xDA, &[1, 2, 3]),
            b"DOE is noise here".to_vec(),
        ];
        let before = jpeg.concat();
        let mut frame = before.clone();
        Codestream::Jpeg.blank(&mut frame).unwrap();
        assert_eq!(frame.len(), before.len());
        let names =
            |octets: &[u8]| octets.windows(3).filter(|three| three.eq_ignore_ascii_case(b"DOE")).count();
        assert_eq!((names(&before), names(&frame)), (5, 1));
        for kept in
            [&b"JFIF\0\x01\x02"[..], b"ICC_PROFILE\0\x01\x01colours", b"Adobe\0\x64\0\0\0\0\x01", &[7; 65]]
        {
            assert!(frame.windows(kept.len()).any(|window| window == kept), "{kept:?}");
        }

        let codestream = [
            vec![0xFF, 0x4F],
            segment(0x51, &[0; 38]),
            segment(COMMENT_2000, b"\0\x01JANE DOE"),
            segment(0x90, &[0; 8]),
        ];
        let mut frame = codestream.concat();
        Codestream::Jpeg2000.blank(&mut frame).unwrap();
        assert!(names(&frame) == 0 && frame.windows(4).any(|window| window == b"\0\x01  "));
    }

    #[test]
    fn what_does_not_reach_its_compressed_data_is_malformed() {
        for octets in [
            &[0xFF, 0xD8][..],
            b"\xFF\xD8\xFF\xFE\x00\x01\x00\x00",
            b"\xFF\xD8\xFF\xFE\xFF\xFFtext",
            b"\xFF\xD8text text",
        ] {
            assert!(Codestream::Jpeg.blank(&mut octets.to_vec()).is_err(), "{octets:?}");
        }
        assert_eq!(Codestream::of("1.2.840.10008.1.2.4.70"), Some(Codestream::Jpeg));
        assert_eq!(Codestream::of("1.2.840.10008.1.2.4.91"), Some(Codestream::Jpeg2000));
        assert_eq!(Codestream::of("1.2.840.10008.1.2.4.102"), None);
        assert_eq!(Codestream::of("1.2.840.10008.1.2.5"), None);
    }
}
