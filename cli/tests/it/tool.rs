//! What several topics need.

use crate::database::Database;
use diesel_dbsemaphore as sem;
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use stand::{Bouncer, PoolMode, eventually};
use std::{
    env,
    ffi::OsStr,
    fs,
    io::Read,
    os::{fd::AsFd, unix::process::ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

pub(crate) const TOOL: &str = env!("CARGO_BIN_EXE_dbsemaphore");

/// Through which kind of pooler the tool reaches its database, if any: `DBSEMAPHORE_TEST_POOLER` says so.
pub(crate) fn pool_mode() -> Option<PoolMode> {
    match env::var("DBSEMAPHORE_TEST_POOLER").as_deref() {
        Ok("session") => Some(PoolMode::Session),
        Ok("transaction") => Some(PoolMode::Transaction),
        Ok(other) => panic!("DBSEMAPHORE_TEST_POOLER is session or transaction, not {other:?}"),
        Err(_) => None,
    }
}

/// The URL by which the tool reaches a database of the server that all tests share.
pub(crate) fn url(database: &Database) -> String {
    static BOUNCER: OnceLock<Bouncer> = OnceLock::new();
    match (pool_mode(), database) {
        (Some(mode), Database::Postgres(database)) => BOUNCER
            .get_or_init(|| Bouncer::start_on(&database.url(), mode, &[]))
            .url(database.name()),
        _ => database.url(),
    }
}

/// The tool, for this database.
pub(crate) fn tool(database: &Database) -> Command {
    tool_at(url(database))
}

/// The tool, for the database of this URL.
pub(crate) fn tool_at(url: impl AsRef<OsStr>) -> Command {
    tool_from(&["env", "--default-signal"], url)
}

/// The tool, run by a program that runs another, such as `env`. Most tests need `env --default-signal`: whoever runs the
/// tests may have had a signal ignored, as shells do with SIGINT for what runs in the background, and that is inherited.
pub(crate) fn tool_from(launcher: &[&str], url: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(launcher[0]);
    command
        .args(&launcher[1..])
        .arg(TOOL)
        .env("DATABASE_URL", url)
        .env_remove("PGCONNECT_TIMEOUT")
        .stdin(Stdio::null());
    command
}

/// A script on a terminal of its own, which finds the tool as `$TOOL`. Its keys are standard input.
pub(crate) fn on_terminal(database: &Database, script: &str) -> Command {
    let mut terminal = Command::new("env");
    terminal
        .args(["--default-signal", "script", "--quiet", "--return"])
        .args(["--command", script, "/dev/null"])
        .env("DATABASE_URL", url(database))
        .env("TOOL", TOOL)
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    terminal
}

/// What it prints, with these words.
pub(crate) fn tell(database: &Database, words: &[&str]) -> Output {
    tool(database).args(words).output().unwrap()
}

/// Killed when dropped.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.0.id(), signal as i32);
    }

    /// Its exit code, or the negative number of the signal that ended it.
    pub(crate) fn end(&mut self) -> i32 {
        self.end_within(Duration::from_secs(60))
    }

    /// As [`end`](Self::end), for what has to end by then.
    pub(crate) fn end_within(&mut self, limit: Duration) -> i32 {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return code(status);
            }
            assert!(Instant::now() < deadline, "still there after {limit:?}");
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// The next line of its standard output, empty at the end. Panics if none comes within 30 seconds.
    pub(crate) fn line(&mut self) -> String {
        self.next_line().unwrap_or_default()
    }

    /// The next line that ends so.
    pub(crate) fn line_with(&mut self, end: &str) -> String {
        loop {
            let line = self.next_line().expect("no line has that end");
            if line.ends_with(end) {
                return line;
            }
        }
    }

    /// Whether there is something to read on its standard output.
    pub(crate) fn has_printed(&self) -> bool {
        let stdout = self.0.stdout.as_ref().unwrap();
        let mut ready = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
        poll(&mut ready, PollTimeout::ZERO).unwrap() == 1
    }

    fn next_line(&mut self) -> Option<String> {
        let stdout = self.0.stdout.as_mut().unwrap();
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            let mut ready = [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)];
            let comes = poll(&mut ready, PollTimeout::from(30_000_u16)).unwrap();
            assert_eq!(
                comes,
                1,
                "no line within 30 s: {}",
                String::from_utf8_lossy(&line)
            );
            let mut byte = [0];
            // At the end of a terminal, Linux reports an error.
            if stdout.read(&mut byte).unwrap_or(0) == 0 {
                return None;
            }
            line.extend(byte);
        }
        Some(String::from_utf8_lossy(&line).trim().to_owned())
    }

    /// All that it writes to standard error, to its end.
    pub(crate) fn said(&mut self) -> String {
        let mut said = String::new();
        let stderr = self.0.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        said
    }
}

/// By its number, for the real-time signals have no name here.
pub(crate) fn send(pid: u32, signal: i32) {
    match Signal::try_from(signal) {
        Ok(signal) => kill(Pid::from_raw(pid as i32), signal).unwrap(),
        Err(_) => {
            let script = format!("kill -{signal} {pid}");
            let sent = Command::new("sh").args(["-c", &script]).status();
            assert!(sent.unwrap().success());
        }
    }
}

/// The state of a process, as /proc has it: S sleeps, T is stopped, and so on.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.chars().next()
}

pub(crate) fn is_alive(pid: u32) -> bool {
    // A zombie is dead.
    state(pid).is_some_and(|state| state != 'Z')
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

/// How often a test of chances repeats itself: `DBSEMAPHORE_TEST_ROUNDS`, or as often as a run of the suite can afford.
pub(crate) fn rounds(affordable: u32) -> u32 {
    env::var("DBSEMAPHORE_TEST_ROUNDS").map_or(affordable, |rounds| rounds.parse().unwrap())
}

/// By a process of its own: a program that is open for writing can't be run, and what one test has open, the processes have
/// that another one is about to start.
pub(crate) fn copy_file(from: &Path, to: &Path) {
    assert!(
        Command::new("cp")
            .arg(from)
            .arg(to)
            .status()
            .unwrap()
            .success()
    );
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
