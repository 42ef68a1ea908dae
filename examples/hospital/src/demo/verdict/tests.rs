//! A run that is right in everything passes; each way to be wrong is found.

use std::time::Instant;

use hilum_core::Digest;

use super::*;
use crate::demo::plan::{Kind, Maker, Patient};

/// A record of each kind on its flow, and what every reader shall get of them.
fn story() -> Evidence {
    let mut published = Vec::new();
    for reading in &READINGS {
        for &kind in reading.kinds {
            let is_new = !published.iter().any(|record: &Published| record.kind == kind);
            if is_new {
                published.push(record(kind, reading.flow, published.len() as u64));
            }
        }
    }
    let mut received = Vec::new();
    for (number, reading) in READINGS.iter().enumerate() {
        if let Some(maker) = reading.form.maker() {
            received.push(made(number, maker));
        }
        received.extend(expected(reading, &published).map(|record| delivery(number, reading.form, record)));
    }
    Evidence {
        published,
        received,
        refused: Vec::new(),
        traces: Vec::new(),
        endpoint: Some("http://127.0.0.1:4318".into()),
        stored: Vec::new(),
        log: Vec::new(),
    }
}

fn record(kind: Kind, flow: &str, number: u64) -> Published {
    let digest = Digest::of(kind.label().as_bytes());
    let flow = flow.parse().unwrap();
    let patient = Patient::NONE;
    Published { kind, patient, flow, offset: Offset(number), digest, trace: [7; 16], at: Instant::now() }
}

fn delivery(reading: usize, form: Form, record: &Published) -> Received {
    Received {
        reading,
        offset: record.offset,
        digest: if form == Form::Deidentified { Digest::of(b"clean") } else { record.digest },
        sealed: form == Form::Sealed,
        canaries: usize::from(form == Form::Original && record.kind.names_patient()),
        trace: Some(record.trace),
        at: Instant::now(),
        octets: Vec::new(),
    }
}

/// What a plugin makes of the story.
fn made(reading: usize, maker: Maker) -> Received {
    let body = match maker {
        Maker::Analytics => return forecast(reading, "helium-level"),
        Maker::Rooms => serde_json::json!({"room": "mri-room-1", "state": "in-use",
            "from": "2026-11-14T17:15:00.000Z", "to": "2026-11-14T17:30:00.000Z"}),
        Maker::Claims => serde_json::json!({"status": "found", "cause": "duplicate-claim"}),
        Maker::Security => serde_json::json!({"status": "raised", "cause": "denials",
            "principal": "spiffe://st-marys/service/research-1"}),
    };
    of_plugin(reading, &body)
}

fn forecast(reading: usize, sensor: &str) -> Received {
    let body = serde_json::json!({
        "machine": "mri-1", "sensor": sensor, "unit": "%", "time": "2026-11-14T00:00:00Z", "value": 77.4,
        "limit": {"threshold": 60.0}, "trend_per_day": -0.6,
        "expected": {"at": "2026-12-14T00:00:00Z", "days": 29.0, "days_earliest": 27.0, "days_latest": 32.0},
    });
    of_plugin(reading, &body)
}

fn of_plugin(reading: usize, body: &serde_json::Value) -> Received {
    let record = record(Kind::Telemetry, "maintenance", 0);
    Received { octets: body.to_string().into_bytes(), ..delivery(reading, READINGS[reading].form, &record) }
}

fn canaries() -> Canaries {
    let mut canaries = Canaries::default();
    canaries.plant(["Quillfeather".to_owned()]);
    canaries
}

/// The complaints about the story after `spoil` changed it.
fn complaints_after(spoil: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut evidence = story();
    spoil(&mut evidence);
    complaints(&evidence, &canaries())
}

/// The one delivery of a kind to a stakeholder.
fn of<'a>(evidence: &'a mut Evidence, stakeholder: &str, kind: Kind) -> &'a mut Received {
    let offset = evidence.published.iter().find(|record| record.kind == kind).unwrap().offset;
    let is_it = |received: &&mut Received| {
        let reading = &READINGS[received.reading];
        reading.stakeholder == stakeholder && reading.kinds.contains(&kind) && received.offset == offset
    };
    evidence.received.iter_mut().find(is_it).unwrap()
}

#[test]
fn a_run_that_is_right_in_everything_passes() {
    assert_eq!(complaints_after(|_| ()), Vec::<String>::new());
}

