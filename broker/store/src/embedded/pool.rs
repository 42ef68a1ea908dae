//! Own threads for blocking operations, so that a store works under any executor and blocks none.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::limits::IO_OPERATIONS_MAX;
use crate::{BlobError, MetaError, Pending, ReadError};

type Operation = Box<dyn FnOnce() + Send>;

/// Why an operation was not taken.
pub(super) enum Refusal {
    Overloaded,
    Closed,
}

macro_rules! refusals {
    ($($error:ident)+) => {$(
        impl From<Refusal> for $error {
            fn from(refusal: Refusal) -> Self {
                match refusal {
                    Refusal::Overloaded => Self::Overloaded(IO_OPERATIONS_MAX),
                    Refusal::Closed => Self::Closed,
                }
            }
        }
    )+};
}
refusals! { ReadError BlobError MetaError }

/// A fixed number of threads with one bounded queue. Operations still queued at [`Pool::close`] are carried out.
pub(super) struct Pool {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    operations: VecDeque<Operation>,
    closed: bool,
}

impl Pool {
    pub(super) fn start(threads: usize) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let pool = Self { queue, threads: Mutex::default() };
        for number in 0..threads.max(1) {
            let queue = pool.queue.clone();
            let thread = std::thread::Builder::new().name(format!("hilum-io-{number}"));
            pool.threads.lock().push(thread.spawn(move || queue.work())?);
        }
        Ok(pool)
    }

    /// Queues an operation; it is carried out whether or not the future is polled.
    pub(super) fn run<T, E>(&self, operation: impl FnOnce() -> Result<T, E> + Send + 'static) -> Pending<T, E>
    where
        T: Send + 'static,
        E: From<Refusal> + Send + 'static,
    {
        let (reply, result) = oneshot::channel();
        let submitted = self.submit(move || drop(reply.send(operation())));
        Box::pin(async move {
            submitted?;
            result.await.unwrap_or_else(|_| Err(Refusal::Closed.into()))
        })
    }

    /// Queues an operation that has its own way to answer.
    pub(super) fn submit(&self, operation: impl FnOnce() + Send + 'static) -> Result<(), Refusal> {
        let mut state = self.queue.state.lock();
        if state.closed {
            return Err(Refusal::Closed);
        }
        if state.operations.len() >= IO_OPERATIONS_MAX {
            return Err(Refusal::Overloaded);
        }
        state.operations.push_back(Box::new(operation));
        drop(state);
        self.queue.changed.notify_one();
        Ok(())
    }

    /// Takes no more operations and waits for those that were taken.
    pub(super) fn close(&self) {
        self.queue.state.lock().closed = true;
        self.queue.changed.notify_all();
        for thread in self.threads.lock().drain(..) {
            // An operation's panic is caught in `work`, so a thread does not end by one.
            let _ = thread.join();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queue.state.lock().closed = true;
        self.queue.changed.notify_all();
    }
}

impl Queue {
    fn work(&self) {
        while let Some(operation) = self.next() {
            if catch_unwind(AssertUnwindSafe(operation)).is_err() {
                tracing::error!(
                    "an operation of the store panicked; it is answered as if the store were closed"
                );
            }
        }
    }

    fn next(&self) -> Option<Operation> {
        let mut state = self.state.lock();
        loop {
            if let Some(operation) = state.operations.pop_front() {
                return Some(operation);
            }
            if state.closed {
                return None;
            }
            self.changed.wait(&mut state);
        }
    }
}
