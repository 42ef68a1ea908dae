//! What became of an order to reload whose answer was lost with the connection.
//!
//! The broker carries an order out whether anybody waits for the answer or not. So the broker is asked again, over a new connection, what
//! it runs: the digest of the configuration says whether the order took place. It answers that when no reload is under way, and an order
//! that comes in later is refused where the files are not any more those that were shown. So once the files are as they were before,
//! its answer is final.

use std::time::Duration;

use hilum_client::admin::AdminError;
use hilum_client::{ConnectError, RefusalCode, StreamError};
use hilum_core::Digest;

use super::Place;
use crate::output::{Exit, Failure};

/// Waits between attempts to reach the broker. With what an attempt itself may take, this is less than a minute.
const PAUSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(6),
];

/// An order to take a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    /// What the broker ran when it was given.
    pub(super) before: Digest,
    /// What was ordered.
    pub(super) wanted: Digest,
}

/// What the broker runs.
#[derive(Debug)]
pub(crate) enum Found {
    /// What was ordered.
    Wanted,
    /// What it ran before.
    Before,
    /// It cannot be found out, and why.
    Unknown(anyhow::Error),
}

/// Whether an order that ended like this may have been carried out.
pub(super) fn may_be_applied(error: &AdminError) -> bool {
    match &error.source {
        // One that was given up after it had begun is a defect of the broker, and may have been half-way.
        StreamError::Refused(refusal) => refusal.code == RefusalCode::Internal,
        _ => true,
    }
}

impl Order {
    /// Asks the broker what it runs, over new connections, until it says so or the attempts are used up.
    pub(crate) async fn found(self, place: &Place) -> Found {
        let mut last = None;
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            match running(place).await {
                Ok(digest) => return self.judge(digest),
                Err(error) => {
                    let is_final = !is_passing(&error);
                    last = Some(error);
                    if is_final {
                        break;
                    }
                }
            }
        }
        Found::Unknown(last.unwrap_or_else(|| anyhow::anyhow!("the broker was not asked")))
    }

    fn judge(self, digest: Digest) -> Found {
        if digest == self.wanted {
            Found::Wanted
        } else if digest == self.before {
            Found::Before
        } else {
            Found::Unknown(anyhow::anyhow!(
                "the broker runs a third configuration, {digest}: somebody else changed it"
            ))
        }
    }
}

async fn running(place: &Place) -> anyhow::Result<Digest> {
    let (client, mut admin) = place.open("").await?;
    let digest = admin.standing(Duration::ZERO).await?.digest;
    client.close().await;
    Ok(digest)
}

/// Whether another attempt may come to something else.
fn is_passing(error: &anyhow::Error) -> bool {
    let stream = match error.downcast_ref::<ConnectError>() {
        Some(ConnectError::NoAnswer { .. } | ConnectError::Socket(_)) => return true,
        Some(ConnectError::Stream(stream)) => Some(stream),
        Some(_) => return false,
        None => error.downcast_ref::<AdminError>().map(|error| &error.source),
    };
    match stream {
        Some(StreamError::Refused(refusal)) => refusal.retryable,
        Some(_) => true,
        None => false,
    }
}

/// The order was not carried out, and will not be.
pub(crate) fn not_taken(lost: &anyhow::Error, files: &str) -> anyhow::Error {
    let what = format!("{lost}; the broker runs what it ran before, so nothing was changed{files}");
    Failure { exit: Exit::NotConnected, what, help: "do it again".to_owned() }.into()
}

/// It cannot be found out whether it was. What is in the directory stays there: the broker checked it, and was told to take it. If it
/// did, going back would let its next start undo that without a word; if it did not, its next start does what was meant, and until then
/// a reload shows the difference.
pub(crate) fn unknown(lost: &anyhow::Error, why: &anyhow::Error, place: &Place) -> anyhow::Error {
    let what = format!(
        "{lost}; whether the broker took the configuration is not known, because it could not be asked: {why:#}. The files stay as they \
         were ordered, and nothing that the broker may still need is deleted"
    );
    let command = format!("hilum reload {} --as {}", place.directory.display(), place.identity);
    let help = format!(
        "`{command} --dry-run` says what the broker lacks of them, or that it has them; `{command}` lets it take them"
    );
    Failure { exit: Exit::NotConnected, what, help }.into()
}

#[cfg(test)]
mod tests {
    use hilum_client::Refusal;

    use super::*;

    #[test]
    fn the_digest_says_what_took_place() {
        let [before, wanted, other] = [1, 2, 3].map(|number| Digest([number; 32]));
        let order = Order { before, wanted };
        assert!(matches!(order.judge(wanted), Found::Wanted));
        assert!(matches!(order.judge(before), Found::Before));
        assert!(matches!(order.judge(other), Found::Unknown(_)));
    }

    #[test]
    fn a_refusal_is_an_answer_and_a_break_is_none() {
        let error = |source| AdminError { purpose: "reload the configuration", source };
        let refused = |code| error(StreamError::Refused(Refusal::new(code, "no")));
        assert!(!may_be_applied(&refused(RefusalCode::Changed)));
        assert!(!may_be_applied(&refused(RefusalCode::Denied)));
        assert!(may_be_applied(&refused(RefusalCode::Internal)));
        assert!(may_be_applied(&error(StreamError::Finished)));
        assert!(is_passing(&error(StreamError::Finished).into()));
        assert!(!is_passing(&refused(RefusalCode::Denied).into()));
        assert!(!is_passing(&anyhow::anyhow!("no such file")));
    }
}
