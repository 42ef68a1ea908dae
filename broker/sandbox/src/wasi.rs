//! The few functions of WASI 0.2 that the standard library of a guest touches without being asked: an empty environment,
//! standard streams to nowhere, and a seed for hash maps. They give a plugin nothing. All other functions of WASI are left
//! to be defined as traps.

use aws_lc_rs::rand;
use wasmtime::component::{
    Component, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType,
};
use wasmtime::{Error, Result};

/// Octets that a stream to nowhere takes at once.
const STREAM_OCTETS: u64 = 65_536;

/// `wasi:io/streams.output-stream`.
struct OutputStream;

/// `wasi:io/error.error`; there never is one.
struct IoError;

/// `wasi:io/streams.stream-error`.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    LastOperationFailed(Resource<IoError>),
    #[component(name = "closed")]
    Closed,
}

/// Defines what a component imports of these functions, under the versions that it imports them.
pub(crate) fn link<T: 'static>(linker: &mut Linker<T>, component: &Component) -> Result<()> {
    let ty = component.component_type();
    let engine = linker.engine().clone();
    for (name, _) in ty.imports(&engine) {
        let interface = name.split_once('@').map_or(name, |(interface, _)| interface);
        let define: fn(&mut LinkerInstance<'_, T>) -> Result<()> = match interface {
            "wasi:cli/environment" => environment,
            "wasi:cli/stdout" => |instance| standard_stream(instance, "get-stdout"),
            "wasi:cli/stderr" => |instance| standard_stream(instance, "get-stderr"),
            "wasi:io/error" => error,
            "wasi:io/streams" => streams,
            "wasi:random/insecure-seed" => insecure_seed,
            _ => continue,
        };
        define(&mut linker.instance(name)?)?;
    }
    Ok(())
}

fn environment<T: 'static>(instance: &mut LinkerInstance<'_, T>) -> Result<()> {
    instance.func_wrap("get-environment", |_, ()| Ok((Vec::<(String, String)>::new(),)))?;
    instance.func_wrap("get-arguments", |_, ()| Ok((Vec::<String>::new(),)))
}

fn standard_stream<T: 'static>(instance: &mut LinkerInstance<'_, T>, get: &str) -> Result<()> {
    instance.func_wrap(get, |_, ()| Ok((Resource::<OutputStream>::new_own(0),)))
}

fn error<T: 'static>(instance: &mut LinkerInstance<'_, T>) -> Result<()> {
    instance.resource("error", ResourceType::host::<IoError>(), |_, _| Ok(()))
}

fn streams<T: 'static>(instance: &mut LinkerInstance<'_, T>) -> Result<()> {
    type Stream = Resource<OutputStream>;
    type Done = (Result<(), StreamError>,);
    instance.resource("output-stream", ResourceType::host::<OutputStream>(), |_, _| Ok(()))?;
    let room =
        |_: wasmtime::StoreContextMut<'_, T>, (_,): (Stream,)| Ok((Ok::<u64, StreamError>(STREAM_OCTETS),));
    instance.func_wrap("[method]output-stream.check-write", room)?;
    for name in ["[method]output-stream.write", "[method]output-stream.blocking-write-and-flush"] {
        instance.func_wrap(name, |_, (_, _): (Stream, Vec<u8>)| -> Result<Done> { Ok((Ok(()),)) })?;
    }
    for name in ["[method]output-stream.flush", "[method]output-stream.blocking-flush"] {
        instance.func_wrap(name, |_, (_,): (Stream,)| -> Result<Done> { Ok((Ok(()),)) })?;
    }
    Ok(())
}

fn insecure_seed<T: 'static>(instance: &mut LinkerInstance<'_, T>) -> Result<()> {
    instance.func_wrap("insecure-seed", |_, ()| {
        let mut seed = [[0; 8]; 2];
        rand::fill(seed.as_flattened_mut()).map_err(|_| Error::msg("the host has no randomness"))?;
        Ok(((u64::from_ne_bytes(seed[0]), u64::from_ne_bytes(seed[1])),))
    })
}
