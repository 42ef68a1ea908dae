//! Examples of the frames of the operators' stream.

use bytes::Bytes;

use super::{example, head};
use crate::canary::{Millionths, StagePlace};
use crate::chain::{FailsOn, World};
use crate::control::HoldId;
use crate::digest::Digest;
use crate::name::{FlowName, KeyName};
use crate::originals::Pseudonym;
use crate::policy::Right;
use crate::record::{Offset, Timestamp};
use crate::wire::admin::*;
use crate::wire::{Open, Refusal, RefusalCode};

/// One of each frame, with its name.
pub(super) fn examples() -> Vec<(&'static str, Bytes)> {
    [requests(), answers(), kept(), left_alone(), pseudonyms()].concat()
}

fn imaging() -> FlowName {
    "imaging".parse().unwrap()
}

fn of() -> QuarantineId {
    QuarantineId { flow: imaging(), id: Offset(7) }
}

fn subscription() -> SubscriptionId {
    SubscriptionId { flow: imaging(), subscription: "research".parse().unwrap() }
}

fn entry() -> QuarantineEntry {
    QuarantineEntry {
        id: Offset(7),
        time: Timestamp(1_700_000_000_000),
        delivery: None,
        stage: Some("check".parse().unwrap()),
        code: Short::new("denied"),
        reason: Short::new("no rule allows it"),
        octets: 5,
        source: "spiffe://st-marys/device/mri-1".parse().unwrap(),
    }
}

/// What operators send.
fn requests() -> Vec<(&'static str, Bytes)> {
    let list = ListQuarantine {
        flow: imaging(),
        from: Offset(0),
        since: Some(Timestamp(1_700_000_000_000)),
        until: None,
        code: Some(Short::new("denied")),
    };
    let read = ReadAudit {
        from: Offset(0),
        since: None,
        until: None,
        flow: Some(imaging()),
        principal: None,
        action: Some(Short::new("released")),
    };
    vec![
        example("open-admin", Open::Admin(OpenAdmin { note: "ticket 12".into() })),
        example("admin-flows", ToBroker::Flows(ListFlows { after: None })),
        example(
            "admin-subscriptions",
            ToBroker::Subscriptions(ListSubscriptions { flow: imaging(), after: None }),
        ),
        example("admin-quarantine", ToBroker::Quarantine(list)),
        example("admin-show", ToBroker::Show(ShowQuarantined { of: of(), disclose: true })),
        example("admin-body", ToBroker::Body(ReadBody { of: of(), from: 0 })),
        example("admin-release", ToBroker::Release(of())),
        example("admin-destroy", ToBroker::Destroy(of())),
        example("admin-pause", ToBroker::Pause(subscription())),
        example("admin-resume", ToBroker::Resume(subscription())),
        example(
            "admin-seek",
            ToBroker::Seek(SeekSubscription { of: subscription(), to: SeekTo::Offset(Offset(298)) }),
        ),
        example("admin-holds", ToBroker::Holds(ListHolds { after: None })),
        example("admin-add-hold", ToBroker::AddHold(AddHold { flow: imaging(), key: Some("mri-1".into()) })),
        example("admin-remove-hold", ToBroker::RemoveHold(RemoveHold { flow: imaging(), id: HoldId(3) })),
        example("admin-audit", ToBroker::Audit(read)),
        example("admin-preview", ToBroker::Preview(PreviewReload { from: 0 })),
        example("admin-reload", ToBroker::Reload(Reload { digest: Digest([0xcc; 32]) })),
        example("admin-stages", ToBroker::Stages(ListStages { after: None })),
    ]
}

