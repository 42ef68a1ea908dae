//! What is inside the log and the metadata: stored records, quarantine, audit, control, publishers, progress.

use hilum_core::audit::{Action, Event};
use hilum_core::control::{Decision, HoldScope, State};
use hilum_core::delivery::{Deliveries, Key, Offered, Progress, Rules};
use hilum_core::producers::Producers;
use hilum_core::quarantine::{Cause, Quarantined};
use hilum_core::record::{Body, Envelope, ProducerId, ProducerPosition, Stored};
use hilum_core::{Attribute, Digest, FlowName, Head, Offset, Principal, PrincipalId, Timestamp};

use crate::memory;
use crate::script::Script;

/// See [`memory::bounded`].
pub const OCTETS_MAX: usize = memory::USUAL;

/// First octet of every entry.
const ENTRY_VERSION: u8 = 1;

/// What decodes, encodes, and decodes to the same. The first octet chooses the decoder.
pub fn check(octets: &[u8]) {
    let Some((choice, octets)) = octets.split_first() else { return };
    match choice % 6 {
        0 => stored(octets),
        1 => quarantined(octets),
        2 => event(octets),
        3 => control(octets),
        4 => producers(octets),
        _ => progress(octets),
    }
}

fn flow() -> FlowName {
    "imaging".parse().expect("a name")
}

fn broker() -> PrincipalId {
    "spiffe://st-marys/broker".parse().expect("an identity")
}

fn stored(octets: &[u8]) {
    let Ok(stored) = Stored::decode(flow(), Offset(7), octets) else { return };
    let again = entry(stored.envelope());
    let again = Stored::decode(flow(), Offset(7), &again).expect("it was encoded a moment ago");
    assert_eq!(again.envelope(), stored.envelope());
    assert_eq!(again.measured(), stored.measured());
}

/// As a sealed record is written.
fn entry(envelope: &Envelope) -> Vec<u8> {
    postcard::to_extend(envelope, vec![ENTRY_VERSION]).expect("plain data encodes into memory")
}

fn quarantined(octets: &[u8]) {
    let Ok(record) = Quarantined::decode(octets) else { return };
    let entry = record.clone().into_entry();
    assert_eq!(Quarantined::decode(entry.octets()).as_ref(), Ok(&record));
    let _ = (record.octets(), record.own_blob());
    if let Ok(draft) = record.redraft(Offset(7), record.body.clone()) {
        let _ = draft.attest(record.principal.clone());
    }
}

fn event(octets: &[u8]) {
    let Ok(event) = Event::decode(octets) else { return };
    assert_eq!(Event::decode(event.clone().into_entry(&broker()).octets()), Ok(event));
}

