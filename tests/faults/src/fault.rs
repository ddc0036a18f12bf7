//! A fault that was done: what, when, and whom it concerned.

use crate::{
    fleet::Name,
    inject::AT_ONCE,
    kind::Kind,
    log::{Time, now},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{thread, time::Duration};

/// Whom a fault concerns: whose loss of a ticket it explains.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Target {
    Process(Name),
    Backend(i32),
    /// Transactions of the application's own, which its timeouts end.
    LowLevel,
    BehindPooler,
    All,
    Nobody,
}

#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) at: Time,
    /// When it was over.
    pub(crate) end: Time,
    pub(crate) target: Target,
    /// How long until the server had taken back what the target had.
    pub(crate) free_after: Option<Duration>,
}

impl Fault {
    pub(crate) fn begin(kind: Kind, target: Target) -> Self {
        Self {
            kind,
            at: now(),
            end: now(),
            target,
            free_after: None,
        }
    }
}

/// A process that is stopped as long as this lives.
pub(crate) struct Stopped(i32);

impl Stopped {
    pub(crate) fn new(pid: i32) -> Self {
        signal(pid, Signal::SIGSTOP);
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        signal(self.0, Signal::SIGCONT);
    }
}

pub(crate) fn signal(pid: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(pid), signal);
}

/// Takes a fault back: whatever happens, it isn't to last for ever. The server may have been ended from below us.
pub(crate) fn undo(fault: &Fault, mut take_back: impl FnMut() -> Option<()>) {
    while take_back().is_none() && now() < fault.at + AT_ONCE {
        thread::sleep(Duration::from_millis(2));
    }
}
