//! The way of a record, step by step, and each way to be refused on it.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::chain::{PlannedStage, World};
use crate::policy::{FlowRules, Grant, Policy};

fn principal() -> Arc<Principal> {
    Arc::new(Principal {
        id: PrincipalId::new("spiffe://st-marys/device/mri-1").unwrap(),
        stakeholder: "imaging".parse().unwrap(),
        zone: "device".parse().unwrap(),
        roles: vec![],
    })
}

fn policy(clearance: &[&str]) -> Policy {
    let grant = Grant { rule: "r".into(), stakeholder: "imaging".parse().unwrap(), roles: vec![] };
    let rules = FlowRules {
        zone: "device".parse().unwrap(),
        labels: vec!["phi".parse().unwrap(), "device".parse().unwrap()],
        publishers: vec![grant.clone()],
        subscriptions: [("s".parse().unwrap(), grant)].into(),
    };
    Policy {
        flows: [("scans".parse().unwrap(), rules)].into(),
        conduits: [].into(),
        clearances: [(
            "imaging".parse().unwrap(),
            clearance.iter().map(|label| label.parse().unwrap()).collect(),
        )]
        .into(),
        operators: Vec::new(),
    }
}

fn head() -> Head {
    Head {
        time: Timestamp(1),
        expires: Some(Timestamp(9)),
        deliver_after: Some(Timestamp(3)),
        key: Some("k".into()),
        content_type: "application/dicom".into(),
        attributes: vec![],
        labels: vec!["forged".parse().unwrap()],
        trace: None,
    }
}

fn admitted() -> Admitted {
    let body = Body::Inline(Bytes::from_static(b"body"));
    let draft = Draft::new("scans".parse().unwrap(), head(), body, None).unwrap();
    let permit = policy(&[]).admit(&principal(), &"scans".parse().unwrap()).unwrap();
    draft.attest(principal()).admit(&permit).unwrap()
}

fn plan() -> Plan {
    Plan::new(vec![PlannedStage {
        name: "clean".parse().unwrap(),
        world: World::Transform,
        plugin: "p".into(),
        version: "1.0.0".into(),
        component: Digest::of(b"c"),
        configuration: Digest::of(b"{}"),
        removes: vec!["phi".parse().unwrap()],
    }])
}

fn run(record: &Admitted, plan: &Plan, outcome: StageOutcome, body: &'static [u8]) -> ChainRun {
    let body = Measured::new(Body::Inline(Bytes::from_static(body)));
    let receipt = Receipt {
        input: record.body().digest(),
        plan: plan.digest(),
        outcomes: vec![outcome],
        output: body.digest(),
    };
    ChainRun { outputs: vec![Output { body, ..Output::unchanged(record.head(), record.body()) }], receipt }
}

#[test]
fn goes_the_whole_way_and_survives_encoding() {
    let record = admitted();
    let plan = plan();
    let run = run(&record, &plan, StageOutcome::Replaced, b"clean");
    let sealed = record.seal(&plan, run, Timestamp(2)).unwrap().remove(0);
    assert_eq!(sealed.envelope().head.labels, ["device".parse().unwrap()], "the flow's, less the chain's");
    let entry = sealed.clone().into_entry();
    let stored = Stored::decode("scans".parse().unwrap(), Offset(7), entry.octets()).unwrap();
    assert_eq!(stored.envelope(), sealed.envelope());

    let (flow, subscription) = ("scans".parse().unwrap(), "s".parse().unwrap());
    let egress = Plan::new(vec![]);
    let run = || ChainRun::unprocessed(&stored.envelope().head, &stored.measured(), &egress);
    let cleared = policy(&["device"]).read(&principal(), &flow, &subscription).unwrap();
    let delivered = stored.deliver(&cleared, &egress, run()).unwrap();
    let head = delivered[0].head();
    assert_eq!((head.expires, head.deliver_after), (Some(Timestamp(9)), Some(Timestamp(3))));
    assert_eq!(delivered[0].body(), &Body::Inline(Bytes::from_static(b"clean")));
    let uncleared = policy(&["phi"]).read(&principal(), &flow, &subscription).unwrap();
    let refused = stored.deliver(&uncleared, &egress, run());
    assert_eq!(refused, Err(DeliverError::NotCleared("device".parse().unwrap())));
}

#[test]
fn a_reader_of_another_body_is_not_told_the_digest_of_the_first() {
    let (record, ingress) = (admitted(), plan());
    let sealing = run(&record, &ingress, StageOutcome::Replaced, b"name 4711");
    let sealed = record.seal(&ingress, sealing, Timestamp(2)).unwrap().remove(0);
    let (flow, subscription) = ("scans".parse().unwrap(), "s".parse().unwrap());
    let stored = Stored::decode(sealed.flow().clone(), Offset(7), sealed.into_entry().octets()).unwrap();
    let permit = policy(&["device"]).read(&principal(), &flow, &subscription).unwrap();
    for (body, outcome) in [(&b"clean"[..], StageOutcome::Replaced), (b"name 4711", StageOutcome::Passed)] {
        let egress = plan();
        let mut run = ChainRun::unprocessed(&stored.envelope().head, &stored.measured(), &egress);
        let body = Measured::new(Body::Inline(Bytes::from_static(body)));
        run.receipt.outcomes = vec![outcome];
        run.receipt.output = body.digest();
        run.outputs[0].body = body;
        let receipt = stored.deliver(&permit, &egress, run.clone()).unwrap()[0].receipt().clone();
        let told = if outcome == StageOutcome::Replaced { Digest::WITHHELD } else { run.receipt.input };
        assert_eq!(receipt, Receipt { input: told, ..run.receipt });
    }
}

