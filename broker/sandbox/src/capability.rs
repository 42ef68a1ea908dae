//! What a stage may ask of the broker: one module a host interface. [`Host`] is what an instance's store holds.

use std::sync::Arc;

use hilum_core::{FlowName, PrincipalId, ReasonCode, StageName};
use parking_lot::Mutex;
use wasmtime::component::{HasSelf, Linker, ResourceTable};

use crate::call::{Bounds, Call, HostCalls};
use crate::grants::Grants;
use crate::limits::Limits;
use crate::services::{ServiceError, Services, StageOf};
use crate::trace::GuestSpans;

mod body;
mod clock;
mod emit;
mod keys;
mod log;
mod metrics;
mod observed;
mod state;
mod stated;
mod timing;
mod trace;

pub(crate) use body::settle;
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use body::{Reader, Writer};
pub(crate) use state::{Counted, Overlay};
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
                import hilum:plugin/timing@1.1.0;
            }
        ",
        world: "hilum:sandbox/host",
        imports: { default: trappable },
        with: {
            "hilum:plugin/types.body-reader": super::Reader,
            "hilum:plugin/types.body-writer": super::Writer,
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
    /// What all instances have logged lately.
    pub(crate) lines: Mutex<log::Lines>,
    /// The metrics that they named.
    pub(crate) metrics: Mutex<metrics::Names>,
    /// What the plugin calls its spans and their values.
    pub(crate) names: trace::Names,
}

impl Place {
    /// The stage and its plugin, for whoever has to look after them.
    pub(crate) fn stage_of(&self) -> StageOf<'_> {
        StageOf { flow: &self.flow, stage: &self.stage, plugin: &self.plugin, version: &self.version }
    }
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
    /// Why the reader of this call's records breaks the glass, if it stated that.
    pub(crate) break_glass: Option<ReasonCode>,
    /// Messages of this call whose time may be set: none but in a call that transforms.
    pub(crate) messages: usize,
}

impl Host {
    pub(crate) fn new(place: Arc<Place>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(place.limits.handles);
        let bounds = Bounds::new(&place.limits);
        let call = Call::start(&place.limits);
        Self {
            place,
            table,
            bounds,
            call,
            calls: 0,
            spans: None,
            source: None,
            break_glass: None,
            messages: 0,
        }
    }

    /// Begins a call whose spans these are.
    pub(crate) fn trace(&mut self, spans: Option<GuestSpans>) {
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

impl HostCalls for Host {
    fn enter(&mut self, octets: usize) -> wasmtime::Result<()> {
        Ok(self.call.enter(octets)?)
    }
}

/// Defines the interfaces of `hilum:plugin`. An interface that a stage was not granted is checked before.
pub(crate) fn link(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    use bindings::hilum::plugin::{
        emit, keys, log, metrics, observed, random, state, stated, time, timing, trace, types,
    };
    types::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    log::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    metrics::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    keys::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    time::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    random::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    state::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    trace::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    observed::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    stated::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    timing::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)?;
    emit::add_to_linker::<_, HasSelf<Host>>(linker, |host| host)
}
