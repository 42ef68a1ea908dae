//! One configured instance of a plugin, and the calls into it. An instance that failed once is never called again.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{ComponentNamedList, Func, InstancePre, Lift, Lower};
use wasmtime::{Store, Trap};

use crate::capability::bindings::hilum::plugin::types as raw;
use crate::capability::{Call, Host, Place};
use crate::engine::Sandbox;
use crate::plugin::brief;
use crate::run::FailureKind;

/// Why a call did not end well.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) kind: FailureKind,
    pub(crate) reason: String,
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

/// The functions of the world that the plugin exports besides `describe` and `configure`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exports {
    pub(crate) interface: &'static str,
    pub(crate) run: &'static str,
    pub(crate) tick: Option<&'static str>,
}

/// One configured instance.
pub(crate) struct Instance {
    store: Store<Host>,
    sandbox: Sandbox,
    run: Func,
    tick: Option<Func>,
    describe: Func,
}

impl Instance {
    /// Makes an instance and configures it.
    pub(crate) fn start(
        sandbox: &Sandbox,
        pre: &InstancePre<Host>,
        place: &Arc<Place>,
        exports: Exports,
        config: &str,
    ) -> Result<Self, StartError> {
        let mut store = Store::new(sandbox.engine(), Host::new(Arc::clone(place)));
        store.limiter(|host| &mut host.bounds);
        store.set_hostcall_fuel(place.limits.output_octets);
        store.set_epoch_deadline(sandbox.ticks(place.limits.start_time));
        let failed = |error: &wasmtime::Error, store: &Store<Host>| fault(error, store.data());
        let instance = pre.instantiate(&mut store).map_err(|error| failed(&error, &store))?;
        let mut find = |interface: &str, name: &str| {
            let interface = instance.get_export_index(&mut store, None, interface)?;
            let index = instance.get_export_index(&mut store, Some(&interface), name)?;
            instance.get_func(&mut store, index)
        };
        let plugin = "hilum:plugin/plugin@1.0.0";
        let (describe, configure) = (find(plugin, "describe"), find(plugin, "configure"));
        let run = find(exports.interface, exports.run);
        let tick = exports.tick.and_then(|tick| find(exports.interface, tick));
        let (Some(describe), Some(configure), Some(run)) = (describe, configure, run) else {
            let reason = format!("the component lacks a function of `{}`", exports.interface);
            return Err(Fault { kind: FailureKind::Output, reason }.into());
        };
        let mut started = Self { store, sandbox: sandbox.clone(), run, tick, describe };
        let time = place.limits.start_time;
        type Configured = (Result<(), raw::ConfigError>,);
        let (configured,) = started.guarded::<_, Configured>(configure, time, 0, (config,))?;
        configured.map_err(StartError::Config)?;
        Ok(started)
    }

    /// What the plugin says of itself with its configuration.
    pub(crate) fn describe(&mut self) -> Result<raw::Description, Fault> {
        let time = self.host().place.limits.start_time;
        Ok(self.guarded::<_, (raw::Description,)>(self.describe, time, 0, ())?.0)
    }

    /// Runs the world's function on bodies of this many octets. Afterwards [`Instance::host`] has what the call did.
    pub(crate) fn run<P, R>(&mut self, octets: u64, params: P) -> Result<R, Fault>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let limits = &self.host().place.limits;
        let (time, written_max) = (limits.time_for(octets), limits.written_for(octets));
        self.guarded(self.run, time, written_max, params)
    }

    /// Tells an `observe` plugin the time.
    pub(crate) fn tick(&mut self, now: u64) -> Result<(), Fault> {
        let Some(tick) = self.tick else { return Ok(()) };
        let time = self.host().place.limits.time;
        self.guarded::<_, ()>(tick, time, 0, (now,))
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

    fn guarded<P, R>(&mut self, func: Func, time: Duration, written_max: u64, params: P) -> Result<R, Fault>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        self.store.data_mut().call = Call::new(time, written_max);
        self.store.set_epoch_deadline(self.sandbox.ticks(time));
        let result = func.typed::<P, R>(&self.store).and_then(|func| func.call(&mut self.store, params));
        result.map_err(|error| fault(&error, self.store.data()))
    }
}

/// What an error of the engine means. Its text is the engine's own and holds no octet of a record.
fn fault(error: &wasmtime::Error, host: &Host) -> Fault {
    let limits = &host.place.limits;
    let (kind, reason) = match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => (FailureKind::Time, "the plugin ran over its time limit".to_owned()),
        Some(Trap::StackOverflow) => (FailureKind::Trap, "the plugin ran out of stack".to_owned()),
        _ if host.bounds.refused => {
            let octets = limits.memory_octets;
            (FailureKind::Memory, format!("the plugin ran over its memory limit of {octets} octets"))
        }
        Some(trap) => match &host.call.panic {
            Some(place) => (FailureKind::Trap, place.clone()),
            None => (FailureKind::Trap, format!("the plugin trapped: {trap}")),
        },
        None if brief(error).contains("fuel allocated for hostcalls") => (
            FailureKind::Output,
            format!("the plugin handed out more than {} octets at once", limits.output_octets),
        ),
        None => (FailureKind::Trap, format!("the plugin trapped: {}", brief(error))),
    };
    match &host.call.fault {
        Some(error) => Fault { kind: FailureKind::Host, reason: error.to_string() },
        None => Fault { kind, reason },
    }
}