#[test]
fn a_stage_sets_the_time_of_what_it_made_and_no_other() {
    let (record, plan) = (admitted(), plan());
    let mut retimed = run(&record, &plan, StageOutcome::Replaced, b"clean");
    retimed.outputs[0].time = Some(Timestamp(77));
    let sealed = record.seal(&plan, retimed, Timestamp(2)).unwrap().remove(0);
    let kept = sealed.envelope();
    assert_eq!((kept.head.time, kept.accepted), (Timestamp(77), Timestamp(2)));
    assert_eq!((kept.head.expires, kept.head.deliver_after), (Some(Timestamp(9)), Some(Timestamp(3))));

    let entry = sealed.into_entry();
    let stored = Stored::decode("scans".parse().unwrap(), Offset(7), entry.octets()).unwrap();
    let permit = policy(&["device"]).read(&principal(), stored.flow(), &"s".parse().unwrap()).unwrap();
    let egress = Plan::new(vec![]);
    let run = |time| {
        let mut run = ChainRun::unprocessed(&stored.envelope().head, &stored.measured(), &egress);
        run.outputs[0].time = time;
        stored.deliver(&permit, &egress, run).unwrap().remove(0)
    };
    let (as_it_was, moved) = (run(None), run(Some(Timestamp(5))));
    assert_eq!((as_it_was.head().time, as_it_was.head().expires), (Timestamp(77), Some(Timestamp(9))));
    assert_eq!(
        moved.head(),
        &Head { time: Timestamp(5), expires: None, deliver_after: None, ..as_it_was.head().clone() }
    );
    assert_eq!(stored.envelope().head.time, Timestamp(77));
}

#[test]
fn a_receipt_must_be_for_this_plan_input_and_output() {
    let plan = plan();
    type Tamper = fn(&mut ChainRun);
    let cases: [(Tamper, SealError); 6] = [
        (|run| run.receipt.plan = Digest::of(b"other"), SealError::Plan),
        (|run| run.receipt.outcomes.clear(), SealError::Outcomes { actual: 0, expected: 1 }),
        (|run| run.receipt.input = Digest::of(b"other"), SealError::Input),
        (|run| run.receipt.output = Digest::of(b"other"), SealError::Output),
        (|run| run.outputs.clear(), SealError::Count(0)),
        (|run| run.receipt.outcomes = vec![StageOutcome::Passed], SealError::Changed),
    ];
    for (tamper, error) in cases {
        let record = admitted();
        let mut run = run(&record, &plan, StageOutcome::Replaced, b"clean");
        tamper(&mut run);
        assert_eq!(record.seal(&plan, run, Timestamp(2)).unwrap_err(), error);
    }
}

#[test]
fn a_draft_is_bounded_field_by_field() {
    let body = || Body::Inline(Bytes::new());
    let draft = |head, body| Draft::new("scans".parse().unwrap(), head, body, None).map(|_| ());
    assert_eq!(draft(head(), body()), Ok(()));
    let long = "x".repeat(limits::KEY_OCTETS_MAX + 1);
    let too_large = |result| matches!(result, Err(DraftError::TooLarge { .. }));
    assert!(too_large(draft(Head { key: Some(long), ..head() }, body())));
    assert!(too_large(draft(head(), Body::Inline(vec![0; limits::INLINE_BODY_OCTETS_MAX + 1].into()))));
    let attribute = |name: &str| Attribute { name: name.into(), value: String::new() };
    let many = vec![attribute("a"); limits::ATTRIBUTES_MAX + 1];
    assert!(too_large(draft(Head { attributes: many, ..head() }, body())));
    let unnamed = Head { attributes: vec![attribute("a"), attribute("b c")], ..head() };
    assert_eq!(draft(unnamed, body()), Err(DraftError::AttributeName { index: 1 }));
    assert_eq!(draft(Head { content_type: "dicom".into(), ..head() }, body()), Err(DraftError::ContentType));
    let never = Head { deliver_after: Some(Timestamp(9)), ..head() };
    assert_eq!(draft(never, body()), Err(DraftError::NeverDue));
}

#[test]
fn a_permit_of_another_flow_does_not_admit() {
    let draft = Draft::new("other".parse().unwrap(), head(), Body::Inline(Bytes::new()), None).unwrap();
    let permit = policy(&[]).admit(&principal(), &"scans".parse().unwrap()).unwrap();
    assert_eq!(draft.attest(principal()).admit(&permit).map(|_| ()), Err(PermitMismatch));
}

#[test]
fn debug_shows_no_value_that_could_identify_a_patient() {
    let mut head = head();
    head.key = Some("MRN-4711".into());
    head.attributes.push(Attribute { name: "patient".into(), value: "MRN-4711".into() });
    assert!(!format!("{head:?}").contains("4711"));
}
