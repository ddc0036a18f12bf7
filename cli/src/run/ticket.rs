//! Gets the ticket, or leaves at once when told to or when time is up.

use super::{Event, asking::Asking, stop};
use crate::{database::Database, fault::Fault, options::Run};
use diesel::PgConnection;
use diesel_dbsemaphore::{CancellationToken, SemaphoreTicket};
use nix::libc::{SIGCHLD, SIGCONT, SIGTSTP, SIGXFSZ};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a signal may take to end the tool, less what its own end takes.
const LEAVING: Duration = Duration::from_millis(150);

/// How often a wait is cancelled until it has ended.
const CANCEL_INTERVAL: Duration = Duration::from_millis(3);

/// How much longer than its limit a request waits for the server's answer, which says more than that time is up.
const ANSWERING: Duration = Duration::from_millis(250);

pub(super) enum Outcome {
    Granted(SemaphoreTicket<PgConnection>),
    /// With the reason.
    Busy(String),
    Interrupted(i32),
}

pub(super) fn acquire(
    database: &Database,
    options: &Run,
    tell: &Sender<Event>,
    events: &Receiver<Event>,
) -> Result<Outcome, Fault> {
    let limit = Limit::new(database, options);
    // A thread of its own, because it blocks: only the server can wake it.
    let token = Arc::new(CancellationToken::new());
    Asking::new(database, options, tell, &token)
        .start()
        .map_err(Fault::thread)?;
    let leave = |is_connected| {
        // Otherwise there is no place in the queue.
        if is_connected && limit.waits {
            leave(database, &token, events);
        }
    };
    let mut is_connected = false;
    loop {
        match limit.next(events) {
            Ok(Event::Connected) => is_connected = true,
            Ok(Event::Answered(answer)) => {
                let busy = || Outcome::Busy(limit.none_available(&options.name));
                return Ok(answer?.map_or_else(busy, Outcome::Granted));
            }
            Ok(Event::Signal(signal)) => match signal.number {
                SIGCHLD | SIGCONT => {}
                // A file of ours has become too large.
                SIGXFSZ if signal.from_kernel => {}
                SIGTSTP => stop(),
                number => {
                    leave(is_connected);
                    return Ok(Outcome::Interrupted(number));
                }
            },
            Ok(Event::Lost) => {}
            Ok(Event::Deaf) | Err(RecvTimeoutError::Disconnected) => {
                leave(is_connected);
                return Err(Fault::new(
                    "can't wait for a ticket: no signal can be heard any longer",
                ));
            }
            Err(RecvTimeoutError::Timeout) => {
                leave(is_connected);
                return limit.exceeded(&options.name, is_connected);
            }
        }
    }
}

/// Until when a request may take, by our clock: the server's may stand still, or the server be silent.
struct Limit {
    /// Whether the request stands in the queue if too few tickets are available.
    waits: bool,
    /// `None` for a request that doesn't wait for a ticket.
    wait: Option<Duration>,
    /// `None` for ever.
    end: Option<Instant>,
}

impl Limit {
    fn new(database: &Database, options: &Run) -> Self {
        let wait = options.wait.filter(|wait| !wait.is_zero());
        let limit = if options.wait_forever {
            None
        } else {
            wait.or_else(|| database.limit())
        };
        let end =
            limit.and_then(|limit| Instant::now().checked_add(limit.saturating_add(ANSWERING)));
        let waits = options.wait_forever || wait.is_some();
        Self { waits, wait, end }
    }

    fn next(&self, events: &Receiver<Event>) -> Result<Event, RecvTimeoutError> {
        match self.end {
            Some(end) => events.recv_timeout(end.saturating_duration_since(Instant::now())),
            None => events.recv().map_err(Into::into),
        }
    }

    fn none_available(&self, name: &str) -> String {
        match self.wait {
            None => format!(
                "semaphore {name:?} has too few tickets available: wait for them with --wait, or try again later"
            ),
            Some(wait) => format!(
                "semaphore {name:?} had too few tickets available within {}: wait longer, or try again later",
                humantime::format_duration(wait)
            ),
        }
    }

    fn exceeded(&self, name: &str, is_connected: bool) -> Result<Outcome, Fault> {
        match self.wait {
            Some(_) if is_connected => Ok(Outcome::Busy(self.none_available(name))),
            Some(wait) => Ok(Outcome::Busy(format!(
                "no connection to the database within {}: check that the server answers, or wait longer",
                humantime::format_duration(wait)
            ))),
            None => Err(Fault::new(
                "no answer from the database in time: check that the server answers, or set connect_timeout in the \
                 database's URL",
            )),
        }
    }
}

/// Leaves the queue, for the server would look only each second whether we are still there. If this takes too long, the
/// server does so all the same.
fn leave(database: &Database, token: &Arc<CancellationToken>, events: &Receiver<Event>) {
    let end = Instant::now() + LEAVING;
    let answered = Arc::new(AtomicBool::new(false));
    let cancelling = {
        let (database, token, answered) =
            (database.clone(), Arc::clone(token), Arc::clone(&answered));
        thread::Builder::new().spawn(move || cancel_until(&answered, &database, &token))
    };
    if cancelling.is_err() {
        return;
    }
    while let Ok(event) = events.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if let Event::Answered(answer) = event {
            answered.store(true, SeqCst);
            if let Ok(Some(ticket)) = answer {
                release(ticket, end);
            }
            return;
        }
    }
}

/// Cancels our wait again and again: PostgreSQL may miss a cancel.
fn cancel_until(answered: &AtomicBool, database: &Database, token: &CancellationToken) {
    let Ok(mut conn) = database.connect() else {
        return;
    };
    while !answered.load(SeqCst) && token.cancel(&mut conn).is_ok() {
        thread::sleep(CANCEL_INTERVAL);
    }
}

/// Releases a ticket that was granted at the last moment. The end of this process does so, if this takes too long.
fn release(ticket: SemaphoreTicket<PgConnection>, end: Instant) {
    let (released, is_released) = mpsc::channel();
    let releasing = thread::Builder::new().spawn(move || {
        drop(ticket);
        let _ = released.send(());
    });
    if releasing.is_ok() {
        let _ = is_released.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}
