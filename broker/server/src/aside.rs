//! Audit events of those who cannot wait until they are written: what happens to a stage is found out on the thread that runs its chain.
//!
//! They are written in their order, a moment later. Whoever makes them limits how many there are; where the audit log stalls for longer
//! than there is room for them, the newest are not kept, and the broker's log says so.

use std::collections::VecDeque;
use std::sync::Arc;

use hilum_core::audit::Event;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::broker::Shared;

/// Events that wait.
const EVENTS_MAX: usize = 1024;

/// The events that are still to be written.
#[derive(Debug, Default)]
pub(crate) struct Aside {
    waiting: Mutex<VecDeque<Event>>,
    news: Notify,
}

impl Aside {
    /// Puts an event there; does not block.
    pub(crate) fn put(&self, event: Event) {
        {
            let mut waiting = self.waiting.lock();
            if waiting.len() < EVENTS_MAX {
                waiting.push_back(event);
                drop(waiting);
                self.news.notify_one();
                return;
            }
        }
        let Event { action, flow, reason, .. } = event;
        let flow = flow.map(|flow| flow.to_string());
        tracing::error!(%action, flow, reason, "an audit event is not kept: the audit log takes none for too long");
    }

    fn take(&self) -> Vec<Event> {
        self.waiting.lock().drain(..).collect()
    }
}

/// The task that writes them.
pub(crate) struct Writer {
    task: JoinHandle<()>,
    stopping: watch::Sender<bool>,
}

impl Writer {
    pub(crate) fn start(shared: &Arc<Shared>) -> Self {
        let (stopping, stop) = watch::channel(false);
        Self { task: tokio::spawn(write(shared.clone(), stop)), stopping }
    }

    /// Comes back when all is written that was put aside.
    pub(crate) async fn stop(self) {
        self.stopping.send_replace(true);
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the task that writes audit events ended abnormally");
        }
    }
}

/// Writes what is put aside, until the broker stops and all of it is written.
async fn write(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    loop {
        let is_last = *stop.borrow_and_update();
        let events = shared.aside.take();
        if !events.is_empty() {
            let count = events.len();
            if let Err(error) = shared.audit(events).await {
                tracing::error!(%error, count, "audit events could not be written");
            }
            continue;
        }
        if is_last {
            return;
        }
        tokio::select! {
            () = shared.aside.news.notified() => {}
            changed = stop.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use hilum_core::audit::Action;
    use hilum_store::memory;

    use super::*;
    use crate::broker::About;
    use crate::fixture::{audit, shared};

    #[tokio::test]
    async fn what_is_put_aside_is_written_in_order_before_the_broker_stops() {
        let shared = shared(&memory::Store::new());
        let event = |n: usize| About::default().event(shared.now(), Action::BreakerOpened, n.to_string());
        (0..EVENTS_MAX + 5).for_each(|n| shared.aside.put(event(n)));
        let writer = Writer::start(&shared);
        while audit(&shared).await.len() < EVENTS_MAX {
            tokio::task::yield_now().await;
        }
        shared.aside.put(event(7));
        writer.stop().await;
        let reasons: Vec<String> = audit(&shared).await.into_iter().map(|event| event.reason).collect();
        assert_eq!(reasons.len(), EVENTS_MAX + 1, "no more than there is room for");
        assert!(reasons[..EVENTS_MAX].iter().enumerate().all(|(n, reason)| *reason == n.to_string()));
        assert_eq!(reasons[EVENTS_MAX], "7");
    }
}
