//! Acquires the ticket, or ends the request at once after a signal or at the limit.

use super::{Event, asking::Asking, stop};
use crate::{
    database::{Connection, Database},
    fault::Fault,
    options::Run,
};
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

/// How long the tool may take to end after a signal, without the time of its own end.
const LEAVING: Duration = Duration::from_millis(150);

/// The interval at which a cancellation is repeated until the wait has ended.
const CANCEL_INTERVAL: Duration = Duration::from_millis(3);

/// How much longer than its limit a request waits for the server's answer, because the answer has the reason.
const ANSWERING: Duration = Duration::from_millis(250);

pub(super) enum Outcome {
    Granted(SemaphoreTicket<Connection>),
    /// The reason.
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
    // In a thread of its own, because the call blocks until the server answers.
    let token = Arc::new(CancellationToken::new());
    Asking::new(database, options, tell, &token)
        .start()
        .map_err(Fault::thread)?;
    let leave = |is_connected| {
        // Otherwise the request is not in the queue.
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
                return Ok((*answer)?.map_or_else(busy, Outcome::Granted));
            }
            Ok(Event::Signal(signal)) => match signal.number {
                SIGCHLD | SIGCONT => {}
                // A file of this tool has reached its maximum size.
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
                    "can't wait for a ticket: signals can't be received any longer",
                ));
            }
            Err(RecvTimeoutError::Timeout) => {
                leave(is_connected);
                return limit.exceeded(&options.name, is_connected);
            }
        }
    }
}

/// The time limits of a request, by the clock of this process: the server's clock may stand still, or the server may
/// not answer.
struct Limit {
    /// Whether the request joins the queue if too few tickets are available.
    waits: bool,
    /// `None` for a request that does not wait for a ticket.
    wait: Option<Duration>,
    /// `None` for no limit.
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

/// Leaves the queue at once. If this takes too long, the server, which checks its client each second, ends the wait.
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
            if let Ok(Some(ticket)) = *answer {
                release(ticket, end);
            }
            return;
        }
    }
}

/// Cancels the wait repeatedly, because PostgreSQL may miss a cancellation.
fn cancel_until(answered: &AtomicBool, database: &Database, token: &CancellationToken) {
    let Ok(mut conn) = database.connect() else {
        return;
    };
    while !answered.load(SeqCst) && token.cancel(&mut conn).is_ok() {
        thread::sleep(CANCEL_INTERVAL);
    }
}

/// Releases a ticket that was acquired at the last moment. If this takes too long, the end of this process releases it.
fn release(ticket: SemaphoreTicket<Connection>, end: Instant) {
    let (released, is_released) = mpsc::channel();
    let releasing = thread::Builder::new().spawn(move || {
        drop(ticket);
        let _ = released.send(());
    });
    if releasing.is_ok() {
        let _ = is_released.recv_timeout(end.saturating_duration_since(Instant::now()));
    }
}
