//! Audit events and statistics as JSON, what of them a flow gets, and which events it does not.
//!
//! The audit holds no value of a record, but it holds what people wrote: an operator's note, the reason for breaking the glass, the
//! words of a plugin. Those may name a patient, and stay there. What a flow gets of a reason is what the broker itself says.

use std::collections::BTreeSet;

use hilum_core::audit::{Action, Event};
use hilum_core::{Attribute, FlowName, PrincipalId, SubscriptionName, Timestamp};
use serde_json::{Value, json};

use crate::config::Hospital;
use crate::traffic::{Amount, Counted, Line};

/// Media type of audit events.
pub(super) const EVENT: &str = "application/vnd.hilum.audit+json";
/// Media type of statistics.
pub(super) const STATISTICS: &str = "application/vnd.hilum.statistics+json";

/// Octets of a reason.
const REASON_OCTETS_MAX: usize = 1024;
/// Lines of one record of statistics: with the longest names it fits an inline body.
const LINES_MAX: usize = 100;

/// Whether a flow gets an event. What happens to its own records, and to those that are made of them, is a consequence of events
/// that it got: it would be fed for ever. What people do to these flows is no consequence, and is fed.
pub(super) fn is_fed(event: &Event, downstream: &BTreeSet<FlowName>) -> bool {
    let is_downstream = event.flow.as_ref().is_some_and(|flow| downstream.contains(flow));
    !is_downstream || (is_done_by_people(event.action) && !event.principal.as_ref().is_none_or(is_internal))
}

/// Whether somebody decided to do it, and it does not come with each record.
fn is_done_by_people(action: Action) -> bool {
    matches!(
        action,
        Action::ConnectionRefused
            | Action::Denied
            | Action::Inspected
            | Action::Disclosed
            | Action::Released
            | Action::Destroyed
            | Action::Paused
            | Action::Resumed
            | Action::Sought
            | Action::Held
            | Action::Repaired
            | Action::Reloaded
    )
}

/// The broker itself, and stages that emit.
fn is_internal(id: &PrincipalId) -> bool {
    let path = id.as_str().trim_start_matches("spiffe://").split_once('/').map_or("", |(_, path)| path);
    let first = path.split('/').next().unwrap_or_default();
    [Hospital::BROKER_IDENTITY, Hospital::PLUGIN_STAKEHOLDER].contains(&first)
}

/// An event with its number, as the body of a record.
pub(super) fn event(number: u64, event: &Event) -> Vec<u8> {
    let mut document = json!({ "event": number, "time": event.time.0, "action": event.action.as_str() });
    let reason = Some(reason(event)).filter(|reason| !reason.is_empty());
    for (name, text) in [
        ("principal", event.principal.as_ref().map(PrincipalId::as_str)),
        ("flow", event.flow.as_ref().map(FlowName::as_str)),
        ("subscription", event.subscription.as_ref().map(SubscriptionName::as_str)),
        ("reason", reason),
    ] {
        if let Some(text) = text {
            document[name] = text.into();
        }
    }
    if let Some(offset) = event.offset {
        document["offset"] = offset.0.into();
    }
    document.to_string().into_bytes()
}

/// What a subscription's filter may ask for.
pub(super) fn attributes(number: u64, event: &Event) -> Vec<Attribute> {
    let attribute = |name: &str, value: String| Attribute { name: name.to_owned(), value };
    vec![attribute("event", number.to_string()), attribute("action", event.action.to_string())]
}

/// The broker's own words.
fn reason(event: &Event) -> &str {
    let reason = event.reason.as_str();
    let own = match event.action {
        Action::ConnectionRefused
        | Action::Delivered
        | Action::Permitted
        | Action::Lifecycle
        | Action::Deleted
        | Action::RolledBack
        | Action::PluginAdmitted
        | Action::PluginRefused
        | Action::BreakerOpened
        | Action::BreakerClosed
        | Action::Drained => reason,
        Action::Denied => reason.split("note: ").next().unwrap_or_default(),
        // `stage `check`: no-policy: the plugin's words`, and `stage `check`: break-glass=a person's words`.
        Action::Withheld | Action::Quarantined | Action::Obliged => stage_and_code(reason),
        _ => "",
    };
    &own[..own.floor_char_boundary(REASON_OCTETS_MAX)]
}

/// What of a stage's decision is no free text: the stage, and a code where one follows.
fn stage_and_code(reason: &str) -> &str {
    let Some(rest) = reason.strip_prefix("stage `") else { return "" };
    let Some((name, rest)) = rest.split_once('`') else { return "" };
    let stage = "stage `".len() + name.len() + 1;
    let Some(code) = rest.strip_prefix(": ") else { return &reason[..stage] };
    let is_code = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let length = code.bytes().take_while(|byte| is_code(*byte)).count();
    let is_whole = matches!(code.as_bytes().get(length), None | Some(b':' | b'='));
    if length == 0 || length > 64 || !is_whole { &reason[..stage] } else { &reason[..stage + 2 + length] }
}

/// From when to when something was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