/// What the broker sends.
fn answers() -> Vec<(&'static str, Bytes)> {
    let shown = Shown {
        entry: entry(),
        made: Timestamp(1_700_000_000_000),
        stakeholder: "imaging-dept".parse().unwrap(),
        labels: vec!["phi".parse().unwrap()],
        is_large: false,
        disclosed: Some(Disclosed { head: head(), digest: Digest([0xdd; 32]) }),
    };
    let status = SubscriptionStatus {
        subscription: "research".parse().unwrap(),
        cursor: Offset(298),
        lag: 2,
        oldest_milliseconds: Some(1500),
        in_flight: 1,
        put_off: 1,
        readers: 1,
        paused: false,
    };
    let event = AuditEvent {
        number: Offset(12),
        time: Timestamp(1_700_000_000_000),
        principal: Some("spiffe://st-marys/operator".parse().unwrap()),
        flow: Some(imaging()),
        subscription: None,
        offset: None,
        action: Short::new("released"),
        reason: "quarantine record 7".into(),
    };
    let hold = HoldStatus {
        id: HoldId(3),
        flow: imaging(),
        has_key: true,
        key: None,
        reason: Short::new("case 12"),
        by: "spiffe://st-marys/operator".parse().unwrap(),
        time: Timestamp(1_700_000_000_000),
    };
    let flow = FlowStatus {
        flow: imaging(),
        start: Offset(0),
        end: Offset(300),
        octets: 4096,
        quarantined: 1,
        quarantine_octets: 517,
        quarantine_octets_max: 4 << 30,
        fault: None,
    };
    vec![
        example("admin-opened", ToClient::Opened(Opened { may: vec![Right::Inspect, Right::Quarantine] })),
        example("admin-refused", ToClient::Refused(Refusal::new(RefusalCode::NotFound, "no record 8"))),
        example("admin-done", ToClient::Done),
        example("admin-flow-page", ToClient::Flows(FlowPage { flows: vec![flow], more: false })),
        example(
            "admin-subscription-page",
            ToClient::Subscriptions(SubscriptionPage { subscriptions: vec![status], more: false }),
        ),
        example(
            "admin-quarantine-page",
            ToClient::Quarantine(QuarantinePage { entries: vec![entry()], next: Some(Offset(8)) }),
        ),
        example("admin-shown", ToClient::Shown(shown)),
        example("admin-body-part", ToClient::Body(BodyPart { octets: Bytes::from_static(b"DICOM") })),
        example("admin-released", ToClient::Released(Released::Stored(Offset(300)))),
        example("admin-hold-page", ToClient::Holds(HoldPage { holds: vec![hold], more: false })),
        example("admin-hold-added", ToClient::HoldAdded(HoldId(3))),
        example("admin-sought", ToClient::Sought(Offset(298))),
        example(
            "admin-audit-page",
            ToClient::Audit(AuditPage { events: vec![event], next: Offset(13), at_end: true }),
        ),
        example("admin-preview-page", ToClient::Preview(preview())),
        example("admin-problem-page", ToClient::Preview(problems())),
        example("admin-reloaded", ToClient::Reloaded(1)),
        example("admin-stage-page", ToClient::Stages(StagePage { stages: vec![stage()], more: false })),
    ]
}

fn preview() -> Preview {
    let change = Change {
        path: "flows.imaging.ingress.clean.plugin".into(),
        before: Some(Short::new("deidentify")),
        after: Some(Short::new("wash")),
        needs_restart: false,
    };
    Preview { digest: Some(Digest([0xcc; 32])), problems: Vec::new(), changes: vec![change], more: false }
}

fn problems() -> Preview {
    let problem = Problem {
        file: "hilum.toml".into(),
        position: Some((3, 1)),
        key: "broker".into(),
        what: "this key is missing".into(),
        help: "add it".into(),
    };
    Preview { digest: None, problems: vec![problem], changes: Vec::new(), more: false }
}

fn stage() -> StageStatus {
    let plugin = |name: &str, version: &str| PluginStatus {
        name: Short::new(name),
        plugin: Short::new("deidentify"),
        version: Short::new(version),
        world: World::Transform,
        digest: Digest([0xdd; 32]),
        records: 300,
        refused: 2,
        failed: 1,
    };
    StageStatus {
        place: StagePlace { flow: imaging(), subscription: None, stage: "clean".parse().unwrap() },
        current: plugin("deidentify", "1.0.0"),
        canary: Some(CanaryStatus {
            candidate: plugin("deidentify-next", "1.1.0"),
            share: Millionths(100_000),
            error_rate_max: Millionths(10_000),
            records_min: 200,
            rolled_back: None,
        }),
    }
}

