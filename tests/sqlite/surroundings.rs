//! Databases and file systems in which tickets can't be held, or are in danger.

use super::{Database, children::start};
use crate::kit::{TestDatabase, eventually, process::Process};
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use diesel_dbsemaphore::{self as sem, Error, Request, SemaphoreTicket};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{fs, io::ErrorKind, os::unix::fs::symlink, process::Command, time::Duration};

pub(super) fn assert_unsupported<T>(outcome: sem::Result<T>, reason: &str) {
    match outcome.map(drop) {
        Err(Error::Unsupported { reason: found, .. }) => assert!(found.contains(reason), "{found}"),
        other => panic!("{other:?}"),
    }
}

pub(super) fn assert_lost<T>(outcome: sem::Result<T>, reason: &str) {
    match outcome.map(drop) {
        Err(Error::TicketLost {
            source: Some(source),
            ..
        }) => {
            assert!(source.to_string().contains(reason), "{source}");
        }
        other => panic!("{other:?}"),
    }
}

pub(super) fn connect(url: &str) -> SqliteConnection {
    SqliteConnection::establish(url).unwrap()
}

#[test]
fn databases_without_a_file_are_refused() {
    for url in [":memory:", "", "file:shared?mode=memory&cache=shared"] {
        let mut conn = connect(url);
        sem::run_migrations(&mut conn).unwrap();
        assert!(sem::ensure(&mut conn, "x", 1).unwrap());
        assert_unsupported(sem::holders(&mut conn, "x"), "in memory");
        assert_unsupported(SemaphoreTicket::require(conn, "x"), "in memory");
    }
}

#[test]
fn hard_links_are_refused_and_symbolic_links_followed() {
    let database = Database::with("x", 1);
    let other = database.folder.path().join("other.db");
    symlink(database.path(), &other).unwrap();
    let held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let through_link = SemaphoreTicket::acquire(connect(other.to_str().unwrap()), "x");
    assert!(through_link.unwrap().is_none());
    drop(held);
    fs::remove_file(&other).unwrap();
    fs::hard_link(database.path(), &other).unwrap();
    for path in [&other, &database.path()] {
        let refused = SemaphoreTicket::acquire(connect(path.to_str().unwrap()), "x");
        assert_unsupported(refused, "hard links");
    }
}

#[test]
fn deleted_lock_folder_loses_tickets_and_tokens_rise() {
    let database = Database::with("x", 1);
    let mut held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let watched = SemaphoreTicket::acquire(database.connect(), "x").unwrap();
    assert!(watched.is_none());
    database.delete_lock_folder();
    let next = SemaphoreTicket::require(database.connect(), "x").unwrap();
    assert_eq!(next.ticket().ids(), held.ticket().ids());
    assert!(next.ticket().fencing_token() > held.ticket().fencing_token());
    assert_lost(held.check(), "deleted or replaced");
    drop(held);
    assert!(
        SemaphoreTicket::acquire(database.connect(), "x")
            .unwrap()
            .is_none()
    );
}

#[test]
fn watch_reports_a_deleted_lock_folder() {
    let database = Database::with("x", 1);
    let held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let watched = held.watch(Duration::from_millis(5));
    assert!(!watched.wait_lost(Duration::from_millis(30)));
    database.delete_lock_folder();
    assert!(watched.wait_lost(Duration::from_secs(5)));
    assert!(matches!(watched.release(), Err(Error::TicketLost { .. })));
}

#[test]
fn transaction_does_not_commit_without_its_ticket() {
    let database = Database::with("x", 1);
    let conn = &mut database.connect();
    let done: sem::Result<()> = sem::transaction(conn, "x", |conn, _| {
        conn.batch_execute("CREATE TABLE t (a)")?;
        database.delete_lock_folder();
        Ok(())
    });
    assert_lost(done, "deleted or replaced");
    assert!(conn.batch_execute("SELECT * FROM t").is_err());
}

