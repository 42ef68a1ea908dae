//! Plans: what goes at which limit, and that nothing held or unread ever does.

use proptest::prelude::*;

use super::*;

const HOUR: u64 = 3_600_000;

fn fact(offset: u64, time: u64) -> Fact {
    Fact { offset: Offset(offset), time: Timestamp(time), octets: 10, is_held: false }
}

/// Ten records of ten octets, stored at the times 0 to 9.
fn facts() -> Vec<Fact> {
    (0..10).map(|n| fact(n, n)).collect()
}

fn gone(plan: &Plan) -> Vec<u64> {
    plan.gone.iter().map(|offset| offset.0).collect()
}

fn by_octets(max: u64) -> Demand {
    Demand::new(&Policy { max_octets: Some(max), ..Policy::default() }, Timestamp(HOUR), 100, 10)
}

#[test]
fn without_limits_nothing_goes() {
    let mut demand = Demand::new(&Policy::default(), Timestamp(u64::MAX), u64::MAX, u64::MAX);
    assert_eq!(demand.plan(&facts(), Offset(10), true), Plan::default());
    assert!(!Policy::default().is_limited());
}

#[test]
fn a_span_that_is_wholly_too_old_goes_as_a_whole() {
    let policy = Policy { max_age: Some(Duration::from_millis(80)), ..Policy::default() };
    let mut demand = Demand::new(&policy, Timestamp(89), 100, 10);
    let plan = demand.plan(&facts(), Offset(10), true);
    assert!(plan.is_whole && plan.rules == Rules { age: true, ..Rules::default() });
    assert_eq!(demand.plan(&facts(), Offset(10), false), Plan::default(), "more may be appended to it");
    let mut demand = Demand::new(&policy, Timestamp(88), 100, 10);
    assert_eq!(demand.plan(&facts(), Offset(10), true), Plan::default(), "the slack is not used up");
    let mut demand = Demand::new(&policy, Timestamp(94), 100, 10);
    let old = [fact(0, 1), fact(1, 13), fact(2, 15)];
    let plan = demand.plan(&old, Offset(10), true);
    assert_eq!((gone(&plan), plan.is_whole), (vec![0, 1], false), "over by more than an eighth");
}

#[test]
fn a_clock_that_stands_before_the_age_deletes_nothing() {
    let policy = Policy { max_age: Some(Duration::from_millis(80)), ..Policy::default() };
    let mut demand = Demand::new(&policy, Timestamp(79), 100, 10);
    assert_eq!(demand.plan(&facts(), Offset(10), true), Plan::default());
}

#[test]
fn octets_and_count_go_from_the_oldest_on_beyond_the_slack() {
    assert_eq!(gone(&by_octets(70).plan(&facts(), Offset(10), true)), [0, 1, 2]);
    assert_eq!(gone(&by_octets(95).plan(&facts(), Offset(10), true)), [] as [u64; 0]);
    let policy = Policy { max_records: Some(4), ..Policy::default() };
    let plan = Demand::new(&policy, Timestamp(0), 100, 10).plan(&facts(), Offset(10), true);
    assert_eq!(gone(&plan), [0, 1, 2, 3, 4, 5]);
    assert_eq!(plan.rules.to_string(), "max_records");
}

#[test]
fn what_is_held_stays_and_does_not_count() {
    let mut facts = facts();
    facts[1].is_held = true;
    assert_eq!(gone(&by_octets(70).plan(&facts, Offset(10), true)), [0, 2]);
    let plan = by_octets(0).plan(&facts, Offset(10), true);
    assert_eq!((plan.gone.len(), plan.is_whole), (9, false));
}

#[test]
fn what_is_unread_stays_and_says_so() {
    let plan = by_octets(0).plan(&facts(), Offset(4), true);
    assert_eq!(gone(&plan), [0, 1, 2, 3]);
    assert!(plan.is_unread && !plan.is_whole);
    let plan = by_octets(0).plan(&facts(), Offset(0), true);
    assert!(plan.is_unread && plan.gone.is_empty());
}

#[test]
fn a_span_is_looked_into_when_there_is_something_to_do() {
    let span = Span {
        first: Offset(0),
        end: Offset(10),
        octets: 100,
        entries: 10,
        oldest: Timestamp(0),
        newest: Timestamp(9),
    };
    assert!(by_octets(0).calls_for(&span) && by_octets(0).covers(&span).is_some_and(|rules| rules.octets));
    assert!(by_octets(70).calls_for(&span) && by_octets(70).covers(&span).is_none());
    assert!(!by_octets(95).calls_for(&span), "five octets over are within the slack");
    assert!(!by_octets(100).calls_for(&span));
}

