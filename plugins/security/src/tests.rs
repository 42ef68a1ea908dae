//! The plugin on what a broker says, with its state and what it emits.

use hilum_plugin::testing::{self, Emitted, context, message, with};
use hilum_plugin::{Config, Context};
use serde_json::{Value, json};

use super::*;
use crate::watch::{DAY_MS, HOUR_MS};

/// A Monday, at midnight.
const MONDAY: u64 = 1_700_438_400_000;

fn configured(mut config: Value) -> Security {
    fn settings<C: Config>(config: Value) -> C {
        serde_json::from_value(config).unwrap()
    }
    config["alerts_flow"] = "security".into();
    Security::configure(settings(config)).unwrap()
}

fn broker() -> Context {
    let mut context = context();
    context.source.principal = "spiffe://st-marys/broker".into();
    context
}

fn event(number: u64, time: u64, action: &str, principal: &str) -> Message {
    let principal = format!("spiffe://st-marys/{principal}");
    let event =
        json!({"event": number, "time": time, "action": action, "principal": principal, "flow": "imaging"});
    message(EVENT_CONTENT_TYPE, event.to_string())
}

fn reads(to: u64, principal: &str, flow: &str, records: u64, octets: u64) -> Message {
    let principal = format!("spiffe://st-marys/{principal}");
    let line = json!({"principal": principal, "flow": flow, "subscription": "all", "records": records, "octets": octets});
    message(STATISTICS_CONTENT_TYPE, json!({"from": to - 60_000, "to": to, "lines": [line]}).to_string())
}

/// Each batch goes to a fresh instance: nothing may depend on an instance's own memory.
fn observe(config: &Value, messages: Vec<Message>) {
    configured(config.clone()).observe(&broker(), messages);
}

/// What was emitted since the last time: status, cause and record.
fn alerts() -> Vec<(String, String, Value)> {
    let emitted: Vec<Emitted> = with(|host| std::mem::take(&mut host.emitted));
    let read = |emitted: &Emitted| {
        assert_eq!((emitted.flow.as_str(), emitted.content_type.as_str()), ("security", ALERT_CONTENT_TYPE));
        let record: Value = serde_json::from_slice(&emitted.body).unwrap();
        let text = |name: &str| record[name].as_str().unwrap().to_owned();
        (text("status"), text("cause"), record)
    };
    emitted.iter().map(read).collect()
}

fn causes() -> Vec<String> {
    alerts().into_iter().map(|(status, cause, _)| format!("{status} {cause}")).collect()
}

/// Weeks of somebody who reads on working days from 8 to 18, somewhat more or less.
fn office(config: &Value, weeks: u64) -> u64 {
    for hour in 0..weeks * 168 {
        let (day, of_day) = (hour / 24 % 7, hour % 24);
        if day < 5 && (8..18).contains(&of_day) {
            let octets = 50_000_000 + hour % 7 * 4_000_000;
            let at = MONDAY + hour * HOUR_MS + HOUR_MS / 2;
            observe(config, vec![reads(at, "service/workstation-1", "imaging", 100, octets)]);
        }
    }
    MONDAY + weeks * 168 * HOUR_MS
}

#[test]
fn denials_in_a_row_are_one_alert_until_they_end() {
    let config = json!({});
    observe(&config, (1..5).map(|n| event(n, MONDAY + n * 1000, "denied", "service/curious")).collect());
    assert_eq!(causes(), Vec::<String>::new(), "four may be a mistake");
    observe(&config, (5..40).map(|n| event(n, MONDAY + n * 1000, "denied", "service/curious")).collect());
    let raised = alerts();
    let [(status, cause, record)] = &raised[..] else { panic!("{raised:?}") };
    assert_eq!((status.as_str(), cause.as_str()), ("raised", "denials"));
    assert_eq!(record["principal"], "spiffe://st-marys/service/curious");
    assert_eq!(record["seen"]["limit"], 5.0);
    configured(config.clone()).tick(MONDAY + 30 * 60_000);
    assert_eq!(causes(), Vec::<String>::new());
    configured(config.clone()).tick(MONDAY + 62 * 60_000);
    assert_eq!(causes(), ["cleared denials"]);
    configured(config.clone()).tick(MONDAY + 63 * 60_000);
    assert_eq!(causes(), Vec::<String>::new());
    // A day later, one by one, it is no burst.
    let slow = (40..60).map(|n| event(n, MONDAY + DAY_MS + n * HOUR_MS, "denied", "service/curious"));
    observe(&config, slow.collect());
    assert_eq!(causes(), Vec::<String>::new());
}

