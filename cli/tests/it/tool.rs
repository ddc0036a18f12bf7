//! What several topics need.

use diesel_dbsemaphore as sem;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use stand::{Database, eventually};
use std::{
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Output, Stdio},
};

/// The tool, for this database. `env`, because whoever runs the tests may have had a signal ignored, as shells do with
/// SIGINT for what runs in the background, and that is inherited.
pub(crate) fn tool(url: &str) -> Command {
    let mut command = Command::new("env");
    command
        .args(["--default-signal", env!("CARGO_BIN_EXE_dbsemaphore")])
        .env("DATABASE_URL", url)
        .stdin(Stdio::null());
    command
}

/// What it prints, with these words.
pub(crate) fn tell(database: &Database, words: &[&str]) -> Output {
    tool(&database.url()).args(words).output().unwrap()
}

/// Killed when dropped.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.0.id() as i32);
        kill(pid, signal).unwrap();
    }

    /// Its exit code, or the negative number of the signal that ended it.
    pub(crate) fn end(&mut self) -> i32 {
        code(self.0.wait().unwrap())
    }
}

pub(crate) fn code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| -status.signal().unwrap_or_default())
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// With the tables and one semaphore, "x".
pub(crate) fn database_with(tickets: u32) -> Database {
    let database = Database::create();
    let mut conn = database.connect();
    sem::run_migrations(&mut conn).unwrap();
    sem::make(&mut conn, "x", tickets).unwrap();
    database
}

pub(crate) fn until_waiting(database: &Database, waiters: usize) {
    let mut conn = database.connect();
    eventually("so many wait", || {
        sem::waiters(&mut conn, "x").unwrap().len() == waiters
    });
}

pub(crate) fn until_held(database: &Database, holders: usize) {
    let mut conn = database.connect();
    eventually("so many hold", || {
        sem::holders(&mut conn, "x").unwrap().len() == holders
    });
}
