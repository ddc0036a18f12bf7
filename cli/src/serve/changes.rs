//! Changes that operators make: one at a time in each database, each by a process of its own, which can be killed.

use super::watched::Watched;
use crate::{database::Database, fault::Fault, output};
use std::{
    fmt,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

/// How long a form waits for the result. The page shows a later one.
const PATIENT: Duration = Duration::from_secs(2);

/// How long a shrink waits for held tickets.
const LONGEST_SHRINK: Duration = Duration::from_secs(30);

/// How long the other steps of a change may take, without connecting.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// How long connecting may take if the database's URL has no limit.
const LONGEST_CONNECT: Duration = Duration::from_secs(10);

/// Between two looks whether the process has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// How long the result is shown.
const SHOWN: Duration = Duration::from_secs(60);

pub(super) enum Change {
    Resize {
        name: String,
        size: u32,
    },
    /// `proof` is that of the hold which the page has shown.
    End {
        name: String,
        ticket: i64,
        proof: String,
    },
}

/// The last change.
#[derive(Default)]
pub(super) struct Changes(Mutex<Option<Progress>>);

struct Progress {
    what: String,
    since: Instant,
    result: Option<Result<String, String>>,
}

/// A change, for the page.
pub(super) struct Report {
    pub(super) text: String,
    pub(super) is_failure: bool,
}

impl Changes {
    fn last(&self) -> MutexGuard<'_, Option<Progress>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what the page shows of the last change.
    pub(super) fn report(&self) -> Option<Report> {
        let last = self.last();
        let last = last.as_ref()?;
        let (text, is_failure) = match &last.result {
            None => (
                format!(
                    "{}: in progress for {} s",
                    last.what,
                    last.since.elapsed().as_secs()
                ),
                false,
            ),
            Some(_) if last.since.elapsed() > SHOWN => return None,
            Some(Ok(done)) => (done.clone(), false),
            Some(Err(fault)) => (format!("{} failed: {fault}", last.what), true),
        };
        Some(Report { text, is_failure })
    }
}

/// Starts a change, and waits for its result for a short time. Returns `false` if another change is in progress, or
/// the second connection is taken otherwise.
pub(super) fn start(watched: &Arc<Watched>, change: Change) -> Result<bool, Fault> {
    let Some(spare) = watched.spare.take() else {
        return Ok(false);
    };
    *watched.changes.last() = Some(Progress {
        what: change.to_string(),
        since: Instant::now(),
        result: None,
    });
    let (done, is_done) = mpsc::channel::<()>();
    let changing = Arc::clone(watched);
    let thread = thread::Builder::new().name("changing".to_owned());
    let started = thread.spawn(move || {
        let (_done, _spare) = (done, spare);
        let unfinished = Unfinished(&changing);
        unfinished.finish(change.make(&changing.database));
    });
    if let Err(error) = started {
        Unfinished(watched).finish(Err(Fault::thread(error)));
    }
    // The sender is dropped at the end of the thread.
    let _ = is_done.recv_timeout(PATIENT);
    Ok(true)
}

/// A panic, too, ends a change.
struct Unfinished<'a>(&'a Watched);

impl Unfinished<'_> {
    fn finish(self, result: Result<String, Fault>) {
        if let Some(last) = &mut *self.0.changes.last() {
            last.since = Instant::now();
            let result = result.map_err(|fault| fault.to_string());
            let (Ok(text) | Err(text)) = &result;
            output::say(format_args!("{}: {}: {text}", self.0.name, last.what));
            last.result = Some(result);
        }
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(last @ Progress { result: None, .. }) = &mut *self.0.changes.last() {
            last.result = Some(Err("it was interrupted".to_owned()));
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resize { name, size: 0 } => write!(f, "closing {name:?}"),
            Self::Resize { name, size } => write!(f, "resizing {name:?} to {size}"),
            Self::End { name, ticket, .. } => {
                write!(f, "ending the holder of ticket {ticket} of {name:?}")
            }
        }
    }
}

impl Change {
    /// What this tool is called with.
    fn words(&self) -> Vec<String> {
        let wait = humantime::format_duration(LONGEST_SHRINK).to_string();
        let words: &[&str] = match self {
            Self::Resize { name, size } => &[
                "make",
                "--existing",
                "--wait",
                &wait,
                "--",
                name,
                &size.to_string(),
            ],
            Self::End {
                name,
                ticket,
                proof,
            } => &[
                "terminate",
                "--yes",
                &format!("--proof={proof}"),
                "--",
                name,
                &ticket.to_string(),
            ],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn limit(&self, database: &Database) -> Duration {
        let shrink = match self {
            Self::Resize { .. } => LONGEST_SHRINK,
            Self::End { .. } => Duration::ZERO,
        };
        database.limit().unwrap_or(LONGEST_CONNECT) + shrink + LONGEST_REST
    }

    fn make(&self, database: &Database) -> Result<String, Fault> {
        let mut change = database
            .tool()?
            .args(self.words())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (began, limit) = (Instant::now(), self.limit(database));
        while change.try_wait()?.is_none() {
            if began.elapsed() > limit {
                change.kill()?;
                change.wait()?;
                return Err(Fault::new(format_args!(
                    "the database has not answered within {}: the page shows whether the change was made, once it answers",
                    humantime::format_duration(limit)
                )));
            }
            thread::sleep(PAUSE);
        }
        let made = change.wait_with_output()?;
        let printed = |text: &[u8]| String::from_utf8_lossy(text).trim().to_owned();
        if made.status.success() {
            return Ok(printed(&made.stdout));
        }
        let said = printed(&made.stderr);
        let fault = said.strip_prefix("dbsemaphore: ").unwrap_or(&said);
        Err(Fault::new(fault))
    }
}