#[test]
fn an_event_that_comes_again_counts_once() {
    let same = || (1..4).map(|n| event(n, MONDAY + n, "denied", "service/curious")).collect::<Vec<_>>();
    (0..5).for_each(|_| observe(&json!({}), same()));
    assert_eq!(causes(), Vec::<String>::new());
    assert_eq!(testing::take().counters["repeated"], 12);
    // The audit began anew: its numbers are small again, its time goes on.
    observe(&json!({}), (1..8).map(|n| event(n, MONDAY + DAY_MS + n, "denied", "service/curious")).collect());
    assert_eq!(causes(), ["raised denials"]);
}

#[test]
fn nobody_but_the_broker_is_believed() {
    for other in ["spiffe://st-marys/device/broker", "spiffe://st-marys/broker/x", "broker", ""] {
        let mut context = context();
        context.source.principal = other.into();
        let denials = (1..40).map(|n| event(n, MONDAY + n, "denied", "service/honest")).collect();
        configured(json!({})).observe(&context, denials);
    }
    assert_eq!(causes(), Vec::<String>::new());
    assert_eq!(testing::take().counters["foreign"], 4 * 39);
}

#[test]
fn much_more_than_usual_is_an_alert_and_an_ordinary_day_is_none() {
    let config = json!({});
    let monday = office(&config, 4);
    assert_eq!(causes(), Vec::<String>::new(), "nothing while it learns, nor on ordinary days");
    // In the hour in which it is always, a hundred times as much in ten minutes.
    let at = |minute: u64| monday + 10 * HOUR_MS + minute * 60_000;
    let flood = (0..10).map(|minute| reads(at(minute), "service/workstation-1", "imaging", 100, 600_000_000));
    observe(&config, flood.collect());
    let raised = alerts();
    let causes: Vec<&str> = raised.iter().map(|(_, cause, _)| cause.as_str()).collect();
    assert_eq!(causes, ["unusual-volume", "exfiltration"], "{raised:?}");
    let seen = &raised[0].2["seen"];
    assert!(
        seen["value"].as_f64() > seen["limit"].as_f64() && seen["limit"].as_f64() > seen["usual"].as_f64()
    );
    assert_eq!(raised[0].2["flow"], "imaging");
}

#[test]
fn at_night_and_elsewhere_is_an_alert() {
    let config = json!({});
    let monday = office(&config, 4);
    observe(&config, vec![reads(monday + 3 * HOUR_MS, "service/workstation-1", "imaging", 1, 100)]);
    assert_eq!(causes(), ["raised unusual-time"]);
    observe(&config, vec![reads(monday + 10 * HOUR_MS, "service/workstation-1", "billing", 1, 100)]);
    assert_eq!(causes(), ["raised unusual-destination"]);
    observe(&config, vec![reads(monday + 11 * HOUR_MS, "service/workstation-1", "billing", 1, 100)]);
    observe(&config, vec![reads(monday + 17 * HOUR_MS, "service/workstation-2", "billing", 1, 100)]);
    assert_eq!(causes(), ["raised new-principal"]);
    let config = json!({"ignore": ["spiffe://st-marys/service/workstation-1"]});
    observe(&config, vec![reads(monday + 28 * HOUR_MS, "service/workstation-1", "archive", 9999, 1 << 40)]);
    assert_eq!(causes(), Vec::<String>::new());
}

#[test]
fn an_absolute_limit_needs_no_learning() {
    let config = json!({"octets_day_max": 1000});
    observe(&config, vec![reads(MONDAY + 1, "service/x", "imaging", 1, 600)]);
    assert_eq!(causes(), Vec::<String>::new());
    observe(&config, vec![reads(MONDAY + 2, "service/x", "billing", 1, 600)]);
    assert_eq!(causes(), ["raised exfiltration"]);
}

#[test]
fn a_plugin_that_fails_is_an_alert_of_its_stage() {
    let event = json!({"event": 1, "time": MONDAY, "action": "breaker-opened", "flow": "imaging",
        "reason": "stage `clean`: left alone for 1 s with what spiffe://st-marys/device/mri-1 publishes"});
    observe(&json!({}), vec![message(EVENT_CONTENT_TYPE, event.to_string())]);
    let raised = alerts();
    assert_eq!((&raised[0].2["cause"], &raised[0].2["stage"]), (&"plugin-failures".into(), &"clean".into()));
}

#[test]
fn what_cannot_be_emitted_is_raised_later() {
    with(|host| host.denied.insert("security".into()));
    observe(&json!({}), (1..9).map(|n| event(n, MONDAY + n, "denied", "x/y")).collect());
    with(|host| {
        assert!(host.logs[0].1.contains("`security` is not granted"), "{:?}", host.logs);
        host.denied.clear();
    });
    observe(&json!({}), vec![event(9, MONDAY + 9, "denied", "x/y")]);
    assert_eq!(causes(), ["raised denials"]);
}

