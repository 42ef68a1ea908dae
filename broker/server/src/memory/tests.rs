//! An account, accounts beside each other, and any steps with any leases.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use proptest::prelude::*;

use super::*;

fn now(account: &Account, octets: u64) -> Lease {
    account.take(octets).now_or_never().expect("it is free")
}

fn waits(account: &Account, octets: u64) -> bool {
    account.take(octets).now_or_never().is_none()
}

#[test]
fn one_that_stalls_gets_half_and_leaves_as_much() {
    let memory = Memory::new(1200);
    let [stalled, other, third] = [100, 100, 0].map(|own| memory.account(own));
    let _held: Vec<_> = (0..60).map(|_| now(&stalled, 10)).collect();
    assert!(stalled.try_take(1).is_none(), "it has its own hundred and half of the thousand");
    let _held: Vec<_> = (0..35).map(|_| other.try_take(10).unwrap()).collect();
    assert!(other.try_take(10).is_none(), "and half of what was left");
    assert!(third.try_take(125).is_some());
}

#[test]
fn an_accounts_own_octets_are_there_whatever_others_hold() {
    let memory = Memory::new(300);
    let [greedy, modest] = [100, 100].map(|own| memory.account(own));
    let mut over = now(&greedy, 100);
    // A chain made much more of it than was known.
    over.resize(100_000);
    let first = now(&modest, 60);
    let _second = now(&modest, 40);
    assert!(waits(&modest, 1));
    drop(first);
    drop(now(&modest, 60));
    drop(over);
    drop(now(&modest, 100));
}

#[tokio::test]
async fn who_asks_first_is_served_first_even_if_it_wants_more() {
    let memory = Memory::new(100);
    let account = memory.account(100);
    let held = now(&account, 60);
    let (mut large, mut small) = (account.take(80).boxed(), account.take(10).boxed());
    assert!((&mut large).now_or_never().is_none());
    assert!((&mut small).now_or_never().is_none(), "ten are free, and it does not overtake");
    assert!(account.is_short());
    drop(held);
    let _large = large.await;
    let _small = small.await;
    assert!(!account.is_short());
}

#[tokio::test]
async fn who_goes_away_is_not_waited_for() {
    let memory = Memory::new(100);
    let account = memory.account(100);
    let held = now(&account, 60);
    let (mut large, mut small) = (account.take(80).boxed(), account.take(10).boxed());
    assert!((&mut large).now_or_never().is_none() && (&mut small).now_or_never().is_none());
    drop(large);
    let _small = small.now_or_never().expect("nothing comes back, and it can be had all the same");
    // One that was served in the moment in which it went away gives it back.
    let mut rest = account.take(90).boxed();
    assert!((&mut rest).now_or_never().is_none());
    drop(held);
    drop(rest);
    drop(now(&account, 90));
}

#[derive(Debug, Clone)]
enum Step {
    Take(usize, u64),
    /// Of those that ask: whoever is at this place asks no more.
    GiveUp(usize),
    Drop(usize),
    Shrink(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 1..150_u64).prop_map(|(account, octets)| Step::Take(account, octets)),
        1 => (0..64_usize).prop_map(Step::GiveUp),
        3 => (0..64_usize).prop_map(Step::Drop),
        1 => (0..64_usize, 0..100_u64).prop_map(|(lease, octets)| Step::Shrink(lease, octets)),
    ]
}

const TOTAL: u64 = 600;
const OWN: [u64; 3] = [50, 100, 150];

proptest! {
    /// Never more is lent than there is; whoever holds nothing gets something; in the end everything is back.
    #[test]
    fn keeps_its_sum(steps in prop::collection::vec(step(), 1..200)) {
        let memory = Memory::new(TOTAL);
        let accounts = OWN.map(|own| memory.account(own));
        let mut held: Vec<Lease> = Vec::new();
        let mut asking: Vec<BoxFuture<'_, Lease>> = Vec::new();
        for step in steps {
            match step {
                Step::Take(account, octets) => asking.push(accounts[account].take(octets).boxed()),
                Step::GiveUp(at) if at < asking.len() => drop(asking.remove(at)),
                Step::Drop(at) if at < held.len() => drop(held.remove(at)),
                Step::Shrink(at, octets) if at < held.len() => {
                    let less = octets.min(held[at].octets);
                    held[at].resize(less);
                }
                _ => {}
            }
            let mut still = Vec::new();
            for mut one in asking {
                match (&mut one).now_or_never() {
                    Some(lease) => held.push(lease),
                    None => still.push(one),
                }
            }
            asking = still;
            let state = memory.0.lock();
            let borrowed: u64 = state.accounts.iter().map(|of| of.held.saturating_sub(of.own)).sum();
            prop_assert_eq!(state.common, i64::try_from(TOTAL - OWN.iter().sum::<u64>() - borrowed).unwrap());
            for (number, account) in state.accounts.iter().enumerate() {
                let held: u64 = held.iter().filter(|lease| lease.account == number).map(|lease| lease.octets).sum();
                prop_assert_eq!(account.held, held, "what is held is what somebody holds");
                prop_assert!(held > 0 || account.waiting.is_empty(), "who holds nothing does not wait");
            }
        }
        drop((asking, held));
        let state = memory.0.lock();
        prop_assert_eq!(state.common, i64::try_from(TOTAL - OWN.iter().sum::<u64>()).unwrap());
        prop_assert!(state.accounts.iter().all(|account| account.held == 0 && account.waiting.is_empty()));
        prop_assert!(state.waiting.is_empty());
    }
}
