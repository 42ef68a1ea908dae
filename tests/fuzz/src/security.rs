//! The plugin `security`: whatever the broker says of itself, alerts are of known causes and one of each, what is learned is bounded, and an
//! event that comes again is none.

use std::cell::RefCell;
use std::collections::BTreeSet;

use hilum_plugin::testing;
use hilum_plugin::{Body, Context, Message, Observe as _};
use hilum_security::{ALERT_CONTENT_TYPE, EVENT_CONTENT_TYPE, STATISTICS_CONTENT_TYPE, Security};
use serde_json::{Value, json};

use crate::memory;
use crate::plugin::{count, emitted, observe};

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

/// Of the state.
const VALUES_MAX: usize = 193;
const VALUE_OCTETS_MAX: usize = 64 << 10;
const STANDING_MAX: usize = 128;
const CAUSES: [&str; 13] = [
    "denials",
    "refused-connections",
    "obligations",
    "disclosures",
    "quarantines",
    "plugin-failures",
    "plugin-rolled-back",
    "plugin-refused",
    "new-principal",
    "unusual-time",
    "unusual-destination",
    "unusual-volume",
    "exfiltration",
];

thread_local! {
    static PLUGIN: RefCell<Security> = RefCell::new(observe(&json!({"alerts_flow": "security", "learning_days": 0.01,
        "floor_octets_hour": 10, "floor_records_hour": 2, "floor_octets_day": 10, "octets_day_max": 1e12,
        "rates": {"denials": {"count": 2, "minutes": 10}}})));
}

/// Lines, each of which is a document; those that begin with `s` are statistics, all others events.
pub fn check(octets: &[u8]) {
    drop(testing::take());
    let records = || {
        octets.split(|octet| *octet == b'\n').map(|line| match line.strip_prefix(b"s") {
            Some(body) => (STATISTICS_CONTENT_TYPE, body.to_vec()),
            None => (EVENT_CONTENT_TYPE, line.to_vec()),
        })
    };
    let message = |(content_type, body)| Message { head: testing::head(content_type), body: Body::Inline(body) };
    let mut context: Context = testing::context();
    let show = |context: &Context, messages: Vec<Message>| {
        PLUGIN.with_borrow_mut(|plugin| plugin.observe(context, messages));
    };
    // Nobody else is believed.
    show(&context, records().map(message).collect());
    testing::with(|host| assert!(host.emitted.is_empty() && count(host, "events") == 0));

    context.source.principal = "spiffe://st-marys/broker".into();
    // An audit that is lost and begins anew has small numbers again.
    let (mut last, mut is_one_audit) = (0, true);
    for record in records() {
        let number = serde_json::from_slice::<Value>(&record.1).ok().and_then(|event| event["event"].as_u64());
        let before = testing::with(|host| count(host, "events"));
        show(&context, vec![message(record)]);
        if testing::with(|host| count(host, "events")) > before {
            // A member that the plugin does not read may be no text.
            is_one_audit &= number.is_some_and(|number| number > last);
            last = number.unwrap_or(last);
        }
    }
    testing::with(|host| assert!(host.logs.is_empty(), "{:?}", host.logs));
    if is_one_audit {
        let before = testing::with(|host| (host.emitted.len(), count(host, "events")));
        let events = records().filter(|(content_type, _)| *content_type == EVENT_CONTENT_TYPE);
        show(&context, events.map(message).collect());
        let after = testing::with(|host| (host.emitted.len(), count(host, "events")));
        assert_eq!(before, after, "an event counts twice");
    }

    let host = testing::with(|host| host.clone());
    assert!(host.state.len() <= VALUES_MAX, "{}", host.state.len());
    assert!(host.state.values().all(|kept| kept.value.len() <= VALUE_OCTETS_MAX));
    let mut standing = BTreeSet::new();
    for (alert, record) in emitted(&host).iter().zip(&host.emitted) {
        assert_eq!((record.flow.as_str(), record.content_type.as_str()), ("security", ALERT_CONTENT_TYPE));
        let cause = alert["cause"].as_str().unwrap_or_default();
        assert!(alert["status"] == "raised" && CAUSES.contains(&cause), "{alert}");
        let about = ["cause", "principal", "flow", "subscription", "stage"].map(|name| alert[name].to_string());
        assert!(standing.insert(about), "raised twice: {alert}");
    }
    assert!(standing.len() <= STANDING_MAX);

    // Long after, all of them are over.
    PLUGIN.with_borrow_mut(|plugin| plugin.tick(1 << 60));
    let host = testing::take();
    let cleared = emitted(&host).iter().filter(|alert| alert["status"] == "cleared").count();
    assert_eq!((cleared, host.emitted.len()), (standing.len(), 2 * standing.len()));
}

/// Events of each kind that counts, statistics of two days, and both in turn.
pub fn seeds() -> Vec<Vec<u8>> {
    let start = 1_700_000_000_000_u64;
    let event = |number: u64, action: &str| {
        json!({"event": number, "time": start + number * 1000, "action": action, "principal": "spiffe://st-marys/service/a",
            "flow": "imaging", "subscription": "radiology", "reason": "stage `clean`: trap"})
        .to_string()
    };
    let statistics = |hour: u64, octets: u64| {
        let to = start + hour * 3_600_000;
        let line = json!({"principal": "spiffe://st-marys/service/a", "flow": "imaging", "subscription": "all", "records": 5, "octets": octets});
        let published = json!({"principal": "spiffe://st-marys/device/m", "flow": "imaging", "records": 1, "octets": 9});
        format!("s{}", json!({"from": to - 60_000, "to": to, "lines": [line, published]}))
    };
    let denied: Vec<String> = (1..9).map(|number| event(number, "denied")).collect();
    let actions = [
        "connection-refused",
        "obliged",
        "disclosed",
        "quarantined",
        "breaker-opened",
        "rolled-back",
        "plugin-refused",
        "delivered",
    ];
    let each: Vec<String> = (1..).zip(actions).map(|(number, action)| event(number, action)).collect();
    let hours: Vec<String> = (0..48).map(|hour| statistics(hour, 1000 + hour % 3)).collect();
    let flood = [hours.join("\n"), statistics(48, 900_000_000), event(100, "denied")].join("\n");
    let nobody = json!({"event": 1, "time": 0, "action": "denied"}).to_string();
    [denied.join("\n"), each.join("\n"), hours.join("\n"), flood, nobody, statistics(1, u64::MAX)]
        .map(String::into_bytes)
        .into()
}
