//! Whether anything still runs on a chain that another one replaced.
//!
//! Whatever runs a chain, or may still begin to, holds its [`Life`]: the route, and the records that its stages have still to observe. It
//! ends with the last of them, and whoever waits for that has an [`End`].

use hilum_core::Digest;
use hilum_core::wire::admin::ChainPlace;
use tokio::sync::watch;

/// Held by all that run one chain.
#[derive(Debug, Default)]
pub(crate) struct Life(watch::Sender<()>);

impl Life {
    /// To wait for its end.
    pub(crate) fn end(&self) -> End {
        End(self.0.subscribe())
    }
}

/// The end of a chain.
#[derive(Debug)]
pub(crate) struct End(watch::Receiver<()>);

impl End {
    /// Comes back when nothing runs on the chain, and nothing will.
    pub(crate) async fn come(mut self) {
        // An error says that there is no sender any more; nothing is ever sent.
        while self.0.changed().await.is_ok() {}
    }
}

/// A chain with stages that was replaced.
#[derive(Debug)]
pub(crate) struct Replaced {
    /// Where it was.
    pub(crate) place: ChainPlace,
    /// Its plan, and that with a plugin that was tried.
    pub(crate) plans: Vec<Digest>,
    /// When nothing runs on it any more.
    pub(crate) end: End,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn it_ends_with_the_last_that_holds_it() {
        let life = Arc::new(Life::default());
        let (end, other) = (tokio::spawn(life.end().come()), life.clone());
        drop(life);
        tokio::task::yield_now().await;
        assert!(!end.is_finished());
        drop(other);
        end.await.unwrap();
    }
}
