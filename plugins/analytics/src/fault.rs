//! When it is the sensor that is broken: it says what cannot be, or the same for ever. What it says then is not learned from.

use crate::octets::{Octets, Rest};
use crate::sensor::{Point, milliseconds};
use crate::settings::Watch;

/// Readings that have to be the same before a sensor counts as stuck.
const SAME_MIN: f64 = 8.0;

/// What is wrong with a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    OutOfRange,
    Stuck,
    /// See [`crate::presence`].
    Missing,
}

/// A fault that began or ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Change {
    pub(crate) kind: Kind,
    pub(crate) is_raised: bool,
    pub(crate) time_ms: u64,
    pub(crate) value: f64,
}

/// What is known of a sensor's health.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Health {
    fault: Option<Kind>,
    /// Readings in a row that speak for another state.
    run: u8,
    pub(crate) last_ms: f64,
    value: f64,
    /// How many readings were the same, and since when.
    same: f64,
    same_since_ms: f64,
}

impl Health {
    /// Looks at one reading; says whether it may be learned from, and what changed.
    pub(crate) fn look(&mut self, watch: &Watch, point: Point) -> (bool, Option<Change>) {
        let time_ms = milliseconds(point.time_ms);
        self.last_ms = time_ms;
        let is_possible = watch.possible.is_none_or(|[from, to]| point.value >= from && point.value <= to);
        #[expect(clippy::float_cmp, reason = "a sensor that is stuck says exactly the same")]
        let is_same = self.same > 0.0 && point.value == self.value;
        (self.same, self.same_since_ms) =
            if is_same { (self.same + 1.0, self.same_since_ms) } else { (1.0, time_ms) };
        self.value = point.value;
        let is_stuck = watch.stuck_minutes.is_some_and(|minutes| {
            self.same >= SAME_MIN && time_ms - self.same_since_ms >= minutes * 60_000.0
        });
        let speaks_for_another = match self.fault {
            None => !is_possible || is_stuck,
            Some(Kind::OutOfRange) => is_possible,
            Some(_) => is_possible && !is_same,
        };
        self.run = if speaks_for_another { self.run.saturating_add(1) } else { 0 };
        let is_confirmed = self.run >= watch.confirm || (is_stuck && is_possible);
        let change = if self.run > 0 && is_confirmed {
            self.run = 0;
            let (kind, is_raised) = match self.fault {
                None if is_possible => (Kind::Stuck, true),
                None => (Kind::OutOfRange, true),
                Some(kind) => (kind, false),
            };
            self.fault = is_raised.then_some(kind);
            Some(Change { kind, is_raised, time_ms: point.time_ms, value: point.value })
        } else {
            None
        };
        (is_possible && self.fault.is_none(), change)
    }

    /// Takes back a change that nobody could be told of.
    pub(crate) fn take_back(&mut self, change: &Change) {
        self.fault = (!change.is_raised).then_some(change.kind);
    }

    pub(crate) fn encode(&self, to: &mut Octets) {
        to.small(match self.fault {
            None => 0,
            Some(Kind::OutOfRange) => 1,
            Some(_) => 2,
        });
        to.small(self.run);
        for number in [self.last_ms, self.value, self.same, self.same_since_ms] {
            to.number(number);
        }
    }

    pub(crate) fn decode(from: &mut Rest<'_>) -> Option<Self> {
        let fault = match from.small()? {
            0 => None,
            1 => Some(Kind::OutOfRange),
            2 => Some(Kind::Stuck),
            _ => return None,
        };
        Some(Self {
            fault,
            run: from.small()?,
            last_ms: from.number()?,
            value: from.number()?,
            same: from.number()?,
            same_since_ms: from.number()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch() -> Watch {
        serde_json::from_value(serde_json::json!({
            "sensor": "t", "above": 50, "possible": [-40, 120], "stuck_minutes": 60,
        }))
        .unwrap()
    }

    /// A reading each five minutes; which were of use, and what changed.
    fn look(values: &[f64]) -> (Vec<bool>, Vec<(Kind, bool, u64)>) {
        let (mut health, mut changes) = (Health::default(), Vec::new());
        let mut usable = Vec::new();
        for (time, value) in (0..).zip(values) {
            let mut octets = Octets::default();
            health.encode(&mut octets);
            health = Health::decode(&mut Rest(&octets.into_vec())).unwrap();
            let (is_usable, change) = health.look(&watch(), Point { time_ms: time * 300_000, value: *value });
            usable.push(is_usable);
            changes.extend(change.map(|change| (change.kind, change.is_raised, change.time_ms / 300_000)));
        }
        (usable, changes)
    }

    #[test]
    fn what_cannot_be_is_a_fault_when_it_comes_twice() {
        let (usable, changes) = look(&[20.0, 850.0, 20.1, 850.0, 850.0, -127.0, 20.0, 21.0, 20.0]);
        assert_eq!(changes, [(Kind::OutOfRange, true, 4), (Kind::OutOfRange, false, 7)]);
        assert_eq!(usable, [true, false, true, false, false, false, false, true, true]);
    }

    #[test]
    fn the_same_for_an_hour_is_a_fault() {
        let mut values = vec![20.0, 20.5];
        values.extend([21.0; 20]);
        values.extend([21.5, 21.0, 22.0]);
        let (usable, changes) = look(&values);
        // The first of them was number 2; an hour is twelve readings later.
        assert_eq!(changes, [(Kind::Stuck, true, 14), (Kind::Stuck, false, 23)]);
        assert!(usable[13] && !usable[14] && !usable[22] && usable[23]);
    }

    #[test]
    fn some_alike_are_not_stuck() {
        let values: Vec<f64> = (0..100).map(|index| f64::from(index / 10)).collect();
        assert_eq!(look(&values).1, []);
    }
}
