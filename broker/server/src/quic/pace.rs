//! Large bodies give way to the records of their connection.
//!
//! Their streams come last already where packets are made. But what is in front of a record then is not the network alone: each octet
//! of a body is read, hashed, encrypted and written by the processors that the record needs, here and at the client. So bodies
//! take a bounded share of them for as long as records come or go, and all that there is otherwise.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// Octets a second of all bodies of a connection, both ways together, beside records: half of what an Ethernet of 1 Gbit/s carries,
/// so that no queue builds up in one, and about a fifth of what two processors move.
const OCTETS_PER_SECOND: usize = 60_000_000;
/// How long after a record bodies still make room for the next.
const RECENT: Duration = Duration::from_secs(2);

/// What bodies of one connection have to keep to.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When a record came or went last.
    record: Option<Instant>,
    /// Until when the share of bodies is taken.
    taken_until: Option<Instant>,
}

impl Pace {
    /// A record came or went.
    pub(super) fn record(&self) {
        self.0.lock().record = Some(Instant::now());
    }

    /// Comes back when bodies may go on after so many octets of them: at once where there are no records.
    pub(super) async fn give_way(&self, octets: usize) {
        let until = self.take(octets, Instant::now());
        if let Some(until) = until {
            sleep_until(until).await;
        }
    }

    fn take(&self, octets: usize, now: Instant) -> Option<Instant> {
        let mut state = self.0.lock();
        if state.record.is_none_or(|at| now.duration_since(at) > RECENT) {
            return None;
        }
        let nanoseconds = octets as u64 * 1_000_000_000 / OCTETS_PER_SECOND as u64;
        let begin = state.taken_until.map_or(now, |until| until.max(now));
        let until = begin + Duration::from_nanos(nanoseconds);
        state.taken_until = Some(until);
        Some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: usize = OCTETS_PER_SECOND;

    #[tokio::test(start_paused = true)]
    async fn bodies_share_a_rate_as_long_as_there_are_records() {
        let (pace, begun) = (Pace::default(), Instant::now());
        pace.give_way(SECOND).await;
        assert_eq!(begun.elapsed(), Duration::ZERO, "there are no records");

        pace.record();
        tokio::join!(pace.give_way(SECOND / 2), pace.give_way(SECOND / 2));
        assert_eq!(begun.elapsed(), Duration::from_secs(1), "two bodies have one share");

        tokio::time::advance(Duration::from_secs(1)).await;
        pace.record();
        pace.give_way(SECOND / 2).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(2500), "what was not taken is not saved up");

        tokio::time::advance(RECENT).await;
        pace.give_way(SECOND).await;
        assert_eq!(begun.elapsed(), Duration::from_millis(2500) + RECENT, "no more records come");
    }
}
