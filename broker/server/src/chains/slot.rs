//! Where chains run: on threads of their own, about as many at a time as there are processors.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinError;

/// A chain that runs for longer than this does not count any more: it may be a plugin that stalls, and others need not wait until it
/// is stopped. Each flow and each reader has one run at a time, so there are no more of them than that.
const SLOT_TIME: Duration = Duration::from_millis(100);

/// How many chains run at the same time.
#[derive(Debug, Clone)]
pub struct Slots(Option<Arc<Semaphore>>);

impl Slots {
    /// As many as there are processors, each on a thread of its own.
    #[must_use]
    pub fn on_threads() -> Self {
        Self::new(std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
    }

    /// So many.
    pub(crate) fn new(slots: usize) -> Self {
        Self(Some(Arc::new(Semaphore::new(slots))))
    }

    /// Chains run where they are called, while everything else waits. For who runs a whole broker on one thread and wants to have it
    /// run the same way again.
    #[must_use]
    pub fn in_place() -> Self {
        Self(None)
    }
}

/// Runs `work`, which blocks, when there is a slot for it.
pub(crate) async fn run<T: Send + 'static>(
    slots: &Slots,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    let Some(slots) = &slots.0 else { return Ok(work()) };
    let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
    let mut running = tokio::task::spawn_blocking(work);
    match tokio::time::timeout(SLOT_TIME, &mut running).await {
        Ok(done) => done,
        Err(_) => {
            drop(slot);
            running.await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn one_that_stalls_lets_others_run_after_a_while() {
        let slots = Slots::new(1);
        let (release, released) = mpsc::channel::<()>();
        let stalled = tokio::spawn({
            let slots = slots.clone();
            async move { run(&slots, move || released.recv()).await.unwrap() }
        });
        while slots.0.as_ref().unwrap().available_permits() > 0 && !stalled.is_finished() {
            tokio::task::yield_now().await;
        }
        assert_eq!(run(&slots, || 7).await.unwrap(), 7);
        assert!(!stalled.is_finished(), "it ran beside one that stalls");
        release.send(()).unwrap();
        stalled.await.unwrap().unwrap();
    }
}
