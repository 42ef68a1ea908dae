//! What a component is: its world, what it imports, and what it says of itself.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use hilum_core::chain::World;
use hilum_core::{Digest, Label};
use parking_lot::Mutex;
use wasmtime::component::types::{Component as ComponentType, ComponentExtern, ComponentItem};
use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store, Trap};

use crate::cache;
use crate::call::Describing;
use crate::capability::bindings::hilum::plugin::types as raw;
use crate::contract::{self, Lacking, VERSION};
use crate::engine::{Sandbox, Turn, with_room};
use crate::grants::Grants;
use crate::limits::{COMPONENT_OCTETS_MAX, Limits, SCHEMA_OCTETS_MAX};
use crate::schema::Schema;
use crate::shape;
use crate::wasi;

/// Octets of a description: a schema, and a little more.
const DESCRIPTION_OCTETS_MAX: usize = 2 * SCHEMA_OCTETS_MAX;
/// Labels that a plugin may say it removes, and content types that it may name.
const DESCRIBED_MAX: usize = 64;
/// Octets of one of them.
const DESCRIBED_OCTETS_MAX: usize = 256;
/// Wall clock of `describe`, with the instance that is made for it.
const DESCRIBE_TIME: Duration = Duration::from_secs(1);

/// Why octets are not a plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// Larger than any component that is accepted.
    #[error("the component has {0} octets, at most {COMPONENT_OCTETS_MAX} are loaded")]
    TooLarge(usize),
    /// More to compile than any component that is accepted.
    #[error("the component is more than is compiled: {0}")]
    TooComplex(String),
    /// No WebAssembly at all.
    #[error("this is not a WebAssembly component: it does not start with `\\0asm`")]
    NotWasm,
    /// A core module.
    #[error(
        "this is a WebAssembly core module, not a component: compile the plugin for `wasm32-wasip2` with crate-type \
         `cdylib`"
    )]
    CoreModule,
    /// A component that the engine does not accept.
    #[error("the component does not compile: {0}")]
    Invalid(String),
    /// It exports the interfaces of no world, or those of several.
    #[error(
        "the component is of none of the worlds `transform`, `authorize` and `observe` of hilum:plugin: {0}; export it with \
         `hilum_plugin::export_transform!` or one of its siblings"
    )]
    World(String),
    /// It was built for a version of the package that this build does not have, and needs something of it.
    #[error(
        "the plugin needs hilum:plugin {}.{}, and this build of Hilum has {}.{} ({_0}): {}",
        _0.version.0, _0.version.1, VERSION.0, VERSION.1, contract::advice(_0)
    )]
    Version(Lacking),
    /// It needs something that no version of the package up to this one has.
    #[error(
        "the plugin was built for no version of hilum:plugin: {0}, which there is not; build it with the SDK of this release of Hilum"
    )]
    Foreign(Lacking),
    /// It imports something that can be granted to no stage.
    #[error(
        "the component imports `{0}`, which no plugin gets: there are no files, no sockets and no HTTP; leave out the code that \
         uses them (in Python: `componentize-py componentize --stub-wasi`)"
    )]
    Import(String),
    /// `describe` failed, or what it said is no description.
    #[error("the plugin does not describe itself: {0}")]
    Description(String),
}

/// What a plugin says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The plugin's own name.
    pub name: String,
    /// Its semantic version.
    pub version: String,
    /// JSON Schema of its configuration.
    pub config_schema: serde_json::Value,
    /// Labels that records no longer carry after it.
    pub removes: Vec<Label>,
    /// Content types that it understands; empty for any.
    pub content_types: Vec<String>,
}

impl Description {
    pub(crate) fn checked(of: raw::Description) -> Result<(Self, Schema), LoadError> {
        let raw::Description { name, version, config_schema, removes, content_types } = of;
        let fault = |reason: String| Err(LoadError::Description(reason));
        if !(1..=64).contains(&name.len()) || !(1..=64).contains(&version.len()) {
            return fault("its name and version need 1 to 64 octets each".into());
        }
        if config_schema.len() > SCHEMA_OCTETS_MAX {
            return fault(format!("its configuration schema has more than {SCHEMA_OCTETS_MAX} octets"));
        }
        for named in [&removes, &content_types] {
            if named.len() > DESCRIBED_MAX || named.iter().any(|name| name.len() > DESCRIBED_OCTETS_MAX) {
                return fault(format!(
                    "it may name {DESCRIBED_MAX} labels and {DESCRIBED_MAX} content types of {DESCRIBED_OCTETS_MAX} octets each"
                ));
            }
        }
        let schema = Schema::compile(&config_schema).map_err(LoadError::Description)?;
        let labels = removes.iter().map(|label| Label::new(label)).collect::<Result<Vec<_>, _>>();
        let removes = labels.map_err(|error| LoadError::Description(error.to_string()))?;
        Ok((Self { name, version, config_schema: schema.document().clone(), removes, content_types }, schema))
    }
}