#[test]
fn waiters_join_again_after_their_folder_was_deleted() {
    let database = Database::with("x", 1);
    let _held = SemaphoreTicket::require(database.connect(), "x").unwrap();
    let mut waiters: Vec<Process> = (0..2).map(|_| start("wait", &database)).collect();
    eventually("both are in the queue", || database.queue().len() == 2);
    database.delete_lock_folder();
    // One of them acquires the ticket of the new folder.
    eventually("one waits in the new folder", || {
        database.queue().len() == 1
    });
    for waiter in &mut waiters {
        waiter.tell("end");
    }
    for waiter in &mut waiters {
        assert!(waiter.says().starts_with("holds x#"));
    }
}

#[test]
fn full_disk_is_an_error_and_holds_nothing() {
    let database = Database::with("x", 1);
    drop(SemaphoreTicket::require(database.connect(), "x").unwrap());
    let ticket = database.lock_folder().join("1/t0");
    fs::remove_file(&ticket).unwrap();
    // Each write to this device fails as on a full disk.
    symlink("/dev/full", &ticket).unwrap();
    match SemaphoreTicket::require(database.connect(), "x").map(drop) {
        Err(Error::LockFile { path, source, .. }) => {
            assert_eq!(path, ticket);
            assert_eq!(source.kind(), ErrorKind::StorageFull);
        }
        other => panic!("{other:?}"),
    }
    fs::remove_file(&ticket).unwrap();
    drop(SemaphoreTicket::require(database.connect(), "x").unwrap());
}

#[test]
fn child_processes_do_not_inherit_tickets() {
    let database = Database::with("x", 1);
    let mut holder = start("hold with a child", &database);
    let sleeper: i32 = holder.says().parse().unwrap();
    assert!(holder.says().starts_with("holds"));
    assert!(
        SemaphoreTicket::acquire(database.connect(), "x")
            .unwrap()
            .is_none()
    );
    holder.kill();
    drop(
        SemaphoreTicket::require(
            database.connect(),
            Request::new("x").wait(Duration::from_secs(5)),
        )
        .unwrap(),
    );
    // It was running all the time.
    kill(Pid::from_raw(sleeper), Signal::SIGKILL).unwrap();
}

#[test]
fn forks_do_not_release_the_tickets_of_their_parent() {
    let database = Database::with("x", 1);
    let mut holder = start("hold with a fork", &database);
    let fork = holder.says();
    assert!(fork.contains("was lost"), "{fork}");
    assert_eq!(holder.says(), "parent: Ok(())");
    let other = || SemaphoreTicket::acquire(database.connect(), "x").unwrap();
    assert!(other().is_none());
    holder.tell("release");
    assert_eq!(holder.says(), "released");
    assert!(other().is_some());
}

#[test]
fn forked_processes_hold_a_ticket_until_it_is_released() {
    let database = Database::with("x", 1);
    drop(SemaphoreTicket::require(database.connect(), "x").unwrap());
    // The shell locks the file of the ticket, and a process of its own has the same open file. This is what fork does.
    let ticket = database.lock_folder().join("1/t0");
    let script = "exec 9<>\"$0\"; flock 9; sleep 60 & echo $!; wait";
    let mut shell = Command::new("sh");
    shell
        .args(["-c", script])
        .arg(ticket)
        .stdout(std::process::Stdio::piped());
    let mut shell = shell.spawn().unwrap();
    let mut line = String::new();
    let stdout = shell.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
    shell.kill().unwrap();
    shell.wait().unwrap();
    assert!(
        SemaphoreTicket::acquire(database.connect(), "x")
            .unwrap()
            .is_none()
    );
    kill(Pid::from_raw(line.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
    drop(
        SemaphoreTicket::require(
            database.connect(),
            Request::new("x").wait(Duration::from_secs(5)),
        )
        .unwrap(),
    );
}
