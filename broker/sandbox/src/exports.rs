//! The functions that a plugin exports: found once in the component, typed once for each instance.

use hilum_core::chain::World;
use wasmtime::component::{Component, ComponentExportIndex, Instance, TypedFunc};
use wasmtime::{Result, Store};

use crate::capability::bindings::hilum::plugin::types as raw;
use crate::guest::{Context, Decision, Message, Outcome, Request};

/// What every plugin exports.
const PLUGIN: &str = "hilum:plugin/plugin@1.0.0";

/// The parameters live as long as a call: what is borrowed here for ever may be borrowed for less.
type Transform = TypedFunc<(Context<'static>, Vec<Message<'static>>), (Vec<Outcome>,)>;
type Decide = TypedFunc<(Context<'static>, Vec<Request<'static>>), (Vec<Decision>,)>;
type Observe = TypedFunc<(Context<'static>, Vec<Message<'static>>), ()>;
type Configure = TypedFunc<(&'static str,), (std::result::Result<(), raw::ConfigError>,)>;

/// Where a component's functions are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exports {
    world: World,
    describe: ComponentExportIndex,
    configure: ComponentExportIndex,
    run: ComponentExportIndex,
    tick: Option<ComponentExportIndex>,
}

impl Exports {
    /// Finds them; says what is missing.
    pub(crate) fn find(component: &Component, world: World) -> std::result::Result<Self, String> {
        let (interface, run, tick) = match world {
            World::Transform => ("hilum:plugin/transformer@1.0.0", "transform", None),
            World::Authorize => ("hilum:plugin/authorizer@1.0.0", "decide", None),
            World::Observe => ("hilum:plugin/observer@1.0.0", "observe", Some("tick")),
        };
        let find = |interface: &str, name: &str| {
            let within = component.get_export_index(None, interface);
            let index = within.and_then(|within| component.get_export_index(Some(&within), name));
            index.ok_or_else(|| format!("the component lacks the function `{name}` of `{interface}`"))
        };
        Ok(Self {
            world,
            describe: find(PLUGIN, "describe")?,
            configure: find(PLUGIN, "configure")?,
            run: find(interface, run)?,
            tick: tick.map(|tick| find(interface, tick)).transpose()?,
        })
    }

    /// Whether there is one to be told the time.
    pub(crate) fn ticks(&self) -> bool {
        self.tick.is_some()
    }
}

/// The functions of one instance.
pub(crate) struct Functions {
    pub(crate) describe: TypedFunc<(), (raw::Description,)>,
    pub(crate) configure: Configure,
    pub(crate) tick: Option<TypedFunc<(u64,), ()>>,
    pub(crate) run: Run,
}

/// The world's own function.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    Transform(Transform),
    Authorize(Decide),
    Observe(Observe),
}

impl Functions {
    /// Looks at the type of each once, so that calls need not.
    pub(crate) fn of<T: 'static>(
        store: &mut Store<T>,
        instance: &Instance,
        exports: &Exports,
    ) -> Result<Self> {
        let run = match exports.world {
            World::Transform => Run::Transform(instance.get_typed_func(&mut *store, exports.run)?),
            World::Authorize => Run::Authorize(instance.get_typed_func(&mut *store, exports.run)?),
            World::Observe => Run::Observe(instance.get_typed_func(&mut *store, exports.run)?),
        };
        let tick = exports.tick.map(|tick| instance.get_typed_func(&mut *store, tick)).transpose()?;
        Ok(Self {
            describe: instance.get_typed_func(&mut *store, exports.describe)?,
            configure: instance.get_typed_func(&mut *store, exports.configure)?,
            tick,
            run,
        })
    }
}
