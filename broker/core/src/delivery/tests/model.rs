//! Readers that come, deliver, ack, nak, stall and vanish at random; after each step what must hold does.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const RECORDS: u64 = 60;
const IN_FLIGHT_MAX: u32 = 12;

#[derive(Debug, Clone)]
enum Step {
    Join,
    Leave {
        at: prop::sample::Index,
        in_order: bool,
    },
    Read {
        at: prop::sample::Index,
        records: usize,
        due: u64,
    },
    Waiting {
        at: prop::sample::Index,
        records: usize,
        room: u32,
    },
    Ack {
        at: prop::sample::Index,
    },
    /// Of any delivery that there ever was.
    LateAck {
        at: prop::sample::Index,
    },
    Nak {
        at: prop::sample::Index,
        delay: Option<u64>,
    },
    Extend {
        at: prop::sample::Index,
    },
    Time {
        passes: u64,
    },
    Conclude,
    Restart,
    Seek {
        to: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        2 => Just(Step::Join),
        1 => (at(), any::<bool>()).prop_map(|(at, in_order)| Step::Leave { at, in_order }),
        6 => (at(), 1_usize..8, 0_u64..4).prop_map(|(at, records, due)| Step::Read { at, records, due: due * 20 }),
        4 => (at(), 1_usize..5, 0_u32..5).prop_map(|(at, records, room)| Step::Waiting { at, records, room }),
        8 => at().prop_map(|at| Step::Ack { at }),
        2 => at().prop_map(|at| Step::LateAck { at }),
        3 => (at(), proptest::option::of(0_u64..80)).prop_map(|(at, delay)| Step::Nak { at, delay }),
        1 => at().prop_map(|at| Step::Extend { at }),
        3 => (1_u64..60).prop_map(|passes| Step::Time { passes }),
        2 => Just(Step::Conclude),
        1 => Just(Step::Restart),
        1 => (0..RECORDS).prop_map(|to| Step::Seek { to }),
    ]
}

/// What is known of the world outside.
struct World {
    of: Deliveries,
    rules: Rules,
    now: u64,
    readers: Vec<ReaderId>,
    /// Under way, as the readers see it.
    open: BTreeMap<u64, (ReaderId, Claim)>,
    ever: Vec<(ReaderId, Claim)>,
    settled: BTreeSet<u64>,
}

/// Every seventh record has no key.
fn key_of(offset: u64) -> Option<Key> {
    (offset % 7 != 6).then(|| Key((offset * offset + 3) % 5))
}

impl World {
    fn new(rules: Rules) -> Self {
        let of = Deliveries::new(rules.clone(), &Progress::from(Offset(0)));
        let (open, ever, settled) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        Self { of, rules, now: 0, readers: Vec::new(), open, ever, settled }
    }

    fn reader(&self, at: &prop::sample::Index) -> Option<ReaderId> {
        (!self.readers.is_empty()).then(|| self.readers[at.index(self.readers.len())])
    }

    fn pick(&self, at: &prop::sample::Index) -> Option<(ReaderId, Claim)> {
        (!self.open.is_empty()).then(|| *self.open.values().nth(at.index(self.open.len())).unwrap())
    }

    /// A delivery goes out: the order of its key holds.
    fn delivered(&mut self, reader: ReaderId, claim: Claim) {
        let offset = claim.offset.0;
        assert!(self.of.sent(claim, self.now));
        assert!(!self.open.contains_key(&offset), "{offset} is under way twice");
        assert!(claim.attempt >= 1);
        if let Some(key) = key_of(offset) {
            for lower in (0..offset).filter(|lower| key_of(*lower) == Some(key)) {
                if self.settled.contains(&lower) {
                    continue;
                }
                let there = self.open.get(&lower);
                assert!(there.is_some(), "{lower} of the same key waits, and {offset} is delivered");
            }
            for (other, (at, _)) in &self.open {
                assert!(key_of(*other) != Some(key) || *at == reader, "{other} and {offset} at two readers");
            }
        }
        self.open.insert(offset, (reader, claim));
        self.ever.push((reader, claim));
    }

    fn settle(&mut self, reader: ReaderId, claim: Claim) {
        let is_open = self.open.get(&claim.offset.0) == Some(&(reader, claim));
        let settled = self.of.settle(claim, self.now);
        assert!(settled || !is_open, "an ack of what is under way counts");
        if settled {
            self.open.remove(&claim.offset.0);
            self.settled.insert(claim.offset.0);
        }
    }

    fn lapse(&mut self) {
        self.of.handle_timeout(self.now);
        let of = &self.of;
        self.open.retain(|_, (_, claim)| of.is_current(*claim));
    }

    fn read(&mut self, reader: ReaderId, records: usize, due: u64) {
        for _ in 0..records {
            let offset = self.of.next_offset();
            if offset.0 >= RECORDS {
                break;
            }
            // A record is for later where its offset says so, whoever reads it.
            let due = if offset.0.is_multiple_of(11) { due } else { 0 };
            match self.of.offer(reader, offset, key_of(offset.0), due, self.now) {
                Offered::Claimed(claim) => self.delivered(reader, claim),
                Offered::Full => break,
                Offered::PutOff | Offered::Known => {}
            }
        }
    }

