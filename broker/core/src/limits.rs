//! A named bound for every queue, map, loop and buffer.
//!
//! Constants are properties of the protocol or of the design and never change at run time. What a hospital
//! may tune is in the configuration, with its default here.

/// Characters of a name.
pub const NAME_CHARS_MAX: usize = 64;
/// Octets of a SPIFFE ID (SPIFFE-ID specification, section 2.3).
pub const SPIFFE_ID_OCTETS_MAX: usize = 2048;

/// Octets of a body that travels and is stored inside its record. Larger ones are blobs.
pub const INLINE_BODY_OCTETS_MAX: usize = 256 * 1024;
/// Octets of a large body.
pub const BLOB_OCTETS_MAX: u64 = 64 << 30;
/// Octets of a digest, as it follows the body of an upload.
pub const DIGEST_OCTETS: usize = 32;
/// Octets of one chunk of a large body, on disk and in memory.
pub const BLOB_CHUNK_OCTETS: usize = 256 * 1024;

/// Octets of a record's key.
pub const KEY_OCTETS_MAX: usize = 256;
/// Octets of a content type.
pub const CONTENT_TYPE_OCTETS_MAX: usize = 128;
/// Attributes of a record.
pub const ATTRIBUTES_MAX: usize = 32;
/// Octets of an attribute's name.
pub const ATTRIBUTE_NAME_OCTETS_MAX: usize = 64;
/// Octets of an attribute's value.
pub const ATTRIBUTE_VALUE_OCTETS_MAX: usize = 1024;
/// Labels of a record.
pub const LABELS_MAX: usize = 16;
/// Octets of all of a record's head together.
pub const HEAD_OCTETS_MAX: usize = 16 * 1024;

/// Octets of one frame of the wire protocol, without its length.
pub const FRAME_OCTETS_MAX: usize = 1 << 20;
/// Records of one publish frame.
pub const PUBLISH_RECORDS_MAX: usize = 256;

/// Records that go through a chain or into the log together.
pub const BATCH_RECORDS_MAX: usize = 256;
/// Octets of bodies that go through a chain or into the log together.
pub const BATCH_OCTETS_MAX: usize = 1 << 20;

/// Stages of a chain.
pub const CHAIN_STAGES_MAX: usize = 16;
/// Records that one record may be split into by a chain.
pub const SPLIT_RECORDS_MAX: usize = 64;
/// Items of one page of a list that an operator asks for: with the longest names and reasons it fits a frame.
pub const ADMIN_PAGE_ITEMS_MAX: usize = 100;
/// Characters of a refusal's reason.
pub const REASON_CHARS_MAX: usize = 256;
/// Publishers that a flow remembers for recognising retries.
pub const PRODUCERS_MAX: usize = 16_384;
/// Stages that emit to a flow and that it never forgets, beside its publishers.
pub const EMITTERS_MAX: usize = 1024;
/// Records of one append to a log.
pub const APPEND_RECORDS_MAX: usize = 4096;
/// Octets of bodies of one append to a log.
pub const APPEND_OCTETS_MAX: usize = 4 << 20;
/// Submissions, each of one publish frame, that wait for a flow.
pub const LANE_SUBMISSIONS_MAX: usize = 64;
/// Versions that a client may name in its hello.
pub const VERSIONS_MAX: usize = 8;
/// Deliveries of one deliver frame.
pub const DELIVER_RECORDS_MAX: usize = 256;
/// Ranges of offsets of one settle frame.
pub const SETTLE_RANGES_MAX: usize = 256;
/// Records of one subscription that are under way or put off: when there are more, it reads no further.
pub const UNSETTLED_MAX: usize = 65_536;
/// Ranges of settled records, and records with earlier deliveries, that are kept of a subscription while the broker is not running.
pub const PROGRESS_RANGES_MAX: usize = 1024;
/// Milliseconds that a reader may put a record off.
pub const NAK_DELAY_MS_MAX: u64 = 7 * 86_400_000;
/// Readers that share one subscription.
pub const READERS_MAX: usize = 256;
/// Records that may be under way on one publisher or subscription stream.
pub const CREDIT_RECORDS_MAX: u32 = 65_536;
/// Octets that may be under way on one publisher or subscription stream.
pub const CREDIT_OCTETS_MAX: u64 = 256 << 20;
/// Records that wait on a client's side for credit to be published.
pub const PUBLISH_QUEUE_RECORDS_MAX: usize = 65_536;
/// The highest sequence number of a producer and offset of a flow: far out of reach, and safe to count beyond.
pub const SEQUENCE_MAX: u64 = (1 << 62) - 1;
/// Legal holds at a time.
pub const HOLDS_MAX: usize = 16_384;
/// Subscriptions that are paused at a time.
pub const PAUSES_MAX: usize = 4096;
/// Trials of plugins that are remembered because they were rolled back.
pub const ROLLBACKS_MAX: usize = 4096;
/// Octets of an original that is kept for a pseudonym.
pub const ORIGINAL_OCTETS_MAX: usize = 1024;
/// Octets of the domain of one.
pub const ORIGINAL_DOMAIN_OCTETS_MAX: usize = 128;
/// Holders of a key whose originals are kept.
pub const HOLDERS_MAX: usize = 8;
/// Pseudonyms that an operator asks for at once.
pub const ASKED_MAX: usize = 64;
/// Originals that one pseudonym as it is written may stand for: more are not told.
pub const MEANT_MAX: usize = 4;
/// Keys that one pass of compaction remembers.
pub const COMPACTION_KEYS_MAX: usize = 262_144;
