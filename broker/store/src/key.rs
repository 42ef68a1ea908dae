//! The key-encryption key: 32 octets from a file, which never leave this process and are wiped with it.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

const KEY_OCTETS: usize = 32;
/// A key file is no longer than this: 64 hexadecimal digits and some white space.
const FILE_OCTETS_MAX: u64 = 256;

/// The key that wraps every data key of a store (AES-256). Wiped from memory when dropped.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; KEY_OCTETS]>);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("cannot read the key file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("{} is not a key file: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyTextError,
    },
}

/// Why a text is not a key. Never holds a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyTextError {
    /// Neither of the two lengths.
    #[error("a key is 64 hexadecimal digits or 44 characters of base64 (32 octets), this has {0} characters")]
    Length(usize),
    /// A character that the encoding does not have.
    #[error("the character at position {0} is neither hexadecimal nor base64, as the length would have it")]
    Character(usize),
    /// The system gave no random octets.
    #[error("the operating system gave no random octets")]
    Random,
}

impl MasterKey {
    /// Takes 32 octets.
    #[must_use]
    pub fn new(octets: [u8; KEY_OCTETS]) -> Self {
        Self(Zeroizing::new(octets))
    }

    /// Draws a new key.
    pub fn generate() -> Result<Self, KeyTextError> {
        let mut octets = Zeroizing::new([0; KEY_OCTETS]);
        aws_lc_rs::rand::fill(octets.as_mut_slice()).map_err(|_| KeyTextError::Random)?;
        Ok(Self(octets))
    }

    /// Reads 64 hexadecimal digits or 44 characters of base64 (RFC 4648, section 4), with white space around them.
    pub fn from_text(text: &str) -> Result<Self, KeyTextError> {
        let text = text.trim().as_bytes();
        match text.len() {
            64 => from_hex(text),
            44 => from_base64(text),
            other => Err(KeyTextError::Length(other)),
        }
    }

    /// Reads a file that holds what [`MasterKey::from_text`] takes. Warns when others than its owner may read it.
    pub fn from_file(path: &Path) -> Result<Self, KeyFileError> {
        let io = |source| KeyFileError::Io { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(io)?;
        warn_if_shared(path, &file);
        let mut text = Zeroizing::new(Vec::with_capacity(512));
        file.take(FILE_OCTETS_MAX).read_to_end(&mut text).map_err(io)?;
        let malformed = |source| KeyFileError::Malformed { path: path.to_owned(), source };
        let text = std::str::from_utf8(&text)
            .map_err(|error| malformed(KeyTextError::Character(error.valid_up_to())))?;
        Self::from_text(text).map_err(malformed)
    }

    /// The key as 64 hexadecimal digits, for a new key file.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = self.0.iter().flat_map(|octet| [octet >> 4, octet & 15]);
        let mut text = Zeroizing::new(String::with_capacity(2 * KEY_OCTETS));
        text.extend(digits.map(|digit| char::from(DIGITS[usize::from(digit)])));
        text
    }

    pub(crate) fn octets(&self) -> &[u8; KEY_OCTETS] {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(<hidden>)")
    }
}

fn warn_if_shared(path: &Path, file: &std::fs::File) {
    use std::os::unix::fs::PermissionsExt;
    let Ok(metadata) = file.metadata() else { return };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.display();
        tracing::warn!(
            "key file {path} has mode {mode:03o}: others than its owner may read it; chmod 600 it"
        );
    }
}

fn from_hex(text: &[u8]) -> Result<MasterKey, KeyTextError> {
    let mut key = Zeroizing::new([0; KEY_OCTETS]);
    for (position, &character) in text.iter().enumerate() {
        let digit = match character {
            b'0'..=b'9' => character - b'0',
            b'a'..=b'f' => character - b'a' + 10,
            b'A'..=b'F' => character - b'A' + 10,
            _ => return Err(KeyTextError::Character(position)),
        };
        key[position / 2] = key[position / 2] << 4 | digit;
    }
    Ok(MasterKey(key))
}

/// 32 octets are ten groups of four characters, then three characters that hold two octets, then one `=`.
fn from_base64(text: &[u8]) -> Result<MasterKey, KeyTextError> {
    let mut key = Zeroizing::new([0; KEY_OCTETS]);
    let (mut bits, mut bits_held, mut written) = (0_u32, 0, 0);
    for (position, &character) in text[..43].iter().enumerate() {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return Err(KeyTextError::Character(position)),
        };
        bits = bits << 6 | u32::from(value);
        bits_held += 6;
        if bits_held >= 8 {
            bits_held -= 8;
            key[written] = ((bits >> bits_held) & 0xff).to_le_bytes()[0];
            written += 1;
        }
    }
    if text[43] != b'=' {
        return Err(KeyTextError::Character(43));
    }
    // RFC 4648, section 3.5: pad bits are zero, so that a key has one text.
    if bits & ((1 << bits_held) - 1) != 0 {
        return Err(KeyTextError::Character(42));
    }
    Ok(MasterKey(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_encodings_of_the_same_key() {
        let hex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1B1C1D1E1F";
        let base64 = " AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
        let expected: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
        assert_eq!(MasterKey::from_text(hex).unwrap().octets(), &expected);
        assert_eq!(MasterKey::from_text(base64).unwrap().octets(), &expected);
        assert_eq!(*MasterKey::new(expected).to_hex(), hex.to_lowercase());
        let full = format!("{}8=", "/".repeat(42));
        assert_eq!(MasterKey::from_text(&full).unwrap().octets(), &[0xff; 32]);
    }

    #[test]
    fn says_what_is_wrong_without_the_key() {
        let check = |text: &str, error| assert_eq!(MasterKey::from_text(text).unwrap_err(), error, "{text}");
        check("", KeyTextError::Length(0));
        check(&"0".repeat(63), KeyTextError::Length(63));
        check(&format!("{}g", "0".repeat(63)), KeyTextError::Character(63));
        check(&format!("{}!A=", "A".repeat(41)), KeyTextError::Character(41));
        check(&"A".repeat(44), KeyTextError::Character(43));
        check(&format!("{}B=", "A".repeat(42)), KeyTextError::Character(42));
    }

    #[test]
    fn reads_a_file_and_names_it_in_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kek");
        let key = MasterKey::generate().unwrap();
        std::fs::write(&path, &*key.to_hex()).unwrap();
        assert_eq!(MasterKey::from_file(&path).unwrap().octets(), key.octets());
        std::fs::write(&path, [0xff; 64]).unwrap();
        assert!(MasterKey::from_file(&path).unwrap_err().to_string().contains("kek is not a key file"));
        let missing = MasterKey::from_file(&dir.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("cannot read the key file"), "{missing}");
        assert!(!format!("{key:?}").contains(&key.to_hex()[..8]));
    }
}
