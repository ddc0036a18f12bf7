//! Other processes: this test binary again, which does one thing.

use super::{Database, full_disk};
use crate::kit::{
    TestDatabase,
    process::{Process, ROLE, URL, listen, say},
};
use diesel::{Connection, SqliteConnection};
use diesel_dbsemaphore::{self as sem, Request, SemaphoreTicket};
use fork::{Fork, fork};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::waitpid,
    },
    unistd::Pid,
};
use std::{env, process::Command, time::Duration};

pub(crate) fn start(role: &str, database: &Database) -> Process {
    start_by(
        &mut Command::new(env::current_exe().unwrap()),
        role,
        database,
    )
}

/// By a command that ends with this binary.
pub(crate) fn start_by(command: &mut Command, role: &str, database: &Database) -> Process {
    Process::launch(command, "sqlite::children::child", role, &database.url())
}

/// Not a test when run as one.
#[test]
fn child() {
    let Ok(role) = env::var(ROLE) else { return };
    let url = env::var(URL).unwrap();
    let mut conn = SqliteConnection::establish(&url).unwrap();
    match role.as_str() {
        "full disk" => full_disk::child(&url),
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
            sleeper.wait().unwrap();
        }
        "hold with a fork" => {
            let mut guard = SemaphoreTicket::require(conn, "x").unwrap();
            match fork().unwrap() {
                Fork::Child => {
                    let check = guard.check().map_err(|error| error.to_string());
                    say(&format!("fork: {check:?}"));
                    drop(guard);
                    // Nothing else of the process is run twice.
                    kill(Pid::this(), Signal::SIGKILL).unwrap();
                    unreachable!();
                }
                Fork::Parent(child) => waitpid(Pid::from_raw(child), None).map(drop).unwrap(),
            }
            say(&format!("parent: {:?}", guard.check()));
            listen();
            guard.release().unwrap();
            say("released");
            listen();
        }
        "migrate" => {
            say("ready");
            listen();
            sem::run_migrations(&mut conn).unwrap();
            let created = sem::ensure(&mut conn, "x", 1).unwrap();
            say(if created { "created" } else { "found" });
        }
        role => panic!("no such role: {role}"),
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
