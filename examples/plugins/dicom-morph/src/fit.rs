//! Which values a value representation of characters can have (PS3.5 table 6.2-1).

use hilum_formats::dicom::Vr;

/// Octets of a value whose representation has no narrower bound.
const OCTETS_MAX: usize = 1024;

/// Whether a value, of which there may be several between backslashes, is one of its representation.
pub(crate) fn fits(vr: Vr, value: &[u8]) -> bool {
    let several = !matches!(vr, Vr::LT | Vr::ST | Vr::UT | Vr::UR);
    if value.len() > OCTETS_MAX {
        return false;
    }
    if several {
        value.split(|octet| *octet == b'\\').all(|one| fits_one(vr, one))
    } else {
        fits_one(vr, value)
    }
}

fn fits_one(vr: Vr, value: &[u8]) -> bool {
    let all = |allowed: fn(u8) -> bool| value.iter().all(|octet| allowed(*octet));
    let number = |octet: u8| octet.is_ascii_digit() || b"+-. eE".contains(&octet);
    let (max, allowed) = match vr {
        Vr::AE => (16, all(|octet| octet.is_ascii_graphic() || octet == b' ')),
        Vr::AS => (4, value.is_empty() || is_age(value)),
        Vr::CS => {
            (16, all(|octet| octet.is_ascii_uppercase() || octet.is_ascii_digit() || b" _".contains(&octet)))
        }
        Vr::DA => (8, value.is_empty() || (value.len() == 8 && all(|octet| octet.is_ascii_digit()))),
        Vr::DS => (16, value.iter().all(|octet| number(*octet))),
        Vr::DT => (26, all(|octet| octet.is_ascii_digit() || b"+-.".contains(&octet))),
        Vr::IS => (12, all(|octet| octet.is_ascii_digit() || b"+- ".contains(&octet))),
        Vr::TM => (14, all(|octet| octet.is_ascii_digit() || octet == b'.')),
        Vr::UI => (64, all(|octet| octet.is_ascii_digit() || octet == b'.')),
        Vr::SH => (16, all(is_text)),
        Vr::LO => (64, all(is_text)),
        Vr::PN => (192, all(is_text)),
        Vr::UC | Vr::UR => (OCTETS_MAX, all(is_text)),
        Vr::LT | Vr::ST | Vr::UT => (OCTETS_MAX, all(|octet| is_text(octet) || b"\r\n\t".contains(&octet))),
        _ => (0, false),
    };
    allowed && value.len() <= max
}

/// No control character but the escape of ISO 2022 character sets.
fn is_text(octet: u8) -> bool {
    !octet.is_ascii_control() || octet == 0x1B
}

fn is_age(value: &[u8]) -> bool {
    matches!(value, [a, b, c, b'D' | b'W' | b'M' | b'Y'] if [a, b, c].iter().all(|digit| digit.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fit_their_representation() {
        for (vr, good, bad) in [
            (Vr::CS, "HEAD\\NECK", "Head"),
            (Vr::CS, "", "A_CODE_OF_17_CHARS"),
            (Vr::DA, "20261126", "2026-11-26"),
            (Vr::AS, "042Y", "42"),
            (Vr::IS, "-12", "1.5"),
            (Vr::DS, "1.5e3", "eins"),
            (Vr::UI, "1.2.840", "1.2.x"),
            (Vr::SH, "MR HEAD", "A SHORT STRING OF TOO MANY"),
            (Vr::LO, "Schädel", "two\nlines"),
            (Vr::LT, "two\nlines", "a\0b"),
        ] {
            assert!(fits(vr, good.as_bytes()), "{vr:?} {good}");
            assert!(!fits(vr, bad.as_bytes()), "{vr:?} {bad}");
        }
        assert!(!fits(Vr::US, b"1"), "a number is not text");
    }
}
