//! The task of a subscription that goes on without readers: deliveries that lapse, records whose time comes, dead letters, and
//! keeping the progress.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::Outlet;
use super::state::State;
use crate::flows::Flows;

/// The progress is not kept more often: what was settled since comes twice after a crash.
const KEEP_EVERY: Duration = Duration::from_millis(100);
/// How often the lag is told, where nothing else happens.
const LAG_EVERY: Duration = Duration::from_secs(10);
/// What failed is tried again after so long.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Records buried before timers are looked at again.
const BURY_MAX: usize = 64;

/// Runs until `stopping` says so; then the progress is kept.
pub(crate) async fn run(outlet: Arc<Outlet>, flows: Arc<Flows>, mut stopping: watch::Receiver<bool>) {
    let state = loop {
        match outlet.state().await {
            Ok(state) => break state,
            Err(error) => {
                tracing::error!(flow = %outlet.flow, subscription = %outlet.subscription, %error, "the subscription cannot be opened yet");
                tokio::select! {
                    () = tokio::time::sleep(RETRY_AFTER) => {}
                    _ = stopping.wait_for(|stopping| *stopping) => return,
                }
            }
        }
    };
    let mut kept = Instant::now();
    let mut bury_again = None;
    loop {
        outlet.tend(state);
        if bury_again.is_none_or(|at| at <= Instant::now()) {
            let is_buried = outlet.bury_exhausted(state, &flows).await;
            bury_again = (!is_buried).then(|| Instant::now() + RETRY_AFTER);
        }
        let is_changed = state.is_changed.load(Ordering::Acquire);
        if is_changed && kept.elapsed() >= KEEP_EVERY {
            outlet.keep(state).await;
            kept = Instant::now();
        }
        let mut wake = Instant::now() + LAG_EVERY;
        if state.is_changed.load(Ordering::Acquire) {
            wake = wake.min(kept + KEEP_EVERY);
        }
        wake = bury_again.map_or(wake, |at| wake.min(at));
        let timeout = state.look(hilum_core::delivery::Deliveries::next_timeout);
        state.planned.store(timeout.unwrap_or(u64::MAX), Ordering::Release);
        if let Some(timeout) = timeout {
            wake = wake.min(state.instant(timeout));
        }
        tokio::select! {
            () = tokio::time::sleep_until(wake) => {}
            () = state.keeper.notified() => {}
            _ = stopping.wait_for(|stopping| *stopping) => break,
        }
    }
    outlet.keep(state).await;
}

impl Outlet {
    /// Puts what was delivered too often where it belongs. Whether nothing failed.
    async fn bury_exhausted(&self, state: &State, flows: &Flows) -> bool {
        let exhausted = state.look(|it| it.exhausted(BURY_MAX));
        for (offset, attempts) in exhausted {
            if let Err(error) = self.bury(flows, offset, attempts).await {
                tracing::error!(flow = %self.flow, subscription = %self.subscription, %offset, %error, "a record that was delivered too often could not be put elsewhere yet");
                return false;
            }
            state.change(|it, now| it.conclude(offset, now));
        }
        true
    }

    /// Does what is due, and tells the lag.
    fn tend(&self, state: &State) {
        if state.look(|it| it.next_timeout()).is_some_and(|timeout| timeout <= state.now()) {
            state.change(|it, now| it.handle_timeout(now));
        }
        let lag = state.look(|it| it.lag(*self.tail.borrow()));
        self.shared.instruments.lag(&self.flow, &self.subscription, lag);
    }

    /// Keeps the progress, if anything happened. Where that fails, records come twice after a restart, but none is lost.
    pub(super) async fn keep(&self, state: &State) {
        let mut kept = state.kept.lock().await;
        if !state.is_changed.swap(false, Ordering::AcqRel) {
            return;
        }
        let progress = state.look(hilum_core::delivery::Deliveries::progress);
        if let Err(error) = kept.write(&*self.shared.meta, &progress).await {
            state.is_changed.store(true, Ordering::Release);
            tracing::warn!(flow = %self.flow, subscription = %self.subscription, %error, "the cursor could not be kept");
        }
    }
}
