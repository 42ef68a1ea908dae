//! Decisions, and that folding them and their snapshots gives the same state.

use proptest::prelude::*;

use super::*;

fn broker() -> PrincipalId {
    PrincipalId::new("spiffe://st-marys/broker").unwrap()
}

fn flow(name: &str) -> FlowName {
    name.parse().unwrap()
}

fn scope(name: &str, key: Option<&str>) -> HoldScope {
    HoldScope { flow: flow(name), key: key.map(str::to_owned) }
}

fn fold(entries: &[Entry]) -> State {
    let mut state = State::default();
    entries.iter().for_each(|entry| state.fold(entry.octets()).unwrap());
    state
}

/// Decides, and writes it down.
fn decide(state: &mut State, log: &mut Vec<Entry>, decision: Decision) {
    log.push(decision.to_entry(&broker()));
    state.apply(decision);
}

#[test]
fn a_hold_lasts_until_its_own_release() {
    let (mut state, mut log) = (State::default(), Vec::new());
    for key in [Some("ward-7"), Some("ward-7"), Some("ward-8")] {
        let decision = state.hold(scope("scans", key), "case 17", &broker(), Timestamp(1)).unwrap();
        decide(&mut state, &mut log, decision);
    }
    let decision = state.release(HoldId(0), &broker(), Timestamp(2)).unwrap();
    decide(&mut state, &mut log, decision);
    let held = state.holds_of(&flow("scans"));
    assert!(held.holds(Some("ward-7")), "another hold lies on the same key");
    assert!(held.holds(Some("ward-8")) && !held.holds(Some("ward-9")) && !held.holds(None));
    assert!(state.holds_of(&flow("other")).is_empty());
    assert_eq!(state.release(HoldId(0), &broker(), Timestamp(3)), Err(DecisionError::NoSuchHold(HoldId(0))));
    assert_eq!(fold(&log), state);
    assert!(!format!("{state:?}").contains("ward"), "a key may identify a patient");
}

#[test]
fn a_held_flow_holds_every_record() {
    let mut state = State::default();
    state.apply(state.hold(scope("scans", None), "case 17", &broker(), Timestamp(1)).unwrap());
    let held = state.holds_of(&flow("scans"));
    assert!(held.is_whole() && held.holds(None) && held.holds(Some("any")));
}

#[test]
fn a_pause_lasts_until_it_is_resumed() {
    let (mut state, mut log) = (State::default(), Vec::new());
    let (flow, subscription) = (flow("scans"), "reading".parse::<SubscriptionName>().unwrap());
    let refused = state.resume(&flow, &subscription, &broker(), Timestamp(1));
    assert_eq!(refused, Err(DecisionError::NotPaused(subscription.clone())));
    for reason in ["maintenance", "still maintenance"] {
        let decision = state.pause(&flow, &subscription, reason, &broker(), Timestamp(1)).unwrap();
        decide(&mut state, &mut log, decision);
    }
    assert_eq!(fold(&log).pause_of(&flow, &subscription).unwrap().reason, "still maintenance");
    let decision = state.resume(&flow, &subscription, &broker(), Timestamp(2)).unwrap();
    decide(&mut state, &mut log, decision);
    assert_eq!(fold(&log).pauses().count(), 0);
}

#[test]
fn what_is_asked_is_bounded() {
    let state = State::default();
    let hold =
        |key: Option<&str>, reason: &str| state.hold(scope("scans", key), reason, &broker(), Timestamp(0));
    assert_eq!(hold(Some(""), "r"), Err(DecisionError::Key));
    assert_eq!(hold(Some(&"k".repeat(KEY_OCTETS_MAX + 1)), "r"), Err(DecisionError::Key));
    assert_eq!(hold(None, " "), Err(DecisionError::Reason));
    assert_eq!(hold(None, &"r".repeat(REASON_CHARS_MAX + 1)), Err(DecisionError::Reason));
    let mut full = State::default();
    for _ in 0..HOLDS_MAX {
        full.apply(full.hold(scope("scans", None), "r", &broker(), Timestamp(0)).unwrap());
    }
    let refused = full.hold(scope("scans", None), "r", &broker(), Timestamp(0));
    assert_eq!(refused, Err(DecisionError::TooManyHolds));
    assert_eq!(fold(&full.snapshot(&broker())), full, "the largest state survives its snapshot");
}

#[test]
fn the_largest_part_of_a_snapshot_fits_an_append() {
    let long = format!("spiffe://st-marys/{}", "p".repeat(2048 - 18));
    let by = PrincipalId::new(&long).unwrap();
    let mut state = State::default();
    for n in 0..PART_ITEMS_MAX {
        let (name, reason) = (format!("f{n}{}", "x".repeat(59)), "ä".repeat(REASON_CHARS_MAX));
        let key = "k".repeat(KEY_OCTETS_MAX);
        state.apply(state.hold(scope(&name, Some(&key)), &reason, &by, Timestamp(u64::MAX)).unwrap());
        let subscription = name.parse().unwrap();
        state.apply(state.pause(&flow(&name), &subscription, &reason, &by, Timestamp(u64::MAX)).unwrap());
    }
    let snapshot = state.snapshot(&by);
    assert_eq!(snapshot.len(), 1);
    assert!(snapshot[0].octets().len() < crate::limits::APPEND_OCTETS_MAX);
}