/// Bodies of records; none where nothing was counted.
pub(super) fn statistics(
    Period { from, to }: Period,
    counted: Counted,
    downstream: &BTreeSet<FlowName>,
) -> Vec<Vec<u8>> {
    let mut lines: Vec<(Line, Amount)> =
        counted.lines.into_iter().filter(|(line, _)| !downstream.contains(&line.flow)).collect();
    lines.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut others = (counted.others != Amount::default()).then_some(counted.others);
    let mut chunks: Vec<&[(Line, Amount)]> = lines.chunks(LINES_MAX).collect();
    if chunks.is_empty() && others.is_some() {
        chunks.push(&[]);
    }
    let document = |lines: &[(Line, Amount)]| {
        let lines: Value = lines.iter().map(|(line, amount)| shown(line, *amount)).collect();
        let mut document = json!({ "from": from.0, "to": to.0, "lines": lines });
        if let Some(Amount { records, octets }) = others.take() {
            document["others"] = json!({ "records": records, "octets": octets });
        }
        document.to_string().into_bytes()
    };
    chunks.into_iter().map(document).collect()
}

/// A line without a subscription is of what was published.
fn shown(line: &Line, Amount { records, octets }: Amount) -> Value {
    let Line { principal, flow, subscription } = line;
    let mut shown = json!({
        "principal": principal.as_str(), "flow": flow.as_str(), "records": records, "octets": octets
    });
    if let Some(subscription) = subscription {
        shown["subscription"] = subscription.as_str().into();
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::About;

    fn of(action: Action, principal: &str, flow: &str, reason: &str) -> Event {
        let about = About {
            principal: (!principal.is_empty())
                .then(|| format!("spiffe://st-marys/{principal}").parse().unwrap()),
            flow: (!flow.is_empty()).then(|| flow.parse().unwrap()),
            ..About::default()
        };
        about.event(Timestamp(7), action, reason)
    }

    #[test]
    fn what_a_fed_record_causes_is_not_fed() {
        let downstream = BTreeSet::from(["audit".parse().unwrap(), "security".parse().unwrap()]);
        let fed = |action, principal: &str, flow: &str| is_fed(&of(action, principal, flow, ""), &downstream);
        assert!(fed(Action::Delivered, "reader", "imaging"));
        assert!(fed(Action::Lifecycle, "", ""));
        for action in Action::ALL {
            for consequence in ["plugin/watch", "broker", ""] {
                assert!(!fed(*action, consequence, "security"), "{action} {consequence}");
            }
        }
        assert!(!fed(Action::Delivered, "service/siem", "security"));
        assert!(!fed(Action::Withheld, "service/siem", "audit"));
        assert!(fed(Action::Denied, "service/curious", "security"), "somebody looks for the alarms");
        assert!(fed(Action::Paused, "service/operator", "audit"));
        assert!(fed(Action::Denied, "plugins/x", "audit"), "a name that only looks like it");
    }

    #[test]
    fn what_people_and_plugins_say_stays_in_the_audit() {
        let said = |action, reason: &str| reason_of(&of(action, "reader", "imaging", reason));
        assert_eq!(said(Action::Withheld, "stage `check`: no-policy: DOE^JANE"), "stage `check`: no-policy");
        assert_eq!(said(Action::Quarantined, "stage `check`: Jane: born"), "stage `check`");
        assert_eq!(said(Action::Quarantined, "stage `check`: jane doe"), "stage `check`");
        assert_eq!(said(Action::Quarantined, "DOE^JANE"), "");
        assert_eq!(
            said(Action::Obliged, "stage `check`: break-glass=for Jane"),
            "stage `check`: break-glass"
        );
        assert_eq!(said(Action::Released, "rule `operators[0]`; note: for Jane"), "");
        assert_eq!(said(Action::Denied, "release: no rule; note: for Jane"), "release: no rule; ");
        assert_eq!(said(Action::Denied, &"\u{e9}".repeat(1024)).len(), REASON_OCTETS_MAX);
    }

    fn reason_of(event: &Event) -> String {
        let document: Value = serde_json::from_slice(&super::event(3, event)).unwrap();
        assert_eq!((&document["event"], &document["time"]), (&3.into(), &7.into()));
        document["reason"].as_str().unwrap_or_default().to_owned()
    }

    #[test]
    fn statistics_fit_their_records() {
        let line = |number: usize, flow: &str| Line {
            principal: format!("spiffe://st-marys/{}/{number}", "x".repeat(2000)).parse().unwrap(),
            flow: flow.parse().unwrap(),
            subscription: Some("y".repeat(64).parse().unwrap()),
        };
        let amount = Amount { records: u64::MAX, octets: u64::MAX };
        let mut counted = Counted { others: amount, ..Counted::default() };
        counted.lines.extend((0..250).map(|number| (line(number, &"z".repeat(64)), amount)));
        counted.lines.insert(line(0, "audit"), amount);
        let downstream = BTreeSet::from(["audit".parse().unwrap()]);
        let period = Period { from: Timestamp(1), to: Timestamp(2) };
        let bodies = statistics(period, counted, &downstream);
        assert!(bodies.iter().all(|body| body.len() <= hilum_core::limits::INLINE_BODY_OCTETS_MAX));
        let read: Vec<Value> = bodies.iter().map(|body| serde_json::from_slice(body).unwrap()).collect();
        let lines: Vec<usize> =
            read.iter().map(|document| document["lines"].as_array().unwrap().len()).collect();
        assert_eq!(lines, [100, 100, 50]);
        assert_eq!((&read[0]["others"]["octets"], &read[1]["others"]), (&u64::MAX.into(), &Value::Null));
        assert!(statistics(period, Counted::default(), &downstream).is_empty());
    }
}
