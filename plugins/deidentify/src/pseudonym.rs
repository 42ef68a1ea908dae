//! Pseudonyms: what stands for an identifier, the same each time, made under a key that never leaves the host.
//!
//! A domain keeps kinds of identifiers apart, so a patient's number and an accession number that happen to be equal
//! get unrelated pseudonyms. A patient's number gets the same one whether it came in DICOM, HL7v2 or X12.

pub(crate) use hilum_formats::dicom::trim;

use crate::Refusal;

/// The domain of patient identifiers: DICOM (0010,0020), HL7v2 PID-3, X12 NM109 of the patient or subscriber.
pub const PATIENT: &str = "patient-id";
/// The domain of account numbers: HL7v2 PID-18, X12 CLM01.
pub const ACCOUNT: &str = "account";
/// The domain of the people who treat a patient: HL7v2 XCN.1, X12 NM109 of a provider.
pub const STAFF: &str = "staff-id";
/// The domain of the numbers of orders: DICOM (0008,0050), (0040,2016) and (0040,2017), HL7v2 ORC-2 and OBR-3 and the like, FHIR
/// ImagingStudy.identifier and the like, X12 REF02 after 6R.
pub const ORDER: &str = "order";
/// The domain of DICOM unique identifiers.
pub const UID: &str = "dicom-uid";

/// The domain of the keys of records, which order them.
pub const RECORD_KEY: &str = "record-key";

/// Keyed pseudonyms: HMAC-SHA-256 under a key of the host.
pub trait Pseudonyms {
    /// The pseudonym of each value in a domain, in order.
    ///
    /// # Errors
    /// When the host refuses the key.
    fn pseudonyms(&self, domain: &str, values: &[&[u8]]) -> Result<Vec<[u8; 32]>, Refusal>;

    /// By how many days the dates of the one whom a value in a domain names are shifted: from `-days_max` to `days_max`, never 0, and the
    /// same for the same value for ever.
    ///
    /// # Errors
    /// When the host refuses the key.
    fn date_shift(&self, domain: &str, value: &[u8], days_max: u32) -> Result<i32, Refusal>;
}

/// The pseudonym of one value.
///
/// # Errors
/// When the host refuses the key.
pub fn pseudonym(keys: &dyn Pseudonyms, domain: &str, value: &[u8]) -> Result<[u8; 32], Refusal> {
    let made = keys.pseudonyms(domain, &[value])?;
    made.first().copied().ok_or_else(|| Refusal::new("no-pseudonym", "the host returned no pseudonym"))
}

/// What stands for a patient's identifier: 32 hexadecimal digits, or nothing for an empty identifier.
/// Spaces around the identifier do not count.
///
/// # Errors
/// When the host refuses the key.
pub fn patient(keys: &dyn Pseudonyms, identifier: &[u8]) -> Result<String, Refusal> {
    let identifier = trim(identifier);
    if identifier.is_empty() {
        return Ok(String::new());
    }
    Ok(hexadecimal(&pseudonym(keys, PATIENT, identifier)?[..16]))
}

/// What stands for the key of a record: 32 hexadecimal digits.
///
/// # Errors
/// When the host refuses the key.
pub fn record_key(keys: &dyn Pseudonyms, key: &[u8]) -> Result<String, Refusal> {
    Ok(hexadecimal(&pseudonym(keys, RECORD_KEY, key)?[..16]))
}

fn hexadecimal(octets: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digits = |octet: &u8| [octet >> 4, octet & 15].map(|digit| char::from(DIGITS[usize::from(digit)]));
    octets.iter().flat_map(digits).collect()
}

/// What stands for another identifier of a message or claim, in its own domain: hexadecimal digits that fit the shortest field
/// that holds one, or nothing for an empty identifier. 16 of an order's number (VR SH, PS3.5 table 6.2-1), 20 of any other
/// (MSH-10 of HL7 v2.5.1, CLM01 of the claims).
///
/// That any two of n orders under one key get one pseudonym has a chance of about n^2 / 2^65: 3 in 10^8 for a million of them, 3 in
/// 10^6 for ten million.
///
/// # Errors
/// When the host refuses the key.
pub fn short(keys: &dyn Pseudonyms, domain: &str, identifier: &[u8]) -> Result<String, Refusal> {
    let identifier = trim(identifier);
    if identifier.is_empty() {
        return Ok(String::new());
    }
    let octets = pseudonym(keys, domain, identifier)?;
    let length = if domain == ORDER { 8 } else { 10 };
    Ok(hexadecimal(&octets[..length]))
}

/// What stands for a DICOM unique identifier: a UUID-derived one (PS3.5 B.2) whose UUID is of version 8 (RFC 9562
/// section 5.8), so at most 44 characters.
///
/// # Errors
/// When the host refuses the key.
pub fn uid(keys: &dyn Pseudonyms, original: &[u8]) -> Result<String, Refusal> {
    let octets = pseudonym(keys, UID, original)?;
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&octets[..16]);
    uuid[6] = 0x80 | (uuid[6] & 0x0F);
    uuid[8] = 0x80 | (uuid[8] & 0x3F);
    Ok(format!("2.25.{}", u128::from_be_bytes(uuid)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Stands in for the host: not an HMAC, but keyed, deterministic and spread over all octets.
    pub(crate) struct TestKeys(pub(crate) u64);

    impl Pseudonyms for TestKeys {
        fn pseudonyms(&self, domain: &str, values: &[&[u8]]) -> Result<Vec<[u8; 32]>, Refusal> {
            let fnv = |seed: u64, parts: [&[u8]; 2]| {
                parts.concat().iter().fold(seed ^ 0xCBF2_9CE4_8422_2325, |hash, octet| {
                    (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01B3).rotate_left(23)
                })
            };
            let one = |value: &&[u8]| {
                let mut made = [0; 32];
                for (i, lane) in (0u64..).zip(made.chunks_exact_mut(8)) {
                    let seed = (self.0 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(i << 40);
                    lane.copy_from_slice(&fnv(seed, [domain.as_bytes(), value]).to_be_bytes());
                }
                made
            };
            Ok(values.iter().map(one).collect())
        }

        fn date_shift(&self, domain: &str, value: &[u8], days_max: u32) -> Result<i32, Refusal> {
            let made = self.pseudonyms(domain, &[value])?[0][0];
            Ok(1 + i32::from(made) % days_max.cast_signed())
        }
    }

    #[test]
    fn a_patient_has_one_pseudonym_whatever_the_padding() {
        let keys = TestKeys(1);
        let plain = patient(&keys, b"4711").unwrap();
        assert_eq!(plain.len(), 32);
        assert_eq!(patient(&keys, b" 4711 \0").unwrap(), plain);
        assert_ne!(patient(&TestKeys(2), b"4711").unwrap(), plain);
        assert_eq!(patient(&keys, b"  ").unwrap(), "");
    }

    #[test]
    fn a_unique_identifier_is_derived_from_a_version_8_uuid() {
        let made = uid(&TestKeys(1), b"1.2.3").unwrap();
        let uuid: u128 = made.strip_prefix("2.25.").unwrap().parse().unwrap();
        assert_eq!((uuid >> 76) & 0xF, 8);
        assert_eq!((uuid >> 62) & 0b11, 0b10);
        assert!(made.len() <= 44);
        assert_ne!(uid(&TestKeys(1), b"1.2.4").unwrap(), made);
    }
}
