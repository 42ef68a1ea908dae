//! What the tests of ingest and delivery share: a store in memory, one flow with its policy, and records for it.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use hilum_core::audit::Event;
use hilum_core::policy::{FlowRules, Grant, Policy};
use hilum_core::record::{BlobRef, Body, Draft, Head, ProducerId, ProducerPosition};
use hilum_core::{Attribute, FlowName, LogName, Offset, Principal, PrincipalId, StageName, Timestamp};
use hilum_plugin_build::Guests;
use hilum_sandbox::{Chain, ChainContext, Grants, Limits, Plugin, Sandbox, Settings, StageSpec};
use hilum_store::memory;
use tokio::sync::Notify;

use crate::aside::Aside;
use crate::broker::Shared;
use crate::chains::Slots;
use crate::clock::Clock;
use crate::control::Control;
use crate::ingest::Item;
use crate::memory::Memory;
use crate::originals::Originals;
use crate::quarantine::Quarantines;
use crate::retention::Ledgers;
use crate::services::{ChainServices, Host};
use crate::state::States;
use crate::telemetry::Instruments;
use crate::traffic::Traffic;

static SANDBOX: LazyLock<Sandbox> =
    LazyLock::new(|| Sandbox::new(Settings { instances: 64, ..Settings::default() }).unwrap());

/// Counts, emits at every record and tick, and panics on a record with the attribute `bad`.
static COUNTER: LazyLock<Arc<Plugin>> = LazyLock::new(|| {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = workspace.join("target/plugins");
    let built = Guests::new(workspace, target).build(&["hilum-guest-counter"]);
    let paths = built.unwrap_or_else(|error| panic!("{error}"));
    SANDBOX.load(&std::fs::read(&paths[0]).unwrap()).unwrap()
});

/// The octets of a plugin that comes with Hilum.
pub(crate) fn bundled_component(package: &str) -> &'static [u8] {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let built = Guests::new(&workspace, workspace.join("target/plugins")).build(&[package]);
    std::fs::read(&built.unwrap_or_else(|error| panic!("{error}"))[0]).unwrap().leak()
}

pub(crate) fn sandbox() -> Sandbox {
    SANDBOX.clone()
}

pub(crate) fn flow() -> FlowName {
    "scans".parse().unwrap()
}

pub(crate) fn principal(stakeholder: &str) -> Arc<Principal> {
    Arc::new(Principal {
        id: PrincipalId::new(&format!("spiffe://st-marys/{stakeholder}")).unwrap(),
        stakeholder: stakeholder.parse().unwrap(),
        zone: "clinical".parse().unwrap(),
        roles: Vec::new(),
    })
}

pub(crate) fn policy() -> Policy {
    let grant = |stakeholder: &str| Grant {
        rule: stakeholder.into(),
        stakeholder: stakeholder.parse().unwrap(),
        roles: Vec::new(),
    };
    let rules = FlowRules {
        zone: "clinical".parse().unwrap(),
        labels: vec!["phi".parse().unwrap()],
        publishers: vec![grant("imaging")],
        subscriptions: [
            ("reading".parse().unwrap(), grant("radiology")),
            ("service".parse().unwrap(), grant("manufacturer")),
        ]
        .into(),
    };
    Policy {
        flows: [(flow(), rules.clone()), ("counts".parse().unwrap(), rules)].into(),
        conduits: std::iter::empty().collect(),
        clearances: [("radiology".parse().unwrap(), ["phi".parse().unwrap()].into())].into(),
        operators: Vec::new(),
    }
}

pub(crate) fn shared(store: &memory::Store) -> Arc<Shared> {
    Arc::new(Shared {
        log: store.log(),
        blobs: store.blobs(),
        meta: store.meta(),
        instruments: Instruments::default(),
        identity: PrincipalId::new("spiffe://st-marys/broker").unwrap(),
        chain_slots: Slots::new(2),
        clock: Clock::SYSTEM,
        memory: Memory::new(256 << 20),
        control: Control::default(),
        quarantine: Quarantines::new(u64::MAX),
        ledgers: Ledgers::default(),
        states: States::default(),
        originals: Originals::default(),
        aside: Aside::default(),
        audited: Notify::new(),
        traffic: Traffic::default(),
    })
}

pub(crate) fn context() -> ChainContext {
    ChainContext {
        flow: flow(),
        class: "imaging".into(),
        subscription: None,
        recipient: None,
        purpose: None,
        break_glass: None,
    }
}

pub(crate) fn services(shared: &Arc<Shared>) -> Arc<ChainServices> {
    Arc::new(ChainServices::new(Arc::new(Host::bare(shared.clone())), flow(), None))
}

pub(crate) fn counting() -> StageSpec {
    StageSpec {
        name: StageName::new("counter").unwrap(),
        plugin: COUNTER.clone(),
        config: serde_json::json!({}),
        grants: Grants::parse(["state", "emit:counts", "metrics"]).unwrap(),
        limits: Limits::default(),
    }
}

pub(crate) fn chain(shared: &Arc<Shared>, stages: Vec<StageSpec>) -> Arc<Chain> {
    Arc::new(Chain::load(&SANDBOX, context(), stages, services(shared)).unwrap())
}

/// Record `sequence` of one publisher.
pub(crate) fn record(sequence: u64, body: Body) -> Item {
    with_attributes(sequence, body, Vec::new())
}

/// A record that the counter panics on.
pub(crate) fn bad(sequence: u64, body: Body) -> Item {
    with_attributes(sequence, body, vec![Attribute { name: "bad".into(), value: "yes".into() }])
}

/// A record whose head is changed.
pub(crate) fn with_head(sequence: u64, change: impl FnOnce(Head) -> Head) -> Item {
    with_attributes_and(sequence, text("x"), Vec::new(), change)
}

fn with_attributes(sequence: u64, body: Body, attributes: Vec<Attribute>) -> Item {
    with_attributes_and(sequence, body, attributes, |head| head)
}

pub(crate) fn with_attributes_and(
    sequence: u64,
    body: Body,
    attributes: Vec<Attribute>,
    change: impl FnOnce(Head) -> Head,
) -> Item {
    let head = change(Head {
        time: Timestamp(0),
        expires: None,
        deliver_after: None,
        key: None,
        content_type: "text/plain".into(),
        attributes,
        labels: Vec::new(),
        trace: None,
    });
    let position = ProducerPosition { producer: producer(), sequence };
    let draft = Draft::new(flow(), head, body, Some(position)).unwrap();
    let sender = principal("imaging");
    let permit = policy().admit(&sender, &flow()).unwrap();
    Item { record: draft.attest(sender).admit(&permit).unwrap(), span: None }
}

pub(crate) fn producer() -> ProducerId {
    ProducerId([7; 16])
}

pub(crate) fn text(body: &str) -> Body {
    Body::Inline(Bytes::copy_from_slice(body.as_bytes()))
}

/// A large body that is staged.
pub(crate) async fn blob(shared: &Shared) -> BlobRef {
    let mut writer = shared.blobs.create(&LogName::Flow(flow()), &principal("imaging").id).await.unwrap();
    writer.write(Bytes::from_static(b"a large body")).await.unwrap();
    writer.finish().await.unwrap()
}

pub(crate) async fn count(shared: &Shared, log: &LogName) -> u64 {
    shared.log.bounds(log).await.unwrap().end
}

pub(crate) async fn audit(shared: &Shared) -> Vec<Event> {
    let entries = shared.log.read(&LogName::Audit, Offset(0), 1 << 20).await.unwrap();
    entries.iter().map(|entry| Event::decode(&entry.octets).unwrap()).collect()
}