    fn restart(&mut self) {
        let progress = Progress::decode(&self.of.progress().encode()).unwrap();
        for (first, last) in &progress.settled {
            for offset in first.0..=last.0 {
                assert!(self.settled.contains(&offset), "{offset} was not settled");
            }
        }
        self.of = Deliveries::new(self.rules.clone(), &progress);
        self.readers.clear();
        self.open.clear();
        // Readers do not outlive the broker.
        self.ever.clear();
    }

    fn seek(&mut self, to: u64) {
        self.of.seek(Offset(to));
        self.open.clear();
        self.settled = (0..to).collect();
    }

    fn conclude(&mut self) {
        for (offset, attempts) in self.of.exhausted(3) {
            assert!(attempts >= self.rules.deliveries_max);
            self.of.conclude(offset, self.now);
            self.settled.insert(offset.0);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Join if self.readers.is_empty() || self.rules.shared && self.readers.len() < 4 => {
                let reader = self.of.join();
                self.readers.push(reader);
            }
            Step::Join => {}
            Step::Leave { at, in_order } => {
                let Some(reader) = self.reader(at) else { return };
                self.of.leave(reader, *in_order, self.now);
                self.readers.retain(|other| *other != reader);
                self.open.retain(|_, (at, _)| *at != reader);
            }
            Step::Read { at, records, due } => {
                let Some(reader) = self.reader(at) else { return };
                self.read(reader, *records, self.now + due);
            }
            Step::Waiting { at, records, room } => {
                let Some(reader) = self.reader(at) else { return };
                for claim in self.of.claim_waiting(reader, *records, *room, self.now) {
                    self.delivered(reader, claim);
                }
            }
            Step::Ack { at } => {
                let Some((reader, claim)) = self.pick(at) else { return };
                self.settle(reader, claim);
            }
            Step::LateAck { at } => {
                if self.ever.is_empty() {
                    return;
                }
                let (reader, claim) = self.ever[at.index(self.ever.len())];
                self.settle(reader, claim);
            }
            Step::Nak { at, delay } => {
                let Some((_, claim)) = self.pick(at) else { return };
                assert!(self.of.nak(claim, *delay, self.now));
                assert!(!self.of.nak(claim, *delay, self.now), "once");
                self.open.remove(&claim.offset.0);
            }
            Step::Extend { at } => {
                let Some((_, claim)) = self.pick(at) else { return };
                assert!(self.of.extend(claim, self.now));
            }
            Step::Time { passes } => {
                self.now += passes;
                self.lapse();
            }
            Step::Conclude => self.conclude(),
            Step::Restart => self.restart(),
            Step::Seek { to } => self.seek(*to),
        }
    }

    /// What must hold at any time.
    fn check(&self) {
        let lowest = (0..RECORDS).find(|offset| !self.settled.contains(offset)).unwrap_or(RECORDS);
        assert_eq!(self.of.cursor().0.min(RECORDS), lowest, "the cursor is the lowest that is not settled");
        let unsettled = RECORDS - self.settled.len() as u64;
        assert_eq!(self.of.lag(Offset(RECORDS)), unsettled);
        let counts = self.of.counts();
        assert_eq!(counts.in_flight, self.open.len());
        assert!(counts.in_flight <= IN_FLIGHT_MAX as usize);
        assert!(self.of.next_timeout().is_some() || self.open.is_empty());
    }

    /// One reader that acks everything gets all that is left, whatever happened before.
    fn finish(&mut self) {
        for reader in std::mem::take(&mut self.readers) {
            self.of.leave(reader, false, self.now);
        }
        self.open.clear();
        let reader = self.of.join();
        for _ in 0..RECORDS * 3 {
            self.now += 10_000;
            self.lapse();
            self.conclude();
            for claim in self.of.claim_waiting(reader, 8, 8, self.now) {
                self.delivered(reader, claim);
                self.settle(reader, claim);
            }
            self.read(reader, 3, self.now);
            for (reader, claim) in self.open.values().copied().collect::<Vec<_>>() {
                self.settle(reader, claim);
            }
        }
        self.check();
        assert_eq!(self.settled.len() as u64, RECORDS, "nothing is lost");
        assert_eq!(self.of.lag(Offset(RECORDS)), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_lost_and_keys_keep_their_order(
        shared in any::<bool>(),
        deliveries_max in 0_u32..4,
        backoff in proptest::collection::vec(0_u64..50, 0..3),
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let rules = Rules { ack_wait: 100, deliveries_max, backoff, in_flight_max: IN_FLIGHT_MAX, shared };
        let mut world = World::new(rules);
        for step in &steps {
            world.step(step);
            world.check();
        }
        world.finish();
    }
}
