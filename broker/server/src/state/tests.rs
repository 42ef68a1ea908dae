//! Units, groups, pages: what of the state is seen when.

use super::*;

fn stage() -> StageName {
    "watch".parse().unwrap()
}

fn state() -> FlowState {
    let state = FlowState::new("device".parse().unwrap());
    state.open(State::default());
    state
}

fn set(state: &FlowState, key: &str, value: &str) -> Result<(), StateError> {
    let expected = state.find(&stage(), key)?.map_or(0, |found| found.version);
    let to = Some(Versioned { value: value.as_bytes().to_vec(), version: expected + 1 });
    state.change(&stage(), vec![StateChange { key: key.into(), expected, to }])
}

fn value(state: &FlowState, key: &str) -> Option<String> {
    state.find(&stage(), key).unwrap().map(|found| String::from_utf8(found.value).unwrap())
}

fn store(state: &FlowState, to: u64) {
    let step = state.step(Offset(to), Timestamp(0)).unwrap_or_default();
    state.take(step, Offset(to));
}

#[test]
fn a_unit_is_kept_or_dropped_and_so_is_a_group() {
    let state = state();
    set(&state, "a", "1").unwrap();
    state.keep_unit();
    set(&state, "a", "2").unwrap();
    set(&state, "b", "1").unwrap();
    assert_eq!((value(&state, "a"), value(&state, "b")), (Some("2".into()), Some("1".into())));
    state.drop_unit();
    assert_eq!((value(&state, "a"), value(&state, "b")), (Some("1".into()), None));
    store(&state, 1);
    set(&state, "a", "3").unwrap();
    state.keep_unit();
    state.drop_group();
    assert_eq!(value(&state, "a"), Some("1".into()));
    let usage = StateUsage { keys: 1, octets: 2 };
    assert_eq!(state.usage(&stage()).unwrap(), usage);
    assert_eq!(state.list()[0].through, Offset(1));
}

#[test]
fn others_see_what_is_stored_and_nothing_before() {
    let state = state();
    let committed = || -> Vec<Option<String>> {
        let found = state.committed(&stage(), &["a".to_owned(), "b".to_owned()]).unwrap();
        found
            .into_iter()
            .map(|value| value.map(|octets| String::from_utf8(octets.to_vec()).unwrap()))
            .collect()
    };
    let none: Vec<Option<String>> = vec![None, None];
    set(&state, "a", "1").unwrap();
    assert_eq!(committed(), none);
    state.keep_unit();
    assert_eq!(committed(), none);
    store(&state, 1);
    assert_eq!(committed(), [Some("1".to_owned()), None]);
    set(&state, "a", "2").unwrap();
    state.keep_unit();
    state.drop_group();
    assert_eq!(committed(), [Some("1".to_owned()), None]);
    assert_eq!(state.committed(&"other".parse().unwrap(), &["a".to_owned()]), Ok(vec![None]));
    let closed = FlowState::new("device".parse().unwrap());
    assert!(closed.committed(&stage(), &["a".to_owned()]).is_err(), "nobody knows before the flow is open");
}

#[test]
fn a_change_that_expects_another_version_changes_nothing() {
    let state = state();
    set(&state, "a", "1").unwrap();
    let to = |version| Some(Versioned { value: b"2".to_vec(), version });
    let changes = vec![
        StateChange { key: "b".into(), expected: 0, to: to(1) },
        StateChange { key: "a".into(), expected: 0, to: to(1) },
    ];
    assert_eq!(state.change(&stage(), changes), Err(StateError::Conflict));
    assert_eq!(value(&state, "b"), None);
}

#[test]
fn what_is_removed_is_gone_and_counts_no_more() {
    let state = state();
    set(&state, "a", "1").unwrap();
    state.keep_unit();
    store(&state, 1);
    state.change(&stage(), vec![StateChange { key: "a".into(), expected: 1, to: None }]).unwrap();
    assert_eq!((value(&state, "a"), state.usage(&stage()).unwrap()), (None, StateUsage::default()));
    state.keep_unit();
    store(&state, 2);
    assert_eq!(state.list()[0].usage, Usage::default());
}

#[test]
fn values_come_in_pages() {
    let state = state();
    ["a", "b", "c", "d"].iter().for_each(|key| set(&state, key, "1234").unwrap());
    state.keep_unit();
    store(&state, 1);
    let keys = |after, octets_max| -> Vec<String> {
        let values = state.values(&stage(), after, 3, octets_max).unwrap();
        values.into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(keys(None, 1000), ["a", "b", "c"]);
    assert_eq!(keys(Some("c"), 1000), ["d"]);
    assert_eq!(keys(None, 10), ["a", "b"]);
    assert_eq!(keys(None, 1), ["a"], "at least one");
    assert_eq!(state.values(&"other".parse().unwrap(), None, 3, 10), None);
}

#[test]
fn nothing_is_read_before_the_flow_is_open() {
    let state = FlowState::new("device".parse().unwrap());
    assert!(matches!(state.find(&stage(), "a"), Err(StateError::Service(_))));
    assert!(matches!(set(&state, "a", "1"), Err(StateError::Service(_))));
}
