//! Passes signals on to the command. Ends the command if its ticket is lost, or if the tool can't supervise it any
//! longer.

use super::{Event, FAILED, code_of_signal, command, stop};
use crate::{database::Connection, options::Run, output, signals::Received};
use diesel_dbsemaphore::WatchedTicket;
use nix::{
    errno::Errno,
    libc::{ECHILD, SIGCHLD, SIGCONT, SIGINT, SIGKILL, SIGQUIT, SIGTERM, SIGTSTP, SIGXFSZ},
    sys::{
        signal::SigSet,
        wait::{WaitPidFlag, waitpid},
    },
    unistd,
};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use std::{
    io,
    os::unix::process::ExitStatusExt,
    process::{Child, ExitStatus},
    sync::mpsc::{Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// The interval at which the command and its ticket are checked, in addition to events.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// The interval while the command is being ended, which causes no event.
const ENDING_INTERVAL: Duration = Duration::from_millis(10);

/// Runs and supervises the command. Returns its exit code, or the code for the reason why it could not be run. `None` if the
/// ticket was lost before: the command is not started.
pub(super) fn supervise(
    options: &Run,
    ticket: &WatchedTicket<Connection>,
    events: &Receiver<Event>,
    blocked: &SigSet,
) -> Option<u8> {
    // The ticket can't be watched, for example.
    if ticket.is_lost() {
        return None;
    }
    Some(match command::start(options, ticket.ticket(), blocked) {
        Ok(child) => Supervisor::new(child, options).watch(ticket, events),
        Err(error) => command::cannot_run(&options.command, &error),
    })
}

/// Ends the command if this is dropped before the command has ended, for example by a panic.
struct Supervisor<'a> {
    child: Child,
    options: &'a Run,
    /// The exit code, after the command has ended.
    code: Option<u8>,
    /// SIGTERM was sent.
    ending: bool,
    /// When SIGKILL is due.
    kill_at: Option<Instant>,
    killed: bool,
}

impl<'a> Supervisor<'a> {
    fn new(child: Child, options: &'a Run) -> Self {
        Self {
            child,
            options,
            code: None,
            ending: false,
            kill_at: None,
            killed: false,
        }
    }

    /// Only this function waits for the child. Until it returns, no other process has the process id.
    fn watch(mut self, ticket: &WatchedTicket<Connection>, events: &Receiver<Event>) -> u8 {
        loop {
            match events.recv_timeout(self.interval()) {
                Ok(Event::Signal(received)) => self.pass_on(received),
                Ok(Event::Deaf) | Err(RecvTimeoutError::Disconnected) => {
                    self.end("signals can't be passed on any longer");
                }
                Ok(Event::Lost | Event::Connected | Event::Answered(_))
                | Err(RecvTimeoutError::Timeout) => {}
            }
            if ticket.is_lost() {
                self.end("the ticket was lost, and another request may hold it now");
            }
            if let Some(code) = self.look() {
                return if self.ending { FAILED } else { code };
            }
        }
    }

    fn interval(&self) -> Duration {
        if self.ending {
            ENDING_INTERVAL
        } else {
            LOOK_INTERVAL
        }
    }

    fn pass_on(&self, received: Received) {
        // In the foreground of its terminal, the command has received the signal, too.
        let is_shared = received.from_kernel && !self.options.process_group;
        match received.number {
            SIGCHLD => {}
            SIGINT | SIGQUIT if is_shared => {}
            // A file of this tool has reached its maximum size.
            SIGXFSZ if received.from_kernel => {}
            // The grace period of a command continues while the tool is stopped.
            SIGTSTP if self.ending => {}
            SIGTSTP => {
                if !is_shared {
                    self.send(SIGTSTP);
                }
                stop();
            }
            number => self.send(number),
        }
    }

    /// Sends SIGTERM to the command, once. The signal precedes the message, which may take time.
    fn end(&mut self, reason: &str) {
        if self.ending {
            return;
        }
        self.ending = true;
        self.send(SIGTERM);
        // A stopped process receives a signal only when it continues.
        self.send(SIGCONT);
        // A time that can't be represented is never reached.
        self.kill_at = Instant::now().checked_add(self.options.grace);
        output::say(format_args!(
            "{reason}: the command gets SIGTERM, and after {} SIGKILL",
            humantime::format_duration(self.options.grace)
        ));
    }

    /// Returns the exit code if nothing is left to supervise.
    fn look(&mut self) -> Option<u8> {
        if self.kill_at.is_some_and(|at| at <= Instant::now()) {
            self.kill_at = None;
            self.killed = true;
            self.send(SIGKILL);
        }
        if self.code.is_none() {
            match self.child.try_wait() {
                Ok(status) => self.code = status.map(code_of),
                // Another part of this process has waited for the child.
                Err(error) if error.raw_os_error() == Some(ECHILD) => {
                    output::say(format_args!("the command's exit code is unknown: {error}"));
                    self.code = Some(FAILED);
                }
                Err(error) => {
                    self.end(&format!("the command's state is unknown: {error}"));
                    self.code = self.killed.then_some(FAILED);
                }
            }
        }
        // After a loss, the rest of the group has the same grace period as its leader.
        let waits_for_group = self.ending && self.options.process_group && !self.killed;
        self.code
            .filter(|_| !waits_for_group || self.is_group_empty())
    }

    /// Returns whether the group has no process any more. The checks are frequent enough: the number of an empty group
    /// is reused only after all other numbers.
    fn is_group_empty(&self) -> bool {
        let group = self.pid();
        // If this is process 1, orphans of the group are its children.
        let orphan = unistd::Pid::from_raw(-group.as_raw_pid());
        while waitpid(orphan, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status.pid().is_some())
        {
        }
        test_kill_process_group(group) == Err(rustix::io::Errno::SRCH)
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn send(&self, number: i32) {
        // A group can outlive its leader. The number of a process that was waited for can belong to another process.
        if self.code.is_some() && !self.options.process_group {
            return;
        }
        let sent = match signal(number) {
            None => Err(io::Error::from(Errno::EINVAL)),
            Some(signal) if self.options.process_group => {
                kill_process_group(self.pid(), signal).map_err(io::Error::from)
            }
            Some(signal) => kill_process(self.pid(), signal).map_err(io::Error::from),
        };
        if let Err(error) = sent {
            output::say(format_args!(
                "signal {number} can't be passed on to the command: {error}"
            ));
        }
    }
}

impl Drop for Supervisor<'_> {
    fn drop(&mut self) {
        if self.code.is_some() {
            return;
        }
        self.end("the command can't be supervised any longer");
        while self.look().is_none() {
            thread::sleep(ENDING_INTERVAL);
        }
    }
}

#[cfg(target_os = "linux")]
fn signal(number: i32) -> Option<Signal> {
    use rustix_libc_wrappers::process::SignalExt;
    Signal::from_raw(number)
}

#[cfg(not(target_os = "linux"))]
fn signal(number: i32) -> Option<Signal> {
    Signal::from_named_raw(number)
}

fn code_of(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, Some(number)) => code_of_signal(number),
        (None, None) => FAILED,
    }
}

#[cfg(test)]
mod tests;