#[test]
fn state_is_bounded_whoever_comes() {
    let config = json!({});
    for batch in 0..60_u64 {
        let events = (0..200).map(|n| {
            let number = batch * 200 + n + 1;
            event(number, MONDAY + number, "denied", &format!("made-up/{number}"))
        });
        let lines = (0..40).map(|n| reads(MONDAY + batch, &format!("made-up/{n}/{batch}"), "imaging", 1, 1));
        observe(&config, events.chain(lines).collect());
    }
    let host = testing::take();
    assert!(host.state.len() <= 64 + 128 + 1, "{}", host.state.len());
    let largest = host.state.values().map(|kept| kept.value.len()).max().unwrap();
    let all: usize = host.state.values().map(|kept| kept.value.len()).sum();
    assert!(largest <= 64 * 1024 && all < 4 << 20, "{largest} and {all}");
    assert!(host.logs.is_empty(), "{:?}", host.logs);
}

#[test]
fn many_alerts_are_few_records() {
    for n in 0..400_u64 {
        let who = format!("made-up/{n}");
        observe(
            &json!({}),
            (0..6).map(|m| event(n * 6 + m + 1, MONDAY + n * 6 + m, "denied", &who)).collect(),
        );
    }
    assert_eq!(alerts().len(), 128);
    assert!(testing::take().counters["unraised"] > 0);
}

#[test]
fn nothing_that_comes_makes_it_stumble() {
    let long = "x".repeat(5000);
    let bad = [
        String::new(),
        "{".into(),
        "[".repeat(100_000),
        json!({"event": 1}).to_string(),
        json!({"event": -1, "time": 0, "action": "denied"}).to_string(),
        json!({"event": 1, "time": u64::MAX, "action": "denied"}).to_string(),
        json!({"event": 1, "time": 0, "action": "denied", "principal": long}).to_string(),
        json!({"from": 0, "to": 0, "lines": [{"principal": long, "flow": "f", "records": 1, "octets": 1}]})
            .to_string(),
    ];
    for body in bad {
        observe(
            &json!({}),
            vec![message(EVENT_CONTENT_TYPE, body.clone()), message(STATISTICS_CONTENT_TYPE, body)],
        );
    }
    let odd = json!({"from": 0, "to": 0, "lines": [
        {"principal": "", "flow": "", "records": u64::MAX, "octets": u64::MAX},
        {"principal": "", "flow": "", "subscription": "", "records": 0, "octets": u64::MAX}]});
    observe(&json!({"learning_days": 0}), vec![message(STATISTICS_CONTENT_TYPE, odd.to_string())]);
    observe(&json!({}), vec![message("application/dicom", "DICM"), event(u64::MAX, 1 << 53, "denied", "a")]);
    observe(&json!({}), vec![event(1, 0, "denied", "a"), event(2, 1 << 53, "unheard-of", "a")]);
    for key in with(|host| host.state.keys().cloned().collect::<Vec<_>>()) {
        with(|host| host.state.get_mut(&key).unwrap().value = vec![0xff; 1000]);
    }
    observe(&json!({}), vec![event(3, MONDAY, "denied", "a"), reads(MONDAY, "a", "b", 1, 1)]);
    configured(json!({})).tick(u64::MAX);
    assert_eq!(testing::take().counters["malformed"], 16);
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_by_name() {
    for (config, at) in [
        (json!({"alerts_flow": ""}), "/alerts_flow"),
        (json!({"learning_days": -1}), "/learning_days"),
        (json!({"utc_offset_minutes": 900}), "/utc_offset_minutes"),
        (json!({"deviations": 0.5}), "/deviations"),
        (json!({"rates": {"denials": {"count": 0, "minutes": 1}}}), "/rates/denials/count"),
        (json!({"rates": {"denials": {"count": 1, "minutes": 0}}}), "/rates/denials/minutes"),
    ] {
        let mut whole = json!({"alerts_flow": "security"});
        whole.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
        let schema: Value = serde_json::from_str(include_str!("settings.schema.json")).unwrap();
        let settings: Settings = serde_json::from_value(whole.clone()).unwrap();
        assert!(settings.check().unwrap_err().to_string().contains(at), "{at}");
        assert!(!jsonschema::is_valid(&schema, &whole), "the schema sees it too: {at}");
    }
    let schema: Value = serde_json::from_str(include_str!("settings.schema.json")).unwrap();
    assert!(jsonschema::is_valid(
        &schema,
        &json!({"alerts_flow": "security", "rates": {"quarantines": {"count": 3, "minutes": 5}}})
    ));
}