/// An interface that a component imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// As in the component, e.g. `hilum:plugin/keys@1.0.0`.
    pub name: String,
    /// The interface's own name where it is one of `hilum:plugin`.
    pub interface: Option<String>,
}

/// A compiled component of one of the worlds. It does nothing until it is a stage of a chain.
pub struct Plugin {
    pub(crate) component: Component,
    /// The same for engines with other stacks.
    for_stacks: Mutex<BTreeMap<usize, Component>>,
    pub(crate) schema: Schema,
    digest: Digest,
    world: World,
    description: Description,
    imports: Vec<Import>,
    exports: Vec<String>,
    wit_version: String,
}

impl Plugin {
    pub(crate) fn load(sandbox: &Sandbox, digest: Digest, octets: &[u8]) -> Result<Self, LoadError> {
        check_header(octets)?;
        let invalid = |error: wasmtime::Error| LoadError::Invalid(brief(&error));
        shape::check(octets).map_err(LoadError::TooComplex)?;
        let component = sandbox.compile(digest, octets).map_err(invalid)?;
        let ty = component.component_type();
        let world = world(sandbox, &ty)?;
        let imports = imports(sandbox, &ty)?;
        let exports = ty.exports(sandbox.engine()).map(|(name, _)| name.to_owned()).collect();
        let (description, schema) = describe(sandbox, &component)?;
        let wit_version = wit_version(sandbox, &ty);
        let for_stacks = Mutex::default();
        Ok(Self { digest, component, for_stacks, schema, world, description, imports, exports, wit_version })
    }

    /// The component for a sandbox like the one that it was loaded in, with stacks of so many octets.
    pub(crate) fn component_in(&self, sandbox: &Sandbox, octets: usize) -> wasmtime::Result<Component> {
        if Engine::same(self.component.engine(), sandbox.engine()) {
            return Ok(self.component.clone());
        }
        let mut for_stacks = self.for_stacks.lock();
        if let Some(component) = for_stacks.get(&octets) {
            return Ok(component.clone());
        }
        let component = cache::taken_over(&self.component, sandbox.engine())?;
        for_stacks.insert(octets, component.clone());
        Ok(component)
    }

    /// SHA-256 of the component.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The world that it was built for.
    #[must_use]
    pub fn world(&self) -> World {
        self.world
    }

    /// What it says of itself before it is configured.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The interfaces that it imports, those of WASI included.
    #[must_use]
    pub fn imports(&self) -> &[Import] {
        &self.imports
    }

    /// The interfaces that it exports.
    #[must_use]
    pub fn exports(&self) -> &[String] {
        &self.exports
    }

    /// The version of the WIT package `hilum:plugin` that it needs: the highest one that it imports or exports.
    #[must_use]
    pub fn wit_version(&self) -> String {
        self.wit_version.clone()
    }

    /// The first interface that it imports and that no grant opens, with how the grant is written.
    pub(crate) fn not_granted(&self, grants: &Grants) -> Option<(&Import, &'static str)> {
        self.imports.iter().find_map(|import| {
            let interface = import.interface.as_deref()?;
            let grant = contract::import(interface)?.grant?;
            (!grants.opens(interface)).then_some((import, grant))
        })
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plugin({} {}, {:?})", self.description.name, self.description.version, self.digest)
    }
}

/// The first eight octets say whether it is WebAssembly, and whether a module (layer 0) or a component (layer 1; Component
/// Model, `Binary.md`).
fn check_header(octets: &[u8]) -> Result<(), LoadError> {
    if octets.len() > COMPONENT_OCTETS_MAX {
        return Err(LoadError::TooLarge(octets.len()));
    }
    let Some((b"\0asm", version)) = octets.split_first_chunk::<4>() else {
        return Err(LoadError::NotWasm);
    };
    if version.get(2..4) == Some(&[0, 0]) { Err(LoadError::CoreModule) } else { Ok(()) }
}

/// The functions of an imported interface.
fn functions(sandbox: &Sandbox, of: &ComponentItem) -> Vec<String> {
    let ComponentItem::ComponentInstance(interface) = of else { return Vec::new() };
    let exports = interface.exports(sandbox.engine());
    let functions = exports.filter(|(_, export)| matches!(export.ty, ComponentItem::ComponentFunc(_)));
    functions.map(|(name, _)| name.to_owned()).collect()
}

fn lacking(lacking: Lacking) -> LoadError {
    if lacking.version.0 != VERSION.0 || lacking.is_later() {
        LoadError::Version(lacking)
    } else {
        LoadError::Foreign(lacking)
    }
}

/// The highest version of the package among the names of what is imported and exported.
fn wit_version(sandbox: &Sandbox, ty: &ComponentType) -> String {
    let engine = sandbox.engine();
    let names = ty.imports(engine).map(|(name, _)| name).chain(ty.exports(engine).map(|(name, _)| name));
    let version = |name: &str| -> Option<[u64; 3]> {
        let (_, version) = name.strip_prefix("hilum:plugin/")?.split_once('@')?;
        let numbers: Vec<u64> = version.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        numbers.try_into().ok()
    };
    let [major, minor, patch] = names.filter_map(version).max().unwrap_or([VERSION.0, VERSION.1, 0]);
    format!("{major}.{minor}.{patch}")
}

