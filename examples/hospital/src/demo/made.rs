//! What plugins made of the story: whether it is what the story is about, and in words.

use serde_json::Value;

use super::plan::{Maker, PROWLER};
use super::read::Received;

/// Everything that is not as expected in what a plugin made.
pub(super) fn complaints(maker: Maker, came: &[&Received]) -> Vec<String> {
    let mut found = match maker {
        Maker::Analytics => of_machine(came),
        Maker::Rooms => of_room(&documents(came)),
        Maker::Claims => of_claims(&documents(came)),
        Maker::Security => of_security(&documents(came)),
    };
    if came.iter().any(|received| received.canaries > 0) {
        found.push("a planted identifier is in it".to_owned());
    }
    found
}

/// What came, in sentences.
pub(super) fn sentences(maker: Maker, came: &[&Received]) -> Vec<String> {
    if maker == Maker::Analytics {
        let alerts = came.iter().filter_map(|received| Alert::read(&received.octets));
        return alerts.map(|alert| alert.sentence()).collect();
    }
    let documents = documents(came);
    let told = documents.iter().map(|document| match maker {
        Maker::Rooms => room_sentence(document),
        Maker::Claims => claim_sentence(document),
        Maker::Security | Maker::Analytics => security_sentence(document),
    });
    told.collect()
}

fn documents(came: &[&Received]) -> Vec<Value> {
    came.iter().map(|received| serde_json::from_slice(&received.octets).unwrap_or_default()).collect()
}

fn text<'a>(document: &'a Value, name: &str) -> &'a str {
    document[name].as_str().unwrap_or_default()
}

/// A day has no place in the demo, which sees an hour; what it sees may still pass midnight, or be at night.
fn of_room(documents: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    if !documents.iter().any(|document| document["room"] == "mri-room-1" && document["state"].is_string()) {
        found.push("nothing is told of how the room was used".to_owned());
    }
    if documents
        .iter()
        .any(|document| ["patients", "staff"].iter().any(|who| document.to_string().contains(who)))
    {
        found.push("it says who was in the room".to_owned());
    }
    found
}

/// `from 17:15 to 17:30 it was in-use`
fn room_sentence(document: &Value) -> String {
    let hour = |name: &str| text(document, name).get(11..16).unwrap_or("?").to_owned();
    match document["state"].as_str() {
        Some(state) => {
            format!("{}: {state} from {} to {} (UTC)", text(document, "room"), hour("from"), hour("to"))
        }
        None if document["cause"].is_string() => format!(
            "{}: {} {} at {} (UTC)",
            text(document, "room"),
            text(document, "cause"),
            text(document, "status"),
            hour("time")
        ),
        None => format!(
            "{}: {}, {} minutes of each state",
            text(document, "room"),
            text(document, "day"),
            document["minutes"]
        ),
    }
}

/// One examination is claimed a second time, and all else fits.
fn of_claims(documents: &[Value]) -> Vec<String> {
    let mut found = Vec::new();
    let findings: Vec<&Value> = documents.iter().filter(|document| document["status"].is_string()).collect();
    let is_it = |finding: &&&Value| finding["cause"] == "duplicate-claim" && finding["status"] == "found";
    if findings.iter().filter(is_it).count() != 1 {
        found.push("the claim that came twice was not found once".to_owned());
    }
    if let Some(other) = findings.iter().find(|finding| !is_it(finding)) {
        found.push(format!("`{}` of what fits", text(other, "cause")));
    }
    found
}

/// `duplicate-claim: 70551 of 2026 is claimed at 000000005/0001/20, and at 000000002/0001/20`
fn claim_sentence(document: &Value) -> String {
    let (line, other) = (&document["claimed"], &document["also_claimed"]);
    let Some(cause) = document["cause"].as_str() else {
        return format!(
            "{}: {} procedures, {} claims",
            text(document, "day"),
            document["performed"],
            document["claimed"]
        );
    };
    format!(
        "{cause}: {} of {} is claimed at {}, and at {}",
        text(line, "code"),
        line["year"],
        text(line, "at"),
        text(other, "at")
    )
}

