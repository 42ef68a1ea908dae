//! Going on after a lost connection: what is worth another try, how often, and after how long.

use std::time::Duration;

use hilum_core::wire::CloseCode;

use crate::error::{ConnectError, Lost, StreamError};

/// Tries in a row that get no further, after which the loss is reported.
const TRIES_MAX: u32 = 10;
/// How long to wait before the first of them. It doubles with each.
const DELAY_FIRST: Duration = Duration::from_millis(100);
/// How long to wait at most.
const DELAY_MAX: Duration = Duration::from_secs(5);

/// Counts the tries of one transfer.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    failed: u32,
}

impl Retries {
    /// The last try got further than the one before.
    pub(crate) fn progressed(&mut self) {
        self.failed = 0;
    }

    /// Waits for the time of the next try. False if there were enough.
    pub(crate) async fn wait(&mut self) -> bool {
        self.failed += 1;
        if self.failed > TRIES_MAX {
            return false;
        }
        tokio::time::sleep(delay(self.failed)).await;
        true
    }
}

fn delay(failed: u32) -> Duration {
    DELAY_FIRST.saturating_mul(1 << (failed - 1).min(16)).min(DELAY_MAX)
}

/// Whether a stream ended by the loss of its connection, and not by anybody's decision.
pub(crate) fn is_break(error: &StreamError) -> bool {
    match error {
        StreamError::Lost(Lost::TimedOut | Lost::Transport(_)) => true,
        StreamError::Lost(Lost::ClosedByBroker { code, .. }) => {
            matches!(code, CloseCode::Done | CloseCode::Stopping | CloseCode::TooMany | CloseCode::TimedOut)
        }
        _ => false,
    }
}

/// Whether connecting may succeed later.
pub(crate) fn may_connect_later(error: &ConnectError) -> bool {
    match error {
        ConnectError::NoAnswer { .. } | ConnectError::Handshake { .. } | ConnectError::Socket(_) => true,
        ConnectError::Address { .. } => true,
        ConnectError::Stream(source) => is_break(source),
        ConnectError::Credentials { .. }
        | ConnectError::CertificateRefused { .. }
        | ConnectError::Refused { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tries_are_bounded_and_begin_anew_with_progress() {
        let begun = tokio::time::Instant::now();
        let mut retries = Retries::default();
        let mut tries = 0;
        while retries.wait().await {
            tries += 1;
        }
        assert_eq!(tries, TRIES_MAX);
        assert!(begun.elapsed() > Duration::from_secs(20) && begun.elapsed() < Duration::from_secs(40));
        retries.progressed();
        assert!(retries.wait().await);
    }

    #[test]
    fn only_a_loss_is_worth_another_try() {
        let closed = |code| StreamError::Lost(Lost::ClosedByBroker { code, reason: String::new() });
        assert!(is_break(&StreamError::Lost(Lost::TimedOut)));
        assert!(is_break(&closed(CloseCode::Stopping)));
        assert!(!is_break(&closed(CloseCode::Malformed)), "we would be closed again");
        assert!(!is_break(&StreamError::Lost(Lost::ClosedHere)));
        assert!(!is_break(&StreamError::Finished));
    }
}
