//! The stored form of what is known of a flow's publishers.

use serde::{Deserialize, Serialize};

use super::{Kept, Producers, Track};
use crate::limits::{EMITTERS_MAX, PRODUCERS_MAX};
use crate::record::{ProducerId, Timestamp};

/// First octet of a checkpoint.
const VERSION: u8 = 1;

/// The octets are no checkpoint of this build's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what is kept of the flow's publishers cannot be read")]
pub struct CheckpointError;

#[derive(Serialize, Deserialize)]
struct Saved {
    now: Timestamp,
    forgotten_through: Option<Timestamp>,
    /// The longest silent first.
    tracks: Vec<(ProducerId, Timestamp, Track)>,
}

impl Producers {
    /// A version octet, then all that is known, in postcard: at most about 60 octets for each publisher.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut kept: Vec<_> = self.tracks.iter().collect();
        kept.sort_unstable_by_key(|(_, kept)| kept.used);
        let tracks = kept.into_iter().map(|(id, kept)| (*id, kept.heard, kept.track)).collect();
        let saved = Saved { now: self.now, forgotten_through: self.forgotten_through, tracks };
        postcard::to_extend(&saved, vec![VERSION]).expect("plain data encodes into memory")
    }

    /// Reads what [`Producers::encode`] wrote. Nobody has a stream, and nobody is exempt.
    pub fn decode(octets: &[u8]) -> Result<Self, CheckpointError> {
        let (&version, rest) = octets.split_first().ok_or(CheckpointError)?;
        let (saved, rest): (Saved, _) = postcard::take_from_bytes(rest).map_err(|_| CheckpointError)?;
        if version != VERSION || !rest.is_empty() || saved.tracks.len() > PRODUCERS_MAX + EMITTERS_MAX {
            return Err(CheckpointError);
        }
        let Saved { now, forgotten_through, tracks } = saved;
        let mut producers = Self { now, forgotten_through, ..Self::default() };
        for (producer, heard, track) in tracks {
            producers.uses += 1;
            let used = producers.uses;
            producers.tracks.insert(producer, Kept { track, used, heard, streams: 0 });
            producers.idle.insert(used, producer);
        }
        Ok(producers)
    }
}
