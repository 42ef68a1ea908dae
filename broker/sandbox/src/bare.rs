//! A plugin with nothing around it: what an engine alone takes for a call, on the same component, settings and types. Nothing is limited, counted,
//! reported or sealed here. `hilum bench plugin` compares chains with it.

use std::sync::Arc;

use hilum_core::Principal;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{InstancePre, Linker, LinkerInstance, Resource, ResourceType};
use wasmtime::{Result, Store};

use crate::call::Describing;
use crate::capability::{Reader, Writer};
use crate::engine::Sandbox;
use crate::exports::{Exports, Functions, Run};
use crate::limits::Limits;
use crate::plugin::{Plugin, brief};
use crate::run::Input;
use crate::{guest, wasi};

/// A linked plugin.
pub struct Bare {
    sandbox: Sandbox,
    pre: InstancePre<Describing>,
    exports: Exports,
}

/// An instance of it.
pub struct BareInstance {
    store: Store<Describing>,
    functions: Functions,
}

impl Bare {
    /// Links a plugin; what it imports is there, and traps.
    ///
    /// # Errors
    ///
    /// The engine's words.
    pub fn link(sandbox: &Sandbox, plugin: &Arc<Plugin>) -> std::result::Result<Self, String> {
        let linked = || -> Result<InstancePre<Describing>> {
            let mut linker = Linker::new(sandbox.engine());
            wasi::link(&mut linker, &plugin.component, sandbox.hash_seed())?;
            let ty = plugin.component.component_type();
            for (name, import) in ty.imports(sandbox.engine()).filter(|(name, _)| name.starts_with("hilum:"))
            {
                let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
                let mut instance = linker.instance(name)?;
                for (item, export) in interface.exports(sandbox.engine()) {
                    define(&mut instance, item, &export.ty)?;
                }
            }
            linker.instantiate_pre(&plugin.component)
        };
        let exports = Exports::find(&plugin.component, plugin.world())?;
        Ok(Self { sandbox: sandbox.clone(), pre: linked().map_err(|error| brief(&error))?, exports })
    }

    /// Makes an instance, and does not configure it.
    ///
    /// # Errors
    ///
    /// The engine's words.
    pub fn instance(&self) -> std::result::Result<BareInstance, String> {
        let made = || -> Result<BareInstance> {
            let mut store = Store::new(self.sandbox.engine(), Describing::new(&Limits::default()));
            store.set_epoch_deadline(u64::MAX / 2);
            let instance = self.pre.instantiate(&mut store)?;
            let functions = Functions::of(&mut store, &instance, &self.exports)?;
            Ok(BareInstance { store, functions })
        };
        made().map_err(|error| brief(&error))
    }
}

impl BareInstance {
    /// Configures it, which has to be done once before it is called.
    ///
    /// # Errors
    ///
    /// The engine's words, or the plugin's.
    pub fn configure(&mut self, config: &str) -> std::result::Result<(), String> {
        let configured = self.functions.configure.call(&mut self.store, (config,));
        configured.map_err(|error| brief(&error))?.0.map_err(|error| error.reason)
    }

    /// Calls it on records of one source with inline bodies; gives the number of its answers.
    ///
    /// # Errors
    ///
    /// The engine's words.
    pub fn call(&mut self, records: &[Input]) -> std::result::Result<usize, String> {
        let Some(first) = records.first() else { return Ok(0) };
        let of = context(&first.source);
        let heads = records.iter().map(|record| guest::Head::new(&record.head, record.offset));
        let answers = match self.functions.run {
            Run::Authorize(decide) => {
                let request = |(head, record): (_, &Input)| guest::Request {
                    head,
                    size: record.body.body().size(),
                    body: Resource::new_own(0),
                };
                let requests = heads.zip(records).map(request).collect();
                decide.call(&mut self.store, (of, requests)).map(|(decisions,)| decisions.len())
            }
            Run::Transform(transform) => transform
                .call(&mut self.store, (of, messages(heads, records)))
                .map(|(outcomes,)| outcomes.len()),
            Run::Observe(observe) => {
                observe.call(&mut self.store, (of, messages(heads, records))).map(|()| records.len())
            }
        };
        answers.map_err(|error| brief(&error))
    }
}

fn messages<'a>(
    heads: impl Iterator<Item = guest::Head<'a>>,
    records: &'a [Input],
) -> Vec<guest::Message<'a>> {
    let body = |record: &'a Input| match record.body.body() {
        hilum_core::Body::Inline(octets) => guest::Body::Inline(octets),
        hilum_core::Body::Blob(_) => guest::Body::Inline(&[]),
    };
    heads.zip(records).map(|(head, record)| guest::Message { head, body: body(record) }).collect()
}

fn context(source: &Principal) -> guest::Context<'_> {
    guest::Context {
        flow: "bench",
        class: "bench",
        stage: "plugin",
        phase: guest::Phase::Ingress,
        recipient: None,
        purpose: None,
        source: source.into(),
    }
}

fn define(instance: &mut LinkerInstance<'_, Describing>, item: &str, ty: &ComponentItem) -> Result<()> {
    match ty {
        ComponentItem::ComponentFunc(_) => {
            instance.func_new(item, |_, _, _, _| Err(wasmtime::Error::msg("it is not there")))
        }
        ComponentItem::Resource(_) if item == "body-reader" => {
            instance.resource(item, ResourceType::host::<Reader>(), |_, _| Ok(()))
        }
        ComponentItem::Resource(_) => instance.resource(item, ResourceType::host::<Writer>(), |_, _| Ok(())),
        _ => Ok(()),
    }
}
