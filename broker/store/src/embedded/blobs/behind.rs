//! What was written of a large body is made durable while more of it is hashed, sealed and written.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use super::super::disk::DiskFile;
use super::super::pool::Pool;

/// Syncs a file behind the one who writes it, a portion at a time.
pub(super) struct SyncBehind {
    /// Not the pool of whoever waits here: all of its threads may be waiting.
    pool: Arc<Pool>,
    state: State,
}

enum State {
    Idle(Box<dyn DiskFile>),
    Syncing(Receiver<Synced>),
    /// A sync failed. What the file system holds of the file is unknown from then on, whatever a later sync says.
    Failed,
}

type Synced = (Box<dyn DiskFile>, io::Result<()>);

impl SyncBehind {
    pub(super) fn new(pool: Arc<Pool>, file: &dyn DiskFile) -> io::Result<Self> {
        Ok(Self { pool, state: State::Idle(file.duplicate()?) })
    }

    /// Begins to sync what is written by now, when what was begun before is done.
    pub(super) fn begin(&mut self) -> io::Result<()> {
        let mut file = self.take()?;
        let (tell, told) = sync_channel(1);
        let submitted = self.pool.submit(move || {
            let synced = file.sync();
            // Nobody may be waiting any more: the body was given up.
            drop(tell.send((file, synced)));
        });
        // The pool takes no more where the store is being closed; then there is nobody to do it behind.
        submitted.map_err(|_| io::Error::other("the store is closed or overloaded"))?;
        self.state = State::Syncing(told);
        Ok(())
    }

    /// Syncs everything, here.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        let mut file = self.take()?;
        file.sync()?;
        self.state = State::Idle(file);
        Ok(())
    }

    /// The file, when the sync under way is done and went well.
    fn take(&mut self) -> io::Result<Box<dyn DiskFile>> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Idle(file) => Ok(file),
            State::Syncing(told) => match told.recv() {
                Ok((file, Ok(()))) => Ok(file),
                Ok((_, Err(error))) => Err(error),
                Err(_) => Err(io::Error::other("the thread that synced the file ended")),
            },
            State::Failed => Err(io::Error::other("the file could not be synced before")),
        }
    }
}
