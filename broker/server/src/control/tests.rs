//! Decisions outlive the process, are audited, and their log does not grow for ever.

use hilum_core::control::{HoldId, HoldScope};
use hilum_store::memory;

use super::*;
use crate::fixture;
use crate::holds::Holds;

fn operator() -> PrincipalId {
    PrincipalId::new("spiffe://st-marys/person/ada").unwrap()
}

fn key(key: &str) -> HoldScope {
    HoldScope { flow: fixture::flow(), key: Some(key.to_owned()) }
}

/// The same store, as the next run of the broker finds it.
async fn restarted(store: &memory::Store) -> Arc<Shared> {
    let mut shared = Arc::into_inner(fixture::shared(store)).unwrap();
    shared.control = Control::load(&*shared.log).await.unwrap();
    Arc::new(shared)
}

#[tokio::test]
async fn a_hold_and_a_pause_outlive_a_crash() {
    let store = memory::Store::new();
    let shared = restarted(&store).await;
    let holds = Holds::new(shared.clone());
    let first = holds.add(key("ward-7"), "case 17", &operator()).await.unwrap();
    let second = holds.add(key("ward-8"), "case 18", &operator()).await.unwrap();
    holds.remove(first.id, &operator()).await.unwrap();
    let reading: SubscriptionName = "reading".parse().unwrap();
    shared.pause_subscription(&fixture::flow(), &reading, "maintenance", &operator()).await.unwrap();
    let actions: Vec<_> = fixture::audit(&shared).await.into_iter().map(|event| event.action).collect();
    assert_eq!(actions, [Action::Held, Action::Held, Action::Held, Action::Paused]);
    let told = fixture::audit(&shared).await.iter().map(|event| event.reason.clone()).collect::<String>();
    assert!(told.contains("case 17") && !told.contains("ward"), "no key in the audit: {told}");

    let shared = restarted(&store.crash()).await;
    assert_eq!(Holds::new(shared.clone()).list(), [second]);
    let held = shared.control.holds_of(&fixture::flow());
    assert!(held.holds(Some("ward-8")) && !held.holds(Some("ward-7")));
    assert_eq!(shared.control.pause_of(&fixture::flow(), &reading).unwrap().reason, "maintenance");
    shared.resume_subscription(&fixture::flow(), &reading, &operator()).await.unwrap();
    assert!(shared.control.pauses().is_empty());
}

#[tokio::test]
async fn a_decision_that_cannot_be_written_is_none() {
    let store = memory::Store::new();
    let shared = restarted(&store).await;
    let holds = Holds::new(shared.clone());
    for nth in [1, 2] {
        // First the audit, then the decision itself.
        store.faults().fail_append(nth);
        let refused = holds.add(key("ward-7"), "case 17", &operator()).await;
        assert!(matches!(refused, Err(DecideError::Append(_))), "{refused:?}");
        assert_eq!(holds.list(), []);
    }
    let refused = holds.remove(HoldId(9), &operator()).await;
    assert!(matches!(refused, Err(DecideError::Decision(DecisionError::NoSuchHold(HoldId(9))))));
    assert_eq!(fixture::count(&shared, &LogName::Control).await, 0);
}

#[tokio::test]
async fn a_hold_waits_for_the_deletion_that_is_under_way() {
    let store = memory::Store::new();
    let shared = restarted(&store).await;
    let holds = Holds::new(shared.clone());
    let deleting = shared.control.deleting().await;
    let adding = tokio::spawn(async move { holds.add(key("ward-7"), "case 17", &operator()).await });
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(!adding.is_finished() && shared.control.holds().is_empty());
    drop(deleting);
    adding.await.unwrap().unwrap();
    assert_eq!(shared.control.holds().len(), 1);
}

#[tokio::test]
async fn the_log_of_decisions_does_not_grow_for_ever() {
    let store = memory::Store::new();
    let shared = restarted(&store).await;
    let holds = Holds::new(shared.clone());
    let kept = holds.add(key("kept"), "case 1", &operator()).await.unwrap();
    for _ in 0..SNAPSHOT_ENTRIES {
        let hold = holds.add(key("ward-7"), "case 17", &operator()).await.unwrap();
        holds.remove(hold.id, &operator()).await.unwrap();
    }
    let bounds = shared.log.bounds(&LogName::Control).await.unwrap();
    assert!(bounds.end > 2 * SNAPSHOT_ENTRIES);
    assert!(bounds.end - bounds.start <= SNAPSHOT_ENTRIES, "{bounds:?}");
    let found = restarted(&store.crash()).await;
    assert_eq!(Holds::new(found.clone()).list(), [kept]);
    let next = Holds::new(found).add(key("next"), "case 2", &operator()).await.unwrap();
    assert_eq!(next.id, HoldId(SNAPSHOT_ENTRIES + 1), "no identifier comes twice");
}