/// Somebody tried again and again what they may not.
fn of_security(documents: &[Value]) -> Vec<String> {
    let name = format!("/{}", PROWLER.identity);
    let is_it =
        |document: &&Value| document["cause"] == "denials" && text(document, "principal").ends_with(&name);
    let alerts = documents.iter().filter(is_it).count();
    if alerts == 1 { Vec::new() } else { vec![format!("{alerts} alerts of who was denied again and again")] }
}

/// `denials: spiffe://st-marys/service/research-1, 5 within minutes`
fn security_sentence(document: &Value) -> String {
    let seen = &document["seen"];
    format!(
        "{}: {}, {:.0} {}",
        text(document, "cause"),
        text(document, "principal"),
        seen["value"].as_f64().unwrap_or_default(),
        text(seen, "unit")
    )
}

/// Helium leaks in the story, and nothing else is wrong with the machine.
fn of_machine(came: &[&Received]) -> Vec<String> {
    let alerts: Vec<Alert> = came.iter().filter_map(|received| Alert::read(&received.octets)).collect();
    if alerts.len() != came.len() {
        return vec!["a maintenance record cannot be read".to_owned()];
    }
    let mut found = Vec::new();
    if !alerts.iter().any(|alert| alert.sensor == "helium-level" && alert.days.is_some()) {
        found.push("no forecast of when the helium runs low".to_owned());
    }
    if let Some(other) = alerts.iter().find(|alert| alert.sensor != "helium-level") {
        found.push(format!("an alert about {}, which is well", other.sensor));
    }
    found
}

/// A maintenance record, as the analytics plugin writes it.
#[derive(Debug, Clone)]
struct Alert {
    /// The machine.
    machine: String,
    /// Its sensor.
    sensor: String,
    /// When, by the machine's clock.
    time: String,
    /// The last value.
    value: f64,
    /// The unit, or nothing.
    unit: String,
    /// What will be crossed.
    threshold: f64,
    /// Change of the value in a day.
    trend_per_day: Option<f64>,
    /// When it will be crossed, and between which bounds with 95 % confidence.
    days: Option<[f64; 3]>,
    /// The same as a date.
    at: Option<String>,
}

impl Alert {
    /// Reads one; none where it is something else.
    #[must_use]
    fn read(octets: &[u8]) -> Option<Self> {
        let record: Value = serde_json::from_slice(octets).ok()?;
        let expected = &record["expected"];
        let day = |name: &str| expected[name].as_f64();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(Self {
            machine: text(&record["machine"])?,
            sensor: text(&record["sensor"])?,
            time: text(&record["time"])?,
            value: record["value"].as_f64()?,
            unit: text(&record["unit"]).unwrap_or_default(),
            threshold: record["limit"]["threshold"].as_f64()?,
            trend_per_day: record["trend_per_day"].as_f64(),
            days: match (day("days"), day("days_earliest"), day("days_latest")) {
                (Some(days), Some(earliest), Some(latest)) => Some([days, earliest, latest]),
                _ => None,
            },
            at: text(&expected["at"]),
        })
    }

    /// `2026-11-14, mri-1: helium-level is 77.4 %, -0.60 % a day; it reaches 60 % in 29 days (27 to 32), on 2026-12-13`.
    fn sentence(&self) -> String {
        let Self { machine, sensor, value, unit, threshold, .. } = self;
        let day = |time: &str| time.split('T').next().unwrap_or(time).to_owned();
        let trend = self.trend_per_day.map_or(String::new(), |trend| format!(", {trend:+.2} {unit} a day"));
        let outlook = match (&self.days, &self.at) {
            (Some([days, earliest, latest]), Some(at)) => {
                format!(
                    "; it reaches {threshold} {unit} in {days:.0} days ({earliest:.0} to {latest:.0}), on {}",
                    day(at)
                )
            }
            _ => format!(", beyond {threshold} {unit}"),
        };
        format!("{}, {machine}: {sensor} is {value:.1} {unit}{trend}{outlook}", day(&self.time))
    }
}
