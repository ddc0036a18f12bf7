//! `dbsemaphore run`: holds a ticket while a command runs.

mod asking;
mod command;
mod supervisor;
mod ticket;

use crate::{
    database::{Connection, Database},
    fault::Fault,
    options::Run,
    output,
    signals::{self, Received},
};
use diesel_dbsemaphore::SemaphoreTicket;
use nix::{
    libc::{SIGCHLD, SIGCONT, SIGTSTP},
    sys::signal::SigSet,
};
use signal_hook::low_level;
use std::{
    mem::ManuallyDrop,
    sync::mpsc::{self, Sender},
    time::Duration,
};
use ticket::Outcome;

#[cfg(target_os = "linux")]
pub(crate) use command::become_command;

/// The exit code if the tool fails and not the command, as of `timeout`, `env` and `nohup`.
pub(crate) const FAILED: u8 = 125;

/// How soon a lost ticket is detected if the server answers.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The events, in the order in which they happen.
enum Event {
    /// The session that will hold the ticket is connected.
    Connected,
    Answered(Box<Result<Option<SemaphoreTicket<Connection>>, Fault>>),
    Signal(Received),
    /// The thread that receives signals has ended.
    Deaf,
    Lost,
}

/// The receiver of signals. Its end, for example by a panic, is an event, too.
struct Ear(Sender<Event>);

impl Ear {
    fn hear(&self, signal: Received) {
        // When the exit code is known, nobody receives events.
        let _ = self.0.send(Event::Signal(signal));
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        let _ = self.0.send(Event::Deaf);
    }
}

/// Runs the command and returns the exit code. The command gets the signal mask `blocked`.
pub(crate) fn run(database: &Database, options: &Run, blocked: &SigSet) -> Result<u8, Fault> {
    if !output::is_ready() {
        return Err(Fault::new(
            "no thread can be started: raise the limit of processes (ulimit -u)",
        ));
    }
    let (tell, events) = mpsc::channel();
    // Never dropped: the channel may contain a ticket, and to release a ticket may block. The end of the process releases it.
    let events = ManuallyDrop::new(events);
    let job_control = [SIGTSTP, SIGCONT]
        .into_iter()
        .filter(|number| !signals::is_ignored(*number));
    let ear = Ear(tell.clone());
    // If SIGCHLD is ignored, the exit code of the command is unknown.
    let heard = signals::fatal().chain(job_control).chain([SIGCHLD]);
    signals::listen(heard, move |signal| ear.hear(signal)).map_err(Fault::thread)?;

    let ticket = match ticket::acquire(database, options, &tell, &events)? {
        Outcome::Granted(ticket) => ticket,
        Outcome::Busy(reason) => {
            if !options.quiet {
                output::say(reason);
            }
            return Ok(options.busy_code);
        }
        Outcome::Interrupted(signal) => return Ok(code_of_signal(signal)),
    };

    let ticket = ticket.watch(CHECK_INTERVAL);
    let lost = tell.clone();
    ticket.on_lost(move || drop(lost.send(Event::Lost)));
    let code = supervisor::supervise(options, &ticket, &events, blocked);
    let is_lost = ticket.release().is_err();
    match code {
        Some(code) if !is_lost => return Ok(code),
        Some(_) => output::say("the ticket was lost before the command had ended"),
        None => output::say("the ticket was lost before the command was started"),
    }
    Ok(options.lost_code)
}

/// Returns the exit code that shells use for a signal.
fn code_of_signal(number: i32) -> u8 {
    u8::try_from(128 + number).unwrap_or(u8::MAX)
}

/// Stops this process, until it gets SIGCONT.
fn stop() {
    if let Err(error) = low_level::raise(nix::libc::SIGSTOP) {
        output::say(format_args!("can't stop: {error}"));
    }
}
