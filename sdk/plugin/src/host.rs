//! What a plugin may ask of the broker. Each module is one host interface and has to be granted to the stage by its name.

/// A few lines for operators. Never a value from a record: name fields and give counts.
pub mod log {
    use crate::backend;

    /// How much a line matters.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Level {
        /// For the plugin's developer.
        Debug,
        /// Worth knowing.
        Info,
        /// Somebody should look.
        Warn,
        /// Something failed. Kept even without the grant `log`.
        Error,
    }

    /// Writes one line.
    pub fn log(level: Level, message: &str) {
        backend::log(level, message);
    }

    /// Writes one line for the plugin's developer.
    pub fn debug(message: impl AsRef<str>) {
        log(Level::Debug, message.as_ref());
    }

    /// Writes one line worth knowing.
    pub fn info(message: impl AsRef<str>) {
        log(Level::Info, message.as_ref());
    }

    /// Writes one line that somebody should look at.
    pub fn warn(message: impl AsRef<str>) {
        log(Level::Warn, message.as_ref());
    }

    /// Writes one line about a failure.
    pub fn error(message: impl AsRef<str>) {
        log(Level::Error, message.as_ref());
    }
}

/// Figures about the work. Grant: `metrics`.
pub mod metrics {
    use crate::backend;

    /// Adds to a counter.
    pub fn add(counter: &str, value: u64) {
        backend::metrics_add(counter, value);
    }

    /// Records one value of a histogram.
    pub fn sample(histogram: &str, value: f64) {
        backend::metrics_sample(histogram, value);
    }
}

/// Keys stay with the broker; a stage uses those it was granted, by name. Grants: `keys:NAME`, `recipient:NAME`.
pub mod keys {
    use crate::backend;
    use crate::body::BodyReader;

    /// Why a key could not be used.
    #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
    pub enum KeyError {
        /// The stage was not granted this name.
        #[error("`{0}` is not granted to this stage")]
        NotGranted(String),
        /// The name has no key of the kind needed.
        #[error("`{0}` has no valid key")]
        NoValidKey(String),
        /// What should be opened was not sealed to this key, was changed, or belongs to other associated data.
        #[error("the sealed octets do not open")]
        Malformed,
        /// Anything else.
        #[error("{0}")]
        Other(String),
    }

    /// COSE_Encrypt (RFC 9052, section 5.1) to all of the named recipients. At most 64 MiB.
    pub fn seal(recipients: &[String], associated: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        backend::seal(recipients, associated, plain)
    }

    /// The reverse of [`seal`], with one recipient's private key.
    pub fn open(key: &str, associated: &[u8], sealed: &[u8]) -> Result<Vec<u8>, KeyError> {
        backend::open(key, associated, sealed)
    }

    /// [`seal`] of what is left in a reader; nothing of it enters the plugin. At most 64 MiB.
    pub fn seal_body(
        recipients: &[String],
        associated: &[u8],
        plain: BodyReader,
    ) -> Result<BodyReader, KeyError> {
        let rest = plain.into_rest().map_err(|error| KeyError::Other(error.to_string()))?;
        backend::seal_body(recipients, associated, rest).map(BodyReader::new)
    }

    /// A keyed, one-way stand-in of 32 octets for each value: HMAC-SHA-256 in a domain. The same value has an unrelated
    /// pseudonym in another domain or under another key.
    pub fn pseudonyms(key: &str, domain: &str, values: &[Vec<u8>]) -> Result<Vec<[u8; 32]>, KeyError> {
        backend::pseudonyms(key, domain, values)
    }

    /// [`pseudonyms`] of one value.
    pub fn pseudonym(key: &str, domain: &str, value: &[u8]) -> Result<[u8; 32], KeyError> {
        let mut all = pseudonyms(key, domain, &[value.to_vec()])?;
        all.pop().ok_or_else(|| KeyError::Other("the host gave no pseudonym".into()))
    }
}

/// Keyed state of one stage, shared by its instances. What a call wrote is kept only if the call ends well. Grant:
/// `state`, in the world `observe`.
pub mod state {
    use crate::backend;

    /// A value with its version.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Versioned {
        /// The octets.
        pub value: Vec<u8>,
        /// From 1; each write makes it larger.
        pub version: u64,
    }

    /// Why state could not be read or written.
    #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
    pub enum StateError {
        /// Someone else wrote in between: read again.
        #[error("the state changed in between")]
        Conflict,
        /// Over the stage's number of keys or octets.
        #[error("the state is full")]
        Full,
        /// Anything else.
        #[error("{0}")]
        Other(String),
    }

    /// The value of a key, if it has one.
    pub fn get(key: &str) -> Result<Option<Versioned>, StateError> {
        backend::state_get(key)
    }

    /// Writes if the version is still `expected`, where 0 expects absence; gives the new version.
    pub fn put(key: &str, value: &[u8], expected: u64) -> Result<u64, StateError> {
        backend::state_put(key, value, expected)
    }

    /// Removes if the version is still `expected`.
    pub fn remove(key: &str, expected: u64) -> Result<(), StateError> {
        backend::state_remove(key, expected)
    }
}

/// New records into other flows, in the world `observe`. Grant: `emit:FLOW` for each flow.
pub mod emit {
    use crate::backend;
    use crate::record::Draft;

    /// Why a record could not be emitted.
    #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
    pub enum EmitError {
        /// The stage was not granted this flow.
        #[error("emitting to `{0}` is not granted to this stage")]
        NotGranted(String),
        /// Over the number or octets that one call may emit.
        #[error("this call has emitted all it may")]
        Full,
        /// Anything else.
        #[error("{0}")]
        Other(String),
    }

    /// Emits a record with an inline body. It leaves when the records of this call are durable, or not at all.
    pub fn emit(flow: &str, made: Draft) -> Result<(), EmitError> {
        backend::emit(flow, made)
    }
}

/// The broker's clock. Grant: `time`.
pub mod time {
    use crate::backend;

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn now() -> u64 {
        backend::now()
    }
}

/// Cryptographically secure random octets. Grant: `random`.
pub mod random {
    use crate::backend;

    /// `n` octets, at most 65536.
    #[must_use]
    pub fn octets(n: u32) -> Vec<u8> {
        backend::random(n)
    }
}
