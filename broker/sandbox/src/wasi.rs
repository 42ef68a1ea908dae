//! WASI 0.2, of which a plugin gets nothing. The few functions that the standard library of a guest touches without being
//! asked do no harm: an empty environment, standard streams to nowhere, and a seed for hash maps. All others trap.
//!
//! The packages that standard libraries import whether or not the plugin uses them may be imported: what a component imports of
//! them says nothing about what it does, and a plugin that does use them is stopped then. A component that imports another one
//! (`wasi:filesystem`, `wasi:sockets`, `wasi:http`, ...) has code that wants more than there ever is, and is not loaded.

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{
    Component, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType,
};
use wasmtime::{Error, Result};

use crate::call::HostCalls;

/// Octets that a stream to nowhere takes at once.
const STREAM_OCTETS: u64 = 65_536;

/// Packages that standard libraries import by themselves.
const KNOWN: [&str; 4] = ["wasi:cli/", "wasi:clocks/", "wasi:io/", "wasi:random/"];
/// The version of them that they have in common.
const VERSION: &str = "0.2.";

/// Any resource of WASI: there is nothing behind one.
type Nothing = Resource<()>;

/// `wasi:io/streams.stream-error`.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Nothing),
    #[component(name = "closed")]
    Closed,
}

/// Whether a component may import this interface.
pub(crate) fn is_known(name: &str) -> bool {
    let version = name.split_once('@').map_or("", |(_, version)| version);
    KNOWN.iter().any(|package| name.starts_with(package)) && version.starts_with(VERSION)
}

/// Defines all that a component imports of WASI, under the versions that it imports. Interfaces of other packages stay as
/// they are, so that one that is missing is found when the component is linked.
pub(crate) fn link<T: HostCalls + 'static>(
    linker: &mut Linker<T>,
    component: &Component,
    hash_seed: (u64, u64),
) -> Result<()> {
    let ty = component.component_type();
    let engine = linker.engine().clone();
    linker.allow_shadowing(true);
    for (name, import) in ty.imports(&engine).filter(|(name, _)| name.starts_with("wasi:")) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        let mut instance = linker.instance(name)?;
        for (item, export) in interface.exports(&engine) {
            trap(&mut instance, name, item, &export.ty)?;
        }
        harmless(&mut instance, name, hash_seed)?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

fn trap<T: HostCalls + 'static>(
    instance: &mut LinkerInstance<'_, T>,
    interface: &str,
    item: &str,
    ty: &ComponentItem,
) -> Result<()> {
    let name = format!("{interface}#{item}");
    match ty {
        ComponentItem::ComponentFunc(_) => instance.func_new(item, move |_, _, _, _| {
            Err(Error::msg(format!("`{name}` is not there: a plugin has no WASI")))
        }),
        ComponentItem::Resource(_) => instance.resource(item, ResourceType::host::<()>(), |_, _| Ok(())),
        _ => Ok(()),
    }
}

fn harmless<T: HostCalls + 'static>(
    instance: &mut LinkerInstance<'_, T>,
    name: &str,
    hash_seed: (u64, u64),
) -> Result<()> {
    match name.split_once('@').map_or(name, |(interface, _)| interface) {
        "wasi:cli/environment" => environment(instance),
        "wasi:cli/stdout" => standard_stream(instance, "get-stdout"),
        "wasi:cli/stderr" => standard_stream(instance, "get-stderr"),
        "wasi:io/streams" => streams(instance),
        "wasi:io/poll" => poll(instance),
        "wasi:random/insecure-seed" => instance.func_wrap("insecure-seed", move |mut store, ()| {
            store.data_mut().enter(0)?;
            Ok((hash_seed,))
        }),
        _ => Ok(()),
    }
}

fn environment<T: HostCalls + 'static>(instance: &mut LinkerInstance<'_, T>) -> Result<()> {
    instance.func_wrap("get-environment", |mut store, ()| {
        store.data_mut().enter(0)?;
        Ok((Vec::<(String, String)>::new(),))
    })?;
    instance.func_wrap("get-arguments", |mut store, ()| {
        store.data_mut().enter(0)?;
        Ok((Vec::<String>::new(),))
    })
}

fn standard_stream<T: HostCalls + 'static>(instance: &mut LinkerInstance<'_, T>, get: &str) -> Result<()> {
    instance.func_wrap(get, |mut store, ()| {
        store.data_mut().enter(0)?;
        Ok((Nothing::new_own(0),))
    })
}

fn streams<T: HostCalls + 'static>(instance: &mut LinkerInstance<'_, T>) -> Result<()> {
    type Done = (Result<(), StreamError>,);
    instance.func_wrap("[method]output-stream.check-write", |mut store, (_,): (Nothing,)| {
        store.data_mut().enter(0)?;
        Ok((Ok::<u64, StreamError>(STREAM_OCTETS),))
    })?;
    instance.func_wrap("[method]output-stream.subscribe", |mut store, (_,): (Nothing,)| {
        store.data_mut().enter(0)?;
        Ok((Nothing::new_own(0),))
    })?;
    for name in ["[method]output-stream.write", "[method]output-stream.blocking-write-and-flush"] {
        instance.func_wrap(name, |mut store, (_, octets): (Nothing, Vec<u8>)| -> Result<Done> {
            store.data_mut().enter(octets.len())?;
            Ok((Ok(()),))
        })?;
    }
    for name in ["[method]output-stream.flush", "[method]output-stream.blocking-flush"] {
        instance.func_wrap(name, |mut store, (_,): (Nothing,)| -> Result<Done> {
            store.data_mut().enter(0)?;
            Ok((Ok(()),))
        })?;
    }
    Ok(())
}

/// What is waited for has always come.
fn poll<T: HostCalls + 'static>(instance: &mut LinkerInstance<'_, T>) -> Result<()> {
    instance.func_wrap("[method]pollable.ready", |mut store, (_,): (Nothing,)| {
        store.data_mut().enter(0)?;
        Ok((true,))
    })?;
    instance.func_wrap("[method]pollable.block", |mut store, (_,): (Nothing,)| store.data_mut().enter(0))?;
    instance.func_wrap("poll", |mut store, (all,): (Vec<Nothing>,)| {
        store.data_mut().enter(all.len() * size_of::<Nothing>())?;
        let ready: Vec<u32> = (0..).take(all.len()).collect();
        Ok((ready,))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_standard_libraries_import_is_known_and_nothing_else() {
        for name in ["wasi:cli/exit@0.2.6", "wasi:io/streams@0.2.0", "wasi:random/insecure-seed@0.2.10"] {
            assert!(is_known(name), "{name}");
        }
        for name in [
            "wasi:filesystem/types@0.2.6",
            "wasi:sockets/tcp@0.2.6",
            "wasi:http/types@0.2.6",
            "wasi:keyvalue/store@0.2.0",
            "wasi:cli/exit@0.3.0",
            "wasi:cli/exit",
        ] {
            assert!(!is_known(name), "{name}");
        }
    }
}
