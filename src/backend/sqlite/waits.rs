//! The waits of this process. Another thread can cancel them, and threads of this module wake them.

use super::{errors::failure, lock_file};
use crate::Result;
use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

static WAITS: Mutex<Waits> = Mutex::new(Waits {
    running: BTreeSet::new(),
    locked: BTreeSet::new(),
});

static CHANGED: Condvar = Condvar::new();

/// How often a waiter looks whether a file is unlocked if no thread can be started.
const POLL: Duration = Duration::from_millis(10);

const STACK_SIZE: usize = 64 * 1024;

struct Waits {
    /// The numbers of the waits that are not cancelled.
    running: BTreeSet<u32>,
    /// Files for which a thread waits until they are unlocked.
    locked: BTreeSet<PathBuf>,
}

fn lock() -> MutexGuard<'static, Waits> {
    WAITS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cancels the wait with this number. Returns whether there is one.
pub(super) fn cancel(number: u32) -> bool {
    let found = lock().running.remove(&number);
    CHANGED.notify_all();
    found
}

/// A wait that others can cancel, until it is dropped.
pub(super) struct Wait {
    number: Option<u32>,
    until: Option<Instant>,
}

impl Wait {
    pub(super) fn begin(number: u32, limit: Option<Duration>) -> Self {
        lock().running.insert(number);
        Self {
            number: Some(number),
            until: limit.and_then(|limit| Instant::now().checked_add(limit)),
        }
    }

    /// A wait without limit, which nobody can cancel.
    pub(super) fn forever() -> Self {
        Self {
            number: None,
            until: None,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }

    /// Sleeps this long, or until the wait is over. Fails if it is cancelled.
    pub(super) fn sleep(&self, pause: Duration) -> Result<()> {
        self.sleep_while(lock(), pause, |_| true)
    }

    /// Sleeps until the file is unlocked, for at most `pause`, or until the wait is over. Fails if it is cancelled.
    ///
    /// All waits for the same file share one thread, which ends when the file is unlocked. So there are at most as many threads
    /// as waiters in the queues, also if waits end earlier.
    pub(super) fn sleep_until_unlocked(
        &self,
        file: File,
        path: &Path,
        pause: Duration,
    ) -> Result<()> {
        let mut waits = lock();
        if !waits.locked.contains(path) {
            match start(file, path.to_owned()) {
                Ok(()) => _ = waits.locked.insert(path.to_owned()),
                Err(error) => {
                    // A logger may block.
                    drop(waits);
                    log::debug!("no thread to wait for {}: {error}", path.display());
                    return self.sleep(POLL);
                }
            }
        }
        self.sleep_while(waits, pause, |waits| waits.locked.contains(path))
    }

    fn sleep_while(
        &self,
        mut waits: MutexGuard<'_, Waits>,
        pause: Duration,
        condition: impl Fn(&Waits) -> bool,
    ) -> Result<()> {
        let end = Instant::now() + pause;
        let end = self.until.map_or(end, |until| until.min(end));
        loop {
            if self
                .number
                .is_some_and(|number| !waits.running.contains(&number))
            {
                return Err(failure("the wait was cancelled").into());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || !condition(&waits) {
                return Ok(());
            }
            waits = CHANGED
                .wait_timeout(waits, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            lock().running.remove(&number);
        }
    }
}

/// Starts the thread that waits until the file is unlocked.
fn start(file: File, path: PathBuf) -> std::io::Result<()> {
    let wait = move || {
        if let Err(error) = lock_file::wait_until_unlocked(&file) {
            log::debug!("{}: {error}", path.display());
        }
        lock().locked.remove(&path);
        CHANGED.notify_all();
    };
    thread::Builder::new()
        .name("dbsemaphore-queue".to_owned())
        .stack_size(STACK_SIZE)
        .spawn(wait)
        .map(drop)
}
