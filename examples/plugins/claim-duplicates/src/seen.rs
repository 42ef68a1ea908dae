//! Which claims were seen: keyed hashes, sorted into buckets of the stage's state, so that a look-up touches one value and old ones are
//! forgotten on the way.

use hilum_plugin::state::{self, StateError};

/// Buckets; no call changes more of them than a call may.
const BUCKETS: u16 = 1024;
/// Octets of one claim in a bucket: fingerprint, day and number of times.
const ENTRY_OCTETS: usize = 16 + 4 + 2;
/// Claims of one bucket, so that it fits a value of the state.
const ENTRIES_MAX: usize = (64 << 10) / ENTRY_OCTETS;

/// Half of a claim's pseudonym: 128 bits tell claims apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint([u8; 16]);

impl Fingerprint {
    pub(crate) fn of(pseudonym: &[u8; 32]) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&pseudonym[..16]);
        Self(half)
    }

    pub(crate) fn bucket(self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]]) % BUCKETS
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    fingerprint: Fingerprint,
    /// The day that it was seen first, in days since 1970.
    day: u32,
    times: u16,
}

/// Some of the claims that were seen, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Bucket(Vec<Entry>);

impl Bucket {
    /// Remembers a claim; if it was there, the day that it was seen first and how often it was seen now.
    pub(crate) fn insert(&mut self, fingerprint: Fingerprint, day: u32) -> Option<(u32, u16)> {
        match self.0.iter_mut().find(|entry| entry.fingerprint == fingerprint) {
            Some(entry) => {
                entry.times = entry.times.saturating_add(1);
                Some((entry.day, entry.times))
            }
            None => {
                self.0.push(Entry { fingerprint, day, times: 1 });
                None
            }
        }
    }

    /// Forgets a claim.
    pub(crate) fn remove(&mut self, fingerprint: Fingerprint) {
        self.0.retain(|entry| entry.fingerprint != fingerprint);
    }

    /// Forgets what is out of the window.
    pub(crate) fn forget_before(&mut self, day: u32) {
        self.0.retain(|entry| entry.day >= day);
    }

    /// Forgets the oldest of too many; how many there were.
    pub(crate) fn shorten(&mut self) -> u64 {
        let too_many = self.0.len().saturating_sub(ENTRIES_MAX);
        self.0.drain(..too_many);
        too_many as u64
    }

    fn decode(octets: &[u8]) -> Self {
        let entry = |octets: &[u8; ENTRY_OCTETS]| {
            let (fingerprint, rest) = octets.split_first_chunk::<16>()?;
            let (day, times) = rest.split_first_chunk::<4>()?;
            Some(Entry {
                fingerprint: Fingerprint(*fingerprint),
                day: u32::from_be_bytes(*day),
                times: u16::from_be_bytes(times.try_into().ok()?),
            })
        };
        Self(octets.as_chunks::<ENTRY_OCTETS>().0.iter().filter_map(entry).collect())
    }

    fn encode(&self) -> Vec<u8> {
        let mut octets = Vec::with_capacity(self.0.len() * ENTRY_OCTETS);
        for Entry { fingerprint, day, times } in &self.0 {
            octets.extend_from_slice(&fingerprint.0);
            octets.extend_from_slice(&day.to_be_bytes());
            octets.extend_from_slice(&times.to_be_bytes());
        }
        octets
    }
}

/// Reads a bucket, changes it and writes it.
pub(crate) fn update<R>(bucket: u16, mut change: impl FnMut(&mut Bucket) -> R) -> Result<R, StateError> {
    state::update(&format!("claims/{bucket:04}"), |value| {
        let mut bucket = value.as_deref().map_or_else(Bucket::default, Bucket::decode);
        let result = change(&mut bucket);
        *value = (!bucket.0.is_empty()).then(|| bucket.encode());
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(n: u32) -> Fingerprint {
        let mut octets = [0; 16];
        octets[12..].copy_from_slice(&n.to_be_bytes());
        Fingerprint(octets)
    }

    #[test]
    fn a_full_bucket_forgets_the_oldest_and_fits_a_value() {
        let mut bucket = Bucket::default();
        for n in 0..4000 {
            assert_eq!(bucket.insert(fingerprint(n), 20_000 + n), None);
        }
        assert_eq!(bucket.shorten(), 4000 - ENTRIES_MAX as u64);
        assert_eq!(bucket.insert(fingerprint(3999), 30_000), Some((23_999, 2)));
        assert_eq!(bucket.insert(fingerprint(0), 30_000), None);
        bucket.remove(fingerprint(0));
        let octets = bucket.encode();
        assert!(octets.len() <= 64 << 10);
        assert_eq!(Bucket::decode(&octets).0, bucket.0);
    }
}
