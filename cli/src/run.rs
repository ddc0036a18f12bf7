//! `dbsemaphore run`: holds a ticket while a command runs.

mod command;
mod ticket;

use crate::{
    database::Database,
    fault::Fault,
    options::Run,
    signals::{self, Received},
};
use diesel::PgConnection;
use diesel_dbsemaphore::SemaphoreTicket;
use nix::libc::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use std::{sync::mpsc, time::Duration};
use ticket::Outcome;

#[cfg(target_os = "linux")]
pub(crate) use command::become_command;

/// The exit code when it isn't the command that failed, as `timeout`, `env` and `nohup` have it.
pub(crate) const FAILED: u8 = 125;

/// How soon a lost ticket is noticed: within that time where the server answers.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What may happen, in the order in which it does.
enum Event {
    /// The process id of the session in which the ticket is going to be held.
    Connected(i32),
    Answered(Result<Option<SemaphoreTicket<PgConnection>>, Fault>),
    Signal(Received),
    Lost,
}

/// Returns the exit code.
pub(crate) fn run(database: &Database, options: &Run) -> Result<u8, Fault> {
    let (tell, events) = mpsc::channel();
    let forwarded = [SIGINT, SIGTERM, SIGHUP];
    let heard = forwarded
        .into_iter()
        .filter(|number| !signals::is_ignored(*number));
    let teller = tell.clone();
    signals::listen(heard.chain([SIGCHLD]), move |signal| {
        // Nobody listens any more when the exit code is known.
        let _ = teller.send(Event::Signal(signal));
    })?;

    let ticket = match ticket::acquire(database, options, &tell, &events)? {
        Outcome::Granted(ticket) => ticket,
        Outcome::Busy => {
            if !options.quiet {
                eprintln!(
                    "dbsemaphore: semaphore {:?} has too few tickets free: wait for them with --wait, or try again later",
                    options.name
                );
            }
            return Ok(options.busy_code);
        }
        Outcome::Interrupted(signal) => return Ok(code_of_signal(signal)),
    };

    let ticket = ticket.watch(CHECK_INTERVAL);
    ticket.on_lost(move || drop(tell.send(Event::Lost)));
    let code = command::supervise(options, ticket.ticket(), &events);
    let lost = ticket.release().is_err();
    if lost {
        eprintln!("dbsemaphore: the ticket was lost before the command had ended");
    }
    Ok(if lost { options.lost_code } else { code })
}

/// As shells tell of it.
fn code_of_signal(number: i32) -> u8 {
    u8::try_from(128 + number).unwrap_or(u8::MAX)
}
