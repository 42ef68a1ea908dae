//! How far a flow's log is written, and how far its readers may go: only what is durable is shown.

use std::sync::Arc;
use std::time::Duration;

use hilum_core::{FlowName, LogName, Offset};
use hilum_store::Durability;
use tokio::sync::watch;

use crate::broker::Shared;

/// How long to wait before it is asked again whether a log is durable: about as long as a disk takes.
const PAUSE: Duration = Duration::from_millis(1);
/// The same where it takes unusually long.
const LONG_PAUSE: Duration = Duration::from_millis(100);
/// After so many short pauses come long ones.
const SHORT_PAUSES: u32 = 100;

/// The end of what was appended.
pub(super) struct Written {
    end: Offset,
    show: Show,
}

enum Show {
    /// What was answered is durable.
    AtOnce(watch::Sender<Offset>),
    /// A task waits until it is.
    WhenDurable(watch::Sender<Offset>),
}

impl Written {
    /// Begins at the end that `tail` tells.
    pub(super) fn new(
        shared: Arc<Shared>,
        flow: &FlowName,
        durability: Durability,
        tail: watch::Sender<Offset>,
    ) -> Self {
        let end = *tail.borrow();
        let show = match durability {
            Durability::Fsynced => Show::AtOnce(tail),
            Durability::Memory => {
                let (written, follows) = watch::channel(end);
                tokio::spawn(follow(shared, LogName::Flow(flow.clone()), follows, tail));
                Show::WhenDurable(written)
            }
        };
        Self { end, show }
    }

    pub(super) fn end(&self) -> Offset {
        self.end
    }

    pub(super) fn advance(&mut self, end: Offset) {
        self.end = end;
        let (Show::AtOnce(show) | Show::WhenDurable(show)) = &self.show;
        show.send_replace(end);
    }
}

/// Moves the tail when what was written is durable. Ends with the lane, when the log is as durable as it will be.
async fn follow(
    shared: Arc<Shared>,
    log: LogName,
    mut written: watch::Receiver<Offset>,
    tail: watch::Sender<Offset>,
) {
    let mut pauses = 0;
    loop {
        let end = *written.borrow_and_update();
        let lane_ended = written.has_changed().is_err();
        let durable = shared.log.bounds(&log).await.map(|bounds| Offset(bounds.end));
        if let Ok(durable) = durable
            && durable > *tail.borrow()
        {
            tail.send_replace(durable);
        }
        if *tail.borrow() >= end {
            pauses = 0;
            if written.changed().await.is_err() {
                return;
            }
            continue;
        }
        if lane_ended && pauses > SHORT_PAUSES {
            return;
        }
        tokio::time::sleep(if pauses < SHORT_PAUSES { PAUSE } else { LONG_PAUSE }).await;
        pauses += 1;
    }
}