/// Entries of the control log, each with its length: the state that they make comes back from its snapshot.
fn control(octets: &[u8]) {
    let (mut script, mut state) = (Script(octets), State::default());
    while !script.is_over() {
        let _ = state.fold(script.measured());
    }
    let snapshot = state.snapshot(&broker());
    let mut again = State::default();
    for part in &snapshot {
        again.fold(part.octets()).expect("a snapshot can be read");
    }
    assert!(again.holds().eq(state.holds()) && again.pauses().eq(state.pauses()));
    let octets = |state: &State| {
        state.snapshot(&broker()).iter().map(|part| part.octets().to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(octets(&again), octets(&state));
}

/// A checkpoint, then what publishers do.
fn producers(octets: &[u8]) {
    let mut script = Script(octets);
    let checkpoint = script.measured();
    let Ok(mut producers) = Producers::decode(checkpoint) else { return };
    let encoded = producers.encode();
    let again = Producers::decode(&encoded).expect("it was encoded a moment ago");
    assert_eq!(again.encode(), encoded);
    while !script.is_over() {
        let action = script.octet();
        let producer = ProducerId([script.octet(); 16]);
        let position = ProducerPosition { producer, sequence: script.number() };
        let before = producers.last_settled(producer);
        match action % 5 {
            0 => producers.settle(position),
            1 => producers.fail(position),
            2 => producers.restore(position, Timestamp(position.sequence)),
            3 => drop(producers.open(producer, None)),
            _ => producers.close(producer),
        }
        assert!(producers.last_settled(producer) >= before, "what is settled stays so");
    }
    assert!(Producers::decode(&producers.encode()).is_ok());
}

/// What was kept of a subscription, then what its readers do. Nothing is given up, and nothing settled comes again.
fn progress(octets: &[u8]) {
    let mut script = Script(octets);
    let Ok(progress) = Progress::decode(script.measured()) else { return };
    assert_eq!(Progress::decode(&progress.encode()).as_ref(), Ok(&progress));
    let rules = Rules { deliveries_max: 3, in_flight_max: 16, shared: true, ..Rules::default() };
    let mut deliveries = Deliveries::new(rules, &progress);
    assert_eq!(deliveries.cursor().0.max(progress.cursor.0), deliveries.cursor().0);
    let reader = deliveries.join();
    let (mut claims, mut now) = (Vec::new(), 0);
    while !script.is_over() {
        now += 1;
        let cursor = deliveries.cursor();
        let nth = usize::from(script.octet());
        match script.octet() % 6 {
            0 | 1 => {
                let offset = deliveries.next_offset();
                let key = Key::of(if nth % 2 == 0 { "a" } else { "b" });
                if let Offered::Claimed(claim) = deliveries.offer(reader, offset, Some(key), 0, now) {
                    assert_eq!(claim.offset, offset);
                    deliveries.sent(claim, now);
                    claims.push(claim);
                }
            }
            2 if !claims.is_empty() => drop(deliveries.settle(claims.swap_remove(nth % claims.len()), now)),
            3 if !claims.is_empty() => {
                deliveries.nak(claims.swap_remove(nth % claims.len()), Some(script.number()), now);
            }
            4 => now += script.number().min(1 << 40),
            _ => drop(deliveries.handle_timeout(now)),
        }
        assert!(deliveries.cursor() >= cursor, "the cursor does not go back");
    }
    let kept = deliveries.progress();
    assert_eq!(Progress::decode(&kept.encode()), Ok(kept));
}

fn head() -> Head {
    Head {
        time: Timestamp(1_700_000_000_000),
        expires: Some(Timestamp(1_800_000_000_000)),
        deliver_after: None,
        key: Some("ward-7".into()),
        content_type: "application/dicom".into(),
        attributes: vec![Attribute { name: "modality".into(), value: "MR".into() }],
        labels: vec!["phi".parse().expect("a label")],
        trace: None,
    }
}

fn principal() -> Principal {
    Principal {
        id: "spiffe://st-marys/device/mri-1".parse().expect("an identity"),
        stakeholder: "imaging-dept".parse().expect("a name"),
        zone: "device".parse().expect("a name"),
        roles: vec!["scanner".parse().expect("a name")],
    }
}

/// One of each kind, made by the writers.
pub fn seeds() -> Vec<Vec<u8>> {
    let body = Body::Inline(bytes::Bytes::from_static(b"body"));
    let digest = Digest::of(b"body");
    let receipt =
        hilum_core::chain::Receipt { input: digest, plan: digest, outcomes: Vec::new(), output: digest };
    let position = ProducerPosition { producer: ProducerId([5; 16]), sequence: 3 };
    let envelope = Envelope {
        head: head(),
        body: body.clone(),
        principal: principal().into(),
        rule: "imaging[0]".into(),
        receipt,
        producer: Some(position),
        accepted: Timestamp(9),
    };
    let cause = Cause { stage: None, code: "malformed".into(), reason: "no unit".into() };
    let quarantined = Quarantined {
        flow: flow(),
        delivery: Some(("radiology".parse().expect("a name"), Offset(4))),
        head: head(),
        body,
        principal: principal().into(),
        cause,
        time: Timestamp(10),
    };
    let event = Event {
        time: Timestamp(1),
        principal: Some(broker()),
        flow: Some(flow()),
        subscription: None,
        offset: Some(Offset(3)),
        action: Action::Delivered,
        reason: "rule".into(),
    };
    let with = |choice: u8, octets: &[u8]| [&[choice][..], octets].concat();
    vec![
        with(0, &entry(&envelope)),
        with(1, quarantined.into_entry().octets()),
        with(2, event.into_entry(&broker()).octets()),
        with(3, &control_log()),
        with(4, &producers_seed()),
        with(5, &progress_seed()),
    ]
}

fn measured(octets: &[u8]) -> Vec<u8> {
    let length = u16::try_from(octets.len()).expect("seeds are short").to_le_bytes();
    [&length[..], octets].concat()
}

/// Every decision, and a snapshot.
fn control_log() -> Vec<u8> {
    let (mut state, by, mut log) = (State::default(), broker(), Vec::new());
    let scope = |key: Option<&str>| HoldScope { flow: flow(), key: key.map(str::to_owned) };
    let mut apply = |state: &mut State, decision: Decision| {
        log.extend(measured(decision.to_entry(&broker()).octets()));
        state.apply(decision);
    };
    for key in [None, Some("ward-7")] {
        let decision = state.hold(scope(key), "case 12", &by, Timestamp(1)).expect("it may be held");
        apply(&mut state, decision);
    }
    let subscription = "radiology".parse().expect("a name");
    let pause = state.pause(&flow(), &subscription, "a reason", &by, Timestamp(2)).expect("it may be paused");
    apply(&mut state, pause);
    let (flow_name, offset, time) = (flow(), Offset(5), Timestamp(3));
    let begin =
        Decision::Begin { flow: flow_name, subscription: subscription.clone(), offset, by: by.clone(), time };
    apply(&mut state, begin);
    let snapshot: Vec<u8> = state.snapshot(&by).iter().flat_map(|part| measured(part.octets())).collect();
    let resume = state.resume(&flow(), &subscription, &by, Timestamp(4)).expect("it is paused");
    apply(&mut state, resume);
    let first = state.holds().next().expect("there are two").id;
    let release = state.release(first, &by, Timestamp(5)).expect("it is held");
    apply(&mut state, release);
    [log, snapshot].concat()
}

fn producers_seed() -> Vec<u8> {
    let mut producers = Producers::default();
    producers.advance(Timestamp(100));
    for (producer, sequence) in [(1, 5), (2, 9), (3, 1)] {
        let position = ProducerPosition { producer: ProducerId([producer; 16]), sequence };
        producers.settle(position);
        producers.fail(ProducerPosition { sequence: sequence + 2, ..position });
    }
    producers.forget_through(Timestamp(50));
    [measured(&producers.encode()), vec![0, 1, 6, 1, 2, 7, 3, 3, 0, 4, 3, 0, 2, 9, 1]].concat()
}

fn progress_seed() -> Vec<u8> {
    let progress = Progress {
        cursor: Offset(10),
        settled: vec![(Offset(12), Offset(14)), (Offset(20), Offset(20))],
        attempts: vec![(Offset(10), 2), (Offset(15), 1)],
    };
    let actions = [0, 0, 1, 0, 2, 0, 0, 2, 0, 3, 5, 0, 4, 200, 0, 5, 0, 1];
    [measured(&progress.encode()), actions.to_vec()].concat()
}
