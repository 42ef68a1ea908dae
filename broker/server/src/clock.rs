//! Time as the broker sees it: what it writes into records and audit, and what ages and delays are measured by.
//!
//! Waits and time-outs go through `tokio::time`. A [`Clock::following`] goes with it, so that a broker whose tokio clock is paused
//! lives wholly in virtual time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hilum_core::Timestamp;
use tokio::time::Instant;

/// Tells the time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock(Source);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    System,
    Following { start: Timestamp, from: Instant },
}

impl Clock {
    /// The operating system's clock, which may be set forth and back.
    pub const SYSTEM: Self = Self(Source::System);

    /// A clock that shows `start` now and goes on as tokio's does. To be made inside a runtime where that is paused.
    #[must_use]
    pub fn following(start: Timestamp) -> Self {
        Self(Source::Following { start, from: Instant::now() })
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match self.0 {
            Source::System => {
                Timestamp(milliseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
            }
            Source::Following { start, from } => {
                Timestamp(start.0.saturating_add(milliseconds(from.elapsed())))
            }
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_with_tokio() {
        let clock = Clock::following(Timestamp(1_700_000_000_000));
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        assert_eq!(clock.now(), Timestamp(1_700_086_400_000));
    }

    #[test]
    fn the_system_knows_the_year() {
        assert!(Clock::SYSTEM.now() > Timestamp(1_750_000_000_000));
    }
}
