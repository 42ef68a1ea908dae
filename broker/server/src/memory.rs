//! How much may be under way in the whole broker: octets that were taken from a connection and are not settled, or are on their
//! way to one.
//!
//! The sum is fixed by the configuration. It is shared by [`Account`]s, one for each thing that may stall by itself: the records
//! of a flow, its uploads, a subscription. Whoever is about to hold memory takes a [`Lease`] first and waits for it while it holds
//! nothing else, so that nobody waits for somebody who waits. Who reads from a connection is not read from meanwhile: QUIC's flow
//! control then slows the peer, and nothing is refused.
//!
//! An account has octets of its own, that nobody else can take. Beyond them it borrows from what all have in common, but never
//! more than it leaves (the dynamic thresholds of A. K. Choudhury and E. L. Hahne, IEEE/ACM Transactions on Networking 6, 1998).
//! So one that stalls ends up with half of the common part, two with a third each, and whoever comes next always finds some. In
//! an account, leases are given in the order in which they were asked for.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// What is shared; a handle.
#[derive(Clone)]
pub struct Memory(Arc<Mutex<State>>);

/// One who takes leases; a handle.
#[derive(Clone)]
pub struct Account {
    memory: Memory,
    number: usize,
    own: u64,
}

/// Octets that are taken, until it is dropped.
pub struct Lease {
    memory: Memory,
    account: usize,
    octets: u64,
}

struct State {
    /// What is left of the common part. Below zero where leases turned out to be larger than was known.
    common: i64,
    accounts: Vec<Holding>,
    /// Accounts in which somebody waits; the first one's turn is next.
    waiting: VecDeque<usize>,
}

struct Holding {
    own: u64,
    held: u64,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    octets: u64,
    give: oneshot::Sender<Lease>,
}

impl Memory {
    /// So many octets, for accounts that are still to be opened.
    #[must_use]
    pub fn new(octets: u64) -> Self {
        let common = i64::try_from(octets).unwrap_or(i64::MAX);
        Self(Arc::new(Mutex::new(State { common, accounts: Vec::new(), waiting: VecDeque::new() })))
    }

    /// Opens an account with octets of its own, which the common part is less by. They are there for as long as the broker is.
    #[must_use]
    pub fn account(&self, own: u64) -> Account {
        let mut state = self.0.lock();
        state.common = state.common.saturating_sub_unsigned(own);
        state.accounts.push(Holding { own, held: 0, waiting: VecDeque::new() });
        Account { memory: self.clone(), number: state.accounts.len() - 1, own }
    }

    fn lease(&self, account: usize, octets: u64) -> Lease {
        Lease { memory: self.clone(), account, octets }
    }

    /// Gives what has become free to those who wait, one lease for each account at a time.
    fn serve(&self, mut state: parking_lot::MutexGuard<'_, State>) {
        let mut given = Vec::new();
        let mut passed_over = 0;
        while passed_over < state.waiting.len() {
            let Some(account) = state.waiting.pop_front() else { break };
            match state.next_of(account) {
                Some(Waiting { octets, give }) => {
                    given.push((give, self.lease(account, octets)));
                    passed_over = 0;
                }
                None => passed_over += 1,
            }
            if !state.accounts[account].waiting.is_empty() {
                state.waiting.push_back(account);
            }
        }
        drop(state);
        for (give, lease) in given {
            // Who went away in this moment drops it, and so gives it back.
            let _ = give.send(lease);
        }
    }
}

impl State {
    fn may_take(&self, account: usize, octets: u64) -> bool {
        let Holding { own, held, .. } = &self.accounts[account];
        let borrowed = (held + octets).saturating_sub(*own);
        let more = borrowed - held.saturating_sub(*own);
        let left = self.common.saturating_sub_unsigned(more);
        more == 0 || u64::try_from(left).is_ok_and(|left| borrowed <= left)
    }

    fn hold(&mut self, account: usize, held: u64) {
        let holding = &mut self.accounts[account];
        let before = holding.held.saturating_sub(holding.own);
        let after = held.saturating_sub(holding.own);
        holding.held = held;
        self.common = self.common.saturating_add_unsigned(before).saturating_sub_unsigned(after);
    }

    fn take(&mut self, account: usize, octets: u64) {
        self.hold(account, self.accounts[account].held + octets);
    }

    /// The first of those who wait, if it may have its lease now, which it then has.
    fn next_of(&mut self, account: usize) -> Option<Waiting> {
        let gone = |waiting: &mut Waiting| waiting.give.is_closed();
        while self.accounts[account].waiting.pop_front_if(gone).is_some() {}
        let octets = self.accounts[account].waiting.front()?.octets;
        if !self.may_take(account, octets) {
            return None;
        }
        self.take(account, octets);
        self.accounts[account].waiting.pop_front()
    }
}

impl Account {
    /// Takes octets, after all who asked before. No lease is larger than what the account has of its own, so that it can be had
    /// whatever others hold: who wants more gets so much.
    pub async fn take(&self, octets: u64) -> Lease {
        let octets = octets.min(self.own);
        if let Some(lease) = self.try_take(octets) {
            return lease;
        }
        let mut asking = self.ask(octets);
        (&mut asking.given).await.expect("who waits is served, and is forgotten only when it has gone")
    }

    fn ask(&self, octets: u64) -> Asking<'_> {
        let (give, given) = oneshot::channel();
        let mut state = self.memory.0.lock();
        let holding = &mut state.accounts[self.number];
        holding.waiting.push_back(Waiting { octets, give });
        if holding.waiting.len() == 1 {
            state.waiting.push_back(self.number);
        }
        // Something may have become free since.
        self.memory.serve(state);
        Asking { memory: &self.memory, given }
    }

    /// Takes octets if they are free and nobody waits.
    #[must_use]
    pub fn try_take(&self, octets: u64) -> Option<Lease> {
        let mut state = self.memory.0.lock();
        if !state.accounts[self.number].waiting.is_empty() || !state.may_take(self.number, octets) {
            return None;
        }
        state.take(self.number, octets);
        Some(self.memory.lease(self.number, octets))
    }

    /// Whether somebody waits.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.memory.0.lock().accounts[self.number].waiting.iter().any(|waiting| !waiting.give.is_closed())
    }
}

/// Somebody who waits. Who goes away may have stood before somebody who wants less.
struct Asking<'a> {
    memory: &'a Memory,
    given: oneshot::Receiver<Lease>,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.given.close();
        self.memory.serve(self.memory.0.lock());
    }
}

impl Lease {
    /// Makes one of two leases of the same account.
    pub fn join(&mut self, mut other: Self) {
        assert_eq!(self.account, other.account, "a lease belongs to its account");
        self.octets += std::mem::take(&mut other.octets);
    }

    /// It turned out to be more or less. More is had at once: what is there is there, and others wait for it.
    pub fn resize(&mut self, octets: u64) {
        let mut state = self.memory.0.lock();
        let held = state.accounts[self.account].held - self.octets + octets;
        state.hold(self.account, held);
        self.octets = octets;
        self.memory.serve(state);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.resize(0);
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({} octets)", self.octets)
    }
}

#[cfg(test)]
mod tests;
