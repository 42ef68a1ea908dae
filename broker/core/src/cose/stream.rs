//! A sealed stream: the message with its key, and the segments under that key, as one body.
//!
//! | part | octets |
//! |---|---|
//! | length of the message | 4, big-endian |
//! | a tagged COSE_Encrypt message of the profile that the module above has; its content is 32 octets of key material, its protected header has the content type (label 3) [`KEY_CONTENT_TYPE`] | at most [`KEY_MESSAGE_OCTETS_MAX`] |
//! | the header and the segments of Tink's `AES256_GCM_HKDF_1MB` under that key material | all the others |
//!
//! Both parts are bound to the same associated data, and to each other by the key, which no other stream has.

use coset::{ContentType, CoseEncrypt, HeaderBuilder};
use zeroize::Zeroizing;

use super::segments::{Decryption, Encryption, HEADER_OCTETS};
use super::{OpenError, PrivateKey, SealError, Sealer, SymmetricKey};

/// The media type of a sealed stream.
pub const STREAM_CONTENT_TYPE: &str = "application/vnd.hilum.sealed-stream";
/// What the message with the key says that is in it, so that nothing else is taken for a key, nor a key for a body.
pub const KEY_CONTENT_TYPE: &str = "application/vnd.hilum.aes256-gcm-hkdf-1mb-key";
/// Octets of the message with the key. That to 64 recipients has some 13 000.
pub const KEY_MESSAGE_OCTETS_MAX: usize = 64 * 1024;
/// Octets of the length before the message.
const LENGTH_OCTETS: usize = 4;

impl Sealer {
    /// Begins a stream to the recipients, bound to `associated`, and appends its first octets to `out`.
    ///
    /// # Errors
    ///
    /// As [`Sealer::seal`].
    pub fn stream(&self, associated: &[u8], out: &mut Vec<u8>) -> Result<StreamSealer, SealError> {
        let mut material = SymmetricKey::default();
        aws_lc_rs::rand::fill(material.as_mut()).map_err(|_| SealError::Module("the key of a stream"))?;
        let protected = HeaderBuilder::new().content_type(KEY_CONTENT_TYPE.to_owned());
        let message = self.seal_as(protected, associated, material.as_ref())?;
        let length = u32::try_from(message.len()).map_err(|_| SealError::Module("encoding"))?;
        let (encryption, header) = Encryption::begin(&material, associated)?;
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&message);
        out.extend_from_slice(&header);
        Ok(StreamSealer(encryption))
    }
}

/// Seals a stream of any length: [`push`](Self::push) its octets in order, then [`finish`](Self::finish).
///
/// It holds at most a segment. What comes out without the end of `finish` is a stream that was cut off, and does not open to its
/// end.
pub struct StreamSealer(Encryption);

impl StreamSealer {
    /// Seals the next octets, and appends what can go on to `out`: hardly more than was pushed, and a segment.
    ///
    /// # Errors
    ///
    /// [`SealError::TooManySegments`], [`SealError::Module`]. The stream is of no use then.
    pub fn push(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        self.0.push(plain, out)
    }

    /// Appends the end to `out`.
    ///
    /// # Errors
    ///
    /// As [`StreamSealer::push`].
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), SealError> {
        self.0.finish(out)
    }
}

/// Opens a stream with the private key of one of its recipients: [`push`](Self::push) its octets in order, in any pieces, then
/// [`finish`](Self::finish).
///
/// What comes out was sealed, and began the body in this order. Whether it is all of it is what `finish` says: what came out
/// before is to be thrown away where that, or any push, fails.
pub struct StreamOpener<'a> {
    key: &'a PrivateKey,
    associated: Vec<u8>,
    state: State,
}

/// Opens a whole stream that is in memory; see [`StreamOpener`].
///
/// # Errors
///
/// [`OpenError`], for any octets whatever.
pub fn open_stream(key: &PrivateKey, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let mut opener = StreamOpener::new(key, associated);
    let mut plain = Vec::new();
    opener.push(sealed, &mut plain)?;
    opener.finish(&mut plain)?;
    Ok(plain)
}

