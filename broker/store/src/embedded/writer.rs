//! Group commit: a thread takes whatever was queued for a log while its disk was last waited for, writes it with one call,
//! fsyncs the file once, and only then answers. The size of a group is set by the load; there is no timer. Logs do not wait for
//! each other.
//!
//! | what fails | what is done |
//! |---|---|
//! | write, disk full | the file is cut back to where the group began; the log's queued batches are refused, later ones go on |
//! | any other write, the cutting back, or fsync | the log is poisoned: after a failed fsync nobody knows what is on disk, and trying again may succeed without having written (PostgreSQL's "fsyncgate") |

mod commit;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use hilum_core::{LogName, Offset};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::disk::Disk;
use super::frame::Frame;
use super::keyring::Keyring;
use super::log::LogState;
use super::segment::Segment;
use crate::limits::{GROUP_OCTETS_MAX, QUEUE_OCTETS_MAX, WRITER_THREADS_MAX};
use crate::{AppendError, Durability};
use commit::{Committer, Tail};

/// A thread beside the first one that has had nothing to do for so long ends.
const IDLE_TIME: Duration = Duration::from_secs(10);

/// A sealed batch that waits for the disk.
pub(super) struct Job {
    pub(super) log: Arc<LogState>,
    pub(super) generation: u64,
    pub(super) segment: Arc<Segment>,
    pub(super) frame: Frame,
    pub(super) durability: Durability,
    /// None once it was answered.
    pub(super) reply: Option<oneshot::Sender<Result<Offset, AppendError>>>,
}

impl Job {
    fn answer(&mut self, answer: Result<Offset, AppendError>) {
        if let Some(reply) = self.reply.take() {
            // Nobody may be waiting any more.
            let _ = reply.send(answer);
        }
    }

    fn accept(&mut self) {
        self.answer(Ok(Offset(self.frame.header.first)));
    }

    fn refuse(mut self, error: AppendError) {
        self.answer(Err(error));
    }
}

/// What is to be done to a log, in order.
enum Task {
    Append(Job),
    /// Ends the segment that is written to, so that nobody writes into it any more.
    Roll(oneshot::Sender<Result<(), AppendError>>),
}

impl Task {
    fn octets(&self) -> usize {
        if let Self::Append(job) = self { job.frame.octets().len() } else { 0 }
    }

    fn refuse(self, error: AppendError) {
        match self {
            Self::Append(job) => job.refuse(error),
            Self::Roll(reply) => drop(reply.send(Err(error))),
        }
    }
}

/// The front of the writing threads.
pub(super) struct Writer {
    shared: Arc<Threads>,
}

/// What the threads share. A thread has a log for one group; where all wait for the disk and another log has something to do,
/// there is one more thread, so that a log whose disk stalls holds up no other.
struct Threads {
    disk: Arc<dyn Disk>,
    keyring: Arc<Keyring>,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    lines: HashMap<LogName, Line>,
    /// Logs with something to do that no thread has.
    ready: VecDeque<LogName>,
    threads: Vec<JoinHandle<()>>,
    running: usize,
    idle: usize,
    closed: bool,
}

/// What waits for one log.
struct Line {
    log: Arc<LogState>,
    tasks: VecDeque<Task>,
    octets: usize,
    /// None while a thread has the log.
    tail: Option<Tail>,
}

impl Writer {
    pub(super) fn start(disk: Arc<dyn Disk>, keyring: Arc<Keyring>) -> std::io::Result<Self> {
        let (queue, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Threads { disk, keyring, queue, changed });
        shared.start_thread(&mut shared.queue.lock())?;
        Ok(Self { shared })
    }

    pub(super) fn disk(&self) -> Arc<dyn Disk> {
        self.shared.disk.clone()
    }

    /// Whether another batch may be queued for a log.
    pub(super) fn check_room(&self, log: &LogName) -> Result<(), AppendError> {
        let queue = self.shared.queue.lock();
        if queue.closed {
            return Err(AppendError::Closed);
        }
        match queue.lines.get(log) {
            Some(line) if line.octets >= QUEUE_OCTETS_MAX => Err(AppendError::Overloaded(line.octets)),
            _ => Ok(()),
        }
    }

    pub(super) fn push(&self, job: Job) {
        self.shared.queue_up(job.log.clone(), Task::Append(job));
    }

    /// Ends the segment that a log is written to, after all batches that were pushed before.
    pub(super) fn roll(&self, log: Arc<LogState>) -> oneshot::Receiver<Result<(), AppendError>> {
        let (reply, result) = oneshot::channel();
        self.shared.queue_up(log, Task::Roll(reply));
        result
    }

    /// Takes no more batches and waits until those that were taken are answered.
    pub(super) fn close(&self) {
        let threads = {
            let mut queue = self.shared.queue.lock();
            queue.closed = true;
            std::mem::take(&mut queue.threads)
        };
        self.shared.changed.notify_all();
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a log writer panicked; what it had not answered is not known to be durable");
            }
        }
        let lines = std::mem::take(&mut self.shared.queue.lock().lines);
        lines.into_values().filter_map(|line| line.tail).for_each(Tail::finish);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

