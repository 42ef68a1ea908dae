//! The moving parts of a subscription: what is under way, what was read ahead, and who is told when something changes.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hilum_core::Offset;
use hilum_core::delivery::{Deliveries, Key};
use hilum_core::record::Stored;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::progress::Kept;

pub(super) struct State {
    deliveries: Mutex<Deliveries>,
    /// Held by the reader that reads on.
    pub(super) ahead: tokio::sync::Mutex<Ahead>,
    /// Held by who writes to `Meta`.
    pub(super) kept: tokio::sync::Mutex<Kept>,
    /// Changes when somebody may get something that could not before.
    pub(super) news: watch::Sender<u64>,
    /// Wakes the keeper.
    pub(super) keeper: Notify,
    /// When the keeper wakes by itself.
    pub(super) planned: AtomicU64,
    /// Whether something happened since the progress was last kept.
    pub(super) is_changed: AtomicBool,
    /// Where times are counted from.
    start: Instant,
}

/// Records that were read and that nobody got yet. What the filter leaves out is not among them.
pub(super) struct Ahead {
    pub(super) records: VecDeque<Read>,
    /// Everything before was read.
    pub(super) through: Offset,
}

pub(super) struct Read {
    pub(super) stored: Stored,
    pub(super) key: Option<Key>,
}

impl State {
    pub(super) fn new(deliveries: Deliveries, kept: Kept) -> Self {
        let through = deliveries.next_offset();
        Self {
            deliveries: Mutex::new(deliveries),
            ahead: tokio::sync::Mutex::new(Ahead { records: VecDeque::new(), through }),
            kept: tokio::sync::Mutex::new(kept),
            news: watch::Sender::new(0),
            keeper: Notify::new(),
            planned: AtomicU64::new(0),
            is_changed: AtomicBool::new(false),
            start: Instant::now(),
        }
    }

    /// Milliseconds of the clock that deliveries go by.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When a time of that clock is.
    pub(super) fn instant(&self, at: u64) -> Instant {
        self.start + std::time::Duration::from_millis(at)
    }

    /// Looks at the deliveries.
    pub(super) fn look<T>(&self, look: impl FnOnce(&Deliveries) -> T) -> T {
        look(&self.deliveries.lock())
    }

    /// Does something with the deliveries, at the present time, and tells those who wait for what came of it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Deliveries, u64) -> T) -> T {
        let now = self.now();
        let mut deliveries = self.deliveries.lock();
        let result = change(&mut deliveries, now);
        let has_news = deliveries.take_news();
        let timeout = deliveries.next_timeout().unwrap_or(u64::MAX);
        drop(deliveries);
        if has_news {
            self.news.send_modify(|news| *news += 1);
        }
        let was_changed = self.is_changed.swap(true, Ordering::AcqRel);
        if has_news || !was_changed || timeout < self.planned.load(Ordering::Acquire) {
            self.keeper.notify_one();
        }
        result
    }
}
