//! How a call that takes long lets everybody else's threads go first.
//!
//! A guest that loops never enters the kernel. There are machines, virtual ones above all, on which the kernel then takes a processor away
//! at its own tick only, every 4 ms at 250 Hz, however urgent a thread is that woke up meanwhile; and a record passes from thread to thread some
//! times on its way. So a call that takes longer than a tick of the sandbox's clock offers its processor at each further tick, and asks
//! for long turns that come late, which is what the scheduler wants for it: no less of the processor in all, but behind whoever asks for little.
//! A call that gets on with a large body is spared: it enters the kernel for its octets, and would come late for each.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::SandboxError;
use super::stacks::Engines;

/// How often the clock ticks while there are calls that take long.
const FINE_TICK: Duration = Duration::from_micros(500);
/// How long it goes on to tick so after the last one.
const FINE_TIME: Duration = Duration::from_millis(50);

/// The thread that advances the engines' epochs, at each of which a running guest is interrupted.
pub(super) struct Clock {
    stop: Arc<AtomicBool>,
    /// Set by [`give_way`].
    pub(super) long_calls: LongCalls,
}

/// Whether there was a call that took long since the clock looked last.
#[derive(Clone, Default)]
pub(super) struct LongCalls(Arc<AtomicBool>);

impl Clock {
    pub(super) fn start(engines: Arc<Engines>, tick: Duration) -> Result<Self, SandboxError> {
        let (stop, long_calls) = (Arc::new(AtomicBool::new(false)), LongCalls::default());
        let (stopped, long) = (stop.clone(), long_calls.clone());
        let run = move || {
            let mut fine_since: Option<Instant> = None;
            while !stopped.load(Ordering::Relaxed) {
                if long.0.swap(false, Ordering::Relaxed) {
                    fine_since = Some(Instant::now());
                }
                let fine = fine_since.is_some_and(|since| since.elapsed() < FINE_TIME);
                thread::sleep(if fine { tick.min(FINE_TICK) } else { tick });
                engines.increment_epoch();
            }
        };
        let spawned = thread::Builder::new().name("sandbox-clock".into()).spawn(run);
        spawned.map(|_| Self { stop, long_calls }).map_err(|error| SandboxError(error.to_string()))
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

thread_local! {
    static TURN: RefCell<State> = const { RefCell::new(State::Short) };
}

/// How long the call on this thread has been running.
enum State {
    /// No tick of the clock has fallen into it.
    Short,
    /// One has.
    Interrupted,
    /// Several have; what the thread's turns were like before, if they are different now.
    Long(Option<slices::Slice>),
}

/// A call on this thread. Until it is dropped, [`give_way`] belongs to it.
pub(crate) struct Turn(PhantomData<*const ()>);

impl Turn {
    pub(crate) fn begin() -> Self {
        Self(PhantomData)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        begin_anew();
    }
}

/// The call on this thread is as good as a new one.
pub(super) fn begin_anew() {
    if let State::Long(Some(before)) = TURN.replace(State::Short) {
        slices::set(&before);
    }
}

/// A tick of the clock fell into a call on this thread.
pub(super) fn give_way(long_calls: &LongCalls) {
    let next = match TURN.replace(State::Short) {
        State::Short => State::Interrupted,
        State::Interrupted => State::Long(slices::lengthen()),
        long @ State::Long(_) => long,
    };
    if matches!(next, State::Long(_)) {
        long_calls.0.store(true, Ordering::Relaxed);
    }
    TURN.set(next);
    thread::yield_now();
}

/// What Linux calls the time slice of a thread. Since 6.12 each may ask for its own; older kernels do not look at it.
#[cfg(target_os = "linux")]
mod slices {
    #![allow(unsafe_code, reason = "two system calls that no crate of ours has")]

    /// What to ask for: the longest that there is, 100 ms, in nanoseconds.
    const LONGEST: u64 = 100_000_000;

    /// `struct sched_attr` of `sched_setattr(2)`, as it was first.
    #[repr(C)]
    #[derive(Debug, Default, PartialEq, Eq)]
    pub(super) struct Slice {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }

    /// Its octets.
    const SIZE: u32 = 48;
    const _: () = assert!(size_of::<Slice>() == 48);

    /// What this thread has.
    pub(super) fn get() -> Option<Slice> {
        let mut slice = Slice::default();
        // SAFETY: the kernel writes at most `SIZE` octets to `slice`, which is as large and of integers only.
        let got = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut slice, SIZE, 0) };
        (got == 0).then_some(slice)
    }

    /// Gives this thread what [`get`] gave. A kernel that does not want it leaves the thread as it is, which harms nobody: calls that
    /// take long still offer their processor.
    pub(super) fn set(slice: &Slice) -> bool {
        // SAFETY: the kernel reads the `size` octets of `slice`, which it has written itself as it was asked to.
        let set = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const *slice, 0) };
        set == 0
    }

    /// Asks for the longest turns, and gives what there were before. A thread that is scheduled otherwise than by shares is left alone.
    pub(super) fn lengthen() -> Option<Slice> {
        let before = get().filter(|before| before.policy == libc::SCHED_OTHER.unsigned_abs())?;
        set(&Slice { size: SIZE, runtime: LONGEST, ..before }).then_some(before)
    }
}

/// Elsewhere all turns are alike.
#[cfg(not(target_os = "linux"))]
mod slices {
    pub(super) struct Slice;

    pub(super) fn set(_: &Slice) {}

    pub(super) fn lengthen() -> Option<Slice> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_long_from_its_second_tick_on_and_the_thread_is_as_before_after_it() {
        let before = slices::get().unwrap();
        for _ in 0..2 {
            let long_calls = LongCalls::default();
            let turn = Turn::begin();
            give_way(&long_calls);
            assert!(!long_calls.0.load(Ordering::Relaxed), "one tick falls into short calls too");
            give_way(&long_calls);
            assert!(long_calls.0.swap(false, Ordering::Relaxed));
            give_way(&long_calls);
            assert!(long_calls.0.load(Ordering::Relaxed));
            drop(turn);
            assert_eq!(slices::get().unwrap(), before);
        }
    }
}