#[test]
fn each_way_to_be_wrong_is_found() {
    let check = |expected: &str, spoil: &dyn Fn(&mut Evidence)| {
        let found = complaints_after(spoil);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(expected), "{found:?}");
    };
    check("not de-identified", &|evidence| {
        let original = Digest::of(Kind::Image.label().as_bytes());
        of(evidence, "research", Kind::Image).digest = original;
    });
    check("a planted identifier is in it", &|e| of(e, "research", Kind::Image).canaries = 1);
    check("a planted identifier is in it", &|e| of(e, "insurer", Kind::Claim).canaries = 1);
    check("not the original, encrypted", &|e| of(e, "insurer", Kind::Claim).sealed = false);
    check("not the original", &|e| of(e, "radiology", Kind::Image).digest = Digest::of(b"other"));
    check("finds none in an original", &|e| of(e, "radiology", Kind::Image).canaries = 0);
    check("not in the trace", &|e| of(e, "billing", Kind::Claim).trace = None);
    check("1 records are missing", &|evidence| {
        let gone = of(evidence, "manufacturer", Kind::Telemetry).reading;
        evidence.received.retain(|received| received.reading != gone);
    });
    check("1 came that should be withheld", &|evidence| {
        let insurer = of(evidence, "insurer", Kind::Claim).reading;
        let charge = evidence.published.iter().find(|record| record.kind == Kind::Charge).unwrap().clone();
        evidence.received.push(delivery(insurer, Form::Sealed, &charge));
    });
    check("1 came that should be withheld", &|evidence| {
        let mut others =
            evidence.published.iter().find(|record| record.kind == Kind::Result).unwrap().clone();
        others.offset = Offset(99);
        others.patient.is_treated = false;
        let (wants, referrer) = ("referrers", of(evidence, "referrers", Kind::Result).reading);
        let form = READINGS[referrer].form;
        for (number, reading) in READINGS.iter().enumerate().filter(|(_, r)| r.flow == "results") {
            if reading.stakeholder != wants {
                evidence.received.push(delivery(number, reading.form, &others));
            }
        }
        evidence.received.push(delivery(referrer, form, &others));
        evidence.published.push(others);
    });
    check("came twice", &|evidence| {
        let again = of(evidence, "billing", Kind::Claim).clone();
        evidence.received.push(again);
    });
    check("in the store", &|evidence| evidence.stored = b"...QUILLFEATHER...".to_vec());
    check("in the broker's log", &|evidence| evidence.log = b"patient quillfeather".to_vec());
}

#[test]
fn a_forecast_is_needed_and_only_of_helium() {
    let about = |sensor: &'static str| {
        complaints_after(move |evidence| {
            for received in &mut evidence.received {
                if READINGS[received.reading].form == Form::Made(Maker::Analytics) {
                    *received = forecast(received.reading, sensor);
                }
            }
        })
    };
    assert_eq!(about("helium-level"), Vec::<String>::new());
    let found = about("vibration");
    assert!(found.iter().any(|complaint| complaint.contains("no forecast")), "{found:?}");
    assert!(found.iter().any(|complaint| complaint.contains("vibration, which is well")), "{found:?}");
}

#[test]
fn our_own_collector_must_have_seen_every_record_and_reason() {
    let found = complaints_after(|evidence| evidence.endpoint = None);
    assert!(found.iter().any(|complaint| complaint.contains("no span")), "{found:?}");
    assert!(found.iter().any(|complaint| complaint.contains("give reasons for 0")), "{found:?}");
}

#[test]
fn what_plugins_make_has_to_be_there_and_nothing_else() {
    let spoiled = |maker: Maker, change: &dyn Fn(&mut serde_json::Value)| {
        complaints_after(|evidence| {
            let of = |received: &&mut Received| READINGS[received.reading].form == Form::Made(maker);
            let received = evidence.received.iter_mut().find(of).unwrap();
            let mut document = serde_json::from_slice(&received.octets).unwrap();
            change(&mut document);
            received.octets = document.to_string().into_bytes();
        })
    };
    for (maker, name, value, expected) in [
        (Maker::Rooms, "room", "other", "how the room was used"),
        (Maker::Rooms, "by", "staff-present", "who was in the room"),
        (Maker::Claims, "status", "resolved", "was not found once"),
        (Maker::Claims, "cause", "other-day", "of what fits"),
        (Maker::Security, "principal", "spiffe://st-marys/service/ris-1", "0 alerts"),
    ] {
        let found = spoiled(maker, &|document| document[name] = value.into());
        assert!(found.iter().any(|complaint| complaint.contains(expected)), "{expected}: {found:?}");
    }
    let found = complaints_after(|evidence| {
        let of = |received: &&mut Received| READINGS[received.reading].form == Form::Made(Maker::Claims);
        evidence.received.iter_mut().find(of).unwrap().canaries = 1;
    });
    assert!(found.len() == 1 && found[0].contains("a planted identifier is in it"), "{found:?}");
}
