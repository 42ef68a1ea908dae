//! One configured instance of a plugin, and the calls into it. An instance that failed once is never called again.

use std::sync::Arc;

use wasmtime::component::{ComponentNamedList, InstancePre, Lift, Lower, ResourceTableError, TypedFunc};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap};

use crate::call::Call;
use crate::capability::bindings::hilum::plugin::types as raw;
use crate::capability::{Host, Place};
use crate::engine::{Room, Sandbox, Turn, with_room};
use crate::exports::{Exports, Functions, Run};
use crate::limits::{Exceeded, Limit};
use crate::plugin::brief;
use crate::run::FailureKind;

/// Why a call did not end well.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) kind: FailureKind,
    pub(crate) reason: String,
    /// The limit that the plugin ran into.
    pub(crate) limit: Option<Exceeded>,
}

/// Why an instance did not start.
pub(crate) enum StartError {
    Fault(Fault),
    Config(raw::ConfigError),
}

impl From<Fault> for StartError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// One configured instance.
pub(crate) struct Instance {
    store: Store<Host>,
    functions: Functions,
    _room: Room,
}

impl Instance {
    /// Makes an instance and configures it.
    pub(crate) fn start(
        sandbox: &Sandbox,
        pre: &InstancePre<Host>,
        place: &Arc<Place>,
        exports: &Exports,
        config: &str,
    ) -> Result<Self, StartError> {
        let full =
            || Fault::host(format!("no room for another instance beside {}", sandbox.settings().instances));
        let room = sandbox.room().ok_or_else(full)?;
        let mut store = Store::new(sandbox.engine(), Host::new(Arc::clone(place)));
        store.limiter(|host| &mut host.bounds);
        store.set_hostcall_fuel(place.limits.output_octets);
        // The deadline moves while a call gets on with a large body.
        sandbox.interrupt(&mut store, |host| {
            host.call.left()?;
            Ok(host.call.got_on())
        });
        let _turn = Turn::begin();
        let instantiated = with_room(place.limits.stack_octets, || pre.instantiate(&mut store));
        let instance = instantiated.map_err(|error| fault(&error, store.data()))?;
        let functions = Functions::of(&mut store, &instance, exports);
        let functions = functions.map_err(|error| Fault::output(brief(&error)))?;
        let mut started = Self { store, functions, _room: room };
        let configure = started.functions.configure;
        let (configured,) = started.guarded(configure, Call::start(&place.limits), (config,))?;
        configured.map_err(StartError::Config)?;
        Ok(started)
    }

    /// What the plugin says of itself with its configuration.
    pub(crate) fn describe(&mut self) -> Result<raw::Description, Fault> {
        let (describe, call) = (self.functions.describe, Call::start(&self.host().place.limits));
        Ok(self.guarded(describe, call, ())?.0)
    }

    /// The world's function, for [`Instance::run`].
    pub(crate) fn function(&self) -> Run {
        self.functions.run
    }

    /// Runs the world's function on bodies of this many octets. Afterwards [`Instance::host_mut`] has what the call did.
    pub(crate) fn run<P, R>(&mut self, func: TypedFunc<P, R>, octets: u64, params: P) -> Result<R, Fault>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let call = Call::on(&self.host().place.limits, octets);
        self.guarded(func, call, params)
    }

    /// Tells an `observe` plugin the time.
    pub(crate) fn tick(&mut self, now: u64) -> Result<(), Fault> {
        let Some(tick) = self.functions.tick else { return Ok(()) };
        let call = Call::on(&self.host().place.limits, 0);
        self.guarded(tick, call, (now,))
    }

    /// What the store holds.
    pub(crate) fn host(&self) -> &Host {
        self.store.data()
    }

    /// What the store holds.
    pub(crate) fn host_mut(&mut self) -> &mut Host {
        self.store.data_mut()
    }

    /// Whether the plugin let go of all readers and writers. One that did not is not used again.
    pub(crate) fn is_clean(&self) -> bool {
        self.host().table.is_empty()
    }

    fn guarded<P, R>(&mut self, func: TypedFunc<P, R>, call: Call, params: P) -> Result<R, Fault>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let host = self.store.data_mut();
        host.call = call;
        host.bounds.refused = None;
        let stack_octets = host.place.limits.stack_octets;
        self.store.set_epoch_deadline(1);
        let _turn = Turn::begin();
        let called = with_room(stack_octets, || func.call(&mut self.store, params));
        called.map_err(|error| fault(&error, self.store.data()))
    }
}

impl Fault {
    /// The plugin gave what the world does not allow.
    pub(crate) fn output(reason: String) -> Self {
        Self { kind: FailureKind::Output, reason, limit: None }
    }

    /// The broker could not do its part.
    pub(crate) fn host(reason: String) -> Self {
        Self { kind: FailureKind::Host, reason, limit: None }
    }
}

impl From<Exceeded> for Fault {
    fn from(over: Exceeded) -> Self {
        let max = over.max;
        let (kind, what) = match over.limit {
            Limit::Time | Limit::StartTime => (FailureKind::Time, "ran over its time limit"),
            Limit::Stack => (FailureKind::Stack, "ran out of stack"),
            Limit::Memory => (FailureKind::Memory, "ran over its memory limit"),
            Limit::TableElements | Limit::Tables | Limit::CoreInstances => {
                (FailureKind::Memory, "has more or larger tables or modules than the stage allows")
            }
            Limit::HostCalls => (FailureKind::HostCalls, "called the host too often"),
            Limit::HostOctets => (FailureKind::HostCalls, "moved too much through host calls"),
            Limit::Handles => (FailureKind::HostCalls, "held too many readers and writers"),
            _ => (FailureKind::Output, "handed out too much at once"),
        };
        let reason = format!("the plugin {what}: `{}` is {max}", over.limit);
        Self { kind, reason, limit: Some(over) }
    }
}

/// What an error of the engine means. Its text is the engine's own and holds no octet of a record.
fn fault(error: &wasmtime::Error, host: &Host) -> Fault {
    if let Some(error) = &host.call.fault {
        return Fault::host(error.to_string());
    }
    if let Some(full) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return Fault::host(format!("no room for another instance: {full}"));
    }
    if let Some(over) = exceeded(error, host) {
        return over.into();
    }
    let reason = match error.downcast_ref::<Trap>() {
        Some(trap) => host.call.panic.clone().unwrap_or_else(|| format!("the plugin trapped: {trap}")),
        None => format!("the plugin trapped: {}", brief(error)),
    };
    Fault { kind: FailureKind::Trap, reason, limit: None }
}

/// The limit that was the cause of an error. Some the engine tells in words only.
fn exceeded(error: &wasmtime::Error, host: &Host) -> Option<Exceeded> {
    let limits = &host.place.limits;
    let of = |limit, max: usize| Some(Exceeded { limit, max: max as u64 });
    if let Some(over) = error.downcast_ref::<Exceeded>() {
        return Some(*over);
    }
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) {
        return of(Limit::Handles, limits.handles);
    }
    if matches!(error.downcast_ref(), Some(Trap::StackOverflow)) {
        return of(Limit::Stack, limits.stack_octets);
    }
    let text = error.root_cause().to_string();
    if text.contains("fuel allocated for hostcalls") {
        return of(Limit::Output, limits.output_octets);
    }
    if text.contains("instance count too high") {
        return of(Limit::CoreInstances, limits.core_instances);
    }
    if text.contains("table count too high") {
        return of(Limit::Tables, limits.tables);
    }
    host.bounds.refused
}
