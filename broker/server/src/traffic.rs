//! Who published and who read how much since it was last asked: records and octets, for each principal, flow and subscription.
//!
//! Counted only where somebody asks (see [`crate::feed`]), a batch at a time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use hilum_core::{FlowName, PrincipalId, SubscriptionName};
use parking_lot::Mutex;

/// Lines that are counted one by one; what is beyond them is counted together.
const LINES_MAX: usize = 4096;

/// Counts.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    is_asked: AtomicBool,
    counted: Mutex<Counted>,
}

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// Each line by itself.
    pub(crate) lines: HashMap<Line, Amount>,
    /// What came when there were too many lines.
    pub(crate) others: Amount,
}

/// Who did what where.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) principal: PrincipalId,
    pub(crate) flow: FlowName,
    /// What was read by; none where it was published.
    pub(crate) subscription: Option<SubscriptionName>,
}

/// How much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) records: u64,
    /// Of bodies, large ones included.
    pub(crate) octets: u64,
}

impl Amount {
    fn add(&mut self, other: Self) {
        self.records = self.records.saturating_add(other.records);
        self.octets = self.octets.saturating_add(other.octets);
    }
}

/// Who published how much of a group of records: a few publishers, most often one.
#[derive(Debug, Default)]
pub(crate) struct Shares(Vec<(PrincipalId, Amount)>);

impl Shares {
    /// Counts one record.
    pub(crate) fn add(&mut self, source: &PrincipalId, octets: u64) {
        let one = Amount { records: 1, octets };
        // Records of one publisher come together.
        match self.0.last_mut().filter(|(last, _)| last == source) {
            Some((_, amount)) => amount.add(one),
            None => self.0.push((source.clone(), one)),
        }
    }
}

impl Traffic {
    /// Counts from now on.
    pub(crate) fn begin(&self) {
        self.is_asked.store(true, Ordering::Relaxed);
    }

    /// Records became part of a flow.
    pub(crate) fn stored(&self, flow: &FlowName, shares: Shares) {
        if !self.is_asked.load(Ordering::Relaxed) {
            return;
        }
        let mut counted = self.counted.lock();
        for (principal, amount) in shares.0 {
            counted.add(Line { principal, flow: flow.clone(), subscription: None }, amount);
        }
    }

    /// Records are handed to a reader.
    pub(crate) fn delivered(
        &self,
        flow: &FlowName,
        subscription: &SubscriptionName,
        reader: &PrincipalId,
        records: u64,
        octets: u64,
    ) {
        if !self.is_asked.load(Ordering::Relaxed) {
            return;
        }
        let (principal, flow) = (reader.clone(), flow.clone());
        let line = Line { principal, flow, subscription: Some(subscription.clone()) };
        self.counted.lock().add(line, Amount { records, octets });
    }

    /// What was counted since the last time.
    pub(crate) fn take(&self) -> Counted {
        std::mem::take(&mut *self.counted.lock())
    }
}

impl Counted {
    fn add(&mut self, line: Line, amount: Amount) {
        let is_full = self.lines.len() >= LINES_MAX;
        match self.lines.get_mut(&line) {
            Some(found) => found.add(amount),
            None if is_full => self.others.add(amount),
            None => drop(self.lines.insert(line, amount)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(number: usize) -> PrincipalId {
        format!("spiffe://st-marys/reader-{number}").parse().unwrap()
    }

    #[test]
    fn counts_by_line_until_there_are_too_many() {
        let (flow, all) = ("scans".parse().unwrap(), "all".parse().unwrap());
        let traffic = Traffic::default();
        traffic.delivered(&flow, &all, &reader(0), 1, 1);
        assert!(traffic.take().lines.is_empty(), "nobody asks");
        traffic.begin();
        for number in 0..LINES_MAX + 3 {
            traffic.delivered(&flow, &all, &reader(number), 2, 10);
        }
        traffic.delivered(&flow, &all, &reader(1), 2, 10);
        let mut shares = Shares::default();
        [(0, 5), (0, 6), (1, 7)].iter().for_each(|(who, octets)| shares.add(&reader(*who), *octets));
        traffic.stored(&flow, shares);
        let counted = traffic.take();
        assert_eq!(counted.lines.len(), LINES_MAX);
        assert_eq!(counted.others, Amount { records: 3 * 2 + 3, octets: 3 * 10 + 18 });
        let line = Line { principal: reader(1), flow, subscription: Some(all) };
        assert_eq!(counted.lines[&line], Amount { records: 4, octets: 20 });
        assert!(traffic.take().lines.is_empty());
    }
}
