//! Logs that end early, in the middle, or go on after what does not count.

use super::*;

fn flow() -> FlowName {
    "device".parse().unwrap()
}

fn stage() -> StageName {
    "watch".parse().unwrap()
}

fn broker() -> PrincipalId {
    "spiffe://st-marys/broker".parse().unwrap()
}

/// A log of entries, beside a state that is kept as the broker keeps it.
#[derive(Default)]
struct Bench {
    log: Vec<Vec<u8>>,
    state: State,
}

impl Bench {
    /// Sets a value, and emits records, of a flow that ends at `to` then. Gives where the step is in the log.
    fn step(&mut self, to: u64, key: &str, value: &str, emits: u64) -> Offset {
        let at = self.log.len() as u64;
        let mut items = vec![self.state.head(&flow(), &stage(), emits, Offset(to), Timestamp(to))];
        let version = self.state.value(&stage(), key).map_or(0, |value| value.version) + 1;
        items
            .push(Item::Set(key.into(), Value { version, octets: Bytes::copy_from_slice(value.as_bytes()) }));
        let first = self.state.stages().get(&stage()).map_or(0, StageState::emitted) + 1;
        items.extend((first..first + emits).map(|number| Item::Emitted(number, emitted(number))));
        self.write(Whole::Step { to: Offset(to) }, &items);
        self.state.apply(items, Offset(to));
        Offset(at)
    }

    fn write(&mut self, of: Whole, items: &[Item]) {
        let entries = parts(&flow(), &broker(), of, items);
        self.log.extend(entries.into_iter().map(Entry::into_octets));
    }

    fn void(&mut self, from: Offset) {
        self.log.push(void(&flow(), &broker(), from).into_octets());
    }

    /// What a start finds where the flow ends at `end`, and from where on it declares the log void.
    fn recover(&self, end: u64) -> (Option<Offset>, State) {
        let mut survey = Survey::new(Offset(end));
        let log = || (0..).map(Offset).zip(&self.log);
        log().for_each(|(at, octets)| survey.note(at, octets).unwrap());
        let (void, mut replay) = survey.finish();
        log().for_each(|(at, octets)| replay.fold(at, octets).unwrap());
        (void, replay.finish())
    }
}

fn emitted(number: u64) -> Emitted {
    Emitted {
        flow: "maintenance".parse().unwrap(),
        time: Timestamp(1),
        key: None,
        content_type: "text/plain".into(),
        attributes: Vec::new(),
        body: Bytes::from(number.to_string()),
    }
}

fn value(state: &State, key: &str) -> Option<String> {
    state.value(&stage(), key).map(|value| String::from_utf8(value.octets.to_vec()).unwrap())
}

#[test]
fn a_step_counts_if_the_flow_came_to_its_end() {
    let mut bench = Bench::default();
    bench.step(3, "count", "3", 1);
    let second = bench.step(5, "count", "5", 1);
    assert_eq!(bench.recover(5), (None, bench.state.clone()));
    let (void, state) = bench.recover(4);
    assert_eq!((void, value(&state, "count")), (Some(second), Some("3".into())));
    assert_eq!(state.stages()[&stage()].emitted(), 1, "its record was not emitted");
    assert_eq!(bench.recover(0).1, State::default());
}

#[test]
fn what_was_declared_void_does_not_count_when_the_flow_grows_beyond_it() {
    let mut bench = Bench::default();
    bench.step(3, "count", "3", 0);
    let kept = bench.state.clone();
    let dangling = bench.step(5, "count", "5", 1);
    // The broker starts again, and the flow goes on with other records.
    bench.void(dangling);
    bench.state = kept;
    bench.step(6, "other", "6", 1);
    let (void, state) = bench.recover(6);
    assert_eq!((void, &state), (None, &bench.state));
    assert_eq!((value(&state, "count"), value(&state, "other")), (Some("3".into()), Some("6".into())));
    assert_eq!(state.stages()[&stage()].pending().keys().copied().collect::<Vec<_>>(), [1]);
}

#[test]
fn a_step_that_builds_on_one_that_does_not_count_does_not_count_either() {
    let mut bench = Bench::default();
    let lost = bench.step(4, "count", "4", 0);
    // A tick: it goes no further than the flow, of which the end was lost.
    bench.step(4, "ticks", "1", 0);
    assert_eq!(bench.recover(3), (Some(lost), State::default()));
}

#[test]
fn what_lacks_its_last_part_does_not_count() {
    let mut bench = Bench::default();
    bench.step(1, "count", "1", 0);
    let before = bench.state.clone();
    let large = "x".repeat(60_000);
    let items: Vec<Item> = std::iter::once(bench.state.head(&flow(), &stage(), 0, Offset(2), Timestamp(0)))
        .chain((0..40).map(|at| {
            let octets = Bytes::copy_from_slice(large.as_bytes());
            Item::Set(format!("key {at}"), Value { version: 1, octets })
        }))
        .collect();
    bench.write(Whole::Step { to: Offset(2) }, &items);
    assert!(bench.log.len() >= 4, "it has {} parts", bench.log.len() - 1);
    let whole = bench.recover(2).1;
    assert_eq!(whole.usage(&stage()).keys, 41);
    bench.log.pop();
    assert_eq!(bench.recover(2), (None, before));
    // The next one begins anew.
    bench.step(2, "count", "2", 0);
    assert_eq!(bench.recover(2), (None, bench.state.clone()));
}

#[test]
fn a_snapshot_has_all_that_there_is() {
    let mut bench = Bench::default();
    bench.step(1, "count", "1", 3);
    bench.state.settle(&stage(), 1);
    let snapshot = bench.state.snapshot();
    bench.log.clear();
    bench.write(Whole::Snapshot, &snapshot);
    let recovered = bench.recover(1).1;
    assert_eq!(recovered.snapshot(), snapshot);
    let kept = &recovered.stages()[&stage()];
    assert_eq!((kept.emitted(), kept.pending().len(), kept.usage()), (3, 2, Usage { keys: 1, octets: 6 }));
    assert_eq!(recovered.pending(), bench.state.pending());
}

#[test]
fn what_is_stored_where_it_goes_is_forgotten_with_the_next_step() {
    let mut bench = Bench::default();
    bench.step(1, "count", "1", 2);
    bench.state.settle(&stage(), 1);
    bench.step(2, "count", "2", 0);
    let recovered = bench.recover(2).1;
    assert_eq!(recovered.stages()[&stage()].pending().keys().copied().collect::<Vec<_>>(), [2]);
    assert_eq!(recovered.stages()[&stage()].emitter(), bench.state.stages()[&stage()].emitter());
}

#[test]
fn usage_follows_what_is_set_and_removed() {
    let mut state = State::default();
    let head = state.head(&flow(), &stage(), 0, Offset(0), Timestamp(0));
    let set = |octets: &'static [u8]| {
        Item::Set("key".into(), Value { version: 1, octets: Bytes::from_static(octets) })
    };
    state.apply(vec![head.clone(), set(b"long"), set(b"x")], Offset(0));
    assert_eq!(state.usage(&stage()), Usage { keys: 1, octets: 4 });
    state.apply(vec![head, Item::Remove("key".into()), Item::Remove("other".into())], Offset(0));
    assert_eq!(state.usage(&stage()), Usage::default());
}

#[test]
fn no_key_and_no_value_is_shown() {
    let mut bench = Bench::default();
    bench.step(1, "MRN-4711", "secret", 1);
    let shown = format!("{:?} {:?}", bench.state, bench.state.snapshot());
    assert!(!shown.contains("4711") && !shown.contains("secret"), "{shown}");
}
