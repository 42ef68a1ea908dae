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

/// Spans inside the trace of the record that is being worked on. Grant: `trace`.
///
/// ```
/// use hilum_plugin::trace;
///
/// fn clean(body: &[u8]) -> Vec<u8> {
///     let mut span = trace::span("clean");
///     span.count("octets", body.len() as u64);
///     let left: Vec<u8> = trace::within("filter", || body.iter().copied().filter(u8::is_ascii).collect());
///     span.flag("changed", left.len() != body.len());
///     left
/// }
/// # clean(b"text");
/// ```
///
/// Where no record of a call is traced, which is the rule, nothing is kept and a span costs two calls of the host. Names have 1 to 64
/// characters of `a-z`, `0-9`, `_`, `.` and `-`, and a stage may use 32 of them: write them as constants. What is over is left
/// out, as are all spans after the 64th of a call.
pub mod trace {
    use crate::backend;

    /// Something that the plugin does, from [`span`] until it is dropped. Lines that are logged meanwhile belong to it.
    #[must_use = "a span ends when it is dropped"]
    pub struct Span(backend::Span);

    impl std::fmt::Debug for Span {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("Span").finish_non_exhaustive()
        }
    }

    /// Begins a span below the one that was begun last and is still open, or else below the stage's.
    pub fn span(name: &str) -> Span {
        Span(backend::Span::new(name))
    }

    /// Runs `work` in a span.
    pub fn within<T>(name: &str, work: impl FnOnce() -> T) -> T {
        let _span = span(name);
        work()
    }

    /// What may be told of a span.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub enum Value {
        /// How many, or how many octets.
        Count(u64),
        /// A quantity; dropped where it is infinite or not a number.
        Measure(f64),
        /// Whether something was so.
        Flag(bool),
    }

    impl Span {
        /// Tells a value. Of those with one name the last one counts; a span has at most 16.
        pub fn set(&mut self, name: &str, to: Value) {
            self.0.set(name, to);
        }

        /// Tells how many, or how many octets.
        pub fn count(&mut self, name: &str, count: u64) {
            self.set(name, Value::Count(count));
        }

        /// Tells a quantity.
        pub fn measure(&mut self, name: &str, measure: f64) {
            self.set(name, Value::Measure(measure));
        }

        /// Tells whether something was so.
        pub fn flag(&mut self, name: &str, flag: bool) {
            self.set(name, Value::Flag(flag));
        }
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

    /// [`seal`] of what is left in a reader; nothing of it enters the plugin. At most 64 MiB; [`seal_stream`] takes any size.
    pub fn seal_body(
        recipients: &[String],
        associated: &[u8],
        plain: BodyReader,
    ) -> Result<BodyReader, KeyError> {
        let rest = plain.into_rest().map_err(|error| KeyError::Other(error.to_string()))?;
        backend::seal_body(recipients, associated, rest).map(BodyReader::new)
    }

    /// Seals what is left in a reader of any size, in segments; nothing of it enters the plugin. What comes out is no COSE message but
    /// a stream with the media type `application/vnd.hilum.sealed-stream`, which `wit/v1/host.wit` describes.
    pub fn seal_stream(
        recipients: &[String],
        associated: &[u8],
        plain: BodyReader,
    ) -> Result<BodyReader, KeyError> {
        let rest = plain.into_rest().map_err(|error| KeyError::Other(error.to_string()))?;
        backend::seal_stream(recipients, associated, rest).map(BodyReader::new)
    }

    /// A value, and what it is bound to.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct BoundValue {
        /// Says which value of which record this is, so that it opens in no other place.
        pub context: Vec<u8>,
        /// At most 1 MiB.
        pub plain: Vec<u8>,
    }

    /// Seals each value as a text of its own, a JWE (RFC 7516), for fields of messages. At most 4096 at once.
    pub fn seal_values(recipients: &[String], values: Vec<BoundValue>) -> Result<Vec<String>, KeyError> {
        backend::seal_values(recipients, values)
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

    /// An authentication code of 32 octets for each value: HMAC-SHA-256. Whoever has the secret can check that the value is what
    /// this stage saw.
    pub fn macs(key: &str, values: &[Vec<u8>]) -> Result<Vec<[u8; 32]>, KeyError> {
        backend::macs(key, values)
    }

    /// [`macs`] of one value.
    pub fn mac(key: &str, value: &[u8]) -> Result<[u8; 32], KeyError> {
        let mut all = macs(key, &[value.to_vec()])?;
        all.pop().ok_or_else(|| KeyError::Other("the host gave no code".into()))
    }

    /// For each value a number of days by which to shift dates: from `-max_days` to `max_days`, never 0, each as likely as any other, and
    /// the same for the same value for ever. With another key, domain or `max_days` it is an unrelated one.
    ///
    /// Shift all dates of one patient by what this gives for the patient's identifier: the intervals between them stay.
    /// `max_days` is 1 to 36525.
    pub fn date_shifts(
        key: &str,
        domain: &str,
        values: &[Vec<u8>],
        max_days: u32,
    ) -> Result<Vec<i32>, KeyError> {
        backend::date_shifts(key, domain, values, max_days)
    }

    /// [`date_shifts`] of one value.
    pub fn date_shift(key: &str, domain: &str, value: &[u8], max_days: u32) -> Result<i32, KeyError> {
        let mut all = date_shifts(key, domain, &[value.to_vec()], max_days)?;
        all.pop().ok_or_else(|| KeyError::Other("the host gave no shift".into()))
    }
}

/// Keyed state of one stage, shared by its instances. What a call wrote is kept only if the call ends well. Grant:
/// `state`, in the world `observe`.
pub mod state {
    use crate::backend;

