//! The plugin that observes two flows in some of the runs, and what must hold of it: it has counted each stored record once, in order,
//! and each count that it emits is stored once where it goes, whatever befell the broker in between.

use std::path::{Path, PathBuf};

use hilum_core::record::{Body, Stored};
use hilum_core::state::State;
use hilum_core::{FlowName, StageName};
use hilum_plugin_build::{Guests, TARGET};
use hilum_sandbox::{Plugin, Sandbox, Settings};

use super::history::History;

/// The package of the plugin.
const PACKAGE: &str = "hilum-guest-tally";
/// Where it emits to.
pub(super) const TALLIES: &str = "tallies";
/// It emits at each record whose number is a multiple of this.
const EVERY: u64 = 4;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn target() -> PathBuf {
    workspace().join("target/plugins")
}

/// Compiles the plugin to a component.
pub(super) fn build() {
    let built = Guests::new(workspace(), target()).build(&[PACKAGE]);
    built.unwrap_or_else(|error| panic!("{error}"));
}

/// The component, where [`build`] has left it.
pub(super) fn component() -> PathBuf {
    target().join(TARGET).join("release").join(PACKAGE.replace('-', "_")).with_extension("wasm")
}

/// The sandbox of a run, in which the plugin is compiled once for all lives of the broker.
pub(super) struct Compiled {
    pub(super) sandbox: Sandbox,
    _plugin: std::sync::Arc<Plugin>,
}

impl Compiled {
    pub(super) fn new() -> Self {
        // No clock interrupts a plugin: how long it takes is decided by no seed. And brokers that are gone keep their instances.
        let settings =
            Settings { instances: 64, tick: std::time::Duration::from_secs(3600), ..Settings::default() };
        let sandbox = Sandbox::new(settings).expect("this machine has a sandbox");
        let octets = std::fs::read(component()).expect("the plugin is compiled: see `prepare`");
        let plugin = sandbox.load(&octets).expect("it is a plugin");
        Self { sandbox, _plugin: plugin }
    }
}

/// What is expected of the plugin after so many records: it has seen them all, with this checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    count: u64,
    sum: u64,
}

/// The stage that observes a flow.
pub(super) fn stage(flow: &FlowName) -> StageName {
    format!("tally-{flow}").parse().expect("it is a name")
}

/// Holds what a flow's stage keeps, and what it emitted, against the flow's records.
pub(super) fn check(
    history: &History,
    flow: &FlowName,
    records: &[Stored],
    kept: &State,
    tallies: &[Stored],
) {
    let expected = expected(records);
    let all = expected.last().copied().unwrap_or(Seen { count: 0, sum: 0 });
    let number = |key: &str, at: usize| {
        let octets =
            kept.value(&stage(flow), key).and_then(|value| value.octets.get(at..at + 8)?.try_into().ok());
        octets.map_or(0, u64::from_be_bytes)
    };
    let seen = Seen { count: number("seen", 0), sum: number("seen", 8) };
    if seen != all {
        history.violation(format_args!("{flow}: its plugin has counted {seen:?} of {all:?}"));
    }
    let ticked = number("ticked", 0);
    if ticked > all.count {
        history.violation(format_args!("{flow}: at a tick its plugin had counted {ticked} of {}", all.count));
    }
    let from = format!("spiffe://sim/plugin/{}", stage(flow));
    let emitted: Vec<String> =
        tallies.iter().filter(|it| it.envelope().principal.id.as_str() == from).map(text).collect();
    let due = expected.iter().filter(|seen| seen.count.is_multiple_of(EVERY));
    let due: Vec<String> = due.map(|seen| format!("{} {}", seen.count, seen.sum)).collect();
    if emitted != due {
        history.violation(format_args!(
            "{flow}: its plugin emitted {emitted:?}, and should have emitted {due:?}"
        ));
    }
}

/// What the plugin has seen after each record.
fn expected(records: &[Stored]) -> Vec<Seen> {
    let mut seen = Seen { count: 0, sum: 0 };
    let next = |record: &Stored| {
        let Body::Inline(body) = &record.envelope().body else { return seen };
        seen.count += 1;
        seen.sum =
            body.iter().fold(seen.sum, |sum, octet| sum.wrapping_mul(31).wrapping_add(u64::from(*octet)));
        seen
    };
    records.iter().map(next).collect()
}

fn text(record: &Stored) -> String {
    let Body::Inline(body) = &record.envelope().body else { return "a large body".to_owned() };
    String::from_utf8_lossy(body).into_owned()
}
