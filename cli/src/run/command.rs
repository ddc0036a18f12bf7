//! Starts the command, passes signals on to it, and ends it if its ticket is lost.

use super::{Event, FAILED, code_of_signal};
use crate::{options::Run, signals::Received};
use diesel_dbsemaphore::Ticket;
use nix::{
    libc::{SIGCHLD, SIGINT},
    sys::signal::{self, Signal},
    unistd::Pid,
};
use std::{
    ffi::OsStr,
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, ExitStatus},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Instant,
};

/// Returns the command's exit code, or the one that says why it could not be run.
pub(super) fn supervise(options: &Run, ticket: &Ticket, events: &Receiver<Event>) -> u8 {
    let mut command = match prepare(options) {
        Ok(command) => command,
        Err(error) => return cannot_run(options.command[0].as_os_str(), &error),
    };
    let ids: Vec<String> = ticket.ids().iter().map(i64::to_string).collect();
    command
        .env("DBSEMAPHORE_NAME", ticket.semaphore())
        .env("DBSEMAPHORE_TICKETS", ids.join(","))
        .env(
            "DBSEMAPHORE_FENCING_TOKEN",
            ticket.fencing_token().to_string(),
        );
    match command.spawn() {
        Ok(child) => Supervisor::new(child, options).watch(events),
        Err(error) => cannot_run(options.command[0].as_os_str(), &error),
    }
}

struct Supervisor<'a> {
    child: Child,
    options: &'a Run,
    /// After a loss: when it has had its time.
    kill_at: Option<Instant>,
}

impl<'a> Supervisor<'a> {
    fn new(child: Child, options: &'a Run) -> Self {
        Self {
            child,
            options,
            kill_at: None,
        }
    }

    /// Only here is the child waited for, so until this returns, its process id is nobody else's.
    fn watch(mut self, events: &Receiver<Event>) -> u8 {
        loop {
            match self.next(events) {
                Ok(Event::Signal(Received {
                    number: SIGCHLD, ..
                })) => match self.child.try_wait() {
                    Ok(None) => {}
                    Ok(Some(status)) => return code_of(status),
                    Err(error) => {
                        eprintln!("dbsemaphore: the command's end can't be seen: {error}");
                        return FAILED;
                    }
                },
                // The terminal has sent it to the command as well.
                Ok(Event::Signal(Received {
                    number: SIGINT,
                    from_terminal: true,
                })) => {}
                Ok(Event::Signal(received)) => self.send(received.number),
                Ok(Event::Lost) => self.lose(),
                Ok(Event::Connected(_) | Event::Answered(_)) => {}
                Err(_) => {
                    self.kill_at = None;
                    self.send(Signal::SIGKILL as i32);
                }
            }
        }
    }

    /// An error when the command has had its time.
    fn next(&self, events: &Receiver<Event>) -> Result<Event, RecvTimeoutError> {
        match self.kill_at {
            Some(at) => events.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => events.recv().map_err(Into::into),
        }
    }

    fn lose(&mut self) {
        eprintln!(
            "dbsemaphore: the ticket was lost, somebody else may hold it now: the command gets SIGTERM, and after {} SIGKILL",
            humantime::format_duration(self.options.grace)
        );
        self.send(Signal::SIGTERM as i32);
        // One too far away to be counted is never.
        self.kill_at = Instant::now().checked_add(self.options.grace);
    }

    fn send(&self, number: i32) {
        let sent = Signal::try_from(number)
            .and_then(|signal| signal::kill(Pid::from_raw(self.child.id() as i32), signal));
        if let Err(error) = sent {
            eprintln!("dbsemaphore: signal {number} can't be passed on to the command: {error}");
        }
    }
}

fn code_of(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, Some(number)) => code_of_signal(number),
        (None, None) => FAILED,
    }
}

fn cannot_run(program: &OsStr, error: &io::Error) -> u8 {
    eprintln!(
        "dbsemaphore: {} can't be run: {error}",
        Path::new(program).display()
    );
    if error.kind() == io::ErrorKind::NotFound {
        127
    } else {
        126
    }
}

#[cfg(not(target_os = "linux"))]
fn prepare(options: &Run) -> io::Result<Command> {
    Ok(plain(&options.command))
}

fn plain(words: &[std::ffi::OsString]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

#[cfg(target_os = "linux")]
pub(crate) use with_parent::become_command;
#[cfg(target_os = "linux")]
use with_parent::prepare;

/// Linux lets a process ask for a signal when its parent ends. It has to ask itself, so we become the command in two
/// steps: ourselves again, which asks, and then the command, for which that stays in force.
#[cfg(target_os = "linux")]
mod with_parent {
    use super::{Run, cannot_run, plain};
    use crate::options::Become;
    use nix::sys::{prctl, signal::Signal};
    use std::{
        env, io,
        os::unix::process::{CommandExt, parent_id},
        process::{self, Command},
    };

    pub(crate) fn prepare(options: &Run) -> io::Result<Command> {
        if !options.kill_with_parent {
            return Ok(plain(&options.command));
        }
        let mut command = Command::new(env::current_exe()?);
        command
            .args(["become", &process::id().to_string(), "--"])
            .args(&options.command);
        Ok(command)
    }

    /// Returns only if it can't.
    pub(crate) fn become_command(options: &Become) -> u8 {
        let asked = prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from);
        let error = match asked {
            // It was killed before we asked.
            Ok(()) if parent_id() != options.parent => return 128 + 9,
            Ok(()) => plain(&options.command).exec(),
            Err(error) => error,
        };
        cannot_run(&options.command[0], &error)
    }
}