    /// Writes of others that [`update`] waits out.
    const UPDATE_ATTEMPTS: usize = 4;

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

    /// Reads a value, changes it and writes it; again from the start if another instance wrote in between. What `change` leaves is
    /// written if it is another one, and removed if it is `None`. Gives what `change` gave.
    ///
    /// ```
    /// use hilum_plugin::state;
    ///
    /// let seen = state::update("seen", |count| {
    ///     let before = count.take().and_then(|octets| octets.try_into().ok()).map_or(0, u64::from_be_bytes);
    ///     *count = Some((before + 1).to_be_bytes().to_vec());
    ///     before + 1
    /// })?;
    /// assert_eq!(seen, 1);
    /// # Ok::<(), state::StateError>(())
    /// ```
    pub fn update<R>(key: &str, mut change: impl FnMut(&mut Option<Vec<u8>>) -> R) -> Result<R, StateError> {
        for _ in 0..UPDATE_ATTEMPTS {
            let found = get(key)?;
            let version = found.as_ref().map_or(0, |found| found.version);
            let before = found.map(|found| found.value);
            let mut value = before.clone();
            let result = change(&mut value);
            let written = match (&before, &value) {
                (before, after) if before == after => return Ok(result),
                (_, Some(value)) => put(key, value, version).map(drop),
                (_, None) => remove(key, version),
            };
            match written {
                Err(StateError::Conflict) => {}
                written => return written.map(|()| result),
            }
        }
        Err(StateError::Conflict)
    }
}

/// What observing stages of the broker keep in their [`state`](crate::state), for other stages to read. Only what counts is seen: what they
/// made of records that are stored. Grants: `observed:FLOW/STAGE` for each stage, `keys:NAME` for [`codes`].
pub mod observed {
    use crate::backend;

    /// Why nothing was read. Who decides by what is kept must not let anything pass then.
    #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
    pub enum ObservedError {
        /// This stage was not granted what is named.
        #[error("`{0}` is not granted to this stage")]
        NotGranted(String),
        /// There are no keys or over 64 of them, or one has not 1 to 256 octets.
        #[error("1 to 64 keys of 1 to 256 octets are looked up at once")]
        Malformed,
        /// Anything else.
        #[error("{0}")]
        Other(String),
    }

    /// The same as [`keys::macs`](crate::keys::macs), for a plugin that need not be granted a key.
    pub fn codes(key: &str, values: &[Vec<u8>]) -> Result<Vec<[u8; 32]>, ObservedError> {
        backend::observed_codes(key, values)
    }

    /// The value of each key in the state of a stage, written `FLOW/STAGE`; none where it has none. All are of one moment.
    pub fn look_up(of: &str, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, ObservedError> {
        backend::look_up(of, keys)
    }
}

/// What whoever receives the records of a call stated when it began to read. To be asked for in each call: one instance may serve readers
/// who state different things. Needs no grant.
pub mod stated {
    use crate::backend;

    /// Why the reader breaks the glass: a code of 1 to 64 characters of `a-z`, `0-9`, `-`, `_` and `.`, at least one a letter. None where none was stated, and at
    /// ingress, where a publisher's records speak for it.
    #[must_use]
    pub fn break_glass_reason() -> Option<String> {
        backend::break_glass_reason()
    }
}

/// The time of what a `transform` plugin makes. Needs no grant.
///
/// A record has a time of its publisher's clock. Where a plugin moves or coarsens the dates in a body, that time would tell by how much: do the same
/// with it.
///
/// ```
/// use hilum_plugin::{Message, Outcome, testing, timing};
///
/// fn an_hour_earlier(message: Message) -> Outcome {
///     match timing::set_time(message.head.time - 3_600_000) {
///         Ok(()) => Outcome::Pass,
///         Err(error) => hilum_plugin::Refusal::new("time", error).into(),
///     }
/// }
///
/// let message = testing::message("text/plain", "a");
/// let time = message.head.time;
/// an_hour_earlier(message);
/// assert_eq!(testing::take().times[&0], time - 3_600_000);
/// ```
pub mod timing {
    use std::cell::Cell;

    use crate::backend;

    thread_local! {
        /// The place in its call of the message that is being transformed. A component has one thread.
        static CURRENT: Cell<u32> = const { Cell::new(0) };
    }

    /// Why a time was not set.
    #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
    pub enum TimingError {
        /// The call has no such message: it is of another world, or of `configure`.
        #[error("this call has no such message whose time could be set")]
        NoSuchMessage,
        /// It is after the year 9999.
        #[error("the time is after the year 9999")]
        OutOfRange,
        /// Anything else.
        #[error("{0}")]
        Other(String),
    }

    /// Sets the time, in milliseconds since 1970, of all records that come of the message that [`Transform::transform`] is called with. The last
    /// time counts. A record that passes then goes on as one that was annotated; where it is refused nothing is set.
    ///
    /// # Errors
    ///
    /// [`TimingError`]; then the record keeps its time, so refuse it if that tells too much.
    ///
    /// [`Transform::transform`]: crate::Transform::transform
    pub fn set_time(to: u64) -> Result<(), TimingError> {
        set_time_of(CURRENT.get(), to)
    }

    /// The same for a message by its place in the call, from 0: for those who write [`Transform::transform_batch`] themselves.
    ///
    /// # Errors
    ///
    /// [`TimingError`].
    ///
    /// [`Transform::transform_batch`]: crate::Transform::transform_batch
    pub fn set_time_of(message: u32, to: u64) -> Result<(), TimingError> {
        backend::set_time(message, to)
    }

    /// Does something for the message at this place of the call.
    pub(crate) fn at<R>(message: u32, of: impl FnOnce() -> R) -> R {
        CURRENT.set(message);
        let made = of();
        CURRENT.set(0);
        made
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
