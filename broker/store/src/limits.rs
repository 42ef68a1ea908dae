//! A named bound for everything in a store that could grow. Limits that the whole broker shares are in
//! [`hilum_core::limits`].

/// Octets of a segment file, after which a log goes on in a new one.
pub const SEGMENT_OCTETS: u64 = 64 << 20;
/// No log has got so far: what says that it is there was not written by us, and there is room to count on from it.
pub const OFFSET_MAX: u64 = 1 << 62;
/// As little was a segment written anew so often.
pub const GENERATION_MAX: u32 = 1 << 30;
/// Octets of plain entries of one append.
pub const APPEND_OCTETS_MAX: usize = 32 << 20;
/// Entries of one append.
pub const APPEND_ENTRIES_MAX: usize = 1 << 16;
/// Octets that wait for the disk in one log before appends to it are refused as overload.
pub const QUEUE_OCTETS_MAX: usize = 64 << 20;
/// Threads that write logs: so many logs may wait for their disks without holding up another.
pub const WRITER_THREADS_MAX: usize = 64;
/// Octets that one group commit takes.
pub const GROUP_OCTETS_MAX: usize = 16 << 20;
/// Octets of a segment between two entries of its index in memory.
pub const INDEX_STEP_OCTETS: u64 = 256 << 10;

/// Threads that read logs and metadata.
pub const IO_THREADS: usize = 4;
/// Threads that read and write large bodies, so that none of those keeps a reader of a log waiting.
pub const BLOB_THREADS: usize = 2;
/// Operations that wait for such a thread before more are refused as overload.
pub const IO_OPERATIONS_MAX: usize = 1 << 14;
/// Octets that one blob writer holds that are not yet written.
pub const BLOB_AHEAD_OCTETS_MAX: usize = 8 << 20;
/// Threads that sync large bodies behind those that write them.
pub const BLOB_SYNC_THREADS: usize = 2;
/// Octets that one blob writer writes before it has them synced. As many again may be on their way to the disk.
pub const BLOB_DIRTY_OCTETS_MAX: usize = 4 << 20;

/// Octets of a key of [`Meta`](crate::Meta).
pub const META_KEY_OCTETS_MAX: usize = 1024;
/// Octets of a value of [`Meta`](crate::Meta): sled keeps larger ones in files of their own, which it does not fsync.
pub const META_VALUE_OCTETS_MAX: usize = 64 << 10;
/// Entries of one [`scan`](crate::Meta::scan).
pub const META_SCAN_ENTRIES_MAX: usize = 4096;
/// Octets of memory that sled may use as its cache.
pub const META_CACHE_OCTETS: u64 = 32 << 20;
