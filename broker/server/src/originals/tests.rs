//! Originals on a store in memory, and on one on disk: kept once, found again, bounded, destroyed.

use std::time::Duration;

use hilum_core::LogName;
use hilum_core::audit::Action;
use hilum_core::cose::PrivateKey;
use hilum_core::originals::{Asked, open};
use hilum_core::retention::Policy;
use hilum_core::{Offset, Timestamp};
use hilum_store::{MasterKey, embedded, memory};

use super::*;
use crate::clock::Clock;
use crate::fixture::{self, audit, count};
use crate::retention::Keeper;

const ROOM: Room = Room { count: 1000, octets: 1 << 20 };

fn key() -> KeyName {
    "research".parse().unwrap()
}

fn holder() -> PrivateKey {
    PrivateKey::from_pem(include_str!("../../../core/src/cose/tests/a.pem")).unwrap()
}

fn holders() -> Vec<RecipientKey> {
    vec![holder().public().clone()]
}

/// Pseudonyms that begin with these numbers, and what they stand for.
fn originals(numbers: impl IntoIterator<Item = u64>) -> Vec<(Pseudonym, Original)> {
    let original = |number: u64| {
        let mut octets = [0xAB; 32];
        octets[..8].copy_from_slice(&number.to_be_bytes());
        let value = format!("PATIENT-{number}");
        (Pseudonym(octets), Original::new("patient-id", value.as_bytes()).unwrap())
    };
    numbers.into_iter().map(original).collect()
}

fn asked(number: u64) -> Asked {
    format!("{number:016X}").parse().unwrap()
}

/// A broker's start on this store.
struct Bench {
    shared: Arc<Shared>,
    keep: Keep,
}

impl Bench {
    fn of(shared: Arc<Shared>, room: Room) -> Self {
        let table = shared.originals.of(&key());
        Self { shared, keep: Keep { table, domains: BTreeSet::new(), room } }
    }

    fn on(store: &memory::Store) -> Self {
        Self::of(fixture::shared(store), ROOM)
    }

    async fn keep(&self, numbers: impl IntoIterator<Item = u64>) -> Result<(), OriginalsError> {
        self.keep.keep(&self.shared, holders, originals(numbers)).await
    }

    /// What a holder reads of a pseudonym.
    async fn revealed(&self, number: u64) -> Option<String> {
        let found = self.keep.table.find(&self.shared, &asked(number)).await.unwrap();
        assert!(found.len() <= 1);
        let kept = &found.first()?.kept;
        let original = open(&holder(), &key(), &kept.pseudonym, &kept.sealed).unwrap();
        Some(String::from_utf8(original.value).unwrap())
    }

    async fn entries(&self) -> u64 {
        count(&self.shared, &LogName::Originals(key())).await
    }
}

#[tokio::test]
async fn what_is_kept_is_kept_once_and_found_after_a_power_cut() {
    let store = memory::Store::new();
    let bench = Bench::on(&store);
    bench.keep([1, 2, 1]).await.unwrap();
    bench.keep([2, 3]).await.unwrap();
    bench.keep([1, 2, 3]).await.unwrap();
    assert_eq!(bench.entries().await, 3);
    assert_eq!(bench.revealed(2).await.as_deref(), Some("PATIENT-2"));
    assert_eq!(bench.revealed(4).await, None);

    let bench = Bench::on(&store.crash());
    bench.keep([3, 4]).await.unwrap();
    assert_eq!(bench.entries().await, 4);
    for number in 1..5 {
        assert_eq!(bench.revealed(number).await, Some(format!("PATIENT-{number}")));
    }
}

#[tokio::test]
async fn chains_that_work_at_the_same_time_keep_a_pseudonym_once() {
    let bench = Arc::new(Bench::on(&memory::Store::new()));
    let at_once = (0..8).map(|_| {
        let bench = bench.clone();
        tokio::spawn(async move { bench.keep(0..100).await.unwrap() })
    });
    for one in at_once.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    assert_eq!(bench.entries().await, 100);
}

#[tokio::test]
async fn what_cannot_be_kept_is_an_error_and_is_kept_when_it_can() {
    let store = memory::Store::new();
    let bench = Bench::on(&store);
    let nobody = bench.keep.keep(&bench.shared, Vec::new, originals([1])).await;
    assert!(nobody.unwrap_err().to_string().contains("`research`"));
    store.faults().set_disk_full(true);
    assert!(matches!(bench.keep([1]).await, Err(OriginalsError::Append(..))));
    assert_eq!(bench.revealed(1).await, None);
    store.faults().set_disk_full(false);
    bench.keep([1]).await.unwrap();
    assert_eq!(bench.revealed(1).await.as_deref(), Some("PATIENT-1"));
}