fn world(sandbox: &Sandbox, ty: &ComponentType) -> Result<World, LoadError> {
    let exported: Vec<&str> = ty.exports(sandbox.engine()).map(|(name, _)| name).collect();
    let mut worlds = Vec::new();
    let mut described = false;
    for name in &exported {
        let Some((interface, version)) = contract::parse(name) else { continue };
        let known = contract::EXPORTS.iter().find(|(known, _)| *known == interface);
        match known.filter(|_| version.0 == VERSION.0) {
            Some((_, None)) => described = true,
            Some((_, Some(world))) => worlds.push(*world),
            None => {
                let interface = clip(name, 128).to_owned();
                return Err(lacking(Lacking { exported: true, interface, function: None, version }));
            }
        }
    }
    match (described, worlds.as_slice()) {
        (true, [world]) => Ok(*world),
        _ if exported.is_empty() => Err(LoadError::World("it exports nothing".into())),
        _ => Err(LoadError::World(format!("it exports {}", quoted(&exported)))),
    }
}

fn quoted(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(8).map(|name| format!("`{}`", clip(name, 128))).collect();
    shown.join(", ")
}

fn imports(sandbox: &Sandbox, ty: &ComponentType) -> Result<Vec<Import>, LoadError> {
    let import = |(name, import): (&str, ComponentExtern)| {
        let Some((interface, version)) = contract::parse(name) else {
            return if wasi::is_known(name) {
                Ok(Import { name: name.to_owned(), interface: None })
            } else {
                Err(LoadError::Import(clip(name, 128).to_owned()))
            };
        };
        let lacks = |function: Option<&str>| {
            let function = function.map(|function| clip(function, 128).to_owned());
            let interface = clip(name, 128).to_owned();
            Err(lacking(Lacking { exported: false, interface, function, version }))
        };
        let Some(known) = contract::import(interface).filter(|_| version.0 == VERSION.0) else {
            return lacks(None);
        };
        let functions = functions(sandbox, &import.ty);
        if let Some(missing) = functions.iter().find(|name| !known.functions.contains(&name.as_str())) {
            return lacks(Some(missing));
        }
        Ok(Import { name: name.to_owned(), interface: Some(interface.to_owned()) })
    };
    ty.imports(sandbox.engine()).map(import).collect()
}

/// Runs `describe` in an instance in which every import but the harmless ones traps.
fn describe(sandbox: &Sandbox, component: &Component) -> Result<(Description, Schema), LoadError> {
    let described = || -> wasmtime::Result<raw::Description> {
        let mut linker: Linker<Describing> = Linker::new(sandbox.engine());
        wasi::link(&mut linker, component, sandbox.hash_seed())?;
        linker.define_unknown_imports_as_traps(component)?;
        let mut limits = Limits::default();
        limits.memory_octets = limits.memory_octets.min(sandbox.settings().memory_octets);
        let mut store = Store::new(sandbox.engine(), Describing::new(&limits));
        store.limiter(|describing| &mut describing.bounds);
        store.set_hostcall_fuel(DESCRIPTION_OCTETS_MAX);
        let began = Instant::now();
        sandbox.interrupt(&mut store, move |_| match began.elapsed() < DESCRIBE_TIME {
            true => Ok(false),
            false => Err(Trap::Interrupt.into()),
        });
        let _turn = Turn::begin();
        let instance = linker.instantiate(&mut store, component)?;
        let plugin = instance.get_export_index(&mut store, None, "hilum:plugin/plugin@1.0.0");
        let index = instance.get_export_index(&mut store, plugin.as_ref(), "describe");
        let index = index.ok_or_else(|| wasmtime::Error::msg("it has no function `describe`"))?;
        let func = instance.get_typed_func::<(), (raw::Description,)>(&mut store, index)?;
        Ok(func.call(&mut store, ())?.0)
    };
    let described = with_room(Limits::default().stack_octets, described);
    let described = described.map_err(|error| match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => LoadError::Description(format!("it takes longer than {DESCRIBE_TIME:?}")),
        _ => LoadError::Description(brief(&error)),
    })?;
    Description::checked(described)
}

/// The cause of an error of the engine, without its backtrace.
pub(crate) fn brief(error: &wasmtime::Error) -> String {
    clip(&error.root_cause().to_string(), 512).to_owned()
}

/// At most `max` octets of a text, cut between characters.
pub(crate) fn clip(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_components_from_modules_and_from_the_rest() {
        assert_eq!(check_header(b"\0asm\x0d\0\x01\0"), Ok(()));
        assert_eq!(check_header(b"\0asm\x01\0\0\0"), Err(LoadError::CoreModule));
        assert_eq!(check_header(b"MZ\x90\0"), Err(LoadError::NotWasm));
        assert_eq!(check_header(b""), Err(LoadError::NotWasm));
    }
}