enum State {
    /// Length, message and header, as far as they have come.
    Begins(Vec<u8>),
    /// Segments.
    Goes(Box<Decryption>),
    /// It does not open.
    Failed(OpenError),
}

impl<'a> StreamOpener<'a> {
    /// For a stream that was bound to `associated`.
    #[must_use]
    pub fn new(key: &'a PrivateKey, associated: &[u8]) -> Self {
        Self { key, associated: associated.to_vec(), state: State::Begins(Vec::new()) }
    }

    /// Takes the next octets of the stream, and appends what was in the segments that are complete, and checked, to `out`.
    ///
    /// # Errors
    ///
    /// [`OpenError`], for any octets whatever; and the same one ever after.
    pub fn push(&mut self, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), OpenError> {
        let pushed = self.take(sealed, out);
        if let Err(error) = &pushed {
            self.state = State::Failed(error.clone());
        }
        pushed
    }

    /// Appends what was in the last segment to `out`. Without an error, the whole body came out.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: the stream was cut off, or something of it failed before.
    pub fn finish(self, out: &mut Vec<u8>) -> Result<(), OpenError> {
        match self.state {
            State::Begins(_) => Err(OpenError::NotAStream("it ends before its segments begin")),
            State::Goes(decryption) => decryption.finish(out),
            State::Failed(error) => Err(error),
        }
    }

    fn take(&mut self, mut sealed: &[u8], out: &mut Vec<u8>) -> Result<(), OpenError> {
        loop {
            match &mut self.state {
                State::Goes(decryption) => return decryption.push(sealed, out),
                State::Failed(error) => return Err(error.clone()),
                State::Begins(held) => {
                    let wanted = wanted(held)?;
                    if held.len() == wanted {
                        let decryption = begin(self.key, &self.associated, held)?;
                        self.state = State::Goes(Box::new(decryption));
                        continue;
                    }
                    if sealed.is_empty() {
                        return Ok(());
                    }
                    let (now, rest) = sealed.split_at(sealed.len().min(wanted - held.len()));
                    held.extend_from_slice(now);
                    sealed = rest;
                }
            }
        }
    }
}

/// Octets before the segments, as far as it is known.
fn wanted(held: &[u8]) -> Result<usize, OpenError> {
    let Some(length) = held.first_chunk::<LENGTH_OCTETS>() else { return Ok(LENGTH_OCTETS) };
    let length = u32::from_be_bytes(*length) as usize;
    if length > KEY_MESSAGE_OCTETS_MAX {
        return Err(OpenError::NotAStream("the message with its key is too long"));
    }
    Ok(LENGTH_OCTETS + length + HEADER_OCTETS)
}

fn begin(key: &PrivateKey, associated: &[u8], held: &[u8]) -> Result<Decryption, OpenError> {
    let early = OpenError::NotAStream("it ends before its segments begin");
    let (before, header) = held.split_last_chunk::<HEADER_OCTETS>().ok_or(early.clone())?;
    let message = before.get(LENGTH_OCTETS..).ok_or(early)?;
    let message = super::parse(associated, message)?;
    if !holds_key(&message) {
        return Err(OpenError::NotAStream("the message before it does not say that it has its key"));
    }
    let content = Zeroizing::new(super::open_parsed(key, associated, &message)?);
    let content = content.as_slice().try_into();
    let material =
        SymmetricKey::new(content.map_err(|_| OpenError::NotAStream("its key has not 32 octets"))?);
    Decryption::new(&material, header, associated)
}

/// Whether what a message has in it is, by its protected header, the key of a stream.
pub(super) fn holds_key(message: &CoseEncrypt) -> bool {
    matches!(&message.protected.header.content_type, Some(ContentType::Text(text)) if text == KEY_CONTENT_TYPE)
}