#[test]
fn compaction_keeps_the_newest_of_each_key_within_its_memory() {
    let mut pass = Compaction::default();
    for (offset, key) in ["a", "b", "a", "c", "b"].into_iter().enumerate() {
        assert!(pass.see(key, Offset(offset as u64)));
    }
    assert!(pass.replaces("a", Offset(0)) && !pass.replaces("a", Offset(2)) && pass.replaces("b", Offset(1)));
    assert!(
        !pass.replaces("b", Offset(4)) && !pass.replaces("c", Offset(3)) && !pass.replaces("d", Offset(0))
    );
    for n in pass.newest.len()..COMPACTION_KEYS_MAX {
        assert!(pass.see(&n.to_string(), Offset(9)));
    }
    assert!(!pass.see("one more", Offset(10)) && pass.see("a", Offset(11)), "no room but for known ones");
    assert!(Compaction::is_due(2, 1) && Compaction::is_due(0, 1) && !Compaction::is_due(0, 0));
    assert!(!Compaction::is_due(100, 49));
}

#[derive(Debug, Clone)]
struct Case {
    policy: Policy,
    /// Stored time, octets, whether held; and the length of each span.
    records: Vec<(u64, u64, bool)>,
    span: usize,
    settled: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let limit = |max: u64| proptest::option::of(0..max);
    let record = (0..100u64, 1..50u64, proptest::bool::weighted(0.2));
    let records = proptest::collection::vec(record, 0..80);
    (limit(120), limit(2000), limit(60), records, 1..20usize, 0..90u64).prop_map(
        |(age, octets, count, records, span, settled)| Case {
            policy: Policy {
                max_age: age.map(Duration::from_millis),
                max_octets: octets,
                max_records: count,
                ..Policy::default()
            },
            records,
            span,
            settled,
        },
    )
}

impl Case {
    fn facts(&self) -> Vec<Fact> {
        let fact = |(offset, (time, octets, is_held)): (u64, &(u64, u64, bool))| Fact {
            offset: Offset(offset),
            time: Timestamp(*time),
            octets: *octets,
            is_held: *is_held,
        };
        (0..).zip(&self.records).map(fact).collect()
    }

    /// A pass as the broker makes it, over spans of which the last one is still written.
    fn pass(&self, facts: &[Fact]) -> Vec<Offset> {
        let octets = facts.iter().map(|fact| fact.octets).sum();
        let mut demand = Demand::new(&self.policy, Timestamp(100), octets, facts.len() as u64);
        let mut gone = Vec::new();
        let mut spans = facts.chunks(self.span).peekable();
        while let Some(span) = spans.next() {
            let plan = demand.plan(span, Offset(self.settled), spans.peek().is_some());
            assert!(!plan.is_whole || plan.gone.len() == span.len());
            assert_eq!(plan.gone.is_empty(), plan.rules == Rules::default());
            gone.extend(plan.gone);
            if plan.is_unread {
                break;
            }
        }
        gone
    }
}

proptest! {
    #[test]
    fn nothing_held_or_unread_ever_goes(case in case()) {
        let facts = case.facts();
        for offset in case.pass(&facts) {
            prop_assert!(offset.0 < case.settled);
            prop_assert!(!facts[usize::try_from(offset.0).unwrap()].is_held);
        }
    }

    /// Where everything is settled and nothing is held, each limit is exceeded by no more than its slack and one span.
    #[test]
    fn limits_are_met_otherwise(mut case in case()) {
        case.settled = u64::MAX;
        case.records.iter_mut().for_each(|record| record.2 = false);
        // Times go up, as those of a clock that is not set back.
        case.records.sort_by_key(|record| record.0);
        let facts = case.facts();
        let gone = case.pass(&facts);
        let left: Vec<_> = facts.iter().filter(|fact| !gone.contains(&fact.offset)).collect();
        let in_span: u64 = facts.chunks(case.span).map(|span| span.iter().map(|f| f.octets).sum()).max().unwrap_or(0);
        if let Some(max) = case.policy.max_octets {
            let octets: u64 = left.iter().map(|fact| fact.octets).sum();
            prop_assert!(octets <= max + max / 8 + in_span, "{octets} octets");
        }
        if let Some(max) = case.policy.max_records {
            prop_assert!(left.len() as u64 <= max + max / 8 + case.span as u64);
        }
        if let Some(age) = case.policy.max_age {
            let age = u64::try_from(age.as_millis()).unwrap();
            let oldest = left.iter().map(|fact| 100 - fact.time.0).max().unwrap_or(0);
            prop_assert!(oldest <= age + age / 8, "{oldest} old");
        }
        if !case.policy.is_limited() {
            prop_assert!(gone.is_empty());
        }
    }

    #[test]
    fn nothing_goes_that_no_limit_asks_for(case in case()) {
        let facts = case.facts();
        let gone = case.pass(&facts);
        let octets: u64 = facts.iter().map(|fact| fact.octets).sum();
        let is_over = |fact: &Fact| case.policy.max_age.is_some_and(|age| 100 - fact.time.0 >= u64::try_from(age.as_millis()).unwrap());
        let over_octets = case.policy.max_octets.is_some_and(|max| octets > max);
        let over_records = case.policy.max_records.is_some_and(|max| facts.len() as u64 > max);
        if !over_octets && !over_records {
            prop_assert!(gone.iter().all(|offset| is_over(&facts[usize::try_from(offset.0).unwrap()])));
        }
    }
}
