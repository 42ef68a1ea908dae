//! The wasmtime engine of a broker, and those like it with other stacks: what code may do at all, and the clock that interrupts it.

mod stacks;
mod turns;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use aws_lc_rs::rand;
use hilum_core::Digest;
use parking_lot::Mutex;
use wasmtime::component::Component;
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Store,
    UpdateDeadline,
};

use crate::cache::Cache;
use crate::limits::{CORE_INSTANCES_MAX, Limits, TABLE_ELEMENTS_MAX, TABLES_MAX};
use crate::plugin::{LoadError, Plugin};
use stacks::Engines;
pub(crate) use stacks::with_room;
use turns::Clock;
pub(crate) use turns::Turn;

/// Octets of the bookkeeping of one instance.
const INSTANCE_OCTETS_MAX: usize = 1 << 20;
/// What an instance leaves behind is overwritten as far as this, where the kernel tells which pages that are (Linux 6.7 and later):
/// faster than giving them back and getting others. What is beyond goes back.
const MEMORY_RESIDENT_OCTETS: usize = 512 << 10;
/// The same for tables.
const TABLE_RESIDENT_OCTETS: usize = 16 << 10;

/// What all plugins of a broker share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Instances at once; by default 256. Each reserves address space, and takes memory as it uses it.
    pub instances: u32,
    /// The largest [`crate::Limits::memory_octets`] that a stage may have; by default 64 MiB.
    pub memory_octets: usize,
    /// How often a running plugin is checked against its wall clock; by default 5 ms. While there are calls that take longer: ten times as often.
    pub tick: Duration,
    /// What plugins' hash maps are seeded with; by default something secret that is drawn when the sandbox starts. All instances of all
    /// plugins get the same, so that the order of a map says nothing and differs between no two of them.
    pub hash_seed: Option<(u64, u64)>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { instances: 256, memory_octets: 64 << 20, tick: Duration::from_millis(5), hash_seed: None }
    }
}

/// Why there is no sandbox on this machine.
#[derive(Debug, thiserror::Error)]
#[error("the WebAssembly engine does not start: {0}")]
pub struct SandboxError(String);

/// Compiles plugins. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    /// The one with the stack that a stage has by default, or in [`Sandbox::with_stack`] another.
    engine: Engine,
    engines: Arc<Engines>,
    /// Instances of all engines that there are.
    instances: Arc<AtomicU32>,
    settings: Arc<Settings>,
    cache: Option<Arc<Cache>>,
    hash_seed: (u64, u64),
    /// What was compiled and is still used, by digest.
    compiled: Arc<Mutex<HashMap<Digest, Weak<Plugin>>>>,
    clock: Arc<Clock>,
}

impl Sandbox {
    /// Starts an engine and the thread of its clock, which ends with the last clone.
    ///
    /// # Errors
    ///
    /// [`SandboxError`] where the address space for [`Settings::instances`] is not to be had, or no random seed.
    pub fn new(settings: Settings) -> Result<Self, SandboxError> {
        let of_engines = settings.clone();
        let engines = Arc::new(Engines::new(move |stack| Engine::new(&config(&of_engines, stack))));
        let engine = engines.of(Limits::default().stack_octets);
        let engine = engine.map_err(|error| SandboxError(format!("{error:#}")))?;
        let clock = Clock::start(engines.clone(), settings.tick)?;
        let hash_seed = match settings.hash_seed {
            Some(seed) => seed,
            None => drawn()?,
        };
        Ok(Self {
            engine,
            engines,
            instances: Arc::default(),
            settings: Arc::new(settings),
            cache: None,
            hash_seed,
            compiled: Arc::default(),
            clock: Arc::new(clock),
        })
    }

    /// The same with a cache, in which what is compiled is kept and found again.
    #[must_use]
    pub fn with_cache(self, cache: Cache) -> Self {
        Self { cache: Some(Arc::new(cache)), ..self }
    }

    /// Compiles a component and finds out what it is. Takes seconds for a large one, milliseconds for one that is in the cache, and no
    /// time for one that is in use.
    ///
    /// # Errors
    ///
    /// [`LoadError`], which says what about the component is wrong.
    pub fn load(&self, component: &[u8]) -> Result<Arc<Plugin>, LoadError> {
        let digest = Digest::of(component);
        if let Some(plugin) = self.compiled.lock().get(&digest).and_then(Weak::upgrade) {
            return Ok(plugin);
        }
        let plugin = Arc::new(Plugin::load(self, digest, component)?);
        let mut compiled = self.compiled.lock();
        compiled.retain(|_, plugin| plugin.strong_count() > 0);
        compiled.insert(digest, Arc::downgrade(&plugin));
        Ok(plugin)
    }

    /// A component of this digest, compiled.
    pub(crate) fn compile(&self, digest: Digest, octets: &[u8]) -> wasmtime::Result<Component> {
        let compile = || Component::new(&self.engine, octets);
        match &self.cache {
            Some(cache) => cache.component(&self.engine, digest, compile),
            None => compile(),
        }
    }

    /// The same with stacks of so many octets.
    pub(crate) fn with_stack(&self, octets: usize) -> wasmtime::Result<Self> {
        Ok(Self { engine: self.engines.of(octets)?, ..self.clone() })
    }

    /// Room for one more instance, if there is any. The engines share [`Settings::instances`], however many of them there are.
    pub(crate) fn room(&self) -> Option<Room> {
        let one_more = |there: u32| (there < self.settings.instances).then_some(there + 1);
        let taken = self.instances.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.ok().map(|_| Room(self.instances.clone()))
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn hash_seed(&self) -> (u64, u64) {
        self.hash_seed
    }

    /// Lets calls in a store go on until `check` says otherwise, which it is asked at each tick of the clock, and whether the call gets on:
    /// one that does not lets others go first.
    pub(crate) fn interrupt<T: 'static>(
        &self,
        store: &mut Store<T>,
        check: impl Fn(&mut T) -> wasmtime::Result<bool> + Send + Sync + 'static,
    ) {
        let clock = self.clock.clone();
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |mut store| {
            if check(store.data_mut())? {
                turns::begin_anew();
            } else {
                turns::give_way(&clock.long_calls);
            }
            Ok(UpdateDeadline::Continue(1))
        });
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What an instance takes of [`Settings::instances`], until it is dropped.
pub(crate) struct Room(Arc<AtomicU32>);

impl Drop for Room {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn drawn() -> Result<(u64, u64), SandboxError> {
    let mut seed = [[0; 8]; 2];
    rand::fill(seed.as_flattened_mut()).map_err(|_| SandboxError("the system has no randomness".into()))?;
    Ok((u64::from_ne_bytes(seed[0]), u64::from_ne_bytes(seed[1])))
}

fn config(settings: &Settings, stack_octets: usize) -> Config {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(settings.instances)
        .total_core_instances(settings.instances.saturating_mul(CORE_INSTANCES_MAX))
        .total_memories(settings.instances)
        .total_tables(settings.instances.saturating_mul(TABLES_MAX))
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(1)
        .max_tables_per_component(TABLES_MAX)
        .max_component_instance_size(INSTANCE_OCTETS_MAX)
        .max_core_instance_size(INSTANCE_OCTETS_MAX)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_memory_size(settings.memory_octets);
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        pool.pagemap_scan(Enabled::Yes)
            .linear_memory_keep_resident(MEMORY_RESIDENT_OCTETS)
            .table_keep_resident(TABLE_RESIDENT_OCTETS);
    }
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(stack_octets)
        .cranelift_opt_level(OptLevel::Speed)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}
