//! Other processes: this test binary again, which does one thing.

use super::Database;
use crate::kit::TestDatabase;
use diesel::{Connection, SqliteConnection};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

const ROLE: &str = "DBSEMAPHORE_TEST_CHILD";
const URL: &str = "DBSEMAPHORE_TEST_CHILD_URL";
const MARK: &str = "child: ";

/// A process with which a test talks in lines. Killed when dropped.
pub(crate) struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    pub(crate) fn start(role: &str, database: &Database) -> Self {
        Self::start_by(
            &mut Command::new(env::current_exe().unwrap()),
            role,
            &database.url(),
        )
    }

    /// By a command whose last argument is this binary.
    pub(crate) fn start_by(command: &mut Command, role: &str, url: &str) -> Self {
        let mut child = command
            .args(["--exact", "sqlite::children::child", "--nocapture"])
            .env(ROLE, role)
            .env(URL, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take().unwrap(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub(crate) fn says(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(
                self.stdout.read_line(&mut line).unwrap() > 0,
                "the process ended without a word"
            );
            // libtest writes "test children::child ... " before the first line.
            if let Some((_, said)) = line.trim_end().split_once(MARK) {
                return said.to_owned();
            }
        }
    }

    pub(crate) fn tell(&mut self, word: &str) {
        writeln!(self.stdin, "{word}").unwrap();
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(word: &str) {
    println!("{MARK}{word}");
}

fn listen() {
    io::stdin().read_line(&mut String::new()).unwrap();
}

#[test]
fn child() {
    let (Ok(role), Ok(url)) = (env::var(ROLE), env::var(URL)) else {
        return;
    };
    let mut conn = SqliteConnection::establish(&url).unwrap();
    match role.as_str() {
        "hold" => report(SemaphoreTicket::require(conn, "x")),
        "wait" => report(SemaphoreTicket::require(
            conn,
            Request::new("x").wait(Duration::from_secs(30)),
        )),
        "hold with a child" => {
            let guard = SemaphoreTicket::require(conn, "x");
            let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
            say(&sleeper.id().to_string());
            report(guard);
            sleeper.kill().unwrap();
        }
        "migrate" => {
            say("ready");
            listen();
            sem::run_migrations(&mut conn).unwrap();
            let created = sem::ensure(&mut conn, "x", 1).unwrap();
            say(if created { "created" } else { "found" });
        }
        role => panic!("no role {role:?}"),
    }
}

/// Says what came of it, and holds the ticket until told.
fn report(guard: sem::Result<SemaphoreTicket<SqliteConnection>>) {
    match &guard {
        Ok(guard) => say(&format!("holds {}", guard.ticket())),
        Err(error) => say(&error.to_string()),
    }
    listen();
}
