//! What a stage may ask of the broker: one module a host interface. [`Host`] is what an instance's store holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hilum_core::cose::Sealer;
use hilum_core::record::BlobRef;
use hilum_core::{FlowName, PrincipalId, StageName};
use wasmtime::ResourceLimiter;
use wasmtime::component::{HasSelf, Linker, ResourceTable};

use crate::grants::Grants;
use crate::limits::Limits;
use crate::run::Emission;
use crate::services::{ServiceError, Services};
use crate::trace::GuestSpans;

mod body;
mod clock;
mod emit;
mod keys;
mod log;
mod metrics;
mod state;
mod trace;

#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use body::Reader;
pub(crate) use body::settle;
pub(crate) use state::Overlay;
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use trace::GuestSpan;

/// The interfaces of `hilum:plugin` that the host implements.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
pub(crate) mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/v1",
        inline: "
            package hilum:sandbox;
            world host {
                include hilum:plugin/capabilities@1.1.0;
                import hilum:plugin/state@1.1.0;
                import hilum:plugin/emit@1.1.0;
            }
        ",
        world: "hilum:sandbox/host",
        imports: { default: trappable },
        with: {
            "hilum:plugin/types.body-reader": super::Reader,
            "hilum:plugin/types.body-writer": super::body::Writer,
            "hilum:plugin/trace.span": super::GuestSpan,
        },
    });
}

/// Where an instance works and what it may do there; the same for all instances of a stage.
pub(crate) struct Place {
    pub(crate) flow: FlowName,
    pub(crate) stage: StageName,
    pub(crate) plugin: String,
    pub(crate) version: String,
    pub(crate) grants: Grants,
    pub(crate) limits: Limits,
    pub(crate) services: Arc<dyn Services>,
    /// What the plugin calls its spans and their values.
    pub(crate) names: trace::Names,
}

/// What the store of an instance holds.
pub(crate) struct Host {
    pub(crate) place: Arc<Place>,
    pub(crate) table: ResourceTable,
    pub(crate) bounds: Bounds,
    pub(crate) call: Call,
    /// How many calls there were.
    pub(crate) calls: u64,
    /// The spans of the call; none where no record of it is traced.
    pub(crate) spans: Option<GuestSpans>,
    /// Whose records the call is about; none before the first one.
    pub(crate) source: Option<PrincipalId>,
}

/// What is counted and kept during one call. A call that fails takes all of it along.
pub(crate) struct Call {
    deadline: Instant,
    written: u64,
    written_max: u64,
    log_lines: u32,
    emitted_octets: usize,
    /// Records to be published.
    pub(crate) emitted: Vec<Emission>,
    /// Keyed state as the call sees it.
    pub(crate) state: BTreeMap<String, Overlay>,
    /// How much of it there is, and how much of that the call has set; none before the call changes any.
    state_usage: Option<state::Counted>,
    /// Large bodies that were finished.
    pub(crate) made: Vec<BlobRef>,
    /// Key agreements with groups of recipients, by their names: a batch needs one for each, and the next batch new ones.
    sealers: Vec<(Vec<String>, Sealer)>,
    /// The place of a panic, as the guest's SDK reports it.
    pub(crate) panic: Option<String>,
    /// A service that failed under the call.
    pub(crate) fault: Option<ServiceError>,
}

impl Call {
    /// A call that may take this time and write this much to large bodies.
    pub(crate) fn new(time: Duration, written_max: u64) -> Self {
        Self {
            deadline: Instant::now() + time,
            written: 0,
            written_max,
            log_lines: 0,
            emitted_octets: 0,
            emitted: Vec::new(),
            state: BTreeMap::new(),
            state_usage: None,
            made: Vec::new(),
            sealers: Vec::new(),
            panic: None,
            fault: None,
        }
    }

    /// Whether the wall clock has run out. Checked by host functions that work long.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.deadline
    }
}

impl Host {
    pub(crate) fn new(place: Arc<Place>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(place.limits.handles);
        let bounds = Bounds {
            memory_octets: place.limits.memory_octets,
            table_elements: place.limits.table_elements,
            refused: false,
        };
        let call = Call::new(place.limits.start_time, 0);
        Self { place, table, bounds, call, calls: 0, spans: None, source: None }
    }

    /// Begins a call whose spans these are.
    pub(crate) fn enter(&mut self, spans: Option<GuestSpans>) {
        self.calls += 1;
        self.spans = spans;
    }

    /// Keeps a service's failure as the true cause of whatever the plugin makes of it.
    fn fault(&mut self, error: ServiceError) -> String {
        let text = error.to_string();
        self.call.fault.get_or_insert(error);
        text
    }
}

/// Defines the interfaces of `hilum:plugin`. An interface that a stage was not granted is checked before.
pub(crate) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    use bindings::hilum::plugin::{emit, keys, log, metrics, random, state, time, trace, types};
    types::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    log::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    metrics::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    keys::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    time::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    random::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    state::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    trace::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    emit::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)
}

/// The bounds of an instance's memory and tables. Remembers a refusal, so that the trap after it is known for what it is.
pub(crate) struct Bounds {
    memory_octets: usize,
    table_elements: usize,
    pub(crate) refused: bool,
}

impl ResourceLimiter for Bounds {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.refused |= desired > self.memory_octets;
        Ok(desired <= self.memory_octets)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.refused |= desired > self.table_elements;
        Ok(desired <= self.table_elements)
    }
}