#[test]
fn an_identifier_is_never_given_again() {
    let mut state = State::default();
    state.apply(state.hold(scope("scans", None), "r", &broker(), Timestamp(0)).unwrap());
    state.apply(state.release(HoldId(0), &broker(), Timestamp(0)).unwrap());
    let state = fold(&state.snapshot(&broker()));
    let decision = state.hold(scope("scans", None), "r", &broker(), Timestamp(0)).unwrap();
    assert!(matches!(decision, Decision::Hold(Hold { id: HoldId(1), .. })));
}

#[test]
fn a_snapshot_that_was_not_finished_changes_nothing() {
    let mut state = State::default();
    for n in 0..2 * PART_ITEMS_MAX {
        let key = n.to_string();
        state.apply(state.hold(scope("scans", Some(&key)), "r", &broker(), Timestamp(0)).unwrap());
    }
    let snapshot = state.snapshot(&broker());
    assert_eq!(snapshot.len(), 2);
    let release = Decision::Release { id: HoldId(1), by: broker(), time: Timestamp(0) }.to_entry(&broker());
    let [first, second] = [snapshot[0].clone(), snapshot[1].clone()];
    let begun = [&snapshot[..], std::slice::from_ref(&first)].concat();
    let without_partial = |state: State| State { partial: None, ..state };
    assert_eq!(without_partial(fold(&begun)), state);
    let cut_off = fold(&[first.clone(), second.clone(), first.clone(), release.clone(), second.clone()]);
    assert_eq!(cut_off.holds().count(), 2 * PART_ITEMS_MAX - 1, "the second part belongs to nothing");
    let headless = fold(&[second.clone(), release, first, second]);
    assert_eq!(headless, state, "what is before a whole snapshot does not count");
    assert!(State::default().fold(&[9, 9]).is_err());
}

#[derive(Debug, Clone)]
enum Step {
    Hold(u8, Option<u8>),
    Release(u64),
    Pause(u8),
    Resume(u8),
    Snapshot,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3u8, proptest::option::of(0..5u8)).prop_map(|(flow, key)| Step::Hold(flow, key)),
        (0..20u64).prop_map(Step::Release),
        (0..3u8).prop_map(Step::Pause),
        (0..3u8).prop_map(Step::Resume),
        Just(Step::Snapshot),
    ]
}

proptest! {
    /// Whatever is decided, the log gives it back, also where everything before a snapshot is gone.
    #[test]
    fn the_log_gives_the_state_back(steps in proptest::collection::vec(step(), 0..60)) {
        let (mut state, mut log) = (State::default(), Vec::new());
        let mut since_snapshot = 0;
        let subscription: SubscriptionName = "s".parse().unwrap();
        for step in steps {
            let name = |n: u8| flow(&format!("f{n}"));
            let (by, time) = (broker(), Timestamp(5));
            let decision = match step {
                Step::Hold(flow, key) => {
                    let scope = HoldScope { flow: name(flow), key: key.map(|key| key.to_string()) };
                    state.hold(scope, "r", &by, time)
                }
                Step::Release(id) => state.release(HoldId(id), &by, time),
                Step::Pause(flow) => state.pause(&name(flow), &subscription, "r", &by, time),
                Step::Resume(flow) => state.resume(&name(flow), &subscription, &by, time),
                Step::Snapshot => {
                    since_snapshot = log.len();
                    log.extend(state.snapshot(&by));
                    continue;
                }
            };
            if let Ok(decision) = decision {
                decide(&mut state, &mut log, decision);
            }
        }
        prop_assert_eq!(&fold(&log), &state);
        prop_assert_eq!(&fold(&log[since_snapshot..]), &state);
        prop_assert_eq!(&fold(&state.snapshot(&broker())), &state);
    }
}

#[test]
fn a_trial_stays_rolled_back_until_it_may_be_tried_again() {
    let (mut state, mut log) = (State::default(), Vec::new());
    let place =
        |stage: &str| StagePlace { flow: flow("scans"), subscription: None, stage: stage.parse().unwrap() };
    for (stage, trial) in [("clean", 1), ("check", 2), ("clean", 3)] {
        let decision =
            state.roll_back(place(stage), Digest([trial; 32]), "it traps", &broker(), Timestamp(1));
        decide(&mut state, &mut log, decision.unwrap());
    }
    assert_eq!(state.rollback_of(&place("clean")).unwrap().trial, Digest([3; 32]), "the newest");
    let decision = state.hold(scope("scans", None), "case 17", &broker(), Timestamp(1)).unwrap();
    decide(&mut state, &mut log, decision);
    let again = Decision::TryAgain { place: place("check"), by: broker(), time: Timestamp(2) };
    decide(&mut state, &mut log, again);
    assert_eq!(state.rollback_of(&place("check")), None);
    assert_eq!(fold(&log), state);
    assert_eq!(fold(&state.snapshot(&broker())), state);
}

#[test]
fn many_rolled_back_trials_come_back_from_their_parts() {
    let mut state = State::default();
    for number in 0..600 {
        let stage = format!("stage-{number}").parse().unwrap();
        let place = StagePlace { flow: flow("scans"), subscription: None, stage };
        let decision = state.roll_back(place, Digest([0; 32]), "it traps", &broker(), Timestamp(1)).unwrap();
        state.apply(decision);
    }
    let snapshot = state.snapshot(&broker());
    assert_eq!(snapshot.len(), 4, "one part of holds, three of trials");
    assert_eq!(fold(&snapshot), state);
    assert_eq!(fold(&[&snapshot[..2], &snapshot[3..]].concat()), State::default(), "a part is missing");
}
