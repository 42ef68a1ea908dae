//! The deliveries of one stream that have no answer, by number and, once it is asked for, by offset.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::record::Offset;
use crate::wire::Credit;

/// A delivery without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) offset: Offset,
    pub(super) octets: u64,
    pub(super) unsettled_parts: u16,
}

/// All of them. A stream has at most one for an offset: another one of the same record ends it.
#[derive(Debug, Default)]
pub(super) struct Flights {
    by_number: BTreeMap<u64, Flight>,
    /// Made when a record first comes again, so that a stream on which none does pays nothing for it.
    by_offset: Option<BTreeMap<Offset, u64>>,
    octets: u64,
}

impl Flights {
    /// What they take of the credit.
    pub(super) fn sum(&self) -> Credit {
        Credit { records: u32::try_from(self.by_number.len()).unwrap_or(u32::MAX), octets: self.octets }
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        self.by_number.contains_key(&number)
    }

    pub(super) fn octets_of(&self, number: u64) -> u64 {
        self.by_number.get(&number).map_or(0, |flight| flight.octets)
    }

    /// The numbers in a range, in order.
    pub(super) fn in_range(&self, range: RangeInclusive<u64>) -> Vec<u64> {
        self.by_number.range(range).map(|(number, _)| *number).collect()
    }

    /// The delivery of a record.
    pub(super) fn of(&mut self, offset: Offset) -> Option<u64> {
        let by_number = &self.by_number;
        let index = || by_number.iter().map(|(number, flight)| (flight.offset, *number)).collect();
        self.by_offset.get_or_insert_with(index).get(&offset).copied()
    }

    pub(super) fn insert(&mut self, number: u64, flight: Flight) {
        self.octets += flight.octets;
        if let Some(by_offset) = &mut self.by_offset {
            by_offset.insert(flight.offset, number);
        }
        self.by_number.insert(number, flight);
    }

    /// Another part of a delivery came. Nothing where it was answered meanwhile.
    pub(super) fn add_octets(&mut self, number: u64, octets: u64) {
        if let Some(flight) = self.by_number.get_mut(&number) {
            flight.octets += octets;
            self.octets += octets;
        }
    }

    /// One part of a delivery is settled. Whether it was the last one, with which the delivery ends.
    pub(super) fn settle_part(&mut self, number: u64) -> bool {
        let Some(flight) = self.by_number.get_mut(&number) else { return false };
        flight.unsettled_parts -= 1;
        flight.unsettled_parts == 0 && self.end(number)
    }

    /// A delivery has its answer. Whether it had none before.
    pub(super) fn end(&mut self, number: u64) -> bool {
        let Some(flight) = self.by_number.remove(&number) else { return false };
        self.octets -= flight.octets;
        if let Some(by_offset) = &mut self.by_offset {
            by_offset.remove(&flight.offset);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Deliver(u64, u64, u16),
        Part(u64, u64),
        Settle(u64),
        End(u64),
        Ask,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..12_u64, 0..100_u64, 1..4_u16).prop_map(|(at, octets, parts)| Step::Deliver(at, octets, parts)),
            1 => (0..20_u64, 0..100_u64).prop_map(|(number, octets)| Step::Part(number, octets)),
            2 => (0..20_u64).prop_map(Step::Settle),
            1 => (0..20_u64).prop_map(Step::End),
            1 => Just(Step::Ask),
        ]
    }

    proptest! {
        /// The index says what a search would, whenever it was made.
        #[test]
        fn the_index_agrees_with_a_search(steps in prop::collection::vec(step(), 0..80)) {
            let (mut flights, mut model) = (Flights::default(), Vec::<(u64, Flight)>::new());
            let mut next = 1;
            for step in steps {
                match step {
                    Step::Deliver(offset, octets, unsettled_parts) => {
                        let flight = Flight { offset: Offset(offset), octets, unsettled_parts };
                        if let Some(at) = model.iter().position(|(_, other)| other.offset == flight.offset) {
                            prop_assert_eq!(flights.of(flight.offset), Some(model[at].0));
                            prop_assert!(flights.end(model.remove(at).0));
                        }
                        flights.insert(next, flight);
                        model.push((next, flight));
                        next += 1;
                    }
                    Step::Part(number, octets) => {
                        flights.add_octets(number, octets);
                        let found = model.iter_mut().find(|(other, _)| *other == number);
                        found.into_iter().for_each(|(_, flight)| flight.octets += octets);
                    }
                    Step::Settle(number) => {
                        let found = model.iter_mut().find(|(other, _)| *other == number);
                        let left = found.map(|(_, flight)| {
                            flight.unsettled_parts -= 1;
                            flight.unsettled_parts
                        });
                        prop_assert_eq!(flights.settle_part(number), left == Some(0));
                        model.retain(|(_, flight)| flight.unsettled_parts > 0);
                    }
                    Step::End(number) => {
                        prop_assert_eq!(flights.end(number), model.iter().any(|(other, _)| *other == number));
                        model.retain(|(other, _)| *other != number);
                    }
                    Step::Ask => {
                        for offset in (0..12).map(Offset) {
                            let found = model.iter().find(|(_, flight)| flight.offset == offset);
                            prop_assert_eq!(flights.of(offset), found.map(|(number, _)| *number));
                        }
                    }
                }
                let octets = model.iter().map(|(_, flight)| flight.octets).sum();
                prop_assert_eq!(flights.sum(), Credit { records: u32::try_from(model.len()).unwrap(), octets });
                let numbers: Vec<u64> = model.iter().map(|(number, _)| *number).collect();
                prop_assert_eq!(flights.in_range(0..=next), numbers);
            }
        }
    }
}
