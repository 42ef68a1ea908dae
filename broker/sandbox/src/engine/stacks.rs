//! A stack limit for each stage. wasmtime has one for an engine and none for a store, so that there is an engine for each limit: made when
//! the first stage asks for it, like the others in everything else, so that what was compiled for one is code for all.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use wasmtime::Engine;

use crate::limits::{HOST_STACK_OCTETS, STACKS_OCTETS};

/// The engines of a sandbox, by the octets of their stacks. As many as there are in [`STACKS_OCTETS`], at most.
pub(super) struct Engines {
    by_stack: Mutex<BTreeMap<usize, Engine>>,
    make: Box<dyn Fn(usize) -> wasmtime::Result<Engine> + Send + Sync>,
}

impl Engines {
    pub(super) fn new(make: impl Fn(usize) -> wasmtime::Result<Engine> + Send + Sync + 'static) -> Self {
        Self { by_stack: Mutex::default(), make: Box::new(make) }
    }

    /// The engine with stacks of so many octets.
    pub(super) fn of(&self, octets: usize) -> wasmtime::Result<Engine> {
        if !STACKS_OCTETS.contains(&(octets as u64)) {
            return Err(wasmtime::Error::msg(format!("there are no stacks of {octets} octets")));
        }
        let mut by_stack = self.by_stack.lock();
        if let Some(engine) = by_stack.get(&octets) {
            return Ok(engine.clone());
        }
        let engine = (self.make)(octets)?;
        by_stack.insert(octets, engine.clone());
        Ok(engine)
    }

    /// Advances the epoch of them all.
    pub(super) fn increment_epoch(&self) {
        self.by_stack.lock().values().for_each(Engine::increment_epoch);
    }
}

/// Runs what calls a plugin with stacks of so many octets, on a stack that has them and what host functions need beyond: on another one if
/// what is left of this thread's is not enough. The engine does not look, and a thread that runs over its stack takes the process along.
pub(crate) fn with_room<T>(octets: usize, call: impl FnOnce() -> T) -> T {
    let octets = octets + HOST_STACK_OCTETS;
    stacker::maybe_grow(octets, octets, call)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn there_is_one_engine_for_each_stack_and_none_for_others() {
        let made = Arc::<AtomicUsize>::default();
        let count = made.clone();
        let engines = Engines::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Engine::new(&wasmtime::Config::new())
        });
        for octets in STACKS_OCTETS.into_iter().chain(STACKS_OCTETS) {
            engines.of(usize::try_from(octets).unwrap()).unwrap();
        }
        assert_eq!(made.load(Ordering::Relaxed), STACKS_OCTETS.len());
        for octets in [0, 1, (64 << 10) + 1, 4 << 20] {
            let error = engines.of(octets).err().unwrap();
            assert_eq!(error.to_string(), format!("there are no stacks of {octets} octets"));
        }
    }

    #[test]
    fn a_small_thread_has_room_all_the_same() {
        fn deep(left: usize) -> usize {
            let frame = std::hint::black_box([1_u8; 1024]);
            if left == 0 { 0 } else { deep(left - 1) + usize::from(frame[left % 1024]) }
        }
        let thread = std::thread::Builder::new().stack_size(128 << 10);
        let depth = thread.spawn(|| with_room(2 << 20, || deep(1500))).unwrap().join().unwrap();
        assert_eq!(depth, 1500);
    }
}
