//! When the last batch has ended that began on a chain which another configuration replaced.
//!
//! Each chain's end is in the audit, with its plan: from then on no record gets a receipt of that plan, unless it is loaded again. Whoever
//! let the broker take the configuration asks how far that is.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hilum_core::audit::{Action, Event};
use hilum_core::limits::ADMIN_PAGE_ITEMS_MAX;
use hilum_core::wire::admin::{ChainPlace, Standing};
use hilum_core::{Digest, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::broker::{About, Shared};
use crate::chains::Replaced;

/// An answer waits no longer than this for what is under way.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// After so long what is still under way is in the log.
const LATE: Duration = Duration::from_secs(30);

/// The chains that reloads replaced.
#[derive(Default)]
pub(super) struct Drains(watch::Sender<Progress>);

#[derive(Default)]
struct Progress {
    /// When the last reload took effect.
    began: Option<Instant>,
    /// Chains that it replaced.
    replaced: u64,
    /// On which a batch may still run; with those that reloads before it replaced.
    under_way: BTreeMap<ChainPlace, usize>,
    /// From the last reload until the last one of them ended.
    took: Duration,
}

impl Drains {
    /// These were replaced just now, by the configuration of this digest.
    pub(super) fn follow(&self, shared: &Arc<Shared>, digest: Digest, replaced: Vec<Replaced>) {
        let began = Instant::now();
        self.0.send_modify(|progress| {
            (progress.began, progress.replaced) = (Some(began), replaced.len() as u64);
            progress.took = Duration::ZERO;
            replaced
                .iter()
                .for_each(|chain| *progress.under_way.entry(chain.place.clone()).or_default() += 1);
        });
        if !replaced.is_empty() {
            let drain = Drain { shared: Arc::downgrade(shared), digest, began, progress: self.0.clone() };
            // It ends with the chains, which end with the flows.
            tokio::spawn(drain.run(replaced));
        }
    }

    /// How far they are, for a broker that runs the configuration of this digest; waits as long as something is under way, and not
    /// longer than `wait`.
    pub(super) async fn standing(&self, digest: Digest, wait: Duration) -> Standing {
        let mut changes = self.0.subscribe();
        let over = changes.wait_for(|progress| progress.under_way.is_empty());
        // Either is seen below.
        drop(tokio::time::timeout(wait.min(WAIT_MAX), over).await);
        let progress = self.0.borrow();
        let under_way = &progress.under_way;
        let since = progress.began.filter(|_| !under_way.is_empty()).map(|began| began.elapsed());
        Standing {
            digest,
            replaced: progress.replaced,
            under_way: under_way.keys().take(ADMIN_PAGE_ITEMS_MAX).cloned().collect(),
            under_way_count: under_way.len() as u64,
            milliseconds: milliseconds(since.unwrap_or(progress.took)),
        }
    }
}

/// Follows what one reload replaced.
struct Drain {
    shared: Weak<Shared>,
    digest: Digest,
    began: Instant,
    progress: watch::Sender<Progress>,
}

impl Drain {
    async fn run(self, replaced: Vec<Replaced>) {
        let chains = replaced.len();
        let ending = |chain: Replaced| async move {
            chain.end.come().await;
            (chain.place, chain.plans)
        };
        let mut ending: FuturesUnordered<_> = replaced.into_iter().map(ending).collect();
        let late = tokio::time::sleep_until(self.began + LATE);
        tokio::pin!(late);
        loop {
            tokio::select! {
                ended = ending.next() => match ended {
                    Some((place, plans)) => self.ended(place, &plans).await,
                    None => break,
                },
                () = &mut late, if !late.is_elapsed() => {
                    let (configuration, chains, seconds) = (self.digest, ending.len(), LATE.as_secs());
                    tracing::warn!(%configuration, chains, seconds, "batches on chains that were replaced are still under way");
                }
            }
        }
        let (configuration, milliseconds) = (self.digest, milliseconds(self.began.elapsed()));
        tracing::info!(%configuration, chains, milliseconds, "the last batch on the chains that were replaced has ended");
    }

    async fn ended(&self, place: ChainPlace, plans: &[Digest]) {
        let took = self.began.elapsed();
        if let Some(shared) = self.shared.upgrade() {
            shared.audit_refusal(drained(shared.now(), place.clone(), plans, self.digest, took)).await;
        }
        self.progress.send_modify(|progress| {
            if let Entry::Occupied(mut left) = progress.under_way.entry(place) {
                *left.get_mut() -= 1;
                if *left.get() == 0 {
                    left.remove();
                }
            }
            progress.took = progress.began.unwrap_or(self.began).elapsed();
        });
    }
}

fn drained(time: Timestamp, place: ChainPlace, plans: &[Digest], digest: Digest, took: Duration) -> Event {
    let plans = plans.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and where it was tried ");
    let about = About { flow: Some(place.flow), subscription: place.subscription, ..About::default() };
    let reason = format!("{plans} after {} ms, replaced by configuration {digest}", milliseconds(took));
    about.event(time, Action::Drained, reason)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use hilum_store::memory;

    use super::*;
    use crate::chains::Life;
    use crate::fixture::{audit, flow, shared};

    #[tokio::test]
    async fn what_is_under_way_is_named_until_it_has_ended() {
        let shared = shared(&memory::Store::new());
        let drains = Drains::default();
        let (new, old) = (Digest([1; 32]), Digest([2; 32]));
        assert_eq!(drains.standing(new, Duration::ZERO).await.replaced, 0);
        let place = |name: Option<&str>| ChainPlace {
            flow: flow(),
            subscription: name.map(|name| name.parse().unwrap()),
        };
        let lives = [Life::default(), Life::default()];
        let replaced = [place(None), place(Some("all"))].into_iter().zip(&lives);
        let replaced = replaced.map(|(place, life)| Replaced { place, plans: vec![old], end: life.end() });
        drains.follow(&shared, old, replaced.collect());
        // What another one replaces meanwhile adds to it.
        drains.follow(
            &shared,
            new,
            vec![Replaced { place: place(None), plans: vec![old], end: Life::default().end() }],
        );
        let [first, second] = lives;
        drop(first);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let standing = drains.standing(new, Duration::from_millis(20)).await;
        assert_eq!((standing.replaced, standing.under_way_count), (1, 1));
        assert_eq!(standing.under_way, [place(Some("all"))]);
        assert!(standing.milliseconds >= 20);
        let waiting = tokio::spawn(async move { drains.standing(new, Duration::from_secs(60)).await });
        drop(second);
        let standing = waiting.await.unwrap();
        assert_eq!((standing.under_way_count, standing.under_way.len()), (0, 0));
        let events = audit(&shared).await;
        let drained = events.iter().filter(|event| event.action == Action::Drained);
        let of_flow: Vec<_> = drained.filter(|event| event.subscription.is_none()).collect();
        assert_eq!((of_flow.len(), &of_flow[0].flow), (2, &Some(flow())));
        assert!(of_flow[0].reason.starts_with(&format!("{old} after ")), "{of_flow:?}");
    }
}