impl Threads {
    fn queue_up(self: &Arc<Self>, log: Arc<LogState>, task: Task) {
        let mut queue = self.queue.lock();
        if queue.closed {
            return task.refuse(AppendError::Closed);
        }
        queue.add(log, task);
        if queue.ready.len() > queue.idle && queue.running < WRITER_THREADS_MAX {
            // Those that run go on, one after the other, where there can be no more of them.
            self.start_thread(&mut queue).unwrap_or_else(|error| {
                tracing::warn!(%error, "there is no further log writer");
            });
        }
        drop(queue);
        self.changed.notify_one();
    }

    fn start_thread(self: &Arc<Self>, queue: &mut Queue) -> std::io::Result<()> {
        let shared = self.clone();
        let thread = std::thread::Builder::new().name("hilum-log-writer".into());
        let thread = thread.spawn(move || shared.work())?;
        queue.threads.retain(|thread| !thread.is_finished());
        queue.threads.push(thread);
        queue.running += 1;
        Ok(())
    }

    fn work(&self) {
        let _guard = CloseOnPanic(self);
        while let Some((log, mut tail, work)) = self.take() {
            let committer = Committer { disk: &*self.disk, keyring: &self.keyring, log: &log };
            match work {
                Work::Group(group) => {
                    if committer.commit(&mut tail, group) && self.is_idle(&log) {
                        committer.mark(&mut tail);
                    }
                }
                // Nobody may be waiting any more.
                Work::Roll(reply) => drop(reply.send(committer.roll(&mut tail))),
            }
            self.give_back(&log, tail);
        }
    }

    /// A log with what is to be done next; none where this thread is to end.
    fn take(&self) -> Option<(Arc<LogState>, Tail, Work)> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(taken) = queue.take() {
                return Some(taken);
            }
            if queue.closed {
                break;
            }
            queue.idle += 1;
            let waited = self.changed.wait_for(&mut queue, IDLE_TIME);
            queue.idle -= 1;
            if waited.timed_out() && queue.ready.is_empty() && queue.running > 1 {
                break;
            }
        }
        queue.running -= 1;
        None
    }

    /// Whether nothing waits for a log.
    fn is_idle(&self, log: &LogState) -> bool {
        self.queue.lock().lines.get(&log.name).is_none_or(|line| line.tasks.is_empty())
    }

    fn give_back(&self, log: &LogState, tail: Tail) {
        let mut queue = self.queue.lock();
        let Some(line) = queue.lines.get_mut(&log.name) else { return };
        line.tail = Some(tail);
        if !line.tasks.is_empty() {
            queue.ready.push_back(log.name.clone());
        }
    }
}

impl Queue {
    fn add(&mut self, log: Arc<LogState>, task: Task) {
        let name = log.name.clone();
        let new = || Line { log, tasks: VecDeque::new(), octets: 0, tail: Some(Tail::default()) };
        let line = self.lines.entry(name).or_insert_with(new);
        line.octets += task.octets();
        line.tasks.push_back(task);
        if line.tail.is_some() && line.tasks.len() == 1 {
            self.ready.push_back(line.log.name.clone());
        }
    }

    /// The log that waited longest, and its next group, in order. A roll is a group of its own.
    fn take(&mut self) -> Option<(Arc<LogState>, Tail, Work)> {
        let line = self.lines.get_mut(&self.ready.pop_front()?)?;
        let tail = line.tail.take()?;
        let (mut group, mut octets) = (Vec::with_capacity(line.tasks.len()), 0);
        while octets < GROUP_OCTETS_MAX {
            match line.tasks.pop_front() {
                Some(Task::Append(job)) => {
                    octets += job.frame.octets().len();
                    group.push(job);
                }
                Some(Task::Roll(reply)) if group.is_empty() => {
                    return Some((line.log.clone(), tail, Work::Roll(reply)));
                }
                Some(roll) => {
                    line.tasks.push_front(roll);
                    break;
                }
                None => break,
            }
        }
        line.octets -= octets;
        Some((line.log.clone(), tail, Work::Group(group)))
    }
}

enum Work {
    Group(Vec<Job>),
    Roll(oneshot::Sender<Result<(), AppendError>>),
}

/// Refuses everything should a thread end by a panic, so that no caller waits for ever.
struct CloseOnPanic<'a>(&'a Threads);

impl Drop for CloseOnPanic<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut queue = self.0.queue.lock();
        queue.closed = true;
        queue.ready.clear();
        let tasks = queue.lines.values_mut().flat_map(|line| std::mem::take(&mut line.tasks));
        tasks.for_each(|task| task.refuse(AppendError::Closed));
        drop(queue);
        self.0.changed.notify_all();
    }
}
