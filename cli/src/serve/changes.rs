//! Changes that operators make: one at a time in each database, on a connection of its own.

use super::watched::Watched;
use crate::{database::Database, fault::Fault, output, terminate};
use diesel_dbsemaphore as sem;
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
const LONGEST: &str = "30s";

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

/// Starts a change, and waits for its result for a short time. Returns `false` if another change is in progress.
pub(super) fn start(watched: &Arc<Watched>, change: Change) -> Result<bool, Fault> {
    {
        let mut last = watched.changes.last();
        if last.as_ref().is_some_and(|last| last.result.is_none()) {
            return Ok(false);
        }
        *last = Some(Progress {
            what: change.to_string(),
            since: Instant::now(),
            result: None,
        });
    }
    let (done, is_done) = mpsc::channel::<()>();
    let changing = Arc::clone(watched);
    let thread = thread::Builder::new().name("changing".to_owned());
    let started = thread.spawn(move || {
        let _done = done;
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
    fn make(&self, database: &Database) -> Result<String, Fault> {
        let mut conn = database.connect()?;
        match self {
            Self::Resize { name, size } => {
                // A typing error in a request must not create a semaphore.
                sem::usage_of(&mut conn, name)?;
                drop(conn);
                resize(database, name, *size)
            }
            Self::End {
                name,
                ticket,
                proof,
            } => {
                let hold = terminate::find(&mut conn, name, *ticket)?;
                if !hold.is_shown_by(proof) {
                    return Err(Fault::new("the ticket has another holder now"));
                }
                terminate::end(&mut conn, &hold)
            }
        }
    }
}

/// Resizes, in a process of its own. On SQLite, nothing ends a wait for held tickets but the end of its process.
fn resize(database: &Database, name: &str, size: u32) -> Result<String, Fault> {
    let size = size.to_string();
    let made = database
        .tool()?
        .args(["make", "--wait", LONGEST, "--", name, &size])
        .stdin(Stdio::null())
        .output()?;
    let printed = |text: &[u8]| String::from_utf8_lossy(text).trim().to_owned();
    if made.status.success() {
        return Ok(printed(&made.stdout));
    }
    let said = printed(&made.stderr);
    let fault = said.strip_prefix("dbsemaphore: ").unwrap_or(&said);
    Err(Fault::new(fault))
}
