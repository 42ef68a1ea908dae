//! Transfer syntaxes (PS3.5 Annex A): how the headers of data elements are encoded under each.

use super::Error;
use super::element::Encoding;

/// Explicit VR Little Endian.
pub const EXPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";

/// A transfer syntax.
#[derive(Clone, Copy, Debug)]
pub struct Syntax {
    uid: &'static str,
    /// How the headers of its data elements are encoded.
    pub encoding: Encoding,
    /// Whether the data set is one deflated stream.
    pub deflated: bool,
}

impl Syntax {
    /// The transfer syntax of the output: the same, but a deflated object is written inflated.
    pub fn written_as(&self) -> &'static str {
        if self.deflated { EXPLICIT_VR_LITTLE_ENDIAN } else { self.uid }
    }
}

/// The transfer syntaxes that are understood: those that PS3.6 Annex A registers, except the JPIP ones, whose pixel data is
/// elsewhere, under a URL that identifies the object.
static SYNTAXES: &[&str] = &[
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.98",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.52",
    "1.2.840.10008.1.2.4.53",
    "1.2.840.10008.1.2.4.54",
    "1.2.840.10008.1.2.4.55",
    "1.2.840.10008.1.2.4.56",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.58",
    "1.2.840.10008.1.2.4.59",
    "1.2.840.10008.1.2.4.60",
    "1.2.840.10008.1.2.4.61",
    "1.2.840.10008.1.2.4.62",
    "1.2.840.10008.1.2.4.63",
    "1.2.840.10008.1.2.4.64",
    "1.2.840.10008.1.2.4.65",
    "1.2.840.10008.1.2.4.66",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.92",
    "1.2.840.10008.1.2.4.93",
    "1.2.840.10008.1.2.4.100",
    "1.2.840.10008.1.2.4.100.1",
    "1.2.840.10008.1.2.4.101",
    "1.2.840.10008.1.2.4.101.1",
    "1.2.840.10008.1.2.4.102",
    "1.2.840.10008.1.2.4.102.1",
    "1.2.840.10008.1.2.4.103",
    "1.2.840.10008.1.2.4.103.1",
    "1.2.840.10008.1.2.4.104",
    "1.2.840.10008.1.2.4.104.1",
    "1.2.840.10008.1.2.4.105",
    "1.2.840.10008.1.2.4.105.1",
    "1.2.840.10008.1.2.4.106",
    "1.2.840.10008.1.2.4.106.1",
    "1.2.840.10008.1.2.4.107",
    "1.2.840.10008.1.2.4.108",
    "1.2.840.10008.1.2.4.110",
    "1.2.840.10008.1.2.4.111",
    "1.2.840.10008.1.2.4.112",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.8.1",
];

/// The transfer syntax of a unique identifier.
pub(super) fn by_uid(uid: &[u8]) -> Result<Syntax, Error> {
    let known = SYNTAXES.iter().find(|known| known.as_bytes() == uid);
    let uid = *known.ok_or_else(|| {
        Error::new(
            "unsupported-transfer-syntax",
            "the transfer syntax (0002,0010) is private, JPIP or unknown",
        )
    })?;
    let encoding = match uid {
        "1.2.840.10008.1.2" => Encoding::IMPLICIT_LITTLE,
        "1.2.840.10008.1.2.2" => Encoding::EXPLICIT_BIG,
        _ => Encoding::EXPLICIT_LITTLE,
    };
    Ok(Syntax { uid, encoding, deflated: uid == "1.2.840.10008.1.2.1.99" })
}