/// Both ways, about what plugins keep and what the broker runs.
fn kept() -> Vec<(&'static str, Bytes)> {
    let values =
        ReadValues { flow: imaging(), stage: "watch".parse().unwrap(), after: Some("mri-1/helium".into()) };
    let status = StateStatus {
        stage: "watch".parse().unwrap(),
        keys: 1,
        octets: 14,
        through: Offset(300),
        emitted: 5,
        pending: 0,
    };
    let value =
        StateValue { key: "mri-1/helium".into(), version: 7, octets: Bytes::from_static(&[0x4d, 0x01]) };
    let under_way = vec![ChainPlace { flow: imaging(), subscription: Some("research".parse().unwrap()) }];
    let standing =
        Standing { digest: Digest([0xcc; 32]), replaced: 2, under_way, under_way_count: 1, milliseconds: 12 };
    vec![
        example("admin-states", ToBroker::States(ListStates { flow: imaging(), after: None })),
        example("admin-values", ToBroker::Values(values)),
        example("admin-standing", ToBroker::Standing(AskStanding { wait_milliseconds: 500 })),
        example("admin-state-page", ToClient::States(StatePage { stages: vec![status], more: false })),
        example("admin-value-page", ToClient::Values(ValuePage { values: vec![value] })),
        example("admin-runs", ToClient::Standing(standing)),
    ]
}

/// Both ways, about what pseudonyms stood for.
fn pseudonyms() -> Vec<(&'static str, Bytes)> {
    let key: KeyName = "research".parse().unwrap();
    let asked = || vec![Short::new("0C4E5F7A1B2D3E4F")];
    let status = OriginalsStatus {
        key: key.clone(),
        count: 300,
        count_max: 1_000_000,
        octets: 96_000,
        octets_max: 1 << 30,
        fault: None,
    };
    let mut pseudonym = [0x77; 32];
    pseudonym[..8].copy_from_slice(&[0x0c, 0x4e, 0x5f, 0x7a, 0x1b, 0x2d, 0x3e, 0x4f]);
    let sealed = Bytes::from_static(&[0xd8, 0x60, 0x84]);
    let revealed = Revealed { asked: 0, pseudonym: Pseudonym(pseudonym), sealed };
    let reveal = AskOriginals { key: key.clone(), pseudonyms: asked() };
    let forget = |what| ToBroker::Forget(ForgetOriginals { key: key.clone(), what });
    vec![
        example("admin-originals", ToBroker::Originals(ListOriginals { after: None })),
        example("admin-reveal", ToBroker::Reveal(reveal)),
        example("admin-forget", forget(Forget::These(asked()))),
        example("admin-forget-all", forget(Forget::All)),
        example(
            "admin-original-page",
            ToClient::Originals(OriginalsPage { keys: vec![status], more: false }),
        ),
        example("admin-revealed", ToClient::Revealed(RevealedPage { revealed: vec![revealed] })),
        example("admin-forgotten", ToClient::Forgotten(1)),
    ]
}

/// Both ways, about stages that are left alone.
fn left_alone() -> Vec<(&'static str, Bytes)> {
    let status = |subscription: Option<&str>, on| BreakerStatus {
        place: StagePlace {
            flow: imaging(),
            subscription: subscription.map(|name| name.parse().unwrap()),
            stage: "clean".parse().unwrap(),
        },
        plugin: Short::new("deidentify"),
        version: Short::new("1.1.0"),
        is_trial: false,
        reader: subscription.map(|_| "spiffe://st-marys/research/research-1".parse().unwrap()),
        on,
        since: Timestamp(1_700_000_000_000),
        until: Timestamp(1_700_000_001_000),
        faults: 10,
    };
    let source = FailsOn::Source("spiffe://st-marys/device/mri-1".parse().unwrap());
    let breakers = vec![status(None, source), status(Some("research"), FailsOn::Everybody)];
    vec![
        example("admin-breakers", ToBroker::Breakers(ListBreakers { from: 0 })),
        example("admin-breaker-page", ToClient::Breakers(BreakerPage { breakers, more: false })),
    ]
}