#[tokio::test]
async fn there_is_room_for_so_many_and_for_so_many_octets() {
    let shared = fixture::shared(&memory::Store::new());
    let few = Bench::of(shared.clone(), Room { count: 3, ..ROOM });
    few.keep(0..3).await.unwrap();
    let full = few.keep([2, 3]).await.unwrap_err();
    assert!(matches!(full, OriginalsError::Full(_)), "{full}");
    assert!(full.to_string().contains("hilum pseudonym forget"), "{full}");
    few.keep(0..3).await.unwrap();
    let (count, octets) = few.keep.table.usage();
    assert_eq!(count, 3);

    let small = Bench::of(shared, Room { octets: octets + octets / 3, ..ROOM });
    small.keep([3]).await.unwrap();
    assert!(matches!(small.keep([4]).await, Err(OriginalsError::Full(_))));
    assert_eq!(small.keep.table.usage().0, 4);
}

#[tokio::test]
async fn what_is_forgotten_is_gone_from_the_disk_and_kept_again_when_it_comes_again() {
    let directory = tempfile::tempdir().unwrap();
    let open = || {
        let opened = embedded::Store::open(directory.path(), MasterKey::new([7; 32]), Default::default());
        let store = opened.unwrap();
        let memory = memory::Store::new();
        let shared = Arc::into_inner(fixture::shared(&memory)).unwrap();
        (Bench::of(Arc::new(Shared { log: store.log(), ..shared }), ROOM), store)
    };
    let (bench, store) = open();
    bench.keep(0..10).await.unwrap();
    let found = bench.keep.table.find(&bench.shared, &asked(3)).await.unwrap();
    let sealed = found[0].kept.sealed.clone();
    let offsets = found.iter().map(|found| found.offset).collect();
    assert_eq!(bench.keep.table.forget(&bench.shared, Some(offsets)).await.unwrap(), 1);
    assert_eq!(bench.revealed(3).await, None);
    bench.keep(0..4).await.unwrap();
    assert_eq!(bench.revealed(3).await.as_deref(), Some("PATIENT-3"));
    assert_ne!(bench.keep.table.find(&bench.shared, &asked(3)).await.unwrap()[0].kept.sealed, sealed);
    drop(bench);
    store.close();

    let (bench, store) = open();
    assert_eq!(bench.revealed(3).await.as_deref(), Some("PATIENT-3"));
    assert_eq!(bench.keep.table.forget(&bench.shared, None).await.unwrap(), 10);
    assert_eq!((bench.revealed(3).await, bench.keep.table.usage()), (None, (0, 0)));
    drop(bench);
    store.close();
    let (bench, store) = open();
    assert_eq!((bench.revealed(0).await, bench.keep.table.usage()), (None, (0, 0)));
    drop(bench);
    store.close();
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_goes_and_is_kept_again_when_it_comes_again() {
    const DAY: Duration = Duration::from_secs(86_400);
    let store = memory::Store::new();
    let mut shared = Arc::into_inner(fixture::shared(&store)).unwrap();
    shared.clock = Clock::following(Timestamp(1_700_000_000_000));
    let bench = Bench::of(Arc::new(shared), ROOM);
    bench.keep(0..40).await.unwrap();
    tokio::time::sleep(20 * DAY).await;
    bench.keep([40]).await.unwrap();
    tokio::time::sleep(15 * DAY).await;
    let policy = Policy { max_age: Some(30 * DAY), until_read: false, ..Policy::default() };
    Keeper::new(bench.shared.clone(), LogName::Originals(key()), policy).look().await.unwrap();
    assert_eq!((bench.revealed(0).await, bench.revealed(39).await), (None, None));
    assert_eq!(bench.revealed(40).await.as_deref(), Some("PATIENT-40"));
    assert_eq!(bench.keep.table.usage().0, 1);
    let events = audit(&bench.shared).await;
    assert!(events.iter().all(|event| event.action == Action::Deleted));
    assert!(events[0].reason.contains("originals.research"), "{}", events[0].reason);
    bench.keep([0]).await.unwrap();
    assert_eq!(bench.revealed(0).await.as_deref(), Some("PATIENT-0"));
}

#[tokio::test]
async fn a_log_that_cannot_be_read_lets_nothing_be_kept() {
    let store = memory::Store::new();
    Bench::on(&store).keep([1]).await.unwrap();
    let found = store.crash();
    found.faults().corrupt(&LogName::Originals(key()), Offset(0));
    let bench = Bench::on(&found);
    assert!(matches!(bench.keep([1]).await, Err(OriginalsError::Read(..))));
}
